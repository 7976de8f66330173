//! Whether the peer may be reached, and where (RFC 8445).
//!
//! [`Agent`] is both sides. A *lite* agent answers checks and sends none; a client sends checks to
//! the addresses it was told, nominates the first that answers, and keeps consent (RFC 7675).
//! Nobody is known by address alone: an address counts once a check from it, or an answer to a
//! check of ours, was signed with the right password. What is not is dropped without a reply, so
//! that nothing can be learned or reflected by asking. Media go nowhere but where an answer to a
//! check of ours came from ([`proof`]): a lite agent, too, asks once for each address.

mod checks;
mod proof;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::transport::{Drop, Event, Role, Transmit, Via, Why};
use crate::wire::stun::{Class, Message, Writer};
use checks::Checks;
pub use proof::Mark;
use proof::{Prover, Question};

/// How many addresses of the peer are known as valid at once.
///
/// A browser with three interfaces on IPv4 and IPv6 has six. At half of it the seldom used ones
/// had to be validated anew, at double each session holds 400 bytes more.
const MAX_VALID: usize = 8;

/// How long the selected address may be silent before a check from another one, without
/// nomination, moves the session there.
///
/// Checks come each 2.5 s from browsers and each 6 s at most by RFC 7675; at half of this a
/// backup address could take over by a lost packet, at double a roaming peer that nominates
/// late waits.
const SILENCE: Duration = Duration::from_secs(8);

/// Who one side is in connectivity checks: fragment of a user name and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The fragment, 4 to 256 characters of letters, digits, `+` and `/` (RFC 8839 §5.4).
    pub ufrag: String,
    /// The password, 22 to 256 such characters.
    pub pwd: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Credentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}

/// Where a session puts what is to be sent and told.
#[derive(Debug, Default)]
pub(super) struct Out {
    pub(super) transmits: VecDeque<Transmit>,
    pub(super) events: VecDeque<Event>,
}

/// Ours and the peer's.
#[derive(Debug)]
struct Pair {
    local: Credentials,
    remote: Credentials,
}

/// An address from which the peer has proved itself.
#[derive(Debug)]
struct Valid {
    addr: SocketAddr,
    via: Via,
    /// When anything authentic came from it.
    heard: Instant,
    /// What is asked there, until it is answered.
    question: Option<Box<Question>>,
}

/// One side of ICE.
#[derive(Debug)]
pub(super) struct Agent {
    pair: Pair,
    /// From [`Agent::restart`] until the first check with them.
    next: Option<Pair>,
    valid: Vec<Valid>,
    selected: Option<(SocketAddr, Via)>,
    consent: Duration,
    /// The last check, or answer to one of ours, that was right; at first the birth.
    last_check: Instant,
    /// Of the client.
    checks: Option<Checks>,
    /// Of the lite agent.
    prover: Option<Prover>,
}

impl Agent {
    pub(super) fn new(
        role: &Role,
        local: Credentials,
        remote: Credentials,
        consent: Duration,
        seed: u64,
        now: Instant,
    ) -> Self {
        let (checks, prover) = match role {
            Role::Lite => (None, Some(Prover::new(seed))),
            Role::Client(candidates) => (Some(Checks::new(candidates, seed, now)), None),
        };
        Self {
            pair: Pair { local, remote },
            next: None,
            valid: Vec::new(),
            selected: None,
            consent,
            last_check: now,
            checks,
            prover,
        }
    }

    pub(super) fn selected(&self) -> Option<(SocketAddr, Via)> {
        self.selected
    }

    /// Where a handshake goes: the selected address, or one that is valid.
    pub(super) fn target(&self) -> Option<(SocketAddr, Via)> {
        self.selected.or_else(|| self.valid.first().map(|valid| (valid.addr, valid.via)))
    }

    pub(super) fn is_valid(&self, from: SocketAddr, via: Via) -> bool {
        self.selected == Some((from, via))
            || self.valid.iter().any(|valid| valid.addr == from && valid.via == via)
    }

    /// Notes that something authentic came from a valid address.
    pub(super) fn heard(&mut self, now: Instant, from: SocketAddr, via: Via) {
        let known = self.valid.iter_mut().find(|valid| valid.addr == from && valid.via == via);
        if let Some(valid) = known {
            valid.heard = now;
        }
    }

    pub(super) fn add_candidate(&mut self, now: Instant, addr: SocketAddr, via: Via) {
        if let Some(checks) = &mut self.checks {
            checks.add(now, addr, via);
        }
    }

    /// Takes new credentials. A lite agent keeps the old ones until a check with the new ones
    /// comes; a client uses the new ones at once.
    pub(super) fn restart(&mut self, local: Credentials, remote: Credentials, now: Instant) {
        let pair = Pair { local, remote };
        if let Some(checks) = &mut self.checks {
            checks.restart(now);
            self.pair = pair;
        } else {
            self.next = Some(pair);
        }
    }

    /// Forgets a road that is no more, a TCP connection that was closed.
    pub(super) fn gone(&mut self, via: Via, out: &mut Out) {
        self.valid.retain(|valid| valid.via != via);
        if self.selected.is_some_and(|(_, selected)| selected == via) {
            self.selected = None;
            let proven = self.valid.iter().filter(|valid| valid.question.is_none());
            let newest = proven.max_by_key(|valid| valid.heard);
            if let Some((addr, via)) = newest.map(|valid| (valid.addr, valid.via)) {
                self.selected = Some((addr, via));
                out.events.push_back(Event::AddressChanged { addr, via });
            }
        }
    }

    pub(super) fn deadline(&self) -> Instant {
        let end = self.last_check + self.consent;
        let checks = self.checks.as_ref().map(Checks::deadline);
        [checks, self.ask_at()].into_iter().flatten().fold(end, Instant::min)
    }

    /// Sends the checks that are due; an error ends the session.
    pub(super) fn handle_timeout(&mut self, now: Instant, out: &mut Out) -> Result<(), Why> {
        if now >= self.last_check + self.consent {
            let never = self.checks.is_some() && self.valid.is_empty();
            return Err(if never { Why::Unreachable } else { Why::Consent(self.consent) });
        }
        if let Some(checks) = &mut self.checks {
            checks.handle_timeout(now, &self.pair.local, &self.pair.remote, self.selected, out);
        }
        self.ask_due(now, out);
        Ok(())
    }

    /// Takes a message of STUN.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        from: SocketAddr,
        via: Via,
        datagram: &[u8],
        out: &mut Out,
    ) -> Result<(), Drop> {
        let message = Message::decode(datagram).map_err(|_| Drop::BadStun)?;
        match message.class {
            Class::Request => {
                self.handle_request(now, from, via, &message, out)?;
                self.got(from, via, datagram.len());
                Ok(())
            }
            Class::Success | Class::Error => self.handle_answer(now, from, via, &message, out),
            // A keep-alive; nothing in it can be believed, and nothing needs to.
            Class::Indication => Ok(()),
        }
    }

    fn handle_request(
        &mut self,
        now: Instant,
        from: SocketAddr,
        via: Via,
        message: &Message<'_>,
        out: &mut Out,
    ) -> Result<(), Drop> {
        let fragments = message.fragments().ok_or(Drop::Forged)?;
        let knows = |pair: &Pair| {
            fragments == (pair.local.ufrag.as_str(), pair.remote.ufrag.as_str())
                && message.verify(pair.local.pwd.as_bytes())
        };
        let restarted = self.next.as_ref().is_some_and(&knows);
        if !restarted && !knows(&self.pair) {
            return Err(Drop::Forged);
        }
        if restarted && let Some(pair) = self.next.take() {
            self.pair = pair;
            out.events.push_back(Event::Restarted);
        }
        let password = self.pair.local.pwd.as_bytes();
        let mut reply = |writer: Writer| {
            let bytes = writer.finish(Some(password));
            out.transmits.push_back(Transmit { to: from, via, bytes });
        };
        let refusal = || Writer::new(Class::Error, message.transaction);
        if !message.unknown.is_empty() {
            reply(refusal().error(420, "Unknown Attribute").unknown(&message.unknown));
            return Ok(());
        }
        let yields = match &mut self.checks {
            // Two that are controlled would wait for each other (RFC 8445 §7.3.1.1).
            None => message.controlled.is_none(),
            Some(checks) => checks.settle(message),
        };
        if !yields {
            reply(refusal().error(487, "Role Conflict"));
            return Ok(());
        }
        reply(Writer::new(Class::Success, message.transaction).mapped(from));
        self.last_check = now;
        self.validate(now, from, via);
        match &mut self.checks {
            None => {
                self.ask_back(now, from, via, message.use_candidate, out);
                self.select(now, from, via, message.use_candidate, out);
            }
            Some(checks) => {
                checks.triggered(now, from, via);
                if !checks.controls() && message.use_candidate {
                    self.select(now, from, via, true, out);
                }
            }
        }
        Ok(())
    }

    fn handle_answer(
        &mut self,
        now: Instant,
        from: SocketAddr,
        via: Via,
        message: &Message<'_>,
        out: &mut Out,
    ) -> Result<(), Drop> {
        let Some(checks) = self.checks.as_mut() else {
            return self.handle_proof(now, from, via, message, out);
        };
        if !checks.asked(from, via, &message.transaction)
            || !message.verify(self.pair.remote.pwd.as_bytes())
        {
            return Err(Drop::Forged);
        }
        if message.class == Class::Error {
            checks.refused(now, &message.transaction, message.error == Some(487));
            return Ok(());
        }
        let nominated = checks.answered(now, &message.transaction);
        let restarted = checks.take_restarted();
        self.last_check = now;
        self.validate(now, from, via);
        if restarted {
            out.events.push_back(Event::Restarted);
        }
        self.select(now, from, via, nominated, out);
        Ok(())
    }

    fn validate(&mut self, now: Instant, addr: SocketAddr, via: Via) {
        if self.valid.iter().any(|valid| valid.addr == addr && valid.via == via) {
            self.heard(now, addr, via);
            return;
        }
        if self.valid.len() >= MAX_VALID {
            let selected = self.selected;
            let oldest = self
                .valid
                .iter()
                .enumerate()
                .filter(|(_, valid)| selected != Some((valid.addr, valid.via)))
                .min_by_key(|(_, valid)| valid.heard)
                .map(|(place, _)| place);
            if let Some(place) = oldest {
                self.valid.swap_remove(place);
            }
        }
        let question = self.question(now, via).map(Box::new);
        self.valid.push(Valid { addr, via, heard: now, question });
    }

    /// Chooses an address if it was nominated, or is the first, or the chosen one is silent. All but
    /// the first must have proved that the peer receives there.
    fn select(&mut self, now: Instant, addr: SocketAddr, via: Via, nominated: bool, out: &mut Out) {
        let first = self.selected.is_none() && self.may_begin();
        if !first && !self.is_proven(addr, via) {
            return;
        }
        let Some(selected) = self.selected else {
            self.selected = Some((addr, via));
            out.events.push_back(Event::IceConnected { addr, via });
            return;
        };
        if selected == (addr, via) {
            return;
        }
        let silent = self
            .valid
            .iter()
            .find(|valid| (valid.addr, valid.via) == selected)
            .is_none_or(|valid| now.saturating_duration_since(valid.heard) >= SILENCE);
        if nominated || silent {
            self.selected = Some((addr, via));
            out.events.push_back(Event::AddressChanged { addr, via });
        }
    }
}
