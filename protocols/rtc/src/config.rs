//! `rtc_server { }` and `rtc { }` of a virtual host.
//!
//! The field comments are the reference; each field is named as its directive is.

use std::time::Duration;

use gate::conf::{Config, Listen, VhostSection, is_host};

use crate::door::candidates;

/// Which transports are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Protocol {
    /// Datagrams alone.
    #[default]
    Udp,
    /// Connections alone.
    Tcp,
    /// Both, datagrams first.
    All,
}

/// Which addresses of the machine are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Family {
    /// IPv4 alone.
    #[default]
    Ipv4,
    /// IPv6 alone.
    Ipv6,
    /// Both, IPv4 first.
    All,
}

/// Who sends the first message of the DTLS handshake where the offer leaves it open (`actpass`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DtlsRole {
    /// The client.
    #[default]
    Passive,
    /// We.
    Active,
}

/// Versions of DTLS that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DtlsVersion {
    /// 1.2 and 1.3, as the client likes. `dtls1.0` is read as this.
    #[default]
    Auto,
    /// 1.2 alone.
    Dtls12,
}

/// A server that clients are told to ask for their own address, or to relay through
/// (`Link: rel="ice-server"`, RFC 9725 §4.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IceServer {
    /// `stun:host[:port]`, `turn:host[:port][?transport=udp|tcp]`, `turns:…`.
    pub url: String,
    /// Name and credential, for TURN. Both are told to every client that gets an answer.
    pub credential: Option<(String, String)>,
}

/// The directives of `rtc_server { }`.
#[derive(Clone, Debug, PartialEq)]
pub struct RtcServer {
    /// `enabled`: whether there is WebRTC. Default off.
    pub enabled: bool,
    /// `listen`: UDP addresses, one port for all sessions. Default 8000.
    pub listen: Vec<Listen>,
    /// `tcp.enabled`: ICE over TCP. Default off.
    pub tcp_enabled: bool,
    /// `tcp.listen`: TCP addresses. Default 8000.
    pub tcp_listen: Vec<Listen>,
    /// `protocol`: which of them clients are told. Default `udp`.
    pub protocol: Protocol,
    /// `candidate`: `*`, addresses and names that clients are told; `$NAME` was replaced by the
    /// environment's value. Default `*`.
    pub candidate: Vec<String>,
    /// `use_auto_detect_network_ip`: `*` means the addresses of the interfaces. Default on.
    pub use_auto_detect_network_ip: bool,
    /// `ip_family`: which of these. Default `ipv4`.
    pub ip_family: Family,
    /// `api_as_candidates`: tell the host that the request was sent to, too. Default on.
    pub api_as_candidates: bool,
    /// `resolve_api_domain`: resolve it if it is a name. Default on.
    pub resolve_api_domain: bool,
    /// `keep_api_domain`: tell the name, too. Default off.
    pub keep_api_domain: bool,
    /// `ecdsa`: the certificate is ECDSA P-256. Off is accepted and has no effect. Default on.
    pub ecdsa: bool,
    /// `encrypt`: what players get is encrypted. Default on.
    pub encrypt: bool,
    /// `black_hole`: where to copy packets to before they are encrypted; `None` is off.
    pub black_hole: Option<String>,
    /// `stun_server`: `host:port` that is asked for our public address. Default none.
    pub stun_server: Option<String>,
    /// `ice_server`: told to clients, in this order; at most [`MAX_ICE_SERVERS`].
    pub ice_servers: Vec<IceServer>,
    /// `max_sessions`: sessions at once; 0 is no limit. Default 0.
    pub max_sessions: usize,
    /// `max_sessions_per_ip`: those asked for from one address; 0 is no limit. Default 0.
    pub max_sessions_per_ip: usize,
    /// `pending_timeout`: from the answer to the end of the DTLS handshake. Default 15 s.
    pub pending_timeout: Duration,
}

/// More would be a header of several kB in every answer; browsers warn above four.
pub const MAX_ICE_SERVERS: usize = 8;

impl RtcServer {
    /// From a configuration.
    pub fn read(config: &Config) -> Self {
        let root = config.root();
        let server = root.section("rtc_server");
        let count = |path: &str| usize::try_from(server.int(path)).unwrap_or(0);
        let text = |path: &str| Some(server.str(path)).filter(|s| !s.is_empty()).map(str::to_owned);
        Self {
            enabled: server.bool("enabled"),
            listen: server.listen("listen"),
            tcp_enabled: server.bool("tcp.enabled"),
            tcp_listen: server.listen("tcp.listen"),
            protocol: match server.str("protocol") {
                "tcp" => Protocol::Tcp,
                "all" => Protocol::All,
                _ => Protocol::Udp,
            },
            candidate: {
                // Of others the loader has told.
                let sound = |word: &&str| candidates::is_any(word) || is_host(word);
                server.list("candidate").into_iter().filter(sound).map(str::to_owned).collect()
            },
            use_auto_detect_network_ip: server.bool("use_auto_detect_network_ip"),
            ip_family: match server.str("ip_family") {
                "ipv6" => Family::Ipv6,
                "all" => Family::All,
                _ => Family::Ipv4,
            },
            api_as_candidates: server.bool("api_as_candidates"),
            resolve_api_domain: server.bool("resolve_api_domain"),
            keep_api_domain: server.bool("keep_api_domain"),
            ecdsa: server.bool("ecdsa"),
            encrypt: server.bool("encrypt"),
            black_hole: text("black_hole.addr").filter(|_| server.bool("black_hole.enabled")),
            stun_server: text("stun_server").filter(|s| s != "off"),
            ice_servers: server
                .lines("ice_server")
                .iter()
                .filter_map(|words| IceServer::read(words))
                .take(MAX_ICE_SERVERS)
                .collect(),
            max_sessions: count("max_sessions"),
            max_sessions_per_ip: count("max_sessions_per_ip"),
            pending_timeout: server.seconds("pending_timeout"),
        }
    }
}

impl IceServer {
    /// From the words of a line: the URL, and perhaps a name and a credential.
    fn read(words: &[&str]) -> Option<Self> {
        let (url, rest) = words.split_first()?;
        let known = ["stun:", "stuns:", "turn:", "turns:"].iter().any(|s| url.starts_with(s));
        let credential = match rest {
            [name, credential, ..] => Some(((*name).to_owned(), (*credential).to_owned())),
            _ => None,
        };
        known.then(|| Self { url: (*url).to_owned(), credential })
    }
}

/// The directives of `rtc { }` in a virtual host.
#[derive(Clone, Debug, PartialEq)]
pub struct RtcVhost {
    /// `enabled`: whether its streams may be published and played by WebRTC. Default off.
    pub enabled: bool,
    /// `nack`: ask for lost packets, and send them again. Default on.
    pub nack: bool,
    /// `twcc`: congestion feedback. Default on.
    pub twcc: bool,
    /// `stun_timeout`: a session without a valid check for so long is over. Default 30 s.
    pub stun_timeout: Duration,
    /// `stun_strict_check`: refuse checks whose roles are wrong. Default off.
    pub stun_strict_check: bool,
    /// `dtls_role`: who begins. Default `passive`.
    pub dtls_role: DtlsRole,
    /// `dtls_version`: which versions. Default `auto`.
    pub dtls_version: DtlsVersion,
    /// `drop_for_pt`: packets of this payload type are dropped, for tests; 0 is none.
    pub drop_for_pt: u8,
    /// `data_channel`: data channels are agreed on with who offers them. Default on.
    pub data_channel: bool,
    /// `rtmp_to_rtc`: streams of other protocols can be played. Default off.
    pub rtmp_to_rtc: bool,
    /// `keep_bframe`: their B pictures are kept. Default off: browsers stutter on them.
    pub keep_bframe: bool,
    /// `keep_avc_nalu_sei`: their SEI is kept. Default on.
    pub keep_avc_nalu_sei: bool,
    /// `opus_bitrate`: of the Opus made of their sound, bit/s. Default 48,000.
    pub opus_bitrate: u32,
    /// `rtc_to_rtmp`: other protocols can play what is published. Default off.
    pub rtc_to_rtmp: bool,
    /// `pli_for_rtmp`: a key frame is asked for so often then. Default 6 s.
    pub pli_for_rtmp: Duration,
    /// `aac_bitrate`: of the AAC made of its sound, bit/s. Default 48,000.
    pub aac_bitrate: u32,
    /// `keep_opus`: its Opus is not made AAC. Default off.
    pub keep_opus: bool,
}

impl RtcVhost {
    /// From a virtual host's section.
    pub fn read(vhost: &VhostSection<'_>) -> Self {
        let rtc = vhost.section("rtc");
        let rate = |path: &str| u32::try_from(rtc.int(path)).unwrap_or(48_000);
        Self {
            enabled: rtc.bool("enabled"),
            nack: rtc.bool("nack"),
            twcc: rtc.bool("twcc"),
            stun_timeout: rtc.seconds("stun_timeout"),
            stun_strict_check: rtc.bool("stun_strict_check"),
            dtls_role: match rtc.str("dtls_role") {
                "active" => DtlsRole::Active,
                _ => DtlsRole::Passive,
            },
            dtls_version: match rtc.str("dtls_version") {
                "dtls1.2" => DtlsVersion::Dtls12,
                _ => DtlsVersion::Auto,
            },
            drop_for_pt: u8::try_from(rtc.int("drop_for_pt")).unwrap_or(0),
            data_channel: rtc.bool("data_channel"),
            rtmp_to_rtc: rtc.bool("rtmp_to_rtc"),
            keep_bframe: rtc.bool("keep_bframe"),
            keep_avc_nalu_sei: rtc.bool("keep_avc_nalu_sei"),
            opus_bitrate: rate("opus_bitrate"),
            rtc_to_rtmp: rtc.bool("rtc_to_rtmp"),
            pli_for_rtmp: rtc.seconds("pli_for_rtmp"),
            aac_bitrate: rate("aac_bitrate"),
            keep_opus: rtc.bool("keep_opus"),
        }
    }
}

/// What is written and has no effect, or cannot be read: for the log at the start and after a
/// reload. Values of the wrong kind have been told of before.
pub fn complaints(config: &Config) -> Vec<String> {
    let root = config.root();
    let server = root.section("rtc_server");
    let mut all = Vec::new();
    if !server.bool("ecdsa") {
        all.push("rtc_server.ecdsa off: there is no RSA; the certificate is ECDSA".to_owned());
    }
    for words in server.lines("ice_server") {
        if IceServer::read(&words).is_none() {
            let url = words.first().copied().unwrap_or_default();
            all.push(format!(
                "rtc_server.ice_server `{url}`: begins with none of stun: stuns: turn: turns:"
            ));
        }
    }
    if server.lines("ice_server").len() > MAX_ICE_SERVERS {
        all.push(format!(
            "rtc_server.ice_server: more than {MAX_ICE_SERVERS}, the rest is not told"
        ));
    }
    let stun = server.str("stun_server");
    if !matches!(stun, "" | "off") && !stun.contains(':') {
        all.push(format!("rtc_server.stun_server `{stun}` has no port: `{stun}:3478`?"));
    }
    if server.str("protocol") != "udp" && !server.bool("tcp.enabled") {
        let protocol = server.str("protocol");
        all.push(format!(
            "rtc_server.protocol {protocol}, but tcp is not enabled: UDP is told alone"
        ));
    }
    for vhost in config.vhosts() {
        if vhost.str("rtc.dtls_version") == "dtls1.0" {
            let name = vhost.name();
            all.push(format!("vhost {name}: rtc.dtls_version dtls1.0 is not spoken, read as auto"));
        }
    }
    all
}

#[cfg(test)]
pub(crate) mod tests;
