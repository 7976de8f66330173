//! Configuration: files and environment into a checked [`Config`].
//!
//! [`load`] reads the text (or takes the built-in one), expands `include`, rewrites the
//! spellings of older releases, checks every name and value against the table of directives,
//! and says everything it has to say at once, each with file, line and column. What it gives is
//! the immutable snapshot of [`gate::conf`]; comparing two of them is done there.
//!
//! The only contact with the outside is [`FileLoader`]; the environment is an argument. The
//! grammar alone is [`parse`]. [`reference()`] writes the documentation of all directives, [`migration()`] the table for
//! those who come from SRS.

mod builtin;
mod check;
mod diagnostic;
pub mod directives;
mod full_sample;
mod grammar;
mod include;
mod legacy;
mod migration;
mod patch;
pub(crate) mod redact;
mod reference;
mod startup;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use gate::conf::{Config, FileId, Node, Table};

use crate::access;

pub use builtin::{BUILTIN, BUILTIN_NAME};
pub use diagnostic::{CONFIG_INVALID, Diagnostic, MISSING_INCLUDE, Place, Severity, exit_status};
pub use full_sample::full_sample;
pub use grammar::{MAX_DEPTH, MAX_MISTAKES, Mistake, SyntaxError, parse};
pub use migration::migration;
pub use patch::{Patch, PatchError};
pub use reference::{Language, reference};

pub(crate) use check::nearest;
use diagnostic::Report;

/// What stands in for a file when only the environment counts.
const ENVIRONMENT_ONLY: &str = "\
listen 1935;
daemon off;
srs_log_tank console;
vhost __defaultVhost__ {
}
";

/// Name of [`ENVIRONMENT_ONLY`] in messages.
const ENVIRONMENT_ONLY_NAME: &str = "(environment only)";

/// Where texts come from.
pub trait FileLoader {
    /// The bytes of a file. A relative path is relative to the working directory of the process,
    /// not to the file that includes it.
    ///
    /// # Errors
    /// Whatever the file system says.
    fn read(&self, path: &str) -> io::Result<Vec<u8>>;
}

/// Reads from the disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl FileLoader for Disk {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }
}

/// What the checks want to know of the machine. A fact that is `None` is not checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// How many files the process may have open.
    pub open_files: Option<u64>,
    /// How many IP addresses the machine has.
    pub local_addresses: Option<usize>,
}

/// Everything a configuration is made from.
#[derive(Clone)]
pub struct Request {
    /// All directives there are.
    pub table: Arc<Table>,
    /// The file named on the command line. `SRS_CONFIG_FILE` overrides it; without either the
    /// built-in configuration is used.
    pub file: Option<String>,
    /// Ignore files. `SRS_ENV_ONLY` does the same.
    pub env_only: bool,
    /// The environment of the process.
    pub env: BTreeMap<String, String>,
    /// The machine.
    pub facts: Facts,
}

/// A configuration that may be used, and what there is to say about it.
pub type Loaded = (Arc<Config>, Vec<Diagnostic>);

/// Reads and checks a configuration.
///
/// # Errors
/// Everything found, when at least one of it is an error: what the person wrote has to be mended.
pub fn load(request: Request, loader: &dyn FileLoader) -> Result<Loaded, Vec<Diagnostic>> {
    let Request { table, file, env_only, env, facts } = request;
    let set = |name: &str| env.get(name).filter(|value| !value.is_empty()).cloned();
    let (env_only, file) =
        (env_only || set("SRS_ENV_ONLY").is_some(), set("SRS_CONFIG_FILE").or(file));
    let mut report = Report::default();
    let mut nodes = if env_only {
        include::read_text(loader, ENVIRONMENT_ONLY_NAME, ENVIRONMENT_ONLY, &mut report)
    } else if let Some(path) = file {
        let nodes = include::read(loader, &path, &mut report);
        if nodes.is_empty() && !report.has_errors() {
            report.say(Severity::Error, Place::File(path), "the configuration is empty");
            report.help("start without a file for the built-in one, or write `listen 1935;`");
        }
        nodes
    } else {
        include::read_text(loader, BUILTIN_NAME, BUILTIN, &mut report)
    };
    if report.has_errors() {
        // A text that cannot be read is no basis for judging names.
        return Err(report.finish().1);
    }
    legacy::rewrite(&mut nodes, &mut report);
    judge(Request { table, file: None, env_only, env, facts }, loader, nodes, report)
}

/// Checks a tree that was made from the configuration in force.
///
/// # Errors
/// Everything found, when at least one of it is an error: nothing may change then.
pub fn load_tree(
    request: Request,
    base: &Config,
    nodes: Vec<Node>,
    loader: &dyn FileLoader,
) -> Result<Loaded, Vec<Diagnostic>> {
    let mut report = Report::default();
    // The texts are gone; their names are still told of.
    let names = (0..u32::MAX).map(|n| base.file_name(FileId(n))).take_while(|n| !n.is_empty());
    for name in names {
        report.sources.add(name, String::new());
    }
    judge(request, loader, nodes, report)
}

fn judge(
    request: Request,
    loader: &dyn FileLoader,
    mut nodes: Vec<Node>,
    mut report: Report,
) -> Result<Loaded, Vec<Diagnostic>> {
    let Request { table, env, facts, .. } = request;
    for secret in access::hide(&table, &nodes) {
        report.sources.hide(secret);
    }
    check::check_all(&table, &mut nodes, &env, &mut report);
    // The rest of the environment is nobody's business, and may hold secrets.
    let mut env = env;
    let known: Vec<String> = table.rows().flat_map(|row| row.env_names()).collect();
    env.retain(|name, _| known.contains(name));
    let draft = Config::new(Arc::clone(&table), nodes, env.clone(), Vec::new());
    let nodes = share_https_port(&draft);
    let draft = Config::new(Arc::clone(&table), nodes, env.clone(), Vec::new());
    startup::check(&draft, &facts, &mut report);
    inspect_access(&draft, loader, &mut report);
    startup::announce(&draft, &mut report);
    if report.has_errors() {
        return Err(report.finish().1);
    }
    let (sources, list) = report.finish();
    let config = Config::new(table, draft.nodes().to_vec(), env, sources.names());
    Ok((Arc::new(config), list))
}

/// What is wrong with the access rules of each virtual host.
fn inspect_access(draft: &Config, loader: &dyn FileLoader, report: &mut Report) {
    // The process enters `work_dir` later, or has entered it long ago: a relative path beneath
    // another folder cannot be judged here, and is when the rules are put in force.
    let stays = matches!(draft.root().str("work_dir"), "./" | ".");
    let read = |path: &str| loader.read(path);
    for vhost in draft.vhosts() {
        let mut faults = access::inspect(&vhost);
        if stays {
            faults.extend(access::inspect_files(&vhost, &read));
        }
        for fault in faults {
            let severity = if fault.warning { Severity::Warning } else { Severity::Error };
            report.at(severity, fault.span, fault.message);
            if let Some(help) = fault.help {
                report.help(help);
            }
        }
    }
}

/// Where API and streams share their HTTP port they share the HTTPS port, unless it is written
/// otherwise.
fn share_https_port(draft: &Config) -> Vec<Node> {
    let mut nodes = draft.nodes().to_vec();
    let root = draft.root();
    let shared = root.listen("http_api.listen") == root.listen("http_server.listen")
        && !root.is_set("http_api.https.listen");
    if !shared {
        return nodes;
    }
    let words = root.list("http_server.https.listen");
    if let Some(https) = nodes
        .iter_mut()
        .find(|node| node.name == "http_api")
        .and_then(|api| api.children.as_mut())
        .and_then(|children| children.iter_mut().find(|node| node.name == "https"))
        .and_then(|https| https.children.as_mut())
    {
        https.push(Node::line("listen", &words));
    }
    nodes
}
