//! SET CONSTRAINTS: which checks wait for the end of the transaction.

use sqlparser::ast::ObjectName;
use stratos_types::{Error, ErrorKind, Result};

use super::session::Session;
use super::transaction::Company;
use super::utility::{done, fold};
use crate::catalog::{ConstraintKind, Snapshot};
use crate::result::StatementResult;

/// The deferrable constraints of a name in the first schema of `path` that has constraints of this name.
///
/// # Errors
/// 42704 for none, 42809 for one that cannot be deferred and is to be.
fn constraints_named(catalog: &Snapshot, path: &[u32], name: &str, deferred: bool) -> Result<Vec<u32>> {
    for schema in path {
        let tables = catalog.tables.values().filter(|table| table.schema == *schema);
        let indexes = tables.clone().flat_map(|table| &table.indexes);
        let keys: Vec<u32> = indexes.filter(|index| index.deferrable.is_some()).map(|index| index.oid).collect();
        let mut found = tables.flat_map(|table| &table.constraints).filter(|c| c.name == name).peekable();
        if found.peek().is_none() {
            continue;
        }
        let mut constraints = Vec::new();
        for constraint in found {
            let deferrable = match &constraint.kind {
                ConstraintKind::ForeignKey(key) => key.deferrable,
                ConstraintKind::Unique { index, .. } => keys.contains(index),
                ConstraintKind::Check(_) => false,
            };
            if deferrable {
                constraints.push(constraint.oid);
            } else if deferred {
                let message = format!("constraint \"{name}\" is not deferrable");
                return Err(Error::new(ErrorKind::WrongObjectType, message));
            }
        }
        return Ok(constraints);
    }
    Err(Error::new(ErrorKind::UndefinedObject, format!("constraint \"{name}\" does not exist")))
}

impl Session {
    pub(super) async fn set_constraints(
        &mut self,
        names: Option<&[ObjectName]>,
        deferred: bool,
        company: Company,
    ) -> Result<StatementResult> {
        const STATEMENT: &str = "SET CONSTRAINTS";
        if !self.shares_block(company) {
            self.warning(ErrorKind::NoActiveSqlTransaction, "SET CONSTRAINTS can only be used in transaction blocks");
        }
        let wanted = match names {
            None => None,
            Some(names) => {
                let catalog = self.current_catalog()?;
                let path = self.shared_search_path();
                let mut wanted = Vec::new();
                for name in names {
                    let parts: Vec<String> = name.0.iter().filter_map(|p| p.as_ident()).map(fold).collect();
                    let (schema, constraint) = match parts.as_slice() {
                        [name] => (None, name),
                        [schema, name] => (Some(schema), name),
                        [database, schema, name] if *database == self.shared.database_name => (Some(schema), name),
                        _ => {
                            return Err(Error::new(
                                ErrorKind::FeatureNotSupported,
                                format!("cross-database references are not implemented: \"{}\"", parts.join(".")),
                            ));
                        }
                    };
                    let schemas = match schema {
                        None => path.iter().filter_map(|name| catalog.schema_oid(name)).collect(),
                        Some(schema) => vec![catalog.schema_oid(schema).ok_or_else(|| {
                            Error::new(ErrorKind::InvalidSchemaName, format!("schema \"{schema}\" does not exist"))
                        })?],
                    };
                    wanted.extend(constraints_named(&catalog, &schemas, constraint, deferred)?);
                }
                Some(wanted)
            }
        };
        self.ensure_block().deferred.set(wanted.as_deref(), deferred);
        if !deferred {
            self.check_deferred(false).await?;
        }
        done(STATEMENT)
    }
}
