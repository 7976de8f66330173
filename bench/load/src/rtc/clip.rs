//! What publishers send: a clip cut into RTP payloads once, for all of them.

use std::path::Path;

use container::flv::{Demuxer, Reader};
use media::{Codec, Frame, Kind};
use rtp::payload::{Options, Packetizer, Payload, Payloads, Pushed};
use transcode::{OpusOptions, ToOpus};

use crate::clip::ClipError;

/// One picture or sound.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) kind: Kind,
    /// When it is sent, microseconds since the clip began.
    pub(super) at_us: u64,
    /// When it is shown.
    pub(super) shown_us: u64,
    pub(super) key: bool,
    pub(super) payloads: Vec<Payload>,
}

/// A clip that is published in a loop, by as many as wanted at once.
#[derive(Debug)]
pub struct RtcClip {
    parts: Vec<Part>,
    payloads: Payloads,
    round_us: u64,
    codec: Option<Codec>,
}

impl RtcClip {
    /// The built-in test card: ten seconds of 640x360 H.264 with sound. Costs some 100 ms.
    ///
    /// # Errors
    /// None that a build without a fault has.
    pub fn built_in() -> Result<Self, ClipError> {
        Self::from_flv(&testcard::flv())
    }

    /// An FLV file of H.264 or H.265 with any sound; B pictures are left out.
    ///
    /// # Errors
    /// It cannot be read, or is no FLV file with media.
    pub fn from_file(path: &str) -> Result<Self, ClipError> {
        let bytes = std::fs::read(Path::new(path))
            .map_err(|error| ClipError::File { path: path.to_owned(), error })?;
        Self::from_flv(&bytes)
    }

    fn from_flv(bytes: &[u8]) -> Result<Self, ClipError> {
        let mut reader = Reader::new();
        reader.push(bytes);
        let mut demuxer = Demuxer::default();
        let mut frames: Vec<Frame> = Vec::new();
        loop {
            match reader.pull() {
                // A tag that cannot be taken apart is left out.
                Ok(Some(tag)) => {
                    let _ = demuxer.push(tag.kind, tag.dts(), tag.body.clone(), &mut frames);
                }
                Ok(None) => break,
                Err(error) if error.is_final() => return Err(error.into()),
                Err(_) => {}
            }
        }
        Self::cut(&frames)
    }

    fn cut(frames: &[Frame]) -> Result<Self, ClipError> {
        let mut cutter = Cutter::default();
        let mut opus = ToOpus::new(OpusOptions::default());
        let mut sounds = Vec::new();
        for frame in frames.iter().filter(|frame| frame.track == 0) {
            match frame.kind() {
                Kind::Video => cutter.frame(frame),
                Kind::Audio if frame.codec == Codec::Opus => cutter.frame(frame),
                Kind::Audio => {
                    sounds.clear();
                    // Silence stands for what cannot be decoded.
                    let _ = opus.push(frame, &mut sounds);
                    sounds.iter().for_each(|sound| cutter.frame(sound));
                }
                Kind::Data => {}
            }
        }
        cutter.clip()
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    pub(super) fn bytes(&self, payload: &Payload) -> &[u8] {
        self.payloads.of(payload)
    }

    /// What each round adds to the times.
    pub(super) const fn round_us(&self) -> u64 {
        self.round_us
    }

    /// How its pictures are coded.
    pub(super) const fn codec(&self) -> Option<Codec> {
        self.codec
    }
}

#[derive(Default)]
struct Cutter {
    video: Option<Packetizer>,
    audio: Option<Packetizer>,
    parts: Vec<Part>,
    payloads: Payloads,
}

impl Cutter {
    fn frame(&mut self, frame: &Frame) {
        let place = match frame.kind() {
            Kind::Video => &mut self.video,
            _ => &mut self.audio,
        };
        if place.is_none() {
            let options = Options { keep_sei: true, ..Options::default() };
            *place = Packetizer::new(frame.codec, options).ok();
        }
        let Some(packetizer) = place.as_mut().filter(|p| p.codec() == frame.codec) else { return };
        let before = self.payloads.len();
        let Ok(Pushed::Packaged) = packetizer.push(frame, &mut self.payloads) else { return };
        let micros = |time: media::Timestamp| u64::try_from(time.as_micros()).unwrap_or(0);
        self.parts.push(Part {
            kind: frame.kind(),
            at_us: micros(frame.dts),
            shown_us: micros(frame.pts),
            key: frame.is_key(),
            payloads: self.payloads.list().get(before..).unwrap_or_default().to_vec(),
        });
    }

    fn clip(mut self) -> Result<RtcClip, ClipError> {
        self.parts.sort_by_key(|part| part.at_us);
        let first_us = self.parts.first().ok_or(ClipError::Empty)?.at_us;
        for part in &mut self.parts {
            part.at_us -= first_us;
            part.shown_us = part.shown_us.saturating_sub(first_us);
        }
        let last_us = self.parts.last().map_or(0, |part| part.at_us);
        let video = self.parts.iter().filter(|part| part.kind == Kind::Video);
        let pictures = video.clone().count() as u64;
        let end_us = video.map(|part| part.at_us).max().unwrap_or(last_us);
        let gap_us = end_us.checked_div(pictures.saturating_sub(1)).unwrap_or(20_000).max(1_000);
        Ok(RtcClip {
            round_us: (end_us + gap_us).max(last_us + 1),
            codec: self.video.as_ref().map(Packetizer::codec),
            parts: self.parts,
            payloads: self.payloads,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_clip_has_pictures_that_begin_with_a_key_and_sound_as_opus() {
        let clip = RtcClip::built_in().unwrap();
        let of = |kind| clip.parts().iter().filter(move |part| part.kind == kind);
        assert!(of(Kind::Video).next().unwrap().key);
        assert!((9_900_000..10_100_000).contains(&clip.round_us()), "{}", clip.round_us());
        assert!((490..510).contains(&of(Kind::Audio).count()));
        assert_eq!(clip.codec(), Some(Codec::H264));
        assert!(of(Kind::Video).all(|part| part.payloads.last().unwrap().marker));
        assert!(clip.parts().is_sorted_by_key(|part| part.at_us));
    }
}
