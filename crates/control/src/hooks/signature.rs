//! Who sent a callback: a keyed hash over its time and its body.

use std::fmt::Write;

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The header that carries it.
pub const HEADER: &str = "x-millrace-signature";

/// The header's value: `t=<seconds since 1970>,v1=<hex of HMAC-SHA256(secret, "<t>.<body>")>`.
pub fn sign(secret: &str, unix_s: u64, body: &[u8]) -> String {
    let mut text = format!("t={unix_s},v1=");
    // A key of any length is fine.
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) {
        mac.update(unix_s.to_string().as_bytes());
        mac.update(b".");
        mac.update(body);
        for byte in mac.finalize().into_bytes() {
            let _ = write!(text, "{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_others_compute() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret
        assert_eq!(
            sign("secret", 1_700_000_000, b"{\"a\":1}"),
            "t=1700000000,v1=49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686"
        );
    }
}
