//! The protocols there are: the one table that names them all.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use control::forward::Forwards;
use gate::http::{HttpGate, Mount};
use gate::{Gate, Host};
use hls::HlsGate;
use httpflv::HttpFlv;
use record::Recorder;
use rtc::RtcGate;
use rtmp::RtmpGate;

/// What this build can do, in the words of `/api/v1/features`.
pub(crate) const FEATURES: &[&str] = &[
    "ssl",
    "hls",
    "callback",
    "api",
    "httpd",
    "dvr",
    "rtc",
    "stat",
    "forward",
    "tcp_nodelay",
    "mr",
];

/// Longest wait for recordings to be finished at the end of the process.
const LAST_FILES: Duration = Duration::from_secs(3);

/// Everything that serves.
pub(crate) struct Gates {
    rtmp: Arc<RtmpGate>,
    http: Arc<HttpGate>,
    hls: HlsGate,
    rtc: Arc<RtcGate>,
    recorder: Recorder,
}

impl Gates {
    /// Makes the gates. What speaks HTTP is put onto the HTTP ports, between `first`, who are
    /// asked before, and `last`; what can push streams is told to `forwards`.
    pub(crate) fn new(
        host: &Arc<Host>,
        forwards: &Forwards,
        first: Vec<Arc<dyn Mount>>,
        last: Vec<Arc<dyn Mount>>,
    ) -> io::Result<Self> {
        let hls = HlsGate::start(host)?;
        let rtc = Arc::new(RtcGate::start(host)?);
        let recorder = Recorder::start(host)?;
        let http = Arc::new(HttpGate::default());
        // Segments before live streams: both end with .ts.
        let live: [Arc<dyn Mount>; 2] = [Arc::new(hls.clone()), Arc::new(HttpFlv)];
        http.mount(rtc.door());
        rtc.lodge_at(&http);
        for mount in first.into_iter().chain(live).chain(last) {
            http.mount(mount);
        }
        let (segments, files, weak) = (hls.clone(), recorder.clone(), Arc::downgrade(host));
        let pushed = forwards.clone();
        host.hub.set_watchers(vec![
            Box::new(move |shard, event| {
                if let Some(host) = weak.upgrade() {
                    segments.on_stream(&host, shard, event);
                    files.on_stream(&host, shard, event);
                }
            }),
            Box::new(move |_, event| pushed.on_stream(event)),
        ]);
        let rtmp: Arc<RtmpGate> = Arc::default();
        forwards.set_roles(vec![rtmp.clone()]);
        Ok(Self { rtmp, http, hls, rtc, recorder })
    }

    /// As the reload and the start see them.
    pub(crate) fn all(&self) -> Vec<Arc<dyn Gate>> {
        vec![self.rtmp.clone(), self.http.clone(), self.rtc.clone()]
    }

    /// Whether WebRTC is served: not where its port was taken and nobody had asked for it.
    pub(crate) fn webrtc_is_on(&self) -> bool {
        self.rtc.is_on()
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
