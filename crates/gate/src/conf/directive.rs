//! One row of the directive table.

/// What a directive's value is, and how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `on` or `off`. Where the default is `on` only `off` is false; otherwise only `on` is true.
    Bool,
    /// A whole number.
    Int,
    /// A number with decimals.
    Float,
    /// Whole milliseconds.
    Millis,
    /// Whole seconds; decimals are accepted and cut off.
    Seconds,
    /// Seconds, decimals kept.
    FloatSeconds,
    /// Bytes, with an optional suffix `k` (1024) or `m` (1024 * 1024).
    Size,
    /// Any text.
    Str,
    /// Any number of words.
    List,
    /// Any number of `[ip:]port`.
    Listen,
    /// A file or directory.
    Path,
    /// One of the words.
    Choice(&'static [&'static str]),
    /// A rule of free words, usually repeated (`allow publish all;`).
    Line,
    /// `{ ... }` of known directives.
    Block,
    /// `{ ... }` in which unknown directives are accepted.
    FreeBlock,
}

impl Kind {
    /// Whether it is written with braces.
    pub const fn is_block(self) -> bool {
        matches!(self, Self::Block | Self::FreeBlock)
    }
}

/// What holds when neither environment nor file says anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// Nothing: empty text, no words, zero.
    Empty,
    /// This text, as it would be written in a file.
    Text(&'static str),
    /// What the directive of this path says, seen from the same virtual host.
    SameAs(&'static str),
}

/// Which environment variables override a directive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Env {
    /// None.
    None,
    /// `SRS_` and the path in capitals, dots as underscores.
    Path,
    /// These, the first that is not empty.
    Names(&'static [&'static str]),
}

/// When a changed value takes effect after a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// At once, for running sessions too.
    Live,
    /// For sessions that begin after the reload.
    NewSessions,
    /// Its listener is closed and opened again.
    Listener,
    /// Only when the process starts.
    AtStart,
}

/// Whether the directive does anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It does what its documentation says.
    Works,
    /// Known and checked, but the feature named here is not there yet: switching it on warns.
    Planned(&'static str),
    /// Accepted so that old files load; it never has an effect.
    Ignored,
}

/// What to do with a number out of range, or a word that is none of the choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// An error: the configuration is not accepted.
    Refuse,
    /// A warning, and the nearest bound is used (the default, for a choice).
    Clamp,
    /// A warning, and the default is used.
    UseDefault,
}

/// One directive: everything that is known of it, its reference page included.
#[derive(Clone, Copy, Debug)]
pub struct Directive {
    /// Names joined by dots, the virtual host's own name left out: `vhost.play.gop_cache`.
    pub path: &'static str,
    /// Type of the value.
    pub kind: Kind,
    /// Value when nothing is written.
    pub default: Fallback,
    /// Overriding environment variables.
    pub env: Env,
    /// First release of SRS that had it (`1` to `7`), or `millrace`.
    pub since: &'static str,
    /// When a change takes effect.
    pub reload: Reload,
    /// Whether it works.
    pub status: Status,
    /// Smallest and largest number allowed, in the unit of the kind.
    pub range: Option<(f64, f64)>,
    /// What happens to a value outside `range` or outside the choices.
    pub violation: Violation,
    /// May stand several times, each counting.
    pub repeated: bool,
    /// Turning this on turns on the feature that `status` says is planned.
    pub switch: bool,
    /// Its words hold a secret: they are shown to nobody. In a line `$NAME` is replaced by the
    /// environment's value, as in any other directive.
    pub secret: bool,
    /// English documentation, Markdown, one paragraph.
    pub en: &'static str,
    /// Chinese documentation, Markdown, one paragraph.
    pub zh: &'static str,
}

impl Directive {
    /// A row that works, is known since SRS 1, has no default, follows the usual environment
    /// rule and takes effect for new sessions.
    pub const fn new(path: &'static str, kind: Kind) -> Self {
        Self {
            path,
            kind,
            default: Fallback::Empty,
            env: if kind.is_block() { Env::None } else { Env::Path },
            since: "1",
            reload: Reload::NewSessions,
            status: Status::Works,
            range: None,
            violation: Violation::Refuse,
            repeated: false,
            switch: false,
            secret: false,
            en: "",
            zh: "",
        }
    }

    /// With this default, as written in a file.
    pub const fn default(self, text: &'static str) -> Self {
        Self { default: Fallback::Text(text), ..self }
    }

    /// With the value of another directive as default.
    pub const fn same_as(self, path: &'static str) -> Self {
        Self { default: Fallback::SameAs(path), ..self }
    }

    /// Not overridden by the environment.
    pub const fn no_env(self) -> Self {
        Self { env: Env::None, ..self }
    }

    /// Overridden by these variables, the first one set wins.
    pub const fn env(self, names: &'static [&'static str]) -> Self {
        Self { env: Env::Names(names), ..self }
    }

    /// First seen in this release of SRS, or `millrace`.
    pub const fn since(self, version: &'static str) -> Self {
        Self { since: version, ..self }
    }

    /// A change takes effect so.
    pub const fn reload(self, reload: Reload) -> Self {
        Self { reload, ..self }
    }

    /// The named feature is not there yet.
    pub const fn planned(self, feature: &'static str) -> Self {
        Self { status: Status::Planned(feature), ..self }
    }

    /// Accepted without effect.
    pub const fn ignored(self) -> Self {
        Self { status: Status::Ignored, ..self }
    }

    /// Allowed numbers; see [`Directive::violation`] for what happens outside.
    pub const fn range(self, min: f64, max: f64) -> Self {
        Self { range: Some((min, max)), ..self }
    }

    /// A bad number or choice is a warning and not an error.
    pub const fn lenient(self, violation: Violation) -> Self {
        Self { violation, ..self }
    }

    /// May stand several times.
    pub const fn repeated(self) -> Self {
        Self { repeated: true, ..self }
    }

    /// Turning it on turns on its planned feature. A Bool called `enabled` that is off by
    /// default needs no mark.
    pub const fn switch(self) -> Self {
        Self { switch: true, ..self }
    }

    /// It holds a secret; see [`Directive::secret`].
    pub const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    /// Its documentation.
    pub const fn docs(self, en: &'static str, zh: &'static str) -> Self {
        Self { en, zh, ..self }
    }

    /// The last name of the path.
    pub fn name(&self) -> &'static str {
        self.path.rsplit('.').next().unwrap_or(self.path)
    }

    /// The path of the block it stands in; empty at the root.
    pub fn parent(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(parent, _)| parent)
    }

    /// The environment variables that override it, strongest first.
    pub fn env_names(&self) -> Vec<String> {
        match self.env {
            Env::None => Vec::new(),
            Env::Path => {
                vec![format!("SRS_{}", self.path.replace('.', "_").to_ascii_uppercase())]
            }
            Env::Names(names) => names.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    /// For a Bool: whether it holds when nothing is written.
    pub fn default_on(&self) -> bool {
        self.default == Fallback::Text("on")
    }

    /// Whether turning it on asks for a feature (see [`Directive::switch`]).
    pub fn is_switch(&self) -> bool {
        self.switch || (self.kind == Kind::Bool && self.name() == "enabled" && !self.default_on())
    }
}
