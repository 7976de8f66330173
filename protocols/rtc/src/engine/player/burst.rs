//! The group of pictures that a viewer gets when it joins, so that it sees something at once.

use super::BESIDE;
use crate::engine::log::{Entry, PacketLog};

/// It is sent within so many ticks of 10 ms: a group of 2 s eight times faster than life. At half, a
/// path that carries the stream four times over loses a part of it; at double a browser shows the
/// past for half a second.
const TICKS: u64 = 25;
/// Bytes of a tick at the least, 4 Mbit/s: a small group is there sooner.
const LEAST_TICK: u64 = 5_000;
/// Ticks of 90 kHz in a tick.
const CLOCK_TICK: u64 = 900;
/// Ticks of 90 kHz between pictures at the least: 1 ms.
const LEAST_STEP: u32 = 90;

/// See the module.
///
/// Its pictures are the past. With their own times a browser would show them at their own pace and
/// stay behind for good; so they are told to lie as far apart as they are sent, the last one at its
/// true time, and the browser runs through them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Burst {
    /// Its packets, the end excluded.
    from: u64,
    to: u64,
    /// Pictures in it, and the true time of the last.
    pictures: u32,
    last: u32,
    /// Between two of them, as they are told.
    step: u32,
    /// Bytes that are sent in a tick.
    pub(super) tick: u64,
    /// Pictures that were begun so far, and the time of the newest in the log.
    begun: u32,
    newest: Option<u32>,
}

impl Burst {
    /// Of what lies in the lane between these packets; `None`: one picture, or none.
    pub(super) fn new(log: &PacketLog, lane: u8, from: u64, to: u64) -> Option<Self> {
        let mut burst = Self::counted(log, lane, from, to);
        let bytes = log.bytes_from(from).saturating_add(to.saturating_sub(from) * BESIDE as u64);
        burst.tick = (bytes / TICKS).max(LEAST_TICK);
        let lasts = bytes.saturating_mul(CLOCK_TICK) / burst.tick;
        let step = lasts / u64::from(burst.pictures.max(1));
        burst.step = u32::try_from(step).unwrap_or(LEAST_STEP).max(LEAST_STEP);
        (burst.pictures > 1).then_some(burst)
    }

    fn counted(log: &PacketLog, lane: u8, from: u64, to: u64) -> Self {
        let mut burst = Self {
            from,
            to,
            pictures: 0,
            last: 0,
            step: LEAST_STEP,
            tick: LEAST_TICK,
            begun: 0,
            newest: None,
        };
        let mut newest = None;
        for number in from..to {
            let Some((entry, _)) = log.get(number).filter(|(e, _)| e.lane == lane) else {
                continue;
            };
            if newest != Some(entry.timestamp) {
                newest = Some(entry.timestamp);
                burst.pictures = burst.pictures.saturating_add(1);
                burst.last = entry.timestamp;
            }
        }
        burst
    }

    /// The time that the `nth` picture (from 1) is told to have.
    fn time(&self, nth: u32) -> u32 {
        let left = self.pictures.saturating_sub(nth);
        self.last.wrapping_sub(left.wrapping_mul(self.step))
    }

    /// The time of the next packet to be sent.
    pub(super) fn next(&mut self, entry: &Entry) -> u32 {
        if self.newest != Some(entry.timestamp) {
            self.newest = Some(entry.timestamp);
            self.begun = self.begun.saturating_add(1);
        }
        self.time(self.begun)
    }

    /// The time that packet `number` was sent with.
    pub(super) fn of(&self, log: &PacketLog, lane: u8, number: u64) -> u32 {
        let upto = Self::counted(log, lane, self.from, number.saturating_add(1));
        self.time(upto.pictures.max(1))
    }

    /// Whether a packet is of it.
    pub(super) fn holds(&self, number: u64) -> bool {
        (self.from..self.to).contains(&number)
    }
}
