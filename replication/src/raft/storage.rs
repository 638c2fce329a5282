//! openraft's log storage over one group of the physical log.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};

use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};

use super::codec;
use super::types::{self, Entry, LogId, Types, Vote};
use crate::log::{Done, GroupLog, StoredVote};

/// Entries are handed to replication in portions of at most this many bytes (at least one entry).
const PORTION_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Entries read at a time while a portion is put together.
const READ_ENTRIES: u64 = 64;

/// The log of one group, as openraft wants it. Also its own reader.
#[derive(Clone, Debug)]
pub(crate) struct LogStore {
    log: GroupLog,
}

impl LogStore {
    pub fn new(log: GroupLog) -> LogStore {
        LogStore { log }
    }

    fn entries(&self, range: Range<u64>) -> io::Result<Vec<Entry>> {
        self.log.read(range)?.into_iter().map(codec::from_log).collect()
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(last) => last.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        self.entries(start..end)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.log.state().vote.map(|vote| match vote.committed {
            true => Vote::new_committed(vote.term, vote.leader),
            false => Vote::new(vote.term, vote.leader),
        }))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        let mut entries = Vec::new();
        let mut bytes = 0;
        let mut from = start;
        while from < end && bytes < PORTION_BYTES_MAX {
            let read = self.log.read(from..end.min(from + READ_ENTRIES))?;
            let Some(last) = read.last() else { break };
            from = last.position.index + 1;
            for entry in read {
                if bytes >= PORTION_BYTES_MAX {
                    return Ok(entries);
                }
                bytes += entry.payload.len();
                entries.push(codec::from_log(entry)?);
            }
        }
        Ok(entries)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let state = self.log.state();
        Ok(LogState {
            last_purged_log_id: state.purged.as_ref().map(types::log_id),
            last_log_id: state.last.as_ref().map(types::log_id),
        })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let done: Done = Box::new(move |result| {
            // Whoever asked may be gone; the vote is saved all the same.
            let _ = sender.send(result);
        });
        let vote = StoredVote {
            term: vote.leader_id().term,
            leader: vote.leader_id().node_id,
            committed: vote.is_committed(),
        };
        self.log.save_vote(vote, done)?;
        receiver.await.map_err(io::Error::other)??;
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        if let Some(committed) = committed {
            self.log.save_committed(types::position(&committed))?;
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.log.state().committed.as_ref().map(types::log_id))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let done: Done = Box::new(move |result| callback.io_completed(result.map_err(io::Error::from)));
        self.log.append(entries.into_iter().map(codec::to_log), done)?;
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> Result<(), io::Error> {
        self.log.truncate_after(last.as_ref().map(types::position))?;
        Ok(())
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), io::Error> {
        self.log.purge(types::position(&upto))?;
        Ok(())
    }
}
