//! TLS and GSS encryption, as they are asked for before anything else is said.

use stratos_tests::client::Server;
use stratos_tests::frames::{Frames, packet, query};

const SSL_REQUEST: i32 = 80_877_103;
const GSS_REQUEST: i32 = 80_877_104;
/// How the session's own connection is encrypted.
const OWN: &str = "SELECT ssl, version, cipher, bits >= 128 FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

pub fn with_tls(server: &Server) {
    let mut frames = Frames::raw(server);
    frames.send(&packet(GSS_REQUEST, &[]));
    assert_eq!(frames.byte(), Some(b'N'));
    frames.send(&packet(SSL_REQUEST, &[]));
    assert_eq!(frames.byte(), Some(b'S'));
    // Something that is no TLS handshake.
    frames.try_send(b"hello, is this TLS?\r\n\r\n");
    frames.until_closed();
    // Bytes behind the request in the clear are refused (CVE-2021-23214).
    let mut frames = Frames::raw(server);
    frames.send(&[packet(SSL_REQUEST, &[]), query("SELECT 1")].concat());
    assert!(!frames.until_closed().contains(&b'T'));
    // An encrypted session by libpq.
    let uri = format!("{}?sslmode=require", server.uri());
    let output = server.psql(&["-d", &uri, "-qAtc", OWN]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.starts_with("t|TLSv1.") && said.contains("AES") && said.trim_end().ends_with("|t"), "{output:?}");
    let uri = format!("{}?sslmode=disable", server.uri());
    let output = server.psql(&["-d", &uri, "-qAtc", OWN]);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "f|||", "{output:?}");
}

pub fn without_tls(server: &Server) {
    let mut frames = Frames::raw(server);
    frames.send(&packet(SSL_REQUEST, &[]));
    assert_eq!(frames.byte(), Some(b'N'));
    // A server that is built with GSSAPI takes the offer.
    frames.send(&packet(GSS_REQUEST, &[]));
    assert!(matches!(frames.byte(), Some(b'N' | b'G')));
}
