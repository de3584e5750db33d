-- Users: registering, profiles, who may act as them, where they live.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT taskex.add_partition('users_1') AS p1, taskex.add_partition('users_2') AS p2 \gset
CREATE ROLE regress_users_a;
CREATE ROLE regress_users_b;
GRANT taskex_user TO regress_users_a, regress_users_b;

-- registering
SELECT taskex.register_user('users_ann', '{"tier": "gold", "location": "Oslo", "db_role": "regress_users_a",
    "likes": ["cats", null], "note": {"a": null}}', 'users_1') AS ann \gset
SELECT login, user_id = :ann AS same_id, partition, node, epoch, db_role, tier, location, profile
    FROM taskex.users WHERE login = 'users_ann';
SELECT user_id = :ann AS same_id, partition, node, epoch FROM taskex.route('users_ann');
SELECT taskex.register_user('users_bob', partition => 'users_2') > :ann AS registered;
SELECT login, partition, db_role, tier, location, profile FROM taskex.users WHERE login = 'users_bob';
SET taskex.clock = '2101-03-04 05:06:07+00';
SELECT taskex.register_user('users_timed', partition => 'users_1') > 0 AS registered;
SELECT registered_at = '2101-03-04 05:06:07+00' AS timed FROM taskex.users WHERE login = 'users_timed';
RESET taskex.clock;

-- logins
SELECT taskex.register_user('users_ann');
SELECT taskex.register_user('users_ann', '{"tier": "other"}', 'users_2');
SELECT partition FROM taskex.route('users_ann');
SELECT taskex.register_user('exchange');
SELECT taskex.register_user('outside');
SELECT taskex.register_user('Exchange', partition => 'users_1') > 0 AS registered;
SELECT taskex.register_user('');
SELECT taskex.register_user(repeat('x', 256));
SELECT taskex.register_user(repeat(U&'\00e9', 128));
SELECT taskex.register_user(E'users\ttab');
SELECT taskex.register_user(E'users\x7f');
SELECT taskex.register_user(NULL);
SELECT taskex.register_user(repeat('y', 255), partition => 'users_1') > 0 AS registered;
SELECT taskex.register_user('users '' "; drop', partition => 'users_1') > 0 AS registered;
SELECT taskex.register_user(U&'users \0436\6f22', partition => 'users_1') > 0 AS registered;
-- compared byte by byte: case, blanks and composed letters count
SELECT taskex.register_user('USERS_ANN', partition => 'users_1') > 0 AS registered;
SELECT taskex.register_user('users_ann ', partition => 'users_1') > 0 AS registered;
SELECT taskex.register_user(U&'users_\00e9', partition => 'users_1') > 0 AS registered;
SELECT taskex.register_user(U&'users_e\0301', partition => 'users_1') > 0 AS registered;
SELECT count(DISTINCT (taskex.route(login)).user_id) = count(*) AS distinct_users, count(*)
    FROM taskex.users WHERE partition = 'users_1';

-- profiles
SELECT taskex.register_user('users_x', NULL);
SELECT taskex.register_user('users_x', '[]');
SELECT taskex.register_user('users_x', '"text"');
SELECT taskex.register_user('users_x', 'null');
SELECT taskex.register_user('users_x', '{"tier": 1}');
SELECT taskex.register_user('users_x', '{"tier": ""}');
SELECT taskex.register_user('users_x', '{"location": ["Oslo"]}');
SELECT taskex.register_user('users_x', '{"db_role": {}}');
SELECT taskex.register_user('users_x', '{"db_role": "regress_users_none"}');
SELECT taskex.register_user('users_x', '{}', 'users_none');
SELECT taskex.register_user('users_x', '{}', '');
SELECT taskex.register_user('users_x', '{}', repeat('p', 100));
SELECT * FROM taskex.route('users_x');
SELECT taskex.register_user('users_null', '{"db_role": null, "tier": null, "location": null}', 'users_1') > 0 AS registered;
SELECT db_role, tier, location FROM taskex.users WHERE login = 'users_null';

-- changes
-- (a tier must be that of a partition; that one takes nobody)
SELECT taskex.add_partition('users_silver', tier => 'silver') > 0 AS added, taskex.drain_partition('users_silver');
SELECT taskex.update_user('users_ann', '{"tier": "silver", "location": null, "likes": ["dogs"], "since": 1}');
SELECT taskex.drop_partition('users_silver');
SELECT tier, location, profile, db_role FROM taskex.users WHERE login = 'users_ann';
SELECT taskex.update_user('users_ann', '{}');
SELECT taskex.update_user('users_ann', '{"note": null, "likes": {"deep": null}}');
SELECT tier, location, profile, db_role FROM taskex.users WHERE login = 'users_ann';
SELECT taskex.update_user('users_ann', '[]');
SELECT taskex.update_user('users_ann', '1');
SELECT taskex.update_user('users_ann', NULL);
SELECT taskex.update_user(NULL, '{}');
SELECT taskex.update_user('users_none', '{}');
SELECT taskex.update_user('users_ann', '{"tier": true}');
SELECT taskex.update_user('users_ann', '{"db_role": "regress_users_none"}');
SELECT tier, profile FROM taskex.users WHERE login = 'users_ann';

-- who may act: the role of the moment, at once, and only if it commits
SET ROLE regress_users_a;
SELECT partition FROM taskex.route('users_ann');
SELECT partition FROM taskex.route('users_bob');
SELECT taskex.update_user('users_ann', '{"colour": "red"}');
SELECT taskex.update_user('users_ann', '{"db_role": "regress_users_a"}');
SELECT taskex.update_user('users_ann', '{"db_role": "regress_users_b"}');
SELECT taskex.update_user('users_ann', '{"db_role": null}');
SELECT taskex.update_user('users_bob', '{"db_role": "regress_users_a"}');
SELECT taskex.register_user('users_own');
SELECT login, profile FROM taskex.users;
RESET ROLE;
BEGIN;
SELECT taskex.update_user('users_ann', '{"db_role": "regress_users_b"}');
SET LOCAL ROLE regress_users_b;
SELECT partition FROM taskex.route('users_ann');
SET LOCAL ROLE regress_users_a;
SELECT partition FROM taskex.route('users_ann');
ROLLBACK;
SET ROLE regress_users_a;
SELECT partition FROM taskex.route('users_ann');
RESET ROLE;
BEGIN;
SAVEPOINT s;
SELECT taskex.update_user('users_ann', '{"db_role": "regress_users_b"}');
ROLLBACK TO s;
SET LOCAL ROLE regress_users_a;
SELECT partition FROM taskex.route('users_ann');
COMMIT;
SELECT taskex.update_user('users_ann', '{"db_role": "regress_users_b"}');
SET ROLE regress_users_a;
SELECT partition FROM taskex.route('users_ann');
SELECT count(*) FROM taskex.users;
SET ROLE regress_users_b;
SELECT partition FROM taskex.route('users_ann');
RESET ROLE;
-- only a superuser lends a superuser
CREATE ROLE regress_users_super SUPERUSER;
CREATE ROLE regress_users_app;
GRANT taskex_app TO regress_users_app;
SET ROLE regress_users_app;
SELECT taskex.register_user('users_x', '{"db_role": "regress_users_super"}');
SELECT taskex.update_user('users_ann', '{"db_role": "regress_users_super"}');
SELECT taskex.update_user('users_ann', '{"db_role": "regress_users_a"}');
RESET ROLE;
-- a role that is renamed or dropped: other changes go on, and change no rights
ALTER ROLE regress_users_a RENAME TO regress_users_renamed;
CREATE ROLE regress_users_a;
GRANT taskex_user TO regress_users_a;
SELECT taskex.update_user('users_ann', '{"colour": "green"}');
SELECT db_role FROM taskex.users WHERE login = 'users_ann';
SET ROLE regress_users_a;
SELECT partition FROM taskex.route('users_ann');
SET ROLE regress_users_renamed;
SELECT taskex.update_user('users_ann', '{"colour": "blue"}');
RESET ROLE;
DROP ROLE regress_users_a, regress_users_renamed;
SELECT taskex.update_user('users_ann', '{"colour": "white"}');
SELECT profile ->> 'colour' AS colour FROM taskex.users WHERE login = 'users_ann';
SELECT taskex.update_user('users_ann', '{"db_role": "regress_users_b"}');
SELECT db_role, profile ->> 'colour' AS colour FROM taskex.users WHERE login = 'users_ann';
SELECT taskex.update_user('users_ann', '{"db_role": null}');
SET ROLE regress_users_b;
SELECT partition FROM taskex.route('users_ann');
RESET ROLE;

-- routing
SELECT * FROM taskex.route(NULL);
SELECT * FROM taskex.route('');
SELECT * FROM taskex.route('users_none');
SELECT * FROM taskex.route(repeat('z', 300));
SELECT * FROM taskex.route('exchange');
-- as a prepared statement, many times, and from a function
PREPARE r(text) AS SELECT partition FROM taskex.route($1);
EXECUTE r('users_ann');
EXECUTE r('users_bob');
SELECT count(*) FROM generate_series(1, 2000) i, taskex.route(CASE i % 2 WHEN 0 THEN 'users_ann' ELSE 'users_bob' END) r
    WHERE r.partition = CASE i % 2 WHEN 0 THEN 'users_1' ELSE 'users_2' END;

-- rollback and savepoints
BEGIN;
SELECT taskex.register_user('users_r', partition => 'users_1') > 0 AS registered;
SELECT partition FROM taskex.route('users_r');
SELECT taskex.register_user('users_r', partition => 'users_2');
ROLLBACK;
SELECT partition FROM taskex.route('users_r');
BEGIN;
SAVEPOINT a;
SELECT taskex.register_user('users_r', partition => 'users_1') > 0 AS registered;
SELECT partition FROM taskex.route('users_r');
ROLLBACK TO a;
SELECT partition FROM taskex.route('users_r');
ROLLBACK TO a;
SELECT taskex.register_user('users_r', partition => 'users_2') > 0 AS registered;
RELEASE a;
SAVEPOINT b;
SELECT taskex.update_user('users_r', '{"location": "lost"}');
ROLLBACK TO b;
SELECT taskex.update_user('users_r', '{"location": "kept"}');
COMMIT;
SELECT partition, tier, location FROM taskex.users WHERE login = 'users_r';
-- an exception block is a savepoint
DO $$
BEGIN
    BEGIN
        PERFORM taskex.register_user('users_s', partition => 'users_1');
        PERFORM taskex.register_user('users_s', partition => 'users_2');
    EXCEPTION WHEN SQLSTATE 'TX002' THEN
        NULL;
    END;
    IF EXISTS (SELECT FROM taskex.users WHERE login = 'users_s') THEN
        RAISE 'half of it stayed';
    END IF;
    PERFORM taskex.register_user('users_s', partition => 'users_2');
END $$;
SELECT partition FROM taskex.route('users_s');
BEGIN;
SELECT taskex.register_user('users_p', partition => 'users_1') > 0 AS registered;
PREPARE TRANSACTION 'users';
SELECT partition FROM taskex.route('users_p');
BEGIN READ ONLY;
SELECT partition FROM taskex.route('users_ann');
SELECT login FROM taskex.users WHERE login = 'users_ann';
SAVEPOINT s;
SELECT taskex.register_user('users_p', partition => 'users_1');
ROLLBACK TO s;
SELECT taskex.update_user('users_ann', '{"note": "x"}');
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT taskex.register_user('users_p', partition => 'users_1') > 0 AS registered;
SELECT partition FROM taskex.route('users_p');
COMMIT;

-- placement: to the active partition that has fewest users
CREATE TEMP TABLE others AS SELECT name, state FROM _taskex.partition;
UPDATE _taskex.partition SET state = 'draining';
SELECT taskex.add_partition('users_3') > 0 AS added, taskex.add_partition('users_4') > 0 AS added;
SELECT count(taskex.register_user('users_q' || i)) FROM generate_series(1, 8) i;
SELECT name, users FROM taskex.partitions WHERE name IN ('users_3', 'users_4') ORDER BY name;
-- who named a partition counts, who was rolled back does not
SELECT count(taskex.register_user('users_n' || i, partition => 'users_3')) FROM generate_series(1, 2) i;
BEGIN;
SELECT count(taskex.register_user('users_b' || i)) FROM generate_series(1, 5) i;
SAVEPOINT s;
SELECT count(taskex.register_user('users_c' || i)) FROM generate_series(1, 5) i;
ROLLBACK TO s;
ROLLBACK;
SELECT count(taskex.register_user('users_q' || i)) FROM generate_series(9, 10) i;
SELECT name, users FROM taskex.partitions WHERE name IN ('users_3', 'users_4') ORDER BY name;
-- a partition that the transaction made itself
BEGIN;
SELECT taskex.add_partition('users_5') > 0 AS added;
SELECT count(taskex.register_user('users_q' || i)) FROM generate_series(11, 12) i;
SELECT users FROM taskex.partitions WHERE name = 'users_5';
ROLLBACK;
SELECT taskex.drain_partition('users_4', false);
SELECT count(taskex.register_user('users_q' || i)) FROM generate_series(11, 12) i;
SELECT name, users FROM taskex.partitions WHERE name IN ('users_3', 'users_4') ORDER BY name;
UPDATE _taskex.partition p SET state = o.state FROM others o WHERE p.name = o.name;
-- the directory and the profiles agree
SELECT count(*) FROM _taskex.directory d FULL JOIN _taskex.profile p USING (user_id, partition_id)
    WHERE d.login IS NULL OR p.profile IS NULL;

DROP ROLE regress_users_b, regress_users_super, regress_users_app;
-- the cost of a view is that of all partitions: it is never worth compiling
CREATE FUNCTION pg_temp.compiled(query text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    line text;
BEGIN
    FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
        IF line LIKE 'JIT%' THEN RETURN true; END IF;
    END LOOP;
    RETURN false;
END $$;
SET jit_above_cost = 0;
SELECT pg_temp.compiled('SELECT count(*) FROM pg_class') = (SELECT setting = 'on' AND pg_jit_available() FROM pg_settings WHERE name = 'jit') AS others,
    pg_temp.compiled('SELECT count(*) FROM taskex.users') AS views;
RESET jit_above_cost;
