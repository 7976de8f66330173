use media::Kind;
use proptest::prelude::*;
use rtp::sdp::{MediaDescription, MediaKind, SdpError};

use super::*;

mod clients;
mod refusals;

const CHROMIUM_PLAY: &str = include_str!("../../testdata/sdp/chromium-play.sdp");
const CHROMIUM_PUBLISH: &str = include_str!("../../testdata/sdp/chromium-publish.sdp");
const CHROMIUM_SIMULCAST: &str = include_str!("../../testdata/sdp/chromium-simulcast.sdp");
const FFMPEG: &str = include_str!("../../testdata/sdp/ffmpeg-publish.sdp");
const FIREFOX_PLAY: &str = include_str!("../../testdata/sdp/firefox-play.sdp");
const FIREFOX_PUBLISH: &str = include_str!("../../testdata/sdp/firefox-publish.sdp");
const GSTREAMER: &str = include_str!("../../testdata/sdp/gstreamer-publish.sdp");
const LARIX: &str = include_str!("../../testdata/sdp/larix-publish.sdp");
const OBS: &str = include_str!("../../testdata/sdp/obs-publish.sdp");
const SAFARI_PLAY: &str = include_str!("../../testdata/sdp/safari-play.sdp");

const FIXTURES: &[(Intent, &str)] = &[
    (Intent::Play, CHROMIUM_PLAY),
    (Intent::Publish, CHROMIUM_PUBLISH),
    (Intent::Publish, CHROMIUM_SIMULCAST),
    (Intent::Publish, FFMPEG),
    (Intent::Play, FIREFOX_PLAY),
    (Intent::Publish, FIREFOX_PUBLISH),
    (Intent::Publish, GSTREAMER),
    (Intent::Publish, LARIX),
    (Intent::Publish, OBS),
    (Intent::Play, SAFARI_PLAY),
];

fn ours() -> Ours {
    Ours {
        ufrag: "k2v3w4x5".to_owned(),
        pwd: "0123456789abcdef0123456789abcdef".to_owned(),
        fingerprint: Fingerprint::sha256([0xab; 32]),
        candidates: vec![
            Candidate::host("192.0.2.1:8000".parse().unwrap(), 0),
            Candidate::tcp_passive("[2001:db8::1]:8000".parse().unwrap(), 0),
        ],
        session: 42,
        server: "millrace/0.1.0".to_owned(),
        stream: "live/livestream".to_owned(),
        cname: "millrace".to_owned(),
        ssrc_seed: 7,
    }
}

fn ask(intent: Intent) -> Ask {
    Ask::new(intent, ours())
}

fn play(track: Track) -> Ask {
    Ask { available: Some(vec![track, Track::new(Codec::Opus)]), ..ask(Intent::Play) }
}

fn answered(text: &str, ask: &Ask) -> Answered {
    let offer = parse(text).unwrap();
    let answered = answer(&offer, ask).unwrap();
    fits(&offer, &answered.sdp);
    answered
}

fn refusal(text: &str, ask: &Ask) -> NegotiateError {
    answer(&parse(text).unwrap(), ask).unwrap_err()
}

/// The laws of answers: as many sections in the same order, and nothing that was not offered.
fn fits(offer: &SessionDescription, answer: &str) {
    let answer = parse(answer).unwrap();
    assert_eq!(answer.media.len(), offer.media.len(), "{answer}");
    for (ours, theirs) in answer.media.iter().zip(&offer.media) {
        assert_eq!(ours.kind, theirs.kind);
        assert_eq!(ours.mid(), theirs.mid());
        assert!(ours.formats.iter().all(|format| theirs.formats.contains(format)), "{ours}");
        for map in ours.rtpmaps() {
            let offered = theirs.rtpmap(map.payload_type).expect("a number that was not offered");
            assert_eq!(offered.clock, map.clock, "{ours}");
            assert!(ours.formats.contains(&map.payload_type.to_string()), "{ours}");
        }
        for map in ours.attributes.extmaps() {
            let mut offered = theirs.attributes.extmaps();
            assert!(offered.any(|other| (other.id, other.uri) == (map.id, map.uri)), "{ours}");
        }
    }
    let bundled = answer.bundle().unwrap_or_default();
    for section in answer.media.iter().filter(|section| section.port == 0) {
        assert!(section.mid().is_none_or(|mid| !bundled.contains(&mid) || twice(&answer, mid)));
    }
}

/// Mangled offers may name two sections alike.
fn twice(answer: &SessionDescription, mid: &str) -> bool {
    answer.media.iter().filter(|section| section.mid() == Some(mid)).count() > 1
}

fn section(answer: &str, kind: MediaKind) -> MediaDescription {
    parse(answer).unwrap().media.into_iter().find(|section| section.kind == kind).unwrap()
}

#[test]
fn every_program_of_the_fixtures_gets_sound_and_pictures() {
    for (intent, text) in FIXTURES {
        let answered = answered(text, &ask(*intent));
        let (audio, video) = (answered.negotiated.audio(), answered.negotiated.video());
        let (audio, video) = (audio.expect("sound"), video.expect("pictures"));
        assert_eq!(audio.payloads[0].codec, Codec::Opus);
        assert_eq!(video.payloads[0].codec, Codec::H264, "{text}");
        assert_eq!(video.payloads[0].h264.unwrap().packetization_mode, 1, "{text}");
        let direction = if *intent == Intent::Play { "a=sendonly" } else { "a=recvonly" };
        assert_eq!(answered.sdp.matches(direction).count(), 2, "{}", answered.sdp);
    }
}

#[test]
fn a_player_is_answered_the_way_srs_does_it() {
    let text = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
        a=ice-ufrag:abcd\r\na=ice-pwd:0123456789abcdef012345\r\n\
        a=fingerprint:sha-256 00:01:02\r\na=setup:actpass\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96 97 98\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\n\
        a=rtcp-mux\r\na=rtcp-rsize\r\na=extmap:4/recvonly urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
        a=rtpmap:96 H264/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\n\
        a=fmtp:96 profile-level-id=42E01F;packetization-mode=1;x-other=1\r\n\
        a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\na=rtpmap:98 VP8/90000\r\n";
    // SRS knows nothing of a next publisher's coding.
    let mut ask = play(Track::new(Codec::H264));
    ask.options.several = false;
    let answered = answered(text, &ask);
    let video = answered.negotiated.video().unwrap();
    let (ssrc, rtx) = (video.ssrc.unwrap(), video.rtx_ssrc.unwrap());
    let fingerprint = vec!["AB"; 32].join(":");
    let expected = format!(
        "v=0\r\no=millrace/0.1.0 42 2 IN IP4 0.0.0.0\r\ns=SRSPlaySession\r\nt=0 0\r\n\
         a=ice-lite\r\na=group:BUNDLE 0\r\na=msid-semantic:WMS live/livestream\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:k2v3w4x5\r\n\
         a=ice-pwd:0123456789abcdef0123456789abcdef\r\na=fingerprint:sha-256 {fingerprint}\r\n\
         a=setup:passive\r\na=mid:0\r\n\
         a=extmap:4/sendonly urn:ietf:params:rtp-hdrext:sdes:mid\r\na=sendonly\r\n\
         a=msid:live/livestream video-{ssrc}\r\na=rtcp-mux\r\na=rtcp-rsize\r\n\
         a=rtpmap:96 H264/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\n\
         a=fmtp:96 packetization-mode=1;profile-level-id=42E01F\r\na=rtpmap:97 rtx/90000\r\n\
         a=fmtp:97 apt=96\r\na=ssrc-group:FID {ssrc} {rtx}\r\na=ssrc:{ssrc} cname:millrace\r\n\
         a=ssrc:{ssrc} msid:live/livestream video-{ssrc}\r\na=ssrc:{rtx} cname:millrace\r\n\
         a=ssrc:{rtx} msid:live/livestream video-{ssrc}\r\n\
         a=candidate:0 1 udp 2130706431 192.0.2.1 8000 typ host generation 0\r\n\
         a=candidate:t0 1 tcp 1520435199 2001:db8::1 8000 typ host tcptype passive generation 0\r\n\
         a=end-of-candidates\r\n"
    );
    assert_eq!(answered.sdp, expected);
}

#[test]
fn the_profile_of_the_stream_chooses_among_payload_types_of_mode_1() {
    let pt = |offer, profile| {
        answered(offer, &play(Track::h264(profile))).negotiated.video().unwrap().payloads[0].pt
    };
    assert_eq!(pt(CHROMIUM_PLAY, 0x64_0028), 112, "High");
    assert_eq!(pt(CHROMIUM_PLAY, 0x4d_401f), 127, "Main");
    assert_eq!(pt(CHROMIUM_PLAY, 0x42_c01f), 106, "Constrained Baseline");
    assert_eq!(pt(CHROMIUM_PLAY, 0x42_001f), 102, "Baseline");
    assert_eq!(pt(SAFARI_PLAY, 0x42_c01f), 98, "Constrained Baseline at Safari");
    assert_eq!(pt(SAFARI_PLAY, 0x4d_401f), 96, "Main fits a decoder of High");
    assert_eq!(pt(FIREFOX_PLAY, 0x64_0028), 126, "Firefox takes what it does not name");
}

#[test]
fn retransmissions_of_another_clock_are_not_taken() {
    let text = CHROMIUM_PLAY.replace("a=rtpmap:107 rtx/90000", "a=rtpmap:107 rtx/11111");
    assert_ne!(text, CHROMIUM_PLAY);
    let answered = answered(&text, &ask(Intent::Play));
    let payload = &answered.negotiated.video().unwrap().payloads[0];
    assert_eq!((payload.pt, payload.rtx), (106, None));
}

#[test]
fn nothing_known_of_the_stream_means_the_payload_type_that_srs_takes() {
    for intent in [Intent::Play, Intent::Publish] {
        let text = if intent == Intent::Play { CHROMIUM_PLAY } else { CHROMIUM_PUBLISH };
        let answered = answered(text, &ask(intent));
        let payload = &answered.negotiated.video().unwrap().payloads[0];
        assert_eq!((payload.pt, payload.rtx), (106, Some(107)));
        assert_eq!(payload.h264.unwrap().profile_level_id, 0x42_e01f);
        assert_eq!(
            payload.fmtp,
            "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"
        );
    }
}

#[test]
fn a_player_before_the_publisher_may_be_sent_any_coding_it_offered() {
    let mut ask = ask(Intent::Play);
    let video = answered(CHROMIUM_PLAY, &ask).negotiated.video().unwrap().clone();
    let codecs: Vec<_> = video.payloads.iter().map(|payload| payload.codec).collect();
    assert_eq!(codecs, [Codec::H264, Codec::H265, Codec::Av1, Codec::Vp9, Codec::Vp8]);
    ask.options.several = false;
    assert_eq!(answered(CHROMIUM_PLAY, &ask).negotiated.video().unwrap().payloads.len(), 1);
}

#[test]
fn a_player_may_be_sent_what_the_next_publisher_brings_too() {
    let codecs = |ask: &Ask| {
        let answered = answered(CHROMIUM_PLAY, ask);
        let video = answered.negotiated.video().unwrap();
        video.payloads.iter().map(|payload| payload.codec).collect::<Vec<_>>()
    };
    let mut ask = play(Track::new(Codec::Vp9));
    let all = [Codec::Vp9, Codec::H264, Codec::H265, Codec::Av1, Codec::Vp8];
    assert_eq!(codecs(&ask), all, "that of the stream first");
    ask.options.several = false;
    assert_eq!(codecs(&ask), [Codec::Vp9]);
}

#[test]
fn a_wish_for_a_coding_is_granted_where_it_is_offered() {
    let wish = |codec, text| {
        let ask = Ask { prefer: codec, ..ask(Intent::Publish) };
        let payload = answered(text, &ask).negotiated.video().unwrap().payloads[0].clone();
        (payload.codec, payload.pt, payload.fmtp)
    };
    let h265 = "level-id=180;profile-id=1;tier-flag=0;tx-mode=SRST".to_owned();
    assert_eq!(wish(Codec::H265, CHROMIUM_PUBLISH), (Codec::H265, 49, h265));
    let av1 = "level-idx=5;profile=0;tier=0".to_owned();
    assert_eq!(wish(Codec::Av1, CHROMIUM_PUBLISH), (Codec::Av1, 45, av1));
    assert_eq!(wish(Codec::Vp9, CHROMIUM_PUBLISH), (Codec::Vp9, 98, "profile-id=0".to_owned()));
    assert_eq!(wish(Codec::Vp8, CHROMIUM_PUBLISH), (Codec::Vp8, 96, String::new()));
    assert_eq!(wish(Codec::Av1, OBS).0, Codec::H264, "what is not offered is not insisted on");
}

#[test]
fn a_profile_of_vp9_that_the_player_names_is_needed() {
    let track = |profile| Track { profile: Some(profile), ..Track::new(Codec::Vp9) };
    let pt = |profile| {
        let answered = answered(CHROMIUM_PLAY, &play(track(profile)));
        answered.negotiated.video().map(|video| video.payloads[0].pt)
    };
    assert_eq!((pt(0), pt(2), pt(1)), (Some(98), Some(100), None));
}

#[test]
fn a_player_that_cannot_take_the_pictures_gets_the_sound_and_the_reason() {
    let answered = answered(FIREFOX_PLAY, &play(Track::new(Codec::H265)));
    let refused = answered.negotiated.media[1].refused.clone().unwrap();
    assert_eq!(
        refused.to_string(),
        "the stream has HEVC, which the client does not take; it offers VP8, VP9, H264"
    );
    assert!(answered.negotiated.audio().is_some());
    assert!(answered.sdp.contains("m=video 0 UDP/TLS/RTP/SAVPF 120\r\n"), "{}", answered.sdp);
    assert!(answered.sdp.contains("a=group:BUNDLE 0\r\n"));
    assert!(answered.sdp.contains("a=x-refused:the stream has HEVC"));
}

#[test]
fn g711_is_taken_where_opus_is_not_or_when_it_is_asked_for() {
    let codec = |text: &str, ask: &Ask| {
        let audio = answered(text, ask).negotiated.audio().unwrap().clone();
        (audio.payloads[0].codec, audio.payloads[0].pt)
    };
    let mut ask = ask(Intent::Publish);
    assert_eq!(codec(CHROMIUM_PUBLISH, &ask), (Codec::Opus, 111));
    let without = CHROMIUM_PUBLISH.replace("opus", "opaque");
    assert_eq!(codec(&without, &ask), (Codec::G711A, 8));
    ask.prefer_audio = Codec::G711U;
    assert_eq!(codec(CHROMIUM_PUBLISH, &ask), (Codec::G711U, 0));
}

#[test]
fn opus_is_stereo_for_players_and_for_publishers_who_send_it() {
    let fmtp = |text, intent| {
        answered(text, &ask(intent)).negotiated.audio().unwrap().payloads[0].fmtp.clone()
    };
    let play = "minptime=10;stereo=1;sprop-stereo=1;useinbandfec=1";
    assert_eq!(fmtp(CHROMIUM_PLAY, Intent::Play), play);
    assert_eq!(fmtp(OBS, Intent::Publish), "minptime=10;stereo=1;useinbandfec=1");
    assert_eq!(fmtp(CHROMIUM_PUBLISH, Intent::Publish), "minptime=10;useinbandfec=1");
}

#[test]
fn extensions_are_only_those_that_are_used() {
    let video = |text, ask: &Ask| answered(text, ask).negotiated.video().unwrap().extensions;
    let mut play = ask(Intent::Play);
    let plain = Extensions { mid: Some(4), twcc: Some(3), ..Extensions::default() };
    assert_eq!(video(CHROMIUM_PLAY, &play), plain);
    play.options.low_latency = true;
    let delay = Extensions { playout_delay: Some(5), ..plain };
    assert_eq!(video(CHROMIUM_PLAY, &play), delay);
    play.options.twcc = false;
    let time = Extensions { twcc: None, abs_send_time: Some(2), ..delay };
    assert_eq!(video(CHROMIUM_PLAY, &play), time);
    let publish = ask(Intent::Publish);
    assert_eq!(video(CHROMIUM_PUBLISH, &publish), plain, "no rid without simulcast");
    let rid = Extensions { rid: Some(10), repaired_rid: Some(11), ..plain };
    assert_eq!(video(CHROMIUM_SIMULCAST, &publish), rid);
    let audio = answered(CHROMIUM_PUBLISH, &publish).negotiated.audio().unwrap().extensions;
    assert_eq!(audio, Extensions { audio_level: Some(1), ..plain });
}

#[test]
fn feedback_is_what_was_offered_and_is_wanted() {
    let feedback =
        |text, ask: &Ask| answered(text, ask).negotiated.video().unwrap().payloads[0].feedback;
    let mut ask = ask(Intent::Publish);
    let full = Feedback { nack: true, pli: true, fir: true, remb: false, twcc: true };
    assert_eq!(feedback(CHROMIUM_PUBLISH, &ask), full);
    let obs = Feedback { remb: true, fir: false, twcc: false, ..full };
    assert_eq!(feedback(OBS, &ask), obs);
    ask.options.nack = false;
    let without = answered(CHROMIUM_PUBLISH, &ask);
    let payload = &without.negotiated.video().unwrap().payloads[0];
    assert_eq!((payload.feedback.nack, payload.rtx), (false, None), "no RTX without NACK");
    assert!(!without.sdp.contains("rtx"), "{}", without.sdp);
}

#[test]
fn layers_of_simulcast_are_taken_by_their_names() {
    let taken = answered(CHROMIUM_SIMULCAST, &ask(Intent::Publish));
    let rids: Vec<_> = taken.negotiated.video().unwrap().rids.iter().map(|l| &l.rid).collect();
    assert_eq!(rids, ["h", "m", "l"]);
    let video = section(&taken.sdp, MediaKind::Video);
    assert_eq!(video.attributes.get("simulcast"), Some("recv h;m;l"));
    assert_eq!(video.attributes.all("rid").collect::<Vec<_>>(), ["h recv", "m recv", "l recv"]);

    let restricted = CHROMIUM_SIMULCAST
        .replace("a=rid:m send", "a=rid:m send pt=96")
        .replace("a=rid:l send", "a=rid:l send pt=106;max-width=320")
        .replace("send h;m;l", "send h;m;~l;nobody");
    let taken = answered(&restricted, &ask(Intent::Publish));
    let rids = taken.negotiated.video().unwrap().rids.clone();
    assert_eq!(rids.len(), 2, "m may not have H.264, nobody is not described: {rids:?}");
    assert_eq!((rids[1].max_width, rids[1].paused), (Some(320), true));

    let mut without = ask(Intent::Publish);
    without.options.simulcast = false;
    let taken = answered(CHROMIUM_SIMULCAST, &without);
    assert!(!taken.sdp.contains("rid:") && !taken.sdp.contains("a=simulcast"), "{}", taken.sdp);
}

#[test]
fn redundancy_of_sound_and_pictures_is_an_option() {
    let mut ask = ask(Intent::Play);
    let without = answered(CHROMIUM_PLAY, &ask);
    assert!(!without.sdp.contains("red/"), "{}", without.sdp);
    (ask.options.red, ask.options.fec) = (true, true);
    let with = answered(CHROMIUM_PLAY, &ask);
    assert_eq!(with.negotiated.audio().unwrap().red, Some(63));
    assert!(with.sdp.contains("a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n"));
    let video = with.negotiated.video().unwrap();
    assert_eq!((video.red, video.ulpfec, video.flexfec), (Some(116), Some(118), None));
    let flexfec = CHROMIUM_PLAY.replace("ulpfec/90000", "flexfec-03/90000");
    let with = answered(&flexfec, &ask);
    let video = with.negotiated.video().unwrap();
    assert_eq!((video.red, video.ulpfec, video.flexfec), (None, None, Some(118)));
    let (ssrc, fec) = (video.ssrc.unwrap(), video.fec_ssrc.unwrap());
    assert!(with.sdp.contains(&format!("a=ssrc-group:FEC-FR {ssrc} {fec}\r\n")));
}

#[test]
fn retransmissions_of_another_clock_are_not_agreed_on() {
    let video = |offer: &str| answered(offer, &ask(Intent::Play)).negotiated.video().cloned();
    assert!(video(CHROMIUM_PLAY).unwrap().rtx_ssrc.is_some());
    assert!(video(&CHROMIUM_PLAY.replace("rtx/90000", "rtx/11111")).unwrap().rtx_ssrc.is_none());
}

#[test]
fn data_channels_are_taken_unless_switched_off() {
    let mut ask = ask(Intent::Play);
    let with = answered(SAFARI_PLAY, &ask);
    let data = with.negotiated.data.unwrap();
    assert_eq!((data.mid.as_str(), data.index, data.sctp_port), ("2", 2, 5000));
    assert_eq!(data.max_message_size, 262_144);
    assert!(with.sdp.contains("a=sctp-port:5000\r\na=max-message-size:262144\r\n"));
    assert!(with.sdp.contains("a=group:BUNDLE 0 1 2\r\n"));
    ask.options.data = false;
    let without = answered(SAFARI_PLAY, &ask);
    assert!(without.negotiated.data.is_none());
    assert!(without.sdp.contains("m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n"));
    assert!(without.sdp.contains("a=group:BUNDLE 0 1\r\n"));
}

#[test]
fn data_channels_of_the_old_form_are_refused_and_media_are_not() {
    let old = SAFARI_PLAY
        .replace("UDP/DTLS/SCTP webrtc-datachannel", "DTLS/SCTP 5000")
        .replace("a=sctp-port:5000", "a=sctpmap:5000 webrtc-datachannel 1024");
    let answered = answered(&old, &ask(Intent::Play));
    assert!(answered.negotiated.data.is_none());
    assert!(answered.sdp.contains("m=application 0 DTLS/SCTP 5000\r\n"), "{}", answered.sdp);
    assert!(answered.sdp.contains("a=group:BUNDLE 0 1\r\n"));
}

#[test]
fn sources_of_a_publisher_are_known_with_their_companions() {
    let answered = answered(CHROMIUM_PUBLISH, &ask(Intent::Publish));
    let video = answered.negotiated.video().unwrap();
    assert_eq!(video.remote.len(), 1, "the source of RTX is no source of its own");
    assert_eq!((video.remote[0].ssrc, video.remote[0].rtx), (2_231_627_014, Some(632_943_048)));
    assert_eq!(video.remote[0].cname.as_deref(), Some("hYbJ3k1sVd0Q2m4z"));
    assert_eq!((video.ssrc, video.rtx_ssrc), (None, None));
    assert!(!answered.sdp.contains("a=ssrc"), "who receives names no sources");
}

#[test]
fn numbers_of_sources_differ_from_each_other_and_follow_from_the_seed() {
    let mut first = write::Ssrcs::new(9, Vec::new());
    let numbers: Vec<_> = (0..100).map(|_| first.next()).collect();
    let mut again = write::Ssrcs::new(9, vec![numbers[0]]);
    assert_eq!(again.next(), numbers[1], "a number that is taken is left out");
    let distinct: std::collections::HashSet<_> = numbers.iter().collect();
    assert_eq!(distinct.len(), 100);
    assert!(!numbers.contains(&0));
}

fn mangle(text: &str, changes: &[(u8, usize, usize)]) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (change, at, with) in changes {
        let count = lines.len();
        let (at, with) = (at % count, with % count);
        match change % 6 {
            0 if count > 2 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[with].clone()),
            2 => lines.swap(at, with),
            3 => {
                let cut = lines[at].len() / 2;
                lines[at].truncate(cut);
            }
            4 => lines[at] = lines[at].replace(['0', '9'], "1"),
            _ => {
                let tail = lines[with].split(' ').next_back().unwrap_or("").to_owned();
                lines[at].push_str(&tail);
            }
        }
    }
    lines.join("\r\n")
}

proptest! {
    #[test]
    fn whatever_is_offered_the_answer_fits_it(
        fixture in 0..FIXTURES.len(),
        changes in proptest::collection::vec((any::<u8>(), any::<usize>(), any::<usize>()), 0..12),
        codec in 0..4_usize,
        options in any::<[bool; 6]>(),
    ) {
        let (intent, text) = FIXTURES[fixture];
        let Ok(offer) = parse(&mangle(text, &changes)) else { return Ok(()) };
        let mut ask = ask(intent);
        let codecs = [None, Some(Codec::H264), Some(Codec::Vp9), Some(Codec::Aac)];
        ask.available = codecs[codec].map(|codec| vec![Track::new(codec)]);
        let [nack, twcc, red, fec, simulcast, low_latency] = options;
        ask.options =
            Options { nack, twcc, red, fec, simulcast, low_latency, ..Options::default() };
        match answer(&offer, &ask) {
            Ok(answered) => fits(&offer, &answered.sdp),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn what_is_printed_of_a_mangled_offer_reads_the_same(
        fixture in 0..FIXTURES.len(),
        changes in proptest::collection::vec((any::<u8>(), any::<usize>(), any::<usize>()), 0..30),
    ) {
        let Ok(offer) = parse(&mangle(FIXTURES[fixture].1, &changes)) else { return Ok(()) };
        prop_assert_eq!(parse(&offer.to_string()).unwrap(), offer);
    }
}

#[test]
fn a_viewer_of_sound_alone_is_promised_no_pictures() {
    let ask = Ask {
        available: Some(vec![Track::new(Codec::Opus)]),
        sound_alone: true,
        ..ask(Intent::Play)
    };
    let answered = answered(CHROMIUM_PLAY, &ask);
    assert!(answered.negotiated.video().is_none());
    assert_eq!(answered.negotiated.audio().map(|m| m.payloads[0].codec), Some(Codec::Opus));
    assert!(answered.sdp.contains("m=video 0"), "{}", answered.sdp);
    assert!(answered.sdp.contains("the stream has sound alone"), "{}", answered.sdp);
}
