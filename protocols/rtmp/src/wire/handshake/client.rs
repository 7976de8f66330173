//! The client's side.

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

use super::digest::{self, Signer};
use super::server::head;
use super::{BLOCK, Error, Form, Progress, VERSION, collect};

/// C1's version in the complex form: that of a Flash Player known to work with all servers.
const C1_VERSION: [u8; 4] = [128, 0, 7, 2];

/// The client's side of a handshake. [`Client::start`] first, then [`Client::handle_bytes`].
///
/// Holds up to 3073 bytes while the server answers, nothing afterwards.
#[derive(Debug)]
pub struct Client {
    seed: [u8; 32],
    complex: bool,
    received: Vec<u8>,
    form: Form,
    done: bool,
}

impl Client {
    /// A client that draws its random bytes from `seed`, which must be new for each connection.
    ///
    /// With `complex` it signs C1 (schema 0). A server that knows only the simple form takes it
    /// as random bytes and the handshake goes on in that form; without, C1 is plain.
    pub const fn new(seed: [u8; 32], complex: bool) -> Self {
        Self { seed, complex, received: Vec::new(), form: Form::Simple, done: false }
    }

    /// The form, known once the handshake is done.
    pub const fn form(&self) -> Form {
        self.form
    }

    /// Appends C0 and C1.
    pub fn start(&mut self, out: &mut Vec<u8>) {
        let mut c1 = [0u8; BLOCK];
        StdRng::from_seed(self.seed).fill_bytes(&mut c1);
        if self.complex {
            head(&mut c1, [0; 4], C1_VERSION);
            digest::sign(&mut c1, Form::ComplexSchema0, Signer::Player);
        } else {
            head(&mut c1, [0; 4], [0; 4]);
        }
        out.push(VERSION);
        out.extend_from_slice(&c1);
    }

    /// Takes what came and appends C2 to `out` once S1 and S2 are whole.
    ///
    /// # Errors
    ///
    /// The peer's: it speaks something else.
    pub fn handle_bytes(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Progress, Error> {
        if self.done {
            return Ok(Progress { consumed: 0, done: true });
        }
        match self.received.first().or_else(|| input.first()) {
            Some(&VERSION) | None => {}
            Some(&other) => return Err(Error::Version(other)),
        }
        let mut rest = input;
        if collect(&mut self.received, 1 + 2 * BLOCK, &mut rest) {
            let received = std::mem::take(&mut self.received);
            let s1 = received.get(1..).and_then(|blocks| blocks.first_chunk::<BLOCK>());
            if let Some(s1) = s1 {
                out.extend_from_slice(&self.reply(s1));
            }
            self.done = true;
        }
        Ok(Progress { consumed: input.len().saturating_sub(rest.len()), done: self.done })
    }

    fn reply(&mut self, s1: &[u8; BLOCK]) -> [u8; BLOCK] {
        let signed = if self.complex { digest::verify(s1, Signer::Server) } else { None };
        let Some((form, s1_digest)) = signed else { return *s1 };
        self.form = form;
        let mut c2 = [0u8; BLOCK];
        let mut random = StdRng::from_seed(self.seed);
        // C1 took the first block of the seed's bytes.
        random.fill_bytes(&mut c2);
        random.fill_bytes(&mut c2);
        digest::answer(&mut c2, Signer::Player, &s1_digest);
        c2
    }
}
