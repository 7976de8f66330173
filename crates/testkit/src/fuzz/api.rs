//! What strangers ask the API.

use control::api::refuses;
use control::config::{Patch, directives, parse};
use gate::conf::{Config, FileId, print};

/// A request is refused with a status that is a refusal, or goes on; and an update that is taken
/// changes the tree by nothing but what it names: no word of it breaks out of the grammar.
pub fn api_request(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut lines = text.splitn(5, '\n');
    let mut line = || lines.next().unwrap_or("");
    let (method, target, scope, value, rest) = (line(), line(), line(), line(), line());
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    if let Some(status) = refuses(method, path, query) {
        assert!(status.is_client_error(), "{status}");
    }
    let (param, name) = rest.split_once('=').unwrap_or((rest, ""));
    let config = Config::from_pairs(directives::table(&[]), &[]);
    let Ok(patch) = Patch::parse(config.table(), scope, value, param, name) else { return };
    let Ok(nodes) = patch.apply(&config) else { return };
    assert!(nodes.len().abs_diff(config.nodes().len()) <= 1, "{nodes:?}");
    let printed = print(&nodes);
    let again = parse(&printed, FileId(0));
    assert!(again.is_ok(), "{printed:?} cannot be read");
    let again = again.unwrap_or_default();
    let same = again.len() == nodes.len() && again.iter().zip(&nodes).all(|(a, b)| a.same_as(b));
    assert!(same, "{printed:?}");
}

/// A header that names a trace comes out as it went in, but for what later versions may add.
pub fn traceparent(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(again) = control::telemetry::traceparent(text) {
        assert_eq!(again.get(2..53), text.get(2..53), "another trace");
        assert_eq!(control::telemetry::traceparent(&again), Some(again.clone()));
    }
}
