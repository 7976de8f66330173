//! Session descriptions and what is made of them.

use media::Codec;
use rtc::negotiate::{
    Ask, Candidate, Fingerprint, Fragment, Intent, Ours, Track, answer, restart, trickle,
};
use rtp::sdp::{MAX_BYTES, SessionDescription};

/// What was read and is printed reads the same; an answer keeps the sections and their order, and
/// names nothing that was not offered.
pub fn sdp(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(offer) = SessionDescription::parse(&text) else { return };
    let printed = offer.to_string();
    if printed.len() <= MAX_BYTES {
        let again = SessionDescription::parse(&printed);
        assert_eq!(again.as_ref(), Ok(&offer), "changed on the way back");
    }
    for intent in [Intent::Publish, Intent::Play] {
        for codec in [None, Some(Codec::H264), Some(Codec::H265)] {
            fits(&offer, intent, codec);
        }
    }
}

fn fits(offer: &SessionDescription, intent: Intent, codec: Option<Codec>) {
    let mut ask = Ask::new(intent, ours());
    ask.available = codec.map(|codec| vec![Track::new(codec), Track::new(Codec::Opus)]);
    (ask.options.red, ask.options.fec) = (codec.is_some(), codec.is_none());
    let answered = match answer(offer, &ask) {
        Ok(answered) => answered,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    // Refusals add a line to each section: one that was nearly too long may get so.
    if answered.sdp.len() > MAX_BYTES {
        return;
    }
    let answer = SessionDescription::parse(&answered.sdp);
    assert!(answer.is_ok(), "an answer that cannot be read: {}", answered.sdp);
    let answer = answer.unwrap_or_default();
    assert_eq!(answer.media.len(), offer.media.len(), "another number of sections");
    for (ours, theirs) in answer.media.iter().zip(&offer.media) {
        assert_eq!(ours.kind, theirs.kind, "another order of sections");
        assert!(ours.formats.iter().all(|format| theirs.formats.contains(format)), "{ours}");
        for map in ours.attributes.extmaps() {
            let mut offered = theirs.attributes.extmaps();
            assert!(offered.any(|other| (other.id, other.uri) == (map.id, map.uri)), "{ours}");
        }
    }
}

/// A fragment that was read and is printed reads the same; what it adds to a session has a bound.
pub fn trickle_fragment(data: &[u8]) {
    const OFFER: &str = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=rtcp-mux\r\n\
        a=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdef012345\r\na=fingerprint:sha-256 00\r\n\
        a=rtpmap:111 opus/48000/2\r\na=mid:0\r\n";
    let text = String::from_utf8_lossy(data);
    let Ok(fragment) = Fragment::parse(&text) else { return };
    let printed = fragment.to_string();
    if printed.len() <= rtc::negotiate::MAX_FRAGMENT {
        assert_eq!(Fragment::parse(&printed).as_ref(), Ok(&fragment), "changed on the way back");
    }
    let offer = SessionDescription::parse(OFFER).unwrap_or_default();
    let answered = answer(&offer, &Ask::new(Intent::Play, ours()));
    assert!(answered.is_ok(), "{answered:?}");
    let Ok(answered) = answered else { return };
    let mut negotiated = answered.negotiated;
    trickle(&mut negotiated, &fragment);
    let asks = fragment.restarts(&negotiated);
    assert_eq!(restart(&mut negotiated, &fragment, &ours()).is_some(), asks);
    assert!(negotiated.candidates.len() <= rtc::negotiate::MAX_CANDIDATES);
}

fn ours() -> Ours {
    let address = std::net::SocketAddr::from(([192, 0, 2, 1], 8000));
    Ours {
        ufrag: "k2v3w4x5".to_owned(),
        pwd: "0123456789abcdef0123456789abcdef".to_owned(),
        fingerprint: Fingerprint::sha256([0xab; 32]),
        candidates: vec![Candidate::host(address, 0)],
        session: 42,
        server: "millrace/0.1.0".to_owned(),
        stream: "live/livestream".to_owned(),
        cname: "millrace".to_owned(),
        ssrc_seed: 7,
    }
}
