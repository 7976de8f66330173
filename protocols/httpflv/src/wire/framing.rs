//! How the messages of a log are wrapped: not at all, as HTTP chunks, as WebSocket messages.

use super::websocket;

/// What stands around each message of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// Nothing: the body ends with the connection, or HTTP/2 does the framing.
    Raw,
    /// One chunk of HTTP/1.1 (RFC 9112 section 7.1).
    Chunked,
    /// One binary message of a WebSocket (RFC 6455 section 5).
    WebSocket,
}

/// Bytes in front of a message, on the stack. The longest are a chunk's: 16 digits and CRLF.
struct Head {
    bytes: [u8; Self::CAPACITY],
    len: usize,
}

impl Head {
    const CAPACITY: usize = 18;

    fn with(bytes: &[u8]) -> Self {
        let mut head = Self { bytes: [0; Self::CAPACITY], len: 0 };
        for (to, from) in head.bytes.iter_mut().zip(bytes) {
            *to = *from;
            head.len = head.len.saturating_add(1);
        }
        head
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

fn chunk_head(len: usize) -> Head {
    let mut text = [0; Head::CAPACITY];
    let mut at = Head::CAPACITY;
    let mut put = |byte: u8| {
        at = at.saturating_sub(1);
        if let Some(slot) = text.get_mut(at) {
            *slot = byte;
        }
    };
    put(b'\n');
    put(b'\r');
    let mut left = len;
    loop {
        put(b"0123456789abcdef".get(left & 0x0f).copied().unwrap_or(b'0'));
        left >>= 4;
        if left == 0 {
            break;
        }
    }
    Head::with(text.get(at..).unwrap_or_default())
}

impl Framing {
    /// Appends what `write` appends, wrapped as one message; nothing when that is nothing.
    ///
    /// `expected` is how long it will probably be. The room for the length is left by it; a wrong
    /// guess costs a move of the message, never a wrong length. No allocation of its own.
    pub fn wrap(self, expected: usize, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let start = out.len();
        let room = self.head(expected).len;
        let body = start.saturating_add(room);
        out.reserve(room.saturating_add(expected).saturating_add(2));
        out.resize(body, 0);
        write(out);
        let len = out.len().saturating_sub(body);
        if len == 0 {
            out.truncate(start);
            return;
        }
        let head = self.head(len);
        if head.len == room {
            if let Some(slot) = out.get_mut(start..body) {
                slot.copy_from_slice(head.as_slice());
            }
        } else {
            out.splice(start..body, head.as_slice().iter().copied());
        }
        if self == Self::Chunked {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// What ends a body of this framing, so that the viewer knows it for the end.
    pub fn end(self) -> &'static [u8] {
        match self {
            Self::Raw => b"",
            Self::Chunked => b"0\r\n\r\n",
            Self::WebSocket => websocket::CLOSE_GONE,
        }
    }

    fn head(self, len: usize) -> Head {
        match self {
            Self::Raw => Head::with(&[]),
            Self::Chunked => chunk_head(len),
            Self::WebSocket => {
                let (bytes, used) = websocket::server_head(websocket::BINARY, len);
                Head::with(bytes.get(..used).unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)]

    use proptest::prelude::*;

    use super::*;

    fn wrapped(framing: Framing, expected: usize, body: &[u8]) -> Vec<u8> {
        let mut out = b"before".to_vec();
        framing.wrap(expected, &mut out, |out| out.extend_from_slice(body));
        out.split_off(6)
    }

    #[test]
    fn a_chunk_is_its_length_in_hex_and_itself() {
        assert_eq!(wrapped(Framing::Chunked, 26, &[b'x'; 26]), {
            let mut chunk = b"1a\r\n".to_vec();
            chunk.extend_from_slice(&[b'x'; 26]);
            chunk.extend_from_slice(b"\r\n");
            chunk
        });
    }

    #[test]
    fn an_empty_message_is_nothing_since_an_empty_chunk_would_end_the_body() {
        for framing in [Framing::Raw, Framing::Chunked, Framing::WebSocket] {
            assert!(wrapped(framing, 100, b"").is_empty());
        }
    }

    proptest! {
        #[test]
        fn the_length_is_right_whatever_was_expected(
            len in prop_oneof![1usize..300, 65_000usize..66_000],
            expected in prop_oneof![0usize..300, 65_000usize..66_000, 1usize..10_000_000],
        ) {
            let body: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let chunk = wrapped(Framing::Chunked, expected, &body);
            let line = chunk.windows(2).position(|w| w == b"\r\n").expect("a line end");
            let said = usize::from_str_radix(
                std::str::from_utf8(&chunk[..line]).expect("text"), 16,
            ).expect("hex");
            prop_assert_eq!(said, len);
            prop_assert_eq!(&chunk[line + 2..line + 2 + len], &body[..]);
            prop_assert_eq!(&chunk[line + 2 + len..], b"\r\n");

            let frame = wrapped(Framing::WebSocket, expected, &body);
            prop_assert_eq!(frame[0], 0x82);
            let (said, at) = match frame[1] {
                126 => (usize::from(u16::from_be_bytes([frame[2], frame[3]])), 4),
                127 => (u64::from_be_bytes(frame[2..10].try_into().expect("8")) as usize, 10),
                n => (usize::from(n), 2),
            };
            prop_assert_eq!(said, len);
            prop_assert_eq!(&frame[at..], &body[..]);
            // The shortest form is a must (RFC 6455 section 5.2).
            prop_assert!(at == 2 || len > 125);
            prop_assert!(at != 10 || len > 65_535);
        }
    }
}
