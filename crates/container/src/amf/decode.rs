//! AMF0, and the walk that AMF0 and AMF3 share.

use super::decode3::{self, Tables};
use super::{Error, ErrorKind, Limits, Property, Value};

/// Reads all values of a message body.
///
/// An object or associative array that the input cuts off between two properties ends there, as
/// some encoders leave the end marker away.
///
/// # Errors
///
/// The sender's: see [`ErrorKind`]. Nothing is returned of a body that is wrong anywhere.
pub fn decode_all(input: &[u8], limits: &Limits) -> Result<Vec<Value>, Error> {
    let mut decoder = Decoder::new(input, limits);
    let mut values = Vec::new();
    while !decoder.is_empty() {
        values.push(decoder.value()?);
    }
    Ok(values)
}

/// Reads the first `count` values of a body, fewer if it holds fewer, and tells how many bytes
/// they took.
///
/// # Errors
///
/// The sender's: see [`ErrorKind`].
pub fn decode_prefix(
    input: &[u8],
    count: usize,
    limits: &Limits,
) -> Result<(Vec<Value>, usize), Error> {
    let mut decoder = Decoder::new(input, limits);
    let mut values = Vec::new();
    while values.len() < count && !decoder.is_empty() {
        values.push(decoder.value()?);
    }
    Ok((values, decoder.at))
}

/// A cursor over the input with what has been spent of the limits.
pub(super) struct Decoder<'a> {
    input: &'a [u8],
    at: usize,
    pub(super) limits: &'a Limits,
    nodes: usize,
    text: usize,
    pub(super) tables: Tables,
}

/// What the next bytes were: a whole value, or the start of one that holds others.
pub(super) enum Step {
    Leaf(Value),
    Open(Open),
}

/// A container whose end has not been read.
pub(super) enum Open {
    /// AMF0 object, associative array or typed object.
    Named { form: Form, properties: Vec<Property>, name: String },
    /// AMF0 strict array or AMF3 object vector: so many values are still to come.
    Listed { amf3: bool, items: Vec<Value>, left: u32 },
    /// AMF3 array or object.
    Amf3(decode3::Open3),
}

/// Which AMF0 type a list of properties makes.
pub(super) enum Form {
    Object,
    EcmaArray,
    Typed(String),
}

impl Open {
    fn is_amf3(&self) -> bool {
        match self {
            Self::Named { .. } => false,
            Self::Listed { amf3, .. } => *amf3,
            Self::Amf3(_) => true,
        }
    }

    fn add(&mut self, value: Value) {
        match self {
            Self::Named { properties, name, .. } => {
                properties.push((std::mem::take(name), value));
            }
            Self::Listed { items, left, .. } => {
                items.push(value);
                *left = left.saturating_sub(1);
            }
            Self::Amf3(open) => open.add(value),
        }
    }

    fn close(self) -> Value {
        match self {
            Self::Named { form: Form::Object, properties, .. } => Value::Object(properties),
            Self::Named { form: Form::EcmaArray, properties, .. } => Value::EcmaArray(properties),
            Self::Named { form: Form::Typed(class), properties, .. } => {
                Value::TypedObject { class, properties }
            }
            Self::Listed { items, .. } => Value::StrictArray(items),
            Self::Amf3(open) => open.close(),
        }
    }
}

impl<'a> Decoder<'a> {
    pub(super) fn new(input: &'a [u8], limits: &'a Limits) -> Self {
        Self { input, at: 0, limits, nodes: 0, text: 0, tables: Tables::default() }
    }

    fn is_empty(&self) -> bool {
        self.at >= self.input.len()
    }

    pub(super) fn remaining(&self) -> usize {
        self.input.len().saturating_sub(self.at)
    }

    pub(super) fn error(&self, kind: ErrorKind) -> Error {
        Error { offset: self.at, kind }
    }

    /// One value with all that is inside it.
    pub(super) fn value(&mut self) -> Result<Value, Error> {
        let mut stack: Vec<Open> = Vec::new();
        loop {
            let amf3 = stack.last().is_some_and(Open::is_amf3);
            self.spend_node()?;
            let step = if amf3 { self.step3()? } else { self.step0()? };
            match step {
                Step::Leaf(value) => match stack.last_mut() {
                    None => return Ok(value),
                    Some(open) => open.add(value),
                },
                Step::Open(open) => {
                    if stack.len() >= self.limits.depth {
                        return Err(self.error(ErrorKind::Depth(self.limits.depth)));
                    }
                    stack.push(open);
                }
            }
            while let Some(mut open) = stack.pop() {
                if !self.is_complete(&mut open)? {
                    stack.push(open);
                    break;
                }
                let value = open.close();
                match stack.last_mut() {
                    None => return Ok(value),
                    Some(outer) => outer.add(value),
                }
            }
        }
    }

    /// Reads what stands before the next inner value: its name, or the end of the container.
    fn is_complete(&mut self, open: &mut Open) -> Result<bool, Error> {
        match open {
            Open::Named { name, .. } => {
                if self.is_empty() {
                    return Ok(true);
                }
                let rest = self.input.get(self.at..).unwrap_or_default();
                if rest.starts_with(&[0, 0, 9]) {
                    self.at = self.at.saturating_add(3);
                    return Ok(true);
                }
                *name = self.short_string()?;
                Ok(false)
            }
            Open::Listed { left, .. } => Ok(*left == 0),
            Open::Amf3(open) => self.is_complete3(open),
        }
    }

    fn step0(&mut self) -> Result<Step, Error> {
        let marker = self.byte()?;
        let leaf = match marker {
            0x00 => Value::Number(self.double()?),
            0x01 => Value::Boolean(self.byte()? != 0),
            0x02 => Value::String(self.short_string()?),
            0x03 => return Ok(Self::named(Form::Object)),
            0x05 => Value::Null,
            0x06 => Value::Undefined,
            0x07 => Value::Reference(u16::from_be_bytes(self.array()?)),
            0x08 => {
                // The count is a hint that many encoders get wrong; the end marker decides.
                let _: [u8; 4] = self.array()?;
                return Ok(Self::named(Form::EcmaArray));
            }
            0x0a => {
                let left = u32::from_be_bytes(self.array()?);
                self.expect_values(left as usize)?;
                return Ok(Step::Open(Open::Listed { amf3: false, items: Vec::new(), left }));
            }
            0x0b => {
                let millis = self.double()?;
                Value::Date { millis, zone: i16::from_be_bytes(self.array()?) }
            }
            0x0c => Value::String(self.long_string()?),
            0x0d => Value::Unsupported,
            0x0f => Value::Xml(self.long_string()?),
            0x10 => {
                let class = self.short_string()?;
                return Ok(Self::named(Form::Typed(class)));
            }
            0x11 => return self.step3(),
            // 0x04 movie clip and 0x0e record set are reserved, 0x09 ends an object.
            other => {
                self.at = self.at.saturating_sub(1);
                return Err(self.error(ErrorKind::Marker(other)));
            }
        };
        Ok(Step::Leaf(leaf))
    }

    fn named(form: Form) -> Step {
        Step::Open(Open::Named { form, properties: Vec::new(), name: String::new() })
    }

    fn spend_node(&mut self) -> Result<(), Error> {
        self.nodes = self.nodes.saturating_add(1);
        if self.nodes > self.limits.nodes {
            return Err(self.error(ErrorKind::Nodes(self.limits.nodes)));
        }
        Ok(())
    }

    /// Refuses a count of values that can be neither within the limits nor in the input.
    pub(super) fn expect_values(&self, count: usize) -> Result<(), Error> {
        if count > self.limits.nodes {
            return Err(self.error(ErrorKind::Nodes(self.limits.nodes)));
        }
        if count > self.remaining() {
            return Err(self.error(ErrorKind::Truncated));
        }
        Ok(())
    }

    /// Counts values that are read without the walk (numeric vectors).
    pub(super) fn spend_nodes(&mut self, count: usize) -> Result<(), Error> {
        self.nodes = self.nodes.saturating_add(count);
        if self.nodes > self.limits.nodes {
            return Err(self.error(ErrorKind::Nodes(self.limits.nodes)));
        }
        Ok(())
    }

    pub(super) fn byte(&mut self) -> Result<u8, Error> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let Some(array) = rest.first_chunk::<N>() else {
            return Err(self.error(ErrorKind::Truncated));
        };
        self.at = self.at.saturating_add(N);
        Ok(*array)
    }

    pub(super) fn double(&mut self) -> Result<f64, Error> {
        Ok(f64::from_be_bytes(self.array()?))
    }

    fn short_string(&mut self) -> Result<String, Error> {
        let length = u16::from_be_bytes(self.array()?);
        self.text(usize::from(length))
    }

    fn long_string(&mut self) -> Result<String, Error> {
        let length = u32::from_be_bytes(self.array()?);
        self.text(length as usize)
    }

    pub(super) fn text(&mut self, length: usize) -> Result<String, Error> {
        let bytes = self.bytes(length)?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    pub(super) fn bytes(&mut self, length: usize) -> Result<&'a [u8], Error> {
        self.spend_text(length)?;
        let end = self.at.saturating_add(length);
        let Some(bytes) = self.input.get(self.at..end) else {
            return Err(self.error(ErrorKind::Truncated));
        };
        self.at = end;
        Ok(bytes)
    }

    pub(super) fn spend_text(&mut self, length: usize) -> Result<(), Error> {
        if length > self.limits.string {
            return Err(self.error(ErrorKind::String(length)));
        }
        self.text = self.text.saturating_add(length);
        if self.text > self.limits.text {
            return Err(self.error(ErrorKind::Text(self.limits.text)));
        }
        Ok(())
    }
}
