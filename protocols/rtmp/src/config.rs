//! What the configuration says about RTMP, for one connection.

use std::sync::Arc;
use std::time::Duration;

use container::amf;
use gate::conf::VhostSection;

use crate::session::Limits;
use crate::wire::chunk;

/// Options of a connection that come from its virtual host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VhostOptions {
    /// Chunk size of what is sent, bytes.
    pub chunk_size: u32,
    /// Acknowledge by this window even unasked, bytes; 0 is not.
    pub in_ack_size: u32,
    /// Window told to the client, bytes; 0 tells none.
    pub out_ack_size: u32,
    /// Longest wait for a publisher's first message.
    pub first_packet: Duration,
    /// Longest silence of a publisher after that.
    pub normal: Duration,
    /// Pause between two reads of a publisher (`mr`); zero reads at once.
    pub merged_read: Duration,
    /// Read at once however many publishers there are (`min_latency`).
    pub at_once: bool,
}

impl VhostOptions {
    /// From a virtual host's section.
    pub fn new(vhost: &VhostSection<'_>) -> Self {
        let size = |path: &str| u32::try_from(vhost.int(path)).unwrap_or(0);
        let merge = vhost.bool("publish.mr") && !vhost.bool("min_latency");
        Self {
            chunk_size: size("chunk_size").clamp(128, 65_536),
            in_ack_size: size("in_ack_size"),
            out_ack_size: size("out_ack_size"),
            first_packet: vhost.millis("publish.firstpkt_timeout"),
            normal: vhost.millis("publish.normal_timeout"),
            at_once: vhost.bool("min_latency"),
            merged_read: if merge { vhost.millis("publish.mr_latency") } else { Duration::ZERO },
        }
    }
}

impl Default for VhostOptions {
    fn default() -> Self {
        Self {
            chunk_size: 60_000,
            in_ack_size: 0,
            out_ack_size: 2_500_000,
            first_packet: Duration::from_secs(20),
            normal: Duration::from_secs(5),
            merged_read: Duration::ZERO,
            at_once: false,
        }
    }
}

/// The limits of a session, from the server's.
pub fn limits(from: &gate::Limits) -> Arc<Limits> {
    let message = u32::try_from(from.message_size).unwrap_or(u32::MAX);
    Arc::new(Limits {
        handshake: from.handshake_timeout,
        identify: from.connect_timeout,
        unauthenticated: from.preauth_bytes,
        chunk: chunk::Limits {
            message,
            held: from.message_size.saturating_mul(2),
            chunk_streams: from.chunk_streams,
        },
        amf: amf::Limits {
            depth: from.amf_depth,
            nodes: from.amf_nodes,
            string: from.amf_string,
            ..amf::Limits::default()
        },
        ..Limits::default()
    })
}
