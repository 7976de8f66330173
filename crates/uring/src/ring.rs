//! The ring: the only `unsafe` code of the project.
//!
//! What makes it sound, whatever the caller does:
//!
//! - Entries with the addresses of borrowed buffers reach the queue that the kernel reads only
//!   within [`Batch::send`], which takes the batch. A batch that is dropped or forgotten leaves
//!   them in a plain vector, which the next batch clears.
//! - `send` returns only when as many completions were taken as entries were consumed by the
//!   kernel. A ring whose kernel side fails in between gives up for good: it never enters the
//!   kernel again, so what is left in its queue is never read.
//! - Should the kernel fail while it still holds buffers, or should anything unwind meanwhile, the
//!   process is aborted: there is nobody to return to. No kernel does that: a send with
//!   `MSG_DONTWAIT` is complete when the call that submits it returns.
//! - The kernel's reads of a buffer happen while the caller lends it out shared. A socket's
//!   descriptor is borrowed for as long, and the kernel holds the socket by itself.
//! - The completion queue cannot overflow: it has room for twice the entries, and is empty when a
//!   batch begins.
//!
//! Miri knows no `io_uring`, so what stands here is checked by tests over real sockets.
#![allow(unsafe_code)]

use std::io;
use std::marker::PhantomData;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;

use io_uring::{IoUring, Probe, opcode, types};

use crate::{Sent, Unsupported};

/// Longest send of one entry: the kernel counts in 31 bits. More goes with the next.
const MAX_SEND: usize = 1 << 30;
/// How often the kernel may ask to try again without taking a single entry. It does so when it has
/// no memory for one: fewer tries give up on a shortage that passes, more only hold up the shard.
const MAX_TRIES: u32 = 64;

/// Sets of options from the best to the one that every kernel has.
const MODES: [Mode; 4] = [
    Mode { name: "single issuer, deferred task run", deferred: true, coop: true, all: true },
    Mode { name: "cooperative task run", deferred: false, coop: true, all: true },
    Mode { name: "submit all", deferred: false, coop: false, all: true },
    Mode { name: "plain", deferred: false, coop: false, all: false },
];

/// How a ring is set up.
#[derive(Clone, Copy, Debug)]
struct Mode {
    name: &'static str,
    /// Linux 6.1: one thread submits, and completions are run when it asks for them.
    deferred: bool,
    /// Linux 5.19: no interrupt to run completions.
    coop: bool,
    /// Linux 5.18: an entry that fails early does not hold back the others.
    all: bool,
}

impl Mode {
    fn set_up(self, entries: u32) -> io::Result<IoUring> {
        let mut builder = IoUring::builder();
        builder.dontfork();
        if self.deferred {
            builder.setup_single_issuer().setup_defer_taskrun();
        }
        if self.coop {
            builder.setup_coop_taskrun();
        }
        if self.all {
            builder.setup_submit_all();
        }
        builder.build(entries)
    }
}

/// Submits what is in the queue and waits for so many completions.
type Enter = fn(&IoUring, usize) -> io::Result<usize>;

/// A ring for sends. Belongs to the thread that made it. Dropping it gives its memory back; no
/// send is ever left behind. The kernel tidies up after it through its thread, which may interrupt
/// (`EINTR`) a system call that the thread waits in by then.
pub struct Ring {
    ring: IoUring,
    mode: &'static str,
    /// The sends of a batch, until it is sent. Their addresses mean nothing outside of one.
    entries: Vec<io_uring::squeue::Entry>,
    results: Vec<Sent>,
    /// Room of the queue.
    most: usize,
    fault: Option<io::Error>,
    enter: Enter,
    /// The kernel takes entries from one thread only.
    one_thread: PhantomData<*mut ()>,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl Ring {
    /// Makes a ring for batches of up to `entries` sends (1 to 4,096, rounded up to a power of
    /// two), with the best options this kernel has, and tries it out on a pair of sockets.
    ///
    /// # Errors
    /// When the kernel has none, cannot send by it, or is not allowed to: says which call failed
    /// and what to do about it.
    pub fn new(entries: u32) -> Result<Self, Unsupported> {
        Self::with(entries, Mode::set_up)
    }

    fn with(
        entries: u32,
        set_up: impl Fn(Mode, u32) -> io::Result<IoUring>,
    ) -> Result<Self, Unsupported> {
        let refused = |call| move |error| Unsupported::Refused { call, error };
        let entries = entries.clamp(1, 4096).next_power_of_two();
        let mut modes = MODES.iter();
        let (ring, mode) = loop {
            let Some(mode) = modes.next() else {
                let error = io::Error::from_raw_os_error(libc::EINVAL);
                return Err(refused("io_uring_setup")(error));
            };
            match set_up(*mode, entries) {
                Ok(ring) => break (ring, mode.name),
                // An option that this kernel does not know.
                Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {}
                Err(e) => return Err(refused("io_uring_setup")(e)),
            }
        };
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe).map_err(refused("io_uring_register"))?;
        if !probe.is_supported(opcode::Send::CODE) {
            return Err(Unsupported::NoSend);
        }
        let most = ring.params().sq_entries() as usize;
        let mut ring = Self {
            ring,
            mode,
            entries: Vec::with_capacity(most),
            results: Vec::with_capacity(most),
            most,
            fault: None,
            enter: IoUring::submit_and_wait,
            one_thread: PhantomData,
        };
        ring.try_out()?;
        Ok(ring)
    }

    /// A filter may allow the set-up and forbid the rest.
    fn try_out(&mut self) -> Result<(), Unsupported> {
        let refused = |call| move |error| Unsupported::Refused { call, error };
        let (a, _b) = UnixStream::pair().map_err(refused("socketpair"))?;
        let mut batch = self.batch();
        let added = batch.push(a.as_fd(), b"?");
        match batch.send().first() {
            Some(Sent::Taken(1)) if added => Ok(()),
            Some(Sent::Failed(kind)) => Err(refused("send by io_uring")((*kind).into())),
            _ => match self.fault.take() {
                Some(error) => Err(refused("io_uring_enter")(error)),
                None => Err(Unsupported::NoSend),
            },
        }
    }

    /// How it was set up, for the log.
    pub fn mode(&self) -> &'static str {
        self.mode
    }

    /// Why it gave up, if it did: the kernel failed it, and it sends nothing more.
    pub fn fault(&self) -> Option<&io::Error> {
        self.fault.as_ref()
    }

    /// Begins a batch. No allocation.
    pub fn batch(&mut self) -> Batch<'_> {
        self.entries.clear();
        self.results.clear();
        Batch { ring: self }
    }

    /// Sends messages whose headers, and all that these point to, stay as they are meanwhile, and
    /// tells of each.
    pub(crate) fn send_messages(
        &mut self,
        messages: impl Iterator<Item = (RawFd, *const libc::msghdr)>,
        results: &mut [Sent],
    ) {
        let mut messages = messages.peekable();
        let mut results = results.iter_mut();
        while messages.peek().is_some() {
            self.entries.clear();
            self.results.clear();
            for (at, (socket, message)) in messages.by_ref().take(self.most).enumerate() {
                let entry = opcode::SendMsg::new(types::Fd(socket), message)
                    .flags(libc::MSG_DONTWAIT.cast_unsigned())
                    .build()
                    .user_data(at as u64);
                self.entries.push(entry);
            }
            self.run();
            // In this order: the other would take one result too many of each part.
            for (sent, result) in self.results.iter().zip(results.by_ref()) {
                *result = *sent;
            }
        }
    }

    /// Submits what the vector holds and waits until the kernel is done with it.
    fn run(&mut self) {
        let unwinding = AbortOnUnwind;
        self.results.resize(self.entries.len(), Sent::NotTried);
        let wanted = self.entries.len();
        if wanted == 0 || self.fault.is_some() {
            mem::forget(unwinding);
            return;
        }
        let mut queue = self.ring.submission();
        // SAFETY: each entry names a descriptor and a buffer that were lent to the batch which is
        // being sent, and its caller has not returned yet. It will not before `done` below, when
        // the kernel has told of each entry it consumed; or the process ends. Entries that it did
        // not consume are never submitted again, for the ring is broken then.
        let pushed = unsafe { queue.push_multiple(&self.entries) };
        drop(queue);
        if pushed.is_err() {
            // More than the queue has room for, which `push` does not let happen. None was taken.
            self.fault = Some(io::ErrorKind::StorageFull.into());
            mem::forget(unwinding);
            return;
        }
        let mut done = 0usize;
        let mut tries = 0u32;
        while done < wanted {
            let entered = (self.enter)(&self.ring, wanted.saturating_sub(done));
            let before = done;
            for completion in self.ring.completion() {
                done = done.saturating_add(1);
                let at = usize::try_from(completion.user_data()).unwrap_or(usize::MAX);
                if let Some(sent) = self.results.get_mut(at) {
                    *sent = outcome(completion.result());
                }
            }
            if done >= wanted {
                break;
            }
            let error = match entered {
                // Of some entries only, or not yet complete.
                Ok(taken) if taken > 0 || done > before => {
                    tries = 0;
                    continue;
                }
                Ok(_) => None,
                Err(e) => Some(e),
            };
            tries = tries.saturating_add(1);
            let errno = error.as_ref().and_then(io::Error::raw_os_error);
            let passing = matches!(errno, None | Some(libc::EINTR | libc::EAGAIN | libc::EBUSY));
            if passing && tries < MAX_TRIES {
                continue;
            }
            let left = self.ring.submission().len();
            if wanted.saturating_sub(left) <= done {
                // The kernel holds none of them: the rest is as it was.
                self.fault = Some(error.unwrap_or_else(|| io::ErrorKind::TimedOut.into()));
                break;
            }
            if !passing {
                // Buffers are lent to a kernel that does not give them back.
                std::process::abort();
            }
        }
        mem::forget(unwinding);
    }
}

/// Sends that go to the kernel together.
pub struct Batch<'a> {
    ring: &'a mut Ring,
}

impl std::fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("sends", &self.ring.entries.len()).finish()
    }
}

impl<'a> Batch<'a> {
    /// Adds a send of `bytes` (1 GiB at most; of more only that much) to a connected socket.
    /// `false` when the batch is full and did not take it. A socket should come once in a batch:
    /// if its first send is cut short, the second is tried all the same.
    #[must_use = "a full batch does not take the send"]
    pub fn push(&mut self, socket: BorrowedFd<'a>, bytes: &'a [u8]) -> bool {
        let at = self.ring.entries.len();
        if at >= self.ring.most {
            return false;
        }
        let len = u32::try_from(bytes.len().min(MAX_SEND)).unwrap_or(0);
        let entry = opcode::Send::new(types::Fd(socket.as_raw_fd()), bytes.as_ptr(), len)
            .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
            .build()
            .user_data(at as u64);
        self.ring.entries.push(entry);
        true
    }

    /// Sends, without waiting for any socket, and tells of each in the order they were added. One
    /// call into the kernel.
    pub fn send(self) -> &'a [Sent] {
        self.ring.run();
        &self.ring.results
    }
}

fn outcome(result: i32) -> Sent {
    match usize::try_from(result) {
        Ok(taken) => Sent::Taken(taken),
        Err(_) => match io::Error::from_raw_os_error(result.saturating_neg()).kind() {
            // Interrupted before the first byte: the same as no room, it is tried again.
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Sent::Full,
            kind => Sent::Failed(kind),
        },
    }
}

/// Ends the process when it is dropped: the kernel may hold borrowed buffers.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        std::process::abort();
    }
}

#[cfg(test)]
mod tests;
