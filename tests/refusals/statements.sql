# COPY, COLLATE, CREATE TABLE, windows, functions, EXPLAIN, PREPARE
copy t to stdout (format csv, delimiter 'ab')
copy t(zz) to stdout
select E'\u00'
select E'\u0000'
select E'\uD800'
select E'\x'
select count()
select count(*,1)
select sum(*)
select count(*) filter (where 1)
select '{1,2,{3}}'::int[]
select '{1,2'::int[]
select '{{1},{2,3}}'::int[]
create table x(a int) with (nosuch=1)
create table x(a int) with (fillfactor=70)
create table x(a int) with (fillfactor=5)
create table x(a int) with (fillfactor='a')
create table x(a int) with (oids=false)
create table x(a int) tablespace nosuch
create table x(a int) tablespace pg_default
create index on t(b) tablespace nosuch
create index on t(b) with (fillfactor=70)
create index on t(b) with (nosuch=70)
create database dd tablespace nosuch
alter table t set (nosuch=1)
alter table t set (fillfactor=50)
select sum(a) over (order by a range between interval '1 day' preceding and current row) from t
select sum(a) over (order by b range between 1 preceding and current row) from t
select sum(a) over (order by d range between 1 preceding and current row) from t
select sum(a) over (order by a rows between 1.5 preceding and current row) from t
select sum(a) over (order by a rows between a preceding and current row) from t
select interval '3' second(3)
select interval '3.123456' second(2)
select interval '3 04:05:06.789' day to second(1)
select interval(3) '3 sec'
select nosuch(1)
select nosuch()
select nosuch(a, b) from t
select sch.nosuch(1)
select nosch.nosuch(1)
select upper(1)
select length(1)
select abs('a'::text)
select abs(true)
select round('1'::text, 2)
select 1 union select 'a'
select 1 union select 'a'::text
select 1, 2 union select 1
select a from t union select b from t
select a from t intersect select true
select 1 union select 2 order by b
select 1 as x union select 2 order by x+1
values (1), ('a'::text)
values (1,2),(3)
select case when true then 1 else 'a'::text end
select coalesce(1, 'a'::text)
select greatest(1, 'a')
select array[1, 'a']
select array[1, true]
select nullif(1, 'a'::text)
prepare p(int) as select $1 ;; execute p('x')
prepare p(int) as select $1 ;; execute p(1,2)
prepare p(int) as select $1 ;; execute p(true)
prepare p(int) as select $1 ;; execute p(a)
prepare p(int) as select $1 ;; execute p(count(*))
prepare p as select $1
prepare p(nosuch) as select $1
prepare p as select 1 ;; prepare p as select 2
prepare p as create table x(a int)
execute nosuch
deallocate nosuch
explain (foo) select 1
explain (analyze, foo true) select 1
explain (format foo) select 1
explain (analyze maybe) select 1
explain (costs off) select nosuch
explain (wal) select 1
explain (timing) select 1
copy (nonsense) to stdout
copy (select nonsense) to stdout
copy (select 1) from stdin
copy (select 1; select 2) to stdout
copy (create table x(a int)) to stdout
copy (insert into t values (9)) to stdout
copy nosuch to stdout
copy nosuch from stdin
copy t(a,a) from stdin
copy t(zz) from stdin
copy t from stdin (format nosuch)
copy t from stdin (nosuch 1)
copy t from stdin (format csv, format csv)
copy t from stdin (delimiter 'ab')
copy t from stdin (delimiter '')
copy t from stdin (delimiter E'\n')
copy t from stdin (delimiter 'a')
copy t from stdin (null E'\n')
copy t from stdin (quote 'a')
copy t from stdin (format csv, quote 'ab')
copy t from stdin (format csv, quote ',')
copy t from stdin (format csv, escape 'ab')
copy t from stdin (escape 'a')
copy t from stdin (format csv, null '"')
copy t from stdin (format csv, null ',')
copy t from stdin (format binary, delimiter ',')
copy t from stdin (format binary, null 'x')
copy t from stdin (format binary, header)
copy t from stdin (force_quote *)
copy t from stdin (format csv, force_quote *)
copy t to stdout (format csv, force_not_null (a))
copy t to stdout (format csv, force_null (a))
copy t to stdout (format csv, force_quote (zz))
copy t from stdin (format csv, force_null (zz))
copy t from stdin (format csv, force_null (a))
copy t from stdin (encoding 'nosuch')
copy t from stdin (header 'x')
copy t to stdout (header match)
copy t to stdout (freeze)
copy t to stdout where a = 1
create table x(a int primary key, b int primary key)
create table x(a int, primary key (a), primary key (a))
create table x(a int, a int)
create table x(a int unique unique)
create table x(a int null not null)
create table x(a int default 1 default 2)
create table x(a int default b, b int)
create table x(a int default count(*))
create table x(a int default 'x')
create table x(a int default nosuch())
create table x(a int default true)
create table x(a int check (b > 0))
create table x(a int check (a))
create table x(a int check (count(*) > 1))
create table x(a int check (row_number() over () > 1))
create table x(a int, constraint c check (a>0), constraint c check (a>1))
create table x(a nosuch)
create table x(a sch.nosuch)
create table x(a nosch.nosuch)
create table x(a varchar(0))
create table x(a varchar(-1))
create table x(a varchar(99999999))
create table x(a char(0))
create table x(a int(3))
create table x(a text(3))
create table x(a numeric(0))
create table x(a numeric(1001))
create table x(a numeric(10,2000))
create table x(a time(-1))
create table x(a float(0))
create table x(a float(99))
create table x(a serial not null null)
create table x(a serial default 1)
create table x(a serial[])
create table x(a text serial)
create table x(a text generated always as identity)
create table x(a int generated always as identity default 1)
create table x(a int generated always as identity generated always as identity)
create table x(a int null generated always as identity)
create table x(a int, primary key (b))
create table x(a int, primary key (a, a))
create table x(a int, unique (b))
create table x(a int, unique (a, a))
create table x(a int references nosuch)
create table x(a int references t(zz))
create table x(a int references t(b))
create table x(a text references t)
create table x(a int, foreign key (zz) references t)
create table x(a int references comp)
create table x(a int references comp(a))
create table x(a int references t on delete set default)
create table x(a int references sq)
create table x(a int references sch.nosuch)
create table x(a int, foreign key (a,a) references comp)
create table x(a json unique)
create table x(like nosuch)
create table x(like t, a int)
create table x(like t including nosuch)
create table nosch.x(a int)
create table t(a int)
create table if not exists t(a int)
create table t_b(a int)
create table sq(a int)
create table pg_catalog.x(a int)
create table x()
create table x as select 1, 2
create table x as select 1 as a, 2 as a
create table x(a, b, c) as select 1, 2
create table x(a) as select 1, 2
create table x as select nosuch
create table x(tableoid int)
create table x(ctid int)
create table x(xmin int)
create table x(a "char")
create table x(a int collate nosuch)
create table x(a int collate "C")
create table x(a text collate nosuch)
create table x(a text collate "C")
select a collate "C" from t
select b collate nosuch from t
create table x(a int exclude)
# values, rows, queries, syntax
select distinct a from t order by -a
select distinct a from t order by b
select distinct on (b) a from t order by a
select distinct on (a) a, b from t order by b, a
select 1::nosuch
select '1'::nosuch
select cast(1 as nosuch)
select cast('x' as int)
select 'x'::int
select int 'x'
select 1::date
select true::date
select '{}'::json::int
select a::date from t
select 'x'::bool
select 'x'::float8
select 'x'::numeric
select 'x'::date
select 'x'::time
select 'x'::timestamp
select 'x'::timestamptz
select 'x'::interval
select 'x'::uuid
select 'x'::json
select '{"a":}'::json
select '{"a":}'::jsonb
select '\xg'::bytea
select E'\\x1'::bytea
select 'x'::oid
select 'x'::regclass
select 'nosuch'::regtype
select '2020-13-01'::date
select '2020-02-30'::date
select '25:00'::time
select '2020-01-01 25:00'::timestamp
select '99999-01-01'::date + 99999999
select '9999999999'::int
select '99999'::int2
select '99999999999999999999'::int8
select '1e400'::float8
select '1e50'::float4
select 'abc'::varchar(2)
insert into p values (3,3,3,3,'abcd')
insert into p values (3,3,null,3,'a')
insert into p values (3,3,3,-3,'a')
insert into p values (1,3,3,3,'a')
insert into p values (3,10,3,3,'a')
insert into p(id) values (1)
insert into p values (1,2,3,4,5,6)
insert into p(id, n) values (1)
insert into p(id) values (1, 2)
insert into p(zz) values (1)
insert into p(id, id) values (1, 2)
insert into nosuch values (1)
insert into nosch.t values (1)
insert into t values ('x')
insert into t values (true)
insert into t(d) values (1)
insert into t select 1, 2, 3
insert into t(a) values (default, 1)
insert into t values (default)
insert into ch values (1, 99)
insert into ch2 values (1, 99)
insert into idn(id) values (1)
insert into idn(id) overriding user value values (1)
insert into idn(idd) values (default)
update idn set id = 3
insert into comp values (1, null)
insert into comp values (1,1),(1,1)
insert into sq values (1)
insert into t values (1) returning nosuch
insert into t values (3) on conflict (nosuch) do nothing
insert into t values (3) on conflict (b) do nothing
insert into t values (3) on conflict (a) do update set nosuch = 1
insert into t values (3) on conflict (a) do update set b = excluded.nosuch
insert into t values (3) on conflict on constraint nosuch do nothing
insert into t values (3),(3) on conflict (a) do update set b = 'x'
insert into t values (3) on conflict (a) do update set t.b = 'x'
insert into t(a) values (sum(1))
insert into t(a) values (1.5), ('a')
insert into t values (count(*) over ())
insert into p(id,n,v) values (7,7,'toolong'::text)
insert into t(c) values (1000)
insert into t(a, c) values (9, 1000)
update t set nosuch = 1
update t set a = 'x'
update t set a = b
update t set a = 1
update t set a = 1, a = 2
update t set (a, b) = (1)
update t set t.a = 1
update t set a = default where nosuch = 1
update t set a = sum(a)
update t set a = a where sum(a) > 1
update nosuch set a = 1
update t set a = 1 from nosuch
update t set a = 1 from t
update t as x set a = 1 where t.a = 1
update t set a = x.zz from p x
update t set b = null where a = (select a from t)
update p set n = null
update p set k = 0
update p set v = 'abcde'
update p set id = 77 where id = 1
update ch2 set pid = 55
update sq set last_value = 1
delete from nosuch
delete from p where id = 1
delete from t where a
delete from t where nosuch
delete from t using nosuch
delete from t using t
delete from t where count(*) > 1
truncate nosuch
truncate p
truncate sq
truncate t_b
truncate p, ch
truncate pg_class
select nosuch
select nosuch from t
select t.nosuch from t
select x.a from t
select t.a from t x
select a from t, comp
select * from nosuch
select * from nosch.t
select *
select t.*
select nosuch.* from t
select * from t, t
select * from t a, comp a
select * from t join comp using (nosuch)
select * from t join comp using (b)
select * from t join comp on a = a
select * from t join comp on nosuch
select * from t join comp on t.a
select * from t natural join comp
select * from t cross join comp on true
select * from t join comp
select * from (select 1)
select * from (values (1))
select * from (select 1) x(a,b)
select * from t x(a,b,c,d,e)
select * from nosuch()
select * from generate_series(1)
select * from generate_series(1,2,0)
select * from t where a = 'x'
select * from t where a = true
select * from t where b = 1
select * from t where a
select * from t where a + 'x' = 1
select * from t where 'x'
select * from t where null
select * from t where 1
select * from t where count(*) > 1
select * from t where row_number() over () > 1
select * from t where a in (1, 'x')
select * from t where a in (1, true)
select * from t where a in (select b from t)
select * from t where a in (select a, b from t)
select * from t where (a, b) in (select a from t)
select * from t where a = any (1)
select * from t where a = any ('x')
select * from t where a = any (array['x'])
select * from t where a = any (b)
select * from t where a between 1 and 'x'
select * from t where a like 'x'
select * from t where b like 1
select * from t where a is true
select * from t where not a
select * from t where a and b
select * from t where exists (1)
select * from t where a = (select a from t)
select * from t where a = (select a, b from t)
select (select 1, 2)
select (select a from t)
select array(select 1, 2)
select a, count(*) from t
select b from t group by a, c having d > '2020-01-01'
select a from p, t group by n
select t.b from t group by c
select sum(sum(a)) from t
select sum(row_number() over ()) from t
select a from t having count(*) > 1
select a from t group by count(*)
select a from t group by 5
select a from t group by nosuch
select a from t group by 1.5
select a from t group by 'x'
select count(*) from t group by ()
select count(*) from t group by rollup (nosuch)
select grouping(a) from t
select grouping(b) from t group by a
select a from t order by 5
select a from t order by 0
select a from t order by nosuch
select a from t order by 'x'
select a, b as a from t order by a
select a from t order by a using <
select a from t limit 'x'
select a from t limit a
select a from t limit true
select a from t limit 1.5
select a from t limit (select nosuch)
select a from t limit null offset null
select a from t fetch first 1 rows with ties
select a from t for update nowait skip locked
select a from t for update of nosuch
select count(*) from t for update
select distinct a from t for update
select a from t group by a for update
select a from t union select 1 for update
select row_number() over () from t for update
select sum(a) over w from t
select upper(b) over () from t
select row_number() from t
select lag() over () from t
select lag(a, 'x') over (order by a) from t
select lag(a, 1, 'x') over (order by a) from t
select count(distinct a) over () from t
select count(a order by a) over () from t
select first_value(a) filter (where true) over () from t
select sum(distinct a, b) from t
select count(distinct) from t
select sum(a) filter (where nosuch) from t
select sum(a) filter (where sum(a) > 1) from t
select upper(distinct b) from t
select upper(b order by b) from t
select upper(b) filter (where true) from t
select percentile_cont(0.5) from t
select percentile_cont(0.5) within group (order by b) from t
select percentile_cont(2) within group (order by a) from t
select sum(a) within group (order by a) from t
select string_agg(b) from t
select string_agg(distinct b, ',' order by a) from t
select array_agg(a, b) from t
select min(true)
select sum(b) from t
select sum('x')
select avg('x'::text)
select bool_and(1)
select every(a) from t
select 1 + 'x'
select 1 + true
select 1 || 2
select b + 1 from t
select -b from t
select not 1
select 1 and true
select 'a' + 'b'
select 'a' < 1
select 1 = 'x'
select 1 @@ 2
select @@ 1
select 1 ! 
select a/0 from t
select 5 / (a - 1) from t
select date '2020-01-01' + 'x'
select date '2020-01-01' + true
select date '2020-01-01' + time '10:00' + 1
select interval '1 day' * interval '1 day'
select to_date('x', 'YYYY')
select to_date('2020-13-01', 'YYYY-MM-DD')
select to_timestamp('x', 'HH')
select to_number('x', '999')
select to_char(1, 'x', 2)
select to_timestamp('2020', 'YYYY-IYYY')
select translate('a')
select regexp_matches('a', 'b', 'z')
select 'a' like 'a\'
select convert_from('\xff', 'utf8')
select set_byte('a', 0, 300)
select gen_random_uuid(1)
select json_each('[]')
select jsonb_array_elements_text('1')
select json_build_object('a')
select json_build_object(null, 1)
select '{}'::json = '{}'::json
select distinct '{}'::json
select '{}'::json order by 1
select '{}'::json group by 1
select '{}'::jsonb -> true
select ('{}'::json).a
select (1).a
select t.b.c from t
select (array[1])['x']
select (1)[1]
select array_upper(1, 1)
select array_append(array[1], 'x')
select array_append(array[1], true)
select array[1] || 'x'
select array[1] || array['x']
select array_to_string(1, ',')
select nextval('nosuch')
select currval('sq')
select lastval()
select nextval('t')
select setval('sq', 0)
select setval('sq', null)
select nextval('sq', 1)
select pg_get_serial_sequence('t', 'nosuch')
select pg_get_serial_sequence('nosuch', 'a')
select current_setting('nosuch')
select current_setting('nosuch.x')
select set_config('nosuch', '1', false)
select set_config('work_mem', 'x', false)
select has_table_privilege('nosuch', 'select')
select $1
select $0
select "abc
select 'abc
select $$abc
select /* abc
select 1a
select 123abc
select 0x
select 1e
select a b c from t
select from where
selec 1
select 1 2
select * from
select * from t where
select (1
select 1)
insert t values (1)
insert into t
insert into t values
update t
update t set
delete t
create
create table
create table x
create table x (
create table x (a int,)
create table x (a int b)
drop
drop table
alter
alter table
alter table t
begin foo
;
foo bar
select 1;; select nosuch
# other definitions, settings, transactions, cursors, WITH
drop table nosuch
drop table if exists nosuch
drop table if exists nosch.x
drop table nosch.x
drop table p
drop table p cascade
drop table t, nosuch
drop table sq
drop table t_b
drop table pg_class
drop index nosuch
drop index t
drop index t_pkey
drop index p_pkey
drop sequence nosuch
drop sequence t
drop sequence idn_id_seq
drop sequence idn_s_seq
drop schema nosuch
drop schema sch
drop schema if exists nosuch
drop schema pg_catalog
drop database nosuch
!drop database nosuch
!drop database if exists nosuch
drop role nosuch
drop role if exists nosuch
drop user nosuch
drop view nosuch
drop view t
drop view if exists nosuch
drop type nosuch
drop function nosuch()
drop function if exists nosuch()
drop trigger nosuch on t
drop materialized view nosuch
drop extension nosuch
drop extension if exists nosuch
drop domain nosuch
drop foreign table nosuch
drop aggregate nosuch(int)
drop rule nosuch on t
drop policy nosuch on t
drop publication nosuch
create schema sch
create schema if not exists sch
create schema pg_foo
create schema x authorization nosuch
create schema authorization nosuch
create schema x create table y(a nosuch)
create schema x create table z.y(a int)
!create database x owner nosuch
create index on nosuch(a)
create index on t(nosuch)
create index t_b on t(a)
create index if not exists t_b on t(a)
create index t on t(a)
create unique index on ch2(id)
create unique index on t(a, a)
create index on t(a nosuch_ops)
create index on t(a text_ops)
create index concurrently on t(a)
create index on pg_class(relname)
create unique index on idn(x)
create sequence sq
create sequence if not exists sq
create sequence x increment 0
create sequence x minvalue 10 maxvalue 5
create sequence x start 0
create sequence x start 5 maxvalue 3
create sequence x cache 0
create sequence x as text
create sequence x as smallint maxvalue 100000
create sequence x owned by t
create sequence x owned by t.nosuch
create sequence x owned by nosuch.a
create sequence x owned by nosuch
create sequence x start 'a'
alter sequence nosuch restart
alter sequence sq restart with 0
alter sequence sq increment 0
alter sequence sq maxvalue 0
alter sequence t restart
alter sequence sq owned by t.nosuch
alter sequence idn_id_seq owned by none
alter sequence sq nosuch
alter sequence sq rename to t
alter sequence sq as text
alter table nosuch add column x int
alter table if exists nosuch add column x int
alter table t add column a int
alter table t add column if not exists a int
alter table t add column x int not null
alter table t add column x nosuch
alter table t add column x int default 1 check (x > 1)
alter table t add column x int unique default 1
alter table t add column x int references nosuch
alter table t add column x int default 9 references p
alter table t add column x int primary key
alter table t add column ctid int
alter table t drop column nosuch
alter table t drop column if exists nosuch
alter table p drop column id
alter table p drop column u
alter table t drop column a
alter table t rename column nosuch to x
alter table t rename column a to b
alter table t rename nosuch to x
alter table t rename to p
alter table nosuch rename to p
alter table t rename constraint nosuch to x
alter table p rename constraint kpos to p_pkey
alter table t alter column nosuch set not null
alter table ch alter column pid set not null
alter table idn alter column x drop not null
alter table t alter column a drop not null
alter table t alter column nosuch set default 1
alter table t alter column a set default (select 1)
alter table idn alter column id set default 1
alter table idn alter column id drop default
alter table t alter column nosuch type int
alter table t alter column b type int
alter table t alter column b type int using b::int
alter table t alter column b type int using nosuch
alter table t alter column a type nosuch
alter table t alter column d type int
alter table p alter column id type text
alter table t alter column c type varchar(1)
alter table t alter column a add generated always as identity
alter table t alter column b add generated always as identity
alter table idn alter column id add generated always as identity
alter table idn alter column x add generated always as identity
alter table t alter column a drop identity
alter table t alter column a drop identity if exists
alter table t alter column a set generated always
alter table t alter column a restart
alter table t add primary key (a)
alter table ch2 add primary key (pid)
alter table ch2 add constraint p_pkey unique (id)
alter table p add constraint kpos check (id > 0)
alter table p add constraint kp2 check (id > 1)
alter table ch2 add foreign key (id) references nosuch
alter table ch2 add foreign key (nosuch) references p
alter table ch2 add foreign key (id) references p(n)
alter table ch2 add foreign key (id) references t(b)
alter table t add foreign key (b) references p
alter table t add foreign key (b) references t(a)
alter table t add constraint fkx foreign key (a) references ch2(id)
alter table p add constraint fkx foreign key (u) references t
alter table ch add constraint named foreign key (id) references p
alter table p drop constraint nosuch
alter table p drop constraint if exists nosuch
alter table p drop constraint p_pkey
alter table p drop constraint p_u_key
alter table p alter constraint nosuch deferrable
alter table p alter constraint kpos deferrable
alter table p validate constraint nosuch
alter table p validate constraint kpos
alter table t set schema nosuch
alter table nosuch set schema sch
alter table t owner to nosuch
alter table nosuch owner to errrole
alter table t nosuch
alter table t_b rename to x
alter table pg_class add column x int
alter index nosuch rename to x
alter index t_b rename to t
alter schema nosuch rename to x
alter schema sch rename to public
alter schema sch rename to pg_x
alter schema sch owner to nosuch
!alter database nosuch rename to x
alter role nosuch login
alter role nosuch rename to x
alter role errrole rename to pg_x
create role errrole
create role pg_x
create role ""
create user errrole
comment on table nosuch is 'x'
comment on column t.nosuch is 'x'
comment on column nosuch.a is 'x'
comment on schema nosuch is 'x'
comment on index nosuch is 'x'
comment on sequence nosuch is 'x'
comment on constraint nosuch on t is 'x'
comment on constraint kpos on nosuch is 'x'
comment on role nosuch is 'x'
comment on table sq is 'x'
comment on index t is 'x'
comment on column t is 'x'
vacuum nosuch
!vacuum nosuch
!vacuum (nosuch) t
!vacuum t(nosuch)
vacuum t
analyze nosuch
analyze t(nosuch)
analyze (nosuch) t
analyze t(a, a)
lock nosuch
lock t in nosuch mode
!lock t
unlisten *
set nosuch = 1
set nosuch.x = 1
set work_mem = 'x'
set work_mem = -5
set work_mem = '1XB'
set work_mem = 1.5
set statement_timeout = 'x'
set statement_timeout = -1
set statement_timeout = '1 fortnight'
set timezone = 'nosuch'
set time zone 'nosuch'
set datestyle = 'nosuch'
set client_encoding = 'nosuch'
set client_min_messages = 'nosuch'
set bytea_output = 'nosuch'
set standard_conforming_strings = 'maybe'
set default_transaction_isolation = 'nosuch'
set search_path = nosuch
set search_path = 'a', 1
set extra_float_digits = 5
set extra_float_digits = 'x'
set server_version = '1'
set max_connections = 5
set shared_buffers = 5
set fsync = off
set log_min_messages = 'nosuch'
set session authorization nosuch
set role nosuch
set role none
set local work_mem = '1MB'
!set local work_mem = '1MB'
set names 'nosuch'
set xmloption = nosuch
set constraints nosuch deferred
set constraints all deferred
set constraints named deferred
set constraints kpos deferred
!set constraints all deferred
set transaction isolation level nosuch
!set transaction isolation level serializable
select 1 ;; set transaction isolation level serializable
select 1 ;; set transaction read write
set transaction read only ;; set transaction read write
set transaction read only ;; select 1 ;; set transaction read write
set transaction read only ;; insert into t values (9)
set transaction read only ;; create table x(a int)
set transaction read only ;; select nextval('sq')
set transaction read only ;; select * from t for update
set transaction read only ;; truncate t
set transaction read only ;; copy t from stdin
set transaction read only ;; drop table t
set transaction read only ;; comment on table t is 'x'
set transaction read only ;; lock t
set transaction read only ;; vacuum t
set transaction read only ;; explain analyze insert into t values (9)
set transaction read only ;; select setval('sq', 5)
set transaction read only ;; prepare p as insert into t values (9) ;; execute p
set transaction read only ;; update nosuch set a = 1
show nosuch
show nosuch.x
reset nosuch
discard nosuch
begin
begin isolation level nosuch
!commit
!rollback
!rollback to x
!savepoint x
!release x
rollback to nosuch
release nosuch
savepoint a ;; release a ;; rollback to a
!commit and chain
!rollback and chain
!start transaction foo
!begin; select 1; begin; commit
declare c cursor for select 1 ;; fetch nosuch
declare c cursor for select 1 ;; declare c cursor for select 1
!declare c cursor for select 1
declare c cursor for insert into t values (1)
declare c cursor for select nosuch
declare c cursor with hold for select 1 for update
declare c scroll cursor for select * from t for update
declare c no scroll cursor for select a from t ;; fetch 1 from c ;; fetch backward 1 from c
fetch 1 from nosuch
fetch nosuch
move 1 from nosuch
close nosuch
close all
fetch 'x' from c
with x as (select 1) select * from y
with x as (select 1), x as (select 2) select 1
with x(a,b) as (select 1) select * from x
with recursive x as (select 1) select * from x
with recursive x as (select 1 union all select x.nosuch from x) select * from x
with recursive x(a) as (select 1 union all select a::text from x) select * from x
with recursive x(a) as (select * from x union all select 1) select * from x
with recursive x(a) as (select 1 union all select sum(a)::int from x) select * from x
with recursive x(a) as (select 1 union all select a from x order by 1) select * from x
with recursive x(a) as (select 1 union all select a from x limit 3) select * from x
with recursive x(a) as (select 1 union all select x.a from t left join x on true) select * from x
with recursive x(a) as (select 1 union all select 1 from x, x y) select * from x
with recursive x(a) as (select 1 except select a from x) select * from x
with recursive x(a) as (select 1 union all select a from x where a in (select a from x)) select * from x
with recursive x(a) as (select 1 union all select a from y), y(a) as (select 1 union all select a from x) select * from x
with x as (select 1) insert into x values (1)
select * from t, lateral (select nosuch) x
select * from t, (select t.a) x
select * from t x left join lateral (select x.a, y.b) z on true
select * from t full join p on true
select 1 from t where a = $1
select a from t where $1
select $1::int + $2
select $1 = $2
select $1 || $2
select * from only t
select * from t for nosuch
explain analyze select nosuch
explain analyze select 1/0
explain execute nosuch
explain verbose select 1 ;; select 1
table nosuch
values (default)
values (1) order by nosuch
select (1,2) is null
select row()
select t::text::int from t
select count(*) over (order by t) from t
select oid from t
select a from t where b = b collate "nosuch"
select user()
select substring('a' from 'b' for 'c')
select exists()
select 1 in ()
select 1 between 2
select case end
select case when 1 then 2 end
select case 1 when 'x' then 2 end
select 1 is not true
select 1::bool::text::bool::int::bool + 1
select interval 'x'
select date 'x'
select timestamp with time zone 'x'
select time 'x' at time zone 'y'
select numeric '1' 'x'
select "int4" '1', "nosuch" '1'
select 'a' 'b'
select generate_series(1,2) from t where generate_series(1,2) > 1
select coalesce(generate_series(1,2), 1)
select sum(generate_series(1,2))
select a from t limit generate_series(1,2)
select a from t group by generate_series(1,2)
update t set a = generate_series(1,2)
select * from t where a = generate_series(1,2)
# what else was compared
create table x(a int, constraint k unique (a, a))
create table x(a int, constraint k primary key (zz))
create table x(a int not null, b int null not null default 3 default 4)
create table x(a int) tablespace pg_default ;; create index xi on x(a) with (fillfactor=70) tablespace pg_default
create table x(a int) tablespace pg_global
create table x(tablespace text) ;; insert into x values ('tablespace') ;; select tablespace from x
create index on t(b) with (fillfactor=5)
create table ""(a int)
select 1 as ""
drop type if exists nosuch, nosuch2
drop function nosuch
drop function if exists nosuch
drop trigger if exists nosuch on nosuch
drop trigger nosuch on nosuch
drop rule if exists nosuch on t
drop domain if exists nosuch
drop procedure nosuch(int)
drop publication if exists nosuch
drop foreign table if exists nosuch
drop statistics nosuch
drop view t_b
drop materialized view t
select '{{1,2},{3}}'::int[]
select '{{1,2},3}'::int[]
select '{{{{{{{1}}}}}}}'::int[]
select '{{}}'::int[]
select '{{},{}}'::int[]
select '{{"a""b"}}'::text[]
select '{{a}'::text[]
select '{{a}}x'::text[]
select '{a}}'::text[]
select '{{a},}'::text[]
select E'ab\u12zz'
select E'ab\U00110000'
select E'ab\ud83dx'
select E'ab\ud83d\u0041'
select E'ab''\ude00'
with recursive x(a) as (select 1 union all (select a from x)) select * from x limit 3
with recursive x(a) as (select 1 union all select x.a + 1 from t left join x on x.a = t.a where x.a < 3) select * from x
with recursive x(a) as (select 1 union all select x.a + 1 from x left join t on x.a = t.a where x.a < 3) select * from x
with recursive x(a) as (select 1 union all select x.a + 1 from x right join t on x.a = t.a where x.a < 3) select * from x
with recursive x(a) as (select 1 union all select a + 1 from (select a from x) y where a < 3) select * from x
with recursive x(a) as (select 1 union all select (select max(t.a) from t) + a from x where a < 3) select * from x
with recursive x(a) as (select 1 union all select 2 where exists (select 1 from x)) select * from x
with recursive x(a) as (select 1 intersect select a from x) select * from x
with recursive x(a) as (select 1 union (select a from x intersect all select 1)) select * from x
with recursive x(a) as (select 1 union (select 1 except select a from x)) select * from x
with recursive x(a) as (with x as (select 1) select * from x) select * from x
with recursive a as (select 1), b as (select * from a) select * from b
with recursive x(a) as (select 1 union all select a + 1 from x where a < 3 offset 1) select * from x
declare c scroll cursor for select * from t for share
declare c cursor for update t set b = 'x'
declare c cursor for delete from t
prepare p as drop table t
prepare p as vacuum
execute nosuch(1)
prepare p(int, text) as select $1, $2 ;; execute p(1, 2) ;; execute p('2', true)
copy t(a) to stdout (format csv, force_quote (b))
copy t(a) from stdin (format csv, force_not_null (b))
copy t (a b) to stdout
copy t to
copy t to stdout (format)
copy t to stdout (format csv
copy
copy t to stdout csv quote
select sum(a) over (order by a range between 1.5 preceding and current row) from t
select distinct b::json from t
select distinct a from t order by - a
select 1::text::int::date
select 'a' union select 1
select null union select 'a' union select 1
select a from t where b between 'a' and 1
select sum() from t
select max() from t
select count() over () from t
select lower()
select lower(1, 2)
select nosuch(nosuch)
select * from nosuch(1)
select * from t join comp using (c)
select a from t where a = any (array(select 1, 2))
create table x(a float(54))
create table x(a bigint(3))
create table x(a nosch.t)
select 'x y z'::regclass
select 'a"b'::regclass
select 'a-b'::regclass
select '""'::regclass
select 'a..b'::regclass
select 'x y'::regrole
select 'x y'::regnamespace
select 'x y'::regproc
select to_regclass('x y z')
select sum(a) over (order by a rows '1.5' preceding) from t
select sum(a) over (order by a range 'x' preceding) from t
select sum(a) over (order by a rows interval '1' preceding) from t
select sum(a) over (order by a range between 1 preceding and 'x' following) from t
select sum(a) over (groups '1' preceding) from t
select sum(a) over (order by a rows unbounded following) from t
select sum(a) over (order by a rows between current row and unbounded preceding) from t
select sum(a) over (order by a rows between current row and 1 preceding) from t
select sum(a) over (order by a rows between 1 following and 1 preceding) from t
select sum(a) over (order by a rows between 1 following and current row) from t
select sum(a) over (order by a rows 1 following) from t
select sum(a) over (range 1 preceding) from t
select count(*) over w from t window w as (range 1 preceding)
select sum(a) over (w rows 1 preceding) from t window w as (order by a rows 1 preceding)
select has_table_privilege('t','foo')
select has_table_privilege('nope','foo')
select has_table_privilege('nobody','t','select')
select has_schema_privilege('sch','foo')
select has_schema_privilege('nope','usage')
select has_column_privilege('t','zz','select')
select has_column_privilege('pg_class','zz','select')
select has_column_privilege('t','a','delete')
select has_any_column_privilege('t','delete')
select has_sequence_privilege('t','select')
select has_sequence_privilege('sq','insert')
select has_database_privilege('nope','connect')
select has_function_privilege('nope()','execute')
select has_function_privilege('abs(foo)','execute')
select has_function_privilege('abs','execute')
select has_function_privilege('now()','foo')
select has_type_privilege('nope','usage')
select has_language_privilege('nope','usage')
select has_tablespace_privilege('nope','create')
select has_server_privilege('x','usage')
select has_foreign_data_wrapper_privilege('x','usage')
select pg_has_role('errrole','foo')
select pg_has_role('nobody','member')
select E'\xC3'
select E'ab\xC3\u0041', 1
select E'\uD83D\uDE00' + 1
select interval '3' day(3)
insert into t select 1,'x',1,now(),5
insert into t(a,b) select 1
update t set (a,b) = (1,2,3)
update t set (a,b) = (select 1)
update t set (a,b) = row(1,2,3)
update t set (b,c) = ((select 'x'),1,2)
insert into t values (1) on conflict (c) do update set zz = 1
insert into t values (1) on conflict (c) do update set b = excluded.zz
insert into t values (1) on conflict (c) do update set b = 'x'
insert into t select 1 on conflict do update set b = 'x'
select trim(1)
select trim(both 1 from 'x')
select ltrim(1)
select position(1 in 'x')
select extract(year from 1)
select extract(year from 'x')
select substring(1 from 1)
select overlay(1 placing 'x' from 1)
# assignment to elements
update arr set a[1] = 'x'
update arr set a['x'] = 1
update arr set a[1:2] = 'x'
update arr set a[1] = true
update arr set a[1:2] = 1
update arr set id = 1,\n    a[true] = 2
update arr set a[1] = zz
update arr set a[zz] = 1, id = 2
update arr set id[1] = 1
update arr set zz[1] = 1
update arr set a = '{}', a[1] = 1
update arr set a[1] = 1, a = '{}'
update arr set a[1] = default
update arr set a[null] = 1
update arr set a[null:] = '{1}' where id = 1
update arr set v[1] = 'abcd'
update arr set a[1:3] = '{1,2}'
update arr set a[2:1] = '{1,2}' where id = 1
update arr set a[:1] = '{1,2}' where id = 2
update arr set (a[1], a[2]) = (1)
insert into arr(id, a[1]) values (3, 'x')
insert into arr(id, a[1]) values (3)
insert into arr(id, a[1]) values (3, default)
insert into arr(id, a[1]) select 3, true
insert into arr(id, a[1:2]) select 3, 1
insert into arr(id, a, a[1]) values (3, null, 1)
insert into arr(id, zz[1]) values (3, 1)
insert into arr(id, a[1]) values (1, 1) on conflict (id) do update set a[1] = 'y'
# TABLE, rows, FROM
insert into t table zz
insert into t table
select (table t)
explain table zz
prepare x as table zz
declare x cursor for table zz
copy (table zz) to stdout
select zz.* is null from t
select * is null from t
select * from coalesce()
select * from coalesce(1, 'x')
select * from cast('x' as int)
select x.zz from nullif(1, 2) x
select * from greatest(1, 2) as f(a, b)
select * from nosuch(1)
select (1, 2) = any (select 1)
select (1, 2) = any (select 1, 2, 3)
# intervals and normal forms
select interval '1' year to day
select interval '1' hour to day
select interval '1 2 3' day to hour
select interval 'x' day to hour
select '1'::interval year to day
select normalize('a', foo)
select normalize('a', 'nfd')
select normalize('a', nfc, 1)
select normalize(1)
select 1 is normalized
select 'a' is foo normalized
select substring('abc' similar 'a')
select substring('abc' similar 'a' escape)
select substring('abc' similar 'a' escape 'bb')
select substring(1 similar 'a' escape 'b')
# hypothetical rows
select rank(1, 2) within group (order by a) from t
select rank() within group (order by a) from t
select rank(1) within group (order by a, b) from t
select rank('b') within group (order by a) from t
select rank(now()) within group (order by a) from t
select rank(1) from t
select rank(a) within group (order by a) from t
select a, dense_rank(b) within group (order by b) from t group by a, c
select rank(1) within group (order by a) over () from t
select rank(distinct 1) within group (order by a) from t
select cume_dist(sum(a)) within group (order by a) from t
select 1 from t where rank(1) within group (order by a) = 1
select percentile_disc(a) within group (order by a) from t
select rank(1) within group (order by zz) from t
# recursive terms
with recursive r(n) as (select 1 union all select n + 1.0 from r) select * from r
with recursive r(n, t) as (select 1, 'a'::varchar(5) union all select n + 1, t || 'b' from r) select * from r
with recursive r as (select 1 as n, null as x union all select n + 1, 2 from r) select * from r
with recursive r as (select 1 as n union all select n + 1, 2 from r) select * from r
with recursive r(n) as (values (1) union all select n + 1::bigint from r) select * from r
with recursive r(n) as (select 1 union all select 'x' from r) select * from r
with recursive r(n) as (select 1 union all select true from r) select * from r
# EXPLAIN of what is in parentheses
explain (select 1)
explain ((select 1) union (select 2))
explain (values (1))
explain (with a as (select 1) select * from a)
explain (table t)
explain (select zz)
explain analyze (select 1)
# VACUUM and ANALYZE
!vacuum pg_class
!vacuum analyze pg_class
analyze pg_catalog.pg_class (relname, relname)
analyze pg_class (zz)
analyze information_schema.tables
!vacuum information_schema.tables
!vacuum zz
# patterns, formats, places
select 'a' ~ 'a{256}'
select 'a' ~ 'a{300}'
select 'a' ~ 'a{3,2}'
select 'a' ~ 'a{1,300}'
select 'a' ~ 'a{1,x}'
select 'a' ~ 'a{1'
select 'a' ~ 'a{1,'
select format('%*2$s', 'a', 5)
select format('%1$*0$s', 5, 'a')
select array[]
select 1, array[1], ARRAY [ ]
select array[]::int[], array[] || 1
select @-5
select @ -5, @-5.5
select -@-5
select * from t order by a fetch first 1 row with ties for update
select (select a from t order by a limit x.n) from (values (-1)) x(n)
select (select a from t order by a offset x.n limit 1) from (values (-1)) x(n)
select a from t limit a
select a from t limit t.a
# Places in the second statement of a string
! select 1; create table x(a nosuch)
! select 1; create table x(a int default nosuch)
! select 1; create table x(a int, b int null not null)
! select 1; create table x(a int, primary key (a), primary key (a))
! create table x; select 1
# Temporary tables
create temp table public.x(a int)
create table x(a int) on commit drop
create temp table x(a int references t)
alter table t set schema pg_temp
