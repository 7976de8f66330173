//! The certificate of this process, which its SDP vouches for.

use crate::session::dtls::{Identity, IdentityError};

/// Makes a self-signed certificate of a new key, ECDSA over P-256 (RFC 8827 §6.5); once per
/// process.
pub fn make() -> Result<Identity, IdentityError> {
    let fault = |error: rcgen::Error| IdentityError::Make(error.to_string());
    let key = rcgen::KeyPair::generate().map_err(fault)?;
    let mut params = rcgen::CertificateParams::new(Vec::new()).map_err(fault)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "WebRTC");
    let certificate = params.self_signed(&key).map_err(fault)?;
    Identity::from_der(certificate.der().to_vec(), key.serialize_der())
}
