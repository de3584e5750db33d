-- forecast.sql: how many tasks groups of performers will accept. Pairs with
-- src/supply/forecast.c; the method is told in src/supply/README.md.

-- what was accepted ---------------------------------------------------------------

-- Written by the supplier alone, a few rows a second. Type 0: all types together.
CREATE TABLE _taskex.accept_hour (
    group_id int NOT NULL,
    task_type_id bigint NOT NULL,
    hour timestamptz NOT NULL,
    accepts bigint NOT NULL,
    pace float8 NOT NULL,
    pace_at timestamptz NOT NULL,
    PRIMARY KEY (group_id, task_type_id, hour)
) WITH (fillfactor = 50);
COMMENT ON TABLE _taskex.accept_hour IS
    'What groups of performers have accepted, by task type and hour; type 0: all of them. Hours of the last 60 days.';
COMMENT ON COLUMN _taskex.accept_hour.pace IS
    'Accepts an hour, exponentially decayed (time constant five minutes), of this hour alone, as of pace_at.';

-- One row for each series that is alive, so that nothing else has to be searched
-- for them.
CREATE TABLE _taskex.accept_series (
    group_id int NOT NULL,
    task_type_id bigint NOT NULL,
    counted_until timestamptz NOT NULL,
    series float8[] NOT NULL DEFAULT '{}',
    PRIMARY KEY (group_id, task_type_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE _taskex.accept_series IS
    'What the forecast keeps of the accepts of a group of performers and a task type; type 0: all of them.';
COMMENT ON COLUMN _taskex.accept_series.counted_until IS 'Hours from this one on are not in the series yet.';
COMMENT ON COLUMN _taskex.accept_series.series IS 'As _taskex.forecast_count() gives it; empty: no hour was counted.';
SELECT pg_catalog.pg_extension_config_dump('_taskex.accept_hour', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.accept_series', '');

CREATE FUNCTION _taskex.count_accepts(group_id int, task_type_id bigint, hour timestamptz, accepts bigint) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    begin_hour timestamptz := date_trunc('hour', hour, 'UTC');
    at timestamptz := _taskex.now();
BEGIN
    IF accepts < 0 THEN
        PERFORM _taskex.bad_value('counts of accepts must not be negative');
    ELSIF task_type_id = 0 THEN
        PERFORM _taskex.bad_value('accepts are counted by task type, and 0 is none');
    ELSIF NOT _taskex.keep_group(count_accepts.group_id) THEN
        RETURN;     -- dropped meanwhile
    END IF;
    INSERT INTO _taskex.accept_hour AS h
        SELECT count_accepts.group_id, t, begin_hour, count_accepts.accepts,
            -- what is told later says nothing about the present pace
            CASE WHEN begin_hour + interval '61 minutes' > at THEN 12.0 * count_accepts.accepts ELSE 0 END, at
        FROM unnest(ARRAY[count_accepts.task_type_id, 0]) t
        ON CONFLICT (group_id, task_type_id, hour) DO UPDATE SET
            accepts = h.accepts + excluded.accepts,
            pace = _taskex.pace_left(h.pace, excluded.pace_at - h.pace_at) + excluded.pace,
            pace_at = greatest(h.pace_at, excluded.pace_at);
    INSERT INTO _taskex.accept_series
        SELECT count_accepts.group_id, t, begin_hour FROM unnest(ARRAY[count_accepts.task_type_id, 0]) t
        WHERE NOT EXISTS (SELECT FROM _taskex.accept_series s
            WHERE s.group_id = count_accepts.group_id AND s.task_type_id = t)
        ON CONFLICT DO NOTHING;
END $$;
COMMENT ON FUNCTION _taskex.count_accepts(int, bigint, timestamptz, bigint) IS
'Adds to what a group of performers has accepted of a task type. hour: any time within it. Called by one process at a
time, the supplier, within a minute of what it counts: later ones count in the statistics, not in the forecast.';

-- the forecast ---------------------------------------------------------------------

-- As _taskex.decayed(), with five minutes in the place of the hour.
CREATE FUNCTION _taskex.pace_left(pace float8, since interval) RETURNS float8
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
    'SELECT CASE WHEN since > interval ''10 hours'' OR pace < 1e-200 THEN 0 ELSE pace * exp(-greatest(extract(epoch FROM since), 0)::float8 / 300) END';
COMMENT ON FUNCTION _taskex.pace_left(float8, interval) IS
    'What is left of the pace of the last minutes after a time; a time below 0 counts as none.';

CREATE FUNCTION _taskex.forecast_count(series float8[], hour timestamptz, accepts float8[]) RETURNS float8[]
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'taskex_forecast_count';
COMMENT ON FUNCTION _taskex.forecast_count(float8[], timestamptz, float8[]) IS
    'A series of accepts with further hours in a row, the first of which is given. An empty array is a new series.';

CREATE FUNCTION _taskex.forecast_within(series float8[], at timestamptz, seconds float8, accepts float8 = 0, pace float8 = NULL)
    RETURNS float8 LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'taskex_forecast_within';
COMMENT ON FUNCTION _taskex.forecast_within(float8[], timestamptz, float8, float8, float8) IS
'Expected accepts within so many seconds from a time on. series: counted up to the hour of that time. accepts: in
the part of that hour that has passed. pace: accepts an hour of the last minutes; NULL: not known.';

CREATE FUNCTION _taskex.forecast_facts(series float8[], at timestamptz, OUT hours float8, OUT level float8, OUT usual float8,
        OUT profile float8, OUT dispersion float8, OUT levels float8[], OUT weights float8[])
    RETURNS record LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'taskex_forecast_facts';
COMMENT ON FUNCTION _taskex.forecast_facts(float8[], timestamptz) IS
'What a series knows: hours counted, accepts an hour of late and usually, how busy the hour of the day is (1: as all),
dispersion, and the experts'' levels and weights.';

CREATE FUNCTION _taskex.negbin_quantile(mean float8, dispersion float8, share float8) RETURNS float8
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'taskex_negbin_quantile';
COMMENT ON FUNCTION _taskex.negbin_quantile(float8, float8, float8) IS
    'The smallest number that a negative binomial count does not exceed with a probability. Variance: mean + dispersion * mean^2.';

CREATE FUNCTION _taskex.counts_reach(means float8[], quantities float8[], dispersion float8) RETURNS float8
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000 AS 'MODULE_PATHNAME', 'taskex_counts_reach';
COMMENT ON FUNCTION _taskex.counts_reach(float8[], float8[], float8) IS
    'The probability that negative binomial counts, of one common pace, all reach their quantities.';

CREATE FUNCTION _taskex.series_at(group_id int, task_type_id bigint, series float8[], counted_until timestamptz, until timestamptz)
    RETURNS float8[] LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT _taskex.forecast_count($3, f.hour, ARRAY(
        SELECT coalesce(h.accepts, 0)::float8 FROM generate_series(f.hour, $5 - interval '1 hour', interval '1 hour') g (hour)
            LEFT JOIN _taskex.accept_hour h ON h.group_id = $1 AND h.task_type_id = $2 AND h.hour = g.hour
        ORDER BY g.hour))
    FROM (SELECT greatest($4, $5 - interval '28 days')) f (hour)
$$;
COMMENT ON FUNCTION _taskex.series_at(int, bigint, float8[], timestamptz, timestamptz) IS
    'A series with the hours up to one that it does not have yet: at most those of four weeks.';

-- who works when ---------------------------------------------------------------------

-- Filled from the journal by its dispatch alone.
CREATE TABLE _taskex.work_hour (
    performer_id bigint NOT NULL,
    task_type_id bigint NOT NULL,
    hour timestamptz NOT NULL,
    submitted int NOT NULL,
    last_at timestamptz NOT NULL,
    PRIMARY KEY (performer_id, task_type_id, hour)
) WITH (fillfactor = 80);
CREATE INDEX work_hour_hour_idx ON _taskex.work_hour (hour);
COMMENT ON TABLE _taskex.work_hour IS 'What performers have submitted, by task type and hour; the last eight days or so.';

CREATE FUNCTION _taskex.fold_work_hour(batch _taskex.journal_act[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO _taskex.work_hour AS w
        SELECT b.performer_id, b.task_type_id, date_trunc('hour', b.at, 'UTC'), count(*), max(b.at)
        FROM unnest(batch) b
        WHERE b.kind = 'submitted' AND b.performer_id IS NOT NULL AND b.task_type_id IS NOT NULL
        GROUP BY 1, 2, 3
        ON CONFLICT (performer_id, task_type_id, hour) DO UPDATE SET
            submitted = w.submitted + excluded.submitted,
            last_at = greatest(w.last_at, excluded.last_at);
END $$;
COMMENT ON FUNCTION _taskex.fold_work_hour(_taskex.journal_act[]) IS 'Consumer of the journal: fills _taskex.work_hour.';
INSERT INTO _taskex.journal_consumer VALUES (85, 'fold_work_hour');
SELECT pg_catalog.pg_extension_config_dump('_taskex.work_hour', '');

-- preferences and intentions ------------------------------------------------------------

CREATE TABLE _taskex.preference (
    performer_id bigint PRIMARY KEY,
    preferences jsonb NOT NULL,
    intended bigint NOT NULL DEFAULT 0,
    kept bigint NOT NULL DEFAULT 0,
    changed_at timestamptz NOT NULL
);
COMMENT ON TABLE _taskex.preference IS 'What performers say about their work, and whether they do what they intend.';
COMMENT ON COLUMN _taskex.preference.intended IS 'Tasks of all intentions whose time is over. kept: those of them that were done.';

CREATE SEQUENCE _taskex.intention_id_seq;
CREATE TABLE _taskex.intention (
    intention_id bigint PRIMARY KEY DEFAULT nextval('_taskex.intention_id_seq'),
    performer_id bigint NOT NULL,
    task_type_ids bigint[] NOT NULL,
    quantity int NOT NULL,
    during tstzrange NOT NULL,
    declared_at timestamptz NOT NULL,
    done int
);
CREATE INDEX intention_performer_idx ON _taskex.intention (performer_id);
CREATE INDEX intention_end_idx ON _taskex.intention (upper(during));
COMMENT ON TABLE _taskex.intention IS 'What performers intend to do; for a month after its time.';
COMMENT ON COLUMN _taskex.intention.done IS 'How much of it was done, once its time is over.';
SELECT pg_catalog.pg_extension_config_dump('_taskex.preference', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.intention', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.intention_id_seq', '');

CREATE FUNCTION _taskex.check_task_types(task_types bigint[], most int) RETURNS void LANGUAGE plpgsql STABLE AS $$
DECLARE
BEGIN
    IF coalesce(array_ndims(task_types), 0) <> 1 OR cardinality(task_types) > most THEN
        PERFORM _taskex.bad_value(format('task_types must have between 1 and %s elements', most));
    END IF;
    PERFORM _taskex.require_task_types(task_types);
END $$;
COMMENT ON FUNCTION _taskex.check_task_types(bigint[], int) IS 'Errors unless these are known task types, between 1 and so many.';

CREATE FUNCTION _taskex.check_preferences(preferences jsonb) RETURNS void LANGUAGE plpgsql STABLE AS $$
DECLARE
    part jsonb;
BEGIN
    PERFORM _taskex.check_keys(preferences, 'preferences', '{types,hours,time_zone,pace,maximum}');
    IF preferences ? 'types' THEN
        IF jsonb_typeof(preferences -> 'types') <> 'array' THEN
            PERFORM _taskex.bad_value('"types" of preferences must be an array of task types');
        END IF;
        FOR part IN SELECT jsonb_array_elements(preferences -> 'types') LOOP
            IF jsonb_typeof(part) <> 'number' OR part::numeric <> trunc(part::numeric)
                    OR part::numeric NOT BETWEEN 1 AND 9223372036854775807 THEN
                PERFORM _taskex.bad_value('"types" of preferences must be an array of task types', format('This is none: %s', left(part::text, 60)));
            END IF;
        END LOOP;
        PERFORM _taskex.check_task_types(ARRAY(SELECT t::bigint FROM jsonb_array_elements(preferences -> 'types') t), 100);
    END IF;
    IF preferences ? 'hours' THEN
        IF jsonb_typeof(preferences -> 'hours') <> 'array' OR jsonb_array_length(preferences -> 'hours') NOT BETWEEN 1 AND 24 THEN
            PERFORM _taskex.bad_value('"hours" of preferences must be an array of between 1 and 24 hours of the day');
        END IF;
        FOR part IN SELECT jsonb_array_elements(preferences -> 'hours') LOOP
            IF _taskex.json_int(part, 'an hour of the day') NOT BETWEEN 0 AND 23 THEN
                PERFORM _taskex.bad_value('an hour of the day must be between 0 and 23');
            END IF;
        END LOOP;
    END IF;
    IF preferences ? 'time_zone' AND (jsonb_typeof(preferences -> 'time_zone') <> 'string'
            OR NOT EXISTS (SELECT FROM pg_timezone_names z WHERE z.name = preferences ->> 'time_zone')) THEN
        PERFORM _taskex.bad_value('"time_zone" of preferences must be the name of a time zone',
            format('This is none: %s', left((preferences -> 'time_zone')::text, 60)), 'The view pg_timezone_names lists them.');
    END IF;
    IF preferences ? 'pace' AND (jsonb_typeof(preferences -> 'pace') <> 'number'
            OR NOT (preferences -> 'pace')::numeric BETWEEN 0.001 AND 100000) THEN
        PERFORM _taskex.bad_value('"pace" of preferences must be a number of tasks an hour between 0.001 and 100000');
    END IF;
    IF preferences ? 'maximum' AND _taskex.json_int(preferences -> 'maximum', '"maximum" of preferences') < 1 THEN
        PERFORM _taskex.bad_value('"maximum" of preferences must be at least 1');
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.check_preferences(jsonb) IS 'Errors unless a performer can prefer this.';

CREATE FUNCTION _taskex.set_preferences(user_id bigint, preferences jsonb)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM _taskex.check_preferences(preferences);
    INSERT INTO _taskex.preference AS p (performer_id, preferences, changed_at) VALUES (user_id, set_preferences.preferences, _taskex.now())
        ON CONFLICT (performer_id) DO UPDATE SET preferences = excluded.preferences, changed_at = excluded.changed_at;
END $$;
COMMENT ON FUNCTION _taskex.set_preferences(bigint, jsonb) IS 'Body of taskex.set_preferences().';
CREATE FUNCTION taskex.set_preferences(performer text, preferences jsonb)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.set_preferences(text, jsonb) IS
'Says how a performer likes to work, so that the right tasks are at hand when he comes. It replaces what he said before.
preferences: {} or an object of "types" (task types, 1 to 100), "hours" (of the day, 0 to 23), "time_zone" (of these hours, UTC
otherwise), "pace" (tasks an hour) and "maximum" (tasks a session: until a pause of an hour). See docs/supply.md.
Errors: unknown_user (TX001), unknown_task_type (TX101), invalid_parameter_value (22023).';

CREATE FUNCTION _taskex.declare_intention(user_id bigint, task_types bigint[], quantity int, during tstzrange)
    RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    at timestamptz := _taskex.now();
    id bigint;
BEGIN
    PERFORM _taskex.check_task_types(task_types, 100);
    IF quantity NOT BETWEEN 1 AND 1000000 THEN
        PERFORM _taskex.bad_value('quantity must be between 1 and 1000000');
    ELSIF isempty(during) OR lower_inf(during) OR upper_inf(during) OR NOT (isfinite(lower(during)) AND isfinite(upper(during))) THEN
        PERFORM _taskex.bad_value('during must have a beginning and an end');
    ELSIF lower(during) = upper(during) THEN
        PERFORM _taskex.bad_value('during must not be a single moment');
    ELSIF upper(during) <= at THEN
        PERFORM _taskex.bad_value('during must end in the future', format('It is %s.', at));
    ELSIF upper(during) > lower(during) + interval '31 days' OR upper(during) > at + interval '1 year' THEN
        PERFORM _taskex.bad_value('during must not be longer than 31 days, nor end in more than a year');
    ELSIF (SELECT count(*) FROM _taskex.intention i WHERE i.performer_id = user_id AND upper(i.during) > at) >= 100 THEN
        RAISE EXCEPTION USING ERRCODE = 'program_limit_exceeded', MESSAGE = 'a performer can have 100 intentions at most',
            HINT = 'taskex.cancel_intention() takes one back.';
    END IF;
    INSERT INTO _taskex.intention (performer_id, task_type_ids, quantity, during, declared_at)
        VALUES (user_id, ARRAY(SELECT DISTINCT t FROM unnest(task_types) t ORDER BY t), declare_intention.quantity,
            tstzrange(lower(declare_intention.during), upper(declare_intention.during)), at)
        RETURNING intention_id INTO id;
    RETURN id;
END $$;
COMMENT ON FUNCTION _taskex.declare_intention(bigint, bigint[], int, tstzrange) IS 'Body of taskex.declare_intention().';
CREATE FUNCTION taskex.declare_intention(performer text, task_types bigint[], quantity int, during tstzrange)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.declare_intention(text, bigint[], int, tstzrange) IS
'Says that a performer intends to do so many tasks of certain types, all types together, within some time, so that they are
at hand then. He is not bound by it, but believed less when he does not do what he says.
task_types: 1 to 100. quantity: 1 to 1000000. during: at most 31 days, ends within a year. Result: the intention''s id.
Errors: unknown_user (TX001), unknown_task_type (TX101), program_limit_exceeded (54000) beyond 100 open ones.';

CREATE FUNCTION _taskex.cancel_intention(user_id bigint, intention_id bigint)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM _taskex.intention i WHERE i.intention_id = cancel_intention.intention_id AND i.performer_id = user_id AND i.done IS NULL;
    IF NOT FOUND THEN
        PERFORM _taskex.fail('unknown_intention', format('intention %s does not exist', intention_id),
            'It is not the performer''s, was cancelled, or its time is over.', 'The view taskex.intentions lists them.');
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.cancel_intention(bigint, bigint) IS 'Body of taskex.cancel_intention().';
CREATE FUNCTION taskex.cancel_intention(performer text, intention_id bigint)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.cancel_intention(text, bigint) IS
'Takes an intention back. intention_id: as taskex.declare_intention() gave it. Errors: unknown_user (TX001), unknown_intention (TX410) also if its time is over.';

CREATE FUNCTION _taskex.done_of(performer_id bigint, task_type_ids bigint[], during tstzrange) RETURNS bigint
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(sum(w.submitted), 0)::bigint FROM _taskex.work_hour w
    WHERE w.performer_id = $1 AND w.task_type_id = ANY ($2)
        AND w.hour >= date_trunc('hour', lower($3), 'UTC') AND w.hour < upper($3)
$$;
COMMENT ON FUNCTION _taskex.done_of(bigint, bigint[], tstzrange) IS
    'What a performer has submitted of some types within some time, to the hour; no more than the last eight days.';

CREATE VIEW taskex.preferences WITH (security_barrier) AS
    SELECT d.login AS performer, p.preferences, p.intended, p.kept, p.changed_at
    FROM _taskex.preference p JOIN _taskex.directory d ON d.user_id = p.performer_id
    WHERE (SELECT _taskex.caller_trusted()) OR p.performer_id = ANY ((SELECT _taskex.caller_ids())::bigint[]);
COMMENT ON VIEW taskex.preferences IS
    'How the performers for whom the caller may act like to work; intended, kept: tasks of past intentions, and those of them that were done.';

CREATE VIEW taskex.intentions WITH (security_barrier) AS
    SELECT i.intention_id, d.login AS performer, i.task_type_ids AS task_types, i.quantity,
        -- as _taskex.done_of(), which the caller cannot run
        coalesce(i.done, (SELECT least(coalesce(sum(w.submitted), 0), i.quantity)::int FROM _taskex.work_hour w
            WHERE w.performer_id = i.performer_id AND w.task_type_id = ANY (i.task_type_ids)
                AND w.hour >= date_trunc('hour', lower(i.during), 'UTC') AND w.hour < upper(i.during))) AS done, i.during, i.declared_at
    FROM _taskex.intention i JOIN _taskex.directory d ON d.user_id = i.performer_id
    WHERE (SELECT _taskex.caller_trusted()) OR i.performer_id = ANY ((SELECT _taskex.caller_ids())::bigint[]);
COMMENT ON VIEW taskex.intentions IS
    'What the performers for whom the caller may act intend to do; for a month after its time.';

-- expectations ---------------------------------------------------------------------

CREATE FUNCTION _taskex.preferred_hours(preferences jsonb, at timestamptz, until timestamptz) RETURNS float8
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN NOT $1 ? 'hours' THEN extract(epoch FROM $3 - $2)::float8 / 3600
        ELSE (SELECT coalesce(sum(extract(epoch FROM least(h + interval '1 hour', $3) - greatest(h, $2))), 0)::float8 / 3600
            FROM generate_series(date_trunc('hour', $2, z), $3, interval '1 hour') h
            WHERE h < $3 AND $1 -> 'hours' @> to_jsonb(extract(hour FROM h AT TIME ZONE z)::int)) END
    FROM (SELECT coalesce($1 ->> 'time_zone', 'UTC')) t (z)
$$;
COMMENT ON FUNCTION _taskex.preferred_hours(jsonb, timestamptz, timestamptz) IS
    'How many of the hours of a time a performer prefers.';

-- A session ends with a pause of an hour: an hour of the clock without work.
CREATE FUNCTION _taskex.session_of(performer_id bigint, at timestamptz) RETURNS bigint
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(sum(n), 0)::bigint FROM (
        SELECT w.hour, sum(w.submitted) AS n, row_number() OVER (ORDER BY w.hour DESC) AS back
        FROM _taskex.work_hour w WHERE w.performer_id = $1 AND w.hour > $2 - interval '1 day' AND w.hour <= $2 GROUP BY 1) h
    -- the present hour may be without work yet
    WHERE h.hour >= date_trunc('hour', $2, 'UTC') - h.back * interval '1 hour'
$$;
COMMENT ON FUNCTION _taskex.session_of(bigint, timestamptz) IS
    'What a performer has submitted since his last pause of an hour; of the last day.';

-- A type that a group has not met: this share of all that it accepts.
CREATE FUNCTION _taskex.trial_share() RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT 0.05::float8';
COMMENT ON FUNCTION _taskex.trial_share() IS 'What share of all that it accepts a group is expected to accept of types that are new to it.';

CREATE FUNCTION _taskex.most_of(performer_id bigint, at timestamptz) RETURNS float8 LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT greatest(60, 1.5 * max(n)) FROM (SELECT sum(w.submitted)::float8 AS n FROM _taskex.work_hour w
        WHERE w.performer_id = $1 AND w.hour > $2 - interval '8 days' AND w.hour <= $2 GROUP BY w.hour) h
$$;
COMMENT ON FUNCTION _taskex.most_of(bigint, timestamptz) IS
    'More than so many tasks an hour nobody is believed to do, whatever he says: half as much again as in his best hour of eight days, at least one a minute.';

-- What performers have declared, added up by group: what is to be expected beyond
-- what history does.
CREATE FUNCTION _taskex.declared_accepts(at timestamptz, seconds float8, only_group int = NULL, OUT group_id int, OUT task_type_id bigint,
        OUT declared float8)
    RETURNS SETOF record LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    WITH active AS MATERIALIZED (
        SELECT DISTINCT w.performer_id, w.task_type_id, p.preferences
        FROM _taskex.work_hour w JOIN _taskex.preference p USING (performer_id)
        WHERE w.hour >= date_trunc('hour', $1, 'UTC') - interval '1 hour' AND w.hour <= $1
            AND w.last_at > $1 - interval '15 minutes' AND p.preferences ? 'pace'
    ), said AS (
        SELECT i.performer_id, t AS task_type_id, i.during, NULL::jsonb AS preferences, cardinality(i.task_type_ids) AS types,
            greatest(i.quantity - _taskex.done_of(i.performer_id, i.task_type_ids, i.during), 0)
                * coalesce((p.kept + 8.0) / (p.intended + 10.0), 0.8)::float8 AS amount
        FROM _taskex.intention i LEFT JOIN _taskex.preference p USING (performer_id) CROSS JOIN unnest(i.task_type_ids) t
        WHERE upper(i.during) > $1 AND i.done IS NULL
        UNION ALL
        SELECT r.performer_id, r.task_type_id, NULL, r.preferences, count(*) OVER (PARTITION BY r.performer_id),
            greatest(coalesce((r.preferences ->> 'maximum')::bigint - _taskex.session_of(r.performer_id, $1), 1000000), 0)
        FROM (
            SELECT DISTINCT a.performer_id, e::bigint AS task_type_id, a.preferences
                FROM active a CROSS JOIN jsonb_array_elements(a.preferences -> 'types') e
            UNION ALL
            SELECT a.performer_id, a.task_type_id, a.preferences FROM active a WHERE NOT a.preferences ? 'types') r
    ), performer AS (
        SELECT p.performer_id, g.group_id, $1 + coalesce($2, extract(epoch FROM coalesce(g.horizon,
            current_setting('taskex.supply_horizon')::interval))::float8) * interval '1 second' AS until
        FROM (SELECT DISTINCT performer_id FROM said) p
            JOIN _taskex.performer_group g ON g.group_id = (_taskex.groups_of(p.performer_id))[1]
        WHERE $3 IS NULL OR g.group_id = $3
    ), promise AS (
        SELECT s.performer_id, s.task_type_id, max(CASE WHEN s.during IS NOT NULL
                THEN s.amount / s.types * extract(epoch FROM least(upper(s.during), p.until) - greatest(lower(s.during), $1))::float8
                    / extract(epoch FROM upper(s.during) - greatest(lower(s.during), $1))::float8
                -- that he works now says nothing about tomorrow
                ELSE least(s.amount, (s.preferences ->> 'pace')::float8
                    * _taskex.preferred_hours(s.preferences, $1, least(p.until, $1 + interval '12 hours'))) / s.types END) AS expected
        FROM said s JOIN performer p USING (performer_id)
        WHERE s.during IS NULL OR lower(s.during) < p.until
        GROUP BY 1, 2
    ), likely AS (
        -- nobody does more, of all types, than his time allows
        SELECT m.performer_id, m.task_type_id, m.expected * least(1, _taskex.most_of(m.performer_id, $1)
            * extract(epoch FROM p.until - $1)::float8 / 3600 / nullif(sum(m.expected) OVER (PARTITION BY m.performer_id), 0)) AS expected
        FROM promise m JOIN performer p USING (performer_id)
    )
    -- history has him already, as he worked in the last day or hour
    SELECT p.group_id, m.task_type_id, sum(greatest(m.expected - greatest(h.day / 24.0,
            h.hour / (1 + extract(epoch FROM $1 - date_trunc('hour', $1, 'UTC'))::float8 / 3600))
        * extract(epoch FROM p.until - $1)::float8 / 3600, 0))
    FROM likely m JOIN performer p USING (performer_id) CROSS JOIN LATERAL (
        SELECT coalesce(sum(w.submitted), 0)::float8 AS day,
            coalesce(sum(w.submitted) FILTER (WHERE w.hour >= date_trunc('hour', $1, 'UTC') - interval '1 hour'), 0)::float8 AS hour
        FROM _taskex.work_hour w WHERE w.performer_id = m.performer_id AND w.task_type_id = m.task_type_id
            AND w.hour > $1 - interval '1 day' AND w.hour <= $1) h
    GROUP BY 1, 2
$$;
COMMENT ON FUNCTION _taskex.declared_accepts(timestamptz, float8, int) IS
'Accepts within so many seconds (NULL: the group''s horizon), by group and task type, that performers have declared beyond what they did
of late: by intentions, or by the pace that they prefer if they work now.';

CREATE FUNCTION _taskex.working_performers(at timestamptz, OUT group_id int, OUT task_type_id bigint, OUT active int, OUT soon int)
    RETURNS SETOF record LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    WITH recent AS MATERIALIZED (
        SELECT w.performer_id, w.task_type_id, bool_or(w.hour > $1 - interval '2 hours') AS active
        FROM _taskex.work_hour w
        WHERE w.hour = ANY (ARRAY(SELECT date_trunc('hour', $1, 'UTC') - b * interval '1 hour' FROM unnest(ARRAY[0, 1, 23, 24, 167, 168]) b))
            AND (w.hour < $1 - interval '22 hours' OR w.last_at > $1 - interval '15 minutes')
        GROUP BY 1, 2
    ), performer AS (
        SELECT performer_id, (_taskex.groups_of(performer_id))[1] AS group_id, any_active
        FROM (SELECT performer_id, bool_or(active) AS any_active FROM recent GROUP BY 1) p
    )
    SELECT p.group_id, r.task_type_id, count(*) FILTER (WHERE r.active)::int, count(*) FILTER (WHERE NOT p.any_active)::int
    FROM recent r JOIN performer p USING (performer_id)
    WHERE p.group_id IS NOT NULL
    GROUP BY 1, 2 HAVING count(*) FILTER (WHERE r.active OR NOT p.any_active) > 0
$$;
COMMENT ON FUNCTION _taskex.working_performers(timestamptz) IS
'By group and task type: how many performers have submitted one in the last quarter of an hour; and how many, who did not work
in it, submitted one in this hour or the next of yesterday, or a week ago.';

-- What the two functions above found, by whoever keeps the targets: too much for
-- each round.
CREATE TABLE _taskex.outlook (
    group_id int NOT NULL,
    task_type_id bigint NOT NULL,
    declared float8 NOT NULL,
    active int NOT NULL,
    soon int NOT NULL,
    PRIMARY KEY (group_id, task_type_id)
);
COMMENT ON TABLE _taskex.outlook IS 'What performers of a group have declared, and who of them works; half a minute old at most.';
COMMENT ON COLUMN _taskex.outlook.declared IS 'Within the group''s horizon.';

CREATE TABLE _taskex.target_round (
    group_id int PRIMARY KEY,
    computed_at timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE _taskex.target_round IS 'When the targets of a group of performers were computed; 0: the outlook of all.';

CREATE FUNCTION _taskex.expected_accepts(at timestamptz, seconds float8, only_group int, OUT task_type_id bigint, OUT period float8,
        OUT history float8, OUT declared float8, OUT mean float8, OUT dispersion float8, OUT active int, OUT soon int,
        OUT series float8[], OUT pace float8)
    RETURNS SETOF record LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    this_hour timestamptz := date_trunc('hour', at, 'UTC');
BEGIN
    period := coalesce(seconds, extract(epoch FROM (SELECT coalesce(g.horizon, current_setting('taskex.supply_horizon')::interval)
        FROM _taskex.performer_group g WHERE g.group_id = only_group))::float8);
    RETURN QUERY
    WITH past AS (
        SELECT s.task_type_id, w.accepts, w.pace, CASE
            WHEN s.counted_until < this_hour THEN _taskex.series_at(s.group_id, s.task_type_id, s.series, s.counted_until, this_hour)
            WHEN s.series = '{}' THEN _taskex.forecast_count('{}', s.counted_until, '{}') ELSE s.series END AS series
        FROM _taskex.accept_series s CROSS JOIN LATERAL (
            SELECT coalesce(sum(a.accepts) FILTER (WHERE a.hour = this_hour), 0)::float8 AS accepts,
                coalesce(sum(_taskex.pace_left(a.pace, at - a.pace_at)), 0) AS pace
            FROM _taskex.accept_hour a WHERE a.group_id = s.group_id AND a.task_type_id = s.task_type_id
                AND a.hour >= this_hour - interval '1 hour' AND a.hour <= at) w
        WHERE s.group_id = only_group
    ), told AS (
        SELECT o.task_type_id, o.declared FROM _taskex.outlook o WHERE seconds IS NULL AND o.group_id = only_group
        UNION ALL
        SELECT d.task_type_id, d.declared FROM _taskex.declared_accepts(at, seconds, only_group) d WHERE seconds IS NOT NULL
    ), found AS (
        SELECT task_type_id, coalesce(_taskex.forecast_within(h.series, at, period, h.accepts, h.pace), 0) AS history,
            coalesce(t.declared, 0) AS declared, coalesce((_taskex.forecast_facts(h.series, at)).dispersion, 0.5) AS dispersion,
            h.series, h.pace
        FROM past h FULL JOIN told t USING (task_type_id)
    )
    SELECT task_type_id, period, coalesce(f.history, 0), coalesce(f.declared, 0), coalesce(f.history + f.declared, 0),
        coalesce(f.dispersion, 0.5), coalesce(o.active, 0), coalesce(o.soon, 0), f.series, f.pace
    FROM found f FULL JOIN (SELECT * FROM _taskex.outlook o WHERE o.group_id = only_group) o USING (task_type_id)
    WHERE f.history IS NOT NULL OR o.active + o.soon > 0;
END $$;
COMMENT ON FUNCTION _taskex.expected_accepts(timestamptz, float8, int) IS
'What a group of performers will accept of each task type within so many seconds (NULL: of the group''s horizon): mean and dispersion of
a negative binomial count, performers who work now and those likely to come, and what it is made of. Type 0: all.';

CREATE FUNCTION _taskex.explain_accepts(at timestamptz, history float8, declared float8, dispersion float8, active int, soon int,
        series float8[], pace float8)
    RETURNS jsonb LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_build_object('history', round($2::numeric, 3), 'declared', round($3::numeric, 3), 'dispersion', round($4::numeric, 3),
            'active', $5, 'soon', $6)
        || CASE WHEN $7 IS NULL THEN '{}' ELSE (SELECT jsonb_build_object('pace', round($8::numeric, 3), 'level', round(f.level::numeric, 3),
            'usual', round(f.usual::numeric, 3), 'hour_of_day', round(f.profile::numeric, 3), 'hours', f.hours, 'weights',
            ARRAY(SELECT round(w::numeric, 3) FROM unnest(f.weights) w)) FROM _taskex.forecast_facts($7, $1) f) END
$$;
COMMENT ON FUNCTION _taskex.explain_accepts(timestamptz, float8, float8, float8, int, int, float8[], float8) IS
    'What _taskex.expected_accepts() found, in words that docs/supply.md explains.';

-- targets -----------------------------------------------------------------------------

CREATE TABLE _taskex.supply_target (
    group_id int NOT NULL,
    task_type_id bigint NOT NULL,
    target int NOT NULL,
    explained jsonb NOT NULL,
    computed_at timestamptz NOT NULL,
    PRIMARY KEY (group_id, task_type_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE _taskex.supply_target IS 'How many slots of tasks of a type are to be kept for a group of performers.';
COMMENT ON COLUMN _taskex.supply_target.explained IS 'What the number is made of, as of computed_at.';
SELECT pg_catalog.pg_extension_config_dump('_taskex.outlook', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.target_round', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.supply_target', '');

-- Once an hour: what has become history.
CREATE FUNCTION _taskex.count_hours(at timestamptz, for_group int) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- the last accepts of an hour may be a little late
    through timestamptz := date_trunc('hour', at - interval '1 minute', 'UTC');
    one record;
BEGIN
    FOR one IN SELECT s.task_type_id FROM _taskex.accept_series s WHERE s.group_id = for_group AND s.counted_until < through LOOP
        DELETE FROM _taskex.accept_hour h WHERE h.group_id = for_group AND h.task_type_id = one.task_type_id
            AND h.hour < through - interval '60 days';
        IF EXISTS (SELECT FROM _taskex.accept_hour h WHERE h.group_id = for_group AND h.task_type_id = one.task_type_id
                AND h.hour >= through - interval '28 days') THEN
            UPDATE _taskex.accept_series s SET series = _taskex.series_at(s.group_id, s.task_type_id, s.series, s.counted_until, through),
                    counted_until = through
                WHERE s.group_id = for_group AND s.task_type_id = one.task_type_id;
        ELSE
            DELETE FROM _taskex.accept_hour h WHERE h.group_id = for_group AND h.task_type_id = one.task_type_id;
            DELETE FROM _taskex.accept_series s WHERE s.group_id = for_group AND s.task_type_id = one.task_type_id;
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.count_hours(timestamptz, int) IS
    'Adds the hours that are over to the series of a group, and forgets series without accepts for four weeks.';

CREATE FUNCTION _taskex.look_out(at timestamptz) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ended record;
BEGIN
    DELETE FROM _taskex.work_hour w WHERE w.hour < date_trunc('hour', at, 'UTC') - interval '8 days';
    DELETE FROM _taskex.intention i WHERE upper(i.during) < at - interval '30 days';
    -- the journal may be a little behind
    FOR ended IN UPDATE _taskex.intention i SET done = least(_taskex.done_of(i.performer_id, i.task_type_ids, i.during), i.quantity)
            WHERE upper(i.during) < at - interval '5 minutes' AND i.done IS NULL RETURNING i.* LOOP
        INSERT INTO _taskex.preference AS p (performer_id, preferences, intended, kept, changed_at)
            VALUES (ended.performer_id, '{}', ended.quantity, ended.done, at)
            ON CONFLICT (performer_id) DO UPDATE SET intended = p.intended + excluded.intended, kept = p.kept + excluded.kept;
    END LOOP;
    WITH seen AS MATERIALIZED (
        SELECT group_id, task_type_id, coalesce(d.declared, 0) AS declared, coalesce(w.active, 0) AS active, coalesce(w.soon, 0) AS soon
        FROM _taskex.declared_accepts(at, NULL) d FULL JOIN _taskex.working_performers(at) w USING (group_id, task_type_id)
    ), gone AS (
        DELETE FROM _taskex.outlook o WHERE NOT EXISTS (SELECT FROM seen s WHERE s.group_id = o.group_id AND s.task_type_id = o.task_type_id)
    )
    INSERT INTO _taskex.outlook AS o SELECT s.* FROM seen s JOIN _taskex.performer_group g USING (group_id)
        ON CONFLICT (group_id, task_type_id) DO UPDATE SET declared = excluded.declared, active = excluded.active, soon = excluded.soon
        WHERE (o.declared, o.active, o.soon) IS DISTINCT FROM (excluded.declared, excluded.active, excluded.soon);
    INSERT INTO _taskex.target_round VALUES (0, at) ON CONFLICT (group_id) DO UPDATE SET computed_at = excluded.computed_at;
END $$;
COMMENT ON FUNCTION _taskex.look_out(timestamptz) IS
    'Finds out anew what performers have declared and who of them works; judges intentions whose time is over, and removes what is old.';

CREATE FUNCTION _taskex.set_targets(at timestamptz, for_group int) RETURNS int
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    certainty float8 := current_setting('taskex.supply_certainty')::float8;
    most int := (SELECT g.max_slots FROM _taskex.performer_group g WHERE g.group_id = for_group);
    changed int;
BEGIN
    WITH expected AS MATERIALIZED (
        SELECT * FROM _taskex.expected_accepts(at, NULL, for_group)
    ), fresh AS (
        -- types that were supplied of late, and that the group has not met
        SELECT c.task_type_id, count(*) OVER () AS types FROM (
            SELECT DISTINCT n.task_type_id FROM (SELECT n.task_type_id FROM _taskex.catalogue n WHERE n.magnitude >= 0
                ORDER BY n.supplied_at DESC, n.task_type_id, n.requester_id LIMIT 20) n
            WHERE NOT EXISTS (SELECT FROM expected e WHERE e.task_type_id = n.task_type_id)) c
    ), wanted AS (
        SELECT e.task_type_id, e.mean, greatest(_taskex.negbin_quantile(least(e.mean, 1e8), e.dispersion, certainty),
            e.active + ceil(e.soon / 2.0)) AS number
        FROM expected e WHERE e.task_type_id <> 0
        UNION ALL
        SELECT f.task_type_id, e.mean * _taskex.trial_share() / f.types, ceil(greatest(e.mean * _taskex.trial_share(), 1) / f.types)
        FROM fresh f JOIN expected e ON e.task_type_id = 0 WHERE e.mean >= 0.5
    ), target AS MATERIALIZED (
        SELECT w.task_type_id, w.mean, w.number, s.total, (CASE WHEN s.total > most
            THEN floor(w.number * most / s.total) ELSE least(w.number, 1e9) END)::int AS target
        FROM wanted w CROSS JOIN (SELECT sum(number) AS total FROM wanted) s
        WHERE w.number > 0
    ), gone AS (
        DELETE FROM _taskex.supply_target o WHERE o.group_id = for_group
            AND NOT EXISTS (SELECT FROM target t WHERE t.task_type_id = o.task_type_id)
        RETURNING 1
    ), written AS (
        -- an explanation is not older than a minute, but not every round writes all rows
        INSERT INTO _taskex.supply_target AS o
            SELECT for_group, t.task_type_id, t.target,
                jsonb_build_object('horizon', a.period, 'expected', round(t.mean::numeric, 3), 'wanted', t.number, 'certainty', certainty)
                || CASE WHEN e.task_type_id IS NULL THEN jsonb_build_object('trial', true, 'group', round(a.mean::numeric, 3))
                    ELSE _taskex.explain_accepts(at, e.history, e.declared, e.dispersion, e.active, e.soon, e.series, e.pace) END
                || CASE WHEN t.total > most THEN jsonb_build_object('max_slots', most, 'total', t.total) ELSE '{}' END, at
            FROM target t LEFT JOIN expected e USING (task_type_id)
                LEFT JOIN (SELECT max(x.period) AS period, max(x.mean) FILTER (WHERE x.task_type_id = 0) AS mean FROM expected x) a ON true
            WHERE NOT EXISTS (SELECT FROM _taskex.supply_target k WHERE k.group_id = for_group AND k.task_type_id = t.task_type_id
                AND k.target = t.target AND k.computed_at > at - interval '1 minute' AND k.computed_at <= at)
            ON CONFLICT (group_id, task_type_id) DO UPDATE SET target = excluded.target, explained = excluded.explained,
                computed_at = excluded.computed_at
            RETURNING 1
    ) SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM written) INTO changed;
    INSERT INTO _taskex.target_round VALUES (for_group, at) ON CONFLICT (group_id) DO UPDATE SET computed_at = excluded.computed_at;
    RETURN changed;
END $$;
COMMENT ON FUNCTION _taskex.set_targets(timestamptz, int) IS 'Writes the targets of a group of performers as of now. Result: rows written.';

CREATE FUNCTION _taskex.compute_targets(only_group int = NULL) RETURNS int
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    at timestamptz := _taskex.now();
    began timestamptz := clock_timestamp();
    this int;
    changed int := 0;
BEGIN
    IF NOT EXISTS (SELECT FROM _taskex.target_round r WHERE r.group_id = 0 AND r.computed_at > at - interval '30 seconds' AND r.computed_at <= at) THEN
        PERFORM _taskex.look_out(at);
        DELETE FROM _taskex.target_round r WHERE r.group_id <> 0 AND NOT EXISTS (SELECT FROM _taskex.performer_group g WHERE g.group_id = r.group_id);
        -- of a group that a transaction with an old snapshot dropped
        DELETE FROM _taskex.supply_target t WHERE NOT EXISTS (SELECT FROM _taskex.performer_group g WHERE g.group_id = t.group_id);
    END IF;
    FOR this IN SELECT g.group_id FROM _taskex.performer_group g LEFT JOIN _taskex.target_round r USING (group_id)
            WHERE g.group_id = only_group OR only_group IS NULL
                AND (r.computed_at IS NULL OR r.computed_at <= at - interval '10 seconds' OR r.computed_at > at)
            ORDER BY r.computed_at NULLS FIRST, g.group_id LOOP
        CONTINUE WHEN NOT _taskex.keep_group(this);     -- dropped meanwhile
        PERFORM _taskex.count_hours(at, this);
        changed := changed + _taskex.set_targets(at, this);
        -- the others come first next time
        EXIT WHEN clock_timestamp() > began + interval '0.2 seconds';
    END LOOP;
    RETURN changed;
END $$;
COMMENT ON FUNCTION _taskex.compute_targets(int) IS
'Brings the targets of groups of performers up to date: of one, or of those that are older than ten seconds, for a fifth of a second.
Called by one process at a time. Result: rows written.';

CREATE VIEW taskex.supply_targets AS
    SELECT g.name AS group_name, t.task_type_id, y.title, t.target, (t.explained ->> 'expected')::numeric AS expected,
        t.explained, t.computed_at
    FROM _taskex.supply_target t JOIN _taskex.performer_group g USING (group_id) LEFT JOIN _taskex.task_type y USING (task_type_id);
COMMENT ON VIEW taskex.supply_targets IS
    'How many slots of tasks of each type are to be kept for each group of performers, and what the number is made of. Operators only.';

-- forecasts for all ------------------------------------------------------------------

CREATE FUNCTION _taskex.seconds_of(period interval, what text) RETURNS float8 LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF NOT period BETWEEN interval '1 second' AND interval '30 days' THEN
        PERFORM _taskex.bad_value(format('%s must be between 1 second and 30 days', what));
    END IF;
    RETURN extract(epoch FROM period)::float8;
END $$;
COMMENT ON FUNCTION _taskex.seconds_of(interval, text) IS 'The seconds of a period, or the error invalid_parameter_value.';

CREATE FUNCTION taskex.forecast_accepts(group_name text, task_type bigint = NULL, horizon interval = NULL,
        OUT expected numeric, OUT low bigint, OUT high bigint, OUT explained jsonb)
    RETURNS record LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id int := _taskex.group_id(group_name);
    type_id bigint := coalesce(task_type, 0);
    mean float8 := 0;
    dispersion float8 := 0.5;
    e record;
BEGIN
    IF task_type IS NOT NULL THEN
        PERFORM _taskex.check_task_types(ARRAY[task_type], 1);
    END IF;
    explained := '{}';
    FOR e IN SELECT x.* FROM _taskex.expected_accepts(_taskex.now(), _taskex.seconds_of(horizon, 'horizon'), id) x
            WHERE x.task_type_id IN (type_id, 0) ORDER BY x.task_type_id <> type_id LIMIT 1 LOOP
        IF e.task_type_id = type_id THEN
            mean := e.mean;
            dispersion := e.dispersion;
            explained := _taskex.explain_accepts(_taskex.now(), e.history, e.declared, e.dispersion, e.active, e.soon, e.series, e.pace);
        ELSE
            mean := e.mean * _taskex.trial_share();
            explained := jsonb_build_object('trial', true, 'group', round(e.mean::numeric, 3));
        END IF;
    END LOOP;
    expected := round(mean::numeric, 3);
    low := _taskex.negbin_quantile(mean, dispersion, 0.1);
    high := _taskex.negbin_quantile(mean, dispersion, 0.9);
END $$;
COMMENT ON FUNCTION taskex.forecast_accepts(text, bigint, interval) IS
'How many tasks a group of performers will accept from now on.
group_name: as taskex.performer_groups has it. task_type: of this type; NULL: of all types, without what is declared. horizon: 1 second to 30 days; NULL: that of the group.
Result: the expected number; low, high: it is at most so many with a probability of 0.1 and 0.9; what it is made of
(docs/supply.md). Errors: unknown_group (TX401), unknown_task_type (TX101), invalid_parameter_value (22023).';

CREATE FUNCTION taskex.acceptance_probability(group_name text, task_types bigint[], quantities int[], within interval)
    RETURNS float8 LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id int := _taskex.group_id(group_name);
    probability float8;
BEGIN
    PERFORM _taskex.check_task_types(task_types, 1000);
    PERFORM _taskex.require_value('quantities', quantities IS NOT NULL), _taskex.require_value('within', within IS NOT NULL),
        _taskex.check_vector(quantities, 'quantities');
    IF coalesce(array_ndims(quantities), 0) <> 1 OR cardinality(quantities) <> cardinality(task_types) THEN
        PERFORM _taskex.bad_value('task_types and quantities must have the same number of elements');
    ELSIF EXISTS (SELECT FROM unnest(quantities) q WHERE q NOT BETWEEN 0 AND 1000000) THEN
        PERFORM _taskex.bad_value('quantities must be between 0 and 1000000');
    END IF;
    WITH expected AS MATERIALIZED (
        SELECT * FROM _taskex.expected_accepts(_taskex.now(), _taskex.seconds_of(within, 'within'), id)
    ), one AS (
        SELECT q.quantity, coalesce(e.mean, (SELECT a.mean FROM expected a WHERE a.task_type_id = 0) * _taskex.trial_share(), 0) AS mean,
            coalesce(e.dispersion, 0.5) AS dispersion
        FROM (SELECT t AS task_type_id, sum(n)::float8 AS quantity FROM unnest(task_types, quantities) u (t, n) GROUP BY 1) q
            LEFT JOIN expected e USING (task_type_id)
    ) SELECT _taskex.counts_reach(array_agg(least(o.mean, 1e9)), array_agg(o.quantity),
            -- of one common pace: types of which more is expected tell more about it
            CASE WHEN sum(o.mean) > 0 THEN sum(o.mean * o.dispersion) / sum(o.mean) ELSE 0.5 END)
        INTO probability FROM one o;
    RETURN probability;
END $$;
COMMENT ON FUNCTION taskex.acceptance_probability(text, bigint[], int[], interval) IS
'The estimated probability that a group of performers accepts a set of tasks within some time from now on: the group
group_name, of each type in task_types (1 to 1000) as many as quantities says (0 to 1000000). within: 1 second to 30 days. It is told as if nobody else
wanted tasks of these types. Errors: unknown_group (TX401), unknown_task_type (TX101), invalid_parameter_value (22023).';
