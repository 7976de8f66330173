//! The frames of a WebSocket, as far as a live stream needs them (RFC 6455 section 5).
//!
//! We send binary messages, pongs and closes. From the client only pings and closes matter; what
//! else it says is passed over. Entry: [`Inbox`].

pub mod client;

/// Opcode of a binary message.
pub const BINARY: u8 = 2;
/// Opcode of a close.
pub const CLOSE: u8 = 8;
/// Opcode of a ping.
pub const PING: u8 = 9;
/// Opcode of a pong.
pub const PONG: u8 = 10;

/// A close frame with code 1001: the stream has ended.
pub const CLOSE_GONE: &[u8] = &[0x88, 2, 0x03, 0xe9];

/// Longest message that a client may send: what players say (pongs, a token, a seek command of
/// a foreign server) is tiny. A viewer at half of it would still be served, at double nothing
/// would be won.
pub const MAX_MESSAGE: usize = 4096;

/// Longest payload of a control frame (section 5.5).
const MAX_CONTROL: usize = 125;

/// The head of an unmasked frame, and how many of the bytes it has: 2, 4 or 10.
pub const fn server_head(opcode: u8, len: usize) -> ([u8; 10], usize) {
    let first = 0x80 | opcode;
    if len <= MAX_CONTROL {
        ([first, len as u8, 0, 0, 0, 0, 0, 0, 0, 0], 2)
    } else if len <= 0xffff {
        let [.., a, b] = len.to_be_bytes();
        ([first, 126, a, b, 0, 0, 0, 0, 0, 0], 4)
    } else {
        let [a, b, c, d, e, f, g, h] = (len as u64).to_be_bytes();
        ([first, 127, a, b, c, d, e, f, g, h], 10)
    }
}

/// Appends a control frame. A payload that is too long for one is cut.
pub fn write_control(opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
    let payload = payload.get(..MAX_CONTROL).unwrap_or(payload);
    let (head, used) = server_head(opcode, payload.len());
    out.extend_from_slice(head.get(..used).unwrap_or_default());
    out.extend_from_slice(payload);
}

/// What a client said that asks for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Answer with a pong of the same payload.
    Ping(Vec<u8>),
    /// Answer with a close and end.
    Close,
}

/// A client that breaks the protocol. The connection is to be closed with
/// [`code`](Self::code); nothing more is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Frames from a client must be masked (section 5.1).
    #[error("an unmasked WebSocket frame")]
    Unmasked,
    /// Reserved bits without an extension (section 5.2).
    #[error("reserved bits in a WebSocket frame: {value:#04x}")]
    Reserved {
        /// The first byte.
        value: u8,
    },
    /// An opcode that the specification does not know.
    #[error("WebSocket opcode {value}")]
    Opcode {
        /// The opcode.
        value: u8,
    },
    /// A control frame that is cut into parts or too long (section 5.5).
    #[error("a WebSocket control frame of {len} bytes, or in parts")]
    Control {
        /// Its length.
        len: u64,
    },
    /// More than [`MAX_MESSAGE`].
    #[error("a WebSocket message of {len} bytes, {MAX_MESSAGE} are allowed")]
    TooLong {
        /// Its length.
        len: u64,
    },
}

impl Broken {
    /// The status code for the close frame (section 7.4.1).
    pub const fn code(self) -> u16 {
        match self {
            Self::TooLong { .. } => 1009,
            _ => 1002,
        }
    }
}

/// Collects the bytes of a client until a frame is whole. Holds at most one frame and what was
/// pushed last.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
}

impl Inbox {
    /// Takes the next bytes; call [`pull`](Self::pull) until it gives nothing.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next thing that asks for an answer; `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`Broken`], the client's fault.
    pub fn pull(&mut self) -> Result<Option<Said>, Broken> {
        let mut used = 0usize;
        let said = loop {
            let rest = self.bytes.get(used..).unwrap_or_default();
            let Some(frame) = decode(rest)? else { break None };
            used = used.saturating_add(frame.len);
            match frame.opcode {
                CLOSE => break Some(Said::Close),
                PING => break Some(Said::Ping(frame.payload)),
                _ => {}
            }
        };
        self.bytes.drain(..used.min(self.bytes.len()));
        if self.bytes.is_empty() {
            self.bytes = Vec::new(); // most viewers say something once and never again
        }
        Ok(said)
    }
}

/// One frame of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFrame {
    /// What it is.
    pub opcode: u8,
    /// Unmasked; empty for all but pings and closes.
    pub payload: Vec<u8>,
    /// Bytes of the whole frame.
    pub len: usize,
}

/// Reads one frame of a client; `None` means that more bytes are needed.
///
/// # Errors
/// [`Broken`], told by the head already.
pub fn decode(bytes: &[u8]) -> Result<Option<ClientFrame>, Broken> {
    let Some((&[first, second], rest)) = bytes.split_first_chunk::<2>() else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(Broken::Reserved { value: first });
    }
    if second & 0x80 == 0 {
        return Err(Broken::Unmasked);
    }
    let opcode = first & 0x0f;
    let (len, rest, size) = match second & 0x7f {
        126 => match rest.split_first_chunk::<2>() {
            Some((&n, rest)) => (u64::from(u16::from_be_bytes(n)), rest, 2usize),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk::<8>() {
            Some((&n, rest)) => (u64::from_be_bytes(n), rest, 8),
            None => return Ok(None),
        },
        n => (u64::from(n), rest, 0),
    };
    match opcode {
        CLOSE | PING | PONG if len > MAX_CONTROL as u64 || first & 0x80 == 0 => {
            return Err(Broken::Control { len });
        }
        0..=2 if len > MAX_MESSAGE as u64 => return Err(Broken::TooLong { len }),
        0..=2 | CLOSE | PING | PONG => {}
        value => return Err(Broken::Opcode { value }),
    }
    let body = usize::try_from(len).unwrap_or(usize::MAX);
    let Some((mask, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    let Some(masked) = rest.get(..body) else { return Ok(None) };
    let wanted = matches!(opcode, CLOSE | PING);
    let unmasked = masked.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key);
    let payload = if wanted { unmasked.collect() } else { Vec::new() };
    let len = body.saturating_add(size).saturating_add(6);
    Ok(Some(ClientFrame { opcode, payload, len }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn client(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let (mut head, used) = server_head(opcode, payload.len());
        head[1] |= 0x80;
        let key = [1, 2, 3, 4];
        let mut out = head[..used].to_vec();
        out.extend_from_slice(&key);
        out.extend(payload.iter().zip(key.iter().cycle()).map(|(a, b)| a ^ b));
        out
    }

    #[test]
    fn a_ping_among_other_talk_is_found() {
        let mut inbox = Inbox::default();
        inbox.push(&client(1, b"hello"));
        inbox.push(&client(PING, b"are you there"));
        inbox.push(&client(CLOSE, &[3, 232]));
        assert_eq!(inbox.pull(), Ok(Some(Said::Ping(b"are you there".to_vec()))));
        assert_eq!(inbox.pull(), Ok(Some(Said::Close)));
        assert_eq!(inbox.pull(), Ok(None));
    }

    #[test]
    fn what_a_client_must_not_send_is_refused_by_its_head() {
        assert_eq!(decode(&[0x82, 0x00]), Err(Broken::Unmasked));
        assert_eq!(decode(&[0xc2, 0x80]), Err(Broken::Reserved { value: 0xc2 }));
        assert_eq!(decode(&[0x83, 0x80]), Err(Broken::Opcode { value: 3 }));
        assert_eq!(decode(&[0x09, 0x80]), Err(Broken::Control { len: 0 }));
        assert_eq!(decode(&[0x82, 0xfe, 0x10, 0x01]), Err(Broken::TooLong { len: 4097 }));
        let huge = [0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(decode(&huge), Err(Broken::TooLong { len: u64::MAX }));
        assert_eq!(Broken::TooLong { len: 4097 }.code(), 1009);
    }

    proptest! {
        #[test]
        fn frames_come_out_however_the_bytes_are_cut(
            pings in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..126), 0..8),
            cut in 1usize..40,
        ) {
            let mut bytes = Vec::new();
            for ping in &pings {
                bytes.extend(client(BINARY, &[0; 200]));
                bytes.extend(client(PING, ping));
            }
            let mut inbox = Inbox::default();
            let mut found = Vec::new();
            for part in bytes.chunks(cut) {
                inbox.push(part);
                while let Some(said) = inbox.pull().expect("valid") {
                    found.push(said);
                }
            }
            let wanted: Vec<Said> = pings.into_iter().map(Said::Ping).collect();
            prop_assert_eq!(found, wanted);
            prop_assert!(inbox.bytes.is_empty());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(Some(frame)) = decode(&bytes) {
                prop_assert!(frame.len <= bytes.len());
            }
        }
    }
}
