//! Offer and answer: what two sides agree on, from session descriptions alone (RFC 9429, RFC 3264).
//!
//! [`answer`] is the server's side for a publisher or a player of any origin, [`offer`] and
//! [`accept_answer`] are the client's, for tests and the load tool. [`Fragment`] and [`restart`]
//! are what comes later by HTTP PATCH (RFC 9725). Nothing here has sockets, clocks or chance:
//! credentials and seeds are arguments, and what was agreed on comes back as [`Negotiated`].
//!
//! Of each section one coding is taken, as SRS does it: a browser that is answered with several
//! may change between them at any time.

use media::Codec;
use rtp::sdp::SessionDescription;

mod answer;
mod codec;
mod error;
mod fragment;
mod offer;
mod remote;
#[cfg(test)]
mod tests;
mod write;

pub use answer::answer;
pub use error::{NegotiateError, Refused};
pub use fragment::{Fragment, FragmentError, FragmentSection, MAX_FRAGMENT, restart, trickle};
pub use offer::{OfferAsk, accept_answer, offer};
pub use rtp::sdp::{Candidate, Direction, Fingerprint, Setup};

/// Streams of one simulcast section, at most. Browsers send three; at half two would be dropped,
/// at double a section costs the engine layers that nobody sends.
pub const MAX_RIDS: usize = 4;

/// Sources of one section that are remembered, at most. Browsers name two, with simulcast six; at
/// half FEC of simulcast no longer fits, at double a stranger's offer costs more memory.
pub const MAX_SOURCES: usize = 16;

/// Candidates of the peer that are remembered, at most. A host with many interfaces has 20; at
/// half those might lose the one that works, at double a stranger makes a client check twice.
pub const MAX_CANDIDATES: usize = 32;

/// What the peer wants with the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Intent {
    /// It sends, we receive.
    Publish,
    /// We send, it receives.
    Play,
}

impl Intent {
    /// The word of people and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Play => "play",
        }
    }

    /// Our direction in the sections.
    const fn direction(self) -> Direction {
        match self {
            Self::Publish => Direction::RecvOnly,
            Self::Play => Direction::SendOnly,
        }
    }
}

/// A track of the live stream **as a viewer would get it**: a stream with AAC that is made Opus for
/// viewers has an Opus track here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Track {
    /// Its coding.
    pub codec: Codec,
    /// For H.264: `profile_idc`, constraint flags and `level_idc` of the sequence parameter set,
    /// as in `profile-level-id` (bytes 1 to 3 of `avcC`). Nothing if not known.
    pub profile_level_id: Option<u32>,
    /// For HEVC `general_profile_idc`, for VP9 and AV1 the profile. Nothing if not known: then the
    /// usual one is taken for it.
    pub profile: Option<u8>,
}

impl Track {
    /// One of which no more than the coding is known.
    pub const fn new(codec: Codec) -> Self {
        Self { codec, profile_level_id: None, profile: None }
    }

    /// H.264 of this `profile-level-id`.
    pub const fn h264(profile_level_id: u32) -> Self {
        Self { profile_level_id: Some(profile_level_id), ..Self::new(Codec::H264) }
    }
}

/// What we bring into the description.
#[derive(Clone, Debug)]
pub struct Ours {
    /// Our user fragment: 4 to 256 characters of `ice-char`; SRS has 8.
    pub ufrag: String,
    /// Our password: 22 to 256 characters; SRS has 32.
    pub pwd: String,
    /// Of our certificate.
    pub fingerprint: Fingerprint,
    /// Where we can be reached, best first. Written into every accepted section.
    pub candidates: Vec<Candidate>,
    /// The number in `o=`.
    pub session: u64,
    /// The name in `o=`: `millrace/0.1.0`.
    pub server: String,
    /// `app/stream`, for `a=msid-semantic` and `a=msid`.
    pub stream: String,
    /// Our RTCP CNAME; 1 to 255 characters.
    pub cname: String,
    /// From which the numbers of our sources are made: equal seeds give equal numbers, so two
    /// sessions should not share one.
    pub ssrc_seed: u64,
}

/// What may be agreed on. [`Default`] is what browsers are served best with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Retransmissions at all.
    pub nack: bool,
    /// Retransmissions as a stream of their own (RFC 4588); needs `nack`.
    pub rtx: bool,
    /// Transport-wide feedback.
    pub twcc: bool,
    /// `goog-remb`, where transport-wide feedback is not agreed on.
    pub remb: bool,
    /// Redundancy for Opus (RFC 2198).
    pub red: bool,
    /// ULPFEC in RED, or FlexFEC, for pictures.
    pub fec: bool,
    /// Layers of a publisher's picture.
    pub simulcast: bool,
    /// `playout-delay`, for players who are to show pictures at once.
    pub low_latency: bool,
    /// Data channels; without it their section is refused.
    pub data: bool,
    /// Bytes of the largest message of a data channel that we take.
    pub max_message_size: u32,
    /// Stereo in Opus, for players always, for publishers who offer it.
    pub stereo: bool,
    /// Encryption. Without it (`dtls=false` of SRS) neither fingerprint nor setup are written, nor
    /// asked for.
    pub dtls: bool,
    /// Which side we take where the peer leaves it to us (`dtls_role`).
    pub setup: Setup,
    /// Whether we say `a=ice-lite`.
    pub ice_lite: bool,
    /// A player is answered one payload type of each coding, that of the stream first or, before
    /// there is one, the preferred: whatever a next publisher brings can be sent. Without it, just
    /// one.
    pub several: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nack: true,
            rtx: true,
            twcc: true,
            remb: true,
            red: false,
            fec: false,
            simulcast: true,
            low_latency: false,
            data: true,
            max_message_size: 262_144,
            stereo: true,
            dtls: true,
            setup: Setup::Passive,
            ice_lite: true,
            several: true,
        }
    }
}

/// A question to [`answer`].
#[derive(Clone, Debug)]
pub struct Ask {
    /// What the peer wants.
    pub intent: Intent,
    /// The coding of pictures that is taken before others: H.264, unless the address says `codec=`.
    pub prefer: Codec,
    /// The coding of sound that is taken before others: Opus.
    pub prefer_audio: Codec,
    /// For play, what the stream has; nothing if it is not there yet. Ignored for publish.
    pub available: Option<Vec<Track>>,
    /// Play alone: it is known that there are no pictures, and none will come.
    pub sound_alone: bool,
    /// What we bring.
    pub ours: Ours,
    /// What may be agreed on.
    pub options: Options,
}

impl Ask {
    /// With the usual preferences and options, of a stream that is not there yet.
    pub fn new(intent: Intent, ours: Ours) -> Self {
        Self {
            intent,
            prefer: Codec::H264,
            prefer_audio: Codec::Opus,
            available: None,
            sound_alone: false,
            ours,
            options: Options::default(),
        }
    }
}

/// An answer, and what is agreed on by it.
#[derive(Clone, Debug)]
pub struct Answered {
    /// What to send back.
    pub sdp: String,
    /// What holds from now on.
    pub negotiated: Negotiated,
}

/// What both sides know after an offer was answered.
#[derive(Clone, Debug)]
pub struct Negotiated {
    /// The peer's user fragment.
    pub remote_ufrag: String,
    /// The peer's password.
    pub remote_pwd: String,
    /// Of the peer's certificate: SHA-256 if there is one, else its first. None without DTLS.
    pub fingerprint: Option<Fingerprint>,
    /// Our side of the handshake: [`Setup::Active`] is the DTLS client, [`Setup::Passive`] the
    /// server.
    pub setup: Setup,
    /// Where the peer said it can be reached: at most [`MAX_CANDIDATES`], names among them.
    pub candidates: Vec<Candidate>,
    /// Whether the peer said that no more will follow.
    pub end_of_candidates: bool,
    /// Whether the peer only answers checks (`a=ice-lite`): then we have to make them.
    pub remote_lite: bool,
    /// Every section of sound and pictures, in the order of the description; see
    /// [`Media::refused`].
    pub media: Vec<Media>,
    /// The section of data channels, if it was accepted.
    pub data: Option<Data>,
}

impl Negotiated {
    /// The accepted section of sound.
    pub fn audio(&self) -> Option<&Media> {
        self.accepted(media::Kind::Audio)
    }

    /// The accepted section of pictures.
    pub fn video(&self) -> Option<&Media> {
        self.accepted(media::Kind::Video)
    }

    fn accepted(&self, kind: media::Kind) -> Option<&Media> {
        self.media.iter().find(|media| media.kind == kind && media.refused.is_none())
    }
}

/// A section of sound or pictures.
#[derive(Clone, Debug)]
pub struct Media {
    /// [`media::Kind::Audio`] or [`media::Kind::Video`].
    pub kind: media::Kind,
    /// The section's name, which `mid` header extensions carry. Empty if it has none.
    pub mid: String,
    /// Which `m=` line it is, from 0.
    pub index: usize,
    /// Ours.
    pub direction: Direction,
    /// What may be sent, the preferred first; empty if the section was refused. More than one only
    /// as [`Options::several`] says.
    pub payloads: Vec<Payload>,
    /// RED: for sound of Opus, for pictures of ULPFEC.
    pub red: Option<u8>,
    /// ULPFEC (RFC 5109), within RED.
    pub ulpfec: Option<u8>,
    /// FlexFEC-03.
    pub flexfec: Option<u8>,
    /// Numbers of header extensions.
    pub extensions: Extensions,
    /// Whether RTCP may be of reduced size (RFC 5506).
    pub rtcp_rsize: bool,
    /// What the peer will send from, if it said so.
    pub remote: Vec<Source>,
    /// `SIM` groups of the peer: sources of one picture, smallest first.
    pub sim: Vec<Vec<u32>>,
    /// The peer's simulcast streams by `rid`, in its order; empty without simulcast.
    pub rids: Vec<Layer>,
    /// What we send from; nothing if we do not send.
    pub ssrc: Option<u32>,
    /// Where our retransmissions come from, if RTX was agreed on.
    pub rtx_ssrc: Option<u32>,
    /// Where our FlexFEC comes from, if that was agreed on.
    pub fec_ssrc: Option<u32>,
    /// Why it does not flow. Then the section is answered with port 0.
    pub refused: Option<Refused>,
}

impl Media {
    /// The payload type that carries a coding.
    pub fn payload(&self, codec: Codec) -> Option<&Payload> {
        self.payloads.iter().find(|payload| payload.codec == codec)
    }
}

/// A payload type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// 0 to 127.
    pub pt: u8,
    /// Its coding.
    pub codec: Codec,
    /// Hz of its timestamps.
    pub clock: u32,
    /// 1 for pictures.
    pub channels: u8,
    /// For H.264.
    pub h264: Option<H264Format>,
    /// The parameters as the description of the answerer has them; may be empty.
    pub fmtp: String,
    /// The payload type of its retransmissions.
    pub rtx: Option<u8>,
    /// What RTCP may say of it.
    pub feedback: Feedback,
}

/// How H.264 lies in RTP (RFC 6184 §8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct H264Format {
    /// Profile, constraints and level, as offered.
    pub profile_level_id: u32,
    /// 0: single NAL units only; 1: also STAP-A and FU-A.
    pub packetization_mode: u8,
    /// Whether each side may have a level of its own.
    pub level_asymmetry: bool,
}

/// What RTCP may say of a payload type (RFC 4585 §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Feedback {
    /// `nack`.
    pub nack: bool,
    /// `nack pli`.
    pub pli: bool,
    /// `ccm fir`.
    pub fir: bool,
    /// `goog-remb`.
    pub remb: bool,
    /// `transport-cc`.
    pub twcc: bool,
}

/// The numbers of the header extensions that were agreed on (RFC 8285): 1 to 14, so that one-byte
/// headers carry them.
///
/// Video orientation is never agreed on: a publisher who may not send it turns its pictures itself,
/// which every viewer understands. Absolute send time is agreed on only without transport-wide
/// numbers, which say more for less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// `urn:ietf:params:rtp-hdrext:sdes:mid`.
    pub mid: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id`.
    pub rid: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id`.
    pub repaired_rid: Option<u8>,
    /// Transport-wide sequence numbers.
    pub twcc: Option<u8>,
    /// Absolute send time.
    pub abs_send_time: Option<u8>,
    /// Level of sound (RFC 6464).
    pub audio_level: Option<u8>,
    /// Playout delay.
    pub playout_delay: Option<u8>,
}

/// A source of the peer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Its number.
    pub ssrc: u32,
    /// Where its retransmissions come from (`FID`).
    pub rtx: Option<u32>,
    /// Where its FEC comes from (`FEC-FR`).
    pub fec: Option<u32>,
    /// Its CNAME.
    pub cname: Option<String>,
    /// Its stream and track, as they came.
    pub msid: Option<String>,
}

/// A stream of simulcast.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layer {
    /// What `rid` header extensions carry.
    pub rid: String,
    /// `max-width`, if it was told.
    pub max_width: Option<u32>,
    /// `max-height`, if it was told.
    pub max_height: Option<u32>,
    /// `max-br` in bits per second, if it was told.
    pub max_bitrate: Option<u32>,
    /// Whether the peer begins without it (`~`).
    pub paused: bool,
}

/// The section of data channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Data {
    /// The section's name.
    pub mid: String,
    /// Which `m=` line it is.
    pub index: usize,
    /// The peer's SCTP port; ours is 5000.
    pub sctp_port: u16,
    /// Bytes of the largest message the peer takes; 0 for any.
    pub max_message_size: u64,
}

/// The description a text holds, with the error of [`answer`], so that a caller has one kind.
pub fn parse(text: &str) -> Result<SessionDescription, NegotiateError> {
    Ok(SessionDescription::parse(text)?)
}
