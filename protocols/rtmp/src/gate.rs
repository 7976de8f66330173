//! The RTMP ports, plain and TLS.

use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use gate::conf::Config;
use gate::tls::Certificate;
use gate::{Gate, Host, ListenerSet, PrepareError, Prepared, Wanted};

use crate::connection;

/// Serves RTMP and RTMPS.
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
            let host = host.clone();
            Arc::new(move |shard, served| connection::spawn(&host, shard, served, secure))
        };
        let mut wanted: Vec<Wanted> = root
            .listen("listen")
            .into_iter()
            .map(|listen| Wanted {
                listen,
                certificate: None,
                handler: serve(false),
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
                label: "RTMPS",
            }));
        }
        Ok(wanted)
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
}
