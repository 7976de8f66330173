use bytes::Bytes;
use media::Timestamp;

use media::{Codec, Flags};

use super::gop::PURE_AUDIO_FRAMES;
use super::*;

fn frame(codec: Codec, flags: Flags) -> Frame {
    Frame {
        codec,
        track: 0,
        flags,
        tag: 0,
        dts: Timestamp::ZERO,
        pts: Timestamp::ZERO,
        payload: Bytes::from_static(b"payload"),
    }
}

fn rule(max: usize) -> GopRule {
    GopRule::new(&PublishOptions { gop_cache_max_frames: max, ..PublishOptions::default() })
}

#[test]
fn the_cache_begins_at_a_key_frame() {
    let mut r = rule(0);
    assert_eq!(r.observe(&frame(Codec::H264, Flags::empty()), false), GopAction::Pass);
    assert_eq!(r.observe(&frame(Codec::Aac, Flags::empty()), false), GopAction::Pass);
    assert_eq!(r.observe(&frame(Codec::H264, Flags::KEY), false), GopAction::Restart);
    assert_eq!(r.observe(&frame(Codec::Aac, Flags::empty()), false), GopAction::Keep);
    assert_eq!(r.observe(&frame(Codec::H264, Flags::KEY), false), GopAction::Restart);
}

#[test]
fn sound_without_pictures_empties_the_cache() {
    let mut r = rule(0);
    r.observe(&frame(Codec::H264, Flags::KEY), false);
    for _ in 0..PURE_AUDIO_FRAMES {
        assert_eq!(r.observe(&frame(Codec::Aac, Flags::empty()), false), GopAction::Keep);
    }
    assert_eq!(r.observe(&frame(Codec::Aac, Flags::empty()), false), GopAction::Clear);
    assert_eq!(r.observe(&frame(Codec::Aac, Flags::empty()), false), GopAction::Pass);
}

#[test]
fn a_cache_beyond_its_limit_is_emptied() {
    let mut r = rule(3);
    r.observe(&frame(Codec::H264, Flags::KEY), false);
    r.observe(&frame(Codec::H264, Flags::empty()), false);
    r.observe(&frame(Codec::H264, Flags::empty()), false);
    assert_eq!(r.observe(&frame(Codec::H264, Flags::empty()), false), GopAction::Clear);
}

#[test]
fn a_new_video_configuration_empties_the_cache_and_a_repeated_one_does_not() {
    let mut r = rule(0);
    r.observe(&frame(Codec::H264, Flags::KEY), false);
    assert_eq!(r.observe(&frame(Codec::H264, Flags::CONFIG), false), GopAction::Keep);
    assert_eq!(r.observe(&frame(Codec::H264, Flags::CONFIG), true), GopAction::Clear);
}

#[test]
fn headers_come_as_metadata_then_audio_then_video() {
    let mut h = Headers::default();
    assert!(h.book(&frame(Codec::H264, Flags::CONFIG)));
    assert!(h.book(&frame(Codec::Aac, Flags::CONFIG)));
    assert!(h.book(&frame(Codec::ScriptData, Flags::CONFIG)));
    assert!(!h.book(&frame(Codec::Aac, Flags::CONFIG)));
    let order: Vec<Codec> = h.in_order().map(|f| f.codec).collect();
    assert_eq!(order, [Codec::ScriptData, Codec::Aac, Codec::H264]);
}

#[test]
fn the_default_vhost_is_left_out_of_the_url() {
    assert_eq!(StreamKey::new("__defaultVhost__", "live", "s").url(), "/live/s");
    assert_eq!(StreamKey::new("a.com", "live", "s").url(), "a.com/live/s");
}
