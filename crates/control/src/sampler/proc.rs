//! Figures of the process and the system, as Linux tells them in `/proc` (proc(5)).
//!
//! Each reader is a pure function of a file's text; [`Sample::take`] is the only place that
//! opens files. A file that is missing or strange leaves its figures at zero.

use std::collections::BTreeMap;

/// Kernel clock ticks a second. `USER_HZ` is 100 on every architecture that Linux runs on today.
pub const TICKS: u64 = 100;
/// Bytes of a sector in `/proc/diskstats`, whatever the disk's own are.
const SECTOR_KB: f64 = 0.5;

/// Names of the numbers of `/proc/self/stat` behind the state, in their order.
pub const SELF_FIELDS: [&str; 41] = [
    "ppid",
    "pgrp",
    "session",
    "tty_nr",
    "tpgid",
    "flags",
    "minflt",
    "cminflt",
    "majflt",
    "cmajflt",
    "utime",
    "stime",
    "cutime",
    "cstime",
    "priority",
    "nice",
    "num_threads",
    "itrealvalue",
    "starttime",
    "vsize",
    "rss",
    "rsslim",
    "startcode",
    "endcode",
    "startstack",
    "kstkesp",
    "kstkeip",
    "signal",
    "blocked",
    "sigignore",
    "sigcatch",
    "wchan",
    "nswap",
    "cnswap",
    "exit_signal",
    "processor",
    "rt_priority",
    "policy",
    "delayacct_blkio_ticks",
    "guest_time",
    "cguest_time",
];

/// Where our memory lies is nobody's business: it is what an attacker of any other hole needs.
const ADDRESSES: [&str; 6] = ["startcode", "endcode", "startstack", "kstkesp", "kstkeip", "wchan"];

/// `/proc/self/stat`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SelfStat {
    /// Name of the program.
    pub comm: String,
    /// `R`, `S`, …
    pub state: String,
    /// The numbers in the order of [`SELF_FIELDS`]; addresses are zero.
    pub numbers: Vec<i128>,
}

impl SelfStat {
    /// Reads the text.
    pub fn parse(text: &str) -> Option<Self> {
        // The name may hold spaces and brackets: it ends at the last one.
        let (head, rest) = text.rsplit_once(')')?;
        let (_, comm) = head.split_once('(')?;
        let mut words = rest.split_ascii_whitespace();
        let state = words.next()?.to_owned();
        let told = words.map_while(|w| w.parse::<i128>().ok());
        let told = told.chain(std::iter::repeat(0));
        let numbers = SELF_FIELDS
            .iter()
            .zip(told)
            .map(|(name, n)| if ADDRESSES.contains(name) { 0 } else { n })
            .collect();
        Some(Self { comm: comm.to_owned(), state, numbers })
    }

    /// One of [`SELF_FIELDS`]; zero for another name.
    pub fn get(&self, name: &str) -> u64 {
        let at = SELF_FIELDS.iter().position(|n| *n == name);
        let number = at.and_then(|at| self.numbers.get(at));
        number.and_then(|n| u64::try_from(*n).ok()).unwrap_or(0)
    }
}

/// Ticks of all processors since the start, from the first line of `/proc/stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuTimes {
    /// In programs.
    pub user: u64,
    /// In programs of low priority.
    pub nice: u64,
    /// In the kernel.
    pub sys: u64,
    /// Idle.
    pub idle: u64,
    /// Idle while a disk is waited for.
    pub iowait: u64,
    /// In interrupts.
    pub irq: u64,
    /// In soft interrupts.
    pub softirq: u64,
    /// Taken by the hypervisor.
    pub steal: u64,
    /// In guests.
    pub guest: u64,
    /// Processors that are on.
    pub online: u64,
}

impl CpuTimes {
    /// Reads `/proc/stat`.
    pub fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|l| l.strip_prefix("cpu "))?;
        let mut n = line.split_ascii_whitespace().map(|w| w.parse::<u64>().unwrap_or(0));
        let mut next = || n.next().unwrap_or(0);
        let is_cpu = |l: &&str| {
            l.strip_prefix("cpu").is_some_and(|r| r.starts_with(|c: char| c.is_ascii_digit()))
        };
        Some(Self {
            user: next(),
            nice: next(),
            sys: next(),
            idle: next(),
            iowait: next(),
            irq: next(),
            softirq: next(),
            steal: next(),
            guest: next(),
            online: text.lines().filter(is_cpu).count() as u64,
        })
    }

    /// All of it. Guests are in `user` already.
    fn total(&self) -> u64 {
        [self.user, self.nice, self.sys, self.idle, self.iowait, self.irq, self.softirq, self.steal]
            .iter()
            .fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// Busy part of the time since `old`, 0 to 1.
    pub fn busy_since(&self, old: &Self) -> f64 {
        let idle = |t: &Self| t.idle.saturating_add(t.iowait);
        let total = self.total().saturating_sub(old.total());
        let idle = idle(self).saturating_sub(idle(old));
        ratio(total.saturating_sub(idle), total)
    }
}

/// Memory in kB, from `/proc/meminfo`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemInfo {
    /// All there is.
    pub total: u64,
    /// Not used for anything.
    pub free: u64,
    /// Buffers of block devices.
    pub buffers: u64,
    /// Files in memory.
    pub cached: u64,
    /// All swap.
    pub swap_total: u64,
    /// Unused swap.
    pub swap_free: u64,
}

impl MemInfo {
    /// Reads the text.
    pub fn parse(text: &str) -> Option<Self> {
        let of = colon_numbers(text);
        let get = |name: &str| of.get(name).copied().unwrap_or(0);
        of.contains_key("MemTotal").then(|| Self {
            total: get("MemTotal"),
            free: get("MemFree"),
            buffers: get("Buffers"),
            cached: get("Cached"),
            swap_total: get("SwapTotal"),
            swap_free: get("SwapFree"),
        })
    }

    /// Used for anything.
    pub fn active(&self) -> u64 {
        self.total.saturating_sub(self.free)
    }

    /// Used for what cannot be given back.
    pub fn in_use(&self) -> u64 {
        self.active().saturating_sub(self.buffers).saturating_sub(self.cached)
    }

    /// That as a part of all, 0 to 1.
    pub fn ram_percent(&self) -> f64 {
        ratio(self.in_use(), self.total)
    }

    /// Used part of the swap, 0 to 1.
    pub fn swap_percent(&self) -> f64 {
        ratio(self.swap_total.saturating_sub(self.swap_free), self.swap_total)
    }
}

fn colon_numbers(text: &str) -> BTreeMap<&str, u64> {
    let pair = |l: &'_ str| -> Option<(usize, u64)> {
        let (name, rest) = l.split_once(':')?;
        Some((name.len(), rest.split_ascii_whitespace().next()?.parse().ok()?))
    };
    text.lines().filter_map(|l| pair(l).and_then(|(at, n)| Some((l.get(..at)?, n)))).collect()
}

/// Bytes over network interfaces, from `/proc/net/dev`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetBytes {
    /// Received from other machines.
    pub recv: u64,
    /// Sent to other machines.
    pub send: u64,
    /// Received within the machine (`lo`).
    pub recv_inner: u64,
    /// Sent within the machine.
    pub send_inner: u64,
}

impl NetBytes {
    /// Reads the text.
    pub fn parse(text: &str) -> Self {
        let mut all = Self::default();
        for line in text.lines() {
            let Some((name, rest)) = line.split_once(':') else { continue };
            let n: Vec<u64> =
                rest.split_ascii_whitespace().map(|w| w.parse().unwrap_or(0)).collect();
            let (Some(recv), Some(send)) = (n.first(), n.get(8)) else { continue };
            let (r, s) = if name.trim() == "lo" {
                (&mut all.recv_inner, &mut all.send_inner)
            } else {
                (&mut all.recv, &mut all.send)
            };
            *r = r.saturating_add(*recv);
            *s = s.saturating_add(*send);
        }
        all
    }
}

/// Sockets of the whole system, from `/proc/net/sockstat`, `sockstat6` and `snmp`. The lists of
/// sockets would tell the same, but cost the kernel a walk over all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sockets {
    /// TCP, in any state.
    pub tcp: u64,
    /// TCP, established.
    pub established: u64,
    /// TCP, waiting for late packets.
    pub time_wait: u64,
    /// UDP.
    pub udp: u64,
}

impl Sockets {
    /// Reads the texts.
    pub fn parse(sockstat: &str, sockstat6: &str, snmp: &str) -> Self {
        let figure = |text: &str, line: &str, name: &str| -> u64 {
            let line = text.lines().find_map(|l| l.strip_prefix(line)).unwrap_or("");
            let mut words = line.split_ascii_whitespace().skip_while(|w| *w != name);
            words.nth(1).and_then(|w| w.parse().ok()).unwrap_or(0)
        };
        let mut tcp = snmp.lines().filter_map(|l| l.strip_prefix("Tcp:"));
        let names = tcp.next().unwrap_or("").split_ascii_whitespace();
        let values = tcp.next().unwrap_or("").split_ascii_whitespace();
        let established = names.zip(values).find(|(name, _)| *name == "CurrEstab");
        let time_wait = figure(sockstat, "TCP:", "tw");
        let sum = |v4: u64, v6: u64| v4.saturating_add(v6);
        Self {
            tcp: sum(figure(sockstat, "TCP:", "inuse"), figure(sockstat6, "TCP6:", "inuse"))
                .saturating_add(time_wait),
            established: established.and_then(|(_, n)| n.parse().ok()).unwrap_or(0),
            time_wait,
            udp: sum(figure(sockstat, "UDP:", "inuse"), figure(sockstat6, "UDP6:", "inuse")),
        }
    }
}

/// Counters of the disks that `stats.disk` names, from `/proc/diskstats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disks {
    /// Sectors of 512 bytes read.
    pub read: u64,
    /// Sectors of 512 bytes written.
    pub written: u64,
    /// Milliseconds with work in hand.
    pub busy_ms: u64,
}

impl Disks {
    /// Reads the text.
    pub fn parse(text: &str, names: &[String]) -> Self {
        let mut all = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            if !words.get(2).is_some_and(|name| names.iter().any(|n| n == name)) {
                continue;
            }
            let n = |at: usize| words.get(at).and_then(|w| w.parse().ok()).unwrap_or(0u64);
            all.read = all.read.saturating_add(n(5));
            all.written = all.written.saturating_add(n(9));
            all.busy_ms = all.busy_ms.saturating_add(n(12));
        }
        all
    }
}

/// The first numbers of a line with decimals: `/proc/loadavg`, `/proc/uptime`.
pub fn floats<const N: usize>(text: &str) -> [f64; N] {
    let mut words = text.split_ascii_whitespace().map(|w| w.parse().unwrap_or(0.0));
    std::array::from_fn(|_| words.next().unwrap_or(0.0))
}

/// How many numbers a list like `0-3,8` has: `/sys/devices/system/cpu/present`.
pub fn count_of_list(text: &str) -> u64 {
    let count = |part: &str| -> Option<u64> {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        to.parse::<u64>().ok()?.checked_sub(from.parse().ok()?)?.checked_add(1)
    };
    text.trim().split(',').filter_map(count).fold(0, u64::saturating_add)
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Use of resources by this process (getrusage(2)), in the order in which the API tells it.
pub type Usage = [(&'static str, i64); 16];

/// Everything at one moment.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// When, in milliseconds since 1970; 0 before the first.
    pub time_ms: u64,
    /// This process.
    pub process: Option<SelfStat>,
    /// Processor use of this process since the sample before; 1 is one processor.
    pub process_percent: f64,
    /// All processors.
    pub cpu: Option<CpuTimes>,
    /// Busy part of all processors since the sample before.
    pub cpu_percent: f64,
    /// Memory.
    pub memory: Option<MemInfo>,
    /// Resident memory of this process, kB.
    pub rss_kb: u64,
    /// Processors, off ones too.
    pub cpus: u64,
    /// Load over 1, 5 and 15 minutes.
    pub load: [f64; 3],
    /// Seconds since the machine started, and seconds of idle processors.
    pub uptime: [f64; 2],
    /// Network.
    pub net: NetBytes,
    /// Sockets.
    pub sockets: Sockets,
    /// Disks.
    pub disks: Disks,
    /// kB read and written a second since the sample before, and the busy part of the time.
    pub disk_rates: (u64, u64, f64),
    /// Resources used by this process.
    pub usage: Option<Usage>,
}

impl Sample {
    /// Reads everything. `old` is the sample before, for what is told as a rate.
    pub fn take(old: &Self, now_ms: u64, disks: &[String]) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let process = SelfStat::parse(&read("/proc/self/stat"));
        let cpu = CpuTimes::parse(&read("/proc/stat"));
        let status = read("/proc/self/status");
        let named = if disks.is_empty() { String::new() } else { read("/proc/diskstats") };
        let mut new = Self {
            time_ms: now_ms,
            process_percent: 0.0,
            cpu_percent: 0.0,
            memory: MemInfo::parse(&read("/proc/meminfo")),
            rss_kb: colon_numbers(&status).get("VmRSS").copied().unwrap_or(0),
            cpus: count_of_list(&read("/sys/devices/system/cpu/present")),
            load: floats(&read("/proc/loadavg")),
            uptime: floats(&read("/proc/uptime")),
            net: NetBytes::parse(&read("/proc/net/dev")),
            sockets: Sockets::parse(
                &read("/proc/net/sockstat"),
                &read("/proc/net/sockstat6"),
                &read("/proc/net/snmp"),
            ),
            disks: Disks::parse(&named, disks),
            disk_rates: (0, 0, 0.0),
            usage: usage(),
            process,
            cpu,
        };
        if old.time_ms > 0 {
            new.compare(old);
        }
        new
    }

    fn compare(&mut self, old: &Self) {
        let ms = self.time_ms.saturating_sub(old.time_ms);
        let ticks = |p: &Option<SelfStat>| {
            p.as_ref().map_or(0, |p| p.get("utime").saturating_add(p.get("stime")))
        };
        let used = ticks(&self.process).saturating_sub(ticks(&old.process));
        self.process_percent = ratio(used.saturating_mul(1000), ms.saturating_mul(TICKS));
        if let (Some(new), Some(old)) = (&self.cpu, &old.cpu) {
            self.cpu_percent = new.busy_since(old);
        }
        let kbps =
            |new: u64, old: u64| (ratio(new.saturating_sub(old), ms) * 1000.0 * SECTOR_KB) as u64;
        self.disk_rates = (
            kbps(self.disks.read, old.disks.read),
            kbps(self.disks.written, old.disks.written),
            ratio(self.disks.busy_ms.saturating_sub(old.disks.busy_ms), ms),
        );
    }

    /// Whether everything could be read.
    pub fn is_complete(&self) -> bool {
        self.process.is_some() && self.cpu.is_some() && self.memory.is_some()
    }
}

fn usage() -> Option<Usage> {
    let u = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).ok()?;
    Some([
        ("ru_utime", u.user_time().tv_sec()),
        ("ru_stime", u.system_time().tv_sec()),
        ("ru_maxrss", u.max_rss()),
        ("ru_ixrss", u.shared_integral()),
        ("ru_idrss", u.unshared_data_integral()),
        ("ru_isrss", u.unshared_stack_integral()),
        ("ru_minflt", u.minor_page_faults()),
        ("ru_majflt", u.major_page_faults()),
        ("ru_nswap", u.full_swaps()),
        ("ru_inblock", u.block_reads()),
        ("ru_oublock", u.block_writes()),
        ("ru_msgsnd", u.ipc_sends()),
        ("ru_msgrcv", u.ipc_receives()),
        ("ru_nsignals", u.signals()),
        ("ru_nvcsw", u.voluntary_context_switches()),
        ("ru_nivcsw", u.involuntary_context_switches()),
    ])
}

#[cfg(test)]
mod tests;
