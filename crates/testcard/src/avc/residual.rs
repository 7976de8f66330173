//! Residual blocks in CAVLC: ITU-T H.264, 7.3.5.3.2 and 9.2, read backwards.

use super::codes::{
    CHROMA_DC_COEFF_TOKEN, CHROMA_DC_TOTAL_ZEROS, LUMA_COEFF_TOKEN, LUMA_TOTAL_ZEROS, RUN_BEFORE,
};
use crate::bits::BitWriter;

/// The largest magnitude that [`encode`] can write, whatever comes before it: 12 bits of suffix
/// behind 15 zeros. Levels of this encoder stay below 600.
const LARGEST: i32 = 2063;

/// Writes the DC levels of a macroblock in scanning order: 16 of luma, or 4 of one chroma plane.
///
/// Luma is written for nC = 0, which always holds here: no macroblock of the stream has AC
/// coefficients, and DC coefficients are not counted by their neighbours (9.2.1).
pub(super) fn encode(bits: &mut BitWriter, levels: &[i32]) {
    // Highest frequency first, as they are written: (level, zeros right below it in the scan).
    let mut runs = [(0i32, 0usize); 16];
    let mut total = 0;
    let mut zeros_after = 0;
    for &level in levels.iter().rev() {
        if level != 0 {
            debug_assert!(level.abs() <= LARGEST);
            runs[total] = (level, 0);
            total += 1;
        } else if total > 0 {
            runs[total - 1].1 += 1;
            zeros_after += 1;
        }
    }
    let runs = &runs[..total];
    let ones = runs.iter().take(3).take_while(|(level, _)| level.abs() == 1).count();

    let chroma = levels.len() == 4;
    bits.code(if chroma {
        CHROMA_DC_COEFF_TOKEN[total][ones]
    } else {
        LUMA_COEFF_TOKEN[total][ones]
    });
    if total == 0 {
        return;
    }
    for (level, _) in &runs[..ones] {
        bits.flag(*level < 0);
    }
    let mut suffix_length = u32::from(total > 10 && ones < 3);
    for (index, &(level, _)) in runs.iter().enumerate().skip(ones) {
        let mut code = if level > 0 { 2 * level - 2 } else { -2 * level - 1 };
        if index == ones && ones < 3 {
            code -= 2; // it cannot be one of the trailing ones
        }
        encode_level(bits, code.unsigned_abs(), suffix_length);
        suffix_length = suffix_length.max(1);
        if level.abs() > 3 << (suffix_length - 1) && suffix_length < 6 {
            suffix_length += 1;
        }
    }

    if total < levels.len() {
        let table: &[&[u32]] = if chroma { &CHROMA_DC_TOTAL_ZEROS } else { &LUMA_TOTAL_ZEROS };
        bits.code(table[total - 1][zeros_after]);
    }
    let mut zeros_left = zeros_after;
    for &(_, run) in &runs[..total - 1] {
        if zeros_left == 0 {
            break;
        }
        bits.code(RUN_BEFORE[zeros_left.min(7) - 1][run]);
        zeros_left -= run;
    }
}

/// level_prefix and level_suffix of one levelCode (9.2.2.1).
fn encode_level(bits: &mut BitWriter, code: u32, suffix_length: u32) {
    let (prefix, width, suffix) = if suffix_length == 0 {
        match code {
            0..14 => (code, 0, 0),
            14..30 => (14, 4, code - 14),
            _ => (15, 12, code - 30),
        }
    } else if code < 15 << suffix_length {
        (code >> suffix_length, suffix_length, code)
    } else {
        (15, 12, code - (15 << suffix_length))
    };
    bits.put(prefix + 1, 1);
    bits.put(width, suffix);
}
