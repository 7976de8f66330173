//! What is sent, in the bytes of OTLP (protocol buffers, release 1 of opentelemetry-proto).
//!
//! A message is written by the calls that name its fields; what has its default value is left out,
//! as protocol buffers have it.

/// A message that is being written.
#[derive(Default)]
pub(super) struct Message(Vec<u8>);

/// What an attribute says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Int(i64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Int(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// Fields of eight bytes, of bytes with a length, and of four bytes.
const FIXED64: u8 = 1;
const BYTES: u8 = 2;
const FIXED32: u8 = 5;

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value as u8) | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u8, wire: u8) {
        self.varint(u64::from(field) << 3 | u64::from(wire));
    }

    /// A number of an enumeration or a flag.
    pub(super) fn number(&mut self, field: u8, value: u64) {
        if value != 0 {
            self.key(field, 0);
            self.varint(value);
        }
    }

    pub(super) fn fixed64(&mut self, field: u8, value: u64) {
        if value != 0 {
            self.key(field, FIXED64);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    pub(super) fn fixed32(&mut self, field: u8, value: u32) {
        if value != 0 {
            self.key(field, FIXED32);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    /// A number that means something when it is 0, too.
    pub(super) fn double(&mut self, field: u8, value: f64) {
        self.key(field, FIXED64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// The same, whole.
    pub(super) fn whole(&mut self, field: u8, value: i64) {
        self.key(field, FIXED64);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// Text or bytes.
    pub(super) fn bytes(&mut self, field: u8, value: &[u8]) {
        if !value.is_empty() {
            self.put(field, value);
        }
    }

    fn put(&mut self, field: u8, value: &[u8]) {
        self.key(field, BYTES);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// Numbers of eight bytes each, one behind the other.
    pub(super) fn packed(&mut self, field: u8, values: impl Iterator<Item = [u8; 8]>) {
        let all: Vec<u8> = values.flatten().collect();
        self.bytes(field, &all);
    }

    /// A message inside this one; it counts though it be empty.
    pub(super) fn message(&mut self, field: u8, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.put(field, &inner.0);
    }

    /// `KeyValue` of common.proto.
    pub(super) fn attribute(&mut self, field: u8, key: &str, value: &Value) {
        self.message(field, |pair| {
            pair.bytes(1, key.as_bytes());
            pair.message(2, |any| match value {
                Value::Text(text) => any.put(1, text.as_bytes()),
                Value::Int(number) => {
                    any.key(3, 0);
                    any.varint(number.cast_unsigned());
                }
            });
        });
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// `Resource` and `InstrumentationScope` around what `inner` writes: the same for all signals.
pub(super) fn envelope(
    resource: &[(String, Value)],
    version: &str,
    inner: impl FnOnce(&mut Message),
) -> Vec<u8> {
    let mut request = Message::default();
    request.message(1, |of_resource| {
        of_resource.message(1, |out| {
            resource.iter().for_each(|(key, value)| out.attribute(1, key, value));
        });
        of_resource.message(2, |of_scope| {
            of_scope.message(1, |scope| {
                scope.bytes(1, b"millrace");
                scope.bytes(2, version.as_bytes());
            });
            inner(of_scope);
        });
    });
    request.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_as_protocol_buffers_have_them() {
        let mut out = Message::default();
        out.number(1, 150);
        out.bytes(2, b"testing");
        out.number(3, 0);
        out.bytes(4, b"");
        out.message(5, |_| {});
        out.fixed32(6, 1);
        out.fixed64(7, 2);
        out.whole(8, -1);
        // The first two are the examples of the format's own description.
        let mut wanted = vec![0x08, 0x96, 0x01, 0x12, 7];
        wanted.extend_from_slice(b"testing");
        wanted.extend_from_slice(&[0x2a, 0, 0x35, 1, 0, 0, 0, 0x39, 2, 0, 0, 0, 0, 0, 0, 0, 0x41]);
        wanted.extend_from_slice(&[0xff; 8]);
        assert_eq!(out.finish(), wanted);
    }

    #[test]
    fn attributes_tell_text_from_numbers() {
        let mut out = Message::default();
        out.attribute(9, "k", &"".into());
        out.attribute(9, "k", &300u64.into());
        let wanted = [
            &[0x4a, 7, 10, 1, b'k', 18, 2, 10, 0][..],
            &[0x4a, 8, 10, 1, b'k', 18, 3, 24, 0xac, 2],
        ];
        assert_eq!(out.finish(), wanted.concat());
    }
}
