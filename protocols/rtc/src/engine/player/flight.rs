//! What became of each packet, as transport-wide feedback tells.
//!
//! A wish for a lost packet may be lost itself, and what answers it, too: then a viewer asks again a
//! round trip later. Feedback tells of both by another way, so that what did not come is sent again
//! without being asked for.

/// Packets remembered: 6 s of 80 a second. At half, feedback over a long path of a fast stream finds
/// nothing any more, at double a viewer who loses packets takes 3 kB more.
const RING: usize = 512;
/// Copies of a packet, the first included, after which it is left to the viewer to ask: at half, two
/// in a thousand would be at 20 % loss; at double, a path that is cut is sent into without end.
const MOST_COPIES: usize = 6;

/// What is known of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fate {
    /// There is none.
    #[default]
    Nothing,
    Flying,
    Lost,
    Came,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    /// Transport-wide.
    number: u16,
    /// Lower bits of the sequence number under which it was sent first.
    seq: u16,
    fate: Fate,
}

/// See the module. Of one line of a viewer who loses packets.
#[derive(Debug)]
pub(super) struct Flight {
    ring: Box<[Sent]>,
}

impl Flight {
    /// Nothing was sent.
    pub(super) fn new() -> Self {
        Self { ring: vec![Sent::default(); RING].into_boxed_slice() }
    }

    /// A packet leaves, for the first time or again.
    pub(super) fn sent(&mut self, number: u16, seq: u64) {
        if let Some(place) = self.ring.get_mut(usize::from(number) % RING) {
            let [.., high, low] = seq.to_be_bytes();
            *place = Sent { number, seq: u16::from_be_bytes([high, low]), fate: Fate::Flying };
        }
    }

    /// Feedback tells of one. Gives the number of what is to be sent again: nothing of it has come,
    /// and nothing of it is under way.
    pub(super) fn told(&mut self, number: u16, came: bool) -> Option<u16> {
        let place = self.ring.get_mut(usize::from(number) % RING)?;
        if place.number != number || place.fate != Fate::Flying {
            return None;
        }
        place.fate = if came { Fate::Came } else { Fate::Lost };
        if came {
            return None;
        }
        let seq = place.seq;
        let copies = self.ring.iter().filter(|s| s.seq == seq && s.fate != Fate::Nothing);
        let lost = copies.clone().all(|copy| copy.fate == Fate::Lost);
        (lost && copies.count() < MOST_COPIES).then_some(seq)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_come_is_sent_again_until_it_has_come() {
        let mut flight = Flight::new();
        flight.sent(65_535, 0x1_0007);
        flight.sent(0, 0x1_0008);
        assert_eq!(flight.told(65_535, false), Some(7));
        assert_eq!(flight.told(65_535, false), None, "once");
        assert_eq!(flight.told(0, true), None);
        flight.sent(1, 7);
        assert_eq!(flight.told(1, false), Some(7), "lost again");
        flight.sent(2, 7);
        assert_eq!(flight.told(2, true), None);
        flight.sent(3, 7);
        assert_eq!(flight.told(3, false), None, "it is there");
    }

    #[test]
    fn while_a_copy_is_under_way_no_other_is_sent() {
        let mut flight = Flight::new();
        flight.sent(10, 7);
        flight.sent(11, 7);
        assert_eq!(flight.told(10, false), None);
        assert_eq!(flight.told(11, false), Some(7));
    }

    #[test]
    fn it_ends_and_strangers_numbers_mean_nothing() {
        let mut flight = Flight::new();
        let mut sent = 0;
        for number in 0..100 {
            flight.sent(number, 7);
            sent += 1;
            if flight.told(number, false).is_none() {
                break;
            }
        }
        assert_eq!(sent, MOST_COPIES);
        assert_eq!(flight.told(0, false), None);
        assert_eq!(flight.told(300, false), None);
        assert_eq!(Flight::new().told(0, false), None, "nothing was sent");
    }
}
