//! The life of one program.

use std::io;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{sleep, timeout};

use super::program::Program;
use super::{Count, Shared};

/// Between the end of a program and its next start, as with SRS.
pub(super) const PAUSE: Duration = Duration::from_secs(3);
/// Between being told to end and being killed.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// A program, and for whom it runs.
pub(super) struct Job {
    pub(super) program: Program,
    /// The directive.
    pub(super) when: &'static str,
    pub(super) session: Arc<str>,
    pub(super) shared: Arc<Shared>,
    /// Its place among the programs of the process.
    pub(super) _place: OwnedSemaphorePermit,
}

/// Waits until the other end is dropped.
async fn gone(here: &mut watch::Receiver<()>) {
    while here.changed().await.is_ok() {}
}

impl Job {
    /// Runs it again and again until the client has gone.
    pub(super) async fn keep(mut self, mut here: watch::Receiver<()>) {
        loop {
            if let Some(mut child) = self.start().await {
                tokio::select! {
                    status = child.wait() => self.ended(status),
                    () = gone(&mut here) => return self.end(child).await,
                }
            }
            tokio::select! {
                () = sleep(PAUSE) => {}
                () = gone(&mut here) => return,
            }
            let Self { when, session, program, .. } = &self;
            tracing::info!(%session, "exec {when}: {:?} is started again", program.path);
        }
    }

    /// Runs it once, to its end or that of the server.
    pub(super) async fn once(mut self, mut over: watch::Receiver<bool>) {
        let Some(mut child) = self.start().await else { return };
        let stopped = async {
            let _ = over.wait_for(|over| *over).await;
        };
        tokio::select! {
            status = child.wait() => self.ended(status),
            () = stopped => self.end(child).await,
        }
    }

    async fn start(&mut self) -> Option<Child> {
        // Files may be on slow disks, and starting a process takes milliseconds.
        let program = std::mem::take(&mut self.program);
        let work = move || {
            let started = program.start();
            (program, started)
        };
        let started = match tokio::task::spawn_blocking(work).await {
            Ok((program, started)) => {
                self.program = program;
                started
            }
            Err(e) => Err(io::Error::other(e)),
        };
        let Self { when, session, program, shared, .. } = self;
        match started {
            Ok(child) => {
                shared.count(Count::Started);
                let pid = child.id().unwrap_or(0);
                tracing::info!(%session, pid, "exec {when}: {:?} runs", program.path);
                Some(child)
            }
            Err(e) => {
                shared.count(Count::Failed);
                tracing::warn!(
                    %session,
                    "exec {when}: {:?} cannot be started: {e}; look at `exec` of the virtual host",
                    program.path
                );
                None
            }
        }
    }

    fn ended(&self, status: io::Result<ExitStatus>) {
        let Self { when, session, program, shared, .. } = self;
        shared.count(Count::Ended);
        match status {
            Ok(status) if status.success() => {
                tracing::info!(%session, "exec {when}: {:?} ended: {status}", program.path);
            }
            Ok(status) => {
                tracing::warn!(%session, "exec {when}: {:?} ended: {status}", program.path);
            }
            Err(e) => {
                tracing::warn!(%session, "exec {when}: {:?} is lost: {e}", program.path);
            }
        }
    }

    /// Has it end, and whatever it has started itself and not set apart.
    async fn end(&self, mut child: Child) {
        let Self { when, session, program, shared, .. } = self;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        // It may have ended this moment.
        let signal = |signal| group.map(|group| kill_process_group(group, signal));
        signal(Signal::TERM);
        if let Ok(status) = timeout(GRACE, child.wait()).await {
            shared.count(Count::Terminated);
            let status = status.map_or_else(|e| e.to_string(), |status| status.to_string());
            tracing::info!(%session, "exec {when}: {:?} was told to end: {status}", program.path);
            return;
        }
        signal(Signal::KILL);
        let _ = child.wait().await;
        shared.count(Count::Killed);
        tracing::warn!(
            %session,
            "exec {when}: {:?} did not end within {} s and was killed", program.path, GRACE.as_secs()
        );
    }
}
