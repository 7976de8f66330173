//! Where a request goes: the `http` and `https` URLs of RFC 9110, and references to others seen
//! from one of them (RFC 3986 section 5.2).

use std::fmt;
use std::net::Ipv6Addr;

/// Longest URL. Tokens make them long; 8 KiB is what servers take of a request line.
const MAX_LENGTH: usize = 8192;

/// A URL that no request can be made of. Its writer's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// Neither `http` nor `https`.
    #[error("the URL is neither http nor https")]
    Scheme,
    /// No host, or a port that is none.
    #[error("the URL has no host or a bad port")]
    Authority,
    /// White space, control characters or others that need escapes.
    #[error("character {0:?} in a URL")]
    Character(char),
    /// Longer than any server would take.
    #[error("a URL of {0} bytes")]
    TooLong(usize),
}

/// Whom to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Inside TLS.
    pub tls: bool,
    /// Name or number; IPv6 without brackets.
    pub host: String,
    /// The port, told or implied.
    pub port: u16,
}

/// A URL without its fragment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// Whom to connect to.
    pub origin: Origin,
    /// Path and query; begins with a slash.
    pub path: String,
}

impl Origin {
    /// As it stands in the `Host` field: the port is left out where it is the scheme's own.
    pub fn authority(&self) -> String {
        let host = &self.host;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let implied = if self.tls { 443 } else { 80 };
        if self.port == implied { host } else { format!("{host}:{}", self.port) }
    }
}

impl Address {
    /// Reads an absolute URL.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        check(text)?;
        let text = without_fragment(text);
        let (scheme, rest) = text.split_once("://").ok_or(AddressError::Scheme)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(AddressError::Scheme),
        };
        Self::behind_scheme(tls, rest)
    }

    /// What `reference` means when it stands in what came from here.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn join(&self, reference: &str) -> Result<Self, AddressError> {
        check(reference)?;
        let reference = without_fragment(reference);
        if has_scheme(reference) {
            return Self::parse(reference);
        }
        if let Some(rest) = reference.strip_prefix("//") {
            return Self::behind_scheme(self.origin.tls, rest);
        }
        let (own, query) = match self.path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.path.as_str(), None),
        };
        let path = if reference.is_empty() {
            query.map_or_else(|| own.to_owned(), |query| format!("{own}?{query}"))
        } else if reference.starts_with('?') {
            format!("{own}{reference}")
        } else {
            let (path, query) = reference.split_at(reference.find('?').unwrap_or(reference.len()));
            let folder = own.rsplit_once('/').map_or("", |(folder, _)| folder);
            let whole =
                if path.starts_with('/') { path.to_owned() } else { format!("{folder}/{path}") };
            format!("{}{query}", without_dots(&whole))
        };
        if path.len() > MAX_LENGTH {
            return Err(AddressError::TooLong(path.len()));
        }
        Ok(Self { origin: self.origin.clone(), path })
    }

    fn behind_scheme(tls: bool, rest: &str) -> Result<Self, AddressError> {
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or(AddressError::Authority)?;
                host.parse::<Ipv6Addr>().map_err(|_| AddressError::Authority)?;
                let told = port.strip_prefix(':');
                if told.is_none() && !port.is_empty() {
                    return Err(AddressError::Authority);
                }
                (host, told)
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = match port {
            None | Some("") => {
                if tls {
                    443
                } else {
                    80
                }
            }
            Some(port) if port.starts_with('+') => return Err(AddressError::Authority),
            Some(port) => port.parse().map_err(|_| AddressError::Authority)?,
        };
        let fine = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || port == 0 || !host.chars().all(fine) {
            return Err(AddressError::Authority);
        }
        let path = match path.strip_prefix('?') {
            Some(query) => format!("/?{query}"),
            None if path.is_empty() => "/".to_owned(),
            None => path.to_owned(),
        };
        Ok(Self { origin: Origin { tls, host: host.to_owned(), port }, path })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.origin.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.origin.authority(), self.path)
    }
}

/// What would break a request line has no place in a URL; letters beyond ASCII are escaped.
fn check(text: &str) -> Result<(), AddressError> {
    if text.len() > MAX_LENGTH {
        return Err(AddressError::TooLong(text.len()));
    }
    match text.chars().find(|c| !c.is_ascii_graphic()) {
        Some(odd) => Err(AddressError::Character(odd)),
        None => Ok(()),
    }
}

fn without_fragment(text: &str) -> &str {
    text.split('#').next().unwrap_or_default()
}

fn has_scheme(text: &str) -> bool {
    let Some((scheme, _)) = text.split_once(':') else { return false };
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(letter)
}

/// RFC 3986 section 5.2.4.
fn without_dots(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').skip(1) {
        match part {
            "." => {}
            ".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    let folder = path.ends_with("/.") || path.ends_with("/..");
    let end = if folder && !parts.is_empty() { "/" } else { "" };
    format!("/{}{end}", parts.join("/"))
}
