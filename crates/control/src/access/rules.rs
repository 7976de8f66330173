//! The sections `security`, `refer` and `auth` of a virtual host: what is wrong with them, and
//! the rules they make.

use std::sync::Arc;
use std::time::Duration;

use gate::Refusal;
use gate::conf::{Arg, Config, Node, Section, Span, VhostSection};

use super::glob::Glob;
use super::hide::{WAYS, is_way};
use super::jwt::jwks::Jwks;
use super::jwt::keys::Keys;
use super::jwt::{self, Outcome, Terms};
use super::key::{self, Key};
use super::refer::Refer;
use super::security::{Rule, Security};
use super::sign::Secrets;
use super::{Asked, Direction, NO_CREDENTIALS, Verdict};
use crate::config::FileLoader;

/// Keys, secrets and files of one virtual host, of each sort.
const MOST: usize = 1024;
/// A shorter secret can be guessed.
const SHORT: usize = 12;
/// A key set is fetched no more often.
const OFTEN: Duration = Duration::from_secs(10);

/// A way to show who one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Key,
    Sign,
    Jwt,
}

const METHODS: [(&str, Method); 3] =
    [("key", Method::Key), ("sign", Method::Sign), ("jwt", Method::Jwt)];

/// What lets everybody in.
const OPEN: &str = "open";

struct Auth {
    /// What lets in, any of them; none: everybody.
    publish: Vec<Method>,
    play: Vec<Method>,
    keys: Vec<Key>,
    secrets: Secrets,
    tokens: Keys,
    fetched: Option<Arc<Jwks>>,
    terms: Terms,
}

/// The rules of one virtual host.
#[derive(Default)]
pub(crate) struct Rules {
    security: Option<Security>,
    refer: Option<Refer>,
    auth: Option<Auth>,
}

/// What the rules say.
pub(crate) enum Answer {
    Done(Result<(), Refusal>),
    /// No, unless a fresh key set knows the token's key.
    UnknownKey(Arc<Jwks>, Refusal),
}

impl Answer {
    pub(crate) fn anyway(self) -> Result<(), Refusal> {
        match self {
            Self::Done(done) => done,
            Self::UnknownKey(_, refusal) => Err(refusal),
        }
    }
}

type StartSet<'a> = &'a dyn Fn(&str, Duration) -> Arc<Jwks>;

impl Rules {
    /// From a section that [`inspect`] has no fault with.
    pub(crate) fn compile(
        vhost: &VhostSection<'_>,
        files: &dyn FileLoader,
        start: StartSet<'_>,
    ) -> Result<Self, String> {
        let mut quiet = Vec::new();
        let security =
            vhost.bool("security.enabled").then(|| Security(security(vhost, &mut quiet)));
        let list = |path: &str| vhost.list(path).into_iter().map(str::to_owned).collect();
        let refer = vhost.bool("refer.enabled").then(|| Refer {
            all: list("refer.all"),
            publish: list("refer.publish"),
            play: list("refer.play"),
        });
        let auth = match vhost.bool("auth.enabled") {
            true => Some(Auth::compile(vhost, files, start, &mut quiet)?),
            false => None,
        };
        Ok(Self { security, refer, auth })
    }

    pub(crate) fn check(&self, asked: &Asked<'_>) -> Answer {
        let checked = (|| {
            if let Some(security) = &self.security {
                security.check(asked.direction, asked.ip)?;
            }
            match &self.refer {
                Some(refer) => refer.check(asked.direction, asked.page),
                None => Ok(()),
            }
        })();
        match &self.auth {
            Some(auth) if checked.is_ok() => auth.check(asked),
            _ => Answer::Done(checked),
        }
    }
}

impl Auth {
    fn compile(
        vhost: &VhostSection<'_>,
        files: &dyn FileLoader,
        start: StartSet<'_>,
        faults: &mut Vec<Fault>,
    ) -> Result<Self, String> {
        let mut secrets = Secrets::default();
        for (id, secret) in sign_secrets(vhost) {
            secrets.push(id, secret);
        }
        let mut tokens = Keys::default();
        for words in vhost.lines("auth.jwt.secret") {
            tokens.add_secret(words.first().copied().unwrap_or_default());
        }
        for path in vhost.list("auth.jwt.key") {
            let told = |e: String| format!("auth.jwt.key of vhost {}: {path}: {e}", vhost.name());
            let pem = files.read(path).map_err(|e| told(e.to_string()))?;
            tokens.add_pem(&pem).map_err(|e| told(e.to_string()))?;
        }
        let url = vhost.str("auth.jwt.jwks");
        let every = vhost.seconds("auth.jwt.jwks_interval").max(OFTEN);
        let list = |path: &str| vhost.list(path).into_iter().map(str::to_owned).collect();
        Ok(Self {
            publish: methods(vhost, Direction::Publish, faults),
            play: methods(vhost, Direction::Play, faults),
            keys: keys(vhost, faults),
            secrets,
            tokens,
            fetched: (!url.is_empty()).then(|| start(url, every)),
            terms: Terms {
                issuers: list("auth.jwt.issuer"),
                audiences: list("auth.jwt.audience"),
                leeway: vhost.seconds("auth.jwt.leeway").as_secs(),
            },
        })
    }

    /// The first method that is shown right lets in. Of those that were shown wrong the first one
    /// is told; without any, what would do.
    fn check(&self, asked: &Asked<'_>) -> Answer {
        let methods = match asked.direction {
            Direction::Publish => &self.publish,
            Direction::Play => &self.play,
        };
        if methods.is_empty() {
            return Answer::Done(Ok(()));
        }
        let mut wrong = None;
        let mut unknown = None;
        for method in methods {
            let (rule, verdict) = match method {
                Method::Key => ("key", key::check(&self.keys, asked)),
                Method::Sign => ("sign", self.secrets.check(asked)),
                Method::Jwt => ("jwt", self.token(asked, &mut unknown)),
            };
            match verdict {
                Verdict::Granted => return Answer::Done(Ok(())),
                Verdict::Absent => {}
                Verdict::Denied { unauthorized, reason } if wrong.is_none() => {
                    let reason = format!("auth: {reason}");
                    let code = NO_CREDENTIALS;
                    wrong = Some(Refusal::Access { rule, code, unauthorized, reason });
                }
                Verdict::Denied { .. } => {}
            }
        }
        let refusal = wrong.unwrap_or_else(|| Refusal::Access {
            rule: "auth",
            code: NO_CREDENTIALS,
            unauthorized: true,
            reason: format!("auth: {} takes {}", asked.direction, needs(methods)),
        });
        match unknown {
            Some(jwks) => Answer::UnknownKey(jwks, refusal),
            None => Answer::Done(Err(refusal)),
        }
    }

    fn token(&self, asked: &Asked<'_>, unknown: &mut Option<Arc<Jwks>>) -> Verdict {
        let fetched = self.fetched.as_ref().and_then(|jwks| jwks.keys());
        let sets: Vec<&Keys> = std::iter::once(&self.tokens).chain(fetched.as_deref()).collect();
        match jwt::check(&sets, &self.terms, asked) {
            Outcome::Done(verdict) => verdict,
            Outcome::UnknownKey => {
                unknown.clone_from(&self.fetched);
                let fetching = self.fetched.is_some() && fetched.is_none();
                Verdict::unauthorized(match fetching {
                    true => "the keys of the token's issuer have not been fetched yet",
                    false => "no key here fits the token's `alg` and `kid`",
                })
            }
        }
    }
}

fn needs(methods: &[Method]) -> String {
    let word = |method: &Method| match method {
        Method::Key => "a stream key (`key=`)",
        Method::Sign => "a signed URL (`expires=`, `sign=`)",
        Method::Jwt => "a token (`token=`)",
    };
    methods.iter().map(word).collect::<Vec<_>>().join(" or ")
}

/// What is wrong with a section.
pub(crate) struct Fault {
    /// The word, or the block in which one is missing.
    pub(crate) span: Span,
    /// Something to think about, and no error.
    pub(crate) warning: bool,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Fault {
    fn at(span: Span, message: impl Into<String>) -> Self {
        Self { span, warning: false, message: message.into(), help: None }
    }

    fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    fn warning(self) -> Self {
        Self { warning: true, ..self }
    }
}

/// Everything that is wrong with the access rules of a virtual host.
pub(crate) fn inspect(vhost: &VhostSection<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let _ = security(vhost, &mut faults);
    let _ = keys(vhost, &mut faults);
    inspect_secrets(vhost, &mut faults);
    inspect_tokens(vhost, &mut faults);
    let publish = methods(vhost, Direction::Publish, &mut faults);
    let play = methods(vhost, Direction::Play, &mut faults);
    if vhost.bool("auth.enabled") {
        let section = vhost.section("auth");
        let span = section.span().unwrap_or_default();
        for direction in [Direction::Publish, Direction::Play] {
            if vhost.list(&format!("auth.{direction}")).is_empty() {
                let message = format!("auth is on and does not say what `{direction}` takes");
                let help = format!(
                    "write `{direction} key;`, or `sign`, or `jwt`, or `{direction} {OPEN};` for everybody"
                );
                faults.push(Fault::at(span, message).help(help));
            }
        }
        let all = || publish.iter().chain(&play);
        for (method, there, help) in [
            (Method::Key, !vhost.lines("auth.key").is_empty(), "write `key publish SECRET;`"),
            (
                Method::Sign,
                !vhost.lines("auth.sign.secret").is_empty(),
                "write `sign { secret ID SECRET; }`",
            ),
            (
                Method::Jwt,
                has_token_keys(vhost),
                "write `jwt { key FILE; }`, or `secret`, or `jwks`",
            ),
        ] {
            if !there && all().any(|m| *m == method) {
                let word = METHODS.iter().find(|(_, m)| *m == method).map_or("", |(word, _)| word);
                let message =
                    format!("auth asks for `{word}`, and there is nothing to check it by");
                faults.push(Fault::at(span, message).help(help));
            }
        }
    }
    faults
}

fn has_token_keys(vhost: &VhostSection<'_>) -> bool {
    !vhost.lines("auth.jwt.secret").is_empty()
        || !vhost.list("auth.jwt.key").is_empty()
        || !vhost.str("auth.jwt.jwks").is_empty()
}

/// The rules of `security`, those that can be read.
fn security(vhost: &VhostSection<'_>, faults: &mut Vec<Fault>) -> Vec<Rule> {
    let section = vhost.section("security");
    let mut rules = Vec::new();
    for node in section.nodes().iter().filter(|n| matches!(n.name.as_str(), "allow" | "deny")) {
        let form = || format!("`{} publish|play all|IP|CIDR;`", node.name);
        let [direction, who] = node.args.as_slice() else {
            let message = format!("a rule has two words: {}", form());
            faults.push(Fault::at(node.span, message));
            continue;
        };
        let net = match who.text.as_str() {
            "all" => Ok(None),
            text => text.parse().map(Some),
        };
        match (one_direction(direction, faults), net) {
            (Some(direction), Ok(net)) => {
                rules.push(Rule { allow: node.name == "allow", direction, net });
            }
            (_, Err(e)) => {
                let message = format!("`{}` fits nobody: {e}", who.text);
                faults.push(Fault::at(who.span, message).help(format!("write {}", form())));
            }
            (None, Ok(_)) => {}
        }
    }
    rules
}

fn one_direction(arg: &Arg, faults: &mut Vec<Fault>) -> Option<Direction> {
    let direction = Direction::from_word(&arg.text);
    if direction.is_none() {
        faults.push(not_a_word(arg, &["publish", "play"]));
    }
    direction
}

fn not_a_word(arg: &Arg, words: &[&'static str]) -> Fault {
    let list: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    let fault = Fault::at(arg.span, format!("`{}` is none of {}", arg.text, list.join(", ")));
    match crate::config::nearest(&arg.text, words.iter().copied()) {
        Some(near) => fault.help(format!("did you mean `{near}`?")),
        None => fault,
    }
}

/// The methods that a direction takes; none where it is open.
fn methods(vhost: &VhostSection<'_>, direction: Direction, faults: &mut Vec<Fault>) -> Vec<Method> {
    let section = vhost.section("auth");
    let Some(node) = section.nodes().iter().find(|node| node.name == direction.word()) else {
        return Vec::new();
    };
    let mut methods = Vec::new();
    for arg in &node.args {
        match METHODS.iter().find(|(word, _)| *word == arg.text) {
            Some((_, method)) => methods.push(*method),
            None if arg.text == OPEN && node.args.len() == 1 => {}
            None if arg.text == OPEN => {
                let message = format!("`{OPEN}` lets everybody in, whatever stands beside it");
                faults.push(Fault::at(arg.span, message).help("leave out one or the other"));
            }
            None => faults.push(not_a_word(arg, &["key", "sign", "jwt", OPEN])),
        }
    }
    methods
}

fn nodes<'a>(section: &Section<'a>, name: &'static str) -> impl Iterator<Item = &'a Node> {
    section.nodes().iter().filter(move |node| node.name == name)
}

/// `key publish|play|all SECRET [STREAM...];`
fn keys(vhost: &VhostSection<'_>, faults: &mut Vec<Fault>) -> Vec<Key> {
    let mut keys = Vec::new();
    for node in nodes(&vhost.section("auth"), "key") {
        let [direction, secret, streams @ ..] = node.args.as_slice() else {
            let message =
                "a key has two words or more: `key publish|play|all SECRET [APP/STREAM ...];`";
            faults.push(Fault::at(node.span, message));
            continue;
        };
        let way = match direction.text.as_str() {
            "all" => Some(None),
            text => Direction::from_word(text).map(Some),
        };
        let Some(way) = way else {
            // What is no such word may be a secret.
            faults.push(match is_way(&direction.text) {
                true => not_a_word(direction, WAYS),
                false => Fault::at(direction.span, "a key begins with `publish`, `play` or `all`"),
            });
            continue;
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if !secret.text.bytes().all(plain) {
            let message = "a key travels in addresses, and this one has a character that cannot";
            let help =
                "letters, digits, `-`, `.`, `_` and `~` can; `openssl rand -hex 16` makes one";
            faults.push(Fault::at(secret.span, message).help(help));
            continue;
        }
        guessable(secret, faults);
        if let Some(odd) = streams.iter().find(|s| s.text.split('/').any(str::is_empty)) {
            let message = format!("`{}` is the name of no stream", odd.text);
            faults
                .push(Fault::at(odd.span, message).help("write `app/stream`, with `*` if need be"));
        }
        let streams = streams.iter().map(|arg| Glob::new(&arg.text)).collect();
        keys.push(Key::new(way, &secret.text, streams));
    }
    if keys.len() > MOST {
        let message = format!("more than {MOST} keys: a token or a callback serves so many better");
        faults.push(Fault::at(vhost.section("auth").span().unwrap_or_default(), message));
    }
    keys
}

fn guessable(secret: &Arg, faults: &mut Vec<Fault>) {
    if secret.text.starts_with('$') {
        let message = "the secret is the name of an environment variable that is not set";
        faults.push(Fault::at(secret.span, message));
        return;
    }
    if secret.text.chars().count() < SHORT {
        let message = format!("a secret of less than {SHORT} characters can be guessed");
        let fault = Fault::at(secret.span, message).help("`openssl rand -hex 16` makes a good one");
        faults.push(fault.warning());
    }
}

/// Ids and secrets, the one that signs first.
fn sign_secrets<'a>(vhost: &VhostSection<'a>) -> Vec<(&'a str, &'a str)> {
    let pair = |words: Vec<&'a str>| match words[..] {
        [id, secret, ..] => Some((id, secret)),
        _ => None,
    };
    vhost.lines("auth.sign.secret").into_iter().filter_map(pair).collect()
}

fn inspect_secrets(vhost: &VhostSection<'_>, faults: &mut Vec<Fault>) {
    let mut ids: Vec<&str> = Vec::new();
    for node in nodes(&vhost.section("auth.sign"), "secret") {
        let [id, secret] = node.args.as_slice() else {
            let message = "a secret has an id: `secret ID SECRET;`";
            faults.push(Fault::at(node.span, message));
            continue;
        };
        if ids.contains(&id.text.as_str()) {
            faults.push(Fault::at(id.span, format!("two secrets are called `{}`", id.text)));
        }
        ids.push(&id.text);
        guessable(secret, faults);
    }
    if ids.len() > MOST {
        let message = format!("more than {MOST} secrets");
        faults.push(Fault::at(vhost.section("auth.sign").span().unwrap_or_default(), message));
    }
    for node in nodes(&vhost.section("auth.jwt"), "secret") {
        match node.args.as_slice() {
            [secret] => guessable(secret, faults),
            _ => faults.push(Fault::at(node.span, "a secret is one word: `secret SECRET;`")),
        }
    }
}

fn inspect_tokens(vhost: &VhostSection<'_>, faults: &mut Vec<Fault>) {
    for node in nodes(&vhost.section("auth.jwt"), "jwks") {
        let Some(arg) = node.args.first() else { continue };
        match gate::http::client::Address::parse(&arg.text) {
            Err(e) => faults.push(Fault::at(arg.span, format!("jwks: {e}"))),
            Ok(address) if !address.origin.tls && !is_local(&address.origin.host) => {
                let message = "keys fetched without TLS can be replaced on their way";
                faults.push(Fault::at(arg.span, message).help("use https://").warning());
            }
            Ok(_) => {}
        }
    }
}

fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// The key files of a virtual host that cannot be used.
pub(crate) fn inspect_files(
    vhost: &VhostSection<'_>,
    read: &dyn Fn(&str) -> std::io::Result<Vec<u8>>,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    if !vhost.bool("auth.enabled") {
        return faults;
    }
    for arg in nodes(&vhost.section("auth.jwt"), "key").flat_map(|node| &node.args) {
        let mut keys = Keys::default();
        let why = match read(&arg.text) {
            Ok(pem) => keys.add_pem(&pem).err().map(|e| e.to_string()),
            Err(e) => Some(e.to_string()),
        };
        if let Some(why) = why {
            faults.push(Fault::at(arg.span, format!("the key file `{}`: {why}", arg.text)));
        }
    }
    faults
}

/// The id and the secret that signs for a virtual host; with `kid`, the one of that id.
pub fn signing_secret(config: &Config, vhost: &str, kid: Option<&str>) -> Option<(String, String)> {
    let section = config.vhost(vhost)?;
    let secrets = sign_secrets(&section);
    let found = secrets.into_iter().find(|(id, _)| kid.is_none_or(|kid| kid == *id))?;
    Some((found.0.to_owned(), found.1.to_owned()))
}

/// What a token, a signature and a key in this query come to, under rules with one of each: for
/// the tests that feed it with anything.
pub fn judge(param: &str) -> bool {
    let mut secrets = Secrets::default();
    secrets.push("v1", "a secret of the fuzzer");
    let mut tokens = Keys::default();
    tokens.add_secret("another secret of the fuzzer");
    let auth = Auth {
        publish: vec![Method::Key],
        play: vec![Method::Jwt, Method::Sign, Method::Key],
        keys: vec![Key::new(None, "a-key-of-the-fuzzer", vec![Glob::new("live/*")])],
        secrets,
        tokens,
        fetched: None,
        terms: Terms::default(),
    };
    let asked = Asked {
        direction: Direction::Play,
        vhost: "v",
        app: "live",
        stream: "s",
        query: super::Query::new(param),
        ip: std::net::IpAddr::from([192, 0, 2, 1]),
        page: param,
        now: 1_000,
    };
    auth.check(&asked).anyway().is_ok()
}

/// How many keys there are in a JSON Web Key Set, or in a PEM file; `None`: it is neither, or none
/// can be used. For the tests that feed it with anything.
pub fn key_set_size(bytes: &[u8]) -> Option<usize> {
    if let Ok(keys) = Keys::from_set(bytes) {
        return Some(keys.len());
    }
    let mut keys = Keys::default();
    keys.add_pem(bytes).ok()?;
    Some(keys.len())
}
