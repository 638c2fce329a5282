//! ALTER TABLE … ALTER COLUMN: default, NOT NULL, type.

use sqlparser::ast::{AlterColumnOperation, DataType, Expr};
use stratos_types::{ColumnType, Error, ErrorKind, PgType, Result};

use super::alter_table::Altering;
use super::constraints::must_agree;
use super::expressions::parse_expression;
use super::{Ddl, Job, RewriteColumn, RewriteValue, Validation, column_missing, column_type};
use crate::catalog::{ColumnDefault, ConstraintKind, Sequence, Table};

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

impl Ddl<'_, '_> {
    pub(super) fn alter_column(
        &mut self,
        altering: &mut Altering,
        name: &str,
        operation: &AlterColumnOperation,
    ) -> Result<()> {
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
                let key = altering.table.declared_primary_key();
                if key.is_some_and(|key| key.columns.iter().any(|c| c.attnum == attnum)) {
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
            // Changes of identities are read by [`super::parse_alter`].
            AlterColumnOperation::AddGenerated { .. } => return Err(Error::unsupported("generated column")),
        }
        Ok(())
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
        let constants = self.context.binder.bind_using(self.snapshot(), &altering.from, &old.name, new_type, using)?;
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
        let in_place = using.is_none() && widens(old.ty, new_type);
        altering.table.columns[position].ty = new_type;
        altering.table.columns[position].collation = None;
        if !in_place {
            self.check_keys_again(&altering.table, old.attnum)?;
        }
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
                Some(expression) => {
                    // It is bound anew when the rows are written.
                    let mut expression = expression.clone();
                    super::expressions::freeze(&mut expression, &constants);
                    expression.to_string()
                }
                None => crate::catalog::quote_identifier(&old.name),
            };
            altering.columns.retain(|c| c.attnum != old.attnum);
            altering.columns.push(RewriteColumn { attnum: old.attnum, value: RewriteValue::Expression(expression) });
        }
        Ok(())
    }

    /// Foreign keys that use a column, on either side, whose values become others: their types must agree, and every child must
    /// have its parent still.
    fn check_keys_again(&mut self, table: &Table, attnum: i16) -> Result<()> {
        let own = table.foreign_keys().map(|(constraint, key)| (table, constraint, key));
        let others: Vec<_> = self.snapshot().referencing(table.oid);
        let incoming = others.iter().filter(|(other, _)| other.oid != table.oid).filter_map(|(other, at)| {
            let constraint = &other.constraints[*at];
            match &constraint.kind {
                ConstraintKind::ForeignKey(key) => Some((other.as_ref(), constraint, key)),
                _ => None,
            }
        });
        let mut jobs = Vec::new();
        for (child, constraint, key) in own.chain(incoming) {
            let uses = (child.oid == table.oid && key.columns.contains(&attnum))
                || (key.table == table.oid && key.referenced.contains(&attnum));
            if !uses {
                continue;
            }
            let other;
            let parent: &Table = if key.table == table.oid {
                table
            } else {
                other = self.table_by_oid(key.table)?;
                &other
            };
            must_agree(child, parent, key, &constraint.name)?;
            let what = Validation::ForeignKey { constraint: constraint.oid };
            jobs.push(Job::Validate { table: child.oid, what });
        }
        self.jobs.append(&mut jobs);
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
}
