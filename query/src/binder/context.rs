//! What the binder may look at.

use std::sync::Arc;

use stratos_types::{Error, ErrorKind, FormatOptions, Result};

use super::source::SourceText;
use crate::catalog::{Sequence, Snapshot, SystemTable, Table};
use crate::functions::{Aggregate, Function, Operator};

/// OID of `public`, which is there in every database.
const PUBLIC_OID: u32 = 2200;

/// Tables of pg_catalog, information_schema and the like.
pub trait SystemTables: Send + Sync {
    /// The table of that schema and name.
    fn table(&self, schema: &str, name: &str) -> Option<Arc<dyn SystemTable>>;
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
    /// The OID of a user's schema or `public`.
    pub fn schema_oid(&self, name: &str) -> Option<u32> {
        if name == "public" {
            return Some(PUBLIC_OID);
        }
        self.catalog
            .schemas
            .values()
            .find(|s| s.name == name)
            .map(|s| s.oid)
    }

    fn in_schema(&self, schema: &str, name: &str) -> Option<Relation> {
        if let Some(table) = self.system.table(schema, name) {
            return Some(Relation::System(table));
        }
        let schema = self.schema_oid(schema)?;
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

    /// The relation that a dotted, folded name means.
    ///
    /// # Errors
    /// 42P01 (with Postgres's wording), 0A000 for another database.
    pub fn relation(&self, parts: &[String]) -> Result<Relation> {
        let missing = || {
            Error::new(
                ErrorKind::UndefinedTable,
                format!("relation \"{}\" does not exist", parts.join(".")),
            )
        };
        match parts {
            [name] => {
                if !self.search_path.iter().any(|s| s == "pg_catalog")
                    && let Some(found) = self.in_schema("pg_catalog", name)
                {
                    return Ok(found);
                }
                self.search_path
                    .iter()
                    .find_map(|schema| self.in_schema(schema, name))
                    .ok_or_else(missing)
            }
            [schema, name] => self.in_schema(schema, name).ok_or_else(missing),
            [database, schema, name] => {
                if *database != self.database {
                    return Err(Error::new(
                        ErrorKind::FeatureNotSupported,
                        format!(
                            "cross-database references are not implemented: \"{}\"",
                            parts.join(".")
                        ),
                    ));
                }
                self.in_schema(schema, name).ok_or_else(missing)
            }
            _ => Err(Error::new(
                ErrorKind::SyntaxError,
                format!(
                    "improper relation name (too many dotted names): {}",
                    parts.join(".")
                ),
            )),
        }
    }
}
