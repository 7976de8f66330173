//! An H.264 encoder for mosaics, in Constrained Baseline profile.
//!
//! Pictures are [`Picture`]s: flat in each 4x4 block of luma and of chroma. Such a picture needs
//! two kinds of macroblock only: Intra_16x16 with DC prediction and DC levels but no AC levels,
//! and P_Skip with its zero motion vector for what did not change. All neighbours being skipped
//! or intra, the predicted motion vector is zero as well (8.4.1.1). Prediction and reconstruction
//! stay flat within each block, so the encoder's own decoder works on cells, not on samples.
//!
//! Not here: rate control, motion, AC coefficients, more than one slice, the loop filter (off, it
//! would soften the cells and take the reconstruction off the grid).
//!
//! ITU-T H.264: parameter sets 7.3.2.1, 7.3.2.2 and annex E, slices 7.3.3 and 7.3.4, macroblocks
//! 7.3.5, Intra_16x16 and chroma DC prediction 8.3.3 and 8.3.4, transform of DC levels 8.5.10 and
//! 8.5.11. The configuration record is that of ISO/IEC 14496-15, 5.3.3.1.

mod codes;
mod residual;

use crate::bits::BitWriter;
use crate::card::{CHROMA_COLUMNS, COLUMNS, HEIGHT, Picture, RATE, ROWS, WIDTH};

/// The quantiser of all macroblocks. At 20 one level changes a flat block by 0.41, so each flat
/// colour is met exactly; from 26 on neither luma nor chroma could be.
const QP: usize = 20;
/// LevelScale4x4(QP % 6, 0, 0) << (QP / 6): flat scaling lists times normAdjust (8.5.9).
const SCALE: i32 = (16 * [10, 11, 13, 14, 16, 18][QP % 6]) << (QP / 6);
/// level_idc 30: 1620 macroblocks a picture and 40500 a second; this is 920 and 23000.
const LEVEL: u8 = 30;
const LOG2_MAX_FRAME_NUM: u32 = 8;

const MB_COLUMNS: usize = COLUMNS / 4;
const MB_ROWS: usize = ROWS / 4;

/// The prediction of a block without neighbours.
const MIDDLE: i32 = 128;

/// The sequence parameter set, as a NAL unit.
pub(crate) fn sps() -> Vec<u8> {
    let mut bits = BitWriter::default();
    bits.put(8, 66); // profile_idc: Baseline
    bits.put(8, 0xc0); // constraint_set0 and 1: Constrained Baseline
    bits.put(8, u32::from(LEVEL));
    bits.ue(0); // seq_parameter_set_id
    bits.ue(LOG2_MAX_FRAME_NUM - 4);
    bits.ue(2); // pic_order_cnt_type: output order is decoding order
    bits.ue(1); // max_num_ref_frames
    bits.flag(false); // gaps_in_frame_num_value_allowed_flag
    bits.ue(MB_COLUMNS as u32 - 1);
    bits.ue(MB_ROWS as u32 - 1);
    bits.flag(true); // frame_mbs_only_flag
    bits.flag(true); // direct_8x8_inference_flag
    let hidden_columns = MB_COLUMNS * 16 - WIDTH;
    let hidden_rows = MB_ROWS * 16 - HEIGHT;
    bits.flag(true); // frame_cropping_flag, in units of two samples
    bits.ue(0);
    bits.ue(hidden_columns as u32 / 2);
    bits.ue(0);
    bits.ue(hidden_rows as u32 / 2);

    bits.flag(true); // vui_parameters_present_flag
    bits.flag(true); // aspect_ratio_info_present_flag
    bits.put(8, 1); // square samples
    bits.flag(false); // overscan_info_present_flag
    bits.flag(true); // video_signal_type_present_flag
    bits.put(3, 5); // video_format: unspecified
    bits.flag(false); // video_full_range_flag
    bits.flag(true); // colour_description_present_flag
    for _ in 0..3 {
        bits.put(8, 1); // primaries, transfer, matrix: ITU-R BT.709
    }
    bits.flag(false); // chroma_loc_info_present_flag
    bits.flag(true); // timing_info_present_flag
    bits.put(32, 1); // num_units_in_tick
    bits.put(32, 2 * RATE as u32); // time_scale counts fields
    bits.flag(true); // fixed_frame_rate_flag
    bits.flag(false); // nal_hrd_parameters_present_flag
    bits.flag(false); // vcl_hrd_parameters_present_flag
    bits.flag(false); // pic_struct_present_flag
    bits.flag(true); // bitstream_restriction_flag
    bits.flag(true); // motion_vectors_over_pic_boundaries_flag
    bits.ue(0); // max_bytes_per_pic_denom: no limit told
    bits.ue(0); // max_bits_per_mb_denom: no limit told
    bits.ue(10); // log2_max_mv_length_horizontal
    bits.ue(10); // log2_max_mv_length_vertical
    bits.ue(0); // max_num_reorder_frames: a decoder need not wait
    bits.ue(1); // max_dec_frame_buffering
    nal(0x67, &bits.finish_rbsp())
}

/// The picture parameter set, as a NAL unit.
pub(crate) fn pps() -> Vec<u8> {
    let mut bits = BitWriter::default();
    bits.ue(0); // pic_parameter_set_id
    bits.ue(0); // seq_parameter_set_id
    bits.flag(false); // entropy_coding_mode_flag: CAVLC
    bits.flag(false); // bottom_field_pic_order_in_frame_present_flag
    bits.ue(0); // num_slice_groups_minus1
    bits.ue(0); // num_ref_idx_l0_default_active_minus1
    bits.ue(0); // num_ref_idx_l1_default_active_minus1
    bits.flag(false); // weighted_pred_flag
    bits.put(2, 0); // weighted_bipred_idc
    bits.se(QP as i32 - 26); // pic_init_qp_minus26
    bits.se(0); // pic_init_qs_minus26
    bits.se(0); // chroma_qp_index_offset
    bits.flag(true); // deblocking_filter_control_present_flag
    bits.flag(false); // constrained_intra_pred_flag
    bits.flag(false); // redundant_pic_cnt_present_flag
    nal(0x68, &bits.finish_rbsp())
}

/// The AVCDecoderConfigurationRecord with both parameter sets and four-byte lengths.
pub(crate) fn config() -> Vec<u8> {
    let (sps, pps) = (sps(), pps());
    let mut record = vec![1, sps[1], sps[2], sps[3], 0xff, 0xe1];
    record.extend((sps.len() as u16).to_be_bytes());
    record.extend(&sps);
    record.push(1);
    record.extend((pps.len() as u16).to_be_bytes());
    record.extend(&pps);
    record
}

/// A NAL unit: its header byte, and the payload kept free of start codes (7.4.1.1).
fn nal(header: u8, rbsp: &[u8]) -> Vec<u8> {
    let mut unit = vec![header];
    let mut zeros = 0;
    for &byte in rbsp {
        if zeros == 2 && byte <= 3 {
            unit.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        unit.push(byte);
    }
    unit
}

/// Encodes pictures, one access unit of one slice each. Starts with an IDR picture, whatever it is
/// told.
#[derive(Default)]
pub(crate) struct Encoder {
    /// The picture encoded last, as it was asked for.
    wanted: Option<Picture>,
    /// The same as a decoder has it.
    decoded: Option<Picture>,
    frame_num: u32,
    idr_pic_id: u32,
}

impl Encoder {
    /// Encodes `picture`, against the one before unless `key`; gives one NAL unit behind its
    /// four-byte length.
    pub(crate) fn encode(&mut self, picture: &Picture, key: bool) -> Vec<u8> {
        let before = self.wanted.take().filter(|_| !key);
        let key = before.is_none();
        self.frame_num = if key { 0 } else { (self.frame_num + 1) % (1 << LOG2_MAX_FRAME_NUM) };

        let mut bits = BitWriter::default();
        bits.ue(0); // first_mb_in_slice
        bits.ue(if key { 7 } else { 5 }); // slice_type: all slices of the picture are I, or P
        bits.ue(0); // pic_parameter_set_id
        bits.put(LOG2_MAX_FRAME_NUM, self.frame_num);
        if key {
            bits.ue(self.idr_pic_id);
            self.idr_pic_id ^= 1; // neighbours must differ
            bits.flag(false); // no_output_of_prior_pics_flag
            bits.flag(false); // long_term_reference_flag
        } else {
            bits.flag(false); // num_ref_idx_active_override_flag
            bits.flag(false); // ref_pic_list_modification_flag_l0
            bits.flag(false); // adaptive_ref_pic_marking_mode_flag
        }
        bits.se(0); // slice_qp_delta
        bits.ue(1); // disable_deblocking_filter_idc

        let mut decoded = self.decoded.take().unwrap_or_else(Picture::black);
        let mut skipped = 0;
        for row in 0..MB_ROWS {
            for column in 0..MB_COLUMNS {
                if before.as_ref().is_some_and(|before| same(before, picture, column, row)) {
                    skipped += 1;
                    continue;
                }
                if !key {
                    bits.ue(skipped); // mb_skip_run
                    skipped = 0;
                }
                encode_macroblock(&mut bits, picture, &mut decoded, column, row, key);
            }
        }
        if skipped > 0 {
            bits.ue(skipped);
        }
        self.wanted = Some(picture.clone());
        self.decoded = Some(decoded);

        let unit = nal(if key { 0x65 } else { 0x41 }, &bits.finish_rbsp());
        let mut access_unit = (unit.len() as u32).to_be_bytes().to_vec();
        access_unit.extend(unit);
        access_unit
    }
}

/// Whether a macroblock is wanted the same in both pictures.
fn same(a: &Picture, b: &Picture, column: usize, row: usize) -> bool {
    let luma = (0..4).all(|line| {
        let start = (row * 4 + line) * COLUMNS + column * 4;
        a.luma[start..start + 4] == b.luma[start..start + 4]
    });
    luma && (0..2).all(|plane| {
        (0..2).all(|line| {
            let start = (row * 2 + line) * CHROMA_COLUMNS + column * 2;
            a.chroma[plane][start..start + 2] == b.chroma[plane][start..start + 2]
        })
    })
}

/// Writes an Intra_16x16 macroblock and leaves in `decoded` what a decoder makes of it.
fn encode_macroblock(
    bits: &mut BitWriter,
    wanted: &Picture,
    decoded: &mut Picture,
    column: usize,
    row: usize,
    key: bool,
) {
    let luma = luma_levels(&wanted.luma, &mut decoded.luma, column, row);
    let mut chroma = [[0; 4]; 2];
    for (plane, levels) in chroma.iter_mut().enumerate() {
        *levels = chroma_levels(&wanted.chroma[plane], &mut decoded.chroma[plane], column, row);
    }
    let coded_chroma = chroma.iter().flatten().any(|level| *level != 0);

    // mb_type (tables 7-11 and 7-13): DC prediction is mode 2, no AC levels, chroma DC or none.
    let mb_type = 1 + 2 + 4 * u32::from(coded_chroma);
    bits.ue(if key { mb_type } else { 5 + mb_type });
    bits.ue(0); // intra_chroma_pred_mode: DC
    bits.se(0); // mb_qp_delta
    residual::encode(bits, &luma);
    if coded_chroma {
        residual::encode(bits, &chroma[0]);
        residual::encode(bits, &chroma[1]);
    }
}

/// The frame zigzag scan (figure 8-8) of a 4x4 matrix in raster order.
const ZIGZAG: [usize; 16] = [0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15];

fn luma_levels(wanted: &[u8], decoded: &mut [u8], column: usize, row: usize) -> [i32; 16] {
    let corner = row * 4 * COLUMNS + column * 4;
    // Each cell beside the macroblock stands for four equal samples (8.3.3.3).
    let sum = |first: usize, stride: usize| -> i32 {
        (0..4).map(|i| i32::from(decoded[first + i * stride])).sum()
    };
    let above = (row > 0).then(|| sum(corner - COLUMNS, 1));
    let left = (column > 0).then(|| sum(corner - 1, COLUMNS));
    let prediction = match (above, left) {
        (Some(above), Some(left)) => (4 * (above + left) + 16) >> 5,
        (Some(sum), None) | (None, Some(sum)) => (4 * sum + 8) >> 4,
        (None, None) => MIDDLE,
    };

    let mut residual = [0; 16];
    for (index, value) in residual.iter_mut().enumerate() {
        let cell = corner + index / 4 * COLUMNS + index % 4;
        *value = i32::from(wanted[cell]) - prediction;
    }
    // 8.5.10 backwards: it gives 64 * residual = hadamard(levels) * SCALE / 64.
    let mut levels = hadamard4(residual).map(|sum| quantise(256 * sum, SCALE));
    let sums = hadamard4(levels);
    for (index, sum) in sums.into_iter().enumerate() {
        let dc = (sum * SCALE + 32) >> 6;
        let cell = corner + index / 4 * COLUMNS + index % 4;
        decoded[cell] = (prediction + ((dc + 32) >> 6)).clamp(0, 255) as u8;
    }
    let raster = levels;
    for (level, &place) in levels.iter_mut().zip(&ZIGZAG) {
        *level = raster[place];
    }
    levels
}

fn chroma_levels(wanted: &[u8], decoded: &mut [u8], column: usize, row: usize) -> [i32; 4] {
    let corner = row * 2 * CHROMA_COLUMNS + column * 2;
    let above = |x: usize| (row > 0).then(|| i32::from(decoded[corner - CHROMA_COLUMNS + x]));
    let left = |y: usize| (column > 0).then(|| i32::from(decoded[corner + y * CHROMA_COLUMNS - 1]));
    // 8.3.4.1-3: the blocks on the diagonal take both sides, the others the side that is nearer.
    let both = |above: Option<i32>, left: Option<i32>| match (above, left) {
        (Some(above), Some(left)) => (above + left + 1) >> 1,
        (above, left) => above.or(left).unwrap_or(MIDDLE),
    };
    let prediction = [
        both(above(0), left(0)),
        above(1).or(left(0)).unwrap_or(MIDDLE),
        left(1).or(above(0)).unwrap_or(MIDDLE),
        both(above(1), left(1)),
    ];

    let cell = |index: usize| corner + index / 2 * CHROMA_COLUMNS + index % 2;
    let mut residual = [0; 4];
    for (index, value) in residual.iter_mut().enumerate() {
        *value = i32::from(wanted[cell(index)]) - prediction[index];
    }
    // 8.5.11 backwards: it gives 64 * residual = hadamard(levels) * SCALE / 32.
    let levels = hadamard2(residual).map(|sum| quantise(512 * sum, SCALE));
    for (index, sum) in hadamard2(levels).into_iter().enumerate() {
        let dc = (sum * SCALE) >> 5;
        decoded[cell(index)] = (prediction[index] + ((dc + 32) >> 6)).clamp(0, 255) as u8;
    }
    levels
}

/// `value / step`, to the nearest.
fn quantise(value: i32, step: i32) -> i32 {
    let magnitude = (value.abs() + step / 2) / step;
    if value < 0 { -magnitude } else { magnitude }
}

fn hadamard4(mut block: [i32; 16]) -> [i32; 16] {
    for (start, stride) in [(4, 1), (1, 4)] {
        for line in 0..4 {
            let at = |i: usize| line * start + i * stride;
            let (a, b, c, d) = (block[at(0)], block[at(1)], block[at(2)], block[at(3)]);
            block[at(0)] = a + b + c + d;
            block[at(1)] = a + b - c - d;
            block[at(2)] = a - b - c + d;
            block[at(3)] = a - b + c - d;
        }
    }
    block
}

fn hadamard2([a, b, c, d]: [i32; 4]) -> [i32; 4] {
    [a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d]
}

#[cfg(test)]
pub(crate) mod tests;
