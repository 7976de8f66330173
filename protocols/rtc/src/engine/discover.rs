//! Asks the STUN server of the configuration for our public address, from the socket of the media.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rand::Rng as _;
use tokio::sync::Notify;

use super::Engine;
use super::shard::RtcShard;
use super::socket::Sent;
use crate::door::discovery::Discovery;
use crate::wire::stun::{Class, Message, Writer};

/// A server that cannot be resolved, or a socket that is not there yet, is tried again after this.
const RETRY: Duration = Duration::from_secs(10);
/// The same in the first moments, when the socket is on its way to the shard.
const SOON: Duration = Duration::from_millis(200);
const FIRST_TRIES: u32 = 25;

/// What is under way. Answers come to whichever shard the kernel chooses.
#[derive(Debug, Default)]
pub(crate) struct Asking {
    machine: Mutex<Option<Discovery>>,
    changed: Notify,
}

impl Asking {
    /// The configuration is another one.
    pub(crate) fn reconfigured(&self) {
        self.changed.notify_one();
    }

    fn machine(&self) -> std::sync::MutexGuard<'_, Option<Discovery>> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Takes a datagram of no session if it is the answer that is waited for.
    pub(crate) fn heard_stun(&self, from: SocketAddr, datagram: &[u8]) -> bool {
        // Binding success and error: whatever else comes must not cost a lock.
        if !matches!(datagram, [0x01, 0x01 | 0x11, ..]) {
            return false;
        }
        let mut machine = self.stun.machine();
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let Some(machine) = machine.as_mut().filter(|m| m.server() == from) else { return false };
        let Ok(message) = Message::decode(datagram) else { return false };
        if machine.answered(Instant::now(), from, message.transaction, message.mapped)
            && let Some(public) = machine.public()
        {
            tracing::info!(%public, server = %from, "our public address, by the STUN server");
            self.addresses.set_public(Some(public));
        }
        true
    }
}

/// Asks again and again, on the shard whose socket it uses, until the process ends.
pub(crate) async fn run(shard: Rc<RtcShard>) {
    let engine = shard.engine().clone();
    let control = &engine.host.control;
    let mut tries = 0u32;
    loop {
        let config = engine.config.load_full();
        let wanted = config.stun_server.as_ref().filter(|_| config.enabled);
        *engine.stun.machine() = None;
        if wanted.is_none() {
            engine.addresses.set_public(None);
            engine.stun.changed.notified().await;
            tries = 0;
            continue;
        }
        let server = engine.addresses.stun_server(control, &config).await;
        let way = server.and_then(|server| Some((server, shard.socket_toward(server)?)));
        let Some((server, (socket, to))) = way else {
            let patience = if tries < FIRST_TRIES { SOON } else { RETRY };
            if tries == FIRST_TRIES {
                let name = config.stun_server.as_deref().unwrap_or_default();
                tracing::warn!("rtc_server.stun_server {name} cannot be asked: no address of it");
            }
            tries = tries.saturating_add(1);
            let _ = tokio::time::timeout(patience, engine.stun.changed.notified()).await;
            continue;
        };
        *engine.stun.machine() = Some(Discovery::new(server, Instant::now()));
        // Over when the configuration changes; the next round tells whether anything did for us.
        loop {
            let (request, public, next) = {
                let mut machine = engine.stun.machine();
                let Some(machine) = machine.as_mut() else { break };
                let request = machine.poll(Instant::now(), rand::rng().random());
                (request, machine.public(), machine.deadline())
            };
            if public.is_none() && engine.addresses.public().is_some() {
                tracing::warn!(%server, "the STUN server is silent: our public address is not known");
                engine.addresses.set_public(None);
            }
            if let Some(transaction) = request {
                let bytes = Writer::new(Class::Request, transaction).finish(None);
                if socket.send(to, None, &bytes, bytes.len()) != Sent::Yes {
                    tracing::debug!(%server, "the STUN server could not be asked");
                }
            }
            let wait = next.saturating_duration_since(Instant::now());
            if tokio::time::timeout(wait, engine.stun.changed.notified()).await.is_ok() {
                break;
            }
        }
    }
}

impl RtcShard {
    /// A socket that reaches this address, and the address as that socket takes it.
    fn socket_toward(&self, to: SocketAddr) -> Option<(Rc<super::socket::Socket>, SocketAddr)> {
        self.sockets().iter().find_map(|socket| {
            let ip = match (socket.local().ip(), to.ip()) {
                (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => to.ip(),
                (IpAddr::V6(ours), IpAddr::V4(ip)) if ours.is_unspecified() => {
                    ip.to_ipv6_mapped().into()
                }
                _ => return None,
            };
            Some((socket.clone(), SocketAddr::new(ip, to.port())))
        })
    }
}
