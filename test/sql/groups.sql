-- Groups of performers: members by name, by profile, by storage partition.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET taskex.clock = '2120-01-01 00:00:00+00';
SELECT taskex.add_partition('groups_1') > 0 AS one, taskex.add_partition('groups_2') > 0 AS two;
-- what a performer's session thinks his groups are
CREATE FUNCTION pg_temp.groups_of(who text) RETURNS text[] LANGUAGE sql AS
    'SELECT ARRAY(SELECT name FROM unnest(_taskex.groups_of(_taskex.user_id(who))) WITH ORDINALITY u (group_id, n) JOIN _taskex.performer_group USING (group_id) ORDER BY n)';

SELECT name, is_default, sharing, partitions, members FROM taskex.performer_groups WHERE name LIKE 'partition:groups%' ORDER BY 1;
SELECT taskex.register_user('g_ann', '{"language": "de", "age": 30, "tools": ["pen", "cam"]}', 'groups_1') > 0 AS ann,
    taskex.register_user('g_bob', '{"language": "en", "age": 9}', 'groups_1') > 0 AS bob,
    taskex.register_user('g_cid', '{"language": "de"}', 'groups_2') > 0 AS cid;
SELECT pg_temp.groups_of('g_ann'), pg_temp.groups_of('g_cid');

-- by name
SELECT taskex.create_group('named', ARRAY['g_ann', 'g_cid', 'g_ann']) > 0 AS made;
SELECT pg_temp.groups_of('g_ann'), pg_temp.groups_of('g_bob');
SELECT taskex.add_group_members('named', ARRAY['g_bob', 'g_ann']) AS added;
SELECT pg_temp.groups_of('g_bob');
SELECT taskex.remove_group_members('named', ARRAY['g_bob', 'g_bob']) AS removed;
SELECT pg_temp.groups_of('g_bob');
-- undone
BEGIN;
SELECT taskex.add_group_members('named', ARRAY['g_bob']) AS added;
ROLLBACK;
SELECT pg_temp.groups_of('g_bob');
-- what is not committed, or undone, is not taken for true, also by the session that does it
SELECT taskex.register_user('g_eve', '{}', 'groups_1') > 0 AS eve, taskex.register_user('g_fay', '{}', 'groups_1') > 0 AS fay;
BEGIN;
SELECT taskex.add_group_members('named', ARRAY['g_eve']) AS added;
SELECT pg_temp.groups_of('g_eve');
ROLLBACK;
SELECT pg_temp.groups_of('g_eve');
BEGIN;
SAVEPOINT s;
SELECT taskex.add_group_members('named', ARRAY['g_fay']) AS added;
SELECT pg_temp.groups_of('g_fay');
ROLLBACK TO s;
SELECT pg_temp.groups_of('g_fay');
COMMIT;
SELECT pg_temp.groups_of('g_fay');

-- by profile, which may change
SELECT taskex.create_group('german', selector => '{"contains": {"language": "de"}}', weight => 2) > 0 AS made;
SELECT * FROM taskex.group_members ORDER BY 1, 2;
SELECT taskex.update_user('g_bob', '{"language": "de"}'), taskex.update_user('g_cid', '{"language": null}');
SELECT * FROM taskex.group_members ORDER BY 1, 2;
SELECT pg_temp.groups_of('g_ann'), pg_temp.groups_of('g_bob'), pg_temp.groups_of('g_cid');
SELECT taskex.register_user('g_dan', '{"language": "de"}', 'groups_2') > 0 AS dan;
SELECT pg_temp.groups_of('g_dan');
-- a member by name stays one when his profile is no longer taken
SELECT taskex.add_group_members('german', ARRAY['g_ann', 'g_cid']);
SELECT taskex.update_user('g_ann', '{"language": "fr"}');
SELECT * FROM taskex.group_members WHERE group_name = 'german' ORDER BY 2;
-- and by profile when he is taken off the list
SELECT taskex.add_group_members('german', ARRAY['g_dan']), taskex.remove_group_members('german', ARRAY['g_dan', 'g_cid']);
SELECT * FROM taskex.group_members WHERE group_name = 'german' ORDER BY 2;
SELECT taskex.update_group('german', '{"selector": {"attribute": "age", "comparator": "<", "value": 10}, "weight": 0.5, "lease": "10 minutes", "max_slots": 5}');
SELECT * FROM taskex.group_members WHERE group_name = 'german' ORDER BY 2;
SELECT name, weight, selector, horizon, lease, max_slots FROM taskex.performer_groups WHERE name = 'german';
SELECT pg_temp.groups_of('g_ann');
SELECT taskex.update_group('german', '{"selector": null, "lease": null, "sharing": "exclusive"}');
SELECT name, sharing, selector, lease, max_slots, members FROM taskex.performer_groups WHERE name = 'german';

-- by storage partition: one group for several of them
SELECT taskex.create_group('both', partitions => ARRAY['groups_1', 'groups_2']) > 0 AS made;
SELECT pg_temp.groups_of('g_dan'), pg_temp.groups_of('g_cid');
SELECT taskex.drop_group('named');
SELECT pg_temp.groups_of('g_cid');

-- selectors
SELECT s, _taskex.selects(s::jsonb, '{"a": 5, "t": "pen", "l": ["x", "y"], "n": null}') FROM unnest(ARRAY[
    '{"contains": {"a": 5}}', '{"contains": {"a": 6}}', '{"contains": {"l": ["y"]}}',
    '{"attribute": "a", "comparator": "=", "value": 5.0}', '{"attribute": "a", "comparator": "<>", "value": 5}',
    '{"attribute": "a", "comparator": "<", "value": 5}', '{"attribute": "a", "comparator": "<=", "value": 5}',
    '{"attribute": "a", "comparator": ">", "value": 4}', '{"attribute": "a", "comparator": ">=", "value": 6}',
    '{"attribute": "a", "comparator": ">", "value": "4"}', '{"attribute": "t", "comparator": "<", "value": "pfn"}',
    '{"attribute": "t", "comparator": ">=", "value": "pen"}', '{"attribute": "l", "comparator": "has", "value": "x"}',
    '{"attribute": "t", "comparator": "has", "value": "pen"}', '{"attribute": "t", "comparator": "in", "values": ["ink", "pen"]}',
    '{"attribute": "t", "comparator": "in", "values": []}', '{"attribute": "n", "comparator": "exists"}',
    '{"attribute": "z", "comparator": "exists"}', '{"attribute": "z", "comparator": "<>", "value": 1}',
    '{"not": {"attribute": "z", "comparator": "=", "value": 1}}',
    '{"all": [{"contains": {"a": 5}}, {"contains": {"t": "pen"}}]}', '{"all": [{"contains": {"a": 5}}, {"contains": {"t": "p"}}]}',
    '{"any": [{"contains": {"a": 4}}, {"contains": {"t": "pen"}}]}', '{"any": [{"contains": {"a": 4}}]}']) s;
SELECT taskex.create_group('bad', selector => '[]');
SELECT taskex.create_group('bad', selector => '{}');
SELECT taskex.create_group('bad', selector => '{"some": 1}');
SELECT taskex.create_group('bad', selector => '{"all": []}');
SELECT taskex.create_group('bad', selector => '{"any": [{"not": {"contains": 1}}]}');
SELECT taskex.create_group('bad', selector => '{"attribute": "a", "comparator": "~", "value": 1}');
SELECT taskex.create_group('bad', selector => '{"attribute": 1, "comparator": "=", "value": 1}');
SELECT taskex.create_group('bad', selector => '{"attribute": "a", "comparator": "in", "value": 1}');
SELECT taskex.create_group('bad', selector => '{"attribute": "a", "comparator": "exists", "value": 1}');
SELECT taskex.create_group('bad', selector => '{"attribute": "a", "comparator": "<", "value": true}');
SELECT taskex.create_group('bad', selector => '{"attribute": "a", "comparator": "="}');
SELECT taskex.create_group('bad', selector => (repeat('{"not": ', 12) || '{"contains": {}}' || repeat('}', 12))::jsonb);

-- errors
SELECT taskex.create_group('both');
SELECT taskex.create_group('partition:x');
SELECT taskex.create_group(NULL);
SELECT taskex.create_group('');
SELECT taskex.create_group('bad', ARRAY['nobody']);
SELECT taskex.create_group('bad', ARRAY[NULL]);
SELECT taskex.create_group('bad', partitions => ARRAY['none']);
SELECT taskex.create_group('bad', sharing => 'free');
SELECT taskex.create_group('bad', weight => 0);
SELECT taskex.create_group('bad', lease => '0 seconds');
SELECT taskex.create_group('bad', horizon => '1 year');
SELECT taskex.create_group('bad', max_slots => -1);
SELECT taskex.update_group('none', '{}');
SELECT taskex.update_group('both', '{"name": "x"}');
SELECT taskex.update_group('both', '[]');
SELECT taskex.update_group('both', '{"weight": null}');
SELECT taskex.update_group('both', '{"weight": "heavy"}');
SELECT taskex.update_group('both', '{"horizon": "soon"}');
SELECT taskex.update_group('both', '{"lease": 10}');
SELECT taskex.update_group('both', '{"lease": "999999999999 years"}');
SELECT taskex.update_group('both', '{"max_slots": 1.5}');
SELECT taskex.update_group('partition:groups_1', '{"selector": {"contains": {}}}');
SELECT taskex.drop_group('partition:groups_1');
SELECT taskex.add_group_members('partition:groups_1', ARRAY['g_ann']);
SELECT taskex.add_group_members('both', NULL);
SELECT taskex.drop_group('none');

-- a storage partition that is dropped leaves its groups
SELECT taskex.add_partition('groups_3') > 0 AS three;
SELECT taskex.create_group('thirds', partitions => ARRAY['groups_3', 'groups_1']) > 0 AS made;
SELECT taskex.drop_partition('groups_3');
SELECT name, partitions FROM taskex.performer_groups WHERE name IN ('thirds', 'partition:groups_3');
SELECT taskex.drop_group('thirds'), taskex.drop_group('both'), taskex.drop_group('german');
