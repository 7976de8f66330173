//! Whether the peer receives where it says it is.
//!
//! A check proves who sent it, not from where: whoever has a session of its own may write any source
//! address into a datagram, and RFC 8445 lets a lite agent believe it. Media would then go to somebody
//! who never asked for them (RFC 8445 §19.4.1), and whoever is really there would be taken for the
//! forger. So each address is asked a question of ours, a check like those of a full agent: its number
//! cannot be guessed, and only who receives there can answer. Until then an address gets little.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;

use super::{Agent, Credentials, Out, Valid};
use crate::session::transport::{Drop, Event, Transmit, Via};
use crate::wire::stun::{Class, Message, Transaction, Writer};

/// Addresses that have proved nothing get so many times what came from them (RFC 9000 §8.1).
const FACTOR: usize = 3;
/// And so much in all besides: a client that answers no question, as some do that only publish, must
/// get our side of the handshake. Asking for the session has cost it an offer of 2 kB. At half of it
/// a handshake of such a client on a bad link could stand still, at double a forger gains.
const FREE: usize = 8 * 1024;
/// The most that what has come is good for at once.
const MOST_CREDIT: usize = 2 * FREE;
/// How long an answer is waited for; doubles.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// A check that comes within this time does not lead to another question.
const LEAST_WAIT: Duration = Duration::from_millis(20);
/// How often a question is asked after the last check from there. By then 1.5 s are over, and the
/// next check is near.
const MOST_ASKED: u32 = 4;
/// PRIORITY of a peer-reflexive candidate: what ours would be there.
const PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;
/// A lite agent is controlled in any case: who else would be is told so.
const TIE_BREAKER: u64 = 0;

/// The first bytes of the number of each question of a session, by which its caller finds the session
/// again: answers bear no name.
pub type Mark = [u8; 6];

/// What an address is asked.
#[derive(Debug)]
pub(super) struct Question {
    transaction: Transaction,
    asked_at: Instant,
    again: Option<Instant>,
    wait: Duration,
    asked: u32,
    /// The peer has chosen this address.
    nominated: bool,
}

/// What a lite agent knows of its questions.
#[derive(Debug)]
pub(super) struct Prover {
    seed: u64,
    count: u64,
    mark: Mark,
    /// Bytes that may go to addresses which have proved nothing.
    credit: usize,
    /// Media flow: where they go must be proven.
    flows: bool,
}

impl Prover {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, count: 0, mark: [0; 6], credit: FREE, flows: false }
    }

    /// The next number. The peer sees those that it receives, and must not know the next by them.
    fn draw(&mut self) -> Transaction {
        self.count = self.count.wrapping_add(1);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.seed.to_be_bytes());
        let drawn = hmac::sign(&key, &self.count.to_be_bytes());
        let [a, b, c, d, e, f] = self.mark;
        match drawn.as_ref() {
            [g, h, i, j, k, l, ..] => [a, b, c, d, e, f, *g, *h, *i, *j, *k, *l],
            _ => [a, b, c, d, e, f, 0, 0, 0, 0, 0, 0],
        }
    }

    fn spend(&mut self, bytes: usize) -> bool {
        let left = self.credit.checked_sub(bytes);
        self.credit = left.unwrap_or(self.credit);
        left.is_some()
    }
}

impl Question {
    fn write(&self, local: &Credentials, remote: &Credentials) -> Vec<u8> {
        Writer::new(Class::Request, self.transaction)
            .username(&remote.ufrag, &local.ufrag)
            .priority(PRIORITY)
            .controlled(TIE_BREAKER)
            .finish(Some(remote.pwd.as_bytes()))
    }
}

impl Agent {
    pub(in crate::session) fn set_mark(&mut self, mark: Mark) {
        if let Some(prover) = &mut self.prover {
            prover.mark = mark;
        }
    }

    /// Whether somebody who knows what we send there is there. For a client it is: it asks first.
    pub(in crate::session) fn is_proven(&self, addr: SocketAddr, via: Via) -> bool {
        self.prover.is_none()
            || self.valid.iter().any(|v| v.addr == addr && v.via == via && v.question.is_none())
    }

    /// The handshake was done with whoever receives at the selected address.
    pub(in crate::session) fn prove_selected(&mut self, out: &mut Out) {
        if let Some((addr, via)) = self.selected
            && !self.is_proven(addr, via)
        {
            self.prove(addr, via, out);
        }
    }

    /// From here on media flow, and the selected address is a proven one.
    pub(in crate::session) fn flows(&mut self) {
        if let Some(prover) = &mut self.prover {
            prover.flows = true;
        }
    }

    /// Whether an address that has proved nothing may be selected: to begin a handshake.
    pub(super) fn may_begin(&self) -> bool {
        self.prover.as_ref().is_none_or(|prover| !prover.flows)
    }

    /// Whether so many bytes may be sent there; if they may, they are counted as sent.
    pub(in crate::session) fn may_send(&mut self, to: SocketAddr, via: Via, bytes: usize) -> bool {
        self.is_proven(to, via) || self.prover.as_mut().is_none_or(|prover| prover.spend(bytes))
    }

    /// So many bytes have come from a valid address.
    pub(in crate::session) fn got(&mut self, from: SocketAddr, via: Via, bytes: usize) {
        if self.is_proven(from, via) {
            return;
        }
        if let Some(prover) = &mut self.prover {
            let more = prover.credit.saturating_add(bytes.saturating_mul(FACTOR));
            prover.credit = more.min(MOST_CREDIT.max(prover.credit));
        }
    }

    /// A check has come from there: asks back, unless it is proven.
    pub(super) fn ask_back(
        &mut self,
        now: Instant,
        addr: SocketAddr,
        via: Via,
        nominated: bool,
        out: &mut Out,
    ) {
        if nominated {
            self.forget_nominations();
        }
        let known = self.valid.iter_mut().find(|v| v.addr == addr && v.via == via);
        let Some(question) = known.and_then(|valid| valid.question.as_mut()) else { return };
        question.nominated |= nominated;
        let since = now.saturating_duration_since(question.asked_at);
        question.asked = question.asked.min(1);
        if question.asked == 0 || since >= LEAST_WAIT {
            question.wait = FIRST_WAIT;
            question.again = Some(now);
            self.ask_due(now, out);
        }
    }

    /// The peer chooses another address than those it chose before.
    fn forget_nominations(&mut self) {
        for question in self.valid.iter_mut().filter_map(|valid| valid.question.as_mut()) {
            question.nominated = false;
        }
    }

    /// Asks what is due.
    pub(super) fn ask_due(&mut self, now: Instant, out: &mut Out) {
        let Some(prover) = &mut self.prover else { return };
        for Valid { addr, via, question, .. } in &mut self.valid {
            let Some(question) = question.as_mut().filter(|q| q.again.is_some_and(|at| at <= now))
            else {
                continue;
            };
            question.asked = question.asked.saturating_add(1);
            question.asked_at = now;
            question.again = (question.asked < MOST_ASKED).then(|| now + question.wait);
            question.wait = question.wait.saturating_mul(2);
            let bytes = question.write(&self.pair.local, &self.pair.remote);
            if prover.spend(bytes.len()) {
                out.transmits.push_back(Transmit { to: *addr, via: *via, bytes });
            }
        }
    }

    /// When the next question is due.
    pub(super) fn ask_at(&self) -> Option<Instant> {
        self.valid.iter().filter_map(|valid| valid.question.as_ref()?.again).min()
    }

    /// A question for an address that is new; none where it needs none: who has a TCP connection has
    /// answered our SYN.
    pub(super) fn question(&mut self, now: Instant, via: Via) -> Option<Question> {
        let prover = self.prover.as_mut().filter(|_| matches!(via, Via::Udp(_)))?;
        Some(Question {
            transaction: prover.draw(),
            asked_at: now,
            again: None,
            wait: FIRST_WAIT,
            asked: 0,
            nominated: false,
        })
    }

    /// Takes an answer. A refusal is as good: it was signed by the peer, who has our number.
    pub(super) fn handle_proof(
        &mut self,
        now: Instant,
        from: SocketAddr,
        via: Via,
        message: &Message<'_>,
        out: &mut Out,
    ) -> Result<(), Drop> {
        let known = self.valid.iter().find(|v| v.addr == from && v.via == via);
        let question = known.and_then(|valid| valid.question.as_ref()).ok_or(Drop::Forged)?;
        if question.transaction != message.transaction
            || !message.verify(self.pair.remote.pwd.as_bytes())
        {
            return Err(Drop::Forged);
        }
        let nominated = question.nominated;
        self.prove(from, via, out);
        self.heard(now, from, via);
        self.select(now, from, via, nominated, out);
        Ok(())
    }

    fn prove(&mut self, addr: SocketAddr, via: Via, out: &mut Out) {
        let known = self.valid.iter_mut().find(|v| v.addr == addr && v.via == via);
        if let Some(valid) = known {
            valid.question = None;
            if self.selected == Some((addr, via)) {
                out.events.push_back(Event::Proven { addr, via });
            }
        }
    }
}
