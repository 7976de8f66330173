use bytes::Bytes;
use container::amf::Value;
use proptest::prelude::*;

use super::*;
use crate::wire::chunk::{Message, encode_message};
use crate::wire::message::{UserControl, cid, kind};

/// A client that only knows how to write and read messages.
struct Peer {
    now: Instant,
    server: Server,
    decoder: Decoder,
}

/// What the server said.
#[derive(Debug, PartialEq)]
enum Said {
    Call { msid: u32, name: String, transaction: f64, args: Vec<Value> },
    Control(UserControl),
    WindowAckSize(u32),
    SetPeerBandwidth(u32),
    Ack(u32),
    Data { msid: u32, body: Bytes },
}

fn call(msid: u32, name: &str, transaction: f64, args: &[Value]) -> Said {
    Said::Call { msid, name: name.into(), transaction, args: args.into() }
}

fn status(msid: u32, level: &str, code: &str, description: &str, more: &[(&str, &str)]) -> Said {
    let mut fields = vec![("level", level), ("code", code), ("description", description)];
    fields.extend(more);
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value.into()));
    call(msid, "onStatus", 0.0, &[Value::Null, Value::Object(fields.collect())])
}

impl Peer {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let now = Instant::now();
        let server = Server::new(now, [5; 32], Arc::new(limits));
        Self { now, server, decoder: Decoder::new(chunk::Limits::default()) }
    }

    /// Behind the handshake.
    fn shaken() -> Self {
        let mut peer = Self::new();
        peer.shake();
        peer
    }

    fn shake(&mut self) {
        self.feed(&[3]);
        self.feed(&[0; 2 * handshake::BLOCK]);
        let output = self.server.poll_transmit().unwrap();
        assert_eq!(output.len(), 1 + 2 * handshake::BLOCK);
    }

    /// Connected.
    fn connected() -> Self {
        let mut peer = Self::shaken();
        peer.connect("rtmp://127.0.0.1/live");
        peer.server.accept_connect(peer.now, &ConnectOptions::default());
        peer.said();
        peer
    }

    fn publishing(name: &str) -> Self {
        let mut peer = Self::connected();
        peer.call(0, "releaseStream", 2.0, &[Value::Null, name.into()]);
        peer.call(0, "FCPublish", 3.0, &[Value::Null, name.into()]);
        peer.call(0, "createStream", 4.0, &[Value::Null]);
        peer.call(1, "publish", 5.0, &[Value::Null, name.into(), "live".into()]);
        peer.server.accept_publish(peer.now, 1);
        peer.said();
        peer.events();
        peer
    }

    fn playing(name: &str) -> Self {
        let mut peer = Self::connected();
        peer.call(0, "createStream", 2.0, &[Value::Null]);
        peer.call(1, "play", 3.0, &[Value::Null, name.into(), (-2.0).into()]);
        peer.server.accept_play(peer.now, 1);
        peer.said();
        peer.events();
        peer
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.server.handle_bytes(self.now, bytes);
    }

    fn send(&mut self, cid: u32, type_id: u8, msid: u32, body: &[u8]) {
        let mut bytes = Vec::new();
        encode_message(&mut bytes, cid, type_id, 40, msid, &[body], 128).unwrap();
        self.feed(&bytes);
    }

    fn call(&mut self, msid: u32, name: &str, transaction: f64, args: &[Value]) {
        let mut bytes = Vec::new();
        message::encode_command(&mut bytes, 3, msid, name, transaction, args, 128).unwrap();
        self.feed(&bytes);
    }

    fn connect(&mut self, tc_url: &str) -> Box<Connect> {
        let command = Value::object([("app", "live".into()), ("tcUrl", tc_url.into())]);
        self.call(0, "connect", 1.0, &[command]);
        match self.server.poll_event() {
            Some(Event::ConnectAsked(connect)) => connect,
            other => panic!("{other:?}"),
        }
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.server.poll_event()).collect()
    }

    fn closed(&mut self) -> Close {
        match self.events().pop() {
            Some(Event::Closed(close)) => close,
            other => panic!("{other:?}"),
        }
    }

    fn said(&mut self) -> Vec<Said> {
        let output = self.server.poll_transmit().unwrap_or_default();
        let mut rest = &output[..];
        let mut said = Vec::new();
        while !rest.is_empty() {
            let (taken, message) = self.decoder.decode(rest).unwrap();
            rest = &rest[taken..];
            let Some(message) = message else { continue };
            let Message { type_id, stream_id: msid, ref body, .. } = message;
            if type_id == kind::DATA {
                said.push(Said::Data { msid, body: body.clone() });
                continue;
            }
            let limits = container::amf::Limits::default();
            said.push(match Incoming::decode(message, &limits).unwrap() {
                Incoming::Command(Command { name, transaction, args }) => {
                    Said::Call { msid, name, transaction, args }
                }
                Incoming::UserControl(event) => Said::Control(event),
                Incoming::WindowAckSize(size) => Said::WindowAckSize(size),
                Incoming::SetPeerBandwidth(size) => Said::SetPeerBandwidth(size),
                Incoming::Ack(sequence) => Said::Ack(sequence),
                other => panic!("{other:?}"),
            });
        }
        said
    }
}

const SAMPLE_ACCESS: &[u8] = b"\x02\x00\x11|RtmpSampleAccess\x01\x01\x01\x01";

fn play_started(msid: u32) -> Vec<Said> {
    let more = [("details", "stream"), ("clientid", "ASAICiss")];
    let reset = ("NetStream.Play.Reset", "Playing and resetting stream.");
    let start = ("NetStream.Play.Start", "Started playing stream.");
    vec![
        Said::Control(UserControl::StreamBegin(msid)),
        status(msid, "status", reset.0, reset.1, &more),
        status(msid, "status", start.0, start.1, &more),
        Said::Data { msid, body: Bytes::from_static(SAMPLE_ACCESS) },
    ]
}

fn publish_started(msid: u32) -> Said {
    let (code, text) = ("NetStream.Publish.Start", "Started publishing stream.");
    status(msid, "status", code, text, &[("clientid", "ASAICiss")])
}

fn fc_status(msid: u32, name: &str, code: &str, text: &str) -> Said {
    let fields = Value::object([("code", code.into()), ("description", text.into())]);
    call(msid, name, 0.0, &[Value::Null, fields])
}

#[test]
fn connect_is_answered_in_the_order_that_players_know() {
    let mut peer = Peer::shaken();
    let connect = peer.connect("rtmp://127.0.0.1/live?vhost=v.example");
    assert_eq!((connect.vhost.as_str(), connect.app.as_str()), ("v.example", "live"));
    let info = ServerInfo {
        signature: "sig",
        server: "millrace/0.1.0",
        license: "MIT OR Apache-2.0",
        url: "https://example.invalid",
        version: "0.1.0",
        authors: "us",
        ip: "192.0.2.7",
        pid: 42,
        id: "k3w81zq5",
    };
    let options = ConnectOptions { info, ..ConnectOptions::default() };
    peer.server.accept_connect(peer.now, &options);
    let output = peer.server.poll_transmit().unwrap();

    let mut expected: Vec<u8> = Vec::new();
    // WindowAckSize 2500000, SetPeerBandwidth 2500000 dynamic, SetChunkSize 60000: chunk stream 2.
    expected.extend([2, 0, 0, 0, 0, 0, 4, 5, 0, 0, 0, 0, 0x00, 0x26, 0x25, 0xa0]);
    expected.extend([2, 0, 0, 0, 0, 0, 5, 6, 0, 0, 0, 0, 0x00, 0x26, 0x25, 0xa0, 2]);
    expected.extend([2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0x00, 0x00, 0xea, 0x60]);
    // The result, whole in one chunk by the new size, on chunk stream 3.
    let mut result = b"\x02\x00\x07_result\x00\x3f\xf0\0\0\0\0\0\0".to_vec();
    result.extend(b"\x03\x00\x06fmsVer\x02\x00\x0dFMS/3,5,3,888");
    result.extend(b"\x00\x0ccapabilities\x00\x40\x5f\xc0\0\0\0\0\0");
    result.extend(b"\x00\x04mode\x00\x3f\xf0\0\0\0\0\0\0\x00\x00\x09");
    result.extend(b"\x03\x00\x05level\x02\x00\x06status");
    result.extend(b"\x00\x04code\x02\x00\x1dNetConnection.Connect.Success");
    result.extend(b"\x00\x0bdescription\x02\x00\x14Connection succeeded");
    result.extend(b"\x00\x0eobjectEncoding\x00\0\0\0\0\0\0\0\0");
    result.extend(b"\x00\x04data\x08\x00\x00\x00\x0a");
    for (name, value) in [
        ("version", "3,5,3,888"),
        ("srs_sig", "sig"),
        ("srs_server", "millrace/0.1.0"),
        ("srs_license", "MIT OR Apache-2.0"),
        ("srs_url", "https://example.invalid"),
        ("srs_version", "0.1.0"),
        ("srs_authors", "us"),
        ("srs_server_ip", "192.0.2.7"),
    ] {
        result.extend([0, name.len() as u8]);
        result.extend(name.as_bytes());
        result.extend([2, 0, value.len() as u8]);
        result.extend(value.as_bytes());
    }
    result.extend(b"\x00\x07srs_pid\x00\x40\x45\0\0\0\0\0\0");
    result.extend(b"\x00\x06srs_id\x02\x00\x08k3w81zq5");
    result.extend(b"\x00\x00\x09\x00\x00\x09");
    let [.., high, low] = result.len().to_be_bytes();
    expected.extend([3, 0, 0, 0, 0, high, low, 20, 0, 0, 0, 0]);
    expected.extend(&result);
    let done = b"\x02\x00\x08onBWDone\x00\0\0\0\0\0\0\0\0\x05";
    expected.extend([3, 0, 0, 0, 0, 0, done.len() as u8, 20, 0, 0, 0, 0]);
    expected.extend(done);
    assert_eq!(output, expected);
    assert_eq!(peer.server.chunk_size(), 60_000);
}

#[test]
fn no_window_is_announced_when_none_is_wanted_and_the_encoding_is_echoed() {
    let mut peer = Peer::shaken();
    let command = Value::object([("tcUrl", "rtmp://h/a".into()), ("objectEncoding", 3.0.into())]);
    peer.call(0, "connect", 1.0, &[command, 7.0.into()]);
    peer.server
        .accept_connect(peer.now, &ConnectOptions { out_ack_size: 0, ..ConnectOptions::default() });
    let Some(Event::ConnectAsked(connect)) = peer.server.poll_event() else { panic!() };
    assert_eq!((connect.object_encoding, connect.args), (3.0, None));
    let said = peer.said();
    assert_eq!(said[0], Said::SetPeerBandwidth(2_500_000));
    let Said::Call { name, args, .. } = &said[1] else { panic!() };
    assert_eq!(name, "_result");
    assert_eq!(args[1].get("objectEncoding"), Some(&3.0.into()));
}

#[test]
fn a_client_of_enhanced_rtmp_is_told_what_is_forwarded() {
    let mut peer = Peer::shaken();
    let list = Value::StrictArray(vec!["hvc1".into()]);
    let command = Value::object([("tcUrl", "rtmp://h/a".into()), ("fourCcList", list)]);
    peer.call(0, "connect", 1.0, &[command]);
    peer.server.accept_connect(peer.now, &ConnectOptions::default());
    let said = peer.said();
    let Said::Call { args, .. } = &said[2] else { panic!("{said:?}") };
    assert_eq!(args[0].get("capsEx"), Some(&6.0.into()));
    assert_eq!(args[0].get("fourCcList"), Some(&Value::StrictArray(vec!["*".into()])));
    let forward = Value::object([("*", 4.0.into())]);
    assert_eq!(args[0].get("videoFourCcInfoMap"), Some(&forward));
}

#[test]
fn connect_needs_an_address() {
    let close = |command: Value| {
        let mut peer = Peer::shaken();
        peer.call(0, "connect", 1.0, &[command]);
        peer.closed()
    };
    assert_eq!(close(Value::object([("app", "live".into())])).code(), 2005);
    assert_eq!(close(Value::object([("tcUrl", "".into())])).code(), 2005);
    assert_eq!(close(Value::object([("tcUrl", "live".into())])).code(), 2006);
    assert_eq!(close(Value::Null).code(), 2005);
}

#[test]
fn a_rejected_client_is_told_why() {
    let mut peer = Peer::shaken();
    peer.connect("rtmp://h/live");
    peer.server.reject_connect("no such vhost");
    let fields = Value::object([
        ("level", "error".into()),
        ("code", "NetConnection.Connect.Rejected".into()),
        ("description", "no such vhost".into()),
    ]);
    assert_eq!(peer.said(), [call(0, "_error", 1.0, &[Value::Null, fields])]);
    assert!(peer.server.is_closed());
}

#[test]
fn fmle_is_led_through_its_sequence() {
    let mut peer = Peer::connected();
    let undefined = [Value::Null, Value::Undefined];
    peer.call(0, "releaseStream", 2.0, &[Value::Null, "s".into()]);
    assert_eq!(peer.said(), [call(0, "_result", 2.0, &undefined)]);
    peer.call(0, "FCPublish", 3.0, &[Value::Null, "s".into()]);
    assert_eq!(peer.said(), [call(0, "_result", 3.0, &undefined)]);
    peer.call(0, "createStream", 4.0, &[Value::Null]);
    assert_eq!(peer.said(), [call(0, "_result", 4.0, &[Value::Null, 1.0.into()])]);
    peer.call(1, "publish", 5.0, &[Value::Null, "s?k=v".into(), "record".into()]);
    let Some(Event::PublishAsked(asked)) = peer.server.poll_event() else { panic!() };
    assert_eq!((asked.msid, asked.kind), (1, PublishKind::Fmle));
    assert_eq!(asked.mode, PublishMode::Record);
    assert_eq!((asked.url.stream.as_str(), asked.url.param.as_str()), ("s", "?k=v"));
    assert_eq!(peer.said(), []);
    peer.server.accept_publish(peer.now, 1);
    let (code, text) = ("NetStream.Publish.Start", "Started publishing stream.");
    assert_eq!(peer.said(), [fc_status(1, "onFCPublish", code, text), publish_started(1)]);

    peer.call(0, "FCUnpublish", 6.0, &[Value::Null, "s".into()]);
    let (code, text) = ("NetStream.Unpublish.Success", "Stop publishing stream.");
    let gone = "Stream is now unpublished";
    assert_eq!(
        peer.said(),
        [
            fc_status(1, "onFCUnpublish", code, text),
            call(0, "_result", 6.0, &undefined),
            status(1, "status", code, gone, &[("clientid", "ASAICiss")]),
        ]
    );
    assert_eq!(peer.events(), [Event::Unpublish { msid: 1 }]);
    peer.call(1, "publish", 7.0, &[Value::Null, "t".into()]);
    assert!(matches!(peer.events()[..], [Event::PublishAsked(_)]));
}

#[test]
fn haivision_and_flash_are_told_apart() {
    let kind = |fc: bool| {
        let mut peer = Peer::connected();
        peer.call(0, "_checkbw", 2.0, &[Value::Null]);
        peer.call(0, "createStream", 3.0, &[Value::Null]);
        if fc {
            peer.call(0, "FCPublish", 4.0, &[Value::Null, "s".into()]);
        }
        peer.call(1, "publish", 5.0, &[Value::Null, "s".into()]);
        let Some(Event::PublishAsked(asked)) = peer.server.poll_event() else { panic!() };
        peer.said();
        peer.server.accept_publish(peer.now, 1);
        (asked.kind, peer.said().len())
    };
    assert_eq!(kind(true), (PublishKind::Haivision, 2));
    assert_eq!(kind(false), (PublishKind::Flash, 1));
}

#[test]
fn any_call_of_a_flash_publisher_ends_its_publication() {
    let mut peer = Peer::connected();
    peer.call(0, "createStream", 3.0, &[Value::Null]);
    peer.call(1, "publish", 5.0, &[Value::Null, "s".into()]);
    peer.server.accept_publish(peer.now, 1);
    peer.events();
    peer.call(1, "anything", 0.0, &[Value::Null]);
    assert_eq!(peer.events(), [Event::Unpublish { msid: 1 }]);
}

#[test]
fn a_refused_publisher_gets_the_code_and_may_try_again() {
    let mut peer = Peer::connected();
    peer.call(0, "createStream", 3.0, &[Value::Null]);
    peer.call(1, "publish", 5.0, &[Value::Null, "s".into()]);
    peer.said();
    peer.events();
    peer.server.refuse_publish(peer.now, 1, "NetStream.Publish.BadName", "busy");
    assert_eq!(peer.said(), [status(1, "error", "NetStream.Publish.BadName", "busy", &[])]);
    peer.send(6, 9, 1, &[0x17]);
    assert_eq!(peer.events(), [], "media of a refused publisher is dropped");
    peer.call(1, "publish", 6.0, &[Value::Null, "t".into()]);
    assert!(matches!(peer.events()[..], [Event::PublishAsked(_)]));
}

#[test]
fn media_is_handed_on_with_its_time() {
    let mut peer = Peer::publishing("s");
    peer.send(4, 18, 1, b"\x02\x00\x0d@setDataFrame\x02\x00\x0aonMetaData\x05");
    peer.send(7, 8, 1, &[0xaf, 0, 0x12, 0x10]);
    peer.send(6, 9, 9, &[0x17; 1000]);
    peer.send(6, 9, 1, &[]);
    let media = |media, body| Event::Media { msid: 1, media, timestamp_ms: 40, body };
    assert_eq!(
        peer.events(),
        [
            media(Media::Data, Bytes::from_static(b"\x02\x00\x0aonMetaData\x05")),
            media(Media::Audio, Bytes::from_static(&[0xaf, 0, 0x12, 0x10])),
            media(Media::Video, Bytes::from_static(&[0x17; 1000])),
        ]
    );
    let mut aggregate = vec![9, 0, 0, 1, 0, 0, 7, 0, 0, 0, 0, 0x27, 0, 0, 0, 12];
    aggregate.extend([8, 0, 0, 1, 0, 0, 9, 0, 0, 0, 0, 0xaf, 0, 0, 0, 12]);
    peer.send(6, 22, 1, &aggregate);
    let times: Vec<u32> = peer
        .events()
        .iter()
        .map(|event| match event {
            Event::Media { timestamp_ms, .. } => *timestamp_ms,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(times, [40, 42]);
}

#[test]
fn media_before_the_grant_is_dropped() {
    let mut peer = Peer::connected();
    peer.call(0, "createStream", 3.0, &[Value::Null]);
    peer.send(6, 9, 1, &[0x17; 1000]);
    assert_eq!(peer.events(), []);
}

#[test]
fn media_sent_before_the_answer_is_kept_for_it() {
    let mut peer = Peer::connected();
    let mut bytes = Vec::new();
    for (name, id) in [("FCPublish", 2.0), ("createStream", 3.0)] {
        message::encode_command(&mut bytes, 3, 0, name, id, &[Value::Null], 128).unwrap();
    }
    let args = [Value::Null, "s".into()];
    message::encode_command(&mut bytes, 3, 1, "publish", 4.0, &args, 128).unwrap();
    encode_message(&mut bytes, 6, 9, 0, 1, &[&[0x17; 500]], 128).unwrap();
    peer.feed(&bytes);
    assert!(matches!(peer.events()[..], [Event::PublishAsked(_)]));
    assert!(!peer.server.wants_input());
    peer.server.accept_publish(peer.now, 1);
    assert!(matches!(peer.events()[..], [Event::Media { media: Media::Video, .. }]));
    assert!(peer.server.wants_input());
}

#[test]
fn input_before_an_answer_is_bounded() {
    let mut peer = Peer::connected();
    peer.call(0, "createStream", 3.0, &[Value::Null]);
    peer.call(1, "publish", 4.0, &[Value::Null, "s".into()]);
    peer.feed(&[0; 60_000]);
    assert!(!peer.server.is_closed());
    peer.feed(&[0; 6_000]);
    assert_eq!(peer.closed(), Close::Backlog(65_536));
    assert!(peer.server.heap_bytes() < 1000);
}

#[test]
fn a_player_is_led_through_its_sequence() {
    let mut peer = Peer::connected();
    peer.call(0, "createStream", 2.0, &[Value::Null]);
    assert_eq!(peer.said(), [call(0, "_result", 2.0, &[Value::Null, 1.0.into()])]);
    peer.call(0, "getStreamLength", 3.0, &[Value::Null, "s".into()]);
    assert_eq!(peer.said(), [call(0, "_result", 3.0, &[Value::Null, 0.0.into()])]);
    let args = [Value::Null, "s".into(), 0.0.into(), 3000.0.into(), false.into()];
    peer.call(1, "play", 4.0, &args);
    let Some(Event::PlayAsked(asked)) = peer.server.poll_event() else { panic!() };
    assert_eq!((asked.msid, asked.url.stream.as_str()), (1, "s"));
    assert_eq!((asked.start, asked.duration_ms, asked.reset), (0.0, Some(3000), false));
    peer.server.accept_play(peer.now, 1);
    assert_eq!(peer.said(), play_started(1));
    assert_eq!(peer.server.poll_timeout(), None);
}

#[test]
fn negative_durations_mean_no_end() {
    for duration in [-1.0, -2.0, 0.0, f64::NAN] {
        let mut peer = Peer::connected();
        peer.call(0, "createStream", 2.0, &[Value::Null]);
        peer.call(1, "play", 4.0, &[Value::Null, "s".into(), (-2.0).into(), duration.into()]);
        let Some(Event::PlayAsked(asked)) = peer.server.poll_event() else { panic!() };
        assert_eq!((asked.duration_ms, asked.reset), (None, true));
    }
}

#[test]
fn a_player_may_pause_go_on_choose_and_not_seek() {
    let mut peer = Peer::playing("s");
    peer.call(1, "pause", 0.0, &[Value::Null, true.into(), 0.0.into()]);
    peer.call(1, "pause", 0.0, &[Value::Null, false.into(), 0.0.into()]);
    peer.call(1, "receiveAudio", 0.0, &[Value::Null, false.into()]);
    peer.call(1, "receiveVideo", 0.0, &[Value::Null, true.into()]);
    peer.call(1, "seek", 0.0, &[Value::Null, 1000.0.into()]);
    assert_eq!(
        peer.said(),
        [
            status(1, "status", "NetStream.Pause.Notify", "Paused stream.", &[]),
            Said::Control(UserControl::StreamEof(1)),
            status(1, "status", "NetStream.Unpause.Notify", "Unpaused stream.", &[]),
            Said::Control(UserControl::StreamBegin(1)),
            status(1, "error", "NetStream.Seek.Failed", "A live stream cannot be sought.", &[]),
        ]
    );
    assert_eq!(
        peer.events(),
        [
            Event::Pause { msid: 1, on: true },
            Event::Pause { msid: 1, on: false },
            Event::ReceiveAudio { msid: 1, on: false },
            Event::ReceiveVideo { msid: 1, on: true },
        ]
    );
}

#[test]
fn a_closed_stream_can_be_played_again_for_a_while() {
    let mut peer = Peer::playing("s");
    peer.call(1, "closeStream", 0.0, &[Value::Null]);
    assert_eq!(peer.events(), [Event::StopPlay { msid: 1 }]);
    let deadline = peer.server.poll_timeout().unwrap();
    assert_eq!(deadline - peer.now, Limits::REIDENTIFY);
    peer.call(1, "play", 0.0, &[Value::Null, "s".into()]);
    peer.server.accept_play(peer.now, 1);
    assert_eq!(peer.said(), play_started(1));
    peer.call(1, "play", 0.0, &[Value::Null, "t".into()]);
    assert!(matches!(
        peer.events()[..],
        [Event::PlayAsked(_), Event::StopPlay { msid: 1 }, Event::PlayAsked(_)]
    ));
}

#[test]
fn a_refused_player_gets_the_code() {
    let mut peer = Peer::connected();
    peer.call(0, "createStream", 2.0, &[Value::Null]);
    peer.call(1, "play", 3.0, &[Value::Null, "s".into()]);
    peer.said();
    peer.server.refuse_play(peer.now, 1, "NetStream.Play.StreamNotFound", "no");
    assert_eq!(peer.said(), [status(1, "error", "NetStream.Play.StreamNotFound", "no", &[])]);
}

#[test]
fn players_hear_of_the_end() {
    let mut peer = Peer::playing("s");
    peer.server.unpublish_notify(1);
    peer.server.stream_eof(1);
    peer.server.stream_eof(7);
    let (code, text) = ("NetStream.Play.UnpublishNotify", "Stream is now unpublished.");
    assert_eq!(
        peer.said(),
        [status(1, "status", code, text, &[]), Said::Control(UserControl::StreamEof(1))]
    );
}

#[test]
fn unknown_calls_are_answered_by_what_the_client_does() {
    let null = [Value::Null, Value::Null];
    let mut peer = Peer::connected();
    peer.call(0, "_checkbw", 0.0, &[Value::Null]);
    peer.call(0, "_result", 0.0, &[Value::Null]);
    assert_eq!(peer.said(), [call(0, "_result", 0.0, &null)]);
    let mut peer = Peer::playing("s");
    peer.call(0, "whatever", 0.0, &[Value::Null]);
    peer.call(0, "whatever", 9.0, &[Value::Null]);
    assert_eq!(peer.said(), [call(0, "_result", 9.0, &null)]);
    let mut peer = Peer::publishing("s");
    peer.call(0, "whatever", 9.0, &[Value::Null]);
    assert_eq!(peer.said(), []);
}

#[test]
fn several_net_streams_live_side_by_side_within_bounds() {
    let mut peer = Peer::connected();
    for _ in 0..3 {
        peer.call(0, "createStream", 2.0, &[Value::Null]);
    }
    let ids: Vec<Said> = peer.said();
    for (index, said) in ids.iter().enumerate() {
        let id = Value::Number(index as f64 + 1.0);
        assert_eq!(*said, call(0, "_result", 2.0, &[Value::Null, id]));
    }
    for msid in [1, 3] {
        peer.call(msid, "publish", 0.0, &[Value::Null, format!("s{msid}").into()]);
        peer.server.accept_publish(peer.now, msid);
    }
    peer.call(2, "play", 0.0, &[Value::Null, "s1".into()]);
    peer.server.accept_play(peer.now, 2);
    peer.events();
    for msid in [1, 2, 3] {
        peer.send(6, 9, msid, &[0x17]);
    }
    let msids: Vec<u32> = peer
        .events()
        .iter()
        .map(|event| match event {
            Event::Media { msid, .. } => *msid,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(msids, [1, 3], "with two publications only exact ids count");
    peer.call(0, "deleteStream", 0.0, &[Value::Null, 1.0.into()]);
    assert_eq!(peer.events(), [Event::Unpublish { msid: 1 }]);
    peer.said();
    peer.call(0, "createStream", 5.0, &[Value::Null]);
    let lowest = call(0, "_result", 5.0, &[Value::Null, 1.0.into()]);
    assert_eq!(peer.said(), [lowest]);
    for _ in 0..6 {
        peer.call(0, "createStream", 2.0, &[Value::Null]);
    }
    assert_eq!(peer.closed(), Close::NetStreams(8));
}

#[test]
fn publish_without_create_stream_makes_one() {
    let mut peer = Peer::connected();
    peer.call(1, "publish", 5.0, &[Value::Null, "s".into()]);
    let Some(Event::PublishAsked(asked)) = peer.server.poll_event() else { panic!() };
    assert_eq!(asked.msid, 1);
}

#[test]
fn a_name_that_is_none_ends_the_session() {
    let mut peer = Peer::connected();
    peer.call(1, "publish", 5.0, &[Value::Null, "".into()]);
    assert_eq!(peer.closed().code(), 2051);
    let mut peer = Peer::connected();
    peer.call(1, "play", 5.0, &[Value::Null, "../x".into()]);
    assert_eq!((peer.closed().code(), peer.server.is_closed()), (2006, true));
}

#[test]
fn pings_are_answered_and_windows_acknowledged() {
    let mut peer = Peer::playing("s");
    peer.send(2, 4, 0, &[0, 6, 0, 0, 1, 2]);
    assert_eq!(peer.said(), [Said::Control(UserControl::PingResponse(0x102))]);
    peer.send(2, 4, 0, &[0, 3, 0, 0, 0, 1, 0, 0, 0x0b, 0xb8]);
    assert_eq!(peer.server.buffer_length_ms(1), 3000);
    peer.send(2, 5, 0, &[0, 0, 0x10, 0]);
    let said = peer.said();
    assert!(matches!(said[..], [Said::Ack(sequence)] if sequence > 3000), "{said:?}");
    peer.send(2, 4, 0, &[0, 7, 0, 0, 1, 2]);
    assert_eq!(peer.said(), []);
}

#[test]
fn the_server_acknowledges_by_its_own_window_too() {
    let mut peer = Peer::shaken();
    peer.connect("rtmp://h/a");
    let options = ConnectOptions { in_ack_size: 10_000, ..ConnectOptions::default() };
    peer.server.accept_connect(peer.now, &options);
    peer.said();
    for _ in 0..100 {
        peer.call(0, "whatever", 1.0, &[Value::Null]);
    }
    let acks = peer.said().iter().filter(|said| matches!(said, Said::Ack(_))).count();
    assert_eq!(acks, 1);
}

#[test]
fn a_redirected_client_is_told_where_and_let_go() {
    let mut peer = Peer::connected();
    peer.call(0, "createStream", 2.0, &[Value::Null]);
    peer.call(1, "play", 3.0, &[Value::Null, "s".into()]);
    peer.said();
    peer.events();
    peer.server.redirect(peer.now, "rtmp://o:19350/live", "rtmp://o:19350/live/s");
    let extra = Value::object([
        ("code", 302.0.into()),
        ("redirect", "rtmp://o:19350/live".into()),
        ("redirect2", "rtmp://o:19350/live/s".into()),
    ]);
    let fields = Value::object([
        ("level", "error".into()),
        ("code", "NetConnection.Connect.Rejected".into()),
        ("description", "RTMP 302 Redirect".into()),
        ("ex", extra),
    ]);
    assert_eq!(peer.said(), [call(0, "onStatus", 0.0, &[Value::Null, fields])]);
    assert_eq!(peer.server.poll_timeout().unwrap() - peer.now, Limits::REDIRECT);
    peer.call(0, "redirected", 0.0, &[Value::Null, "rtmp://o:19350/live".into()]);
    assert_eq!(
        (peer.closed().code(), Close::Redirected.fault()),
        (2997, crate::session::Fault::Nobody)
    );
}

#[test]
fn a_redirect_answers_connect_with_an_error_and_ends_in_time() {
    let mut peer = Peer::shaken();
    peer.connect("rtmp://h/live");
    peer.server.redirect(peer.now, "rtmp://o/live", "rtmp://o/live/s");
    assert!(matches!(&peer.said()[..], [Said::Call { name, .. }] if name == "_error"));
    peer.server.handle_timeout(peer.now + Limits::REDIRECT);
    assert_eq!(peer.closed(), Close::Redirected);
}

#[test]
fn a_handshake_has_its_time_in_total() {
    let mut peer = Peer::new();
    let deadline = peer.server.poll_timeout().unwrap();
    assert_eq!(deadline - peer.now, Limits::HANDSHAKE);
    peer.feed(&[3]);
    for _ in 0..9 {
        peer.now += Duration::from_secs(1);
        peer.feed(&[0]);
    }
    assert_eq!(peer.server.poll_timeout(), Some(deadline));
    peer.server.handle_timeout(peer.now);
    assert!(!peer.server.is_closed());
    peer.server.handle_timeout(deadline);
    assert_eq!((peer.closed(), Close::HandshakeTimeout.code()), (Close::HandshakeTimeout, 1011));
}

#[test]
fn connect_and_publish_each_have_their_time() {
    let mut peer = Peer::shaken();
    assert_eq!(peer.server.poll_timeout().unwrap() - peer.now, Limits::IDENTIFY);
    peer.now += Duration::from_secs(29);
    peer.connect("rtmp://h/a");
    assert_eq!(peer.server.poll_timeout(), None, "now it is the caller's turn");
    peer.server.handle_timeout(peer.now + Limits::IDENTIFY);
    assert!(!peer.server.is_closed(), "a timer that was armed before means nothing");
    peer.server.accept_connect(peer.now, &ConnectOptions::default());
    assert_eq!(peer.server.poll_timeout().unwrap() - peer.now, Limits::IDENTIFY);
    peer.server.handle_timeout(peer.now + Limits::IDENTIFY);
    assert_eq!(peer.closed(), Close::IdentifyTimeout);
}

#[test]
fn a_client_holds_little_before_it_may_publish() {
    let mut peer = Peer::shaken();
    peer.feed(&[6, 0, 0, 0, 1, 0, 1, 9, 1, 0, 0, 0]);
    assert_eq!(peer.closed(), Close::Chunk(chunk::Error::MessageLength(65_537)));
    let mut peer = Peer::shaken();
    for cid in 2..60u8 {
        peer.feed(&[cid, 0, 0, 0, 0, 0xff, 0xff, 9, 1, 0, 0, 0]);
        peer.feed(&[0; 128]);
    }
    let mut chunks = Vec::new();
    for cid in 2..60u8 {
        for _ in 0..10 {
            chunks.push(0xc0 | cid);
            chunks.extend([0; 128]);
        }
    }
    peer.feed(&chunks);
    assert_eq!(peer.closed(), Close::Chunk(chunk::Error::Held(65_536)));
}

#[test]
fn a_publisher_may_send_large_messages_once_it_was_let_in() {
    let mut peer = Peer::publishing("s");
    peer.send(6, 9, 1, &[0x17; 1_000_000]);
    assert!(matches!(&peer.events()[..], [Event::Media { body, .. }] if body.len() == 1_000_000));
}

#[test]
fn a_client_that_asks_and_never_reads_is_let_go() {
    let mut peer = Peer::connected();
    let mut calls = Vec::new();
    for _ in 0..13_000 {
        encode_message(&mut calls, 3, 20, 0, 0, &[b"\x02\x00\x01x"], 128).unwrap();
    }
    for part in calls.chunks(4096) {
        peer.feed(part);
    }
    assert_eq!(peer.closed(), Close::Output(262_144));
    assert!(peer.server.poll_transmit().unwrap().len() < 263_000);
}

#[test]
fn a_client_that_says_all_at_once_is_served_in_order() {
    let mut bytes = vec![3];
    bytes.extend([0; 2 * handshake::BLOCK]);
    let connect = Value::object([("tcUrl", "rtmp://h/live".into())]);
    message::encode_command(&mut bytes, 3, 0, "connect", 1.0, &[connect], 128).unwrap();
    message::encode_command(&mut bytes, 3, 0, "createStream", 2.0, &[Value::Null], 128).unwrap();
    let args = [Value::Null, "s".into()];
    message::encode_command(&mut bytes, 3, 1, "publish", 3.0, &args, 128).unwrap();
    encode_message(&mut bytes, 6, 9, 7, 1, &[&[0x17; 500]], 128).unwrap();
    let mut peer = Peer::new();
    peer.feed(&bytes);
    assert!(matches!(peer.events()[..], [Event::ConnectAsked(_)]));
    peer.server.accept_connect(peer.now, &ConnectOptions::default());
    assert!(matches!(peer.events()[..], [Event::PublishAsked(_)]));
    peer.server.accept_publish(peer.now, 1);
    assert!(matches!(peer.events()[..], [Event::Media { timestamp_ms: 7, .. }]));
}

#[test]
fn other_protocols_are_refused_with_the_first_byte() {
    let mut peer = Peer::new();
    peer.feed(b"GET / HTTP/1.1\r\n");
    assert_eq!(peer.closed().code(), 2000);
    assert_eq!(peer.server.poll_transmit(), None);
    peer.feed(b"more");
    assert_eq!(peer.events(), []);
}

#[test]
fn an_idle_player_holds_almost_nothing() {
    let mut peer = Peer::playing("livestream");
    peer.send(2, 4, 0, &[0, 3, 0, 0, 0, 1, 0, 0, 0x0b, 0xb8]);
    peer.send(2, 3, 0, &[0, 0, 0x10, 0]);
    peer.send(8, 20, 1, b"\x02\x00\x05pause\x00\0\0\0\0\0\0\0\0\x05\x01\x01");
    peer.said();
    peer.events();
    let heap = peer.server.heap_bytes();
    assert!(heap < 600, "{heap} bytes");
    assert!(size_of::<Server>() < 512, "{} bytes", size_of::<Server>());
}

#[test]
fn what_is_said_goes_out_on_its_chunk_stream() {
    let mut peer = Peer::publishing("s");
    peer.call(0, "FCUnpublish", 6.0, &[Value::Null, "s".into()]);
    let output = peer.server.poll_transmit().unwrap();
    assert_eq!(u32::from(output[0]), cid::STREAM);
    assert_eq!(output[8..12], [1, 0, 0, 0]);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        piece in 1usize..2000,
    ) {
        for mut peer in [Peer::new(), Peer::shaken(), Peer::connected(), Peer::playing("s"),
            Peer::publishing("s")]
        {
            for part in bytes.chunks(piece) {
                peer.feed(part);
            }
        }
    }

    #[test]
    fn no_calls_make_it_panic_or_grow(
        calls in prop::collection::vec(
            (prop::sample::select(vec!["connect", "createStream", "publish", "play", "pause",
                "closeStream", "deleteStream", "FCPublish", "FCUnpublish", "seek", "odd"]),
             0u32..4, 0u8..4, any::<bool>()),
            0..40,
        ),
    ) {
        let mut peer = Peer::connected();
        for (name, msid, argument, accept) in calls {
            let argument = match argument {
                0 => Value::Null,
                1 => "name".into(),
                2 => 1.0.into(),
                _ => true.into(),
            };
            peer.call(msid, name, 1.0, &[Value::Null, argument]);
            for event in peer.events() {
                let now = peer.now;
                match event {
                    Event::PublishAsked(asked) if accept => {
                        peer.server.accept_publish(now, asked.msid);
                    }
                    Event::PublishAsked(asked) => {
                        peer.server.refuse_publish(now, asked.msid, "x", "y");
                    }
                    Event::PlayAsked(asked) if accept => peer.server.accept_play(now, asked.msid),
                    Event::PlayAsked(asked) => peer.server.refuse_play(now, asked.msid, "x", "y"),
                    _ => {}
                }
            }
            peer.said();
            prop_assert!(peer.server.is_closed() || peer.server.wants_input());
            prop_assert!(peer.server.heap_bytes() < 2000);
        }
    }
}
