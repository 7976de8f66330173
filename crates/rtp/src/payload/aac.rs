//! AAC (RFC 3640): written as AAC-hbr, read with any sizes of the fields; without interleaving.

use bytes::{BufMut, BytesMut};
use media::Frame;
use media::bits::BitReader;
use smallvec::SmallVec;

use super::error::{invalid, truncated};
use super::nal::{check_room, even};
use super::{DepacketizeError, Joined, Options, PacketizeError, Payloads, Pushed};

/// Bytes before the media that are written: the length of the headers, and one header.
const HEADERS: usize = 4;

/// The longest access unit that 13 bits of AAC-hbr can announce.
const MAX_UNIT: usize = 0x1fff;

/// Access units in one payload at most. A second of sound has 47; at half, senders that gather a
/// half would be refused.
const MAX_UNITS: usize = 32;

/// How access units lie in payloads: what `a=fmtp` says of `mpeg4-generic`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AacFormat {
    /// `sizeLength`, in bits, up to 32.
    pub size_bits: u8,
    /// `indexLength`, in bits, up to 32.
    pub index_bits: u8,
    /// `indexDeltaLength`, in bits, up to 32.
    pub delta_bits: u8,
    /// Samples of an access unit for each channel, in ticks of the clock.
    pub samples: u32,
}

impl Default for AacFormat {
    /// AAC-hbr with 1,024 samples.
    fn default() -> Self {
        Self { size_bits: 13, index_bits: 3, delta_bits: 3, samples: 1024 }
    }
}

#[derive(Debug)]
pub(super) struct Cutter {
    max: usize,
}

impl Cutter {
    pub(super) const fn new(options: Options) -> Self {
        Self { max: options.max_payload }
    }

    pub(super) fn push(
        &mut self,
        frame: &Frame,
        out: &mut Payloads,
    ) -> Result<Pushed, PacketizeError> {
        if frame.is_config() {
            return Ok(Pushed::Config);
        }
        let size = frame.payload.len();
        if size == 0 {
            return Ok(Pushed::Nothing);
        }
        if size > MAX_UNIT {
            let what = "AAC access unit";
            return Err(PacketizeError::TooLarge { what, size, max: MAX_UNIT });
        }
        let mark = out.mark();
        for piece in frame.payload.chunks(even(size, self.max.saturating_sub(HEADERS))) {
            let start = out.bytes().len();
            let tail = out.tail();
            tail.put_u16(16);
            // Each fragment tells the size of the whole.
            tail.put_u16((size as u16) << 3);
            tail.put_slice(piece);
            out.seal(start);
        }
        // The marker ends an access unit.
        out.frame_done(mark, true);
        Ok(Pushed::Packaged)
    }
}

#[derive(Debug)]
pub(super) struct Joiner {
    format: AacFormat,
    /// Of the payload at hand.
    sizes: SmallVec<[usize; 8]>,
}

impl Joiner {
    pub(super) fn new(format: AacFormat) -> Self {
        Self { format, sizes: SmallVec::new() }
    }

    /// Reads the headers into `sizes`, and gives the media behind them.
    fn headers<'a>(
        format: AacFormat,
        payload: &'a [u8],
        sizes: &mut SmallVec<[usize; 8]>,
    ) -> Result<&'a [u8], DepacketizeError> {
        let Some((&length, rest)) = payload.split_first_chunk::<2>() else {
            return Err(truncated("AU headers", payload.len()));
        };
        let bits = usize::from(u16::from_be_bytes(length));
        let Some((headers, media)) = rest.split_at_checked(bits.div_ceil(8)) else {
            return Err(truncated("AU headers", payload.len()));
        };
        let mut r = BitReader::new("AU headers", headers);
        let unread = headers.len().saturating_mul(8).saturating_sub(bits);
        let first = usize::from(format.size_bits).saturating_add(usize::from(format.index_bits));
        while first > 0 && r.remaining() > unread {
            if sizes.len() >= MAX_UNITS {
                return Err(DepacketizeError::TooMany { max: MAX_UNITS });
            }
            let size = r.read(u32::from(format.size_bits))?;
            let index_bits = if sizes.is_empty() { format.index_bits } else { format.delta_bits };
            if r.read(u32::from(index_bits))? != 0 && !sizes.is_empty() {
                return Err(DepacketizeError::Unsupported { what: "interleaved AAC" });
            }
            if size == 0 {
                return Err(invalid("size of an access unit", 0, 2));
            }
            sizes.push(size as usize);
        }
        if sizes.is_empty() || media.is_empty() {
            return Err(truncated("AAC access unit", payload.len()));
        }
        Ok(media)
    }

    /// A fragment does not tell whether it is the first.
    pub(super) fn surely_first(&self, payload: &[u8]) -> bool {
        let mut sizes = SmallVec::new();
        let media = Self::headers(self.format, payload, &mut sizes);
        media.is_ok_and(|media| media.len() >= sum(&sizes))
    }

    pub(super) fn is_whole(&self, buffered: usize) -> bool {
        buffered >= sum(&self.sizes)
    }

    pub(super) fn clear(&mut self) {
        self.sizes.clear();
    }

    pub(super) fn add(
        &mut self,
        payload: &[u8],
        buffer: &mut BytesMut,
    ) -> Result<(), DepacketizeError> {
        let mut sizes = SmallVec::new();
        let media = Self::headers(self.format, payload, &mut sizes)?;
        if !buffer.is_empty() && self.sizes != sizes {
            return Err(DepacketizeError::Unfinished);
        }
        let whole = sum(&sizes);
        let total = buffer.len().saturating_add(media.len());
        // Only one access unit may be in fragments.
        if total > whole || total < whole && sizes.len() > 1 {
            return Err(invalid("size of an access unit", whole as u64, 2));
        }
        self.sizes = sizes;
        check_room(buffer, media.len())?;
        buffer.put_slice(media);
        Ok(())
    }

    pub(super) fn finish(&mut self, buffer: &BytesMut) -> Result<Joined, DepacketizeError> {
        if buffer.is_empty() {
            return Ok(Joined::Nothing);
        }
        if !self.is_whole(buffer.len()) {
            return Err(DepacketizeError::Unfinished);
        }
        let sizes = std::mem::take(&mut self.sizes);
        Ok(Joined::Several { sizes, step: i64::from(self.format.samples) })
    }
}

fn sum(sizes: &[usize]) -> usize {
    sizes.iter().fold(0, |sum, size| sum.saturating_add(*size))
}
