//! ALTER TABLE.

use std::collections::BTreeSet;
use std::sync::Arc;

use sqlparser::ast::{
    AlterColumnOperation, AlterTable, AlterTableOperation, ColumnDef, DataType, DropBehavior, Expr, GeneratedAs, Ident,
    ObjectName, RenameTableNameKind, SequenceOptions,
};
use stratos_types::{ColumnType, Error, ErrorKind, PgType, Result};

use super::constraints::{Wanted, hidden_index, wanted_of, wanted_order};
use super::create_table::column_wishes;
use super::expressions::{DefaultValue, parse_expression, rename_columns_in};
use super::{Ddl, Job, RewriteColumn, Validation, column_missing, column_type, display_name, fold};
use crate::catalog::{ColumnDefault, ConstraintKind, Identity, Relation, Sequence, Table, choose_relation_name};

/// A table while the operations of one ALTER TABLE go over it.
struct Altering {
    /// As it was.
    from: Arc<Table>,
    /// As it is becoming.
    table: Table,
    /// Whether stored rows have to be written anew.
    rewrite: bool,
    columns: Vec<RewriteColumn>,
}

impl Ddl<'_, '_> {
    pub(super) fn alter_table(&mut self, alter: &AlterTable) -> Result<&'static str> {
        const TAG: &str = "ALTER TABLE";
        if alter.location.is_some() || alter.on_cluster.is_some() || alter.table_type.is_some() {
            return Err(Error::unsupported("this form of ALTER TABLE"));
        }
        if alter.if_exists && self.find(&alter.name)?.is_none() {
            self.notice(format!("relation \"{}\" does not exist, skipping", display_name(&alter.name)));
            return Ok(TAG);
        }
        if let [only] = alter.operations.as_slice()
            && self.rename_operation(&alter.name, only)?
        {
            return Ok(TAG);
        }
        let relation = self.relation(&alter.name)?;
        // OWNER TO is the one operation that Postgres takes for sequences too.
        if let (Relation::Sequence(sequence), [AlterTableOperation::OwnerTo { new_owner }]) =
            (&relation, alter.operations.as_slice())
        {
            self.must_own(sequence.owner, "sequence", &sequence.name)?;
            let owner = self.owner(new_owner)?;
            self.editor.put_sequence(Sequence { owner, ..Sequence::clone(sequence) })?;
            return Ok(TAG);
        }
        let Relation::Table(from) = relation else {
            return Err(Error::new(ErrorKind::WrongObjectType, format!("\"{}\" is not a table", relation.name())));
        };
        self.must_own(from.owner, "table", &from.name)?;
        let mut altering = Altering { table: Table::clone(&from), from, rewrite: false, columns: Vec::new() };
        let jobs_before = self.jobs.len();
        for operation in &alter.operations {
            self.operation(&mut altering, operation)?;
        }
        self.finish_altering(altering, jobs_before)?;
        Ok(TAG)
    }

    fn finish_altering(&mut self, altering: Altering, jobs_before: usize) -> Result<()> {
        let Altering { from, mut table, rewrite, columns } = altering;
        if !rewrite {
            self.editor.put_table(table)?;
            return Ok(());
        }
        table.storage = self.oid()?;
        for column in &mut table.columns {
            column.missing = None;
        }
        let to = self.editor.put_table(table)?;
        let mut rest = self.jobs.split_off(jobs_before);
        // The rewrite fills every index of the new storage, and the old storage goes as a whole.
        rest.retain(|job| {
            !matches!(job, Job::BuildIndex { table, .. } if *table == to.oid)
                && !matches!(job, Job::DropIndexStorage { storage, .. } if *storage == from.storage)
        });
        self.jobs.push(Job::Rewrite { from: Arc::clone(&from), to, columns });
        self.jobs.append(&mut rest);
        self.jobs.push(Job::DropStorage { database: from.database, storage: from.storage });
        Ok(())
    }

    /// RENAME in its forms, which stand alone. Tells whether it was one.
    fn rename_operation(&mut self, name: &ObjectName, operation: &AlterTableOperation) -> Result<bool> {
        match operation {
            AlterTableOperation::RenameTable { table_name } => {
                let (RenameTableNameKind::To(new_name) | RenameTableNameKind::As(new_name)) = table_name;
                let new_name = super::single_name(new_name)?;
                match self.relation(name)? {
                    Relation::Table(table) => self.rename_table(&table, &new_name)?,
                    Relation::Index(table, position) => {
                        self.must_own(table.owner, "index", &table.indexes[position].name)?;
                        self.rename_index(&table, position, &new_name)?;
                    }
                    Relation::Sequence(sequence) => {
                        self.rename_sequence(sequence.oid, &new_name)?;
                    }
                }
            }
            AlterTableOperation::RenameColumn { old_column_name, new_column_name } => {
                self.rename_column(name, &fold(old_column_name), fold(new_column_name))?
            }
            AlterTableOperation::RenameConstraint { old_name, new_name } => {
                self.rename_constraint(name, &fold(old_name), fold(new_name))?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn rename_table(&mut self, table: &Table, new_name: &str) -> Result<()> {
        self.must_own(table.owner, "table", &table.name)?;
        self.must_be_free(table.schema, new_name)?;
        let mut table = table.clone();
        table.name = new_name.to_owned();
        self.editor.put_table(table)?;
        Ok(())
    }

    fn rename_column(&mut self, name: &ObjectName, old: &str, new: String) -> Result<()> {
        let table = self.table(name)?;
        self.must_own(table.owner, "table", &table.name)?;
        let mut table = Table::clone(&table);
        let position = table
            .column_named(old)
            .ok_or_else(|| Error::new(ErrorKind::UndefinedColumn, format!("column \"{old}\" does not exist")))?;
        if table.column_named(&new).is_some() {
            return Err(duplicate_column(&new, &table.name));
        }
        let attnum = table.columns[position].attnum;
        for constraint in &mut table.constraints {
            if let ConstraintKind::Check(check) = &mut constraint.kind
                && check.columns.contains(&attnum)
            {
                check.sql = rename_columns_in(&check.sql, old, &new)?;
            }
        }
        table.columns[position].name = new;
        self.editor.put_table(table)?;
        Ok(())
    }

    fn rename_constraint(&mut self, name: &ObjectName, old: &str, new: String) -> Result<()> {
        let table = self.table(name)?;
        self.must_own(table.owner, "table", &table.name)?;
        let Some(position) = table.constraints.iter().position(|c| c.name == old) else {
            return Err(Error::new(
                ErrorKind::UndefinedObject,
                format!("constraint \"{old}\" for table \"{}\" does not exist", table.name),
            ));
        };
        if let ConstraintKind::Unique { index, .. } = table.constraints[position].kind {
            let Some(index) = table.indexes.iter().position(|i| i.oid == index) else {
                return Err(Error::internal("a constraint's index is gone"));
            };
            return self.rename_index(&table, index, &new);
        }
        if table.constraints.iter().any(|c| c.name == new) {
            return Err(Error::new(
                ErrorKind::DuplicateObject,
                format!("constraint \"{new}\" for relation \"{}\" already exists", table.name),
            ));
        }
        let mut table = Table::clone(&table);
        table.constraints[position].name = new;
        self.editor.put_table(table)?;
        Ok(())
    }

    fn operation(&mut self, altering: &mut Altering, operation: &AlterTableOperation) -> Result<()> {
        match operation {
            AlterTableOperation::AddColumn { if_not_exists, column_def, column_position: None, .. } => {
                self.alter_add_column(altering, column_def, *if_not_exists)
            }
            AlterTableOperation::DropColumn { column_names, if_exists, drop_behavior, .. } => {
                let cascade = matches!(drop_behavior, Some(DropBehavior::Cascade));
                for name in column_names {
                    self.drop_column(altering, &fold(name), *if_exists, cascade)?;
                }
                Ok(())
            }
            AlterTableOperation::AddConstraint { constraint, not_valid } => {
                if *not_valid {
                    return Err(Error::unsupported("NOT VALID"));
                }
                let (name, wanted) = wanted_of(constraint)?;
                self.alter_add_constraint(altering, name, &wanted)
            }
            AlterTableOperation::DropConstraint { if_exists, name, drop_behavior } => {
                let cascade = matches!(drop_behavior, Some(DropBehavior::Cascade));
                self.drop_constraint(altering, &fold(name), *if_exists, cascade)
            }
            AlterTableOperation::AlterColumn { column_name, op } => self.alter_column(altering, &fold(column_name), op),
            AlterTableOperation::OwnerTo { new_owner } => {
                altering.table.owner = self.owner(new_owner)?;
                // The sequences of a table's columns have its owner.
                for sequence in self.snapshot().sequences_of(altering.table.oid, None) {
                    self.editor.put_sequence(Sequence { owner: altering.table.owner, ..Sequence::clone(&sequence) })?;
                }
                Ok(())
            }
            AlterTableOperation::ValidateConstraint { name } => {
                let name = fold(name);
                if altering.table.constraints.iter().any(|c| c.name == name) {
                    return Ok(());
                }
                Err(constraint_missing(&name, &altering.table.name))
            }
            AlterTableOperation::SetOptionsParens { options } => {
                for option in options {
                    self.storage_option(option)?;
                }
                Ok(())
            }
            AlterTableOperation::RenameTable { .. }
            | AlterTableOperation::RenameColumn { .. }
            | AlterTableOperation::RenameConstraint { .. } => {
                Err(Error::new(ErrorKind::SyntaxError, "RENAME cannot be combined with other changes"))
            }
            other => Err(Error::unsupported(format!("ALTER TABLE {other}"))),
        }
    }

    fn alter_add_column(&mut self, altering: &mut Altering, definition: &ColumnDef, if_not_exists: bool) -> Result<()> {
        let name = fold(&definition.name);
        if altering.table.column_named(&name).is_some() {
            if if_not_exists {
                self.notice_of(
                    ErrorKind::DuplicateColumn,
                    format!("column \"{name}\" of relation \"{}\" already exists, skipping", altering.table.name),
                );
                return Ok(());
            }
            return Err(duplicate_column(&name, &altering.table.name));
        }
        let mut wishes = column_wishes(definition, &altering.table.name)?;
        let position = self.add_column(&mut altering.table, definition, &wishes)?;
        let column = &altering.table.columns[position];
        let (attnum, ty, not_null) = (column.attnum, column.ty, column.not_null);
        let per_row = if column.identity.is_some() {
            true
        } else if let Some(default) = &column.default {
            let expression = parse_expression(&default.sql)?;
            match self.context.binder.evaluate_default(self.snapshot(), ty, &expression)? {
                DefaultValue::Constant(missing) => {
                    altering.table.columns[position].missing = missing;
                    false
                }
                DefaultValue::PerRow => true,
            }
        } else {
            false
        };
        if per_row {
            altering.rewrite = true;
            altering.columns.push(RewriteColumn { attnum, expression: None });
        } else if not_null && altering.table.columns[position].missing.is_none() {
            self.jobs.push(Job::Validate { table: altering.table.oid, what: Validation::NotNull { attnum } });
        }
        wishes.constraints.sort_by_key(|(_, wanted)| wanted_order(wanted));
        for (name, wanted) in &wishes.constraints {
            self.alter_add_constraint(altering, *name, wanted)?;
        }
        Ok(())
    }

    fn alter_add_constraint(
        &mut self,
        altering: &mut Altering,
        name: Option<&Ident>,
        wanted: &Wanted<'_>,
    ) -> Result<()> {
        self.add_constraint(&mut altering.table, name, wanted, true)?;
        if matches!(wanted, Wanted::Key { primary: true, .. }) {
            // Rows are kept in the order of the primary key.
            altering.rewrite = true;
        }
        Ok(())
    }

    fn drop_column(&mut self, altering: &mut Altering, name: &str, if_exists: bool, cascade: bool) -> Result<()> {
        let Some(position) = altering.table.column_named(name) else {
            if if_exists {
                self.notice(format!(
                    "column \"{name}\" of relation \"{}\" does not exist, skipping",
                    altering.table.name
                ));
                return Ok(());
            }
            return Err(column_missing(name, &altering.table.name));
        };
        let attnum = altering.table.columns[position].attnum;
        let table_oid = altering.table.oid;
        let shown = self.shown(&Relation::Table(Arc::clone(&altering.from)));
        let what = format!("column {name} of table {shown}");

        // Other tables' references to the column, and other tables' defaults from its sequences, stand in the way.
        let mut blocking = Vec::new();
        let mut lost_keys = Vec::new();
        for (other, position) in self.snapshot().referencing(table_oid) {
            let constraint = &other.constraints[position];
            if other.oid == table_oid {
                continue;
            }
            if let ConstraintKind::ForeignKey(key) = &constraint.kind
                && key.referenced.contains(&attnum)
            {
                let dependent = format!(
                    "constraint {} on table {}",
                    constraint.name,
                    self.shown(&Relation::Table(Arc::clone(&other)))
                );
                let line = format!("{dependent} depends on {what}");
                blocking.push((dependent, Some(line)));
                lost_keys.push((other.oid, constraint.oid));
            }
        }
        let sequences = self.snapshot().sequences_of(table_oid, Some(attnum));
        let lost_defaults = self.defaults_using(&sequences, &BTreeSet::from([table_oid]));
        for (table, attnum, sequence) in &lost_defaults {
            let dependent = self.default_name(table, *attnum);
            let line =
                format!("{dependent} depends on sequence {}", self.shown(&Relation::Sequence(Arc::clone(sequence))));
            blocking.push((dependent, Some(line)));
        }
        self.settle(&what, &blocking, cascade)?;
        for (table, constraint) in lost_keys {
            self.remove_constraint(table, constraint)?;
        }
        for (table, attnum, _) in lost_defaults {
            self.remove_default(table.oid, attnum)?;
        }
        for sequence in sequences {
            self.editor.remove_sequence(sequence.oid);
        }

        let gone: Vec<u32> = altering
            .table
            .indexes
            .iter()
            .filter(|i| i.columns.iter().any(|c| c.attnum == attnum))
            .map(|i| i.oid)
            .collect();
        altering.table.constraints.retain(|c| match &c.kind {
            ConstraintKind::Unique { index, .. } => !gone.contains(index),
            ConstraintKind::Check(check) => !check.columns.contains(&attnum),
            ConstraintKind::ForeignKey(key) => {
                !(key.columns.contains(&attnum) || key.table == table_oid && key.referenced.contains(&attnum))
            }
        });
        for oid in gone {
            remove_index(altering, oid, &mut self.jobs);
        }
        altering.table.columns.remove(position);
        altering.columns.retain(|c| c.attnum != attnum);
        Ok(())
    }

    fn drop_constraint(&mut self, altering: &mut Altering, name: &str, if_exists: bool, cascade: bool) -> Result<()> {
        let Some(position) = altering.table.constraints.iter().position(|c| c.name == name) else {
            if if_exists {
                self.notice(format!(
                    "constraint \"{name}\" of relation \"{}\" does not exist, skipping",
                    altering.table.name
                ));
                return Ok(());
            }
            return Err(constraint_missing(name, &altering.table.name));
        };
        let constraint = altering.table.constraints[position].clone();
        if let ConstraintKind::Unique { index, .. } = constraint.kind {
            let shown = self.shown(&Relation::Table(Arc::clone(&altering.from)));
            let mut blocking = Vec::new();
            let mut keys = Vec::new();
            let mut own_keys = Vec::new();
            for table in self.snapshot().tables.values() {
                for (other, key) in table.foreign_keys() {
                    if key.index != index {
                        continue;
                    }
                    let dependent = format!(
                        "constraint {} on table {}",
                        other.name,
                        self.shown(&Relation::Table(Arc::clone(table)))
                    );
                    let line = format!("{dependent} depends on index {name}");
                    blocking.push((dependent, Some(line)));
                    if table.oid == altering.table.oid {
                        own_keys.push(other.oid);
                    } else {
                        keys.push((table.oid, other.oid));
                    }
                }
            }
            self.settle(&format!("constraint {name} on table {shown}"), &blocking, cascade)?;
            for (table, key) in keys {
                self.remove_constraint(table, key)?;
            }
            altering.table.constraints.retain(|c| !own_keys.contains(&c.oid));
            remove_index(altering, index, &mut self.jobs);
        }
        altering.table.constraints.retain(|c| c.oid != constraint.oid);
        self.editor.set_comment(crate::catalog::system::PG_CONSTRAINT, constraint.oid, None);
        Ok(())
    }

    fn alter_column(&mut self, altering: &mut Altering, name: &str, operation: &AlterColumnOperation) -> Result<()> {
        let Some(position) = altering.table.column_named(name) else {
            return Err(column_missing(name, &altering.table.name));
        };
        let table_name = altering.table.name.clone();
        let identity = altering.table.columns[position].identity.is_some();
        let is_identity = || {
            Error::new(
                ErrorKind::SyntaxError,
                format!("column \"{name}\" of relation \"{table_name}\" is an identity column"),
            )
        };
        match operation {
            AlterColumnOperation::SetNotNull => {
                let column = &mut altering.table.columns[position];
                if !column.not_null {
                    column.not_null = true;
                    let attnum = column.attnum;
                    self.jobs.push(Job::Validate { table: altering.table.oid, what: Validation::NotNull { attnum } });
                }
            }
            AlterColumnOperation::DropNotNull => {
                if identity {
                    return Err(is_identity());
                }
                let attnum = altering.table.columns[position].attnum;
                if altering.table.has_primary_key()
                    && altering.table.primary_index().columns.iter().any(|c| c.attnum == attnum)
                {
                    return Err(Error::new(
                        ErrorKind::InvalidTableDefinition,
                        format!("column \"{name}\" is in a primary key"),
                    ));
                }
                altering.table.columns[position].not_null = false;
            }
            AlterColumnOperation::SetDefault { value } => {
                if identity {
                    return Err(is_identity());
                }
                let ty = altering.table.columns[position].ty;
                let sql = self.default_text(name, ty, value)?;
                altering.table.columns[position].default = match sql {
                    Some(sql) => Some(ColumnDefault { oid: self.oid()?, sql, owned_sequence: None }),
                    None => None,
                };
            }
            AlterColumnOperation::DropDefault => {
                if identity {
                    return Err(is_identity().with_hint("Use ALTER TABLE ... ALTER COLUMN ... DROP IDENTITY instead."));
                }
                altering.table.columns[position].default = None;
            }
            AlterColumnOperation::SetDataType { data_type, using, .. } => {
                self.alter_type(altering, position, data_type, using.as_ref())?
            }
            AlterColumnOperation::AddGenerated { generated_as, sequence_options } => {
                let always = match generated_as {
                    Some(GeneratedAs::Always) => true,
                    Some(GeneratedAs::ByDefault) => false,
                    _ => return Err(Error::unsupported("generated columns")),
                };
                self.add_identity(altering, position, always, sequence_options.as_deref().unwrap_or(&[]))?;
            }
        }
        Ok(())
    }

    fn add_identity(
        &mut self,
        altering: &mut Altering,
        position: usize,
        always: bool,
        options: &[SequenceOptions],
    ) -> Result<()> {
        let table = &mut altering.table;
        let column = &table.columns[position];
        let refuse = |what: &str| {
            Error::new(
                ErrorKind::ObjectNotInPrerequisiteState,
                format!("column \"{}\" of relation \"{}\" {what}", column.name, table.name),
            )
        };
        if !column.not_null {
            return Err(refuse("must be declared NOT NULL before identity can be added"));
        }
        if column.identity.is_some() {
            return Err(refuse("is already an identity column"));
        }
        if column.default.is_some() {
            return Err(refuse("already has a default value"));
        }
        if !matches!(column.ty.ty, PgType::Int2 | PgType::Int4 | PgType::Int8) {
            return Err(Error::new(
                ErrorKind::InvalidParameterValue,
                "identity column type must be smallint, integer, or bigint",
            ));
        }
        let name = choose_relation_name(self.snapshot(), table.schema, &table.name, Some(&column.name), "seq", &[]);
        let sequence = self.new_sequence(table.schema, name, column.ty, options)?;
        let oid = sequence.oid;
        self.editor.put_sequence(Sequence {
            owned_by: Some((table.oid, column.attnum)),
            owner: table.owner,
            ..sequence
        })?;
        table.columns[position].identity = Some(Identity { always, sequence: oid });
        Ok(())
    }

    pub(super) fn alter_identity(
        &mut self,
        table: &ObjectName,
        column: &Ident,
        always: Option<bool>,
        if_exists: bool,
    ) -> Result<&'static str> {
        const TAG: &str = "ALTER TABLE";
        let table = self.table(table)?;
        self.must_own(table.owner, "table", &table.name)?;
        let mut table = Table::clone(&table);
        let name = fold(column);
        let position = table.column_named(&name).ok_or_else(|| column_missing(&name, &table.name))?;
        let message = format!("column \"{name}\" of relation \"{}\" is not an identity column", table.name);
        match (&mut table.columns[position].identity, always) {
            (None, _) if if_exists => {
                self.notice(format!("{message}, skipping"));
                return Ok(TAG);
            }
            (None, _) => {
                return Err(Error::new(ErrorKind::ObjectNotInPrerequisiteState, message));
            }
            (Some(identity), Some(always)) => identity.always = always,
            (Some(identity), None) => {
                let sequence = identity.sequence;
                self.editor.remove_sequence(sequence);
                table.columns[position].identity = None;
            }
        }
        self.editor.put_table(table)?;
        Ok(TAG)
    }

    fn alter_type(
        &mut self,
        altering: &mut Altering,
        position: usize,
        data_type: &DataType,
        using: Option<&Expr>,
    ) -> Result<()> {
        let new_type = column_type(data_type)?;
        let old = altering.table.columns[position].clone();
        self.context.binder.bind_using(self.snapshot(), &altering.from, &old.name, new_type, using)?;
        if let Some(default) = &old.default {
            let expression = parse_expression(&default.sql)?;
            self.context.binder.bind_default(self.snapshot(), &old.name, new_type, &expression).map_err(|_| {
                Error::new(
                    ErrorKind::DatatypeMismatch,
                    format!(
                        "default for column \"{}\" cannot be cast automatically to type {}",
                        old.name,
                        new_type.ty.sql_name()
                    ),
                )
            })?;
        }
        for index in &altering.table.indexes {
            if index.columns.iter().any(|c| c.attnum == old.attnum) {
                super::constraints::must_be_indexable(new_type.ty)?;
            }
        }
        let in_key = altering.table.foreign_keys().any(|(_, key)| key.columns.contains(&old.attnum))
            || self.snapshot().referencing(altering.table.oid).iter().any(|(other, at)| {
                matches!(&other.constraints[*at].kind,
                        ConstraintKind::ForeignKey(key) if key.referenced.contains(&old.attnum))
            });
        let in_place = using.is_none() && widens(old.ty, new_type);
        if in_key && !in_place {
            return Err(Error::unsupported("ALTER TYPE of a column that a foreign key uses"));
        }
        altering.table.columns[position].ty = new_type;
        if old.identity.is_some() {
            for sequence in self.snapshot().sequences_of(altering.table.oid, Some(old.attnum)) {
                self.alter_identity_type(&sequence, new_type)?;
            }
        }
        // Conditions mean something else over the new type, or nothing.
        for (constraint, check) in altering.table.checks() {
            if !check.columns.contains(&old.attnum) {
                continue;
            }
            let expression = parse_expression(&check.sql)?;
            self.context.binder.bind_check(self.snapshot(), &altering.table, &expression)?;
            if !in_place {
                self.jobs.push(Job::Validate {
                    table: altering.table.oid,
                    what: Validation::Check { constraint: constraint.oid },
                });
            }
        }
        if !in_place {
            altering.rewrite = true;
            let expression = match using {
                Some(expression) => expression.to_string(),
                None => crate::catalog::quote_identifier(&old.name),
            };
            altering.columns.retain(|c| c.attnum != old.attnum);
            altering.columns.push(RewriteColumn { attnum: old.attnum, expression: Some(expression) });
        }
        Ok(())
    }

    /// An identity's sequence has the column's type.
    fn alter_identity_type(&mut self, sequence: &Sequence, ty: ColumnType) -> Result<()> {
        let bounds = |ty: PgType| match ty {
            PgType::Int2 => Ok((i64::from(i16::MIN), i64::from(i16::MAX))),
            PgType::Int4 => Ok((i64::from(i32::MIN), i64::from(i32::MAX))),
            PgType::Int8 => Ok((i64::MIN, i64::MAX)),
            _ => Err(Error::new(
                ErrorKind::InvalidParameterValue,
                "identity column type must be smallint, integer, or bigint",
            )),
        };
        let (old_min, old_max) = bounds(sequence.ty.ty)?;
        let (min, max) = bounds(ty.ty)?;
        let mut sequence = sequence.clone();
        sequence.ty = ty.ty.into();
        if sequence.max_value == old_max || sequence.max_value > max {
            sequence.max_value = max;
        }
        if sequence.min_value == old_min || sequence.min_value < min {
            sequence.min_value = min;
        }
        self.editor.put_sequence(sequence)?;
        Ok(())
    }

    pub(super) fn set_schema(&mut self, name: &ObjectName, if_exists: bool, schema: &Ident) -> Result<&'static str> {
        const TAG: &str = "ALTER TABLE";
        if if_exists && self.find(name)?.is_none() {
            self.notice(format!("relation \"{}\" does not exist, skipping", display_name(name)));
            return Ok(TAG);
        }
        let table = self.table(name)?;
        self.must_own(table.owner, "table", &table.name)?;
        let schema_name = fold(schema);
        let target =
            self.snapshot().schemas.values().find(|s| s.name == schema_name).map(|s| s.oid).ok_or_else(|| {
                Error::new(ErrorKind::InvalidSchemaName, format!("schema \"{schema_name}\" does not exist"))
            })?;
        if target == table.schema {
            return Ok(TAG);
        }
        let sequences = self.snapshot().sequences_of(table.oid, None);
        for moved in [table.name.as_str()]
            .into_iter()
            .chain(table.indexes.iter().filter(|i| i.oid != 0).map(|i| i.name.as_str()))
            .chain(sequences.iter().map(|s| s.name.as_str()))
        {
            if self.snapshot().relations.contains_key(&(target, moved.to_owned())) {
                return Err(Error::new(
                    ErrorKind::DuplicateTable,
                    format!("relation \"{moved}\" already exists in schema \"{schema_name}\""),
                ));
            }
        }
        for sequence in sequences {
            let oid = sequence.oid;
            let text = format!(
                "{}.{}",
                crate::catalog::quote_identifier(&schema_name),
                crate::catalog::quote_identifier(&sequence.name)
            );
            self.rewrite_defaults(&mut |relation| (relation.oid() == oid).then(|| text.clone()))?;
            self.editor.put_sequence(Sequence { schema: target, ..Sequence::clone(&sequence) })?;
        }
        let mut table = Table::clone(&*self.table_by_oid(table.oid)?);
        table.schema = target;
        self.editor.put_table(table)?;
        Ok(TAG)
    }

    pub(super) fn split_at(&mut self, name: &ObjectName, values: &[Vec<Expr>]) -> Result<&'static str> {
        self.must_be_alone("ALTER TABLE SPLIT AT")?;
        let table = self.table(name)?;
        self.must_own(table.owner, "table", &table.name)?;
        let key_columns = table.primary_index().columns.len().max(1);
        if let Some(point) = values.iter().find(|v| v.len() > key_columns) {
            return Err(Error::new(
                ErrorKind::SyntaxError,
                format!(
                    "SPLIT AT has {} values, but the primary key of \"{}\" has {key_columns}",
                    point.len(),
                    table.name
                ),
            ));
        }
        self.jobs.push(Job::Split { table: table.oid, values: values.to_vec() });
        Ok("ALTER TABLE")
    }
}

/// Takes an index out. Without a primary key rows are kept by hidden row id, so that losing it means a rewrite.
fn remove_index(altering: &mut Altering, oid: u32, jobs: &mut Vec<Job>) {
    let Some(position) = altering.table.indexes.iter().position(|i| i.oid == oid) else {
        return;
    };
    if altering.table.indexes[position].primary {
        altering.table.indexes[position] = hidden_index();
        altering.rewrite = true;
        return;
    }
    let removed = altering.table.indexes.remove(position);
    jobs.push(Job::DropIndexStorage {
        database: altering.table.database,
        storage: altering.table.storage,
        index: removed.id,
    });
}

/// Whether every stored value of the old type is, byte for byte in rows and keys, the same value of the new one.
fn widens(old: ColumnType, new: ColumnType) -> bool {
    let text = |ty| matches!(ty, PgType::Text | PgType::Varchar);
    if text(old.ty) && text(new.ty) {
        return match (old.char_length(), new.char_length()) {
            (_, None) => true,
            (Some(old), Some(new)) => new >= old,
            (None, Some(_)) => false,
        };
    }
    if old.ty != new.ty {
        return false;
    }
    if old.typmod == new.typmod {
        return true;
    }
    match old.ty {
        PgType::Numeric => match (old.numeric_precision_scale(), new.numeric_precision_scale()) {
            (_, None) => true,
            (Some((old_precision, old_scale)), Some((precision, scale))) => {
                scale == old_scale && precision >= old_precision
            }
            (None, Some(_)) => false,
        },
        PgType::Time | PgType::TimeTz | PgType::Timestamp | PgType::TimestampTz => {
            match (old.time_precision(), new.time_precision()) {
                (_, None) => true,
                (Some(old), Some(new)) => new >= old,
                (None, Some(new)) => new >= 6,
            }
        }
        PgType::Interval => new.typmod == -1,
        _ => false,
    }
}

fn duplicate_column(column: &str, table: &str) -> Error {
    Error::new(ErrorKind::DuplicateColumn, format!("column \"{column}\" of relation \"{table}\" already exists"))
}

fn constraint_missing(constraint: &str, table: &str) -> Error {
    Error::new(
        ErrorKind::UndefinedObject,
        format!("constraint \"{constraint}\" of relation \"{table}\" does not exist"),
    )
}
