//! A look at one payload in passing, for those who relay packets without taking them apart.
//!
//! Allocates nothing and keeps nothing. What cannot be read is told as "no" or `None`.

use media::{Codec, h264, h265, nal};

use super::nal::{AP, Aggregated, FU, FU_A, STAP_A};
use super::{av1, vp8, vp9};

/// The payload is the first of a key frame, or may be: of H.264 and H.265, parameter sets or the
/// start of the first slice (so the packets before the slice count, too); of other video the
/// first payload of the picture. Always true for sound.
pub fn starts_key_frame(codec: Codec, payload: &[u8]) -> bool {
    match codec {
        Codec::H264 => h264_starts(payload),
        Codec::H265 => h265_starts(payload),
        Codec::Av1 => payload.first().is_some_and(|first| first & 0x88 == av1::NEW_SEQUENCE),
        Codec::Vp8 => vp8::Descriptor::decode(payload).is_ok_and(|descriptor| {
            let first = payload.get(descriptor.length);
            descriptor.starts && first.is_some_and(|first| first & 1 == 0)
        }),
        Codec::Vp9 => vp9::Descriptor::decode(payload)
            .is_ok_and(|descriptor| descriptor.starts_picture() && !descriptor.inter_predicted),
        _ => codec.kind() == media::Kind::Audio,
    }
}

fn h264_starts(payload: &[u8]) -> bool {
    let Some((&header, rest)) = payload.split_first() else { return false };
    match header & 0x1f {
        5 | 7 => true,
        STAP_A => Aggregated { bytes: rest, offset: 1 }
            .map_while(Result::ok)
            .any(|unit| unit.first().is_some_and(|first| matches!(first & 0x1f, 5 | 7))),
        FU_A => rest.first().is_some_and(|first| first & 0x80 != 0 && first & 0x1f == 5),
        _ => false,
    }
}

fn h265_starts(payload: &[u8]) -> bool {
    let Some((&[header, _], rest)) = payload.split_first_chunk::<2>() else { return false };
    let starts = |kind: u8| matches!(kind, 16..=23 | 32 | 33);
    match header >> 1 & 0x3f {
        AP => Aggregated { bytes: rest, offset: 2 }
            .map_while(Result::ok)
            .any(|unit| unit.first().is_some_and(|first| starts(first >> 1 & 0x3f))),
        FU => rest.first().is_some_and(|first| first & 0x80 != 0 && starts(first & 0x3f)),
        kind => starts(kind),
    }
}

/// Picture and layer of a VP8 or VP9 payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The first payload of its picture.
    pub starts: bool,
    /// 15 bits, or 7 if that is what is sent.
    pub picture_id: Option<u16>,
    /// `TL0PICIDX`.
    pub tl0: Option<u8>,
    /// Temporal layer; 0 where none is told.
    pub temporal: u8,
    /// Spatial layer; 0 where none is told.
    pub spatial: u8,
    /// A switch up to this temporal layer is possible here.
    pub switching_up: bool,
}

/// Picture and layer, of [`Codec::Vp8`] and [`Codec::Vp9`]; `None` for others and for damage.
pub fn picture(codec: Codec, payload: &[u8]) -> Option<Picture> {
    match codec {
        Codec::Vp8 => {
            let found = vp8::Descriptor::decode(payload).ok()?;
            let (temporal, switching_up) = found.layer.unwrap_or((0, false));
            Some(Picture {
                starts: found.starts,
                picture_id: found.picture_id.map(|(id, ..)| id),
                tl0: found.tl0.map(|(tl0, _)| tl0),
                temporal,
                spatial: 0,
                switching_up,
            })
        }
        Codec::Vp9 => {
            let found = vp9::Descriptor::decode(payload).ok()?;
            Some(Picture {
                starts: found.starts_picture(),
                picture_id: found.picture_id.map(|(id, ..)| id),
                tl0: found.tl0.map(|(tl0, _)| tl0),
                temporal: found.layer.map_or(0, |layer| layer.temporal),
                spatial: found.layer.map_or(0, |layer| layer.spatial),
                switching_up: found.layer.is_some_and(|layer| layer.switching_up),
            })
        }
        _ => None,
    }
}

/// Writes another picture id and `TL0PICIDX` in place, where the payload has them; an id of 7
/// bits gets the lower 7. False, and nothing changed, for other codecs and for damage.
pub fn rewrite(codec: Codec, payload: &mut [u8], picture_id: u16, tl0: u8) -> bool {
    let found = match codec {
        Codec::Vp8 => vp8::Descriptor::decode(payload).map(|found| (found.picture_id, found.tl0)),
        Codec::Vp9 => vp9::Descriptor::decode(payload).map(|found| (found.picture_id, found.tl0)),
        _ => return false,
    };
    let Ok((id, old_tl0)) = found else { return false };
    let mut put = |at: usize, value: u8| {
        if let Some(place) = payload.get_mut(at) {
            *place = value;
        }
    };
    let [high, low] = picture_id.to_be_bytes();
    match id {
        Some((_, at, true)) => {
            put(at, high | 0x80);
            put(at.saturating_add(1), low);
        }
        Some((_, at, false)) => put(at, low & 0x7f),
        None => {}
    }
    if let Some((_, at)) = old_tl0 {
        put(at, tl0);
    }
    true
}

/// A slice of the access unit, laid out with lengths of `length_size` bytes, is of type B. Of
/// H.265 it is taken that no extra bits stand before the type. False for other codecs.
pub fn is_b_picture(codec: Codec, access_unit: &[u8], length_size: u8) -> bool {
    let mut units = nal::LengthPrefixed::new(access_unit, length_size).map_while(Result::ok);
    match codec {
        Codec::H264 => units.any(h264::is_b_slice),
        Codec::H265 => {
            units.any(|unit| !h265::is_irap(unit) && super::h265::is_b_slice(unit, &[0; 64]))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_of_key_frames_are_seen() {
        for (codec, payload) in [
            (Codec::H264, &[0x78, 0, 1, 0x67][..]),
            (Codec::H264, &[0x7c, 0x85, 0x88]),
            (Codec::H265, &[0x62, 1, 0x93, 0xaf]),
            (Codec::H265, &[0x40, 1]),
            (Codec::Vp8, &[0x90, 0x80, 0x80, 0, 0x10]),
            (Codec::Vp9, &[0x88, 1, 0x82]),
            (Codec::Av1, &[0x18, 0x08]),
            (Codec::Opus, &[1]),
        ] {
            assert!(starts_key_frame(codec, payload), "{codec}");
        }
        for (codec, payload) in [
            (Codec::H264, &[0x7c, 0x05, 0x88][..]),
            (Codec::H264, &[0x41, 0x9a]),
            (Codec::H265, &[0x02, 1, 0xd0]),
            (Codec::Vp8, &[0x90, 0x80, 0x80, 0, 0x11]),
            (Codec::Vp8, &[0x80, 0x80, 0x80, 0, 0x10]),
            (Codec::Vp9, &[0xc8, 1, 0x86]),
            (Codec::Av1, &[0x10, 0x30]),
            (Codec::Vp9, &[]),
        ] {
            assert!(!starts_key_frame(codec, payload), "{codec}");
        }
    }

    #[test]
    fn picture_ids_and_layers_are_read_and_written_anew() {
        let mut payload = [0x90, 0xe0, 0x81, 0x02, 7, 0x60, 0x11];
        let seen = picture(Codec::Vp8, &payload).unwrap();
        assert_eq!((seen.picture_id, seen.tl0), (Some(0x102), Some(7)));
        assert_eq!((seen.temporal, seen.switching_up, seen.starts), (1, true, true));
        assert!(rewrite(Codec::Vp8, &mut payload, 0x7ffe, 9));
        assert_eq!(payload, [0x90, 0xe0, 0xff, 0xfe, 9, 0x60, 0x11]);
        let mut payload = [0xa8, 5, 0x32, 7, 0x86];
        let seen = picture(Codec::Vp9, &payload).unwrap();
        assert_eq!((seen.temporal, seen.spatial, seen.switching_up), (1, 1, true));
        assert!(rewrite(Codec::Vp9, &mut payload, 6, 8));
        assert_eq!(payload, [0xa8, 6, 0x32, 8, 0x86]);
        assert!(!rewrite(Codec::H264, &mut payload, 6, 8));
    }

    #[test]
    fn b_pictures_are_told() {
        assert!(is_b_picture(Codec::H264, &[0, 0, 0, 3, 0x01, 0x9e, 0x41], 4));
        assert!(!is_b_picture(Codec::H264, &[0, 0, 0, 3, 0x41, 0x9a, 0x24], 4));
        assert!(is_b_picture(Codec::H265, &[0, 0, 0, 4, 0, 1, 0xe0, 0x24], 4));
    }
}
