//! Recording.

use gate::conf::Kind::{Block, Bool, Choice, List, Seconds, Str};
use gate::conf::Reload::Live;
use gate::conf::{Directive, Kind, Violation};

/// The rows.
pub(super) const DIRECTIVES: &[Directive] = &[
    Directive::new("vhost.dvr", Block).docs(
        "Record streams to files. A change takes effect for live streams too: their file ends, and another begins. See [Recording](dvr.md).",
        "将流录制为文件。修改对正在推的流同样生效：结束当前文件并开始新文件。见 [录制](dvr.md)。",
    ),
    dvr("vhost.dvr.enabled", Bool).default("off").docs("Record.", "启用。"),
    dvr("vhost.dvr.dvr_apply", List).default("all").no_env().since("3").docs(
        "`all`, or the streams to record: `app/stream`.",
        "`all`，或要录制的流：`app/stream`。",
    ),
    dvr("vhost.dvr.dvr_plan", Choice(&["session", "segment", "append"])).default("session").docs(
        "`session`: a file for each time somebody publishes. `segment`: a new file each `dvr_duration`. `append` (SRS 2): go on in the old file, FLV only; `dvr_path` must have no date in it then.",
        "`session`：每次推流一个文件。`segment`：每 `dvr_duration` 一个文件。`append`（SRS 2）：追加到旧文件，仅限 FLV；此时 `dvr_path` 不应含日期变量。",
    ),
    dvr("vhost.dvr.dvr_path", Str)
        .default("./objs/nginx/html/[app]/[stream].[timestamp].flv")
        .docs(
            "Name of a file; `.mp4` records MP4. `[vhost]`, `[app]`, `[stream]`, `[2006]`, `[01]`, `[02]`, `[15]`, `[04]`, `[05]`, `[999]` and `[timestamp]` may stand in it. A name that ends otherwise is a folder and gets `/[stream].[timestamp].flv`.",
            "文件名模板；`.mp4` 结尾则录制为 MP4。可用 `[vhost]`、`[app]`、`[stream]`、`[2006]`、`[01]`、`[02]`、`[15]`、`[04]`、`[05]`、`[999]`、`[timestamp]`。其他结尾视为目录，并追加 `/[stream].[timestamp].flv`。",
        ),
    dvr("vhost.dvr.dvr_duration", Seconds).default("30").docs(
        "Length of a segment; it ends at the next key frame.",
        "分段时长；到达后在下一个关键帧处切分。",
    ),
    dvr("vhost.dvr.dvr_wait_keyframe", Bool).default("on").docs(
        "Begin files at key frames.",
        "文件从关键帧开始。",
    ),
    dvr("vhost.dvr.time_jitter", Choice(&["full", "zero", "off"])).default("full").docs(
        "`full`, `zero`: times of each file begin at zero. `off`: a file has the stream's times (FLV only). What an encoder gets wrong is put right before, by `publish`.",
        "`full`、`zero`：每个文件的时间从零开始。`off`：保留流的时间（仅限 FLV）。编码器的时间错误在此之前已由 `publish` 校正。",
    ),
];

const fn dvr(path: &'static str, kind: Kind) -> Directive {
    Directive::new(path, kind).lenient(Violation::UseDefault).reload(Live)
}
