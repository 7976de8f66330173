//! Redundant audio (RFC 2198): a packet carries earlier payloads beside its own.
//!
//! Only the payloads are told here; what was in an earlier packet but its timestamp (marker,
//! extensions) is lost with it.

use thiserror::Error;

use crate::octets::u24_at;

mod recovery;
#[cfg(test)]
mod tests;

pub use recovery::{Recovery, Restored};

/// Earlier payloads in one packet. Browsers send one or two, at most nine. At half of it those nine
/// would be refused; at double nothing is won.
pub const MAX_REDUNDANT: usize = 16;

/// Largest distance in ticks that the 14 bits of a block's header can tell.
pub const MAX_OFFSET: u32 = 0x3FFF;

/// Longest payload that the 10 bits of a block's header can tell.
pub const MAX_LENGTH: usize = 0x3FF;

/// Why a payload is no redundant audio. Always the sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RedError {
    /// The headers end before one says it is the last.
    #[error("redundant audio of {0} bytes ends within its headers")]
    Headers(usize),
    /// Over [`MAX_REDUNDANT`].
    #[error("redundant audio with more than {MAX_REDUNDANT} earlier payloads")]
    Many,
    /// The blocks claim more than there is.
    #[error("redundant audio whose blocks claim {claimed} bytes, {left} are there")]
    Short {
        /// By all headers together.
        claimed: usize,
        /// After the headers.
        left: usize,
    },
}

/// One payload of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// What it is; the session's own number, not that of redundant audio.
    pub payload_type: u8,
    /// Ticks before the packet's timestamp, at most [`MAX_OFFSET`]; 0 for the packet's own.
    pub offset: u32,
    /// The payload.
    pub data: &'a [u8],
}

/// A payload of redundant audio, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redundant<'a> {
    /// The packet's own payload.
    pub primary: Block<'a>,
    headers: &'a [u8],
    data: &'a [u8],
}

impl<'a> Redundant<'a> {
    /// Reads a payload. Walks the headers once.
    ///
    /// # Errors
    /// If the headers do not end, are too many or claim more than there is.
    pub fn parse(payload: &'a [u8]) -> Result<Self, RedError> {
        let (mut at, mut claimed) = (0, 0);
        let last = loop {
            let first = *payload.get(at).ok_or(RedError::Headers(payload.len()))?;
            if first & 0x80 == 0 {
                break first;
            }
            if at / 4 >= MAX_REDUNDANT {
                return Err(RedError::Many);
            }
            let rest = u24_at(payload, at + 1).ok_or(RedError::Headers(payload.len()))?;
            claimed += length_of(rest);
            at += 4;
        };
        let headers = payload.get(..at).unwrap_or_default();
        let data = payload.get(at + 1..).unwrap_or_default();
        let short = RedError::Short { claimed, left: data.len() };
        let (data, own) = data.split_at_checked(claimed).ok_or(short)?;
        Ok(Self { primary: Block { payload_type: last, offset: 0, data: own }, headers, data })
    }

    /// The earlier payloads, oldest first as senders put them. Empty ones are told, too.
    pub const fn earlier(&self) -> Earlier<'a> {
        Earlier { headers: self.headers, data: self.data }
    }
}

/// Goes over the earlier payloads.
#[derive(Clone, Debug)]
pub struct Earlier<'a> {
    headers: &'a [u8],
    data: &'a [u8],
}

impl<'a> Iterator for Earlier<'a> {
    type Item = Block<'a>;

    fn next(&mut self) -> Option<Block<'a>> {
        let payload_type = *self.headers.first()? & 0x7F;
        let rest = u24_at(self.headers, 1)?;
        self.headers = self.headers.get(4..)?;
        let (data, left) = self.data.split_at_checked(length_of(rest))?;
        self.data = left;
        Some(Block { payload_type, offset: rest >> 10, data })
    }
}

fn length_of(rest: u32) -> usize {
    usize::try_from(rest).unwrap_or(0) & MAX_LENGTH
}

/// The header of an earlier payload in front of another; `None`: it cannot tell this one, which is
/// too long or too long ago.
pub fn header(block: &Block<'_>) -> Option<[u8; 4]> {
    let length = u32::try_from(block.data.len()).ok().filter(|n| *n <= MAX_LENGTH as u32)?;
    let kind = u32::from(block.payload_type | 0x80) << 24;
    (block.offset <= MAX_OFFSET).then(|| (kind | (block.offset << 10) | length).to_be_bytes())
}

/// Appends a payload of redundant audio: `earlier` payloads, oldest first, then the packet's own.
/// Earlier ones that a header cannot tell (too long, too long ago) and those beyond
/// [`MAX_REDUNDANT`] are left out; gives how many were written.
pub fn write(out: &mut Vec<u8>, earlier: &[Block<'_>], primary_type: u8, primary: &[u8]) -> usize {
    let taken = || earlier.iter().filter(|block| header(block).is_some()).take(MAX_REDUNDANT);
    for header in taken().filter_map(header) {
        out.extend_from_slice(&header);
    }
    out.push(primary_type & 0x7F);
    for block in taken() {
        out.extend_from_slice(block.data);
    }
    out.extend_from_slice(primary);
    taken().count()
}
