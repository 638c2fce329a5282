//! A node: the store, the SQL engine, and the listeners around them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use stratos_query::engine::{Engine, EngineOptions};
use stratos_replication::{Durability, Store, StoreOptions};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::{Config, DurabilityMode};
use crate::wire::startup::WireOptions;
use crate::{http, tls, wire};

/// What a start must have on the disk: a segment of the log (64 MB), and what is flushed when the log is applied.
const START_MB: usize = 80;

/// Why a node does not start or stop.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The disk has no room for the data.
    #[error("cannot use {}: no space left on the device; a start needs {START_MB} MB of it", .0.display())]
    Full(PathBuf),
    /// An address is taken or is none.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The store.
    #[error("{0}")]
    Store(#[from] stratos_replication::Error),
    /// The SQL engine.
    #[error("{0}")]
    Engine(#[from] stratos_types::Error),
    /// Certificates.
    #[error("{0}")]
    Tls(#[from] tls::TlsError),
    /// There is nothing to look through.
    #[error("{} is not the data directory of a node", .0.display())]
    NoData(PathBuf),
}

/// A running node.
pub struct Node {
    store: Store,
    engine: Arc<Engine>,
    sql_addr: SocketAddr,
    http_addr: SocketAddr,
    stop: watch::Sender<bool>,
    sql: JoinHandle<()>,
    /// Ends the HTTP listener, the last of all.
    close: watch::Sender<bool>,
    http: JoinHandle<()>,
    grace: Duration,
    trusted: bool,
}

/// How long a listener may take to end.
const LISTENER_GRACE: Duration = Duration::from_secs(1);

async fn listen(address: &str) -> Result<TcpListener, NodeError> {
    TcpListener::bind(address).await.map_err(|source| NodeError::Listen { address: address.to_owned(), source })
}

fn address_of(listener: &TcpListener, address: &str) -> Result<SocketAddr, NodeError> {
    listener.local_addr().map_err(|source| NodeError::Listen { address: address.to_owned(), source })
}

/// Options of the store for a configuration.
pub fn store_options(config: &Config) -> StoreOptions {
    StoreOptions {
        durability: match config.durability {
            DurabilityMode::Fsync => Durability::Fsync,
            DurabilityMode::Relaxed => Durability::Relaxed,
        },
        cache_bytes: config.cache_mb << 20,
        row_cache_bytes: config.row_cache_mb << 20,
        gc_window: Duration::from_secs(config.gc_window_seconds),
        split_bytes: config.shard_split_mb << 20,
        max_transaction_bytes: config.transaction_mb_max << 20,
        ..StoreOptions::new(&config.data_dir)
    }
}

/// Opens the store in the configured directory.
///
/// # Errors
/// See [`NodeError`].
pub async fn open_store(options: StoreOptions) -> Result<Store, NodeError> {
    let data_dir = options.data_dir.clone();
    Store::open(options).await.map_err(|error| match error {
        // The other errors of opening name the directory or file themselves.
        stratos_replication::Error::DiskFull => NodeError::Full(data_dir),
        other => NodeError::Store(other),
    })
}

/// Opens the SQL engine on a store.
///
/// # Errors
/// See [`NodeError`].
pub async fn open_engine(
    config: &Config,
    store: Store,
    query_threads: Option<Handle>,
) -> Result<Arc<Engine>, NodeError> {
    Ok(Engine::open(store, engine_options(config, query_threads)).await?)
}

/// Options of the SQL engine for a configuration.
pub fn engine_options(config: &Config, query_threads: Option<Handle>) -> EngineOptions {
    EngineOptions {
        query_threads,
        connections_max: config.connections_max,
        query_memory_bytes: config.query_memory_mb << 20,
        column_cache_bytes: config.column_cache_mb << 20,
        spill_bytes_max: config.spill_gb_max << 30,
        ..EngineOptions::new(&config.data_dir)
    }
}

impl Node {
    /// Opens the data, starts the engine and the listeners. Queries are planned and run on threads of their own.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub async fn start(config: Config, query_threads: Handle) -> Result<Node, NodeError> {
        // Addresses first: a mistake there should not touch the data.
        let sql = listen(&config.sql_addr).await?;
        let web = listen(&config.http_addr).await?;
        let (sql_addr, http_addr) = (address_of(&sql, &config.sql_addr)?, address_of(&web, &config.http_addr)?);
        let (stop, stopped) = watch::channel(false);
        let (close, closed) = watch::channel(false);
        let health = http::Health::new();
        let metrics = http::install_metrics();
        let http = tokio::spawn(http::serve(web, health.clone(), metrics, stopped.clone(), closed));

        let store = open_store(store_options(&config)).await?;
        let acceptor = tls::acceptor(&config)?;
        let engine = open_engine(&config, store.clone(), Some(query_threads)).await?;
        engine.clean_up().await?;
        health.ready(&engine, &config.data_dir);
        let options = Arc::new(WireOptions {
            tls: Some(acceptor),
            trust_loopback: config.trust_loopback,
            message_bytes_max: config.message_mb_max << 20,
        });
        let sql = tokio::spawn(wire::listener::listen(sql, engine.clone(), options, stopped));
        Ok(Node {
            store,
            engine,
            sql_addr,
            http_addr,
            stop,
            sql,
            close,
            http,
            grace: Duration::from_secs(config.shutdown_grace_seconds),
            trusted: config.trust_loopback,
        })
    }

    /// How to connect.
    pub fn greeting(&self) -> String {
        let everywhere = self.sql_addr.ip().is_unspecified();
        let login = match (self.trusted, self.sql_addr.ip().is_loopback()) {
            (true, true) => "",
            (true, false) => " (password required beyond loopback)",
            (false, _) => " (password required)",
        };
        // An address that stands for all of them is none to connect to.
        let shown = |address: SocketAddr| match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
            IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), address.port()),
            _ => address,
        };
        let listens = if everywhere { format!(", on {}", self.sql_addr) } else { String::new() };
        format!(
            "stratos {} is ready{listens}: psql postgres://stratos@{}/stratos{login}\nhealth and metrics: http://{}/metrics",
            env!("CARGO_PKG_VERSION"),
            shown(self.sql_addr),
            shown(self.http_addr),
        )
    }

    /// Stops accepting, lets running statements end for a bounded time, flushes.
    ///
    /// # Errors
    /// What could not be flushed.
    pub async fn stop(self) -> Result<(), NodeError> {
        self.stop.send_replace(true);
        if let Err(error) = self.engine.shutdown(self.grace).await {
            // Their numbers are reserved: they skip some, as after a crash.
            tracing::warn!(%error, "sequences could not be written back");
        }
        // A listener that panicked has nothing left to stop.
        let _ = tokio::time::timeout(LISTENER_GRACE, self.sql).await;
        let flushed = self.store.shutdown().await;
        self.close.send_replace(true);
        let _ = tokio::time::timeout(LISTENER_GRACE, self.http).await;
        Ok(flushed?)
    }
}
