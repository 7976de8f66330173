//! The OpenAPI 3.1 document, written from the table that requests are routed by.

use gate::http::Response;
use http::StatusCode;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::params::What;
use super::problem::{Problem, ProblemBody};
use super::{Answer, BASE, Call, Endpoint, Handle, endpoints};
use crate::events::Event;

pub(super) const ENDPOINTS: &[Endpoint] = &[Endpoint {
    method: "GET",
    path: "/openapi.json",
    id: "getDocument",
    summary: "This document",
    description: "The OpenAPI description of everything below /api/v2/.",
    guarded: false,
    params: &[],
    answer: Answer::Document,
    problems: &[],
    handle: Handle::Now(answer),
}];

fn answer(call: &Call<'_>) -> Result<Response, Problem> {
    super::json(&document(call.ask.host.identity.version))
}

/// The whole document.
pub(super) fn document(version: &str) -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|s| {
        s.definitions_path = "/components/schemas".into();
        s.meta_schema = None;
    });
    let mut schemas = settings.into_generator();
    let problem = ProblemBody::inline_schema_of(&mut schemas);
    let mut paths = Map::new();
    for endpoint in endpoints() {
        let path = format!("{BASE}{}", endpoint.path);
        let entry = paths.entry(path).or_insert_with(|| json!({}));
        if let Some(map) = entry.as_object_mut() {
            let method = endpoint.method.to_ascii_lowercase();
            map.insert(method, operation(endpoint, &problem, &mut schemas));
        }
    }
    // Events are lines of text to OpenAPI; their shape stands among the schemas.
    let _ = schemas.subschema_for::<Event>();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "millrace",
            "version": version,
            "description": "Reading is open unless http_api.auth is on. What changes something, \
                            and the configuration, takes the token of the server, http_api.auth, \
                            or a request from the server's own machine.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas.take_definitions(true),
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "password": { "type": "http", "scheme": "basic" },
            },
        },
    })
}

trait InlineSchema {
    fn inline_schema_of(schemas: &mut SchemaGenerator) -> Value;
}

impl<T: JsonSchema> InlineSchema for T {
    fn inline_schema_of(schemas: &mut SchemaGenerator) -> Value {
        schemas.subschema_for::<T>().to_value()
    }
}

fn operation(endpoint: &Endpoint, problem: &Value, schemas: &mut SchemaGenerator) -> Value {
    let params: Vec<Value> = endpoint
        .params
        .iter()
        .map(|param| {
            let is_path = matches!(param.what, What::Segment);
            json!({
                "name": param.name,
                "in": if is_path { "path" } else { "query" },
                "required": is_path,
                "description": param.docs,
                "schema": param.what.schema(),
            })
        })
        .collect();
    let mut responses = Map::new();
    let (status, good) = match endpoint.answer {
        Answer::Json(schema) => ("200", content("application/json", schema(schemas).to_value())),
        Answer::Nothing => ("204", json!({ "description": "Done." })),
        Answer::Events => ("200", content("text/event-stream", json!({ "type": "string" }))),
        Answer::Document => ("200", content("application/json", json!({ "type": "object" }))),
    };
    responses.insert(status.to_owned(), good);
    let all = [StatusCode::BAD_REQUEST, StatusCode::UNAUTHORIZED];
    let guarded = endpoint.guarded.then_some(StatusCode::FORBIDDEN);
    for status in all.iter().chain(&guarded).chain(endpoint.problems) {
        let mut body = content("application/problem+json", problem.clone());
        if let Some(body) = body.as_object_mut() {
            let words = status.canonical_reason().unwrap_or("");
            body.insert("description".to_owned(), json!(words));
        }
        responses.insert(status.as_str().to_owned(), body);
    }
    json!({
        "operationId": endpoint.id,
        "summary": endpoint.summary,
        "description": endpoint.description,
        "parameters": params,
        "responses": responses,
        "security": [{}, { "token": [] }, { "password": [] }],
    })
}

fn content(kind: &str, schema: Value) -> Value {
    json!({ "description": "The answer.", "content": { kind: { "schema": schema } } })
}
