//! What can go wrong with one frame.

use media::Codec;

/// Why a frame gave no sound. None of them ends the transcoder: the next frame may be pushed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The frame's coding is not one that this transcoder reads. The caller's fault.
    #[error("cannot transcode {0} here")]
    Codec(Codec),
    /// A frame of AAC came before its configuration. The publisher's fault, or a viewer that
    /// joined without the kept configuration.
    #[error("{0} came before its configuration")]
    NoConfig(Codec),
    /// The configuration cannot be read, or asks for what the decoder cannot do. The publisher's.
    #[error("{codec} configuration is refused: {why}")]
    Config {
        /// The coding.
        codec: Codec,
        /// In the decoder's words.
        why: Box<str>,
    },
    /// The frame cannot be decoded; as much silence was put in its place. The publisher's fault.
    #[error("{codec} frame is damaged: {why}")]
    Damaged {
        /// The coding.
        codec: Codec,
        /// In the decoder's words.
        why: Box<str>,
    },
    /// The frame is larger than the coding allows. The publisher's fault.
    #[error("{codec} frame has {len} bytes, the limit is {limit}")]
    TooLarge {
        /// The coding.
        codec: Codec,
        /// Bytes of the frame.
        len: usize,
        /// Bytes that are allowed.
        limit: usize,
    },
    /// The decoder panicked on this frame and was made anew. A fault in the decoder.
    #[error("the decoder of {0} failed on a frame and was restarted")]
    Panicked(Codec),
    /// The encoder failed and was made anew; the sound of one frame is lost. Our fault.
    #[error("the encoder of {codec} failed: {why}")]
    Encode {
        /// The coding.
        codec: Codec,
        /// In the encoder's words.
        why: Box<str>,
    },
}
