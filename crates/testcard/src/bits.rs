//! Bits into bytes, most significant first, with the Exp-Golomb codes of ITU-T H.264, 9.1.

/// Collects bits; [`finish`](Self::finish) gives the bytes.
#[derive(Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    /// The bits that do not fill a byte yet, right-aligned.
    pending: u64,
    /// How many there are: 0 to 7 between calls.
    count: u32,
}

impl BitWriter {
    /// Appends the low `width` bits of `value`. At most 32 bits at a time; what lies above `width`
    /// is ignored.
    pub(crate) fn put(&mut self, width: u32, value: u32) {
        debug_assert!(width <= 32);
        let mask = (1u64 << width) - 1;
        self.pending = (self.pending << width) | (u64::from(value) & mask);
        self.count += width;
        while self.count >= 8 {
            self.count -= 8;
            self.bytes.push((self.pending >> self.count) as u8);
        }
        self.pending &= (1 << self.count) - 1;
    }

    /// A single bit.
    pub(crate) fn flag(&mut self, value: bool) {
        self.put(1, u32::from(value));
    }

    /// A code that is written behind a leading one bit: `0x15` appends `0101`.
    pub(crate) fn code(&mut self, marked: u32) {
        debug_assert!(marked != 0, "an entry that the table does not have");
        self.put(31 - marked.leading_zeros(), marked);
    }

    /// ue(v): unsigned Exp-Golomb.
    pub(crate) fn ue(&mut self, value: u32) {
        let wide = value + 1;
        let zeros = 31 - wide.leading_zeros();
        self.put(zeros, 0);
        self.put(zeros + 1, wide);
    }

    /// se(v): signed Exp-Golomb.
    pub(crate) fn se(&mut self, value: i32) {
        let mapped = if value > 0 { 2 * value - 1 } else { -2 * value };
        self.ue(mapped.unsigned_abs());
    }

    /// Fills the last byte with zero bits.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        if self.count > 0 {
            self.put(8 - self.count, 0);
        }
        self.bytes
    }

    /// Ends a NAL unit's payload: a one bit, then zero bits (rbsp_trailing_bits, 7.3.2.11).
    pub(crate) fn finish_rbsp(mut self) -> Vec<u8> {
        self.flag(true);
        self.finish()
    }
}

/// Reads back what [`BitWriter`] wrote, for the decoders in the tests.
#[cfg(test)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

#[cfg(test)]
impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(crate) fn get(&mut self, width: usize) -> u32 {
        (0..width).fold(0, |value, _| {
            let byte = self.bytes[self.position / 8];
            let bit = byte >> (7 - self.position % 8) & 1;
            self.position += 1;
            value << 1 | u32::from(bit)
        })
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.get(1) == 1
    }

    pub(crate) fn ue(&mut self) -> u32 {
        let zeros = (0..).take_while(|_| !self.flag()).count();
        (1 << zeros) - 1 + self.get(zeros)
    }

    pub(crate) fn se(&mut self) -> i32 {
        let code = self.ue() as i32;
        if code % 2 == 1 { (code + 1) / 2 } else { -code / 2 }
    }

    /// The place in `codes`, each behind a leading one bit, of the code that comes next.
    pub(crate) fn code(&mut self, codes: impl IntoIterator<Item = u32> + Clone) -> usize {
        let mut marked = 1;
        loop {
            marked = marked << 1 | self.get(1);
            if let Some(place) = codes.clone().into_iter().position(|code| code == marked) {
                return place;
            }
            assert!(marked < 1 << 17, "no such code");
        }
    }

    pub(crate) fn bits_left(&self) -> usize {
        self.bytes.len() * 8 - self.position
    }

    /// Whether nothing is left but the one bit and the zero bits that end a NAL unit's payload.
    pub(crate) fn at_rbsp_end(&self) -> bool {
        let mut rest = Self { ..*self };
        rest.bits_left() <= 8 && rest.flag() && rest.get(rest.bits_left()) == 0
    }
}

/// Whether no code is the beginning of another, and whether they leave no gap.
#[cfg(test)]
pub(crate) fn check_prefix_code(codes: impl IntoIterator<Item = u32>) -> (bool, bool) {
    let mut spans: Vec<(u64, u64)> = codes
        .into_iter()
        .map(|marked| {
            let width = 31 - marked.leading_zeros();
            let size = 1 << (32 - width);
            let start = (u64::from(marked) - (1 << width)) * size;
            (start, start + size)
        })
        .collect();
    spans.sort_unstable();
    let free = spans.windows(2).all(|pair| pair[0].1 <= pair[1].0);
    let covered: u64 = spans.iter().map(|(start, end)| end - start).sum();
    (free, covered == 1 << 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_golomb_codes_are_those_of_the_standards_table() {
        let mut bits = BitWriter::default();
        for value in 0..5 {
            bits.ue(value); // 1 010 011 00100 00101
        }
        assert_eq!(bits.finish(), [0b1010_0110, 0b0100_0010, 0b1000_0000]);
        let mut bits = BitWriter::default();
        for value in [0, 1, -1, 2, -2] {
            bits.se(value); // the same codes
        }
        assert_eq!(bits.finish(), [0b1010_0110, 0b0100_0010, 0b1000_0000]);
    }

    #[test]
    fn a_marked_code_keeps_its_leading_zeros() {
        let mut bits = BitWriter::default();
        bits.code(0x15);
        bits.code(0x11);
        assert_eq!(bits.finish(), [0b0101_0001]);
    }

    #[test]
    fn thirty_two_bits_fit_beside_seven_pending_ones() {
        let mut bits = BitWriter::default();
        bits.put(7, 0x7f);
        bits.put(32, 0x8000_0001);
        bits.flag(true);
        assert_eq!(bits.finish(), [0xff, 0, 0, 0, 0b11]);
    }
}
