//! The datagram side: sockets and sessions of a shard, and how packets reach their viewers.
