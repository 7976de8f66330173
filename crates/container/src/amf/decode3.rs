//! AMF3: the steps of the walk that differ from AMF0.
//!
//! Reads every type but dictionaries and classes that write themselves; of the latter the two
//! wrappers that Flex sends around arrays and objects are read.

use std::rc::Rc;

use super::decode::{Decoder, Open, Step};
use super::{Error, ErrorKind, Property, Value};

/// What references may point to.
#[derive(Default)]
pub(super) struct Tables {
    strings: Vec<Rc<str>>,
    traits: Vec<Rc<Traits>>,
    objects: u32,
}

/// The shape of a class.
pub(super) struct Traits {
    class: Rc<str>,
    sealed: Vec<Rc<str>>,
    dynamic: bool,
}

/// An AMF3 container whose end has not been read.
pub(super) enum Open3 {
    Array {
        named: Vec<Property>,
        /// The next named entry's name; `None` once the named part is over.
        name: Option<String>,
        items: Vec<Value>,
        left: u32,
    },
    Object {
        traits: Rc<Traits>,
        class: String,
        properties: Vec<Property>,
        name: String,
        /// All sealed members have their value.
        in_dynamic: bool,
    },
}

impl Open3 {
    pub(super) fn add(&mut self, value: Value) {
        match self {
            Self::Array { named, name: Some(name), .. } => {
                named.push((std::mem::take(name), value));
            }
            Self::Array { items, left, .. } => {
                items.push(value);
                *left = left.saturating_sub(1);
            }
            Self::Object { properties, name, .. } => {
                properties.push((std::mem::take(name), value));
            }
        }
    }

    pub(super) fn close(self) -> Value {
        match self {
            Self::Array { named, items, .. } if named.is_empty() => Value::StrictArray(items),
            Self::Array { mut named, items, .. } => {
                let numbered = items.into_iter().enumerate();
                named.extend(numbered.map(|(index, value)| (index.to_string(), value)));
                Value::EcmaArray(named)
            }
            Self::Object { class, properties, .. } if class.is_empty() => Value::Object(properties),
            Self::Object { class, properties, .. } => Value::TypedObject { class, properties },
        }
    }
}

impl Decoder<'_> {
    pub(super) fn step3(&mut self) -> Result<Step, Error> {
        let marker = self.byte()?;
        let leaf = match marker {
            0x00 => Value::Undefined,
            0x01 => Value::Null,
            0x02 => Value::Boolean(false),
            0x03 => Value::Boolean(true),
            0x04 => {
                let raw = self.u29()?;
                // 29 bits, two's complement.
                let signed = (raw << 3).cast_signed() >> 3;
                Value::Number(f64::from(signed))
            }
            0x05 => Value::Number(self.double()?),
            0x06 => {
                let text = self.string3()?;
                Value::String((*text).to_owned())
            }
            0x07 | 0x0b => match self.object_header()? {
                Err(reference) => reference,
                Ok(length) => Value::Xml(self.text(length as usize)?),
            },
            0x08 => match self.object_header()? {
                Err(reference) => reference,
                Ok(_) => Value::Date { millis: self.double()?, zone: 0 },
            },
            0x09 => match self.object_header()? {
                Err(reference) => reference,
                Ok(left) => {
                    self.expect_values(left as usize)?;
                    return Ok(Step::Open(Open::Amf3(Open3::Array {
                        named: Vec::new(),
                        name: Some(String::new()),
                        items: Vec::new(),
                        left,
                    })));
                }
            },
            0x0a => return self.object3(),
            0x0c => match self.object_header()? {
                Err(reference) => reference,
                Ok(length) => Value::ByteArray(self.bytes(length as usize)?.to_vec()),
            },
            0x0d..=0x0f => match self.object_header()? {
                Err(reference) => reference,
                Ok(count) => self.numeric_vector(marker, count)?,
            },
            0x10 => match self.object_header()? {
                Err(reference) => reference,
                Ok(left) => {
                    let _fixed = self.byte()?;
                    let _class = self.string3()?;
                    self.expect_values(left as usize)?;
                    let open = Open::Listed { amf3: true, items: Vec::new(), left };
                    return Ok(Step::Open(open));
                }
            },
            other => return Err(self.error(ErrorKind::Marker3(other))),
        };
        Ok(Step::Leaf(leaf))
    }

    pub(super) fn is_complete3(&mut self, open: &mut Open3) -> Result<bool, Error> {
        match open {
            Open3::Array { name, left, .. } => {
                if let Some(next) = name {
                    let text = self.string3()?;
                    if text.is_empty() {
                        *name = None;
                    } else {
                        *next = (*text).to_owned();
                        return Ok(false);
                    }
                }
                Ok(*left == 0)
            }
            Open3::Object { traits, properties, name, in_dynamic, .. } => {
                if !*in_dynamic {
                    if let Some(sealed) = traits.sealed.get(properties.len()) {
                        self.spend_text(sealed.len())?;
                        *name = (**sealed).to_owned();
                        return Ok(false);
                    }
                    *in_dynamic = true;
                }
                if !traits.dynamic {
                    return Ok(true);
                }
                let text = self.string3()?;
                if text.is_empty() {
                    return Ok(true);
                }
                *name = (*text).to_owned();
                Ok(false)
            }
        }
    }

    /// A variable-length number of 29 bits.
    fn u29(&mut self) -> Result<u32, Error> {
        let mut value: u32 = 0;
        for _ in 0..3 {
            let byte = self.byte()?;
            value = value << 7 | u32::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Ok(value << 8 | u32::from(self.byte()?))
    }

    /// What follows the marker of everything that can be referred to: the length or count, or
    /// the reference in its place.
    fn object_header(&mut self) -> Result<Result<u32, Value>, Error> {
        let header = self.u29()?;
        if header & 1 == 0 {
            return Ok(Err(self.reference(header >> 1)?));
        }
        self.tables.objects = self.tables.objects.saturating_add(1);
        Ok(Ok(header >> 1))
    }

    fn reference(&self, index: u32) -> Result<Value, Error> {
        match u16::try_from(index) {
            Ok(short) if index < self.tables.objects => Ok(Value::Reference(short)),
            _ => Err(self.error(ErrorKind::Reference(index))),
        }
    }

    fn string3(&mut self) -> Result<Rc<str>, Error> {
        let header = self.u29()?;
        let index = header >> 1;
        if header & 1 == 0 {
            let Some(text) = self.tables.strings.get(index as usize).cloned() else {
                return Err(self.error(ErrorKind::Reference(index)));
            };
            self.spend_text(text.len())?;
            return Ok(text);
        }
        let text: Rc<str> = self.text(index as usize)?.into();
        if !text.is_empty() {
            self.tables.strings.push(Rc::clone(&text));
        }
        Ok(text)
    }

    fn object3(&mut self) -> Result<Step, Error> {
        let header = self.u29()?;
        if header & 1 == 0 {
            return Ok(Step::Leaf(self.reference(header >> 1)?));
        }
        self.tables.objects = self.tables.objects.saturating_add(1);
        let traits = if header & 2 == 0 {
            let index = header >> 2;
            let Some(traits) = self.tables.traits.get(index as usize).cloned() else {
                return Err(self.error(ErrorKind::Reference(index)));
            };
            traits
        } else {
            let traits = Rc::new(self.traits(header)?);
            self.tables.traits.push(Rc::clone(&traits));
            traits
        };
        self.spend_text(traits.class.len())?;
        let class = (*traits.class).to_owned();
        Ok(Step::Open(Open::Amf3(Open3::Object {
            traits,
            class,
            properties: Vec::new(),
            name: String::new(),
            in_dynamic: false,
        })))
    }

    fn traits(&mut self, header: u32) -> Result<Traits, Error> {
        let class = self.string3()?;
        if header & 4 != 0 {
            return match &*class {
                "flex.messaging.io.ArrayCollection" | "flex.messaging.io.ObjectProxy" => {
                    Ok(Traits { class, sealed: vec!["source".into()], dynamic: false })
                }
                _ => Err(self.error(ErrorKind::Externalizable)),
            };
        }
        let count = (header >> 4) as usize;
        self.expect_values(count)?;
        let mut sealed = Vec::new();
        for _ in 0..count {
            sealed.push(self.string3()?);
        }
        Ok(Traits { class, sealed, dynamic: header & 8 != 0 })
    }

    fn numeric_vector(&mut self, marker: u8, count: u32) -> Result<Value, Error> {
        let _fixed = self.byte()?;
        let count = count as usize;
        self.expect_values(count)?;
        self.spend_nodes(count)?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(Value::Number(match marker {
                0x0d => f64::from(i32::from_be_bytes(self.array()?)),
                0x0e => f64::from(u32::from_be_bytes(self.array()?)),
                _ => self.double()?,
            }));
        }
        Ok(Value::StrictArray(items))
    }
}
