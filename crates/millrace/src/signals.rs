//! Signals, the file watcher and the parent process: what tells the server to do something.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use control::log::LogHandle;
use control::reload::Reloader;
use gate::Host;
use notify::{RecursiveMode, Watcher};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::gates::Gates;

/// How the server was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// TERM or INT: at once.
    Fast,
    /// QUIT: when the sessions have ended.
    Drain,
}

/// What a signal asks for that ends the watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// To stop.
    Stop(Stop),
    /// To have another process serve.
    Upgrade,
}

/// Editors write a file in several steps; one reload is enough.
const SETTLE: Duration = Duration::from_millis(300);
/// Certificates and the parent process are looked at this often.
const LOOK: Duration = Duration::from_secs(1);
/// Certificates are looked at every so many looks.
const CERTIFICATES: u32 = 10;

struct Quiet(Option<Signal>);

impl Quiet {
    fn on(kind: SignalKind) -> Self {
        Self(signal(kind).inspect_err(|e| tracing::error!("cannot watch a signal: {e}")).ok())
    }
    async fn recv(&mut self) {
        match &mut self.0 {
            Some(signal) => {
                signal.recv().await;
            }
            None => std::future::pending().await,
        }
    }
}

/// The signals that mean something. Made once, so that one that comes at a bad moment waits.
pub(crate) struct Signals {
    hup: Quiet,
    term: Quiet,
    int: Quiet,
    quit: Quiet,
    usr1: Quiet,
    usr2: Quiet,
}

impl Signals {
    pub(crate) fn new() -> Self {
        Self {
            hup: Quiet::on(SignalKind::hangup()),
            term: Quiet::on(SignalKind::terminate()),
            int: Quiet::on(SignalKind::interrupt()),
            quit: Quiet::on(SignalKind::quit()),
            usr1: Quiet::on(SignalKind::user_defined1()),
            usr2: Quiet::on(SignalKind::user_defined2()),
        }
    }
}

/// Does what signals ask for until one of them is to stop or to hand over.
pub(crate) async fn watch(
    signals: &mut Signals,
    host: &Arc<Host>,
    gates: &Gates,
    reloader: &Arc<Reloader>,
    log: &LogHandle,
) -> Told {
    let Signals { hup, term, int, quit, usr1, usr2 } = signals;
    let (_watcher, mut changed) = watch_files(host);
    let parent = std::os::unix::process::parent_id();
    let mut look = tokio::time::interval(LOOK);
    let mut looks = 0u32;
    loop {
        tokio::select! {
            () = hup.recv() => reload(reloader),
            // Closed when nothing is watched: then this arm is never taken.
            Some(()) = changed.recv() => {
                tokio::time::sleep(SETTLE).await;
                while changed.try_recv().is_ok() {}
                reload(reloader);
            }
            () = term.recv() => return Told::Stop(Stop::Fast),
            () = int.recv() => return Told::Stop(Stop::Fast),
            () = quit.recv() => return Told::Stop(Stop::Drain),
            () = usr1.recv() => log.reopen(),
            () = usr2.recv() => return Told::Upgrade,
            _ = look.tick() => {
                looks = looks.wrapping_add(1);
                if looks.is_multiple_of(CERTIFICATES) {
                    gates.refresh_certificates();
                }
                let orphan = parent != std::os::unix::process::parent_id();
                if orphan && host.config().root().bool("asprocess") {
                    tracing::info!("the parent process has gone (asprocess on)");
                    return Told::Stop(Stop::Fast);
                }
            }
        }
    }
}

fn reload(reloader: &Arc<Reloader>) {
    let reloader = reloader.clone();
    tokio::spawn(async move {
        // What happened is in the log; nobody waits for the answer.
        let _ = reloader.run().await;
    });
}

/// Watches the folder of the configuration file, since editors and Kubernetes replace files.
fn watch_files(host: &Arc<Host>) -> (Option<notify::RecommendedWatcher>, mpsc::Receiver<()>) {
    let (tx, rx) = mpsc::channel(1);
    let config = host.config();
    let wanted = config.root().bool("inotify_auto_reload");
    let file = PathBuf::from(config.file_name(gate::conf::FileId(0)));
    if !wanted || host.fileless || !file.exists() {
        return (None, rx);
    }
    let folder = match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
        _ => PathBuf::from("."),
    };
    let name = file.file_name().map(ToOwned::to_owned);
    let told = move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else { return };
        if event.kind.is_access() {
            return;
        }
        let ours = |p: &PathBuf| {
            p.file_name().is_some_and(|n| Some(n) == name.as_deref() || n == "..data")
        };
        if event.paths.iter().any(ours) {
            let _ = tx.try_send(());
        }
    };
    let watcher = notify::recommended_watcher(told).and_then(|mut w| {
        w.watch(&folder, RecursiveMode::NonRecursive)?;
        Ok(w)
    });
    match watcher {
        Ok(watcher) => (Some(watcher), rx),
        Err(e) => {
            tracing::error!("inotify_auto_reload: cannot watch {}: {e}", folder.display());
            (None, rx)
        }
    }
}

/// Waits until no session is left, nor (`connections`) a connection that may become one; TERM or
/// INT ends the wait.
pub(crate) async fn until_quiet(signals: &mut Signals, host: &Arc<Host>, connections: bool) {
    let Signals { term, int, .. } = signals;
    let mut told = 0;
    loop {
        let left = host.sessions.len();
        if left == 0 && !(connections && host.connections.load(Relaxed) > 0) {
            return;
        }
        if told != left {
            told = left;
            tracing::info!("{left} sessions left");
        }
        tokio::select! {
            () = term.recv() => return,
            () = int.recv() => return,
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
    }
}
