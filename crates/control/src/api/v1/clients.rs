//! Clients: publishers and players of every protocol, and how one is ended.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};

use gate::SessionInfo;
use gate::session::Kick;
use http::Method;
use serde_json::{Value, json};

use super::{Api, Ask, Reply, code, forbidden, head, is_read, not_allowed, page, with};
use crate::api::permission::{Door, Who};

pub(super) fn answer(api: &Api, door: &Door, ask: &Ask, method: &Method, id: &str) -> Reply {
    if *method == Method::DELETE {
        return kick(door, ask, id);
    }
    if !is_read(method) {
        return not_allowed();
    }
    if id.is_empty() {
        let mut all = ask.host.sessions.all();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        let page: Vec<Value> = page(ask, all).iter().map(|info| client(api, info)).collect();
        return with(ask, "clients", json!(page));
    }
    match ask.host.sessions.get(id) {
        Some(info) => with(ask, "client", client(api, &info)),
        None => code(2049),
    }
}

fn kick(permission: &Door, ask: &Ask, id: &str) -> Reply {
    let who = match permission.may_write(ask) {
        Ok(who) => who,
        Err(reason) => return forbidden(&reason),
    };
    let Some(info) = ask.host.sessions.get(id) else { return code(2049) };
    info.kick(Kick::Api);
    told_kick(&who, ask, &info);
    Reply::Json(Value::Object(head(&ask.host.identity)))
}

/// The line of the audit.
pub(in crate::api) fn told_kick(who: &Who, ask: &Ask, info: &SessionInfo) {
    let url = info.stream().map(|s| s.key.url()).unwrap_or_default();
    let kind = info.detail().map_or("", |d| d.kind);
    tracing::info!(
        session = %info.id, by = %who, from = %ask.peer,
        "audit: kicked through the API: {kind} of {url} from {}", info.ip()
    );
}

fn client(api: &Api, info: &Arc<SessionInfo>) -> Value {
    let none = gate::Detail::default();
    let detail = info.detail().unwrap_or(&none);
    let stream = info.stream();
    let (stream_id, url) =
        stream.map_or_else(Default::default, |s| (s.api_id.clone(), s.key.url()));
    let (recv, send) = info.rate.lock().unwrap_or_else(PoisonError::into_inner).kbps();
    json!({
        "id": &*info.id,
        "vhost": api.figures.ledger().vhost_id(&detail.vhost),
        "stream": stream_id,
        "ip": info.ip().to_string(),
        "pageUrl": detail.page_url,
        "swfUrl": detail.swf_url,
        "tcUrl": detail.tc_url,
        "url": url,
        "name": detail.name,
        "type": if detail.kind.is_empty() { "Unknown" } else { detail.kind },
        "publish": detail.publish,
        "alive": info.alive().as_secs_f64(),
        "send_bytes": info.counters.send_bytes.load(Relaxed),
        "recv_bytes": info.counters.recv_bytes.load(Relaxed),
        "kbps": { "recv_30s": recv, "send_30s": send },
    })
}
