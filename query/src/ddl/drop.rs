//! DROP and TRUNCATE: what depends on what.

use std::collections::BTreeSet;
use std::sync::Arc;

use sqlparser::ast::{CascadeOption, ObjectName, ObjectType, Statement, Truncate, TruncateIdentityOption};
use stratos_types::{Error, ErrorKind, Result};

use super::{Ddl, Job, Notice, display_name, still_needed};
use crate::catalog::system::PG_CONSTRAINT;
use crate::catalog::{ConstraintKind, Relation, Sequence, Table, resolve_temporary};

/// Postgres lists this many dependents in a message and counts the rest (MAX_REPORTED_DEPS).
const REPORTED_MAX: usize = 100;

impl Ddl<'_, '_> {
    pub(super) fn drop(&mut self, statement: &Statement) -> Result<&'static str> {
        let Statement::Drop { object_type, if_exists, names, cascade, purge, temporary, table, .. } = statement else {
            return Err(Error::internal("not DROP"));
        };
        if *purge || *temporary || table.is_some() {
            return Err(Error::unsupported("this form of DROP"));
        }
        match object_type {
            ObjectType::Table => self.drop_relations(names, "table", *if_exists, *cascade)?,
            ObjectType::Index => self.drop_relations(names, "index", *if_exists, *cascade)?,
            ObjectType::Sequence => self.drop_relations(names, "sequence", *if_exists, *cascade)?,
            ObjectType::Schema => self.drop_schemas(names, *if_exists, *cascade)?,
            ObjectType::Database => self.drop_databases(names, *if_exists)?,
            ObjectType::Role | ObjectType::User => self.drop_roles(names, *if_exists)?,
            ObjectType::View | ObjectType::MaterializedView if *if_exists => {
                // None can exist, so that there is nothing to drop whatever the name.
                let kind = object_type.to_string().to_lowercase();
                for name in names {
                    if self.find(name)?.is_some() {
                        return Err(Error::new(
                            ErrorKind::WrongObjectType,
                            format!("\"{}\" is not a {kind}", display_name(name)),
                        ));
                    }
                    self.notice(format!("{kind} \"{}\" does not exist, skipping", display_name(name)));
                }
            }
            ObjectType::View | ObjectType::MaterializedView => {
                let kind = object_type.to_string().to_lowercase();
                if let Some(name) = names.first()
                    && let Some(found) = self.find(name)?
                {
                    let is = match found {
                        Relation::Table(_) => "table",
                        Relation::Sequence(_) => "sequence",
                        _ => "index",
                    };
                    let article = if is == "index" { "an" } else { "a" };
                    return Err(Error::new(
                        ErrorKind::WrongObjectType,
                        format!("\"{}\" is not a {kind}", display_name(name)),
                    )
                    .with_hint(format!("Use DROP {} to remove {article} {is}.", is.to_uppercase())));
                }
                return Err(Error::new(
                    ErrorKind::UndefinedTable,
                    format!("{kind} \"{}\" does not exist", names.first().map(display_name).unwrap_or_default()),
                ));
            }
            other => return Err(Error::unsupported(format!("DROP {other}"))),
        }
        Ok(match object_type {
            ObjectType::Table => "DROP TABLE",
            ObjectType::Index => "DROP INDEX",
            ObjectType::Sequence => "DROP SEQUENCE",
            ObjectType::Schema => "DROP SCHEMA",
            ObjectType::Database => "DROP DATABASE",
            ObjectType::Role | ObjectType::User => "DROP ROLE",
            ObjectType::View => "DROP VIEW",
            _ => "DROP MATERIALIZED VIEW",
        })
    }

    fn drop_relations(
        &mut self,
        names: &[ObjectName],
        kind: &'static str,
        if_exists: bool,
        cascade: bool,
    ) -> Result<()> {
        let mut targets: Vec<Relation> = Vec::new();
        for name in names {
            let (schema, _) = super::split_name(name)?;
            if let Some(schema) = schema
                && self.snapshot().schema_oid(resolve_temporary(&schema.name, self.context.search_path)).is_none()
            {
                if !if_exists {
                    return Err(Error::new(
                        ErrorKind::InvalidSchemaName,
                        format!("schema \"{}\" does not exist", schema.name),
                    ));
                }
                self.notice(format!("schema \"{}\" does not exist, skipping", schema.name));
                continue;
            }
            match self.find(name)? {
                Some(found) if found.kind_name() == kind => {
                    self.must_own(found.owner(), kind, found.name())?;
                    if !targets.iter().any(|t| t.oid() == found.oid()) {
                        targets.push(found);
                    }
                }
                Some(other) => return Err(wrong_kind(&other, kind)),
                None if if_exists => self.notice(format!("{kind} \"{}\" does not exist, skipping", last_name(name))),
                None => {
                    let error = if kind == "index" { ErrorKind::UndefinedObject } else { ErrorKind::UndefinedTable };
                    return Err(Error::new(error, format!("{kind} \"{}\" does not exist", last_name(name))));
                }
            }
        }
        match kind {
            "table" => self.drop_tables(&targets, cascade),
            "index" => self.drop_indexes(&targets, cascade),
            _ => self.drop_sequences(&targets, cascade),
        }
    }

    /// Drops tables with their indexes and sequences; foreign keys of other tables go under CASCADE.
    fn drop_tables(&mut self, targets: &[Relation], cascade: bool) -> Result<()> {
        let oids: BTreeSet<u32> = targets.iter().map(Relation::oid).collect();
        let mut blocking: Vec<(String, Option<String>)> = Vec::new();
        let mut lost_keys: Vec<(u32, u32)> = Vec::new();
        for target in targets {
            for (other, position) in self.snapshot().referencing(target.oid()) {
                if oids.contains(&other.oid) {
                    continue;
                }
                let constraint = &other.constraints[position];
                let what = format!(
                    "constraint {} on table {}",
                    constraint.name,
                    self.shown(&Relation::Table(Arc::clone(&other)))
                );
                let line = format!("{what} depends on table {}", self.shown(target));
                blocking.push((what, Some(line)));
                lost_keys.push((other.oid, constraint.oid));
            }
        }
        let mut owned: Vec<Arc<Sequence>> = Vec::new();
        for target in targets {
            owned.extend(self.snapshot().sequences_of(target.oid(), None));
        }
        let lost_defaults = self.defaults_using(&owned, &oids);
        blocking.extend(self.default_blockers(&lost_defaults));
        let what = match targets {
            [only] => format!("table {}", self.shown(only)),
            _ => "desired object(s)".to_owned(),
        };
        self.settle(&what, &blocking, cascade)?;
        for (table, constraint) in lost_keys {
            self.remove_constraint(table, constraint)?;
        }
        for (table, attnum, _) in lost_defaults {
            self.remove_default(table.oid, attnum)?;
        }
        for sequence in owned {
            self.editor.remove_sequence(sequence.oid);
        }
        for target in targets {
            if let Relation::Table(table) = target {
                self.remove_table(table.oid)?;
            }
        }
        Ok(())
    }

    /// Fails, or tells what goes along.
    pub(super) fn settle(&mut self, what: &str, blocking: &[(String, Option<String>)], cascade: bool) -> Result<()> {
        if blocking.is_empty() {
            return Ok(());
        }
        if !cascade {
            let mut lines: Vec<String> =
                blocking.iter().take(REPORTED_MAX).filter_map(|(_, line)| line.clone()).collect();
            if blocking.len() > REPORTED_MAX {
                lines.push(format!("and {} other objects (see server log for list)", blocking.len() - REPORTED_MAX));
            }
            let mut error = still_needed(what, &lines);
            if what == "desired object(s)" {
                error = Error::new(
                    ErrorKind::DependentObjectsStillExist,
                    "cannot drop desired object(s) because other objects depend on them",
                )
                .with_detail(lines.join("\n"))
                .with_hint("Use DROP ... CASCADE to drop the dependent objects too.");
            }
            return Err(error);
        }
        match blocking {
            [(only, _)] => self.notice(format!("drop cascades to {only}")),
            many => {
                let lines: Vec<String> =
                    many.iter().take(REPORTED_MAX).map(|(what, _)| format!("drop cascades to {what}")).collect();
                self.notices.push(Notice {
                    kind: None,
                    message: format!("drop cascades to {} other objects", many.len()),
                    detail: Some(lines.join("\n")),
                });
            }
        }
        Ok(())
    }

    pub(super) fn default_name(&self, table: &Arc<Table>, attnum: i16) -> String {
        let column = table.column_index(attnum).map(|i| table.columns[i].name.clone()).unwrap_or_default();
        format!("default value for column {column} of table {}", self.shown(&Relation::Table(Arc::clone(table))))
    }

    /// What hinders sequences from going, as [`Ddl::settle`] takes it: the defaults that would be lost.
    pub(super) fn default_blockers(&self, lost: &[(Arc<Table>, i16, Arc<Sequence>)]) -> Vec<(String, Option<String>)> {
        let blocker = |(table, attnum, sequence): &(Arc<Table>, i16, Arc<Sequence>)| {
            let what = self.default_name(table, *attnum);
            let line = format!("{what} depends on sequence {}", self.shown(&Relation::Sequence(Arc::clone(sequence))));
            (what, Some(line))
        };
        lost.iter().map(blocker).collect()
    }

    /// Defaults that use one of the sequences, in tables other than `except`.
    pub(super) fn defaults_using(
        &self,
        sequences: &[Arc<Sequence>],
        except: &BTreeSet<u32>,
    ) -> Vec<(Arc<Table>, i16, Arc<Sequence>)> {
        let mut found = Vec::new();
        if sequences.is_empty() {
            return found;
        }
        for table in self.snapshot().tables.values() {
            if except.contains(&table.oid) {
                continue;
            }
            for column in &table.columns {
                let Some(default) = column.default.as_ref().filter(|d| d.sql.contains("regclass")) else {
                    continue;
                };
                let used = super::expressions::sequences_in(&default.sql, self.snapshot());
                if let Some(sequence) = sequences.iter().find(|s| used.contains(&s.oid)) {
                    found.push((Arc::clone(table), column.attnum, Arc::clone(sequence)));
                }
            }
        }
        found
    }

    pub(super) fn remove_default(&mut self, table: u32, attnum: i16) -> Result<()> {
        let mut table = Table::clone(&*self.table_by_oid(table)?);
        if let Some(position) = table.column_index(attnum) {
            table.columns[position].default = None;
        }
        self.editor.put_table(table)?;
        Ok(())
    }

    pub(super) fn remove_constraint(&mut self, table: u32, constraint: u32) -> Result<()> {
        let mut table = Table::clone(&*self.table_by_oid(table)?);
        table.constraints.retain(|c| c.oid != constraint);
        self.editor.set_comment(PG_CONSTRAINT, constraint, None);
        self.editor.put_table(table)?;
        Ok(())
    }

    fn remove_table(&mut self, oid: u32) -> Result<()> {
        let table = self.table_by_oid(oid)?;
        self.must_be_settled("DROP TABLE", &table)?;
        for constraint in &table.constraints {
            self.editor.set_comment(PG_CONSTRAINT, constraint.oid, None);
        }
        self.editor.remove_table(oid);
        self.jobs.push(Job::DropStorage { database: table.database, storage: table.storage });
        Ok(())
    }

    fn drop_indexes(&mut self, targets: &[Relation], cascade: bool) -> Result<()> {
        for target in targets {
            // An earlier target may have changed the table.
            let Some(Relation::Index(table, position)) = self.snapshot().relation(target.oid()) else {
                continue;
            };
            let index = table.indexes[position].clone();
            if let Some(constraint) = table
                .constraints
                .iter()
                .find(|c| matches!(c.kind, ConstraintKind::Unique { index: oid, .. } if oid == index.oid))
            {
                return Err(Error::new(
                    ErrorKind::DependentObjectsStillExist,
                    format!(
                        "cannot drop index {} because constraint {} on table {} requires it",
                        self.shown(target),
                        constraint.name,
                        self.shown(&Relation::Table(Arc::clone(&table)))
                    ),
                )
                .with_hint(format!(
                    "You can drop constraint {} on table {} instead.",
                    constraint.name,
                    self.shown(&Relation::Table(Arc::clone(&table)))
                )));
            }
            let what = format!("index {}", self.shown(target));
            self.drop_keys_on_index(index.oid, &what, cascade)?;
            let mut table = Table::clone(&*self.table_by_oid(table.oid)?);
            table.indexes.retain(|i| i.oid != index.oid);
            self.jobs.push(Job::DropIndexStorage { database: table.database, storage: table.storage, index: index.id });
            self.editor.put_table(table)?;
        }
        Ok(())
    }

    /// Foreign keys that refer to a unique index go with it under CASCADE.
    pub(super) fn drop_keys_on_index(&mut self, index: u32, what: &str, cascade: bool) -> Result<()> {
        let mut blocking = Vec::new();
        let mut keys = Vec::new();
        for table in self.snapshot().tables.values() {
            for (constraint, key) in table.foreign_keys() {
                if key.index == index {
                    let name = format!(
                        "constraint {} on table {}",
                        constraint.name,
                        self.shown(&Relation::Table(Arc::clone(table)))
                    );
                    let line = format!("{name} depends on {what}");
                    blocking.push((name, Some(line)));
                    keys.push((table.oid, constraint.oid));
                }
            }
        }
        self.settle(what, &blocking, cascade)?;
        for (table, constraint) in keys {
            self.remove_constraint(table, constraint)?;
        }
        Ok(())
    }

    fn drop_sequences(&mut self, targets: &[Relation], cascade: bool) -> Result<()> {
        let sequences: Vec<Arc<Sequence>> = targets
            .iter()
            .filter_map(|t| match t {
                Relation::Sequence(sequence) => Some(Arc::clone(sequence)),
                _ => None,
            })
            .collect();
        for sequence in &sequences {
            if let Some((owner, attnum)) = sequence.owned_by
                && let Some(table) = self.snapshot().tables.get(&owner)
                && let Some(position) = table.column_index(attnum)
                && table.columns[position].identity.as_ref().is_some_and(|i| i.sequence == sequence.oid)
            {
                let table_name = self.shown(&Relation::Table(Arc::clone(table)));
                let column = format!("column {} of table {table_name}", table.columns[position].name);
                return Err(Error::new(
                    ErrorKind::DependentObjectsStillExist,
                    format!(
                        "cannot drop sequence {} because {column} requires it",
                        self.shown(&Relation::Sequence(Arc::clone(sequence)))
                    ),
                )
                .with_hint(format!("You can drop {column} instead.")));
            }
        }
        let lost = self.defaults_using(&sequences, &BTreeSet::new());
        let blocking = self.default_blockers(&lost);
        let what = match targets {
            [only] => format!("sequence {}", self.shown(only)),
            _ => "desired object(s)".to_owned(),
        };
        self.settle(&what, &blocking, cascade)?;
        for (table, attnum, _) in lost {
            self.remove_default(table.oid, attnum)?;
        }
        for sequence in sequences {
            self.editor.remove_sequence(sequence.oid);
        }
        Ok(())
    }

    fn drop_schemas(&mut self, names: &[ObjectName], if_exists: bool, cascade: bool) -> Result<()> {
        for name in names {
            let name = super::single_name(name)?;
            if crate::catalog::built_in_schema(&name).is_some() {
                return Err(Error::new(
                    ErrorKind::DependentObjectsStillExist,
                    format!("cannot drop schema {name} because it is required by the database system"),
                ));
            }
            let Some(oid) = self.snapshot().schema_oid(&name) else {
                if if_exists {
                    self.notice(format!("schema \"{name}\" does not exist, skipping"));
                    continue;
                }
                return Err(Error::new(ErrorKind::InvalidSchemaName, format!("schema \"{name}\" does not exist")));
            };
            let owner = self.snapshot().schemas.get(&oid).map_or(0, |s| s.owner);
            self.must_own(owner, "schema", &name)?;
            let tables: Vec<Relation> = self
                .snapshot()
                .tables
                .values()
                .filter(|t| t.schema == oid)
                .map(|t| Relation::Table(Arc::clone(t)))
                .collect();
            // Sequences that tables of the schema own go with these.
            let inside: BTreeSet<u32> = tables.iter().map(Relation::oid).collect();
            let sequences: Vec<Relation> = self
                .snapshot()
                .sequences
                .values()
                .filter(|s| s.schema == oid && s.owned_by.is_none_or(|(table, _)| !inside.contains(&table)))
                .map(|s| Relation::Sequence(Arc::clone(s)))
                .collect();
            let mut members: Vec<Relation> = tables.iter().chain(&sequences).cloned().collect();
            members.sort_by_key(Relation::oid);
            let blocking: Vec<(String, Option<String>)> = members
                .iter()
                .map(|member| {
                    let what = format!("{} {}", member.kind_name(), self.shown(member));
                    let line = format!("{what} depends on schema {name}");
                    (what, Some(line))
                })
                .collect();
            self.settle(&format!("schema {name}"), &blocking, cascade)?;
            self.drop_tables(&tables, true)?;
            self.drop_sequences(&sequences, true)?;
            self.editor.remove_schema(oid);
        }
        Ok(())
    }

    pub(super) fn truncate(&mut self, truncate: &Truncate) -> Result<&'static str> {
        if truncate.partitions.is_some() || truncate.on_cluster.is_some() || truncate.if_exists {
            return Err(Error::unsupported("this form of TRUNCATE"));
        }
        let cascade = matches!(truncate.cascade, Some(CascadeOption::Cascade));
        let mut oids: Vec<u32> = Vec::new();
        for target in &truncate.table_names {
            let table = self.table_to("truncate", &target.name)?;
            self.must_own(table.owner, "table", &table.name)?;
            if !oids.contains(&table.oid) {
                oids.push(table.oid);
            }
        }
        // Tables that refer to the truncated ones are emptied too, or stand in the way.
        let mut next = 0;
        while let Some(oid) = oids.get(next).copied() {
            next += 1;
            for (other, _) in self.snapshot().referencing(oid) {
                if oids.contains(&other.oid) {
                    continue;
                }
                let referenced = self.table_by_oid(oid)?;
                if !cascade {
                    return Err(Error::new(
                        ErrorKind::FeatureNotSupported,
                        "cannot truncate a table referenced in a foreign key constraint",
                    )
                    .with_detail(format!("Table \"{}\" references \"{}\".", other.name, referenced.name))
                    .with_hint(format!(
                        "Truncate table \"{}\" at the same time, or use TRUNCATE ... CASCADE.",
                        other.name
                    )));
                }
                self.must_own(other.owner, "table", &other.name)?;
                self.notice(format!("truncate cascades to table \"{}\"", other.name));
                oids.push(other.oid);
            }
        }
        for oid in oids {
            let mut table = Table::clone(&*self.table_by_oid(oid)?);
            self.must_be_settled("TRUNCATE", &table)?;
            self.jobs.push(Job::DropStorage { database: table.database, storage: table.storage });
            table.storage = self.oid()?;
            self.editor.put_table(table)?;
            if matches!(truncate.identity, Some(TruncateIdentityOption::Restart)) {
                for sequence in self.snapshot().sequences_of(oid, None) {
                    let mut sequence = Sequence::clone(&sequence);
                    self.restart_sequence(&mut sequence, None)?;
                    self.editor.put_sequence(sequence)?;
                }
            }
        }
        Ok("TRUNCATE TABLE")
    }
}

fn last_name(name: &ObjectName) -> String {
    super::split_name(name).map_or_else(|_| display_name(name), |(_, relation)| relation)
}

fn wrong_kind(found: &Relation, wanted: &str) -> Error {
    let article = if wanted == "index" { "an" } else { "a" };
    let (is, statement) = match found {
        Relation::Table(_) => ("a table", "DROP TABLE"),
        Relation::Index(..) => ("an index", "DROP INDEX"),
        Relation::Sequence(_) => ("a sequence", "DROP SEQUENCE"),
    };
    Error::new(ErrorKind::WrongObjectType, format!("\"{}\" is not {article} {wanted}", found.name()))
        .with_hint(format!("Use {statement} to remove {is}."))
}
