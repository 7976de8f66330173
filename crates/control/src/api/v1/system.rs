//! Figures of process and machine.

use gate::Host;
use serde_json::{Map, Value, json};

use super::{Api, Ask, Reply, with};
use crate::sampler::proc::{MemInfo, SELF_FIELDS, Sample};
use crate::sampler::{Figures, now_ms};

/// An object that begins with whether its figures could be read, and when.
fn sampled(ok: bool, sample: &Sample) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("ok".to_owned(), json!(ok));
    map.insert("sample_time".to_owned(), json!(sample.time_ms));
    map
}

pub(super) fn summaries(api: &Api, ask: &Ask) -> Reply {
    with(ask, "data", summary(&ask.host, &api.figures))
}

/// What `/api/v1/summaries` tells of process and machine.
pub(crate) fn summary(host: &Host, figures: &Figures) -> Value {
    let s = figures.sample();
    let memory = s.memory.unwrap_or_default();
    let cpu = s.cpu.unwrap_or_default();
    let totals = figures.ledger().totals(&host.hub.all());
    let mem_percent = if memory.total == 0 { 0.0 } else { s.rss_kb as f64 / memory.total as f64 };
    let (major, minor, revision) = host.identity.compat_version;
    let argv: Vec<String> = std::env::args_os().map(|a| a.to_string_lossy().into_owned()).collect();
    let cwd = std::env::current_dir().unwrap_or_default();
    let [load_1, load_5, load_15] = s.load;
    let [uptime, idle] = s.uptime;
    let (disk_read, disk_write, disk_busy) = s.disk_rates;
    json!({
        "ok": s.is_complete(),
        "now_ms": now_ms(),
        "self": {
            "version": format!("{major}.{minor}.{revision}"),
            "pid": std::process::id(),
            "ppid": std::os::unix::process::parent_id(),
            "argv": argv.join(" "),
            "cwd": cwd.to_string_lossy(),
            "mem_kbyte": s.rss_kb,
            "mem_percent": mem_percent,
            "cpu_percent": s.process_percent,
            "srs_uptime": figures.uptime().as_secs(),
        },
        "system": {
            "cpu_percent": s.cpu_percent,
            "disk_read_KBps": disk_read,
            "disk_write_KBps": disk_write,
            "disk_busy_percent": disk_busy,
            "mem_ram_kbyte": memory.total,
            "mem_ram_percent": memory.ram_percent(),
            "mem_swap_kbyte": memory.swap_total,
            "mem_swap_percent": memory.swap_percent(),
            "cpus": s.cpus,
            "cpus_online": cpu.online,
            "uptime": uptime,
            "ilde_time": idle,
            "load_1m": load_1,
            "load_5m": load_5,
            "load_15m": load_15,
            "net_sample_time": s.time_ms,
            "net_recv_bytes": s.net.recv,
            "net_send_bytes": s.net.send,
            "net_recvi_bytes": s.net.recv_inner,
            "net_sendi_bytes": s.net.send_inner,
            "srs_sample_time": s.time_ms,
            "srs_recv_bytes": totals.recv,
            "srs_send_bytes": totals.send,
            "conn_sys": s.sockets.tcp,
            "conn_sys_et": s.sockets.established,
            "conn_sys_tw": s.sockets.time_wait,
            "conn_sys_udp": s.sockets.udp,
            "conn_srs": host.connections.load(std::sync::atomic::Ordering::Relaxed),
        },
    })
}

pub(super) fn rusages(api: &Api, ask: &Ask) -> Reply {
    let s = api.figures.sample();
    let mut data = sampled(s.usage.is_some(), &s);
    for (name, value) in s.usage.unwrap_or_default().iter().filter(|(name, _)| !name.is_empty()) {
        data.insert((*name).to_owned(), json!(value));
    }
    with(ask, "data", Value::Object(data))
}

pub(super) fn self_stats(api: &Api, ask: &Ask) -> Reply {
    let s = api.figures.sample();
    let process = s.process.clone().unwrap_or_default();
    let mut data = sampled(s.process.is_some(), &s);
    data.insert("percent".to_owned(), json!(s.process_percent));
    data.insert("pid".to_owned(), json!(std::process::id()));
    data.insert("comm".to_owned(), json!(process.comm));
    data.insert("state".to_owned(), json!(process.state));
    for (at, name) in SELF_FIELDS.iter().enumerate() {
        let number = process.numbers.get(at).copied().unwrap_or(0);
        // Each fits one of the two: the kernel prints 64 bits, signed or not.
        let number = match i64::try_from(number) {
            Ok(n) => json!(n),
            Err(_) => json!(u64::try_from(number).unwrap_or(u64::MAX)),
        };
        data.insert((*name).to_owned(), number);
    }
    with(ask, "data", Value::Object(data))
}

pub(super) fn system_stats(api: &Api, ask: &Ask) -> Reply {
    let s = api.figures.sample();
    let cpu = s.cpu.unwrap_or_default();
    let mut data = sampled(s.cpu.is_some(), &s);
    data.insert("percent".to_owned(), json!(s.cpu_percent));
    for (name, ticks) in [
        ("user", cpu.user),
        ("nice", cpu.nice),
        ("sys", cpu.sys),
        ("idle", cpu.idle),
        ("iowait", cpu.iowait),
        ("irq", cpu.irq),
        ("softirq", cpu.softirq),
        ("steal", cpu.steal),
        ("guest", cpu.guest),
    ] {
        data.insert(name.to_owned(), json!(ticks));
    }
    with(ask, "data", Value::Object(data))
}

pub(super) fn meminfos(api: &Api, ask: &Ask) -> Reply {
    let s = api.figures.sample();
    let memory: MemInfo = s.memory.unwrap_or_default();
    let mut data = sampled(s.memory.is_some(), &s);
    data.insert("percent_ram".to_owned(), json!(memory.ram_percent()));
    data.insert("percent_swap".to_owned(), json!(memory.swap_percent()));
    for (name, kb) in [
        ("MemActive", memory.active()),
        ("RealInUse", memory.in_use()),
        ("NotInUse", memory.total.saturating_sub(memory.in_use())),
        ("MemTotal", memory.total),
        ("MemFree", memory.free),
        ("Buffers", memory.buffers),
        ("Cached", memory.cached),
        ("SwapTotal", memory.swap_total),
        ("SwapFree", memory.swap_free),
    ] {
        data.insert(name.to_owned(), json!(kb));
    }
    with(ask, "data", Value::Object(data))
}
