//! What strangers send to the HTTP side of WebRTC.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use rtc::door::call::{Call, Door, JsonOffer, location, text};
use rtc::door::query::{host_and_port, is_app, is_name};

/// A request is refused with a reason, or says which stream it wants under names that can be
/// names; and the address of its session leads back to that session.
///
/// The first line has method and target, the next ones are header fields up to an empty line, the
/// rest is the body.
pub fn whip(data: &[u8]) {
    let (head, body) = split(data);
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let first = lines.next().unwrap_or_default();
    let (method, target) = first.split_once(' ').unwrap_or((first, ""));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')).take(32) {
        if let (Ok(name), Ok(value)) =
            (HeaderName::try_from(name.trim()), HeaderValue::from_str(value.trim()))
        {
            headers.append(name, value);
        }
    }
    let _ = host_and_port(path);
    if let Ok(offer) = JsonOffer::read(body) {
        assert!(is_app(&offer.url.app) && is_name(&offer.url.stream), "{:?}", offer.url);
        assert!(!offer.sdp.is_empty());
    }
    let _ = text(body);
    let (Some(door), Ok(method)) = (Door::of(path), method.parse::<Method>()) else { return };
    match Call::read(&door, &method, query, &headers) {
        Ok(Call::Offer(wish)) => {
            assert!(is_app(&wish.app) && is_name(&wish.stream), "{wish:?}");
            for (credential, least) in [(&wish.ice_ufrag, 4), (&wish.ice_pwd, 22)] {
                let fits = |c: &String| (least..=32).contains(&c.len()) && c.is_ascii();
                assert!(credential.as_ref().is_none_or(fits), "{credential:?}");
            }
            let at = location(&door, &wish, "local+/:remote+/", "token");
            let (path, query) = at.split_once('?').unwrap_or((&at, ""));
            let again = Door::of(path).map(|d| Call::read(&d, &Method::DELETE, query, &headers));
            let Some(Ok(Call::End(mark))) = again else { panic_of(&at) };
            assert_eq!((&*mark.session, &*mark.token), ("local+/:remote+/", "token"));
        }
        Ok(Call::Trickle(mark, _) | Call::End(mark)) => {
            assert!(!mark.session.is_empty() && !mark.token.is_empty());
            assert!(mark.session.len() <= 512 && mark.token.len() <= 512);
        }
        Ok(_) => {}
        Err(fault) => assert!(!fault.to_string().is_empty()),
    }
}

#[allow(clippy::panic, reason = "a law is broken")]
fn panic_of(at: &str) -> ! {
    panic!("{at} leads nowhere")
}

fn split(data: &[u8]) -> (&[u8], &[u8]) {
    let at = data.windows(2).position(|pair| pair == b"\n\n");
    match at {
        Some(at) => (data.get(..at).unwrap_or_default(), data.get(at + 2..).unwrap_or_default()),
        None => (data, &[]),
    }
}
