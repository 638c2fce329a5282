//! Accepts connections, within limits.

use std::sync::Arc;
use std::time::Duration;

use stratos_query::engine::Engine;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::startup::{WireOptions, run};
use crate::accept::Pause;
use crate::lobby::Lobby;

/// Sockets that may be open beyond the sessions: those still authenticating, and those told that there are too many. While there
/// are fewer sessions, there are more of these; the oldest of them makes room for the next.
const SOCKETS_BEYOND_SESSIONS: usize = 64;

/// Accepts until told to stop.
pub async fn listen(
    listener: TcpListener,
    engine: Arc<Engine>,
    options: Arc<WireOptions>,
    mut stop: watch::Receiver<bool>,
) {
    let mut pause = Pause::default();
    let lobby = Lobby::new(engine.options().connections_max + SOCKETS_BEYOND_SESSIONS);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((socket, peer)) => {
                pause = Pause::default();
                metrics::counter!("stratos_sql_connections_total").increment(1);
                if let Err(error) = socket.set_nodelay(true) {
                    tracing::debug!(%error, "cannot set TCP_NODELAY");
                }
                keep_alive(&socket);
                tokio::spawn(run(engine.clone(), options.clone(), socket, peer, lobby.enter()));
            }
            Err(error) => {
                tokio::select! {
                    () = pause.after(&error) => {}
                    _ = stop.wait_for(|stop| *stop) => return,
                }
            }
        }
    }
}

/// A client that takes nothing for so long, or whose machine does not answer, is given up.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(120);
/// When a silent client is asked whether it is there, and how often.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(15);

/// Lets the system notice clients that have gone. It sees what reaches them: one that reads slowly stays.
fn keep_alive(socket: &tokio::net::TcpStream) {
    let socket = socket2::SockRef::from(socket);
    let probe = socket2::TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY);
    let set = socket.set_tcp_keepalive(&probe).and_then(|()| socket.set_tcp_user_timeout(Some(GIVEN_UP_AFTER)));
    if let Err(error) = set {
        tracing::debug!(%error, "cannot have the system look after the connection");
    }
}
