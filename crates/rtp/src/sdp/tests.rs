use proptest::prelude::*;

use super::*;

const OFFER: &str = "v=0\r\no=- 46117327 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
    a=group:LS 0 1\r\na=group:BUNDLE 0 1\r\na=extmap-allow-mixed\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111 63 0 200\r\nc=IN IP4 0.0.0.0\r\nb=AS:64\r\na=mid:0\r\n\
    a=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10; useinbandfec=1;x\r\n\
    a=rtcp-fb:* transport-cc\r\na=rtcp-fb:111 nack\r\na=extmap:2/recvonly urn:x a b\r\n\
    a=unheard-of:x y;z\r\na=ssrc:7 cname:a b\r\na=ssrc:7 msid:s t\r\na=ssrc-group:FID 7 8\r\n\
    m=video 0/2 RTP/AVP 96\r\na=rid:h send pt=96,97;max-width=1280\r\n\
    a=simulcast:send h,l;~m recv x\r\na=sendonly\r\n";

fn offer() -> SessionDescription {
    SessionDescription::parse(OFFER).unwrap()
}

#[test]
fn what_browsers_write_is_printed_as_it_came() {
    assert_eq!(offer().to_string(), OFFER);
}

#[test]
fn attributes_are_read_by_their_kind() {
    let offer = offer();
    assert_eq!(offer.bundle(), Some(vec!["0", "1"]));
    let (audio, video) = (&offer.media[0], &offer.media[1]);
    assert_eq!((audio.mid(), video.mid()), (Some("0"), None));
    assert!(audio.rtcp_mux() && !video.rtcp_mux());
    assert_eq!(audio.payload_types().collect::<Vec<_>>(), [111, 63, 0], "200 is none");
    let opus = audio.rtpmap(111).unwrap();
    assert!(opus.is("OPUS"));
    assert_eq!((opus.clock, opus.channels), (48_000, 2));
    assert_eq!(audio.rtpmap(0).unwrap().encoding, "PCMU", "it needs no line");
    assert_eq!(audio.rtpmap(63), None);
    let fmtp = audio.fmtp(111).unwrap();
    assert_eq!(fmtp.number::<u8>("UseInbandFec"), Some(1));
    assert_eq!(fmtp.pairs().collect::<Vec<_>>().len(), 3);
    assert_eq!(fmtp.get("x"), Some(""));
    assert_eq!(audio.feedback(111).collect::<Vec<_>>(), ["transport-cc", "nack"]);
    assert_eq!(audio.feedback(63).collect::<Vec<_>>(), ["transport-cc"]);
    let map = audio.attributes.extmaps().next().unwrap();
    assert_eq!((map.id, map.uri, map.attributes), (2, "urn:x", "a b"));
    assert_eq!(map.direction, Some(Direction::RecvOnly));
    let said: Vec<_> = audio.ssrcs().map(|said| (said.name, said.value)).collect();
    assert_eq!(said, [("cname", Some("a b")), ("msid", Some("s t"))]);
    assert_eq!(audio.ssrc_groups().next().unwrap().ssrcs.as_slice(), [7, 8]);
    assert_eq!((video.port, video.ports), (0, Some(2)));
    assert_eq!(video.attributes.direction(), Some(Direction::SendOnly));
    assert_eq!(audio.attributes.direction(), None);
}

#[test]
fn simulcast_has_alternatives_and_pauses() {
    let offer = offer();
    let video = &offer.media[1];
    let rid = video.rids().next().unwrap();
    assert_eq!((rid.id, rid.direction), ("h", RidDirection::Send));
    assert_eq!(rid.payload_types().collect::<Vec<_>>(), [96, 97]);
    assert_eq!((rid.number("max-width"), rid.number("max-fps")), (Some(1280), None));
    let simulcast = video.simulcast().unwrap();
    assert_eq!(simulcast.send[0].rids, ["h", "l"]);
    assert!(simulcast.send[1].paused && !simulcast.send[0].paused);
    assert_eq!(simulcast.recv[0].rids, ["x"]);
}

#[test]
fn lines_may_be_missing_padded_or_ended_by_lf_alone() {
    let text = "\u{feff}\n v=0 \n\na=x\nm = audio  9\tRTP/AVP 0 \na=mid: 1 \na=\n";
    let read = SessionDescription::parse(text).unwrap();
    assert_eq!(read.media[0].mid(), Some("1"));
    assert_eq!(
        read.to_string(),
        "v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=x\r\nm=audio 9 RTP/AVP 0\r\na=mid:1\r\n"
    );
}

#[test]
fn what_cannot_be_read_is_refused_with_its_line() {
    let error = |text: &str| SessionDescription::parse(text).unwrap_err();
    for text in ["", "\n", "o=-", "<!DOCTYPE html>", "v=1"] {
        assert_eq!(error(text), SdpError::NoVersion, "{text}");
    }
    assert_eq!(error("v=0\n\nhello"), SdpError::Line { line: 3 });
    assert_eq!(error("v=0\nab=c"), SdpError::Line { line: 2 });
    assert_eq!(error("v=0\n1=c"), SdpError::Line { line: 2 });
    for media in ["m=audio", "m=audio 9 RTP/AVP", "m=audio x RTP/AVP 0", "m=audio 70000 RTP/AVP 0"]
    {
        assert_eq!(error(&format!("v=0\n{media}")), SdpError::Media { line: 2 }, "{media}");
    }
}

#[test]
fn counts_and_sizes_have_bounds() {
    let error = |body: &str, times: usize| {
        SessionDescription::parse(&format!("v=0\n{}", body.repeat(times))).err()
    };
    assert_eq!(error("m=a 9 b 0\n", MAX_MEDIA), None);
    assert_eq!(error("m=a 9 b 0\n", MAX_MEDIA + 1), Some(SdpError::TooManyMedia));
    assert_eq!(error("a=x\n", MAX_ATTRIBUTES), None);
    assert_eq!(error("a=x\n", MAX_ATTRIBUTES + 1), Some(SdpError::TooManyAttributes));
    assert_eq!(error("i=x\n", MAX_LINES), None);
    assert_eq!(error("i=x\n", MAX_LINES + 1), Some(SdpError::TooManyLines));
    assert_eq!(error("a=xxx\n", 20_000), Some(SdpError::TooLong(120_004)));
    let formats = |count| format!("m=a 9 b{}\n", " 0".repeat(count));
    assert_eq!(error(&formats(MAX_FORMATS), 1), None);
    assert_eq!(error(&formats(MAX_FORMATS + 1), 1), Some(SdpError::Media { line: 2 }));
}

#[test]
fn a_description_full_of_lines_reads_the_same_when_printed() {
    let full = SessionDescription::parse(&format!("v=0\n{}", "i=x\n".repeat(MAX_LINES))).unwrap();
    assert_eq!(SessionDescription::parse(&full.to_string()).unwrap(), full);
}

#[test]
fn candidates_of_all_kinds_print_what_they_read() {
    for text in [
        "0 1 udp 2130706431 192.0.2.1 8000 typ host generation 0",
        "t0 1 tcp 1518280447 2001:db8::1 9 typ host tcptype passive generation 0",
        "842163049 1 udp 1677729535 192.0.2.1 52200 typ srflx raddr 0.0.0.0 rport 0 generation 0 \
         ufrag EsAw network-cost 999",
        "1 1 udp 2113937151 2cf0b2c0-0842.local 33192 typ host",
        "3 2 udp 41885439 198.51.100.2 50000 typ relay raddr 192.0.2.1 rport 8",
        "4 1 tcp 5 192.0.2.9 9 typ prflx tcptype so",
    ] {
        let candidate: Candidate = text.parse().unwrap();
        assert_eq!(candidate.to_string(), text);
        assert_eq!(format!("a=candidate:{text}").parse(), Ok(candidate));
    }
}

#[test]
fn candidates_that_are_none_say_what_is_wrong() {
    let error = |text: &str| text.parse::<Candidate>().unwrap_err();
    assert_eq!(error("1 1 udp 5 192.0.2.1 9 typ"), CandidateError::Short);
    assert_eq!(error("1 1 sctp 5 192.0.2.1 9 typ host"), CandidateError::Word("transport"));
    assert_eq!(error("1 1 udp x 192.0.2.1 9 typ host"), CandidateError::Word("priority"));
    assert_eq!(error("1 1 udp 5 192.0.2.1 9 typ guest"), CandidateError::Word("typ"));
    let long = format!("1 1 udp 5 192.0.2.1 9 typ host{}", " a b".repeat(MAX_EXTENSIONS + 1));
    assert_eq!(error(&long), CandidateError::TooLong);
}

#[test]
fn host_candidates_come_in_their_order_and_before_tcp() {
    let at = "192.0.2.1:8000".parse().unwrap();
    let (first, second) = (Candidate::host(at, 0), Candidate::host(at, 1));
    assert_eq!(first.priority, Candidate::HOST_PRIORITY);
    assert!(first.priority > second.priority && first.foundation != second.foundation);
    let last = Candidate::host(at, u16::MAX).priority;
    assert!(last > Candidate::tcp_passive(at, 0).priority);
    assert_eq!(Candidate::tcp_passive(at, 0).tcp, Some(TcpType::Passive));
    assert_eq!(first.socket(), Some(at));
}

#[test]
fn fingerprints_print_what_they_read_in_capital_digits() {
    let hash: Fingerprint = "SHA-256 0a:ff:00".parse().unwrap();
    assert_eq!(hash.to_string(), "sha-256 0A:FF:00");
    assert!(!hash.is_sha256() && Fingerprint::sha256([1; 32]).is_sha256());
    for text in ["", "sha-256", "sha-256 0", "sha-256 +1:00", "sha-256 00 11", "x 00:"] {
        assert_eq!(text.parse::<Fingerprint>(), Err(FingerprintError), "{text}");
    }
    assert!(format!("x 00{}", ":00".repeat(64)).parse::<Fingerprint>().is_err());
}

#[test]
fn credentials_of_a_forbidden_length_are_none() {
    let read = |text: &str| SessionDescription::parse(&format!("v=0\n{text}")).unwrap().attributes;
    assert_eq!(read("a=ice-ufrag:abc").ice_ufrag(), None);
    assert_eq!(read("a=ice-ufrag:abcd").ice_ufrag(), Some("abcd"));
    assert_eq!(read("a=ice-pwd:123456789012345678901").ice_pwd(), None);
    assert!(read("a=ice-options:ice2 trickle").ice_option("trickle"));
}

proptest! {
    #[test]
    fn what_is_printed_reads_the_same(
        lines in proptest::collection::vec("[a-zA-Z] ?=[ -~\\t\r\u{e9}]{0,40}", 0..40),
        media in proptest::collection::vec("m=[a-z]{1,9} [0-9]{1,4}(/[0-9])? [A-Z/]{1,9}( [0-9]{1,3}){1,5}", 0..5),
    ) {
        let mut text = String::from("v=0\n");
        for (index, line) in lines.iter().enumerate() {
            text.push_str(line);
            text.push('\n');
            if let Some(section) = media.get(index / 4).filter(|_| index % 4 == 3) {
                text.push_str(section);
                text.push('\n');
            }
        }
        if let Ok(read) = SessionDescription::parse(&text) {
            prop_assert_eq!(SessionDescription::parse(&read.to_string()).unwrap(), read);
        }
    }

    #[test]
    fn candidates_read_what_they_print(text in "[ -~]{0,80}", tail in "( [a-z]{1,8} [0-9a-z.]{1,8}){0,6}") {
        for text in [text, format!("1 1 UDP 5 192.0.2.1 9 typ host{tail}")] {
            if let Ok(candidate) = text.parse::<Candidate>() {
                prop_assert_eq!(candidate.to_string().parse::<Candidate>().unwrap(), candidate);
            }
        }
    }
}
