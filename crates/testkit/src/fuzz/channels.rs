//! Data channels: their opening, and packets of SCTP as they arrive.

use std::time::{Duration, Instant};

use rtc::session::data::dcep::{Dcep, Open};
use rtc::session::data::packet::{self, Chunk};
use rtc::session::data::{
    Channels, DataConfig, DataEvent, Form, MOST_CHANNELS, MOST_MESSAGE, MOST_PACKET,
};

/// A message of DCEP: what was read is written so that it is read the same.
pub fn dcep(data: &[u8]) {
    let Ok(message) = Dcep::parse(data) else { return };
    let mut written = Vec::new();
    message.write(&mut written);
    assert_eq!(Dcep::parse(&written), Ok(message));
}

/// Packets of SCTP from a peer that has passed the handshake. The first byte chooses whether it has
/// opened a channel before. The rest are packets, each after its length in one byte, without the
/// header: that one is made, with the right tag and checksum. Numbers of DATA, SACK and FORWARD TSN
/// are told from the first of their side.
///
/// What is sent fits into a packet, messages and channels keep to their bounds, and the end comes
/// once.
pub fn sctp(data: &[u8]) {
    let [mode, data @ ..] = data else { return };
    let mut now = Instant::now();
    let config = DataConfig { peer_takes: 0, dtls_client: true };
    let mut client = Channels::connect(config, now);
    let mut server = Channels::accept(DataConfig { dtls_client: false, ..config }, now);
    let mut peer = Peer::default();
    if mode % 2 == 1 {
        client.open(Open { label: "echo".to_owned(), ..Open::default() });
    }
    for _ in 0..4 {
        peer.exchange(&mut client, &mut server, now);
    }
    let mut ends = 0;
    let mut rest = data;
    while let [len, tail @ ..] = rest {
        let (chunks, tail) = tail.split_at(usize::from(*len).min(tail.len()));
        rest = tail;
        let before = ends;
        let taken = server.handle(now, &peer.packet(chunks));
        assert!(taken.is_err() || before == 0, "it takes packets after its end");
        while let Some(event) = server.poll_event() {
            assert_eq!(ends, 0, "something follows the end: {event:?}");
            match event {
                DataEvent::Message { id, form, bytes } => {
                    assert!(bytes.len() <= MOST_MESSAGE as usize);
                    assert!(form == Form::Text || form == Form::Binary);
                    let _ = server.send(id, form, &bytes);
                }
                DataEvent::Over(_) => ends += 1,
                DataEvent::Opened { .. } | DataEvent::Closed { .. } => {}
            }
        }
        assert!(server.open_channels() <= MOST_CHANNELS);
        while let Some(packet) = server.poll_transmit(now) {
            assert!(packet.len() <= MOST_PACKET);
        }
        now += Duration::from_millis(u64::from(*mode));
        server.handle_timeout(now);
    }
}

/// What the fuzzer needs to know to be taken for the client.
#[derive(Default)]
struct Peer {
    tag: [u8; 4],
    /// First numbers of DATA: its own, and the server's.
    own: u32,
    theirs: u32,
}

impl Peer {
    fn exchange(&mut self, client: &mut Channels, server: &mut Channels, now: Instant) {
        while let Some(packet) = client.poll_transmit(now) {
            self.tag =
                packet.get(4..8).and_then(|tag| tag.first_chunk()).copied().unwrap_or(self.tag);
            if let Some(Ok(Chunk::Init { tsn })) = packet::chunks(&packet).next() {
                self.own = tsn;
            }
            let _ = server.handle(now, &packet);
        }
        while let Some(packet) = server.poll_transmit(now) {
            if let Some(Ok(Chunk::Init { tsn })) = packet::chunks(&packet).next() {
                self.theirs = tsn;
            }
            let _ = client.handle(now, &packet);
        }
    }

    fn packet(&self, chunks: &[u8]) -> Vec<u8> {
        let mut packet = [&[0x13, 0x88, 0x13, 0x88][..], &self.tag, &[0; 4], chunks].concat();
        packet.resize(packet.len().next_multiple_of(4), 0);
        let mut at = 12;
        while let Some([kind, _, hi, lo]) = packet.get(at..).and_then(|c| c.first_chunk()).copied()
        {
            let base = if kind == 3 { self.theirs } else { self.own };
            let number = packet.get_mut(at + 4..at + 8).and_then(|n| n.first_chunk_mut());
            if let (0 | 3 | 192, Some(number)) = (kind, number) {
                *number = u32::from_be_bytes(*number).wrapping_add(base).to_be_bytes();
            }
            at += usize::from(u16::from_be_bytes([hi, lo])).max(4).next_multiple_of(4);
        }
        let sum = crc32c(&packet).to_le_bytes();
        if let Some(place) = packet.get_mut(8..12) {
            place.copy_from_slice(&sum);
        }
        packet
    }
}

/// CRC-32C (RFC 9260 appendix A), bit by bit.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}
