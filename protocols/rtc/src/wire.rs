//! Pure codecs: `decode_*` and `encode_*`, from bytes to values and back.
