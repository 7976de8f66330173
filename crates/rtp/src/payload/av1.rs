//! AV1 (RTP Payload Format For AV1, version 1.0, of the Alliance for Open Media).

use bytes::{BufMut, Bytes, BytesMut};
use media::Frame;
use media::av1::{Av1Config, MAX_OBUS, Obu, ObuType, Obus, is_key, leb128, put_leb128};

use smallvec::SmallVec;

use super::error::{invalid, truncated};
use super::nal::{check_room, even};
use super::{DepacketizeError, Joined, Options, PacketizeError, Payloads, Pushed};

/// The first element continues an OBU of the payload before.
pub(super) const CONTINUES: u8 = 0x80;
/// The last element goes on in the next payload.
const GOES_ON: u8 = 0x40;
/// The first payload of a coded video sequence.
pub(super) const NEW_SEQUENCE: u8 = 0x08;

/// What is sent and kept of an OBU's kinds: delimiters and tile lists must not be, and padding is
/// of no use.
const fn is_sent(kind: ObuType) -> bool {
    !matches!(kind, ObuType::TemporalDelimiter | ObuType::TileList | ObuType::Padding)
}

const fn is_picture(kind: ObuType) -> bool {
    matches!(kind, ObuType::Frame | ObuType::FrameHeader | ObuType::TileGroup)
}

#[derive(Debug)]
pub(super) struct Cutter {
    max: usize,
    /// The configuration's OBUs.
    config: Bytes,
}

impl Cutter {
    pub(super) const fn new(options: Options) -> Self {
        Self { max: options.max_payload, config: Bytes::new() }
    }

    pub(super) fn push(
        &mut self,
        frame: &Frame,
        out: &mut Payloads,
    ) -> Result<Pushed, PacketizeError> {
        if frame.is_config() {
            self.config = Av1Config::decode(&frame.payload)?.obus;
            return Ok(Pushed::Config);
        }
        let (mut units, mut has_header) = (0usize, false);
        for obu in Obus::new(&frame.payload) {
            let obu = obu?;
            units = units.saturating_add(usize::from(is_sent(obu.kind)));
            has_header |= obu.kind == ObuType::SequenceHeader;
        }
        if units == 0 {
            return Ok(Pushed::Nothing);
        }
        let mark = out.mark();
        let key = frame.is_key() || is_key(&frame.payload);
        let config = if key && !has_header { &*self.config } else { &[] };
        let headers = Obus::new(config).map_while(Result::ok);
        let headers = headers.filter(|obu| obu.kind == ObuType::SequenceHeader);
        let media = Obus::new(&frame.payload).map_while(Result::ok);
        let obus = || headers.clone().chain(media.clone()).filter(|obu| is_sent(obu.kind));
        let (count, bytes) = obus().fold((0usize, 0usize), |(count, bytes), obu| {
            let (_, head_len) = head_of(&obu);
            let bytes = bytes.saturating_add(head_len).saturating_add(obu.payload.len());
            (count.saturating_add(1), bytes)
        });
        let mut writer = Writer::new(self.max, count, bytes, key, out);
        let mut left = count;
        for obu in obus() {
            left = left.saturating_sub(1);
            writer.obu(&obu, left == 0);
        }
        writer.close(false);
        out.frame_done(mark, true);
        Ok(Pushed::Packaged)
    }
}

/// Bytes for the length of an element: payloads are not so large that it takes three.
const LENGTH: usize = 2;
/// What a payload must have left for another OBU to begin in it: a length, and a byte beside its
/// header.
const LEAST: usize = LENGTH + 3;

/// The header of an OBU without its size field, and its length.
fn head_of(obu: &Obu<'_>) -> ([u8; 2], usize) {
    let header = obu.whole.first().copied().unwrap_or_default();
    match obu.whole.get(1) {
        Some(&extension) if header & 0x04 != 0 => ([header & !0x02, extension], 2),
        _ => ([header & !0x02, 0], 1),
    }
}

/// An OBU or a part of it.
#[derive(Clone, Copy)]
struct Element<'a> {
    head: [u8; 2],
    head_len: usize,
    payload: &'a [u8],
}

impl Element<'_> {
    const fn len(&self) -> usize {
        self.head_len.saturating_add(self.payload.len())
    }
}

/// Writes the OBUs of a picture, their sizes taken out, into payloads of equal size.
///
/// Each payload but the first goes on with an OBU of the one before: browsers take a payload that
/// begins with an OBU for the beginning of a picture, unless a dependency descriptor says otherwise.
struct Writer<'a, 'o> {
    /// Bytes of a payload behind its first.
    size: usize,
    room: usize,
    elements: SmallVec<[Element<'a>; 8]>,
    /// The next payload begins a coded video sequence.
    first: bool,
    continues: bool,
    out: &'o mut Payloads,
}

impl<'a, 'o> Writer<'a, 'o> {
    /// For a picture of `count` OBUs of so many `bytes`.
    fn new(max: usize, count: usize, bytes: usize, first: bool, out: &'o mut Payloads) -> Self {
        let most = max.saturating_sub(1).max(2 * LEAST);
        // Each OBU has a length, and each payload may divide one.
        let divided = bytes.checked_div(most.saturating_sub(LENGTH)).unwrap_or(0);
        let lengths = count.saturating_add(divided).saturating_add(1).saturating_mul(LENGTH);
        let size = even(bytes.saturating_add(lengths), most).max(2 * LEAST);
        Self { size, room: size, elements: SmallVec::new(), first, continues: false, out }
    }

    fn obu(&mut self, obu: &Obu<'a>, is_last: bool) {
        let (head, head_len) = head_of(obu);
        let mut rest = Element { head, head_len, payload: obu.payload };
        loop {
            let room = self.room.saturating_sub(LENGTH);
            let surplus = rest.len().saturating_sub(room);
            let left = room.saturating_sub(rest.len());
            // The end of it goes with the next OBU, which may not begin a payload.
            let held_back = usize::from(surplus == 0 && left < LEAST && !is_last);
            let keep = rest.payload.len().saturating_sub(surplus.max(held_back));
            let (here, later) = rest.payload.split_at_checked(keep).unwrap_or((rest.payload, &[]));
            self.element(Element { payload: here, ..rest });
            if later.is_empty() {
                if left < LEAST && !is_last {
                    self.close(false);
                }
                return;
            }
            self.close(true);
            rest = Element { head_len: 0, payload: later, ..rest };
        }
    }

    fn element(&mut self, element: Element<'a>) {
        if element.len() > 0 {
            self.room = self.room.saturating_sub(element.len().saturating_add(LENGTH));
            self.elements.push(element);
        }
    }

    /// Ends a payload. `goes_on`: its last element does, in the next.
    fn close(&mut self, goes_on: bool) {
        let Some(last) = self.elements.len().checked_sub(1) else { return };
        let start = self.out.bytes().len();
        // Up to three are counted, and then the last has no length.
        let counted = u8::try_from(self.elements.len()).ok().filter(|count| *count <= 3);
        let mut header = counted.map_or(0, |count| count << 4);
        if std::mem::take(&mut self.first) {
            header |= NEW_SEQUENCE;
        }
        if goes_on {
            header |= GOES_ON;
        }
        if std::mem::replace(&mut self.continues, goes_on) {
            header |= CONTINUES;
        }
        let tail = self.out.tail();
        tail.put_u8(header);
        for (index, element) in self.elements.drain(..).enumerate() {
            if counted.is_none() || index < last {
                put_leb128(u32::try_from(element.len()).unwrap_or(u32::MAX), tail);
            }
            tail.put_slice(element.head.get(..element.head_len).unwrap_or_default());
            tail.put_slice(element.payload);
        }
        self.out.seal(start);
        self.room = self.size;
    }
}

/// The elements of a payload, its first byte told apart. Yields one error and then ends when one
/// is empty or reaches beyond the end.
#[derive(Debug)]
pub(super) struct Elements<'a> {
    bytes: &'a [u8],
    /// How many are left; 0 when each has a length.
    left: u8,
    counted: bool,
}

impl<'a> Elements<'a> {
    pub(super) fn new(header: u8, bytes: &'a [u8]) -> Self {
        let left = header >> 4 & 3;
        Self { bytes, left, counted: left > 0 }
    }

    fn cut(&mut self) -> Result<&'a [u8], DepacketizeError> {
        let bytes = std::mem::take(&mut self.bytes);
        self.left = self.left.saturating_sub(1);
        if self.counted && self.left == 0 {
            return Ok(bytes);
        }
        let (length, size) = leb128(bytes)?;
        let (_, rest) = bytes.split_at_checked(size).ok_or(truncated("OBU element", 0))?;
        let too_long = invalid("length of an OBU element", u64::from(length), 0);
        let (element, rest) = rest.split_at_checked(length as usize).ok_or(too_long)?;
        if element.is_empty() || self.counted && rest.is_empty() {
            return Err(invalid("length of an OBU element", u64::from(length), 0));
        }
        self.bytes = rest;
        Ok(element)
    }

    pub(super) fn is_last(&self) -> bool {
        self.bytes.is_empty()
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<&'a [u8], DepacketizeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() { None } else { Some(self.cut()) }
    }
}

#[derive(Debug, Default)]
pub(super) struct Joiner {
    /// Where the OBU starts that goes on in the next payload.
    open: Option<usize>,
    obus: usize,
    has_picture: bool,
    /// The sequence header for which `config` was made.
    header: Bytes,
    config: Bytes,
    changed: bool,
}

impl Joiner {
    pub(super) fn surely_first(payload: &[u8]) -> bool {
        let Some((&header, rest)) = payload.split_first() else { return false };
        if header & CONTINUES != 0 {
            return false;
        }
        let first = Elements::new(header, rest).next().and_then(Result::ok);
        let kind = first.and_then(<[u8]>::first).map_or(0, |byte| byte >> 3 & 15);
        header & NEW_SEQUENCE != 0 || matches!(kind, 1 | 2)
    }

    pub(super) const fn has_media(&self) -> bool {
        self.has_picture || self.open.is_some()
    }

    pub(super) const fn clear(&mut self) {
        self.open = None;
        self.obus = 0;
        self.has_picture = false;
    }

    pub(super) fn add(
        &mut self,
        payload: &[u8],
        buffer: &mut BytesMut,
    ) -> Result<(), DepacketizeError> {
        let Some((&header, rest)) = payload.split_first() else { return Ok(()) };
        let continues = header & CONTINUES != 0;
        match (continues, self.open) {
            (true, None) => return Err(DepacketizeError::NoStart),
            (false, Some(_)) => return Err(DepacketizeError::Unfinished),
            _ => {}
        }
        if rest.is_empty() {
            return Err(truncated("OBU element", 1));
        }
        let mut elements = Elements::new(header, rest);
        while let Some(element) = elements.next() {
            let element = element?;
            check_room(buffer, element.len())?;
            let start = self.open.take().unwrap_or(buffer.len());
            buffer.put_slice(element);
            if elements.is_last() && header & GOES_ON != 0 {
                self.open = Some(start);
            } else {
                self.close(start, buffer)?;
            }
        }
        Ok(())
    }

    /// An OBU is whole: it gets its size, which is not sent.
    fn close(&mut self, start: usize, buffer: &mut BytesMut) -> Result<(), DepacketizeError> {
        self.obus = self.obus.saturating_add(1);
        if self.obus > MAX_OBUS {
            return Err(DepacketizeError::TooMany { max: MAX_OBUS });
        }
        let whole = buffer.get(start..).unwrap_or_default();
        let obu = Obus::new(whole).next().ok_or(truncated("OBU", 0))??;
        if obu.whole.len() != whole.len() {
            return Err(invalid("OBU size", obu.payload.len() as u64, 0));
        }
        let (kind, body) = (obu.kind, obu.payload.len());
        if !is_sent(kind) {
            buffer.truncate(start);
            return Ok(());
        }
        let header = if whole.first().is_some_and(|byte| byte & 0x04 != 0) { 2usize } else { 1 };
        // Some send the size all the same; it may be longer than it must.
        let sent = whole.len().saturating_sub(body).saturating_sub(header);
        let mut size = [0u8; 5];
        let mut rest = size.as_mut_slice();
        put_leb128(body as u32, &mut rest);
        let unused = rest.len();
        let size = size.get(..size.len().saturating_sub(unused)).unwrap_or_default();
        let place = start.saturating_add(header);
        let old = place.saturating_add(sent);
        let end = buffer.len();
        let new = place.saturating_add(size.len());
        buffer.resize(end.max(new.saturating_add(body)), 0);
        buffer.copy_within(old..end, new);
        buffer.truncate(new.saturating_add(body));
        if let Some(first) = buffer.get_mut(start) {
            *first |= 0x02;
        }
        if let Some(place) = buffer.get_mut(place..new) {
            place.copy_from_slice(size);
        }
        self.has_picture |= is_picture(kind);
        if kind == ObuType::SequenceHeader {
            self.note_header(buffer.get(start..).unwrap_or_default())?;
        }
        Ok(())
    }

    fn note_header(&mut self, header: &[u8]) -> Result<(), DepacketizeError> {
        if self.header != header {
            self.config = Av1Config::from_sequence_header(header)?.encode().into();
            self.header = Bytes::copy_from_slice(header);
            self.changed = true;
        }
        Ok(())
    }

    /// `fresh`: nothing before this unit was given to the decoder.
    pub(super) fn finish(
        &mut self,
        buffer: &BytesMut,
        fresh: bool,
    ) -> Result<Joined, DepacketizeError> {
        if self.open.is_some() {
            return Err(DepacketizeError::Unfinished);
        }
        if !self.has_picture {
            return Ok(Joined::Nothing);
        }
        // A decoder without a sequence header cannot start.
        let key = is_key(buffer) && !self.config.is_empty();
        let told = (key || !fresh) && std::mem::take(&mut self.changed);
        Ok(Joined::Unit { key, config: told.then(|| self.config.clone()) })
    }
}
