//! `millrace bench rtc`: players and publishers of WebRTC by the thousand.

use std::sync::Arc;
use std::time::Duration;

use clap::{ArgAction, Args, Subcommand};
use load::Verify;
use load::report::Failing;
use load::rtc::{Network, Plan, Players, Publishers, RtcClip, Url};

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Rtc {
    /// Play by WHEP what somebody publishes
    Play {
        /// Where: http://host:port/rtc/v1/whep/?app=live&stream=livestream; {i} stands for the
        /// number of the stream
        #[arg(value_name = "URL")]
        url: String,
        #[command(flatten)]
        play: PlayOptions,
        #[command(flatten)]
        run: RunOptions,
    },
    /// Publish the test card, or a file, in a loop, by WHIP
    Publish {
        /// Where to: http://host:port/rtc/v1/whip/?app=live&stream=s{i}; {i} stands for the number
        /// of the publisher, from 0
        #[arg(value_name = "URL")]
        url: String,
        /// How many publishers
        #[arg(short = 'n', long, default_value_t = 1, value_name = "N")]
        publishers: u32,
        /// Publish this FLV file instead of the built-in test card
        #[arg(long, value_name = "FLV")]
        file: Option<String>,
        #[command(flatten)]
        run: RunOptions,
    },
    /// Publish and play at once
    Mix {
        /// What to publish, by WHIP
        #[arg(long = "publish", value_name = "URL")]
        publish_url: String,
        /// What to play, by WHEP
        #[arg(long = "play", value_name = "URL")]
        play_url: String,
        /// How many publishers, each its own stream
        #[arg(long, default_value_t = 1, value_name = "N")]
        publishers: u32,
        /// Publish this FLV file instead of the built-in test card
        #[arg(long, value_name = "FLV")]
        file: Option<String>,
        #[command(flatten)]
        play: PlayOptions,
        #[command(flatten)]
        run: RunOptions,
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
    /// Which players decrypt, put together and compare all that they get: all, none, or how many;
    /// auto is all up to 100 a thread, and of more so many, spread evenly
    #[arg(long, default_value = "auto", value_parser = super::verify, value_name = "WHO")]
    verify: Verify,
    /// Each player takes another socket, once, after so many seconds
    #[arg(long = "move", value_parser = super::seconds, value_name = "SECONDS")]
    moves: Option<Duration>,
}

/// What concerns the whole.
#[derive(Args, Debug)]
pub(crate) struct RunOptions {
    /// Sessions begun a second
    #[arg(long, default_value_t = 100.0, value_name = "PER-SECOND")]
    rate: f64,
    /// From the last publisher's start to the first player's
    #[arg(long, default_value = "2", value_parser = super::seconds, value_name = "SECONDS")]
    lead: Duration,
    /// From the last join to the measured window
    #[arg(long, default_value = "4", value_parser = super::seconds, value_name = "SECONDS")]
    settle: Duration,
    /// How long the measured window is
    #[arg(short = 't', long, default_value = "10", value_parser = super::seconds, value_name = "SECONDS")]
    duration: Duration,
    /// Threads that drive the sessions
    #[arg(long, default_value_t = 1, value_name = "N")]
    threads: u32,
    /// Local addresses to send from, in turn: a list, ranges with a hyphen
    #[arg(long, value_name = "ADDRESSES")]
    source: Option<String>,
    /// Measure the process with this number: its processor time and memory
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// How long an answer, and after it the first media, may take
    #[arg(long, default_value = "10", value_parser = super::seconds, value_name = "SECONDS")]
    timeout: Duration,
    /// Lose so many percent of all datagrams, each way
    #[arg(long, default_value_t = 0.0, value_parser = percent, value_name = "PERCENT")]
    loss: f64,
    /// Delay all datagrams, each way
    #[arg(long, default_value_t = 0, value_name = "MS")]
    delay: u32,
    /// Delay each datagram by up to so much more
    #[arg(long, default_value_t = 0, value_name = "MS")]
    jitter: u32,
    /// Let the way to each client carry no more than so many kbit/s
    #[arg(long, default_value_t = 0, value_name = "KBIT")]
    link: u64,
    /// Lose what would wait longer than this because of --link
    #[arg(long, default_value_t = 200, value_name = "MS")]
    queue: u32,
    /// Other numbers lose and delay other datagrams
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    seed: u64,
    /// Do not fail by these: lost, starved, stalled, corrupt, missing
    #[arg(long, value_delimiter = ',', value_parser = super::failing, value_name = "WHAT")]
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

fn percent(text: &str) -> Result<f64, String> {
    let percent: f64 = text.trim_end_matches('%').parse().map_err(|_| "not percent")?;
    if (0.0..=100.0).contains(&percent) { Ok(percent) } else { Err("not 0 to 100".to_owned()) }
}

/// How it is told.
pub(super) struct Telling {
    pub(super) allow: Vec<Failing>,
    pub(super) json: bool,
    pub(super) quiet: bool,
}

/// The plan that the command line asks for.
pub(super) fn plan(rtc: Rtc) -> Result<(Plan, Telling), Box<dyn std::error::Error>> {
    let (publishers, players, move_after, run) = match rtc {
        Rtc::Play { url, play, run } => {
            let (moves, streams) = (play.moves, play.streams);
            (None, Some(some_players(&url, &play, streams)?), moves, run)
        }
        Rtc::Publish { url, publishers, file, run } => {
            (Some(some_publishers(&url, publishers, file.as_deref())?), None, None, run)
        }
        Rtc::Mix { publish_url, play_url, publishers, file, play, run } => {
            let players = some_players(&play_url, &play, publishers)?;
            let publishers = some_publishers(&publish_url, publishers, file.as_deref())?;
            (Some(publishers), Some(players), play.moves, run)
        }
    };
    let millis = |ms: u32| Duration::from_millis(u64::from(ms));
    let plan = Plan {
        players,
        publishers,
        rate: run.rate,
        lead: run.lead,
        settle: run.settle,
        window: run.duration,
        threads: run.threads,
        sources: run.source.as_deref().map(load::target::sources).transpose()?.unwrap_or_default(),
        pid: run.pid,
        patience: run.timeout,
        network: Network {
            loss: run.loss / 100.0,
            delay: millis(run.delay),
            jitter: millis(run.jitter),
            rate: run.link.saturating_mul(1000),
            queue: millis(run.queue),
            seed: run.seed,
        },
        move_after,
    };
    plan.check()?;
    Ok((plan, Telling { allow: run.allow, json: run.json, quiet: run.quiet }))
}

fn some_players(
    url: &str,
    play: &PlayOptions,
    streams: u32,
) -> Result<Players, load::rtc::UrlError> {
    Ok(Players { url: Url::new(url)?, count: play.players, streams, verify: play.verify })
}

fn some_publishers(
    url: &str,
    count: u32,
    file: Option<&str>,
) -> Result<Publishers, Box<dyn std::error::Error>> {
    let clip = match file {
        Some(file) => RtcClip::from_file(file)?,
        None => RtcClip::built_in()?,
    };
    Ok(Publishers { url: Url::new(url)?, count, clip: Arc::new(clip) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_are_read_with_and_without_their_sign() {
        assert_eq!(percent("5"), Ok(5.0));
        assert_eq!(percent("2.5%"), Ok(2.5));
        assert!(percent("101").is_err());
        assert!(percent("some").is_err());
    }
}
