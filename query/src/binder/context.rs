//! What the binder may look at.

use std::sync::Arc;

use stratos_types::{Error, ErrorKind, FormatOptions, Result};

use super::source::SourceText;
use crate::catalog::{Sequence, Snapshot, SystemTable, Table, is_temporary_name, resolve_temporary};
use crate::functions::{self, Aggregate, Function, Operator};

/// Tables of pg_catalog, information_schema and the like.
pub trait SystemTables: Send + Sync {
    /// The table of that schema and name.
    fn table(&self, schema: &str, name: &str) -> Option<Arc<dyn SystemTable>>;
}

impl<F> SystemTables for F
where
    F: Fn(&str, &str) -> Option<Arc<dyn SystemTable>> + Send + Sync,
{
    fn table(&self, schema: &str, name: &str) -> Option<Arc<dyn SystemTable>> {
        self(schema, name)
    }
}

/// Functions, aggregates and operators, by name.
pub trait Registry: Send + Sync {
    /// Functions of a name.
    fn functions(&self, name: &str) -> Vec<&'static Function>;
    /// Aggregates of a name.
    fn aggregates(&self, name: &str) -> Vec<&'static Aggregate>;
    /// Operators of a symbol.
    fn operators(&self, symbol: &str) -> Vec<&'static Operator>;
}

/// The registry of this build.
#[derive(Debug, Clone, Copy, Default)]
pub struct Builtins;

impl Registry for Builtins {
    fn functions(&self, name: &str) -> Vec<&'static Function> {
        functions::by_name(name).to_vec()
    }

    fn aggregates(&self, name: &str) -> Vec<&'static Aggregate> {
        functions::aggregates::by_name(name).to_vec()
    }

    fn operators(&self, symbol: &str) -> Vec<&'static Operator> {
        functions::operators::by_symbol(symbol).to_vec()
    }
}

/// The surroundings of a statement that is being bound.
#[derive(Clone)]
pub struct BindContext {
    /// The catalog as the transaction sees it.
    pub catalog: Arc<Snapshot>,
    /// Built-in tables.
    pub system: Arc<dyn SystemTables>,
    /// Built-in functions.
    pub registry: Arc<dyn Registry>,
    /// Schemas in order; `pg_catalog` comes first where it is not listed. `$user` is replaced already.
    pub search_path: Vec<String>,
    /// Name of the database, for three-part names.
    pub database: String,
    /// How literals read.
    pub format: Arc<FormatOptions>,
    /// The query string that the statement's spans refer to, for positions in errors.
    pub source: Arc<SourceText>,
    /// The statement comes with no values of parameters.
    pub without_params: bool,
}

/// What a name in FROM can mean.
#[derive(Debug, Clone)]
pub enum Relation {
    /// A table of a user.
    Table(Arc<Table>),
    /// A computed table.
    System(Arc<dyn SystemTable>),
    /// A sequence.
    Sequence(Arc<Sequence>),
    /// An index, with the table that it belongs to.
    Index(Arc<Table>, u32),
}

impl Relation {
    /// `pg_class.oid`.
    pub fn oid(&self) -> u32 {
        match self {
            Relation::Table(t) => t.oid,
            Relation::System(t) => t.oid(),
            Relation::Sequence(s) => s.oid,
            Relation::Index(_, oid) => *oid,
        }
    }
}

impl BindContext {
    /// The context of a statement in a database, with this build's functions and default settings for literals; `source`
    /// is the text that positions count in, `None` leaves errors without positions.
    pub fn new(
        catalog: Arc<Snapshot>,
        system: Arc<dyn SystemTables>,
        search_path: Vec<String>,
        source: Option<Arc<SourceText>>,
    ) -> BindContext {
        let database = catalog.databases.get(&catalog.database).map_or_else(String::new, |d| d.name.clone());
        BindContext {
            catalog,
            system,
            registry: Arc::new(Builtins),
            search_path,
            database,
            format: Arc::new(FormatOptions::default()),
            source: source.unwrap_or_default(),
            without_params: false,
        }
    }

    /// [`BindContext::new`] with this build's system tables.
    pub fn of(catalog: &Arc<Snapshot>, search_path: Vec<String>, source: Option<Arc<SourceText>>) -> BindContext {
        BindContext::new(catalog.clone(), Arc::new(crate::system::find), search_path, source)
    }

    /// For expressions stored in descriptors, which mean the same whatever the search path is.
    pub fn for_rules(catalog: &Arc<Snapshot>) -> BindContext {
        BindContext::of(catalog, vec!["pg_catalog".to_owned()], None)
    }

    /// Whether there is a schema of that name.
    pub fn has_schema(&self, name: &str) -> bool {
        self.catalog.schema_oid(resolve_temporary(name, &self.search_path)).is_some()
    }

    fn in_schema(&self, schema: &str, name: &str) -> Option<Relation> {
        if let Some(table) = self.system.table(schema, name) {
            return Some(Relation::System(table));
        }
        let schema = self.catalog.schema_oid(schema)?;
        let oid = *self.catalog.relations.get(&(schema, name.to_owned()))?;
        if let Some(table) = self.catalog.tables.get(&oid) {
            return Some(Relation::Table(Arc::clone(table)));
        }
        if let Some(sequence) = self.catalog.sequences.get(&oid) {
            return Some(Relation::Sequence(Arc::clone(sequence)));
        }
        self.catalog
            .tables
            .values()
            .find(|t| t.indexes.iter().any(|i| i.oid == oid))
            .map(|t| Relation::Index(Arc::clone(t), oid))
    }

    /// The relation of a schema that was written: `pg_temp` is the session's own, and those of other sessions are closed.
    fn in_named_schema(&self, schema: &str, name: &str) -> Result<Option<Relation>> {
        let schema = resolve_temporary(schema, &self.search_path);
        let found = self.in_schema(schema, name);
        if found.is_some() && is_temporary_name(schema) && !self.search_path.iter().any(|own| own == schema) {
            let message = "cannot access temporary tables of other sessions";
            return Err(Error::new(ErrorKind::FeatureNotSupported, message));
        }
        Ok(found)
    }

    /// The relation that a dotted, folded name means.
    ///
    /// # Errors
    /// 42P01 (with Postgres's wording), 0A000 for another database.
    pub fn relation(&self, parts: &[String]) -> Result<Relation> {
        let missing =
            || Error::new(ErrorKind::UndefinedTable, format!("relation \"{}\" does not exist", parts.join(".")));
        match parts {
            [name] => {
                if !self.search_path.iter().any(|s| s == "pg_catalog")
                    && let Some(found) = self.in_schema("pg_catalog", name)
                {
                    return Ok(found);
                }
                self.search_path.iter().find_map(|schema| self.in_schema(schema, name)).ok_or_else(missing)
            }
            [schema, name] => self.in_named_schema(schema, name)?.ok_or_else(missing),
            [database, schema, name] => {
                if *database != self.database {
                    return Err(Error::new(
                        ErrorKind::FeatureNotSupported,
                        format!("cross-database references are not implemented: \"{}\"", parts.join(".")),
                    ));
                }
                self.in_named_schema(schema, name)?.ok_or_else(missing)
            }
            _ => Err(Error::new(
                ErrorKind::SyntaxError,
                format!("improper relation name (too many dotted names): {}", parts.join(".")),
            )),
        }
    }
}
