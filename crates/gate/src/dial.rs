//! Connections that the server itself makes: names are looked up once for all who wait, and TLS
//! is begun with whom the configuration trusts.

mod anybody;
mod names;
mod trust;

use std::io;
use std::net::SocketAddr;

use tokio_rustls::TlsConnector;

use names::Names;
use trust::Trust;

pub use anybody::Anybody;
pub use trust::TrustError;

/// What it takes to reach other servers. One for all who dial the same kind of server.
#[derive(Default)]
pub struct Dial {
    names: Names,
    trust: Trust,
}

impl Dial {
    /// The addresses of a name or a number, in the order in which they are to be tried. The system
    /// may take many seconds: the caller sets the time limit. Cancel safe.
    ///
    /// # Errors
    /// When there is no such name, or nobody who knows it can be asked.
    pub async fn find(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.names.find(host, port).await
    }

    /// How to begin TLS. Without `ca_file` any certificate will do, as with SRS: the connection is
    /// then safe from listeners only. Reads the file when it is new or has changed.
    ///
    /// # Errors
    /// [`TrustError`], the configuration's.
    pub fn connector(&self, ca_file: &str) -> Result<TlsConnector, TrustError> {
        self.trust.connector(ca_file)
    }
}
