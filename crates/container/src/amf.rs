//! AMF: the values that RTMP commands and FLV script tags are made of.
//!
//! [`decode_all`] reads a message body (AMF0, switching to AMF3 where the body says so) into a
//! list of [`Value`]s; [`encode`] writes a value as AMF0. Objects keep the order of their
//! properties, and duplicates, as they came.
//!
//! Everything here is safe to feed from the network: no recursion on input depth, no allocation
//! that a length field alone could buy, time linear in the input, and [`Limits`] on all that
//! grows.
//!
//! It does not resolve references between objects (a cycle could not be told from a tree, and a
//! resolved reference would multiply memory), and it does not write AMF3 beyond byte arrays.
//!
//! Specification: "Action Message Format -- AMF 0" (December 2007) and "AMF 3" (January 2013).

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects))]

mod decode;
mod decode3;
mod encode;

#[cfg(test)]
mod tests;

pub use decode::{decode_all, decode_prefix};
pub use encode::{encode, encode_all};

/// A property of an object: its name and its value.
pub type Property = (String, Value);

/// One AMF value.
///
/// Strings are UTF-8 on the wire; bytes that are not become U+FFFD.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A double; AMF3 integers come as numbers too.
    Number(f64),
    /// True or false.
    Boolean(bool),
    /// A string of any length: AMF0 has two markers for it, and the encoder picks the right one.
    String(String),
    /// An anonymous object.
    Object(Vec<Property>),
    /// Null.
    Null,
    /// Undefined.
    Undefined,
    /// Another place where an object appears that was already sent in this message: its number
    /// in the order of the objects. Not resolved.
    Reference(u16),
    /// An associative array.
    EcmaArray(Vec<Property>),
    /// An array numbered from 0.
    StrictArray(Vec<Value>),
    /// Milliseconds since 1970-01-01 UTC, and a time zone in minutes that the specification
    /// reserves (0).
    Date {
        /// Milliseconds since the epoch.
        millis: f64,
        /// Reserved; 0.
        zone: i16,
    },
    /// A value that the sender could not write.
    Unsupported,
    /// An XML document, as text.
    Xml(String),
    /// An object of a named class.
    TypedObject {
        /// The class.
        class: String,
        /// Its properties.
        properties: Vec<Property>,
    },
    /// Raw bytes (AMF3 only).
    ByteArray(Vec<u8>),
}

/// What a decoder accepts before it calls the input hostile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Containers inside containers.
    pub depth: usize,
    /// Values in one message, inner ones included.
    pub nodes: usize,
    /// Bytes of one string, name or byte array.
    pub string: usize,
    /// Bytes of all strings of a message together, those repeated by an AMF3 reference included.
    pub text: usize,
}

impl Limits {
    /// Real metadata nests 3 deep; 32 leaves room and keeps what drops a value off the stack's end.
    pub const DEPTH: usize = 32;
    /// Real messages hold under 100 values; an index of key frames some thousand. At 56 bytes a
    /// property this bounds a message to 230 kB.
    pub const NODES: usize = 4_096;
    /// The longest that AMF0's short form can say; more is no name, URL or title.
    pub const STRING: usize = 65_536;
    /// Sixteen of the longest strings; an AMF3 reference is 2 bytes and could else repeat 64 KiB.
    pub const TEXT: usize = 1_048_576;
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: Self::DEPTH, nodes: Self::NODES, string: Self::STRING, text: Self::TEXT }
    }
}

/// Why a body could not be read. The sender's fault, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("AMF at byte {offset}: {kind}")]
pub struct Error {
    /// Where in the input, in bytes.
    pub offset: usize,
    /// What is wrong there.
    pub kind: ErrorKind,
}

/// What is wrong with a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// The input ends inside a value.
    #[error("ends inside a value")]
    Truncated,
    /// No type has this AMF0 marker, or it has no place here.
    #[error("unknown AMF0 marker {0:#04x}")]
    Marker(u8),
    /// An AMF3 marker that is unknown or (dictionary) not read.
    #[error("unknown AMF3 marker {0:#04x}")]
    Marker3(u8),
    /// An AMF3 class that writes itself in a form only its own code knows.
    #[error("externalizable AMF3 object")]
    Externalizable,
    /// A reference to something that was not sent before.
    #[error("reference to unknown entry {0}")]
    Reference(u32),
    /// More containers inside containers than [`Limits::depth`].
    #[error("nested deeper than {0}")]
    Depth(usize),
    /// More values than [`Limits::nodes`].
    #[error("more than {0} values")]
    Nodes(usize),
    /// A string longer than [`Limits::string`].
    #[error("string of {0} bytes")]
    String(usize),
    /// More text than [`Limits::text`].
    #[error("more than {0} bytes of text")]
    Text(usize),
}

impl Value {
    /// An object with these properties, in this order.
    pub fn object<const N: usize>(properties: [(&str, Value); N]) -> Self {
        Self::Object(properties.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// An associative array with these entries, in this order.
    pub fn ecma_array<const N: usize>(properties: [(&str, Value); N]) -> Self {
        Self::EcmaArray(properties.map(|(name, value)| (name.to_owned(), value)).into())
    }

    /// The properties, if this is an object or an associative array; else none.
    pub fn properties(&self) -> &[Property] {
        match self {
            Self::Object(properties)
            | Self::EcmaArray(properties)
            | Self::TypedObject { properties, .. } => properties,
            _ => &[],
        }
    }

    /// The properties to change, if this is an object or an associative array.
    pub fn properties_mut(&mut self) -> Option<&mut Vec<Property>> {
        match self {
            Self::Object(properties)
            | Self::EcmaArray(properties)
            | Self::TypedObject { properties, .. } => Some(properties),
            _ => None,
        }
    }

    /// The first property of this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.properties().iter().find(|(n, _)| n == name).map(|(_, value)| value)
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a number. NaN and infinities may occur.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// The value of a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Boolean(boolean) => Some(*boolean),
            _ => None,
        }
    }

    /// An object or associative array, possibly empty.
    pub fn is_object(&self) -> bool {
        matches!(self, Self::Object(_) | Self::EcmaArray(_) | Self::TypedObject { .. })
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(boolean: bool) -> Self {
        Self::Boolean(boolean)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}
