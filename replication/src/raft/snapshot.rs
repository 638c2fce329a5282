//! A shard's whole state on its way between nodes.

use std::io::{self, Read, Write};
use std::sync::Arc;

use crate::api::ShardId;
use crate::error::Result;
use crate::target::ApplyTarget;

/// The state of a shard: at the sender something that can be written, at the receiver something to be read.
pub struct ShardSnapshot(Kind);

enum Kind {
    Outgoing { target: Arc<dyn ApplyTarget>, shard: ShardId },
    Incoming(Box<dyn Read + Send>),
}

impl ShardSnapshot {
    /// The state that `target` has when the snapshot is written.
    pub(crate) fn outgoing(target: Arc<dyn ApplyTarget>, shard: ShardId) -> ShardSnapshot {
        ShardSnapshot(Kind::Outgoing { target, shard })
    }

    /// What a transport receives.
    pub fn incoming(source: impl Read + Send + 'static) -> ShardSnapshot {
        ShardSnapshot(Kind::Incoming(Box::new(source)))
    }

    /// Writes the state to `sink`. Blocks.
    ///
    /// # Errors
    /// Reading the state or writing to the sink fails.
    pub fn write_to(self, sink: &mut dyn Write) -> Result<()> {
        match self.0 {
            Kind::Outgoing { target, shard } => {
                target.export(shard, sink)?;
            }
            Kind::Incoming(mut source) => {
                io::copy(&mut source, sink).map_err(|error| crate::error::Error::io("pass on a snapshot", &error))?;
            }
        }
        Ok(())
    }

    /// The state as a stream of bytes. Reading it blocks.
    ///
    /// # Errors
    /// The pipe or the thread that fills it cannot be made.
    pub fn into_reader(self) -> io::Result<Box<dyn Read + Send>> {
        match self.0 {
            Kind::Incoming(source) => Ok(source),
            Kind::Outgoing { .. } => {
                let (reader, writer) = io::pipe()?;
                std::thread::Builder::new().name("snapshot".to_owned()).spawn(move || {
                    let mut sink = io::BufWriter::new(writer);
                    // A cut-off snapshot fails its check sums at the receiver, who is the one to report it.
                    if let Err(error) = self.write_to(&mut sink).and_then(|()| {
                        sink.flush().map_err(|error| crate::error::Error::io("write a snapshot", &error))
                    }) {
                        tracing::warn!(%error, "a snapshot was not sent to its end");
                    }
                })?;
                Ok(Box::new(reader))
            }
        }
    }
}

impl std::fmt::Debug for ShardSnapshot {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self.0 {
            Kind::Outgoing { .. } => "outgoing snapshot",
            Kind::Incoming(_) => "incoming snapshot",
        })
    }
}
