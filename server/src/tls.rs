//! Certificates for TLS: configured ones, or one that the node makes for itself at its first start.

use std::fs::{File, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
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
    let is_there = |path: &Path| std::fs::metadata(path).is_ok_and(|file| file.len() > 0);
    if is_there(&certificate) && is_there(&key) {
        return Ok((certificate, key));
    }
    // Each is whole or not there, so that a crash in between leaves nothing that a start would take for a certificate.
    let write = || -> std::io::Result<()> {
        create_private_dir(dir)?;
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).map_err(std::io::Error::other)?;
        write_private(&key, &made.signing_key.serialize_pem())?;
        write_private(&certificate, &made.cert.pem())?;
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
