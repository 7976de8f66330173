//! What web servers answer to callbacks.

use control::hooks::reply::{MAX_REPLY, MAX_URLS, check_status, decode, decode_urls};

/// Whatever is answered has a meaning, only a zero is a yes, and white space around it is nothing.
pub fn hook_reply(data: &[u8]) {
    if let Some((status, body)) = data.split_first_chunk::<2>() {
        let status = u16::from_be_bytes(*status);
        assert_eq!(check_status(status).is_ok(), matches!(status, 200 | 201));
        verdict(body);
    }
    verdict(data);
}

fn verdict(body: &[u8]) {
    let meaning = decode(body);
    if body.len() > MAX_REPLY || !body.contains(&b'0') {
        assert!(meaning.is_err(), "no zero in it");
    }
    if let Err(error) = &meaning {
        assert!(matches!(error.code(), 3008 | 3064));
        assert!(!error.to_string().is_empty());
    }
    if let Ok(urls) = decode_urls(body) {
        assert!(meaning.is_ok() && urls.len() <= MAX_URLS, "destinations without a yes");
    }
    if body.len() < MAX_REPLY - 2 {
        let spaced = [b" ", body, b"\n"].concat();
        assert_eq!(decode(&spaced).is_ok(), meaning.is_ok());
    }
}
