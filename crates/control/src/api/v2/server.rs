//! The server itself: versions, uptime, capacity, its shards and their pace.

use std::sync::atomic::Ordering::Relaxed;

use gate::http::Response;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::problem::Problem;
use super::{Answer, Call, Endpoint, Handle, json};

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint {
    method: "GET",
    path: "/server",
    id: "getServer",
    summary: "The server",
    description: "Versions, uptime, capacity, the machine, and each worker with its pace.",
    guarded: false,
    params: &[],
    answer: Answer::Json(|schemas| schemas.subschema_for::<Server>()),
    problems: NONE,
    handle: Handle::Now(answer),
}];

const NONE: &[StatusCode] = &[];

/// The server.
#[derive(Serialize, JsonSchema)]
struct Server {
    /// Always `millrace`.
    name: &'static str,
    version: &'static str,
    /// The SRS whose API `/api/v1/` is.
    compatible_with: String,
    /// Stays the same over restarts.
    server_id: String,
    /// New with each start.
    service_id: String,
    pid: u32,
    /// When the program was built, UTC.
    built_at: String,
    uptime_seconds: f64,
    /// It stops, and takes no new sessions.
    draining: bool,
    features: Vec<&'static str>,
    capacity: Capacity,
    traffic: Traffic,
    machine: Machine,
    /// The workers: one thread each, with sessions of its own.
    shards: Vec<Shard>,
}

/// What is taken, and how much may be. A limit of 0 is none.
#[derive(Serialize, JsonSchema)]
struct Capacity {
    connections: usize,
    connections_max: usize,
    connections_max_per_ip: usize,
    connections_refused: u64,
    /// Publishers and players.
    clients: usize,
    streams: usize,
    /// Streams with a publisher.
    streams_published: usize,
    event_listeners: usize,
}

/// Since the start, and per second over the last sample.
#[derive(Serialize, JsonSchema)]
struct Traffic {
    received_bytes: u64,
    sent_bytes: u64,
    /// Sessions since the start.
    sessions: u64,
}

/// Process and machine; zeros where the system does not tell.
#[derive(Serialize, JsonSchema)]
struct Machine {
    /// Processor use of the server; 1 is one processor.
    cpu: f64,
    /// Resident memory of the server, kB.
    memory_kb: u64,
    /// Busy part of all processors, 0 to 1.
    machine_cpu: f64,
    machine_memory_kb: u64,
    processors: u64,
    /// Over 1, 5 and 15 minutes.
    load: [f64; 3],
}

/// One worker.
#[derive(Serialize, JsonSchema)]
struct Shard {
    id: usize,
    sessions: usize,
    /// Players served from logs.
    players: usize,
    /// Wire forms of streams that are packaged here.
    renditions: usize,
    log_bytes: usize,
    /// Thousandths of a core that it took in the last half second.
    busy_permille: u32,
    /// 0: each message is sent at once; 1: each picture; more: players in so many groups.
    pace: u32,
    /// The pace in words.
    pace_text: String,
    /// How long messages of a publisher gather before they are read.
    read_pause_ms: u32,
    sends: u64,
    sent_bytes: u64,
    /// Sessions that a bug ended.
    panics: u64,
}

fn answer(call: &Call<'_>) -> Result<Response, Problem> {
    let (host, figures) = (&call.ask.host, &call.api.figures);
    let (id, limits, sample) = (&host.identity, host.limits(), figures.sample());
    let streams = host.hub.all();
    let totals = figures.ledger().totals(&streams);
    let (major, minor, revision) = id.compat_version;
    let listed = |s: &&std::sync::Arc<hub::Stream>| crate::sampler::ledger::is_listed(s);
    json(&Server {
        name: "millrace",
        version: id.version,
        compatible_with: format!("{major}.{minor}.{revision}"),
        server_id: id.server_id.clone(),
        service_id: id.service_id.clone(),
        pid: std::process::id(),
        built_at: crate::api::build_date(),
        uptime_seconds: figures.uptime().as_secs_f64(),
        draining: host.is_draining(),
        features: call.api.features.to_vec(),
        capacity: Capacity {
            connections: host.connections.load(Relaxed),
            connections_max: limits.max_connections,
            connections_max_per_ip: limits.max_connections_per_ip,
            connections_refused: host.refused.load(Relaxed),
            clients: host.sessions.len(),
            streams: streams.iter().filter(listed).count(),
            streams_published: streams.iter().filter(|s| s.is_active()).count(),
            event_listeners: figures.events.listeners(),
        },
        traffic: Traffic {
            received_bytes: totals.recv,
            sent_bytes: totals.send,
            sessions: host.sessions.total.load(Relaxed),
        },
        machine: Machine {
            cpu: sample.process_percent,
            memory_kb: sample.rss_kb,
            machine_cpu: sample.cpu_percent,
            machine_memory_kb: sample.memory.unwrap_or_default().total,
            processors: sample.cpus,
            load: sample.load,
        },
        shards: host.shards().iter().map(shard).collect(),
    })
}

fn shard(handle: &hub::ShardHandle) -> Shard {
    let s = handle.stats();
    let pace = s.pace.load(Relaxed);
    Shard {
        id: handle.id(),
        sessions: s.sessions.load(Relaxed),
        players: s.subscribers.load(Relaxed),
        renditions: s.renditions.load(Relaxed),
        log_bytes: s.log_bytes.load(Relaxed),
        busy_permille: s.busy_permille.load(Relaxed),
        pace,
        pace_text: match pace {
            0 => "each message at once".to_owned(),
            1 => "each picture".to_owned(),
            groups => format!("players in {groups} groups"),
        },
        read_pause_ms: s.read_pause_ms.load(Relaxed),
        sends: s.sends.load(Relaxed),
        sent_bytes: s.sent_bytes.load(Relaxed),
        panics: s.panics.load(Relaxed),
    }
}
