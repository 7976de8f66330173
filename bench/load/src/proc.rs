//! What a process and the machine use, from `/proc`; and the limit on open files.

use std::fs;

use rustix::param::clock_ticks_per_second;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a process and its descendants have used and hold: servers that fork are one server.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Processor time in seconds, user and kernel, all threads.
    pub(crate) cpu_s: f64,
    /// Resident memory in kB.
    pub(crate) rss_kb: u64,
}

/// Reads it; `None` where there is no such process.
pub(crate) fn usage(pid: u32) -> Option<Usage> {
    let mut usage = usage_of(pid)?;
    for child in descendants(pid, &parents()) {
        // It may have ended since.
        let of = usage_of(child).unwrap_or_default();
        usage.cpu_s += of.cpu_s;
        usage.rss_kb += of.rss_kb;
    }
    Some(usage)
}

fn usage_of(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let ticks = ticks_of(&stat)?;
    Some(Usage { cpu_s: ticks as f64 / clock_ticks_per_second() as f64, rss_kb: rss_of(&status)? })
}

/// Every process and its parent.
fn parents() -> Vec<(u32, u32)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let one = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        Some((pid, parent_of(&stat)?))
    };
    entries.filter_map(|entry| one(entry.ok()?)).collect()
}

/// Children, their children, and so on.
fn descendants(root: u32, parents: &[(u32, u32)]) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        let children = parents.iter().filter(|(pid, of)| *of == parent && !found.contains(pid));
        let children: Vec<u32> = children.map(|(pid, _)| *pid).collect();
        found.extend(children);
        next += 1;
    }
    found.split_off(1)
}

/// Field 4.
fn parent_of(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// utime and stime, fields 14 and 15 (proc_pid_stat(5)); the name in field 2 may hold blanks.
fn ticks_of(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

fn rss_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

/// Busy and total ticks of each core.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cores(Vec<(u64, u64)>);

impl Cores {
    pub(crate) fn read() -> Self {
        Self::of(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    fn of(text: &str) -> Self {
        let cores = text.lines().filter(|line| {
            let number = line.strip_prefix("cpu").and_then(|rest| rest.chars().next());
            number.is_some_and(|c| c.is_ascii_digit())
        });
        let one = |line: &str| {
            // user nice system idle iowait irq softirq steal; the guests are in user.
            let ticks: Vec<u64> =
                line.split_ascii_whitespace().skip(1).take(8).flat_map(str::parse).collect();
            let total: u64 = ticks.iter().sum();
            let idle: u64 = ticks.iter().skip(3).take(2).sum();
            (total - idle, total)
        };
        Self(cores.map(one).collect())
    }

    /// How busy each core was since `before`, in percent.
    pub(crate) fn busy_since(&self, before: &Self) -> Vec<f64> {
        let share = |((busy, total), (busy_0, total_0)): (&(u64, u64), &(u64, u64))| {
            let ticks = total.saturating_sub(*total_0).max(1);
            busy.saturating_sub(*busy_0) as f64 * 100.0 / ticks as f64
        };
        self.0.iter().zip(&before.0).map(share).collect()
    }
}

/// Datagrams that found no room at any socket of this machine since it started; 0 where that
/// cannot be read.
pub(crate) fn udp_drops() -> u64 {
    let text = fs::read_to_string("/proc/net/snmp").unwrap_or_default();
    let text6 = fs::read_to_string("/proc/net/snmp6").unwrap_or_default();
    drops_of(&text) + drops6_of(&text6)
}

fn drops_of(text: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp: "));
    let (Some(names), Some(values)) = (lines.next(), lines.next()) else { return 0 };
    let mut pairs = names.split(' ').zip(values.split(' '));
    let found = pairs.find(|(name, _)| *name == "RcvbufErrors");
    found.and_then(|(_, value)| value.parse().ok()).unwrap_or_default()
}

fn drops6_of(text: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix("Udp6RcvbufErrors"));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
}

/// Too few files may be open at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{need} open files are needed and {have} allowed: raise the hard limit (`ulimit -Hn {need}` as \
     root, LimitNOFILE= of the service, /etc/security/limits.conf), or take fewer connections"
)]
pub struct TooFewFiles {
    /// Needed.
    pub need: u64,
    /// Allowed at most.
    pub have: u64,
}

/// Raises the soft limit on open files as far as the hard one goes.
///
/// # Errors
/// It does not go as far as `need`.
pub(crate) fn raise_open_files(need: u64) -> Result<(), TooFewFiles> {
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    if limit.current.is_some_and(|soft| soft < hard) {
        // A soft limit up to the hard one is never refused; if it were, opening files would tell.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(hard), maximum: limit.maximum });
    }
    if hard < need { Err(TooFewFiles { need, have: hard }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_brackets_does_not_shift_the_fields() {
        let stat = "7 (a b) c) S 1 1 1 0 -1 4 9 0 0 0 250 50 0 0 20 0 3 0 1 2 3";
        assert_eq!(ticks_of(stat), Some(300));
        assert_eq!(ticks_of("7 (x"), None);
        assert_eq!(parent_of(stat), Some(1));
        assert_eq!(rss_of("Name:\tx\nVmRSS:\t   5120 kB\nThreads: 1\n"), Some(5120));
        assert!(usage(std::process::id()).unwrap().rss_kb > 100);
    }

    #[test]
    fn workers_and_what_they_forked_belong_to_their_master() {
        let parents = [(1, 0), (7, 1), (8, 7), (9, 8), (10, 1), (11, 7), (12, 12)];
        let mut family = descendants(7, &parents);
        family.sort_unstable();
        assert_eq!(family, [8, 9, 11]);
        assert!(descendants(12, &parents).is_empty(), "not even its own parent makes a ring");
    }

    #[test]
    fn drops_of_datagrams_are_found_by_name() {
        let text = "Ip: a b\nIp: 1 2\nUdp: InDatagrams RcvbufErrors X\nUdp: 5 17 3\n";
        assert_eq!(drops_of(text), 17);
        assert_eq!(drops6_of("Udp6InErrors  1\nUdp6RcvbufErrors       \t4\n"), 4);
        assert_eq!(drops_of(""), 0);
    }

    #[test]
    fn idle_and_waiting_are_not_busy() {
        let before = Cores::of("cpu  9 9 9 9\ncpu0 10 0 10 70 10 0 0 0 0 0\n");
        let after = Cores::of("cpu  9 9 9 9\ncpu0 30 0 20 130 20 0 0 0 5 0\nintr 1\n");
        assert_eq!(after.busy_since(&before), [30.0]);
    }

    #[test]
    fn a_limit_that_does_not_suffice_says_how_many_are_needed() {
        assert_eq!(raise_open_files(3), Ok(()));
        let error = raise_open_files(u64::MAX - 1);
        assert!(error.is_err_and(|e| e.to_string().contains("18446744073709551614 open files")));
    }
}
