//! Acknowledgements of what was received.

/// Counts received bytes and tells when to acknowledge them (RTMP 1.0, section 5.4.3).
#[derive(Debug, Default)]
pub(super) struct Acks {
    /// The peer wants to hear of each so many bytes; 0 means never.
    window: u32,
    sequence: u32,
    unacknowledged: u32,
}

impl Acks {
    /// Where the sequence starts over, as players know it of older servers: they keep it in
    /// signed arithmetic.
    const WRAP: u32 = 0xf000_0000;

    pub(super) const fn set_window(&mut self, window: u32) {
        self.window = window;
    }

    pub(super) fn received(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.unacknowledged = self.unacknowledged.saturating_add(bytes);
    }

    /// The sequence number to acknowledge now, if half a window came since the last.
    pub(super) fn poll(&mut self) -> Option<u32> {
        if self.window == 0 || self.unacknowledged <= self.window / 2 {
            return None;
        }
        let next = self.sequence.checked_add(self.unacknowledged);
        self.sequence = match next {
            Some(next) if next <= Self::WRAP => next,
            _ => self.unacknowledged,
        };
        self.unacknowledged = 0;
        Some(self.sequence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_window_is_acknowledged_with_the_sum_of_all() {
        let mut acks = Acks::default();
        acks.received(1000);
        assert_eq!(acks.poll(), None, "no window, no acknowledgement");
        acks.set_window(3000);
        assert_eq!(acks.poll(), None);
        acks.received(501);
        assert_eq!(acks.poll(), Some(1501));
        acks.received(1500);
        assert_eq!(acks.poll(), None);
        acks.received(1);
        assert_eq!(acks.poll(), Some(3002));
    }

    #[test]
    fn the_sequence_starts_over_before_it_turns_negative() {
        let mut acks = Acks::default();
        acks.set_window(2);
        acks.received(0xf000_0000);
        assert_eq!(acks.poll(), Some(0xf000_0000));
        acks.received(2);
        assert_eq!(acks.poll(), Some(2));
    }
}
