//! What a server session tells and asks its caller.

use std::net::Ipv4Addr;

use bytes::Bytes;
use container::amf::Value;

use crate::session::Close;
use crate::wire::message::Media;
use crate::wire::url::StreamUrl;

/// What happened, or what the caller is asked.
///
/// Until an `Asked` event is answered the session reads no further; see
/// [`Server::wants_input`](super::Server::wants_input).
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A client wants to connect. Answer with `accept_connect`, `reject_connect` or `redirect`.
    ConnectAsked(Box<Connect>),
    /// A client wants to publish. Answer with `accept_publish` or `refuse_publish`.
    PublishAsked(Box<PublishAsked>),
    /// A client wants to play. Answer with `accept_play` or `refuse_play`.
    PlayAsked(Box<PlayAsked>),
    /// A part of the stream that is being published.
    Media {
        /// The NetStream.
        msid: u32,
        /// What it is.
        media: Media,
        /// Milliseconds; wraps at 2^32, with some encoders at 2^31.
        timestamp_ms: u32,
        /// As in an FLV tag; script data without `@setDataFrame`. Never empty.
        body: Bytes,
    },
    /// The publication is over; the client may start another.
    Unpublish {
        /// The NetStream.
        msid: u32,
    },
    /// Playback is over; the client may start another.
    StopPlay {
        /// The NetStream.
        msid: u32,
    },
    /// The player pauses or goes on. It has been answered; only delivery is the caller's.
    Pause {
        /// The NetStream.
        msid: u32,
        /// Paused now.
        on: bool,
    },
    /// The player wants audio or not.
    ReceiveAudio {
        /// The NetStream.
        msid: u32,
        /// Wanted.
        on: bool,
    },
    /// The player wants video or not.
    ReceiveVideo {
        /// The NetStream.
        msid: u32,
        /// Wanted.
        on: bool,
    },
    /// The session is over: send what is left, then close. The last event. Publications and
    /// playback end with it without events of their own.
    Closed(Close),
}

/// What a client said in `connect`.
#[derive(Clone, Debug, PartialEq)]
pub struct Connect {
    /// The vhost that `tcUrl` asks for; the name of a stream may ask for another.
    pub vhost: String,
    /// `app` as the client said it; `tc_url` decides.
    pub app: String,
    /// The server's address as the client has it.
    pub tc_url: String,
    /// The page that the player stands on, if it said.
    pub page_url: Option<String>,
    /// The player's own address, if it said.
    pub swf_url: Option<String>,
    /// What the client calls itself.
    pub flash_ver: Option<String>,
    /// 0 for AMF0, 3 for AMF3.
    pub object_encoding: f64,
    /// The argument behind the command object, if it is an object: an edge's account of itself, or
    /// a token.
    pub args: Option<Value>,
    /// The whole command object.
    pub command: Value,
    /// The client's address by a proxy in front.
    pub client_addr: Option<Ipv4Addr>,
}

/// A wish to publish.
#[derive(Clone, Debug, PartialEq)]
pub struct PublishAsked {
    /// The NetStream.
    pub msid: u32,
    /// What.
    pub url: StreamUrl,
    /// In which manner; for the log, the answers are the session's.
    pub kind: PublishKind,
    /// What the client wants done with it.
    pub mode: PublishMode,
}

/// The manner in which an encoder publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PublishKind {
    /// `createStream`, `publish`: browsers, relays.
    Flash,
    /// `releaseStream`, `FCPublish`, `createStream`, `publish`: FMLE, FFmpeg, OBS.
    Fmle,
    /// `createStream`, `FCPublish`, `publish`: Haivision's.
    Haivision,
}

impl PublishKind {
    /// As logs and the API name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flash => "flash-publish",
            Self::Fmle => "fmle-publish",
            Self::Haivision => "haivision-publish",
        }
    }
}

/// The third word of `publish`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PublishMode {
    /// Live only. Also when the client said nothing or something else.
    Live,
    /// Record, and replace what was recorded.
    Record,
    /// Record behind what was recorded.
    Append,
}

/// A wish to play.
#[derive(Clone, Debug, PartialEq)]
pub struct PlayAsked {
    /// The NetStream.
    pub msid: u32,
    /// What.
    pub url: StreamUrl,
    /// Where to start, as the client said; negative for live.
    pub start: f64,
    /// End after so many milliseconds; `None` for no end.
    pub duration_ms: Option<u32>,
    /// Drop what the client played before.
    pub reset: bool,
}
