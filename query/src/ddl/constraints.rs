//! Keys, checks and references: from the syntax tree to [`Constraint`]s, for CREATE TABLE and ALTER TABLE alike.

use sqlparser::ast::{
    self, ConstraintCharacteristics, ConstraintReferenceMatchKind, Expr, Ident, NullsDistinctOption, TableConstraint,
};
use stratos_types::{Error, ErrorKind, PgType, Result};

use super::alter_drop::constraint_missing;
use super::{Ddl, Job, Validation, fold};
use crate::catalog::{
    CheckConstraint, Constraint, ConstraintKind, ForeignKey, Index, IndexColumn, IndexState, ReferentialAction, Table,
    choose_constraint_name, choose_index_name,
};

/// Number of the primary index among a storage's indexes.
pub(crate) const PRIMARY_INDEX_ID: u32 = 1;
/// Most columns of an index, as in Postgres (INDEX_MAX_KEYS).
pub(crate) const INDEX_COLUMNS_MAX: usize = 32;

/// The primary index of a table without primary key: rows by hidden row id.
pub(crate) fn hidden_index() -> Index {
    Index {
        oid: 0,
        name: String::new(),
        id: PRIMARY_INDEX_ID,
        columns: Vec::new(),
        unique: true,
        deferrable: None,
        primary: false,
        state: IndexState::Public,
        comment: None,
    }
}

/// What a constraint clause asks for, whether written at a column or at the table.
pub(crate) enum Wanted<'a> {
    Key {
        primary: bool,
        columns: Vec<&'a Ident>,
        deferral: Deferral,
    },
    Check(&'a Expr),
    Foreign {
        columns: Vec<&'a Ident>,
        table: &'a ast::ObjectName,
        referenced: &'a [Ident],
        on_delete: Option<ast::ReferentialAction>,
        on_update: Option<ast::ReferentialAction>,
        match_full: bool,
        deferral: Deferral,
    },
}

/// `[NOT] DEFERRABLE [INITIALLY DEFERRED | IMMEDIATE]`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deferral {
    /// `DEFERRABLE`
    pub deferrable: bool,
    /// `INITIALLY DEFERRED`
    pub initially_deferred: bool,
}

impl Deferral {
    /// From what is written, each part of which may be missing.
    ///
    /// # Errors
    /// 42601 for `NOT DEFERRABLE INITIALLY DEFERRED`.
    pub fn of(deferrable: Option<bool>, initially_deferred: Option<bool>) -> Result<Deferral> {
        let initially_deferred = initially_deferred.unwrap_or(false);
        if initially_deferred && deferrable == Some(false) {
            return Err(Error::new(
                ErrorKind::SyntaxError,
                "constraint declared INITIALLY DEFERRED must be DEFERRABLE",
            ));
        }
        Ok(Deferral { deferrable: deferrable.unwrap_or(initially_deferred), initially_deferred })
    }
}

/// Where a constraint of that kind comes in Postgres's order of execution: keys, then checks, then foreign keys.
pub(crate) fn wanted_order(wanted: &Wanted<'_>) -> u8 {
    match wanted {
        Wanted::Key { primary: true, .. } => 0,
        Wanted::Key { .. } => 1,
        Wanted::Check(_) => 2,
        Wanted::Foreign { .. } => 3,
    }
}

/// What is written behind a constraint.
pub(crate) fn deferral(characteristics: Option<&ConstraintCharacteristics>) -> Result<Deferral> {
    let Some(c) = characteristics else { return Ok(Deferral::default()) };
    if c.enforced == Some(false) {
        return Err(Error::unsupported("NOT ENFORCED"));
    }
    Deferral::of(c.deferrable, c.initially.map(|initially| initially == ast::DeferrableInitial::Deferred))
}

/// Whether it is MATCH FULL.
fn is_match_full(kind: Option<&ConstraintReferenceMatchKind>) -> Result<bool> {
    match kind {
        None | Some(ConstraintReferenceMatchKind::Simple) => Ok(false),
        Some(ConstraintReferenceMatchKind::Full) => Ok(true),
        Some(other) => Err(Error::unsupported(other.to_string())),
    }
}

/// A plain column of a key list; an expression or ordering there is not possible in a constraint.
fn key_column(column: &ast::IndexColumn) -> Result<&Ident> {
    match &column.column.expr {
        Expr::Identifier(ident)
            if column.operator_class.is_none()
                && column.column.options.asc.is_none()
                && column.column.options.nulls_first.is_none() =>
        {
            Ok(ident)
        }
        other => Err(Error::new(ErrorKind::SyntaxError, format!("syntax error at or near \"{other}\""))),
    }
}

fn refuse_index_options(options: &[ast::IndexOption]) -> Result<()> {
    match options.first() {
        None => Ok(()),
        Some(option) => Err(Error::unsupported(format!("index option {option}"))),
    }
}

/// A constraint's PRIMARY KEY clause, at a column (`column`) or at the table.
pub(crate) fn wanted_primary<'a>(key: &'a ast::PrimaryKeyConstraint, column: Option<&'a Ident>) -> Result<Wanted<'a>> {
    refuse_index_options(&key.index_options)?;
    let columns = match column {
        Some(column) => vec![column],
        None => key.columns.iter().map(key_column).collect::<Result<_>>()?,
    };
    Ok(Wanted::Key { primary: true, columns, deferral: deferral(key.characteristics.as_ref())? })
}

/// A UNIQUE clause.
pub(crate) fn wanted_unique<'a>(key: &'a ast::UniqueConstraint, column: Option<&'a Ident>) -> Result<Wanted<'a>> {
    refuse_index_options(&key.index_options)?;
    if matches!(key.nulls_distinct, NullsDistinctOption::NotDistinct) {
        return Err(Error::unsupported("NULLS NOT DISTINCT"));
    }
    let columns = match column {
        Some(column) => vec![column],
        None => key.columns.iter().map(key_column).collect::<Result<_>>()?,
    };
    Ok(Wanted::Key { primary: false, columns, deferral: deferral(key.characteristics.as_ref())? })
}

/// A REFERENCES or FOREIGN KEY clause.
pub(crate) fn wanted_foreign<'a>(key: &'a ast::ForeignKeyConstraint, column: Option<&'a Ident>) -> Result<Wanted<'a>> {
    let columns = match column {
        Some(column) => vec![column],
        None => key.columns.iter().collect(),
    };
    Ok(Wanted::Foreign {
        columns,
        table: &key.foreign_table,
        referenced: &key.referred_columns,
        on_delete: key.on_delete,
        on_update: key.on_update,
        match_full: is_match_full(key.match_kind.as_ref())?,
        deferral: deferral(key.characteristics.as_ref())?,
    })
}

/// A table constraint with its name.
pub(crate) fn wanted_of(constraint: &TableConstraint) -> Result<(Option<&Ident>, Wanted<'_>)> {
    match constraint {
        TableConstraint::PrimaryKey(key) => Ok((key.name.as_ref(), wanted_primary(key, None)?)),
        TableConstraint::Unique(key) => Ok((key.name.as_ref(), wanted_unique(key, None)?)),
        TableConstraint::ForeignKey(key) => Ok((key.name.as_ref(), wanted_foreign(key, None)?)),
        TableConstraint::Check(check) => {
            if check.enforced == Some(false) {
                return Err(Error::unsupported("NOT ENFORCED"));
            }
            Ok((check.name.as_ref(), Wanted::Check(&check.expr)))
        }
        TableConstraint::PrimaryKeyUsingIndex(_) | TableConstraint::UniqueUsingIndex(_) => {
            Err(Error::unsupported("USING INDEX"))
        }
        other => Err(Error::unsupported(other.to_string())),
    }
}

fn action(action: Option<ast::ReferentialAction>) -> ReferentialAction {
    match action {
        None | Some(ast::ReferentialAction::NoAction) => ReferentialAction::NoAction,
        Some(ast::ReferentialAction::Restrict) => ReferentialAction::Restrict,
        Some(ast::ReferentialAction::Cascade) => ReferentialAction::Cascade,
        Some(ast::ReferentialAction::SetNull) => ReferentialAction::SetNull,
        Some(ast::ReferentialAction::SetDefault) => ReferentialAction::SetDefault,
    }
}

/// Whether values of a referencing column can be compared with those of the column that it refers to.
enum Comparable {
    Yes,
    /// In PostgreSQL they can, but several values of the one type would be equal to one of the other, or fewer or more of
    /// them, depending on the session's time zone: looking for one value does not find them.
    NotHere,
    No,
}

fn compare_keys(child: PgType, parent: PgType) -> Comparable {
    use PgType::{Bpchar, Date, Float4, Float8, Int2, Int4, Int8, Numeric, Text, Timestamp, TimestampTz, Varchar};
    let all = |family: &[PgType]| family.contains(&child) && family.contains(&parent);
    let exact = child == parent
        || [&[Int2, Int4, Int8][..], &[Text, Varchar], &[Float4, Float8], &[Date, Timestamp]].into_iter().any(all)
        || matches!(
            (child, parent),
            (Int2 | Int4 | Int8, Numeric) | (Int2 | Int4, Float8) | (Int2, Float4) | (Bpchar, Text | Varchar)
        );
    let implicit = stratos_types::cast_kind(child, parent) == Some(stratos_types::CastContext::Implicit);
    if exact {
        Comparable::Yes
    } else if implicit || all(&[Date, Timestamp, TimestampTz]) {
        Comparable::NotHere
    } else {
        Comparable::No
    }
}

/// A PRIMARY KEY or UNIQUE to be.
pub(super) struct NewKey {
    /// Given by the user.
    pub name: Option<String>,
    /// PRIMARY KEY.
    pub primary: bool,
    /// See [`Index::deferrable`].
    pub deferrable: Option<bool>,
}

impl Ddl<'_, '_> {
    /// Adds a constraint to a table being made or altered. `existing` tells that the table may have rows: then jobs check
    /// them or build the index.
    pub fn add_constraint(
        &mut self,
        table: &mut Table,
        name: Option<&Ident>,
        wanted: &Wanted<'_>,
        existing: bool,
    ) -> Result<()> {
        (self.context.check_canceled)()?;
        let name = name.map(fold);
        // A key's name is its index's, too, and as such it is looked at first.
        if let Some(name) = &name
            && !matches!(wanted, Wanted::Key { .. })
        {
            // Those of a CREATE TABLE are compared with each other before there is a relation.
            let twice = |c: &Constraint| c.name == *name && matches!(c.kind, ConstraintKind::Check(_));
            if !existing && matches!(wanted, Wanted::Check(_)) && table.constraints.iter().any(twice) {
                let message = format!("check constraint \"{name}\" already exists");
                return Err(Error::new(ErrorKind::DuplicateObject, message));
            }
            must_be_new(table, name)?;
        }
        match wanted {
            Wanted::Key { primary, columns, deferral } => {
                let deferrable = deferral.deferrable.then_some(deferral.initially_deferred);
                self.add_key(table, NewKey { name, primary: *primary, deferrable }, columns, existing)
            }
            Wanted::Check(expression) => self.add_check(table, name, expression, existing),
            Wanted::Foreign {
                columns,
                table: referenced_table,
                referenced,
                on_delete,
                on_update,
                match_full,
                deferral,
            } => {
                let mut key = self.foreign_key(
                    table,
                    columns,
                    referenced_table,
                    referenced,
                    *on_delete,
                    *on_update,
                    name.as_deref(),
                )?;
                key.match_full = *match_full;
                key.deferrable = deferral.deferrable;
                key.initially_deferred = deferral.initially_deferred;
                let name = match name {
                    Some(name) => name,
                    None => self.foreign_key_name(table, &key.columns),
                };
                let oid = self.oid()?;
                if key.table != table.oid {
                    // The referenced table's writers have to know of the key: a new version of its descriptor waits for
                    // those that are at work, and has the others planned anew.
                    let referenced = self.snapshot().tables.get(&key.table).cloned();
                    let referenced = referenced.ok_or_else(|| Error::internal("the referenced table is gone"))?;
                    self.editor.put_table(Table::clone(&referenced))?;
                }
                table.constraints.push(Constraint { oid, name, kind: ConstraintKind::ForeignKey(key) });
                if existing {
                    self.jobs
                        .push(Job::Validate { table: table.oid, what: Validation::ForeignKey { constraint: oid } });
                }
                Ok(())
            }
        }
    }

    /// When a foreign key is to be checked from now on.
    pub fn alter_constraint(
        &mut self,
        table: &ast::ObjectName,
        if_exists: bool,
        name: &Ident,
        deferral: Deferral,
    ) -> Result<&'static str> {
        const TAG: &str = "ALTER TABLE";
        if if_exists && self.find(table)?.is_none() {
            self.notice(format!("relation \"{}\" does not exist, skipping", super::display_name(table)));
            return Ok(TAG);
        }
        let mut table = Table::clone(&*self.table(table)?);
        self.must_own(table.owner, "table", &table.name)?;
        self.must_be_settled(TAG, &table)?;
        let name = fold(name);
        let Some(constraint) = table.constraints.iter_mut().find(|c| c.name == name) else {
            return Err(constraint_missing(&name, &table.name));
        };
        let ConstraintKind::ForeignKey(key) = &mut constraint.kind else {
            return Err(Error::new(
                ErrorKind::WrongObjectType,
                format!("constraint \"{name}\" of relation \"{}\" is not a foreign key constraint", table.name),
            ));
        };
        (key.deferrable, key.initially_deferred) = (deferral.deferrable, deferral.initially_deferred);
        let referenced = key.table;
        if referenced != table.oid {
            // Those who change the referenced table's rows have to know.
            let referenced = self.table_by_oid(referenced)?;
            self.editor.put_table(Table::clone(&referenced))?;
        }
        self.editor.put_table(table)?;
        Ok(TAG)
    }

    fn foreign_key_name(&self, table: &Table, columns: &[i16]) -> String {
        let names = crate::catalog::joined_columns(
            columns.iter().filter_map(|n| table.column_index(*n)).map(|i| table.columns[i].name.as_str()),
        );
        choose_constraint_name(self.snapshot(), table.schema, table, Some(&names), "fkey")
    }

    fn add_key(&mut self, table: &mut Table, key: NewKey, columns: &[&Ident], existing: bool) -> Result<()> {
        let primary = key.primary;
        if primary && table.declared_primary_key().is_some() {
            let error = multiple_primary_keys(table);
            return Err(match columns.first() {
                Some(ident) if !existing => self.at_key(error, ident, &["primary", "key"]),
                _ => error,
            });
        }
        if columns.len() > INDEX_COLUMNS_MAX {
            return Err(too_many_index_columns());
        }
        let phrase: &[&str] = if primary { &["primary", "key"] } else { &["unique"] };
        let mut keys: Vec<IndexColumn> = Vec::with_capacity(columns.len());
        let mut names: Vec<String> = Vec::with_capacity(columns.len());
        for ident in columns {
            let column_name = fold(ident);
            let position = table.column_named(&column_name).ok_or_else(|| {
                self.at_key(
                    Error::new(
                        ErrorKind::UndefinedColumn,
                        format!("column \"{column_name}\" named in key does not exist"),
                    ),
                    ident,
                    phrase,
                )
            })?;
            let attnum = table.columns[position].attnum;
            if keys.iter().any(|k| k.attnum == attnum) {
                let kind = if primary { "primary key" } else { "unique" };
                return Err(self.at_key(
                    Error::new(
                        ErrorKind::DuplicateColumn,
                        format!("column \"{column_name}\" appears twice in {kind} constraint"),
                    ),
                    ident,
                    phrase,
                ));
            }
            must_be_indexable(table.columns[position].ty.ty)?;
            keys.push(IndexColumn { attnum, descending: false, nulls_first: false, class: None });
            names.push(column_name);
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.push_key(table, key, keys, &names, existing)
    }

    /// Adds a key whose columns are known to be there; `names` are theirs.
    pub(super) fn push_key(
        &mut self,
        table: &mut Table,
        key: NewKey,
        keys: Vec<IndexColumn>,
        names: &[&str],
        existing: bool,
    ) -> Result<()> {
        let NewKey { name, primary, deferrable } = key;
        let name = match name {
            Some(name) => {
                self.must_be_free(table.schema, &name)?;
                if table.name == name || table.indexes.iter().any(|i| i.name == name) {
                    return Err(super::duplicate_relation(&name));
                }
                must_be_new(table, &name)?;
                name
            }
            None => choose_index_name(self.snapshot(), table, names, primary, true),
        };
        let (index_oid, constraint_oid) = (self.oid()?, self.oid()?);
        // No two rows have the same place even for a moment: a deferrable key is an index beside them.
        let holds_rows = primary && deferrable.is_none();
        let index = Index {
            oid: index_oid,
            name: name.clone(),
            id: if holds_rows { PRIMARY_INDEX_ID } else { index_oid },
            columns: keys,
            unique: deferrable.is_none(),
            deferrable,
            primary,
            state: IndexState::Public,
            comment: None,
        };
        table.constraints.push(Constraint {
            oid: constraint_oid,
            name,
            kind: ConstraintKind::Unique { index: index_oid, primary },
        });
        if primary {
            for key in &index.columns {
                if let Some(position) = table.column_index(key.attnum) {
                    table.columns[position].not_null = true;
                }
            }
        }
        if holds_rows {
            // The rows' own order changes: whoever calls with existing rows rewrites the table.
            table.indexes[0] = index;
        } else {
            table.indexes.push(index);
            if existing {
                self.jobs.push(Job::BuildIndex { table: table.oid, index: index_oid, online: false });
            }
        }
        Ok(())
    }

    fn add_check(&mut self, table: &mut Table, name: Option<String>, expression: &Expr, existing: bool) -> Result<()> {
        let (sql, columns) = self.check_text(table, expression)?;
        let name = match name {
            Some(name) => name,
            None => {
                let only = match columns.as_slice() {
                    [attnum] => table.column_index(*attnum).map(|i| table.columns[i].name.clone()),
                    _ => None,
                };
                choose_constraint_name(self.snapshot(), table.schema, table, only.as_deref(), "check")
            }
        };
        let oid = self.oid()?;
        table.constraints.push(Constraint { oid, name, kind: ConstraintKind::Check(CheckConstraint { sql, columns }) });
        if existing {
            self.jobs.push(Job::Validate { table: table.oid, what: Validation::Check { constraint: oid } });
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one clause")]
    fn foreign_key(
        &self,
        table: &Table,
        columns: &[&Ident],
        referenced_table: &ast::ObjectName,
        referenced: &[Ident],
        on_delete: Option<ast::ReferentialAction>,
        on_update: Option<ast::ReferentialAction>,
        name: Option<&str>,
    ) -> Result<ForeignKey> {
        let missing = |column: &str| {
            Error::new(
                ErrorKind::UndefinedColumn,
                format!("column \"{column}\" referenced in foreign key constraint does not exist"),
            )
        };
        // A table may refer to itself before the catalog knows it.
        let itself = {
            let (schema, relation) = super::split_name(referenced_table)?;
            relation == table.name
                && match schema {
                    Some(schema) => schema.name == table.schema_name,
                    None => !matches!(
                        self.find(referenced_table)?,
                        Some(found) if found.oid() != table.oid
                    ),
                }
        };
        let target = if itself {
            table.clone()
        } else {
            let found = self.relation(referenced_table)?;
            match found {
                crate::catalog::Relation::Table(found) => (*found).clone(),
                other => {
                    return Err(Error::new(
                        ErrorKind::WrongObjectType,
                        format!("referenced relation \"{}\" is not a table", other.name()),
                    ));
                }
            }
        };
        match (self.snapshot().is_temporary(table.schema), self.snapshot().is_temporary(target.schema)) {
            (true, false) => {
                return Err(Error::new(
                    ErrorKind::InvalidTableDefinition,
                    "constraints on temporary tables may reference only temporary tables",
                ));
            }
            (false, true) => {
                return Err(Error::new(
                    ErrorKind::InvalidTableDefinition,
                    "constraints on permanent tables may reference only permanent tables",
                ));
            }
            _ => {}
        }
        let (on_delete, on_update) = (action(on_delete), action(on_update));
        let attnums = columns
            .iter()
            .map(|ident| {
                let name = fold(ident);
                table.column_named(&name).map(|i| table.columns[i].attnum).ok_or_else(|| missing(&name))
            })
            .collect::<Result<Vec<i16>>>()?;
        let referenced_attnums = if referenced.is_empty() {
            let key = target.declared_primary_key().ok_or_else(|| {
                Error::new(
                    ErrorKind::UndefinedObject,
                    format!("there is no primary key for referenced table \"{}\"", target.name),
                )
            })?;
            if key.deferrable.is_some() {
                return Err(Error::new(
                    ErrorKind::ObjectNotInPrerequisiteState,
                    format!("cannot use a deferrable primary key for referenced table \"{}\"", target.name),
                ));
            }
            key.columns.iter().map(|c| c.attnum).collect()
        } else {
            referenced
                .iter()
                .map(|ident| {
                    let name = fold(ident);
                    target.column_named(&name).map(|i| target.columns[i].attnum).ok_or_else(|| missing(&name))
                })
                .collect::<Result<Vec<i16>>>()?
        };
        if attnums.len() != referenced_attnums.len() {
            return Err(Error::new(
                ErrorKind::InvalidForeignKey,
                "number of referencing and referenced columns for foreign key disagree",
            ));
        }
        let matching = target.indexes.iter().filter(|i| {
            i.is_key()
                && i.oid != 0
                && i.state == IndexState::Public
                && i.columns.len() == referenced_attnums.len()
                && referenced_attnums.iter().all(|n| i.columns.iter().any(|c| c.attnum == *n))
                && i.columns.iter().all(|c| referenced_attnums.contains(&c.attnum))
        });
        // One that is unique at every moment, if there is any.
        let index = matching.min_by_key(|i| i.deferrable.is_some()).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidForeignKey,
                format!("there is no unique constraint matching given keys for referenced table \"{}\"", target.name),
            )
        })?;
        if index.deferrable.is_some() {
            return Err(Error::new(
                ErrorKind::ObjectNotInPrerequisiteState,
                format!("cannot use a deferrable unique constraint for referenced table \"{}\"", target.name),
            ));
        }
        let key = ForeignKey {
            columns: attnums,
            table: target.oid,
            referenced: referenced_attnums,
            index: index.oid,
            on_update,
            on_delete,
            match_full: false,
            deferrable: false,
            initially_deferred: false,
        };
        let name = match name {
            Some(name) => name.to_owned(),
            None => self.foreign_key_name(table, &key.columns),
        };
        must_agree(table, &target, &key, &name)?;
        Ok(key)
    }
}

pub(super) fn multiple_primary_keys(table: &Table) -> Error {
    Error::new(
        ErrorKind::InvalidTableDefinition,
        format!("multiple primary keys for table \"{}\" are not allowed", table.name),
    )
}

/// 42710 when the table has a constraint of that name.
pub(super) fn must_be_new(table: &Table, name: &str) -> Result<()> {
    if !table.constraints.iter().any(|c| c.name == name) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::DuplicateObject,
        format!("constraint \"{name}\" for relation \"{}\" already exists", table.name),
    ))
}

/// 42804 unless the types of a foreign key's columns can be compared with those that they refer to.
pub(crate) fn must_agree(child: &Table, parent: &Table, key: &ForeignKey, name: &str) -> Result<()> {
    for (from, to) in key.columns.iter().zip(&key.referenced) {
        let (Some(from), Some(to)) = (child.column_index(*from), parent.column_index(*to)) else {
            return Err(Error::internal("a key column is gone"));
        };
        let (from, to) = (&child.columns[from], &parent.columns[to]);
        let (one, other) = (from.ty.ty.sql_name(), to.ty.ty.sql_name());
        match compare_keys(from.ty.ty, to.ty.ty) {
            Comparable::Yes => {}
            Comparable::NotHere => {
                return Err(Error::unsupported(format!("a foreign key from {one} to {other}")));
            }
            Comparable::No => {
                let message = format!("foreign key constraint \"{name}\" cannot be implemented");
                return Err(Error::new(ErrorKind::DatatypeMismatch, message).with_detail(format!(
                    "Key columns \"{}\" and \"{}\" are of incompatible types: {one} and {other}.",
                    from.name, to.name
                )));
            }
        }
    }
    Ok(())
}

pub(crate) fn too_many_index_columns() -> Error {
    Error::new(ErrorKind::TooManyColumns, format!("cannot use more than {INDEX_COLUMNS_MAX} columns in an index"))
}

/// 42704 for types without an order, as Postgres has no btree operator class for them; 0A000 for arrays and jsonb, whose
/// order Postgres has and the key encoding has not.
pub(crate) fn must_be_indexable(ty: PgType) -> Result<()> {
    match ty {
        PgType::Json | PgType::Xid | PgType::AclItem | PgType::PgNodeTree => Err(Error::new(
            ErrorKind::UndefinedObject,
            format!("data type {ty} has no default operator class for access method \"btree\""),
        )
        .with_hint(
            "You must specify an operator class for the index or define a default operator class for the data type.",
        )),
        PgType::Jsonb | PgType::Array(_) | PgType::Int2Vector | PgType::OidVector => {
            Err(Error::unsupported(format!("an index on type {ty}")))
        }
        _ => Ok(()),
    }
}
