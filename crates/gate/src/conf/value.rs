//! Texts into values, and what may be wrong with a text.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use super::{Directive, Kind, Violation};

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Fault {
    /// Neither `on` nor `off`; read by the rule of [`Kind::Bool`].
    #[error("`{0}` is neither `on` nor `off`")]
    NotABool(String),
    /// Not a number of the wanted form.
    #[error("`{text}` is not {wanted}")]
    NotANumber {
        /// What is written.
        text: String,
        /// What ought to be: "a whole number", "seconds".
        wanted: &'static str,
    },
    /// A whole number was wanted; the decimals are cut off.
    #[error("`{0}` is cut to a whole number")]
    Decimals(String),
    /// A number beyond the bounds.
    #[error("`{text}` is out of range, {min} to {max} is allowed")]
    OutOfRange {
        /// What is written.
        text: String,
        /// Least allowed.
        min: f64,
        /// Most allowed.
        max: f64,
    },
    /// A word that is none of those known.
    #[error("`{text}` is none of {}", list(.choices))]
    NotAChoice {
        /// What is written.
        text: String,
        /// What may be written.
        choices: &'static [&'static str],
    },
    /// Not an address to listen at.
    #[error(transparent)]
    Listen(#[from] BadListen),
}

fn list(choices: &[&str]) -> String {
    choices.iter().map(|choice| format!("`{choice}`")).collect::<Vec<_>>().join(", ")
}

impl Fault {
    /// Whether the configuration is refused, or only warned about, in this row.
    pub fn refuses(&self, row: &Directive) -> bool {
        match self {
            Self::NotABool(_) | Self::Decimals(_) => false,
            Self::NotANumber { .. } | Self::Listen(_) => true,
            Self::OutOfRange { .. } | Self::NotAChoice { .. } => row.violation == Violation::Refuse,
        }
    }
}

/// Checks one word against a row. For list kinds it is called for each word.
///
/// # Errors
/// The first thing wrong with it; [`Fault::refuses`] says how bad that is.
pub fn check(row: &Directive, text: &str) -> Result<(), Fault> {
    match row.kind {
        Kind::Bool if text == "on" || text == "off" => Ok(()),
        Kind::Bool => Err(Fault::NotABool(text.to_owned())),
        Kind::Int => number(row, text, "a whole number", true),
        Kind::Millis => number(row, text, "a number of milliseconds", true),
        Kind::Seconds => number(row, text, "a number of seconds", false),
        Kind::FloatSeconds => number(row, text, "a number of seconds", false),
        Kind::Float => number(row, text, "a number", false),
        Kind::Size => match parse_size(text) {
            Some(bytes) => in_range(row, text, bytes as f64),
            None => Err(Fault::NotANumber {
                text: text.to_owned(),
                wanted: "a number of bytes (`k` and `m` are understood)",
            }),
        },
        Kind::Choice(choices) if choices.contains(&text) => Ok(()),
        Kind::Choice(choices) => Err(Fault::NotAChoice { text: text.to_owned(), choices }),
        Kind::Listen => Ok(text.parse::<Listen>().map(|_| ())?),
        Kind::Str | Kind::List | Kind::Path | Kind::Line | Kind::Block | Kind::FreeBlock => Ok(()),
    }
}

fn number(row: &Directive, text: &str, wanted: &'static str, whole: bool) -> Result<(), Fault> {
    let Some(value) = parse_float(text) else {
        return Err(Fault::NotANumber { text: text.to_owned(), wanted });
    };
    in_range(row, text, value)?;
    if matches!(row.kind, Kind::Millis | Kind::Seconds | Kind::FloatSeconds) && value < 0.0 {
        return Err(Fault::NotANumber { text: text.to_owned(), wanted });
    }
    if whole && parse_int(text).is_none() { Err(Fault::Decimals(text.to_owned())) } else { Ok(()) }
}

fn in_range(row: &Directive, text: &str, value: f64) -> Result<(), Fault> {
    match row.range {
        Some((min, max)) if value < min || value > max => {
            Err(Fault::OutOfRange { text: text.to_owned(), min, max })
        }
        _ => Ok(()),
    }
}

/// A whole number.
pub(super) fn parse_int(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// A finite number.
pub(super) fn parse_float(text: &str) -> Option<f64> {
    // Rust also reads "inf", "nan" and "1e9"; nobody means a configuration so.
    if text.is_empty() || text.contains(|c: char| !(c.is_ascii_digit() || "+-.".contains(c))) {
        return None;
    }
    text.parse::<f64>().ok().filter(|value| value.is_finite())
}

/// Bytes, with suffix.
pub(super) fn parse_size(text: &str) -> Option<u64> {
    let (digits, unit) = if let Some(digits) = text.strip_suffix(['k', 'K']) {
        (digits, 1024)
    } else if let Some(digits) = text.strip_suffix(['m', 'M']) {
        (digits, 1024 * 1024)
    } else {
        (text, 1)
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// The row's number in `text`, bounds applied; `None` when it is none or the default is to be used.
pub(super) fn bounded(row: &Directive, text: &str) -> Option<f64> {
    let value = match row.kind {
        Kind::Size => parse_size(text)? as f64,
        Kind::Int | Kind::Millis | Kind::Seconds => parse_float(text)?.trunc(),
        _ => parse_float(text)?,
    };
    match row.range {
        Some((min, max)) if value < min || value > max => match row.violation {
            Violation::Clamp => Some(value.clamp(min, max)),
            Violation::Refuse | Violation::UseDefault => None,
        },
        _ => Some(value),
    }
}

/// A duration of so many seconds: negative is zero, too long is the longest.
pub(super) fn seconds(value: f64) -> Duration {
    if value <= 0.0 {
        return Duration::ZERO;
    }
    Duration::try_from_secs_f64(value).unwrap_or(Duration::MAX)
}

/// `[ip:]port`: where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Listen {
    /// The address, or `None` for every address of the machine: `::` where IPv6 is usable,
    /// else `0.0.0.0`.
    pub ip: Option<IpAddr>,
    /// The port; never 0.
    pub port: u16,
}

/// Whether a text is an IP address, or may be a name of DNS (RFC 1123 §2.1; with `_`, as containers
/// are called): no scheme, no port, and not four numbers that are no address.
pub fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    let last = name.rsplit('.').next().unwrap_or_default();
    text.parse::<std::net::IpAddr>().is_ok()
        || (name.len() <= 253
            && name.split('.').all(label)
            && !last.bytes().all(|b| b.is_ascii_digit()))
}

/// What is wrong with an address to listen at.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadListen {
    /// The part after the last colon is no port.
    #[error("`{0}` has no port between 1 and 65535")]
    Port(String),
    /// The part before the last colon is no address.
    #[error("`{0}` has no IP address before its port (IPv6 in brackets: `[::1]:1935`)")]
    Ip(String),
}

impl FromStr for Listen {
    type Err = BadListen;

    fn from_str(text: &str) -> Result<Self, BadListen> {
        let port = |digits: &str| {
            let all_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            all_digits
                .then(|| digits.parse::<u16>().ok())
                .flatten()
                .filter(|port| *port != 0)
                .ok_or_else(|| BadListen::Port(text.to_owned()))
        };
        let Some((ip, digits)) = text.rsplit_once(':') else {
            return Ok(Self { ip: None, port: port(text)? });
        };
        let port = port(digits)?;
        let bare = match ip.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').filter(|inner| inner.contains(':')),
            None => Some(ip).filter(|ip| !ip.contains(':')),
        };
        let ip =
            bare.and_then(|ip| ip.parse().ok()).ok_or_else(|| BadListen::Ip(text.to_owned()))?;
        Ok(Self { ip: Some(ip), port })
    }
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.ip {
            Some(ip) => SocketAddr::new(ip, self.port).fmt(f),
            None => self.port.fmt(f),
        }
    }
}
