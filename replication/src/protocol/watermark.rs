//! Timestamps and the watermark, sans-IO: what the oracle hands out, which commits are still on their way, and up to where
//! a snapshot may look.
//!
//! Rules
//! * A timestamp is larger than every one before it and lies within the window that was reserved durably, so a restart
//!   (whatever the clock says then) never repeats one: it starts above the last reservation.
//! * Every commit draws its timestamp as a *ticket* and finishes the ticket when its fate is decided and readable.
//! * The watermark is the largest timestamp below which every ticket is finished. Snapshots are taken at the watermark, and a
//!   commit is acknowledged when the watermark has reached it: so a snapshot sees every acknowledged commit, and never one
//!   that is half way.

use std::collections::VecDeque;

use crate::api::Timestamp;

/// Length of a reserved window: 3 seconds of microseconds, in timestamp units. A restart skips at most this much.
pub const WINDOW_UNITS: u64 = 3_000_000 << Timestamp::LOGICAL_BITS;

/// The window is exhausted: reserve up to `until` durably, then call [`Watermark::reserved`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeedsReservation {
    /// The end of the next window.
    pub until: Timestamp,
}

#[derive(Debug)]
struct Ticket<W> {
    timestamp: u64,
    finished: bool,
    waker: Option<W>,
}

/// The core of the oracle. `W` is whatever the caller needs to wake the one who waits for its acknowledgement.
#[derive(Debug)]
pub struct Watermark<W> {
    last: u64,
    limit: u64,
    open: VecDeque<Ticket<W>>,
    watermark: u64,
}

impl<W> Watermark<W> {
    /// Starts above everything that was ever reserved.
    pub fn new(reserved_until: Timestamp) -> Self {
        Watermark {
            last: reserved_until.0,
            limit: reserved_until.0,
            open: VecDeque::new(),
            watermark: reserved_until.0,
        }
    }

    /// Records that timestamps up to `until` are reserved durably.
    pub fn reserved(&mut self, until: Timestamp) {
        self.limit = self.limit.max(until.0);
    }

    /// Whether a reservation should be made ahead of need.
    pub fn runs_low(&self, now_micros: u64) -> bool {
        let next = self.next(now_micros);
        next.saturating_add(WINDOW_UNITS / 2) > self.limit
    }

    /// Where a reservation made now should end.
    pub fn reservation(&self, now_micros: u64) -> Timestamp {
        Timestamp(self.next(now_micros).saturating_add(WINDOW_UNITS))
    }

    fn next(&self, now_micros: u64) -> u64 {
        self.last.saturating_add(1).max(now_micros << Timestamp::LOGICAL_BITS)
    }

    /// Hands out a timestamp without a ticket: it orders, but nothing will be committed at it.
    pub fn now(&mut self, now_micros: u64) -> Result<Timestamp, NeedsReservation> {
        let next = self.next(now_micros);
        if next > self.limit {
            // A clock that runs away must not burn the window: within it, counting on is always right.
            if self.last < self.limit {
                self.last += 1;
                return Ok(self.after_draw());
            }
            return Err(NeedsReservation { until: self.reservation(now_micros) });
        }
        self.last = next;
        Ok(self.after_draw())
    }

    fn after_draw(&mut self) -> Timestamp {
        if self.open.is_empty() {
            self.watermark = self.last;
        }
        Timestamp(self.last)
    }

    /// Hands out a commit timestamp; the caller owes a [`Watermark::finish`].
    pub fn draw(&mut self, now_micros: u64) -> Result<Timestamp, NeedsReservation> {
        let before = self.watermark;
        let timestamp = self.now(now_micros)?;
        if self.open.is_empty() {
            self.watermark = before.max(timestamp.0 - 1);
        }
        self.open.push_back(Ticket { timestamp: timestamp.0, finished: false, waker: None });
        Ok(timestamp)
    }

    /// The fate of the commit at `timestamp` is decided and readable. Returns the wakers of the commits that may be
    /// acknowledged now, in timestamp order.
    pub fn finish(&mut self, timestamp: Timestamp) -> Vec<W> {
        if let Ok(at) = self.open.binary_search_by_key(&timestamp.0, |ticket| ticket.timestamp) {
            self.open[at].finished = true;
        }
        let mut wakers = Vec::new();
        while self.open.front().is_some_and(|ticket| ticket.finished) {
            if let Some(ticket) = self.open.pop_front() {
                self.watermark = self.watermark.max(ticket.timestamp);
                wakers.extend(ticket.waker);
            }
        }
        match self.open.front() {
            Some(ticket) => self.watermark = self.watermark.max(ticket.timestamp - 1),
            None => self.watermark = self.watermark.max(self.last),
        }
        wakers
    }

    /// Whether a commit at `timestamp` may be acknowledged; otherwise keeps `waker` for [`Watermark::finish`].
    pub fn acknowledge(&mut self, timestamp: Timestamp, waker: impl FnOnce() -> W) -> bool {
        if timestamp.0 <= self.watermark {
            return true;
        }
        match self.open.binary_search_by_key(&timestamp.0, |ticket| ticket.timestamp) {
            Ok(at) => {
                self.open[at].waker = Some(waker());
                false
            }
            Err(_) => true,
        }
    }

    /// Where snapshots are taken.
    pub fn watermark(&self) -> Timestamp {
        Timestamp(self.watermark)
    }

    /// Commits that are on their way.
    pub fn open_tickets(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oracle() -> Watermark<u32> {
        let mut oracle = Watermark::new(Timestamp(0));
        oracle.reserved(Timestamp(1 << 40));
        oracle
    }

    #[test]
    fn timestamps_grow_when_the_clock_does_not() {
        let mut oracle = oracle();
        let first = oracle.draw(1000).unwrap();
        let second = oracle.draw(1000).unwrap();
        let third = oracle.draw(10).unwrap();
        assert!(first < second && second < third);
    }

    #[test]
    fn nothing_is_handed_out_beyond_the_reservation() {
        let mut oracle: Watermark<u32> = Watermark::new(Timestamp(100));
        let Err(NeedsReservation { until }) = oracle.draw(0) else { panic!("nothing was reserved") };
        oracle.reserved(until);
        let first = oracle.draw(0).unwrap();
        assert!(first > Timestamp(100) && first <= until);
        let after_restart: Watermark<u32> = Watermark::new(until);
        assert!(after_restart.watermark() >= first);
    }

    #[test]
    fn the_watermark_stops_at_the_oldest_open_commit() {
        let mut oracle = oracle();
        let first = oracle.draw(1).unwrap();
        let second = oracle.draw(1).unwrap();
        assert!(oracle.watermark() < first);
        assert!(oracle.finish(second).is_empty());
        assert!(oracle.watermark() < first);
        assert!(!oracle.acknowledge(second, || 2));
        assert_eq!(oracle.finish(first), vec![2]);
        assert!(oracle.watermark() >= second);
        assert!(oracle.acknowledge(first, || 1));
    }

    #[test]
    fn a_plain_timestamp_does_not_pass_an_open_commit() {
        let mut oracle = oracle();
        let open = oracle.draw(1).unwrap();
        let plain = oracle.now(1).unwrap();
        assert!(plain > open);
        assert!(oracle.watermark() < open);
        oracle.finish(open);
        assert!(oracle.watermark() >= plain);
    }
}
