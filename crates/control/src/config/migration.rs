//! The table for those who come from SRS: each of its directives, and whether it does the same.

use std::fmt::Write as _;

use gate::conf::{Directive, Status, Table};

use super::legacy;
use super::reference::Language;

/// Directives that do more, or do it better, than where they come from; each with the reason. A
/// block stands for all it holds.
const BETTER: &[(&str, &str, &str)] = &[
    (
        "max_connections",
        "one gate for all protocols, and limits per host and address",
        "各协议统一计数，另有按主机、按地址的限制",
    ),
    ("circuit_breaker", "protects who is there: nothing is dropped", "保护已有的会话，不丢包"),
    ("circuit_breaker.high_threshold", "told in log, metrics and API", "日志、指标与 API 告警"),
    ("circuit_breaker.critical_threshold", "told in log, metrics and API", "日志、指标与 API 告警"),
    (
        "circuit_breaker.dying_threshold",
        "refuses new sessions, drops no packets",
        "拒绝新会话，不丢包",
    ),
    ("srs_log_file", "a slow disk delays no media", "磁盘变慢不拖累媒体"),
    ("srs_log_level", "a reload changes it", "重新加载即生效"),
    ("srs_log_level_v2", "a reload changes it", "重新加载即生效"),
    (
        "inotify_auto_reload",
        "a fault keeps the old configuration, the process goes on",
        "出错时保留旧配置，进程不退出",
    ),
    ("exporter", "`/metrics` is at the API's port, too", "API 端口上同样有 `/metrics`"),
    ("http_api.raw_api", "not for anybody who reaches the port", "不再对任何能连上端口的人开放"),
    ("vhost.tcp_nodelay", "always on", "始终开启"),
    ("vhost.play.mw_latency", "adapts to the load unless told", "未设置时随负载自动调整"),
    ("vhost.play.time_jitter", "all players see the same times", "所有播放端看到相同的时间戳"),
    ("vhost.refer", "the client is told why", "告知客户端原因"),
    (
        "vhost.security",
        "IPv6 ranges, too; the client is told why",
        "支持 IPv6 网段；告知客户端原因",
    ),
    (
        "vhost.http_hooks",
        "notifications are tried again; can be signed and checked",
        "通知会重试；可签名、可校验证书",
    ),
    ("vhost.dvr", "tried again after a fault of the disk", "磁盘出错后自动重试"),
    ("vhost.dvr.dvr_apply", "a reload counts for live streams", "重载对正在推的流生效"),
    ("vhost.dvr.dvr_path", "MP4 can be played after a crash", "MP4 崩溃后仍可播放"),
    (
        "vhost.forward.destination",
        "`rtmps` and whole addresses, too; seen in API and metrics; a reload leaves what stays alone",
        "另支持 `rtmps` 与完整地址；API 与指标可见；重新加载不影响保留的目标",
    ),
    (
        "vhost.forward.backend",
        "when it fails, the publisher goes on and the stream goes nowhere",
        "失败时不影响推流，只是不转推",
    ),
    (
        "vhost.hls.hls_storage",
        "`http_server` serves what is in memory",
        "内存中的切片由 `http_server` 直接提供",
    ),
    ("vhost.hls.hls_dispose", "also after the publisher has left", "发布端离开之后同样清除"),
];

/// Blocks that are read and have no effect here, though they had one in some SRS.
const NOT_CARRIED: &[&str] =
    &["kafka", "28181_stream_server", "tencentcloud_cls", "tencentcloud_apm"];

/// What stands in blocks whose content is not checked, and so has no rows.
const INSIDE: &[(&str, &[&str])] = &[
    (
        "tencentcloud_cls",
        &[
            "enabled",
            "label",
            "tag",
            "secret_id",
            "secret_key",
            "endpoint",
            "topic_id",
            "debug_logging",
            "stat_heartbeat",
            "heartbeat_ratio",
            "stat_streams",
            "streams_ratio",
        ],
    ),
    (
        "tencentcloud_apm",
        &["enabled", "team", "token", "endpoint", "service_name", "debug_logging"],
    ),
    ("vhost.bandcheck", &["enabled", "key", "interval", "limit_kbps"]),
];

/// An engine of `ingest` is written as one of `transcode`.
const ENGINES: (&str, &str) = ("vhost.ingest.engine", "vhost.transcode.engine");

struct Words {
    title: &'static str,
    intro: &'static str,
    head: &'static str,
    same: &'static str,
    better: &'static str,
    not_yet: &'static str,
    no_effect: &'static str,
    old: &'static str,
    read_as: &'static str,
}

const ENGLISH: Words = Words {
    title: "Directives of SRS, one by one",
    intro: "Every directive of SRS 1 to 6 (and those of 7 that are read), written by `cargo xtask \
            docs` from the table the server checks files by. **same**: what it did there it does \
            here. **better**: the same, and more; the reason beside it. **not yet**: read, told \
            with a warning when it is switched on, and without effect. What a directive does and \
            when a change of it takes effect: [configuration](configuration.md).",
    head: "| Directive | SRS | Here | Why |",
    same: "same",
    better: "better",
    not_yet: "not yet",
    no_effect: "no effect:",
    old: "Spellings of older releases",
    read_as: "read as",
};

const CHINESE: Words = Words {
    title: "SRS 指令逐条对照",
    intro: "SRS 1 到 6 的全部指令（以及能读取的 SRS 7 指令）。本页由 `cargo xtask docs` \
            根据服务器检查配置所用的同一张表生成。**相同**：作用与 SRS 一致。**更好**：一致，\
            并有改进，原因写在旁边。**尚未实现**：可以读取，打开时给出警告，不起作用。\
            每条指令的作用与修改生效时机见[配置参考](configuration.md)。",
    head: "| 指令 | SRS | 本服务器 | 说明 |",
    same: "相同",
    better: "更好",
    not_yet: "尚未实现",
    no_effect: "不起作用：",
    old: "旧版本的写法",
    read_as: "读作",
};

/// The whole page as Markdown, in the order of the reference.
pub fn migration(table: &Table, language: Language) -> String {
    let words = match language {
        Language::English => &ENGLISH,
        Language::Chinese => &CHINESE,
    };
    let mut out =
        format!("# {}\n\n{}\n\n{}\n|---|---|---|---|\n", words.title, words.intro, words.head);
    for row in table.rows().filter(|row| row.since != "millrace") {
        let (state, why) = judge(row, words, language);
        line(&mut out, row.path, row.since, state, &why);
        for name in names_inside(table, row.path) {
            line(&mut out, &format!("{}.{name}", row.path), row.since, state, &why);
        }
    }
    let _ = write!(out, "\n## {}\n\n{}\n|---|---|---|---|\n", words.old, words.head);
    for (from, to) in legacy::spellings() {
        let (state, why) = match to {
            None => (words.same, words.no_effect.trim_end_matches([':', '：']).to_owned()),
            Some(to) => {
                let planned =
                    table.get(&to).is_some_and(|row| matches!(row.status, Status::Planned(_)));
                let state = if planned { words.not_yet } else { words.same };
                (state, format!("{} `{to}`", words.read_as))
            }
        };
        line(&mut out, &from, "–", state, &why);
    }
    out
}

fn line(out: &mut String, path: &str, since: &str, state: &str, why: &str) {
    let _ = writeln!(out, "| `{path}` | {since} | {state} | {why} |");
}

fn judge(row: &Directive, words: &Words, language: Language) -> (&'static str, String) {
    let english = language == Language::English;
    match row.status {
        Status::Planned(feature) => (words.not_yet, feature.to_owned()),
        Status::Ignored => {
            let not = NOT_CARRIED.contains(&row.path);
            let text = if english { row.en } else { row.zh };
            (if not { words.not_yet } else { words.same }, format!("{} {text}", words.no_effect))
        }
        Status::Works => match BETTER.iter().find(|(path, ..)| covers(path, row.path)) {
            Some((_, en, zh)) => (words.better, if english { *en } else { *zh }.to_owned()),
            None => (words.same, String::new()),
        },
    }
}

fn covers(block: &str, path: &str) -> bool {
    path.strip_prefix(block).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

fn names_inside<'a>(table: &'a Table, block: &str) -> Vec<&'a str> {
    if block == ENGINES.0 {
        let known: Vec<&str> = table.children(block).map(Directive::name).collect();
        let names = table.children(ENGINES.1).map(Directive::name);
        return names.filter(|name| !known.contains(name)).collect();
    }
    INSIDE.iter().find(|(path, _)| *path == block).map_or_else(Vec::new, |(_, n)| n.to_vec())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::directives;

    /// Every directive that a file for SRS 1 to 6 may hold, old spellings included.
    const OF_SRS: &str = include_str!("tests/srs_directives.txt");

    fn listed(page: &str) -> Vec<&str> {
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
        rows.filter_map(|row| row.split_once('`')).map(|(path, _)| path).collect()
    }

    #[test]
    fn every_directive_of_srs_is_in_the_table_of_both_languages() {
        for language in [Language::English, Language::Chinese] {
            let page = migration(&directives::table(&[]), language);
            let listed: BTreeSet<&str> = listed(&page).into_iter().collect();
            let missing: Vec<&str> = OF_SRS.lines().filter(|name| !listed.contains(name)).collect();
            assert!(missing.is_empty(), "{missing:?}");
        }
    }

    #[test]
    fn no_directive_is_listed_twice() {
        let page = migration(&directives::table(&[]), Language::English);
        let mut seen = BTreeSet::new();
        let twice: Vec<&str> =
            listed(&page).into_iter().filter(|path| !seen.insert(*path)).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }

    #[test]
    fn a_planned_directive_is_never_called_the_same() {
        let table = directives::table(&[]);
        let page = migration(&table, Language::English);
        for row in table.rows().filter(|row| row.since != "millrace") {
            let head = format!("| `{}` |", row.path);
            let line = page.lines().find(|line| line.starts_with(&head)).unwrap();
            let planned = matches!(row.status, Status::Planned(_));
            assert!(!planned || line.contains("| not yet |"), "{line}");
        }
    }

    #[test]
    fn what_is_called_better_is_there_and_says_why() {
        let table = directives::table(&[]);
        for (path, en, zh) in BETTER {
            let row = table.get(path).unwrap_or_else(|| panic!("{path} has no row"));
            assert_eq!(row.status, Status::Works, "{path}");
            assert!(!en.is_empty() && !zh.is_empty(), "{path}");
        }
    }
}
