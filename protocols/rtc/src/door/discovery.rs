//! When a STUN server is asked for our public address, and what its answers come to (RFC 8489 §6.2,
//! §9 does not apply: no credentials).
//!
//! A machine without socket, clock or codec: who owns the UDP socket of the media sends what
//! [`poll`](Discovery::poll) says from it, since a NAT maps the port of that socket and no other,
//! and hands the answer to [`answered`](Discovery::answered). What comes of it goes to
//! [`Addresses::set_public`](super::addresses::Addresses::set_public).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// First wait for an answer; it doubles with each try (RFC 8489 §6.2.1).
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Requests in one series: the last is given up after half a minute.
const TRIES: u32 = 6;
/// NATs forget a mapping of UDP after 30 s at the earliest of those in use (RFC 4787 asks for two
/// minutes), and asking keeps it. At half, it is noise; at double, the port may have changed.
const AGAIN: Duration = Duration::from_secs(25);
/// An address that could not be confirmed for so long is told no more.
const FORGET: Duration = Duration::from_secs(600);

/// Names one request.
pub type Transaction = [u8; 12];

#[derive(Clone, Copy, Debug)]
struct Series {
    transaction: Transaction,
    tries: u32,
}

/// Asks one server, again and again.
#[derive(Debug)]
pub struct Discovery {
    server: SocketAddr,
    series: Option<Series>,
    next: Instant,
    public: Option<(SocketAddr, Instant)>,
}

impl Discovery {
    /// Asks `server` from now on.
    pub fn new(server: SocketAddr, now: Instant) -> Self {
        Self { server, series: None, next: now, public: None }
    }

    /// Who is asked.
    pub fn server(&self) -> SocketAddr {
        self.server
    }

    /// When [`poll`](Self::poll) has something to do.
    pub fn deadline(&self) -> Instant {
        self.next
    }

    /// What we are called outside, as far as it is known.
    pub fn public(&self) -> Option<SocketAddr> {
        self.public.map(|(at, _)| at)
    }

    /// The transaction of the Binding request that is to be sent now, if one is. `fresh` is random,
    /// and used where a new series begins.
    pub fn poll(&mut self, now: Instant, fresh: Transaction) -> Option<Transaction> {
        if now < self.next {
            return None;
        }
        if self.public.is_some_and(|(_, at)| now.saturating_duration_since(at) >= FORGET) {
            self.public = None;
        }
        let series = self.series.get_or_insert(Series { transaction: fresh, tries: 0 });
        if series.tries >= TRIES {
            self.series = None;
            self.next = now + AGAIN;
            return None;
        }
        let wait = FIRST_WAIT.saturating_mul(2u32.saturating_pow(series.tries));
        series.tries = series.tries.saturating_add(1);
        self.next = now + wait;
        Some(series.transaction)
    }

    /// Takes the answer of `from`; `mapped` is its XOR-MAPPED-ADDRESS, `None` in a refusal. Whether
    /// the public address is another one now. What nobody asked for changes nothing.
    pub fn answered(
        &mut self,
        now: Instant,
        from: SocketAddr,
        transaction: Transaction,
        mapped: Option<SocketAddr>,
    ) -> bool {
        let asked = self.series.is_some_and(|series| series.transaction == transaction);
        if !asked || from != self.server {
            return false;
        }
        self.series = None;
        self.next = now + AGAIN;
        let usable = |at: &SocketAddr| at.port() != 0 && !at.ip().is_unspecified();
        let Some(mapped) = mapped.filter(usable) else { return false };
        let before = self.public();
        self.public = Some((mapped, now));
        before != Some(mapped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: ([u8; 4], u16) = ([198, 51, 100, 1], 3478);

    fn mapped(port: u16) -> Option<SocketAddr> {
        Some(([203, 0, 113, 7], port).into())
    }

    #[test]
    fn an_answer_is_the_public_address_and_is_confirmed_before_the_mapping_ends() {
        let start = Instant::now();
        let mut machine = Discovery::new(SERVER.into(), start);
        assert_eq!(machine.poll(start, [1; 12]), Some([1; 12]));
        assert!(machine.answered(start, SERVER.into(), [1; 12], mapped(8000)));
        assert_eq!(machine.public(), mapped(8000));
        let later = machine.deadline();
        assert_eq!(later - start, AGAIN);
        assert_eq!(machine.poll(start, [2; 12]), None);
        assert_eq!(machine.poll(later, [2; 12]), Some([2; 12]));
        assert!(!machine.answered(later, SERVER.into(), [2; 12], mapped(8000)));
        let last = machine.deadline();
        assert_eq!(machine.poll(last, [3; 12]), Some([3; 12]));
        assert!(machine.answered(last, SERVER.into(), [3; 12], mapped(9000)));
    }

    #[test]
    fn a_server_that_is_silent_is_asked_less_often_and_then_again() {
        let start = Instant::now();
        let mut machine = Discovery::new(SERVER.into(), start);
        let mut sent = 0;
        let mut at = start;
        while machine.poll(at, [7; 12]).is_some() {
            sent += 1;
            at = machine.deadline();
        }
        assert_eq!((sent, at - start), (TRIES, FIRST_WAIT * 63));
        let again = machine.deadline();
        assert_eq!(machine.poll(again, [8; 12]), Some([8; 12]));
    }

    #[test]
    fn an_address_that_is_not_confirmed_is_forgotten() {
        let start = Instant::now();
        let mut machine = Discovery::new(SERVER.into(), start);
        machine.poll(start, [1; 12]);
        machine.answered(start, SERVER.into(), [1; 12], mapped(8000));
        while machine.deadline() < start + FORGET {
            machine.poll(machine.deadline(), [2; 12]);
            assert_eq!(machine.public(), mapped(8000));
        }
        machine.poll(machine.deadline(), [2; 12]);
        assert_eq!(machine.public(), None);
    }

    #[test]
    fn what_nobody_asked_for_changes_nothing() {
        let now = Instant::now();
        let mut machine = Discovery::new(SERVER.into(), now);
        assert!(!machine.answered(now, SERVER.into(), [0; 12], mapped(1)));
        machine.poll(now, [1; 12]);
        let stranger = SocketAddr::from(([192, 0, 2, 1], 3478));
        assert!(!machine.answered(now, stranger, [1; 12], mapped(1)));
        assert!(!machine.answered(now, SERVER.into(), [2; 12], mapped(1)));
        assert!(!machine.answered(now, SERVER.into(), [1; 12], mapped(0)));
        assert!(!machine.answered(now, SERVER.into(), [1; 12], mapped(1)));
        assert_eq!(machine.public(), None);
    }
}
