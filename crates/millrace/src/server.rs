//! What is started, and in which order.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use control::access::Access;
use control::api::{self, ApiParts};
use control::config::{Diagnostic, Disk, Request, Severity};
use control::files::FilesMount;
use control::log;
use control::process::{self, PidFile, ProcessError};
use control::reload::Reloader;
use control::sampler::{self, Figures};
use gate::conf::Config;
use gate::{Gate, Host, HostParts, Identity, PrepareError};
use hub::Hub;

use crate::gates::{FEATURES, Gates};
use crate::signals::{self, Stop};
use crate::{banner, demo};

/// Longest wait for sessions to end by themselves after a stop was asked for.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// What the command line decided.
pub(crate) struct Start {
    pub(crate) request: Request,
    pub(crate) config: Arc<Config>,
    pub(crate) notes: Vec<Diagnostic>,
    pub(crate) fileless: bool,
    pub(crate) demo: bool,
}

/// Why the server did not start.
#[derive(Debug)]
pub(crate) enum StartError {
    Process(ProcessError),
    Prepare(PrepareError),
    System(&'static str, std::io::Error),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Process(e) => e.fmt(f),
            Self::Prepare(e) => {
                e.fmt(f)?;
                if let PrepareError::Bind { error, .. } = e {
                    f.write_str(match error.kind() {
                        std::io::ErrorKind::AddrInUse => {
                            "; is another server running? Choose another port in the configuration \
                             or by environment (SRS_LISTEN, SRS_HTTP_API_LISTEN, \
                             SRS_HTTP_SERVER_LISTEN)"
                        }
                        std::io::ErrorKind::PermissionDenied => {
                            "; ports below 1024 need root or CAP_NET_BIND_SERVICE"
                        }
                        _ => "",
                    })?;
                }
                Ok(())
            }
            Self::System(what, e) => write!(f, "cannot {what}: {e}"),
        }
    }
}

impl StartError {
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            Self::Process(e) => e.exit_status(),
            Self::Prepare(_) => 1023u16.to_le_bytes()[0],
            Self::System(..) => 1,
        }
    }
}

impl From<ProcessError> for StartError {
    fn from(e: ProcessError) -> Self {
        Self::Process(e)
    }
}

impl From<PrepareError> for StartError {
    fn from(e: PrepareError) -> Self {
        Self::Prepare(e)
    }
}

/// Runs the server until it is told to stop.
pub(crate) fn run(start: Start) -> Result<(), StartError> {
    let config = start.config.clone();
    let root = config.root();
    let daemon = root.bool("daemon") && !start.demo;
    let allowed = process::raise_open_files();
    let files = process::check_open_files(gate::Limits::new(&config).max_connections, allowed);
    // Who wrote a number wants it; the default is nobody's wish and must not prevent a start.
    let few = match files {
        Err(e) if root.is_set("max_connections") => return Err(e.into()),
        files => files.err(),
    };
    process::enter(Path::new(root.str("work_dir")))?;
    // Before going to the background, so that a second instance is told on the terminal.
    let mut pid = match start.fileless {
        true => None,
        false => Some(PidFile::create(Path::new(root.str("pid")))?),
    };
    if daemon {
        banner::background(&config);
        process::daemonize()?;
        if let Some(pid) = &mut pid {
            pid.write()?;
        }
    }
    // From here on there may be threads.
    let options = log::Options::new(&config);
    let log = log::start(&options).map_err(|e| StartError::System("open the log", e))?;
    if let Some(few) = few {
        tracing::warn!("{few}");
    }
    for note in &start.notes {
        match note.severity {
            Severity::Info => tracing::info!("{}", note.one_line()),
            _ => tracing::warn!("{}", note.one_line()),
        }
    }
    let control = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("control")
        .enable_all()
        .build()
        .map_err(|e| StartError::System("start the control runtime", e))?;
    let result = control.block_on(serve(start, &log, control.handle().clone(), pid.is_some()));
    // On the terminal the caller says it; a log file would otherwise end without a reason.
    if let (Err(e), log::Tank::File(_)) = (&result, &options.tank) {
        tracing::error!("{e}");
    }
    log.flush();
    drop(pid);
    control.shutdown_timeout(LAST_WORDS);
    result
}

/// How many shards: as configured, or as many cores as the process may use (affinity and cgroup
/// quota honoured).
fn workers(config: &Config) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match usize::try_from(config.root().int("workers")) {
        Ok(0) | Err(_) => cores,
        Ok(n) => n.min(256),
    }
}

async fn serve(
    start: Start,
    log: &log::LogHandle,
    control: tokio::runtime::Handle,
    keep_id: bool,
) -> Result<(), StartError> {
    let config = start.config;
    let sender = match config.root().bool("io_uring") {
        true => hub::Sender::IoUring,
        false => hub::Sender::Plain,
    };
    let shards = hub::start_shards_with(workers(&config), sender)
        .map_err(|e| StartError::System("start the worker threads", e))?;
    let server_id = process::server_id(&config, keep_id);
    let access = Access::new(Box::new(Disk));
    let host = Host::new(HostParts {
        hub: Hub::new(|_| format!("vid-{}", gate::identity::random_id(7))),
        shards,
        config: config.clone(),
        identity: Identity::new(server_id, crate::VERSION),
        admission: Box::new(access.clone()),
        control,
        fileless: start.fileless,
    });
    let figures = Arc::new(Figures::default());
    let listening = Arc::new(AtomicBool::new(false));
    // The API reloads the gates, and the gates serve the API: the reloader learns of them later.
    let reloader = Arc::new(Reloader::new(host.clone(), start.request, Box::new(Disk)));
    let (api, api_root) = api::mounts(ApiParts {
        figures: figures.clone(),
        reloader: reloader.clone(),
        ready: listening.clone(),
        features: FEATURES,
    });
    let gates = Gates::new(&host, vec![api], vec![Arc::new(FilesMount), api_root])
        .map_err(|e| StartError::System("start the disk writer", e))?;
    // Rules first: whoever comes when the ports open must find them.
    let prepared: Vec<Arc<dyn Gate>> =
        std::iter::once::<Arc<dyn Gate>>(Arc::new(access)).chain(gates.all()).collect();
    reloader.set_gates(prepared.clone());
    let mut ready = Vec::new();
    for gate in &prepared {
        ready.push(gate.prepare(&host, &config).await?);
    }
    for gate in ready {
        for line in gate.commit() {
            tracing::info!("{line}");
        }
    }
    listening.store(true, Relaxed);
    host.control.spawn(sampler::run(host.clone(), figures));
    if start.demo {
        demo::publish(&host);
    }
    banner::print(&host, &config, start.demo);

    let stop = signals::watch(&host, &gates, &reloader, log).await;
    shut_down(&host, &gates, stop).await;
    Ok(())
}

async fn shut_down(host: &Arc<Host>, gates: &Gates, stop: Stop) {
    let config = host.config();
    let root = config.root();
    let drain = stop == Stop::Drain || root.bool("force_grace_quit");
    if drain {
        tracing::info!("graceful quit: no new sessions from now on");
        tokio::time::sleep(root.millis("grace_start_wait")).await;
    }
    host.drain();
    for gate in gates.all() {
        gate.close_listeners();
    }
    if drain {
        signals::until_quiet(host).await;
        tokio::time::sleep(root.millis("grace_final_wait")).await;
    }
    for session in host.sessions.all() {
        session.kick(gate::session::Kick::Shutdown);
    }
    let quiet = async {
        while !host.sessions.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let _ = tokio::time::timeout(LAST_WORDS, quiet).await;
    gates.flush();
    tracing::info!("millrace stops");
}
