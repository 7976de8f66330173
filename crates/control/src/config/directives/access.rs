//! Who may publish and play: addresses, web pages, keys, signed URLs, tokens, and how many.

use gate::conf::Kind::{Block, Bool, Int, Line, List, Seconds, Str};
use gate::conf::{Directive, Kind};

/// Upper bound of counts that have no natural one.
const MANY: f64 = 2_147_483_647.0;

/// The rows.
pub(super) const DIRECTIVES: &[Directive] = &[
    Directive::new("vhost.max_connections", Int).default("0").range(0.0, MANY).since("millrace").docs(
        "Most publishers and players of this host at a time, all protocols together; `0` for no limit. A viewer of HLS counts until it has asked for nothing for two `hls_window`s.",
        "本虚拟主机同时允许的推流端与播放端总数，所有协议合计；`0` 表示不限。HLS 观众在两个 `hls_window` 内没有请求后才不再计数。",
    ),
    Directive::new("vhost.play.max_players", Int).default("0").range(0.0, MANY).since("millrace").docs(
        "Most players of one stream at a time, all protocols together; `0` for no limit.",
        "单路流同时允许的播放端数，所有协议合计；`0` 表示不限。",
    ),
    Directive::new("vhost.refer", Block).docs(
        "Accept only clients that come from certain web pages. The page is what the client says: this keeps other sites from embedding a player, no more.",
        "只接受来自指定网页的客户端。网页地址由客户端自己声明：这只能防止其他网站嵌入播放器。",
    ),
    refer("vhost.refer.enabled", Bool).default("off").docs("Check it.", "启用。"),
    refer("vhost.refer.all", List).docs(
        "Endings of host names for everybody: the host of the page must end with one of them. Nothing written asks for nothing.",
        "适用于所有客户端的主机名后缀：网页的主机名必须以其中之一结尾。不写则不检查。",
    ),
    refer("vhost.refer.publish", List).docs(
        "The same for publishers, beside `all`.",
        "同上，适用于推流端，与 `all` 同时检查。",
    ),
    refer("vhost.refer.play", List).docs(
        "The same for players, beside `all`.",
        "同上，适用于播放端，与 `all` 同时检查。",
    ),
    Directive::new("vhost.security", Block).since("2").docs(
        "Accept clients by address. `deny` rules are looked at first, then `allow` rules. On and without a rule it refuses everybody.",
        "按地址接受客户端。先看 `deny` 规则，再看 `allow` 规则。启用而没有任何规则时拒绝所有人。",
    ),
    rule("vhost.security.enabled", Bool).default("off").docs("Check it.", "启用。"),
    rule("vhost.security.allow", Line).repeated().docs(
        "`allow publish|play all|IP|CIDR;`, IPv4 or IPv6. Once there is one, for publish or for play, whoever fits none is refused.",
        "`allow publish|play all|IP|CIDR;`，IPv4 或 IPv6。只要存在一条（无论 publish 还是 play），不匹配任何一条者被拒绝。",
    ),
    rule("vhost.security.deny", Line).repeated().docs(
        "`deny publish|play all|IP|CIDR;`. Looked at before `allow`.",
        "`deny publish|play all|IP|CIDR;`。先于 `allow` 检查。",
    ),
    Directive::new("vhost.auth", Block).since("millrace").docs(
        "Publish and play with stream keys, signed URLs or tokens.",
        "用推流码、签名 URL 或令牌控制推流与播放。",
    ),
    auth("vhost.auth.enabled", Bool).default("off").docs(
        "Check it. `publish` and `play` must then be written.",
        "启用。启用后必须写出 `publish` 与 `play`。",
    ),
    auth("vhost.auth.publish", List).docs(
        "What a publisher may show, any of: `key`, `sign`, `jwt`; or `open` for everybody.",
        "推流端可出示的凭据，任一即可：`key`、`sign`、`jwt`；或用 `open` 对所有人开放。",
    ),
    auth("vhost.auth.play", List).docs(
        "What a player may show, any of: `key`, `sign`, `jwt`; or `open` for everybody.",
        "播放端可出示的凭据，任一即可：`key`、`sign`、`jwt`；或用 `open` 对所有人开放。",
    ),
    auth("vhost.auth.key", Line).repeated().secret().docs(
        "`key publish|play|all SECRET [APP/STREAM ...];`: a stream key, shown as `?key=SECRET` or `?secret=SECRET`. Without streams it opens all; `*` stands for any run of characters. `$NAME` takes the secret from the environment.",
        "`key publish|play|all SECRET [APP/STREAM ...];`：推流码，以 `?key=SECRET` 或 `?secret=SECRET` 出示。不写流则对所有流有效；`*` 代表任意字符串。`$NAME` 表示从环境变量取值。",
    ),
    Directive::new("vhost.auth.sign", Block).since("millrace").docs(
        "Signed URLs that expire: `?expires=TIME&sign=HEX`. `millrace sign` makes them.",
        "带有效期的签名 URL：`?expires=时间&sign=十六进制`。可用 `millrace sign` 生成。",
    ),
    auth("vhost.auth.sign.secret", Line).repeated().secret().docs(
        "`secret ID SECRET;`: all of them verify, the first one signs, so a new one is put in front of an old one. `$NAME` takes it from the environment.",
        "`secret ID SECRET;`：全部可用于验证，第一个用于签名；轮换时把新的写在旧的前面。`$NAME` 表示从环境变量取值。",
    ),
    Directive::new("vhost.auth.jwt", Block).since("millrace").docs(
        "JSON Web Tokens, shown as `?token=` or, over HTTP, as `Authorization: Bearer`. The kind of a key fixes the algorithm: HS256, RS256, ES256 or EdDSA (Ed25519).",
        "JSON Web Token，以 `?token=` 出示，HTTP 也可用 `Authorization: Bearer`。算法由密钥类型决定：HS256、RS256、ES256 或 EdDSA（Ed25519）。",
    ),
    auth("vhost.auth.jwt.secret", Line).repeated().secret().docs(
        "`secret SECRET;`: the shared secret of HS256. `$NAME` takes it from the environment.",
        "`secret SECRET;`：HS256 的共享密钥。`$NAME` 表示从环境变量取值。",
    ),
    auth("vhost.auth.jwt.key", List).docs(
        "PEM files with public keys (`BEGIN PUBLIC KEY`): RSA of 2048 bits or more, EC P-256, Ed25519. Read at the start and at each reload.",
        "公钥 PEM 文件（`BEGIN PUBLIC KEY`）：2048 位以上的 RSA、EC P-256、Ed25519。启动和每次重载时读取。",
    ),
    auth("vhost.auth.jwt.jwks", Str).docs(
        "URL of a JSON Web Key Set. It is fetched in the background; when that fails the keys fetched before stay in use.",
        "JSON Web Key Set 的 URL。在后台获取；获取失败时继续使用之前的密钥。",
    ),
    auth("vhost.auth.jwt.jwks_interval", Seconds).default("300").range(10.0, 86_400.0).docs(
        "How often the set is fetched. A token of an unknown key has it fetched at once, at most every 10 seconds.",
        "获取密钥集的间隔。遇到未知密钥的令牌会立即获取，但至少间隔 10 秒。",
    ),
    auth("vhost.auth.jwt.issuer", List).docs(
        "The token's `iss` must be one of these; nothing written asks for nothing.",
        "令牌的 `iss` 必须是其中之一；不写则不检查。",
    ),
    auth("vhost.auth.jwt.audience", List).docs(
        "The token's `aud` must hold one of these; nothing written asks for nothing.",
        "令牌的 `aud` 必须包含其中之一；不写则不检查。",
    ),
    auth("vhost.auth.jwt.leeway", Seconds).default("30").range(0.0, 3_600.0).docs(
        "By how much clocks may differ where `exp` and `nbf` are checked.",
        "检查 `exp` 与 `nbf` 时允许的时钟误差。",
    ),
];

const fn refer(path: &'static str, kind: Kind) -> Directive {
    Directive::new(path, kind).no_env()
}

const fn rule(path: &'static str, kind: Kind) -> Directive {
    Directive::new(path, kind).no_env().since("2")
}

const fn auth(path: &'static str, kind: Kind) -> Directive {
    Directive::new(path, kind).no_env().since("millrace")
}
