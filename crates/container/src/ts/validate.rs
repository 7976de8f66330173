//! A reader that forgives nothing: what a segment or a live stream must be for every player.
//!
//! Meant for tests and tools; reading a stream to play it is [`Demuxer`]'s work. The checks are
//! those of ISO/IEC 13818-1 and RFC 8216 section 3.2 that a muxer can break, and what
//! hardware decoders are known to insist on.

use std::collections::BTreeMap;

use media::{ClockUnwrap, Codec, Kind};

use super::{AccessUnit, Demuxer, ElementaryStream, Event, Fault, PACKET, PCR_INTERVAL_MAX, SYNC};

/// What is wrong with a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// The size is not a multiple of 188, or a sync byte is missing.
    #[error("not a row of whole packets")]
    Packets,
    /// Found by the demuxer.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The first two packets are not PAT and PMT.
    #[error("does not begin with PAT and PMT")]
    NoTables,
    /// The first picture cannot be decoded alone, or its packet is not marked so.
    #[error("first picture is no random access point")]
    NoKeyFrame,
    /// An access unit without its delimiter.
    #[error("picture without delimiter")]
    NoDelimiter,
    /// A random access point without its parameter sets.
    #[error("key frame without parameter sets")]
    NoParameterSets,
    /// Two PCRs too far apart.
    #[error("{ticks} ticks between two PCRs")]
    PcrInterval {
        /// Of the 90 kHz clock.
        ticks: i64,
    },
    /// The PCR went back without a mark.
    #[error("PCR goes back by {ticks} ticks")]
    PcrOrder {
        /// Of the 90 kHz clock.
        ticks: i64,
    },
    /// No PCR before the first access unit of the PCR's own PID, or none at all.
    #[error("no PCR")]
    NoPcr,
    /// A PCR on a PID that the map does not name for it.
    #[error("PCR on PID {pid}")]
    PcrPid {
        /// Which.
        pid: u16,
    },
    /// DTS did not grow.
    #[error("DTS of PID {pid} moves by {ticks} ticks")]
    DtsOrder {
        /// Of which track.
        pid: u16,
        /// From one access unit to the next.
        ticks: i64,
    },
    /// Shown before it is decoded.
    #[error("PTS before DTS on PID {pid}")]
    PtsBeforeDts {
        /// Of which track.
        pid: u16,
    },
    /// An access unit without PTS.
    #[error("no PTS on PID {pid}")]
    NoPts {
        /// Of which track.
        pid: u16,
    },
    /// Audio that does not begin with a sync word, or whose frames do not fill the packet.
    #[error("bad audio framing on PID {pid}")]
    AudioFraming {
        /// Of which track.
        pid: u16,
    },
    /// A track is declared and nothing of it comes.
    #[error("PID {pid} is declared and empty")]
    Phantom {
        /// Of which track.
        pid: u16,
    },
    /// The map changed inside the segment.
    #[error("the tracks change inside the segment")]
    MapChange,
}

/// What a segment held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The tracks that the last map declared.
    pub streams: Vec<ElementaryStream>,
    /// Every access unit, in order, with its unwrapped PTS and DTS.
    pub units: Vec<(AccessUnit, i64, i64)>,
    /// How many PCRs there were.
    pub pcrs: usize,
}

impl Facts {
    /// The first and the last DTS of one kind.
    pub fn span(&self, kind: Kind) -> Option<(i64, i64)> {
        let mut times = self.units.iter().filter(|(u, ..)| u.codec.kind() == kind).map(|u| u.2);
        let first = times.next()?;
        Some((first, times.last().unwrap_or(first)))
    }

    /// How many access units there are of one kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.units.iter().filter(|(unit, ..)| unit.codec.kind() == kind).count()
    }
}

/// Reads the segments of one stream one after another.
#[derive(Debug)]
pub struct Validator {
    demuxer: Demuxer,
    times: BTreeMap<u16, ClockUnwrap>,
    last_dts: BTreeMap<u16, i64>,
    pcr: ClockUnwrap,
    last_pcr: Option<i64>,
    pcr_pid: Option<u16>,
}

impl Default for Validator {
    fn default() -> Self {
        Self {
            demuxer: Demuxer::new(),
            times: BTreeMap::new(),
            last_dts: BTreeMap::new(),
            pcr: ClockUnwrap::mpeg_90k(),
            last_pcr: None,
            pcr_pid: None,
        }
    }
}

impl Validator {
    /// A reader at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads one whole segment; continuity counters and clocks continue from the one before
    /// except over a `discontinuity`.
    pub fn segment(&mut self, bytes: &[u8], discontinuity: bool) -> (Facts, Vec<Violation>) {
        let mut found = Vec::new();
        let mut facts = Facts::default();
        if discontinuity {
            self.times.clear();
            self.last_dts.clear();
            self.last_pcr = None;
            self.pcr = ClockUnwrap::mpeg_90k();
            self.demuxer = Demuxer::new();
        }
        let packets = bytes.chunks_exact(PACKET);
        let ragged = !packets.remainder().is_empty();
        if bytes.is_empty() || ragged || packets.clone().any(|p| p.first() != Some(&SYNC)) {
            found.push(Violation::Packets);
        }
        let pids: Vec<_> = packets
            .take(2)
            .filter_map(|p| Some(u16::from_be_bytes([*p.get(1)?, *p.get(2)?]) & 0x5fff))
            .collect();
        if pids != [0x4000, 0x4000 | super::PID_PMT] {
            found.push(Violation::NoTables);
        }
        let mut events = Vec::new();
        self.demuxer.push(bytes, &mut events);
        self.demuxer.flush(&mut events);
        let mut maps = 0usize;
        for event in events {
            match event {
                Event::Pat => {}
                Event::Program { pcr_pid, streams, changed } => {
                    if changed && maps > 0 {
                        found.push(Violation::MapChange);
                    }
                    maps = maps.saturating_add(1);
                    self.pcr_pid = Some(pcr_pid);
                    facts.streams = streams;
                }
                Event::Pcr { pid, base, discontinuity } => {
                    facts.pcrs = facts.pcrs.saturating_add(1);
                    self.pcr(pid, base, discontinuity, &mut found);
                }
                Event::AccessUnit(unit) => self.unit(unit, &mut facts, &mut found),
                Event::Fault(fault) => found.push(Violation::Fault(fault)),
            }
        }
        if facts.pcrs == 0 {
            found.push(Violation::NoPcr);
        }
        for stream in &facts.streams {
            if !facts.units.iter().any(|(unit, ..)| unit.pid == stream.pid) {
                found.push(Violation::Phantom { pid: stream.pid });
            }
        }
        (facts, found)
    }

    fn pcr(&mut self, pid: u16, base: u64, jump: bool, found: &mut Vec<Violation>) {
        if self.pcr_pid != Some(pid) {
            found.push(Violation::PcrPid { pid });
        }
        let now = self.pcr.unwrap(base);
        if let Some(last) = self.last_pcr.replace(now)
            && !jump
        {
            let ticks = now.saturating_sub(last);
            if ticks > PCR_INTERVAL_MAX {
                found.push(Violation::PcrInterval { ticks });
            }
            if ticks < 0 {
                found.push(Violation::PcrOrder { ticks });
            }
        }
        if jump {
            self.last_dts.clear();
        }
    }

    fn unit(&mut self, unit: AccessUnit, facts: &mut Facts, found: &mut Vec<Violation>) {
        let pid = unit.pid;
        let (Some(pts), Some(dts)) = (unit.pts, unit.dts) else {
            found.push(Violation::NoPts { pid });
            return;
        };
        let dts = self.times.entry(pid).or_insert_with(ClockUnwrap::mpeg_90k).unwrap(dts);
        let mut near = ClockUnwrap::mpeg_90k();
        let from = near.unwrap(dts as u64);
        let offset = near.unwrap(pts).saturating_sub(from);
        if offset < 0 {
            found.push(Violation::PtsBeforeDts { pid });
        }
        if let Some(last) = self.last_dts.insert(pid, dts)
            && dts <= last
        {
            let ticks = dts.saturating_sub(last);
            found.push(Violation::DtsOrder { pid, ticks });
        }
        if self.pcr_pid == Some(pid) && self.last_pcr.is_none() {
            found.push(Violation::NoPcr);
        }
        match unit.codec.kind() {
            Kind::Video => {
                let first = facts.count(Kind::Video) == 0;
                check_picture(&unit, first, found);
            }
            _ => {
                if !audio_fits(&unit) {
                    found.push(Violation::AudioFraming { pid });
                }
            }
        }
        facts.units.push((unit, dts.saturating_add(offset), dts));
    }
}

fn check_picture(unit: &AccessUnit, first: bool, found: &mut Vec<Violation>) {
    let types: Vec<u8> = unit
        .data
        .windows(4)
        .filter(|window| window.starts_with(&[0, 0, 1]))
        .filter_map(|window| window.get(3))
        .map(|&byte| if unit.codec == Codec::H265 { byte >> 1 & 0x3f } else { byte & 0x1f })
        .collect();
    let (delimiter, sets): (u8, &[u8]) = match unit.codec {
        Codec::H265 => (35, &[32, 33, 34]),
        _ => (9, &[7, 8]),
    };
    let starts = types.first() == Some(&delimiter) && unit.data.starts_with(&[0, 0, 0, 1]);
    if !starts || types.iter().filter(|kind| **kind == delimiter).count() != 1 {
        found.push(Violation::NoDelimiter);
    }
    if first && !unit.random_access {
        found.push(Violation::NoKeyFrame);
    }
    if unit.random_access && !sets.iter().all(|set| types.contains(set)) {
        found.push(Violation::NoParameterSets);
    }
}

fn audio_fits(unit: &AccessUnit) -> bool {
    let mut rest: &[u8] = &unit.data;
    match unit.codec {
        Codec::Aac => {
            while let Some(&[0xff, b, _, d, e, f, _]) = rest.first_chunk::<7>() {
                let length = usize::from(d & 3) << 11 | usize::from(e) << 3 | usize::from(f >> 5);
                match rest.get(length.max(7)..) {
                    Some(tail) if b & 0xf6 == 0xf0 => rest = tail,
                    _ => return false,
                }
            }
            rest.is_empty()
        }
        Codec::Mp3 => matches!(rest, [0xff, b, ..] if b & 0xe0 == 0xe0),
        Codec::Ac3 | Codec::Eac3 => rest.starts_with(&[0x0b, 0x77]),
        Codec::Opus => matches!(rest, [0x7f, b, ..] if b & 0xe0 == 0xe0),
        _ => true,
    }
}
