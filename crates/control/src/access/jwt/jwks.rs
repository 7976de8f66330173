//! A key set that is fetched from a URL and kept fresh in the background.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use gate::redact;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use super::keys::Keys;
use crate::access::fetch;

/// Largest set. Those of large providers have a few kB.
const MAX_SET: usize = 256 * 1024;
/// Two fetches are at least so far apart, whatever tokens are shown.
const LEAST: Duration = Duration::from_secs(10);
/// After a failure the next try comes within this time.
const RETRY: Duration = Duration::from_secs(30);
/// A whole fetch.
const PATIENCE: Duration = Duration::from_secs(10);
/// Whoever shows a token of an unknown key waits so long for a fresh set.
const WAIT: Duration = Duration::from_secs(3);

/// The keys behind one URL. Fetching ends when the last rule that uses it is gone.
pub(crate) struct Jwks {
    keys: ArcSwapOption<Keys>,
    state: Mutex<State>,
    wanted: Arc<Notify>,
    /// Fetches that ended, well or not.
    done: watch::Sender<u64>,
}

#[derive(Clone, Copy)]
enum State {
    Fetching,
    Since(Instant),
}

impl Jwks {
    /// Begins to fetch.
    pub(crate) fn start(url: String, every: Duration, control: &Handle) -> Arc<Self> {
        let this = Arc::new(Self {
            keys: ArcSwapOption::empty(),
            state: Mutex::new(State::Fetching),
            wanted: Arc::default(),
            done: watch::Sender::new(0),
        });
        let (weak, wanted) = (Arc::downgrade(&this), this.wanted.clone());
        control.spawn(run(weak, wanted, url, every.max(LEAST)));
        this
    }

    /// What was fetched last; `None` before the first success.
    pub(crate) fn keys(&self) -> Option<Arc<Keys>> {
        self.keys.load_full()
    }

    /// Asks for a fresh set and waits a little for it, unless one was asked for a moment ago:
    /// a stranger's tokens must not make us fetch. Whether one was waited for and came.
    pub(crate) async fn refresh(&self) -> bool {
        let mut done = self.done.subscribe();
        match *self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Fetching => {}
            State::Since(at) if at.elapsed() < LEAST => return false,
            State::Since(_) => self.wanted.notify_one(),
        }
        tokio::time::timeout(WAIT, done.changed()).await.is_ok_and(|done| done.is_ok())
    }

    /// Puts what came in force; what did not come changes nothing.
    fn take(&self, set: Result<Keys, String>, failures: &mut u64, url: &str) {
        let keys = match set {
            Ok(keys) => keys,
            Err(why) => {
                *failures = failures.saturating_add(1);
                // The first says what is wrong, the powers of two that it goes on.
                if failures.is_power_of_two() {
                    let kept = match self.keys.load().is_some() {
                        true => "the old ones stay",
                        false => "until then tokens are refused",
                    };
                    tracing::warn!(url, failures = *failures, "keys for tokens: {why}; {kept}");
                }
                return;
            }
        };
        if *failures > 0 || self.keys.load().is_none() {
            tracing::info!(url, "{} keys for tokens fetched", keys.len());
        }
        *failures = 0;
        self.keys.store(Some(Arc::new(keys)));
    }

    fn set(&self, state: State) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }
}

async fn run(this: Weak<Jwks>, wanted: Arc<Notify>, url: String, every: Duration) {
    let shown = redact::address(&url).into_owned();
    let mut failures = 0u64;
    loop {
        match this.upgrade() {
            Some(jwks) => jwks.set(State::Fetching),
            None => return,
        }
        let fetched = tokio::time::timeout(PATIENCE, fetch::get(&url, MAX_SET)).await;
        let set = match fetched {
            Ok(Ok(bytes)) => Keys::from_set(&bytes).map_err(|e| e.to_string()),
            Ok(Err(e)) => Err(e.to_string()),
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        let Some(jwks) = this.upgrade() else { return };
        jwks.take(set, &mut failures, &shown);
        jwks.set(State::Since(Instant::now()));
        jwks.done.send_modify(|n| *n = n.wrapping_add(1));
        drop(jwks);
        let pause = if failures > 0 { every.min(RETRY) } else { every };
        tokio::time::sleep(LEAST.min(pause)).await;
        tokio::select! {
            () = wanted.notified() => {}
            () = tokio::time::sleep(pause.saturating_sub(LEAST)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    const SET: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"KID",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    /// Answers one request after another with these bodies; the last one again and again.
    async fn serve(bodies: Vec<(u16, String)>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys?x=1", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for at in 0.. {
                let (mut socket, _) = listener.accept().await.unwrap();
                let (status, body) = &bodies[at.min(bodies.len() - 1)];
                let mut request = [0; 1024];
                let n = socket.read(&mut request).await.unwrap();
                assert!(request[..n].starts_with(b"GET /keys?x=1 HTTP/1.1\r\n"));
                let answer =
                    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        });
        url
    }

    async fn first(jwks: &Jwks) {
        let mut done = jwks.done.subscribe();
        done.wait_for(|n| *n > 0).await.unwrap();
    }

    #[tokio::test]
    async fn keys_are_fetched_at_once_and_not_again_for_a_stranger() {
        let url = serve(vec![(200, SET.replace("KID", "a"))]).await;
        let jwks = Jwks::start(url, Duration::from_secs(300), &Handle::current());
        first(&jwks).await;
        assert_eq!(jwks.keys().unwrap().named(Some("a")).count(), 1);
        assert!(!jwks.refresh().await, "fetched again within the pause");
    }

    #[tokio::test]
    async fn a_failure_keeps_the_old_keys() {
        let url = serve(vec![(200, SET.replace("KID", "a"))]).await;
        let jwks = Jwks::start(url, Duration::from_secs(300), &Handle::current());
        first(&jwks).await;
        let mut failures = 0;
        jwks.take(Err("no answer".to_owned()), &mut failures, "url");
        assert_eq!((failures, jwks.keys().unwrap().named(Some("a")).count()), (1, 1));
        let other = Keys::from_set(SET.replace("KID", "b").as_bytes()).map_err(|e| e.to_string());
        jwks.take(other, &mut failures, "url");
        assert_eq!((failures, jwks.keys().unwrap().named(Some("a")).count()), (0, 0));
    }

    #[tokio::test]
    async fn a_set_that_is_too_large_or_none_is_refused() {
        for (status, body) in [(200, "x".repeat(MAX_SET + 1)), (200, "{}".into()), (404, "".into())]
        {
            let url = serve(vec![(status, body)]).await;
            let jwks = Jwks::start(url, Duration::from_secs(60), &Handle::current());
            first(&jwks).await;
            assert!(jwks.keys().is_none());
        }
    }
}
