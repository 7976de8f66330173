//! What a packet of SCTP says at first sight (RFC 9260 §3): enough to refuse what would make the
//! engine keep too much.

/// Chunks of one packet: 60 of one byte fill one. At half of it small messages in a row would be
/// refused, at double nothing more fits.
pub const MOST_CHUNKS: usize = 128;

/// Bytes of the common header.
const HEADER: usize = 12;

/// What is known of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// DATA: its number and its stream.
    Data {
        /// Transmission sequence number.
        tsn: u32,
        /// The stream's number.
        stream: u16,
    },
    /// INIT and INIT ACK: the number that its sender begins with.
    Init {
        /// Of the first DATA.
        tsn: u32,
    },
    /// SACK: all numbers up to this one have come.
    Sack {
        /// Cumulative TSN ack.
        tsn: u32,
    },
    /// Any other, by its type.
    Other(u8),
}

/// A packet that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a packet of SCTP that cannot be read, at byte {0}")]
pub struct BadPacket(pub usize);

/// The chunks of a packet, at most [`MOST_CHUNKS`]; the checksum is not looked at. No allocation.
pub fn chunks(packet: &[u8]) -> impl Iterator<Item = Result<Chunk, BadPacket>> + '_ {
    let mut at = HEADER;
    let mut count = 0;
    let mut over = packet.len() <= HEADER;
    let mut bad = over.then_some(BadPacket(packet.len()));
    std::iter::from_fn(move || {
        if let Some(bad) = bad.take() {
            over = true;
            return Some(Err(bad));
        }
        if over || at >= packet.len() {
            return None;
        }
        count += 1;
        match one(packet.get(at..).unwrap_or_default()).filter(|_| count <= MOST_CHUNKS) {
            Some((chunk, len)) => {
                at = at.saturating_add(len);
                Some(Ok(chunk))
            }
            None => {
                over = true;
                Some(Err(BadPacket(at)))
            }
        }
    })
}

/// The first chunk and its length with padding.
fn one(bytes: &[u8]) -> Option<(Chunk, usize)> {
    let ([kind, _, hi, lo], rest) = bytes.split_first_chunk()?;
    let len = usize::from(u16::from_be_bytes([*hi, *lo]));
    let value = rest.get(..len.checked_sub(4)?)?;
    let number = |from: usize| {
        value.get(from..from.saturating_add(4))?.first_chunk().copied().map(u32::from_be_bytes)
    };
    let chunk = match kind {
        0 => {
            let stream = value.get(4..6)?.first_chunk().copied().map(u16::from_be_bytes)?;
            // Stream, its sequence number, what the payload is; and a payload is never empty.
            if value.len() <= 12 {
                return None;
            }
            Chunk::Data { tsn: number(0)?, stream }
        }
        1 | 2 => Chunk::Init { tsn: number(12)? },
        3 => Chunk::Sack { tsn: number(0)? },
        other => Chunk::Other(*other),
    };
    Some((chunk, len.next_multiple_of(4)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(chunks: &[&[u8]]) -> Vec<u8> {
        let mut packet = vec![0; HEADER];
        for chunk in chunks {
            packet.extend_from_slice(chunk);
            packet.resize(packet.len().next_multiple_of(4), 0);
        }
        packet
    }

    const DATA: &[u8] = &[0, 3, 0, 17, 0, 0, 0, 9, 0, 6, 0, 0, 0, 0, 0, 51, b'x'];

    #[test]
    fn chunks_are_told_apart() {
        let sack = [3, 0, 0, 16, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0];
        let packet = packet(&[&sack, DATA, &[11, 0, 0, 4]]);
        let found: Result<Vec<_>, _> = chunks(&packet).collect();
        let expected =
            vec![Chunk::Sack { tsn: 7 }, Chunk::Data { tsn: 9, stream: 6 }, Chunk::Other(11)];
        assert_eq!(found, Ok(expected));
    }

    #[test]
    fn what_ends_early_or_holds_nothing_is_refused_where_it_begins() {
        assert_eq!(chunks(&[0; 5]).next(), Some(Err(BadPacket(5))));
        assert_eq!(chunks(&[0; 12]).next(), Some(Err(BadPacket(12))));
        let good = packet(&[DATA, DATA]);
        let cut = &good[..good.len() - 4];
        assert_eq!(chunks(cut).last(), Some(Err(BadPacket(32))));
        let empty = packet(&[&DATA[..16]]);
        assert_eq!(chunks(&empty).next(), Some(Err(BadPacket(12))));
        assert_eq!(chunks(&packet(&[&[5, 0, 0, 0]])).next(), Some(Err(BadPacket(12))));
    }

    #[test]
    fn a_packet_of_too_many_chunks_is_refused() {
        let many = vec![&[11_u8, 0, 0, 4][..]; MOST_CHUNKS + 5];
        let packet = packet(&many);
        assert_eq!(chunks(&packet).filter(Result::is_ok).count(), MOST_CHUNKS);
        assert_eq!(chunks(&packet).last(), Some(Err(BadPacket(12 + 4 * MOST_CHUNKS))));
    }
}
