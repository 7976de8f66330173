//! The receiver's side: arrivals in, feedback out.

use std::collections::VecDeque;

use super::{DELTA_US, REFERENCE_US};
use crate::rtcp::write;
use crate::seq::Extender16;

/// Sequence numbers remembered, told ones included. At half of it 100 ms at 100 Mbit/s would not
/// fit; at double nothing is gained but memory (8 bytes each).
const MAX_WINDOW: usize = 2_048;

/// Told ones that are remembered, so that one that comes late can be told with its neighbours.
/// At half of it a packet late by 250 ms at 10 Mbit/s stays lost to the sender's eyes; at double
/// feedback repeats more than it is worth.
const TOLD_WINDOW: usize = 256;

/// Statuses in one feedback packet: with two bytes of time each and the chunks at their worst it
/// stays below 1,200 bytes. At half of it a fast stream needs twice the packets; at double they no
/// longer pass every path whole.
const MAX_STATUSES: usize = 500;

/// Packets in a row, all older than the window, after which the sender is believed to count anew.
/// At half of it a burst of late ones could pass for that; at double a new count stays unseen for
/// longer than feedback may pause.
const MAX_STALE: u8 = 100;

const NOT_RECEIVED: i64 = i64::MIN;

/// When to tell. Times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Between feedback packets while packets come.
    pub interval_us: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { interval_us: 100_000 }
    }
}

/// Records arrivals of one transport and writes feedback of them.
///
/// Feed it with [`Recorder::on_packet`]; at [`Recorder::next_timeout`] call [`Recorder::write`]
/// until it gives false. Costs a few comparisons a packet; memory is at most some 25 kB.
#[derive(Clone, Debug)]
pub struct Recorder {
    options: Options,
    extender: Extender16,
    /// Sequence number of the first of `arrivals`.
    base: u64,
    /// In units of 250 us, or NOT_RECEIVED.
    arrivals: VecDeque<i64>,
    /// The next to be told of.
    start: u64,
    due_us: Option<u64>,
    count: u8,
    stale: u8,
    symbols: Vec<u8>,
    deltas: Vec<i16>,
}

impl Recorder {
    /// For one transport.
    pub const fn new(options: Options) -> Self {
        Self {
            options,
            extender: Extender16::new(),
            base: 0,
            arrivals: VecDeque::new(),
            start: 0,
            due_us: None,
            count: 0,
            stale: 0,
            symbols: Vec::new(),
            deltas: Vec::new(),
        }
    }

    /// Notes that the packet with this transport-wide sequence number came. Duplicates count once;
    /// what is older than the window not at all.
    #[inline]
    pub fn on_packet(&mut self, sequence: u16, now_us: u64) {
        let ticks = i64::try_from(now_us).unwrap_or(i64::MAX) / DELTA_US;
        let mut sequence = self.extender.extend(sequence);
        if sequence < self.base {
            self.stale += 1;
            if self.stale < MAX_STALE {
                return;
            }
            self.extender.reset();
            self.arrivals.clear();
            sequence = self.extender.extend(sequence as u16);
        }
        self.stale = 0;
        let end = self.base + self.arrivals.len() as u64;
        if self.arrivals.is_empty() || sequence >= end + MAX_WINDOW as u64 {
            // The first one, or a jump that is no loss.
            self.arrivals.clear();
            self.arrivals.push_back(ticks);
            self.base = sequence;
            self.start = sequence;
        } else if sequence >= end {
            for _ in end..sequence {
                self.arrivals.push_back(NOT_RECEIVED);
            }
            self.arrivals.push_back(ticks);
            while self.arrivals.len() > MAX_WINDOW {
                self.arrivals.pop_front();
                self.base += 1;
            }
            self.start = self.start.max(self.base);
        } else {
            let place = sequence.checked_sub(self.base).and_then(|at| usize::try_from(at).ok());
            match place.and_then(|at| self.arrivals.get_mut(at)) {
                Some(arrival) if *arrival == NOT_RECEIVED => *arrival = ticks,
                _ => return,
            }
            // It was told as lost: tell it again, and its neighbours with it.
            self.start = self.start.min(sequence);
        }
        if self.due_us.is_none() {
            self.due_us = Some(now_us.saturating_add(self.options.interval_us));
        }
    }

    /// When feedback is due; None: nothing came since the last.
    pub const fn next_timeout(&self) -> Option<u64> {
        self.due_us
    }

    /// Appends one feedback packet of at most 1,200 bytes if it is due; false: it is not. `media`
    /// is the SSRC of any stream of the transport.
    pub fn write(&mut self, out: &mut Vec<u8>, sender: u32, media: u32, now_us: u64) -> bool {
        if self.due_us.is_none_or(|due| now_us < due) {
            return false;
        }
        let reference = self.collect();
        let Some(reference) = reference else {
            self.due_us = None;
            return false;
        };
        let told = self.symbols.len();
        self.encode(out, sender, media, reference);
        self.start += told as u64;
        self.count = self.count.wrapping_add(1);
        while self.base + (TOLD_WINDOW as u64) < self.start && self.arrivals.len() > 1 {
            self.arrivals.pop_front();
            self.base += 1;
        }
        true
    }

    /// Fills `symbols` and `deltas` with what one packet can carry, and gives its reference time;
    /// None if there is nothing to tell. The last symbol is of a packet that came.
    fn collect(&mut self) -> Option<i64> {
        self.symbols.clear();
        self.deltas.clear();
        let skip = usize::try_from(self.start.saturating_sub(self.base)).unwrap_or(usize::MAX);
        let per_reference = REFERENCE_US / DELTA_US;
        let mut reference = None;
        let mut before = 0;
        for &arrival in self.arrivals.iter().skip(skip).take(MAX_STATUSES) {
            if arrival == NOT_RECEIVED {
                self.symbols.push(0);
                continue;
            }
            if reference.is_none() {
                let whole = arrival.div_euclid(per_reference);
                reference = Some(whole);
                before = whole * per_reference;
            }
            // A time that does not fit begins the next packet, with a reference of its own.
            let Ok(delta) = i16::try_from(arrival - before) else { break };
            before = arrival;
            self.symbols.push(if (0..=255).contains(&delta) { 1 } else { 2 });
            self.deltas.push(delta);
        }
        // Nothing came among so many: leave them out, for the packet would tell no time.
        if reference.is_none() && !self.symbols.is_empty() {
            self.start += self.symbols.len() as u64;
            return if self.symbols.len() == MAX_STATUSES { self.collect() } else { None };
        }
        while self.symbols.last() == Some(&0) {
            self.symbols.pop();
        }
        reference
    }

    fn encode(&self, out: &mut Vec<u8>, sender: u32, media: u32, reference: i64) {
        let at = write::open_transport_cc(out, sender, media);
        let count = u16::try_from(self.symbols.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&(self.start as u16).to_be_bytes());
        out.extend_from_slice(&count.to_be_bytes());
        let [_, a, b, c] = (reference as u32).to_be_bytes();
        out.extend_from_slice(&[a, b, c, self.count]);
        let mut rest = self.symbols.as_slice();
        while let Some(&symbol) = rest.first() {
            let run = rest.iter().take(0x1FFF).take_while(|next| **next == symbol).count();
            let narrow = rest.iter().take(14).all(|next| *next < 2);
            let (chunk, taken) =
                if run == rest.len().min(0x1FFF) || run >= 14 || (run >= 7 && !narrow) {
                    ((u16::from(symbol) << 13) | u16::try_from(run).unwrap_or(0), run)
                } else if narrow {
                    (0x8000 | pack(rest, 14, 1), 14)
                } else {
                    (0xC000 | pack(rest, 7, 2), 7)
                };
            out.extend_from_slice(&chunk.to_be_bytes());
            rest = rest.get(taken..).unwrap_or_default();
        }
        for &delta in &self.deltas {
            match u8::try_from(delta) {
                Ok(small) => out.push(small),
                Err(_) => out.extend_from_slice(&delta.to_be_bytes()),
            }
        }
        write::close_padded(out, at);
    }
}

/// The first `count` symbols of `bits` bits each, from the top of 14 bits down.
fn pack(symbols: &[u8], count: usize, bits: u32) -> u16 {
    let padded = symbols.iter().copied().chain(std::iter::repeat(0));
    padded.take(count).fold(0, |packed, symbol| (packed << bits) | u16::from(symbol))
}
