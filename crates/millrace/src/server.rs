//! What is started, and in which order.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use control::access::Access;
use control::admission::Admission;
use control::api::{self, ApiParts, Token};
use control::breaker;
use control::config::{Diagnostic, Disk, Request, Severity};
use control::exec::Programs;
use control::files::FilesMount;
use control::forward::Forwards;
use control::heartbeat;
use control::hooks::Hooks;
use control::log;
use control::process::account::{self, Account, AccountError};
use control::process::handover::{self, HandoverError, Inheritance, Origin, Predecessor};
use control::process::{self, Phase, PidFile, ProcessError};
use control::reload::Reloader;
use control::sampler::{self, Figures};
use control::telemetry::{self, Telemetry};
use gate::conf::Config;
use gate::{Gate, Host, HostParts, Identity, Inherited, PrepareError};
use hub::Hub;

use crate::gates::{FEATURES, Gates};
use crate::signals::{self, Signals, Stop, Told};
use crate::{banner, demo};

/// Longest wait for sessions to end by themselves after a stop was asked for.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// Longest wait for callbacks to be made after all sessions have ended.
const LAST_CALLBACKS: Duration = Duration::from_secs(3);

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
    Account(AccountError),
    /// For people.
    Prepare(String),
    System(&'static str, std::io::Error),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Process(e) => e.fmt(f),
            Self::Account(e) => e.fmt(f),
            Self::Prepare(told) => f.write_str(told),
            Self::System(what, e) => write!(f, "cannot {what}: {e}"),
        }
    }
}

impl StartError {
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            Self::Process(e) => e.exit_status(),
            Self::Prepare(_) | Self::Account(_) => 1023u16.to_le_bytes()[0],
            Self::System(..) => 1,
        }
    }
}

impl From<ProcessError> for StartError {
    fn from(e: ProcessError) -> Self {
        Self::Process(e)
    }
}

impl From<AccountError> for StartError {
    fn from(e: AccountError) -> Self {
        Self::Account(e)
    }
}

/// Runs the server until it is told to stop.
pub(crate) fn run(start: Start) -> Result<(), StartError> {
    let config = start.config.clone();
    let root = config.root();
    let origin = Origin::here().map_err(|e| StartError::System("tell how it was started", e))?;
    let Inheritance { sockets, predecessor } = handover::inherit();
    // Who takes over is in the background already, where its predecessor is.
    let daemon = root.bool("daemon") && !start.demo && predecessor.is_none();
    let allowed = process::raise_open_files();
    let files = process::check_open_files(gate::Limits::new(&config).max_connections, allowed);
    // Who wrote a number wants it; the default is nobody's wish and must not prevent a start.
    let few = match files {
        Err(e) if root.is_set("max_connections") => return Err(e.into()),
        files => files.err(),
    };
    process::enter(Path::new(root.str("work_dir")))?;
    let (account, stays) = Account::wanted(&config)?;
    if let Some(account) = &account {
        account.make_folders(&config)?;
    }
    // Before going to the background, so that a second instance is told on the terminal.
    let mut pid = match start.fileless || predecessor.is_some() {
        true => None,
        false => Some(PidFile::create(Path::new(root.str("pid")))?),
    };
    let (token, complaint) = process::api_token(&config, !start.fileless);
    if daemon {
        banner::background(&config, &token);
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
    for complaint in complaint.into_iter().chain(stays) {
        tracing::warn!("{complaint}");
    }
    if let (Some(file), true) = (&token.file, token.is_new) {
        tracing::info!("a token for the API was made; it is kept in {}", file.display());
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
    let mut process = Own { origin, sockets, predecessor, pid, account };
    let result =
        control.block_on(serve(start, token, &log, control.handle().clone(), &mut process));
    // On the terminal the caller says it; a log file would otherwise end without a reason.
    if let (Err(e), log::Tank::File(_)) = (&result, &options.tank) {
        tracing::error!("{e}");
    }
    log.flush();
    drop(process);
    control.shutdown_timeout(LAST_WORDS);
    result
}

/// What belongs to the process and not to the configuration.
struct Own {
    origin: Origin,
    sockets: Inherited,
    predecessor: Option<Predecessor>,
    pid: Option<PidFile>,
    account: Option<Account>,
}

impl Own {
    /// Stops being root, if it is to.
    fn give_up_root(
        &mut self,
        config: &Config,
        file: Option<&str>,
        kept: bool,
    ) -> Result<(), AccountError> {
        let Some(account) = self.account.take() else { return Ok(()) };
        account.become_it(config, kept)?;
        for trouble in account::troubles(config, file) {
            tracing::warn!("{trouble}");
        }
        Ok(())
    }
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
    token: Token,
    log: &log::LogHandle,
    control: tokio::runtime::Handle,
    process: &mut Own,
) -> Result<(), StartError> {
    let config = start.config;
    let sender = match config.root().bool("io_uring") {
        true => hub::Sender::IoUring,
        false => hub::Sender::Plain,
    };
    let shards = hub::start_shards_with(workers(&config), sender)
        .map_err(|e| StartError::System("start the worker threads", e))?;
    let server_id = process::server_id(&config, !start.fileless);
    let telemetry = Telemetry::default();
    let hooks = Hooks::new(std::env::current_dir().ok()).with_telemetry(telemetry.clone());
    let programs = Programs::default();
    let forwards = Forwards::new(hooks.clone());
    let access = Access::new(Box::new(Disk));
    let host = Host::new(HostParts {
        hub: Hub::new(|_| format!("vid-{}", gate::identity::random_id(7))),
        shards,
        config: config.clone(),
        identity: Identity::new(server_id, crate::VERSION),
        admission: Box::new(Admission {
            access: access.clone(),
            hooks: hooks.clone(),
            programs: programs.clone(),
            forwards: forwards.clone(),
            telemetry: telemetry.clone(),
        }),
        control,
        fileless: start.fileless,
        inherited: std::mem::take(&mut process.sockets),
    });
    let figures = Figures::new(hooks.clone()).with_programs(programs.clone());
    let figures = figures.with_forwards(forwards.clone()).with_telemetry(telemetry.clone());
    let figures = Arc::new(figures);
    host.sessions.set_witness(Box::new(telemetry.clone()));
    let listening = Arc::new(AtomicBool::new(false));
    // The API reloads the gates, and the gates serve the API: the reloader learns of them later.
    let by_env = || start.request.env.get("SRS_CONFIG_FILE").cloned();
    let file = start.request.file.clone().or_else(by_env);
    let reloader = Arc::new(Reloader::new(host.clone(), start.request, Box::new(Disk)));
    let (api, api_root) = api::mounts(ApiParts {
        figures: figures.clone(),
        reloader: reloader.clone(),
        ready: listening.clone(),
        features: FEATURES,
        token: Some(token.clone()),
    });
    let gates = Gates::new(&host, &forwards, vec![api], vec![Arc::new(FilesMount), api_root])
        .map_err(|e| StartError::System("start the disk writer", e))?;
    // Rules first: whoever comes when the ports open must find them.
    let first: Arc<dyn Gate> = Arc::new(access);
    let log_level: Arc<dyn Gate> = Arc::new(log.clone());
    let prepared: Vec<Arc<dyn Gate>> = std::iter::once(first)
        .chain(gates.all())
        .chain([log_level, Arc::new(forwards), Arc::new(telemetry.clone())])
        .collect();
    reloader.set_gates(prepared.clone());
    let mut ready = Vec::new();
    for gate in &prepared {
        let told = |e: PrepareError| StartError::Prepare(e.told(&config));
        ready.push(gate.prepare(&host, &config).await.map_err(told)?);
    }
    // All ports are open and nobody has been let in. After an upgrade the pid file is not ours yet.
    if process.predecessor.is_none() {
        process.give_up_root(&config, file.as_deref(), !start.fileless)?;
    }
    for gate in ready {
        for line in gate.commit() {
            tracing::info!("{line}");
        }
    }
    listening.store(true, Relaxed);
    for address in host.inherited.close_rest() {
        tracing::warn!(
            "closed {address}, which was handed to this process: nothing is configured to listen there"
        );
    }
    if let Some(predecessor) = process.predecessor.take() {
        predecessor.relieve().await;
        process.pid = own_pid_file(&host);
        process.give_up_root(&config, file.as_deref(), !start.fileless)?;
    }
    process::notify(Phase::Ready);
    host.control.spawn(breaker::run(host.clone()));
    host.control.spawn(heartbeat::run(host.clone(), figures.clone()));
    host.control.spawn(telemetry::run(host.clone(), telemetry.clone(), figures.clone()));
    host.control.spawn(sampler::run(host.clone(), figures, reloader.clone()));
    if start.demo {
        demo::publish(&host);
    }
    banner::print(&host, &config, start.demo, gates.webrtc_is_on(), &token);

    let mut signals = Signals::new();
    loop {
        match signals::watch(&mut signals, &host, &gates, &reloader, log).await {
            Told::Stop(stop) => {
                process::notify(Phase::Stopping);
                shut_down(&mut signals, &host, &gates, stop).await;
                break;
            }
            Told::Upgrade => match upgrade(&host, &gates, process).await {
                Ok(pid) => {
                    outlive(&mut signals, &host, pid).await;
                    shut_down(&mut signals, &host, &gates, Stop::Fast).await;
                    break;
                }
                Err(e) => tracing::error!("no upgrade, this process goes on: {e}"),
            },
        }
    }
    hooks.flush(LAST_CALLBACKS).await;
    programs.end().await;
    telemetry.flush(&host).await;
    tracing::info!("millrace stops");
    Ok(())
}

/// The pid file, as the configuration names it; without one the server runs all the same.
fn own_pid_file(host: &Host) -> Option<PidFile> {
    if host.fileless {
        return None;
    }
    PidFile::create(Path::new(host.config().root().str("pid")))
        .inspect_err(|e| tracing::error!("no pid file: {e}"))
        .ok()
}

/// Has another process serve in our place; tells its id.
async fn upgrade(host: &Arc<Host>, gates: &Gates, own: &mut Own) -> Result<u32, HandoverError> {
    handover::check(&host.config())?;
    tracing::info!("upgrade: starting {}", own.origin.program().display());
    let sockets = gates.all().iter().flat_map(|gate| gate.sockets()).collect();
    let expect = |expected| gates.all().iter().for_each(|gate| gate.expect_successor(expected));
    expect(true);
    let started = handover::start(&own.origin, sockets).await;
    let successor = started.inspect_err(|_| expect(false))?;
    let pid = successor.pid();
    drop(own.pid.take());
    if let Err(e) = successor.release().await {
        own.pid = own_pid_file(host);
        expect(false);
        return Err(e.into());
    }
    process::notify(Phase::HandedTo(pid));
    host.hand_over();
    for gate in gates.all() {
        gate.close_listeners();
    }
    Ok(pid)
}

/// Serves those who are here until they have left or `upgrade_drain` is over.
async fn outlive(signals: &mut Signals, host: &Arc<Host>, successor: u32) {
    let drain = host.config().root().seconds("upgrade_drain");
    let left = host.sessions.len();
    tracing::info!(
        "process {successor} serves from now on; {left} sessions may stay here for {} s",
        drain.as_secs()
    );
    let quiet = signals::until_quiet(signals, host, true);
    if tokio::time::timeout(drain, quiet).await.is_err() {
        tracing::info!("upgrade_drain is over: {} sessions are closed", host.sessions.len());
    }
}

async fn shut_down(signals: &mut Signals, host: &Arc<Host>, gates: &Gates, stop: Stop) {
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
        signals::until_quiet(signals, host, false).await;
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
}
