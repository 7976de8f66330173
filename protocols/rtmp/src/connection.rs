//! One RTMP connection: moves bytes between the socket and the session machine, and does what
//! the session's events ask for.

mod play;
mod publish;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;
use gate::conf::Config;
use gate::host::ConnectionPermit;
use gate::listen::Served;
use gate::session::Kick;
use gate::{Close, Detail, Fault, Host, Intent, Session, Socket};
use hub::{Counters, Shard};
use tokio::time::{Sleep, sleep_until};

use crate::config::VhostOptions;
use crate::events;
use crate::session::server::{Connect, ConnectOptions, Event, ServerInfo};
use crate::session::{self, Limits, Server};
use crate::wire::url::StreamUrl;
use play::{Other, Playing};
use publish::Publication;

/// Longest wait for a client to take a reply; a client that does not read its replies is gone.
const REPLY: Duration = Duration::from_secs(30);
/// What a client gets to see its last status before the socket closes.
const LINGER: Duration = Duration::from_millis(500);

/// Serves one accepted socket on its shard.
pub(crate) fn spawn(
    host: &Arc<Host>,
    limits: Arc<Limits>,
    shard: &Rc<Shard>,
    served: Served,
    secure: bool,
) {
    let session = host.sessions.open("rtmp", served.peer);
    session.is_connection();
    events::accepted(&session.id, served.peer, secure);
    let id = session.id.clone();
    let mut seed = [0u8; 32];
    rand::fill(&mut seed);
    let connection = Box::new(Connection {
        rtmp: Server::new(Instant::now(), seed, limits),
        config: host.config(),
        host: host.clone(),
        shard: shard.clone(),
        socket: served.socket,
        caller: None,
        publications: Vec::new(),
        player: None,
        others: Vec::new(),
        timer: None,
        session,
        _permit: served.permit,
    });
    shard.spawn(id, connection.run());
}

/// All that a connection needs. Boxed once: the task itself holds a pointer to it, and what an
/// answer needs for a moment is boxed for that moment, since there are thousands of players.
struct Connection {
    rtmp: Server,
    config: Arc<Config>,
    host: Arc<Host>,
    shard: Rc<Shard>,
    socket: Socket,
    caller: Option<Box<Caller>>,
    publications: Vec<Publication>,
    player: Option<Box<Playing>>,
    others: Vec<Other>,
    timer: Option<Pin<Box<Sleep>>>,
    session: Session,
    _permit: ConnectionPermit,
}

/// What the client said of itself in `connect` and is still needed for what it asks later.
#[derive(Default)]
struct Caller {
    tc_url: String,
    page_url: String,
    swf_url: String,
}

enum Wake {
    Kicked(Kick),
    Ended(Close),
    Other,
    Read(std::io::Result<Option<()>>),
    Timer,
}

impl Connection {
    async fn run(mut self: Box<Self>) {
        let close = loop {
            if let Some(work) = self.pump()
                && let Err(close) = work.await
            {
                break close;
            }
            if self.player.is_some() {
                self.rtmp.settle();
            }
            match poll_fn(|cx| self.poll_wake(cx)).await {
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
        Box::pin(self.finish(close)).await;
    }

    /// The next thing that happens. Polled by hand: a `select!` over futures would hold room for
    /// each of them in every player's task.
    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        if let Poll::Ready(why) = self.session.poll_kicked(cx) {
            return Poll::Ready(Wake::Kicked(why));
        }
        let not_before = self.not_before();
        if self.rtmp.wants_input()
            && not_before.is_none()
            && let Poll::Ready(got) = self.poll_read(cx)
        {
            return Poll::Ready(Wake::Read(got));
        }
        if let Some(playing) = &self.player
            && let Poll::Ready(close) = playing.player.poll_drive(cx)
        {
            return Poll::Ready(Wake::Ended(close));
        }
        if self.others.iter().any(|other| other.sub.poll_ready(cx).is_ready()) {
            return Poll::Ready(Wake::Other);
        }
        let at = self.deadline().into_iter().chain(not_before).min();
        self.poll_timer(cx, at).map(|()| Wake::Timer)
    }

    /// Merged read: the publisher's messages gather in the kernel until then.
    fn not_before(&self) -> Option<Instant> {
        let at = self.publications.iter().filter_map(|p| p.read_at(&self.shard)).max()?;
        (at > Instant::now()).then_some(at)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<Option<()>>> {
        let Self { rtmp, socket, shard, session, .. } = self;
        let mut bytes_in = 0usize;
        let got = ready!(socket.poll_bytes(cx, shard, |bytes| {
            bytes_in = bytes.len();
            rtmp.handle_bytes(Instant::now(), bytes);
        }));
        Counters::add(&session.counters.recv_bytes, bytes_in as u64);
        if self.publications.is_empty() && self.player.is_none() {
            self.socket.acknowledge_now();
        }
        Poll::Ready(got)
    }

    /// Ready at `at` or later. The timer is set again only for an earlier time, or when it has run
    /// down: a publisher's deadline moves on with each message.
    fn poll_timer(&mut self, cx: &mut Context<'_>, at: Option<Instant>) -> Poll<()> {
        let Some(at) = at else {
            self.timer = None;
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at.into())));
        if timer.deadline().into_std() > at {
            timer.as_mut().reset(at.into());
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= at {
                self.timer = None;
                return Poll::Ready(());
            }
            timer.as_mut().reset(at.into());
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

    /// Hands media on; the rest of what the session asks for, which is rare, is boxed: a player's
    /// task, of which there are thousands, must not hold room for it.
    fn pump(&mut self) -> Option<LocalBoxFuture<'_, Result<(), Close>>> {
        let first = self.relay().transpose();
        let bytes = match first {
            Some(_) => None,
            None => Some(self.rtmp.poll_transmit()?),
        };
        Some(Box::pin(async move {
            if let Some(bytes) = bytes {
                return self.transmit(bytes).await;
            }
            let mut next = first;
            while let Some(event) = next.transpose()? {
                self.act(event).await?;
                next = self.relay().transpose();
            }
            self.say().await
        }))
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
        let vhost = self.options(&connect.vhost);
        let identity = &self.host.identity;
        let software = identity.software();
        let local = self.socket.local_addr().map(|local| local.ip().to_canonical().to_string());
        let (major, minor, patch) = identity.compat_version;
        let version = format!("{major}.{minor}.{patch}");
        let options = ConnectOptions {
            chunk_size: vhost.chunk_size,
            in_ack_size: vhost.in_ack_size,
            out_ack_size: vhost.out_ack_size,
            info: ServerInfo {
                signature: "SRS",
                server: &software,
                license: "MIT OR Apache-2.0",
                url: "",
                version: &version,
                authors: "",
                ip: local.as_deref().unwrap_or(""),
                pid: std::process::id(),
                id: &session.id,
            },
        };
        self.rtmp.accept_connect(Instant::now(), &options);
        self.caller = Some(Box::new(Caller {
            tc_url: connect.tc_url,
            page_url: connect.page_url.unwrap_or_default(),
            swf_url: connect.swf_url.unwrap_or_default(),
        }));
    }

    fn intent(&self, kind: &'static str, publish: bool, url: &StreamUrl) -> Intent {
        let text = |get: fn(&Caller) -> &str, listed: fn(&Detail) -> &str| {
            let of_caller = self.caller.as_deref().map(get);
            of_caller.or_else(|| self.session.detail().map(listed)).unwrap_or_default().to_owned()
        };
        self.intent_of(Detail {
            kind,
            publish,
            vhost: url.vhost.clone(),
            app: url.app.clone(),
            name: url.stream.clone(),
            param: url.param.clone(),
            tc_url: text(|c| &c.tc_url, |d| &d.tc_url),
            page_url: text(|c| &c.page_url, |d| &d.page_url),
            swf_url: text(|c| &c.swf_url, |d| &d.swf_url),
        })
    }

    fn intent_of(&self, detail: Detail) -> Intent {
        Intent { session: self.session.id.to_string(), peer: self.session.peer, detail }
    }

    /// What a virtual host says. That of the stream may be another than that of the connection.
    fn options(&self, vhost: &str) -> VhostOptions {
        self.config.vhost(vhost).map(|vhost| VhostOptions::new(&vhost)).unwrap_or_default()
    }

    async fn kicked(&mut self, why: Kick) -> Close {
        if why == Kick::TakenOver {
            for p in &self.publications {
                let text = "another publisher has taken the stream over";
                self.rtmp.notify(p.msid, "error", "NetStream.Publish.BadName", text);
            }
            let _ = self.say().await;
        }
        kicked_off(why)
    }

    async fn finish(mut self: Box<Self>, close: Close) {
        if close.fault != Fault::Nobody {
            self.host.sessions.errors.fetch_add(1, Relaxed);
        }
        for p in &self.publications {
            events::unpublished(&self.session.id, &p.publisher.stream().key.url());
        }
        self.publications.clear();
        self.others.clear();
        self.player = None;
        self.session.closed(&close);
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

/// Waits for the answer to a question about the client, for as long as the client waits for it.
async fn attend<T>(
    (socket, rtmp): (&Socket, &mut Server),
    (shard, session): (&Rc<Shard>, &Session),
    answer: impl Future<Output = T>,
) -> Result<T, Close> {
    let mut answer = pin!(answer);
    // What comes meanwhile is kept for later, and there is room for one read. After it, that the
    // client leaves is noticed when the answer is there.
    let mut room = true;
    poll_fn(|cx| {
        if let Poll::Ready(why) = session.poll_kicked(cx) {
            return Poll::Ready(Err(kicked_off(why)));
        }
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(Ok(answer));
        }
        if !room {
            return Poll::Pending;
        }
        let mut bytes_in = 0usize;
        let got = ready!(socket.poll_bytes(cx, shard, |bytes| {
            bytes_in = bytes.len();
            rtmp.handle_bytes(Instant::now(), bytes);
        }));
        Counters::add(&session.counters.recv_bytes, bytes_in as u64);
        room = false;
        let left = match got {
            Ok(Some(())) => return Poll::Pending,
            Ok(None) => Close::done("the client closed the connection while it was asked about"),
            Err(e) => Close::done(format!("the connection broke: {e}")),
        };
        Poll::Ready(Err(Close { code: 1007, ..left }))
    })
    .await
}

fn kicked_off(why: Kick) -> Close {
    match why {
        Kick::Api => Close::done("kicked off through the API"),
        Kick::TakenOver => taken_over(),
        Kick::Shutdown => Close::done("the server stops"),
        Kick::Vhost => Close::done("the virtual host was removed or disabled"),
    }
}

fn taken_over() -> Close {
    Close::done("another publisher has taken the stream over")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_stays_small() {
        // Ten thousand of them: what is added here is paid for each.
        assert!(size_of::<Connection>() <= 448, "{}", size_of::<Connection>());
        let task = |c: Box<Connection>| c.run();
        fn output<A, F>(_: &impl Fn(A) -> F) -> usize {
            size_of::<F>()
        }
        assert!(output(&task) <= 104, "{}", output(&task));
    }
}
