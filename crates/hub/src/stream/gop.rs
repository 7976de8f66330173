//! The rule by which frames are kept for joiners.

use media::{Frame, Kind};

use super::PublishOptions;

/// Audio frames after which a stream without video counts as pure audio, which is not cached.
/// About 2.5 s of AAC: SRS uses the same number.
pub(super) const PURE_AUDIO_FRAMES: usize = 115;

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
    audio_run: usize,
}

impl GopRule {
    pub(crate) fn new(options: &PublishOptions) -> Self {
        Self {
            enabled: options.gop_cache,
            max_frames: options.gop_cache_max_frames,
            open: false,
            frames: 0,
            audio_run: 0,
        }
    }

    pub(super) fn reconfigure(&mut self, options: &PublishOptions) {
        self.enabled = options.gop_cache;
        self.max_frames = options.gop_cache_max_frames;
        if !self.enabled {
            self.open = false;
        }
    }

    /// `new_config`: the frame is a configuration that differs from the one before.
    pub(crate) fn observe(&mut self, frame: &Frame, new_config: bool) -> GopAction {
        if !self.enabled {
            return GopAction::Pass;
        }
        let kind = frame.kind();
        if frame.is_config() {
            // What was cached was coded with the old configuration: a joiner gets the new one
            // first and could not decode it.
            if kind == Kind::Video && new_config && self.open {
                self.open = false;
                return GopAction::Clear;
            }
            return if self.open && kind != Kind::Data { GopAction::Keep } else { GopAction::Pass };
        }
        if kind == Kind::Video {
            self.audio_run = 0;
            if frame.is_key() && frame.track == 0 {
                self.open = true;
                self.frames = 1;
                return GopAction::Restart;
            }
        } else if kind == Kind::Audio {
            self.audio_run = self.audio_run.saturating_add(1);
            if self.open && self.audio_run > PURE_AUDIO_FRAMES {
                self.open = false;
                return GopAction::Clear;
            }
        }
        if !self.open {
            return GopAction::Pass;
        }
        self.frames = self.frames.saturating_add(1);
        if self.max_frames > 0 && self.frames > self.max_frames {
            self.open = false;
            return GopAction::Clear;
        }
        GopAction::Keep
    }
}
