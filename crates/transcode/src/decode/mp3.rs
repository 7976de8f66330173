//! MPEG audio, layers I to III.

use media::Codec;
use media::mp3::FrameHeader;
use nanomp3_core::{Channels, MAX_SAMPLES_PER_FRAME};

use super::{Sound, check_length, damaged};
use crate::Error;
use crate::guard::guarded;

/// The most bytes of whole sync frames in one payload: five of the longest (2,881 bytes). Senders
/// put one or two into a tag.
const MAX_PAYLOAD: usize = 16_384;

/// Made with the first frame: 22 kB of state.
#[derive(Default)]
pub(crate) struct Decoder {
    inner: Option<Box<nanomp3_core::Decoder>>,
    pcm: Vec<f32>,
}

impl Decoder {
    pub(super) fn decode(&mut self, payload: &[u8], sound: &mut Sound) -> Result<(), Error> {
        check_length(Codec::Mp3, payload, MAX_PAYLOAD)?;
        self.pcm.resize(MAX_SAMPLES_PER_FRAME, 0.0);
        let decoder = self.inner.get_or_insert_with(|| Box::new(nanomp3_core::Decoder::new()));
        let pcm = &mut self.pcm;
        match guarded(|| decode_all(decoder, pcm, payload, sound)) {
            Some(true) => Ok(()),
            Some(false) => Err(damaged(Codec::Mp3, "there is no whole frame in it")),
            None => {
                self.inner = None;
                Err(Error::Panicked(Codec::Mp3))
            }
        }
    }
}

/// Decodes frame after frame; tells whether there was any.
fn decode_all(
    decoder: &mut nanomp3_core::Decoder,
    pcm: &mut [f32],
    payload: &[u8],
    sound: &mut Sound,
) -> bool {
    let mut rest = payload;
    while !rest.is_empty() {
        let (consumed, result) = decoder.decode(rest, pcm);
        let (info, samples) = match &result {
            Ok(info) => (Some(info), info.samples_produced),
            // The bits of a frame may begin in the ones before it, which a late joiner lacks.
            Err(lost) => (lost.frame_info(), 0),
        };
        if let Some(info) = info {
            if sound.len() > 0 && sound.rate != info.sample_rate {
                break;
            }
            sound.rate = info.sample_rate;
            match info.channels {
                Channels::Stereo => {
                    sound.push_interleaved(pcm.get(..samples * 2).unwrap_or_default());
                }
                Channels::Mono => {
                    let pcm = pcm.get(..samples).unwrap_or_default();
                    sound.left.extend_from_slice(pcm);
                    sound.right.extend_from_slice(pcm);
                }
            }
            if samples == 0 {
                let silent = FrameHeader::decode(rest).map_or(0, |header| header.samples) as usize;
                let end = sound.len().saturating_add(silent);
                sound.left.resize(end, 0.0);
                sound.right.resize(end, 0.0);
            }
        }
        if consumed == 0 {
            break;
        }
        rest = rest.get(consumed..).unwrap_or_default();
    }
    sound.len() > 0
}
