//! The HTTP API: what SRS's clients ask, answered from live data, and the write side of it.
//!
//! [`mounts`] makes the two mounts of the HTTP ports: [`ApiMount`] answers `/api/`, `/metrics`,
//! `/healthz` and `/readyz`, and stands before the protocols; [`ApiRoot`] answers what is left on
//! ports that serve nothing but the API, and stands behind everything. Paths match as SRS's do:
//! the longest pattern wins, a pattern that ends in `/` catches all below it.
//!
//! The rules of transport (CORS, JSONP, authentication, redirects) are in [`transport`], who may
//! change something in [`permission`], the endpoints of SRS in [`v1`] and ours in [`v2`]. JSON is
//! written by serde alone.
//!
//! Nothing here knows a protocol; nothing here is edited when one comes.

pub(crate) mod json;
mod permission;
pub(crate) mod transport;
pub(crate) mod v1;
mod v2;

#[cfg(test)]
pub(crate) mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use futures_util::future::{BoxFuture, LocalBoxFuture};
use gate::Host;
use gate::http::{Context, Mount, Request, Response, Role, on_control};
use http::StatusCode;
use http::request::Parts;
use serde_json::Value;

use crate::config::Patch;
use crate::metrics;
use crate::reload::{self, Report};
use crate::sampler::Figures;
use crate::telemetry::Open;
pub use permission::Token;

/// Reads the configuration anew and puts it in force, when the API asks for it.
pub trait Reload: Send + Sync {
    /// Reloads; done when the new configuration is in force or has been refused (every fault, a
    /// text each). Tells the log how it went.
    fn reload(&self) -> BoxFuture<'_, Result<Report, Vec<String>>>;
    /// Tells what a reload would do, and changes nothing.
    fn dry_run(&self) -> BoxFuture<'_, Result<Report, Vec<String>>>;
    /// Makes one change in the configuration in force.
    fn update(&self, patch: Patch) -> BoxFuture<'_, Result<Report, Vec<String>>>;
    /// How the last one went.
    fn last(&self) -> reload::State;
}

impl Reload for reload::Reloader {
    fn reload(&self) -> BoxFuture<'_, Result<Report, Vec<String>>> {
        Box::pin(self.run())
    }

    fn dry_run(&self) -> BoxFuture<'_, Result<Report, Vec<String>>> {
        Box::pin(reload::Reloader::dry_run(self))
    }

    fn update(&self, patch: Patch) -> BoxFuture<'_, Result<Report, Vec<String>>> {
        Box::pin(async move { reload::Reloader::update(self, &patch).await })
    }

    fn last(&self) -> reload::State {
        reload::Reloader::last(self)
    }
}

/// What the API is made of besides the host.
pub struct ApiParts {
    /// What the sampler found.
    pub figures: Arc<Figures>,
    /// Reloads the configuration.
    pub reloader: Arc<dyn Reload>,
    /// The listeners are open: `/readyz` says yes from here on.
    pub ready: Arc<AtomicBool>,
    /// Those words of `/api/v1/features` that this build has (`ssl`, `hls`, `httpd` …).
    pub features: &'static [&'static str],
    /// Opens the API to who holds it, besides `http_api.auth`.
    pub token: Option<Token>,
}

/// The status that `/api/v2/` refuses a request with by its method, path and query alone; `None`
/// when it goes on to be answered. What the fuzzer tries.
pub fn refuses(method: &str, path: &str, query: Option<&str>) -> Option<StatusCode> {
    v2::refuses(method, path, query)
}

/// When the program was built.
pub(crate) fn build_date() -> String {
    v1::build_date()
}

/// Paths of our own beside SRS's.
const HEALTHY: &str = "/healthz";
const READY: &str = "/readyz";
const METRICS: &str = "/metrics";
const VERSIONS: &str = "/api/v1/versions";

/// A request without its body: no endpoint has one.
pub(crate) struct Ask {
    pub(crate) host: Arc<Host>,
    pub(crate) parts: Parts,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) role: Role,
}

/// What an endpoint answers, before the rules of transport are applied.
#[derive(Debug, PartialEq)]
pub(crate) enum Reply {
    Json(Value),
    Refused(StatusCode, Value),
    Text(StatusCode, String),
    Metrics(String),
    Redirect(StatusCode, String),
}

/// The API of the process; shared by its mounts.
pub(crate) struct Api {
    pub(crate) figures: Arc<Figures>,
    pub(crate) reloader: Arc<dyn Reload>,
    ready: Arc<AtomicBool>,
    pub(crate) features: &'static [&'static str],
    token: Option<Token>,
}

impl Api {
    pub(crate) async fn answer(&self, ask: Ask) -> Response {
        let mut span = self.span(&ask);
        let response = self.answer_to(ask).await;
        if let Some(span) = &mut span {
            let status = response.status();
            span.set("http.response.status_code", u64::from(status.as_u16()));
            if status.is_server_error() {
                span.fail(status.as_str());
            }
        }
        response
    }

    /// The request for OpenTelemetry; `None` while nobody wants to know, and for what monitors ask
    /// every few seconds.
    fn span(&self, ask: &Ask) -> Option<Open> {
        let path = ask.parts.uri.path();
        if matches!(path, HEALTHY | READY | METRICS) {
            return None;
        }
        let text = |name: &str| ask.parts.headers.get(name)?.to_str().ok();
        let method = ask.parts.method.as_str();
        // The endpoint and not what it was asked about: names are to be few.
        let route: Vec<&str> = path.split('/').take(4).collect();
        let name = format!("{method} {}", route.join("/"));
        let mut span = self.figures.telemetry.request(&name, text("traceparent"))?;
        span.set("http.request.method", method);
        span.set("url.path", path);
        span.set("network.peer.address", ask.peer.ip().to_canonical().to_string());
        Some(span)
    }

    async fn answer_to(&self, ask: Ask) -> Response {
        let config = ask.host.config();
        let rules = transport::Rules::new(&ask, &config, self.token.as_ref());
        if ask.role.api && v2::is_ours(ask.parts.uri.path()) {
            return v2::answer(self, &rules, &ask).await;
        }
        let reply = match rules.check() {
            Ok(method) => self.route(&rules.door, &ask, method).await,
            Err(refused) => return rules.finish(*refused),
        };
        rules.reply(reply)
    }

    async fn route(&self, door: &permission::Door, ask: &Ask, method: http::Method) -> Reply {
        match ask.parts.uri.path() {
            HEALTHY => Reply::Text(StatusCode::OK, "ok".to_owned()),
            READY if !self.ready.load(Relaxed) => unavailable("starting"),
            READY if ask.host.is_draining() => unavailable("stopping"),
            READY => Reply::Text(StatusCode::OK, "ok".to_owned()),
            METRICS => Reply::Metrics(metrics::render(&ask.host, &self.figures)),
            _ => v1::answer(self, door, ask, method).await,
        }
    }

    fn serve(
        self: &Arc<Self>,
        context: &Context,
        request: Request,
    ) -> LocalBoxFuture<'static, Response> {
        let (api, host) = (self.clone(), context.host.clone());
        let (peer, local, role) = (context.peer, context.local, context.role);
        on_control(context, request, move |request| {
            let (parts, _) = request.into_parts();
            Box::pin(async move { api.answer(Ask { host, parts, peer, local, role }).await })
        })
    }
}

fn unavailable(why: &str) -> Reply {
    Reply::Text(StatusCode::SERVICE_UNAVAILABLE, why.to_owned())
}

/// Whether the API answers this path before anybody else is asked.
fn is_ours(role: Role, path: &str) -> bool {
    if !role.api {
        return role.server && path == VERSIONS || role.metrics && path == METRICS;
    }
    matches!(path, HEALTHY | READY | METRICS | "/api" | "/console") || path.starts_with("/api/")
}

/// Answers the API's paths. Asked before the protocols.
pub struct ApiMount(Arc<Api>);

/// Answers what nobody else did on a port of the API alone. Asked last.
pub struct ApiRoot(Arc<Api>);

/// Both mounts of the API. The order on the ports is: [`ApiMount`], the protocols,
/// [`FilesMount`](crate::files::FilesMount) (which has the console), [`ApiRoot`].
pub fn mounts(parts: ApiParts) -> (Arc<ApiMount>, Arc<ApiRoot>) {
    let ApiParts { figures, reloader, ready, features, token } = parts;
    let api = Arc::new(Api { figures, reloader, ready, features, token });
    (Arc::new(ApiMount(api.clone())), Arc::new(ApiRoot(api)))
}

impl Mount for ApiMount {
    fn handle(
        &self,
        context: &Context,
        request: Request,
    ) -> Result<LocalBoxFuture<'static, Response>, Request> {
        if is_ours(context.role, request.uri().path()) {
            Ok(self.0.serve(context, request))
        } else {
            Err(request)
        }
    }
}

impl Mount for ApiRoot {
    fn handle(
        &self,
        context: &Context,
        request: Request,
    ) -> Result<LocalBoxFuture<'static, Response>, Request> {
        if context.role.api && !context.role.server {
            Ok(self.0.serve(context, request))
        } else {
            Err(request)
        }
    }
}
