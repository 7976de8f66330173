//! RTCP: reports (RFC 3550 §6), feedback (RFC 4585, RFC 5104, REMB, transport-wide congestion
//! control) and extended reports (RFC 3611). Compound and reduced-size (RFC 5506) alike.
//!
//! [`Compound`] reads without allocation, [`mod@write`] appends, [`ReceiverStats`] counts what a
//! receiver report tells.

use thiserror::Error;

use crate::octets::{u16_at, u24_at, u32_at, u64_at};

mod lists;
mod stats;
#[cfg(test)]
mod tests;
pub mod write;

pub use lists::{DlrrItems, FirEntries, NackSequences, Reports, SdesChunk, SdesChunks, Ssrcs};
pub use lists::{XrBlock, XrBlocks};
pub use stats::{ReceiverStats, round_trip_us};

/// Packets read of one datagram; the rest is left out. A compound packet of a browser has four, of
/// a large meeting a dozen: at half of this some of those would be cut, at double nothing is won.
pub const MAX_PACKETS: usize = 64;

/// Pairs of packet id and bitmask read of one NACK: 4,352 sequence numbers, more than a second of
/// the fastest stream. At half a datagram's worth of honest pairs (370) could be cut; at double a
/// hostile datagram over TCP could ask for twice the work.
pub const MAX_NACK_PAIRS: usize = 512;

const SR: u8 = 200;
const RR: u8 = 201;
const SDES: u8 = 202;
const BYE: u8 = 203;
const APP: u8 = 204;
const RTPFB: u8 = 205;
const PSFB: u8 = 206;
const XR: u8 = 207;

/// Why bytes are no RTCP. Always the sender's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RtcpError {
    /// Fewer bytes than the packet's header or its length claims. Nothing after it can be read.
    #[error("RTCP packet at byte {at} claims {claimed} bytes, {left} are left")]
    Short {
        /// Where in the datagram the packet begins.
        at: usize,
        /// Bytes it claims to have.
        claimed: usize,
        /// Bytes from there to the end.
        left: usize,
    },
    /// A version other than 2. Nothing after it can be read.
    #[error("RTCP version {version}, not 2, at byte {at}")]
    Version {
        /// Where in the datagram the packet begins.
        at: usize,
        /// The version.
        version: u8,
    },
    /// The padding count is zero or more than the packet has. One that is no multiple of four is
    /// let pass, since transport-wide feedback of browsers has such.
    #[error("RTCP packet of type {packet_type} at byte {at} with bad padding")]
    Padding {
        /// Where in the datagram the packet begins.
        at: usize,
        /// Its packet type.
        packet_type: u8,
    },
    /// The body is shorter than its type and count need.
    #[error(
        "RTCP packet of type {packet_type}, count or format {count}, at byte {at} is too short"
    )]
    Body {
        /// Where in the datagram the packet begins.
        at: usize,
        /// Its packet type.
        packet_type: u8,
        /// Its count or feedback format.
        count: u8,
    },
}

/// What a sender tells of itself (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// Who.
    pub ssrc: u32,
    /// Wall clock of the sender, NTP 32.32 seconds since 1900.
    pub ntp: u64,
    /// The same moment on the clock of its RTP timestamps.
    pub rtp: u32,
    /// Packets sent so far.
    pub packets: u32,
    /// Payload bytes sent so far.
    pub octets: u32,
}

/// What a receiver tells of one source (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// Of whom.
    pub ssrc: u32,
    /// Lost since the last report, in 256ths.
    pub fraction_lost: u8,
    /// Lost so far; 24 bits signed, negative if duplicates outnumber losses.
    pub cumulative_lost: i32,
    /// Highest sequence number with its cycles.
    pub highest: u32,
    /// Interarrival jitter in ticks of the source's clock.
    pub jitter: u32,
    /// Middle 32 bits of the NTP time of the last sender report; 0: none came.
    pub last_sr: u32,
    /// Since that came, in 1/65,536 s.
    pub delay_since_last_sr: u32,
}

/// Feedback whose body [`crate::twcc::Parsed`] reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feedback<'a> {
    /// Who reports.
    pub sender: u32,
    /// Whose packets; any of the transport.
    pub media: u32,
    /// What follows: feedback control information.
    pub fci: &'a [u8],
}

/// One packet of a compound, borrowed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rtcp<'a> {
    /// RFC 3550 §6.4.1.
    SenderReport {
        /// Of itself.
        info: SenderInfo,
        /// Of others.
        reports: Reports<'a>,
    },
    /// RFC 3550 §6.4.2.
    ReceiverReport {
        /// Who reports.
        sender: u32,
        /// Of whom.
        reports: Reports<'a>,
    },
    /// RFC 3550 §6.5.
    Sdes(SdesChunks<'a>),
    /// RFC 3550 §6.6.
    Bye {
        /// Who leaves.
        ssrcs: Ssrcs<'a>,
        /// Why, as the sender says it; often empty, in no certain encoding.
        reason: &'a [u8],
    },
    /// Generic NACK (RFC 4585 §6.2.1).
    Nack {
        /// Who asks.
        sender: u32,
        /// Whose packets.
        media: u32,
        /// Which ones.
        sequences: NackSequences<'a>,
    },
    /// Picture loss indication (RFC 4585 §6.3.1).
    Pli {
        /// Who asks.
        sender: u32,
        /// Whose picture.
        media: u32,
    },
    /// Full intra request (RFC 5104 §4.3.1).
    Fir {
        /// Who asks.
        sender: u32,
        /// Of whom, each with the request's number.
        entries: FirEntries<'a>,
    },
    /// Receiver estimated maximum bitrate (draft-alvestrand-rmcat-remb-03).
    Remb {
        /// Who estimates.
        sender: u32,
        /// Bits per second over all `ssrcs` together. Saturates.
        bitrate: u64,
        /// Which streams.
        ssrcs: Ssrcs<'a>,
    },
    /// Transport-wide congestion control (draft-holmer-rmcat-transport-wide-cc-extensions-01).
    TransportCc(Feedback<'a>),
    /// RFC 3611.
    Xr {
        /// Who reports.
        sender: u32,
        /// What.
        blocks: XrBlocks<'a>,
    },
    /// RFC 3550 §6.7.
    App {
        /// Who.
        ssrc: u32,
        /// 0 to 31.
        subtype: u8,
        /// Four characters.
        name: [u8; 4],
        /// The rest.
        data: &'a [u8],
    },
    /// Anything else; its length was right, its body was not looked at.
    Other {
        /// Packet type.
        packet_type: u8,
        /// Count or feedback format.
        count: u8,
        /// Everything after the first four bytes.
        body: &'a [u8],
    },
}

/// Goes over the packets of a datagram, without allocation.
///
/// A packet whose body is wrong gives an error and the next one follows; where the length cannot be
/// trusted ([`RtcpError::Short`], [`RtcpError::Version`]) the error is the last item. At most
/// [`MAX_PACKETS`].
#[derive(Clone, Debug)]
pub struct Compound<'a> {
    datagram: &'a [u8],
    at: usize,
    left: usize,
}

impl<'a> Compound<'a> {
    /// Over a decrypted datagram.
    pub const fn new(datagram: &'a [u8]) -> Self {
        Self { datagram, at: 0, left: MAX_PACKETS }
    }
}

impl<'a> Iterator for Compound<'a> {
    type Item = Result<Rtcp<'a>, RtcpError>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        let rest = self.datagram.get(at..).filter(|rest| !rest.is_empty())?;
        self.left = self.left.checked_sub(1)?;
        // Until it is known where the next packet begins there is none.
        self.at = usize::MAX;
        let Some(&[first, packet_type, l0, l1]) = rest.first_chunk::<4>() else {
            return Some(Err(RtcpError::Short { at, claimed: 4, left: rest.len() }));
        };
        let version = first >> 6;
        if version != 2 {
            return Some(Err(RtcpError::Version { at, version }));
        }
        let claimed = 4 + 4 * usize::from(u16::from_be_bytes([l0, l1]));
        let Some(mut body) = rest.get(4..claimed) else {
            return Some(Err(RtcpError::Short { at, claimed, left: rest.len() }));
        };
        self.at = at + claimed;
        if first & 0x20 != 0 {
            let padding = body.last().map_or(0, |count| usize::from(*count));
            let unpadded = body.len().checked_sub(padding).and_then(|len| body.get(..len));
            match unpadded {
                Some(unpadded) if padding > 0 => body = unpadded,
                _ => return Some(Err(RtcpError::Padding { at, packet_type })),
            }
        }
        let count = first & 0x1F;
        let packet = read(packet_type, count, body);
        Some(packet.ok_or(RtcpError::Body { at, packet_type, count }))
    }
}

/// Reads the body of one packet; None if it is too short.
fn read(packet_type: u8, count: u8, body: &[u8]) -> Option<Rtcp<'_>> {
    Some(match (packet_type, count) {
        (SR, _) => Rtcp::SenderReport {
            info: SenderInfo {
                ssrc: u32_at(body, 0)?,
                ntp: u64_at(body, 4)?,
                rtp: u32_at(body, 12)?,
                packets: u32_at(body, 16)?,
                octets: u32_at(body, 20)?,
            },
            reports: Reports::new(body.get(24..)?, count)?,
        },
        (RR, _) => Rtcp::ReceiverReport {
            sender: u32_at(body, 0)?,
            reports: Reports::new(body.get(4..)?, count)?,
        },
        (SDES, _) => Rtcp::Sdes(SdesChunks::new(body, count)),
        (BYE, _) => {
            let (ssrcs, rest) = body.split_at_checked(4 * usize::from(count))?;
            let reason = match rest.split_first() {
                None => &[][..],
                Some((&len, text)) => text.get(..usize::from(len))?,
            };
            Rtcp::Bye { ssrcs: Ssrcs::new(ssrcs), reason }
        }
        (APP, subtype) => Rtcp::App {
            ssrc: u32_at(body, 0)?,
            subtype,
            name: *body.get(4..)?.first_chunk()?,
            data: body.get(8..)?,
        },
        (RTPFB, 1) => Rtcp::Nack {
            sender: u32_at(body, 0)?,
            media: u32_at(body, 4)?,
            sequences: NackSequences::new(body.get(8..)?),
        },
        (RTPFB, 15) => Rtcp::TransportCc(Feedback {
            sender: u32_at(body, 0)?,
            media: u32_at(body, 4)?,
            fci: body.get(8..)?,
        }),
        (PSFB, 1) => Rtcp::Pli { sender: u32_at(body, 0)?, media: u32_at(body, 4)? },
        (PSFB, 4) => {
            Rtcp::Fir { sender: u32_at(body, 0)?, entries: FirEntries::new(body.get(8..)?) }
        }
        (PSFB, 15) if body.get(8..12) == Some(b"REMB") => {
            let ssrcs = 4 * usize::from(*body.get(12)?);
            let scaled = u24_at(body, 13)?;
            let exponent = scaled >> 18;
            let mantissa = u128::from(scaled & 0x3_FFFF);
            Rtcp::Remb {
                sender: u32_at(body, 0)?,
                bitrate: u64::try_from(mantissa << exponent).unwrap_or(u64::MAX),
                ssrcs: Ssrcs::new(body.get(16..16 + ssrcs)?),
            }
        }
        (XR, _) => Rtcp::Xr { sender: u32_at(body, 0)?, blocks: XrBlocks::new(body.get(4..)?) },
        (packet_type, count) => Rtcp::Other { packet_type, count, body },
    })
}

/// Seconds from 1900 (NTP) to 1970 (Unix).
const NTP_TO_UNIX_SECONDS: u64 = 2_208_988_800;

/// NTP 32.32 of a wall-clock time in microseconds since 1970. Wraps in 2036, as NTP does.
pub const fn ntp_from_unix_micros(us: u64) -> u64 {
    let seconds = (us / 1_000_000).wrapping_add(NTP_TO_UNIX_SECONDS);
    let fraction = ((us % 1_000_000) << 32) / 1_000_000;
    (seconds << 32) | fraction
}

/// The middle 32 bits of an NTP time, in 1/65,536 s, as reports name a sender report by.
pub const fn ntp_middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// An NTP time in whole microseconds since 1900, rounded down; for differences.
pub const fn ntp_micros(ntp: u64) -> u64 {
    (ntp >> 32) * 1_000_000 + (((ntp & 0xFFFF_FFFF) * 1_000_000) >> 32)
}

fn reports_at(bytes: &[u8]) -> Option<ReportBlock> {
    let lost = u24_at(bytes, 5)?;
    Some(ReportBlock {
        ssrc: u32_at(bytes, 0)?,
        fraction_lost: *bytes.get(4)?,
        // Sign of 24 bits: shifted up to the sign of 32 and back.
        cumulative_lost: (lost << 8).cast_signed() >> 8,
        highest: u32_at(bytes, 8)?,
        jitter: u32_at(bytes, 12)?,
        last_sr: u32_at(bytes, 16)?,
        delay_since_last_sr: u32_at(bytes, 20)?,
    })
}

fn pair_at(bytes: &[u8], at: usize) -> Option<(u16, u16)> {
    u16_at(bytes, at).zip(u16_at(bytes, at + 2))
}
