//! The clip as an FLV file of the plain, legacy kind: AVC and AAC tags.
//!
//! Adobe Flash Video File Format Specification 10.1, annex E. The header tag `onMetaData` has no
//! `duration`: players that are sent the clip as an endless loop would stop at it.

use crate::{AccessUnit, Clip};

const AUDIO: u8 = 8;
const VIDEO: u8 = 9;
const SCRIPT: u8 = 18;

/// SoundFormat 10 (AAC); the rest is fixed for it: 44 kHz, 16 bits, stereo, whatever it holds.
const AAC: u8 = 0xaf;
/// Frame type 1 (key) or 2 (inter), CodecID 7 (AVC).
const AVC_KEY: u8 = 0x17;
const AVC_INTER: u8 = 0x27;

const CONFIG: u8 = 0;
const MEDIA: u8 = 1;

/// Writes the whole file: header, metadata, both configurations, then the tags in order of time.
pub(crate) fn write(clip: &Clip) -> Vec<u8> {
    let mut file = b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00".to_vec();
    tag(&mut file, SCRIPT, 0, &[&metadata(clip)]);
    tag(&mut file, VIDEO, 0, &[&[AVC_KEY, CONFIG, 0, 0, 0], clip.avc_config()]);
    tag(&mut file, AUDIO, 0, &[&[AAC, CONFIG], clip.aac_config()]);

    let mut video = clip.video().iter().peekable();
    let mut audio = clip.audio().iter().peekable();
    loop {
        let picture_first = match (video.peek(), audio.peek()) {
            (Some(picture), Some(sound)) => picture.micros <= sound.micros,
            (picture, _) => picture.is_some(),
        };
        if picture_first {
            let Some(unit) = video.next() else { break };
            let kind = if unit.key { AVC_KEY } else { AVC_INTER };
            tag(&mut file, VIDEO, millis(unit), &[&[kind, MEDIA, 0, 0, 0], &unit.data]);
        } else {
            let Some(unit) = audio.next() else { break };
            tag(&mut file, AUDIO, millis(unit), &[&[AAC, MEDIA], &unit.data]);
        }
    }
    file
}

/// FLV's milliseconds, rounded to the nearest.
fn millis(unit: &AccessUnit) -> u32 {
    ((unit.micros + 500) / 1000) as u32
}

/// One tag and the size that follows it.
fn tag(file: &mut Vec<u8>, kind: u8, millis: u32, parts: &[&[u8]]) {
    let size = parts.iter().map(|part| part.len()).sum::<usize>() as u32;
    let [high, time @ ..] = millis.to_be_bytes();
    file.push(kind);
    file.extend(&size.to_be_bytes()[1..]);
    file.extend(time);
    file.extend([high, 0, 0, 0]); // TimestampExtended, StreamID
    for part in parts {
        file.extend(*part);
    }
    file.extend((11 + size).to_be_bytes());
}

/// `onMetaData` in AMF0.
fn metadata(clip: &Clip) -> Vec<u8> {
    let numbers = [
        ("width", f64::from(clip.width())),
        ("height", f64::from(clip.height())),
        ("framerate", crate::card::RATE as f64),
        ("videocodecid", 7.0),
        ("audiocodecid", 10.0),
        ("audiosamplerate", crate::tone::SAMPLE_RATE as f64),
        ("audiosamplesize", 16.0),
    ];
    let mut body = b"\x02\x00\x0aonMetaData\x08".to_vec();
    body.extend((numbers.len() as u32 + 1).to_be_bytes());
    for (name, value) in numbers {
        body.extend((name.len() as u16).to_be_bytes());
        body.extend(name.as_bytes());
        body.push(0);
        body.extend(value.to_be_bytes());
    }
    body.extend(b"\x00\x06stereo\x01\x01");
    body.extend([0, 0, 9]);
    body
}
