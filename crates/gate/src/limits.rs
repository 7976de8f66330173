//! Limits on what a peer may cost before and after it is known.

use std::time::Duration;

use crate::conf::Config;

/// The `limits { }` block and the connection limits, as one snapshot.
#[derive(Clone, Debug)]
pub struct Limits {
    /// All connections together; 0 is no limit.
    pub max_connections: usize,
    /// Connections from one address; 0 is no limit.
    pub max_connections_per_ip: usize,
    /// Handshake, in total.
    pub handshake_timeout: Duration,
    /// From the end of the handshake to publish or play.
    pub connect_timeout: Duration,
    /// Head of an HTTP request, in total.
    pub http_header_timeout: Duration,
    /// Largest RTMP message, bytes.
    pub message_size: usize,
    /// RTMP chunk streams of one connection.
    pub chunk_streams: usize,
    /// Bytes held for a session before it may publish or play.
    pub preauth_bytes: usize,
    /// Nesting of AMF values.
    pub amf_depth: usize,
    /// AMF values in one message.
    pub amf_nodes: usize,
    /// Longest AMF string, bytes.
    pub amf_string: usize,
}

impl Limits {
    /// From the configuration.
    pub fn new(config: &Config) -> Self {
        let root = config.root();
        let int = |path: &str| usize::try_from(root.int(path)).unwrap_or(0);
        let size = |path: &str| usize::try_from(root.size(path)).unwrap_or(usize::MAX);
        Self {
            max_connections: int("max_connections"),
            max_connections_per_ip: int("max_connections_per_ip"),
            handshake_timeout: root.seconds("limits.handshake_timeout"),
            connect_timeout: root.seconds("limits.connect_timeout"),
            http_header_timeout: root.seconds("limits.http_header_timeout"),
            message_size: size("limits.message_size"),
            chunk_streams: int("limits.chunk_streams"),
            preauth_bytes: size("limits.preauth_bytes"),
            amf_depth: int("limits.amf_depth"),
            amf_nodes: int("limits.amf_nodes"),
            amf_string: size("limits.amf_string"),
        }
    }
}
