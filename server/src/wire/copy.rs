//! COPY over the wire.

use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::copy::{CopyData, CopyInResponse, CopyOutResponse};
use stratos_query::copy::{CopyIn, CopyOut};
use stratos_types::{Error, ErrorKind, Result};

use super::connection::ConnectionError;
use super::encode::{Bare, put_bare, put_command_complete};
use super::frame::Message;
use super::serve::{Client, Next};
use super::simple::{ROWS_PER_STEP, Remaining};

/// Bytes of rows that are worked on before another look at the connection.
const COPY_WORK_BYTES: usize = 512 << 10;

/// A COPY FROM STDIN whose rows are arriving.
pub struct CopyState {
    copy: CopyIn,
    /// The rest of the simple query string that it stands in; none in the extended protocol.
    remaining: Option<Remaining>,
}

impl CopyState {
    pub(super) fn simple(copy: CopyIn, remaining: Remaining) -> CopyState {
        CopyState { copy, remaining: Some(remaining) }
    }

    pub(super) fn extended(copy: CopyIn) -> CopyState {
        CopyState { copy, remaining: None }
    }
}

fn response_parts(binary: bool, columns: usize) -> Result<(i8, i16, Vec<i16>)> {
    let code = i16::from(binary);
    let count = i16::try_from(columns).map_err(|_| Error::new(ErrorKind::TooManyColumns, "too many columns"))?;
    Ok((i8::from(binary), count, vec![code; columns]))
}

impl Client {
    pub(super) fn start_copy_in(&mut self, state: CopyState) -> std::result::Result<(), ConnectionError> {
        let (format, count, formats) =
            response_parts(state.copy.is_binary(), state.copy.column_count()).map_err(ConnectionError::Protocol)?;
        self.tell_notices()?;
        self.connection.put(&PgWireBackendMessage::CopyInResponse(CopyInResponse::new(format, count, formats)))?;
        // The client sends nothing before it knows that it may.
        self.connection.answer_soon();
        self.copy = Some(state);
        Ok(())
    }

    pub(super) async fn handle_copy(
        &mut self,
        message: Message<'_>,
        kind: u8,
    ) -> std::result::Result<Next, ConnectionError> {
        let Some(mut state) = self.copy.take() else { return Ok(Next::Continue) };
        match message {
            Message::CopyData(data) => {
                let fed = state.copy.feed(data);
                self.work_on_copy(state, fed).await?;
            }
            Message::CopyDone => {
                let CopyState { copy, remaining } = state;
                match self.session.copy_in_finish(copy).await {
                    Ok(tag) => match remaining {
                        Some(remaining) => {
                            self.complete(tag)?;
                            self.run_string(remaining).await?;
                        }
                        None => {
                            self.tell_notices()?;
                            put_command_complete(self.connection.output(), &tag)?;
                        }
                    },
                    Err(error) => self.tell_copy_error(error, remaining.is_some()).await?,
                }
            }
            Message::CopyFail(why) => {
                let error = Error::new(ErrorKind::QueryCanceled, format!("COPY from stdin failed: {why}"));
                self.copy_failed(state, error).await?;
            }
            // Clients that pipeline send these behind the Execute.
            Message::Flush | Message::Sync => self.copy = Some(state),
            _ => return Err(self.synchronization_lost(state, kind)?),
        }
        Ok(Next::Continue)
    }

    /// What to end a connection with whose client sends something else than rows: it is told what it did before it is sent
    /// away, as by Postgres.
    pub(super) fn synchronization_lost(
        &mut self,
        state: CopyState,
        kind: u8,
    ) -> std::result::Result<ConnectionError, ConnectionError> {
        self.session.copy_in_abandon(state.copy);
        let unexpected = format!("unexpected message type 0x{kind:02X} during COPY from stdin");
        self.tell_error(&Error::new(ErrorKind::ProtocolViolation, unexpected))?;
        let lost = "terminating connection because protocol synchronization was lost";
        Ok(ConnectionError::Protocol(Error::new(ErrorKind::ProtocolViolation, lost)))
    }

    /// Takes all the rows that have arrived; whether there were any. Clients send a message for each row or so, and looking at
    /// each on its own would cost more than its row.
    pub(super) async fn take_copy_data(&mut self) -> std::result::Result<bool, ConnectionError> {
        let Some(mut state) = self.copy.take() else { return Ok(false) };
        let mut fed = Ok(());
        let taken = self.connection.take_copy_data(COPY_WORK_BYTES, |data| {
            if fed.is_ok() {
                fed = state.copy.feed(data);
            }
        })?;
        if taken == 0 {
            self.copy = Some(state);
            return Ok(false);
        }
        self.work_on_copy(state, fed).await?;
        Ok(true)
    }

    async fn work_on_copy(
        &mut self,
        mut state: CopyState,
        fed: Result<()>,
    ) -> std::result::Result<(), ConnectionError> {
        let worked = match fed {
            Ok(()) => self.session.copy_in_work(&mut state.copy).await,
            Err(error) => Err(error),
        };
        match worked {
            Ok(()) => self.copy = Some(state),
            Err(error) => self.copy_failed(state, error).await?,
        }
        Ok(())
    }

    pub(super) async fn copy_failed(
        &mut self,
        state: CopyState,
        error: Error,
    ) -> std::result::Result<(), ConnectionError> {
        let CopyState { copy, remaining } = state;
        self.session.copy_in_abandon(copy);
        self.tell_copy_error(error, remaining.is_some()).await
    }

    async fn tell_copy_error(&mut self, error: Error, simple: bool) -> std::result::Result<(), ConnectionError> {
        if !simple {
            return self.refuse(error).await;
        }
        self.session.fail();
        self.tell_error(&error)?;
        self.finish_string().await
    }

    pub(super) async fn copy_canceled(&mut self, error: Error) -> std::result::Result<(), ConnectionError> {
        match self.copy.take() {
            Some(state) => self.copy_failed(state, error).await,
            None => Ok(()),
        }
    }

    pub(super) async fn send_copy_out(
        &mut self,
        mut copy: CopyOut,
    ) -> std::result::Result<Result<()>, ConnectionError> {
        let (format, count, formats) =
            response_parts(copy.is_binary(), copy.column_count()).map_err(ConnectionError::Protocol)?;
        self.tell_notices()?;
        self.connection.put(&PgWireBackendMessage::CopyOutResponse(CopyOutResponse::new(format, count, formats)))?;
        loop {
            // A message a row: that is what clients who read row by row rely on.
            match self.session.copy_out(&mut copy, ROWS_PER_STEP).await {
                Err(error) => return Ok(Err(error)),
                Ok(None) => break,
                Ok(Some(rows)) => {
                    for row in rows {
                        self.connection.put(&PgWireBackendMessage::CopyData(CopyData::new(row)))?;
                        self.flush_if_full().await?;
                    }
                }
            }
        }
        put_bare(self.connection.output(), Bare::CopyDone);
        put_command_complete(self.connection.output(), format_args!("COPY {}", copy.rows()))?;
        Ok(Ok(()))
    }
}
