//! The H.265 sequence parameter set (ITU-T H.265 section 7.3.2.2, annex E.2.1).

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

use super::ProfileTierLevel;
use crate::ReadError;
use crate::bits::{BitReader, rbsp};

/// The widest and highest picture that is believed: what containers can say in 16 bits.
pub const MAX_SIDE: u32 = 65_535;

/// Pictures in a reference picture set; the standard allows 16 (`sps_max_dec_pic_buffering`).
const MAX_REFERENCES: u32 = 16;

/// What is of use from a sequence parameter set.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sps {
    /// General profile, tier and level.
    pub general: ProfileTierLevel,
    /// Temporal layers, 1 to 7.
    pub temporal_layers: u8,
    /// A switch up is possible at every sub-layer.
    pub temporal_nested: bool,
    /// 0 monochrome, 1 4:2:0, 2 4:2:2, 3 4:4:4.
    pub chroma_format: u8,
    /// Bits of a luma sample, 8 to 16.
    pub luma_depth: u8,
    /// Bits of a chroma sample, 8 to 16.
    pub chroma_depth: u8,
    /// Width within the conformance window, in samples.
    pub width: u32,
    /// Height within the conformance window, in samples.
    pub height: u32,
    /// Frames a second, when the usability information tells.
    pub fps: Option<f64>,
}

impl Sps {
    /// Decodes a unit without start code. Damage behind the bit depths only costs the frame
    /// rate. Bounded by [`RBSP_LIMIT`](crate::bits::RBSP_LIMIT).
    pub fn decode(unit: &[u8]) -> Result<Self, ReadError> {
        let bytes = rbsp(unit);
        let mut r = BitReader::new("SPS", &bytes);
        r.skip(1)?;
        let kind = r.read(6)?;
        if kind != 33 {
            return Err(r.invalid("NAL type of an SPS", u64::from(kind), 0));
        }
        r.skip(13)?;
        let sub_layers = r.read(3)?;
        if sub_layers > 6 {
            return Err(r.invalid("SPS sub-layers", u64::from(sub_layers), 2));
        }
        let temporal_nested = r.flag()?;
        let general = ProfileTierLevel::read(&mut r)?;
        skip_sub_layers(&mut r, sub_layers)?;
        r.ue_to("SPS id", 15)?;
        let chroma_format = r.ue_to("chroma format", 3)? as u8;
        let separate_planes = chroma_format == 3 && r.flag()?;
        let mut width = r.ue_to("width", MAX_SIDE)?;
        let mut height = r.ue_to("height", MAX_SIDE)?;
        if r.flag()? {
            let planes = if separate_planes { 0 } else { chroma_format };
            let unit_x = if matches!(planes, 1 | 2) { 2 } else { 1 };
            let unit_y = if planes == 1 { 2 } else { 1 };
            let across = r.ue()?.saturating_add(r.ue()?).saturating_mul(unit_x);
            let down = r.ue()?.saturating_add(r.ue()?).saturating_mul(unit_y);
            width = width.saturating_sub(across);
            height = height.saturating_sub(down);
        }
        if width == 0 || height == 0 {
            let size = u64::from(width) << 32 | u64::from(height);
            return Err(r.invalid("picture size", size, r.offset()));
        }
        let luma_depth = r.ue_to("luma bit depth", 8)?.saturating_add(8) as u8;
        let chroma_depth = r.ue_to("chroma bit depth", 8)?.saturating_add(8) as u8;
        Ok(Self {
            general,
            temporal_layers: sub_layers.saturating_add(1) as u8,
            temporal_nested,
            chroma_format,
            luma_depth,
            chroma_depth,
            width,
            height,
            fps: read_fps(&mut r, sub_layers).ok().flatten(),
        })
    }
}

/// Leaves out what `profile_tier_level` says of single sub-layers.
fn skip_sub_layers(r: &mut BitReader<'_>, sub_layers: u32) -> Result<(), ReadError> {
    if sub_layers == 0 {
        return Ok(());
    }
    // Two flags for each of eight, of which the first `sub_layers` count.
    let flags = r.read(16)?;
    for layer in 0..sub_layers {
        let pair = flags >> 14u32.saturating_sub(layer.saturating_mul(2)) & 3;
        r.skip(if pair & 2 != 0 { 88 } else { 0 })?;
        r.skip(if pair & 1 != 0 { 8 } else { 0 })?;
    }
    Ok(())
}

/// Goes on behind the bit depths, through to the frame rate in the usability information.
fn read_fps(r: &mut BitReader<'_>, sub_layers: u32) -> Result<Option<f64>, ReadError> {
    let order_bits = r.ue_to("picture order count size", 12)?.saturating_add(4);
    let orderings = if r.flag()? { sub_layers.saturating_add(1) } else { 1 };
    for _ in 0..orderings.saturating_mul(3) {
        r.ue()?;
    }
    for _ in 0..6 {
        r.ue()?;
    }
    if r.flag()? && r.flag()? {
        skip_scaling_lists(r)?;
    }
    r.skip(2)?;
    if r.flag()? {
        r.skip(8)?;
        r.ue()?;
        r.ue()?;
        r.skip(1)?;
    }
    skip_reference_sets(r)?;
    if r.flag()? {
        let long_term = r.ue_to("long-term references", 32)?;
        for _ in 0..long_term {
            r.skip(order_bits.saturating_add(1) as usize)?;
        }
    }
    r.skip(2)?;
    if !r.flag()? {
        return Ok(None);
    }
    if r.flag()? && r.read(8)? == 255 {
        r.skip(32)?;
    }
    if r.flag()? {
        r.skip(1)?;
    }
    if r.flag()? {
        r.skip(4)?;
        if r.flag()? {
            r.skip(24)?;
        }
    }
    if r.flag()? {
        r.ue()?;
        r.ue()?;
    }
    r.skip(3)?;
    if r.flag()? {
        for _ in 0..4 {
            r.ue()?;
        }
    }
    if !r.flag()? {
        return Ok(None);
    }
    let units = r.read(32)?;
    let scale = r.read(32)?;
    Ok(crate::info::frame_rate(f64::from(scale), f64::from(units)))
}

fn skip_scaling_lists(r: &mut BitReader<'_>) -> Result<(), ReadError> {
    for size in 0..4u32 {
        for _ in 0..if size == 3 { 2 } else { 6 } {
            if !r.flag()? {
                r.ue()?;
                continue;
            }
            if size > 1 {
                r.se()?;
            }
            for _ in 0..if size == 0 { 16 } else { 64 } {
                r.se()?;
            }
        }
    }
    Ok(())
}

/// Leaves out the short-term reference picture sets (section 7.3.7), of which each may be told
/// by the one before.
fn skip_reference_sets(r: &mut BitReader<'_>) -> Result<(), ReadError> {
    let sets = r.ue_to("reference picture sets", 64)?;
    let mut pictures = 0u32;
    for set in 0..sets {
        if set > 0 && r.flag()? {
            r.skip(1)?;
            r.ue()?;
            let mut kept = 0u32;
            for _ in 0..=pictures {
                let used = r.flag()?;
                if used || r.flag()? {
                    kept = kept.saturating_add(1);
                }
            }
            pictures = kept;
        } else {
            let before = r.ue_to("negative references", MAX_REFERENCES)?;
            let after = r.ue_to("positive references", MAX_REFERENCES)?;
            pictures = before.saturating_add(after);
            for _ in 0..pictures {
                r.ue()?;
                r.skip(1)?;
            }
        }
        if pictures > MAX_REFERENCES {
            return Err(r.invalid("references in a set", u64::from(pictures), r.offset()));
        }
    }
    Ok(())
}
