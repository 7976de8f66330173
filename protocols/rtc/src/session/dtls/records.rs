//! What can be seen of DTLS records without keys (RFC 6347 §4.1, RFC 9147 §4).

/// The length of a header in the clear.
const HEADER: usize = 13;
/// The length of a handshake message's header.
const HANDSHAKE: usize = 12;
const ALERT: u8 = 21;
const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const HELLO_VERIFY_REQUEST: u8 = 3;
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

/// Appends all records but the alerts in the clear.
pub(super) fn without_plain_alerts(datagram: &[u8], out: &mut Vec<u8>) {
    for record in records(datagram).flatten() {
        if !(record.plain && record.kind == ALERT) {
            out.extend_from_slice(record.all);
        }
    }
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
