-- retention.sql: giving back the room of what is long done. Nothing here runs by
-- itself: docs/operations.md tells what to run, and how often.

CREATE FUNCTION taskex.dispose_tasks(requester text, older_than interval, after bigint = 0, max_rows int = 1000,
        OUT disposed bigint, OUT last_task_id bigint)
    RETURNS record LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.dispose_tasks(text, interval, bigint, int) IS
'Does what dispose_task does for all of the requester''s tasks that are closed, judged and were supplied before older_than ago. It
looks at max_rows (1 to 10000) tasks after the task "after", in the order of their ids. Result: how many it disposed of, and after
which one to go on (NULL: there are no more). Errors: invalid_parameter_value (22023).';

CREATE FUNCTION _taskex.dispose_tasks(requester bigint, older_than interval, after bigint, max_rows int,
        OUT disposed bigint, OUT last_task_id bigint)
    RETURNS record LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before timestamptz := _taskex.ago(older_than);
    seen int := 0;
    t record;
BEGIN
    PERFORM _taskex.check_rows(max_rows);
    IF older_than < '0'::interval THEN
        PERFORM _taskex.bad_value('older_than must not be negative');
    END IF;
    disposed := 0;
    FOR t IN EXECUTE format('SELECT task_id, created_at < $3 AND state IN (''complete'', ''decided'', ''expired'', ''cancelled'')'
            ' AND live = judged AS over FROM _taskex.task_%s WHERE requester_id = $1 AND task_id > $2 ORDER BY task_id LIMIT $4',
            _taskex.home(requester)) USING requester, after, before, max_rows LOOP
        seen := seen + 1;
        last_task_id := t.task_id;
        IF t.over THEN
            PERFORM taskex.dispose_task(_taskex.login(requester), t.task_id);
            disposed := disposed + 1;
        END IF;
    END LOOP;
    IF seen < max_rows THEN
        last_task_id := NULL;
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.dispose_tasks(bigint, interval, bigint, int) IS 'Body of taskex.dispose_tasks.';

-- What refers to a task goes when the task's content is gone: until then a judgement
-- may be overridden, a score be looked at again, and money come back.
CREATE FUNCTION taskex.prune(kind text, older_than interval, max_rows int = 10000)
    RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before timestamptz := _taskex.ago(older_than);
    home int;
    condition text;
    source text;
    rest bigint := max_rows;
    removed bigint;
BEGIN
    IF kind IS NULL OR older_than IS NULL OR max_rows IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'arguments of prune() must not be null';
    ELSIF older_than < greatest('1 day', current_setting('taskex.override_period')::interval) THEN
        PERFORM _taskex.bad_value('older_than must be a day, or taskex.override_period if that is longer, at least');
    ELSIF max_rows NOT BETWEEN 1 AND 1000000 THEN
        PERFORM _taskex.bad_value('max_rows must be between 1 and 1000000');
    END IF;
    -- whoever is being moved is passed by: what counts is where he lives, and copies are the mover's
    IF kind = 'supply_statistics' THEN
        DELETE FROM _taskex.supply_statistics s WHERE s.ctid = ANY (ARRAY(SELECT r.ctid FROM _taskex.supply_statistics r WHERE r.hour < before LIMIT max_rows));
        GET DIAGNOSTICS removed = ROW_COUNT;
        RETURN removed;
    END IF;
    -- until the next move of the same user they say how he came where he is, and plans let him rest
    IF kind = 'migration' THEN
        before := least(before, _taskex.now() - current_setting('taskex.rebalance_cooldown')::interval);
        DELETE FROM _taskex.migration m WHERE m.ctid = ANY (ARRAY(SELECT r.ctid FROM _taskex.migration r WHERE r.finished_at < before LIMIT max_rows));
        GET DIAGNOSTICS removed = ROW_COUNT;
        RETURN removed;
    END IF;
    condition := CASE kind
        -- the executor must have passed it for good: it goes by what is on record
        WHEN 'policy_action' THEN 'EXISTS (SELECT FROM _taskex.directory d WHERE d.user_id = r.requester_id AND d.partition_id = r.partition_id)'
            ' AND r.state <> ''pending'' AND r.finished_at < $1'
            ' AND r.action_id <= (SELECT c.handled_until FROM _taskex.policy_cursor c)'
        WHEN 'policy_result' THEN 'r.scored_at < $1'
            ' AND EXISTS (SELECT FROM _taskex.task_at_home t WHERE t.partition_id = %1$s AND t.task_id = r.task_id AND t.state = ''disposed'')'
        WHEN 'budget_charge' THEN 'EXISTS (SELECT FROM _taskex.directory d WHERE d.user_id = r.requester_id AND d.partition_id = r.partition_id)'
            ' AND NOT EXISTS (SELECT FROM _taskex.task_%1$s t WHERE t.task_id BETWEEN r.first_task_id AND r.last_task_id AND (t.state <> ''disposed'' OR t.created_at >= $1))' END;
    IF condition IS NULL THEN
        PERFORM _taskex.bad_value(format('there is nothing of the kind "%s" to prune', kind), NULL,
            'The kinds are policy_action, policy_result, budget_charge, supply_statistics and migration.');
    END IF;
    <<sources>>
    FOREACH source IN ARRAY CASE kind WHEN 'budget_charge' THEN '{budget_charge,budget_layer}' ELSE ARRAY[kind] END LOOP
        IF source = 'budget_layer' THEN
            condition := 'EXISTS (SELECT FROM _taskex.task_at_home t WHERE t.partition_id = %1$s AND t.task_id = r.task_id'
                ' AND t.state = ''disposed'' AND t.created_at < $1)';
        END IF;
        FOR home IN SELECT p.partition_id FROM _taskex.partition p WHERE p.node_id = 0 ORDER BY 1 LOOP
            EXECUTE format('DELETE FROM _taskex.%2$I_%1$s d WHERE d.ctid = ANY (ARRAY(SELECT r.ctid FROM _taskex.%2$I_%1$s r WHERE '
                || condition || ' LIMIT $2))', home, source) USING before, rest;
            GET DIAGNOSTICS removed = ROW_COUNT;
            rest := rest - removed;
            EXIT sources WHEN rest = 0;
        END LOOP;
    END LOOP;
    RETURN max_rows - rest;
END $$;
COMMENT ON FUNCTION taskex.prune(text, interval, int) IS
'Removes machine records that nothing needs any more, at most max_rows (1 to 1000000), in one transaction. kind: policy_action
(what review policies have done before older_than ago), policy_result (scores of that age, of disposed tasks), budget_charge
(which budget paid, of tasks that old which are all disposed of), supply_statistics (what supplies were good for, by the hour) or migration (moves that
ended before older_than ago, and before taskex.rebalance_cooldown; they cannot be undone any more). older_than: a day, or taskex.override_period if that is longer, at
least. Result: how many; less than max_rows: there are no more. Errors: invalid_parameter_value (22023). Operators only.';
