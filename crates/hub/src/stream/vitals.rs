//! How a publisher is doing: pictures, key frames, and its clock beside ours.

use std::time::Instant;

use media::{Frame, Kind, Timestamp};

/// A step of the publisher's clock larger than this begins the measures of time anew: its encoder
/// was restarted, or its times wrapped.
const LEAP_US: i64 = 5_000_000;

/// Figures of the present publisher, in its own times, before they are corrected. Kept once per
/// published frame, and never per viewer.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Vitals {
    /// Pictures of the main video track.
    pub pictures: u64,
    /// Those that a decoder can begin at.
    pub key_pictures: u64,
    /// Frames of the main audio track.
    pub sounds: u64,
    /// Pictures from one key picture to the next, when both were last seen; 0 before that.
    pub gop_pictures: u64,
    /// Microseconds of media between these two.
    pub gop_us: i64,
    /// Pictures since the last key picture, that one counted.
    pub since_key: u64,
    /// How unevenly frames arrive, microseconds: the smoothed difference between the time from one
    /// frame to the next by our clock and by the publisher's (RFC 3550, 6.4.1).
    pub jitter_us: i64,
    /// The publisher's time and ours at the first frame after it began or its times leapt.
    pub anchor: Option<(Timestamp, Instant)>,
    /// The same at the newest frame of the measured track: video where there is any.
    pub head: Option<(Timestamp, Instant)>,
    /// The publisher's time at the last key picture.
    pub key_at: Option<Timestamp>,
}

impl Vitals {
    pub(crate) fn observe(&mut self, frame: &Frame, now: Instant) {
        if !frame.is_media() || frame.track != 0 {
            return;
        }
        match frame.kind() {
            Kind::Video => {
                if self.pictures == 0 {
                    // Sound was measured until now; its clock may be another.
                    (self.anchor, self.head) = (None, None);
                }
                self.pictures = self.pictures.saturating_add(1);
                self.picture(frame);
            }
            Kind::Audio => {
                self.sounds = self.sounds.saturating_add(1);
                if self.pictures > 0 {
                    return;
                }
            }
            Kind::Data => return,
        }
        self.clock(frame.dts, now);
    }

    fn picture(&mut self, frame: &Frame) {
        if !frame.is_key() {
            self.since_key = self.since_key.saturating_add(1);
            return;
        }
        if let Some(before) = self.key_at.replace(frame.dts) {
            let us = frame.dts.micros_since(before);
            if us > 0 {
                (self.gop_pictures, self.gop_us) = (self.since_key, us);
            }
        }
        self.key_pictures = self.key_pictures.saturating_add(1);
        self.since_key = 1;
    }

    fn clock(&mut self, dts: Timestamp, now: Instant) {
        if let Some((last, at)) = self.head {
            let theirs = dts.micros_since(last);
            if theirs.abs() > LEAP_US {
                self.anchor = None;
            } else {
                let ours = now.saturating_duration_since(at).as_micros();
                let ours = i64::try_from(ours).unwrap_or(i64::MAX);
                let apart = ours.saturating_sub(theirs).saturating_abs();
                self.jitter_us += (apart - self.jitter_us) / 16;
            }
        }
        self.head = Some((dts, now));
        self.anchor.get_or_insert((dts, now));
    }

    /// By how much the publisher's clock runs faster than ours, in millionths; negative: slower.
    /// Tells nothing before half a minute has been measured: until then it is mostly jitter.
    pub fn drift_ppm(&self) -> Option<f64> {
        let ((from, since), (to, at)) = (self.anchor?, self.head?);
        let ours = at.saturating_duration_since(since).as_secs_f64();
        let theirs = to.micros_since(from) as f64 / 1e6;
        (ours >= 30.0).then(|| (theirs - ours) / ours * 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use media::{Codec, Flags};
    use std::time::Duration;

    fn frame(codec: Codec, ms: i64, key: bool) -> Frame {
        let dts = Timestamp::from_millis(ms);
        let flags = if key { Flags::KEY } else { Flags::empty() };
        let payload = Bytes::from_static(b"x");
        Frame { codec, track: 0, flags, tag: 0, dts, pts: dts, payload }
    }

    /// Pictures every 40 ms, a key picture every ten; the publisher's clock runs `rate` times
    /// as fast as ours, and each second frame comes `late` milliseconds late.
    fn run(frames: i64, rate: f64, late: u64) -> Vitals {
        let (start, mut vitals) = (Instant::now(), Vitals::default());
        for n in 0..frames {
            let due = Duration::from_secs_f64(n as f64 * 0.04 / rate);
            let late = Duration::from_millis(if n % 2 == 1 { late } else { 0 });
            vitals.observe(&frame(Codec::H264, n * 40, n % 10 == 0), start + due + late);
        }
        vitals
    }

    #[test]
    fn pictures_between_key_pictures_are_counted() {
        let vitals = run(25, 1.0, 0);
        assert_eq!((vitals.pictures, vitals.key_pictures), (25, 3));
        assert_eq!((vitals.gop_pictures, vitals.gop_us, vitals.since_key), (10, 400_000, 5));
    }

    #[test]
    fn a_clock_that_runs_fast_is_told_after_half_a_minute() {
        assert_eq!(run(700, 1.001, 0).drift_ppm(), None);
        let ppm = run(2000, 1.001, 0).drift_ppm().unwrap();
        assert!((ppm - 1000.0).abs() < 5.0, "{ppm}");
    }

    #[test]
    fn uneven_arrival_is_jitter_and_even_arrival_is_none() {
        assert!(run(500, 1.0, 0).jitter_us < 100);
        let uneven = run(500, 1.0, 20).jitter_us;
        assert!((19_000..=21_000).contains(&uneven), "{uneven}");
    }

    #[test]
    fn a_leap_of_the_clock_begins_the_measure_anew() {
        let mut vitals = run(2000, 1.0, 0);
        let (_, at) = vitals.head.unwrap();
        vitals.observe(&frame(Codec::H264, 10_000_000, true), at + Duration::from_millis(40));
        assert_eq!(vitals.drift_ppm(), None);
        assert!(vitals.jitter_us < 100, "{}", vitals.jitter_us);
    }

    #[test]
    fn sound_alone_is_measured_until_pictures_come() {
        let (start, mut vitals) = (Instant::now(), Vitals::default());
        vitals.observe(&frame(Codec::Aac, 90_000, false), start);
        assert_eq!(vitals.head.unwrap().0, Timestamp::from_millis(90_000));
        vitals.observe(&frame(Codec::H264, 10, true), start);
        vitals.observe(&frame(Codec::Aac, 90_023, false), start);
        assert_eq!(vitals.head.unwrap().0, Timestamp::from_millis(10));
        assert_eq!((vitals.sounds, vitals.pictures), (2, 1));
    }
}
