//! What the test card shows: one [`Picture`] per frame number, painted on a coarse grid.
//!
//! A picture is a mosaic: one luma value per 4x4 samples, one pair of chroma values per 8x8. That
//! is all an encoder without AC coefficients can show, and it shows it nearly exactly. Everything
//! that keeps still lies where whole macroblocks (4x4 cells) take one colour, as far as possible.
//!
//! From top to bottom: the eight bars of 75 % colour with the seconds in front, the bars reversed,
//! a lane in which a white box goes from left to right and back, a staircase of greys, and a
//! panel with the name, the number of the frame within its second, and a square that lights up
//! for the first [`FLASH_FRAMES`] frames of each second.

/// Picture width in samples, all of which are shown.
pub(crate) const WIDTH: usize = 640;
/// Picture height in samples, as shown; coded are 368, a whole number of macroblocks.
pub(crate) const HEIGHT: usize = 360;
/// Frames per second.
pub(crate) const RATE: usize = 25;
/// How long the square stays lit: 120 ms, which is the beep's 100 ms in whole frames. One frame
/// would be missed by a recorder at half the rate.
pub(crate) const FLASH_FRAMES: usize = 3;

/// Cells of 4x4 luma samples in a row.
pub(crate) const COLUMNS: usize = WIDTH / 4;
/// Rows of such cells, counting the two that the cropping hides.
pub(crate) const ROWS: usize = HEIGHT.div_ceil(16) * 4;
/// Chroma cells in a row: each is 4x4 chroma samples, 8x8 luma samples.
pub(crate) const CHROMA_COLUMNS: usize = COLUMNS / 2;
/// Rows of chroma cells.
pub(crate) const CHROMA_ROWS: usize = ROWS / 2;

/// Y, Cb, Cr in the range of ITU-R BT.709 (16 to 235, 16 to 240).
type Colour = [u8; 3];

const fn grey(luma: u8) -> Colour {
    [luma, 128, 128]
}

const BLACK: Colour = grey(16);
const WHITE: Colour = grey(235);
const PANEL: Colour = grey(28);
const LANE: Colour = grey(40);

/// White, yellow, cyan, green, magenta, red, blue (each at 75 %) and black.
const BARS: [Colour; 8] = [
    grey(180),
    [168, 44, 136],
    [145, 147, 44],
    [133, 63, 52],
    [63, 193, 204],
    [51, 109, 212],
    [28, 212, 120],
    BLACK,
];

/// Upper left corner of the square that flashes, and its side, in cells.
pub(crate) const FLASH: (usize, usize, usize) = (136, 72, 16);
/// Upper left corner of the box at rest, and its side, in cells.
const BOX: (usize, usize, usize) = (12, 50, 12);
/// How far the box goes, in cells: one cell a frame, there and back in ten seconds.
const BOX_REACH: usize = 125;

/// A mosaic of one luma value per 4x4 samples and one pair of chroma values per 8x8.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Picture {
    /// Row by row, [`COLUMNS`] x [`ROWS`].
    pub(crate) luma: Vec<u8>,
    /// Cb and Cr, row by row, [`CHROMA_COLUMNS`] x [`CHROMA_ROWS`] each.
    pub(crate) chroma: [Vec<u8>; 2],
}

impl Picture {
    /// All samples black.
    pub(crate) fn black() -> Self {
        let plane = vec![128; CHROMA_COLUMNS * CHROMA_ROWS];
        Self { luma: vec![16; COLUMNS * ROWS], chroma: [plane.clone(), plane] }
    }

    /// Paints a rectangle of cells; its edges are even, or its chroma is that of what it covers.
    fn fill(&mut self, x: usize, y: usize, width: usize, height: usize, colour: Colour) {
        self.fill_luma(x, y, width, height, colour[0]);
        for (plane, value) in self.chroma.iter_mut().zip([colour[1], colour[2]]) {
            for row in y / 2..(y + height) / 2 {
                let start = row * CHROMA_COLUMNS;
                plane[start + x / 2..start + (x + width) / 2].fill(value);
            }
        }
    }

    fn fill_luma(&mut self, x: usize, y: usize, width: usize, height: usize, value: u8) {
        for row in y..y + height {
            let start = row * COLUMNS;
            self.luma[start + x..start + x + width].fill(value);
        }
    }

    /// Writes a character of the [`glyph`]s, each dot `dot` cells wide and high; luma only.
    fn write(&mut self, x: usize, y: usize, dot: usize, character: u8) {
        for (row, bits) in glyph(character).into_iter().enumerate() {
            for column in 0..5 {
                if bits >> (4 - column) & 1 == 1 {
                    self.fill_luma(x + column * dot, y + row * dot, dot, dot, WHITE[0]);
                }
            }
        }
    }
}

/// The part that never changes.
pub(crate) fn backdrop() -> Picture {
    let mut card = Picture::black();
    let bar = COLUMNS / BARS.len();
    for (index, &colour) in BARS.iter().enumerate() {
        card.fill(index * bar, 0, bar, 44, colour);
        card.fill((BARS.len() - 1 - index) * bar, 44, bar, 4, colour);
    }
    card.fill(0, 48, COLUMNS, 16, LANE);
    card.fill(0, 55, COLUMNS, 2, grey(70));
    for step in 0..10 {
        card.fill(step * 16, 64, 16, 4, grey(16 + (step * 219 / 9) as u8));
    }
    card.fill(0, 68, COLUMNS, ROWS - 68, PANEL);
    for (index, character) in b"MILLRACE".iter().enumerate() {
        card.write(8 + index * 6, 71, 1, *character);
    }
    for (index, character) in b"TEST CARD".iter().enumerate() {
        card.write(8 + index * 6, 81, 1, *character);
    }
    card
}

/// The picture number `frame` of a clip of `total` frames, on the given [`backdrop`].
pub(crate) fn paint(backdrop: &Picture, frame: usize, total: usize) -> Picture {
    let mut card = backdrop.clone();
    let (second, within) = (frame / RATE, frame % RATE);

    // Dots of one macroblock each: the digits cost one coefficient per macroblock.
    card.fill(52, 4, 56, 36, BLACK);
    card.write(56, 8, 4, digit(second / 10));
    card.write(84, 8, 4, digit(second));

    card.write(84, 72, 2, digit(within / 10));
    card.write(96, 72, 2, digit(within));

    let (x, y, side) = BOX;
    card.fill_luma(x + box_offset(frame, total), y, side, side, WHITE[0]);

    let (x, y, side) = FLASH;
    let lit = within < FLASH_FRAMES;
    card.fill(x, y, side, side, if lit { WHITE } else { grey(56) });
    card
}

fn digit(number: usize) -> u8 {
    b'0' + (number % 10) as u8
}

/// How far the box is from its place of rest: up and down by one a frame, so that the clip's last
/// frame leads to its first.
fn box_offset(frame: usize, total: usize) -> usize {
    let fewest = total.div_ceil(2 * BOX_REACH).max(1);
    let trips = (fewest..=total).find(|trips| total.is_multiple_of(*trips)).unwrap_or(1);
    let period = total / trips;
    let phase = frame % period;
    phase.min(period - phase)
}

/// Seven rows of five dots, the leftmost dot in bit 4. Blank for what the card does not write.
#[rustfmt::skip]
fn glyph(character: u8) -> [u8; 7] {
    match character {
        b'0' => [0b01110, 0b10001, 0b10011, 0b10101, 0b11001, 0b10001, 0b01110],
        b'1' => [0b00100, 0b01100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110],
        b'2' => [0b01110, 0b10001, 0b00001, 0b00110, 0b01000, 0b10000, 0b11111],
        b'3' => [0b11110, 0b00001, 0b00001, 0b01110, 0b00001, 0b00001, 0b11110],
        b'4' => [0b00010, 0b00110, 0b01010, 0b10010, 0b11111, 0b00010, 0b00010],
        b'5' => [0b11111, 0b10000, 0b11110, 0b00001, 0b00001, 0b10001, 0b01110],
        b'6' => [0b00110, 0b01000, 0b10000, 0b11110, 0b10001, 0b10001, 0b01110],
        b'7' => [0b11111, 0b00001, 0b00010, 0b00100, 0b01000, 0b01000, 0b01000],
        b'8' => [0b01110, 0b10001, 0b10001, 0b01110, 0b10001, 0b10001, 0b01110],
        b'9' => [0b01110, 0b10001, 0b10001, 0b01111, 0b00001, 0b00010, 0b01100],
        b'A' => [0b01110, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001],
        b'C' => [0b01110, 0b10001, 0b10000, 0b10000, 0b10000, 0b10001, 0b01110],
        b'D' => [0b11110, 0b10001, 0b10001, 0b10001, 0b10001, 0b10001, 0b11110],
        b'E' => [0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b11111],
        b'I' => [0b01110, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110],
        b'L' => [0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b11111],
        b'M' => [0b10001, 0b11011, 0b10101, 0b10101, 0b10001, 0b10001, 0b10001],
        b'R' => [0b11110, 0b10001, 0b10001, 0b11110, 0b10100, 0b10010, 0b10001],
        b'S' => [0b01111, 0b10000, 0b10000, 0b01110, 0b00001, 0b00001, 0b11110],
        b'T' => [0b11111, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100],
        _ => [0; 7],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_box_moves_one_cell_a_frame_and_comes_back_for_the_loop() {
        for total in (50..=3000).step_by(50) {
            for frame in 0..total {
                let here = box_offset(frame, total);
                let next = box_offset((frame + 1) % total, total);
                assert!(here <= BOX_REACH, "{here} at {frame} of {total}");
                assert!(here.abs_diff(next) <= 1, "jump at {frame} of {total}");
            }
        }
        assert_eq!(box_offset(125, 250), BOX_REACH);
    }

    #[test]
    fn every_character_that_is_written_has_dots() {
        for character in b"0123456789MILLRACETESTCARD" {
            assert_ne!(glyph(*character), [0; 7], "{}", char::from(*character));
        }
    }

    #[test]
    fn the_square_is_lit_for_the_first_frames_of_each_second() {
        let backdrop = backdrop();
        let (x, y, _) = FLASH;
        for frame in 0..50 {
            let lit = paint(&backdrop, frame, 50).luma[y * COLUMNS + x] == WHITE[0];
            assert_eq!(lit, frame % RATE < FLASH_FRAMES, "frame {frame}");
        }
    }
}
