//! Writing AMF0.

use super::{Property, Value};

/// Appends values one after another, as a command or script body wants them.
pub fn encode_all(values: &[Value], out: &mut Vec<u8>) {
    for value in values {
        encode(value, out);
    }
}

/// What is still to be written, innermost last.
enum Rest<'a> {
    Properties(std::slice::Iter<'a, Property>),
    Items(std::slice::Iter<'a, Value>),
}

/// Appends one value as AMF0.
///
/// A string of 64 KiB and more takes the long form; a property or class name beyond that, which
/// AMF0 has no form for, is cut at a character border. A byte array switches to AMF3.
pub fn encode(value: &Value, out: &mut Vec<u8>) {
    let mut stack: Vec<Rest<'_>> = Vec::new();
    stack.extend(open(value, out));
    while let Some(rest) = stack.last_mut() {
        let inner = match rest {
            Rest::Properties(properties) => match properties.next() {
                Some((name, value)) => {
                    short_string(name, out);
                    open(value, out)
                }
                None => {
                    out.extend_from_slice(&[0, 0, 9]);
                    stack.pop();
                    continue;
                }
            },
            Rest::Items(items) => match items.next() {
                Some(value) => open(value, out),
                None => {
                    stack.pop();
                    continue;
                }
            },
        };
        stack.extend(inner);
    }
}

/// Writes a whole plain value, or the head of a container and gives what it holds.
fn open<'a>(value: &'a Value, out: &mut Vec<u8>) -> Option<Rest<'a>> {
    match value {
        Value::Number(number) => {
            out.push(0x00);
            out.extend_from_slice(&number.to_be_bytes());
        }
        Value::Boolean(boolean) => out.extend_from_slice(&[0x01, u8::from(*boolean)]),
        Value::String(text) => {
            if text.len() <= usize::from(u16::MAX) {
                out.push(0x02);
                short_string(text, out);
            } else {
                out.push(0x0c);
                long_string(text, out);
            }
        }
        Value::Object(properties) => {
            out.push(0x03);
            return Some(Rest::Properties(properties.iter()));
        }
        Value::Null => out.push(0x05),
        Value::Undefined => out.push(0x06),
        Value::Reference(index) => {
            out.push(0x07);
            out.extend_from_slice(&index.to_be_bytes());
        }
        Value::EcmaArray(properties) => {
            out.push(0x08);
            out.extend_from_slice(&length_u32(properties.len()).to_be_bytes());
            return Some(Rest::Properties(properties.iter()));
        }
        Value::StrictArray(items) => {
            out.push(0x0a);
            out.extend_from_slice(&length_u32(items.len()).to_be_bytes());
            return Some(Rest::Items(items.iter()));
        }
        Value::Date { millis, zone } => {
            out.push(0x0b);
            out.extend_from_slice(&millis.to_be_bytes());
            out.extend_from_slice(&zone.to_be_bytes());
        }
        Value::Unsupported => out.push(0x0d),
        Value::Xml(text) => {
            out.push(0x0f);
            long_string(text, out);
        }
        Value::TypedObject { class, properties } => {
            out.push(0x10);
            short_string(class, out);
            return Some(Rest::Properties(properties.iter()));
        }
        Value::ByteArray(bytes) => {
            // Its length has 28 bits; memory for more is never held here.
            let length = length_u32(bytes.len()).min((1 << 28) - 1);
            out.extend_from_slice(&[0x11, 0x0c]);
            u29(length << 1 | 1, out);
            out.extend(bytes.iter().take(length as usize));
        }
    }
    None
}

fn length_u32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn short_string(text: &str, out: &mut Vec<u8>) {
    let mut cut = text.len().min(usize::from(u16::MAX));
    while !text.is_char_boundary(cut) {
        cut = cut.saturating_sub(1);
    }
    let text = text.get(..cut).unwrap_or_default();
    let length = u16::try_from(text.len()).unwrap_or_default();
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn long_string(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&length_u32(text.len()).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn u29(value: u32, out: &mut Vec<u8>) {
    let low = |shift: u32| (value >> shift & 0x7f) as u8;
    match value {
        0..0x80 => out.push(low(0)),
        0x80..0x4000 => out.extend_from_slice(&[low(7) | 0x80, low(0)]),
        0x4000..0x20_0000 => out.extend_from_slice(&[low(14) | 0x80, low(7) | 0x80, low(0)]),
        _ => {
            let last = (value & 0xff) as u8;
            out.extend_from_slice(&[low(22) | 0x80, low(15) | 0x80, low(8) | 0x80, last]);
        }
    }
}
