//! The protocols there are: the one table that names them all.

use std::sync::Arc;

use gate::http::HttpGate;
use gate::{Gate, Host};
use rtmp::RtmpGate;

/// Everything that serves.
pub(crate) struct Gates {
    pub(crate) rtmp: Arc<RtmpGate>,
    pub(crate) http: Arc<HttpGate>,
}

impl Gates {
    /// Makes the gates and puts what speaks HTTP onto the HTTP ports.
    pub(crate) fn new(_host: &Arc<Host>) -> Self {
        let http = Arc::new(HttpGate::default());
        Self { rtmp: Arc::default(), http }
    }

    /// As the reload and the start see them.
    pub(crate) fn all(&self) -> Vec<Arc<dyn Gate>> {
        vec![self.rtmp.clone(), self.http.clone()]
    }

    /// Reads certificates again whose files have changed.
    pub(crate) fn refresh_certificates(&self) {
        self.rtmp.listeners().refresh_certificates();
        self.http.listeners().refresh_certificates();
    }
}
