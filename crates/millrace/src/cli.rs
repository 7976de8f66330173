//! The command line: SRS's letters, and words for what is ours.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, Parser, Subcommand};
use control::config::{self, Diagnostic, Disk, Facts, Request, Severity, exit_status};
use control::process::handover;
use gate::conf::Config;

use crate::bench::{self, Bench};
use crate::server;
use crate::sign::{self, Sign};

/// The status for a command line that cannot be understood, and for a file that is not there.
const USAGE: u8 = 255;

/// A live-media server: takes a stream in by RTMP and gives it out by RTMP, HTTP-FLV,
/// WebSocket-FLV, HTTP-TS and HLS.
///
/// Without a file it serves RTMP on 1935, HTTP on 8080 and the API on 1985, in the foreground.
/// A configuration file is written as for SRS.
#[derive(Parser, Debug)]
#[command(
    name = "millrace",
    disable_version_flag = true,
    disable_help_flag = true,
    disable_help_subcommand = true,
    args_conflicts_with_subcommands = true,
    after_help = "Signals: HUP reloads, TERM stops, QUIT drains and stops, USR1 reopens the log, USR2 upgrades."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// Read the configuration from FILE
    #[arg(short = 'c', value_name = "FILE")]
    config: Option<String>,
    /// Check the configuration and exit
    #[arg(short = 't')]
    test: bool,
    /// Take the configuration from the environment only (SRS_...)
    #[arg(short = 'e')]
    env: bool,
    /// Print the version and exit
    #[arg(short = 'v', short_alias = 'V', long = "version")]
    version: bool,
    /// Print name and version and exit
    #[arg(short = 'g', short_alias = 'G')]
    signature: bool,
    /// Print this help and exit
    #[arg(short = 'h', short_alias = '?', long = "help")]
    help: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Check a configuration file and tell everything that is wrong with it
    Check {
        /// The file
        file: String,
    },
    /// Have a running server replaced by the binary that is installed now, its ports open throughout
    Upgrade {
        /// The configuration file that the server was started with: it names the pid file
        #[arg(short = 'c', value_name = "FILE")]
        config: String,
        /// Print this help and exit
        #[arg(short = 'h', long, action = ArgAction::Help)]
        help: Option<bool>,
    },
    /// Start, publish a test card to live/livestream, and print where to watch
    Demo,
    /// Play or publish a thousandfold, and tell what a server delivers, how late and at what cost
    Bench {
        #[command(subcommand)]
        bench: Box<Bench>,
        /// Print this help and exit
        #[arg(short = 'h', long, action = ArgAction::Help)]
        help: Option<bool>,
    },
    /// Print a URL that lets its bearer publish or play for a while
    Sign(Box<Sign>),
    /// Print this help and exit
    Help,
}

/// Does what the command line says.
pub(crate) fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(e) if e.kind() == ErrorKind::DisplayHelp => {
            let _ = e.print();
            return ExitCode::SUCCESS;
        }
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(USAGE);
        }
    };
    if cli.help || matches!(cli.command, Some(Command::Help)) {
        let _ = Cli::command().print_help();
        return ExitCode::SUCCESS;
    }
    if cli.version {
        return say(crate::VERSION);
    }
    if cli.signature {
        return say(&format!("millrace/{}", crate::VERSION));
    }
    let mut upgrade = false;
    let env = std::env::vars().collect::<BTreeMap<_, _>>();
    let (file, demo, check) = match cli.command {
        Some(Command::Sign(wish)) => {
            return match sign::run(&wish, &env) {
                Ok(url) => say(&url),
                Err(e) => {
                    complain(&e);
                    ExitCode::FAILURE
                }
            };
        }
        Some(Command::Bench { bench, .. }) => return bench::run(bench),
        Some(Command::Upgrade { config, .. }) => {
            upgrade = true;
            (Some(config), false, false)
        }
        Some(Command::Check { file }) => (Some(file), false, true),
        Some(Command::Demo) => (None, true, false),
        Some(Command::Help) | None => (cli.config, false, cli.test),
    };
    let request = Request {
        table: config::directives::table(&[]),
        file,
        env_only: cli.env,
        env,
        facts: Facts::default(),
    };
    let fileless = request.file.is_none() && !request.env.contains_key("SRS_CONFIG_FILE");
    if let Some(path) = &request.file
        && let Err(e) = std::fs::metadata(path)
    {
        complain(&format!("cannot read the configuration {path}: {e}"));
        return ExitCode::from(USAGE);
    }
    let (config, notes) = match config::load(request.clone(), &Disk) {
        Ok(loaded) => loaded,
        Err(list) => {
            show(&list);
            return ExitCode::from(exit_status(&list));
        }
    };
    if upgrade {
        return ask_for_upgrade(&config);
    }
    if check {
        show(&notes);
        return say("the configuration is fine");
    }
    match server::run(server::Start { request, config, notes, fileless, demo }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            complain(&e.to_string());
            ExitCode::from(e.exit_status())
        }
    }
}

/// Asks the server of this configuration to hand over, and waits until it has.
fn ask_for_upgrade(config: &Config) -> ExitCode {
    let root = config.root();
    let path = Path::new(root.str("work_dir")).join(root.str("pid"));
    let read = || std::fs::read_to_string(&path).ok()?.trim().parse::<u32>().ok();
    let Some(old) = read() else {
        complain(&format!("no process id in {}: does the server run?", path.display()));
        return ExitCode::FAILURE;
    };
    if let Err(e) = handover::ask(old) {
        complain(&format!("cannot ask process {old} (of {}): {e}", path.display()));
        return ExitCode::FAILURE;
    }
    let end = Instant::now() + handover::PATIENCE + handover::PATIENCE;
    while Instant::now() < end {
        match read() {
            Some(new) if new != old => {
                return say(&format!(
                    "process {new} serves now; process {old} stays for those it has, at most {} s",
                    root.seconds("upgrade_drain").as_secs()
                ));
            }
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
    complain(&format!("process {old} did not hand over; its log says why"));
    ExitCode::FAILURE
}

fn say(text: &str) -> ExitCode {
    let _ = writeln!(io::stdout(), "{text}");
    ExitCode::SUCCESS
}

fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "millrace: {text}");
}

fn show(list: &[Diagnostic]) {
    let mut err = io::stderr().lock();
    for one in list {
        let _ = writeln!(err, "{one}\n");
    }
    let errors = list.iter().filter(|d| d.severity == Severity::Error).count();
    if errors > 0 {
        let plural = if errors == 1 { "" } else { "s" };
        let _ = writeln!(err, "millrace: {errors} error{plural}, not started");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from([&["millrace"], args].concat())
    }

    #[test]
    fn letters_may_be_combined() {
        let cli = parse(&["-tc", "a.conf"]).unwrap();
        assert!(cli.test);
        assert_eq!(cli.config.as_deref(), Some("a.conf"));
    }

    #[test]
    fn every_spelling_of_help_and_version_is_understood() {
        for help in ["-h", "-?", "--help"] {
            assert!(parse(&[help]).unwrap().help, "{help}");
        }
        for version in ["-v", "-V", "--version"] {
            assert!(parse(&[version]).unwrap().version, "{version}");
        }
    }

    #[test]
    fn an_unknown_letter_is_refused() {
        assert!(parse(&["-x"]).is_err());
    }

    #[test]
    fn a_url_is_signed_with_a_secret_from_one_place() {
        for (line, good) in [
            ("sign rtmp://h/live/x --config a.conf --expires 30m --action publish", true),
            ("sign rtmp://h/live/x --secret-env S --kid v1 --ip 192.0.2.0/24", true),
            ("sign rtmp://h/live/x --secret-env S --config a.conf", false),
            ("sign rtmp://h/live/x --action watch", false),
            ("sign rtmp://h/live/x --ip host", false),
            ("sign rtmp://h/live/x --expires soon", false),
            ("sign", false),
        ] {
            let parsed = parse(&line.split(' ').collect::<Vec<_>>());
            assert_eq!(parsed.is_ok(), good, "{line}");
        }
    }

    #[test]
    fn a_bench_says_what_to_do_and_where() {
        for good in [
            "bench play -n 500 rtmp://h/live/x http://h/live/x.flv --verify all --json",
            "bench publish -n 3 rtmp://h/live/s{i} --file a.flv",
            "bench mix rtmp://h/live/s{i} --publishers 3 --players-per-stream 5",
            "bench mix --publish rtmp://h/live/x --play http://h/live/x.ts --play ws://h/x.flv",
        ] {
            assert!(parse(&good.split(' ').collect::<Vec<_>>()).is_ok(), "{good}");
        }
        for help in ["bench --help", "bench play -h", "bench mix --help"] {
            let told = parse(&help.split(' ').collect::<Vec<_>>()).unwrap_err();
            assert_eq!(told.kind(), ErrorKind::DisplayHelp, "{help}");
        }
        for bad in ["bench", "bench play", "bench mix", "bench mix --publish rtmp://h/live/x"] {
            assert!(parse(&bad.split(' ').collect::<Vec<_>>()).is_err(), "{bad}");
        }
    }

    #[test]
    fn help_says_what_stands_for_the_number_of_a_stream() {
        // clap takes {n} for the end of a line.
        for part in ["play", "publish", "mix"] {
            let help = parse(&["bench", part, "--help"]).unwrap_err().to_string();
            assert!(help.contains(load::target::NUMBER), "{help}");
        }
    }
}
