//! Live streams, their tracks, and how they are doing.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use gate::http::Response;
use http::StatusCode;
use hub::{Stream, TrackState};
use media::{CodecInfo, Kind};
use schemars::JsonSchema;
use serde::Serialize;

use super::params::{Key, LIMIT, OFFSET, Page, Param, What};
use super::problem::Problem;
use super::{Answer, Call, Endpoint, Handle, json};
use crate::api::v1::live;
use crate::sampler::health::StreamHealth;
use crate::sampler::ledger::is_listed;

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: "GET",
        path: "/streams",
        id: "listStreams",
        summary: "Live streams",
        description: "Streams that somebody publishes or is on, each with its tracks and health.",
        guarded: false,
        params: &[
            Param { name: "vhost", what: What::Text, docs: "Only those of this virtual host." },
            Param { name: "app", what: What::Text, docs: "Only those of this application." },
            Param { name: "stream", what: What::Text, docs: "Only those of this name." },
            Param { name: "ip", what: What::Text, docs: "Only those published from this address." },
            Param {
                name: "protocol",
                what: What::Text,
                docs: "Only those published by this protocol (`rtmp`).",
            },
            Param {
                name: "publish",
                what: What::Either,
                docs: "true: only those that somebody publishes; false: only the others.",
            },
            Param {
                name: "verdict",
                what: What::OneOf(&[
                    "any", "ok", "idle", "starting", "encoder", "network", "player", "server",
                ]),
                docs: "Only those with this verdict on their health.",
            },
            Param {
                name: "sort",
                what: What::OneOf(&[
                    "name",
                    "-name",
                    "clients",
                    "-clients",
                    "receive_kbps",
                    "-receive_kbps",
                    "send_kbps",
                    "-send_kbps",
                ]),
                docs: "The order; a minus turns it around.",
            },
            LIMIT,
            OFFSET,
        ],
        answer: Answer::Json(|schemas| schemas.subschema_for::<Page<StreamInfo>>()),
        problems: &[],
        handle: Handle::Now(list),
    },
    Endpoint {
        method: "GET",
        path: "/streams/{id}",
        id: "getStream",
        summary: "One stream",
        description: "By its id, `vid-...`.",
        guarded: false,
        params: &[Param { name: "id", what: What::Segment, docs: "Id of the stream." }],
        answer: Answer::Json(|schemas| schemas.subschema_for::<StreamInfo>()),
        problems: &[StatusCode::NOT_FOUND],
        handle: Handle::Now(one),
    },
];

/// A live stream.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Stream")]
struct StreamInfo {
    id: String,
    vhost: String,
    app: String,
    name: String,
    /// `/app/name`, with the virtual host in front unless it is the default one.
    url: String,
    /// Somebody publishes it.
    published: bool,
    /// Id of the client that publishes, or did last; null when nobody has.
    publisher: Option<String>,
    /// Publishers and players.
    clients: usize,
    received_bytes: u64,
    sent_bytes: u64,
    /// Over the last half minute, kbit/s.
    receive_kbps: u64,
    send_kbps: u64,
    tracks: Vec<Track>,
    health: StreamHealth,
}

/// One track.
#[derive(Serialize, JsonSchema)]
struct Track {
    /// `video` or `audio`.
    kind: &'static str,
    /// Number among the tracks of its kind.
    number: u8,
    codec: &'static str,
    /// As far as the codec has one.
    profile: Option<&'static str>,
    level: Option<&'static str>,
    width: Option<u32>,
    height: Option<u32>,
    sample_rate: Option<u32>,
    channels: Option<u32>,
    /// Media frames so far.
    frames: u64,
}

fn track(state: &TrackState) -> Track {
    let mut told = Track {
        kind: if state.codec.kind() == Kind::Video { "video" } else { "audio" },
        number: state.track,
        codec: state.codec.name(),
        profile: None,
        level: None,
        width: None,
        height: None,
        sample_rate: None,
        channels: None,
        frames: state.frames,
    };
    let known = |text: &'static str| (text != "Other").then_some(text);
    match live::info(state) {
        CodecInfo::Video(info) => {
            (told.profile, told.level) = (known(info.profile), known(info.level));
            if info.width > 0 {
                told.width = Some(info.width);
                told.height = Some(info.height);
            }
        }
        CodecInfo::Audio(info) => {
            told.profile = known(info.profile);
            if info.sample_rate > 0 {
                told.sample_rate = Some(info.sample_rate);
                told.channels = Some(info.channels.into());
            }
        }
        CodecInfo::Data(_) => {}
    }
    told
}

fn info(call: &Call<'_>, s: &Arc<Stream>, health: StreamHealth) -> StreamInfo {
    let (receive_kbps, send_kbps) = call.api.figures.ledger().stream_kbps(s.id);
    StreamInfo {
        id: s.api_id.clone(),
        vhost: s.key.vhost.to_string(),
        app: s.key.app.to_string(),
        name: s.key.name.to_string(),
        url: s.key.url(),
        published: s.is_active(),
        publisher: Some(s.publisher_id()).filter(|id| !id.is_empty()),
        clients: s.stats.clients.load(Relaxed),
        received_bytes: s.stats.recv_bytes.load(Relaxed),
        sent_bytes: s.stats.send_bytes.load(Relaxed),
        receive_kbps,
        send_kbps,
        tracks: s.tracks().iter().map(track).collect(),
        health,
    }
}

fn list(call: &Call<'_>) -> Result<Response, Problem> {
    let given = &call.given;
    let mut all = call.ask.host.hub.all();
    all.retain(|s| {
        is_listed(s)
            && given.passes("vhost", &s.key.vhost)
            && given.passes("app", &s.key.app)
            && given.passes("stream", &s.key.name)
            && given.flag("publish").is_none_or(|wanted| wanted == s.is_active())
    });
    if given.get("ip").is_some() || given.get("protocol").is_some() {
        all.retain(|s| {
            call.ask.host.sessions.get(&s.publisher_id()).is_some_and(|owner| {
                given.passes("ip", &owner.ip().to_string()) && given.passes("protocol", owner.gate)
            })
        });
    }
    let health = |s: Arc<Stream>| (call.api.figures.stream_health(&s), s);
    let mut all: Vec<(StreamHealth, Arc<Stream>)> = all.into_iter().map(health).collect();
    let wanted = given.text("verdict");
    all.retain(|(health, _)| wanted == "any" || health.verdict.word() == wanted);
    let key = |(_, s): &(StreamHealth, Arc<Stream>), word: &str| match word {
        "clients" => Key::Number(s.stats.clients.load(Relaxed) as f64),
        "receive_kbps" => Key::Number(call.api.figures.ledger().stream_kbps(s.id).0 as f64),
        "send_kbps" => Key::Number(call.api.figures.ledger().stream_kbps(s.id).1 as f64),
        _ => Key::Word(s.key.url()),
    };
    given.sort(&mut all, key, |(_, s)| s.api_id.clone());
    json(&given.page(all, |(health, s)| info(call, &s, health)))
}

fn one(call: &Call<'_>) -> Result<Response, Problem> {
    let id = call.given.text("id");
    match call.ask.host.hub.all().into_iter().find(|s| s.api_id == id && is_listed(s)) {
        Some(s) => json(&info(call, &s, call.api.figures.stream_health(&s))),
        None => {
            let told = "there is no stream of that id";
            Err(Problem::new(StatusCode::NOT_FOUND, told).code(2048))
        }
    }
}
