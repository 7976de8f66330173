//! What has to fit together before the server may start.

use gate::conf::{Config, Kind, Listen, Node, Section, Status, is_host};
use gate::http::client::Address;

use super::Facts;
use super::diagnostic::{Place, Report, Severity};

/// Descriptors that are kept free for files, listeners and child processes.
const RESERVED_DESCRIPTORS: u64 = 128;

/// Checks that need more than one directive, or facts about the machine.
pub(super) fn check(config: &Config, facts: &Facts, report: &mut Report) {
    let mut check = Check { config, report };
    check.root(facts);
    check.http();
    check.webrtc();
    for vhost in config.vhosts() {
        check.vhost(&vhost);
    }
}

/// One warning for each planned feature that is switched on, one line for each directive that
/// has no effect.
pub(super) fn announce(config: &Config, report: &mut Report) {
    let mut check = Check { config, report };
    let mut told = Vec::new();
    for row in config.table().rows() {
        let Status::Planned(feature) = row.status else { continue };
        // Within a planned block only its own switch counts: an engine of a transcoding that is
        // off asks for nothing.
        let block = config.table().get(row.parent());
        let around = block.and_then(|block| config.table().get(block.parent()));
        let nested = around.is_some_and(|row| matches!(row.status, Status::Planned(_)));
        if row.kind.is_block() || !row.is_switch() || nested || told.contains(&feature) {
            continue;
        }
        let Some((section, relative)) = check.switched_on(row) else { continue };
        told.push(feature);
        let place = check.place(&section, &relative);
        let message = format!("`{}`: this release does not have {feature}", row.path);
        check.report.say(Severity::Warning, place, message);
    }
    check.ignored("", config.nodes(), &mut Vec::new());
}

struct Check<'a> {
    config: &'a Config,
    report: &'a mut Report,
}

impl<'a> Check<'a> {
    fn place(&self, section: &Section<'_>, relative: &str) -> Place {
        match section.origin(relative) {
            gate::conf::Origin::Environment(name) => {
                let value = Some(section.str(relative).to_owned());
                Place::Environment { name, value }
            }
            gate::conf::Origin::File(span) => self.report.sources.place(span),
            gate::conf::Origin::Default => Place::Nowhere,
        }
    }

    fn refuse(&mut self, section: &Section<'_>, relative: &str, message: impl Into<String>) {
        let place = self.place(section, relative);
        self.report.say(Severity::Error, place, message);
    }

    fn root(&mut self, facts: &Facts) {
        let root = self.config.root();
        let misread = root.nodes().iter().any(|n| n.name == "listen" && n.children.is_some());
        if root.list("listen").is_empty() && !misread {
            self.refuse(&root, "listen", "nothing says where to listen for RTMP");
            self.report.help("write `listen 1935;`");
        }
        if root.seconds("heartbeat.interval").is_zero() {
            self.refuse(&root, "heartbeat.interval", "heartbeat.interval must be more than 0");
        }
        let index = root.int("stats.network");
        if let Some(count) = facts.local_addresses {
            let fits = usize::try_from(index).is_ok_and(|index| index < count.max(1));
            if !fits {
                let message =
                    format!("stats.network: there is no address number {index}, of {count}");
                self.refuse(&root, "stats.network", message);
            }
        }
        if root.str("srs_log_tank") != "console" && root.str("srs_log_file").is_empty() {
            self.refuse(&root, "srs_log_file", "the log goes to a file, but the file has no name");
        }
        if root.bool("daemon") && root.bool("asprocess") {
            self.refuse(&root, "asprocess", "`daemon` and `asprocess` cannot both be on");
        }
        if root.bool("is_full") {
            self.refuse(&root, "is_full", "`is_full on` marks a file that is not meant to be run");
            self.report.help("copy the lines you need into a file of your own");
        }
        self.connections(&root, facts);
    }

    fn connections(&mut self, root: &Section<'_>, facts: &Facts) {
        let connections = u64::try_from(root.int("max_connections")).unwrap_or(0);
        let Some(limit) = facts.open_files else { return };
        if connections.saturating_add(RESERVED_DESCRIPTORS) < limit {
            return;
        }
        let message = format!(
            "max_connections {connections} needs more than {limit} open files, which is the limit"
        );
        // Nobody asked for the default: a server that was told nothing starts with less.
        let written = root.is_set("max_connections");
        let severity = if written { Severity::Error } else { Severity::Warning };
        let place = self.place(root, "max_connections");
        self.report.say(severity, place, message);
        let needed = connections.saturating_add(RESERVED_DESCRIPTORS).saturating_add(1);
        let possible = limit.saturating_sub(RESERVED_DESCRIPTORS).saturating_sub(1);
        self.report.help(match possible {
            0 => format!("raise the limit: `ulimit -n {needed}`"),
            _ => format!("raise the limit (`ulimit -n {needed}`) or write {possible}"),
        });
    }

    fn http(&mut self) {
        let root = self.config.root();
        for block in ["http_api", "http_server"] {
            let https = format!("{block}.https.enabled");
            if root.bool(&https) && !root.bool(&format!("{block}.enabled")) {
                let message = format!("{block}.https is on, but {block} is off");
                self.refuse(&root, &https, message);
            }
        }
        let both = |path: &str| {
            root.bool(&format!("http_api.{path}")) && root.bool(&format!("http_server.{path}"))
        };
        if !both("enabled") {
            return;
        }
        let same = |path: &str| -> bool {
            let one: Vec<Listen> = root.listen(&format!("http_api.{path}"));
            one == root.listen(&format!("http_server.{path}"))
        };
        if !both("https.enabled") {
            return;
        }
        if same("listen") && !same("https.listen") {
            let message = "http_api and http_server share their HTTP port but not their HTTPS port";
            self.refuse(&root, "http_api.https.listen", message);
        } else if !same("listen") && same("https.listen") {
            let message = "http_api and http_server share their HTTPS port but not their HTTP port";
            self.refuse(&root, "http_api.https.listen", message);
        }
    }

    fn webrtc(&mut self) {
        let root = self.config.root();
        for word in root.list("rtc_server.candidate") {
            if matches!(word, "*" | "::") || is_host(word) {
                continue;
            }
            let place = self.place(&root, "rtc_server.candidate");
            let message = format!(
                "rtc_server.candidate: `{word}` is neither an IP address nor a name (it is left out)"
            );
            self.report.say(Severity::Warning, place, message);
            self.report.help("write `*`, `203.0.113.7` or `live.example.com`, without a port");
        }
    }

    fn vhost(&mut self, vhost: &Section<'a>) {
        let mut remux = vhost.nodes().iter().filter(|node| node.name == "http_remux");
        if let Some(second) = remux.nth(1) {
            self.report.at(
                Severity::Error,
                second.span,
                "a virtual host has one `http_remux`, this is another",
            );
        }
        // SRS of late also refuses HLS beside a live `.ts`, because their paths may collide. Here
        // the path of a segment is looked for first, so both may be on.
        if vhost.bool("forward.enabled") && !vhost.seconds("publish.kickoff_for_idle").is_zero() {
            let message = "`forward` and `publish.kickoff_for_idle` exclude each other";
            self.refuse(vhost, "publish.kickoff_for_idle", message);
        }
        self.programs(vhost);
        self.forwards(vhost);
        self.callbacks(vhost);
        let mut ids: Vec<&str> = Vec::new();
        for ingest in vhost.nodes().iter().filter(|node| node.name == "ingest") {
            if ids.contains(&ingest.first_arg()) {
                let message = format!("two ingests are called `{}`", ingest.first_arg());
                self.report.at(Severity::Error, ingest.span, message);
            }
            ids.push(ingest.first_arg());
        }
    }

    /// Lines of `exec` that run nothing. Warnings only: SRS starts with them, too.
    fn programs(&mut self, vhost: &Section<'a>) {
        let blocks = vhost.nodes().iter().filter(|node| node.name == "exec");
        for line in blocks.flat_map(Node::nodes) {
            let row = self.config.table().get(&format!("vhost.exec.{}", line.name));
            let runs = row.is_some_and(|row| row.kind == Kind::Line);
            let program = line.first_arg().trim_start_matches(['1', '2']);
            if runs && (line.first_arg().is_empty() || program.starts_with('>')) {
                let message = format!("`{}` names no program, so nothing is run", line.name);
                self.report.at(Severity::Warning, line.span, message);
                self.report.help(format!("write `{} /path/of/program arguments;`", line.name));
            }
        }
    }

    /// Destinations that lead nowhere. Warnings only: SRS starts with them, too.
    fn forwards(&mut self, vhost: &Section<'a>) {
        if !vhost.bool("forward.enabled") {
            return;
        }
        let backend = vhost.str("forward.backend");
        let destinations = vhost.list("forward.destination");
        let mut warn = |path: &str, message: String, help: &str| {
            let place = self.place(vhost, path);
            self.report.say(Severity::Warning, place, message);
            self.report.help(help.to_owned());
        };
        match Address::parse(backend) {
            Err(error) if !backend.is_empty() => {
                let help = "write `http://host[:port]/path` or `https://...`";
                warn("forward.backend", format!("`backend` cannot be asked: {error}"), help);
            }
            Ok(_) => {
                if !destinations.is_empty() {
                    let message = "`destination` is not looked at, since `backend` is asked";
                    warn("forward.destination", message.to_owned(), "remove one of them");
                }
            }
            Err(_) => {
                if destinations.is_empty() {
                    let message = "`forward` is on, but nothing says where to";
                    warn("forward.enabled", message.to_owned(), "write `destination host:port;`");
                }
                for to in destinations.into_iter().filter(|to| !is_server(to)) {
                    let message = format!("`{to}` is no destination");
                    let help = "write `host[:port]` or `rtmp://host[:port]/app/stream`";
                    warn("forward.destination", message, help);
                }
            }
        }
    }

    /// URLs that cannot be called. A warning only: SRS starts with them, too.
    fn callbacks(&mut self, vhost: &Section<'a>) {
        if !vhost.bool("http_hooks.enabled") {
            return;
        }
        for row in self.config.table().children("vhost.http_hooks") {
            let lists = row.kind == Kind::List && row.status == Status::Works;
            let Some(path) = row.path.strip_prefix("vhost.").filter(|_| lists) else { continue };
            for url in vhost.list(path) {
                let plain = url.replace(['[', ']'], "");
                if let Err(error) = Address::parse(&plain) {
                    let place = self.place(vhost, path);
                    let message = format!("`{}` cannot be called: {error}", row.name());
                    self.report.say(Severity::Warning, place, message);
                    self.report.help("write `http://host[:port]/path` or `https://...`");
                }
            }
        }
    }

    /// The first place where a switch is on, the environment included.
    fn switched_on(&self, row: &gate::conf::Directive) -> Option<(Section<'a>, String)> {
        let (roots, path): (Vec<Section<'a>>, &str) = match row.path.strip_prefix("vhost.") {
            Some(path) => (self.config.vhosts().iter().map(|v| (**v).clone()).collect(), path),
            None => (vec![self.config.root()], row.path),
        };
        // A switch in a block that repeats is looked for in each of them.
        let (blocks, name): (Vec<Section<'a>>, &str) = match path.rsplit_once('.') {
            Some((block, name)) => {
                let found = roots.iter().flat_map(|root| {
                    let repeats = self.config.table().get(row.parent()).is_some_and(|r| r.repeated);
                    if repeats { root.blocks(block) } else { vec![root.section(block)] }
                });
                (found.collect(), name)
            }
            None => (roots, path),
        };
        blocks.into_iter().find(|block| is_on(block, row, name)).map(|b| (b, name.to_owned()))
    }

    fn ignored(&mut self, path: &str, nodes: &[Node], told: &mut Vec<&'static str>) {
        for node in nodes {
            let full =
                if path.is_empty() { node.name.clone() } else { format!("{path}.{}", node.name) };
            let Some(row) = self.config.table().get(&full) else { continue };
            if row.status == Status::Ignored {
                if !told.contains(&row.path) {
                    told.push(row.path);
                    let message = format!("`{full}` is accepted and has no effect");
                    self.report.at(Severity::Info, node.span, message);
                }
                continue;
            }
            self.ignored(&full, node.nodes(), told);
        }
    }
}

/// Whether a destination names a server and, if any, a port.
fn is_server(destination: &str) -> bool {
    let rest = destination.split_once("://").map_or(destination, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    // With the scheme of another protocol the same rules hold.
    Address::parse(&format!("http://{authority}/")).is_ok()
}

fn is_on(block: &Section<'_>, row: &gate::conf::Directive, name: &str) -> bool {
    match row.kind {
        Kind::Bool => block.bool(name),
        Kind::Int | Kind::Float => block.is_set(name) && block.float(name) != 0.0,
        Kind::Line => !block.lines(name).is_empty(),
        Kind::Choice(_) | Kind::Str | Kind::Path => {
            let gate::conf::Fallback::Text(default) = row.default else {
                return block.is_set(name);
            };
            block.str(name) != default
        }
        _ => block.is_set(name),
    }
}
