//! A client as a process: runs random transactions, coordinates their commits, and dies now and then.

use std::collections::BTreeMap;

use rand::Rng;

use super::Sabotage;
use super::world::{Body, Holder, Message, Network, Request, Tag, To, Waiter, keys, shard_of, span_of};
use crate::api::{Isolation, Key, Span, Timestamp, TxnId, Value};
use crate::apply::PIECE_WRITES_MIN;
use crate::command::{Check, Command, CommandResult, Op, TxnStatus, Write};
use crate::protocol::resolution::{Remedy, Visibility, remedy, visibility};
use crate::protocol::two_phase::{Action, Event, Failure, Part, Piece, TwoPhase};

const PATIENCE: u64 = 150;
/// A lock is taken for that of a dead coordinator after this time.
const LOCK_LIFE: u64 = 500;
/// Percentages.
const DEATH: u32 = 2;
/// Transactions that write all keys of a shard besides what else they do.
const WHOLE_SHARD: u32 = 10;
const DEATH_BEFORE_RESOLVING: u32 = 30;
const OPERATIONS_MAX: usize = 6;

/// How a transaction ended, as its client knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Acknowledged at that time.
    Committed {
        at: Timestamp,
        acknowledged: u64,
    },
    ReadOnly {
        at: Timestamp,
    },
    Aborted,
    Unknown,
}

/// What is known of a transaction.
#[derive(Debug, Clone)]
pub(super) struct Transaction {
    pub(super) id: TxnId,
    /// Snapshots: the time when it was asked for, and the snapshot.
    pub(super) snapshots: Vec<(u64, Timestamp)>,
    /// Key, the transaction whose version was read (`None`: no version), and the snapshot.
    pub(super) reads: Vec<(Key, Option<TxnId>, Timestamp)>,
    /// Key, and the moment since which it must be unchanged.
    pub(super) writes: Vec<(Key, Timestamp)>,
    pub(super) shards: usize,
    /// Prewrites that lock their keys as one.
    pub(super) pieces: usize,
    pub(super) outcome: Outcome,
}

#[derive(Debug, Clone)]
enum Operation {
    Read(Span),
    /// Reads the key, then writes it.
    Change(Key),
    /// Writes a key that was not read.
    Put(Key),
}

struct Commit {
    core: TwoPhase,
    chunks: Vec<Vec<Vec<Write>>>,
    checks: Vec<Vec<Check>>,
    /// The shard of each part.
    shards: Vec<usize>,
    primary: Key,
    start_ts: Timestamp,
    /// The lock that stopped a prewrite.
    met: BTreeMap<Piece, CommandResult>,
    silent: bool,
}

enum Phase {
    Idle,
    Snapshot {
        asked: u64,
    },
    Reading {
        span: Span,
        known: BTreeMap<TxnId, bool>,
        asking: Vec<crate::store::data::KeyLock>,
        write: Option<Key>,
    },
    OneShard {
        writes: Vec<Write>,
        checks: Vec<Check>,
        met: Option<CommandResult>,
        retries: u32,
    },
    /// A one-shard commit was refused, but only this copy of it: whether another one may still succeed is decided by an abort.
    Closing,
    SeveralShards(Box<Commit>),
    /// Committed: waits for the watermark.
    Acknowledging {
        at: Timestamp,
    },
}

pub(super) struct Client {
    number: usize,
    isolation: Isolation,
    sabotage: Sabotage,
    serial: u64,
    begun: u64,
    phase: Phase,
    plan: Vec<Operation>,
    current: Option<Transaction>,
    snapshot: Timestamp,
    writes: BTreeMap<Key, Timestamp>,
    read_spans: Vec<Span>,
    /// The last message, to be sent again.
    last: Option<(To, Message)>,
}

fn encode(id: TxnId) -> Value {
    Value::copy_from_slice(&id.0.to_be_bytes())
}

pub(super) fn decode(value: &[u8]) -> TxnId {
    TxnId(u128::from_be_bytes(value.try_into().expect("values are transaction ids")))
}

impl Client {
    pub(super) fn new(number: usize, isolation: Isolation, sabotage: Sabotage, network: &mut Network) -> Client {
        let start = network.rng.random_range(200..600);
        network.after(start, To::Client(number), Message::Tick { serial: 0 });
        Client {
            number,
            isolation,
            sabotage,
            serial: 0,
            begun: 0,
            phase: Phase::Idle,
            plan: Vec::new(),
            current: None,
            snapshot: Timestamp::ZERO,
            writes: BTreeMap::new(),
            read_spans: Vec::new(),
            last: None,
        }
    }

    pub(super) fn handle(
        &mut self,
        message: Message,
        busy: bool,
        network: &mut Network,
        history: &mut Vec<Transaction>,
    ) {
        match message {
            Message::Tick { serial } => {
                network.after(PATIENCE, To::Client(self.number), Message::Tick { serial: self.serial });
                match &mut self.phase {
                    Phase::Idle if busy => self.begin(network),
                    Phase::Idle => {}
                    _ if serial != self.serial => {}
                    Phase::SeveralShards(commit) => {
                        let actions = commit.core.handle(Event::Overdue);
                        self.execute(actions, network, history);
                    }
                    _ => {
                        if let Some((to, message)) = self.last.clone() {
                            network.send(to, message);
                        }
                    }
                }
            }
            Message::Answer(request, body) if request.serial == self.serial => {
                let committing = matches!(self.phase, Phase::OneShard { .. } | Phase::SeveralShards(_));
                if committing && network.percent(DEATH) {
                    self.finish(Outcome::Unknown, history);
                    return;
                }
                self.answer(request.tag, body, network, history);
            }
            _ => {}
        }
    }

    /// The world ends.
    pub(super) fn give_up(&mut self, history: &mut Vec<Transaction>) {
        self.finish(Outcome::Unknown, history);
    }

    fn finish(&mut self, outcome: Outcome, history: &mut Vec<Transaction>) {
        if let Some(mut transaction) = self.current.take() {
            transaction.outcome = outcome;
            history.push(transaction);
        }
        self.phase = Phase::Idle;
        self.serial += 1;
    }

    fn begin(&mut self, network: &mut Network) {
        self.begun += 1;
        let id = TxnId((self.number as u128) << 64 | u128::from(self.begun));
        let all = keys();
        let operations = network.rng.random_range(1..=OPERATIONS_MAX);
        self.plan = (0..operations)
            .map(|_| {
                let key = all[network.rng.random_range(0..all.len())].clone();
                match network.rng.random_range(0..10) {
                    0..3 => Operation::Read(Span::key(&key)),
                    3 => Operation::Read(span_of(shard_of(&key))),
                    4..8 => Operation::Change(key),
                    _ => Operation::Put(key),
                }
            })
            .rev()
            .collect();
        if network.percent(WHOLE_SHARD) {
            // Large enough for a prewrite that locks its keys as one.
            let shard = shard_of(&all[network.rng.random_range(0..all.len())]);
            self.plan.extend(all.into_iter().filter(|key| shard_of(key) == shard).map(Operation::Put));
        }
        self.writes.clear();
        self.read_spans.clear();
        self.snapshot = Timestamp::ZERO;
        self.current = Some(Transaction {
            id,
            snapshots: Vec::new(),
            reads: Vec::new(),
            writes: Vec::new(),
            shards: 0,
            pieces: 0,
            outcome: Outcome::Unknown,
        });
        self.ask_snapshot(network);
    }

    fn id(&self) -> TxnId {
        self.current.as_ref().map_or(TxnId(0), |transaction| transaction.id)
    }

    /// Sends the one message that this client now waits for.
    fn ask(&mut self, to: To, network: &mut Network, message: impl FnOnce(Request) -> Message) {
        self.serial += 1;
        let message = message(self.request(Tag::Simple));
        self.last = Some((to, message.clone()));
        network.send(to, message);
    }

    fn request(&self, tag: Tag) -> Request {
        Request { client: self.number, serial: self.serial, tag }
    }

    fn ask_snapshot(&mut self, network: &mut Network) {
        self.phase = Phase::Snapshot { asked: network.now };
        self.ask(To::Oracle, network, Message::AskSnapshot);
    }

    fn ask_read(&mut self, network: &mut Network) {
        let Phase::Reading { span, known, .. } = &self.phase else { return };
        let (span, known, at) = (span.clone(), known.clone(), self.snapshot);
        let shard = To::Shard(shard_of(&span.start));
        self.ask(shard, network, |request| Message::Read { request, span, at, known });
    }

    fn answer(&mut self, tag: Tag, body: Body, network: &mut Network, history: &mut Vec<Transaction>) {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Snapshot { asked } => {
                if let Body::Moment(at) = body {
                    self.snapshot = at;
                    if let Some(transaction) = &mut self.current {
                        transaction.snapshots.push((asked, at));
                    }
                    self.operate(network, history);
                }
            }
            Phase::Reading { span, known, asking, write } => {
                self.reading(body, span, known, asking, write, network, history);
            }
            phase @ Phase::OneShard { .. } => self.one_shard(phase, body, network, history),
            Phase::Closing => match body {
                Body::Result(CommandResult::Committed { commit_ts }) => self.committed(commit_ts, network, history),
                _ => self.finish(Outcome::Aborted, history),
            },
            Phase::SeveralShards(commit) => {
                self.phase = Phase::SeveralShards(commit);
                self.two_phase(tag, body, network, history);
            }
            Phase::Acknowledging { at } => {
                self.phase = Phase::Acknowledging { at };
                if let Body::Moment(watermark) = body {
                    if watermark >= at {
                        self.finish(Outcome::Committed { at, acknowledged: network.now }, history);
                    } else {
                        self.ask(To::Oracle, network, Message::AskSnapshot);
                    }
                }
            }
            Phase::Idle => {}
        }
    }

    /// The next operation, under the snapshot at hand.
    fn operate(&mut self, network: &mut Network, history: &mut Vec<Transaction>) {
        let Some(operation) = self.plan.pop() else { return self.commit(network, history) };
        let (span, write) = match operation {
            Operation::Put(key) => {
                self.write(key);
                return self.next_statement(network, history);
            }
            Operation::Read(span) => (span, None),
            Operation::Change(key) => (Span::key(&key), Some(key)),
        };
        self.phase = Phase::Reading { span, known: BTreeMap::new(), asking: Vec::new(), write };
        self.ask_read(network);
    }

    fn next_statement(&mut self, network: &mut Network, history: &mut Vec<Transaction>) {
        if self.isolation == Isolation::ReadCommitted && !self.plan.is_empty() {
            self.ask_snapshot(network);
        } else {
            self.operate(network, history);
        }
    }

    fn write(&mut self, key: Key) {
        let snapshot = self.snapshot;
        self.writes.entry(key).or_insert(snapshot);
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of the phase, and the world")]
    fn reading(
        &mut self,
        body: Body,
        span: Span,
        mut known: BTreeMap<TxnId, bool>,
        mut asking: Vec<crate::store::data::KeyLock>,
        write: Option<Key>,
        network: &mut Network,
        history: &mut Vec<Transaction>,
    ) {
        match body {
            Body::Rows(rows) => {
                let at = self.snapshot;
                let found: BTreeMap<Key, TxnId> = rows.into_iter().map(|(key, value)| (key, decode(&value))).collect();
                let own = self.id();
                if let Some(transaction) = &mut self.current {
                    for key in keys().into_iter().filter(|key| span.contains(key)) {
                        let writer = found.get(&key).copied();
                        debug_assert_ne!(writer, Some(own));
                        transaction.reads.push((key, writer, at));
                    }
                }
                self.read_spans.push(span);
                if let Some(key) = write {
                    self.write(key);
                }
                return self.next_statement(network, history);
            }
            Body::Locks(locks) => asking = locks,
            Body::Status(status) => {
                if let Some(lock) = asking.pop() {
                    let seen = visibility(status, self.snapshot, self.sabotage.rules) == Visibility::Visible;
                    known.insert(lock.txn, seen);
                    asking.retain(|other| other.txn != lock.txn);
                }
            }
            _ => {}
        }
        let next = asking.last().cloned();
        self.phase = Phase::Reading { span, known, asking, write };
        match next {
            Some(lock) => {
                let at = Some(self.snapshot);
                let shard = To::Shard(shard_of(&lock.primary));
                self.ask(shard, network, |request| Message::Status {
                    request,
                    txn: lock.txn,
                    primary: lock.primary,
                    at,
                });
            }
            None => self.ask_read(network),
        }
    }

    fn commit(&mut self, network: &mut Network, history: &mut Vec<Transaction>) {
        let id = self.id();
        let at = self.snapshot;
        if self.writes.is_empty() {
            return self.finish(Outcome::ReadOnly { at }, history);
        }
        let base = |base: Timestamp| if self.sabotage.blind_writes { Timestamp::MAX } else { base };
        let mut writes: BTreeMap<usize, Vec<Write>> = BTreeMap::new();
        for (key, since) in &self.writes {
            let write = Write { key: key.clone(), op: Op::Put(encode(id)), base: base(*since) };
            writes.entry(shard_of(key)).or_default().push(write);
        }
        let mut checks: BTreeMap<usize, Vec<Check>> = BTreeMap::new();
        if self.isolation == Isolation::Serializable {
            for span in &self.read_spans {
                let check = Check::SpanUnchanged { span: span.clone(), base: at };
                checks.entry(shard_of(&span.start)).or_default().push(check);
            }
        }
        let mut shards: Vec<usize> = writes.keys().copied().collect();
        shards.extend(checks.keys().filter(|shard| !writes.contains_key(shard)));
        if let Some(transaction) = &mut self.current {
            transaction.writes = self.writes.iter().map(|(key, since)| (key.clone(), *since)).collect();
            transaction.shards = shards.len();
        }
        let shard = shards[0];
        let chunked = writes[&shard].len() > 1 && network.percent(20);
        if shards.len() == 1 && !chunked {
            let writes = writes.remove(&shard).unwrap_or_default();
            let checks = checks.remove(&shard).unwrap_or_default();
            self.phase = Phase::OneShard { writes, checks, met: None, retries: 0 };
            return self.send_one_shard(network);
        }
        let chunks: Vec<Vec<Vec<Write>>> = shards
            .iter()
            .map(|shard| {
                let writes = writes.remove(shard).unwrap_or_default();
                let size = network.rng.random_range(1..=4);
                writes.chunks(size).map(<[Write]>::to_vec).collect()
            })
            .collect();
        if let Some(transaction) = &mut self.current {
            transaction.pieces = chunks.iter().flatten().filter(|chunk| chunk.len() >= PIECE_WRITES_MIN).count();
        }
        let checks: Vec<Vec<Check>> = shards.iter().map(|shard| checks.remove(shard).unwrap_or_default()).collect();
        let parts = chunks
            .iter()
            .zip(&checks)
            .map(|(chunks, checks)| Part { chunks: chunks.len(), validates: !checks.is_empty() })
            .collect();
        let mut core = TwoPhase::new(parts, self.sabotage.rules);
        self.serial += 1;
        let actions = core.handle(Event::Begin);
        let primary = chunks[0][0][0].key.clone();
        self.phase = Phase::SeveralShards(Box::new(Commit {
            core,
            chunks,
            checks,
            shards,
            primary,
            start_ts: at,
            met: BTreeMap::new(),
            silent: false,
        }));
        self.execute(actions, network, history);
    }

    fn send_one_shard(&mut self, network: &mut Network) {
        let Phase::OneShard { writes, checks, .. } = &self.phase else { return };
        let (txn, writes, checks) = (self.id(), writes.clone(), checks.clone());
        let shard = To::Shard(shard_of(&writes[0].key));
        self.ask(shard, network, |request| Message::Commit { request, txn, writes, checks });
    }

    fn close(&mut self, primary: Key, network: &mut Network) {
        self.phase = Phase::Closing;
        let command =
            Command::Abort { txn: self.id(), now: Timestamp::from_micros(network.now), primary: primary.clone() };
        let shard = To::Shard(shard_of(&primary));
        self.ask(shard, network, |request| Message::Propose { waiter: Waiter::Client(request), command });
    }

    fn committed(&mut self, at: Timestamp, network: &mut Network, history: &mut Vec<Transaction>) {
        if self.sabotage.early_acknowledgement {
            return self.finish(Outcome::Committed { at, acknowledged: network.now }, history);
        }
        self.phase = Phase::Acknowledging { at };
        self.ask(To::Oracle, network, Message::AskSnapshot);
    }

    fn one_shard(&mut self, phase: Phase, body: Body, network: &mut Network, history: &mut Vec<Transaction>) {
        let Phase::OneShard { writes, checks, mut met, mut retries } = phase else { return };
        let (mut ask_status, mut abort, mut resolve) = (false, false, None);
        match (body, &met) {
            (Body::Result(CommandResult::Committed { commit_ts }), None) => {
                return self.committed(commit_ts, network, history);
            }
            (Body::Result(result @ CommandResult::Locked { .. }), None) => {
                retries += 1;
                if retries > 3 {
                    return self.close(writes[0].key.clone(), network);
                }
                met = Some(result);
                ask_status = true;
            }
            (Body::Result(_), None) => return self.close(writes[0].key.clone(), network),
            (Body::Status(status), Some(lock)) => match judge(lock, status, network.now) {
                Remedy::Resolve(status) => resolve = Some(status),
                Remedy::AbortAtPrimary => abort = true,
                Remedy::Wait => return self.close(writes[0].key.clone(), network),
            },
            // The abort at the primary was answered.
            (Body::Result(CommandResult::Committed { commit_ts }), Some(_)) => {
                resolve = Some(TxnStatus::Committed(commit_ts));
            }
            (Body::Result(CommandResult::Aborted), Some(_)) => resolve = Some(TxnStatus::Aborted(Timestamp::ZERO)),
            // The lock is resolved.
            (Body::Result(_), Some(_)) => met = None,
            _ => {}
        }
        let lock = met.clone();
        self.phase = Phase::OneShard { writes, checks, met, retries };
        let Some(CommandResult::Locked { key, txn, primary, .. }) = lock else { return self.send_one_shard(network) };
        let at_primary = To::Shard(shard_of(&primary));
        let now = Timestamp::from_micros(network.now);
        if ask_status {
            self.ask(at_primary, network, |request| Message::Status { request, txn, primary, at: None });
        } else if abort {
            let command = Command::Abort { txn, now, primary };
            self.ask(at_primary, network, |request| Message::Propose { waiter: Waiter::Client(request), command });
        } else if let Some(status) = resolve {
            let command = Command::Resolve { txn, status, keys: vec![key.clone()] };
            let shard = To::Shard(shard_of(&key));
            self.ask(shard, network, |request| Message::Propose { waiter: Waiter::Client(request), command });
        }
    }

    fn two_phase(&mut self, tag: Tag, body: Body, network: &mut Network, history: &mut Vec<Transaction>) {
        let now = network.now;
        let own = self.id();
        let Phase::SeveralShards(commit) = &mut self.phase else { return };
        // An answer about a lock that this piece met before is late.
        let lock_of = |commit: &Commit, piece: &Piece, asked: TxnId| {
            let met =
                commit.met.get(piece).filter(|met| matches!(met, CommandResult::Locked { txn, .. } if *txn == asked));
            met.cloned()
        };
        let mut step = None;
        let event = match (tag, body) {
            (Tag::Prewrite(piece), Body::Result(result)) => Some(Event::Prewritten(piece, result)),
            (Tag::LockStatus(piece, asked), Body::Status(status)) => match lock_of(commit, &piece, asked) {
                Some(met) => match judge(&met, status, now) {
                    Remedy::Wait => Some(Event::LockHandled(piece, Remedy::Wait)),
                    Remedy::AbortAtPrimary => {
                        step = Some((piece, met, None));
                        None
                    }
                    Remedy::Resolve(status) => {
                        step = Some((piece, met, Some(status)));
                        None
                    }
                },
                None => None,
            },
            (Tag::LockAbort(piece, asked), Body::Result(result)) => {
                let status = match result {
                    CommandResult::Committed { commit_ts } => TxnStatus::Committed(commit_ts),
                    _ => TxnStatus::Aborted(Timestamp::ZERO),
                };
                step = lock_of(commit, &piece, asked).map(|met| (piece, met, Some(status)));
                None
            }
            (Tag::LockResolve(piece, asked), Body::Result(_)) => lock_of(commit, &piece, asked).map(|_| {
                commit.met.remove(&piece);
                Event::LockHandled(piece, Remedy::AbortAtPrimary)
            }),
            (Tag::Draw, Body::Moment(at)) => Some(Event::Drawn(at)),
            (Tag::Validate(part, at), Body::Validated(holds)) => Some(Event::Validated { part, at, holds }),
            (Tag::CommitPrimary(at), Body::TooLow) => Some(Event::PrimaryTooLow(at)),
            (Tag::CommitPrimary(_), Body::Result(result)) => Some(Event::PrimaryCommitted(result)),
            (Tag::Abort, Body::Result(result)) => Some(Event::Aborted(result)),
            (Tag::Resolve(piece), Body::Result(_)) => Some(Event::Resolved(piece)),
            _ => None,
        };
        if let Some((piece, CommandResult::Locked { key, txn, primary, .. }, status)) = step {
            debug_assert_ne!(txn, own);
            let (tag, shard, command) = match status {
                Some(status) => {
                    let shard = shard_of(&key);
                    (Tag::LockResolve(piece, txn), shard, Command::Resolve { txn, status, keys: vec![key] })
                }
                None => {
                    let shard = shard_of(&primary);
                    (
                        Tag::LockAbort(piece, txn),
                        shard,
                        Command::Abort { txn, now: Timestamp::from_micros(now), primary },
                    )
                }
            };
            let waiter = Waiter::Client(self.request(tag));
            return network.send(To::Shard(shard), Message::Propose { waiter, command });
        }
        if let (Some(event), Phase::SeveralShards(commit)) = (event, &mut self.phase) {
            let actions = commit.core.handle(event);
            self.execute(actions, network, history);
        }
    }

    fn execute(&mut self, actions: Vec<Action>, network: &mut Network, history: &mut Vec<Transaction>) {
        let txn = self.id();
        let number = self.number;
        let serial = self.serial;
        let request = |tag: Tag| Request { client: number, serial, tag };
        let mut answered = None;
        for action in actions {
            let Phase::SeveralShards(commit) = &mut self.phase else { return };
            let primary = commit.primary.clone();
            let at_primary = To::Shard(shard_of(&primary));
            match action {
                Action::Prewrite(piece) => {
                    let command = Command::Prewrite {
                        txn,
                        start_ts: commit.start_ts,
                        primary,
                        writes: commit.chunks[piece.part][piece.chunk].clone(),
                        checks: Vec::new(),
                    };
                    let waiter = Waiter::Client(request(Tag::Prewrite(piece)));
                    network.send(To::Shard(commit.shards[piece.part]), Message::Propose { waiter, command });
                }
                Action::HandleLock(piece, met) => {
                    if let CommandResult::Locked { txn, primary, .. } = &met {
                        let message = Message::Status {
                            request: request(Tag::LockStatus(piece, *txn)),
                            txn: *txn,
                            primary: primary.clone(),
                            at: None,
                        };
                        network.send(To::Shard(shard_of(primary)), message);
                    }
                    commit.met.insert(piece, met);
                }
                Action::Draw => {
                    let holder = Holder::Client(request(Tag::Draw));
                    network.send(To::Oracle, Message::AskTicket { holder, txn, primary });
                }
                Action::Discard(at) => network.send(To::Oracle, Message::Finish(at)),
                Action::Validate { part, at } => {
                    let message = Message::Validate {
                        request: request(Tag::Validate(part, at)),
                        checks: commit.checks[part].clone(),
                        at,
                        txn,
                    };
                    network.send(To::Shard(commit.shards[part]), message);
                }
                Action::CommitPrimary(commit_ts) => {
                    let request = request(Tag::CommitPrimary(commit_ts));
                    network.send(at_primary, Message::CommitPrimary { request, txn, commit_ts, primary });
                }
                Action::Abort => {
                    let command = Command::Abort { txn, now: Timestamp::from_micros(network.now), primary };
                    let waiter = Waiter::Client(request(Tag::Abort));
                    network.send(at_primary, Message::Propose { waiter, command });
                }
                Action::Resolve(piece, status) => {
                    if commit.silent {
                        continue;
                    }
                    let keys = commit.chunks[piece.part][piece.chunk].iter().map(|write| write.key.clone()).collect();
                    let command = Command::Resolve { txn, status, keys };
                    let waiter = Waiter::Client(request(Tag::Resolve(piece)));
                    network.send(To::Shard(commit.shards[piece.part]), Message::Propose { waiter, command });
                }
                Action::Answer(answer) => {
                    if let Ok(at) = answer {
                        network.send(To::Oracle, Message::Finish(at));
                    }
                    // What comes after the answer is a courtesy: others must get along without it.
                    commit.silent = network.percent(DEATH_BEFORE_RESOLVING);
                    answered = Some(answer);
                }
                Action::Finished => {}
            }
        }
        match answered {
            Some(Ok(at)) => self.committed(at, network, history),
            Some(Err(failure)) => {
                debug_assert!(!matches!(failure, Failure::Reroute | Failure::Refused(_)), "{failure:?}");
                self.finish(Outcome::Aborted, history);
            }
            None => {}
        }
    }
}

/// What to do about a lock, when its coordinator is taken for dead after a time.
fn judge(met: &CommandResult, status: Option<TxnStatus>, now: u64) -> Remedy {
    let CommandResult::Locked { start_ts, .. } = met else { return Remedy::Wait };
    remedy(status, now < start_ts.micros() + LOCK_LIFE)
}
