//! A player over TLS gets every byte, however often its task is interrupted.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use gate::PlayGrant;
use gate::conf::Listen;
use gate::session::Detail;
use gate::tls::Certificate;
use gate::{Intent, ListenerSet, Player, Wanted};
use hub::{Delivery, Form, Headers, Packager, PublishOptions, PublisherOwner, StreamKey};
use media::{Codec, Flags, Frame, Timestamp};
use tokio::io::AsyncReadExt;

use crate::rig::*;

/// Length and payload.
struct Plain;

impl Packager for Plain {
    fn push(&mut self, frame: &Frame, out: &mut Vec<u8>) {
        out.extend_from_slice(&u32::try_from(frame.payload.len()).unwrap().to_be_bytes());
        out.extend_from_slice(&frame.payload);
    }
    fn prelude(&mut self, _: &Headers, _: Option<Timestamp>, _: &mut Vec<u8>) {}
}

struct Owner;

impl PublisherOwner for Owner {
    fn end(&self, _: hub::EndPublish) {}
    fn id(&self) -> &'static str {
        "owner"
    }
}

fn frame(seq: u32, size: usize) -> Frame {
    let mut payload = seq.to_be_bytes().to_vec();
    payload.resize(size, seq as u8);
    let at = Timestamp::from_millis(i64::from(seq) * 40);
    let flags = if seq.is_multiple_of(25) { Flags::KEY } else { Flags::empty() };
    let payload = Bytes::from(payload);
    Frame { codec: Codec::H264, track: 0, flags, tag: 0, dts: at, pts: at, payload }
}

fn everything_arrives(secure: bool, control: bool) {
    let rig = Rig::new(&[]);
    let set = ListenerSet::default();
    let (files, root) = Files::new();
    let certificate = Certificate::load(&files.cert(), &files.key(), &[b"x"]).unwrap();
    let stream = rig.host.hub.open(&StreamKey::new("__defaultVhost__", "live", "s"));
    let (joined_tx, joined) = mpsc::channel();
    let (host, joins) = (rig.host.clone(), stream.clone());
    let wanted = Wanted {
        listen: Listen { ip: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)), port: 0 },
        certificate: secure.then_some(certificate),
        handler: Arc::new(move |shard, served| {
            let session = host.sessions.open("test", served.peer);
            let grant = PlayGrant {
                stream: joins.clone(),
                delivery: Delivery::Adaptive,
                queue_length: PATIENCE,
                from_key: true,
                hold: None,
            };
            let (shard, joined) = (shard.clone(), joined_tx.clone());
            shard.clone().spawn("player", async move {
                let make = Box::new(|| Box::new(Plain) as Box<dyn Packager>);
                let form = Form { name: "plain", variant: 0, make };
                let player =
                    Player::join(&shard, &session, grant, form, served.socket.clone(), b"head");
                joined.send(()).unwrap();
                let mut interrupted = 0u32;
                loop {
                    // Dropped in mid-write again and again.
                    let drive = tokio::time::timeout(Duration::from_millis(1), player.drive());
                    if drive.await.is_ok() {
                        return;
                    }
                    interrupted += 1;
                    if control && interrupted.is_multiple_of(8) {
                        let mut message = 4u32.to_be_bytes().to_vec();
                        message.extend_from_slice(&u32::MAX.to_be_bytes());
                        player.subscriber().send_control(&message);
                    }
                }
            });
        }),
        guest: None,
        label: "test",
    };
    let bound = set.prepare(vec![wanted]).unwrap();
    set.commit(&rig.host, bound);
    let address = set.addresses()[0];
    let read = |mut io: Box<dyn tokio::io::AsyncRead + Unpin>| {
        rig.block_on(async move {
            let mut head = [0; 4];
            io.read_exact(&mut head).await.unwrap();
            assert_eq!(&head, b"head");
            let mut next = 0;
            while next < 200u32 {
                let len = io.read_u32().await.unwrap() as usize;
                let mut payload = vec![0; len];
                io.read_exact(&mut payload).await.unwrap();
                let seq = u32::from_be_bytes(payload[..4].try_into().unwrap());
                if seq == u32::MAX {
                    continue;
                }
                assert_eq!(seq, next);
                assert!(payload[4..].iter().all(|b| *b == seq as u8));
                next += 1;
            }
        });
    };
    let client: Box<dyn tokio::io::AsyncRead + Unpin> = if secure {
        Box::new(rig.tls(address, &root, &[b"x"]).unwrap())
    } else {
        Box::new(rig.block_on(tokio::net::TcpStream::connect(address)).unwrap())
    };
    joined.recv_timeout(PATIENCE).unwrap();
    let hub = rig.host.hub.clone();
    assert!(rig.host.shards()[0].try_run(Box::new(move |shard| {
        let options = PublishOptions::default();
        let mut publisher = stream.publish(&hub, &shard, Arc::new(Owner), options).unwrap();
        shard.spawn("publisher", async move {
            for seq in 0..200 {
                publisher.push(frame(seq, 40_000)).unwrap();
                publisher.flush();
                if seq % 10 == 0 {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
            tokio::time::sleep(PATIENCE).await;
        });
    })));
    read(client);
}

#[test]
fn a_player_over_tls_gets_every_byte_though_its_task_is_interrupted() {
    everything_arrives(true, false);
}

#[test]
fn control_messages_land_between_messages_over_tls_too() {
    everything_arrives(true, true);
}

#[test]
fn a_plain_player_gets_every_byte_though_its_task_is_interrupted() {
    everything_arrives(false, true);
}

fn grant(rig: &Rig) -> (PlayGrant, gate::Session) {
    let peer = "192.0.2.1:1".parse().unwrap();
    let session = rig.host.sessions.open("test", peer);
    let detail = Detail { app: "live".into(), name: "s".into(), ..Detail::default() };
    let intent = Intent { session: session.id.to_string(), peer, detail };
    let grant = rig.block_on(rig.host.play(&session, intent)).unwrap();
    (grant, session)
}

#[test]
fn merging_waits_for_messages_only_where_their_number_was_asked_for() {
    let ms = Duration::from_millis;
    for (pairs, expected) in [
        (&[][..], Delivery::Adaptive),
        (&[("vhost.play.mw_latency", "100")], Delivery::Merge { latency: ms(100), msgs: 0 }),
        (&[("vhost.play.mw_msgs", "16")], Delivery::Merge { latency: ms(350), msgs: 16 }),
        (&[("vhost.play.mw_latency", "0")], Delivery::MinLatency),
        (
            &[("vhost.play.mw_latency", "0"), ("vhost.play.mw_msgs", "20")],
            Delivery::Merge { latency: ms(0), msgs: 20 },
        ),
    ] {
        let rig = Rig::new(pairs);
        assert_eq!(grant(&rig).0.delivery, expected, "{pairs:?}");
    }
}

#[test]
fn a_reload_reaches_streams_in_use_however_many_there_are() {
    let rig = Rig::new(&[]);
    let held: Vec<_> = (0..1500)
        .map(|i| rig.host.hub.open(&StreamKey::new("__defaultVhost__", "live", &i.to_string())))
        .collect();
    rig.host.set_config(config(&[("vhost.play.gop_cache", "off")]));
    assert!(held.iter().all(|stream| !stream.options().gop_cache));
    let (done, is_done) = mpsc::channel();
    eventually("the shard takes jobs", || {
        let done = done.clone();
        rig.host.shards()[0].try_run(Box::new(move |_| done.send(()).unwrap()))
    });
    is_done.recv_timeout(PATIENCE).unwrap();
}
