//! Files that are being recorded.

use std::sync::atomic::Ordering::Relaxed;

use gate::http::Response;
use schemars::JsonSchema;
use serde::Serialize;

use super::params::{Key, LIMIT, OFFSET, Page, Param, What};
use super::problem::Problem;
use super::{Answer, Call, Endpoint, Handle, json};

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint {
    method: "GET",
    path: "/recordings",
    id: "listRecordings",
    summary: "Recordings in progress",
    description: "Files that streams are being written to. They have `.tmp` behind their names \
                  until they are finished.",
    guarded: false,
    params: &[
        Param {
            name: "sort",
            what: What::OneOf(&["since", "-since", "bytes", "-bytes", "stream", "-stream"]),
            docs: "The order; a minus turns it around.",
        },
        LIMIT,
        OFFSET,
    ],
    answer: Answer::Json(|schemas| schemas.subschema_for::<Page<RecordingInfo>>()),
    problems: &[],
    handle: Handle::Now(list),
}];

/// A file that is being recorded.
#[derive(Serialize, JsonSchema)]
struct RecordingInfo {
    /// The stream, with its virtual host unless that is the default one: `/live/livestream`.
    stream: String,
    /// The publisher, in `/clients`.
    client: String,
    /// The name that it will have, as the configuration makes it.
    file: String,
    /// When it began, in milliseconds since 1970.
    since_ms: i64,
    /// On disk.
    bytes: u64,
}

fn list(call: &Call<'_>) -> Result<Response, Problem> {
    let all = call.ask.host.recordings.all();
    let info = |r: &std::sync::Arc<gate::recordings::Recording>| RecordingInfo {
        stream: r.stream.clone(),
        client: r.session.clone(),
        file: r.file.clone(),
        since_ms: r.since_unix_ms,
        bytes: r.bytes.load(Relaxed),
    };
    let mut found: Vec<RecordingInfo> = all.iter().map(info).collect();
    let key = |r: &RecordingInfo, word: &str| match word {
        "bytes" => Key::Number(r.bytes as f64),
        "stream" => Key::Word(r.stream.clone()),
        _ => Key::Number(r.since_ms as f64),
    };
    call.given.sort(&mut found, key, |r| r.file.clone());
    json(&call.given.page(found, |r| r))
}
