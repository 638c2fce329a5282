//! The snapshots that are in use: garbage collection stays below the oldest.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::api::Timestamp;

/// Stripes, so that sessions on several cores do not meet at one mutex for every statement.
const STRIPES: usize = 16;

/// Counts the users of every snapshot. A stripe has as many snapshots as it has sessions at work, a few, in no order.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    stripes: [Mutex<Vec<(Timestamp, usize)>>; STRIPES],
}

/// Keeps one snapshot readable as long as it lives.
#[derive(Debug)]
pub(crate) struct Pin {
    pins: Arc<Pins>,
    at: Timestamp,
    stripe: usize,
}

impl Pins {
    /// Pins a snapshot; `spread` (such as a transaction's number) chooses the stripe.
    pub(crate) fn pin(self: &Arc<Self>, at: Timestamp, spread: u64) -> Arc<Pin> {
        let stripe = (spread % STRIPES as u64) as usize;
        let mut pinned = self.stripes[stripe].lock();
        match pinned.iter_mut().find(|(pinned, _)| *pinned == at) {
            Some((_, count)) => *count += 1,
            None => pinned.push((at, 1)),
        }
        drop(pinned);
        Arc::new(Pin { pins: self.clone(), at, stripe })
    }

    /// The oldest snapshot in use.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.stripes.iter().filter_map(|stripe| stripe.lock().iter().map(|(at, _)| *at).min()).min()
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut stripe = self.pins.stripes[self.stripe].lock();
        if let Some(place) = stripe.iter().position(|(at, _)| *at == self.at) {
            stripe[place].1 -= 1;
            if stripe[place].1 == 0 {
                stripe.swap_remove(place);
            }
        }
    }
}
