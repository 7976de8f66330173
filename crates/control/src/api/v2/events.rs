//! Server-sent events.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gate::Host;
use gate::http::{Body, BodySender, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use super::params::{Param, What};
use super::problem::Problem;
use super::{Answer, Call, Endpoint, Handle};
use crate::events::{Event, Heard, Listener};

/// A line is sent at least so often, so that proxies keep the connection and ends are noticed.
const ALIVE: Duration = Duration::from_secs(15);
/// A listener that takes nothing for so long is ended.
const STUCK: Duration = Duration::from_secs(60);

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint {
    method: "GET",
    path: "/events",
    id: "listen",
    summary: "What happens, as it happens",
    description: "Server-sent events without end. The first is `hello`. Each has a name \
                  (`stream.published`, `client.left` …) and one line of JSON with `id`, `at_ms` and \
                  what happened; what was seen within one second is told together. A listener that \
                  reads too slowly loses the oldest and gets `lost` with their `count`: then read \
                  the lists again. `http_api.events_max` says how many may listen.",
    guarded: false,
    params: &[Param {
        name: "topic",
        what: What::OneOf(&["all", "streams", "clients", "configuration", "faults"]),
        docs: "Only events of this kind.",
    }],
    answer: Answer::Events,
    problems: &[StatusCode::SERVICE_UNAVAILABLE],
    handle: Handle::Now(answer),
}];

fn answer(call: &Call<'_>) -> Result<Response, Problem> {
    let topic = call.given.text("topic").to_owned();
    let told = move |event: &Event| {
        if topic != "all" && event.topic().word() != topic {
            return None;
        }
        let data = serde_json::to_string(event).unwrap_or_default();
        Some(format!("id: {}\nevent: {}\ndata: {data}\n\n", event.id, event.name()))
    };
    listen(call, |_| Map::new(), told)
}

/// Tells what happens from now on: `hello`, with what `first` adds to it once nothing can be
/// missed any more, then each event as `told` writes it, or not at all.
pub(super) fn listen(
    call: &Call<'_>,
    first: impl FnOnce(&Host) -> Map<String, Value>,
    told: impl Fn(&Event) -> Option<String> + Send + 'static,
) -> Result<Response, Problem> {
    let (api, host) = (call.api, &call.ask.host);
    let most = host.config().root().int("http_api.events_max");
    let most = usize::try_from(most).unwrap_or(0);
    let last = api.reloader.last();
    let Some(listener) = api.figures.events.listen(host, &api.figures, last, most) else {
        let told = format!("{most} listeners are there already (http_api.events_max)");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, told));
    };
    let (sender, body) = Body::channel();
    if call.ask.parts.method != http::Method::HEAD {
        let id = &host.identity;
        let mut hello = Map::new();
        hello.insert("server".to_owned(), json!(id.server_id));
        hello.insert("service".to_owned(), json!(id.service_id));
        hello.insert("version".to_owned(), json!(id.version));
        hello.append(&mut first(host));
        let hello = format!("event: hello\ndata: {}\n\n", Value::Object(hello));
        tokio::spawn(feed(host.clone(), listener, sender, hello, told));
    }
    let mut response = Response::new(body);
    let kind = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

/// Feeds one listener until it, or the server, goes.
async fn feed(
    host: Arc<Host>,
    mut listener: Listener,
    sender: BodySender,
    hello: String,
    told: impl Fn(&Event) -> Option<String>,
) {
    let mut next = Some(hello);
    loop {
        if let Some(text) = next.take() {
            match tokio::time::timeout(STUCK, sender.send(Bytes::from(text))).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return,
            }
        }
        next = tokio::select! {
            heard = listener.hear() => match heard {
                Heard::Event(event) => told(&event),
                Heard::Lost(count) => {
                    Some(format!("event: lost\ndata: {}\n\n", json!({ "count": count })))
                }
                Heard::Over => return,
            },
            () = tokio::time::sleep(ALIVE) => Some(": alive\n\n".to_owned()),
            () = sender.closed() => return,
        };
        if host.is_draining() {
            return;
        }
    }
}
