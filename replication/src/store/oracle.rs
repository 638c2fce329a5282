//! The oracle of this process: the core of [`crate::protocol::watermark`] behind a mutex, the clock that keeps its timestamps
//! near the time of day, and an atomic from which snapshots read the watermark.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::api::Timestamp;
use crate::protocol::watermark::{NeedsReservation, Watermark};

/// Hands out timestamps and follows the commits that are on their way.
pub(crate) struct Oracle {
    core: Mutex<Watermark<oneshot::Sender<()>>>,
    watermark: AtomicU64,
    draws: AtomicU64,
}

fn now_micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(0)
}

impl Oracle {
    /// An oracle that continues above everything reserved before.
    pub(crate) fn new(reserved_until: Timestamp) -> Self {
        let core = Watermark::new(reserved_until);
        let watermark = AtomicU64::new(core.watermark().0);
        Oracle { core: Mutex::new(core), watermark, draws: AtomicU64::new(0) }
    }

    /// Where snapshots are taken: every acknowledged commit is at or below it.
    pub(crate) fn watermark(&self) -> Timestamp {
        Timestamp(self.watermark.load(Ordering::Acquire))
    }

    fn publish(&self, core: &Watermark<oneshot::Sender<()>>) {
        self.watermark.store(core.watermark().0, Ordering::Release);
    }

    /// A timestamp that orders; nothing is committed at it.
    pub(crate) fn now(&self) -> Result<Timestamp, NeedsReservation> {
        let mut core = self.core.lock();
        let now = core.now(now_micros());
        self.publish(&core);
        self.draws.fetch_add(1, Ordering::Relaxed);
        now
    }

    /// A commit timestamp; the caller owes a [`Oracle::finish`].
    pub(crate) fn draw(&self) -> Result<Timestamp, NeedsReservation> {
        let mut core = self.core.lock();
        let drawn = core.draw(now_micros());
        self.publish(&core);
        self.draws.fetch_add(1, Ordering::Relaxed);
        drawn
    }

    /// The fate of a commit is decided and readable.
    pub(crate) fn finish(&self, timestamp: Timestamp) {
        let wakers = {
            let mut core = self.core.lock();
            let wakers = core.finish(timestamp);
            self.publish(&core);
            wakers
        };
        for waker in wakers {
            // Whoever waited may have gone.
            let _gone = waker.send(());
        }
    }

    /// Waits until a finished commit may be told to the client: no earlier one is still on its way.
    pub(crate) async fn acknowledged(&self, timestamp: Timestamp) {
        if self.watermark() >= timestamp {
            return;
        }
        let mut waiting = None;
        let at_once = self.core.lock().acknowledge(timestamp, || {
            let (waker, woken) = oneshot::channel();
            waiting = Some(woken);
            waker
        });
        if let (false, Some(woken)) = (at_once, waiting) {
            // An error means that the oracle is gone, and with it everybody who could take an older snapshot.
            let _closed = woken.await;
        }
    }

    /// Where a reservation made now should end.
    pub(crate) fn reservation(&self) -> Timestamp {
        self.core.lock().reservation(now_micros())
    }

    /// Timestamps up to `until` are reserved durably.
    pub(crate) fn reserved(&self, until: Timestamp) {
        self.core.lock().reserved(until);
    }

    /// Whether a reservation ahead of need is due, given the number of draws seen before (an idle node reserves nothing).
    pub(crate) fn runs_low(&self, draws_before: &mut u64) -> bool {
        let draws = self.draws.load(Ordering::Relaxed);
        let idle = draws == *draws_before;
        *draws_before = draws;
        !idle && self.core.lock().runs_low(now_micros())
    }

    /// Commits on their way.
    pub(crate) fn open_tickets(&self) -> usize {
        self.core.lock().open_tickets()
    }
}
