//! The bodies of the fuzz targets: each takes any bytes and panics where a law is broken.
//!
//! That nothing panics is the least of the laws. Where there is a way back, what was read must
//! survive it; where input comes in pieces, the cuts must not matter; where memory is bounded,
//! the bound must hold.

mod access;
mod api;
mod callbacks;
mod channels;
mod codecs;
mod containers;
mod dialled;
mod frames;
mod http;
mod negotiation;
mod packets;
mod players;
mod redundancy;
mod rtp;
mod sessions;
mod sound;
mod transport;
mod webrtc;

pub use self::rtp::rtp_payload;
pub use access::{credentials, key_set};
pub use api::{api_request, traceparent};
pub use callbacks::hook_reply;
pub use channels::{dcep, sctp};
pub use codecs::{aac, av1, h264, h265, mp3};
pub use containers::{amf0, flv, ts};
pub use dialled::client_session;
pub use frames::rtp_frames;
pub use http::{hls, http_path, websocket};
pub use negotiation::{sdp, trickle_fragment};
pub use packets::{rtcp, rtp_packet};
pub use players::{hls_client, live_client, stamp};
pub use redundancy::redundancy;
pub use sessions::{chunk, conf, handshake, server_session};
pub use sound::{transcode_aac, transcode_opus};
pub use transport::{dtls_records, srtp, stun};
pub use webrtc::whip;

/// One fuzz target.
pub type Target = (&'static str, fn(&[u8]));

/// Every target by its name, which is also the folder of its corpus.
pub const TARGETS: &[Target] = &[
    ("aac", aac),
    ("amf0", amf0),
    ("api_request", api_request),
    ("av1", av1),
    ("chunk", chunk),
    ("client_session", client_session),
    ("conf", conf),
    ("credentials", credentials),
    ("dcep", dcep),
    ("dtls_records", dtls_records),
    ("flv", flv),
    ("h264", h264),
    ("h265", h265),
    ("handshake", handshake),
    ("hls", hls),
    ("hls_client", hls_client),
    ("hook_reply", hook_reply),
    ("http_path", http_path),
    ("key_set", key_set),
    ("live_client", live_client),
    ("mp3", mp3),
    ("redundancy", redundancy),
    ("rtcp", rtcp),
    ("rtp_frames", rtp_frames),
    ("rtp_packet", rtp_packet),
    ("rtp_payload", rtp_payload),
    ("sctp", sctp),
    ("sdp", sdp),
    ("server_session", server_session),
    ("srtp", srtp),
    ("stamp", stamp),
    ("transcode_aac", transcode_aac),
    ("transcode_opus", transcode_opus),
    ("stun", stun),
    ("trickle_fragment", trickle_fragment),
    ("traceparent", traceparent),
    ("ts", ts),
    ("websocket", websocket),
    ("whip", whip),
];

/// Cuts the input into pieces whose lengths the input itself gives: the first byte and so on.
///
/// The same bytes always give the same cuts, so that a finding can be replayed.
fn pieces(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = data;
    let mut sizes = data.iter().rev().cycle();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let size = sizes.next().map_or(1, |byte| usize::from(*byte)).clamp(1, rest.len());
        let (piece, later) = rest.split_at(size);
        rest = later;
        Some(piece)
    })
}
