use proptest::prelude::*;

use super::*;

fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &str)| {
        (http::HeaderName::from_static(name), http::HeaderValue::from_str(value).unwrap())
    };
    list.iter().map(pair).collect()
}

fn read(method: &str, target: &str, list: &[(&'static str, &str)]) -> Result<Call, Fault> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let door = Door::of(path).expect("a door");
    Call::read(&door, &method.parse().unwrap(), query, &headers(list))
}

fn wish(target: &str) -> Wish {
    match read("POST", target, &[]) {
        Ok(Call::Offer(wish)) => *wish,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_address_leads_to_its_door_with_and_without_a_slash() {
    use Way::{Play, Publish};
    for (path, door) in [
        ("/rtc/v1/publish/", Door::Json(Publish)),
        ("/rtc/v1/publish", Door::Json(Publish)),
        ("/rtc/v1/play/", Door::Json(Play)),
        ("/rtc/v1/whip/", Door::Srs(Publish)),
        ("/rtc/v1/whip", Door::Srs(Publish)),
        ("/rtc/v1/whip/below", Door::Srs(Publish)),
        ("/rtc/v1/whep/", Door::Srs(Play)),
        ("/rtc/v1/whip-play/", Door::Srs(Play)),
        ("/rtc/v1/nack/", Door::Nack),
    ] {
        assert_eq!(Door::of(path), Some(door), "{path}");
    }
    for path in ["/", "/rtc/v1/", "/rtc/v1/other", "/whip", "/whip/", "/whip/live", "/whipx/a/b"] {
        assert_eq!(Door::of(path), None, "{path}");
    }
    let found = Door::of("/whep/a/b/c/");
    let [app, stream] = ["a/b", "c"].map(str::to_owned);
    assert_eq!(found, Some(Door::Stream { way: Play, app, stream }));
}

#[test]
fn the_stream_stands_in_the_query_of_srs_and_in_our_path() {
    let told = wish("/rtc/v1/whip/?app=a%20b&stream=s&vhost=v&eip=1.2.3.4:90&codec=hevc");
    assert_eq!((&*told.app, &*told.stream, told.vhost.as_deref()), ("a b", "s", Some("v")));
    let at = At::Ip([1, 2, 3, 4].into());
    assert_eq!(told.external, Some(External { at, port: Some(90) }));
    assert_eq!(told.video, Some(VideoWish::Hevc));
    let told = wish("/rtc/v1/whip/");
    assert_eq!((&*told.app, &*told.stream, told.way), ("live", "livestream", Way::Publish));
    assert_eq!(wish("/rtc/v1/whip/?action=play").way, Way::Play);
    let told = wish("/whep/live/%E5%8F%B0?domain=d&encrypt=false&dtls=false");
    assert_eq!((&*told.stream, told.vhost.as_deref(), told.way), ("台", Some("d"), Way::Play));
    assert_eq!((told.encrypt, told.dtls), (Some(false), false));
}

#[test]
fn what_makes_no_sense_is_refused_with_its_reason() {
    for target in [
        "/whip/live/%ff",
        "/whip/live/a%2Fb",
        "/whip/../s",
        "/rtc/v1/whip/?stream=..",
        "/rtc/v1/whip/?eip=a%0d%0ab",
        "/rtc/v1/whip/?eip=1.2.3.4:0",
        "/rtc/v1/whip/?codec=theora",
        "/rtc/v1/whip/?ice-ufrag=abc",
        "/rtc/v1/whip/?ice-pwd=short",
        "/rtc/v1/whip/?vhost=a%0db",
    ] {
        assert!(matches!(read("POST", target, &[]), Err(Fault::Malformed(_))), "{target}");
    }
}

#[test]
fn a_method_that_is_not_there_is_told_what_is() {
    let all = "POST, PATCH, DELETE, OPTIONS";
    for method in ["GET", "HEAD", "PUT", "TRACE"] {
        assert_eq!(read(method, "/whip/a/b", &[]), Err(Fault::Method(all)));
        assert_eq!(read(method, "/rtc/v1/play/", &[]), Err(Fault::Method("POST, OPTIONS")));
    }
    assert_eq!(read("OPTIONS", "/rtc/v1/whep/", &[]), Ok(Call::Options));
}

#[test]
fn the_type_of_a_body_counts_at_our_own_addresses() {
    let json = [("content-type", "application/json")];
    assert_eq!(read("POST", "/whip/a/b", &json), Err(Fault::Type(SDP)));
    assert!(read("POST", "/rtc/v1/whip/", &json).is_ok());
    let sdp = [("content-type", "Application/SDP; charset=utf-8")];
    assert!(read("POST", "/whip/a/b", &sdp).is_ok());
    let session = "/whip/a/b?session=l:r&token=t";
    assert_eq!(read("PATCH", session, &[]), Err(Fault::Type(FRAGMENT)));
    assert_eq!(read("PATCH", session, &sdp), Err(Fault::Type(FRAGMENT)));
}

#[test]
fn a_session_is_named_with_its_token() {
    let mark = Mark { session: "l:r+/".to_owned(), token: "t".to_owned() };
    assert_eq!(read("DELETE", "/whip/a/b?session=l:r+/&token=t", &[]), Ok(Call::End(mark)));
    assert_eq!(read("DELETE", "/whip/a/b?session=l:r&token=", &[]), Err(Fault::NoToken));
    assert!(matches!(read("DELETE", "/whip/a/b?token=t", &[]), Err(Fault::Malformed(_))));
}

#[test]
fn the_address_of_a_session_is_read_as_it_was_written() {
    for target in ["/whip/live/a%20b", "/rtc/v1/whep/?app=x%26y&stream=s", "/whep/a/b/c"] {
        let (path, _) = target.split_once('?').unwrap_or((target, ""));
        let door = Door::of(path).unwrap();
        let at = location(&door, &wish(target), "lo+/cal:re mote&x=1", "tok");
        assert!(at.bytes().all(|b| b.is_ascii_graphic()), "{at}");
        let Ok(Call::End(mark)) = read("DELETE", &at, &[]) else { panic!("{at}") };
        assert_eq!((&*mark.session, &*mark.token), ("lo+/cal:re mote&x=1", "tok"));
    }
}

#[test]
fn the_address_of_a_session_is_that_of_srs() {
    let target = "/rtc/v1/whip/?app=live&stream=livestream";
    let door = Door::of("/rtc/v1/whip/").unwrap();
    assert_eq!(
        location(&door, &wish(target), "a:b", "xyz"),
        "/rtc/v1/whip/?action=delete&token=xyz&app=live&stream=livestream&session=a:b"
    );
}

#[test]
fn conditions_are_read_as_http_has_them() {
    let with = |value: &str| {
        let list = [("content-type", FRAGMENT), ("if-match", value)];
        match read("PATCH", "/whip/a/b?session=s&token=t", &list) {
            Ok(Call::Trickle(_, told)) => Some(told),
            _ => None,
        }
    };
    let tags = |list: &[&str]| Some(IfMatch::Tags(list.iter().map(|t| (*t).to_owned()).collect()));
    assert_eq!(with("*"), Some(IfMatch::Any));
    assert_eq!(with("\"a\", \"b\""), tags(&["a", "b"]));
    assert_eq!(with("a"), tags(&["a"]));
    assert_eq!(with("W/\"a\""), tags(&[]));
    assert_eq!(with("\"a"), None);
    assert!(IfMatch::Tags(vec!["a".into()]).allows("a") && !IfMatch::Tags(vec![]).allows("a"));
}

#[test]
fn json_offers_need_an_offer_and_a_stream() {
    let good = br#"{"api":"x","tid":"1","streamurl":"webrtc://h/a/s?t=1","clientip":"1.2.3.4","sdp":"v=0"}"#;
    let told = JsonOffer::read(good).unwrap();
    assert_eq!((&*told.sdp, &*told.url.stream), ("v=0", "s"));
    assert_eq!(told.clientip, Some([1, 2, 3, 4].into()));
    for bad in [
        &b"{"[..],
        b"[]",
        br#"{"sdp":"v=0"}"#,
        br#"{"sdp":1,"streamurl":"webrtc://h/a/s"}"#,
        br#"{"sdp":"v=0","streamurl":"webrtc://h"}"#,
    ] {
        assert!(JsonOffer::read(bad).is_err());
    }
}

proptest! {
    #[test]
    fn any_request_is_read_or_refused(
        method in "[A-Z]{1,8}", path in "/(whip|whep|rtc/v1/[a-z-]{1,9})/[ -~]{0,30}",
        query in "[ -~]{0,80}", value in "[ -~]{0,40}",
    ) {
        if let Some(door) = Door::of(&path) {
            let list = headers(&[("if-match", &value), ("content-type", FRAGMENT)]);
            let method: Method = method.parse().unwrap();
            if let Ok(Call::Offer(wish)) = Call::read(&door, &method, &query, &list) {
                prop_assert!(is_app(&wish.app) && is_name(&wish.stream));
            }
        }
    }
}
