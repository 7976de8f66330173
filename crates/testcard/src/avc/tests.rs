//! A decoder for what this encoder writes, down to samples and straight from the standard, so that
//! the encoder's shortcuts over cells are checked against something else than themselves.

use proptest::prelude::*;

use super::codes::*;
use super::*;
use crate::bits::{BitReader, check_prefix_code};
use crate::card::{CHROMA_ROWS, backdrop, paint};

const CODED_WIDTH: usize = MB_COLUMNS * 16;
const CODED_HEIGHT: usize = MB_ROWS * 16;

/// 8-bit samples of one component.
struct Plane {
    width: usize,
    samples: Vec<u8>,
}

impl Plane {
    fn new(width: usize, height: usize) -> Self {
        Self { width, samples: vec![0; width * height] }
    }

    fn at(&self, x: usize, y: usize) -> i32 {
        i32::from(self.samples[y * self.width + x])
    }

    /// The sum of the samples beside a square block: above it, left of it.
    fn beside(&self, x: usize, y: usize, side: usize) -> (i32, i32) {
        let above = if y == 0 { 0 } else { (0..side).map(|i| self.at(x + i, y - 1)).sum() };
        let left = if x == 0 { 0 } else { (0..side).map(|i| self.at(x - 1, y + i)).sum() };
        (above, left)
    }

    /// Adds a residual that is flat in each 4x4 block to the prediction of that block.
    fn set_block(&mut self, x: usize, y: usize, value: i32) {
        for line in y..y + 4 {
            let start = line * self.width + x;
            self.samples[start..start + 4].fill(u8::try_from(value).unwrap());
        }
    }
}

/// Decodes the access units of a clip one after the other.
pub(crate) struct Decoder {
    y: Plane,
    chroma: [Plane; 2],
    frame_num: u32,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        let chroma = || Plane::new(CODED_WIDTH / 2, CODED_HEIGHT / 2);
        Self {
            y: Plane::new(CODED_WIDTH, CODED_HEIGHT),
            chroma: [chroma(), chroma()],
            frame_num: 0,
        }
    }

    /// The luma of one sample of the picture decoded last.
    pub(crate) fn luma(&self, x: usize, y: usize) -> u8 {
        self.y.samples[y * CODED_WIDTH + x]
    }

    /// Decodes one access unit; gives how many macroblocks it codes.
    pub(crate) fn decode(&mut self, access_unit: &[u8]) -> usize {
        let (length, unit) = access_unit.split_at(4);
        assert_eq!(u32::from_be_bytes(length.try_into().unwrap()) as usize, unit.len());
        let key = match unit[0] {
            0x65 => true,
            0x41 => false,
            other => panic!("NAL unit header {other:#x}"),
        };
        let rbsp = unescape(&unit[1..]);
        let mut bits = BitReader::new(&rbsp);
        assert_eq!(bits.ue(), 0, "first_mb_in_slice");
        assert_eq!(bits.ue(), if key { 7 } else { 5 }, "slice_type");
        assert_eq!(bits.ue(), 0, "pic_parameter_set_id");
        let frame_num = bits.get(8);
        assert_eq!(frame_num, if key { 0 } else { (self.frame_num + 1) % 256 });
        self.frame_num = frame_num;
        if key {
            bits.ue();
        } else {
            bits.get(1);
        }
        assert_eq!(bits.get(2), 0, "no list modification, no marking");
        assert_eq!(bits.se(), 0, "slice_qp_delta");
        assert_eq!(bits.ue(), 1, "the loop filter is off");

        let mut coded = 0;
        let mut place = 0;
        while place < MB_COLUMNS * MB_ROWS {
            if !key {
                place += bits.ue() as usize;
                if place == MB_COLUMNS * MB_ROWS {
                    break;
                }
            }
            self.macroblock(&mut bits, place % MB_COLUMNS, place / MB_COLUMNS, key);
            coded += 1;
            place += 1;
            if !key && bits.at_rbsp_end() {
                break;
            }
        }
        assert_eq!(place, MB_COLUMNS * MB_ROWS);
        assert!(bits.at_rbsp_end());
        coded
    }

    fn macroblock(&mut self, bits: &mut BitReader<'_>, column: usize, row: usize, key: bool) {
        let mb_type = bits.ue() - if key { 0 } else { 5 };
        let coded_chroma = match mb_type {
            3 => false,
            7 => true,
            other => panic!("mb_type {other}"),
        };
        assert_eq!(bits.ue(), 0, "intra_chroma_pred_mode");
        assert_eq!(bits.se(), 0, "mb_qp_delta");

        let (x, y) = (column * 16, row * 16);
        let levels: [i32; 16] = decode_residual(bits, 16).try_into().unwrap();
        let (above, left) = self.y.beside(x, y, 16);
        let prediction = match (row > 0, column > 0) {
            (true, true) => (above + left + 16) >> 5,
            (false, false) => 128,
            _ => (above + left + 8) >> 4,
        };
        // Inverse scan of figure 8-8 written out, then 8.5.10 with matrices.
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = levels;
        let matrix = [[a, b, f, g], [c, e, h, m], [d, i, l, n], [j, k, o, p]];
        let h = [[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, -1, 1], [1, -1, 1, -1]];
        let result = multiply(multiply(h, matrix), h);
        for (line, values) in result.into_iter().enumerate() {
            for (place, value) in values.into_iter().enumerate() {
                let dc = (value * 16 * 13 + 4) >> 3; // QP 20: 20 % 6 = 2, 20 / 6 = 3
                self.y.set_block(x + place * 4, y + line * 4, prediction + ((dc + 32) >> 6));
            }
        }

        for plane in &mut self.chroma {
            let mut levels = vec![0; 4];
            if coded_chroma {
                levels = decode_residual(bits, 4);
            }
            let (a, b, c, d) = (levels[0], levels[1], levels[2], levels[3]);
            let sums = [a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d];
            let (x, y) = (column * 8, row * 8);
            // All predictions come from outside the macroblock.
            let outside = |dx: usize, dy: usize| {
                let above = (row > 0).then(|| (0..4).map(|i| plane.at(x + dx + i, y - 1)).sum());
                let left = (column > 0).then(|| (0..4).map(|i| plane.at(x - 1, y + dy + i)).sum());
                let nearer: [Option<i32>; 2] = if dx > dy { [above, left] } else { [left, above] };
                match nearer {
                    [Some(first), Some(second)] if dx == dy => (first + second + 4) >> 3,
                    [Some(sum), _] | [None, Some(sum)] => (sum + 2) >> 2,
                    [None, None] => 128,
                }
            };
            let predictions = [outside(0, 0), outside(4, 0), outside(0, 4), outside(4, 4)];
            for (index, prediction) in predictions.into_iter().enumerate() {
                let dc = ((sums[index] * 16 * 13) << 3) >> 5;
                let value = prediction + ((dc + 32) >> 6);
                plane.set_block(x + index % 2 * 4, y + index / 2 * 4, value);
            }
        }
    }
}

fn multiply(a: [[i32; 4]; 4], b: [[i32; 4]; 4]) -> [[i32; 4]; 4] {
    std::array::from_fn(|i| std::array::from_fn(|j| (0..4).map(|k| a[i][k] * b[k][j]).sum()))
}

fn unescape(bytes: &[u8]) -> Vec<u8> {
    let mut rbsp: Vec<u8> = Vec::new();
    let mut zeros = 0;
    for &byte in bytes {
        assert!(zeros < 2 || byte > 2, "a start code inside a NAL unit");
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        rbsp.push(byte);
    }
    rbsp
}

/// 9.2, forwards.
fn decode_residual(bits: &mut BitReader<'_>, size: usize) -> Vec<i32> {
    let token = if size == 4 {
        bits.code(CHROMA_DC_COEFF_TOKEN.as_flattened().iter().copied())
    } else {
        bits.code(LUMA_COEFF_TOKEN.as_flattened().iter().copied())
    };
    let (total, ones) = (token / 4, token % 4);
    let mut levels = Vec::new();
    let mut suffix_length = usize::from(total > 10 && ones < 3);
    for index in 0..total {
        if index < ones {
            levels.push(if bits.flag() { -1 } else { 1 });
            continue;
        }
        let prefix = (0..).take_while(|_| !bits.flag()).count();
        let width = match (prefix, suffix_length) {
            (14, 0) => 4,
            (15, _) => 12,
            (0..15, _) => suffix_length,
            _ => panic!("level_prefix {prefix} is not for this profile"),
        };
        let mut code = ((prefix << suffix_length) as u32 + bits.get(width)) as i32;
        if prefix == 15 && suffix_length == 0 {
            code += 15;
        }
        if index == ones && ones < 3 {
            code += 2;
        }
        let level = if code % 2 == 0 { (code + 2) / 2 } else { (-code - 1) / 2 };
        suffix_length = suffix_length.max(1);
        if level.abs() > 3 << (suffix_length - 1) && suffix_length < 6 {
            suffix_length += 1;
        }
        levels.push(level);
    }
    let mut zeros = 0;
    if total > 0 && total < size {
        let table =
            if size == 4 { CHROMA_DC_TOTAL_ZEROS[total - 1] } else { LUMA_TOTAL_ZEROS[total - 1] };
        zeros = bits.code(table.iter().copied());
    }
    let mut block = vec![0; size];
    let mut place = total + zeros;
    for (index, level) in levels.into_iter().enumerate() {
        place -= 1;
        block[place] = level;
        if zeros > 0 && index + 1 < total {
            let run = bits.code(RUN_BEFORE[zeros.min(7) - 1].iter().copied());
            place -= run;
            zeros -= run;
        }
    }
    block
}

#[test]
fn the_code_tables_are_prefix_codes() {
    let present = |code: &u32| *code != 0;
    let luma = LUMA_COEFF_TOKEN.as_flattened().iter().copied().filter(present);
    let chroma = CHROMA_DC_COEFF_TOKEN.as_flattened().iter().copied().filter(present);
    assert_eq!(luma.clone().count(), 62);
    assert_eq!(chroma.clone().count(), 14);
    assert!(check_prefix_code(luma).0);
    assert!(check_prefix_code(chroma).0);
    for (index, table) in LUMA_TOTAL_ZEROS.iter().enumerate() {
        assert_eq!(table.len(), 16 - index);
        assert!(check_prefix_code(table.iter().copied()).0, "total_zeros {index}");
    }
    for (index, table) in CHROMA_DC_TOTAL_ZEROS.iter().enumerate() {
        assert_eq!(table.len(), 4 - index);
        assert_eq!(check_prefix_code(table.iter().copied()), (true, true));
    }
    for table in RUN_BEFORE {
        assert!(check_prefix_code(table.iter().copied()).0);
    }
}

#[test]
fn the_sequence_parameter_set_tells_profile_size_and_rate() {
    let unit = sps();
    assert_eq!(unit[..4], [0x67, 66, 0xc0, 30]);
    let rbsp = unescape(&unit[4..]);
    let mut bits = BitReader::new(&rbsp);
    assert_eq!(bits.ue(), 0, "seq_parameter_set_id");
    assert_eq!(bits.ue() + 4, 8, "log2_max_frame_num");
    assert_eq!(bits.ue(), 2, "pic_order_cnt_type");
    assert_eq!(bits.ue(), 1, "max_num_ref_frames");
    assert!(!bits.flag());
    assert_eq!((bits.ue() + 1) * 16, 640);
    assert_eq!((bits.ue() + 1) * 16, 368);
    assert_eq!(bits.get(3), 0b111, "frames only, direct_8x8_inference, cropping");
    assert_eq!([bits.ue(), bits.ue(), bits.ue(), bits.ue()], [0, 0, 0, 4]);
    assert!(bits.flag(), "vui_parameters_present_flag");
    assert_eq!(bits.get(1 + 8), 1 << 8 | 1, "square samples");
    assert_eq!(bits.get(1 + 1 + 3 + 1 + 1), 0b011_0101, "limited range, colours described");
    assert_eq!(bits.get(24), 0x01_01_01, "BT.709");
    assert!(!bits.flag());
    assert!(bits.flag(), "timing_info_present_flag");
    let (units, scale) = (bits.get(32), bits.get(32));
    assert_eq!(scale / units / 2, 25);
    assert_eq!(bits.get(5), 0b1_0001, "fixed rate, no HRD, restrictions follow");
    assert!(bits.flag());
    assert_eq!([bits.ue(), bits.ue(), bits.ue(), bits.ue()], [0, 0, 10, 10]);
    assert_eq!([bits.ue(), bits.ue()], [0, 1], "no reordering, one picture kept");
    assert!(bits.at_rbsp_end());
}

#[test]
fn the_picture_parameter_set_asks_for_cavlc_and_lets_slices_turn_the_loop_filter_off() {
    let unit = pps();
    assert_eq!(unit[0], 0x68);
    let rbsp = unescape(&unit[1..]);
    let mut bits = BitReader::new(&rbsp);
    assert_eq!([bits.ue(), bits.ue()], [0, 0]);
    assert_eq!(bits.get(2), 0);
    assert_eq!([bits.ue(), bits.ue(), bits.ue()], [0, 0, 0]);
    assert_eq!(bits.get(3), 0);
    assert_eq!(bits.se() + 26, 20);
    assert_eq!([bits.se(), bits.se()], [0, 0]);
    assert_eq!(bits.get(3), 0b100);
    assert!(bits.at_rbsp_end());
}

#[test]
fn the_configuration_holds_both_parameter_sets() {
    let record = config();
    assert_eq!(record[..6], [1, 66, 0xc0, 30, 0xff, 0xe1]);
    let length = usize::from(record[7]);
    assert_eq!(record[8..8 + length], sps());
    assert_eq!(record[8 + length..8 + length + 3], [1, 0, pps().len() as u8]);
    assert_eq!(record[8 + length + 3..], pps());
}

#[test]
fn every_decoded_picture_is_the_painted_one() {
    let backdrop = backdrop();
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::new());
    let near = |shown: u8, wanted: u8| shown.abs_diff(wanted) <= 3;
    for frame in 0..100 {
        let card = paint(&backdrop, frame, 100);
        let coded = decoder.decode(&encoder.encode(&card, frame == 50));
        if frame % 50 == 0 {
            assert_eq!(coded, MB_COLUMNS * MB_ROWS, "all of an IDR picture is coded");
        } else {
            assert!((1..150).contains(&coded), "{coded} macroblocks in frame {frame}");
        }
        for row in 0..ROWS {
            for column in 0..COLUMNS {
                let shown = decoder.luma(column * 4 + 3, row * 4 + 3);
                let wanted = card.luma[row * COLUMNS + column];
                assert!(near(shown, wanted), "{shown} for {wanted} at {column},{row} of {frame}");
            }
        }
        for (plane, decoded) in decoder.chroma.iter().enumerate() {
            for row in 0..CHROMA_ROWS {
                for column in 0..CHROMA_COLUMNS {
                    let shown = decoded.at(column * 4, row * 4) as u8;
                    let wanted = card.chroma[plane][row * CHROMA_COLUMNS + column];
                    assert!(near(shown, wanted), "{shown} for {wanted} at {column},{row}");
                }
            }
        }
    }
}

#[test]
fn the_encoder_knows_what_a_decoder_shows() {
    let backdrop = backdrop();
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::new());
    for frame in 0..30 {
        decoder.decode(&encoder.encode(&paint(&backdrop, frame, 50), false));
    }
    let known = encoder.decoded.unwrap();
    for y in 0..CODED_HEIGHT {
        for x in 0..CODED_WIDTH {
            assert_eq!(decoder.luma(x, y), known.luma[y / 4 * COLUMNS + x / 4], "{x},{y}");
        }
    }
    for (decoded, known) in decoder.chroma.iter().zip(&known.chroma) {
        for (index, &sample) in decoded.samples.iter().enumerate() {
            let (x, y) = (index % decoded.width, index / decoded.width);
            assert_eq!(sample, known[y / 4 * CHROMA_COLUMNS + x / 4], "chroma {x},{y}");
        }
    }
}

#[test]
fn one_colour_all_over_is_met_exactly() {
    for luma in (16..=235).step_by(3) {
        let mut card = Picture::black();
        card.luma.fill(luma);
        card.chroma[0].fill(luma);
        card.chroma[1].fill(255 - luma);
        let mut decoder = Decoder::new();
        decoder.decode(&Encoder::default().encode(&card, true));
        assert!(decoder.y.samples.iter().all(|sample| *sample == luma), "{luma}");
        assert!(decoder.chroma[0].samples.iter().all(|sample| *sample == luma), "{luma}");
        assert!(decoder.chroma[1].samples.iter().all(|sample| *sample == 255 - luma), "{luma}");
    }
}

fn level() -> impl Strategy<Value = i32> {
    prop_oneof![4 => Just(0), 3 => -1..=1, 3 => -20..=20, 1 => -2063..=2063]
}

proptest! {
    #[test]
    fn residual_levels_survive_a_round_trip(
        luma in prop::collection::vec(level(), 16),
        chroma in prop::collection::vec(level(), 4),
    ) {
        let mut bits = BitWriter::default();
        residual::encode(&mut bits, &luma);
        residual::encode(&mut bits, &chroma);
        let rbsp = bits.finish_rbsp();
        let mut bits = BitReader::new(&rbsp);
        prop_assert_eq!(decode_residual(&mut bits, 16), luma);
        prop_assert_eq!(decode_residual(&mut bits, 4), chroma);
        prop_assert!(bits.at_rbsp_end());
    }

    #[test]
    fn payloads_survive_a_nal_unit_without_a_start_code_in_it(
        payload in prop::collection::vec(prop_oneof![3 => Just(0u8), 1 => 0u8..5], 0..60),
    ) {
        let unit = nal(0x65, &payload);
        prop_assert_eq!(unescape(&unit[1..]), payload);
    }
}
