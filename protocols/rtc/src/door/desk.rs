//! Where the HTTP side meets the engine: what a client asked for, and what came of it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use futures_util::future::BoxFuture;
use gate::{Detail, Refusal};

use super::candidates::Candidate;

/// Which way the media flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client: WHIP.
    Publish,
    /// To the client: WHEP.
    Play,
}

/// Which words the client speaks. The answer is worded after it, and SRS's clients find the lines
/// that they look for in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `/rtc/v1/publish/` and `/rtc/v1/play/`: JSON. No trickled candidates, no DELETE.
    Srs,
    /// WHIP (RFC 9725) or WHEP, at either address.
    Whip,
}

/// The video coding that a client wishes for (`codec=` of the query); what an offer lists first
/// counts less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum VideoWish {
    /// H.264: also when nothing was wished for.
    #[default]
    H264,
    /// H.265.
    Hevc,
    /// AV1.
    Av1,
    /// VP8.
    Vp8,
    /// VP9.
    Vp9,
}

/// A wish to publish or to play, with its offer. Nobody has been asked yet whether it may:
/// whoever takes it asks the [`Host`](gate::Host) with [`detail`](Self::detail).
#[derive(Clone, Debug)]
pub struct Asked {
    /// Publish or play.
    pub way: Way,
    /// Whose words.
    pub dialect: Dialect,
    /// The stream, ready for [`gate::Intent`]. The virtual host is the one asked for, not yet
    /// resolved; credentials stand in `param`, a publisher's ends with `upstream=rtc`.
    pub detail: Detail,
    /// The offer as it came (RFC 8866), at most [`MAX_OFFER`](super::MAX_OFFER) bytes.
    pub offer: String,
    /// The other end of the HTTP connection; rules go by this one.
    pub peer: SocketAddr,
    /// The client's address as it, or a proxy before us, claims it. For books
    /// ([`set_claimed`](gate::SessionInfo::set_claimed)), never for rules.
    pub claimed: Option<IpAddr>,
    /// The host and port that the request was sent to, as written; empty when none was.
    pub host: String,
    /// What the answer offers, best first, without duplicates. Never empty.
    pub candidates: Vec<Candidate>,
    /// `codec=` of the query; `None`: no wish.
    pub video: Option<VideoWish>,
    /// Whether a player's media is encrypted. A publisher's always is.
    pub encrypt: bool,
    /// Whether there is a DTLS handshake at all. Off goes with `encrypt` off alone.
    pub dtls: bool,
    /// Credentials that the client wants us to have (`ice-ufrag=`, 4 to 32 ice-chars), for tests.
    pub ice_ufrag: Option<String>,
    /// The same (`ice-pwd=`, 22 to 32 ice-chars).
    pub ice_pwd: Option<String>,
}

/// A session that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its name: `local-ufrag:remote-ufrag`. Stays the same when ICE restarts.
    pub session: String,
    /// Whoever has it may change and end the session. Nine or more random letters and digits,
    /// compared in constant time.
    pub token: String,
    /// The answer (RFC 8866).
    pub sdp: String,
    /// Names the ICE session in force, without quotes; changes when ICE restarts (RFC 9725 §4.3.1).
    pub etag: String,
}

/// What the `If-Match` of a PATCH says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// There is none. Some clients know nothing of it; a restart needs one.
    Missing,
    /// `*`: an ICE restart.
    Any,
    /// One of these, without quotes; at most eight.
    Tags(Vec<String>),
}

impl IfMatch {
    /// Whether a change of the ICE session that `etag` names is meant.
    pub fn allows(&self, etag: &str) -> bool {
        match self {
            Self::Missing | Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|tag| tag == etag),
        }
    }
}

/// Body of a PATCH: candidates that the client found later, or its new credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// `application/trickle-ice-sdpfrag` (RFC 8840) as it came, at most
    /// [`MAX_OFFER`](super::MAX_OFFER) bytes.
    pub text: String,
    /// Which ICE session is meant. Where [`IfMatch::allows`] says no, the answer is
    /// [`Refused::Stale`]; a restart with [`IfMatch::Missing`] is [`Refused::Precondition`].
    pub if_match: IfMatch,
}

/// ICE was restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restarted {
    /// Our new credentials and candidates, as a fragment.
    pub fragment: String,
    /// Names the new ICE session, without quotes.
    pub etag: String,
}

/// What became of a wish to end a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// It is over.
    Now,
    /// There was none. Not the client's fault: it may have timed out.
    Gone,
}

/// Why a client does not get what it wants. Each says what is wrong and whose fault it is.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refused {
    /// Virtual host, rules, callbacks, somebody who publishes already. Told and counted by the
    /// host.
    #[error("{0}")]
    Admission(#[from] Refusal),
    /// The offer cannot be read, or is none that can be answered. The client's fault.
    #[error("the offer is not understood: {0}")]
    Offer(String),
    /// Nothing that the client can send or take is known here, or to be had of the stream.
    #[error("no codec in common: {0}")]
    NoCodec(String),
    /// The fragment cannot be read. The client's fault.
    #[error("the fragment is not understood: {0}")]
    Fragment(String),
    /// What a PATCH asks for cannot be done with this session.
    #[error("{0}")]
    Unprocessable(String),
    /// WebRTC is off, here or in the virtual host; or what would be played is not made.
    #[error("{0}")]
    Off(String),
    /// There is no such session.
    #[error("there is no session `{0}`")]
    NoSession(String),
    /// The token is not that of the session.
    #[error("the token is not that of the session")]
    Token,
    /// The fragment belongs to an ICE session that was replaced.
    #[error("ICE was restarted since: `If-Match` must be the latest ETag")]
    Stale,
    /// A restart must say which ICE session it replaces.
    #[error("an ICE restart needs `If-Match: *`")]
    Precondition,
    /// No room: `limit` is a directive or a bound, and `most` its value.
    #[error("no place left: {limit} is {most}")]
    Full {
        /// Its name.
        limit: &'static str,
        /// Its value.
        most: usize,
    },
    /// Our fault; the log has more.
    #[error("internal error: {0}")]
    Internal(String),
}

/// Makes, changes and ends sessions: the engine, as the door sees it.
///
/// Called on the shards of HTTP connections; what it returns may be awaited on any of them.
/// Dropping a future of [`open`](Self::open) withdraws the wish: the client has gone.
pub trait Desk: Send + Sync {
    /// Makes a session of an offer, asking the host first whether it may.
    ///
    /// # Errors
    /// [`Refused`]: nothing was made.
    fn open(&self, asked: Asked) -> BoxFuture<'_, Result<Opened, Refused>>;

    /// Takes candidates (`None`) or restarts ICE.
    ///
    /// # Errors
    /// [`Refused`]: the session goes on as it was.
    fn trickle<'a>(
        &'a self,
        session: &'a str,
        token: &'a str,
        fragment: Fragment,
    ) -> BoxFuture<'a, Result<Option<Restarted>, Refused>>;

    /// Ends a session.
    ///
    /// # Errors
    /// [`Refused::Token`]: it goes on.
    fn close<'a>(
        &'a self,
        session: &'a str,
        token: &'a str,
    ) -> BoxFuture<'a, Result<Closed, Refused>>;

    /// For tests of loss: the next `n` packets that the session would send are not sent.
    ///
    /// # Errors
    /// [`Refused::NoSession`].
    fn drop_packets<'a>(&'a self, session: &'a str, n: u32) -> BoxFuture<'a, Result<(), Refused>>;
}

impl Way {
    /// The word of log lines and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Play => "play",
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl VideoWish {
    /// From the word in a query; `None` for one that means nothing.
    pub fn from_word(word: &str) -> Option<Self> {
        match word.to_ascii_lowercase().as_str() {
            "h264" | "avc" => Some(Self::H264),
            "hevc" | "h265" => Some(Self::Hevc),
            "av1" => Some(Self::Av1),
            "vp8" => Some(Self::Vp8),
            "vp9" => Some(Self::Vp9),
            _ => None,
        }
    }
}
