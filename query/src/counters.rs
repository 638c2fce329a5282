//! What the sessions of a node have done since it started: for the metrics page and `pg_stat_database`. Everything is counted
//! with relaxed atomics, and nothing of it is kept over a restart.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use parking_lot::Mutex;
use stratos_replication::{Histogram, HistogramSnapshot};

/// Kinds of statements, as the metrics page names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatementKind {
    /// Queries.
    Select,
    /// INSERT.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
    /// COPY.
    Copy,
    /// Changes of the schema.
    Ddl,
    /// BEGIN, COMMIT, ROLLBACK, savepoints.
    Transaction,
    /// Everything else, and what was refused before it was known what it is.
    Other,
}

impl StatementKind {
    /// All of them, each at its own number.
    pub const ALL: [StatementKind; 8] = [
        StatementKind::Select,
        StatementKind::Insert,
        StatementKind::Update,
        StatementKind::Delete,
        StatementKind::Copy,
        StatementKind::Ddl,
        StatementKind::Transaction,
        StatementKind::Other,
    ];

    /// Value of the label.
    pub fn name(self) -> &'static str {
        match self {
            StatementKind::Select => "select",
            StatementKind::Insert => "insert",
            StatementKind::Update => "update",
            StatementKind::Delete => "delete",
            StatementKind::Copy => "copy",
            StatementKind::Ddl => "ddl",
            StatementKind::Transaction => "transaction",
            StatementKind::Other => "other",
        }
    }
}

/// What happened in one database.
#[derive(Debug, Default)]
pub struct DatabaseCounters {
    commits: AtomicU64,
    rollbacks: AtomicU64,
    inserted: AtomicU64,
    updated: AtomicU64,
    deleted: AtomicU64,
}

/// A look at [`DatabaseCounters`].
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct DatabaseActivity {
    /// Transactions that committed, single statements among them.
    pub commits: u64,
    /// Transactions that were rolled back or failed.
    pub rollbacks: u64,
    /// Rows inserted, whether or not their transaction committed.
    pub inserted: u64,
    /// Rows updated.
    pub updated: u64,
    /// Rows deleted.
    pub deleted: u64,
}

impl DatabaseCounters {
    /// A transaction ended.
    pub(crate) fn ended(&self, committed: bool) {
        if committed { &self.commits } else { &self.rollbacks }.fetch_add(1, Relaxed);
    }

    /// A statement changed rows.
    pub(crate) fn changed(&self, kind: StatementKind, rows: u64) {
        let counter = match kind {
            StatementKind::Insert | StatementKind::Copy => &self.inserted,
            StatementKind::Update => &self.updated,
            StatementKind::Delete => &self.deleted,
            _ => return,
        };
        counter.fetch_add(rows, Relaxed);
    }

    /// What was counted so far.
    pub fn activity(&self) -> DatabaseActivity {
        DatabaseActivity {
            commits: self.commits.load(Relaxed),
            rollbacks: self.rollbacks.load(Relaxed),
            inserted: self.inserted.load(Relaxed),
            updated: self.updated.load(Relaxed),
            deleted: self.deleted.load(Relaxed),
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Counters {
    statements: [Histogram; StatementKind::ALL.len()],
    /// By OID; those that are gone stay, so that sums never fall.
    databases: Mutex<HashMap<u32, Arc<DatabaseCounters>>>,
}

impl Counters {
    /// The counters of a database.
    pub(crate) fn database(&self, oid: u32) -> Arc<DatabaseCounters> {
        self.databases.lock().entry(oid).or_default().clone()
    }

    /// What happened in a database since the node started.
    pub fn activity(&self, oid: u32) -> DatabaseActivity {
        self.databases.lock().get(&oid).map(|database| database.activity()).unwrap_or_default()
    }

    /// What happened in all databases.
    pub fn total(&self) -> DatabaseActivity {
        self.databases.lock().values().map(|database| database.activity()).fold(
            DatabaseActivity::default(),
            |sum, one| DatabaseActivity {
                commits: sum.commits + one.commits,
                rollbacks: sum.rollbacks + one.rollbacks,
                inserted: sum.inserted + one.inserted,
                updated: sum.updated + one.updated,
                deleted: sum.deleted + one.deleted,
            },
        )
    }

    /// How long statements of a kind took, until the client was told of their end.
    pub fn statements(&self, kind: StatementKind) -> HistogramSnapshot {
        self.statements[kind as usize].snapshot()
    }

    fn statement(&self, running: Running) {
        self.statements[running.kind as usize].record(running.since.elapsed());
    }
}

/// A statement whose end is awaited.
#[derive(Debug, Clone, Copy)]
struct Running {
    kind: StatementKind,
    since: Instant,
}

/// What a session counts.
#[derive(Debug)]
pub(crate) struct SessionCounters {
    all: Arc<Counters>,
    database: Arc<DatabaseCounters>,
    running: Option<Running>,
    /// A statement outside of any transaction has run, and whether it failed.
    lone: Option<bool>,
}

impl SessionCounters {
    pub(crate) fn new(all: Arc<Counters>, database: u32) -> SessionCounters {
        let database = all.database(database);
        SessionCounters { all, database, running: None, lone: None }
    }

    /// A statement begins; the one before it, if there is one, has ended.
    pub(crate) fn begin(&mut self) {
        self.end();
        self.running = Some(Running { kind: StatementKind::Other, since: Instant::now() });
        self.lone = Some(self.lone == Some(true));
    }

    /// What the running statement is.
    pub(crate) fn is(&mut self, kind: StatementKind) {
        if let Some(running) = &mut self.running {
            running.kind = kind;
        }
    }

    /// The running statement, if there is one, has ended.
    pub(crate) fn end(&mut self) {
        if let Some(running) = self.running.take() {
            self.all.statement(running);
        }
    }

    /// The running statement changed rows.
    pub(crate) fn changed(&self, kind: StatementKind, rows: u64) {
        self.database.changed(kind, rows);
    }

    /// COPY brought rows in.
    pub(crate) fn copied(&self, rows: u64) {
        self.changed(StatementKind::Copy, rows);
    }

    /// A statement failed.
    pub(crate) fn failed(&mut self) {
        self.lone = Some(true);
    }

    /// A transaction ended.
    pub(crate) fn transaction_ended(&mut self, committed: bool) {
        self.lone = None;
        self.database.ended(committed);
    }

    /// What ran without a transaction is one of its own.
    pub(crate) fn no_transaction_ended(&mut self) {
        if let Some(failed) = self.lone.take() {
            self.database.ended(!failed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_count_into_their_database() {
        let all = Arc::new(Counters::default());
        let (mut one, mut other) = (SessionCounters::new(all.clone(), 1), SessionCounters::new(all.clone(), 2));
        one.begin();
        one.is(StatementKind::Update);
        one.changed(StatementKind::Update, 3);
        one.end();
        one.end();
        one.transaction_ended(true);
        one.no_transaction_ended();
        other.begin();
        other.failed();
        other.no_transaction_ended();
        assert_eq!(all.activity(1), DatabaseActivity { commits: 1, updated: 3, ..DatabaseActivity::default() });
        assert_eq!(all.activity(2), DatabaseActivity { rollbacks: 1, ..DatabaseActivity::default() });
        assert_eq!(
            all.total(),
            DatabaseActivity { commits: 1, rollbacks: 1, updated: 3, ..DatabaseActivity::default() }
        );
        assert_eq!(all.statements(StatementKind::Update).count(), 1);
        // Its end was not told yet.
        assert_eq!(all.statements(StatementKind::Other).count(), 0);
    }
}
