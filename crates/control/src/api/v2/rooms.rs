//! Rooms: the streams of one application are the members of a room, as in a video call. Whoever
//! publishes is in it, by whatever protocol; nothing has to be made or ended.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use gate::Host;
use gate::conf::DEFAULT_VHOST;
use gate::http::Response;
use http::StatusCode;
use hub::Stream;
use media::Kind;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, json};

use super::params::{Given, LIMIT, OFFSET, Page, Param, What};
use super::problem::Problem;
use super::{Answer, Call, Endpoint, Handle, events, json as answer};
use crate::events::{Event, What as Happened};

const APP: Param = Param { name: "app", what: What::Segment, docs: "The application." };
const VHOST: Param = Param {
    name: "vhost",
    what: What::Text,
    docs: "Virtual host of the room; the default one without it.",
};
/// Members that `hello` tells of. More are a conference hall: read the list.
const MAX_HELLO: usize = 1000;

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: "GET",
        path: "/rooms/{app}",
        id: "listMembers",
        summary: "Who is in a room",
        description: "The streams of an application that somebody publishes, by name. A room in \
                      which nobody is has no members, whether it was ever used or not.",
        guarded: false,
        params: &[APP, VHOST, LIMIT, OFFSET],
        answer: Answer::Json(|schemas| schemas.subschema_for::<Page<Member>>()),
        problems: &[],
        handle: Handle::Now(list),
    },
    Endpoint {
        method: "GET",
        path: "/rooms/{app}/events",
        id: "listenToRoom",
        summary: "Who joins and leaves a room, as it happens",
        description: "Server-sent events without end. The first is `hello` with the `members` that \
                      are there; then `room.joined` and `room.left`, each with the `member`, seen \
                      once a second. `lost` as for all events. `http_api.events_max` says how many \
                      may listen.",
        guarded: false,
        params: &[APP, VHOST],
        answer: Answer::Events,
        problems: &[StatusCode::SERVICE_UNAVAILABLE],
        handle: Handle::Now(listen),
    },
];

/// A stream in a room.
#[derive(Serialize, JsonSchema)]
struct Member {
    /// Id of the stream.
    id: String,
    vhost: String,
    app: String,
    /// The stream, which is the member's name.
    name: String,
    /// Session of the publisher.
    publisher: String,
    /// How it publishes: `rtc`, `rtmp` …; null when it is just leaving.
    protocol: Option<&'static str>,
    /// How many watch or listen to it.
    players: usize,
    audio: bool,
    video: bool,
}

impl Member {
    fn of(host: &Host, stream: &Arc<Stream>) -> Self {
        let publisher = stream.publisher_id();
        let tracks = stream.tracks();
        let has = |kind| tracks.iter().any(|track| track.codec.kind() == kind);
        Self {
            id: stream.api_id.clone(),
            vhost: stream.key.vhost.to_string(),
            app: stream.key.app.to_string(),
            name: stream.key.name.to_string(),
            protocol: host.sessions.get(&publisher).map(|session| session.gate),
            publisher,
            players: stream.stats.clients.load(Relaxed).saturating_sub(1),
            audio: has(Kind::Audio),
            video: has(Kind::Video),
        }
    }
}

/// The room that is asked for: its virtual host and its application.
fn room(host: &Host, given: &Given) -> (String, String) {
    let named = given.get("vhost").unwrap_or(DEFAULT_VHOST);
    let vhost = host.resolve_vhost(named).unwrap_or_else(|| named.to_owned());
    (vhost, given.text("app").to_owned())
}

/// The streams of a room, by name.
fn streams(host: &Host, (vhost, app): &(String, String)) -> Vec<Arc<Stream>> {
    let mut all = host.hub.all();
    all.retain(|s| s.is_active() && *s.key.vhost == **vhost && *s.key.app == **app);
    all.sort_by(|a, b| a.key.name.cmp(&b.key.name));
    all
}

fn list(call: &Call<'_>) -> Result<Response, Problem> {
    let host = &call.ask.host;
    let all = streams(host, &room(host, &call.given));
    answer(&call.given.page(all, |stream| Member::of(host, &stream)))
}

fn listen(call: &Call<'_>) -> Result<Response, Problem> {
    let room = room(&call.ask.host, &call.given);
    let (vhost, app) = room.clone();
    let first = |host: &Host| {
        let all = streams(host, &room).into_iter().take(MAX_HELLO);
        let members: Vec<Member> = all.map(|stream| Member::of(host, &stream)).collect();
        let mut hello = Map::new();
        hello.insert("vhost".to_owned(), json!(room.0));
        hello.insert("app".to_owned(), json!(room.1));
        hello.insert("members".to_owned(), json!(members));
        hello
    };
    let told = move |event: &Event| {
        let (name, member) = match &event.what {
            Happened::Published { stream } => ("room.joined", stream),
            Happened::Unpublished { stream } => ("room.left", stream),
            _ => return None,
        };
        if member.vhost != vhost || member.app != app {
            return None;
        }
        let (id, at_ms) = (event.id, event.at_ms);
        let data = json!({ "id": id, "at_ms": at_ms, "event": name, "member": member });
        Some(format!("id: {id}\nevent: {name}\ndata: {data}\n\n"))
    };
    events::listen(call, first, told)
}
