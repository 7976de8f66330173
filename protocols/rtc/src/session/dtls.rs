//! The handshake that gives the keys of media, and the channel for data (RFC 5763, RFC 5764).

use std::sync::Arc;

/// SHA-256 of a certificate, as SDP tells it (RFC 8122 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

/// Who begins the handshake (RFC 5763 §5): `a=setup` of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// We do, as the client.
    Active,
    /// The peer does; we are the server.
    Passive,
}

/// Which versions of DTLS are spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Version {
    /// 1.3 if the peer has it, else 1.2.
    #[default]
    Auto,
    /// 1.2 only.
    Dtls12,
    /// 1.3 only.
    Dtls13,
}

impl std::fmt::Display for Version {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Auto => "DTLS",
            Self::Dtls12 => "DTLS 1.2",
            Self::Dtls13 => "DTLS 1.3",
        })
    }
}

/// Our certificate and key with its fingerprint; made once per process, shared by all sessions.
#[derive(Debug, Clone)]
pub struct Identity {
    inner: Arc<dimpl::DtlsCertificate>,
    fingerprint: Fingerprint,
}

/// Why a certificate was not made or not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// No certificate could be made; our fault.
    #[error("no certificate was made: {0}")]
    Make(String),
}

impl Identity {
    /// Takes a certificate and its key, both DER; the key PKCS #8, ECDSA over P-256 or P-384.
    pub fn from_der(certificate: Vec<u8>, private_key: Vec<u8>) -> Self {
        let fingerprint = Fingerprint::of(&certificate);
        let inner = Arc::new(dimpl::DtlsCertificate { certificate, private_key });
        Self { inner, fingerprint }
    }

    /// What belongs into our SDP.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    pub fn of(certificate: &[u8]) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
        Self(digest.as_ref().first_chunk().copied().unwrap_or_default())
    }
}
