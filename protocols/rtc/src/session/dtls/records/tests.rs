use super::*;

fn record(kind: u8, epoch: u16, body: &[u8]) -> Vec<u8> {
    let mut record = vec![kind, 0xfe, 0xfd];
    record.extend_from_slice(&epoch.to_be_bytes());
    record.extend_from_slice(&[0; 6]);
    record.extend_from_slice(&(body.len() as u16).to_be_bytes());
    record.extend_from_slice(body);
    record
}

fn message(kind: u8, offset: u8) -> Vec<u8> {
    let mut body = vec![kind, 0, 0, 100, 0, 0, 0, 0, offset, 0, 0, 3];
    body.extend_from_slice(&[1, 2, 3]);
    record(HANDSHAKE_RECORD, 0, &body)
}

#[test]
fn alerts_in_the_clear_are_found_and_left_out() {
    let mut datagram = record(ALERT, 0, &[2, 40]);
    datagram.extend_from_slice(&message(SERVER_HELLO, 0));
    datagram.extend_from_slice(&record(ALERT, 1, &[2, 41]));
    assert!(whole(&datagram));
    assert_eq!(plain_alert(&datagram), Some(Some(40)));
    let mut rest = Vec::new();
    assert!(!sift(&datagram, true, |_| false, &mut rest));
    assert_eq!(rest, datagram[15..]);
    assert_eq!(plain_alert(&rest), None);
    assert_eq!(plain_alert(&record(ALERT, 0, &[1, 0])), Some(None));
}

#[test]
fn first_messages_are_told_apart() {
    assert!(begins_client_hello(&message(CLIENT_HELLO, 9)));
    assert!(!begins_client_hello(&message(SERVER_HELLO, 0)));
    assert!(begins_server_hello(&message(SERVER_HELLO, 0)));
    assert!(begins_server_hello(&message(HELLO_VERIFY_REQUEST, 0)));
    assert!(!begins_server_hello(&message(SERVER_HELLO, 1)));
    assert!(!begins_server_hello(&message(11, 0)));
    assert!(!begins_client_hello(&record(HANDSHAKE_RECORD, 1, &[1; 20])));
}

#[test]
fn half_records_are_no_datagram() {
    let datagram = message(CLIENT_HELLO, 0);
    assert!(whole(&datagram));
    for len in 0..datagram.len() {
        assert!(!whole(&datagram[..len]), "{len}");
    }
    assert!(whole(&[0x2f, 1, 2]));
}

#[test]
fn what_a_side_never_says_is_left_out() {
    let sifted = |bytes: &[u8], client| {
        let mut rest = Vec::new();
        sift(bytes, client, |_| false, &mut rest);
        rest
    };
    let hello = message(CLIENT_HELLO, 0);
    assert_eq!(sifted(&hello, false), hello);
    assert!(sifted(&hello, true).is_empty());
    for nonsense in [
        message(0, 0),
        message(20, 0),
        // Beyond its end.
        message(CLIENT_HELLO, 98),
        record(HANDSHAKE_RECORD, 0, &[]),
        record(HANDSHAKE_RECORD, 0, &[1, 0, 0]),
        record(HANDSHAKE_RECORD, 0, &[1, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0]),
        record(HANDSHAKE_RECORD, 0, &[1, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0]),
        record(HANDSHAKE_RECORD, 0, &[1, 0xff, 0, 3, 0, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3]),
        record(CHANGE_CIPHER_SPEC, 0, &[2]),
        record(23, 0, b"in the clear"),
    ] {
        assert!(sifted(&nonsense, false).is_empty(), "{nonsense:?}");
        assert_eq!(sifted(&[nonsense, hello.clone()].concat(), false), hello);
    }
    // What is encrypted is not judged.
    let sealed = record(23, 1, &[7; 40]);
    assert_eq!(sifted(&sealed, false), sealed);
}

#[test]
fn a_certificate_that_is_not_the_peers_is_left_out() {
    let chain = |der: &[u8]| {
        let len = der.len() as u8;
        let mut body = vec![11, 0, 0, len + 6, 0, 1, 0, 0, 0, 0, 0, len + 6];
        body.extend_from_slice(&[0, 0, len + 3, 0, 0, len]);
        body.extend_from_slice(der);
        record(HANDSHAKE_RECORD, 0, &body)
    };
    let fits = |der: &[u8]| der == b"theirs";
    let mut rest = Vec::new();
    assert!(!sift(&chain(b"theirs"), false, fits, &mut rest));
    assert_eq!(rest, chain(b"theirs"));
    rest.clear();
    assert!(sift(&chain(b"forged"), false, fits, &mut rest));
    assert!(rest.is_empty());
}
