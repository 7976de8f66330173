//! The data channels of a peer: SCTP over DTLS (RFC 8831, RFC 8261).
//!
//! sctp-proto is the engine; this guards it. It is made by the peer's first packet and not before,
//! so a peer that only agreed on data channels costs nothing. The engine bounds bytes, but not how
//! many streams, numbers and pieces they are spread over; so each packet is looked at before, and
//! what would make it keep too much is dropped as a network drops packets. A panic or an error of
//! the engine ends the association and nothing else.
//!
//! The engine draws its own random numbers for verification tags and first TSNs, as dimpl does for
//! its keys: what a peer behind DTLS could guess of them is worth nothing to it.

pub mod dcep;
mod machine;
pub mod packet;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sctp_proto::{Event as Happened, PayloadProtocolIdentifier as Kind, StreamEvent};

use dcep::{Dcep, Open};
use machine::Machine;
use packet::Chunk;

/// Bytes of the largest message that is taken: what peers assume of who says nothing (RFC 8841
/// §6.1), and what is told as `a=max-message-size`.
pub const MOST_MESSAGE: u32 = 65_536;
/// Bytes of a packet of SCTP of ours: with what DTLS adds it fits where media fit.
pub const MOST_PACKET: usize = 1_100;
/// Open channels of a session. A page has two or three; at half of it a game might lack one, at
/// double a viewer costs twice as much.
pub const MOST_CHANNELS: usize = 32;
/// Bytes that wait for a peer to take them: one second of 2 Mbit/s. At half of it three of the
/// largest messages do not fit, at double a peer that reads nothing costs twice as much.
pub const MOST_BUFFERED: usize = 256 * 1024;
/// Messages that do; at half of it a second of small ones might not fit, at double 1 MB more lies
/// in the engine's lists.
pub const MOST_QUEUED: usize = 2_048;
/// Bytes that the engine keeps of what came and is not whole: two of the largest messages. At half
/// of it two channels would be in each other's way.
const RECEIVE_BUFFER: u32 = 128 * 1024;
/// Streams have numbers below this; each has state in the engine. Browsers number channels from 0
/// by twos; at half of it 32 channels that come and go might not all fit.
const STREAMS: u16 = 256;
/// DATA may be so far ahead of the first that lacks: the window at its fullest, of messages of 32
/// bytes. At half of it small messages on a long path are slowed down.
const WINDOW: i32 = 4_096;
/// Pieces that wait in the engine for others. It searches them one by one: at double of it the
/// worst a peer can do costs four times as much.
const MOST_HELD: u32 = 2_048;
/// Pieces that are given up in a second: those of messages that the peer took back, which nobody
/// tells us of.
const FORGIVEN: u64 = 32;
/// Chunks in a second, and at once: 16 times those of 10 Mbit/s in large pieces. A packet counts as
/// [`PACKET_CHUNKS`] at least: it is decrypted first. At half of both, 10 Mbit/s and their
/// acknowledgements do not pass.
const MOST_CHUNKS: u64 = 16_000;
const PACKET_CHUNKS: u64 = 8;

/// How hard a message is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DataEvent {
    /// A channel is open, whoever opened it.
    Opened {
        /// Its number.
        id: u16,
        /// What its opener said of it.
        open: Open,
    },
    /// A message came.
    Message {
        /// In which channel.
        id: u16,
        /// What it is.
        form: Form,
        /// At most [`MOST_MESSAGE`] bytes; may be none.
        bytes: Vec<u8>,
    },
    /// A channel was closed by the peer, or because of what it said.
    Closed {
        /// Its number.
        id: u16,
    },
    /// The end of all channels. Comes once, and nothing after it.
    Over(Over),
}

/// Why there are no data channels any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Over {
    /// The engine says so.
    #[error("the association has ended: {0}")]
    Lost(String),
    /// The engine panicked.
    #[error("a bug: the engine of SCTP panicked")]
    Panicked,
}

/// Why a packet was not given to the engine. The peer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DataDrop {
    /// It cannot be read.
    #[error("no packet of SCTP")]
    Bad,
    /// It comes before the first INIT, or after the end.
    #[error("a packet of SCTP of no association")]
    Stray,
    /// It would make the engine keep too much, or there are too many.
    #[error("a packet of SCTP beyond what is kept for a peer")]
    TooMuch,
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The channel is not open.
    #[error("no such channel is open")]
    Closed,
    /// Longer than the peer takes.
    #[error("longer than the peer takes")]
    TooLong,
    /// The peer does not take what it was sent before.
    #[error("the peer does not read")]
    Full,
}

/// What is known before the first packet.
#[derive(Clone, Copy, Debug)]
pub struct DataConfig {
    /// Bytes of the largest message that the peer takes (`a=max-message-size`); 0 for any.
    pub peer_takes: u64,
    /// Our side of DTLS is its client: then channels of ours have even numbers (RFC 8832 §6).
    pub dtls_client: bool,
}

struct Channel {
    id: u16,
    /// Its ACK has come, or it was the peer who opened it.
    open: Option<Open>,
    /// Of ours, without an answer yet.
    asked: Option<Open>,
    /// Bytes that were ever sent, and where in them each message ends that may still be on its way.
    written: u64,
    ends: VecDeque<u64>,
}

/// See the module.
pub struct Channels {
    config: DataConfig,
    machine: Machine,
    channels: Vec<Channel>,
    events: VecDeque<DataEvent>,
    out: VecDeque<Bytes>,
    /// Up to here all DATA of the peer has come, as we told it, and the newest that was let in.
    cumulative: Option<u32>,
    newest: u32,
    /// Pieces let in that are in no message yet, at that time.
    held: u32,
    held_at: Instant,
    /// Chunks that may come at that time.
    allowed: u64,
    allowed_at: Instant,
    refused: u64,
    connected: bool,
    over: bool,
}

impl Channels {
    /// Of a peer that will begin. It costs little before its INIT has come.
    pub fn accept(config: DataConfig, now: Instant) -> Self {
        Self::new(config, Machine::server(limit(config.peer_takes)), now)
    }

    /// Begins by itself: for our own client, for tests and tools.
    pub fn connect(config: DataConfig, now: Instant) -> Self {
        let mut this = Self::new(config, Machine::client(limit(config.peer_takes)), now);
        this.settle();
        this
    }

    fn new(config: DataConfig, machine: Machine, now: Instant) -> Self {
        Self {
            config,
            machine,
            channels: Vec::new(),
            events: VecDeque::new(),
            out: VecDeque::new(),
            cumulative: None,
            newest: 0,
            held: 0,
            held_at: now,
            allowed: MOST_CHUNKS,
            allowed_at: now,
            refused: 0,
            connected: false,
            over: false,
        }
    }

    /// Whether a packet is one that an association begins with.
    pub fn begins(packet: &[u8]) -> bool {
        matches!(packet::chunks(packet).next(), Some(Ok(Chunk::Init { .. })))
    }

    /// Takes a packet as it came over DTLS.
    pub fn handle(&mut self, now: Instant, packet: &[u8]) -> Result<(), DataDrop> {
        if self.over {
            return Err(DataDrop::Stray);
        }
        self.look(now, packet)?;
        let taken = self.machine.handle(now, packet);
        self.settle();
        taken.then_some(()).ok_or(DataDrop::Stray)
    }

    /// Refuses what the engine would keep without a bound, and counts what it is given.
    fn look(&mut self, now: Instant, packet: &[u8]) -> Result<(), DataDrop> {
        self.forgive(now);
        let (mut data, mut count, mut newest) = (0_u32, 0_u64, None::<u32>);
        for chunk in packet::chunks(packet) {
            count = count.saturating_add(1);
            match chunk.map_err(|_| DataDrop::Bad)? {
                Chunk::Init { tsn } => {
                    self.cumulative.get_or_insert(tsn.wrapping_sub(1));
                    if count == 1 && data == 0 {
                        self.newest = self.cumulative.unwrap_or(self.newest);
                    }
                }
                Chunk::Data { tsn, stream } => {
                    data = data.saturating_add(1);
                    let cumulative = self.cumulative.ok_or(DataDrop::Stray)?;
                    let ahead = tsn.wrapping_sub(cumulative).cast_signed();
                    if stream >= STREAMS || ahead > WINDOW {
                        return Err(DataDrop::TooMuch);
                    }
                    let is_new = tsn.wrapping_sub(newest.unwrap_or(self.newest)).cast_signed() > 0;
                    if is_new {
                        newest = Some(tsn);
                    }
                    // What fills a gap is let in: it makes messages whole.
                    if is_new && self.held.saturating_add(data) > MOST_HELD {
                        return Err(DataDrop::TooMuch);
                    }
                }
                Chunk::Sack { .. } | Chunk::Other(_) => {}
            }
        }
        self.allowed =
            self.allowed.checked_sub(count.max(PACKET_CHUNKS)).ok_or(DataDrop::TooMuch)?;
        self.held = self.held.saturating_add(data).min(MOST_HELD.saturating_mul(2));
        self.newest = newest.unwrap_or(self.newest);
        Ok(())
    }

    fn forgive(&mut self, now: Instant) {
        let ms = |since: Duration| u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let back = ms(now.saturating_duration_since(self.allowed_at)).saturating_mul(MOST_CHUNKS);
        if back >= 1_000 {
            self.allowed_at = now;
            self.allowed = self.allowed.saturating_add(back / 1_000).min(MOST_CHUNKS);
        }
        let back = ms(now.saturating_duration_since(self.held_at)).saturating_mul(FORGIVEN);
        if back >= 1_000 {
            self.held_at = now;
            let back = u32::try_from(back / 1_000).unwrap_or(u32::MAX);
            self.held = self.held.saturating_sub(back);
        }
    }

    /// Takes the time: acknowledgements and retransmissions.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.deadline().is_some_and(|at| at <= now) {
            self.machine.handle_timeout(now);
            self.settle();
        }
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.machine.deadline()
    }

    /// The next packet to send over DTLS, at most [`MOST_PACKET`] bytes; several messages share one.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        while self.out.is_empty() {
            let Some(packets) = self.machine.transmit(now) else {
                self.out = VecDeque::new();
                return None;
            };
            // Longer is what tells of thousands of gaps, or answers what was longer: nobody's need.
            for packet in packets.into_iter().filter(|packet| packet.len() <= MOST_PACKET) {
                self.note_sent(&packet);
                self.out.push_back(packet);
            }
        }
        self.out.pop_front()
    }

    /// What has happened since.
    pub fn poll_event(&mut self) -> Option<DataEvent> {
        let next = self.events.pop_front();
        if next.is_none() && self.events.capacity() > 0 {
            self.events = VecDeque::new();
        }
        next
    }

    /// Open channels.
    pub fn open_channels(&self) -> usize {
        self.channels.iter().filter(|channel| channel.open.is_some()).count()
    }

    /// Channels that were refused, for they were too many or their OPEN could not be read.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Opens a channel; [`DataEvent::Opened`] tells when it is open. `None`: there is no room.
    pub fn open(&mut self, open: Open) -> Option<u16> {
        if self.channels.len() >= MOST_CHANNELS || self.over {
            return None;
        }
        let first = u16::from(!self.config.dtls_client);
        let free = |id: &u16| self.channels.iter().all(|channel| channel.id != *id);
        let id = (first..STREAMS).step_by(2).find(free)?;
        if !self.machine.open(id) {
            return None;
        }
        self.channels.push(Channel {
            id,
            open: None,
            asked: Some(open),
            written: 0,
            ends: VecDeque::new(),
        });
        if self.connected {
            self.ask(self.channels.len().saturating_sub(1));
            self.settle();
        }
        Some(id)
    }

    /// Tells the peer of a channel of ours.
    fn ask(&mut self, at: usize) {
        let Some(channel) = self.channels.get_mut(at) else { return };
        let Some(open) = channel.asked.clone() else { return };
        let mut message = Vec::new();
        Dcep::Open(open.clone()).write(&mut message);
        channel.written = message.len() as u64;
        let id = channel.id;
        self.configure(id, &open);
        self.machine.write(id, Kind::Dcep, &message);
    }

    fn configure(&mut self, id: u16, open: &Open) {
        self.machine.configure(id, open.unordered, open.reliability);
    }

    /// Sends a message: whole, or not at all. Call [`Self::poll_transmit`] then.
    pub fn send(&mut self, id: u16, form: Form, bytes: &[u8]) -> Result<(), SendError> {
        if bytes.len() > limit(self.config.peer_takes) as usize {
            return Err(SendError::TooLong);
        }
        let Some(at) = self.channels.iter().position(|c| c.id == id && c.open.is_some()) else {
            return Err(SendError::Closed);
        };
        let (mut bytes_waiting, mut waiting) = (0_usize, 0_usize);
        for channel in &mut self.channels {
            let buffered = self.machine.buffered(channel.id);
            bytes_waiting = bytes_waiting.saturating_add(buffered);
            let taken = channel.written.saturating_sub(buffered as u64);
            while channel.ends.front().is_some_and(|end| *end <= taken) {
                channel.ends.pop_front();
            }
            waiting = waiting.saturating_add(channel.ends.len());
        }
        if bytes_waiting.saturating_add(bytes.len()) > MOST_BUFFERED || waiting >= MOST_QUEUED {
            return Err(SendError::Full);
        }
        // SCTP knows no empty message: one byte stands for it (RFC 8831 §6.6).
        let (kind, bytes) = match (form, bytes) {
            (Form::Text, []) => (Kind::StringEmpty, &[0][..]),
            (Form::Binary, []) => (Kind::BinaryEmpty, &[0][..]),
            (Form::Text, bytes) => (Kind::String, bytes),
            (Form::Binary, bytes) => (Kind::Binary, bytes),
        };
        if !self.machine.write(id, kind, bytes) {
            return Err(SendError::Closed);
        }
        if let Some(channel) = self.channels.get_mut(at) {
            channel.written = channel.written.saturating_add(bytes.len() as u64);
            channel.ends.push_back(channel.written);
        }
        self.settle();
        Ok(())
    }

    /// Closes a channel. The peer is told; no event follows.
    pub fn close(&mut self, id: u16) {
        self.channels.retain(|channel| channel.id != id);
        self.machine.close(id);
        self.settle();
    }

    /// Takes all that the engine has to tell.
    fn settle(&mut self) {
        if self.over {
            return;
        }
        while let Some(event) = self.machine.poll() {
            match event {
                Happened::Connected => {
                    self.connected = true;
                    (0..self.channels.len()).for_each(|at| self.ask(at));
                }
                Happened::Stream(StreamEvent::Readable { id }) => self.read(id),
                Happened::Stream(StreamEvent::Finished { id }) => self.forget(id),
                Happened::AssociationLost { reason } | Happened::HandshakeFailed { reason } => {
                    self.end(Over::Lost(reason.to_string()));
                }
                _ => {}
            }
        }
        if self.machine.has_panicked() {
            self.end(Over::Panicked);
        }
    }

    /// Learns from what we acknowledge what the engine has.
    fn note_sent(&mut self, packet: &[u8]) {
        for chunk in packet::chunks(packet) {
            if let (Ok(Chunk::Sack { tsn }), Some(cumulative)) = (chunk, self.cumulative)
                && tsn.wrapping_sub(cumulative).cast_signed() > 0
            {
                self.cumulative = Some(tsn);
            }
        }
    }

    fn end(&mut self, why: Over) {
        if !std::mem::replace(&mut self.over, true) {
            self.machine.end();
            self.channels = Vec::new();
            self.events.push_back(DataEvent::Over(why));
        }
    }

    /// A channel is no more, and not by our wish.
    fn forget(&mut self, id: u16) {
        let before = self.channels.len();
        self.channels.retain(|channel| channel.id != id);
        if self.channels.len() < before {
            self.events.push_back(DataEvent::Closed { id });
        }
    }

    fn read(&mut self, id: u16) {
        while let Some((kind, bytes, pieces)) = self.machine.read(id) {
            self.held = self.held.saturating_sub(pieces);
            let (form, bytes) = match kind {
                Kind::Dcep => {
                    self.on_dcep(id, &bytes);
                    continue;
                }
                Kind::String => (Form::Text, bytes),
                Kind::Binary => (Form::Binary, bytes),
                Kind::StringEmpty => (Form::Text, Vec::new()),
                Kind::BinaryEmpty => (Form::Binary, Vec::new()),
                Kind::Unknown => continue,
            };
            if self.channels.iter().any(|c| c.id == id && c.open.is_some()) {
                self.events.push_back(DataEvent::Message { id, form, bytes });
            }
        }
    }

    fn on_dcep(&mut self, id: u16, message: &[u8]) {
        let room = self.channels.len() < MOST_CHANNELS;
        let known = self.channels.iter_mut().find(|channel| channel.id == id);
        match (Dcep::parse(message), known) {
            (Ok(Dcep::Ack), Some(channel)) => {
                if let Some(open) = channel.asked.take() {
                    channel.open = Some(open.clone());
                    self.events.push_back(DataEvent::Opened { id, open });
                }
            }
            (Ok(Dcep::Open(open)), None) if room => {
                self.configure(id, &open);
                let mut ack = Vec::new();
                Dcep::Ack.write(&mut ack);
                self.machine.write(id, Kind::Dcep, &ack);
                self.channels.push(Channel {
                    id,
                    open: Some(open.clone()),
                    asked: None,
                    written: ack.len() as u64,
                    ends: VecDeque::new(),
                });
                self.events.push_back(DataEvent::Opened { id, open });
            }
            // A channel that is open needs no second opening (RFC 8832 §6).
            (Ok(_), Some(_)) | (Ok(Dcep::Ack), None) => {}
            (Ok(Dcep::Open(_)), None) | (Err(_), _) => {
                self.refused = self.refused.saturating_add(1);
                self.forget(id);
                self.machine.close(id);
            }
        }
    }
}

/// Bytes of the largest message that we send to who takes so much.
fn limit(peer_takes: u64) -> u32 {
    match u32::try_from(peer_takes) {
        Ok(0) | Err(_) => MOST_MESSAGE,
        Ok(most) => most.min(MOST_MESSAGE),
    }
}

#[cfg(test)]
mod tests;
