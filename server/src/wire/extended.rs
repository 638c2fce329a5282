//! The extended query protocol: Parse, Bind, Describe, Execute.

use std::sync::Arc;

use stratos_query::eval::from_text;
use stratos_query::result::{ResultSet, StatementResult};
use stratos_query::session::{Company, Portal, PortalState, Prepared, StatementDescription, cannot_run};
use stratos_types::{Datum, Error, ErrorKind, PgType, Result, utf8};

use super::connection::ConnectionError;
use super::copy::CopyState;
use super::encode::{
    Bare, Format, Formats, put_bare, put_command_complete, put_parameter_description, put_row_description,
};
use super::frame::{Bind, Object};
use super::serve::Client;

fn declared(oids: &[u32]) -> Result<Vec<Option<PgType>>> {
    oids.iter()
        .map(|oid| match oid {
            0 => Ok(None),
            // `unknown` says as little as nothing.
            705 => Ok(None),
            oid => PgType::from_oid(*oid).map(Some).ok_or_else(|| missing(*oid)),
        })
        .collect()
}

/// Types of PostgreSQL 15 that are not here and that drivers know: the type's OID, its array's, and the name.
/// Source: <https://github.com/postgres/postgres/blob/REL_15_STABLE/src/include/catalog/pg_type.dat>.
const NOT_HERE: &[(u32, u32, &str)] = &[
    (27, 1010, "tid"),
    (142, 143, "xml"),
    (600, 1017, "point"),
    (601, 1018, "lseg"),
    (602, 1019, "path"),
    (603, 1020, "box"),
    (604, 1027, "polygon"),
    (628, 629, "line"),
    (650, 651, "cidr"),
    (718, 719, "circle"),
    (774, 775, "macaddr8"),
    (790, 791, "money"),
    (829, 1040, "macaddr"),
    (869, 1041, "inet"),
    (1560, 1561, "bit"),
    (1562, 1563, "bit varying"),
    (1790, 2201, "refcursor"),
    (3220, 3221, "pg_lsn"),
    (3614, 3643, "tsvector"),
    (3615, 3645, "tsquery"),
    (3904, 3905, "int4range"),
    (3906, 3907, "numrange"),
    (3908, 3909, "tsrange"),
    (3910, 3911, "tstzrange"),
    (3912, 3913, "daterange"),
    (3926, 3927, "int8range"),
    (4072, 4073, "jsonpath"),
    (4451, 6150, "int4multirange"),
    (4532, 6151, "nummultirange"),
    (4533, 6152, "tsmultirange"),
    (4534, 6153, "tstzmultirange"),
    (4535, 6155, "datemultirange"),
    (4536, 6157, "int8multirange"),
];

/// That there is no type with an OID: 0A000 for one of PostgreSQL's, else 42704.
fn missing(oid: u32) -> Error {
    match NOT_HERE.iter().find(|(scalar, array, _)| oid == *scalar || oid == *array) {
        Some((scalar, _, name)) if oid == *scalar => Error::unsupported(format!("type {name}")),
        Some((_, _, name)) => Error::unsupported(format!("type {name}[]")),
        None => Error::new(ErrorKind::UndefinedObject, format!("type with OID {oid} does not exist")),
    }
}

impl Client {
    pub(super) async fn parse(&mut self, name: &str, sql: &str, types: &[u32]) -> Result<()> {
        if name.is_empty() {
            self.session.close_prepared("");
        }
        self.session.prepare(name, sql, declared(types)?).await
    }

    pub(super) async fn bind(&mut self, bind: Bind<'_>) -> Result<()> {
        let statement = bind.statement;
        let prepared = self.session.prepared(statement)?;
        let given = bind.parameters.len();
        Formats::check_parameters(&bind.parameter_formats, given)?;
        let check_number = |required: usize| {
            let wrong = || {
                format!(
                    "bind message supplies {given} parameters, but prepared statement \"{statement}\" requires {required}"
                )
            };
            if given == required { Ok(()) } else { Err(Error::new(ErrorKind::ProtocolViolation, wrong())) }
        };
        if let Some(required) = prepared.parameters() {
            check_number(required)?;
        }
        self.session.refuse_bind_if_failed(&prepared)?;
        let StatementDescription { params: types, columns } = self.session.describe(&prepared).await?;
        check_number(types.len())?;
        if !bind.portal.is_empty() {
            self.session.refuse_taken_name(bind.portal)?;
        }
        let checked = self.values(&bind, &types).and_then(|params| match &columns {
            Some(columns) => Formats::check_columns(&bind.result_formats, columns.len()).map(|()| params),
            None => Ok(params),
        });
        let name = bind.portal.to_owned();
        match checked {
            Ok(params) => {
                let (result_formats, state) = (bind.result_formats, PortalState::Bound);
                self.session.open_portal(name, Portal { prepared, params, result_formats, columns, state })
            }
            Err(error) => {
                // As Postgres does, it leaves one that runs nothing, in the place of an earlier one.
                self.session.open_portal(name, Portal::of_nothing())?;
                Err(error)
            }
        }
    }

    /// The values of a statement's parameters.
    fn values(&mut self, bind: &Bind<'_>, types: &[PgType]) -> Result<Vec<Datum>> {
        let formats = Formats::from_codes(&bind.parameter_formats)?;
        let options = self.session.format_options();
        let names = self.session.names_for(types.iter().copied())?;
        let value = |at: usize, ty: PgType, bytes: &[u8]| match formats.of(at) {
            Format::Binary => Datum::from_binary_parameter(ty, bytes, at + 1),
            Format::Text => match (&names, utf8(bytes)?) {
                (Some(names), text) => from_text(names, ty.into(), text),
                (None, text) => Datum::from_text(ty.into(), text, &options),
            },
        };
        let given = bind.parameters.iter().zip(types).enumerate();
        given.map(|(at, (bytes, ty))| bytes.map_or(Ok(Datum::Null), |bytes| value(at, *ty, bytes))).collect()
    }

    /// Types of a statement's parameters and columns. In a failed block only what gives no rows is described, as nothing looks
    /// into the catalog then.
    async fn description(&mut self, prepared: &Arc<Prepared>) -> Result<StatementDescription> {
        let description = self.session.describe(prepared).await?;
        if description.columns.is_some() {
            self.session.refuse_if_failed(prepared)?;
        }
        Ok(description)
    }

    pub(super) async fn describe(&mut self, object: Object<'_>) -> std::result::Result<Result<()>, ConnectionError> {
        let described = match object {
            Object::Statement(name) => match self.session.prepared(name) {
                Ok(prepared) => self.description(&prepared).await.map(|d| (d, None)),
                Err(error) => Err(error),
            },
            Object::Portal(name) => match self.session.portal(name) {
                None => {
                    self.session.describe_cursor(name).map(|(d, codes)| (d, Some(codes))).map_err(|_| no_portal(name))
                }
                Some(portal) => {
                    let (columns, codes) = (portal.columns.clone(), portal.result_formats.clone());
                    let refused = columns.as_ref().and_then(|_| self.session.refuse_if_failed(&portal.prepared).err());
                    match refused {
                        Some(error) => Err(error),
                        None => Ok((StatementDescription { params: Arc::default(), columns }, Some(codes))),
                    }
                }
            },
        };
        let (description, codes) = match described {
            Ok(described) => described,
            Err(error) => return Ok(Err(error)),
        };
        if codes.is_none()
            && let Err(error) = put_parameter_description(self.connection.output(), &description.params)
        {
            return Ok(Err(error));
        }
        let Some(columns) = description.columns else {
            put_bare(self.connection.output(), Bare::NoData);
            return Ok(Ok(()));
        };
        let formats = Formats::from_codes(&codes.unwrap_or_default());
        Ok(formats.and_then(|formats| put_row_description(self.connection.output(), &columns, &formats)))
    }

    pub(super) async fn execute(&mut self, name: &str, rows_max: i32) -> std::result::Result<(), ConnectionError> {
        let rows_max = usize::try_from(rows_max).ok().filter(|n| *n > 0).unwrap_or(usize::MAX);
        // The portal is taken out while it runs, so that the session can be used with it.
        let Some((mut portal, number)) = self.session.take_portal(name) else {
            if self.session.has_cursor(name) {
                return self.execute_cursor(name, rows_max).await;
            }
            return self.refuse(no_portal(name)).await;
        };
        let company = if self.executed { Company::Pipeline } else { Company::None };
        self.executed = true;
        let told = self.execute_portal(name, &mut portal, rows_max, company).await?;
        self.session.return_portal(name, portal, number);
        match told {
            Ok(()) => Ok(()),
            Err(error) => self.refuse(error).await,
        }
    }

    async fn execute_cursor(&mut self, name: &str, rows_max: usize) -> std::result::Result<(), ConnectionError> {
        let told = match self.session.execute_cursor(name, rows_max).await {
            Ok(mut rows) => match Formats::from_codes(&self.session.cursor_formats(name)) {
                Ok(formats) => match self.send_rows(&mut rows, &formats, usize::MAX).await? {
                    Ok(sent) => {
                        self.tell_notices()?;
                        self.tell_end_of_rows(&rows, sent, sent == rows_max)?;
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        match told {
            Ok(()) => Ok(()),
            Err(error) => self.refuse(error).await,
        }
    }

    /// As many rows were sent as were asked for, or all. The tag counts the rows of this Execute, as Postgres's does.
    fn tell_end_of_rows(
        &mut self,
        rows: &ResultSet,
        sent: usize,
        suspended: bool,
    ) -> std::result::Result<(), ConnectionError> {
        if suspended {
            put_bare(self.connection.output(), Bare::PortalSuspended);
            return Ok(());
        }
        put_command_complete(self.connection.output(), rows.command_tag(sent as u64))
    }

    async fn execute_portal(
        &mut self,
        name: &str,
        portal: &mut Portal,
        rows_max: usize,
        company: Company,
    ) -> std::result::Result<Result<()>, ConnectionError> {
        // Before anything runs. What gives no rows has no formats.
        let formats = match Formats::from_codes(&portal.result_formats) {
            Ok(formats) => formats,
            Err(error) if portal.columns.is_some() => return Ok(Err(error)),
            Err(_) => Formats::All(Format::Text),
        };
        let mut result = match std::mem::replace(&mut portal.state, PortalState::Done) {
            PortalState::Open(result) => {
                if let Err(error) = self.session.resume(&portal.prepared) {
                    return Ok(Err(error));
                }
                result
            }
            PortalState::Done => {
                let refused = self.session.refuse_if_failed(&portal.prepared).err();
                return Ok(Err(refused.unwrap_or_else(|| cannot_run(name))));
            }
            PortalState::Bound => {
                let params = std::mem::take(&mut portal.params);
                match self.session.run(&portal.prepared, params, company).await {
                    Err(error) => return Ok(Err(error)),
                    Ok(StatementResult::Rows(result)) => Box::new(result),
                    Ok(StatementResult::Done(tag)) => {
                        self.tell_notices()?;
                        put_command_complete(self.connection.output(), &tag)?;
                        return Ok(Ok(()));
                    }
                    Ok(StatementResult::Empty) => {
                        // Nothing can be run as often as one likes.
                        portal.state = PortalState::Bound;
                        put_bare(self.connection.output(), Bare::EmptyQueryResponse);
                        return Ok(Ok(()));
                    }
                    Ok(StatementResult::CopyOut(copy)) => return Box::pin(self.send_copy_out(copy)).await,
                    Ok(StatementResult::CopyIn(copy)) => {
                        self.start_copy_in(CopyState::extended(*copy))?;
                        return Ok(Ok(()));
                    }
                }
            }
        };
        let sent = match self.send_rows(&mut result, &formats, rows_max).await? {
            Ok(sent) => sent,
            Err(error) => return Ok(Err(error)),
        };
        self.tell_notices()?;
        self.tell_end_of_rows(&result, sent, sent == rows_max)?;
        if sent < rows_max {
            // There are no more, however often one asks.
            result.stop();
        }
        portal.state = PortalState::Open(result);
        Ok(Ok(()))
    }
}

fn no_portal(name: &str) -> Error {
    Error::new(ErrorKind::InvalidCursorName, format!("portal \"{name}\" does not exist"))
}
