//! The keys of one kind of packet in one direction, and what is done with them.

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{constant_time, hmac};

use super::{Profile, SrtpError};

/// The length of an HMAC-SHA1 tag that is cut to 80 bits.
const SHORT_TAG: usize = 10;
/// The length of an HMAC-SHA1 key (RFC 3711 §8.2).
const HMAC_KEY: usize = 20;

#[cfg(test)]
mod tests;

/// What a session key is for; the value is the first of its three labels (RFC 3711 §4.3.1).
#[derive(Debug, Clone, Copy)]
pub(super) enum Of {
    Rtp = 0,
    Rtcp = 3,
}

/// The session keys of RTP or of RTCP.
#[derive(Debug)]
pub(super) enum Cipher {
    Gcm(Gcm),
    /// Apart, for it is a kilobyte more than the other, and a session has four.
    Counter(Box<Counter>),
}

impl Cipher {
    /// Of session keys, as test vectors have them.
    #[cfg(test)]
    pub(super) fn gcm(key: &[u8], salt: [u8; 12]) -> Self {
        let algorithm = if key.len() == 16 { &aead::AES_128_GCM } else { &aead::AES_256_GCM };
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key).unwrap());
        Self::Gcm(Gcm { key, salt })
    }

    pub(super) fn derive(
        profile: Profile,
        key: &[u8],
        salt: &[u8],
        of: Of,
    ) -> Result<Self, SrtpError> {
        if key.len() != profile.key_len() || salt.len() != profile.salt_len() {
            return Err(SrtpError::KeyLength(key.len().saturating_add(salt.len())));
        }
        let wrong = |_| SrtpError::KeyLength(key.len());
        let label = of as u8;
        let master = counter_key(key)?;
        let mut session_key = [0; 32];
        let session_key =
            session_key.get_mut(..key.len()).ok_or(SrtpError::KeyLength(key.len()))?;
        derive(&master, salt, label, session_key)?;
        if profile == Profile::Aes128CmSha1_80 {
            let mut auth = [0; HMAC_KEY];
            derive(&master, salt, label.wrapping_add(1), &mut auth)?;
            let mut session_salt = [0; 14];
            derive(&master, salt, label.wrapping_add(2), &mut session_salt)?;
            return Ok(Self::Counter(Box::new(Counter {
                key: counter_key(session_key)?,
                auth: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &auth),
                salt: u128::from_be_bytes(widen(&session_salt)),
            })));
        }
        let mut session_salt = [0; 12];
        derive(&master, salt, label.wrapping_add(2), &mut session_salt)?;
        let algorithm =
            if profile == Profile::AeadAes128Gcm { &aead::AES_128_GCM } else { &aead::AES_256_GCM };
        let key = UnboundKey::new(algorithm, session_key).map_err(wrong)?;
        Ok(Self::Gcm(Gcm { key: LessSafeKey::new(key), salt: session_salt }))
    }
}

/// AES in Galois/Counter Mode (RFC 7714).
#[derive(Debug)]
pub(super) struct Gcm {
    key: LessSafeKey,
    salt: [u8; 12],
}

impl Gcm {
    #[inline]
    pub(super) fn seal(
        &self,
        nonce: [u8; 12],
        aad: &[u8],
        payload: &mut [u8],
    ) -> Result<aead::Tag, SrtpError> {
        self.key
            .seal_in_place_separate_tag(self.nonce(nonce), Aad::from(aad), payload)
            .map_err(|_| SrtpError::Exhausted)
    }

    pub(super) fn open(
        &self,
        nonce: [u8; 12],
        aad: &[u8],
        payload: &mut [u8],
        tag: &[u8],
    ) -> Result<(), SrtpError> {
        self.key
            .open_in_place_separate_tag(self.nonce(nonce), Aad::from(aad), tag, payload)
            .map(drop)
            .map_err(|_| SrtpError::Authentication)
    }

    #[inline]
    fn nonce(&self, mut nonce: [u8; 12]) -> Nonce {
        for (byte, salt) in nonce.iter_mut().zip(self.salt) {
            *byte ^= salt;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

/// AES in counter mode with a tag by HMAC-SHA1 (RFC 3711 §4.1.1, §4.2).
pub(super) struct Counter {
    key: EncryptingKey,
    /// Keyed once: both blocks of the key are hashed already, and a tag starts from a copy.
    auth: hmac::Key,
    /// In the upper 14 bytes.
    salt: u128,
}

impl Counter {
    /// Encrypts or decrypts, which is the same.
    #[inline]
    pub(super) fn apply(&self, ssrc: u32, index: u64, payload: &mut [u8]) -> Result<(), SrtpError> {
        let iv = self.salt ^ (u128::from(ssrc) << 64) ^ (u128::from(index) << 16);
        let context = EncryptionContext::Iv128(FixedLength::from(iv.to_be_bytes()));
        self.key.less_safe_encrypt(payload, context).map(drop).map_err(|_| SrtpError::Exhausted)
    }

    #[inline]
    pub(super) fn tag(&self, packet: &[u8], more: &[u8]) -> [u8; SHORT_TAG] {
        let mut context = hmac::Context::with_key(&self.auth);
        context.update(packet);
        context.update(more);
        context.sign().as_ref().first_chunk().copied().unwrap_or_default()
    }

    pub(super) fn verify(&self, packet: &[u8], more: &[u8], tag: &[u8]) -> Result<(), SrtpError> {
        constant_time::verify_slices_are_equal(&self.tag(packet, more), tag)
            .map_err(|_| SrtpError::Authentication)
    }
}

impl std::fmt::Debug for Counter {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Counter").finish_non_exhaustive()
    }
}

/// The nonce of an RTP packet before the salt (RFC 7714 §8.1).
#[inline]
pub(super) fn rtp_nonce(ssrc: u32, index: u64) -> [u8; 12] {
    nonce(ssrc, index)
}

/// The nonce of an RTCP packet before the salt (RFC 7714 §9.1).
pub(super) fn rtcp_nonce(ssrc: u32, index: u32) -> [u8; 12] {
    nonce(ssrc, u64::from(index))
}

#[inline]
fn nonce(ssrc: u32, index: u64) -> [u8; 12] {
    let wide = (u128::from(ssrc) << 48) | u128::from(index & 0xffff_ffff_ffff);
    let [_, _, _, _, nonce @ ..] = wide.to_be_bytes();
    nonce
}

/// What of RTCP is authenticated and not encrypted (RFC 7714 §9.2).
pub(super) fn rtcp_aad(header: &[u8], word: [u8; 4]) -> [u8; 12] {
    let mut aad = [0; 12];
    for (to, from) in aad.iter_mut().zip(header.iter().take(8).chain(&word)) {
        *to = *from;
    }
    aad
}

/// How often the sequence number wrapped, as it is authenticated (RFC 3711 §4.2).
#[inline]
pub(super) fn roll_over(index: u64) -> [u8; 4] {
    let [_, _, high @ .., _, _] = index.to_be_bytes();
    high
}

fn counter_key(key: &[u8]) -> Result<EncryptingKey, SrtpError> {
    let wrong = |_| SrtpError::KeyLength(key.len());
    let algorithm = if key.len() == 32 { &AES_256 } else { &AES_128 };
    let key = UnboundCipherKey::new(algorithm, key).map_err(wrong)?;
    EncryptingKey::ctr(key).map_err(|_| SrtpError::KeyLength(0))
}

/// Derives one session key, with a derivation rate of zero (RFC 3711 §4.3.1, §4.3.3).
fn derive(master: &EncryptingKey, salt: &[u8], label: u8, out: &mut [u8]) -> Result<(), SrtpError> {
    let iv = u128::from_be_bytes(widen(salt)) ^ (u128::from(label) << 64);
    out.fill(0);
    let context = EncryptionContext::Iv128(FixedLength::from(iv.to_be_bytes()));
    master.less_safe_encrypt(out, context).map(drop).map_err(|_| SrtpError::KeyLength(salt.len()))
}

/// A salt at the front of a block.
fn widen(salt: &[u8]) -> [u8; 16] {
    let mut wide = [0; 16];
    for (to, from) in wide.iter_mut().zip(salt.iter().take(14)) {
        *to = *from;
    }
    wide
}
