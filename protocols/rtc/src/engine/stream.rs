//! A stream on a shard: its packet log, its viewers, and the task that feeds the one and walks
//! the others.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use hub::{Received, Stream};
use media::Kind;
use smallvec::SmallVec;
use tokio::sync::Notify;

use super::batch::Tally;
use super::bridge::Bridge;
use super::log::{AUDIO, LANES, PacketLog};
use super::peer::Peer;
use super::relay::{Packets, Relay};
use super::shard::RtcShard;
use super::timed::Timed;

/// Rates of lanes are taken so often.
const RATE_EVERY_US: u64 = 1_000_000;
/// A walk yields after so long, so that those who knock and the next frame need not wait for it.
const SLICE: Duration = Duration::from_millis(2);
/// Viewers whose sends go together, and so between two looks at the clock, at most.
const TURNS: usize = 32;
/// Up to so many viewers get sound at once; beyond, it rides with the next picture.
const FEW: usize = 48;
/// From so many viewers on two blocks of Opus make one packet: 20 ms more of delay for a quarter
/// fewer calls of the kernel.
const CROWD: usize = 200;
/// It waits no longer than this.
const HOLD: Duration = Duration::from_millis(25);
/// The same while viewers are divided into groups: each turn of theirs then carries as many sounds
/// as pictures, and a picture's call has room for one. At 25 ms every third call carried a sound
/// alone; from 10 pictures a second on, 100 ms are never reached.
const GROUPS_HOLD: Duration = Duration::from_millis(100);

/// See the module. Lives while it has viewers.
pub(crate) struct RtcStream {
    pub(crate) stream: Arc<Stream>,
    pub(crate) log: RefCell<PacketLog>,
    /// Its data, and who takes them.
    pub(crate) timed: Timed,
    viewers: RefCell<Vec<Rc<Peer>>>,
    relay: RefCell<Option<Arc<Relay>>>,
    /// Pictures have come since the last walk, and when the first packet did.
    video: Cell<bool>,
    since: Cell<Option<Instant>>,
    wake: Notify,
    /// Walks so far: whose turn it is.
    turn: Cell<usize>,
    /// Bytes of each lane since the rates were taken, when that was, and the rates in bit/s.
    bytes: Cell<[u64; LANES]>,
    rated_us: Cell<u64>,
    rates: Cell<[u64; LANES]>,
    /// The last viewer has left.
    over: Cell<bool>,
}

impl RtcStream {
    /// Without viewers; [`run`](Self::run) makes it work.
    pub(crate) fn new(stream: Arc<Stream>) -> Rc<Self> {
        Rc::new(Self {
            stream,
            log: RefCell::default(),
            timed: Timed::default(),
            viewers: RefCell::default(),
            relay: RefCell::default(),
            video: Cell::default(),
            since: Cell::default(),
            wake: Notify::new(),
            turn: Cell::default(),
            bytes: Cell::default(),
            rated_us: Cell::default(),
            rates: Cell::default(),
            over: Cell::default(),
        })
    }

    /// Adds a viewer, who takes its place by itself.
    pub(crate) fn enter(&self, viewer: Rc<Peer>) {
        self.viewers.borrow_mut().push(viewer);
    }

    /// Removes a viewer; `true` when it was the last.
    pub(crate) fn leave(&self, viewer: &Peer) -> bool {
        self.timed.leave(viewer);
        let mut viewers = self.viewers.borrow_mut();
        if let Some(at) = viewers.iter().position(|v| std::ptr::eq(&**v, viewer)) {
            viewers.swap_remove(at);
        }
        let last = viewers.is_empty();
        if last {
            self.over.set(true);
            self.wake.notify_one();
        }
        last
    }

    /// Who relays the stream, if it was published by WebRTC.
    pub(crate) fn relay(&self) -> Option<Arc<Relay>> {
        self.relay.borrow().clone()
    }

    /// From here on packets come from a publisher of WebRTC.
    pub(crate) fn attach(&self, relay: Arc<Relay>, shard: usize) {
        // The hub and the engine both tell of it.
        if self.relay.borrow().as_ref().is_some_and(|known| Arc::ptr_eq(known, &relay)) {
            return;
        }
        relay.set_taker(shard, true);
        if let Some(old) = self.relay.borrow_mut().replace(relay.clone()) {
            old.set_taker(shard, false);
        }
        {
            let mut log = self.log.borrow_mut();
            log.begin_anew();
            for track in &relay.tracks {
                for lane in track.lanes.clone() {
                    log.set_codec(lane, Some(track.codec));
                }
            }
        }
        self.restart_viewers();
    }

    /// The publisher of WebRTC has gone.
    fn detach(&self, shard: usize) {
        if let Some(relay) = self.relay.borrow_mut().take() {
            relay.set_taker(shard, false);
        }
    }

    fn restart_viewers(&self) {
        for viewer in self.viewers.borrow().iter() {
            viewer.restart(&self.log.borrow());
        }
    }

    /// Takes what a publisher of WebRTC sent. What is still on its way from one who has lost the
    /// stream is dropped: its numbers would lead viewers astray.
    pub(crate) fn relayed(&self, relay: &Arc<Relay>, packets: &Packets, now_us: u64) {
        if !self.relay.borrow().as_ref().is_some_and(|known| Arc::ptr_eq(known, relay)) {
            return;
        }
        let mut bytes = self.bytes.get();
        packets.count(&mut bytes);
        let since = now_us.saturating_sub(self.rated_us.get());
        if since >= RATE_EVERY_US {
            self.rates.set(bytes.map(|b| b.saturating_mul(8_000_000) / since.max(1)));
            self.rated_us.set(now_us);
            bytes = [0; LANES];
        }
        self.bytes.set(bytes);
        let mut log = self.log.borrow_mut();
        packets.append_to(&mut log);
        log.trim();
        drop(log);
        self.came(packets.has_video());
        self.wake.notify_one();
    }

    /// The largest size of picture that fits into so many bits per second together with the sound;
    /// the smallest that is sent when none does.
    pub(crate) fn lane_for(&self, bitrate: u64) -> Option<u8> {
        let relay = self.relay.borrow();
        let video = relay.as_ref()?.tracks.iter().find(|t| *t.lanes.start() != AUDIO)?;
        let rates = self.rates.get();
        let rate = |lane: u8| rates.get(usize::from(lane)).copied().unwrap_or(0);
        let sound = rate(AUDIO);
        // Sizes that the publisher does not send now are none.
        let mut sent: SmallVec<[u8; LANES]> =
            video.lanes.clone().filter(|lane| rate(*lane) > 0).collect();
        sent.sort_by_key(|lane| rate(*lane));
        let fits = |lane: &&u8| rate(**lane).saturating_add(sound) <= bitrate;
        sent.iter().rev().find(fits).or_else(|| sent.first()).copied()
    }

    /// Whether a lane's pictures are of more bits than another's.
    pub(crate) fn is_larger(&self, lane: u8, than: u8) -> bool {
        let rates = self.rates.get();
        rates.get(usize::from(lane)) > rates.get(usize::from(than))
    }

    fn came(&self, video: bool) {
        self.video.set(self.video.get() || video);
        if self.since.get().is_none() {
            self.since.set(Some(Instant::now()));
        }
    }

    /// Viewers wait for a picture that they can begin with.
    pub(crate) fn want_key(&self, lane: u8) {
        if let Some(relay) = &*self.relay.borrow() {
            relay.want_key(lane);
        }
    }

    /// Feeds the log and walks the viewers until the last one has left.
    pub(crate) async fn run(self: Rc<Self>, shard: Rc<RtcShard>, mut bridge: Bridge) {
        let receiver = shard.hub_shard().subscribe_frames(&self.stream);
        while !self.over.get() {
            let due = self.since.get().map(|since| (since + hold(&shard)).into());
            tokio::select! {
                item = receiver.recv() => self.take(item, &shard, &mut bridge),
                () = self.wake.notified() => {}
                () = sleep_until(due) => {}
            }
            while let Some(item) = receiver.recv().now_or_never() {
                self.take(item, &shard, &mut bridge);
            }
            // Packets come as they are: nobody has to make frames of them for us.
            if self.relay.borrow().is_some() {
                receiver.skip_publisher();
            }
            if self.is_due(hold(&shard)) {
                self.walk(&shard).await;
            }
        }
        self.detach(shard.id());
    }

    fn take(&self, item: Received, shard: &Rc<RtcShard>, bridge: &mut Bridge) {
        match item {
            Received::Published(_) => {
                bridge.restart();
                self.timed.restart();
                self.detach(shard.id());
                self.log.borrow_mut().begin_anew();
                self.restart_viewers();
                if let Some(relay) = shard.engine().relay_of(self.stream.id) {
                    self.attach(relay, shard.id());
                }
            }
            Received::Unpublished => {
                self.log.borrow_mut().clear_join();
                self.detach(shard.id());
            }
            Received::Lost(_) => {}
            Received::Frame(frame) if frame.kind() == Kind::Data => self.timed.push(&frame, shard),
            Received::Frame(frame) => {
                if self.relay.borrow().is_some() {
                    return;
                }
                let now_us = shard.clock().now_us();
                let mut log = self.log.borrow_mut();
                let crowd = self.viewers.borrow().len() > CROWD;
                let change = bridge.push(&frame, crowd, &mut log, shard.clock(), now_us);
                log.trim();
                drop(log);
                if change.codec {
                    self.restart_viewers();
                }
                if change.packets {
                    self.came(change.video);
                }
            }
        }
    }

    /// Whether it is time to walk: something came, and it is a picture, or few wait for it, or it
    /// has waited long enough.
    fn is_due(&self, hold: Duration) -> bool {
        let Some(since) = self.since.get() else { return false };
        self.video.get() || self.viewers.borrow().len() <= FEW || since.elapsed() >= hold
    }

    /// Serves a group, in slices: everybody while the shard has time for that, each second to fourth
    /// viewer in turn when it has not.
    async fn walk(&self, shard: &RtcShard) {
        self.since.set(None);
        self.video.set(false);
        let few = self.viewers.borrow().len() <= FEW;
        let groups = if few { 1 } else { shard.groups() };
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let mut begun = Instant::now();
        let mut at = turn % groups;
        loop {
            let (next, more) = self.walk_slice(shard, at, groups, begun);
            at = next;
            shard.walked(begun.elapsed());
            if !more {
                break;
            }
            tokio::task::yield_now().await;
            begun = Instant::now();
        }
    }

    /// Serves viewers, from place `at` on each `groups`th, for as long as a slice; gives the place
    /// of the next, and whether there is one.
    fn walk_slice(
        &self,
        shard: &RtcShard,
        at: usize,
        groups: usize,
        begun: Instant,
    ) -> (usize, bool) {
        let viewers = self.viewers.borrow();
        let log = self.log.borrow();
        let mut batch = shard.batch();
        let mut at = at;
        loop {
            batch.gather();
            // Whose sends end where.
            let mut turns: SmallVec<[(usize, usize); TURNS]> = SmallVec::new();
            while turns.len() < TURNS && !batch.is_full() {
                let Some(viewer) = viewers.get(at) else { break };
                let before = batch.gathered();
                viewer.walk(shard, &log, &mut batch);
                if batch.gathered() > before {
                    turns.push((at, batch.gathered()));
                }
                at = at.saturating_add(groups);
            }
            let more = at < viewers.len();
            let mut turns = turns.into_iter();
            let mut turn = turns.next();
            let mut all = Tally::default();
            let mut told = 0usize;
            batch.send_gathered(|sent| {
                all = all.and(sent);
                told = told.saturating_add(1);
                if let Some((place, _)) = turn.filter(|(_, end)| *end == told) {
                    if let Some(viewer) = viewers.get(place) {
                        viewer.sent(shard, std::mem::take(&mut all));
                    }
                    turn = turns.next();
                }
            });
            if !more || begun.elapsed() >= SLICE {
                return (at, more);
            }
        }
    }
}

/// How long sound waits for a picture.
fn hold(shard: &RtcShard) -> Duration {
    if shard.groups() > 1 { GROUPS_HOLD } else { HOLD }
}

async fn sleep_until(when: Option<tokio::time::Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use hub::{Hub, StreamKey};
    use media::Codec;

    use super::*;
    use crate::engine::log::{New, VIDEO};
    use crate::engine::tracks::Offered;

    fn publisher(stream: &Stream) -> Arc<Relay> {
        Relay::new(stream.id, vec![Offered::new(Codec::Vp8, None, 1)])
    }

    fn packet() -> Packets {
        let mut packets = Packets::default();
        let payload = &[1; 100];
        packets.push(&New { lane: VIDEO, seq: 1, timestamp: 1, marker: true, key: true, payload });
        packets
    }

    #[test]
    fn what_comes_late_of_a_publisher_that_lost_the_stream_is_dropped() {
        let hub = Hub::new(|id| id.to_string());
        let stream = hub.open(&StreamKey::new("__defaultVhost__", "live", "s"));
        let (old, new) = (publisher(&stream), publisher(&stream));
        let viewed = RtcStream::new(stream);
        viewed.attach(old.clone(), 0);
        viewed.relayed(&old, &packet(), 0);
        assert_eq!(viewed.log.borrow().head(), 2);
        viewed.attach(new.clone(), 0);
        assert!(!old.is_taker(0) && new.is_taker(0));
        viewed.relayed(&old, &packet(), 0);
        assert_eq!(viewed.log.borrow().head(), 2);
        viewed.relayed(&new, &packet(), 0);
        assert_eq!(viewed.log.borrow().head(), 3);
    }
}
