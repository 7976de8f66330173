//! The `dvr { }` section of a virtual host.

use std::time::Duration;

use gate::conf::VhostSection;

/// When a file ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plan {
    /// With the publish.
    #[default]
    Session,
    /// After `dvr_duration`, and with the publish.
    Segment,
    /// Never: the next publish goes on in it. FLV only.
    Append,
}

impl Plan {
    /// From the word in the configuration.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "session" => Some(Self::Session),
            "segment" => Some(Self::Segment),
            "append" => Some(Self::Append),
            _ => None,
        }
    }
}

/// What files are, by the end of `dvr_path`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `.flv`
    Flv,
    /// `.mp4`
    Mp4,
}

/// The directives of `dvr { }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DvrConfig {
    /// `enabled`
    pub enabled: bool,
    /// `dvr_apply`: streams as `app/stream`; `all` is any of them.
    pub apply: Vec<String>,
    /// `dvr_plan`
    pub plan: Plan,
    /// The part of `dvr_path` before its first variable: no file is written elsewhere.
    pub root: String,
    /// The rest, in which variables stand.
    pub template: String,
    /// By the end of it.
    pub format: Format,
    /// `dvr_duration`
    pub duration: Duration,
    /// `dvr_wait_keyframe`
    pub wait_keyframe: bool,
    /// `time_jitter off`: files keep the stream's times.
    pub keep_times: bool,
}

impl DvrConfig {
    /// From a virtual host's section.
    pub fn read(vhost: &VhostSection<'_>) -> Self {
        let (root, template) = gate::path::recording(vhost.str("dvr.dvr_path"));
        let format = if template.ends_with(".mp4") { Format::Mp4 } else { Format::Flv };
        Self {
            enabled: vhost.bool("dvr.enabled"),
            apply: vhost.list("dvr.dvr_apply").into_iter().map(str::to_owned).collect(),
            plan: Plan::from_word(vhost.str("dvr.dvr_plan")).unwrap_or_default(),
            root,
            template,
            format,
            // Shorter would be a file for each picture.
            duration: vhost.seconds("dvr.dvr_duration").max(Duration::from_millis(200)),
            wait_keyframe: vhost.bool("dvr.dvr_wait_keyframe"),
            keep_times: vhost.str("dvr.time_jitter") == "off",
        }
    }

    /// Whether a stream is to be recorded.
    pub fn wants(&self, app: &str, stream: &str) -> bool {
        let is = |word: &String| {
            word == "all" || word.trim_start_matches('/') == format!("{app}/{stream}")
        };
        self.enabled && self.apply.iter().any(is)
    }
}
