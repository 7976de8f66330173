//! Packets in a TCP connection (RFC 4571, RFC 6544 §3): two bytes of length before each.

/// The longest packet that is taken, in bytes.
///
/// What goes over ICE-TCP was made for UDP, so it is below 1,500. At half of this nothing known
/// fails; at double a connection that never finishes a packet holds twice as much.
pub const MAX_PACKET: usize = 8_192;

/// Why a connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// A packet is longer than [`MAX_PACKET`]; the sender's fault.
    #[error("a packet of {0} bytes in TCP, more than {MAX_PACKET}")]
    TooLong(usize),
}

/// Cuts packets out of a connection; holds what is there of the next one and no more.
#[derive(Debug, Default)]
pub struct Reader {
    /// The length and then the packet, as far as they have come.
    partial: Vec<u8>,
    /// Whether `partial` was given out whole.
    given: bool,
}

impl Reader {
    /// Takes from the front of `input` what belongs to the next packet; gives that packet once it
    /// is whole, and nothing when `input` is empty before.
    ///
    /// Empty packets are passed over. One copy; no allocation once a packet of the size was seen.
    /// After an error the connection must be closed.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<&mut [u8]>, FramingError> {
        if std::mem::take(&mut self.given) {
            self.partial.clear();
        }
        loop {
            self.fill(2, input);
            let Some(len) = self.partial.first_chunk().map(|len| u16::from_be_bytes(*len)) else {
                return Ok(None);
            };
            let len = usize::from(len);
            if len > MAX_PACKET {
                return Err(FramingError::TooLong(len));
            }
            if len == 0 {
                self.partial.clear();
                continue;
            }
            self.fill(2 + len, input);
            if self.partial.len() < 2 + len {
                return Ok(None);
            }
            self.given = true;
            return Ok(self.partial.get_mut(2..));
        }
    }

    /// Moves bytes until `want` are there.
    fn fill(&mut self, want: usize, input: &mut &[u8]) {
        let missing = want.saturating_sub(self.partial.len()).min(input.len());
        if let Some((taken, rest)) = input.split_at_checked(missing) {
            self.partial.extend_from_slice(taken);
            *input = rest;
        }
    }
}

/// Appends a packet with its length; false, and nothing appended, if it is longer than 65,535.
pub fn write(packet: &[u8], out: &mut Vec<u8>) -> bool {
    let Ok(len) = u16::try_from(packet.len()) else { return false };
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(packet);
    true
}

#[cfg(test)]
mod tests;
