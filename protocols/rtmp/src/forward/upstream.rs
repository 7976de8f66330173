//! One connection to another server, from the handshake to its end.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use gate::forward::State;
use gate::session::Kick;
use gate::{Close, Detail, Fault, Forwarding, PlayGrant, Player, Session, Socket, options};
use hub::{Counters, Shard};
use tokio::time::{Sleep, sleep_until, timeout};

use super::target::shown;
use super::{After, Stop, TAKE, kicked};
use crate::RtmpForm;
use crate::config::VhostOptions;
use crate::events;
use crate::session::client::{Event, Role};
use crate::session::{Client, ClientConfig};
use crate::wire::url::StreamUrl;

/// A connection that held for so long counts as one that works: what breaks sooner is tried again
/// with growing pauses.
const PROVEN: Duration = Duration::from_secs(10);
/// What the end of a stream gets to leave in: the pacer may hold frames for so long.
const TAIL: Duration = Duration::from_millis(150);
/// What the other server gets to take the last words.
const LINGER: Duration = Duration::from_millis(500);

/// A socket, and where it leads to.
pub(super) type Connection = (Socket, SocketAddr);

/// A connection to another server.
pub(super) struct Upstream {
    shard: Rc<Shard>,
    session: Session,
    socket: Socket,
    client: Client,
    player: Option<Player>,
    /// Since when the other server has the stream.
    up: Option<Instant>,
    /// What the other server said last that was no media.
    said: String,
    timer: Option<Pin<Box<Sleep>>>,
}

enum Wake {
    Stopped,
    Kicked(Kick),
    Read(io::Result<Option<()>>),
    Ended(Close),
    Timer,
}

/// Why it is over.
enum End {
    Stopped,
    Kicked(Kick),
    Lost(String),
}

impl Upstream {
    pub(super) fn new(
        shard: &Rc<Shard>,
        task: &Forwarding,
        url: &StreamUrl,
        (socket, peer): Connection,
    ) -> Self {
        let (host, key) = (&task.host, &task.stream.key);
        let session = host.sessions.open("rtmp", peer);
        let listed = Detail {
            kind: "rtmp-forward",
            publish: false,
            vhost: key.vhost.to_string(),
            app: key.app.to_string(),
            name: task.detail.name.clone(),
            param: url.param.clone(),
            tc_url: format!("{}://{}/{}", url.schema, peer, url.app),
            ..Detail::default()
        };
        session.identify(listed, Some(task.stream.clone()));
        task.progress.connected(session.counters.clone());
        let mut config = ClientConfig::new(url.clone(), Role::PublishFlash);
        let section = host.config();
        let own = section.vhost(&key.vhost).map(|vhost| VhostOptions::new(&vhost));
        config.chunk_size = own.unwrap_or_default().chunk_size;
        config.timeout = TAKE;
        let mut seed = [0u8; 32];
        rand::fill(&mut seed);
        let client = Client::new(Instant::now(), seed, config);
        let shard = shard.clone();
        let (player, up, said, timer) = (None, None, String::new(), None);
        Self { shard, session, socket, client, player, up, said, timer }
    }

    /// Pushes the stream until it is told to stop or the connection is lost.
    pub(super) async fn run(mut self, task: &Forwarding, stop: &mut Stop) -> After {
        let end = self.serve(task, stop).await;
        let proven = self.up.is_some_and(|since| since.elapsed() >= PROVEN);
        let (publisher, stream) = (&*task.publisher, task.stream.key.url());
        let (after, close) = match end {
            End::Stopped => {
                self.leave(TAIL).await;
                let why = "it is published no more, or not to go there";
                events::forward_ended(&self.session.id, publisher, &stream, why);
                (After::Stopped, Close::done(why))
            }
            End::Kicked(why) => {
                self.leave(Duration::ZERO).await;
                let why = kicked(why);
                events::forward_ended(&self.session.id, publisher, &stream, why);
                (After::Kicked, Close::done(why))
            }
            End::Lost(why) => {
                let reason = format!("forward: {why}");
                let close = Close { fault: Fault::Upstream, code: 1030, reason };
                (After::Lost { proven, why }, close)
            }
        };
        self.player = None;
        task.progress.disconnected();
        self.session.closed(&close);
        let _ = timeout(LINGER, self.socket.shutdown()).await;
        after
    }

    async fn serve(&mut self, task: &Forwarding, stop: &mut Stop) -> End {
        loop {
            if let Err(why) = self.say().await {
                return End::Lost(why);
            }
            match poll_fn(|cx| self.poll_wake(cx, stop)).await {
                Wake::Stopped => return End::Stopped,
                Wake::Kicked(why) => return End::Kicked(why),
                Wake::Read(Ok(Some(()))) => {}
                Wake::Read(Ok(None)) => return End::Lost(self.closed_by_peer()),
                Wake::Read(Err(e)) => return End::Lost(format!("the connection broke: {e}")),
                Wake::Ended(close) => return End::Lost(close.reason),
                Wake::Timer => self.client.handle_timeout(Instant::now()),
            }
            while let Some(event) = self.client.poll_event() {
                match event {
                    Event::PublishStarted => {
                        if let Err(why) = self.begin(task).await {
                            return End::Lost(why);
                        }
                    }
                    Event::Status { code, description, .. } => {
                        self.said = format!("{code} {description}").trim().to_owned();
                    }
                    Event::Redirect { tc_url, url } => {
                        // Following would let the other server choose a third one.
                        self.said = format!("it is at {}", url.unwrap_or(tc_url));
                    }
                    Event::Closed(close) => {
                        let said = if self.said.is_empty() { "" } else { ": " };
                        return End::Lost(format!("{close}{said}{}", self.said));
                    }
                    Event::Connected { .. }
                    | Event::PlayStarted
                    | Event::Media { .. }
                    | Event::StreamEof => {}
                }
            }
        }
    }

    fn closed_by_peer(&self) -> String {
        match self.said.as_str() {
            "" => "the server closed the connection".to_owned(),
            said => format!("the server closed the connection after it said {said}"),
        }
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>, stop: &mut Stop) -> Poll<Wake> {
        if stop.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Wake::Stopped);
        }
        if let Poll::Ready(why) = self.session.poll_kicked(cx) {
            return Poll::Ready(Wake::Kicked(why));
        }
        let Self { socket, client, shard, session, .. } = self;
        let mut bytes_in = 0usize;
        let got = socket.poll_bytes(cx, shard, |bytes| {
            bytes_in = bytes.len();
            client.handle_bytes(bytes);
        });
        if let Poll::Ready(got) = got {
            Counters::add(&session.counters.recv_bytes, bytes_in as u64);
            return Poll::Ready(Wake::Read(got));
        }
        if let Some(player) = &self.player
            && let Poll::Ready(close) = player.poll_drive(cx)
        {
            return Poll::Ready(Wake::Ended(close));
        }
        let Some(at) = self.client.poll_timeout() else {
            self.timer = None;
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at.into())));
        timer.as_mut().poll(cx).map(|()| Wake::Timer)
    }

    /// The other server takes the stream: from here on the pacer writes to the socket.
    async fn begin(&mut self, task: &Forwarding) -> Result<(), String> {
        self.say().await?;
        let (host, stream) = (&task.host, &task.stream);
        let config = host.config();
        let vhost = config.vhost(&stream.key.vhost).ok_or("the virtual host is no more")?;
        let form = RtmpForm {
            chunk_size: self.client.chunk_size(),
            msid: self.client.msid(),
            audio: true,
            video: true,
            publish: true,
        };
        let grant = PlayGrant {
            stream: stream.clone(),
            delivery: options::delivery(&vhost),
            queue_length: options::queue_length(&vhost),
            // Whoever plays it there can begin at once.
            from_key: true,
            hold: None,
        };
        let socket = self.socket.clone();
        let player = Player::join(&self.shard, &self.session, grant, form.form(), socket, &[]);
        self.player = Some(player);
        self.up = Some(Instant::now());
        task.progress.set(State::Up);
        task.progress.tally().connects.fetch_add(1, Relaxed);
        let to = shown(&task.destination);
        events::forwarding(&self.session.id, &task.publisher, &stream.key.url(), &to);
        Ok(())
    }

    /// Sends what the client's side has to say, if anything.
    async fn say(&mut self) -> Result<(), String> {
        let Some(bytes) = self.client.poll_transmit() else { return Ok(()) };
        if let Some(player) = &self.player {
            player.subscriber().send_control(&bytes);
            return Ok(());
        }
        Counters::add(&self.session.counters.send_bytes, bytes.len() as u64);
        match timeout(TAKE, self.socket.write_all(&bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(e)) => Err(format!("the connection broke: {e}")),
            Err(_) => Err("the server does not read what it is told".to_owned()),
        }
    }

    /// Says goodbye, at a message's end, when the last frames have had `tail` to leave.
    async fn leave(&mut self, tail: Duration) {
        if let Some(player) = self.player.take() {
            let _ = timeout(tail, player.drive()).await;
            let sub = player.subscriber();
            sub.pause(true);
            let drained = async {
                match &self.socket {
                    Socket::Tcp(_) => sub.drained().await,
                    // Over TLS the player's own loop pushes the bytes out.
                    Socket::Tls(_) => _ = player.drive().await,
                }
            };
            let _ = timeout(LINGER, drained).await;
        }
        self.client.stop();
        if let Some(bytes) = self.client.poll_transmit() {
            let _ = timeout(LINGER, self.socket.write_all(&bytes)).await;
        }
    }
}
