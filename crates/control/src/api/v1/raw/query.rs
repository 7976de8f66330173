//! `rpc=query` of SRS 3: the configuration as nested objects, without its secrets.

use gate::conf::{Config, Directive, Kind, Section};
use serde_json::{Map, Value, json};

use super::{NOT_ALLOWED, PARAMS};
use crate::api::v1::{code, param};
use crate::api::{Ask, Reply};
use crate::config::redact;

/// What `scope=minimal` tells, besides the virtual hosts.
const MINIMAL: &[&str] = &[
    "listen",
    "pid",
    "chunk_size",
    "ff_log_dir",
    "srs_log_tank",
    "srs_log_level",
    "srs_log_file",
    "max_connections",
    "utc_time",
    "pithy_print_ms",
    "daemon",
];

pub(super) fn answer(ask: &Ask) -> Reply {
    let config = ask.host.config();
    let scope = param(ask, "scope");
    let told = match scope.as_str() {
        "global" => global(&config),
        "minimal" => minimal(&config),
        "vhost" => match vhost(&config, &param(ask, "vhost")) {
            Some(told) => told,
            None => return code(PARAMS),
        },
        _ => return code(NOT_ALLOWED),
    };
    Reply::Json(json!({ "code": 0, scope: told }))
}

fn global(config: &Config) -> Value {
    let mut told = Map::new();
    let root = |row: &&'static Directive| row.path != "vhost" && !row.path.starts_with("vhost.");
    for row in config.table().rows().filter(root) {
        tell(&mut told, &config.root(), row, row.path);
    }
    let names: Vec<&str> = config.vhosts().iter().map(|v| v.name()).collect();
    told.insert("vhosts".to_owned(), json!(names));
    Value::Object(told)
}

fn minimal(config: &Config) -> Value {
    let mut told = Map::new();
    for row in MINIMAL.iter().filter_map(|path| config.table().get(path)) {
        tell(&mut told, &config.root(), row, row.path);
    }
    let vhost =
        |v: &gate::conf::VhostSection<'_>| json!({ "name": v.name(), "enabled": v.enabled() });
    let vhosts: Vec<Value> = config.vhosts().iter().map(vhost).collect();
    told.insert("vhosts".to_owned(), json!(vhosts));
    Value::Object(told)
}

fn vhost(config: &Config, name: &str) -> Option<Value> {
    let all = config.vhosts();
    let section = all.iter().find(|v| v.name() == name)?;
    let mut told = Map::new();
    told.insert("name".to_owned(), json!(name));
    for row in config.table().rows() {
        if let Some(relative) = row.path.strip_prefix("vhost.") {
            tell(&mut told, section, row, relative);
        }
    }
    Some(Value::Object(told))
}

/// Puts what holds for a directive where its path says. What stands in blocks that may be
/// repeated is left out: it has no one value.
fn tell(to: &mut Map<String, Value>, section: &Section<'_>, row: &Directive, relative: &str) {
    let repeated = || {
        let mut parent = row.parent();
        while !parent.is_empty() {
            if section.config().table().get(parent).is_some_and(|r| r.repeated && parent != "vhost")
            {
                return true;
            }
            parent = parent.rsplit_once('.').map_or("", |(up, _)| up);
        }
        false
    };
    if row.kind.is_block() || repeated() {
        return;
    }
    let words = redact::effective(section, row, relative);
    let value = match row.kind {
        Kind::List | Kind::Listen | Kind::Line => json!(words),
        Kind::Bool => json!(words.first().is_some_and(|word| word == "on")),
        _ => {
            let text = words.join(" ");
            match (row.kind, text.parse::<i64>(), text.parse::<f64>()) {
                (Kind::Str | Kind::Path | Kind::Choice(_), ..) => json!(text),
                (_, Ok(n), _) => json!(n),
                (_, _, Ok(n)) => json!(n),
                _ => json!(text),
            }
        }
    };
    let mut to = to;
    let mut names = relative.split('.').peekable();
    while let Some(name) = names.next() {
        if names.peek().is_none() {
            to.insert(name.to_owned(), value);
            return;
        }
        let inner = to.entry(name).or_insert_with(|| json!({}));
        match inner.as_object_mut() {
            Some(inner) => to = inner,
            None => return,
        }
    }
}
