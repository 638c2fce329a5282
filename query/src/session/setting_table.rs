//! Which settings there are: those of PostgreSQL 15 (`settings.tsv`, taken from its `pg_settings`: name, default, unit,
//! category, description, context, type, minimum, maximum, words), and what this server makes of them.
//!
//! A setting means here what it means in Postgres, or it has only the value that is true of this server: to set it to another
//! one is refused. Settings of the planner and of its memory are the exception: they are hints, and change no answer.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What values a setting takes.
pub(super) enum Takes {
    Text,
    /// Of what is not printable ASCII a question mark stays.
    Ascii,
    Bool,
    /// One of the setting's words.
    Word,
    /// One of these, in lower case.
    OneOf(&'static [&'static str]),
    /// A number between the setting's bounds, with its units.
    Integer,
    Real,
    Encoding,
    DateStyle,
    TimeZone,
    SearchPath,
    /// Only the value that it has: another one means what this server does not do.
    Default,
    /// Cannot be set at all; the value is the truth.
    Fixed,
}

/// The unit that a number without one is in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Unit {
    None,
    /// So many milliseconds.
    Time(f64),
    /// So many bytes.
    Memory(f64),
}

/// A setting.
pub(super) struct Setting {
    pub name: &'static str,
    /// As it prints.
    pub default: String,
    pub takes: Takes,
    /// Told to the client by ParameterStatus whenever it changes.
    pub reported: bool,
    pub unit: Unit,
    pub unit_name: &'static str,
    pub category: &'static str,
    pub about: &'static str,
    pub context: &'static str,
    pub kind: &'static str,
    pub min: &'static str,
    pub max: &'static str,
    pub words: Vec<&'static str>,
}

/// What a setting is here where the table alone does not say: its name, its default where it is not Postgres's, its values.
struct Own {
    name: &'static str,
    default: Option<&'static str>,
    takes: fn() -> Takes,
    reported: bool,
}

const fn own(name: &'static str, default: Option<&'static str>, takes: fn() -> Takes) -> Own {
    Own { name, default, takes, reported: false }
}

const fn reported(name: &'static str, default: Option<&'static str>, takes: fn() -> Takes) -> Own {
    Own { name, default, takes, reported: true }
}

/// Version that we answer to `SHOW server_version`: the Postgres whose behaviour we follow.
pub const SERVER_VERSION: &str = "15.0";
/// `server_version_num`.
pub const SERVER_VERSION_NUM: &str = "150000";

const LOCALES: fn() -> Takes = || Takes::OneOf(&["c", "posix", "c.utf-8", "c.utf8", "en_us.utf-8", "en_us.utf8"]);

#[rustfmt::skip]
static OWN: &[Own] = &[
    reported("application_name", None, || Takes::Ascii),
    own("bytea_output", None, || Takes::Word),
    // There are no functions whose bodies could be checked.
    own("check_function_bodies", None, || Takes::Bool),
    reported("client_encoding", Some("UTF8"), || Takes::Encoding),
    own("client_min_messages", None, || Takes::Word),
    reported("DateStyle", None, || Takes::DateStyle),
    // A deadlock is found at the moment that it arises.
    own("deadlock_timeout", Some("0"), || Takes::Fixed),
    own("default_transaction_deferrable", None, || Takes::Bool),
    own("default_transaction_isolation", None, || Takes::Word),
    reported("default_transaction_read_only", None, || Takes::Bool),
    // Strings with a backslash are standard ones, of which nobody warns.
    own("escape_string_warning", None, || Takes::Bool),
    own("extra_float_digits", None, || Takes::Integer),
    own("hot_standby", Some("off"), || Takes::Fixed),
    own("idle_in_transaction_session_timeout", None, || Takes::Integer),
    own("idle_session_timeout", None, || Takes::Integer),
    reported("in_hot_standby", Some("off"), || Takes::Fixed),
    reported("integer_datetimes", None, || Takes::Fixed),
    reported("IntervalStyle", None, || Takes::Word),
    reported("is_superuser", Some("on"), || Takes::Fixed),
    own("jit", Some("off"), || Takes::Bool),
    own("lc_ctype", Some("C.UTF-8"), || Takes::Fixed),
    own("lc_messages", Some("C"), LOCALES),
    own("lc_monetary", Some("C"), LOCALES),
    own("lc_numeric", Some("C"), LOCALES),
    own("lc_time", Some("C"), LOCALES),
    own("lock_timeout", None, || Takes::Integer),
    own("max_connections", Some("200"), || Takes::Fixed),
    own("password_encryption", None, || Takes::OneOf(&["scram-sha-256"])),
    // There are no policies: with them or without, a query gives the same.
    own("row_security", None, || Takes::Bool),
    own("search_path", None, || Takes::SearchPath),
    reported("server_encoding", Some("UTF8"), || Takes::Fixed),
    reported("server_version", Some(SERVER_VERSION), || Takes::Fixed),
    own("server_version_num", Some(SERVER_VERSION_NUM), || Takes::Fixed),
    reported("session_authorization", Some(""), || Takes::Fixed),
    reported("standard_conforming_strings", None, || Takes::Default),
    own("statement_timeout", None, || Takes::Integer),
    own("synchronize_seqscans", None, || Takes::Bool),
    own("synchronous_commit", None, || Takes::OneOf(&["on", "local", "remote_write", "remote_apply"])),
    reported("TimeZone", Some("UTC"), || Takes::TimeZone),
    own("transaction_deferrable", None, || Takes::Bool),
    own("transaction_isolation", None, || Takes::Word),
    own("transaction_read_only", None, || Takes::Bool),
    own("work_mem", Some("65536"), || Takes::Integer),
];

/// Settings that Postgres does not list.
static UNLISTED: &str = "is_superuser\t\t\tPreset Options\tShows whether the current user is a superuser.\tinternal\tbool\t\t\t\n\
    session_authorization\t\t\tUngrouped\tSets the session user name.\tuser\tstring\t\t\t\n";

/// Categories whose settings are hints.
const HINTS: [&str; 2] = ["Query Tuning / ", "Resource Usage / "];

fn unit(name: &str) -> Unit {
    match name {
        "ms" => Unit::Time(1.0),
        "s" => Unit::Time(1_000.0),
        "min" => Unit::Time(60_000.0),
        "B" => Unit::Memory(1.0),
        "kB" => Unit::Memory(1024.0),
        "8kB" => Unit::Memory(8192.0),
        "MB" => Unit::Memory(1024.0 * 1024.0),
        _ => Unit::None,
    }
}

/// A line of the file; the file is part of the program and checked by a test, so that a line that does not read is skipped.
fn read(line: &'static str) -> Option<Setting> {
    let fields: Vec<&'static str> = line.split('\t').collect();
    let [name, default, unit_name, category, about, context, kind, min, max, words] = fields[..] else { return None };
    let own = OWN.iter().find(|own| own.name == name);
    let takes = match own {
        Some(own) => (own.takes)(),
        None if !matches!(context, "user" | "superuser") => Takes::Fixed,
        None if !HINTS.iter().any(|hint| category.starts_with(hint)) => Takes::Default,
        None => match kind {
            "bool" => Takes::Bool,
            "integer" => Takes::Integer,
            "real" => Takes::Real,
            "enum" => Takes::Word,
            _ => Takes::Text,
        },
    };
    let default = own.and_then(|own| own.default).unwrap_or(default);
    let unit = unit(unit_name);
    let default = match default.parse::<f64>() {
        Ok(number) if matches!(kind, "integer" | "real") => super::setting_value::print_number(number, unit, unit_name),
        _ => default.to_owned(),
    };
    let words = words.split(',').filter(|word| !word.is_empty()).collect();
    let reported = own.is_some_and(|own| own.reported);
    Some(Setting { name, default, takes, reported, unit, unit_name, category, about, context, kind, min, max, words })
}

struct Table {
    settings: Vec<Setting>,
    /// By name in lower case.
    by_name: HashMap<String, usize>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut settings: Vec<Setting> =
        include_str!("settings.tsv").lines().chain(UNLISTED.lines()).filter_map(read).collect();
    settings.sort_by_key(|setting| setting.name.to_ascii_lowercase());
    let by_name = settings.iter().enumerate().map(|(at, s)| (s.name.to_ascii_lowercase(), at)).collect();
    Table { settings, by_name }
});

/// All settings, by name.
pub(super) fn all() -> &'static [Setting] {
    &TABLE.settings
}

/// The setting of that name, in any case.
pub(super) fn find(name: &str) -> Option<&'static Setting> {
    let table = &*TABLE;
    let at = match table.by_name.get(name) {
        Some(at) => at,
        None => match name.to_ascii_lowercase().as_str() {
            "time zone" => table.by_name.get("timezone")?,
            lower => table.by_name.get(lower)?,
        },
    };
    table.settings.get(*at)
}

/// Whether the setting is a list of names.
pub(super) fn takes_names(name: &str) -> bool {
    find(name).is_some_and(|setting| matches!(setting.takes, Takes::SearchPath))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_reads_and_every_name_of_ours_is_there() {
        assert!(all().len() > 340);
        assert_eq!(all().len(), include_str!("settings.tsv").lines().count() + UNLISTED.lines().count());
        for own in OWN {
            assert!(find(own.name).is_some(), "{}", own.name);
        }
    }
}
