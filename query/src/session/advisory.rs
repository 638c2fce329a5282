//! Advisory locks: names that applications lock, without a meaning to the database.
//!
//! They lie in the same table as row locks, so that they wait, time out and deadlock as those do. One owner holds them for the
//! session, whatever transaction asked; who asked how often is counted here, as in Postgres: a lock is held while the session or
//! the running transaction has asked for it more often than it has let go.

use std::collections::HashMap;

use parking_lot::Mutex;
use stratos_replication::{LockMode, LockOwner, LockWait, Store, TableLockMode, TxnId, WaitPolicy};
use stratos_types::{Datum, Error, ErrorKind, Result};

use super::shared::SessionShared;
use crate::catalog::LockFacts;
use crate::ddl::Notice;
use crate::exec::stored;

/// Different names that one session may hold.
const NAMES_MAX: usize = 100_000;
/// How often one transaction may ask for a lock until its end.
const ASKED_MAX: usize = 1_000_000;
/// First byte of the names in the lock table; no key of the store begins with it.
const KEY_SPACE: u8 = 0xff;

/// What is locked: `classid`, `objid` and `objsubid` of `pg_locks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Name {
    class: u32,
    object: u32,
    /// 1 for one bigint, 2 for two integers: the two do not meet.
    sub: i16,
}

impl Name {
    fn of(args: &[Datum]) -> Option<Name> {
        match args {
            [Datum::Int8(key)] => Some(Name { class: (*key >> 32) as u32, object: *key as u32, sub: 1 }),
            [Datum::Int4(class), Datum::Int4(object)] => {
                Some(Name { class: *class as u32, object: *object as u32, sub: 2 })
            }
            _ => None,
        }
    }

    /// The name and its database, of a key of the lock table.
    fn of_key(key: &[u8]) -> Option<(u32, Name)> {
        let (&KEY_SPACE, rest) = key.split_first()? else { return None };
        let word = |at: usize| rest.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
        let sub = i16::from_be_bytes(rest.get(12..14)?.try_into().ok()?);
        Some((word(0)?, Name { class: word(4)?, object: word(8)?, sub }))
    }

    fn key(self, database: u32) -> Vec<u8> {
        let mut key = vec![KEY_SPACE];
        for part in [database, self.class, self.object] {
            key.extend_from_slice(&part.to_be_bytes());
        }
        key.extend_from_slice(&self.sub.to_be_bytes());
        key
    }
}

/// How often a name was asked for, shared and exclusive.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    shared: u32,
    exclusive: u32,
}

impl Counts {
    fn slot(&mut self, shared: bool) -> &mut u32 {
        if shared { &mut self.shared } else { &mut self.exclusive }
    }

    fn mode(self) -> Option<LockMode> {
        if self.exclusive > 0 { Some(LockMode::Update) } else { (self.shared > 0).then_some(LockMode::Share) }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Held {
    session: Counts,
    transaction: Counts,
}

impl Held {
    fn mode(self) -> Option<LockMode> {
        match (self.session.mode(), self.transaction.mode()) {
            (Some(one), Some(other)) => Some(one.join(other)),
            (one, other) => one.or(other),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    held: HashMap<Name, Held>,
    /// What the running transaction asked for, in order; the flag is for shared.
    asked: Vec<(Name, bool)>,
}

/// The advisory locks of a session.
#[derive(Debug)]
pub(super) struct Advisory {
    database: u32,
    owner: LockOwner,
    state: Mutex<State>,
}

/// A function of the family, by what is between `pg_` and the name's end.
struct Request {
    tries: bool,
    transaction: bool,
    shared: bool,
}

impl Advisory {
    pub(super) fn new(store: &Store, database: u32, pid: i32) -> Advisory {
        Advisory { database, owner: store.lock_owner(pid.unsigned_abs()), state: Mutex::default() }
    }

    /// Carries out one of the functions; `None` when the name is none of them.
    ///
    /// # Errors
    /// Deadlock, lock and statement timeouts, cancellation, too many locks.
    pub(super) fn function(&self, session: &SessionShared, name: &str, args: &[Datum]) -> Option<Result<Datum>> {
        let rest = name.strip_prefix("pg_")?;
        if rest == "advisory_unlock_all" {
            self.unlock_all();
            return Some(Ok(Datum::text("")));
        }
        let (shared, rest) = match rest.strip_suffix("_shared") {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let request = match rest {
            "advisory_unlock" => {
                let locked = Name::of(args)?;
                return Some(Ok(Datum::Bool(self.unlock(session, locked, shared))));
            }
            "advisory_lock" => Request { tries: false, transaction: false, shared },
            "advisory_xact_lock" => Request { tries: false, transaction: true, shared },
            "try_advisory_lock" => Request { tries: true, transaction: false, shared },
            "try_advisory_xact_lock" => Request { tries: true, transaction: true, shared },
            _ => return None,
        };
        let locked = Name::of(args)?;
        let taken = self.lock(session, locked, &request);
        Some(taken.map(|taken| if request.tries { Datum::Bool(taken) } else { Datum::text("") }))
    }

    fn lock(&self, session: &SessionShared, name: Name, request: &Request) -> Result<bool> {
        let mode = if request.shared { LockMode::Share } else { LockMode::Update };
        let has_it = {
            let state = self.state.lock();
            if state.held.len() >= NAMES_MAX && !state.held.contains_key(&name) {
                return Err(Error::new(ErrorKind::OutOfMemory, "out of shared memory")
                    .with_hint(format!("One session may hold {NAMES_MAX} advisory locks.")));
            }
            if request.transaction && state.asked.len() >= ASKED_MAX {
                return Err(Error::new(ErrorKind::OutOfMemory, "out of shared memory")
                    .with_hint(format!("One transaction may ask for {ASKED_MAX} advisory locks.")));
            }
            state.held.get(&name).and_then(|held| held.mode()).is_some_and(|held| held.covers(mode))
        };
        if !has_it && !self.acquire(session, name, mode, request.tries)? {
            return Ok(false);
        }
        let mut state = self.state.lock();
        let held = state.held.entry(name).or_default();
        if request.transaction {
            *held.transaction.slot(request.shared) += 1;
            state.asked.push((name, request.shared));
        } else {
            *held.session.slot(request.shared) += 1;
        }
        Ok(true)
    }

    fn acquire(&self, session: &SessionShared, name: Name, mode: LockMode, tries: bool) -> Result<bool> {
        self.owner.accompany(session.running_transaction());
        let timeout_ms = session.settings.lock().lock_timeout_ms();
        let wait = if tries {
            WaitPolicy::SkipLocked
        } else {
            WaitPolicy::Wait { timeout: (timeout_ms > 0).then(|| std::time::Duration::from_millis(timeout_ms)) }
        };
        let key = name.key(self.database);
        let deadline = *session.deadline.lock();
        let work = async { stored(self.owner.acquire(&key, mode, wait).await) };
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(session.cancel.guard(deadline, work)))
    }

    /// Makes the lock as strong as what is still asked for.
    fn settle(&self, state: &mut State, name: Name) {
        let mode = state.held.get(&name).and_then(|held| held.mode());
        if mode.is_none() {
            state.held.remove(&name);
        }
        self.owner.weaken(&name.key(self.database), mode);
    }

    fn unlock(&self, session: &SessionShared, name: Name, shared: bool) -> bool {
        let mut state = self.state.lock();
        let slot = state.held.get_mut(&name).map(|held| held.session.slot(shared)).filter(|count| **count > 0);
        let Some(count) = slot else {
            let mode = if shared { "ShareLock" } else { "ExclusiveLock" };
            session.notice(Notice {
                kind: Some(ErrorKind::Warning),
                message: format!("you don't own a lock of type {mode}"),
                detail: None,
            });
            return false;
        };
        *count -= 1;
        self.settle(&mut state, name);
        true
    }

    /// `pg_advisory_unlock_all` and the like: everything that the session, not its transaction, asked for.
    pub(super) fn unlock_all(&self) {
        let mut state = self.state.lock();
        let names: Vec<Name> = state.held.keys().copied().collect();
        for name in names {
            if let Some(held) = state.held.get_mut(&name) {
                held.session = Counts::default();
            }
            self.settle(&mut state, name);
        }
    }

    /// Where a savepoint goes back to.
    pub(super) fn mark(&self) -> usize {
        self.state.lock().asked.len()
    }

    /// The transaction goes back to a savepoint, or ends (0): what it asked for since is let go.
    pub(super) fn undo_to(&self, mark: usize) {
        let mut state = self.state.lock();
        while state.asked.len() > mark {
            let Some((name, shared)) = state.asked.pop() else { break };
            if let Some(held) = state.held.get_mut(&name) {
                let count = held.transaction.slot(shared);
                *count = count.saturating_sub(1);
            }
            self.settle(&mut state, name);
        }
    }

    /// A transaction began or ended: its waits are the session's.
    pub(super) fn accompany(&self, transaction: Option<TxnId>) {
        if !self.state.lock().held.is_empty() {
            self.owner.accompany(transaction);
        }
    }

    /// Who holds these locks in the lock table.
    pub(super) fn owner(&self) -> TxnId {
        self.owner.id()
    }

    /// For `pg_locks`.
    pub(super) fn facts(&self, pid: i32) -> Vec<LockFacts> {
        let state = self.state.lock();
        let mut facts = Vec::new();
        for (name, held) in &state.held {
            let modes = [
                ("ShareLock", held.session.shared + held.transaction.shared),
                ("ExclusiveLock", held.session.exclusive + held.transaction.exclusive),
            ];
            for (mode, _) in modes.into_iter().filter(|(_, count)| *count > 0) {
                facts.push(LockFacts {
                    kind: "advisory",
                    database: self.database,
                    object: Some((name.class, name.object, name.sub)),
                    pid,
                    mode,
                    granted: true,
                    ..LockFacts::default()
                });
            }
        }
        facts
    }
}

fn table_mode_name(mode: TableLockMode) -> &'static str {
    match mode {
        TableLockMode::AccessShare => "AccessShareLock",
        TableLockMode::RowShare => "RowShareLock",
        TableLockMode::RowExclusive => "RowExclusiveLock",
        TableLockMode::ShareUpdateExclusive => "ShareUpdateExclusiveLock",
        TableLockMode::Share => "ShareLock",
        TableLockMode::ShareRowExclusive => "ShareRowExclusiveLock",
        TableLockMode::Exclusive => "ExclusiveLock",
        TableLockMode::AccessExclusive => "AccessExclusiveLock",
    }
}

/// A wait as `pg_locks` shows it: for a name, or, as Postgres has it, for the end of the transaction that holds a row.
pub(crate) fn wait_facts(wait: &LockWait) -> Vec<LockFacts> {
    let pid = i32::try_from(wait.waiter.label).unwrap_or(0);
    if let Some((database, name)) = Name::of_key(&wait.key) {
        return vec![LockFacts {
            kind: "advisory",
            database,
            object: Some((name.class, name.object, name.sub)),
            pid,
            mode: if wait.mode == LockMode::Share { "ShareLock" } else { "ExclusiveLock" },
            ..LockFacts::default()
        }];
    }
    if let Some((database, table)) = crate::catalog::keys::table_of(&wait.key)
        && let LockMode::Table(mode) = wait.mode
    {
        let (relation, mode) = (Some(table), table_mode_name(mode));
        return vec![LockFacts { kind: "relation", database, relation, pid, mode, ..LockFacts::default() }];
    }
    let transaction = wait.blockers.first().map(|blocker| blocker.number());
    let mut facts =
        vec![LockFacts { kind: "transactionid", transaction, pid, mode: "ShareLock", ..LockFacts::default() }];
    if let Some((database, storage)) = crate::rows::storage_of(&wait.key) {
        facts.push(LockFacts {
            kind: "tuple",
            database,
            storage: Some(storage),
            pid,
            mode: "ExclusiveLock",
            granted: true,
            ..LockFacts::default()
        });
    }
    facts
}
