//! Credentials that strangers show, and key sets that others publish.

use control::access::{Direction, Net, Wish, judge, key_set_size, sign_url};
use gate::redact;

/// No query lets anybody in who does not know a secret; none of it survives redaction; what is
/// signed here is let in.
pub fn credentials(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // The corpus has none of the secrets, and a fuzzer that finds one has broken HMAC.
    assert!(!judge(&text), "{text}");
    let _ = text.parse::<Net>();
    let shown = redact::address(&text).into_owned();
    assert_eq!(redact::address(&shown), shown, "hidden once is hidden");
    let marked = format!("{text}&token=QQQQQQQQ1&x={text}");
    assert!(!redact::address(&marked).contains("QQQQQQQQ1"), "{marked}");
    let wish = Wish {
        direction: Direction::Play,
        kid: None,
        secret: "a secret of the fuzzer",
        expires: 2_000,
        ip: None,
    };
    let _ = sign_url(&text, &wish);
    let signed = sign_url("rtmp://h/live/s", &wish).unwrap_or_default();
    let query = signed.split_once('?').map_or("", |(_, query)| query);
    assert!(judge(query), "{query}");
}

/// A set of keys may be anything; what is taken of it is little.
pub fn key_set(data: &[u8]) {
    if let Some(keys) = key_set_size(data) {
        assert!((1..=64).contains(&keys), "{keys} keys");
    }
}
