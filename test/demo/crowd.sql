-- What the demo's crowd knows: the questions with their true answers, and how
-- good each performer is. The exchange sees none of it.
create schema demo;

create table demo.requester (login text primary key, partition text, title text, labels text[],
	reward numeric, performers int, likely numeric, consensus text, least int, confidence float8,
	questions int, golden int, task_type_id bigint);
create table demo.performer (login text primary key, skill float8);
create table demo.question (n int primary key, requester text, truth text, labels text[], golden boolean);

-- 0 <= chance < 1, always the same for the same text
create function demo.chance(text) returns float8 language sql immutable as
$$ select (hashtextextended($1, 7) & 1048575) / 1048576.0::float8 $$;

-- The performer's answer: the truth with the probability of his skill.
create function demo.answer(performer text, question int, out label text, out requester text, out golden boolean)
language sql stable as
$$
	select case when demo.chance(p.login || q.n) < p.skill then q.truth
			else w.labels[1 + floor(demo.chance(q.n || p.login) * cardinality(w.labels))::int] end,
		q.requester, q.golden
	from demo.performer p, demo.question q, array_remove(q.labels, q.truth) w(labels)
	where p.login = $1 and q.n = $2
$$;

-- A requester makes a test of five questions and requires that four are answered right.
create function demo.require_test(requester text) returns jsonb language sql as
$$
	select jsonb_build_array(jsonb_build_object('qualification', taskex.create_qualification(requester, 'Compares offers',
			test => jsonb_build_object('questions', jsonb_agg(jsonb_build_object('id', 'q' || i,
				'text', format('%s g of coffee, %s kg of coffee', i * 100, i / 10.0 + i % 2), 'choices', '["same", "different"]'::jsonb))),
			answer_key => jsonb_build_object('percent_of', 5, 'questions', jsonb_agg(jsonb_build_object('id', 'q' || i,
				'options', jsonb_build_array(jsonb_build_object('answer', case i % 2 when 0 then 'same' else 'different' end, 'score', 1)))))),
		'comparator', '>=', 'value', 80))
	from generate_series(1, 5) i
$$;

-- The performer's answers to the test.
create function demo.exam(performer text) returns jsonb language sql stable as
$$
	select jsonb_object_agg('q' || i,
		case when (i % 2 = 0) = (demo.chance('test' || i || p.login) < p.skill) then 'same' else 'different' end)
	from demo.performer p, generate_series(1, 5) i where p.login = $1
$$;
