//! Reload: done, or tried without doing it, with every difference.

use futures_util::future::BoxFuture;
use gate::conf::{ChangeKind, Reload as When};
use gate::http::Response;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use super::params::{Param, What};
use super::problem::Problem;
use super::{Answer, Call, Endpoint, Handle, json};
use crate::api::v1::raw;
use crate::reload::{Difference, Report};

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        method: "POST",
        path: "/reload",
        id: "reload",
        summary: "Read the configuration anew",
        description: "Puts it in force, or, when anything is wrong with it, changes nothing (422). \
                      With `dry_run=true` everything is read, checked, compared and prepared, ports \
                      and certificates too, and then left as it is.",
        guarded: true,
        params: &[Param {
            name: "dry_run",
            what: What::Flag,
            docs: "Tell what would change, and change nothing.",
        }],
        answer: Answer::Json(|schemas| schemas.subschema_for::<Reloaded>()),
        problems: &[StatusCode::UNPROCESSABLE_ENTITY],
        handle: Handle::Later(reload),
    },
    Endpoint {
        method: "GET",
        path: "/reload",
        id: "lastReload",
        summary: "How the last reload went",
        description: "Whoever asked for it: a signal, the watcher of the file, or the API.",
        guarded: true,
        params: &[],
        answer: Answer::Json(|schemas| schemas.subschema_for::<Last>()),
        problems: &[],
        handle: Handle::Now(last),
    },
];

/// What a reload did, or would do.
#[derive(Serialize, JsonSchema)]
struct Reloaded {
    /// Nothing was changed.
    dry_run: bool,
    changes: Vec<ChangeInfo>,
    warnings: Vec<String>,
}

/// One difference.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Change")]
struct ChangeInfo {
    /// The directive, blocks joined by dots; `vhost` for a whole virtual host.
    path: &'static str,
    vhost: Option<String>,
    kind: How,
    takes_effect: Effect,
    /// The value before, secrets hidden; null for blocks.
    before: Option<String>,
    after: Option<String>,
}

/// How something changed.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum How {
    /// A virtual host that was not there.
    Added,
    /// A virtual host that is there no more.
    Removed,
    /// Another value.
    Changed,
}

/// When a change takes effect.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Effect {
    /// At once.
    Live,
    /// For sessions that begin from now on.
    NewSessions,
    /// At once; the port is closed and opened again.
    Listener,
    /// When the process is started anew.
    Restart,
}

/// How the last reload went.
#[derive(Serialize, JsonSchema)]
struct Last {
    /// Id of the reload; null before the first.
    id: Option<String>,
    state: StateWord,
    /// Why it was refused; null otherwise.
    fault: Option<String>,
}

/// Where a reload stands.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum StateWord {
    /// There was none.
    None,
    /// It is running.
    Running,
    /// The new configuration is in force.
    Done,
    /// Nothing was changed.
    Refused,
}

fn change(of: Difference) -> ChangeInfo {
    let (before, after) = of.values.unzip();
    ChangeInfo {
        path: of.change.path,
        vhost: of.change.vhost,
        kind: match of.change.kind {
            ChangeKind::Added => How::Added,
            ChangeKind::Removed => How::Removed,
            ChangeKind::Changed => How::Changed,
        },
        takes_effect: match of.effect {
            When::Live => Effect::Live,
            When::NewSessions => Effect::NewSessions,
            When::Listener => Effect::Listener,
            When::AtStart => Effect::Restart,
        },
        before,
        after,
    }
}

fn reload<'a>(call: &'a Call<'a>) -> BoxFuture<'a, Result<Response, Problem>> {
    Box::pin(async move {
        let dry_run = call.given.flag("dry_run").unwrap_or(false);
        let result = match &call.who {
            Some(who) if !dry_run => raw::reload(call.api, who, call.ask).await,
            _ => call.api.reloader.dry_run().await,
        };
        match result {
            Ok(Report { changes, warnings, .. }) => {
                let changes = changes.into_iter().map(change).collect();
                json(&Reloaded { dry_run, changes, warnings })
            }
            Err(faults) => {
                let told = "the new configuration is not accepted; the old one stays in force";
                let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, told);
                Err(problem.code(1023).faults(faults))
            }
        }
    })
}

fn last(call: &Call<'_>) -> Result<Response, Problem> {
    let last = call.api.reloader.last();
    let state = match last.state {
        0 => StateWord::None,
        crate::reload::FINISHED if last.err == 0 => StateWord::Done,
        crate::reload::FINISHED => StateWord::Refused,
        _ => StateWord::Running,
    };
    json(&Last {
        id: Some(last.rid).filter(|id| !id.is_empty()),
        fault: (last.err != 0).then_some(last.msg),
        state,
    })
}
