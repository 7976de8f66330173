//! JSON as SRS prints it: no spaces, and every float with exactly two decimals.

use std::io;

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

struct TwoDecimals(CompactFormatter);

impl Formatter for TwoDecimals {
    fn write_f64<W: ?Sized + io::Write>(&mut self, to: &mut W, value: f64) -> io::Result<()> {
        // Minus zero would be told as such.
        let value = if value.abs() < 0.005 { 0.0 } else { value };
        write!(to, "{value:.2}")
    }
}

/// The text of `value`, keys in the order in which they were put in.
pub(crate) fn text(value: &Value) -> String {
    let mut out = Vec::new();
    let formatter = TwoDecimals(CompactFormatter);
    match value.serialize(&mut Serializer::with_formatter(&mut out, formatter)) {
        Ok(()) => String::from_utf8(out).unwrap_or_default(),
        // A `Value` can always be written, and memory does not fail.
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::text;
    use serde_json::json;

    #[test]
    fn floats_have_two_decimals_and_integers_none() {
        let value = json!({"z": 0.0042, "a": 10.0, "n": 3, "big": 1.0e9, "m": -0.001, "x": 12.349});
        let wanted = r#"{"z":0.00,"a":10.00,"n":3,"big":1000000000.00,"m":0.00,"x":12.35}"#;
        assert_eq!(text(&value), wanted);
    }

    #[test]
    fn hostile_text_stays_inside_its_string() {
        let value = json!({"name": "a\"},{\"b\u{0}\n</script>"});
        assert_eq!(text(&value), "{\"name\":\"a\\\"},{\\\"b\\u0000\\n</script>\"}");
    }
}
