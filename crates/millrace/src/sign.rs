//! `millrace sign`: a URL that lets its bearer in for a while.

use std::time::Duration;

use clap::Args;
use control::access::{Direction, Net, Wish, named, now, sign_url, signing_secret};
use control::config::{self, Diagnostic, Disk, Facts, Request};

/// What to sign, by which secret, for how long.
#[derive(Args, Debug)]
pub(crate) struct Sign {
    /// The address: rtmp://HOST/APP/STREAM, http://HOST:8080/APP/STREAM.flv and the like
    url: String,
    /// Take the secret from the virtual host's `auth { sign { } }` in this configuration
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
    /// Take the secret from this environment variable
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    secret_env: Option<String>,
    /// The secret; others on this machine can see it in the list of processes
    #[arg(long, conflicts_with_all = ["config", "secret_env"])]
    secret: Option<String>,
    /// Id of the secret; with --config the first one signs otherwise
    #[arg(long, value_name = "ID")]
    kid: Option<String>,
    /// For how long: 90s, 30m, 1h, 7d
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration)]
    expires: Duration,
    /// What the URL allows
    #[arg(long, default_value = "play", value_parser = ["publish", "play"])]
    action: String,
    /// Only from this address or range
    #[arg(long, value_name = "IP|CIDR")]
    ip: Option<Net>,
    /// Print this help and exit
    #[arg(short = 'h', long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

/// The signed URL, or what is wrong, for a person.
pub(crate) fn run(
    sign: &Sign,
    env: &std::collections::BTreeMap<String, String>,
) -> Result<String, String> {
    let (kid, secret) = match (&sign.config, &sign.secret_env, &sign.secret) {
        (Some(file), ..) => {
            let (id, secret) = from_config(sign, file, env)?;
            (Some(id), secret)
        }
        (_, Some(name), _) => {
            let secret = env.get(name).filter(|secret| !secret.is_empty());
            let unset = || format!("the environment variable {name} is not set");
            (sign.kid.clone(), secret.cloned().ok_or_else(unset)?)
        }
        (.., Some(secret)) => (sign.kid.clone(), secret.clone()),
        _ => return Err("no secret: give --config FILE or --secret-env NAME".to_owned()),
    };
    let wish = Wish {
        direction: Direction::from_word(&sign.action).unwrap_or(Direction::Play),
        kid: kid.as_deref(),
        secret: &secret,
        expires: now().saturating_add(sign.expires.as_secs()),
        ip: sign.ip,
    };
    sign_url(&sign.url, &wish).map_err(|e| e.to_string())
}

fn from_config(
    sign: &Sign,
    file: &str,
    env: &std::collections::BTreeMap<String, String>,
) -> Result<(String, String), String> {
    let request = Request {
        table: config::directives::table(&[]),
        file: Some(file.to_owned()),
        env_only: false,
        env: env.clone(),
        facts: Facts::default(),
    };
    let told = |list: Vec<Diagnostic>| {
        list.iter().map(Diagnostic::one_line).collect::<Vec<_>>().join("\n")
    };
    let (config, _) = config::load(request, &Disk).map_err(told)?;
    let vhost = named(&sign.url).map_err(|e| e.to_string())?.vhost;
    let none = || match &sign.kid {
        Some(kid) => format!("{file}: the virtual host that serves {vhost} has no secret `{kid}`"),
        None => format!(
            "{file}: the virtual host that serves {vhost} has no `auth {{ sign {{ secret ID SECRET; }} }}`"
        ),
    };
    signing_secret(&config, &vhost, sign.kid.as_deref()).ok_or_else(none)
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..) {
        Some("" | "s") => 1,
        Some("m") => 60,
        Some("h") => 3_600,
        Some("d") => 86_400,
        _ => 0,
    };
    let number = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit));
    // A century is for ever, and its end still a time.
    match number.filter(|seconds| (1..=3_153_600_000).contains(seconds)) {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err("a time like 90s, 30m, 1h or 7d".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, seconds) in
            [("90", 90), ("90s", 90), ("30m", 1_800), ("1h", 3_600), ("7d", 604_800)]
        {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for bad in ["", "0", "h", "1w", "-1h", "1.5h", "99999999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    fn sign(secret_env: Option<&str>) -> Sign {
        Sign {
            url: "http://h/live/cam.flv".to_owned(),
            config: None,
            secret_env: secret_env.map(str::to_owned),
            secret: None,
            kid: Some("v1".to_owned()),
            expires: Duration::from_secs(60),
            action: "play".to_owned(),
            ip: None,
            help: None,
        }
    }

    #[test]
    fn the_secret_comes_from_the_environment_or_not_at_all() {
        let env = [("S".to_owned(), "a secret".to_owned())].into();
        let url = run(&sign(Some("S")), &env).unwrap();
        assert!(url.starts_with("http://h/live/cam.flv?expires="), "{url}");
        assert!(url.contains("&kid=v1&sign="), "{url}");
        assert!(run(&sign(Some("T")), &env).unwrap_err().contains("T is not set"));
        assert!(run(&sign(None), &env).unwrap_err().contains("--secret-env"));
    }
}
