-- migration.sql: users move to other storage partitions while they work. Pairs with
-- src/migration; the tables are in directory.sql, since all writers know of them.

-- Partitions that are being emptied: by drain_partition, or by move_partition, which
-- has made another one to take their users.
CREATE TABLE _taskex.drain (
    partition_id int PRIMARY KEY,
    target int,
    drop_empty boolean NOT NULL,
    users bigint NOT NULL,
    started_at timestamptz NOT NULL,
    error text
);
COMMENT ON TABLE _taskex.drain IS 'Storage partitions that their users leave, for the target or, if that is NULL, for where there is room.';
SELECT pg_catalog.pg_extension_config_dump('_taskex.drain', '');

-- the queue --------------------------------------------------------------------

-- Is it the time of the day at which moves may begin and copy?
CREATE FUNCTION _taskex.may_move() RETURNS boolean
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_may_move';
COMMENT ON FUNCTION _taskex.may_move() IS 'Is the present time of the day within taskex.move_window?';

CREATE FUNCTION _taskex.check_target(target int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    p record;
BEGIN
    -- against taskex.drop_partition() meanwhile
    LOCK TABLE _taskex.partition IN ROW SHARE MODE;
    SELECT q.name, q.node_id, n.name AS node, CASE WHEN n.state = 'active' THEN q.state ELSE n.state END AS state INTO p
        FROM _taskex.partition q JOIN _taskex.node n USING (node_id) WHERE q.partition_id = target;
    IF NOT FOUND THEN
        PERFORM _taskex.fail('unknown_partition', format('storage partition %s does not exist', target));
    ELSIF p.node_id <> 0 THEN
        PERFORM _taskex.fail('other_node', format('storage partition "%s" is on node "%s"', p.name, p.node),
            'Users move between the storage partitions of one node.');
    ELSIF p.state <> 'active' THEN
        PERFORM _taskex.fail('partition_not_active', format('storage partition "%s" takes no new users', p.name),
            format('It or its node is "%s".', p.state));
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.check_target(int) IS 'Raises an error unless users may move to the storage partition; it stays until the transaction ends.';

CREATE FUNCTION _taskex.queue_migration(user_id bigint, target int, reason text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    login text := _taskex.login(user_id);
    home int := _taskex.home(user_id);
    other record;
    id bigint;
BEGIN
    PERFORM _taskex.check_target(target);
    IF home = target THEN
        PERFORM _taskex.fail('lives_there', format('user "%s" lives on storage partition "%s" already', login,
            (SELECT p.name FROM _taskex.partition p WHERE p.partition_id = target)));
    END IF;
    INSERT INTO _taskex.migration (user_id, source, target, reason, requested_at, not_before)
        VALUES (queue_migration.user_id, home, queue_migration.target, queue_migration.reason,
            clock_timestamp(), clock_timestamp())
        ON CONFLICT DO NOTHING RETURNING migration_id INTO id;
    IF id IS NULL THEN
        SELECT m.migration_id, p.name INTO other FROM _taskex.migration m JOIN _taskex.partition p ON p.partition_id = m.target
            WHERE m.user_id = queue_migration.user_id AND m.finished_at IS NULL AND m.switched_at IS NULL;
        PERFORM _taskex.fail('already_moving', format('user "%s" is being moved already', login),
            CASE WHEN FOUND THEN format('Migration %s takes him to storage partition "%s".', other.migration_id, other.name) END,
            'Let it end, or cancel it with taskex.cancel_migration().');
    END IF;
    RETURN id;
END $$;
COMMENT ON FUNCTION _taskex.queue_migration(bigint, int, text) IS
    'Queues the move of a user to a storage partition. Result: its id. Errors as taskex.migrate_user.';

CREATE FUNCTION _taskex.check_reason(reason text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF reason IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'reason must not be null';
    END IF;
    PERFORM _taskex.check_text(reason, 'reason', 255);
END $$;
COMMENT ON FUNCTION _taskex.check_reason(text) IS 'Checks the reason of a move.';

CREATE FUNCTION taskex.migrate_user(login text, partition text, reason text = 'manual')
    RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM _taskex.check_reason(reason);
    RETURN _taskex.queue_migration(_taskex.user_id(login), _taskex.partition_id(partition), reason);
END $$;
COMMENT ON FUNCTION taskex.migrate_user(text, text, text) IS
'Queues the move of a user with all that is his to another storage partition of this node; he goes on working meanwhile.
partition: an active one. reason: 1 to 255 bytes, for the record.
Result: the id of the migration; the view taskex.migrations tells how it goes. Errors: unknown_user (TX001),
unknown_partition (TX003), partition_not_active (TX004), other_node (TX006), already_moving (TX501), lives_there (TX502). Operators only.';

CREATE FUNCTION taskex.migrate_users(logins text[], partition text, reason text = 'manual')
    RETURNS SETOF bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    target int;
    login text;
BEGIN
    IF logins IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'logins must not be null';
    ELSIF cardinality(logins) NOT BETWEEN 1 AND 10000 OR array_ndims(logins) <> 1 THEN
        PERFORM _taskex.bad_value('logins must be between 1 and 10000');
    ELSIF array_position(logins, NULL) IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'logins must not contain nulls';
    END IF;
    PERFORM _taskex.check_reason(reason);
    target := _taskex.partition_id(partition);
    FOREACH login IN ARRAY logins LOOP
        RETURN NEXT _taskex.queue_migration(_taskex.user_id(login), target, reason);
    END LOOP;
END $$;
COMMENT ON FUNCTION taskex.migrate_users(text[], text, text) IS
'Queues the moves of the users with these logins, 1 to 10000, to a storage partition, all or, if one cannot be queued, none.
Result: the ids of the migrations, in the order of the logins. partition, reason and errors: as of taskex.migrate_user. Operators only.';

CREATE FUNCTION _taskex.migration_of(id bigint) RETURNS _taskex.migration LANGUAGE plpgsql AS $$
DECLARE
    m _taskex.migration;
BEGIN
    IF id IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'the id of a migration must not be null';
    END IF;
    SELECT * INTO m FROM _taskex.migration g WHERE g.migration_id = id FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM _taskex.fail('unknown_migration', format('migration %s does not exist', id), NULL,
            'The view taskex.migrations lists them.');
    END IF;
    RETURN m;
END $$;
COMMENT ON FUNCTION _taskex.migration_of(bigint) IS 'A migration, locked, or the error unknown_migration.';

CREATE FUNCTION taskex.cancel_migration(id bigint)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    m _taskex.migration := _taskex.migration_of(id);
BEGIN
    IF m.state IN ('cleaning', 'done') THEN
        PERFORM _taskex.fail('wrong_state', format('the user of migration %s has moved', id), NULL,
            'Use taskex.undo_migration() to move him back.');
    ELSIF m.state = 'queued' THEN
        UPDATE _taskex.migration SET cancel = true, state = 'cancelled', finished_at = clock_timestamp() WHERE migration_id = id;
    ELSIF m.finished_at IS NULL THEN
        UPDATE _taskex.migration SET cancel = true, not_before = clock_timestamp() WHERE migration_id = id;
    END IF;
END $$;
COMMENT ON FUNCTION taskex.cancel_migration(bigint) IS
'Cancels a migration, by its id, whose user has not moved yet; what was copied is removed in the background. One that is cancelled already
stays so. Errors: unknown_migration (TX500), wrong_state (TX109) if he has moved. Operators only.';

CREATE FUNCTION taskex.undo_migration(id bigint)
    RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    m _taskex.migration := _taskex.migration_of(id);
    back bigint;
BEGIN
    IF m.state IN ('cancelled', 'failed') THEN
        PERFORM _taskex.fail('wrong_state', format('migration %s has come to nothing already', id), format('Its state is "%s".', m.state));
    ELSIF m.state NOT IN ('cleaning', 'done') THEN
        PERFORM taskex.cancel_migration(id);
        RETURN id;
    ELSIF _taskex.home(m.user_id) <> m.target THEN
        PERFORM _taskex.fail('wrong_state', format('the user of migration %s has moved again', id));
    END IF;
    IF NOT EXISTS (SELECT FROM _taskex.partition p WHERE p.partition_id = m.source) THEN
        PERFORM _taskex.fail('unknown_partition', format('the storage partition from which migration %s took the user was dropped', id));
    END IF;
    back := _taskex.queue_migration(m.user_id, m.source, 'undo');
    UPDATE _taskex.migration SET undo_of = id WHERE migration_id = back;
    RETURN back;
END $$;
COMMENT ON FUNCTION taskex.undo_migration(bigint) IS
'Undoes the move of a user: cancels it or, if he has moved, queues the move back.
Result: the id of the migration that is cancelled, or that takes him back. Errors: unknown_migration (TX500), wrong_state (TX109) if it was
cancelled, has failed, or he has moved again since; unknown_partition (TX003), partition_not_active (TX004) if he cannot go back. Operators only.';

CREATE FUNCTION _taskex.require_tier(tier text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF tier IS NOT NULL AND NOT EXISTS (SELECT FROM _taskex.partition p JOIN _taskex.node n USING (node_id)
            WHERE coalesce(p.tier, n.tier) = require_tier.tier) THEN
        PERFORM _taskex.fail('no_suitable_partition', format('no storage partition has tier "%s"', tier),
            NULL, 'The view taskex.partitions shows their tiers; an operator adds one with taskex.add_partition(), or gives one another tier with taskex.alter_partition().');
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.require_tier(text) IS 'The error no_suitable_partition unless a storage partition has this tier; NULL is fine.';

-- A user's tier has changed: he moves to a partition of that tier. Who has none may stay where he is.
CREATE FUNCTION _taskex.follow_tier(user_id bigint, old_tier text) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    home int := _taskex.home(user_id);
    new_tier text := _taskex.profile_of(user_id) ->> 'tier';
    wanted text := coalesce(new_tier, 'standard');
    target int;
BEGIN
    -- where there is no room in the tier now, plans take him there later; to one that does not exist they never would
    IF new_tier <> coalesce(old_tier, '') THEN
        PERFORM _taskex.require_tier(new_tier);
    END IF;
    -- an anonymous one stays on his temporary partition until he is identified, as in plans
    IF _taskex.login(user_id) LIKE 'anonymous:%'
            OR wanted = (SELECT coalesce(p.tier, n.tier) FROM _taskex.partition p JOIN _taskex.node n USING (node_id) WHERE p.partition_id = home)
            OR EXISTS (SELECT FROM _taskex.migration m
                WHERE m.user_id = follow_tier.user_id AND m.finished_at IS NULL AND m.switched_at IS NULL) THEN
        RETURN;
    END IF;
    target := _taskex.best_partition(user_id);
    IF target <> home AND wanted = (SELECT coalesce(p.tier, n.tier)
            FROM _taskex.partition p JOIN _taskex.node n USING (node_id) WHERE p.partition_id = target) THEN
        PERFORM _taskex.queue_migration(user_id, target, 'tier');
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.follow_tier(bigint, text) IS
'Queues the move of a user whose tier has changed to a storage partition of that tier, if there is one that suits him now. Errors: no_suitable_partition (TX513) if no storage partition has that tier.';

-- what the movers ask for -------------------------------------------------------

CREATE FUNCTION _taskex.begin_migration(id bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    m _taskex.migration := _taskex.migration_of(id);
    home int;
BEGIN
    IF EXISTS (SELECT FROM _taskex.migration o WHERE o.user_id = m.user_id AND o.finished_at IS NULL AND o.migration_id <> id) THEN
        UPDATE _taskex.migration SET not_before = greatest(not_before, clock_timestamp() + interval '200 ms') WHERE migration_id = id;
        RETURN 'wait';
    END IF;
    home := _taskex.home(m.user_id);
    IF home = m.target THEN
        UPDATE _taskex.migration SET state = 'cancelled', finished_at = clock_timestamp(),
            error = 'the user lives there already' WHERE migration_id = id;
        RETURN 'no';
    END IF;
    PERFORM _taskex.check_target(m.target);
    UPDATE _taskex.migration SET source = home WHERE migration_id = id AND source <> home;
    RETURN 'go';
END $$;
COMMENT ON FUNCTION _taskex.begin_migration(bigint) IS
    'May a queued move begin: go, wait (for the cleaning after the last one), or no? Errors: those of check_target.';

CREATE FUNCTION _taskex.move_step(id bigint) RETURNS text
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'taskex_move_step';
COMMENT ON FUNCTION _taskex.move_step(bigint) IS
    'Does one transaction''s worth of a migration''s work. Result: its state then, or busy if another process works on it.';

CREATE FUNCTION _taskex.move_progress(OUT migration_id bigint, OUT pid int, OUT rows bigint, OUT bytes bigint, OUT rows_total bigint,
        OUT bytes_total bigint, OUT cleaned bigint, OUT stall_us bigint, OUT waits_for int[], OUT rate float8)
    RETURNS SETOF record LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_move_progress';
COMMENT ON FUNCTION _taskex.move_progress() IS
    'What the movers do now. waits_for: processes, 0: a prepared transaction; rate: bytes copied, or rows removed, in a second.';

CREATE FUNCTION _taskex.movers_wanted() RETURNS int LANGUAGE sql STABLE AS $$
    SELECT greatest((SELECT count(*) FROM (SELECT FROM _taskex.migration m
                WHERE m.finished_at IS NULL AND (m.state <> 'queued' OR _taskex.may_move())
                    AND m.not_before <= clock_timestamp() + interval '2 s' LIMIT 64) m),
        CASE WHEN EXISTS (SELECT FROM _taskex.drain) OR EXISTS (SELECT FROM _taskex.migration_log) THEN 1 ELSE 0 END)::int
$$;
COMMENT ON FUNCTION _taskex.movers_wanted() IS 'For how many movers there is work.';

CREATE FUNCTION _taskex.mover_lacking() RETURNS timestamptz
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_mover_lacking';
COMMENT ON FUNCTION _taskex.mover_lacking() IS 'Since when there has been work for a mover more and no worker slot for it; NULL: there is none, or a slot.';

-- without shared memory, or on a standby, there are no movers
CREATE FUNCTION _taskex.mover_health(OUT ok boolean, OUT detail text)
    RETURNS record LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    since timestamptz;
    waiting bigint;
BEGIN
    ok := true;
    IF pg_is_in_recovery() THEN
        detail := 'this is a standby';
        RETURN;
    ELSIF NOT _taskex.loaded() THEN
        detail := 'nobody is moved';
        RETURN;
    ELSIF NOT EXISTS (SELECT FROM _taskex.partition) THEN
        detail := 'there is nobody to be moved';
        RETURN;
    END IF;
    since := _taskex.mover_lacking();
    ok := since IS NULL;
    SELECT count(*) INTO waiting FROM _taskex.migration m WHERE m.finished_at IS NULL;
    detail := CASE WHEN NOT ok THEN format('%s moves wait: no worker slot is free for a mover since %s; raise max_worker_processes',
            waiting, date_trunc('second', since))
        WHEN current_setting('taskex.max_movers') = '0' THEN format('%s moves wait: taskex.max_movers is 0', waiting)
        ELSE format('%s moves are under way or queued', waiting) END;
END $$;
COMMENT ON FUNCTION _taskex.mover_health() IS 'mover_lacking for the view taskex.health, which is there without shared memory too.';

-- whole partitions ----------------------------------------------------------------

-- Where a user of a drained partition goes: by his fitness where that is known (placement.sql),
-- else where the fewest live. Temporary storage partitions are for anonymous users, and for nobody else.
CREATE FUNCTION _taskex.refuge(user_id bigint, source int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    anonymous boolean := _taskex.login(user_id) LIKE 'anonymous:%';
    target int;
BEGIN
    IF NOT anonymous AND to_regprocedure('_taskex.best_partition(bigint, text)') IS NOT NULL THEN
        EXECUTE 'SELECT _taskex.best_partition($1, $2)' INTO target USING user_id, 'default';
    END IF;
    IF target IS NULL OR target = source THEN
        SELECT p.partition_id INTO target
            FROM _taskex.partition p JOIN _taskex.node n USING (node_id)
                LEFT JOIN (SELECT d.partition_id, count(*) AS users FROM _taskex.directory d GROUP BY 1) d USING (partition_id)
            WHERE p.node_id = 0 AND p.state = 'active' AND n.state = 'active' AND p.partition_id <> source
                AND (p.storage_class = 'temporary') = anonymous AND _taskex.readable(p.partition_id)
            ORDER BY coalesce(d.users, 0) + (SELECT count(*) FROM _taskex.migration m
                WHERE m.target = p.partition_id AND m.finished_at IS NULL AND m.switched_at IS NULL), p.partition_id LIMIT 1;
    END IF;
    RETURN target;
END $$;
COMMENT ON FUNCTION _taskex.refuge(bigint, int) IS 'The storage partition to which a user should go who must leave his; NULL: there is none.';

-- Keeps some moves of each drained partition queued. Who could not be moved is tried again after a minute.
CREATE FUNCTION _taskex.tend_drain(d _taskex.drain) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    room int := 2 * current_setting('taskex.max_movers')::int + 8 - (SELECT count(*) FROM _taskex.migration m
        WHERE m.source = d.partition_id AND m.finished_at IS NULL AND m.switched_at IS NULL);
    u bigint;
    target int;
    problem text := CASE WHEN NOT _taskex.readable(d.partition_id) THEN 'the storage partition cannot be read' END;
BEGIN
    FOR u IN
        SELECT y.user_id FROM _taskex.directory y
        WHERE y.partition_id = d.partition_id AND problem IS NULL
            AND NOT EXISTS (SELECT FROM _taskex.migration m WHERE m.user_id = y.user_id AND m.switched_at IS NULL
                AND (m.finished_at IS NULL OR m.state = 'failed' AND m.finished_at > clock_timestamp() - interval '1 minute'))
        LIMIT greatest(room, 0)
    LOOP
        target := coalesce(d.target, _taskex.refuge(u, d.partition_id));
        IF target IS NULL THEN
            problem := CASE WHEN _taskex.login(u) LIKE 'anonymous:%' THEN 'there is no other active storage partition for anonymous users'
                ELSE 'there is no other active storage partition' END;
            EXIT;
        END IF;
        BEGIN
            PERFORM _taskex.queue_migration(u, target, 'drain');
        EXCEPTION WHEN others THEN
            problem := SQLERRM;
        END;
    END LOOP;
    UPDATE _taskex.drain SET error = problem WHERE partition_id = d.partition_id AND error IS DISTINCT FROM problem;
    IF d.drop_empty AND NOT EXISTS (SELECT FROM _taskex.directory y WHERE y.partition_id = d.partition_id)
            AND NOT EXISTS (SELECT FROM _taskex.migration m
                WHERE d.partition_id IN (m.source, m.target) AND m.finished_at IS NULL) THEN
        BEGIN
            PERFORM taskex.drop_partition((SELECT p.name FROM _taskex.partition p WHERE p.partition_id = d.partition_id));
        EXCEPTION
            WHEN lock_not_available OR deadlock_detected THEN
                NULL;   -- next time
            WHEN others THEN
                problem := SQLERRM;
                UPDATE _taskex.drain SET error = problem WHERE partition_id = d.partition_id;
        END;
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.tend_drain(_taskex.drain) IS 'Queues moves of users who must leave a storage partition, or drops it when all have.';

CREATE FUNCTION _taskex.tend_migrations() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT _taskex.claim_job('migrations') THEN
        RETURN;
    END IF;
    PERFORM _taskex.tend_drain(d) FROM _taskex.drain d JOIN _taskex.partition p USING (partition_id) WHERE p.state = 'draining';
    -- of writers who heard too late that their user's move had ended
    DELETE FROM _taskex.migration_log l
        WHERE NOT EXISTS (SELECT FROM _taskex.migration m WHERE m.migration_id = l.migration_id AND m.finished_at IS NULL);
END $$;
COMMENT ON FUNCTION _taskex.tend_migrations() IS 'What a mover does now and then: drains partitions, removes what was logged for moves that have ended.';

CREATE FUNCTION taskex.drain_partition(name text, move boolean = true)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id int := _taskex.partition_id(name);
BEGIN
    IF move IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'move must not be null';
    END IF;
    UPDATE _taskex.partition SET state = 'draining' WHERE partition_id = id;
    -- who was on his way there stays where he is
    PERFORM taskex.cancel_migration(m.migration_id) FROM _taskex.migration m
        WHERE m.target = id AND m.finished_at IS NULL AND m.switched_at IS NULL;
    IF move AND (SELECT p.node_id FROM _taskex.partition p WHERE p.partition_id = id) = 0 THEN
        INSERT INTO _taskex.drain (partition_id, drop_empty, users, started_at)
            SELECT id, false, count(*), clock_timestamp() FROM _taskex.directory d WHERE d.partition_id = id
            ON CONFLICT DO NOTHING;
    END IF;
END $$;
COMMENT ON FUNCTION taskex.drain_partition(text, boolean) IS
'Makes a storage partition take no more users, and moves those on it to others in the background, to where they fit best or
the fewest live, anonymous users to another temporary partition; they go on working. move: false: they stay. The view taskex.drains tells how it goes; taskex.resume_partition() ends it.
When it is empty, taskex.drop_partition() drops it. Errors: unknown_partition (TX003). Operators only.';

CREATE FUNCTION taskex.resume_partition(name text)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id int := _taskex.partition_id(name);
BEGIN
    UPDATE _taskex.partition SET state = 'active' WHERE partition_id = id;
    DELETE FROM _taskex.drain WHERE partition_id = id;
    PERFORM taskex.cancel_migration(m.migration_id) FROM _taskex.migration m
        WHERE m.source = id AND m.reason = 'drain' AND m.finished_at IS NULL AND m.switched_at IS NULL;
END $$;
COMMENT ON FUNCTION taskex.resume_partition(text) IS
'Makes a storage partition that was drained take new users again, if its node does. Moves that draining has begun are
cancelled; who has moved does not come back. Errors: unknown_partition (TX003). Operators only.';

CREATE FUNCTION taskex.move_partition(name text, tablespace name)
    RETURNS int LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    old _taskex.partition;
    id int;
    own name := (SELECT t.spcname FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace WHERE d.datname = current_database());
BEGIN
    SELECT * INTO old FROM _taskex.partition p WHERE p.partition_id = _taskex.partition_id(move_partition.name) FOR UPDATE;
    IF old.node_id <> 0 THEN
        PERFORM _taskex.fail('other_node', format('storage partition "%s" is on another node', name));
    ELSIF old.state <> 'active' THEN
        PERFORM _taskex.fail('partition_not_active', format('storage partition "%s" is being drained', name), NULL,
            'Use taskex.resume_partition() first.');
    ELSIF coalesce(old.tablespace, own) = coalesce(tablespace, own) THEN
        PERFORM _taskex.bad_value(format('storage partition "%s" is in that tablespace already', name));
    END IF;
    UPDATE _taskex.partition p SET name = left(old.name::text, 50) || '~' || old.partition_id, state = 'draining'
        WHERE p.partition_id = old.partition_id;
    UPDATE _taskex.performer_group g SET name = 'partition:' || p.name
        FROM _taskex.partition p WHERE p.partition_id = old.partition_id AND g.group_id = -p.partition_id;
    id := taskex.add_partition(old.name::text, tablespace, 'local', old.storage_class, old.capacity, old.tier, old.location);
    INSERT INTO _taskex.drain (partition_id, target, drop_empty, users, started_at)
        SELECT old.partition_id, id, true, count(*), clock_timestamp()
        FROM _taskex.directory d WHERE d.partition_id = old.partition_id;
    RETURN id;
END $$;
COMMENT ON FUNCTION taskex.move_partition(text, name) IS
'Moves a storage partition to another tablespace while it is used: a new one in that tablespace takes its name and, in the background, its
users. The old one is called "NAME~ID" until it is empty, and then is dropped. tablespace: an existing one, NULL for the database''s own.
Result: the id of the new partition; the view taskex.drains tells how it goes. Errors: unknown_partition (TX003), partition_not_active (TX004),
other_node (TX006), undefined_object (42704), invalid_parameter_value (22023) if it is there already. Operators only.';

-- a partition to or from which users move is not dropped
CREATE FUNCTION _taskex.forget_drain() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    other bigint;
BEGIN
    SELECT m.migration_id INTO other FROM _taskex.migration m
        WHERE OLD.partition_id IN (m.source, m.target) AND m.finished_at IS NULL ORDER BY 1 LIMIT 1;
    IF FOUND THEN
        PERFORM _taskex.fail('still_in_use', format('storage partition "%s" is not empty', OLD.name),
            format('Migration %s copies to it, or has not cleaned it yet.', other), 'Let it end, or use taskex.cancel_migration().');
    END IF;
    DELETE FROM _taskex.drain WHERE partition_id = OLD.partition_id;
    RETURN OLD;
END $$;
COMMENT ON FUNCTION _taskex.forget_drain() IS 'Keeps a storage partition to or from which users move from being dropped.';
CREATE TRIGGER forget_drain BEFORE DELETE ON _taskex.partition
    FOR EACH ROW EXECUTE FUNCTION _taskex.forget_drain();
ALTER TABLE _taskex.partition ENABLE ALWAYS TRIGGER forget_drain;

-- views ---------------------------------------------------------------------------

CREATE VIEW taskex.migrations WITH (security_barrier) AS
    SELECT m.migration_id, d.login, coalesce(s.name::text, m.source::text) AS source, coalesce(t.name::text, m.target::text) AS target,
        m.reason, m.state, coalesce(g.rows, m.rows) AS rows, coalesce(g.rows_total, m.rows_total) AS rows_total,
        coalesce(g.bytes, m.bytes) AS bytes, coalesce(g.bytes_total, m.bytes_total) AS bytes_total, coalesce(g.cleaned, m.cleaned) AS cleaned,
        CASE WHEN m.finished_at IS NULL AND g.rate > 0 THEN clock_timestamp() + make_interval(secs =>
            CASE m.state WHEN 'copying' THEN greatest(g.bytes_total - g.bytes, 0) / g.rate
                WHEN 'cleaning' THEN greatest(g.rows - g.cleaned, 0) / g.rate END) END AS eta,
        make_interval(secs => greatest(g.stall_us, m.stall_us) / 1e6) AS longest_stall,
        CASE WHEN m.finished_at IS NULL THEN coalesce(g.waits_for, '{}') ELSE '{}' END AS waits_for, g.pid AS mover, m.attempts,
        m.cancel AND m.finished_at IS NULL AS cancelling, m.undo_of, m.error, m.requested_at, m.not_before, m.started_at, m.switched_at, m.finished_at
    FROM _taskex.migration m JOIN _taskex.directory d USING (user_id)
        LEFT JOIN _taskex.move_progress() g USING (migration_id)
        LEFT JOIN _taskex.partition s ON s.partition_id = m.source
        LEFT JOIN _taskex.partition t ON t.partition_id = m.target
    WHERE _taskex.visible(m.user_id);
COMMENT ON VIEW taskex.migrations IS
'Moves of users between storage partitions: their states, rows and bytes copied so far and in all, rows removed afterwards, when the present phase should
end, the longest time for which the user''s writes waited, and the processes that the mover waits for (0: a prepared transaction).';

CREATE VIEW taskex.drains AS
    SELECT p.name::text AS partition, t.name::text AS target, d.users,
        (SELECT count(*) FROM _taskex.directory y WHERE y.partition_id = d.partition_id) AS users_left, m.moving, m.failed,
        d.drop_empty, d.started_at, d.error
    FROM _taskex.drain d JOIN _taskex.partition p USING (partition_id) LEFT JOIN _taskex.partition t ON t.partition_id = d.target,
        LATERAL (SELECT count(*) FILTER (WHERE m.finished_at IS NULL) AS moving,
            count(*) FILTER (WHERE m.state = 'failed' AND m.requested_at >= d.started_at) AS failed
            FROM _taskex.migration m WHERE m.source = d.partition_id AND m.reason = 'drain') m;
COMMENT ON VIEW taskex.drains IS
'Storage partitions that are being emptied: users when that began, and now; moves under way (with those that are only cleaning up), and that have failed.';
