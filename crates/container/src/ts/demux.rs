//! Packets to access units.

use bytes::{Bytes, BytesMut};
use media::Codec;

use super::psi::{self, ElementaryStream, PID_PAT, Table};
use super::{CLOCK_MASK, PACKET, SYNC};

/// Bytes of unfinished PES packets held at once, over all tracks. An intra picture of an 8K
/// stream takes about 4 MB; at half of this such a stream loses pictures, at double a peer
/// makes us hold twice as much for nothing.
const HELD_MAX: usize = 16 << 20;

/// Bytes of one section: the largest that `section_length` can say.
const SECTION_MAX: usize = 4096;

/// What [`Demuxer::push`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A program association table passed.
    Pat,
    /// A program map passed.
    Program {
        /// The PID whose packets carry the clock.
        pcr_pid: u16,
        /// The tracks.
        streams: Vec<ElementaryStream>,
        /// It differs from the one before.
        changed: bool,
    },
    /// A clock reference, in 90 kHz ticks modulo 2^33 (the 27 MHz extension is left out).
    Pcr {
        /// The PID that carried it.
        pid: u16,
        /// The clock.
        base: u64,
        /// `discontinuity_indicator` was set with it.
        discontinuity: bool,
    },
    /// One PES packet of a declared track.
    AccessUnit(AccessUnit),
    /// Something that a correct stream does not have; reading goes on behind it.
    Fault(Fault),
}

/// One PES packet: a picture, or one or more audio frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessUnit {
    /// The PID it came by.
    pub pid: u16,
    /// Its coding.
    pub codec: Codec,
    /// Presentation time, 90 kHz modulo 2^33; see [`media::ClockUnwrap`].
    pub pts: Option<u64>,
    /// Decoding time; equals `pts` when the packet has only that.
    pub dts: Option<u64>,
    /// `random_access_indicator` of the transport packet it began in.
    pub random_access: bool,
    /// The elementary stream's bytes (Annex B, ADTS, ...).
    pub data: Bytes,
}

/// What a transport stream has wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// No sync byte where a packet should start; bytes are skipped until two are found a packet
    /// apart.
    #[error("no sync byte at offset {offset}")]
    SyncLost {
        /// Position in all bytes pushed.
        offset: u64,
    },
    /// The sender marked the packet as damaged.
    #[error("packet of PID {pid} marked as damaged")]
    Damaged {
        /// Of which PID.
        pid: u16,
    },
    /// Encrypted packets are skipped.
    #[error("packet of PID {pid} is scrambled")]
    Scrambled {
        /// Of which PID.
        pid: u16,
    },
    /// Packets were lost, reordered or made up; the unfinished access unit is thrown away.
    #[error("continuity counter of PID {pid} is {found}, not {expected}")]
    Continuity {
        /// Of which PID.
        pid: u16,
        /// The counter that should have come.
        expected: u8,
        /// The one that came.
        found: u8,
    },
    /// An adaptation field longer than its packet, or `adaptation_field_control` 0.
    #[error("bad adaptation field in a packet of PID {pid}")]
    Adaptation {
        /// Of which PID.
        pid: u16,
    },
    /// A section with a wrong CRC or wrong lengths.
    #[error("bad section on PID {pid}")]
    Section {
        /// Of which PID.
        pid: u16,
    },
    /// No start code, or a header longer than the packet.
    #[error("bad PES header on PID {pid}")]
    Pes {
        /// Of which PID.
        pid: u16,
    },
    /// A PES packet ended before the length it had announced.
    #[error("PES packet on PID {pid} is shorter than announced")]
    Short {
        /// Of which PID.
        pid: u16,
    },
    /// The limit on held bytes was reached; the unfinished access unit is thrown away.
    #[error("more than {HELD_MAX} bytes of unfinished access units")]
    TooLarge {
        /// Of which PID.
        pid: u16,
    },
}

/// Continuity counter of one PID.
#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    last: Option<u8>,
    /// The packet before was sent twice; a third is a fault.
    repeated: bool,
}

enum Continuity {
    Next,
    Repeat,
    Broken(u8),
}

impl Counter {
    fn check(&mut self, found: u8, payload: bool, excused: bool) -> Continuity {
        let Some(last) = self.last.replace(found) else { return Continuity::Next };
        let next = last.wrapping_add(1) & 0x0f;
        let verdict = match (payload, found) {
            _ if excused => Continuity::Next,
            (false, f) if f == last => return Continuity::Next,
            (false, _) => Continuity::Broken(last),
            (true, f) if f == next => Continuity::Next,
            (true, f) if f == last && !self.repeated => Continuity::Repeat,
            (true, _) => Continuity::Broken(next),
        };
        self.repeated = matches!(verdict, Continuity::Repeat);
        verdict
    }
}

/// Puts the sections of one PID together.
#[derive(Debug, Default)]
struct Sections {
    counter: Counter,
    buffer: Vec<u8>,
    /// A section has begun in `buffer`.
    open: bool,
}

/// One declared track.
#[derive(Debug)]
struct Track {
    stream: ElementaryStream,
    counter: Counter,
    /// The PES packet so far, from its start code on.
    buffer: BytesMut,
    open: bool,
    random_access: bool,
    /// Whole size, when the packet says one.
    size: Option<usize>,
}

/// Reads a transport stream that arrives in pieces of any size.
///
/// Keeps what is unfinished, at most 16 MiB. Never fails: what is wrong is told as
/// [`Event::Fault`], and reading goes on at the next packet. Copies each payload once.
#[derive(Debug, Default)]
pub struct Demuxer {
    carry: Vec<u8>,
    synced: bool,
    /// Offset of the first byte not yet taken from `carry`.
    offset: u64,
    pat: Sections,
    pmt: Sections,
    pmt_pid: Option<u16>,
    pcr_pid: Option<u16>,
    tracks: Vec<Track>,
    held: usize,
}

impl Demuxer {
    /// A demuxer that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes and appends what they complete.
    pub fn push(&mut self, mut data: &[u8], out: &mut Vec<Event>) {
        while !data.is_empty() {
            if self.synced && self.carry.is_empty() {
                while let Some((packet, rest)) = data.split_first_chunk::<PACKET>() {
                    if packet.first() != Some(&SYNC) {
                        break;
                    }
                    self.advance(PACKET);
                    self.packet(packet, out);
                    data = rest;
                }
            }
            // While unsynced one byte more is wanted: the sync byte of the next packet.
            let want = if self.synced { PACKET } else { PACKET + 1 };
            let take = want.saturating_sub(self.carry.len()).min(data.len());
            let (now, later) = data.split_at_checked(take).unwrap_or((data, &[]));
            self.carry.extend_from_slice(now);
            data = later;
            self.drain_carry(out);
        }
    }

    /// Ends the input: the last packet and every unfinished access unit come out.
    pub fn flush(&mut self, out: &mut Vec<Event>) {
        if let Some((&packet, _)) = self.carry.split_first_chunk::<PACKET>()
            && packet.first() == Some(&SYNC)
        {
            self.packet(&packet, out);
        }
        self.carry.clear();
        self.synced = false;
        for track in &mut self.tracks {
            track.finish(&mut self.held, out);
        }
    }

    fn advance(&mut self, bytes: usize) {
        self.offset = self.offset.saturating_add(bytes as u64);
    }

    fn drain_carry(&mut self, out: &mut Vec<Event>) {
        loop {
            if self.carry.first() != Some(&SYNC) {
                if self.carry.is_empty() {
                    return;
                }
                if self.synced {
                    self.synced = false;
                    out.push(Event::Fault(Fault::SyncLost { offset: self.offset }));
                }
                self.skip_to_sync(0);
                continue;
            }
            let Some((&packet, _)) = self.carry.split_first_chunk::<PACKET>() else { return };
            if !self.synced {
                match self.carry.get(PACKET) {
                    None => return,
                    Some(&SYNC) => self.synced = true,
                    Some(_) => {
                        self.skip_to_sync(1);
                        continue;
                    }
                }
            }
            self.carry.drain(..PACKET);
            self.advance(PACKET);
            self.packet(&packet, out);
        }
    }

    /// Throws away bytes up to the next sync byte at or behind `from`.
    fn skip_to_sync(&mut self, from: usize) {
        let found = self.carry.iter().skip(from).position(|&byte| byte == SYNC);
        let skip = found.map_or(self.carry.len(), |at| at.saturating_add(from));
        self.carry.drain(..skip.min(self.carry.len()));
        self.advance(skip);
    }

    fn packet(&mut self, packet: &[u8; PACKET], out: &mut Vec<Event>) {
        let &[_, high, low, control, ..] = packet;
        let pid = u16::from_be_bytes([high, low]) & 0x1fff;
        if pid == 0x1fff {
            return;
        }
        if high & 0x80 != 0 {
            out.push(Event::Fault(Fault::Damaged { pid }));
            return;
        }
        if control & 0xc0 != 0 {
            out.push(Event::Fault(Fault::Scrambled { pid }));
            return;
        }
        let start = high & 0x40 != 0;
        let rest = packet.get(4..).unwrap_or_default();
        let (adaptation, payload) = match control & 0x30 {
            0x10 => (&[] as &[u8], rest),
            0x20 | 0x30 => {
                let split = rest
                    .split_first()
                    .and_then(|(&length, rest)| rest.split_at_checked(usize::from(length)));
                match split {
                    Some((field, payload)) if control & 0x10 != 0 => (field, payload),
                    Some((field, _)) => (field, &[] as &[u8]),
                    None => {
                        out.push(Event::Fault(Fault::Adaptation { pid }));
                        return;
                    }
                }
            }
            _ => {
                out.push(Event::Fault(Fault::Adaptation { pid }));
                return;
            }
        };
        let flags = adaptation.first().copied().unwrap_or(0);
        let jump = flags & 0x80 != 0;
        if flags & 0x10 != 0
            && let Some(&[_, a, b, c, d, e, _]) = adaptation.first_chunk::<7>()
        {
            let high = u64::from(u32::from_be_bytes([a, b, c, d]));
            let base = ((high << 1) | u64::from(e >> 7)) & CLOCK_MASK;
            out.push(Event::Pcr { pid, base, discontinuity: jump });
        }

        let has_payload = control & 0x10 != 0;
        let seen = Seen { pid, start, has_payload, jump, counter: control & 0x0f };
        if pid == PID_PAT {
            if let Some(table) = self.pat.packet(&seen, payload, out) {
                self.table(PID_PAT, table, out);
            }
        } else if Some(pid) == self.pmt_pid {
            if let Some(table) = self.pmt.packet(&seen, payload, out) {
                self.table(pid, table, out);
            }
        } else if let Some(track) = self.tracks.iter_mut().find(|track| track.stream.pid == pid) {
            track.packet(&seen, flags & 0x40 != 0, payload, &mut self.held, out);
        }
    }

    fn table(&mut self, pid: u16, table: Table, out: &mut Vec<Event>) {
        match table {
            Table::Pat { pmt, .. } if pid == PID_PAT => {
                if self.pmt_pid != Some(pmt) {
                    self.pmt_pid = Some(pmt);
                    self.pmt = Sections::default();
                }
                out.push(Event::Pat);
            }
            Table::Pmt { pcr, streams } if Some(pid) == self.pmt_pid => {
                let same = self.pcr_pid == Some(pcr)
                    && self.tracks.iter().map(|track| track.stream).eq(streams.iter().copied());
                if !same {
                    self.pcr_pid = Some(pcr);
                    let mut old = std::mem::take(&mut self.tracks);
                    for &stream in &streams {
                        let kept = old.iter().position(|track| track.stream == stream);
                        let track = match kept {
                            Some(at) => old.swap_remove(at),
                            None => Track::new(stream),
                        };
                        self.tracks.push(track);
                    }
                    for mut track in old {
                        track.finish(&mut self.held, out);
                        // The PID lives on under another coding: its counter does too.
                        let heir =
                            self.tracks.iter_mut().find(|t| t.stream.pid == track.stream.pid);
                        if let Some(heir) = heir {
                            heir.counter = track.counter;
                        }
                    }
                }
                let streams = streams.to_vec();
                out.push(Event::Program { pcr_pid: pcr, streams, changed: !same });
            }
            _ => {}
        }
    }
}

/// The header of a transport packet, as far as the layers above want it.
struct Seen {
    pid: u16,
    start: bool,
    has_payload: bool,
    jump: bool,
    counter: u8,
}

impl Sections {
    /// Returns the last table that the packet completes.
    fn packet(&mut self, seen: &Seen, payload: &[u8], out: &mut Vec<Event>) -> Option<Table> {
        match self.counter.check(seen.counter, seen.has_payload, seen.jump) {
            Continuity::Next => {}
            Continuity::Repeat => return None,
            Continuity::Broken(expected) => {
                let found = seen.counter;
                out.push(Event::Fault(Fault::Continuity { pid: seen.pid, expected, found }));
                self.open = false;
                self.buffer.clear();
            }
        }
        let mut last = None;
        if !seen.start {
            self.append(payload, seen.pid, &mut last, out);
            return last;
        }
        let (&pointer, rest) = payload.split_first()?;
        let Some((tail, head)) = rest.split_at_checked(usize::from(pointer)) else {
            out.push(Event::Fault(Fault::Section { pid: seen.pid }));
            return None;
        };
        self.append(tail, seen.pid, &mut last, out);
        self.buffer.clear();
        self.open = true;
        self.append(head, seen.pid, &mut last, out);
        last
    }

    /// Adds bytes and decodes each section that is whole.
    fn append(&mut self, bytes: &[u8], pid: u16, last: &mut Option<Table>, out: &mut Vec<Event>) {
        if !self.open {
            return;
        }
        self.buffer.extend_from_slice(bytes);
        while let Some(&[table, high, low]) = self.buffer.first_chunk::<3>() {
            // 0xff in a table id's place is stuffing to the end of the packet.
            if table == 0xff {
                self.open = false;
                self.buffer.clear();
                break;
            }
            let size = usize::from(u16::from_be_bytes([high, low]) & 0x0fff).saturating_add(3);
            let Some(section) = self.buffer.get(..size) else { break };
            match psi::decode(section) {
                Ok(table) => *last = Some(table),
                Err(_) => out.push(Event::Fault(Fault::Section { pid })),
            }
            self.buffer.drain(..size);
        }
        if self.buffer.len() > SECTION_MAX {
            out.push(Event::Fault(Fault::Section { pid }));
            self.open = false;
            self.buffer.clear();
        }
        if self.buffer.first() == Some(&0xff) {
            self.open = false;
            self.buffer.clear();
        }
    }
}

impl Track {
    fn new(stream: ElementaryStream) -> Self {
        Self {
            stream,
            counter: Counter::default(),
            buffer: BytesMut::new(),
            open: false,
            random_access: false,
            size: None,
        }
    }

    fn drop_unfinished(&mut self, held: &mut usize) {
        *held = held.saturating_sub(self.buffer.len());
        self.buffer.clear();
        self.open = false;
    }

    fn packet(
        &mut self,
        seen: &Seen,
        random_access: bool,
        payload: &[u8],
        held: &mut usize,
        out: &mut Vec<Event>,
    ) {
        let pid = seen.pid;
        match self.counter.check(seen.counter, seen.has_payload, seen.jump) {
            Continuity::Next => {}
            Continuity::Repeat => return,
            Continuity::Broken(expected) => {
                self.drop_unfinished(held);
                let found = seen.counter;
                out.push(Event::Fault(Fault::Continuity { pid, expected, found }));
            }
        }
        if !seen.has_payload {
            return;
        }
        if seen.start {
            self.finish(held, out);
            self.open = true;
            self.random_access = random_access;
            self.size = None;
        }
        if !self.open {
            return;
        }
        if held.saturating_add(payload.len()) > HELD_MAX {
            self.drop_unfinished(held);
            out.push(Event::Fault(Fault::TooLarge { pid }));
            return;
        }
        *held = held.saturating_add(payload.len());
        self.buffer.extend_from_slice(payload);
        if self.size.is_none()
            && let Some(&[_, _, _, _, high, low]) = self.buffer.first_chunk::<6>()
            && (high, low) != (0, 0)
        {
            let length = usize::from(u16::from_be_bytes([high, low]));
            self.size = Some(length.saturating_add(6));
        }
        if self.size.is_some_and(|size| self.buffer.len() >= size) {
            self.finish(held, out);
        }
    }

    /// Emits the PES packet that is held, if any.
    fn finish(&mut self, held: &mut usize, out: &mut Vec<Event>) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        let pid = self.stream.pid;
        *held = held.saturating_sub(self.buffer.len());
        let mut bytes = self.buffer.split().freeze();
        match self.size {
            Some(size) if bytes.len() < size => {
                out.push(Event::Fault(Fault::Short { pid }));
                return;
            }
            Some(size) => bytes.truncate(size),
            None => {}
        }
        let Some(codec) = self.stream.codec else { return };
        let Some((body, pts, dts)) = decode_header(&bytes) else {
            out.push(Event::Fault(Fault::Pes { pid }));
            return;
        };
        let data = bytes.slice(body..);
        let random_access = self.random_access;
        out.push(Event::AccessUnit(AccessUnit { pid, codec, pts, dts, random_access, data }));
    }
}

/// Where the body begins, PTS, DTS.
fn decode_header(pes: &[u8]) -> Option<(usize, Option<u64>, Option<u64>)> {
    let (&[0, 0, 1, _, _, _, marks, flags, length], rest) = pes.split_first_chunk::<9>()? else {
        return None;
    };
    if marks & 0xc0 != 0x80 {
        return None;
    }
    let length = usize::from(length);
    let fields = rest.get(..length)?;
    let pts = if flags & 0x80 != 0 { Some(decode_time(fields.first_chunk()?)) } else { None };
    let dts =
        if flags & 0xc0 == 0xc0 { Some(decode_time(fields.get(5..)?.first_chunk()?)) } else { pts };
    Some((length.saturating_add(9), pts, dts))
}

fn decode_time(&[a, b, c, d, e]: &[u8; 5]) -> u64 {
    u64::from(a & 0x0e) << 29
        | u64::from(b) << 22
        | u64::from(c & 0xfe) << 14
        | u64::from(d) << 7
        | u64::from(e >> 1)
}
