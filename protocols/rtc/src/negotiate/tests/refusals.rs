use super::*;

#[test]
fn what_is_no_description_is_told_as_that() {
    assert_eq!(parse("<html>").unwrap_err(), NegotiateError::Sdp(SdpError::NoVersion));
}

#[test]
fn an_offer_without_sections_is_refused() {
    assert_eq!(refusal("v=0\r\n", &ask(Intent::Play)), NegotiateError::NoMedia);
}

#[test]
fn several_sections_need_a_bundle_and_one_does_not() {
    let text = CHROMIUM_PLAY.replace("a=group:BUNDLE 0 1\r\n", "");
    let error = refusal(&text, &ask(Intent::Play));
    assert_eq!(error, NegotiateError::NoBundle);
    assert!(error.to_string().contains("max-bundle"), "{error}");
    let (audio_only, _) = text.split_once("m=video").unwrap();
    let answered = answered(audio_only, &ask(Intent::Play));
    assert!(answered.negotiated.audio().is_some());
    assert!(!answered.sdp.contains("a=group"), "{}", answered.sdp);
}

#[test]
fn a_section_outside_the_bundle_is_closed() {
    let text = CHROMIUM_PLAY.replace("a=group:BUNDLE 0 1\r\n", "a=group:BUNDLE 0\r\n");
    let negotiated = answered(&text, &ask(Intent::Play)).negotiated;
    assert_eq!(negotiated.media[1].refused, Some(Refused::NotBundled));
    let none = CHROMIUM_PLAY.replace("a=group:BUNDLE 0 1\r\n", "a=group:BUNDLE x\r\n");
    assert_eq!(refusal(&none, &ask(Intent::Play)), NegotiateError::EmptyBundle);
}

#[test]
fn a_section_without_rtcp_mux_is_refused() {
    let text = CHROMIUM_PLAY.replace("a=rtcp-mux\r\n", "");
    let error = refusal(&text, &ask(Intent::Play));
    assert_eq!(error, NegotiateError::NoRtcpMux { index: 0 });
}

#[test]
fn other_kinds_of_sections_are_refused_by_name() {
    let text = SAFARI_PLAY.replace("m=application", "m=text");
    let error = refusal(&text, &ask(Intent::Play));
    assert_eq!(error, NegotiateError::OtherSection { index: 2, kind: "text".to_owned() });
}

#[test]
fn a_direction_against_the_request_is_refused_with_the_right_one() {
    let error = refusal(CHROMIUM_PLAY, &ask(Intent::Publish));
    let text = "section 0 is recvonly, but the request is to publish: offer sendonly";
    assert_eq!(error.to_string(), text);
    let error = refusal(CHROMIUM_PUBLISH, &ask(Intent::Play));
    let text = "section 0 is sendonly, but the request is to play: offer recvonly";
    assert_eq!(error.to_string(), text);
    assert!(answer(&parse(LARIX).unwrap(), &ask(Intent::Play)).is_ok(), "sendrecv fits both");
}

#[test]
fn credentials_and_fingerprint_are_needed() {
    let without = |line: &str| {
        let lines = OBS.lines().filter(|other| !other.starts_with(line));
        refusal(&lines.collect::<Vec<_>>().join("\n"), &ask(Intent::Publish))
    };
    assert_eq!(without("a=ice-ufrag"), NegotiateError::NoIce);
    assert_eq!(without("a=ice-pwd"), NegotiateError::NoIce);
    assert_eq!(without("a=fingerprint"), NegotiateError::NoFingerprint);
}

#[test]
fn without_dtls_no_fingerprint_is_asked_for_or_written() {
    let text = OBS.lines().filter(|line| !line.starts_with("a=fingerprint"));
    let text = text.collect::<Vec<_>>().join("\n");
    let mut ask = ask(Intent::Publish);
    ask.options.dtls = false;
    let answered = answered(&text, &ask);
    assert!(!answered.sdp.contains("a=fingerprint") && !answered.sdp.contains("a=setup"));
    assert_eq!(answered.negotiated.fingerprint, None);
}

#[test]
fn sections_that_are_not_rtp_with_feedback_are_refused() {
    let text = OBS.replace("m=audio 57249 UDP/TLS/RTP/SAVPF", "m=audio 57249 RTP/AVP");
    let error = refusal(&text, &ask(Intent::Publish));
    assert_eq!(error, NegotiateError::Protocol { index: 0, protocol: "RTP/AVP".to_owned() });
}

#[test]
fn the_side_that_begins_dtls_follows_from_the_offer_and_our_wish() {
    let setup = |text: &str, wish| {
        let mut ask = ask(Intent::Publish);
        ask.options.setup = wish;
        answered(text, &ask).negotiated.setup
    };
    assert_eq!(setup(OBS, Setup::Passive), Setup::Passive);
    assert_eq!(setup(OBS, Setup::Active), Setup::Active);
    assert_eq!(setup(FFMPEG, Setup::Passive), Setup::Active, "who waits is called");
    let active = FFMPEG.replace("a=setup:passive", "a=setup:active");
    assert_eq!(setup(&active, Setup::Active), Setup::Passive, "who calls is waited for");
    let hold = FFMPEG.replace("a=setup:passive", "a=setup:holdconn");
    let error = refusal(&hold, &ask(Intent::Publish));
    assert_eq!(error, NegotiateError::Setup("holdconn"));
}

#[test]
fn a_closed_or_inactive_section_stays_closed() {
    let inactive = OBS.replacen("a=sendonly", "a=inactive", 1);
    let negotiated = answered(&inactive, &ask(Intent::Publish)).negotiated;
    assert_eq!(negotiated.media[0].refused, Some(Refused::Closed));
    assert!(negotiated.video().is_some());
    let closed = OBS.replace("m=video 57249", "m=video 0");
    let negotiated = answered(&closed, &ask(Intent::Publish)).negotiated;
    assert_eq!(negotiated.media[1].refused, Some(Refused::Closed));
}

#[test]
fn an_offer_of_which_nothing_is_left_is_refused_with_the_reason() {
    let unknown = OBS.replace("opus/48000/2", "G722/8000").replace("H264/90000", "H261/90000");
    let error = refusal(&unknown, &ask(Intent::Publish));
    let why = Refused::NoCodec { offered: "G722".to_owned() };
    assert_eq!(error, NegotiateError::Nothing(why));
}

#[test]
fn a_second_section_of_a_kind_is_closed() {
    let (head, video) = LARIX.split_once("m=video").unwrap();
    let second = video.replace("a=mid:1", "a=mid:2");
    let head = head.replace("BUNDLE 0 1", "BUNDLE 0 1 2");
    let answered = answered(&format!("{head}m=video{video}m=video{second}"), &ask(Intent::Publish));
    assert_eq!(answered.negotiated.media[2].refused, Some(Refused::Second("video")));
    assert!(answered.sdp.contains("a=group:BUNDLE 0 1\r\n"));
}
