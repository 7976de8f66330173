//! Program association and program map tables (ISO/IEC 13818-1, 2.4.4).

use media::Codec;
use smallvec::SmallVec;

use super::{PACKET, PID_AAC, PID_AC3, PID_EAC3, PID_MP3, PID_OPUS, PID_PMT, PID_VIDEO, SYNC};

const TABLE_PAT: u8 = 0x00;
const TABLE_PMT: u8 = 0x02;
const PROGRAM: u16 = 1;
/// PID of the program association table.
pub(super) const PID_PAT: u16 = 0;

const STREAM_MP3: u8 = 0x03;
const STREAM_PRIVATE: u8 = 0x06;
const STREAM_AAC: u8 = 0x0f;
const STREAM_H264: u8 = 0x1b;
const STREAM_H265: u8 = 0x24;
const STREAM_AC3: u8 = 0x81;
const STREAM_EAC3: u8 = 0x87;

const DESCRIPTOR_REGISTRATION: u8 = 0x05;
const DESCRIPTOR_EXTENSION: u8 = 0x7f;
const EXTENSION_OPUS: u8 = 0x80;

/// Elementary streams kept of one PMT. Broadcast programs have about ten; a section could
/// declare two hundred, each of which would cost a reassembly buffer.
pub(super) const STREAMS_MAX: usize = 32;

/// How a coding travels in a transport stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Carriage {
    pub(super) pid: u16,
    pub(super) stream_type: u8,
    pub(super) stream_id: u8,
}

/// The carriage of `codec`, or `None` when a transport stream has no place for it.
pub(super) const fn carriage(codec: Codec) -> Option<Carriage> {
    let (pid, stream_type, stream_id) = match codec {
        Codec::H264 => (PID_VIDEO, STREAM_H264, 0xe0),
        Codec::H265 => (PID_VIDEO, STREAM_H265, 0xe0),
        Codec::Aac => (PID_AAC, STREAM_AAC, 0xc0),
        Codec::Mp3 => (PID_MP3, STREAM_MP3, 0xc0),
        Codec::Ac3 => (PID_AC3, STREAM_AC3, 0xbd),
        Codec::Eac3 => (PID_EAC3, STREAM_EAC3, 0xbd),
        Codec::Opus => (PID_OPUS, STREAM_PRIVATE, 0xbd),
        _ => return None,
    };
    Some(Carriage { pid, stream_type, stream_id })
}

/// An elementary stream as a PMT declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ElementaryStream {
    /// The PID of its packets.
    pub pid: u16,
    /// Its `stream_type` (ISO/IEC 13818-1, table 2-34).
    pub stream_type: u8,
    /// What that means, when it is a coding of ours.
    pub codec: Option<Codec>,
}

/// The CRC of PSI sections: polynomial 0x04C11DB7, no reflection, no final inversion
/// (ISO/IEC 13818-1, annex A). Over a whole section with its CRC it is 0.
pub fn crc32(data: &[u8]) -> u32 {
    data.iter().fold(u32::MAX, |crc, &byte| {
        let slot = usize::from((crc >> 24) as u8 ^ byte);
        (crc << 8) ^ CRC_TABLE.get(slot).copied().unwrap_or(0)
    })
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut i = 0;
    #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
    while i < 256 {
        let mut crc = (i as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000_0000 != 0 { (crc << 1) ^ 0x04c1_1db7 } else { crc << 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

/// A section while it is written; ours stay far below 128 bytes, so it never leaves the stack.
type Section = SmallVec<[u8; 128]>;

/// Starts a section of `table`; the length is filled in by [`seal`].
fn start(table: u8, id: u16, version: u8) -> Section {
    let mut section = Section::new();
    section.extend_from_slice(&[table, 0, 0]);
    section.extend_from_slice(&id.to_be_bytes());
    // Reserved bits, version, current_next_indicator; section 0 of 0.
    section.extend_from_slice(&[0xc1 | (version & 0x1f) << 1, 0, 0]);
    section
}

/// Fills in the section's length and appends its CRC.
fn seal(section: &mut Section) {
    // section_length counts what follows it, the CRC's 4 bytes included.
    let length = section.len().saturating_add(4).saturating_sub(3).min(0xfff) as u16;
    let [high, low] = (0xb000 | length).to_be_bytes();
    if let Some([_, a, b, ..]) = section.get_mut(..) {
        (*a, *b) = (high, low);
    }
    let crc = crc32(section);
    section.extend_from_slice(&crc.to_be_bytes());
}

/// Appends one packet that carries `section`.
///
/// Every section written here fits: two tracks and their descriptors take less than 60 bytes.
fn write_section(out: &mut Vec<u8>, pid: u16, cc: &mut u8, section: &[u8]) {
    let end = out.len().saturating_add(PACKET);
    let [high, low] = (0x4000 | pid).to_be_bytes();
    out.extend_from_slice(&[SYNC, high, low, 0x10 | (*cc & 0x0f), 0]);
    *cc = cc.wrapping_add(1) & 0x0f;
    out.extend_from_slice(section);
    out.resize(end, 0xff);
}

/// Appends the PAT.
pub(super) fn write_pat(out: &mut Vec<u8>, cc: &mut u8) {
    let mut section = start(TABLE_PAT, 1, 0);
    section.extend_from_slice(&PROGRAM.to_be_bytes());
    section.extend_from_slice(&(0xe000 | PID_PMT).to_be_bytes());
    seal(&mut section);
    write_section(out, PID_PAT, cc, &section);
}

/// A track as the PMT is to show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Declared {
    pub(super) codec: Codec,
    /// Channels, which Opus has in its descriptor.
    pub(super) channels: u8,
}

/// Appends the PMT.
pub(super) fn write_pmt(
    out: &mut Vec<u8>,
    cc: &mut u8,
    version: u8,
    pcr_pid: u16,
    tracks: impl IntoIterator<Item = Declared>,
) {
    let mut section = start(TABLE_PMT, PROGRAM, version);
    section.extend_from_slice(&(0xe000 | pcr_pid).to_be_bytes());
    section.extend_from_slice(&0xf000u16.to_be_bytes());
    for track in tracks {
        let Some(carriage) = carriage(track.codec) else { continue };
        section.push(carriage.stream_type);
        section.extend_from_slice(&(0xe000 | carriage.pid).to_be_bytes());
        let mut descriptors: SmallVec<[u8; 16]> = SmallVec::new();
        let name: Option<&[u8; 4]> = match track.codec {
            Codec::Ac3 => Some(b"AC-3"),
            Codec::Eac3 => Some(b"EAC3"),
            Codec::Opus => Some(b"Opus"),
            _ => None,
        };
        if let Some(name) = name {
            descriptors.extend_from_slice(&[DESCRIPTOR_REGISTRATION, 4]);
            descriptors.extend_from_slice(name);
        }
        if track.codec == Codec::Opus {
            let descriptor = [DESCRIPTOR_EXTENSION, 2, EXTENSION_OPUS, track.channels];
            descriptors.extend_from_slice(&descriptor);
        }
        section.extend_from_slice(&(0xf000 | descriptors.len() as u16).to_be_bytes());
        section.extend_from_slice(&descriptors);
    }
    seal(&mut section);
    write_section(out, PID_PMT, cc, &section);
}

/// What is wrong with a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadSection;

/// A decoded section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// The first program's number and the PID of its map.
    Pat { program: u16, pmt: u16 },
    /// One program's map.
    Pmt { pcr: u16, streams: SmallVec<[ElementaryStream; 4]> },
    /// A table that is not read, or one that applies later.
    Other,
}

/// Decodes one whole section, from its table id to its CRC.
pub(super) fn decode(section: &[u8]) -> Result<Table, BadSection> {
    let &[table, _, _, _, _, version, _, _, ..] = section else { return Err(BadSection) };
    if table != TABLE_PAT && table != TABLE_PMT {
        return Ok(Table::Other);
    }
    if crc32(section) != 0 {
        return Err(BadSection);
    }
    // current_next_indicator 0: a table that is announced but not in force.
    if version & 1 == 0 {
        return Ok(Table::Other);
    }
    let body_end = section.len().saturating_sub(4);
    let body = section.get(8..body_end).ok_or(BadSection)?;
    if table == TABLE_PAT {
        // Program 0 is the network information table.
        let first = body.chunks_exact(4).find_map(|entry| match *entry {
            [a, b, c, d] if (a, b) != (0, 0) => {
                Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]) & 0x1fff))
            }
            _ => None,
        });
        return Ok(first.map_or(Table::Other, |(program, pmt)| Table::Pat { program, pmt }));
    }
    let (&[a, b, c, d], rest) = body.split_first_chunk::<4>().ok_or(BadSection)?;
    let pcr = u16::from_be_bytes([a, b]) & 0x1fff;
    let info = usize::from(u16::from_be_bytes([c, d]) & 0x0fff);
    let mut rest = rest.get(info..).ok_or(BadSection)?;
    let mut streams = SmallVec::new();
    while let Some((&[stream_type, a, b, c, d], tail)) = rest.split_first_chunk::<5>() {
        let pid = u16::from_be_bytes([a, b]) & 0x1fff;
        let length = usize::from(u16::from_be_bytes([c, d]) & 0x0fff);
        let (descriptors, tail) = tail.split_at_checked(length).ok_or(BadSection)?;
        if streams.len() < STREAMS_MAX {
            let codec = codec_of(stream_type, descriptors);
            streams.push(ElementaryStream { pid, stream_type, codec });
        }
        rest = tail;
    }
    Ok(Table::Pmt { pcr, streams })
}

fn codec_of(stream_type: u8, descriptors: &[u8]) -> Option<Codec> {
    match stream_type {
        STREAM_H264 => Some(Codec::H264),
        STREAM_H265 => Some(Codec::H265),
        STREAM_AAC => Some(Codec::Aac),
        // 0x04 is the half-rate MP3 of MPEG-2.
        STREAM_MP3 | 0x04 => Some(Codec::Mp3),
        STREAM_AC3 => Some(Codec::Ac3),
        STREAM_EAC3 => Some(Codec::Eac3),
        STREAM_PRIVATE => match registration(descriptors)? {
            b"Opus" => Some(Codec::Opus),
            b"AC-3" => Some(Codec::Ac3),
            b"EAC3" => Some(Codec::Eac3),
            b"HEVC" => Some(Codec::H265),
            _ => None,
        },
        _ => None,
    }
}

fn registration(mut descriptors: &[u8]) -> Option<&[u8; 4]> {
    while let Some((&[tag, length], rest)) = descriptors.split_first_chunk::<2>() {
        let (body, rest) = rest.split_at_checked(usize::from(length))?;
        if tag == DESCRIPTOR_REGISTRATION {
            return body.first_chunk::<4>();
        }
        descriptors = rest;
    }
    None
}
