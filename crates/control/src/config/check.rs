//! Names and values against the table.

use std::collections::BTreeMap;

use gate::conf::{Arg, Directive, Fallback, Fault, Kind, Node, Table, Violation, check};

use super::diagnostic::{Place, Report, Severity};

/// Checks a tree and the environment; everything found goes into the report.
pub(super) fn check_all(
    table: &Table,
    nodes: &mut [Node],
    env: &BTreeMap<String, String>,
    report: &mut Report,
) {
    let mut checker = Checker { table, env, report };
    checker.block("", nodes);
    checker.environment();
}

struct Checker<'a> {
    table: &'a Table,
    env: &'a BTreeMap<String, String>,
    report: &'a mut Report,
}

impl Checker<'_> {
    /// Recurses as deep as the tree, which the parser bounds.
    fn block(&mut self, path: &str, nodes: &mut [Node]) {
        let free = self.table.get(path).is_some_and(|row| row.kind == Kind::FreeBlock);
        let mut seen: Vec<(String, String)> = Vec::new();
        for node in nodes {
            let full = join(path, &node.name);
            let Some(row) = self.table.get(&full) else {
                if free {
                    self.unknown_but_free(path, node);
                } else {
                    self.unknown(path, node);
                }
                continue;
            };
            let label =
                if row.kind.is_block() { node.first_arg().to_owned() } else { String::new() };
            // Two hosts of one name are a repetition, two of different names are not.
            let key = (node.name.clone(), if row.repeated { label } else { String::new() });
            if seen.contains(&key) && (!row.repeated || full == "vhost") {
                self.repeated(&full, node);
            }
            seen.push(key);
            if row.kind.is_block() {
                self.is_block(&full, node);
                if let Some(children) = node.children.as_mut() {
                    self.block(&full, children);
                }
            } else {
                self.substitute(row, node);
                self.line(row, node);
            }
        }
    }

    fn repeated(&mut self, full: &str, node: &Node) {
        // This one is refused, see the checks at start-up.
        if full == "vhost.http_remux" {
            return;
        }
        let what = match (full, node.first_arg()) {
            ("vhost", name) => format!("`vhost {name}`"),
            _ => format!("`{}`", node.name),
        };
        let message = format!("{what} stands here again, the first one counts");
        self.report.at(Severity::Warning, node.span, message);
    }

    fn is_block(&mut self, full: &str, node: &Node) {
        if full == "vhost" && node.args.is_empty() {
            self.report.at(Severity::Error, node.span, "`vhost` has no name");
            self.report.help("write `vhost __defaultVhost__ { ... }` for all hosts");
        }
        if node.children.is_none() {
            let message = format!("`{}` is a block, without braces it says nothing", node.name);
            self.report.at(Severity::Warning, node.span, message);
            self.report.help(format!("write `{} {{ ... }}`", node.name));
        }
    }

    /// Puts the environment's value in the place of `$NAME`; several words for a list.
    fn substitute(&mut self, row: &Directive, node: &mut Node) {
        if row.kind == Kind::Line && !row.secret {
            return;
        }
        let many = matches!(row.kind, Kind::List | Kind::Listen);
        let mut args = Vec::with_capacity(node.args.len());
        for arg in std::mem::take(&mut node.args) {
            let Some(name) = variable(&arg.text) else {
                args.push(arg);
                continue;
            };
            let Some(value) = self.env.get(&name).filter(|value| !value.is_empty()) else {
                let message = format!("the environment variable `{name}` is not set");
                self.report.at(Severity::Warning, arg.span, message);
                if row.default == Fallback::Empty {
                    // It may be a secret that begins with a dollar sign.
                    self.report.help("the text is taken as it stands");
                    args.push(arg);
                } else {
                    self.report.help("the default counts");
                }
                continue;
            };
            let words: Vec<&str> = if many { value.split(' ').collect() } else { vec![value] };
            let words = words.into_iter().filter(|word| !word.is_empty());
            args.extend(words.map(|word| Arg { text: word.to_owned(), span: arg.span }));
        }
        node.args = args;
    }

    fn line(&mut self, row: &Directive, node: &Node) {
        if node.children.is_some() {
            let message = format!("`{}` takes a value, not a block", node.name);
            self.report.at(Severity::Error, node.span, message);
            return;
        }
        let many = matches!(row.kind, Kind::List | Kind::Listen | Kind::Line);
        if let (Some(extra), false) = (node.args.get(1), many) {
            let message = format!("`{}` takes one value, the rest is not read", node.name);
            self.report.at(Severity::Warning, extra.span, message);
        }
        let words = if many { node.args.len() } else { 1 };
        for arg in node.args.iter().take(words) {
            if let Err(fault) = check(row, &arg.text) {
                let place = self.report.sources.place(arg.span);
                self.fault(row, &arg.text, &fault, place);
            }
        }
    }

    fn fault(&mut self, row: &Directive, text: &str, fault: &Fault, place: Place) {
        let message = format!("{}: {fault}", row.path);
        if fault.refuses(row) {
            self.report.say(Severity::Error, place, message);
            if let Kind::Choice(choices) = row.kind
                && let Some(near) = nearest(text, choices.iter().copied())
            {
                self.report.help(format!("did you mean `{near}`?"));
            }
            return;
        }
        self.report.say(Severity::Warning, place, message);
        let used = match (fault, row.kind, row.default) {
            (Fault::Decimals(_), ..) => return,
            (_, Kind::Bool, _) => format!("it counts as `{}`", on_off(row.default_on())),
            (Fault::OutOfRange { .. }, ..) if row.violation == Violation::Clamp => {
                "the nearest bound is used".to_owned()
            }
            (_, _, Fallback::Text(default)) => format!("the default `{default}` is used"),
            _ => "the default is used".to_owned(),
        };
        self.report.help(used);
    }

    /// Anything may stand there, but what looks like a slip is told.
    fn unknown_but_free(&mut self, path: &str, node: &Node) {
        let near = nearest(&node.name, self.table.children(path).map(|row| row.name()));
        if let Some(near) = near {
            let message = format!("nothing in {path} is called `{}`", node.name);
            self.report.at(Severity::Warning, node.span, message);
            self.report.help(format!("did you mean `{near}`?"));
        }
    }

    fn unknown(&mut self, path: &str, node: &Node) {
        let place = if path.is_empty() { String::new() } else { format!(" in {path}") };
        let message = format!("unknown directive `{}`{place}", node.name);
        self.report.at(Severity::Error, node.span, message);
        let near = nearest(&node.name, self.table.children(path).map(|row| row.name()));
        if let Some(near) = near {
            self.report.help(format!("did you mean `{near}`?"));
            return;
        }
        let homes: Vec<String> = self
            .table
            .rows()
            .filter(|row| row.name() == node.name)
            .map(|row| match row.parent() {
                "" => "outside of every block".to_owned(),
                parent => format!("in `{parent}`"),
            })
            .take(3)
            .collect();
        if !homes.is_empty() {
            self.report.help(format!("`{}` belongs {}", node.name, homes.join(" or ")));
        }
    }

    fn environment(&mut self) {
        let mut known: Vec<String> = EXTRA_VARIABLES.iter().map(|&name| name.to_owned()).collect();
        for row in self.table.rows() {
            for name in row.env_names() {
                if let Some(value) = self.env.get(&name).filter(|value| !value.is_empty()) {
                    let many = matches!(row.kind, Kind::List | Kind::Listen);
                    let words: Vec<&str> =
                        if many { value.split(' ').collect() } else { vec![value.as_str()] };
                    for word in words.into_iter().filter(|word| !word.is_empty()) {
                        if let Err(fault) = check(row, word) {
                            let place = Place::Environment {
                                name: name.clone(),
                                value: Some(value.clone()),
                            };
                            self.fault(row, word, &fault, place);
                        }
                    }
                }
                known.push(name);
            }
        }
        for (name, value) in self.env {
            if !name.starts_with("SRS_") || value.is_empty() || known.contains(name) {
                continue;
            }
            // Others may use the prefix for their own ends: only what looks like a slip is told.
            let Some(near) = nearest(name, known.iter().map(String::as_str)) else { continue };
            let help = format!("did you mean `{near}`?");
            let place = Place::Environment { name: name.clone(), value: None };
            self.report.say(Severity::Warning, place, "no directive has this variable");
            self.report.help(help);
        }
    }
}

/// Variables that are no directive's, but ours.
const EXTRA_VARIABLES: &[&str] = &["SRS_ENV_ONLY", "SRS_CONFIG_FILE", "SRS_DEVICE_IP"];

/// `$NAME` as the name of the variable it asks for.
fn variable(text: &str) -> Option<String> {
    let name = text.strip_prefix('$')?;
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (plain && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()))
        .then(|| name.to_ascii_uppercase())
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// The name most like the one that was written, if any is like it at all.
pub(crate) fn nearest<'n>(wrong: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let tolerable = (wrong.chars().count() / 3).clamp(1, 3);
    names
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .filter(|(distance, _)| *distance <= tolerable)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
