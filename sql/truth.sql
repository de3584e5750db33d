-- truth.sql: which answers are right, and how reliable performers are.

-- ---- label by label, for the market (src/truth/one_coin.h) ----

CREATE FUNCTION _taskex.one_coin_reliability(agreed float8, compared float8) RETURNS float8
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'taskex_one_coin_reliability';
COMMENT ON FUNCTION _taskex.one_coin_reliability(float8, float8) IS
'Reliability (0 .. 1) of a performer who agreed "agreed" times (fractions count) out of "compared": the mean of Beta(4 + agreed, 1 + compared - agreed).';

CREATE FUNCTION _taskex.one_coin_posterior(labels text[], reliabilities float8[], possible int DEFAULT 0,
        OUT label text, OUT posterior float8) RETURNS SETOF record
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'taskex_one_coin_posterior';
COMMENT ON FUNCTION _taskex.one_coin_posterior(text[], float8[], int) IS
'Posterior of each label given to one task, in the one-coin model. labels and reliabilities (of those who gave them) go together;
possible: how many labels there could be, 0 if not declared. Rows in the order of the labels'' first votes.';

CREATE FUNCTION _taskex.one_coin_agreement(labels text[], reliabilities float8[], possible int DEFAULT 0) RETURNS float8[]
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'taskex_one_coin_agreement';
COMMENT ON FUNCTION _taskex.one_coin_agreement(text[], float8[], int) IS
'How likely each vote of a decided task is right as far as the other votes tell (0 .. 1): what to add to "agreed" of those who gave
them, with 1 to "compared". NULL for fewer than two votes.';

-- ---- over the result of a query (src/truth/inference.h) ----

-- The query runs as the caller: neither function is SECURITY DEFINER.
CREATE FUNCTION taskex.infer_truth(query text, method text, options jsonb DEFAULT '{}',
        OUT task text, OUT label text, OUT confidence float8) RETURNS SETOF record
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'taskex_infer_truth';
COMMENT ON FUNCTION taskex.infer_truth(text, text, jsonb) IS
'The most likely answer of each task, from what several performers said.
query: a SELECT with columns worker, task and label, of any types, compared as text; it runs with the caller''s rights and may only
read. Exact duplicates and rows with a NULL label are dropped.
method: majority, weighted_majority, mean, median, dawid_skene, zencrowd, glad or one_coin.
options: a JSON object with some of rounds, tolerance, reliability, prior_weight, possible, ties, as the method takes them.
Result: a row per task with its label, and how sure that is (0 to 1; NULL where it cannot be told). Of equally good labels the first
in the order of bytes, or as option ties says.
Errors: invalid_parameter_value (query, method or options), undefined_column, null_value_not_allowed (worker or task),
invalid_text_representation (mean and median of what is no number), configuration_limit_exceeded (taskex.max_inference_memory), and
those of the query itself.';

CREATE FUNCTION taskex.infer_performers(query text, method text, options jsonb DEFAULT '{}',
        OUT performer text, OUT reliability float8, OUT answers bigint, OUT parameters jsonb) RETURNS SETOF record
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'taskex_infer_performers';
COMMENT ON FUNCTION taskex.infer_performers(text, text, jsonb) IS
'How reliable each performer is by what several performers said. query, method, options and errors are those of infer_truth.
Result: a row per performer with reliability (how often he is right, 0 to 1; NULL where it cannot be told), the number of his
different answers, and parameters, what else the method knows: dawid_skene {"confusion": {true label: {given label: probability}}},
glad {"ability"}, weighted_majority {"weight"}, mean and median {"bias", "deviation"}.';

CREATE FUNCTION _taskex.inferences() RETURNS TABLE (pid int, role oid, method text, phase text, round int, rounds int,
        labels bigint, tasks bigint, performers bigint, started_at timestamptz)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_inferences';
COMMENT ON FUNCTION _taskex.inferences() IS 'What the inferences of this database are doing.';

CREATE VIEW taskex.inferences WITH (security_barrier) AS
    SELECT pid, pg_get_userbyid(role) AS role, method, phase, round, rounds, labels, tasks, performers, started_at
    FROM _taskex.inferences()
    WHERE (SELECT _taskex.caller_admin()) OR role = (SELECT oid FROM pg_roles WHERE rolname = current_user);
COMMENT ON VIEW taskex.inferences IS
'Inferences of answers that are under way: one''s own, and for operators all. phase: reading (labels: read so far), sorting, inferring
(round of at most rounds), returning.';
