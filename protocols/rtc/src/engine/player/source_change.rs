//! What a viewer is told when another publisher takes the stream.

use media::Codec;
use smallvec::smallvec;

use super::{Format, Line};
use crate::engine::clock::ntp_of_us;
use crate::engine::log::{New, PacketLog, Sync, VIDEO};

const SECOND: u32 = 90_000;

fn line() -> Line {
    let format = Format { codec: Codec::H264, payload_type: 96, rtx: None };
    Line::new(smallvec![format], 1, None, VIDEO, 5_000, 5_000)
}

/// A source whose first packet is of `timestamp`.
fn source(log: &mut PacketLog, seq: u64, timestamp: u32) {
    log.begin_anew();
    log.set_codec(VIDEO, Some(Codec::H264));
    log.push(New { lane: VIDEO, seq, timestamp, marker: true, key: true, payload: &[1; 100] });
}

/// The line begins with the newest packet of the log at `now_us`; gives its time for the viewer.
fn begins(line: &mut Line, log: &PacketLog, now_us: u64) -> u32 {
    let (entry, payload) = log.get(log.head() - 1).expect("the packet is there");
    assert!(line.begin(log, entry, payload, now_us));
    line.last_time = line.time(entry.timestamp);
    line.last_us = now_us;
    line.packets += 1;
    line.next += 1;
    line.last_time
}

fn sync(log: &mut PacketLog, ntp_us: u64, timestamp: u32) {
    let ntp = ntp_of_us(ntp_us);
    log.set_sync(VIDEO, Sync { ntp, timestamp, at_us: ntp_us, clock: SECOND });
}

fn replaced(line: &mut Line) {
    line.started = false;
    if let Some(now) = &mut line.now {
        now.ends();
    }
}

#[test]
fn times_go_on_as_much_later_as_the_new_source_came() {
    let (mut line, mut log) = (line(), PacketLog::default());
    source(&mut log, 1, 777);
    let first = begins(&mut line, &log, 1_000_000);
    replaced(&mut line);
    source(&mut log, 60_000, 3_000_000_000);
    let second = begins(&mut line, &log, 3_500_000);
    assert_eq!(second.wrapping_sub(first), SECOND * 5 / 2);
}

#[test]
fn times_go_on_by_the_wall_clock_where_both_sources_told_it() {
    let (mut line, mut log) = (line(), PacketLog::default());
    source(&mut log, 1, 777);
    sync(&mut log, 990_000, 777);
    let first = begins(&mut line, &log, 1_000_000);
    line.tell(ntp_of_us(990_000), first);
    replaced(&mut line);
    source(&mut log, 9, 3_000_000_000);
    // It holds its pictures back 40 ms longer than the first.
    sync(&mut log, 3_450_000, 3_000_000_000);
    let second = begins(&mut line, &log, 3_500_000);
    // To a tick.
    assert!(second.wrapping_sub(first).abs_diff(SECOND / 100 * 246) <= 1);
}

#[test]
fn a_wall_clock_that_says_quite_another_thing_is_not_believed() {
    let (mut line, mut log) = (line(), PacketLog::default());
    source(&mut log, 1, 777);
    let first = begins(&mut line, &log, 1_000_000);
    line.tell(ntp_of_us(990_000), first);
    replaced(&mut line);
    source(&mut log, 9, 42);
    sync(&mut log, 9_000_000, 42);
    let second = begins(&mut line, &log, 3_500_000);
    assert_eq!(second.wrapping_sub(first), SECOND * 5 / 2);
}

#[test]
fn nothing_is_reported_of_a_source_that_has_sent_nothing_yet() {
    let (mut line, mut log) = (line(), PacketLog::default());
    source(&mut log, 1, 777);
    sync(&mut log, 990_000, 777);
    begins(&mut line, &log, 1_000_000);
    assert!(line.has_sent());
    replaced(&mut line);
    log.begin_anew();
    assert!(!line.has_sent());
    assert!(log.sync(VIDEO).is_none());
}

#[test]
fn who_falls_behind_keeps_the_times_of_its_source() {
    let (mut line, mut log) = (line(), PacketLog::default());
    source(&mut log, 1, 777);
    sync(&mut log, 990_000, 777);
    let first = begins(&mut line, &log, 1_000_000);
    line.started = false;
    let later = 777 + 5 * SECOND;
    log.push(New {
        lane: VIDEO,
        seq: 50,
        timestamp: later,
        marker: true,
        key: true,
        payload: &[1],
    });
    // Sent two seconds after it was there.
    let second = begins(&mut line, &log, 8_000_000);
    assert_eq!(second.wrapping_sub(first), 5 * SECOND);
}
