//! What a person can do about an address that cannot be listened at.

use std::io::ErrorKind;

use crate::PrepareError;
use crate::conf::{Config, Listen, Origin};

/// Every directive that asks for an address: its switch (empty: always on), its path, and whether it
/// is of datagrams.
const ADDRESSES: &[(&str, &str, bool)] = &[
    ("", "listen", false),
    ("rtmps.enabled", "rtmps.listen", false),
    ("http_server.enabled", "http_server.listen", false),
    ("http_server.https.enabled", "http_server.https.listen", false),
    ("http_api.enabled", "http_api.listen", false),
    ("http_api.https.enabled", "http_api.https.listen", false),
    ("exporter.enabled", "exporter.listen", false),
    ("rtc_server.tcp.enabled", "rtc_server.tcp.listen", false),
    ("rtc_server.enabled", "rtc_server.listen", true),
];

impl PrepareError {
    /// The error for people, with the directives that ask for the address, where they stand, and what
    /// helps. `config` is the one that could not be prepared.
    pub fn told(&self, config: &Config) -> String {
        let Self::Bind { what, address, error } = self else { return self.to_string() };
        let datagrams = what.contains("UDP");
        let Ok(wanted) = address.parse::<Listen>() else { return self.to_string() };
        let root = config.root();
        let asks = |(switch, path, udp): &&(&str, &str, bool)| {
            *udp == datagrams
                && (switch.is_empty() || root.bool(switch))
                && root.listen(path).iter().any(|listen| overlap(*listen, wanted))
        };
        let place = |(_, path, _): &(&str, &str, bool)| match root.origin(path) {
            Origin::File(span) => {
                let file = config.file_name(span.file);
                format!("`{path}` ({file}:{}:{})", span.line, span.column)
            }
            Origin::Environment(name) => format!("`{path}` (environment variable {name})"),
            Origin::Default => format!("`{path}` (its default)"),
        };
        let asked: Vec<String> = ADDRESSES.iter().filter(asks).map(place).collect();
        let mut text = self.to_string();
        if !asked.is_empty() {
            text.push_str(&format!("; asked for by {}", asked.join(" and ")));
        }
        text.push_str(match error.kind() {
            ErrorKind::AddrInUse if datagrams => {
                ": choose another port, or stop the program that has it (`ss -lunp` names it)"
            }
            ErrorKind::AddrInUse => {
                ": choose another port, or stop the program that has it (`ss -ltnp` names it)"
            }
            ErrorKind::PermissionDenied => ": ports below 1024 need root or CAP_NET_BIND_SERVICE",
            ErrorKind::AddrNotAvailable => {
                ": no interface of this machine has that address; a port alone means all of them"
            }
            _ => "",
        });
        text
    }
}

/// Whether two of them cannot both be listened at.
fn overlap(one: Listen, other: Listen) -> bool {
    one.port == other.port && (one.ip.is_none() || other.ip.is_none() || one.ip == other.ip)
}
