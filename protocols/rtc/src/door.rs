//! The HTTP side: WHIP (RFC 9725), WHEP (draft-ietf-wish-whep) and the calls of SRS.
//!
//! [`HttpDoor`] is a mount of the HTTP ports. It reads requests ([`call`]), finds what clients are
//! told of our addresses ([`candidates`], [`addresses`]), has the [`desk`] make a session, and
//! writes the answer ([`answer`]). Every request is answered, whatever is wrong with it.

pub mod addresses;
mod answer;
pub mod call;
pub mod candidates;
pub mod desk;
pub mod discovery;
pub mod query;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use gate::conf::Config;
use gate::http::{
    BadBody, Context, Mount, Request, RequestBody, Response, claimed_ip, param_of, read_body,
};
use gate::{Detail, Refusal};
use http::{HeaderMap, Method, StatusCode, header};
use hub::StreamKey;

use crate::config::{RtcServer, RtcVhost};
use addresses::Addresses;
use answer::{Answer, Cors};
use call::{Call, Door, Fault, JsonOffer, Mark, Wish};
use desk::{Asked, Closed, Desk, Dialect, Fragment, Opened, Refused, Way};
use query::{Query, host_and_port};

/// Longest offer or fragment, bytes. Offers of browsers with all their codecs are 10 kB; at half,
/// one of a call with many tracks may not fit, at double, a parser works on what nobody sends.
pub const MAX_OFFER: usize = 64 * 1024;
/// The same in JSON, where a line end has four characters.
const MAX_JSON: usize = MAX_OFFER + MAX_OFFER / 2;
/// A body is a packet or ten: who needs longer holds a connection for nothing.
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// The gate's name, and the label of its sessions.
pub const GATE: &str = "rtc";

/// The mount.
#[derive(Clone)]
pub struct HttpDoor {
    desk: Arc<dyn Desk>,
    addresses: Arc<Addresses>,
}

impl HttpDoor {
    /// Sessions are made at `desk`.
    pub fn new(desk: Arc<dyn Desk>, addresses: Arc<Addresses>) -> Self {
        Self { desk, addresses }
    }
}

impl Mount for HttpDoor {
    fn handle(
        &self,
        context: &Context,
        request: Request,
    ) -> Result<LocalBoxFuture<'static, Response>, Request> {
        if !context.role.api && !context.role.server {
            return Err(request);
        }
        let Some(door) = Door::of(request.uri().path()) else { return Err(request) };
        let config = context.host.config();
        let server = RtcServer::read(&config);
        // Without WebRTC a page of that name may be somebody else's to read.
        if !server.enabled && matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(request);
        }
        let visit = Visit { this: self.clone(), context: context.clone(), config, server, door };
        Ok(Box::pin(visit.answer(request)))
    }
}

/// One request.
struct Visit {
    this: HttpDoor,
    context: Context,
    config: Arc<Config>,
    server: RtcServer,
    door: Door,
}

/// What stands in the way: the client's request, or the desk.
enum Trouble {
    Fault(Fault),
    Body(BadBody),
    Refused(Refused),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Refused> for Trouble {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl Visit {
    async fn answer(self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let root = self.config.root();
        let cors = Cors {
            on: (self.context.role.api && root.bool("http_api.crossdomain"))
                || (self.context.role.server && root.bool("http_server.crossdomain")),
            methods: self.door.methods(),
        };
        let query = parts.uri.query().unwrap_or_default();
        let call = Call::read(&self.door, &parts.method, query, &parts.headers);
        let answer = match call {
            Ok(call) => self.act(call, &parts, body).await,
            Err(fault) => Err(fault.into()),
        };
        let answer = answer.unwrap_or_else(|trouble| {
            self.tell(&trouble, parts.uri.path());
            match self.door.dialect() {
                Dialect::Srs => answer::json_trouble(&trouble),
                Dialect::Whip => answer::problem(&trouble, parts.uri.path()),
            }
        });
        answer.finish(&cors, &parts)
    }

    async fn act(
        &self,
        call: Call,
        parts: &http::request::Parts,
        body: RequestBody,
    ) -> Result<Answer, Trouble> {
        if call == Call::Options {
            return Ok(Answer::options(self.door.dialect() == Dialect::Whip));
        }
        if !self.server.enabled {
            return Err(Refused::Off("WebRTC is off (rtc_server.enabled)".to_owned()).into());
        }
        match call {
            Call::Options => Ok(Answer::options(true)),
            Call::Offer(wish) => {
                let offer = call::text(&read(body, &parts.headers, MAX_OFFER).await?)?;
                let param = param_of(parts.uri.query().unwrap_or_default(), &parts.headers);
                let host = host_of(parts);
                let told = Told { param, stream_host: host_and_port(&host).0.to_owned(), host };
                let opened = self.open(&wish, offer, told, None, parts).await?;
                let at = call::location(&self.door, &wish, &opened.session, &opened.token);
                Ok(Answer::created(&opened, &at, &self.server))
            }
            Call::Json(way) => {
                let body = read(body, &parts.headers, MAX_JSON).await?;
                let JsonOffer { sdp, url, clientip } = JsonOffer::read(&body)?;
                let queries = [Query(parts.uri.query().unwrap_or_default()), Query(&url.query)];
                let wish = Wish::read(way, &url.app, &url.stream, &queries)?;
                let param = param_of(&url.query, &parts.headers);
                let told = Told { param, stream_host: url.host, host: host_of(parts) };
                let opened = self.open(&wish, sdp, told, clientip, parts).await?;
                Ok(answer::json_opened(&self.context.host.identity, &opened))
            }
            Call::Trickle(Mark { session, token }, if_match) => {
                let text = call::text(&read(body, &parts.headers, MAX_OFFER).await?)?;
                let fragment = Fragment { text, if_match };
                let restarted = self.this.desk.trickle(&session, &token, fragment).await?;
                Ok(Answer::patched(restarted))
            }
            Call::End(Mark { session, token }) => {
                match self.this.desk.close(&session, &token).await? {
                    Closed::Now => tracing::info!(session, "WebRTC: the client ends its session"),
                    Closed::Gone => {
                        tracing::debug!(session, "WebRTC: DELETE of a session that is gone")
                    }
                }
                Ok(Answer::empty(StatusCode::OK))
            }
            Call::Nack { username, drop } => Ok(self.lose(&username, &drop).await),
        }
    }

    /// Asks the desk for a session.
    async fn open(
        &self,
        wish: &Wish,
        offer: String,
        told: Told,
        clientip: Option<IpAddr>,
        parts: &http::request::Parts,
    ) -> Result<Opened, Trouble> {
        let Told { mut param, stream_host, host } = told;
        let asked_host = wish.vhost.clone().unwrap_or_else(|| stream_host.clone());
        let vhost = self.config.vhost(&asked_host);
        let vhost = vhost.ok_or_else(|| Refused::Admission(Refusal::Vhost(asked_host.clone())))?;
        let rtc = RtcVhost::read(&vhost);
        if !rtc.enabled {
            let name = vhost.name();
            return Err(Refused::Off(format!("WebRTC is off in vhost {name} (rtc.enabled)")).into());
        }
        let publish = wish.way == Way::Publish;
        if !publish {
            self.bridged(vhost.name(), wish, &rtc)?;
        }
        if publish {
            param.push_str(if param.is_empty() { "?upstream=rtc" } else { "&upstream=rtc" });
        }
        let claimed = clientip.or_else(|| claimed_ip(&parts.headers));
        let candidates = self
            .this
            .addresses
            .candidates(&self.context, &self.server, &host, claimed, wish.external.clone())
            .await;
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let page = text(header::REFERER).or_else(|| text(header::ORIGIN));
        let detail = Detail {
            kind: if publish { "rtc-publish" } else { "rtc-play" },
            publish,
            vhost: asked_host,
            app: wish.app.clone(),
            name: wish.stream.clone(),
            param,
            tc_url: format!("webrtc://{stream_host}/{}", wish.app),
            page_url: page.unwrap_or_default().to_owned(),
            swf_url: String::new(),
        };
        let encrypt = publish || (wish.dtls && wish.encrypt.unwrap_or(self.server.encrypt));
        let asked = Asked {
            way: wish.way,
            dialect: self.door.dialect(),
            detail,
            offer,
            peer: self.context.peer,
            claimed,
            host,
            candidates,
            video: wish.video,
            encrypt,
            dtls: publish || wish.dtls,
            ice_ufrag: wish.ice_ufrag.clone(),
            ice_pwd: wish.ice_pwd.clone(),
        };
        Ok(self.this.desk.open(asked).await?)
    }

    /// A stream that was published otherwise is played where it is made ready for that alone.
    fn bridged(&self, vhost: &str, wish: &Wish, rtc: &RtcVhost) -> Result<(), Refused> {
        let host = &self.context.host;
        let name = gate::host::strip_extension(&wish.stream);
        let stream = host.hub.find(&StreamKey::new(vhost, &wish.app, name));
        let Some(stream) = stream.filter(|stream| stream.is_active() && !rtc.rtmp_to_rtc) else {
            return Ok(());
        };
        match host.sessions.get(&stream.publisher_id()) {
            Some(publisher) if publisher.gate != GATE => Err(Refused::Off(format!(
                "{} is published by {}, and vhost {vhost} does not make it ready for WebRTC \
                 (rtc.rtmp_to_rtc)",
                stream.key.url(),
                publisher.gate
            ))),
            _ => Ok(()),
        }
    }

    /// `/rtc/v1/nack/`: a test of loss.
    async fn lose(&self, username: &str, drop: &str) -> Answer {
        let n = drop.parse::<u32>().unwrap_or(0);
        let code = match n {
            0 => 5023,
            n => match self.this.desk.drop_packets(username, n).await {
                Ok(()) => 0,
                Err(_) => 5022,
            },
        };
        answer::json_nack(code, username, drop)
    }

    /// A line in the log for what has not been told elsewhere.
    fn tell(&self, trouble: &Trouble, path: &str) {
        let peer = self.context.peer;
        match trouble {
            // The host did.
            Trouble::Refused(Refused::Admission(refusal))
                if !matches!(refusal, Refusal::Vhost(_)) => {}
            Trouble::Refused(Refused::Internal(e)) => {
                tracing::error!(%peer, path, "WebRTC: bug or lack of resources: {e}");
            }
            Trouble::Refused(refused) => {
                tracing::warn!(%peer, path, "WebRTC request refused: {refused}");
            }
            Trouble::Fault(fault) => tracing::info!(%peer, path, "WebRTC request refused: {fault}"),
            Trouble::Body(bad) => tracing::info!(%peer, path, "WebRTC request refused: {bad}"),
        }
    }
}

/// What a request says of its stream besides names.
struct Told {
    /// As sessions know it.
    param: String,
    /// Where the stream is, without port: the virtual host unless the query names one.
    stream_host: String,
    /// Where the request was sent to.
    host: String,
}

async fn read(
    body: RequestBody,
    headers: &HeaderMap,
    most: usize,
) -> Result<bytes::Bytes, Trouble> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    // Nobody is made to send what will not be read, if it waits to be asked for it.
    let waits = headers.contains_key(header::EXPECT);
    if waits && length.is_some_and(|length: usize| length > most) {
        return Err(Trouble::Body(BadBody::TooLong(most)));
    }
    read_body(body, most, BODY_WITHIN).await.map_err(Trouble::Body)
}

fn host_of(parts: &http::request::Parts) -> String {
    let header = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = header.or_else(|| parts.uri.authority().map(|a| a.as_str()));
    host.unwrap_or_default().to_owned()
}
