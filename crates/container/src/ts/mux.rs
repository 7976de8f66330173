//! Frames to packets.

use media::{Codec, Flags, Frame, Kind};

use super::elementary::{AudioSetup, VideoSetup};
use super::packet::{Pcr, PesHeader, PesWriter, write_pcr};
use super::psi::{self, Carriage, Declared, carriage};
use super::{PACKET, PCR_INTERVAL_MAX, PID_VIDEO};

/// Distance of the PCRs that fill a gap: 90 ms, so that rounding keeps them under 100.
const PCR_FILL: i64 = 8_100;

/// A pause of more than this (5 s) is not filled with PCRs: the sender was silent, and what
/// would be written could not arrive in time anyway.
const PCR_FILL_MAX: i64 = 450_000;

/// A clock that steps back by more than this (1 s) starts a new time base; less is the
/// interleaving of the tracks.
const CLOCK_STEP_BACK: i64 = 90_000;

/// Equal decoding times, or ones that go back by no more than this (10 ms), are moved one tick
/// behind the one before; larger steps are a new timeline and stay.
const DTS_MEND: i64 = 900;

/// How long a guessed track that does not show up stays in the map: 1 s. Encoders send their
/// second track within some frames; a phantom track makes players wait for as long as it stays.
const GUESS_SPAN: i64 = 90_000;

/// Without video there are no key frames to join at; the tables are repeated at this interval
/// (0.5 s, the longest that ETSI TS 101 154 allows).
const PSI_INTERVAL: i64 = 45_000;

/// Batched audio is written out before it exceeds this: an audio PES packet must say its length,
/// which has 16 bits.
const BATCH_MAX: usize = 60_000;

/// Largest audio payload of one PES packet: the length field without the longest header.
const AUDIO_MAX: usize = 65_535 - 13;

/// How a [`Muxer`] is to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TsConfig {
    /// The video track to declare before one is known; `None` declares none.
    pub video: Option<Codec>,
    /// The audio track to declare before one is known; `None` declares none.
    pub audio: Option<Codec>,
    /// Microseconds of AAC or MP3 that are put into one PES packet while there is no video; 0
    /// writes each frame at once, which is what a live stream wants.
    pub audio_batch_us: u32,
}

impl Default for TsConfig {
    /// H.264 and AAC, nothing held back.
    fn default() -> Self {
        Self { video: Some(Codec::H264), audio: Some(Codec::Aac), audio_batch_us: 0 }
    }
}

/// Why a frame did not get into the stream. The muxer goes on; the caller may log a reason that
/// differs from the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeftOut {
    /// A transport stream has no agreed place for this coding.
    #[error("{0} cannot be carried in MPEG-TS")]
    Codec(Codec),
    /// Only the main track of each kind is carried.
    #[error("track {0} is not carried, only the main one")]
    Track(u8),
    /// Media came before the configuration that it needs.
    #[error("{0} frame before its configuration")]
    NoConfiguration(Codec),
    /// The configuration cannot be read or cannot be expressed.
    #[error("bad {0} configuration")]
    BadConfiguration(Codec),
    /// The lengths inside the payload do not fit it.
    #[error("bad {0} frame")]
    BadFrame(Codec),
    /// More audio than a PES packet holds.
    #[error("audio frame of {bytes} bytes does not fit a PES packet")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// What the last PAT and PMT declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Listing {
    video: Option<Listed>,
    audio: Option<Listed>,
    pcr_pid: u16,
    version: u8,
}

impl Listing {
    /// The tables read the same, whatever is a guess in them.
    fn says(&self, other: &Self) -> bool {
        let declared = |track: Option<Listed>| track.map(|track| track.declared);
        self.pcr_pid == other.pcr_pid
            && declared(self.video) == declared(other.video)
            && declared(self.audio) == declared(other.audio)
    }

    /// A track was declared that had not shown up.
    pub fn is_guess(&self) -> bool {
        [self.video, self.audio].into_iter().flatten().any(|track| !track.real)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listed {
    declared: Declared,
    real: bool,
}

/// One of the two tracks.
#[derive(Debug)]
struct Lane<S> {
    guess: Option<Codec>,
    /// What is known to come: configured, or seen.
    carried: Option<(Codec, Carriage)>,
    setup: S,
    last_dts: Option<i64>,
}

impl<S: Default> Lane<S> {
    fn new(guess: Option<Codec>, kind: Kind) -> Self {
        let guess = guess.filter(|codec| codec.kind() == kind && carriage(*codec).is_some());
        Self { guess, carried: None, setup: S::default(), last_dts: None }
    }

    /// Notes that the track is `codec`.
    fn adopt(&mut self, codec: Codec) -> Result<Carriage, LeftOut> {
        self.guess = None;
        match self.carried {
            Some((known, carriage)) if known == codec => Ok(carriage),
            _ => {
                self.setup = S::default();
                self.last_dts = None;
                self.carried = carriage(codec).map(|carriage| (codec, carriage));
                self.carried.map(|(_, carriage)| carriage).ok_or(LeftOut::Codec(codec))
            }
        }
    }

    fn knows(&self, codec: Codec) -> bool {
        self.carried.is_some_and(|(known, _)| known == codec)
    }

    /// PTS and DTS to write, in order and legal.
    fn place(&mut self, frame: &Frame) -> (i64, i64) {
        let mut dts = frame.dts.as_90k();
        if frame.flags.contains(Flags::DISCONTINUITY) {
            self.last_dts = None;
        }
        if let Some(last) = self.last_dts
            && dts <= last
            && last.saturating_sub(dts) <= DTS_MEND
        {
            dts = last.saturating_add(1);
        }
        self.last_dts = Some(dts);
        (frame.pts.as_90k().max(dts), dts)
    }
}

/// Audio that waits to be written as one PES packet.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    pts: i64,
}

/// Turns the frames of one stream into transport packets.
///
/// Each [`push`](Self::push) appends whole packets, so the output may be cut wherever a push
/// began. PAT and PMT stand before the first packet, before each key frame and wherever the
/// tracks change, so a reader may begin at any key frame. Only with
/// [`TsConfig::audio_batch_us`] does the muxer keep media from one push to the next; then
/// [`flush`](Self::flush) brings it out.
///
/// Cost: each payload is copied once, into the caller's buffer; nothing is allocated per frame
/// once that buffer has grown.
#[derive(Debug)]
pub struct Muxer {
    video: Lane<VideoSetup>,
    audio: Lane<AudioSetup>,
    batch: Batch,
    /// Ticks that a batch may span; 0 for none.
    batch_span: i64,
    listing: Option<Listing>,
    /// The tables were written on request and nothing has followed them.
    fresh: bool,
    /// The tables are to stand before the next media.
    lead: bool,
    last_psi: i64,
    pat_cc: u8,
    pmt_cc: u8,
    /// Continuity counters of the PIDs from 0x100 on.
    cc: [u8; 8],
    last_pcr: Option<i64>,
    /// Decoding time of the first media, from which the age of a guess counts.
    first_dts: Option<i64>,
}

impl Muxer {
    /// A muxer that has written nothing.
    pub fn new(config: TsConfig) -> Self {
        Self {
            video: Lane::new(config.video, Kind::Video),
            audio: Lane::new(config.audio, Kind::Audio),
            batch: Batch::default(),
            batch_span: i64::from(config.audio_batch_us).saturating_mul(9) / 100,
            listing: None,
            fresh: false,
            lead: false,
            last_psi: 0,
            pat_cc: 0,
            pmt_cc: 0,
            cc: [0; 8],
            last_pcr: None,
            first_dts: None,
        }
    }

    /// A muxer for other tracks on the same wire: its packets go on where `before` stopped
    /// counting, and new tables stand in front of them.
    pub fn follow(config: TsConfig, before: &Self) -> Self {
        Self {
            listing: before.listing,
            lead: true,
            pat_cc: before.pat_cc,
            pmt_cc: before.pmt_cc,
            cc: before.cc,
            ..Self::new(config)
        }
    }

    /// Appends the packets of one frame to `out`; configurations are noted and write nothing.
    ///
    /// Data tracks are passed over. The payload is copied once.
    ///
    /// # Errors
    /// The frame is left out, `out` is as it was or has only whole packets more, and the next
    /// frame may be pushed. All are faults of the publisher or limits of the container.
    pub fn push(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Result<(), LeftOut> {
        let kind = frame.kind();
        if kind == Kind::Data || frame.flags.contains(Flags::END) {
            return Ok(());
        }
        if frame.track != 0 {
            return Err(LeftOut::Track(frame.track));
        }
        let known = match kind {
            Kind::Video => self.video.carried,
            _ => self.audio.carried,
        };
        let carries = psi::carriage(frame.codec).is_some();
        if known.is_some_and(|(codec, _)| codec != frame.codec) || (kind == Kind::Video && carries)
        {
            self.flush(out);
        }
        let carriage = match kind {
            Kind::Video => self.video.adopt(frame.codec)?,
            _ => self.audio.adopt(frame.codec)?,
        };
        if frame.is_config() {
            let bad = LeftOut::BadConfiguration(frame.codec);
            return match kind {
                Kind::Video => self.video.setup.configure(frame.codec, &frame.payload),
                _ => self.audio.setup.configure(frame.codec, &frame.payload),
            }
            .ok_or(bad);
        }
        if frame.flags.contains(Flags::DISCONTINUITY) {
            self.flush(out);
        }
        match kind {
            Kind::Video => self.push_video(frame, carriage, out),
            _ => self.push_audio(frame, carriage, out),
        }
    }

    /// Whether [`push`](Self::push) would write the frame, as far as that can be told without
    /// reading its payload: for those who decide something by a frame before they push it.
    ///
    /// # Errors
    /// Those of `push` for which it would be left out.
    pub fn ready(&self, frame: &Frame) -> Result<(), LeftOut> {
        if frame.kind() == Kind::Data || frame.flags.contains(Flags::END) {
            return Ok(());
        }
        if frame.track != 0 {
            return Err(LeftOut::Track(frame.track));
        }
        if carriage(frame.codec).is_none() {
            return Err(LeftOut::Codec(frame.codec));
        }
        let configured = match frame.codec {
            Codec::H264 | Codec::H265 => {
                self.video.knows(frame.codec) && self.video.setup.is_configured()
            }
            Codec::Aac => self.audio.knows(frame.codec) && self.audio.setup.is_configured(),
            _ => true,
        };
        if configured || frame.is_config() {
            return Ok(());
        }
        Err(LeftOut::NoConfiguration(frame.codec))
    }

    /// Appends PAT and PMT now. A key frame that comes next does not repeat them.
    pub fn psi(&mut self, out: &mut Vec<u8>) {
        let listing = self.next_listing();
        psi::write_pat(out, &mut self.pat_cc);
        write_pmt(out, &mut self.pmt_cc, &listing);
        self.listing = Some(listing);
        self.fresh = true;
        self.lead = false;
    }

    /// Appends the PAT and PMT that [`psi`](Self::psi) would write now, for one reader alone: what
    /// all others get, its counters too, stays as it would have been.
    pub fn preview(&self, out: &mut Vec<u8>) {
        let (mut pat_cc, mut pmt_cc) = (self.pat_cc, self.pmt_cc);
        psi::write_pat(out, &mut pat_cc);
        write_pmt(out, &mut pmt_cc, &self.next_listing());
    }

    fn next_listing(&self) -> Listing {
        let mut listing = self.wanted();
        listing.version = match self.listing {
            Some(last) if last.says(&listing) => last.version,
            Some(last) => last.version.wrapping_add(1) & 0x1f,
            None => 0,
        };
        listing
    }

    /// Lets the next media written be preceded by PAT and PMT, key frame or not: a segment
    /// starts with it. Unlike [`psi`](Self::psi) this knows what that media is.
    pub fn lead(&mut self) {
        self.lead = true;
    }

    /// Writes out batched audio; does nothing when there is none.
    pub fn flush(&mut self, out: &mut Vec<u8>) {
        if self.batch.bytes.is_empty() {
            return;
        }
        let Some((_, carriage)) = self.audio.carried else { return };
        let bytes = std::mem::take(&mut self.batch.bytes);
        let pts = self.batch.pts;
        self.write_audio(carriage, pts, pts, &[], &bytes, out);
        self.batch.bytes = bytes;
        self.batch.bytes.clear();
    }

    /// What PAT and PMT last declared, to be given to [`relist`](Self::relist).
    pub fn listing(&self) -> Listing {
        self.listing.unwrap_or_default()
    }

    /// Corrects the PMTs in `packets`, the first of which is `listing` and declared tracks by
    /// guess, now that it is known which came.
    ///
    /// `packets` begin on a packet border, as [`push`](Self::push) and [`psi`](Self::psi) wrote
    /// them. Does nothing when there was no guess or the tracks changed otherwise.
    pub fn relist(&self, listing: Listing, packets: &mut [u8]) {
        let mut now = self.wanted();
        let kept = |was: Option<Listed>, is: Option<Listed>| match was {
            Some(was) if was.real => is.is_some_and(|is| is.declared == was.declared),
            _ => true,
        };
        if !listing.is_guess()
            || listing.pcr_pid != now.pcr_pid
            || !kept(listing.video, now.video)
            || !kept(listing.audio, now.audio)
        {
            return;
        }
        now.version = listing.version;
        let mut fresh = Vec::with_capacity(PACKET);
        for packet in packets.chunks_exact_mut(PACKET) {
            let Some(&[_, 0x50, 0x01, mut cc]) = packet.first_chunk::<4>() else { continue };
            fresh.clear();
            write_pmt(&mut fresh, &mut cc, &now);
            packet.copy_from_slice(&fresh);
        }
    }

    /// What the tables should declare now; the version is not set.
    fn wanted(&self) -> Listing {
        let listed = |carried: Option<(Codec, Carriage)>, guess: Option<Codec>, channels| {
            let real = carried.is_some();
            let codec = carried.map(|(codec, _)| codec).or(guess)?;
            Some(Listed { declared: Declared { codec, channels }, real })
        };
        let video = listed(self.video.carried, self.video.guess, 0);
        let audio = listed(self.audio.carried, self.audio.guess, self.audio.setup.channels());
        let pcr_pid = match (video, audio) {
            (Some(_), None) | (Some(Listed { real: true, .. }), _) => PID_VIDEO,
            (Some(_), Some(Listed { real: false, .. })) => PID_VIDEO,
            (_, Some(audio)) => carriage(audio.declared.codec).map_or(0x1fff, |c| c.pid),
            (None, None) => 0x1fff,
        };
        Listing { video, audio, pcr_pid, version: 0 }
    }

    /// Forgets guesses that have not come true for long enough.
    fn age_guesses(&mut self, dts: i64) {
        let first = *self.first_dts.get_or_insert(dts);
        if dts.saturating_sub(first).saturating_abs() >= GUESS_SPAN {
            self.video.guess = None;
            self.audio.guess = None;
        }
    }

    /// Writes the tables if they are due before media of decoding time `dts`.
    fn tables_before(&mut self, key: bool, dts: i64, out: &mut Vec<u8>) {
        self.age_guesses(dts);
        let wanted = self.wanted();
        let stale = self.listing.is_none_or(|last| !last.says(&wanted));
        let lapsed = self.video.carried.is_none()
            && dts.saturating_sub(self.last_psi).saturating_abs() >= PSI_INTERVAL;
        if stale || ((key || lapsed || self.lead) && !self.fresh) {
            self.psi(out);
        }
        if self.fresh {
            self.last_psi = dts;
        }
        self.fresh = false;
    }

    /// Keeps the clock running up to media of decoding time `ticks`.
    ///
    /// Writes the PCRs that are missing, and returns the one that the media's own packet is to
    /// have if it `carries` the clock.
    fn clock(&mut self, ticks: i64, carries: bool, out: &mut Vec<u8>) -> Option<Pcr> {
        let pid = self.listing.map_or(0x1fff, |listing| listing.pcr_pid);
        let next = self.cc.get(slot(pid)).copied().unwrap_or(0);
        let gap = self.last_pcr.map(|last| ticks.saturating_sub(last));
        let discontinuity =
            gap.is_some_and(|gap| !(-CLOCK_STEP_BACK..=PCR_FILL_MAX).contains(&gap));
        let Some(mut last) = self.last_pcr.filter(|_| !discontinuity) else {
            self.last_pcr = Some(ticks);
            let pcr = Pcr { ticks, discontinuity };
            if carries {
                return Some(pcr);
            }
            write_pcr(out, pid, next, pcr);
            return None;
        };
        while ticks.saturating_sub(last) > PCR_INTERVAL_MAX {
            last = last.saturating_add(PCR_FILL);
            write_pcr(out, pid, next, Pcr { ticks: last, discontinuity: false });
        }
        let here = carries && ticks >= last;
        self.last_pcr = Some(if here { ticks } else { last });
        here.then_some(Pcr { ticks, discontinuity: false })
    }

    fn push_video(
        &mut self,
        frame: &Frame,
        carriage: Carriage,
        out: &mut Vec<u8>,
    ) -> Result<(), LeftOut> {
        let Some(plan) = self.video.setup.plan(frame)? else { return Ok(()) };
        let (pts, dts) = self.video.place(frame);
        self.tables_before(frame.is_key(), dts, out);
        let pcr = self.clock(dts, true, out);
        let header = PesHeader {
            pid: carriage.pid,
            stream_id: carriage.stream_id,
            pts,
            dts,
            pcr,
            random_access: frame.is_key(),
            body: plan.size,
        };
        let Some(cc) = self.cc.get_mut(slot(carriage.pid)) else { return Ok(()) };
        let mut pes = PesWriter::begin(out, cc, &header);
        self.video.setup.write(frame, plan, |bytes| pes.write(bytes));
        pes.finish();
        Ok(())
    }

    fn push_audio(
        &mut self,
        frame: &Frame,
        carriage: Carriage,
        out: &mut Vec<u8>,
    ) -> Result<(), LeftOut> {
        let bytes = frame.payload.len();
        if bytes == 0 {
            return Ok(());
        }
        if bytes > AUDIO_MAX - 600 {
            return Err(LeftOut::TooLarge { bytes });
        }
        let head = self.audio.setup.head(frame.codec, bytes)?;
        let (pts, dts) = self.audio.place(frame);
        let batched = self.batch_span > 0
            && self.video.carried.is_none()
            && matches!(frame.codec, Codec::Aac | Codec::Mp3);
        if !batched {
            self.flush(out);
            self.write_audio(carriage, pts, dts, &head, &frame.payload, out);
            return Ok(());
        }
        let full = self.batch.bytes.len().saturating_add(bytes) > BATCH_MAX;
        let age = dts.saturating_sub(self.batch.pts);
        if full || age < 0 || age >= self.batch_span.saturating_mul(2) {
            self.flush(out);
        }
        if self.batch.bytes.is_empty() {
            self.batch.pts = dts;
        }
        self.batch.bytes.extend_from_slice(&head);
        self.batch.bytes.extend_from_slice(&frame.payload);
        if dts.saturating_sub(self.batch.pts) >= self.batch_span {
            self.flush(out);
        }
        Ok(())
    }

    fn write_audio(
        &mut self,
        carriage: Carriage,
        pts: i64,
        dts: i64,
        head: &[u8],
        body: &[u8],
        out: &mut Vec<u8>,
    ) {
        let alone = self.video.carried.is_none();
        self.tables_before(false, dts, out);
        let pcr = self.clock(dts, alone, out);
        let header = PesHeader {
            pid: carriage.pid,
            stream_id: carriage.stream_id,
            pts,
            dts,
            pcr,
            random_access: alone,
            body: head.len().saturating_add(body.len()),
        };
        let Some(cc) = self.cc.get_mut(slot(carriage.pid)) else { return };
        let mut pes = PesWriter::begin(out, cc, &header);
        pes.write(head);
        pes.write(body);
        pes.finish();
    }
}

/// Where the continuity counter of `pid` is kept.
const fn slot(pid: u16) -> usize {
    (pid & 0x07) as usize
}

fn write_pmt(out: &mut Vec<u8>, cc: &mut u8, listing: &Listing) {
    let tracks = [listing.video, listing.audio].into_iter().flatten().map(|track| track.declared);
    psi::write_pmt(out, cc, listing.version, listing.pcr_pid, tracks);
}
