//! What a new taker gets before the first frame: metadata, configurations, tracks.

use std::sync::Arc;

use bytes::Bytes;
use media::{Codec, Frame, Kind};
use smallvec::SmallVec;

use super::MAX_TRACKS;

/// What a new taker gets before the first frame.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    /// The stream's metadata (`onMetaData`), if the publisher sent any.
    pub metadata: Option<Arc<Frame>>,
    /// Configurations, audio before video, lower tracks first.
    pub configs: SmallVec<[Arc<Frame>; 4]>,
    /// Goes up with each change of the above.
    pub generation: u64,
    /// A video frame or configuration has been seen from this publisher.
    pub has_video: bool,
    /// An audio frame or configuration has been seen from this publisher.
    pub has_audio: bool,
}

impl Headers {
    /// Metadata, audio, video: the order in which SRS sends them.
    pub fn in_order(&self) -> impl Iterator<Item = &Arc<Frame>> {
        self.metadata.iter().chain(self.configs.iter())
    }

    /// Takes a frame in. `true` when it is a configuration or metadata that differs from what
    /// was known.
    pub(crate) fn book(&mut self, frame: &Frame) -> bool {
        let kind = frame.kind();
        match kind {
            Kind::Video => self.has_video = true,
            Kind::Audio => self.has_audio = true,
            Kind::Data => {}
        }
        if !frame.is_config() || self.holds(frame) {
            return false;
        }
        self.generation = self.generation.saturating_add(1);
        if kind == Kind::Data && frame.track == 0 {
            self.metadata = Some(Arc::new(frame.clone()));
            return true;
        }
        self.configs.retain(|f| f.kind() != kind || f.track != frame.track);
        if self.configs.len() < MAX_TRACKS {
            self.configs.push(Arc::new(frame.clone()));
            self.configs.sort_by_key(|f| (f.kind() == Kind::Video, f.track));
        }
        true
    }

    /// Whether this very configuration is known already.
    pub(crate) fn holds(&self, frame: &Frame) -> bool {
        let same = |f: &&Arc<Frame>| f.codec == frame.codec && f.payload == frame.payload;
        if frame.kind() == Kind::Data && frame.track == 0 {
            return self.metadata.as_ref().is_some_and(|f| same(&f));
        }
        self.configs.iter().any(|f| f.track == frame.track && same(&f))
    }
}

/// A track as the API tells it.
#[derive(Clone, Debug)]
pub struct TrackState {
    /// Coding of the track.
    pub codec: Codec,
    /// Track number within its kind.
    pub track: u8,
    /// The container's name for the coding, see [`Frame::tag`].
    pub tag: u32,
    /// Its configuration, if the coding has one and it arrived.
    pub config: Option<Bytes>,
    /// The first bytes of its first frame, for codings that describe themselves in band.
    pub first: Bytes,
    /// Media frames so far.
    pub frames: u64,
}
