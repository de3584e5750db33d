-- What the demo's crowd knows: the questions with their true answers, and how
-- good each performer is. The exchange sees none of it.
create schema demo;

create table demo.requester (login text primary key, partition text, title text, labels text[],
	reward numeric, performers int, questions int, task_type_id bigint);
create table demo.performer (login text primary key, skill float8);
create table demo.question (n int primary key, requester text, truth text, labels text[]);

-- 0 <= chance < 1, always the same for the same text
create function demo.chance(text) returns float8 language sql immutable as
$$ select (hashtextextended($1, 7) & 1048575) / 1048576.0::float8 $$;

-- The performer's answer: the truth with the probability of his skill.
create function demo.answer(performer text, question int, out label text, out requester text)
language sql stable as
$$
	select case when demo.chance(p.login || q.n) < p.skill then q.truth
			else w.labels[1 + floor(demo.chance(q.n || p.login) * cardinality(w.labels))::int] end,
		q.requester
	from demo.performer p, demo.question q, array_remove(q.labels, q.truth) w(labels)
	where p.login = $1 and q.n = $2
$$;
