//! `refer { }`: from which web pages players and publishers may come, evaluated as SRS does.
//!
//! The page's host must end with an entry of `all`, and with one of `publish` or `play`; a list
//! that is not written asks for nothing. The page is what the client says: this keeps other
//! sites from embedding a player, not a determined person from watching.

use gate::Refusal;

use super::{Direction, denied};

/// The number that SRS gives.
const REFUSED: u32 = 2015;

/// The lists of a virtual host whose `refer` is on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refer {
    pub(crate) all: Vec<String>,
    pub(crate) publish: Vec<String>,
    pub(crate) play: Vec<String>,
}

impl Refer {
    pub(crate) fn check(&self, direction: Direction, page: &str) -> Result<(), Refusal> {
        let own = match direction {
            Direction::Publish => ("publish", &self.publish),
            Direction::Play => ("play", &self.play),
        };
        let host = host_of(page);
        for (name, list) in [("all", &self.all), own] {
            if list.is_empty() || list.iter().any(|entry| ends_with(host, entry)) {
                continue;
            }
            let reason = match host {
                "" => format!("refer: no page is named, and `{name}` asks for one"),
                _ => format!("refer: the page is of a host that `{name}` does not list"),
            };
            return Err(denied("refer", REFUSED, reason));
        }
        Ok(())
    }
}

/// The host of a page's address, without port and credentials; empty where there is none.
fn host_of(page: &str) -> &str {
    let Some((_, rest)) = page.split_once("://") else { return "" };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    match host.strip_prefix('[') {
        Some(inner) => inner.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    }
}

fn ends_with(host: &str, entry: &str) -> bool {
    let at = host.len().checked_sub(entry.len());
    let tail = at.and_then(|at| host.get(at..));
    !host.is_empty() && tail.is_some_and(|tail| tail.eq_ignore_ascii_case(entry))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use Direction::{Play, Publish};

    fn refer(all: &[&str], publish: &[&str], play: &[&str]) -> Refer {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        Refer { all: own(all), publish: own(publish), play: own(play) }
    }

    fn lets(refer: &Refer, direction: Direction, page: &str) -> bool {
        refer.check(direction, page).is_ok()
    }

    #[test]
    fn the_host_of_the_page_must_end_with_an_entry() {
        let refer = refer(&["example.com", "example.org"], &[], &[]);
        assert!(lets(&refer, Play, "http://example.com/a"));
        assert!(lets(&refer, Play, "https://www.Example.ORG:8443?x"));
        assert!(lets(&refer, Publish, "http://u:p@cdn.example.com"));
        assert!(!lets(&refer, Play, "http://example.com.evil.test/"));
        assert!(!lets(&refer, Play, "http://evil.test/example.com"));
        assert!(!lets(&refer, Play, ""));
        assert!(!lets(&refer, Play, "example.com"));
    }

    #[test]
    fn all_and_the_direction_must_both_agree() {
        let refer = refer(&["example.com"], &["studio.example.com"], &[]);
        assert!(lets(&refer, Play, "http://www.example.com/"));
        assert!(!lets(&refer, Publish, "http://www.example.com/"));
        assert!(lets(&refer, Publish, "http://studio.example.com/"));
    }

    #[test]
    fn a_list_that_is_not_written_asks_for_nothing() {
        assert!(lets(&refer(&[], &["a"], &[]), Play, ""));
        let refusal = refer(&[], &["a"], &[]).check(Publish, "").unwrap_err();
        assert_eq!((refusal.code(), refusal.label()), (2015, "refer"));
    }

    proptest! {
        #[test]
        fn any_page_is_borne(page in "\\PC{0,60}", entry in "\\PC{0,10}") {
            let _ = lets(&refer(&[&entry], &[], &[]), Play, &page);
        }
    }
}
