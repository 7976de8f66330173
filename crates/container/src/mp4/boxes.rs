//! The boxes that every file has.

/// Appends a box; its size is put in when `body` has written what it holds.
pub(super) fn boxed(out: &mut Vec<u8>, kind: &[u8; 4], body: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(kind);
    body(out);
    let size = u32::try_from(out.len().saturating_sub(at)).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(at..at.saturating_add(4)) {
        place.copy_from_slice(&size.to_be_bytes());
    }
}

/// A box with a version and flags.
#[derive(Clone, Copy)]
pub(super) struct FullBox<'a> {
    kind: &'a [u8; 4],
    version: u8,
    flags: u32,
}

impl<'a> FullBox<'a> {
    pub(super) const fn new(kind: &'a [u8; 4]) -> Self {
        Self { kind, version: 0, flags: 0 }
    }

    pub(super) const fn version(mut self, version: u8) -> Self {
        self.version = version;
        self
    }

    pub(super) const fn flags(mut self, flags: u32) -> Self {
        self.flags = flags;
        self
    }
}

/// Appends a box with a version and flags.
pub(super) fn full(out: &mut Vec<u8>, head: FullBox<'_>, body: impl FnOnce(&mut Vec<u8>)) {
    boxed(out, head.kind, |out| {
        let word = u32::from(head.version) << 24 | head.flags & 0xff_ffff;
        out.extend_from_slice(&word.to_be_bytes());
        body(out);
    });
}

/// No turning, no scaling.
const MATRIX: [u32; 9] = [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000];

/// `mvhd`; the duration counts in ticks of `scale`.
pub(super) fn movie_header(out: &mut Vec<u8>, scale: u32, duration: u64) {
    full(out, FullBox::new(b"mvhd").version(1), |out| {
        out.extend_from_slice(&[0; 16]);
        out.extend_from_slice(&scale.to_be_bytes());
        out.extend_from_slice(&duration.to_be_bytes());
        // Plain speed, full volume.
        out.extend_from_slice(&[0, 1, 0, 0, 1, 0]);
        out.extend_from_slice(&[0; 10]);
        words(out, &MATRIX);
        out.extend_from_slice(&[0; 24]);
        // The track that another program would add.
        out.extend_from_slice(&3u32.to_be_bytes());
    });
}

/// `tkhd`; width and height of pictures, zeros for sound.
pub(super) fn track_header(out: &mut Vec<u8>, id: u32, duration: u64, size: Option<(u16, u16)>) {
    // Enabled, and part of the presentation.
    full(out, FullBox::new(b"tkhd").version(1).flags(3), |out| {
        out.extend_from_slice(&[0; 16]);
        words(out, &[id, 0]);
        out.extend_from_slice(&duration.to_be_bytes());
        out.extend_from_slice(&[0; 12]);
        out.extend_from_slice(if size.is_none() { &[1, 0, 0, 0] } else { &[0; 4] });
        words(out, &MATRIX);
        let (width, height) = size.unwrap_or_default();
        words(out, &[u32::from(width) << 16, u32::from(height) << 16]);
    });
}

/// `edts`: nothing for `start_ms`, then the track for `rest_ms`.
pub(super) fn edit_list(out: &mut Vec<u8>, start_ms: i64, rest_ms: u64) {
    boxed(out, b"edts", |out| {
        full(out, FullBox::new(b"elst").version(1), |out| {
            words(out, &[2]);
            out.extend_from_slice(&start_ms.to_be_bytes());
            out.extend_from_slice(&(-1i64).to_be_bytes());
            words(out, &[0x0001_0000]);
            out.extend_from_slice(&rest_ms.to_be_bytes());
            out.extend_from_slice(&0i64.to_be_bytes());
            words(out, &[0x0001_0000]);
        });
    });
}

/// `mdhd`; no language.
pub(super) fn media_header(out: &mut Vec<u8>, scale: u32, duration: u64) {
    full(out, FullBox::new(b"mdhd").version(1), |out| {
        out.extend_from_slice(&[0; 16]);
        words(out, &[scale]);
        out.extend_from_slice(&duration.to_be_bytes());
        // "und", five bits a letter.
        out.extend_from_slice(&[0x55, 0xc4, 0, 0]);
    });
}

/// `hdlr`.
pub(super) fn handler(out: &mut Vec<u8>, video: bool) {
    full(out, FullBox::new(b"hdlr"), |out| {
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(if video { b"vide" } else { b"soun" });
        out.extend_from_slice(&[0; 12]);
        out.extend_from_slice(if video { b"Video\0" } else { b"Audio\0" });
    });
}

/// `vmhd` or `smhd`, and that the media are in this file.
pub(super) fn media_information(out: &mut Vec<u8>, video: bool) {
    match video {
        true => full(out, FullBox::new(b"vmhd").flags(1), |out| out.extend_from_slice(&[0; 8])),
        false => full(out, FullBox::new(b"smhd"), |out| out.extend_from_slice(&[0; 4])),
    }
    boxed(out, b"dinf", |out| {
        full(out, FullBox::new(b"dref"), |out| {
            words(out, &[1]);
            full(out, FullBox::new(b"url ").flags(1), |_| {});
        });
    });
}

/// Appends big-endian words.
pub(super) fn words(out: &mut Vec<u8>, words: &[u32]) {
    for word in words {
        out.extend_from_slice(&word.to_be_bytes());
    }
}
