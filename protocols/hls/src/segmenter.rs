//! The task that packages one stream: frames in, files out. Lives on the shard of the first
//! publisher and outlives publishers, so that numbers continue over a reconnect.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gate::{Host, Publication, Segment};
use hub::{PublisherOwner, Received, Shard, Stream};
use media::Frame;
use tokio::time::MissedTickBehavior;

use crate::disk::Disk;
use crate::gate::Shared;
use crate::writer::Then;
use crate::{
    Delivery, HlsConfig, OnError, Output, Packager, SegmentDone, Storage, StreamName, WallTime,
};

/// A stream without media is looked at this often.
const LOOK: Duration = Duration::from_secs(1);
/// Memory is given back even where files may stay for ever (`hls_dispose 0`).
const MEMORY_STAYS: Duration = Duration::from_secs(120);

/// The wall clock in the zone that names are made in.
pub(crate) fn wall(utc: bool) -> WallTime {
    let now = jiff::Timestamp::now();
    let offset = if utc { 0 } else { jiff::tz::TimeZone::system().to_offset(now).seconds() };
    WallTime { unix_ms: now.as_millisecond(), utc_offset_s: offset }
}

struct Segmenter {
    host: Arc<Host>,
    shared: Arc<Shared>,
    stream: Arc<Stream>,
    vhost: String,
    url: Arc<str>,
    /// Who publishes; let go of when the last segment is out.
    owner: Option<Arc<dyn PublisherOwner>>,
    config: HlsConfig,
    /// The snapshot that `config` was read from.
    snapshot: Arc<gate::conf::Config>,
    packager: Packager,
    delivery: Delivery,
    /// `hls_on_error ignore`: nothing more for this publish.
    stopped: bool,
    told: Option<String>,
    wall: (Instant, WallTime),
}

/// Packages `stream` until it has been idle for `hls_dispose`.
pub(crate) async fn run(
    host: Arc<Host>,
    shared: Arc<Shared>,
    shard: Rc<Shard>,
    stream: Arc<Stream>,
) {
    let snapshot = host.config();
    let Some(config) = snapshot.vhost(&stream.key.vhost).map(|v| HlsConfig::read(&v)) else {
        return;
    };
    let name = StreamName {
        vhost: stream.key.vhost.to_string(),
        app: stream.key.app.to_string(),
        stream: stream.key.name.to_string(),
    };
    let url: Arc<str> = stream.key.url().into();
    let packager = match Packager::new(config.clone(), name) {
        Ok(packager) => packager,
        Err(e) => {
            tracing::warn!(stream = %url, "no HLS for this stream: {e}");
            return;
        }
    };
    let utc = snapshot.root().bool("utc_time");
    let mut receiver = shard.subscribe_frames(&stream);
    let mut this = Segmenter {
        vhost: stream.key.vhost.to_string(),
        owner: None,
        delivery: Delivery::new(
            &shared.store,
            url.clone(),
            &stream.key.vhost,
            Disk::new(&config.path),
            config.storage,
        ),
        config,
        snapshot,
        packager,
        stopped: false,
        told: None,
        wall: (Instant::now(), wall(utc)),
        host,
        shared,
        stream,
        url,
    };
    tracing::info!(
        stream = %this.url,
        fragment = this.config.fragment.as_secs_f32(),
        window = this.config.window.as_secs_f32(),
        playlist = this.packager.playlist_path(),
        "HLS begins"
    );
    let mut last = Instant::now();
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Since when its playlist is gone.
    let mut retired: Option<Instant> = None;
    loop {
        tokio::select! {
            biased;
            received = receiver.recv() => {
                last = Instant::now();
                if retired.is_some() && this.config.enabled && matches!(received, Received::Frame(_))
                {
                    // It begins anew: with the configurations, and at a key frame.
                    retired = None;
                    receiver = shard.subscribe_frames(&this.stream);
                } else {
                    this.take(received);
                }
            }
            _ = look.tick() => {
                this.refresh();
                let idle = this.dispose_after().is_some_and(|d| last.elapsed() >= d);
                if this.config.enabled && !idle {
                    continue;
                }
                match retired {
                    None => {
                        this.retire();
                        retired = Some(Instant::now());
                    }
                    // Whoever has just read the playlist may still fetch what it names (RFC 8216,
                    // section 6.2.2).
                    Some(at) if at.elapsed() >= this.packager.listed() => {
                        this.clear();
                        if !this.stream.is_active() {
                            break;
                        }
                    }
                    Some(_) => {}
                }
            }
        }
    }
    tracing::info!(stream = %this.url, "HLS ends: the stream is idle or HLS is off");
}

impl Segmenter {
    fn take(&mut self, received: Received) {
        match received {
            Received::Published(owner) => {
                self.owner = Some(owner);
                self.stopped = false;
                self.refresh();
            }
            Received::Frame(frame) => self.push(&frame),
            Received::Unpublished => {
                let mut out = Vec::new();
                self.packager.unpublish(&mut out);
                self.carry_out(out);
                self.owner = None;
            }
            Received::Lost(n) => {
                tracing::error!(stream = %self.url, dropped = n, "HLS lost frames: the core is overloaded");
            }
        }
    }

    fn push(&mut self, frame: &Frame) {
        if self.stopped || !self.config.enabled {
            return;
        }
        // The zone is looked up once a second at most.
        if self.wall.0.elapsed() >= LOOK {
            self.wall = (Instant::now(), wall(self.snapshot.root().bool("utc_time")));
            self.refresh();
        }
        let mut now = self.wall.1;
        let passed = i64::try_from(self.wall.0.elapsed().as_millis()).unwrap_or(0);
        now.unix_ms = now.unix_ms.saturating_add(passed);
        let mut out = Vec::new();
        if let Err(left_out) = self.packager.push(frame, now, &mut out) {
            let text = left_out.to_string();
            if self.told.as_ref() != Some(&text) {
                tracing::warn!(stream = %self.url, "HLS leaves out: {text}");
                self.told = Some(text);
            }
        }
        self.carry_out(out);
    }

    fn carry_out(&mut self, out: Vec<Output>) {
        if out.is_empty() {
            return;
        }
        let mut finished = None;
        for output in &out {
            if let Output::Done(done) = output {
                finished = Some(done.clone());
                tracing::debug!(
                    stream = %self.url, seq = done.sequence, us = done.duration_us, "HLS segment"
                );
            }
        }
        let then = finished.and_then(|done| self.tell(done));
        self.delivery.carry_out(&self.shared.writer, &mut self.packager, out, then);
        if self.delivery.health().take_failed() {
            self.on_error();
        }
    }

    /// Tells those who want to know of segments, once this one can be fetched.
    fn tell(&self, done: SegmentDone) -> Option<Then> {
        let owner = self.owner.clone()?;
        let folder = self.config.path.clone();
        Some(Box::new(move || {
            let segment = Segment {
                sequence: done.sequence,
                duration_us: done.duration_us,
                folder: &folder,
                path: &done.path,
                uri: &done.uri,
                playlist: &done.playlist,
            };
            Publication::tell_segment(&*owner, segment);
        }))
    }

    fn on_error(&mut self) {
        match self.config.on_error {
            OnError::Continue => {}
            OnError::Ignore => {
                self.stopped = true;
                tracing::error!(stream = %self.url, "HLS stops for this publish (hls_on_error ignore)");
            }
            OnError::Disconnect => {
                tracing::error!(stream = %self.url, "the publisher is disconnected (hls_on_error disconnect)");
                if let Some(session) = self.host.sessions.get(&self.stream.publisher_id()) {
                    session.kick(gate::session::Kick::Api);
                }
            }
        }
    }

    /// Adopts a reloaded configuration.
    fn refresh(&mut self) {
        let snapshot = self.host.config();
        if Arc::ptr_eq(&snapshot, &self.snapshot) {
            return;
        }
        let new = snapshot.vhost(&self.vhost).map(|v| HlsConfig::read(&v));
        self.snapshot = snapshot;
        let Some(mut new) = new else {
            self.config.enabled = false;
            return;
        };
        // Files that are out stay where they are: another folder or storage is for the next publish
        // of a stream that was disposed.
        new.path.clone_from(&self.config.path);
        new.storage = self.config.storage;
        if new != self.config {
            match self.packager.configure(&new) {
                Ok(()) => {
                    tracing::info!(stream = %self.url, "HLS takes its new configuration");
                    self.config = new;
                }
                Err(e) => tracing::error!(stream = %self.url, "HLS keeps its configuration: {e}"),
            }
        }
    }

    fn dispose_after(&self) -> Option<Duration> {
        if !self.config.dispose.is_zero() {
            return Some(self.config.dispose);
        }
        Some(MEMORY_STAYS)
    }

    /// Whether what is on disk stays when the stream has been idle for long.
    fn keeps_files(&self) -> bool {
        // The process that took over writes to the same files.
        self.host.is_handed_over()
            || (self.config.dispose.is_zero() && self.config.storage == Storage::Disk)
    }

    /// The stream has been idle for long enough, or HLS was switched off: no playlist any more.
    fn retire(&mut self) {
        let mut out = Vec::new();
        self.packager.unpublish(&mut out);
        self.carry_out(out);
        let mut out = Vec::new();
        self.packager.retire(&mut out);
        self.carry_out_gone(out);
    }

    /// Nobody can know of the segments any more.
    fn clear(&mut self) {
        let mut out = Vec::new();
        self.packager.dispose(&mut out);
        self.carry_out_gone(out);
    }

    fn carry_out_gone(&mut self, mut out: Vec<Output>) {
        if self.keeps_files() {
            for output in &mut out {
                if let Output::Remove { on_disk, .. } = output {
                    *on_disk = false;
                }
            }
        }
        self.carry_out(out);
    }
}

/// At an orderly stop: what a stream has on disk goes, unless files are to stay.
pub(crate) fn stop_all(shared: &Shared) {
    shared.sweep();
    shared.writer.flush(Duration::from_secs(1));
}
