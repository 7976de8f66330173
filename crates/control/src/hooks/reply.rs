//! What a callback's server answers, and what that means.

use serde_json::Value;

/// Longest reply that is read. Those of real servers have a dozen bytes, or a few kilobytes of
/// debugging.
pub const MAX_REPLY: usize = 64 * 1024;
/// Deepest nesting of a reply: `{"code":0,"data":{...}}` has two levels.
pub const MAX_DEPTH: usize = 32;

/// Destinations of one stream. Sites have two or three; each is a connection of its own.
pub const MAX_URLS: usize = 64;

/// A reply that is not a yes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// Neither 200 nor 201.
    #[error("status {0}")]
    Status(u16),
    /// No body.
    #[error("the reply is empty")]
    Empty,
    /// More than [`MAX_REPLY`] bytes.
    #[error("the reply is longer than {MAX_REPLY} bytes")]
    TooLong,
    /// More than [`MAX_DEPTH`] levels.
    #[error("the reply is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Not JSON.
    #[error("the reply is no JSON")]
    NotJson,
    /// JSON, but neither a number nor an object.
    #[error("the reply is neither 0 nor an object with a code")]
    Shape,
    /// A number that is not 0.
    #[error("the reply is {0}")]
    Number(String),
    /// An object without a whole number as `code`.
    #[error("the reply has no whole number as code")]
    NoCode,
    /// A code that is not 0.
    #[error("the reply has code {0}")]
    Code(i64),
    /// A yes that should name destinations, and has no list of them.
    #[error("the reply has no list of text as data.urls")]
    NoUrls,
    /// More than [`MAX_URLS`] destinations.
    #[error("the reply names {0} destinations, more than {MAX_URLS}")]
    TooManyUrls(usize),
}

impl ReplyError {
    /// The number that SRS gives for it.
    pub const fn code(&self) -> u32 {
        match self {
            Self::Status(_) => 4005,
            Self::NoCode | Self::Code(_) => 3064,
            Self::NoUrls | Self::TooManyUrls(_) => 1030,
            _ => 3008,
        }
    }

    /// A plain no. Everything else is no answer to the question: the server, or what is in front
    /// of it, is not well.
    pub const fn is_no(&self) -> bool {
        match self {
            Self::Status(status) => *status >= 400 && *status < 500,
            Self::Number(_) | Self::NoCode | Self::Code(_) => true,
            _ => false,
        }
    }

    /// Whether another try may help.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Status(status) if *status >= 500 || *status == 408 || *status == 429)
    }
}

/// Looks at the status alone: the body of a refusal is not read.
///
/// # Errors
/// [`ReplyError::Status`].
pub const fn check_status(status: u16) -> Result<(), ReplyError> {
    match status {
        200 | 201 => Ok(()),
        other => Err(ReplyError::Status(other)),
    }
}

/// Whether the body says yes: `0`, or an object whose `code` is 0. Costs one pass over the bytes,
/// and memory for what they hold.
///
/// # Errors
/// [`ReplyError`]: always the fault of the callback's server.
pub fn decode(body: &[u8]) -> Result<(), ReplyError> {
    read(body).map(drop)
}

/// What a yes holds.
fn read(body: &[u8]) -> Result<Value, ReplyError> {
    if body.len() > MAX_REPLY {
        return Err(ReplyError::TooLong);
    }
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(ReplyError::Empty);
    }
    if depth(body) > MAX_DEPTH {
        return Err(ReplyError::TooDeep);
    }
    let value = serde_json::from_slice(body).map_err(|_| ReplyError::NotJson)?;
    match &value {
        Value::Number(number) if number.as_i64() == Some(0) => Ok(value),
        Value::Number(number) => Err(ReplyError::Number(number.to_string())),
        Value::Object(object) => match object.get("code").and_then(Value::as_i64) {
            Some(0) => Ok(value),
            Some(code) => Err(ReplyError::Code(code)),
            None => Err(ReplyError::NoCode),
        },
        _ => Err(ReplyError::Shape),
    }
}

/// The destinations that a yes to `on_forward` names: `{"code":0,"data":{"urls":["rtmp://..."]}}`.
/// None may be named, but the list must be there.
///
/// # Errors
/// [`ReplyError`]: always the fault of the callback's server.
pub fn decode_urls(body: &[u8]) -> Result<Vec<String>, ReplyError> {
    let reply = read(body)?;
    let list = reply.get("data").and_then(|data| data.get("urls")).and_then(Value::as_array);
    let list = list.ok_or(ReplyError::NoUrls)?;
    if list.len() > MAX_URLS {
        return Err(ReplyError::TooManyUrls(list.len()));
    }
    let text = |url: &Value| url.as_str().map(str::to_owned).ok_or(ReplyError::NoUrls);
    list.iter().map(text).collect()
}

/// How deep brackets outside of strings go.
fn depth(body: &[u8]) -> usize {
    let (mut now, mut most) = (0usize, 0usize);
    let (mut quoted, mut escaped) = (false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                now = now.saturating_add(1);
                most = most.max(now);
            }
            b'}' | b']' if !quoted => now = now.saturating_sub(1),
            _ => {}
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_zero_is_a_yes() {
        for yes in ["0", " 0\r\n", r#"{"code":0}"#, r#"{"code": 0, "data": {"x": [1]}}"#] {
            assert_eq!(decode(yes.as_bytes()), Ok(()), "{yes}");
        }
        let number = |n: &str| ReplyError::Number(n.to_owned());
        for (text, error, code) in [
            ("", ReplyError::Empty, 3008),
            (" \n", ReplyError::Empty, 3008),
            ("ok", ReplyError::NotJson, 3008),
            ("<html>", ReplyError::NotJson, 3008),
            ("0 0", ReplyError::NotJson, 3008),
            ("\"0\"", ReplyError::Shape, 3008),
            ("[0]", ReplyError::Shape, 3008),
            ("null", ReplyError::Shape, 3008),
            ("false", ReplyError::Shape, 3008),
            ("1", number("1"), 3008),
            ("-1", number("-1"), 3008),
            ("0.0", number("0.0"), 3008),
            ("{}", ReplyError::NoCode, 3064),
            (r#"{"code":"0"}"#, ReplyError::NoCode, 3064),
            (r#"{"code":0.0}"#, ReplyError::NoCode, 3064),
            (r#"{"code":null}"#, ReplyError::NoCode, 3064),
            (r#"{"code":7}"#, ReplyError::Code(7), 3064),
            (r#"{"Code":0}"#, ReplyError::NoCode, 3064),
        ] {
            let got = decode(text.as_bytes()).unwrap_err();
            assert_eq!((&got, got.code()), (&error, code), "{text}");
        }
        assert_eq!(check_status(201), Ok(()));
        assert_eq!(check_status(204).unwrap_err().code(), 4005);
    }

    #[test]
    fn a_no_differs_from_no_answer() {
        for status in [400, 401, 403, 404, 499] {
            assert!(ReplyError::Status(status).is_no(), "{status}");
        }
        for status in [204, 301, 302, 500, 502, 503] {
            assert!(!ReplyError::Status(status).is_no(), "{status}");
        }
        assert!(!ReplyError::NotJson.is_no() && !ReplyError::TooLong.is_no());
        assert!(ReplyError::Code(1).is_no());
    }

    #[test]
    fn size_and_depth_are_bounded() {
        assert_eq!(decode(&vec![b' '; MAX_REPLY + 1]), Err(ReplyError::TooLong));
        let nested = |n: usize| format!("{{\"code\":0,\"x\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert_eq!(decode(nested(MAX_DEPTH - 1).as_bytes()), Ok(()));
        assert_eq!(decode(nested(MAX_DEPTH).as_bytes()), Err(ReplyError::TooDeep));
        assert_eq!(decode(nested(30_000).as_bytes()), Err(ReplyError::TooDeep));
        // Brackets inside of strings nest nothing.
        let text = format!(r#"{{"code":0,"x":"\"{}"}}"#, "[".repeat(100));
        assert_eq!(decode(text.as_bytes()), Ok(()));
    }

    #[test]
    fn destinations_are_a_list_of_text() {
        let list = |n: usize| serde_json::json!(vec!["rtmp://h/a/s"; n]).to_string();
        for n in [0, 1, MAX_URLS] {
            let text = format!(r#"{{"code":0,"data":{{"urls":{}}}}}"#, list(n));
            assert_eq!(decode_urls(text.as_bytes()).unwrap().len(), n);
        }
        let many = format!(r#"{{"code":0,"data":{{"urls":{}}}}}"#, list(MAX_URLS + 1));
        assert_eq!(decode_urls(many.as_bytes()), Err(ReplyError::TooManyUrls(MAX_URLS + 1)));
        for text in [
            "0",
            r#"{"code":0}"#,
            r#"{"code":0,"data":[]}"#,
            r#"{"code":0,"data":{"urls":null}}"#,
            r#"{"code":0,"data":{"urls":"rtmp://h/a/s"}}"#,
            r#"{"code":0,"data":{"urls":["rtmp://h/a/s",1]}}"#,
        ] {
            let error = decode_urls(text.as_bytes()).unwrap_err();
            assert_eq!((&error, error.code()), (&ReplyError::NoUrls, 1030), "{text}");
        }
        let no = br#"{"code":7,"data":{"urls":[]}}"#;
        assert_eq!(decode_urls(no), Err(ReplyError::Code(7)));
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_meaning_and_only_zero_is_yes(body: Vec<u8>) {
            if decode(&body).is_ok() {
                let value: Value = serde_json::from_slice(&body).unwrap();
                let code = value.get("code").unwrap_or(&value);
                prop_assert_eq!(code.as_i64(), Some(0));
            }
        }

        #[test]
        fn objects_are_judged_by_their_code_alone(code: i64, other in "[a-z]{1,8}", text: String) {
            prop_assume!(other != "code");
            let body = serde_json::json!({ &other: text, "code": code }).to_string();
            let wanted = if code == 0 { Ok(()) } else { Err(ReplyError::Code(code)) };
            prop_assert_eq!(decode(body.as_bytes()), wanted);
        }
    }
}
