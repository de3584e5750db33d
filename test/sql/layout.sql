-- Layouts: what a task looks like to each performer.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET taskex.exchange_fee = 0;
SET taskex.clock = '2125-01-01 00:00:00+00';
SELECT count(*) >= 0 AS due FROM taskex.run_due();
SELECT count(taskex.withdraw_announcement(name)) >= 0 AS withdrawn FROM taskex.announcements;
SELECT taskex.add_partition('layout_1') > 0 AS added, taskex.add_partition('layout_2') > 0 AS added;
SELECT count(taskex.register_user(l, p::jsonb, 'layout_' || 1 + n % 2)) FROM unnest(ARRAY['y_req', 'y_other', 'y_ann', 'y_bob', 'y_cyd'],
    ARRAY['{}', '{}', '{"language": "de", "device": "phone", "interests": ["birds", "maps"]}', '{"language": "fr", "age": 44}', '{}']) WITH ORDINALITY u (l, p, n);
SELECT taskex.create_task_type('y_req', 'Layout', 0) AS type, taskex.create_task_type('y_req', 'Plain layout', 0) AS plain,
    taskex.create_task_type('y_req', 'Another layout', 0) AS other \gset
\getenv tests PG_ABS_SRCDIR
\set try :tests '/sql/include/try.sql'
\set ECHO none
\i :try
\set ECHO all

-- versions
SELECT taskex.create_layout('y_req', 'page', '{"task": "${input}", "help": "${help}", "greeting": "Bon${day} ($${day})"}',
    '{"help": {"choices": [{"when": {"attribute": "language", "comparator": "=", "value": "de"}, "content": {"text": "Hilfe"}},
                           {"when": {"contains": {"interests": ["birds"]}}, "content": "never for y_ann"},
                           {"when": {"all": [{"attribute": "age", "comparator": ">=", "value": 40}, {"attribute": "language", "comparator": "in", "values": ["fr", "it"]}]}, "content": ["aide"]}],
               "default": "help", "max_size": 100},
      "day": {"default": "jour"}}', 'A page') AS version;
SELECT taskex.create_layout('y_req', 'page', '{"help": "${help}", "task": "${input}", "greeting": "Bon${day} ($${day})"}', slots, 'A page') AS same FROM taskex.layouts WHERE name = 'page';
SELECT taskex.create_layout('y_req', 'page', '["${input}"]', description => 'Only the task') AS second, taskex.create_layout('y_other', 'page', '"${input}"') AS of_another;
SELECT requester, name, version, description, core, slots, created_at FROM taskex.layouts WHERE name = 'page' ORDER BY 1, 3;
SELECT p AS profile, taskex.render_layout('y_req', 'page', '{"n": 1}', p, 1) FROM unnest(ARRAY['{}', '{"language": "de", "interests": ["birds"]}', '{"interests": ["birds", "maps"]}',
    '{"language": "fr"}', '{"language": "it", "age": 40}', '{"language": "it", "age": "40"}']::jsonb[]) p;
SELECT i AS input, taskex.render_layout('y_req', 'page', i), taskex.render_layout('y_other', 'page', i) FROM unnest(ARRAY['null', '1', '"${help} ${input}"', '[1, {}]']::jsonb[]) i;

-- nothing is laid out before a layout is used; then at once, also what was supplied before
SELECT array_agg(t) AS tasks FROM taskex.create_tasks('y_req', :type, ARRAY['{"n": 1}', '{"n": 2}', '{"n": 3}', '{"n": 4}']::jsonb[], performers => 3) t \gset
SELECT (:'tasks'::bigint[])[1] AS t1, (:'tasks'::bigint[])[2] AS t2, (:'tasks'::bigint[])[3] AS t3, (:'tasks'::bigint[])[4] AS t4 \gset
SELECT input FROM taskex.accept_task('y_ann', :t1);
SELECT input FROM taskex.preview_task('y_ann', :t2);
SET taskex.clock = '2125-01-01 00:01:00+00';
SELECT taskex.use_layout('y_req', :type, 'page', 1);
SELECT input FROM taskex.preview_task('y_ann', :t2);
SELECT input FROM taskex.accept_next('y_ann', :type);
SELECT input, reward, lease_until FROM taskex.accept_next('y_bob', :type, 2) ORDER BY task_id;
SELECT input FROM taskex.accept_task('y_cyd', :t1);
-- the golden ones, too; a type without a layout, and the same type of another requester, not
SELECT taskex.create_golden_task('y_req', :type, '{"n": "g"}', '1') AS g, taskex.create_task('y_other', :type, '{"n": 5}') AS t5,
    taskex.create_task('y_req', :plain, '{"n": 6}') AS t6 \gset
SELECT input FROM taskex.accept_task('y_ann', :t5);
SELECT input FROM taskex.accept_task('y_ann', :t6);
SELECT taskex.set_golden_rate('y_req', :type, 1);
SELECT input FROM taskex.accept_next('y_cyd', :type) a WHERE task_id = :g;
-- what was accepted keeps its layout: in the queue, in the preview, and when it is rendered
SET taskex.clock = '2125-01-01 00:02:00+00';
SELECT taskex.use_layout('y_req', :type, 'page');
SELECT taskex.use_layout('y_req', :type, 'page', 2);
SELECT who, q.input FROM unnest(ARRAY['y_ann', 'y_bob']) who, taskex.queue(who) q ORDER BY 1, q.assignment_id;
SELECT t, p.input = taskex.render_task('y_ann', t) AS same, p.input FROM unnest(:'tasks'::bigint[]) WITH ORDINALITY u (t, n), taskex.preview_task('y_ann', t) p ORDER BY n \g (format=unaligned tuples_only) | sed 's/^[0-9]*|/task|/'
SET taskex.clock = '2125-01-01 00:03:00+00';
SELECT taskex.use_layout('y_req', :type);
SELECT taskex.set_golden_rate('y_req', :type, 0);
SELECT input FROM taskex.accept_next('y_ann', :type);
SELECT layout, version, since, until FROM taskex.layout_uses WHERE requester = 'y_req' ORDER BY since;
-- a change is undone with its transaction; one's own is seen, also by an old snapshot
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT input FROM taskex.preview_task('y_cyd', :t4);
SELECT taskex.use_layout('y_req', :type, 'page', 2);
SELECT input FROM taskex.accept_task('y_cyd', :t4);
ROLLBACK;
SELECT input FROM taskex.preview_task('y_cyd', :t4);

-- profile and context
SELECT taskex.use_layout('y_req', :type, 'page', 1);
SELECT taskex.update_user('y_cyd', '{"language": "de"}');
SELECT taskex.render_task('y_cyd', :t4) -> 'help' AS profile, taskex.render_task('y_cyd', :t4, '{"language": "fr", "age": 40}') -> 'help' AS context,
    taskex.render_task('y_req', :t4, '{"language": "de"}') -> 'help' AS requester;
SELECT pg_temp.try_result(format('SELECT taskex.render_task(%s)', args)) AS says FROM unnest(ARRAY['''y_cyd'', 0', '''y_cyd'', ' || :t4 || ', ''[]''',
    '''y_cyd'', ' || :t4 || ', jsonb_build_object(''x'', repeat(''x'', 2000000))', '''y_nobody'', ' || :t4]) args;

-- what he has declared is in the profile, too
SELECT taskex.set_preferences('y_bob', '{"pace": 12}');
SELECT taskex.create_layout('y_req', 'paced', '{"task": "${input}", "pace": "${pace}"}', '{"pace": {"default": "slow", "choices": [{"when": {"contains": {"preferences": {"pace": 12}}}, "content": "fast"}]}}');
SELECT taskex.use_layout('y_req', :type, 'paced');
SELECT who, taskex.render_task(who, :t4) FROM unnest(ARRAY['y_bob', 'y_cyd']) who;

-- announcements, and what has to be searched for
SELECT taskex.create_layout('y_req', 'more', '{"task": "${input}", "news": "${news}", "related": "${related}", "recommended": "${recommended}"}',
    '{"news": {"source": "announcements", "count": 2, "max_size": 60, "default": "no news"}, "related": {"source": "related", "count": 1}, "recommended": {"source": "recommended", "count": 20}}');
SELECT slots FROM taskex.layouts WHERE name = 'more';
SELECT taskex.use_layout('y_req', :type, 'more');
SELECT taskex.render_task('y_bob', :t4) -> 'news' AS news;
SELECT taskex.announce('all', '"for all"'), taskex.announce('germans', '{"de": "fuer alle"}', '{"attribute": "language", "comparator": "=", "value": "de"}', priority => 1),
    taskex.announce('later', '"later"', shown_from => '2125-01-02', shown_until => '2125-01-03', priority => 9), taskex.announce('long', to_jsonb(repeat('x', 60)), priority => -1);
SELECT who, taskex.render_task(who, :t4) -> 'news' AS news FROM unnest(ARRAY['y_cyd', 'y_bob']) who;
SELECT input -> 'news' AS accepted, input -> 'related' AS related FROM taskex.accept_task('y_cyd', :t4);
SET taskex.clock = '2125-01-02 00:00:00+00';
SELECT taskex.announce('all', '"for all of you"', priority => 5);
SELECT taskex.render_task('y_cyd', :t4) -> 'news' AS next_day;
SELECT taskex.withdraw_announcement('all');
SELECT name, content, audience, shown_from, shown_until, priority FROM taskex.announcements ORDER BY name;
SET taskex.clock = '2125-01-04 00:00:00+00';
SELECT taskex.announce('new', '1');
SELECT array_agg(name ORDER BY name) AS left_over FROM taskex.announcements;
SELECT pg_temp.try_result('SELECT taskex.' || s) AS says FROM unnest(ARRAY['withdraw_announcement(''all'')', 'announce('''', ''1'')', 'announce(''x'', to_jsonb(repeat(''x'', 16383)))', 'announce(''x'', ''1'', ''{}'')',
    'announce(''x'', ''1'', shown_until => now())', 'announce(''x'', NULL)', 'withdraw_announcement(NULL)']) s;
SELECT pg_temp.try_result('SELECT count(taskex.announce(''a'' || n, ''1'')) FROM generate_series(1, 100) n') AS says;
SELECT count(taskex.withdraw_announcement(name)) FROM taskex.announcements;
SELECT taskex.create_task('y_req', :other, '7') AS t7, taskex.create_task('y_req', :type, '8', 2) AS t8 \gset
SELECT count(*) > 0 AS folded FROM taskex.run_due();
SELECT taskex.render_task('y_bob', :t8) #- '{related,0,task_type_id}' #- '{related,0,task_id}' #- '{recommended}' AS related,
    (SELECT jsonb_agg(r -> 'title' ORDER BY r ->> 'title') FROM jsonb_array_elements(taskex.render_task('y_bob', :t8) -> 'recommended') r WHERE r ->> 'requester' = 'y_req') AS recommended;
SELECT taskex.render_task('y_req', :t8) AS requester;
SELECT input FROM taskex.accept_task('y_bob', :t8);

-- what cannot be a layout
SELECT core, slots, pg_temp.try_result(format('SELECT taskex.create_layout(''y_req'', ''bad'', %L, %L)', core, slots)) AS says FROM (VALUES
    ('1', '{}'), ('"${input} ${input}"', '{}'), ('"${input} ${a}"', '{}'), ('"${input}"', '{"a": {"default": 1}}'), ('"${input} ${"', '{}'), ('"${input}"', '[]'),
    ('"${input}"', '{"input": {"default": 1}}'), ('"${input}"', '{"1": {"default": 1}}'), ('"${input}"', '{"a": 1}'), ('"${input}"', '{"a": {}}'), ('"${input}"', '{"a": {"default": 1, "odd": 1}}'),
    ('"${input}"', '{"a": {"default": 1, "choices": {}}}'), ('"${input}"', '{"a": {"default": 1, "choices": [1]}}'), ('"${input}"', '{"a": {"default": 1, "choices": [{"when": {}}]}}'),
    ('"${input}"', '{"a": {"default": 1, "choices": [{"when": {}, "content": 1}]}}'), ('"${input}"', '{"a": {"default": 1, "max_size": 1}}'), ('"${input}"', '{"a": {"default": 1, "max_size": "x"}}'),
    ('"${input}"', '{"a": {"default": "abc", "max_size": 4}}'), ('"${input}"', '{"a": {"default": 1, "max_size": 4, "choices": [{"when": {"contains": {}}, "content": "abc"}]}}'),
    ('"${input}"', '{"a": {"source": "weather"}}'), ('"${input}"', '{"a": {"source": 1}}'), ('"${input}"', '{"a": {"source": "related", "count": 21}}'), ('"${input}"', '{"a": {"source": "related", "choices": []}}'),
    ('"${input} ${a} ${a}"', '{"a": {"default": 1, "max_size": 1048576}}')) bad (core, slots);
SELECT pg_temp.try_result(format('SELECT taskex.create_layout(''y_req'', %s)', args)) AS says FROM unnest(ARRAY[''''', ''"${input}"''', 'repeat(''x'', 101), ''"${input}"''', '''bad'', to_jsonb(repeat(''x'', 2000000))',
    '''bad'', ''"${input}"'', description => repeat(''x'', 10001)', '''bad'', ''"${input}"'', (SELECT jsonb_object_agg(''s'' || n, ''{"default": 1}''::jsonb) FROM generate_series(1, 21) n)']) args;
SELECT count(*) AS bad FROM taskex.layouts WHERE name = 'bad';
SELECT pg_temp.try_result('SELECT taskex.' || s) AS says FROM unnest(ARRAY['use_layout(''y_req'', ' || :type || ', ''none'')', 'use_layout(''y_req'', ' || :type || ', ''page'', 9)', 'use_layout(''y_req'', 0, ''page'')',
    'use_layout(''y_req'', ' || :type || ', version => 1)', 'render_layout(''y_req'', ''none'')', 'render_layout(''y_req'', ''page'', profile => ''[]'')', 'drop_layout(''y_req'', ''none'')', 'drop_layout(''y_req'', ''more'')']) s;
-- a lower limit refuses no task
SET taskex.max_input_size = '1kB';
SELECT taskex.use_layout('y_req', :type, 'page', 1);
SELECT length((taskex.render_task('y_ann', :t8) -> 'task')::text) AS rendered;
RESET taskex.max_input_size;

-- what is dropped leaves the plain input
SELECT taskex.use_layout('y_req', :type);
SELECT taskex.drop_layout('y_req', 'page'), taskex.drop_layout('y_req', 'more'), taskex.drop_layout('y_req', 'paced');
SELECT q.input FROM taskex.queue('y_bob') q;
SELECT name, requester FROM taskex.layouts WHERE requester LIKE 'y\_%';
SELECT layout, version, since, until FROM taskex.layout_uses WHERE requester = 'y_req' ORDER BY since;
SELECT * FROM taskex.check_market();
