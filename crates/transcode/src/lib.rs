//! Sound from one coding into another, for consumers that cannot take what was published:
//! AAC and MP3 to Opus, Opus to AAC. No I/O, no clock, no thread: frames in, frames out.
