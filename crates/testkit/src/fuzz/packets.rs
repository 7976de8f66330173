//! RTP packets with their extensions, and RTCP with everything that hangs on it.

use rtp::extension::{ExtensionWriter, Form};
use rtp::fec::parity::Repair;
use rtp::fec::red::Redundant;
use rtp::packet::{self, Packet};
use rtp::rtcp::{Compound, Rtcp, XrBlock, write};
use rtp::rtx::{self, Target};
use rtp::twcc::{self, Parsed, Recorder};

/// A packet that is read adds up, its extensions and its retransmission survive being written.
pub fn rtp_packet(data: &[u8]) {
    let _ = packet::is_rtcp(data);
    let Ok(read) = Packet::parse(data) else { return };
    let whole = read.header_len + read.payload.len() + usize::from(read.padding);
    assert_eq!(whole, data.len(), "bytes are lost");
    assert_eq!(packet::header_len(data), Ok(read.header_len));
    let _ = Redundant::parse(read.payload).map(|red| red.earlier().count());
    for repair in [Repair::parse_ulp(read.payload), Repair::parse_flex(read.payload)] {
        let Ok(repair) = repair else { continue };
        let mut out = Vec::new();
        let missing = repair.sequences().next().unwrap_or(0);
        let _ = repair.recover(missing, 1, [data], &mut out);
        assert!(out.len() <= data.len(), "more is made than was there");
    }

    let elements: Vec<_> = read.extensions().collect();
    let mut out = Vec::new();
    let mut writer = ExtensionWriter::new(&mut out, Form::TwoByte);
    assert!(elements.iter().all(|element| writer.push(element.id, element.data)));
    if writer.finish() > 0 {
        let mut again = data.get(..12).unwrap_or_default().to_vec();
        packet::set_extension_bit(&mut again, true);
        if let Some(first) = again.first_mut() {
            *first &= 0xD0;
        }
        again.extend_from_slice(&out);
        let again = Packet::parse(&again).map(|packet| packet.extensions().collect::<Vec<_>>());
        assert_eq!(again, Ok(elements.clone()), "lost on the way back");
    }

    let to = Target { ssrc: 1, payload_type: 2, sequence: 3 };
    let mut wrapped = Vec::new();
    assert_eq!(rtx::wrap(data, to, &mut wrapped), Ok(()));
    if let Ok(original) = rtx::unwrap(&mut wrapped, read.ssrc, read.payload_type) {
        assert_eq!(original, data, "lost on the way back");
    }
    let _ = rtx::unwrap(&mut data.to_vec(), 1, 2);
}

/// Every list ends, none is longer than its bytes allow, and what is asked for again is the same.
pub fn rtcp(data: &[u8]) {
    let mut packets = 0;
    for packet in Compound::new(data) {
        packets += 1;
        let Ok(packet) = packet else { continue };
        let items = match packet {
            Rtcp::SenderReport { reports, .. } | Rtcp::ReceiverReport { reports, .. } => {
                reports.count()
            }
            Rtcp::Sdes(chunks) => chunks.map(|chunk| 1 + chunk.cname.len() / 4).sum(),
            Rtcp::Bye { ssrcs, .. } | Rtcp::Remb { ssrcs, .. } => ssrcs.count(),
            Rtcp::Fir { entries, .. } => entries.count(),
            Rtcp::Nack { sender, media, sequences } => {
                let asked: Vec<_> = sequences.collect();
                nack_again(sender, media, &asked);
                asked.len() / 17
            }
            Rtcp::TransportCc(feedback) => {
                feedback_again(feedback.fci);
                0
            }
            Rtcp::Xr { blocks, .. } => blocks
                .map(|block| match block {
                    XrBlock::Dlrr(items) => items.count(),
                    _ => 1,
                })
                .sum(),
            _ => 0,
        };
        assert!(items <= data.len() / 4, "{items} items in {} bytes", data.len());
    }
    assert!(packets <= rtp::rtcp::MAX_PACKETS);
    feedback_again(data);
}

fn nack_again(sender: u32, media: u32, asked: &[u16]) {
    let mut out = Vec::new();
    let taken = write::nack(&mut out, sender, media, asked.iter().copied());
    let Some(Ok(Rtcp::Nack { sequences, .. })) = Compound::new(&out).next() else {
        assert!(asked.is_empty(), "cannot read what it wrote");
        return;
    };
    // Numbers out of order are put in order within a pair, so sets are compared.
    let mut before: Vec<_> = asked.iter().copied().take(taken).collect();
    let mut after: Vec<_> = sequences.collect();
    for list in [&mut before, &mut after] {
        list.sort_unstable();
        list.dedup();
    }
    assert_eq!(before, after, "lost on the way back");
}

/// Feedback that is read is bounded; recorded anew, everything that came is told again.
fn feedback_again(fci: &[u8]) {
    let Ok(parsed) = Parsed::parse(fci) else { return };
    let statuses: Vec<_> = parsed.statuses().collect();
    assert!(statuses.len() <= usize::from(parsed.status_count));
    let mut recorder = Recorder::new(twcc::Options { interval_us: 0 });
    let mut came = 0;
    for status in &statuses {
        let Some(arrival) = status.arrival_us else { continue };
        // Far enough from zero for every negative time there can be.
        let at = (1i64 << 40).saturating_add(arrival);
        recorder.on_packet(status.sequence, u64::try_from(at).unwrap_or(0));
        came += 1;
    }
    let (mut out, mut told) = (Vec::new(), 0);
    while recorder.write(&mut out, 1, 2, u64::MAX) {
        assert!(out.len() <= 1_200, "{} bytes of feedback", out.len());
        let again = match Compound::new(&out).next() {
            Some(Ok(Rtcp::TransportCc(feedback))) => Parsed::parse(feedback.fci).ok(),
            _ => None,
        };
        let again = again.map_or(0, |again| {
            again.statuses().filter(|status| status.arrival_us.is_some()).count()
        });
        assert!(again > 0, "cannot read what it wrote");
        told += again;
        out.clear();
    }
    // More than the recorder remembers may come at once.
    assert!(told == came || came > 1_000 || statuses.len() > 1_000, "{told} of {came}");
}
