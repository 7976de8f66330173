//! What the first media of a stream must be like.

use std::io;

use container::flv::{Demuxer, TagKind};
use container::ts;
use media::{CodecInfo, Frame, Kind, Timestamp};

fn odd(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Looks at the first tags or messages: a configuration that can be read, then a key picture.
#[derive(Debug, Default)]
pub(super) struct First {
    demuxer: Demuxer,
    config: bool,
}

impl First {
    /// Whether the first picture has come with this one.
    pub(super) fn body(&mut self, kind: TagKind, body: &bytes::Bytes) -> io::Result<bool> {
        let mut frames = Vec::new();
        self.demuxer.push(kind, Timestamp::ZERO, body.clone(), &mut frames).map_err(odd)?;
        for frame in &frames {
            if self.frame(frame)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn frame(&mut self, frame: &Frame) -> io::Result<bool> {
        if frame.kind() != Kind::Video {
            return Ok(false);
        }
        if frame.is_config() {
            CodecInfo::decode(frame.codec, &frame.payload).map_err(odd)?;
            self.config = true;
        } else if frame.is_media() {
            if !self.config {
                return Err(odd("a picture before its configuration"));
            }
            if !frame.is_key() {
                return Err(odd("the first picture is no key picture"));
            }
            return Ok(true);
        }
        Ok(false)
    }
}

/// The same of a transport stream: tables, then a picture at which a decoder can begin.
#[derive(Default)]
pub(super) struct FirstTs {
    demuxer: ts::Demuxer,
    begun: Vec<u8>,
}

impl FirstTs {
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> io::Result<bool> {
        if self.begun.len() < ts::PACKET {
            self.begun.extend_from_slice(bytes);
            if self.begun.len() >= ts::PACKET && !ts::is_entry(&self.begun) {
                let begun = &self.begun[..16];
                return Err(odd(format!("a transport stream that begins with {begun:02x?}")));
            }
        }
        let mut events = Vec::new();
        self.demuxer.push(bytes, &mut events);
        for event in events {
            match event {
                ts::Event::Fault(fault) => return Err(odd(fault)),
                ts::Event::AccessUnit(unit) if unit.codec.kind() == Kind::Video => {
                    return match unit.random_access {
                        true => Ok(true),
                        false => Err(odd("the first picture is no key picture")),
                    };
                }
                _ => {}
            }
        }
        Ok(false)
    }
}

/// A segment of HLS: whole packets that begin with tables.
pub(super) fn segment(bytes: &[u8]) -> io::Result<()> {
    if !bytes.len().is_multiple_of(ts::PACKET) {
        return Err(odd("a segment that ends within a packet"));
    }
    if !FirstTs::default().bytes(bytes)? {
        return Err(odd("a segment without a picture"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(bytes: &[u8]) -> bytes::Bytes {
        bytes::Bytes::copy_from_slice(bytes)
    }

    #[test]
    fn a_stream_begins_with_a_configuration_and_a_key_picture() {
        let picture = |key: u8| body(&[key, 1, 0, 0, 0, 0, 0, 0, 2, 0x65, 0x88]);
        let mut first = First::default();
        assert!(first.body(TagKind::Video, &picture(0x17)).is_err(), "no configuration");
        let clip = testcard::clip(2);
        let good = [&[0x17, 0, 0, 0, 0], clip.avc_config()].concat();
        assert!(!first.body(TagKind::Video, &body(&good)).unwrap());
        assert!(first.body(TagKind::Video, &picture(0x27)).is_err(), "no key picture");
        assert!(first.body(TagKind::Video, &picture(0x17)).unwrap());
    }

    #[test]
    fn a_transport_stream_begins_with_its_tables() {
        let mut packet = [0u8; ts::PACKET];
        packet[..4].copy_from_slice(&[0x47, 0x41, 0x00, 0x10]);
        assert!(FirstTs::default().bytes(&packet).is_err());
        assert!(segment(&[0x47; 100]).is_err());
    }
}
