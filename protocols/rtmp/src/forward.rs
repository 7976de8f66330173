//! Streams that are pushed to other servers: the forward role of RTMP.
//!
//! A forwarding is a player of the stream on one side, with its place in the RTMP log, and a
//! publisher on a connection to the other server. However slow or dead that one is, it holds what
//! any player holds: a place, and what the kernel keeps for a socket.

mod target;
mod upstream;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use gate::Forwarding;
use gate::dial::TrustError;
use gate::forward::State;
use gate::session::Kick;
use hub::{Shard, StreamKey};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::events;
use crate::wire::url::StreamUrl;
use upstream::Upstream;

pub(crate) use target::takes;

/// From looking the name up to the connection, as with SRS.
const CONNECT: Duration = Duration::from_secs(3);
/// For what comes then until the other server takes the stream, in total: TLS, the handshake and
/// three calls are seven round trips, which a satellite link does in five seconds.
const TAKE: Duration = Duration::from_secs(10);
/// Pause before the next try, as with SRS.
const PAUSE: Duration = Duration::from_secs(3);
/// Tries in a row that fail before the pauses grow: what is merely restarted is back by then.
const PATIENT: u32 = 5;
/// Longest pause. Who comes back after hours waits for half of it.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Is ready when the forwarding is to stop.
type Stop = Pin<Box<dyn Future<Output = ()>>>;

/// Why a connection does not come about.
#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("the name of the server is not found: {0}")]
    Name(io::Error),
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    #[error("no connection within {} s", CONNECT.as_secs())]
    Slow,
    #[error("TLS fails: {0}")]
    Tls(io::Error),
    #[error("no TLS within {} s", TAKE.as_secs())]
    SlowTls,
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("{0} is a link-local address, where answers of a backend may not lead")]
    LinkLocal(IpAddr),
    #[error("the destination is this server and this stream itself")]
    Itself,
}

impl DialError {
    /// Another try cannot help.
    const fn is_final(&self) -> bool {
        matches!(self, Self::Itself | Self::LinkLocal(_))
    }
}

/// How a connection ended, for what comes next.
enum After {
    /// Told to stop.
    Stopped,
    /// Ended from here, not to be made again.
    Kicked,
    /// Lost. It had worked for a while, or not.
    Lost { proven: bool, why: String },
}

/// Forwards on this shard until told to stop.
pub(crate) fn spawn(shard: &Rc<Shard>, task: Forwarding) {
    let id = task.publisher.clone();
    shard.spawn(id, run(shard.clone(), task));
}

async fn run(shard: Rc<Shard>, task: Forwarding) {
    let (publisher, stream) = (&*task.publisher, task.stream.key.url());
    let to = target::shown(&task.destination);
    let url = match target::target(&task.destination, &task.detail) {
        Ok(url) => url,
        Err(e) => {
            let why = format!("not an address of RTMP: {e}");
            return events::not_forwarded(publisher, &stream, &to, &why);
        }
    };
    let mut stop: Stop = Box::pin(task.stopped());
    let mut failures = 0u32;
    loop {
        task.progress.set(State::Connecting);
        let dialled = tokio::select! {
            biased;
            () = &mut stop => return,
            dialled = dial(&task, &url) => dialled,
        };
        let why = match dialled {
            Ok(connection) => {
                let upstream = Upstream::new(&shard, &task, &url, connection);
                match upstream.run(&task, &mut stop).await {
                    After::Stopped | After::Kicked => return,
                    After::Lost { proven, why } => {
                        failures = if proven { 0 } else { failures };
                        why
                    }
                }
            }
            Err(e) if e.is_final() => {
                let why = e.to_string();
                task.progress.tally().failures.fetch_add(1, Relaxed);
                return events::not_forwarded(publisher, &stream, &to, &why);
            }
            Err(e) => e.to_string(),
        };
        failures = failures.saturating_add(1);
        task.progress.tally().failures.fetch_add(1, Relaxed);
        events::forward_waits(publisher, &stream, &to, failures, &why);
        task.progress.set(State::Waiting);
        tokio::select! {
            biased;
            () = &mut stop => return,
            () = tokio::time::sleep(pause(failures)) => {}
        }
    }
}

/// How long to wait after so many failures in a row.
fn pause(failures: u32) -> Duration {
    let doubled = failures.saturating_sub(PATIENT).min(8);
    PAUSE.saturating_mul(1 << doubled).min(LONGEST_PAUSE)
}

/// Connects to the other server, and begins TLS where that was asked for.
async fn dial(task: &Forwarding, url: &StreamUrl) -> Result<upstream::Connection, DialError> {
    let connect = async {
        let found = task.dial.find(&url.host, url.port).await.map_err(DialError::Name)?;
        let allowed = match task.from_outside {
            true => outside(found)?,
            false => found,
        };
        TcpStream::connect(allowed.as_slice()).await.map_err(DialError::Connect)
    };
    let tcp = timeout(CONNECT, connect).await.map_err(|_| DialError::Slow)??;
    let _ = tcp.set_nodelay(true);
    let ends = (tcp.local_addr(), tcp.peer_addr());
    let (Ok(local), Ok(peer)) = ends else {
        return Err(DialError::Connect(io::ErrorKind::NotConnected.into()));
    };
    if is_itself(task, url, local, peer) {
        return Err(DialError::Itself);
    }
    if url.schema != "rtmps" {
        return Ok((gate::Socket::plain(tcp), peer));
    }
    let connector = task.dial.connector(&task.ca_file)?;
    let invalid = |e| DialError::Tls(io::Error::other(e));
    let name = ServerName::try_from(url.host.clone()).map_err(invalid)?;
    let begun = timeout(TAKE, connector.connect(name, tcp)).await;
    let tls = begun.map_err(|_| DialError::SlowTls)?.map_err(DialError::Tls)?;
    Ok((gate::Socket::tls(tls), peer))
}

/// Without addresses that only this network segment has: clouds keep secrets there.
fn outside(found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, DialError> {
    let is_local = |at: &SocketAddr| match at.ip().to_canonical() {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let (local, allowed): (Vec<_>, Vec<_>) = found.into_iter().partition(is_local);
    match (local.first(), allowed.is_empty()) {
        (Some(refused), true) => Err(DialError::LinkLocal(refused.ip())),
        _ => Ok(allowed),
    }
}

/// Whether the connection leads back to one of our own ports, and there to the same stream. What
/// an address translator on the way hides cannot be known.
fn is_itself(task: &Forwarding, url: &StreamUrl, local: SocketAddr, peer: SocketAddr) -> bool {
    let (here, there) = (local.ip().to_canonical(), peer.ip().to_canonical());
    let machine = here == there || (here.is_loopback() && there.is_loopback());
    let config = task.host.config();
    let root = config.root();
    let mut ports = root.listen("listen");
    if root.bool("rtmps.enabled") {
        ports.extend(root.listen("rtmps.listen"));
    }
    let Some(vhost) = task.host.resolve_vhost(&url.vhost) else { return false };
    let same = StreamKey::new(&vhost, &url.app, url.stream_stem()) == task.stream.key;
    machine && same && ports.iter().any(|listen| listen.port == peer.port())
}

/// What a kick means for a forwarding.
fn kicked(why: Kick) -> &'static str {
    match why {
        Kick::Api => "kicked off through the API, until the stream is published anew",
        Kick::TakenOver => "another publisher has taken the stream over",
        Kick::Shutdown => "the server stops",
        Kick::Vhost => "the virtual host was removed or disabled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_only_when_it_fails_again_and_again() {
        let seconds: Vec<u64> = (1..12).map(|n| pause(n).as_secs()).collect();
        assert_eq!(seconds, [3, 3, 3, 3, 3, 6, 12, 24, 30, 30, 30]);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }

    #[test]
    fn an_answer_may_not_lead_to_the_network_segment_itself() {
        let at = |text: &str| -> SocketAddr { text.parse().unwrap() };
        let refused =
            [at("169.254.169.254:1935"), at("[fe80::1]:1935"), at("[::ffff:169.254.1.1]:1")];
        for one in refused {
            assert!(matches!(outside(vec![one]), Err(DialError::LinkLocal(_))), "{one}");
        }
        let fine = at("10.0.0.9:1935");
        assert_eq!(outside(vec![refused[0], fine]).unwrap(), [fine]);
    }
}
