//! What happens to viewers, each thing once: the log lines of this gate. That a viewer lags is told
//! by the hub, the end of a session by [`gate::Session::closed`].

use gate::Session;
use hub::Stream;

use crate::packager::Wire;

/// A viewer asks for a stream. The query is left out: it may hold a token.
pub(crate) fn asked(session: &Session, vhost: &str, app: &str, name: &str) {
    tracing::info!(
        session = %session.id, gate = session.gate, peer = %session.peer, vhost, app, stream = name,
        "HTTP client asks to play"
    );
}

/// A viewer begins to get a stream.
pub(crate) fn playing(session: &Session, stream: &Stream, wire: Wire, http: &'static str) {
    tracing::info!(
        session = %session.id, gate = session.gate, stream = %stream.key,
        publisher = stream.publisher_id(), format = ?wire.format, framing = ?wire.framing, http,
        "start play"
    );
}

/// The publisher has gone; viewers wait for another.
pub(crate) fn waiting(session: &Session, stream: &Stream, seconds: u64) {
    tracing::debug!(
        session = %session.id, stream = %stream.key, seconds,
        "the publisher has left, the viewer is kept"
    );
}
