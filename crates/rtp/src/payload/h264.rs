//! H.264 (RFC 6184): single units, STAP-A, FU-A.

use bytes::{Bytes, BytesMut};
use media::Frame;
use media::h264::{AvcConfig, LengthPrefixed, NalType, SliceHead, is_b_slice, pps_id};

use super::error::{invalid, truncated};
use super::nal::{Aggregated, FU_A, Lengths, STAP_A, Scheme, Sets, Writer, keep, merge_pictures};
use super::sei::is_timing;
use super::{
    DepacketizeError, Joined, Options, PacketizationMode, PacketizeError, Payloads, Pushed,
};

#[derive(Debug)]
pub(super) struct Cutter {
    options: Options,
    /// Bytes of the lengths within frames.
    length_size: u8,
    sps: Sets,
    pps: Sets,
}

impl Cutter {
    pub(super) fn new(options: Options) -> Self {
        Self { options, length_size: 4, sps: Sets::new(), pps: Sets::new() }
    }

    pub(super) fn push(
        &mut self,
        frame: &Frame,
        out: &mut Payloads,
    ) -> Result<Pushed, PacketizeError> {
        if frame.is_config() {
            let config = AvcConfig::decode(&frame.payload)?;
            self.length_size = config.length_size;
            self.sps = config.sps.into_iter().filter(|set| !set.is_empty()).collect();
            self.pps = config.pps.into_iter().filter(|set| !set.is_empty()).collect();
            return Ok(Pushed::Config);
        }
        let seen = self.look(frame)?;
        if seen.b_picture && !self.options.keep_b_frames {
            return Ok(Pushed::BPicture);
        }
        if seen.units == 0 {
            return Ok(Pushed::Nothing);
        }
        let mark = out.mark();
        let cut = self.options.packetization_mode == PacketizationMode::NonInterleaved;
        let mut writer = Writer::new(Scheme::H264, self.options.max_payload, cut, out);
        if seen.idr && !(seen.sps && seen.pps) {
            for set in self.sps.iter().chain(&self.pps) {
                writer.unit(set)?;
            }
        }
        for unit in LengthPrefixed::new(&frame.payload, self.length_size) {
            let unit = unit?;
            if self.is_sent(unit) {
                writer.unit(unit)?;
            }
        }
        writer.close();
        out.frame_done(mark, true);
        Ok(Pushed::Packaged)
    }

    fn look(&self, frame: &Frame) -> Result<Seen, PacketizeError> {
        let mut seen = Seen { idr: frame.is_key(), ..Seen::default() };
        for unit in LengthPrefixed::new(&frame.payload, self.length_size) {
            let unit = unit?;
            if !self.is_sent(unit) {
                continue;
            }
            seen.units = seen.units.saturating_add(1);
            match NalType::of(unit) {
                NalType::Sps => seen.sps = true,
                NalType::Pps => seen.pps = true,
                NalType::Idr => seen.idr = true,
                NalType::Slice | NalType::Partition => seen.b_picture |= is_b_slice(unit),
                _ => {}
            }
        }
        Ok(seen)
    }

    fn is_sent(&self, unit: &[u8]) -> bool {
        match NalType::of(unit) {
            NalType::Aud | NalType::Filler => false,
            NalType::Sei => self.options.keep_sei && !is_timing(unit, 1),
            // These numbers mean payload structures on the wire.
            NalType::Other(0 | 24..) => false,
            _ => true,
        }
    }
}

/// What is in an access unit.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    units: usize,
    idr: bool,
    sps: bool,
    pps: bool,
    b_picture: bool,
}

#[derive(Debug, Default)]
pub(super) struct Joiner {
    lengths: Lengths,
    /// Parameter sets that came with the unit at hand.
    new: Params,
    /// Those that hold.
    known: Params,
    /// The record was made anew and has not been told yet.
    changed: bool,
    config: Bytes,
    has_slice: bool,
    idr: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Params {
    sps: Sets,
    pps: Sets,
}

impl Joiner {
    pub(super) fn surely_first(&self, payload: &[u8]) -> bool {
        let first = match payload.split_first() {
            Some((&header, rest)) if header & 0x1f == STAP_A => {
                Aggregated { bytes: rest, offset: 1 }.next().and_then(Result::ok).unwrap_or(&[])
            }
            _ => payload,
        };
        matches!(NalType::of(first), NalType::Aud | NalType::Sps)
    }

    pub(super) const fn has_media(&self) -> bool {
        self.has_slice || self.lengths.in_fragment()
    }

    pub(super) fn clear(&mut self) {
        self.lengths.clear();
        self.new.sps.clear();
        self.new.pps.clear();
        self.has_slice = false;
        self.idr = false;
    }

    pub(super) fn add(
        &mut self,
        payload: &[u8],
        buffer: &mut BytesMut,
    ) -> Result<(), DepacketizeError> {
        let Some((&header, rest)) = payload.split_first() else { return Ok(()) };
        if self.lengths.in_fragment() && header & 0x1f != FU_A {
            return Err(DepacketizeError::Unfinished);
        }
        match header & 0x1f {
            1..=23 => self.unit(payload, buffer),
            STAP_A => {
                if rest.is_empty() {
                    return Err(truncated("STAP-A", 1));
                }
                for unit in (Aggregated { bytes: rest, offset: 1 }) {
                    let unit = unit?;
                    let kind = unit.first().map_or(0, |first| first & 0x1f);
                    if !matches!(kind, 1..=23) {
                        return Err(invalid("NAL type within STAP-A", u64::from(kind), 0));
                    }
                    self.unit(unit, buffer)?;
                }
                Ok(())
            }
            FU_A => self.fragment(header, rest, buffer),
            25..=27 | 29 => {
                Err(DepacketizeError::Unsupported { what: "interleaved mode of H.264" })
            }
            kind => Err(invalid("NAL type", u64::from(kind), 0)),
        }
    }

    fn fragment(
        &mut self,
        indicator: u8,
        rest: &[u8],
        buffer: &mut BytesMut,
    ) -> Result<(), DepacketizeError> {
        let Some((&header, piece)) = rest.split_first() else {
            return Err(truncated("FU-A header", 1));
        };
        let kind = header & 0x1f;
        if !matches!(kind, 1..=23) {
            return Err(invalid("NAL type within FU-A", u64::from(kind), 1));
        }
        if header & 0x80 != 0 {
            if self.lengths.in_fragment() {
                return Err(DepacketizeError::Unfinished);
            }
            self.lengths.begin(&[indicator & 0xe0 | kind], buffer)?;
        }
        self.lengths.go_on(piece, buffer)?;
        if header & 0x40 != 0 {
            let unit = self.lengths.end(buffer);
            let length = unit.len();
            if !self.note(unit)? {
                Lengths::take_back(buffer, length);
            }
        }
        Ok(())
    }

    fn unit(&mut self, unit: &[u8], buffer: &mut BytesMut) -> Result<(), DepacketizeError> {
        if self.note(unit)? { self.lengths.whole(unit, buffer) } else { Ok(()) }
    }

    /// Takes note of a whole unit, and tells whether it stays within the access unit.
    fn note(&mut self, unit: &[u8]) -> Result<bool, DepacketizeError> {
        match NalType::of(unit) {
            NalType::Sps => keep(&mut self.new.sps, unit)?,
            NalType::Pps => keep(&mut self.new.pps, unit)?,
            NalType::Aud | NalType::Filler => {}
            kind => {
                if matches!(kind, NalType::Slice | NalType::Idr) && !self.has_slice {
                    let head = SliceHead::decode(unit)?;
                    if head.first_mb != 0 {
                        return Err(DepacketizeError::NoStart);
                    }
                }
                self.has_slice |= kind.is_slice();
                self.idr |= kind == NalType::Idr;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// `fresh`: nothing before this unit was given to the decoder.
    pub(super) fn finish(&mut self, fresh: bool) -> Result<Joined, DepacketizeError> {
        if self.lengths.in_fragment() {
            return Err(DepacketizeError::Unfinished);
        }
        self.take_new()?;
        if !self.has_slice {
            return Ok(Joined::Nothing);
        }
        // A decoder without parameter sets cannot start.
        let key = self.idr && !self.config.is_empty();
        let told = (key || !fresh) && std::mem::take(&mut self.changed);
        Ok(Joined::Unit { key, config: told.then(|| self.config.clone()) })
    }

    /// Parameter sets of the unit at hand hold from now on.
    fn take_new(&mut self) -> Result<(), DepacketizeError> {
        let new = std::mem::take(&mut self.new);
        if new.sps.is_empty() && new.pps.is_empty() {
            return Ok(());
        }
        let mut next = self.known.clone();
        if !new.sps.is_empty() {
            next.sps = new.sps;
        }
        let same_sequence = next.sps == self.known.sps;
        merge_pictures(&mut next.pps, new.pps, same_sequence, |set: &[u8]| pps_id(set).ok());
        if next == self.known {
            return Ok(());
        }
        if !next.sps.is_empty() && !next.pps.is_empty() {
            let record = AvcConfig::from_parameter_sets(&next.sps, &next.pps)?;
            self.config = record.encode().into();
            self.changed = true;
        }
        self.known = next;
        Ok(())
    }

    pub(super) fn learn(&mut self, unit: &[u8]) {
        let noted = match NalType::of(unit) {
            NalType::Sps => keep(&mut self.new.sps, unit),
            NalType::Pps => keep(&mut self.new.pps, unit),
            _ => Ok(()),
        };
        // A set that cannot be read is as good as none: the stream may still bring its own.
        let _ = noted.and_then(|()| self.take_new());
        self.new = Params::default();
    }
}
