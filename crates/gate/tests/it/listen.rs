//! Ports that are opened, kept and closed by reloads, and certificates that are replaced.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use gate::conf::Listen;
use gate::tls::Certificate;
use gate::{Guest, ListenerSet, PrepareError, Wanted};
use tokio::io::AsyncReadExt;

use crate::rig::*;

const LOCAL: Option<IpAddr> = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));

/// Greets everybody with `word` and the address it sees, then echoes one byte.
fn wanted(ip: Option<IpAddr>, port: u16, word: &'static str) -> Wanted {
    Wanted {
        listen: Listen { ip, port },
        certificate: None,
        handler: Arc::new(move |shard, served| {
            let reader = shard.clone();
            shard.spawn("greet", async move {
                let hello = format!("{word} {}\n", served.peer.ip());
                let _ = served.socket.write_all(hello.as_bytes()).await;
                let mut got = Vec::new();
                while let Ok(Some(())) = served.socket.read(&reader, |b| got.extend(b)).await {
                    let _ = served.socket.write_all(&got).await;
                    got.clear();
                }
                drop(served.permit);
            });
        }),
        guest: None,
        label: "test",
    }
}

fn listen(rig: &Rig, set: &ListenerSet, wanted: Vec<Wanted>) -> Vec<String> {
    let bound = set.prepare(wanted).unwrap();
    set.commit(&rig.host, bound)
}

fn greeting(tcp: &mut TcpStream) -> String {
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut line = Vec::new();
    let mut byte = [0];
    while tcp.read(&mut byte).unwrap() > 0 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

#[test]
fn an_address_that_cannot_be_had_leaves_the_old_ones_as_they_were() {
    let rig = Rig::new(&[]);
    let set = ListenerSet::default();
    listen(&rig, &set, vec![wanted(LOCAL, 0, "old")]);
    let address = set.addresses()[0];
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let failed = set.prepare(vec![wanted(LOCAL, 0, "new"), wanted(LOCAL, port, "new")]);
    let Err(PrepareError::Bind { error, .. }) = failed else { panic!("the port is taken") };
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert_eq!(set.addresses(), [address]);
    assert_eq!(greeting(&mut TcpStream::connect(address).unwrap()), "old 127.0.0.1");
}

#[test]
fn a_port_that_stays_gets_its_new_service_and_one_that_goes_closes() {
    let rig = Rig::new(&[]);
    let set = ListenerSet::default();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let lines = listen(&rig, &set, vec![wanted(LOCAL, 0, "one"), wanted(LOCAL, free, "two")]);
    assert_eq!(lines.len(), 2);
    let stays = set.addresses().into_iter().find(|a| a.port() != free).unwrap();
    let mut before = TcpStream::connect(("127.0.0.1", free)).unwrap();
    assert_eq!(greeting(&mut before), "two 127.0.0.1");
    let lines = listen(&rig, &set, vec![wanted(LOCAL, 0, "new")]);
    assert_eq!(lines, [format!("stopped listening at 127.0.0.1:{free}")]);
    assert_eq!(greeting(&mut TcpStream::connect(stays).unwrap()), "new 127.0.0.1");
    eventually("the port is closed", || TcpStream::connect(("127.0.0.1", free)).is_err());
    before.write_all(b"x").unwrap();
    let mut byte = [0];
    before.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"x", "who was connected stays connected");
    set.close();
    eventually("all are closed", || TcpStream::connect(stays).is_err());
}

#[test]
fn a_guest_gets_what_begins_as_its_own_does_and_the_owner_the_rest() {
    let rig = Rig::new(&[]);
    let set = ListenerSet::default();
    let guest = wanted(LOCAL, 0, "guest");
    let guest = Guest { takes: |first| first < 2, handler: guest.handler, label: "guest" };
    listen(&rig, &set, vec![Wanted { guest: Some(guest), ..wanted(LOCAL, 0, "owner") }]);
    let address = set.addresses()[0];
    for (first, whose) in [(0, "guest"), (1, "guest"), (2, "owner"), (b'G', "owner")] {
        let mut tcp = TcpStream::connect(address).unwrap();
        tcp.write_all(&[first, 7]).unwrap();
        assert_eq!(greeting(&mut tcp), format!("{whose} 127.0.0.1"));
        let mut both = [0; 2];
        tcp.read_exact(&mut both).unwrap();
        assert_eq!(both, [first, 7], "nothing is taken from its bytes");
    }
    // Who leaves without a word is forgotten.
    let before = rig.host.connections.load(Relaxed);
    drop(TcpStream::connect(address).unwrap());
    eventually("it is gone", || rig.host.connections.load(Relaxed) <= before);
    // A reload that takes the guest away leaves the port as it was.
    listen(&rig, &set, vec![wanted(LOCAL, 0, "alone")]);
    assert_eq!(greeting(&mut TcpStream::connect(address).unwrap()), "alone 127.0.0.1");
}

#[test]
fn without_an_address_both_families_are_served_and_ipv4_looks_like_ipv4() {
    let rig = Rig::new(&[]);
    let set = ListenerSet::default();
    listen(&rig, &set, vec![wanted(None, 0, "hi")]);
    let port = set.addresses()[0].port();
    let mut v4 = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    assert_eq!(greeting(&mut v4), "hi 127.0.0.1");
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        let mut v6 = TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
        assert_eq!(greeting(&mut v6), "hi ::1");
    }
}

#[test]
fn who_is_refused_is_hung_up_on_and_a_place_is_free_when_a_connection_ends() {
    let rig = Rig::new(&[("max_connections", "1")]);
    let set = ListenerSet::default();
    listen(&rig, &set, vec![wanted(LOCAL, 0, "hi")]);
    let address = set.addresses()[0];
    let mut first = TcpStream::connect(address).unwrap();
    assert_eq!(greeting(&mut first), "hi 127.0.0.1");
    let mut second = TcpStream::connect(address).unwrap();
    second.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(!matches!(second.read(&mut [0]), Ok(n) if n > 0));
    drop(first);
    eventually("the place is free", || rig.host.connections.load(Relaxed) == 0);
    assert_eq!(greeting(&mut TcpStream::connect(address).unwrap()), "hi 127.0.0.1");
}

fn encrypted(files: &Files) -> Wanted {
    let certificate = Certificate::load(&files.cert(), &files.key(), &[b"http/1.1"]).unwrap();
    Wanted { certificate: Some(certificate), ..wanted(LOCAL, 0, "secret") }
}

fn secret(
    rig: &Rig,
    address: SocketAddr,
    root: &rustls::pki_types::CertificateDer<'static>,
) -> bool {
    let Ok(mut tls) = rig.tls(address, root, &[b"http/1.1"]) else { return false };
    let mut hello = [0; 17];
    rig.block_on(tls.read_exact(&mut hello)).unwrap();
    assert_eq!(&hello, b"secret 127.0.0.1\n");
    true
}

#[test]
fn a_certificate_is_replaced_in_service_and_a_faulty_one_is_not_taken() {
    let rig = Rig::new(&[]);
    let set = ListenerSet::default();
    let (mut files, old) = Files::new();
    listen(&rig, &set, vec![encrypted(&files)]);
    let address = set.addresses()[0];
    assert!(secret(&rig, address, &old));
    let new = files.renew();
    assert!(!secret(&rig, address, &new), "not before it is looked at");
    set.refresh_certificates();
    assert!(secret(&rig, address, &new));
    assert!(!secret(&rig, address, &old));
    files.write("no certificate", "no key");
    set.refresh_certificates();
    assert!(secret(&rig, address, &new), "the old one stays");
    let newer = files.renew();
    set.refresh_certificates();
    assert!(secret(&rig, address, &newer));
}

#[test]
fn who_does_not_finish_the_tls_handshake_in_time_loses_its_place() {
    let rig = Rig::new(&[("limits.handshake_timeout", "0.2")]);
    let set = ListenerSet::default();
    let (files, _) = Files::new();
    listen(&rig, &set, vec![encrypted(&files)]);
    let mut silent = TcpStream::connect(set.addresses()[0]).unwrap();
    eventually("it is let in", || rig.host.connections.load(Relaxed) == 1);
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(!matches!(silent.read(&mut [0]), Ok(n) if n > 0));
    eventually("its place is free", || rig.host.connections.load(Relaxed) == 0);
}

#[test]
fn a_socket_that_was_open_before_is_used_and_who_waits_in_it_is_served() {
    let open = TcpListener::bind("127.0.0.1:0").unwrap();
    let spare = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, other) = (open.local_addr().unwrap(), spare.local_addr().unwrap());
    let mut early = TcpStream::connect(address).unwrap();
    let rig = Rig::inheriting(vec![open, spare]);
    let set = Arc::new(ListenerSet::default());
    let ready = set.ready(&rig.host, Ok(vec![wanted(LOCAL, address.port(), "new")])).ok().unwrap();
    ready.commit();
    assert_eq!(greeting(&mut early), "new 127.0.0.1");
    // What is handed on is the same socket again.
    let handed: Vec<_> = set.sockets().iter().map(|s| s.local_addr().unwrap()).collect();
    assert_eq!(handed, [address]);
    assert_eq!(rig.host.inherited.close_rest(), [other]);
    assert!(TcpStream::connect(other).is_err(), "nobody wants it: it is closed");
}
