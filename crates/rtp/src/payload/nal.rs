//! What the formats of H.264 (RFC 6184) and H.265 (RFC 7798) share: units alone, several in one
//! payload, one over several payloads.

use bytes::{BufMut, Bytes, BytesMut};
use media::nal::MAX_UNITS;
use smallvec::SmallVec;

use super::error::{invalid, truncated};
use super::{DepacketizeError, MAX_UNIT, PacketizeError, Payloads};

/// Parameter sets of one kind that are kept. Real streams have one or two; at half, encoders that
/// number them anew for each size would lose some; all are bounded in size, too.
pub(super) const MAX_SETS: usize = 32;

/// Bytes of a parameter set that is believed: what a record's length can say would be 65,535, the
/// longest real one, with all scaling lists, has 1 kB.
const MAX_SET: usize = 4096;

/// Parameter sets of one kind.
pub(super) type Sets = SmallVec<[Bytes; 2]>;

/// How a unit's header, aggregates and fragments look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// One byte of header, STAP-A, FU-A.
    H264,
    /// Two bytes of header, AP, FU.
    H265,
}

/// NAL type of STAP-A.
pub(super) const STAP_A: u8 = 24;
/// NAL type of FU-A.
pub(super) const FU_A: u8 = 28;
/// NAL type of an aggregation packet.
pub(super) const AP: u8 = 48;
/// NAL type of a fragmentation unit.
pub(super) const FU: u8 = 49;

impl Scheme {
    /// Bytes of a unit's header.
    pub(super) const fn header(self) -> usize {
        match self {
            Self::H264 => 1,
            Self::H265 => 2,
        }
    }
}

/// Writes units into payloads: several into one as long as they fit, too long ones into fragments
/// of equal size.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    scheme: Scheme,
    max: usize,
    /// Aggregation and fragments are allowed.
    cut: bool,
    out: &'a mut Payloads,
    /// Where the payload starts that more units may join.
    open: Option<Open>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    start: usize,
    units: usize,
}

impl<'a> Writer<'a> {
    pub(super) const fn new(scheme: Scheme, max: usize, cut: bool, out: &'a mut Payloads) -> Self {
        Self { scheme, max, cut, out, open: None }
    }

    /// Writes one unit, which has a whole header.
    pub(super) fn unit(&mut self, unit: &[u8]) -> Result<(), PacketizeError> {
        if unit.len() > self.max {
            self.close();
            return self.fragments(unit);
        }
        if let Some(open) = self.open {
            let used = self.out.bytes().len().saturating_sub(open.start);
            if self.cut && used.saturating_add(2).saturating_add(unit.len()) <= self.max {
                self.join(unit);
                self.open = Some(Open { units: open.units.saturating_add(1), ..open });
                return Ok(());
            }
            self.close();
        }
        // Written as the first of several; if it stays alone, the payload begins behind that.
        let start = self.out.bytes().len();
        self.out.tail().put_bytes(0, self.scheme.header());
        self.join(unit);
        self.open = Some(Open { start, units: 1 });
        Ok(())
    }

    fn join(&mut self, unit: &[u8]) {
        let tail = self.out.tail();
        tail.put_u16(unit.len() as u16);
        tail.put_slice(unit);
    }

    /// Ends the payload that others might have joined.
    pub(super) fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let first = open.start.saturating_add(self.scheme.header()).saturating_add(2);
        if open.units == 1 {
            self.out.seal(first);
            return;
        }
        let payload = self.out.bytes().get(open.start..).unwrap_or_default();
        let header = self.scheme.aggregate_header(payload);
        if let Some(place) = self.out.tail().get_mut(open.start..) {
            for (byte, value) in place.iter_mut().zip(header).take(self.scheme.header()) {
                *byte = value;
            }
        }
        self.out.seal(open.start);
    }

    fn fragments(&mut self, unit: &[u8]) -> Result<(), PacketizeError> {
        let too_large =
            PacketizeError::TooLarge { what: "NAL unit", size: unit.len(), max: self.max };
        let header = self.scheme.header();
        let room = self.max.saturating_sub(header).saturating_sub(1);
        let (Some((head, body)), true) = (unit.split_at_checked(header), self.cut) else {
            return Err(too_large);
        };
        let (indicator, kind) = match (self.scheme, head) {
            (Scheme::H264, &[first]) => ([first & 0xe0 | FU_A, 0], first & 0x1f),
            (Scheme::H265, &[first, second]) => {
                ([first & 0x81 | FU << 1, second], first >> 1 & 0x3f)
            }
            _ => return Err(too_large),
        };
        let size = even(body.len(), room);
        let mut pieces = body.chunks(size).peekable();
        let mut start_bit = 0x80;
        while let Some(piece) = pieces.next() {
            let start = self.out.bytes().len();
            let end_bit = if pieces.peek().is_none() { 0x40 } else { 0 };
            let tail = self.out.tail();
            tail.extend(indicator.iter().take(header));
            tail.put_u8(start_bit | end_bit | kind);
            tail.put_slice(piece);
            self.out.seal(start);
            start_bit = 0;
        }
        Ok(())
    }
}

/// The size of pieces that `total` bytes are cut into, so that they are as few as `room` allows,
/// and all equal but the last, which is not larger. Equal sizes let the kernel cut datagrams from
/// one buffer.
pub(super) fn even(total: usize, room: usize) -> usize {
    let room = room.max(1);
    total.div_ceil(total.div_ceil(room).max(1)).max(1)
}

/// What picture parameter sets hold once `new` ones came: each takes the place of the one of its
/// number, and with a new sequence the old ones mean nothing.
pub(super) fn merge_pictures<I: PartialEq>(
    held: &mut Sets,
    new: Sets,
    same_sequence: bool,
    id: impl Fn(&[u8]) -> Option<I>,
) {
    if !same_sequence {
        if !new.is_empty() {
            *held = new;
        }
        return;
    }
    for set in new {
        let own = id(&set);
        if let Some(known) = held.iter_mut().find(|known| id(known) == own) {
            *known = set;
        } else if held.len() < MAX_SETS {
            held.push(set);
        }
    }
}

impl Scheme {
    /// The header of an aggregate: the most important of what its units say (RFC 6184 section
    /// 5.7, RFC 7798 section 4.4.2).
    fn aggregate_header(self, payload: &[u8]) -> [u8; 2] {
        let units =
            Aggregated { bytes: payload.get(self.header()..).unwrap_or_default(), offset: 0 };
        let units = units.map_while(Result::ok);
        match self {
            Self::H264 => {
                let (mut forbidden, mut importance) = (0, 0);
                for &first in units.filter_map(<[u8]>::first) {
                    forbidden |= first & 0x80;
                    importance = importance.max(first & 0x60);
                }
                [forbidden | importance | STAP_A, 0]
            }
            Self::H265 => {
                let (mut forbidden, mut layer, mut temporal) = (0, 0x3f, 7);
                for &[first, second] in units.filter_map(<[u8]>::first_chunk) {
                    forbidden |= first & 0x80;
                    layer = layer.min((first & 1) << 5 | second >> 3);
                    temporal = temporal.min(second & 7);
                }
                [forbidden | AP << 1 | layer >> 5, (layer & 0x1f) << 3 | temporal]
            }
        }
    }
}

/// The units of an aggregate, each behind 16 bits of length. Yields one error and then ends when
/// one reaches beyond the end or is empty.
#[derive(Clone, Debug)]
pub(super) struct Aggregated<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) offset: usize,
}

impl<'a> Iterator for Aggregated<'a> {
    type Item = Result<&'a [u8], DepacketizeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let whole = std::mem::take(&mut self.bytes);
        let Some((&length, rest)) = whole.split_first_chunk::<2>() else {
            return Some(Err(truncated("length of an aggregated unit", self.offset)));
        };
        let length = usize::from(u16::from_be_bytes(length));
        if length == 0 {
            return Some(Err(invalid("length of an aggregated unit", 0, self.offset)));
        }
        let Some((unit, rest)) = rest.split_at_checked(length) else {
            return Some(Err(invalid("length of an aggregated unit", length as u64, self.offset)));
        };
        self.bytes = rest;
        self.offset = self.offset.saturating_add(2).saturating_add(length);
        Some(Ok(unit))
    }
}

/// Puts units behind lengths of four bytes, whole ones and those that come in fragments.
#[derive(Debug, Default)]
pub(super) struct Lengths {
    /// Where the unit starts, behind its length, that comes in fragments.
    fragment: Option<usize>,
    units: usize,
}

impl Lengths {
    pub(super) const fn clear(&mut self) {
        self.fragment = None;
        self.units = 0;
    }

    /// A unit is being put together from fragments.
    pub(super) const fn in_fragment(&self) -> bool {
        self.fragment.is_some()
    }

    fn count(&mut self) -> Result<(), DepacketizeError> {
        self.units = self.units.saturating_add(1);
        if self.units > MAX_UNITS {
            return Err(DepacketizeError::TooMany { max: MAX_UNITS });
        }
        Ok(())
    }

    /// Appends a whole unit.
    pub(super) fn whole(
        &mut self,
        unit: &[u8],
        buffer: &mut BytesMut,
    ) -> Result<(), DepacketizeError> {
        self.count()?;
        check_room(buffer, unit.len())?;
        buffer.put_u32(unit.len() as u32);
        buffer.put_slice(unit);
        Ok(())
    }

    /// Begins a unit with its header, of which fragments follow.
    pub(super) fn begin(
        &mut self,
        header: &[u8],
        buffer: &mut BytesMut,
    ) -> Result<(), DepacketizeError> {
        self.count()?;
        buffer.put_u32(0);
        self.fragment = Some(buffer.len());
        buffer.put_slice(header);
        Ok(())
    }

    /// Appends a fragment.
    pub(super) fn go_on(
        &mut self,
        piece: &[u8],
        buffer: &mut BytesMut,
    ) -> Result<(), DepacketizeError> {
        if self.fragment.is_none() {
            return Err(DepacketizeError::NoStart);
        }
        check_room(buffer, piece.len())?;
        buffer.put_slice(piece);
        Ok(())
    }

    /// Ends the unit that came in fragments, and gives it.
    pub(super) fn end<'a>(&mut self, buffer: &'a mut BytesMut) -> &'a [u8] {
        let Some(start) = self.fragment.take() else { return &[] };
        let length = buffer.len().saturating_sub(start) as u32;
        let place = buffer.get_mut(start.saturating_sub(4)..start);
        if let Some(place) = place.and_then(|place| place.first_chunk_mut::<4>()) {
            *place = length.to_be_bytes();
        }
        buffer.get(start..).unwrap_or_default()
    }

    /// Takes the unit back that ended last and starts at `start`, behind its length.
    pub(super) fn take_back(buffer: &mut BytesMut, length: usize) {
        buffer.truncate(buffer.len().saturating_sub(length).saturating_sub(4));
    }
}

/// Whether `more` bytes may still join a unit.
pub(super) fn check_room(buffer: &BytesMut, more: usize) -> Result<(), DepacketizeError> {
    if buffer.len().saturating_add(more).saturating_add(16) > MAX_UNIT {
        return Err(DepacketizeError::TooLarge { max: MAX_UNIT });
    }
    Ok(())
}

/// Copies a parameter set.
pub(super) fn keep(sets: &mut Sets, unit: &[u8]) -> Result<(), DepacketizeError> {
    if unit.len() > MAX_SET {
        return Err(invalid("length of a parameter set", unit.len() as u64, 0));
    }
    if sets.len() >= MAX_SETS {
        return Err(DepacketizeError::TooMany { max: MAX_SETS });
    }
    sets.push(Bytes::copy_from_slice(unit));
    Ok(())
}
