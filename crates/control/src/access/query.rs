//! Credentials in the query of a stream.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// Longest value that is looked at, before its escapes are undone.
const MAX_VALUE: usize = 8192;

/// The query of a stream, as `Detail::param` has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// With or without its `?`.
    pub(crate) fn new(param: &'a str) -> Self {
        Self(param)
    }

    /// The first value of that name, escapes undone once. Items end at `&`, `;`, `?` and `#`; the
    /// value stands behind `=`, or behind `,` where an encoder's form takes no `=`. `None`: there
    /// is none, it is empty, too long, or no text.
    pub(crate) fn get(&self, name: &str) -> Option<Cow<'a, str>> {
        let value = self.0.split(['?', '&', ';', '#']).find_map(|item| {
            let (own, value) = item.split_once(['=', ','])?;
            (own == name).then_some(value)
        })?;
        if value.is_empty() || value.len() > MAX_VALUE {
            return None;
        }
        percent_decode_str(value).decode_utf8().ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn get(param: &str, name: &str) -> Option<String> {
        Query::new(param).get(name).map(Cow::into_owned)
    }

    #[test]
    fn the_first_value_of_a_name_counts() {
        assert_eq!(get("?a=1&key=x&key=y", "key").as_deref(), Some("x"));
        assert_eq!(get("?key,x", "key").as_deref(), Some("x"));
        assert_eq!(get("key=x;b=2", "b").as_deref(), Some("2"));
        assert_eq!(get("?ip=2001%3Adb8::1", "ip").as_deref(), Some("2001:db8::1"));
        assert_eq!(get("?token=a=b", "token").as_deref(), Some("a=b"));
        assert_eq!(get("?monkey=1", "key"), None);
        assert_eq!(get("?key=&key=x", "key"), None);
        assert_eq!(get("?key=%ff", "key"), None);
        assert_eq!(get(&format!("?key={}", "x".repeat(8193)), "key"), None);
    }

    proptest! {
        #[test]
        fn any_query_is_borne(param in "\\PC{0,60}", name in "[a-z]{1,3}") {
            let _ = get(&param, &name);
        }
    }
}
