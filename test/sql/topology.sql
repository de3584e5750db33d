-- Nodes and storage partitions: adding, draining, dropping, what is refused.
\set SHOW_CONTEXT never
SET client_min_messages = warning;

-- nodes
SELECT * FROM taskex.nodes WHERE name = 'local';
SELECT taskex.add_node('topo_far', 'host=far.example dbname=exchange', 'Oslo', 'gold', '{"cpu": 8}');
SELECT taskex.add_node('topo_bare');
SELECT * FROM taskex.nodes WHERE name LIKE 'topo%' ORDER BY name;
SELECT taskex.add_node('topo_far');
SELECT taskex.add_node('local');
SELECT taskex.add_node('');
SELECT taskex.add_node(NULL);
SELECT taskex.add_node(repeat('n', 64));
SELECT taskex.add_node(repeat('n', 63));
SELECT taskex.drop_node(repeat('n', 63));
SELECT taskex.add_node('topo_x', tier => '');
SELECT taskex.add_node('topo_x', tier => NULL);
SELECT taskex.add_node('topo_x', capacity => '[]');
SELECT taskex.add_node('topo_x', capacity => '1');
SELECT taskex.add_node('topo_x', capacity => NULL);
SELECT taskex.drain_node('topo_nowhere');
SELECT taskex.drain_node(NULL);
SELECT taskex.drop_node('topo_nowhere');
SELECT taskex.drop_node(NULL);
SELECT taskex.drop_node('local');
SELECT count(*) FROM taskex.nodes WHERE name LIKE 'topo%';

-- partitions, in tablespaces of their own
-- (left by an earlier run on the same server: its tables went with their database)
DROP TABLESPACE IF EXISTS regress_topo_ts;
CREATE TABLESPACE regress_topo_ts LOCATION '';
CREATE TABLESPACE "regress topo ""ts" LOCATION '';
SELECT taskex.add_partition('topo_1', 'regress_topo_ts', capacity => '{"storage": 1000}') AS topo_1 \gset
SELECT taskex.add_partition('topo "2"', 'regress topo "ts', 'local', 'hdd') AS topo_2 \gset
SELECT taskex.add_partition('topo_3') AS topo_3 \gset
SELECT :topo_1 < :topo_2 AND :topo_2 < :topo_3 AS rising;
SELECT name, node, tablespace, storage_class, capacity, state, users
    FROM taskex.partitions WHERE name LIKE 'topo%' ORDER BY name;
-- each has a child of every registered table, it and its indexes in the tablespace
SELECT p.name, count(DISTINCT i.inhrelid) = (SELECT count(*) FROM _taskex.child_table) AS complete,
        array_agg(DISTINCT coalesce(t.spcname, 'default')) AS tablespaces,
        count(x.indexrelid) >= count(DISTINCT i.inhrelid) AS indexed,
        array_agg(DISTINCT coalesce(xt.spcname, 'default')) AS index_tablespaces
    FROM taskex.partitions p
        JOIN _taskex.child_table ct ON true
        JOIN pg_inherits i ON i.inhrelid = to_regclass(format('_taskex.%I', ct.table_name || '_' || p.partition_id))
            AND i.inhparent = format('_taskex.%I', ct.table_name)::regclass
        JOIN pg_class c ON c.oid = i.inhrelid
        LEFT JOIN pg_tablespace t ON t.oid = c.reltablespace
        LEFT JOIN pg_index x ON x.indrelid = c.oid
        LEFT JOIN pg_class xc ON xc.oid = x.indexrelid
        LEFT JOIN pg_tablespace xt ON xt.oid = xc.reltablespace
    WHERE p.name LIKE 'topo%' GROUP BY p.name ORDER BY p.name;
-- every child has the indexes and constraints of its registration, valid, and belongs to the owner
SELECT bool_and(indexes = wanted) AS all_indexes, bool_and(valid) AS valid
    FROM (SELECT cardinality(ct.constraints) + cardinality(ct.indexes) AS wanted, count(x.indexrelid) AS indexes,
            bool_and(x.indisvalid) IS NOT FALSE AS valid
        FROM _taskex.child_table ct LEFT JOIN pg_index x
            ON x.indrelid = format('_taskex.%I', ct.table_name || '_' || :topo_1)::regclass
        GROUP BY ct.table_name, ct.constraints, ct.indexes) t;
-- every child table says whose its rows are, and every child tells of what is written
SELECT bool_and(a.atttypid = 'bigint'::regtype AND a.attnotnull) AS owners, count(*) = count(g.tgname) AS triggers,
        bool_and(pg_get_triggerdef(g.oid) LIKE format('%% moved_row AFTER %s ON _taskex.%s_%s FOR EACH ROW EXECUTE FUNCTION _taskex.moved_row(''%s'', ''%s'')',
            CASE WHEN ct.bulk THEN 'DELETE OR UPDATE' ELSE 'INSERT OR DELETE OR UPDATE' END, ct.table_name, :topo_1, ct.owner, ct.position)
            AND g.tgenabled = 'A') AS right
    FROM _taskex.child_table ct
        LEFT JOIN pg_attribute a ON a.attrelid = format('_taskex.%I', ct.table_name)::regclass AND a.attname = ct.owner
        LEFT JOIN pg_trigger g ON g.tgrelid = format('_taskex.%I', ct.table_name || '_' || :topo_1)::regclass AND g.tgname = 'moved_row';
-- of the first, the unique index of idempotency references is unique and partial
SELECT count(*) FROM pg_index WHERE indrelid = ('_taskex.entry_' || :topo_1)::regclass
    AND indisunique AND indpred IS NOT NULL;
SELECT DISTINCT relowner = (SELECT extowner FROM pg_extension WHERE extname = 'taskex') AS the_owners
    FROM pg_class WHERE relnamespace = '_taskex'::regnamespace;

SELECT taskex.add_partition('topo_1');
SELECT taskex.add_partition('topo_x', 'regress_no_such');
SELECT taskex.add_partition('topo_x', node => 'topo_nowhere');
SELECT taskex.add_partition('topo_x', node => NULL);
SELECT taskex.add_partition('');
SELECT taskex.add_partition(NULL);
SELECT taskex.add_partition(repeat('p', 64));
SELECT taskex.add_partition('topo_x', storage_class => '');
SELECT taskex.add_partition('topo_x', storage_class => NULL);
SELECT taskex.add_partition('topo_x', capacity => '"much"');
SELECT taskex.add_partition('topo_x', capacity => NULL);
SELECT count(*) FROM taskex.partitions WHERE name = 'topo_x';
-- a tablespace that children cannot be in leaves nothing behind
SELECT taskex.add_partition('topo_x', 'pg_global');
SELECT count(*) FROM taskex.partitions WHERE name = 'topo_x';

-- of another node there are no children here, and nobody can live there from here
SELECT taskex.add_partition('topo_far_1', 'anything', 'topo_far') > 0 AS added;
SELECT count(*) FROM pg_class c JOIN taskex.partitions p ON c.relname = 'task_' || p.partition_id
    WHERE p.name = 'topo_far_1' AND c.relnamespace = '_taskex'::regnamespace;
SELECT taskex.register_user('topo_ann', partition => 'topo_far_1');
SELECT taskex.drop_node('topo_far');
SELECT taskex.drop_partition('topo_far_1');
SELECT taskex.drain_node('topo_far');
SELECT name, state FROM taskex.nodes WHERE name = 'topo_far';
SELECT taskex.drop_node('topo_far');
SELECT taskex.drop_node('topo_bare');

-- draining keeps new users away, and those who are there go on
SELECT taskex.register_user('topo_ann', partition => 'topo_1') > 0 AS registered;
SELECT taskex.drain_partition('topo_1', false);
SELECT taskex.drain_partition('topo_1', false);
SELECT name, state, users FROM taskex.partitions WHERE name = 'topo_1';
SELECT taskex.register_user('topo_bob', partition => 'topo_1');
SELECT taskex.deposit('topo_ann', 1, 'still here') > 0 AS deposited;
SELECT taskex.create_task('topo_ann', taskex.create_task_type('topo_ann', 'topo', 0), '1') > 0 AS created;
SELECT taskex.drain_partition('topo_nowhere');
SELECT taskex.drain_partition(NULL);
-- a node that is drained keeps them away from all its partitions
BEGIN;
SELECT taskex.drain_node('local');
SELECT name, state FROM taskex.nodes WHERE name = 'local';
SAVEPOINT s;
SELECT taskex.register_user('topo_bob', partition => 'topo_3');
ROLLBACK TO s;
SELECT taskex.register_user('topo_bob');
ROLLBACK;

-- dropping
SELECT taskex.drop_partition('topo_1');
SELECT taskex.drop_partition('topo_nowhere');
SELECT taskex.drop_partition(NULL);
SELECT taskex.drop_partition('topo "2"');
SELECT count(*) FROM pg_class WHERE relnamespace = '_taskex'::regnamespace AND relname ~ ('_' || :topo_2 || '$');
DROP TABLESPACE "regress topo ""ts";
SELECT taskex.register_user('topo_bob', partition => 'topo "2"');
-- the name is free again, its id is not used again
SELECT taskex.add_partition('topo "2"') > :topo_3 AS newer;
SELECT taskex.drop_partition('topo "2"');

-- in a transaction that is rolled back
BEGIN;
SELECT taskex.add_partition('topo_4') > 0 AS added;
SELECT taskex.register_user('topo_cid', partition => 'topo_4') > 0 AS registered;
SELECT partition, node FROM taskex.route('topo_cid');
SAVEPOINT s;
SELECT taskex.drop_partition('topo_3');
SELECT taskex.register_user('topo_dan', partition => 'topo_3');
ROLLBACK TO s;
SELECT taskex.register_user('topo_dan', partition => 'topo_3') > 0 AS registered;
SELECT partition FROM taskex.route('topo_dan');
ROLLBACK;
SELECT * FROM taskex.route('topo_cid');
SELECT * FROM taskex.route('topo_dan');
SELECT taskex.register_user('topo_cid', partition => 'topo_4');
SELECT name, users FROM taskex.partitions WHERE name LIKE 'topo%' ORDER BY name;

-- renaming is seen at once
BEGIN;
SELECT partition FROM taskex.route('topo_ann');
UPDATE _taskex.partition SET name = 'topo_renamed' WHERE name = 'topo_1';
SELECT partition FROM taskex.route('topo_ann');
ROLLBACK;
SELECT partition FROM taskex.route('topo_ann');

-- as many as taskex.max_partitions and no more
BEGIN;
INSERT INTO _taskex.partition (name, node_id, storage_class, capacity)
    SELECT 'topo_many_' || i, 0, 'ssd', '{}' FROM generate_series(1, current_setting('taskex.max_partitions')::int
        - (SELECT count(*)::int FROM _taskex.partition)) i;
SELECT taskex.add_partition('topo_too_many');
ROLLBACK;

-- transactions that cannot
BEGIN READ ONLY;
SELECT taskex.add_partition('topo_5');
ROLLBACK;
BEGIN;
SELECT taskex.drain_partition('topo_3', false);
PREPARE TRANSACTION 'topo';
SELECT name, state FROM taskex.partitions WHERE name = 'topo_3';

SELECT taskex.drop_partition('topo_3');
SELECT * FROM taskex.check_ledger() WHERE NOT ok;
SELECT * FROM taskex.check_market() WHERE NOT ok;
-- health: all its checks (what they find is the matter of other tests)
SELECT check_name, ok IS NOT NULL AS checked, detail <> '' AS explained FROM taskex.health ORDER BY 1;
BEGIN;
UPDATE _taskex.partition SET state = 'draining';
SELECT ok, detail FROM taskex.health WHERE check_name = 'partitions';
ROLLBACK;
