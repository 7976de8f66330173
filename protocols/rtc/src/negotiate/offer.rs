//! Our own client's offer, and how it takes the answer.

use media::{Codec, Kind};
use rtp::sdp::{MediaDescription, MediaKind, SessionDescription, Setup};

use super::codec;
use super::remote::{self, Remote};
use super::write::{Ssrcs, Writer};
use super::{
    Data, Direction, Extensions, Feedback, H264Format, Intent, Layer, Media, NegotiateError,
    Negotiated, Options, Ours, Payload, Refused,
};

/// What our client would do.
#[derive(Clone, Debug)]
pub struct OfferAsk {
    /// Publish or play, seen from us.
    pub intent: Intent,
    /// Codings of sound, the preferred first; empty for no section of sound.
    pub audio: Vec<Codec>,
    /// Codings of pictures, the preferred first; empty for no section of pictures.
    pub video: Vec<Codec>,
    /// The names of simulcast streams of the picture we publish, best first; empty for just one
    /// stream, whose number is told. At most [`MAX_RIDS`](super::MAX_RIDS) are offered.
    pub rids: Vec<String>,
    /// Whether a section of data channels is offered.
    pub data: bool,
    /// What we bring.
    pub ours: Ours,
    /// What may be agreed on. `ice_lite` and `setup` are not used: a client makes the checks and
    /// offers `actpass`.
    pub options: Options,
}

/// The numbers Chromium gives, so that traces look familiar: coding, payload type, its RTX.
const NUMBERS: &[(Codec, u8, Option<u8>, &str)] = &[
    (Codec::Opus, 111, None, "minptime=10;useinbandfec=1"),
    (Codec::G711U, 0, None, ""),
    (Codec::G711A, 8, None, ""),
    (
        Codec::H264,
        102,
        Some(103),
        "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    ),
    (Codec::H265, 49, Some(50), "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST"),
    (Codec::Av1, 45, Some(46), "level-idx=5;profile=0;tier=0"),
    (Codec::Vp8, 96, Some(97), ""),
    (Codec::Vp9, 98, Some(99), "profile-id=0"),
];

const RED_OPUS: u8 = 63;
const RED_VIDEO: u8 = 114;
const ULPFEC: u8 = 116;

/// The description to send; keep it for [`accept_answer`].
///
/// Codings that WebRTC has no payload type for are left out; a section of which none is left, too.
pub fn offer(ask: &OfferAsk) -> SessionDescription {
    const PROTOCOL: &str = "UDP/TLS/RTP/SAVPF";
    let writer = Writer {
        ours: &ask.ours,
        options: &ask.options,
        setup: Setup::ActPass,
        intent: ask.intent,
    };
    let mut ssrcs = Ssrcs::new(ask.ours.ssrc_seed, Vec::new());
    let mut media = Vec::new();
    for (kind, codecs) in [(Kind::Audio, &ask.audio), (Kind::Video, &ask.video)] {
        let section = section(ask, kind, codecs, media.len(), &mut ssrcs);
        media.extend(section);
    }
    let mut mids: Vec<_> = media.iter().map(|media| media.mid.clone()).collect();
    let data = ask.data.then(|| mids.len().to_string());
    mids.extend(data.clone());
    let mids: Vec<_> = mids.iter().map(String::as_str).collect();
    let mut description = writer.session(false, &mids);
    description.media = media.iter().map(|media| writer.media(media, PROTOCOL, None)).collect();
    description
        .media
        .extend(data.map(|mid| writer.data(&mid, "UDP/DTLS/SCTP", "webrtc-datachannel")));
    description
}

fn section(
    ask: &OfferAsk,
    kind: Kind,
    codecs: &[Codec],
    index: usize,
    ssrcs: &mut Ssrcs,
) -> Option<Media> {
    let options = &ask.options;
    let mut payloads: Vec<Payload> = Vec::new();
    for codec in codecs.iter().filter(|codec| codec.kind() == kind) {
        let known = NUMBERS.iter().find(|(known, ..)| known == codec);
        let fresh = payloads.iter().all(|payload| payload.codec != *codec);
        payloads.extend(known.filter(|_| fresh).map(|known| payload(*known, kind, options)));
    }
    if payloads.is_empty() {
        return None;
    }
    let publish = ask.intent == Intent::Publish;
    let opus = payloads.iter().any(|payload| payload.codec == Codec::Opus);
    let fec = options.fec && kind == Kind::Video;
    let rids: Vec<_> = ask.rids.iter().take(super::MAX_RIDS).collect();
    let simulcast = publish && options.simulcast && kind == Kind::Video && !rids.is_empty();
    let numbered = publish && !simulcast;
    let rtx = payloads.iter().any(|payload| payload.rtx.is_some());
    Some(Media {
        kind,
        mid: index.to_string(),
        index,
        direction: if publish { Direction::SendOnly } else { Direction::RecvOnly },
        payloads,
        red: match kind {
            Kind::Audio => (options.red && opus).then_some(RED_OPUS),
            _ => fec.then_some(RED_VIDEO),
        },
        ulpfec: fec.then_some(ULPFEC),
        flexfec: None,
        extensions: extensions(kind, publish, simulcast, options),
        rtcp_rsize: true,
        remote: Vec::new(),
        sim: Vec::new(),
        rids: if simulcast {
            let layer = |rid: &String| Layer { rid: rid.clone(), ..Layer::default() };
            rids.into_iter().map(layer).collect()
        } else {
            Vec::new()
        },
        ssrc: numbered.then(|| ssrcs.next()),
        rtx_ssrc: (numbered && rtx).then(|| ssrcs.next()),
        fec_ssrc: None,
        refused: None,
    })
}

fn payload(
    (codec, pt, rtx, fmtp): (Codec, u8, Option<u8>, &str),
    kind: Kind,
    options: &Options,
) -> Payload {
    let video = kind == Kind::Video;
    let stereo = if codec == Codec::Opus && options.stereo { ";stereo=1" } else { "" };
    Payload {
        pt,
        codec,
        clock: match codec {
            Codec::Opus => 48_000,
            _ if video => 90_000,
            _ => 8000,
        },
        channels: if codec == Codec::Opus { 2 } else { 1 },
        h264: (codec == Codec::H264).then_some(H264Format {
            profile_level_id: 0x42_e01f,
            packetization_mode: 1,
            level_asymmetry: true,
        }),
        fmtp: format!("{fmtp}{stereo}"),
        rtx: rtx.filter(|_| options.rtx && options.nack),
        feedback: Feedback {
            nack: options.nack && video,
            pli: video,
            fir: video,
            remb: options.remb && video,
            twcc: options.twcc,
        },
    }
}

fn extensions(kind: Kind, publish: bool, simulcast: bool, options: &Options) -> Extensions {
    Extensions {
        mid: Some(4),
        rid: simulcast.then_some(10),
        repaired_rid: simulcast.then_some(11),
        twcc: options.twcc.then_some(3),
        abs_send_time: options.remb.then_some(2),
        audio_level: (kind == Kind::Audio).then_some(1),
        playout_delay: (options.low_latency && !publish && kind == Kind::Video).then_some(5),
    }
}

/// What holds when `answer` came for `offered`, which [`offer`] made from `ask`. Directions and
/// numbers of sources are seen from us.
pub fn accept_answer(
    ask: &OfferAsk,
    offered: &SessionDescription,
    answer: &SessionDescription,
) -> Result<Negotiated, NegotiateError> {
    if offered.media.len() != answer.media.len() {
        return Err(NegotiateError::Answer("it has another number of sections"));
    }
    let open: Vec<_> = answer.media.iter().filter(|section| section.port != 0).collect();
    let remote = Remote::read(answer, &open, &ask.options)?;
    let setup = match remote.setup.unwrap_or(Setup::Active) {
        Setup::Active => Setup::Passive,
        Setup::Passive => Setup::Active,
        other => return Err(NegotiateError::Setup(other.as_str())),
    };
    let mut media = Vec::new();
    let mut data = None;
    for (index, (ours, theirs)) in offered.media.iter().zip(&answer.media).enumerate() {
        if ours.kind != theirs.kind {
            return Err(NegotiateError::Answer("its sections are in another order"));
        }
        if theirs.mid().is_some_and(|mid| ours.mid() != Some(mid)) {
            return Err(NegotiateError::Answer("its sections have other names"));
        }
        match ours.kind {
            MediaKind::Audio => {
                media.push(take(ask, answer, (ours, theirs), index, Kind::Audio)?);
            }
            MediaKind::Video => {
                media.push(take(ask, answer, (ours, theirs), index, Kind::Video)?);
            }
            _ if theirs.port != 0 => {
                data = Some(Data {
                    mid: ours.mid().unwrap_or_default().to_owned(),
                    index,
                    sctp_port: theirs.sctp_port(),
                    max_message_size: theirs.max_message_size(),
                });
            }
            _ => {}
        }
    }
    Ok(Negotiated {
        remote_ufrag: remote.ufrag,
        remote_pwd: remote.pwd,
        fingerprint: remote.fingerprint,
        setup,
        candidates: remote.candidates,
        end_of_candidates: remote.end_of_candidates,
        remote_lite: remote.lite,
        media,
        data,
    })
}

fn take(
    ask: &OfferAsk,
    answer: &SessionDescription,
    (ours, theirs): (&MediaDescription, &MediaDescription),
    index: usize,
    kind: Kind,
) -> Result<Media, NegotiateError> {
    let mut media = super::answer::bare(ours, index, kind);
    let theirs_to = remote::direction(answer, theirs);
    if theirs.port == 0 || theirs_to == Direction::Inactive {
        media.refused = Some(Refused::ByPeer);
        return Ok(media);
    }
    remote::check_section(theirs, index, &ask.options)?;
    let publish = ask.intent == Intent::Publish;
    // Where we publish they receive: as if they asked us to play.
    let asked = if publish { Intent::Play } else { Intent::Publish };
    remote::check_direction(theirs_to, index, asked)?;
    media.direction = if publish { Direction::SendOnly } else { Direction::RecvOnly };
    media.rtcp_rsize = theirs.attributes.has("rtcp-rsize");
    media.extensions = Extensions::read(theirs, kind, !publish, &ask.options);
    let known: Vec<_> = codec::offered(ours, kind);
    for chosen in codec::offered(theirs, kind) {
        let pt = chosen.map.payload_type;
        let same = |known: &codec::Offered<'_>| {
            known.map.payload_type == pt && known.codec == chosen.codec
        };
        if !known.iter().any(same) {
            continue;
        }
        let feedback = Feedback::read(theirs, pt, media.extensions.twcc.is_some(), &ask.options);
        media.payloads.push(Payload {
            pt,
            codec: chosen.codec,
            clock: chosen.map.clock,
            channels: chosen.map.channels,
            h264: chosen.h264(),
            fmtp: chosen.fmtp.map(|fmtp| fmtp.raw().to_owned()).unwrap_or_default(),
            rtx: codec::rtx_of(theirs, pt),
            feedback,
        });
    }
    if media.payloads.is_empty() {
        return Err(NegotiateError::Answer("it names no payload type that was offered"));
    }
    let opus = media.payload(Codec::Opus).map(|payload| payload.pt);
    media.red = codec::red_of(theirs, kind, opus);
    if kind == Kind::Video {
        media.ulpfec = codec::fec_of(theirs, "ulpfec");
        media.flexfec = codec::fec_of(theirs, "flexfec-03");
    }
    if publish {
        let (sources, _) = remote::sources(ours);
        media.ssrc = sources.first().map(|source| source.ssrc);
        let rtx = media.payloads.iter().any(|payload| payload.rtx.is_some());
        media.rtx_ssrc = sources.first().and_then(|source| source.rtx).filter(|_| rtx);
        media.rids = remote::taken_layers(ours, theirs);
    } else {
        (media.remote, media.sim) = remote::sources(theirs);
    }
    Ok(media)
}
