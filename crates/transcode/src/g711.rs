//! G.711: eight bits of companded sound at 8 kHz (ITU-T G.711, tables 1a and 2a).

/// The rate of G.711 in Hz.
pub(crate) const RATE: u32 = 8_000;

/// What mu-law adds before it looks for the segment.
const BIAS: i32 = 0x84;
/// The largest value mu-law can say, in 16 bits.
const MU_CLIP: i32 = 32_635;

/// Which of the two curves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Law {
    /// A-law.
    A,
    /// Mu-law.
    Mu,
}

impl Law {
    /// One byte as a sample of -1 to 1.
    pub(crate) fn decode(self, byte: u8) -> f32 {
        let value = match self {
            Self::A => {
                let coded = byte ^ 0x55;
                let mantissa = i32::from(coded & 0x0f) << 4;
                let segment = coded >> 4 & 7;
                let magnitude = match segment {
                    0 => mantissa | 8,
                    _ => (mantissa | 0x108) << (segment - 1),
                };
                if coded & 0x80 == 0 { -magnitude } else { magnitude }
            }
            Self::Mu => {
                let coded = !byte;
                let mantissa = i32::from(coded & 0x0f) << 3 | BIAS;
                let magnitude = (mantissa << (coded >> 4 & 7)) - BIAS;
                if coded & 0x80 == 0 { magnitude } else { -magnitude }
            }
        };
        value as f32 / 32_768.0
    }

    /// A sample of -1 to 1 as one byte; beyond that it clips, and what is no number is silence.
    pub(crate) fn encode(self, sample: f32) -> u8 {
        // A cast of a float saturates, and turns NaN into 0.
        let value = i32::from((sample * 32_768.0) as i16);
        let negative = value < 0;
        match self {
            Self::A => {
                // One's complement, so that both signs have the same steps.
                let magnitude = if negative { !value } else { value } >> 4;
                let segment = (28u32.saturating_sub(magnitude.leading_zeros())).min(7);
                let mantissa = if segment < 2 { magnitude } else { magnitude >> (segment - 1) };
                let coded = (segment << 4) as u8 | (mantissa & 0x0f) as u8;
                (if negative { coded } else { coded | 0x80 }) ^ 0x55
            }
            Self::Mu => {
                let magnitude = value.abs().min(MU_CLIP) + BIAS;
                let segment = 24u32.saturating_sub(magnitude.leading_zeros()).min(7);
                let coded = (segment << 4) as u8 | (magnitude >> (segment + 3) & 0x0f) as u8;
                !(if negative { coded | 0x80 } else { coded })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_the_way_there_and_back() {
        for byte in 0..=255u8 {
            for law in [Law::A, Law::Mu] {
                let back = law.encode(law.decode(byte));
                // Mu-law has two zeros.
                let same = back == byte || (law, byte, back) == (Law::Mu, 0x7f, 0xff);
                assert!(same, "{law:?} {byte:02x} became {back:02x}");
            }
        }
    }

    #[test]
    fn known_values_are_those_of_the_tables() {
        assert_eq!(Law::A.decode(0xd5) * 32_768.0, 8.0);
        assert_eq!(Law::A.decode(0x2a) * 32_768.0, -32_256.0);
        assert_eq!(Law::Mu.decode(0xff), 0.0);
        assert_eq!(Law::Mu.decode(0x00) * 32_768.0, -32_124.0);
        assert_eq!(Law::A.encode(f32::NAN), Law::A.encode(0.0));
        assert_eq!(Law::Mu.encode(9.0), 0x80);
    }
}
