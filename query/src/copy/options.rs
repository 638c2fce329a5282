//! Options of COPY.

use sqlparser::ast::Ident;
use stratos_types::{Error, ErrorKind, Result};

/// An option as it is written.
#[derive(Debug, Clone)]
pub struct CopyOption {
    /// Name in lower case.
    pub name: String,
    /// Value, if one is given.
    pub value: Option<String>,
    /// Columns, if a list is given; `*` for all.
    pub columns: Vec<Ident>,
    /// Where it stands in the query string, characters from 1.
    pub place: Option<usize>,
}

/// The format of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum CopyFormat {
    Text,
    Csv,
    Binary,
}

/// What a COPY statement asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOptions {
    /// Format.
    pub format: CopyFormat,
    /// Between fields.
    pub delimiter: u8,
    /// How NULL is written.
    pub null: String,
    /// The first line names the columns.
    pub header: bool,
    /// In: it must name them as they are.
    pub header_matches: bool,
    /// CSV: around fields.
    pub quote: u8,
    /// CSV: before a quote inside quotes.
    pub escape: u8,
    /// CSV out: columns always quoted; all for `*`.
    pub force_quote: Vec<String>,
    /// CSV in: columns whose unquoted NULL string is not NULL.
    pub force_not_null: Vec<String>,
    /// CSV in: columns whose quoted NULL string is NULL.
    pub force_null: Vec<String>,
}

impl CopyOption {
    /// One that stands outside a list.
    pub fn plain(name: &str, value: &str) -> CopyOption {
        CopyOption { name: name.to_owned(), value: Some(value.to_owned()), columns: Vec::new(), place: None }
    }

    /// The columns that it names.
    fn names(&self) -> Result<Vec<String>> {
        // Only of quotes may the star say that all columns have them.
        let is_star = |i: &Ident| i.quote_style.is_none() && i.value == "*";
        if self.columns.is_empty() || self.name != "force_quote" && self.columns.iter().any(is_star) {
            let message = format!("argument to option \"{}\" must be a list of column names", self.name);
            return Err(self.at(Error::new(ErrorKind::InvalidParameterValue, message)));
        }
        let name = |i: &Ident| if i.quote_style.is_some() { i.value.clone() } else { i.value.to_lowercase() };
        Ok(self.columns.iter().map(name).collect())
    }

    fn at(&self, error: Error) -> Error {
        match self.place {
            Some(position) => error.at(position),
            None => error,
        }
    }
}

fn one_byte(value: &str, option: &str) -> Result<u8> {
    match value.as_bytes() {
        [byte] => Ok(*byte),
        _ => Err(Error::new(
            ErrorKind::FeatureNotSupported,
            format!("COPY {option} must be a single one-byte character"),
        )),
    }
}

/// Options as written, before defaults.
#[derive(Default)]
struct Written {
    format: Option<CopyFormat>,
    delimiter: Option<u8>,
    null: Option<String>,
    header: bool,
    header_matches: bool,
    quote: Option<u8>,
    escape: Option<u8>,
    force_quote: Vec<String>,
    force_not_null: Vec<String>,
    force_null: Vec<String>,
}

impl CopyOptions {
    /// Reads the options of a statement.
    ///
    /// # Errors
    /// 22023 and 42601 for values that cannot be, 0A000 for what is not supported.
    pub fn new(options: &[CopyOption], to: bool) -> Result<CopyOptions> {
        let mut written = Written::default();
        let mut seen: Vec<&str> = Vec::new();
        for option in options {
            if seen.contains(&option.name.as_str()) {
                return Err(option.at(Error::new(ErrorKind::SyntaxError, "conflicting or redundant options")));
            }
            seen.push(&option.name);
            written.option(option)?;
        }
        written.complete(to)
    }
}

impl Written {
    fn option(&mut self, option: &CopyOption) -> Result<()> {
        let name = option.name.as_str();
        let value = || {
            option
                .value
                .as_deref()
                .ok_or_else(|| Error::new(ErrorKind::SyntaxError, format!("{name} requires a parameter")))
        };
        let boolean = || match option.value.as_deref() {
            None => Ok(true),
            Some(text) => crate::session::parse_bool(text)
                .ok_or_else(|| Error::new(ErrorKind::SyntaxError, format!("{name} requires a Boolean value"))),
        };
        match name {
            "format" => {
                self.format = Some(match value()?.to_lowercase().as_str() {
                    "text" => CopyFormat::Text,
                    "csv" => CopyFormat::Csv,
                    "binary" => CopyFormat::Binary,
                    other => {
                        return Err(option.at(Error::new(
                            ErrorKind::InvalidParameterValue,
                            format!("COPY format \"{other}\" not recognized"),
                        )));
                    }
                });
            }
            // Rows need no freezing here: visibility is by timestamp.
            "freeze" => {
                boolean()?;
            }
            "delimiter" => self.delimiter = Some(one_byte(value()?, "delimiter")?),
            "null" => self.null = Some(value()?.to_owned()),
            "header" => {
                self.header_matches = option.value.as_deref().is_some_and(|value| value.eq_ignore_ascii_case("match"));
                self.header = self.header_matches
                    || boolean().map_err(|_| {
                        Error::new(ErrorKind::SyntaxError, "header requires a Boolean value or \"match\"")
                    })?;
            }
            "quote" => self.quote = Some(one_byte(value()?, "quote")?),
            "escape" => self.escape = Some(one_byte(value()?, "escape")?),
            "force_quote" => self.force_quote = option.names()?,
            "force_not_null" => self.force_not_null = option.names()?,
            "force_null" => self.force_null = option.names()?,
            "encoding" => match crate::encodings::plain(value()?).as_str() {
                "utf8" | "unicode" => {}
                plain if plain == "sqlascii" || crate::encodings::is_known(plain) => {
                    let other = value()?.to_lowercase();
                    return Err(Error::unsupported(format_args!("COPY encoding \"{other}\"")));
                }
                _ => {
                    let message = "argument to option \"encoding\" must be a valid encoding name";
                    return Err(option.at(Error::new(ErrorKind::InvalidParameterValue, message)));
                }
            },
            other => {
                let message = format!("option \"{other}\" not recognized");
                return Err(option.at(Error::new(ErrorKind::SyntaxError, message)));
            }
        }
        Ok(())
    }

    fn complete(self, to: bool) -> Result<CopyOptions> {
        let refuse = |message: &str| Err(Error::new(ErrorKind::FeatureNotSupported, message));
        let invalid = |message: &str| Err(Error::new(ErrorKind::InvalidParameterValue, message));
        let format = self.format.unwrap_or(CopyFormat::Text);
        if format == CopyFormat::Binary {
            if self.delimiter.is_some() {
                return Err(Error::new(ErrorKind::SyntaxError, "cannot specify DELIMITER in BINARY mode"));
            }
            if self.null.is_some() {
                return Err(Error::new(ErrorKind::SyntaxError, "cannot specify NULL in BINARY mode"));
            }
            if self.header {
                return refuse("cannot specify HEADER in BINARY mode");
            }
        }
        if format != CopyFormat::Csv {
            if self.quote.is_some() {
                return refuse("COPY quote available only in CSV mode");
            }
            if self.escape.is_some() {
                return refuse("COPY escape available only in CSV mode");
            }
            for (columns, what) in
                [(&self.force_quote, "quote"), (&self.force_not_null, "not null"), (&self.force_null, "null")]
            {
                if !columns.is_empty() {
                    return refuse(&format!("COPY force {what} available only in CSV mode"));
                }
            }
        }
        if to && self.header_matches {
            return refuse("cannot use \"match\" with HEADER in COPY TO");
        }
        if !to && !self.force_quote.is_empty() {
            return refuse("COPY force quote only available using COPY TO");
        }
        for (columns, what) in [(&self.force_not_null, "not null"), (&self.force_null, "null")] {
            if to && !columns.is_empty() {
                return refuse(&format!("COPY force {what} only available using COPY FROM"));
            }
        }
        let delimiter = self.delimiter.unwrap_or(if format == CopyFormat::Csv { b',' } else { b'\t' });
        let null =
            self.null.unwrap_or_else(|| if format == CopyFormat::Csv { String::new() } else { "\\N".to_owned() });
        if delimiter == b'\n' || delimiter == b'\r' {
            return invalid("COPY delimiter cannot be newline or carriage return");
        }
        if null.contains(['\n', '\r']) {
            return invalid("COPY null representation cannot use newline or carriage return");
        }
        if format == CopyFormat::Text && b"\\.abcdefghijklmnopqrstuvwxyz0123456789".contains(&delimiter) {
            return invalid(&format!("COPY delimiter cannot be \"{}\"", char::from(delimiter)));
        }
        let quote = self.quote.unwrap_or(b'"');
        if format == CopyFormat::Csv && quote == delimiter {
            return invalid("COPY delimiter and quote must be different");
        }
        if null.as_bytes().contains(&delimiter) {
            return refuse("COPY delimiter must not appear in the NULL specification");
        }
        if format == CopyFormat::Csv && null.as_bytes().contains(&quote) {
            return refuse("CSV quote character must not appear in the NULL specification");
        }
        Ok(CopyOptions {
            format,
            delimiter,
            null,
            header: self.header,
            header_matches: self.header_matches,
            quote,
            escape: self.escape.unwrap_or(quote),
            force_quote: self.force_quote,
            force_not_null: self.force_not_null,
            force_null: self.force_null,
        })
    }
}
