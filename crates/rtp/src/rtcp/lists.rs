//! The lists inside RTCP packets, read as they are walked.

use super::{MAX_NACK_PAIRS, ReportBlock, pair_at, reports_at};
use crate::octets::{u16_at, u32_at, u64_at};

/// Bytes of a report block.
const REPORT: usize = 24;

/// Report blocks, at most 31.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reports<'a>(&'a [u8]);

impl<'a> Reports<'a> {
    pub(super) fn new(bytes: &'a [u8], count: u8) -> Option<Self> {
        // What follows the blocks is an extension of some profile (RFC 3550 §6.4.3).
        bytes.get(..REPORT * usize::from(count)).map(Self)
    }
}

impl Iterator for Reports<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let (block, rest) = self.0.split_at_checked(REPORT)?;
        self.0 = rest;
        reports_at(block)
    }
}

/// SSRCs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssrcs<'a>(&'a [u8]);

impl<'a> Ssrcs<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl Iterator for Ssrcs<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let ssrc = u32_at(self.0, 0)?;
        self.0 = self.0.get(4..)?;
        Some(ssrc)
    }
}

/// The canonical name of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SdesChunk<'a> {
    /// Whose.
    pub ssrc: u32,
    /// CNAME; empty if the chunk has none. UTF-8 by the book, which nobody checked.
    pub cname: &'a [u8],
}

/// Source descriptions; ends early where an item claims more than there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SdesChunks<'a> {
    rest: &'a [u8],
    left: u8,
}

impl<'a> SdesChunks<'a> {
    pub(super) const fn new(rest: &'a [u8], left: u8) -> Self {
        Self { rest, left }
    }

    fn chunk(&mut self) -> Option<SdesChunk<'a>> {
        let ssrc = u32_at(self.rest, 0)?;
        let mut cname = &[][..];
        let mut at = 4;
        loop {
            let kind = *self.rest.get(at)?;
            if kind == 0 {
                // The list ends with at least one zero and goes up to a full word.
                at = (at + 1).next_multiple_of(4);
                break;
            }
            let len = usize::from(*self.rest.get(at + 1)?);
            let text = self.rest.get(at + 2..at + 2 + len)?;
            if kind == 1 && cname.is_empty() {
                cname = text;
            }
            at += 2 + len;
            if at == self.rest.len() {
                // The closing zero was forgotten; nothing can follow.
                break;
            }
        }
        self.rest = self.rest.get(at..).unwrap_or_default();
        Some(SdesChunk { ssrc, cname })
    }
}

impl<'a> Iterator for SdesChunks<'a> {
    type Item = SdesChunk<'a>;

    fn next(&mut self) -> Option<SdesChunk<'a>> {
        self.left = self.left.checked_sub(1)?;
        let chunk = self.chunk();
        if chunk.is_none() {
            self.left = 0;
        }
        chunk
    }
}

/// Sequence numbers a NACK asks for, as it lists them; duplicates are not taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NackSequences<'a> {
    rest: &'a [u8],
    /// The number that bit 0 of `mask` stands for.
    next: u16,
    mask: u32,
}

impl<'a> NackSequences<'a> {
    pub(super) fn new(fci: &'a [u8]) -> Self {
        let rest = fci.get(..4 * MAX_NACK_PAIRS).unwrap_or(fci);
        Self { rest, next: 0, mask: 0 }
    }
}

impl Iterator for NackSequences<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        if self.mask == 0 {
            let (first, following) = pair_at(self.rest, 0)?;
            self.rest = self.rest.get(4..)?;
            self.next = first;
            self.mask = (u32::from(following) << 1) | 1;
        }
        let skip = self.mask.trailing_zeros();
        let sequence = self.next.wrapping_add(u16::try_from(skip).unwrap_or(0));
        // The mask has 17 bits, so the shift is at most 17.
        self.mask >>= skip + 1;
        self.next = sequence.wrapping_add(1);
        Some(sequence)
    }
}

/// SSRC and number of each full intra request. A number already seen is a repetition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirEntries<'a>(&'a [u8]);

impl<'a> FirEntries<'a> {
    pub(super) const fn new(fci: &'a [u8]) -> Self {
        Self(fci)
    }
}

impl Iterator for FirEntries<'_> {
    type Item = (u32, u8);

    fn next(&mut self) -> Option<(u32, u8)> {
        let (entry, rest) = self.0.split_at_checked(8)?;
        self.0 = rest;
        u32_at(entry, 0).zip(entry.get(4).copied())
    }
}

/// One block of an extended report.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum XrBlock<'a> {
    /// Receiver reference time (RFC 3611 §4.4), NTP 32.32.
    Rrtr(u64),
    /// Delay since the last receiver reference time (RFC 3611 §4.5).
    Dlrr(DlrrItems<'a>),
    /// Any other, with its block type.
    Other(u8),
}

/// Blocks of an extended report; ends early where one claims more than there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XrBlocks<'a>(&'a [u8]);

impl<'a> XrBlocks<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> Iterator for XrBlocks<'a> {
    type Item = XrBlock<'a>;

    fn next(&mut self) -> Option<XrBlock<'a>> {
        let kind = *self.0.first()?;
        let words = usize::from(u16_at(self.0, 2)?);
        let body = self.0.get(4..4 + 4 * words)?;
        self.0 = self.0.get(4 + 4 * words..)?;
        Some(match (kind, u64_at(body, 0)) {
            (4, Some(ntp)) => XrBlock::Rrtr(ntp),
            (5, _) => XrBlock::Dlrr(DlrrItems(body)),
            _ => XrBlock::Other(kind),
        })
    }
}

/// Of each receiver: its SSRC, the middle 32 bits of its reference time, and how long ago that came
/// in 1/65,536 s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DlrrItems<'a>(&'a [u8]);

impl Iterator for DlrrItems<'_> {
    type Item = (u32, u32, u32);

    fn next(&mut self) -> Option<(u32, u32, u32)> {
        let (item, rest) = self.0.split_at_checked(12)?;
        self.0 = rest;
        Some((u32_at(item, 0)?, u32_at(item, 4)?, u32_at(item, 8)?))
    }
}
