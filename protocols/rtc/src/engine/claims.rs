//! Which session a datagram belongs to.
//!
//! A check names its session. An answer bears the mark of our question. Everything else is known by
//! its sender's address alone, so that an address must not be had by asking: whoever has a session of
//! its own could forge checks from another one's address, and silence it. An address is given to
//! whoever comes first, and taken from it only by who has shown that it receives there.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::Engine;
use super::inbox::Message;
use super::peer::Peer;
use super::shard::RtcShard;
use crate::session::ice::Mark;
use crate::wire::stun;

/// Whose an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) shard: usize,
    /// The session's number.
    pub(super) session: u32,
    /// It has shown that it receives there.
    pub(super) proven: bool,
}

impl Claim {
    /// Whether it may have what `holder` has. Of two that have proved nothing the newer is heard:
    /// ports are used again, and nothing but a proof makes either keep it.
    fn beats(&self, holder: &Self) -> bool {
        self.proven || !holder.proven || self.session == holder.session
    }
}

/// Whose a datagram is.
pub(super) enum Whose {
    /// A session's of this shard.
    Ours(Rc<Peer>),
    /// One's of another shard.
    Theirs(usize),
    Nobodys,
}

/// What a session's questions begin with.
fn mark(shard: usize, session: u32) -> Mark {
    let [a, b] = u16::try_from(shard).unwrap_or(u16::MAX).to_be_bytes();
    let [c, d, e, f] = session.to_be_bytes();
    [a, b, c, d, e, f]
}

/// Shard and session of an answer.
fn marked(datagram: &[u8]) -> Option<(usize, u32)> {
    let [a, b, c, d, e, f, ..] = stun::answered(datagram)?;
    Some((usize::from(u16::from_be_bytes([a, b])), u32::from_be_bytes([c, d, e, f])))
}

impl Engine {
    /// Gives an address to a session, unless somebody has shown that it is there and this one has
    /// not. Who had it before is told, if that is on another shard.
    fn claim(self: &Arc<Self>, address: SocketAddr, claim: Claim) -> bool {
        let mut places = self.places();
        let before = places.addresses.get(&address).copied();
        if before.is_some_and(|holder| !claim.beats(&holder)) {
            return false;
        }
        places.addresses.insert(address, claim);
        drop(places);
        if let Some(before) = before.filter(|before| before.shard != claim.shard) {
            let this = self.clone();
            let forget = Box::new(move |shard: &Rc<RtcShard>| {
                shard.lost_address(address, before.session);
            });
            self.host.control.spawn(async move {
                this.deliver(before.shard, Message::Job(forget)).await;
            });
        }
        true
    }

    /// The session is not there any more; an address that is another's by now stays that.
    fn disclaim(&self, address: &SocketAddr, session: u32) {
        let mut places = self.places();
        if places.addresses.get(address).is_some_and(|holder| holder.session == session) {
            places.addresses.remove(address);
        }
    }

    fn shard_of_address(&self, address: &SocketAddr) -> Option<usize> {
        self.places().addresses.get(address).map(|claim| claim.shard)
    }
}

impl RtcShard {
    /// Finds whose a datagram is. Nothing in it is believed: its session checks it.
    pub(super) fn whose(&self, from: &SocketAddr, datagram: &[u8]) -> Whose {
        let shard = if let Some((ours, _)) = stun::username(datagram) {
            // A check with another name is another session's: ports are used again.
            if let Some(peer) = self.by_ufrag(ours) {
                return Whose::Ours(peer);
            }
            self.engine().shard_of_ufrag(ours)
        } else if let Some((shard, session)) = marked(datagram) {
            if let Some(peer) = self.by_number.borrow().get(&session).filter(|_| shard == self.id())
            {
                return Whose::Ours(peer.clone());
            }
            Some(shard).filter(|shard| *shard < self.engine().shards())
        } else {
            if let Some(peer) = self.by_address.borrow().get(from) {
                return Whose::Ours(peer.clone());
            }
            self.engine().shard_of_address(from)
        };
        shard.filter(|shard| *shard != self.id()).map_or(Whose::Nobodys, Whose::Theirs)
    }

    /// The session is found by its number, and its questions bear it.
    pub(super) fn number(&self, peer: &Rc<Peer>) {
        self.by_number.borrow_mut().insert(peer.number, peer.clone());
        peer.body.borrow_mut().transport.set_mark(mark(self.id(), peer.number));
    }

    /// What comes from this address is the session's, if that may be.
    pub(crate) fn found_at(&self, address: SocketAddr, peer: &Rc<Peer>, proven: bool) {
        let claim = Claim { shard: self.id(), session: peer.number, proven };
        if self.engine().claim(address, claim) {
            self.by_address.borrow_mut().insert(address, peer.clone());
        } else {
            tracing::debug!(session = %peer.session.id, %address, "another session is there");
        }
    }

    /// Nothing that comes from this address is that session's any more.
    pub(crate) fn forget_address(&self, address: SocketAddr, session: u32) {
        self.lost_address(address, session);
        self.engine().disclaim(&address, session);
    }

    fn lost_address(&self, address: SocketAddr, session: u32) {
        let mut all = self.by_address.borrow_mut();
        if all.get(&address).is_some_and(|peer| peer.number == session) {
            all.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::stun::{Class, Writer};

    #[test]
    fn who_has_shown_to_be_there_keeps_an_address_until_another_shows_it() {
        let claim = |session, proven| Claim { shard: 0, session, proven };
        let (old, new) = (1, 2);
        assert!(!claim(new, false).beats(&claim(old, true)));
        assert!(claim(new, true).beats(&claim(old, true)));
        assert!(claim(new, false).beats(&claim(old, false)));
        assert!(claim(old, false).beats(&claim(old, true)));
    }

    #[test]
    fn an_answer_bears_the_mark_of_its_question_and_nothing_else_does() {
        let [a, b, c, d, e, f] = mark(3, 0x0102_0304);
        let number = [a, b, c, d, e, f, 9, 9, 9, 9, 9, 9];
        let said = |class| marked(&Writer::new(class, number).finish(None));
        assert_eq!(said(Class::Success), Some((3, 0x0102_0304)));
        assert_eq!(said(Class::Error), Some((3, 0x0102_0304)));
        assert_eq!(said(Class::Request), None);
        assert_eq!(marked(&[0x80, 96, 0, 1]), None);
    }
}
