//! RTP and what travels with it, without sockets and clocks: packets (RFC 3550), header
//! extensions (RFC 8285), RTCP with its feedback (RFC 4585, 5104), payload formats, reordering,
//! retransmission (RFC 4588), transport-wide congestion control and session descriptions
//! (RFC 8866). Knows nothing of encryption, of ICE, or of any protocol that uses it.

pub mod clock;
pub mod extension;
pub mod fec;
pub mod gcc;
pub mod jitter;
pub mod nack;
mod octets;
pub mod packet;
pub mod payload;
pub mod rtcp;
pub mod rtx;
pub mod sdp;
pub mod seq;
pub mod twcc;
