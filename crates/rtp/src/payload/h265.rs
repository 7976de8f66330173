//! H.265 (RFC 7798): single units, AP, FU; without decoding order numbers.

use bytes::{Bytes, BytesMut};
use media::Frame;
use media::h265::{HevcConfig, LengthPrefixed, NalType, PpsHead, SliceHead, SliceType};

use super::error::{invalid, truncated};
use super::nal::{
    AP, Aggregated, FU, Lengths, MAX_SETS, Scheme, Sets, Writer, keep, merge_pictures,
};
use super::sei::is_timing;
use super::{DepacketizeError, Joined, Options, PacketizeError, Payloads, Pushed};

/// Types of units above this are structures of the payload format, or not specified.
const MAX_TYPE: u8 = 47;

#[derive(Debug)]
pub(super) struct Cutter {
    options: Options,
    /// Bytes of the lengths within frames.
    length_size: u8,
    /// VPS, SPS, PPS.
    sets: Vec<Bytes>,
    /// Of each picture parameter set, how many bits stand before the slice type.
    extra_bits: [u8; 64],
    /// Some picture is shown later than it is decoded: there are true B pictures.
    reorders: bool,
}

impl Cutter {
    pub(super) const fn new(options: Options) -> Self {
        Self { options, length_size: 4, sets: Vec::new(), extra_bits: [0; 64], reorders: false }
    }

    pub(super) fn push(
        &mut self,
        frame: &Frame,
        out: &mut Payloads,
    ) -> Result<Pushed, PacketizeError> {
        if frame.is_config() {
            self.configure(&frame.payload)?;
            return Ok(Pushed::Config);
        }
        self.reorders |= frame.composition_us() > 0;
        let seen = self.look(frame)?;
        if seen.b_picture && self.reorders && !self.options.keep_b_frames {
            return Ok(Pushed::BPicture);
        }
        if seen.units == 0 {
            return Ok(Pushed::Nothing);
        }
        let mark = out.mark();
        let mut writer = Writer::new(Scheme::H265, self.options.max_payload, true, out);
        if seen.irap && !(seen.vps && seen.sps && seen.pps) {
            for set in &self.sets {
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

    fn configure(&mut self, record: &[u8]) -> Result<(), PacketizeError> {
        let config = HevcConfig::decode(record)?;
        self.length_size = config.length_size;
        self.sets.clear();
        for kind in [32, 33, 34] {
            let whole = config.units(kind).filter(|set| set.len() > 2);
            self.sets.extend(whole.take(MAX_SETS).cloned());
        }
        self.reorders = false;
        let Self { extra_bits, sets, .. } = self;
        sets.iter().for_each(|set| note_extra_bits(extra_bits, set));
        Ok(())
    }

    fn look(&mut self, frame: &Frame) -> Result<Seen, PacketizeError> {
        let mut seen = Seen { irap: frame.is_key(), ..Seen::default() };
        for unit in LengthPrefixed::new(&frame.payload, self.length_size) {
            let unit = unit?;
            if !self.is_sent(unit) {
                continue;
            }
            seen.units = seen.units.saturating_add(1);
            match NalType::of(unit) {
                NalType::Vps => seen.vps = true,
                NalType::Sps => seen.sps = true,
                NalType::Pps => {
                    seen.pps = true;
                    note_extra_bits(&mut self.extra_bits, unit);
                }
                NalType::Irap(_) => seen.irap = true,
                NalType::Slice(_) => seen.b_picture |= is_b_slice(unit, &self.extra_bits),
                _ => {}
            }
        }
        Ok(seen)
    }

    fn is_sent(&self, unit: &[u8]) -> bool {
        match NalType::of(unit) {
            NalType::Aud | NalType::Filler => false,
            NalType::PrefixSei | NalType::SuffixSei => self.options.keep_sei && !is_timing(unit, 2),
            kind => kind.number() <= MAX_TYPE,
        }
    }
}

fn note_extra_bits(extra_bits: &mut [u8; 64], unit: &[u8]) {
    if NalType::of(unit) == NalType::Pps
        && let Ok(head) = PpsHead::decode(unit)
        && let Some(bits) = extra_bits.get_mut(usize::from(head.id))
    {
        *bits = head.extra_slice_bits;
    }
}

/// The unit is the first slice of a picture that may predict from the future.
pub(super) fn is_b_slice(unit: &[u8], extra_bits: &[u8; 64]) -> bool {
    let extra = |pps: u8| extra_bits.get(usize::from(pps)).copied().unwrap_or(0);
    matches!(NalType::of(unit), NalType::Slice(_))
        && SliceHead::decode(unit, extra).is_ok_and(|head| head.slice_type == Some(SliceType::B))
}

/// What is in an access unit.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    units: usize,
    irap: bool,
    vps: bool,
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
    /// Type of the first slice of the unit at hand.
    slice: Option<u8>,
    /// The decoder began at a picture before which there are others: those that refer to them
    /// (RASL) cannot be decoded.
    skips_leading: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Params {
    vps: Sets,
    sps: Sets,
    pps: Sets,
}

impl Joiner {
    pub(super) fn surely_first(&self, payload: &[u8]) -> bool {
        let first = match payload.split_at_checked(2) {
            Some((&[header, _], rest)) if header >> 1 & 0x3f == AP => {
                Aggregated { bytes: rest, offset: 2 }.next().and_then(Result::ok).unwrap_or(&[])
            }
            _ => payload,
        };
        matches!(NalType::of(first), NalType::Aud | NalType::Vps | NalType::Sps)
    }

    pub(super) const fn has_media(&self) -> bool {
        self.slice.is_some() || self.lengths.in_fragment()
    }

    pub(super) fn clear(&mut self) {
        self.lengths.clear();
        self.new.vps.clear();
        self.new.sps.clear();
        self.new.pps.clear();
        self.slice = None;
    }

    pub(super) fn add(
        &mut self,
        payload: &[u8],
        buffer: &mut BytesMut,
    ) -> Result<(), DepacketizeError> {
        let Some((&[header, second], rest)) = payload.split_first_chunk::<2>() else {
            return Err(truncated("NAL header", payload.len()));
        };
        let kind = header >> 1 & 0x3f;
        if self.lengths.in_fragment() && kind != FU {
            return Err(DepacketizeError::Unfinished);
        }
        match kind {
            0..=MAX_TYPE => self.unit(payload, buffer),
            AP => {
                if rest.is_empty() {
                    return Err(truncated("aggregation packet", 2));
                }
                for unit in (Aggregated { bytes: rest, offset: 2 }) {
                    let unit = unit?;
                    let kind = NalType::of(unit).number();
                    if kind > MAX_TYPE {
                        return Err(invalid("NAL type within an aggregate", u64::from(kind), 0));
                    }
                    self.unit(unit, buffer)?;
                }
                Ok(())
            }
            FU => self.fragment([header, second], rest, buffer),
            50 => Err(DepacketizeError::Unsupported { what: "PACI packet of H.265" }),
            kind => Err(invalid("NAL type", u64::from(kind), 0)),
        }
    }

    fn fragment(
        &mut self,
        [first, second]: [u8; 2],
        rest: &[u8],
        buffer: &mut BytesMut,
    ) -> Result<(), DepacketizeError> {
        let Some((&header, piece)) = rest.split_first() else {
            return Err(truncated("FU header", 2));
        };
        let kind = header & 0x3f;
        if kind > MAX_TYPE {
            return Err(invalid("NAL type within FU", u64::from(kind), 2));
        }
        if header & 0x80 != 0 {
            if self.lengths.in_fragment() {
                return Err(DepacketizeError::Unfinished);
            }
            self.lengths.begin(&[first & 0x81 | kind << 1, second], buffer)?;
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
            NalType::Vps => keep(&mut self.new.vps, unit)?,
            NalType::Sps => keep(&mut self.new.sps, unit)?,
            NalType::Pps => keep(&mut self.new.pps, unit)?,
            NalType::Aud | NalType::Filler => {}
            kind => {
                if kind.is_slice() && self.slice.is_none() {
                    // Only the first bit behind the header matters here.
                    let Some(&bits) = unit.get(2) else {
                        return Err(truncated("slice header", unit.len()));
                    };
                    if bits & 0x80 == 0 {
                        return Err(DepacketizeError::NoStart);
                    }
                    self.slice = Some(kind.number());
                }
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
        let Some(kind) = self.slice else { return Ok(Joined::Nothing) };
        // A decoder without parameter sets cannot start.
        let key = matches!(kind, 16..=23) && !self.config.is_empty();
        if key {
            // Nothing before an IDR picture (19, 20) is referred to.
            self.skips_leading = fresh && !matches!(kind, 19 | 20);
        } else if matches!(kind, 8 | 9) && self.skips_leading {
            return Ok(Joined::Useless);
        }
        let told = (key || !fresh) && std::mem::take(&mut self.changed);
        Ok(Joined::Unit { key, config: told.then(|| self.config.clone()) })
    }

    /// Parameter sets of the unit at hand hold from now on.
    fn take_new(&mut self) -> Result<(), DepacketizeError> {
        let new = std::mem::take(&mut self.new);
        if new == Params::default() {
            return Ok(());
        }
        let mut next = self.known.clone();
        if !new.vps.is_empty() {
            next.vps = new.vps;
        }
        if !new.sps.is_empty() {
            next.sps = new.sps;
        }
        let same_sequence = next.sps == self.known.sps;
        let id = |set: &[u8]| PpsHead::decode(set).ok().map(|head| head.id);
        merge_pictures(&mut next.pps, new.pps, same_sequence, id);
        if next == self.known {
            return Ok(());
        }
        if !next.vps.is_empty() && !next.sps.is_empty() && !next.pps.is_empty() {
            let record = HevcConfig::from_parameter_sets(&next.vps, &next.sps, &next.pps)?;
            self.config = record.encode().into();
            self.changed = true;
        }
        self.known = next;
        Ok(())
    }

    pub(super) fn learn(&mut self, unit: &[u8]) {
        let noted = match NalType::of(unit) {
            NalType::Vps => keep(&mut self.new.vps, unit),
            NalType::Sps => keep(&mut self.new.sps, unit),
            NalType::Pps => keep(&mut self.new.pps, unit),
            _ => Ok(()),
        };
        // A set that cannot be read is as good as none: the stream may still bring its own.
        let _ = noted.and_then(|()| self.take_new());
        self.new = Params::default();
    }
}
