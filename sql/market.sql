-- market.sql: task types, tasks, assignments, results. Pairs with src/market
-- and src/lease. States and lock order: src/market/README.md.

-- Equal properties make the same type, whoever asks for it.
CREATE TABLE _taskex.task_type (
    task_type_id bigint PRIMARY KEY,
    reward bigint NOT NULL CHECK (reward >= 0),
    lease interval NOT NULL,
    auto_approve interval NOT NULL,
    title text NOT NULL,
    description text NOT NULL,
    keywords text[] NOT NULL,
    qualifications jsonb NOT NULL,
    result_schema jsonb,
    properties_hash bytea NOT NULL UNIQUE,
    created_at timestamptz NOT NULL
);
CREATE INDEX task_type_qualifications_idx ON _taskex.task_type USING gin (qualifications jsonb_path_ops);
COMMENT ON TABLE _taskex.task_type IS 'What equal tasks share. Rows never change; reward in nano-units.';

-- live: slots that are accepted or submitted, 0 .. performers; judged: slots
-- approved or rejected for good; released: slots given up, their money
-- returned. state: open, decided, complete, expired, cancelled. No CHECK constraints:
-- PostgreSQL compiles them anew for each statement, which costs as much as the
-- insert itself; taskex.check_market() checks them.
-- Held in escrow: (reward + fee) * (performers - judged - released).
CREATE TABLE _taskex.task (
    partition_id int NOT NULL,
    performers int NOT NULL,
    task_id bigint NOT NULL,
    task_type_id bigint NOT NULL,
    requester_id bigint NOT NULL,
    reward bigint NOT NULL,
    fee bigint NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    live int NOT NULL DEFAULT 0,
    judged int NOT NULL DEFAULT 0,
    released int NOT NULL DEFAULT 0,
    min_performers int,
    wanted int,
    target float8,
    confidence float8,
    state text NOT NULL DEFAULT 'open',
    consensus text,
    input jsonb NOT NULL,
    answer jsonb,
    tally jsonb,
    known_answer jsonb,
    match jsonb,
    annotation text,
    reviewing boolean NOT NULL DEFAULT false
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.task IS 'Tasks, on their requesters'' partitions.';
COMMENT ON COLUMN _taskex.task.task_type_id IS 'The type; negative for golden tasks of that type, so that they are on shelves of their own.';
COMMENT ON COLUMN _taskex.task.min_performers IS 'Dynamic plurality: so many results at least.';
COMMENT ON COLUMN _taskex.task.wanted IS
    'Dynamic plurality: so many slots may be taken at present, since those may be enough; NULL: all.';
COMMENT ON COLUMN _taskex.task.target IS 'The confidence or share that the consensus must reach.';
COMMENT ON COLUMN _taskex.task.confidence IS 'What the consensus has reached.';
COMMENT ON COLUMN _taskex.task.answer IS 'The consensus of the results so far.';
COMMENT ON COLUMN _taskex.task.tally IS 'How the results so far are spread, for people; final: all of them, or enough, have come.';
COMMENT ON COLUMN _taskex.task.known_answer IS 'Of a golden task: the right result.';
COMMENT ON COLUMN _taskex.task.match IS 'What counts as equal to it (src/market/match.h); NULL: what is equal as jsonb.';
COMMENT ON COLUMN _taskex.task.annotation IS 'What the requester notes for himself.';
COMMENT ON COLUMN _taskex.task.reviewing IS 'The requester is looking at its results.';
-- The mutable columns are in no index and pages have room for one more version
-- of each row, so updates are HOT.
-- The supplier changes all rows of a page at once: there is room for another version of each.
INSERT INTO _taskex.child_table VALUES ('task', 110, 50, ARRAY['PRIMARY KEY (task_id)'],
    ARRAY['(task_type_id, task_id)', '(expires_at)', '(requester_id, task_id)'], 'requester_id', NULL, 'task', true);

CREATE TABLE _taskex.supply (
    partition_id int NOT NULL,
    task_count int NOT NULL,
    requester_id bigint NOT NULL,
    first_task_id bigint NOT NULL,
    idempotency_key text NOT NULL,
    request_hash bytea NOT NULL
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.supply IS 'Idempotency keys of supplied tasks: which tasks a key stands for.';
INSERT INTO _taskex.child_table VALUES ('supply', 120, 100,
    ARRAY['PRIMARY KEY (requester_id, idempotency_key)'], '{}', 'requester_id');

CREATE TABLE _taskex.assignment (
    partition_id int NOT NULL,
    assignment_id bigint NOT NULL,
    performer_id bigint NOT NULL,
    task_id bigint NOT NULL,
    task_type_id bigint NOT NULL,
    requester_id bigint NOT NULL,
    reward bigint NOT NULL,
    lease_token bigint NOT NULL,
    accepted_at timestamptz NOT NULL,
    lease_until timestamptz NOT NULL,
    finished_at timestamptz,
    group_lease_id bigint,
    counted boolean NOT NULL DEFAULT false,
    state text NOT NULL DEFAULT 'accepted'
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.assignment IS
    'Assignments, on their performers'' partitions: one for ever for each performer and task.';
COMMENT ON COLUMN _taskex.assignment.group_lease_id IS 'The lease of a group that the slot is from; NULL: it was taken from the task''s row.';
COMMENT ON COLUMN _taskex.assignment.counted IS
    'What is submitted goes into the answer of the task, or is compared with a known one, at once.';
-- by performer and id: his history and his queue
INSERT INTO _taskex.child_table VALUES ('assignment', 130, 60, ARRAY['PRIMARY KEY (assignment_id)'],
    ARRAY['UNIQUE (performer_id, task_id)', '(performer_id, assignment_id)', '(lease_until)'], 'performer_id');

CREATE TABLE _taskex.result (
    partition_id int NOT NULL,
    assignment_id bigint NOT NULL,
    task_id bigint NOT NULL,
    task_type_id bigint NOT NULL,
    requester_id bigint NOT NULL,
    performer_id bigint NOT NULL,
    submitted_at timestamptz NOT NULL,
    auto_approve_at timestamptz NOT NULL,
    judged_at timestamptz,
    judged_by bigint,
    reliability float8,
    reopened boolean NOT NULL DEFAULT false,
    state text NOT NULL DEFAULT 'submitted',
    feedback text,
    result jsonb NOT NULL
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.result IS 'Submitted results, on the requesters'' partitions.';
COMMENT ON COLUMN _taskex.result.judged_by IS 'NULL: the requester; 0: nobody in time, so it was approved; else the review policy.';
COMMENT ON COLUMN _taskex.result.reliability IS 'How reliable the performer was taken to be when he submitted.';
COMMENT ON COLUMN _taskex.result.reopened IS 'Rejected, and its slot offered again.';
INSERT INTO _taskex.child_table VALUES ('result', 140, 70, ARRAY['PRIMARY KEY (assignment_id)'],
    ARRAY['(task_id, assignment_id)', '(auto_approve_at)', '(requester_id, auto_approve_at)'], 'requester_id');

-- agreed: sum of the probabilities that he was right, compared: in how many
-- cases that is known. The mean of the Beta distribution that they make is how
-- reliable he is taken to be (src/truth/one_coin.h). A summary as those of
-- summaries.sql: version goes down, so the newest row is found first.
CREATE TABLE _taskex.reliability (
    partition_id int NOT NULL,
    performer_id bigint NOT NULL,
    task_type_id bigint NOT NULL,
    version bigint NOT NULL,
    agreed float8 NOT NULL,
    compared float8 NOT NULL,
    last_at timestamptz NOT NULL
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.reliability IS
    'How performers agree with the answers of tasks, by type, on the performers'' partitions. Written by the dispatch alone.';
INSERT INTO _taskex.child_table VALUES ('reliability', 145, 100,
    ARRAY['PRIMARY KEY (performer_id, task_type_id, version)'], '{}', 'performer_id');

INSERT INTO _taskex.event_kind VALUES
    ('compared', 135, false, false, false, 'performers were compared with the answer of a task, or with a known answer', NULL,
        'agreed: by performer''s id, how probably he was right, 0 to 1');

CREATE FUNCTION _taskex.lives(user_id bigint, partition_id int) RETURNS boolean
    LANGUAGE C STABLE STRICT COST 10 AS 'MODULE_PATHNAME', 'taskex_lives';
COMMENT ON FUNCTION _taskex.lives(bigint, int) IS
'Does a row of the user on the partition count, or is it a copy of one who is being moved? Answered from shared memory, for
those who come upon rows by scanning a partition.';

-- A user's rows count where he lives; copies of one who is being moved do not.
CREATE VIEW _taskex.task_at_home AS
    SELECT t.* FROM _taskex.task t JOIN _taskex.directory d ON d.partition_id = t.partition_id AND d.user_id = t.requester_id;
COMMENT ON VIEW _taskex.task_at_home IS 'Tasks that count: those where their requesters live.';
CREATE VIEW _taskex.assignment_at_home AS
    SELECT a.* FROM _taskex.assignment a JOIN _taskex.directory d ON d.partition_id = a.partition_id AND d.user_id = a.performer_id;
COMMENT ON VIEW _taskex.assignment_at_home IS 'Assignments that count: those where their performers live.';
CREATE VIEW _taskex.result_at_home AS
    SELECT r.* FROM _taskex.result r JOIN _taskex.directory d ON d.partition_id = r.partition_id AND d.user_id = r.requester_id;
COMMENT ON VIEW _taskex.result_at_home IS 'Results that count: those where their requesters live.';

CREATE FUNCTION _taskex.fold_reliability(batch _taskex.journal_act[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    home int;
    deltas _taskex.reliability[];
BEGIN
    FOR home, deltas IN
        SELECT n.partition_id, array_agg(n::_taskex.reliability) FROM (
            SELECT _taskex.home(d.user_id) AS partition_id, d.user_id, b.task_type_id, 0::bigint AS version,
                sum(a.value::float8), count(*)::float8, max(b.at)
            FROM unnest(batch) b CROSS JOIN LATERAL jsonb_each_text(b.detail -> 'agreed') a
                JOIN _taskex.directory d ON d.user_id = a.key::bigint
            WHERE b.kind = 'compared'
            GROUP BY 1, 2, 3) n
        GROUP BY 1
    LOOP
        PERFORM _taskex.add_to_summary('reliability', home, '{performer_id,task_type_id}', '{agreed,compared}', deltas);
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.fold_reliability(_taskex.journal_act[]) IS 'Adds what performers were compared by to reliability.';
INSERT INTO _taskex.journal_consumer VALUES (50, 'fold_reliability');

CREATE TABLE _taskex.offer (
    task_type_id bigint NOT NULL,
    partition_id int NOT NULL,
    low bigint NOT NULL DEFAULT 0,
    idle boolean NOT NULL DEFAULT false,
    merged bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (task_type_id, partition_id)
);
COMMENT ON TABLE _taskex.offer IS
    'Where tasks of a type are; those with ids up to low, or all if idle, are closed. Rebuilds the feed after a restart.';

-- A supply that finds no offer on record adds a note instead of writing the
-- offer, so that open transactions do not wait for each other. The conductor
-- merges notes into offers and counts that in merged.
-- A task that is opened again lies below the stored low, perhaps: low is what that
-- must not be above.
CREATE TABLE _taskex.offer_note (
    task_type_id bigint NOT NULL,
    partition_id int NOT NULL,
    low bigint
);
COMMENT ON TABLE _taskex.offer_note IS 'Offers that are not merged into _taskex.offer yet, and how far its low must go back; NULL: not at all.';

CREATE TABLE _taskex.golden_rate (
    task_type_id bigint NOT NULL,
    requester_id bigint NOT NULL,
    rate float8 NOT NULL,
    PRIMARY KEY (task_type_id, requester_id)
);
COMMENT ON TABLE _taskex.golden_rate IS
    'How often who takes a task of a type and requester gets one whose answer is known instead: more than 0, at most 1.';

CREATE TABLE _taskex.due_cursor (
    partition_id int NOT NULL,
    kind int NOT NULL,
    handled_until timestamptz NOT NULL,
    PRIMARY KEY (partition_id, kind)
);
COMMENT ON TABLE _taskex.due_cursor IS
    'How far leases (0), reviews (1) and expiries (2) are handled, for the start after a crash.';

CREATE FUNCTION _taskex.forget_partition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM _taskex.offer o WHERE o.partition_id = OLD.partition_id;
    DELETE FROM _taskex.offer_note o WHERE o.partition_id = OLD.partition_id;
    DELETE FROM _taskex.due_cursor c WHERE c.partition_id = OLD.partition_id;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION _taskex.forget_partition() IS
    'Removes what the market has on record of a storage partition that is dropped.';
CREATE TRIGGER forget_partition AFTER DELETE ON _taskex.partition
    FOR EACH ROW EXECUTE FUNCTION _taskex.forget_partition();
ALTER TABLE _taskex.partition ENABLE ALWAYS TRIGGER forget_partition;

SELECT pg_catalog.pg_extension_config_dump('_taskex.task_type', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.offer', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.offer_note', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.due_cursor', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.golden_rate', '');

CREATE TYPE taskex.assignment AS (
    assignment_id bigint,
    task_id bigint,
    task_type bigint,
    input jsonb,
    reward numeric,
    lease_token bigint,
    lease_until timestamptz
);
COMMENT ON TYPE taskex.assignment IS
    'What a performer gets when he accepts a task. lease_token fences what he does under the lease.';

-- supplying -----------------------------------------------------------------

CREATE FUNCTION taskex.create_task_type(requester text, title text, reward numeric,
        description text = '', keywords text[] = '{}', lease interval = '1 hour',
        auto_approve interval = '3 days', qualifications jsonb = '[]', result_schema jsonb = NULL)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_create_task_type';
COMMENT ON FUNCTION taskex.create_task_type(text, text, numeric, text, text[], interval, interval, jsonb, jsonb) IS
'Makes a task type, or finds the one with equal properties.
requester: who asks. title: 1 to 256 characters. reward: for each approved assignment, 0 or more,
at most 9 decimals. description (at most 10000 characters), keywords (at most 100
of at most 100 characters): for those who look for work. lease: how long a performer
has, 1 millisecond to 366 days. auto_approve: time after submission at which work that was not judged
is approved, 0 to 366 days. qualifications: what is required of performers, a JSON array of at most 20 of
{"qualification", "comparator", "value" or "values", "guard"}; see docs/qualifications.md.
result_schema: what results must look like, in a part of JSON Schema that the reference describes;
NULL: anything.
Result: the type''s id. Errors: unknown_user (TX001), amount_out_of_range (TX202), unknown_qualification (TX115),
wrong_state (TX109) for an inactive qualification, invalid_parameter_value (22023).';

CREATE FUNCTION taskex.create_task(requester text, task_type bigint, input jsonb,
        performers int = 1, expires_in interval = '7 days', consensus text = NULL,
        idempotency_key text = NULL, min_performers int = NULL, confidence float8 = NULL,
        annotation text = NULL)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_create_task';
COMMENT ON FUNCTION taskex.create_task(text, bigint, jsonb, int, interval, text, text, int, float8, text) IS
'Supplies one task; reward and fee for all its performers are held from the requester''s balance.
task_type: from create_task_type. input: what the performers get, at most taskex.max_input_size.
performers: how many different performers are wanted, 1 to 100000. expires_in: 1 millisecond to 3660 days.
consensus: how results are combined when they are submitted (see task_answer): majority, one_coin, mean
or median; NULL: not at all. With one there can be 1000 performers at most.
idempotency_key: a repeated call with the same key and arguments returns the same task.
confidence: majority: the share of results that the answer needs, more than 0, at most 1 (NULL: more than
half); one_coin: the probability at which plurality ends, between 0 and 1. min_performers: with majority or
one_coin the plurality is dynamic: after so many results (one_coin: NULL means 3) the task is decided as soon
as the confidence is reached or, with a majority, nothing can change the answer any more. Nobody can
accept it then, and what is held for free slots goes back. performers is the most that can be needed; at a time so many are
asked as are enough if all agree, and min_performers at once. annotation: a note of at most 1024 bytes for the requester himself.
Result: the task''s id. Errors: unknown_user (TX001), unknown_task_type (TX101),
idempotency_mismatch (TX110), input_too_large (TX111), insufficient_funds (TX201).';

CREATE FUNCTION taskex.create_tasks(requester text, task_type bigint, inputs jsonb[],
        performers int = 1, expires_in interval = '7 days', consensus text = NULL,
        idempotency_key text = NULL, min_performers int = NULL, confidence float8 = NULL,
        annotation text = NULL)
    RETURNS SETOF bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_create_tasks';
COMMENT ON FUNCTION taskex.create_tasks(text, bigint, jsonb[], int, interval, text, text, int, float8, text) IS
'Supplies up to 100000 tasks at once, all or none; see create_task.
Result: their ids, in the order of inputs.';

CREATE FUNCTION taskex.create_golden_task(requester text, task_type bigint, input jsonb, known_answer jsonb,
        performers int = 100, expires_in interval = '30 days', idempotency_key text = NULL, annotation text = NULL,
        match jsonb = NULL)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_create_golden_task';
COMMENT ON FUNCTION taskex.create_golden_task(text, bigint, jsonb, jsonb, int, interval, text, text, jsonb) IS
'Supplies a golden task: one whose answer is known, to see how good performers are. It is given, at the rate of
set_golden_rate, to those who take the requester''s other tasks of the task_type; nothing that they see tells it
from these, and nobody has it twice. It is paid like them. known_answer: the right result, of the type''s
format; at most taskex.max_input_size. input, performers, expires_in, idempotency_key, annotation: as in create_task.
match: what counts as right besides what is equal as jsonb, an object: any (true: known_answer is an array of up to
1000 answers, each of them right), keys (of objects, only these count), tolerance (numbers may differ so much), ignore_case
(true: of texts); NULL: nothing. Result: the task''s id. Errors: those of create_task, result_invalid (TX114).';

CREATE FUNCTION taskex.create_golden_tasks(requester text, task_type bigint, inputs jsonb[], known_answers jsonb[],
        performers int = 100, expires_in interval = '30 days', idempotency_key text = NULL, annotation text = NULL,
        match jsonb = NULL)
    RETURNS SETOF bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_create_golden_tasks';
COMMENT ON FUNCTION taskex.create_golden_tasks(text, bigint, jsonb[], jsonb[], int, interval, text, text, jsonb) IS
'Supplies up to 100000 golden tasks at once, all or none; see create_golden_task. inputs and known_answers are of
equal length; match holds for all. Result: their ids, in the order of inputs.';

CREATE FUNCTION _taskex.answer_score(result jsonb, answer jsonb, rule jsonb)
    RETURNS numeric LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'taskex_answer_score';
COMMENT ON FUNCTION _taskex.answer_score(jsonb, jsonb, jsonb) IS
'How right a result is beside a right answer, in percent: 100 where they are equal as the rule (match of create_golden_task; NULL:
none) says; of objects the share of the answer''s keys that are right; else 0.';

CREATE FUNCTION taskex.set_golden_rate(requester text, task_type bigint, rate float8)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.set_golden_rate(text, bigint, float8) IS
'Sets how often a performer who takes one of the requester''s tasks of the task_type by accept_next gets a golden
one instead, if there is one for him. rate: 0 (never; so it is if nothing was set) to 1 (always).
Errors: unknown_task_type (TX101).';

CREATE FUNCTION _taskex.golden_rate_set(task_type bigint, partition int)
    RETURNS void LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'taskex_golden_rate_set';
COMMENT ON FUNCTION _taskex.golden_rate_set(bigint, int) IS
    'When the transaction commits, those who look for work hear that there is a golden rate on this shelf.';

CREATE FUNCTION _taskex.require_task_type(task_type bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF task_type IS NOT NULL AND NOT EXISTS (SELECT FROM _taskex.task_type y WHERE y.task_type_id = task_type) THEN
        PERFORM _taskex.fail('unknown_task_type', format('task type %s does not exist', task_type));
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.require_task_type(bigint) IS 'The error unknown_task_type unless there is such a one; NULL is fine.';

CREATE FUNCTION _taskex.require_task_types(task_types bigint[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM _taskex.check_vector(task_types, 'task_types');
    PERFORM _taskex.require_task_type(min(t)) FROM unnest(task_types) t
        WHERE NOT EXISTS (SELECT FROM _taskex.task_type y WHERE y.task_type_id = t);
END $$;
COMMENT ON FUNCTION _taskex.require_task_types(bigint[]) IS 'The error unknown_task_type unless all of these exist; NULL is fine.';

CREATE FUNCTION _taskex.set_golden_rate(requester bigint, task_type bigint, rate float8)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF rate NOT BETWEEN 0 AND 1 THEN
        RAISE 'rate must be between 0 and 1' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM _taskex.require_task_type(task_type);
    IF rate = 0 THEN
        DELETE FROM _taskex.golden_rate g WHERE g.task_type_id = task_type AND g.requester_id = requester;
    ELSE
        INSERT INTO _taskex.golden_rate AS g VALUES (task_type, requester, rate)
            ON CONFLICT (task_type_id, requester_id) DO UPDATE SET rate = excluded.rate;
        PERFORM _taskex.golden_rate_set(task_type, _taskex.home(requester));
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.set_golden_rate(bigint, bigint, float8) IS 'Does the work of taskex.set_golden_rate.';

CREATE FUNCTION taskex.expire_task(requester text, task_id bigint)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_expire_task';
COMMENT ON FUNCTION taskex.expire_task(text, bigint) IS
'Closes a task now: nobody can accept it any more, and what was held for slots that nobody has goes
back to the requester. Assignments under way may still be submitted.
Errors: unknown_task (TX102), wrong_state (TX109).';

CREATE FUNCTION taskex.validate_result(task_type bigint, result jsonb)
    RETURNS TABLE (path text, problem text)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_validate_result';
COMMENT ON FUNCTION taskex.validate_result(bigint, jsonb) IS
'What is wrong with a result that is to be submitted for a task of the type, by its result_schema.
task_type: from create_task_type. result: at most taskex.max_input_size. Result: a row for each problem,
at most 100, with the place as a JSON pointer; none: it would be taken.
Errors: unknown_task_type (TX101), input_too_large (TX111).';

-- performing ----------------------------------------------------------------

CREATE FUNCTION taskex.accept_task(performer text, task_id bigint)
    RETURNS taskex.assignment LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_accept_task';
COMMENT ON FUNCTION taskex.accept_task(text, bigint) IS
'Takes a given task under a lease.
Errors: unknown_user (TX001), unknown_task (TX102), task_not_available (TX104), own_task (TX105),
already_assigned (TX106), not_qualified (TX112) with what is missing, performer_blocked (TX113).';

CREATE FUNCTION taskex.accept_next(performer text, task_type bigint = NULL, count int = 1)
    RETURNS SETOF taskex.assignment LANGUAGE C VOLATILE ROWS 1 AS 'MODULE_PATHNAME', 'taskex_accept_next';
COMMENT ON FUNCTION taskex.accept_next(text, bigint, int) IS
'Takes the next available task that the performer has not had and that is not his own. task_type: of this
type; NULL: of any. count: up to so many, 1 to 1000. No row: there is none now. Tasks that the same
transaction has supplied are not looked at; accept_task takes them. What he is not qualified for, and tasks of requesters
who have blocked him, are passed by. Errors: unknown_user (TX001), unknown_task_type (TX101), performer_blocked (TX113) if he is suspended.';

CREATE FUNCTION taskex.extend_assignment(performer text, assignment_id bigint, by interval)
    RETURNS timestamptz LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_extend_assignment';
COMMENT ON FUNCTION taskex.extend_assignment(text, bigint, interval) IS
'Makes a lease that has not ended last longer, by 1 millisecond to 366 days.
Result: when it ends now. Errors: unknown_assignment (TX103), lease_expired (TX107), wrong_state (TX109).';

CREATE FUNCTION taskex.return_assignment(performer text, assignment_id bigint)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_return_assignment';
COMMENT ON FUNCTION taskex.return_assignment(text, bigint) IS
'Gives an accepted task back; others can have it, the performer not again.
Errors: unknown_assignment (TX103), lease_expired (TX107), wrong_state (TX109).';

CREATE FUNCTION taskex.submit_assignment(performer text, assignment_id bigint, result jsonb,
        lease_token bigint = NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_submit_assignment';
COMMENT ON FUNCTION taskex.submit_assignment(text, bigint, jsonb, bigint) IS
'Delivers the result of an assignment whose lease has not ended.
result: at most taskex.max_input_size. lease_token: as returned by accept; NULL: not checked.
Errors: unknown_assignment (TX103), lease_expired (TX107), stale_token (TX108), wrong_state (TX109),
input_too_large (TX111).';

CREATE FUNCTION taskex.submit_assignments(performer text, assignment_ids bigint[], results jsonb[])
    RETURNS int LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_submit_assignments';
COMMENT ON FUNCTION taskex.submit_assignments(text, bigint[], jsonb[]) IS
'Delivers several results, all or none; see submit_assignment. The arrays are of equal length.
Result: their number.';

-- judging -------------------------------------------------------------------

CREATE FUNCTION taskex.approve_assignment(requester text, assignment_id bigint, feedback text = NULL,
        override boolean = false)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_approve_assignment';
COMMENT ON FUNCTION taskex.approve_assignment(text, bigint, text, boolean) IS
'Approves a submitted assignment and pays it out of what is held for the task. feedback: what the
performer is told, at most 10000 bytes, or NULL. override: true: also one that was rejected, within
taskex.override_period; it is paid from the requester''s available funds, besides the task''s slots, and
a dispute over it is closed.
Errors: unknown_assignment (TX103), wrong_state (TX109), too_late (TX122), insufficient_funds (TX201).';

CREATE FUNCTION taskex.reject_assignment(requester text, assignment_id bigint, reason text,
        reopen boolean = false)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_reject_assignment';
COMMENT ON FUNCTION taskex.reject_assignment(text, bigint, text, boolean) IS
'Rejects a submitted assignment. reason: what the performer is told, not empty.
reopen: false: what was held for it goes back to the requester; true: the slot of a task that is still
open is offered to others instead.
Errors: unknown_assignment (TX103), wrong_state (TX109).';

CREATE FUNCTION taskex.task_results(requester text, task_id bigint)
    RETURNS TABLE (assignment_id bigint, performer text, state text, submitted_at timestamptz,
        judged_at timestamptz, result jsonb, feedback text)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_task_results';
COMMENT ON FUNCTION taskex.task_results(text, bigint) IS
'What was submitted for a task, oldest first. Errors: unknown_task (TX102).';

CREATE FUNCTION taskex.task_consensus(requester text, task_id bigint)
    RETURNS jsonb LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_task_consensus';
COMMENT ON FUNCTION taskex.task_consensus(text, bigint) IS
'The answer of a task: its results that were submitted and not rejected, combined as its consensus says.
See task_answer. NULL: there is none yet. Errors: unknown_task (TX102), wrong_state (TX109) if the task has no consensus.';

CREATE FUNCTION taskex.task_answer(requester text, task_id bigint)
    RETURNS TABLE (answer jsonb, confidence float8, results int, final boolean, tally jsonb)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.task_answer(text, bigint) IS
'The answer of a task that has a consensus, from the results that were submitted and not rejected.
answer: majority: the result of those who agree, NULL where too few do; one_coin: the most probable result;
mean, median: of the results that are numbers. confidence: majority: the share of the most frequent result;
one_coin: the probability that the answer is right; else NULL. results: how many count. final: all that
were wanted, or enough, have come. tally: how the first ten are spread; long ones are left out.
Errors: unknown_task (TX102), wrong_state (TX109) if the task has no consensus.';

CREATE FUNCTION _taskex.task_answer(requester bigint, task_id bigint)
    RETURNS TABLE (answer jsonb, confidence float8, results int, final boolean, tally jsonb)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
BEGIN
    EXECUTE format('SELECT requester_id, consensus, answer, confidence, tally FROM _taskex.task_%s'
            ' WHERE task_id = $1 AND requester_id = $2', _taskex.home(requester))
        INTO t USING task_id, requester;
    IF t.requester_id IS NULL THEN
        PERFORM _taskex.fail('unknown_task', format('user "%s" has no task %s', _taskex.login(requester), task_id));
    ELSIF t.consensus IS NULL THEN
        PERFORM _taskex.fail('wrong_state', format('task %s has no consensus', task_id), NULL, 'Name one when the task is supplied.');
    END IF;
    RETURN QUERY SELECT t.answer, t.confidence, coalesce((t.tally ->> 'results')::int, 0),
        coalesce((t.tally ->> 'final')::boolean, false), t.tally;
END $$;
COMMENT ON FUNCTION _taskex.task_answer(bigint, bigint) IS 'Does the work of taskex.task_answer.';

CREATE FUNCTION taskex.task_answers(requester text, task_type bigint, after bigint = 0, max_rows int = 100)
    RETURNS TABLE (task_id bigint, state text, answer jsonb, confidence float8, results int, final boolean)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.task_answers(text, bigint, bigint, int) IS
'The answers of the requester''s tasks of the task_type that have a consensus, in the order of their ids: up to
max_rows (1 to 10000) of those with ids greater than after. state: open, decided, complete, expired...
Errors: unknown_task_type (TX101).';

CREATE FUNCTION _taskex.task_answers(requester bigint, task_type bigint, after bigint, max_rows int)
    RETURNS TABLE (task_id bigint, state text, answer jsonb, confidence float8, results int, final boolean)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_sort = off AS $$
BEGIN
    IF max_rows NOT BETWEEN 1 AND 10000 THEN
        RAISE 'max_rows must be between 1 and 10000' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM _taskex.require_task_type(task_type);
    RETURN QUERY EXECUTE format('SELECT task_id, state, answer, confidence, coalesce((tally ->> ''results'')::int, 0),'
            ' coalesce((tally ->> ''final'')::boolean, false) FROM _taskex.task_%s'
            ' WHERE task_type_id = $1 AND task_id > $2 AND requester_id = $3 AND consensus IS NOT NULL'
            ' ORDER BY task_id LIMIT $4', _taskex.home(requester))
        USING task_type, after, requester, max_rows;
END $$;
COMMENT ON FUNCTION _taskex.task_answers(bigint, bigint, bigint, int) IS 'Does the work of taskex.task_answers.';

CREATE FUNCTION _taskex.count_results(requester_id bigint, task_id bigint)
    RETURNS void LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'taskex_count_results';
COMMENT ON FUNCTION _taskex.count_results(bigint, bigint) IS
'Combines the results of a task anew, if it has a consensus: for whoever changes the state of one, afterwards.
Locks the task''s row.';

CREATE FUNCTION taskex.run_due(OUT what text, OUT count bigint)
    RETURNS SETOF record LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_run_due';
COMMENT ON FUNCTION taskex.run_due() IS
'Does at once, in this session and by its taskex.clock, what the conductor does all the time: ends
leases, approves what is due, expires tasks, hands the journal over, carries out review policies. Result: how many of each.
Errors: object_not_in_prerequisite_state (55000) while a dump is being restored. Operators only.';
