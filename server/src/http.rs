//! Health and metrics over HTTP.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use stratos_query::engine::Engine;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::accept::Pause;
use crate::exposition;
use crate::lobby::{Lobby, Place};

/// Whether the node serves.
#[derive(Clone, Default)]
pub struct Health(Arc<OnceLock<Serving>>);

#[derive(Clone)]
struct Serving {
    engine: Arc<Engine>,
    data_dir: PathBuf,
}

impl Health {
    /// A node that is starting.
    pub fn new() -> Health {
        Health::default()
    }

    /// The engine is open: the node serves from now on.
    pub fn ready(&self, engine: &Arc<Engine>, data_dir: &Path) {
        // A node becomes ready once.
        let _ = self.0.set(Serving { engine: engine.clone(), data_dir: data_dir.to_owned() });
    }
}

#[derive(Clone)]
struct Shared {
    health: Health,
    metrics: Option<PrometheusHandle>,
    stopped: watch::Receiver<bool>,
}

/// Starts collecting metrics; `None` when the process collects already.
pub fn install_metrics() -> Option<PrometheusHandle> {
    let handle = PrometheusBuilder::new().install_recorder().ok()?;
    describe();
    Some(handle)
}

fn describe() {
    metrics::describe_counter!("stratos_sql_errors_total", "Errors told to clients, by class of SQLSTATE.");
    metrics::describe_gauge!("stratos_build_info", "Always 1; the label says which version runs.");
    metrics::gauge!("stratos_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    metrics::describe_counter!("stratos_sql_connections_total", "Connections accepted on the SQL port.");
    metrics::describe_counter!(
        "stratos_connections_crowded_out_total",
        "Connections that were closed for newer ones before they said who they are."
    );
    metrics::describe_gauge!("stratos_sql_sessions", "Open sessions.");
    metrics::describe_gauge!("stratos_sql_sessions_active", "Sessions that are running a statement.");
    metrics::describe_gauge!("stratos_sql_query_memory_bytes", "Memory that running queries hold.");
    metrics::describe_gauge!("stratos_store_shards", "Shards with a replica on this node.");
    metrics::describe_gauge!("stratos_store_rows", "Live rows and index entries, all shards.");
    metrics::describe_gauge!("stratos_store_logical_bytes", "Bytes of live keys and values before compression.");
    metrics::describe_gauge!("stratos_row_cache_rows", "Rows and index entries in the row cache.");
    metrics::describe_gauge!("stratos_row_cache_bytes", "Memory that they take.");
    metrics::describe_gauge!("stratos_row_cache_capacity_bytes", "Most memory that they may take.");
    metrics::describe_counter!("stratos_row_cache_hits_total", "Lookups by key that the row cache answered.");
    metrics::describe_counter!("stratos_row_cache_misses_total", "Lookups by key that went past the row cache.");
}

/// Serves until told to close, which is the last thing that a node does: who asks after its health while it stops gets an answer.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    metrics: Option<PrometheusHandle>,
    stopped: watch::Receiver<bool>,
    mut close: watch::Receiver<bool>,
) {
    let shared = Shared { health, metrics, stopped };
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render))
        .with_state(shared);
    let until = async move {
        // The node is gone if the sender is.
        let _ = close.wait_for(|close| *close).await;
    };
    if let Err(error) = axum::serve(Limited::new(listener), router).with_graceful_shutdown(until).await {
        tracing::warn!(%error, "the HTTP listener ended");
    }
}

/// Connections that may be open at once; the oldest makes room for the next.
const CONNECTIONS_MAX: usize = 64;
/// How long a client may take for a request, its headers included, and for what it says next.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// A listener within these limits.
struct Limited {
    listener: TcpListener,
    lobby: Arc<Lobby>,
}

impl Limited {
    fn new(listener: TcpListener) -> Limited {
        Limited { listener, lobby: Lobby::new(CONNECTIONS_MAX) }
    }
}

impl axum::serve::Listener for Limited {
    type Io = Guest<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Guest<TcpStream>, SocketAddr) {
        let mut pause = Pause::default();
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => return (Guest::new(stream, REQUEST_TIMEOUT, self.lobby.enter()), peer),
                Err(error) => pause.after(&error).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that is lost when its client says no whole request for too long, or when its place goes to another one.
struct Guest<S> {
    stream: S,
    patience: Duration,
    until: Pin<Box<Sleep>>,
    lost: Pin<Box<WaitForCancellationFutureOwned>>,
    _place: Place,
}

impl<S> Guest<S> {
    fn new(stream: S, patience: Duration, place: Place) -> Guest<S> {
        let until = Box::pin(tokio::time::sleep(patience));
        Guest { stream, patience, until, lost: Box::pin(place.lost()), _place: place }
    }

    /// Ready when it is listened to no more.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.lost.as_mut().poll(cx).is_ready() {
            return Poll::Ready(io::ErrorKind::ConnectionAborted.into());
        }
        self.until.as_mut().poll(cx).map(|()| io::ErrorKind::TimedOut.into())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guest<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(end) = self.poll_end(cx) {
            return Poll::Ready(Err(end));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guest<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if matches!(written, Poll::Ready(Ok(_))) {
            // An answer: the next request has its own time.
            let until = Instant::now() + self.patience;
            self.until.as_mut().reset(until);
        } else if written.is_pending()
            && let Poll::Ready(end) = self.poll_end(cx)
        {
            return Poll::Ready(Err(end));
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

async fn readyz(State(shared): State<Shared>) -> (StatusCode, &'static str) {
    if *shared.stopped.borrow() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    match shared.health.0.get() {
        Some(_) => (StatusCode::OK, "ready\n"),
        None => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
    }
}

async fn render(State(shared): State<Shared>) -> (StatusCode, String) {
    let Some(handle) = &shared.metrics else {
        return (StatusCode::NOT_FOUND, "metrics are collected elsewhere in this process\n".to_owned());
    };
    let mut more = String::new();
    if let Some(serving) = shared.health.0.get() {
        let engine = &serving.engine;
        let shards = engine.store().shards();
        metrics::gauge!("stratos_sql_sessions").set(engine.session_count() as f64);
        metrics::gauge!("stratos_sql_sessions_active").set(engine.active_count() as f64);
        metrics::gauge!("stratos_sql_query_memory_bytes").set(engine.query_memory_bytes() as f64);
        metrics::gauge!("stratos_store_shards").set(shards.len() as f64);
        metrics::gauge!("stratos_store_rows").set(shards.iter().map(|s| s.rows).sum::<u64>() as f64);
        metrics::gauge!("stratos_store_logical_bytes").set(shards.iter().map(|s| s.bytes).sum::<u64>() as f64);
        let cache = engine.store().row_cache();
        metrics::gauge!("stratos_row_cache_rows").set(cache.records as f64);
        metrics::gauge!("stratos_row_cache_bytes").set(cache.bytes as f64);
        metrics::gauge!("stratos_row_cache_capacity_bytes").set(cache.capacity_bytes as f64);
        metrics::counter!("stratos_row_cache_hits_total").absolute(cache.hits);
        metrics::counter!("stratos_row_cache_misses_total").absolute(cache.misses);
        let serving = serving.clone();
        // It looks at files.
        let written = tokio::task::spawn_blocking(move || exposition::page(&serving.engine, &serving.data_dir)).await;
        more = written.unwrap_or_default();
    }
    (StatusCode::OK, handle.render() + &more)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn who_says_no_whole_request_is_not_listened_to() {
        let patience = Duration::from_millis(300);
        let (ours, mut theirs) = tokio::io::duplex(1 << 10);
        let mut guest = Guest::new(ours, patience, Lobby::new(1).enter());
        let talk = tokio::spawn(async move {
            // A byte now and then is no request.
            while theirs.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let started = Instant::now();
        let error = loop {
            if let Err(error) = guest.read_u8().await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(started.elapsed() >= patience);
        // An answer gives time for another request.
        guest.write_all(b"y").await.unwrap();
        guest.read_u8().await.unwrap();
        drop(guest);
        talk.await.unwrap();
    }

    #[tokio::test]
    async fn who_comes_last_has_a_place() {
        let lobby = Lobby::new(1);
        let (ours, _theirs) = tokio::io::duplex(1 << 10);
        let mut silent = Guest::new(ours, REQUEST_TIMEOUT, lobby.enter());
        let waiting = tokio::spawn(async move { silent.read_u8().await.unwrap_err().kind() });
        let (ours, mut theirs) = tokio::io::duplex(1 << 10);
        let mut next = Guest::new(ours, REQUEST_TIMEOUT, lobby.enter());
        assert_eq!(waiting.await.unwrap(), io::ErrorKind::ConnectionAborted);
        theirs.write_u8(7).await.unwrap();
        assert_eq!(next.read_u8().await.unwrap(), 7);
    }
}
