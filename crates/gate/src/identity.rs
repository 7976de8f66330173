//! Names that tell this server and its sessions from others.

use rand::Rng;

/// Letters and digits that are easy to read aloud and to double-click.
const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// `n` random characters of `0-9a-z`.
pub fn random_id(n: usize) -> String {
    let mut rng = rand::rng();
    (0..n)
        .map(|_| {
            char::from(ALPHABET.get(rng.random_range(0..ALPHABET.len())).copied().unwrap_or(b'0'))
        })
        .collect()
}

/// Who this server is: in the API, in RTMP's connect reply, in HTTP's Server header.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Stays the same over restarts (`vid-…`).
    pub server_id: String,
    /// New with each start of the process.
    pub service_id: String,
    /// Process id, printed as text by the API.
    pub pid: String,
    /// Version that SRS clients are told: theirs is parsed and compared by tools.
    pub compat_version: (u32, u32, u32),
    /// Version of millrace.
    pub version: &'static str,
}

impl Identity {
    /// For this process.
    pub fn new(server_id: String, version: &'static str) -> Self {
        Self {
            server_id,
            service_id: random_id(8),
            pid: std::process::id().to_string(),
            compat_version: (6, 0, 0),
            version,
        }
    }

    /// The `Server` header and the name in RTMP replies.
    pub fn software(&self) -> String {
        format!("millrace/{}", self.version)
    }
}
