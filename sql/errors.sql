-- errors.sql: the SQLSTATEs of class TX (table in src/base/errcodes.c), and checks of
-- arguments.

CREATE FUNCTION _taskex.errors(OUT sqlstate text, OUT name text, OUT description text, OUT hint text)
    RETURNS SETOF record LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'taskex_errors';
COMMENT ON FUNCTION _taskex.errors() IS 'The SQLSTATEs of class TX.';

CREATE VIEW taskex.errors AS SELECT * FROM _taskex.errors();
COMMENT ON VIEW taskex.errors IS
    'The SQLSTATEs of class TX that the functions of the exchange raise, with their names, and what helps where the error itself has no closer hint.';

CREATE FUNCTION _taskex.fail(name text, message text, detail text = NULL, hint text = NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_fail';
COMMENT ON FUNCTION _taskex.fail(text, text, text, text) IS
    'Raises the error of class TX that has the given name.';

-- checks of arguments ------------------------------------------------------------------

CREATE FUNCTION _taskex.bad_value(message text, detail text = NULL, hint text = NULL)
    RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF detail IS NULL AND hint IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = message;
    ELSIF detail IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = message, HINT = hint;
    ELSIF hint IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = message, DETAIL = detail;
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = message, DETAIL = detail, HINT = hint;
END $$;
COMMENT ON FUNCTION _taskex.bad_value(text, text, text) IS 'Raises invalid_parameter_value.';

CREATE FUNCTION _taskex.check_text(value text, what text, longest int, may_be_empty boolean = false)
    RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF octet_length(value) > longest OR (value = '' AND NOT may_be_empty) THEN
        PERFORM _taskex.bad_value(format('%s must have %s %s bytes', what,
            CASE WHEN may_be_empty THEN 'at most' ELSE 'between 1 and' END, longest));
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.check_text(text, text, int, boolean) IS 'Checks the length of a text in bytes; NULL is fine.';

CREATE FUNCTION _taskex.check_vector(value anyarray, what text)
    RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF array_ndims(value) > 1 THEN
        PERFORM _taskex.bad_value(format('%s must be a one-dimensional array', what));
    ELSIF array_position(value, NULL) IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = format('%s must not contain nulls', what);
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.check_vector(anyarray, text) IS 'Checks that an array has one dimension and no nulls; NULL is fine.';

-- PostgreSQL's error of times that there are not would name none of the arguments.
CREATE FUNCTION _taskex.ago(older_than interval) RETURNS timestamptz LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF older_than NOT BETWEEN '-1000 years' AND '1000 years' THEN
        PERFORM _taskex.bad_value('older_than must be at most 1000 years');
    END IF;
    RETURN _taskex.now() - older_than;
END $$;
COMMENT ON FUNCTION _taskex.ago(interval) IS 'So long before the time of the exchange.';

CREATE FUNCTION _taskex.check_size(value jsonb, what text)
    RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF octet_length(value::text) > pg_size_bytes(current_setting('taskex.max_input_size')) THEN
        PERFORM _taskex.fail('input_too_large', format('%s is too large', what),
            format('The limit is %s.', current_setting('taskex.max_input_size')),
            'Store large data elsewhere and refer to them, or raise taskex.max_input_size.');
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.check_size(jsonb, text) IS 'The error input_too_large if a JSON value is beyond taskex.max_input_size; NULL is fine.';

-- JSON objects by their keys: none but these
CREATE FUNCTION _taskex.check_keys(value jsonb, what text, keys text[])
    RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    unknown text;
BEGIN
    IF jsonb_typeof(value) IS DISTINCT FROM 'object' THEN
        PERFORM _taskex.bad_value(format('%s must be a JSON object', what));
    END IF;
    SELECT k INTO unknown FROM jsonb_object_keys(value) k WHERE k <> ALL (keys) ORDER BY k LIMIT 1;
    IF FOUND THEN
        PERFORM _taskex.bad_value(format('%s has an unknown key, "%s"', what, left(unknown, 60)),
            format('Its keys can be %s.', array_to_string(keys, ', ')));
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.check_keys(jsonb, text, text[]) IS 'Checks that a JSON value is an object with none but these keys.';

-- a JSON number as int, or the error
CREATE FUNCTION _taskex.json_int(value jsonb, what text) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    n numeric;
BEGIN
    IF jsonb_typeof(value) = 'number' THEN
        n := value::numeric;
        IF n = trunc(n) AND n BETWEEN -2147483648 AND 2147483647 THEN
            RETURN n::int;
        END IF;
    END IF;
    PERFORM _taskex.bad_value(format('%s must be a whole number', what));
END $$;
COMMENT ON FUNCTION _taskex.json_int(jsonb, text) IS 'The int that a JSON value is, or the error invalid_parameter_value.';

CREATE FUNCTION _taskex.check_rows(max_rows int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF max_rows NOT BETWEEN 1 AND 10000 THEN
        PERFORM _taskex.bad_value('max_rows must be between 1 and 10000');
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.check_rows(int) IS 'Checks how many rows a list is asked for.';
