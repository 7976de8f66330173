//! A session's data channels, and what they are for: by their labels.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use gate::Close;
use smallvec::SmallVec;

use super::{Body, Peer, Role};
use crate::engine::allowance::Allowance;
use crate::engine::shard::RtcShard;
use crate::engine::timed::{self, Text};
use crate::session::data::dcep::Open;
use crate::session::data::{Channels, DataConfig, DataDrop, DataEvent, Form, SendError};

/// Sessions of a shard whose data channels have begun. At 130 kB that each may keep of what came
/// and 260 kB of what is to go, all of them at their worst take 1.6 GB.
const MOST_SESSIONS: usize = 4_096;
/// Messages of a publisher that become data of its stream, in a second and at once. At half of it
/// the positions of a pointer do not pass, at double viewers of other protocols pay for it.
const MOST_TEXTS: u32 = 100;

/// Echoes in a second and at once, each of up to [`ECHO_BYTES`]; a longer one counts as several: 16
/// Mbit/s at most. At half of it a page that measures its path is slowed, at double a few strangers
/// keep a core busy.
const MOST_ECHOES: u32 = 1_000;
const ECHO_BYTES: usize = 2_048;

/// What comes in a channel of this label, or of this protocol, goes back.
const ECHO: &str = "echo";
/// A viewer gets the stream's data in it; a publisher gives them.
const METADATA: &str = "metadata";

/// What a channel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Echo,
    Metadata,
    /// Nobody listens.
    Nothing,
}

impl Use {
    fn of(open: &Open) -> Self {
        match (open.label.as_str(), open.protocol.as_str()) {
            (ECHO, _) | (_, ECHO) => Self::Echo,
            (METADATA, _) => Self::Metadata,
            _ => Self::Nothing,
        }
    }
}

/// A place among the sessions of a shard that use data channels.
struct Seat(Rc<Cell<usize>>);

impl Seat {
    fn take(taken: &Rc<Cell<usize>>) -> Option<Self> {
        let now = taken.get();
        (now < MOST_SESSIONS).then(|| {
            taken.set(now.saturating_add(1));
            Self(taken.clone())
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// The channels of a session that has begun with them.
pub(crate) struct Data {
    channels: Channels,
    uses: SmallVec<[(u16, Use); 2]>,
    texts: Allowance,
    echoes: Allowance,
    refused: u64,
    /// The end of the association: why.
    over: Option<String>,
    _seat: Seat,
}

impl Data {
    fn is_taker(&self) -> bool {
        self.uses.iter().any(|(_, used)| *used == Use::Metadata)
    }
}

/// For the session's note; empty before there are channels.
pub(super) fn note(body: &Body) -> String {
    match &body.data {
        None => String::new(),
        Some(data) => match &data.over {
            Some(why) => format!("; data channels: {why}"),
            None => format!("; data channels: {}", data.channels.open_channels()),
        },
    }
}

impl Peer {
    /// Takes what came over DTLS.
    pub(super) fn on_data(
        self: &Rc<Self>,
        shard: &RtcShard,
        now: Instant,
        body: &mut Body,
        first: Vec<u8>,
    ) {
        let stats = &shard.engine().stats;
        let mut next = Some(first);
        while let Some(packet) = next {
            if body.data.is_none() {
                body.data = begin(shard, now, body, &packet);
                if body.data.is_some() {
                    shard.stir(self);
                }
            }
            let counter = match &mut body.data {
                None => Some(&stats.data_stray),
                Some(data) => match data.channels.handle(now, &packet) {
                    Ok(()) => None,
                    Err(DataDrop::Bad) => Some(&stats.data_bad),
                    Err(DataDrop::Stray) => Some(&stats.data_stray),
                    Err(DataDrop::TooMuch) => Some(&stats.data_too_much),
                },
            };
            if let Some(counter) = counter {
                counter.fetch_add(1, Relaxed);
            }
            next = body.transport.poll_data();
        }
        self.serve_data(shard, now, body);
    }

    /// Whether its channels have something to do by now.
    fn data_is_due(body: &Body, now: Instant) -> bool {
        body.data.as_ref().is_some_and(|data| data.channels.deadline().is_some_and(|at| at <= now))
    }

    /// Gives the time to its channels; `true`: they had something to do.
    pub(super) fn tick_data(
        self: &Rc<Self>,
        shard: &RtcShard,
        now: Instant,
        body: &mut Body,
    ) -> bool {
        let due = Self::data_is_due(body, now);
        if let Some(data) = body.data.as_mut().filter(|_| due) {
            data.channels.handle_timeout(now);
            self.serve_data(shard, now, body);
        }
        due
    }

    /// Does what its channels ask for, and sends what they have to send.
    fn serve_data(self: &Rc<Self>, shard: &RtcShard, now: Instant, body: &mut Body) {
        let mut changed = false;
        while let Some(event) = body.data.as_mut().and_then(|data| data.channels.poll_event()) {
            changed |= !matches!(event, DataEvent::Message { .. });
            self.on_data_event(shard, now, body, event);
        }
        let Body { data, transport, .. } = &mut *body;
        let Some(data) = data else { return };
        while let Some(packet) = data.channels.poll_transmit(now) {
            transport.send_data(&packet);
        }
        let stats = &shard.engine().stats;
        let refused = data.channels.refused();
        let more = refused.saturating_sub(std::mem::replace(&mut data.refused, refused));
        if more > 0 {
            stats.data_refused.fetch_add(more, Relaxed);
        }
        if changed {
            self.note(body);
        }
    }

    fn on_data_event(
        self: &Rc<Self>,
        shard: &RtcShard,
        now: Instant,
        body: &mut Body,
        event: DataEvent,
    ) {
        let Some(data) = &mut body.data else { return };
        let was = data.is_taker();
        match event {
            DataEvent::Opened { id, open } => {
                let used = Use::of(&open);
                data.uses.retain(|(at, _)| *at != id);
                data.uses.push((id, used));
                tracing::debug!(
                    session = %self.session.id, id, label = %open.label, protocol = %open.protocol,
                    ?used, "a data channel was opened"
                );
                if let (Role::Play(playing), Use::Metadata) = (&body.role, used) {
                    playing.stream.timed.enter(self);
                    if let Some(text) = playing.stream.timed.metadata() {
                        Self::tell_in(shard, body, &text, Some(id));
                    }
                }
                return;
            }
            DataEvent::Message { id, form, bytes } => {
                let used = data.uses.iter().find(|(at, _)| *at == id).map(|(_, used)| *used);
                let sent = match (used, &mut body.role) {
                    (Some(Use::Echo), _) => {
                        let cost = u32::try_from(bytes.len() / ECHO_BYTES).unwrap_or(u32::MAX);
                        let at = shard.clock().us(now);
                        match data.echoes.take(cost.saturating_add(1), at) {
                            true => data.channels.send(id, form, &bytes),
                            false => Err(SendError::Full),
                        }
                    }
                    (Some(Use::Metadata), Role::Publish(publishing)) if form == Form::Text => {
                        let at = shard.clock().us(now);
                        let text = std::str::from_utf8(&bytes).ok();
                        let text = text.filter(|_| data.texts.take(1, at));
                        match text.and_then(timed::frame) {
                            Some(frame) => publishing.on_text(frame),
                            None => count(&shard.engine().stats.data_unheard),
                        }
                        Ok(())
                    }
                    _ => {
                        count(&shard.engine().stats.data_unheard);
                        Ok(())
                    }
                };
                note_unsent(shard, sent);
                return;
            }
            DataEvent::Closed { id } => data.uses.retain(|(at, _)| *at != id),
            DataEvent::Over(why) => {
                tracing::info!(session = %self.session.id, %why, "no data channels any more");
                data.over = Some(why.to_string());
                data.uses.clear();
                count(&shard.engine().stats.data_over);
            }
        }
        let is = data.is_taker();
        if let (Role::Play(playing), true, false) = (&body.role, was, is) {
            playing.stream.timed.leave(self);
        }
    }

    /// Tells a viewer data of its stream. `Some`: the session is over.
    pub(crate) fn tell(self: &Rc<Self>, shard: &Rc<RtcShard>, text: &Text) -> Option<Close> {
        let now = Instant::now();
        let mut body = self.body.borrow_mut();
        let body = &mut *body;
        Self::tell_in(shard, body, text, None);
        self.serve_data(shard, now, body);
        self.drain(shard, now, None, body)
    }

    /// In one channel, or in all that are for it.
    fn tell_in(shard: &RtcShard, body: &mut Body, text: &Text, one: Option<u16>) {
        let (Some(data), Role::Play(playing)) = (&mut body.data, &body.role) else { return };
        let stream = &playing.stream;
        let whole = text.whole(&stream.log.borrow(), stream.relay().is_some(), &playing.player);
        let wanted =
            |(id, used): &(u16, Use)| *used == Use::Metadata && one.is_none_or(|one| one == *id);
        for (id, _) in data.uses.iter().filter(|channel| wanted(channel)) {
            note_unsent(shard, data.channels.send(*id, Form::Text, whole.as_bytes()));
        }
    }
}

impl RtcShard {
    /// Tells a viewer data of its stream.
    pub(crate) fn tell(self: &Rc<Self>, viewer: &Rc<Peer>, text: &Text) {
        let over = self
            .guard(|| viewer.tell(self, text))
            .unwrap_or_else(|| Some(Close::us("a bug ended this session; it was logged")));
        if let Some(close) = over {
            self.end(viewer, &close);
        }
    }
}

/// The first packet came: makes the channels, if they were agreed on and there is room.
fn begin(shard: &RtcShard, now: Instant, body: &Body, packet: &[u8]) -> Option<Box<Data>> {
    let agreed = body.agreed.data.as_ref().filter(|_| Channels::begins(packet))?;
    let seat = Seat::take(&shard.data_sessions)?;
    let config = DataConfig {
        peer_takes: agreed.max_message_size,
        dtls_client: body.agreed.setup == crate::negotiate::Setup::Active,
    };
    Some(Box::new(Data {
        channels: Channels::accept(config, now),
        uses: SmallVec::new(),
        texts: Allowance::new(MOST_TEXTS),
        echoes: Allowance::new(MOST_ECHOES),
        refused: 0,
        over: None,
        _seat: seat,
    }))
}

fn count(counter: &std::sync::atomic::AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

fn note_unsent(shard: &RtcShard, sent: Result<(), SendError>) {
    let stats = &shard.engine().stats;
    match sent {
        Ok(()) => {}
        Err(SendError::Full) => count(&stats.data_full),
        Err(SendError::TooLong) => count(&stats.data_too_long),
        // It was closed meanwhile.
        Err(SendError::Closed) => {}
    }
}
