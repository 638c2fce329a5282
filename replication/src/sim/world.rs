//! Time, messages and faults.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::Sabotage;
use super::client::{Client, Transaction};
use super::oracle::Oracle;
use super::shard::ShardProcess;
use crate::api::{Isolation, Key, Span, Timestamp, TxnId, Value};
use crate::command::{Check, Command, CommandResult, TxnStatus, Write};
use crate::protocol::two_phase::Piece;
use crate::store::data::KeyLock;

pub(super) const SHARDS: usize = 3;
/// Enough for a prewrite that locks its keys as one piece.
const KEYS_PER_SHARD: usize = 4;
const CLIENTS: usize = 5;
/// When clients begin no more transactions, and when the world ends.
const BUSY_UNTIL: u64 = 12_000;
const END: u64 = 20_000;
/// Percentages.
const LOSS: u32 = 2;
const REPETITION: u32 = 4;
const SLOW: u32 = 4;

/// Who gets a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum To {
    Client(usize),
    Shard(usize),
    Oracle,
}

/// What a client waits for. An answer that carries an older serial is late, and ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Request {
    pub(super) client: usize,
    pub(super) serial: u64,
    pub(super) tag: Tag,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tag {
    Simple,
    Prewrite(Piece),
    LockStatus(Piece, TxnId),
    LockAbort(Piece, TxnId),
    LockResolve(Piece, TxnId),
    Draw,
    Validate(usize, Timestamp),
    CommitPrimary(Timestamp),
    Abort,
    Resolve(Piece),
}

/// Who hears of a proposal's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Waiter {
    Client(Request),
    /// The oracle asked what became of a ticket.
    Ticket(Timestamp),
}

#[derive(Debug, Clone)]
pub(super) enum Message {
    // To the oracle.
    AskSnapshot(Request),
    AskNow { shard: usize, term: u64 },
    AskTicket { holder: Holder, txn: TxnId, primary: Key },
    Finish(Timestamp),
    TicketFate(Timestamp, CommandResult),
    Sweep,
    // To a shard.
    Read { request: Request, span: Span, at: Timestamp, known: BTreeMap<TxnId, bool> },
    Status { request: Request, txn: TxnId, primary: Key, at: Option<Timestamp> },
    Commit { request: Request, txn: TxnId, writes: Vec<Write>, checks: Vec<Check> },
    Propose { waiter: Waiter, command: Command },
    CommitPrimary { request: Request, txn: TxnId, commit_ts: Timestamp, primary: Key },
    Validate { request: Request, checks: Vec<Check>, at: Timestamp, txn: TxnId },
    NowIs { term: u64, at: Timestamp },
    TicketFor { commit: u64, term: u64, at: Timestamp },
    Apply { term: u64, until: usize },
    Flush,
    Restart,
    Start { term: u64 },
    // To a client.
    Answer(Request, Body),
    Tick { serial: u64 },
}

/// Who asked for a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    Client(Request),
    Shard { shard: usize, term: u64, commit: u64 },
}

#[derive(Debug, Clone)]
pub(super) enum Body {
    Moment(Timestamp),
    Rows(Vec<(Key, Value)>),
    /// These locks must be looked into first.
    Locks(Vec<KeyLock>),
    Status(Option<TxnStatus>),
    Result(CommandResult),
    Validated(bool),
    TooLow,
}

/// Sends messages, and schedules what a process does by itself.
pub(super) struct Network {
    pub(super) now: u64,
    pub(super) rng: StdRng,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    messages: BTreeMap<u64, (To, Message)>,
    sent: u64,
}

impl Network {
    /// Over the network: late, out of order, twice, or never.
    pub(super) fn send(&mut self, to: To, message: Message) {
        if self.percent(LOSS) {
            return;
        }
        if self.percent(REPETITION) {
            let delay = self.delay();
            self.after(delay, to, message.clone());
        }
        let delay = self.delay();
        self.after(delay, to, message);
    }

    fn delay(&mut self) -> u64 {
        if self.percent(SLOW) { self.rng.random_range(50..400) } else { self.rng.random_range(1..20) }
    }

    /// For certain, after a time.
    pub(super) fn after(&mut self, delay: u64, to: To, message: Message) {
        self.sent += 1;
        self.queue.push(Reverse((self.now + delay, self.sent)));
        self.messages.insert(self.sent, (to, message));
    }

    pub(super) fn percent(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn next(&mut self) -> Option<(To, Message)> {
        let Reverse((at, number)) = self.queue.pop()?;
        self.now = at;
        self.messages.remove(&number)
    }
}

pub(super) struct World {
    pub(super) network: Network,
    pub(super) oracle: Oracle,
    pub(super) shards: Vec<ShardProcess>,
    clients: Vec<Client>,
    pub(super) isolation: Isolation,
    sabotage: Sabotage,
    pub(super) history: Vec<Transaction>,
}

/// All keys, in order.
pub(super) fn keys() -> Vec<Key> {
    let key = |shard: usize, number: usize| Key::from(vec![b'a' + shard as u8, b'0' + number as u8]);
    (0..SHARDS).flat_map(|shard| (0..KEYS_PER_SHARD).map(move |number| key(shard, number))).collect()
}

/// The keys of a shard.
pub(super) fn span_of(shard: usize) -> Span {
    Span::new(vec![b'a' + shard as u8], vec![b'b' + shard as u8])
}

/// The shard of a key.
pub(super) fn shard_of(key: &[u8]) -> usize {
    usize::from(key[0] - b'a')
}

impl World {
    pub(super) fn new(seed: u64, isolation: Isolation, sabotage: Sabotage) -> World {
        let mut network = Network {
            now: 1000,
            rng: StdRng::seed_from_u64(seed),
            queue: BinaryHeap::new(),
            messages: BTreeMap::new(),
            sent: 0,
        };
        let shards = (0..SHARDS).map(|shard| ShardProcess::new(shard, sabotage, &mut network)).collect();
        let clients = (0..CLIENTS).map(|client| Client::new(client, isolation, sabotage, &mut network)).collect();
        network.after(100, To::Oracle, Message::Sweep);
        World { network, oracle: Oracle::new(sabotage), shards, clients, isolation, sabotage, history: Vec::new() }
    }

    /// Runs to the end, and lets what is undecided be decided.
    pub(super) fn run(&mut self) {
        while let Some((to, message)) = self.network.next() {
            if self.network.now > END {
                break;
            }
            match to {
                To::Client(client) => {
                    let busy = self.network.now < BUSY_UNTIL;
                    self.clients[client].handle(message, busy, &mut self.network, &mut self.history);
                }
                To::Shard(shard) => self.shards[shard].handle(message, &mut self.network),
                To::Oracle => self.oracle.handle(message, &mut self.network),
            }
        }
        for client in &mut self.clients {
            client.give_up(&mut self.history);
        }
        self.settle();
    }

    /// What the next process of a real node does with leftovers.
    fn settle(&mut self) {
        for shard in &mut self.shards {
            shard.apply_everything();
        }
        let locks: Vec<KeyLock> = self.shards.iter().flat_map(ShardProcess::locks).collect();
        for lock in locks {
            let now = Timestamp::from_micros(END);
            let abort = Command::Abort { txn: lock.txn, now, primary: lock.primary.clone() };
            let status = match self.shards[shard_of(&lock.primary)].apply_now(&abort) {
                CommandResult::Committed { commit_ts } => TxnStatus::Committed(commit_ts),
                CommandResult::Aborted => TxnStatus::Aborted(now),
                other => panic!("an abort was answered {other:?}"),
            };
            let resolve = Command::Resolve { txn: lock.txn, status, keys: vec![lock.key.clone()] };
            let done = self.shards[shard_of(&lock.key)].apply_now(&resolve);
            // Without base checks a prewrite that comes late locks what its own transaction has written long ago.
            assert!(done == CommandResult::Done || self.sabotage.blind_writes, "a resolve was answered {done:?}");
        }
    }
}
