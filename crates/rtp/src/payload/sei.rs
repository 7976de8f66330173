//! Supplemental enhancement information: what of it is for the viewer.

/// Messages of one unit that are looked at; an encoder writes one to four.
const MAX_MESSAGES: usize = 32;

/// Whether a SEI unit speaks to the decoder's clock alone: buffering periods, picture timing,
/// filler, and of H.265 decoding unit information and picture hashes (H.264 annex D.1, H.265
/// annex D.2). Encoders put them into every picture, each would be a packet of its own, and a
/// viewer whose clock is RTP's has no use for them. `header`: bytes before the first message.
///
/// What cannot be read is not left out. Cost: a few bytes are looked at.
pub(super) fn is_timing(unit: &[u8], header: usize) -> bool {
    let mut bytes = Bytes { rest: unit.get(header..).unwrap_or(&[]).iter(), zeros: 0 };
    for message in 0..MAX_MESSAGES {
        let mut look = bytes.clone();
        // Nothing but trailing bits behind the last message.
        if message > 0 && matches!((look.next(), look.next()), (None | Some(0x80), None)) {
            return true;
        }
        let (Some(kind), Some(size)) = (bytes.number(), bytes.number()) else { return false };
        if !matches!(kind, 0 | 1 | 3 | 130 | 132) || bytes.by_ref().take(size).count() < size {
            return false;
        }
    }
    false
}

/// The bytes of a unit, without those that keep start codes out of it (H.264 §7.4.1).
#[derive(Clone)]
struct Bytes<'a> {
    rest: std::slice::Iter<'a, u8>,
    zeros: u8,
}

impl Bytes<'_> {
    /// A type or a size: bytes of 255 and a last one, added up (H.264 §7.3.2.3.1).
    fn number(&mut self) -> Option<usize> {
        let mut sum = 0usize;
        loop {
            let byte = self.next()?;
            sum = sum.checked_add(usize::from(byte))?;
            if byte != 0xff {
                return Some(sum);
            }
        }
    }
}

impl Iterator for Bytes<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let mut byte = *self.rest.next()?;
        if self.zeros >= 2 && byte == 3 {
            self.zeros = 0;
            byte = *self.rest.next()?;
        }
        self.zeros = if byte == 0 { self.zeros.saturating_add(1) } else { 0 };
        Some(byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timing_is_told_from_what_viewers_read() {
        // Picture timing as x264 writes it, and with a buffering period before it.
        assert!(is_timing(&[6, 1, 2, 0x00, 0x80, 0x80], 1));
        assert!(is_timing(&[6, 0, 1, 0xaa, 1, 1, 0xbb, 0x80], 1));
        assert!(is_timing(&[0x4e, 1, 1, 1, 0xbb, 0x80], 2), "H.265");
        assert!(is_timing(&[6, 1, 3, 0, 0, 3, 1, 0x80], 1), "with a byte against start codes");
        // Text, a recovery point, and timing with text behind it.
        assert!(!is_timing(&[6, 5, 2, 1, 2, 0x80], 1));
        assert!(!is_timing(&[6, 6, 1, 0xc4, 0x80], 1));
        assert!(!is_timing(&[6, 1, 1, 0, 4, 1, 0, 0x80], 1));
    }

    #[test]
    fn a_damaged_unit_is_not_left_out() {
        for unit in [&[6][..], &[6, 1], &[6, 1, 9, 0], &[6, 0xff], &[6, 0xff, 0xff, 1], &[]] {
            assert!(!is_timing(unit, 1), "{unit:?}");
        }
        let long = [vec![6], [1, 0].repeat(100)].concat();
        assert!(!is_timing(&long, 1), "more messages than are looked at");
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_answered(unit: Vec<u8>, header in 0usize..4) {
            is_timing(&unit, header);
        }
    }
}
