-- template.sql: templates of tasks, and attachments. Pairs with src/market/template.c.

-- Placeholders -----------------------------------------------------------------

CREATE FUNCTION _taskex.render(body jsonb, parameters jsonb) RETURNS jsonb
    LANGUAGE C IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'taskex_render';
COMMENT ON FUNCTION _taskex.render(jsonb, jsonb) IS
    'The body with each ${name} replaced by the parameter of that name; an error if there is none.';

CREATE FUNCTION _taskex.placeholders(body jsonb) RETURNS SETOF text
    LANGUAGE C IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'taskex_placeholders';
COMMENT ON FUNCTION _taskex.placeholders(jsonb) IS 'The names of placeholders in a body, as often as they occur.';

CREATE FUNCTION _taskex.check_schema(schema jsonb, what text) RETURNS void
    LANGUAGE C IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'taskex_check_schema';
COMMENT ON FUNCTION _taskex.check_schema(jsonb, text) IS 'Raises an error, which names the schema by what, unless it can be enforced.';

CREATE FUNCTION _taskex.schema_problem(schema jsonb, value jsonb) RETURNS text
    LANGUAGE C IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'taskex_schema_problem';
COMMENT ON FUNCTION _taskex.schema_problem(jsonb, jsonb) IS 'The first thing in which a value is not as a schema asks, or NULL.';

-- Templates --------------------------------------------------------------------

CREATE TABLE _taskex.template (
    requester_id bigint NOT NULL,
    name text NOT NULL COLLATE "C",
    version int NOT NULL,
    description text NOT NULL,
    body jsonb NOT NULL,
    parameters jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (requester_id, name, version)
);
COMMENT ON TABLE _taskex.template IS 'Templates of tasks'' inputs; a version never changes. parameters: a JSON schema for each.';
SELECT pg_catalog.pg_extension_config_dump('_taskex.template', '');

CREATE FUNCTION taskex.create_template(requester text, name text, body jsonb, parameters jsonb = NULL, description text = '')
    RETURNS int LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.create_template(text, text, jsonb, jsonb, text) IS
'Makes a template of tasks'' inputs, or a new version of it. name: 1 to 100 characters, of the requester''s own. body: any JSON, in
whose strings ${name} stands for a parameter; a string that is one placeholder becomes the parameter''s value. parameters: an object with a
JSON schema (as for result_schema) for each, whose default, if it has one, is taken when it is not given; NULL: those in the body, any value.
description: at most 10000 characters. Result: the version; the present one if nothing is different.';
CREATE FUNCTION _taskex.create_template(requester bigint, template_name text, body jsonb, parameters jsonb, description text)
    RETURNS int LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    names text[] := ARRAY(SELECT DISTINCT p FROM _taskex.placeholders(body) p ORDER BY p);
    odd text;
    last _taskex.template;
BEGIN
    IF template_name = '' OR length(template_name) > 100 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'the name of a template must have between 1 and 100 characters';
    ELSIF length(description) > 10000 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'description must have at most 10000 characters';
    END IF;
    PERFORM _taskex.check_size(body, 'body'), _taskex.check_size(parameters, 'parameters');
    parameters := coalesce(parameters, (SELECT coalesce(jsonb_object_agg(n, '{}'::jsonb), '{}') FROM unnest(names) n));
    IF jsonb_typeof(parameters) <> 'object' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'parameters must be a JSON object',
            DETAIL = 'It has a JSON schema for each parameter of the template.';
    END IF;
    PERFORM _taskex.check_schema(jsonb_build_object('properties', parameters), 'parameters');
    SELECT n INTO odd FROM unnest(names) n WHERE NOT parameters ? n LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('placeholder "%s" is not among the parameters', odd);
    END IF;
    SELECT k INTO odd FROM jsonb_object_keys(parameters) k WHERE k <> ALL (names) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('parameter "%s" is not used in the template', odd);
    END IF;
    SELECT p.key INTO odd FROM jsonb_each(parameters) p
        WHERE jsonb_typeof(p.value) = 'object' AND p.value ? 'default' AND _taskex.schema_problem(p.value, p.value -> 'default') IS NOT NULL LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('the default of parameter "%s" is not one that it allows', odd);
    END IF;

    -- versions are numbered one after the other
    EXECUTE format('SELECT FROM _taskex.profile_%s WHERE user_id = $1 FOR NO KEY UPDATE', _taskex.home(requester)) USING requester;
    SELECT * INTO last FROM _taskex.template t WHERE t.requester_id = requester AND t.name = template_name ORDER BY t.version DESC LIMIT 1;
    IF FOUND AND (last.body, last.parameters, last.description) = (body, parameters, description) THEN
        RETURN last.version;
    END IF;
    INSERT INTO _taskex.template VALUES (requester, template_name, coalesce(last.version, 0) + 1, description, body, parameters, _taskex.now());
    RETURN coalesce(last.version, 0) + 1;
END $$;
COMMENT ON FUNCTION _taskex.create_template(bigint, text, jsonb, jsonb, text) IS 'The body of taskex.create_template.';

CREATE FUNCTION taskex.drop_template(requester text, name text)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.drop_template(text, text) IS
'Removes a template with all its versions; tasks made from it stay. name: the template''s. Errors: unknown_template (TX118).';
CREATE FUNCTION _taskex.drop_template(requester bigint, template_name text)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM _taskex.template t WHERE t.requester_id = requester AND t.name = template_name;
    IF NOT FOUND THEN
        PERFORM _taskex.fail('unknown_template', format('the requester has no template "%s"', template_name));
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.drop_template(bigint, text) IS 'The body of taskex.drop_template.';

-- The inputs that a template makes of parameters, all or none.
CREATE FUNCTION _taskex.render_all(requester bigint, template_name text, template_version int, parameters jsonb[])
    RETURNS jsonb[] LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    kept _taskex.template;
    defaults jsonb;
    rule jsonb;
    result jsonb[] := '{}';
    made jsonb;
    given jsonb;
    problem text;
    n int := 0;
    -- of all together: many small parameters can stand for more than memory holds
    room bigint := 67108864;
BEGIN
    SELECT * INTO kept FROM _taskex.template t
        WHERE t.requester_id = requester AND t.name = template_name AND (template_version IS NULL OR t.version = template_version)
        ORDER BY t.version DESC LIMIT 1;
    IF NOT FOUND THEN
        PERFORM _taskex.fail('unknown_template', format('the requester has no template "%s"%s', template_name, ' of version ' || template_version));
    ELSIF array_ndims(parameters) > 1 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'parameters must be a one-dimensional array';
    END IF;
    defaults := (SELECT coalesce(jsonb_object_agg(key, value -> 'default'), '{}') FROM jsonb_each(kept.parameters)
        WHERE jsonb_typeof(value) = 'object' AND value ? 'default');
    rule := jsonb_build_object('type', 'object', 'properties', kept.parameters, 'additionalProperties', false,
        'required', (SELECT coalesce(jsonb_agg(k), '[]') FROM jsonb_object_keys(kept.parameters) k));
    FOREACH given IN ARRAY parameters LOOP
        n := n + 1;
        IF given IS NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'parameters must not contain nulls',
                DETAIL = format('Element %s is null.', n);
        END IF;
        IF jsonb_typeof(given) = 'object' THEN
            given := defaults || given;
        END IF;
        problem := _taskex.schema_problem(rule, given);
        IF problem IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
                MESSAGE = format('the parameters are not those of template "%s"', template_name),
                DETAIL = CASE WHEN cardinality(parameters) > 1 THEN format('Element %s: %s.', n, problem) ELSE problem || '.' END;
        END IF;
        made := _taskex.render(kept.body, given);
        room := room - pg_column_size(made);
        IF room < 0 THEN
            PERFORM _taskex.fail('input_too_large', 'what the template makes of the parameters is too large together',
                format('The limit is 64 MB; it was passed with element %s of %s.', n, cardinality(parameters)), 'Supply fewer tasks with one call.');
        END IF;
        result := result || made;
    END LOOP;
    RETURN result;
END $$;
COMMENT ON FUNCTION _taskex.render_all(bigint, text, int, jsonb[]) IS
    'The inputs that a template (NULL: in its newest version) makes of parameters; an error for the first that is not as it asks.';

CREATE FUNCTION taskex.render_template(requester text, template text, parameters jsonb = '{}', version int = NULL)
    RETURNS jsonb LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.render_template(text, text, jsonb, int) IS
'The input that a task made from a template would have. template: its name. parameters: a JSON object with a value for each.
version: of the template; NULL: the newest. Errors: unknown_template (TX118), input_too_large (TX111), invalid_parameter_value (22023).';
CREATE FUNCTION _taskex.render_template(requester bigint, template text, parameters jsonb, version int)
    RETURNS jsonb LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT (_taskex.render_all(requester, template, version, ARRAY[parameters]))[1]
$$;
COMMENT ON FUNCTION _taskex.render_template(bigint, text, jsonb, int) IS 'The body of taskex.render_template.';

CREATE FUNCTION taskex.create_task_from_template(requester text, template text, task_type bigint, parameters jsonb = '{}',
        performers int = 1, expires_in interval = '7 days', consensus text = NULL, idempotency_key text = NULL,
        min_performers int = NULL, confidence float8 = NULL, annotation text = NULL, version int = NULL)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.create_task_from_template(text, text, bigint, jsonb, int, interval, text, text, int, float8, text, int) IS
'Supplies a task whose input is a template with its parameters filled in. template, parameters, version: see render_template. task_type, performers,
expires_in, consensus, idempotency_key, min_performers, confidence, annotation: see create_task. Result: the task''s id.
Errors: unknown_template (TX118), and those of create_task.';
CREATE FUNCTION _taskex.create_task_from_template(requester bigint, template text, task_type bigint, parameters jsonb,
        performers int, expires_in interval, consensus text, idempotency_key text,
        min_performers int, confidence float8, annotation text, version int)
    RETURNS bigint LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT taskex.create_task(_taskex.login(requester), task_type, (_taskex.render_all(requester, template, version, ARRAY[parameters]))[1],
        performers, expires_in, consensus, idempotency_key, min_performers, confidence, annotation)
$$;
COMMENT ON FUNCTION _taskex.create_task_from_template(bigint, text, bigint, jsonb, int, interval, text, text, int, float8, text, int) IS
    'The body of taskex.create_task_from_template.';

CREATE FUNCTION taskex.create_tasks_from_template(requester text, template text, task_type bigint, parameters jsonb[],
        performers int = 1, expires_in interval = '7 days', consensus text = NULL, idempotency_key text = NULL,
        min_performers int = NULL, confidence float8 = NULL, annotation text = NULL, version int = NULL)
    RETURNS SETOF bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.create_tasks_from_template(text, text, bigint, jsonb[], int, interval, text, text, int, float8, text, int) IS
'Supplies a task for each element of parameters, all or none. template, version: see render_template. task_type, performers, expires_in, consensus, idempotency_key,
min_performers, confidence, annotation: see create_tasks. Result: their ids, in the order of parameters.
Errors: unknown_template (TX118), and those of create_tasks.';
CREATE FUNCTION _taskex.create_tasks_from_template(requester bigint, template text, task_type bigint, parameters jsonb[],
        performers int, expires_in interval, consensus text, idempotency_key text,
        min_performers int, confidence float8, annotation text, version int)
    RETURNS SETOF bigint LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT taskex.create_tasks(_taskex.login(requester), task_type, _taskex.render_all(requester, template, version, parameters),
        performers, expires_in, consensus, idempotency_key, min_performers, confidence, annotation)
$$;
COMMENT ON FUNCTION _taskex.create_tasks_from_template(bigint, text, bigint, jsonb[], int, interval, text, text, int, float8, text, int) IS
    'The body of taskex.create_tasks_from_template.';

CREATE VIEW taskex.templates WITH (security_barrier) AS
    SELECT d.login AS requester, t.name, t.version, t.description, t.parameters, t.body, t.created_at
    FROM _taskex.template t JOIN _taskex.directory d ON d.user_id = t.requester_id
    WHERE _taskex.visible(t.requester_id) AND _taskex.narrow(NULL, t.requester_id, d.login, NULL);
COMMENT ON VIEW taskex.templates IS 'Templates, in all versions, of the requesters for whom the caller may act.';

-- Attachments ------------------------------------------------------------------

CREATE TABLE _taskex.attachment (
    partition_id int NOT NULL,
    user_id bigint NOT NULL,
    subject_id bigint NOT NULL,
    size bigint,
    created_at timestamptz NOT NULL,
    is_task boolean NOT NULL,
    name text NOT NULL COLLATE "C",
    uri text NOT NULL,
    media_type text,
    sha256 bytea
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.attachment IS
    'Pointers to files: to a task from its requester, to an assignment from its performer, each on his own partition.';
INSERT INTO _taskex.child_table VALUES ('attachment', 150, 100, ARRAY['PRIMARY KEY (subject_id, is_task, name)'],
    ARRAY['(user_id)'], 'user_id');

CREATE FUNCTION _taskex.check_attachment(name text, uri text, media_type text, size bigint, sha256 bytea)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    problem text := CASE
        WHEN name = '' OR octet_length(name) > 255 THEN 'the name of an attachment must have between 1 and 255 bytes'
        WHEN octet_length(uri) > 2048 THEN 'uri must have at most 2048 bytes'
        WHEN _taskex.schema_problem('{"format": "uri"}', to_jsonb(uri)) IS NOT NULL THEN 'uri is not a URI with a scheme'
        WHEN lower(split_part(uri, ':', 1)) IN ('javascript', 'vbscript', 'data') THEN 'uri must point to something that is stored'
        WHEN octet_length(media_type) > 255 OR media_type !~ '^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+( *; *[^;]+)*$' THEN 'media_type is not of the form type/subtype'
        WHEN size < 0 THEN 'size must be 0 or more'
        WHEN octet_length(sha256) <> 32 THEN 'sha256 must have 32 bytes' END;
BEGIN
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = problem;
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.check_attachment(text, text, text, bigint, bytea) IS 'Raises an error unless an attachment may be like this.';

CREATE FUNCTION _taskex.one_subject(task_id bigint, assignment_id bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF (task_id IS NULL) = (assignment_id IS NULL) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'either task_id or assignment_id must be given';
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.one_subject(bigint, bigint) IS 'Raises an error unless just one of the two is given.';

-- Locks what a user attaches to: his task, or his assignment that is under way.
CREATE FUNCTION _taskex.lock_subject(login bigint, task_id bigint, assignment_id bigint)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    state text;
BEGIN
    PERFORM _taskex.one_subject(task_id, assignment_id);
    IF task_id IS NOT NULL THEN
        IF _taskex.lock_task(login, task_id) = 'disposed' THEN
            PERFORM _taskex.fail('wrong_state', format('task %s is disposed', task_id));
        END IF;
        RETURN;
    END IF;
    EXECUTE format('SELECT CASE WHEN state = ''accepted'' AND lease_until <= _taskex.now() THEN ''abandoned'' ELSE state END
        FROM _taskex.assignment_%s WHERE assignment_id = $1 AND performer_id = $2 FOR UPDATE', _taskex.home(login))
        INTO state USING assignment_id, login;
    IF state IS NULL THEN
        PERFORM _taskex.fail('unknown_assignment', format('the performer has no assignment %s', assignment_id));
    ELSIF state <> 'accepted' THEN
        PERFORM _taskex.fail('wrong_state', format('assignment %s is not under way', assignment_id), format('Its state is "%s".', state));
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.lock_subject(bigint, bigint, bigint) IS
    'Locks the task or assignment to which a user may attach something now, or raises an error.';

CREATE FUNCTION taskex.attach(login text, name text, uri text, task_id bigint = NULL, assignment_id bigint = NULL,
        media_type text = NULL, size bigint = NULL, sha256 bytea = NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.attach(text, text, text, bigint, bigint, text, bigint, bytea) IS
'Attaches a pointer to a file: a requester to his task, a performer to an assignment that he has under way. One of the name given before is replaced.
name: 1 to 255 bytes. uri: at most 2048 bytes, with a scheme. task_id or assignment_id: to which. media_type, size (bytes),
sha256 (32 bytes): what is known of the file. At most 100 for each task or assignment.
Errors: unknown_task (TX102), unknown_assignment (TX103), wrong_state (TX109).';
CREATE FUNCTION _taskex.attach(login bigint, name text, uri text, task_id bigint, assignment_id bigint,
        media_type text, size bigint, sha256 bytea)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    home int := _taskex.home(login);
    others int;
BEGIN
    PERFORM _taskex.check_attachment(name, uri, media_type, size, sha256);
    PERFORM _taskex.lock_subject(login, task_id, assignment_id);
    EXECUTE format('SELECT count(*) FROM _taskex.attachment_%s WHERE subject_id = $1 AND is_task = $2 AND name <> $3', home)
        INTO others USING coalesce(task_id, assignment_id), task_id IS NOT NULL, name;
    IF others >= 100 THEN
        RAISE EXCEPTION USING ERRCODE = 'program_limit_exceeded', MESSAGE = 'there are 100 attachments already';
    END IF;
    EXECUTE format('INSERT INTO _taskex.attachment_%s AS a (partition_id, user_id, subject_id, size, created_at, is_task, name, uri, media_type, sha256)
        VALUES ($1, $2, $3, $4, _taskex.now(), $5, $6, $7, $8, $9)
        ON CONFLICT (subject_id, is_task, name) DO UPDATE SET size = excluded.size, created_at = excluded.created_at, uri = excluded.uri,
            media_type = excluded.media_type, sha256 = excluded.sha256', home)
        USING home, login, coalesce(task_id, assignment_id), size, task_id IS NOT NULL, name, uri, media_type, sha256;
END $$;
COMMENT ON FUNCTION _taskex.attach(bigint, text, text, bigint, bigint, text, bigint, bytea) IS 'The body of taskex.attach.';

CREATE FUNCTION taskex.detach(login text, name text, task_id bigint = NULL, assignment_id bigint = NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.detach(text, text, bigint, bigint) IS
'Takes an attachment away; who may is as for attach. name, and task_id or assignment_id: which.
Errors: unknown_task (TX102), unknown_assignment (TX103), wrong_state (TX109), unknown_attachment (TX121).';
CREATE FUNCTION _taskex.detach(login bigint, name text, task_id bigint, assignment_id bigint)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    gone bigint;
BEGIN
    PERFORM _taskex.lock_subject(login, task_id, assignment_id);
    EXECUTE format('DELETE FROM _taskex.attachment_%s WHERE subject_id = $1 AND is_task = $2 AND name = $3 RETURNING subject_id', _taskex.home(login))
        INTO gone USING coalesce(task_id, assignment_id), task_id IS NOT NULL, name;
    IF gone IS NULL THEN
        PERFORM _taskex.fail('unknown_attachment', format('there is no attachment "%s"', name));
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.detach(bigint, text, bigint, bigint) IS 'The body of taskex.detach.';

-- Who attached to what the user may see: the owner of the attachments.
CREATE FUNCTION _taskex.attachment_owner(login bigint, task_id bigint, assignment_id bigint)
    RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    owner bigint;
    home int := _taskex.home(login);
BEGIN
    PERFORM _taskex.one_subject(task_id, assignment_id);
    IF task_id IS NOT NULL THEN
        -- the requester, and who has or had the task
        EXECUTE format('SELECT requester_id FROM _taskex.task_%1$s WHERE task_id = $1 AND requester_id = $2 AND state <> ''disposed''
            UNION ALL SELECT requester_id FROM _taskex.assignment_%1$s WHERE performer_id = $2 AND task_id = $1', home) INTO owner USING task_id, login;
        IF owner IS NULL THEN
            PERFORM _taskex.fail('unknown_task', format('the user neither has task %s nor performs it', task_id));
        END IF;
    ELSE
        -- the performer and, when it is submitted, the requester
        EXECUTE format('SELECT performer_id FROM _taskex.assignment_%1$s WHERE assignment_id = $1 AND performer_id = $2
            UNION ALL SELECT performer_id FROM _taskex.result_%1$s WHERE assignment_id = $1 AND requester_id = $2', home) INTO owner USING assignment_id, login;
        IF owner IS NULL THEN
            PERFORM _taskex.fail('unknown_assignment', format('the user has no assignment %s', assignment_id));
        END IF;
    END IF;
    RETURN owner;
END $$;
COMMENT ON FUNCTION _taskex.attachment_owner(bigint, bigint, bigint) IS
    'Whose attachments a user sees at a task or assignment; an error if he may not.';

CREATE FUNCTION taskex.attachments(login text, task_id bigint = NULL, assignment_id bigint = NULL)
    RETURNS TABLE (name text, uri text, media_type text, size bigint, sha256 bytea, created_at timestamptz)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.attachments(text, bigint, bigint) IS
'What is attached to a task, for its requester and those who have or had it, or to an assignment, for its performer and, once it
is submitted, the requester. task_id or assignment_id: to which. Errors: unknown_task (TX102), unknown_assignment (TX103).';
CREATE FUNCTION _taskex.attachments(login bigint, task_id bigint, assignment_id bigint)
    RETURNS TABLE (name text, uri text, media_type text, size bigint, sha256 bytea, created_at timestamptz)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY EXECUTE format('SELECT a.name, a.uri, a.media_type, a.size, a.sha256, a.created_at
        FROM _taskex.attachment_%s a WHERE a.subject_id = $1 AND a.is_task = $2 ORDER BY a.name',
        _taskex.home(_taskex.attachment_owner(login, task_id, assignment_id))) USING coalesce(task_id, assignment_id), task_id IS NOT NULL;
END $$;
COMMENT ON FUNCTION _taskex.attachments(bigint, bigint, bigint) IS 'The body of taskex.attachments.';

CREATE FUNCTION taskex.attachment_url(requester text, assignment_id bigint, name text)
    RETURNS text LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.attachment_url(text, bigint, text) IS
'Where a file is that a performer has attached to an assignment. name: of the attachment.
Errors: unknown_assignment (TX103), unknown_attachment (TX121).';
CREATE FUNCTION _taskex.attachment_url(requester bigint, assignment_id bigint, wanted text)
    RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    result text := (SELECT a.uri FROM _taskex.attachments(requester, NULL, assignment_id) a WHERE a.name = wanted);
BEGIN
    IF result IS NULL THEN
        PERFORM _taskex.fail('unknown_attachment', format('assignment %s has no attachment "%s"', assignment_id, wanted));
    END IF;
    RETURN result;
END $$;
COMMENT ON FUNCTION _taskex.attachment_url(bigint, bigint, text) IS 'The body of taskex.attachment_url.';
