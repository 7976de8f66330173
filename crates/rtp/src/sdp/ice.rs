//! Certificates' hashes and the roles in the DTLS handshake.

use std::fmt;
use std::str::FromStr;

/// A hash of a certificate (RFC 8122 §5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    /// In small letters: `sha-256`.
    pub algorithm: String,
    /// The hash.
    pub bytes: Vec<u8>,
}

impl Fingerprint {
    /// That of SHA-256.
    pub fn sha256(bytes: impl Into<Vec<u8>>) -> Self {
        Self { algorithm: "sha-256".to_owned(), bytes: bytes.into() }
    }

    /// Whether it is the kind that everybody has to know.
    pub fn is_sha256(&self) -> bool {
        self.algorithm == "sha-256" && self.bytes.len() == 32
    }
}

/// What should be a fingerprint is not: the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is the name of a hash and its bytes as pairs of digits with colons between")]
pub struct FingerprintError;

/// Bytes of a hash, at most: SHA-512. Longer ones are of no hash there is.
const MAX_HASH: usize = 64;

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(value: &str) -> Result<Self, FingerprintError> {
        let (algorithm, hash) =
            value.trim().split_once(char::is_whitespace).ok_or(FingerprintError)?;
        let mut bytes = Vec::with_capacity(32);
        for pair in hash.trim().split(':') {
            let plain = pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !plain || bytes.len() >= MAX_HASH {
                return Err(FingerprintError);
            }
            bytes.push(u8::from_str_radix(pair, 16).map_err(|_| FingerprintError)?);
        }
        Ok(Self { algorithm: algorithm.to_ascii_lowercase(), bytes })
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.algorithm)?;
        for (index, byte) in self.bytes.iter().enumerate() {
            let colon = if index == 0 { "" } else { ":" };
            write!(f, "{colon}{byte:02X}")?;
        }
        Ok(())
    }
}

/// Who begins the DTLS handshake, seen from who says it (RFC 4145 §4, RFC 8842 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Setup {
    /// Either; only offers say it.
    ActPass,
    /// Who says it begins: the DTLS client.
    Active,
    /// Who says it waits: the DTLS server.
    Passive,
    /// Nobody yet.
    HoldConn,
}

impl Setup {
    /// The attribute's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ActPass => "actpass",
            Self::Active => "active",
            Self::Passive => "passive",
            Self::HoldConn => "holdconn",
        }
    }
}

impl FromStr for Setup {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        match word {
            "actpass" => Ok(Self::ActPass),
            "active" => Ok(Self::Active),
            "passive" => Ok(Self::Passive),
            "holdconn" => Ok(Self::HoldConn),
            _ => Err(()),
        }
    }
}
