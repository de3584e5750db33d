-- launcher.sql: tells the launcher that this database has an exchange now.

CREATE FUNCTION _taskex.announce() RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_announce';
COMMENT ON FUNCTION _taskex.announce() IS
    'Makes the launcher start a conductor here at commit. Called by the install script.';
SELECT _taskex.announce();
