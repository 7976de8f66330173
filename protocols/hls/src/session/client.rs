//! A player: loads the playlist, follows it, fetches segments, one request at a time on a
//! connection that is kept.
//!
//! Specification: RFC 8216, section 6.3 (client responsibilities): where to join (6.3.3) and when
//! to reload (6.3.4).

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gate::http::client::{Address, AddressError, Answer, AnswerError, Decoder, Origin, Part};

use crate::playlist::decode::{MAX_TEXT, Media, Playlist, PlaylistError, decode};

/// Redirects, and master playlists, on the way to one thing.
const MAX_HOPS: u8 = 5;
/// Segments in a row that cannot be had before the player gives up.
const MAX_FAILURES: u8 = 3;
/// The shortest wait between reloads: a target duration of 0 must not become a flood.
const MIN_RELOAD: Duration = Duration::from_millis(250);

/// What to play, and how.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The playlist.
    pub address: Address,
    /// Give the bytes of segments as [`Event::Data`]; without, only their number.
    pub bodies: bool,
    /// What the client calls itself.
    pub user_agent: String,
    /// From a request to the end of its answer.
    pub timeout: Duration,
}

impl ClientConfig {
    /// A server may hold the first playlist until its first segment is made, which takes up to
    /// three target durations.
    pub const TIMEOUT: Duration = Duration::from_secs(60);

    /// The usual choices.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            bodies: true,
            user_agent: concat!("millrace/", env!("CARGO_PKG_VERSION")).to_owned(),
            timeout: Self::TIMEOUT,
        }
    }
}

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Close {
    /// The playlist has ended and all of it was fetched.
    #[error("the stream has ended")]
    Ended,
    /// The connection ended where an answer was due, twice.
    #[error("the connection was cut")]
    Cut,
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The server refused the playlist.
    #[error("HTTP status {0} for the playlist")]
    Status(u16),
    /// The server refused several segments in a row.
    #[error("HTTP status {0} for several segments in a row")]
    Segments(u16),
    /// Redirects or master playlists lead in circles.
    #[error("more than {MAX_HOPS} redirects")]
    Hops,
    /// The answer is none.
    #[error("{0}")]
    Answer(#[from] AnswerError),
    /// The playlist is none.
    #[error("{0}")]
    Playlist(#[from] PlaylistError),
    /// It points to where no request can go.
    #[error("{0}")]
    Address(#[from] AddressError),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Connect there, whatever there was before; what [`Client::poll_transmit`] gives from now on
    /// goes to the new connection. The first one too.
    Connect(Origin),
    /// A segment begins.
    Segment {
        /// Its number.
        number: u64,
        /// How long it plays.
        duration: Duration,
        /// It does not continue the one before.
        discontinuity: bool,
    },
    /// Bytes of the segment.
    Data(Bytes),
    /// The segment is whole.
    SegmentEnd {
        /// Its number.
        number: u64,
        /// How long it plays.
        duration: Duration,
        /// Its size.
        bytes: u64,
    },
    /// A segment that was refused is left out.
    Refused {
        /// Its number.
        number: u64,
        /// The answer.
        status: u16,
    },
    /// Segments left the playlist before they could be fetched: the player is too slow.
    Missed {
        /// The first of them.
        from: u64,
        /// The first one that is there.
        to: u64,
    },
    /// The numbers began anew: another stream under the same name.
    Restarted,
    /// The session is over. The last event.
    Closed(Close),
}

/// What is being fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fetch {
    Playlist,
    Segment { number: u64, duration: Duration },
}

/// The request that is under way.
#[derive(Debug)]
struct Request {
    fetch: Fetch,
    address: Address,
    begun: Instant,
    hops: u8,
    /// It was sent on a connection that had served before, which the server may have closed.
    reused: bool,
    status: u16,
    location: Option<String>,
    text: Vec<u8>,
    bytes: u64,
}

/// A player of one playlist.
///
/// Right after [`new`](Self::new) there is an [`Event::Connect`] and bytes to send. Bytes in by
/// [`handle_bytes`](Self::handle_bytes); after that and each other call drain
/// [`poll_event`](Self::poll_event) and [`poll_transmit`](Self::poll_transmit) and arm a timer
/// for [`poll_timeout`](Self::poll_timeout). Holds two playlists (4 MiB each at most).
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    /// The media playlist, once it is known.
    address: Address,
    origin: Option<Origin>,
    /// The connection has served an answer and may serve another.
    kept: bool,
    decoder: Decoder,
    request: Option<Request>,
    media: Option<Media>,
    /// The number of the next segment.
    next: Option<u64>,
    /// When the playlist may be loaded again.
    reload_at: Option<Instant>,
    failures: u8,
    output: Vec<u8>,
    events: VecDeque<Event>,
    closed: bool,
}

impl Client {
    /// A session that starts now.
    pub fn new(now: Instant, config: ClientConfig) -> Self {
        let mut client = Self {
            address: config.address.clone(),
            config,
            origin: None,
            kept: false,
            decoder: Decoder::new(),
            request: None,
            media: None,
            next: None,
            reload_at: None,
            failures: 0,
            output: Vec::new(),
            events: VecDeque::new(),
            closed: false,
        };
        let address = client.address.clone();
        client.ask(now, Fetch::Playlist, address, 0);
        client
    }

    /// Takes what came from the server. Any bytes are fine; what is wrong with them is told by
    /// [`Event::Closed`], after which all is ignored.
    pub fn handle_bytes(&mut self, now: Instant, input: &[u8]) {
        if let Err(close) = self.consume(now, input) {
            self.close(close);
        }
    }

    /// The connection has ended. Between answers that is the server's right; a request that was
    /// sent on a kept connection and got no answer is sent once more (RFC 9112 section 9.3.1).
    pub fn handle_end(&mut self, now: Instant) {
        if self.closed {
            return;
        }
        let kept = std::mem::take(&mut self.kept);
        self.origin = None;
        let Some(request) = self.request.take() else { return };
        if request.reused && kept && self.decoder.is_untouched() {
            self.ask(now, request.fetch, request.address, request.hops);
            return;
        }
        let whole = self.decoder.end().is_ok() && request.status != 0;
        self.request = Some(request);
        let done = if whole { self.answered(now) } else { Err(Close::Cut) };
        if let Err(close) = done {
            self.close(close);
        }
    }

    /// Tells that [`poll_timeout`](Self::poll_timeout) may have passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        match &self.request {
            Some(request) if now >= self.deadline(request) => self.close(Close::Timeout),
            Some(_) => {}
            None => {
                if let Err(close) = self.go_on(now) {
                    self.close(close);
                }
            }
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.request {
            _ if self.closed => None,
            Some(request) => Some(self.deadline(request)),
            None => self.reload_at,
        }
    }

    /// Bytes for the server, all that there are.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        (!self.output.is_empty()).then(|| std::mem::take(&mut self.output))
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn deadline(&self, request: &Request) -> Instant {
        request.begun.checked_add(self.config.timeout).unwrap_or(request.begun)
    }

    /// Sends a request, on a new connection if need be.
    fn ask(&mut self, now: Instant, fetch: Fetch, address: Address, hops: u8) {
        let reused = self.kept && self.origin.as_ref() == Some(&address.origin);
        if !reused {
            self.output.clear();
            self.decoder = Decoder::new();
            self.origin = Some(address.origin.clone());
            self.kept = false;
            self.events.push_back(Event::Connect(address.origin.clone()));
        }
        let (path, host) = (&address.path, address.origin.authority());
        let agent: String = self.config.user_agent.chars().filter(|c| !c.is_control()).collect();
        let text = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\nAccept: */*\r\n\r\n"
        );
        self.output.extend_from_slice(text.as_bytes());
        self.decoder.expect();
        self.request = Some(Request {
            fetch,
            address,
            begun: now,
            hops,
            reused,
            status: 0,
            location: None,
            text: Vec::new(),
            bytes: 0,
        });
    }

    fn consume(&mut self, now: Instant, input: &[u8]) -> Result<(), Close> {
        let mut rest = input;
        while !self.closed {
            let (taken, part) = self.decoder.decode(rest)?;
            rest = rest.get(taken..).unwrap_or_default();
            match part {
                None => return Ok(()),
                Some(Part::Head(answer)) => self.begin(&answer),
                Some(Part::Body(bytes)) => self.body(bytes)?,
                Some(Part::End) => self.answered(now)?,
            }
        }
        Ok(())
    }

    fn begin(&mut self, answer: &Answer) {
        let Some(request) = &mut self.request else { return };
        request.status = answer.status.as_u16();
        request.location = answer.location().map(str::to_owned);
        self.kept = answer.keep_alive;
        if !answer.keep_alive {
            self.origin = None;
        }
        if let (200, Fetch::Segment { number, duration }) = (request.status, request.fetch) {
            let segment = self.media.as_ref().and_then(|media| media.segment(number));
            let discontinuity = segment.is_some_and(|segment| segment.discontinuity);
            self.events.push_back(Event::Segment { number, duration, discontinuity });
        }
    }

    fn body(&mut self, bytes: &[u8]) -> Result<(), Close> {
        let Some(request) = &mut self.request else { return Ok(()) };
        if request.status != 200 {
            return Ok(());
        }
        request.bytes = request.bytes.saturating_add(bytes.len() as u64);
        match request.fetch {
            Fetch::Playlist => {
                let length = request.text.len().saturating_add(bytes.len());
                if length > MAX_TEXT {
                    return Err(PlaylistError::TooLong(length).into());
                }
                request.text.extend_from_slice(bytes);
            }
            Fetch::Segment { .. } if self.config.bodies => {
                self.events.push_back(Event::Data(Bytes::copy_from_slice(bytes)));
            }
            Fetch::Segment { .. } => {}
        }
        Ok(())
    }

    /// The answer is whole.
    fn answered(&mut self, now: Instant) -> Result<(), Close> {
        let Some(request) = self.request.take() else { return Ok(()) };
        if let Some(location) = &request.location {
            if request.hops >= MAX_HOPS {
                return Err(Close::Hops);
            }
            let address = request.address.join(location)?;
            self.ask(now, request.fetch, address, request.hops.saturating_add(1));
            return Ok(());
        }
        match request.fetch {
            Fetch::Playlist if request.status != 200 => return Err(Close::Status(request.status)),
            Fetch::Playlist => {
                // References in it are seen from where it was found in the end.
                self.address = request.address.clone();
                match decode(&request.text)? {
                    Playlist::Master(variants) => {
                        let first = variants.first().ok_or(PlaylistError::Missing("URI"))?;
                        if request.hops >= MAX_HOPS {
                            return Err(Close::Hops);
                        }
                        let address = self.address.join(&first.uri)?;
                        self.ask(now, Fetch::Playlist, address, request.hops.saturating_add(1));
                        return Ok(());
                    }
                    Playlist::Media(media) => self.follow(request.begun, media),
                }
            }
            Fetch::Segment { number, duration } if request.status == 200 => {
                self.failures = 0;
                let bytes = request.bytes;
                self.events.push_back(Event::SegmentEnd { number, duration, bytes });
            }
            Fetch::Segment { number, .. } => {
                self.failures = self.failures.saturating_add(1);
                if self.failures >= MAX_FAILURES {
                    return Err(Close::Segments(request.status));
                }
                self.events.push_back(Event::Refused { number, status: request.status });
            }
        }
        self.go_on(now)
    }

    /// Takes a playlist over that was asked for at `begun`.
    fn follow(&mut self, begun: Instant, media: Media) {
        // Section 6.3.4: the target duration after a change, half of it after none.
        let changed = self.media.as_ref() != Some(&media);
        let target = media.target_duration;
        let wait = if changed { target } else { target / 2 }.max(MIN_RELOAD);
        self.reload_at = if media.ended { None } else { begun.checked_add(wait) };
        let start = if media.ended { media.media_sequence } else { media.live_edge() };
        self.next = Some(match self.next {
            None => start,
            Some(next) if next > media.end() => {
                self.events.push_back(Event::Restarted);
                start
            }
            Some(next) if next < media.media_sequence => {
                let to = media.media_sequence;
                self.events.push_back(Event::Missed { from: next, to });
                to
            }
            Some(next) => next,
        });
        self.media = Some(media);
    }

    /// Fetches the next segment, or the playlist when it is time, or waits.
    fn go_on(&mut self, now: Instant) -> Result<(), Close> {
        if self.closed {
            return Ok(());
        }
        if self.reload_at.is_some_and(|at| now >= at) {
            let address = self.address.clone();
            self.ask(now, Fetch::Playlist, address, 0);
            return Ok(());
        }
        let (Some(media), Some(number)) = (&self.media, self.next) else { return Ok(()) };
        let Some(segment) = media.segment(number) else {
            return if media.ended { Err(Close::Ended) } else { Ok(()) };
        };
        let address = self.address.join(&segment.uri)?;
        let fetch = Fetch::Segment { number, duration: segment.duration };
        self.next = number.checked_add(1);
        self.ask(now, fetch, address, 0);
        Ok(())
    }

    fn close(&mut self, close: Close) {
        if !self.closed {
            self.closed = true;
            self.request = None;
            self.events.push_back(Event::Closed(close));
        }
    }
}
