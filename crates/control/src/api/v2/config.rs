//! The configuration in force, without its secrets.

use gate::conf::{Config, Directive, Node, Section, Span};
use gate::http::Response;
use schemars::JsonSchema;
use serde::Serialize;

use super::params::{LIMIT, OFFSET, Page, Param, What};
use super::problem::Problem;
use super::{Answer, Call, Endpoint, Handle, json};
use crate::config::redact;

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint {
    method: "GET",
    path: "/config",
    id: "getConfig",
    summary: "The configuration in force",
    description: "Every directive that files or the environment set, in the order of the file, and \
                  with `defaults=true` all others. Passwords, tokens and keys, users and queries \
                  of URLs are replaced by `***`.",
    guarded: true,
    params: &[
        Param {
            name: "path",
            what: What::Text,
            docs: "Only directives whose path begins so: `http_api`, `vhost.hls`.",
        },
        Param { name: "vhost", what: What::Text, docs: "Only those of this virtual host." },
        Param { name: "defaults", what: What::Flag, docs: "Those that nobody has set, too." },
        LIMIT,
        OFFSET,
    ],
    answer: Answer::Json(|schemas| schemas.subschema_for::<Page<Setting>>()),
    problems: &[],
    handle: Handle::Now(answer),
}];

/// One directive, and what holds for it.
#[derive(Serialize, JsonSchema)]
struct Setting {
    /// Names joined by dots, the virtual host's own left out: `vhost.play.gop_cache`.
    path: String,
    vhost: Option<String>,
    /// The words after the names of the blocks around it that may stand several times
    /// (`ingest NAME`), joined by dots.
    block: Option<String>,
    /// Its words, secrets hidden.
    value: Vec<String>,
    origin: Origin,
    /// The file and line, or the variable; null for defaults.
    place: Option<String>,
}

/// Where a value comes from.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Origin {
    File,
    Environment,
    Default,
}

fn place(config: &Config, span: Span) -> String {
    format!("{}:{}", config.file_name(span.file), span.line)
}

/// Where the walk through the file stands.
#[derive(Clone, Default)]
struct At {
    path: String,
    vhost: Option<String>,
    block: Option<String>,
}

fn walk(config: &Config, nodes: &[Node], at: &At, out: &mut Vec<Setting>) {
    for node in nodes {
        let mut here = at.clone();
        if !here.path.is_empty() {
            here.path.push('.');
        }
        here.path.push_str(&node.name);
        let row = config.table().get(&here.path);
        let args: Vec<&str> = node.args.iter().map(|arg| arg.text.as_str()).collect();
        if node.children.is_some() {
            if here.path == "vhost" {
                here.vhost = Some(node.first_arg().to_owned());
            } else if !args.is_empty() {
                let label = args.join(" ");
                here.block = Some(here.block.map_or(label.clone(), |b| format!("{b}.{label}")));
            }
            walk(config, node.nodes(), &here, out);
        } else {
            out.push(Setting {
                value: redact::words(&here.path, row, &args),
                path: here.path,
                vhost: here.vhost,
                block: here.block,
                origin: Origin::File,
                place: Some(place(config, node.span)),
            });
        }
    }
}

/// What the environment sets, and what nobody does.
fn beside(
    section: &Section<'_>,
    row: &'static Directive,
    relative: &str,
    vhost: Option<&str>,
    defaults: bool,
) -> Option<Setting> {
    if row.kind.is_block() {
        return None;
    }
    let (origin, place) = match section.origin(relative) {
        gate::conf::Origin::Environment(name) => (Origin::Environment, Some(name)),
        gate::conf::Origin::Default if defaults => (Origin::Default, None),
        _ => return None,
    };
    Some(Setting {
        path: row.path.to_owned(),
        vhost: vhost.map(str::to_owned),
        block: None,
        value: redact::effective(section, row, relative),
        origin,
        place,
    })
}

/// Whether the directive stands in a block that may be repeated: it has no value by itself then.
fn is_repeated(config: &Config, row: &Directive) -> bool {
    let mut parent = row.parent();
    while !parent.is_empty() && parent != "vhost" {
        if config.table().get(parent).is_some_and(|row| row.repeated) {
            return true;
        }
        parent = parent.rsplit_once('.').map_or("", |(up, _)| up);
    }
    false
}

fn settings(config: &Config, defaults: bool) -> Vec<Setting> {
    let mut all = Vec::new();
    walk(config, config.nodes(), &At::default(), &mut all);
    let vhosts = config.vhosts();
    for row in config.table().rows().filter(|row| !is_repeated(config, row)) {
        match row.path.strip_prefix("vhost.") {
            Some(relative) => {
                let of = |v| beside(v, row, relative, None, defaults);
                all.extend(vhosts.iter().filter_map(|v| {
                    of(v).map(|found| Setting { vhost: Some(v.name().to_owned()), ..found })
                }));
            }
            None => all.extend(beside(&config.root(), row, row.path, None, defaults)),
        }
    }
    // The environment beats the file: what it overrides is not in force.
    let over: Vec<(String, Option<String>)> = all
        .iter()
        .filter(|s| matches!(s.origin, Origin::Environment))
        .map(|s| (s.path.clone(), s.vhost.clone()))
        .collect();
    all.retain(|s| {
        let is_over = |(path, vhost): &(String, Option<String>)| {
            *path == s.path && *vhost == s.vhost && matches!(s.origin, Origin::File)
        };
        !over.iter().any(is_over)
    });
    all
}

fn answer(call: &Call<'_>) -> Result<Response, Problem> {
    let given = &call.given;
    let config = call.ask.host.config();
    let mut all = settings(&config, given.flag("defaults").unwrap_or(false));
    all.retain(|s| {
        let begins = |prefix: &str| {
            s.path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        given.get("path").is_none_or(begins)
            && given.get("vhost").is_none_or(|v| s.vhost.as_deref() == Some(v))
    });
    json(&given.page(all, |s| s))
}
