//! openraft's state machine over the store's [`ApplyTarget`].

use std::io;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use parking_lot::Mutex;

use super::codec;
use super::snapshot::ShardSnapshot;
use super::types::{self, Command, LogId, StoredMembership, Types};
use crate::api::ShardId;
use crate::error::Error;
use crate::target::{ApplyTarget, LogPosition};

/// Entries are applied in portions of at most this many bytes of commands (at least one entry). Nobody in a portion is answered
/// before all of it is written.
const PORTION_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Entries are applied in portions of at most this many.
const PORTION_ENTRIES_MAX: usize = 1024;
/// Portions above this many bytes, and commands that take long, are applied on a thread where blocking is allowed: the other
/// groups' tasks and the log's writer share this one. Below, moving costs more than it saves.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Told about what a state machine did without anybody waiting for it.
pub(crate) trait Observer: Send + Sync {
    /// Entries were applied that nobody on this node had proposed: shards may have appeared.
    fn applied_unattended(self: Arc<Self>);
}

/// Why a state machine stopped, for those who ask later.
pub(crate) type Failure = Arc<Mutex<Option<Error>>>;

/// One shard of the target.
pub(crate) struct Machine {
    target: Arc<dyn ApplyTarget>,
    shard: ShardId,
    applied: Option<LogPosition>,
    membership: StoredMembership,
    failure: Failure,
    observer: Weak<dyn Observer>,
}

impl Machine {
    /// The machine at the position that the target has. A shard that the target does not know (yet) is empty:
    /// a snapshot will bring it.
    pub fn open(
        target: Arc<dyn ApplyTarget>,
        shard: ShardId,
        failure: Failure,
        observer: Weak<dyn Observer>,
    ) -> Result<Machine, Error> {
        let mut machine =
            Machine { target, shard, applied: None, membership: StoredMembership::default(), failure, observer };
        match machine.load() {
            Ok(()) | Err(Error::UnknownShard { .. }) => Ok(machine),
            Err(error) => Err(error),
        }
    }

    fn load(&mut self) -> Result<(), Error> {
        self.applied = self.target.applied(self.shard)?;
        self.membership = match self.target.membership(self.shard)? {
            Some(bytes) => codec::decode_stored(bytes)
                .map_err(|error| Error::corruption(format!("shard {}: {error}", self.shard)))?,
            None => StoredMembership::default(),
        };
        Ok(())
    }

    fn failed(&self, error: Error) -> io::Error {
        tracing::error!(shard = %self.shard, %error, "the shard cannot go on");
        let report = io::Error::other(error.to_string());
        self.failure.lock().get_or_insert(error);
        report
    }

    async fn apply_portion(&mut self, portion: &mut Portion) -> io::Result<()> {
        if portion.entries.is_empty() {
            return Ok(());
        }
        let membership = portion.membership.take();
        let bytes = membership.as_ref().map(codec::encode_stored);
        let entries = std::mem::take(&mut portion.entries);
        let last = entries.last().map(|(position, _)| *position);
        let answers = if portion.bytes > INLINE_BYTES_MAX || portion.takes_long {
            let (target, shard) = (Arc::clone(&self.target), self.shard);
            let applied = tokio::task::spawn_blocking(move || target.apply(shard, &entries, bytes)).await;
            applied.map_err(io::Error::other)?
        } else {
            self.target.apply(self.shard, &entries, bytes)
        };
        let answers = answers.map_err(|error| self.failed(error))?;
        self.applied = last;
        if let Some(membership) = membership {
            self.membership = membership;
        }
        if answers.len() != portion.responders.len() {
            return Err(self.failed(Error::corruption("the state machine answered another number of entries")));
        }
        for (responder, answer) in portion.responders.drain(..).zip(answers) {
            if let Some(responder) = responder {
                responder.send(answer);
            }
        }
        portion.bytes = 0;
        portion.takes_long = false;
        Ok(())
    }

    fn snapshot_meta(&self) -> SnapshotMetaOf<Types> {
        SnapshotMetaOf::<Types> {
            last_log_id: self.applied.as_ref().map(types::log_id),
            last_membership: self.membership.clone(),
        }
    }

    /// A snapshot as of now costs nothing before its bytes are asked for. These may then stand for a later
    /// position; the receiver passes over the entries that it has got with them.
    fn snapshot(&self) -> SnapshotOf<Types, ShardSnapshot> {
        SnapshotOf::<Types, ShardSnapshot> {
            meta: self.snapshot_meta(),
            snapshot: ShardSnapshot::outgoing(Arc::clone(&self.target), self.shard),
        }
    }
}

/// Entries that are applied together.
#[derive(Default)]
struct Portion {
    entries: Vec<(LogPosition, Bytes)>,
    responders: Vec<Option<ApplyResponder<Types>>>,
    membership: Option<StoredMembership>,
    bytes: usize,
    takes_long: bool,
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = ShardSnapshot;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied.as_ref().map(types::log_id), self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let mut portion = Portion::default();
        let mut attended = true;
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            let position = types::position(&entry.log_id);
            if self.applied.is_some_and(|applied| position.index <= applied.index) {
                // A snapshot brought it already.
                if let Some(responder) = responder {
                    responder.send(Bytes::new());
                }
                continue;
            }
            let command = match entry.payload {
                EntryPayload::Blank => Bytes::new(),
                EntryPayload::Normal(Command(bytes)) => {
                    attended &= responder.is_some();
                    bytes
                }
                EntryPayload::Membership(membership) => {
                    portion.membership = Some(StoredMembership::new(Some(entry.log_id), membership));
                    Bytes::new()
                }
            };
            let takes_long = self.target.takes_long(&command);
            if takes_long {
                // Those before it need not wait for it.
                self.apply_portion(&mut portion).await?;
            }
            portion.bytes += command.len();
            portion.takes_long = takes_long;
            portion.entries.push((position, command));
            portion.responders.push(responder);
            if takes_long || portion.bytes >= PORTION_BYTES_MAX || portion.entries.len() >= PORTION_ENTRIES_MAX {
                self.apply_portion(&mut portion).await?;
            }
        }
        self.apply_portion(&mut portion).await?;
        if !attended && let Some(observer) = self.observer.upgrade() {
            observer.applied_unattended();
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder { meta: self.snapshot_meta(), target: Arc::clone(&self.target), shard: self.shard }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<Types>,
        snapshot: ShardSnapshot,
    ) -> Result<(), io::Error> {
        let (target, shard) = (Arc::clone(&self.target), self.shard);
        let mut reader = snapshot.into_reader()?;
        let position = tokio::task::spawn_blocking(move || target.import(shard, &mut *reader))
            .await
            .map_err(io::Error::other)?
            .map_err(|error| self.failed(error))?;
        self.load().map_err(|error| self.failed(error))?;
        let promised = meta.last_log_id.as_ref().map(types::position);
        if position < promised {
            return Err(self
                .failed(Error::corruption(format!("a snapshot for {promised:?} brought the shard to {position:?}"))));
        }
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf<Types, ShardSnapshot>>, io::Error> {
        Ok(self.applied.is_some().then(|| self.snapshot()))
    }
}

/// "Builds" the snapshot of the moment when the builder was made.
pub(crate) struct Builder {
    meta: SnapshotMetaOf<Types>,
    target: Arc<dyn ApplyTarget>,
    shard: ShardId,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = ShardSnapshot;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<Types, ShardSnapshot>, io::Error> {
        Ok(SnapshotOf::<Types, ShardSnapshot> {
            meta: self.meta.clone(),
            snapshot: ShardSnapshot::outgoing(Arc::clone(&self.target), self.shard),
        })
    }
}
