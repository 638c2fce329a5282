//! The simple query protocol: a string of statements, results in text.

use stratos_query::result::{ResultSet, StatementResult};
use stratos_query::session::Company;
use stratos_types::Result;

use super::connection::ConnectionError;
use super::copy::CopyState;
use super::encode::{Bare, Format, Formats, RowPrinter, put_bare, put_command_complete, put_row, put_row_description};
use super::serve::Client;

/// Rows encoded between two looks at the socket.
pub(super) const ROWS_PER_STEP: usize = 1024;

/// How far a string of statements has come.
pub(super) struct Remaining {
    statements: std::vec::IntoIter<std::sync::Arc<stratos_query::session::Prepared>>,
    company: Company,
}

impl Client {
    pub(super) async fn simple_query(&mut self, sql: &str) -> std::result::Result<(), ConnectionError> {
        // The unnamed portal and statement do not outlive a simple query.
        self.session.close_portal("");
        self.session.close_prepared("");
        if let Some((prepared, params)) = self.session.recall(sql) {
            let told = match self.session.run_as(sql, &prepared, params, Company::None).await {
                Ok(result) => self.send_simple(result).await?,
                Err(error) => Err(error),
            };
            if let Err(error) = told {
                self.session.fail();
                self.tell_error(&error)?;
            }
            return self.finish_string().await;
        }
        match self.session.parse(sql).await {
            Err(error) => {
                self.session.fail();
                self.tell_error(&error)?;
                self.finish_string().await
            }
            Ok(statements) if statements.is_empty() => {
                put_bare(self.connection.output(), Bare::EmptyQueryResponse);
                self.finish_string().await
            }
            Ok(statements) => {
                let company = if statements.len() > 1 { Company::String } else { Company::None };
                self.run_string(Remaining { statements: statements.into_iter(), company }).await
            }
        }
    }

    /// Runs the rest of a string. COPY FROM STDIN leaves in the middle and comes back when its rows are in.
    pub(super) async fn run_string(&mut self, mut remaining: Remaining) -> std::result::Result<(), ConnectionError> {
        while let Some(statement) = remaining.statements.next() {
            self.tell_completed()?;
            let result = self.session.run(&statement, Vec::new(), remaining.company).await;
            let told = match result {
                Ok(StatementResult::CopyIn(copy)) => {
                    self.start_copy_in(CopyState::simple(*copy, remaining))?;
                    return Ok(());
                }
                Ok(result) => self.send_simple(result).await?,
                Err(error) => Err(error),
            };
            if let Err(error) = told {
                self.session.fail();
                self.tell_error(&error)?;
                break;
            }
        }
        self.finish_string().await
    }

    /// The end of the string: its implicit transaction ends, and the client may go on.
    pub(super) async fn finish_string(&mut self) -> std::result::Result<(), ConnectionError> {
        match self.session.end_implicit().await {
            Ok(()) => self.tell_completed()?,
            Err(error) => {
                self.completed = None;
                self.tell_error(&error)?;
            }
        }
        self.tell_ready()
    }

    /// A statement has ended. The client is told before the next one runs; of the last one only when the implicit transaction has
    /// committed: what is told to be complete is durable.
    pub(super) fn complete(&mut self, tag: String) -> std::result::Result<(), ConnectionError> {
        self.tell_notices()?;
        self.completed = Some(tag);
        Ok(())
    }

    fn tell_completed(&mut self) -> std::result::Result<(), ConnectionError> {
        match self.completed.take() {
            Some(tag) => put_command_complete(self.connection.output(), &tag),
            None => Ok(()),
        }
    }

    async fn send_simple(&mut self, result: StatementResult) -> std::result::Result<Result<()>, ConnectionError> {
        match result {
            StatementResult::Rows(result) => self.send_rows_simple(result).await,
            StatementResult::Done(tag) => {
                self.complete(tag)?;
                Ok(Ok(()))
            }
            StatementResult::Empty => {
                put_bare(self.connection.output(), Bare::EmptyQueryResponse);
                Ok(Ok(()))
            }
            StatementResult::CopyOut(copy) => self.send_copy_out(copy).await,
            StatementResult::CopyIn(_) => Ok(Ok(())),
        }
    }

    async fn send_rows_simple(&mut self, mut result: ResultSet) -> std::result::Result<Result<()>, ConnectionError> {
        let formats = Formats::All(Format::Text);
        self.tell_notices()?;
        if let Err(error) = put_row_description(self.connection.output(), &result.columns, &formats) {
            return Ok(Err(error));
        }
        if let Err(error) = self.send_rows(&mut result, &formats, usize::MAX).await? {
            return Ok(Err(error));
        }
        let tag = result.command_tag(result.given()).to_string();
        self.complete(tag)?;
        Ok(Ok(()))
    }

    /// Sends up to `rows_max` rows; gives how many.
    pub(super) async fn send_rows(
        &mut self,
        result: &mut ResultSet,
        formats: &Formats,
        rows_max: usize,
    ) -> std::result::Result<Result<usize>, ConnectionError> {
        let options = self.session.format_options();
        let columns = result.columns.clone();
        let names = match self.session.names_for(columns.iter().map(|c| c.ty.ty)) {
            Ok(names) => names,
            Err(error) => return Ok(Err(error)),
        };
        let printer = RowPrinter { columns: &columns, formats, options: &options, names: names.as_ref() };
        let mut sent = 0;
        while sent < rows_max {
            let block = match self.session.fetch(result, ROWS_PER_STEP.min(rows_max - sent)).await {
                Ok(Some(block)) => block,
                Ok(None) => break,
                Err(error) => return Ok(Err(error)),
            };
            for row in 0..block.len() {
                if let Err(error) = put_row(self.connection.output(), &block, row, &printer) {
                    self.session.fail();
                    return Ok(Err(error));
                }
                self.flush_if_full().await?;
            }
            sent += block.len();
        }
        Ok(Ok(sent))
    }
}
