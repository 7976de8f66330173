//! Addresses of servers by their names.
//!
//! The system looks names up on threads, which are shared with the file server, and a name server
//! that is down holds each of them for many seconds. So a name is looked up once at a time,
//! however many wait for it, and what was found is good for a moment.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::watch;

/// How long an address is good for. Name servers of clusters allow 5 s to 30 s.
const FRESH: Duration = Duration::from_secs(5);
/// How long it is that a name was not found.
const MISSING: Duration = Duration::from_secs(1);
/// Names that are remembered; configurations hold a handful.
const NAMES: usize = 64;

type Found = Result<Vec<IpAddr>, Arc<io::Error>>;
type Lookup = fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;

/// A name, and what came or will come of looking it up.
struct Known {
    since: Instant,
    found: watch::Receiver<Option<Found>>,
}

impl Known {
    fn is_of_use(&self, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.since);
        match &*self.found.borrow() {
            // Nobody is left to find it: the task has gone.
            None => self.found.has_changed().is_ok(),
            Some(Ok(_)) => age < FRESH,
            Some(Err(_)) => age < MISSING,
        }
    }
}

/// The names of servers.
pub(super) struct Names {
    known: Mutex<HashMap<String, Known>>,
    lookup: Lookup,
}

impl Default for Names {
    fn default() -> Self {
        Self { known: Mutex::default(), lookup: |name| Box::pin(ask_system(name)) }
    }
}

async fn ask_system(name: String) -> io::Result<Vec<IpAddr>> {
    Ok(tokio::net::lookup_host((name.as_str(), 0)).await?.map(|at| at.ip()).collect())
}

impl Names {
    /// The addresses of a name or a number, in the order in which they are to be tried. Cancel
    /// safe; what was begun goes on for others.
    pub(super) async fn find(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let mut found = self.begin(host);
        let found = match found.wait_for(Option::is_some).await {
            Ok(found) => found.clone(),
            Err(_) => None,
        };
        match found {
            Some(Ok(ips)) => Ok(ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()),
            Some(Err(e)) => Err(io::Error::new(e.kind(), e.to_string())),
            None => Err(io::Error::other("the name could not be looked up")),
        }
    }

    fn begin(&self, host: &str) -> watch::Receiver<Option<Found>> {
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = known.get(host).filter(|name| name.is_of_use(now)) {
            return name.found.clone();
        }
        if known.len() >= NAMES {
            known.retain(|_, name| name.is_of_use(now));
        }
        let (tx, found) = watch::channel(None);
        let lookup = (self.lookup)(host.to_owned());
        tokio::spawn(async move {
            let _ = tx.send(Some(lookup.await.map_err(Arc::new)));
            // Who comes later still reads it.
            tx.closed().await;
        });
        known.insert(host.to_owned(), Known { since: now, found: found.clone() });
        found
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use tokio::sync::Semaphore;

    use super::*;

    static ASKED: AtomicUsize = AtomicUsize::new(0);
    static ANSWERS: Semaphore = Semaphore::const_new(0);

    async fn slow(name: String) -> io::Result<Vec<IpAddr>> {
        ASKED.fetch_add(1, Relaxed);
        ANSWERS.acquire().await.unwrap().forget();
        match name.as_str() {
            "web" => Ok(vec![[10, 0, 0, 1].into(), [10, 0, 0, 2].into()]),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once_however_many_wait() {
        let names = Names { known: Mutex::default(), lookup: |name| Box::pin(slow(name)) };
        let names = Arc::new(names);
        let waiting: Vec<_> = (0..100)
            .map(|port| {
                let names = names.clone();
                tokio::spawn(async move { names.find("web", port).await })
            })
            .collect();
        // Somebody who leaves takes the question with it from nobody.
        waiting[0].abort();
        while ASKED.load(Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        ANSWERS.add_permits(1);
        for (port, one) in waiting.into_iter().enumerate().skip(1) {
            let found = one.await.unwrap().unwrap();
            let wanted = ["10.0.0.1", "10.0.0.2"].map(|ip| format!("{ip}:{port}"));
            assert_eq!(found.iter().map(SocketAddr::to_string).collect::<Vec<_>>(), wanted);
        }
        assert_eq!(ASKED.load(Relaxed), 1);
        // It is still good, and numbers need nobody.
        names.find("web", 1).await.unwrap();
        names.find("::1", 1).await.unwrap();
        assert_eq!(ASKED.load(Relaxed), 1);
        ANSWERS.add_permits(1);
        let missing = names.find("nowhere", 1).await.unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        assert_eq!(ASKED.load(Relaxed), 2);
    }
}
