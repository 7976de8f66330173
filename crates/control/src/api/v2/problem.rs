//! Faults as problem+json (RFC 9457).

use gate::http::{Body, Response};
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use schemars::JsonSchema;
use serde::Serialize;

/// The body of every fault.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(super) struct ProblemBody {
    /// `about:blank`: the status says which kind of fault it is.
    r#type: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What happened, and what to do.
    detail: String,
    /// The path that was asked for.
    instance: String,
    /// SRS's error code, where it has one for this.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u32>,
    /// Each fault of several: those of a configuration.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    faults: Vec<String>,
}

/// A fault, before it is written.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    detail: String,
    code: Option<u32>,
    faults: Vec<String>,
    allow: Option<HeaderValue>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), code: None, faults: Vec::new(), allow: None }
    }

    /// The path is known, the method is not.
    pub(super) fn not_allowed(methods: &[&str]) -> Self {
        let list = methods.join(", ");
        let told = format!("this path takes {list}");
        let allow = HeaderValue::from_str(&list).ok();
        Self { allow, ..Self::new(StatusCode::METHOD_NOT_ALLOWED, told) }
    }

    /// With SRS's number.
    pub(super) fn code(self, code: u32) -> Self {
        Self { code: Some(code), ..self }
    }

    /// With each of several faults.
    pub(super) fn faults(self, faults: Vec<String>) -> Self {
        Self { faults, ..self }
    }

    pub(super) fn response(&self, path: &str) -> Response {
        let body = ProblemBody {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or(""),
            status: self.status.as_u16(),
            detail: self.detail.clone(),
            instance: path.to_owned(),
            code: self.code,
            faults: self.faults.clone(),
        };
        let mut response = Response::new(Body::full(serde_json::to_vec(&body).unwrap_or_default()));
        *response.status_mut() = self.status;
        let kind = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        if let Some(allow) = &self.allow {
            response.headers_mut().insert(ALLOW, allow.clone());
        }
        response
    }
}
