//! Pure codecs: `decode_*` and `encode_*`, from bytes to values and back.

pub mod framing;
pub mod srtp;
pub mod stun;
