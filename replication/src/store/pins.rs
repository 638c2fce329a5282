//! The snapshots that are in use: garbage collection stays below the oldest.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::api::Timestamp;

/// Stripes, so that sessions on several cores do not meet at one mutex for every statement.
const STRIPES: usize = 16;

/// Counts the users of every snapshot.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    stripes: [Mutex<BTreeMap<Timestamp, usize>>; STRIPES],
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
        *self.stripes[stripe].lock().entry(at).or_default() += 1;
        Arc::new(Pin { pins: self.clone(), at, stripe })
    }

    /// The oldest snapshot in use.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.stripes.iter().filter_map(|stripe| stripe.lock().keys().next().copied()).min()
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut stripe = self.pins.stripes[self.stripe].lock();
        if let Some(count) = stripe.get_mut(&self.at) {
            *count -= 1;
            if *count == 0 {
                stripe.remove(&self.at);
            }
        }
    }
}
