//! Addresses and ranges of addresses, IPv4 and IPv6.

use std::net::IpAddr;
use std::str::FromStr;

/// One address (`192.0.2.7`) or a range in CIDR notation (`192.0.2.0/24`, `2001:db8::/32`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    base: IpAddr,
    bits: u8,
}

/// A word that is neither an address nor a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// What stands before the slash is no address.
    #[error("not an IP address")]
    Address,
    /// What stands behind the slash is no length of a prefix, or longer than an address.
    #[error("not a prefix length of this kind of address")]
    Prefix,
}

impl Net {
    /// Whether the address lies in it. An IPv4 address inside IPv6 (`::ffff:192.0.2.7`) counts as
    /// IPv4.
    pub fn contains(self, ip: IpAddr) -> bool {
        let mask = |value: u128, width: u8| {
            let drop = u32::from(width.saturating_sub(self.bits));
            value.checked_shr(drop).unwrap_or(0)
        };
        match (self.base, ip.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                mask(u128::from(a.to_bits()), 32) == mask(u128::from(b.to_bits()), 32)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => mask(a.to_bits(), 128) == mask(b.to_bits(), 128),
            _ => false,
        }
    }
}

impl FromStr for Net {
    type Err = NetError;

    fn from_str(text: &str) -> Result<Self, NetError> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let base: IpAddr = address.parse().map_err(|_| NetError::Address)?;
        let width = if base.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => width,
            Some(digits) if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) => {
                return Err(NetError::Prefix);
            }
            Some(digits) => digits.parse::<u8>().map_err(|_| NetError::Prefix)?,
        };
        if bits > width {
            return Err(NetError::Prefix);
        }
        // A range of mapped addresses is one of IPv4.
        match base.to_canonical() {
            v4 @ IpAddr::V4(_) if base.is_ipv6() => {
                let bits = bits.checked_sub(96).ok_or(NetError::Prefix)?;
                Ok(Self { base: v4, bits })
            }
            base => Ok(Self { base, bits }),
        }
    }
}

impl std::fmt::Display for Net {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let width = if self.base.is_ipv4() { 32 } else { 128 };
        match self.bits == width {
            true => write!(f, "{}", self.base),
            false => write!(f, "{}/{}", self.base, self.bits),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn holds(net: &str, ip: &str) -> bool {
        net.parse::<Net>().unwrap().contains(ip.parse().unwrap())
    }

    #[test]
    fn a_range_holds_what_shares_its_prefix() {
        assert!(holds("192.0.2.7", "192.0.2.7"));
        assert!(!holds("192.0.2.7", "192.0.2.8"));
        assert!(holds("192.0.2.99/24", "192.0.2.1"));
        assert!(!holds("192.0.2.0/25", "192.0.2.128"));
        assert!(holds("0.0.0.0/0", "203.0.113.1"));
        assert!(holds("2001:db8::/32", "2001:db8:1::1"));
        assert!(!holds("2001:db8::/32", "2001:db9::1"));
        assert!(holds("::/0", "2001:db8::1"));
    }

    #[test]
    fn ipv4_inside_ipv6_is_ipv4() {
        assert!(holds("192.0.2.0/24", "::ffff:192.0.2.7"));
        assert!(holds("::ffff:192.0.2.0/120", "192.0.2.7"));
        assert!(!holds("0.0.0.0/0", "2001:db8::1"));
        assert!(!holds("::/0", "192.0.2.7"));
    }

    #[test]
    fn what_is_neither_is_refused() {
        for bad in ["", "host", "192.0.2", "1.2.3.4/", "1.2.3.4/33", "::1/129", "1.2.3.4/+8"] {
            assert!(bad.parse::<Net>().is_err(), "{bad}");
        }
        assert_eq!("::ffff:1.2.3.4/95".parse::<Net>(), Err(NetError::Prefix));
    }

    proptest! {
        #[test]
        fn a_range_holds_its_own_base_and_reads_back(ip: IpAddr, bits in 0u8..=128) {
            if let Ok(net) = format!("{ip}/{bits}").parse::<Net>() {
                prop_assert!(net.contains(ip));
                prop_assert_eq!(net.to_string().parse::<Net>(), Ok(net));
            }
        }

        #[test]
        fn any_text_is_borne(text in "[0-9a-f:./+%]{0,50}") {
            let _ = text.parse::<Net>();
        }
    }
}
