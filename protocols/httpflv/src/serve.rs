//! A viewer's life while the stream flows: over a connection that was taken over, or as the body of
//! an HTTP/2 response.

use std::cell::Cell;
use std::ops::Deref;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use gate::http::{Body, BodySender};
use gate::player::close_of;
use gate::session::Kick;
use gate::{Close, PlayGrant, Player, Session, Socket};
use hub::{Counters, End, Shard, Stream, Subscriber};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

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
    changed: watch::Receiver<u64>,
    until: Option<Instant>,
}

impl Hold {
    fn new(stream: Arc<Stream>) -> Self {
        Self { changed: stream.watch(), stream, until: None }
    }

    /// Returns when nobody has published for too long. Cancel safe.
    async fn over(&mut self, viewer: &Viewer) -> Close {
        loop {
            if self.stream.is_active() {
                self.until = None;
                let _ = self.changed.changed().await;
                continue;
            }
            let until = *self.until.get_or_insert_with(|| {
                events::waiting(viewer, &self.stream, HOLD.as_secs());
                Instant::now() + HOLD
            });
            tokio::select! {
                _ = self.changed.changed() => {}
                () = sleep_until(until) => {
                    let seconds = HOLD.as_secs();
                    return Close::done(format!("nobody has published for {seconds} s"));
                }
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
    drop(head);
    let over = {
        let mut hold = Hold::new(stream);
        tokio::select! {
            close = player.drive() => Over::Gone(close),
            over = listen(&shard, &viewer, &player, &socket, wire.framing) => over,
            why = viewer.kicked() => Over::Farewell(kicked(why), wire.framing.end().to_vec()),
            close = hold.over(&viewer) => Over::Farewell(close, wire.framing.end().to_vec()),
        }
    };
    match over {
        Over::Gone(close) => viewer.close(&close),
        Over::Farewell(close, bytes) => {
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
    }
}

/// Reads what the viewer sends: nothing over HTTP, little over a WebSocket. Returns when it leaves
/// or breaks a rule.
async fn listen(
    shard: &Shard,
    viewer: &Viewer,
    player: &Player,
    socket: &Socket,
    framing: Framing,
) -> Over {
    let mut inbox = (framing == Framing::WebSocket).then(Inbox::default);
    let counter = &viewer.counters.recv_bytes;
    loop {
        let read = socket.read(shard, |bytes| {
            Counters::add(counter, bytes.len() as u64);
            if let Some(inbox) = &mut inbox {
                inbox.push(bytes);
            }
        });
        match read.await {
            Ok(Some(())) => {}
            Ok(None) => return Over::Gone(Close::done("the player left")),
            Err(e) => return Over::Gone(Close::done(format!("the player left ({})", e.kind()))),
        }
        while let Some(inbox) = &mut inbox {
            let mut answer = Vec::new();
            match inbox.pull() {
                Ok(None) => break,
                Ok(Some(Said::Ping(payload))) => {
                    write_control(PONG, &payload, &mut answer);
                    player.subscriber().send_control(&answer);
                }
                Ok(Some(Said::Close)) => {
                    write_control(CLOSE, &1000u16.to_be_bytes(), &mut answer);
                    return Over::Farewell(Close::done("the player closed the WebSocket"), answer);
                }
                Err(broken) => {
                    write_control(CLOSE, &broken.code().to_be_bytes(), &mut answer);
                    return Over::Farewell(Close::peer(0, broken.to_string()), answer);
                }
            }
        }
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
    shard.spawn(&id, async move {
        let close = {
            let mut hold = Hold::new(stream);
            let pull = pin!(pull(&subscriber, &sender, grant.queue_length));
            tokio::select! {
                end = pull => close_of(end, grant.queue_length),
                () = sender.closed() => Close::done("the player left"),
                why = viewer.kicked() => kicked(why),
                close = hold.over(&viewer) => close,
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
