//! The callbacks there are.

/// One callback, by the directive that holds its URLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hook {
    Connect,
    Close,
    Publish,
    Unpublish,
    Play,
    Stop,
    Dvr,
    Hls,
    HlsNotify,
    /// The backend of `forward`: where does a stream go?
    Forward,
}

impl Hook {
    /// Its name: the directive, the `action` of its body, the label of its metrics.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Connect => "on_connect",
            Self::Close => "on_close",
            Self::Publish => "on_publish",
            Self::Unpublish => "on_unpublish",
            Self::Play => "on_play",
            Self::Stop => "on_stop",
            Self::Dvr => "on_dvr",
            Self::Hls => "on_hls",
            Self::HlsNotify => "on_hls_notify",
            Self::Forward => "on_forward",
        }
    }

    /// The directive, seen from a virtual host.
    pub(super) const fn directive(self) -> &'static str {
        match self {
            Self::Connect => "http_hooks.on_connect",
            Self::Close => "http_hooks.on_close",
            Self::Publish => "http_hooks.on_publish",
            Self::Unpublish => "http_hooks.on_unpublish",
            Self::Play => "http_hooks.on_play",
            Self::Stop => "http_hooks.on_stop",
            Self::Dvr => "http_hooks.on_dvr",
            Self::Hls => "http_hooks.on_hls",
            Self::HlsNotify => "http_hooks.on_hls_notify",
            Self::Forward => "forward.backend",
        }
    }

    /// Somebody waits for its answer.
    pub(super) const fn is_question(self) -> bool {
        matches!(self, Self::Connect | Self::Publish | Self::Play | Self::Forward)
    }

    /// Called for each of several URLs, whatever came of the one before; the reply is not looked at.
    pub(super) const fn is_fetch(self) -> bool {
        matches!(self, Self::HlsNotify)
    }
}
