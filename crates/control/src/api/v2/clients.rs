//! Clients: publishers and players of every protocol, how they are doing, and how one is ended.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError};

use gate::SessionInfo;
use gate::http::Response;
use gate::session::Kick;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::params::{Key, LIMIT, OFFSET, Page, Param, What};
use super::problem::Problem;
use super::{Answer, Call, Endpoint, Handle, json, nothing};
use crate::api::v1::clients::told_kick;
use crate::sampler::health::{self, ClientHealth};

const ID: Param = Param { name: "id", what: What::Segment, docs: "Id of the client." };

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: "GET",
        path: "/clients",
        id: "listClients",
        summary: "Publishers and players",
        description: "Sessions that have asked for a stream, each with its health.",
        guarded: false,
        params: &[
            Param { name: "vhost", what: What::Text, docs: "Only those of this virtual host." },
            Param { name: "app", what: What::Text, docs: "Only those of this application." },
            Param { name: "stream", what: What::Text, docs: "Only those of this stream's name." },
            Param { name: "ip", what: What::Text, docs: "Only those from this address." },
            Param {
                name: "protocol",
                what: What::Text,
                docs: "Only those of this protocol (`rtmp`, `httpflv`, `hls`, `rtc`).",
            },
            Param {
                name: "publish",
                what: What::Either,
                docs: "true: only publishers; false: only players.",
            },
            Param {
                name: "sort",
                what: What::OneOf(&[
                    "id",
                    "-id",
                    "alive",
                    "-alive",
                    "send_kbps",
                    "-send_kbps",
                    "lag",
                    "-lag",
                    "dropped",
                    "-dropped",
                ]),
                docs: "The order; a minus turns it around.",
            },
            LIMIT,
            OFFSET,
        ],
        answer: Answer::Json(|schemas| schemas.subschema_for::<Page<ClientInfo>>()),
        problems: &[],
        handle: Handle::Now(list),
    },
    Endpoint {
        method: "GET",
        path: "/clients/{id}",
        id: "getClient",
        summary: "One client",
        description: "By its id: the session id that stands on every line of the log.",
        guarded: false,
        params: &[ID],
        answer: Answer::Json(|schemas| schemas.subschema_for::<ClientInfo>()),
        problems: &[StatusCode::NOT_FOUND],
        handle: Handle::Now(one),
    },
    Endpoint {
        method: "DELETE",
        path: "/clients/{id}",
        id: "kickClient",
        summary: "End a client",
        description: "Disconnects it. One of HLS is refused from then on, while it keeps asking.",
        guarded: true,
        params: &[ID],
        answer: Answer::Nothing,
        problems: &[StatusCode::NOT_FOUND],
        handle: Handle::Now(kick),
    },
];

/// A publisher or player.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Client")]
struct ClientInfo {
    id: String,
    /// `rtmp-play`, `fmle-publish` and so on: the words of `/api/v1/`.
    kind: String,
    /// What it speaks: `rtmp`, `httpflv`, `hls` …
    protocol: &'static str,
    /// It publishes (or plays).
    publish: bool,
    /// Its address, as far as a proxy in front told.
    ip: String,
    vhost: String,
    app: String,
    /// Name of its stream.
    stream: String,
    /// Id of its stream; null when it is on none.
    stream_id: Option<String>,
    /// Page that embeds the player.
    page_url: String,
    alive_seconds: f64,
    received_bytes: u64,
    sent_bytes: u64,
    /// Over the last half minute, kbit/s.
    receive_kbps: u64,
    send_kbps: u64,
    health: ClientHealth,
    /// What its protocol has to say of it: how far a session of WebRTC is, what to try where it
    /// hangs, which part of the stream it cannot take.
    note: Option<String>,
}

fn name(info: &SessionInfo) -> String {
    let asked = info.detail().map_or("", |d| &d.name);
    gate::host::strip_extension(asked).to_owned()
}

fn client(call: &Call<'_>, info: &Arc<SessionInfo>) -> ClientInfo {
    let none = gate::Detail::default();
    let detail = info.detail().unwrap_or(&none);
    let figures = &call.api.figures;
    let stream = info.stream();
    let of_stream = stream.as_ref().map(|s| figures.stream_health(s));
    let taken = figures.ledger().taken(&info.id);
    let (recv, send) = info.rate.lock().unwrap_or_else(PoisonError::into_inner).kbps();
    ClientInfo {
        id: info.id.to_string(),
        kind: detail.kind.to_owned(),
        protocol: info.gate,
        publish: detail.publish,
        ip: info.ip().to_string(),
        vhost: detail.vhost.clone(),
        app: detail.app.clone(),
        stream: stream.as_ref().map_or_else(|| name(info), |s| s.key.name.to_string()),
        stream_id: stream.map(|s| s.api_id.clone()),
        page_url: crate::config::redact::word(&detail.page_url),
        alive_seconds: info.alive().as_secs_f64(),
        received_bytes: info.counters.recv_bytes.load(Relaxed),
        sent_bytes: info.counters.send_bytes.load(Relaxed),
        receive_kbps: recv,
        send_kbps: send,
        health: health::of_client(info, &taken, of_stream.as_ref()),
        note: info.note().map(|note| note.to_string()),
    }
}

fn list(call: &Call<'_>) -> Result<Response, Problem> {
    let given = &call.given;
    let mut all = call.ask.host.sessions.all();
    all.retain(|info| {
        let none = gate::Detail::default();
        let detail = info.detail().unwrap_or(&none);
        given.passes("vhost", &detail.vhost)
            && given.passes("app", &detail.app)
            && given.passes("protocol", info.gate)
            && given.flag("publish").is_none_or(|wanted| wanted == detail.publish)
            && (given.get("stream").is_none() || given.passes("stream", &name(info)))
            && (given.get("ip").is_none() || given.passes("ip", &info.ip().to_string()))
    });
    let key = |info: &Arc<SessionInfo>, word: &str| match word {
        "alive" => Key::Number(info.alive().as_secs_f64()),
        "send_kbps" => {
            let rate = info.rate.lock().unwrap_or_else(PoisonError::into_inner).kbps();
            Key::Number(rate.1 as f64)
        }
        "lag" => Key::Number(info.counters.lag_ms.load(Relaxed) as f64),
        "dropped" => Key::Number(info.counters.lag_dropped.load(Relaxed) as f64),
        _ => Key::Word(info.id.to_string()),
    };
    given.sort(&mut all, key, |info| info.id.to_string());
    json(&given.page(all, |info| client(call, &info)))
}

fn find(call: &Call<'_>) -> Result<Arc<SessionInfo>, Problem> {
    let told = "there is no client of that id";
    let found = call.ask.host.sessions.get(call.given.text("id"));
    found.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, told).code(2049))
}

fn one(call: &Call<'_>) -> Result<Response, Problem> {
    json(&client(call, &find(call)?))
}

fn kick(call: &Call<'_>) -> Result<Response, Problem> {
    let info = find(call)?;
    info.kick(Kick::Api);
    if let Some(who) = &call.who {
        told_kick(who, call.ask, &info);
    }
    Ok(nothing())
}
