//! How sections of ours are written, in offers and answers.

use media::{Codec, Kind};
use rtp::sdp::{Line, MediaDescription, MediaKind, Origin, SessionDescription, Setup};

use super::{Intent, Media, Options, Ours, Payload};

/// What is common to all sections of one description.
pub(super) struct Writer<'a> {
    pub(super) ours: &'a Ours,
    pub(super) options: &'a Options,
    pub(super) setup: Setup,
    /// Whether we send or receive in it is [`Media::direction`]; this is for the session's name.
    pub(super) intent: Intent,
}

impl Writer<'_> {
    /// The description without sections; `lite` and the bundle are told if they are given.
    pub(super) fn session(&self, lite: bool, bundle: &[&str]) -> SessionDescription {
        let mut description = SessionDescription {
            origin: Origin::new(
                &self.ours.server.replace(char::is_whitespace, "-"),
                self.ours.session,
                2,
            ),
            // Names that clients of SRS may look for.
            name: match self.intent {
                Intent::Publish => "SRSPublishSession".to_owned(),
                Intent::Play => "SRSPlaySession".to_owned(),
            },
            lines: vec![Line::new('t', "0 0")],
            ..SessionDescription::default()
        };
        let attributes = &mut description.attributes;
        if lite {
            attributes.flag("ice-lite");
        }
        if !bundle.is_empty() {
            attributes.set("group", format_args!("BUNDLE {}", bundle.join(" ")));
        }
        attributes.set("msid-semantic", format_args!("WMS {}", self.stream()));
        description
    }

    /// The stream's name in the characters that RFC 8830 §2 allows, and `/`, which SRS writes.
    fn stream(&self) -> String {
        let token = |c: char| match c {
            '!' | '#'..='\'' | '*' | '+' | '-' | '.' | '/' | '0'..='9' | 'A'..='Z' | '^'..='~' => c,
            _ => '-',
        };
        // The standard has no room for more.
        let name: String = self.ours.stream.chars().map(token).take(64).collect();
        if name.is_empty() { "-".to_owned() } else { name }
    }

    fn transport(&self, section: &mut MediaDescription, mid: &str) {
        section.lines.push(Line::new('c', "IN IP4 0.0.0.0"));
        let attributes = &mut section.attributes;
        attributes.set("ice-ufrag", &self.ours.ufrag);
        attributes.set("ice-pwd", &self.ours.pwd);
        if self.options.dtls {
            attributes.set("fingerprint", &self.ours.fingerprint);
            attributes.set("setup", self.setup.as_str());
        }
        if !mid.is_empty() {
            attributes.set("mid", mid);
        }
    }

    fn candidates(&self, section: &mut MediaDescription) {
        for candidate in &self.ours.candidates {
            section.attributes.set("candidate", candidate);
        }
        section.attributes.flag("end-of-candidates");
    }

    /// A section of media that is open. `answered` is what it answers, if it is an answer.
    pub(super) fn media(
        &self,
        media: &Media,
        protocol: &str,
        answered: Option<&MediaDescription>,
    ) -> MediaDescription {
        let formats = payload_types(media).iter().map(u8::to_string).collect();
        let mut section = MediaDescription::new(kind(media.kind), 9, protocol, formats);
        self.transport(&mut section, &media.mid);
        let attributes = &mut section.attributes;
        for (id, uri) in media.extensions.list() {
            // One that was offered for one way only is answered for the same way (RFC 8285 §6).
            let way = answered.and_then(|offered| {
                let same = |map: &rtp::sdp::ExtMap<'_>| map.id == id && map.uri == uri;
                offered.attributes.extmaps().find(same)?.direction
            });
            match way {
                Some(way) => {
                    let way = way.reversed().as_str();
                    attributes.set("extmap", format_args!("{id}/{way} {uri}"));
                }
                None => attributes.set("extmap", format_args!("{id} {uri}")),
            }
        }
        attributes.flag(media.direction.as_str());
        let sends = media.direction.sends();
        let track = media.ssrc.map(|ssrc| format!("{} {}-{ssrc}", self.stream(), word(media.kind)));
        if let Some(track) = track.as_ref().filter(|_| sends) {
            attributes.set("msid", track);
        }
        attributes.flag("rtcp-mux");
        if media.rtcp_rsize {
            attributes.flag("rtcp-rsize");
        }
        for payload in &media.payloads {
            write_payload(&mut section, payload);
        }
        write_redundancy(&mut section, media);
        self.write_layers(&mut section, media);
        if let Some((ssrc, track)) = media.ssrc.zip(track).filter(|_| sends) {
            self.write_sources(&mut section, media, ssrc, &track);
        }
        self.candidates(&mut section);
        section
    }

    fn write_layers(&self, section: &mut MediaDescription, media: &Media) {
        if media.rids.is_empty() {
            return;
        }
        let way = if media.direction.sends() { "send" } else { "recv" };
        for layer in &media.rids {
            section.attributes.set("rid", format_args!("{} {way}", layer.rid));
        }
        let rids: Vec<_> = media.rids.iter().map(|layer| layer.rid.as_str()).collect();
        section.attributes.set("simulcast", format_args!("{way} {}", rids.join(";")));
    }

    fn write_sources(&self, section: &mut MediaDescription, media: &Media, ssrc: u32, track: &str) {
        let attributes = &mut section.attributes;
        if let Some(rtx) = media.rtx_ssrc {
            attributes.set("ssrc-group", format_args!("FID {ssrc} {rtx}"));
        }
        if let Some(fec) = media.fec_ssrc {
            attributes.set("ssrc-group", format_args!("FEC-FR {ssrc} {fec}"));
        }
        for ssrc in [Some(ssrc), media.rtx_ssrc, media.fec_ssrc].into_iter().flatten() {
            attributes.set("ssrc", format_args!("{ssrc} cname:{}", self.ours.cname));
            attributes.set("ssrc", format_args!("{ssrc} msid:{track}"));
        }
    }

    /// The section of data channels, open.
    pub(super) fn data(&self, mid: &str, protocol: &str, format: &str) -> MediaDescription {
        let formats = vec![format.to_owned()];
        let mut section = MediaDescription::new(MediaKind::Application, 9, protocol, formats);
        self.transport(&mut section, mid);
        section.attributes.set("sctp-port", 5000);
        section.attributes.set("max-message-size", self.options.max_message_size);
        self.candidates(&mut section);
        section
    }
}

/// A section that is refused, with the reason where nobody but people look.
pub(super) fn refused(offered: &MediaDescription, why: &str) -> MediaDescription {
    let formats = offered.formats.iter().take(1).cloned().collect();
    let kind = offered.kind.clone();
    let mut section = MediaDescription::new(kind, 0, &offered.protocol, formats);
    section.lines.push(Line::new('c', "IN IP4 0.0.0.0"));
    if let Some(mid) = offered.mid() {
        section.attributes.set("mid", mid);
    }
    section.attributes.flag("inactive");
    section.attributes.set("x-refused", why);
    section
}

fn payload_types(media: &Media) -> Vec<u8> {
    let mut list = Vec::with_capacity(media.payloads.len() * 2 + 3);
    // Browsers send the first they may. Redundancy of what they send to us costs them little.
    let first = media.red.filter(|_| media.kind == Kind::Audio && !media.direction.sends());
    list.extend(first);
    for payload in &media.payloads {
        list.push(payload.pt);
        list.extend(payload.rtx);
    }
    let red = media.red.filter(|_| first.is_none());
    list.extend([red, media.ulpfec, media.flexfec].into_iter().flatten());
    list
}

fn write_payload(section: &mut MediaDescription, payload: &Payload) {
    let Payload { pt, clock, channels, .. } = payload;
    let attributes = &mut section.attributes;
    let name = encoding(payload.codec);
    match channels {
        0 | 1 => attributes.set("rtpmap", format_args!("{pt} {name}/{clock}")),
        _ => attributes.set("rtpmap", format_args!("{pt} {name}/{clock}/{channels}")),
    }
    for feedback in payload.feedback.list() {
        attributes.set("rtcp-fb", format_args!("{pt} {feedback}"));
    }
    if !payload.fmtp.is_empty() {
        attributes.set("fmtp", format_args!("{pt} {}", payload.fmtp));
    }
    if let Some(rtx) = payload.rtx {
        attributes.set("rtpmap", format_args!("{rtx} rtx/{clock}"));
        attributes.set("fmtp", format_args!("{rtx} apt={pt}"));
    }
}

fn write_redundancy(section: &mut MediaDescription, media: &Media) {
    let attributes = &mut section.attributes;
    match (media.red, media.payload(Codec::Opus)) {
        (Some(red), Some(opus)) => {
            let opus = opus.pt;
            attributes.set("rtpmap", format_args!("{red} red/48000/2"));
            attributes.set("fmtp", format_args!("{red} {opus}/{opus}"));
        }
        (Some(red), None) => attributes.set("rtpmap", format_args!("{red} red/90000")),
        _ => {}
    }
    if let Some(ulpfec) = media.ulpfec {
        attributes.set("rtpmap", format_args!("{ulpfec} ulpfec/90000"));
    }
    if let Some(flexfec) = media.flexfec {
        attributes.set("rtpmap", format_args!("{flexfec} flexfec-03/90000"));
        attributes.set("fmtp", format_args!("{flexfec} repair-window=10000000"));
    }
}

/// The name of a coding in `a=rtpmap`.
const fn encoding(codec: Codec) -> &'static str {
    match codec {
        Codec::H264 => "H264",
        Codec::H265 => "H265",
        Codec::Av1 => "AV1",
        Codec::Vp8 => "VP8",
        Codec::Vp9 => "VP9",
        Codec::G711A => "PCMA",
        Codec::G711U => "PCMU",
        _ => "opus",
    }
}

fn kind(kind: Kind) -> MediaKind {
    if kind == Kind::Audio { MediaKind::Audio } else { MediaKind::Video }
}

fn word(kind: Kind) -> &'static str {
    if kind == Kind::Audio { "audio" } else { "video" }
}

/// Numbers of sources from a seed: never 0, never the same twice (splitmix64, whose outputs are
/// spread over all numbers).
pub(super) struct Ssrcs {
    state: u64,
    given: Vec<u32>,
}

impl Ssrcs {
    /// `taken` are not given.
    pub(super) fn new(seed: u64, taken: Vec<u32>) -> Self {
        Self { state: seed, given: taken }
    }

    pub(super) fn next(&mut self) -> u32 {
        loop {
            self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = self.state;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let ssrc = (word ^ (word >> 31)) as u32;
            if ssrc != 0 && !self.given.contains(&ssrc) {
                self.given.push(ssrc);
                return ssrc;
            }
        }
    }
}
