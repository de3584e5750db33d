-- Rules that hold for every object of the extension, whoever adds one.
begin;
select no_plan();

-- members of the extension, one row an object
create temporary table member as
select d.classid, d.objid
from pg_depend d join pg_extension e on d.refclassid = 'pg_extension'::regclass and d.refobjid = e.oid
where e.extname = 'taskex' and d.deptype = 'e';

create temporary table func as
select p.*, p.oid::regprocedure::text as signature
from pg_proc p join member m on m.classid = 'pg_proc'::regclass and m.objid = p.oid;

-- comments
select is_empty($$
    select signature from func
    where obj_description(oid, 'pg_proc') is null and pronamespace = 'taskex'::regnamespace $$,
    'every function of taskex has a comment');
select is_empty($$
    select c.oid::regclass from pg_class c join member m on m.classid = 'pg_class'::regclass and m.objid = c.oid
    where c.relkind in ('r', 'p', 'v', 'm', 'c') and obj_description(c.oid, 'pg_class') is null $$,
    'every table, view and row type has a comment');
select is_empty($$
    select t.oid::regtype from pg_type t join member m on m.classid = 'pg_type'::regclass and m.objid = t.oid
    where t.typtype in ('e', 'd', 'c') and t.typcategory <> 'A' and obj_description(t.oid, 'pg_type') is null
      and not (t.typtype = 'c' and (select relkind from pg_class where oid = t.typrelid) <> 'c') $$,
    'every type has a comment');
select is_empty($$
    select nspname from pg_namespace where nspname in ('taskex', '_taskex') and obj_description(oid, 'pg_namespace') is null $$,
    'the schemas have comments');
select is_empty($$
    select c.relname || '.' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
    where c.relnamespace = 'taskex'::regnamespace and c.relkind = 'v' and a.attnum > 0
      and a.attname !~ '^[a-z][a-z0-9_]*$' $$,
    'columns of views have plain names');

-- who may do what
select is_empty($$
    select signature from func, aclexplode(coalesce(proacl, acldefault('f', proowner))) a
    where a.grantee = 0 $$,
    'PUBLIC may execute nothing');
select is_empty($$
    select c.oid::regclass, a.privilege_type, a.grantee::regrole
    from pg_class c join member m on m.classid = 'pg_class'::regclass and m.objid = c.oid,
        aclexplode(coalesce(c.relacl, acldefault(case c.relkind when 'S' then 's' else 'r' end::"char", c.relowner))) a
    where a.grantee <> c.relowner
      and (a.privilege_type <> 'SELECT' or a.grantee = 0) $$,
    'nobody has more than SELECT on a table or view, and PUBLIC not that');
select is_empty($$
    select n.nspname, a.privilege_type, a.grantee
    from pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
    where n.nspname in ('taskex', '_taskex') and a.grantee <> n.nspowner
      and (a.privilege_type <> 'USAGE' or a.grantee = 0) $$,
    'nobody may create in the schemas, and PUBLIC not use them');
select is_empty($$
    select signature from func
    where prosecdef and not coalesce(proconfig::text like '%search_path=pg_catalog, pg_temp%', false) $$,
    'every SECURITY DEFINER function has search_path pg_catalog, pg_temp');
select is_empty($$
    select signature, lanname from func join pg_language l on l.oid = prolang
    where lanname in ('sql', 'plpgsql') and pronamespace = 'taskex'::regnamespace and not prosecdef
      and prosqlbody is null and not coalesce(proconfig::text like '%search_path=%', false) $$,
    'every other function written in SQL or PL/pgSQL has a fixed search_path');
select is_empty($$
    select rolname from pg_roles where rolname like 'taskex\_%' and (rolsuper or rolcreaterole or rolcreatedb or rolcanlogin or rolbypassrls) $$,
    'the roles are groups and nothing more');
select bag_eq($$ select rolname::text from pg_roles where rolname like 'taskex\_%' $$,
    array['taskex_admin', 'taskex_app', 'taskex_user'], 'there are three of them');

-- ways to write
select is_empty($$
    select signature from func where proargnames is null and pronargs > 0 and pronamespace = 'taskex'::regnamespace
      and prorettype <> 'trigger'::regtype $$,
    'every parameter has a name');
select is_empty($$
    select conrelid::regclass, conname from pg_constraint
    where contype = 'f' and connamespace = '_taskex'::regnamespace
      and conrelid in (select partrelid from pg_partitioned_table) $$,
    'partitioned tables have no foreign key to a hot parent');
select is_empty($$
    select m.classid::regclass, m.objid from member m join pg_class c on m.classid = 'pg_class'::regclass and m.objid = c.oid
    where c.relnamespace not in ('taskex'::regnamespace, '_taskex'::regnamespace) $$,
    'everything is in the two schemas');

-- what pg_dump takes along
select is_empty($$
    select c.oid::regclass from pg_class c join member m on m.classid = 'pg_class'::regclass and m.objid = c.oid
    where c.relkind in ('r', 'S')
      and not c.oid = any ('{_taskex.child_table, _taskex.event_kind, _taskex.journal_consumer, _taskex.load_metric, _taskex.meter, _taskex.recommend_factor, _taskex.user_column}'::regclass[]::oid[])  -- filled by the install script alone
      and not c.oid = any ((select extconfig from pg_extension where extname = 'taskex')::oid[]) $$,
    'the rows of every table, and every sequence, are dumped');

select * from finish();
rollback;
