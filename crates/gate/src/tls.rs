//! TLS with rustls: certificates from PEM files, replaced while the server runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// Why a certificate or key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds no PEM of that sort.
    #[error("cannot read the {what} {path}: {error}")]
    Pem {
        /// `certificate` or `private key`.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        error: rustls::pki_types::pem::Error,
    },
    /// The file holds no certificate.
    #[error("{0} holds no certificate")]
    Empty(PathBuf),
    /// Key and certificate do not go together, or cannot be used.
    #[error("the certificate {cert} and the key {key} cannot be used: {error}")]
    Pair {
        /// Certificate file.
        cert: PathBuf,
        /// Key file.
        key: PathBuf,
        /// What rustls said.
        error: rustls::Error,
    },
}

type Stamps = [Option<SystemTime>; 2];

/// A certificate that may be replaced while connections are accepted with it.
pub struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    alpn: Vec<Vec<u8>>,
    current: ArcSwap<(Arc<ServerConfig>, Stamps)>,
}

fn stamps(cert: &Path, key: &Path) -> Stamps {
    [cert, key].map(|p| std::fs::metadata(p).and_then(|m| m.modified()).ok())
}

fn read(cert: &Path, key: &Path, alpn: &[Vec<u8>]) -> Result<Arc<ServerConfig>, TlsError> {
    let pem = |what, path: &Path, error| TlsError::Pem { what, path: path.to_owned(), error };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect)
        .map_err(|e| pem("certificate", cert, e))?;
    if chain.is_empty() {
        return Err(TlsError::Empty(cert.to_owned()));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| pem("private key", key, e))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|b| b.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|error| TlsError::Pair { cert: cert.into(), key: key.into(), error })?;
    config.alpn_protocols = alpn.to_vec();
    Ok(Arc::new(config))
}

impl Certificate {
    /// Reads certificate chain and key. `alpn`: the protocols to offer, best first.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what is wrong with it.
    pub fn load(cert: &Path, key: &Path, alpn: &[&[u8]]) -> Result<Arc<Self>, TlsError> {
        let alpn: Vec<Vec<u8>> = alpn.iter().map(|a| a.to_vec()).collect();
        // Looked at first: what is replaced while it is read is read again at the next refresh.
        let stamps = stamps(cert, key);
        let config = read(cert, key, &alpn)?;
        Ok(Arc::new(Self {
            cert: cert.to_owned(),
            key: key.to_owned(),
            alpn,
            current: ArcSwap::from_pointee((config, stamps)),
        }))
    }

    /// Reads the files again if they have changed. The old certificate stays when the new one is
    /// faulty. `Ok(true)`: replaced.
    ///
    /// # Errors
    /// [`TlsError`]; the old certificate stays in use.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let now = stamps(&self.cert, &self.key);
        if self.current.load().1 == now {
            return Ok(false);
        }
        let config = read(&self.cert, &self.key, &self.alpn)?;
        self.current.store(Arc::new((config, now)));
        Ok(true)
    }

    /// What to accept the next connection with.
    pub fn acceptor(&self) -> tokio_rustls::TlsAcceptor {
        self.current.load().0.clone().into()
    }

    /// The certificate file.
    pub fn path(&self) -> &Path {
        &self.cert
    }
}
