//! The protocols there are: the one table that names them all.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use gate::http::{HttpGate, Mount};
use gate::{Gate, Host};
use hls::HlsGate;
use httpflv::HttpFlv;
use record::Recorder;
use rtmp::RtmpGate;

/// What this build can do, in the words of `/api/v1/features`.
pub(crate) const FEATURES: &[&str] =
    &["ssl", "hls", "callback", "api", "httpd", "dvr", "stat", "tcp_nodelay", "mr"];

/// Longest wait for recordings to be finished at the end of the process.
const LAST_FILES: Duration = Duration::from_secs(3);

/// Everything that serves.
pub(crate) struct Gates {
    rtmp: Arc<RtmpGate>,
    http: Arc<HttpGate>,
    hls: HlsGate,
    recorder: Recorder,
}

impl Gates {
    /// Makes the gates. What speaks HTTP is put onto the HTTP ports, between `first`, who are
    /// asked before, and `last`.
    pub(crate) fn new(
        host: &Arc<Host>,
        first: Vec<Arc<dyn Mount>>,
        last: Vec<Arc<dyn Mount>>,
    ) -> io::Result<Self> {
        let hls = HlsGate::start(host)?;
        let recorder = Recorder::start(host)?;
        let http = Arc::new(HttpGate::default());
        // Segments before live streams: both end with .ts.
        let live: [Arc<dyn Mount>; 2] = [Arc::new(hls.clone()), Arc::new(HttpFlv)];
        for mount in first.into_iter().chain(live).chain(last) {
            http.mount(mount);
        }
        let (segments, files, weak) = (hls.clone(), recorder.clone(), Arc::downgrade(host));
        host.hub.set_watchers(vec![Box::new(move |shard, event| {
            if let Some(host) = weak.upgrade() {
                segments.on_stream(&host, shard, event);
                files.on_stream(&host, shard, event);
            }
        })]);
        Ok(Self { rtmp: Arc::default(), http, hls, recorder })
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

    /// Everything that was packaged is where it belongs; at the end of the process.
    pub(crate) fn flush(&self) {
        self.hls.flush();
        self.recorder.flush(LAST_FILES);
    }
}
