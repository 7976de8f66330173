//! How a session becomes a connected one.

use std::net::SocketAddr;
use std::time::Instant;

use super::{Drop, Event, MAX_WAITING, Phase, Told, Transmit, Transport, Via, Why};
use crate::session::dtls::{Done, Dtls, Gave, Version};
use crate::wire::srtp::{self, Profile, SrtpError};

impl Transport {
    /// What follows from a check.
    pub(super) fn go_on(&mut self, now: Instant) {
        if self.agent.target().is_none() {
            return;
        }
        if let Some((profile, version)) = self.agreed {
            self.connect(profile, version);
        }
        match &mut self.dtls {
            None => self.connect(None, Version::Auto),
            Some(dtls) if dtls.wants_begin() => {
                let mut gave = Gave::default();
                let begun = dtls.begin(now, &mut gave);
                self.give(now, gave, begun, None);
            }
            Some(_) => {}
        }
    }

    /// All is agreed on: media flow, once the peer has shown that it receives where they go. A
    /// handshake shows it, for its end is made of what we said, if all of that went there.
    fn connect(&mut self, profile: Option<Profile>, version: Version) {
        if self.state != Phase::Connecting {
            return;
        }
        self.agreed = Some((profile, version));
        let Some((addr, via)) = self.agent.selected() else { return };
        if self.told == Told::One(addr, via) {
            self.agent.prove_selected(&mut self.out);
        }
        if self.agent.is_proven(addr, via) {
            self.agreed = None;
            self.agent.flows();
            self.state = Phase::Connected;
            self.out.events.push_back(Event::DtlsConnected { profile, version });
        }
    }

    /// Passes on what the handshake gave, to the address it came from before one is selected.
    pub(super) fn give(
        &mut self,
        now: Instant,
        gave: Gave,
        result: Result<(), Why>,
        from: Option<(SocketAddr, Via)>,
    ) {
        if let Some((to, via)) = self.agent.target().or(from) {
            self.tell(to, via, gave.packets);
        }
        if let Err(why) = result {
            self.end(now, why);
            return;
        }
        if let Some(done) = gave.done
            && let Err(why) = self.take_keys(done)
        {
            self.end(now, why);
            return;
        }
        let room = MAX_WAITING.saturating_sub(self.data.len());
        self.data.extend(gave.data.into_iter().take(room));
    }

    /// Sends what belongs to the handshake; less of it where nobody may be.
    fn tell(&mut self, to: SocketAddr, via: Via, packets: Vec<Vec<u8>>) {
        for bytes in packets {
            if !self.agent.may_send(to, via, bytes.len()) {
                return;
            }
            self.told = match self.told {
                Told::Nobody => Told::One(to, via),
                Told::One(..) if self.told == Told::One(to, via) => self.told,
                _ => Told::Several,
            };
            self.out.transmits.push_back(Transmit { to, via, bytes });
        }
    }

    fn take_keys(&mut self, done: Done) -> Result<(), Why> {
        let Some((profile, keys)) = done.keys.filter(|_| self.encrypt) else {
            if self.encrypt {
                return Err(Why::NoProfile);
            }
            self.connect(None, done.version);
            return Ok(());
        };
        let client = self.dtls.as_ref().is_some_and(Dtls::is_client);
        let made = srtp::from_exported(profile, &keys, client);
        self.srtp = Some(Box::new(made.map_err(|error| Why::Dtls(error.to_string()))?));
        self.connect(Some(profile), done.version);
        Ok(())
    }
}

impl From<SrtpError> for Drop {
    fn from(error: SrtpError) -> Self {
        match error {
            SrtpError::Authentication => Self::Tag,
            SrtpError::Replayed(_) => Self::Replayed,
            _ => Self::BadMedia,
        }
    }
}
