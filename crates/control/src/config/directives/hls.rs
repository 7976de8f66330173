//! HLS.

use gate::conf::Kind::{Block, Bool, Choice, Float, FloatSeconds, Int, Path, Seconds, Str};
use gate::conf::{Directive, Violation};

/// Upper bound of counts that have no natural one.
const MANY: f64 = 2_147_483_647.0;

/// The rows.
pub(super) const DIRECTIVES: &[Directive] = &[
    Directive::new("vhost.hls", Block).docs(
        "HLS: segments and playlists of each stream.",
        "HLS：每路流的切片与播放列表。",
    ),
    Directive::new("vhost.hls.enabled", Bool).default("off").docs("Make HLS.", "启用 HLS。"),
    Directive::new("vhost.hls.hls_storage", Choice(&["disk", "memory", "both"]))
        .default("disk")
        .docs(
            "Where segments and playlists are kept. `disk`: files below `hls_path`. `memory`: nothing is written, `http_server` serves them. `both`: served from memory and written, too. (SRS 1 and 2 had `ram`, which is read as `memory`.)",
            "切片与播放列表的存放位置。`disk`：写入 `hls_path` 下的文件。`memory`：不写文件，由 `http_server` 直接提供。`both`：既写文件也从内存提供。（SRS 1、2 的 `ram` 按 `memory` 处理。）",
        ),
    Directive::new("vhost.hls.hls_mount", Str).ignored().docs(
        "Path of segments in memory in SRS 1 and 2. Here they have the path that the files would have.",
        "SRS 1、2 中内存切片的路径。本服务器中与文件路径相同。",
    ),
    Directive::new("vhost.hls.hls_fragment", FloatSeconds).default("10").range(0.1, 3600.0).docs(
        "Length of a segment. A segment ends at the first key frame after it.",
        "切片时长。到达后在下一个关键帧处切分。",
    ),
    Directive::new("vhost.hls.hls_td_ratio", Float).default("1.0").range(0.1, 100.0).since("2").docs(
        "Target duration and the threshold for ending a segment: `hls_fragment` times this.",
        "目标时长及切分阈值：`hls_fragment` 乘以该值。",
    ),
    Directive::new("vhost.hls.hls_aof_ratio", Float).default("2.1").range(0.1, 100.0).since("2").docs(
        "A segment without a key frame ends at an audio frame after `hls_fragment` times this.",
        "始终没有关键帧时，在 `hls_fragment` 乘以该值之后的音频帧处切分。",
    ),
    Directive::new("vhost.hls.hls_window", FloatSeconds).default("60").range(0.1, 864_000.0).docs(
        "How many seconds of segments the playlist lists.",
        "播放列表包含的切片总时长。",
    ),
    Directive::new("vhost.hls.hls_on_error", Choice(&["ignore", "disconnect", "continue"]))
        .default("continue")
        .lenient(Violation::UseDefault)
        .docs(
            "When a segment cannot be made or written: `ignore` stops HLS of the stream, `disconnect` closes the publisher, `continue` leaves the frame out and goes on.",
            "切片出错时：`ignore` 停止该流的 HLS，`disconnect` 断开推流，`continue` 丢弃该帧并继续。",
        ),
    Directive::new("vhost.hls.hls_path", Path).default("./objs/nginx/html").docs(
        "Directory that the files are below.",
        "文件所在目录。",
    ),
    Directive::new("vhost.hls.hls_m3u8_file", Str)
        .default("[app]/[stream].m3u8")
        .since("2")
        .docs("Name of the playlist below it.", "播放列表文件名模板。"),
    Directive::new("vhost.hls.hls_ts_file", Str)
        .default("[app]/[stream]-[seq].ts")
        .since("2")
        .docs(
            "Name of a segment below it. `[seq]`, `[timestamp]`, `[duration]` and the parts of a date may stand in it.",
            "切片文件名模板，可用 `[seq]`、`[timestamp]`、`[duration]` 及日期变量。",
        ),
    Directive::new("vhost.hls.hls_ts_floor", Bool).default("off").since("2").docs(
        "End segments at multiples of `hls_fragment` on the wall clock, so that several servers cut alike.",
        "按墙上时钟的 `hls_fragment` 整数倍切分，使多台服务器切片一致。",
    ),
    Directive::new("vhost.hls.hls_entry_prefix", Str).since("2").docs(
        "Put before each segment's name in the playlist, for instance a CDN's URL.",
        "播放列表中加在切片名之前的前缀，例如 CDN 地址。",
    ),
    Directive::new("vhost.hls.hls_acodec", Choice(&["aac", "mp3", "an", "copy"]))
        .default("aac")
        .lenient(Violation::UseDefault)
        .since("2")
        .docs(
            "Audio codec that is announced before audio has come; `an` for none.",
            "音频到来之前预先声明的音频编码；`an` 表示无。",
        ),
    Directive::new("vhost.hls.hls_vcodec", Choice(&["h264", "h265", "vn", "copy"]))
        .default("h264")
        .lenient(Violation::UseDefault)
        .since("2")
        .docs(
            "Video codec that is announced before video has come; `vn` for none.",
            "视频到来之前预先声明的视频编码；`vn` 表示无。",
        ),
    Directive::new("vhost.hls.hls_cleanup", Bool).default("on").since("2").docs(
        "Remove segments that have left the playlist.",
        "删除已移出播放列表的切片。",
    ),
    Directive::new("vhost.hls.hls_dispose", Seconds).default("120").since("2").docs(
        "Remove all of a stream's HLS when nobody has published for so long; `0` never.",
        "停止推流超过该时间后清除该流的全部 HLS 数据；`0` 表示从不。",
    ),
    Directive::new("vhost.hls.hls_wait_keyframe", Bool).default("on").since("2").docs(
        "End segments at key frames only.",
        "只在关键帧处切分。",
    ),
    Directive::new("vhost.hls.hls_nb_notify", Int).default("64").range(0.0, MANY).since("2").docs(
        "How many bytes of a segment the callback `on_hls_notify` reads.",
        "回调 `on_hls_notify` 读取的切片字节数。",
    ),
    Directive::new("vhost.hls.hls_dts_directly", Bool).default("on").since("3").docs(
        "Use the publisher's timestamps, not ones made from counting audio samples.",
        "直接使用推流端时间戳，而不是按音频采样数推算。",
    ),
    Directive::new("vhost.hls.hls_ctx", Bool).default("on").since("5").docs(
        "Give each viewer a session by way of its playlist, so that it can be counted and kicked.",
        "通过播放列表为每位观众建立会话，便于统计与踢除。",
    ),
    Directive::new("vhost.hls.hls_ts_ctx", Bool).default("on").since("5").docs(
        "Mark segment URLs with the session, too.",
        "切片地址也带上会话标记。",
    ),
    Directive::new("vhost.hls.hls_recover", Bool).default("on").since("7").docs(
        "Go on numbering and listing where the playlist on disk ends when a stream comes back after a restart of the server.",
        "服务器重启后流恢复时，从磁盘上的播放列表末尾继续编号与列出。",
    )
    .planned("resuming HLS after a restart"),
    Directive::new("vhost.hls.hls_master_m3u8_path_relative", Bool).default("off").since("7").planned("relative master playlists").switch().docs(
        "Write a relative path into the playlist that starts a session.",
        "在建立会话的播放列表中使用相对路径。",
    ),
    key("vhost.hls.hls_keys", Bool).default("off").switch().docs(
        "Encrypt segments (AES-128).",
        "加密切片（AES-128）。",
    ),
    key("vhost.hls.hls_fragments_per_key", Int).default("5").range(1.0, MANY).docs(
        "A new key after so many segments.",
        "每隔多少切片更换密钥。",
    ),
    key("vhost.hls.hls_key_file", Str).default("[app]/[stream]-[seq].key").docs(
        "Name of a key's file.",
        "密钥文件名模板。",
    ),
    key("vhost.hls.hls_key_file_path", Path).same_as("vhost.hls.hls_path").docs(
        "Directory of the keys.",
        "密钥文件目录。",
    ),
    key("vhost.hls.hls_key_url", Str).same_as("vhost.hls.hls_path").docs(
        "Put before a key's name in the playlist.",
        "播放列表中密钥名之前的前缀。",
    ),
    fmp4("vhost.hls.hls_use_fmp4", Bool).default("off").switch().docs(
        "Make fragmented MP4 instead of MPEG-TS.",
        "使用 fMP4 而不是 MPEG-TS 切片。",
    ),
    fmp4("vhost.hls.hls_fmp4_file", Str).default("[app]/[stream]-[seq].m4s").docs(
        "Name of an MP4 segment.",
        "fMP4 切片文件名模板。",
    ),
    fmp4("vhost.hls.hls_init_file", Str).default("[app]/[stream]-init.mp4").docs(
        "Name of the MP4 initialisation segment.",
        "fMP4 初始化切片文件名模板。",
    ),
];

const fn key(path: &'static str, kind: gate::conf::Kind) -> Directive {
    Directive::new(path, kind).since("3").planned("HLS encryption")
}

const fn fmp4(path: &'static str, kind: gate::conf::Kind) -> Directive {
    Directive::new(path, kind).since("7").planned("HLS with fragmented MP4")
}
