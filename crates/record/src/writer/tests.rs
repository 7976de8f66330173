use std::sync::Mutex;
use std::time::Duration;

use container::flv::FileMuxer;
use gate::path::StreamName;
use media::{Codec, Flags, Timestamp};

use super::*;
use crate::config::{DvrConfig, Format, Plan};
use crate::disk::FileError;

/// A disk that writes when it is let.
struct Gated {
    leave: Receiver<()>,
    written: Arc<AtomicUsize>,
    len: u64,
}

impl Files for Gated {
    fn begin(&mut self, _: &str) -> Result<(), FileError> {
        Ok(())
    }

    fn resume(&mut self, _: &str) -> Result<Option<FileMuxer>, FileError> {
        Ok(None)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let _ = self.leave.recv();
        self.written.fetch_add(bytes.len(), Relaxed);
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn patch(&mut self, _: u64, _: &[u8]) -> Result<(), FileError> {
        Ok(())
    }

    fn cut(&mut self) -> Result<(), FileError> {
        Ok(())
    }

    fn len(&self) -> u64 {
        self.len
    }

    fn finish(&mut self) -> Result<(), FileError> {
        Ok(())
    }

    fn discard(&mut self) {}
}

/// A disk with a bug.
struct Broken;

impl Files for Broken {
    fn begin(&mut self, _: &str) -> Result<(), FileError> {
        panic!("on purpose")
    }

    fn resume(&mut self, _: &str) -> Result<Option<FileMuxer>, FileError> {
        Ok(None)
    }

    fn append(&mut self, _: &[u8]) -> Result<(), FileError> {
        Ok(())
    }

    fn patch(&mut self, _: u64, _: &[u8]) -> Result<(), FileError> {
        Ok(())
    }

    fn cut(&mut self) -> Result<(), FileError> {
        Ok(())
    }

    fn len(&self) -> u64 {
        0
    }

    fn finish(&mut self) -> Result<(), FileError> {
        Ok(())
    }

    fn discard(&mut self) {}
}

struct Somebody;

impl PublisherOwner for Somebody {
    fn end(&self, _: hub::EndPublish) {}

    fn id(&self) -> &str {
        "somebody"
    }
}

type Told = Arc<Mutex<Vec<String>>>;

fn begin(leave: Receiver<()>, written: &Arc<AtomicUsize>) -> (Begin, Told) {
    let config = DvrConfig {
        enabled: true,
        apply: vec!["all".into()],
        plan: Plan::Session,
        root: "x".into(),
        template: "[stream].flv".into(),
        format: Format::Flv,
        duration: Duration::from_secs(30),
        wait_keyframe: true,
        keep_times: false,
    };
    let name = StreamName { vhost: "v".into(), app: "live".into(), stream: "s".into() };
    let told = Told::default();
    let tell = told.clone();
    let begin = Begin {
        take: Take::new(config, name, "x"),
        files: Box::new(Gated { leave, written: written.clone(), len: 0 }),
        stream: "/live/s".into(),
        owner: Arc::new(Somebody),
        tell: Arc::new(move |_, file| tell.lock().unwrap().push(file.to_owned())),
        utc: true,
    };
    (begin, told)
}

fn picture(ms: i64, key: bool, size: usize) -> Arc<Frame> {
    let dts = Timestamp::from_millis(ms);
    let flags = if key { Flags::KEY } else { Flags::empty() };
    let payload = vec![0; size].into();
    Arc::new(Frame { codec: Codec::H264, track: 0, flags, tag: 0, dts, pts: dts, payload })
}

#[test]
fn what_a_hanging_disk_cannot_take_is_bounded_counted_and_told_and_it_goes_on() {
    let recordings = Arc::<Recordings>::default();
    let writer = Writer::start(&recordings).unwrap();
    let (leave, gate) = channel();
    let written = Arc::new(AtomicUsize::new(0));
    let (begin, told) = begin(gate, &written);
    let mut feed = writer.begin(begin).unwrap();
    let size = 1 << 20;
    let mut lost = 0;
    // A key frame each ten; twice as much as may wait.
    for n in 0..64 {
        lost += feed.frames(vec![picture(n * 100, n % 10 == 0, size)]);
    }
    assert!(feed.waiting.bytes.load(Relaxed) <= ONE_MAX);
    assert!((30..=40).contains(&lost), "{lost}");
    let counted = |word: &str| recordings.counts().find(|(name, _)| *name == word).unwrap().1;
    assert_eq!(counted("lost_frames"), lost);
    // The disk is well again.
    drop(leave);
    while feed.waiting.bytes.load(Relaxed) > 0 {
        std::thread::yield_now();
    }
    assert_eq!(feed.frames(vec![picture(6_450, false, 10)]), 1, "no picture before a key frame");
    assert_eq!(feed.frames(vec![picture(6_500, true, 10)]), 0);
    drop(feed);
    assert!(writer.end_all(Duration::from_secs(60)));
    assert_eq!(*told.lock().unwrap(), ["x/s.flv"]);
    assert_eq!(counted("finished"), 1);
    assert!(written.load(Relaxed) > 20 * size && recordings.is_empty());
}

#[test]
fn a_configuration_that_came_while_the_disk_hung_is_not_lost() {
    let recordings = Arc::<Recordings>::default();
    let writer = Writer::start(&recordings).unwrap();
    let (leave, gate) = channel();
    let written = Arc::new(AtomicUsize::new(0));
    let (begin, _) = begin(gate, &written);
    let mut feed = writer.begin(begin).unwrap();
    while feed.frames(vec![picture(0, true, 1 << 20)]) == 0 {}
    let config = Frame { flags: Flags::CONFIG, ..(*picture(0, false, 9)).clone() };
    feed.frames(vec![Arc::new(config)]);
    assert_eq!(feed.kept.len(), 1);
    drop(leave);
    while feed.waiting.bytes.load(Relaxed) > 0 {
        std::thread::yield_now();
    }
    assert_eq!(feed.frames(vec![picture(100, true, 10)]), 0);
    assert!(feed.kept.is_empty());
}

#[test]
fn a_panic_ends_one_recording_and_no_other() {
    let recordings = Arc::<Recordings>::default();
    let writer = Writer::start(&recordings).unwrap();
    let written = Arc::new(AtomicUsize::new(0));
    // One of them on the thread of the other.
    let mut feeds = Vec::new();
    let mut all_told = Vec::new();
    for n in 0..=THREADS {
        let (_, gate) = channel();
        let (mut begin, told) = begin(gate, &written);
        if n == 0 {
            begin.files = Box::new(Broken);
        }
        feeds.push(writer.begin(begin).unwrap());
        all_told.push(told);
    }
    for ms in [0, 40] {
        for feed in &mut feeds {
            feed.frames(vec![picture(ms, true, 10)]);
        }
    }
    drop(feeds);
    assert!(writer.end_all(Duration::from_secs(60)));
    let told: Vec<usize> = all_told.iter().map(|told| told.lock().unwrap().len()).collect();
    assert_eq!(told, [0, 1, 1, 1, 1]);
    assert_eq!(recordings.counts().find(|(name, _)| *name == "failed").unwrap().1, 1);
}
