//! Laws about which crate may know which.

use anyhow::{Context, Result};
use serde_json::Value;

use super::Complaint;

/// A crate imports only from lower floors; neighbours are strangers.
const FLOORS: &[(&str, u8)] = &[
    ("media", 1),
    ("uring", 1),
    ("container", 2),
    ("rtp", 2),
    ("transcode", 2),
    ("hub", 2),
    ("testcard", 2),
    ("gate", 3),
    ("record", 4),
    ("control", 4),
    ("load", 5),
    ("millrace", 6),
    ("xtask", 7),
    ("abuse", 7),
    ("e2e", 7),
    ("micro", 7),
    ("testkit", 7),
];

/// The floor of everything under `protocols/`.
const PROTOCOLS: u8 = 4;

/// No I/O, no clock, no randomness below, so no crate that brings them.
const GROUND: &[&str] = &["media", "container", "rtp"];
const IO: &[&str] = &[
    "tokio",
    "tokio-util",
    "futures-util",
    "mio",
    "socket2",
    "hyper",
    "axum",
    "rustls",
    "rustix",
    "nix",
    "rand",
    "notify",
    "tracing",
];

/// The only crates that may name a protocol: the binary, its load tool, and tests that stand
/// outside.
const KNOW_PROTOCOLS: &[&str] = &["millrace", "load", "testkit", "e2e", "abuse", "micro"];

struct Package<'a> {
    name: &'a str,
    manifest: String,
    protocol: bool,
    dependencies: Vec<(&'a str, bool)>,
}

pub(super) fn check(metadata: &Value) -> Result<Vec<Complaint>> {
    let root = metadata.get("workspace_root").and_then(Value::as_str).context("no root")?;
    let list = metadata.get("packages").and_then(Value::as_array).context("no packages")?;
    let packages: Vec<_> = list.iter().filter_map(|p| package(p, root)).collect();
    let protocols: Vec<_> = packages.iter().filter(|p| p.protocol).map(|p| p.name).collect();
    let floor = |name: &str| {
        if protocols.contains(&name) {
            return Some(PROTOCOLS);
        }
        FLOORS.iter().find(|(n, _)| *n == name).map(|(_, floor)| *floor)
    };
    let mut complaints = Vec::new();
    for package in &packages {
        let mut tell = |law: String| {
            complaints.push(Complaint { path: package.manifest.clone(), line: 1, law });
        };
        let Some(own) = floor(package.name) else {
            tell(format!("`{}` has no floor: add it to xtask/src/tidy/floors.rs", package.name));
            continue;
        };
        for &(dependency, for_tests) in &package.dependencies {
            if GROUND.contains(&package.name) && IO.contains(&dependency) && !for_tests {
                tell(format!("`{dependency}` brings I/O to the ground floor"));
            }
            let Some(theirs) = floor(dependency) else { continue };
            let to_protocol = protocols.contains(&dependency);
            if to_protocol && package.protocol {
                tell(format!(
                    "a protocol knows no other protocol, and this one knows `{dependency}`"
                ));
            } else if to_protocol && !KNOW_PROTOCOLS.contains(&package.name) {
                tell(format!("only the binary knows protocols; `{dependency}` is one"));
            } else if theirs >= own && !for_tests {
                tell(format!("`{dependency}` stands on floor {theirs}, not below floor {own}"));
            }
        }
    }
    Ok(complaints)
}

fn package<'a>(value: &'a Value, root: &str) -> Option<Package<'a>> {
    let manifest = value.get("manifest_path")?.as_str()?;
    let manifest =
        manifest.strip_prefix(root).unwrap_or(manifest).trim_start_matches('/').to_owned();
    let dependencies = value.get("dependencies")?.as_array()?.iter().filter_map(|d| {
        let for_tests = d.get("kind").and_then(Value::as_str) == Some("dev");
        Some((d.get("name")?.as_str()?, for_tests))
    });
    Some(Package {
        name: value.get("name")?.as_str()?,
        protocol: manifest.starts_with("protocols/"),
        manifest,
        dependencies: dependencies.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laws(packages: &[(&str, &str, &[&str])]) -> Vec<String> {
        let packages: Vec<_> = packages
            .iter()
            .map(|(dir, name, dependencies)| {
                let list: Vec<_> = dependencies
                    .iter()
                    .map(|d| match d.strip_prefix("dev ") {
                        Some(d) => serde_json::json!({"name": d, "kind": "dev"}),
                        None => serde_json::json!({"name": d, "kind": null}),
                    })
                    .collect();
                let manifest = format!("/r/{dir}/{name}/Cargo.toml");
                serde_json::json!({"name": name, "manifest_path": manifest, "dependencies": list})
            })
            .collect();
        let metadata = serde_json::json!({"workspace_root": "/r", "packages": packages});
        check(&metadata).unwrap().into_iter().map(|c| c.law).collect()
    }

    #[test]
    fn the_plan_as_drawn_has_no_complaint() {
        let plan: &[(&str, &str, &[&str])] = &[
            ("crates", "media", &["bytes", "dev proptest"]),
            ("crates", "container", &["media", "bytes"]),
            ("crates", "hub", &["media", "tokio"]),
            ("crates", "gate", &["hub", "media"]),
            ("protocols", "rtmp", &["gate", "container"]),
            ("crates", "control", &["gate"]),
            ("crates", "millrace", &["rtmp", "control"]),
        ];
        assert_eq!(laws(plan), Vec::<String>::new());
    }

    #[test]
    fn an_arrow_upward_or_sideways_is_told() {
        assert_eq!(laws(&[("crates", "hub", &["gate"])]).len(), 1);
        assert_eq!(laws(&[("crates", "container", &["hub"])]).len(), 1);
        assert_eq!(laws(&[("crates", "media", &["tokio"])]).len(), 1);
    }

    #[test]
    fn protocols_are_strangers_even_in_their_tests() {
        let two: &[(&str, &str, &[&str])] =
            &[("protocols", "rtmp", &["dev hls"]), ("protocols", "hls", &[])];
        assert_eq!(laws(two).len(), 1);
        let knows: &[(&str, &str, &[&str])] =
            &[("crates", "control", &["hls"]), ("protocols", "hls", &[])];
        assert_eq!(laws(knows).len(), 1);
    }

    #[test]
    fn a_crate_without_a_floor_is_told() {
        assert_eq!(laws(&[("crates", "novelty", &[])]).len(), 1);
    }
}
