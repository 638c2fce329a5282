//! Certificates for TLS: configured ones, or one that the node makes for itself at its first start.

use std::fs::{File, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use stratos_query::engine::Encryption;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{CommonState, ProtocolVersion, ServerConfig};

use crate::config::Config;

/// What is wrong with the certificates.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("cannot use the certificate file {}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// Certificate and key do not go together, or one cannot be made.
    #[error("cannot use the certificate: {0}")]
    Certificate(String),
}

fn file_error(path: &Path) -> impl Fn(&dyn std::fmt::Display) -> TlsError + '_ {
    move |error| TlsError::File { path: path.to_owned(), message: error.to_string() }
}

/// The acceptor for a configuration. The store's directory must exist.
///
/// # Errors
/// See [`TlsError`].
pub fn acceptor(config: &Config) -> Result<TlsAcceptor, TlsError> {
    let (certificate, key) = match (&config.tls_certificate, &config.tls_key) {
        (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
        _ => own_certificate(&config.data_dir.join("tls"))?,
    };
    let chain = CertificateDer::pem_file_iter(&certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| file_error(&certificate)(&error))?;
    if chain.is_empty() {
        return Err(file_error(&certificate)(&"there is no certificate in it (PEM: -----BEGIN CERTIFICATE-----)"));
    }
    let private = PrivateKeyDer::from_pem_file(&key).map_err(|error| match error {
        pem::Error::NoItemsFound => {
            file_error(&key)(&"there is no private key in it (PEM: -----BEGIN PRIVATE KEY-----)")
        }
        error => file_error(&key)(&error),
    })?;
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| TlsError::Certificate(error.to_string()))?;
    Ok(TlsAcceptor::from(Arc::new(server)))
}

/// How a connection is encrypted, once it is agreed, in the words of OpenSSL.
pub fn encryption(connection: &CommonState) -> Option<Encryption> {
    let version = match connection.protocol_version()? {
        ProtocolVersion::TLSv1_3 => "TLSv1.3",
        ProtocolVersion::TLSv1_2 => "TLSv1.2",
        _ => return None,
    };
    let suite = connection.negotiated_cipher_suite()?.suite();
    let cipher = cipher_name(suite.as_str()?);
    let bits = if cipher.contains("AES_128") || cipher.contains("AES128") { 128 } else { 256 };
    Some(Encryption { version: version.to_owned(), cipher, bits })
}

/// OpenSSL's name of a suite that rustls calls `TLS13_AES_256_GCM_SHA384` or `TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384`.
fn cipher_name(suite: &str) -> String {
    match (suite.strip_prefix("TLS13_"), suite.strip_prefix("TLS_")) {
        (Some(rest), _) => format!("TLS_{rest}"),
        // There ChaCha has no hash in its name, and AES no dash before its bits.
        (_, Some(rest)) => {
            rest.replace("WITH_", "").replace("POLY1305_SHA256", "POLY1305").replace("AES_", "AES").replace('_', "-")
        }
        _ => suite.to_owned(),
    }
}

/// How long the node's own certificate holds, and how far its beginning lies back, for clients whose clocks do.
const OWN_VALIDITY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
const OWN_BEGINNING: Duration = Duration::from_secs(24 * 3600);

/// A new certificate and its key, in PEM.
fn make_certificate() -> Result<(String, String), rcgen::Error> {
    let mut params = rcgen::CertificateParams::new(["localhost", "127.0.0.1", "::1"].map(str::to_owned))?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "stratos");
    let now = SystemTime::now();
    params.not_before = (now - OWN_BEGINNING).into();
    params.not_after = (now + OWN_VALIDITY).into();
    let key = rcgen::KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// The node's own certificate: made once, kept in the data directory.
fn own_certificate(dir: &Path) -> Result<(PathBuf, PathBuf), TlsError> {
    let (certificate, key) = (dir.join("server.crt"), dir.join("server.key"));
    let is_there = |path: &Path| std::fs::metadata(path).is_ok_and(|file| file.len() > 0);
    if is_there(&certificate) && is_there(&key) {
        return Ok((certificate, key));
    }
    // Each is whole or not there, so that a crash in between leaves nothing that a start would take for a certificate.
    let write = || -> std::io::Result<()> {
        create_private_dir(dir)?;
        let (made, private) = make_certificate().map_err(std::io::Error::other)?;
        write_private(&key, &private)?;
        write_private(&certificate, &made)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(|error| file_error(dir)(&error))?;
    Ok((certificate, key))
}

fn create_private_dir(dir: &Path) -> std::io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        created => created,
    }
}

/// Writes a file that only its owner may read, wholly or not at all.
fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&new)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_have_the_names_of_openssl() {
        for (rustls, openssl) in [
            ("TLS13_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"),
            ("TLS13_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256"),
            ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
            ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"),
        ] {
            assert_eq!(cipher_name(rustls), openssl);
        }
    }

    #[test]
    fn the_own_certificate_says_whose_it_is_and_for_how_long() {
        let (made, _) = make_certificate().unwrap();
        let der = CertificateDer::from_pem_slice(made.as_bytes()).unwrap();
        let holds = |what: &[u8]| der.windows(what.len()).any(|part| part == what);
        assert!(holds(b"stratos") && !holds(b"rcgen"));
        // What rcgen gives a certificate of which nothing is said: to the year 4096.
        assert!(!holds(b"4096"));
    }

    #[test]
    fn files_without_pem_are_called_that() {
        let home = tempfile::tempdir().unwrap();
        let empty = home.path().join("empty.pem");
        std::fs::write(&empty, "not PEM").unwrap();
        let config = Config { tls_certificate: Some(empty.clone()), tls_key: Some(empty.clone()), ..Config::default() };
        let said = acceptor(&config).map(drop).unwrap_err().to_string();
        assert!(said.contains("there is no certificate in it"), "{said}");
        let (certificate, _) = own_certificate(&home.path().join("tls")).unwrap();
        let config = Config { tls_certificate: Some(certificate), ..config };
        let said = acceptor(&config).map(drop).unwrap_err().to_string();
        assert!(said.contains("there is no private key in it"), "{said}");
    }

    #[test]
    fn a_certificate_is_made_once_and_a_crash_on_the_way_leaves_no_half() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("tls");
        // What a process that was killed in the middle may have left.
        std::fs::create_dir(&dir).unwrap();
        for half in ["server.key", "server.crt", "server.new"] {
            std::fs::write(dir.join(half), "").unwrap();
        }
        let config = || Config { data_dir: home.path().to_owned(), ..Config::default() };
        acceptor(&config()).map(drop).unwrap();
        let (certificate, key) = own_certificate(&dir).unwrap();
        let made = std::fs::read(&certificate).unwrap();
        acceptor(&config()).map(drop).unwrap();
        assert_eq!(std::fs::read(&certificate).unwrap(), made);
        for path in [&certificate, &key] {
            assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o7777, 0o600);
        }
        assert!(!dir.join("server.new").exists());
    }
}
