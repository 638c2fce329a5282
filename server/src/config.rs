//! A node's configuration: defaults, then a file, then the environment.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use figment::Figment;
use figment::error::{Actual, Kind};
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};

/// Prefix of environment variables.
const ENV_PREFIX: &str = "STRATOS_";
/// What else begins with it: the log's filter, and what the tests go by.
const ENV_OTHERS: &[&str] = &["LOG", "BIN", "TEST_", "SLT_", "SIM_", "RANDOM_", "DRIVERS_", "FAULTY_"];
/// Settings that the environment can give.
pub const SETTINGS: &[&str] = &[
    "data_dir",
    "sql_addr",
    "http_addr",
    "durability",
    "trust_loopback",
    "tls_certificate",
    "tls_key",
    "connections_max",
    "message_mb_max",
    "cache_mb",
    "row_cache_mb",
    "column_cache_mb",
    "query_memory_mb",
    "spill_gb_max",
    "transaction_mb_max",
    "gc_window_seconds",
    "shard_split_mb",
    "shutdown_grace_seconds",
];

/// What an acknowledged commit means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum DurabilityMode {
    /// On the disk.
    Fsync,
    /// With the operating system: a crash of the machine may lose the last moments.
    Relaxed,
}

/// See the module; [`EXPLAINED`] says what each field means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Config {
    pub data_dir: PathBuf,
    pub sql_addr: String,
    pub http_addr: String,
    pub durability: DurabilityMode,
    pub trust_loopback: bool,
    pub tls_certificate: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub connections_max: usize,
    pub message_mb_max: usize,
    pub cache_mb: usize,
    pub row_cache_mb: usize,
    pub column_cache_mb: usize,
    pub query_memory_mb: usize,
    pub spill_gb_max: u64,
    pub transaction_mb_max: usize,
    pub gc_window_seconds: u64,
    pub shard_split_mb: u64,
    pub shutdown_grace_seconds: u64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            data_dir: "./stratos-data".into(),
            sql_addr: "127.0.0.1:5433".into(),
            http_addr: "127.0.0.1:8433".into(),
            durability: DurabilityMode::Fsync,
            trust_loopback: false,
            tls_certificate: None,
            tls_key: None,
            connections_max: 200,
            message_mb_max: 256,
            cache_mb: 192,
            row_cache_mb: 192,
            column_cache_mb: 256,
            query_memory_mb: 512,
            spill_gb_max: 64,
            transaction_mb_max: 1024,
            gc_window_seconds: 600,
            shard_split_mb: 8192,
            shutdown_grace_seconds: 10,
        }
    }
}

/// A configuration file with every setting at its default.
pub const EXPLAINED: &str = r#"# Configuration of a Stratos node. Every setting can also be given by the environment:
# STRATOS_SQL_ADDR=0.0.0.0:5433 and so on; the environment wins over the file.

# Directory of the node's data; made when it does not exist.
data_dir = "./stratos-data"

# Address for Postgres clients, and for HTTP (/healthz, /readyz, /metrics).
sql_addr = "127.0.0.1:5433"
http_addr = "127.0.0.1:8433"

# What an acknowledged commit means: "fsync" (on the disk) or "relaxed" (a crash of the machine may lose the last moments).
durability = "fsync"

# Let connections from loopback addresses in without a password.
trust_loopback = false

# Certificate chain and private key for TLS, in PEM. Without them the node makes its own certificate at its first start.
# tls_certificate = "server.crt"
# tls_key = "server.key"

# Connections that may be open at once, and the longest message that a client may send.
connections_max = 200
message_mb_max = 256

# Memory for cached blocks of data.
cache_mb = 192

# Memory for rows and index entries that were read by key; 0 keeps none.
row_cache_mb = 192

# Memory for columns of tables that queries have read as a whole and that have not changed since; 0 keeps none.
column_cache_mb = 256

# Memory that running queries may use together before they spill to disk, and the disk that they may use then.
query_memory_mb = 512
spill_gb_max = 64

# Most that one transaction may write.
transaction_mb_max = 1024

# How long old versions of rows stay readable.
gc_window_seconds = 600

# A shard that grows beyond this is split.
shard_split_mb = 8192

# How long running statements may go on after a request to stop.
shutdown_grace_seconds = 10
"#;

/// What is different in development.
const DEVELOPMENT: &str = "trust_loopback = true";

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is not there or cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file or the environment says something that is not a configuration.
    #[error("invalid configuration: {}", explained(.0))]
    Invalid(Box<figment::Error>),
    /// A value out of its bounds.
    #[error("invalid configuration: {0}")]
    OutOfBounds(String),
}

/// What is wrong and where, in the words of the person who wrote it.
fn explained(error: &figment::Error) -> String {
    let key = error.path.join(".");
    match &error.kind {
        Kind::UnknownField(name, _) => {
            format!("there is no setting `{name}`; `stratos config` prints those that there are")
        }
        kind if key.is_empty() => in_words(kind),
        kind if SETTINGS.contains(&key.to_lowercase().as_str())
            && error.metadata.as_ref().is_some_and(is_environment) =>
        {
            format!("{ENV_PREFIX}{}: {}", key.to_uppercase(), in_words(kind))
        }
        kind => format!("{key}: {}", in_words(kind)),
    }
}

/// What is wrong with a value, without the names that its type has in the program.
fn in_words(kind: &Kind) -> String {
    let expected = |name: &str| match name {
        "usize" | "u64" | "u32" => "a whole number that is not negative".to_owned(),
        "a boolean" | "bool" => "true or false".to_owned(),
        "string" | "a string" | "path string" | "str" => "a text".to_owned(),
        other => other.to_owned(),
    };
    let found = |actual: &Actual| match actual {
        Actual::Bool(value) => value.to_string(),
        Actual::Unsigned(value) => value.to_string(),
        Actual::Signed(value) => value.to_string(),
        Actual::Float(value) => value.to_string(),
        Actual::Char(value) => format!("{value:?}"),
        Actual::Str(value) => format!("{value:?}"),
        Actual::Seq => "a list".to_owned(),
        Actual::Map => "a table".to_owned(),
        other => other.to_string(),
    };
    match kind {
        Kind::InvalidType(actual, name) | Kind::InvalidValue(actual, name) => {
            format!("it is {}, it must be {}", found(actual), expected(name))
        }
        Kind::UnknownVariant(value, names) => format!("it is \"{value}\", it must be {}", names.join(" or ")),
        Kind::ISizeOutOfRange(value) => format!("{value} is out of range"),
        Kind::USizeOutOfRange(value) => format!("{value} is out of range"),
        other => other.to_string(),
    }
}

/// Variables of the environment that look like settings and are not read: mistyped, or not among `read`. Those of the tests are
/// none of them.
pub fn unread(names: impl Iterator<Item = String>, read: &[&str]) -> Vec<String> {
    let is_unread = |name: &String| {
        let Some(rest) = name.strip_prefix(ENV_PREFIX) else { return false };
        !ENV_OTHERS.iter().any(|other| rest.starts_with(other)) && !read.contains(&rest.to_lowercase().as_str())
    };
    let mut unread: Vec<String> = names.filter(is_unread).collect();
    unread.sort();
    unread
}

fn is_environment(source: &figment::Metadata) -> bool {
    source.name.contains("environment")
}

/// An address as it was given, if it has the form of one.
///
/// # Errors
/// What form it must have.
pub fn socket_address(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err("it must be HOST:PORT, such as 127.0.0.1:5433".to_owned()),
    }
}

impl Config {
    /// Reads a file and the environment.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Config::from_sources(&text, Env::prefixed(ENV_PREFIX).only(SETTINGS))
    }

    /// What `stratos dev` goes by: the environment, for all that its flags do not say.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn for_development(flags: &[&str]) -> Result<Config, ConfigError> {
        let by_environment: Vec<&str> = SETTINGS.iter().copied().filter(|name| !flags.contains(name)).collect();
        Config::from_sources(DEVELOPMENT, Env::prefixed(ENV_PREFIX).only(&by_environment))
    }

    fn from_sources(text: &str, environment: Env) -> Result<Config, ConfigError> {
        let config: Config = Figment::from(Serialized::defaults(Config::default()))
            .merge(Toml::string(text))
            .merge(environment)
            .extract()
            .map_err(|error| ConfigError::Invalid(Box::new(error)))?;
        config.check()?;
        Ok(config)
    }

    /// Whether all values are within their bounds.
    ///
    /// # Errors
    /// The first that is not.
    pub fn check(&self) -> Result<(), ConfigError> {
        let bounds = [
            ("connections_max", self.connections_max as u64, 1, 10_000),
            ("message_mb_max", self.message_mb_max as u64, 1, 1023),
            ("cache_mb", self.cache_mb as u64, 1, 1 << 20),
            ("row_cache_mb", self.row_cache_mb as u64, 0, 1 << 20),
            ("column_cache_mb", self.column_cache_mb as u64, 0, 1 << 20),
            ("query_memory_mb", self.query_memory_mb as u64, 16, 1 << 20),
            ("spill_gb_max", self.spill_gb_max, 0, 1 << 20),
            ("gc_window_seconds", self.gc_window_seconds, 1, 365 * 24 * 3600),
            ("transaction_mb_max", self.transaction_mb_max as u64, 1, 1 << 16),
            ("shard_split_mb", self.shard_split_mb, 1, 1 << 24),
            ("shutdown_grace_seconds", self.shutdown_grace_seconds, 0, 3600),
        ];
        for (name, value, low, high) in bounds {
            if value < low || value > high {
                return Err(ConfigError::OutOfBounds(format!("{name} is {value}, it must be {low} to {high}")));
            }
        }
        for (name, address) in [("sql_addr", &self.sql_addr), ("http_addr", &self.http_addr)] {
            socket_address(address)
                .map_err(|wrong| ConfigError::OutOfBounds(format!("{name} is {address:?}, {wrong}")))?;
        }
        if self.tls_certificate.is_some() != self.tls_key.is_some() {
            return Err(ConfigError::OutOfBounds("tls_certificate and tls_key go together".to_owned()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::from_sources(text, Env::prefixed("STRATOS_TEST_NOTHING_"))
    }

    #[test]
    fn the_explained_configuration_is_the_default() {
        assert_eq!(parse(EXPLAINED).unwrap(), Config::default());
    }

    #[test]
    fn the_environment_can_give_every_setting() {
        let json = serde_json::to_value(Config::default()).unwrap();
        let names: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        let mut sorted = SETTINGS.to_vec();
        sorted.sort_unstable();
        let mut expected = names.clone();
        expected.sort_unstable();
        assert_eq!(sorted, expected);
    }

    #[test]
    fn mistakes_are_named() {
        let unknown = parse("sql_adr = \"x\"").unwrap_err().to_string();
        assert!(unknown.contains("there is no setting `sql_adr`"), "{unknown}");
        let text = parse("cache_mb = \"much\"").unwrap_err().to_string();
        assert!(text.ends_with("cache_mb: it is \"much\", it must be a whole number that is not negative"), "{text}");
        for (wrong, said) in [
            ("cache_mb = -1", "cache_mb: it is -1, it must be a whole number that is not negative"),
            ("trust_loopback = 7", "trust_loopback: it is 7, it must be true or false"),
            ("data_dir = 7", "data_dir: it is 7, it must be a text"),
            ("sql_addr = [1]", "sql_addr: it is a list, it must be a text"),
            ("durability = \"never\"", "durability: it is \"never\", it must be fsync or relaxed"),
            ("sql_addr = \"foo\"", "sql_addr is \"foo\", it must be HOST:PORT, such as 127.0.0.1:5433"),
        ] {
            let text = parse(wrong).unwrap_err().to_string();
            assert!(text.ends_with(said), "{text}");
        }
        let syntax = parse("cache_mb = ").unwrap_err().to_string();
        assert!(syntax.contains("invalid configuration: ") && syntax.contains("line 1"), "{syntax}");
        let bounds = parse("connections_max = 0").unwrap_err().to_string();
        assert!(bounds.contains("connections_max is 0"), "{bounds}");
        for wrong in ["gc_window_seconds = 0", "gc_window_seconds = 99999999999", "spill_gb_max = 99999999999"] {
            let bounds = parse(wrong).unwrap_err().to_string();
            assert!(bounds.contains("it must be"), "{bounds}");
        }
        let names = ["STRATOS_CACHE_MB", "STRATOS_CASH_MB", "STRATOS_TEST_LONG", "STRATOS_LOG", "PATH"];
        assert_eq!(unread(names.map(str::to_owned).into_iter(), SETTINGS), ["STRATOS_CASH_MB"]);
        let half = parse("tls_key = \"k\"").unwrap_err().to_string();
        assert!(half.contains("go together"), "{half}");
    }
}
