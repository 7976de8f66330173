//! The only file with sockets: serve, fetch, forward.
