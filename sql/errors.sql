-- errors.sql: the SQLSTATEs of class TX (table in src/base/errcodes.c).

CREATE FUNCTION _taskex.errors(OUT sqlstate text, OUT name text, OUT description text)
    RETURNS SETOF record LANGUAGE C IMMUTABLE AS 'MODULE_PATHNAME', 'taskex_errors';
COMMENT ON FUNCTION _taskex.errors() IS 'The SQLSTATEs of class TX.';

CREATE VIEW taskex.errors AS SELECT * FROM _taskex.errors();
COMMENT ON VIEW taskex.errors IS
    'The SQLSTATEs of class TX that the functions of the exchange raise, with their names.';

CREATE FUNCTION _taskex.fail(name text, message text, detail text = NULL, hint text = NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_fail';
COMMENT ON FUNCTION _taskex.fail(text, text, text, text) IS
    'Raises the error of class TX that has the given name.';
