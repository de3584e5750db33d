-- ledger.sql: transfers of money, balances, and the check that it adds up.
-- How entries, balances and the purses in shared memory fit together is told
-- in src/ledger/README.md.

-- Columns are in the order that wastes no space for alignment.
CREATE TABLE _taskex.entry (
    account_id bigint NOT NULL,
    transfer_id bigint NOT NULL,
    available bigint NOT NULL,
    held bigint NOT NULL,
    counterparty bigint NOT NULL,
    subject_id bigint,
    at timestamptz NOT NULL,
    partition_id int NOT NULL,
    kind text NOT NULL,
    reference text
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.entry IS
    'What a transfer changes in an account. All entries of a transfer sum to zero. Only inserted.';
COMMENT ON COLUMN _taskex.entry.account_id IS 'A user, 0: the exchange, -1: the outside world.';
COMMENT ON COLUMN _taskex.entry.available IS 'Change of what may be spent, in nano-units.';
COMMENT ON COLUMN _taskex.entry.held IS 'Change of what is held for tasks, in nano-units.';
COMMENT ON COLUMN _taskex.entry.counterparty IS 'Account of the other side; the same account for holds and releases.';
COMMENT ON COLUMN _taskex.entry.subject_id IS 'Task of a hold or release, assignment of a reward or fee.';
COMMENT ON COLUMN _taskex.entry.partition_id IS 'Home of the user concerned, also for the other side of his deposits and fees; where that was dropped, another.';
COMMENT ON COLUMN _taskex.entry.reference IS 'Idempotency key of a deposit or withdrawal, on the user''s side.';

CREATE TABLE _taskex.balance (
    account_id bigint NOT NULL,
    folded_to bigint NOT NULL,
    available bigint NOT NULL,
    held bigint NOT NULL,
    partition_id int NOT NULL
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.balance IS
    'Sums of the entries of an account on a partition up to folded_to. Entries after it count on top.';

INSERT INTO _taskex.child_table (table_name, position, fillfactor, constraints, indexes) VALUES
    ('entry', 50, 100, ARRAY['PRIMARY KEY (account_id, transfer_id)'],
        ARRAY['UNIQUE (account_id, kind, reference) WHERE reference IS NOT NULL']),
    ('balance', 51, 70, ARRAY['PRIMARY KEY (account_id)'], ARRAY[]::text[]);

-- Entries of the exchange and of the outside lie with the users concerned, and a
-- withdrawal of the exchange's on the first partition. They are history and money:
-- when their partition is dropped they move to the first of those that stay,
-- where withdrawals are looked up by their references.
CREATE FUNCTION _taskex.move_entries() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    target int;
    used boolean;
    others bigint;
BEGIN
    IF OLD.node_id <> 0 THEN
        RETURN OLD;
    END IF;
    -- readers through the parents must not wait here: DROP TABLE locks those first
    EXECUTE format('LOCK TABLE _taskex.entry_%s IN SHARE ROW EXCLUSIVE MODE', OLD.partition_id);
    EXECUTE format('SELECT count(*) > 0, count(*) FILTER (WHERE account_id > 0) FROM _taskex.entry_%s',
        OLD.partition_id) INTO used, others;
    IF NOT used THEN
        RETURN OLD;
    END IF;
    SELECT min(p.partition_id) INTO target FROM _taskex.partition p
        WHERE p.node_id = 0 AND p.partition_id <> OLD.partition_id;
    IF others > 0 THEN
        PERFORM _taskex.fail('still_in_use', format('storage partition "%s" is not empty', OLD.name),
            'Users have ledger entries on it.');
    ELSIF target IS NULL THEN
        PERFORM _taskex.fail('still_in_use', format('storage partition "%s" is not empty', OLD.name),
            'It has ledger entries of the exchange, and there is no other partition for them.',
            'Use taskex.add_partition() to make one.');
    END IF;

    -- as the fold does: nobody else moves a bound there until the end
    EXECUTE format('LOCK TABLE _taskex.balance_%s IN SHARE UPDATE EXCLUSIVE MODE', target);
    EXECUTE format('UPDATE _taskex.balance_%1$s b'
        ' SET available = b.available + m.available, held = b.held + m.held FROM'
        ' (SELECT e.account_id, sum(e.available)::bigint AS available, sum(e.held)::bigint AS held'
        '  FROM _taskex.entry_%2$s e JOIN _taskex.balance_%1$s t USING (account_id)'
        '  WHERE e.transfer_id <= t.folded_to GROUP BY 1) m'
        ' WHERE b.account_id = m.account_id', target, OLD.partition_id);
    EXECUTE format('WITH moved AS (DELETE FROM _taskex.entry_%2$s RETURNING *)'
        ' INSERT INTO _taskex.entry_%1$s (partition_id, account_id, transfer_id, available, held,'
        '  counterparty, subject_id, at, kind, reference)'
        ' SELECT %1$s, account_id, transfer_id, available, held,'
        '  counterparty, subject_id, at, kind, reference FROM moved', target, OLD.partition_id);
    RETURN OLD;
END $$;
COMMENT ON FUNCTION _taskex.move_entries() IS
    'Moves the exchange''s own entries off a storage partition that is dropped.';
CREATE TRIGGER move_entries BEFORE DELETE ON _taskex.partition
    FOR EACH ROW EXECUTE FUNCTION _taskex.move_entries();
ALTER TABLE _taskex.partition ENABLE ALWAYS TRIGGER move_entries;

-- amounts -------------------------------------------------------------------

CREATE FUNCTION _taskex.amount(nano bigint) RETURNS numeric
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'taskex_amount';
COMMENT ON FUNCTION _taskex.amount(bigint) IS 'Nano-units as an amount of money.';

-- money in and out ----------------------------------------------------------

CREATE FUNCTION taskex.deposit(login text, amount numeric, reference text)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_deposit';
COMMENT ON FUNCTION taskex.deposit(text, numeric, text) IS
'Brings money into a user''s account.
amount: greater than 0, less than 9000000000, at most 9 decimals. reference: 1 to 1024 bytes,
names the deposit: the same reference and amount again change nothing and return the same id.
Result: the transfer''s id. Errors: unknown_user (TX001), amount_out_of_range (TX202),
idempotency_mismatch (TX110) when the reference was used with another amount. Operators only.';

CREATE FUNCTION taskex.withdraw(login text, amount numeric, reference text = NULL)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_withdraw';
COMMENT ON FUNCTION taskex.withdraw(text, numeric, text) IS
'Takes money out of a user''s account; of the exchange''s earnings if login is exchange (operators only).
amount: as for taskex.deposit(). reference: NULL, or names the withdrawal as for taskex.deposit().
Result: the transfer''s id. Errors: insufficient_funds (TX201), and those of taskex.deposit().';

CREATE FUNCTION taskex.balance(login text, OUT available numeric, OUT held numeric)
    RETURNS record LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'taskex_balance';
COMMENT ON FUNCTION taskex.balance(text) IS
'What a user has: available to spend, and held for tasks that he supplied.
For operators also login exchange (fees earned) and outside (less than 0: money in the exchange).
Errors: unknown_user (TX001).';

CREATE FUNCTION taskex.statement(login text, since timestamptz = NULL, max_rows int = 100)
    RETURNS TABLE (transfer_id bigint, at timestamptz, kind text, available numeric, held numeric,
        counterparty text, subject_id bigint, reference text)
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'taskex_statement';
COMMENT ON FUNCTION taskex.statement(text, timestamptz, int) IS
'A user''s transfers, newest first: what each changed in available and held.
since: NULL for all. max_rows: at least 1. kind: deposit, withdrawal, hold, release, reward, fee.
counterparty: login of the other side, exchange or outside. subject_id: the task of a hold or
release, the assignment of a reward or fee. For operators also login exchange and outside.
Errors: unknown_user (TX001).';

-- Two branches, so that who sees only his own gets them by the index. The rows of
-- the exchange and the outside are for those who read their balances, too.
CREATE VIEW taskex.transfers WITH (security_barrier) AS
    SELECT e.transfer_id, e.at,
        CASE e.account_id WHEN 0 THEN 'exchange' WHEN -1 THEN 'outside'
            ELSE (SELECT d.login FROM _taskex.directory d WHERE d.user_id = e.account_id) END AS login,
        e.kind, trim_scale(e.available * 0.000000001) AS available, trim_scale(e.held * 0.000000001) AS held,
        CASE e.counterparty WHEN 0 THEN 'exchange' WHEN -1 THEN 'outside'
            ELSE (SELECT d.login FROM _taskex.directory d WHERE d.user_id = e.counterparty) END AS counterparty,
        e.subject_id, e.reference
    FROM _taskex.entry e
    WHERE (SELECT _taskex.caller_trusted())
        AND (e.account_id > 0 OR (SELECT _taskex.caller_admin()))
    UNION ALL
    SELECT e.transfer_id, e.at,
        CASE e.account_id WHEN 0 THEN 'exchange' WHEN -1 THEN 'outside'
            ELSE (SELECT d.login FROM _taskex.directory d WHERE d.user_id = e.account_id) END,
        e.kind, trim_scale(e.available * 0.000000001), trim_scale(e.held * 0.000000001),
        CASE e.counterparty WHEN 0 THEN 'exchange' WHEN -1 THEN 'outside'
            ELSE (SELECT d.login FROM _taskex.directory d WHERE d.user_id = e.counterparty) END,
        e.subject_id, e.reference
    FROM _taskex.entry e
    WHERE NOT (SELECT _taskex.caller_trusted())
        AND e.account_id = ANY ((SELECT _taskex.caller_ids())::bigint[]);
COMMENT ON VIEW taskex.transfers IS
    'Transfers, one row for each account that takes part. A member of taskex_user sees the rows of the users
whose db_role it is, one of taskex_app those of all users, operators also those of exchange and outside.';

-- checks --------------------------------------------------------------------

CREATE FUNCTION _taskex.fold_ledger() RETURNS int
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_fold_ledger';
COMMENT ON FUNCTION _taskex.fold_ledger() IS
    'Folds entries into balances now, where no other transaction is writing; the number of accounts folded.';

CREATE FUNCTION _taskex.purse(login text, OUT available numeric, OUT inflight numeric,
        OUT pins int, OUT loading int)
    RETURNS record LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'taskex_purse';
COMMENT ON FUNCTION _taskex.purse(text) IS
    'What shared memory has of an account''s funds, or NULL. available is NULL before the first look at the tables.';

-- STABLE, so that all checks look at one snapshot.
CREATE FUNCTION taskex.check_ledger(OUT check_name text, OUT ok boolean, OUT detail text)
    RETURNS SETOF record LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n bigint;
    total numeric;
BEGIN
    SELECT coalesce(sum(e.available), 0) + coalesce(sum(e.held), 0) INTO total FROM _taskex.entry e;
    RETURN QUERY SELECT 'the ledger sums to zero', total = 0,
        format('the sum is %s', trim_scale(total * 0.000000001));

    SELECT count(*) INTO n FROM (
        SELECT FROM _taskex.entry e GROUP BY e.transfer_id
        HAVING sum(e.available) + sum(e.held) <> 0) t;
    RETURN QUERY SELECT 'every transfer sums to zero', n = 0, format('%s transfers do not', n);

    SELECT count(*) INTO n FROM _taskex.balance b
        CROSS JOIN LATERAL (SELECT sum(e.available) AS available, sum(e.held) AS held
            FROM _taskex.entry e WHERE e.partition_id = b.partition_id
            AND e.account_id = b.account_id AND e.transfer_id <= b.folded_to) f
        WHERE (b.available, b.held) IS DISTINCT FROM (f.available, f.held);
    RETURN QUERY SELECT 'balances equal their entries', n = 0, format('%s balances do not', n);

    SELECT count(*) INTO n FROM (
        SELECT FROM _taskex.entry e WHERE e.account_id >= 0 GROUP BY e.account_id
        HAVING sum(e.available) < 0 OR sum(e.held) < 0) a;
    RETURN QUERY SELECT 'no account is overdrawn', n = 0, format('%s accounts are', n);

    SELECT count(*) INTO n FROM (
        SELECT FROM _taskex.entry e WHERE e.kind IN ('reward', 'fee') AND e.held < 0
        GROUP BY e.kind, e.subject_id HAVING count(*) > 1) p;
    RETURN QUERY SELECT 'no assignment is paid twice', n = 0, format('%s rewards or fees are', n);
END $$;
COMMENT ON FUNCTION taskex.check_ledger() IS
'Proves that the ledger adds up, on one snapshot: one row for each check, ok, and what is wrong.
Reads every entry. Operators only.';
