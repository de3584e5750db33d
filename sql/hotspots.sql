-- hotspots.sql: which groups of performers are good at what, and who would be better
-- off elsewhere; docs/supply.md has the score. No table of its own.

-- Who worked within the last days and what was approved of his work in four weeks:
-- at most the last 100,000 rows of work_hour, then one range of an index for each performer.
-- partition_id and standing_partition_id are the same: conditions on both reach all tables.
CREATE VIEW _taskex.skill AS
    WITH recent AS MATERIALIZED (
        SELECT DISTINCT w.performer_id FROM (SELECT h.performer_id FROM _taskex.work_hour h
            WHERE h.hour > _taskex.now() - interval '9 days' ORDER BY h.hour DESC LIMIT 100000) w
    )
    SELECT e.partition_id, r.performer_id, e.task_type_id, e.approved, e.days, s.approved AS all_approved, s.rejected, s.agreed, s.compared,
        s.partition_id AS standing_partition_id
    FROM recent r JOIN _taskex.directory d ON d.user_id = r.performer_id
        CROSS JOIN LATERAL (SELECT n.partition_id, n.task_type_id, sum(n.approved) AS approved, count(*) FILTER (WHERE n.approved > 0) AS days
            FROM _taskex.earning n WHERE n.partition_id = d.partition_id AND n.performer_id = r.performer_id AND n.task_type_id > 0
                AND n.day > ((_taskex.now() - interval '28 days') AT TIME ZONE 'UTC')::date
            GROUP BY n.partition_id, n.task_type_id HAVING sum(n.approved) > 0) e
        JOIN _taskex.standing s ON s.partition_id = d.partition_id AND s.performer_id = r.performer_id;
COMMENT ON VIEW _taskex.skill IS
    'What was approved of performers'' work of late: by performer and task type, with the days on which it was; and his standing.';

CREATE VIEW _taskex.proficiency AS
    WITH skill AS MATERIALIZED (
        SELECT * FROM _taskex.skill
    ), membership AS (
        SELECT p.performer_id, g.group_id FROM (SELECT DISTINCT k.performer_id, k.partition_id FROM skill k) p
            JOIN _taskex.performer_group g ON g.partition_ids @> ARRAY[p.partition_id]
        UNION SELECT m.user_id, m.group_id FROM _taskex.group_member m WHERE m.user_id IN (SELECT k.performer_id FROM skill k)
    ), by_type AS (
        SELECT m.group_id, k.task_type_id, count(*) AS performers, sum(k.approved) AS approved,
            -- Wilson's lower bound, z = 1.645, of the members' approval, each weighted by what he did of the type
            sum(k.approved * ((w.p + 2.706 / (2 * w.n) - 1.645 * sqrt(w.p * (1 - w.p) / w.n + 2.706 / (4 * w.n ^ 2))) / (1 + 2.706 / w.n)))
                / sum(k.approved) AS success,
            sum(k.approved * (k.agreed + 2.0) / (k.compared + 4.0)) / sum(k.approved) AS reputation,
            sum(k.approved * k.days) / sum(k.approved) AS days
        FROM membership m JOIN skill k USING (performer_id)
            CROSS JOIN LATERAL (SELECT greatest(k.all_approved + k.rejected, 1)::float8 AS n,
                k.all_approved / greatest(k.all_approved + k.rejected, 1)::float8 AS p) w
        GROUP BY m.group_id, k.task_type_id
    ), shares AS (
        SELECT t.*, sum(t.approved) OVER (PARTITION BY t.group_id) AS of_group, y.approved AS of_type, a.approved AS of_all
        FROM by_type t JOIN (SELECT k.task_type_id, sum(k.approved) AS approved FROM skill k GROUP BY 1) y USING (task_type_id)
            CROSS JOIN (SELECT sum(k.approved) AS approved FROM skill k) a
    )
    SELECT s.group_id, s.task_type_id, s.performers, s.approved, s.of_type, s.of_group, f.quotient, s.success::float8 AS success,
        (s.approved / (s.approved + 50.0))::float8 AS volume, (s.days / (s.days + 3.0))::float8 AS longevity, s.reputation::float8 AS reputation
    FROM shares s
        -- as if 20 more had been done by the group, in the proportions of all
        CROSS JOIN LATERAL (SELECT (((s.approved + 20 * s.of_type / s.of_all) / (s.of_group + 20)) / (s.of_type / s.of_all))::float8 AS quotient) f;
COMMENT ON VIEW _taskex.proficiency IS 'How good groups of performers are at task types: what the score of hot spots is made of.';

CREATE FUNCTION _taskex.proficiency_score(quotient float8, success float8, volume float8, longevity float8, reputation float8)
    RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
    'SELECT (quotient / (1 + quotient)) ^ 0.3 * success ^ 0.25 * volume ^ 0.2 * longevity ^ 0.1 * reputation ^ 0.15';
COMMENT ON FUNCTION _taskex.proficiency_score(float8, float8, float8, float8, float8) IS
    'The score of hot spots and of pushes, 0 to 1: a weighted geometric mean of what _taskex.proficiency has.';

CREATE VIEW taskex.hot_spots AS
    SELECT g.name AS group_name, p.task_type_id, y.title, p.performers, p.approved::bigint AS approved, round(p.approved / p.of_type, 4) AS share,
        round(p.quotient::numeric, 2) AS quotient, round(p.success::numeric, 4) AS success, round(p.volume::numeric, 4) AS volume,
        round(p.longevity::numeric, 4) AS longevity, round(p.reputation::numeric, 4) AS reputation,
        round(_taskex.proficiency_score(p.quotient, p.success, p.volume, p.longevity, p.reputation)::numeric, 4) AS score
    FROM _taskex.proficiency p JOIN _taskex.performer_group g USING (group_id) JOIN _taskex.task_type y USING (task_type_id)
    WHERE p.quotient >= 1.5 AND p.approved >= 20
    ORDER BY score DESC, g.name, p.task_type_id;
COMMENT ON VIEW taskex.hot_spots IS
'Groups of performers that are specially good at a task type, best first: at least 20 results of it were approved in four weeks, and the
type''s share in the group''s work is at least 1.5 times that in all work (quotient). performers: members who did it. approved: their results. share:
of all that was approved of the type. success, volume, longevity, reputation, and the score of all: 0 to 1, see docs/supply.md.
Who has not worked for nine days does not count. As of the conductor''s last round. Operators only.';

CREATE FUNCTION taskex.propose_moves(max_moves int = 10)
    RETURNS TABLE (login text, source text, target text, task_type_id bigint, gain float8, reason text)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    readable int[] := _taskex.readable_partitions();
BEGIN
    IF max_moves IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'max_moves must not be null';
    END IF;
    PERFORM _taskex.check_range('max_moves', max_moves, 1, 1000);
    RETURN QUERY WITH skill AS MATERIALIZED (
        SELECT k.partition_id, k.performer_id, k.task_type_id, k.approved::float8 AS approved FROM _taskex.skill k
        WHERE k.partition_id = ANY (readable) AND k.standing_partition_id = ANY (readable)
    ), total AS MATERIALIZED (
        SELECT k.task_type_id, sum(k.approved) AS approved FROM skill k GROUP BY 1
    ), place AS MATERIALIZED (
        SELECT k.partition_id, k.task_type_id, sum(k.approved) AS approved, count(*) AS performers FROM skill k GROUP BY 1, 2
    ), best AS (
        -- where most of a type is done
        SELECT DISTINCT ON (p.task_type_id) p.* FROM place p ORDER BY p.task_type_id, p.approved DESC, p.partition_id
    ), main AS (
        -- what a performer does most
        SELECT DISTINCT ON (k.performer_id) k.* FROM skill k ORDER BY k.performer_id, k.approved DESC, k.task_type_id
    ), candidate AS (
        SELECT m.performer_id, m.partition_id AS source, b.partition_id AS target, m.task_type_id, m.approved AS own, b.approved AS there,
            b.performers, y.approved AS of_type
        FROM main m JOIN best b USING (task_type_id) JOIN total y USING (task_type_id)
        WHERE b.partition_id <> m.partition_id AND m.approved >= 10
    ), weighed AS (
        -- the change of the sum of squared shares of all types that he does
        SELECT c.*, (SELECT sum(2 * k.approved * (coalesce(t.approved, 0) - s.approved + k.approved) / y.approved ^ 2)
            FROM skill k JOIN total y USING (task_type_id) JOIN place s ON s.partition_id = c.source AND s.task_type_id = k.task_type_id
                LEFT JOIN place t ON t.partition_id = c.target AND t.task_type_id = k.task_type_id
            WHERE k.performer_id = c.performer_id) AS gain
        FROM candidate c
    )
    SELECT d.login, s.name::text, t.name::text, w.task_type_id, w.gain,
        format('%s results of "%s" approved in four weeks; %s performers of %s do %s %% of all of it', w.own, y.title, w.performers, t.name,
            round((100 * w.there / w.of_type)::numeric))
    FROM weighed w JOIN _taskex.directory d ON d.user_id = w.performer_id JOIN _taskex.partition s ON s.partition_id = w.source
        JOIN _taskex.partition t ON t.partition_id = w.target JOIN _taskex.task_type y USING (task_type_id)
    WHERE w.gain > 0 ORDER BY w.gain DESC, w.performer_id LIMIT max_moves;
END $$;
COMMENT ON FUNCTION taskex.propose_moves(int) IS
'Moves of performers to other storage partitions that would form or strengthen hot spots, the best first; nothing is moved. max_moves: 1 to 1000.
Result: who; from and to which storage partition; for which task type; gain: by how much the concentrations of all types that he
works on rise together (the sum of squared shares of the partitions in a type: 1 if it is all done in one place), each move for itself;
why. Proposed are performers who worked in the last nine days and of whose work of a type at least 10 results were approved in four weeks.
Errors: invalid_parameter_value (22023). Operators only.';
