//! The part of a session that others can see: functions running inside a query, cancel requests, `pg_stat_activity`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use stratos_replication::TxnId;
use stratos_types::{Datum, Error, ErrorKind, Result};

use super::advisory::Advisory;
use super::cancel::Cancel;
use super::context::{Host, RelationSize};
use super::plan::Prepared;
use super::random::Random;
use super::settings::Settings;
use super::transaction::Characteristics;
use crate::catalog::{
    CursorFacts, Encryption, PreparedFacts, Sequence, Snapshot, temporary_in_path, temporary_schema_name,
};
use crate::ddl::Notice;
use crate::engine::Engine;

/// What a session is doing, for `pg_stat_activity`.
#[derive(Debug, Clone, Default)]
pub struct Activity {
    /// The running statement, or the last one; cut to [`QUERY_BYTES_MAX`].
    pub query: Arc<str>,
    /// `active`, `idle`, `idle in transaction`, `idle in transaction (aborted)`.
    pub state: &'static str,
    /// Unix microseconds of the statement's start.
    pub query_start_micros: i64,
    /// Unix microseconds of the transaction's start, if one is open.
    pub transaction_start_micros: Option<i64>,
}

/// How much of a statement's text `pg_stat_activity` shows, as Postgres's `track_activity_query_size`.
pub const QUERY_BYTES_MAX: usize = 1024;

/// Notices that may wait for the client; further ones are dropped.
pub(super) const NOTICES_MAX: usize = 1_000;

/// Values that sequences gave to this session.
#[derive(Debug, Default)]
struct SequenceMemory {
    current: HashMap<u32, i64>,
    last: Option<u32>,
}

/// See the module.
pub struct SessionShared {
    engine: Weak<Engine>,
    /// Number of the session, which clients see as the backend's pid.
    pub pid: i32,
    /// With the pid, what a cancel request must show.
    pub secret: i32,
    /// Role that authenticated.
    pub user: String,
    /// Database connected to.
    pub database_name: String,
    /// Its OID.
    pub database: u32,
    /// Address of the client.
    pub client: String,
    /// Address at which it was accepted.
    pub server: String,
    /// How the connection is encrypted, if it is.
    pub encryption: Option<Encryption>,
    /// Unix microseconds.
    pub connected_micros: i64,
    /// Stops the running statement.
    pub cancel: Cancel,
    pub(super) settings: Mutex<Settings>,
    /// Prepared statements by name; the unnamed one has an empty name.
    pub(super) prepared: Mutex<HashMap<String, Arc<Prepared>, RandomState>>,
    /// Cursors and named portals, as `pg_cursors` shows them.
    pub(super) cursors: Mutex<BTreeMap<String, CursorFacts>>,
    pub(super) activity: Mutex<Activity>,
    /// When the running statement must have ended.
    pub(super) deadline: Mutex<Option<tokio::time::Instant>>,
    sequences: Mutex<SequenceMemory>,
    pub(super) advisory: Advisory,
    /// From functions, until the session takes them.
    notices: Mutex<Vec<Notice>>,
    random: Mutex<Option<Random>>,
    sleeping: std::sync::atomic::AtomicBool,
    pub(super) catalog: Mutex<Arc<Snapshot>>,
    /// The running transaction.
    pub(super) transaction: Mutex<Option<TxnId>>,
    /// The running transaction wrote or was asked for its number, which then shows.
    numbered: std::sync::atomic::AtomicBool,
    /// The number of a statement that runs without a transaction and asked for one.
    lone: Mutex<Option<TxnId>>,
    /// The session has made temporary relations, which may be gone again.
    temporary: std::sync::atomic::AtomicBool,
    /// What the running transaction is.
    pub(super) characteristics: Mutex<Option<Characteristics>>,
    /// The running transaction may not write (sequences too).
    pub(super) read_only: std::sync::atomic::AtomicBool,
}

/// Who a session is.
pub(crate) struct Identity {
    pub(crate) pid: i32,
    pub(crate) secret: i32,
    pub(crate) user: String,
    pub(crate) database_name: String,
    pub(crate) database: u32,
    pub(crate) client: String,
    pub(crate) server: String,
    pub(crate) encryption: Option<Encryption>,
}

impl SessionShared {
    pub(crate) fn new(engine: &Arc<Engine>, identity: Identity, settings: Settings, catalog: Arc<Snapshot>) -> Self {
        SessionShared {
            engine: Arc::downgrade(engine),
            pid: identity.pid,
            secret: identity.secret,
            user: identity.user,
            database_name: identity.database_name,
            database: identity.database,
            client: identity.client,
            server: identity.server,
            encryption: identity.encryption,
            connected_micros: super::now_micros(),
            cancel: Cancel::default(),
            settings: Mutex::new(settings),
            prepared: Mutex::default(),
            cursors: Mutex::default(),
            activity: Mutex::new(Activity { state: "idle", ..Activity::default() }),
            deadline: Mutex::default(),
            sequences: Mutex::default(),
            advisory: Advisory::new(engine.store(), identity.database, identity.pid),
            notices: Mutex::default(),
            random: Mutex::default(),
            sleeping: false.into(),
            temporary: false.into(),
            characteristics: Mutex::default(),
            catalog: Mutex::new(catalog),
            transaction: Mutex::default(),
            numbered: false.into(),
            lone: Mutex::default(),
            read_only: false.into(),
        }
    }

    /// Whether its statement is in `pg_sleep`.
    pub fn is_sleeping(&self) -> bool {
        self.sleeping.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// What the session is doing now.
    pub fn activity(&self) -> Activity {
        self.activity.lock().clone()
    }

    /// `application_name`.
    pub fn application_name(&self) -> String {
        self.settings.lock().get("application_name").unwrap_or_default()
    }

    fn engine(&self) -> Result<Arc<Engine>> {
        self.engine.upgrade().ok_or_else(super::cancel::terminated)
    }

    fn sequence(&self, oid: u32) -> Result<Arc<Sequence>> {
        let found = self.catalog.lock().sequences.get(&oid).cloned();
        found.ok_or_else(|| Error::internal(format!("no sequence with OID {oid}")))
    }

    fn sequence_not_used(&self, sequence: u32) -> Error {
        let catalog = self.catalog.lock().clone();
        let name = catalog.sequences.get(&sequence).map_or_else(|| sequence.to_string(), |s| s.name.clone());
        Error::new(
            ErrorKind::ObjectNotInPrerequisiteState,
            format!("currval of sequence \"{name}\" is not yet defined in this session"),
        )
    }

    fn refuse_when_read_only(&self, sequence: &Sequence, what: &str) -> Result<()> {
        let read_only = self.read_only.load(std::sync::atomic::Ordering::Relaxed);
        if read_only && !self.catalog.lock().is_temporary(sequence.schema) {
            return Err(Error::new(
                ErrorKind::ReadOnlySqlTransaction,
                format!("cannot execute {what} in a read-only transaction"),
            ));
        }
        Ok(())
    }

    /// The error with which the running statement must stop: cancelled, or out of its time.
    ///
    /// # Errors
    /// That error.
    pub fn check_statement(&self) -> Result<()> {
        self.cancel.check()?;
        match *self.deadline.lock() {
            Some(deadline) if tokio::time::Instant::now() >= deadline => Err(super::cancel::timed_out()),
            _ => Ok(()),
        }
    }

    /// Work for the running statement, up to its deadline or until somebody stops it.
    pub(crate) async fn guarded<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let deadline = *self.deadline.lock();
        self.cancel.guard(deadline, work).await
    }

    /// The running transaction.
    pub(super) fn running_transaction(&self) -> Option<TxnId> {
        *self.transaction.lock()
    }

    /// Another transaction runs now, or none.
    pub(super) fn set_running(&self, transaction: Option<TxnId>) {
        *self.transaction.lock() = transaction;
        *self.lone.lock() = None;
        self.numbered.store(false, std::sync::atomic::Ordering::Relaxed);
        self.advisory.accompany(transaction);
    }

    /// The end of a statement that ran without a transaction.
    pub(super) fn forget_lone_number(&self) {
        // Hardly any statement asks for a number.
        if self.numbered.swap(false, std::sync::atomic::Ordering::Relaxed) {
            *self.lone.lock() = None;
        }
    }

    /// The running transaction writes: it has a number for all to see.
    pub(super) fn note_write(&self) {
        self.numbered.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// A notice from inside a statement.
    pub(crate) fn notice(&self, notice: Notice) {
        if !self.settings.lock().shows(&notice) {
            return;
        }
        let mut notices = self.notices.lock();
        if notices.len() < NOTICES_MAX {
            notices.push(notice);
        }
    }

    /// Notices since the last call.
    pub(super) fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.notices.lock())
    }

    /// Locks that the session holds: names, and that on its transaction's end.
    pub(crate) fn lock_facts(&self) -> Vec<crate::catalog::LockFacts> {
        let mut facts = self.advisory.facts(self.pid);
        if let Some(number) = self.assigned_transaction_id() {
            facts.push(crate::catalog::LockFacts {
                kind: "transactionid",
                transaction: Some(number),
                pid: self.pid,
                mode: "ExclusiveLock",
                granted: true,
                ..Default::default()
            });
        }
        facts
    }

    /// Whether a holder of locks is this session.
    pub(crate) fn holds_as(&self, holder: TxnId) -> bool {
        self.advisory.owner() == holder || self.running_transaction() == Some(holder)
    }

    fn is_superuser(&self, role: &str) -> Result<bool> {
        Ok(self.engine()?.role(role)?.is_some_and(|role| role.superuser))
    }

    /// Whether the session may stop another one's statement or end it: its own role's, and a superuser anybody's. `done_to`
    /// says what is done, in the words of Postgres's two errors.
    ///
    /// # Errors
    /// 42501.
    pub(crate) fn may_signal(&self, target: &SessionShared, done_to: [&str; 2]) -> Result<()> {
        let own = self.current_user();
        if self.is_superuser(&own)? {
            return Ok(());
        }
        let refused = |message: String| Err(Error::new(ErrorKind::InsufficientPrivilege, message));
        if self.is_superuser(&target.user)? {
            return refused(format!("must be a superuser to {}", done_to[0]));
        }
        if own != target.user {
            return refused(format!(
                "must be a member of the role whose {} or member of pg_signal_backend",
                done_to[1]
            ));
        }
        Ok(())
    }

    /// What the running transaction is, or the next one will be.
    fn characteristics(&self) -> Characteristics {
        let running = *self.characteristics.lock();
        running.unwrap_or_else(|| self.settings.lock().characteristics())
    }

    /// Whether the session may have a schema of temporary relations.
    pub(super) fn has_temporary(&self) -> bool {
        self.temporary.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Notes that the session has a schema of temporary relations.
    pub(super) fn note_temporary(&self) {
        self.temporary.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// Forgets what sequences gave (`DISCARD SEQUENCES`).
    pub(super) fn discard_sequences(&self) {
        *self.sequences.lock() = SequenceMemory::default();
    }
}

/// The address of `address:port`, as `inet` prints it.
fn address(socket: &str) -> Datum {
    socket.parse::<std::net::SocketAddr>().map_or(Datum::Null, |socket| Datum::text(socket.ip().to_string()))
}

fn port(socket: &str) -> Datum {
    socket.parse::<std::net::SocketAddr>().map_or(Datum::Null, |socket| Datum::Int4(i32::from(socket.port())))
}

impl Host for SessionShared {
    fn current_user(&self) -> String {
        self.user.clone()
    }

    fn session_user(&self) -> String {
        self.user.clone()
    }

    fn current_database(&self) -> String {
        self.database_name.clone()
    }

    fn search_path(&self, implicit: bool) -> Vec<String> {
        let derived = self.settings.lock().derived().clone();
        let path = derived.search_path();
        let catalog = self.catalog.lock().clone();
        let mut schemas = Vec::with_capacity(path.len() + 1);
        for name in path {
            let name = if name == "$user" { self.user.clone() } else { name.clone() };
            let exists = name == "pg_catalog"
                || name == "information_schema"
                || name == "pg_temp"
                || catalog.schemas.values().any(|s| s.name == name);
            if exists && !schemas.contains(&name) {
                schemas.push(name);
            }
        }
        if implicit && !schemas.iter().any(|s| s == "pg_catalog") {
            schemas.insert(0, "pg_catalog".to_owned());
        }
        let own = temporary_schema_name(self.pid);
        let exists = self.has_temporary() && catalog.schema_oid(&own).is_some();
        temporary_in_path(&mut schemas, &own, exists);
        schemas
    }

    fn creates_temporary(&self) -> bool {
        let derived = self.settings.lock().derived().clone();
        let catalog = self.catalog.lock().clone();
        let exists = |name: &str| {
            let name = if name == "$user" { self.user.as_str() } else { name };
            matches!(name, "pg_catalog" | "information_schema" | "pg_temp") || catalog.schema_oid(name).is_some()
        };
        derived.search_path().iter().find(|name| exists(name)).is_some_and(|first| first == "pg_temp")
    }

    fn backend_pid(&self) -> i32 {
        self.pid
    }

    fn current_query(&self) -> String {
        self.activity.lock().query.as_ref().to_owned()
    }

    fn setting(&self, name: &str) -> Option<String> {
        match name.to_ascii_lowercase().as_str() {
            "role" => return Some("none".to_owned()),
            "session_authorization" => return Some(self.user.clone()),
            _ => {}
        }
        if let Some(shown) = self.characteristics().shown(&name.to_ascii_lowercase()) {
            return Some(shown.to_owned());
        }
        self.settings.lock().get(name)
    }

    fn set_config(&self, name: &str, value: &str, is_local: bool) -> Result<String> {
        if super::set::TRANSACTION_SETTINGS.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(Error::unsupported(format_args!("set_config of {name}")));
        }
        let mut settings = self.settings.lock();
        if is_local {
            settings.set_local(name, value)?;
        } else {
            settings.set(name, value)?;
        }
        settings.show(name)
    }

    fn sessions(&self) -> Vec<crate::catalog::SessionFacts> {
        let Some(engine) = self.engine.upgrade() else { return Vec::new() };
        let mut facts = engine.session_facts();
        let own = self.current_user();
        if !self.is_superuser(&own).unwrap_or(false) {
            facts.iter_mut().for_each(|session| session.is_visible = session.user == own);
        }
        facts
    }

    fn cursors(&self) -> Vec<CursorFacts> {
        self.cursors.lock().values().cloned().collect()
    }

    fn prepared_statements(&self) -> Vec<PreparedFacts> {
        let prepared = self.prepared.lock();
        let named = prepared.iter().filter(|(name, _)| !name.is_empty());
        let mut facts: Vec<PreparedFacts> = named.map(|(name, prepared)| prepared.facts(name)).collect();
        facts.sort_by(|a, b| a.name.cmp(&b.name));
        facts
    }

    fn all_settings(&self) -> Vec<crate::catalog::SettingFacts> {
        let mut facts = self.settings.lock().facts();
        let characteristics = self.characteristics();
        for fact in &mut facts {
            if let Some(shown) = characteristics.shown(&fact.name) {
                shown.clone_into(&mut fact.value);
            }
        }
        facts
    }

    fn nextval(&self, sequence: u32) -> Result<i64> {
        let descriptor = self.sequence(sequence)?;
        self.refuse_when_read_only(&descriptor, "nextval()")?;
        let value = self.engine()?.sequences().next(self.database, &descriptor)?;
        let mut memory = self.sequences.lock();
        memory.current.insert(sequence, value);
        memory.last = Some(sequence);
        Ok(value)
    }

    fn currval(&self, sequence: u32) -> Result<i64> {
        let known = self.sequences.lock().current.get(&sequence).copied();
        known.ok_or_else(|| self.sequence_not_used(sequence))
    }

    fn lastval(&self) -> Result<i64> {
        let memory = self.sequences.lock();
        memory.last.and_then(|sequence| memory.current.get(&sequence).copied()).ok_or_else(|| {
            Error::new(ErrorKind::ObjectNotInPrerequisiteState, "lastval is not yet defined in this session")
        })
    }

    fn setval(&self, sequence: u32, value: i64, is_called: bool) -> Result<i64> {
        let descriptor = self.sequence(sequence)?;
        self.refuse_when_read_only(&descriptor, "setval()")?;
        if value < descriptor.min_value || value > descriptor.max_value {
            return Err(Error::new(
                ErrorKind::NumericValueOutOfRange,
                format!(
                    "setval: value {value} is out of bounds for sequence \"{}\" ({}..{})",
                    descriptor.name, descriptor.min_value, descriptor.max_value
                ),
            ));
        }
        self.engine()?.sequences().set(self.database, &descriptor, value, is_called)?;
        if is_called {
            let mut memory = self.sequences.lock();
            memory.current.insert(sequence, value);
            memory.last = Some(sequence);
        }
        Ok(value)
    }

    fn relation_size(&self, oid: u32) -> Option<RelationSize> {
        let catalog = self.catalog.lock().clone();
        self.engine.upgrade()?.relation_size(&catalog, oid)
    }

    fn note_sleep(&self, sleeps: bool) {
        self.sleeping.store(sleeps, std::sync::atomic::Ordering::Relaxed);
    }

    fn database_bytes(&self, oid: u32) -> u64 {
        self.engine.upgrade().map_or(0, |engine| engine.database_bytes(oid))
    }

    fn check_canceled(&self) -> Result<()> {
        self.check_statement()
    }

    fn seeded_random(&self) -> Option<f64> {
        self.random.lock().as_mut().map(Random::next)
    }

    fn seed_random(&self, seed: f64) {
        *self.random.lock() = Some(Random::new(seed));
    }

    fn transaction_id(&self) -> Result<i64> {
        let running = *self.transaction.lock();
        let id = match running {
            Some(id) => id,
            None => {
                let engine = self.engine()?;
                *self.lone.lock().get_or_insert_with(|| engine.store().next_transaction_id())
            }
        };
        self.note_write();
        Ok(id.number())
    }

    fn assigned_transaction_id(&self) -> Option<i64> {
        let numbered = self.numbered.load(std::sync::atomic::Ordering::Relaxed);
        let id = (*self.transaction.lock()).or(*self.lone.lock());
        id.filter(|_| numbered).map(TxnId::number)
    }

    fn node_function(&self, name: &str, args: &[Datum]) -> Result<Datum> {
        match name {
            "inet_client_addr" => return Ok(address(&self.client)),
            "inet_client_port" => return Ok(port(&self.client)),
            "inet_server_addr" => return Ok(address(&self.server)),
            "inet_server_port" => return Ok(port(&self.server)),
            _ => {}
        }
        match self.advisory.function(self, name, args) {
            Some(result) => result,
            None => self.engine()?.node_function(self, name, args),
        }
    }
}
