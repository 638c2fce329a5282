//! The oracle as a process. It never restarts here: in a node it lives and dies with everybody who holds a snapshot.

use std::collections::BTreeMap;

use super::Sabotage;
use super::world::{Body, Holder, Message, Network, To, Waiter, shard_of};
use crate::api::{Key, Timestamp, TxnId};
use crate::command::{Command, CommandResult};
use crate::protocol::watermark::Watermark;

/// A ticket that is open for longer is asked about at the transaction's primary.
const TICKET_LIFE: u64 = 600;
const SWEEP_EVERY: u64 = 100;

pub(super) struct Oracle {
    core: Watermark<()>,
    tickets: BTreeMap<Timestamp, (TxnId, Key, u64)>,
    sabotage: Sabotage,
}

impl Oracle {
    pub(super) fn new(sabotage: Sabotage) -> Oracle {
        let mut core = Watermark::new(Timestamp::ZERO);
        core.reserved(Timestamp::MAX);
        Oracle { core, tickets: BTreeMap::new(), sabotage }
    }

    fn finish(&mut self, at: Timestamp) {
        self.tickets.remove(&at);
        self.core.finish(at);
    }

    pub(super) fn handle(&mut self, message: Message, network: &mut Network) {
        match message {
            Message::AskSnapshot(request) => {
                let at = if self.sabotage.rules.snapshot_beyond_watermark {
                    self.core.now(network.now).expect("everything is reserved")
                } else {
                    self.core.watermark()
                };
                network.send(To::Client(request.client), Message::Answer(request, Body::Moment(at)));
            }
            Message::AskNow { shard, term } => {
                let at = self.core.now(network.now).expect("everything is reserved");
                network.send(To::Shard(shard), Message::NowIs { term, at });
            }
            Message::AskTicket { holder, txn, primary } => {
                let at = self.core.draw(network.now).expect("everything is reserved");
                self.tickets.insert(at, (txn, primary, network.now));
                match holder {
                    Holder::Client(request) => {
                        network.send(To::Client(request.client), Message::Answer(request, Body::Moment(at)));
                    }
                    Holder::Shard { shard, term, commit } => {
                        network.send(To::Shard(shard), Message::TicketFor { commit, term, at });
                    }
                }
            }
            Message::Finish(at) => self.finish(at),
            Message::TicketFate(at, CommandResult::Committed { .. } | CommandResult::Aborted) => self.finish(at),
            Message::Sweep => {
                for (at, (txn, primary, born)) in &self.tickets {
                    if network.now > born + TICKET_LIFE {
                        let now = Timestamp::from_micros(network.now);
                        let command = Command::Abort { txn: *txn, now, primary: primary.clone() };
                        let message = Message::Propose { waiter: Waiter::Ticket(*at), command };
                        network.send(To::Shard(shard_of(primary)), message);
                    }
                }
                network.after(SWEEP_EVERY, To::Oracle, Message::Sweep);
            }
            _ => {}
        }
    }
}
