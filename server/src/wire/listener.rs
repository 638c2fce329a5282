//! Accepts connections, within limits.

use std::sync::Arc;
use std::time::Duration;

use stratos_query::engine::Engine;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use super::startup::{WireOptions, run};

/// Sockets that may be open beyond the sessions: those still authenticating, and those told that there are too many.
const SOCKETS_BEYOND_SESSIONS: usize = 64;
/// Pause after an accept that failed, for instance for want of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Accepts until told to stop.
pub async fn listen(
    listener: TcpListener,
    engine: Arc<Engine>,
    options: Arc<WireOptions>,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(engine.options().connections_max + SOCKETS_BEYOND_SESSIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((socket, peer)) => {
                metrics::counter!("stratos_sql_connections_total").increment(1);
                if let Err(error) = socket.set_nodelay(true) {
                    tracing::debug!(%error, "cannot set TCP_NODELAY");
                }
                keep_alive(&socket);
                let (engine, options) = (engine.clone(), options.clone());
                tokio::spawn(async move {
                    run(engine, options, socket, peer).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

/// A client whose machine vanished is noticed after about five minutes.
fn keep_alive(socket: &tokio::net::TcpStream) {
    let probe = socket2::TcpKeepalive::new().with_time(Duration::from_secs(240)).with_interval(Duration::from_secs(15));
    if let Err(error) = socket2::SockRef::from(socket).set_tcp_keepalive(&probe) {
        tracing::debug!(%error, "cannot set TCP keepalive");
    }
}
