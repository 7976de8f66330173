//! Numbers that wrap, made into numbers that do not.

#[cfg(test)]
mod tests;

/// Sequence numbers of 16 bits unwrapped to 64, whatever their order.
///
/// Each is taken for the one nearest to the highest seen: up to 32,767 ahead, up to 32,768 behind.
/// The first is put one round up (65,536 + itself), so that older ones that come late have room
/// below it. The lower 16 bits are always the number itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extender16 {
    /// 0: none seen, since every extended number is at least 32,768.
    highest: u64,
}

impl Extender16 {
    /// Knows nothing yet.
    pub const fn new() -> Self {
        Self { highest: 0 }
    }

    /// Unwraps `value` and remembers it if it is the highest.
    #[inline]
    pub const fn extend(&mut self, value: u16) -> u64 {
        let extended = self.peek(value);
        if extended > self.highest {
            self.highest = extended;
        }
        extended
    }

    /// Unwraps `value` without remembering it; for numbers that others tell (NACK, feedback).
    #[inline]
    pub const fn peek(&self, value: u16) -> u64 {
        if self.highest == 0 {
            return 0x1_0000 + value as u64;
        }
        let ahead = value.wrapping_sub(self.highest as u16).cast_signed();
        self.highest.saturating_add_signed(ahead as i64)
    }

    /// The highest seen.
    pub const fn highest(&self) -> Option<u64> {
        if self.highest == 0 { None } else { Some(self.highest) }
    }

    /// Forgets everything.
    pub const fn reset(&mut self) {
        self.highest = 0;
    }
}

/// Timestamps of 32 bits unwrapped to 64, whatever their order.
///
/// Each is taken for the one nearest to the one before. The first is itself; what lies before it
/// may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extender32 {
    last: Option<i64>,
}

impl Extender32 {
    /// Knows nothing yet.
    pub const fn new() -> Self {
        Self { last: None }
    }

    /// Unwraps `value` and remembers it.
    #[inline]
    pub const fn extend(&mut self, value: u32) -> i64 {
        let extended = self.peek(value);
        self.last = Some(extended);
        extended
    }

    /// Unwraps `value` without remembering it; for the timestamp in a sender report.
    #[inline]
    pub const fn peek(&self, value: u32) -> i64 {
        match self.last {
            None => value as i64,
            Some(last) => {
                let ahead = value.wrapping_sub(last as u32).cast_signed();
                last.saturating_add(ahead as i64)
            }
        }
    }

    /// The one before.
    pub const fn last(&self) -> Option<i64> {
        self.last
    }

    /// Forgets everything.
    pub const fn reset(&mut self) {
        self.last = None;
    }
}
