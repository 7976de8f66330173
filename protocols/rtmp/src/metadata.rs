//! `onMetaData` on its way in: what SRS takes out and puts in, and what the server reads of it.

use bytes::Bytes;
use container::amf::{self, Value};

/// What the server reads of a publisher's metadata.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// The rewritten values, to be passed on.
    pub payload: Bytes,
    /// `width` by `height`, 0 when not told.
    pub size: (u32, u32),
    /// Codec numbers as told, 0 when not.
    pub codecs: (u32, u32),
    /// `bravo_atc` is `"true"`: the encoder's times are absolute.
    pub atc: bool,
}

/// Rewrites an `onMetaData` payload: `duration` goes (a live stream has none, and players would
/// stop there), `server` and `server_version` come. `None` when it cannot be read; it is then
/// better passed on as it is.
pub fn rewrite(
    payload: &Bytes,
    limits: &amf::Limits,
    server: &str,
    version: &str,
) -> Option<Metadata> {
    let mut values = amf::decode_all(payload, limits).ok()?;
    let object = values.get_mut(1)?;
    let number = |o: &Value, key: &str| o.get(key).and_then(Value::as_f64).unwrap_or(0.0) as u32;
    let mut out = Metadata {
        payload: Bytes::new(),
        size: (number(object, "width"), number(object, "height")),
        codecs: (number(object, "videocodecid"), number(object, "audiocodecid")),
        atc: object.get("bravo_atc").and_then(Value::as_str) == Some("true"),
    };
    let properties = object.properties_mut()?;
    properties.retain(|(name, _)| !matches!(&**name, "duration" | "server" | "server_version"));
    for (name, value) in [("server", server), ("server_version", version)] {
        properties.push((name.into(), Value::String(value.into())));
    }
    let mut wire = Vec::with_capacity(payload.len().saturating_add(64));
    amf::encode_all(&values, &mut wire);
    out.payload = wire.into();
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_goes_and_the_server_comes() {
        let mut wire = Vec::new();
        amf::encode_all(
            &[
                Value::String("onMetaData".into()),
                Value::ecma_array([
                    ("duration", Value::Number(12.0)),
                    ("width", Value::Number(1280.0)),
                    ("height", Value::Number(720.0)),
                    ("bravo_atc", Value::String("true".into())),
                ]),
            ],
            &mut wire,
        );
        let limits = amf::Limits::default();
        let got = rewrite(&wire.into(), &limits, "millrace/1", "1").unwrap();
        assert_eq!(got.size, (1280, 720));
        assert!(got.atc);
        let back = amf::decode_all(&got.payload, &limits).unwrap();
        assert_eq!(back[0].as_str(), Some("onMetaData"));
        assert!(back[1].get("duration").is_none());
        assert_eq!(back[1].get("server").and_then(Value::as_str), Some("millrace/1"));
        assert_eq!(back[1].get("width").and_then(Value::as_f64), Some(1280.0));
    }

    #[test]
    fn what_cannot_be_read_is_left_alone() {
        let limits = amf::Limits::default();
        assert!(rewrite(&Bytes::from_static(b"\x02\x00\x03abc"), &limits, "", "").is_none());
    }
}
