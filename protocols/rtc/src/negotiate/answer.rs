//! The server's side.

use media::Kind;
use rtp::sdp::{MediaDescription, MediaKind, SessionDescription, Setup};

use super::codec::{self, Offered};
use super::remote::{self, Remote};
use super::write::{self, Ssrcs, Writer};
use super::{
    Answered, Ask, Data, Direction, Extensions, Feedback, Intent, Media, NegotiateError,
    Negotiated, Payload, Refused,
};

/// Answers an offer. It is refused as a whole where nothing of it can work or the client asks for
/// the wrong thing; sections that cannot be used are answered with port 0 and their reason is in
/// [`Media::refused`](super::Media::refused).
///
/// The answer has as many sections as the offer, in its order, and names nothing but payload types
/// and header extensions that were offered.
pub fn answer(offer: &SessionDescription, ask: &Ask) -> Result<Answered, NegotiateError> {
    let bundle = check(offer, ask)?;
    let open: Vec<_> = offer.media.iter().filter(|section| bundle.has(section)).collect();
    if open.is_empty() {
        return Err(NegotiateError::EmptyBundle);
    }
    let remote = Remote::read(offer, &open, &ask.options)?;
    let setup = our_setup(remote.setup, ask.options.setup)?;
    let taken = open.iter().flat_map(|section| section.ssrcs()).map(|said| said.ssrc).collect();
    let mut ssrcs = Ssrcs::new(ask.ours.ssrc_seed, taken);

    let mut media: Vec<Media> = Vec::new();
    let mut data = None;
    for (index, section) in offer.media.iter().enumerate() {
        let kind = match section.kind {
            MediaKind::Audio => Kind::Audio,
            MediaKind::Video => Kind::Video,
            _ => {
                if data.is_none() {
                    data = data_section(section, index, ask).filter(|_| bundle.has(section));
                }
                continue;
            }
        };
        let second = media.iter().any(|media| media.kind == kind && media.refused.is_none());
        let mut negotiated = bare(section, index, kind);
        let closed = remote::direction(offer, section) == Direction::Inactive;
        let usable = if closed { Err(Refused::Closed) } else { Ok(()) };
        match usable.and_then(|()| accept(section, kind, second, &bundle, ask)) {
            Ok(chosen) => fill(&mut negotiated, section, &chosen, ask, &mut ssrcs),
            Err(why) => negotiated.refused = Some(why),
        }
        media.push(negotiated);
    }
    check_outcome(&media, data.is_some())?;

    let writer = Writer { ours: &ask.ours, options: &ask.options, setup, intent: ask.intent };
    let sdp = write_answer(offer, &writer, &media, data.as_ref(), bundle.grouped).to_string();
    let negotiated = Negotiated {
        remote_ufrag: remote.ufrag,
        remote_pwd: remote.pwd,
        fingerprint: remote.fingerprint,
        setup,
        candidates: remote.candidates,
        end_of_candidates: remote.end_of_candidates,
        remote_lite: remote.lite,
        media,
        data,
    };
    Ok(Answered { sdp, negotiated })
}

/// Which sections share the transport.
struct Bundle<'a> {
    mids: Vec<&'a str>,
    grouped: bool,
}

impl Bundle<'_> {
    /// Whether a section is open and shares the transport. One that is alone needs no group.
    fn has(&self, section: &MediaDescription) -> bool {
        is_open(section)
            && (!self.grouped || section.mid().is_some_and(|mid| self.mids.contains(&mid)))
    }
}

/// Port 0 closes a section, unless it says that only the bundle has a port (RFC 9143 §6).
fn is_open(section: &MediaDescription) -> bool {
    section.port != 0 || section.attributes.has("bundle-only")
}

/// The checks of SRS, each section on its own.
fn check<'a>(offer: &'a SessionDescription, ask: &Ask) -> Result<Bundle<'a>, NegotiateError> {
    if offer.media.is_empty() {
        return Err(NegotiateError::NoMedia);
    }
    let mut open: usize = 0;
    for (index, section) in offer.media.iter().enumerate().filter(|(_, media)| is_open(media)) {
        open = open.saturating_add(1);
        match &section.kind {
            MediaKind::Audio | MediaKind::Video => {}
            MediaKind::Application => continue,
            MediaKind::Other(kind) => {
                let kind = kind.chars().take(32).collect();
                return Err(NegotiateError::OtherSection { index, kind });
            }
        }
        let direction = remote::direction(offer, section);
        if direction == Direction::Inactive {
            continue;
        }
        remote::check_section(section, index, &ask.options)?;
        remote::check_direction(direction, index, ask.intent)?;
    }
    let mids = offer.bundle();
    if mids.is_none() && open > 1 {
        return Err(NegotiateError::NoBundle);
    }
    Ok(Bundle { grouped: mids.is_some(), mids: mids.unwrap_or_default() })
}

fn our_setup(offered: Option<Setup>, wish: Setup) -> Result<Setup, NegotiateError> {
    match (offered.unwrap_or(Setup::ActPass), wish) {
        (Setup::ActPass, Setup::Active) | (Setup::Passive, _) => Ok(Setup::Active),
        (Setup::ActPass | Setup::Active, _) => Ok(Setup::Passive),
        (Setup::HoldConn, _) => Err(NegotiateError::Setup("holdconn")),
    }
}

fn accept<'a>(
    section: &'a MediaDescription,
    kind: Kind,
    second: bool,
    bundle: &Bundle<'_>,
    ask: &Ask,
) -> Result<Vec<Offered<'a>>, Refused> {
    if !is_open(section) {
        return Err(Refused::Closed);
    }
    if !bundle.has(section) {
        return Err(Refused::NotBundled);
    }
    if second {
        return Err(Refused::Second(if kind == Kind::Audio { "audio" } else { "video" }));
    }
    codec::choose(section, kind, ask)
}

/// A section of which nothing is agreed on yet.
pub(super) fn bare(section: &MediaDescription, index: usize, kind: Kind) -> Media {
    Media {
        kind,
        mid: section.mid().unwrap_or_default().to_owned(),
        index,
        direction: Direction::Inactive,
        payloads: Vec::new(),
        red: None,
        ulpfec: None,
        flexfec: None,
        extensions: Extensions::default(),
        rtcp_rsize: false,
        remote: Vec::new(),
        sim: Vec::new(),
        rids: Vec::new(),
        ssrc: None,
        rtx_ssrc: None,
        fec_ssrc: None,
        refused: None,
    }
}

fn fill(
    media: &mut Media,
    section: &MediaDescription,
    chosen: &[Offered<'_>],
    ask: &Ask,
    ssrcs: &mut Ssrcs,
) {
    let (options, kind) = (&ask.options, media.kind);
    let publish = ask.intent == Intent::Publish;
    media.direction = ask.intent.direction();
    media.rtcp_rsize = section.attributes.has("rtcp-rsize");
    media.extensions = Extensions::read(section, kind, publish, options);
    let twcc = media.extensions.twcc.is_some();
    for offered in chosen {
        let pt = offered.map.payload_type;
        let feedback = Feedback::read(section, pt, twcc, options);
        let rtx = codec::rtx_of(section, pt).filter(|_| options.rtx && feedback.nack);
        media.payloads.push(Payload {
            pt,
            codec: offered.codec,
            clock: offered.map.clock,
            channels: offered.map.channels,
            h264: offered.h264(),
            fmtp: offered.answer_fmtp(ask.intent, options.stereo),
            rtx,
            feedback,
        });
    }
    let first = media.payloads.first().map_or(0, |payload| payload.pt);
    if publish {
        (media.remote, media.sim) = remote::sources(section);
        media.extensions.playout_delay = None;
        let can = options.simulcast && kind == Kind::Video && media.extensions.rid.is_some();
        if can {
            media.rids = remote::layers(section, first);
        }
    }
    if media.rids.is_empty() {
        media.extensions.rid = None;
        media.extensions.repaired_rid = None;
    }
    redundancy(media, section, ask);
    if media.direction.sends() {
        media.ssrc = Some(ssrcs.next());
        let rtx = media.payloads.iter().any(|payload| payload.rtx.is_some());
        media.rtx_ssrc = rtx.then(|| ssrcs.next());
        media.fec_ssrc = media.flexfec.map(|_| ssrcs.next());
    }
}

fn redundancy(media: &mut Media, section: &MediaDescription, ask: &Ask) {
    match media.kind {
        Kind::Audio => {
            let opus = media.payload(media::Codec::Opus).map(|payload| payload.pt);
            let red = || codec::red_of(section, Kind::Audio, opus);
            media.red = ask.options.red.then(red).flatten();
        }
        _ if ask.options.fec => {
            let red = codec::red_of(section, Kind::Video, None);
            let ulpfec = codec::fec_of(section, "ulpfec");
            // ULPFEC shares the numbers of the pictures' packets, hence needs RED around both.
            if let Some((red, ulpfec)) = red.zip(ulpfec) {
                (media.red, media.ulpfec) = (Some(red), Some(ulpfec));
            } else {
                media.flexfec = codec::fec_of(section, "flexfec-03");
            }
        }
        _ => {}
    }
}

/// The data channels of a section, if they are of today's form (RFC 8841) and wanted.
fn data_section(section: &MediaDescription, index: usize, ask: &Ask) -> Option<Data> {
    let channels = section.formats.first().is_some_and(|format| format == "webrtc-datachannel");
    let today = section.protocol.ends_with("DTLS/SCTP") && channels;
    (ask.options.data && ask.options.dtls && today).then(|| Data {
        mid: section.mid().unwrap_or_default().to_owned(),
        index,
        sctp_port: section.sctp_port(),
        max_message_size: section.max_message_size(),
    })
}

/// Something has to be left: media, if media were offered.
fn check_outcome(media: &[Media], data: bool) -> Result<(), NegotiateError> {
    if media.iter().any(|media| media.refused.is_none()) {
        return Ok(());
    }
    match media.iter().find_map(|media| media.refused.as_ref()) {
        Some(why) => Err(NegotiateError::Nothing(why.clone())),
        None if data => Ok(()),
        None => Err(NegotiateError::Nothing(Refused::Data)),
    }
}

fn write_answer(
    offer: &SessionDescription,
    writer: &Writer<'_>,
    media: &[Media],
    data: Option<&Data>,
    grouped: bool,
) -> SessionDescription {
    let mut mids = Vec::new();
    let mut sections = Vec::new();
    for (index, offered) in offer.media.iter().enumerate() {
        let negotiated = media.iter().find(|media| media.index == index);
        let channels = data.filter(|data| data.index == index);
        let (section, open) = match (negotiated, channels) {
            (Some(media), _) => match &media.refused {
                Some(why) => (write::refused(offered, &why.to_string()), false),
                None => (writer.media(media, &offered.protocol, Some(offered)), true),
            },
            (None, Some(data)) => {
                (writer.data(&data.mid, &offered.protocol, "webrtc-datachannel"), true)
            }
            (None, None) => (write::refused(offered, &Refused::Data.to_string()), false),
        };
        if let Some(mid) = offered.mid().filter(|_| open && grouped) {
            mids.push(mid);
        }
        sections.push(section);
    }
    let mut answer = writer.session(writer.options.ice_lite, &mids);
    answer.media = sections;
    answer
}
