//! How a session's transaction starts, commits and rolls back.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use stratos_replication::{Isolation, Transaction};
use stratos_types::{Error, Result};

use super::session::Session;
use super::transaction::{Block, Characteristics};
use crate::catalog::{Snapshot, Table};
use crate::exec::deferred::{self, Deferred};
use crate::exec::{StatementContext, store_error, stored, violations};
use crate::rows::storage_of;

impl Session {
    /// An error happened: the transaction block, if there is one, has failed. It is undone at once, as far as its youngest
    /// savepoint, and its locks go: nobody waits for a client that has yet to say ROLLBACK.
    pub fn fail(&mut self) {
        self.counters.failed();
        let Some(block) = self.block.as_mut().filter(|block| !block.failed) else { return };
        block.failed = true;
        if block.savepoints.is_empty() {
            self.undo_block();
        } else {
            self.return_to_last_savepoint();
        }
    }

    /// Undoes the whole block and leaves an empty one, for its client to end.
    fn undo_block(&mut self) {
        let Some(block) = &self.block else { return };
        let store = self.begin_store(block.store.isolation(), block.read_only);
        let Some(block) = &mut self.block else { return };
        // The locks go with the transaction that this replaces.
        block.store = store;
        block.catalog = None;
        block.catalog_then = None;
        block.jobs.clear();
        block.deferred = Deferred::default();
        block.retired_sequences.clear();
        self.shared.advisory.undo_to(0);
        self.publish_catalog();
    }

    /// Starts a transaction unless one is there.
    pub(crate) fn ensure_block(&mut self) -> &mut Block {
        if self.block.is_none() {
            let usual = self.shared.settings.lock().characteristics();
            self.start_block(usual, false);
        }
        self.block.as_mut().unwrap_or_else(|| unreachable!("the block was just made"))
    }

    /// Starts the transaction over in which nothing has been read or written yet: with another isolation level, or as a block.
    /// What it returns to when it is rolled back stays.
    pub(super) fn restart_block(&mut self, characteristics: Characteristics, explicit: bool) {
        let before = self.block.take().map(|block| (block.settings_before, block.last_portal));
        self.start_block(characteristics, explicit);
        if let (Some(block), Some((settings, last_portal))) = (&mut self.block, before) {
            block.settings_before = settings;
            block.last_portal = last_portal;
        }
    }

    /// A transaction of the store, which others see as this session's.
    fn begin_store(&self, isolation: Isolation, read_only: bool) -> Transaction {
        // A read-only transaction may write temporary tables.
        let mut store = self.engine.store().begin(isolation, read_only && !self.shared.has_temporary());
        store.set_label(self.shared.pid.unsigned_abs());
        self.shared.set_running(Some(store.id()));
        store
    }

    pub(super) fn start_block(&mut self, characteristics: Characteristics, explicit: bool) {
        let Characteristics { level, read_only, deferrable } = characteristics;
        let store = self.begin_store(level.isolation(), read_only);
        self.block = Some(Block {
            store,
            explicit,
            failed: false,
            started_micros: self.statement_micros,
            level,
            read_only,
            deferrable,
            used: false,
            settings_before: self.shared.settings.lock().clone(),
            last_portal: self.portals.last(),
            catalog: None,
            catalog_then: None,
            savepoints: Vec::new(),
            jobs: Vec::new(),
            deferred: Deferred::default(),
            retired_sequences: Vec::new(),
        });
        self.show_characteristics();
    }

    /// Lets functions see what the transaction is.
    pub(super) fn show_characteristics(&self) {
        let characteristics = self.block.as_ref().map(Block::characteristics);
        self.shared.read_only.store(characteristics.is_some_and(|c| c.read_only), Ordering::Relaxed);
        *self.shared.characteristics.lock() = characteristics;
    }

    /// The end of a simple query string or the Sync of the extended protocol: an implicit transaction commits, or rolls back
    /// if it failed.
    ///
    /// # Errors
    /// What the commit gives.
    pub async fn end_implicit(&mut self) -> Result<()> {
        let committed = match &self.block {
            Some(block) if block.explicit => return Ok(()),
            Some(block) if block.failed => {
                self.rollback_block().await;
                Ok(())
            }
            Some(_) => Box::pin(self.commit_block()).await,
            None => {
                self.counters.no_transaction_ended();
                self.forget_local_settings();
                self.shared.forget_lone_number();
                self.shared.advisory.undo_to(0);
                Ok(())
            }
        };
        self.end_cursors();
        committed
    }

    fn forget_local_settings(&self) {
        // Values that were valid when they were set derive without an error.
        let _ = self.shared.settings.lock().end_transaction();
    }

    fn forget_transaction(&self) {
        self.shared.set_running(None);
    }

    /// Commits the block, if there is one: rolls it back when a deferred constraint does not hold.
    pub(super) async fn commit_block(&mut self) -> Result<()> {
        let awaits_checks = self.block.as_ref().is_some_and(|block| !block.deferred.is_empty());
        if awaits_checks && let Err(error) = Box::pin(self.check_deferred(true)).await {
            self.rollback_block().await;
            return Err(error);
        }
        if let Err(error) = Box::pin(self.end_temporary()).await {
            self.rollback_block().await;
            return Err(error);
        }
        if let Err(error) = Box::pin(self.hold_what_was_read()).await {
            self.rollback_block().await;
            return Err(error);
        }
        let Some(block) = self.block.take() else { return Ok(()) };
        self.forget_transaction();
        self.show_characteristics();
        let Block { store, catalog, jobs, settings_before, retired_sequences, .. } = block;
        let mut result = match store.commit().await {
            Ok(_) => Ok(()),
            Err(error) => {
                let seen = catalog.clone().unwrap_or_else(|| self.catalog.1.clone());
                Err(self.commit_error(error, &seen))
            }
        };
        self.counters.transaction_ended(result.is_ok());
        self.shared.advisory.undo_to(0);
        self.settle_cursors(result.is_ok());
        if result.is_err() {
            self.shared.settings.lock().return_to(settings_before);
        }
        self.forget_local_settings();
        if catalog.is_some() {
            // The private copy's version is that of its start: the committed catalog has to be looked at anew.
            self.catalog.0 = None;
            self.look_at_catalog();
            Box::pin(self.forget_sequences(retired_sequences)).await;
            if result.is_ok() && !jobs.is_empty() {
                result = Box::pin(self.run_jobs_after_commit(jobs)).await;
                self.look_at_catalog();
            }
        } else {
            self.publish_catalog();
        }
        result
    }

    /// The tables that a serializable transaction has read, when it has written something, until it is committed. What it read is
    /// known by where it is stored: a schema change that stores a table elsewhere would take later writes out of its sight.
    ///
    /// # Errors
    /// 40001 where such a table has another definition by now; deadlocks, cancellation.
    async fn hold_what_was_read(&mut self) -> Result<()> {
        let Some(block) = self.block.as_ref().filter(|block| !block.failed && block.store.has_writes()) else {
            return Ok(());
        };
        // A transaction that changes the schema itself fails when others have.
        let (None, Some(catalog)) = (&block.catalog, &block.catalog_then) else { return Ok(()) };
        let read: HashSet<(u32, u32)> =
            block.store.read_prefixes().iter().filter_map(|prefix| storage_of(prefix)).collect();
        if read.is_empty() {
            return Ok(());
        }
        let was_read = |table: &&Arc<Table>| read.contains(&(table.database, table.storage));
        let mut tables: Vec<Arc<Table>> = catalog.tables.values().filter(was_read).cloned().collect();
        tables.sort_by_key(|table| table.oid);
        let shared = self.shared.clone();
        let deadline = *shared.deadline.lock();
        match shared.cancel.guard(deadline, self.hold_tables(&tables, |_| false)).await? {
            true => Ok(()),
            false => Err(store_error(stratos_replication::Error::SerializationFailure)),
        }
    }

    /// Carries out deferred checks: those that SET CONSTRAINTS no longer defers, or all of them. They may wait for other
    /// transactions, so that they can be stopped.
    pub(super) async fn check_deferred(&mut self, all: bool) -> Result<()> {
        if self.block.as_ref().is_none_or(|block| block.failed || block.deferred.is_empty()) {
            return Ok(());
        }
        let catalog = self.current_catalog()?;
        let (wait, eval) = (self.wait_policy(), self.eval_context(&catalog));
        let (engine, shared) = (self.engine.clone(), self.shared.clone());
        let deadline = *shared.deadline.lock();
        let block = self.ensure_block();
        stored(block.store.begin_statement())?;
        let mut context = StatementContext::new(&engine, &mut block.store, &mut block.deferred, &eval, &[], wait);
        let checked = shared.cancel.guard(deadline, deferred::check(&mut context, all)).await;
        block.store.finish_statement(checked.is_ok());
        checked
    }

    /// Drops what is stored and kept of sequences that the committed catalog no longer has.
    async fn forget_sequences(&self, mut retired: Vec<u32>) {
        let catalog = &self.catalog.1;
        let live = catalog.sequence_storages();
        retired.retain(|storage| !live.contains(storage));
        let sequences = self.engine.sequences();
        sequences.keep_only(catalog);
        // What stays is only in the way.
        if let Err(error) = sequences.remove(catalog.database, &retired).await {
            tracing::warn!(%error, "the value of a sequence that is gone stays stored");
        }
    }

    /// Makes the committed catalog what functions see. The commit before it stands even if the catalog cannot be read; the next
    /// statement will find that out for itself.
    fn look_at_catalog(&mut self) {
        if let Err(error) = self.current_catalog() {
            tracing::warn!(%error, "the catalog cannot be read");
        }
        self.publish_catalog();
    }

    /// What a refused commit means to the client.
    fn commit_error(&self, error: stratos_replication::Error, catalog: &Arc<Snapshot>) -> Error {
        if let stratos_replication::Error::WriteConflict { key } = &error {
            let view = self.engine.store().latest_view();
            match violations::at_commit(catalog, &view, key, &self.format_options()) {
                Ok(Some(violation)) => return violation,
                Ok(None) => {}
                Err(why) => tracing::warn!(%why, "a conflicting row cannot be read"),
            }
        }
        store_error(error)
    }

    /// Rolls the block back, if there is one.
    pub(super) async fn rollback_block(&mut self) {
        let Some(block) = self.block.take() else { return };
        self.forget_transaction();
        self.show_characteristics();
        self.shared.settings.lock().return_to(block.settings_before);
        self.forget_local_settings();
        self.close_younger(block.last_portal);
        block.store.rollback().await;
        self.counters.transaction_ended(false);
        self.shared.advisory.undo_to(0);
        self.settle_cursors(false);
        self.publish_catalog();
    }
}
