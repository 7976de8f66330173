//! What a connection is doing: whether it has to end because the peer is too slow or idle.
//!
//! hyper's own time limit for request heads runs while a kept-alive connection merely waits, and
//! HTTP/2 has none; this one tells waiting from dawdling.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

use super::{Body, BodyError};
use crate::socket::Socket;

/// Requests and bytes of one connection.
pub(super) struct Activity {
    opened: Instant,
    /// Requests that are being answered, bodies included.
    open: Cell<usize>,
    /// When the last of them ended.
    last: Cell<Option<Instant>>,
    /// When the first byte of the next request came.
    head: Cell<Option<Instant>>,
    /// Bytes between requests are the head of the next (HTTP/1.x).
    heads: bool,
    wake: Notify,
}

impl Activity {
    pub(super) fn new(heads: bool) -> Rc<Self> {
        Rc::new(Self {
            opened: Instant::now(),
            open: Cell::new(0),
            last: Cell::new(None),
            head: Cell::new(None),
            heads,
            wake: Notify::new(),
        })
    }

    /// A request has been read and is being answered until the result is dropped.
    pub(super) fn request(self: &Rc<Self>) -> OpenRequest {
        self.open.set(self.open.get().saturating_add(1));
        self.head.set(None);
        OpenRequest(self.clone())
    }

    fn bytes_came(&self) {
        if self.heads && self.open.get() == 0 && self.head.get().is_none() {
            self.head.set(Some(Instant::now()));
            self.wake.notify_one();
        }
    }

    /// When the connection has to end unless something happens; `None` while it is busy.
    fn deadline(&self, head: Duration, idle: Duration) -> Option<Instant> {
        if self.open.get() > 0 {
            return None;
        }
        Some(match (self.head.get(), self.last.get()) {
            // The first request counts from the beginning: the peer came to ask for something.
            (_, None) => self.opened + head,
            (Some(begun), Some(_)) => begun + head,
            (None, Some(last)) => last + idle,
        })
    }

    /// Returns when the peer has been too slow with a request, or without one for too long.
    pub(super) async fn exhausted(&self, head: Duration, idle: Duration) -> &'static str {
        loop {
            let now = Instant::now();
            match self.deadline(head, idle) {
                Some(at) if at <= now => {
                    return if self.head.get().is_some() || self.last.get().is_none() {
                        "the request did not arrive in time"
                    } else {
                        "it was idle"
                    };
                }
                deadline => {
                    let at = deadline.unwrap_or(now + idle);
                    tokio::select! {
                        () = self.wake.notified() => {}
                        () = tokio::time::sleep_until(at.into()) => {}
                    }
                }
            }
        }
    }
}

/// Marks a request as being answered.
pub(super) struct OpenRequest(Rc<Activity>);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
        self.0.last.set(Some(Instant::now()));
        self.0.wake.notify_one();
    }
}

/// A body that keeps its request open until it has been sent.
pub(super) struct Tracked {
    pub(super) body: Body,
    pub(super) _open: OpenRequest,
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The connection's bytes, as hyper reads and writes them.
pub(super) struct Watched {
    pub(super) socket: Socket,
    pub(super) activity: Rc<Activity>,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.activity.bytes_came();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
