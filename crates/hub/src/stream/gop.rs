//! The rule by which frames are kept for joiners.

use media::{Frame, Kind};

use super::PublishOptions;

/// Audio frames after which a stream without video counts as pure audio, which is not cached.
/// About 2.5 s of AAC: SRS uses the same number.
pub(crate) const PURE_AUDIO_FRAMES: usize = 115;

/// Bytes of one GOP that are kept for joiners, whatever its number of frames: half a minute of
/// 8 Mbit/s. At half, long GOPs of 4K streams are not cached; at double, so is more of what a
/// publisher without key frames sends.
pub(crate) const MAX_GOP_BYTES: usize = 32 << 20;

/// What a frame means for the cache of joiners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GopAction {
    /// A key frame: the cache begins here.
    Restart,
    /// Belongs to the cache.
    Keep,
    /// The cache is of no use any more: joiners start at the head.
    Clear,
    /// Not cached.
    Pass,
}

/// Decides which frames a joiner gets; the same rule for the stream and for each log.
#[derive(Clone, Debug)]
pub(crate) struct GopRule {
    enabled: bool,
    max_frames: usize,
    open: bool,
    frames: usize,
    bytes: usize,
    audio_run: usize,
}

impl GopRule {
    pub(crate) fn new(options: &PublishOptions) -> Self {
        Self {
            enabled: options.gop_cache,
            max_frames: options.gop_cache_max_frames,
            open: false,
            frames: 0,
            bytes: 0,
            audio_run: 0,
        }
    }

    pub(crate) fn reconfigure(&mut self, options: &PublishOptions) {
        self.enabled = options.gop_cache;
        self.max_frames = options.gop_cache_max_frames;
        if !self.enabled {
            self.open = false;
        }
    }

    /// No picture has come for so long that nobody should wait for one.
    pub(crate) fn is_sound_alone(&self) -> bool {
        self.audio_run > PURE_AUDIO_FRAMES
    }

    /// `new_config`: the frame is a configuration that differs from the one before.
    pub(crate) fn observe(&mut self, frame: &Frame, new_config: bool) -> GopAction {
        let kind = frame.kind();
        if frame.is_media() {
            match kind {
                Kind::Video => self.audio_run = 0,
                Kind::Audio => self.audio_run = self.audio_run.saturating_add(1),
                Kind::Data => {}
            }
        }
        if !self.enabled {
            return GopAction::Pass;
        }
        self.bytes = self.bytes.saturating_add(frame.payload.len());
        if frame.is_config() {
            // What was cached was coded with the old configuration: a joiner gets the new one
            // first and could not decode it.
            if kind == Kind::Video && new_config && self.open {
                self.open = false;
                return GopAction::Clear;
            }
            if !self.open || kind == Kind::Data {
                return GopAction::Pass;
            }
        } else if kind == Kind::Video && frame.is_key() && frame.track == 0 {
            self.open = true;
            self.frames = 1;
            self.bytes = frame.payload.len();
            return GopAction::Restart;
        }
        if !self.open {
            return GopAction::Pass;
        }
        self.frames = self.frames.saturating_add(1);
        let many = self.max_frames > 0 && self.frames > self.max_frames;
        if many || self.bytes > MAX_GOP_BYTES || self.is_sound_alone() {
            self.open = false;
            return GopAction::Clear;
        }
        GopAction::Keep
    }
}
