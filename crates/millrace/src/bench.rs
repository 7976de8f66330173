//! `millrace bench`: players and publishers by the thousand, and a report.

mod rtc;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::{ArgAction, Args, Subcommand};
use load::plan::Publishers;
use load::report::Failing;
use load::{Clip, Pattern, Plan, Players, Progress, Trust, Verify};

/// Players were lost or starved, or media was corrupt.
const FAILED: u8 = 1;
/// The command line makes no sense, or the machine does not allow what it asks for.
const USAGE: u8 = 2;

/// Where no line can be rewritten, one is printed each so many seconds.
const PLAIN_EVERY: u64 = 5;

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Bench {
    /// Play streams that somebody publishes
    Play {
        /// What to play, in turn: rtmp, rtmps, http, https, ws or wss; .flv, .ts or .m3u8 tells the
        /// form. {i} stands for the number of the stream
        #[arg(required = true, value_name = "URL")]
        urls: Vec<String>,
        #[command(flatten)]
        play: PlayOptions,
        #[command(flatten)]
        run: RunOptions,
    },
    /// Publish the test card, or a file, in a loop
    Publish {
        /// Where to: rtmp or rtmps; {i} stands for the number of the publisher, from 0
        #[arg(value_name = "URL")]
        url: String,
        /// How many publishers
        #[arg(short = 'n', long, default_value_t = 1, value_name = "N")]
        publishers: u32,
        #[command(flatten)]
        media: MediaOptions,
        #[command(flatten)]
        run: RunOptions,
    },
    /// Publish and play at once, and compare what comes with what was sent
    Mix {
        /// What to publish and to play; {i} stands for the number of the stream, from 0
        #[arg(value_name = "URL", required_unless_present = "publish_url")]
        url: Option<String>,
        /// What to publish, where that is not what is played
        #[arg(
            long = "publish",
            value_name = "URL",
            conflicts_with = "url",
            requires = "play_urls"
        )]
        publish_url: Option<String>,
        /// What to play, in turn; may be given several times
        #[arg(long = "play", value_name = "URL", requires = "publish_url")]
        play_urls: Vec<String>,
        /// How many publishers, each its own stream
        #[arg(long, default_value_t = 1, value_name = "N")]
        publishers: u32,
        /// How many players each stream has, instead of -n
        #[arg(long, value_name = "M", conflicts_with = "players")]
        players_per_stream: Option<u32>,
        #[command(flatten)]
        media: MediaOptions,
        #[command(flatten)]
        play: PlayOptions,
        #[command(flatten)]
        run: RunOptions,
    },
    /// The same over WebRTC: WHEP and WHIP
    Rtc {
        #[command(subcommand)]
        rtc: rtc::Rtc,
    },
}

/// What concerns players.
#[derive(Args, Debug)]
pub(crate) struct PlayOptions {
    /// How many players
    #[arg(short = 'n', long, default_value_t = 1, value_name = "N")]
    players: u32,
    /// How many streams {i} counts, from 0; with publishers as many as those
    #[arg(long, default_value_t = 1, value_name = "N")]
    streams: u32,
    /// Which players decode and compare what they get: all, none, or how many; auto is all up to
    /// 1000 a thread, and of more so many, spread evenly
    #[arg(long, default_value = "auto", value_parser = verify, value_name = "WHO")]
    verify: Verify,
    /// So many players a second leave, and others come
    #[arg(long, default_value_t = 0.0, value_name = "PER-SECOND")]
    churn: f64,
    /// Each player leaves after so many seconds, and another comes
    #[arg(long, value_parser = seconds, value_name = "SECONDS")]
    stay: Option<Duration>,
    /// So many of the players stop reading now and then
    #[arg(long, default_value_t = 0, value_name = "N")]
    slow: u32,
    /// How long those do not read
    #[arg(long, default_value = "5", value_parser = seconds, value_name = "SECONDS")]
    slow_for: Duration,
    /// How long they read in between
    #[arg(long, default_value = "15", value_parser = seconds, value_name = "SECONDS")]
    slow_every: Duration,
}

/// What concerns publishers.
#[derive(Args, Debug)]
pub(crate) struct MediaOptions {
    /// Publish this FLV file instead of the built-in test card
    #[arg(long, value_name = "FLV")]
    file: Option<String>,
    /// Send the clip as it is, without stamps: then there are no delays and no checksums
    #[arg(long)]
    no_stamps: bool,
}

/// What concerns the whole.
#[derive(Args, Debug)]
pub(crate) struct RunOptions {
    /// Connections begun a second
    #[arg(long, default_value_t = 500.0, value_name = "PER-SECOND")]
    rate: f64,
    /// From the last publisher's start to the first player's
    #[arg(long, default_value = "2", value_parser = seconds, value_name = "SECONDS")]
    lead: Duration,
    /// From the last join to the measured window
    #[arg(long, default_value = "4", value_parser = seconds, value_name = "SECONDS")]
    settle: Duration,
    /// How long the measured window is
    #[arg(short = 't', long, default_value = "10", value_parser = seconds, value_name = "SECONDS")]
    duration: Duration,
    /// Threads that drive the connections
    #[arg(long, default_value_t = 1, value_name = "N")]
    threads: u32,
    /// Local addresses to connect from, in turn: a list, ranges with a hyphen
    #[arg(long, value_name = "ADDRESSES")]
    source: Option<String>,
    /// Measure the process with this number: its processor time and memory
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// A player without media for longer than this has stalled
    #[arg(long, default_value = "3", value_parser = seconds, value_name = "SECONDS")]
    stall: Duration,
    /// How long the first media may take; HLS gets a minute more
    #[arg(long, default_value = "10", value_parser = seconds, value_name = "SECONDS")]
    timeout: Duration,
    /// Trust the certificates in this file, not those of the system
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<String>,
    /// Trust any certificate
    #[arg(long)]
    insecure: bool,
    /// Do not fail by these: lost, starved, stalled, corrupt, missing
    #[arg(long, value_delimiter = ',', value_parser = failing, value_name = "WHAT")]
    allow: Vec<Failing>,
    /// Print the report as JSON on one line, instead of the table
    #[arg(long)]
    json: bool,
    /// No progress on the standard error
    #[arg(short = 'q', long)]
    quiet: bool,
    /// Print this help and exit
    #[arg(short = 'h', long, action = ArgAction::Help)]
    help: Option<bool>,
}

fn verify(text: &str) -> Result<Verify, String> {
    match text {
        "auto" => Ok(Verify::Auto),
        "all" => Ok(Verify::All),
        "none" => Ok(Verify::None),
        number => number.parse().map(Verify::Some).map_err(|_| "all, none or a number".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.strip_suffix('s').unwrap_or(text).parse().map_err(|_| "not seconds")?;
    Duration::try_from_secs_f64(seconds).map_err(|e| e.to_string())
}

fn failing(text: &str) -> Result<Failing, String> {
    let all = Failing::ALL.into_iter();
    let names = Failing::ALL.map(Failing::name).join(", ");
    all.clone().find(|f| f.name() == text).ok_or_else(|| format!("one of {names}"))
}

/// Carries out what the command line asks for.
pub(crate) fn run(bench: Box<Bench>) -> ExitCode {
    match *bench {
        Bench::Rtc { rtc } => match rtc::plan(rtc) {
            Ok((plan, telling)) => carry_out(
                telling.quiet,
                |stop, progress| load::rtc::run(plan, stop, progress),
                |report| {
                    let text =
                        if telling.json { report.json() + "\n" } else { load::rtc::table(report) };
                    (text, report.failings().iter().all(|f| telling.allow.contains(f)))
                },
            ),
            Err(error) => fail(&*error),
        },
        bench => match plan(bench) {
            Ok((plan, run)) => carry_out(
                run.quiet,
                |stop, progress| load::run(plan, stop, progress),
                |report| {
                    let text = if run.json { report.json() + "\n" } else { load::table(report) };
                    (text, report.failings().iter().all(|f| run.allow.contains(f)))
                },
            ),
            Err(error) => fail(&*error),
        },
    }
}

/// Runs until the end or a signal, tells progress, and prints what `tell` makes of the report; by
/// its second value the run went well.
fn carry_out<R>(
    quiet: bool,
    work: impl FnOnce(&Arc<AtomicBool>, &mut dyn FnMut(&Progress)) -> Result<R, load::RunError>,
    tell: impl FnOnce(&R) -> (String, bool),
) -> ExitCode {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // A second one ends the process at once.
        let twice = signal_hook::flag::register_conditional_shutdown(signal, 130, stop.clone());
        if let Err(error) = twice.and_then(|_| signal_hook::flag::register(signal, stop.clone())) {
            return fail(&error);
        }
    }
    let terminal = io::stderr().is_terminal();
    let report = work(&stop, &mut |progress| {
        if !quiet {
            tell_progress(progress, terminal);
        }
    });
    let report = match report {
        Ok(report) => report,
        Err(error) => return fail(&error),
    };
    if terminal && !quiet {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    let (text, well) = tell(&report);
    let _ = io::stdout().write_all(text.as_bytes());
    if well { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    let _ = writeln!(io::stderr(), "millrace bench: {error}");
    ExitCode::from(USAGE)
}

fn plan(bench: Bench) -> Result<(Plan, RunOptions), Box<dyn std::error::Error>> {
    let (publish, play, run) = match bench {
        Bench::Play { urls, play, run } => {
            let (players, streams) = (play.players, play.streams);
            (None, Some(some_players(&urls, players, streams, &play)?), run)
        }
        Bench::Publish { url, publishers, media, run } => {
            (Some(some_publishers(&url, publishers, &media)?), None, run)
        }
        Bench::Mix {
            url,
            publish_url,
            play_urls,
            publishers,
            players_per_stream,
            media,
            play,
            run,
        } => {
            let to = url.clone().or(publish_url).unwrap_or_default();
            let from = if play_urls.is_empty() { url.into_iter().collect() } else { play_urls };
            let each = |each: u32| each.saturating_mul(publishers);
            let count = players_per_stream.map_or(play.players, each);
            let players = some_players(&from, count, publishers, &play)?;
            (Some(some_publishers(&to, publishers, &media)?), Some(players), run)
        }
        Bench::Rtc { .. } => return Err("WebRTC has a plan of its own".into()),
    };
    let trust = match &run.ca {
        _ if run.insecure => Trust::Anybody,
        Some(file) => Trust::File(file.clone()),
        None => Trust::System,
    };
    let plan = Plan {
        players: play,
        publishers: publish,
        rate: run.rate,
        lead: run.lead,
        settle: run.settle,
        window: run.duration,
        threads: run.threads,
        sources: run.source.as_deref().map(load::target::sources).transpose()?.unwrap_or_default(),
        trust,
        pid: run.pid,
        stall: run.stall,
        patience: run.timeout,
    };
    plan.check()?;
    Ok((plan, run))
}

fn some_players(
    urls: &[String],
    count: u32,
    streams: u32,
    play: &PlayOptions,
) -> Result<Players, load::TargetError> {
    let urls: Vec<Pattern> = urls.iter().map(|url| Pattern::new(url)).collect::<Result<_, _>>()?;
    Ok(Players {
        streams,
        verify: play.verify,
        churn: play.churn,
        stay: play.stay,
        slow: play.slow,
        slow_for: play.slow_for,
        slow_every: play.slow_every,
        ..Players::new(urls, count)
    })
}

fn some_publishers(
    url: &str,
    count: u32,
    media: &MediaOptions,
) -> Result<Publishers, Box<dyn std::error::Error>> {
    let clip = match &media.file {
        Some(file) => Clip::from_file(file)?,
        None => Clip::built_in()?,
    };
    let url = Pattern::to_publish(url)?;
    Ok(Publishers { url, count, clip: Arc::new(clip), stamp: !media.no_stamps })
}

/// One line a second on a terminal, rewritten; one each five seconds elsewhere.
fn tell_progress(p: &Progress, terminal: bool) {
    if !terminal && !(p.elapsed_s.round() as u64).is_multiple_of(PLAIN_EVERY) {
        return;
    }
    let (start, end) = if terminal { ("\r", "\x1b[K") } else { ("", "\n") };
    let phase = if p.measuring { "measuring" } else { "joining" };
    let mut line = format!("{:.0}/{:.0} s {phase}", p.elapsed_s, p.total_s);
    if p.publishing > 0 {
        line += &format!(", {} publishing", p.publishing);
    }
    if p.joined > 0 {
        let (connected, active) = (p.connected, p.active);
        line += &format!(", {connected} connected, {active} active, {:.1} Mbit/s", p.mbit_per_s);
    }
    for (count, what) in [(p.lost, "lost"), (p.stalls, "stalls")] {
        if count > 0 {
            line += &format!(", {count} {what}");
        }
    }
    if p.broken {
        line += ", CORRUPT";
    }
    let _ = write!(io::stderr(), "{start}{line}{end}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_command_line_are_read() {
        assert_eq!(verify("12"), Ok(Verify::Some(12)));
        assert!(verify("some").is_err());
        assert_eq!(seconds("1.5s"), Ok(Duration::from_millis(1500)));
        assert!(seconds("-1").is_err());
        assert_eq!(failing("missing"), Ok(Failing::Missing));
        assert!(failing("slow").is_err());
    }
}
