//! Blocks whose features come later and belong to the server as a whole: cluster, recording and
//! packaging.

use gate::conf::Kind::{
    Block, Bool, Choice, FloatSeconds, FreeBlock, Int, List, Path, Seconds, Str,
};
use gate::conf::Reload::Live;
use gate::conf::{Directive, Kind, Violation};

/// The rows.
pub(super) const DIRECTIVES: &[Directive] = &[
    Directive::new("ff_log_dir", Path).default("./objs").reload(Live).planned(TOOLS).docs(
        "Directory for the logs of the programs that the server starts; `/dev/null` for none.",
        "服务器启动的外部程序的日志目录；`/dev/null` 表示不记录。",
    ),
    Directive::new("ff_log_level", Str).default("info").since("3").reload(Live).planned(TOOLS).docs(
        "Log level of the programs that the server starts.",
        "服务器启动的外部程序的日志级别。",
    ),
    Directive::new("vhost.cluster", Block).planned(CLUSTER).docs(
        "Serve streams of other servers (edge), or share them with other servers (origin cluster).",
        "从其他服务器取流（边缘），或与其他服务器组成源站集群。",
    ),
    cluster("vhost.cluster.mode", Choice(&["local", "remote"])).default("local").switch().docs(
        "`local`: streams are published here. `remote`: they are fetched from, and published to, `origin`.",
        "`local`：在本机推流。`remote`：向 `origin` 取流并转推。",
    ),
    cluster("vhost.cluster.origin", List).docs("Servers to fetch from: `host[:port]`.", "源站列表：`host[:port]`。"),
    cluster("vhost.cluster.token_traverse", Bool).default("off").docs(
        "Ask the origin whether a client may come in.",
        "由源站验证客户端。",
    ),
    cluster("vhost.cluster.vhost", Str).default("[vhost]").docs(
        "Virtual host to ask the origin for.",
        "向源站请求的虚拟主机。",
    ),
    cluster("vhost.cluster.debug_srs_upnode", Bool).default("on").docs(
        "Tell the origin who this server is.",
        "向源站说明本服务器的身份。",
    ),
    cluster("vhost.cluster.origin_cluster", Bool).default("off").since("3").switch().docs(
        "Be one of several origins that know each other.",
        "作为互相知晓的多个源站之一。",
    ),
    cluster("vhost.cluster.coworkers", List).since("3").docs(
        "The other origins: `host:port` of their API.",
        "其他源站的 API 地址：`host:port`。",
    ),
    cluster("vhost.cluster.protocol", Choice(&["rtmp", "flv", "flvs"])).default("rtmp").since("5").docs(
        "How to fetch.",
        "取流协议。",
    ),
    cluster("vhost.cluster.follow_client", Bool).default("off").since("5").docs(
        "Fetch by the protocol that the viewer uses.",
        "使用与观众相同的协议取流。",
    ),
    Directive::new("vhost.dash", Block).since("3").planned(DASH).docs(
        "MPEG-DASH: segments and manifest of each stream.",
        "MPEG-DASH：每路流的切片与清单。",
    ),
    dash("vhost.dash.enabled", Bool).default("off").docs("Make DASH.", "启用。"),
    dash("vhost.dash.dash_fragment", FloatSeconds).default("10").docs("Length of a segment.", "切片时长。"),
    dash("vhost.dash.dash_update_period", FloatSeconds).default("5").docs(
        "How often players read the manifest.",
        "播放器更新清单的间隔。",
    ),
    dash("vhost.dash.dash_timeshift", FloatSeconds).default("300").docs(
        "How far players may go back.",
        "可回看的时长。",
    ),
    dash("vhost.dash.dash_path", Path).default("./objs/nginx/html").docs("Directory.", "目录。"),
    dash("vhost.dash.dash_mpd_file", Str).default("[app]/[stream].mpd").docs(
        "Name of the manifest.",
        "清单文件名模板。",
    ),
    dash("vhost.dash.dash_window_size", Int).default("5").since("5").docs(
        "Segments in the manifest.",
        "清单中的切片数。",
    ),
    dash("vhost.dash.dash_cleanup", Bool).default("on").since("5").docs(
        "Remove segments that left the manifest.",
        "删除已移出清单的切片。",
    ),
    dash("vhost.dash.dash_dispose", Seconds).default("120").since("5").docs(
        "Remove everything when nobody has published for so long; `0` never.",
        "停止推流超过该时间后清除；`0` 表示从不。",
    ),
    Directive::new("vhost.hds", FreeBlock).since("2").planned(HDS).docs(
        "Adobe HTTP Dynamic Streaming.",
        "Adobe HDS 流。",
    ),
    hds("vhost.hds.enabled", Bool).default("off").docs("Make HDS.", "启用。"),
    hds("vhost.hds.hds_fragment", FloatSeconds).default("10").docs("Length of a segment.", "切片时长。"),
    hds("vhost.hds.hds_window", FloatSeconds).default("60").docs("Length of the list.", "列表时长。"),
    hds("vhost.hds.hds_path", Path).default("./objs/nginx/html").docs("Directory.", "目录。"),
];

const TOOLS: &str = "programs that the server starts";
const CLUSTER: &str = "clustering (edge and origin cluster)";
const DASH: &str = "MPEG-DASH";
const HDS: &str = "HDS";

const fn cluster(path: &'static str, kind: Kind) -> Directive {
    Directive::new(path, kind).no_env().lenient(Violation::UseDefault).planned(CLUSTER)
}

const fn dash(path: &'static str, kind: Kind) -> Directive {
    Directive::new(path, kind).since("3").planned(DASH)
}

const fn hds(path: &'static str, kind: Kind) -> Directive {
    Directive::new(path, kind).since("2").planned(HDS)
}
