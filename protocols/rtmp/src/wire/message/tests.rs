use super::*;
use proptest::prelude::*;

use crate::wire::chunk;

fn decode(type_id: u8, body: &[u8]) -> Result<Incoming, Error> {
    let body = Bytes::copy_from_slice(body);
    let message = Message { type_id, timestamp_ms: 1000, stream_id: 1, body };
    Incoming::decode(message, &amf::Limits::default())
}

/// What a peer makes of bytes that were encoded here.
fn read_back(bytes: &[u8]) -> Incoming {
    let mut decoder = chunk::Decoder::new(chunk::Limits::default());
    let (taken, message) = decoder.decode(bytes).unwrap();
    assert_eq!(taken, bytes.len());
    Incoming::decode(message.unwrap(), &amf::Limits::default()).unwrap()
}

#[test]
fn control_messages_survive_a_round_trip() {
    let mut out = Vec::new();
    encode_ack(&mut out, 7, 128);
    assert_eq!(read_back(&out), Incoming::Ack(7));
    out.clear();
    encode_window_ack_size(&mut out, 2_500_000, 128);
    assert_eq!(read_back(&out), Incoming::WindowAckSize(2_500_000));
    out.clear();
    encode_set_peer_bandwidth(&mut out, 2_500_000, 128);
    assert_eq!(read_back(&out), Incoming::SetPeerBandwidth(2_500_000));
    for event in [
        UserControl::StreamBegin(1),
        UserControl::StreamEof(2),
        UserControl::StreamDry(3),
        UserControl::SetBufferLength { stream_id: 1, millis: 3000 },
        UserControl::StreamIsRecorded(4),
        UserControl::PingRequest(5),
        UserControl::PingResponse(6),
    ] {
        out.clear();
        event.encode(&mut out, 128);
        assert_eq!(read_back(&out), Incoming::UserControl(event));
    }
}

#[test]
fn commands_survive_a_round_trip() {
    let mut out = Vec::new();
    let args = [Value::Null, "livestream".into(), true.into()];
    encode_command(&mut out, 3, 0, "publish", 4.0, &args, 4096).unwrap();
    let command = Command { name: "publish".into(), transaction: 4.0, args: args.into() };
    assert_eq!(read_back(&out), Incoming::Command(command));
}

#[test]
fn an_amf3_command_is_amf0_behind_one_byte() {
    let amf0 = b"\x02\x00\x01x\x00\x3f\xf0\0\0\0\0\0\0\x05";
    let expected = decode(kind::COMMAND, amf0).unwrap();
    let amf3 = [&[0u8][..], amf0].concat();
    assert_eq!(decode(kind::COMMAND_AMF3, &amf3).unwrap(), expected);
    assert_eq!(decode(kind::COMMAND_AMF3, amf0).unwrap(), expected);
}

#[test]
fn a_command_needs_a_name() {
    assert_eq!(decode(kind::COMMAND, b"\x05\x05").unwrap_err(), Error::Command);
    let Incoming::Command(command) = decode(kind::COMMAND, b"\x02\x00\x01x").unwrap() else {
        panic!("a lone name is a command");
    };
    assert_eq!((command.name.as_str(), command.transaction), ("x", 0.0));
}

#[test]
fn fields_that_are_cut_are_errors() {
    for type_id in [kind::ACK, kind::WINDOW_ACK_SIZE, kind::SET_PEER_BANDWIDTH] {
        assert_eq!(decode(type_id, &[1, 2, 3]), Err(Error::Short { type_id, length: 3 }));
    }
    let error = decode(kind::USER_CONTROL, &[0, 3, 0, 0, 0, 1]).unwrap_err();
    assert_eq!(error, Error::Short { type_id: 4, length: 6 });
}

#[test]
fn an_event_of_one_byte_that_flash_media_server_sends_is_let_pass() {
    let event = decode(kind::USER_CONTROL, &[0, 0x1a, 1]).unwrap();
    assert_eq!(event, Incoming::UserControl(UserControl::Other(0x1a)));
}

#[test]
fn empty_messages_and_unknown_types_are_ignored() {
    for type_id in [kind::AUDIO, kind::VIDEO, kind::DATA, kind::COMMAND, kind::ACK] {
        assert_eq!(decode(type_id, &[]).unwrap(), Incoming::Ignored);
    }
    for type_id in [0, 16, 19, 21, 255] {
        assert_eq!(decode(type_id, &[1, 2]).unwrap(), Incoming::Ignored);
    }
}

#[test]
fn metadata_loses_the_wish_to_be_set() {
    let body = b"\x02\x00\x0d@setDataFrame\x02\x00\x0aonMetaData\x05";
    let plain = Incoming::Media(Media::Data, Bytes::from_static(b"\x02\x00\x0aonMetaData\x05"));
    assert_eq!(decode(kind::DATA, body).unwrap(), plain);
    let amf3 = [&[0u8][..], body].concat();
    assert_eq!(decode(kind::DATA_AMF3, &amf3).unwrap(), plain);
    assert_eq!(decode(kind::DATA, b"\x02\x00\x0aonMetaData\x05").unwrap(), plain);
    let clear = decode(kind::DATA, b"\x02\x00\x0f@clearDataFrame\x05").unwrap();
    assert_eq!(clear, Incoming::Ignored);
    assert_eq!(decode(kind::DATA, &[0, 1, 2, 3]).unwrap(), Incoming::Ignored);
}

fn tag(type_id: u8, time: u32, body: &[u8]) -> Vec<u8> {
    let [t3, t2, t1, t0] = time.to_be_bytes();
    let length = body.len() as u8;
    let head = [type_id, 0, 0, length, t2, t1, t0, t3, 0, 0, 0];
    [&head[..], body, &[0, 0, 0, 11 + length]].concat()
}

fn aggregate(body: &[u8]) -> Vec<(Media, u32, Bytes)> {
    let Incoming::Aggregate(aggregate) = decode(kind::AGGREGATE, body).unwrap() else {
        panic!("an aggregate");
    };
    aggregate.collect()
}

#[test]
fn an_aggregate_is_split_and_moved_to_its_own_time() {
    let body = [
        tag(8, 0x0100_0000, &[1]),
        tag(9, 0x0100_000a, &[2, 3]),
        tag(9, 0x0100_000b, &[]),
        tag(99, 0x0100_000b, &[9]),
        tag(8, 0x00ff_ffff, &[4]),
    ]
    .concat();
    let expected = [
        (Media::Audio, 1000, Bytes::from_static(&[1])),
        (Media::Video, 1010, Bytes::from_static(&[2, 3])),
        (Media::Audio, 999, Bytes::from_static(&[4])),
    ];
    assert_eq!(aggregate(&body), expected);
}

#[test]
fn an_aggregate_that_is_cut_gives_what_is_whole() {
    let body = [tag(8, 0, &[1]), tag(9, 0, &[2, 3])].concat();
    assert_eq!(aggregate(&body[..body.len() - 4]).len(), 2);
    assert_eq!(aggregate(&body[..body.len() - 5]).len(), 1);
    assert_eq!(aggregate(&body[..12]).len(), 1);
    assert_eq!(aggregate(&body[..11]).len(), 0);
}

#[test]
fn an_aggregate_ends_at_its_most_messages() {
    let body = tag(8, 0, &[1]).repeat(Aggregate::MAX + 1);
    assert_eq!(aggregate(&body).len(), Aggregate::MAX);
}

proptest! {
    #[test]
    fn no_message_makes_it_panic(
        type_id in 0u8..24,
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        if let Ok(Incoming::Aggregate(aggregate)) = decode(type_id, &body) {
            prop_assert!(aggregate.count() <= body.len());
        }
    }
}
