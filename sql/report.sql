-- report.sql: views and checks for people and monitoring.

CREATE VIEW taskex.task_types AS
    SELECT task_type_id, title, _taskex.amount(reward) AS reward, description, keywords,
        lease, auto_approve, qualifications, created_at, result_schema
    FROM _taskex.task_type;
COMMENT ON VIEW taskex.task_types IS 'Task types: what equal tasks share.';

CREATE VIEW taskex.tasks WITH (security_barrier) AS
    SELECT t.task_id, d.login AS requester, t.task_type_id, y.title,
        _taskex.task_state(t.state, t.expires_at, t.performers, t.judged, t.released, r.waiting, t.reviewing) AS state,
        t.performers, t.performers - t.live + h.at_hand AS free_slots, t.live - h.at_hand - r.waiting - t.judged AS in_progress,
        r.waiting AS submitted, t.judged, _taskex.amount(t.reward) AS reward, _taskex.amount(t.fee) AS fee,
        t.consensus, t.created_at, t.expires_at, t.input, t.annotation
    FROM _taskex.directory d
        JOIN _taskex.task t ON t.partition_id = d.partition_id AND t.requester_id = d.user_id
        JOIN _taskex.task_type y USING (task_type_id)
        CROSS JOIN LATERAL (SELECT count(*)::int AS waiting FROM _taskex.result r
            WHERE r.partition_id = t.partition_id AND r.task_id = t.task_id AND r.state = 'submitted') r
        CROSS JOIN LATERAL (SELECT CASE WHEN t.live > t.judged THEN _taskex.at_hand(t.task_id) ELSE 0 END AS at_hand) h
    WHERE t.state <> 'disposed'
        AND _taskex.visible(d.user_id) AND _taskex.visible(t.requester_id)
        AND _taskex.narrow(t.partition_id, t.requester_id, d.login, t.task_id);
COMMENT ON VIEW taskex.tasks IS
'Tasks of the requesters for whom the caller may act, without golden tasks. state: available (it may be
that all slots are taken and under way: free_slots tells), reviewable (reviewing:
somebody has said that he is at it), decided (sure enough before all slots were
used; some are still under way), complete, expired, cancelled.';

CREATE VIEW taskex.golden_tasks WITH (security_barrier) AS
    SELECT t.task_id, d.login AS requester, -t.task_type_id AS task_type_id, y.title,
        CASE WHEN t.state = 'open' AND t.expires_at <= _taskex.now() THEN 'expired'
            WHEN t.state = 'open' THEN 'available' ELSE t.state END AS state,
        t.performers, t.performers - t.live AS free_slots, r.answered, r.answered_right,
        coalesce(g.rate, 0) AS rate, _taskex.amount(t.reward) AS reward, _taskex.amount(t.fee) AS fee,
        t.created_at, t.expires_at, t.annotation, t.known_answer, t.input, t.match
    FROM _taskex.directory d
        JOIN _taskex.task t ON t.partition_id = d.partition_id AND t.requester_id = d.user_id
        JOIN _taskex.task_type y ON y.task_type_id = -t.task_type_id
        LEFT JOIN _taskex.golden_rate g ON g.task_type_id = -t.task_type_id AND g.requester_id = t.requester_id
        CROSS JOIN LATERAL (SELECT count(*)::int AS answered, (count(*) FILTER (WHERE _taskex.answer_score(r.result, t.known_answer, t.match) = 100))::int AS answered_right
            FROM _taskex.result r WHERE r.partition_id = t.partition_id AND r.task_id = t.task_id) r
    WHERE t.task_type_id < 0 AND t.state <> 'disposed'
        AND _taskex.visible(d.user_id) AND _taskex.visible(t.requester_id)
        AND _taskex.narrow(t.partition_id, t.requester_id, d.login, t.task_id);
COMMENT ON VIEW taskex.golden_tasks IS
'Golden tasks of the requesters for whom the caller may act, and how often each was answered, and answered right
(the known answer, as match says). rate: how often the requester mixes in golden tasks of the type.';

-- Assignments are on their performers' partitions and in no index by requester or
-- task. What was submitted is found by its result, which is on the requester's. So
-- there are branches: for who does not ask for a requester or a task (and for
-- performers, of their own); for trusted callers who do: with and without a result;
-- for requesters, of their own. For the outer SELECT see taskex.transfers.
CREATE VIEW taskex.assignments WITH (security_barrier) AS
    SELECT * FROM (
        SELECT a.assignment_id, a.task_id, a.task_type_id, p.login AS performer, q.login AS requester,
            a.state, _taskex.amount(a.reward) AS reward, a.accepted_at, a.lease_until, a.finished_at
        FROM _taskex.directory p
            JOIN _taskex.assignment a ON a.partition_id = p.partition_id AND a.performer_id = p.user_id
            JOIN _taskex.directory q ON q.user_id = a.requester_id
        WHERE NOT _taskex.asked(q.login, a.task_id) AND _taskex.visible(p.user_id) AND _taskex.visible(a.performer_id)
            AND _taskex.narrow(a.partition_id, a.performer_id, p.login, NULL)
        UNION ALL
        SELECT r.assignment_id, r.task_id, a.task_type_id, p.login, q.login,
            r.state, _taskex.amount(a.reward), a.accepted_at, a.lease_until, a.finished_at
        FROM _taskex.directory q
            JOIN _taskex.result r ON r.partition_id = q.partition_id AND r.requester_id = q.user_id
            JOIN _taskex.directory p ON p.user_id = r.performer_id
            CROSS JOIN LATERAL (SELECT * FROM _taskex.assignment a
                WHERE a.partition_id = p.partition_id AND a.assignment_id = r.assignment_id LIMIT 1) a
        WHERE _taskex.asked(q.login, r.task_id) AND _taskex.caller_trusted()
            AND _taskex.narrow(r.partition_id, r.requester_id, q.login, r.task_id)
            AND _taskex.narrow(NULL, r.performer_id, p.login, NULL)
        UNION ALL
        SELECT a.assignment_id, a.task_id, a.task_type_id, p.login, q.login,
            a.state, _taskex.amount(a.reward), a.accepted_at, a.lease_until, a.finished_at
        FROM _taskex.directory p
            JOIN _taskex.assignment a ON a.partition_id = p.partition_id AND a.performer_id = p.user_id
            JOIN _taskex.directory q ON q.user_id = a.requester_id
        WHERE _taskex.asked(q.login, a.task_id) AND _taskex.caller_trusted() AND a.state IN ('accepted', 'returned', 'abandoned')
            AND _taskex.narrow(a.partition_id, a.performer_id, p.login, NULL) AND _taskex.narrow(NULL, a.requester_id, q.login, NULL)
        UNION ALL
        SELECT r.assignment_id, r.task_id, a.task_type_id, p.login, q.login,
            r.state, _taskex.amount(a.reward), a.accepted_at, a.lease_until, a.finished_at
        FROM _taskex.directory q
            JOIN _taskex.result r ON r.partition_id = q.partition_id AND r.requester_id = q.user_id
            JOIN _taskex.directory p ON p.user_id = r.performer_id
            CROSS JOIN LATERAL (SELECT * FROM _taskex.assignment a
                WHERE a.partition_id = p.partition_id AND a.assignment_id = r.assignment_id LIMIT 1) a
        WHERE _taskex.own(q.user_id) AND _taskex.own(r.requester_id) AND NOT _taskex.own(r.performer_id)) u;
COMMENT ON VIEW taskex.assignments IS
'Assignments of the performers for whom the caller may act and, once they are submitted, those to tasks of the requesters for
whom he may act. By requester or task_id those that were submitted are found quickly; a trusted caller who wants these alone
should say so (state IN (''submitted'', ''approved'', ''rejected'')), for others are looked for in all partitions.';

-- What PostgreSQL shows of workers to those with pg_read_all_stats, operators of
-- the exchange see of its own.
CREATE FUNCTION _taskex.workers() RETURNS TABLE (pid int, worker text, state text, activity text,
        wait_event_type text, wait_event text, xact_start timestamptz)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT pid, backend_type, state, query, wait_event_type, wait_event, xact_start
    FROM pg_stat_activity
    WHERE backend_type LIKE 'taskex %' AND (datname IS NULL OR datname = current_database())
$$;
COMMENT ON FUNCTION _taskex.workers() IS 'The launcher, and the workers of this exchange.';

CREATE VIEW taskex.activity AS SELECT * FROM _taskex.workers();
COMMENT ON VIEW taskex.activity IS 'What each worker of this exchange is doing now.';

-- One row per violated or kept promise of the market. Reads everything.
CREATE FUNCTION taskex.check_market(OUT check_name text, OUT ok boolean, OUT detail text)
    RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET jit = off AS $$
    WITH counted AS (
        -- whose slot was offered again has none, even if the rejection was overridden
        SELECT a.task_id, count(*) FILTER (WHERE a.state IN ('accepted', 'submitted', 'approved')) AS live,
            count(*) FILTER (WHERE a.state = 'accepted') AS in_progress,
            count(*) FILTER (WHERE a.state = 'rejected') AS rejected,
            count(*) FILTER (WHERE a.state = 'approved') AS approved
        FROM _taskex.assignment_at_home a
        WHERE NOT EXISTS (SELECT FROM _taskex.result_at_home r WHERE r.assignment_id = a.assignment_id AND r.reopened)
        GROUP BY a.task_id
    ), kept AS (
        -- slots that groups have leased, less those that are in assignments or went back
        SELECT task_id, sum(n) AS kept, min(n) AS least FROM (
            SELECT lease_id, task_id, sum(n) AS n FROM (
                SELECT l.lease_id, u.task_id, u.n FROM _taskex.group_lease l CROSS JOIN unnest(l.task_ids, l.slots) u (task_id, n)
                UNION ALL
                SELECT r.lease_id, u.task_id, -u.n FROM _taskex.group_recall r CROSS JOIN unnest(r.task_ids, r.slots) u (task_id, n)
                UNION ALL
                SELECT a.group_lease_id, a.task_id, -1 FROM _taskex.assignment_at_home a JOIN _taskex.group_lease l ON l.lease_id = a.group_lease_id) u
            GROUP BY 1, 2) l
        GROUP BY 1
    ), tasks AS (
        SELECT t.*, coalesce(k.kept, 0) AS kept, coalesce(c.live, 0) AS taken, coalesce(c.in_progress, 0) AS in_progress, coalesce(c.rejected, 0) AS rejected, coalesce(c.approved, 0) AS approved
        FROM _taskex.task_at_home t LEFT JOIN counted c USING (task_id) LEFT JOIN kept k USING (task_id)
    ), checks AS (
        SELECT 'plurality' AS check_name, count(*) AS wrong,
            'tasks with more live, submitted or approved assignments than performers' AS what
        FROM tasks WHERE taken > performers
        UNION ALL
        SELECT 'slots', count(*), 'tasks whose counts of taken and judged slots differ from their assignments'
        FROM tasks WHERE live <> taken + rejected + kept OR judged <> approved + rejected
        UNION ALL
        SELECT 'leases', count(*), 'tasks of which more slots were taken from leases of groups than these had'
        FROM kept WHERE least < 0
        UNION ALL
        SELECT 'states', count(*), 'tasks in a state that their slots do not allow'
        FROM tasks WHERE state NOT IN ('open', 'decided', 'complete', 'expired', 'cancelled', 'disposed')
            OR (state = 'open' AND released <> 0) OR (state = 'open' AND judged = performers)
            OR (state IN ('complete', 'disposed') AND judged <> live)
        UNION ALL
        SELECT 'closed', count(*), 'closed tasks that have a slot which is neither taken nor given up'
        FROM tasks WHERE state <> 'open' AND live + released <> performers
        UNION ALL
        SELECT 'decided', count(*), 'tasks that were decided with fewer results than they need at least, or are not complete'
        FROM (SELECT t.*, (SELECT count(*) FROM _taskex.result_at_home r
                    WHERE r.partition_id = t.partition_id AND r.task_id = t.task_id AND NOT (r.reopened AND r.state = 'rejected')) AS answered
                FROM tasks t WHERE state = 'decided') d
        WHERE answered < coalesce(min_performers, performers + 1) OR judged + released >= performers
        UNION ALL
        SELECT 'wanted', count(*), 'tasks of a dynamic plurality that wait for nobody, or want more performers than they may'
        FROM tasks WHERE (wanted IS NULL) <> (min_performers IS NULL) OR wanted > performers
            OR (state = 'open' AND in_progress = 0 AND kept = 0 AND live < performers AND live >= wanted)
        UNION ALL
        SELECT 'results', count(*), 'results that do not match their assignments'
        FROM _taskex.assignment_at_home a
            FULL JOIN _taskex.result_at_home r USING (assignment_id)
        WHERE (a.state IN ('submitted', 'approved', 'rejected') OR r.assignment_id IS NOT NULL)
            AND (a.state, a.task_id, a.performer_id) IS DISTINCT FROM (r.state, r.task_id, r.performer_id)
        UNION ALL
        SELECT 'escrow', count(*), 'requesters whose held funds differ from what their tasks need'
        FROM (SELECT requester_id AS account_id,
                    sum((reward + fee)::numeric * (performers - judged - released)) AS needed
                FROM tasks GROUP BY 1) n
            FULL JOIN (SELECT account_id, sum(held) AS held FROM _taskex.entry_at_home
                WHERE account_id > 0 GROUP BY 1 HAVING sum(held) <> 0) h USING (account_id)
        WHERE coalesce(n.needed, 0) <> coalesce(h.held, 0)
        UNION ALL
        SELECT a.check_name, a.wrong, a.what FROM _taskex.audit_checks() a
        UNION ALL
        SELECT 'journal', sum(j.wrong), coalesce(string_agg(j.what, ', ') FILTER (WHERE j.wrong > 0), 'summaries')
            || ' differ from the tables'
        FROM _taskex.check_journal() j
    )
    SELECT check_name, wrong = 0,
        CASE WHEN wrong = 0 THEN 'no ' ELSE wrong || ' ' END || what
    FROM checks
$$;
COMMENT ON FUNCTION taskex.check_market() IS
'Checks what must always hold in the market, by reading everything: plurality, slots, states, closed and decided tasks, what is wanted, results, escrow,
payments, and that every transfer is explained by an act.
Result: a row per check with ok and a detail. Operators only.';

CREATE FUNCTION _taskex.supplier_state(OUT enabled boolean, OUT needed boolean, OUT running boolean, OUT late bigint)
    RETURNS record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.enabled, s.enabled AND s.rounds,
        EXISTS (SELECT FROM _taskex.workers() WHERE worker = 'taskex supplier'),
        -- used up ones go when the supplier comes to it
        (SELECT count(*) FROM _taskex.group_lease l WHERE l.lease_until < _taskex.now() - interval '1 minute')
    FROM (SELECT current_setting('taskex.supply')::boolean AS enabled, current_setting('taskex.supply_interval') <> '0' AS rounds) s
$$;
COMMENT ON FUNCTION _taskex.supplier_state() IS 'Is a supplier needed, does it run, and how many leases should have gone back?';

CREATE VIEW taskex.health AS
    SELECT 'loaded' AS check_name, s.loaded AS ok,
        CASE WHEN s.loaded THEN 'taskex is in shared_preload_libraries'
            ELSE 'add taskex to shared_preload_libraries and restart the server' END AS detail
    FROM (SELECT _taskex.loaded() AS loaded) s
    UNION ALL
    SELECT 'conductor', w.running OR pg_is_in_recovery(),
        CASE WHEN pg_is_in_recovery() THEN 'this is a standby'
            WHEN w.running THEN 'running' ELSE 'no conductor runs in this database' END
    FROM (SELECT EXISTS (SELECT FROM _taskex.workers() WHERE worker = 'taskex conductor') AS running) w
    UNION ALL
    SELECT 'partitions', p.n > 0, CASE WHEN p.n > 0 THEN p.n || ' active' ELSE 'no active storage partition' END
    FROM (SELECT count(*) AS n FROM _taskex.partition p JOIN _taskex.node n USING (node_id)
        WHERE p.state = 'active' AND n.state = 'active' AND node_id = 0) p
    UNION ALL
    SELECT 'storage', count(*) = 0, CASE WHEN count(*) = 0 THEN 'all storage partitions can be read'
        ELSE string_agg(format('storage partition "%s" in tablespace "%s" cannot be read since %s: %s', p.name,
            coalesce(p.tablespace, 'pg_default'), date_trunc('second', u.since), u.error), '; ' ORDER BY u.since, p.name) END
    FROM _taskex.unreadable_partitions() u JOIN _taskex.partition p USING (partition_id)
    UNION ALL
    SELECT 'supplier', (s.late = 0 AND (s.running OR NOT s.needed)) OR pg_is_in_recovery(),
        CASE WHEN pg_is_in_recovery() THEN 'this is a standby'
            WHEN s.late > 0 THEN format('%s leases of groups are over since a minute and have not gone back', s.late)
            WHEN s.running THEN 'running'
            WHEN s.needed THEN 'supplies are on, and no supplier runs in this database'
            WHEN s.enabled THEN 'none is to run: taskex.supply_interval is 0' ELSE 'supplies are off' END
    FROM _taskex.supplier_state() s
    UNION ALL
    SELECT 'load', NOT coalesce(l.late OR l.lost > 0, false),
        CASE WHEN l.late THEN format('%s calls were counted and not stored since %s', l.calls, l.since)
            WHEN l.lost > 0 THEN format('%s calls were not counted; raise taskex.max_partitions', l.lost)
            WHEN NOT current_setting('taskex.measure_load')::boolean THEN 'load is not measured: taskex.measure_load is off'
            WHEN l.unnamed > 0 THEN format('%s calls were counted for storage partitions only; raise taskex.max_loaded_users', l.unnamed)
            ELSE 'load is measured' END
    FROM (SELECT) s LEFT JOIN _taskex.load_lag() l ON true
    UNION ALL
    SELECT 'queue', (q.late = 0 AND NOT q.crowded AND q.free_entries > 0) OR pg_is_in_recovery(),
        CASE WHEN pg_is_in_recovery() THEN 'this is a standby'
            WHEN q.late > 0 THEN format('%s leases of runs are over since a minute and have not been ended', q.late)
            WHEN q.crowded THEN 'runs wait for a lane: raise taskex.max_lanes'
            WHEN q.free_entries = 0 THEN 'all places are in use: raise taskex.ready_runs'
            ELSE format('%s run, %s of %s places are free', q.running, q.free_entries, q.entries) END
    FROM _taskex.queue_health() q
    UNION ALL
    SELECT 'moves', h.ok, h.detail FROM _taskex.mover_health() h
    UNION ALL
    SELECT 'executors', x.ok, x.detail FROM _taskex.pool_health() x
    UNION ALL
    SELECT 'roles', x.ok, x.detail FROM _taskex.role_health() x
    UNION ALL
    SELECT 'metering', m.missing = 0,
        CASE WHEN m.missing > 0 THEN format('%s of the latest %s runs that succeeded have no usage; taskex.check_billing() tells more', m.missing, m.looked)
            WHEN m.looked = 0 THEN 'no run has succeeded lately' ELSE 'the latest runs have usage' END
    FROM _taskex.metering_health() m
    UNION ALL
    SELECT 'invoices', count(x.customer_id) = 0,
        CASE WHEN count(x.customer_id) = 0 THEN 'the last closing has passed nobody by'
            ELSE format('%s customers wait for an invoice, "%s" since %s: %s', count(*), (array_agg(d.login ORDER BY x.since, d.login))[1], min(x.since),
                (array_agg(x.error ORDER BY x.since, d.login))[1]) END
    FROM _taskex.unclosed x LEFT JOIN _taskex.directory d ON d.user_id = x.customer_id
    UNION ALL
    SELECT 'alert ' || a.name, a.ok, a.detail FROM _taskex.alert_health() a
    UNION ALL
    SELECT 'complete', c.relispopulated, CASE WHEN c.relispopulated THEN 'no restore of a dump is under way'
        ELSE 'a dump is being restored, or that was broken off; the conductor waits' END
    FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace WHERE s.nspname = '_taskex' AND c.relname = 'complete'
    UNION ALL
    SELECT 'journal', coalesce(l.seconds, 0) < 60 AND l.failing = 0,
        CASE WHEN l.failing > 0 THEN format('consumers failed with %s acts, %s set aside (taskex.failed_acts has them); %s',
                l.failing, l.set_aside, l.message)
            WHEN l.acts > 0 THEN format('%s acts are not dispatched, the oldest since %s s', l.acts, l.seconds)
            ELSE 'all acts are dispatched' END
    FROM _taskex.journal_lag() l;
COMMENT ON VIEW taskex.health IS 'One row per check: ok, or what is wrong.';
