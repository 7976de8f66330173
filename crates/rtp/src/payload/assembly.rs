//! Order and loss: which payloads belong to one unit, and which units may be given out.

use bytes::{Bytes, BytesMut};
use media::{Codec, Kind};

use super::{DepacketizeError, Joined, Joiner, PacketMeta, Ready, Unit, audio, av1, mp3, vp8, vp9};

/// What a depacketizer left out, counted since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Whole units given out.
    pub units: u64,
    /// Units of which a packet was lost or could not be read.
    pub damaged: u64,
    /// Whole units of video that came while a key frame was needed, or that refer to what came
    /// before it.
    pub before_key: u64,
    /// Payloads that came late or twice.
    pub late: u64,
    /// Whole units that nobody pulled in time.
    pub unpulled: u64,
}

/// Whole units that wait to be pulled. One payload completes at most 33 (those that an AAC payload
/// may hold and the one before); at half, a caller who pulls after each push would lose some.
const MAX_READY: usize = 64;

#[derive(Debug)]
pub(super) struct Assembly {
    codec: Codec,
    joiner: Joiner,
    /// The unit that is being put together.
    buffer: BytesMut,
    last_seq: Option<u64>,
    /// Time of the unit that is being put together; `None` between units.
    current: Option<i64>,
    damaged: bool,
    needs_key: bool,
    ready: Ready,
    stats: Stats,
}

impl Assembly {
    pub(super) fn new(codec: Codec, joiner: Joiner) -> Self {
        Self {
            codec,
            joiner,
            buffer: BytesMut::new(),
            last_seq: None,
            current: None,
            damaged: false,
            needs_key: codec.kind() == Kind::Video,
            ready: Ready::new(),
            stats: Stats::default(),
        }
    }

    pub(super) const fn codec(&self) -> Codec {
        self.codec
    }

    pub(super) const fn needs_key(&self) -> bool {
        self.needs_key
    }

    pub(super) const fn stats(&self) -> Stats {
        self.stats
    }

    pub(super) fn pull(&mut self) -> Option<Unit> {
        self.ready.pop_front()
    }

    pub(super) fn learn(&mut self, parameter_set: &[u8]) {
        self.joiner.learn(parameter_set);
    }

    pub(super) fn push(
        &mut self,
        payload: &[u8],
        meta: PacketMeta,
    ) -> Result<(), DepacketizeError> {
        if self.last_seq.is_some_and(|last| meta.seq <= last) {
            self.stats.late = self.stats.late.saturating_add(1);
            return Ok(());
        }
        let gap = self.last_seq.is_some_and(|last| meta.seq != last.wrapping_add(1));
        self.last_seq = Some(meta.seq);
        if gap || meta.lost_before {
            self.lose(payload, meta);
        }
        if payload.is_empty() {
            return Ok(());
        }
        let mut outcome = Ok(());
        if self.current.is_some_and(|current| current != meta.timestamp) {
            outcome = self.finish();
        }
        self.current = Some(meta.timestamp);
        // What can be told of one unit's damage is told once; the rest of it is of no use.
        if !self.damaged
            && let Err(error) = self.joiner.add(payload, &mut self.buffer)
        {
            self.spoil();
            outcome = outcome.and(Err(error));
        }
        let over = if self.damaged {
            meta.marker
        } else {
            self.joiner.ends_with(meta.marker, self.buffer.len())
        };
        if over {
            outcome = outcome.and(self.finish());
        }
        outcome
    }

    /// Packets before this one are gone: the unit at hand lacks its end, and the one that this
    /// packet belongs to may lack its start.
    fn lose(&mut self, payload: &[u8], meta: PacketMeta) {
        if self.current.is_some() {
            self.spoil();
            if self.current != Some(meta.timestamp) {
                self.end_damaged();
            }
        }
        if self.codec.kind() == Kind::Video {
            self.needs_key = true;
        }
        if self.current.is_none() {
            self.current = Some(meta.timestamp);
            self.damaged = !self.joiner.surely_first(payload);
        }
    }

    /// Gives up the unit at hand; its other packets are waited for and left out.
    fn spoil(&mut self) {
        self.damaged = true;
        self.buffer.clear();
        self.joiner.clear();
        if self.codec.kind() == Kind::Video {
            self.needs_key = true;
        }
    }

    fn end_damaged(&mut self) {
        self.stats.damaged = self.stats.damaged.saturating_add(1);
        self.current = None;
        self.damaged = false;
        self.buffer.clear();
        self.joiner.clear();
    }

    /// The unit at hand is over.
    fn finish(&mut self) -> Result<(), DepacketizeError> {
        let Some(timestamp) = self.current else { return Ok(()) };
        if self.damaged {
            self.end_damaged();
            return Ok(());
        }
        match self.joiner.finish(&mut self.buffer, self.needs_key) {
            Ok(Joined::Unit { key, config }) => {
                let payload = self.buffer.split().freeze();
                self.give(payload, key, config, timestamp);
            }
            Ok(Joined::Several { sizes, step }) => {
                let mut later = timestamp;
                for size in sizes {
                    let payload = self.buffer.split_to(size.min(self.buffer.len())).freeze();
                    self.give(payload, false, None, later);
                    later = later.saturating_add(step);
                }
                self.buffer.clear();
            }
            Ok(Joined::Nothing) => self.buffer.clear(),
            Ok(Joined::Useless) => {
                self.buffer.clear();
                self.stats.before_key = self.stats.before_key.saturating_add(1);
            }
            Err(error) => {
                self.spoil();
                self.end_damaged();
                return Err(error);
            }
        }
        self.current = None;
        self.joiner.clear();
        Ok(())
    }

    fn give(&mut self, payload: Bytes, key: bool, config: Option<Bytes>, timestamp: i64) {
        if self.needs_key && !key {
            self.stats.before_key = self.stats.before_key.saturating_add(1);
            return;
        }
        if self.ready.len() >= MAX_READY {
            self.stats.unpulled = self.stats.unpulled.saturating_add(1);
            self.needs_key = self.codec.kind() == Kind::Video;
            return;
        }
        self.needs_key = false;
        self.stats.units = self.stats.units.saturating_add(1);
        self.ready.push_back(Unit { payload, key, config, timestamp });
    }
}

impl Joiner {
    /// The payload begins a unit without doubt, though what came before it is not known.
    fn surely_first(&self, payload: &[u8]) -> bool {
        match self {
            Self::H264(joiner) => joiner.surely_first(payload),
            Self::H265(joiner) => joiner.surely_first(payload),
            Self::Av1(_) => av1::Joiner::surely_first(payload),
            Self::Vp8(_) => vp8::Joiner::surely_first(payload),
            Self::Vp9(_) => vp9::Joiner::surely_first(payload),
            Self::Mp3(_) => mp3::Joiner::surely_first(payload),
            Self::Aac(joiner) => joiner.surely_first(payload),
            Self::Audio => true,
        }
    }

    fn add(&mut self, payload: &[u8], buffer: &mut BytesMut) -> Result<(), DepacketizeError> {
        match self {
            Self::H264(joiner) => joiner.add(payload, buffer),
            Self::H265(joiner) => joiner.add(payload, buffer),
            Self::Av1(joiner) => joiner.add(payload, buffer),
            Self::Vp8(joiner) => joiner.add(payload, buffer),
            Self::Vp9(joiner) => joiner.add(payload, buffer),
            Self::Mp3(joiner) => joiner.add(payload, buffer),
            Self::Aac(joiner) => joiner.add(payload, buffer),
            Self::Audio => audio::add(payload, buffer),
        }
    }

    /// The unit is over with the payload that was added last.
    fn ends_with(&self, marker: bool, buffered: usize) -> bool {
        match self {
            Self::H264(joiner) => marker && joiner.has_media(),
            Self::H265(joiner) => marker && joiner.has_media(),
            Self::Av1(joiner) => marker && joiner.has_media(),
            Self::Vp8(_) | Self::Vp9(_) => marker,
            Self::Mp3(joiner) => joiner.is_whole(buffered),
            Self::Aac(joiner) => joiner.is_whole(buffered),
            Self::Audio => true,
        }
    }

    fn finish(&mut self, buffer: &mut BytesMut, fresh: bool) -> Result<Joined, DepacketizeError> {
        match self {
            Self::H264(joiner) => joiner.finish(fresh),
            Self::H265(joiner) => joiner.finish(fresh),
            Self::Av1(joiner) => joiner.finish(buffer, fresh),
            Self::Vp8(joiner) => joiner.finish(buffer),
            Self::Vp9(joiner) => joiner.finish(buffer),
            Self::Mp3(joiner) => joiner.finish(buffer),
            Self::Aac(joiner) => joiner.finish(buffer),
            Self::Audio if buffer.is_empty() => Ok(Joined::Nothing),
            Self::Audio => Ok(Joined::Unit { key: false, config: None }),
        }
    }

    /// Forgets the unit at hand, not what holds for the stream.
    fn clear(&mut self) {
        match self {
            Self::H264(joiner) => joiner.clear(),
            Self::H265(joiner) => joiner.clear(),
            Self::Av1(joiner) => joiner.clear(),
            Self::Vp9(joiner) => joiner.clear(),
            Self::Aac(joiner) => joiner.clear(),
            Self::Mp3(joiner) => joiner.clear(),
            Self::Vp8(_) | Self::Audio => {}
        }
    }

    fn learn(&mut self, parameter_set: &[u8]) {
        match self {
            Self::H264(joiner) => joiner.learn(parameter_set),
            Self::H265(joiner) => joiner.learn(parameter_set),
            _ => {}
        }
    }
}
