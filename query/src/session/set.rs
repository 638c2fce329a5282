//! SET, RESET and SHOW.

use std::sync::Arc;

use sqlparser::ast::{
    self, ContextModifier, DataType, DateTimeField, Expr as AstExpr, Ident, IntervalFields, ObjectName, Set,
    SetSessionAuthorizationParam, SetSessionAuthorizationParamKind, Value,
};
use stratos_types::{Datum, Error, ErrorKind, FormatOptions, Result};

use super::block::{Modes, modes};
use super::context::Host;
use super::session::Session;
use super::setting_table::takes_names;
use super::setting_value::{quote_if_needed, zone_of_interval};
use super::transaction::{Company, Level};
use super::utility::{done, fold, text_column};
use crate::binder::{column_type, cut_name};
use crate::result::{ResultSet, StatementResult};

pub(super) fn setting_name(name: &ObjectName) -> String {
    let parts: Vec<String> = name.0.iter().filter_map(|p| p.as_ident()).map(|i| i.value.clone()).collect();
    parts.join(".")
}

pub(super) fn show_name(variable: &[Ident]) -> String {
    let words: Vec<String> = variable.iter().map(|i| i.value.to_lowercase()).collect();
    match words.join(" ").as_str() {
        "transaction isolation level" => "transaction_isolation".to_owned(),
        "session authorization" => "session_authorization".to_owned(),
        "time zone" => "timezone".to_owned(),
        // `a.b` comes as two words from the parser.
        other => other.replace(' ', "."),
    }
}

/// Postgres names the column by the setting's own spelling.
pub(super) fn shown_as(name: &str) -> String {
    match name {
        "timezone" => "TimeZone".to_owned(),
        "datestyle" => "DateStyle".to_owned(),
        "intervalstyle" => "IntervalStyle".to_owned(),
        other => other.to_owned(),
    }
}

/// The value of a SET as text; `None` is DEFAULT.
fn setting_value(name: &str, values: &[AstExpr]) -> Result<Option<String>> {
    // Each value of a list of names is one name, whatever is in it.
    let names = takes_names(name);
    let mut parts = Vec::with_capacity(values.len());
    for value in values {
        if names && let Some(name) = one_name(value) {
            parts.push(quote_if_needed(&name));
            continue;
        }
        parts.push(match value {
            AstExpr::Identifier(ident)
                if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default") =>
            {
                return Ok(None);
            }
            AstExpr::Identifier(ident) if ident.quote_style.is_some() => {
                if values.len() > 1 {
                    format!("\"{}\"", ident.value.replace('"', "\"\""))
                } else {
                    ident.value.clone()
                }
            }
            AstExpr::Identifier(ident) => ident.value.clone(),
            AstExpr::CompoundIdentifier(parts) => parts.iter().map(|i| i.value.clone()).collect::<Vec<_>>().join("."),
            AstExpr::Value(value) => literal(&value.value)?,
            AstExpr::UnaryOp { op, expr } => match expr.as_ref() {
                AstExpr::Value(value) => format!("{op}{}", literal(&value.value)?),
                _ => return Err(bad_value(value)),
            },
            AstExpr::TypedString(typed) => literal(&typed.value.value)?,
            _ => return Err(bad_value(value)),
        });
    }
    Ok(Some(parts.join(", ")))
}

/// A name in a list of names; none for DEFAULT and what is no name.
fn one_name(value: &AstExpr) -> Option<String> {
    match value {
        AstExpr::Identifier(ident) if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default") => {
            None
        }
        AstExpr::Identifier(ident) => Some(fold(ident)),
        AstExpr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Some(text.clone()),
            Value::DollarQuotedString(text) => Some(text.value.clone()),
            _ => None,
        },
        _ => None,
    }
}

/// The time zone that is so far east. Only hours and minutes may be named as the fields of the interval.
fn zone_of(interval: &ast::Interval, format: &FormatOptions) -> Result<String> {
    let fields = match (&interval.leading_field, &interval.last_field) {
        (None, None) => None,
        (Some(DateTimeField::Hour), None) => Some(IntervalFields::Hour),
        (Some(DateTimeField::Minute), None) => Some(IntervalFields::Minute),
        (Some(DateTimeField::Hour), Some(DateTimeField::Minute)) => Some(IntervalFields::HourToMinute),
        _ => {
            let message = "time zone interval must be HOUR or HOUR TO MINUTE";
            return Err(Error::new(ErrorKind::SyntaxError, message));
        }
    };
    let AstExpr::Value(value) = interval.value.as_ref() else { return Err(bad_value(&interval.value)) };
    let ty = column_type(&DataType::Interval { fields, precision: interval.fractional_seconds_precision })?;
    match Datum::from_text(ty, &literal(&value.value)?, format)? {
        Datum::Interval(east) => zone_of_interval(&east, format),
        _ => Err(Error::internal("an interval of another type")),
    }
}

fn bad_value(value: &AstExpr) -> Error {
    Error::new(ErrorKind::SyntaxError, format!("SET takes constants only, not \"{value}\""))
}

fn literal(value: &Value) -> Result<String> {
    match value {
        Value::Number(text, _) => Ok(text.clone()),
        Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) | Value::DoubleQuotedString(text) => {
            Ok(text.clone())
        }
        Value::DollarQuotedString(text) => Ok(text.value.clone()),
        Value::Boolean(on) => Ok(if *on { "on" } else { "off" }.to_owned()),
        Value::Null => Err(Error::new(ErrorKind::InvalidParameterValue, "NULL is not a value of a setting")),
        other => Err(Error::new(ErrorKind::SyntaxError, format!("unexpected value {other}"))),
    }
}

/// Settings that are of the running transaction.
pub(super) const TRANSACTION_SETTINGS: [&str; 3] =
    ["transaction_isolation", "transaction_read_only", "transaction_deferrable"];

/// Has no value of its own to show or to go back to.
pub(super) const SEED: &str = "seed";

impl Session {
    pub(super) fn set(&mut self, set: &Set, text: &str, company: Company) -> Result<StatementResult> {
        match set {
            Set::SingleAssignment { scope, hivevar, variable, values } => {
                if *hivevar || matches!(scope, Some(ContextModifier::Global)) {
                    return Err(Error::unsupported("SET GLOBAL"));
                }
                let local = matches!(scope, Some(ContextModifier::Local));
                let name = setting_name(variable);
                let (value, lower) = (setting_value(&name, values)?, name.to_ascii_lowercase());
                match TRANSACTION_SETTINGS.contains(&lower.as_str()) {
                    true => self.assign_to_transaction(&lower, value, company)?,
                    false => self.assign(&name, value, local.then_some(company))?,
                }
            }
            Set::SetTimeZone { local, value } => {
                let value = match value {
                    AstExpr::Interval(interval) => {
                        let format = self.shared.settings.lock().format().clone();
                        Some(zone_of(interval, &format)?)
                    }
                    value => setting_value("TimeZone", std::slice::from_ref(value))?,
                };
                self.assign("TimeZone", value, local.then_some(company))?;
            }
            Set::SetNames { charset_name, collation_name: None } => {
                self.assign("client_encoding", Some(charset_name.value.clone()), None)?;
            }
            Set::SetNamesDefault {} => self.assign("client_encoding", None, None)?,
            Set::SetTransaction { modes: wanted, snapshot: None, session: true } => {
                let wanted = modes(wanted, text)?;
                if let Some(level) = wanted.level {
                    self.assign("default_transaction_isolation", Some(level.name().into()), None)?;
                }
                if let Some(deferrable) = wanted.deferrable {
                    let value = if deferrable { "on" } else { "off" };
                    self.assign("default_transaction_deferrable", Some(value.into()), None)?;
                }
                if let Some(read_only) = wanted.read_only {
                    let value = if read_only { "on" } else { "off" };
                    self.assign("default_transaction_read_only", Some(value.into()), None)?;
                }
            }
            Set::SetTransaction { modes: wanted, snapshot: None, session: false } => {
                self.set_transaction(modes(wanted, text)?, company)?;
            }
            Set::SetRole {
                context_modifier: scope @ (None | Some(ContextModifier::Local | ContextModifier::Session)),
                role_name,
            } => {
                if matches!(scope, Some(ContextModifier::Local)) {
                    self.warn_of_local(company);
                }
                if let Some(name) = role_name.as_ref().map(fold).filter(|name| name != "none") {
                    self.must_be_user(&name, "SET ROLE")?;
                }
            }
            Set::SetSessionAuthorization(SetSessionAuthorizationParam { scope, kind }) => {
                if matches!(scope, ContextModifier::Local) {
                    self.warn_of_local(company);
                }
                if let SetSessionAuthorizationParamKind::User(name) = kind {
                    self.must_be_user(&fold(name), "SET SESSION AUTHORIZATION")?;
                }
            }
            other => return Err(Error::unsupported(format_args!("SET in the form \"{other}\""))),
        }
        done("SET")
    }

    fn warn_of_local(&mut self, company: Company) {
        self.warn_outside_block("SET LOCAL", company);
    }

    /// RESET of what only a transaction block has.
    pub(super) fn warn_of_reset(&mut self, company: Company) {
        self.warn_outside_block("RESET TRANSACTION", company);
    }

    fn warn_outside_block(&mut self, statement: &str, company: Company) {
        if !self.shares_block(company) {
            let message = format!("{statement} can only be used in transaction blocks");
            self.warning(ErrorKind::NoActiveSqlTransaction, message);
        }
    }

    /// A session acts as the role that logged in, and as no other.
    fn must_be_user(&mut self, name: &str, statement: &str) -> Result<()> {
        if name == self.shared.user {
            return Ok(());
        }
        if self.current_catalog()?.role_named(name).is_none() {
            return Err(Error::new(ErrorKind::InvalidParameterValue, format!("role \"{name}\" does not exist")));
        }
        Err(Error::unsupported(format_args!("{statement} to another role")))
    }

    /// `SET transaction_isolation` and its like.
    fn assign_to_transaction(&mut self, lower: &str, value: Option<String>, company: Company) -> Result<()> {
        let value = value.ok_or_else(|| {
            Error::new(ErrorKind::CantChangeRuntimeParam, format!("parameter \"{lower}\" cannot be reset"))
        })?;
        let mut wanted = Modes::default();
        if lower == "transaction_isolation" {
            let mut scratch = super::Settings::default();
            scratch.set("default_transaction_isolation", &value)?;
            wanted.level = Some(Level::named(&scratch.show("default_transaction_isolation")?));
        } else {
            let parsed = super::setting_value::parse_bool(&value).ok_or_else(|| {
                Error::new(ErrorKind::InvalidParameterValue, format!("parameter \"{lower}\" requires a Boolean value"))
            })?;
            match lower {
                "transaction_read_only" => wanted.read_only = Some(parsed),
                _ => wanted.deferrable = Some(parsed),
            }
        }
        self.set_transaction(wanted, company)
    }

    /// `local` says that it is SET LOCAL, and in what company.
    fn assign(&mut self, name: &str, value: Option<String>, local: Option<Company>) -> Result<()> {
        let lower = name.to_ascii_lowercase();
        if let Some(company) = local {
            self.warn_of_local(company);
        }
        if lower == SEED {
            return match value {
                None => Ok(()),
                Some(value) => self.seed(&value),
            };
        }
        if let Some(value) = value.as_ref().filter(|_| lower == "application_name")
            && cut_name(value) != value
        {
            let message = format!("identifier \"{value}\" will be truncated to \"{}\"", cut_name(value));
            self.warning(ErrorKind::NameTooLong, message);
        }
        // Taken back when the transaction is.
        self.ensure_block();
        let mut settings = self.shared.settings.lock();
        match value {
            None => settings.reset(name),
            Some(value) if local.is_some() => settings.set_local(name, &value),
            Some(value) => settings.set(name, &value),
        }
    }

    /// SET SEED, which is `setseed`.
    fn seed(&mut self, value: &str) -> Result<()> {
        let wrong = |message: String| Error::new(ErrorKind::InvalidParameterValue, message);
        let seed: f64 =
            value.trim().parse().map_err(|_| wrong(format!("invalid value for parameter \"seed\": \"{value}\"")))?;
        if !(-1.0..=1.0).contains(&seed) {
            return Err(wrong(format!("{value} is outside the valid range for parameter \"seed\" (-1 .. 1)")));
        }
        self.shared.seed_random(seed);
        Ok(())
    }

    pub(super) fn show(&mut self, name: &str) -> Result<StatementResult> {
        if name == "all" {
            let settings = self.shared.settings.lock().all();
            let rows = settings
                .into_iter()
                .map(|(name, value, about)| vec![Datum::text(name), Datum::text(value), Datum::text(about)])
                .collect();
            let columns = ["name", "setting", "description"].map(text_column);
            return Ok(StatementResult::Rows(ResultSet::from_rows(Arc::new(columns), "SHOW", rows)));
        }
        let value = match name {
            SEED => "unavailable".to_owned(),
            name if TRANSACTION_SETTINGS.contains(&name) => {
                let block = self.block.as_ref().map(|block| block.characteristics());
                let characteristics = block.unwrap_or_else(|| self.shared.settings.lock().characteristics());
                characteristics.shown(name).unwrap_or_default().to_owned()
            }
            "role" => "none".to_owned(),
            "session_authorization" => self.shared.user.clone(),
            _ => self.shared.settings.lock().show(name)?,
        };
        let columns = Arc::new([text_column(&shown_as(name))]);
        Ok(StatementResult::Rows(ResultSet::from_rows(columns, "SHOW", vec![vec![Datum::text(value)]])))
    }
}
