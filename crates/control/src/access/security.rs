//! `security { }`: who may come in by address, evaluated as SRS does.
//!
//! `deny` rules are looked at first, `allow` rules then, each in any order. Switched on without a
//! rule it denies everybody; with `deny` rules alone it lets all others in; once there is an
//! `allow` rule, whoever fits none is refused, also in the direction that no `allow` names.

use std::net::IpAddr;

use super::net::Net;
use super::{Direction, denied};
use gate::Refusal;

/// Numbers that SRS gives for these refusals.
const DENY: u32 = 1053;
const NOT_ALLOWED: u32 = 1054;

/// One line of the section.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) allow: bool,
    pub(crate) direction: Direction,
    /// `None`: everybody.
    pub(crate) net: Option<Net>,
}

impl Rule {
    fn fits(&self, direction: Direction, ip: IpAddr) -> bool {
        self.direction == direction && self.net.is_none_or(|net| net.contains(ip))
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ", if self.allow { "allow" } else { "deny" }, self.direction)?;
        match self.net {
            Some(net) => net.fmt(f),
            None => f.write_str("all"),
        }
    }
}

/// The rules of a virtual host whose `security` is on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Security(pub(crate) Vec<Rule>);

impl Security {
    pub(crate) fn check(&self, direction: Direction, ip: IpAddr) -> Result<(), Refusal> {
        let refuse = |code, reason: String| Err(denied("security", code, reason));
        if let Some(rule) = self.0.iter().find(|r| !r.allow && r.fits(direction, ip)) {
            return refuse(DENY, format!("security: {ip} is refused by `{rule}`"));
        }
        if self.0.is_empty() {
            let reason = "security: it is on and has no rule, which refuses everybody";
            return refuse(NOT_ALLOWED, reason.to_owned());
        }
        let fits = |rule: &Rule| rule.allow && rule.fits(direction, ip);
        if !self.0.iter().any(|rule| rule.allow) || self.0.iter().any(fits) {
            return Ok(());
        }
        refuse(NOT_ALLOWED, format!("security: no `allow {direction}` rule fits {ip}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{Play, Publish};

    fn rules(lines: &[(bool, Direction, &str)]) -> Security {
        let rule = |(allow, direction, who): &(bool, Direction, &str)| Rule {
            allow: *allow,
            direction: *direction,
            net: (*who != "all").then(|| who.parse().unwrap()),
        };
        Security(lines.iter().map(rule).collect())
    }

    fn code(rules: &Security, direction: Direction, ip: &str) -> u32 {
        rules.check(direction, ip.parse().unwrap()).map_or_else(|refusal| refusal.code(), |()| 0)
    }

    #[test]
    fn without_a_rule_everybody_is_refused() {
        assert_eq!(code(&rules(&[]), Play, "192.0.2.1"), 1054);
    }

    #[test]
    fn deny_rules_alone_let_all_others_in() {
        let rules = rules(&[(false, Publish, "192.0.2.1"), (false, Play, "2001:db8::/32")]);
        assert_eq!(code(&rules, Publish, "192.0.2.1"), 1053);
        assert_eq!(code(&rules, Publish, "192.0.2.2"), 0);
        assert_eq!(code(&rules, Play, "192.0.2.1"), 0);
        assert_eq!(code(&rules, Play, "2001:db8::9"), 1053);
    }

    #[test]
    fn one_allow_rule_must_fit_once_there_is_any() {
        let rules = rules(&[(true, Play, "192.0.2.0/24")]);
        assert_eq!(code(&rules, Play, "192.0.2.9"), 0);
        assert_eq!(code(&rules, Play, "198.51.100.1"), 1054);
        // SRS counts allow rules of either direction.
        assert_eq!(code(&rules, Publish, "192.0.2.9"), 1054);
    }

    #[test]
    fn deny_goes_before_allow_in_whatever_order_they_stand() {
        let rules = rules(&[(true, Play, "all"), (false, Play, "192.0.2.1")]);
        assert_eq!(code(&rules, Play, "192.0.2.1"), 1053);
        assert_eq!(code(&rules, Play, "192.0.2.2"), 0);
    }

    #[test]
    fn the_reason_names_the_rule() {
        let rules = rules(&[(false, Play, "192.0.2.0/24")]);
        let refusal = rules.check(Play, "192.0.2.1".parse().unwrap()).unwrap_err();
        assert!(refusal.to_string().contains("`deny play 192.0.2.0/24`"), "{refusal}");
        assert_eq!(refusal.label(), "security");
        assert_eq!(refusal.status().as_u16(), 403);
    }
}
