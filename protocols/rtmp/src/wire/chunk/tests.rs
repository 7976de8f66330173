use proptest::prelude::*;

use super::*;

fn decoder() -> Decoder {
    Decoder::new(Limits::default())
}

/// All messages of `bytes`, fed in pieces of `piece` bytes.
fn decode_with(decoder: &mut Decoder, bytes: &[u8], piece: usize) -> Result<Vec<Message>, Error> {
    let mut messages = Vec::new();
    for mut part in bytes.chunks(piece.max(1)) {
        while !part.is_empty() {
            let (taken, message) = decoder.decode(part)?;
            assert!((taken > 0 || message.is_some()) && taken <= part.len());
            messages.extend(message);
            part = &part[taken..];
        }
    }
    Ok(messages)
}

fn decode(bytes: &[u8]) -> Result<Vec<Message>, Error> {
    decode_with(&mut decoder(), bytes, usize::MAX)
}

fn set_chunk_size(size: u32) -> Vec<u8> {
    let mut out = Vec::new();
    encode_message(&mut out, 2, 1, 0, 0, &[&size.to_be_bytes()], 128).unwrap();
    out
}

fn message(type_id: u8, timestamp_ms: u32, stream_id: u32, body: &[u8]) -> Message {
    Message { type_id, timestamp_ms, stream_id, body: Bytes::copy_from_slice(body) }
}

fn messages() -> impl Strategy<Value = Vec<(u32, Message)>> {
    let times = prop_oneof![any::<u32>(), 0xff_fff0u32..0x100_0010, 0u32..1000];
    let cids = prop_oneof![2u32..64, 64u32..400, 60_000u32..65_600];
    let one = (cids, 3u8..23, times, any::<u32>(), prop::collection::vec(any::<u8>(), 0..1500));
    prop::collection::vec(one, 0..12).prop_map(|all| {
        let each = |(cid, type_id, time, id, body): (u32, u8, u32, u32, Vec<u8>)| {
            (cid, message(type_id, time, id, &body))
        };
        all.into_iter().map(each).collect()
    })
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same_at_any_chunk_size_and_split(
        messages in messages(),
        size in 128u32..5000,
        piece in 1usize..4000,
    ) {
        let mut bytes = set_chunk_size(size);
        for (cid, m) in &messages {
            let (one, two) = m.body.split_at(m.body.len() / 3);
            let parts = [one, two];
            encode_message(&mut bytes, *cid, m.type_id, m.timestamp_ms, m.stream_id, &parts, size)
                .unwrap();
        }
        let expected: Vec<Message> = messages.into_iter().map(|(_, message)| message).collect();
        let mut decoder = decoder();
        prop_assert_eq!(decode_with(&mut decoder, &bytes, piece).unwrap(), expected);
        prop_assert_eq!((decoder.held, decoder.reserved), (0, 0));
    }

    #[test]
    fn no_bytes_make_it_panic(
        bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(0xc3u8), any::<u8>()], 0..600),
        piece in 1usize..100,
    ) {
        let _ = decode_with(&mut decoder(), &bytes, piece);
    }

    #[test]
    fn the_split_of_the_input_changes_nothing(
        bytes in prop::collection::vec(prop_oneof![0u8..8, Just(0xc3u8), any::<u8>()], 0..300),
        piece in 1usize..40,
    ) {
        let whole = decode(&bytes);
        let split = decode_with(&mut decoder(), &bytes, piece);
        prop_assert_eq!(whole, split);
    }
}

#[test]
fn a_message_is_cut_at_the_chunk_size() {
    let mut out = Vec::new();
    encode_message(&mut out, 6, 9, 0x0001_0203, 1, &[&[1, 2, 3], &[4, 5]], 4).unwrap();
    let expected = [6, 1, 2, 3, 0, 0, 5, 9, 1, 0, 0, 0, 1, 2, 3, 4, 0xc6, 5];
    assert_eq!(out, expected);
}

#[test]
fn an_extended_timestamp_stands_in_every_chunk() {
    let mut out = Vec::new();
    encode_message(&mut out, 64, 9, 0xff_ffff, 1, &[&[1, 2, 3]], 2).unwrap();
    let head = [0, 0, 0xff, 0xff, 0xff, 0, 0, 3, 9, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 1, 2];
    assert_eq!(out[..19], head);
    assert_eq!(out[19..], [0xc0, 0, 0, 0xff, 0xff, 0xff, 3]);
}

#[test]
fn an_encoded_message_of_no_bytes_is_one_header() {
    let mut out = Vec::new();
    encode_message(&mut out, 3, 20, 0, 0, &[], 128).unwrap();
    assert_eq!(out.len(), 12);
    assert_eq!(decode(&out).unwrap(), [message(20, 0, 0, &[])]);
}

#[test]
fn a_message_beyond_24_bits_is_refused_and_nothing_written() {
    let mut out = Vec::new();
    let body = vec![0; 0x100_0000];
    let result = encode_message(&mut out, 3, 20, 0, 0, &[&body], 128);
    assert_eq!((result, out.len()), (Err(TooLong(0x100_0000)), 0));
}

#[test]
fn shorter_headers_repeat_what_came_before() {
    let bytes = [
        &[4, 0, 0, 10, 0, 0, 1, 8, 1, 0, 0, 0, 0xa0][..], // at 10
        &[0x44, 0, 0, 5, 0, 0, 2, 9, 0xb0, 0xb1],         // +5, other length and type
        &[0x84, 0, 0, 7, 0xc0, 0xc1],                     // +7
        &[0xc4, 0xd0, 0xd1],                              // +7 again
    ]
    .concat();
    let expected = [
        message(8, 10, 1, &[0xa0]),
        message(9, 15, 1, &[0xb0, 0xb1]),
        message(9, 22, 1, &[0xc0, 0xc1]),
        message(9, 29, 1, &[0xd0, 0xd1]),
    ];
    for piece in 1..bytes.len() {
        assert_eq!(decode_with(&mut decoder(), &bytes, piece).unwrap(), expected);
    }
}

#[test]
fn chunks_of_several_streams_interleave() {
    let mut video = Vec::new();
    encode_message(&mut video, 6, 9, 0, 1, &[&[9; 200]], 128).unwrap();
    let mut audio = Vec::new();
    encode_message(&mut audio, 7, 8, 0, 1, &[&[8; 20]], 128).unwrap();
    let (first, second) = video.split_at(12 + 128);
    let bytes = [first, &audio, second].concat();
    assert_eq!(decode(&bytes).unwrap(), [message(8, 0, 1, &[8; 20]), message(9, 0, 1, &[9; 200])]);
}

/// A message of 130 bytes at a time that needs 32 bits; the continuation as told.
fn extended(continuation: &[u8]) -> Vec<u8> {
    let head = [6, 0xff, 0xff, 0xff, 0, 0, 130, 9, 1, 0, 0, 0, 1, 2, 3, 4];
    [&head[..], &[7; 128], continuation].concat()
}

#[test]
fn a_continuation_may_repeat_the_extended_timestamp_or_not() {
    let mut body = vec![7; 128];
    body.extend([5, 6]);
    let expected = [message(9, 0x0001_020304, 1, &body)];
    let repeated = extended(&[0xc6, 1, 2, 3, 4, 5, 6]);
    let omitted = extended(&[0xc6, 5, 6]);
    for piece in 1..200 {
        assert_eq!(decode_with(&mut decoder(), &repeated, piece).unwrap(), expected);
        assert_eq!(decode_with(&mut decoder(), &omitted, piece).unwrap(), expected);
    }
}

#[test]
fn a_new_message_as_before_adds_the_extended_difference_or_takes_the_absolute_time() {
    let bytes = [
        &[6, 0, 0, 1, 0, 0, 1, 9, 1, 0, 0, 0, 0xa0][..],
        &[0x86, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0xa1],
        &[0xc6, 1, 0, 0, 0, 0xa2],
        &[0xc6, 3, 0, 0, 0, 0xa3],
    ]
    .concat();
    let times: Vec<u32> = decode(&bytes).unwrap().iter().map(|m| m.timestamp_ms).collect();
    assert_eq!(times, [1, 0x0100_0001, 0x0200_0001, 0x0300_0000]);
}

#[test]
fn timestamps_wrap_at_32_bits() {
    let bytes = [
        &[6, 0xff, 0xff, 0xff, 0, 0, 1, 9, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xfe, 0xa0][..],
        &[0x86, 0, 0, 5, 0xa1],
    ]
    .concat();
    assert_eq!(decode(&bytes).unwrap()[1].timestamp_ms, 3);
}

#[test]
fn a_chunk_stream_may_start_with_fmt_1_but_not_with_2_or_3() {
    let ping = [0x42, 0, 0, 0, 0, 0, 6, 4, 0, 6, 0, 0, 0, 1];
    assert_eq!(decode(&ping).unwrap(), [message(4, 0, 0, &[0, 6, 0, 0, 0, 1])]);
    assert_eq!(decode(&[0x85, 0, 0, 0]).unwrap_err(), Error::Start { cid: 5, fmt: 2 });
    assert_eq!(decode(&[0xc5]).unwrap_err(), Error::Start { cid: 5, fmt: 3 });
    assert_eq!(decode(&[0xc5]).unwrap_err().code(), 2001);
}

#[test]
fn a_new_header_inside_a_message_is_an_error() {
    let mut bytes = vec![6, 0, 0, 0, 0, 0, 130, 9, 1, 0, 0, 0];
    bytes.extend([7; 128]);
    let with = |header: &[u8]| decode(&[&bytes[..], header].concat()).unwrap_err();
    let fresh = with(&[6, 0, 0, 0, 0, 0, 130, 9, 1, 0, 0, 0]);
    assert_eq!(fresh, Error::Interrupted { cid: 6, fmt: 0 });
    let longer = with(&[0x46, 0, 0, 0, 0, 0, 131, 9]);
    assert_eq!(longer, Error::LengthChange { cid: 6, from: 130, to: 131 });
    assert_eq!((fresh.code(), longer.code()), (2001, 2013));
}

#[test]
fn a_continuation_may_have_a_fuller_header() {
    let mut bytes = vec![6, 0, 0, 9, 0, 0, 130, 9, 1, 0, 0, 0];
    bytes.extend([7; 128]);
    bytes.extend([0x46, 0, 0, 3, 0, 0, 130, 9, 7, 7]);
    assert_eq!(decode(&bytes).unwrap(), [message(9, 9, 1, &[7; 130])]);
}

#[test]
fn chunk_sizes_are_taken_from_128_on() {
    let mut decoder = decoder();
    assert!(decode_with(&mut decoder, &set_chunk_size(128), 99).unwrap().is_empty());
    decode_with(&mut decoder, &set_chunk_size(65_537), 99).unwrap();
    assert_eq!(decoder.chunk_size(), 65_537);
    decode_with(&mut decoder, &set_chunk_size(0x7fff_ffff), 99).unwrap();
    assert_eq!(decoder.chunk_size(), MAX_MESSAGE_LENGTH);
    let error = decode(&set_chunk_size(127)).unwrap_err();
    assert_eq!((error, error.code()), (Error::ChunkSize(127), 2010));
}

#[test]
fn a_chunk_size_that_changes_inside_a_message_is_an_error() {
    let mut bytes = vec![6, 0, 0, 0, 0, 0, 130, 9, 1, 0, 0, 0];
    bytes.extend([7; 128]);
    bytes.extend(set_chunk_size(4096));
    assert_eq!(decode(&bytes).unwrap_err(), Error::ChunkSizeInMessage(4096));
}

#[test]
fn an_aborted_message_is_forgotten() {
    let mut bytes = vec![6, 0, 0, 0, 0, 0, 130, 9, 1, 0, 0, 0];
    bytes.extend([7; 128]);
    encode_message(&mut bytes, 2, 2, 0, 0, &[&6u32.to_be_bytes()], 128).unwrap();
    bytes.extend([6, 0, 0, 0, 0, 0, 1, 8, 1, 0, 0, 0, 5]);
    let mut decoder = decoder();
    let messages = decode_with(&mut decoder, &bytes, 1000).unwrap();
    assert_eq!(messages, [message(8, 0, 1, &[5])]);
    assert_eq!((decoder.held, decoder.reserved), (0, 0));
}

#[test]
fn control_messages_shorter_than_their_fields_are_errors() {
    let bytes = [2, 0, 0, 0, 0, 0, 3, 1, 0, 0, 0, 0, 1, 2, 3];
    assert_eq!(decode(&bytes).unwrap_err(), Error::ShortControl { type_id: 1, length: 3 });
}

#[test]
fn chunk_streams_are_counted() {
    let mut bytes = Vec::new();
    for cid in 2..67 {
        encode_message(&mut bytes, cid, 8, 0, 0, &[&[0]], 128).unwrap();
    }
    assert_eq!(decode(&bytes).unwrap_err(), Error::ChunkStreams(64));
    bytes.truncate(62 * 13 + 2 * 14);
    assert_eq!(decode(&bytes).unwrap().len(), 64);
}

#[test]
fn a_message_beyond_the_limit_is_refused_at_its_header() {
    let mut decoder = Decoder::new(Limits { message: 1000, ..Limits::default() });
    let bytes = [6, 0, 0, 0, 0, 3, 0xe9, 9, 1, 0, 0, 0];
    let error = decode_with(&mut decoder, &bytes, 99).unwrap_err();
    assert_eq!((error, error.code()), (Error::MessageLength(1001), 2013));
}

#[test]
fn unfinished_messages_are_counted_together_and_buy_no_memory_by_their_length() {
    let limits = Limits { held: 65_536, ..Limits::default() };
    let mut decoder = Decoder::new(limits);
    let chunk = |cid: u8| {
        let mut bytes = vec![cid, 0, 0, 0, 0x9f, 0xff, 0xff, 9, 1, 0, 0, 0];
        bytes.extend([7; 128]);
        bytes
    };
    let all: Vec<u8> = (2..60).flat_map(chunk).collect();
    decode_with(&mut decoder, &all, usize::MAX).unwrap();
    assert_eq!(decoder.held(), 58 * 128);
    assert!(decoder.heap_bytes() < 65_536 + 2 * 58 * 128 + 64 * 100, "{}", decoder.heap_bytes());
    let mut more = Vec::new();
    for _ in 0..600 {
        more.push(0xc2);
        more.extend([7; 128]);
    }
    let error = decode_with(&mut decoder, &more, 4096).unwrap_err();
    assert_eq!(error, Error::Held(65_536));
}

#[test]
fn a_body_holds_no_more_than_its_length() {
    let mut bytes = Vec::new();
    encode_message(&mut bytes, 6, 9, 0, 1, &[&[7; 100_000]], 128).unwrap();
    let mut decoder = decoder();
    let message = decode_with(&mut decoder, &bytes, 1461).unwrap().remove(0);
    let vec: Vec<u8> = message.body.into();
    assert_eq!((vec.len(), vec.capacity()), (100_000, 100_000));
    assert!(decoder.heap_bytes() < 500);
}

#[test]
fn payload_that_begins_like_an_unrepeated_extended_timestamp_survives_every_cut() {
    // The time 0x01020304 is not repeated; the second chunk's payload begins with 1, 2 and 3, and
    // may be so short that the next message's header follows at once.
    for length in [129u8, 130, 131, 132, 140] {
        let mut body = vec![7; 128];
        body.extend((1..=3).chain([9; 20]).take(usize::from(length) - 128));
        let mut bytes = vec![6, 0xff, 0xff, 0xff, 0, 0, length, 9, 1, 0, 0, 0, 1, 2, 3, 4];
        bytes.extend(&body[..128]);
        bytes.push(0xc6);
        bytes.extend(&body[128..]);
        // Another chunk stream, whose header begins like the rest of the time.
        bytes.extend([2, 3, 0, 0, 0, 0, 1, 9, 1, 0, 0, 0, 5]);
        for cut in 1..=bytes.len() {
            let messages = decode_with(&mut decoder(), &bytes, cut).unwrap();
            assert_eq!(messages.len(), 2, "{length} bytes cut at {cut}");
            assert_eq!(messages[0].body, body, "{length} bytes cut at {cut}");
            assert_eq!(messages[1].body, [5][..], "{length} bytes cut at {cut}");
        }
    }
}
