-- cron.sql: jobs of pg_cron, which is not needed to install the exchange.

CREATE FUNCTION _taskex.require_cron(otherwise text = 'do it') RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'pg_cron') THEN
        PERFORM _taskex.fail('no_scheduler', 'pg_cron is not installed in this database',
            format('Database "%s" has no extension pg_cron.', current_database()),
            'Put pg_cron into shared_preload_libraries, set cron.database_name to this database and use CREATE EXTENSION pg_cron; '
            || format('or let another scheduler %s.', otherwise));
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.require_cron(text) IS 'The error no_scheduler unless pg_cron is here. otherwise: what its hint lets another scheduler do.';

-- Jobs belong to the extension's owner, as whom the callers of these run.
CREATE FUNCTION _taskex.cron_schedule(name text, cron text, command text) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    job bigint;
BEGIN
    EXECUTE 'SELECT cron.schedule($1::text, $2::text, $3::text)' INTO job USING name, cron, command;
    RETURN job;
END $$;
COMMENT ON FUNCTION _taskex.cron_schedule(text, text, text) IS 'Lets pg_cron execute a command; a job of the same name is replaced. Result: the id of the job.';

CREATE FUNCTION _taskex.cron_unschedule(VARIADIC names text[]) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    found_one boolean;
BEGIN
    EXECUTE 'SELECT coalesce(bool_or(cron.unschedule(j.jobid)), false) FROM cron.job j WHERE j.jobname = ANY ($1)' INTO found_one USING names;
    RETURN found_one;
END $$;
COMMENT ON FUNCTION _taskex.cron_unschedule(text[]) IS 'Ends jobs of pg_cron. Result: whether there was one.';
