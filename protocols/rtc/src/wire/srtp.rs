//! SRTP and SRTCP (RFC 3711, RFC 7714): protection of media, in place and without allocation.
//!
//! [`from_exported`] makes a [`Sender`] and a [`Receiver`] of what a DTLS handshake exports. A
//! sender keeps no state per stream: the caller knows the extended sequence number of what it
//! sends, so that a fan-out needs no look-up. A receiver keeps for each synchronisation source how
//! far it has come and which packets were seen.
//!
//! Not here: header encryption (RFC 6904), key identifiers, key derivation rates, and profiles
//! without encryption or with short tags.

mod cipher;
mod replay;

use cipher::Cipher;
use replay::Streams;

/// A protection profile (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Profile {
    /// `SRTP_AEAD_AES_128_GCM`.
    AeadAes128Gcm,
    /// `SRTP_AEAD_AES_256_GCM`.
    AeadAes256Gcm,
    /// `SRTP_AES128_CM_HMAC_SHA1_80`, which every implementation has.
    Aes128CmSha1_80,
}

impl Profile {
    /// Length of a master key, in bytes.
    pub const fn key_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::Aes128CmSha1_80 => 16,
            Self::AeadAes256Gcm => 32,
        }
    }

    /// Length of a master salt, in bytes.
    pub const fn salt_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
            Self::Aes128CmSha1_80 => 14,
        }
    }

    /// Length of what a handshake exports for both directions, in bytes.
    pub const fn keying_len(self) -> usize {
        2 * (self.key_len() + self.salt_len())
    }

    /// By how many bytes an RTP packet grows; an RTCP packet grows by four more.
    pub const fn tag_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 16,
            Self::Aes128CmSha1_80 => 10,
        }
    }
}

impl std::fmt::Display for Profile {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::AeadAes128Gcm => "SRTP_AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "SRTP_AEAD_AES_256_GCM",
            Self::Aes128CmSha1_80 => "SRTP_AES128_CM_HMAC_SHA1_80",
        })
    }
}

/// Why a packet was not protected or not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SrtpError {
    /// Shorter than a header and a tag; or the header is longer than the packet. The sender's
    /// fault.
    #[error("a packet of {0} bytes is too short")]
    Short(usize),
    /// The tag does not fit: damaged, forged or of other keys.
    #[error("the tag does not fit")]
    Authentication,
    /// Seen before, or too old to tell.
    #[error("packet {0} was seen before or is too old")]
    Replayed(u64),
    /// RTCP that is not encrypted; WebRTC has none.
    #[error("the packet is not encrypted")]
    Plain,
    /// More synchronisation sources than [`MAX_STREAMS`].
    #[error("more than {MAX_STREAMS} synchronisation sources")]
    TooManyStreams,
    /// The keys are used up: 2^48 packets, or 2^31 RTCP packets (RFC 3711 §9.2).
    #[error("the keys are used up")]
    Exhausted,
    /// Key or salt are not as long as the profile has it.
    #[error("{0} bytes of keying material do not fit the profile")]
    KeyLength(usize),
}

/// How many synchronisation sources one receiver knows.
///
/// Only packets whose tag fits make one known. A publisher of three simulcast layers with
/// retransmission and sound has eight; at half of this a peer that starts each source anew on
/// every change of its camera would be cut off within an hour, at double nothing breaks.
pub const MAX_STREAMS: usize = 128;

/// The length of a fixed RTP header (RFC 3550 §5.1).
const RTP_HEADER: usize = 12;
/// The length of what stays readable of RTCP: the first header and its source.
const RTCP_HEADER: usize = 8;
/// The length of an SRTCP index with its flag.
const RTCP_INDEX: usize = 4;
/// Says that the RTCP packet is encrypted.
const ENCRYPTED: u32 = 0x8000_0000;

/// Makes both directions of what a DTLS handshake exported (RFC 5764 §4.2).
///
/// `client` is whether we were the DTLS client. Errors are ours: a length that does not fit.
pub fn from_exported(
    profile: Profile,
    keying: &[u8],
    client: bool,
) -> Result<(Sender, Receiver), SrtpError> {
    let wrong = SrtpError::KeyLength(keying.len());
    if keying.len() != profile.keying_len() {
        return Err(wrong);
    }
    let (keys, salts) = keying.split_at_checked(2 * profile.key_len()).ok_or(wrong)?;
    let (client_key, server_key) = keys.split_at_checked(profile.key_len()).ok_or(wrong)?;
    let (client_salt, server_salt) = salts.split_at_checked(profile.salt_len()).ok_or(wrong)?;
    let (ours, theirs) = if client {
        ((client_key, client_salt), (server_key, server_salt))
    } else {
        ((server_key, server_salt), (client_key, client_salt))
    };
    Ok((Sender::new(profile, ours.0, ours.1)?, Receiver::new(profile, theirs.0, theirs.1)?))
}

/// Protects what we send.
#[derive(Debug)]
pub struct Sender {
    profile: Profile,
    rtp: Cipher,
    rtcp: Cipher,
    /// The index of the RTCP packet that comes next; one count for all sources.
    next_rtcp: u32,
}

impl Sender {
    /// Derives the keys of a session from a master key and its salt.
    pub fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Result<Self, SrtpError> {
        Ok(Self {
            profile,
            rtp: Cipher::derive(profile, key, salt, cipher::Of::Rtp)?,
            rtcp: Cipher::derive(profile, key, salt, cipher::Of::Rtcp)?,
            next_rtcp: 0,
        })
    }

    /// The profile both sides agreed on.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Encrypts the RTP packet `packet[from..]` in place and appends its tag.
    ///
    /// `index` is the extended sequence number: how often the 16 bits wrapped, then the 16 bits
    /// of the header. `header_len` counts sources and extensions in. Neither is compared with the
    /// packet: the caller has just written it. The same index may be sent again only with the
    /// same bytes, for both would be readable otherwise.
    ///
    /// Allocates only if `packet` has no room for [`Profile::tag_len`] more bytes. On an error
    /// the packet must not be sent.
    #[inline]
    pub fn protect(
        &self,
        index: u64,
        ssrc: u32,
        packet: &mut Vec<u8>,
        from: usize,
        header_len: usize,
    ) -> Result<(), SrtpError> {
        if index >> 48 != 0 {
            return Err(SrtpError::Exhausted);
        }
        let len = packet.len();
        let short = SrtpError::Short(len.saturating_sub(from));
        let (header, payload) = packet
            .get_mut(from..)
            .and_then(|packet| packet.split_at_mut_checked(header_len))
            .ok_or(short)?;
        match &self.rtp {
            Cipher::Gcm(gcm) => {
                let tag = gcm.seal(cipher::rtp_nonce(ssrc, index), header, payload)?;
                packet.extend_from_slice(tag.as_ref());
            }
            Cipher::Counter(counter) => {
                counter.apply(ssrc, index, payload)?;
                let whole = packet.get(from..).ok_or(short)?;
                let tag = counter.tag(whole, &cipher::roll_over(index));
                packet.extend_from_slice(&tag);
            }
        }
        Ok(())
    }

    /// Encrypts the compound RTCP packet `packet[from..]` in place; appends index and tag.
    pub fn protect_rtcp(&mut self, packet: &mut Vec<u8>, from: usize) -> Result<(), SrtpError> {
        let index = self.next_rtcp;
        if index & ENCRYPTED != 0 {
            return Err(SrtpError::Exhausted);
        }
        let short = SrtpError::Short(packet.len().saturating_sub(from));
        let (header, payload) = packet
            .get_mut(from..)
            .and_then(|packet| packet.split_at_mut_checked(RTCP_HEADER))
            .ok_or(short)?;
        let ssrc = be32(header.get(4..).unwrap_or_default()).ok_or(short)?;
        let word = (index | ENCRYPTED).to_be_bytes();
        match &self.rtcp {
            Cipher::Gcm(gcm) => {
                let aad = cipher::rtcp_aad(header, word);
                let tag = gcm.seal(cipher::rtcp_nonce(ssrc, index), &aad, payload)?;
                packet.extend_from_slice(tag.as_ref());
                packet.extend_from_slice(&word);
            }
            Cipher::Counter(counter) => {
                counter.apply(ssrc, u64::from(index), payload)?;
                packet.extend_from_slice(&word);
                let tag = counter.tag(packet.get(from..).ok_or(short)?, &[]);
                packet.extend_from_slice(&tag);
            }
        }
        self.next_rtcp = index.wrapping_add(1);
        Ok(())
    }
}

/// Opens what the peer sent.
#[derive(Debug)]
pub struct Receiver {
    profile: Profile,
    rtp: Cipher,
    rtcp: Cipher,
    rtp_streams: Streams<{ replay::RTP_WORDS }>,
    rtcp_streams: Streams<{ replay::RTCP_WORDS }>,
}

impl Receiver {
    /// Derives the keys of a session from a master key and its salt.
    pub fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Result<Self, SrtpError> {
        Ok(Self {
            profile,
            rtp: Cipher::derive(profile, key, salt, cipher::Of::Rtp)?,
            rtcp: Cipher::derive(profile, key, salt, cipher::Of::Rtcp)?,
            rtp_streams: Streams::default(),
            rtcp_streams: Streams::default(),
        })
    }

    /// The profile both sides agreed on.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Checks an RTP packet and decrypts it in place; gives its length without the tag.
    ///
    /// Whatever the error, nothing that was remembered has changed; the bytes may have. No
    /// allocation but for a source that was not heard before.
    pub fn unprotect(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let short = SrtpError::Short(packet.len());
        let header_len = rtp_header_len(packet).ok_or(short)?;
        let len = packet
            .len()
            .checked_sub(self.profile.tag_len())
            .filter(|len| *len >= header_len)
            .ok_or(short)?;
        let sequence = be16(packet.get(2..).unwrap_or_default()).ok_or(short)?;
        let ssrc = be32(packet.get(8..).unwrap_or_default()).ok_or(short)?;
        let index = self.rtp_streams.guess(ssrc, sequence);
        if !self.rtp_streams.is_new(ssrc, index) {
            return Err(SrtpError::Replayed(index));
        }
        self.rtp_streams.has_room(ssrc)?;
        let (body, tag) = packet.split_at_mut_checked(len).ok_or(short)?;
        match &self.rtp {
            Cipher::Gcm(gcm) => {
                let (header, payload) = body.split_at_mut_checked(header_len).ok_or(short)?;
                gcm.open(cipher::rtp_nonce(ssrc, index), header, payload, tag)?;
            }
            Cipher::Counter(counter) => {
                counter.verify(body, &cipher::roll_over(index), tag)?;
                let payload = body.get_mut(header_len..).ok_or(short)?;
                counter.apply(ssrc, index, payload)?;
            }
        }
        self.rtp_streams.note(ssrc, index);
        Ok(len)
    }

    /// Checks a compound RTCP packet and decrypts it in place; gives its length without what was
    /// appended.
    pub fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, SrtpError> {
        let short = SrtpError::Short(packet.len());
        let len = packet
            .len()
            .checked_sub(self.profile.tag_len() + RTCP_INDEX)
            .filter(|len| *len >= RTCP_HEADER)
            .ok_or(short)?;
        let ssrc = be32(packet.get(4..).unwrap_or_default()).ok_or(short)?;
        let word_at = match self.rtcp {
            Cipher::Gcm(_) => packet.len().saturating_sub(RTCP_INDEX),
            Cipher::Counter(_) => len,
        };
        let word = be32(packet.get(word_at..).unwrap_or_default()).ok_or(short)?;
        if word & ENCRYPTED == 0 {
            return Err(SrtpError::Plain);
        }
        let index = word & !ENCRYPTED;
        if !self.rtcp_streams.is_new(ssrc, u64::from(index)) {
            return Err(SrtpError::Replayed(u64::from(index)));
        }
        self.rtcp_streams.has_room(ssrc)?;
        match &self.rtcp {
            Cipher::Gcm(gcm) => {
                let (body, rest) = packet.split_at_mut_checked(len).ok_or(short)?;
                let (header, payload) = body.split_at_mut_checked(RTCP_HEADER).ok_or(short)?;
                let aad = cipher::rtcp_aad(header, word.to_be_bytes());
                let tag = rest.get(..self.profile.tag_len()).ok_or(short)?;
                gcm.open(cipher::rtcp_nonce(ssrc, index), &aad, payload, tag)?;
            }
            Cipher::Counter(counter) => {
                let (body, tag) =
                    packet.split_at_mut_checked(len.saturating_add(RTCP_INDEX)).ok_or(short)?;
                counter.verify(body, &[], tag)?;
                let payload = body.get_mut(RTCP_HEADER..len).ok_or(short)?;
                counter.apply(ssrc, u64::from(index), payload)?;
            }
        }
        self.rtcp_streams.note(ssrc, u64::from(index));
        Ok(len)
    }
}

/// The length of an RTP header with its sources and its extension, if the packet holds it.
pub(crate) fn rtp_header_len(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    let fixed = RTP_HEADER.saturating_add(usize::from(first & 0x0f).saturating_mul(4));
    let len = if first & 0x10 == 0 {
        fixed
    } else {
        let words = be16(packet.get(fixed.saturating_add(2)..)?)?;
        fixed.saturating_add(4).saturating_add(usize::from(words).saturating_mul(4))
    };
    (len <= packet.len()).then_some(len)
}

fn be16(bytes: &[u8]) -> Option<u16> {
    bytes.first_chunk().map(|bytes| u16::from_be_bytes(*bytes))
}

fn be32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests;
