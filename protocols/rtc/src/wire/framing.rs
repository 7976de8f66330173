//! Packets in a TCP connection (RFC 4571, RFC 6544 §3): two bytes of length before each.
