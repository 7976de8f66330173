//! Files of virtual hosts that turn players away: they go only to players who were let in.
//!
//! Playlists of live streams are asked for by [`crate::gate`], which opens a session. Everything
//! else that a packager may have written, in memory or on disk, needs the mark of a live session
//! on the stream it belongs to.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use gate::conf::{Config, VhostSection};
use gate::host::strip_extension;
use gate::options::guards_players;
use hub::StreamKey;
use percent_encoding::percent_decode_str;

use crate::HlsConfig;
use crate::path::StreamName;
use crate::template::fits;

/// What stands behind a name while its file is being written.
const UNFINISHED: &[&str] = &[".tmp", ".temp"];

/// How a virtual host names its files.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    vhost: String,
    path: String,
    ts_file: String,
    m3u8_file: String,
    on_disk: bool,
}

impl Files {
    pub(crate) fn of(vhost: &VhostSection<'_>) -> Self {
        let config = HlsConfig::read(vhost);
        Self {
            vhost: vhost.name().to_owned(),
            path: config.path,
            ts_file: config.ts_file,
            m3u8_file: config.m3u8_file,
            on_disk: config.storage.on_disk(),
        }
    }

    /// Whether it may be a file of this stream, or of any.
    fn may_be(&self, key: Option<&StreamKey>, path: &str) -> bool {
        let name = key.map(|key| StreamName {
            vhost: key.vhost.to_string(),
            app: key.app.to_string(),
            stream: key.name.to_string(),
        });
        let template = if path.ends_with(".m3u8") { &self.m3u8_file } else { &self.ts_file };
        fits(template, &self.vhost, name.as_ref(), path)
    }

    /// Whether the path is that of a file in the web root which lies outside the folder of HLS:
    /// a film beside it, whatever its name.
    fn leaves(&self, web: &str, path: &str) -> bool {
        let file = Path::new(web).join(path).canonicalize();
        let home = Path::new(&self.path).canonicalize();
        match (file, home) {
            (Ok(file), Ok(home)) => !file.starts_with(home),
            (Ok(_), Err(_)) => true,
            (Err(_), _) => false,
        }
    }

    /// Whether a segment, by its path beneath the root of the files, is of this stream.
    pub(crate) fn is_of(&self, key: &StreamKey, path: &str) -> bool {
        *key.vhost == *self.vhost && self.may_be(Some(key), path)
    }
}

/// The virtual hosts with HLS that turn players away, of the snapshot seen last.
#[derive(Default)]
pub(crate) struct Guards(Mutex<Option<Seen>>);

type Seen = (Arc<Config>, Arc<[Files]>);

impl Guards {
    fn of(&self, config: &Arc<Config>) -> Arc<[Files]> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*seen {
            Some((old, files)) if Arc::ptr_eq(old, config) => files.clone(),
            _ => {
                let vhosts = config.vhosts();
                let guarded = vhosts.iter().filter(|v| v.bool("hls.enabled") && guards_players(v));
                let files: Arc<[Files]> = guarded.map(Files::of).collect();
                *seen = Some((config.clone(), files.clone()));
                files
            }
        }
    }

    /// Whether a request that nobody has answered yet must not reach the files. `host` is the
    /// virtual host that was asked, `viewer` the stream of the session whose mark it carries.
    pub(crate) fn refuses(
        &self,
        config: &Arc<Config>,
        host: &str,
        raw_path: &str,
        viewer: Option<&StreamKey>,
    ) -> bool {
        let guards = self.of(config);
        if guards.is_empty() {
            return false;
        }
        let Some(path) = cleaned(raw_path) else { return false };
        let web = config.root().str("http_server.dir");
        let beneath = |files: &Files| super::gate::beneath(&files.path, web, path.clone());
        let asked = path.clone();
        let own = config.vhost(host).map(|vhost| vhost.name().to_owned());
        let mut guarded = guards.iter().filter(|files| {
            let path = beneath(files);
            let here = || own.as_deref() == Some(&*files.vhost) && !files.leaves(web, &asked);
            let there = || files.on_disk && Path::new(&files.path).join(&path).is_file();
            files.may_be(None, &path) && (here() || there())
        });
        let Some(first) = guarded.next() else { return false };
        // A player of another host that keeps its files in the same folder is a player, too.
        let allowed = viewer.and_then(|key| Some((key, config.vhost(&key.vhost)?)));
        let allowed = allowed.is_some_and(|(key, vhost)| {
            let files = Files::of(&vhost);
            files.path == first.path && files.is_of(key, &beneath(&files))
        });
        !allowed
    }
}

/// A path as the file server understands it, if it may be that of a playlist or a segment.
fn cleaned(raw: &str) -> Option<String> {
    let path = percent_decode_str(raw).decode_utf8().ok()?;
    let path: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let mut path = path.join("/");
    for end in UNFINISHED {
        if let Some(rest) = path.strip_suffix(end) {
            path = rest.to_owned();
        }
    }
    (path.ends_with(".ts") || path.ends_with(".m3u8")).then_some(path)
}

/// The stream whose HTTP-TS has this path, by the usual template.
pub(crate) fn live_key(vhost: &str, raw_path: &str) -> Option<StreamKey> {
    let path = cleaned(raw_path)?;
    let (app, file) = path.rsplit_once('/')?;
    Some(StreamKey::new(vhost, app, strip_extension(file)))
}

#[cfg(test)]
mod tests {
    use gate::conf::{Directive, Kind, Node, Table};

    use super::*;

    const ROWS: &[Directive] = &[
        Directive::new("http_server", Kind::Block),
        Directive::new("http_server.dir", Kind::Path).default("./html"),
        Directive::new("vhost", Kind::Block).repeated(),
        Directive::new("vhost.enabled", Kind::Bool).default("on"),
        Directive::new("vhost.security", Kind::Block),
        Directive::new("vhost.security.enabled", Kind::Bool).default("off"),
        Directive::new("vhost.hls", Kind::Block),
        Directive::new("vhost.hls.enabled", Kind::Bool).default("on"),
        Directive::new("vhost.hls.hls_fragment", Kind::FloatSeconds).default("2"),
        Directive::new("vhost.hls.hls_td_ratio", Kind::Float).default("1"),
        Directive::new("vhost.hls.hls_aof_ratio", Kind::Float).default("2"),
        Directive::new("vhost.hls.hls_window", Kind::FloatSeconds).default("10"),
        Directive::new("vhost.hls.hls_on_error", Kind::Str),
        Directive::new("vhost.hls.hls_path", Kind::Path).default("./html"),
        Directive::new("vhost.hls.hls_m3u8_file", Kind::Str).default("[app]/[stream].m3u8"),
        Directive::new("vhost.hls.hls_ts_file", Kind::Str).default("[app]/[stream]-[seq].ts"),
        Directive::new("vhost.hls.hls_ts_floor", Kind::Bool).default("off"),
        Directive::new("vhost.hls.hls_entry_prefix", Kind::Str),
        Directive::new("vhost.hls.hls_acodec", Kind::Str),
        Directive::new("vhost.hls.hls_vcodec", Kind::Str),
        Directive::new("vhost.hls.hls_cleanup", Kind::Bool).default("on"),
        Directive::new("vhost.hls.hls_dispose", Kind::FloatSeconds).default("120"),
        Directive::new("vhost.hls.hls_wait_keyframe", Kind::Bool).default("on"),
        Directive::new("vhost.hls.hls_nb_notify", Kind::Int).default("64"),
        Directive::new("vhost.hls.hls_dts_directly", Kind::Bool).default("on"),
        Directive::new("vhost.hls.hls_ctx", Kind::Bool).default("on"),
        Directive::new("vhost.hls.hls_ts_ctx", Kind::Bool).default("on"),
        Directive::new("vhost.hls.hls_storage", Kind::Str).default("disk"),
    ];

    /// `guarded` turns players away, `open` does not; both keep their files in one folder.
    fn config(folder: &str) -> Arc<Config> {
        let vhost = |name: &str, on: &str| {
            let mut vhost = Node::block("vhost", &[name]);
            let mut security = Node::block("security", &[]);
            security.children = Some(vec![Node::line("enabled", &[on])]);
            let mut hls = Node::block("hls", &[]);
            hls.children = Some(vec![Node::line("hls_path", &[folder])]);
            vhost.children = Some(vec![security, hls]);
            vhost
        };
        let mut server = Node::block("http_server", &[]);
        server.children = Some(vec![Node::line("dir", &[folder])]);
        let nodes = vec![server, vhost("guarded", "on"), vhost("open", "off")];
        Arc::new(Config::new(Arc::new(Table::new([ROWS])), nodes, Default::default(), vec![]))
    }

    #[test]
    fn a_segment_needs_the_session_of_its_stream() {
        let (guards, config) = (Guards::default(), config("./html"));
        let refuses = |path: &str, viewer: Option<&StreamKey>| {
            guards.refuses(&config, "guarded", path, viewer)
        };
        let cam = StreamKey::new("guarded", "live", "cam");
        for path in [
            "/live/cam-1.ts",
            "//live///cam-1.ts",
            "/live/cam-1.ts.tmp",
            "/live/cam%2D1.ts",
            "/live/cam.m3u8",
            "/live/cam.m3u8.temp",
        ] {
            assert!(refuses(path, None), "{path}");
            assert!(!refuses(path, Some(&cam)), "{path}");
            assert!(refuses(path, Some(&StreamKey::new("guarded", "live", "other"))), "{path}");
            assert!(refuses(path, Some(&StreamKey::new("open", "live", "other"))), "{path}");
        }
        assert!(!refuses("/live/cam.ts", None), "no segment");
        assert!(!refuses("/player/index.html", None));
        assert!(refuses("/live/cam-2-1.ts", Some(&cam)), "of the stream cam-2");
    }

    #[test]
    fn the_name_of_another_host_opens_no_file_of_a_guarded_one() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("live")).unwrap();
        std::fs::write(folder.path().join("live/cam-1.ts"), "x").unwrap();
        let (guards, config) = (Guards::default(), config(folder.path().to_str().unwrap()));
        for host in ["open", "nobody.test"] {
            assert!(guards.refuses(&config, host, "/live/cam-1.ts", None), "{host}");
            assert!(!guards.refuses(&config, host, "/live/cam-2.ts", None), "{host}: no such file");
        }
        let own = StreamKey::new("open", "live", "cam");
        assert!(!guards.refuses(&config, "open", "/live/cam-1.ts", Some(&own)));
    }

    #[test]
    fn a_film_beside_the_folder_of_hls_is_a_film() {
        let web = tempfile::tempdir().unwrap();
        let at = |name: &str| web.path().join(name);
        for folder in ["hls/live", "vod"] {
            std::fs::create_dir_all(at(folder)).unwrap();
        }
        for file in ["hls/live/cam-1.ts", "vod/film-1.ts", "vod/film.m3u8"] {
            std::fs::write(at(file), "x").unwrap();
        }
        std::os::unix::fs::symlink(at("hls"), at("other")).unwrap();
        let mut server = Node::block("http_server", &[]);
        server.children = Some(vec![Node::line("dir", &[web.path().to_str().unwrap()])]);
        let config = config(at("hls").to_str().unwrap());
        let nodes = [vec![server], config.nodes()[1..].to_vec()].concat();
        let config = Config::new(config.table().clone(), nodes, Default::default(), vec![]);
        let (guards, config) = (Guards::default(), Arc::new(config));
        let refuses = |path: &str| guards.refuses(&config, "guarded", path, None);
        assert!(refuses("/hls/live/cam-1.ts"));
        assert!(refuses("/live/cam-1.ts"));
        assert!(refuses("/other/live/cam-1.ts"), "by way of a link");
        assert!(!refuses("/vod/film-1.ts"));
        assert!(!refuses("/vod/film.m3u8"));
    }

    #[test]
    fn a_server_without_rules_asks_for_nothing() {
        let nodes = vec![Node::block("vhost", &["open"])];
        let table = Arc::new(Table::new([ROWS]));
        let config = Arc::new(Config::new(table, nodes, Default::default(), vec![]));
        assert!(!Guards::default().refuses(&config, "open", "/live/cam-1.ts", None));
    }
}
