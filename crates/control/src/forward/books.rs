//! The books of destinations, which outlive the streams that went there.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use gate::forward::{Progress, State, Tally};

use crate::metrics::text::Text;
use crate::metrics::text::Type::{Counter, Gauge};

/// Destinations with books of their own. A configuration has a handful; a backend may name a new
/// one for each stream, and those beyond share one.
const MOST: usize = 256;
/// What they share.
const OTHERS: &str = "others";

/// Virtual host and label of the destination.
type Key = (String, String);

/// What is known of a forwarding that runs.
pub(super) type Running = (String, String, Arc<Progress>);

#[derive(Default)]
pub(super) struct Books(Mutex<BTreeMap<Key, Arc<Tally>>>);

/// What metrics call a destination: scheme and server, without the stream, names and secrets.
pub(super) fn label(destination: &str) -> String {
    let (scheme, rest) = match destination.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), destination),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let server = authority.rsplit_once('@').map_or(authority, |(_, server)| server);
    format!("{scheme}{server}")
}

impl Books {
    /// The books of a destination.
    pub(super) fn of(&self, vhost: &str, label: &str) -> Arc<Tally> {
        let mut books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (vhost.to_owned(), label.to_owned());
        if books.len() >= MOST && !books.contains_key(&key) {
            return books.entry((OTHERS.to_owned(), OTHERS.to_owned())).or_default().clone();
        }
        books.entry(key).or_default().clone()
    }

    pub(super) fn render(&self, out: &mut Text, running: &[Running]) {
        let books = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let name = "millrace_forwards";
        let help = "Streams that go to other servers, by destination: connecting, dialled or asked; \
                    up; waiting, for the next try; over, kicked off or not possible.";
        out.family(name, help, Gauge);
        let mut states: BTreeMap<(&str, &str, State), u64> = BTreeMap::new();
        for (vhost, to, progress) in running {
            *states.entry((vhost, to, progress.state())).or_default() += 1;
        }
        for ((vhost, to, state), count) in states {
            let labels = [("vhost", vhost), ("destination", to), ("state", state.word())];
            out.sample(name, &labels, count);
        }
        type Read = fn(&Tally, u64) -> u64;
        let families: [(&str, &str, Read); 3] = [
            (
                "millrace_forward_connects_total",
                "Connections on which another server took a stream.",
                |tally, _| tally.connects.load(Relaxed),
            ),
            (
                "millrace_forward_failures_total",
                "Connections to other servers that did not come about, or broke.",
                |tally, _| tally.failures.load(Relaxed),
            ),
            ("millrace_forward_bytes_total", "Bytes pushed to other servers.", |tally, live| {
                tally.bytes().saturating_add(live)
            }),
        ];
        for (name, help, read) in families {
            out.family(name, help, Counter);
            for ((vhost, to), tally) in &books {
                let own =
                    running.iter().filter(|(.., p)| std::ptr::eq(p.tally(), &raw const **tally));
                let live = own.map(|(.., p)| p.live_bytes()).fold(0, u64::saturating_add);
                out.sample(name, &[("vhost", vhost), ("destination", to)], read(tally, live));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_name_the_server_and_nothing_else() {
        for (text, wanted) in [
            ("o:1935", "o:1935"),
            ("rtmp://u:p@o:1/live/s?k=v", "rtmp://o:1"),
            ("rtmps://o?k", "rtmps://o"),
            ("", ""),
        ] {
            assert_eq!(label(text), wanted);
        }
    }

    #[test]
    fn books_do_not_grow_without_end() {
        let books = Books::default();
        for n in 0..MOST * 2 {
            books.of("v", &format!("o{n}")).failures.fetch_add(1, Relaxed);
        }
        assert_eq!(books.0.lock().unwrap().len(), MOST + 1);
        let others = books.of("v", "another");
        assert_eq!(others.failures.load(Relaxed), MOST as u64);
        assert_eq!(books.of("v", "o3").failures.load(Relaxed), 1);
    }
}
