//! One RTMP connection: moves bytes between the socket and the session machine, and does what
//! the session's events ask for.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use container::flv::{Demuxer, TagKind};
use futures_util::future::{pending, select_all};
use gate::conf::Config;
use gate::listen::Served;
use gate::session::Kick;
use gate::{ClientHold, Close, Detail, Fault, Host, Intent, PlayGrant, Player, Session, Socket};
use hub::{Counters, Publisher, Shard, Subscriber};
use media::timeline::ClockUnwrap;
use media::{Codec, Flags, Timestamp};
use smallvec::SmallVec;
use tokio::time::sleep_until;

use crate::config::{VhostOptions, limits};
use crate::session::server::{
    Connect, ConnectOptions, Event, PlayAsked, PublishAsked, PublishKind, ServerInfo,
};
use crate::session::{self, Server};
use crate::wire::message::Media;
use crate::wire::url::StreamUrl;
use crate::{RtmpForm, events, metadata};

/// Longest wait for a client to take a reply; a client that does not read its replies is gone.
const REPLY: Duration = Duration::from_secs(30);
/// What a client gets to see its last status before the socket closes.
const LINGER: Duration = Duration::from_millis(500);

/// Serves one accepted socket on its shard.
pub(crate) fn spawn(host: &Arc<Host>, shard: &Rc<Shard>, served: Served, secure: bool) {
    let session = host.sessions.open("rtmp", served.peer);
    events::accepted(&session.id, served.peer, secure);
    let id = session.id.clone();
    let mut seed = [0u8; 32];
    rand::fill(&mut seed);
    let limits = limits(&host.limits());
    // Boxed in parts: the task of a player, of which there are thousands, must stay small.
    let connection = Connection {
        rtmp: Box::new(Server::new(Instant::now(), seed, limits)),
        config: host.config(),
        host: host.clone(),
        shard: shard.clone(),
        socket: served.socket.clone(),
        local: served.local.ip().to_string().into(),
        options: VhostOptions::default(),
        connect: None,
        publications: Vec::new(),
        player: None,
        others: Vec::new(),
        session,
    };
    shard.spawn(&id, async move {
        let _permit = served.permit;
        connection.run().await;
    });
}

struct Publication {
    msid: u32,
    publisher: Publisher,
    demuxer: Demuxer,
    clock: ClockUnwrap,
    timeout: Duration,
    last: Instant,
    dropped: u64,
    _hold: ClientHold,
}

struct Playing {
    msid: u32,
    form: RtmpForm,
    grant: Rc<Grant>,
    player: Player,
    until: Option<Instant>,
}

/// What is needed to join again in another form.
struct Grant {
    intent: Intent,
}

/// A second NetStream that plays on the same connection: its messages go between those of the
/// first.
struct Other {
    msid: u32,
    form: RtmpForm,
    grant: Rc<Grant>,
    sub: Subscriber,
    _hold: PlayGrant,
}

struct Connection {
    rtmp: Box<Server>,
    config: Arc<Config>,
    host: Arc<Host>,
    shard: Rc<Shard>,
    socket: Socket,
    local: Box<str>,
    options: VhostOptions,
    connect: Option<Box<Connect>>,
    publications: Vec<Publication>,
    player: Option<Box<Playing>>,
    others: Vec<Other>,
    session: Session,
}

enum Wake {
    Kicked(Kick),
    Ended(Close),
    Other,
    Read(std::io::Result<Option<()>>),
    Timer,
}

impl Connection {
    async fn run(mut self) {
        let close = loop {
            if let Err(close) = Box::pin(self.pump()).await {
                break close;
            }
            match self.wait().await {
                Wake::Kicked(why) => break self.kicked(why).await,
                Wake::Ended(close) => break close,
                Wake::Other => self.mix(),
                Wake::Read(Ok(Some(()))) => {}
                Wake::Read(Ok(None)) => {
                    break Close { code: 1007, ..Close::done("the client closed the connection") };
                }
                Wake::Read(Err(e)) => {
                    break Close {
                        code: 1007,
                        ..Close::done(format!("the connection broke: {e}"))
                    };
                }
                Wake::Timer => {
                    let now = Instant::now();
                    self.rtmp.handle_timeout(now);
                    if let Some(close) = self.overdue(now) {
                        break close;
                    }
                }
            }
        };
        self.finish(&close).await;
    }

    /// The next thing that happens. Every branch may be cancelled without loss.
    async fn wait(&mut self) -> Wake {
        let deadline = self.deadline();
        let Self { rtmp, socket, shard, player, others, session, publications, options, .. } = self;
        let counters = &session.counters;
        let wants_input = rtmp.wants_input();
        let commanding = publications.is_empty() && player.is_none();
        // Merged read: let the publisher's messages gather in the kernel.
        let not_before = publications
            .iter()
            .map(|p| p.last + options.merged_read)
            .max()
            .filter(|_| !options.merged_read.is_zero());
        let read = async {
            if let Some(at) = not_before {
                sleep_until(at.into()).await;
            }
            let mut bytes_in = 0usize;
            let got = socket
                .read(shard, |bytes| {
                    bytes_in = bytes.len();
                    rtmp.handle_bytes(Instant::now(), bytes);
                })
                .await;
            Counters::add(&counters.recv_bytes, bytes_in as u64);
            if commanding {
                socket.acknowledge_now();
            }
            got
        };
        tokio::select! {
            biased;
            why = session.kicked() => Wake::Kicked(why),
            got = read, if wants_input => Wake::Read(got),
            close = drive(player.as_deref()) => Wake::Ended(close),
            () = any_ready(others) => Wake::Other,
            () = at(deadline) => Wake::Timer,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let publications = self.publications.iter().map(|p| p.last + p.timeout);
        let playing = self.player.iter().filter_map(|p| p.until);
        self.rtmp.poll_timeout().into_iter().chain(publications).chain(playing).min()
    }

    fn overdue(&self, now: Instant) -> Option<Close> {
        if let Some(p) = self.publications.iter().find(|p| p.last + p.timeout <= now) {
            let ms = p.timeout.as_millis();
            return Some(Close::peer(1011, format!("the publisher sent nothing for {ms} ms")));
        }
        let done = self.player.as_ref().and_then(|p| p.until).is_some_and(|at| at <= now);
        done.then(|| Close {
            code: 2019,
            ..Close::done("the duration that the player asked for is over")
        })
    }

    /// Does what the session asks for until it asks for nothing more.
    async fn pump(&mut self) -> Result<(), Close> {
        let mut pushed = false;
        while let Some(event) = self.rtmp.poll_event() {
            match event {
                Event::Media { msid, media, timestamp_ms, body } => {
                    self.media(msid, media, timestamp_ms, body)?;
                    pushed = true;
                }
                Event::ConnectAsked(connect) => self.connect_asked(connect),
                Event::PublishAsked(asked) => self.publish_asked(*asked).await?,
                Event::PlayAsked(asked) => self.play_asked(*asked).await?,
                Event::Unpublish { msid } => {
                    for p in self.publications.extract_if(.., |p| p.msid == msid) {
                        let stream = p.publisher.stream().key.url();
                        events::unpublished(&self.session.id, &stream);
                    }
                }
                Event::StopPlay { msid } => self.stop_play(msid).await,
                Event::Pause { msid, on } => self.pause(msid, on),
                Event::ReceiveAudio { msid, on } => self.rejoin(msid, |f| f.audio = on).await?,
                Event::ReceiveVideo { msid, on } => self.rejoin(msid, |f| f.video = on).await?,
                Event::Closed(close) => {
                    self.transmit().await?;
                    let fault = match close.fault() {
                        session::Fault::Peer => Fault::Peer,
                        session::Fault::Us => Fault::Us,
                        session::Fault::Nobody => Fault::Nobody,
                    };
                    let code = u32::from(close.code());
                    return Err(Close { fault, code, reason: close.to_string() });
                }
            }
        }
        if pushed {
            for p in &self.publications {
                p.publisher.flush();
            }
        }
        self.transmit().await
    }

    /// Sends the session's replies: between the messages of a player, or straight to the socket.
    async fn transmit(&mut self) -> Result<(), Close> {
        let Some(bytes) = self.rtmp.poll_transmit() else { return Ok(()) };
        if let Some(playing) = &self.player {
            playing.player.subscriber().send_control(&bytes);
            return Ok(());
        }
        Counters::add(&self.session.counters.send_bytes, bytes.len() as u64);
        match tokio::time::timeout(REPLY, self.socket.write_all(&bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => {
                Err(Close { code: 1007, ..Close::done(format!("the connection broke: {e}")) })
            }
            Err(_) => Err(Close::peer(1011, "the client does not read the replies")),
        }
    }

    fn connect_asked(&mut self, connect: Box<Connect>) {
        let session = &self.session;
        events::connect(&session.id, &connect);
        if let Some(ip) = connect.client_addr {
            session.set_forwarded(ip.into());
        }
        self.config = self.host.config();
        if let Some(vhost) = self.config.vhost(&connect.vhost) {
            self.options = VhostOptions::new(&vhost);
        }
        let identity = &self.host.identity;
        let software = identity.software();
        let (major, minor, patch) = identity.compat_version;
        let version = format!("{major}.{minor}.{patch}");
        let options = ConnectOptions {
            chunk_size: self.options.chunk_size,
            in_ack_size: self.options.in_ack_size,
            out_ack_size: self.options.out_ack_size,
            info: ServerInfo {
                signature: "SRS",
                server: &software,
                license: "MIT OR Apache-2.0",
                url: "",
                version: &version,
                authors: "",
                ip: &self.local,
                pid: std::process::id(),
                id: &session.id,
            },
        };
        self.rtmp.accept_connect(Instant::now(), &options);
        self.connect = Some(connect);
    }

    fn intent(&self, kind: &'static str, publish: bool, url: &StreamUrl) -> Intent {
        let connect = self.connect.as_deref();
        let text = |get: fn(&Connect) -> Option<&str>| {
            connect.and_then(get).unwrap_or_default().to_owned()
        };
        Intent {
            session: self.session.id.to_string(),
            peer: self.session.peer,
            detail: Detail {
                kind,
                publish,
                vhost: url.vhost.clone(),
                app: url.app.clone(),
                name: url.stream.clone(),
                param: url.param.clone(),
                tc_url: text(|c| Some(&c.tc_url)),
                page_url: text(|c| c.page_url.as_deref()),
                swf_url: text(|c| c.swf_url.as_deref()),
            },
        }
    }

    async fn publish_asked(&mut self, asked: PublishAsked) -> Result<(), Close> {
        let kind = match asked.kind {
            PublishKind::Flash => "flash-publish",
            PublishKind::Fmle => "fmle-publish",
            PublishKind::Haivision => "haivision-publish",
        };
        events::identified(&self.session.id, kind, &asked.url);
        let intent = self.intent(kind, true, &asked.url);
        match self.host.publish(&self.shard, &self.session, intent).await {
            Ok((publisher, hold)) => {
                self.adopt_vhost(&publisher.stream().key.vhost);
                let stream = publisher.stream().key.url();
                let o = &self.options;
                let ms = |d: Duration| d.as_millis();
                let id = &self.session.id;
                events::publishing(
                    id,
                    &stream,
                    ms(o.merged_read),
                    ms(o.first_packet),
                    ms(o.normal),
                );
                self.rtmp.accept_publish(Instant::now(), asked.msid);
                self.publications.push(Publication {
                    msid: asked.msid,
                    publisher,
                    demuxer: Demuxer::new(),
                    clock: ClockUnwrap::rtmp_millis(),
                    timeout: self.options.first_packet,
                    last: Instant::now(),
                    dropped: 0,
                    _hold: hold,
                });
                Ok(())
            }
            Err(refusal) => {
                let reason = refusal.to_string();
                events::refused(&self.session.id, "publish", &asked.url.stream, &reason);
                let code = "NetStream.Publish.BadName";
                self.rtmp.refuse_publish(Instant::now(), asked.msid, code, &reason);
                self.transmit().await?;
                Err(Close::peer(refusal.code(), reason))
            }
        }
    }

    async fn play_asked(&mut self, asked: PlayAsked) -> Result<(), Close> {
        events::identified(&self.session.id, "rtmp-play", &asked.url);
        let intent = self.intent("rtmp-play", false, &asked.url);
        match self.host.play(&self.session, intent.clone()).await {
            Ok(grant) => {
                self.adopt_vhost(&grant.stream.key.vhost);
                let stream = &grant.stream;
                let id = &self.session.id;
                let publisher = stream.publisher_id();
                events::playing(id, &stream.key.url(), stream.is_active(), &publisher);
                self.rtmp.accept_play(Instant::now(), asked.msid);
                let form = RtmpForm {
                    chunk_size: self.rtmp.chunk_size(),
                    msid: asked.msid,
                    audio: true,
                    video: true,
                };
                let until =
                    asked.duration_ms.map(|ms| Instant::now() + Duration::from_millis(ms.into()));
                self.join(asked.msid, form, Rc::new(Grant { intent }), grant, until).await
            }
            Err(refusal) => {
                let reason = refusal.to_string();
                events::refused(&self.session.id, "play", &asked.url.stream, &reason);
                let code = "NetStream.Play.StreamNotFound";
                self.rtmp.refuse_play(Instant::now(), asked.msid, code, &reason);
                self.transmit().await?;
                Err(Close::peer(refusal.code(), reason))
            }
        }
    }

    /// The vhost of the stream may be another than that of the connection.
    fn adopt_vhost(&mut self, name: &str) {
        if let Some(vhost) = self.config.vhost(name) {
            self.options = VhostOptions::new(&vhost);
        }
    }

    async fn join(
        &mut self,
        msid: u32,
        form: RtmpForm,
        again: Rc<Grant>,
        grant: PlayGrant,
        until: Option<Instant>,
    ) -> Result<(), Close> {
        if self.player.is_some() {
            self.transmit().await?;
            let options = grant.subscribe_options(&self.session);
            let (stream, delivery) = (grant.stream.clone(), grant.delivery);
            let sub = self.shard.subscribe_pull(&stream, form.form(), delivery, options, &[]);
            self.others.push(Other { msid, form, grant: again, sub, _hold: grant });
            self.mix();
            return Ok(());
        }
        let initial = self.rtmp.poll_transmit().unwrap_or_default();
        let socket = self.socket.clone();
        let player = Player::join(&self.shard, &self.session, grant, form.form(), socket, &initial);
        self.player = Some(Box::new(Playing { msid, form, grant: again, player, until }));
        Ok(())
    }

    /// Moves what the other NetStreams have into the connection, whole messages at a time.
    fn mix(&mut self) {
        let Some(playing) = &self.player else { return };
        let mut bytes = Vec::new();
        for other in &self.others {
            other.sub.take(usize::MAX, &mut bytes);
            if !bytes.is_empty() {
                playing.player.subscriber().send_control(&bytes);
                bytes.clear();
            }
        }
    }

    fn pause(&mut self, msid: u32, on: bool) {
        if let Some(playing) = self.player.as_ref().filter(|p| p.msid == msid) {
            playing.player.subscriber().pause(on);
        }
        if let Some(other) = self.others.iter().find(|o| o.msid == msid) {
            other.sub.pause(on);
        }
    }

    /// Takes the first player off the socket, at a message's end.
    async fn release(&mut self) -> Option<Box<Playing>> {
        let playing = self.player.take()?;
        let sub = playing.player.subscriber();
        sub.pause(true);
        let drained = async {
            match self.socket {
                Socket::Tcp(_) => sub.drained().await,
                // Over TLS the player's own loop has to push the bytes out.
                Socket::Tls(_) => {
                    let _ = tokio::time::timeout(LINGER, playing.player.drive()).await;
                }
            }
        };
        let _ = tokio::time::timeout(REPLY, drained).await;
        Some(playing)
    }

    async fn stop_play(&mut self, msid: u32) {
        self.others.retain(|o| o.msid != msid);
        if self.player.as_ref().is_some_and(|p| p.msid == msid) {
            self.release().await;
            if !self.others.is_empty() {
                let next = self.others.remove(0);
                let (form, again) = (next.form, next.grant.clone());
                let intent = again.intent.clone();
                drop(next);
                if let Ok(grant) = self.host.play(&self.session, intent).await {
                    let _ = self.join(form.msid, form, again, grant, None).await;
                }
            }
        }
    }

    /// The player wants other tracks: it joins again, in another form.
    async fn rejoin(&mut self, msid: u32, change: impl Fn(&mut RtmpForm)) -> Result<(), Close> {
        if let Some(at) = self.others.iter().position(|o| o.msid == msid) {
            let other = self.others.swap_remove(at);
            let mut form = other.form;
            change(&mut form);
            let again = other.grant.clone();
            drop(other);
            return self.join_again(form, again, None).await;
        }
        let Some(mut form) = self.player.as_ref().filter(|p| p.msid == msid).map(|p| p.form) else {
            return Ok(());
        };
        let before = form;
        change(&mut form);
        if form == before {
            return Ok(());
        }
        match self.release().await {
            Some(old) => self.join_again(form, old.grant.clone(), old.until).await,
            None => Ok(()),
        }
    }

    async fn join_again(
        &mut self,
        form: RtmpForm,
        again: Rc<Grant>,
        until: Option<Instant>,
    ) -> Result<(), Close> {
        match self.host.play(&self.session, again.intent.clone()).await {
            Ok(grant) => self.join(form.msid, form, again, grant, until).await,
            Err(refusal) => Err(Close::peer(refusal.code(), refusal.to_string())),
        }
    }

    fn media(
        &mut self,
        msid: u32,
        media: Media,
        timestamp_ms: u32,
        body: bytes::Bytes,
    ) -> Result<(), Close> {
        let Some(p) = self.publications.iter_mut().find(|p| p.msid == msid) else { return Ok(()) };
        p.last = Instant::now();
        p.timeout = self.options.normal;
        let counters = &self.session.counters;
        Counters::add(&counters.messages, 1);
        let (kind, dts) = match media {
            // Script data is stamped 0 by many encoders: it must not move the clock.
            Media::Data => (TagKind::Script, Timestamp::from_millis(i64::from(timestamp_ms))),
            Media::Audio => (TagKind::Audio, p.unwrap(timestamp_ms)),
            Media::Video => (TagKind::Video, p.unwrap(timestamp_ms)),
        };
        let mut frames: SmallVec<[media::Frame; 2]> = SmallVec::new();
        if let Err(e) = p.demuxer.push(kind, dts, body, &mut frames) {
            p.dropped = p.dropped.saturating_add(1);
            events::dropped(&self.session.id, e.reason(), p.dropped);
            p.publisher.touch();
        }
        for mut frame in frames {
            if frame.flags.contains(Flags::CONFIG) {
                if frame.codec == Codec::ScriptData {
                    let identity = &self.host.identity;
                    let limits = container::amf::Limits::default();
                    let server = identity.software();
                    let new = metadata::rewrite(&frame.payload, &limits, &server, identity.version);
                    if let Some(new) = new {
                        events::metadata(&self.session.id, &new);
                        let auto = self.config.vhost(&p.publisher.stream().key.vhost);
                        if new.atc && auto.is_some_and(|v| v.bool("play.atc_auto")) {
                            p.publisher.set_atc(true);
                        }
                        frame.payload = new.payload;
                    }
                } else {
                    events::configuration(&self.session.id, &frame);
                }
            }
            if p.publisher.push(frame).is_err() {
                return Err(taken_over());
            }
        }
        Ok(())
    }

    async fn kicked(&mut self, why: Kick) -> Close {
        match why {
            Kick::Api => Close::done("kicked off through the API"),
            Kick::TakenOver => {
                for p in &self.publications {
                    let text = "another publisher has taken the stream over";
                    self.rtmp.notify(p.msid, "error", "NetStream.Publish.BadName", text);
                }
                let _ = self.transmit().await;
                taken_over()
            }
            Kick::Shutdown => Close::done("the server stops"),
            Kick::Vhost => Close::done("the virtual host was removed or disabled"),
        }
    }

    async fn finish(mut self, close: &Close) {
        if close.fault != Fault::Nobody {
            self.host.sessions.errors.fetch_add(1, Relaxed);
        }
        for p in &self.publications {
            events::unpublished(&self.session.id, &p.publisher.stream().key.url());
        }
        self.publications.clear();
        self.others.clear();
        self.player = None;
        self.session.closed(close);
        // A close with unread input would turn into a reset, which may overtake our last words.
        self.socket.shutdown().await;
        if close.fault == Fault::Peer {
            let rest = async {
                let nothing = |_: &[u8]| ();
                while let Ok(Some(())) = self.socket.read(&self.shard, nothing).await {}
            };
            let _ = tokio::time::timeout(LINGER, rest).await;
        }
    }
}

impl Publication {
    fn unwrap(&mut self, timestamp_ms: u32) -> Timestamp {
        Timestamp::from_millis(self.clock.unwrap(u64::from(timestamp_ms)))
    }
}

fn taken_over() -> Close {
    Close::done("another publisher has taken the stream over")
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(at) => sleep_until(at.into()).await,
        None => pending().await,
    }
}

async fn drive(playing: Option<&Playing>) -> Close {
    match playing {
        Some(playing) => playing.player.drive().await,
        None => pending().await,
    }
}

async fn any_ready(others: &[Other]) {
    if others.is_empty() {
        pending::<()>().await;
    }
    let ready = others.iter().map(|o| Box::pin(o.sub.ready()));
    let _ = select_all(ready).await;
}
