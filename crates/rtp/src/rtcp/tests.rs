use proptest::prelude::*;

use super::*;

fn one(bytes: &[u8]) -> Rtcp<'_> {
    let mut all = Compound::new(bytes);
    let packet = all.next().unwrap().unwrap();
    assert_eq!(all.next(), None);
    packet
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    assert_eq!(out.len() % 4, 0);
    out
}

fn a_block(ssrc: u32) -> ReportBlock {
    ReportBlock {
        ssrc,
        fraction_lost: 200,
        cumulative_lost: -3,
        highest: 0x0001_FFFE,
        jitter: 77,
        last_sr: 0x1234_5678,
        delay_since_last_sr: 65_536,
    }
}

#[test]
fn a_compound_of_everything_is_read_as_it_was_written() {
    let info = SenderInfo { ssrc: 1, ntp: 0x8000_0001_4000_0000, rtp: 9, packets: 10, octets: 11 };
    let blocks = [a_block(5), a_block(6)];
    let out = written(|out| {
        write::sender_report(out, &info, &blocks);
        write::sdes_cname(out, 1, b"name@host");
        write::receiver_report(out, 2, &blocks[..1]);
        write::nack(out, 2, 5, [7, 8, 23, 24, 65_535]);
        write::pli(out, 2, 5);
        write::fir(out, 2, 5, 200);
        write::remb(out, 2, 1_000_000, &[5, 6]);
        write::xr_rrtr(out, 2, 0x0102_0304_0506_0708);
        write::xr_dlrr(out, 2, &[(5, 6, 7), (8, 9, 10)]);
        write::app(out, 2, 31, *b"milr", b"12345");
        write::bye(out, &[2, 3]);
    });
    let all: Vec<_> = Compound::new(&out).map(Result::unwrap).collect();
    let [sr, sdes, rr, nack, pli, fir, remb, rrtr, dlrr, app, bye] = &all[..] else {
        panic!("{all:?}")
    };
    let Rtcp::SenderReport { info: read, reports } = sr else { panic!("{sr:?}") };
    assert_eq!((*read, reports.clone().collect::<Vec<_>>()), (info, blocks.to_vec()));
    let Rtcp::Sdes(chunks) = sdes else { panic!("{sdes:?}") };
    let expected = SdesChunk { ssrc: 1, cname: b"name@host" };
    assert_eq!(chunks.clone().collect::<Vec<_>>(), [expected]);
    let Rtcp::ReceiverReport { sender: 2, reports } = rr else { panic!("{rr:?}") };
    assert_eq!(reports.clone().collect::<Vec<_>>(), blocks[..1]);
    let Rtcp::Nack { sender: 2, media: 5, sequences } = nack else { panic!("{nack:?}") };
    assert_eq!(sequences.clone().collect::<Vec<_>>(), [7, 8, 23, 24, 65_535]);
    assert_eq!(*pli, Rtcp::Pli { sender: 2, media: 5 });
    let Rtcp::Fir { sender: 2, entries } = fir else { panic!("{fir:?}") };
    assert_eq!(entries.clone().collect::<Vec<_>>(), [(5, 200)]);
    let Rtcp::Remb { sender: 2, bitrate: 1_000_000, ssrcs } = remb else { panic!("{remb:?}") };
    assert_eq!(ssrcs.clone().collect::<Vec<_>>(), [5, 6]);
    let Rtcp::Xr { sender: 2, blocks } = rrtr else { panic!("{rrtr:?}") };
    assert_eq!(blocks.clone().collect::<Vec<_>>(), [XrBlock::Rrtr(0x0102_0304_0506_0708)]);
    let Rtcp::Xr { sender: 2, blocks } = dlrr else { panic!("{dlrr:?}") };
    let Some(XrBlock::Dlrr(items)) = blocks.clone().next() else { panic!("{blocks:?}") };
    assert_eq!(items.collect::<Vec<_>>(), [(5, 6, 7), (8, 9, 10)]);
    let data = &b"12345\0\0\0"[..];
    assert_eq!(*app, Rtcp::App { ssrc: 2, subtype: 31, name: *b"milr", data });
    let Rtcp::Bye { ssrcs, reason: b"" } = bye else { panic!("{bye:?}") };
    assert_eq!(ssrcs.clone().collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn a_wrong_body_is_told_and_the_next_packet_is_read() {
    // A sender report of one block whose length tells of none.
    let mut out = written(|out| write::sender_report(out, &SenderInfo::default(), &[]));
    out[0] |= 1;
    write::pli(&mut out, 1, 2);
    let all: Vec<_> = Compound::new(&out).collect();
    let error = RtcpError::Body { at: 0, packet_type: 200, count: 1 };
    assert_eq!(all, [Err(error), Ok(Rtcp::Pli { sender: 1, media: 2 })]);
}

#[test]
fn hostile_lengths_end_the_compound() {
    let good = written(|out| write::pli(out, 1, 2));
    let mut long = good.clone();
    long[2..4].copy_from_slice(&[0xFF, 0xFF]);
    let error = RtcpError::Short { at: 0, claimed: 262_144, left: 12 };
    assert_eq!(Compound::new(&long).collect::<Vec<_>>(), [Err(error)]);
    let mut tail = good.clone();
    tail.extend_from_slice(&[0x80, 200]);
    let error = RtcpError::Short { at: 12, claimed: 4, left: 2 };
    assert_eq!(Compound::new(&tail).nth(1), Some(Err(error)));
    assert_eq!(Compound::new(&tail).count(), 2);
    let mut version = good;
    version[0] = 0x01;
    let error = RtcpError::Version { at: 0, version: 0 };
    assert_eq!(Compound::new(&version).collect::<Vec<_>>(), [Err(error)]);
    assert_eq!(Compound::new(&[]).next(), None);
}

#[test]
fn bodies_shorter_than_their_type_needs_are_refused() {
    for (packet_type, count) in
        [(200, 0), (201, 0), (203, 1), (204, 0), (205, 1), (205, 15), (206, 1), (206, 4), (207, 0)]
    {
        let bytes = [0x80 | count, packet_type, 0, 0];
        let error = RtcpError::Body { at: 0, packet_type, count };
        assert_eq!(Compound::new(&bytes).next(), Some(Err(error)));
    }
}

#[test]
fn padding_is_taken_away_or_refused() {
    let mut out = written(|out| assert_eq!(write::nack(out, 1, 2, [7]), 1));
    out[0] |= 0x20;
    out[3] += 1;
    let padded = [&out[..], &[0, 0, 0, 4]].concat();
    let Rtcp::Nack { sequences, .. } = one(&padded) else { panic!() };
    assert_eq!(sequences.collect::<Vec<_>>(), [7]);
    for count in [0, 17] {
        let bad = [&out[..], &[0, 0, 0, count]].concat();
        let error = RtcpError::Padding { at: 0, packet_type: 205 };
        assert_eq!(Compound::new(&bad).next(), Some(Err(error)));
    }
}

#[test]
fn unknown_packets_are_passed_over_whole() {
    let bytes = [0x83, 195, 0, 1, 9, 9, 9, 9, 0x8F, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2];
    let all: Vec<_> = Compound::new(&bytes).map(Result::unwrap).collect();
    let first = Rtcp::Other { packet_type: 195, count: 3, body: &bytes[4..8] };
    // Application layer feedback that is no REMB.
    let second = Rtcp::Other { packet_type: 206, count: 15, body: &bytes[12..] };
    assert_eq!(all, [first, second]);
}

#[test]
fn no_more_packets_are_read_than_the_bound() {
    let mut out = Vec::new();
    for _ in 0..MAX_PACKETS + 10 {
        write::pli(&mut out, 1, 2);
    }
    assert_eq!(Compound::new(&out).count(), MAX_PACKETS);
}

#[test]
fn no_more_is_asked_for_than_the_bound() {
    let mut out = Vec::new();
    let taken = write::nack(&mut out, 1, 2, (0..60_000).step_by(17));
    assert_eq!(taken, MAX_NACK_PAIRS);
    let Rtcp::Nack { sequences, .. } = one(&out) else { panic!() };
    assert_eq!(sequences.count(), MAX_NACK_PAIRS);
    let mut hostile = vec![0x81, 205, 0x3F, 0xFF];
    hostile.resize(4 + 4 * 0x3FFF, 0xFF);
    let Rtcp::Nack { sequences, .. } = one(&hostile) else { panic!() };
    assert_eq!(sequences.count(), 17 * MAX_NACK_PAIRS);
}

#[test]
fn a_nack_for_nothing_is_not_written() {
    let mut out = Vec::new();
    assert_eq!(write::nack(&mut out, 1, 2, []), 0);
    write::xr_dlrr(&mut out, 1, &[]);
    assert!(out.is_empty());
}

#[test]
fn descriptions_end_where_they_lie() {
    // An item longer than the packet.
    let bytes = [0x81, 202, 0, 2, 0, 0, 0, 1, 1, 200, b'a', 0];
    let Rtcp::Sdes(chunks) = one(&bytes) else { panic!() };
    assert_eq!(chunks.count(), 0);
    // The closing zero was forgotten.
    let bytes = [0x81, 202, 0, 2, 0, 0, 0, 1, 1, 2, b'a', b'b'];
    let Rtcp::Sdes(chunks) = one(&bytes) else { panic!() };
    assert_eq!(chunks.collect::<Vec<_>>(), [SdesChunk { ssrc: 1, cname: b"ab" }]);
    // Two chunks, the first with a note before its name and an own padding word.
    let bytes = [
        0x82, 202, 0, 6, 0, 0, 0, 1, 7, 1, b'n', 1, 3, b'a', b'b', b'c', 0, 0, 0, 0, 0, 0, 0, 2, 0,
        0, 0, 0,
    ];
    let Rtcp::Sdes(chunks) = one(&bytes) else { panic!() };
    let expected = [SdesChunk { ssrc: 1, cname: b"abc" }, SdesChunk { ssrc: 2, cname: b"" }];
    assert_eq!(chunks.collect::<Vec<_>>(), expected);
}

#[test]
fn extended_reports_end_where_they_lie() {
    // A block of one word, then one that claims 65,535.
    let bytes = [0x80, 207, 0, 4, 0, 0, 0, 1, 9, 0, 0, 1, 0, 0, 0, 0, 5, 0, 0xFF, 0xFF];
    let Rtcp::Xr { blocks, .. } = one(&bytes) else { panic!() };
    assert_eq!(blocks.collect::<Vec<_>>(), [XrBlock::Other(9)]);
}

#[test]
fn a_reason_longer_than_its_goodbye_is_refused() {
    let bytes = [0x81, 203, 0, 2, 0, 0, 0, 1, 3, b'e', b'n', b'd'];
    let Rtcp::Bye { reason: b"end", .. } = one(&bytes) else { panic!() };
    let bytes = [0x81, 203, 0, 2, 0, 0, 0, 1, 4, b'e', b'n', b'd'];
    assert!(Compound::new(&bytes).next().unwrap().is_err());
}

#[test]
fn a_bitrate_of_any_size_is_told_within_its_precision() {
    for bitrate in [0, 1, 262_143, 262_144, 8_500_000, u64::MAX] {
        let out = written(|out| write::remb(out, 1, bitrate, &[2]));
        let Rtcp::Remb { bitrate: read, .. } = one(&out) else { panic!() };
        assert!(read <= bitrate && bitrate - read <= bitrate >> 17, "{bitrate} {read}");
    }
    // 18 bits of mantissa, shifted by 63: more than any number of ours.
    let mut out = written(|out| write::remb(out, 1, 0, &[]));
    out[17..20].fill(0xFF);
    let Rtcp::Remb { bitrate, .. } = one(&out) else { panic!() };
    assert_eq!(bitrate, u64::MAX);
}

#[test]
fn ntp_times_are_seconds_since_1900() {
    assert_eq!(ntp_from_unix_micros(0), 2_208_988_800 << 32);
    assert_eq!(ntp_from_unix_micros(1_500_000), (2_208_988_801 << 32) | (1 << 31));
    assert_eq!(ntp_middle(0x1122_3344_5566_7788), 0x3344_5566);
    assert_eq!(ntp_micros((7 << 32) | (1 << 31)), 7_500_000);
    assert_eq!(ntp_micros(u64::MAX), u64::from(u32::MAX) * 1_000_000 + 999_999);
}

#[test]
fn a_round_trip_is_told_by_the_report_that_answers_ours() {
    let sent = ntp_from_unix_micros(1_000_000_000);
    let received = ntp_from_unix_micros(1_000_350_000);
    let delay = 65_536 / 4;
    let rtt = round_trip_us(received, ntp_middle(sent), delay).unwrap();
    assert!(rtt.abs_diff(100_000) < 50, "{rtt}");
    assert_eq!(round_trip_us(received, 0, 0), None);
    assert_eq!(round_trip_us(sent, ntp_middle(received), 0), None, "from the future");
    assert_eq!(round_trip_us(sent, ntp_middle(sent), 3), Some(0), "rounding is no future");
}

#[test]
fn losses_are_told_by_interval_and_in_all() {
    let mut stats = ReceiverStats::new(90_000);
    assert_eq!(stats.report(9, 0), ReportBlock { ssrc: 9, ..ReportBlock::default() });
    for sequence in (0x1_FF00..0x1_FF40).filter(|sequence| sequence % 4 != 3) {
        stats.on_packet(sequence, 0, 0);
    }
    let block = stats.report(9, 0);
    assert_eq!(block.highest, 0xFF3E);
    assert_eq!((stats.expected(), stats.received(), stats.lost()), (63, 48, 15));
    assert_eq!(block.fraction_lost, (15 * 256 / 63) as u8);
    assert_eq!(block.cumulative_lost, 15);
    for sequence in 0x1_FF3F..0x2_0003 {
        stats.on_packet(sequence, 0, 0);
    }
    let block = stats.report(9, 0);
    assert_eq!((block.fraction_lost, block.cumulative_lost), (0, 15));
    assert_eq!(block.highest, 0x1_0002, "one cycle since the first packet");
}

#[test]
fn duplicates_make_the_loss_negative_and_the_fraction_zero() {
    let mut stats = ReceiverStats::new(90_000);
    for sequence in [0x1_0000, 0x1_0001, 0x1_0001, 0x1_0001] {
        stats.on_packet(sequence, 0, 0);
    }
    let block = stats.report(9, 0);
    assert_eq!((block.fraction_lost, block.cumulative_lost), (0, -2));
}

#[test]
fn a_packet_older_than_the_first_is_expected_too() {
    let mut stats = ReceiverStats::new(90_000);
    stats.on_packet(0x1_0000, 0, 0);
    stats.on_packet(0xFFFF, 0, 0);
    assert_eq!((stats.expected(), stats.lost()), (2, 0));
}

#[test]
fn jitter_follows_the_deviation_and_forgets_it() {
    let mut stats = ReceiverStats::new(48_000);
    let mut sequence = 0x1_0000;
    let mut run = |deviation: u64, count: u64| {
        for _ in 0..count {
            let at = (sequence - 0x1_0000) * 20_000;
            let late = if sequence % 2 == 0 { deviation } else { 0 };
            stats.on_packet(sequence, (at * 48 / 1_000) as u32, at + late);
            sequence += 1;
        }
        stats.jitter_us()
    };
    assert_eq!(run(0, 50), 0);
    let shaken = run(5_000, 200);
    assert!((4_500..=5_000).contains(&shaken), "{shaken}");
    assert!(run(0, 200) < 400);
}

#[test]
fn packets_of_one_picture_and_a_jump_of_timestamps_are_no_jitter() {
    let mut stats = ReceiverStats::new(90_000);
    for packet in 0..100 {
        stats.on_packet(0x1_0000 + packet, 3_000, packet * 1_000);
    }
    stats.on_packet(0x1_0100, 0x8000_0000, 101_000);
    assert_eq!(stats.jitter(), 0);
}

#[test]
fn a_report_tells_how_old_the_sender_report_is() {
    let mut stats = ReceiverStats::new(90_000);
    stats.on_packet(0x1_0000, 0, 0);
    stats.on_sender_report(0x1122_3344_5566_7788, 1_000_000);
    let block = stats.report(1, 3_500_000);
    assert_eq!((block.last_sr, block.delay_since_last_sr), (0x3344_5566, 163_840));
}

proptest! {
    #[test]
    fn any_bytes_are_walked_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        walk(&bytes);
    }

    #[test]
    fn bytes_behind_an_honest_head_are_walked_to_an_end(
        packet_type in 192u8..224, count in 0u8..64,
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let words = body.len() / 4;
        let mut bytes = vec![0x80 | count, packet_type, 0, words as u8];
        bytes.extend_from_slice(&body[..4 * words]);
        prop_assert!(walk(&bytes) == 1);
    }

    #[test]
    fn a_nack_asks_for_exactly_what_was_given(
        start: u16, steps in proptest::collection::vec(1u16..40, 0..200),
    ) {
        let mut sequences = vec![start];
        for step in steps {
            sequences.push(sequences.last().unwrap().wrapping_add(step));
        }
        let mut out = Vec::new();
        prop_assert_eq!(write::nack(&mut out, 1, 2, sequences.iter().copied()), sequences.len());
        let Rtcp::Nack { sequences: read, .. } = one(&out) else { panic!() };
        prop_assert_eq!(read.collect::<Vec<_>>(), sequences);
    }

    #[test]
    fn report_blocks_survive_a_round_trip(
        ssrc: u32, fraction_lost: u8, cumulative_lost in -0x80_0000i32..0x80_0000,
        highest: u32, jitter: u32, last_sr: u32, delay_since_last_sr: u32, count in 0usize..40,
    ) {
        let block = ReportBlock {
            ssrc, fraction_lost, cumulative_lost, highest, jitter, last_sr, delay_since_last_sr,
        };
        let mut out = Vec::new();
        write::receiver_report(&mut out, 1, &vec![block; count]);
        let Rtcp::ReceiverReport { reports, .. } = one(&out) else { panic!() };
        prop_assert_eq!(reports.collect::<Vec<_>>(), vec![block; count.min(31)]);
    }

    #[test]
    fn names_of_any_length_survive(cname in proptest::collection::vec(any::<u8>(), 0..300)) {
        let out = written(|out| write::sdes_cname(out, 1, &cname));
        let Rtcp::Sdes(mut chunks) = one(&out) else { panic!() };
        prop_assert_eq!(chunks.next().unwrap().cname, &cname[..cname.len().min(255)]);
        prop_assert_eq!(chunks.next(), None);
    }
}

/// Walks every list there is; gives the number of packets.
fn walk(bytes: &[u8]) -> usize {
    let packets = Compound::new(bytes).inspect(|packet| {
        let items = match packet.clone() {
            Ok(Rtcp::SenderReport { reports, .. } | Rtcp::ReceiverReport { reports, .. }) => {
                reports.count()
            }
            Ok(Rtcp::Sdes(chunks)) => chunks.count(),
            Ok(Rtcp::Bye { ssrcs, .. } | Rtcp::Remb { ssrcs, .. }) => ssrcs.count(),
            Ok(Rtcp::Nack { sequences, .. }) => sequences.count() / 17,
            Ok(Rtcp::Fir { entries, .. }) => entries.count(),
            Ok(Rtcp::Xr { blocks, .. }) => blocks.count(),
            _ => 0,
        };
        assert!(items <= bytes.len() / 4);
    });
    packets.count()
}
