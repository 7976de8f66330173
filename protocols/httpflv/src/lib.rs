//! Live streams over HTTP and WebSocket: FLV, MPEG-TS, AAC and MP3.
//!
//! A viewer asks for `/app/stream.flv` and gets the stream as one endless body, or as binary
//! messages when the same address is opened as a WebSocket. Entry: [`HttpFlv`], a mount of the
//! HTTP ports. It binds no port, serves no files (those come behind it), and knows nothing of
//! whoever publishes.
//!
//! [`packager`] turns frames into bytes and [`wire`] holds the framings; both are pure. The
//! framing stands in the log itself, so that a viewer costs the server one `send` whatever the
//! framing is. [`session`] is the other side: a client, for whom fetches and for whom tests.
//!
//! What holds throughout:
//! - Every message of a log stands alone: a viewer may begin at any of them.
//! - A body ends as its framing says, whatever the reason: a viewer can tell an end from a cut.
//! - Nothing that a viewer sends is kept beyond a few KiB.
//!
//! Specifications: Adobe FLV 10.1 annex E, ISO/IEC 13818-1, ISO/IEC 14496-3 1.A.2.2 (ADTS),
//! RFC 9112 section 7.1 (chunks), RFC 6455 (WebSocket).

pub mod config;
mod events;
mod gate;
pub mod packager;
pub mod path;
mod serve;
pub mod session;
pub mod wire;

pub use gate::HttpFlv;
