//! Virtual hosts: those that are configured, and what is going on in them.

use gate::http::Response;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::params::{Key, LIMIT, OFFSET, Page, Param, What};
use super::problem::Problem;
use super::{Answer, Call, Endpoint, Handle, json};
use crate::sampler::ledger::VhostFigures;

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: "GET",
        path: "/vhosts",
        id: "listVhosts",
        summary: "Virtual hosts",
        description: "Every virtual host that is configured, and every one that has been used.",
        guarded: false,
        params: &[
            Param {
                name: "sort",
                what: What::OneOf(&["name", "-name", "clients", "-clients", "streams", "-streams"]),
                docs: "The order; a minus turns it around.",
            },
            LIMIT,
            OFFSET,
        ],
        answer: Answer::Json(|schemas| schemas.subschema_for::<Page<Vhost>>()),
        problems: &[],
        handle: Handle::Now(list),
    },
    Endpoint {
        method: "GET",
        path: "/vhosts/{name}",
        id: "getVhost",
        summary: "One virtual host",
        description: "By its name in the configuration, `__defaultVhost__` among them.",
        guarded: false,
        params: &[Param { name: "name", what: What::Segment, docs: "Name of the virtual host." }],
        answer: Answer::Json(|schemas| schemas.subschema_for::<Vhost>()),
        problems: &[StatusCode::NOT_FOUND],
        handle: Handle::Now(one),
    },
];

/// A virtual host.
#[derive(Serialize, JsonSchema)]
struct Vhost {
    name: String,
    /// Its id in `/api/v1/`.
    id: String,
    /// There is a block for it, and that is not switched off.
    enabled: bool,
    /// Publishers and players.
    clients: usize,
    streams: usize,
    received_bytes: u64,
    sent_bytes: u64,
    /// Over the last half minute, kbit/s.
    receive_kbps: u64,
    send_kbps: u64,
    hls: bool,
}

fn all(call: &Call<'_>) -> Vec<Vhost> {
    let host = &call.ask.host;
    let config = host.config();
    let mut ledger = call.api.figures.ledger();
    for vhost in config.vhosts() {
        ledger.vhost_id(vhost.name());
    }
    ledger.vhosts(&host.hub.all()).iter().map(|v| vhost(&config, v)).collect()
}

fn vhost(config: &gate::conf::Config, v: &VhostFigures) -> Vhost {
    let section = config.vhost(&v.name).filter(|section| section.name() == v.name);
    Vhost {
        name: v.name.clone(),
        id: v.id.clone(),
        enabled: section.is_some(),
        clients: v.clients,
        streams: v.streams,
        received_bytes: v.totals.recv,
        sent_bytes: v.totals.send,
        receive_kbps: v.kbps.0,
        send_kbps: v.kbps.1,
        hls: section.is_some_and(|s| s.bool("hls.enabled")),
    }
}

fn list(call: &Call<'_>) -> Result<Response, Problem> {
    let mut found = all(call);
    let key = |v: &Vhost, word: &str| match word {
        "clients" => Key::Number(v.clients as f64),
        "streams" => Key::Number(v.streams as f64),
        _ => Key::Word(v.name.clone()),
    };
    call.given.sort(&mut found, key, |v| v.name.clone());
    json(&call.given.page(found, |v| v))
}

fn one(call: &Call<'_>) -> Result<Response, Problem> {
    let name = call.given.text("name");
    match all(call).into_iter().find(|v| v.name == name) {
        Some(found) => json(&found),
        None => {
            let told = "there is no virtual host of that name";
            Err(Problem::new(StatusCode::NOT_FOUND, told).code(2014))
        }
    }
}
