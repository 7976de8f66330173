//! A connection's bytes: plain TCP, or TLS over it. Single-threaded, shared by the parts of one
//! session.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_util::future::poll_fn;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// Kernel buffer for bytes not yet sent, per player. A stalled player then holds 33 kB in
/// the kernel, not megabytes; at half, players of 8 Mbit/s would be written to in small pieces, at
/// double one that stalls holds 98 kB.
const NOTSENT_LOWAT: u32 = 32 * 1024;

/// A connected socket. Clones share it.
#[derive(Clone)]
pub enum Socket {
    /// Plain.
    Tcp(Rc<TcpStream>),
    /// Encrypted.
    Tls(Rc<RefCell<TlsStream<TcpStream>>>),
}

impl Socket {
    /// Wraps a plain connection.
    pub fn plain(tcp: TcpStream) -> Self {
        Self::Tcp(Rc::new(tcp))
    }

    /// Wraps an encrypted one, of either side.
    pub fn tls(stream: impl Into<TlsStream<TcpStream>>) -> Self {
        Self::Tls(Rc::new(RefCell::new(stream.into())))
    }

    /// The bare TCP socket, when bytes can be written to it as they are.
    pub fn direct(&self) -> Option<Rc<TcpStream>> {
        match self {
            Self::Tcp(tcp) => Some(tcp.clone()),
            Self::Tls(_) => None,
        }
    }

    /// Our own address, as the peer sees it; `None` when the connection is gone.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(tcp) => tcp.local_addr().ok(),
            Self::Tls(tls) => tls.borrow().get_ref().0.local_addr().ok(),
        }
    }

    /// Prepares the kernel for a player: little memory for one that does not read.
    pub fn bound_send_memory(&self) {
        let set = |tcp: &TcpStream| {
            // Older kernels and odd sockets may refuse: the viewer then costs more memory.
            let _ = socket2::SockRef::from(tcp).set_tcp_notsent_lowat(NOTSENT_LOWAT);
        };
        match self {
            Self::Tcp(tcp) => set(tcp),
            Self::Tls(tls) => set(tls.borrow().get_ref().0),
        }
    }

    /// Has the kernel acknowledge what came without the usual 40 ms delay. Clients that leave
    /// Nagle's algorithm on (FFmpeg, librtmp) hold their next command back until then. The kernel
    /// forgets it, so it is called after each read while commands are exchanged.
    pub fn acknowledge_now(&self) {
        let set = |tcp: &TcpStream| {
            let _ = socket2::SockRef::from(tcp).set_tcp_quickack(true);
        };
        match self {
            Self::Tcp(tcp) => set(tcp),
            Self::Tls(tls) => set(tls.borrow().get_ref().0),
        }
    }

    /// Reads into a buffer that is lent only while bytes are at hand, so that an idle connection
    /// needs none. 0 bytes: the peer has closed. Cancel safe.
    ///
    /// # Errors
    /// When the socket is broken.
    pub async fn read<R>(
        &self,
        shard: &hub::Shard,
        mut got: impl FnMut(&[u8]) -> R,
    ) -> io::Result<Option<R>> {
        poll_fn(|cx| self.poll_bytes(cx, shard, &mut got)).await
    }

    /// The same, polled; the task that asked last is woken.
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn poll_bytes<R>(
        &self,
        cx: &mut Context<'_>,
        shard: &hub::Shard,
        mut got: impl FnMut(&[u8]) -> R,
    ) -> Poll<io::Result<Option<R>>> {
        match self {
            Self::Tcp(tcp) => loop {
                ready!(tcp.poll_read_ready(cx))?;
                match shard.with_scratch(|buf| {
                    let n = tcp.try_read(buf)?;
                    Ok(buf.get(..n).filter(|bytes| !bytes.is_empty()).map(&mut got))
                }) {
                    Err(e) if io::Error::kind(&e) == io::ErrorKind::WouldBlock => {}
                    done => return Poll::Ready(done),
                }
            },
            Self::Tls(tls) => shard.with_scratch(|buf| {
                let mut into = ReadBuf::new(buf);
                ready!(Pin::new(&mut *tls.borrow_mut()).poll_read(cx, &mut into))?;
                let bytes = into.filled();
                Poll::Ready(Ok((!bytes.is_empty()).then(|| got(bytes))))
            }),
        }
    }

    /// Writes all of `bytes`. Not cancel safe: a cancelled call may have written a part.
    ///
    /// # Errors
    /// When the socket is broken.
    pub async fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let n = self.write_some(bytes).await?;
            bytes = bytes.get(n..).unwrap_or(&[]);
        }
        self.flush().await
    }

    /// Writes a part of `bytes`. Cancel safe: what is not reported was not written.
    ///
    /// # Errors
    /// When the socket is broken.
    pub async fn write_some(&self, bytes: &[u8]) -> io::Result<usize> {
        poll_fn(|cx| self.poll_write_some(cx, bytes)).await
    }

    /// The same, polled.
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn poll_write_some(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let n = match self {
            Self::Tcp(tcp) => loop {
                ready!(tcp.poll_write_ready(cx))?;
                match tcp.try_write(bytes) {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    done => break done?,
                }
            },
            Self::Tls(tls) => ready!(Pin::new(&mut *tls.borrow_mut()).poll_write(cx, bytes))?,
        };
        if n == 0 && !bytes.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        Poll::Ready(Ok(n))
    }

    /// Pushes out what the encryption still holds. Cancel safe.
    ///
    /// # Errors
    /// When the socket is broken.
    pub async fn flush(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush_all(cx)).await
    }

    /// The same, polled.
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn poll_flush_all(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => Pin::new(&mut *tls.borrow_mut()).poll_flush(cx),
        }
    }

    /// Ends our direction of the connection, so that the peer sees a clean end.
    pub async fn shutdown(&self) {
        match self {
            Self::Tcp(tcp) => {
                let _ = socket2::SockRef::from(&**tcp).shutdown(std::net::Shutdown::Write);
            }
            Self::Tls(tls) => {
                let close = poll_fn(|cx| Pin::new(&mut *tls.borrow_mut()).poll_shutdown(cx));
                let _ = tokio::time::timeout(std::time::Duration::from_secs(1), close).await;
            }
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &*self {
            Self::Tcp(tcp) => loop {
                ready!(tcp.poll_read_ready(cx))?;
                match tcp.try_read(buf.initialize_unfilled()) {
                    Ok(n) => {
                        buf.advance(n);
                        return Poll::Ready(Ok(()));
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    Err(e) => return Poll::Ready(Err(e)),
                }
            },
            Self::Tls(tls) => Pin::new(&mut *tls.borrow_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &*self {
            Self::Tcp(tcp) => loop {
                ready!(tcp.poll_write_ready(cx))?;
                match tcp.try_write(bytes) {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                    done => return Poll::Ready(done),
                }
            },
            Self::Tls(tls) => Pin::new(&mut *tls.borrow_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &*self {
            Self::Tcp(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => Pin::new(&mut *tls.borrow_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &*self {
            Self::Tcp(tcp) => {
                let _ = socket2::SockRef::from(&**tcp).shutdown(std::net::Shutdown::Write);
                Poll::Ready(Ok(()))
            }
            Self::Tls(tls) => Pin::new(&mut *tls.borrow_mut()).poll_shutdown(cx),
        }
    }
}
