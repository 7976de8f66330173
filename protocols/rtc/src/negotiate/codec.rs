//! Which of the offered payload types is taken.

use media::{Codec, Kind};
use rtp::sdp::{Fmtp, MediaDescription, RtpMap};

use super::{Ask, H264Format, Intent, Refused, Track};

/// A payload type of an offer that carries a coding known here.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offered<'a> {
    pub(super) map: RtpMap<'a>,
    pub(super) codec: Codec,
    pub(super) fmtp: Option<Fmtp<'a>>,
}

impl<'a> Offered<'a> {
    fn value(&self, key: &str) -> Option<&'a str> {
        self.fmtp?.get(key)
    }

    fn number(&self, key: &str, default: u8) -> u8 {
        self.value(key).map_or(Some(default), |value| value.parse().ok()).unwrap_or(u8::MAX)
    }

    /// How its H.264 lies, with what RFC 6184 §8.1 says is meant where nothing is told.
    pub(super) fn h264(&self) -> Option<H264Format> {
        (self.codec == Codec::H264).then(|| H264Format {
            profile_level_id: self
                .value("profile-level-id")
                .filter(|id| id.len() == 6)
                .and_then(|id| u32::from_str_radix(id, 16).ok())
                .unwrap_or(0x42_000a),
            packetization_mode: self.number("packetization-mode", 0),
            level_asymmetry: self.value("level-asymmetry-allowed") == Some("1"),
        })
    }

    /// What of its parameters is said again in the answer.
    pub(super) fn answer_fmtp(&self, intent: Intent, stereo: bool) -> String {
        let keys: &[&str] = match self.codec {
            Codec::H264 => &["level-asymmetry-allowed", "packetization-mode", "profile-level-id"],
            Codec::H265 => &["level-id", "profile-id", "tier-flag", "tx-mode"],
            Codec::Av1 => &["level-idx", "profile", "tier"],
            Codec::Vp9 => &["profile-id"],
            Codec::Opus => {
                let wants =
                    ["stereo", "sprop-stereo"].iter().any(|key| self.value(key) == Some("1"));
                return match intent {
                    Intent::Play if stereo => "minptime=10;stereo=1;sprop-stereo=1;useinbandfec=1",
                    Intent::Publish if stereo && wants => "minptime=10;stereo=1;useinbandfec=1",
                    _ => "minptime=10;useinbandfec=1",
                }
                .to_owned();
            }
            _ => &[],
        };
        let Some(fmtp) = self.fmtp else { return String::new() };
        let said = keys.iter().filter_map(|key| Some(format!("{key}={}", fmtp.get(key)?)));
        said.collect::<Vec<_>>().join(";")
    }

    /// How well it carries the track, or pictures of which nothing is known yet: greater is better,
    /// nothing if it cannot.
    fn fit(&self, track: Option<&Track>) -> Option<u32> {
        let profile = track.and_then(|track| track.profile);
        match self.codec {
            Codec::H264 => h264_fit(self.h264()?, track.and_then(|t| t.profile_level_id)),
            Codec::H265 => {
                let single = self.value("tx-mode").is_none_or(|m| m.eq_ignore_ascii_case("SRST"));
                let (offered, has) = (self.number("profile-id", 1), profile.unwrap_or(1));
                // A decoder of Main 10 takes Main, too.
                let takes = offered == has || (offered == 2 && has == 1);
                (single && takes).then(|| 1 + u32::from(offered == has))
            }
            Codec::Vp9 => (self.number("profile-id", 0) == profile.unwrap_or(0)).then_some(1),
            Codec::Av1 => (self.number("profile", 0) == profile.unwrap_or(0)).then_some(1),
            _ => Some(1),
        }
    }
}

/// `packetization-mode` 1 comes first, as without it large slices do not fit; then the profile that
/// the stream has, or one whose decoders take it; then what SRS prefers.
fn h264_fit(format: H264Format, live: Option<u32>) -> Option<u32> {
    let mode = match format.packetization_mode {
        0 => 0,
        1 => 1000,
        // Interleaved: nobody sends it, and nobody here reads it.
        _ => return None,
    };
    let offered = format.profile_level_id;
    let profile = live.map_or(0, |live| match (rank(live), rank(offered)) {
        (has, takes) if has == takes => 400,
        (has, takes) if has < takes => 200,
        _ => 0,
    });
    let level = live.map_or(0, |live| {
        let enough = (offered & 0xff) >= (live & 0xff) || format.level_asymmetry;
        if enough { 100 } else { 0 }
    });
    let usual = if offered == 0x42_e01f { 20 } else { 0 };
    let asymmetry = if format.level_asymmetry { 10 } else { 0 };
    Some(mode + profile + level + usual + asymmetry)
}

/// Profiles in the order in which decoders of a later take streams of an earlier (H.264 annex A):
/// what is common to Baseline and Main, Baseline, Main, High without fields, High.
const fn rank(profile_level_id: u32) -> u8 {
    let constraints = (profile_level_id >> 8) & 0xff;
    match profile_level_id >> 16 {
        66 if constraints & 0x40 != 0 => 0,
        66 => 1,
        77 if constraints & 0x80 != 0 => 0,
        77 => 2,
        100 if constraints & 0x0c == 0x0c => 3,
        100 => 4,
        _ => 5,
    }
}

fn codec_of(map: &RtpMap<'_>) -> Option<Codec> {
    const VIDEO: &[(&str, Codec)] = &[
        ("H264", Codec::H264),
        ("H265", Codec::H265),
        ("AV1", Codec::Av1),
        // What Chromium called it before the payload format was settled.
        ("AV1X", Codec::Av1),
        ("VP8", Codec::Vp8),
        ("VP9", Codec::Vp9),
    ];
    match (map.clock, map.channels) {
        (90_000, _) => VIDEO.iter().find(|(name, _)| map.is(name)).map(|(_, codec)| *codec),
        (48_000, 2) if map.is("opus") => Some(Codec::Opus),
        (8000, 1) if map.is("PCMA") => Some(Codec::G711A),
        (8000, 1) if map.is("PCMU") => Some(Codec::G711U),
        _ => None,
    }
}

/// The payload types of a section that carry a known coding of its kind, in its order.
pub(super) fn offered(section: &MediaDescription, kind: Kind) -> Vec<Offered<'_>> {
    let mut seen = 0_u128;
    let fresh = |pt: &u8| {
        let bit = 1_u128 << (pt & 127);
        let fresh = seen & bit == 0;
        seen |= bit;
        fresh
    };
    let payload_types = section.payload_types().filter(fresh);
    let offered = payload_types.filter_map(|pt| {
        let map = section.rtpmap(pt)?;
        let codec = codec_of(&map).filter(|codec| codec.kind() == kind)?;
        Some(Offered { map, codec, fmtp: section.fmtp(pt) })
    });
    offered.collect()
}

/// The best payload type for a coding; of equals the first.
fn best<'a>(offered: &[Offered<'a>], codec: Codec, track: Option<&Track>) -> Option<Offered<'a>> {
    let fitting = offered.iter().filter(|offered| offered.codec == codec);
    let scored = fitting.filter_map(|offered| Some((offered.fit(track)?, offered)));
    // `max_by_key` gives the last of equals.
    scored.rev().max_by_key(|(fit, _)| *fit).map(|(_, offered)| *offered)
}

/// What a section is answered with, the preferred first; never empty.
pub(super) fn choose<'a>(
    section: &'a MediaDescription,
    kind: Kind,
    ask: &Ask,
) -> Result<Vec<Offered<'a>>, Refused> {
    if ask.intent == Intent::Play && kind == Kind::Video && ask.sound_alone {
        return Err(Refused::NoPictures);
    }
    let offered = offered(section, kind);
    let prefer = if kind == Kind::Audio { ask.prefer_audio } else { ask.prefer };
    let tracks = ask.available.as_deref().unwrap_or_default();
    let mut tracks: Vec<_> = tracks.iter().filter(|track| track.codec.kind() == kind).collect();
    tracks.sort_by_key(|track| track.codec != prefer);
    let mut found = Vec::new();
    if ask.intent == Intent::Play
        && let Some(first) = tracks.first()
    {
        let live = tracks.iter().find_map(|track| best(&offered, track.codec, Some(track)));
        let refused = || Refused::Codec { stream: first.codec, offered: names(section) };
        found.push(live.ok_or_else(refused)?);
    }
    let order: &[Codec] = match kind {
        Kind::Audio => &[Codec::Opus, Codec::G711A, Codec::G711U],
        _ => &[Codec::H264, Codec::H265, Codec::Av1, Codec::Vp9, Codec::Vp8],
    };
    let others = order.iter().copied().filter(|codec| *codec != prefer);
    let most = if ask.intent == Intent::Play && ask.options.several { order.len() } else { 1 };
    for codec in std::iter::once(prefer).chain(others) {
        if found.len() < most && found.iter().all(|known| known.codec != codec) {
            found.extend(best(&offered, codec, None));
        }
    }
    if found.is_empty() {
        return Err(Refused::NoCodec { offered: names(section) });
    }
    Ok(found)
}

/// Names told in a refusal, at most: a person reads it. Browsers offer six of pictures.
const MAX_NAMES: usize = 8;

/// What a section offers, for a person.
fn names(section: &MediaDescription) -> String {
    const BESIDE: &[&str] = &["rtx", "red", "ulpfec", "flexfec-03", "CN", "telephone-event"];
    let mut names: Vec<String> = Vec::new();
    for map in section.payload_types().filter_map(|pt| section.rtpmap(pt)) {
        let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let name: String = map.encoding.chars().filter(plain).take(16).collect();
        let known = names.iter().any(|known| known.eq_ignore_ascii_case(&name));
        if !name.is_empty() && !known && !BESIDE.iter().any(|beside| map.is(beside)) {
            names.push(name);
        }
        if names.len() >= MAX_NAMES {
            break;
        }
    }
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// The payload type of another's retransmissions, which have its clock (RFC 4588 §8.6).
pub(super) fn rtx_of(section: &MediaDescription, payload_type: u8) -> Option<u8> {
    let clock = section.rtpmap(payload_type).map(|map| map.clock);
    section.payload_types().find(|pt| {
        let fits = |map: RtpMap<'_>| map.is("rtx") && Some(map.clock) == clock;
        let is_rtx = section.rtpmap(*pt).is_some_and(fits);
        let apt = || section.fmtp(*pt)?.number::<u8>("apt");
        is_rtx && apt() == Some(payload_type)
    })
}

/// The payload type of RED, for sound that of Opus with this payload type.
pub(super) fn red_of(section: &MediaDescription, kind: Kind, opus: Option<u8>) -> Option<u8> {
    let clock = if kind == Kind::Audio { 48_000 } else { 90_000 };
    section.payload_types().find(|pt| {
        let is_red = section.rtpmap(*pt).is_some_and(|map| map.is("red") && map.clock == clock);
        let carries = |opus: u8| {
            let first = section.fmtp(*pt)?.raw().split('/').next()?;
            Some(first.trim().parse() == Ok(opus))
        };
        is_red && (kind == Kind::Video || opus.and_then(carries).unwrap_or(false))
    })
}

/// The payload type with this coding and the clock of pictures.
pub(super) fn fec_of(section: &MediaDescription, encoding: &str) -> Option<u8> {
    let is = |map: RtpMap<'_>| map.is(encoding) && map.clock == 90_000;
    section.payload_types().find(|pt| section.rtpmap(*pt).is_some_and(is))
}
