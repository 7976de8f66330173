//! Sound of a publisher for everybody but viewers of WebRTC: made AAC, while somebody takes it, or
//! Opus as it came, if that is to be kept.
//!
//! While nobody does, what the cache for joiners would hold of it waits as it came. Who comes then
//! hears the sound that belongs to the first picture that it gets, as if it had always been made.

use std::collections::VecDeque;

use media::opus::{OpusHead, SAMPLE_RATE};
use media::{Codec, Flags, Frame, Timestamp};
use transcode::{AacOptions, Error, ToAac};

/// Sound is made for so long after the last one who took it has left, and from the first block on:
/// who comes back finds no gap, and the stream learns where its sound lies beside its pictures. At
/// half, a player that reconnects falls into it; at double, nothing is gained.
const LINGER_US: u64 = 5_000_000;
/// Most blocks that wait: 20 s of the usual 20 ms. At half, long groups of pictures begin without
/// sound; at double, a publisher of blocks of 120 ms keeps four minutes.
const MOST_WAITING: usize = 1_000;
/// Most blocks that are made of what waited each time that one comes: five of the past catch up at
/// five times the speed of life. At half, a player may run into silence; at double, so much sound
/// stands between two pictures that the stream might count as sound alone.
const AT_ONCE: usize = 6;
/// How much sound before a key frame is kept with it: a decoder of Opus needs 80 ms to settle
/// (RFC 7845 §4.6).
const BEFORE_US: i64 = 100_000;
/// Blocks that are kept where no pictures are cached.
const BEFORE_BLOCKS: usize = 5;

/// What RTP calls Opus (RFC 7587 section 7): two channels at 48 kHz, whatever is in the packets.
/// Nothing is left out at the start: a decoder comes into the midst of the sound.
const HEAD: OpusHead =
    OpusHead { channels: 2, pre_skip: 0, input_rate: SAMPLE_RATE, gain: 0, mapping_family: 0 };

/// See the module.
pub(super) struct Sound {
    aac: ToAac,
    /// Opus stays what it is.
    keep_opus: bool,
    /// It has been said what it is.
    told: bool,
    waiting: VecDeque<Frame>,
    /// It is made until then; not known before the first block.
    until_us: Option<u64>,
    asleep: bool,
    /// Pictures come, too: what waits begins with the last key frame.
    pictures: bool,
}

impl Sound {
    /// AAC of `bitrate` bit/s, of Opus too unless that is kept.
    pub(super) fn new(bitrate: u32, keep_opus: bool) -> Self {
        Self {
            aac: ToAac::new(AacOptions { bitrate }),
            keep_opus,
            told: false,
            waiting: VecDeque::new(),
            until_us: None,
            asleep: false,
            pictures: false,
        }
    }

    /// A key frame comes: joiners begin with it.
    pub(super) fn key_frame(&mut self, at: Timestamp) {
        self.pictures = true;
        if self.asleep {
            let from = at.offset(-BEFORE_US);
            while self.waiting.front().is_some_and(|frame| frame.dts < from) {
                self.waiting.pop_front();
            }
        }
    }

    /// Takes a block. `wanted`: somebody takes the stream, and gets from the last key frame on what
    /// is cached if `cached` says so. Appends what becomes of it, and of those that waited.
    pub(super) fn push(
        &mut self,
        frame: Frame,
        wanted: bool,
        cached: impl FnOnce() -> bool,
        now_us: u64,
        out: &mut Vec<Frame>,
    ) -> Result<(), Error> {
        if self.keep_opus && frame.codec == Codec::Opus {
            if !std::mem::replace(&mut self.told, true) {
                let payload = HEAD.encode().unwrap_or_default().to_vec().into();
                out.push(Frame { flags: Flags::CONFIG, payload, ..frame.clone() });
            }
            out.push(frame);
            return Ok(());
        }
        let until = *self.until_us.get_or_insert(now_us.saturating_add(LINGER_US));
        if wanted {
            self.until_us = Some(now_us.saturating_add(LINGER_US));
            if std::mem::take(&mut self.asleep) {
                self.aac.reset();
                if !self.pictures || !cached() {
                    self.keep(BEFORE_BLOCKS);
                }
            }
        } else if now_us >= until {
            self.asleep = true;
        }
        self.waiting.push_back(frame);
        if self.asleep {
            self.keep(if self.pictures { MOST_WAITING } else { BEFORE_BLOCKS });
            return Ok(());
        }
        let mut done = Ok(());
        for _ in 0..AT_ONCE {
            let Some(frame) = self.waiting.pop_front() else { break };
            done = done.and(self.aac.push(&frame, out));
        }
        done
    }

    fn keep(&mut self, most: usize) {
        let surplus = self.waiting.len().saturating_sub(most);
        self.waiting.drain(..surplus);
    }
}

#[cfg(test)]
mod tests;
