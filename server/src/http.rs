//! Health and metrics over HTTP.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use stratos_query::engine::Engine;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Whether the node serves.
#[derive(Clone, Default)]
pub struct Health(Arc<OnceLock<Arc<Engine>>>);

impl Health {
    /// A node that is starting.
    pub fn new() -> Health {
        Health::default()
    }

    /// The engine is open: the node serves from now on.
    pub fn ready(&self, engine: &Arc<Engine>) {
        // A node becomes ready once.
        let _ = self.0.set(engine.clone());
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
    metrics::describe_gauge!("stratos_build_info", "Always 1; the label says which version runs.");
    metrics::gauge!("stratos_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    metrics::describe_counter!("stratos_sql_connections_total", "Connections accepted on the SQL port.");
    metrics::describe_gauge!("stratos_sql_sessions", "Open sessions.");
    metrics::describe_gauge!("stratos_sql_sessions_active", "Sessions that are running a statement.");
    metrics::describe_gauge!("stratos_sql_query_memory_bytes", "Memory that running queries hold.");
    metrics::describe_gauge!("stratos_store_shards", "Shards with a replica on this node.");
    metrics::describe_gauge!("stratos_store_rows", "Live rows and index entries, all shards.");
    metrics::describe_gauge!("stratos_store_logical_bytes", "Bytes of live keys and values before compression.");
}

/// Serves until told to stop.
pub async fn serve(
    listener: TcpListener,
    health: Health,
    metrics: Option<PrometheusHandle>,
    stopped: watch::Receiver<bool>,
) {
    let shared = Shared { health, metrics, stopped: stopped.clone() };
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(render))
        .with_state(shared);
    let mut stop = stopped;
    let until = async move {
        // The node is gone if the sender is.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(until).await {
        tracing::warn!(%error, "the HTTP listener ended");
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
    if let Some(engine) = shared.health.0.get() {
        let shards = engine.store().shards();
        metrics::gauge!("stratos_sql_sessions").set(engine.session_count() as f64);
        metrics::gauge!("stratos_sql_sessions_active").set(engine.active_count() as f64);
        metrics::gauge!("stratos_sql_query_memory_bytes").set(engine.query_memory_bytes() as f64);
        metrics::gauge!("stratos_store_shards").set(shards.len() as f64);
        metrics::gauge!("stratos_store_rows").set(shards.iter().map(|s| s.rows).sum::<u64>() as f64);
        metrics::gauge!("stratos_store_logical_bytes").set(shards.iter().map(|s| s.bytes).sum::<u64>() as f64);
    }
    (StatusCode::OK, handle.render())
}
