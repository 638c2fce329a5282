//! Statements against a catalog in memory: names, errors and notices are those of PostgreSQL 15.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use sqlparser::parser::Parser;

use super::*;
use crate::catalog::{
    BOOTSTRAP_ROLE, ConstraintKind, DEFAULT_DATABASE, IndexState, Visit, bootstrap_writes, load_snapshot,
};
use crate::dialect::StratosDialect;

#[derive(Default)]
pub(crate) struct Memory(pub BTreeMap<Bytes, Bytes>);

impl CatalogReader for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.0.get(key).cloned())
    }
    fn scan_prefix(&self, prefix: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        for (key, value) in &self.0 {
            if key.starts_with(prefix) {
                visit(key, value)?;
            }
        }
        Ok(())
    }
}

pub(crate) struct Db {
    store: Memory,
    oids: OidPool,
    role: u32,
    pub(crate) in_block: bool,
    path: Vec<String>,
}

impl Db {
    pub(crate) fn new() -> Db {
        let oids = OidPool::default();
        oids.add(0..100_000).unwrap();
        Db {
            store: Memory(bootstrap_writes().unwrap().into_iter().collect()),
            oids,
            role: BOOTSTRAP_ROLE,
            in_block: false,
            path: vec!["public".into()],
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        load_snapshot(&self.store, DEFAULT_DATABASE).unwrap()
    }

    fn run(&mut self, sql: &str) -> Result<DdlOutcome> {
        let statement = match parse_extra(sql) {
            Some(extra) => DdlStatement::Extra(extra?),
            None => DdlStatement::Sql(Box::new(
                Parser::parse_sql(&StratosDialect::default(), sql)
                    .map_err(|e| Error::new(ErrorKind::SyntaxError, format!("{sql}: {e}")))?
                    .remove(0),
            )),
        };
        let before = Arc::new(self.snapshot());
        let mut editor = SnapshotEditor::new(&before);
        let context = DdlContext {
            role: self.role,
            search_path: &self.path,
            temporary_schema: "pg_temp_1",
            creates_temporary: false,
            in_transaction_block: self.in_block,
            in_pipeline: false,
            text: sql,
            oids: &self.oids,
            binder: &Syntactic,
            verifier: &|password| Ok(format!("verifier of {password}")),
            sessions: &|_| 0,
            awaits_checks: &|_| false,
            sequence_value: &|sequence| Ok(sequence.first_value()),
            check_canceled: &|| Ok(()),
            reader: &self.store,
        };
        let outcome = execute(&statement, &mut editor, &context)?;
        let (after, writes) = editor.finish();
        for (key, value) in writes {
            match value {
                Some(value) => self.store.0.insert(key, value),
                None => self.store.0.remove(&key),
            };
        }
        // What the transaction sees and what is loaded afterwards must be the same catalog.
        let loaded = self.snapshot();
        assert_eq!(after.tables, loaded.tables, "{sql}");
        assert_eq!(after.sequences, loaded.sequences, "{sql}");
        assert_eq!(after.schemas, loaded.schemas, "{sql}");
        assert_eq!(after.relations, loaded.relations, "{sql}");
        assert_eq!(after.index_tables, loaded.index_tables, "{sql}");
        assert_eq!(after.comments, loaded.comments, "{sql}");
        Ok(outcome)
    }

    pub(crate) fn ok(&mut self, sql: &str) -> DdlOutcome {
        self.run(sql).unwrap_or_else(|e| panic!("{sql}: {e} {:?}", e.detail()))
    }

    fn notices(&mut self, sql: &str) -> Vec<String> {
        let outcome = self.ok(sql);
        outcome.notices.into_iter().map(|n| n.message).collect()
    }

    #[track_caller]
    fn fails(&mut self, sql: &str, kind: ErrorKind, message: &str) -> Error {
        match self.run(sql) {
            Ok(_) => panic!("succeeded: {sql}"),
            Err(error) => {
                assert_eq!((error.kind(), error.message()), (kind, message), "{sql}");
                error
            }
        }
    }

    fn table(&self, name: &str) -> Arc<Table> {
        match self.snapshot().find_relation(None, name, &self.path) {
            Some(Relation::Table(table)) => table,
            other => panic!("{name}: {other:?}"),
        }
    }

    fn constraints(&self, table: &str) -> Vec<String> {
        self.table(table).constraints.iter().map(|c| c.name.clone()).collect()
    }
}

fn two_tables() -> Db {
    let mut db = Db::new();
    db.ok("create table p(a int, b text, primary key(a))");
    db.ok("create unique index on p(b desc, a nulls first)");
    db.ok("create table c(id serial primary key, x int references p(a) on delete cascade, y varchar(10) default 'q' \
           check (length(y)>2), z numeric(10,2) not null default 0, i int generated always as identity, \
           check (x > 0 and id < 5), unique(y,z))");
    db
}

#[test]
fn generated_names_are_postgres_s() {
    let db = two_tables();
    assert_eq!(db.constraints("p"), ["p_pkey"]);
    assert_eq!(db.constraints("c"), ["c_pkey", "c_y_z_key", "c_y_check", "c_check", "c_x_fkey"]);
    let p = db.table("p");
    assert_eq!(p.indexes[1].name, "p_b_a_idx");
    assert_eq!(p.indexes[1].state, IndexState::DeleteOnly);
    assert!(p.indexes[1].columns[0].descending && p.indexes[1].columns[0].nulls_first);
    assert!(!p.indexes[1].columns[1].descending && p.indexes[1].columns[1].nulls_first);
    let c = db.table("c");
    let defaults: Vec<Option<&str>> = c.columns.iter().map(|c| c.default.as_ref().map(|d| d.sql.as_str())).collect();
    assert_eq!(
        defaults,
        [Some("nextval('public.c_id_seq'::regclass)"), None, Some("'q'::character varying"), Some("0"), None]
    );
    let snapshot = db.snapshot();
    let sequences: Vec<&str> = snapshot.sequences.values().map(|s| s.name.as_str()).collect();
    assert_eq!(sequences, ["c_id_seq", "c_i_seq"]);
    assert_eq!(snapshot.sequences.values().next().unwrap().max_value, i64::from(i32::MAX));
    assert!(c.columns[0].not_null && c.columns[4].not_null && !c.columns[1].not_null);
}

#[test]
fn drop_follows_dependencies() {
    let mut db = two_tables();
    let error = db.fails(
        "drop table p",
        ErrorKind::DependentObjectsStillExist,
        "cannot drop table p because other objects depend on it",
    );
    assert_eq!(error.detail(), Some("constraint c_x_fkey on table c depends on table p"));
    assert_eq!(error.hint(), Some("Use DROP ... CASCADE to drop the dependent objects too."));
    assert_eq!(db.notices("drop table p cascade"), ["drop cascades to constraint c_x_fkey on table c"]);
    assert!(!db.constraints("c").contains(&"c_x_fkey".to_string()));
    let outcome = db.ok("drop table c");
    assert!(matches!(outcome.jobs[..], [Job::DropStorage { .. }]));
    assert!(db.snapshot().sequences.is_empty() && db.snapshot().relations.is_empty());
}

#[test]
fn missing_objects() {
    let mut db = two_tables();
    use ErrorKind::{InvalidSchemaName, UndefinedObject, UndefinedTable, WrongObjectType};
    assert_eq!(db.notices("drop table if exists nope"), ["table \"nope\" does not exist, skipping"]);
    db.fails("drop table nope", UndefinedTable, "table \"nope\" does not exist");
    db.fails("drop index nope", UndefinedObject, "index \"nope\" does not exist");
    db.fails("drop sequence nope", UndefinedTable, "sequence \"nope\" does not exist");
    db.fails("drop schema nope", InvalidSchemaName, "schema \"nope\" does not exist");
    let error = db.fails("drop index c", WrongObjectType, "\"c\" is not an index");
    assert_eq!(error.hint(), Some("Use DROP TABLE to remove a table."));
    db.fails("drop table c_pkey", WrongObjectType, "\"c_pkey\" is not a table");
    db.fails(
        "drop index c_pkey",
        ErrorKind::DependentObjectsStillExist,
        "cannot drop index c_pkey because constraint c_pkey on table c requires it",
    );
    let error = db.fails(
        "drop sequence c_id_seq",
        ErrorKind::DependentObjectsStillExist,
        "cannot drop sequence c_id_seq because other objects depend on it",
    );
    assert_eq!(error.detail(), Some("default value for column id of table c depends on sequence c_id_seq"));
    db.fails("create table nos.d(a int)", InvalidSchemaName, "schema \"nos\" does not exist");
    db.fails("create table d(a nosuchtype)", UndefinedObject, "type \"nosuchtype\" does not exist");
}

#[test]
fn bad_definitions() {
    let mut db = two_tables();
    use ErrorKind::*;
    db.fails("create table c(a int)", DuplicateTable, "relation \"c\" already exists");
    assert_eq!(db.notices("create table if not exists c(a int)"), ["relation \"c\" already exists, skipping"]);
    db.fails("create table d(a int, a int)", DuplicateColumn, "column \"a\" specified more than once");
    let error = db.fails(
        "create table d(a int primary key, b int primary key)",
        InvalidTableDefinition,
        "multiple primary keys for table \"d\" are not allowed",
    );
    assert!(error.position().is_some());
    db.fails("create table d(a int references nope(x))", UndefinedTable, "relation \"nope\" does not exist");
    db.fails(
        "create table d(a text references p(b))",
        InvalidForeignKey,
        "there is no unique constraint matching given keys for referenced table \"p\"",
    );
    let error = db.fails(
        "create table d(a text references p(a))",
        DatatypeMismatch,
        "foreign key constraint \"d_a_fkey\" cannot be implemented",
    );
    assert_eq!(error.detail(), Some("Key columns \"a\" and \"a\" are of incompatible types: text and integer."));
    db.fails(
        "create table d(a int references p(zz))",
        UndefinedColumn,
        "column \"zz\" referenced in foreign key constraint does not exist",
    );
    db.fails(
        "create table d(a int, b int, foreign key (a,b) references p)",
        InvalidForeignKey,
        "number of referencing and referenced columns for foreign key disagree",
    );
    let error =
        db.fails("create table d(a int, primary key(q))", UndefinedColumn, "column \"q\" named in key does not exist");
    assert_eq!(error.position(), Some(23));
    let error = db.fails("create table d(a int, check (q > 1))", UndefinedColumn, "column \"q\" does not exist");
    assert_eq!(error.position(), Some(30));
    db.fails(
        "create table e(a int not null null)",
        SyntaxError,
        "conflicting NULL/NOT NULL declarations for column \"a\" of table \"e\"",
    );
    db.fails(
        "create table e(a int generated always as identity default 3)",
        SyntaxError,
        "both default and identity specified for column \"a\" of table \"e\"",
    );
    db.fails(
        "create table e(a int default nope)",
        FeatureNotSupported,
        "cannot use column reference in DEFAULT expression",
    );
    db.fails(
        "create table e(a int default (select 1))",
        FeatureNotSupported,
        "cannot use subquery in DEFAULT expression",
    );
    db.fails("create table e(a varchar(0))", InvalidParameterValue, "length for type varchar must be at least 1");
    db.fails(
        "create table e(a numeric(2000,1))",
        InvalidParameterValue,
        "NUMERIC precision 2000 must be between 1 and 1000",
    );
    db.fails(
        "create table e(a int, primary key(a,a))",
        DuplicateColumn,
        "column \"a\" appears twice in primary key constraint",
    );
    db.fails(
        "create table e(tableoid int)",
        DuplicateColumn,
        "column name \"tableoid\" conflicts with a system column name",
    );
    db.fails("create table pg_catalog.d(a int)", InsufficientPrivilege, "permission denied to create \"pg_catalog.d\"");
    db.fails("create schema pg_foo", ReservedName, "unacceptable schema name \"pg_foo\"");
    db.ok("create table e(a int, unique(a), unique(a), primary key(a))");
    assert_eq!(db.constraints("e"), ["e_pkey"]);
}

#[test]
fn unsupported_clauses_are_named() {
    let mut db = Db::new();
    for (sql, message) in [
        ("create global table d(a int)", "GLOBAL is not supported"),
        ("create table d(a int) partition by range (a)", "PARTITION BY is not supported"),
        ("create table d(a int generated always as (1+1) stored)", "generated column is not supported"),
        (
            "create table d(a int) with (autovacuum_enabled=false)",
            "storage parameter \"autovacuum_enabled\" is not supported",
        ),
        ("grant select on d to public", "GRANT is not supported"),
        ("create table d(a inet)", "type inet is not supported"),
    ] {
        db.fails(sql, ErrorKind::FeatureNotSupported, message);
    }
    assert!(db.notices("create table d(a int) with (fillfactor=100)").is_empty());
    assert!(db.notices("create table e(a int) with (fillfactor=70)").is_empty());
}

#[test]
fn alter_table_errors() {
    let mut db = two_tables();
    use ErrorKind::*;
    db.fails("alter table c add column x int", DuplicateColumn, "column \"x\" of relation \"c\" already exists");
    db.fails("alter table c drop column nope", UndefinedColumn, "column \"nope\" of relation \"c\" does not exist");
    db.fails("alter table c rename column nope to b", UndefinedColumn, "column \"nope\" does not exist");
    db.fails("alter table c rename column y to z", DuplicateColumn, "column \"z\" of relation \"c\" already exists");
    db.fails("alter table c rename to p", DuplicateTable, "relation \"p\" already exists");
    db.fails("alter table nope add column a int", UndefinedTable, "relation \"nope\" does not exist");
    assert_eq!(
        db.notices("alter table if exists nope add column a int"),
        ["relation \"nope\" does not exist, skipping"]
    );
    db.fails(
        "alter table c drop constraint nope",
        UndefinedObject,
        "constraint \"nope\" of relation \"c\" does not exist",
    );
    db.fails("alter table c alter id drop not null", InvalidTableDefinition, "column \"id\" is in a primary key");
    db.fails(
        "alter table c alter i set default 3",
        SyntaxError,
        "column \"i\" of relation \"c\" is an identity column",
    );
    db.fails(
        "alter table c add primary key (y)",
        InvalidTableDefinition,
        "multiple primary keys for table \"c\" are not allowed",
    );
    db.fails(
        "alter table c add constraint c_pkey check (id>0)",
        DuplicateObject,
        "constraint \"c_pkey\" for relation \"c\" already exists",
    );
    db.fails("alter table c owner to nope", UndefinedObject, "role \"nope\" does not exist");
    let error = db.fails(
        "alter table p drop column a",
        DependentObjectsStillExist,
        "cannot drop column a of table p because other objects depend on it",
    );
    assert_eq!(error.detail(), Some("constraint c_x_fkey on table c depends on column a of table p"));
}

#[test]
fn alter_table_jobs() {
    let mut db = Db::new();
    db.ok("create table t(a int, b text)");
    let storage = db.table("t").storage;
    let outcome = db.ok("alter table t add primary key (a)");
    assert!(
        matches!(&outcome.jobs[..], [Job::Rewrite { from, to, columns }, Job::DropStorage { storage: old, .. }]
            if from.storage == storage && to.storage != storage && columns.is_empty() && *old == storage && to.has_primary_key()),
        "{:?}",
        outcome.jobs
    );
    let outcome = db.ok("alter table t alter b set not null, add check (b <> ''), add unique (b)");
    assert!(matches!(
        &outcome.jobs[..],
        [
            Job::Validate { what: Validation::NotNull { attnum: 2 }, .. },
            Job::Validate { what: Validation::Check { .. }, .. },
            Job::BuildIndex { online: false, .. }
        ]
    ));
    assert!(db.ok("alter table t add c varchar(5)").jobs.is_empty());
    assert!(db.ok("alter table t alter c type varchar(9)").jobs.is_empty());
    assert!(db.ok("alter table t alter c type text").jobs.is_empty());
    let outcome = db.ok("alter table t alter c type int using length(c)");
    assert!(matches!(&outcome.jobs[0], Job::Rewrite { columns, .. }
        if matches!(&columns[0].value, RewriteValue::Expression(sql) if sql == "length(c)")));
    let outcome = db.ok("alter table t drop column a");
    assert!(matches!(&outcome.jobs[0], Job::Rewrite { to, .. } if !to.has_primary_key()));
    assert_eq!(db.constraints("t"), ["t_b_check", "t_b_key"]);
    db.ok("alter table t add column a int");
    assert_eq!(db.table("t").columns.last().unwrap().attnum, 4);
    let outcome = db.ok("truncate t");
    assert!(matches!(outcome.jobs[..], [Job::DropStorage { .. }]));
}

#[test]
fn renames_reach_expressions() {
    let mut db = two_tables();
    db.ok("alter table c rename column x to \"X y\"");
    let c = db.table("c");
    let check = c.checks().find(|(c, _)| c.name == "c_check").unwrap().1;
    assert_eq!(check.sql, "\"X y\" > 0 AND id < 5");
    db.ok("alter sequence c_id_seq rename to s2");
    assert_eq!(db.table("c").columns[0].default.as_ref().unwrap().sql, "nextval('public.s2'::regclass)");
    db.ok("alter schema public rename to other");
    db.path = vec!["other".into()];
    let c = db.table("c");
    assert_eq!(c.columns[0].default.as_ref().unwrap().sql, "nextval('other.s2'::regclass)");
    assert_eq!(c.qualified_name(), "other.c");
    db.ok("alter index c_pkey rename to c_key");
    assert_eq!(db.constraints("c")[0], "c_key");
    db.ok("alter table c rename constraint c_key to c_pkey");
    assert_eq!(db.table("c").indexes[0].name, "c_pkey");
}

#[test]
fn sequences() {
    let mut db = Db::new();
    use ErrorKind::InvalidParameterValue as Invalid;
    db.fails("create sequence ss increment 0", Invalid, "INCREMENT must not be zero");
    db.fails("create sequence ss minvalue 5 maxvalue 3", Invalid, "MINVALUE (5) must be less than MAXVALUE (3)");
    db.fails("create sequence ss start 0", Invalid, "START value (0) cannot be less than MINVALUE (1)");
    db.fails("create sequence ss as text", Invalid, "sequence type must be smallint, integer, or bigint");
    db.fails("create sequence ss cache 0", Invalid, "CACHE (0) must be greater than zero");
    db.fails(
        "create sequence ss as smallint maxvalue 100000",
        Invalid,
        "MAXVALUE (100000) is out of range for sequence data type smallint",
    );
    db.ok("create sequence s increment by -2 cycle");
    let s = db.snapshot().sequences.values().next().unwrap().clone();
    assert_eq!((s.increment, s.max_value, s.start, s.cycle), (-2, -1, -1, true));
    db.fails("alter sequence s restart with 5", Invalid, "RESTART value (5) cannot be greater than MAXVALUE (-1)");
    db.ok("alter sequence s restart with -7 no cycle");
    let s2 = db.snapshot().sequences.values().next().unwrap().clone();
    assert!(s2.storage != s.storage && !s2.cycle);
    // Where it stands is no row yet: whoever takes values writes it, in a transaction of its own.
    let key = crate::catalog::keys::sequence_value(DEFAULT_DATABASE, s2.storage);
    assert_eq!(s2.first_value(), -7);
    assert!(!db.store.0.contains_key(&key));
    db.ok("drop sequence s");
    assert!(db.snapshot().sequence_storages().is_empty());
}

#[test]
fn schemas_and_databases() {
    let mut db = Db::new();
    db.ok("create schema s1");
    db.ok("create table s1.t(a serial)");
    let error = db.fails(
        "drop schema s1",
        ErrorKind::DependentObjectsStillExist,
        "cannot drop schema s1 because other objects depend on it",
    );
    assert_eq!(error.detail(), Some("table s1.t depends on schema s1"));
    assert_eq!(db.notices("drop schema s1 cascade"), ["drop cascades to table s1.t"]);
    assert!(db.snapshot().sequences.is_empty());
    db.fails("create database stratos", ErrorKind::DuplicateDatabase, "database \"stratos\" already exists");
    db.fails("drop database stratos", ErrorKind::ObjectInUse, "cannot drop the currently open database");
    let outcome = db.ok("create database d2 owner stratos encoding 'utf8'");
    let [Job::CreateDatabase { database }] = outcome.jobs[..] else { panic!("{:?}", outcome.jobs) };
    let other = load_snapshot(&db.store, database).unwrap();
    assert!(other.schema_oid("public").is_some());
    db.ok("drop database d2");
    assert!(load_snapshot(&db.store, database).is_err());
    assert!(!db.store.0.keys().any(|k| k.starts_with(&crate::catalog::keys::schemas(database))));
    db.in_block = true;
    db.fails(
        "create database d3",
        ErrorKind::ActiveSqlTransaction,
        "CREATE DATABASE cannot run inside a transaction block",
    );
}

#[test]
fn roles_and_ownership() {
    let mut db = Db::new();
    db.ok("create user u1 with password 'x'");
    // A hash that could be used as the password is none; what only begins like a verifier is one.
    let hash = format!("md5{}", "0123456789abcdef".repeat(2));
    db.fails(
        &format!("create user hashed password '{hash}'"),
        ErrorKind::FeatureNotSupported,
        "MD5 hash of a password is not supported",
    );
    db.ok("create user almost password 'SCRAM-SHA-256$4096:AAAA'");
    let u1 = db.snapshot().role_named("u1").unwrap().clone();
    assert!(u1.login && !u1.superuser);
    assert_eq!(u1.verifier.as_deref(), Some("verifier of x"));
    db.fails("create role u1", ErrorKind::DuplicateObject, "role \"u1\" already exists");
    db.fails("create role pg_foo", ErrorKind::ReservedName, "role name \"pg_foo\" is reserved");
    db.fails("drop role stratos", ErrorKind::ObjectInUse, "current user cannot be dropped");
    db.ok("create table t(a int)");
    db.role = u1.oid;
    db.fails("drop table t", ErrorKind::InsufficientPrivilege, "must be owner of table t");
    db.fails("create role u2", ErrorKind::InsufficientPrivilege, "permission denied to create role");
    db.role = BOOTSTRAP_ROLE;
    db.ok("alter table t owner to u1");
    db.fails(
        "drop role u1",
        ErrorKind::DependentObjectsStillExist,
        "role \"u1\" cannot be dropped because some objects depend on it",
    );
    db.ok("alter role u1 rename to u3");
    assert!(db.snapshot().role_named("u3").is_some());
}

#[test]
fn online_index_steps() {
    let mut db = Db::new();
    db.ok("create table t(a int)");
    db.ok("create index on t(a)");
    let index = db.table("t").indexes[1].clone();
    assert_eq!((index.name.as_str(), index.state), ("t_a_idx", IndexState::DeleteOnly));
    let mut editor = SnapshotEditor::new(&Arc::new(db.snapshot()));
    assert_eq!(advance_index(&mut editor, index.oid).unwrap(), Some(IndexState::WriteOnly));
    assert_eq!(advance_index(&mut editor, index.oid).unwrap(), Some(IndexState::Public));
    assert!(abandon_index(&mut editor, index.oid).unwrap().is_some());
    assert_eq!(advance_index(&mut editor, index.oid).unwrap(), None);
    db.in_block = true;
    let outcome = db.ok("create index on t(a)");
    assert!(matches!(outcome.jobs[..], [Job::BuildIndex { online: false, .. }]));
    assert_eq!(db.table("t").indexes[2].name, "t_a_idx1");
    assert_eq!(db.table("t").indexes[2].state, IndexState::Public);
}

#[test]
fn comments() {
    let mut db = two_tables();
    db.ok("comment on table p is 'tables'");
    db.ok("comment on column c.x is 'columns'");
    db.ok("comment on sequence c_id_seq is 'sequences'");
    db.ok("comment on constraint c_check on c is 'constraints'");
    db.ok("comment on schema public is 'schemas'");
    assert_eq!(db.table("p").comment.as_deref(), Some("tables"));
    assert_eq!(db.table("c").columns[1].comment.as_deref(), Some("columns"));
    // Beside these there is one on the database for maintenance.
    assert_eq!(db.snapshot().comments.len(), 4);
    db.ok("drop table c");
    assert_eq!(db.snapshot().comments.len(), 2);
    db.fails(
        "comment on column p.nope is 'x'",
        ErrorKind::UndefinedColumn,
        "column \"nope\" of relation \"p\" does not exist",
    );
}

#[test]
fn self_reference_and_truncate() {
    let mut db = Db::new();
    db.ok("create table t(id int primary key, parent int references t)");
    let t = db.table("t");
    let ConstraintKind::ForeignKey(key) = &t.constraints[1].kind else { panic!() };
    assert_eq!((key.table, key.index), (t.oid, t.indexes[0].oid));
    db.ok("create table u(t int references t)");
    let error = db.fails(
        "truncate t",
        ErrorKind::FeatureNotSupported,
        "cannot truncate a table referenced in a foreign key constraint",
    );
    assert_eq!(error.detail(), Some("Table \"u\" references \"t\"."));
    assert_eq!(db.notices("truncate t cascade"), ["truncate cascades to table \"u\""]);
    assert_eq!(db.ok("truncate t, u restart identity").jobs.len(), 2);
}

#[test]
fn pgbench_initializes() {
    let mut db = Db::new();
    db.ok("drop table if exists pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers");
    for sql in [
        "create table pgbench_history(tid int,bid int,aid    int,delta int,mtime timestamp,filler char(22))",
        "create table pgbench_tellers(tid int not null,bid int,tbalance int,filler char(84)) with (fillfactor=100)",
        "create table pgbench_accounts(aid    int not null,bid int,abalance int,filler char(84)) with (fillfactor=100)",
        "create table pgbench_branches(bid int not null,bbalance int,filler char(88)) with (fillfactor=100)",
        "truncate table pgbench_accounts, pgbench_branches, pgbench_history, pgbench_tellers",
        "alter table pgbench_branches add primary key (bid)",
        "alter table pgbench_tellers add primary key (tid)",
        "alter table pgbench_accounts add primary key (aid)",
        "alter table pgbench_tellers add constraint pgbench_tellers_bid_fkey foreign key (bid) references pgbench_branches",
    ] {
        assert!(db.notices(sql).is_empty(), "{sql}");
    }
    assert_eq!(db.constraints("pgbench_tellers"), ["pgbench_tellers_pkey", "pgbench_tellers_bid_fkey"]);
}

#[test]
fn what_frameworks_create() {
    let mut db = Db::new();
    for sql in [
        r#"CREATE TABLE "shop_item" ("id" bigint NOT NULL PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY, "name" varchar(10) NOT NULL UNIQUE, "made" timestamp with time zone NULL)"#,
        r#"CREATE INDEX "shop_item_made_1" ON "shop_item" ("made")"#,
        r#"CREATE TABLE "users" ("id" bigserial primary key, "email" character varying, "created_at" timestamp(6) NOT NULL, "uid" uuid DEFAULT gen_random_uuid() NOT NULL)"#,
        r#"CREATE UNIQUE INDEX "index_users_on_email" ON "users" ("email")"#,
        r#"ALTER TABLE "users" ADD "item_id" bigint"#,
        r#"ALTER TABLE "users" ADD CONSTRAINT "fk_rails_1" FOREIGN KEY ("item_id") REFERENCES "shop_item" ("id")"#,
        r#"ALTER TABLE "users" ALTER COLUMN "email" SET NOT NULL, ALTER COLUMN "email" SET DEFAULT ''"#,
        r#"ALTER TABLE "users" RENAME COLUMN "email" TO "mail""#,
        r#"ALTER TABLE IF EXISTS users DROP COLUMN IF EXISTS uid CASCADE"#,
        "CREATE SCHEMA IF NOT EXISTS app AUTHORIZATION stratos",
        "ALTER TABLE users SET SCHEMA app",
        "CREATE SEQUENCE app.s START WITH 10 OWNED BY app.users.id",
        "ALTER TABLE app.users ALTER id DROP DEFAULT",
        "ALTER TABLE app.users ALTER COLUMN created_at TYPE timestamptz USING created_at AT TIME ZONE 'UTC'",
        "ALTER TABLE shop_item SPLIT AT VALUES (100), (200)",
        "ALTER TABLE shop_item ALTER id SET GENERATED ALWAYS",
        "ALTER TABLE shop_item ALTER id DROP IDENTITY",
        "CREATE TABLE copy (LIKE shop_item)",
    ] {
        db.ok(sql);
    }
    assert_eq!(db.table("copy").columns.len(), 3);
    db.ok("ALTER TABLE copy ADD CONSTRAINT x FOREIGN KEY (id) REFERENCES shop_item (id) DEFERRABLE INITIALLY DEFERRED");
    let deferral = |db: &Db| {
        let copy = db.table("copy");
        let (_, key) = copy.foreign_keys().find(|(c, _)| c.name == "x").unwrap();
        (key.deferrable, key.initially_deferred)
    };
    assert_eq!(deferral(&db), (true, true));
    db.ok("ALTER TABLE copy ALTER CONSTRAINT x DEFERRABLE");
    assert_eq!(deferral(&db), (true, false));
    db.ok("ALTER TABLE copy ALTER CONSTRAINT x");
    assert_eq!(deferral(&db), (false, false));
    db.fails(
        "ALTER TABLE copy ALTER CONSTRAINT x NOT DEFERRABLE INITIALLY DEFERRED",
        ErrorKind::SyntaxError,
        "constraint declared INITIALLY DEFERRED must be DEFERRABLE",
    );
}
