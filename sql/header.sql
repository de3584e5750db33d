-- header.sql: schemas, group roles, sequences of ids, the register of tables
-- that every storage partition has.

\echo Use "CREATE EXTENSION taskex" to load this file. \quit

-- Names below mean PostgreSQL's own: whoever may create functions and operators
-- in the schema public must not have his called here, or put into our views.
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);

CREATE SCHEMA taskex;
CREATE SCHEMA _taskex;
COMMENT ON SCHEMA taskex IS 'The task exchange: what users call and read.';
COMMENT ON SCHEMA _taskex IS 'The task exchange: tables and internals.';

-- Roles belong to the server, not to a database: another database with the
-- extension may have made them, or be about to. The unique index of pg_authid
-- waits for its transaction; if that has made the role, it is there.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['taskex_user', 'taskex_app', 'taskex_admin'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', name);
            EXCEPTION WHEN unique_violation OR duplicate_object THEN
                NULL;
            END;
        END IF;
    END LOOP;
END $$;

-- Steps are the blocks of src/infra/ids.c. All sequences start at 1 here, on the
-- local node; a further node's will be started at its own offset when it joins the
-- exchange, so that ids are unique over all nodes. Joining does not exist yet.
CREATE SEQUENCE _taskex.user_id_seq INCREMENT 131072;
CREATE SEQUENCE _taskex.task_type_id_seq INCREMENT 131072;
CREATE SEQUENCE _taskex.task_id_seq INCREMENT 131072;
CREATE SEQUENCE _taskex.assignment_id_seq INCREMENT 131072;
CREATE SEQUENCE _taskex.transfer_id_seq INCREMENT 131072;
CREATE SEQUENCE _taskex.lease_token_seq INCREMENT 131072;
CREATE SEQUENCE _taskex.journal_id_seq INCREMENT 131072;

-- The tables that hold user data: each has a child per storage partition,
-- _taskex.NAME_ID, with the given constraints and indexes.
CREATE TABLE _taskex.child_table (
    table_name name PRIMARY KEY,
    position int NOT NULL UNIQUE,
    fillfactor int NOT NULL,
    constraints text[] NOT NULL,
    indexes text[] NOT NULL,
    owner name NOT NULL,
    owned text,
    forwarded text,
    bulk boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE _taskex.child_table IS
    'Tables that have a child on every storage partition. Filled by the install script alone.';
COMMENT ON COLUMN _taskex.child_table.owner IS 'The column (bigint, not null) that names the user with whom a row moves.';
COMMENT ON COLUMN _taskex.child_table.owned IS
    'Which rows move with the user $1, as a condition on the child x; NULL: those of which he is the owner.';
COMMENT ON COLUMN _taskex.child_table.forwarded IS
    'Rows are found by an id that tells a partition: the kind of thing in _taskex.forward for those that have moved.';
COMMENT ON COLUMN _taskex.child_table.bulk IS 'Many rows are inserted at once, by code in C that tells of them itself.';

CREATE FUNCTION _taskex.now() RETURNS timestamptz
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_clock_now';
COMMENT ON FUNCTION _taskex.now() IS 'The time of the exchange: real time, or taskex.clock.';

CREATE FUNCTION _taskex.claim_job(name text, key bigint = 0) RETURNS boolean
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'taskex_claim_job';
COMMENT ON FUNCTION _taskex.claim_job(text, bigint) IS
'Is a job (of those of a name, the one with the key) the caller''s, until his transaction ends? False: another does it. Not an advisory lock of
SQL, which anybody could hold.';

CREATE FUNCTION _taskex.loaded() RETURNS boolean
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'taskex_loaded';
COMMENT ON FUNCTION _taskex.loaded() IS 'Is taskex in shared_preload_libraries of the running server?';

CREATE FUNCTION _taskex.table_changed() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'taskex_table_changed';
COMMENT ON FUNCTION _taskex.table_changed() IS
    'Tells all sessions at commit that rows of a table that they remember have changed.';

SELECT pg_catalog.pg_extension_config_dump('_taskex.user_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.task_type_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.task_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.assignment_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.transfer_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.lease_token_seq', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.journal_id_seq', '');
