//! A player against a server that is a few lines of test.

use proptest::prelude::*;

use super::*;

struct Play {
    client: Client,
    now: Instant,
    requests: Vec<String>,
    events: Vec<Event>,
    connects: usize,
}

impl Play {
    fn new() -> Self {
        let now = Instant::now();
        let address = Address::parse("http://h/live/x.m3u8?k=v").unwrap();
        let client = Client::new(now, ClientConfig::new(address));
        let (requests, events) = (Vec::new(), Vec::new());
        let mut play = Self { client, now, requests, events, connects: 0 };
        play.drain();
        play
    }

    fn drain(&mut self) {
        while let Some(event) = self.client.poll_event() {
            self.connects += usize::from(matches!(event, Event::Connect(_)));
            self.events.push(event);
        }
        if let Some(bytes) = self.client.poll_transmit() {
            let text = String::from_utf8(bytes).unwrap();
            let lines = text.lines().filter_map(|line| line.strip_prefix("GET "));
            self.requests.extend(lines.map(|line| line.replace(" HTTP/1.1", "")));
        }
    }

    fn answer(&mut self, fields: &str, body: &str) {
        let text = format!("HTTP/1.1 {fields}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        self.client.handle_bytes(self.now, text.as_bytes());
        self.drain();
    }

    fn ok(&mut self, body: &str) {
        self.answer("200 OK", body);
    }

    fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
        self.client.handle_timeout(self.now);
        self.drain();
    }

    fn last(&self) -> &str {
        self.requests.last().unwrap()
    }

    fn closed(&self) -> Option<&Close> {
        match self.events.last() {
            Some(Event::Closed(close)) => Some(close),
            _ => None,
        }
    }
}

/// Segments of two seconds from `first` on.
fn playlist(first: u64, count: u64) -> String {
    let list: String = (first..first + count).map(|n| format!("#EXTINF:2,\ns{n}.ts\n")).collect();
    format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{first}\n{list}")
}

#[test]
fn a_player_goes_from_master_to_media_to_the_segments_of_the_live_edge() {
    let mut play = Play::new();
    assert_eq!(play.requests, ["/live/x.m3u8?k=v"]);
    play.ok("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n/live/x.m3u8?hls_ctx=a\n");
    assert_eq!(play.last(), "/live/x.m3u8?hls_ctx=a");
    play.ok(&playlist(3, 5));
    assert_eq!(play.last(), "/live/s5.ts");
    play.ok("first");
    play.ok("second");
    play.ok("third");
    assert_eq!(play.requests.len(), 5, "nothing more to fetch yet");
    assert_eq!(play.connects, 1, "one connection for all");
    let data = |event: &Event| match event {
        Event::Data(bytes) => Some(bytes.to_vec()),
        _ => None,
    };
    assert_eq!(
        play.events.iter().filter_map(data).collect::<Vec<_>>().concat(),
        b"firstsecondthird"
    );
}

#[test]
fn the_playlist_is_loaded_again_after_its_target_or_half_of_it_when_nothing_changed() {
    let mut play = Play::new();
    play.ok(&playlist(0, 1));
    play.ok("x");
    play.pass(1999);
    assert_eq!(play.requests.len(), 2);
    play.pass(1);
    assert_eq!(play.last(), "/live/x.m3u8?k=v");
    play.ok(&playlist(0, 1));
    play.pass(999);
    assert_eq!(play.requests.len(), 3);
    play.pass(1);
    assert_eq!(play.requests.len(), 4);
    play.ok(&playlist(0, 2));
    assert_eq!(play.last(), "/live/s1.ts");
}

#[test]
fn who_falls_behind_or_meets_another_stream_is_told() {
    let mut play = Play::new();
    play.ok(&playlist(0, 1));
    play.ok("x");
    play.pass(2000);
    play.ok(&playlist(5, 3));
    assert!(play.events.contains(&Event::Missed { from: 1, to: 5 }));
    assert_eq!(play.last(), "/live/s5.ts");
    for _ in 0..3 {
        play.ok("x");
    }
    play.pass(2000);
    play.ok(&playlist(0, 1));
    assert!(play.events.contains(&Event::Restarted));
    assert_eq!(play.last(), "/live/s0.ts");
}

#[test]
fn a_kept_connection_that_was_closed_is_opened_again_and_the_request_sent_once_more() {
    let mut play = Play::new();
    play.ok(&playlist(0, 1));
    play.client.handle_end(play.now);
    play.drain();
    assert_eq!((play.connects, play.requests.len()), (2, 3));
    assert_eq!(play.last(), "/live/s0.ts");
    play.client.handle_end(play.now);
    play.drain();
    assert_eq!(play.closed(), Some(&Close::Cut), "a new connection is no excuse");
    let mut idle = Play::new();
    idle.ok(&playlist(0, 1));
    idle.answer("200 OK\r\nConnection: close", "x");
    idle.client.handle_end(idle.now);
    idle.pass(2000);
    assert_eq!((idle.connects, idle.closed()), (2, None));
}

#[test]
fn redirects_are_followed_and_what_is_in_a_playlist_is_seen_from_there() {
    let mut play = Play::new();
    play.answer("302 Found\r\nLocation: http://edge:81/y/z.m3u8", "");
    assert_eq!(play.connects, 2);
    play.ok(&playlist(0, 1));
    assert_eq!(play.last(), "/y/s0.ts");
    let mut circle = Play::new();
    for _ in 0..=MAX_HOPS {
        circle.answer("302 Found\r\nLocation: /x", "");
    }
    assert_eq!(circle.closed(), Some(&Close::Hops));
}

#[test]
fn every_end_has_its_reason() {
    let mut play = Play::new();
    play.answer("404 Not Found", "");
    assert_eq!(play.closed(), Some(&Close::Status(404)));
    let mut play = Play::new();
    play.pass(60_000);
    assert_eq!(play.closed(), Some(&Close::Timeout));
    let mut play = Play::new();
    play.ok("<html>");
    assert_eq!(play.closed(), Some(&Close::Playlist(PlaylistError::Signature)));
    let mut play = Play::new();
    play.ok(&format!("{}#EXT-X-ENDLIST\n", playlist(0, 1)));
    play.ok("x");
    assert_eq!(play.closed(), Some(&Close::Ended));
    let mut play = Play::new();
    play.ok(&playlist(0, 6));
    for _ in 0..3 {
        play.answer("404 Not Found", "");
    }
    assert_eq!(play.closed(), Some(&Close::Segments(404)));
    assert!(play.events.contains(&Event::Refused { number: 3, status: 404 }));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..8),
    ) {
        let mut play = Play::new();
        play.ok(&playlist(0, 3));
        for piece in pieces {
            play.client.handle_bytes(play.now, &piece);
            play.now += Duration::from_secs(1);
            play.client.handle_timeout(play.now);
        }
        play.client.handle_end(play.now);
    }
}
