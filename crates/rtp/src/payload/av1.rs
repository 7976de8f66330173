//! AV1 (RTP Payload Format For AV1, version 1.0, of the Alliance for Open Media).

use bytes::{BufMut, Bytes, BytesMut};
use media::Frame;
use media::av1::{Av1Config, MAX_OBUS, Obu, ObuType, Obus, is_key, leb128, put_leb128};

use super::error::{invalid, truncated};
use super::nal::{check_room, even};
use super::{DepacketizeError, Joined, Options, PacketizeError, Payloads, Pushed};

/// The first element continues an OBU of the payload before.
pub(super) const CONTINUES: u8 = 0x80;
/// The last element goes on in the next payload.
const GOES_ON: u8 = 0x40;
/// One element, without a length before it.
const ONE_ELEMENT: u8 = 0x10;
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
        let mut writer = Writer { max: self.max, first: key, open: None, out };
        if key && !has_header {
            let headers = Obus::new(&self.config).map_while(Result::ok);
            for obu in headers.filter(|obu| obu.kind == ObuType::SequenceHeader) {
                writer.obu(&obu);
            }
        }
        for obu in Obus::new(&frame.payload) {
            let obu = obu?;
            if is_sent(obu.kind) {
                writer.obu(&obu);
            }
        }
        writer.close();
        out.frame_done(mark, true);
        Ok(Pushed::Packaged)
    }
}

/// Writes OBUs, their sizes taken out, into payloads: several into one as long as they fit, too
/// long ones into fragments of equal size.
struct Writer<'a> {
    max: usize,
    /// The next payload begins a coded video sequence.
    first: bool,
    open: Option<Open>,
    out: &'a mut Payloads,
}

/// A payload that more elements may join, written as if there were several.
#[derive(Clone, Copy)]
struct Open {
    start: usize,
    elements: usize,
    /// Bytes of the first element's length.
    length_size: usize,
}

impl Writer<'_> {
    fn obu(&mut self, obu: &Obu<'_>) {
        let Some((&header, rest)) = obu.whole.split_first() else { return };
        let extension = rest.first().filter(|_| header & 0x04 != 0);
        let mut head = [header & !0x02, 0];
        let head = match extension {
            Some(&byte) => {
                head = [header & !0x02, byte];
                head.as_slice()
            }
            None => head.get(..1).unwrap_or_default(),
        };
        let length = head.len().saturating_add(obu.payload.len());
        if length >= self.max {
            self.close();
            self.fragments(head, obu.payload, length);
            return;
        }
        let length_size = leb128_size(length);
        if let Some(open) = self.open {
            let used = self.out.bytes().len().saturating_sub(open.start);
            if used.saturating_add(length_size).saturating_add(length) <= self.max {
                self.element(head, obu.payload, length);
                self.open = Some(Open { elements: open.elements.saturating_add(1), ..open });
                return;
            }
            self.close();
        }
        let start = self.out.bytes().len();
        self.out.tail().put_u8(0);
        self.element(head, obu.payload, length);
        self.open = Some(Open { start, elements: 1, length_size });
    }

    fn element(&mut self, head: &[u8], payload: &[u8], length: usize) {
        let tail = self.out.tail();
        put_leb128(length as u32, tail);
        tail.put_slice(head);
        tail.put_slice(payload);
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let new_sequence = self.take_first();
        // One alone needs no length: the header takes the place of the length's last byte.
        let (start, header) = if open.elements == 1 {
            (open.start.saturating_add(open.length_size), ONE_ELEMENT)
        } else {
            (open.start, 0)
        };
        if let Some(place) = self.out.tail().get_mut(start) {
            *place = header | new_sequence;
        }
        self.out.seal(start);
    }

    fn fragments(&mut self, head: &[u8], payload: &[u8], length: usize) {
        let size = even(length, self.max.saturating_sub(1));
        let mut rest = payload;
        let mut head = head;
        let mut continues = 0;
        while !rest.is_empty() {
            let here = size.saturating_sub(head.len()).min(rest.len());
            let (piece, later) = rest.split_at_checked(here).unwrap_or((rest, &[]));
            rest = later;
            let goes_on = if rest.is_empty() { 0 } else { GOES_ON };
            let new_sequence = self.take_first();
            let start = self.out.bytes().len();
            let tail = self.out.tail();
            tail.put_u8(continues | goes_on | ONE_ELEMENT | new_sequence);
            tail.put_slice(head);
            tail.put_slice(piece);
            self.out.seal(start);
            (head, continues) = (&[], CONTINUES);
        }
    }

    const fn take_first(&mut self) -> u8 {
        if std::mem::replace(&mut self.first, false) { NEW_SEQUENCE } else { 0 }
    }
}

const fn leb128_size(value: usize) -> usize {
    match value {
        0..0x80 => 1,
        0x80..0x4000 => 2,
        _ => 3,
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
