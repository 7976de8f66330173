//! Healthy viewers and a healthy publisher of WebRTC.
//!
//! The kernel may lose datagrams while it is flooded, as any network may. What a viewer asks for
//! again and gets is not missing.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::rngs::StdRng;
use rtp::rtcp::{Compound, Rtcp, SenderInfo, write};
use tokio::time::MissedTickBehavior;

use super::{KEY_EVERY, MARK, PERIOD, SILENCE, Shared, stamp_of};
use crate::rtc::{Got, Peer, VIDEO, header, refused};

/// The stream that is published by WebRTC.
pub(super) const NAME: &str = "abuse-healthy-rtc";
/// A packet that did not come within this time is missing.
const LATE: Duration = Duration::from_secs(3);
/// Between two wishes for the same packets.
const ASK_AGAIN: Duration = Duration::from_millis(60);
/// Packets that the publisher can send again.
const KEPT: usize = 2_000;
/// Bytes of a picture's only packet.
const PICTURE: usize = 900;

/// Packets that are awaited of one source, by extended number.
#[derive(Default)]
struct Line {
    highest: Option<u64>,
    awaited: BTreeMap<u64, Instant>,
}

impl Line {
    fn extend(&self, short: u16) -> u64 {
        let around = self.highest.unwrap_or(0x1_0000 | u64::from(short));
        let near = (around & !0xffff) | u64::from(short);
        let all = [near.saturating_sub(0x1_0000), near, near + 0x1_0000];
        all.into_iter().min_by_key(|n| n.abs_diff(around)).unwrap_or(near)
    }

    fn came(&mut self, short: u16, now: Instant) {
        let number = self.extend(short);
        match self.highest {
            Some(highest) if number <= highest => _ = self.awaited.remove(&number),
            Some(highest) => {
                self.awaited.extend((highest + 1..number).map(|n| (n, now)));
                self.highest = Some(number);
            }
            None => self.highest = Some(number),
        }
    }

    /// Those that are awaited no more.
    fn give_up(&mut self, now: Instant) -> usize {
        let before = self.awaited.len();
        self.awaited.retain(|_, since| now.saturating_duration_since(*since) < LATE);
        before - self.awaited.len()
    }
}

async fn watch(
    shared: &Shared,
    who: &str,
    stream: &str,
    rng: &mut StdRng,
) -> io::Result<Infallible> {
    let Some(server) = shared.plan.rtc else { return std::future::pending().await };
    let mut peer = Peer::open(shared.plan.api, server, false, stream, rng).await?;
    peer.connect().await?;
    let repairs = peer.session.repairs();
    let mut lines: BTreeMap<u32, Line> = BTreeMap::new();
    let mut heard = Instant::now();
    let mut ask_at = heard;
    let mut joined = None;
    loop {
        let got = peer.turn(Instant::now() + Duration::from_millis(20)).await?;
        let now = Instant::now();
        if let Got::Rtp(packet) = got
            && let Some(fixed) = packet.first_chunk::<12>()
        {
            heard = now;
            let seq = u16::from_be_bytes([fixed[2], fixed[3]]);
            let ssrc = u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]);
            let head = 12 + if fixed[0] & 0x10 != 0 { 8 } else { 0 };
            match repairs.iter().find(|(_, rtx)| *rtx == ssrc) {
                Some((main, _)) => {
                    if let Some(&[a, b]) = packet.get(head..head + 2) {
                        let line = lines.entry(*main).or_default();
                        line.came(u16::from_be_bytes([a, b]), now);
                    }
                }
                None => lines.entry(ssrc).or_default().came(seq, now),
            }
            shared.seen.frames.fetch_add(1, Relaxed);
            let clock = shared.start.elapsed().as_nanos() as u64;
            let since = *joined.get_or_insert_with(|| {
                shared.joined.fetch_add(1, Relaxed);
                clock
            });
            let stamp = stamp_of(packet.get(head..).unwrap_or_default());
            if let Some((_, sent)) = stamp.filter(|(_, sent)| *sent > since) {
                shared.delayed(clock.saturating_sub(sent));
            }
        }
        if now.saturating_duration_since(heard) > SILENCE {
            return Err(io::Error::other("nothing came for 10 s"));
        }
        if now >= ask_at {
            ask_at = now + ASK_AGAIN;
            let mut out = Vec::new();
            write::receiver_report(&mut out, 1, &[]);
            let bare = out.len();
            for (ssrc, line) in &mut lines {
                let missing = line.give_up(now);
                if missing > 0 {
                    shared.seen.missing.fetch_add(missing as u64, Relaxed);
                    shared.seen.word(format!("{who}: {missing} packets of {ssrc} missing"));
                }
                if !line.awaited.is_empty() {
                    let numbers = line.awaited.keys().take(200).map(|n| *n as u16);
                    write::nack(&mut out, 1, *ssrc, numbers);
                }
            }
            if out.len() > bare {
                peer.report(out).await?;
            }
        }
    }
}

/// Watches, and joins again whenever it is cut off.
pub(super) async fn view(shared: Arc<Shared>, number: usize) {
    let mut rng = StdRng::seed_from_u64(shared.plan.seed ^ (9_000 + number as u64));
    let stream = if number.is_multiple_of(2) { shared.name } else { NAME };
    let who = format!("WebRTC viewer {number} of {stream}");
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    while !shared.stop.load(Relaxed) {
        let Err(e) = watch(&shared, &who, stream, &mut rng).await;
        if shared.stop.load(Relaxed) {
            break;
        }
        shared.seen.cut.fetch_add(1, Relaxed);
        shared.seen.word(format!("{who} was cut off: {e}"));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Publishes for as long as it is let.
pub(super) async fn publish(shared: Arc<Shared>) -> io::Result<Infallible> {
    let Some(server) = shared.plan.rtc else { return std::future::pending().await };
    let mut rng = StdRng::seed_from_u64(shared.plan.seed ^ 0x9ab);
    let mut peer = Peer::open(shared.plan.api, server, true, NAME, &mut rng).await?;
    peer.connect().await?;
    let pt = peer.session.payload_type("video");
    let config = testcard::clip(2).avc_config().to_vec();
    let mut kept: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let (mut index, mut next_key, mut number) = (5_000_u64, Instant::now(), 0_u64);
    let start = Instant::now();
    let mut every = tokio::time::interval(PERIOD);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let now = Instant::now();
        let key = now >= next_key;
        let ticks = (now.saturating_duration_since(start).as_micros() * 9 / 100) as u32;
        let nanos = shared.start.elapsed().as_nanos() as u64;
        let stamp = [MARK, format!("{number:016x}{nanos:016x}").as_bytes()].concat();
        let mut payloads = Vec::new();
        if key {
            next_key = now + KEY_EVERY - PERIOD / 2;
            payloads.push(parameter_sets(&config));
        }
        let mut slice = vec![if key { 0x65 } else { 0x41 }, 0x9a];
        slice.extend_from_slice(&stamp);
        slice.resize(PICTURE, 0x9a);
        payloads.push(slice);
        let last = payloads.len() - 1;
        for (at, payload) in payloads.iter().enumerate() {
            let mut packet = header(at == last, pt, index, ticks, VIDEO);
            packet.extend_from_slice(payload);
            let sealed = peer.sealed(index, VIDEO, 12, &packet);
            refused(peer.udp.send(&sealed).await)?;
            kept.insert(index, sealed);
            index += 1;
        }
        while kept.len() > KEPT {
            kept.pop_first();
        }
        number += 1;
        if number.is_multiple_of(25) {
            let mut out = Vec::new();
            let info = SenderInfo {
                ssrc: VIDEO,
                ntp: (0xe000_0000 << 32) + (u128::from(nanos) * (1 << 32) / 1_000_000_000) as u64,
                rtp: ticks,
                packets: index as u32,
                octets: 0,
            };
            write::sender_report(&mut out, &info, &[]);
            peer.report(out).await?;
        }
        for got in peer.hear().await? {
            let Got::Rtcp(packet) = got else { continue };
            for item in Compound::new(&packet).flatten() {
                let Rtcp::Nack { sequences, .. } = item else { continue };
                for short in sequences {
                    let again = kept.iter().rev().find(|(n, _)| **n as u16 == short);
                    if let Some((_, sealed)) = again {
                        refused(peer.udp.send(sealed).await)?;
                    }
                }
            }
        }
    }
}

/// SPS and PPS of an `avcC` with one of each, in one packet (STAP-A, RFC 6184 §5.7.1).
fn parameter_sets(config: &[u8]) -> Vec<u8> {
    let mut out = vec![0x78];
    let mut rest = config.get(6..).unwrap_or_default();
    for _ in 0..2 {
        let Some((len, more)) = rest.split_first_chunk::<2>() else { break };
        let len = usize::from(u16::from_be_bytes(*len));
        out.extend_from_slice(&(len as u16).to_be_bytes());
        out.extend_from_slice(more.get(..len).unwrap_or_default());
        // The number of PPS stands between.
        rest = more.get(len + 1..).unwrap_or_default();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_awaited_until_it_is_filled_or_late() {
        let (mut line, now) = (Line::default(), Instant::now());
        for short in [65_534, 65_535, 2, 0] {
            line.came(short, now);
        }
        assert_eq!(line.awaited.len(), 1);
        line.came(1, now);
        assert!(line.awaited.is_empty());
        line.came(5, now);
        assert_eq!((line.give_up(now), line.give_up(now + LATE)), (0, 2));
    }
}
