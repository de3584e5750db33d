-- What statements say that may fail: SQLSTATE, message, detail and hint, with numbers of
-- ids left out. What succeeds is done.
CREATE FUNCTION pg_temp.attempt(statement text, shown boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
    detail text;
    hint text;
BEGIN
    IF NOT shown THEN
        EXECUTE statement;
        RETURN 'accepted';
    END IF;
    EXECUTE statement INTO result;
    RETURN 'accepted: ' || result;
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN regexp_replace(concat_ws(' | ', SQLSTATE || ' ' || SQLERRM, nullif(detail, ''), nullif(hint, '')),
        '(task type|type|task|assignment|dispute|policy|qualification) -?\d+', '\1 N', 'g');
END $$;

-- a statement; a call, which is selected; a statement of which the result is shown
CREATE FUNCTION pg_temp.try(statement text) RETURNS text LANGUAGE sql AS 'SELECT pg_temp.attempt(statement, false)';
CREATE FUNCTION pg_temp.try_call(call text) RETURNS text LANGUAGE sql AS $$ SELECT pg_temp.attempt('SELECT ' || call, false) $$;
CREATE FUNCTION pg_temp.try_result(statement text) RETURNS text LANGUAGE sql AS 'SELECT pg_temp.attempt(statement, true)';
