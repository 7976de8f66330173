//! The `hls { }` section of a virtual host.
//!
//! The field comments are the reference; each field is named as its directive is, without `hls_`.

use std::time::Duration;

use gate::conf::VhostSection;
use media::Codec;

/// What happens to the publisher when HLS cannot go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnError {
    /// HLS stops for this publish; the stream goes on.
    Ignore,
    /// The publisher is disconnected.
    Disconnect,
    /// What cannot be packaged is passed over; HLS goes on.
    #[default]
    Continue,
}

impl OnError {
    /// From the word in the configuration.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "ignore" => Some(Self::Ignore),
            "disconnect" => Some(Self::Disconnect),
            "continue" => Some(Self::Continue),
            _ => None,
        }
    }
}

/// Where segments and playlists are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Storage {
    /// Files under `hls_path`.
    #[default]
    Disk,
    /// In memory, served by the HTTP server of this process alone; nothing to clean up.
    Memory,
    /// Files, and served from memory.
    Both,
}

impl Storage {
    /// From the word in the configuration.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "disk" => Some(Self::Disk),
            "memory" => Some(Self::Memory),
            "both" => Some(Self::Both),
            _ => None,
        }
    }

    /// Files are written.
    pub const fn on_disk(self) -> bool {
        matches!(self, Self::Disk | Self::Both)
    }

    /// Segments are kept in memory.
    pub const fn in_memory(self) -> bool {
        matches!(self, Self::Memory | Self::Both)
    }
}

/// The codec that `hls_acodec` or `hls_vcodec` names: `Some(None)` for "there is no such track"
/// (`an`, `vn`), `None` for a word that means nothing.
pub fn codec_from_word(word: &str) -> Option<Option<Codec>> {
    match word {
        "aac" => Some(Some(Codec::Aac)),
        "mp3" => Some(Some(Codec::Mp3)),
        "h264" => Some(Some(Codec::H264)),
        "h265" => Some(Some(Codec::H265)),
        "an" | "vn" => Some(None),
        _ => None,
    }
}

/// The directives of `hls { }`.
#[derive(Clone, Debug, PartialEq)]
pub struct HlsConfig {
    /// `enabled`: whether streams are packaged for HLS. Default off.
    pub enabled: bool,
    /// `hls_fragment`: length that a segment should have. Default 10 s.
    pub fragment: Duration,
    /// `hls_td_ratio`: a segment ends at the first key frame behind fragment times this, which is
    /// also the least target duration that a playlist states. Default 1.0.
    pub td_ratio: f64,
    /// `hls_aof_ratio`: a segment ends at any audio frame behind fragment times this. Default 2.1.
    pub aof_ratio: f64,
    /// `hls_window`: how much of the stream a playlist lists. Default 60 s.
    pub window: Duration,
    /// `hls_on_error`: see [`OnError`]. Default `continue`.
    pub on_error: OnError,
    /// `hls_path`: the folder under which files are written. Default `./objs/nginx/html`.
    pub path: String,
    /// `hls_m3u8_file`: the playlist's name under `hls_path`; may contain `[vhost]`, `[app]` and
    /// `[stream]`. Default `[app]/[stream].m3u8`.
    pub m3u8_file: String,
    /// `hls_ts_file`: a segment's name under `hls_path`; may contain `[seq]`, `[duration]` (ms),
    /// `[timestamp]` and the parts of the date too. Default `[app]/[stream]-[seq].ts`.
    pub ts_file: String,
    /// `hls_ts_floor`: `[timestamp]` counts fragments of wall-clock time, and segments are
    /// shortened or lengthened to keep in step with it. Default off.
    pub ts_floor: bool,
    /// `hls_entry_prefix`: put before the segments' names in the playlist. Without a slash at its
    /// end the folder of the playlist is put between. Default empty.
    pub entry_prefix: String,
    /// `hls_acodec`: audio that is declared before any is seen; `None` for `an`. Default `aac`.
    pub acodec: Option<Codec>,
    /// `hls_vcodec`: video that is declared before any is seen; `None` for `vn`. Default `h264`.
    pub vcodec: Option<Codec>,
    /// `hls_cleanup`: delete the files of segments that players need no more. Default on.
    pub cleanup: bool,
    /// `hls_dispose`: delete all files of a stream that has had no media for so long; zero means
    /// never. Default 120 s.
    pub dispose: Duration,
    /// `hls_wait_keyframe`: video segments start at key frames only. Default on.
    pub wait_keyframe: bool,
    /// `hls_nb_notify`: bytes that are read of the answer to `on_hls_notify`. Default 64.
    pub nb_notify: u32,
    /// `hls_dts_directly`: audio keeps the publisher's times; off, they are counted from the
    /// samples, which evens out encoders whose times jitter. Default on.
    pub dts_directly: bool,
    /// `hls_ctx`: each player gets a session by way of a master playlist. Default on.
    pub ctx: bool,
    /// `hls_ts_ctx`: the session's mark is put behind the segments' names too. Default on.
    pub ts_ctx: bool,
    /// `hls_storage`: `disk`, `memory` or `both`. Default `disk`.
    pub storage: Storage,
}

impl Default for HlsConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            fragment: Duration::from_secs(10),
            td_ratio: 1.0,
            aof_ratio: 2.1,
            window: Duration::from_secs(60),
            on_error: OnError::default(),
            path: "./objs/nginx/html".to_owned(),
            m3u8_file: "[app]/[stream].m3u8".to_owned(),
            ts_file: "[app]/[stream]-[seq].ts".to_owned(),
            ts_floor: false,
            entry_prefix: String::new(),
            acodec: Some(Codec::Aac),
            vcodec: Some(Codec::H264),
            cleanup: true,
            dispose: Duration::from_secs(120),
            wait_keyframe: true,
            nb_notify: 64,
            dts_directly: true,
            ctx: true,
            ts_ctx: true,
            storage: Storage::default(),
        }
    }
}

impl HlsConfig {
    /// From a virtual host's section.
    pub fn read(vhost: &VhostSection<'_>) -> Self {
        let default = Self::default();
        let hls = |name: &str| format!("hls.{name}");
        let text = |name: &str| vhost.str(&hls(name)).to_owned();
        let bool = |name: &str| vhost.bool(&hls(name));
        let time = |name: &str| vhost.seconds(&hls(name));
        let codec = |name: &str, default: Option<Codec>| {
            codec_from_word(vhost.str(&hls(name))).unwrap_or(default)
        };
        Self {
            enabled: bool("enabled"),
            // Shorter would be a segment for each frame, longer than an hour a file for each show.
            fragment: time("hls_fragment")
                .clamp(Duration::from_millis(200), Duration::from_secs(3600)),
            td_ratio: vhost.float("hls.hls_td_ratio"),
            aof_ratio: vhost.float("hls.hls_aof_ratio"),
            window: time("hls_window"),
            on_error: OnError::from_word(vhost.str("hls.hls_on_error")).unwrap_or(default.on_error),
            path: text("hls_path"),
            m3u8_file: text("hls_m3u8_file"),
            ts_file: text("hls_ts_file"),
            ts_floor: bool("hls_ts_floor"),
            entry_prefix: text("hls_entry_prefix"),
            acodec: codec("hls_acodec", default.acodec),
            vcodec: codec("hls_vcodec", default.vcodec),
            cleanup: bool("hls_cleanup"),
            dispose: time("hls_dispose"),
            wait_keyframe: bool("hls_wait_keyframe"),
            nb_notify: u64::try_from(vhost.int("hls.hls_nb_notify"))
                .ok()
                .and_then(|n| n.try_into().ok())
                .unwrap_or(default.nb_notify),
            dts_directly: bool("hls_dts_directly"),
            ctx: bool("hls_ctx"),
            ts_ctx: bool("hls_ts_ctx"),
            storage: Storage::from_word(vhost.str("hls.hls_storage")).unwrap_or(default.storage),
        }
    }
}
