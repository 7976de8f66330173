//! The index of one track (ISO/IEC 14496-12 sections 8.6 and 8.7).

use super::Sample;
use super::boxes::{FullBox, full, words};

/// What a player needs to find each sample. Equal durations and composition times in a row are
/// counted, so a steady stream takes four bytes a sample.
#[derive(Debug)]
pub(super) struct Tables {
    most: usize,
    /// More samples have come than there is room for.
    full: bool,
    sizes: Vec<u32>,
    durations: Vec<(u32, u32)>,
    compositions: Vec<(u32, i32)>,
    /// Numbers of the samples that a decoder can start at.
    sync: Vec<u32>,
    /// Where the runs of samples lie, and how many are in each.
    chunks: Vec<(u64, u32)>,
    ticks: u64,
}

/// Counts an equal value, or begins another.
fn count<T: PartialEq>(runs: &mut Vec<(u32, T)>, value: T) {
    match runs.last_mut() {
        Some((n, last)) if *last == value => *n = n.saturating_add(1),
        _ => runs.push((1, value)),
    }
}

fn length<T>(of: &[T]) -> u32 {
    u32::try_from(of.len()).unwrap_or(u32::MAX)
}

impl Tables {
    /// An index of `most` samples at most.
    pub(super) const fn new(most: usize) -> Self {
        Self {
            most,
            full: false,
            sizes: Vec::new(),
            durations: Vec::new(),
            compositions: Vec::new(),
            sync: Vec::new(),
            chunks: Vec::new(),
            ticks: 0,
        }
    }

    /// Samples were left out of it: it is of no use any more.
    pub(super) const fn is_full(&self) -> bool {
        self.full
    }

    /// The sum of all durations.
    pub(super) const fn duration(&self) -> u64 {
        self.ticks
    }

    /// Notes samples that lie one behind the other from `place` on.
    pub(super) fn add(&mut self, samples: &[Sample], place: u64) {
        if samples.is_empty() {
            return;
        }
        if self.full || self.sizes.len().saturating_add(samples.len()) > self.most {
            *self = Self { full: true, ..Self::new(self.most) };
            return;
        }
        self.chunks.push((place, length(samples)));
        for sample in samples {
            self.sizes.push(sample.size);
            count(&mut self.durations, sample.duration);
            count(&mut self.compositions, sample.composition);
            if sample.key {
                self.sync.push(length(&self.sizes));
            }
            self.ticks = self.ticks.saturating_add(u64::from(sample.duration));
        }
    }

    /// Appends the tables, which are empty for a file in fragments.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        full(out, FullBox::new(b"stts"), |out| {
            words(out, &[length(&self.durations)]);
            for (n, duration) in &self.durations {
                words(out, &[*n, *duration]);
            }
        });
        if self.compositions.iter().any(|(_, offset)| *offset != 0) {
            full(out, FullBox::new(b"ctts").version(1), |out| {
                words(out, &[length(&self.compositions)]);
                for (n, offset) in &self.compositions {
                    words(out, &[*n]);
                    out.extend_from_slice(&offset.to_be_bytes());
                }
            });
        }
        // Without the table every sample is one to start at.
        if self.sync.len() < self.sizes.len() {
            full(out, FullBox::new(b"stss"), |out| {
                words(out, &[length(&self.sync)]);
                words(out, &self.sync);
            });
        }
        full(out, FullBox::new(b"stsc"), |out| self.chunk_lengths(out));
        full(out, FullBox::new(b"stsz"), |out| {
            words(out, &[0, length(&self.sizes)]);
            words(out, &self.sizes);
        });
        let far = self.chunks.last().is_some_and(|(place, _)| u32::try_from(*place).is_err());
        full(out, FullBox::new(if far { b"co64" } else { b"stco" }), |out| {
            words(out, &[length(&self.chunks)]);
            for (place, _) in &self.chunks {
                match far {
                    true => out.extend_from_slice(&place.to_be_bytes()),
                    false => words(out, &[u32::try_from(*place).unwrap_or(u32::MAX)]),
                }
            }
        });
    }

    /// The body of `stsc`: where the number of samples of a chunk changes.
    fn chunk_lengths(&self, out: &mut Vec<u8>) {
        let at = out.len();
        words(out, &[0]);
        let (mut entries, mut before) = (0u32, None);
        for (number, (_, samples)) in (1u32..).zip(&self.chunks) {
            if before != Some(*samples) {
                words(out, &[number, *samples, 1]);
                entries = entries.saturating_add(1);
                before = Some(*samples);
            }
        }
        if let Some(place) = out.get_mut(at..at.saturating_add(4)) {
            place.copy_from_slice(&entries.to_be_bytes());
        }
    }
}
