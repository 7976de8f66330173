//! Restricted streams (RFC 8851) and simulcast of them (RFC 8853).

/// Which way a restricted stream flows, seen from who says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RidDirection {
    /// From who says it.
    Send,
    /// To who says it.
    Recv,
}

/// `a=rid` (RFC 8851 §10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rid<'a> {
    /// 1 to 255 letters, digits, `-` and `_`.
    pub id: &'a str,
    /// Which way.
    pub direction: RidDirection,
    /// `pt=..;max-width=..` as they came, often nothing.
    pub restrictions: &'a str,
}

impl<'a> Rid<'a> {
    pub(super) fn parse(value: &'a str) -> Option<Self> {
        let mut words = value.splitn(3, char::is_whitespace);
        let id = words.next().filter(|id| is_rid(id))?;
        let direction = match words.next()? {
            "send" => RidDirection::Send,
            "recv" => RidDirection::Recv,
            _ => return None,
        };
        Some(Self { id, direction, restrictions: words.next().unwrap_or("").trim() })
    }

    /// The payload types it is restricted to; none means any.
    pub fn payload_types(self) -> impl Iterator<Item = u8> {
        super::Fmtp::new(self.restrictions)
            .get("pt")
            .unwrap_or("")
            .split(',')
            .filter_map(|pt| pt.trim().parse().ok())
    }

    /// A restriction that is a number: `max-width`, `max-height`, `max-br`, `max-fps`.
    pub fn number(self, key: &str) -> Option<u32> {
        super::Fmtp::new(self.restrictions).number(key)
    }
}

fn is_rid(id: &str) -> bool {
    (1..=255).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// One of several streams of a picture, with its alternatives in the order of preference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulcastStream<'a> {
    /// Identifiers of [`Rid`]s; never empty.
    pub rids: Vec<&'a str>,
    /// Whether the first is not to flow for now (`~`).
    pub paused: bool,
}

/// `a=simulcast` (RFC 8853 §5.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Simulcast<'a> {
    /// What who says it would send, best first.
    pub send: Vec<SimulcastStream<'a>>,
    /// What who says it would receive, best first.
    pub recv: Vec<SimulcastStream<'a>>,
}

impl<'a> Simulcast<'a> {
    pub(super) fn parse(value: &'a str) -> Option<Self> {
        let mut simulcast = Self::default();
        let mut words = value.split_whitespace();
        while let Some(direction) = words.next() {
            let list = words.next()?;
            // Firefox before 86 wrote `rid=` before the list, as a draft had it.
            let streams = streams(list.strip_prefix("rid=").unwrap_or(list));
            match direction {
                "send" => simulcast.send = streams,
                "recv" => simulcast.recv = streams,
                _ => return None,
            }
        }
        Some(simulcast)
    }
}

fn streams(list: &str) -> Vec<SimulcastStream<'_>> {
    list.split(';')
        .filter_map(|part| {
            let paused = part.starts_with('~');
            let rids: Vec<_> = part
                .split(',')
                .map(|rid| rid.strip_prefix('~').unwrap_or(rid))
                .filter(|rid| is_rid(rid))
                .collect();
            (!rids.is_empty()).then_some(SimulcastStream { rids, paused })
        })
        .collect()
}
