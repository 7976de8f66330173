//! What a receiver knows of one source, for its reports.

use super::{ReportBlock, ntp_middle};

/// Loss, jitter and the last sender report of one received stream (RFC 3550 §6.4.1, A.3, A.8).
///
/// Count original packets only: a retransmission by RTX is another stream, one under the same SSRC
/// makes up for its loss, as the RFC has it. Costs some additions a packet.
#[derive(Clone, Copy, Debug)]
pub struct ReceiverStats {
    clock_rate: u32,
    first: Option<u64>,
    highest: u64,
    received: u64,
    expected_prior: u64,
    received_prior: u64,
    /// Of the last packet: arrival less timestamp in ticks; wraps on purpose.
    transit: u32,
    transit_of: u32,
    /// In 16ths of a tick.
    jitter: u64,
    last_sr: u32,
    last_sr_at_us: u64,
}

impl ReceiverStats {
    /// For a stream whose timestamps run at `clock_rate` ticks a second.
    pub const fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate,
            first: None,
            highest: 0,
            received: 0,
            expected_prior: 0,
            received_prior: 0,
            transit: 0,
            transit_of: 0,
            jitter: 0,
            last_sr: 0,
            last_sr_at_us: 0,
        }
    }

    /// Counts a packet: its extended sequence number, its timestamp, and when it came.
    pub fn on_packet(&mut self, sequence: u64, timestamp: u32, now_us: u64) {
        self.received += 1;
        let ticks = u128::from(now_us) * u128::from(self.clock_rate) / 1_000_000;
        let transit = (ticks as u32).wrapping_sub(timestamp);
        let Some(first) = self.first else {
            self.first = Some(sequence);
            self.highest = sequence;
            (self.transit, self.transit_of) = (transit, timestamp);
            return;
        };
        // An older one than the first moves the beginning, so that expected stays true.
        self.first = Some(first.min(sequence));
        self.highest = self.highest.max(sequence);
        // Packets of one picture share a timestamp and leave one after another: what lies between
        // them is pacing, which as jitter would make every video stream look bad.
        if timestamp == self.transit_of {
            return;
        }
        let moved = u64::from(transit.wrapping_sub(self.transit).cast_signed().unsigned_abs());
        (self.transit, self.transit_of) = (transit, timestamp);
        // A jump of the timestamps by over a second is a new origin, no jitter.
        if moved <= u64::from(self.clock_rate) {
            self.jitter = self.jitter + moved - ((self.jitter + 8) >> 4);
        }
    }

    /// Remembers a sender report of this source, for the round trip.
    pub const fn on_sender_report(&mut self, ntp: u64, now_us: u64) {
        self.last_sr = ntp_middle(ntp);
        self.last_sr_at_us = now_us;
    }

    /// Makes a report block, and begins the next interval.
    pub fn report(&mut self, ssrc: u32, now_us: u64) -> ReportBlock {
        let expected = self.expected();
        let expected_now = expected - self.expected_prior.min(expected);
        let received_now = self.received - self.received_prior;
        self.expected_prior = expected;
        self.received_prior = self.received;
        let lost_now = expected_now.saturating_sub(received_now);
        let fraction = (lost_now << 8).checked_div(expected_now).unwrap_or(0);
        let since = now_us.saturating_sub(self.last_sr_at_us);
        let delay = u128::from(since) * 65_536 / 1_000_000;
        ReportBlock {
            ssrc,
            fraction_lost: u8::try_from(fraction).unwrap_or(u8::MAX),
            cumulative_lost: self.lost().clamp(-0x80_0000, 0x7F_FFFF) as i32,
            highest: self.cycled_highest(),
            jitter: self.jitter(),
            last_sr: self.last_sr,
            delay_since_last_sr: if self.last_sr == 0 {
                0
            } else {
                u32::try_from(delay).unwrap_or(u32::MAX)
            },
        }
    }

    /// Packets that should have come, from the first to the highest.
    pub fn expected(&self) -> u64 {
        self.first.map_or(0, |first| self.highest - first + 1)
    }

    /// Packets that came, duplicates too.
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Expected less received; negative if duplicates outnumber losses.
    pub fn lost(&self) -> i64 {
        self.expected().cast_signed().wrapping_sub(self.received.cast_signed())
    }

    /// Interarrival jitter in ticks.
    pub fn jitter(&self) -> u32 {
        u32::try_from(self.jitter >> 4).unwrap_or(u32::MAX)
    }

    /// Interarrival jitter in microseconds.
    pub fn jitter_us(&self) -> u64 {
        (u64::from(self.jitter()) * 1_000_000).checked_div(u64::from(self.clock_rate)).unwrap_or(0)
    }

    /// Cycles are counted from the first packet's round, which is round zero of the report.
    fn cycled_highest(&self) -> u32 {
        let round = self.first.map_or(0, |first| first & !0xFFFF);
        (self.highest - round.min(self.highest)) as u32
    }
}

/// Round trip in microseconds by a report block on our own stream (RFC 3550 §6.4.1): `now_ntp` is
/// the wall clock as our sender reports tell it. None if it names no report of ours, or one from
/// the future or from over a minute ago: a fault or a lie.
pub fn round_trip_us(now_ntp: u64, last_sr: u32, delay_since_last_sr: u32) -> Option<u64> {
    if last_sr == 0 {
        return None;
    }
    let middle = ntp_middle(now_ntp);
    let elapsed = middle.wrapping_sub(last_sr).wrapping_sub(delay_since_last_sr);
    // The clocks of both sides may round to their own side: a few units below zero are zero.
    let elapsed = if elapsed > u32::MAX - 66 { 0 } else { elapsed };
    (elapsed < 60 << 16).then(|| u64::from(elapsed) * 1_000_000 / 65_536)
}
