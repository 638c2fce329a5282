//! What to do when a listener cannot accept.

use std::io;
use std::time::Duration;

/// First and longest pause.
const FIRST: Duration = Duration::from_millis(20);
const LONGEST: Duration = Duration::from_secs(2);

/// Pauses after accepts that failed, each twice as long as the one before: want of file descriptors does not go away by asking
/// again, and the connections that hold them need the processor.
#[derive(Debug)]
pub struct Pause(Duration);

impl Default for Pause {
    fn default() -> Pause {
        Pause(FIRST)
    }
}

impl Pause {
    /// Tells of the failure and waits. A client that gave up before it was accepted is no reason to.
    pub async fn after(&mut self, error: &io::Error) {
        use io::ErrorKind as K;
        if matches!(error.kind(), K::ConnectionAborted | K::ConnectionReset | K::ConnectionRefused) {
            return;
        }
        let pause = self.next();
        tracing::warn!(%error, ?pause, "cannot accept a connection");
        tokio::time::sleep(pause).await;
    }

    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pauses_grow_to_a_limit() {
        let mut pause = Pause::default();
        assert_eq!((pause.next(), pause.next()), (FIRST, FIRST * 2));
        for _ in 0..20 {
            assert!(pause.next() <= LONGEST);
        }
        assert_eq!(pause.next(), LONGEST);
        // Nobody waits because a client gave up.
        pause.after(&io::ErrorKind::ConnectionAborted.into()).await;
        assert_eq!(pause.0, LONGEST);
    }
}
