use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use proptest::prelude::*;
use socket2::SockRef;

use super::*;

fn ring(entries: u32) -> Ring {
    Ring::new(entries).expect("this machine allows io_uring; without it there is nothing to test")
}

fn pair() -> (UnixStream, UnixStream) {
    let (a, b) = UnixStream::pair().unwrap();
    a.set_nonblocking(true).unwrap();
    b.set_nonblocking(true).unwrap();
    (a, b)
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let a = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (b, _) = listener.accept().unwrap();
    a.set_nonblocking(true).unwrap();
    (a, b)
}

fn read_all(from: &mut impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    let mut part = [0; 4096];
    loop {
        match from.read(&mut part) {
            Ok(0) => return all,
            Ok(n) => all.extend_from_slice(&part[..n]),
            Err(e) if e.kind() == ErrorKind::WouldBlock => return all,
            Err(e) => panic!("{e}"),
        }
    }
}

#[test]
fn each_socket_gets_its_own_bytes_whole_and_in_order() {
    let mut ring = ring(64);
    let mut pairs: Vec<_> = (0..50).map(|_| tcp_pair()).collect();
    for round in 0..20u8 {
        let bytes: Vec<Vec<u8>> = (0..50u8).map(|i| vec![i ^ round; 900 + i as usize]).collect();
        let mut batch = ring.batch();
        for ((a, _), bytes) in pairs.iter().zip(&bytes) {
            assert!(batch.push(a.as_fd(), bytes));
        }
        let sent = batch.send().to_vec();
        for ((sent, (_, b)), bytes) in sent.iter().zip(&mut pairs).zip(&bytes) {
            assert_eq!(*sent, Sent::Taken(bytes.len()));
            let mut got = vec![0; bytes.len()];
            b.read_exact(&mut got).unwrap();
            assert_eq!(got, *bytes);
        }
    }
    assert!(ring.fault().is_none());
}

#[test]
fn a_full_socket_takes_a_part_then_nothing_and_holds_up_nobody() {
    let mut ring = ring(4);
    let (full, mut reader) = tcp_pair();
    SockRef::from(&full).set_send_buffer_size(8 * 1024).unwrap();
    let (free, _keep) = pair();
    let bytes = vec![7; 32 << 20];
    let mut batch = ring.batch();
    assert!(batch.push(full.as_fd(), &bytes));
    assert!(batch.push(free.as_fd(), b"x"));
    let [Sent::Taken(part), Sent::Taken(1)] = *batch.send() else { panic!("a part is taken") };
    assert!(part > 0 && part < bytes.len());
    let mut taken = part;
    // The receiver's side may still take some over.
    loop {
        let mut batch = ring.batch();
        assert!(batch.push(full.as_fd(), &bytes));
        assert!(batch.push(free.as_fd(), b"x"));
        match *batch.send() {
            [Sent::Taken(n), Sent::Taken(1)] => taken += n,
            [Sent::Full, Sent::Taken(1)] => break,
            ref other => panic!("{other:?}"),
        }
    }
    drop(full);
    let mut got = Vec::new();
    reader.read_to_end(&mut got).unwrap();
    assert_eq!(got.len(), taken, "what was told as taken arrives, and no more");
}

#[test]
fn a_peer_that_has_gone_is_told_and_no_signal_comes() {
    let signalled = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGPIPE, signalled.clone()).unwrap();
    let mut ring = ring(4);
    let (a, b) = pair();
    let (c, mut d) = pair();
    drop(b);
    let mut batch = ring.batch();
    assert!(batch.push(a.as_fd(), b"nobody"));
    assert!(batch.push(c.as_fd(), b"somebody"));
    assert_eq!(batch.send(), [Sent::Failed(ErrorKind::BrokenPipe), Sent::Taken(8)]);
    assert_eq!(read_all(&mut d), b"somebody");
    assert!(!signalled.load(Relaxed));
    // It is not that signals would not be seen.
    signal_hook::low_level::raise(signal_hook::consts::SIGPIPE).unwrap();
    assert!(signalled.load(Relaxed));
}

#[test]
fn what_is_no_socket_is_told_and_the_others_are_served() {
    let mut ring = ring(4);
    let file = File::open("/dev/null").unwrap();
    let (a, mut b) = pair();
    let mut batch = ring.batch();
    assert!(batch.push(file.as_fd(), b"1"));
    assert!(batch.push(a.as_fd(), b"2"));
    let [Sent::Failed(_), Sent::Taken(1)] = *batch.send() else { panic!("both are told") };
    assert_eq!(read_all(&mut b), b"2");
}

#[test]
fn a_full_batch_takes_no_more_and_an_empty_one_does_nothing() {
    let mut ring = ring(3);
    assert_eq!(ring.batch().send(), []);
    let (a, mut b) = pair();
    let mut batch = ring.batch();
    for _ in 0..4 {
        assert!(batch.push(a.as_fd(), b"."));
    }
    assert!(!batch.push(a.as_fd(), b"!"));
    assert_eq!(batch.send(), [Sent::Taken(1); 4]);
    assert_eq!(read_all(&mut b), b"....");
}

#[test]
fn a_batch_that_is_left_unsent_is_never_sent() {
    let mut ring = ring(8);
    let (a, mut b) = pair();
    {
        let bytes = vec![1; 100];
        let mut batch = ring.batch();
        assert!(batch.push(a.as_fd(), &bytes));
    }
    let mut batch = ring.batch();
    assert!(batch.push(a.as_fd(), b"next"));
    assert_eq!(batch.send(), [Sent::Taken(4)]);
    assert_eq!(read_all(&mut b), b"next");
}

#[test]
fn a_kernel_that_knows_fewer_options_gets_fewer() {
    let (a, mut b) = pair();
    for (unknown, mode) in MODES.iter().enumerate() {
        let made = Ring::with(8, |mode, entries| {
            let new = MODES.iter().take(unknown).any(|m| m.name == mode.name);
            if new { Err(io::Error::from_raw_os_error(libc::EINVAL)) } else { mode.set_up(entries) }
        });
        let mut ring = made.unwrap();
        assert_eq!(ring.mode(), mode.name);
        let mut batch = ring.batch();
        assert!(batch.push(a.as_fd(), b"1"));
        assert_eq!(batch.send(), [Sent::Taken(1)]);
    }
    assert_eq!(read_all(&mut b), b"1111");
}

#[test]
fn a_kernel_that_refuses_is_asked_once_and_its_reason_is_told() {
    for (errno, asked) in [(libc::EPERM, 1), (libc::ENOSYS, 1), (libc::EINVAL, MODES.len())] {
        let calls = std::cell::Cell::new(0);
        let refused = Ring::with(8, |_, _| {
            calls.set(calls.get() + 1);
            Err(io::Error::from_raw_os_error(errno))
        });
        match refused {
            Err(Unsupported::Refused { call: "io_uring_setup", error }) => {
                assert_eq!(error.raw_os_error(), Some(errno));
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(calls.get(), asked);
    }
}

/// Sends "1" to each of three sockets by a ring that enters the kernel like `enter`.
fn three_by(ring: &mut Ring, enter: Enter) -> (Vec<Sent>, Vec<usize>) {
    ring.enter = enter;
    let mut pairs: Vec<_> = (0..3).map(|_| pair()).collect();
    let mut batch = ring.batch();
    for (a, _) in &pairs {
        assert!(batch.push(a.as_fd(), b"1"));
    }
    let sent = batch.send().to_vec();
    (sent, pairs.iter_mut().map(|(_, b)| read_all(b).len()).collect())
}

fn fails(_: &IoUring, _: usize) -> io::Result<usize> {
    Err(io::Error::from_raw_os_error(libc::EBADF))
}

fn never_takes(_: &IoUring, _: usize) -> io::Result<usize> {
    Err(io::Error::from_raw_os_error(libc::EAGAIN))
}

/// Takes one entry and fails at the next.
fn takes_one(ring: &IoUring, _: usize) -> io::Result<usize> {
    // SAFETY: submits one entry that the caller keeps alive, and takes no argument.
    unsafe { ring.submitter().enter::<libc::sigset_t>(1, 0, 0, None)? };
    Err(io::Error::from_raw_os_error(libc::EBADF))
}

/// Takes one entry at a time, and is interrupted before each.
fn takes_one_by_one(ring: &IoUring, _: usize) -> io::Result<usize> {
    use std::cell::Cell;
    thread_local!(static INTERRUPT: Cell<bool> = const { Cell::new(true) });
    if INTERRUPT.replace(!INTERRUPT.get()) {
        return Err(io::Error::from_raw_os_error(libc::EINTR));
    }
    // SAFETY: submits one entry that the caller keeps alive, and takes no argument.
    unsafe { ring.submitter().enter::<libc::sigset_t>(1, 0, 0, None) }
}

#[test]
fn a_ring_whose_kernel_fails_gives_up_and_says_what_was_not_tried() {
    for (enter, errno) in [(fails as Enter, libc::EBADF), (never_takes, libc::EAGAIN)] {
        let mut ring = ring(8);
        assert_eq!(three_by(&mut ring, enter), (vec![Sent::NotTried; 3], vec![0; 3]));
        assert_eq!(ring.fault().and_then(io::Error::raw_os_error), Some(errno));
        // Nothing of the first batch is left that a working kernel could take up.
        let sent = three_by(&mut ring, IoUring::submit_and_wait);
        assert_eq!(sent, (vec![Sent::NotTried; 3], vec![0; 3]));
    }
}

#[test]
fn a_kernel_that_fails_midway_leaves_no_doubt_about_what_was_sent() {
    let mut ring = ring(8);
    let (sent, got) = three_by(&mut ring, takes_one);
    assert_eq!(sent, [Sent::Taken(1), Sent::NotTried, Sent::NotTried]);
    assert_eq!(got, [1, 0, 0]);
    assert!(ring.fault().is_some());
}

#[test]
fn interruptions_and_small_steps_change_nothing() {
    let mut ring = ring(8);
    for _ in 0..3 {
        let sent = three_by(&mut ring, takes_one_by_one);
        assert_eq!(sent, (vec![Sent::Taken(1); 3], vec![1; 3]));
    }
    assert!(ring.fault().is_none());
}

/// One step: who sends how much in a batch, and who reads how much afterwards.
type Step = (Vec<(usize, usize)>, Vec<(usize, usize)>);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let some = |most| prop::collection::vec((0..6usize, 0..most), 0..12);
    prop::collection::vec((some(9_000usize), some(12_000usize)), 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    /// About 10,000 batches: what the kernel says it took is what comes out, byte by byte.
    #[test]
    fn whatever_is_sent_and_read_every_taken_byte_arrives_in_order(steps in steps()) {
        let mut ring = ring(16);
        let mut pairs: Vec<_> = (0..6).map(|_| pair()).collect();
        for (a, _) in &pairs {
            SockRef::from(a).set_send_buffer_size(8 * 1024).unwrap();
        }
        let mut flying: Vec<VecDeque<u8>> = vec![VecDeque::new(); 6];
        let mut next = 0u8;
        for (sends, reads) in steps {
            let mut seen = [false; 6];
            let sends: Vec<(usize, Vec<u8>)> = sends
                .into_iter()
                .filter(|(who, n)| *n > 0 && !mem::replace(&mut seen[*who], true))
                .map(|(who, n)| {
                    let bytes = (0..n).map(|_| { next = next.wrapping_mul(5).wrapping_add(1); next });
                    (who, bytes.collect())
                })
                .collect();
            let mut batch = ring.batch();
            for (who, bytes) in &sends {
                prop_assert!(batch.push(pairs[*who].0.as_fd(), bytes));
            }
            let sent = batch.send();
            prop_assert_eq!(sent.len(), sends.len());
            for ((who, bytes), sent) in sends.iter().zip(sent) {
                match sent {
                    Sent::Taken(n) => {
                        prop_assert!(*n > 0 && *n <= bytes.len());
                        flying[*who].extend(&bytes[..*n]);
                    }
                    Sent::Full => {}
                    other => prop_assert!(false, "{:?}", other),
                }
            }
            for (who, most) in reads {
                let mut part = vec![0; most];
                if let Ok(n) = pairs[who].1.read(&mut part) {
                    for byte in &part[..n] {
                        prop_assert_eq!(flying[who].pop_front(), Some(*byte));
                    }
                }
            }
        }
        for ((_, b), flying) in pairs.iter_mut().zip(&mut flying) {
            prop_assert_eq!(read_all(b), flying.drain(..).collect::<Vec<u8>>());
        }
    }
}
