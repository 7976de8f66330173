//! A publisher: its packets go to viewers of WebRTC as they are, and become frames for everybody
//! else.

mod redundancy;
mod sound;
mod source;

use std::sync::Arc;

use gate::{ClientHold, Close};
use hub::Publisher;
use media::{Codec, Flags, Frame, Kind, Timestamp};
use rtp::clock::{Mapper, TrackId};
use rtp::packet::Packet;
use rtp::payload::Unit;
use rtp::rtcp::{self, Compound, Rtcp, write};
use rtp::{extension, rtx, twcc};
use smallvec::SmallVec;

use super::Engine;
use super::clock::Clock;
use super::log::{AUDIO, LANES, New, Sync, VIDEO};
use super::relay::{Packets, Relay};
use super::shard::RtcShard;
use crate::negotiate::{Media, Negotiated};
use redundancy::Redundancy;
use sound::Sound;
use source::{Source, SourceOptions};

/// Between two receiver reports.
const REPORT_EVERY_US: u64 = 1_000_000;
/// A key frame is asked for no more often than this: an encoder that answers each wish of a crowd
/// of viewers sends nothing else.
const ASK_EVERY_US: u64 = 400_000;
/// SSRCs that are told apart: sound and three sizes with their retransmissions, and those of a
/// client that begins anew.
const MOST_SOURCES: usize = 16;
/// Most wishes of one compound packet.
const MOST_NACKS: usize = 256;

/// How a publisher's stream is treated.
#[derive(Clone, Debug)]
pub(crate) struct PublishRules {
    /// Other protocols may play it.
    pub(crate) to_frames: bool,
    /// A key frame is asked for so often then, microseconds.
    pub(crate) pli_every_us: u64,
    /// Of AAC that is made of its sound, bit/s.
    pub(crate) aac_bitrate: u32,
    /// None is made of its Opus.
    pub(crate) keep_opus: bool,
    /// Lost packets are asked for.
    pub(crate) nack: bool,
    /// Congestion feedback is given.
    pub(crate) twcc: bool,
    /// Packets of this type are dropped, for tests; 0 is none.
    pub(crate) drop_for_pt: u8,
}

/// Who an SSRC is.
#[derive(Clone, Copy)]
struct Known {
    ssrc: u32,
    lane: u8,
    /// It carries retransmissions.
    repairs: bool,
}

/// See the module.
pub(crate) struct Publishing {
    publisher: Publisher,
    _hold: ClientHold,
    relay: Arc<Relay>,
    rules: PublishRules,
    audio: Option<Media>,
    video: Option<Media>,
    known: SmallVec<[Known; 4]>,
    sources: [Option<Box<Source>>; LANES],
    tracks: [Option<TrackId>; LANES],
    mapper: Mapper,
    feedback: Option<twcc::Recorder>,
    packets: Packets,
    sound: Sound,
    made: Vec<Frame>,
    wanted: Vec<u16>,
    /// Our own SSRC in reports.
    ssrc: u32,
    report_at_us: u64,
    pli_at_us: u64,
    /// The lane that becomes frames.
    bridged: u8,
    /// What is added to the publisher's wall clock to make it ours, modulo: the same for sound and
    /// pictures, so that viewers see one clock whoever publishes.
    ahead: Option<u64>,
    /// Sound that carries what came before it.
    redundancy: Option<Box<Redundancy>>,
    /// Packets that came to nothing, for whatever reason.
    pub(crate) refused: u64,
    superseded: bool,
}

impl Publishing {
    /// Of what was agreed on. `ssrc`: ours, for reports.
    pub(crate) fn new(
        publisher: Publisher,
        hold: ClientHold,
        relay: Arc<Relay>,
        rules: PublishRules,
        agreed: &Negotiated,
        ssrc: u32,
    ) -> Self {
        let twcc = rules.twcc.then(|| twcc::Recorder::new(twcc::Options::default()));
        let mut known = SmallVec::new();
        for (media, lane) in [(agreed.audio(), AUDIO), (agreed.video(), VIDEO)] {
            let Some(media) = media.filter(|media| media.rids.is_empty()) else { continue };
            if let Some(source) = media.remote.first() {
                known.push(Known { ssrc: source.ssrc, lane, repairs: false });
                if let Some(ssrc) = source.rtx {
                    known.push(Known { ssrc, lane, repairs: true });
                }
            }
        }
        let sound = Sound::new(rules.aac_bitrate, rules.keep_opus);
        let sizes = agreed.video().map_or(0, |media| media.rids.len());
        let bridged = VIDEO.saturating_add(u8::try_from(sizes.saturating_sub(1)).unwrap_or(0));
        Self {
            publisher,
            _hold: hold,
            relay,
            rules,
            audio: agreed.audio().cloned(),
            video: agreed.video().cloned(),
            known,
            sources: Default::default(),
            tracks: [None; LANES],
            mapper: Mapper::new(),
            feedback: twcc,
            packets: Packets::default(),
            sound,
            made: Vec::new(),
            wanted: Vec::new(),
            ssrc,
            report_at_us: 0,
            pli_at_us: u64::MAX,
            bridged: bridged.min(VIDEO.saturating_add(2)),
            ahead: None,
            redundancy: None,
            refused: 0,
            superseded: false,
        }
    }

    /// Media may come.
    pub(crate) fn begin(&mut self, now_us: u64) {
        if self.rules.to_frames {
            self.pli_at_us = now_us.saturating_add(self.rules.pli_every_us);
        }
    }

    fn media(&self, lane: u8) -> Option<&Media> {
        if lane == AUDIO { self.audio.as_ref() } else { self.video.as_ref() }
    }

    /// Takes a packet in the clear. `Some`: the session is over.
    pub(crate) fn on_rtp(&mut self, bytes: &mut [u8], now_us: u64) -> Option<Close> {
        let Ok(packet) = Packet::parse(bytes) else {
            self.refused = self.refused.saturating_add(1);
            return None;
        };
        self.publisher.touch();
        self.note_transport(&packet, now_us);
        let (ssrc, payload_type) = (packet.ssrc, packet.payload_type);
        if self.rules.drop_for_pt != 0 && payload_type == self.rules.drop_for_pt {
            return None;
        }
        let Some(known) = self.who(ssrc, payload_type, &packet) else {
            self.refused = self.refused.saturating_add(1);
            return None;
        };
        if !known.repairs {
            self.accept(known.lane, &packet, false, now_us);
            return None;
        }
        // An empty one probes the path.
        if packet.payload.is_empty() {
            return None;
        }
        let main = self.sources.get(usize::from(known.lane)).and_then(Option::as_ref);
        let (ssrc, payload_type) = main.map(|s| (s.ssrc, s.payload_type))?;
        if let Ok(original) = rtx::unwrap(bytes, ssrc, payload_type)
            && let Ok(packet) = Packet::parse(original)
        {
            self.accept(known.lane, &packet, true, now_us);
        }
        None
    }

    fn note_transport(&mut self, packet: &Packet<'_>, now_us: u64) {
        let id = [&self.video, &self.audio].into_iter().flatten().find_map(|m| m.extensions.twcc);
        if let (Some(recorder), Some(id)) = (&mut self.feedback, id)
            && let Some(number) = packet.extensions().get(id).and_then(extension::transport_cc)
        {
            recorder.on_packet(number, now_us);
        }
    }

    /// Whose packet it is; learns those that were not named in the offer.
    fn who(&mut self, ssrc: u32, payload_type: u8, packet: &Packet<'_>) -> Option<Known> {
        if let Some(known) = self.known.iter().find(|known| known.ssrc == ssrc) {
            return Some(*known);
        }
        let is = |media: &Media, main: bool| {
            media
                .payloads
                .iter()
                .any(|p| if main { p.pt == payload_type } else { p.rtx == Some(payload_type) })
                || (main && media.kind == Kind::Audio && media.red == Some(payload_type))
        };
        let (media, lane, repairs) = match (&self.audio, &self.video) {
            (Some(audio), _) if is(audio, true) => (audio, AUDIO, false),
            (_, Some(video)) if is(video, true) => (video, VIDEO, false),
            (_, Some(video)) if is(video, false) => (video, VIDEO, true),
            (Some(audio), _) if is(audio, false) => (audio, AUDIO, true),
            _ => return None,
        };
        let mut lane = lane;
        if !media.rids.is_empty() {
            let id = if repairs { media.extensions.repaired_rid } else { media.extensions.rid };
            let rid = packet.extensions().get(id?).and_then(extension::text)?;
            let at = media.rids.iter().position(|layer| layer.rid == rid)?;
            lane = VIDEO.checked_add(u8::try_from(at).ok()?)?;
        }
        if usize::from(lane) >= LANES {
            return None;
        }
        if self.known.len() >= MOST_SOURCES {
            self.known.remove(0);
        }
        // A client that begins anew takes its lane over.
        self.known.retain(|known| known.lane != lane || known.repairs != repairs);
        let known = Known { ssrc, lane, repairs };
        self.known.push(known);
        Some(known)
    }

    fn accept(&mut self, lane: u8, packet: &Packet<'_>, repaired: bool, now_us: u64) {
        if lane == AUDIO && !repaired && self.unpacked(packet, now_us) {
            return;
        }
        let Some(media) = self.media(lane) else { return };
        let Some(payload) = media.payloads.iter().find(|p| p.pt == packet.payload_type) else {
            self.refused = self.refused.saturating_add(1);
            return;
        };
        let options = SourceOptions {
            codec: payload.codec,
            clock: payload.clock,
            payload_type: payload.pt,
            nack: self.rules.nack && payload.feedback.nack,
            frames: self.rules.to_frames && (lane == AUDIO || lane == self.bridged),
        };
        let Some(slot) = self.sources.get_mut(usize::from(lane)) else { return };
        if slot.as_ref().is_none_or(|source| source.ssrc != packet.ssrc) {
            // Who begins anew stays on the clock of its lane.
            let known = self.tracks.get_mut(usize::from(lane));
            let Some(known) = known else { return };
            if known.is_none() {
                *known = self.mapper.add_track(options.clock);
            }
            let Some(track) = *known else { return };
            *slot = Some(Box::new(Source::new(packet.ssrc, track, options)));
        }
        let Some(source) = slot else { return };
        let Some((seq, key)) = source.take(packet, repaired, now_us) else { return };
        if packet.payload.is_empty() {
            return;
        }
        self.packets.push(&New {
            lane,
            seq,
            timestamp: packet.timestamp,
            marker: packet.marker,
            key,
            payload: packet.payload,
        });
    }

    /// Takes reports.
    pub(crate) fn on_rtcp(&mut self, bytes: &[u8], clock: &Clock, now_us: u64) {
        for item in Compound::new(bytes) {
            if let Ok(Rtcp::SenderReport { info, .. }) = item {
                let Some(known) = self.known.iter().find(|k| k.ssrc == info.ssrc && !k.repairs)
                else {
                    continue;
                };
                let lane = known.lane;
                let Some(Some(source)) = self.sources.get_mut(usize::from(lane)) else { continue };
                source.stats.on_sender_report(info.ntp, now_us);
                self.mapper.on_sender_report(source.track, info.ntp, info.rtp);
                let ours = clock.ntp(now_us);
                let ahead = *self.ahead.get_or_insert(ours.wrapping_sub(info.ntp));
                let sync = Sync {
                    ntp: info.ntp.wrapping_add(ahead),
                    timestamp: info.rtp,
                    at_us: now_us,
                    clock: source.options.clock,
                };
                self.packets.sync(lane, sync);
            }
        }
    }

    /// Writes what the publisher has to be told. `Some`: the session is over.
    pub(crate) fn on_tick(
        &mut self,
        now_us: u64,
        _clock: &Clock,
        out: &mut Vec<u8>,
    ) -> Option<Close> {
        if self.superseded {
            return Some(Close::done("another publisher took the stream"));
        }
        let report = now_us >= self.report_at_us;
        let mut blocks: SmallVec<[rtcp::ReportBlock; LANES]> = SmallVec::new();
        if report {
            self.report_at_us = now_us.saturating_add(REPORT_EVERY_US);
            for source in self.sources.iter_mut().flatten() {
                blocks.push(source.stats.report(source.ssrc, now_us));
            }
        }
        let from = out.len();
        // The head of every compound packet (RFC 3550 §6.1).
        write::receiver_report(out, self.ssrc, &blocks);
        let bare = out.len();
        if self.rules.to_frames && now_us >= self.pli_at_us {
            self.pli_at_us = now_us.saturating_add(self.rules.pli_every_us);
            self.relay.want_key(self.bridged);
        }
        for (lane, source) in self.sources.iter_mut().enumerate() {
            let Some(source) = source else { continue };
            source.poll_nacks(now_us, &mut self.wanted);
            self.wanted.truncate(MOST_NACKS);
            write::nack(out, self.ssrc, source.ssrc, self.wanted.drain(..));
            let lane = u8::try_from(lane).unwrap_or(AUDIO);
            let wish = lane != AUDIO && (source.needs_key() | self.relay.take_wish(lane));
            source.wants_key |= wish;
            if source.wants_key && now_us >= source.asked_us.saturating_add(ASK_EVERY_US) {
                source.wants_key = false;
                source.asked_us = now_us;
                write::pli(out, self.ssrc, source.ssrc);
            }
        }
        if let Some(recorder) = &mut self.feedback
            && recorder.next_timeout().is_some_and(|at| at <= now_us)
        {
            let media = self.sources.iter().flatten().next().map_or(0, |s| s.ssrc);
            while recorder.write(out, self.ssrc, media, now_us) {}
        }
        if out.len() == bare && !report {
            out.truncate(from);
        }
        None
    }

    /// Hands over what has come since. `Some`: the session is over.
    pub(crate) fn flush(&mut self, shard: &RtcShard) -> Option<Close> {
        if !self.packets.is_empty() {
            shard.relay(&self.relay, &self.packets);
            self.packets.clear();
        }
        if self.rules.to_frames {
            let now_us = shard.clock().now_us();
            for lane in 0..LANES {
                self.frames(lane, now_us);
            }
            self.publisher.flush();
        }
        self.superseded.then(|| Close::done("another publisher took the stream"))
    }

    fn frames(&mut self, lane: usize, now_us: u64) {
        while let Some(Some(source)) = self.sources.get_mut(lane) {
            let Some(unit) = source.next_unit(now_us) else { return };
            let codec = source.options.codec;
            let timestamp = source.wire_time(unit.timestamp);
            let track = source.track;
            let us = self.mapper.map(track, timestamp, now_us);
            self.publish(codec, &unit, Timestamp::from_micros(us), now_us);
        }
    }

    fn publish(&mut self, codec: Codec, unit: &Unit, at: Timestamp, now_us: u64) {
        let frame =
            |flags, payload| Frame { codec, track: 0, flags, tag: 0, dts: at, pts: at, payload };
        if let Some(config) = &unit.config {
            self.push(frame(Flags::CONFIG, config.clone()));
        }
        let flags = if unit.key { Flags::KEY } else { Flags::empty() };
        let frame = frame(flags, unit.payload.clone());
        if codec.kind() != Kind::Audio {
            if unit.key && codec.kind() == Kind::Video {
                self.sound.key_frame(at);
            }
            self.push(frame);
            return;
        }
        let mut made = std::mem::take(&mut self.made);
        let stream = self.publisher.stream();
        let cached = || stream.options().gop_cache;
        let wanted = stream.is_wanted();
        if let Err(error) = self.sound.push(frame, wanted, cached, now_us, &mut made) {
            self.refused = self.refused.saturating_add(1);
            tracing::debug!(%error, "sound cannot be made AAC");
        }
        for frame in made.drain(..) {
            self.push(frame);
        }
        self.made = made;
    }

    fn push(&mut self, frame: Frame) {
        if self.publisher.push(frame).is_err() {
            self.superseded = true;
        }
    }

    /// What it said in a data channel becomes data of its stream.
    pub(crate) fn on_text(&mut self, frame: Frame) {
        self.push(frame);
        self.publisher.flush();
    }

    /// It has gone.
    pub(crate) fn end(&mut self, engine: &Engine) {
        engine.unrelayed(&self.relay);
    }
}
