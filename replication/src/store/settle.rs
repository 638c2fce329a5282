//! What is asked of shards until it is certain: how a transaction ended, that its locks are gone, that what another one
//! relies on has not changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::data::{KeyLock, Verdict, was_not_proposed};
use super::routing::Shard;
use super::{Inner, SYSTEM_SHARD};
use crate::api::{Key, ShardId, Span, Timestamp, TxnId};
use crate::command::{Check, Command, CommandResult, TxnStatus};
use crate::error::{Error, Result};
use crate::protocol::resolution::{Remedy, remedy};

/// How long a writer waits for the locks of a living coordinator, which are held for two rounds of the log at most.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(5);
/// How long a command waits for its shard to have a leader.
pub(super) const LEADER_WAIT_MAX: Duration = Duration::from_secs(10);
/// First and longest pause between two looks at something that is not ready.
const PAUSE_FIRST: Duration = Duration::from_micros(200);
const PAUSE_MAX: Duration = Duration::from_millis(20);
/// Locks on single keys that one command resolves.
const RESOLVED_TOGETHER_MAX: usize = 64;

/// Pauses that grow.
pub(super) struct Pauses(Duration);

impl Pauses {
    pub(super) fn new() -> Self {
        Pauses(PAUSE_FIRST)
    }

    pub(super) async fn pause(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(PAUSE_MAX);
    }
}

pub(super) fn decode(answer: bytes::Bytes) -> Result<CommandResult> {
    CommandResult::decode(&answer).map_err(|error| Error::corruption(format!("the answer of a shard: {error}")))
}

/// Whether a command that was not proposed may be before long: the group of a new shard is about to start, or one elects.
pub(super) fn is_passing(error: &Error) -> bool {
    was_not_proposed(error) && !matches!(error, Error::DiskFull)
}

/// Hands a command to a shard's log and waits for its result; waits for a shard that nobody leads yet.
pub(super) async fn submit(inner: &Inner, shard: ShardId, command: bytes::Bytes) -> Result<CommandResult> {
    let deadline = tokio::time::Instant::now() + LEADER_WAIT_MAX;
    let mut pauses = Pauses::new();
    loop {
        match inner.proposer.submit(shard, command.clone()).await {
            Err(error) if is_passing(&error) && tokio::time::Instant::now() < deadline => {
                inner.check_open()?;
                pauses.pause().await;
            }
            answer => return decode(answer?),
        }
    }
}

/// Proposes a command about `key` to whichever shard holds it now.
pub(super) async fn propose_at(inner: &Inner, key: &[u8], command: &Command) -> Result<CommandResult> {
    let mut pauses = Pauses::new();
    loop {
        let shard = inner.routing.of(key)?;
        let bytes = command.encode(shard.descriptor.epoch);
        match submit(inner, shard.descriptor.shard, bytes).await? {
            CommandResult::StaleEpoch { .. } | CommandResult::WrongShard { .. } => {
                inner.check_open()?;
                pauses.pause().await;
                inner.refresh_routing().await?;
            }
            result => return Ok(result),
        }
    }
}

/// Finds out what became of a transaction whose command was not answered: an abort at its primary tells, and makes certain.
pub(super) async fn settle(inner: &Inner, txn: TxnId, primary: &Key) -> Result<TxnStatus> {
    let mut pauses = Pauses::new();
    loop {
        // Without a timestamp nothing is known yet, either: whoever gave up here would give a commit for dead that may be alive.
        let abort = async {
            let now = inner.now().await?;
            let answer = propose_at(inner, primary, &Command::Abort { txn, now, primary: primary.clone() }).await?;
            Ok::<_, Error>((now, answer))
        };
        match abort.await {
            Ok((_, CommandResult::Committed { commit_ts })) => return Ok(TxnStatus::Committed(commit_ts)),
            Ok((now, CommandResult::Aborted)) => return Ok(TxnStatus::Aborted(now)),
            Ok((_, other)) => {
                return Err(Error::Io { context: "settling a transaction", message: format!("{other:?}") });
            }
            Err(error) => {
                inner.check_open()?;
                if let Some(stopped) = stopped_at(inner, primary).or_else(|| inner.proposer.stopped(SYSTEM_SHARD)) {
                    return Err(stopped);
                }
                tracing::debug!(%error, %txn, "a transaction cannot be settled yet");
                pauses.pause().await;
            }
        }
    }
}

/// Why nothing about `key` will be known before a restart, if so.
fn stopped_at(inner: &Inner, key: &[u8]) -> Option<Error> {
    inner.proposer.stopped(inner.routing.of(key).ok()?.descriptor.shard)
}

/// Resolves the locks of a transaction on some keys, wherever they are now.
pub(super) async fn resolve(inner: &Inner, txn: TxnId, status: TxnStatus, keys: Vec<Key>) -> Result<()> {
    let mut keys = keys;
    let mut pauses = Pauses::new();
    while let Some(first) = keys.first() {
        let shard = inner.routing.of(first)?;
        let (here, rest): (Vec<Key>, Vec<Key>) = keys.into_iter().partition(|key| shard.descriptor.span.contains(key));
        let command = Command::Resolve { txn, status, keys: here };
        let bytes = command.encode(shard.descriptor.epoch);
        keys = rest;
        match submit(inner, shard.descriptor.shard, bytes).await? {
            CommandResult::StaleEpoch { .. } | CommandResult::WrongShard { .. } => {
                inner.check_open()?;
                pauses.pause().await;
                inner.refresh_routing().await?;
                if let Command::Resolve { keys: again, .. } = command {
                    keys.extend(again);
                }
            }
            CommandResult::Refused { reason } => {
                return Err(Error::Io { context: "resolving a transaction", message: reason });
            }
            _ => {}
        }
    }
    Ok(())
}

/// A lock of another transaction in somebody's way.
#[derive(Debug)]
pub(super) struct LockMet {
    pub key: Key,
    /// Whose it is.
    pub txn: TxnId,
    /// Where that transaction is decided.
    pub primary: Key,
}

impl LockMet {
    /// The lock that a command met, if that is how it was answered.
    pub(super) fn of(answer: CommandResult) -> Option<LockMet> {
        match answer {
            CommandResult::Locked { key, txn, primary, .. } => Some(LockMet { key, txn, primary }),
            _ => None,
        }
    }
}

impl From<KeyLock> for LockMet {
    fn from(lock: KeyLock) -> LockMet {
        LockMet { key: lock.key, txn: lock.txn, primary: lock.primary }
    }
}

/// Deals with a lock that somebody met, and with the others of its transaction inside the span, which would be met next: waits
/// for a living coordinator, finishes the work of a dead one.
pub(super) async fn clear_locks(inner: &Inner, met: &LockMet, within: &Span) -> Result<Remedy> {
    let mut pauses = Pauses::new();
    let deadline = tokio::time::Instant::now() + LOCK_WAIT_MAX;
    let status = loop {
        // Alive first: a coordinator that ends between the two looks has recorded its outcome.
        let alive = inner.is_coordinating(met.txn);
        match remedy(inner.data.status(&met.primary, met.txn)?, alive) {
            Remedy::Resolve(status) => break status,
            Remedy::AbortAtPrimary => break settle(inner, met.txn, &met.primary).await?,
            Remedy::Wait if tokio::time::Instant::now() >= deadline => return Ok(Remedy::Wait),
            Remedy::Wait => pauses.pause().await,
        }
    };
    let mut next = vec![met.key.clone()];
    while !next.is_empty() {
        resolve(inner, met.txn, status, next).await?;
        let single = inner.data.single_locks_of(within, met.txn, RESOLVED_TOGETHER_MAX);
        next = match single.is_empty() {
            false => single,
            // A piece is many keys: one at a time.
            true => {
                let pieces = inner.data.locks_of(within, &|txn| txn == met.txn, 1);
                pieces.into_iter().map(|lock| lock.key).collect()
            }
        };
    }
    Ok(Remedy::Resolve(status))
}

/// Proposes until there is an answer. Only for commands that may be repeated.
pub(super) async fn submit_known(inner: &Inner, shard: ShardId, command: bytes::Bytes) -> CommandResult {
    let mut pauses = Pauses::new();
    loop {
        match submit(inner, shard, command.clone()).await {
            Ok(result) => return result,
            Err(error @ Error::DiskFull) => return CommandResult::refused(error.to_string()),
            Err(error) if inner.check_open().is_err() => return CommandResult::refused(error.to_string()),
            Err(_) => match inner.proposer.stopped(shard) {
                Some(stopped) => return CommandResult::refused(stopped.to_string()),
                None => pauses.pause().await,
            },
        }
    }
}

/// Validates reads as of `at`: raises what the leaders have read to it, waits for the commits below it that are proposed, and
/// looks.
pub(super) async fn validate(inner: &Inner, checks: &[Check], at: Timestamp, txn: TxnId) -> Result<bool> {
    let mut shards: BTreeMap<ShardId, Arc<Shard>> = BTreeMap::new();
    for check in checks {
        let span = match check {
            Check::KeyExists { key } => Span::key(key),
            Check::SpanUnchanged { span, .. } => span.clone(),
        };
        shards.extend(inner.routing.over(&span).into_iter().map(|shard| (shard.descriptor.shard, shard)));
    }
    for shard in shards.values() {
        let (ready, is_ready) = oneshot::channel();
        let at_once = shard.leader.lock().validate(at, ready);
        if at_once.is_none() {
            is_ready.await.map_err(|_| Error::ShuttingDown)?;
        }
    }
    for check in checks {
        if !holds(inner, check, txn).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a check holds. A lock that is in the way only because its transaction is not resolved yet is dealt with. Nobody
/// waits for one that is undecided: that transaction may be waiting for this one's locks.
async fn holds(inner: &Inner, check: &Check, txn: TxnId) -> Result<bool> {
    let span = match check {
        Check::KeyExists { key } => Span::key(key),
        Check::SpanUnchanged { span, .. } => span.clone(),
    };
    let deadline = tokio::time::Instant::now() + LOCK_WAIT_MAX;
    loop {
        let met = match inner.data.judge(check, txn)? {
            Verdict::Holds => return Ok(true),
            Verdict::Changed => return Ok(false),
            Verdict::Locked(lock) => LockMet::from(lock),
        };
        // Alive first, as above.
        let undecided = inner.is_coordinating(met.txn) && inner.data.status(&met.primary, met.txn)?.is_none();
        if undecided || tokio::time::Instant::now() >= deadline {
            return Ok(false);
        }
        if clear_locks(inner, &met, &span).await? == Remedy::Wait {
            return Ok(false);
        }
    }
}
