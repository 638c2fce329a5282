//! The extended query protocol: Parse, Bind, Describe, Execute.

use std::sync::Arc;

use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::{Bind, Describe, Execute, Parse, PortalSuspended};
use pgwire::messages::response::EmptyQueryResponse;
use stratos_query::eval::from_text;
use stratos_query::result::{ResultSet, StatementResult};
use stratos_query::session::{Prepared, TransactionStatus};
use stratos_types::{ColumnType, Datum, Error, ErrorKind, PgType, Result, utf8};

use super::connection::ConnectionError;
use super::copy::CopyState;
use super::encode::{Format, Formats, command_complete, put_row_description};
use super::serve::Client;

/// Portals that one session may have open.
const PORTALS_MAX: usize = 10_000;

/// A bound statement, run or not yet.
pub struct Portal {
    prepared: Arc<Prepared>,
    params: Vec<Datum>,
    result_formats: Vec<i16>,
    state: State,
}

enum State {
    Bound,
    /// Rows are left, perhaps.
    Open(Box<ResultSet>),
    /// Everything was given out.
    Finished,
}

fn declared(oids: &[u32]) -> Result<Vec<Option<PgType>>> {
    oids.iter()
        .map(|oid| match oid {
            0 => Ok(None),
            // `unknown` says as little as nothing.
            705 => Ok(None),
            oid => PgType::from_oid(*oid)
                .map(Some)
                .ok_or_else(|| Error::new(ErrorKind::UndefinedObject, format!("type with OID {oid} does not exist"))),
        })
        .collect()
}

impl Client {
    pub(super) async fn parse(&mut self, parse: Parse) -> Result<()> {
        let name = parse.name.unwrap_or_default();
        if name.is_empty() {
            self.session.close_prepared("");
        }
        self.session.prepare(&name, &parse.query, declared(&parse.type_oids)?).await
    }

    pub(super) async fn bind(&mut self, bind: Bind) -> Result<()> {
        let name = bind.portal_name.unwrap_or_default();
        if !name.is_empty() && self.portals.contains_key(&name) {
            return Err(Error::new(ErrorKind::DuplicateCursor, format!("cursor \"{name}\" already exists")));
        }
        if self.portals.len() >= PORTALS_MAX {
            return Err(Error::new(ErrorKind::ConfigurationLimitExceeded, "too many open portals in this session"));
        }
        let statement = bind.statement_name.unwrap_or_default();
        let prepared = self.session.prepared(&statement)?;
        let types = self.session.param_types(&prepared).await?;
        if types.len() != bind.parameters.len() {
            return Err(Error::new(
                ErrorKind::ProtocolViolation,
                format!(
                    "bind message supplies {} parameters, but prepared statement \"{statement}\" requires {}",
                    bind.parameters.len(),
                    types.len()
                ),
            ));
        }
        let param_formats = Formats::new(&bind.parameter_format_codes, types.len(), "parameter")?;
        let options = self.session.format_options();
        let names = self.session.names_for(types.iter().copied())?;
        let mut params = Vec::with_capacity(types.len());
        for (at, (value, ty)) in bind.parameters.iter().zip(types.iter()).enumerate() {
            params.push(match (value, param_formats.of(at)) {
                (None, _) => Datum::Null,
                (Some(bytes), Format::Binary) => Datum::from_binary(*ty, bytes)?,
                (Some(bytes), Format::Text) => {
                    let (ty, text) = (ColumnType::from(*ty), utf8(bytes)?);
                    match &names {
                        Some(names) => from_text(names, ty, text)?,
                        None => Datum::from_text(ty, text, &options)?,
                    }
                }
            });
        }
        let portal = Portal { prepared, params, result_formats: bind.result_column_format_codes, state: State::Bound };
        self.portals.insert(name, portal);
        Ok(())
    }

    pub(super) async fn describe(&mut self, describe: &Describe) -> std::result::Result<Result<()>, ConnectionError> {
        let name = describe.name.clone().unwrap_or_default();
        let described = match describe.target_type {
            b'S' => match self.session.prepared(&name) {
                Ok(prepared) => self.session.describe(&prepared).await.map(|d| (d, None)),
                Err(error) => Err(error),
            },
            _ => match self.portals.get(&name) {
                None => {
                    self.session.describe_cursor(&name).map(|d| (d, Some(Vec::new()))).map_err(|_| no_portal(&name))
                }
                Some(portal) => {
                    let (prepared, codes) = (portal.prepared.clone(), portal.result_formats.clone());
                    self.session.describe(&prepared).await.map(|d| (d, Some(codes)))
                }
            },
        };
        let (description, codes) = match described {
            Ok(described) => described,
            Err(error) => return Ok(Err(error)),
        };
        if codes.is_none() {
            let oids = description.params.iter().map(|ty| ty.oid()).collect();
            self.connection.put(&PgWireBackendMessage::ParameterDescription(ParameterDescription::new(oids)))?;
        }
        let Some(columns) = description.columns else {
            self.connection.put(&PgWireBackendMessage::NoData(NoData::new()))?;
            return Ok(Ok(()));
        };
        let formats = Formats::new(&codes.unwrap_or_default(), columns.len(), "result column");
        Ok(formats.and_then(|formats| put_row_description(self.connection.output(), &columns, &formats)))
    }

    pub(super) async fn execute(&mut self, execute: Execute) -> std::result::Result<(), ConnectionError> {
        let name = execute.name.unwrap_or_default();
        let rows_max = usize::try_from(execute.max_rows).ok().filter(|n| *n > 0).unwrap_or(usize::MAX);
        // The portal is taken out while it runs, so that the session can be used with it.
        let Some(mut portal) = self.portals.remove(&name) else {
            return self.refuse(no_portal(&name)).await;
        };
        let before = self.session.transaction_status();
        let told = self.execute_portal(&mut portal, rows_max).await?;
        if before != TransactionStatus::Idle && self.session.transaction_status() == TransactionStatus::Idle {
            // The block has ended, and its portals with it.
            self.portals.clear();
        } else {
            self.portals.insert(name, portal);
        }
        match told {
            Ok(()) => Ok(()),
            Err(error) => self.refuse(error).await,
        }
    }

    async fn execute_portal(
        &mut self,
        portal: &mut Portal,
        rows_max: usize,
    ) -> std::result::Result<Result<()>, ConnectionError> {
        let mut result = match std::mem::replace(&mut portal.state, State::Finished) {
            State::Open(result) => result,
            State::Finished => {
                // Postgres answers a finished portal of rows with an empty result.
                self.connection.put(&command_complete("SELECT 0".to_owned()))?;
                return Ok(Ok(()));
            }
            State::Bound => {
                let params = std::mem::take(&mut portal.params);
                match self.session.run(&portal.prepared, params, false).await {
                    Err(error) => return Ok(Err(error)),
                    Ok(StatementResult::Rows(result)) => Box::new(result),
                    Ok(StatementResult::Done(tag)) => {
                        self.tell_notices()?;
                        self.connection.put(&command_complete(tag))?;
                        return Ok(Ok(()));
                    }
                    Ok(StatementResult::Empty) => {
                        self.connection.put(&PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new()))?;
                        return Ok(Ok(()));
                    }
                    Ok(StatementResult::CopyOut(copy)) => return Box::pin(self.send_copy_out(copy)).await,
                    Ok(StatementResult::CopyIn(copy)) => {
                        self.start_copy_in(CopyState::extended(copy))?;
                        return Ok(Ok(()));
                    }
                }
            }
        };
        let formats = match Formats::new(&portal.result_formats, result.columns.len(), "result column") {
            Ok(formats) => formats,
            Err(error) => return Ok(Err(error)),
        };
        let sent = match self.send_rows(&mut result, &formats, rows_max).await? {
            Ok(sent) => sent,
            Err(error) => return Ok(Err(error)),
        };
        self.tell_notices()?;
        if sent == rows_max {
            self.connection.put(&PgWireBackendMessage::PortalSuspended(PortalSuspended::new()))?;
            portal.state = State::Open(result);
        } else {
            // The tag counts the rows of this Execute, as Postgres's does.
            self.connection.put(&command_complete(result.command_tag(sent as u64)))?;
        }
        Ok(Ok(()))
    }
}

fn no_portal(name: &str) -> Error {
    Error::new(ErrorKind::InvalidCursorName, format!("portal \"{name}\" does not exist"))
}
