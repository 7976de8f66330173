//! A viewer whose path carries less than the stream.
//!
//! Sound goes at once, always. Pictures go at the rate that the path is believed to carry, whole, one
//! after another; once they are too far behind, what follows is left out up to the next key frame.

use super::{BESIDE, Player, Way};
use crate::engine::log::{AUDIO, Entry, PacketLog};

/// Pictures that are so late (90 kHz) are left out up to the next key frame: 1 s. A key frame is as
/// long as ten pictures and more: at half, nothing behind it would be in time; at double, viewers
/// see the past, and the sound waits for it.
const LATE: u32 = 90_000;
/// What may be sent at once, as a part of a second: 50 ms. At half of it a tick that comes late
/// leaves the path empty, at double a short queue overflows.
const SAVED: u64 = 20;
/// Packets in which the last one of pictures is looked for: more sound than that does not come in
/// between.
const NEAR: u64 = 64;
/// Debt that sound may make, as a part of a second.
const OWED: i64 = 5;

/// See the module.
#[derive(Debug)]
pub(super) struct Thin {
    /// What the path carries, bits a second.
    bps: u64,
    /// Bytes that may be sent now.
    credit: i64,
    at_us: u64,
    /// The time of the picture that is being sent or left out, and which of the two it is.
    picture: Option<u32>,
    goes: bool,
    /// It has just begun: what the viewer has of this group it could not show.
    fresh: bool,
}

impl Thin {
    fn earn(&mut self, now_us: u64) {
        let since = now_us.saturating_sub(self.at_us).min(1_000_000);
        self.at_us = now_us;
        let bytes = self.bps / 8;
        let earned = i64::try_from(bytes.saturating_mul(since) / 1_000_000).unwrap_or(0);
        let most = i64::try_from(bytes / SAVED).unwrap_or(0).max(1_500);
        self.credit = self.credit.saturating_add(earned).min(most);
    }

    fn spend(&mut self, payload: usize) {
        let bytes = i64::try_from(payload.saturating_add(BESIDE)).unwrap_or(0);
        self.credit = self.credit.saturating_sub(bytes).max(self.least());
    }

    fn least(&self) -> i64 {
        (i64::try_from(self.bps / 8).unwrap_or(0) / OWED).saturating_neg()
    }

    /// Whether a lost packet of so many bytes may be sent again now.
    pub(super) fn affords(&mut self, bytes: u32) -> bool {
        let least = self.least();
        let affords = self.credit > least;
        if affords {
            self.credit = self.credit.saturating_sub(i64::from(bytes)).max(least);
        }
        affords
    }
}

impl Player {
    /// What its path is believed to carry, if that is less than the stream.
    pub(crate) fn thin(&self) -> Option<u64> {
        self.thin.as_ref().map(|thin| thin.bps)
    }

    /// From here on its path is believed to carry no more than this; `None`: all there is.
    pub(crate) fn set_thin(&mut self, bps: Option<u64>) {
        match (bps, &mut self.thin) {
            (Some(bps), Some(thin)) => thin.bps = bps,
            (Some(bps), None) => {
                let at_us = self.now_us;
                self.thin = Some(Box::new(Thin {
                    bps,
                    credit: 0,
                    at_us,
                    picture: None,
                    goes: true,
                    fresh: true,
                }));
            }
            (None, _) => self.thin = None,
        }
    }

    fn leave_out(&mut self) {
        self.wants_key = true;
        if let Some(line) = &mut self.video {
            line.skips = true;
        }
    }

    /// The same as [`Player::walk`], for such a viewer.
    pub(super) fn walk_thin(&mut self, log: &PacketLog, way: &mut Way<'_>) -> bool {
        let Some(mut thin) = self.thin.take() else { return false };
        self.burst = None;
        thin.earn(self.now_us);
        if thin.fresh && thin.picture.is_none() {
            thin.picture = self.picture_at(log);
        }
        let head = log.head();
        for number in self.heard.max(self.cursor)..head {
            if let Some((entry, payload)) = log.get(number)
                && entry.lane == AUDIO
            {
                thin.spend(payload.len());
                self.send(log, number, way);
            }
        }
        while self.cursor < head {
            if let Some((entry, payload)) = log.get(self.cursor)
                && entry.lane != AUDIO
                && self.is_sent(entry)
            {
                if thin.picture != Some(entry.timestamp) {
                    thin.picture = Some(entry.timestamp);
                    if std::mem::take(&mut thin.fresh) {
                        self.leave_out();
                    }
                    thin.goes = self.begin_picture(log, entry);
                }
                if thin.goes {
                    if thin.credit <= 0 {
                        break;
                    }
                    thin.spend(payload.len());
                    self.send(log, self.cursor, way);
                }
            }
            self.cursor = self.cursor.saturating_add(1);
        }
        way.batch.flush(&way.road, way.tally);
        self.thin = Some(thin);
        self.cursor < head
    }

    /// Whether it is of the size of picture that the viewer gets, or is to get.
    fn is_sent(&self, entry: &Entry) -> bool {
        self.target == Some(entry.lane)
            || self.video.as_ref().is_some_and(|line| line.lane == entry.lane)
    }

    /// The time of the picture of which a part was sent and a part was not.
    fn picture_at(&self, log: &PacketLog) -> Option<u32> {
        let lane = self.video.as_ref()?.lane;
        let from = self.cursor.saturating_sub(NEAR);
        let before = (from..self.cursor).rev().filter_map(|number| log.get(number));
        let (entry, _) = before.into_iter().find(|(entry, _)| entry.lane == lane)?;
        (!entry.marker).then_some(entry.timestamp)
    }

    /// Decides whether a picture is sent.
    fn begin_picture(&mut self, log: &PacketLog, entry: &Entry) -> bool {
        let late = log.newest(entry.lane).wrapping_sub(entry.timestamp);
        let late = late > LATE && late <= u32::MAX / 2;
        // The last key frame is what it gets in any case: there is nothing better to wait for.
        let begins = entry.key && (!late || self.cursor >= log.join());
        if late && !begins && !self.wants_key {
            self.leave_out();
        }
        let goes = begins || !self.wants_key;
        if !goes {
            self.left_out = self.left_out.saturating_add(1);
        }
        goes
    }
}
