//! Parameters of a request: checked by their description before anybody reads them.

use std::collections::BTreeMap;

use http::StatusCode;
use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::problem::Problem;

/// Longest text of a parameter.
const MAX_TEXT: usize = 256;
/// Parameters of one request that are looked at: more than any endpoint has.
const MAX_PARAMS: usize = 32;

/// One parameter of a query, or the one of a path.
#[derive(Clone, Copy)]
pub(super) struct Param {
    pub(super) name: &'static str,
    pub(super) what: What,
    pub(super) docs: &'static str,
}

/// What a parameter may say.
#[derive(Clone, Copy)]
pub(super) enum What {
    /// A segment of the path; any text.
    Segment,
    /// Any text of 1 to 256 characters.
    Text,
    /// A whole number from, to, and what holds without it.
    Number(u64, u64, u64),
    /// `true` or `false`; false without it.
    Flag,
    /// `true` or `false`; both without it.
    Either,
    /// One of these words; the first without it.
    OneOf(&'static [&'static str]),
}

impl What {
    /// Its JSON Schema.
    pub(super) fn schema(self) -> Value {
        match self {
            Self::Segment | Self::Text => {
                json!({ "type": "string", "minLength": 1, "maxLength": MAX_TEXT })
            }
            Self::Number(min, max, default) => {
                json!({ "type": "integer", "minimum": min, "maximum": max, "default": default })
            }
            Self::Flag => json!({ "type": "boolean", "default": false }),
            Self::Either => json!({ "type": "boolean" }),
            Self::OneOf(words) => {
                json!({ "type": "string", "enum": words, "default": words.first() })
            }
        }
    }

    fn check(self, text: &str) -> Result<(), String> {
        match self {
            Self::Segment | Self::Text => match text.chars().count() {
                1..=MAX_TEXT => Ok(()),
                _ => Err(format!("1 to {MAX_TEXT} characters")),
            },
            Self::Number(min, max, _) => {
                let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
                let fits = |n: u64| (min..=max).contains(&n);
                match text.parse() {
                    Ok(n) if digits && fits(n) => Ok(()),
                    _ => Err(format!("a whole number from {min} to {max}")),
                }
            }
            Self::Flag | Self::Either => match text {
                "true" | "false" => Ok(()),
                _ => Err("true or false".to_owned()),
            },
            Self::OneOf(words) if words.contains(&text) => Ok(()),
            Self::OneOf(words) => Err(format!("one of {}", words.join(", "))),
        }
    }
}

/// Page parameters, for lists.
pub(super) const LIMIT: Param =
    Param { name: "limit", what: What::Number(1, 1000, 100), docs: "Largest number of items." };
pub(super) const OFFSET: Param = Param {
    name: "offset",
    what: What::Number(0, 1_000_000_000, 0),
    docs: "Items to leave out at the beginning: `next` of the page before.",
};

/// The path's parameters if `path` fits `pattern`; still encoded.
pub(super) fn segments<'a>(
    pattern: &'static str,
    path: &'a str,
) -> Option<Vec<(&'static str, &'a str)>> {
    let mut found = Vec::new();
    let (mut wanted, mut told) = (pattern.split('/'), path.split('/'));
    loop {
        match (wanted.next(), told.next()) {
            (None, None) => return Some(found),
            (Some(w), Some(t)) => match w.strip_prefix('{').and_then(|w| w.strip_suffix('}')) {
                Some(name) if !t.is_empty() => found.push((name, t)),
                None if w == t => {}
                _ => return None,
            },
            _ => return None,
        }
    }
}

/// The parameters of one request.
#[derive(Debug)]
pub(super) struct Given(BTreeMap<&'static str, String>);

impl Given {
    /// Reads and checks them.
    ///
    /// # Errors
    /// 400 for what is not described, said twice, or not what it should be.
    pub(super) fn read(
        params: &'static [Param],
        pattern: &'static str,
        path: &str,
        query: Option<&str>,
    ) -> Result<Self, Problem> {
        let bad = |text: String| Problem::new(StatusCode::BAD_REQUEST, text);
        let decode = |text: &str| {
            let spaced = text.replace('+', " ");
            percent_decode_str(&spaced).decode_utf8().map(|t| t.into_owned())
        };
        let mut given = BTreeMap::new();
        for (name, text) in segments(pattern, path).unwrap_or_default() {
            let text = percent_decode_str(text).decode_utf8();
            let text = text.map_err(|_| bad(format!("{name} is not UTF-8")))?;
            let Some(param) = params.iter().find(|p| p.name == name) else { continue };
            param.what.check(&text).map_err(|want| bad(format!("{name} must be {want}")))?;
            given.insert(param.name, text.into_owned());
        }
        let pairs = query.unwrap_or("").split('&').filter(|pair| !pair.is_empty());
        for (at, pair) in pairs.enumerate() {
            if at >= MAX_PARAMS {
                return Err(bad(format!("more than {MAX_PARAMS} parameters")));
            }
            let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
            let (Ok(name), Ok(text)) = (decode(name), decode(text)) else {
                return Err(bad("the query is not UTF-8".to_owned()));
            };
            let known = |p: &&Param| p.name == name && !matches!(p.what, What::Segment);
            let Some(param) = params.iter().find(known) else {
                let named = params.iter().filter(|p| !matches!(p.what, What::Segment));
                let list: Vec<&str> = named.map(|p| p.name).collect();
                let list = if list.is_empty() { "none".to_owned() } else { list.join(", ") };
                return Err(bad(format!("there is no parameter of that name here; known: {list}")));
            };
            param.what.check(&text).map_err(|want| bad(format!("{name} must be {want}")))?;
            if given.insert(param.name, text).is_some() {
                return Err(bad(format!("{name} stands there twice")));
            }
        }
        for param in params {
            let default = match param.what {
                What::Number(_, _, default) => default.to_string(),
                What::OneOf(words) => words.first().copied().unwrap_or("").to_owned(),
                _ => continue,
            };
            given.entry(param.name).or_insert(default);
        }
        Ok(Self(given))
    }

    /// What was said, or holds without.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The same as text; empty without.
    pub(super) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or("")
    }

    pub(super) fn number(&self, name: &str) -> usize {
        self.get(name).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        self.get(name).map(|text| text == "true")
    }

    /// Whether a thing passes the filter of this name: no filter, or the same text.
    pub(super) fn passes(&self, name: &str, value: &str) -> bool {
        self.get(name).is_none_or(|wanted| wanted == value)
    }

    /// Sorts by `key(item, word)`; a minus in front of the word turns the order around. Items that
    /// are equal there stand in the order of `id`.
    pub(super) fn sort<T, K: PartialOrd>(
        &self,
        items: &mut [T],
        key: impl Fn(&T, &str) -> K,
        id: impl Fn(&T) -> String,
    ) {
        let told = self.text("sort");
        let word = told.trim_start_matches('-');
        items.sort_by_cached_key(|item| id(item));
        items.sort_by(|a, b| {
            let order = key(a, word).partial_cmp(&key(b, word));
            let order = order.unwrap_or(std::cmp::Ordering::Equal);
            if told.starts_with('-') { order.reverse() } else { order }
        });
    }

    /// The page that was asked for; `make` is called for its items alone.
    pub(super) fn page<S, T>(&self, all: Vec<S>, make: impl FnMut(S) -> T) -> Page<T> {
        let (total, limit, offset) = (all.len(), self.number("limit"), self.number("offset"));
        let items: Vec<T> = all.into_iter().skip(offset).take(limit).map(make).collect();
        let end = offset.saturating_add(items.len());
        Page {
            next: (end < total && !items.is_empty()).then_some(end),
            total,
            offset,
            limit,
            items,
        }
    }
}

/// What things are sorted by: a word or a number.
#[derive(PartialEq, PartialOrd)]
pub(super) enum Key {
    /// A number.
    Number(f64),
    /// A word.
    Word(String),
}

/// One page of a list.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
pub(super) struct Page<T> {
    /// The items, in the order that was asked for.
    pub(super) items: Vec<T>,
    /// How many there are in all that pass the filters.
    total: usize,
    /// How many were left out at the beginning.
    offset: usize,
    /// Largest number of items.
    limit: usize,
    /// `offset` of the next page; null on the last one.
    next: Option<usize>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PARAMS: &[Param] = &[
        Param { name: "id", what: What::Segment, docs: "" },
        Param { name: "app", what: What::Text, docs: "" },
        Param { name: "publish", what: What::Either, docs: "" },
        Param { name: "sort", what: What::OneOf(&["name", "-name"]), docs: "" },
        LIMIT,
        OFFSET,
    ];

    fn read(query: &str) -> Result<Given, Problem> {
        Given::read(PARAMS, "/things/{id}", "/things/a%20b", Some(query))
    }

    #[test]
    fn parameters_are_decoded_and_have_their_defaults() {
        let given = read("app=a%2Fb+c&publish=true").unwrap();
        assert_eq!((given.text("id"), given.text("app")), ("a b", "a/b c"));
        assert_eq!((given.flag("publish"), given.text("sort")), (Some(true), "name"));
        assert_eq!((given.number("limit"), given.number("offset")), (100, 0));
    }

    #[test]
    fn what_is_not_described_is_refused() {
        for query in [
            "x=1",
            "id=1",
            "limit=0",
            "limit=1001",
            "limit=-1",
            "limit=+1",
            "limit=",
            "publish=on",
            "sort=size",
            "app=",
            "app=a&app=b",
            "app=%ff",
            "limit=99999999999999999999",
        ] {
            assert!(read(query).is_err(), "{query}");
        }
        assert!(read(&format!("app={}", "x".repeat(MAX_TEXT))).is_ok());
        assert!(read(&format!("app={}", "x".repeat(MAX_TEXT + 1))).is_err());
        assert!(read(&"&".repeat(100)).is_ok());
    }

    #[test]
    fn pages_follow_each_other_to_the_end() {
        let (mut offset, mut seen) = (0, Vec::new());
        loop {
            let page =
                read(&format!("limit=3&offset={offset}")).unwrap().page((0..8).collect(), |n| n);
            assert_eq!(page.total, 8);
            seen.extend(page.items);
            match page.next {
                Some(next) => offset = next,
                None => break,
            }
        }
        assert_eq!(seen, (0..8).collect::<Vec<i32>>());
        assert_eq!(read("offset=9").unwrap().page(vec![1], |n| n).next, None);
    }

    #[test]
    fn a_pattern_takes_one_segment_for_each_name() {
        assert_eq!(segments("/a/{id}", "/a/x"), Some(vec![("id", "x")]));
        for path in ["/a/", "/a", "/a/x/y", "/b/x", ""] {
            assert_eq!(segments("/a/{id}", path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_query_is_read_or_refused(query in ".{0,200}", path in ".{0,60}") {
            let path = format!("/things/{path}");
            if let Ok(given) = Given::read(PARAMS, "/things/{id}", &path, Some(&query)) {
                prop_assert!((1..=1000).contains(&given.number("limit")));
                prop_assert!(given.text("app").chars().count() <= MAX_TEXT);
            }
        }
    }
}
