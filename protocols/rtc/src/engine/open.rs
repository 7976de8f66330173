//! How a wish becomes a session.

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use gate::conf::{Origin, VhostSection};
use gate::identity::random_id;
use gate::{Close, Intent, Session};
use media::{Codec, Kind};
use rand::Rng as _;
use rtp::gcc::{self, Estimator};
use rtp::sdp::MediaKind;
use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::Engine;
use super::admission::Place;
use super::bridge::BridgeOptions;
use super::inbox::Message;
use super::log::{AUDIO, VIDEO};
use super::peer::{Body, Peer, Playing, Role};
use super::player::{FIRST_SEQ, Format, Line, Player};
use super::publisher::{PublishRules, Publishing};
use super::relay::Relay;
use super::shard::RtcShard;
use super::tracks::{self, Offered};
use crate::config::{DtlsRole, DtlsVersion, RtcVhost};
use crate::door::candidates;
use crate::door::desk::{
    Asked, Closed, Desk, Fragment, IfMatch, Opened, Refused, Restarted, VideoWish, Way,
};
use crate::negotiate::{self, Answered, Ask, Candidate, Media, NegotiateError, Negotiated, Ours};
use crate::session::dtls::{Fingerprint, Setup, Version};
use crate::session::ice::Credentials;
use crate::session::transport::{Role as IceRole, Transport, TransportConfig};

/// Characters of a user fragment, of a password, of a token: SRS's, and for the last more than it
/// has.
const UFRAG: usize = 8;
const PASSWORD: usize = 32;
const TOKEN: usize = 16;
/// A key frame is not asked for more often by the clock.
const LEAST_KEY_EVERY: Duration = Duration::from_millis(500);

impl Desk for Arc<Engine> {
    fn open(&self, asked: Asked) -> BoxFuture<'_, Result<Opened, Refused>> {
        Box::pin(async move {
            let config = self.config.load_full();
            if !config.enabled {
                return Err(Refused::Off("WebRTC is off: rtc_server.enabled".to_owned()));
            }
            let place = self.admission.admit(asked.peer.ip(), &config)?;
            let shard = self.least_busy();
            let (tx, rx) = oneshot::channel();
            let job = Box::new(move |shard: &Rc<RtcShard>| {
                let this = shard.clone();
                shard.hub_shard().spawn("rtc", async move {
                    let mut tx = tx;
                    // Whoever asked may have left meanwhile.
                    tokio::select! {
                        opened = open(&this, asked, place) => {
                            if let Err(Ok(opened)) = tx.send(opened)
                                && let Some(peer) = this.find(&opened.session)
                            {
                                this.end(&peer, &Close::done("whoever asked has left"));
                            }
                        }
                        () = tx.closed() => {}
                    }
                });
            });
            if !self.deliver(shard, Message::Job(job)).await {
                return Err(Refused::Internal("the server is stopping".to_owned()));
            }
            rx.await.unwrap_or_else(|_| Err(Refused::Internal("a bug; it was logged".to_owned())))
        })
    }

    fn trickle<'a>(
        &'a self,
        session: &'a str,
        token: &'a str,
        fragment: Fragment,
    ) -> BoxFuture<'a, Result<Option<Restarted>, Refused>> {
        let token = token.to_owned();
        let work = move |shard: &Rc<RtcShard>, peer: &Rc<Peer>| {
            check(peer, &token)?;
            restart(shard, peer, &fragment)
        };
        Box::pin(self.with(session, work))
    }

    fn close<'a>(
        &'a self,
        session: &'a str,
        token: &'a str,
    ) -> BoxFuture<'a, Result<Closed, Refused>> {
        let token = token.to_owned();
        let work = move |shard: &Rc<RtcShard>, peer: &Rc<Peer>| {
            check(peer, &token)?;
            shard.end(peer, &Close::done("the client has left (DELETE)"));
            Ok(Closed::Now)
        };
        Box::pin(async move {
            match self.with(session, work).await {
                Err(Refused::NoSession(_)) => Ok(Closed::Gone),
                done => done,
            }
        })
    }

    fn drop_packets<'a>(&'a self, session: &'a str, n: u32) -> BoxFuture<'a, Result<(), Refused>> {
        Box::pin(self.with(session, move |_: &Rc<RtcShard>, peer: &Rc<Peer>| {
            if let Role::Play(playing) = &mut peer.body.borrow_mut().role {
                playing.player.drop_next = n;
            }
            Ok(())
        }))
    }
}

impl Engine {
    /// Does something with a session on its shard.
    async fn with<R: Send + 'static>(
        self: &Arc<Self>,
        session: &str,
        work: impl FnOnce(&Rc<RtcShard>, &Rc<Peer>) -> Result<R, Refused> + Send + 'static,
    ) -> Result<R, Refused> {
        let gone = || Refused::NoSession(session.to_owned());
        let place = self.shard_of_name(session).ok_or_else(gone)?;
        let (tx, rx) = oneshot::channel();
        let name = session.to_owned();
        let job = Box::new(move |shard: &Rc<RtcShard>| {
            let done = match shard.find(&name) {
                Some(peer) => work(shard, &peer),
                None => Err(Refused::NoSession(name)),
            };
            let _ = tx.send(done);
        });
        if !self.deliver(place, Message::Job(job)).await {
            return Err(gone());
        }
        rx.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// In constant time: a token is a secret.
fn check(peer: &Peer, token: &str) -> Result<(), Refused> {
    aws_lc_rs::constant_time::verify_slices_are_equal(peer.token.as_bytes(), token.as_bytes())
        .map_err(|_| Refused::Token)
}

fn restart(
    shard: &Rc<RtcShard>,
    peer: &Rc<Peer>,
    fragment: &Fragment,
) -> Result<Option<Restarted>, Refused> {
    let parsed =
        negotiate::Fragment::parse(&fragment.text).map_err(|e| Refused::Fragment(e.to_string()))?;
    let mut body = peer.body.borrow_mut();
    let body = &mut *body;
    if fragment.if_match == IfMatch::Missing && parsed.restarts(&body.agreed) {
        return Err(Refused::Precondition);
    }
    if !fragment.if_match.allows(&body.etag) {
        return Err(Refused::Stale);
    }
    let local = Credentials { ufrag: random_id(UFRAG), pwd: random_id(PASSWORD) };
    let ours = Ours { ufrag: local.ufrag.clone(), pwd: local.pwd.clone(), ..body.ours.clone() };
    let Some(answer) = negotiate::restart(&mut body.agreed, &parsed, &ours) else {
        // We answer from wherever its checks come; its candidates need not be known.
        return Ok(None);
    };
    let agreed = &body.agreed;
    let remote = Credentials { ufrag: agreed.remote_ufrag.clone(), pwd: agreed.remote_pwd.clone() };
    let etag = random_id(TOKEN);
    let now = Instant::now();
    body.transport.restart_ice(local.clone(), remote, now);
    body.etag.clone_from(&etag);
    if let Some(unused) = body.renamed(local.ufrag.clone()) {
        shard.forget_ufrag(&unused);
    }
    shard.found_by(&local.ufrag, peer);
    if let Some(untold) = body.lines.take(shard.clock().us(now)) {
        tracing::info!(session = %peer.session.id, untold, "the client restarts ICE");
    }
    Ok(Some(Restarted { fragment: answer.to_string(), etag }))
}

/// Makes a session of a wish, on its shard.
async fn open(shard: &Rc<RtcShard>, asked: Asked, place: Place) -> Result<Opened, Refused> {
    let engine = shard.engine().clone();
    let host = &engine.host;
    let offer = negotiate::parse(&asked.offer).map_err(|e| Refused::Offer(e.to_string()))?;
    let config = host.config();
    let vhost = config
        .vhost(&asked.detail.vhost)
        .ok_or_else(|| gate::Refusal::Vhost(asked.detail.vhost.clone()))?;
    let rules = RtcVhost::read(&vhost);
    if !rules.enabled {
        let name = vhost.name();
        return Err(Refused::Off(format!("WebRTC is off in vhost {name}: rtc.enabled")));
    }
    let permit = host
        .admit_connection(asked.peer.ip())
        .map_err(|limit| Refused::Admission(gate::Refusal::Unavailable(limit)))?;
    let session = host.sessions.open("rtc", asked.peer);
    if let Some(ip) = asked.claimed {
        session.set_claimed(ip);
    }
    tracing::info!(
        session = %session.id, peer = %asked.peer, way = %asked.way,
        stream = format!("{}/{}", asked.detail.app, asked.detail.name), "RTC client"
    );
    let key_every = key_every(&vhost, &rules);
    drop(config);
    let made = Making {
        shard,
        engine: &engine,
        session: &session,
        rules: &rules,
        asked: &asked,
        key_every,
    };
    let done = match asked.way {
        Way::Play => made.play(&offer).await,
        Way::Publish => made.publish(&offer).await,
    };
    let (role, answered, ours) = match done {
        Ok(done) => done,
        Err(refused) => {
            session.closed(&Close::peer(400, refused.to_string()));
            return Err(refused);
        }
    };
    let Answered { sdp, negotiated } = answered;
    let remote =
        Credentials { ufrag: negotiated.remote_ufrag.clone(), pwd: negotiated.remote_pwd.clone() };
    let local = Credentials { ufrag: ours.ufrag.clone(), pwd: ours.pwd.clone() };
    let name = format!("{}:{}", local.ufrag, remote.ufrag);
    let encrypt = asked.way == Way::Publish || asked.encrypt;
    let transport = TransportConfig {
        role: IceRole::Lite,
        local,
        remote,
        setup: match negotiated.setup {
            negotiate::Setup::Active => Setup::Active,
            _ => Setup::Passive,
        },
        version: match rules.dtls_version {
            DtlsVersion::Auto => Version::Auto,
            DtlsVersion::Dtls12 => Version::Dtls12,
        },
        identity: engine.identity.clone(),
        peer_fingerprint: fingerprint(&negotiated),
        dtls: asked.dtls,
        encrypt,
        consent: rules.stun_timeout,
        seed: rand::rng().random(),
    };
    let now = Instant::now();
    let transport = Transport::new(transport, now);
    let (token, etag) = (random_id(TOKEN), random_id(TOKEN));
    let pending = engine.config.load().pending_timeout;
    let body = Body::new(transport, role, negotiated, ours, etag.clone(), now + pending, place);
    let peer = Peer::new(session, engine.next_session(), name.clone(), token.clone(), permit, body);
    peer.note(&peer.body.borrow());
    shard.enter(&peer);
    if let Role::Play(playing) = &peer.body.borrow().role {
        playing.stream.enter(peer.clone());
    }
    Ok(Opened { session: name, token, sdp, etag })
}

fn fingerprint(negotiated: &Negotiated) -> Fingerprint {
    let digest = negotiated.fingerprint.as_ref().and_then(|f| f.bytes.first_chunk().copied());
    Fingerprint(digest.unwrap_or_default())
}

/// `pli_for_rtmp`; unless that was written down, no less often than HLS begins a segment, since
/// each should begin with a key frame and browsers send none by themselves.
fn key_every(vhost: &VhostSection<'_>, rules: &RtcVhost) -> Duration {
    let written = !matches!(vhost.origin("rtc.pli_for_rtmp"), Origin::Default);
    if written || !vhost.bool("hls.enabled") {
        return rules.pli_for_rtmp;
    }
    rules.pli_for_rtmp.min(vhost.seconds("hls.hls_fragment").max(LEAST_KEY_EVERY))
}

/// What a session is made of.
struct Making<'a> {
    shard: &'a Rc<RtcShard>,
    engine: &'a Arc<Engine>,
    session: &'a Session,
    rules: &'a RtcVhost,
    asked: &'a Asked,
    /// How often a publisher is asked for a key frame.
    key_every: Duration,
}

/// Its part, what was agreed on, and what we brought.
type Made = (Role, Answered, Ours);

impl Making<'_> {
    fn intent(&self) -> Intent {
        Intent {
            session: self.session.id.to_string(),
            peer: self.asked.peer,
            detail: self.asked.detail.clone(),
        }
    }

    async fn play(&self, offer: &rtp::sdp::SessionDescription) -> Result<Made, Refused> {
        let grant = self.engine.host.play(self.session, self.intent()).await?;
        let stream = grant.stream.clone();
        let relay = self.engine.relay_of(stream.id);
        let available = match &relay {
            Some(relay) => Some(relay.tracks.iter().map(Offered::track).collect()),
            None if stream.is_active() && !self.rules.rtmp_to_rtc => {
                return Err(Refused::Off(
                    "the stream is not published by WebRTC, and rtc.rtmp_to_rtc is off".to_owned(),
                ));
            }
            None => tracks::bridged(&stream),
        };
        let hears = offer.media.iter().any(|section| section.kind == MediaKind::Audio);
        let sound_alone = hears && tracks::is_sound_alone(&stream, relay.as_deref());
        let (answered, ours) =
            self.answer(offer, negotiate::Intent::Play, available, sound_alone)?;
        let options = BridgeOptions {
            keep_b: self.rules.keep_bframe,
            keep_sei: self.rules.keep_avc_nalu_sei,
            opus_bitrate: self.rules.opus_bitrate,
        };
        let opened = self.shard.open_stream(&stream, options);
        let agreed = &answered.negotiated;
        let mut player =
            Player::new(0, agreed.audio().and_then(|m| line(m, AUDIO)), self.video(agreed, &relay));
        let extensions = agreed.video().or(agreed.audio()).map(|media| media.extensions);
        if relay
            .as_ref()
            .is_some_and(|relay| relay.tracks.iter().any(|t| t.lanes.clone().count() > 1))
        {
            player.estimator = Some(Box::new(Estimator::new(gcc::Options::default())));
        }
        player.transport_cc = extensions.and_then(|e| e.twcc).filter(|_| self.rules.twcc);
        for media in &agreed.media {
            if let Some(why) = &media.refused {
                tracing::warn!(session = %self.session.id, kind = ?media.kind, %why, "a part of the stream is not played");
            }
        }
        let cname = self.session.id.to_string();
        let playing = Playing::new(player, opened, grant, cname);
        Ok((Role::Play(Box::new(playing)), answered, ours))
    }

    fn video(&self, agreed: &Negotiated, relay: &Option<Arc<Relay>>) -> Option<Line> {
        let lanes = relay.as_ref().and_then(|relay| {
            let video = relay.tracks.iter().find(|t| t.codec.kind() == Kind::Video)?;
            Some(*video.lanes.end())
        });
        agreed.video().and_then(|media| line(media, lanes.unwrap_or(VIDEO)))
    }

    async fn publish(&self, offer: &rtp::sdp::SessionDescription) -> Result<Made, Refused> {
        // Whoever cannot be answered does not take the stream.
        let (answered, ours) = self.answer(offer, negotiate::Intent::Publish, None, false)?;
        let agreed = &answered.negotiated;
        let (publisher, hold) =
            self.engine.host.publish(self.shard.hub_shard(), self.session, self.intent()).await?;
        let mut offered = Vec::new();
        for media in agreed.media.iter().filter(|media| media.refused.is_none()) {
            if let Some(payload) = media.payloads.first() {
                let sizes = u8::try_from(media.rids.len()).unwrap_or(1).clamp(1, 3);
                let profile = payload.h264.map(|h264| h264.profile_level_id);
                offered.push(Offered::new(payload.codec, profile, sizes));
            }
        }
        let relay = Relay::new(publisher.stream().id, offered);
        let rules = PublishRules {
            to_frames: self.rules.rtc_to_rtmp,
            pli_every_us: u64::try_from(self.key_every.as_micros()).unwrap_or(6_000_000),
            aac_bitrate: self.rules.aac_bitrate,
            keep_opus: self.rules.keep_opus,
            nack: self.rules.nack,
            twcc: self.rules.twcc,
            drop_for_pt: self.rules.drop_for_pt,
        };
        let ssrc = rand::rng().random();
        let publishing = Publishing::new(publisher, hold, relay.clone(), rules, agreed, ssrc);
        self.engine.relayed(&relay);
        Ok((Role::Publish(Box::new(publishing)), answered, ours))
    }

    fn answer(
        &self,
        offer: &rtp::sdp::SessionDescription,
        intent: negotiate::Intent,
        available: Option<Vec<negotiate::Track>>,
        sound_alone: bool,
    ) -> Result<(Answered, Ours), Refused> {
        let asked = self.asked;
        let ufrag = asked.ice_ufrag.clone().unwrap_or_else(|| random_id(UFRAG));
        if self.engine.shard_of_ufrag(&ufrag).is_some() {
            return Err(Refused::Offer(format!("ice-ufrag {ufrag} is in use")));
        }
        let identity = &self.engine.host.identity;
        let (major, minor, patch) = identity.compat_version;
        let mut rng = rand::rng();
        let ours = Ours {
            ufrag,
            pwd: asked.ice_pwd.clone().unwrap_or_else(|| random_id(PASSWORD)),
            fingerprint: negotiate::Fingerprint::sha256(
                self.engine.identity.fingerprint().0.to_vec(),
            ),
            candidates: asked.candidates.iter().enumerate().map(candidate).collect(),
            session: rng.random::<u32>().into(),
            server: format!("{}({major}.{minor}.{patch})", identity.software()),
            stream: format!("{}/{}", asked.detail.app, asked.detail.name),
            cname: self.session.id.to_string(),
            ssrc_seed: rng.random(),
        };
        let mut ask = Ask::new(intent, ours.clone());
        ask.available = available;
        ask.sound_alone = sound_alone;
        ask.prefer = match asked.video {
            Some(VideoWish::Hevc) => Codec::H265,
            Some(VideoWish::Av1) => Codec::Av1,
            Some(VideoWish::Vp8) => Codec::Vp8,
            Some(VideoWish::Vp9) => Codec::Vp9,
            Some(VideoWish::H264) | None => Codec::H264,
        };
        ask.options.nack = self.rules.nack;
        ask.options.twcc = self.rules.twcc;
        ask.options.dtls = asked.dtls;
        ask.options.data = self.rules.data_channel;
        ask.options.max_message_size = crate::session::data::MOST_MESSAGE;
        ask.options.red = true;
        ask.options.setup = match self.rules.dtls_role {
            DtlsRole::Active => negotiate::Setup::Active,
            DtlsRole::Passive => negotiate::Setup::Passive,
        };
        let answered = negotiate::answer(offer, &ask).map_err(refused)?;
        Ok((answered, ours))
    }
}

fn refused(error: NegotiateError) -> Refused {
    match error {
        NegotiateError::Nothing(_) => Refused::NoCodec(error.to_string()),
        _ => Refused::Offer(error.to_string()),
    }
}

fn candidate((index, candidate): (usize, &candidates::Candidate)) -> Candidate {
    let index = u16::try_from(index).unwrap_or(u16::MAX);
    let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), candidate.port);
    let of = match candidate.transport {
        candidates::Transport::Udp => Candidate::host(any, index),
        candidates::Transport::Tcp => Candidate::tcp_passive(any, index),
    };
    Candidate { address: candidate.at.to_string().as_str().into(), ..of }
}

fn line(media: &Media, lane: u8) -> Option<Line> {
    let formats: SmallVec<[Format; 2]> = media
        .payloads
        .iter()
        .map(|p| Format { codec: p.codec, payload_type: p.pt, rtx: p.rtx })
        .collect();
    let mut rng = rand::rng();
    let (first, first_rtx) = (rng.random_range(FIRST_SEQ), rng.random_range(FIRST_SEQ));
    let mut line = Line::new(formats, media.ssrc?, media.rtx_ssrc, lane, first, first_rtx);
    if let (Kind::Audio, Some(payload_type)) = (media.kind, media.red) {
        line.set_redundancy(payload_type);
    }
    Some(line)
}
