-- push.sql: the requesters' side of supplies: tasks that are new, or wait, are leased
-- for the groups that are best at them, if these accept. docs/supply.md has the rules.

-- slots 0: it was asked and declined; explained tells why.
CREATE TABLE _taskex.push (
    group_id int NOT NULL,
    task_type_id bigint NOT NULL,
    slots int NOT NULL,
    explained jsonb NOT NULL,
    at timestamptz NOT NULL,
    until timestamptz NOT NULL,
    PRIMARY KEY (group_id, task_type_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE _taskex.push IS 'What was last pushed to a group of a task type: until then the supply has at least so many slots.';

CREATE TABLE _taskex.push_score (
    group_id int NOT NULL,
    task_type_id bigint NOT NULL,
    score float8 NOT NULL,
    PRIMARY KEY (group_id, task_type_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE _taskex.push_score IS 'How good groups are at task types, as of push_turn.scored_at.';

CREATE TABLE _taskex.push_turn (
    only_one boolean PRIMARY KEY CHECK (only_one),
    task_type_id bigint NOT NULL,
    requester_id bigint NOT NULL,
    scored_at timestamptz NOT NULL
);
COMMENT ON TABLE _taskex.push_turn IS 'One row: the last offer of the catalogue that was looked at in turn. Who pushes holds it.';
SELECT pg_catalog.pg_extension_config_dump('_taskex.push', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.push_score', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.push_turn', '');

CREATE FUNCTION _taskex.score_groups() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    WITH scored AS MATERIALIZED (
        SELECT p.group_id, p.task_type_id, _taskex.proficiency_score(p.quotient, p.success, p.volume, p.longevity, p.reputation) AS score
        FROM _taskex.proficiency p
    ), gone AS (
        DELETE FROM _taskex.push_score o
            WHERE NOT EXISTS (SELECT FROM scored s WHERE s.group_id = o.group_id AND s.task_type_id = o.task_type_id)
    )
    INSERT INTO _taskex.push_score AS o SELECT s.* FROM scored s JOIN _taskex.performer_group g USING (group_id)
        ON CONFLICT (group_id, task_type_id) DO UPDATE SET score = excluded.score WHERE o.score IS DISTINCT FROM excluded.score;
    -- pushes of long ago, and of groups that a transaction with an old snapshot dropped
    DELETE FROM _taskex.push o USING (SELECT p.group_id, p.task_type_id FROM _taskex.push p WHERE p.until < _taskex.now() - interval '1 day'
            OR NOT EXISTS (SELECT FROM _taskex.performer_group g WHERE g.group_id = p.group_id) FOR UPDATE SKIP LOCKED) p
        WHERE o.group_id = p.group_id AND o.task_type_id = p.task_type_id;
END $$;
COMMENT ON FUNCTION _taskex.score_groups() IS 'Brings push_score up to date with _taskex.proficiency.';

-- of at most 20 members who worked of late or, if none is known, of others (20 of the list, 20 of the partitions)
CREATE FUNCTION _taskex.share_qualified(for_group int, requester_id bigint, task_type_id bigint) RETURNS float8
    LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    homes int[] := (SELECT g.partition_ids FROM _taskex.performer_group g WHERE g.group_id = for_group);
    sample bigint[];
BEGIN
    sample := ARRAY(SELECT w.performer_id FROM (SELECT h.performer_id, max(h.hour) AS hour FROM (SELECT k.performer_id, k.hour FROM _taskex.work_hour k
                ORDER BY k.hour DESC LIMIT 2000) h GROUP BY 1) w
            JOIN _taskex.directory d ON d.user_id = w.performer_id
        WHERE d.partition_id = ANY (homes) OR EXISTS (SELECT FROM _taskex.group_member m WHERE m.user_id = w.performer_id AND m.group_id = for_group)
        ORDER BY w.hour DESC, w.performer_id LIMIT 20);
    IF sample = '{}' THEN
        sample := ARRAY(SELECT m.user_id FROM _taskex.group_member m WHERE m.group_id = for_group ORDER BY 1 LIMIT 20)
            || ARRAY(SELECT s.performer_id FROM _taskex.standing s JOIN _taskex.directory d ON d.user_id = s.performer_id AND d.partition_id = s.partition_id
                WHERE s.partition_id = ANY (homes) LIMIT 20);
    END IF;
    RETURN (SELECT coalesce(avg(_taskex.may_find(u, $2, $3, 'accept', NULL, NULL)::int), 0) FROM unnest(sample) u WHERE u <> $2);
END $$;
COMMENT ON FUNCTION _taskex.share_qualified(int, bigint, bigint) IS
    'Which share of a group''s members may accept tasks of the type and requester, by at most 20 of those who worked last.';

-- Offers that are looked at now: of the requester, or the newest ones and the next
-- 100 in turn; those with free slots that nothing is known of yet, or that wait.
CREATE FUNCTION _taskex.offers_to_push(of_requester bigint, at timestamptz)
    RETURNS TABLE (task_type_id bigint, requesters bigint[], slots bigint, since timestamptz) LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_column
DECLARE
    patience interval := current_setting('taskex.supply_horizon')::interval;
    turn _taskex.push_turn := (SELECT t FROM _taskex.push_turn t);
    looked _taskex.catalogue[];
    next _taskex.catalogue[];
BEGIN
    IF of_requester IS NOT NULL THEN
        looked := ARRAY(SELECT c FROM (SELECT DISTINCT p.task_type_id FROM _taskex.progress p
                WHERE p.partition_id = _taskex.home(of_requester) AND p.requester_id = of_requester AND p.task_type_id > 0) p
            JOIN _taskex.catalogue c ON c.task_type_id = p.task_type_id AND c.requester_id = of_requester AND c.magnitude >= 0
            ORDER BY c.supplied_at DESC, c.task_type_id LIMIT 100);
    ELSE
        next := ARRAY(SELECT c FROM _taskex.catalogue c WHERE (c.task_type_id, c.requester_id) > (turn.task_type_id, turn.requester_id)
            ORDER BY c.task_type_id, c.requester_id LIMIT 100);
        UPDATE _taskex.push_turn SET
            task_type_id = CASE WHEN cardinality(next) < 100 THEN 0 ELSE next[100].task_type_id END,
            requester_id = CASE WHEN cardinality(next) < 100 THEN 0 ELSE next[100].requester_id END;
        looked := next || ARRAY(SELECT c FROM _taskex.catalogue c WHERE c.magnitude >= 0
            ORDER BY c.supplied_at DESC, c.task_type_id, c.requester_id LIMIT 20);
    END IF;
    RETURN QUERY SELECT o.task_type_id, array_agg(o.requester_id ORDER BY o.created_at, o.requester_id), sum(o.open)::bigint, min(o.created_at)
        FROM (SELECT c.task_type_id, c.requester_id, c.supplied_at, t.created_at,
                CASE WHEN g.exact THEN g.slots ELSE greatest(c.slots - c.used, g.slots) END AS open
            FROM (SELECT DISTINCT l.* FROM unnest(looked) l) c
                CROSS JOIN LATERAL _taskex.glance(c.task_type_id, c.requester_id, c.last_task_id, -1) g
                JOIN _taskex.directory u ON u.user_id = c.requester_id
                CROSS JOIN LATERAL (SELECT t.created_at FROM _taskex.task t WHERE t.partition_id = u.partition_id AND t.task_id = g.task_id LIMIT 1) t
            WHERE c.magnitude >= 0) o
        WHERE of_requester IS NOT NULL OR o.created_at <= at - patience
            OR NOT EXISTS (SELECT FROM _taskex.push p WHERE p.task_type_id = o.task_type_id AND p.at >= o.supplied_at)
        GROUP BY 1 ORDER BY 4, 1 LIMIT 10;
END $$;
COMMENT ON FUNCTION _taskex.offers_to_push(bigint, timestamptz) IS
    'Task types with free slots that are to be pushed now, those first that wait longest; and of which requesters.';

-- Groups that may be asked, the best first. have: slots that it has; room: how many
-- more it may have; expected: accepts within its horizon.
CREATE FUNCTION _taskex.groups_to_ask(of_type bigint, at timestamptz)
    RETURNS TABLE (group_id int, accept_push boolean, score float8, expected float8, have int, room int, lease interval)
    LANGUAGE sql VOLATILE AS $$
    WITH expected AS (
        SELECT t.group_id, sum((t.explained ->> 'expected')::float8) AS total,
            max((t.explained ->> 'expected')::float8) FILTER (WHERE t.task_type_id = of_type AND NOT t.explained ? 'trial') AS known
        FROM _taskex.supply_target t GROUP BY 1
    ), score AS (
        -- what a group has not done it is thought to do half as well as the rest
        SELECT s.group_id, coalesce(max(s.score) FILTER (WHERE s.task_type_id = of_type), avg(s.score) / 2) AS score
        FROM _taskex.push_score s GROUP BY 1
    ), kept AS (
        SELECT l.group_id, coalesce(sum(l.ready + l.reserved + l.pending) FILTER (WHERE l.task_type_id = of_type), 0)::int AS have,
            sum(l.ready + l.reserved + l.pending)::int AS in_all
        FROM _taskex.supply_list() l GROUP BY 1
    )
    SELECT g.group_id, g.accept_push, s.score, coalesce(e.known, greatest(e.total * _taskex.trial_share(), 1)), coalesce(k.have, 0),
        least(current_setting('taskex.supply_limit')::int - coalesce(k.have, 0), g.max_slots - coalesce(k.in_all, 0)),
        coalesce(g.lease, current_setting('taskex.supply_lease')::interval)
    FROM _taskex.performer_group g JOIN expected e USING (group_id) JOIN score s USING (group_id) LEFT JOIN kept k USING (group_id)
    -- nobody is there who could accept, or the last push is not used up
    WHERE e.total >= 0.5 AND NOT EXISTS (SELECT FROM _taskex.push p WHERE p.group_id = g.group_id AND p.task_type_id = of_type
        AND (p.until > $2 AND p.slots > 0 AND k.have > 0 OR p.slots = 0 AND p.at > $2 - interval '1 minute' AND p.at <= $2))
    ORDER BY s.score DESC, g.group_id LIMIT 10
$$;
COMMENT ON FUNCTION _taskex.groups_to_ask(bigint, timestamptz) IS
    'The ten groups that are best at a task type, of those that have not just declined and have used up what was pushed before.';

-- Whoever pushes may be a requester whose transaction goes on for long: nobody waits
-- for his locks, and what he pushes is left to him.
CREATE FUNCTION _taskex.begin_push(group_id int, task_type_id bigint) RETURNS boolean LANGUAGE sql VOLATILE AS
    $$SELECT _taskex.claim_job('push ' || $1, $2)$$;
COMMENT ON FUNCTION _taskex.begin_push(int, bigint) IS 'Is the row of push the caller''s, until his transaction ends? False: another pushes the same.';

CREATE FUNCTION _taskex.push_tasks(of_requester bigint = NULL) RETURNS int
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    at timestamptz := _taskex.now();
    scored timestamptz;
    fresh interval;
    offer record;
    g record;
    qualified float8;
    refusal text;
    ids int[];
    paces float8[];
    limits int[];
    leases interval[];
    facts jsonb[];
    wanted int;
    got int;
    pushed int := 0;
BEGIN
    IF NOT current_setting('taskex.supply')::boolean THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = 'supplies are switched off',
            HINT = 'Set taskex.supply = on.';
    END IF;
    IF of_requester IS NULL THEN
        IF NOT EXISTS (SELECT FROM _taskex.push_turn) THEN
            INSERT INTO _taskex.push_turn VALUES (true, 0, 0, '-infinity') ON CONFLICT (only_one) DO NOTHING;
        END IF;
        SELECT t.scored_at INTO scored FROM _taskex.push_turn t FOR UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
            RETURN 0;       -- another does it
        END IF;
        -- where no group is good at anything yet a look costs nothing
        fresh := CASE WHEN EXISTS (SELECT FROM _taskex.push_score) THEN '5 minutes' ELSE '5 seconds' END;
        IF scored <= at - fresh OR scored > at THEN
            PERFORM _taskex.score_groups();
            UPDATE _taskex.push_turn SET scored_at = at;
        END IF;
    END IF;
    FOR offer IN SELECT * FROM _taskex.offers_to_push(of_requester, at) LOOP
        ids := '{}'; paces := '{}'; limits := '{}'; leases := '{}'; facts := '{}';
        FOR g IN SELECT * FROM _taskex.groups_to_ask(offer.task_type_id, at) LOOP
            CONTINUE WHEN NOT _taskex.keep_group(g.group_id);       -- dropped meanwhile
            qualified := _taskex.share_qualified(g.group_id, offer.requesters[1], offer.task_type_id);
            refusal := CASE WHEN NOT g.accept_push THEN 'accept_push' WHEN g.room <= 0 THEN 'limit' WHEN qualified = 0 THEN 'qualifications'
                WHEN g.have >= g.expected THEN 'enough' END;
            IF refusal IS NOT NULL THEN
                -- who asks for his own tasks says nothing for others'
                CONTINUE WHEN of_requester IS NOT NULL OR NOT _taskex.begin_push(g.group_id, offer.task_type_id);
                INSERT INTO _taskex.push VALUES (g.group_id, offer.task_type_id, 0, jsonb_build_object('declined', refusal), at, at)
                    ON CONFLICT (group_id, task_type_id) DO UPDATE SET slots = 0, explained = excluded.explained, at = excluded.at, until = excluded.until;
                CONTINUE;
            END IF;
            ids := ids || g.group_id;
            paces := paces || g.expected;
            limits := limits || least(ceil(g.expected - g.have), g.room)::int;
            leases := leases || g.lease;
            facts := facts || jsonb_build_object('score', round((g.score * qualified)::numeric, 4), 'proficiency', round(g.score::numeric, 4),
                'qualified', round(qualified::numeric, 4), 'expected', round(g.expected::numeric, 3), 'since', offer.since);
        END LOOP;
        -- the best three of those that accept, in proportion to what they are expected to accept
        FOR g IN SELECT c.*, offer.slots * c.pace / sum(c.pace) OVER () AS part
                FROM (SELECT * FROM unnest(ids, paces, limits, leases, facts) c (group_id, pace, most, lease, fact)
                    ORDER BY (c.fact ->> 'score')::float8 DESC, c.group_id LIMIT 3) c ORDER BY (c.fact ->> 'score')::float8 DESC, c.group_id LOOP
            CONTINUE WHEN NOT _taskex.begin_push(g.group_id, offer.task_type_id);
            wanted := least(ceil(g.part), g.most);
            got := CASE WHEN of_requester IS NULL THEN _taskex.supply_acquire(g.group_id, offer.task_type_id, wanted, _taskex.takers(g.group_id, offer.task_type_id))
                ELSE _taskex.supply_acquire_of(g.group_id, offer.task_type_id, wanted, _taskex.takers(g.group_id, offer.task_type_id), of_requester) END;
            CONTINUE WHEN got = 0;          -- others were faster
            pushed := pushed + got;
            INSERT INTO _taskex.push VALUES (g.group_id, offer.task_type_id, got, g.fact || jsonb_build_object('share', wanted), at, at + g.lease)
                ON CONFLICT (group_id, task_type_id) DO UPDATE SET slots = excluded.slots, explained = excluded.explained, at = excluded.at, until = excluded.until;
        END LOOP;
    END LOOP;
    RETURN pushed;
END $$;
COMMENT ON FUNCTION _taskex.push_tasks(bigint) IS
    'Body of taskex.push_tasks(). The supplier calls it too, for all (NULL). Result: slots.';

CREATE FUNCTION taskex.push_tasks(requester text = NULL) RETURNS int
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.push_tasks(text) IS
'Leases tasks for the groups of performers that are best at them, if these accept, now and in the caller''s transaction; the supplier does so
every ten seconds. requester: all types of this requester that have free slots, 100 at most; NULL: of all requesters, what is new, and what has waited for
longer than taskex.supply_horizon, which members of taskex_app may ask for. docs/supply.md says who is asked and how much each is given; taskex.pushes shows it.
Result: slots pushed. Errors: unknown_user (TX001), insufficient_privilege (42501), object_not_in_prerequisite_state (55000) without supplies.';

CREATE VIEW taskex.pushes AS
    SELECT g.name AS group_name, p.task_type_id, y.title, p.slots, p.explained ->> 'declined' AS declined, p.explained - 'declined' AS explained, p.at, p.until
    FROM _taskex.push p JOIN _taskex.performer_group g USING (group_id) LEFT JOIN _taskex.task_type y USING (task_type_id);
COMMENT ON VIEW taskex.pushes IS
'What was last pushed to groups: slots of a task type, kept at least until then; or why the group declined (accept_push, limit, qualifications, enough). explained:
score = proficiency × qualified, accepts expected within the horizon, share of the slots, since when the oldest task waits. Operators only.';
