//! A viewer's life while the stream flows: over a connection that was taken over, or as the body of
//! an HTTP/2 response.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::ops::Deref;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use gate::http::{Body, BodySender};
use gate::player::close_of;
use gate::session::Kick;
use gate::{Close, PlayGrant, Player, Session, Socket};
use hub::{Counters, End, Shard, Stream, Subscriber};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::config::HOLD;
use crate::events;
use crate::packager::{Seed, Wire};
use crate::wire::Framing;
use crate::wire::websocket::{CLOSE, Inbox, PONG, Said, write_control};

/// The name of the gate in sessions and logs.
pub(crate) const GATE: &str = "httpflv";

/// Bytes handed to HTTP/2 at a time: four of its usual frames.
const PULL: usize = 64 * 1024;
/// How long the end of a body may stand still before the connection is closed over it, and how
/// often that is looked at. A viewer that reads has it at once.
const FAREWELL_STEP: Duration = Duration::from_millis(100);
/// Looks at a body that ends slowly.
const FAREWELL_STEPS: u32 = 20;
/// After its end, how long a viewer may take to close: closing first could cost it the last bytes.
const LINGER: Duration = Duration::from_secs(1);

/// A session that tells of its end in any case, also when its request is dropped.
pub(crate) struct Viewer {
    session: Session,
    told: Cell<bool>,
}

impl Viewer {
    pub(crate) fn new(session: Session) -> Self {
        Self { session, told: Cell::new(false) }
    }

    /// The end.
    pub(crate) fn close(&self, close: &Close) {
        if !self.told.replace(true) {
            self.session.closed(close);
        }
    }
}

impl Deref for Viewer {
    type Target = Session;
    fn deref(&self) -> &Session {
        &self.session
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.close(&Close::done("the client left before the stream began"));
    }
}

/// Why a viewer is told to go.
fn kicked(why: Kick) -> Close {
    Close::done(match why {
        Kick::Api => "kicked through the API",
        Kick::TakenOver => "kicked",
        Kick::Shutdown => "the server stops",
        Kick::Vhost => "the virtual host was removed or disabled",
    })
}

/// Watches over the publisher: viewers stay for [`HOLD`] when it leaves.
struct Hold {
    stream: Arc<Stream>,
    joined: Instant,
    until: Option<Pin<Box<Sleep>>>,
}

impl Hold {
    fn new(stream: Arc<Stream>) -> Self {
        Self { stream, joined: Instant::now(), until: None }
    }

    /// Ready when nobody has published for too long. To be asked again when the stream's
    /// subscriber is woken, as it is when a publisher leaves.
    fn poll_over(&mut self, cx: &mut Context<'_>, viewer: &Viewer) -> Poll<Close> {
        loop {
            let Some(since) = self.stream.silent_since() else {
                self.until = None;
                return Poll::Pending;
            };
            let at = self.joined.max(since.into()) + HOLD;
            let until = self.until.get_or_insert_with(|| {
                events::waiting(viewer, &self.stream, HOLD.as_secs());
                Box::pin(sleep_until(at))
            });
            if until.deadline() != at {
                until.as_mut().reset(at); // one came and left meanwhile
            }
            ready!(until.as_mut().poll(cx));
            if self.stream.silent_since().is_some_and(|s| self.joined.max(s.into()) + HOLD <= at) {
                let seconds = HOLD.as_secs();
                return Poll::Ready(Close::done(format!("nobody has published for {seconds} s")));
            }
        }
    }
}

/// How serving ended, and what is still to be said to the viewer.
enum Over {
    /// The viewer is gone or does not read.
    Gone(Close),
    /// The body is to be ended with these bytes.
    Farewell(Close, Vec<u8>),
}

/// Serves a connection that was taken over until it ends.
pub(crate) async fn on_socket(
    shard: Rc<Shard>,
    viewer: Viewer,
    grant: PlayGrant,
    wire: Wire,
    head: Vec<u8>,
    socket: Socket,
) {
    let stream = grant.stream.clone();
    let seed = stream.clone();
    let form = wire.form(move || Seed::of(&seed));
    let player = Player::join(&shard, &viewer, grant, form, socket.clone(), &head);
    let inbox = (wire.framing == Framing::WebSocket).then(Box::default);
    let hold = Hold::new(stream);
    drop(head);
    // Boxed, and polled by hand: a viewer's task holds a pointer, and no room for what each of
    // several futures may need.
    let mut watch =
        Box::new(Watch { shard, viewer, player, socket, framing: wire.framing, inbox, hold });
    let over = poll_fn(|cx| watch.poll_over(cx)).await;
    match over {
        Over::Gone(close) => watch.viewer.close(&close),
        Over::Farewell(close, bytes) => Box::pin(farewell(watch, close, bytes)).await,
    }
}

/// A viewer at its socket.
struct Watch {
    shard: Rc<Shard>,
    viewer: Viewer,
    player: Player,
    socket: Socket,
    framing: Framing,
    /// What comes over a WebSocket.
    inbox: Option<Box<Inbox>>,
    hold: Hold,
}

impl Watch {
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        if let Poll::Ready(close) = self.player.poll_drive(cx) {
            return Poll::Ready(Over::Gone(close));
        }
        if let Poll::Ready(over) = self.poll_listen(cx) {
            return Poll::Ready(over);
        }
        let end = || self.framing.end().to_vec();
        if let Poll::Ready(why) = self.viewer.poll_kicked(cx) {
            return Poll::Ready(Over::Farewell(kicked(why), end()));
        }
        self.hold.poll_over(cx, &self.viewer).map(|close| Over::Farewell(close, end()))
    }

    /// Reads what the viewer sends: nothing over HTTP, little over a WebSocket. Ready when it
    /// leaves or breaks a rule.
    fn poll_listen(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        loop {
            let Self { shard, viewer, socket, inbox, .. } = self;
            let read = ready!(socket.poll_bytes(cx, shard, |bytes| {
                Counters::add(&viewer.counters.recv_bytes, bytes.len() as u64);
                if let Some(inbox) = inbox {
                    inbox.push(bytes);
                }
            }));
            let gone = |why: String| Poll::Ready(Over::Gone(Close::done(why)));
            match read {
                Ok(Some(())) => {}
                Ok(None) => return gone("the player left".to_owned()),
                Err(e) => return gone(format!("the player left ({})", e.kind())),
            }
            if let Some(over) = self.answer() {
                return Poll::Ready(over);
            }
        }
    }

    /// Answers what a WebSocket's viewer said.
    fn answer(&mut self) -> Option<Over> {
        let inbox = self.inbox.as_mut()?;
        loop {
            let mut answer = Vec::new();
            match inbox.pull() {
                Ok(None) => return None,
                Ok(Some(Said::Ping(payload))) => {
                    write_control(PONG, &payload, &mut answer);
                    self.player.subscriber().send_control(&answer);
                }
                Ok(Some(Said::Close)) => {
                    write_control(CLOSE, &1000u16.to_be_bytes(), &mut answer);
                    let close = Close::done("the player closed the WebSocket");
                    return Some(Over::Farewell(close, answer));
                }
                Err(broken) => {
                    write_control(CLOSE, &broken.code().to_be_bytes(), &mut answer);
                    return Some(Over::Farewell(Close::peer(0, broken.to_string()), answer));
                }
            }
        }
    }
}

async fn farewell(watch: Box<Watch>, close: Close, bytes: Vec<u8>) {
    let Watch { shard, viewer, player, socket, .. } = *watch;
    let whole = end_body(&viewer, &player, &bytes).await;
    viewer.close(&close);
    // Neither listed nor counted any more while it takes its time to close.
    drop(player);
    drop(viewer);
    if whole {
        socket.shutdown().await;
        let gone = async { while let Ok(Some(())) = socket.read(&shard, |_| ()).await {} };
        let _ = timeout(LINGER, gone).await;
    }
}

/// Ends the body: the message that is on its way, then `bytes`. `false` when the viewer went or
/// does not read.
async fn end_body(viewer: &Viewer, player: &Player, bytes: &[u8]) -> bool {
    let subscriber = player.subscriber();
    subscriber.pause(true);
    if !bytes.is_empty() {
        subscriber.send_control(bytes);
    }
    let sent = || viewer.counters.send_bytes.load(Relaxed);
    let mut before = sent();
    for _ in 0..FAREWELL_STEPS {
        if timeout(FAREWELL_STEP, player.drive()).await.is_ok() {
            return false;
        }
        if before == sent() {
            break;
        }
        before = sent();
    }
    true
}

/// Serves the stream as the body of a response.
pub(crate) fn as_body(shard: &Rc<Shard>, viewer: Viewer, grant: PlayGrant, wire: Wire) -> Body {
    let stream = grant.stream.clone();
    let seed = stream.clone();
    let form = wire.form(move || Seed::of(&seed));
    let options = grant.subscribe_options(&viewer);
    let subscriber = shard.subscribe_pull(&stream, form, grant.delivery, options, b"");
    let (sender, body) = Body::channel();
    let id = viewer.id.clone();
    shard.spawn(id, async move {
        let close = {
            let mut hold = Hold::new(stream);
            let pull = pin!(pull(&subscriber, &sender, grant.queue_length));
            tokio::select! {
                end = pull => close_of(end, grant.queue_length),
                () = sender.closed() => Close::done("the player left"),
                why = viewer.kicked() => kicked(why),
                // The subscriber's bell wakes this task, and so this branch too.
                close = poll_fn(|cx| hold.poll_over(cx, &viewer)) => close,
            }
        };
        viewer.close(&close);
        drop(sender);
        drop(grant);
    });
    body
}

/// Moves bytes from the log into a body.
async fn pull(subscriber: &Subscriber, sender: &BodySender, patience: Duration) -> End {
    loop {
        if let Err(end) = subscriber.ready().await {
            return end;
        }
        let mut bytes = Vec::new();
        subscriber.take(PULL, &mut bytes);
        match timeout(patience, sender.send(bytes.into())).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return End::Peer(std::io::ErrorKind::BrokenPipe),
            Err(_) => return End::Stalled,
        }
    }
}
