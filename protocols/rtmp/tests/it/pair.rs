//! A client and a server with two pipes between them, cut at will.

use std::sync::Arc;
use std::time::Instant;

use rtmp::session::server::{self, ConnectOptions};
use rtmp::session::{Client, ClientConfig, Limits, Server, client};
use rtmp::wire::url::StreamUrl;

/// Both ends, and what they told.
pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) client: Client,
    pub(crate) server: Server,
    pub(crate) client_events: Vec<client::Event>,
    pub(crate) server_events: Vec<server::Event>,
    /// Bytes are handed over in pieces of so many.
    pub(crate) piece: usize,
    /// How the server's caller answers.
    pub(crate) policy: Policy,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Policy {
    Accept,
    Reject,
    Refuse,
    RedirectConnect,
    RedirectPlay,
}

pub(crate) fn config(role: client::Role) -> ClientConfig {
    let url = StreamUrl::parse("rtmp://127.0.0.1/live", "livestream?token=x").unwrap();
    ClientConfig::new(url, role)
}

impl Pair {
    pub(crate) fn new(config: ClientConfig, piece: usize, policy: Policy) -> Self {
        let now = Instant::now();
        Self {
            now,
            client: Client::new(now, [1; 32], config),
            server: Server::new(now, [2; 32], Arc::new(Limits::default())),
            client_events: Vec::new(),
            server_events: Vec::new(),
            piece,
            policy,
        }
    }

    /// Carries bytes and answers until nobody has anything to say.
    pub(crate) fn run(&mut self) {
        loop {
            let up = self.client.poll_transmit();
            for part in up.iter().flat_map(|bytes| bytes.chunks(self.piece)) {
                self.server.handle_bytes(self.now, part);
                while let Some(event) = self.server.poll_event() {
                    answer(self.policy, self.now, &mut self.server, &event);
                    self.server_events.push(event);
                }
            }
            let down = self.server.poll_transmit();
            for part in down.iter().flat_map(|bytes| bytes.chunks(self.piece)) {
                self.client.handle_bytes(part);
            }
            self.client_events.extend(std::iter::from_fn(|| self.client.poll_event()));
            if up.is_none() && down.is_none() {
                break;
            }
        }
    }
}

fn answer(policy: Policy, now: Instant, server: &mut Server, event: &server::Event) {
    let elsewhere = ("rtmp://elsewhere/live", "rtmp://elsewhere/live/livestream?token=x");
    match event {
        server::Event::ConnectAsked(_) => match policy {
            Policy::Reject => server.reject_connect("not today"),
            Policy::RedirectConnect => server.redirect(now, elsewhere.0, elsewhere.1),
            _ => server.accept_connect(now, &ConnectOptions::default()),
        },
        server::Event::PublishAsked(asked) => match policy {
            Policy::Refuse => {
                server.refuse_publish(now, asked.msid, "NetStream.Publish.BadName", "busy");
            }
            _ => server.accept_publish(now, asked.msid),
        },
        server::Event::PlayAsked(asked) => match policy {
            Policy::Refuse => {
                server.refuse_play(now, asked.msid, "NetStream.Play.StreamNotFound", "no");
            }
            Policy::RedirectPlay => server.redirect(now, elsewhere.0, elsewhere.1),
            _ => server.accept_play(now, asked.msid),
        },
        _ => {}
    }
}
