use super::*;

fn client(intent: Intent) -> OfferAsk {
    let ours = Ours {
        ufrag: "client00".to_owned(),
        fingerprint: Fingerprint::sha256([0xcd; 32]),
        candidates: vec![Candidate::host("198.51.100.1:4000".parse().unwrap(), 0)],
        ssrc_seed: 99,
        ..ours()
    };
    OfferAsk {
        intent,
        audio: vec![Codec::Opus],
        video: vec![Codec::H264, Codec::Vp8],
        rids: Vec::new(),
        data: false,
        ours,
        options: Options::default(),
    }
}

/// Both sides' views of a conversation between our client and our server.
fn converse(client: &OfferAsk, ask: &Ask) -> (Negotiated, Negotiated) {
    let offered = offer(client);
    let text = offered.to_string();
    let server = answered(&text, ask);
    let answer = parse(&server.sdp).unwrap();
    (accept_answer(client, &parse(&text).unwrap(), &answer).unwrap(), server.negotiated)
}

#[test]
fn our_client_and_our_server_agree_about_playing() {
    let mut client = client(Intent::Play);
    client.data = true;
    let (ours, server) = converse(&client, &play(Track::new(Codec::H264)));
    assert_eq!((ours.setup, server.setup), (Setup::Active, Setup::Passive));
    assert_eq!(
        (ours.remote_ufrag.as_str(), server.remote_ufrag.as_str()),
        ("k2v3w4x5", "client00")
    );
    assert_eq!(server.fingerprint, Some(client.ours.fingerprint.clone()));
    assert_eq!(ours.fingerprint.unwrap().bytes, [0xab; 32]);
    assert!(ours.remote_lite && !server.remote_lite && ours.end_of_candidates);
    assert_eq!(ours.candidates.len(), 2, "sections repeat them");
    assert_eq!((ours.data.unwrap().index, server.data.unwrap().index), (2, 2));
    for (ours, server) in ours.media.iter().zip(&server.media) {
        assert_eq!(ours.payloads, server.payloads);
        assert_eq!(ours.extensions, server.extensions);
        assert_eq!((ours.direction, server.direction), (Direction::RecvOnly, Direction::SendOnly));
        assert_eq!(Some(ours.remote[0].ssrc), server.ssrc);
        assert_eq!(ours.remote[0].rtx, server.rtx_ssrc);
    }
}

#[test]
fn our_client_and_our_server_agree_about_publishing() {
    let (ours, server) = converse(&client(Intent::Publish), &ask(Intent::Publish));
    for (ours, server) in ours.media.iter().zip(&server.media) {
        assert_eq!(ours.payloads, server.payloads);
        assert_eq!((ours.direction, server.direction), (Direction::SendOnly, Direction::RecvOnly));
        assert_eq!(ours.ssrc, Some(server.remote[0].ssrc));
        assert_eq!(ours.rtx_ssrc, server.remote[0].rtx);
    }
    assert!(ours.video().unwrap().rtx_ssrc.is_some());
}

#[test]
fn our_client_publishes_layers_by_name_and_without_numbers() {
    let mut client = client(Intent::Publish);
    client.rids = vec!["h".to_owned(), "l".to_owned()];
    let (ours, server) = converse(&client, &ask(Intent::Publish));
    let names = |media: &Media| media.rids.iter().map(|l| l.rid.clone()).collect::<Vec<_>>();
    assert_eq!(names(ours.video().unwrap()), ["h", "l"]);
    assert_eq!(names(server.video().unwrap()), ["h", "l"]);
    assert!(ours.video().unwrap().ssrc.is_none() && server.video().unwrap().remote.is_empty());
}

#[test]
fn our_client_hears_that_a_section_was_refused() {
    let mut client = client(Intent::Play);
    client.video = vec![Codec::Vp8];
    let (ours, server) = converse(&client, &play(Track::new(Codec::H264)));
    assert_eq!(ours.media[1].refused, Some(Refused::ByPeer));
    assert!(matches!(server.media[1].refused, Some(Refused::Codec { .. })));
}

#[test]
fn an_answer_that_does_not_fit_our_offer_is_refused() {
    let client = client(Intent::Play);
    let offered = offer(&client);
    let good = answered(&offered.to_string(), &ask(Intent::Play)).sdp;
    let error = |text: &str| accept_answer(&client, &offered, &parse(text).unwrap()).unwrap_err();
    let (short, _) = good.split_once("m=video").unwrap();
    assert_eq!(error(short), NegotiateError::Answer("it has another number of sections"));
    let swapped = good.replace("m=audio", "m=x").replace("m=video", "m=audio");
    assert_eq!(error(&swapped), NegotiateError::Answer("its sections are in another order"));
    let renamed = good.replace("a=mid:0", "a=mid:9");
    assert_eq!(error(&renamed), NegotiateError::Answer("its sections have other names"));
    let other = good.replace("111", "112");
    let none = NegotiateError::Answer("it names no payload type that was offered");
    assert_eq!(error(&other), none);
    let both = good.replace("a=setup:passive", "a=setup:actpass");
    assert_eq!(error(&both), NegotiateError::Setup("actpass"));
}

/// After the examples in RFC 9725 §4.3.
const RESTART: &str = "a=ice-options:trickle ice2\r\na=group:BUNDLE 0 1\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:ysXw\r\n\
    a=ice-pwd:vw5LmwG4y/e6dPP/zAP9Gp5k\r\n\
    a=candidate:1387637174 1 udp 2122260223 192.0.2.7 61764 typ host generation 0 ufrag ysXw \
    network-id 1\r\n\
    a=candidate:3471623853 1 udp 2122194687 b1c3-4d.local 61765 typ host generation 0\r\n\
    a=candidate:not one\r\na=end-of-candidates\r\n";

#[test]
fn a_fragment_prints_what_it_read() {
    let fragment = Fragment::parse(RESTART).unwrap();
    assert_eq!(fragment.ufrag.as_deref(), Some("ysXw"));
    assert_eq!(fragment.options, ["trickle", "ice2"]);
    assert_eq!((fragment.sections[0].mid.as_str(), fragment.candidates().count()), ("0", 2));
    assert!(fragment.end_of_candidates());
    assert_eq!(Fragment::parse(&fragment.to_string()).unwrap(), fragment);
}

#[test]
fn a_fragment_without_sections_is_of_all() {
    let text = "a=candidate:1 1 udp 2122260223 192.0.2.7 61764 typ host\n";
    let fragment = Fragment::parse(text).unwrap();
    assert_eq!(fragment.candidates().count(), 1);
    assert_eq!(Fragment::parse(&fragment.to_string()).unwrap(), fragment);
}

#[test]
fn what_stands_above_the_first_section_has_no_name() {
    let text = "a=candidate:unread\na=mid:0\na=end-of-candidates\n";
    let fragment = Fragment::parse(text).unwrap();
    assert!(fragment.end_of_candidates());
    assert_eq!(fragment.sections[0].mid, "");
    assert_eq!(Fragment::parse(&fragment.to_string()).unwrap(), fragment);
}

#[test]
fn fragments_have_bounds() {
    let candidate = "a=candidate:1 1 udp 2122260223 192.0.2.7 61764 typ host\n";
    let many = candidate.repeat(MAX_CANDIDATES + 1);
    assert_eq!(Fragment::parse(&many), Err(FragmentError::TooMany));
    assert_eq!(Fragment::parse("m=audio\nnothing\n"), Err(FragmentError::Line { line: 2 }));
    let long = "a=x\n".repeat(MAX_FRAGMENT);
    assert_eq!(Fragment::parse(&long), Err(FragmentError::TooLong(long.len())));
}

#[test]
fn trickled_candidates_are_taken_once_and_only_for_the_credentials_that_hold() {
    let mut negotiated = answered(CHROMIUM_PUBLISH, &ask(Intent::Publish)).negotiated;
    let fragment = RESTART.replace("ysXw", "mR2d").replace("vw5LmwG4y/e6dPP/zAP9Gp5k", "no");
    let fragment = Fragment::parse(&fragment).unwrap();
    assert!(!fragment.restarts(&negotiated));
    assert_eq!(trickle(&mut negotiated, &fragment), 2);
    assert_eq!(trickle(&mut negotiated, &fragment), 0);
    assert!(negotiated.end_of_candidates);
    let foreign = Fragment::parse(RESTART).unwrap();
    assert_eq!(trickle(&mut negotiated, &foreign), 0);
}

#[test]
fn a_restart_changes_credentials_and_nothing_else() {
    let mut negotiated = answered(CHROMIUM_PUBLISH, &ask(Intent::Publish)).negotiated;
    let fragment = Fragment::parse(RESTART).unwrap();
    let ours = Ours { ufrag: "new0new0".to_owned(), ..ours() };
    let answer = restart(&mut negotiated, &fragment, &ours).unwrap();
    assert_eq!(negotiated.remote_ufrag, "ysXw");
    assert_eq!(negotiated.candidates.len(), 2);
    assert!(negotiated.video().is_some());
    let text = answer.to_string();
    assert!(
        text.starts_with("a=ice-lite\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"),
        "{text}"
    );
    assert!(text.contains("a=ice-ufrag:new0new0\r\n"), "{text}");
    assert_eq!(Fragment::parse(&text).unwrap(), answer);
    assert!(restart(&mut negotiated, &fragment, &ours).is_none(), "it was taken already");
}

#[test]
fn kinds_of_sections_of_a_client_follow_its_codings() {
    let mut client = client(Intent::Play);
    client.audio = vec![Codec::Aac];
    let description = offer(&client);
    assert_eq!(description.media.len(), 1, "AAC has no payload type here");
    assert_eq!(description.media[0].kind, MediaKind::Video);
    assert_eq!(converse(&client, &ask(Intent::Play)).0.media[0].kind, Kind::Video);
}
