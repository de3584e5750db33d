-- policy_work.sql: review policies are evaluated and carried out, and shown. How it is
-- done is told in src/market/README.md.

-- evaluating ----------------------------------------------------------------

CREATE TYPE _taskex.policy_fact AS (
    policy_id bigint,
    seq bigint,
    performer_id bigint,
    task_id bigint,
    assignment_id bigint,
    at timestamptz,
    value numeric,
    reset boolean
);
COMMENT ON TYPE _taskex.policy_fact IS 'One thing that counts for a review policy; reset: a run ends here.';

CREATE FUNCTION _taskex.seconds_taken(performer bigint, assignment_id bigint)
    RETURNS numeric LANGUAGE plpgsql STABLE AS $$
DECLARE
    seconds numeric;
BEGIN
    EXECUTE format('SELECT extract(epoch FROM finished_at - accepted_at) FROM _taskex.assignment_%s WHERE assignment_id = $1',
        _taskex.home(performer)) INTO seconds USING assignment_id;
    RETURN seconds;
END $$;
COMMENT ON FUNCTION _taskex.seconds_taken(bigint, bigint) IS 'How long a performer took for an assignment.';

-- Plans: what comes out of arrays is joined by hashing, for the planner cannot
-- know how much that is (fold_policies sets enable_nestloop); rows of tables are
-- looked up one by one in LATERAL subqueries with a LIMIT.
CREATE FUNCTION _taskex.plain_facts(acts _taskex.journal_act[], policies _taskex.review_policy[])
    RETURNS _taskex.policy_fact[] LANGUAGE sql STABLE AS $$
    SELECT array_agg(ROW(f.*)::_taskex.policy_fact) FROM (
        SELECT p.policy_id, b.id, b.performer_id, b.task_id, b.assignment_id, b.at,
            CASE p.kind
                WHEN 'minimum_time' THEN (_taskex.seconds_taken(b.performer_id, b.assignment_id) < (p.parameters ->> 'seconds')::numeric)::int
                WHEN 'skips_in_a_row' THEN (b.kind <> 'submitted')::int
                WHEN 'rejected_share' THEN CASE b.kind WHEN 'rejected' THEN 100 ELSE 0 END
                WHEN 'income_cap' THEN (SELECT _taskex.amount(y.reward) FROM _taskex.task_type y WHERE y.task_type_id = b.task_type_id)
                ELSE 1 END::numeric AS value,
            p.kind = 'skips_in_a_row' AND b.kind = 'submitted' AS reset
        FROM unnest(acts) b JOIN unnest(policies) p ON p.requester_id = b.requester_id
            AND (p.task_type_id IS NULL OR p.task_type_id = b.task_type_id)
        WHERE CASE b.kind
            WHEN 'submitted' THEN p.kind IN ('minimum_time', 'skips_in_a_row', 'income_cap', 'submitted_count')
            WHEN 'returned' THEN p.kind = 'skips_in_a_row'
            WHEN 'abandoned' THEN p.kind = 'skips_in_a_row'
            WHEN 'approved' THEN p.kind = 'rejected_share'
            WHEN 'overridden' THEN p.kind = 'rejected_share'
            WHEN 'rejected' THEN p.kind = 'rejected_share' END) f
    WHERE f.value IS NOT NULL
$$;
COMMENT ON FUNCTION _taskex.plain_facts(_taskex.journal_act[], _taskex.review_policy[]) IS
    'What counts for review policies that look at acts alone.';

CREATE FUNCTION _taskex.known_answer_facts(home int, acts _taskex.journal_act[], policies _taskex.review_policy[])
    RETURNS _taskex.policy_fact[] LANGUAGE plpgsql STABLE AS $$
DECLARE
    facts _taskex.policy_fact[];
BEGIN
    EXECUTE format($sql$
        SELECT array_agg(ROW(p.policy_id, b.id, b.performer_id, b.task_id, b.assignment_id, b.at,
            _taskex.answer_score(r.result, t.known_answer, t.match), false)::_taskex.policy_fact)
        FROM unnest($1) b JOIN unnest($2) p ON p.requester_id = b.requester_id AND p.kind = 'known_answer'
                AND (p.task_type_id IS NULL OR p.task_type_id = b.task_type_id)
            CROSS JOIN LATERAL (SELECT t.known_answer, t.match FROM _taskex.task_%1$s t WHERE t.task_id = b.task_id LIMIT 1) t
            CROSS JOIN LATERAL (SELECT r.result FROM _taskex.result_%1$s r WHERE r.assignment_id = b.assignment_id LIMIT 1) r
        WHERE b.kind = 'submitted' AND t.known_answer IS NOT NULL
        $sql$, home) INTO facts USING acts, policies;
    RETURN facts;
END $$;
COMMENT ON FUNCTION _taskex.known_answer_facts(int, _taskex.journal_act[], _taskex.review_policy[]) IS
    'How right the results of golden tasks are.';

-- A task counts when the last result that it will have is there, by an act of
-- the batch: of several submissions the newest. Its answer is the consensus, or the
-- one most frequent result. When agreement is so low that more performers are
-- asked, nobody is compared yet.
CREATE FUNCTION _taskex.agreement_facts(home int, acts _taskex.journal_act[], policies _taskex.review_policy[])
    RETURNS _taskex.policy_fact[] LANGUAGE plpgsql AS $$
DECLARE
    facts _taskex.policy_fact[];
BEGIN
    EXECUTE format($sql$
        WITH act AS MATERIALIZED (
            SELECT DISTINCT ON (p.policy_id, b.task_id) p.policy_id, p.requester_id, p.parameters, b.task_id, b.id, b.at, b.kind, b.assignment_id
            FROM unnest($1) b JOIN unnest($2) p ON p.requester_id = b.requester_id AND p.kind = 'agreement'
                AND (p.task_type_id IS NULL OR p.task_type_id = b.task_type_id)
            WHERE b.kind IN ('submitted', 'returned', 'abandoned', 'expired', 'cancelled', 'decided')
            ORDER BY p.policy_id, b.task_id, b.kind = 'submitted', b.id DESC
        ), complete AS MATERIALIZED (
            SELECT a.*, t.performers, t.state, r.newest, coalesce(t.answer, v.answer) AS answer, v.most
            FROM act a
                CROSS JOIN LATERAL (SELECT * FROM _taskex.task_%1$s t WHERE t.task_id = a.task_id LIMIT 1) t
                CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE r.state = 'submitted') AS waiting,
                        (array_agg(r.assignment_id ORDER BY r.submitted_at DESC, r.assignment_id DESC))[1] AS newest
                    FROM _taskex.result_%1$s r WHERE r.task_id = a.task_id) r
                CROSS JOIN LATERAL (SELECT max(v.share) AS most, (array_agg(v.result) FILTER (WHERE v.place = 1 AND v.ties = 1))[1] AS answer
                    FROM (SELECT w.result, w.n * 100.0 / sum(w.n) OVER () AS share, rank() OVER (ORDER BY w.n DESC) AS place,
                            count(*) OVER (PARTITION BY w.n) AS ties
                        FROM (SELECT r.result, count(*) AS n FROM _taskex.result_%1$s r
                            WHERE r.task_id = a.task_id AND r.state <> 'rejected' GROUP BY r.result) w) v) v
            WHERE t.task_type_id > 0 AND r.newest IS NOT NULL AND t.live - t.judged = r.waiting
                AND (t.state <> 'open' OR t.live = t.performers)
                AND (a.kind <> 'submitted' OR a.assignment_id = r.newest)
        ), vote AS MATERIALIZED (
            SELECT c.policy_id, c.task_id, r.performer_id, r.assignment_id,
                _taskex.answer_score(r.result, c.answer, jsonb_build_object('tolerance', coalesce(c.parameters -> 'tolerance', '0'))) AS score
            FROM complete c CROSS JOIN LATERAL (SELECT * FROM _taskex.result_%1$s r
                WHERE r.task_id = c.task_id AND r.state <> 'rejected' OFFSET 0) r
        ), mean AS (
            SELECT policy_id, task_id, avg(score) AS measure FROM vote GROUP BY 1, 2
        ), share AS MATERIALIZED (
            SELECT c.*, trim_scale(round(CASE WHEN c.answer IS NULL THEN c.most ELSE m.measure END, 4)) AS measure
            FROM complete c LEFT JOIN mean m USING (policy_id, task_id) WHERE c.most IS NOT NULL
        ), added AS (
            INSERT INTO _taskex.policy_result_%1$s (partition_id, policy_id, subject, task_id, requester_id, scored_at, score)
            SELECT %1$s, policy_id, -newest, task_id, requester_id, _taskex.now(), measure FROM share
            ON CONFLICT DO NOTHING RETURNING policy_id, task_id
        ), passed AS MATERIALIZED (
            SELECT s.policy_id, s.requester_id, s.task_id, s.id, s.measure, h.threshold -> 'action' AS action
            FROM share s JOIN added USING (policy_id, task_id)
                CROSS JOIN LATERAL jsonb_array_elements(s.parameters -> 'thresholds') h (threshold)
            WHERE h.threshold ->> 'of' = 'task'
                AND coalesce(s.measure >= (h.threshold ->> 'at_least')::numeric, true)
                AND coalesce(s.measure < (h.threshold ->> 'less_than')::numeric, true)
                AND (h.threshold #>> '{action,do}' <> 'extend' OR (s.state IN ('open', 'complete', 'decided')
                    AND s.performers < (h.threshold #>> '{action,max_performers}')::int))
        ), acted AS (
            INSERT INTO _taskex.policy_action_%1$s (partition_id, action_id, policy_id, requester_id, task_id, created_at, measure, action)
            SELECT %1$s, nextval('_taskex.policy_action_id_seq'), policy_id, requester_id, task_id, _taskex.now(), measure, action
            FROM (SELECT * FROM passed ORDER BY id, policy_id, task_id) o RETURNING action_id
        ), queued AS (
            INSERT INTO _taskex.policy_pending (action_id, partition_id) SELECT action_id, %1$s FROM acted
        )
        SELECT array_agg(ROW(v.policy_id, s.id, v.performer_id, v.task_id, v.assignment_id, s.at, v.score, false)::_taskex.policy_fact)
        FROM vote v JOIN share s USING (policy_id, task_id)
            LEFT JOIN (SELECT DISTINCT policy_id, task_id FROM passed WHERE action ->> 'do' = 'extend') x USING (policy_id, task_id)
        WHERE s.answer IS NOT NULL AND x.task_id IS NULL
        $sql$, home) INTO facts USING acts, policies;
    RETURN facts;
END $$;
COMMENT ON FUNCTION _taskex.agreement_facts(int, _taskex.journal_act[], _taskex.review_policy[]) IS
    'How far results agree with the answers of their tasks; queues what policies do with tasks as a whole.';

-- One statement: what each fact makes of its performer's tally, which thresholds
-- that passes, what is to be done, and the new tallies.
CREATE FUNCTION _taskex.count_facts(home int, facts _taskex.policy_fact[], policies _taskex.review_policy[])
    RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    tallies _taskex.policy_tally[];
BEGIN
    EXECUTE format($sql$
        WITH offered AS MATERIALIZED (
            SELECT f.*, p.requester_id, p.kind, p.version, p.parameters, p.kind IN ('known_answer', 'agreement') AS scored
            FROM unnest($1) f JOIN unnest($2) p USING (policy_id)
        ), added AS (
            INSERT INTO _taskex.policy_result_%1$s (partition_id, policy_id, subject, task_id, requester_id, performer_id, scored_at, score)
            SELECT %1$s, policy_id, assignment_id, task_id, requester_id, performer_id, _taskex.now(), trim_scale(round(value, 4))
            FROM offered WHERE scored
            ON CONFLICT DO NOTHING RETURNING policy_id, subject
        ), fact AS MATERIALIZED (
            SELECT f.*, (f.parameters ->> 'history_size')::int AS size, date_trunc(f.parameters ->> 'period', f.at, 'UTC') AS period,
                row_number() OVER (PARTITION BY f.policy_id, f.performer_id ORDER BY f.seq, f.assignment_id) AS n
            FROM offered f LEFT JOIN added a ON a.policy_id = f.policy_id AND a.subject = f.assignment_id
            WHERE NOT f.scored OR a.subject IS NOT NULL
        ), old AS MATERIALIZED (
            SELECT t.policy_id, t.performer_id, t.turn, t.period, t.amount, t.measure, t.history, k.size,
                CASE WHEN t.version = k.version THEN t.fired ELSE '{}' END AS fired
            FROM (SELECT DISTINCT policy_id, performer_id, version, size FROM fact) k
                CROSS JOIN LATERAL (SELECT * FROM _taskex.policy_tally_%1$s t
                    WHERE t.policy_id = k.policy_id AND t.performer_id = k.performer_id ORDER BY t.turn LIMIT 1) t

        -- the last values, with the old ones before them
        ), value AS MATERIALIZED (
            SELECT policy_id, performer_id, n, size, value FROM fact WHERE size IS NOT NULL
            UNION ALL SELECT o.policy_id, o.performer_id, h.n - cardinality(o.history), o.size, h.value
            FROM old o CROSS JOIN LATERAL unnest(o.history) WITH ORDINALITY h (value, n)
        ), summed AS (
            SELECT *, sum(value) OVER w AS total, row_number() OVER w AS place FROM value
            WINDOW w AS (PARTITION BY policy_id, performer_id ORDER BY n)
        ), recent AS (
            SELECT policy_id, performer_id, n, least(place, size) AS answers, total - coalesce(lag(total, size) OVER w, 0) AS total
            FROM summed WINDOW w AS (PARTITION BY policy_id, performer_id ORDER BY n)

        -- sums within a period or run
        ), run AS (
            SELECT f.*, count(*) FILTER (WHERE f.reset) OVER w AS run, greatest(max(f.period) OVER w, o.period) AS since,
                o.period AS old_since, o.amount
            FROM fact f LEFT JOIN old o USING (policy_id, performer_id) WHERE f.size IS NULL
            WINDOW w AS (PARTITION BY f.policy_id, f.performer_id ORDER BY f.n)

        ), measured AS MATERIALIZED (
            SELECT f.policy_id, f.performer_id, f.n, f.task_id, f.assignment_id, f.requester_id, f.version, f.parameters, f.value,
                NULL::timestamptz AS since, r.answers,
                CASE WHEN f.kind = 'minimum_time' THEN r.total ELSE trim_scale(round(r.total / r.answers, 4)) END AS measure
            FROM fact f JOIN recent r USING (policy_id, performer_id, n)
            UNION ALL SELECT policy_id, performer_id, n, task_id, assignment_id, requester_id, version, parameters, value, since, NULL,
                sum(value) OVER (PARTITION BY policy_id, performer_id, run, since ORDER BY n)
                    + CASE WHEN run = 0 AND since IS NOT DISTINCT FROM old_since THEN coalesce(amount, 0) ELSE 0 END
            FROM run
        ), last AS MATERIALIZED (
            SELECT DISTINCT ON (policy_id, performer_id) policy_id, performer_id, requester_id, n, version, since, measure
            FROM measured ORDER BY policy_id, performer_id, n DESC
        ), tested AS MATERIALIZED (
            SELECT m.*, h.i::int AS i, h.threshold -> 'action' AS action, h.threshold ->> 'of' = 'assignment' AS single,
                coalesce(m.answers >= (h.threshold ->> 'min_answers')::int, true)
                AND coalesce(s.measure >= (h.threshold ->> 'at_least')::numeric, true)
                AND coalesce(s.measure < (h.threshold ->> 'less_than')::numeric, true) AS passed
            FROM measured m CROSS JOIN LATERAL jsonb_array_elements(m.parameters -> 'thresholds') WITH ORDINALITY h (threshold, i)
                CROSS JOIN LATERAL (SELECT CASE h.threshold ->> 'of' WHEN 'assignment' THEN m.value ELSE m.measure END AS measure) s
            WHERE h.threshold ->> 'of' IS DISTINCT FROM 'task'

        -- was it passed before?
        ), turned AS (
            SELECT t.*, CASE WHEN t.n = 1 THEN coalesce(t.i = ANY (o.fired) AND o.period IS NOT DISTINCT FROM t.since, false)
                    ELSE lag(t.passed) OVER w AND lag(t.since) OVER w IS NOT DISTINCT FROM t.since END AS was,
                CASE WHEN t.n = 1 THEN o.measure ELSE lag(t.measure) OVER w END AS old_measure
            FROM tested t LEFT JOIN old o USING (policy_id, performer_id)
            WINDOW w AS (PARTITION BY t.policy_id, t.performer_id, t.i ORDER BY t.n)
        ), acted AS (
            INSERT INTO _taskex.policy_action_%1$s (partition_id, action_id, policy_id, requester_id, performer_id, task_id, assignment_id,
                created_at, measure, action)
            SELECT %1$s, nextval('_taskex.policy_action_id_seq'), policy_id, requester_id, performer_id, task_id, assignment_id, _taskex.now(),
                CASE WHEN single THEN trim_scale(round(value, 4)) ELSE measure END,
                CASE WHEN action ->> 'do' = 'suspend' AND since IS NOT NULL AND NOT action ? 'for'
                    THEN action || jsonb_build_object('until',
                        (since AT TIME ZONE 'UTC' + ('1 ' || (parameters ->> 'period'))::interval) AT TIME ZONE 'UTC')
                    ELSE action END
            FROM (SELECT * FROM turned WHERE passed AND CASE
                    WHEN single OR action ->> 'do' IN ('approve', 'reject', 'extend') THEN true
                    WHEN action ->> 'do' = 'grant' AND NOT action ? 'score' THEN NOT was OR round(measure) IS DISTINCT FROM round(old_measure)
                    ELSE NOT was END
                ORDER BY n, policy_id, performer_id, i) o RETURNING action_id
        ), queued AS (
            INSERT INTO _taskex.policy_pending (action_id, partition_id) SELECT action_id, %1$s FROM acted

        ), kept AS (
            SELECT v.policy_id, v.performer_id, array_agg(v.value ORDER BY v.n) AS history
            FROM value v JOIN last l USING (policy_id, performer_id) WHERE v.n > l.n - v.size GROUP BY 1, 2
        ), fired AS (
            SELECT x.policy_id, x.performer_id, array_agg(x.i ORDER BY x.i) AS numbers
            FROM tested x JOIN last l USING (policy_id, performer_id, n) WHERE x.passed GROUP BY 1, 2
        )
        SELECT array_agg(ROW(%1$s, l.version, l.policy_id, l.performer_id, l.requester_id, o.turn, l.n, l.since, l.measure, l.measure,
            k.history, coalesce(f.numbers, '{}'))::_taskex.policy_tally)
        FROM last l LEFT JOIN old o USING (policy_id, performer_id)
            LEFT JOIN kept k USING (policy_id, performer_id) LEFT JOIN fired f USING (policy_id, performer_id)
        $sql$, home) INTO tallies USING facts, policies;
    PERFORM _taskex.store_tallies(home, tallies);
END $$;
COMMENT ON FUNCTION _taskex.count_facts(int, _taskex.policy_fact[], _taskex.review_policy[]) IS
    'Brings tallies up to date and queues what passed thresholds demand.';

-- Here the nested loop along the index is right, if the planner only knew.
CREATE FUNCTION _taskex.store_tallies(home int, tallies _taskex.policy_tally[])
    RETURNS void LANGUAGE plpgsql SET enable_nestloop = on SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    EXECUTE format($sql$
        MERGE INTO _taskex.policy_tally_%s t USING unnest($1) n
            ON t.policy_id = n.policy_id AND t.performer_id = n.performer_id AND t.turn = n.turn
        WHEN MATCHED THEN UPDATE SET turn = t.turn - 1, version = n.version, counted = t.counted + n.counted, period = n.period,
            amount = n.amount, measure = n.measure, history = n.history, fired = n.fired
        WHEN NOT MATCHED THEN INSERT VALUES (n.partition_id, n.version, n.policy_id, n.performer_id, n.requester_id, 0, n.counted, n.period,
            n.amount, n.measure, n.history, n.fired)
        $sql$, home) USING tallies;
END $$;
COMMENT ON FUNCTION _taskex.store_tallies(int, _taskex.policy_tally[]) IS
    'Stores tallies: new ones where turn is NULL, else in place of those of that turn, with their counts added.';

CREATE FUNCTION _taskex.fold_policies(batch _taskex.journal_act[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_nestloop = off SET jit = off AS $$
DECLARE
    home int;
    acts _taskex.journal_act[];
    policies _taskex.review_policy[];
    facts _taskex.policy_fact[];
BEGIN
    FOR home, acts, policies IN
        WITH relevant AS MATERIALIZED (
            SELECT b FROM unnest(batch) b WHERE b.kind IN ('submitted', 'returned', 'abandoned', 'approved', 'rejected', 'overridden',
                'expired', 'cancelled', 'decided')
        ), requester AS MATERIALIZED (
            SELECT r.requester_id, d.partition_id, p.policies
            FROM (SELECT DISTINCT (b).requester_id FROM relevant) r
                CROSS JOIN LATERAL (SELECT array_agg(p) AS policies FROM _taskex.review_policy p
                    WHERE p.requester_id = r.requester_id AND p.state = 'active') p
                CROSS JOIN LATERAL (SELECT _taskex.home(d.user_id) AS partition_id FROM _taskex.directory d WHERE d.user_id = r.requester_id LIMIT 1) d
            WHERE p.policies IS NOT NULL
        )
        SELECT a.partition_id, a.acts, q.policies
        FROM (SELECT r.partition_id, array_agg(v.b ORDER BY (v.b).id) AS acts
                FROM relevant v JOIN requester r ON r.requester_id = (v.b).requester_id GROUP BY 1) a
            JOIN (SELECT r.partition_id, array_agg(p) AS policies FROM requester r, unnest(r.policies) p GROUP BY 1) q USING (partition_id)
        ORDER BY 1
    LOOP
        facts := _taskex.plain_facts(acts, policies) || _taskex.known_answer_facts(home, acts, policies)
            || _taskex.agreement_facts(home, acts, policies);
        IF cardinality(facts) > 0 THEN
            PERFORM _taskex.count_facts(home, facts, policies);
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.fold_policies(_taskex.journal_act[]) IS
    'Evaluates review policies on what has happened. Called by the dispatch of the journal.';

INSERT INTO _taskex.journal_consumer VALUES (60, 'fold_policies');

-- carrying out --------------------------------------------------------------

INSERT INTO _taskex.event_kind VALUES
    ('policy_acted', 470, true, false, true, 'a review policy has done something, or failed to', NULL, 'policy, action, state, error');

CREATE FUNCTION _taskex.judge_for_policy(a _taskex.policy_action) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    id bigint;
    judged boolean := false;
    verdict text := CASE a.action ->> 'do' WHEN 'approve' THEN 'approved' ELSE 'rejected' END;
    feedback text := format('%s [review policy %s]', coalesce(a.action ->> 'feedback', a.action ->> 'reason', verdict), a.policy_id);
BEGIN
    IF a.assignment_id IS NOT NULL THEN
        RETURN _taskex.judge(a.requester_id, a.assignment_id, verdict, feedback, coalesce((a.action ->> 'reopen')::boolean, false), a.policy_id);
    END IF;
    FOR id IN EXECUTE format('SELECT assignment_id FROM _taskex.result_%s WHERE task_id = $1 AND state = ''submitted'''
            ' ORDER BY assignment_id', a.partition_id) USING a.task_id LOOP
        judged := _taskex.judge(a.requester_id, id, verdict, feedback, false, a.policy_id) OR judged;
    END LOOP;
    RETURN judged;
END $$;
COMMENT ON FUNCTION _taskex.judge_for_policy(_taskex.policy_action) IS
    'Approves or rejects an assignment, or approves all of a task; false: there is nothing to judge (any more).';

CREATE FUNCTION _taskex.extend_for_policy(a _taskex.policy_action) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    t record;
    more int;
BEGIN
    EXECUTE format('SELECT state, performers FROM _taskex.task_%s WHERE task_id = $1', a.partition_id) INTO t USING a.task_id;
    more := least(coalesce((a.action ->> 'performers')::int, 1), (a.action ->> 'max_performers')::int - t.performers);
    IF t.state IN ('open', 'complete', 'decided') AND more > 0 THEN
        PERFORM taskex.add_performers(_taskex.login(a.requester_id), a.task_id, more);
        RETURN true;
    END IF;
    RETURN false;
END $$;
COMMENT ON FUNCTION _taskex.extend_for_policy(_taskex.policy_action) IS
    'Asks more performers, up to the most that the policy allows; false: nobody more.';

CREATE FUNCTION _taskex.suspend_for_policy(a _taskex.policy_action) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    now timestamptz := _taskex.now();
    until timestamptz := coalesce((a.action ->> 'until')::timestamptz, now + (a.action ->> 'for')::interval);
BEGIN
    -- what the requester has decided himself is not shortened, even if he does so at this moment
    RETURN coalesce(until > now, true) AND _taskex.block(a.requester_id, a.performer_id,
        format('%s [review policy %s]', coalesce(a.action ->> 'reason', 'suspended'), a.policy_id), until, longer => true);
END $$;
COMMENT ON FUNCTION _taskex.suspend_for_policy(_taskex.policy_action) IS
    'Blocks a performer for a time; false: he is blocked for longer, or the time is over.';

CREATE FUNCTION _taskex.notify_for_policy(a _taskex.policy_action) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF a.action ->> 'to' = 'performer' AND a.performer_id IS NOT NULL THEN
        PERFORM _taskex.send_message(a.performer_id, a.requester_id, a.action ->> 'subject', a.action ->> 'message');
    ELSE
        PERFORM _taskex.send_message(a.requester_id, 0, a.action ->> 'subject',
            concat_ws(E'\n', a.action ->> 'message', format('[review policy %s]', a.policy_id),
                'performer: ' || _taskex.login(a.performer_id), 'task: ' || a.task_id, 'assignment: ' || a.assignment_id,
                'measured: ' || trim_scale(a.measure)));
    END IF;
    PERFORM _taskex.journal('message', a.requester_id, CASE WHEN a.action ->> 'to' = 'performer' THEN a.performer_id END,
        NULL, NULL, NULL, NULL, jsonb_build_object('subject', a.action ->> 'subject', 'text', a.action ->> 'message', 'policy', a.policy_id));
    RETURN true;
END $$;
COMMENT ON FUNCTION _taskex.notify_for_policy(_taskex.policy_action) IS 'Sends a policy''s message.';

CREATE FUNCTION _taskex.do_for_policy(a _taskex.policy_action) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    CASE a.action ->> 'do'
        WHEN 'approve', 'reject' THEN RETURN _taskex.judge_for_policy(a);
        WHEN 'extend' THEN RETURN _taskex.extend_for_policy(a);
        WHEN 'suspend' THEN RETURN _taskex.suspend_for_policy(a);
        WHEN 'notify' THEN RETURN _taskex.notify_for_policy(a);
        WHEN 'grant' THEN
            PERFORM _taskex.grant_qualification(a.requester_id, (a.action ->> 'qualification')::bigint, _taskex.login(a.performer_id),
                coalesce((a.action ->> 'score')::int, round(a.measure)::int), true);
            RETURN true;
        WHEN 'revoke' THEN
            RETURN _taskex.revoke_qualification(a.requester_id, (a.action ->> 'qualification')::bigint, _taskex.login(a.performer_id),
                format('%s [review policy %s]', coalesce(a.action ->> 'reason', 'revoked'), a.policy_id));
    END CASE;
END $$;
COMMENT ON FUNCTION _taskex.do_for_policy(_taskex.policy_action) IS
    'Does what an action says; false: there was nothing to do.';

-- Exactly once: the row's lock keeps a second executor out, and its state changes
-- together with what is done.
CREATE FUNCTION _taskex.carry_out(home int, action bigint) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    requester bigint;
    a _taskex.policy_action;
    outcome text;
    problem text;
    waiting boolean;
BEGIN
    -- while a dump is restored its tables come one by one
    IF to_regclass(format('_taskex.policy_action_%s', home)) IS NULL THEN
        RETURN 'busy';
    END IF;
    -- the requester may have been moved since the action was queued
    EXECUTE format('SELECT requester_id FROM _taskex.policy_action_%s WHERE action_id = $1', home) INTO requester USING action;
    IF requester IS NULL THEN
        SELECT p.requester_id INTO requester FROM _taskex.policy_action p WHERE p.action_id = carry_out.action LIMIT 1;
    END IF;
    IF requester IS NOT NULL THEN
        home := _taskex.home(requester);
    END IF;
    EXECUTE format('SELECT * FROM _taskex.policy_action_%s WHERE action_id = $1 AND state = ''pending'''
        ' FOR NO KEY UPDATE SKIP LOCKED', home) INTO a USING action;
    IF a.action_id IS NULL THEN
        EXECUTE format('SELECT state = ''pending'' FROM _taskex.policy_action_%s WHERE action_id = $1', home) INTO waiting USING action;
        RETURN CASE WHEN waiting IS FALSE THEN 'gone' ELSE 'busy' END;
    END IF;
    BEGIN
        outcome := CASE WHEN _taskex.do_for_policy(a) THEN 'done' ELSE 'void' END;
    EXCEPTION
        WHEN query_canceled THEN
            RAISE;          -- else the next line has it
        WHEN lock_not_available THEN
            RETURN 'busy';  -- somebody else's, not the action's fault: later
        WHEN insufficient_resources OR operator_intervention OR system_error OR transaction_rollback THEN
            -- perhaps not its fault either: tried for about a quarter of an hour, every ten seconds
            problem := SQLSTATE || ' ' || SQLERRM;
            IF a.tries < 99 THEN
                EXECUTE format('UPDATE _taskex.policy_action_%s SET tries = tries + 1, error = $2 WHERE action_id = $1', home)
                    USING action, problem;
                RETURN 'busy';
            END IF;
            outcome := 'failed';
        WHEN OTHERS THEN
            outcome := 'failed';
            problem := SQLSTATE || ' ' || SQLERRM;
    END;
    EXECUTE format('UPDATE _taskex.policy_action_%s SET state = $2, error = $3, finished_at = $4 WHERE action_id = $1', home)
        USING action, outcome, problem, _taskex.now();
    PERFORM _taskex.journal('policy_acted', a.requester_id, a.performer_id, NULL, a.task_id, a.assignment_id, NULL,
        jsonb_strip_nulls(jsonb_build_object('policy', a.policy_id, 'action', a.action ->> 'do', 'state', outcome, 'error', problem)));
    RETURN outcome;
END $$;
COMMENT ON FUNCTION _taskex.carry_out(int, bigint) IS
'Does an action of a review policy that is pending, in the caller''s transaction. home: where its requester lived when it was queued. Result: done; void (there was nothing to
do); failed (for good; the error is on record); busy (something is locked, or missing: later; what the server lacks, and deadlocks, are tried 100 times); gone (it is done already).';

-- views ---------------------------------------------------------------------

CREATE VIEW taskex.policies WITH (security_barrier) AS
    SELECT p.policy_id, d.login AS requester, p.kind, p.task_type_id, p.parameters, p.state, p.created_at, p.changed_at
    FROM _taskex.review_policy p JOIN _taskex.directory d ON d.user_id = p.requester_id
    WHERE _taskex.visible(p.requester_id) AND _taskex.narrow(NULL, p.requester_id, d.login, NULL);
COMMENT ON VIEW taskex.policies IS
    'Review policies of the requesters for whom the caller may act. state: active, paused, deleted.';

CREATE VIEW taskex.policy_results WITH (security_barrier) AS
    SELECT r.policy_id, k.kind, q.login AS requester, r.task_id, CASE WHEN r.subject > 0 THEN r.subject END AS assignment_id,
        p.login AS performer, r.score, r.scored_at
    FROM _taskex.policy_result r
        JOIN _taskex.review_policy k ON k.policy_id = r.policy_id
        JOIN _taskex.directory q ON q.partition_id = r.partition_id AND q.user_id = r.requester_id
        LEFT JOIN _taskex.directory p ON p.user_id = r.performer_id
    WHERE _taskex.visible(q.user_id) AND _taskex.visible(r.requester_id)
        AND _taskex.narrow(r.partition_id, r.requester_id, q.login, r.task_id);
COMMENT ON VIEW taskex.policy_results IS
'Scores (percent) that review policies gave to assignments and, where assignment_id is NULL, to tasks as a whole,
of the requesters for whom the caller may act.';

CREATE VIEW taskex.policy_actions WITH (security_barrier) AS
    SELECT a.action_id, a.policy_id, k.kind, q.login AS requester, a.action ->> 'do' AS act, a.task_id, a.assignment_id,
        p.login AS performer, a.measure, a.action, a.state, a.error, a.created_at, a.finished_at
    FROM _taskex.policy_action a
        JOIN _taskex.review_policy k ON k.policy_id = a.policy_id
        JOIN _taskex.directory q ON q.partition_id = a.partition_id AND q.user_id = a.requester_id
        LEFT JOIN _taskex.directory p ON p.user_id = a.performer_id
    WHERE _taskex.visible(q.user_id) AND _taskex.visible(a.requester_id)
        AND _taskex.narrow(a.partition_id, a.requester_id, q.login, a.task_id);
COMMENT ON VIEW taskex.policy_actions IS
'What review policies have done, of the requesters for whom the caller may act. measure: what passed the threshold.
state: pending (error: what the server lacked when it was tried last), done, void (there was nothing to do), failed (error says why).';

CREATE VIEW taskex.policy_tallies WITH (security_barrier) AS
    SELECT t.policy_id, k.kind, q.login AS requester, p.login AS performer, t.counted, t.measure, t.period
    FROM _taskex.policy_tally t
        JOIN _taskex.review_policy k ON k.policy_id = t.policy_id
        JOIN _taskex.directory q ON q.partition_id = t.partition_id AND q.user_id = k.requester_id
        JOIN _taskex.directory p ON p.user_id = t.performer_id
    WHERE _taskex.visible(k.requester_id) AND _taskex.narrow(t.partition_id, k.requester_id, q.login, NULL);
COMMENT ON VIEW taskex.policy_tallies IS
'What review policies measure of each performer now (percent, number or amount, as the kind says), of the requesters for
whom the caller may act. period: when the present one began.';
