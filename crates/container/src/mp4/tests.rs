use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const AVCC: &[u8] = &[
    1, 0x42, 0xc0, 0x1e, 0xff, 0xe1, 0, 4, 0x67, 0x42, 0xc0, 0x1e, 1, 0, 4, 0x68, 0xce, 0x38, 0x80,
];
/// LC, 44.1 kHz, stereo.
const ASC: &[u8] = &[0x12, 0x10];

/// A sample as a player finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    dts: u64,
    composition: i32,
    key: bool,
    bytes: Vec<u8>,
}

/// The boxes one behind the other, each with where it begins; the last may be cut.
fn boxes_of(bytes: &[u8]) -> Vec<(String, usize, &[u8])> {
    let (mut all, mut at) = (Vec::new(), 0);
    while let Some(head) = bytes.get(at..at + 8) {
        let mut size = u32::from_be_bytes(head[..4].try_into().unwrap()) as usize;
        let mut skip = 8;
        if size == 1 {
            let Some(wide) = bytes.get(at + 8..at + 16) else { break };
            size = u64::from_be_bytes(wide.try_into().unwrap()) as usize;
            skip = 16;
        }
        let Some(body) = bytes.get(at + skip..at + size) else { break };
        all.push((String::from_utf8_lossy(&head[4..]).into_owned(), at, body));
        at += size;
    }
    all
}

fn only<'a>(bytes: &'a [u8], path: &[&str]) -> Option<&'a [u8]> {
    let Some((first, rest)) = path.split_first() else { return Some(bytes) };
    let found: Vec<_> = boxes_of(bytes).into_iter().filter(|(name, ..)| name == first).collect();
    assert!(found.len() <= 1, "{first} more than once");
    only(found.first()?.2, rest)
}

fn u32s(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|w| u32::from_be_bytes(w.try_into().unwrap())).collect()
}

fn traks(moov: &[u8]) -> Vec<(u32, &[u8])> {
    let all = boxes_of(moov).into_iter().filter(|(name, ..)| name == "trak");
    all.map(|(_, _, trak)| {
        let tkhd = u32s(only(trak, &["tkhd"]).unwrap());
        assert_eq!(tkhd[0] & 3, 3);
        (tkhd[5], only(trak, &["mdia", "minf", "stbl"]).unwrap())
    })
    .collect()
}

/// By the index at the end.
fn plain(file: &[u8]) -> BTreeMap<u32, Vec<Found>> {
    let top = boxes_of(file);
    let names: Vec<_> = top.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["ftyp", "mdat", "moov"]);
    assert_eq!(top[2].1 + top[2].2.len() + 8, file.len());
    let mut all = BTreeMap::new();
    for (id, stbl) in traks(top[2].2) {
        let table = |name: &str| only(stbl, &[name]).map(u32s);
        let sizes = table("stsz").unwrap();
        assert_eq!(sizes[2] as usize, sizes.len() - 3);
        let expand = |table: Vec<u32>| -> Vec<u32> {
            let runs = table[2..].chunks_exact(2);
            assert_eq!(runs.len(), table[1] as usize);
            runs.flat_map(|run| std::iter::repeat_n(run[1], run[0] as usize)).collect()
        };
        let durations = expand(table("stts").unwrap());
        let offsets = table("ctts").map(expand);
        let sync = table("stss").map(|t| t[2..].to_vec());
        let chunks = table("stco").unwrap()[2..].to_vec();
        let stsc: Vec<Vec<u32>> =
            table("stsc").unwrap()[2..].chunks_exact(3).map(<[u32]>::to_vec).collect();
        let (mut found, mut dts, mut n) = (Vec::new(), 0u64, 0);
        for (number, place) in (1u32..).zip(chunks) {
            let count = stsc.iter().rfind(|run| run[0] <= number).unwrap()[1];
            let mut at = place as usize;
            for _ in 0..count {
                let size = sizes[n + 3] as usize;
                found.push(Found {
                    dts,
                    composition: offsets.as_ref().map_or(0, |t| t[n] as i32),
                    key: sync.as_ref().is_none_or(|t| t.contains(&(n as u32 + 1))),
                    bytes: file[at..at + size].to_vec(),
                });
                dts += u64::from(durations[n]);
                at += size;
                n += 1;
            }
        }
        assert_eq!(n, durations.len());
        all.insert(id, found);
    }
    all
}

/// By the fragments, as far as they are whole. Times begin with the track's first sample.
fn fragments(file: &[u8]) -> BTreeMap<u32, Vec<Found>> {
    let mut all: BTreeMap<u32, Vec<Found>> = BTreeMap::new();
    let mut starts = BTreeMap::new();
    let top = boxes_of(file);
    for (at, (name, begin, body)) in top.iter().enumerate() {
        if name != "moof" || top.get(at + 1).is_none_or(|(next, ..)| next != "mdat") {
            continue;
        }
        for (_, _, traf) in boxes_of(body).into_iter().filter(|(name, ..)| name == "traf") {
            let id = u32s(only(traf, &["tfhd"]).unwrap())[1];
            let tfdt = only(traf, &["tfdt"]).unwrap();
            let mut dts = u64::from_be_bytes(tfdt[4..].try_into().unwrap());
            let start = *starts.entry(id).or_insert(dts);
            let trun = u32s(only(traf, &["trun"]).unwrap());
            let mut place = begin + trun[2] as usize;
            assert_eq!(trun[1] as usize * 4, trun.len() - 3);
            for sample in trun[3..].chunks_exact(4) {
                all.entry(id).or_default().push(Found {
                    dts: dts - start,
                    composition: sample[3] as i32,
                    key: sample[2] & 0x1_0000 == 0,
                    bytes: file[place..place + sample[1] as usize].to_vec(),
                });
                dts += u64::from(sample[0]);
                place += sample[1] as usize;
            }
        }
    }
    all
}

fn frame(codec: Codec, flags: Flags, ms: i64, pts: i64, payload: impl Into<Bytes>) -> Frame {
    let (dts, pts) = (Timestamp::from_millis(ms), Timestamp::from_millis(pts));
    Frame { codec, track: 0, flags, tag: 0, dts, pts, payload: payload.into() }
}

fn picture(ms: i64, key: bool) -> Frame {
    let flags = if key { Flags::KEY } else { Flags::empty() };
    frame(Codec::H264, flags, ms, ms + 40, vec![ms as u8; 100 + ms as usize % 7])
}

fn configs() -> [Frame; 2] {
    [frame(Codec::H264, Flags::CONFIG, 0, 0, AVCC), frame(Codec::Aac, Flags::CONFIG, 0, 0, ASC)]
}

/// Frames of a publisher that began a while ago: 25 pictures a second, AAC in whole milliseconds.
fn publish(seconds: i64) -> Vec<Frame> {
    let mut frames = configs().to_vec();
    for n in 0..seconds * 25 {
        frames.push(picture(5000 + n * 40, n % 50 == 0));
    }
    for n in 0..seconds * 43 {
        let ms = 5100 + n * 1024 * 1000 / 44_100;
        frames.push(frame(Codec::Aac, Flags::empty(), ms, ms, vec![n as u8; 30]));
    }
    frames.sort_by_key(|f| f.dts);
    frames
}

/// The file when it is done, and as it was before.
fn record(frames: &[Frame]) -> (Vec<u8>, Vec<u8>, Option<Patch>) {
    let (mut muxer, mut file) = (Muxer::new(), Vec::new());
    for frame in frames {
        let _ = muxer.push(frame, &mut file);
    }
    let patch = muxer.finish(&mut file);
    let mut done = file.clone();
    if let Some(patch) = patch {
        let at = patch.at as usize;
        assert_eq!(&done[at..at + 8], b"\0\0\0\x10free");
        done[at..at + FREE].copy_from_slice(&patch.bytes);
    }
    (done, file, patch)
}

#[test]
fn the_index_at_the_end_and_the_fragments_tell_the_same() {
    let frames = publish(7);
    let (done, growing, _) = record(&frames);
    let found = plain(&done);
    assert_eq!(found, fragments(&growing));
    let pictures = &found[&1];
    assert_eq!(pictures.len(), 175);
    assert_eq!(pictures.iter().filter(|s| s.key).count(), 4);
    assert!(pictures.iter().all(|s| s.composition == 3600));
    assert_eq!(pictures[100].dts, 100 * 3600);
    let sounds = &found[&2];
    // Whole milliseconds of the publisher became whole frames of 1024 samples.
    assert!(sounds.windows(2).all(|pair| pair[1].dts - pair[0].dts == 1024));
    let payloads = |kind: Kind| -> Vec<Vec<u8>> {
        let of = frames.iter().filter(|f| f.kind() == kind && f.is_media());
        of.map(|f| f.payload.to_vec()).collect()
    };
    assert!(pictures.iter().map(|s| &s.bytes).eq(payloads(Kind::Video).iter()));
    assert!(sounds.iter().map(|s| &s.bytes).eq(payloads(Kind::Audio).iter()));
}

#[test]
fn a_track_that_begins_later_is_shifted_by_an_edit() {
    let (done, ..) = record(&publish(3));
    let moov = only(&done, &["moov"]).unwrap();
    let sound = boxes_of(moov).into_iter().filter(|(n, ..)| n == "trak").nth(1).unwrap().2;
    let edits = u32s(only(sound, &["edts", "elst"]).unwrap());
    // Two edits; 100 ms of nothing.
    assert_eq!(edits[..6], [0x0100_0000, 2, 0, 100, u32::MAX, u32::MAX]);
}

#[test]
fn a_file_that_was_cut_anywhere_holds_its_whole_fragments() {
    let (done, growing, _) = record(&publish(4));
    let whole = plain(&done);
    for cut in (0..growing.len()).step_by(97) {
        for (id, found) in fragments(&growing[..cut]) {
            assert_eq!(found[..], whole[&id][..found.len()]);
        }
    }
    // Each second is a fragment, and the last two wait for a duration.
    let late = growing.len() * 3 / 4;
    assert!(fragments(&growing[..late])[&1].len() >= 49);
}

#[test]
fn a_gap_in_the_sound_stays_a_gap() {
    let mut frames = publish(6);
    let ms = |f: &Frame| f.dts.as_millis();
    frames.retain(|f| f.kind() == Kind::Video || !(7000..8000).contains(&ms(f)));
    let (done, ..) = record(&frames);
    let sounds = &plain(&done)[&2];
    let steps: Vec<u64> = sounds.windows(2).map(|p| p[1].dts - p[0].dts).collect();
    let gaps: Vec<&u64> = steps.iter().filter(|step| **step != 1024).collect();
    assert_eq!(gaps.len(), 1);
    assert!((44_100..46_500).contains(gaps[0]), "{gaps:?}");
}

#[test]
fn what_another_file_is_needed_for_does_not_fit() {
    let (mut muxer, mut out) = (Muxer::new(), Vec::new());
    let [avc, aac] = configs();
    assert!(muxer.fits(&avc));
    muxer.push(&avc, &mut out).unwrap();
    for ms in (0..1200).step_by(40) {
        muxer.push(&picture(ms, ms == 0), &mut out).unwrap();
    }
    assert!(muxer.fits(&avc), "the same again");
    let other = Frame { payload: [AVCC, &[0]].concat().into(), ..avc };
    assert!(!muxer.fits(&other));
    let sound = frame(Codec::Aac, Flags::empty(), 1200, 1200, vec![1; 9]);
    assert!(muxer.fits(&sound), "what nobody can read has no need of a file");
    assert_eq!(muxer.push(&sound, &mut out), Err(LeftOut::NoConfiguration(Codec::Aac)));
    muxer.push(&aac, &mut out).unwrap();
    assert!(!muxer.fits(&sound));
    assert_eq!(muxer.push(&sound, &mut out), Err(LeftOut::Late(Codec::Aac)));
    assert_eq!(muxer.duration_us(), 1_160_000);
}

#[test]
fn a_file_without_media_is_empty() {
    let (done, _, patch) = record(&configs());
    assert!(done.is_empty() && patch.is_none());
}

#[test]
fn one_picture_is_a_film() {
    let [avc, _] = configs();
    let (done, ..) = record(&[avc, picture(0, true)]);
    assert_eq!(plain(&done)[&1].len(), 1);
}

#[test]
fn codings_without_a_configuration_are_carried() {
    // MPEG-1, layer III, 128 kbit/s, 44.1 kHz.
    let sound = [&[0xff, 0xfb, 0x90, 0x00][..], &[0; 413]].concat();
    let frames: Vec<Frame> =
        (0..90).map(|n| frame(Codec::Mp3, Flags::empty(), n * 26, n * 26, sound.clone())).collect();
    let (done, ..) = record(&frames);
    assert!(plain(&done)[&2].windows(2).all(|p| p[1].dts - p[0].dts == 1152));
    let opus: Vec<Frame> = (0..90)
        .map(|n| frame(Codec::Opus, Flags::empty(), n * 20, n * 20, vec![0xfc, 1, 2]))
        .collect();
    let (done, ..) = record(&opus);
    assert!(plain(&done)[&2].windows(2).all(|p| p[1].dts - p[0].dts == 960));
    let speex = frame(Codec::Speex, Flags::empty(), 0, 0, vec![1]);
    assert_eq!(Muxer::new().push(&speex, &mut Vec::new()), Err(LeftOut::Codec(Codec::Speex)));
}

#[test]
fn an_index_without_room_is_left_out() {
    let mut tables = Tables::new(3);
    let sample = Sample { size: 1, duration: 1, composition: 0, key: true };
    tables.add(&[sample; 2], 0);
    assert!(!tables.is_full());
    tables.add(&[sample; 2], 10);
    assert!(tables.is_full());
    tables.add(&[sample; 1], 20);
    assert!(tables.is_full());
}

#[test]
fn a_file_beyond_four_gigabytes_has_wide_offsets() {
    let mut tables = Tables::new(10);
    let sample = Sample { size: 1, duration: 1, composition: 0, key: true };
    tables.add(&[sample], 7);
    tables.add(&[sample; 2], 1 << 33);
    let mut out = Vec::new();
    tables.encode(&mut out);
    assert!(only(&out, &["stco"]).is_none());
    let words = u32s(only(&out, &["co64"]).unwrap());
    assert_eq!(words, [0, 2, 0, 7, 2, 0]);
    assert_eq!(u32s(only(&out, &["stsc"]).unwrap()), [0, 2, 1, 1, 1, 2, 2, 1]);
}

proptest! {
    #[test]
    fn any_frames_make_a_file_whose_two_readings_agree(
        list in proptest::collection::vec(
            (0u8..9, any::<bool>(), -400i64..60_000, -100i64..100, proptest::collection::vec(any::<u8>(), 0..40)),
            0..120,
        )
    ) {
        let codecs = [
            Codec::H264, Codec::Aac, Codec::H265, Codec::Av1, Codec::Vp9, Codec::Mp3, Codec::Opus,
            Codec::Speex, Codec::ScriptData,
        ];
        let mut frames = configs().to_vec();
        frames.extend(list.into_iter().map(|(codec, key, ms, shift, payload)| {
            let flags = if key { Flags::KEY } else { Flags::empty() };
            frame(codecs[usize::from(codec)], flags, ms, ms + shift, payload)
        }));
        let (done, growing, patch) = record(&frames);
        if patch.is_some() {
            prop_assert_eq!(plain(&done), fragments(&growing));
        } else {
            prop_assert!(done.is_empty());
        }
    }
}
