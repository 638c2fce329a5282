//! Rows, errors and notices as messages.

use bytes::{BufMut, BytesMut};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::{ErrorResponse, NoticeResponse};
use pgwire::messages::startup::ParameterStatus;
use stratos_query::ddl::Notice;
use stratos_query::eval::{prints_names, with_names};
use stratos_query::ir::OutputColumn;
use stratos_query::result::RowBlock;
use stratos_query::session::{EvalContext, TransactionStatus};
use stratos_types::{Datum, Error, ErrorKind, FormatOptions, PgType, Result};

use super::connection::ConnectionError;
use crate::sqlstate::{routine, sqlstate};

/// Text or binary form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As people read it.
    Text,
    /// As Postgres's send and receive functions have it.
    Binary,
}

impl Format {
    /// From the protocol's code.
    ///
    /// # Errors
    /// 22023 for an unknown code.
    pub fn from_code(code: i16) -> Result<Format> {
        match code {
            0 => Ok(Format::Text),
            1 => Ok(Format::Binary),
            other => Err(Error::new(ErrorKind::InvalidParameterValue, format!("unsupported format code: {other}"))),
        }
    }

    fn code(self) -> i16 {
        match self {
            Format::Text => 0,
            Format::Binary => 1,
        }
    }
}

/// The formats of a row's columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Formats {
    /// The same for all.
    All(Format),
    /// One for each.
    Each(Vec<Format>),
}

impl Formats {
    /// From a list of none (all text), one (for all) or one for each.
    ///
    /// # Errors
    /// 22023 for an unknown code.
    pub fn from_codes(codes: &[i16]) -> Result<Formats> {
        match codes {
            [] => Ok(Formats::All(Format::Text)),
            [one] => Ok(Formats::All(Format::from_code(*one)?)),
            each => each.iter().map(|code| Format::from_code(*code)).collect::<Result<_>>().map(Formats::Each),
        }
    }

    /// Whether a list can be one of the formats of a number of parameters.
    ///
    /// # Errors
    /// 08P01.
    pub fn check_parameters(codes: &[i16], count: usize) -> Result<()> {
        check_count(codes, count, || format!("{} parameter formats but {count} parameters", codes.len()))
    }

    /// Whether a list can be one of the formats of a number of columns.
    ///
    /// # Errors
    /// 08P01.
    pub fn check_columns(codes: &[i16], count: usize) -> Result<()> {
        check_count(codes, count, || format!("{} result formats but query has {count} columns", codes.len()))
    }

    /// The format of a column.
    pub fn of(&self, column: usize) -> Format {
        match self {
            Formats::All(format) => *format,
            Formats::Each(formats) => formats.get(column).copied().unwrap_or(Format::Text),
        }
    }
}

fn check_count(codes: &[i16], count: usize, wrong: impl FnOnce() -> String) -> Result<()> {
    if codes.len() <= 1 || codes.len() == count {
        return Ok(());
    }
    Err(Error::new(ErrorKind::ProtocolViolation, format!("bind message has {}", wrong())))
}

/// Appends a message of kind `kind` whose content `put` appends.
fn put_message(out: &mut BytesMut, kind: u8, put: impl FnOnce(&mut BytesMut) -> Result<()>) -> Result<()> {
    let start = out.len();
    out.put_u8(kind);
    out.put_i32(0);
    if let Err(error) = put(out) {
        // Half a message would make the rest of the stream unreadable.
        out.truncate(start);
        return Err(error);
    }
    let length = i32::try_from(out.len() - start - 1)
        .map_err(|_| Error::new(ErrorKind::ProgramLimitExceeded, "a row is too long for the protocol"))?;
    out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn put_count(out: &mut BytesMut, columns: usize) -> Result<()> {
    out.put_i16(i16::try_from(columns).map_err(|_| Error::new(ErrorKind::TooManyColumns, "too many columns"))?);
    Ok(())
}

/// Appends a `RowDescription`.
///
/// # Errors
/// More columns than the protocol can say.
pub fn put_row_description(out: &mut BytesMut, columns: &[OutputColumn], formats: &Formats) -> Result<()> {
    put_message(out, b'T', |out| {
        put_count(out, columns.len())?;
        for (at, column) in columns.iter().enumerate() {
            // What clients cannot know as a type of its own is text to them.
            let ty = if column.ty.ty == PgType::Unknown { PgType::Text } else { column.ty.ty };
            let (table, attnum) = column.origin.unwrap_or((0, 0));
            out.put_slice(column.name.as_bytes());
            out.put_u8(0);
            out.put_u32(table);
            out.put_i16(attnum);
            // A whole row has the type of its table, which goes by the table's number.
            out.put_u32(if ty == PgType::Record && table != 0 { table } else { ty.oid() });
            out.put_i16(ty.len());
            out.put_i32(column.ty.typmod);
            out.put_i16(formats.of(at).code());
        }
        Ok(())
    })
}

/// Appends a value with its length in front.
///
/// # Errors
/// A value longer than the protocol can say.
pub fn put_value(out: &mut BytesMut, value: &Datum, ty: PgType, format: Format, options: &FormatOptions) -> Result<()> {
    if value.is_null() {
        out.put_i32(-1);
        return Ok(());
    }
    let start = out.len();
    out.put_i32(0);
    match format {
        Format::Text => value.write_text_bytes(ty, options, out),
        Format::Binary => value.write_binary(ty, out)?,
    }
    let length = i32::try_from(out.len() - start - 4)
        .map_err(|_| Error::new(ErrorKind::ProgramLimitExceeded, "a value is too long for the protocol"))?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// How the rows of a result are printed.
pub struct RowPrinter<'a> {
    /// The columns.
    pub columns: &'a [OutputColumn],
    /// Format of each.
    pub formats: &'a Formats,
    /// How values read in text.
    pub options: &'a FormatOptions,
    /// The catalog, where some columns print names.
    pub names: Option<&'a EvalContext>,
}

/// Appends a `DataRow`.
///
/// # Errors
/// A row longer than the protocol can say.
pub fn put_row(out: &mut BytesMut, block: &RowBlock, row: usize, printer: &RowPrinter<'_>) -> Result<()> {
    let RowPrinter { columns, formats, options, names } = printer;
    put_message(out, b'D', |out| {
        put_count(out, columns.len())?;
        for (at, column) in columns.iter().enumerate() {
            let (ty, format) = (column.ty.ty, formats.of(at));
            if let (Some(names), Format::Text) = (names, format)
                && prints_names(ty)
            {
                put_value(out, &with_names(names, block.datum(row, at, ty)?, ty), ty, Format::Text, options)?;
                continue;
            }
            match block {
                RowBlock::Rows(rows) => put_value(out, &rows[row][at], ty, format, options)?,
                RowBlock::Batch(_) => put_value(out, &block.datum(row, at, ty)?, ty, format, options)?,
            }
        }
        Ok(())
    })
}

/// Characters of a SQLSTATE that name its class.
const SQLSTATE_CLASS: usize = 2;

/// `ErrorResponse` with the fields that Postgres gives.
///
/// Counts it: no error is told to a client in any other way.
pub fn error_response(error: &Error, severity: &str) -> PgWireBackendMessage {
    metrics::counter!("stratos_sql_errors_total", "class" => &sqlstate(error.kind())[..SQLSTATE_CLASS]).increment(1);
    let mut fields = vec![
        (b'S', severity.to_owned()),
        (b'V', severity.to_owned()),
        (b'C', sqlstate(error.kind()).to_owned()),
        (b'M', error.message().to_owned()),
    ];
    let optional = [
        (b'D', error.detail()),
        (b'H', error.hint()),
        (b'W', error.context()),
        (b's', error.schema()),
        (b't', error.table()),
        (b'c', error.column()),
        (b'd', error.data_type()),
        (b'n', error.constraint()),
        (b'R', routine(error)),
    ];
    fields.extend(optional.into_iter().filter_map(|(code, value)| value.map(|v| (code, v.to_owned()))));
    if let Some(position) = error.position() {
        fields.push((b'P', position.to_string()));
    }
    PgWireBackendMessage::ErrorResponse(ErrorResponse::new(fields))
}

/// `NoticeResponse`.
pub fn notice_response(notice: &Notice) -> PgWireBackendMessage {
    let severity = if notice.is_warning() { "WARNING" } else { "NOTICE" };
    let code = notice.kind.map_or("00000", sqlstate);
    let mut fields = vec![
        (b'S', severity.to_owned()),
        (b'V', severity.to_owned()),
        (b'C', code.to_owned()),
        (b'M', notice.message.clone()),
    ];
    if let Some(detail) = &notice.detail {
        fields.push((b'D', detail.clone()));
    }
    PgWireBackendMessage::NoticeResponse(NoticeResponse::new(fields))
}

/// Messages that say nothing but their kind.
#[derive(Debug, Clone, Copy)]
pub enum Bare {
    /// Parse was carried out.
    ParseComplete,
    /// Bind was.
    BindComplete,
    /// Close was.
    CloseComplete,
    /// A statement gives no rows.
    NoData,
    /// There may be more rows.
    PortalSuspended,
    /// There was no statement.
    EmptyQueryResponse,
    /// There are no more rows of a COPY.
    CopyDone,
}

/// Appends a message that says nothing but its kind.
pub fn put_bare(out: &mut BytesMut, message: Bare) {
    let kind = match message {
        Bare::ParseComplete => b'1',
        Bare::BindComplete => b'2',
        Bare::CloseComplete => b'3',
        Bare::NoData => b'n',
        Bare::PortalSuspended => b's',
        Bare::EmptyQueryResponse => b'I',
        Bare::CopyDone => b'c',
    };
    out.put_slice(&[kind, 0, 0, 0, 4]);
}

/// Appends a `CommandComplete`.
///
/// # Errors
/// A tag longer than the protocol can say.
pub fn put_command_complete(
    out: &mut BytesMut,
    tag: impl std::fmt::Display,
) -> std::result::Result<(), ConnectionError> {
    use std::fmt::Write;
    put_message(out, b'C', |out| write!(out, "{tag}\0").map_err(|_| Error::internal("a command tag does not print")))
        .map_err(ConnectionError::Protocol)
}

/// Appends a `ReadyForQuery`.
pub fn put_ready_for_query(out: &mut BytesMut, status: TransactionStatus) {
    let status = match status {
        TransactionStatus::Idle => b'I',
        TransactionStatus::InBlock => b'T',
        TransactionStatus::Failed => b'E',
    };
    out.put_slice(&[b'Z', 0, 0, 0, 5, status]);
}

/// Appends a `ParameterDescription`.
///
/// # Errors
/// More parameters than the protocol can say.
pub fn put_parameter_description(out: &mut BytesMut, params: &[PgType]) -> Result<()> {
    put_message(out, b't', |out| {
        // Unlike columns, there may be 65,535 of them.
        let count = u16::try_from(params.len()).map_err(|_| Error::internal("too many parameters"))?;
        out.put_u16(count);
        params.iter().for_each(|ty| out.put_u32(ty.oid()));
        Ok(())
    })
}

/// `ParameterStatus`.
pub fn parameter_status(name: &str, value: String) -> PgWireBackendMessage {
    PgWireBackendMessage::ParameterStatus(ParameterStatus::new(name.to_owned(), value))
}
