//! The frames of a WebSocket as a client sees them (RFC 6455 section 5): what comes is passed on
//! in pieces, whatever its length; what goes is masked.

use super::{BINARY, CLOSE, PING, PONG, server_head};

/// Longest payload of a control frame (section 5.5).
const MAX_CONTROL: usize = 125;
/// Longest head: two bytes and a length of eight.
const MAX_HEAD: usize = 10;

/// A server that breaks the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// Frames of a server are never masked (section 5.1).
    #[error("a masked WebSocket frame")]
    Masked,
    /// Reserved bits without an extension (section 5.2).
    #[error("reserved bits in a WebSocket frame: {value:#04x}")]
    Reserved {
        /// The first byte.
        value: u8,
    },
    /// An opcode that the specification does not know, or text where media is expected.
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
    /// A continuation of nothing, or a message inside another (section 5.4).
    #[error("a WebSocket fragment out of place")]
    Fragment,
}

/// What a server sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A part of a binary message. Never empty.
    Data(&'a [u8]),
    /// To be answered with [`write_pong`].
    Ping(Vec<u8>),
    /// The server closes, with its code if it gave one. Nothing follows.
    Close(Option<u16>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    /// So much of a data frame is left.
    Data(u64),
    /// A control frame of that length.
    Control(u8, usize),
    Failed(Broken),
}

/// Reads the frames of a server. Holds a head or a control frame until it is whole.
#[derive(Debug)]
pub struct Frames {
    state: State,
    held: Vec<u8>,
    /// A message has begun and not ended.
    open: bool,
}

impl Default for Frames {
    fn default() -> Self {
        Self::new()
    }
}

impl Frames {
    /// Right behind the answer to the upgrade.
    pub const fn new() -> Self {
        Self { state: State::Head, held: Vec::new(), open: false }
    }

    /// Reads up to the end of the next piece: how many bytes were taken, and the piece if there
    /// is one. Call it again with the rest until there is none.
    ///
    /// # Errors
    /// [`Broken`], the server's fault; each further call gives it again.
    pub fn decode<'a>(&mut self, input: &'a [u8]) -> Result<(usize, Option<Piece<'a>>), Broken> {
        let mut rest = input;
        loop {
            let taken = input.len().saturating_sub(rest.len());
            match self.state {
                State::Failed(broken) => return Err(broken),
                State::Data(0) => self.state = State::Head,
                State::Control(opcode, len) if self.held.len() >= len => {
                    let payload = std::mem::take(&mut self.held);
                    self.state = State::Head;
                    if let Some(piece) = control(opcode, payload) {
                        return Ok((taken, Some(piece)));
                    }
                }
                _ if rest.is_empty() => return Ok((taken, None)),
                State::Head => {
                    let Some((byte, behind)) = rest.split_first() else { return Ok((taken, None)) };
                    rest = behind;
                    self.held.push(*byte);
                    if let Err(broken) = self.head() {
                        self.state = State::Failed(broken);
                        self.held = Vec::new();
                    }
                }
                State::Data(left) => {
                    let most = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                    self.state = State::Data(left.saturating_sub(most as u64));
                    let data = rest.get(..most).unwrap_or_default();
                    return Ok((taken.saturating_add(most), Some(Piece::Data(data))));
                }
                State::Control(_, len) => {
                    let most = len.saturating_sub(self.held.len()).min(rest.len());
                    let (now, behind) = rest.split_at(most);
                    self.held.extend_from_slice(now);
                    rest = behind;
                }
            }
        }
    }

    /// Looks at the head that is held; leaves it where it is not whole.
    fn head(&mut self) -> Result<(), Broken> {
        let mut bytes = [0u8; MAX_HEAD];
        for (to, from) in bytes.iter_mut().zip(&self.held) {
            *to = *from;
        }
        let [first, second, a, b, c, d, e, f, g, h] = bytes;
        if first & 0x70 != 0 {
            return Err(Broken::Reserved { value: first });
        }
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
        if self.held.len() < 2 {
            return Ok(());
        }
        if second & 0x80 != 0 {
            return Err(Broken::Masked);
        }
        let (size, len) = match second & 0x7f {
            126 => (4, u64::from(u16::from_be_bytes([a, b]))),
            127 => (MAX_HEAD, u64::from_be_bytes([a, b, c, d, e, f, g, h])),
            len => (2, u64::from(len)),
        };
        if self.held.len() < size {
            return Ok(());
        }
        self.held.clear();
        match opcode {
            0 | BINARY => {
                if (opcode == BINARY) == self.open {
                    return Err(Broken::Fragment);
                }
                self.open = !fin;
                self.state = State::Data(len);
            }
            CLOSE | PING | PONG => {
                let short = usize::try_from(len).ok().filter(|len| *len <= MAX_CONTROL);
                let Some(len) = short.filter(|_| fin) else {
                    return Err(Broken::Control { len });
                };
                self.state = State::Control(opcode, len);
            }
            value => return Err(Broken::Opcode { value }),
        }
        Ok(())
    }
}

/// What a whole control frame means; a pong means nothing.
fn control(opcode: u8, payload: Vec<u8>) -> Option<Piece<'static>> {
    match opcode {
        PING => Some(Piece::Ping(payload)),
        CLOSE => Some(Piece::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code)))),
        _ => None,
    }
}

/// Appends the answer to a ping, masked. A payload too long for one is cut.
pub fn write_pong(payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    write_control(PONG, payload, mask, out);
}

/// Appends a close frame with the code for "going away" (section 7.4.1), masked.
pub fn write_close(mask: [u8; 4], out: &mut Vec<u8>) {
    write_control(CLOSE, &1001u16.to_be_bytes(), mask, out);
}

fn write_control(opcode: u8, payload: &[u8], mask: [u8; 4], out: &mut Vec<u8>) {
    let payload = payload.get(..MAX_CONTROL).unwrap_or(payload);
    let ([first, second, ..], _) = server_head(opcode, payload.len());
    out.extend_from_slice(&[first, second | 0x80]);
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Inbox, Said};
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Read {
        data: Vec<u8>,
        pings: Vec<Vec<u8>>,
        close: Option<Option<u16>>,
    }

    fn read(input: &[u8], cut: usize) -> Result<Read, Broken> {
        let (mut frames, mut out) = (Frames::new(), Read::default());
        for piece in input.chunks(cut) {
            let mut rest = piece;
            loop {
                let (taken, piece) = frames.decode(rest)?;
                rest = &rest[taken..];
                match piece {
                    None => break,
                    Some(Piece::Data(data)) => out.data.extend_from_slice(data),
                    Some(Piece::Ping(payload)) => out.pings.push(payload),
                    Some(Piece::Close(code)) => out.close = Some(code),
                }
            }
            assert!(rest.is_empty());
        }
        Ok(out)
    }

    fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let (head, used) = server_head(opcode, payload.len());
        [&head[..used], payload].concat()
    }

    proptest! {
        #[test]
        fn frames_are_the_same_however_they_are_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..6),
            ping in prop::collection::vec(any::<u8>(), 0..126),
            cut in 1usize..90,
        ) {
            let mut input = Vec::new();
            for message in &messages {
                input.extend(frame(BINARY, message));
                input.extend(frame(PING, &ping));
            }
            input.extend(frame(CLOSE, &[3, 233]));
            let wanted = Read {
                data: messages.concat(),
                pings: vec![ping; messages.len()],
                close: Some(Some(1001)),
            };
            prop_assert_eq!(read(&input, cut), Ok(wanted));
        }

        #[test]
        fn no_bytes_make_it_panic(input in prop::collection::vec(any::<u8>(), 0..200), cut in 1usize..9) {
            let _ = read(&input, cut);
        }

        #[test]
        fn our_server_understands_what_the_client_says(
            payload in prop::collection::vec(any::<u8>(), 0..126), mask in any::<[u8; 4]>(),
        ) {
            let mut bytes = Vec::new();
            write_control(PING, &payload, mask, &mut bytes);
            write_pong(&payload, mask, &mut bytes);
            write_close(mask, &mut bytes);
            let mut inbox = Inbox::default();
            inbox.push(&bytes);
            prop_assert_eq!(inbox.pull(), Ok(Some(Said::Ping(payload))));
            prop_assert_eq!(inbox.pull(), Ok(Some(Said::Close)));
            prop_assert_eq!(inbox.pull(), Ok(None));
        }
    }

    #[test]
    fn a_message_may_come_in_fragments_with_pings_between() {
        let input = [&[2, 2, 1, 2][..], &frame(PING, b"x"), &[0, 1, 3], &[0x80, 1, 4]].concat();
        let read = read(&input, 1).unwrap();
        assert_eq!((read.data, read.pings.len()), (vec![1, 2, 3, 4], 1));
    }

    #[test]
    fn what_a_server_must_not_send_is_refused() {
        assert_eq!(read(&[0x82, 0x80], 9), Err(Broken::Masked));
        assert_eq!(read(&[0xc2, 0], 9), Err(Broken::Reserved { value: 0xc2 }));
        assert_eq!(read(&[0x81, 0], 9), Err(Broken::Opcode { value: 1 }));
        assert_eq!(read(&[0x80, 0], 9), Err(Broken::Fragment));
        assert_eq!(read(&[2, 0, 2, 0], 9), Err(Broken::Fragment));
        assert_eq!(read(&[0x89, 126, 0, 200], 9), Err(Broken::Control { len: 200 }));
        assert_eq!(read(&[9, 0], 9), Err(Broken::Control { len: 0 }));
    }
}
