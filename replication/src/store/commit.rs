//! Commits: one command when one shard has everything, two phases otherwise.

use std::sync::Arc;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::oneshot;

use super::data::was_not_proposed;
use super::ending::{Ending, close};
use super::partition::{Chunk, PartData, partition};
use super::routing::Shard;
use super::settle::{
    LEADER_WAIT_MAX, LockMet, Pauses, clear_locks, decode, is_passing, propose_at, resolve, settle, submit_known,
    validate,
};
use super::transaction::HeldLocks;
use super::{Inner, SYSTEM_SHARD};
use crate::api::{CommitInfo, Key, Span, Timestamp, TxnId};
use crate::apply::piece_ends;
use crate::command::{Check, Command, CommandResult, Op, TxnStatus, Write, encode_prewrite};
use crate::error::{Error, Result};
use crate::overlay::{Buffered, Writes};
use crate::protocol::leader::Admission;
use crate::protocol::resolution::Remedy;
use crate::protocol::two_phase::{Action, Event, Failure, Part, TwoPhase, failure_of};

/// How often a commit is routed again because shards were split meanwhile.
const REROUTES_MAX: usize = 16;
/// How often a one-shard commit is repeated after a lock in its way was dealt with.
const LOCK_RETRIES_MAX: usize = 64;
/// Prewrites of one transaction that are under way at a time.
const PREWRITES_IN_FLIGHT_MAX: usize = 8;
/// Resolves of one transaction that are under way at a time: the next one waits in the log while one is applied. The commits
/// of others come between them.
const RESOLVES_IN_FLIGHT_MAX: usize = 2;

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        match failure {
            Failure::WriteConflict(key) => Error::WriteConflict { key },
            Failure::Serialization | Failure::Reroute => Error::SerializationFailure,
            // Commands are refused with a text; a full disk must keep its name all the way to the client.
            Failure::Refused(message) | Failure::Unknown(message) if message == Error::DiskFull.to_string() => {
                Error::DiskFull
            }
            Failure::Refused(message) => Error::Io { context: "a shard refused a command", message },
            Failure::Unknown(message) => {
                Error::Io { context: "it is not known whether the transaction is committed", message }
            }
        }
    }
}

/// Commits the writes; the locks are released when the outcome is certain.
pub(super) async fn commit(
    inner: &Arc<Inner>,
    id: TxnId,
    writes: Writes,
    checks: Vec<Check>,
    held: HeldLocks,
) -> Result<CommitInfo> {
    let mut writes = writes;
    let mut held = Some(held);
    let mut attempt = id;
    for _ in 0..REROUTES_MAX {
        inner.check_open()?;
        let mut parts = partition(inner, &writes, &checks)?;
        match parts.pop() {
            Some(part) if parts.is_empty() && part.fits_a_command() => {
                match OneShard::new(inner.clone(), attempt, part, writes, &mut held).commit().await {
                    Ok(timestamp) => return Ok(CommitInfo { timestamp, shards: 1 }),
                    Err((Failure::Reroute, back)) => writes = back,
                    Err((failure, _)) => return Err(failure.into()),
                }
            }
            last => {
                parts.extend(last);
                let shards = parts.len() as u32;
                let shared = Arc::new(writes);
                let (answer, answered) = oneshot::channel();
                let (give_back, given_back) = oneshot::channel();
                let driver = Driver::new(inner.clone(), attempt, parts, shared.clone(), held.take(), answer, give_back);
                // A task of its own: neither a cancelled statement nor a closed connection may stop it half way.
                tokio::spawn(driver.run());
                match answered.await.map_err(|_| Error::ShuttingDown)? {
                    Ok(timestamp) => return Ok(CommitInfo { timestamp, shards }),
                    Err(Failure::Reroute) => {
                        held = given_back.await.map_err(|_| Error::ShuttingDown)?;
                        writes = Arc::unwrap_or_clone(shared);
                    }
                    Err(failure) => return Err(failure.into()),
                }
            }
        }
        inner.refresh_routing().await?;
        // What the first attempt left behind is aborted under its own name.
        attempt = inner.next_txn_id();
    }
    Err(Error::SerializationFailure)
}

/// A commit within one shard. Dropping it after the proposal hands what is open to a task that finds out.
struct OneShard<'a> {
    inner: Arc<Inner>,
    txn: TxnId,
    shard: Arc<Shard>,
    command: Option<Command>,
    primary: Key,
    /// The timestamp that is proposed and not answered.
    open: Option<Timestamp>,
    held: &'a mut Option<HeldLocks>,
}

impl<'a> OneShard<'a> {
    fn new(inner: Arc<Inner>, txn: TxnId, part: PartData, writes: Writes, held: &'a mut Option<HeldLocks>) -> Self {
        let primary = part.chunks.first().map(|chunk| chunk.first.clone()).unwrap_or_default();
        let writes = writes.into_iter().map(|(key, write)| {
            let op = write.value.map_or(Op::Delete, Op::Put);
            Write { key, op, base: write.base }
        });
        let command = Command::Commit {
            txn,
            start_ts: Timestamp::ZERO,
            commit_ts: Timestamp::ZERO,
            writes: writes.collect(),
            checks: part.checks,
        };
        OneShard { inner, txn, shard: part.shard, command: Some(command), primary, open: None, held }
    }

    async fn commit(mut self) -> std::result::Result<Timestamp, (Failure, Writes)> {
        let outcome = self.attempts().await;
        match outcome {
            Ok(timestamp) => {
                let ticket = self.open.take().unwrap_or(timestamp);
                let held = self.held.take();
                let wrote = |key: &Key| writes_key(&self.command, key);
                Ending::begin(&self.inner, &self.shard, ticket, timestamp, wrote, held).end().await;
                Ok(timestamp)
            }
            Err(failure) => {
                let writes = match self.command.take() {
                    Some(Command::Commit { writes, .. }) => writes,
                    _ => Vec::new(),
                };
                let writes = writes.into_iter().map(|Write { key, op, base }| {
                    let value = if let Op::Put(value) = op { Some(value) } else { None };
                    (key, Buffered { value, base })
                });
                Err((failure, writes.collect()))
            }
        }
    }

    async fn attempts(&mut self) -> std::result::Result<Timestamp, Failure> {
        let deadline = tokio::time::Instant::now() + LEADER_WAIT_MAX;
        let mut pauses = Pauses::new();
        let mut lock_retries = 0;
        while lock_retries < LOCK_RETRIES_MAX {
            let result = match self.propose().await {
                Ok(result) => result,
                Err(error) if is_passing(&error) && tokio::time::Instant::now() < deadline => {
                    self.close();
                    pauses.pause().await;
                    continue;
                }
                Err(error) if was_not_proposed(&error) => {
                    self.close();
                    return Err(Failure::Refused(error.to_string()));
                }
                // Not known: ask until it is.
                Err(_) => match settle(&self.inner, self.txn, &self.primary).await {
                    Ok(TxnStatus::Committed(commit_ts)) => CommandResult::Committed { commit_ts },
                    Ok(TxnStatus::Aborted(_)) => CommandResult::Aborted,
                    Err(error) => return Err(Failure::Unknown(error.to_string())),
                },
            };
            // What is committed still owes its timestamp: see `Ending`.
            if let CommandResult::Committed { commit_ts } = result {
                return Ok(commit_ts);
            }
            self.close();
            match result {
                CommandResult::Locked { ref key, txn, ref primary, .. } => {
                    let met = LockMet { key: key.clone(), txn, primary: primary.clone() };
                    match clear_locks(&self.inner, &met, &self.relies_on_around(key)).await {
                        Ok(Remedy::Resolve(_) | Remedy::AbortAtPrimary) => lock_retries += 1,
                        Ok(Remedy::Wait) => return Err(failure_of(result)),
                        Err(error) => return Err(Failure::Refused(error.to_string())),
                    }
                }
                refused => return Err(failure_of(refused)),
            }
        }
        Err(Failure::Serialization)
    }

    /// The span of a check that holds the key; the key alone when none does.
    fn relies_on_around(&self, key: &Key) -> Span {
        let checks = match &self.command {
            Some(Command::Commit { checks, .. }) => checks.as_slice(),
            _ => &[],
        };
        let span_of = |check: &Check| match check {
            Check::SpanUnchanged { span, .. } if span.contains(key) => Some(span.clone()),
            _ => None,
        };
        checks.iter().find_map(span_of).unwrap_or_else(|| Span::key(key))
    }

    /// Draws the timestamp and hands the command to the log as one step, so that the log is in the order of time.
    async fn propose(&mut self) -> Result<CommandResult> {
        let answer = loop {
            let drawn = {
                let mut leader = self.shard.leader.lock();
                loop {
                    match self.inner.oracle.draw() {
                        Err(needs) => break Err(needs),
                        Ok(timestamp) if leader.admit_commit(timestamp) == Admission::Redraw => {
                            self.inner.oracle.finish(timestamp);
                        }
                        Ok(timestamp) => {
                            self.open = Some(timestamp);
                            if let Some(Command::Commit { start_ts, commit_ts, .. }) = &mut self.command {
                                *commit_ts = timestamp;
                                if *start_ts == Timestamp::ZERO {
                                    // The beginning is before the commit, and drawing another timestamp for it would
                                    // tell nothing more.
                                    *start_ts = Timestamp(timestamp.0 - 1);
                                }
                            }
                            let descriptor = &self.shard.descriptor;
                            let bytes = self.command.as_ref().map(|command| command.encode(descriptor.epoch));
                            break Ok(self.inner.proposer.submit(descriptor.shard, bytes.unwrap_or_default()));
                        }
                    }
                }
            };
            match drawn {
                Ok(answer) => break answer,
                Err(_) => self.inner.reserve_timestamps().await?,
            }
        };
        decode(answer.await?)
    }

    /// The fate of the open timestamp is known.
    fn close(&mut self) {
        if let Some(timestamp) = self.open.take() {
            close(&self.inner, &self.shard, timestamp);
        }
    }
}

impl Drop for OneShard<'_> {
    fn drop(&mut self) {
        let Some(timestamp) = self.open.take() else { return };
        let (inner, shard, txn) = (self.inner.clone(), self.shard.clone(), self.txn);
        let (primary, command, held) = (std::mem::take(&mut self.primary), self.command.take(), self.held.take());
        let settled = async move {
            if let Ok(TxnStatus::Committed(committed)) = settle(&inner, txn, &primary).await {
                let wrote = |key: &Key| writes_key(&command, key);
                return Ending::begin(&inner, &shard, timestamp, committed, wrote, held).end().await;
            }
            close(&inner, &shard, timestamp);
            drop(held);
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(settled);
        }
    }
}

/// Whether a commit within one shard writes the key.
fn writes_key(command: &Option<Command>, key: &Key) -> bool {
    match command {
        Some(Command::Commit { writes, .. }) => has_key(writes, key),
        _ => false,
    }
}

/// Whether the writes, which are in the order of their keys, have one of `key`.
fn has_key(writes: &[Write], key: &Key) -> bool {
    writes.binary_search_by(|write| write.key.cmp(key)).is_ok()
}

/// Runs the two-phase core over the real logs.
struct Driver {
    inner: Arc<Inner>,
    txn: TxnId,
    start_ts: Timestamp,
    primary: Key,
    core: TwoPhase,
    parts: Vec<DrivenPart>,
    /// All writes, in the order of their keys.
    writes: Arc<Writes>,
    held: Option<HeldLocks>,
    answer: Option<oneshot::Sender<std::result::Result<Timestamp, Failure>>>,
    give_back: Option<oneshot::Sender<Option<HeldLocks>>>,
}

struct DrivenPart {
    shard: Arc<Shard>,
    chunks: Vec<Chunk>,
    /// For each chunk, the keys by which its locks are resolved.
    keys: Vec<Vec<Key>>,
    checks: Arc<Vec<Check>>,
}

impl Driver {
    fn new(
        inner: Arc<Inner>,
        txn: TxnId,
        parts: Vec<PartData>,
        writes: Arc<Writes>,
        held: Option<HeldLocks>,
        answer: oneshot::Sender<std::result::Result<Timestamp, Failure>>,
        give_back: oneshot::Sender<Option<HeldLocks>>,
    ) -> Self {
        let parts: Vec<DrivenPart> = parts
            .into_iter()
            .map(|part| {
                let keys_of = |chunk: &Chunk| {
                    piece_ends(&chunk.first, &chunk.last, chunk.count, || {
                        chunk.writes(&writes).map(|(key, _)| key.clone()).collect()
                    })
                };
                let keys = part.chunks.iter().map(keys_of).collect();
                DrivenPart { shard: part.shard, chunks: part.chunks, keys, checks: Arc::new(part.checks) }
            })
            .collect();
        let plan =
            parts.iter().map(|part| Part { chunks: part.chunks.len(), validates: !part.checks.is_empty() }).collect();
        let primary = parts.first().and_then(|part| part.keys.first()?.first().cloned()).unwrap_or_default();
        inner.coordinating.lock().insert(txn);
        Driver {
            inner,
            txn,
            start_ts: Timestamp::ZERO,
            primary,
            core: TwoPhase::new(plan, Default::default()),
            parts,
            writes,
            held,
            answer: Some(answer),
            give_back: Some(give_back),
        }
    }

    async fn run(mut self) {
        match self.inner.now().await {
            Ok(now) => self.start_ts = now,
            Err(error) => {
                self.tell(Err(Failure::Refused(error.to_string())));
                return;
            }
        }
        let mut pending: FuturesUnordered<BoxFuture<'static, Event>> = FuturesUnordered::new();
        let mut actions: std::collections::VecDeque<Action> = self.core.handle(Event::Begin).into();
        let mut first_failure = None;
        loop {
            while let Some(action) = actions.pop_front() {
                // An abort must not overtake prewrites that are under way: it would leave their locks behind.
                let room = match action {
                    Action::Prewrite(_) => pending.len() < PREWRITES_IN_FLIGHT_MAX,
                    Action::Resolve(..) => pending.len() < RESOLVES_IN_FLIGHT_MAX,
                    Action::Abort => pending.is_empty(),
                    _ => true,
                };
                if !room {
                    actions.push_front(action);
                    break;
                }
                match action {
                    Action::Finished => {
                        if let Some(failure) = first_failure.take() {
                            self.tell(Err(failure));
                        }
                        return;
                    }
                    // A transaction that is routed again starts over only when nothing of this attempt is left.
                    Action::Answer(Err(Failure::Reroute)) => first_failure = Some(Failure::Reroute),
                    Action::Answer(answer) => self.tell(answer),
                    Action::Discard(timestamp) => close(&self.inner, &self.parts[0].shard, timestamp),
                    action => pending.push(self.execute(action)),
                }
            }
            match pending.next().await {
                Some(event) => {
                    let failed_before = actions.iter().any(|action| matches!(action, Action::Abort));
                    let next = self.core.handle(event);
                    if next.iter().any(|action| matches!(action, Action::Abort)) && !failed_before {
                        // What was not begun need not be.
                        actions.retain(|action| !matches!(action, Action::Prewrite(_)));
                    }
                    actions.extend(next);
                }
                None if actions.is_empty() => return,
                None => {}
            }
        }
    }

    fn tell(&mut self, answer: std::result::Result<Timestamp, Failure>) {
        if let Ok(timestamp) = answer {
            let wrote = |key: &Key| self.writes.contains_key(key);
            let held = self.held.take();
            let ending = Ending::begin(&self.inner, &self.parts[0].shard, timestamp, timestamp, wrote, held);
            // Only the keys of the locks are needed from here on.
            self.writes = Arc::default();
            let sender = self.answer.take();
            // The other locks are resolved meanwhile: an older commit may be waiting for just that.
            tokio::spawn(async move {
                ending.end().await;
                // The session may be gone.
                let _gone = sender.map(|sender| sender.send(answer));
            });
            return;
        }
        if answer == Err(Failure::Reroute)
            && let Some(give_back) = self.give_back.take()
        {
            // The session may be gone; then the locks are released here.
            let _gone = give_back.send(self.held.take());
        }
        if let Some(sender) = self.answer.take() {
            let _gone = sender.send(answer);
        }
    }

    fn execute(&mut self, action: Action) -> BoxFuture<'static, Event> {
        let inner = self.inner.clone();
        let (txn, primary) = (self.txn, self.primary.clone());
        match action {
            Action::Prewrite(piece) => {
                let start_ts = self.start_ts;
                let part = &self.parts[piece.part];
                let descriptor = &part.shard.descriptor;
                let shard = descriptor.shard;
                let chunk = &part.chunks[piece.chunk];
                let writes = chunk.writes(&self.writes);
                let sizes = (chunk.count, chunk.bytes);
                let bytes = encode_prewrite(descriptor.epoch, txn, start_ts, &primary, sizes, writes);
                Box::pin(async move { Event::Prewritten(piece, submit_known(&inner, shard, bytes).await) })
            }
            Action::HandleLock(piece, met) => {
                let chunk = &self.parts[piece.part].chunks[piece.chunk];
                let within = Span::new(chunk.first.clone(), Span::key(&chunk.last).end);
                Box::pin(async move {
                    let remedy = match LockMet::of(met) {
                        Some(met) => clear_locks(&inner, &met, &within).await.unwrap_or(Remedy::Wait),
                        None => Remedy::Wait,
                    };
                    Event::LockHandled(piece, remedy)
                })
            }
            Action::Draw => Box::pin(async move {
                let mut pauses = Pauses::new();
                loop {
                    match inner.oracle.draw() {
                        Ok(timestamp) => return Event::Drawn(timestamp),
                        Err(_) => {
                            let Err(error) = inner.reserve_timestamps().await else { continue };
                            if inner.check_open().is_err() || inner.proposer.stopped(SYSTEM_SHARD).is_some() {
                                return Event::NothingToDraw(error.to_string());
                            }
                            pauses.pause().await;
                        }
                    }
                }
            }),
            Action::Validate { part, at } => {
                let checks = self.parts[part].checks.clone();
                Box::pin(async move {
                    let holds = validate(&inner, &checks, at, txn).await.unwrap_or(false);
                    Event::Validated { part, at, holds }
                })
            }
            Action::CommitPrimary(commit_ts) => {
                if self.parts[0].shard.leader.lock().admit_primary(commit_ts) == Admission::Redraw {
                    return Box::pin(async move { Event::PrimaryTooLow(commit_ts) });
                }
                Box::pin(async move {
                    let command = Command::CommitPrimary { txn, commit_ts, primary: primary.clone() };
                    match propose_at(&inner, &primary, &command).await {
                        Ok(result) => Event::PrimaryCommitted(result),
                        Err(error) if was_not_proposed(&error) => {
                            Event::PrimaryCommitted(CommandResult::refused(error.to_string()))
                        }
                        Err(_) => Event::Overdue,
                    }
                })
            }
            Action::Abort => Box::pin(async move {
                match settle(&inner, txn, &primary).await {
                    Ok(TxnStatus::Committed(commit_ts)) => Event::Aborted(CommandResult::Committed { commit_ts }),
                    Ok(TxnStatus::Aborted(_)) => Event::Aborted(CommandResult::Aborted),
                    Err(error) => Event::Aborted(CommandResult::refused(error.to_string())),
                }
            }),
            Action::Resolve(piece, status) => {
                let keys = std::mem::take(&mut self.parts[piece.part].keys[piece.chunk]);
                Box::pin(async move {
                    let resolved = resolve(&inner, txn, status, keys).await;
                    // At a stop that is nothing to warn of: the next start finishes it.
                    if let Err(error) = resolved
                        && inner.check_open().is_ok()
                    {
                        tracing::warn!(%error, %txn, "locks are left for whoever meets them");
                    }
                    Event::Resolved(piece)
                })
            }
            Action::Discard(_) | Action::Answer(_) | Action::Finished => Box::pin(async { Event::Overdue }),
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.inner.coordinating.lock().remove(&self.txn);
    }
}
