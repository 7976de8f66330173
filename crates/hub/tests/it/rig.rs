//! What the tests stand on: a hub with shards, publishers and players that are commanded from the
//! test's thread, and a client that checks every message it reads.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hub::{
    Busy, Counters, Delivery, End, EndPublish, Form, Headers, Hub, Packager, PublishOptions,
    Publisher, PublisherOwner, Sender, Shard, ShardHandle, Stream, StreamKey, SubscribeOptions,
    Subscriber, start_shards_with,
};
use media::{Codec, Flags, Frame, Timestamp};
use tokio::sync::mpsc as tmpsc;

/// Long enough for a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const FRAME: u8 = 1;
pub const PRELUDE: u8 = 2;
pub const RESUME: u8 = 3;
pub const CONTROL: u8 = 4;

pub const KEY: u8 = 1;
pub const CONFIG: u8 = 2;

/// One message of the toy form: kind, flags, length, checksum, payload.
pub fn message(kind: u8, flags: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&[0xa5, kind, flags]);
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
    out.extend_from_slice(&checksum(payload).to_be_bytes());
    out.extend_from_slice(payload);
}

fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5u32, |h, b| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193))
}

/// A payload that makes the packager panic.
pub const BOMB: u32 = 0xdead_beef;

struct Toy;

impl Packager for Toy {
    fn push(&mut self, frame: &Frame, out: &mut Vec<u8>) {
        let mut flags = if frame.is_key() { KEY } else { 0 };
        if frame.is_config() {
            flags |= CONFIG;
        }
        if frame.payload.starts_with(&BOMB.to_be_bytes()) {
            out.extend_from_slice(b"half a mess");
            panic!("the toy packager met a bomb");
        }
        message(FRAME, flags, &frame.payload, out);
    }

    fn prelude(&mut self, headers: &Headers, _: Option<Timestamp>, out: &mut Vec<u8>) {
        for frame in headers.in_order() {
            message(PRELUDE, CONFIG, &frame.payload, out);
        }
    }

    fn resume(&mut self, headers: &Headers, _: Timestamp, out: &mut Vec<u8>) {
        for frame in headers.in_order() {
            message(RESUME, CONFIG, &frame.payload, out);
        }
    }
}

pub fn form() -> Form {
    Form { name: "toy", variant: 0, make: Box::new(|| Box::new(Toy)) }
}

pub struct Owner {
    pub id: String,
    pub ended: AtomicBool,
}

impl PublisherOwner for Owner {
    fn end(&self, _: EndPublish) {
        self.ended.store(true, Relaxed);
    }
    fn id(&self) -> &str {
        &self.id
    }
}

pub fn owner(id: &str) -> Arc<Owner> {
    Arc::new(Owner { id: id.to_owned(), ended: AtomicBool::new(false) })
}

/// Makes frames: the payload begins with a running number.
#[derive(Clone, Copy)]
pub struct Maker {
    pub seq: u32,
    pub ms: i64,
    pub size: usize,
    /// Milliseconds from one video frame to the next.
    pub step: i64,
}

impl Maker {
    pub fn new(size: usize) -> Self {
        Self { seq: 0, ms: 0, size, step: 40 }
    }

    fn make(&mut self, codec: Codec, flags: Flags) -> Frame {
        let at = Timestamp::from_millis(self.ms);
        let mut payload = self.seq.to_be_bytes().to_vec();
        payload.resize(self.size.max(4), self.seq as u8);
        self.seq += 1;
        Frame { codec, track: 0, flags, tag: 0, dts: at, pts: at, payload: Bytes::from(payload) }
    }

    pub fn key(&mut self) -> Frame {
        self.ms += self.step;
        self.make(Codec::H264, Flags::KEY)
    }

    pub fn delta(&mut self) -> Frame {
        self.ms += self.step;
        self.make(Codec::H264, Flags::empty())
    }

    pub fn audio(&mut self) -> Frame {
        self.ms += self.step / 2;
        self.make(Codec::Aac, Flags::empty())
    }

    pub fn config(&mut self) -> Frame {
        self.make(Codec::H264, Flags::CONFIG)
    }

    /// A key frame and `n` that hang on it.
    pub fn gop(&mut self, n: usize) -> Vec<Frame> {
        let mut frames = vec![self.key()];
        frames.extend((0..n).map(|_| self.delta()));
        frames
    }
}

pub struct Rig {
    pub hub: Arc<Hub>,
    pub shards: Vec<ShardHandle>,
    listener: TcpListener,
    ids: AtomicUsize,
}

impl Rig {
    pub fn new(shards: usize) -> Self {
        Self::with(shards, Sender::Plain)
    }

    pub fn with(shards: usize, sender: Sender) -> Self {
        Self {
            hub: Hub::new(|n| format!("vid-{n}")),
            shards: start_shards_with(shards, sender).unwrap(),
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            ids: AtomicUsize::new(0),
        }
    }

    pub fn stream(&self) -> Arc<Stream> {
        self.hub.open(&StreamKey::new("__defaultVhost__", "live", "s"))
    }

    /// Runs `f` on a shard and waits for its answer.
    pub fn on<R: Send + 'static>(
        &self,
        shard: usize,
        f: impl FnOnce(Rc<Shard>) -> R + Send + 'static,
    ) -> R {
        let (tx, rx) = mpsc::channel();
        assert!(self.shards[shard].try_run(Box::new(move |shard| {
            let _ = tx.send(f(shard));
        })));
        rx.recv_timeout(PATIENCE).expect("the shard answers")
    }

    pub fn try_publish(
        &self,
        shard: usize,
        owner: Arc<Owner>,
        options: PublishOptions,
    ) -> Result<Pub, Busy> {
        let (stream, hub) = (self.stream(), self.hub.clone());
        let (tx, mut rx) = tmpsc::unbounded_channel::<Command<Publisher>>();
        self.on(shard, move |shard| {
            let mut publisher = stream.publish(&hub, &shard, owner, options)?;
            shard.spawn("publisher", async move {
                while let Some(command) = rx.recv().await {
                    command(&mut publisher);
                }
            });
            Ok(())
        })?;
        Ok(Pub { tx })
    }

    pub fn publish(&self, shard: usize, options: PublishOptions) -> Pub {
        self.try_publish(shard, owner("pub"), options).unwrap()
    }

    pub fn play(&self, shard: usize, how: How) -> Play {
        let address = self.listener.local_addr().unwrap();
        let client = connect(address, how.buffer);
        let (server, _) = self.listener.accept().unwrap();
        if let Some(size) = how.buffer {
            socket2::SockRef::from(&server).set_send_buffer_size(size).unwrap();
        }
        server.set_nonblocking(true).unwrap();
        let id = self.ids.fetch_add(1, Relaxed);
        let stream = self.stream();
        let counters = Arc::new(Counters::default());
        let options = SubscribeOptions {
            queue_length: how.queue_length,
            session: format!("play{id}").into(),
            counters: counters.clone(),
            from_key: how.from_key,
        };
        let (tx, mut rx) = tmpsc::unbounded_channel::<Command<Subscriber>>();
        let (end_tx, end) = mpsc::channel();
        self.on(shard, move |shard| {
            let tcp = Rc::new(tokio::net::TcpStream::from_std(server).unwrap());
            let inner = shard.clone();
            let mut sub = shard.subscribe(&stream, form(), how.delivery, options, tcp, b"");
            inner.spawn("player", async move {
                loop {
                    tokio::select! {
                        end = sub.drive() => {
                            let _ = end_tx.send(end);
                            return;
                        }
                        command = rx.recv() => match command {
                            Some(command) => command(&mut sub),
                            None => return,
                        },
                    }
                }
            });
        });
        Play { client, counters, end, tx }
    }

    /// What the shards hold in logs, by the governor's last look.
    pub fn log_bytes(&self) -> usize {
        self.shards.iter().map(|s| s.stats().log_bytes.load(Relaxed)).sum()
    }

    /// Calls that carried several sends.
    pub fn batches(&self) -> u64 {
        self.shards.iter().map(|s| s.stats().batches.load(Relaxed)).sum()
    }

    pub fn panics(&self) -> u64 {
        self.shards.iter().map(|s| s.stats().panics.load(Relaxed)).sum()
    }
}

type Command<T> = Box<dyn FnOnce(&mut T) + Send>;

fn ask<T: 'static, R: Send + 'static>(
    tx: &tmpsc::UnboundedSender<Command<T>>,
    f: impl FnOnce(&mut T) -> R + Send + 'static,
) -> R {
    let (done, answer) = mpsc::channel();
    let command: Command<T> = Box::new(move |it| {
        let _ = done.send(f(it));
    });
    assert!(tx.send(command).is_ok(), "the session is there");
    answer.recv_timeout(PATIENCE).expect("the session answers")
}

/// A publisher; dropping it unpublishes.
pub struct Pub {
    tx: tmpsc::UnboundedSender<Command<Publisher>>,
}

impl Pub {
    pub fn with<R: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Publisher) -> R + Send + 'static,
    ) -> R {
        ask(&self.tx, f)
    }

    /// Pushes each frame as one read of its own.
    pub fn push(&self, frames: Vec<Frame>) {
        for frames in frames.chunks(20) {
            let frames = frames.to_vec();
            self.with(|publisher| {
                for frame in frames {
                    publisher.push(frame).unwrap();
                    publisher.flush();
                }
            });
        }
    }
}

#[derive(Clone, Copy)]
pub struct How {
    pub delivery: Delivery,
    pub queue_length: Duration,
    pub from_key: bool,
    /// Size of the kernel's buffers; `None` leaves them.
    pub buffer: Option<usize>,
}

impl Default for How {
    fn default() -> Self {
        Self { delivery: Delivery::Adaptive, queue_length: PATIENCE, from_key: true, buffer: None }
    }
}

pub struct Play {
    pub client: Client,
    pub counters: Arc<Counters>,
    pub end: mpsc::Receiver<End>,
    tx: tmpsc::UnboundedSender<Command<Subscriber>>,
}

impl Play {
    pub fn with<R: Send + 'static>(
        &self,
        f: impl FnOnce(&mut Subscriber) -> R + Send + 'static,
    ) -> R {
        ask(&self.tx, f)
    }

    pub fn ended(&self) -> End {
        self.end.recv_timeout(PATIENCE).expect("the subscription ends")
    }
}

pub struct Msg {
    pub kind: u8,
    pub flags: u8,
    pub payload: Vec<u8>,
}

impl Msg {
    pub fn seq(&self) -> u32 {
        u32::from_be_bytes(self.payload[..4].try_into().unwrap())
    }
}

fn connect(address: SocketAddr, buffer: Option<usize>) -> Client {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    if let Some(size) = buffer {
        socket.set_recv_buffer_size(size).unwrap();
    }
    socket.connect(&address.into()).unwrap();
    let tcp: TcpStream = socket.into();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    Client { tcp, buf: Vec::new(), got: Vec::new() }
}

/// Reads and checks messages.
pub struct Client {
    pub tcp: TcpStream,
    buf: Vec<u8>,
    pub got: Vec<Msg>,
}

impl Client {
    /// Reads until `done`; panics when a byte is wrong or nothing comes any more.
    pub fn read_until(&mut self, mut done: impl FnMut(&[Msg]) -> bool) {
        let mut part = vec![0; 64 * 1024];
        while !done(&self.got) {
            let n = self.tcp.read(&mut part).unwrap_or_else(|e| {
                panic!("nothing more comes after {:?}: {e}", self.frames().last())
            });
            assert!(n > 0, "the server closed after {:?}", self.frames().last());
            self.buf.extend_from_slice(&part[..n]);
            self.parse();
        }
    }

    fn parse(&mut self) {
        let mut at = 0;
        while let Some(head) = self.buf.get(at..at + 11) {
            assert_eq!(head[0], 0xa5, "a message begins at a border");
            let len = u32::from_be_bytes(head[3..7].try_into().unwrap()) as usize;
            let sum = u32::from_be_bytes(head[7..11].try_into().unwrap());
            let Some(payload) = self.buf.get(at + 11..at + 11 + len) else { break };
            assert_eq!(checksum(payload), sum, "a message arrives whole");
            self.got.push(Msg { kind: head[1], flags: head[2], payload: payload.to_vec() });
            at += 11 + len;
        }
        self.buf.drain(..at);
    }

    pub fn read_frame(&mut self, seq: u32) {
        self.read_until(|got| got.iter().any(|m| m.kind == FRAME && m.seq() == seq));
    }

    /// Numbers of the frames so far.
    pub fn frames(&self) -> Vec<u32> {
        self.got.iter().filter(|m| m.kind == FRAME).map(Msg::seq).collect()
    }

    pub fn assert_no_gap_from(&self, first: u32) {
        for (i, seq) in self.frames().into_iter().enumerate() {
            assert_eq!(seq, first + i as u32, "in order and without a gap");
        }
    }

    pub fn of_kind(&self, kind: u8) -> Vec<u32> {
        self.got.iter().filter(|m| m.kind == kind).map(Msg::seq).collect()
    }
}

/// Waits for a condition that another thread brings about.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
