//! Response bodies, and reading the bodies of requests.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::sync::mpsc;

/// What can go wrong while a body is read.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Why the body of a request was not read.
#[derive(Debug, thiserror::Error)]
pub enum BadBody {
    /// It is longer.
    #[error("the body is longer than {0} bytes")]
    TooLong(usize),
    /// It did not come in time.
    #[error("the body did not arrive within {} s", .0.as_secs())]
    Late(Duration),
    /// The connection broke, or its framing did.
    #[error("the body broke off: {0}")]
    Broken(String),
}

/// Of a body that is too long, so many times its limit are read and thrown away: who is still
/// sending would not see the answer otherwise. At half, a client with a send buffer full of it
/// gets a reset; at double, a stranger has us read more for nothing.
const PATIENCE: usize = 4;

/// Reads the whole body of a request: at most `most` bytes, `within` that time.
///
/// # Errors
/// [`BadBody`]; always the client's fault or the network's.
pub async fn read_body<B>(body: B, most: usize, within: Duration) -> Result<Bytes, BadBody>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    let read = async {
        let mut body = std::pin::pin!(body);
        let (mut all, mut len) = (BytesMut::new(), 0usize);
        while let Some(frame) = body.as_mut().frame().await {
            let frame = frame.map_err(|e| BadBody::Broken(e.to_string()))?;
            let Ok(data) = frame.into_data() else { continue };
            len = len.saturating_add(data.len());
            if len <= most {
                all.extend_from_slice(&data);
            } else if len > most.saturating_mul(PATIENCE) {
                break;
            }
        }
        if len > most { Err(BadBody::TooLong(most)) } else { Ok(all.freeze()) }
    };
    tokio::time::timeout(within, read).await.unwrap_or(Err(BadBody::Late(within)))
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit_and_no_longer_than_its_time() {
        let read = |len: usize| read_body(Body::full(vec![7; len]), 10, Duration::from_secs(1));
        assert_eq!(read(10).await.map(|b| b.len()).ok(), Some(10));
        assert!(matches!(read(11).await, Err(BadBody::TooLong(10))));
        assert!(matches!(read(1000).await, Err(BadBody::TooLong(10))));
        let (sender, body) = Body::channel();
        let late = read_body(body, 10, Duration::ZERO).await;
        assert!(matches!(late, Err(BadBody::Late(_))));
        drop(sender);
    }
}
