//! Transport-wide congestion control: which packets of a transport came, and when
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3).
//!
//! [`Recorder`] is the receiver, which writes feedback; [`Parsed`] is feedback as the sender reads
//! it.

use thiserror::Error;

use crate::octets::{u16_at, u24_at};

mod recorder;
#[cfg(test)]
mod tests;

pub use recorder::{Options, Recorder};

/// Unit of arrival times, in microseconds.
pub const DELTA_US: i64 = 250;

/// Unit of the reference time, in microseconds.
pub const REFERENCE_US: i64 = 64_000;

/// Statuses read of one feedback packet; more is refused. Feedback comes each 50 to 250 ms, so at
/// half of it 80 Mbit/s with feedback each half second would not fit; at double a hostile packet
/// of a few bytes could cost twice the work.
pub const MAX_STATUSES: u16 = 8_192;

/// Why feedback cannot be read. Always the peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum TwccError {
    /// Fewer bytes than the head needs.
    #[error("transport feedback of {0} bytes, its head needs 8")]
    Short(usize),
    /// Over [`MAX_STATUSES`].
    #[error("transport feedback of {0} packets, at most {MAX_STATUSES} are read")]
    Long(u16),
    /// The chunks end before all packets have a status.
    #[error("transport feedback whose chunks tell {told} of {count} packets")]
    Chunks {
        /// Statuses there are.
        told: u16,
        /// Statuses the head promises.
        count: u16,
    },
}

/// Feedback, borrowed. Costs no allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// Sequence number of the first status.
    pub base_sequence: u16,
    /// Packets it tells of, at most [`MAX_STATUSES`].
    pub status_count: u16,
    /// In 64 ms, wraps at 24 bits (12 days); see [`ReferenceTime`].
    pub reference_time: u32,
    /// Counts the feedback packets of this receiver; wraps.
    pub feedback_count: u8,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

/// What became of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its transport-wide sequence number.
    pub sequence: u16,
    /// When it came: microseconds after the feedback's reference time, may be negative. None: it
    /// did not.
    pub arrival_us: Option<i64>,
}

impl<'a> Parsed<'a> {
    /// Reads what [`crate::rtcp::Rtcp::TransportCc`] carries. Walks the chunks once.
    ///
    /// # Errors
    /// If it is too short for what it promises, or promises too much.
    pub fn parse(fci: &'a [u8]) -> Result<Self, TwccError> {
        let short = TwccError::Short(fci.len());
        let count = u16_at(fci, 2).ok_or(short)?;
        let rest = fci.get(8..).ok_or(short)?;
        if count > MAX_STATUSES {
            return Err(TwccError::Long(count));
        }
        let (mut told, mut at) = (0u16, 0);
        while told < count {
            let chunk = u16_at(rest, at).ok_or(TwccError::Chunks { told, count })?;
            told = told.saturating_add(Chunk::read(chunk).len());
            at += 2;
        }
        let (chunks, deltas) = rest.split_at_checked(at).ok_or(short)?;
        Ok(Self {
            base_sequence: u16_at(fci, 0).ok_or(short)?,
            status_count: count,
            reference_time: u24_at(fci, 4).ok_or(short)?,
            feedback_count: *fci.get(7).ok_or(short)?,
            chunks,
            deltas,
        })
    }

    /// The statuses in order of their sequence numbers. Ends early if arrival times are missing.
    pub const fn statuses(&self) -> Statuses<'a> {
        Statuses {
            next: self.base_sequence,
            left: self.status_count,
            chunk: Chunk::Run { symbol: 0, len: 0 },
            chunks: self.chunks,
            deltas: self.deltas,
            arrival_us: 0,
        }
    }
}

/// Goes over the statuses of feedback.
#[derive(Clone, Debug)]
pub struct Statuses<'a> {
    next: u16,
    left: u16,
    chunk: Chunk,
    chunks: &'a [u8],
    deltas: &'a [u8],
    arrival_us: i64,
}

impl Iterator for Statuses<'_> {
    type Item = Status;

    #[inline]
    fn next(&mut self) -> Option<Status> {
        self.left = self.left.checked_sub(1)?;
        let symbol = loop {
            if let Some(symbol) = self.chunk.next() {
                break symbol;
            }
            let Some(chunk) = u16_at(self.chunks, 0) else {
                self.left = 0;
                return None;
            };
            self.chunk = Chunk::read(chunk);
            self.chunks = self.chunks.get(2..).unwrap_or_default();
        };
        let delta = match symbol {
            1 => self.deltas.split_first().map(|(&small, rest)| (i64::from(small), rest)),
            2 => self
                .deltas
                .split_first_chunk()
                .map(|(large, rest)| (i64::from(i16::from_be_bytes(*large)), rest)),
            // 3 is reserved; nothing is known of such a packet's time.
            _ => Some((0, self.deltas)),
        };
        let Some((delta, rest)) = delta else {
            self.left = 0;
            return None;
        };
        self.deltas = rest;
        self.arrival_us += delta * DELTA_US;
        let sequence = self.next;
        self.next = sequence.wrapping_add(1);
        let arrival_us = matches!(symbol, 1 | 2).then_some(self.arrival_us);
        Some(Status { sequence, arrival_us })
    }
}

/// A packet status chunk (§3.1.3, §3.1.4) that is being used up.
#[derive(Clone, Copy, Debug)]
enum Chunk {
    Run {
        symbol: u8,
        len: u16,
    },
    /// Symbols of `bits` bits from the top of `symbols`.
    Vector {
        symbols: u16,
        bits: u8,
        len: u16,
    },
}

impl Chunk {
    const fn read(chunk: u16) -> Self {
        if chunk & 0x8000 == 0 {
            Self::Run { symbol: (chunk >> 13) as u8 & 3, len: chunk & 0x1FFF }
        } else if chunk & 0x4000 == 0 {
            Self::Vector { symbols: chunk << 2, bits: 1, len: 14 }
        } else {
            Self::Vector { symbols: chunk << 2, bits: 2, len: 7 }
        }
    }

    const fn len(self) -> u16 {
        match self {
            Self::Run { len, .. } | Self::Vector { len, .. } => len,
        }
    }

    #[inline]
    fn next(&mut self) -> Option<u8> {
        match self {
            Self::Run { symbol, len } => {
                *len = len.checked_sub(1)?;
                Some(*symbol)
            }
            Self::Vector { symbols, bits, len } => {
                *len = len.checked_sub(1)?;
                let symbol = (*symbols >> (16 - *bits)) as u8;
                *symbols <<= *bits;
                Some(symbol)
            }
        }
    }
}

/// Unwraps the reference time, which has 24 bits of 64 ms and so wraps after 12 days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReferenceTime {
    last: Option<i64>,
}

impl ReferenceTime {
    /// Knows nothing yet.
    pub const fn new() -> Self {
        Self { last: None }
    }

    /// The reference time in microseconds of the receiver's clock, taken for the one nearest to
    /// the one before.
    pub const fn extend(&mut self, reference_time: u32) -> i64 {
        let value = (reference_time & 0x00FF_FFFF) as i64;
        let extended = match self.last {
            None => value,
            Some(last) => {
                // Sign of 24 bits: shifted up to the sign of 32 and back.
                let ahead = ((value - last) as i32) << 8 >> 8;
                last + ahead as i64
            }
        };
        self.last = Some(extended);
        extended * REFERENCE_US
    }
}
