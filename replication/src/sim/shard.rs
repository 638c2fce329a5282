//! A shard as a process: a log, a leader that forgets when it restarts, and the real state machine on an engine that crashes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use rand::Rng;

use super::Sabotage;
use super::world::{Body, Holder, Message, Network, Request, To, Waiter, span_of};
use crate::api::{Direction, Key, ShardId, Span, Timestamp, TxnId, Value};
use crate::apply::StateMachine;
use crate::command::{Check, Command, CommandResult, Write};
use crate::engine::{CachedEngine, MemoryEngine};
use crate::mvcc::VersionScan;
use crate::protocol::leader::{Admission, Leader};
use crate::protocol::resolution::may_matter;
use crate::store::data::{Data, KeyLock, Verdict};
use crate::target::{ApplyTarget, LogPosition};

/// Memory for cached records: enough for some of the keys, so that they are given up, too.
const CACHE_BYTES: usize = 64 * 200;

/// Mean time between restarts of one leader.
const RESTART_EVERY: u64 = 2500;
const FLUSH_EVERY: u64 = 700;
const DOWN: u64 = 60;
/// How many entries are applied together when a log is replayed.
const REPLAY_GROUP: usize = 64;

struct Entry {
    bytes: Bytes,
    /// What the machine answered the first time. It must answer the same whenever it applies the entry again.
    answer: Option<Bytes>,
    waiter: Option<Waiter>,
    /// The commit timestamp that the leader let in, for its books and for the oracle.
    admitted: Option<Timestamp>,
    finishes_ticket: bool,
}

struct Commit {
    request: Request,
    txn: TxnId,
    writes: Vec<Write>,
    checks: Vec<Check>,
}

struct Validation {
    request: Request,
    checks: Vec<Check>,
    txn: TxnId,
}

pub(super) struct ShardProcess {
    number: usize,
    id: ShardId,
    engine: Arc<CachedEngine<MemoryEngine>>,
    pub(super) machine: StateMachine,
    log: Vec<Entry>,
    applied: usize,
    term: u64,
    /// `None` while nobody leads.
    leader: Option<Leader<Validation>>,
    /// Commits that wait for their timestamp.
    commits: BTreeMap<u64, Commit>,
    next_commit: u64,
    sabotage: Sabotage,
}

impl ShardProcess {
    pub(super) fn new(number: usize, sabotage: Sabotage, network: &mut Network) -> ShardProcess {
        let engine = Arc::new(CachedEngine::new(MemoryEngine::new(), CACHE_BYTES));
        let machine = StateMachine::open(engine.clone()).expect("an engine in memory opens");
        let id = ShardId(number as u64 + 1);
        machine.create_shard(id, span_of(number)).expect("the engine is new");
        network.after(1, To::Shard(number), Message::Start { term: 1 });
        network.after(FLUSH_EVERY, To::Shard(number), Message::Flush);
        let until_restart = network.rng.random_range(1..2 * RESTART_EVERY);
        network.after(until_restart, To::Shard(number), Message::Restart);
        ShardProcess {
            number,
            id,
            engine,
            machine,
            log: Vec::new(),
            applied: 0,
            term: 1,
            leader: None,
            commits: BTreeMap::new(),
            next_commit: 0,
            sabotage,
        }
    }

    pub(super) fn handle(&mut self, message: Message, network: &mut Network) {
        match message {
            Message::Restart => return self.restart(network),
            Message::Flush => {
                self.machine.flush().expect("memory does not fail");
                return network.after(FLUSH_EVERY, To::Shard(self.number), Message::Flush);
            }
            Message::Start { term } if term == self.term && self.leader.is_none() => {
                // Until the oracle answers; the question may get lost.
                network.after(3 * DOWN, To::Shard(self.number), Message::Start { term });
                return network.send(To::Oracle, Message::AskNow { shard: self.number, term });
            }
            Message::NowIs { term, at } if term == self.term && self.leader.is_none() => {
                self.leader = Some(Leader::new(at, self.sabotage.rules));
                return;
            }
            _ => {}
        }
        let Some(mut leader) = self.leader.take() else { return };
        self.serve(message, &mut leader, network);
        self.leader = Some(leader);
    }

    fn serve(&mut self, message: Message, leader: &mut Leader<Validation>, network: &mut Network) {
        match message {
            Message::Read { request, span, at, known } => {
                leader.read(at);
                let body = self.read(&span, at, &known);
                reply(network, request, body);
            }
            Message::Status { request, txn, primary, at } => {
                if let Some(at) = at {
                    leader.read(at);
                }
                let status = self.machine.status(&primary, txn).expect("the primary is here");
                reply(network, request, Body::Status(status));
            }
            Message::Commit { request, txn, writes, checks } => {
                let primary = writes[0].key.clone();
                self.next_commit += 1;
                self.commits.insert(self.next_commit, Commit { request, txn, writes, checks });
                self.ask_ticket(self.next_commit, txn, primary, network);
            }
            Message::TicketFor { commit, term, at } if term == self.term => {
                self.propose_commit(commit, at, leader, network);
            }
            Message::Propose { waiter, command } => self.propose(command, Some(waiter), None, false, network),
            Message::CommitPrimary { request, txn, commit_ts, primary } => {
                if leader.admit_primary(commit_ts) == Admission::Redraw {
                    return reply(network, request, Body::TooLow);
                }
                let command = Command::CommitPrimary { txn, commit_ts, primary };
                self.propose(command, Some(Waiter::Client(request)), Some(commit_ts), false, network);
            }
            Message::Validate { request, checks, at, txn } => {
                if let Some(validation) = leader.validate(at, Validation { request, checks, txn }) {
                    self.validate(validation, network);
                }
            }
            Message::Apply { term, until } if term == self.term => {
                while self.applied < until.min(self.log.len()) {
                    self.apply_next(leader, network);
                }
            }
            _ => {}
        }
    }

    fn ask_ticket(&self, commit: u64, txn: TxnId, primary: Key, network: &mut Network) {
        let holder = Holder::Shard { shard: self.number, term: self.term, commit };
        network.send(To::Oracle, Message::AskTicket { holder, txn, primary });
    }

    fn propose_commit(&mut self, number: u64, at: Timestamp, leader: &mut Leader<Validation>, network: &mut Network) {
        let Some(commit) = self.commits.get(&number) else {
            return network.send(To::Oracle, Message::Finish(at));
        };
        let (txn, primary) = (commit.txn, commit.writes[0].key.clone());
        if leader.admit_commit(at) == Admission::Redraw {
            network.send(To::Oracle, Message::Finish(at));
            return self.ask_ticket(number, txn, primary, network);
        }
        let Some(Commit { request, txn, mut writes, checks }) = self.commits.remove(&number) else { return };
        if self.sabotage.lost_write && writes.len() > 1 {
            writes.pop();
        }
        let checks = if self.sabotage.rules.skip_validation { Vec::new() } else { checks };
        let command = Command::Commit { txn, start_ts: Timestamp(at.0 - 1), commit_ts: at, writes, checks };
        let waiter = if self.sabotage.answer_before_apply {
            reply(network, request, Body::Result(CommandResult::Committed { commit_ts: at }));
            None
        } else {
            Some(Waiter::Client(request))
        };
        self.propose(command, waiter, Some(at), true, network);
    }

    fn propose(
        &mut self,
        command: Command,
        waiter: Option<Waiter>,
        admitted: Option<Timestamp>,
        finishes_ticket: bool,
        network: &mut Network,
    ) {
        self.log.push(Entry { bytes: command.encode(1), answer: None, waiter, admitted, finishes_ticket });
        let delay = network.rng.random_range(1..25);
        let (term, until) = (self.term, self.log.len());
        network.after(delay, To::Shard(self.number), Message::Apply { term, until });
    }

    fn apply_entry(&mut self) -> CommandResult {
        let answers = self.apply_group(1);
        CommandResult::decode(&answers[0]).expect("the machine's own answer")
    }

    /// Applies the next entries as one group, as the machine gets them when a log is replayed.
    fn apply_group(&mut self, count: usize) -> Vec<Bytes> {
        let entries: Vec<_> = (self.applied..self.applied + count)
            .map(|at| (LogPosition { term: 1, leader: 1, index: at as u64 + 1 }, self.log[at].bytes.clone()))
            .collect();
        let answers = self.machine.apply(self.id, &entries, None).expect("memory does not fail");
        for (entry, answer) in self.log[self.applied..].iter_mut().zip(&answers) {
            let first = entry.answer.get_or_insert_with(|| answer.clone());
            assert_eq!(
                CommandResult::decode(first),
                CommandResult::decode(answer),
                "applied again, {:?} is answered otherwise",
                Command::decode(&entry.bytes)
            );
        }
        self.applied += count;
        answers
    }

    fn apply_next(&mut self, leader: &mut Leader<Validation>, network: &mut Network) {
        let result = self.apply_entry();
        let entry = &mut self.log[self.applied - 1];
        let (waiter, admitted, finishes_ticket) = (entry.waiter.take(), entry.admitted, entry.finishes_ticket);
        if let Some(at) = admitted {
            for validation in leader.applied(at) {
                self.validate(validation, network);
            }
            if finishes_ticket {
                network.send(To::Oracle, Message::Finish(at));
            }
        }
        match waiter {
            Some(Waiter::Client(request)) => reply(network, request, Body::Result(result)),
            Some(Waiter::Ticket(at)) => network.send(To::Oracle, Message::TicketFate(at, result)),
            None => {}
        }
    }

    fn validate(&self, validation: Validation, network: &mut Network) {
        let holds = validation
            .checks
            .iter()
            .all(|check| self.machine.judge(check, validation.txn).expect("memory does not fail") == Verdict::Holds);
        reply(network, validation.request, Body::Validated(holds));
    }

    fn read(&self, span: &Span, at: Timestamp, known: &BTreeMap<TxnId, bool>) -> Body {
        let locks = Data::locks_in(&self.machine, span).expect("memory does not fail");
        let (told, asked): (Vec<KeyLock>, Vec<KeyLock>) = locks
            .into_iter()
            .filter(|lock| may_matter(lock.start_ts, at))
            .partition(|lock| known.contains_key(&lock.txn));
        if !asked.is_empty() {
            return Body::Locks(asked);
        }
        let mut rows: BTreeMap<Key, Value> = BTreeMap::new();
        let mut scan = VersionScan::new(span.clone(), Direction::Forward, at);
        let mut visit = |key: &[u8], value: &[u8]| {
            rows.insert(Key::copy_from_slice(key), Value::copy_from_slice(value));
        };
        while Data::scan(&self.machine, at, &mut scan, 1, 1000, &mut visit).expect("memory does not fail") {}
        for lock in told.into_iter().filter(|lock| known.get(&lock.txn) == Some(&true)) {
            match lock.value {
                Some(value) => rows.insert(lock.key, value),
                None => rows.remove(&lock.key),
            };
        }
        Body::Rows(rows.into_iter().collect())
    }

    /// The leader dies with everything in memory. Entries that it had not applied may be lost, from some point on; the engine
    /// may fall back to its last flush.
    fn restart(&mut self, network: &mut Network) {
        self.leader = None;
        self.commits.clear();
        let kept = network.rng.random_range(self.applied..=self.log.len());
        self.log.truncate(kept);
        for entry in &mut self.log {
            entry.waiter = None;
        }
        if network.percent(60) {
            self.engine = Arc::new(CachedEngine::new(self.engine.below().after_crash(), CACHE_BYTES));
            self.machine = StateMachine::open(self.engine.clone()).expect("what was flushed opens");
            let position = self.machine.applied(self.id).expect("the shard was flushed with its creation");
            self.applied = position.map_or(0, |position| position.index as usize);
        }
        self.apply_everything();
        self.term += 1;
        network.after(DOWN, To::Shard(self.number), Message::Start { term: self.term });
        let until_restart = network.rng.random_range(1..2 * RESTART_EVERY);
        network.after(until_restart, To::Shard(self.number), Message::Restart);
    }

    pub(super) fn apply_everything(&mut self) {
        while self.applied < self.log.len() {
            self.apply_group((self.log.len() - self.applied).min(REPLAY_GROUP));
        }
    }

    pub(super) fn apply_now(&mut self, command: &Command) -> CommandResult {
        self.log.push(Entry {
            bytes: command.encode(1),
            answer: None,
            waiter: None,
            admitted: None,
            finishes_ticket: false,
        });
        self.apply_entry()
    }

    pub(super) fn locks(&self) -> Vec<KeyLock> {
        Data::locks_in(&self.machine, &span_of(self.number)).expect("memory does not fail")
    }
}

fn reply(network: &mut Network, request: Request, body: Body) {
    network.send(To::Client(request.client), Message::Answer(request, body));
}
