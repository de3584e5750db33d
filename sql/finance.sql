-- finance.sql: fee schedules, budgets, bonuses, payouts, and views of who earned,
-- spent and moved what, and why. What moves money, and the tables that it looks
-- at, is src/ledger (ledger.sql).

-- what the functions check ----------------------------------------------------

CREATE FUNCTION _taskex.require_value(name text, given boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT given THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = format('%s must not be null', name);
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.require_value(text, boolean) IS
    'The error null_value_not_allowed unless the named argument is given.';

CREATE FUNCTION _taskex.require_length(name text, value text, min_bytes int, max_bytes int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF octet_length(value) NOT BETWEEN min_bytes AND max_bytes THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%s must have between %s and %s bytes', name, min_bytes, max_bytes);
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.require_length(text, text, int, int) IS
    'The error invalid_parameter_value unless a text, or NULL, has so many bytes.';

-- fees ------------------------------------------------------------------------

CREATE FUNCTION taskex.set_fee(share numeric, minimum numeric = 0, requester text = NULL, task_type bigint = NULL,
        performers int = 1, kind text = 'reward', valid_from timestamptz = NULL)
    RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    least_fee bigint;
    id bigint;
BEGIN
    PERFORM _taskex.require_value('share', share IS NOT NULL), _taskex.require_value('minimum', minimum IS NOT NULL),
        _taskex.require_value('performers', performers IS NOT NULL), _taskex.require_value('kind', kind IS NOT NULL);
    IF share < 0 OR share > 1 OR share * 1000000 <> trunc(share * 1000000) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'share must be between 0 and 1, with at most 6 decimals';
    ELSIF performers NOT BETWEEN 1 AND 100000 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'performers must be between 1 and 100000';
    ELSIF kind NOT IN ('reward', 'bonus') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'kind must be reward or bonus';
    ELSIF kind = 'bonus' AND performers <> 1 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'performers must be 1 where the fee is for bonuses';
    ELSIF NOT isfinite(valid_from) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'valid_from must be finite';
    END IF;
    least_fee := _taskex.nano(minimum, 'minimum');
    IF task_type IS NOT NULL THEN
        PERFORM _taskex.require_task_type(task_type);
    END IF;
    INSERT INTO _taskex.fee_rule AS f (kind, requester_id, task_type_id, min_performers, valid_from, share, minimum)
        VALUES (set_fee.kind, CASE WHEN requester IS NULL THEN 0 ELSE _taskex.kept_user_id(requester) END, coalesce(task_type, 0),
            performers, coalesce(set_fee.valid_from, _taskex.now()), (set_fee.share * 1000000)::bigint, least_fee)
        ON CONFLICT ON CONSTRAINT fee_rule_key DO UPDATE SET share = excluded.share, minimum = excluded.minimum
        RETURNING f.rule_id INTO id;
    RETURN id;
END $$;
COMMENT ON FUNCTION taskex.set_fee(numeric, numeric, text, bigint, int, text, timestamptz) IS
'Sets what the exchange takes, from a time on.
share: of the reward or bonus, 0 to 1, at most 6 decimals. minimum: the fee for an assignment or bonus is not less.
requester, task_type: only for his tasks, only for tasks of the type; NULL: any. performers: only for tasks that
want so many or more, 1 to 100000. kind: reward, or bonus (then performers is 1). valid_from: NULL: now.
The most particular rule counts: a requester''s for a type, a requester''s, a type''s, the general one; of these the one
with the highest performers that the task reaches; of these the newest that is valid. Without a rule the fee is
taskex.exchange_fee. A task''s fee is fixed when it is supplied, rounded down to the nano-unit.
Result: the rule''s id; the same scope and time again changes that rule.
Errors: unknown_user (TX001), unknown_task_type (TX101), amount_out_of_range (TX202). Operators only.';

CREATE FUNCTION taskex.drop_fee(rule_id bigint)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM _taskex.require_value('rule_id', rule_id IS NOT NULL);
    DELETE FROM _taskex.fee_rule f WHERE f.rule_id = drop_fee.rule_id;
    IF NOT FOUND THEN
        PERFORM _taskex.fail('unknown_fee', format('fee rule %s does not exist', rule_id), NULL,
            'The view taskex.fee_rules lists them.');
    END IF;
END $$;
COMMENT ON FUNCTION taskex.drop_fee(bigint) IS
'Drops a rule of fees, by its rule_id in taskex.fee_rules; an older rule of the same scope, or a more general one, takes its place. Tasks that were
supplied keep their fee. Errors: unknown_fee (TX206). Operators only.';

CREATE VIEW taskex.fee_rules WITH (security_barrier) AS
    SELECT f.rule_id, f.kind, d.login AS requester, nullif(f.task_type_id, 0) AS task_type_id,
        f.min_performers AS performers, trim_scale(f.share * 0.000001) AS share, _taskex.amount(f.minimum) AS minimum,
        f.valid_from
    FROM _taskex.fee_rule f LEFT JOIN _taskex.directory d ON d.user_id = f.requester_id
    WHERE (SELECT _taskex.caller_trusted()) OR f.requester_id = 0
        OR f.requester_id = ANY ((SELECT _taskex.caller_ids())::bigint[]);
COMMENT ON VIEW taskex.fee_rules IS
'What the exchange takes: general rules, and those of the requesters for whom the caller may act. See taskex.set_fee().';

CREATE FUNCTION taskex.quote(requester text, task_type bigint, count int = 1, performers int = 1,
        OUT reward numeric, OUT fee numeric, OUT total numeric)
    RETURNS record LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.quote(text, bigint, int, int) IS
'What tasks would cost if they were supplied now.
requester: whose rules of fees count. task_type: of the tasks. count: how many tasks, 1 or more. performers: how many each, 1 to 100000.
Result: reward and fee of one assignment, and the total that would be held. Errors: unknown_task_type (TX101).';

CREATE FUNCTION _taskex.quote(requester bigint, task_type bigint, count int, performers int,
        OUT reward numeric, OUT fee numeric, OUT total numeric)
    RETURNS record LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    nano bigint;
BEGIN
    IF count < 1 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'count must be greater than zero';
    ELSIF performers NOT BETWEEN 1 AND 100000 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'performers must be between 1 and 100000';
    END IF;
    PERFORM _taskex.require_task_type(task_type);
    SELECT y.reward INTO nano FROM _taskex.task_type y WHERE y.task_type_id = task_type;
    reward := _taskex.amount(nano);
    fee := _taskex.amount(_taskex.fee('reward', requester, task_type, performers, nano));
    total := trim_scale((reward + fee) * count * performers);
END $$;
COMMENT ON FUNCTION _taskex.quote(bigint, bigint, int, int) IS 'Body of taskex.quote().';

-- budgets ---------------------------------------------------------------------

CREATE FUNCTION taskex.set_budget(requester text, amount numeric, period text = 'none', task_type bigint = NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.set_budget(text, numeric, text, bigint) IS
'Bounds what a requester spends: what is held for his tasks, and his bonuses, with the fees.
amount: 0 or more. period: none: in all from now on; day, month: in each, by UTC. task_type: only tasks of this
type and bonuses for them; NULL: all. There can be one budget of each period for each type and one for all, at most
1000; all that fit must have enough left. What is released again (expired, rejected) comes back to the budgets
that it was taken from, if their period is not over. Setting a budget again changes its amount and keeps what was
spent. Errors: unknown_task_type (TX101), amount_out_of_range (TX202), program_limit_exceeded (54000).';

CREATE FUNCTION _taskex.set_budget(requester bigint, amount numeric, period text, task_type bigint)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    nano bigint := _taskex.nano(amount, 'amount');
BEGIN
    IF period NOT IN ('none', 'day', 'month') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'period must be none, day or month';
    END IF;
    IF task_type IS NOT NULL THEN
        PERFORM _taskex.require_task_type(task_type);
    END IF;
    IF (SELECT count(*) FROM _taskex.budget b WHERE b.requester_id = requester) >= 1000
            AND NOT EXISTS (SELECT FROM _taskex.budget b WHERE b.requester_id = requester
                AND b.task_type_id = coalesce(task_type, 0) AND b.period = set_budget.period) THEN
        RAISE EXCEPTION USING ERRCODE = 'program_limit_exceeded',
            MESSAGE = 'too many budgets', DETAIL = 'A requester can have 1000.';
    END IF;
    INSERT INTO _taskex.budget (requester_id, task_type_id, period, amount, since)
        VALUES (requester, coalesce(task_type, 0), set_budget.period, nano, _taskex.now())
        ON CONFLICT ON CONSTRAINT budget_key DO UPDATE SET amount = excluded.amount;
END $$;
COMMENT ON FUNCTION _taskex.set_budget(bigint, numeric, text, bigint) IS 'Body of taskex.set_budget().';

CREATE FUNCTION taskex.drop_budget(requester text, period text = 'none', task_type bigint = NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.drop_budget(text, text, bigint) IS
'Drops the budget that was set with the same period and task_type. One that is set later counts anew. Errors: unknown_budget (TX205).';

CREATE FUNCTION _taskex.drop_budget(requester bigint, period text, task_type bigint)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM _taskex.budget b WHERE b.requester_id = requester AND b.period = drop_budget.period
        AND b.task_type_id = coalesce(task_type, 0);
    IF NOT FOUND THEN
        PERFORM _taskex.fail('unknown_budget', format('user "%s" has no such budget', _taskex.login(requester)), NULL,
            'The view taskex.budgets lists them.');
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.drop_budget(bigint, text, bigint) IS 'Body of taskex.drop_budget().';

CREATE VIEW taskex.budgets WITH (security_barrier) AS
    SELECT d.login AS requester, nullif(b.task_type_id, 0) AS task_type_id, b.period, _taskex.amount(b.amount) AS amount,
        trim_scale(s.spent * 0.000000001) AS spent,
        trim_scale(greatest(b.amount - s.spent, 0) * 0.000000001) AS remaining, b.since
    FROM _taskex.budget b
        JOIN _taskex.directory d ON d.user_id = b.requester_id
        CROSS JOIN LATERAL (SELECT _taskex.budget_account(b.budget_id, b.period, _taskex.now()) AS id) a
        LEFT JOIN _taskex.balance o ON o.partition_id = d.partition_id AND o.account_id = a.id
        CROSS JOIN LATERAL (SELECT coalesce(o.held, 0) + coalesce(sum(e.held), 0) AS spent FROM _taskex.entry e
            WHERE e.partition_id = d.partition_id AND e.account_id = a.id AND e.transfer_id > coalesce(o.folded_to, 0)) s
    WHERE _taskex.visible(b.requester_id) AND _taskex.narrow(d.partition_id, b.requester_id, d.login, NULL);
COMMENT ON VIEW taskex.budgets IS
'Budgets of the requesters for whom the caller may act: what was spent in the present period, and what remains.';

-- bonuses ---------------------------------------------------------------------

CREATE TABLE _taskex.bonus (
    bonus_id bigint NOT NULL,
    requester_id bigint NOT NULL,
    performer_id bigint NOT NULL,
    assignment_id bigint NOT NULL,
    task_id bigint NOT NULL,
    task_type_id bigint NOT NULL,
    amount bigint NOT NULL,
    fee bigint NOT NULL,
    at timestamptz NOT NULL,
    partition_id int NOT NULL,
    reason text NOT NULL,
    idempotency_key text
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.bonus IS
    'Bonuses, on their requesters'' partitions. bonus_id is the id of the transfer, that of the fee follows.';
INSERT INTO _taskex.child_table VALUES ('bonus', 55, 100, ARRAY['PRIMARY KEY (bonus_id)'],
    ARRAY['UNIQUE (requester_id, idempotency_key) WHERE idempotency_key IS NOT NULL', '(requester_id)',
        '(performer_id)', '(assignment_id)'], 'requester_id');

CREATE FUNCTION taskex.send_bonus(requester text, assignment_id bigint, amount numeric, reason text,
        idempotency_key text = NULL)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.send_bonus(text, bigint, numeric, text, text) IS
'Pays a bonus to the performer who submitted an assignment, at once and out of available funds, whatever became of
the assignment. amount: greater than 0; the exchange''s fee comes on top. reason: what the performer is told, 1
to 10000 bytes. idempotency_key: 1 to 255 bytes, the requester''s own: a repeated call with the same key and
arguments pays nothing and returns the same bonus; without a key each call pays.
Result: the bonus''s id, which is that of its transfer. Errors: unknown_assignment (TX103), idempotency_mismatch (TX110),
insufficient_funds (TX201), amount_out_of_range (TX202), budget_exceeded (TX203).';

-- the bonus that a key stands for, or NULL
CREATE FUNCTION _taskex.bonus_of_key(requester bigint, idempotency_key text, assignment_id bigint, amount bigint, reason text)
    RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    old _taskex.bonus;
BEGIN
    EXECUTE format('SELECT * FROM _taskex.bonus_%s b WHERE b.requester_id = $1 AND b.idempotency_key = $2',
        _taskex.home(requester)) INTO old USING requester, idempotency_key;
    IF old.bonus_id IS NOT NULL
            AND (old.assignment_id, old.amount, old.reason) IS DISTINCT FROM (assignment_id, amount, reason) THEN
        PERFORM _taskex.fail('idempotency_mismatch',
            format('idempotency key "%s" was used for another bonus', idempotency_key),
            format('It was %s for assignment %s.', _taskex.amount(old.amount), old.assignment_id),
            'Use a new key for a new bonus.');
    END IF;
    RETURN old.bonus_id;
END $$;
COMMENT ON FUNCTION _taskex.bonus_of_key(bigint, text, bigint, bigint, text) IS
    'The bonus that was paid under an idempotency key, NULL, or the error idempotency_mismatch.';

CREATE FUNCTION _taskex.send_bonus(requester bigint, assignment_id bigint, amount numeric, reason text, idempotency_key text)
    RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    home int := _taskex.home(requester);
    nano bigint := _taskex.nano(amount, 'amount');
    id bigint;
    fee bigint;
    made int;
    r record;
BEGIN
    IF nano = 0 THEN
        PERFORM _taskex.fail('amount_out_of_range', 'amount must be greater than zero');
    END IF;
    PERFORM _taskex.require_length('reason', reason, 1, 10000),
        _taskex.require_length('idempotency_key', idempotency_key, 1, 255);
    EXECUTE format('SELECT r.performer_id, r.task_id, r.task_type_id FROM _taskex.result_%s r'
        ' WHERE r.assignment_id = $1 AND r.requester_id = $2', home) INTO r USING assignment_id, requester;
    IF r.performer_id IS NULL THEN
        PERFORM _taskex.fail('unknown_assignment',
            format('no result of assignment %s was submitted to the requester', assignment_id), NULL,
            'A bonus goes to a performer who submitted the assignment.');
    END IF;
    id := _taskex.bonus_of_key(requester, idempotency_key, assignment_id, nano, reason);
    IF id IS NOT NULL THEN
        RETURN id;
    END IF;

    id := _taskex.bonus_id(requester, r.performer_id);
    fee := _taskex.fee('bonus', requester, r.task_type_id, 1, nano);
    EXECUTE format('INSERT INTO _taskex.bonus_%s (partition_id, bonus_id, requester_id, performer_id, assignment_id,'
        ' task_id, task_type_id, amount, fee, at, reason, idempotency_key)'
        ' VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)'
        ' ON CONFLICT (requester_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING', home)
        USING home, id, requester, r.performer_id, assignment_id, r.task_id, abs(r.task_type_id), nano, fee,
            _taskex.now(), reason, idempotency_key;
    GET DIAGNOSTICS made = ROW_COUNT;
    IF made = 0 THEN
        -- another session was faster, and has committed
        RETURN _taskex.bonus_of_key(requester, idempotency_key, assignment_id, nano, reason);
    END IF;
    PERFORM _taskex.pay_bonus(id, requester, r.performer_id, r.task_type_id, assignment_id, nano, fee);
    PERFORM _taskex.journal('bonus', requester, r.performer_id, r.task_type_id, r.task_id, assignment_id, nano,
        jsonb_build_object('fee', fee, 'bonus_id', id));
    RETURN id;
END $$;
COMMENT ON FUNCTION _taskex.send_bonus(bigint, bigint, numeric, text, text) IS 'Body of taskex.send_bonus().';

CREATE VIEW taskex.bonuses WITH (security_barrier) AS
    SELECT b.bonus_id, b.assignment_id, b.task_id, b.task_type_id, q.login AS requester, p.login AS performer,
        _taskex.amount(b.amount) AS amount, _taskex.amount(b.fee) AS fee, b.reason, b.at AS sent_at
    FROM _taskex.bonus b
        JOIN _taskex.directory q ON q.partition_id = b.partition_id AND q.user_id = b.requester_id
        JOIN _taskex.directory p ON p.user_id = b.performer_id
    WHERE _taskex.visible(b.requester_id, b.performer_id)
        AND _taskex.narrow(b.partition_id, b.requester_id, q.login, b.task_id) AND _taskex.narrow(NULL, b.performer_id, p.login, NULL);
COMMENT ON VIEW taskex.bonuses IS
'Bonuses that the users for whom the caller may act have sent or received.';

-- payouts ---------------------------------------------------------------------

CREATE TABLE _taskex.payout (
    payout_id bigint PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY,
    minimum bigint NOT NULL,
    created_at timestamptz NOT NULL,
    max_items int NOT NULL,
    reference text NOT NULL UNIQUE,
    logins text[]
);
COMMENT ON TABLE _taskex.payout IS 'Batches of payouts to performers, with what was asked for.';

CREATE TABLE _taskex.payout_item (
    payout_id bigint NOT NULL,
    performer_id bigint NOT NULL,
    amount bigint NOT NULL,
    transfer_id bigint NOT NULL,
    return_id bigint,
    settled_at timestamptz,
    partition_id int NOT NULL,
    state text NOT NULL DEFAULT 'pending',
    external_reference text,
    error text
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.payout_item IS
    'What a payout withdrew for a performer, on his partition: pending, paid or failed (return_id: the money is back).';
INSERT INTO _taskex.child_table VALUES ('payout_item', 56, 70, ARRAY['PRIMARY KEY (payout_id, performer_id)'],
    ARRAY['(performer_id)'], 'performer_id');

SELECT pg_catalog.pg_extension_config_dump('_taskex.payout', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.payout_payout_id_seq', '');

-- What can be paid out: available, but not more than was earned and is not taken
-- out yet, so that what a requester has deposited never leaves this way.
CREATE FUNCTION _taskex.payable(user_ids bigint[], minimum bigint, max_items int)
    RETURNS TABLE (user_id bigint, partition_id int, amount bigint) LANGUAGE sql STABLE AS $$
    SELECT e.account_id, e.partition_id, p.payable
    FROM (SELECT account_id, partition_id, sum(available) AS available,
            sum(available) FILTER (WHERE kind IN ('reward', 'bonus', 'program') AND available > 0
                OR kind IN ('withdrawal', 'payout', 'payout_return', 'merge_earned')) AS earned
        FROM _taskex.entry_at_home
        WHERE account_id > 0 AND (user_ids IS NULL OR account_id = ANY (user_ids))
        GROUP BY 1, 2) e
        CROSS JOIN LATERAL (SELECT least(e.available, coalesce(e.earned, 0))::bigint AS payable) p
    WHERE p.payable >= greatest(minimum, 1)
    ORDER BY e.account_id LIMIT max_items
$$;
COMMENT ON FUNCTION _taskex.payable(bigint[], bigint, int) IS
    'Performers (of those given, or all) with at least so much to pay out, in the order of their ids. Reads their entries.';

CREATE FUNCTION _taskex.pay_out_items(payout _taskex.payout) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    user_ids bigint[];
    transfer bigint;
    p record;
BEGIN
    IF payout.logins IS NOT NULL THEN
        SELECT coalesce(array_agg(_taskex.user_id(l)), '{}') INTO user_ids FROM unnest(payout.logins) l;
    END IF;
    FOR p IN SELECT * FROM _taskex.payable(user_ids, payout.minimum, payout.max_items) LOOP
        -- he may have spent it meanwhile
        transfer := _taskex.pay_out(p.user_id, p.amount, payout.reference);
        CONTINUE WHEN transfer IS NULL;
        EXECUTE format('INSERT INTO _taskex.payout_item_%s (partition_id, payout_id, performer_id, amount, transfer_id)'
            ' VALUES ($1, $2, $3, $4, $5)', p.partition_id)
            USING p.partition_id, payout.payout_id, p.user_id, p.amount, transfer;
        PERFORM _taskex.journal('payout', NULL, p.user_id, NULL, NULL, NULL, p.amount,
            jsonb_build_object('reference', payout.reference));
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.pay_out_items(_taskex.payout) IS 'Withdraws what a new payout pays to each performer.';

CREATE FUNCTION taskex.create_payout(reference text, minimum numeric = 0, logins text[] = NULL, max_items int = 1000)
    RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    asked _taskex.payout;
    payout _taskex.payout;
BEGIN
    PERFORM _taskex.require_value('reference', reference IS NOT NULL), _taskex.require_value('minimum', minimum IS NOT NULL),
        _taskex.require_value('max_items', max_items IS NOT NULL), _taskex.require_length('reference', reference, 1, 1024);
    IF max_items NOT BETWEEN 1 AND 10000 OR cardinality(logins) > 10000 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'a payout must have between 1 and 10000 items';
    ELSIF array_ndims(logins) > 1 OR array_position(logins, NULL) IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'logins must be a one-dimensional array without nulls';
    END IF;
    asked.minimum := _taskex.nano(minimum, 'minimum');
    asked.logins := (SELECT array_agg(DISTINCT l COLLATE "C" ORDER BY l COLLATE "C") FROM unnest(create_payout.logins) l);
    IF create_payout.logins IS NOT NULL AND asked.logins IS NULL THEN
        asked.logins := '{}';
    END IF;

    -- one at a time: two that run at once would both pay what was earned once, the
    -- second out of what was deposited
    LOCK TABLE _taskex.payout IN SHARE ROW EXCLUSIVE MODE;
    INSERT INTO _taskex.payout AS p (reference, minimum, logins, max_items, created_at)
        VALUES (create_payout.reference, asked.minimum, asked.logins, create_payout.max_items, _taskex.now())
        ON CONFLICT ON CONSTRAINT payout_reference_key DO NOTHING RETURNING p.* INTO payout;
    IF payout.payout_id IS NOT NULL THEN
        PERFORM _taskex.pay_out_items(payout);
        RETURN payout.payout_id;
    END IF;
    SELECT * INTO payout FROM _taskex.payout p WHERE p.reference = create_payout.reference;
    IF (payout.minimum, payout.logins, payout.max_items) IS DISTINCT FROM (asked.minimum, asked.logins, max_items) THEN
        PERFORM _taskex.fail('idempotency_mismatch', format('reference "%s" was used for another payout', reference), NULL,
            'Use a new reference for a new payout.');
    END IF;
    RETURN payout.payout_id;
END $$;
COMMENT ON FUNCTION taskex.create_payout(text, numeric, text[], int) IS
'Withdraws what performers have earned, for a batch of payments outside; each is settled by settle_payout_item().
reference: 1 to 1024 bytes, names the batch: the same again, with the same arguments, changes nothing. minimum: who has
less is left out. logins: only these (at most 10000); NULL: all. max_items: at most so many, 1 to 10000; a further batch
takes the next. Paid out is what is available, but not more than rewards and bonuses that were not taken out before, so
no deposit leaves this way. Who spends his earnings at the same moment is left out.
Result: the payout''s id. Reads the ledger entries of all performers, or of those named.
Errors: unknown_user (TX001), idempotency_mismatch (TX110), amount_out_of_range (TX202),
configuration_limit_exceeded (53400) when taskex.purse_cache_size is too small for max_items. Operators only.';

CREATE FUNCTION taskex.settle_payout_item(reference text, login text, state text, external_reference text = NULL,
        error text = NULL)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    performer bigint;
    home int;
    old record;
    item record;
BEGIN
    PERFORM _taskex.require_value('reference', reference IS NOT NULL), _taskex.require_value('login', login IS NOT NULL),
        _taskex.require_value('state', state IS NOT NULL),
        _taskex.require_length('external_reference', external_reference, 1, 1024), _taskex.require_length('error', error, 1, 10000);
    IF state NOT IN ('paid', 'failed') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'state must be paid or failed';
    END IF;
    performer := _taskex.user_id(login);
    home := _taskex.home(performer);
    EXECUTE format('UPDATE _taskex.payout_item_%s i SET state = $1, settled_at = $2, external_reference = $3, error = $4'
        ' FROM _taskex.payout p WHERE p.reference = $5 AND i.payout_id = p.payout_id AND i.performer_id = $6'
        ' AND i.state = ''pending'' RETURNING i.payout_id, i.amount', home) INTO item
        USING state, _taskex.now(), external_reference, error, reference, performer;
    IF item.payout_id IS NULL THEN
        EXECUTE format('SELECT i.state, i.external_reference, i.error FROM _taskex.payout_item_%s i'
            ' JOIN _taskex.payout p USING (payout_id) WHERE p.reference = $1 AND i.performer_id = $2', home)
            INTO old USING reference, performer;
        IF old.state IS NULL THEN
            PERFORM _taskex.fail('unknown_payout', format('payout "%s" has no item of user "%s"', reference, login), NULL,
                'The view taskex.payout_items lists them.');
        ELSIF (old.state, old.external_reference, old.error) IS DISTINCT FROM (state, external_reference, error) THEN
            PERFORM _taskex.fail('wrong_state', format('the item of user "%s" in payout "%s" is settled already', login, reference),
                format('Its state is "%s".', old.state));
        END IF;
    ELSIF state = 'failed' THEN
        EXECUTE format('UPDATE _taskex.payout_item_%s SET return_id = _taskex.pay_back($2, $3, $4)'
            ' WHERE payout_id = $1 AND performer_id = $2', home)
            USING item.payout_id, performer, item.amount, reference;
        PERFORM _taskex.journal('payout_returned', NULL, performer, NULL, NULL, NULL, item.amount,
            jsonb_build_object('reference', reference, 'error', error));
    END IF;
END $$;
COMMENT ON FUNCTION taskex.settle_payout_item(text, text, text, text, text) IS
'Says what became of a performer''s payment in a payout that is pending.
reference: of the payout. login: the performer. state: paid, or failed: then the money is back in his account.
external_reference: the bank''s, 1 to 1024 bytes, or NULL. error: why it failed, 1 to 10000 bytes, or NULL.
The same again changes nothing. Errors: unknown_user (TX001), wrong_state (TX109) if it was settled otherwise,
unknown_payout (TX204). Operators only.';

CREATE VIEW taskex.payouts AS
    SELECT p.reference, p.payout_id, p.created_at, _taskex.amount(p.minimum) AS minimum,
        i.items, i.pending, i.paid, i.failed, trim_scale(coalesce(i.amount, 0) * 0.000000001) AS amount
    FROM _taskex.payout p
        CROSS JOIN LATERAL (SELECT count(*) AS items, count(*) FILTER (WHERE i.state = 'pending') AS pending,
                count(*) FILTER (WHERE i.state = 'paid') AS paid, count(*) FILTER (WHERE i.state = 'failed') AS failed,
                sum(i.amount) FILTER (WHERE i.state <> 'failed') AS amount
            FROM _taskex.payout_item i JOIN _taskex.directory d ON d.partition_id = i.partition_id AND d.user_id = i.performer_id
            WHERE i.payout_id = p.payout_id) i;
COMMENT ON VIEW taskex.payouts IS 'Batches of payouts; amount: without what failed.';

CREATE VIEW taskex.payout_items WITH (security_barrier) AS
    SELECT p.reference, d.login, _taskex.amount(i.amount) AS amount, i.state, p.created_at, i.settled_at,
        i.external_reference, i.error
    FROM _taskex.payout_item i
        JOIN _taskex.payout p USING (payout_id)
        JOIN _taskex.directory d ON d.partition_id = i.partition_id AND d.user_id = i.performer_id
    WHERE _taskex.visible(d.user_id) AND _taskex.visible(i.performer_id)
        AND _taskex.narrow(i.partition_id, i.performer_id, d.login, NULL);
COMMENT ON VIEW taskex.payout_items IS
'What payouts paid to the performers for whom the caller may act: pending, paid or failed.';

-- earnings --------------------------------------------------------------------

-- From the summary that the journal's dispatch keeps: short whatever was earned.
CREATE VIEW taskex.earnings WITH (security_barrier) AS
    SELECT d.login AS performer, e.day, nullif(e.task_type_id, 0) AS task_type_id, y.title, e.approved,
        _taskex.amount(e.reward) AS reward, _taskex.amount(e.bonus) AS bonus
    FROM _taskex.earning e
        JOIN _taskex.directory d ON d.partition_id = e.partition_id AND d.user_id = e.performer_id
        LEFT JOIN _taskex.task_type y ON y.task_type_id = e.task_type_id
    WHERE _taskex.visible(d.user_id) AND _taskex.visible(e.performer_id)
        AND _taskex.narrow(e.partition_id, e.performer_id, d.login, NULL);
COMMENT ON VIEW taskex.earnings IS
'What performers have earned by day (UTC) and task type: approved assignments, rewards, bonuses. It follows the work
within moments, as the conductor gets round to it; taskex.transfers and taskex.yearly_statements are exact at once.';

-- statements ------------------------------------------------------------------

CREATE VIEW taskex.yearly_statements WITH (security_barrier) AS
    SELECT y.login, y.year,
        trim_scale(y.rewards_earned * 0.000000001) AS rewards_earned, trim_scale(y.bonuses_earned * 0.000000001) AS bonuses_earned,
        trim_scale(y.withdrawn * 0.000000001) AS withdrawn, trim_scale(y.deposited * 0.000000001) AS deposited,
        trim_scale(y.rewards_paid * 0.000000001) AS rewards_paid, trim_scale(y.bonuses_paid * 0.000000001) AS bonuses_paid,
        trim_scale(y.fees_paid * 0.000000001) AS fees_paid
    FROM (
        SELECT d.login, date_part('year', e.at AT TIME ZONE 'UTC')::int AS year,
            coalesce(sum(e.available) FILTER (WHERE e.kind = 'reward'), 0) AS rewards_earned,
            coalesce(sum(e.available) FILTER (WHERE e.kind = 'bonus' AND e.available > 0), 0) AS bonuses_earned,
            coalesce(-sum(e.available) FILTER (WHERE e.kind IN ('withdrawal', 'payout', 'payout_return')), 0) AS withdrawn,
            coalesce(sum(e.available) FILTER (WHERE e.kind = 'deposit'), 0) AS deposited,
            coalesce(-sum(e.held) FILTER (WHERE e.kind = 'reward'), 0) AS rewards_paid,
            coalesce(-sum(e.available) FILTER (WHERE e.kind = 'bonus' AND e.available < 0), 0) AS bonuses_paid,
            coalesce(-sum(e.available + e.held) FILTER (WHERE e.kind IN ('fee', 'bonus_fee')), 0) AS fees_paid
        FROM (SELECT d.login, e.at, e.kind, e.available, e.held
            FROM _taskex.directory d
                JOIN _taskex.entry e ON e.partition_id = d.partition_id AND e.account_id = d.user_id
            WHERE _taskex.visible(d.user_id) AND _taskex.visible(e.account_id)
                AND _taskex.narrow(e.partition_id, e.account_id, d.login, NULL)
            UNION ALL
            -- from when he was anonymous
            SELECT d.login, e.at, e.kind, e.available, e.held
            FROM _taskex.directory d
                JOIN _taskex.identified i ON i.user_id = d.user_id AND i.anonymous_id <> d.user_id
                CROSS JOIN LATERAL (SELECT * FROM _taskex.entry e WHERE e.account_id = i.anonymous_id OFFSET 0) e
            WHERE _taskex.visible(d.user_id) AND _taskex.visible(i.user_id) AND _taskex.narrow(NULL, d.user_id, d.login, NULL)) d
            CROSS JOIN LATERAL (SELECT d.at, d.kind, d.available, d.held) e
        GROUP BY 1, 2) y;
COMMENT ON VIEW taskex.yearly_statements IS
'What users earned, took out, brought in and paid in a year (UTC), summed up from the ledger: for tax and accounts.
withdrawn: with payouts, less those that failed. With what they did while they were anonymous. A member of taskex_user sees the users whose db_role it is.';

-- audit -----------------------------------------------------------------------

-- Each entry with the act that caused it. The other side of what a requester pays
-- finds the act by the requester, where task, result and bonus are. These are looked
-- up one by one (LATERAL, LIMIT 1), which reads one partition: the planner does not
-- know that, and would read all of them to join a few rows.
CREATE VIEW _taskex.audited AS
    SELECT e.transfer_id, e.at, e.partition_id, e.account_id, e.kind, e.available, e.held, e.counterparty, e.counterparty_login, e.reference,
        coalesce(t.task_id, r.task_id) AS task_id, abs(coalesce(t.task_type_id, r.task_type_id)) AS task_type_id,
        r.assignment_id,
        CASE e.kind WHEN 'hold' THEN 'supply' WHEN 'reward' THEN 'approve' WHEN 'fee' THEN 'approve'
            WHEN 'bonus_fee' THEN 'bonus' WHEN 'usage' THEN 'run' WHEN 'usage_ahead' THEN 'run' WHEN 'run_budget' THEN 'run' WHEN 'usage_return' THEN 'invoice' WHEN 'charge' THEN 'invoice' WHEN 'program' THEN 'invoice'
            WHEN 'merge' THEN 'identify' WHEN 'merge_earned' THEN 'identify' WHEN 'budget' THEN CASE WHEN e.held > 0 THEN 'charge' ELSE 'return' END
            ELSE e.kind END AS act,
        CASE WHEN e.kind IN ('reward', 'fee') THEN
                CASE WHEN r.judged_by IS NULL THEN 'requester' WHEN r.judged_by = 0 THEN 'time' ELSE 'policy' END
            WHEN e.kind = 'release' THEN t.state
            WHEN e.kind IN ('deposit', 'payout', 'payout_return', 'usage_return', 'charge', 'program') THEN 'operator'
            WHEN e.kind IN ('bonus', 'bonus_fee', 'hold', 'budget') THEN 'requester'
            ELSE 'user' END AS cause,
        nullif(r.judged_by, 0) AS policy_id,
        CASE WHEN e.kind IN ('reward', 'fee') THEN r.feedback ELSE coalesce(b.reason, i.error) END AS reason,
        CASE WHEN e.kind IN ('hold', 'release') THEN t.requester_id = f.payer
            WHEN e.kind = 'budget' THEN coalesce(t.requester_id, r.requester_id) = f.payer
            WHEN e.kind IN ('reward', 'fee') THEN r.requester_id = f.payer AND r.state = 'approved'
                AND (e.kind = 'fee' OR r.performer_id = f.payee)
            WHEN e.kind = 'bonus' THEN b.requester_id = f.payer AND b.performer_id = f.payee
                AND b.amount = abs(e.available) AND b.assignment_id = e.subject_id
            WHEN e.kind = 'bonus_fee' THEN b.requester_id = f.payer AND b.fee = abs(e.available) AND b.assignment_id = e.subject_id
            WHEN e.kind = 'payout' THEN i.transfer_id = e.transfer_id AND i.amount = abs(e.available)
            WHEN e.kind = 'payout_return' THEN i.return_id = e.transfer_id AND i.amount = abs(e.available)
            WHEN e.kind IN ('deposit', 'withdrawal') THEN -1 IN (e.account_id, e.counterparty)
            WHEN e.kind IN ('usage_ahead', 'run_budget') AND e.subject_id IS NULL THEN true  -- taskex.check_billing() compares it with what was used
            WHEN e.kind IN ('usage', 'run_budget') THEN EXISTS (SELECT FROM _taskex.usage u WHERE u.partition_id = d.partition_id AND u.customer_id = f.payer
                    AND u.source_id = e.subject_id) OR EXISTS (SELECT FROM _taskex.usage_removed u WHERE u.customer_id = f.payer)
            WHEN e.kind IN ('usage_return', 'charge', 'program') THEN EXISTS (SELECT FROM _taskex.invoice i WHERE i.invoice_id = e.subject_id
                    AND i.customer_id IN (e.account_id, e.counterparty))
            WHEN e.kind IN ('merge', 'merge_earned') THEN EXISTS (SELECT FROM _taskex.identified i WHERE i.anonymous_id <> i.user_id
                AND (i.anonymous_id, i.user_id) IN ((e.account_id, e.counterparty), (e.counterparty, e.account_id)))
            ELSE false END IS TRUE AS explained
    FROM _taskex.entry_named e
        CROSS JOIN LATERAL (SELECT
            CASE WHEN e.kind = 'budget' OR e.account_id <= 0
                OR (e.kind IN ('reward', 'bonus') AND e.available > 0) THEN e.counterparty ELSE e.account_id END AS payer,
            CASE WHEN e.kind IN ('reward', 'bonus') AND e.available > 0 THEN e.account_id ELSE e.counterparty END AS payee) p
        -- who has been identified since is in the act as the known user
        LEFT JOIN _taskex.identified known_payer ON known_payer.anonymous_id = p.payer
        LEFT JOIN _taskex.identified known_payee ON known_payee.anonymous_id = p.payee
        CROSS JOIN LATERAL (SELECT coalesce(known_payer.user_id, p.payer) AS payer, coalesce(known_payee.user_id, p.payee) AS payee) f
        LEFT JOIN _taskex.directory d ON d.user_id = f.payer
        LEFT JOIN LATERAL (SELECT * FROM _taskex.task t WHERE e.kind IN ('hold', 'release', 'budget')
            AND t.partition_id = d.partition_id AND t.task_id = e.subject_id LIMIT 1) t ON true
        LEFT JOIN LATERAL (SELECT * FROM _taskex.result r WHERE e.kind IN ('reward', 'fee', 'bonus', 'bonus_fee', 'budget')
            AND r.partition_id = d.partition_id AND r.assignment_id = e.subject_id LIMIT 1) r ON true
        LEFT JOIN LATERAL (SELECT * FROM _taskex.bonus b WHERE e.kind IN ('bonus', 'bonus_fee') AND b.partition_id = d.partition_id
            AND b.bonus_id = e.transfer_id - CASE e.kind WHEN 'bonus_fee' THEN 1 ELSE 0 END LIMIT 1) b ON true
        LEFT JOIN LATERAL (SELECT * FROM _taskex.payout_item i WHERE e.kind IN ('payout', 'payout_return') AND i.partition_id = d.partition_id
            AND i.performer_id = f.payer AND e.transfer_id IN (i.transfer_id, i.return_id) LIMIT 1) i ON true;
COMMENT ON VIEW _taskex.audited IS 'Every ledger entry with the act that caused it; explained: there is such an act.';

-- Whole tables are joined, of which there are seldom good statistics.
CREATE FUNCTION _taskex.audit_checks() RETURNS TABLE (check_name text, wrong bigint, what text)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET enable_nestloop = off AS $$
    SELECT 'payments', count(*), 'approved assignments that were not paid their reward, or payments of others'
    FROM (SELECT assignment_id, reward FROM _taskex.assignment_at_home WHERE state = 'approved' AND reward > 0) a
        FULL JOIN (SELECT subject_id, -held AS paid FROM _taskex.entry_at_home WHERE kind = 'reward' AND held < 0) e
            ON e.subject_id = a.assignment_id
    WHERE a.reward IS DISTINCT FROM e.paid
    UNION ALL
    SELECT 'audit', count(*), 'ledger entries without an act that explains them'
    FROM _taskex.audited WHERE NOT explained
    UNION ALL
    SELECT 'bonuses', count(*), 'bonuses and payouts without their transfers'
    FROM (SELECT performer_id AS account_id, bonus_id AS transfer_id, amount FROM _taskex.bonus
        UNION ALL SELECT performer_id, transfer_id, -amount FROM _taskex.payout_item
        UNION ALL SELECT performer_id, return_id, amount FROM _taskex.payout_item WHERE state = 'failed') b
        LEFT JOIN (SELECT coalesce(i.user_id, e.account_id) AS account_id, e.transfer_id, e.available
            FROM _taskex.entry_at_home e LEFT JOIN _taskex.identified i ON i.anonymous_id = e.account_id
            WHERE e.kind IN ('bonus', 'payout', 'payout_return')) e USING (account_id, transfer_id)
    WHERE e.available IS DISTINCT FROM b.amount
$$;
COMMENT ON FUNCTION _taskex.audit_checks() IS
    'The part of taskex.check_market() that looks for the act of each transfer, and the transfer of each act.';

-- Branches and outer SELECT as in taskex.transfers.
CREATE VIEW taskex.audit WITH (security_barrier) AS
    SELECT u.transfer_id, u.at, u.login, u.kind, trim_scale(u.available * 0.000000001) AS available, trim_scale(u.held * 0.000000001) AS held,
        u.counterparty_login AS counterparty, u.act, u.cause, u.policy_id, u.task_id, u.task_type_id, u.assignment_id, u.reference, u.reason, u.explained
    FROM (
        SELECT d.login, a.*
        FROM _taskex.directory d
            JOIN _taskex.audited a ON a.partition_id = d.partition_id AND a.account_id = d.user_id
        WHERE _taskex.visible(d.user_id) AND _taskex.visible(a.account_id)
            AND _taskex.narrow(a.partition_id, a.account_id, d.login, NULL)
        UNION ALL
        -- from when he was anonymous
        SELECT d.login, a.*
        FROM _taskex.directory d
            JOIN _taskex.identified i ON i.user_id = d.user_id AND i.anonymous_id <> d.user_id
            CROSS JOIN LATERAL (SELECT * FROM _taskex.audited a WHERE a.account_id = i.anonymous_id OFFSET 0) a
        WHERE (_taskex.asked(d.login, NULL) OR NOT _taskex.caller_trusted())
            AND _taskex.visible(d.user_id) AND _taskex.visible(i.user_id) AND _taskex.narrow(NULL, d.user_id, d.login, NULL)
        UNION ALL
        SELECT d.login, a.*
        FROM _taskex.directory d
            JOIN _taskex.identified i ON i.user_id = d.user_id AND i.anonymous_id <> d.user_id
            JOIN _taskex.audited a ON a.account_id = i.anonymous_id
        WHERE NOT _taskex.asked(d.login, NULL) AND _taskex.caller_trusted()
        UNION ALL
        SELECT s.login, a.*
        FROM (VALUES (0::bigint, 'exchange'), (-1, 'outside')) s (account_id, login)
            JOIN _taskex.audited a USING (account_id)
        WHERE (SELECT _taskex.caller_admin())) u;
COMMENT ON VIEW taskex.audit IS
'taskex.transfers with the act that caused each: act (supply, release, approve, bonus, deposit, withdrawal, payout,
payout_return, identify, run: what was used, invoice), cause (who or what: requester, user, operator, time: nobody judged in time, policy: the review policy
policy_id; of a release the state of the task), task, assignment, reason. explained: the act is on record, as it must be.';
