//! A desk without an engine: the stream's name says what becomes of a wish, and an answer tells
//! what was asked for.

use std::fmt::Write as _;
use std::sync::Mutex;

use futures_util::future::{BoxFuture, ready};
use gate::Refusal;
use rtc::door::desk::{Asked, Closed, Desk, Fragment, IfMatch, Opened, Refused, Restarted};

/// The one session that is always there.
pub(crate) const SESSION: &str = "localufr:remo+te/";
pub(crate) const TOKEN: &str = "abc123xyz";
pub(crate) const ETAG: &str = "first";

#[derive(Default)]
pub(crate) struct FakeDesk {
    pub(crate) asked: Mutex<Vec<Asked>>,
}

fn refusal(name: &str) -> Option<Refused> {
    let text = str::to_owned;
    Some(match name {
        "busy" => Refused::Admission(Refusal::Busy(text("k3w81zq5"))),
        "denied" => Refused::Admission(Refusal::Denied { code: 1053, reason: text("not you") }),
        "unauthorized" => Refused::Admission(Refusal::Access {
            rule: "auth",
            code: 1052,
            unauthorized: true,
            reason: text("auth: publish takes a key"),
        }),
        "overloaded" => Refused::Admission(Refusal::Unavailable("it is overloaded")),
        "bad" => Refused::Offer(text("m= section 1 has no rtpmap")),
        "codec" => Refused::NoCodec(text("the offer has VP8, the stream has H.264")),
        "full" => Refused::Full { limit: "rtc_server.max_sessions", most: 2 },
        "broken" => Refused::Internal(text("the shard has gone")),
        _ => return None,
    })
}

/// What was asked for, as an answer.
fn told(asked: &Asked) -> String {
    let mut sdp = String::from("v=0\r\n");
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        let _ = write!(sdp, "a=x-{name}:{value}\r\n");
    };
    let detail = &asked.detail;
    line("way", &asked.way);
    line("stream", &format_args!("{} {} {}", detail.vhost, detail.app, detail.name));
    line("kind", &detail.kind);
    line("param", &detail.param);
    line("tcurl", &detail.tc_url);
    line("page", &detail.page_url);
    line("peer", &asked.peer.ip());
    line("claimed", &format_args!("{:?}", asked.claimed));
    line("host", &asked.host.replace(|c: char| c.is_ascii_digit(), "0"));
    line("wishes", &format_args!("{:?} {:?} {:?}", asked.video, asked.ice_ufrag, asked.ice_pwd));
    line("flags", &format_args!("encrypt={} dtls={}", asked.encrypt, asked.dtls));
    line("offer", &format_args!("{} bytes", asked.offer.len()));
    for candidate in &asked.candidates {
        line("candidate", candidate);
    }
    sdp
}

impl Desk for FakeDesk {
    fn open(&self, asked: Asked) -> BoxFuture<'_, Result<Opened, Refused>> {
        let answer = match refusal(&asked.detail.name) {
            Some(refused) => Err(refused),
            None => Ok(Opened {
                session: SESSION.to_owned(),
                token: TOKEN.to_owned(),
                sdp: told(&asked),
                etag: ETAG.to_owned(),
            }),
        };
        self.asked.lock().unwrap().push(asked);
        Box::pin(ready(answer))
    }

    fn trickle<'a>(
        &'a self,
        session: &'a str,
        token: &'a str,
        fragment: Fragment,
    ) -> BoxFuture<'a, Result<Option<Restarted>, Refused>> {
        let restart = fragment.text.contains("a=ice-ufrag:new");
        let answer = match () {
            () if session != SESSION => Err(Refused::NoSession(session.to_owned())),
            () if token != TOKEN => Err(Refused::Token),
            () if !fragment.if_match.allows(ETAG) => Err(Refused::Stale),
            () if fragment.text.contains("rubbish") => Err(Refused::Fragment("line 1".to_owned())),
            () if restart && fragment.if_match == IfMatch::Missing => Err(Refused::Precondition),
            () if restart => Ok(Some(Restarted {
                fragment: "a=ice-ufrag:ours\r\na=ice-pwd:ours\r\n".to_owned(),
                etag: "second".to_owned(),
            })),
            () => Ok(None),
        };
        Box::pin(ready(answer))
    }

    fn close<'a>(
        &'a self,
        session: &'a str,
        token: &'a str,
    ) -> BoxFuture<'a, Result<Closed, Refused>> {
        let answer = match (session == SESSION, token == TOKEN) {
            (true, true) => Ok(Closed::Now),
            (true, false) => Err(Refused::Token),
            (false, _) => Ok(Closed::Gone),
        };
        Box::pin(ready(answer))
    }

    fn drop_packets<'a>(&'a self, session: &'a str, _: u32) -> BoxFuture<'a, Result<(), Refused>> {
        let known = session == SESSION;
        Box::pin(ready(known.then_some(()).ok_or(Refused::NoSession(session.to_owned()))))
    }
}
