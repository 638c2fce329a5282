//! The SQL side of a node: what all its sessions share.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use stratos_replication::{Isolation, KeyChanges, Span, Store};
use stratos_types::{ArrayDatum, Datum, Error, ErrorKind, PgType, Result};
use tokio::sync::{Semaphore, watch};

use crate::binder::BindContext;
use crate::cache::Cache;
pub use crate::catalog::Encryption;
use crate::catalog::{
    self, CatalogReader, Index, OidPool, Role, SessionFacts, Snapshot, SnapshotCache, StoreFacts, Table, Visit, keys,
};
use crate::counters::{Counters, DatabaseActivity};
use crate::ddl::Notice;
use crate::exec::rules::TableRules;
use crate::exec::{online_index, stored};
use crate::lower::{QueryRuntime, remove_spilled};
use crate::rows::{database_prefix, index_prefix};
use crate::sequences::{RowIds, Sequences};
use crate::session::{Identity, RelationSize, Session, SessionShared, Settings};

/// How the SQL side of a node is set up.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Connections that may be open at once.
    pub connections_max: usize,
    /// Memory that running queries may use together, in bytes; beyond it they spill.
    pub query_memory_bytes: usize,
    /// Memory for columns of tables that were scanned before, in bytes; 0: none are kept.
    pub column_cache_bytes: usize,
    /// Where they spill to.
    pub spill_dir: PathBuf,
    /// Disk that they may use there, in bytes.
    pub spill_bytes_max: u64,
    /// The threads that they are planned and run on, so that they do not hold up those who serve the clients; none is the
    /// caller's own.
    pub query_threads: Option<tokio::runtime::Handle>,
}

impl EngineOptions {
    /// Defaults that suit a small machine.
    pub fn new(data_dir: &std::path::Path) -> EngineOptions {
        EngineOptions {
            connections_max: 200,
            query_memory_bytes: 512 << 20,
            column_cache_bytes: 256 << 20,
            spill_dir: data_dir.join("spill"),
            spill_bytes_max: 64 << 30,
            query_threads: None,
        }
    }
}

/// Compiled rules of tables, kept for reuse.
const CACHED_RULES_MAX: usize = 4096;

/// Long statements that are parsed and bound at once; further ones wait.
const LONG_STATEMENTS_AT_ONCE: usize = 4;

/// Bytes of the node's secret.
const SECRET_BYTES: usize = 32;

/// The SQL side of a node.
pub struct Engine {
    store: Store,
    options: EngineOptions,
    runtime: QueryRuntime,
    snapshots: SnapshotCache,
    /// Changes whenever a transaction that changed the catalog commits.
    catalog_changes: watch::Receiver<KeyChanges>,
    oids: OidPool,
    sequences: Arc<Sequences>,
    row_ids: RowIds,
    /// By OID and version of the table, and version of the catalog.
    rules: Mutex<Cache<(u32, u64, u64), Arc<TableRules>>>,
    sessions: Arc<RwLock<HashMap<i32, Arc<SessionShared>>>>,
    next_pid: AtomicI32,
    /// No session is opened any more. Changes under the lock of `sessions`, so that a stop sees every session there is.
    stopping: AtomicBool,
    /// From which the salts of roles come that are not there.
    salt_secret: [u8; SECRET_BYTES],
    /// Long statements that may be parsed and bound at once.
    planning: Arc<Semaphore>,
    started_micros: i64,
    counters: Arc<Counters>,
}

/// A view of the store, as the catalog reads it.
struct ViewReader<'a>(&'a stratos_replication::ReadView);

/// Descriptors taken from the store at once.
const CATALOG_CHUNK_ROWS: usize = 256;
const CATALOG_CHUNK_BYTES: usize = 4 << 20;

impl CatalogReader for ViewReader<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<bytes::Bytes>> {
        stored(self.0.get(key))
    }

    fn scan_prefix(&self, prefix: &[u8], visit: &mut Visit<'_>) -> Result<()> {
        let mut cursor = self.0.scan(Span::prefix(prefix), stratos_replication::Direction::Forward);
        let mut failure = None;
        loop {
            let more = stored(cursor.next_chunk(CATALOG_CHUNK_ROWS, CATALOG_CHUNK_BYTES, &mut |key, value| {
                if failure.is_none()
                    && let Err(error) = visit(key, value)
                {
                    failure = Some(error);
                }
            }))?;
            if let Some(error) = failure.take() {
                return Err(error);
            }
            if !more {
                return Ok(());
            }
        }
    }
}

/// What system tables ask of the node.
struct NodeFacts {
    store: Store,
    sequences: Arc<Sequences>,
    sessions: Arc<RwLock<HashMap<i32, Arc<SessionShared>>>>,
    counters: Arc<Counters>,
}

impl StoreFacts for NodeFacts {
    fn statistics(&self, prefix: &[u8]) -> stratos_replication::PrefixStatistics {
        self.store.statistics(prefix)
    }

    fn shards(&self) -> Vec<stratos_replication::ShardInfo> {
        self.store.shards()
    }

    fn sequence_value(&self, database: u32, storage: u32) -> Result<Option<keys::SequenceValue>> {
        self.sequences.value(database, storage)
    }

    fn activity(&self, database: u32) -> DatabaseActivity {
        self.counters.activity(database)
    }

    fn locks(&self) -> Vec<catalog::LockFacts> {
        let sessions: Vec<Arc<SessionShared>> = self.sessions.read().values().cloned().collect();
        let mut facts: Vec<catalog::LockFacts> = sessions.iter().flat_map(|session| session.lock_facts()).collect();
        facts.extend(self.store.lock_waits().iter().flat_map(crate::session::wait_facts));
        facts
    }
}

/// Who connects, and to what.
#[derive(Debug, Clone)]
pub struct Connect {
    /// Role.
    pub user: String,
    /// Database.
    pub database: String,
    /// Address of the client.
    pub client: String,
    /// Address at which it was accepted.
    pub server: String,
    /// How the connection is encrypted, if it is.
    pub encryption: Option<Encryption>,
    /// Settings that the client asks for at its start.
    pub settings: Vec<(String, String)>,
}

impl Engine {
    /// Starts on an open store; a new one gets its first database and role, both `stratos`.
    ///
    /// # Errors
    /// The store's errors, a spill directory that cannot be made.
    pub async fn open(store: Store, options: EngineOptions) -> Result<Arc<Engine>> {
        bootstrap(&store).await?;
        ensure_maintenance_database(&store).await?;
        ensure_shards(&store).await?;
        let salt_secret = ensure_secret(&store).await?;
        remove_spilled(&options.spill_dir);
        Engine::assemble(store, options, salt_secret)
    }

    /// Starts on an open store as it is, and writes nothing: to look at it, not for clients.
    ///
    /// # Errors
    /// A spill directory that cannot be made.
    pub fn inspect(store: Store, options: EngineOptions) -> Result<Arc<Engine>> {
        Engine::assemble(store, options, rand::random())
    }

    fn assemble(store: Store, options: EngineOptions, salt_secret: [u8; SECRET_BYTES]) -> Result<Arc<Engine>> {
        let sequences = Arc::new(Sequences::new(store.clone()));
        let sessions: Arc<RwLock<HashMap<i32, Arc<SessionShared>>>> = Arc::default();
        let counters: Arc<Counters> = Arc::default();
        let facts = NodeFacts {
            store: store.clone(),
            sequences: sequences.clone(),
            sessions: sessions.clone(),
            counters: counters.clone(),
        };
        let runtime = QueryRuntime::new(&options, Some(Arc::new(facts)))?;
        let catalog_changes = store.watch_key(keys::version());
        Ok(Arc::new(Engine {
            sequences,
            row_ids: RowIds::new(store.clone()),
            store,
            options,
            runtime,
            snapshots: SnapshotCache::default(),
            catalog_changes,
            oids: OidPool::default(),
            rules: Mutex::new(Cache::new(CACHED_RULES_MAX)),
            sessions,
            next_pid: AtomicI32::new(1),
            stopping: AtomicBool::new(false),
            salt_secret,
            planning: Arc::new(Semaphore::new(LONG_STATEMENTS_AT_ONCE)),
            started_micros: crate::session::now_micros(),
            counters,
        }))
    }

    /// Takes away what an earlier process began and did not finish, and told nobody of: indexes that it was building, and temporary tables of its sessions.
    ///
    /// # Errors
    /// The store's.
    pub async fn clean_up(self: &Arc<Self>) -> Result<()> {
        let databases: Vec<u32> = self.latest_catalog(catalog::NO_DATABASE)?.databases.keys().copied().collect();
        for database in databases {
            online_index::abandon_unfinished(self, database).await?;
            crate::session::drop_temporary(self, database, |_| true).await?;
        }
        Ok(())
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// What its sessions have done.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// When it started, in Unix microseconds.
    pub fn started_micros(&self) -> i64 {
        self.started_micros
    }

    /// How it was set up.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Slots for long statements that are parsed and bound.
    pub(crate) fn planning(&self) -> &Arc<Semaphore> {
        &self.planning
    }

    pub(crate) fn runtime(&self) -> &QueryRuntime {
        &self.runtime
    }

    pub(crate) fn sequences(&self) -> &Sequences {
        &self.sequences
    }

    pub(crate) fn row_ids(&self) -> &RowIds {
        &self.row_ids
    }

    /// Changes with every committed change of the catalog.
    pub(crate) fn catalog_changes(&self) -> KeyChanges {
        *self.catalog_changes.borrow()
    }

    /// The catalog of a database as of a view.
    pub(crate) fn catalog_at(&self, database: u32, view: &stratos_replication::ReadView) -> Result<Arc<Snapshot>> {
        self.snapshots.snapshot(database, &ViewReader(view))
    }

    /// The catalog as it is now.
    pub(crate) fn latest_catalog(&self, database: u32) -> Result<Arc<Snapshot>> {
        self.catalog_at(database, &self.store.latest_view())
    }

    /// Gives `use_reader` a reader of the catalog's rows at a view.
    pub(crate) fn with_reader<T>(
        &self,
        view: &stratos_replication::ReadView,
        use_reader: impl FnOnce(&dyn CatalogReader) -> T,
    ) -> T {
        use_reader(&ViewReader(view))
    }

    /// OIDs, with enough in reserve for a statement.
    pub(crate) async fn oids(&self) -> Result<&OidPool> {
        if self.oids.is_low() {
            self.oids.add(stored(self.store.allocate_ids("oid", OidPool::BLOCK).await)?)?;
        }
        Ok(&self.oids)
    }

    /// A role by name.
    ///
    /// # Errors
    /// The store's errors.
    pub fn role(&self, name: &str) -> Result<Option<Arc<Role>>> {
        Ok(self.latest_catalog(catalog::NO_DATABASE)?.role_named(name).cloned())
    }

    /// The salt shown to who wants to log in as a role that has no password or is not there: always the same for a name, as
    /// that of a role with a password is, so that the two cannot be told apart.
    pub fn salt_of_nobody(&self, name: &str) -> [u8; crate::scram::SALT_BYTES] {
        crate::scram::derived_salt(&self.salt_secret, name)
    }

    /// Opens a session for a role that has been authenticated.
    ///
    /// # Errors
    /// Unknown role or one that may not log in (28000), unknown database (3D000), too many connections (53300), bad settings,
    /// a node that is stopping (57P03).
    pub fn connect(self: &Arc<Self>, connect: Connect) -> Result<Session> {
        let refused = |what: &str| {
            Error::new(ErrorKind::InvalidAuthorizationSpecification, format!("role \"{}\" {what}", connect.user))
        };
        let shared = self.latest_catalog(catalog::NO_DATABASE)?;
        let role = shared.role_named(&connect.user).ok_or_else(|| refused("does not exist"))?;
        if !role.login {
            return Err(refused("is not permitted to log in"));
        }
        if catalog::is_template(&shared, &connect.database) {
            let message = format!("database \"{}\" is not currently accepting connections", connect.database);
            return Err(Error::new(ErrorKind::ObjectNotInPrerequisiteState, message));
        }
        let database = shared.database_named(&connect.database).ok_or_else(|| {
            Error::new(ErrorKind::InvalidCatalogName, format!("database \"{}\" does not exist", connect.database))
        })?;
        let mut settings = Settings::default();
        settings.tell("session_authorization", &connect.user)?;
        settings.tell("is_superuser", if role.superuser { "on" } else { "off" })?;
        settings.tell("max_connections", &self.options.connections_max.to_string())?;
        for (name, value) in &connect.settings {
            settings.set_session_default(name, value)?;
        }
        let catalog = self.latest_catalog(database.oid)?;
        let mut sessions = self.sessions.write();
        if self.stopping.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::CannotConnectNow, "the database system is shutting down"));
        }
        if sessions.len() >= self.options.connections_max {
            return Err(Error::new(ErrorKind::TooManyConnections, "sorry, too many clients already"));
        }
        if let Some(limit) = role.connection_limit.filter(|_| !role.superuser) {
            let open = sessions.values().filter(|session| session.user == role.name).count();
            if open >= limit as usize {
                let message = format!("too many connections for role \"{}\"", role.name);
                return Err(Error::new(ErrorKind::TooManyConnections, message));
            }
        }
        let pid = loop {
            let pid = self.next_pid.fetch_add(1, Ordering::Relaxed) & i32::MAX;
            if pid != 0 && !sessions.contains_key(&pid) {
                break pid;
            }
        };
        let identity = Identity {
            pid,
            secret: rand::random(),
            user: connect.user,
            database_name: connect.database,
            database: database.oid,
            client: connect.client,
            server: connect.server,
            encryption: connect.encryption,
        };
        let shared = Arc::new(SessionShared::new(self, identity, settings, catalog));
        sessions.insert(pid, shared.clone());
        drop(sessions);
        Ok(Session::new(self.clone(), shared))
    }

    pub(crate) fn disconnect(&self, pid: i32) {
        self.sessions.write().remove(&pid);
    }

    /// Stops the statement that a session is running, if the secret is right; nobody is told otherwise.
    pub fn cancel(&self, pid: i32, secret: i32) {
        if let Some(session) = self.sessions.read().get(&pid).filter(|s| s.secret == secret) {
            session.cancel.cancel();
        }
    }

    /// Number of open sessions.
    pub fn session_count(&self) -> usize {
        self.sessions.read().len()
    }

    /// Memory that running queries hold now, in bytes.
    pub fn query_memory_bytes(&self) -> usize {
        self.runtime.memory_used_bytes()
    }

    /// What running queries keep on the disk: bytes, and files.
    pub fn spilled(&self) -> (u64, usize) {
        self.runtime.spilled()
    }

    /// Number of sessions that are running a statement.
    pub fn active_count(&self) -> usize {
        self.sessions.read().values().filter(|s| s.activity().state == "active").count()
    }

    /// Sessions of a database other than `except`.
    pub(crate) fn sessions_of(&self, database: u32, except: i32) -> usize {
        self.sessions.read().values().filter(|s| s.database == database && s.pid != except).count()
    }

    pub(crate) fn session_facts(&self) -> Vec<SessionFacts> {
        let sessions: Vec<Arc<SessionShared>> = self.sessions.read().values().cloned().collect();
        let mut facts: Vec<SessionFacts> = sessions
            .iter()
            .map(|session| {
                let activity = session.activity();
                SessionFacts {
                    pid: session.pid,
                    user: session.user.clone(),
                    database: session.database_name.clone(),
                    application_name: session.application_name(),
                    client: session.client.clone(),
                    encryption: session.encryption.clone(),
                    backend_start_micros: session.connected_micros,
                    transaction_start_micros: activity.transaction_start_micros,
                    query_start_micros: activity.query_start_micros,
                    state: activity.state,
                    is_sleeping: session.is_sleeping(),
                    query: activity.query.to_string(),
                    is_visible: true,
                }
            })
            .collect();
        facts.sort_by_key(|f| f.pid);
        facts
    }

    /// Rules of a table as of a catalog, compiled once.
    pub(crate) fn table_rules(&self, table: &Arc<Table>, catalog: &Arc<Snapshot>) -> Result<Arc<TableRules>> {
        let context = BindContext::for_rules(catalog);
        if catalog.private {
            return Ok(Arc::new(TableRules::new(table, catalog, &context)?));
        }
        // Incoming foreign keys are other tables' descriptors, so the catalog's version is part of the key.
        let key = (table.oid, table.version, catalog.version);
        if let Some(rules) = self.rules.lock().get(&key) {
            return Ok(rules.clone());
        }
        let built = Arc::new(TableRules::new(table, catalog, &context)?);
        self.rules.lock().insert(key, built.clone());
        Ok(built)
    }

    /// Bytes of a table or index, and of a table's other indexes.
    pub(crate) fn relation_size(&self, catalog: &Snapshot, oid: u32) -> Option<RelationSize> {
        let bytes = |table: &Table, index: &Index| self.store.size_bytes(&index_prefix(table, index));
        let Some(table) = catalog.tables.get(&oid) else {
            let (table, index) = catalog.index(oid)?;
            return Some(RelationSize { own_bytes: bytes(table, index), index_bytes: 0 });
        };
        // The rows themselves are in the primary index.
        let primary = table.primary_index();
        let others = table.indexes.iter().filter(|index| index.id != primary.id);
        Some(RelationSize {
            own_bytes: bytes(table, primary),
            index_bytes: others.map(|index| bytes(table, index)).sum(),
        })
    }

    /// Bytes of everything in a database.
    pub(crate) fn database_bytes(&self, oid: u32) -> u64 {
        self.store.size_bytes(&database_prefix(oid))
    }

    /// Functions that act on the node or on other sessions, for `caller`.
    pub(crate) fn node_function(&self, caller: &SessionShared, name: &str, args: &[Datum]) -> Result<Datum> {
        let signal = |done_to: [&str; 2], act: fn(&SessionShared)| {
            let Some(Datum::Int4(pid)) = args.first() else { return Ok(Datum::Null) };
            let target = self.sessions.read().get(pid).cloned();
            match &target {
                Some(target) => {
                    caller.may_signal(target, done_to)?;
                    act(target);
                    if target.pid == caller.pid {
                        // The caller itself does not get to see what came of it.
                        caller.cancel.check()?;
                    }
                }
                None => caller.notice(Notice {
                    kind: Some(ErrorKind::Warning),
                    message: format!("PID {pid} is not a PostgreSQL backend process"),
                    detail: None,
                }),
            }
            Ok(Datum::Bool(target.is_some()))
        };
        match name {
            "pg_cancel_backend" => signal(["cancel superuser query", "query is being canceled"], |s| s.cancel.cancel()),
            "pg_terminate_backend" => {
                signal(["terminate superuser process", "process is being terminated"], |s| s.cancel.terminate())
            }
            "pg_blocking_pids" => {
                let Some(Datum::Int4(pid)) = args.first() else { return Ok(Datum::Null) };
                let sessions = self.sessions.read();
                let waits = self.store.lock_waits();
                let blockers = waits
                    .iter()
                    .filter(|wait| i64::from(wait.waiter.label) == i64::from(*pid))
                    .flat_map(|wait| &wait.blockers);
                let mut pids: Vec<i32> = blockers
                    .filter_map(|blocker| sessions.values().find(|session| session.holds_as(*blocker)))
                    .map(|session| session.pid)
                    .collect();
                pids.sort_unstable();
                pids.dedup();
                let values = pids.into_iter().map(Datum::Int4).collect();
                Ok(Datum::Array(Arc::new(ArrayDatum { element: PgType::Int4, values })))
            }
            "pg_postmaster_start_time" | "pg_conf_load_time" => Ok(Datum::TimestampTz(self.started_micros)),
            other => Err(Error::unsupported(format_args!("function {other}()"))),
        }
    }

    /// Verifies the tables of all databases: every row has exactly its index entries, and what constraints demand. Gives a
    /// sentence for everything that does not agree.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn check(&self) -> Result<Vec<String>> {
        let view = self.store.latest_view();
        let mut findings = Vec::new();
        let databases: Vec<u32> = self.latest_catalog(catalog::NO_DATABASE)?.databases.keys().copied().collect();
        for database in databases {
            let snapshot = self.catalog_at(database, &view)?;
            let mut report = |problem: crate::check::Problem| findings.push(problem.to_string());
            crate::check::check_database(&snapshot, &ViewReader(&view), &mut report)?;
        }
        Ok(findings)
    }

    /// Ends all sessions: lets running statements end for up to `grace`, then stops them; writes back what sequences hold in
    /// memory. The store stays open.
    ///
    /// # Errors
    /// The store's errors.
    pub async fn shutdown(&self, grace: Duration) -> Result<()> {
        {
            let _no_session_opens_meanwhile = self.sessions.write();
            self.stopping.store(true, Ordering::Relaxed);
        }
        let deadline = tokio::time::Instant::now() + grace;
        while self.active_count() > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let sessions: Vec<Arc<SessionShared>> = self.sessions.read().values().cloned().collect();
        for session in sessions {
            session.cancel.terminate();
        }
        let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
        while self.session_count() > 0 && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.sequences.flush().await
    }
}

/// Writes the first descriptors into a new store.
async fn bootstrap(store: &Store) -> Result<()> {
    let mut transaction = store.begin(Isolation::ReadCommitted, false);
    stored(transaction.begin_statement())?;
    if stored(transaction.get(&keys::version()))?.is_some() {
        return Ok(());
    }
    for (key, value) in catalog::bootstrap_writes()? {
        stored(transaction.put(key, value))?;
    }
    stored(transaction.commit().await)?;
    Ok(())
}

/// The database that clients look for first, in a directory that was made before there was one. Once it was there, it is
/// nobody's business to bring it back.
async fn ensure_maintenance_database(store: &Store) -> Result<()> {
    let mut transaction = store.begin(Isolation::ReadCommitted, false);
    stored(transaction.begin_statement())?;
    if stored(transaction.get(&keys::maintenance_made()))?.is_some() {
        return Ok(());
    }
    let snapshot = catalog::load_snapshot(&ViewReader(&store.latest_view()), catalog::NO_DATABASE)?;
    for (key, value) in catalog::maintenance_writes(&snapshot)? {
        stored(transaction.put(key, value))?;
    }
    stored(transaction.put(keys::maintenance_made(), bytes::Bytes::from_static(&[1])))?;
    stored(transaction.commit().await)?;
    Ok(())
}

/// The node's secret; a store that has none gets one.
async fn ensure_secret(store: &Store) -> Result<[u8; SECRET_BYTES]> {
    let mut transaction = store.begin(Isolation::ReadCommitted, false);
    stored(transaction.begin_statement())?;
    if let Some(secret) = stored(transaction.get(&keys::salt_secret()))? {
        return <[u8; SECRET_BYTES]>::try_from(secret.as_ref())
            .map_err(|_| Error::new(ErrorKind::DataCorrupted, "the node's secret has a wrong length"));
    }
    let secret: [u8; SECRET_BYTES] = rand::random();
    stored(transaction.put(keys::salt_secret(), bytes::Bytes::copy_from_slice(&secret)))?;
    stored(transaction.commit().await)?;
    Ok(secret)
}

/// Every database has a shard for its rows. One that was made just before a crash may still lack it.
async fn ensure_shards(store: &Store) -> Result<()> {
    let snapshot = catalog::load_snapshot(&ViewReader(&store.latest_view()), catalog::NO_DATABASE)?;
    for database in snapshot.databases.keys() {
        let prefix = database_prefix(*database);
        if !store.shards().iter().any(|shard| shard.span.contains(&prefix)) {
            stored(store.create_shard_for(Span::prefix(&prefix)).await)?;
        }
    }
    Ok(())
}
