//! What a description tells of the peer.

use media::Kind;
use rtp::sdp::{Fingerprint, MediaDescription, RidDirection, SessionDescription, Setup};

use super::{
    Candidate, Direction, Extensions, Feedback, Intent, Layer, MAX_CANDIDATES, MAX_RIDS,
    MAX_SOURCES, NegotiateError, Options, Source,
};

/// The transport that all sections share.
pub(super) struct Remote {
    pub(super) ufrag: String,
    pub(super) pwd: String,
    pub(super) fingerprint: Option<Fingerprint>,
    pub(super) setup: Option<Setup>,
    pub(super) candidates: Vec<Candidate>,
    pub(super) end_of_candidates: bool,
    pub(super) lite: bool,
}

impl Remote {
    /// Reads the first of `sections` that has what is asked for, or else the session.
    pub(super) fn read(
        description: &SessionDescription,
        sections: &[&MediaDescription],
        options: &Options,
    ) -> Result<Self, NegotiateError> {
        let session = &description.attributes;
        let places = || sections.iter().map(|section| &section.attributes).chain([session]);
        let (ufrag, pwd) = places()
            .find_map(|place| {
                let ufrag = place.ice_ufrag().or_else(|| session.ice_ufrag())?;
                Some((ufrag, place.ice_pwd().or_else(|| session.ice_pwd())?))
            })
            .ok_or(NegotiateError::NoIce)?;
        let fingerprint = places().find_map(|place| {
            let sha256 = place.fingerprints().find(Fingerprint::is_sha256);
            sha256.or_else(|| place.fingerprints().next())
        });
        if options.dtls && fingerprint.is_none() {
            return Err(NegotiateError::NoFingerprint);
        }
        let mut candidates: Vec<Candidate> = Vec::new();
        for candidate in places().flat_map(|place| place.candidates()) {
            if candidates.len() >= MAX_CANDIDATES {
                break;
            }
            // Each section repeats them, and with RTCP's port there is nothing to do.
            if candidate.component == 1 && !candidates.contains(&candidate) {
                candidates.push(candidate);
            }
        }
        Ok(Self {
            ufrag: ufrag.to_owned(),
            pwd: pwd.to_owned(),
            fingerprint: fingerprint.filter(|_| options.dtls),
            setup: places().find_map(|place| place.setup()),
            candidates,
            end_of_candidates: places().any(|place| place.has("end-of-candidates")),
            lite: session.has("ice-lite"),
        })
    }
}

const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
const TWCC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
const ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";
const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
const PLAYOUT_DELAY: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";

impl Extensions {
    /// Those of a section that are used here. `sends` is whether the section's owner sends.
    pub(super) fn read(
        section: &MediaDescription,
        kind: Kind,
        sends: bool,
        options: &Options,
    ) -> Self {
        let mut used = 0_u16;
        let mut found = Self::default();
        for map in section.attributes.extmaps().filter(|map| map.id <= 14) {
            let way = map.direction.unwrap_or_default();
            let flows = if sends { way.sends() } else { way.receives() };
            let bit = 1_u16 << map.id;
            let place = match map.uri {
                MID => &mut found.mid,
                RID => &mut found.rid,
                REPAIRED_RID => &mut found.repaired_rid,
                TWCC if options.twcc => &mut found.twcc,
                ABS_SEND_TIME if options.remb => &mut found.abs_send_time,
                AUDIO_LEVEL if kind == Kind::Audio => &mut found.audio_level,
                PLAYOUT_DELAY if options.low_latency => &mut found.playout_delay,
                _ => continue,
            };
            if flows && place.is_none() && used & bit == 0 {
                *place = Some(map.id);
                used |= bit;
            }
        }
        if found.twcc.is_some() {
            found.abs_send_time = None;
        }
        found
    }

    /// Numbers and names, in the order of the numbers.
    pub(super) fn list(&self) -> Vec<(u8, &'static str)> {
        let all = [
            (self.mid, MID),
            (self.rid, RID),
            (self.repaired_rid, REPAIRED_RID),
            (self.twcc, TWCC),
            (self.abs_send_time, ABS_SEND_TIME),
            (self.audio_level, AUDIO_LEVEL),
            (self.playout_delay, PLAYOUT_DELAY),
        ];
        let mut list: Vec<_> = all.into_iter().filter_map(|(id, uri)| Some((id?, uri))).collect();
        list.sort_unstable();
        list
    }
}

impl Feedback {
    /// What a payload type may have, of what is wanted. `twcc` is whether its extension is agreed on.
    pub(super) fn read(
        section: &MediaDescription,
        payload_type: u8,
        twcc: bool,
        options: &Options,
    ) -> Self {
        let mut feedback = Self::default();
        for value in section.feedback(payload_type) {
            let mut words = value.split_whitespace();
            match (words.next(), words.next()) {
                (Some("nack"), None) => feedback.nack = options.nack,
                (Some("nack"), Some("pli")) => feedback.pli = true,
                (Some("ccm"), Some("fir")) => feedback.fir = true,
                (Some("goog-remb"), None) => feedback.remb = options.remb && !twcc,
                (Some("transport-cc"), None) => feedback.twcc = twcc,
                _ => {}
            }
        }
        feedback
    }

    /// As `a=rtcp-fb` has it.
    pub(super) fn list(self) -> impl Iterator<Item = &'static str> {
        let all = [
            (self.nack, "nack"),
            (self.pli, "nack pli"),
            (self.fir, "ccm fir"),
            (self.remb, "goog-remb"),
            (self.twcc, "transport-cc"),
        ];
        all.into_iter().filter(|(has, _)| *has).map(|(_, name)| name)
    }
}

/// The sources a section names, each with its companions, and the groups of simulcast.
pub(super) fn sources(section: &MediaDescription) -> (Vec<Source>, Vec<Vec<u32>>) {
    let mut sources: Vec<Source> = Vec::new();
    for said in section.ssrcs() {
        let known = sources.iter().position(|source| source.ssrc == said.ssrc);
        if known.is_none() && sources.len() < MAX_SOURCES {
            sources.push(Source { ssrc: said.ssrc, ..Source::default() });
        }
        let Some(source) = sources.iter_mut().find(|source| source.ssrc == said.ssrc) else {
            continue;
        };
        match said.name {
            "cname" => source.cname = said.value.map(str::to_owned),
            "msid" => source.msid = said.value.map(str::to_owned),
            _ => {}
        }
    }
    let mut sim = Vec::new();
    let mut companions = Vec::new();
    for group in section.ssrc_groups().take(MAX_SOURCES) {
        match (group.semantics, group.ssrcs.as_slice()) {
            ("SIM", ssrcs) if ssrcs.len() <= MAX_RIDS => sim.push(ssrcs.to_vec()),
            (semantics @ ("FID" | "FEC-FR"), &[main, companion]) if main != companion => {
                let Some(source) = sources.iter_mut().find(|source| source.ssrc == main) else {
                    continue;
                };
                let place = if semantics == "FID" { &mut source.rtx } else { &mut source.fec };
                *place = Some(companion);
                companions.push(companion);
            }
            _ => {}
        }
    }
    sources.retain(|source| !companions.contains(&source.ssrc));
    (sources, sim)
}

/// The streams of simulcast that a section would send and that may have the payload type.
pub(super) fn layers(section: &MediaDescription, payload_type: u8) -> Vec<Layer> {
    let Some(simulcast) = section.simulcast() else { return Vec::new() };
    let mut layers: Vec<Layer> = Vec::new();
    for stream in &simulcast.send {
        let rid = stream.rids.iter().find_map(|id| {
            section.rids().find(|rid| {
                let any = rid.payload_types().next().is_none();
                rid.id == *id
                    && rid.direction == RidDirection::Send
                    && (any || rid.payload_types().any(|pt| pt == payload_type))
            })
        });
        // A second stream of the same name could not be told from the first.
        let Some(rid) = rid.filter(|rid| layers.iter().all(|layer| layer.rid != rid.id)) else {
            continue;
        };
        if layers.len() < MAX_RIDS {
            layers.push(Layer {
                rid: rid.id.to_owned(),
                max_width: rid.number("max-width"),
                max_height: rid.number("max-height"),
                max_bitrate: rid.number("max-br"),
                paused: stream.paused,
            });
        }
    }
    layers
}

/// The direction of a section, which the session may tell for all.
pub(super) fn direction(description: &SessionDescription, section: &MediaDescription) -> Direction {
    let session = || description.attributes.direction();
    section.attributes.direction().or_else(session).unwrap_or_default()
}

/// Refuses a section of media in which RTP cannot flow as everybody does it.
pub(super) fn check_section(
    section: &MediaDescription,
    index: usize,
    options: &Options,
) -> Result<(), NegotiateError> {
    let protocol = section.protocol.as_str();
    let secure = protocol.ends_with("RTP/SAVPF") || protocol.ends_with("RTP/SAVP");
    let plain = protocol.ends_with("RTP/AVPF") || protocol.ends_with("RTP/AVP");
    if !secure && (options.dtls || !plain) {
        let protocol = protocol.chars().take(32).collect();
        return Err(NegotiateError::Protocol { index, protocol });
    }
    if !section.rtcp_mux() {
        return Err(NegotiateError::NoRtcpMux { index });
    }
    Ok(())
}

/// Refuses a direction in which nothing would flow as asked.
pub(super) fn check_direction(
    direction: Direction,
    index: usize,
    intent: Intent,
) -> Result<(), NegotiateError> {
    let fits = match intent {
        Intent::Publish => direction.sends(),
        Intent::Play => direction.receives(),
    };
    if fits {
        return Ok(());
    }
    Err(NegotiateError::Direction { index, direction: direction.as_str(), intent })
}

/// The streams of simulcast that `ours` would send and `theirs` takes.
pub(super) fn taken_layers(ours: &MediaDescription, theirs: &MediaDescription) -> Vec<Layer> {
    let (Some(ours), Some(theirs)) = (ours.simulcast(), theirs.simulcast()) else {
        return Vec::new();
    };
    let offered = |rid: &str| ours.send.iter().any(|stream| stream.rids.contains(&rid));
    let taken = theirs.recv.iter().filter_map(|stream| {
        let rid = stream.rids.iter().copied().find(|rid| offered(rid))?;
        Some(Layer { rid: rid.to_owned(), paused: stream.paused, ..Layer::default() })
    });
    taken.take(MAX_RIDS).collect()
}
