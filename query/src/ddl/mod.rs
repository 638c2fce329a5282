//! Statements that change the catalog.
//!
//! [`execute`] goes from the syntax tree to descriptor changes in a [`SnapshotEditor`]; nothing is done to rows here. What
//! must happen to rows (filling an index, checking existing rows, a rewrite, freeing storage) is handed back as [`Job`]s,
//! which the executor carries out in the order given. All of it is transactional: the changes are writes of the session's
//! transaction, and so are the records of storage to be freed. Only an index that is built beside writers is filled after
//! the commit, in transactions of its own.
//!
//! Before the first DDL statement of a transaction the session locks [`keys::version`](crate::catalog::keys::version) in
//! the store and takes a fresh view; then DDL statements of concurrent transactions run one after another, each seeing what
//! the one before left.

mod absent;
mod alter_column;
mod alter_drop;
mod alter_table;
mod comment;
mod constraints;
mod create_table;
mod databases;
mod drop;
mod expressions;
mod identity;
mod indexes;
mod job;
mod like;
mod parse;
mod parse_alter;
mod places;
mod rename;
mod roles;
mod sequences;
mod types;

use std::sync::Arc;

use sqlparser::ast::{self, Ident, ObjectName, Statement};
use sqlparser::tokenizer::Location;
use stratos_types::{Error, ErrorKind, Result};

use crate::catalog::{
    CatalogReader, OidPool, Relation, Role, Schema, Sequence, Snapshot, SnapshotEditor, Table, is_temporary_name,
    resolve_temporary,
};

pub use absent::{AbsentKind, DropAbsent};
pub(crate) use constraints::must_be_indexable;
pub(crate) use create_table::check_fill_factor;
pub use expressions::{
    Constant, DefaultValue, ExpressionBinder, Syntactic, mentioned_columns, parse_expression, rename_columns_in,
};
pub(crate) use expressions::{name_in_string, put_values, sequences_in as sequences_named_in};
pub use indexes::{abandon_index, advance_index};
pub use job::{Job, RewriteColumn, RewriteValue, Validation};
pub use parse::{DdlStatement, Extra, parse_extra};
pub use parse_alter::{IdentityChange, SequenceChange, TableAction};
pub use types::column_type;

/// What a DDL statement may look at, apart from the catalog.
pub struct DdlContext<'a> {
    /// OID of the current role.
    pub role: u32,
    /// Schemas in order of search, existing ones only, without the implicit `pg_catalog`.
    pub search_path: &'a [String],
    /// The schema of the session's temporary relations, which may not be there yet.
    pub temporary_schema: &'a str,
    /// Whether relations are made there that are given no schema.
    pub creates_temporary: bool,
    /// Whether the statement runs inside BEGIN … COMMIT, or with others in one simple query.
    pub in_transaction_block: bool,
    /// Others of its pipeline ran before it.
    pub in_pipeline: bool,
    /// The whole query string that the statement was parsed from, for positions in errors.
    pub text: &'a str,
    /// OIDs to give out; refilled by the caller while [`OidPool::is_low`].
    pub oids: &'a OidPool,
    /// Checks and evaluates DEFAULT and CHECK expressions.
    pub binder: &'a dyn ExpressionBinder,
    /// Makes the SCRAM-SHA-256 verifier of a password.
    pub verifier: &'a dyn Fn(&str) -> Result<String>,
    /// Number of sessions of a database, this one excluded.
    pub sessions: &'a dyn Fn(u32) -> usize,
    /// Whether rows of a table, by its OID, still have deferred constraints to be checked.
    pub awaits_checks: &'a dyn Fn(u32) -> bool,
    /// Where a sequence stands: its last value, or the first one that it will give.
    pub sequence_value: &'a dyn Fn(&Sequence) -> Result<i64>,
    /// The error of a statement that was stopped, or is out of its time.
    pub check_canceled: &'a dyn Fn() -> Result<()>,
    /// The store as of the statement, to find what a dropped database holds.
    pub reader: &'a dyn CatalogReader,
}

/// What became of a DDL statement.
#[derive(Debug, Default)]
pub struct DdlOutcome {
    /// Command tag, `CREATE TABLE`.
    pub tag: &'static str,
    /// Notices in order.
    pub notices: Vec<Notice>,
    /// What the executor has to do.
    pub jobs: Vec<Job>,
}

/// A NOTICE to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its condition; none is 00000.
    pub kind: Option<ErrorKind>,
    /// The message.
    pub message: String,
    /// A second line.
    pub detail: Option<String>,
}

impl Notice {
    /// A warning; else a notice.
    pub fn is_warning(&self) -> bool {
        matches!(
            self.kind,
            Some(ErrorKind::Warning | ErrorKind::ActiveSqlTransaction | ErrorKind::NoActiveSqlTransaction)
        )
    }
}

/// One statement being carried out.
pub(crate) struct Ddl<'a, 'e> {
    pub context: &'a DdlContext<'a>,
    pub editor: &'e mut SnapshotEditor,
    pub notices: Vec<Notice>,
    pub jobs: Vec<Job>,
}

/// Carries out a DDL statement on the editor's snapshot.
///
/// # Errors
/// Postgres's conditions for the statement, and 0A000 for what is not supported. The editor is then in an undefined state
/// and must be thrown away.
pub fn execute(statement: &DdlStatement, editor: &mut SnapshotEditor, context: &DdlContext<'_>) -> Result<DdlOutcome> {
    let mut ddl = Ddl { context, editor, notices: Vec::new(), jobs: Vec::new() };
    let tag = match statement {
        DdlStatement::Sql(statement) => ddl.statement(statement)?,
        DdlStatement::Extra(extra) => ddl.extra(extra)?,
    };
    Ok(DdlOutcome { tag, notices: ddl.notices, jobs: ddl.jobs })
}

/// Whether [`execute`] is the one to carry out a statement (also when it then answers 0A000).
pub fn is_ddl(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::CreateTable(_)
            | Statement::CreateIndex(_)
            | Statement::CreateRole(_)
            | Statement::CreateUser(_)
            | Statement::AlterTable(_)
            | Statement::AlterSchema(_)
            | Statement::AlterIndex { .. }
            | Statement::AlterRole { .. }
            | Statement::Drop { .. }
            | Statement::Comment { .. }
            | Statement::CreateSchema { .. }
            | Statement::CreateDatabase { .. }
            | Statement::CreateSequence { .. }
            | Statement::Truncate(_)
            | Statement::Grant(_)
            | Statement::Revoke(_)
    )
}

impl Ddl<'_, '_> {
    fn statement(&mut self, statement: &Statement) -> Result<&'static str> {
        match statement {
            Statement::CreateTable(create) => self.create_table(create),
            Statement::CreateIndex(create) => self.create_index(create),
            Statement::CreateRole(create) => self.create_role(create),
            Statement::AlterTable(alter) => self.alter_table(alter),
            Statement::AlterSchema(alter) => self.alter_schema(alter),
            Statement::AlterIndex { name, operation } => self.alter_index(name, operation),
            Statement::AlterRole { name, operation } => self.alter_role(name, operation),
            Statement::Drop { .. } => self.drop(statement),
            Statement::Comment { .. } => self.comment(statement),
            Statement::CreateSchema { .. } => self.create_schema(statement),
            Statement::CreateDatabase { .. } => self.create_database_statement(statement),
            Statement::CreateSequence { .. } => self.create_sequence(statement),
            Statement::Truncate(truncate) => self.truncate(truncate),
            // There are no privileges apart from ownership, so that granting or revoking one could only pretend.
            Statement::Grant(_) => Err(Error::unsupported("GRANT")),
            Statement::Revoke(_) => Err(Error::unsupported("REVOKE")),
            Statement::CreateUser(_) => Err(Error::unsupported("this form of CREATE USER")),
            other => Err(Error::internal(format!("not a DDL statement: {other}"))),
        }
    }

    pub fn snapshot(&self) -> &Snapshot {
        self.editor.snapshot()
    }

    pub fn oid(&self) -> Result<u32> {
        self.context.oids.next()
    }

    pub fn notice(&mut self, message: impl Into<String>) {
        self.notices.push(Notice { kind: None, message: message.into(), detail: None });
    }

    /// What IF EXISTS makes of something that is missing: a notice.
    ///
    /// # Errors
    /// `missing`, without IF EXISTS.
    fn skipped(&mut self, if_exists: bool, missing: Error) -> Result<()> {
        if !if_exists {
            return Err(missing);
        }
        self.notice(format!("{}, skipping", missing.message()));
        Ok(())
    }

    pub fn notice_of(&mut self, kind: ErrorKind, message: impl Into<String>) {
        self.notices.push(Notice { kind: Some(kind), message: message.into(), detail: None });
    }

    /// The character, from 1, at which a token stands; 0 when the tree does not know.
    pub fn position(&self, at: Location) -> usize {
        if at.line == 0 {
            return 0;
        }
        let lines_before = usize::try_from(at.line - 1).unwrap_or(usize::MAX);
        let before: usize =
            self.context.text.split_inclusive('\n').take(lines_before).map(|line| line.chars().count()).sum();
        before + usize::try_from(at.column).unwrap_or(0)
    }

    /// The error, with the position of a name.
    pub fn at(&self, error: Error, ident: &Ident) -> Error {
        match self.position(ident.span.start) {
            0 => error,
            position => error.at(position),
        }
    }

    /// The error, with the position of what stands behind a name.
    pub fn behind(&self, error: Error, ident: &Ident) -> Error {
        match self.position(ident.span.end) {
            0 => error,
            position => {
                let space = self.context.text.chars().skip(position - 1).take_while(|c| c.is_whitespace()).count();
                error.at(position + space)
            }
        }
    }

    /// The role that runs the statement.
    pub fn role(&self) -> Result<&Arc<Role>> {
        self.snapshot().roles.get(&self.context.role).ok_or_else(|| Error::internal("the session's role is gone"))
    }

    /// 42501 unless the role owns the object or is a superuser.
    pub fn must_own(&self, owner: u32, kind: &str, name: &str) -> Result<()> {
        if owner == self.context.role || self.role()?.superuser {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InsufficientPrivilege, format!("must be owner of {kind} {name}")))
    }

    /// 55006 when rows of the table, as they are stored, still have to be looked at by deferred constraints.
    pub fn must_be_settled(&self, statement: &str, table: &Table) -> Result<()> {
        if !(self.context.awaits_checks)(table.oid) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::ObjectInUse,
            format!("cannot {statement} \"{}\" because it has pending trigger events", table.name),
        ))
    }

    /// Where a new relation goes: the schema named, or the first of the search path; a temporary one goes into the session's
    /// own schema, which is made for the first.
    pub fn creation_schema(&mut self, name: &ObjectName, temporary: bool) -> Result<(u32, String)> {
        let (schema, relation) = split_name(name)?;
        let own = self.context.temporary_schema;
        let names_own =
            schema.as_ref().is_some_and(|schema| matches!(schema.name.as_str(), "pg_temp") || schema.name == own);
        if temporary && schema.is_some() && !names_own {
            let message = "cannot create temporary relation in non-temporary schema";
            let error = Error::new(ErrorKind::InvalidTableDefinition, message);
            return Err(match name.0.first().and_then(|part| part.as_ident()) {
                Some(ident) => self.at(error, ident),
                None => error,
            });
        }
        if temporary || names_own || (schema.is_none() && self.context.creates_temporary) {
            let oid = match self.snapshot().schema_oid(own) {
                Some(oid) => oid,
                None => {
                    let oid = self.oid()?;
                    self.editor.put_schema(Schema { oid, name: own.to_owned(), owner: self.context.role })?;
                    oid
                }
            };
            return Ok((oid, relation));
        }
        let oid = match &schema {
            Some(schema) => self.schema_oid(schema)?,
            None => {
                let first = self.context.search_path.iter().find(|schema| !is_temporary_name(schema));
                let first = first.ok_or_else(|| {
                    Error::new(ErrorKind::InvalidSchemaName, "no schema has been selected to create in")
                })?;
                self.schema_oid(&fold_schema(first))?
            }
        };
        if self.snapshot().is_temporary(oid) {
            let message = "cannot create relations in temporary schemas of other sessions";
            return Err(Error::new(ErrorKind::InvalidTableDefinition, message));
        }
        if let Some(name) = crate::catalog::built_in_schema_name(oid) {
            return Err(Error::new(
                ErrorKind::InsufficientPrivilege,
                format!("permission denied to create \"{name}.{relation}\""),
            )
            .with_detail("System catalog modifications are currently disallowed."));
        }
        Ok((oid, relation))
    }

    fn schema_oid(&self, schema: &SchemaRef) -> Result<u32> {
        let name = resolve_temporary(&schema.name, self.context.search_path);
        self.snapshot().schema_oid(name).ok_or_else(|| {
            let error = Error::new(ErrorKind::InvalidSchemaName, format!("schema \"{}\" does not exist", schema.name));
            match self.position(schema.at) {
                0 => error,
                position => error.at(position),
            }
        })
    }

    /// The user's relation of that name, if there is one.
    pub fn find(&self, name: &ObjectName) -> Result<Option<Relation>> {
        let (schema, relation) = split_name(name)?;
        let found = self.snapshot().find_relation(
            schema.as_ref().map(|s| s.name.as_str()),
            &relation,
            self.context.search_path,
        );
        if found.is_none()
            && let Some(table) = crate::system::find_on_path(schema.as_ref().map(|s| s.name.as_str()), &relation)
        {
            return Err(Error::new(
                ErrorKind::InsufficientPrivilege,
                format!("permission denied: \"{}\" is a system catalog", table.name()),
            ));
        }
        Ok(found)
    }

    /// The user's relation of that name, or 42P01 in the wording of most statements.
    pub fn relation(&self, name: &ObjectName) -> Result<Relation> {
        self.find(name)?.ok_or_else(|| {
            Error::new(ErrorKind::UndefinedTable, format!("relation \"{}\" does not exist", display_name(name)))
        })
    }

    /// The table of that name.
    pub fn table(&self, name: &ObjectName) -> Result<Arc<Table>> {
        match self.relation(name)? {
            Relation::Table(table) => Ok(table),
            other => Err(Error::new(ErrorKind::WrongObjectType, format!("\"{}\" is not a table", other.name()))),
        }
    }

    /// As [`Ddl::table`], of a table that is to be changed: not another session's temporary one.
    pub fn table_to(&self, done: &str, name: &ObjectName) -> Result<Arc<Table>> {
        let table = self.table(name)?;
        self.must_be_reachable(done, &table)?;
        Ok(table)
    }

    /// 0A000 for another session's temporary table.
    pub fn must_be_reachable(&self, done: &str, table: &Table) -> Result<()> {
        if is_temporary_name(&table.schema_name) && table.schema_name != self.context.temporary_schema {
            let message = format!("cannot {done} temporary tables of other sessions");
            return Err(Error::new(ErrorKind::FeatureNotSupported, message));
        }
        Ok(())
    }

    /// The current descriptor of a table that is known to exist.
    pub fn table_by_oid(&self, oid: u32) -> Result<Arc<Table>> {
        self.snapshot().tables.get(&oid).cloned().ok_or_else(|| Error::internal(format!("table {oid} is gone")))
    }

    /// 42P07 when the schema has a relation of that name.
    pub fn must_be_free(&self, schema: u32, name: &str) -> Result<()> {
        if self.snapshot().relations.contains_key(&(schema, name.to_owned())) {
            return Err(duplicate_relation(name));
        }
        Ok(())
    }

    /// OID of a role named by `OWNER TO` and the like.
    pub fn owner(&self, owner: &ast::Owner) -> Result<u32> {
        match owner {
            ast::Owner::Ident(name) => self.role_oid(&fold(name)),
            ast::Owner::CurrentRole | ast::Owner::CurrentUser | ast::Owner::SessionUser => Ok(self.context.role),
        }
    }

    /// OID of a role by name, or 42704.
    pub fn role_oid(&self, name: &str) -> Result<u32> {
        self.snapshot()
            .role_named(name)
            .map(|r| r.oid)
            .ok_or_else(|| Error::new(ErrorKind::UndefinedObject, format!("role \"{name}\" does not exist")))
    }

    /// A relation's name as messages about dependencies print it: with its schema unless it is found without.
    pub fn shown(&self, relation: &Relation) -> String {
        if self.snapshot().is_visible(relation, self.context.search_path) {
            crate::catalog::quote_identifier(relation.name())
        } else {
            format!(
                "{}.{}",
                crate::catalog::quote_identifier(self.snapshot().schema_name(relation.schema()).unwrap_or_default()),
                crate::catalog::quote_identifier(relation.name())
            )
        }
    }

    /// 25001 inside a transaction block or a pipeline, for statements that reach beyond it.
    pub fn must_be_alone(&self, statement: &str) -> Result<()> {
        let why = match (self.context.in_transaction_block, self.context.in_pipeline) {
            (true, _) => "run inside a transaction block",
            (false, true) => "be executed within a pipeline",
            (false, false) => return Ok(()),
        };
        Err(Error::new(ErrorKind::ActiveSqlTransaction, format!("{statement} cannot {why}")))
    }
}

/// A schema as written, with its place in the text.
pub(crate) struct SchemaRef {
    pub name: String,
    pub at: Location,
}

fn fold_schema(name: &str) -> SchemaRef {
    SchemaRef { name: name.to_owned(), at: Location { line: 0, column: 0 } }
}

/// The name as Postgres stores it: lower case unless quoted, cut to 63 bytes.
pub(crate) fn fold(ident: &Ident) -> String {
    crate::binder::fold_ident(ident)
}

/// The identifiers of a dotted name, folded.
pub(crate) fn name_parts(name: &ObjectName) -> Result<Vec<(String, Location)>> {
    name.0
        .iter()
        .map(|part| {
            part.as_ident()
                .map(|ident| (fold(ident), ident.span.start))
                .ok_or_else(|| Error::new(ErrorKind::SyntaxError, format!("improper name: {name}")))
        })
        .collect()
}

/// `[schema.]name`. A database in front is refused unless the caller strips it.
pub(crate) fn split_name(name: &ObjectName) -> Result<(Option<SchemaRef>, String)> {
    let mut parts = name_parts(name)?;
    match (parts.pop(), parts.pop(), parts.pop()) {
        (Some((relation, _)), None, _) => Ok((None, relation)),
        (Some((relation, _)), Some((schema, at)), None) => Ok((Some(SchemaRef { name: schema, at }), relation)),
        _ => Err(Error::new(
            ErrorKind::FeatureNotSupported,
            format!("cross-database references are not implemented: \"{}\"", display_name(name)),
        )),
    }
}

/// A dotted name, folded and without quotes, as Postgres's messages show names.
pub(crate) fn display_name(name: &ObjectName) -> String {
    name_parts(name).map_or_else(
        |_| name.to_string(),
        |parts| {
            let names: Vec<String> = parts.into_iter().map(|(name, _)| name).collect();
            names.join(".")
        },
    )
}

/// The only identifier of a name that cannot have a schema (a role, a database).
pub(crate) fn single_name(name: &ObjectName) -> Result<String> {
    let mut parts = name_parts(name)?;
    match (parts.pop(), parts.pop()) {
        (Some((name, _)), None) => Ok(name),
        _ => Err(Error::new(ErrorKind::SyntaxError, format!("improper name: {name}"))),
    }
}

pub(crate) fn duplicate_relation(name: &str) -> Error {
    Error::new(ErrorKind::DuplicateTable, format!("relation \"{name}\" already exists"))
}

pub(crate) fn column_missing(column: &str, table: &str) -> Error {
    Error::new(ErrorKind::UndefinedColumn, format!("column \"{column}\" of relation \"{table}\" does not exist"))
}

/// The error of a DROP that would take other objects along without CASCADE.
pub(crate) fn still_needed(what: &str, dependents: &[String]) -> Error {
    Error::new(ErrorKind::DependentObjectsStillExist, format!("cannot drop {what} because other objects depend on it"))
        .with_detail(dependents.join("\n"))
        .with_hint("Use DROP ... CASCADE to drop the dependent objects too.")
}

#[cfg(test)]
pub(crate) mod tests;
