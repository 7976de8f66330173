//! The log and the hub: one frame in, many sends out.

use std::hint::black_box;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc as answers;
use std::time::Duration;

use hub::{
    Counters, Delivery, EndPublish, Hub, Log, PublishOptions, Publisher, PublisherOwner, Shard,
    StreamKey, SubscribeOptions, Subscriber, start_shards,
};
use rtmp::RtmpForm;
use tokio::sync::mpsc as questions;

use crate::Round;
use crate::stream::{Endless, configs};

/// Readers of one log; more than a cache line of offsets, fewer than make the case slow.
const READERS: u64 = 1000;
/// Viewers of the walk: few enough that the shard serves them at once and not in its pacer's turn,
/// which the machine's load would decide.
const VIEWERS: usize = 16;
/// Frames after which the viewers read: less than a socket's buffer holds.
const READ_EVERY: usize = 10;

/// Messages into a log that is trimmed at each key picture.
pub(crate) fn log_push() -> Round {
    let mut log = Log::default();
    let mut frames = Endless::new();
    Box::new(move || {
        for _ in 0..frames.len() {
            let frame = frames.next();
            let at = log.head();
            log.append(frame.dts, |out| out.extend_from_slice(&frame.payload));
            if frame.is_key() {
                log.set_join(at);
                log.set_key(at);
                log.trim(at);
            }
        }
        frames.len() as u64
    })
}

/// What each reader of a log lacks, message by message, without sending it.
pub(crate) fn log_step() -> Round {
    let mut log = Log::default();
    let mut frames = Endless::new();
    let mut readers = vec![0u64; READERS as usize];
    Box::new(move || {
        let mut steps = 0;
        for _ in 0..8 {
            let frame = frames.next();
            let at = log.head();
            log.append(frame.dts, |out| out.extend_from_slice(&frame.payload));
            if frame.is_key() {
                log.trim(at);
            }
            for offset in &mut readers {
                let bytes = black_box(log.read(*offset));
                *offset += bytes.len() as u64;
                steps += u64::from(!bytes.is_empty());
            }
        }
        assert_eq!(steps, 8 * READERS);
        steps
    })
}

struct Owner;

impl PublisherOwner for Owner {
    fn end(&self, _: EndPublish) {}

    fn id(&self) -> &'static str {
        "bench"
    }
}

/// A publisher on a shard of its own, and those who watch it.
struct Scene {
    shard: Rc<Shard>,
    publisher: Publisher,
    frames: Endless,
    viewers: Vec<(Subscriber, TcpStream)>,
    buffer: Vec<u8>,
}

impl Scene {
    async fn new(shard: Rc<Shard>, viewers: usize) -> Self {
        let hub = Hub::new(|n| format!("vid-{n}"));
        let stream = hub.open(&StreamKey::new("__defaultVhost__", "live", "livestream"));
        let publisher = stream
            .publish(&hub, &shard, Arc::new(Owner), PublishOptions::default())
            .expect("nobody else publishes");
        let mut scene = Self {
            shard,
            publisher,
            frames: Endless::new(),
            viewers: Vec::new(),
            buffer: vec![0; 1 << 20],
        };
        for config in configs() {
            scene.publisher.push(config).expect("nobody took it over");
        }
        for _ in 0..viewers {
            let viewer = scene.join().await;
            scene.viewers.push(viewer);
        }
        scene
    }

    async fn join(&self) -> (Subscriber, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let peer = TcpStream::connect(listener.local_addr().expect("an address")).expect("a peer");
        peer.set_nonblocking(true).expect("a socket");
        let (tcp, _) = listener.accept().expect("the peer");
        tcp.set_nonblocking(true).expect("a socket");
        let tcp = tokio::net::TcpStream::from_std(tcp).expect("a socket");
        // Only then does the runtime know that it may write.
        tcp.writable().await.expect("a socket");
        let options = SubscribeOptions {
            queue_length: Duration::from_secs(3600),
            session: "bench".into(),
            counters: Arc::<Counters>::default(),
            from_key: true,
        };
        let form =
            RtmpForm { chunk_size: 60_000, msid: 1, audio: true, video: true, publish: false }
                .form();
        let stream = self.publisher.stream();
        let delivery = Delivery::MinLatency;
        let shard = &self.shard;
        (shard.subscribe(stream, form, delivery, options, Rc::new(tcp), &[]), peer)
    }

    /// All frames once; gives how many sends that took.
    fn round(&mut self) -> u64 {
        let before = self.shard.handle().stats().sends.load(Relaxed);
        for index in 0..self.frames.len() {
            self.publisher.push(self.frames.next()).expect("nobody took it over");
            self.publisher.flush();
            if index % READ_EVERY == 0 {
                for (_, peer) in &mut self.viewers {
                    // Nothing there is fine.
                    let _ = peer.read(&mut self.buffer);
                }
            }
        }
        self.shard.handle().stats().sends.load(Relaxed) - before
    }
}

/// Rounds on a shard; the task ends with what is given.
fn on_shard(viewers: usize, units: fn(frames: u64, sends: u64) -> u64) -> Round {
    let shard = start_shards(1).expect("a thread").pop().expect("one shard");
    let (ask, mut asked) = questions::unbounded_channel::<()>();
    let (tell, told) = answers::channel();
    let begun = shard.try_run(Box::new(move |shard| {
        let own = shard.clone();
        shard.spawn("bench", async move {
            let mut scene = Scene::new(own, viewers).await;
            while asked.recv().await.is_some() {
                let sends = scene.round();
                if tell.send(units(scene.frames.len() as u64, sends)).is_err() {
                    return;
                }
            }
        });
    }));
    assert!(begun, "the shard takes its first job");
    Box::new(move || {
        ask.send(()).expect("the shard lives");
        told.recv().expect("the shard answers")
    })
}

/// A publisher whom nobody watches: the timeline, the books, the frames kept for joiners.
pub(crate) fn push() -> Round {
    on_shard(0, |frames, _| frames)
}

/// A publisher and its viewers, each video frame at once to all: one send each.
pub(crate) fn walk() -> Round {
    on_shard(VIEWERS, |_, sends| sends)
}
