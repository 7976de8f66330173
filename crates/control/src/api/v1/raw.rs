//! The raw API: what it may do, reload, and the queries and updates of SRS 3.

mod query;

use serde_json::json;

use super::{Api, Ask, Reply, code, forbidden, param};
use crate::api::permission::{Door, Who};
use crate::config::{Patch, PatchError};
use crate::reload::{Difference, Report};

/// Not a method, or one that is not allowed.
const METHOD: u32 = 1060;
/// The raw API is off.
const DISABLED: u32 = 1061;
/// Not a scope, or not one that can be changed while the server runs.
const NOT_ALLOWED: u32 = 1062;
/// A parameter is missing or wrong.
const PARAMS: u32 = 1063;

/// One change in words, with the values as far as they may be told.
fn told(change: &Difference) -> String {
    match &change.values {
        Some((before, after)) => format!("{}: `{before}` to `{after}`", change.line),
        None => change.line.clone(),
    }
}

/// Reloads, and writes into the log who asked for it, from where, and what it changed.
pub(in crate::api) async fn reload(api: &Api, who: &Who, ask: &Ask) -> Result<Report, Vec<String>> {
    let result = api.reloader.reload().await;
    audit("reload", who, ask, &result);
    result
}

fn audit(what: &str, who: &Who, ask: &Ask, result: &Result<Report, Vec<String>>) {
    let (by, from) = (who, ask.peer);
    match result {
        Ok(report) => {
            let changes: Vec<String> = report.changes.iter().map(told).collect();
            let list =
                if changes.is_empty() { "nothing changed".to_owned() } else { changes.join("; ") };
            tracing::info!(%by, %from, "audit: {what} through the API: {list}");
        }
        Err(faults) => {
            let list = faults.join("; ");
            tracing::warn!(%by, %from, "audit: {what} through the API was refused: {list}");
        }
    }
}

/// One change in the configuration in force, as SRS 3 could make them.
async fn update(api: &Api, who: &Who, ask: &Ask) -> Reply {
    let [scope, value, name, data] =
        ["scope", "value", "param", "data"].map(|name| param(ask, name));
    let config = ask.host.config();
    let patch = match Patch::parse(config.table(), &scope, &value, &name, &data) {
        Ok(patch) => patch,
        Err(PatchError::NotAllowed(_)) => return code(NOT_ALLOWED),
        Err(PatchError::Params(_)) => return code(PARAMS),
    };
    if let Err(PatchError::NotAllowed(_)) = patch.apply(&config) {
        return code(NOT_ALLOWED);
    }
    let result = api.reloader.update(patch).await;
    audit("update", who, ask, &result);
    code(if result.is_ok() { 0 } else { PARAMS })
}

pub(super) async fn answer(api: &Api, door: &Door, ask: &Ask) -> Reply {
    let config = ask.host.config();
    let root = config.root();
    let is_on = |name: &str| root.bool(&format!("http_api.raw_api.{name}"));
    let rpc = param(ask, "rpc");
    if rpc == "raw" {
        let raw_api = json!({
            "enabled": is_on("enabled"),
            "allow_reload": is_on("allow_reload"),
            "allow_query": is_on("allow_query"),
            "allow_update": is_on("allow_update"),
        });
        return Reply::Json(json!({
            "code": 0,
            "http_api": {
                "enabled": root.bool("http_api.enabled"),
                "listen": root.list("http_api.listen").first().unwrap_or(&""),
                "crossdomain": root.bool("http_api.crossdomain"),
                "raw_api": raw_api,
            },
        }));
    }
    if !is_on("enabled") {
        return code(DISABLED);
    }
    match rpc.as_str() {
        "reload" if is_on("allow_reload") => {
            let who = match door.may_write(ask) {
                Ok(who) => who,
                Err(reason) => return forbidden(&reason),
            };
            // As with SRS the answer says that it was done, and reload-fetch how it went.
            let _ = reload(api, &who, ask).await;
            code(0)
        }
        "reload-fetch" => {
            let last = api.reloader.last();
            let data = json!({
                "err": last.err, "msg": last.msg, "state": last.state, "rid": last.rid,
            });
            Reply::Json(json!({ "code": 0, "data": data }))
        }
        "query" | "update" if is_on(&format!("allow_{rpc}")) => match door.may_write(ask) {
            // What is configured is not for everybody either.
            Err(reason) => forbidden(&reason),
            Ok(_) if rpc == "query" => query::answer(ask),
            Ok(who) => update(api, &who, ask).await,
        },
        _ => code(METHOD),
    }
}
