//! Stopping a statement from outside: cancel requests, timeouts, shutdown.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures::task::AtomicWaker;
use stratos_types::{Error, ErrorKind, Result};
use tokio::sync::Notify;
use tokio::time::Instant;

const NONE: u8 = 0;
const USER: u8 = 1;
const TERMINATE: u8 = 2;

/// The switch by which others stop what a session is doing. A cancel that arrives between statements is forgotten at the
/// start of the next one, as in Postgres; a termination stays.
#[derive(Debug, Default)]
pub struct Cancel {
    reason: AtomicU8,
    notify: Notify,
    /// The task of the session's connection while it waits for the client: it stays registered from one wait to the next.
    connection: AtomicWaker,
}

impl Cancel {
    /// A cancel request or `pg_cancel_backend`.
    pub fn cancel(&self) {
        let _ = self.reason.compare_exchange(NONE, USER, Ordering::AcqRel, Ordering::Acquire);
        self.notify.notify_waiters();
    }

    /// The session must end: `pg_terminate_backend`, shutdown.
    pub fn terminate(&self) {
        self.reason.store(TERMINATE, Ordering::Release);
        self.notify.notify_waiters();
        self.connection.wake();
    }

    /// Whether the session must end.
    pub fn is_terminated(&self) -> bool {
        self.reason.load(Ordering::Acquire) == TERMINATE
    }

    /// Forgets a cancel that came too late for the statement it was meant for.
    pub fn start_statement(&self) {
        let _ = self.reason.compare_exchange(USER, NONE, Ordering::AcqRel, Ordering::Acquire);
    }

    /// The error with which a statement must stop, if it must.
    ///
    /// # Errors
    /// That error.
    pub fn check(&self) -> Result<()> {
        match self.reason.load(Ordering::Acquire) {
            NONE => Ok(()),
            USER => Err(Error::new(ErrorKind::QueryCanceled, "canceling statement due to user request")),
            _ => Err(terminated()),
        }
    }

    /// Waits until the statement must stop.
    pub async fn stopped(&self) -> Error {
        loop {
            let notified = self.notify.notified();
            if let Err(error) = self.check() {
                return error;
            }
            notified.await;
        }
    }

    /// Waits until the session must end. Only one task may wait so: that of the session's connection.
    pub async fn terminated(&self) {
        poll_fn(|context| {
            self.connection.register(context.waker());
            if self.is_terminated() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Runs `work` until it is done, the deadline passes or somebody stops it; `work` is dropped then.
    ///
    /// # Errors
    /// Those of `work`, 57014 and 57P01.
    pub async fn guard<T>(&self, deadline: Option<Instant>, work: impl Future<Output = Result<T>>) -> Result<T> {
        let timeout = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            result = work => result,
            error = self.stopped() => Err(error),
            () = timeout => Err(timed_out()),
        }
    }
}

/// When a statement that starts now must have ended.
pub fn deadline_after(timeout_ms: u64) -> Option<Instant> {
    (timeout_ms > 0).then(|| Instant::now() + Duration::from_millis(timeout_ms))
}

/// 57014 of `statement_timeout`.
pub fn timed_out() -> Error {
    Error::new(ErrorKind::QueryCanceled, "canceling statement due to statement timeout")
}

/// 57P01.
pub fn terminated() -> Error {
    Error::new(ErrorKind::AdminShutdown, "terminating connection due to administrator command")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cancel_stops_the_running_statement_and_no_later_one() {
        let cancel = std::sync::Arc::new(Cancel::default());
        let other = cancel.clone();
        let endless = cancel.guard(None, async {
            other.cancel();
            std::future::pending::<Result<()>>().await
        });
        assert_eq!(endless.await.unwrap_err().kind(), ErrorKind::QueryCanceled);
        cancel.start_statement();
        assert_eq!(cancel.guard(None, async { Ok(1) }).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_connection_that_waits_hears_of_the_end() {
        let cancel = std::sync::Arc::new(Cancel::default());
        let waiting = cancel.clone();
        let waiting = tokio::spawn(async move { waiting.terminated().await });
        tokio::task::yield_now().await;
        cancel.cancel();
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        cancel.terminate();
        tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_statement_that_passes_its_deadline_is_stopped() {
        let cancel = Cancel::default();
        let slow = cancel.guard(deadline_after(5), std::future::pending::<Result<()>>());
        assert_eq!(slow.await.unwrap_err().message(), "canceling statement due to statement timeout");
    }
}
