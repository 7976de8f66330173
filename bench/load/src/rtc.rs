//! Players and publishers of WebRTC by the thousand: WHEP and WHIP, ICE, DTLS, SRTP.
//!
//! [`run`] takes a [`Plan`] and gives a [`Report`]. The clients are made of the machines that the
//! server is made of too (`rtc::negotiate`, `rtc::session`, `rtp`), on the other side; here are
//! their sockets, one each, and one thread drives thousands of them.
//!
//! A player is *verified*: then all is decrypted, put together and compared; or it is *counted*:
//! then of each packet the RTP header is read, which is in the clear, and only what is needed to
//! see a key picture begin, and retransmissions, are decrypted. Both ask again for what is lost,
//! report each second, tell arrival times where transport-wide numbers come, and keep consent, as
//! a browser does.

mod clip;
mod counts;
mod engine;
mod netem;
mod peer;
pub mod plan;
mod player;
mod publisher;
pub mod report;
mod run;
mod signal;
mod socket;
mod source;
mod tracker;
mod watch;

pub use clip::RtcClip;
pub use counts::Packets;
pub use plan::{Network, Plan, Players, Publishers, Url, UrlError};
pub use report::{Report, table};
pub use run::run;
