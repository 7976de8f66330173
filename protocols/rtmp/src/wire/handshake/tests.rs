use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::digest::{Signer, answer, sign, verify};
use super::*;

/// Runs a whole handshake in pieces of `piece` bytes and gives both ends.
fn run(client: &mut Client, server: &mut Server, prefix: &[u8], piece: usize) {
    let (mut up, mut down) = (prefix.to_vec(), Vec::new());
    client.start(&mut up);
    let mut done = false;
    for part in up.clone().chunks(piece) {
        let progress = server.handle_bytes(part, &mut down).unwrap();
        assert_eq!(progress.consumed, part.len());
        assert!(!progress.done);
    }
    assert_eq!(down.len(), 1 + 2 * BLOCK);
    let mut c2 = Vec::new();
    for part in down.clone().chunks(piece) {
        done = client.handle_bytes(part, &mut c2).unwrap().done;
    }
    assert!(done);
    assert_eq!(c2.len(), BLOCK);
    c2.extend([0x02, 0xff]);
    let mut taken = 0;
    for part in c2.chunks(piece) {
        let progress = server.handle_bytes(part, &mut down).unwrap();
        taken += progress.consumed;
        done = progress.done;
    }
    assert!(done);
    assert_eq!(taken, BLOCK, "what follows C2 is left alone");
}

proptest! {
    #[test]
    fn client_and_server_agree_whatever_the_split(
        seed in any::<[u8; 32]>(),
        complex in any::<bool>(),
        piece in 1usize..3100,
    ) {
        let mut client = Client::new(seed, complex);
        let mut server = Server::new([7; 32]);
        run(&mut client, &mut server, &[], piece);
        let form = if complex { Form::ComplexSchema0 } else { Form::Simple };
        prop_assert_eq!((client.form(), server.form()), (form, form));
    }

    #[test]
    fn no_bytes_make_it_panic(
        first in prop_oneof![Just(3u8), Just(0xf3), any::<u8>()],
        bytes in prop::collection::vec(any::<u8>(), 0..4000),
        piece in 1usize..4000,
    ) {
        let (mut client, mut server) = (Client::new([1; 32], true), Server::new([2; 32]));
        let mut out = Vec::new();
        let bytes = [&[first][..], &bytes].concat();
        for part in bytes.chunks(piece) {
            if server.handle_bytes(part, &mut out).is_err() {
                break;
            }
        }
        for part in bytes.chunks(piece) {
            if client.handle_bytes(part, &mut out).is_err() {
                break;
            }
        }
    }
}

fn c1(form: Form) -> [u8; BLOCK] {
    let mut block = [0u8; BLOCK];
    for (index, byte) in block.iter_mut().enumerate() {
        *byte = (index * 7 % 251) as u8;
    }
    sign(&mut block, form, Signer::Player);
    block
}

#[test]
fn both_schemas_are_verified_and_answered_in_kind() {
    for form in [Form::ComplexSchema0, Form::ComplexSchema1] {
        let c1 = c1(form);
        let mut server = Server::new([9; 32]);
        let mut out = Vec::new();
        server.handle_bytes(&[&[3][..], &c1].concat(), &mut out).unwrap();
        assert_eq!(server.form(), form);
        let s1: &[u8; BLOCK] = out[1..].first_chunk().unwrap();
        let (s1_form, _) = verify(s1, Signer::Server).unwrap();
        assert_eq!(s1_form, form);
        let (_, c1_digest) = verify(&c1, Signer::Player).unwrap();
        let s2: &[u8; BLOCK] = out.last_chunk().unwrap();
        let mut expected = *s2;
        expected[BLOCK - 32..].fill(0);
        answer(&mut expected, Signer::Server, &c1_digest);
        assert_eq!(*s2, expected);
    }
}

/// C0 and C1 of FFmpeg's player.
const FFMPEG: &[u8] = include_bytes!("../../../testdata/clients/ffmpeg-5.1-play.bin");
/// What nginx-rtmp answered to them.
const NGINX: &[u8] = include_bytes!("../../../testdata/servers/nginx-rtmp-1.2-s0s1s2.bin");

#[test]
fn the_digests_of_other_implementations_are_understood() {
    let c1: &[u8; BLOCK] = FFMPEG[1..].first_chunk().unwrap();
    let (_, c1_digest) = verify(c1, Signer::Player).expect("C1 of FFmpeg is signed");
    let s1: &[u8; BLOCK] = NGINX[1..].first_chunk().unwrap();
    assert!(verify(s1, Signer::Server).is_some(), "S1 of nginx-rtmp is signed");
    let s2: &[u8; BLOCK] = NGINX.last_chunk().unwrap();
    let mut expected = *s2;
    expected[BLOCK - 32..].fill(0);
    answer(&mut expected, Signer::Server, &c1_digest);
    assert_eq!(*s2, expected, "S2 of nginx-rtmp answers the digest of C1");
    // FFmpeg's C2 answered our S1, whose digest is lost, so only its form can be seen here.
    let mut server = Server::new([9; 32]);
    server.handle_bytes(FFMPEG, &mut Vec::new()).unwrap();
    assert_ne!(server.form(), Form::Simple);
}

#[test]
fn a_wrong_digest_falls_back_to_the_simple_form() {
    let mut c1 = c1(Form::ComplexSchema1);
    c1[1535] ^= 1;
    let mut server = Server::new([9; 32]);
    let mut out = Vec::new();
    server.handle_bytes(&[&[3][..], &c1].concat(), &mut out).unwrap();
    assert_eq!(server.form(), Form::Simple);
    assert_eq!(out[1 + BLOCK..], c1, "S2 echoes C1");
    assert_eq!(out[5..9], c1[..4], "S1 echoes the time of C1");
    assert_eq!(out[0], 3);
}

#[test]
fn a_first_byte_of_another_protocol_is_refused_at_once() {
    for byte in [0x06, 0x16, b'G', 0x00] {
        let error = Server::new([0; 32]).handle_bytes(&[byte], &mut Vec::new()).unwrap_err();
        assert_eq!((error, error.code()), (Error::Version(byte), 2000));
        let error = Client::new([0; 32], true).handle_bytes(&[byte], &mut Vec::new()).unwrap_err();
        assert_eq!(error, Error::Version(byte));
    }
}

#[test]
fn a_proxy_prefix_tells_the_address() {
    let mut server = Server::new([0; 32]);
    let prefix = [0xf3, 0, 6, 192, 0, 2, 33, 1, 2];
    for piece in [1, 2, 5, 4000] {
        server = Server::new([0; 32]);
        run(&mut Client::new([1; 32], false), &mut server, &prefix, piece);
        assert_eq!(server.client_addr(), Some(Ipv4Addr::new(192, 0, 2, 33)));
    }
    assert_eq!(server.form(), Form::Simple);
}

#[test]
fn a_proxy_prefix_is_bounded_and_comes_once() {
    let refuse = |bytes: &[u8]| Server::new([0; 32]).handle_bytes(bytes, &mut Vec::new());
    let long = refuse(&[0xf3, 4, 1]).unwrap_err();
    assert_eq!((long, long.code()), (Error::ProxyPrefix(1025), 2054));
    let mut server = Server::new([0; 32]);
    run(&mut Client::new([1; 32], false), &mut server, &[0xf3, 0, 3, 1, 2, 3], 100);
    assert_eq!(server.client_addr(), None, "too short for an address");
    let twice = refuse(&[0xf3, 0, 4, 1, 2, 3, 4, 0xf3, 0, 4]).unwrap_err();
    assert_eq!(twice, Error::Version(0xf3));
}
