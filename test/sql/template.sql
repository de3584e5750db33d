-- Templates of tasks, and attachments.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET taskex.exchange_fee = 0;
SET taskex.clock = '2120-01-01 00:00:00+00';
SELECT count(*) FROM taskex.run_due();
SELECT taskex.add_partition('template_1') > 0 AS added, taskex.add_partition('template_2') > 0 AS added;
SELECT taskex.register_user('l_req', partition => 'template_1') > 0 AS req, taskex.register_user('l_other', partition => 'template_2') > 0 AS other,
    taskex.register_user('l_per', partition => 'template_2') > 0 AS per;
SELECT taskex.create_task_type('l_req', 'Template', 0) AS type \gset
\getenv tests PG_ABS_SRCDIR
\set try :tests '/sql/include/try.sql'
\set ECHO none
\i :try
\set ECHO all

-- placeholders: alone they become the value, in a text its text
SELECT body, taskex.create_template('l_req', 'p' || n, body::jsonb) AS version, taskex.render_template('l_req', 'p' || n,
        (SELECT coalesce(jsonb_object_agg(k, v), '{}') FROM jsonb_each('{"n": 1.50, "s": "a \"b\" ${n}", "t": true, "z": null, "o": {"x": [1, 2]}, "l": [1, "2"]}') e (k, v)
         WHERE k IN (SELECT _taskex.placeholders(body::jsonb)))) AS rendered
    FROM unnest(ARRAY['{"a": "${n}", "b": ["${s}", "${t}", {"c": "${z}"}], "d": "${o}", "e": "${l}"}', '"${o}"', '"${n}"', '"${l}"', '"n=${n} s=${s} t=${t} z=${z} o=${o} l=${l}"',
        '"$${n} costs $$ ${n}$"', '{"${n}": "key ${n}"}', '"plain"', '[1, null, {"a": {}}]', '"${n}${n}"', '"$"', '"${s} "', '"$$${n}"']) WITH ORDINALITY u (body, n) ORDER BY n;
SELECT body, pg_temp.try_result(format('SELECT taskex.create_template(''l_req'', ''bad'', %L)', to_jsonb(body))) AS says
    FROM unnest(ARRAY['${', '${}', '${n', '${1n}', '${a b}', 'x ${a-b}', '${' || repeat('x', 64) || '}', '${' || repeat('x', 63) || '}']) body;

-- versions; parameters with types and defaults
SELECT taskex.create_template('l_req', 'picture', '{"url": "${url}", "question": "What is on ${name}?", "max": "${max}"}',
    '{"url": {"type": "string", "format": "uri"}, "name": {"type": "string", "default": "the picture"}, "max": {"type": "integer", "minimum": 1, "default": 5}}', 'Pictures') AS version;
SELECT taskex.create_template('l_req', 'picture', '{"url": "${url}", "question": "What is on ${name}?", "max": "${max}"}',
    '{"url": {"type": "string", "format": "uri"}, "name": {"type": "string", "default": "the picture"}, "max": {"type": "integer", "minimum": 1, "default": 5}}', 'Pictures') AS same,
    taskex.create_template('l_other', 'picture', '"${url}"') AS of_another;
SELECT taskex.render_template('l_req', 'picture', '{"url": "https://x.example/1.png"}'), taskex.render_template('l_req', 'picture', '{"url": "https://x.example/1.png", "name": "it", "max": 9}');
SELECT parameters, pg_temp.try_result(format('SELECT taskex.render_template(''l_req'', ''picture'', %L)', parameters)) AS says
    FROM unnest(ARRAY['{}', '{"url": "no"}', '{"url": 1}', '{"url": "https://x.example", "max": 0}', '{"url": "https://x.example", "max": "5"}', '{"url": "https://x.example", "other": 1}', '[]', '1', 'null']) parameters;
SELECT taskex.create_template('l_req', 'picture', '"${url}"') AS second, taskex.render_template('l_req', 'picture', '{"url": 1}'), taskex.render_template('l_req', 'picture', '{"url": "https://x.example"}', 1);
SELECT requester, name, version, description, parameters FROM taskex.templates WHERE name = 'picture' ORDER BY 1, 3;
SELECT pg_temp.try_result($$SELECT taskex.create_template('l_req', 'large', to_jsonb(repeat('x', 2000000)))$$) AS large;
-- a few placeholders can stand for gigabytes: it ends as soon as it is too much
SELECT taskex.create_template('l_req', 'bomb', jsonb_build_object('a', repeat('${p}', 100000), 'b', (SELECT jsonb_agg('${p}'::text) FROM generate_series(1, 10000))));
SELECT pg_temp.try_result($$SELECT taskex.render_template('l_req', 'bomb', jsonb_build_object('p', repeat('x', 500000)))$$) AS text,
    pg_temp.try_result($$SELECT taskex.render_template('l_req', 'bomb', jsonb_build_object('p', ARRAY[repeat('x', 500000)]))$$) AS json;
SELECT length(taskex.render_template('l_req', 'bomb', '{"p": "xy"}')::text);
SELECT taskex.drop_template('l_req', 'bomb');
-- nor by many
SELECT taskex.create_template('l_req', 'many', to_jsonb(repeat('x', 1000000)));
SELECT pg_temp.try_result(format('SELECT count(*) FROM taskex.create_tasks_from_template(''l_req'', ''many'', %s, array_fill(''{}''::jsonb, ARRAY[1000]))', :type)) AS many;
SELECT taskex.drop_template('l_req', 'many');
SELECT pg_temp.try_result('SELECT taskex.create_template(' || s || ')') AS says FROM unnest(ARRAY['''l_req'', '''', ''1''', '''l_req'', repeat(''x'', 101), ''1''', '''l_req'', ''x'', ''1'', ''[]''', '''l_req'', ''x'', ''"${a}"'', ''{}''',
    '''l_req'', ''x'', ''"${a}"'', ''{"a": {}, "b": {}}''', '''l_req'', ''x'', ''"${a}"'', ''{"a": {"typ": 1}}''', '''l_req'', ''x'', ''"${a}"'', ''{"a": {"type": "string", "default": 1}}''', '''l_req'', ''x'', ''"${a}"'', ''{"a": 1}''']) s;

-- tasks from templates
SELECT taskex.create_task_from_template('l_req', 'picture', :type, '{"url": "https://x.example/1.png"}', version => 1, performers => 2, annotation => 'made', idempotency_key => 'one') AS t \gset
SELECT taskex.create_task_from_template('l_req', 'picture', :type, '{"url": "https://x.example/1.png"}', version => 1, performers => 2, annotation => 'made', idempotency_key => 'one') = :t AS same;
SELECT input, performers, annotation FROM taskex.tasks WHERE task_id = :t;
SELECT array_agg(t) AS many FROM taskex.create_tasks_from_template('l_req', 'picture', :type, ARRAY['{"url": 1}', '{"url": "two"}', '{"url": [3]}']::jsonb[]) t \gset
SELECT input FROM unnest(:'many'::bigint[]) WITH ORDINALITY u (id, n) JOIN taskex.tasks ON task_id = id ORDER BY n;
SELECT count(*) FROM taskex.create_tasks_from_template('l_req', 'picture', :type, '{}');
SELECT pg_temp.try_result(s) AS says FROM unnest(ARRAY[format('SELECT taskex.create_tasks_from_template(''l_req'', ''picture'', %s, ARRAY[''{"url": 1}'', ''{}'']::jsonb[])', :type),
    format('SELECT taskex.create_tasks_from_template(''l_req'', ''picture'', %s, ARRAY[NULL]::jsonb[])', :type), format('SELECT taskex.create_tasks_from_template(''l_req'', ''picture'', %s, ARRAY[ARRAY[''{}'']]::jsonb[])', :type),
    format('SELECT taskex.create_task_from_template(''l_req'', ''nothing'', %s)', :type), format('SELECT taskex.create_task_from_template(''l_req'', ''picture'', %s, ''{"url": 1}'', version => 9)', :type),
    format('SELECT taskex.create_task_from_template(''l_other'', ''p1'', %s)', :type), 'SELECT taskex.create_task_from_template(''l_req'', ''picture'', 900000000, ''{"url": 1}'')',
    format('SELECT taskex.create_task_from_template(''l_req'', ''picture'', %s, ''{"url": 1}'', 0)', :type)]) s;
SELECT count(*) FROM taskex.tasks WHERE requester = 'l_req';
SELECT taskex.drop_template('l_req', 'picture');
SELECT pg_temp.try_result('SELECT taskex.render_template(''l_req'', ''picture'', ''{}'')') AS gone, pg_temp.try_result('SELECT taskex.drop_template(''l_req'', ''picture'')') AS again,
    (SELECT count(*) FROM taskex.templates WHERE name = 'picture') AS of_another;

-- attachments of a task: for its requester and who has or had it
SELECT taskex.attach('l_req', 'guide.pdf', 'https://files.example/guide.pdf', task_id => :t, media_type => 'application/pdf', size => 1000, sha256 => sha256('guide')),
    taskex.attach('l_req', 'a picture', 's3://bucket/key%20one', task_id => :t);
SELECT name, uri, media_type, size, encode(sha256, 'hex') AS sha256, created_at FROM taskex.attachments('l_req', :t);
SELECT taskex.attach('l_req', 'guide.pdf', 'https://files.example/guide2.pdf', task_id => :t, media_type => 'text/html; charset=utf-8');
SELECT name, uri, media_type, size FROM taskex.attachments('l_req', :t);
SELECT pg_temp.try_result(format('SELECT count(*) FROM taskex.attachments(%L, %s)', who, :t)) AS before FROM unnest(ARRAY['l_per', 'l_other']) who;
SELECT assignment_id AS a FROM taskex.accept_task('l_per', :t) \gset
SELECT pg_temp.try_result(format('SELECT count(*) FROM taskex.attachments(%L, %s)', who, :t)) AS after FROM unnest(ARRAY['l_per', 'l_other']) who;
SELECT taskex.detach('l_req', 'a picture', :t);
SELECT count(*) FROM taskex.attachments('l_per', :t);
-- of an assignment: from its performer while he has it; the requester sees them when it is submitted
SELECT taskex.attach('l_per', 'answer', 'https://files.example/answer', assignment_id => :a, size => 0), taskex.attach('l_per', 'draft', 'https://files.example/draft', assignment_id => :a);
SELECT name, uri, size FROM taskex.attachments('l_per', assignment_id => :a);
SELECT pg_temp.try_result(format('SELECT taskex.attachment_url(''l_req'', %s, ''answer'')', :a)) AS too_early;
SELECT taskex.detach('l_per', 'draft', assignment_id => :a), taskex.submit_assignment('l_per', :a, '1');
SELECT taskex.attachment_url('l_req', :a, 'answer'), (SELECT count(*) FROM taskex.attachments('l_req', assignment_id => :a)) AS seen;
SELECT pg_temp.try_result('SELECT taskex.' || format(s, :t, :a)) AS says FROM unnest(ARRAY['attachment_url(''l_req'', %2$s, ''draft'')', 'attachment_url(''l_other'', %2$s, ''answer'')', 'attach(''l_per'', ''late'', ''https://x.example'', assignment_id => %2$s)',
    'detach(''l_per'', ''answer'', assignment_id => %2$s)', 'detach(''l_req'', ''nothing'', %1$s)', 'attach(''l_per'', ''x'', ''https://x.example'', %1$s)', 'attach(''l_req'', ''x'', ''https://x.example'', assignment_id => %2$s)',
    'attach(''l_req'', ''x'', ''https://x.example'')', 'attach(''l_req'', ''x'', ''https://x.example'', %1$s, %2$s)', 'attachments(''l_req'')', 'attachments(''l_req'', %1$s, %2$s)', 'detach(''l_req'', ''x'')',
    'attach(''l_req'', '''', ''https://x.example'', %1$s)', 'attach(''l_req'', repeat(''x'', 256), ''https://x.example'', %1$s)', 'attach(''l_req'', ''x'', ''relative/path'', %1$s)', 'attach(''l_req'', ''x'', ''https://x.example/'' || repeat(''x'', 2048), %1$s)',
    'attach(''l_req'', ''x'', ''JavaScript:alert(1)'', %1$s)', 'attach(''l_req'', ''x'', ''data:text/plain,x'', %1$s)', 'attach(''l_req'', ''x'', ''https://x.example'', %1$s, media_type => ''pdf'')', 'attach(''l_req'', ''x'', ''https://x.example'', %1$s, size => -1)',
    'attach(''l_req'', ''x'', ''https://x.example'', %1$s, sha256 => ''abc'')', 'attach(''l_req'', ''x'', ''https://x.example'', 5)', 'attachments(''l_req'', 5)', 'attachments(''l_req'', assignment_id => 5)']) s;
SELECT count(taskex.attach('l_req', 'file ' || n, 'https://x.example/' || n, :t)) FROM generate_series(1, 99) n;
SELECT pg_temp.try_result(format('SELECT taskex.attach(''l_req'', ''one more'', ''https://x.example'', %s)', :t)) AS too_many, pg_temp.try_result(format('SELECT taskex.attach(''l_req'', ''file 1'', ''https://x.example'', %s)', :t)) AS replaced;
-- a lease that is over
SELECT assignment_id AS b FROM taskex.accept_task('l_other', :t) \gset
SET taskex.clock = '2120-01-01 02:00:00+00';
SELECT pg_temp.try_result(format('SELECT taskex.attach(''l_other'', ''late'', ''https://x.example'', assignment_id => %s)', :b)) AS says;
-- disposing takes them along
SELECT count(*) FROM taskex.run_due();
SELECT taskex.cancel_task('l_req', :t), taskex.approve_assignment('l_req', :a), taskex.dispose_task('l_req', :t);
SELECT count(*) FROM _taskex.attachment WHERE subject_id IN (:t, :a);
SELECT pg_temp.try_result(format('SELECT count(*) FROM taskex.attachments(%L, %s)', who, :t)) AS says, pg_temp.try_result(format('SELECT taskex.attach(%L, ''x'', ''https://x.example'', %s)', who, :t)) AS attach FROM unnest(ARRAY['l_req', 'l_per']) who;
SELECT * FROM taskex.check_market() WHERE NOT ok;
