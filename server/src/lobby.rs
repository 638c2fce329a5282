//! Where connections wait until it is known who they are.
//!
//! A connection that says nothing costs its sender nothing, so there may be any number of them. They are bounded therefore, and
//! when there is no place left for a new one, the one that has waited longest loses its own: whoever really wants something is
//! through long before that. Nobody can be locked out by silence.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The places of a listener.
#[derive(Debug)]
pub struct Lobby {
    places: usize,
    guests: Mutex<Guests>,
}

#[derive(Debug, Default)]
struct Guests {
    next: u64,
    /// Those who may be sent away, in the order in which they came.
    waiting: BTreeMap<u64, CancellationToken>,
    /// How many may not.
    admitted: usize,
}

/// The place of a connection; given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    lobby: Arc<Lobby>,
    number: u64,
    sent_away: CancellationToken,
    admitted: bool,
}

impl Lobby {
    /// A lobby with room for so many connections.
    pub fn new(places: usize) -> Arc<Lobby> {
        Arc::new(Lobby { places, guests: Mutex::default() })
    }

    /// Takes a place for a new connection, if need be that of the one that has waited longest.
    pub fn enter(self: &Arc<Self>) -> Place {
        let sent_away = CancellationToken::new();
        let mut guests = self.guests.lock();
        if guests.waiting.len() + guests.admitted >= self.places
            && let Some((_, oldest)) = guests.waiting.pop_first()
        {
            metrics::counter!("stratos_connections_crowded_out_total").increment(1);
            oldest.cancel();
        }
        let number = guests.next;
        guests.next += 1;
        guests.waiting.insert(number, sent_away.clone());
        drop(guests);
        Place { lobby: Arc::clone(self), number, sent_away, admitted: false }
    }
}

impl Place {
    /// From now on this connection is not sent away; false when it has been already.
    pub fn admit(&mut self) -> bool {
        let mut guests = self.lobby.guests.lock();
        if guests.waiting.remove(&self.number).is_some() {
            guests.admitted += 1;
            self.admitted = true;
        }
        self.admitted
    }

    /// Ready when the place went to somebody else.
    pub fn lost(&self) -> WaitForCancellationFutureOwned {
        self.sent_away.clone().cancelled_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut guests = self.lobby.guests.lock();
        match self.admitted {
            true => guests.admitted -= 1,
            false => drop(guests.waiting.remove(&self.number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_lost(place: &Place) -> bool {
        place.sent_away.is_cancelled()
    }

    #[test]
    fn the_oldest_who_waits_makes_room() {
        let lobby = Lobby::new(3);
        let mut first = lobby.enter();
        let second = lobby.enter();
        assert!(first.admit());
        let mut third = lobby.enter();
        assert!(!is_lost(&second));
        let fourth = lobby.enter();
        assert!(is_lost(&second) && !is_lost(&first) && !is_lost(&third) && !is_lost(&fourth));
        // Who was sent away has no place to give back, and is not let in any more.
        drop(second);
        assert!(third.admit());
        drop(first);
        let _fifth = lobby.enter();
        assert!(!is_lost(&fourth));
        let _sixth = lobby.enter();
        assert!(is_lost(&fourth));
        let mut fourth = fourth;
        assert!(!fourth.admit());
    }
}
