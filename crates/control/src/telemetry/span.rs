//! Spans, and what tells which belong together (W3C Trace Context).

use std::time::SystemTime;

use super::proto::{Message, Value, envelope};

/// What a span is part of, and its own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Context {
    pub(super) trace: [u8; 16],
    pub(super) span: [u8; 8],
    /// It is exported.
    pub(super) sampled: bool,
}

fn hex(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            out.push(DIGITS.get(usize::from(digit)).copied().map_or('0', char::from));
        }
    }
}

/// Exactly so many bytes of lower-case hexadecimal digits.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N.checked_mul(2)? || digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        if !pair.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
    }
    Some(out)
}

impl Context {
    /// The header `traceparent`, version 00.
    pub(crate) fn traceparent(&self) -> String {
        let mut out = String::with_capacity(55);
        out.push_str("00-");
        hex(&self.trace, &mut out);
        out.push('-');
        hex(&self.span, &mut out);
        out.push_str(if self.sampled { "-01" } else { "-00" });
        out
    }

    /// What such a header says; `None` where it is none. Later versions may have more behind it.
    pub(crate) fn parse(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let version: [u8; 1] = unhex(parts.next()?)?;
        let (trace, span): ([u8; 16], [u8; 8]) = (unhex(parts.next()?)?, unhex(parts.next()?)?);
        let flags: [u8; 1] = unhex(parts.next()?)?;
        let more = parts.next().is_some();
        let fits = version != [0xff] && (version != [0] || !more);
        let real = trace != [0; 16] && span != [0; 8];
        (fits && real).then_some(Self { trace, span, sampled: flags[0] & 1 == 1 })
    }
}

/// Who calls whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A part of something.
    Internal = 1,
    /// Somebody called us.
    Server = 2,
    /// We call somebody.
    Client = 3,
}

/// Something that took its time, and is over.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(super) context: Context,
    pub(super) parent: Option<[u8; 8]>,
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) begun: SystemTime,
    pub(super) ended: SystemTime,
    pub(super) attributes: Vec<(&'static str, Value)>,
    /// What went wrong.
    pub(super) error: Option<String>,
}

/// Nanoseconds since 1970.
pub(super) fn nanos(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl Span {
    /// `Span` of trace.proto.
    fn write(&self, out: &mut Message) {
        out.bytes(1, &self.context.trace);
        out.bytes(2, &self.context.span);
        out.bytes(4, self.parent.as_ref().map_or(&[], <[u8; 8]>::as_slice));
        out.bytes(5, self.name.as_bytes());
        out.number(6, self.kind as u64);
        out.fixed64(7, nanos(self.begun));
        // The clock may have been set meanwhile.
        out.fixed64(8, nanos(self.ended.max(self.begun)));
        for (key, value) in &self.attributes {
            out.attribute(9, key, value);
        }
        if let Some(error) = &self.error {
            out.message(15, |status| {
                status.bytes(2, error.as_bytes());
                status.number(3, 2);
            });
        }
        out.fixed32(16, u32::from(self.context.sampled));
    }
}

/// `ExportTraceServiceRequest`.
pub(super) fn request(resource: &[(String, Value)], version: &str, spans: &[Span]) -> Vec<u8> {
    envelope(resource, version, |scope| {
        for span in spans {
            scope.message(2, |out| span.write(out));
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_header_names_trace_and_span() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context = Context::parse(text).unwrap();
        assert_eq!((context.span[1], context.sampled), (0xf0, true));
        assert_eq!(context.traceparent(), text);
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02-what";
        assert!(!Context::parse(later).unwrap().sampled);
    }

    #[test]
    fn what_is_no_header_names_nothing() {
        for text in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(Context::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_context_comes_back(trace in any::<[u8; 16]>(), span in any::<[u8; 8]>(), sampled: bool) {
            prop_assume!(trace != [0; 16] && span != [0; 8]);
            let context = Context { trace, span, sampled };
            prop_assert_eq!(Context::parse(&context.traceparent()), Some(context));
        }

        #[test]
        fn any_text_has_a_meaning(text: String) {
            if let Some(context) = Context::parse(&text) {
                prop_assert_eq!(&context.traceparent()[2..53], &text[2..53]);
            }
        }
    }
}
