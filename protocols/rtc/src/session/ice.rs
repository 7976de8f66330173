//! Whether the peer may be reached, and where (RFC 8445).

/// Who one side is in connectivity checks: fragment of a user name and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The fragment, 4 to 256 characters of letters, digits, `+` and `/` (RFC 8839 §5.4).
    pub ufrag: String,
    /// The password, 22 to 256 such characters.
    pub pwd: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Credentials").field("ufrag", &self.ufrag).finish_non_exhaustive()
    }
}
