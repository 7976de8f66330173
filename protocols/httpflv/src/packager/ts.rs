//! MPEG-TS bodies: transport packets.

use std::collections::VecDeque;

use container::ts::{LeftOut, Muxer, PACKET, PID_PMT, TsConfig};
use hub::{Headers, Packager};
use media::{Codec, Frame, Kind, Timestamp};

use super::{Seed, Seen, Tracks, Wire};
use crate::wire::Framing;

/// PAT and PMT, one packet each.
const TABLES: usize = 2 * PACKET;
/// Key frames of which it is remembered that tables stand in front of them: those of half a minute
/// at least, but for streams of key frames alone.
const ENTRIES: usize = 64;

pub(super) struct TsPackager {
    framing: Framing,
    tracks: Tracks,
    muxer: Muxer,
    /// The generation of the headers that the muxer was last given configurations from.
    generation: u64,
    /// The kinds that the muxer took; codings that MPEG-TS does not know are not among them.
    carried: Seen,
    tables: Tables,
    left_out: Option<LeftOut>,
}

/// The tables that were written last, for those who begin behind them.
#[derive(Default)]
struct Tables {
    packets: Vec<u8>,
    /// Time of the message that they stand in; nothing while they are still to come.
    at: Option<Timestamp>,
    /// Times of the newest messages that begin with tables and a key frame.
    entries: VecDeque<Timestamp>,
}

/// What a muxer declares at first: what is known to come, or what is configured.
///
/// A track that is known but has no configuration (MP3) is declared when its first frame comes:
/// a wrong guess would stay in the tables for a second, and players would wait for that track.
fn declared(tracks: Tracks, headers: &Headers) -> TsConfig {
    let known = headers.has_audio || headers.has_video;
    let first = |kind, guess| {
        if tracks.guess && known {
            headers.configs.iter().find(|c| c.kind() == kind).map(|c| c.codec)
        } else {
            tracks.says(kind).then_some(guess)
        }
    };
    TsConfig {
        video: first(Kind::Video, Codec::H264),
        audio: first(Kind::Audio, Codec::Aac),
        audio_batch_us: 0,
    }
}

impl TsPackager {
    pub(super) fn new(wire: Wire, seed: &Seed) -> Self {
        let mut made = Self {
            framing: wire.framing,
            tracks: wire.tracks,
            muxer: Muxer::new(declared(wire.tracks, &seed.headers)),
            generation: 0,
            carried: Seen::default(),
            tables: Tables::default(),
            left_out: None,
        };
        made.configure(&seed.headers);
        made
    }

    /// Gives the muxer configurations that it has not seen pass.
    fn configure(&mut self, headers: &Headers) {
        self.generation = headers.generation;
        let mut nothing = Vec::new();
        for config in &headers.configs {
            if self.tracks.carries(config.kind()) && self.muxer.push(config, &mut nothing).is_ok() {
                self.carried.note(config.kind());
            }
        }
    }

    /// Begins anew when the publisher of now sends less than the one before: the tables would
    /// promise tracks that never come.
    fn follow(&mut self, headers: &Headers) {
        let Seen { audio, video } = self.carried;
        let began = headers.has_audio || headers.has_video;
        if began && ((audio && !headers.has_audio) || (video && !headers.has_video)) {
            self.muxer = Muxer::follow(declared(self.tracks, headers), &self.muxer);
            self.carried = Seen::default();
            self.configure(headers);
            // Who begins before the first frame of the new publisher needs them already.
            self.tables.at = None;
            self.tables.packets.clear();
            self.muxer.preview(&mut self.tables.packets);
        }
        if self.generation != headers.generation {
            self.configure(headers);
        }
    }

    /// What tracks were left out for, when it was not the same before.
    fn note(&mut self, result: Result<(), LeftOut>) {
        let Err(why) = result else { return };
        if self.left_out != Some(why) {
            self.left_out = Some(why);
            tracing::warn!(format = "ts", "frames are left out of the stream: {why}");
        }
    }

    fn write_tables(&self, out: &mut Vec<u8>) {
        let packets = &self.tables.packets;
        self.framing.wrap(packets.len(), out, |out| out.extend_from_slice(packets));
    }
}

impl Tables {
    /// Whether who begins at `at` may not meet tables at once: between two key frames, where
    /// tables come now and then, or where no frame is a key, as in sound alone. At the time of the
    /// newest tables it may be in front of their message or behind it; the same twice do no harm.
    fn lie_behind(&self, at: Timestamp) -> bool {
        !self.entries.contains(&at) || self.at.is_some_and(|newest| newest <= at)
    }

    /// Remembers the tables among `packets`, if there are any.
    fn note(&mut self, packets: &[u8], at: Timestamp, key: bool) {
        if key && container::ts::is_entry(packets) {
            if self.entries.len() >= ENTRIES {
                self.entries.pop_front();
            }
            self.entries.push_back(at);
        }
        for packet in packets.chunks_exact(PACKET) {
            let Some(&[_, high, low]) = packet.first_chunk::<3>() else { return };
            let pid = u16::from_be_bytes([high & 0x1f, low]);
            if pid == 0 || pid == PID_PMT {
                if pid == 0 {
                    self.packets.clear();
                }
                self.packets.extend_from_slice(packet);
                self.at = Some(at);
            } else if pid_is_media(packet) {
                return; // tables stand in front of the media that they are for
            }
        }
    }
}

/// Whether a packet begins media: it has a payload, unlike those that carry only the clock.
fn pid_is_media(packet: &[u8]) -> bool {
    packet.get(3).is_some_and(|flags| flags & 0x10 != 0)
}

impl Packager for TsPackager {
    fn push(&mut self, frame: &Frame, out: &mut Vec<u8>) {
        if !self.tracks.carries(frame.kind()) {
            return;
        }
        let Self { framing, muxer, tables, .. } = self;
        let payload = frame.payload.len();
        let expected = if frame.is_media() {
            let packets = payload.div_ceil(PACKET.saturating_sub(4)).saturating_add(1);
            let tables = if frame.is_key() { TABLES } else { 0 };
            packets.saturating_mul(PACKET).saturating_add(tables)
        } else {
            0
        };
        let mut result = Ok(());
        framing.wrap(expected, out, |out| {
            let from = out.len();
            result = muxer.push(frame, out);
            tables.note(out.get(from..).unwrap_or_default(), frame.dts, frame.is_key());
        });
        if result.is_ok() {
            self.carried.note(frame.kind());
        }
        self.note(result);
    }

    fn prelude(&mut self, headers: &Headers, at: Option<Timestamp>, out: &mut Vec<u8>) {
        self.follow(headers);
        if at.is_none_or(|at| self.tables.lie_behind(at)) {
            self.write_tables(out);
        }
    }

    fn resume(&mut self, _: &Headers, at: Timestamp, out: &mut Vec<u8>) {
        if self.tables.lie_behind(at) {
            self.write_tables(out);
        }
    }
}
