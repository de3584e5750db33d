-- The format of results: the part of JSON Schema that is known, what a schema
-- gets that cannot be enforced, and submitting.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET taskex.exchange_fee = 0;
SET taskex.clock = '2117-01-01 00:00:00+00';
SELECT count(*) FROM taskex.run_due();
SELECT taskex.add_partition('schema_1') > 0 AS added;
SELECT taskex.register_user('s_req', partition => 'schema_1') > 0 AS req, taskex.register_user('s_per', partition => 'schema_1') > 0 AS per;

CREATE FUNCTION pg_temp.type(schema jsonb) RETURNS bigint LANGUAGE sql AS
    $$ SELECT taskex.create_task_type('s_req', 'Schema', 0, result_schema => schema) $$;
-- "ok", or all that is wrong
CREATE FUNCTION pg_temp.says(schema jsonb, value jsonb) RETURNS text LANGUAGE sql AS
    $$ SELECT coalesce(string_agg(concat_ws(' ', nullif(path, ''), problem), '; '), 'ok') FROM taskex.validate_result(pg_temp.type(schema), value) $$;
-- the values that a schema takes, of many
CREATE FUNCTION pg_temp.takes(schema jsonb, VARIADIC candidates text[]) RETURNS text LANGUAGE sql AS
    $$ SELECT string_agg(v, ' ' ORDER BY n) FROM unnest(candidates) WITH ORDINALITY u (v, n) WHERE pg_temp.says(schema, v::jsonb) = 'ok' $$;
CREATE FUNCTION pg_temp.refused(schema jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
BEGIN
    PERFORM pg_temp.type(schema);
    RETURN 'taken';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    RETURN concat_ws(' | ', SQLSTATE, SQLERRM, nullif(detail, ''));
END $$;

-- types
SELECT s AS schema, pg_temp.takes(s::jsonb, 'null', 'true', '0', '1.0', '-1.5', '1e30', '"x"', '[]', '{}') AS takes FROM unnest(ARRAY['{}', 'true', 'false',
    '{"type": "null"}', '{"type": "boolean"}', '{"type": "integer"}', '{"type": "number"}', '{"type": "string"}', '{"type": "array"}', '{"type": "object"}',
    '{"type": ["integer", "null"]}', '{"type": "string", "title": "t", "description": "d", "default": 1, "examples": [2], "$schema": "https://json-schema.org/draft/2020-12/schema", "$comment": "c"}']) s;
SELECT pg_temp.says('{"type": "string"}', '1'), pg_temp.says('{"type": ["array", "number"]}', '"x"'), pg_temp.says('false', '1');
-- enum and const: equal as JSON, 1.0 is 1
SELECT pg_temp.takes('{"enum": ["a", 1, null, [1, 2], {"a": 1}]}', '"a"', '"b"', '1', '1.00', 'true', 'null', '[1, 2]', '[2, 1]', '[1]', '{"a": 1.0}', '{"a": 2}', '{}', '["a"]') AS enum,
    pg_temp.takes('{"const": "a"}', '"a"', '["a"]', '"A"') AS string, pg_temp.takes('{"const": ["a"]}', '"a"', '["a"]') AS array, pg_temp.takes('{"const": false}', 'false', '0', 'null') AS false;
SELECT pg_temp.says('{"enum": ["a", "b"]}', '"c"'), pg_temp.says('{"enum": [1, 2, 3, 4, 5, 6]}', '7'), pg_temp.says('{"const": {"a": 1}}', '7'),
    length(pg_temp.says(jsonb_build_object('const', repeat('x', 1000)), '7'));
-- numbers
SELECT s AS schema, pg_temp.takes(s::jsonb, '-1', '0', '0.1', '1', '1.5', '2', '3', '"0"', '1e400') AS takes FROM unnest(ARRAY['{"minimum": 1}', '{"maximum": 1}', '{"exclusiveMinimum": 1}', '{"exclusiveMaximum": 1}',
    '{"multipleOf": 0.5}', '{"multipleOf": 3}', '{"minimum": 0, "maximum": 2, "multipleOf": 0.1}']) s;
SELECT pg_temp.says('{"minimum": 1, "exclusiveMinimum": 1.5, "multipleOf": 2}', '-1'), pg_temp.says('{"maximum": 1, "exclusiveMaximum": 0.5}', '3');
-- strings: characters, not bytes
SELECT s AS schema, pg_temp.takes(s::jsonb, '""', '"a"', '"ab"', '"äöü"', '"abcd"', '1', '"x-1"') AS takes FROM unnest(ARRAY['{"minLength": 1, "maxLength": 3}', '{"pattern": "^[a-z]+$"}',
    '{"pattern": "b"}', '{"pattern": "\\d"}', '{"pattern": "^(?:a|ab)$", "type": "string"}']) s;
SELECT pg_temp.says('{"minLength": 2, "pattern": "^x"}', '"a"'), pg_temp.says('{"maxLength": 2}', '"abc"');
-- formats
SELECT f AS format, pg_temp.takes(jsonb_build_object('format', f), VARIADIC candidates) AS takes FROM (VALUES
    ('date', ARRAY['"2024-02-29"', '"2023-02-29"', '"2024-13-01"', '"2024-00-10"', '"2024-1-1"', '"2024-01-01x"', '"2024-01-32"', '7']),
    ('time', ARRAY['"10:00:00Z"', '"10:00:00"', '"24:00:00Z"', '"23:59:60.5+02:00"', '"10:60:00Z"']),
    ('date-time', ARRAY['"2024-02-29T10:00:00Z"', '"2024-02-29t10:00:00.123-05:30"', '"2024-02-29 10:00:00Z"', '"2024-02-30T10:00:00Z"', '"2024-02-29T10:00:00"']),
    ('email', ARRAY['"a@b"', '"a.b+c@x-y.example"', '"a@"', '"@b"', '"a@b@c"', '"a b@c"', '"a@-b"', '"a@b..c"']),
    ('uri', ARRAY['"https://x.example/a?b=c#d"', '"urn:x:1"', '"/relative"', '"http:"', '"http://a b"', '"http://x/%4"', '"http://x/%41"', '"a:b#c#d"', '"s3://bucket/key"']),
    ('uuid', ARRAY['"123e4567-e89b-12d3-a456-426614174000"', '"123e4567e89b12d3a456426614174000"', '"123E4567-E89B-12D3-A456-42661417400G"'])) f (f, candidates);
SELECT pg_temp.says('{"format": "date"}', '"tomorrow"');
-- arrays
SELECT s AS schema, pg_temp.takes(s::jsonb, '[]', '[1]', '[1,"a"]', '[1,1]', '[1,1.0]', '[1,2,3]', '["a"]', '[[1],[1]]', '{"a":1}') AS takes FROM unnest(ARRAY['{"items": {"type": "integer"}}',
    '{"minItems": 1, "maxItems": 2}', '{"uniqueItems": true}', '{"uniqueItems": false}', '{"prefixItems": [{"type": "integer"}, {"type": "string"}]}',
    '{"prefixItems": [{"type": "integer"}], "items": false}', '{"type": "array", "items": {"uniqueItems": true, "type": ["array", "integer"], "items": {"const": 1}}}']) s;
SELECT pg_temp.says('{"items": {"type": "string", "maxLength": 1}, "minItems": 4, "uniqueItems": true}', '[1, "ab", 1]');
-- objects
SELECT s AS schema, pg_temp.takes(s::jsonb, '{}', '{"a":1}', '{"a":"x"}', '{"b":1}', '{"a":1,"b":2}', '{"x_1":1}', '{"x_1":"s"}', '[]') AS takes FROM unnest(ARRAY[
    '{"properties": {"a": {"type": "integer"}}}', '{"properties": {"a": true}, "additionalProperties": false}', '{"required": ["a"]}', '{"required": ["a", "b"], "type": "object"}',
    '{"additionalProperties": {"type": "string"}}', '{"patternProperties": {"^x_": {"type": "integer"}}, "additionalProperties": false}',
    '{"minProperties": 1, "maxProperties": 1}', '{"properties": {"a": false}}']) s;
SELECT pg_temp.says('{"type": "object", "required": ["label", "c/d~e"], "properties": {"label": {"enum": ["cat", "dog"]}, "boxes": {"items": {"type": "object", "required": ["x"], "properties": {"x": {"minimum": 0}}, "additionalProperties": false}}}}',
    '{"label": "cow", "boxes": [{"x": 1}, {"x": -1, "y": 2}, {}]}');
-- combinations
SELECT s AS schema, pg_temp.takes(s::jsonb, '1', '2', '3', '6', '"a"', 'null') AS takes FROM unnest(ARRAY['{"anyOf": [{"type": "string"}, {"minimum": 3, "type": "number"}]}', '{"allOf": [{"minimum": 2}, {"maximum": 3}]}',
    '{"oneOf": [{"multipleOf": 2, "type": "integer"}, {"multipleOf": 3, "type": "integer"}]}', '{"not": {"type": "integer"}}', '{"not": {}}', '{"not": {"anyOf": [{"const": 1}, {"const": "a"}]}}']) s;
SELECT pg_temp.says('{"anyOf": [{"type": "string"}]}', '1'), pg_temp.says('{"oneOf": [true, true]}', '1'), pg_temp.says('{"oneOf": [false]}', '1'), pg_temp.says('{"not": true}', '1'),
    pg_temp.says('{"allOf": [{"type": "string"}, {"const": 2}]}', '1');
-- references; trees
SELECT pg_temp.takes('{"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "integer"}}}', '1', '"x"') AS reference,
    pg_temp.takes('{"definitions": {"n": {"type": "integer"}}, "items": {"$ref": "#/definitions/n", "minimum": 2}}', '[1]', '[2]', '["x"]') AS old_name,
    pg_temp.takes('{"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}, "n": {"type": "integer"}}, "required": ["n"], "additionalProperties": false}',
        '{"n": 1}', '{"n": 1, "left": {"n": 2, "right": {"n": 3}}}', '{"n": 1, "left": {"right": {"n": 3}}}', '{"n": 1, "left": {"n": 2, "right": {"n": "x"}}}') AS tree;
SELECT pg_temp.says('{"items": {"$ref": "#"}, "type": "array"}', (repeat('[', 200) || '7' || repeat(']', 200))::jsonb);

-- what cannot be enforced is refused
SELECT s AS schema, pg_temp.refused(s::jsonb) AS says FROM unnest(ARRAY['1', '"x"', '[]', 'null', '{"typ": "string"}', '{"type": "strng"}', '{"type": []}', '{"type": [1]}', '{"type": 1}',
    '{"enum": []}', '{"enum": 1}', '{"minimum": "1"}', '{"exclusiveMinimum": true}', '{"multipleOf": 0}', '{"multipleOf": -1}', '{"minLength": -1}', '{"minLength": 1.5}', '{"maxItems": 1e20}',
    '{"pattern": 1}', '{"pattern": "("}', '{"format": "ipv4"}', '{"format": 1}', '{"uniqueItems": 1}', '{"items": [{}]}', '{"items": 1}', '{"properties": []}', '{"properties": {"a/b": {"x": 1}}}',
    '{"patternProperties": {"[": {}}}', '{"required": "a"}', '{"required": [1]}', '{"anyOf": []}', '{"anyOf": {}}', '{"allOf": [1]}', '{"not": 1}', '{"$ref": "#/$defs/a"}', '{"$ref": "other.json"}', '{"$ref": 1}',
    '{"$ref": "#"}', '{"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"anyOf": [{"$ref": "#/$defs/a"}]}}}', '{"items": {"$defs": {}}}', '{"$id": "x"}', '{"if": {}}', '{"contains": {}}', '{"dependentRequired": {}}',
    '{"items": {"items": {"properties": {"x": {"minimun": 1}}}}}']) s;
SELECT pg_temp.refused(jsonb_build_object('pattern', repeat('x', 2000))) AS long_pattern,
    pg_temp.refused((repeat('{"not": ', 100) || '{}' || repeat('}', 100))::jsonb) AS deep,
    pg_temp.refused(jsonb_build_object('anyOf', (SELECT jsonb_agg('{}'::jsonb) FROM generate_series(1, 20000)))) AS many,
    pg_temp.refused(jsonb_build_object('title', repeat('x', 2000000))) AS large;
-- a schema and a value that would take for ever
SELECT pg_temp.refused('{"allOf": [{"properties": {"x": {"$ref": "#"}}}, {"properties": {"x": {"$ref": "#"}}}, {"properties": {"x": {"$ref": "#"}}}, {"properties": {"x": {"$ref": "#"}}}]}') AS taken;
\set VERBOSITY sqlstate
SELECT count(*) FROM taskex.validate_result(pg_temp.type('{"allOf": [{"properties": {"x": {"$ref": "#"}}}, {"properties": {"x": {"$ref": "#"}}}, {"properties": {"x": {"$ref": "#"}}}, {"properties": {"x": {"$ref": "#"}}}]}'),
    (repeat('{"x": ', 30) || '1' || repeat('}', 30))::jsonb);
CREATE TEMP TABLE long AS SELECT jsonb_agg(repeat('a', 30) || n) AS value FROM generate_series(1, 20000) n;
SET statement_timeout = '5ms';
SELECT count(*) FROM long, taskex.validate_result(pg_temp.type('{"items": {"pattern": "^(a+)+\\1"}}'), value);
RESET statement_timeout;
\set VERBOSITY default
SELECT count(*) FROM taskex.validate_result(pg_temp.type('{"items": {"type": "string"}}'), (SELECT jsonb_agg(n) FROM generate_series(1, 1000) n));

-- a schema is a property of the type
SELECT pg_temp.type('{"type": "string"}') = pg_temp.type('{ "type" : "string" }') AS same, pg_temp.type('{"type": "string"}') <> pg_temp.type('{"type": "number"}') AS other,
    pg_temp.type('{"type": "string"}') <> pg_temp.type(NULL) AS none;

-- submitting
SELECT pg_temp.type('{"type": "object", "properties": {"label": {"enum": ["cat", "dog"]}}, "required": ["label"]}') AS type \gset
SELECT array_agg(t) AS tasks FROM taskex.create_tasks('s_req', :type, ARRAY['1', '2', '3']::jsonb[]) t \gset
SELECT array_agg(assignment_id ORDER BY assignment_id) AS held FROM taskex.accept_next('s_per', :type, 3) \gset
\getenv tests PG_ABS_SRCDIR
\set try :tests '/sql/include/try.sql'
\set ECHO none
\i :try
\set ECHO all
SELECT pg_temp.try(format('SELECT taskex.submit_assignment(''s_per'', %s, ''{"label": "cow"}'')', (:'held'::bigint[])[1])) AS wrong,
    pg_temp.try(format('SELECT taskex.submit_assignment(''s_per'', %s, ''7'')', (:'held'::bigint[])[1])) AS whole;
SELECT pg_temp.try(format('SELECT taskex.submit_assignments(''s_per'', ''%s'', ARRAY[''{"label": "cat"}'', ''{"label": "dog"}'', ''{}'']::jsonb[])', :'held')) AS one_of_three;
SELECT state, count(*) FROM taskex.assignments WHERE task_id = ANY (:'tasks') GROUP BY 1;
SELECT taskex.submit_assignments('s_per', :'held', ARRAY['{"label": "cat"}', '{"label": "dog"}', '{"label": "cat", "sure": true}']::jsonb[]);
-- who is too late hears of that first
SELECT pg_temp.try(format('SELECT taskex.submit_assignment(''s_per'', %s, ''7'')', (:'held'::bigint[])[1])) AS submitted_already;
-- a type of this transaction, rolled back and made again
BEGIN;
SELECT pg_temp.type('{"const": "mine"}') AS own \gset
SELECT count(*) FROM taskex.validate_result(:own, '"other"');
ROLLBACK;
\set VERBOSITY sqlstate
SELECT count(*) FROM taskex.validate_result(:own, '"other"');
\set VERBOSITY default
SELECT count(taskex.approve_assignment('s_req', assignment_id)) FROM taskex.assignments WHERE task_id = ANY (:'tasks');
SELECT * FROM taskex.check_market() WHERE NOT ok;
