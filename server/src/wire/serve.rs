//! The message loop of a connection.

use std::time::Duration;

use stratos_query::session::{Session, TransactionStatus};
use stratos_types::{Error, ErrorKind};
use tokio::time::Instant;

use super::connection::{COPY_BUFFER_BYTES, Connection, ConnectionError, READ_BUFFER_BYTES};
use super::copy::CopyState;
use super::encode::{Bare, error_response, notice_response, parameter_status, put_bare, put_ready_for_query};
use super::frame::{HEADER_BYTES, Message, Object};

/// Messages handled in a row before other tasks of the thread get their turn.
const MESSAGES_PER_TURN: usize = 256;

/// A connection with its session.
pub struct Client {
    pub(super) connection: Connection,
    pub(super) session: Session,
    /// An error of the extended protocol: everything up to the next Sync is skipped.
    pub(super) skip_to_sync: bool,
    /// Rows are arriving.
    pub(super) copy: Option<CopyState>,
    /// The pipeline has executed something since the last Sync.
    pub(super) executed: bool,
    /// Since when the client has been told that it may go on; none while it is in the middle of something.
    ready_since: Option<Instant>,
    /// Tag of a statement of a simple query that has ended, of which the client is not told yet.
    pub(super) completed: Option<String>,
}

/// Whether the connection goes on.
pub(super) enum Next {
    Continue,
    Close,
}

/// Serves a client until it leaves, breaks the protocol or is sent away.
pub async fn serve(connection: Connection, session: Session) {
    let mut client = Client {
        connection,
        session,
        skip_to_sync: false,
        copy: None,
        executed: false,
        ready_since: None,
        completed: None,
    };
    match client.run().await {
        Ok(()) | Err(ConnectionError::Closed) => {}
        Err(ConnectionError::Io(error)) => tracing::debug!(%error, "connection lost"),
        Err(ConnectionError::Protocol(error) | ConnectionError::Fatal(error)) => {
            tracing::debug!(%error, "connection ended");
            if let Err(error) = client.connection.put(&error_response(&error, "FATAL")) {
                tracing::debug!(%error, "the client is not told");
            }
        }
    }
    client.connection.close().await;
}

impl Client {
    async fn run(&mut self) -> Result<(), ConnectionError> {
        self.tell_ready()?;
        let mut handled = 0;
        loop {
            if self.copy.is_some() && Box::pin(self.take_copy_data()).await? {
                tokio::task::consume_budget().await;
                continue;
            }
            let Some((kind, length)) = self.connection.arrived()? else {
                if self.connection.has_answers() {
                    self.flush().await?;
                }
                self.wait_for_bytes().await?;
                continue;
            };
            self.ready_since = None;
            // Out of the connection as long as it is read, so that nothing of it has to be copied.
            let input = self.connection.take_input();
            let next = match Message::decode(kind, &input[HEADER_BYTES..length]) {
                Ok(message) => self.handle(message, kind).await?,
                Err(error) => {
                    self.refuse_message(error, kind).await?;
                    Next::Continue
                }
            };
            self.connection.give_back(input, length);
            if matches!(next, Next::Close) {
                return Ok(());
            }
            if matches!(kind, b'S' | b'Q') {
                // What comes behind it in the pipeline may take long.
                self.flush().await?;
            }
            handled += 1;
            if handled % MESSAGES_PER_TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Writes to the socket if much is waiting.
    pub(super) async fn flush_if_full(&mut self) -> Result<(), ConnectionError> {
        if self.connection.is_full() { self.flush().await } else { Ok(()) }
    }

    /// Writes everything to the socket. A client that does not read is waited for until the session has to end.
    async fn flush(&mut self) -> Result<(), ConnectionError> {
        let shared = self.session.shared().clone();
        tokio::select! {
            biased;
            flushed = self.connection.flush() => flushed,
            () = shared.cancel.terminated() => Err(ConnectionError::Fatal(stratos_query::session::cancel::terminated())),
        }
    }

    /// Waits for the client, and for the end of the session from outside; within the session's idle timeouts if it is the
    /// client's turn to say something new.
    async fn wait_for_bytes(&mut self) -> Result<(), ConnectionError> {
        let shared = self.session.shared().clone();
        let (limit_ms, kind, message) = match self.session.transaction_status() {
            TransactionStatus::Idle => (
                self.session.idle_timeout_ms(),
                ErrorKind::IdleSessionTimeout,
                "terminating connection due to idle-session timeout",
            ),
            _ => (
                self.session.idle_in_transaction_timeout_ms(),
                ErrorKind::IdleInTransactionSessionTimeout,
                "terminating connection due to idle-in-transaction timeout",
            ),
        };
        let until = self.ready_since.filter(|_| limit_ms > 0).map(|since| since + Duration::from_millis(limit_ms));
        let timeout = async {
            match until {
                None => std::future::pending().await,
                Some(until) => tokio::time::sleep_until(until).await,
            }
        };
        let copying = self.copy.is_some();
        let interrupted = async {
            if copying {
                shared.cancel.stopped().await
            } else {
                shared.cancel.terminated().await;
                stratos_query::session::cancel::terminated()
            }
        };
        tokio::select! {
            biased;
            read = self.connection.read(if copying { COPY_BUFFER_BYTES } else { READ_BUFFER_BYTES }) => read,
            error = interrupted => {
                if error.kind() == ErrorKind::QueryCanceled {
                    return self.copy_canceled(error).await;
                }
                Err(ConnectionError::Fatal(error))
            }
            () = timeout => Err(ConnectionError::Fatal(Error::new(kind, message))),
        }
    }

    async fn handle(&mut self, message: Message<'_>, kind: u8) -> Result<Next, ConnectionError> {
        if let Message::Terminate = message {
            return Ok(Next::Close);
        }
        if self.copy.is_some() {
            return Box::pin(self.handle_copy(message, kind)).await;
        }
        if self.skip_to_sync && !matches!(message, Message::Sync) {
            return Ok(Next::Continue);
        }
        match message {
            Message::Bind(bind) => {
                let result = self.bind(bind).await;
                self.answer(result, Bare::BindComplete).await?;
            }
            Message::Describe(object) => {
                if let Err(error) = self.describe(object).await? {
                    self.refuse(error).await?;
                }
            }
            Message::Execute { portal, rows_max } => self.execute(portal, rows_max).await?,
            Message::Sync => self.sync().await?,
            Message::Query(sql) => Box::pin(self.simple_query(sql)).await?,
            Message::Parse { name, sql, types } => {
                let result = Box::pin(self.parse(name, sql, &types)).await;
                self.tell_notices()?;
                self.answer(result, Bare::ParseComplete).await?;
            }
            Message::Close(object) => {
                match object {
                    Object::Statement(name) => self.session.close_prepared(name),
                    Object::Portal(name) => self.session.close_portal(name),
                }
                put_bare(self.connection.output(), Bare::CloseComplete);
            }
            Message::Flush => self.flush().await?,
            // Left over from a COPY that failed on our side: the client had not heard yet.
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_) => {}
            Message::Password | Message::Terminate => {
                return Err(ConnectionError::Protocol(unexpected(b'p')));
            }
        }
        self.flush_if_full().await?;
        if self.session.shared().cancel.is_terminated() {
            return Err(ConnectionError::Fatal(stratos_query::session::cancel::terminated()));
        }
        Ok(Next::Continue)
    }

    /// A message that is malformed. One of the extended protocol ends what is pipelined up to Sync, as any of its errors; even
    /// a broken Sync is one.
    async fn refuse_message(&mut self, error: Error, kind: u8) -> Result<(), ConnectionError> {
        if let Some(state) = self.copy.take() {
            return match kind {
                b'd' | b'c' | b'f' | b'H' | b'S' => self.copy_failed(state, error).await,
                _ => Err(self.synchronization_lost(state, kind)?),
            };
        }
        match kind {
            b'Q' | b'F' | b'S' if kind == b'S' || !self.skip_to_sync => {
                self.skip_to_sync = false;
                self.session.fail();
                self.tell_error(&error)?;
                self.finish_string().await
            }
            _ if self.skip_to_sync => Ok(()),
            _ => self.refuse(error).await,
        }
    }

    async fn answer(&mut self, result: stratos_types::Result<()>, done: Bare) -> Result<(), ConnectionError> {
        match result {
            Ok(()) => {
                put_bare(self.connection.output(), done);
                Ok(())
            }
            Err(error) => self.refuse(error).await,
        }
    }

    /// An error of the extended protocol: told, and everything up to Sync is skipped.
    pub(super) async fn refuse(&mut self, error: Error) -> Result<(), ConnectionError> {
        self.session.fail();
        self.tell_error(&error)?;
        self.skip_to_sync = true;
        Ok(())
    }

    pub(super) fn tell_error(&mut self, error: &Error) -> Result<(), ConnectionError> {
        self.tell_notices()?;
        if error.kind() == ErrorKind::AdminShutdown {
            return Err(ConnectionError::Fatal(error.clone()));
        }
        self.connection.answer_soon();
        self.connection.put(&error_response(error, "ERROR"))
    }

    pub(super) fn tell_notices(&mut self) -> Result<(), ConnectionError> {
        for notice in self.session.take_notices() {
            self.connection.answer_soon();
            self.connection.put(&notice_response(&notice))?;
        }
        Ok(())
    }

    /// ReadyForQuery, with what changed of the settings before it.
    pub(super) fn tell_ready(&mut self) -> Result<(), ConnectionError> {
        for (name, value) in self.session.take_changed_settings() {
            self.connection.put(&parameter_status(name, value))?;
        }
        self.session.became_idle();
        self.executed = false;
        self.ready_since = Some(Instant::now());
        self.connection.answer_soon();
        put_ready_for_query(self.connection.output(), self.session.transaction_status());
        Ok(())
    }

    async fn sync(&mut self) -> Result<(), ConnectionError> {
        self.skip_to_sync = false;
        if let Err(error) = self.session.end_implicit().await {
            self.tell_error(&error)?;
        }
        self.tell_ready()
    }
}

fn unexpected(kind: u8) -> Error {
    Error::new(ErrorKind::ProtocolViolation, format!("invalid frontend message type {kind}"))
}
