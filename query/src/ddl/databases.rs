//! Databases and schemas.

use bytes::Bytes;
use sqlparser::ast::{AlterSchema, AlterSchemaOperation, Ident, ObjectName, Owner, SchemaName, Statement};
use stratos_types::{Error, ErrorKind, Result};

use super::parse::{DdlStatement, Extra};
use super::{Ddl, DdlContext, Job, fold, single_name, split_name};
use crate::catalog::{Database, Schema, is_template, keys};

fn reserved_schema(name: &str) -> Result<()> {
    if name.starts_with("pg_") {
        return Err(Error::new(ErrorKind::ReservedName, format!("unacceptable schema name \"{name}\""))
            .with_detail("The prefix \"pg_\" is reserved for system schemas."));
    }
    Ok(())
}

impl Ddl<'_, '_> {
    pub(super) fn create_schema(&mut self, statement: &Statement) -> Result<&'static str> {
        let Statement::CreateSchema { schema_name, if_not_exists, with, options, default_collate_spec, clone } =
            statement
        else {
            return Err(Error::internal("not CREATE SCHEMA"));
        };
        const TAG: &str = "CREATE SCHEMA";
        if with.is_some() || options.is_some() || default_collate_spec.is_some() || clone.is_some() {
            return Err(Error::unsupported("this option of CREATE SCHEMA"));
        }
        let (name, owner) = match schema_name {
            SchemaName::Simple(name) => (single_name(name)?, self.context.role),
            SchemaName::UnnamedAuthorization(role) => {
                let role = self.role_by_word(role)?;
                let oid = self.role_oid(&role)?;
                (role, oid)
            }
            SchemaName::NamedAuthorization(name, role) => {
                (single_name(name)?, self.role_oid(&self.role_by_word(role)?)?)
            }
        };
        reserved_schema(&name)?;
        if self.snapshot().schema_oid(&name).is_some() {
            let message = format!("schema \"{name}\" already exists");
            if *if_not_exists {
                self.notice_of(ErrorKind::DuplicateSchema, format!("{message}, skipping"));
                return Ok(TAG);
            }
            return Err(Error::new(ErrorKind::DuplicateSchema, message));
        }
        let oid = self.oid()?;
        self.editor.put_schema(Schema { oid, name, owner })?;
        Ok(TAG)
    }

    /// The name of a role, which may be given by a word for the session's.
    fn role_by_word(&self, role: &Ident) -> Result<String> {
        let name = fold(role);
        let word = matches!(name.as_str(), "current_user" | "current_role" | "session_user");
        if word && role.quote_style.is_none() { Ok(self.role()?.name.clone()) } else { Ok(name) }
    }

    /// CREATE SCHEMA with elements: each as a statement of its own, with the new schema first on the path.
    pub(super) fn create_schema_with(&mut self, schema: &Statement, elements: &[Statement]) -> Result<&'static str> {
        let Statement::CreateSchema { schema_name, if_not_exists, .. } = schema else {
            return Err(Error::internal("not CREATE SCHEMA"));
        };
        if *if_not_exists {
            let message = "CREATE SCHEMA IF NOT EXISTS cannot include schema elements";
            return Err(Error::new(ErrorKind::FeatureNotSupported, message));
        }
        let name = match schema_name {
            SchemaName::Simple(name) | SchemaName::NamedAuthorization(name, _) => single_name(name)?,
            SchemaName::UnnamedAuthorization(role) => self.role_by_word(role)?,
        };
        let tag = self.create_schema(schema)?;
        let mut path = vec![name.clone()];
        path.extend(self.context.search_path.iter().filter(|other| **other != name).cloned());
        let context = DdlContext { search_path: &path, in_transaction_block: true, ..*self.context };
        for element in elements {
            let written = match element {
                Statement::CreateTable(create) => Some(&create.name),
                Statement::CreateSequence { name, .. } => Some(name),
                Statement::CreateIndex(create) => Some(&create.table_name),
                _ => None,
            };
            let own = written.map(split_name).transpose()?.and_then(|(schema, _)| schema);
            if let Some(other) = own.filter(|own| own.name != name) {
                return Err(Error::new(
                    ErrorKind::InvalidSchemaDefinition,
                    format!("CREATE specifies a schema ({}) different from the one being created ({name})", other.name),
                ));
            }
            let statement = DdlStatement::Sql(Box::new(element.clone()));
            let done = super::execute(&statement, self.editor, &context)?;
            self.notices.extend(done.notices);
            self.jobs.extend(done.jobs);
        }
        Ok(tag)
    }

    pub(super) fn alter_schema(&mut self, alter: &AlterSchema) -> Result<&'static str> {
        let name = single_name(&alter.name)?;
        let oid = self.snapshot().schema_oid(&name);
        let Some(schema) = oid.and_then(|oid| self.snapshot().schemas.get(&oid).cloned()) else {
            if oid.is_some() {
                return Err(Error::new(
                    ErrorKind::InsufficientPrivilege,
                    format!("permission denied for schema {name}"),
                ));
            }
            return Err(Error::new(ErrorKind::InvalidSchemaName, format!("schema \"{name}\" does not exist")));
        };
        self.must_own(schema.owner, "schema", &name)?;
        let mut schema = Schema::clone(&schema);
        for operation in &alter.operations {
            match operation {
                AlterSchemaOperation::Rename { name: new_name } => {
                    let new_name = single_name(new_name)?;
                    if self.snapshot().schema_oid(&new_name).is_some() {
                        return Err(Error::new(
                            ErrorKind::DuplicateSchema,
                            format!("schema \"{new_name}\" already exists"),
                        ));
                    }
                    reserved_schema(&new_name)?;
                    let oid = schema.oid;
                    schema.name.clone_from(&new_name);
                    self.rewrite_defaults(&mut |relation| {
                        (relation.schema() == oid).then(|| {
                            format!(
                                "{}.{}",
                                crate::catalog::quote_identifier(&new_name),
                                crate::catalog::quote_identifier(relation.name())
                            )
                        })
                    })?;
                }
                AlterSchemaOperation::OwnerTo { owner } => schema.owner = self.owner(owner)?,
                other => return Err(Error::unsupported(format!("ALTER SCHEMA {other}"))),
            }
        }
        self.editor.put_schema(schema)?;
        Ok("ALTER SCHEMA")
    }

    pub(super) fn create_database_statement(&mut self, statement: &Statement) -> Result<&'static str> {
        let Statement::CreateDatabase { db_name, if_not_exists, .. } = statement else {
            return Err(Error::internal("not CREATE DATABASE"));
        };
        if *if_not_exists {
            return Err(Error::new(ErrorKind::SyntaxError, "syntax error at or near \"NOT\""));
        }
        self.create_database(db_name, None, &[])
    }

    pub(super) fn create_database(
        &mut self,
        name: &ObjectName,
        owner: Option<&Owner>,
        options: &[(String, String)],
    ) -> Result<&'static str> {
        self.must_be_alone("CREATE DATABASE")?;
        let name = single_name(name)?;
        if !self.role()?.superuser && !self.role()?.create_db {
            return Err(Error::new(ErrorKind::InsufficientPrivilege, "permission denied to create database"));
        }
        for (option, value) in options {
            if option == "template"
                && value != "default"
                && self.snapshot().database_named(value).is_none()
                && !is_template(self.snapshot(), value)
            {
                let message = format!("template database \"{value}\" does not exist");
                return Err(Error::new(ErrorKind::InvalidCatalogName, message));
            }
            database_option(option, value)?;
        }
        if self.snapshot().database_named(&name).is_some() || is_template(self.snapshot(), &name) {
            return Err(Error::new(ErrorKind::DuplicateDatabase, format!("database \"{name}\" already exists")));
        }
        let owner = owner.map_or(Ok(self.context.role), |owner| self.owner(owner))?;
        let oid = self.oid()?;
        self.editor.put_database(Database { oid, name, owner })?;
        self.jobs.push(Job::CreateDatabase { database: oid });
        Ok("CREATE DATABASE")
    }

    fn database(&self, name: &str) -> Result<Database> {
        self.snapshot()
            .database_named(name)
            .map(|d| Database::clone(d))
            .ok_or_else(|| Error::new(ErrorKind::InvalidCatalogName, format!("database \"{name}\" does not exist")))
    }

    pub(super) fn alter_database(
        &mut self,
        name: &ObjectName,
        rename: Option<&sqlparser::ast::Ident>,
        owner: Option<&Owner>,
    ) -> Result<&'static str> {
        let name = &single_name(name)?;
        if is_template(self.snapshot(), name) {
            return Err(Error::unsupported(format!("ALTER DATABASE {name}")));
        }
        let mut database = self.database(name)?;
        self.must_own(database.owner, "database", &database.name)?;
        if let Some(new_name) = rename {
            let new_name = fold(new_name);
            if self.snapshot().database_named(&new_name).is_some() || is_template(self.snapshot(), &new_name) {
                return Err(Error::new(
                    ErrorKind::DuplicateDatabase,
                    format!("database \"{new_name}\" already exists"),
                ));
            }
            if database.oid == self.snapshot().database {
                return Err(Error::new(ErrorKind::FeatureNotSupported, "current database cannot be renamed"));
            }
            self.must_be_unused(&database)?;
            database.name = new_name;
        }
        if let Some(owner) = owner {
            database.owner = self.owner(owner)?;
        }
        self.editor.put_database(database)?;
        Ok("ALTER DATABASE")
    }

    fn must_be_unused(&self, database: &Database) -> Result<()> {
        let sessions = (self.context.sessions)(database.oid);
        if sessions == 0 {
            return Ok(());
        }
        let detail = if sessions == 1 {
            "There is 1 other session using the database.".to_owned()
        } else {
            format!("There are {sessions} other sessions using the database.")
        };
        Err(Error::new(
            ErrorKind::ObjectInUse,
            format!("database \"{}\" is being accessed by other users", database.name),
        )
        .with_detail(detail))
    }

    pub(super) fn drop_databases(&mut self, names: &[ObjectName], if_exists: bool) -> Result<()> {
        self.must_be_alone("DROP DATABASE")?;
        for name in names {
            let name = single_name(name)?;
            if is_template(self.snapshot(), &name) {
                return Err(Error::new(ErrorKind::WrongObjectType, "cannot drop a template database"));
            }
            if if_exists && self.snapshot().database_named(&name).is_none() {
                self.notice(format!("database \"{name}\" does not exist, skipping"));
                continue;
            }
            let database = self.database(&name)?;
            self.must_own(database.owner, "database", &name)?;
            if database.oid == self.snapshot().database {
                return Err(Error::new(ErrorKind::ObjectInUse, "cannot drop the currently open database"));
            }
            self.must_be_unused(&database)?;
            let contents = self.contents(database.oid)?;
            self.editor.remove_database(database.oid, contents);
            self.jobs.push(Job::DropDatabase { database: database.oid });
        }
        Ok(())
    }

    /// Keys of everything that the catalog holds of a database.
    fn contents(&self, database: u32) -> Result<Vec<Bytes>> {
        let mut found = Vec::new();
        for prefix in [
            keys::schemas(database),
            keys::tables(database),
            keys::sequences(database),
            keys::sequence_values(database),
            keys::comments(database),
        ] {
            self.context.reader.scan_prefix(&prefix, &mut |key, _| {
                found.push(Bytes::copy_from_slice(key));
                Ok(())
            })?;
        }
        Ok(found)
    }

    pub(super) fn extra(&mut self, extra: &Extra) -> Result<&'static str> {
        match extra {
            Extra::RenameIndex { name, to } => self.rename_index_if_exists(name, to),
            Extra::AlterSequence { if_exists, name, changes } => self.alter_sequence(name, *if_exists, changes),
            Extra::CreateSchema { schema, elements } => self.create_schema_with(schema, elements),
            Extra::AlterConstraint { if_exists, table, constraint, deferral } => {
                self.alter_constraint(table, *if_exists, constraint, *deferral)
            }
            Extra::SplitAt { table, values } => self.split_at(table, values),
            Extra::SetSchema { if_exists, name, schema } => self.set_schema(name, *if_exists, schema),
            Extra::AlterTable { if_exists, name, actions } => self.alter_table_by(name, *if_exists, actions),
            Extra::AlterDatabase { name, rename, owner } => self.alter_database(name, rename.as_ref(), owner.as_ref()),
            Extra::CreateDatabase { name, owner, options } => self.create_database(name, owner.as_ref(), options),
            Extra::DropAbsent(drop) => self.drop_absent(drop),
            Extra::DropDatabaseForce => Err(Error::unsupported("DROP DATABASE WITH (FORCE)")),
            Extra::CreateUser(statement) => match statement.as_ref() {
                Statement::CreateRole(create) => self.create_user(create),
                other => Err(Error::internal(format!("not CREATE USER: {other}"))),
            },
            Extra::Role(statement) => self.statement(statement),
            Extra::CommentOnConstraint { constraint, table, comment } => {
                self.comment_on_constraint(&fold(constraint), table, comment.as_deref())
            }
        }
    }
}

/// Options of CREATE DATABASE that say what is so anyway are accepted; others are refused.
fn database_option(option: &str, value: &str) -> Result<()> {
    let lower = value.to_lowercase();
    let same = match option {
        "encoding" => matches!(lower.as_str(), "utf8" | "utf-8" | "unicode" | "default"),
        "template" => matches!(lower.as_str(), "template0" | "template1" | "default"),
        "lc_collate" | "lc_ctype" | "locale" => {
            matches!(lower.as_str(), "c" | "posix" | "c.utf-8" | "c.utf8" | "default")
        }
        "tablespace" => matches!(lower.as_str(), "pg_default" | "default"),
        "connection limit" => lower == "-1",
        "allow_connections" => matches!(lower.as_str(), "true" | "on"),
        "is_template" => matches!(lower.as_str(), "false" | "off"),
        "strategy" => matches!(lower.as_str(), "wal_log" | "file_copy" | "default"),
        _ => {
            return Err(Error::new(ErrorKind::SyntaxError, format!("option \"{option}\" not recognized")));
        }
    };
    if same { Ok(()) } else { Err(Error::unsupported(format!("CREATE DATABASE with {option} {value}"))) }
}
