//! Reload: a changed configuration takes effect, or nothing does (P5).
//!
//! One path for SIGHUP, the API and the file watcher: read, check, compare, let every gate do
//! what can fail, and only when all of them are ready, commit.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use gate::conf::{Change, ChangeKind, Config, Node, Reload as When, diff};
use gate::{Gate, Host};

use crate::config::{self, Diagnostic, FileLoader, Patch, Request, Severity, redact};

/// One directive that differs between the configuration in force and the new one.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Full path in the table, and the virtual host it is in.
    pub change: Change,
    /// When it takes effect.
    pub effect: When,
    /// What it says, for a person: path, virtual host, how it changed.
    pub line: String,
    /// The values before and after, secrets taken out; `None` for whole blocks.
    pub values: Option<(String, String)>,
}

/// What a reload did, or would do.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Every difference between the two configurations.
    pub changes: Vec<Difference>,
    /// What changed, a line each.
    pub applied: Vec<String>,
    /// What changed in the file but takes a restart of the process.
    pub needs_restart: Vec<String>,
    /// Warnings about the new configuration.
    pub warnings: Vec<String>,
}

/// [`State::state`] of a reload that is over.
pub(crate) const FINISHED: u32 = 90;

/// Where the last reload stands, in SRS's numbers.
#[derive(Clone, Debug)]
pub struct State {
    /// 0 before the first, 10 reading, 30 applying, 90 finished.
    pub state: u32,
    /// 0, or the SRS error code.
    pub err: u32,
    /// What happened.
    pub msg: String,
    /// Id of the reload.
    pub rid: String,
}

/// Reloads one server.
pub struct Reloader {
    host: Arc<Host>,
    gates: OnceLock<Vec<Arc<dyn Gate>>>,
    request: Request,
    loader: Box<dyn FileLoader + Send + Sync>,
    running: tokio::sync::Mutex<()>,
    last: Mutex<State>,
}

impl Reloader {
    /// For a server that was started from `request`.
    pub fn new(
        host: Arc<Host>,
        request: Request,
        loader: Box<dyn FileLoader + Send + Sync>,
    ) -> Self {
        let last = State { state: 0, err: 0, msg: "Success".into(), rid: String::new() };
        Self {
            host,
            gates: OnceLock::new(),
            request,
            loader,
            running: tokio::sync::Mutex::default(),
            last: Mutex::new(last),
        }
    }

    /// Names the gates that a reload hands the new configuration to. Once, at start.
    pub fn set_gates(&self, gates: Vec<Arc<dyn Gate>>) {
        let _ = self.gates.set(gates);
    }

    /// How the last reload went.
    pub fn last(&self) -> State {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, state: u32, err: u32, msg: String, rid: &str) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = State { state, err, msg, rid: rid.to_owned() };
    }

    /// Reads the configuration again and puts it in force. One at a time.
    ///
    /// # Errors
    /// Every fault, a text each. Nothing has changed then.
    pub async fn run(&self) -> Result<Report, Vec<String>> {
        let _one = self.running.lock().await;
        let rid = gate::identity::random_id(7);
        self.set(10, 0, "Success".into(), &rid);
        let result = self.apply(&rid, Source::Files, Mode::Commit).await;
        self.tell(&result, &rid);
        result
    }

    /// Puts the configuration in force with one change; the files stay as they are, and the next
    /// reload reads them.
    ///
    /// # Errors
    /// Every fault, a text each. Nothing has changed then.
    pub async fn update(&self, patch: &Patch) -> Result<Report, Vec<String>> {
        let _one = self.running.lock().await;
        let rid = gate::identity::random_id(7);
        let nodes = patch.apply(&self.host.config()).map_err(|e| vec![e.to_string()])?;
        self.set(10, 0, "Success".into(), &rid);
        let result = self.apply(&rid, Source::Tree(nodes), Mode::Commit).await;
        self.tell(&result, &rid);
        result
    }

    fn tell(&self, result: &Result<Report, Vec<String>>, rid: &str) {
        match result {
            Ok(report) => {
                for line in &report.warnings {
                    tracing::warn!("{line}");
                }
                for line in &report.needs_restart {
                    tracing::warn!("{line} takes effect when the server is restarted");
                }
                for line in &report.applied {
                    tracing::info!("reload: {line}");
                }
                tracing::info!("reload config success, {} changes", report.applied.len());
                self.set(FINISHED, 0, "Success".into(), rid);
            }
            Err(faults) => {
                for fault in faults {
                    tracing::error!("reload refused: {fault}");
                }
                tracing::error!("reload failed, the configuration in force stays as it was");
                self.set(FINISHED, 1023, faults.join("; "), rid);
            }
        }
    }

    /// Does everything that a reload does and that can fail (reads, checks, compares, lets every
    /// gate prepare), and stops there: nothing changes, and [`last`](Self::last) tells of the
    /// reload before.
    ///
    /// # Errors
    /// Every fault, a text each.
    pub async fn dry_run(&self) -> Result<Report, Vec<String>> {
        let _one = self.running.lock().await;
        self.apply("", Source::Files, Mode::DryRun).await
    }

    async fn apply(&self, rid: &str, source: Source, mode: Mode) -> Result<Report, Vec<String>> {
        let texts = |list: &[Diagnostic], worst: Severity| {
            let of = list.iter().filter(|d| d.severity == worst);
            of.map(Diagnostic::one_line).collect::<Vec<_>>()
        };
        let old = self.host.config();
        let request = self.request.clone();
        let loaded = match source {
            Source::Files => config::load(request, &*self.loader),
            Source::Tree(nodes) => config::load_tree(request, &old, nodes, &*self.loader),
        };
        let (new, list) = loaded.map_err(|list| texts(&list, Severity::Error))?;
        let changes = diff(&old, &new);
        let mut report = Report { warnings: texts(&list, Severity::Warning), ..Report::default() };
        report.changes = changes.iter().map(|c| difference(&old, &new, c)).collect();
        if mode == Mode::Commit {
            self.set(30, 0, "Success".into(), rid);
        }
        let mut ready = Vec::new();
        for gate in self.gates.get().into_iter().flatten() {
            ready.push(gate.prepare(&self.host, &new).await.map_err(|e| vec![e.told(&new)])?);
        }
        if mode == Mode::DryRun {
            report.sort_by_effect();
            return Ok(report);
        }
        for gate in ready {
            report.applied.extend(gate.commit());
        }
        self.host.set_config(new.clone());
        report.sort_by_effect();
        self.end_removed_vhosts(&new);
        Ok(report)
    }

    /// Sessions of a virtual host that is no more end; those of others notice nothing.
    fn end_removed_vhosts(&self, config: &Config) {
        for info in self.host.sessions.all() {
            let gone = info.detail().is_some_and(|d| config.vhost(&d.vhost).is_none());
            if gone {
                info.kick(gate::session::Kick::Vhost);
            }
        }
    }
}

impl Report {
    fn sort_by_effect(&mut self) {
        for change in &self.changes {
            match change.effect {
                When::AtStart => self.needs_restart.push(change.line.clone()),
                _ => self.applied.push(change.line.clone()),
            }
        }
    }
}

/// Where the new configuration comes from.
enum Source {
    Files,
    /// The one in force, changed.
    Tree(Vec<Node>),
}

/// Whether a reload puts the new configuration in force.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Commit,
    DryRun,
}

fn difference(old: &Config, new: &Config, change: &Change) -> Difference {
    let effect = new.table().get(change.path).map_or(When::Live, |row| row.reload);
    let value = |config: &Config| redact::value(config, change.path, change.vhost.as_deref());
    let values = value(old).zip(value(new));
    Difference { change: change.clone(), effect, line: describe(change), values }
}

/// A difference in words.
pub(crate) fn describe(change: &Change) -> String {
    let kind = match change.kind {
        ChangeKind::Added => "added",
        ChangeKind::Removed => "removed",
        ChangeKind::Changed => "changed",
    };
    match &change.vhost {
        Some(vhost) => format!("{} of vhost {vhost} {kind}", change.path),
        None => format!("{} {kind}", change.path),
    }
}

#[cfg(test)]
mod tests;
