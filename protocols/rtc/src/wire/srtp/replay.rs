//! What was received of each source: how far it is, and which of the last packets were seen.

use super::{MAX_STREAMS, SrtpError};

/// Words of 64 packets in the window of RTP.
///
/// 1,024 packets: at 2,000 packets a second (20 Mbit/s) half a second, within which a
/// retransmission comes that has the number of the packet it replaces. At half of it those of a
/// far publisher were lost; at double 128 bytes more for each source.
pub(super) const RTP_WORDS: usize = 16;
/// Words of 64 packets in the window of RTCP, of which a few come each second.
pub(super) const RTCP_WORDS: usize = 2;

/// The sources of a receiver, in the order they were heard first.
#[derive(Debug, Default)]
pub(super) struct Streams<const WORDS: usize> {
    streams: Vec<Stream<WORDS>>,
    /// Which was asked for last: packets of one source come in rows.
    last: usize,
}

#[derive(Debug)]
struct Stream<const WORDS: usize> {
    ssrc: u32,
    /// The highest index whose tag was right.
    top: u64,
    /// One bit for each of the last packets, in place `index % (64 * WORDS)`.
    seen: [u64; WORDS],
}

impl<const WORDS: usize> Streams<WORDS> {
    const WINDOW: u64 = WORDS as u64 * 64;

    /// The index which a sequence number most likely means (RFC 3711 appendix A).
    pub(super) fn guess(&mut self, ssrc: u32, sequence: u16) -> u64 {
        let Some(stream) = self.find(ssrc) else { return u64::from(sequence) };
        let ahead = sequence.wrapping_sub(stream.top as u16) as i16;
        // Before the beginning there is nothing: then it is one that lies ahead.
        stream
            .top
            .checked_add_signed(i64::from(ahead))
            .unwrap_or_else(|| stream.top.saturating_add(u64::from(ahead as u16)))
    }

    /// Whether the packet was not seen yet and is no older than the window.
    pub(super) fn is_new(&mut self, ssrc: u32, index: u64) -> bool {
        let Some(stream) = self.find(ssrc) else { return true };
        if index > stream.top {
            return true;
        }
        stream.top - index < Self::WINDOW && !stream.is_set(index)
    }

    /// Whether a source is known or may become known.
    pub(super) fn has_room(&mut self, ssrc: u32) -> Result<(), SrtpError> {
        if self.streams.len() < MAX_STREAMS || self.find(ssrc).is_some() {
            return Ok(());
        }
        Err(SrtpError::TooManyStreams)
    }

    /// Remembers a packet whose tag was right.
    pub(super) fn note(&mut self, ssrc: u32, index: u64) {
        if let Some(stream) = self.find(ssrc) {
            stream.note(index);
        } else {
            let mut stream = Stream { ssrc, top: index, seen: [0; WORDS] };
            stream.set(index);
            self.last = self.streams.len();
            self.streams.push(stream);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    fn find(&mut self, ssrc: u32) -> Option<&mut Stream<WORDS>> {
        if self.streams.get(self.last).is_none_or(|stream| stream.ssrc != ssrc) {
            self.last = self.streams.iter().position(|stream| stream.ssrc == ssrc)?;
        }
        self.streams.get_mut(self.last)
    }
}

impl<const WORDS: usize> Stream<WORDS> {
    fn note(&mut self, index: u64) {
        if index > self.top {
            let steps = (index - self.top).min(WORDS as u64 * 64);
            if steps == WORDS as u64 * 64 {
                self.seen = [0; WORDS];
            } else {
                for passed in self.top + 1..index {
                    self.clear(passed);
                }
            }
            self.top = index;
        }
        self.set(index);
    }

    fn place(index: u64) -> (usize, u64) {
        ((index / 64) as usize % WORDS, 1 << (index % 64))
    }

    fn is_set(&self, index: u64) -> bool {
        let (word, bit) = Self::place(index);
        self.seen.get(word).is_some_and(|word| word & bit != 0)
    }

    fn set(&mut self, index: u64) {
        let (word, bit) = Self::place(index);
        if let Some(word) = self.seen.get_mut(word) {
            *word |= bit;
        }
    }

    fn clear(&mut self, index: u64) {
        let (word, bit) = Self::place(index);
        if let Some(word) = self.seen.get_mut(word) {
            *word &= !bit;
        }
    }
}
