//! Payload formats: frames into RTP payloads, and back.
//!
//! A [`Packetizer`] cuts one [`Frame`] at a time into [`Payloads`]; it makes no RTP headers. A
//! [`Depacketizer`] takes payloads in the order of their sequence numbers and gives back whole
//! [`Unit`]s, laid out as [`Codec`] says. [`scan`] looks at a payload in passing, for those who
//! relay packets without taking them apart. Both ends of one track; neither reorders, keeps
//! time, or asks for anything to be sent again.
//!
//! | codec | format | clock |
//! |---|---|---|
//! | H264 | RFC 6184, modes 0 and 1 | 90 kHz |
//! | H265 | RFC 7798, no DONL | 90 kHz |
//! | Av1 | RTP Payload Format for AV1 1.0 | 90 kHz |
//! | Vp8 | RFC 7741 | 90 kHz |
//! | Vp9 | RFC 9628, non-flexible mode | 90 kHz |
//! | Opus | RFC 7587 | 48 kHz |
//! | G711A, G711U | RFC 3551 sections 4.5.14 | 8 kHz |
//! | Mp3 | RFC 2250 section 3.5 | 90 kHz |
//! | Aac | RFC 3640, AAC-hbr | the sample rate |

mod aac;
mod assembly;
mod audio;
mod av1;
mod buffer;
mod error;
mod h264;
mod h265;
mod mp3;
mod nal;
pub mod scan;
mod sei;
mod vp8;
mod vp9;
mod vpx;

use std::collections::VecDeque;

use bytes::Bytes;
use media::{Codec, Frame};
use smallvec::SmallVec;

pub use aac::AacFormat;
pub use assembly::Stats;
pub use buffer::{Payload, Payloads};
pub use error::{DepacketizeError, PacketizeError};

use assembly::Assembly;

/// The least that [`Options::max_payload`] may be, in bytes.
///
/// All descriptors and fragment headers together take at most 20 bytes of a payload. At half, a
/// VP9 key frame's first payload would hold descriptors and little else.
pub const MIN_PAYLOAD: usize = 64;

/// The most that [`Options::max_payload`] may be, in bytes: what a datagram or an interleaved
/// frame (16 bits of length) holds with headers of any usual size.
pub const MAX_PAYLOAD: usize = 64_000;

/// The longest unit that is put together from payloads, in bytes.
///
/// A key frame of 8K at 200 Mbit/s has 5 to 8 MB. At half those might break; at double, a hostile
/// publisher could hold 32 MB for each of its tracks.
pub const MAX_UNIT: usize = 16 << 20;

/// How a [`Packetizer`] works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Bytes of the longest payload, without RTP header, extensions and encryption; taken as at
    /// least [`MIN_PAYLOAD`] and at most [`MAX_PAYLOAD`].
    pub max_payload: usize,
    /// H.264 and H.265: supplemental enhancement information is sent, not left out; but for what
    /// is of use to the clock of a decoder alone, which would be a packet more of each picture.
    pub keep_sei: bool,
    /// H.264 and H.265: B pictures are sent, not left out. Browsers show them in the wrong order.
    /// Of H.265, slices of type B count only in streams whose pictures are shown in another order
    /// than they are decoded: low-delay encoders write all their slices as B.
    pub keep_b_frames: bool,
    /// H.264: whether units may be aggregated and fragmented.
    pub packetization_mode: PacketizationMode,
}

impl Default for Options {
    /// What suits browsers: 1,180 bytes leave room for a header with extensions, SRTP, UDP, IPv6
    /// and a tunnel in the 1,280 bytes that every IPv6 link takes.
    fn default() -> Self {
        Self {
            max_payload: 1_180,
            keep_sei: false,
            keep_b_frames: false,
            packetization_mode: PacketizationMode::NonInterleaved,
        }
    }
}

/// `packetization-mode` of H.264 (RFC 6184 section 6.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PacketizationMode {
    /// 0: one unit in each payload. Units that do not fit cannot be sent.
    SingleNal,
    /// 1: aggregation (STAP-A) and fragments (FU-A), in decoding order.
    #[default]
    NonInterleaved,
}

/// What became of a frame given to [`Packetizer::push`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pushed {
    /// Payloads were appended.
    Packaged,
    /// A configuration: remembered, nothing was appended.
    Config,
    /// A B picture, left out because [`Options::keep_b_frames`] is not set.
    BPicture,
    /// Nothing in the frame goes over the wire: empty, an end of sequence, or only units that
    /// are left out.
    Nothing,
}

/// Cuts the frames of one track into payloads.
///
/// Remembers parameter sets from configurations and puts them before key frames that do not carry
/// them, so that a viewer can start at each.
#[derive(Debug)]
pub struct Packetizer {
    codec: Codec,
    cutter: Cutter,
}

#[derive(Debug)]
enum Cutter {
    H264(h264::Cutter),
    H265(h265::Cutter),
    Av1(av1::Cutter),
    Vp8(vp8::Cutter),
    Vp9(vp9::Cutter),
    Mp3(mp3::Cutter),
    Aac(aac::Cutter),
    Audio(audio::Cutter),
}

impl Packetizer {
    /// For the frames of one track. Fails with [`PacketizeError::Unsupported`] for codecs beyond
    /// the table of this module.
    pub fn new(codec: Codec, options: Options) -> Result<Self, PacketizeError> {
        let max_payload = options.max_payload.clamp(MIN_PAYLOAD, MAX_PAYLOAD);
        let options = Options { max_payload, ..options };
        let cutter = match codec {
            Codec::H264 => Cutter::H264(h264::Cutter::new(options)),
            Codec::H265 => Cutter::H265(h265::Cutter::new(options)),
            Codec::Av1 => Cutter::Av1(av1::Cutter::new(options)),
            Codec::Vp8 => Cutter::Vp8(vp8::Cutter::new(options)),
            Codec::Vp9 => Cutter::Vp9(vp9::Cutter::new(options)),
            Codec::Mp3 => Cutter::Mp3(mp3::Cutter::new(options)),
            Codec::Aac => Cutter::Aac(aac::Cutter::new(options)),
            Codec::Opus | Codec::G711A | Codec::G711U => {
                Cutter::Audio(audio::Cutter::new(codec, options))
            }
            _ => return Err(PacketizeError::Unsupported(codec)),
        };
        Ok(Self { codec, cutter })
    }

    /// The codec whose frames it takes.
    pub const fn codec(&self) -> Codec {
        self.codec
    }

    /// Appends the payloads of one frame behind what `out` holds. On an error nothing has been
    /// appended, and the next frame may be pushed all the same. Errors are the publisher's fault,
    /// save [`PacketizeError::WrongCodec`] (the caller's) and [`PacketizeError::TooLarge`] (of
    /// the options).
    ///
    /// The caller writes RTP headers: the time of a payload is the frame's presentation time plus
    /// [`Payload::ticks`].
    ///
    /// Cost: one copy of the media; no allocation once `out` has grown to the stream's size.
    pub fn push(&mut self, frame: &Frame, out: &mut Payloads) -> Result<Pushed, PacketizeError> {
        if frame.codec != self.codec {
            return Err(PacketizeError::WrongCodec { wants: self.codec, got: frame.codec });
        }
        if !frame.is_config() && !frame.is_media() {
            return Ok(Pushed::Nothing);
        }
        let before = out.mark();
        let pushed = match &mut self.cutter {
            Cutter::H264(cutter) => cutter.push(frame, out),
            Cutter::H265(cutter) => cutter.push(frame, out),
            Cutter::Av1(cutter) => cutter.push(frame, out),
            Cutter::Vp8(cutter) => cutter.push(frame, out),
            Cutter::Vp9(cutter) => cutter.push(frame, out),
            Cutter::Mp3(cutter) => cutter.push(frame, out),
            Cutter::Aac(cutter) => cutter.push(frame, out),
            Cutter::Audio(cutter) => cutter.push(frame, out),
        };
        if pushed.is_err() {
            out.truncate(before);
        }
        pushed
    }
}

/// What stands in an RTP header and matters for putting units together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketMeta {
    /// Sequence number, extended so that it never wraps.
    pub seq: u64,
    /// RTP time, extended so that it never wraps, in ticks of the format's clock.
    pub timestamp: i64,
    /// The marker bit.
    pub marker: bool,
    /// Packets before this one are gone for good. Gaps in [`seq`](Self::seq) are seen without it;
    /// it matters at the first packet, where it tells that the stream did not begin here.
    pub lost_before: bool,
}

/// One whole access unit, put together from payloads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Laid out as [`Codec`] says. H.264 and H.265: behind lengths of four bytes, without
    /// parameter sets and delimiters.
    pub payload: Bytes,
    /// A decoder can start here. Video only; false for sound.
    pub key: bool,
    /// The configuration record from this unit on (`avcC`, `hvcC`, `av1C`, `vpcC`); `None` while
    /// it stays what it was. Sound has none: session descriptions tell.
    pub config: Option<Bytes>,
    /// RTP time, as [`PacketMeta::timestamp`] told; the presentation time.
    pub timestamp: i64,
}

/// Puts the payloads of one track together.
///
/// Never gives a unit of which a packet was lost. Video that refers to a lost unit is left out,
/// too: from a loss on until the next whole key frame nothing comes, and
/// [`needs_key`](Self::needs_key) holds.
#[derive(Debug)]
pub struct Depacketizer {
    assembly: Assembly,
}

impl Depacketizer {
    /// For the payloads of one track. Fails with [`DepacketizeError::Unsupported`] for codecs
    /// beyond the table of this module.
    pub fn new(codec: Codec) -> Result<Self, DepacketizeError> {
        let joiner = match codec {
            Codec::H264 => Joiner::H264(Box::default()),
            Codec::H265 => Joiner::H265(Box::default()),
            Codec::Av1 => Joiner::Av1(Box::default()),
            Codec::Vp8 => Joiner::Vp8(Box::default()),
            Codec::Vp9 => Joiner::Vp9(Box::default()),
            Codec::Mp3 => Joiner::Mp3(mp3::Joiner::default()),
            Codec::Aac => return Ok(Self::aac(AacFormat::default())),
            Codec::Opus | Codec::G711A | Codec::G711U => Joiner::Audio,
            _ => return Err(DepacketizeError::Unsupported { what: "codec" }),
        };
        Ok(Self { assembly: Assembly::new(codec, joiner) })
    }

    /// For AAC in another way than AAC-hbr with 1,024 samples in an access unit.
    pub fn aac(format: AacFormat) -> Self {
        let joiner = Joiner::Aac(Box::new(aac::Joiner::new(format)));
        Self { assembly: Assembly::new(Codec::Aac, joiner) }
    }

    /// The codec whose payloads it takes.
    pub const fn codec(&self) -> Codec {
        self.assembly.codec()
    }

    /// Takes the next payload, padding removed, in the order of sequence numbers. Units that it
    /// completes wait for [`pull`](Self::pull). An empty payload only moves the sequence on; one
    /// that comes late or twice is left out and counted.
    ///
    /// An error is the publisher's fault, costs the unit and, of video, all until the next key
    /// frame, and leaves the depacketizer fit for the next payload.
    ///
    /// Cost: one copy of the payload; an allocation for each unit.
    pub fn push(&mut self, payload: &[u8], meta: PacketMeta) -> Result<(), DepacketizeError> {
        self.assembly.push(payload, meta)
    }

    /// The next whole unit.
    pub fn pull(&mut self) -> Option<Unit> {
        self.assembly.pull()
    }

    /// Nothing comes before the next key frame: ask for one. True also until the first came;
    /// always false for sound.
    pub const fn needs_key(&self) -> bool {
        self.assembly.needs_key()
    }

    /// What was left out so far, and why.
    pub const fn stats(&self) -> Stats {
        self.assembly.stats()
    }

    /// Takes a parameter set that came beside the stream (`sprop-parameter-sets`,
    /// `sprop-vps` and the like), without start code. Of other codecs than H.264 and H.265, and
    /// units of other kinds, it is left out.
    pub fn learn(&mut self, parameter_set: &[u8]) {
        self.assembly.learn(parameter_set);
    }
}

/// Puts payloads of one format together; [`Assembly`] watches over order and loss.
#[derive(Debug)]
enum Joiner {
    H264(Box<h264::Joiner>),
    H265(Box<h265::Joiner>),
    Av1(Box<av1::Joiner>),
    Vp8(Box<vp8::Joiner>),
    Vp9(Box<vp9::Joiner>),
    Mp3(mp3::Joiner),
    Aac(Box<aac::Joiner>),
    /// Each payload is a unit.
    Audio,
}

/// What a joiner made of the payloads of one unit.
#[derive(Debug)]
enum Joined {
    /// One unit, the whole buffer.
    Unit {
        /// A decoder can start here.
        key: bool,
        /// Configuration, when it is another than before.
        config: Option<Bytes>,
    },
    /// Several units, of these sizes, one behind the other in the buffer.
    Several {
        /// Bytes of each; of all together, the buffer's.
        sizes: SmallVec<[usize; 8]>,
        /// Ticks from one to the next.
        step: i64,
    },
    /// No media were in it.
    Nothing,
    /// A whole unit that a decoder can make nothing of.
    Useless,
}

type Ready = VecDeque<Unit>;

/// Keeps a configuration record, and gives it when it is another than before.
fn changed(known: &mut Bytes, record: &[u8]) -> Option<Bytes> {
    if known == record {
        return None;
    }
    *known = Bytes::copy_from_slice(record);
    Some(known.clone())
}

#[cfg(test)]
mod tests;
