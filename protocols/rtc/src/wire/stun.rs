//! STUN as ICE needs it (RFC 8489, RFC 8445 §7): Binding and nothing else.
//!
//! [`Message`] reads, [`Writer`] writes, [`username`] tells whose a datagram is without any
//! cryptography. Only short-term credentials with HMAC-SHA1 are known, for ICE uses no other.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use aws_lc_rs::hmac;
use smallvec::SmallVec;

/// The length of a header.
const HEADER: usize = 20;
/// The same in every message (RFC 8489 §5).
const COOKIE: u32 = 0x2112_a442;
/// What the checksum is combined with, so that it differs from others (RFC 8489 §14.7).
const FINGERPRINT_XOR: u32 = 0x5354_554e;
/// The length of HMAC-SHA1.
const INTEGRITY: usize = 20;

/// How many attributes are read.
///
/// A check of a browser has nine. At half of it nothing known fails; at double a datagram of
/// nothing but empty attributes costs twice as much to refuse.
pub const MAX_ATTRIBUTES: usize = 64;

/// The longest user name (RFC 8489 §14.3).
const MAX_USERNAME: usize = 513;

/// How many unknown attributes are told in an error; the rest would only swell the reply.
const MAX_UNKNOWN: usize = 8;

const MAPPED_ADDRESS: u16 = 0x0001;
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const REALM: u16 = 0x0014;
const NONCE: u16 = 0x0015;
const MESSAGE_INTEGRITY_SHA256: u16 = 0x001c;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const SOFTWARE: u16 = 0x8022;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;
const ICE_CONTROLLING: u16 = 0x802a;

/// Chosen by who asks, returned by who answers.
pub type Transaction = [u8; 12];

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Wants an answer.
    Request,
    /// Wants none.
    Indication,
    /// The answer.
    Success,
    /// The refusal.
    Error,
}

/// Why a datagram is no STUN message. Always the sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StunError {
    /// Shorter than its header, or longer or shorter than the header says.
    #[error("STUN: {0} bytes are not what the header says")]
    Length(usize),
    /// Not Binding, or no STUN at all.
    #[error("STUN: the message type {0:#06x} is not Binding")]
    Type(u16),
    /// Not the magic cookie of RFC 5389 and later.
    #[error("STUN: no magic cookie")]
    Cookie,
    /// An attribute does not fit into the message or has the wrong length.
    #[error("STUN: the attribute {kind:#06x} at {at} has a wrong length")]
    Attribute {
        /// The attribute's type.
        kind: u16,
        /// Where it begins.
        at: usize,
    },
    /// More than [`MAX_ATTRIBUTES`].
    #[error("STUN: more than {MAX_ATTRIBUTES} attributes")]
    TooMany,
    /// The checksum is wrong or not at the end.
    #[error("STUN: the fingerprint does not fit")]
    Fingerprint,
}

/// A Binding message, borrowed from its datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is.
    pub class: Class,
    /// Chosen by who asked.
    pub transaction: Transaction,
    /// `USERNAME`.
    pub username: Option<&'a [u8]>,
    /// `PRIORITY` (RFC 8445 §7.1.1).
    pub priority: Option<u32>,
    /// Whether `USE-CANDIDATE` is there.
    pub use_candidate: bool,
    /// The tie-breaker of `ICE-CONTROLLING`.
    pub controlling: Option<u64>,
    /// The tie-breaker of `ICE-CONTROLLED`.
    pub controlled: Option<u64>,
    /// `XOR-MAPPED-ADDRESS`.
    pub mapped: Option<SocketAddr>,
    /// The code of `ERROR-CODE`, 300 to 699.
    pub error: Option<u16>,
    /// `SOFTWARE`.
    pub software: Option<&'a [u8]>,
    /// Attributes which must be understood and are not; the first eight.
    pub unknown: SmallVec<[u16; MAX_UNKNOWN]>,
    /// Whether a checksum was there; it fits then.
    pub fingerprint: bool,
    integrity: Option<(usize, &'a [u8])>,
    bytes: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads a datagram which is one message; the checksum is checked, if there is one.
    ///
    /// What follows `MESSAGE-INTEGRITY` is left unread (RFC 8489 §14.5), and so is an attribute
    /// that comes a second time.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, StunError> {
        let (class, transaction) = header(bytes)?;
        let mut message = Self {
            class,
            transaction,
            username: None,
            priority: None,
            use_candidate: false,
            controlling: None,
            controlled: None,
            mapped: None,
            error: None,
            software: None,
            unknown: SmallVec::new(),
            fingerprint: false,
            integrity: None,
            bytes,
        };
        for attribute in Attributes::of(bytes) {
            let (at, kind, value) = attribute?;
            if message.fingerprint {
                return Err(StunError::Fingerprint);
            }
            message.take(at, kind, value)?;
        }
        Ok(message)
    }

    fn take(&mut self, at: usize, kind: u16, value: &'a [u8]) -> Result<(), StunError> {
        let wrong = StunError::Attribute { kind, at };
        if kind == FINGERPRINT {
            let told = be32(value).filter(|_| value.len() == 4).ok_or(wrong)?;
            let before = self.bytes.get(..at).ok_or(wrong)?;
            if crc32fast::hash(before) ^ FINGERPRINT_XOR != told {
                return Err(StunError::Fingerprint);
            }
            self.fingerprint = true;
            return Ok(());
        }
        if self.integrity.is_some() {
            return Ok(());
        }
        match kind {
            MESSAGE_INTEGRITY => {
                self.integrity =
                    Some((at, Some(value).filter(|v| v.len() == INTEGRITY).ok_or(wrong)?));
            }
            USERNAME => {
                let value = Some(value).filter(|v| v.len() <= MAX_USERNAME).ok_or(wrong)?;
                self.username.get_or_insert(value);
            }
            PRIORITY => {
                let value = be32(value).filter(|_| value.len() == 4).ok_or(wrong)?;
                self.priority.get_or_insert(value);
            }
            USE_CANDIDATE => self.use_candidate = true,
            ICE_CONTROLLING => {
                let value = be64(value).filter(|_| value.len() == 8).ok_or(wrong)?;
                self.controlling.get_or_insert(value);
            }
            ICE_CONTROLLED => {
                let value = be64(value).filter(|_| value.len() == 8).ok_or(wrong)?;
                self.controlled.get_or_insert(value);
            }
            XOR_MAPPED_ADDRESS => {
                let value = unmask(value, &self.transaction).ok_or(wrong)?;
                self.mapped.get_or_insert(value);
            }
            ERROR_CODE => {
                let [_, _, class, number, ..] = value else { return Err(wrong) };
                let code = u16::from(class & 7) * 100 + u16::from(*number);
                self.error.get_or_insert(code);
            }
            SOFTWARE => {
                self.software.get_or_insert(value);
            }
            MAPPED_ADDRESS | UNKNOWN_ATTRIBUTES | REALM | NONCE | MESSAGE_INTEGRITY_SHA256 => {}
            0x0000..=0x7fff if self.unknown.len() < MAX_UNKNOWN => self.unknown.push(kind),
            _ => {}
        }
        Ok(())
    }

    /// Whether `MESSAGE-INTEGRITY` is there and fits the password; in constant time.
    pub fn verify(&self, password: &[u8]) -> bool {
        let Some((at, tag)) = self.integrity else { return false };
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password);
        integrity(&key, self.bytes, at).is_some_and(|expected| {
            aws_lc_rs::constant_time::verify_slices_are_equal(expected.as_ref(), tag).is_ok()
        })
    }

    /// Whether `MESSAGE-INTEGRITY` is there, right or wrong.
    pub fn has_integrity(&self) -> bool {
        self.integrity.is_some()
    }

    /// The user name, parted at its first colon: fragment of the receiver, of the sender.
    pub fn fragments(&self) -> Option<(&'a str, &'a str)> {
        part(self.username?)
    }
}

/// The user name of a Binding request, as `(receiver's fragment, sender's fragment)`, without a
/// check of anything: enough to find the session that will check it.
///
/// No allocation, no cryptography; reads at most [`MAX_ATTRIBUTES`] attributes.
pub fn username(datagram: &[u8]) -> Option<(&str, &str)> {
    let (class, _) = header(datagram).ok()?;
    if class != Class::Request {
        return None;
    }
    let (_, _, value) =
        Attributes::of(datagram).map_while(Result::ok).find(|(_, kind, _)| *kind == USERNAME)?;
    part(value)
}

/// The number of a Binding answer, good or bad, without a check of anything: enough to find whose
/// question it answers. No allocation.
pub fn answered(datagram: &[u8]) -> Option<Transaction> {
    let (class, transaction) = header(datagram).ok()?;
    matches!(class, Class::Success | Class::Error).then_some(transaction)
}

fn part(username: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(username.get(..username.len().min(MAX_USERNAME))?).ok()?.split_once(':')
}

/// Checks what every message must have.
fn header(bytes: &[u8]) -> Result<(Class, Transaction), StunError> {
    let length = StunError::Length(bytes.len());
    let (header, body) = bytes.split_first_chunk::<HEADER>().ok_or(length)?;
    let [t0, t1, l0, l1, c0, c1, c2, c3, transaction @ ..] = *header;
    let kind = u16::from_be_bytes([t0, t1]);
    let class = match kind {
        0x0001 => Class::Request,
        0x0011 => Class::Indication,
        0x0101 => Class::Success,
        0x0111 => Class::Error,
        _ => return Err(StunError::Type(kind)),
    };
    if u32::from_be_bytes([c0, c1, c2, c3]) != COOKIE {
        return Err(StunError::Cookie);
    }
    let told = usize::from(u16::from_be_bytes([l0, l1]));
    if told != body.len() || !told.is_multiple_of(4) {
        return Err(length);
    }
    Ok((class, transaction))
}

/// The attributes of a message whose header was checked: place, type and value.
struct Attributes<'a> {
    bytes: &'a [u8],
    at: usize,
    left: usize,
}

impl<'a> Attributes<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: HEADER, left: MAX_ATTRIBUTES }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(usize, u16, &'a [u8]), StunError>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        let rest = self.bytes.get(at..).filter(|rest| !rest.is_empty())?;
        if self.left == 0 {
            self.at = self.bytes.len();
            return Some(Err(StunError::TooMany));
        }
        self.left -= 1;
        let [k0, k1, l0, l1, value @ ..] = rest else {
            self.at = self.bytes.len();
            return Some(Err(StunError::Attribute { kind: 0, at }));
        };
        let kind = u16::from_be_bytes([*k0, *k1]);
        let len = usize::from(u16::from_be_bytes([*l0, *l1]));
        let Some(value) = value.get(..len) else {
            self.at = self.bytes.len();
            return Some(Err(StunError::Attribute { kind, at }));
        };
        self.at = at.saturating_add(4).saturating_add(len.next_multiple_of(4));
        Some(Ok((at, kind, value)))
    }
}

/// The HMAC of a message up to the attribute at `at`, as if that were the last.
fn integrity(key: &hmac::Key, bytes: &[u8], at: usize) -> Option<hmac::Tag> {
    let len = u16::try_from(at.checked_sub(HEADER)?.checked_add(4 + INTEGRITY)?).ok()?;
    let mut context = hmac::Context::with_key(key);
    context.update(bytes.get(..2)?);
    context.update(&len.to_be_bytes());
    context.update(bytes.get(4..at)?);
    Some(context.sign())
}

/// Reads an address that is masked by cookie and transaction (RFC 8489 §14.2).
fn unmask(value: &[u8], transaction: &Transaction) -> Option<SocketAddr> {
    let [_, family, p0, p1, address @ ..] = value else { return None };
    let port = u16::from_be_bytes([*p0, *p1]) ^ (COOKIE >> 16) as u16;
    let ip = match (family, address.len()) {
        (1, 4) => IpAddr::V4(Ipv4Addr::from(be32(address)? ^ COOKIE)),
        (2, 16) => {
            let address = u128::from_be_bytes(*address.first_chunk()?);
            IpAddr::V6(Ipv6Addr::from(address ^ wide_mask(transaction)))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn wide_mask(transaction: &Transaction) -> u128 {
    transaction.iter().fold(u128::from(COOKIE), |mask, byte| (mask << 8) | u128::from(*byte))
}

/// Writes one Binding message.
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
    transaction: Transaction,
}

impl Writer {
    /// Begins a message.
    pub fn new(class: Class, transaction: Transaction) -> Self {
        let kind: u16 = match class {
            Class::Request => 0x0001,
            Class::Indication => 0x0011,
            Class::Success => 0x0101,
            Class::Error => 0x0111,
        };
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&COOKIE.to_be_bytes());
        bytes.extend_from_slice(&transaction);
        Self { bytes, transaction }
    }

    /// `USERNAME`: fragment of the receiver, colon, fragment of the sender.
    pub fn username(self, receiver: &str, sender: &str) -> Self {
        let mut value = Vec::with_capacity(receiver.len() + sender.len() + 1);
        value.extend_from_slice(receiver.as_bytes());
        value.push(b':');
        value.extend_from_slice(sender.as_bytes());
        self.attribute(USERNAME, &value)
    }

    /// `PRIORITY`.
    pub fn priority(self, priority: u32) -> Self {
        self.attribute(PRIORITY, &priority.to_be_bytes())
    }

    /// `USE-CANDIDATE`.
    pub fn use_candidate(self) -> Self {
        self.attribute(USE_CANDIDATE, &[])
    }

    /// `ICE-CONTROLLING`.
    pub fn controlling(self, tie_breaker: u64) -> Self {
        self.attribute(ICE_CONTROLLING, &tie_breaker.to_be_bytes())
    }

    /// `ICE-CONTROLLED`.
    pub fn controlled(self, tie_breaker: u64) -> Self {
        self.attribute(ICE_CONTROLLED, &tie_breaker.to_be_bytes())
    }

    /// `SOFTWARE`.
    pub fn software(self, name: &str) -> Self {
        self.attribute(SOFTWARE, name.as_bytes())
    }

    /// `XOR-MAPPED-ADDRESS`; an IPv4 address that came in IPv6's clothes is told as IPv4.
    pub fn mapped(self, address: SocketAddr) -> Self {
        let port = (address.port() ^ (COOKIE >> 16) as u16).to_be_bytes();
        let mut value: SmallVec<[u8; 20]> = SmallVec::new();
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => {
                value.extend_from_slice(&[0, 1]);
                value.extend_from_slice(&port);
                value.extend_from_slice(&(u32::from(ip) ^ COOKIE).to_be_bytes());
            }
            IpAddr::V6(ip) => {
                value.extend_from_slice(&[0, 2]);
                value.extend_from_slice(&port);
                let masked = u128::from(ip) ^ wide_mask(&self.transaction);
                value.extend_from_slice(&masked.to_be_bytes());
            }
        }
        self.attribute(XOR_MAPPED_ADDRESS, &value)
    }

    /// `ERROR-CODE`, 300 to 699, with its phrase.
    pub fn error(self, code: u16, phrase: &str) -> Self {
        let mut value = vec![0, 0, (code / 100) as u8 & 7, (code % 100) as u8];
        value.extend_from_slice(phrase.as_bytes());
        self.attribute(ERROR_CODE, &value)
    }

    /// `UNKNOWN-ATTRIBUTES`.
    pub fn unknown(self, kinds: &[u16]) -> Self {
        let value: Vec<u8> = kinds.iter().flat_map(|kind| kind.to_be_bytes()).collect();
        self.attribute(UNKNOWN_ATTRIBUTES, &value)
    }

    /// Appends `MESSAGE-INTEGRITY` if there is a password, and `FINGERPRINT`; gives the datagram.
    pub fn finish(mut self, password: Option<&[u8]>) -> Vec<u8> {
        if let Some(password) = password {
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, password);
            if let Some(tag) = integrity(&key, &self.bytes, self.bytes.len()) {
                self = self.attribute(MESSAGE_INTEGRITY, tag.as_ref());
            }
        }
        self.set_len(8);
        let checksum = crc32fast::hash(&self.bytes) ^ FINGERPRINT_XOR;
        self = self.attribute(FINGERPRINT, &checksum.to_be_bytes());
        self.bytes
    }

    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        // No caller has more than a phrase or a user name.
        let value = value.get(..value.len().min(MAX_USERNAME)).unwrap_or_default();
        self.bytes.extend_from_slice(&kind.to_be_bytes());
        self.bytes.extend_from_slice(&(value.len() as u16).to_be_bytes());
        self.bytes.extend_from_slice(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self.set_len(0);
        self
    }

    /// Tells the length in the header, with `more` bytes that are still to come.
    fn set_len(&mut self, more: usize) {
        let len = (self.bytes.len() - HEADER).saturating_add(more) as u16;
        if let Some(place) = self.bytes.get_mut(2..4) {
            place.copy_from_slice(&len.to_be_bytes());
        }
    }
}

fn be32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

fn be64(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests;
