//! Programs that the server runs on streams: ingest and transcode. They come later.

use gate::conf::Kind::{Block, Bool, Choice, Float, FreeBlock, Int, Path, Str};
use gate::conf::{Directive, Kind, Violation};

/// The rows.
pub(super) const DIRECTIVES: &[Directive] = &[
    Directive::new("vhost.ingest", Block).repeated().planned(INGEST).docs(
        "Fetch a stream or file with ffmpeg and publish it here. The word after the name is its id.",
        "用 ffmpeg 拉取流或文件并在本机推流。名称后的词为其标识。",
    ),
    ingest("vhost.ingest.enabled", Bool).default("off").docs("Do so.", "启用。"),
    Directive::new("vhost.ingest.input", FreeBlock).planned(INGEST).docs("What to fetch.", "输入。"),
    ingest("vhost.ingest.input.type", Choice(&["file", "stream"])).default("file").docs(
        "A file is read at its own speed, a stream as it comes.",
        "文件按自身速度读取，流则即到即用。",
    ),
    ingest("vhost.ingest.input.url", Str).docs("File or URL.", "文件或 URL。"),
    ingest("vhost.ingest.ffmpeg", Path).docs("The program.", "ffmpeg 程序。"),
    Directive::new("vhost.ingest.engine", FreeBlock).repeated().planned(INGEST).docs(
        "How to encode it, written as in `transcode`; off: copy.",
        "编码方式，写法同 `transcode`；关闭则直接拷贝。",
    ),
    ingest("vhost.ingest.engine.enabled", Bool).default("off").docs("Encode.", "启用编码。"),
    ingest("vhost.ingest.engine.output", Str).docs("URL to publish as.", "推流地址。"),
    Directive::new("vhost.transcode", Block).repeated().planned(TRANSCODE).docs(
        "Encode streams anew with ffmpeg. Words after the name narrow it: nothing for all streams, `app`, or `app/stream`.",
        "用 ffmpeg 转码。名称后的词限定范围：不写为全部流，或 `app`、`app/stream`。",
    ),
    transcode("vhost.transcode.enabled", Bool).default("off").docs("Do so.", "启用。"),
    transcode("vhost.transcode.ffmpeg", Path).docs("The program.", "ffmpeg 程序。"),
    Directive::new("vhost.transcode.engine", Block).repeated().planned(TRANSCODE).docs(
        "One output. The word after the name is its name.",
        "一路输出。名称后的词为其名称。",
    ),
    transcode("vhost.transcode.engine.enabled", Bool).default("off").docs("Make it.", "启用。"),
    group("vhost.transcode.engine.perfile").docs("Options before the input.", "输入之前的选项。"),
    transcode("vhost.transcode.engine.iformat", Str).default("flv").docs(
        "Format of the input; `off` to leave it out.",
        "输入格式；`off` 表示不写。",
    ),
    group("vhost.transcode.engine.vfilter").docs("Video filters.", "视频滤镜。"),
    transcode("vhost.transcode.engine.vcodec", Str).docs("Video encoder, `copy`, or `vn`.", "视频编码器、`copy` 或 `vn`。"),
    number("vhost.transcode.engine.vbitrate", "0").docs("kbit/s; `0`: as the encoder likes.", "kbps；`0` 表示由编码器决定。"),
    transcode("vhost.transcode.engine.vfps", Float).default("0").docs("Frames a second; `0`: as they come.", "帧率；`0` 表示不变。"),
    number("vhost.transcode.engine.vwidth", "0").docs("Width; `0`: as it is.", "宽度；`0` 表示不变。"),
    number("vhost.transcode.engine.vheight", "0").docs("Height; `0`: as it is.", "高度；`0` 表示不变。"),
    number("vhost.transcode.engine.vthreads", "1").docs("Threads.", "线程数。"),
    transcode("vhost.transcode.engine.vprofile", Str).docs("Profile.", "编码 profile。"),
    transcode("vhost.transcode.engine.vpreset", Str).docs("Preset.", "编码 preset。"),
    group("vhost.transcode.engine.vparams").docs("More options for video.", "其他视频选项。"),
    transcode("vhost.transcode.engine.acodec", Str).docs("Audio encoder, `copy`, or `an`.", "音频编码器、`copy` 或 `an`。"),
    number("vhost.transcode.engine.abitrate", "0").docs("kbit/s; `0`: as the encoder likes.", "kbps；`0` 表示由编码器决定。"),
    number("vhost.transcode.engine.asample_rate", "0").docs("Hz; `0`: as it is.", "采样率；`0` 表示不变。"),
    number("vhost.transcode.engine.achannels", "0").docs("Channels; `0`: as they are.", "声道数；`0` 表示不变。"),
    group("vhost.transcode.engine.aparams").docs("More options for audio.", "其他音频选项。"),
    transcode("vhost.transcode.engine.oformat", Str).default("flv").docs(
        "Format of the output; `off` to leave it out.",
        "输出格式；`off` 表示不写。",
    ),
    transcode("vhost.transcode.engine.output", Str).docs(
        "URL to publish as; `[vhost]`, `[port]`, `[app]`, `[stream]`, `[engine]` may stand in it.",
        "推流地址，可用 `[vhost]`、`[port]`、`[app]`、`[stream]`、`[engine]`。",
    ),
];

const INGEST: &str = "ingest";
const TRANSCODE: &str = "transcoding with ffmpeg";

const fn ingest(path: &'static str, kind: Kind) -> Directive {
    Directive::new(path, kind).no_env().lenient(Violation::UseDefault).planned(INGEST)
}

const fn transcode(path: &'static str, kind: Kind) -> Directive {
    Directive::new(path, kind).no_env().lenient(Violation::UseDefault).planned(TRANSCODE)
}

const fn number(path: &'static str, default: &'static str) -> Directive {
    transcode(path, Int).default(default)
}

const fn group(path: &'static str) -> Directive {
    Directive::new(path, FreeBlock).planned(TRANSCODE)
}
