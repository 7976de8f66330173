//! TLS of the client's side: whom to trust.

use std::sync::Arc;

use gate::dial::Anybody;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// Where systems keep the certificates that they trust, in one file.
const SYSTEM: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Whom to trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Whom the system trusts.
    #[default]
    System,
    /// The certificates in this file.
    File(String),
    /// Anybody: for servers with a certificate of their own making.
    Anybody,
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No file with certificates that can be read.
    #[error("cannot read certificates from {path}: {error}; give --ca FILE or --insecure")]
    Roots {
        /// Which file.
        path: String,
        /// Why.
        error: String,
    },
    /// The library refuses its configuration.
    #[error("TLS: {0}")]
    Library(#[from] rustls::Error),
}

impl Trust {
    /// The configuration of all connections of a run. They resume sessions as browsers do not:
    /// each player is a stranger to the server.
    ///
    /// # Errors
    /// The certificates cannot be read.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?;
        let mut config = match self {
            Self::Anybody => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anybody::new(provider)))
                .with_no_client_auth(),
            Self::System | Self::File(_) => {
                builder.with_root_certificates(self.roots()?).with_no_client_auth()
            }
        };
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let path = match self {
            Self::File(path) => path.as_str(),
            _ => SYSTEM.iter().find(|p| std::path::Path::new(p).is_file()).unwrap_or(&"/etc/ssl"),
        };
        let fail = |error: String| TlsError::Roots { path: path.to_owned(), error };
        let list = CertificateDer::pem_file_iter(path).map_err(|e| fail(e.to_string()))?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(list.filter_map(Result::ok));
        if roots.is_empty() {
            return Err(fail("there is no certificate in it".to_owned()));
        }
        Ok(roots)
    }
}
