//! What a stream has for those who play it by WebRTC.

use std::ops::RangeInclusive;

use container::amf::{self, Limits};
use hub::Stream;
use media::{Codec, Frame, Kind};

use super::log::{AUDIO, VIDEO};
use super::relay::Relay;
use crate::negotiate::Track;

/// A track that a publisher of WebRTC offers, and the lanes that it comes in.
#[derive(Clone, Debug)]
pub(crate) struct Offered {
    pub(crate) codec: Codec,
    pub(crate) profile_level_id: Option<u32>,
    pub(crate) lanes: RangeInclusive<u8>,
}

impl Offered {
    /// Sound, or a picture in so many sizes.
    pub(crate) fn new(codec: Codec, profile_level_id: Option<u32>, sizes: u8) -> Self {
        let lanes = match codec.kind() {
            Kind::Audio => AUDIO..=AUDIO,
            _ => VIDEO..=VIDEO.saturating_add(sizes.saturating_sub(1)),
        };
        Self { codec, profile_level_id, lanes }
    }

    /// For the negotiation with a viewer.
    pub(crate) fn track(&self) -> Track {
        Track { profile_level_id: self.profile_level_id, ..Track::new(self.codec) }
    }
}

/// Whether RTP can carry it to a browser as it is.
pub(crate) const fn travels(codec: Codec) -> bool {
    matches!(codec, Codec::H264 | Codec::H265 | Codec::Av1 | Codec::Vp8 | Codec::Vp9 | Codec::Opus)
}

/// Whether it is made Opus for those who play by WebRTC.
pub(crate) const fn becomes_opus(codec: Codec) -> bool {
    matches!(codec, Codec::Aac | Codec::Mp3 | Codec::G711A | Codec::G711U)
}

/// Blocks of sound after which a stream that has shown no picture counts as sound alone: 2.5 s of
/// AAC, the number by which the cache for joiners decides it, and SRS.
const SOUND_ALONE: u64 = 115;

/// What metadata name of a stream that has pictures (FLV version 10.1 E.5, Enhanced RTMP 2).
const OF_PICTURES: [&str; 6] =
    ["videocodecid", "width", "height", "videodatarate", "framerate", "videoTrackIdInfoMap"];

/// Whether a stream has no pictures: by what its publisher of WebRTC agreed to or, for others, by
/// what came of it or what its metadata name.
pub(crate) fn is_sound_alone(stream: &Stream, relay: Option<&Relay>) -> bool {
    if let Some(relay) = relay {
        return relay.tracks.iter().all(|track| track.codec.kind() == Kind::Audio);
    }
    let headers = stream.headers();
    if headers.has_video {
        return false;
    }
    let tracks = stream.tracks();
    let heard = tracks.iter().any(|t| t.codec.kind() == Kind::Audio && t.frames >= SOUND_ALONE);
    heard || headers.metadata.as_deref().is_some_and(names_sound_alone)
}

/// Whether metadata name a coding of sound and nothing of pictures, as encoders without them do.
fn names_sound_alone(metadata: &Frame) -> bool {
    let values = amf::decode_all(&metadata.payload, &Limits::default()).unwrap_or_default();
    values.get(1).is_some_and(|named| {
        named.get("audiocodecid").is_some()
            && OF_PICTURES.iter().all(|key| named.get(key).is_none())
    })
}

/// What a viewer would get of a stream that another protocol publishes; nothing while that is not
/// known.
pub(crate) fn bridged(stream: &Stream) -> Option<Vec<Track>> {
    if !stream.is_active() {
        return None;
    }
    let mut tracks = Vec::new();
    for state in stream.tracks().into_iter().filter(|state| state.track == 0) {
        if becomes_opus(state.codec) {
            tracks.push(Track::new(Codec::Opus));
        } else if travels(state.codec) {
            let of = Track::new(state.codec);
            // Bytes 1 to 3 of the configuration record.
            let profile = state.config.as_deref().and_then(|config| config.get(1..4));
            let profile = profile.filter(|_| state.codec == Codec::H264).and_then(|bytes| {
                let [idc, flags, level] = *<&[u8; 3]>::try_from(bytes).ok()?;
                Some(u32::from_be_bytes([0, idc, flags, level]))
            });
            tracks.push(Track { profile_level_id: profile, ..of });
        }
    }
    (!tracks.is_empty()).then_some(tracks)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use container::amf::Value;
    use media::{Flags, Timestamp};

    use super::*;

    fn named(keys: &[&str]) -> Frame {
        let named = keys.iter().map(|key| ((*key).into(), Value::Number(10.0)));
        let values = [Value::String("onMetaData".to_owned()), Value::EcmaArray(named.collect())];
        let mut payload = Vec::new();
        amf::encode_all(&values, &mut payload);
        Frame {
            codec: Codec::ScriptData,
            track: 0,
            flags: Flags::CONFIG,
            tag: 0,
            dts: Timestamp::ZERO,
            pts: Timestamp::ZERO,
            payload: payload.into(),
        }
    }

    #[test]
    fn metadata_of_sound_alone_name_its_coding_and_nothing_of_pictures() {
        assert!(names_sound_alone(&named(&["audiocodecid", "audiodatarate", "encoder"])));
        for key in OF_PICTURES {
            assert!(!names_sound_alone(&named(&["audiocodecid", key])), "{key}");
        }
        assert!(!names_sound_alone(&named(&["encoder"])));
        let noise = Frame { payload: Bytes::from_static(&[3, 0, 1]), ..named(&[]) };
        assert!(!names_sound_alone(&noise));
    }
}
