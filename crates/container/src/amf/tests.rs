use proptest::prelude::*;

use super::*;

fn decode(input: &[u8]) -> Result<Vec<Value>, Error> {
    decode_all(input, &Limits::default())
}

fn encoded(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    encode(value, &mut out);
    out
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<f64>()
            .prop_filter("NaN is unequal to itself", |n| !n.is_nan())
            .prop_map(Value::Number),
        any::<bool>().prop_map(Value::Boolean),
        ".{0,20}".prop_map(Value::String),
        Just(Value::Null),
        Just(Value::Undefined),
        Just(Value::Unsupported),
        any::<u16>().prop_map(Value::Reference),
        (-1e15..1e15, any::<i16>()).prop_map(|(millis, zone)| Value::Date { millis, zone }),
        ".{0,20}".prop_map(Value::Xml),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(Value::ByteArray),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        let properties = prop::collection::vec(("[^\0]{1,8}", inner.clone()), 0..6);
        prop_oneof![
            properties.clone().prop_map(Value::Object),
            properties.clone().prop_map(Value::EcmaArray),
            ("[a-z.]{1,9}", properties)
                .prop_map(|(class, properties)| Value::TypedObject { class, properties }),
            prop::collection::vec(inner, 0..6).prop_map(Value::StrictArray),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same(values in prop::collection::vec(values(), 0..5)) {
        let mut bytes = Vec::new();
        encode_all(&values, &mut bytes);
        prop_assert_eq!(decode(&bytes).unwrap(), values);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode(&bytes);
        let mut amf3 = vec![0x11];
        amf3.extend_from_slice(&bytes);
        let _ = decode(&amf3);
    }

    #[test]
    fn no_mix_of_markers_makes_it_panic(
        bytes in prop::collection::vec(prop_oneof![0u8..0x12, Just(1u8), any::<u8>()], 0..400),
    ) {
        let _ = decode(&bytes);
    }

    #[test]
    fn a_cut_value_never_panics(value in values(), cut in 0usize..200) {
        let bytes = encoded(&value);
        let _ = decode(&bytes[..cut.min(bytes.len())]);
    }
}

#[test]
fn a_connect_command_reads_as_sent() {
    let mut body = Vec::new();
    body.extend_from_slice(b"\x02\x00\x07connect\x00\x3f\xf0\0\0\0\0\0\0\x03");
    body.extend_from_slice(b"\x00\x03app\x02\x00\x04live\x00\x04fpad\x01\x00\x00\x00\x09");
    let values = decode(&body).unwrap();
    assert_eq!(values[0].as_str(), Some("connect"));
    assert_eq!(values[1].as_f64(), Some(1.0));
    assert_eq!(values[2].get("app").and_then(Value::as_str), Some("live"));
    assert_eq!(values[2].get("fpad").and_then(Value::as_bool), Some(false));
    let mut again = Vec::new();
    encode_all(&values, &mut again);
    assert_eq!(again, body);
}

#[test]
fn order_and_duplicates_of_properties_are_kept() {
    let value = Value::object([("b", 1.0.into()), ("a", 2.0.into()), ("b", 3.0.into())]);
    let back = decode(&encoded(&value)).unwrap().remove(0);
    assert_eq!(back, value);
    assert_eq!(back.get("b").and_then(Value::as_f64), Some(1.0));
}

#[test]
fn an_object_without_end_marker_ends_with_the_body() {
    let body = b"\x08\x00\x00\x00\x01\x00\x01w\x00\x40\x00\0\0\0\0\0\0";
    let values = decode(body).unwrap();
    assert_eq!(values, [Value::ecma_array([("w", 2.0.into())])]);
}

#[test]
fn an_object_cut_inside_a_property_is_an_error() {
    let body = b"\x03\x00\x01w\x00\x40\x00";
    assert_eq!(decode(body).unwrap_err(), Error { offset: 5, kind: ErrorKind::Truncated });
}

#[test]
fn nesting_is_read_to_the_limit_and_no_deeper() {
    let nested = |depth: usize| {
        let mut bytes = vec![];
        for _ in 0..depth {
            bytes.extend_from_slice(b"\x03\x00\x01a");
        }
        bytes.push(5);
        bytes
    };
    assert!(decode(&nested(32)).is_ok());
    assert_eq!(decode(&nested(33)).unwrap_err().kind, ErrorKind::Depth(32));
    let arrays: Vec<u8> = [0x0a, 0, 0, 0, 1].repeat(100_000);
    assert_eq!(decode(&arrays).unwrap_err().kind, ErrorKind::Depth(32));
    let amf3: Vec<u8> = std::iter::once(0x11).chain([0x09, 0x03, 0x01].repeat(1000)).collect();
    assert_eq!(decode(&amf3).unwrap_err().kind, ErrorKind::Depth(32));
}

#[test]
fn values_are_counted_whatever_holds_them() {
    assert!(decode(&[5; 4096]).is_ok());
    assert_eq!(decode(&[5; 4097]).unwrap_err().kind, ErrorKind::Nodes(4096));
    let mut object = vec![3];
    for _ in 0..30_000 {
        object.extend_from_slice(b"\x00\x01k\x05");
    }
    assert_eq!(decode(&object).unwrap_err().kind, ErrorKind::Nodes(4096));
    let array = b"\x0a\xff\xff\xff\xff\x05";
    assert_eq!(decode(array).unwrap_err().kind, ErrorKind::Nodes(4096));
}

#[test]
fn a_strict_array_longer_than_the_body_is_refused_at_its_count() {
    let error = decode(b"\x0a\x00\x00\x00\x05\x05").unwrap_err();
    assert_eq!(error, Error { offset: 5, kind: ErrorKind::Truncated });
}

#[test]
fn strings_are_read_to_the_limit_and_no_longer() {
    let long = |length: usize| encoded(&Value::String("x".repeat(length)));
    assert!(decode(&long(65_535)).is_ok());
    assert!(decode(&long(65_536)).is_ok());
    assert_eq!(decode(&long(65_537)).unwrap_err().kind, ErrorKind::String(65_537));
    assert_eq!(decode(b"\x0c\xff\xff\xff\xff").unwrap_err().kind, ErrorKind::String(0xffff_ffff));
}

#[test]
fn a_string_repeated_by_reference_counts_each_time() {
    let mut body = vec![0x11, 0x09, 0x81, 0x01, 0x01];
    let text = "y".repeat(16_384);
    body.extend_from_slice(&[0x06, 0x82, 0x80, 0x01]);
    body.extend_from_slice(text.as_bytes());
    for _ in 0..63 {
        body.extend_from_slice(&[0x06, 0x00]);
    }
    assert!(decode(&body).is_ok());
    let mut body = body.clone();
    body[2] = 0x83;
    for _ in 0..128 {
        body.extend_from_slice(&[0x06, 0x00]);
    }
    assert_eq!(decode(&body).unwrap_err().kind, ErrorKind::Text(1_048_576));
}

#[test]
fn bytes_that_are_no_text_become_replacement_characters() {
    assert_eq!(decode(b"\x02\x00\x02a\xff").unwrap(), [Value::String("a\u{fffd}".into())]);
}

#[test]
fn an_unknown_marker_is_named_with_its_place() {
    let error = decode(b"\x05\x05\x33").unwrap_err();
    assert_eq!(error, Error { offset: 2, kind: ErrorKind::Marker(0x33) });
}

#[test]
fn amf3_scalars_read_behind_the_switch() {
    let body = [
        &[0x11u8, 0x00, 0x11, 0x01, 0x11, 0x02, 0x11, 0x03][..],
        &[0x11, 0x04, 0x07],
        &[0x11, 0x04, 0xff, 0xff, 0xff, 0xff],
        &[0x11, 0x05, 0x40, 0, 0, 0, 0, 0, 0, 0],
        &[0x11, 0x06, 0x05, b'h', b'i'],
        &[0x11, 0x06, 0x00],
        &[0x11, 0x0c, 0x05, 1, 2],
        &[0x11, 0x08, 0x01, 0, 0, 0, 0, 0, 0, 0, 0],
        &[0x11, 0x0d, 0x05, 0x00, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1],
    ]
    .concat();
    assert_eq!(
        decode(&body).unwrap(),
        [
            Value::Undefined,
            Value::Null,
            Value::Boolean(false),
            Value::Boolean(true),
            Value::Number(7.0),
            Value::Number(-1.0),
            Value::Number(2.0),
            "hi".into(),
            "hi".into(),
            Value::ByteArray(vec![1, 2]),
            Value::Date { millis: 0.0, zone: 0 },
            Value::StrictArray(vec![Value::Number(-1.0), Value::Number(1.0)]),
        ]
    );
}

#[test]
fn amf3_objects_read_by_traits_and_by_reference_to_traits() {
    let body = [
        // Sealed member "a", dynamic; a = 1; dynamic "b" = "a".
        &[0x11u8, 0x0a, 0x1b, 0x01, 0x03, b'a', 0x04, 0x01][..],
        &[0x03, b'b', 0x06, 0x00, 0x01],
        // The same traits again: a = 2, nothing dynamic.
        &[0x11, 0x0a, 0x01, 0x04, 0x02, 0x01],
        // The first object again.
        &[0x11, 0x0a, 0x00],
    ]
    .concat();
    assert_eq!(
        decode(&body).unwrap(),
        [
            Value::object([("a", 1.0.into()), ("b", "a".into())]),
            Value::object([("a", 2.0.into())]),
            Value::Reference(0),
        ]
    );
    assert_eq!(decode(&[0x11, 0x0a, 0x04]).unwrap_err().kind, ErrorKind::Reference(2));
}

#[test]
fn amf3_arrays_read_named_and_dense_parts() {
    let body = [0x11, 0x09, 0x05, 0x03, b'k', 0x03, 0x01, 0x01, 0x02];
    assert_eq!(
        decode(&body).unwrap(),
        [Value::ecma_array([("k", true.into()), ("0", Value::Null), ("1", false.into())])]
    );
    let dense = [0x11, 0x09, 0x03, 0x01, 0x04, 0x05];
    assert_eq!(decode(&dense).unwrap(), [Value::StrictArray(vec![5.0.into()])]);
}

#[test]
fn a_prefix_leaves_the_rest_alone() {
    let (values, taken) = decode_prefix(b"\x02\x00\x01a\x05\x33", 2, &Limits::default()).unwrap();
    assert_eq!(values, ["a".into(), Value::Null]);
    assert_eq!(taken, 5);
}
