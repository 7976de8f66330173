//! RTP header extensions: the general mechanism (RFC 8285), one-byte and two-byte form, and the
//! elements in use on the Internet.

use crate::octets::{put_u16, u16_at, u24_at, u64_at};

#[cfg(test)]
mod tests;

/// "Defined by profile" of the one-byte form (RFC 8285 §4.2).
pub const ONE_BYTE_PROFILE: u16 = 0xBEDE;

/// "Defined by profile" of the two-byte form with "appbits" zero (RFC 8285 §4.3).
pub const TWO_BYTE_PROFILE: u16 = 0x1000;

/// `a=extmap` address of the media identification (RFC 9143 §15).
pub const URI_MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
/// `a=extmap` address of the RTP stream id (RFC 8852 §4.1).
pub const URI_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
/// `a=extmap` address of the repaired RTP stream id (RFC 8852 §4.2).
pub const URI_REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
/// `a=extmap` address of the absolute send time.
pub const URI_ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";
/// `a=extmap` address of the transport-wide sequence number.
pub const URI_TRANSPORT_CC: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
/// `a=extmap` address of the client-to-mixer audio level (RFC 6464).
pub const URI_AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
/// `a=extmap` address of the playout delay.
pub const URI_PLAYOUT_DELAY: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";
/// `a=extmap` address of the video orientation (3GPP TS 26.114 §7.4.5).
pub const URI_VIDEO_ORIENTATION: &str = "urn:3gpp:video-orientation";
/// `a=extmap` address of the absolute capture time.
pub const URI_ABS_CAPTURE_TIME: &str =
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time";

/// How elements are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Ids 1 to 14, 1 to 16 bytes each.
    OneByte,
    /// Ids 1 to 255, 0 to 255 bytes each; needs `a=extmap-allow-mixed`.
    TwoByte,
}

/// One element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// The id that `a=extmap` gives a meaning.
    pub id: u8,
    /// Its body.
    pub data: &'a [u8],
}

/// Goes over the elements of an extension. Padding is skipped; it ends at the first element that
/// claims more than there is, and at id 15 of the one-byte form (RFC 8285 §4.2). An extension of
/// another profile has none.
#[derive(Clone, Debug)]
pub struct Extensions<'a> {
    rest: &'a [u8],
    form: Form,
}

impl<'a> Extensions<'a> {
    /// From "defined by profile" and the body, as [`crate::packet::Packet::extension`] has them.
    pub const fn new(profile: u16, body: &'a [u8]) -> Self {
        if profile == ONE_BYTE_PROFILE {
            Self { rest: body, form: Form::OneByte }
        } else if profile & 0xFFF0 == TWO_BYTE_PROFILE {
            Self { rest: body, form: Form::TwoByte }
        } else {
            Self::empty()
        }
    }

    /// No element.
    pub const fn empty() -> Self {
        Self { rest: &[], form: Form::OneByte }
    }

    /// The body of the first element with this id.
    #[inline]
    pub fn get(&self, id: u8) -> Option<&'a [u8]> {
        self.clone().find(|element| element.id == id).map(|element| element.data)
    }
}

impl<'a> Iterator for Extensions<'a> {
    type Item = Element<'a>;

    #[inline]
    fn next(&mut self) -> Option<Element<'a>> {
        loop {
            let (&first, rest) = self.rest.split_first()?;
            if first == 0 {
                self.rest = rest;
                continue;
            }
            let (id, len, rest) = match self.form {
                Form::OneByte => (first >> 4, usize::from(first & 0x0F) + 1, rest),
                Form::TwoByte => {
                    let Some((&len, rest)) = rest.split_first() else {
                        self.rest = &[];
                        return None;
                    };
                    (first, usize::from(len), rest)
                }
            };
            let stop = self.form == Form::OneByte && id == 15;
            let Some((data, rest)) = rest.split_at_checked(len).filter(|_| !stop) else {
                self.rest = &[];
                return None;
            };
            self.rest = rest;
            // Id 0 with a length is reserved in the one-byte form: to be ignored.
            if id != 0 {
                return Some(Element { id, data });
            }
        }
    }
}

/// Appends one extension block, element by element. [`ExtensionWriter::finish`] closes it; dropped
/// without it, the block has a wrong length.
#[derive(Debug)]
#[must_use = "finish() writes the length"]
pub struct ExtensionWriter<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    form: Form,
}

impl<'a> ExtensionWriter<'a> {
    /// Begins a block at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>, form: Form) -> Self {
        let start = out.len();
        let profile = match form {
            Form::OneByte => ONE_BYTE_PROFILE,
            Form::TwoByte => TWO_BYTE_PROFILE,
        };
        out.extend_from_slice(&profile.to_be_bytes());
        out.extend_from_slice(&[0, 0]);
        Self { out, start, form }
    }

    /// Appends one element; false, and nothing is written, if the form cannot carry it: id 0, id
    /// over 14 or a length other than 1 to 16 in the one-byte form, a length over 255 in the other.
    #[inline]
    pub fn push(&mut self, id: u8, data: &[u8]) -> bool {
        match (self.form, data.len()) {
            (_, _) if id == 0 => return false,
            (Form::OneByte, 1..=16) if id < 15 => {
                let len = u8::try_from(data.len() - 1).unwrap_or(0);
                self.out.push((id << 4) | len);
            }
            (Form::TwoByte, 0..=255) => {
                self.out.push(id);
                self.out.push(u8::try_from(data.len()).unwrap_or(0));
            }
            _ => return false,
        }
        self.out.extend_from_slice(data);
        true
    }

    /// Appends a transport-wide sequence number of 0 and tells where in `out` its two bytes lie,
    /// for [`patch_transport_cc`]. None if the form cannot carry the id.
    #[inline]
    pub fn reserve_transport_cc(&mut self, id: u8) -> Option<usize> {
        self.push(id, &[0, 0]).then(|| self.out.len() - 2)
    }

    /// Appends the media identification.
    pub fn mid(&mut self, id: u8, mid: &str) -> bool {
        self.push(id, mid.as_bytes())
    }

    /// Appends the RTP stream id, or the repaired one: they differ in nothing but the element's id.
    pub fn rid(&mut self, id: u8, rid: &str) -> bool {
        self.push(id, rid.as_bytes())
    }

    /// Appends the absolute send time; see [`abs_send_time_from_micros`].
    pub fn abs_send_time(&mut self, id: u8, value: u32) -> bool {
        let [_, a, b, c] = value.to_be_bytes();
        self.push(id, &[a, b, c])
    }

    /// Appends the transport-wide sequence number.
    pub fn transport_cc(&mut self, id: u8, sequence: u16) -> bool {
        self.push(id, &sequence.to_be_bytes())
    }

    /// Appends the audio level.
    pub fn audio_level(&mut self, id: u8, level: AudioLevel) -> bool {
        self.push(id, &[(u8::from(level.voice) << 7) | (level.below_overload & 0x7F)])
    }

    /// Appends the playout delay.
    pub fn playout_delay(&mut self, id: u8, delay: PlayoutDelay) -> bool {
        self.push(id, &delay.encode())
    }

    /// Appends the video orientation.
    pub fn video_orientation(&mut self, id: u8, orientation: VideoOrientation) -> bool {
        self.push(id, &[orientation.encode()])
    }

    /// Appends the absolute capture time.
    pub fn abs_capture_time(&mut self, id: u8, time: AbsCaptureTime) -> bool {
        let capture = time.capture_ntp.to_be_bytes();
        match time.clock_offset {
            None => self.push(id, &capture),
            Some(offset) => {
                let [a, b, c, d, e, f, g, h] = capture;
                let [i, j, k, l, m, n, o, p] = offset.to_be_bytes();
                self.push(id, &[a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
            }
        }
    }

    /// Pads to four bytes and writes the length. Gives the bytes the block takes; 0 if nothing was
    /// pushed, then nothing stays in `out` and the X bit must be off.
    pub fn finish(self) -> usize {
        let body = self.out.len().saturating_sub(self.start + 4);
        if body == 0 {
            self.out.truncate(self.start);
            return 0;
        }
        let padded = body.next_multiple_of(4);
        self.out.resize(self.start + 4 + padded, 0);
        // More than 65,535 words would need 1,000 elements of 255 bytes: no packet has those.
        put_u16(self.out, self.start + 2, u16::try_from(padded / 4).unwrap_or(u16::MAX));
        4 + padded
    }
}

/// Writes the transport-wide sequence number at the place that
/// [`ExtensionWriter::reserve_transport_cc`] told (less the packet's own start, if it was moved);
/// tells whether the place exists.
#[inline]
pub fn patch_transport_cc(packet: &mut [u8], at: usize, sequence: u16) -> bool {
    put_u16(packet, at, sequence)
}

/// Reads a transport-wide sequence number.
#[inline]
pub fn transport_cc(data: &[u8]) -> Option<u16> {
    u16_at(data, 0)
}

/// Reads an absolute send time: 24 bits, 6.18 fixed-point seconds, wraps after 64 s.
#[inline]
pub fn abs_send_time(data: &[u8]) -> Option<u32> {
    u24_at(data, 0)
}

/// The absolute send time of a moment in microseconds of any clock.
#[inline]
pub const fn abs_send_time_from_micros(us: u64) -> u32 {
    // Whole seconds fall out at 64, so that the shift cannot overflow.
    let us = us % 64_000_000;
    (((us << 18) / 1_000_000) & 0x00FF_FFFF) as u32
}

/// Reads a text element: MID, RID or repaired RID. None if it is no UTF-8 or empty. Trailing zeros,
/// with which some pad, are taken away.
pub fn text(data: &[u8]) -> Option<&str> {
    let end = data.iter().rposition(|byte| *byte != 0)? + 1;
    std::str::from_utf8(data.get(..end)?).ok()
}

/// Client-to-mixer audio level (RFC 6464).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AudioLevel {
    /// The encoder takes it for speech.
    pub voice: bool,
    /// 0 (loudest) to 127 (silence): dB below overload.
    pub below_overload: u8,
}

impl AudioLevel {
    /// Reads the first byte.
    pub fn decode(data: &[u8]) -> Option<Self> {
        let byte = *data.first()?;
        Some(Self { voice: byte & 0x80 != 0, below_overload: byte & 0x7F })
    }
}

/// What the sender wishes of the receiver's buffer, in milliseconds of 10 ms granularity, 0 to
/// 40,950 each; more is written as that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayoutDelay {
    /// At least.
    pub min_ms: u16,
    /// At most.
    pub max_ms: u16,
}

impl PlayoutDelay {
    /// Reads two numbers of 12 bits.
    pub fn decode(data: &[u8]) -> Option<Self> {
        let both = u24_at(data, 0)?;
        let field = |value: u32| u16::try_from(value & 0xFFF).unwrap_or(0) * 10;
        Some(Self { min_ms: field(both >> 12), max_ms: field(both) })
    }

    fn encode(self) -> [u8; 3] {
        let field = |ms: u16| u32::from(ms / 10).min(0xFFF);
        let [_, a, b, c] = ((field(self.min_ms) << 12) | field(self.max_ms)).to_be_bytes();
        [a, b, c]
    }
}

/// Coordination of video orientation (3GPP TS 26.114 §7.4.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VideoOrientation {
    /// Back camera.
    pub back_camera: bool,
    /// Mirrored horizontally.
    pub flipped: bool,
    /// Quarter turns counter-clockwise that the picture has gone, 0 to 3: the receiver turns it
    /// clockwise as often.
    pub quarter_turns: u8,
}

impl VideoOrientation {
    /// Reads the first byte.
    pub fn decode(data: &[u8]) -> Option<Self> {
        let byte = *data.first()?;
        Some(Self { back_camera: byte & 8 != 0, flipped: byte & 4 != 0, quarter_turns: byte & 3 })
    }

    fn encode(self) -> u8 {
        (u8::from(self.back_camera) << 3) | (u8::from(self.flipped) << 2) | (self.quarter_turns & 3)
    }
}

/// Absolute capture time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbsCaptureTime {
    /// When the first picture or sample was captured, NTP 32.32.
    pub capture_ntp: u64,
    /// Estimated offset of the capturing clock to the sender's, 32.32 signed seconds.
    pub clock_offset: Option<i64>,
}

impl AbsCaptureTime {
    /// Reads 8 or 16 bytes.
    pub fn decode(data: &[u8]) -> Option<Self> {
        Some(Self {
            capture_ntp: u64_at(data, 0)?,
            clock_offset: u64_at(data, 8).map(u64::cast_signed),
        })
    }
}
