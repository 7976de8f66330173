//! Secrets that travel in addresses, hidden before anything is logged or listed.
//!
//! The one place that knows their names. What admission and hooks are given is whole.

use std::borrow::Cow;

/// Names of query items whose values are nobody's business, in lower case.
const SECRETS: &[&str] = &[
    "key",
    "secret",
    "token",
    "sign",
    "signature",
    "password",
    "passwd",
    "pass",
    "pwd",
    "auth",
    "auth_key",
    "access_token",
    "jwt",
    "txsecret",
    "wssecret",
];

/// What stands for a hidden value.
const HIDDEN: &str = "***";

/// An address or a query with the values of secret items replaced. Costs nothing where there is
/// none.
///
/// Items are cut as the most lenient of the protocols does: at `?`, `&`, `;` and `#`, the value
/// behind `=` or `,`. User and password in front of a host are hidden too.
pub fn address(text: &str) -> Cow<'_, str> {
    let hidden = query(text);
    match credentials(&hidden) {
        None => hidden,
        Some((from, to)) => {
            let before = hidden.get(..from).unwrap_or_default();
            let after = hidden.get(to..).unwrap_or_default();
            Cow::Owned(format!("{before}{HIDDEN}{after}"))
        }
    }
}

/// Where `user:password` stands between `://` and `@`.
fn credentials(text: &str) -> Option<(usize, usize)> {
    let from = text.find("://")?.checked_add(3)?;
    let rest = text.get(from..)?;
    let authority = rest.get(..rest.find(['/', '?', '#']).unwrap_or(rest.len()))?;
    let at = authority.rfind('@')?;
    Some((from, from.checked_add(at)?))
}

fn query(text: &str) -> Cow<'_, str> {
    const CUTS: [char; 4] = ['?', '&', ';', '#'];
    let is_secret = |item: &str| {
        let name = item.split(['=', ',']).next().unwrap_or_default();
        // A name may come escaped; one that does is either a mistake or a trick.
        let escaped = item.len() > name.len() && name.contains('%');
        escaped || SECRETS.iter().any(|secret| name.eq_ignore_ascii_case(secret))
    };
    if !text.split(CUTS).any(is_secret) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        let end = rest.find(CUTS).unwrap_or(rest.len());
        let (item, later) = rest.split_at(end);
        match item.find(['=', ',']) {
            Some(at) if is_secret(item) => {
                let (name, value) = item.split_at(at);
                out.push_str(name);
                out.push_str(value.get(..1).unwrap_or_default());
                // All of it: whether a slash ends a secret or belongs to it cannot be told.
                out.push_str(HIDDEN);
            }
            _ => out.push_str(item),
        }
        let mut chars = later.chars();
        match chars.next() {
            Some(cut) => out.push(cut),
            None => return Cow::Owned(out),
        }
        rest = chars.as_str();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_are_hidden_and_the_rest_stays() {
        for (text, shown) in [
            ("?key=abc&vhost=v", "?key=***&vhost=v"),
            ("rtmp://h/live?token=a/b==&x=1", "rtmp://h/live?token=***&x=1"),
            ("?expires=1&sign=00ff&kid=v2", "?expires=1&sign=***&kid=v2"),
            ("rtmp://h/live?secret,abc", "rtmp://h/live?secret,***"),
            ("?a=1;KEY=x#token=y", "?a=1;KEY=***#token=***"),
            ("?%6bey=x", "?%6bey=***"),
            ("http://user:pw@h/page?x=1", "http://***@h/page?x=1"),
            ("http://h/a@b", "http://h/a@b"),
            ("?monkey=1&keyframe=2", "?monkey=1&keyframe=2"),
            ("", ""),
        ] {
            assert_eq!(address(text), shown, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_secret_survives(
            before in "[a-z:/?&;#=,.%]{0,20}",
            name in "(key|token|sign|secret|TOKEN)",
            after in "[a-z:/?&;#=,.%]{0,20}",
        ) {
            let text = format!("{before}?{name}=QQ7{after}");
            prop_assert!(!address(&text).contains("QQ7"), "{text} -> {}", address(&text));
        }

        #[test]
        fn any_text_is_borne(text in "\\PC{0,80}") {
            let once = address(&text).into_owned();
            prop_assert!(once.len() <= text.len() + 3 * (text.len() + 1));
        }
    }
}
