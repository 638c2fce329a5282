//! What becomes of a session's temporary relations at the end of a transaction, at `DISCARD`, and at the session's end.

use std::sync::Arc;

use stratos_replication::{Isolation, LockMode, Span, TableLockMode, WaitPolicy};
use stratos_types::{Error, ErrorKind, Result};

use super::session::Session;
use super::transaction::Company;
use crate::binder;
use crate::catalog::{OnCommit, Snapshot, Table, keys, quote_identifier, removal_of_temporary, temporary_schema_name};
use crate::ddl::DdlStatement;
use crate::engine::Engine;
use crate::exec::stored;
use crate::rows::storage_prefix;

/// How the removal holds the tables that it drops.
const ALONE: LockMode = LockMode::Table(TableLockMode::AccessExclusive);
/// A session that has ended waits for whoever changes the schema.
const WAIT: WaitPolicy = WaitPolicy::Wait { timeout: None };

impl Session {
    /// Does what `ON COMMIT` asks for, as the last part of the transaction that is about to commit.
    ///
    /// # Errors
    /// The store's; the transaction is then to be rolled back.
    pub(super) async fn end_temporary(&mut self) -> Result<()> {
        if !self.shared.has_temporary() || self.block.as_ref().is_none_or(|block| block.failed) {
            return Ok(());
        }
        let catalog = self.current_catalog()?;
        let Some(block) = &mut self.block else { return Ok(()) };
        if !block.store.has_writes() {
            return Ok(());
        }
        let schema = temporary_schema_name(self.shared.pid);
        let own = || catalog.tables.values().filter(|table| table.schema_name == schema);
        let wanted = |wanted| own().filter(move |table| table.on_commit == Some(wanted)).collect::<Vec<_>>();
        let (drop, empty) = (wanted(OnCommit::Drop), wanted(OnCommit::DeleteRows));
        let span = |table: &Table| Span::prefix(&storage_prefix(table.database, table.storage));
        // A table that is emptied at the end of every transaction was empty before this one.
        let changes_schema = block.catalog.is_some();
        if changes_schema || empty.iter().any(|table| block.store.touches(&span(table))) {
            refuse_references(&catalog, &empty)?;
            if !changes_schema {
                empty.iter().for_each(|table| block.store.forget(&span(table)));
            }
        }
        if !drop.is_empty() {
            let drop: Vec<String> = drop.into_iter().map(dotted).collect();
            self.run_text(format!("DROP TABLE {} CASCADE", drop.join(", "))).await?;
        }
        // Its rows may be in the store already where it is new.
        if changes_schema && !empty.is_empty() {
            let empty: Vec<String> = empty.into_iter().map(dotted).collect();
            self.run_text(format!("TRUNCATE {}", empty.join(", "))).await?;
        }
        Ok(())
    }

    /// `DISCARD TEMP`
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn discard_temporary(&mut self) -> Result<()> {
        if !self.shared.has_temporary() {
            return Ok(());
        }
        let catalog = self.current_catalog()?;
        let tables: Vec<String> = self.own_temporary(&catalog).into_iter().map(dotted).collect();
        if !tables.is_empty() {
            self.run_text(format!("DROP TABLE {} CASCADE", tables.join(", "))).await?;
        }
        let catalog = self.current_catalog()?;
        let schema = temporary_schema_name(self.shared.pid);
        let own = catalog.sequences.values().filter(|s| catalog.schema_name(s.schema) == Some(&schema));
        let sequences: Vec<String> = own.map(|s| format!("{schema}.{}", quote_identifier(&s.name))).collect();
        if !sequences.is_empty() {
            self.run_text(format!("DROP SEQUENCE {} CASCADE", sequences.join(", "))).await?;
        }
        Ok(())
    }

    fn own_temporary<'a>(&self, catalog: &'a Snapshot) -> Vec<&'a Arc<Table>> {
        let schema = temporary_schema_name(self.shared.pid);
        catalog.tables.values().filter(|table| table.schema_name == schema).collect()
    }

    /// Carries out a schema change in the running transaction, and tells nobody of it.
    async fn run_text(&mut self, text: String) -> Result<()> {
        let parsed = binder::parse(&text)?;
        let statement = parsed.first().and_then(|parsed| parsed.sql()).cloned();
        let statement = statement.ok_or_else(|| Error::internal("a statement of the server's own cannot be read"))?;
        let told = self.notice_count();
        self.run_schema_change(&DdlStatement::Sql(Box::new(statement)), &text, Company::String).await?;
        self.forget_notices(told);
        Ok(())
    }

    /// Drops what the session leaves behind. It does so behind the session: nobody waits for it.
    pub(super) fn leave_temporary(&self) {
        if !self.shared.has_temporary() {
            return;
        }
        let (engine, database) = (self.engine.clone(), self.shared.database);
        let schema = temporary_schema_name(self.shared.pid);
        // Without a runtime the node is going down, and the next start sees to it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = drop_temporary(&engine, database, |name| name == schema).await {
                    tracing::warn!(%error, schema, "temporary tables of a session that is gone stay until the next start");
                }
            });
        }
    }
}

/// 0A000 where rows that stay would refer to rows that go.
fn refuse_references(catalog: &Snapshot, empty: &[&Arc<Table>]) -> Result<()> {
    for table in empty {
        for (other, _) in catalog.referencing(table.oid) {
            if empty.iter().all(|emptied| emptied.oid != other.oid) {
                let message = "unsupported ON COMMIT and foreign key combination";
                let (from, to) = (&other.name, &table.name);
                return Err(Error::new(ErrorKind::FeatureNotSupported, message).with_detail(format!(
                    "Table \"{from}\" references \"{to}\", but they do not have the same ON COMMIT setting."
                )));
            }
        }
    }
    Ok(())
}

fn dotted(table: &Arc<Table>) -> String {
    format!("{}.{}", quote_identifier(&table.schema_name), quote_identifier(&table.name))
}

/// Drops the temporary schemas of a database whose names are wanted, with all that is in them.
///
/// # Errors
/// The store's.
pub(crate) async fn drop_temporary(
    engine: &Arc<Engine>,
    database: u32,
    wanted: impl Fn(&str) -> bool + Send,
) -> Result<()> {
    if removal_of_temporary(&engine.latest_catalog(database)?, &wanted).is_none() {
        return Ok(());
    }
    let mut transaction = engine.store().begin(Isolation::ReadCommitted, false);
    stored(transaction.begin_statement())?;
    stored(transaction.lock(&keys::version(), LockMode::Update, WAIT).await)?;
    stored(transaction.begin_statement())?;
    let catalog = engine.catalog_at(database, &transaction.view())?;
    let Some(removal) = removal_of_temporary(&catalog, &wanted) else {
        transaction.rollback().await;
        return Ok(());
    };
    for (key, value) in removal.changes {
        if keys::is_table(&key) {
            stored(transaction.lock_object(&key, ALONE, WAIT).await)?;
        }
        stored(match value {
            Some(value) => transaction.put(key, value),
            None => transaction.delete(key),
        })?;
    }
    for span in removal.jobs.iter().filter_map(|job| job.freed_span()) {
        stored(transaction.drop_span(&span))?;
    }
    stored(transaction.commit().await)?;
    let catalog = engine.latest_catalog(database)?;
    engine.sequences().keep_only(&catalog);
    engine.sequences().remove(database, &removal.sequences).await
}
