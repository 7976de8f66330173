//! The server's side of a connection.

mod calls;
mod event;
mod replies;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use event::{Connect, Event, PlayAsked, PublishAsked, PublishKind, PublishMode};
pub use replies::{ConnectOptions, ServerInfo};

use super::acks::Acks;
use super::{Close, Limits};
use crate::wire::chunk::{self, DEFAULT_CHUNK_SIZE, Decoder};
use crate::wire::handshake;
use crate::wire::message::{self, Command, Incoming, Media, UserControl};

/// One client's connection, from the handshake on.
///
/// Bytes in by [`handle_bytes`](Self::handle_bytes); after that and after each other call drain
/// [`poll_event`](Self::poll_event) and [`poll_transmit`](Self::poll_transmit), and arm a timer for
/// [`poll_timeout`](Self::poll_timeout). Media goes out past the session: the caller writes
/// messages cut by [`chunk_size`](Self::chunk_size), between, never inside, those of
/// `poll_transmit`.
///
/// Memory: a session that plays holds under 600 bytes besides itself once it was drained.
#[derive(Debug)]
pub struct Server {
    limits: Arc<Limits>,
    phase: Phase,
    deadline: Option<Instant>,
    decoder: Decoder,
    output: Vec<u8>,
    events: VecDeque<Event>,
    /// Input that waits for an answer of the caller.
    backlog: Box<[u8]>,
    streams: Vec<NetStream>,
    tc_url: Box<str>,
    acks: Acks,
    /// Of what is sent.
    chunk_size: u32,
    client_addr: Option<Ipv4Addr>,
    /// As the client said it, to be said back.
    object_encoding: f32,
    /// The client said what it can of Enhanced RTMP, and so is told the same of the server.
    enhanced: bool,
    /// How the encoder goes about publishing, by the calls so far.
    manner: PublishKind,
}

#[derive(Debug)]
enum Phase {
    Handshake(Box<handshake::Server>),
    /// `connect` has not come.
    Connecting,
    /// The caller has not answered `connect`.
    ConnectAsked,
    Open,
    /// The client was sent elsewhere.
    Redirecting,
    Closed,
}

/// A NetStream, by its id in message headers.
#[derive(Debug)]
struct NetStream {
    id: u32,
    role: Role,
    buffer_ms: u32,
}

#[derive(Debug)]
enum Role {
    Idle,
    PublishAsked(PublishKind),
    Publishing(PublishKind),
    PlayAsked,
    Playing,
}

impl Server {
    /// A session that starts now. `seed` must be new for each connection.
    pub fn new(now: Instant, seed: [u8; 32], limits: Arc<Limits>) -> Self {
        let unauthenticated = chunk::Limits {
            message: u32::try_from(limits.unauthenticated)
                .unwrap_or(u32::MAX)
                .min(limits.chunk.message),
            held: limits.unauthenticated.min(limits.chunk.held),
            chunk_streams: limits.chunk.chunk_streams,
        };
        Self {
            deadline: now.checked_add(limits.handshake),
            limits,
            phase: Phase::Handshake(Box::new(handshake::Server::new(seed))),
            decoder: Decoder::new(unauthenticated),
            output: Vec::new(),
            events: VecDeque::new(),
            backlog: Box::default(),
            streams: Vec::new(),
            tc_url: Box::default(),
            acks: Acks::default(),
            chunk_size: DEFAULT_CHUNK_SIZE,
            client_addr: None,
            object_encoding: 0.0,
            enhanced: false,
            manner: PublishKind::Flash,
        }
    }

    /// Gives back the room that commands needed, once they have been answered: a player says next
    /// to nothing more, and there are thousands of them.
    pub fn settle(&mut self) {
        if self.events.is_empty() {
            self.events = VecDeque::new();
        }
        if self.output.is_empty() {
            self.output = Vec::new();
        }
        self.streams.shrink_to_fit();
        self.decoder.settle();
    }

    /// Takes what came from the client. Any bytes are fine; what is wrong with them is told by
    /// [`Event::Closed`], after which all is ignored.
    ///
    /// Media is copied once, out of `input`.
    pub fn handle_bytes(&mut self, now: Instant, input: &[u8]) {
        if self.is_closed() {
            return;
        }
        self.acks.received(input.len());
        self.consume(now, input);
        if !self.is_closed()
            && let Some(sequence) = self.acks.poll()
        {
            message::encode_ack(&mut self.output, sequence, self.chunk_size);
        }
    }

    /// Tells that [`poll_timeout`](Self::poll_timeout) may have passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|deadline| now < deadline) {
            return;
        }
        match self.phase {
            Phase::Handshake(_) => self.close(Close::HandshakeTimeout),
            Phase::Redirecting => self.close(Close::Redirected),
            _ => self.close(Close::IdentifyTimeout),
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout). It changes with every call; `None`
    /// while the client publishes or plays, or the caller owes an answer.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_closed() || self.is_waiting() { None } else { self.deadline }
    }

    /// Bytes for the client, all that there are. While they cannot be sent, do not read on: the
    /// session ends when more than [`Limits::output`] wait here.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        (!self.output.is_empty()).then(|| std::mem::take(&mut self.output))
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if event.is_none() && !self.is_publishing() {
            // An idle player keeps no queue.
            self.events = VecDeque::new();
        }
        event
    }

    /// The caller should read on. False while it owes an answer, on whichever NetStream: input
    /// would only be stored, and beyond [`Limits::unauthenticated`] ends the session. One more read
    /// of up to that size is always safe.
    pub fn wants_input(&self) -> bool {
        !self.is_waiting() && !self.is_closed()
    }

    /// The session is over.
    pub const fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// The chunk size in which to write to the client.
    pub const fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// The client's address, if a proxy told it in front of the handshake.
    pub const fn client_addr(&self) -> Option<Ipv4Addr> {
        self.client_addr
    }

    /// How much the player said it buffers, in milliseconds; 0 if it did not.
    pub fn buffer_length_ms(&self, msid: u32) -> u32 {
        self.streams.iter().find(|stream| stream.id == msid).map_or(0, |stream| stream.buffer_ms)
    }

    /// Heap bytes in use, for the account of what a session costs.
    pub fn heap_bytes(&self) -> usize {
        let handshake = match &self.phase {
            Phase::Handshake(_) => size_of::<handshake::Server>().saturating_add(handshake::BLOCK),
            _ => 0,
        };
        let events = self.events.capacity().saturating_mul(size_of::<Event>());
        let streams = self.streams.capacity().saturating_mul(size_of::<NetStream>());
        [
            handshake,
            self.decoder.heap_bytes(),
            self.output.capacity(),
            events,
            self.backlog.len(),
            streams,
            self.tc_url.len(),
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }

    fn is_waiting(&self) -> bool {
        let asked =
            |stream: &NetStream| matches!(stream.role, Role::PublishAsked(_) | Role::PlayAsked);
        matches!(self.phase, Phase::ConnectAsked) || self.streams.iter().any(asked)
    }

    fn is_publishing(&self) -> bool {
        self.streams.iter().any(|stream| matches!(stream.role, Role::Publishing(_)))
    }

    fn is_playing(&self) -> bool {
        self.streams.iter().any(|stream| matches!(stream.role, Role::Playing))
    }

    /// Reads until the input ends or the caller has to answer something.
    fn consume(&mut self, now: Instant, input: &[u8]) {
        let mut rest = input;
        while !rest.is_empty() && !self.is_closed() {
            if self.is_waiting() {
                let held = self.backlog.len().saturating_add(rest.len());
                if held > self.limits.unauthenticated {
                    return self.close(Close::Backlog(self.limits.unauthenticated));
                }
                self.backlog = [&*self.backlog, rest].concat().into();
                return;
            }
            let taken = match &mut self.phase {
                Phase::Handshake(handshake) => {
                    match handshake.handle_bytes(rest, &mut self.output) {
                        Ok(progress) => {
                            if progress.done {
                                self.client_addr = handshake.client_addr();
                                self.phase = Phase::Connecting;
                                self.deadline = now.checked_add(self.limits.identify);
                            }
                            progress.consumed
                        }
                        Err(error) => return self.close(error.into()),
                    }
                }
                _ => match self.decoder.decode(rest) {
                    Ok((taken, message)) => {
                        if let Some(message) = message
                            && let Err(close) = self.handle_message(now, message)
                        {
                            return self.close(close);
                        }
                        if self.output.len() > self.limits.output {
                            return self.close(Close::Output(self.limits.output));
                        }
                        taken
                    }
                    Err(error) => return self.close(error.into()),
                },
            };
            rest = rest.get(taken..).unwrap_or_default();
        }
    }

    /// Goes on with what came while the caller thought.
    fn resume(&mut self, now: Instant) {
        let backlog = std::mem::take(&mut self.backlog);
        self.consume(now, &backlog);
    }

    fn handle_message(&mut self, now: Instant, message: chunk::Message) -> Result<(), Close> {
        let (msid, timestamp_ms) = (message.stream_id, message.timestamp_ms);
        match Incoming::decode(message, &self.limits.amf)? {
            Incoming::Media(media, body) => self.push_media(msid, media, timestamp_ms, body),
            Incoming::Aggregate(aggregate) => {
                for (media, timestamp_ms, body) in aggregate {
                    self.push_media(msid, media, timestamp_ms, body);
                }
            }
            Incoming::Command(command) => return self.handle_command(now, msid, &command),
            Incoming::WindowAckSize(window) => self.acks.set_window(window),
            Incoming::UserControl(UserControl::PingRequest(value)) => {
                UserControl::PingResponse(value).encode(&mut self.output, self.chunk_size);
            }
            Incoming::UserControl(UserControl::SetBufferLength { stream_id, millis }) => {
                if let Some(stream) = self.streams.iter_mut().find(|s| s.id == stream_id) {
                    stream.buffer_ms = millis;
                }
            }
            Incoming::Ack(_)
            | Incoming::SetPeerBandwidth(_)
            | Incoming::UserControl(_)
            | Incoming::Ignored => {}
        }
        Ok(())
    }

    fn push_media(&mut self, msid: u32, media: Media, timestamp_ms: u32, body: bytes::Bytes) {
        let publishing = |stream: &&NetStream| matches!(stream.role, Role::Publishing(_));
        let mut candidates = self.streams.iter().filter(publishing);
        let exact = candidates.clone().find(|stream| stream.id == msid);
        // Some encoders send media on another NetStream than they publish on.
        let lone = match (candidates.next(), candidates.next()) {
            (Some(stream), None) => Some(stream),
            _ => None,
        };
        if let Some(stream) = exact.or(lone) {
            let msid = stream.id;
            self.events.push_back(Event::Media { msid, media, timestamp_ms, body });
        }
    }

    fn handle_command(&mut self, now: Instant, msid: u32, call: &Command) -> Result<(), Close> {
        match self.phase {
            Phase::Connecting if call.name == "connect" => self.handle_connect(call),
            Phase::Open => self.handle_call(now, msid, call),
            Phase::Redirecting if call.args.iter().any(|value| value.as_str().is_some()) => {
                Err(Close::Redirected)
            }
            _ => Ok(()),
        }
    }

    fn close(&mut self, close: Close) {
        self.shut();
        self.events.push_back(Event::Closed(close));
    }

    fn shut(&mut self) {
        self.phase = Phase::Closed;
        self.deadline = None;
        self.backlog = Box::default();
        self.streams = Vec::new();
        self.decoder = Decoder::new(self.limits.chunk);
    }

    fn set_deadline(&mut self, now: Instant, wait: Duration) {
        self.deadline = now.checked_add(wait);
    }
}
