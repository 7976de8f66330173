//! The RTMP ports, plain and TLS; and what is pushed to other servers.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;
use gate::conf::Config;
use gate::tls::Certificate;
use gate::{Forward, Forwarding, Gate, Host, ListenerSet, PrepareError, Prepared, Wanted};
use hub::Shard;

use crate::config::limits;
use crate::session::Limits;
use crate::{connection, forward};

/// Serves RTMP and RTMPS, and forwards by them.
#[derive(Default)]
pub struct RtmpGate {
    listeners: Arc<ListenerSet>,
}

impl RtmpGate {
    /// The listening sockets.
    pub fn listeners(&self) -> &ListenerSet {
        &self.listeners
    }

    fn wanted(host: &Arc<Host>, config: &Config) -> Result<Vec<Wanted>, PrepareError> {
        let root = config.root();
        let serve = |secure: bool| -> gate::listen::Handler {
            let (host, limits) = (host.clone(), LimitsInForce::new(host));
            Arc::new(move |shard, served| {
                connection::spawn(&host, limits.of(&host), shard, served, secure);
            })
        };
        let mut wanted: Vec<Wanted> = root
            .listen("listen")
            .into_iter()
            .map(|listen| Wanted {
                listen,
                certificate: None,
                handler: serve(false),
                guest: None,
                label: "RTMP",
            })
            .collect();
        if root.bool("rtmps.enabled") {
            let path = |key| Path::new(root.str(key));
            let certificate = Certificate::load(path("rtmps.cert"), path("rtmps.key"), &[])?;
            wanted.extend(root.listen("rtmps.listen").into_iter().map(|listen| Wanted {
                listen,
                certificate: Some(certificate.clone()),
                handler: serve(true),
                guest: None,
                label: "RTMPS",
            }));
        }
        Ok(wanted)
    }
}

/// The limits of sessions, made once per configuration and shared by them.
struct LimitsInForce(ArcSwap<(Arc<gate::Limits>, Arc<Limits>)>);

impl LimitsInForce {
    fn new(host: &Host) -> Self {
        Self(ArcSwap::from_pointee(Self::make(host.limits())))
    }

    fn make(from: Arc<gate::Limits>) -> (Arc<gate::Limits>, Arc<Limits>) {
        let limits = limits(&from);
        (from, limits)
    }

    fn of(&self, host: &Host) -> Arc<Limits> {
        let now = host.limits();
        let known = self.0.load();
        if Arc::ptr_eq(&known.0, &now) {
            return known.1.clone();
        }
        let made = Self::make(now);
        let limits = made.1.clone();
        self.0.store(Arc::new(made));
        limits
    }
}

impl Gate for RtmpGate {
    fn name(&self) -> &'static str {
        "rtmp"
    }

    fn prepare<'a>(
        &'a self,
        host: &'a Arc<Host>,
        config: &'a Arc<Config>,
    ) -> BoxFuture<'a, Result<Box<dyn Prepared>, PrepareError>> {
        let ready = self.listeners.ready(host, Self::wanted(host, config));
        Box::pin(std::future::ready(ready))
    }

    fn close_listeners(&self) {
        self.listeners.close();
    }

    fn sockets(&self) -> Vec<std::net::TcpListener> {
        self.listeners.sockets()
    }
}

impl Forward for RtmpGate {
    fn takes(&self, destination: &str) -> bool {
        forward::takes(destination)
    }

    fn begin(&self, shard: &Rc<Shard>, task: Forwarding) {
        forward::spawn(shard, task);
    }
}
