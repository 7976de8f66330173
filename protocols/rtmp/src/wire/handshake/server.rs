//! The server's side.

use std::net::Ipv4Addr;

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

use super::digest::{self, Signer};
use super::{BLOCK, Error, Form, MAX_PROXY, PROXY, Progress, VERSION, collect};

/// S1's version in the complex form: that of a media server known to work with all players.
const S1_VERSION: [u8; 4] = [1, 0, 5, 4];

/// The server's side of a handshake.
///
/// Holds up to 1537 bytes while C1 comes, nothing afterwards.
#[derive(Debug)]
pub struct Server {
    state: State,
    seed: [u8; 32],
    /// What is there of the prefix, or of C0 and C1.
    received: Vec<u8>,
    prefixed: bool,
    client_addr: Option<Ipv4Addr>,
    form: Form,
}

#[derive(Debug)]
enum State {
    /// Nothing read, or a prefix whose length is not whole yet.
    Start,
    /// A prefix of this length.
    Prefix(usize),
    /// C0 and C1.
    First,
    /// C2, of which so much is missing.
    Second(usize),
    Done,
}

impl Server {
    /// A server that draws its random bytes from `seed`, which must be new for each connection.
    pub const fn new(seed: [u8; 32]) -> Self {
        Self {
            state: State::Start,
            seed,
            received: Vec::new(),
            prefixed: false,
            client_addr: None,
            form: Form::Simple,
        }
    }

    /// The address that a proxy in front told; trust it as far as the proxy.
    pub const fn client_addr(&self) -> Option<Ipv4Addr> {
        self.client_addr
    }

    /// The form, known once C1 was read.
    pub const fn form(&self) -> Form {
        self.form
    }

    /// Takes what came and appends S0, S1 and S2 to `out`, together, once C1 is whole.
    ///
    /// # Errors
    ///
    /// The peer's: it speaks something else.
    pub fn handle_bytes(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Progress, Error> {
        let mut rest = input;
        loop {
            match self.state {
                State::Start => {
                    let Some(first) = self.received.first().or_else(|| rest.first()).copied()
                    else {
                        break;
                    };
                    match first {
                        VERSION => self.state = State::First,
                        // One prefix only: the next first byte is C0.
                        PROXY if !self.prefixed => {
                            if !collect(&mut self.received, 3, &mut rest) {
                                break;
                            }
                            let length = match self.received.as_slice() {
                                [_, high, low, ..] => u16::from_be_bytes([*high, *low]),
                                _ => 0,
                            };
                            if length > MAX_PROXY {
                                return Err(Error::ProxyPrefix(length));
                            }
                            self.received = Vec::new();
                            self.prefixed = true;
                            self.state = State::Prefix(usize::from(length));
                        }
                        other => return Err(Error::Version(other)),
                    }
                }
                State::Prefix(length) => {
                    if !collect(&mut self.received, length, &mut rest) {
                        break;
                    }
                    let addr = self.received.first_chunk::<4>().copied();
                    self.client_addr = addr.map(Ipv4Addr::from);
                    self.received = Vec::new();
                    self.state = State::Start;
                }
                State::First => {
                    if !collect(&mut self.received, BLOCK + 1, &mut rest) {
                        break;
                    }
                    let received = std::mem::take(&mut self.received);
                    if let Some((_, c1)) = received.split_last_chunk::<BLOCK>() {
                        self.reply(c1, out);
                    }
                    self.state = State::Second(BLOCK);
                }
                State::Second(missing) => {
                    let now = missing.min(rest.len());
                    rest = rest.get(now..).unwrap_or_default();
                    if now < missing {
                        self.state = State::Second(missing.saturating_sub(now));
                        break;
                    }
                    self.state = State::Done;
                }
                State::Done => break,
            }
        }
        Ok(Progress {
            consumed: input.len().saturating_sub(rest.len()),
            done: matches!(self.state, State::Done),
        })
    }

    fn reply(&mut self, c1: &[u8; BLOCK], out: &mut Vec<u8>) {
        let mut random = StdRng::from_seed(self.seed);
        let mut s1 = [0u8; BLOCK];
        random.fill_bytes(&mut s1);
        let mut s2 = *c1;
        if let Some((form, c1_digest)) = digest::verify(c1, Signer::Player) {
            self.form = form;
            head(&mut s1, [0; 4], S1_VERSION);
            digest::sign(&mut s1, form, Signer::Server);
            random.fill_bytes(&mut s2);
            digest::answer(&mut s2, Signer::Server, &c1_digest);
        } else {
            // The second field of S1 echoes the client's time.
            head(&mut s1, [0; 4], c1.first_chunk().copied().unwrap_or_default());
        }
        out.reserve(1 + 2 * BLOCK);
        out.push(VERSION);
        out.extend_from_slice(&s1);
        out.extend_from_slice(&s2);
    }
}

/// Writes the two leading fields of a block: time, and version or the peer's time.
pub(super) fn head(block: &mut [u8; BLOCK], time: [u8; 4], second: [u8; 4]) {
    for (to, from) in block.iter_mut().zip(time.into_iter().chain(second)) {
        *to = from;
    }
}
