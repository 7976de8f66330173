//! The digests of the complex form.

use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::{BLOCK, Form};

/// Length of a digest.
pub(super) const DIGEST: usize = 32;

/// Signs what a player sends: the 30 characters alone in C1, all 62 bytes in C2.
const PLAYER_KEY: &[u8] = b"Genuine Adobe Flash Player 001\
\xf0\xee\xc2\x4a\x80\x68\xbe\xe8\x2e\x00\xd0\xd1\x02\x9e\x7e\x57\
\x6e\xec\x5d\x2d\x29\x80\x6f\xab\x93\xb8\xe6\x36\xcf\xeb\x31\xae";

/// Signs what a server sends: the 36 characters alone in S1, all 68 bytes in S2.
const SERVER_KEY: &[u8] = b"Genuine Adobe Flash Media Server 001\
\xf0\xee\xc2\x4a\x80\x68\xbe\xe8\x2e\x00\xd0\xd1\x02\x9e\x7e\x57\
\x6e\xec\x5d\x2d\x29\x80\x6f\xab\x93\xb8\xe6\x36\xcf\xeb\x31\xae";

/// Length of the constant bytes behind the readable part of a key.
const KEY_TAIL: usize = 32;

/// Length of the key block and of the digest block; they follow 8 bytes of time and version.
const HALF: usize = 764;

/// Whose block it is.
#[derive(Clone, Copy)]
pub(super) enum Signer {
    Player,
    Server,
}

impl Signer {
    const fn full_key(self) -> &'static [u8] {
        match self {
            Self::Player => PLAYER_KEY,
            Self::Server => SERVER_KEY,
        }
    }

    fn short_key(self) -> &'static [u8] {
        let key = self.full_key();
        key.get(..key.len().saturating_sub(KEY_TAIL)).unwrap_or_default()
    }
}

/// Where the digest lies in C1 or S1, or nowhere if the form has none.
fn place(block: &[u8; BLOCK], form: Form) -> Option<usize> {
    let start: usize = match form {
        Form::Simple => return None,
        Form::ComplexSchema0 => 8 + HALF,
        Form::ComplexSchema1 => 8,
    };
    // Four bytes, summed up, say where; what is left of the block behind them is 760 bytes, of
    // which the digest takes 32.
    let bytes = block.get(start..start.saturating_add(4))?;
    let sum: usize = bytes.iter().map(|byte| usize::from(*byte)).sum();
    Some(start.saturating_add(4).saturating_add(sum % (HALF - 4 - DIGEST)))
}

fn hmac(key: &[u8], parts: [&[u8]; 2]) -> [u8; DIGEST] {
    // A key of any length is fine for HMAC, so the error cannot occur.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; DIGEST] };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn around(block: &[u8; BLOCK], at: usize) -> [&[u8]; 2] {
    let behind = at.saturating_add(DIGEST);
    [block.get(..at).unwrap_or_default(), block.get(behind..).unwrap_or_default()]
}

/// Signs C1 or S1 in place and gives the digest.
pub(super) fn sign(block: &mut [u8; BLOCK], form: Form, signer: Signer) -> [u8; DIGEST] {
    let Some(at) = place(block, form) else { return [0; DIGEST] };
    let digest = hmac(signer.short_key(), around(block, at));
    if let Some(to) = block.get_mut(at..at.saturating_add(DIGEST)) {
        to.copy_from_slice(&digest);
    }
    digest
}

/// The form in which C1 or S1 is signed, and its digest; `None` if it is not.
pub(super) fn verify(block: &[u8; BLOCK], signer: Signer) -> Option<(Form, [u8; DIGEST])> {
    [Form::ComplexSchema0, Form::ComplexSchema1].into_iter().find_map(|form| {
        let at = place(block, form)?;
        let digest = hmac(signer.short_key(), around(block, at));
        let sent = block.get(at..at.saturating_add(DIGEST))?;
        (sent == digest).then_some((form, digest))
    })
}

/// Signs C2 or S2 in place: its last 32 bytes answer the peer's digest.
pub(super) fn answer(block: &mut [u8; BLOCK], signer: Signer, peer_digest: &[u8; DIGEST]) {
    let key = hmac(signer.full_key(), [peer_digest, &[]]);
    if let Some((random, to)) = block.split_last_chunk_mut::<DIGEST>() {
        *to = hmac(&key, [random, &[]]);
    }
}
