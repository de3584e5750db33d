-- block.sql: performers blocked by requesters, or suspended by the exchange. Pairs
-- with src/qualification.

-- The order of columns is that of src/qualification/eligibility.c.
CREATE TABLE _taskex.block (
    partition_id int NOT NULL,
    performer_id bigint NOT NULL,
    requester_id bigint NOT NULL,
    blocked_at timestamptz NOT NULL,
    until timestamptz,
    reason text NOT NULL
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.block IS 'Who has blocked which performers, on the performers'' partitions; until NULL: without end.';
COMMENT ON COLUMN _taskex.block.requester_id IS 'Whose tasks he may not accept; 0: nobody''s, the exchange has suspended him.';
INSERT INTO _taskex.child_table VALUES ('block', 230, 90, ARRAY['PRIMARY KEY (performer_id, requester_id)'],
    ARRAY['(requester_id, performer_id)'], 'performer_id');

CREATE FUNCTION _taskex.is_blocked(performer_id bigint, requester_id bigint)
    RETURNS boolean LANGUAGE C STABLE STRICT AS 'MODULE_PATHNAME', 'taskex_is_blocked';
COMMENT ON FUNCTION _taskex.is_blocked(bigint, bigint) IS
    'Has the requester blocked the performer, or the exchange suspended him? Kept until the statement ends, as qualifies.';

CREATE FUNCTION _taskex.block(blocker_id bigint, blocked_id bigint, why text, until timestamptz, longer boolean = false)
    RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    now timestamptz := _taskex.now();
    home int := _taskex.home(blocked_id);
    changed bigint;
BEGIN
    PERFORM _taskex.check_text(why, 'reason', 10000);
    IF until <= now THEN
        PERFORM _taskex.bad_value('until must be in the future');
    ELSIF blocker_id = blocked_id THEN
        PERFORM _taskex.bad_value('nobody can block himself');
    END IF;
    EXECUTE format('INSERT INTO _taskex.block_%s AS b (partition_id, performer_id, requester_id, blocked_at, until, reason)'
            ' VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (performer_id, requester_id)'
            ' DO UPDATE SET blocked_at = $4, until = $5, reason = $6 WHERE NOT $7 OR b.until < coalesce($5, ''infinity'')', home)
        USING home, blocked_id, blocker_id, now, until, why, longer;
    GET DIAGNOSTICS changed = ROW_COUNT;
    IF changed = 0 THEN
        RETURN false;
    END IF;
    PERFORM _taskex.journal('blocked', nullif(blocker_id, 0), blocked_id, NULL, NULL, NULL, NULL,
        jsonb_build_object('reason', why, 'until', until));
    RETURN true;
END $$;
COMMENT ON FUNCTION _taskex.block(bigint, bigint, text, timestamptz, boolean) IS
'Keeps a performer from accepting tasks of a requester (0: of anybody), or changes reason and end. until NULL: without end.
longer: only if he is not blocked until then anyhow. Result: is it so now by this call?';

CREATE FUNCTION _taskex.unblock(blocker_id bigint, blocked_id bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    removed bigint;
BEGIN
    EXECUTE format('DELETE FROM _taskex.block_%s WHERE performer_id = $1 AND requester_id = $2', _taskex.home(blocked_id))
        USING blocked_id, blocker_id;
    GET DIAGNOSTICS removed = ROW_COUNT;
    IF removed > 0 THEN
        PERFORM _taskex.journal('unblocked', nullif(blocker_id, 0), blocked_id, NULL, NULL, NULL, NULL, NULL);
    END IF;
    RETURN removed > 0;
END $$;
COMMENT ON FUNCTION _taskex.unblock(bigint, bigint) IS 'Takes a block back. Result: was there one?';

CREATE FUNCTION taskex.block_performer(requester text, performer text, reason text, until timestamptz = NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.block_performer(text, text, text, timestamptz) IS
'Keeps a performer from accepting the requester''s tasks; called again it changes reason and end. Assignments under way stay.
reason: what he is told, 1 to 10000 bytes. until: in the future; NULL: until unblock_performer.
Errors: unknown_user (TX001), invalid_parameter_value (22023).';

CREATE FUNCTION _taskex.block_performer(blocker_id bigint, performer text, why text, until timestamptz)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM _taskex.block(blocker_id, _taskex.user_id(performer), why, until);
END $$;
COMMENT ON FUNCTION _taskex.block_performer(bigint, text, text, timestamptz) IS 'Body of taskex.block_performer.';

CREATE FUNCTION taskex.unblock_performer(requester text, performer text)
    RETURNS boolean LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.unblock_performer(text, text) IS
'Takes a block back. Result: was there one? Errors: unknown_user (TX001).';

CREATE FUNCTION _taskex.unblock_performer(blocker_id bigint, performer text)
    RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN _taskex.unblock(blocker_id, _taskex.user_id(performer));
END $$;
COMMENT ON FUNCTION _taskex.unblock_performer(bigint, text) IS 'Body of taskex.unblock_performer.';

CREATE FUNCTION taskex.suspend_performer(performer text, reason text, until timestamptz = NULL)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF performer IS NULL OR reason IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = format('%s must not be null', CASE WHEN performer IS NULL THEN 'performer' ELSE 'reason' END);
    END IF;
    PERFORM _taskex.block(0, _taskex.user_id(performer), reason, until);
END $$;
COMMENT ON FUNCTION taskex.suspend_performer(text, text, timestamptz) IS
'Keeps a performer from accepting any task; called again it changes reason and end. Assignments under way stay.
reason: what he is told, 1 to 10000 bytes. until: in the future; NULL: until resume_performer.
Errors: unknown_user (TX001), invalid_parameter_value (22023). Operators only.';

CREATE FUNCTION taskex.resume_performer(performer text)
    RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF performer IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'performer must not be null';
    END IF;
    RETURN _taskex.unblock(0, _taskex.user_id(performer));
END $$;
COMMENT ON FUNCTION taskex.resume_performer(text) IS
'Takes a suspension back. Result: was there one? Errors: unknown_user (TX001). Operators only.';

CREATE VIEW taskex.blocks WITH (security_barrier) AS
    SELECT coalesce(r.login, 'exchange') AS requester, p.login AS performer, b.reason, b.blocked_at, b.until,
        b.until IS NULL OR b.until > _taskex.now() AS active
    FROM _taskex.block b
        JOIN _taskex.directory p ON p.partition_id = b.partition_id AND p.user_id = b.performer_id
        LEFT JOIN _taskex.directory r ON r.user_id = b.requester_id
    WHERE _taskex.visible(b.performer_id, b.requester_id)
        AND _taskex.narrow(b.partition_id, b.performer_id, p.login, NULL)
        AND _taskex.narrow(NULL, b.requester_id, coalesce(r.login, 'exchange'), NULL);
COMMENT ON VIEW taskex.blocks IS
'Blocks by, and of, the users for whom the caller may act; requester "exchange": the performer is suspended.';
