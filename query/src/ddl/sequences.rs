//! CREATE, ALTER SEQUENCE.

use sqlparser::ast::{Expr, ObjectName, SequenceOptions, Statement, UnaryOperator, Value};
use stratos_types::{ColumnType, Error, ErrorKind, PgType, Result};

use super::{Ddl, SequenceChange, column_missing, column_type, display_name, duplicate_relation, name_parts};
use crate::catalog::{Relation, Sequence};

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidParameterValue, message)
}

/// A constant of a sequence option.
pub(crate) fn integer(expression: &Expr) -> Result<i64> {
    let text = match expression {
        Expr::Value(value) => match &value.value {
            Value::Number(text, _) => Some(text.clone()),
            _ => None,
        },
        Expr::UnaryOp { op, expr } => match (op, expr.as_ref()) {
            (UnaryOperator::Minus, Expr::Value(value)) => match &value.value {
                Value::Number(text, _) => Some(format!("-{text}")),
                _ => None,
            },
            (UnaryOperator::Plus, inner) => return integer(inner),
            _ => None,
        },
        _ => None,
    };
    let text =
        text.ok_or_else(|| Error::new(ErrorKind::SyntaxError, format!("syntax error at or near \"{expression}\"")))?;
    text.parse().map_err(|_| {
        Error::new(ErrorKind::NumericValueOutOfRange, format!("value \"{text}\" is out of range for type bigint"))
    })
}

fn bounds(ty: PgType) -> Result<(i64, i64)> {
    match ty {
        PgType::Int2 => Ok((i16::MIN.into(), i16::MAX.into())),
        PgType::Int4 => Ok((i32::MIN.into(), i32::MAX.into())),
        PgType::Int8 => Ok((i64::MIN, i64::MAX)),
        _ => Err(invalid("sequence type must be smallint, integer, or bigint")),
    }
}

/// 22023 for a value at which a sequence cannot stand.
fn within_bounds(sequence: &Sequence, value: i64) -> Result<()> {
    if value < sequence.min_value {
        return Err(invalid(format!("RESTART value ({value}) cannot be less than MINVALUE ({})", sequence.min_value)));
    }
    if value > sequence.max_value {
        return Err(invalid(format!(
            "RESTART value ({value}) cannot be greater than MAXVALUE ({})",
            sequence.max_value
        )));
    }
    Ok(())
}

/// 42601 of an option that is given twice.
pub(super) fn conflicting_options() -> Error {
    Error::new(ErrorKind::SyntaxError, "conflicting or redundant options")
}

/// Options as given; a minimum or maximum may be asked to be the default.
#[derive(Default)]
struct Options {
    increment: Option<i64>,
    min_value: Option<Option<i64>>,
    max_value: Option<Option<i64>>,
    start: Option<i64>,
    cache: Option<i64>,
    cycle: Option<bool>,
}

fn set<T>(slot: &mut Option<T>, value: T) -> Result<()> {
    if slot.replace(value).is_some() {
        return Err(conflicting_options());
    }
    Ok(())
}

fn read_options(options: &[SequenceOptions]) -> Result<Options> {
    let mut read = Options::default();
    for option in options {
        match option {
            SequenceOptions::IncrementBy(value, _) => set(&mut read.increment, integer(value)?)?,
            SequenceOptions::MinValue(value) => {
                set(&mut read.min_value, value.as_ref().map(integer).transpose()?)?;
            }
            SequenceOptions::MaxValue(value) => {
                set(&mut read.max_value, value.as_ref().map(integer).transpose()?)?;
            }
            SequenceOptions::StartWith(value, _) => set(&mut read.start, integer(value)?)?,
            SequenceOptions::Cache(value) => set(&mut read.cache, integer(value)?)?,
            // sqlparser's flag tells whether NO was there.
            SequenceOptions::Cycle(no) => set(&mut read.cycle, !no)?,
        }
    }
    Ok(read)
}

/// Applies options to a sequence in the order and with the messages of Postgres's `init_params`.
fn apply(sequence: &mut Sequence, options: &Options, new: bool) -> Result<()> {
    let (type_min, type_max) = bounds(sequence.ty.ty)?;
    if let Some(increment) = options.increment {
        if increment == 0 {
            return Err(invalid("INCREMENT must not be zero"));
        }
        sequence.increment = increment;
    }
    if let Some(cycle) = options.cycle {
        sequence.cycle = cycle;
    }
    let ascending = sequence.increment > 0;
    match options.max_value {
        Some(Some(max)) => sequence.max_value = max,
        Some(None) => sequence.max_value = if ascending { type_max } else { -1 },
        None if new => sequence.max_value = if ascending { type_max } else { -1 },
        None => {}
    }
    let out_of_type = |what: &str, value: i64| {
        invalid(format!("{what} ({value}) is out of range for sequence data type {}", sequence.ty.ty))
    };
    if !(type_min..=type_max).contains(&sequence.max_value) {
        return Err(out_of_type("MAXVALUE", sequence.max_value));
    }
    match options.min_value {
        Some(Some(min)) => sequence.min_value = min,
        Some(None) => sequence.min_value = if ascending { 1 } else { type_min },
        None if new => sequence.min_value = if ascending { 1 } else { type_min },
        None => {}
    }
    if !(type_min..=type_max).contains(&sequence.min_value) {
        return Err(invalid(format!(
            "MINVALUE ({}) is out of range for sequence data type {}",
            sequence.min_value, sequence.ty.ty
        )));
    }
    if sequence.min_value >= sequence.max_value {
        return Err(invalid(format!(
            "MINVALUE ({}) must be less than MAXVALUE ({})",
            sequence.min_value, sequence.max_value
        )));
    }
    match options.start {
        Some(start) => sequence.start = start,
        None if new => {
            sequence.start = if ascending { sequence.min_value } else { sequence.max_value };
        }
        None => {}
    }
    if sequence.start < sequence.min_value {
        return Err(invalid(format!(
            "START value ({}) cannot be less than MINVALUE ({})",
            sequence.start, sequence.min_value
        )));
    }
    if sequence.start > sequence.max_value {
        return Err(invalid(format!(
            "START value ({}) cannot be greater than MAXVALUE ({})",
            sequence.start, sequence.max_value
        )));
    }
    if let Some(cache) = options.cache {
        if cache <= 0 {
            return Err(invalid(format!("CACHE ({cache}) must be greater than zero")));
        }
        sequence.cache = cache;
    }
    Ok(())
}

impl Ddl<'_, '_> {
    /// A new sequence, not yet put into the catalog and owned by no column.
    pub fn new_sequence(
        &self,
        schema: u32,
        name: String,
        ty: ColumnType,
        options: &[SequenceOptions],
    ) -> Result<Sequence> {
        let oid = self.oid()?;
        let mut sequence = Sequence {
            oid,
            schema,
            name,
            owner: self.context.role,
            ty: ty.ty.into(),
            increment: 1,
            min_value: 1,
            max_value: i64::MAX,
            start: 1,
            cache: 1,
            cycle: false,
            owned_by: None,
            storage: oid,
            begin: None,
        };
        apply(&mut sequence, &read_options(options)?, true)?;
        sequence.begin = Some(sequence.start);
        Ok(sequence)
    }

    pub(super) fn create_sequence(&mut self, statement: &Statement) -> Result<&'static str> {
        let Statement::CreateSequence { temporary, if_not_exists, name, data_type, sequence_options, owned_by } =
            statement
        else {
            return Err(Error::internal("not CREATE SEQUENCE"));
        };
        const TAG: &str = "CREATE SEQUENCE";
        let (schema, name) = self.creation_schema(name, *temporary)?;
        if self.snapshot().relations.contains_key(&(schema, name.clone())) {
            if *if_not_exists {
                self.notice_of(ErrorKind::DuplicateTable, format!("relation \"{name}\" already exists, skipping"));
                return Ok(TAG);
            }
            return Err(duplicate_relation(&name));
        }
        let ty = data_type.as_ref().map_or(Ok(PgType::Int8.into()), column_type)?;
        let mut sequence = self.new_sequence(schema, name, ty, sequence_options)?;
        sequence.owned_by = owned_by.as_ref().map(|column| self.owning_column(column, schema)).transpose()?.flatten();
        self.editor.put_sequence(sequence)?;
        Ok(TAG)
    }

    /// `OWNED BY table.column`, or NONE.
    fn owning_column(&self, name: &ObjectName, schema: u32) -> Result<Option<(u32, i16)>> {
        let parts = name_parts(name)?;
        if let [(none, _)] = parts.as_slice()
            && none == "none"
        {
            return Ok(None);
        }
        if parts.len() < 2 {
            return Err(Error::new(ErrorKind::SyntaxError, "invalid OWNED BY option")
                .with_hint("Specify OWNED BY table.column or OWNED BY NONE."));
        }
        let table_name = ObjectName(name.0[..name.0.len() - 1].to_vec());
        let table = self.table(&table_name)?;
        let column = &parts[parts.len() - 1].0;
        if table.owner != self.context.role && !self.role()?.superuser {
            return Err(Error::new(
                ErrorKind::ObjectNotInPrerequisiteState,
                "sequence must have same owner as table it is linked to",
            ));
        }
        if table.schema != schema {
            return Err(Error::new(
                ErrorKind::ObjectNotInPrerequisiteState,
                "sequence must be in same schema as table it is linked to",
            ));
        }
        let position = table.column_named(column).ok_or_else(|| column_missing(column, &table.name))?;
        Ok(Some((table.oid, table.columns[position].attnum)))
    }

    /// The sequence of that name, or none with a notice under IF EXISTS.
    fn sequence(&mut self, name: &ObjectName, if_exists: bool) -> Result<Option<Sequence>> {
        match self.find(name)? {
            Some(Relation::Sequence(sequence)) => {
                self.must_own(sequence.owner, "sequence", &sequence.name)?;
                Ok(Some((*sequence).clone()))
            }
            Some(other) => {
                Err(Error::new(ErrorKind::WrongObjectType, format!("\"{}\" is not a sequence", other.name())))
            }
            None if if_exists => {
                self.notice(format!("relation \"{}\" does not exist, skipping", display_name(name)));
                Ok(None)
            }
            None => Err(Error::new(
                ErrorKind::UndefinedTable,
                format!("relation \"{}\" does not exist", display_name(name)),
            )),
        }
    }

    pub(super) fn alter_sequence(
        &mut self,
        name: &ObjectName,
        if_exists: bool,
        changes: &[SequenceChange],
    ) -> Result<&'static str> {
        const TAG: &str = "ALTER SEQUENCE";
        let Some(mut sequence) = self.sequence(name, if_exists)? else {
            return Ok(TAG);
        };
        match changes {
            [SequenceChange::OwnerTo(owner)] => {
                let owner = self.owner(owner)?;
                if sequence.owned_by.is_some() && owner != sequence.owner {
                    return Err(self.linked(&sequence, "cannot change owner of sequence", true));
                }
                sequence.owner = owner;
            }
            [SequenceChange::Rename(new_name)] => {
                self.rename_sequence(sequence.oid, &super::fold(new_name))?;
                return Ok(TAG);
            }
            [SequenceChange::SetSchema(schema)] => {
                self.move_sequence(sequence, &super::fold(schema))?;
                return Ok(TAG);
            }
            _ => self.change_sequence(&mut sequence, changes)?,
        }
        self.editor.put_sequence(sequence)?;
        Ok(TAG)
    }

    /// 0A000 for what cannot be done to a sequence that a column owns.
    fn linked(&self, sequence: &Sequence, message: &str, named: bool) -> Error {
        let table = sequence.owned_by.and_then(|(table, _)| self.snapshot().tables.get(&table));
        let message = if named { format!("{message} \"{}\"", sequence.name) } else { message.to_owned() };
        let detail = match table {
            Some(table) => format!("Sequence \"{}\" is linked to table \"{}\".", sequence.name, table.name),
            None => String::new(),
        };
        Error::new(ErrorKind::FeatureNotSupported, message).with_detail(detail)
    }

    fn move_sequence(&mut self, sequence: Sequence, schema_name: &str) -> Result<()> {
        self.must_stay(sequence.schema, schema_name)?;
        let target = self.snapshot().schemas.values().find(|s| s.name == schema_name).map(|s| s.oid);
        let target = target.ok_or_else(|| {
            Error::new(ErrorKind::InvalidSchemaName, format!("schema \"{schema_name}\" does not exist"))
        })?;
        if sequence.owned_by.is_some() {
            return Err(self.linked(&sequence, "cannot move an owned sequence into another schema", false));
        }
        if target == sequence.schema {
            return Ok(());
        }
        if self.snapshot().relations.contains_key(&(target, sequence.name.clone())) {
            return Err(Error::new(
                ErrorKind::DuplicateTable,
                format!("relation \"{}\" already exists in schema \"{schema_name}\"", sequence.name),
            ));
        }
        let oid = sequence.oid;
        let moved = Sequence { schema: target, ..sequence };
        let (schema, name) =
            (crate::catalog::quote_identifier(schema_name), crate::catalog::quote_identifier(&moved.name));
        let text = format!("{schema}.{name}");
        self.rewrite_defaults(&mut |relation| (relation.oid() == oid).then(|| text.clone()))?;
        self.editor.put_sequence(moved)?;
        Ok(())
    }

    /// Carries out options of ALTER SEQUENCE, in whatever order they were written.
    pub(super) fn change_sequence(&mut self, sequence: &mut Sequence, changes: &[SequenceChange]) -> Result<()> {
        let (mut options, mut restart, mut data_type, mut owner) = (Vec::new(), None, None, None);
        for change in changes {
            match change {
                SequenceChange::Option(option) => options.push((**option).clone()),
                SequenceChange::Restart(value) => set(&mut restart, value.as_deref().map(integer).transpose()?)?,
                SequenceChange::Type(ty) => set(&mut data_type, ty)?,
                SequenceChange::OwnedBy(column) => set(&mut owner, column)?,
                SequenceChange::OwnerTo(_) | SequenceChange::Rename(_) | SequenceChange::SetSchema(_) => {
                    return Err(Error::internal("a change of a sequence that stands alone came with others"));
                }
            }
        }
        let mut options = read_options(&options)?;
        if let Some(data_type) = data_type {
            let ty = column_type(data_type)?;
            let (old_min, old_max) = bounds(sequence.ty.ty)?;
            bounds(ty.ty)?;
            // A bound that was the type's own is the new type's.
            if sequence.max_value == old_max && options.max_value.is_none() {
                options.max_value = Some(None);
            }
            if sequence.min_value == old_min && options.min_value.is_none() {
                options.min_value = Some(None);
            }
            sequence.ty = ty.ty.into();
        }
        apply(sequence, &options, false)?;
        match restart {
            Some(restart) => self.restart_sequence(sequence, restart)?,
            None => within_bounds(sequence, (self.context.sequence_value)(sequence)?)?,
        }
        if let Some(column) = owner {
            if self.identity_of(sequence) {
                return Err(self.linked(sequence, "cannot change ownership of identity sequence", false));
            }
            sequence.owned_by = self.owning_column(column, sequence.schema)?;
        }
        Ok(())
    }

    fn identity_of(&self, sequence: &Sequence) -> bool {
        sequence
            .owned_by
            .and_then(|(table, attnum)| {
                let table = self.snapshot().tables.get(&table)?;
                table.columns[table.column_index(attnum)?].identity.as_ref()
            })
            .is_some_and(|identity| identity.sequence == sequence.oid)
    }

    /// Sets a sequence to its start or to a value, under a new storage number so that it rolls back.
    pub fn restart_sequence(&mut self, sequence: &mut Sequence, at: Option<i64>) -> Result<()> {
        let value = at.unwrap_or(sequence.start);
        within_bounds(sequence, value)?;
        sequence.storage = self.oid()?;
        sequence.begin = Some(value);
        Ok(())
    }

    /// Renames a sequence, also in the defaults that name it.
    pub fn rename_sequence(&mut self, oid: u32, new_name: &str) -> Result<()> {
        let Some(Relation::Sequence(sequence)) = self.snapshot().relation(oid) else {
            return Err(Error::internal("a sequence is gone"));
        };
        self.must_own(sequence.owner, "sequence", &sequence.name)?;
        self.must_be_free(sequence.schema, new_name)?;
        let renamed = Sequence { name: new_name.to_owned(), ..(*sequence).clone() };
        let text =
            super::expressions::qualified(self.snapshot(), &Relation::Sequence(std::sync::Arc::new(renamed.clone())));
        self.rewrite_defaults(&mut |relation| (relation.oid() == oid).then(|| text.clone()))?;
        self.editor.put_sequence(renamed)?;
        Ok(())
    }

    /// Rewrites the sequence names in all defaults of the database.
    pub fn rewrite_defaults(&mut self, change: &mut dyn FnMut(&Relation) -> Option<String>) -> Result<()> {
        let mut changed = Vec::new();
        for table in self.snapshot().tables.values() {
            let mut new_table = None;
            for (position, column) in table.columns.iter().enumerate() {
                let Some(default) = &column.default else {
                    continue;
                };
                if !default.sql.contains("regclass") {
                    continue;
                }
                let mut expression = super::parse_expression(&default.sql)?;
                if super::expressions::map_sequences(&mut expression, self.snapshot(), &[], change) {
                    let table = new_table.get_or_insert_with(|| (**table).clone());
                    if let Some(default) = &mut table.columns[position].default {
                        default.sql = super::expressions::stored_text(&mut expression);
                    }
                }
            }
            changed.extend(new_table);
        }
        for table in changed {
            self.editor.put_table(table)?;
        }
        Ok(())
    }
}
