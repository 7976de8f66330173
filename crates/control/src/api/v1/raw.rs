//! The raw API: what it may do, and reload.

use serde_json::json;

use super::{Api, Ask, Reply, code, forbidden, param};
use crate::api::permission::may_write;

/// Not a method, or one that is not allowed.
const METHOD: u32 = 1060;
/// The raw API is off.
const DISABLED: u32 = 1061;

pub(super) async fn answer(api: &Api, ask: &Ask) -> Reply {
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
            if let Err(reason) = may_write(ask) {
                return forbidden(&reason);
            }
            tracing::info!(by = %ask.peer, "reload asked for through the API");
            // As with SRS the answer says that it was done, and reload-fetch how it went.
            api.reloader.reload().await;
            code(0)
        }
        "reload-fetch" => {
            let last = api.reloader.last();
            let data = json!({
                "err": last.err, "msg": last.msg, "state": last.state, "rid": last.rid,
            });
            Reply::Json(json!({ "code": 0, "data": data }))
        }
        _ => code(METHOD),
    }
}
