//! The task that packages one stream: frames in, files out. Lives on the shard of the first
//! publisher and outlives publishers, so that numbers continue over a reconnect.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gate::{Host, Publication, Segment};
use hub::{PublisherOwner, Received, Shard, Stream};
use media::Frame;
use tokio::time::sleep_until;

use crate::disk::Disk;
use crate::gate::Shared;
use crate::writer::{Health, Then};
use crate::{HlsConfig, OnError, Output, Packager, SegmentDone, Storage, StreamName, WallTime};

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
    disk: Disk,
    health: Arc<Health>,
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
    let receiver = shard.subscribe_frames(&stream);
    let mut this = Segmenter {
        vhost: stream.key.vhost.to_string(),
        owner: None,
        disk: Disk::new(&config.path),
        config,
        snapshot,
        packager,
        health: Arc::default(),
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
    loop {
        tokio::select! {
            biased;
            received = receiver.recv() => {
                last = Instant::now();
                this.take(received);
            }
            () = sleep_until((Instant::now() + LOOK).into()) => {
                this.refresh();
                let dispose = this.dispose_after();
                if !this.config.enabled || dispose.is_some_and(|d| last.elapsed() >= d) {
                    break;
                }
            }
        }
    }
    this.end();
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
            // Playlists are always at hand: they are small, and requests for them are answered
            // with sessions in mind. Segments only where memory is meant to hold them.
            let playlist = match output {
                Output::Write { path, .. } | Output::Remove { path, .. } => {
                    path == self.packager.playlist_path()
                }
                Output::Done(_) => false,
            };
            if playlist || self.config.storage.in_memory() {
                self.shared.store.apply(&self.vhost, output);
            }
        }
        if self.config.storage.on_disk() {
            let then = finished.and_then(|done| self.tell(done));
            self.shared.writer.send(&self.url, &self.disk, out, &self.health, then);
        } else if let Some(then) = finished.and_then(|done| self.tell(done)) {
            then();
        }
        if self.health.take_failed() {
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

    /// The stream has been idle for long enough, or HLS was switched off.
    fn end(mut self) {
        // The process that took over writes to the same files.
        let keep_files = self.host.is_handed_over()
            || (self.config.dispose.is_zero() && self.config.storage == Storage::Disk);
        let mut out = Vec::new();
        self.packager.unpublish(&mut out);
        if !keep_files {
            self.packager.dispose(&mut out);
        } else {
            self.shared.store.remove(&self.vhost, self.packager.playlist_path());
        }
        self.carry_out(out);
        tracing::info!(stream = %self.url, "HLS ends: the stream is idle or HLS is off");
    }
}

/// At an orderly stop: what a stream has on disk goes, unless files are to stay.
pub(crate) fn stop_all(shared: &Shared) {
    shared.sweep();
    shared.writer.flush(Duration::from_secs(1));
}
