//! The coordinator of a commit over several shards (or of one too large for a single log entry), sans-IO.
//!
//! ```text
//!  Prewriting ──all answered──▶ Drawing ──▶ Validating ──all hold──▶ Deciding ──committed──▶ Resolving ──▶ Done
//!      │ refused                   ▲             │ changed              │ too low
//!      ▼                           └─────────────┼──────────────────────┘ (a fresh timestamp)
//!   Aborting ◀───────────────────────────────────┘
//! ```
//!
//! The answer to the client is given when the primary is committed ([`Action::Answer`]); the locks that remain are resolved
//! afterwards, by this core or, when its process dies, by whoever meets them. Until the commit of the primary is proposed the
//! coordinator alone decides, so a failure is answered before the abort is recorded. After that only the primary's shard knows:
//! when its answer is overdue, an abort is proposed there until it tells which of the two came first.

use super::Mutations;
use super::resolution::Remedy;
use crate::api::{Key, Timestamp};
use crate::command::{CommandResult, ConflictReason, TxnStatus};

/// How often a commit draws another timestamp because somebody validated reads above the one it had.
pub const REDRAWS_MAX: u32 = 64;
/// How often one chunk is prewritten again after a lock in its way was dealt with.
pub const LOCK_RETRIES_MAX: u32 = 16;

/// What the coordinator needs to know of the part of a transaction that concerns one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Number of prewrites that carry its writes. May be 0: a shard that was only read.
    pub chunks: usize,
    /// Whether something that was read there must be validated.
    pub validates: bool,
}

/// Names one prewrite: a part and a chunk of it. The primary key is in the first chunk of the first part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Piece {
    /// Index of the part.
    pub part: usize,
    /// Index of the chunk in its part.
    pub chunk: usize,
}

/// Why a transaction did not commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// A write met a newer version, or a lock that would not go away.
    WriteConflict(Key),
    /// Something that was read has changed, or somebody aborted the transaction as dead.
    Serialization,
    /// The shards have changed: route again and start over, under another transaction id.
    Reroute,
    /// A shard refused a command outright.
    Refused(String),
    /// Whether the transaction is committed cannot be found out before a restart.
    Unknown(String),
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Start.
    Begin,
    /// A prewrite was answered.
    Prewritten(Piece, CommandResult),
    /// The lock that stopped a prewrite was dealt with (`Wait`: it is still there).
    LockHandled(Piece, Remedy),
    /// The oracle handed out a commit timestamp.
    Drawn(Timestamp),
    /// The oracle has no timestamps, and will get none.
    NothingToDraw(String),
    /// The reads of a part were validated at the timestamp.
    Validated {
        /// Which part.
        part: usize,
        /// At which timestamp.
        at: Timestamp,
        /// Whether everything was unchanged.
        holds: bool,
    },
    /// The primary's leader found the timestamp too low and did not propose.
    PrimaryTooLow(Timestamp),
    /// The commit of the primary was answered.
    PrimaryCommitted(CommandResult),
    /// The abort was answered.
    Aborted(CommandResult),
    /// A resolve was answered.
    Resolved(Piece),
    /// Answers are overdue: repeat what is outstanding.
    Overdue,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Propose the writes of the piece.
    Prewrite(Piece),
    /// Find out about the lock named in the answer and deal with it.
    HandleLock(Piece, CommandResult),
    /// Draw a commit timestamp (a ticket of the watermark).
    Draw,
    /// Finish a ticket that will not be used.
    Discard(Timestamp),
    /// Validate the reads of the part at the timestamp.
    Validate {
        /// Which part.
        part: usize,
        /// At which timestamp.
        at: Timestamp,
    },
    /// Let the primary's leader admit and propose the commit.
    CommitPrimary(Timestamp),
    /// Record the abort at the primary.
    Abort,
    /// Carry out the outcome on the keys of the piece.
    Resolve(Piece, TxnStatus),
    /// The outcome is certain. A committed one still owes its ticket: finish it, then tell the client.
    Answer(Result<Timestamp, Failure>),
    /// Nothing is left to do.
    Finished,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Prewriting,
    Drawing,
    Validating,
    Deciding,
    /// The commit of the primary was proposed and not answered: an abort there tells what became of it.
    Confirming,
    Aborting,
    Resolving,
    Done,
}

/// The coordinator of one transaction.
#[derive(Debug)]
pub struct TwoPhase {
    parts: Vec<Part>,
    phase: Phase,
    /// Outstanding prewrites, then outstanding resolves, with the number of times a lock was in the way.
    outstanding: std::collections::BTreeMap<Piece, u32>,
    /// Outstanding validations.
    validating: std::collections::BTreeSet<usize>,
    commit_ts: Timestamp,
    /// The newest timestamp that was given back: its answer may be repeated, and must not be taken for a fresh one.
    discarded: Timestamp,
    status: Option<TxnStatus>,
    redraws: u32,
    mutations: Mutations,
}

impl TwoPhase {
    /// A coordinator of these parts; the first has at least one chunk.
    pub fn new(parts: Vec<Part>, mutations: Mutations) -> Self {
        debug_assert!(parts.first().is_some_and(|part| part.chunks > 0), "the primary is in the first chunk");
        TwoPhase {
            parts,
            phase: Phase::Prewriting,
            outstanding: Default::default(),
            validating: Default::default(),
            commit_ts: Timestamp::ZERO,
            discarded: Timestamp::ZERO,
            status: None,
            redraws: 0,
            mutations,
        }
    }

    fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        let chunks = self.parts.iter().enumerate();
        chunks.flat_map(|(part, plan)| (0..plan.chunks).map(move |chunk| Piece { part, chunk }))
    }

    /// Takes an event and says what to do. Repeated and late events are ignored.
    pub fn handle(&mut self, event: Event) -> Vec<Action> {
        match (self.phase, event) {
            (Phase::Prewriting, Event::Begin) => {
                self.outstanding = self.pieces().map(|piece| (piece, 0)).collect();
                self.outstanding.keys().map(|piece| Action::Prewrite(*piece)).collect()
            }
            (Phase::Prewriting, Event::Prewritten(piece, result)) => self.prewritten(piece, result),
            (Phase::Prewriting, Event::LockHandled(piece, remedy)) => self.lock_handled(piece, remedy),
            (Phase::Drawing, Event::Drawn(timestamp)) if timestamp > self.discarded => self.drawn(timestamp),
            (Phase::Drawing, Event::NothingToDraw(reason)) => self.fail(Failure::Refused(reason)),
            // A timestamp that arrives when nobody needs it any more (an answer that was repeated).
            (_, Event::Drawn(timestamp)) if timestamp != self.commit_ts => vec![Action::Discard(timestamp)],
            (Phase::Validating, Event::Validated { part, at, holds }) if at == self.commit_ts => {
                self.validated(part, holds)
            }
            (Phase::Deciding, Event::PrimaryTooLow(at)) if at == self.commit_ts => self.redraw(),
            (Phase::Deciding, Event::PrimaryCommitted(result)) => self.primary_committed(result),
            (Phase::Confirming, Event::PrimaryCommitted(result @ CommandResult::Committed { .. })) => {
                self.primary_committed(result)
            }
            (Phase::Confirming, Event::Aborted(result)) => self.confirmed(result),
            (Phase::Aborting, Event::Aborted(result)) => self.aborted(result),
            (Phase::Resolving, Event::Resolved(piece)) => {
                self.outstanding.remove(&piece);
                self.finish_when_resolved()
            }
            (_, Event::Overdue) => self.repeat(),
            _ => Vec::new(),
        }
    }

    fn prewritten(&mut self, piece: Piece, result: CommandResult) -> Vec<Action> {
        if !self.outstanding.contains_key(&piece) {
            return Vec::new();
        }
        match result {
            CommandResult::Done => {
                self.outstanding.remove(&piece);
                if self.outstanding.is_empty() {
                    self.phase = Phase::Drawing;
                    return vec![Action::Draw];
                }
                Vec::new()
            }
            CommandResult::Locked { .. } => vec![Action::HandleLock(piece, result)],
            refused => self.fail(failure_of(refused)),
        }
    }

    fn lock_handled(&mut self, piece: Piece, remedy: Remedy) -> Vec<Action> {
        let Some(retries) = self.outstanding.get_mut(&piece) else { return Vec::new() };
        *retries += 1;
        if *retries > LOCK_RETRIES_MAX || remedy == Remedy::Wait {
            return self.fail(Failure::Serialization);
        }
        vec![Action::Prewrite(piece)]
    }

    fn drawn(&mut self, timestamp: Timestamp) -> Vec<Action> {
        self.commit_ts = timestamp;
        if !self.mutations.skip_validation {
            let validating = self.parts.iter().enumerate().filter(|(_, part)| part.validates);
            self.validating = validating.map(|(part, _)| part).collect();
        }
        if self.validating.is_empty() {
            self.phase = Phase::Deciding;
            return vec![Action::CommitPrimary(timestamp)];
        }
        self.phase = Phase::Validating;
        self.validating.iter().map(|part| Action::Validate { part: *part, at: timestamp }).collect()
    }

    fn validated(&mut self, part: usize, holds: bool) -> Vec<Action> {
        if !holds {
            return self.fail(Failure::Serialization);
        }
        self.validating.remove(&part);
        if !self.validating.is_empty() {
            return Vec::new();
        }
        self.phase = Phase::Deciding;
        vec![Action::CommitPrimary(self.commit_ts)]
    }

    /// Nothing was proposed at the old timestamp, so it can be given back.
    fn redraw(&mut self) -> Vec<Action> {
        self.redraws += 1;
        if self.redraws > REDRAWS_MAX {
            return self.fail(Failure::Serialization);
        }
        self.discarded = std::mem::take(&mut self.commit_ts);
        self.phase = Phase::Drawing;
        vec![Action::Discard(self.discarded), Action::Draw]
    }

    fn primary_committed(&mut self, result: CommandResult) -> Vec<Action> {
        match result {
            CommandResult::Committed { commit_ts } => {
                let mut actions = Vec::new();
                if commit_ts != self.commit_ts {
                    actions.push(Action::Discard(self.commit_ts));
                }
                self.status = Some(TxnStatus::Committed(commit_ts));
                actions.push(Action::Answer(Ok(commit_ts)));
                actions.extend(self.resolve());
                actions
            }
            refused => self.fail(failure_of(refused)),
        }
    }

    /// The answer to an abort is decisive: either it says that the commit was there first, or it has closed the door.
    fn confirmed(&mut self, result: CommandResult) -> Vec<Action> {
        if matches!(result, CommandResult::Committed { .. }) {
            return self.primary_committed(result);
        }
        let failure = match &result {
            CommandResult::Aborted => Failure::Serialization,
            // The commit may be in the log, and a restart would apply it: it must not be taken for one that failed.
            CommandResult::Refused { reason } => Failure::Unknown(reason.clone()),
            other => Failure::Unknown(format!("the abort was answered {other:?}")),
        };
        let discarded = std::mem::take(&mut self.commit_ts);
        let mut actions = vec![Action::Discard(discarded), Action::Answer(Err(failure))];
        actions.extend(self.aborted(result));
        actions
    }

    fn fail(&mut self, failure: Failure) -> Vec<Action> {
        self.phase = Phase::Aborting;
        self.validating.clear();
        let mut actions = Vec::new();
        let discarded = std::mem::take(&mut self.commit_ts);
        if discarded != Timestamp::ZERO {
            actions.push(Action::Discard(discarded));
        }
        actions.push(Action::Answer(Err(failure)));
        actions.push(Action::Abort);
        actions
    }

    fn aborted(&mut self, result: CommandResult) -> Vec<Action> {
        if result != CommandResult::Aborted {
            // Refused or expired: whoever meets the locks asks the primary again.
            self.phase = Phase::Done;
            return vec![Action::Finished];
        }
        // The moment of an abort matters to nobody: the locks are dropped.
        self.status = Some(TxnStatus::Aborted(self.commit_ts));
        self.resolve()
    }

    fn resolve(&mut self) -> Vec<Action> {
        self.phase = Phase::Resolving;
        self.outstanding = self.pieces().map(|piece| (piece, 0)).collect();
        self.repeat()
    }

    fn finish_when_resolved(&mut self) -> Vec<Action> {
        if !self.outstanding.is_empty() {
            return Vec::new();
        }
        self.phase = Phase::Done;
        vec![Action::Finished]
    }

    fn repeat(&mut self) -> Vec<Action> {
        match self.phase {
            Phase::Prewriting => self.outstanding.keys().map(|piece| Action::Prewrite(*piece)).collect(),
            Phase::Drawing => vec![Action::Draw],
            Phase::Validating => {
                let at = self.commit_ts;
                self.validating.iter().map(|part| Action::Validate { part: *part, at }).collect()
            }
            Phase::Deciding => {
                // Admitting it a second time could find the timestamp too low although the first proposal still lives, and
                // giving the ticket back would then let snapshots pass a commit that has not happened yet.
                self.phase = Phase::Confirming;
                vec![Action::Abort]
            }
            Phase::Confirming | Phase::Aborting => vec![Action::Abort],
            Phase::Resolving => match self.status {
                Some(status) => self.outstanding.keys().map(|piece| Action::Resolve(*piece, status)).collect(),
                None => Vec::new(),
            },
            Phase::Done => Vec::new(),
        }
    }
}

/// What a refusal of a commit or prewrite means to the client.
pub fn failure_of(result: CommandResult) -> Failure {
    match result {
        CommandResult::Conflict { key, reason: ConflictReason::NewerVersion } => Failure::WriteConflict(key),
        CommandResult::Locked { key, .. } => Failure::WriteConflict(key),
        CommandResult::StaleEpoch { .. } | CommandResult::WrongShard { .. } => Failure::Reroute,
        CommandResult::Refused { reason } => Failure::Refused(reason),
        _ => Failure::Serialization,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: Piece = Piece { part: 0, chunk: 0 };
    const AT: Timestamp = Timestamp(10);

    fn drawing() -> TwoPhase {
        let mut core = TwoPhase::new(vec![Part { chunks: 1, validates: false }], Mutations::default());
        assert_eq!(core.handle(Event::Begin), [Action::Prewrite(PIECE)]);
        assert_eq!(core.handle(Event::Prewritten(PIECE, CommandResult::Done)), [Action::Draw]);
        core
    }

    /// The commit of the primary was proposed at `AT`, and its answer is overdue.
    fn confirming() -> TwoPhase {
        let mut core = drawing();
        assert_eq!(core.handle(Event::Drawn(AT)), [Action::CommitPrimary(AT)]);
        assert_eq!(core.handle(Event::Overdue), [Action::Abort]);
        core
    }

    fn answers(actions: &[Action]) -> Vec<Result<Timestamp, Failure>> {
        let answer = |action: &Action| if let Action::Answer(answer) = action { Some(answer.clone()) } else { None };
        actions.iter().filter_map(answer).collect()
    }

    #[test]
    fn what_nobody_can_tell_is_answered_as_unknown() {
        let refused = CommandResult::refused("the log has failed");
        let told = confirming().handle(Event::Aborted(refused));
        assert_eq!(answers(&told), [Err(Failure::Unknown("the log has failed".to_owned()))]);
        assert!(told.contains(&Action::Discard(AT)) && told.contains(&Action::Finished));
        let expired = confirming().handle(Event::Aborted(CommandResult::Expired { threshold: AT }));
        assert!(matches!(answers(&expired).as_slice(), [Err(Failure::Unknown(_))]));
    }

    #[test]
    fn what_is_certain_is_answered_so() {
        let aborted = confirming().handle(Event::Aborted(CommandResult::Aborted));
        assert_eq!(answers(&aborted), [Err(Failure::Serialization)]);
        let committed = confirming().handle(Event::Aborted(CommandResult::Committed { commit_ts: AT }));
        assert_eq!(answers(&committed), [Ok(AT)]);
        // Nothing was proposed yet.
        let without = drawing().handle(Event::NothingToDraw("shutting down".to_owned()));
        assert_eq!(answers(&without), [Err(Failure::Refused("shutting down".to_owned()))]);
        assert!(without.contains(&Action::Abort));
    }
}
