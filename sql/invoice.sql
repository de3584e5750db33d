-- invoice.sql: bills for what was used. Pairs with src/billing, whose README.md tells how
-- amounts are rounded and which usage is on which invoice.

CREATE SEQUENCE _taskex.invoice_id_seq;
SELECT pg_catalog.pg_extension_config_dump('_taskex.invoice_id_seq', '');

CREATE TABLE _taskex.invoice (
    invoice_id bigint NOT NULL,
    customer_id bigint NOT NULL,
    closing_id bigint,
    credited_id bigint,
    since timestamptz,
    until timestamptz,
    closed_at timestamptz NOT NULL,
    total bigint NOT NULL,
    accrued bigint NOT NULL,
    partition_id int NOT NULL,
    digits int NOT NULL,
    kind text NOT NULL,
    carried numeric NOT NULL,
    denominator numeric NOT NULL,
    reason text,
    reference text
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.invoice IS 'Closed invoices and credit notes, on their customers'' partitions. Rows never change.';
COMMENT ON COLUMN _taskex.invoice.kind IS 'invoice, credit_note.';
COMMENT ON COLUMN _taskex.invoice.total IS 'Nano-units; of a credit note less than 0.';
COMMENT ON COLUMN _taskex.invoice.accrued IS 'Nano-units that were set aside for its usage, and came back with it.';
COMMENT ON COLUMN _taskex.invoice.carried IS 'carried / denominator is what rounding left for the next invoice, exactly.';
INSERT INTO _taskex.child_table VALUES ('invoice', 655, 100, ARRAY['PRIMARY KEY (invoice_id)'],
    ARRAY['(customer_id, invoice_id)', 'UNIQUE (customer_id, reference) WHERE reference IS NOT NULL'], 'customer_id');

CREATE TABLE _taskex.invoice_line (
    invoice_id bigint NOT NULL,
    customer_id bigint NOT NULL,
    rate_id bigint NOT NULL,
    program_id bigint NOT NULL,
    owner_id bigint NOT NULL,
    amount bigint NOT NULL,
    owner_amount bigint NOT NULL,
    usages bigint NOT NULL,
    line int NOT NULL,
    meter int NOT NULL,
    environment_id int NOT NULL,
    priority int NOT NULL,
    partition_id int NOT NULL,
    quantity numeric NOT NULL,
    billed numeric NOT NULL,
    charge numeric NOT NULL,
    per numeric NOT NULL
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.invoice_line IS 'Lines of invoices. charge / per is what it costs, exactly; amount what of it is on this invoice, in nano-units. meter 0: what the one before carried.';
COMMENT ON COLUMN _taskex.invoice_line.owner_amount IS 'What the program''s owner gets of the amount.';
INSERT INTO _taskex.child_table VALUES ('invoice_line', 660, 100, ARRAY['PRIMARY KEY (invoice_id, line)'], ARRAY['(customer_id)'], 'customer_id');

CREATE AGGREGATE _taskex.common_denominator(numeric) (sfunc = pg_catalog.lcm, stype = numeric, initcond = '1');
COMMENT ON AGGREGATE _taskex.common_denominator(numeric) IS 'The least number that all are divisors of.';

CREATE FUNCTION _taskex.floor_div(a numeric, b numeric) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT div(a, b) - CASE WHEN a < 0 AND mod(a, b) <> 0 THEN 1 ELSE 0 END $$;
COMMENT ON FUNCTION _taskex.floor_div(numeric, numeric) IS 'a / b, rounded down, exactly; b > 0.';

CREATE FUNCTION _taskex.usage_bound(OUT bound bigint, OUT late bigint[]) RETURNS record
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_usage_bound';
COMMENT ON FUNCTION _taskex.usage_bound() IS
'A number above the seq of all usage that is committed or rolled back now; late: those below it whose transactions have not ended. The next statement sees the others.';

CREATE FUNCTION _taskex.charge_invoice(customer_id bigint, invoice_id bigint, accrued bigint, total bigint, owners bigint[], amounts bigint[]) RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'taskex_charge_invoice';
COMMENT ON FUNCTION _taskex.charge_invoice(bigint, bigint, bigint, bigint, bigint[], bigint[]) IS
'Gives back what was set aside for an invoice and pays its total: amounts to owners of programs, the rest to the exchange.';

-- What is on no invoice yet, of one partition's customers or of one of them, as the lines
-- of the invoices that it makes. Amounts are in units of 10^-digits, rounded down each and
-- then the largest remainders up, so that they add up to the total, which is rounded down.
CREATE FUNCTION _taskex.open_lines(home int, customer bigint, until timestamptz, bound bigint, late bigint[], digits int)
    RETURNS TABLE (customer_id bigint, line int, meter int, rate_id bigint, environment_id int, program_id bigint, priority int, owner_id bigint, owner_share int,
        usages bigint, quantity numeric, billed numeric, charge numeric, per numeric, units numeric, total_units numeric, carried numeric, denominator numeric, accrued numeric, since timestamptz)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET jit = off AS $$
#variable_conflict use_column
DECLARE
    before record;
BEGIN
    SELECT * INTO before FROM _taskex.closed_by(NULL);
    RETURN QUERY EXECUTE format($q$
        WITH used AS MATERIALIZED (
            SELECT u.customer_id, u.meter, u.rate_id, u.environment_id, u.program_id, u.priority, count(*) AS usages, sum(u.quantity) AS quantity, sum(u.billed) AS billed,
                sum(u.accrued) AS accrued, min(u.started_at) AS since,
                -- what sizes cost by brackets does not add up by itself
                sum(CASE WHEN cardinality(r.upto) > 1 THEN _taskex.usage_charge(u.rate_id, u.priority, u.billed) END) AS by_size
            FROM _taskex.usage_%1$s u LEFT JOIN _taskex.rate r ON r.rate_id = u.rate_id
                LEFT JOIN (SELECT f.customer_id, c.* FROM _taskex.unclosed f CROSS JOIN LATERAL _taskex.closed_by(f.closing_id) c) x ON x.customer_id = u.customer_id
            WHERE u.at < $2 AND u.seq <= $3 AND u.seq <> ALL ($8) AND ($1 IS NULL OR u.customer_id = $1)
                AND CASE WHEN x.customer_id IS NULL THEN u.seq > $6 OR u.at >= $5 OR u.seq = ANY ($7) ELSE u.seq > x.bound OR u.at >= x.until OR u.seq = ANY (x.late) END
            GROUP BY 1, 2, 3, 4, 5, 6
        ), line AS (
            SELECT u.customer_id, u.meter, u.rate_id, u.environment_id, u.program_id, u.priority, coalesce(r.owner_id, 0) AS owner_id, coalesce(r.owner_share, 0) AS owner_share,
                u.usages, u.quantity, u.billed, u.accrued, u.since,
                CASE WHEN u.rate_id = 0 THEN 0 ELSE coalesce(u.by_size, u.billed * r.prices[1] * r.factors[u.priority + 1]) END AS charge, coalesce(r.per, 1)::numeric AS per
            FROM used u LEFT JOIN _taskex.rate r ON r.rate_id = u.rate_id
            WHERE (SELECT d.partition_id FROM _taskex.directory d WHERE d.user_id = u.customer_id) = %1$s
                AND EXISTS (SELECT FROM used o WHERE o.customer_id = u.customer_id AND o.rate_id <> 0)
            UNION ALL
            SELECT c.customer_id, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, i.carried, i.denominator
            FROM (SELECT DISTINCT o.customer_id FROM used o WHERE o.rate_id <> 0) c CROSS JOIN LATERAL (SELECT * FROM _taskex.invoice_%1$s i
                WHERE i.customer_id = c.customer_id AND i.kind = 'invoice' ORDER BY i.invoice_id DESC LIMIT 1) i
            WHERE i.carried <> 0
        ), common AS (
            SELECT l.*, d.denominator, l.charge * div(d.denominator, l.per) * 10::numeric ^ $4 AS exact,
                row_number() OVER (PARTITION BY l.customer_id ORDER BY l.meter, l.program_id, l.environment_id, l.priority, l.rate_id)::int AS line
            FROM line l JOIN (SELECT customer_id, _taskex.common_denominator(per) AS denominator FROM line GROUP BY 1) d USING (customer_id)
        ), floored AS (
            SELECT c.*, _taskex.floor_div(c.exact, c.denominator) AS units,
                _taskex.floor_div(sum(c.exact) OVER (PARTITION BY c.customer_id), c.denominator) AS total_units, sum(c.exact) OVER (PARTITION BY c.customer_id) AS total_exact,
                sum(c.accrued) OVER (PARTITION BY c.customer_id) AS all_accrued, min(c.since) OVER (PARTITION BY c.customer_id) AS all_since
            FROM common c
        ), ranked AS (
            SELECT f.*, row_number() OVER (PARTITION BY f.customer_id ORDER BY f.exact - f.units * f.denominator DESC, f.line) AS rank,
                f.total_units - sum(f.units) OVER (PARTITION BY f.customer_id) AS missing
            FROM floored f
        )
        SELECT r.customer_id, r.line, r.meter, r.rate_id, r.environment_id, r.program_id, r.priority, r.owner_id, r.owner_share, r.usages, r.quantity, r.billed,
            trim_scale(r.charge), r.per, r.units + (r.rank <= r.missing)::int, r.total_units,
            trim_scale((r.total_exact - r.total_units * r.denominator) * ('1e-' || $4)::numeric), r.denominator, r.all_accrued, r.all_since
        FROM ranked r ORDER BY r.customer_id, r.line $q$, home)
        USING customer, until, bound, digits, before.until, before.bound, before.late, late;
END $$;
COMMENT ON FUNCTION _taskex.open_lines(int, bigint, timestamptz, bigint, bigint[], int) IS
'The lines of the next invoices of a partition''s customers (or of one), of usage over before until, with a seq up to bound and not late, and on no invoice yet.
units and total_units: of 10^-digits; carried / denominator is left for the one after.';

-- closing ---------------------------------------------------------------------

CREATE FUNCTION _taskex.note_unclosed(customer bigint, number bigint, sqlstate text, error text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO _taskex.unclosed AS u (customer_id, closing_id, failed_id, since, failed_at, sqlstate, error)
        SELECT customer, c.closing_id, number, _taskex.now(), _taskex.now(), note_unclosed.sqlstate, note_unclosed.error FROM _taskex.closed_by(NULL) c
        ON CONFLICT (customer_id) DO UPDATE SET failed_id = excluded.failed_id, failed_at = excluded.failed_at, sqlstate = excluded.sqlstate, error = excluded.error;
    RAISE WARNING USING MESSAGE = format('the invoice of user "%s" cannot be closed', _taskex.login(customer)), DETAIL = format('%s: %s', sqlstate, error),
        HINT = 'His usage waits for the next closing. If an amount is wrong, taskex.correct_usage() mends it.';
END $$;
COMMENT ON FUNCTION _taskex.note_unclosed(bigint, bigint, text, text) IS 'A closing has made no invoice of a customer: it is shown in taskex.health, and his usage is for the next.';

-- Who fails is undone alone; nearly always nobody does, so all are tried together first.
CREATE FUNCTION _taskex.pay_invoices(home int, customer bigint, number bigint, one_by_one boolean) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    paid int := 0;
    i record;
BEGIN
    FOR i IN EXECUTE format('SELECT i.customer_id, i.invoice_id, i.accrued, i.total, coalesce(o.owners, ''{}'') AS owners, coalesce(o.amounts, ''{}'') AS amounts'
            ' FROM _taskex.invoice_%1$s i CROSS JOIN LATERAL (SELECT array_agg(s.owner_id ORDER BY s.owner_id) AS owners, array_agg(s.amount ORDER BY s.owner_id) AS amounts FROM ('
            ' SELECT l.owner_id, sum(l.owner_amount)::bigint AS amount FROM _taskex.invoice_line_%1$s l WHERE l.invoice_id = i.invoice_id AND l.owner_id <> 0 GROUP BY 1) s) o'
            ' WHERE i.closing_id = $1 AND ($2 IS NULL OR i.customer_id = $2) ORDER BY i.customer_id', home) USING number, customer LOOP
        IF NOT one_by_one THEN
            PERFORM _taskex.charge_invoice(i.customer_id, i.invoice_id, i.accrued, i.total, i.owners, i.amounts);
            paid := paid + 1;
            CONTINUE;
        END IF;
        BEGIN
            PERFORM _taskex.charge_invoice(i.customer_id, i.invoice_id, i.accrued, i.total, i.owners, i.amounts);
            paid := paid + 1;
        EXCEPTION WHEN OTHERS THEN
            EXECUTE format('DELETE FROM _taskex.invoice_line_%1$s l WHERE l.invoice_id = $1', home) USING i.invoice_id;
            EXECUTE format('DELETE FROM _taskex.invoice_%1$s x WHERE x.invoice_id = $1', home) USING i.invoice_id;
            PERFORM _taskex.note_unclosed(i.customer_id, number, SQLSTATE, SQLERRM);
        END;
    END LOOP;
    RETURN paid;
END $$;
COMMENT ON FUNCTION _taskex.pay_invoices(int, bigint, bigint, boolean) IS
'Pays the invoices that a closing has just made on a partition (or that of one customer); how many. one_by_one: who cannot pay gets none, and stops nobody; else the first error is raised.';

CREATE FUNCTION _taskex.close_partition(home int, customer bigint, number bigint, until timestamptz, bound bigint, late bigint[], digits int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    unit bigint := 10::numeric ^ (9 - digits);
    failed record;
BEGIN
    FOR failed IN EXECUTE format($q$
        WITH line AS MATERIALIZED (
            SELECT l.*, f.amount, CASE WHEN l.owner_id <> 0 THEN div(f.amount * l.owner_share, 1000000) ELSE 0 END AS owner_amount,
                greatest(max(abs(f.amount)) OVER (PARTITION BY l.customer_id), max(abs(l.total_units * $5)) OVER (PARTITION BY l.customer_id),
                    max(l.accrued) OVER (PARTITION BY l.customer_id)) AS largest
            FROM _taskex.open_lines(%1$s, $6, $2, $3, $7, $4) l CROSS JOIN LATERAL (SELECT l.units * $5 AS amount) f
            -- who was passed by where he lived before he was switched stays so
            WHERE NOT EXISTS (SELECT FROM _taskex.unclosed u WHERE u.customer_id = l.customer_id AND u.failed_id = $1)
        ), fitting AS MATERIALIZED (
            SELECT l.* FROM line l WHERE l.largest < 9000000000000000000
        ), number AS MATERIALIZED (
            SELECT c.customer_id, nextval('_taskex.invoice_id_seq') AS invoice_id FROM (SELECT DISTINCT l.customer_id FROM fitting l ORDER BY 1) c
        ), invoices AS (
            INSERT INTO _taskex.invoice_%1$s (partition_id, invoice_id, customer_id, closing_id, since, until, closed_at, total, accrued, digits, kind, carried, denominator)
            SELECT %1$s, n.invoice_id, l.customer_id, $1, l.since, $2, _taskex.now(), (l.total_units * $5)::bigint, l.accrued::bigint, $4, 'invoice', l.carried, l.denominator
            FROM fitting l JOIN number n USING (customer_id) WHERE l.line = 1
        ), lines AS (
            INSERT INTO _taskex.invoice_line_%1$s (partition_id, invoice_id, customer_id, line, meter, rate_id, environment_id, program_id, priority, owner_id, usages, quantity, billed,
                charge, per, amount, owner_amount)
            SELECT %1$s, n.invoice_id, l.customer_id, l.line, l.meter, l.rate_id, l.environment_id, l.program_id, l.priority, l.owner_id, l.usages, l.quantity, l.billed,
                l.charge, l.per, l.amount::bigint, l.owner_amount::bigint
            FROM fitting l JOIN number n USING (customer_id)
        )
        SELECT DISTINCT l.customer_id, l.total_units * $5 AS total FROM line l WHERE l.largest >= 9000000000000000000 $q$, home)
        USING number, until, bound, digits, unit, customer, late LOOP
        PERFORM _taskex.note_unclosed(failed.customer_id, number, 'TX202', format('the invoice is out of range: its total is %s', trim_scale(failed.total * 0.000000001)));
    END LOOP;
    BEGIN
        RETURN _taskex.pay_invoices(home, customer, number, false);
    EXCEPTION WHEN OTHERS THEN
        RETURN _taskex.pay_invoices(home, customer, number, true);
    END;
END $$;
COMMENT ON FUNCTION _taskex.close_partition(int, bigint, bigint, timestamptz, bigint, bigint[], int) IS
'Closes the invoices of a partition''s customers (or of one of them), and pays them; how many. Whose invoice cannot be made stays for the next closing.';

-- Nobody of the partition gets an invoice; for each of them it is as if his own could not be made.
CREATE FUNCTION _taskex.pass_partition(home int, number bigint, sqlstate text, error text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO _taskex.unclosed AS u (customer_id, closing_id, failed_id, since, failed_at, sqlstate, error)
        SELECT d.user_id, c.closing_id, number, _taskex.now(), _taskex.now(), pass_partition.sqlstate, pass_partition.error
        FROM _taskex.directory d CROSS JOIN _taskex.closed_by(NULL) c WHERE d.partition_id = home AND d.login NOT LIKE 'anonymous:%'
        ON CONFLICT (customer_id) DO UPDATE SET failed_id = excluded.failed_id, failed_at = excluded.failed_at, sqlstate = excluded.sqlstate, error = excluded.error;
    RAISE WARNING USING MESSAGE = format('the invoices of storage partition "%s" cannot be closed', (SELECT p.name FROM _taskex.partition p WHERE p.partition_id = home)),
        DETAIL = format('%s: %s', sqlstate, error), HINT = 'What its users have used waits for the next closing.';
END $$;
COMMENT ON FUNCTION _taskex.pass_partition(int, bigint, text, text) IS 'A closing has made no invoices of a partition''s users, for it cannot be read: taskex.health shows them, and their usage is for the next.';

-- A customer who is switched to another partition just now makes it fail; then it is done again.
CREATE FUNCTION _taskex.close_patiently(home int, customer bigint, number bigint, until timestamptz, bound bigint, late bigint[], digits int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    IF NOT _taskex.readable(home) THEN
        PERFORM _taskex.pass_partition(home, number, '58P01', 'the storage partition cannot be read');
        RETURN 0;
    END IF;
    FOR i IN 1 .. 20 LOOP
        BEGIN
            RETURN _taskex.close_partition(home, customer, number, until, bound, late, digits);
        EXCEPTION
            WHEN serialization_failure THEN
                IF i = 20 THEN
                    RAISE;
                END IF;
            -- nobody has noticed yet that it cannot be read
            WHEN undefined_file OR io_error OR system_error OR data_corrupted OR index_corrupted THEN
                PERFORM _taskex.pass_partition(home, number, SQLSTATE, SQLERRM);
                RETURN 0;
        END;
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.close_patiently(int, bigint, bigint, timestamptz, bigint, bigint[], int) IS
'_taskex.close_partition, again if a customer moves meanwhile; a partition that cannot be read is passed by.';

CREATE FUNCTION taskex.close_invoices(until timestamptz = NULL, digits int = 2)
    RETURNS int LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before record;
    number bigint;
    seen record;
    home int;
    mover record;
    has_one boolean;
    began timestamptz := clock_timestamp();
    snapshot pg_snapshot;
    followed bigint[] := '{}';
    made int := 0;
BEGIN
    IF digits IS NULL OR digits NOT BETWEEN 0 AND 9 THEN
        PERFORM _taskex.bad_value('digits must be between 0 and 9');
    ELSIF NOT isfinite(until) OR until > _taskex.now() THEN
        PERFORM _taskex.bad_value('invoices can be closed up to now');
    END IF;
    -- one after the other: the second one finds what the first one left
    LOCK TABLE _taskex.closing IN SHARE ROW EXCLUSIVE MODE;
    number := nextval('_taskex.closing_closing_id_seq');
    SELECT * INTO before FROM _taskex.closed_by(NULL);
    -- (who has waited for another one means now, not when he came)
    until := coalesce(until, greatest(_taskex.now(), before.until));
    IF until < before.until THEN
        PERFORM _taskex.fail('invoices_closed', format('invoices are closed up to %s', before.until), NULL,
            'Usage that came late is on the next invoice.');
    END IF;
    snapshot := pg_current_snapshot();
    SELECT * INTO seen FROM _taskex.usage_bound();
    FOR home IN SELECT p.partition_id FROM _taskex.partition p WHERE p.node_id = 0 ORDER BY 1 LOOP
        made := made + _taskex.close_patiently(home, NULL, number, until, seen.bound, seen.late, digits);
    END LOOP;
    -- who was switched meanwhile, from a partition that was still to come to one that was done, was at home in neither;
    -- who has an invoice of this closing is not switched before it commits
    LOOP
        SELECT m.migration_id, d.user_id, d.partition_id INTO mover FROM _taskex.migration m JOIN _taskex.directory d USING (user_id)
            -- (numbers of transactions are not those of another server that was dumped)
            WHERE m.switched_at >= began - interval '1 hour' AND NOT pg_visible_in_snapshot(m.switched_xid, snapshot) AND m.migration_id <> ALL (followed) ORDER BY 1 LIMIT 1;
        EXIT WHEN NOT FOUND;
        followed := followed || mover.migration_id;
        CONTINUE WHEN EXISTS (SELECT FROM _taskex.unclosed u WHERE u.customer_id = mover.user_id AND u.failed_id = number);
        EXECUTE format('SELECT EXISTS (SELECT FROM _taskex.invoice_%s i WHERE i.customer_id = $1 AND i.closing_id = $2)', mover.partition_id) INTO has_one USING mover.user_id, number;
        IF NOT has_one THEN
            made := made + _taskex.close_patiently(mover.partition_id, mover.user_id, number, until, seen.bound, seen.late, digits);
        END IF;
    END LOOP;
    DELETE FROM _taskex.unclosed u WHERE u.failed_id <> number;
    INSERT INTO _taskex.closing VALUES (number, until, seen.bound, _taskex.now(), digits, made, seen.late);
    RETURN made;
END $$;
COMMENT ON FUNCTION taskex.close_invoices(timestamptz, int) IS
'Makes invoices of all usage that was over before a time (until: now or earlier; NULL: now) and is on none yet, also what came late, and pays them from the customers'' accounts. digits:
totals are rounded down to so many decimals (0 to 9), what is left is carried to the next one, and lines add up. Waits for another closing, and for nobody else: usage of transactions that have
not ended is for the next. A customer whose invoice cannot be made (a total out of range, ...), and who lives where nobody can read, is passed by with a warning, and taskex.health shows it until a closing succeeds. Result: how many invoices.
Errors: invoices_closed (TX646): up to a later time, invalid_parameter_value (22023), feature_not_supported (0A000) beyond READ COMMITTED. Operators only.';

CREATE FUNCTION taskex.credit_invoice(invoice_id bigint, amount numeric, reason text, reference text = NULL)
    RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    nano bigint := _taskex.nano(amount, 'amount');
    i _taskex.invoice;
    old _taskex.invoice;
    home int;
    credited bigint;
    number bigint;
BEGIN
    PERFORM _taskex.require_value('invoice_id', invoice_id IS NOT NULL), _taskex.require_value('amount', amount IS NOT NULL),
        _taskex.require_value('reason', reason IS NOT NULL), _taskex.require_length('reason', reason, 1, 10000), _taskex.require_length('reference', reference, 1, 255);
    SELECT x.* INTO i FROM _taskex.invoice x JOIN _taskex.directory d ON d.user_id = x.customer_id AND d.partition_id = x.partition_id
        WHERE x.invoice_id = credit_invoice.invoice_id AND x.kind = 'invoice';
    IF i.invoice_id IS NULL THEN
        PERFORM _taskex.fail('unknown_invoice', format('invoice %s does not exist', invoice_id), 'Or it is a credit note itself.', 'The view taskex.invoices lists them.');
    ELSIF nano = 0 THEN
        PERFORM _taskex.fail('amount_out_of_range', 'amount must be greater than zero');
    END IF;
    home := _taskex.home(i.customer_id);
    -- one after the other
    EXECUTE format('SELECT FROM _taskex.invoice_%s x WHERE x.invoice_id = $1 FOR NO KEY UPDATE', home) USING i.invoice_id;
    EXECUTE format('SELECT * FROM _taskex.invoice_%s x WHERE x.customer_id = $1 AND x.reference = $2', home) INTO old USING i.customer_id, reference;
    IF old.invoice_id IS NOT NULL THEN
        IF (old.credited_id, -old.total) IS DISTINCT FROM (i.invoice_id, nano) THEN
            PERFORM _taskex.fail('idempotency_mismatch', format('reference "%s" was used for another credit note', reference), NULL, 'Use a new one.');
        END IF;
        RETURN old.invoice_id;
    END IF;
    EXECUTE format('SELECT coalesce(-sum(x.total), 0) FROM _taskex.invoice_%s x WHERE x.customer_id = $1 AND x.credited_id = $2', home)
        INTO credited USING i.customer_id, i.invoice_id;
    IF credited + nano > i.total THEN
        PERFORM _taskex.fail('amount_out_of_range', 'more than the invoice cannot be credited',
            format('Its total is %s, of which %s are credited.', _taskex.amount(i.total), _taskex.amount(credited)));
    END IF;
    number := nextval('_taskex.invoice_id_seq');
    EXECUTE format('INSERT INTO _taskex.invoice_%s (partition_id, invoice_id, customer_id, credited_id, closed_at, total, accrued, digits, kind, carried, denominator, reason, reference)'
            ' VALUES ($1, $2, $3, $4, $5, $6, 0, 9, ''credit_note'', 0, 1, $7, $8)', home)
        USING home, number, i.customer_id, i.invoice_id, _taskex.now(), -nano, reason, reference;
    PERFORM _taskex.charge_invoice(i.customer_id, number, 0, -nano, '{}', '{}');
    RETURN number;
END $$;
COMMENT ON FUNCTION taskex.credit_invoice(bigint, numeric, text, text) IS
'Gives back a part of an invoice, or all of it: a credit note, paid by the exchange (what owners of programs got stays theirs). invoice_id: as in taskex.invoices. amount: greater than 0; with earlier ones not more than the invoice''s
total. reason: 1 to 10000 bytes. reference: NULL, or 1 to 255 bytes that name the credit note: with the same one again nothing changes. Result: the credit note''s id, which is that of an invoice.
Errors: unknown_invoice (TX645), amount_out_of_range (TX202), idempotency_mismatch (TX110). Operators only.';

-- views -----------------------------------------------------------------------

CREATE VIEW taskex.invoices WITH (security_barrier) AS
    SELECT i.invoice_id, d.login AS customer, i.kind, i.credited_id AS credits, i.since, i.until, i.closed_at, trim_scale(i.total * 0.000000001) AS total,
        trim_scale(i.carried / i.denominator) AS carried, i.reason, i.reference
    FROM _taskex.directory d
        JOIN _taskex.invoice i ON i.partition_id = d.partition_id AND i.customer_id = d.user_id
    WHERE _taskex.visible(d.user_id) AND _taskex.visible(i.customer_id) AND _taskex.narrow(i.partition_id, i.customer_id, d.login, NULL);
COMMENT ON VIEW taskex.invoices IS
'Closed invoices and credit notes (total less than 0, credits: the invoice) of the customers for whom the caller may act. carried: what is left for the next one, rounded to what can be shown.
What is not closed yet: taskex.draft_invoice().';

CREATE VIEW taskex.invoice_lines WITH (security_barrier) AS
    SELECT l.invoice_id, d.login AS customer, l.line, coalesce(m.name, 'carried') AS meter, e.name AS environment, o.login || '/' || p.name AS program,
        CASE WHEN l.meter NOT IN (0, 7, 10) THEN l.priority END AS priority, l.usages, l.quantity, l.billed, m.base_unit AS unit, nullif(l.rate_id, 0) AS rate_id,
        trim_scale(l.charge / l.per) AS exact, trim_scale(l.amount * 0.000000001) AS amount
    FROM _taskex.directory d
        JOIN _taskex.invoice_line l ON l.partition_id = d.partition_id AND l.customer_id = d.user_id
        LEFT JOIN _taskex.meter m USING (meter)
        LEFT JOIN _taskex.environment e ON e.environment_id = l.environment_id
        LEFT JOIN _taskex.program p ON p.program_id = l.program_id
        LEFT JOIN _taskex.directory o ON o.user_id = p.owner_id
    WHERE _taskex.visible(d.user_id) AND _taskex.visible(l.customer_id) AND _taskex.narrow(l.partition_id, l.customer_id, d.login, NULL);
COMMENT ON VIEW taskex.invoice_lines IS
'Lines of closed invoices: a meter, rate, environment, program and priority each. exact: what it costs, rounded to what can be shown; amount: what of it is on this invoice; they add up to its total.
meter carried: what the invoice before left. rate_id NULL: free, or paid already (task_fees).';

CREATE FUNCTION taskex.draft_invoice(customer text, until timestamptz = NULL, digits int = 2)
    RETURNS TABLE (line int, meter text, environment text, program text, priority int, usages bigint, quantity numeric, billed numeric, unit text, rate_id bigint,
        exact numeric, amount numeric, total numeric)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.draft_invoice(text, timestamptz, int) IS
'The invoice that a customer would get if it were closed now: lines as of taskex.invoice_lines, with the total on each. Changes nothing. until, digits: as close_invoices.
Errors: invalid_parameter_value (22023).';

CREATE FUNCTION _taskex.draft_invoice(customer bigint, until timestamptz, digits int)
    RETURNS TABLE (line int, meter text, environment text, program text, priority int, usages bigint, quantity numeric, billed numeric, unit text, rate_id bigint,
        exact numeric, amount numeric, total numeric)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF digits IS NULL OR digits NOT BETWEEN 0 AND 9 THEN
        PERFORM _taskex.bad_value('digits must be between 0 and 9');
    END IF;
    RETURN QUERY SELECT l.line, coalesce(m.name, 'carried'), e.name, o.login || '/' || p.name, CASE WHEN l.meter NOT IN (0, 7, 10) THEN l.priority END, l.usages, l.quantity, l.billed,
            m.base_unit, nullif(l.rate_id, 0), trim_scale(l.charge / l.per), trim_scale(l.units * ('1e-' || digits)::numeric), trim_scale(l.total_units * ('1e-' || digits)::numeric)
        FROM _taskex.open_lines(_taskex.home(customer), customer, coalesce(until, 'infinity'), 9223372036854775807, '{}', digits) l
            LEFT JOIN _taskex.meter m USING (meter)
            LEFT JOIN _taskex.environment e ON e.environment_id = l.environment_id
            LEFT JOIN _taskex.program p ON p.program_id = l.program_id
            LEFT JOIN _taskex.directory o ON o.user_id = p.owner_id
        ORDER BY l.line;
END $$;
COMMENT ON FUNCTION _taskex.draft_invoice(bigint, timestamptz, int) IS 'Body of taskex.draft_invoice.';

CREATE FUNCTION taskex.usage_statement(customer text, since timestamptz, until timestamptz, by text = 'day')
    RETURNS TABLE (key text, meter text, usages bigint, quantity numeric, billed numeric, unit text, amount numeric)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.usage_statement(text, timestamptz, timestamptz, text) IS
'What a customer used from since on and before until, on invoices or not, by program, environment, day (UTC) or meter (by). amount: not rounded as invoices are, but to 12 decimals.
Errors: invalid_parameter_value (22023).';

CREATE FUNCTION _taskex.usage_statement(customer bigint, since timestamptz, until timestamptz, by text)
    RETURNS TABLE (key text, meter text, usages bigint, quantity numeric, billed numeric, unit text, amount numeric)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF by NOT IN ('program', 'environment', 'day', 'meter') THEN
        PERFORM _taskex.bad_value('by must be program, environment, day or meter');
    ELSIF since > until THEN
        PERFORM _taskex.bad_value('since must not be after until');
    END IF;
    RETURN QUERY EXECUTE format($q$
        SELECT s.key, m.name, sum(s.usages)::bigint, sum(s.quantity), sum(s.billed), m.base_unit, trim_scale(round(sum(s.charge / s.per), 12)) FROM (
            SELECT CASE $4 WHEN 'program' THEN o.login || '/' || p.name WHEN 'environment' THEN e.name WHEN 'day' THEN to_char(u.at AT TIME ZONE 'UTC', 'YYYY-MM-DD') ELSE 'all' END AS key,
                u.meter, count(*) FILTER (WHERE (u.correction & 65535) = 0) AS usages, sum(u.quantity) AS quantity, sum(u.billed) AS billed,
                sum(CASE WHEN u.rate_id = 0 THEN 0 ELSE _taskex.usage_charge(u.rate_id, u.priority, u.billed) END) AS charge, coalesce(r.per, 1) AS per
            FROM _taskex.usage_%1$s u
                LEFT JOIN _taskex.rate r ON r.rate_id = u.rate_id
                LEFT JOIN _taskex.environment e ON e.environment_id = u.environment_id
                LEFT JOIN _taskex.program p ON p.program_id = u.program_id
                LEFT JOIN _taskex.directory o ON o.user_id = p.owner_id
            WHERE u.customer_id = $1 AND u.at >= $2 AND u.at < $3
            GROUP BY 1, 2, r.per) s JOIN _taskex.meter m USING (meter)
        GROUP BY 1, m.meter ORDER BY 1, m.meter $q$, _taskex.home(customer))
        USING customer, since, until, by;
END $$;
COMMENT ON FUNCTION _taskex.usage_statement(bigint, timestamptz, timestamptz, text) IS 'Body of taskex.usage_statement.';

-- checks ------------------------------------------------------------------------

CREATE FUNCTION taskex.check_billing(OUT check_name text, OUT ok boolean, OUT detail text)
    -- (nothing is known of how many rows the parts of this have: nested loops would be the planner's worst mistake)
    RETURNS SETOF record LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off SET enable_nestloop = off AS $$
    WITH usage AS MATERIALIZED (
        SELECT u.* FROM _taskex.usage u JOIN _taskex.directory d ON d.user_id = u.customer_id AND d.partition_id = u.partition_id
    ), invoice AS MATERIALIZED (
        SELECT i.* FROM _taskex.invoice i JOIN _taskex.directory d ON d.user_id = i.customer_id AND d.partition_id = i.partition_id
    ), line AS MATERIALIZED (
        SELECT l.* FROM _taskex.invoice_line l JOIN invoice i USING (invoice_id, partition_id)
    ), closed AS MATERIALIZED (
        SELECT u.customer_id, c.* FROM (SELECT DISTINCT x.customer_id FROM usage x) u CROSS JOIN LATERAL _taskex.closed_for(u.customer_id) c
    ), price AS (
        SELECT * FROM (SELECT r.program_id, r.owner_id, r.valid_from, lead(r.valid_from, 1, 'infinity') OVER (PARTITION BY r.program_id ORDER BY r.valid_from, r.rate_id) AS until, r.prices
            FROM _taskex.rate r WHERE r.meter = 8) r WHERE cardinality(r.prices) > 0
    ), attempt AS (
        SELECT a.customer_id, a.run_id, a.attempt FROM _taskex.run_attempt a JOIN _taskex.directory d ON d.user_id = a.customer_id AND d.partition_id = a.partition_id
        UNION ALL
        SELECT r.customer_id, r.run_id, r.attempts FROM _taskex.run r JOIN _taskex.directory d ON d.user_id = r.customer_id AND d.partition_id = r.partition_id
            WHERE r.state = 'succeeded' AND r.attempts > 0  -- what runs in parts has none itself
    ), checks (check_name, wrong, what) AS (
        SELECT 'every attempt is metered', count(*), 'attempts that ended without a row of run_time' FROM attempt a
            WHERE NOT EXISTS (SELECT FROM usage u WHERE u.customer_id = a.customer_id AND u.source_id = a.run_id AND u.attempt = a.attempt AND u.meter = 1)
        UNION ALL
        SELECT 'only attempts are metered', count(*), 'rows of run_time of runs that are there, without such an attempt' FROM usage u
            JOIN _taskex.run r ON r.partition_id = u.partition_id AND r.run_id = u.source_id
            WHERE u.meter = 1 AND u.correction = 0 AND NOT EXISTS (SELECT FROM attempt a WHERE a.run_id = u.source_id AND a.attempt = u.attempt)
                -- of attempts that gave way only the last are on record
                AND NOT (coalesce(r.suspensions, 0) > 100 AND u.attempt <= r.attempts - 100)
        UNION ALL
        -- once more, in exact arithmetic of its own
        SELECT 'what is billed follows from the rate', count(*), 'rows of usage that bill another quantity than their rate says' FROM usage u LEFT JOIN _taskex.rate r USING (rate_id)
            WHERE CASE WHEN u.rate_id = 0 THEN u.billed <> 0 WHEN r.rate_id IS NULL THEN true
                WHEN (u.correction & 65535) > 0 AND u.quantity = 0 AND u.billed = 0 THEN false ELSE u.billed <> CASE WHEN r.outcomes & u.outcome = 0 THEN 0
                ELSE (CASE WHEN u.correction % 2 = 1 THEN -1 ELSE 1 END)
                    * ceil(greatest((CASE WHEN u.correction % 2 = 1 THEN -1 ELSE 1 END) * u.quantity, r.minimum)::numeric / r.granularity) * r.granularity END END
        UNION ALL
        SELECT 'rates are those of the time', count(*), 'rows of usage with a rate that did not hold when it began' FROM usage u JOIN _taskex.rate r USING (rate_id)
            WHERE u.started_at < r.valid_from OR cardinality(r.prices) = 0 OR r.meter <> u.meter OR r.environment_id NOT IN (0, u.environment_id)
        UNION ALL
        SELECT 'corrections are complete', count(*), 'corrected usages whose rows do not take each other back' FROM (
            SELECT FROM usage u GROUP BY u.customer_id, u.source_id, u.attempt, u.meter, u.correction >> 16
            HAVING count(*) <> max(u.correction & 65535) + 1 OR count(DISTINCT u.rate_id) > 1) c
        UNION ALL
        SELECT 'lines add up', count(*), 'invoices whose lines do not add up to the total' FROM invoice i
            WHERE i.kind = 'invoice' AND i.total <> (SELECT coalesce(sum(l.amount), 0) FROM line l WHERE l.invoice_id = i.invoice_id)
        UNION ALL
        SELECT 'remainders are carried', count(*), 'invoices that neither charge nor carry a part of their lines' FROM invoice i
            WHERE i.kind = 'invoice' AND (SELECT sum(l.charge * div(i.denominator, l.per)) FROM line l WHERE l.invoice_id = i.invoice_id)
                <> i.total * 0.000000001 * i.denominator + i.carried
        UNION ALL
        SELECT 'invoices hold what was used', count(*), 'customers whose closed usage differs from the lines of their invoices' FROM (
            SELECT u.customer_id, u.rate_id, u.priority, sum(u.billed) AS billed, sum(u.accrued) AS accrued FROM usage u JOIN closed c USING (customer_id)
                WHERE u.at < c.until AND u.seq <= c.bound AND u.seq <> ALL (c.late) AND u.rate_id <> 0 GROUP BY 1, 2, 3) u
            FULL JOIN (SELECT l.customer_id, l.rate_id, l.priority, sum(l.billed) AS billed FROM line l WHERE l.rate_id <> 0 GROUP BY 1, 2, 3) l USING (customer_id, rate_id, priority)
            WHERE coalesce(u.billed, 0) <> coalesce(l.billed, 0)
                -- what was removed since is on the lines only
                AND NOT (coalesce(u.billed, 0) < coalesce(l.billed, 0) AND EXISTS (SELECT FROM _taskex.usage_removed x WHERE x.customer_id = coalesce(u.customer_id, l.customer_id)))
        UNION ALL
        SELECT 'invoices are paid', count(*), 'invoices and credit notes whose transfers differ from their totals, or transfers without one' FROM invoice i
            FULL JOIN (SELECT e.account_id AS customer_id, e.subject_id AS invoice_id, -sum(e.available) FILTER (WHERE e.kind <> 'usage_return') AS paid,
                    sum(e.available) FILTER (WHERE e.kind = 'usage_return') AS returned FROM _taskex.entry_at_home e
                WHERE e.account_id > 0 AND (e.kind IN ('charge', 'usage_return') OR e.kind = 'program'
                    AND EXISTS (SELECT FROM invoice x WHERE x.invoice_id = e.subject_id AND x.customer_id = e.account_id))
                GROUP BY 1, 2) e USING (customer_id, invoice_id)
            WHERE i.total IS NULL OR i.total <> coalesce(e.paid, 0) OR i.accrued <> coalesce(e.returned, 0)
        UNION ALL
        -- of a chain also those of its pieces, each time that one is in it
        SELECT 'owners earn by each use', count(*), 'runs that succeeded without usage of each program and piece that had a price when they were submitted' FROM (
            SELECT r.customer_id, r.run_id, r.attempts, x.program_id, count(*) AS uses FROM _taskex.run r
                JOIN _taskex.directory d ON d.user_id = r.customer_id AND d.partition_id = r.partition_id
                CROSS JOIN LATERAL (SELECT r.program_id UNION ALL SELECT p.piece_id FROM _taskex.program_piece p
                    WHERE p.program_id = r.program_id AND p.version = r.version AND p.piece_id <> r.program_id) x
                JOIN price ON price.program_id = x.program_id AND r.submitted_at >= price.valid_from AND r.submitted_at < price.until
            WHERE r.state = 'succeeded' AND r.attempts > 0 AND price.owner_id <> r.customer_id GROUP BY 1, 2, 3, 4) r
            WHERE r.uses <> (SELECT count(*) FROM usage u WHERE u.customer_id = r.customer_id AND u.source_id = r.run_id AND u.attempt = r.attempts
                AND u.meter = 8 AND u.program_id = r.program_id AND u.correction & 65535 = 0)
        UNION ALL
        SELECT 'owners get their shares', count(*), 'lines for programs whose owners get another amount than their share' FROM line l JOIN _taskex.rate r USING (rate_id)
            WHERE (l.owner_id, l.owner_amount) IS DISTINCT FROM (r.owner_id, CASE WHEN r.owner_id <> 0 THEN div(l.amount * r.owner_share::numeric, 1000000) ELSE 0 END)
        UNION ALL
        SELECT 'owners are paid', count(*), 'owners who were paid another amount for an invoice than its lines say' FROM (
            SELECT l.invoice_id, l.owner_id, sum(l.owner_amount) AS due FROM line l WHERE l.owner_id <> 0 GROUP BY 1, 2) l
            FULL JOIN (SELECT e.subject_id AS invoice_id, e.account_id AS owner_id, sum(e.available) AS paid FROM _taskex.entry_at_home e
                WHERE e.kind = 'program' AND EXISTS (SELECT FROM invoice x WHERE x.invoice_id = e.subject_id AND x.customer_id = e.counterparty) GROUP BY 1, 2) e USING (invoice_id, owner_id)
            WHERE coalesce(l.due, 0) <> coalesce(e.paid, 0)
        UNION ALL
        SELECT 'what is set aside is for usage', count(*), 'customers for whom another amount is set aside than for what they used' FROM (
            SELECT e.account_id AS customer_id, sum(e.held) AS held, coalesce(sum(e.held) FILTER (WHERE e.kind = 'usage_ahead'), 0) AS ahead
                FROM _taskex.entry_at_home e WHERE e.kind IN ('usage', 'usage_ahead', 'usage_return') GROUP BY 1) e
            FULL JOIN (SELECT u.customer_id, sum(u.accrued) AS held FROM usage u JOIN closed c USING (customer_id)
                    WHERE NOT (u.at < c.until AND u.seq <= c.bound AND u.seq <> ALL (c.late)) GROUP BY 1) u
                USING (customer_id)
            -- of what was set aside ahead some is used up
            WHERE coalesce(u.held, 0) NOT BETWEEN coalesce(e.held - e.ahead, 0) AND coalesce(e.held, 0)
        UNION ALL
        SELECT 'what is set aside is what it costs', count(*), 'rows of usage for which another amount is set aside than they cost' FROM usage u JOIN _taskex.rate r USING (rate_id)
            WHERE u.accrued <> 0 AND u.accrued <> least(4000000000000000000, -_taskex.floor_div(-_taskex.usage_charge(u.rate_id, u.priority, u.billed) * 1000000000, r.per))
    )
    SELECT check_name, wrong = 0, CASE WHEN wrong = 0 THEN 'no ' ELSE wrong || ' ' END || what FROM checks
$$;
COMMENT ON FUNCTION taskex.check_billing() IS
'Checks what must always hold of usage, invoices and what was paid for them, by reading everything. "every attempt is metered" tells apart who has used nothing
and a metering that is broken. Result: a row per check with ok and a detail. Operators only.';

-- A sample that is cheap: the latest runs of each partition that have succeeded.
CREATE FUNCTION _taskex.metering_health(OUT looked bigint, OUT missing bigint) RETURNS record
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    home int;
    r record;
BEGIN
    looked := 0;
    missing := 0;
    FOR home IN SELECT p.partition_id FROM _taskex.partition p WHERE p.node_id = 0 AND _taskex.readable(p.partition_id) ORDER BY 1 LIMIT 64 LOOP
        EXECUTE format('SELECT count(*) AS looked, count(*) FILTER (WHERE NOT EXISTS (SELECT FROM _taskex.usage_%1$s u WHERE u.customer_id = r.customer_id AND u.source_id = r.run_id'
                ' AND u.attempt = r.attempts AND u.meter = 1 AND u.correction = 0)) AS missing'
                ' FROM (SELECT * FROM _taskex.run_%1$s ORDER BY run_id DESC LIMIT 20) r JOIN _taskex.directory d ON d.user_id = r.customer_id AND d.partition_id = %1$s'
                ' WHERE r.state = ''succeeded'' AND r.attempts > 0', home) INTO r;
        looked := looked + r.looked;
        missing := missing + r.missing;
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.metering_health() IS 'How many of the latest runs that succeeded were looked at, and how many of them have no usage.';

-- scheduled -----------------------------------------------------------------------

CREATE FUNCTION taskex.schedule_billing(closing text = '5 0 1 * *', sampling text = '0 * * * *', retention interval = NULL, digits int = 2)
    RETURNS SETOF bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
BEGIN
    IF digits IS NULL OR digits NOT BETWEEN 0 AND 9 THEN
        PERFORM _taskex.bad_value('digits must be between 0 and 9');
    ELSIF retention < '0'::interval THEN
        PERFORM _taskex.bad_value('retention must not be negative');
    END IF;
    PERFORM _taskex.require_cron('call taskex.close_invoices(), taskex.sample_usage() and taskex.remove_usage()');
    FOR t IN SELECT * FROM (VALUES (1, 'taskex closing', closing, format('SELECT taskex.close_invoices(date_trunc(''minute'', now()), %s)', digits)),
            (2, 'taskex sampling', sampling, 'SELECT taskex.sample_usage()'),
            (3, 'taskex usage retention', CASE WHEN retention IS NOT NULL THEN '17 * * * *' END, format('SELECT taskex.remove_usage(%L, 100000)', retention)))
            v (n, name, at, command) ORDER BY n LOOP
        IF t.at IS NULL THEN
            PERFORM _taskex.cron_unschedule(t.name);
        ELSE
            RETURN NEXT _taskex.cron_schedule(t.name, t.at, t.command);
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION taskex.schedule_billing(text, text, interval, int) IS
'Lets pg_cron close invoices (closing: when, as of pg_cron, by default at the beginning of the month; digits: of taskex.close_invoices()), sample what is stored (sampling: by default
each hour), and remove usage older than retention (NULL: never). NULL for one of them: not at all. A second call takes the place of the first. Result: ids of the jobs, as in cron.job.
Errors: no_scheduler (TX514) where pg_cron is missing, invalid_parameter_value (22023). Operators only.';

CREATE FUNCTION taskex.unschedule_billing()
    RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM _taskex.require_cron();
    RETURN _taskex.cron_unschedule('taskex closing', 'taskex sampling', 'taskex usage retention');
END $$;
COMMENT ON FUNCTION taskex.unschedule_billing() IS 'Ends what taskex.schedule_billing() began. Result: whether there was such a schedule. Errors: no_scheduler (TX514). Operators only.';
