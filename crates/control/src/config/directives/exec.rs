//! Programs that run beside streams.

use gate::conf::Kind::{Block, Bool, Line};
use gate::conf::{Directive, Kind};

/// The rows.
pub(super) const DIRECTIVES: &[Directive] = &[
    Directive::new("vhost.exec", Block).since("3").docs(
        "Run programs beside streams, each without a shell. Each directive may be written several times. See [Programs](exec.md).",
        "伴随流运行外部程序，不经过 shell。每个指令可以写多次。见 [外部程序](exec.md)。",
    ),
    exec("vhost.exec.enabled", Bool).default("off").docs("Do so.", "启用。"),
    exec("vhost.exec.publish", Line).repeated().docs(
        "Program and arguments that run as long as somebody publishes; started again 3 s after it has ended.",
        "推流期间运行的程序及参数；退出 3 秒后重新启动。",
    ),
    exec("vhost.exec.publish_done", Line).repeated().docs(
        "Program and arguments that run once when a publisher has gone.",
        "推流结束后运行一次的程序及参数。",
    ),
    exec("vhost.exec.record_done", Line).since("millrace").repeated().docs(
        "Program and arguments that run once for each finished recording; `$path`, `$filename`, `$basename` and `$dirname` stand for its file. See [Recording](dvr.md).",
        "每个录制文件完成后运行一次的程序及参数；`$path`、`$filename`、`$basename`、`$dirname` 表示该文件。见 [录制](dvr.md)。",
    ),
    exec("vhost.exec.play", Line).repeated().docs(
        "Program and arguments that run as long as a player is there, one for each player; started again 3 s after it has ended.",
        "播放期间运行的程序及参数，每个播放者一个；退出 3 秒后重新启动。",
    ),
    exec("vhost.exec.play_done", Line).repeated().docs(
        "Program and arguments that run once when a player has gone.",
        "播放结束后运行一次的程序及参数。",
    ),
];

const fn exec(path: &'static str, kind: Kind) -> Directive {
    Directive::new(path, kind).no_env().since("3")
}
