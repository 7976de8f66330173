//! One connection: a socket that never blocks, in the clear or inside TLS.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mio::net::TcpStream;
use rustix::net::RecvFlags;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};
use socket2::{Domain, Protocol, Socket, Type};

use crate::fault::Fault;

/// What a read gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// So many bytes, and there may be more.
    Bytes(usize),
    /// So many bytes, and that was all.
    Last(usize),
    /// Nothing for now.
    Nothing,
    /// The other side is done.
    End,
}

/// A connection.
pub(crate) struct Link {
    tcp: TcpStream,
    tls: Option<Box<ClientConnection>>,
    connected: bool,
}

impl Link {
    /// Begins to connect.
    pub(crate) fn connect(
        to: SocketAddr,
        from: Option<IpAddr>,
        tls: Option<(&Arc<ClientConfig>, &str)>,
    ) -> Result<Self, Fault> {
        let tls = match tls {
            None => None,
            Some((config, host)) => {
                let name = ServerName::try_from(host.to_owned())
                    .map_err(|_| Fault::Tls(format!("{host} is no name of a server")))?;
                let session = ClientConnection::new(config.clone(), name)
                    .map_err(|e| Fault::Tls(e.to_string()))?;
                Some(Box::new(session))
            }
        };
        let tcp = open(to, from).map_err(|e| Fault::socket(&e))?;
        Ok(Self { tcp, tls, connected: false })
    }

    /// The socket, to be registered.
    pub(crate) const fn socket(&mut self) -> &mut TcpStream {
        &mut self.tcp
    }

    /// Whether the connection stands; asked when the socket has become writable.
    pub(crate) fn check_connected(&mut self) -> Result<bool, Fault> {
        if self.connected {
            return Ok(true);
        }
        if let Some(error) = self.tcp.take_error().map_err(|e| Fault::socket(&e))? {
            return Err(Fault::socket(&error));
        }
        match self.tcp.peer_addr() {
            Ok(_) => {
                self.connected = true;
                let _ = self.tcp.set_nodelay(true);
                Ok(true)
            }
            Err(e) if e.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(e) => Err(Fault::socket(&e)),
        }
    }

    /// In the clear, so that bytes may be thrown away without a look.
    pub(crate) const fn is_plain(&self) -> bool {
        self.tls.is_none()
    }

    /// Reads what is there.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<Got, Fault> {
        let Some(tls) = &mut self.tls else {
            return match self.tcp.read(buffer) {
                Ok(0) => Ok(Got::End),
                // A stream that gives less than was asked for is empty (epoll(7)).
                Ok(n) if n < buffer.len() => Ok(Got::Last(n)),
                Ok(n) => Ok(Got::Bytes(n)),
                Err(e) => nothing(&e),
            };
        };
        loop {
            match tls.reader().read(buffer) {
                Ok(0) => return Ok(Got::End),
                Ok(n) => return Ok(Got::Bytes(n)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                // The end came without TLS's own goodbye.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(Got::End),
                Err(e) => return Err(Fault::Tls(e.to_string())),
            }
            match tls.read_tls(&mut self.tcp) {
                Ok(0) => return Ok(Got::End),
                Ok(_) => {}
                Err(e) => return nothing(&e),
            }
            tls.process_new_packets().map_err(|e| Fault::Tls(e.to_string()))?;
        }
    }

    /// Throws away what is there, inside the kernel: `MSG_TRUNC` on a stream copies nothing
    /// (tcp(7)). `buffer` says how much at most, and is not written to.
    pub(crate) fn discard(&mut self, buffer: &mut [u8]) -> Result<Got, Fault> {
        let most = buffer.len();
        let flags = RecvFlags::TRUNC | RecvFlags::DONTWAIT;
        match rustix::net::recv(&self.tcp, buffer, flags) {
            Ok((_, 0)) => Ok(Got::End),
            Ok((_, n)) if n < most => Ok(Got::Last(n)),
            Ok((_, n)) => Ok(Got::Bytes(n)),
            Err(e) => nothing(&e.into()),
        }
    }

    /// Writes as much of `out` as goes, and forgets it there.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let Some(tls) = &mut self.tls else {
            let mut done = 0;
            while let Some(rest) = out.get(done..).filter(|rest| !rest.is_empty()) {
                match self.tcp.write(rest) {
                    Ok(n) => done += n,
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) => {
                        nothing(&e)?;
                        break;
                    }
                }
            }
            forget(out, done);
            return Ok(());
        };
        loop {
            let taken = tls.writer().write(out).map_err(|e| Fault::Tls(e.to_string()))?;
            forget(out, taken);
            if !tls.wants_write() {
                return Ok(());
            }
            match tls.write_tls(&mut self.tcp) {
                Ok(_) => {}
                Err(e) => return nothing(&e).map(|_| ()),
            }
        }
    }
}

/// Written bytes leave; an empty buffer gives its memory back, since most players say little and
/// only once.
fn forget(out: &mut Vec<u8>, done: usize) {
    if done == out.len() {
        if out.capacity() > 64 * 1024 {
            *out = Vec::new();
        } else {
            out.clear();
        }
    } else {
        out.drain(..done);
    }
}

/// An error that only means "later", or the fault that it is.
fn nothing(error: &io::Error) -> Result<Got, Fault> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected => Ok(Got::Nothing),
        io::ErrorKind::Interrupted => Ok(Got::Nothing),
        _ => Err(Fault::socket(error)),
    }
}

fn open(to: SocketAddr, from: Option<IpAddr>) -> io::Result<TcpStream> {
    let Some(from) = from else { return TcpStream::connect(to) };
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    match socket.connect(&to.into()) {
        Ok(()) => {}
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        Err(e) => return Err(e),
    }
    Ok(TcpStream::from_std(socket.into()))
}
