//! One RTMP connection: moves bytes between the socket and the session machine, and does what
//! the session's events ask for.

mod play;
mod publish;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use futures_util::future::pending;
use gate::conf::Config;
use gate::listen::Served;
use gate::session::Kick;
use gate::{Close, Detail, Fault, Host, Intent, Session, Socket};
use hub::{Counters, Shard};
use tokio::time::sleep_until;

use crate::config::{VhostOptions, limits};
use crate::events;
use crate::session::server::{Connect, ConnectOptions, Event, ServerInfo};
use crate::session::{self, Server};
use crate::wire::url::StreamUrl;
use play::{Other, Playing, any_ready, drive};
use publish::Publication;

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
    // Boxed, since a task that is handed on by value holds room for two of it.
    let task = Box::pin(async move {
        let _permit = served.permit;
        connection.run().await;
    });
    shard.spawn(&id, task);
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
            if let Err(close) = self.pump().await {
                break close;
            }
            match self.wait().await {
                Wake::Kicked(why) => break Box::pin(self.kicked(why)).await,
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
        Box::pin(self.finish(&close)).await;
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

    /// Does what the session asks for until it asks for nothing more. What is rare is boxed: a
    /// player's task, of which there are thousands, must not hold room for it.
    async fn pump(&mut self) -> Result<(), Close> {
        while let Some(event) = self.relay()? {
            Box::pin(self.act(event)).await?;
        }
        match self.rtmp.poll_transmit() {
            Some(bytes) => Box::pin(self.transmit(bytes)).await,
            None => Ok(()),
        }
    }

    /// Hands media to its stream, up to the first event that asks for something else.
    fn relay(&mut self) -> Result<Option<Event>, Close> {
        let mut pushed = false;
        let next = loop {
            match self.rtmp.poll_event() {
                Some(Event::Media { msid, media, timestamp_ms, body }) => {
                    self.media(msid, media, timestamp_ms, body)?;
                    pushed = true;
                }
                other => break other,
            }
        };
        if pushed {
            for p in &self.publications {
                p.publisher.flush();
            }
        }
        Ok(next)
    }

    async fn act(&mut self, event: Event) -> Result<(), Close> {
        match event {
            Event::Media { .. } => {} // `relay` keeps them
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
                self.say().await?;
                let fault = match close.fault() {
                    session::Fault::Peer => Fault::Peer,
                    session::Fault::Us => Fault::Us,
                    session::Fault::Nobody => Fault::Nobody,
                };
                let code = u32::from(close.code());
                return Err(Close { fault, code, reason: close.to_string() });
            }
        }
        Ok(())
    }

    /// Sends what the session has to say, if anything.
    async fn say(&mut self) -> Result<(), Close> {
        match self.rtmp.poll_transmit() {
            Some(bytes) => self.transmit(bytes).await,
            None => Ok(()),
        }
    }

    /// Sends the session's replies: between the messages of a player, or straight to the socket.
    async fn transmit(&mut self, bytes: Vec<u8>) -> Result<(), Close> {
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

    /// The vhost of the stream may be another than that of the connection.
    fn adopt_vhost(&mut self, name: &str) {
        if let Some(vhost) = self.config.vhost(name) {
            self.options = VhostOptions::new(&vhost);
        }
    }

    async fn kicked(&mut self, why: Kick) -> Close {
        match why {
            Kick::Api => Close::done("kicked off through the API"),
            Kick::TakenOver => {
                for p in &self.publications {
                    let text = "another publisher has taken the stream over";
                    self.rtmp.notify(p.msid, "error", "NetStream.Publish.BadName", text);
                }
                let _ = self.say().await;
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

fn taken_over() -> Close {
    Close::done("another publisher has taken the stream over")
}

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(at) => sleep_until(at.into()).await,
        None => pending().await,
    }
}
