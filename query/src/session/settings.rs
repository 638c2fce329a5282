//! Session settings: SET, RESET, SHOW.
//!
//! `setting_table` says which there are, `setting_value` what their values look like.

use std::collections::BTreeMap;
use std::sync::Arc;

use stratos_types::{ByteaOutput, DateOrder, DateStyle, Error, ErrorKind, FormatOptions, IntervalStyle, Result};

use super::setting_table::{Takes, all, find};
use super::setting_value::{
    canonical, date_style, invalid, parse_date_style, parse_time_zone, plain, split_path, whole,
};
use super::transaction::{Characteristics, Level};
use crate::catalog::SettingFacts;
use crate::ddl::Notice;

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

/// The setting by which queries are kept from being answered by key.
pub(crate) const DIRECT_QUERIES: &str = "stratos.direct_queries";

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
    characteristics: Characteristics,
    general_queries: bool,
    nested_loops: bool,
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
                let set = self.local.get(&name).or_else(|| self.values.get(&name));
                set.or_else(|| self.session_defaults.get(&name)).cloned()
            }
        }
    }

    fn get_fixed(&self, name: &'static str) -> &str {
        let set = self.local.get(name).or_else(|| self.values.get(name)).or_else(|| self.session_defaults.get(name));
        set.map_or_else(|| find(name).map_or("", |s| s.default.as_str()), String::as_str)
    }

    /// Milliseconds of a timeout; 0 is none.
    fn millis(&self, name: &'static str) -> u64 {
        find(name).map_or(0, |setting| whole(setting, self.get_fixed(setting.name)))
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
        for name in std::mem::take(&mut self.local).keys() {
            self.keep_known(name);
        }
        self.derive()
    }

    /// Goes back to what the settings were before.
    pub(super) fn return_to(&mut self, before: Settings) {
        let now = std::mem::replace(self, before);
        for name in now.values.keys().chain(now.local.keys()).chain(now.session_defaults.keys()) {
            self.keep_known(name);
        }
    }

    /// A made-up setting that was set once stays known to the session: it is empty when it is no longer set.
    fn keep_known(&mut self, name: &str) {
        if find(name).is_none()
            && !self.session_defaults.contains_key(name)
            && self.session_defaults.len() < CUSTOM_SETTINGS_MAX
        {
            Arc::make_mut(&mut self.session_defaults).insert(name.to_owned(), String::new());
        }
    }

    /// The name by which the setting is kept, and the value as it prints.
    fn checked(&self, name: &str, value: &str) -> Result<(String, String)> {
        if value.len() > VALUE_BYTES_MAX {
            return Err(invalid(name, "value too long"));
        }
        match find(name) {
            // What a date style does not name stays.
            Some(setting) if setting.name == "DateStyle" => {
                let format = &self.derived.format;
                Ok((setting.name.to_owned(), date_style(value, format.date_style, format.date_order)?))
            }
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
        let known = self.values.contains_key(&name) || self.local.contains_key(&name);
        if !known && self.values.len() + self.local.len() >= CUSTOM_SETTINGS_MAX {
            return Err(Error::new(ErrorKind::ConfigurationLimitExceeded, "too many custom settings in this session"));
        }
        Ok((name, value.to_owned()))
    }

    /// Sets what the server says of itself: `session_authorization`, `is_superuser`.
    ///
    /// # Errors
    /// Unknown name (42704).
    pub(crate) fn tell(&mut self, name: &str, value: &str) -> Result<()> {
        let setting = find(name).ok_or_else(|| unknown(name))?;
        Arc::make_mut(&mut self.session_defaults).insert(setting.name.to_owned(), value.to_owned());
        self.derive()
    }

    /// Sets what the client asks for at its start: the value that RESET returns to.
    ///
    /// # Errors
    /// As [`Settings::set`].
    pub fn set_session_default(&mut self, name: &str, value: &str) -> Result<()> {
        let (name, value) = self.checked(name, value)?;
        Arc::make_mut(&mut self.session_defaults).insert(name, value);
        self.derive()
    }

    /// Made-up settings with their values.
    fn custom(&self) -> BTreeMap<&str, &str> {
        let maps = [&self.session_defaults, &self.values, &self.local];
        let all = maps.into_iter().flat_map(|map| map.iter());
        all.filter(|(name, _)| find(name).is_none()).map(|(name, value)| (name.as_str(), value.as_str())).collect()
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
        if Arc::make_mut(&mut self.values).remove(&name).is_some() {
            self.keep_known(&name);
        }
        self.derive()
    }

    /// `RESET ALL`.
    ///
    /// # Errors
    /// Never for settings that were valid when they were set.
    pub fn reset_all(&mut self) -> Result<()> {
        self.return_to(Settings { values: Arc::default(), local: Arc::default(), ..self.clone() });
        self.derive()
    }

    /// All settings: name, value, description.
    pub fn all(&self) -> Vec<(String, String, String)> {
        let known = all().iter().map(|s| (s.name.to_owned(), self.get_fixed(s.name).to_owned(), s.about.to_owned()));
        let custom = self.custom().into_iter();
        known.chain(custom.map(|(name, value)| (name.to_owned(), value.to_owned(), String::new()))).collect()
    }

    /// All settings as `pg_settings` shows them.
    pub fn facts(&self) -> Vec<SettingFacts> {
        let mut facts: Vec<SettingFacts> = all()
            .iter()
            .map(|setting| {
                let changed = self.local.contains_key(setting.name) || self.values.contains_key(setting.name);
                let started = self.session_defaults.get(setting.name);
                let reset = started.map_or(setting.default.as_str(), String::as_str);
                SettingFacts {
                    name: setting.name.to_owned(),
                    value: plain(setting, self.get_fixed(setting.name)),
                    unit: setting.unit_name,
                    category: setting.category,
                    about: setting.about,
                    context: if matches!(setting.takes, Takes::Fixed) && setting.context == "user" {
                        "internal"
                    } else {
                        setting.context
                    },
                    kind: setting.kind,
                    source: if changed {
                        "session"
                    } else if started.is_some() {
                        "client"
                    } else {
                        "default"
                    },
                    min: setting.min,
                    max: setting.max,
                    words: setting.words.clone(),
                    boot: plain(setting, &setting.default),
                    reset: plain(setting, reset),
                }
            })
            .collect();
        facts.extend(self.custom().into_iter().map(|(name, value)| SettingFacts {
            name: name.to_owned(),
            value: value.to_owned(),
            category: "Customized Options",
            context: "user",
            kind: "string",
            source: if self.values.contains_key(name) || self.local.contains_key(name) { "session" } else { "client" },
            reset: self.session_defaults.get(name).cloned().unwrap_or_default(),
            ..SettingFacts::default()
        }));
        facts
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

    /// `stratos.direct_queries` is off: every query goes through the query planner.
    pub fn general_queries(&self) -> bool {
        self.derived.general_queries
    }

    /// `enable_nestloop`.
    pub fn nested_loops(&self) -> bool {
        self.derived.nested_loops
    }

    /// What a transaction is of which nothing is said.
    pub fn characteristics(&self) -> Characteristics {
        self.derived.characteristics
    }

    /// Whether the client wants to be told, by `client_min_messages`.
    pub(super) fn shows(&self, notice: &Notice) -> bool {
        match self.get_fixed("client_min_messages") {
            "error" => false,
            "warning" => notice.is_warning(),
            _ => true,
        }
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
        let reported = all().iter().filter(|s| s.reported).map(|s| (s.name, self.get_fixed(s.name).to_owned()));
        self.derived = Arc::new(Derived {
            format,
            statement_timeout_ms: self.millis("statement_timeout"),
            lock_timeout_ms: self.millis("lock_timeout"),
            idle_in_transaction_timeout_ms: self.millis("idle_in_transaction_session_timeout"),
            idle_session_timeout_ms: self.millis("idle_session_timeout"),
            characteristics: Characteristics {
                level: Level::named(self.get_fixed("default_transaction_isolation")),
                read_only: self.get_fixed("default_transaction_read_only") == "on",
                deferrable: self.get_fixed("default_transaction_deferrable") == "on",
            },
            general_queries: self.custom().get(DIRECT_QUERIES) == Some(&"off"),
            nested_loops: self.get_fixed("enable_nestloop") != "off",
            search_path: split_path(self.get_fixed("search_path")),
            reported: reported.collect(),
        });
        Ok(())
    }
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
            ("timezone", "+05:30", "+05:30"),
            ("timezone", "+5", "<+05>-05"),
            ("search_path", "A, \"B c\", public", "a, \"B c\", public"),
            ("default_transaction_read_only", "yes", "on"),
            ("client_encoding", "unicode", "UTF8"),
            ("client_encoding", "'utf-8'", "UTF8"),
            ("client_encoding", "SQL_ASCII", "SQL_ASCII"),
            ("work_mem", "1.5MB", "1536kB"),
            ("effective_cache_size", "1GB", "1GB"),
            ("enable_seqscan", "f", "off"),
            ("random_page_cost", "1.1", "1.1"),
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
            ("standard_conforming_strings", "off", ErrorKind::FeatureNotSupported),
            ("statement_timeout", "soon", ErrorKind::InvalidParameterValue),
            ("synchronous_commit", "off", ErrorKind::InvalidParameterValue),
        ] {
            assert_eq!(settings.set(name, value).unwrap_err().kind(), kind, "{name}");
        }
        settings.set("myapp.tenant", "7").unwrap();
        assert_eq!(settings.show("MyApp.Tenant").unwrap(), "7");
        // Names may be made up, but not without end, of one kind or the other.
        let mut made = 0;
        let refused = loop {
            let name = format!("myapp.name_{made}");
            let set = if made % 2 == 0 { settings.set(&name, "x") } else { settings.set_local(&name, "x") };
            match set {
                Ok(()) => made += 1,
                Err(error) => break error,
            }
            assert!(made < 10 * CUSTOM_SETTINGS_MAX, "{made} names were made up");
        };
        assert_eq!(refused.kind(), ErrorKind::ConfigurationLimitExceeded);
        settings.set_local("myapp.tenant", "8").unwrap();
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
