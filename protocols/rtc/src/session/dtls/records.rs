//! What can be seen of DTLS records without keys (RFC 6347 §4.1, RFC 9147 §4).

/// The length of a header in the clear.
const HEADER: usize = 13;
/// The length of a handshake message's header.
const HANDSHAKE: usize = 12;
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE_RECORD: u8 = 22;
const ACK: u8 = 26;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const HELLO_VERIFY_REQUEST: u8 = 3;
const CERTIFICATE: u8 = 11;
/// What each side says in the clear: hello, certificate, exchange of keys, proof; the server also
/// asks for a cookie, for a certificate, and ends its part.
const CLIENT_SAYS: &[u8] = &[CLIENT_HELLO, CERTIFICATE, 15, 16];
const SERVER_SAYS: &[u8] = &[SERVER_HELLO, HELLO_VERIFY_REQUEST, CERTIFICATE, 12, 13, 14];
/// A side has six messages at most. At half of it none known fails, at double a forger has twice as
/// many numbers for what never comes.
const LAST_NUMBER: u16 = 15;
/// A chain of certificates is 4 kB. At half of it a long one could fail, at double twice as much is
/// kept for a lie.
const LONGEST_MESSAGE: u32 = 32 * 1024;
/// The three bits that mark an encrypted record of DTLS 1.3, whose header is short.
const UNIFIED: u8 = 0b0010_0000;

/// A record: its type, whether it is in the clear, its body, and all of it.
struct Record<'a> {
    kind: u8,
    plain: bool,
    body: &'a [u8],
    all: &'a [u8],
}

/// The records of a datagram up to the first that cannot be read or has the short header, which
/// counts as one that is not in the clear and reaches to the end.
fn records(datagram: &[u8]) -> impl Iterator<Item = Option<Record<'_>>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let kind = *rest.first()?;
        if kind & 0b1110_0000 == UNIFIED {
            let all = std::mem::take(&mut rest);
            return Some(Some(Record { kind, plain: false, body: &[], all }));
        }
        let all = std::mem::take(&mut rest);
        let Some(([_, _, _, e0, e1, _, _, _, _, _, _, l0, l1], behind)) =
            all.split_first_chunk::<HEADER>()
        else {
            return Some(None);
        };
        let len = usize::from(u16::from_be_bytes([*l0, *l1]));
        let Some((body, left)) = behind.split_at_checked(len) else { return Some(None) };
        rest = left;
        let all = all.get(..HEADER.saturating_add(len)).unwrap_or_default();
        Some(Some(Record { kind, plain: (*e0, *e1) == (0, 0), body, all }))
    })
}

/// Whether every record is there to its end, and there is one.
pub(super) fn whole(datagram: &[u8]) -> bool {
    !datagram.is_empty() && records(datagram).all(|record| record.is_some())
}

/// Whether there is an alert in the clear, which anybody may have written; if one is fatal, its
/// description.
pub(super) fn plain_alert(datagram: &[u8]) -> Option<Option<u8>> {
    let mut alerts = records(datagram)
        .flatten()
        .filter(|record| record.plain && record.kind == ALERT)
        .map(|record| match record.body {
            [2, description, ..] => Some(*description),
            _ => None,
        })
        .peekable();
    alerts.peek()?;
    Some(alerts.flatten().next())
}

/// What a record in the clear is worth before it is given to the engine, which believes what it is
/// told in the clear, and keeps of two messages with one number the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worth {
    /// It may be a part of the handshake.
    Some,
    /// It cannot be.
    None,
    /// A certificate that is not the one which is awaited.
    Stranger,
}

/// Appends all records but alerts in the clear, and what cannot be a part of a handshake at all, to
/// `out`; whether a certificate was among these that `fits` does not know. `client`: we are the client.
pub(super) fn sift(
    datagram: &[u8],
    client: bool,
    fits: impl Fn(&[u8]) -> bool,
    out: &mut Vec<u8>,
) -> bool {
    let mut strange = false;
    for record in records(datagram).flatten() {
        match worth(&record, client, &fits) {
            Worth::Some => out.extend_from_slice(record.all),
            Worth::None => {}
            Worth::Stranger => strange = true,
        }
    }
    strange
}

fn worth(record: &Record<'_>, client: bool, fits: &impl Fn(&[u8]) -> bool) -> Worth {
    if !record.plain {
        return Worth::Some;
    }
    match record.kind {
        CHANGE_CIPHER_SPEC if record.body == [1] => Worth::Some,
        ACK => Worth::Some,
        HANDSHAKE_RECORD => messages(record.body, client, fits),
        _ => Worth::None,
    }
}

fn messages(mut body: &[u8], client: bool, fits: &impl Fn(&[u8]) -> bool) -> Worth {
    if body.is_empty() {
        return Worth::None;
    }
    while !body.is_empty() {
        let Some((header, rest)) = body.split_first_chunk::<HANDSHAKE>() else {
            return Worth::None;
        };
        let [kind, n0, n1, n2, s0, s1, o0, o1, o2, l0, l1, l2] = *header;
        let of = |a, b, c| u32::from_be_bytes([0, a, b, c]);
        let (whole, at, len) = (of(n0, n1, n2), of(o0, o1, o2), of(l0, l1, l2));
        let part = usize::try_from(len).ok().and_then(|len| rest.split_at_checked(len));
        let Some((part, left)) = part else { return Worth::None };
        let kinds = if client { SERVER_SAYS } else { CLIENT_SAYS };
        let sound = kinds.contains(&kind)
            && u16::from_be_bytes([s0, s1]) <= LAST_NUMBER
            && whole <= LONGEST_MESSAGE
            && at.saturating_add(len) <= whole
            && (len > 0 || whole == 0);
        if !sound {
            return Worth::None;
        }
        // Once it is known, it is as good as signed: whose it must be stands in the SDP.
        if kind == CERTIFICATE && at == 0 && len == whole && !certificate(part).is_some_and(fits) {
            return Worth::Stranger;
        }
        body = left;
    }
    Worth::Some
}

/// The first of a chain (RFC 5246 §7.4.2); messages in the clear are of DTLS 1.2.
fn certificate(message: &[u8]) -> Option<&[u8]> {
    let (_, chain) = message.split_first_chunk::<3>()?;
    let ([a, b, c], rest) = chain.split_first_chunk::<3>()?;
    rest.get(..usize::try_from(u32::from_be_bytes([0, *a, *b, *c])).ok()?)
}

/// Whether the datagram begins with a client's hello, or a part of one.
pub(super) fn begins_client_hello(datagram: &[u8]) -> bool {
    first_message(datagram).is_some_and(|(kind, _)| kind == CLIENT_HELLO)
}

/// Whether the datagram begins with the front of what a server says first.
pub(super) fn begins_server_hello(datagram: &[u8]) -> bool {
    first_message(datagram).is_some_and(|(kind, offset)| {
        offset == 0 && (kind == SERVER_HELLO || kind == HELLO_VERIFY_REQUEST)
    })
}

/// Type and fragment offset of the first handshake message, if that is in the clear and its
/// fragment is there.
fn first_message(datagram: &[u8]) -> Option<(u8, u32)> {
    let record = records(datagram).next()??;
    if !record.plain || record.kind != HANDSHAKE_RECORD {
        return None;
    }
    let (header, body) = record.body.split_first_chunk::<HANDSHAKE>()?;
    let [kind, _, _, _, _, _, o0, o1, o2, l0, l1, l2] = *header;
    let len = u32::from_be_bytes([0, l0, l1, l2]);
    (usize::try_from(len).ok()? <= body.len()).then(|| (kind, u32::from_be_bytes([0, o0, o1, o2])))
}

#[cfg(test)]
mod tests;
