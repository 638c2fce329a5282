//! Session settings: SET, RESET, SHOW.
//!
//! A setting that exists here means what it means in Postgres, or has only the values that are true of this server (a
//! `SET` to another one is refused), so that no client is told that something is on which is not.

use std::collections::BTreeMap;
use std::sync::Arc;

use stratos_replication::Isolation;
use stratos_types::{
    ByteaOutput, DateOrder, DateStyle, Error, ErrorKind, FormatOptions, IntervalStyle, Result, TimeZone,
};

use super::transaction::isolation_from_name;

/// Version that we answer to `SHOW server_version`: the Postgres whose behaviour we follow.
pub const SERVER_VERSION: &str = "15.0";
/// `server_version_num`.
pub const SERVER_VERSION_NUM: &str = "150000";

/// What values a setting takes.
enum Takes {
    Text,
    Bool,
    /// One of these, in lower case.
    OneOf(&'static [&'static str]),
    /// A number between the bounds.
    Integer(i64, i64),
    Real(f64, f64),
    /// Milliseconds, with units; 0 is off.
    Millis,
    /// Kilobytes, with units.
    Kilobytes,
    DateStyle,
    TimeZone,
    SearchPath,
    /// Cannot be set at all; the value is the truth.
    Fixed,
}

struct Setting {
    name: &'static str,
    default: &'static str,
    takes: Takes,
    /// Told to the client by ParameterStatus whenever it changes.
    reported: bool,
    about: &'static str,
}

const fn setting(name: &'static str, default: &'static str, takes: Takes, about: &'static str) -> Setting {
    Setting { name, default, takes, reported: false, about }
}

const fn reported(name: &'static str, default: &'static str, takes: Takes, about: &'static str) -> Setting {
    Setting { name, default, takes, reported: true, about }
}

const ISOLATION_LEVELS: &[&str] = &["read committed", "repeatable read", "serializable", "read uncommitted"];

#[rustfmt::skip]
static SETTINGS: &[Setting] = &[
    reported("application_name", "", Takes::Text, "Sets the application name to be reported in statistics and logs."),
    setting("backslash_quote", "safe_encoding", Takes::OneOf(&["safe_encoding", "on", "off"]), "Sets whether \"\\'\" is allowed in string literals."),
    setting("bytea_output", "hex", Takes::OneOf(&["hex", "escape"]), "Sets the output format for bytea."),
    setting("check_function_bodies", "on", Takes::Bool, "Check routine bodies during CREATE FUNCTION and CREATE PROCEDURE."),
    reported("client_encoding", "UTF8", Takes::OneOf(&["utf8", "utf-8", "unicode", "sql_ascii"]), "Sets the client's character set encoding."),
    setting("client_min_messages", "notice", Takes::OneOf(&["debug5", "debug4", "debug3", "debug2", "debug1", "debug", "log", "notice", "info", "warning", "error"]), "Sets the message levels that are sent to the client."),
    setting("constraint_exclusion", "partition", Takes::OneOf(&["partition", "on", "off"]), "Enables the planner to use constraints to optimize queries."),
    setting("cursor_tuple_fraction", "0.1", Takes::Real(0.0, 1.0), "Sets the planner's estimate of the fraction of a cursor's rows that will be retrieved."),
    reported("DateStyle", "ISO, MDY", Takes::DateStyle, "Sets the display format for date and time values."),
    setting("deadlock_timeout", "0", Takes::Fixed, "A deadlock is found at the moment that it arises."),
    setting("default_table_access_method", "heap", Takes::OneOf(&["heap"]), "Sets the default table access method for new tables."),
    setting("default_tablespace", "", Takes::OneOf(&[""]), "Sets the default tablespace to create tables and indexes in."),
    setting("default_transaction_deferrable", "off", Takes::Bool, "Sets the default deferrable status of new transactions."),
    setting("default_transaction_isolation", "read committed", Takes::OneOf(ISOLATION_LEVELS), "Sets the transaction isolation level of each new transaction."),
    reported("default_transaction_read_only", "off", Takes::Bool, "Sets the default read-only status of new transactions."),
    setting("escape_string_warning", "on", Takes::Bool, "Warn about backslash escapes in ordinary string literals."),
    setting("extra_float_digits", "1", Takes::Integer(-15, 3), "Sets the number of digits displayed for floating-point values."),
    setting("gin_fuzzy_search_limit", "0", Takes::Integer(0, i32::MAX as i64), "Sets the maximum allowed result for exact search by GIN."),
    setting("hot_standby", "off", Takes::Fixed, "Allows connections and queries during recovery."),
    setting("idle_in_transaction_session_timeout", "0", Takes::Millis, "Sets the maximum allowed idle time between queries, when in a transaction."),
    setting("idle_session_timeout", "0", Takes::Millis, "Sets the maximum allowed idle time between queries, when not in a transaction."),
    reported("in_hot_standby", "off", Takes::Fixed, "Shows whether hot standby is currently active."),
    reported("integer_datetimes", "on", Takes::Fixed, "Shows whether datetimes are integer based."),
    reported("IntervalStyle", "postgres", Takes::OneOf(&["postgres", "postgres_verbose", "sql_standard", "iso_8601"]), "Sets the display format for interval values."),
    reported("is_superuser", "on", Takes::Fixed, "Shows whether the current user is a superuser."),
    setting("jit", "off", Takes::Bool, "Allow JIT compilation."),
    setting("lc_collate", "C", Takes::Fixed, "Shows the collation order locale."),
    setting("lc_ctype", "C.UTF-8", Takes::Fixed, "Shows the character classification and case conversion locale."),
    setting("lc_messages", "C", Takes::OneOf(&["c", "en_us.utf-8", "en_us.utf8", "c.utf-8"]), "Sets the language in which messages are displayed."),
    setting("lc_monetary", "C", Takes::Text, "Sets the locale for formatting monetary amounts."),
    setting("lc_numeric", "C", Takes::Text, "Sets the locale for formatting numbers."),
    setting("lc_time", "C", Takes::Text, "Sets the locale for formatting date and time values."),
    setting("lock_timeout", "0", Takes::Millis, "Sets the maximum allowed duration of any wait for a lock."),
    setting("max_connections", "200", Takes::Fixed, "Sets the maximum number of concurrent connections."),
    setting("max_identifier_length", "63", Takes::Fixed, "Shows the maximum identifier length."),
    setting("max_index_keys", "32", Takes::Fixed, "Shows the maximum number of index keys."),
    setting("password_encryption", "scram-sha-256", Takes::OneOf(&["scram-sha-256"]), "Chooses the algorithm for encrypting passwords."),
    setting("quote_all_identifiers", "off", Takes::Bool, "When generating SQL fragments, quote all identifiers."),
    setting("random_page_cost", "4", Takes::Real(0.0, 1e300), "Sets the planner's estimate of the cost of a nonsequentially fetched disk page."),
    setting("row_security", "on", Takes::Bool, "Enable row security."),
    setting("search_path", "\"$user\", public", Takes::SearchPath, "Sets the schema search order for names that are not schema-qualified."),
    reported("server_encoding", "UTF8", Takes::Fixed, "Shows the server (database) character set encoding."),
    reported("server_version", SERVER_VERSION, Takes::Fixed, "Shows the server version."),
    setting("server_version_num", SERVER_VERSION_NUM, Takes::Fixed, "Shows the server version as an integer."),
    reported("session_authorization", "", Takes::Fixed, "Sets the session user name."),
    setting("session_replication_role", "origin", Takes::OneOf(&["origin"]), "Sets the session's behavior for triggers and rewrite rules."),
    reported("standard_conforming_strings", "on", Takes::OneOf(&["on"]), "Causes '...' strings to treat backslashes literally."),
    setting("statement_timeout", "0", Takes::Millis, "Sets the maximum allowed duration of any statement."),
    setting("synchronize_seqscans", "on", Takes::Bool, "Enable synchronized sequential scans."),
    setting("synchronous_commit", "on", Takes::OneOf(&["on", "local", "remote_write", "remote_apply"]), "Sets the current transaction's synchronization level."),
    setting("temp_buffers", "8MB", Takes::Kilobytes, "Sets the maximum number of temporary buffers used by each session."),
    reported("TimeZone", "UTC", Takes::TimeZone, "Sets the time zone for displaying and interpreting time stamps."),
    setting("transaction_deferrable", "off", Takes::Bool, "Whether to defer a read-only serializable transaction."),
    setting("transaction_isolation", "read committed", Takes::OneOf(ISOLATION_LEVELS), "Sets the current transaction's isolation level."),
    setting("transaction_read_only", "off", Takes::Bool, "Sets the current transaction's read-only status."),
    setting("transform_null_equals", "off", Takes::OneOf(&["off"]), "Treats \"expr=NULL\" as \"expr IS NULL\"."),
    setting("wal_level", "replica", Takes::Fixed, "Sets the level of information written to the log."),
    setting("work_mem", "64MB", Takes::Kilobytes, "Sets the maximum memory to be used for query workspaces."),
    setting("xmloption", "content", Takes::OneOf(&["content", "document"]), "Sets whether XML data is to be considered as documents or content fragments."),
];

/// How many settings of the form `prefix.name` one session may make up.
const CUSTOM_SETTINGS_MAX: usize = 256;
/// Longest value in bytes.
const VALUE_BYTES_MAX: usize = 64 * 1024;

/// The settings of a session. Copied at the start of each transaction, which is how rollback restores them: a copy shares
/// everything until one of the two changes.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Values that differ from the default, by the name as it is written in the table (or in lower case, for made-up ones).
    values: Arc<BTreeMap<String, String>>,
    /// Values of `SET LOCAL`: they shadow `values` until the transaction ends.
    local: Arc<BTreeMap<String, String>>,
    /// What RESET goes back to where it differs from the table: what the client asked for at its start.
    session_defaults: Arc<BTreeMap<String, String>>,
    derived: Arc<Derived>,
}

/// What statements ask of the settings, in the form in which they need it. Made anew by every change, so that whoever
/// keeps the pointer knows whether something has changed.
#[derive(Debug, Default)]
pub struct Derived {
    format: Arc<FormatOptions>,
    /// Milliseconds; 0 is none.
    statement_timeout_ms: u64,
    lock_timeout_ms: u64,
    idle_in_transaction_timeout_ms: u64,
    idle_session_timeout_ms: u64,
    isolation: Isolation,
    read_only: bool,
    /// The schemas of `search_path`, with `$user` as it is written.
    search_path: Vec<String>,
    reported: Vec<(&'static str, String)>,
}

impl Derived {
    /// Settings that the client is told about, with their values.
    pub fn reported(&self) -> &[(&'static str, String)] {
        &self.reported
    }

    /// The schemas of `search_path`, with `$user` as it is written.
    pub fn search_path(&self) -> &[String] {
        &self.search_path
    }
}

impl Default for Settings {
    fn default() -> Self {
        let mut settings = Settings {
            values: Arc::default(),
            local: Arc::default(),
            session_defaults: Arc::default(),
            derived: Arc::default(),
        };
        // The table's defaults are valid values.
        let _ = settings.derive();
        settings
    }
}

fn find(name: &str) -> Option<&'static Setting> {
    let name = match name.to_ascii_lowercase().as_str() {
        "time zone" => "TimeZone".to_owned(),
        other => other.to_owned(),
    };
    SETTINGS.iter().find(|s| s.name.eq_ignore_ascii_case(&name))
}

fn unknown(name: &str) -> Error {
    Error::new(ErrorKind::UndefinedObject, format!("unrecognized configuration parameter \"{name}\""))
}

impl Settings {
    /// The value of a setting as `SHOW` prints it.
    ///
    /// # Errors
    /// Unknown name (42704).
    pub fn show(&self, name: &str) -> Result<String> {
        self.get(name).ok_or_else(|| unknown(name))
    }

    /// The value of a setting, if there is one by that name.
    pub fn get(&self, name: &str) -> Option<String> {
        match find(name) {
            Some(setting) => Some(self.get_fixed(setting.name).to_owned()),
            None => {
                let name = name.to_ascii_lowercase();
                self.local.get(&name).or_else(|| self.values.get(&name)).cloned()
            }
        }
    }

    fn get_fixed(&self, name: &'static str) -> &str {
        let set = self.local.get(name).or_else(|| self.values.get(name)).or_else(|| self.session_defaults.get(name));
        set.map_or_else(|| find(name).map_or("", |s| s.default), String::as_str)
    }

    /// Sets a setting to a value, which is checked and brought to the form in which it prints.
    ///
    /// # Errors
    /// Unknown name (42704), a value that it does not take (22023), a setting that cannot be changed (55P02).
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let (name, value) = self.checked(name, value)?;
        Arc::make_mut(&mut self.local).remove(&name);
        Arc::make_mut(&mut self.values).insert(name, value);
        self.derive()
    }

    /// `SET LOCAL`: until [`Settings::end_transaction`].
    ///
    /// # Errors
    /// As [`Settings::set`].
    pub fn set_local(&mut self, name: &str, value: &str) -> Result<()> {
        let (name, value) = self.checked(name, value)?;
        Arc::make_mut(&mut self.local).insert(name, value);
        self.derive()
    }

    /// Forgets what `SET LOCAL` set.
    ///
    /// # Errors
    /// Never for settings that were valid when they were set.
    pub fn end_transaction(&mut self) -> Result<()> {
        if self.local.is_empty() {
            return Ok(());
        }
        self.local = Arc::default();
        self.derive()
    }

    /// The name by which the setting is kept, and the value as it prints.
    fn checked(&self, name: &str, value: &str) -> Result<(String, String)> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(invalid(name, "value too long"));
        }
        match find(name) {
            Some(setting) => Ok((setting.name.to_owned(), canonical(setting, value)?)),
            None => self.checked_custom(name, value),
        }
    }

    /// A setting of an extension (`prefix.name`): any value, no meaning to us.
    fn checked_custom(&self, name: &str, value: &str) -> Result<(String, String)> {
        if !name.contains('.') {
            return Err(unknown(name));
        }
        let name = name.to_ascii_lowercase();
        if self.values.len() >= CUSTOM_SETTINGS_MAX && !self.values.contains_key(&name) {
            return Err(Error::new(ErrorKind::ConfigurationLimitExceeded, "too many custom settings in this session"));
        }
        Ok((name, value.to_owned()))
    }

    /// Sets what the server says of itself (`session_authorization`, `is_superuser`) or what the client asks for at its
    /// start: the value that RESET returns to.
    ///
    /// # Errors
    /// As [`Settings::set`].
    pub fn set_session_default(&mut self, name: &str, value: &str) -> Result<()> {
        let setting = find(name).ok_or_else(|| unknown(name))?;
        let value = match setting.takes {
            Takes::Fixed => value.to_owned(),
            _ => canonical(setting, value)?,
        };
        Arc::make_mut(&mut self.session_defaults).insert(setting.name.to_owned(), value);
        self.derive()
    }

    /// Goes back to the default.
    ///
    /// # Errors
    /// Unknown name (42704).
    pub fn reset(&mut self, name: &str) -> Result<()> {
        let name = match find(name) {
            Some(setting) => setting.name.to_owned(),
            None if name.contains('.') => name.to_ascii_lowercase(),
            None => return Err(unknown(name)),
        };
        Arc::make_mut(&mut self.local).remove(&name);
        Arc::make_mut(&mut self.values).remove(&name);
        self.derive()
    }

    /// `RESET ALL`.
    ///
    /// # Errors
    /// Never for settings that were valid when they were set.
    pub fn reset_all(&mut self) -> Result<()> {
        self.values = Arc::default();
        self.local = Arc::default();
        self.derive()
    }

    /// All settings: name, value, description.
    pub fn all(&self) -> Vec<(String, String, String)> {
        let known = SETTINGS.iter().map(|s| (s.name.to_owned(), self.get_fixed(s.name).to_owned(), s.about.to_owned()));
        let custom = self.values.iter().filter(|(name, _)| find(name).is_none());
        known.chain(custom.map(|(name, value)| (name.clone(), value.clone(), String::new()))).collect()
    }

    /// What statements ask of them. The same pointer means that nothing has changed.
    pub fn derived(&self) -> &Arc<Derived> {
        &self.derived
    }

    /// Text formats.
    pub fn format(&self) -> &Arc<FormatOptions> {
        &self.derived.format
    }

    /// `statement_timeout` in milliseconds; 0 is none.
    pub fn statement_timeout_ms(&self) -> u64 {
        self.derived.statement_timeout_ms
    }

    /// `lock_timeout` in milliseconds; 0 is none.
    pub fn lock_timeout_ms(&self) -> u64 {
        self.derived.lock_timeout_ms
    }

    /// `idle_in_transaction_session_timeout` in milliseconds; 0 is none.
    pub fn idle_in_transaction_timeout_ms(&self) -> u64 {
        self.derived.idle_in_transaction_timeout_ms
    }

    /// `idle_session_timeout` in milliseconds; 0 is none.
    pub fn idle_session_timeout_ms(&self) -> u64 {
        self.derived.idle_session_timeout_ms
    }

    /// `default_transaction_isolation`.
    pub fn isolation(&self) -> Isolation {
        self.derived.isolation
    }

    /// `default_transaction_read_only`.
    pub fn read_only(&self) -> bool {
        self.derived.read_only
    }

    fn derive(&mut self) -> Result<()> {
        let (date_style, date_order) = parse_date_style(self.get_fixed("DateStyle"), DateStyle::Iso, DateOrder::Mdy)?;
        let format = FormatOptions {
            date_style,
            date_order,
            interval_style: match self.get_fixed("IntervalStyle") {
                "postgres_verbose" => IntervalStyle::PostgresVerbose,
                "sql_standard" => IntervalStyle::SqlStandard,
                "iso_8601" => IntervalStyle::Iso8601,
                _ => IntervalStyle::Postgres,
            },
            time_zone: parse_time_zone(self.get_fixed("TimeZone"))
                .ok_or_else(|| Error::internal("TimeZone holds a value that was not checked"))?,
            extra_float_digits: self.get_fixed("extra_float_digits").parse().unwrap_or(1),
            bytea_output: match self.get_fixed("bytea_output") {
                "escape" => ByteaOutput::Escape,
                _ => ByteaOutput::Hex,
            },
        };
        let format = if *self.derived.format == format { self.derived.format.clone() } else { Arc::new(format) };
        let millis = |name| parse_millis(self.get_fixed(name)).unwrap_or(0);
        let reported = SETTINGS.iter().filter(|s| s.reported).map(|s| (s.name, self.get_fixed(s.name).to_owned()));
        self.derived = Arc::new(Derived {
            format,
            statement_timeout_ms: millis("statement_timeout"),
            lock_timeout_ms: millis("lock_timeout"),
            idle_in_transaction_timeout_ms: millis("idle_in_transaction_session_timeout"),
            idle_session_timeout_ms: millis("idle_session_timeout"),
            isolation: isolation_from_name(self.get_fixed("default_transaction_isolation")),
            read_only: self.get_fixed("default_transaction_read_only") == "on",
            search_path: split_path(self.get_fixed("search_path")),
            reported: reported.collect(),
        });
        Ok(())
    }
}

fn invalid(name: &str, value: &str) -> Error {
    Error::new(ErrorKind::InvalidParameterValue, format!("invalid value for parameter \"{name}\": \"{value}\""))
}

/// The form in which a value prints.
fn canonical(setting: &Setting, value: &str) -> Result<String> {
    let name = setting.name;
    let outside = |low: &dyn std::fmt::Display, high: &dyn std::fmt::Display| {
        Error::new(
            ErrorKind::InvalidParameterValue,
            format!("{value} is outside the valid range for parameter \"{name}\" ({low} .. {high})"),
        )
    };
    match &setting.takes {
        Takes::Text => Ok(value.to_owned()),
        Takes::Fixed => {
            Err(Error::new(ErrorKind::CantChangeRuntimeParam, format!("parameter \"{name}\" cannot be changed")))
        }
        Takes::Bool => match parse_bool(value) {
            Some(true) => Ok("on".to_owned()),
            Some(false) => Ok("off".to_owned()),
            None => Err(Error::new(
                ErrorKind::InvalidParameterValue,
                format!("parameter \"{name}\" requires a Boolean value"),
            )),
        },
        Takes::OneOf(allowed) => {
            let lower = value.to_ascii_lowercase();
            if !allowed.contains(&lower.as_str()) {
                let error = invalid(name, value);
                let hint = format!("Available values: {}.", allowed.join(", "));
                return Err(if allowed.len() > 1 { error.with_hint(hint) } else { error });
            }
            Ok(match name {
                "client_encoding" if lower != "sql_ascii" => "UTF8".to_owned(),
                "client_encoding" => "SQL_ASCII".to_owned(),
                "lc_messages" => value.to_owned(),
                _ => lower,
            })
        }
        Takes::Integer(low, high) => {
            let number: i64 = value.trim().parse().map_err(|_| invalid(name, value))?;
            if number < *low || number > *high {
                return Err(outside(low, high));
            }
            Ok(number.to_string())
        }
        Takes::Real(low, high) => {
            let number: f64 = value.trim().parse().map_err(|_| invalid(name, value))?;
            if !(*low..=*high).contains(&number) {
                return Err(outside(low, high));
            }
            Ok(number.to_string())
        }
        Takes::Millis => {
            let millis = parse_millis(value).ok_or_else(|| {
                invalid(name, value)
                    .with_hint("Valid units for this parameter are \"us\", \"ms\", \"s\", \"min\", \"h\", and \"d\".")
            })?;
            if millis > i32::MAX as u64 {
                return Err(outside(&0, &i32::MAX));
            }
            Ok(print_millis(millis))
        }
        Takes::Kilobytes => parse_kilobytes(value).map(print_kilobytes).ok_or_else(|| {
            invalid(name, value)
                .with_hint("Valid units for this parameter are \"B\", \"kB\", \"MB\", \"GB\", and \"TB\".")
        }),
        Takes::DateStyle => {
            let (style, order) = parse_date_style(value, DateStyle::Iso, DateOrder::Mdy)?;
            let style = match style {
                DateStyle::Iso => "ISO",
                DateStyle::Sql => "SQL",
                DateStyle::Postgres => "Postgres",
                DateStyle::German => "German",
            };
            let order = match order {
                DateOrder::Mdy => "MDY",
                DateOrder::Dmy => "DMY",
                DateOrder::Ymd => "YMD",
            };
            Ok(format!("{style}, {order}"))
        }
        Takes::TimeZone => match parse_time_zone(value) {
            Some(TimeZone::Named(zone)) => Ok(zone.name().to_owned()),
            Some(TimeZone::Fixed { name, .. }) => Ok(name),
            None => Err(invalid(name, value)),
        },
        Takes::SearchPath => {
            let quoted: Vec<String> = split_path(value).iter().map(|s| quote_if_needed(s)).collect();
            Ok(quoted.join(", "))
        }
    }
}

/// Postgres's booleans: any unique prefix of true/false/yes/no, on, off, 1, 0.
pub(crate) fn parse_bool(value: &str) -> Option<bool> {
    let value = value.trim().to_ascii_lowercase();
    match value.as_str() {
        "" | "o" => None,
        "1" | "on" => Some(true),
        "0" | "of" | "off" => Some(false),
        v if "true".starts_with(v) || "yes".starts_with(v) => Some(true),
        v if "false".starts_with(v) || "no".starts_with(v) => Some(false),
        _ => None,
    }
}

/// A number and a unit after it.
fn split_unit(value: &str) -> Option<(f64, &str)> {
    let value = value.trim();
    let end = value.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '-' || c == '+')).unwrap_or(value.len());
    let number: f64 = value[..end].parse().ok()?;
    (number >= 0.0 && number.is_finite()).then(|| (number, value[end..].trim()))
}

fn parse_millis(value: &str) -> Option<u64> {
    let (number, unit) = split_unit(value)?;
    let factor = match unit {
        "us" => 0.001,
        "" | "ms" => 1.0,
        "s" => 1_000.0,
        "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => return None,
    };
    Some((number * factor).round() as u64)
}

fn print_millis(millis: u64) -> String {
    for (factor, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")] {
        if millis > 0 && millis.is_multiple_of(factor) {
            return format!("{}{unit}", millis / factor);
        }
    }
    if millis == 0 { "0".to_owned() } else { format!("{millis}ms") }
}

fn parse_kilobytes(value: &str) -> Option<u64> {
    let (number, unit) = split_unit(value)?;
    let factor = match unit {
        "B" => 1.0 / 1024.0,
        "" | "kB" => 1.0,
        "MB" => 1024.0,
        "GB" => 1024.0 * 1024.0,
        "TB" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    let kilobytes = (number * factor).round();
    (kilobytes <= i32::MAX as f64).then_some(kilobytes as u64)
}

fn print_kilobytes(kilobytes: u64) -> String {
    for (factor, unit) in [(1024 * 1024, "GB"), (1024, "MB")] {
        if kilobytes > 0 && kilobytes.is_multiple_of(factor) {
            return format!("{}{unit}", kilobytes / factor);
        }
    }
    format!("{kilobytes}kB")
}

fn parse_date_style(value: &str, style: DateStyle, order: DateOrder) -> Result<(DateStyle, DateOrder)> {
    let (mut style, mut order) = (style, order);
    for word in value.split(',').map(str::trim).filter(|w| !w.is_empty()) {
        match word.to_ascii_lowercase().as_str() {
            "iso" => style = DateStyle::Iso,
            "sql" => style = DateStyle::Sql,
            "postgres" => style = DateStyle::Postgres,
            "german" => (style, order) = (DateStyle::German, DateOrder::Dmy),
            "ymd" => order = DateOrder::Ymd,
            "dmy" | "euro" | "european" => order = DateOrder::Dmy,
            "mdy" | "us" | "noneuro" | "noneuropean" => order = DateOrder::Mdy,
            "default" => (style, order) = (DateStyle::Iso, DateOrder::Mdy),
            _ => return Err(invalid("DateStyle", value)),
        }
    }
    Ok((style, order))
}

/// A zone by name in any case, or an offset in hours east (`-7`, `+5.5`) or in POSIX form without a name (`<+02>-02`).
pub(crate) fn parse_time_zone(value: &str) -> Option<TimeZone> {
    let value = value.trim();
    if value.eq_ignore_ascii_case("local") || value.eq_ignore_ascii_case("default") {
        return Some(TimeZone::Named(chrono_tz::Tz::UTC));
    }
    if let Some((printed, posix)) = value.strip_prefix('<').and_then(|v| v.split_once('>')) {
        return fixed_zone(-seconds_of(posix)?, Some(format!("<{printed}>{posix}")));
    }
    if let Some(seconds) = seconds_of(value) {
        return fixed_zone(seconds, None);
    }
    let named = chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(value));
    named.copied().map(TimeZone::Named)
}

/// An offset in seconds: hours, perhaps with a fraction, or hours and minutes.
fn seconds_of(offset: &str) -> Option<f64> {
    if let Ok(hours) = offset.parse::<f64>() {
        return Some((hours * 3600.0).round());
    }
    let (hours, minutes) = offset.split_once(':')?;
    let hour_count: i32 = hours.parse().ok()?;
    let minute_count: i32 = minutes.parse().ok().filter(|m| (0..60).contains(m))?;
    let sign = if hours.starts_with('-') { -1 } else { 1 };
    Some(f64::from(hour_count.checked_mul(3600)? + sign * minute_count * 60))
}

fn fixed_zone(seconds_east: f64, name: Option<String>) -> Option<TimeZone> {
    const MAX_SECONDS: f64 = 168.0 * 3600.0;
    if seconds_east.is_nan() || seconds_east.abs() > MAX_SECONDS {
        return None;
    }
    let seconds_east = seconds_east as i32;
    let name = name.unwrap_or_else(|| {
        let (sign, opposite) = if seconds_east < 0 { ('-', '+') } else { ('+', '-') };
        let (hours, minutes) = (seconds_east.abs() / 3600, seconds_east.abs() % 3600 / 60);
        let clock = if minutes == 0 { format!("{hours:02}") } else { format!("{hours:02}:{minutes:02}") };
        format!("<{sign}{clock}>{opposite}{clock}")
    });
    Some(TimeZone::Fixed { seconds_east, name })
}

/// Splits a list of identifiers, quoted or folded to lower case.
fn split_path(value: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = value.trim();
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut name = String::new();
            let mut chars = quoted.char_indices().peekable();
            let mut end = quoted.len();
            while let Some((at, c)) = chars.next() {
                if c != '"' {
                    name.push(c);
                } else if chars.next_if(|(_, next)| *next == '"').is_some() {
                    name.push('"');
                } else {
                    end = at + 1;
                    break;
                }
            }
            names.push(name);
            rest = quoted[end.min(quoted.len())..].trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
        } else {
            let (name, after) = rest.split_once(',').unwrap_or((rest, ""));
            let name = name.trim().to_lowercase();
            if !name.is_empty() {
                names.push(name);
            }
            rest = after.trim_start();
        }
    }
    names
}

/// An identifier as SQL needs it written.
pub(crate) fn quote_if_needed(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_print_as_postgres_prints_them() {
        let mut settings = Settings::default();
        for (name, value, shown) in [
            ("statement_timeout", "1500", "1500ms"),
            ("statement_timeout", "2s", "2s"),
            ("statement_timeout", "60000", "1min"),
            ("work_mem", "1024", "1MB"),
            ("datestyle", "german", "German, DMY"),
            ("TIMEZONE", "europe/zurich", "Europe/Zurich"),
            ("timezone", "-7", "<-07>+07"),
            ("timezone", "+05:30", "<+05:30>-05:30"),
            ("search_path", "A, \"B c\", public", "a, \"B c\", public"),
            ("default_transaction_read_only", "yes", "on"),
            ("client_encoding", "unicode", "UTF8"),
        ] {
            settings.set(name, value).unwrap();
            assert_eq!(settings.show(name).unwrap(), shown, "{name} = {value}");
        }
    }

    #[test]
    fn bad_values_and_names_are_refused() {
        let mut settings = Settings::default();
        for (name, value, kind) in [
            ("nonsense", "1", ErrorKind::UndefinedObject),
            ("server_version", "16", ErrorKind::CantChangeRuntimeParam),
            ("timezone", "Mars/Olympus", ErrorKind::InvalidParameterValue),
            ("extra_float_digits", "9", ErrorKind::InvalidParameterValue),
            ("standard_conforming_strings", "off", ErrorKind::InvalidParameterValue),
            ("statement_timeout", "soon", ErrorKind::InvalidParameterValue),
            ("synchronous_commit", "off", ErrorKind::InvalidParameterValue),
        ] {
            assert_eq!(settings.set(name, value).unwrap_err().kind(), kind, "{name}");
        }
        settings.set("myapp.tenant", "7").unwrap();
        assert_eq!(settings.show("MyApp.Tenant").unwrap(), "7");
    }

    #[test]
    fn reset_returns_to_what_the_client_asked_for_at_its_start() {
        let mut settings = Settings::default();
        settings.set_session_default("TimeZone", "Asia/Tokyo").unwrap();
        settings.set("timezone", "UTC").unwrap();
        settings.reset("timezone").unwrap();
        assert_eq!(settings.show("timezone").unwrap(), "Asia/Tokyo");
    }
}
