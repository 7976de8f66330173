//! Response bodies.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::mpsc;

/// What can go wrong while a body is read.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A response body: bytes at hand, bytes that come over time, or somebody else's body.
pub enum Body {
    /// All of it.
    Full(Option<Bytes>),
    /// Comes through a [`BodySender`].
    Channel(mpsc::Receiver<Bytes>),
    /// Any other.
    Boxed(UnsyncBoxBody<Bytes, BodyError>),
}

/// Feeds a body. Dropping it ends the body.
pub struct BodySender(mpsc::Sender<Bytes>);

/// The reader of a body has gone.
#[derive(Debug, thiserror::Error)]
#[error("the reader of the response has gone")]
pub struct ReaderGone;

impl BodySender {
    /// Waits for room and sends.
    ///
    /// # Errors
    /// [`ReaderGone`] when the connection has ended.
    pub async fn send(&self, bytes: Bytes) -> Result<(), ReaderGone> {
        self.0.send(bytes).await.map_err(|_| ReaderGone)
    }

    /// Waits until the reader has gone.
    pub async fn closed(&self) {
        self.0.closed().await;
    }
}

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Self::Full(None)
    }

    /// These bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::Full((!bytes.is_empty()).then_some(bytes))
    }

    /// Bytes that come over time, a few pieces ahead of the reader.
    pub fn channel() -> (BodySender, Self) {
        let (tx, rx) = mpsc::channel(2);
        (BodySender(tx), Self::Channel(rx))
    }

    /// Wraps another body.
    pub fn boxed<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        Self::Boxed(body.map_err(Into::into).boxed_unsync())
    }
}

impl From<Infallible> for Body {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Self::Channel(rx) => rx.poll_recv(cx).map(|b| b.map(|b| Ok(Frame::data(b)))),
            Self::Boxed(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::Channel(_) => false,
            Self::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Channel(_) => SizeHint::default(),
            Self::Boxed(body) => body.size_hint(),
        }
    }
}
