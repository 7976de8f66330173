//! The `http_remux` section of a virtual host. Its directives and their documentation stand in
//! the table of the configuration.

use std::time::Duration;

use gate::conf::VhostSection;

use crate::packager::{MAX_FAST_CACHE, Tracks};
use crate::path::Template;

/// How long viewers are kept when the publisher leaves (P6: they outlive its connection): an
/// encoder that restarts, or a network that is changed, is back within it. At half, slow encoders
/// lose their audience; at double, players stand still before they learn that it is over.
pub const HOLD: Duration = Duration::from_secs(10);

/// Longest wait for a publisher that can be configured. Proxies and players give up long before.
const MAX_WAIT: Duration = Duration::from_secs(300);

/// `http_remux` of one virtual host.
#[derive(Clone, Debug, PartialEq)]
pub struct Remux {
    /// Streams are served at all.
    pub enabled: bool,
    /// Under which paths.
    pub mount: Vec<Template>,
    /// What bodies say of their tracks.
    pub tracks: Tracks,
    /// Audio sent at once to listeners of AAC and MP3.
    pub fast_cache: Duration,
    /// How long a request waits for a publisher.
    pub wait: Duration,
}

impl Remux {
    /// Reads the section. Templates that name no stream are left out.
    pub fn of(vhost: &VhostSection<'_>) -> Self {
        let templates = vhost.list("http_remux.mount");
        Self {
            enabled: vhost.bool("http_remux.enabled"),
            mount: templates.iter().filter_map(|t| Template::new(t, vhost.name())).collect(),
            tracks: Tracks {
                guess: vhost.bool("http_remux.guess_has_av"),
                audio: vhost.bool("http_remux.has_audio"),
                video: vhost.bool("http_remux.has_video"),
                drop: vhost.bool("http_remux.drop_if_not_match"),
            },
            fast_cache: vhost.seconds("http_remux.fast_cache").min(MAX_FAST_CACHE),
            wait: vhost.seconds("http_remux.wait_timeout").min(MAX_WAIT),
        }
    }
}
