//! Reads a file piece by piece into a response.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use gate::http::{Body, BodySender};

use super::condition::Span;

/// Bytes read at a time. A response holds at most four such pieces, however slow its reader.
const PIECE: u64 = 64 * 1024;
/// How long a reader may take for one piece: about 1 kB/s, below which nothing plays.
const PATIENCE: Duration = Duration::from_secs(60);

/// `head`, then this part of the file. What fits one piece is read at once.
///
/// # Errors
/// The first piece cannot be read.
pub(super) async fn body(file: File, span: Span, head: Bytes) -> io::Result<Body> {
    let (file, first) = piece(file, span).await?;
    let read = first.len() as u64;
    let rest = Span { start: span.start.saturating_add(read), end: span.end };
    if head.is_empty() && rest.len() == 0 {
        return Ok(Body::full(first));
    }
    let (sender, body) = Body::channel();
    tokio::spawn(async move {
        for bytes in [head, first] {
            if !bytes.is_empty() && !give(&sender, bytes).await {
                return;
            }
        }
        pump(file, rest, sender).await;
    });
    Ok(body)
}

async fn give(to: &BodySender, bytes: Bytes) -> bool {
    matches!(tokio::time::timeout(PATIENCE, to.send(bytes)).await, Ok(Ok(())))
}

async fn pump(mut file: File, mut rest: Span, to: BodySender) {
    while rest.len() > 0 {
        let bytes = match piece(file, rest).await {
            Ok((back, bytes)) => {
                file = back;
                bytes
            }
            Err(e) => {
                tracing::warn!("a file cannot be read to its end: {e}");
                return;
            }
        };
        rest.start = rest.start.saturating_add(bytes.len() as u64);
        // A file that was cut while it is sent ends early: the connection is closed then, as
        // fewer bytes came than were promised.
        if bytes.is_empty() || !give(&to, bytes).await {
            return;
        }
    }
}

/// Reads the next piece on a thread that may block. Empty at the end of the file.
async fn piece(file: File, span: Span) -> io::Result<(File, Bytes)> {
    let read = move || {
        let len = usize::try_from(span.len().min(PIECE)).unwrap_or_default();
        let mut bytes = BytesMut::zeroed(len);
        let n = loop {
            match file.read_at(&mut bytes, span.start) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        bytes.truncate(n);
        Ok((file, bytes.freeze()))
    };
    tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
}
