//! The checks a client sends: which address when, and what follows from the answers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Credentials, Out};
use crate::session::transport::{Transmit, Via};
use crate::wire::stun::{Class, Message, Transaction, Writer};

/// How many addresses of the peer are tried.
///
/// A server tells one to four. At half of it a peer with many interfaces was not tried whole, at
/// double a malicious answer makes us write to twice as many strangers.
const MAX_CANDIDATES: usize = 32;

/// The least time between two checks (Ta of RFC 8445 §14.2).
const PACE: Duration = Duration::from_millis(50);
/// How long the first answer is waited for; doubles (RFC 8445 §14.3).
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait. The list is gone through until consent is over, for the peer may open late.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How often consent is asked for; browsers do the same. RFC 7675 has at least 4 s in mind, by
/// which, at a loss of 40 %, one session in fourteen would end within its first half minute.
const KEEP: Duration = Duration::from_millis(2_500);
/// When consent is asked for again if there was no answer: at a loss of 40 % each way two in three
/// questions have none, and a session shall live on.
const KEEP_AGAIN: Duration = Duration::from_secs(1);
/// How many of our checks may be unanswered at once; older ones are forgotten.
const MAX_ASKED: usize = 64;

/// PRIORITY of a peer-reflexive candidate (RFC 8445 §5.1.2): 110, one interface, one component.
const PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;

#[derive(Debug)]
struct Candidate {
    addr: SocketAddr,
    via: Via,
    due: Instant,
    wait: Duration,
    valid: bool,
    nominating: bool,
}

#[derive(Debug)]
struct Asked {
    transaction: Transaction,
    addr: SocketAddr,
    via: Via,
    nominating: bool,
}

/// The check list of a client.
#[derive(Debug)]
pub(super) struct Checks {
    candidates: Vec<Candidate>,
    asked: std::collections::VecDeque<Asked>,
    controls: bool,
    tie_breaker: u64,
    random: u64,
    /// The earliest time of the next check of the list.
    paced: Instant,
    /// When the selected address is asked again.
    keep: Option<Instant>,
    restarting: bool,
    restarted: bool,
}

impl Checks {
    pub(super) fn new(addresses: &[(SocketAddr, Via)], seed: u64, now: Instant) -> Self {
        let mut checks = Self {
            candidates: Vec::new(),
            asked: std::collections::VecDeque::new(),
            controls: true,
            tie_breaker: 0,
            random: seed,
            paced: now,
            keep: None,
            restarting: false,
            restarted: false,
        };
        checks.tie_breaker = checks.draw();
        for (addr, via) in addresses {
            checks.add(now, *addr, *via);
        }
        checks
    }

    pub(super) fn controls(&self) -> bool {
        self.controls
    }

    pub(super) fn add(&mut self, now: Instant, addr: SocketAddr, via: Via) {
        let known = self.candidates.iter().any(|c| c.addr == addr && c.via == via);
        if !known && self.candidates.len() < MAX_CANDIDATES {
            self.candidates.push(Candidate {
                addr,
                via,
                due: now,
                wait: FIRST_WAIT,
                valid: false,
                nominating: false,
            });
        }
    }

    /// The peer has asked from there: ask back at once (RFC 8445 §7.3.1.4).
    pub(super) fn triggered(&mut self, now: Instant, addr: SocketAddr, via: Via) {
        self.add(now, addr, via);
        let candidate = self.candidates.iter_mut().find(|c| c.addr == addr && c.via == via);
        if let Some(candidate) = candidate.filter(|candidate| !candidate.valid) {
            candidate.due = now;
        }
    }

    pub(super) fn restart(&mut self, now: Instant) {
        self.asked.clear();
        self.restarting = true;
        self.keep = None;
        self.controls = true;
        for candidate in &mut self.candidates {
            candidate.due = now;
            candidate.wait = FIRST_WAIT;
            candidate.valid = false;
            candidate.nominating = false;
        }
    }

    /// Once after a restart, at the first answer.
    pub(super) fn take_restarted(&mut self) -> bool {
        std::mem::take(&mut self.restarted)
    }

    /// Settles who controls by a request of the peer; false if the peer must yield.
    pub(super) fn settle(&mut self, message: &Message<'_>) -> bool {
        match (self.controls, message.controlling, message.controlled) {
            (true, Some(theirs), _) if self.tie_breaker >= theirs => false,
            (true, Some(_), _) => {
                self.controls = false;
                true
            }
            (false, None, Some(theirs)) if self.tie_breaker >= theirs => {
                self.controls = true;
                true
            }
            (false, None, Some(_)) => false,
            _ => true,
        }
    }

    /// Whether that was asked, there.
    pub(super) fn asked(&self, from: SocketAddr, via: Via, transaction: &Transaction) -> bool {
        self.asked.iter().any(|a| a.transaction == *transaction && a.addr == from && a.via == via)
    }

    /// The peer refused a check; for a conflict of roles ours changes.
    pub(super) fn refused(&mut self, now: Instant, transaction: &Transaction, conflict: bool) {
        let Some(asked) = self.take(transaction) else { return };
        if conflict {
            self.controls = !self.controls;
            for candidate in &mut self.candidates {
                if candidate.addr == asked.addr && candidate.via == asked.via {
                    candidate.due = now;
                    candidate.nominating = false;
                }
            }
            // What is on its way was asked in the other role.
            self.asked.clear();
        }
    }

    /// The peer answered; whether that address is nominated by it.
    pub(super) fn answered(&mut self, now: Instant, transaction: &Transaction) -> bool {
        let Some(asked) = self.take(transaction) else { return false };
        self.restarted |= std::mem::take(&mut self.restarting);
        let nominating = self.candidates.iter().any(|candidate| candidate.nominating);
        let controls = self.controls;
        let candidate =
            self.candidates.iter_mut().find(|c| c.addr == asked.addr && c.via == asked.via);
        if let Some(candidate) = candidate {
            candidate.valid = true;
            candidate.wait = FIRST_WAIT;
            if controls && !nominating && self.keep.is_none() {
                candidate.nominating = true;
                candidate.due = now;
            }
        }
        if asked.nominating || self.keep.is_some() {
            // Between 0.8 and 1.2 of the time (RFC 7675 §5.1), lest many sessions ask in step.
            let jitter = 80 + (self.draw() % 41) as u32;
            self.keep = Some(now + KEEP * jitter / 100);
        }
        if asked.nominating {
            for candidate in &mut self.candidates {
                candidate.nominating = false;
            }
        }
        asked.nominating
    }

    fn take(&mut self, transaction: &Transaction) -> Option<Asked> {
        let place = self.asked.iter().position(|asked| asked.transaction == *transaction)?;
        self.asked.remove(place)
    }

    pub(super) fn deadline(&self) -> Instant {
        let next = self.candidates.iter().filter(|c| self.is_wanted(c)).map(|c| c.due).min();
        let next = next.map(|due| due.max(self.paced));
        match (next, self.keep) {
            (Some(next), Some(keep)) => next.min(keep),
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => self.paced + Duration::from_secs(3_600),
        }
    }

    /// Checks go on until one address is nominated; valid ones wait for theirs. As the controlled
    /// side we ask until we know that it works.
    fn is_wanted(&self, candidate: &Candidate) -> bool {
        candidate.nominating || (self.keep.is_none() && !candidate.valid)
    }

    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        local: &Credentials,
        remote: &Credentials,
        selected: Option<(SocketAddr, Via)>,
        out: &mut Out,
    ) {
        if self.keep.is_none() && !self.controls && selected.is_some() {
            self.keep = Some(now + KEEP);
        }
        if let Some((addr, via)) = selected.filter(|_| self.keep.is_some_and(|keep| now >= keep)) {
            self.keep = Some(now + KEEP_AGAIN);
            self.ask(addr, via, false, local, remote, out);
        }
        if now < self.paced {
            return;
        }
        let place = self
            .candidates
            .iter()
            .enumerate()
            .filter(|(_, candidate)| candidate.due <= now && self.is_wanted(candidate))
            .min_by_key(|(_, candidate)| (!candidate.nominating, candidate.due))
            .map(|(place, _)| place);
        let Some(candidate) = place.and_then(|place| self.candidates.get_mut(place)) else {
            return;
        };
        candidate.due = now + candidate.wait;
        candidate.wait = (candidate.wait * 2).min(LONGEST_WAIT);
        let (addr, via, nominating) = (candidate.addr, candidate.via, candidate.nominating);
        self.paced = now + PACE;
        self.ask(addr, via, nominating, local, remote, out);
    }

    fn ask(
        &mut self,
        addr: SocketAddr,
        via: Via,
        nominating: bool,
        local: &Credentials,
        remote: &Credentials,
        out: &mut Out,
    ) {
        let (high, low) = (self.draw(), self.draw());
        let mut transaction = [0; 12];
        let drawn = high.to_be_bytes().into_iter().chain(low.to_be_bytes());
        for (to, from) in transaction.iter_mut().zip(drawn) {
            *to = from;
        }
        let mut writer = Writer::new(Class::Request, transaction)
            .username(&remote.ufrag, &local.ufrag)
            .priority(PRIORITY);
        writer = if self.controls {
            writer.controlling(self.tie_breaker)
        } else {
            writer.controlled(self.tie_breaker)
        };
        if nominating {
            writer = writer.use_candidate();
        }
        if self.asked.len() >= MAX_ASKED {
            self.asked.pop_front();
        }
        self.asked.push_back(Asked { transaction, addr, via, nominating });
        let bytes = writer.finish(Some(remote.pwd.as_bytes()));
        out.transmits.push_back(Transmit { to: addr, via, bytes });
    }

    /// The next number of a row that needs to differ, not to be secret (SplitMix64).
    fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
