//! One line of packets of a publisher.

use bytes::Bytes;
use media::{Codec, Kind};
use rtp::clock::TrackId;
use rtp::jitter::{self, Pushed, Reorder};
use rtp::nack::{self, Generator, Seen};
use rtp::packet::Packet;
use rtp::payload::{Depacketizer, PacketMeta, Unit, scan};
use rtp::rtcp::ReceiverStats;
use rtp::seq::{Extender16, Extender32};

/// How long a packet may be waited for before what follows it becomes frames: two requests over a
/// path of 100 ms. At half, a loss on such a path costs all until the next key frame.
const WAIT_US: u64 = 400_000;

/// What a source is.
#[derive(Clone, Copy, Debug)]
pub(super) struct SourceOptions {
    pub(super) codec: Codec,
    pub(super) clock: u32,
    pub(super) payload_type: u8,
    /// Lost packets are asked for.
    pub(super) nack: bool,
    /// It becomes frames.
    pub(super) frames: bool,
}

struct Held {
    payload: Bytes,
    timestamp: i64,
    marker: bool,
}

/// See the module.
pub(super) struct Source {
    pub(super) ssrc: u32,
    pub(super) payload_type: u8,
    pub(super) track: TrackId,
    pub(super) options: SourceOptions,
    pub(super) stats: ReceiverStats,
    /// A key frame is to be asked for, and when one last was.
    pub(super) wants_key: bool,
    pub(super) asked_us: u64,
    seqs: Extender16,
    times: Extender32,
    nack: Option<Generator>,
    reorder: Option<Reorder<Held>>,
    depacketizer: Option<Depacketizer>,
}

impl Source {
    pub(super) fn new(ssrc: u32, track: TrackId, options: SourceOptions) -> Self {
        let depacketizer = options.frames.then(|| Depacketizer::new(options.codec).ok()).flatten();
        let wait = jitter::Options { max_delay_us: WAIT_US, ..jitter::Options::default() };
        Self {
            ssrc,
            payload_type: options.payload_type,
            track,
            options,
            stats: ReceiverStats::new(options.clock),
            wants_key: options.codec.kind() == Kind::Video,
            asked_us: 0,
            seqs: Extender16::new(),
            times: Extender32::new(),
            nack: options.nack.then(|| Generator::new(nack::Options::default())),
            reorder: depacketizer.is_some().then(|| Reorder::new(wait)),
            depacketizer,
        }
    }

    /// Takes a packet: its extended number, and whether a decoder can begin with it. `None`: it was
    /// here before. What was sent again, to repair a loss or to probe the path, is no arrival as
    /// far as statistics go (RFC 4588 §8.6).
    pub(super) fn take(
        &mut self,
        packet: &Packet<'_>,
        repaired: bool,
        now_us: u64,
    ) -> Option<(u64, bool)> {
        let seq = self.seqs.extend(packet.sequence);
        let timestamp = self.times.extend(packet.timestamp);
        if !repaired {
            self.stats.on_packet(seq, packet.timestamp, now_us);
        }
        if let Some(nack) = &mut self.nack
            && nack.on_packet(seq, now_us) == Seen::Stale
        {
            return None;
        }
        if let Some(reorder) = &mut self.reorder {
            let payload = Bytes::copy_from_slice(packet.payload);
            let held = Held { payload, timestamp, marker: packet.marker };
            match reorder.push(seq, packet.payload.len(), held, now_us) {
                Pushed::Taken => {}
                Pushed::Duplicate => return None,
                // Too late for frames; viewers of WebRTC wait as long as they like.
                Pushed::Late => {}
            }
        }
        let key = self.options.codec.kind() == Kind::Audio
            || scan::starts_key_frame(self.options.codec, packet.payload);
        Some((seq, key))
    }

    /// The next unit that is whole, if there is one by now.
    pub(super) fn next_unit(&mut self, now_us: u64) -> Option<Unit> {
        let depacketizer = self.depacketizer.as_mut()?;
        let reorder = self.reorder.as_mut()?;
        loop {
            if let Some(unit) = depacketizer.pull() {
                return Some(unit);
            }
            let next = reorder.pop(now_us)?;
            let meta = PacketMeta {
                seq: next.sequence,
                timestamp: next.item.timestamp,
                marker: next.item.marker,
                lost_before: next.lost_before > 0 || next.reset,
            };
            if let Err(error) = depacketizer.push(&next.item.payload, meta) {
                tracing::debug!(ssrc = self.ssrc, %error, "a picture cannot be put together");
            }
        }
    }

    /// The 32 bits that travelled for an extended timestamp.
    pub(super) fn wire_time(&self, timestamp: i64) -> u32 {
        let [.., a, b, c, d] = timestamp.to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }

    /// What is to be asked for now.
    pub(super) fn poll_nacks(&mut self, now_us: u64, out: &mut Vec<u16>) {
        if let Some(nack) = &mut self.nack {
            nack.poll(now_us, out);
        }
    }

    /// Nothing can be shown before a key frame comes.
    pub(super) fn needs_key(&self) -> bool {
        self.depacketizer.as_ref().is_some_and(Depacketizer::needs_key)
    }
}
