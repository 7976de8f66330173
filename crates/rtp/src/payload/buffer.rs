//! Where payloads are written: one buffer, used again and again.

use std::ops::Range;

/// What the buffer may keep when it is cleared, in bytes.
///
/// A key frame of 1080p at 20 Mbit/s has 0.5 MB, so usual streams never allocate anew. At half
/// some would at each key frame; at double, one huge frame would cost 2 MB for good.
const KEEP: usize = 1 << 20;

/// As [`KEEP`], in payloads: that many bytes in payloads of 1,024.
const KEEP_LIST: usize = KEEP / 1024;

/// One payload within [`Payloads`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Where it lies in [`Payloads::bytes`].
    pub range: Range<usize>,
    /// The RTP marker bit: the last of a video frame; of sound as the format says.
    pub marker: bool,
    /// The first of its frame.
    pub starts_frame: bool,
    /// How much later than the frame's time this payload's is, in ticks of the format's clock: 0,
    /// save for sound of which a frame fills several payloads.
    pub ticks: u32,
}

/// The payloads of one or more frames, one behind the other.
///
/// Meant to be cleared and used again. There may be unused bytes between payloads.
#[derive(Debug, Default)]
pub struct Payloads {
    bytes: Vec<u8>,
    list: Vec<Payload>,
}

impl Payloads {
    /// None yet.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), list: Vec::new() }
    }

    /// Forgets all payloads. Keeps up to 1 MiB of memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.list.clear();
        if self.bytes.capacity() > KEEP {
            self.bytes.shrink_to(KEEP);
        }
        if self.list.capacity() > KEEP_LIST {
            self.list.shrink_to(KEEP_LIST);
        }
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.list.len()
    }

    /// There are none.
    pub const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Where each lies and what is special about it.
    pub fn list(&self) -> &[Payload] {
        &self.list
    }

    /// The buffer that the ranges refer to.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The bytes of one payload; empty if it is not of this buffer.
    pub fn of(&self, payload: &Payload) -> &[u8] {
        self.bytes.get(payload.range.clone()).unwrap_or_default()
    }

    /// Each payload with its bytes.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Payload, &[u8])> {
        self.list.iter().map(|payload| (payload, self.of(payload)))
    }

    /// A place to [`truncate`](Self::truncate) back to.
    pub(super) const fn mark(&self) -> Mark {
        Mark { bytes: self.bytes.len(), list: self.list.len() }
    }

    /// Forgets all that came since `mark`.
    pub(super) fn truncate(&mut self, mark: Mark) {
        self.bytes.truncate(mark.bytes);
        self.list.truncate(mark.list);
    }

    /// Where the next payload is written. What is appended belongs to nothing until
    /// [`seal`](Self::seal).
    pub(super) const fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Makes all from `start` to the end of the buffer a payload.
    pub(super) fn seal(&mut self, start: usize) {
        self.seal_later(start, 0);
    }

    /// As [`seal`](Self::seal), for a payload whose time is `ticks` after the frame's.
    pub(super) fn seal_later(&mut self, start: usize, ticks: u32) {
        let range = start..self.bytes.len();
        self.list.push(Payload { range, marker: false, starts_frame: false, ticks });
    }

    /// Tells which of the payloads since `mark` is the first and, with `marker`, the last of the
    /// frame.
    pub(super) fn frame_done(&mut self, mark: Mark, marker: bool) {
        if let Some(new) = self.list.get_mut(mark.list..) {
            if let Some(first) = new.first_mut() {
                first.starts_frame = true;
            }
            if let Some(last) = new.last_mut() {
                last.marker = marker;
            }
        }
    }
}

/// A place within [`Payloads`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    bytes: usize,
    list: usize,
}
