//! Connections of both kinds of clients: those that behave and those that do not.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rand::Rng;
use rtmp::session::client::{Event, Role};
use rtmp::session::{Client, ClientConfig};
use rtmp::wire::message::Media;
use rtmp::wire::url::StreamUrl;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Longest wait for a connection; a busy server may need a while.
const DIAL: Duration = Duration::from_secs(10);
/// Longest wait of a client for its media to begin.
const START: Duration = Duration::from_secs(20);

/// What a connection is like, beside its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    /// A receive buffer of so many bytes.
    pub(crate) receive: Option<u32>,
    /// Ends with a reset instead of a close.
    pub(crate) reset: bool,
}

/// Connects. To a loopback address it comes from a random other one, so that thousands of
/// connections a minute do not use the local ports up.
pub(crate) async fn dial(
    to: SocketAddr,
    rng: &mut impl Rng,
    manner: Manner,
) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let IpAddr::V4(ip) = to.ip()
        && ip.is_loopback()
    {
        let [a, b, c] = [rng.random(), rng.random(), rng.random_range(2..250)];
        socket.bind((Ipv4Addr::new(127, a, b, c), 0).into())?;
    }
    if let Some(size) = manner.receive {
        socket.set_recv_buffer_size(size)?;
    }
    if manner.reset {
        // Of length zero: nobody waits.
        socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
    }
    let connect = socket.connect(to);
    let tcp = tokio::time::timeout(DIAL, connect).await.map_err(|_| io::ErrorKind::TimedOut)??;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

/// Reads and forgets for a while, or until the peer closes. Tells how many bytes came.
pub(crate) async fn drain(tcp: &mut TcpStream, time: Duration) -> usize {
    let (mut all, mut buffer) = (0, [0; 8192]);
    let read = async {
        while let Ok(n) = tcp.read(&mut buffer).await {
            if n == 0 {
                break;
            }
            all += n;
        }
    };
    let _ = tokio::time::timeout(time, read).await;
    all
}

/// A real RTMP session.
#[derive(Debug)]
pub(crate) struct Rtmp {
    pub(crate) tcp: TcpStream,
    pub(crate) client: Client,
    buffer: Vec<u8>,
}

impl Rtmp {
    /// Connects and waits until media may flow.
    pub(crate) async fn start(
        to: SocketAddr,
        role: Role,
        app: &str,
        name: &str,
        rng: &mut impl Rng,
        manner: Manner,
    ) -> io::Result<Self> {
        let tcp = dial(to, rng, manner).await?;
        let url =
            StreamUrl::parse(&format!("rtmp://{to}/{app}"), name).map_err(io::Error::other)?;
        let client = Client::new(Instant::now(), rng.random(), ClientConfig::new(url, role));
        let mut this = Self { tcp, client, buffer: vec![0; 65_536] };
        let started = async {
            let mut said = String::new();
            loop {
                match this.next().await? {
                    Event::PublishStarted | Event::PlayStarted => return Ok(()),
                    Event::Status { level, code, .. } if level == "error" => said = code,
                    Event::Closed(close) => {
                        return Err(io::Error::other(format!("{close} {said}")));
                    }
                    _ => {}
                }
            }
        };
        tokio::time::timeout(START, started).await.map_err(|_| io::ErrorKind::TimedOut)??;
        Ok(this)
    }

    /// The next event. Not cancel safe while there is something to send; players have nothing.
    pub(crate) async fn next(&mut self) -> io::Result<Event> {
        self.next_most(usize::MAX).await
    }

    /// The same with at most so many bytes to a read.
    pub(crate) async fn next_most(&mut self, most: usize) -> io::Result<Event> {
        let most = most.min(self.buffer.len());
        loop {
            if let Some(event) = self.client.poll_event() {
                return Ok(event);
            }
            self.flush().await?;
            let n = self.tcp.read(&mut self.buffer[..most]).await?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.client.handle_bytes(&self.buffer[..n]);
        }
    }

    /// Sends what there is to send.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        while let Some(bytes) = self.client.poll_transmit() {
            self.tcp.write_all(&bytes).await?;
        }
        Ok(())
    }

    /// Sends one message.
    pub(crate) async fn send(&mut self, media: Media, ms: u32, body: &[u8]) -> io::Result<()> {
        self.client.send_media(media, ms, body).map_err(io::Error::other)?;
        self.flush().await
    }

    /// Takes what the server says without waiting for it, so that it may go on talking.
    pub(crate) fn hear(&mut self) -> io::Result<()> {
        loop {
            match self.tcp.try_read(&mut self.buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.client.handle_bytes(&self.buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        while let Some(event) = self.client.poll_event() {
            if let Event::Closed(close) = event {
                return Err(io::Error::other(close.to_string()));
            }
        }
        Ok(())
    }
}
