//! Why an offer, or a section of it, is refused, in words that say what to change.

use media::Codec;
use rtp::sdp::SdpError;

use super::Intent;

/// Why an offer or an answer cannot be agreed to. The peer's fault, always; the text is for the
/// person in front of the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NegotiateError {
    /// It is no description.
    #[error(transparent)]
    Sdp(#[from] SdpError),
    /// No section at all.
    #[error("the offer has no m= section: add a track or a transceiver before createOffer")]
    NoMedia,
    /// Several sections, but no bundle of them.
    #[error(
        "the offer has no a=group:BUNDLE: set bundlePolicy (GStreamer: bundle-policy) to max-bundle"
    )]
    NoBundle,
    /// No section of the bundle is left.
    #[error("a=group:BUNDLE names no section that is open: offer audio or video in the bundle")]
    EmptyBundle,
    /// A section without a common port for RTP and RTCP.
    #[error("section {index} has no a=rtcp-mux: set rtcpMuxPolicy to require")]
    NoRtcpMux {
        /// Which `m=` line, from 0.
        index: usize,
    },
    /// A section that is neither sound, pictures nor data channels.
    #[error("section {index} is m={kind}: only audio, video and data channels are taken")]
    OtherSection {
        /// Which `m=` line, from 0.
        index: usize,
        /// Its first word, cut to 32 characters.
        kind: String,
    },
    /// The section's protocol is not RTP with feedback.
    #[error("section {index} is of {protocol}: only UDP/TLS/RTP/SAVPF is taken")]
    Protocol {
        /// Which `m=` line, from 0.
        index: usize,
        /// As it came, cut to 32 characters.
        protocol: String,
    },
    /// Who wants to publish only receives, or the other way round.
    #[error("section {index} is {direction}, but the request is to {}: {}", .intent.as_str(), turn(*.intent))]
    Direction {
        /// Which `m=` line, from 0.
        index: usize,
        /// As it came.
        direction: &'static str,
        /// What was asked for.
        intent: Intent,
    },
    /// No `a=ice-ufrag` or `a=ice-pwd`, or one of a forbidden length.
    #[error(
        "a=ice-ufrag (4 to 256 characters) and a=ice-pwd (22 to 256) are missing: send the whole \
         description, not only its media"
    )]
    NoIce,
    /// No `a=fingerprint`.
    #[error("a=fingerprint is missing: the client has to use DTLS")]
    NoFingerprint,
    /// Both sides would wait, or both begin.
    #[error("a=setup:{0} leaves nobody to begin the DTLS handshake: offer actpass")]
    Setup(&'static str),
    /// No section was left in which something can flow.
    #[error("no section can be used: {0}")]
    Nothing(Refused),
    /// An answer that does not fit the offer.
    #[error("the answer does not fit the offer: {0}")]
    Answer(&'static str),
}

const fn turn(intent: Intent) -> &'static str {
    match intent {
        Intent::Publish => "offer sendonly",
        Intent::Play => "offer recvonly",
    }
}

/// Why a section was answered with port 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The viewer cannot take what the stream has.
    #[error("the stream has {stream}, which the client does not take; it offers {offered}")]
    Codec {
        /// Of the stream.
        stream: Codec,
        /// What was offered, with commas between; cut to a few.
        offered: String,
    },
    /// The stream has no pictures. A browser that is promised some plays no sound before the first.
    #[error("the stream has sound alone")]
    NoPictures,
    /// A publisher offers nothing that is known here.
    #[error("none of the offered codecs is known here: {offered}")]
    NoCodec {
        /// What was offered, with commas between; cut to a few.
        offered: String,
    },
    /// There is a section of that kind already.
    #[error("only one {0} section is used")]
    Second(&'static str),
    /// Not in the bundle.
    #[error("the section is not in a=group:BUNDLE")]
    NotBundled,
    /// Offered with port 0, or inactive.
    #[error("the client offers the section closed")]
    Closed,
    /// Data channels are switched off, or of an old form.
    #[error("data channels are not taken here")]
    Data,
    /// The other side refused it.
    #[error("the server refused the section")]
    ByPeer,
}
