//! Keys that verify tokens: from a secret, a PEM file, or a JSON Web Key Set (RFC 7517).

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{SubjectPublicKeyInfoDer, alg_id};
use serde::Deserialize;

/// Keys of one set; each costs a verification of a token that names none.
const MAX_KEYS: usize = 64;

/// Why something gives no key. Its writer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("there is no public key in it (PEM, `-----BEGIN PUBLIC KEY-----`)")]
    NoPem,
    #[error("its key is none of RSA (2048 bits or more), EC P-256 and Ed25519")]
    Kind,
    #[error("it is no JSON Web Key Set")]
    NoSet,
    #[error("none of its keys can be used: RSA (2048 bits or more), EC P-256 and Ed25519 can")]
    NoKey,
}

enum Verifier {
    Secret(Box<hmac::Key>),
    Public(Box<ParsedPublicKey>),
}

/// One key; its kind fixes the algorithm.
pub(crate) struct Key {
    kid: Option<String>,
    algorithm: &'static str,
    verifier: Verifier,
}

impl Key {
    /// The word in a token's header.
    pub(crate) fn algorithm(&self) -> &'static str {
        self.algorithm
    }

    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.verifier {
            Verifier::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            Verifier::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }

    fn public(
        kid: Option<String>,
        algorithm: &'static str,
        by: &'static dyn VerificationAlgorithm,
        bytes: &[u8],
    ) -> Option<Self> {
        let key = ParsedPublicKey::new(by, bytes).ok()?;
        Some(Self { kid, algorithm, verifier: Verifier::Public(Box::new(key)) })
    }
}

/// Several keys.
#[derive(Default)]
pub(crate) struct Keys(Vec<Key>);

impl Keys {
    /// A shared secret: HS256.
    pub(crate) fn add_secret(&mut self, secret: &str) {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        self.0.push(Key {
            kid: None,
            algorithm: "HS256",
            verifier: Verifier::Secret(Box::new(key)),
        });
    }

    /// The public keys of a PEM file.
    pub(crate) fn add_pem(&mut self, pem: &[u8]) -> Result<(), KeyError> {
        let mut found = false;
        for info in SubjectPublicKeyInfoDer::pem_slice_iter(pem).take(MAX_KEYS) {
            let info = info.map_err(|_| KeyError::NoPem)?;
            self.0.push(from_info(&info).ok_or(KeyError::Kind)?);
            found = true;
        }
        if found { Ok(()) } else { Err(KeyError::NoPem) }
    }

    /// A JSON Web Key Set. Keys for encryption, of other kinds and secrets are passed over: a
    /// secret that anybody can fetch is none.
    pub(crate) fn from_set(json: &[u8]) -> Result<Self, KeyError> {
        let set: Set = serde_json::from_slice(json).map_err(|_| KeyError::NoSet)?;
        let keys: Vec<Key> = set.keys.into_iter().filter_map(from_jwk).take(MAX_KEYS).collect();
        if keys.is_empty() { Err(KeyError::NoKey) } else { Ok(Self(keys)) }
    }

    /// The keys that a token may mean: those of its id, those without one, and all for a token
    /// that names none.
    pub(crate) fn named(&self, kid: Option<&str>) -> impl Iterator<Item = &Key> {
        self.0.iter().filter(move |key| match (kid, key.kid.as_deref()) {
            (Some(wanted), Some(own)) => wanted == own,
            _ => true,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// DER: `SEQUENCE { SEQUENCE { algorithm }, BIT STRING }`.
fn from_info(info: &SubjectPublicKeyInfoDer<'_>) -> Option<Key> {
    let mut outer = Der(info.as_ref());
    let mut inner = Der(outer.take(0x30)?);
    let algorithm = inner.take(0x30)?;
    let (name, by): (_, &'static dyn VerificationAlgorithm) = match algorithm {
        a if a == alg_id::RSA_ENCRYPTION.as_ref() => ("RS256", &RSA_PKCS1_2048_8192_SHA256),
        a if a == alg_id::ECDSA_P256.as_ref() => ("ES256", &ECDSA_P256_SHA256_FIXED),
        a if a == alg_id::ED25519.as_ref() => ("EdDSA", &ED25519),
        _ => return None,
    };
    Key::public(None, name, by, info.as_ref())
}

/// The rest of a DER text.
pub(super) struct Der<'a>(pub(super) &'a [u8]);

impl<'a> Der<'a> {
    /// The contents of the next element, if it is of this kind. Lengths of up to 64 KiB.
    pub(super) fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (own, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(*first), rest),
            0x81 => rest.split_first().map(|(len, rest)| (usize::from(*len), rest))?,
            0x82 => {
                let (len, rest) = rest.split_first_chunk::<2>()?;
                (usize::from(u16::from_be_bytes(*len)), rest)
            }
            _ => return None,
        };
        let (inner, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        (*own == tag).then_some(inner)
    }
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Jwk>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

fn from_jwk(jwk: Jwk) -> Option<Key> {
    let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
    if jwk.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    let (name, by, key): (_, &'static dyn VerificationAlgorithm, _) =
        match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => {
                let key = rsa_key(&bytes(&jwk.n)?, &bytes(&jwk.e)?);
                ("RS256", &RSA_PKCS1_2048_8192_SHA256, key)
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes(&jwk.x)?, bytes(&jwk.y)?);
                if x.len() != 32 || y.len() != 32 {
                    return None;
                }
                ("ES256", &ECDSA_P256_SHA256_FIXED, [vec![4], x, y].concat())
            }
            ("OKP", Some("Ed25519")) => {
                let x = bytes(&jwk.x)?;
                if x.len() != 32 {
                    return None;
                }
                ("EdDSA", &ED25519, x)
            }
            _ => return None,
        };
    if jwk.alg.as_deref().is_some_and(|alg| alg != name) {
        return None;
    }
    Key::public(jwk.kid, name, by, &key)
}

/// `RSAPublicKey` of RFC 8017: `SEQUENCE { INTEGER n, INTEGER e }`.
fn rsa_key(n: &[u8], e: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| {
        let start = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len());
        let bytes = bytes.get(start..).unwrap_or_default();
        // A first bit that is set would make it negative.
        let zero = bytes.first().is_none_or(|byte| *byte >= 0x80);
        let value = if zero { [&[0], bytes].concat() } else { bytes.to_vec() };
        element(0x02, &value)
    };
    element(0x30, &[integer(n), integer(e)].concat())
}

fn element(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let len = value.len().to_be_bytes();
    let start = len.iter().position(|byte| *byte != 0).unwrap_or(len.len().saturating_sub(1));
    let len = len.get(start..).unwrap_or_default();
    if value.len() >= 0x80 {
        out.push(0x80 | u8::try_from(len.len()).unwrap_or(8));
    }
    out.extend_from_slice(len);
    out.extend_from_slice(value);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn der_lengths_of_every_form_are_written_and_read() {
        for len in [0usize, 1, 127, 128, 255, 256, 1000] {
            let bytes = element(0x30, &vec![7; len]);
            assert_eq!(Der(&bytes).take(0x30).map(<[u8]>::len), Some(len));
            assert_eq!(Der(&bytes).take(0x31), None);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_borne(bytes: Vec<u8>) {
            let mut keys = Keys::default();
            let _ = keys.add_pem(&bytes);
            let _ = Keys::from_set(&bytes);
            let _ = from_info(&SubjectPublicKeyInfoDer::from(bytes.as_slice()));
        }

        #[test]
        fn any_set_is_borne(
            kty in "(RSA|EC|OKP|oct)", crv in "(P-256|Ed25519|P-384)",
            n in "[A-Za-z0-9_-]{0,60}", e in "(AQAB|[A-Za-z0-9_-]{0,4})",
        ) {
            let json = format!(
                r#"{{"keys":[{{"kty":"{kty}","crv":"{crv}","n":"{n}","e":"{e}","x":"{n}","y":"{n}"}}]}}"#
            );
            let _ = Keys::from_set(json.as_bytes());
        }
    }
}
