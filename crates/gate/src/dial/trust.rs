//! TLS to servers that we dial.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::anybody::Anybody;

/// Why nobody can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The file cannot be read, or is no PEM.
    #[error("cannot read ca_file {0}: {1}")]
    Read(PathBuf, rustls::pki_types::pem::Error),
    /// The file holds nothing to trust.
    #[error("ca_file {0} holds no certificate that can be used")]
    Empty(PathBuf),
    /// The cryptography cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
}

type Known = (PathBuf, Option<SystemTime>, TlsConnector);

/// The ways to begin TLS that are in use: one per file of certificates, and one without.
#[derive(Default)]
pub(super) struct Trust {
    any: Mutex<Option<TlsConnector>>,
    files: Mutex<Vec<Known>>,
}

/// Files of certificates that are remembered; a server has one or two.
const FILES: usize = 16;

impl Trust {
    /// How to begin TLS. Without `ca_file` any certificate will do, as with SRS: the connection is
    /// then safe from listeners only. Reads the file when it is new or has changed.
    pub(super) fn connector(&self, ca_file: &str) -> Result<TlsConnector, TrustError> {
        if ca_file.is_empty() {
            let mut any = self.any.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(connector) = &*any {
                return Ok(connector.clone());
            }
            let connector = trusting_anybody()?;
            return Ok(any.insert(connector).clone());
        }
        let path = Path::new(ca_file);
        let stamp = std::fs::metadata(path).and_then(|m| m.modified()).ok();
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((.., connector)) = files.iter().find(|(p, s, _)| p == path && *s == stamp) {
            return Ok(connector.clone());
        }
        let connector = trusting(path)?;
        files.retain(|(p, ..)| p != path);
        files.truncate(FILES);
        files.push((path.to_owned(), stamp, connector.clone()));
        Ok(connector)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn trusting(path: &Path) -> Result<TlsConnector, TrustError> {
    let read = |e| TrustError::Read(path.to_owned(), e);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(read)? {
        // Stores of systems hold some that are too old for rustls.
        let _ = roots.add(certificate.map_err(read)?);
    }
    if roots.is_empty() {
        return Err(TrustError::Empty(path.to_owned()));
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn trusting_anybody() -> Result<TlsConnector, TrustError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody::new(provider())))
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
