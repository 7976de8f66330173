//! A client on a stream: what is held while it is there, and tells when it has gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use hub::{Delivery, EndPublish, PublisherOwner, Stream};

use crate::admission::{Answer, Event, Refusal, Segment};
use crate::host::Host;
use crate::session::{Detail, Kick, Session, SessionInfo};

/// A client on a stream, from the question whether it may to the last that is told of it.
pub struct Visit {
    /// The host.
    pub host: Arc<Host>,
    /// The session.
    pub session: Arc<SessionInfo>,
    /// The stream.
    pub stream: Arc<Stream>,
    /// What it asked for, where the session is listed with something else.
    own: Option<Box<Detail>>,
}

/// What a session without a listing said.
static NOTHING: Detail = Detail {
    kind: "",
    publish: false,
    vhost: String::new(),
    app: String::new(),
    name: String::new(),
    param: String::new(),
    tc_url: String::new(),
    page_url: String::new(),
    swf_url: String::new(),
};

impl Visit {
    /// A client that came to `stream`; the session is listed already.
    pub(crate) fn new(
        host: &Arc<Host>,
        session: &Session,
        stream: Arc<Stream>,
        detail: Detail,
    ) -> Arc<Self> {
        let own = (session.detail() != Some(&detail)).then(|| Box::new(detail));
        Arc::new(Self { host: host.clone(), session: (**session).clone(), stream, own })
    }

    /// What the client asked for.
    pub fn detail(&self) -> &Detail {
        self.own.as_deref().or_else(|| self.session.detail()).unwrap_or(&NOTHING)
    }
}

/// Waits for an answer, unless the session is kicked off meanwhile.
pub(crate) async fn await_answer(session: &SessionInfo, answer: Answer) -> Result<(), Refusal> {
    let Some(answer) = answer else { return Ok(()) };
    tokio::select! {
        biased;
        answer = answer => answer,
        _ = session.kicked() => {
            let reason = "the session was ended while it was asked about".to_owned();
            Err(Refusal::Denied { code: KICKED, reason })
        }
    }
}

/// SRS's code for what went wrong with a kick, and for nothing else of ours.
const KICKED: u32 = 400;

/// Counts a client of a stream while it lives, and tells of a player's end.
pub struct ClientHold {
    visit: Arc<Visit>,
    plays: bool,
}

impl ClientHold {
    pub(crate) fn new(visit: Arc<Visit>) -> Self {
        visit.stream.stats.clients.fetch_add(1, Relaxed);
        Self { visit, plays: false }
    }

    /// The stream.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.visit.stream
    }
}

impl Drop for ClientHold {
    fn drop(&mut self) {
        self.visit.stream.stats.clients.fetch_sub(1, Relaxed);
        if self.plays {
            self.visit.host.admission().tell(Event::Stopped(&self.visit));
        }
    }
}

/// What somebody publishes, from its beginning until nothing is made of it any more: the hub holds
/// it while the publisher is there, packagers for as long as they have something to finish. Its
/// drop tells the end.
pub struct Publication {
    visit: Arc<Visit>,
    /// The stream was taken. A publisher that finds it busy has no end to tell.
    begun: AtomicBool,
}

impl Publication {
    pub(crate) fn new(visit: Arc<Visit>) -> Arc<Self> {
        Arc::new(Self { visit, begun: AtomicBool::new(false) })
    }

    pub(crate) fn begin(&self) {
        self.begun.store(true, Relaxed);
        self.visit.host.admission().tell(Event::Published(&self.visit));
    }

    /// Tells of a segment of what `owner` publishes. Nothing where the owner is not a client of
    /// this server's gates.
    pub fn tell_segment(owner: &dyn PublisherOwner, segment: Segment<'_>) {
        if let Some(this) = owner.as_any().and_then(|any| any.downcast_ref::<Self>()) {
            this.visit.host.admission().tell(Event::Segment(&this.visit, segment));
        }
    }
}

impl Publication {
    /// Tells of a finished recording of what `owner` publishes. Nothing where the owner is not a
    /// client of this server's gates.
    pub fn tell_recorded(owner: &dyn PublisherOwner, file: &str) {
        if let Some(this) = owner.as_any().and_then(|any| any.downcast_ref::<Self>()) {
            this.visit.host.admission().tell(Event::Recorded(&this.visit, file));
        }
    }
}

impl PublisherOwner for Publication {
    fn end(&self, why: EndPublish) {
        match why {
            EndPublish::TakenOver => self.visit.session.kick(Kick::TakenOver),
        }
    }

    fn id(&self) -> &str {
        &self.visit.session.id
    }

    fn as_any(&self) -> Option<&dyn std::any::Any> {
        Some(self)
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        if *self.begun.get_mut() {
            self.visit.host.admission().tell(Event::Unpublished(&self.visit));
        }
    }
}

/// Permission to play.
pub struct PlayGrant {
    /// The stream; possibly without a publisher yet.
    pub stream: Arc<Stream>,
    /// How its players are served.
    pub delivery: Delivery,
    /// How far behind a player may fall.
    pub queue_length: Duration,
    /// Start at the last key frame.
    pub from_key: bool,
    /// Keeps the stream in the registry and counts the client; keep it as long as you play.
    pub hold: Option<ClientHold>,
}

impl PlayGrant {
    /// Options for the hub.
    pub fn subscribe_options(&self, session: &Session) -> hub::SubscribeOptions {
        hub::SubscribeOptions {
            queue_length: self.queue_length,
            session: session.id.clone(),
            counters: session.counters.clone(),
            from_key: self.from_key,
        }
    }
}

/// A player that no rule turned away. Others may still have to be asked.
pub struct PlayAsked {
    pub(crate) grant: PlayGrant,
    pub(crate) answer: Answer,
}

impl PlayAsked {
    /// The stream.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.grant.stream
    }

    /// Whether [`begin`](Self::begin) takes time. Protocols in which a player is told that it plays
    /// before others are asked (RTMP) have to say so first.
    pub fn waits(&self) -> bool {
        self.answer.is_some()
    }

    /// Begins to play, once all agree.
    ///
    /// # Errors
    /// [`Refusal`]: the player gets nothing.
    pub async fn begin(mut self) -> Result<PlayGrant, Refusal> {
        if let Some(hold) = &mut self.grant.hold {
            let Visit { host, session, stream, .. } = &*hold.visit;
            let answer = await_answer(session, self.answer.take()).await;
            answer.inspect_err(|e| host.refused("play", session, &stream.key.url(), e))?;
            hold.plays = true;
            hold.visit.host.admitted(&hold.visit.session);
            hold.visit.host.admission().tell(Event::Played(&hold.visit));
        }
        Ok(self.grant)
    }
}
