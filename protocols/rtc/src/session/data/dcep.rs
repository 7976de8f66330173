//! How a data channel is opened: DCEP (RFC 8832).

/// Bytes of a label or a protocol. Browsers take 65,535, people a word; at half a URL as a label
/// might not fit, at double the 32 channels of a session keep 128 kB of names.
pub const MOST_NAME: usize = 1024;

const OPEN: u8 = 3;
const ACK: u8 = 2;
/// Bytes of an OPEN before its names.
const HEAD: usize = 12;
/// The bit of a channel type that allows any order (RFC 8832 §8.2.2).
const UNORDERED: u8 = 0x80;

/// How hard a message is tried (RFC 3758).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Reliability {
    /// Until it has arrived.
    #[default]
    Reliable,
    /// Sent again so many times at most.
    Retransmits(u32),
    /// Sent again for so many milliseconds at most.
    Lifetime(u32),
}

/// What the opener of a channel says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Messages may arrive in any order.
    pub unordered: bool,
    /// How hard they are tried.
    pub reliability: Reliability,
    /// RFC 8831 §6.4: 128 is below normal, 256 normal, 512 high, 1024 extra high.
    pub priority: u16,
    /// Its name; need not be the only one. At most [`MOST_NAME`] bytes.
    pub label: String,
    /// What is spoken in it. At most [`MOST_NAME`] bytes.
    pub protocol: String,
}

/// A message of DCEP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dcep {
    /// `DATA_CHANNEL_OPEN` (RFC 8832 §5.1).
    Open(Open),
    /// `DATA_CHANNEL_ACK` (RFC 8832 §5.2).
    Ack,
}

/// Why a message is none of DCEP. The peer's fault, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DcepError {
    /// No message at all.
    #[error("an empty message of DCEP")]
    Empty,
    /// Neither OPEN nor ACK.
    #[error("message type {0} of DCEP is neither OPEN nor ACK")]
    Type(u8),
    /// Ends before what it says it holds.
    #[error("an OPEN of {0} bytes ends early")]
    Short(usize),
    /// None of the six types of channels.
    #[error("channel type {0:#04x} is not known")]
    Channel(u8),
    /// A longer name than is taken.
    #[error("a name of {0} bytes, at most {MOST_NAME} are taken")]
    Name(usize),
    /// A name that is not UTF-8.
    #[error("a name that is not UTF-8")]
    Utf8,
}

impl Dcep {
    /// Reads a message. What follows the names of an OPEN is ignored.
    pub fn parse(message: &[u8]) -> Result<Self, DcepError> {
        match message {
            [] => Err(DcepError::Empty),
            [ACK, ..] => Ok(Self::Ack),
            [OPEN, rest @ ..] => open(message.len(), rest).map(Self::Open),
            [other, ..] => Err(DcepError::Type(*other)),
        }
    }

    /// Appends the message. Names beyond [`MOST_NAME`] are cut at a character.
    pub fn write(&self, out: &mut Vec<u8>) {
        let Self::Open(open) = self else {
            out.push(ACK);
            return;
        };
        let (kind, value) = match open.reliability {
            Reliability::Reliable => (0, 0),
            Reliability::Retransmits(times) => (1, times),
            Reliability::Lifetime(ms) => (2, ms),
        };
        let (label, protocol) = (cut(&open.label), cut(&open.protocol));
        out.extend_from_slice(&[OPEN, if open.unordered { kind | UNORDERED } else { kind }]);
        out.extend_from_slice(&open.priority.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
        for name in [label, protocol] {
            out.extend_from_slice(&u16::try_from(name.len()).unwrap_or(0).to_be_bytes());
        }
        out.extend_from_slice(label.as_bytes());
        out.extend_from_slice(protocol.as_bytes());
    }
}

fn cut(name: &str) -> &str {
    let boundary = (0..=name.len().min(MOST_NAME)).rev().find(|at| name.is_char_boundary(*at));
    name.get(..boundary.unwrap_or(0)).unwrap_or_default()
}

fn open(whole: usize, rest: &[u8]) -> Result<Open, DcepError> {
    let short = DcepError::Short(whole);
    let (head, names) = rest.split_first_chunk::<{ HEAD - 1 }>().ok_or(short)?;
    let [kind, p0, p1, r0, r1, r2, r3, l0, l1, n0, n1] = *head;
    let value = u32::from_be_bytes([r0, r1, r2, r3]);
    let reliability = match kind & !UNORDERED {
        0 => Reliability::Reliable,
        1 => Reliability::Retransmits(value),
        2 => Reliability::Lifetime(value),
        _ => return Err(DcepError::Channel(kind)),
    };
    let lens = [u16::from_be_bytes([l0, l1]), u16::from_be_bytes([n0, n1])].map(usize::from);
    if let Some(long) = lens.into_iter().find(|len| *len > MOST_NAME) {
        return Err(DcepError::Name(long));
    }
    let (label, names) = names.split_at_checked(lens[0]).ok_or(short)?;
    let protocol = names.get(..lens[1]).ok_or(short)?;
    let text = |name: &[u8]| String::from_utf8(name.to_vec()).map_err(|_| DcepError::Utf8);
    Ok(Open {
        unordered: kind & UNORDERED != 0,
        reliability,
        priority: u16::from_be_bytes([p0, p1]),
        label: text(label)?,
        protocol: text(protocol)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_open() -> impl Strategy<Value = Open> {
        let reliability = prop_oneof![
            Just(Reliability::Reliable),
            any::<u32>().prop_map(Reliability::Retransmits),
            any::<u32>().prop_map(Reliability::Lifetime),
        ];
        (any::<bool>(), reliability, any::<u16>(), ".{0,40}", ".{0,40}").prop_map(
            |(unordered, reliability, priority, label, protocol)| Open {
                unordered,
                reliability,
                priority,
                label,
                protocol,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(open in any_open()) {
            let mut bytes = Vec::new();
            Dcep::Open(open.clone()).write(&mut bytes);
            prop_assert_eq!(Dcep::parse(&bytes), Ok(Dcep::Open(open)));
            for len in 1..bytes.len() {
                prop_assert_eq!(Dcep::parse(&bytes[..len]), Err(DcepError::Short(len)));
            }
        }
    }

    #[test]
    fn an_open_of_chromium_is_read() {
        let bytes = b"\x03\x81\x01\x00\x00\x00\x00\x02\x00\x04\x00\x02echov1";
        let open = Open {
            unordered: true,
            reliability: Reliability::Retransmits(2),
            priority: 256,
            label: "echo".into(),
            protocol: "v1".into(),
        };
        assert_eq!(Dcep::parse(bytes), Ok(Dcep::Open(open)));
        assert_eq!(Dcep::parse(&[2]), Ok(Dcep::Ack));
    }

    #[test]
    fn what_is_none_is_refused_with_its_reason() {
        assert_eq!(Dcep::parse(&[]), Err(DcepError::Empty));
        assert_eq!(Dcep::parse(&[9, 9]), Err(DcepError::Type(9)));
        assert_eq!(Dcep::parse(&[3, 0]), Err(DcepError::Short(2)));
        assert_eq!(Dcep::parse(&[3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), Err(DcepError::Channel(3)));
        let long = [3, 0, 0, 0, 0, 0, 0, 0, 4, 1, 0, 0];
        assert_eq!(Dcep::parse(&long), Err(DcepError::Name(1025)));
        let bytes = [3, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0xff];
        assert_eq!(Dcep::parse(&bytes), Err(DcepError::Utf8));
    }
}
