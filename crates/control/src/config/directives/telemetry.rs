//! Traces and metrics for OpenTelemetry.

use gate::conf::Kind::{Block, Bool, Float, FloatSeconds, List, Path, Str};
use gate::conf::Reload::Live;
use gate::conf::{Directive, Kind};

/// The rows.
pub(super) const DIRECTIVES: &[Directive] = &[
    Directive::new("opentelemetry", Block).since("millrace").docs(
        "Send traces and metrics to a collector of OpenTelemetry, by OTLP over HTTP (protocol buffers). See [Operate](operate.md).",
        "以 OTLP/HTTP（protobuf）向 OpenTelemetry 收集器发送链路与指标。见 [运维](operate.md)。",
    ),
    ours("opentelemetry.enabled", Bool).default("off").docs("Do so.", "启用。"),
    ours("opentelemetry.endpoint", Str)
        .env(&["SRS_OPENTELEMETRY_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"])
        .default("http://127.0.0.1:4318")
        .docs(
            "The collector: `http` or `https`. `/v1/traces` and `/v1/metrics` are put behind it.",
            "收集器地址，`http` 或 `https`，其后附加 `/v1/traces` 与 `/v1/metrics`。",
        ),
    ours("opentelemetry.service", Str)
        .env(&["SRS_OPENTELEMETRY_SERVICE", "OTEL_SERVICE_NAME"])
        .default("millrace")
        .docs("What this server is called there (`service.name`).", "本服务的名称（`service.name`）。"),
    ours("opentelemetry.interval", FloatSeconds).default("10").range(1.0, 3600.0).docs(
        "How often what has gathered is sent.",
        "发送间隔。",
    ),
    ours("opentelemetry.sample_ratio", Float)
        .env(&["SRS_OPENTELEMETRY_SAMPLE_RATIO", "OTEL_TRACES_SAMPLER_ARG"])
        .default("1")
        .range(0.0, 1.0)
        .docs(
            "Share of the sessions whose traces are sent; those who ask the API may decide for themselves (`traceparent`).",
            "发送链路的会话比例；API 调用方可用 `traceparent` 自行决定。",
        ),
    ours("opentelemetry.headers", List)
        .env(&["SRS_OPENTELEMETRY_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"])
        .secret()
        .docs(
            "Headers of each request, `name=value`: credentials for the collector.",
            "每个请求附带的头部 `name=value`，例如收集器的凭据。",
        ),
    ours("opentelemetry.attributes", List)
        .env(&["SRS_OPENTELEMETRY_ATTRIBUTES", "OTEL_RESOURCE_ATTRIBUTES"])
        .docs(
            "What else is told of this server, `name=value`: `deployment.environment.name=live`.",
            "本服务的其他属性 `name=value`，如 `deployment.environment.name=live`。",
        ),
    ours("opentelemetry.ca_file", Path)
        .env(&["SRS_OPENTELEMETRY_CA_FILE", "OTEL_EXPORTER_OTLP_CERTIFICATE"])
        .docs(
            "Certificates (PEM) that a collector of `https` must be signed by. Without it any certificate will do.",
            "校验 `https` 收集器所用的 CA 证书（PEM）。未设置时接受任何证书。",
        ),
];

const fn ours(path: &'static str, kind: Kind) -> Directive {
    Directive::new(path, kind).since("millrace").reload(Live)
}
