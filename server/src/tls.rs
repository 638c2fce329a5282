//! Certificates for TLS: configured ones, or one that the node makes for itself at its first start.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;

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
    let private = PrivateKeyDer::from_pem_file(&key).map_err(|error| file_error(&key)(&error))?;
    let server = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| TlsError::Certificate(error.to_string()))?;
    Ok(TlsAcceptor::from(Arc::new(server)))
}

/// The node's own certificate: made once, kept in the data directory.
fn own_certificate(dir: &Path) -> Result<(PathBuf, PathBuf), TlsError> {
    let (certificate, key) = (dir.join("server.crt"), dir.join("server.key"));
    if certificate.exists() && key.exists() {
        return Ok((certificate, key));
    }
    std::fs::create_dir_all(dir).map_err(|error| file_error(dir)(&error))?;
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).map_err(|error| TlsError::Certificate(error.to_string()))?;
    write_private(&key, &made.signing_key.serialize_pem())?;
    write_private(&certificate, &made.cert.pem())?;
    Ok((certificate, key))
}

/// Writes a file that only its owner may read.
fn write_private(path: &Path, text: &str) -> Result<(), TlsError> {
    use std::io::Write;
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| file_error(path)(&error))?;
    let closed = std::fs::Permissions::from_mode(0o600);
    file.set_permissions(closed).map_err(|error| file_error(path)(&error))?;
    file.write_all(text.as_bytes()).map_err(|error| file_error(path)(&error))
}
