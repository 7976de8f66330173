//! How much a path carries, as its sender sees it (draft-ietf-rmcat-gcc-02): growing delay is told
//! by transport-wide feedback before packets are lost, losses where it is not.

use crate::twcc::{Parsed, ReferenceTime};

mod aimd;
mod arrival;
#[cfg(test)]
mod tests;

use aimd::Aimd;
use arrival::{AckedRate, Grouper, Signal, Trendline};

/// Packets remembered until feedback of them comes: 8 kB. At 142 packets/s that is 7 s, at
/// 1,000 packets/s one. At half of it fast streams lose feedback over long paths; at double each
/// viewer costs 8 kB more.
const RING: usize = 1_024;

/// Without any feedback for so long while packets are sent, the path is believed to be choked.
const SILENCE_US: u64 = 1_500_000;

/// Losses are judged over at least this time and so many packets: fewer are dice.
const LOSS_AFTER_US: u64 = 500_000;
const LOSS_AFTER_PACKETS: u32 = 20;

/// Between probes.
const PROBE_EVERY_US: u64 = 5_000_000;

/// No probe so soon after congestion.
const PROBE_CALM_US: u64 = 5_000_000;

/// For how long a probe should be sent, in microseconds; see [`Estimator::wants_probe`].
pub const PROBE_US: u64 = 300_000;

/// Bounds, in bits per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Believed before anything is known.
    pub initial_bps: u64,
    /// Never less.
    pub min_bps: u64,
    /// Never more.
    pub max_bps: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { initial_bps: 1_000_000, min_bps: 50_000, max_bps: 50_000_000 }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    /// Lower bits of the time; lasts 71 minutes.
    at_us: u32,
    sequence: u16,
    /// 0: nothing here, or feedback came already.
    bytes: u16,
}

/// What is known of the path now, for a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Insight {
    /// The estimate, as [`Estimator::bitrate`].
    pub bitrate_bps: u64,
    /// What arrived in the last half second.
    pub acked_bps: u64,
    /// Share of the last losses counted, in 256ths.
    pub loss: u8,
    /// Times that growing delay was taken for congestion.
    pub overuses: u64,
    /// Round trip as feedback shows it, its interval included; 0: unknown.
    pub rtt_us: u64,
}

/// Estimates the bandwidth of one transport.
///
/// Call [`Estimator::on_sent`] for each packet that carries a transport-wide sequence number,
/// [`Estimator::on_feedback`] for what comes back; without such feedback, [`Estimator::on_loss`]
/// and [`Estimator::on_remb`] are enough for a rough answer. No allocation but one of 8 kB at the
/// first packet; a packet costs one write, its feedback some 20 ns of arithmetic.
#[derive(Clone, Debug)]
pub struct Estimator {
    options: Options,
    sent: Box<[Sent]>,
    reference: ReferenceTime,
    grouper: Grouper,
    trendline: Trendline,
    acked: AckedRate,
    aimd: Aimd,
    /// What losses allow.
    loss_bps: u64,
    remb_bps: Option<u64>,
    lost: u32,
    counted: u32,
    loss_since_us: u64,
    loss: u8,
    overuses: u64,
    overused_us: Option<u64>,
    feedback_us: Option<u64>,
    first_sent_us: Option<u64>,
    silence_us: u64,
    probed_us: Option<u64>,
    rtt_us: u64,
}

impl Estimator {
    /// Knows nothing of the path yet, and has allocated nothing.
    pub fn new(options: Options) -> Self {
        let max = options.max_bps.max(options.min_bps);
        let options = Options { max_bps: max, ..options };
        let initial = options.initial_bps.clamp(options.min_bps, options.max_bps);
        Self {
            options,
            sent: Box::default(),
            reference: ReferenceTime::new(),
            grouper: Grouper::default(),
            trendline: Trendline::default(),
            acked: AckedRate::default(),
            aimd: Aimd::new(initial, options.min_bps, options.max_bps),
            loss_bps: options.max_bps,
            remb_bps: None,
            lost: 0,
            counted: 0,
            loss_since_us: 0,
            loss: 0,
            overuses: 0,
            overused_us: None,
            feedback_us: None,
            first_sent_us: None,
            silence_us: 0,
            probed_us: None,
            rtt_us: 0,
        }
    }

    /// Notes a packet: its transport-wide sequence number and its size with all headers (those of
    /// IP and UDP too, if the rate shall be that of the path; at most 65,535).
    #[inline]
    pub fn on_sent(&mut self, sequence: u16, bytes: usize, now_us: u64) {
        if self.sent.is_empty() {
            self.sent = vec![Sent::default(); RING].into_boxed_slice();
        }
        if let Some(place) = self.sent.get_mut(usize::from(sequence) % RING) {
            let bytes = u16::try_from(bytes).unwrap_or(u16::MAX).max(1);
            *place = Sent { at_us: now_us as u32, sequence, bytes };
        }
        self.first_sent_us.get_or_insert(now_us);
        if let Some(last) = self.feedback_us
            && now_us > last.max(self.silence_us).saturating_add(SILENCE_US)
        {
            self.silence_us = now_us;
            self.aimd.halve();
        }
    }

    /// Takes feedback. Packets that are not remembered are passed over, so a lie costs time only.
    pub fn on_feedback(&mut self, feedback: &Parsed<'_>, now_us: u64) {
        let reference = self.reference.extend(feedback.reference_time);
        let mut signal = None;
        for status in feedback.statuses() {
            let Some(place) = self.sent.get_mut(usize::from(status.sequence) % RING) else { break };
            if place.bytes == 0 || place.sequence != status.sequence {
                continue;
            }
            let Sent { at_us, bytes, .. } = std::mem::take(place);
            self.counted += 1;
            let Some(arrival) = status.arrival_us else {
                self.lost += 1;
                continue;
            };
            let arrival = reference.saturating_add(arrival);
            let ago = u64::from((now_us as u32).wrapping_sub(at_us));
            let sent = now_us.saturating_sub(ago);
            self.rtt_us = if self.rtt_us == 0 { ago } else { (7 * self.rtt_us + ago) / 8 };
            self.acked.add(arrival, u64::from(bytes));
            if let Some(delta) = self.grouper.add(sent, arrival) {
                signal = Some(worse(signal, self.trendline.update(&delta)));
            }
        }
        self.feedback_us = Some(now_us);
        let acked = self.acked.bps();
        if signal == Some(Signal::Overuse) {
            self.overuses += 1;
            self.overused_us = Some(now_us);
        }
        self.aimd.update(signal, acked, self.rtt_us, now_us);
        if self.counted >= LOSS_AFTER_PACKETS
            && now_us >= self.loss_since_us.saturating_add(LOSS_AFTER_US)
        {
            let fraction = u64::from(self.lost) * 256 / u64::from(self.counted.max(1));
            (self.lost, self.counted, self.loss_since_us) = (0, 0, now_us);
            self.judge_loss(u8::try_from(fraction).unwrap_or(u8::MAX));
        }
    }

    /// Takes the loss of a receiver report, in 256ths. Left out where transport-wide feedback
    /// comes, which tells the same sooner.
    pub fn on_loss(&mut self, fraction: u8) {
        if self.feedback_us.is_some() {
            return;
        }
        if self.loss_bps == self.options.max_bps {
            self.loss_bps = self.aimd.bps();
        }
        self.judge_loss(fraction);
    }

    /// The rules of the draft, §6: below 2 % grow, up to 10 % stay, above shrink by half the loss.
    fn judge_loss(&mut self, fraction: u8) {
        self.loss = fraction;
        match fraction {
            0..=5 => self.loss_bps = (self.loss_bps + self.loss_bps / 20).min(self.options.max_bps),
            6..=25 => {}
            _ => {
                let kept = u64::from(512 - u16::from(fraction));
                self.loss_bps = (self.bitrate() * kept / 512).max(self.options.min_bps);
            }
        }
    }

    /// Takes the receiver's own estimate; it holds until the next.
    pub fn on_remb(&mut self, bitrate_bps: u64) {
        self.remb_bps = Some(bitrate_bps);
        if self.feedback_us.is_none() && self.loss <= 5 {
            // Nothing else tells how far it may go.
            self.aimd.set(bitrate_bps);
            self.loss_bps = self.options.max_bps;
        }
    }

    /// Bits per second that the path is believed to carry now, within the bounds.
    pub fn bitrate(&self) -> u64 {
        let told = self.remb_bps.unwrap_or(u64::MAX);
        let delay = if self.feedback_us.is_none() && self.loss_bps < self.options.max_bps {
            u64::MAX
        } else {
            self.aimd.bps()
        };
        delay.min(self.loss_bps).min(told).clamp(self.options.min_bps, self.options.max_bps)
    }

    /// Whether to try out more: the rate at which to send for [`PROBE_US`], padding included, if
    /// `wanted_bps` is more than is believed and the path has been calm. Say
    /// [`Estimator::on_probe`] when it begins. An estimate grows no further than to one and a half
    /// times what is sent, so a stream that sends less than it could needs this before it may send
    /// more.
    pub fn wants_probe(&self, wanted_bps: u64, now_us: u64) -> Option<u64> {
        let believed = self.bitrate();
        let began = self.feedback_us.and(self.first_sent_us)?;
        let calm = self.overused_us.is_none_or(|at| now_us >= at.saturating_add(PROBE_CALM_US));
        let last = self.probed_us.unwrap_or(began);
        let due = now_us >= last.saturating_add(PROBE_EVERY_US);
        (wanted_bps > believed && calm && due && self.loss <= 5)
            .then(|| wanted_bps.min(believed.saturating_mul(2)).min(self.options.max_bps))
    }

    /// Notes that a probe begins.
    pub const fn on_probe(&mut self, now_us: u64) {
        self.probed_us = Some(now_us);
    }

    /// What is known now.
    pub fn insight(&self) -> Insight {
        Insight {
            bitrate_bps: self.bitrate(),
            acked_bps: self.acked.bps().unwrap_or(0),
            loss: self.loss,
            overuses: self.overuses,
            rtt_us: self.rtt_us,
        }
    }
}

/// Overuse anywhere in a feedback counts; else the last word.
fn worse(before: Option<Signal>, now: Signal) -> Signal {
    if before == Some(Signal::Overuse) { Signal::Overuse } else { now }
}
