//! What a virtual host's section means for the hub.

use std::time::Duration;

use hub::{Delivery, DoorOptions, PublishOptions, Takeover, TimeJitter};

use crate::conf::{Origin, VhostSection};

fn is_explicit(vhost: &VhostSection<'_>, path: &str) -> bool {
    !matches!(vhost.origin(path), Origin::Default)
}

/// Options of the streams of a virtual host.
pub fn publish_options(vhost: &VhostSection<'_>) -> PublishOptions {
    let jitter = match vhost.str("play.time_jitter") {
        "zero" => TimeJitter::Zero,
        "off" => TimeJitter::Off,
        _ => TimeJitter::Full,
    };
    let takeover = match vhost.str("publish.takeover") {
        "off" => Takeover::Off,
        "always" => Takeover::Always,
        _ => Takeover::Stale,
    };
    PublishOptions {
        door: DoorOptions {
            jitter,
            atc: vhost.bool("play.atc"),
            mix_correct: vhost.bool("play.mix_correct"),
        },
        gop_cache: vhost.bool("play.gop_cache"),
        gop_cache_max_frames: usize::try_from(vhost.int("play.gop_cache_max_frames")).unwrap_or(0),
        reduce_sequence_header: vhost.bool("play.reduce_sequence_header"),
        takeover,
    }
}

/// How the players of a virtual host are served. Merging is done only where it was asked for:
/// the default adapts to the load.
pub fn delivery(vhost: &VhostSection<'_>) -> Delivery {
    let interval = vhost.float("play.send_min_interval");
    if interval > 0.0 {
        return Delivery::Drip(Duration::from_secs_f64((interval / 1000.0).min(60.0)));
    }
    if vhost.bool("min_latency") {
        return Delivery::MinLatency;
    }
    if is_explicit(vhost, "play.mw_latency") || is_explicit(vhost, "play.mw_msgs") {
        let latency = if is_explicit(vhost, "play.mw_latency") {
            vhost.millis("play.mw_latency")
        } else {
            Duration::from_millis(350)
        };
        // The default number must not make the wait longer than the time that was asked for.
        let msgs = if is_explicit(vhost, "play.mw_msgs") {
            u32::try_from(vhost.int("play.mw_msgs").clamp(0, 128)).unwrap_or(0)
        } else {
            0
        };
        if latency.is_zero() && msgs <= 1 {
            return Delivery::MinLatency;
        }
        return Delivery::Merge { latency, msgs };
    }
    Delivery::Adaptive
}

/// How far behind a player may fall, and how long it may take nothing.
pub fn queue_length(vhost: &VhostSection<'_>) -> Duration {
    vhost.seconds("play.queue_length").clamp(Duration::from_secs(1), Duration::from_secs(3600))
}

/// A number of a virtual host; 0, which is no limit, where no table knows the directive.
fn number(vhost: &VhostSection<'_>, path: &str) -> usize {
    let known = vhost.config().table().get(&format!("vhost.{path}")).is_some();
    if known { usize::try_from(vhost.int(path)).unwrap_or(0) } else { 0 }
}

/// Publishers and players of a virtual host together; 0 is no limit.
pub fn max_connections(vhost: &VhostSection<'_>) -> usize {
    number(vhost, "max_connections")
}

/// Players of one stream; 0 is no limit.
pub fn max_players(vhost: &VhostSection<'_>) -> usize {
    number(vhost, "play.max_players")
}

/// Whether a player may be turned away by rules, credentials or callbacks. What is served in
/// several requests must then tie each of them to a session that was let in.
pub fn guards_players(vhost: &VhostSection<'_>) -> bool {
    let known = |path: &str| vhost.config().table().get(&format!("vhost.{path}")).is_some();
    let on = |path: &str| known(path) && vhost.bool(path);
    let asked = || known("http_hooks.on_play") && !vhost.list("http_hooks.on_play").is_empty();
    on("security.enabled")
        || on("refer.enabled")
        || on("auth.enabled")
        || (on("http_hooks.enabled") && asked())
}
