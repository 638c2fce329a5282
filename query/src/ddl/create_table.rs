//! CREATE TABLE.

use sqlparser::ast::{
    self, ColumnDef, ColumnOption, CreateTable, CreateTableLikeDefaults, CreateTableLikeKind, CreateTableOptions, Expr,
    GeneratedAs, Ident, SequenceOptions, SqlOption, Value,
};
use stratos_types::{ColumnType, Error, ErrorKind, PgType, Result};

use super::constraints::{
    Wanted, hidden_index, multiple_primary_keys, wanted_foreign, wanted_of, wanted_order, wanted_primary, wanted_unique,
};
use super::like::like_clause;
use super::{Ddl, Job, column_type, fold};
use crate::binder::{NAME_ONLY, data_wanted};
use crate::catalog::{
    COLLATIONS, Column, ColumnDefault, DEFAULT_COLLATION, Identity, OnCommit, Table, choose_relation_name,
};

/// Most columns of a table, as in Postgres (MaxHeapAttributeNumber).
pub(crate) const COLUMNS_MAX: usize = 1600;

/// How the storage parameters begin that Postgres has beside `fillfactor`.
const POSTGRES_PARAMETERS: &[&str] = &[
    "autovacuum_",
    "log_autovacuum_min_duration",
    "parallel_workers",
    "toast_tuple_target",
    "user_catalog_table",
    "vacuum_index_cleanup",
    "vacuum_truncate",
    "deduplicate_items",
    "oids",
];

/// Names that Postgres's tables have by themselves.
const SYSTEM_COLUMNS: &[&str] = &["tableoid", "cmax", "xmax", "cmin", "xmin", "ctid"];

/// What a column definition asks for beside name and type.
#[derive(Default)]
pub(crate) struct ColumnWishes<'a> {
    pub not_null: Option<bool>,
    pub default: Option<&'a Expr>,
    pub serial: bool,
    pub identity: Option<(bool, &'a [SequenceOptions])>,
    /// Of `pg_collation`.
    pub collation: Option<u32>,
    pub constraints: Vec<(Option<&'a Ident>, Wanted<'a>)>,
}

/// Reads a column's options.
pub(super) fn column_wishes<'a>(ddl: &Ddl<'_, '_>, definition: &'a ColumnDef, table: &str) -> Result<ColumnWishes<'a>> {
    let column = fold(&definition.name);
    // The clause of that number with these words is one too many.
    let conflict = |message: String, phrase: &[&str], nth: usize| {
        ddl.at_clause(Error::new(ErrorKind::SyntaxError, message), &definition.name, phrase, nth)
    };
    let mut wishes =
        ColumnWishes { serial: super::types::serial_type(&definition.data_type).is_some(), ..ColumnWishes::default() };
    if wishes.serial {
        wishes.not_null = Some(true);
    }
    let set_null = |wishes: &mut ColumnWishes<'a>, not_null: bool, phrase: &[&str], nth: usize| {
        if wishes.not_null.is_some_and(|before| before != not_null) {
            let message =
                format!("conflicting NULL/NOT NULL declarations for column \"{column}\" of table \"{table}\"");
            return Err(conflict(message, phrase, nth));
        }
        wishes.not_null = Some(not_null);
        Ok(())
    };
    for option in &definition.options {
        let name = option.name.as_ref();
        match &option.option {
            ColumnOption::Null => {
                let before = definition.options.iter().filter(|o| matches!(o.option, ColumnOption::NotNull)).count();
                set_null(&mut wishes, false, &["null"], before)?;
            }
            ColumnOption::NotNull => set_null(&mut wishes, true, &["not", "null"], 0)?,
            ColumnOption::Default(expression) => {
                if wishes.default.is_some() || wishes.serial {
                    let message =
                        format!("multiple default values specified for column \"{column}\" of table \"{table}\"");
                    let error = Error::new(ErrorKind::SyntaxError, message);
                    return Err(match wishes.serial {
                        true => error,
                        false => ddl.at_clause(error, &definition.name, &["default"], 1),
                    });
                }
                wishes.default = Some(expression);
            }
            ColumnOption::PrimaryKey(key) => {
                if wishes.not_null == Some(false) {
                    set_null(&mut wishes, true, &["primary", "key"], 0)?;
                }
                wishes.constraints.push((name, wanted_primary(key, Some(&definition.name))?));
            }
            ColumnOption::Unique(key) => wishes.constraints.push((name, wanted_unique(key, Some(&definition.name))?)),
            ColumnOption::ForeignKey(key) => {
                wishes.constraints.push((name, wanted_foreign(key, Some(&definition.name))?))
            }
            ColumnOption::Check(check) => {
                if check.enforced == Some(false) {
                    return Err(Error::unsupported("NOT ENFORCED"));
                }
                wishes.constraints.push((name, Wanted::Check(&check.expr)));
            }
            ColumnOption::Generated { generated_as, sequence_options, generation_expr: None, .. } => {
                if wishes.identity.is_some() {
                    let message =
                        format!("multiple identity specifications for column \"{column}\" of table \"{table}\"");
                    return Err(conflict(message, &["generated"], 1));
                }
                let always = match generated_as {
                    GeneratedAs::Always => true,
                    GeneratedAs::ByDefault => false,
                    GeneratedAs::ExpStored => return Err(Error::unsupported("generated column")),
                };
                wishes.identity = Some((always, sequence_options.as_deref().unwrap_or(&[])));
            }
            ColumnOption::Generated { .. } => return Err(Error::unsupported("generated column")),
            ColumnOption::Collation(name) => {
                let collation = super::display_name(name);
                let wanted = collation.to_lowercase();
                let wanted = wanted.trim_start_matches("pg_catalog.");
                let known = COLLATIONS.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, oid)| *oid);
                wishes.collation = Some(known.ok_or_else(|| {
                    ddl.at_clause(crate::binder::undefined_collation(&collation), &definition.name, &["collate"], 0)
                })?);
            }
            other => return Err(Error::unsupported(format!("column option {other}"))),
        }
    }
    if wishes.identity.is_some() {
        if wishes.default.is_some() || wishes.serial {
            let message = format!("both default and identity specified for column \"{column}\" of table \"{table}\"");
            let last = definition.options.iter().rev().find_map(|option| match option.option {
                ColumnOption::Default(_) => Some("default"),
                ColumnOption::Generated { .. } => Some("generated"),
                _ => None,
            });
            return Err(conflict(message, &[last.unwrap_or("generated")], 0));
        }
        set_null(&mut wishes, true, &["generated"], 0)?;
    }
    Ok(wishes)
}

impl Ddl<'_, '_> {
    pub(super) fn create_table(&mut self, create: &CreateTable) -> Result<&'static str> {
        refuse_clauses(create)?;
        let tag = if create.query.is_some() { "SELECT" } else { "CREATE TABLE" };
        let (schema, name) = self.creation_schema(&create.name, create.temporary)?;
        if self.snapshot().relations.contains_key(&(schema, name.clone())) {
            if create.if_not_exists {
                self.notice_of(ErrorKind::DuplicateTable, format!("relation \"{name}\" already exists, skipping"));
                return Ok(if create.query.is_some() { "CREATE TABLE AS" } else { tag });
            }
            return Err(super::duplicate_relation(&name));
        }
        self.storage_options(&create.table_options)?;
        let oid = self.oid()?;
        let mut table = Table {
            oid,
            schema,
            schema_name: self.snapshot().schema_name(schema).unwrap_or_default().to_owned(),
            database: self.snapshot().database,
            name,
            owner: self.context.role,
            storage: oid,
            columns: Vec::new(),
            next_attnum: 1,
            indexes: vec![hidden_index()],
            constraints: Vec::new(),
            comment: None,
            on_commit: self.on_commit(create, schema)?,
            version: 0,
        };
        if let Some(query) = &create.query {
            return self.create_table_as(create, query, table, tag);
        }
        if create.columns.is_empty()
            && create.constraints.is_empty()
            && create.like.is_none()
            && let Some(ident) = create.name.0.last().and_then(|part| part.as_ident())
            && !self.is_bracket_behind(ident)
        {
            return Err(self.nothing_behind(ident));
        }
        let mut likes = Vec::new();
        match &create.like {
            None => {}
            // As an element of CREATE SCHEMA.
            Some(CreateTableLikeKind::Parenthesized(like)) => {
                let defaults = matches!(like.defaults, Some(CreateTableLikeDefaults::Including));
                likes.push(self.like_columns(&mut table, &like.name, if defaults { "+defaults" } else { "" })?);
            }
            Some(CreateTableLikeKind::Plain(_)) => {
                return Err(Error::new(ErrorKind::SyntaxError, "syntax error at or near \"LIKE\""));
            }
        }
        let mut constraints = Vec::new();
        for definition in &create.columns {
            if let Some((name, options)) = like_clause(definition) {
                likes.push(self.like_columns(&mut table, name, options)?);
                continue;
            }
            let mut wishes = column_wishes(self, definition, &table.name)?;
            self.add_column(&mut table, definition, &wishes)?;
            constraints.append(&mut wishes.constraints);
        }
        for constraint in &create.constraints {
            constraints.push(wanted_of(constraint)?);
        }
        constraints.sort_by_key(|(_, wanted)| wanted_order(wanted));
        let mut keys: Vec<Vec<String>> = Vec::new();
        for (name, wanted) in &constraints {
            if matches!(wanted, Wanted::Foreign { .. }) {
                for like in std::mem::take(&mut likes) {
                    self.like_rest(&mut table, &like)?;
                }
            }
            // Postgres makes one index of a key that is asked for twice.
            if let Wanted::Key { primary, columns, .. } = wanted {
                if let Some(column) = columns.first().filter(|_| *primary && table.has_primary_key()) {
                    return Err(self.at_key(multiple_primary_keys(&table), column, &["primary", "key"]));
                }
                let columns: Vec<String> = columns.iter().map(|c| fold(c)).collect();
                if name.is_none() && keys.contains(&columns) {
                    continue;
                }
                keys.push(columns);
            }
            self.add_constraint(&mut table, *name, wanted, false)?;
        }
        for like in likes {
            self.like_rest(&mut table, &like)?;
        }
        self.editor.put_table(table)?;
        Ok(tag)
    }

    /// What the end of a transaction is to do to the new table.
    fn on_commit(&self, create: &CreateTable, schema: u32) -> Result<Option<OnCommit>> {
        let Some(wanted) = &create.on_commit else { return Ok(None) };
        if !self.snapshot().is_temporary(schema) {
            let message = "ON COMMIT can only be used on temporary tables";
            return Err(Error::new(ErrorKind::InvalidTableDefinition, message));
        }
        Ok(match wanted {
            ast::OnCommit::DeleteRows => Some(OnCommit::DeleteRows),
            ast::OnCommit::Drop => Some(OnCommit::Drop),
            ast::OnCommit::PreserveRows => None,
        })
    }

    fn create_table_as(
        &mut self,
        create: &CreateTable,
        query: &ast::Query,
        mut table: Table,
        tag: &'static str,
    ) -> Result<&'static str> {
        if !create.constraints.is_empty()
            || create.columns.iter().any(|c| !is_name_only(&c.data_type) || !c.options.is_empty())
        {
            return Err(Error::new(ErrorKind::SyntaxError, "CREATE TABLE AS takes column names only"));
        }
        let (query, data) = data_wanted(query);
        let columns = self.context.binder.query_columns(self.snapshot(), query)?;
        if create.columns.len() > columns.len() {
            return Err(Error::new(ErrorKind::SyntaxError, "too many column names were specified"));
        }
        for (position, (name, ty)) in columns.into_iter().enumerate() {
            let name = create.columns.get(position).map_or(name, |c| fold(&c.name));
            let ty = match ty.ty {
                PgType::Unknown => PgType::Text.into(),
                PgType::Record | PgType::Void => {
                    return Err(Error::new(
                        ErrorKind::InvalidTableDefinition,
                        format!("column \"{name}\" has pseudo-type {}", ty.ty),
                    ));
                }
                _ => ty,
            };
            push_column(&mut table, name, ty)?;
        }
        let oid = table.oid;
        self.editor.put_table(table)?;
        if !data {
            return Ok("CREATE TABLE AS");
        }
        self.jobs.push(Job::Populate { table: oid, query: Box::new(query.clone()) });
        Ok(tag)
    }

    /// Adds a column with its default and sequence, but without its constraints. Gives its position.
    pub fn add_column(
        &mut self,
        table: &mut Table,
        definition: &ColumnDef,
        wishes: &ColumnWishes<'_>,
    ) -> Result<usize> {
        let name = fold(&definition.name);
        let serial = super::types::serial_type(&definition.data_type);
        let ty = match serial {
            Some(ty) => ty.into(),
            None => column_type(&definition.data_type).map_err(|error| self.type_error(error, definition))?,
        };
        must_be_storable(&name, ty.ty)?;
        if wishes.collation.is_some() && !ty.ty.is_string() && !ty.ty.element().is_some_and(PgType::is_string) {
            let message = format!("collations are not supported by type {}", ty.ty);
            let error = Error::new(ErrorKind::DatatypeMismatch, message);
            return Err(self.at_clause(error, &definition.name, &["collate"], 0));
        }
        let position = push_column(table, name.clone(), ty)?;
        let attnum = table.columns[position].attnum;
        table.columns[position].not_null = wishes.not_null == Some(true);
        table.columns[position].collation = wishes.collation.filter(|collation| *collation != DEFAULT_COLLATION);
        if let Some(expression) = wishes.default
            && let Some(sql) = self.default_text(&name, ty, expression)?
        {
            table.columns[position].default = Some(ColumnDefault { oid: self.oid()?, sql, owned_sequence: None });
        }
        if serial.is_some() || wishes.identity.is_some() {
            let options = wishes.identity.map_or(&[][..], |(_, options)| options);
            if wishes.identity.is_some() && !matches!(ty.ty, PgType::Int2 | PgType::Int4 | PgType::Int8) {
                return Err(Error::new(
                    ErrorKind::InvalidParameterValue,
                    "identity column type must be smallint, integer, or bigint",
                ));
            }
            let sequence_name = choose_relation_name(
                self.snapshot(),
                table.schema,
                &table.name,
                Some(&name),
                "seq",
                &table.indexes.iter().map(|i| i.name.clone()).chain([table.name.clone()]).collect::<Vec<_>>(),
            );
            let sequence = self.new_sequence(table.schema, sequence_name, ty, options)?;
            let sequence =
                crate::catalog::Sequence { owned_by: Some((table.oid, attnum)), owner: table.owner, ..sequence };
            let relation = crate::catalog::Relation::Sequence(self.editor.put_sequence(sequence)?);
            if let Some((always, _)) = wishes.identity {
                table.columns[position].identity = Some(Identity { always, sequence: relation.oid() });
            } else {
                let qualified = super::expressions::qualified(self.snapshot(), &relation);
                table.columns[position].default = Some(ColumnDefault {
                    oid: self.oid()?,
                    sql: format!("nextval({}::regclass)", crate::catalog::quote_literal(&qualified)),
                    owned_sequence: Some(relation.oid()),
                });
            }
        }
        Ok(position)
    }

    /// What is wrong with a column's type, with its place.
    fn type_error(&self, error: Error, definition: &ColumnDef) -> Error {
        let placed = self.behind(error.clone(), &definition.name);
        match &definition.data_type {
            ast::DataType::Custom(name, _) => {
                let parts = super::name_parts(name).unwrap_or_default();
                if let [(schema, _), _] = parts.as_slice()
                    && self.snapshot().schema_oid(schema).is_none()
                {
                    let missing =
                        Error::new(ErrorKind::InvalidSchemaName, format!("schema \"{schema}\" does not exist"));
                    return self.behind(missing, &definition.name);
                }
                placed
            }
            // A number of bits is wrong where it stands.
            ast::DataType::Float(_) => match self.bracket_behind(&definition.name) {
                Some(position) => error.at(position + 1),
                None => placed,
            },
            ast::DataType::Int(Some(_))
            | ast::DataType::Integer(Some(_))
            | ast::DataType::SmallInt(Some(_))
            | ast::DataType::BigInt(Some(_)) => match self.bracket_behind(&definition.name) {
                Some(position) => Error::new(ErrorKind::SyntaxError, "syntax error at or near \"(\"").at(position),
                None => placed,
            },
            ast::DataType::Array(ast::ArrayElemTypeDef::SquareBracket(element, _))
                if super::types::serial_type(element).is_some() =>
            {
                let array = Error::new(ErrorKind::FeatureNotSupported, "array of serial is not implemented");
                self.behind(array, &definition.name)
            }
            _ => placed,
        }
    }

    /// Storage parameters of `WITH (…)`.
    fn storage_options(&mut self, options: &CreateTableOptions) -> Result<()> {
        let options = match options {
            CreateTableOptions::None => return Ok(()),
            CreateTableOptions::With(options) => options,
            other => return Err(Error::unsupported(other.to_string())),
        };
        for option in options {
            self.storage_option(option)?;
        }
        Ok(())
    }

    /// A fill factor is a hint to a storage in pages, which this is not: it is checked, and means nothing. Others would promise
    /// something.
    pub(super) fn storage_option(&mut self, option: &SqlOption) -> Result<()> {
        let SqlOption::KeyValue { key, value } = option else {
            return Err(Error::unsupported(format!("storage parameter {option}")));
        };
        let name = fold(key);
        match name.as_str() {
            "fillfactor" => {
                let written = match value {
                    Expr::Value(value) => match &value.value {
                        Value::Number(text, _) | Value::SingleQuotedString(text) => text.clone(),
                        other => other.to_string(),
                    },
                    other => other.to_string(),
                };
                check_fill_factor(&written)
            }
            "oids" if value.to_string().eq_ignore_ascii_case("false") => Ok(()),
            name if POSTGRES_PARAMETERS.iter().any(|known| name.strip_prefix(known).is_some()) => {
                Err(Error::unsupported(format!("storage parameter \"{name}\"")))
            }
            name => Err(Error::new(ErrorKind::InvalidParameterValue, format!("unrecognized parameter \"{name}\""))),
        }
    }
}

/// 22023 unless it is a fill factor.
pub(crate) fn check_fill_factor(written: &str) -> Result<()> {
    let wrong = |message: String| Error::new(ErrorKind::InvalidParameterValue, message);
    match written.parse::<i64>().ok() {
        Some(10..=100) => Ok(()),
        Some(other) => Err(wrong(format!("value {other} out of bounds for option \"fillfactor\""))
            .with_detail("Valid values are between \"10\" and \"100\".")),
        None => Err(wrong(format!("invalid value for integer option \"fillfactor\": {written}"))),
    }
}

/// Whether it stands for a column of CREATE TABLE AS that was given a name and nothing else.
fn is_name_only(data_type: &ast::DataType) -> bool {
    match data_type {
        ast::DataType::Custom(name, _) => {
            name.0.first().and_then(|part| part.as_ident()).is_some_and(|ident| ident.value == NAME_ONLY)
        }
        _ => false,
    }
}

/// 42P16 for types that only expressions have.
fn must_be_storable(column: &str, ty: PgType) -> Result<()> {
    match ty {
        PgType::Unknown | PgType::Record | PgType::Void => {
            Err(Error::new(ErrorKind::InvalidTableDefinition, format!("column \"{column}\" has pseudo-type {ty}")))
        }
        _ => Ok(()),
    }
}

/// Appends a column; gives its position.
pub(crate) fn push_column(table: &mut Table, name: String, ty: ColumnType) -> Result<usize> {
    if SYSTEM_COLUMNS.contains(&name.as_str()) {
        return Err(Error::new(
            ErrorKind::DuplicateColumn,
            format!("column name \"{name}\" conflicts with a system column name"),
        ));
    }
    if table.column_named(&name).is_some() {
        return Err(Error::new(ErrorKind::DuplicateColumn, format!("column \"{name}\" specified more than once")));
    }
    if table.columns.len() >= COLUMNS_MAX {
        return Err(Error::new(ErrorKind::TooManyColumns, format!("tables can have at most {COLUMNS_MAX} columns")));
    }
    let attnum = table.next_attnum;
    table.next_attnum = attnum.checked_add(1).ok_or_else(|| {
        Error::new(ErrorKind::TooManyColumns, format!("tables can have at most {} columns in their life", i16::MAX))
    })?;
    table.columns.push(Column {
        attnum,
        name,
        ty,
        collation: None,
        not_null: false,
        default: None,
        identity: None,
        missing: None,
        comment: None,
    });
    Ok(table.columns.len() - 1)
}

/// 0A000 for the clauses of CREATE TABLE that mean something and are not here.
fn refuse_clauses(create: &CreateTable) -> Result<()> {
    let clauses = [
        (create.global.is_some() && !create.temporary, "GLOBAL"),
        (create.external, "EXTERNAL"),
        (create.or_replace, "OR REPLACE"),
        (create.dynamic || create.transient || create.volatile || create.iceberg, "this kind of table"),
        (create.inherits.is_some(), "INHERITS"),
        (create.partition_of.is_some(), "PARTITION OF"),
        (create.partition_by.is_some(), "PARTITION BY"),
        (create.clone.is_some(), "CLONE"),
        (create.without_rowid, "WITHOUT ROWID"),
        (create.file_format.is_some() || create.location.is_some(), "LOCATION"),
        (create.on_cluster.is_some(), "ON CLUSTER"),
        (create.primary_key.is_some() || create.order_by.is_some(), "ORDER BY"),
        (create.cluster_by.is_some() || create.clustered_by.is_some(), "CLUSTER BY"),
        (create.comment.is_some(), "COMMENT"),
        (create.strict, "STRICT"),
        (create.copy_grants, "COPY GRANTS"),
        (create.with_tags.is_some(), "TAG"),
        (create.version.is_some(), "VERSION"),
        (create.diststyle.is_some() || create.distkey.is_some(), "DISTKEY"),
        (create.sortkey.is_some(), "SORTKEY"),
        (create.backup.is_some(), "BACKUP"),
        (create.default_ddl_collation.is_some(), "DEFAULT_DDL_COLLATION"),
    ];
    match clauses.iter().find(|(present, _)| *present) {
        Some((_, clause)) => Err(Error::unsupported(clause)),
        None => Ok(()),
    }
}
