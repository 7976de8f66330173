use proptest::prelude::*;

use super::*;

fn block(form: Form, fill: impl FnOnce(&mut ExtensionWriter<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = ExtensionWriter::new(&mut out, form);
    fill(&mut writer);
    assert_eq!(writer.finish(), out.len());
    assert_eq!(out.len() % 4, 0);
    out
}

fn read(block: &[u8]) -> Extensions<'_> {
    let words = usize::from(u16_at(block, 2).unwrap());
    assert_eq!(block.len(), 4 + 4 * words);
    Extensions::new(u16_at(block, 0).unwrap(), &block[4..])
}

#[test]
fn padding_between_elements_is_skipped() {
    let body = [0, 0, 0x11, 1, 2, 0, 0x20, 3];
    let all: Vec<_> = Extensions::new(ONE_BYTE_PROFILE, &body).collect();
    assert_eq!(all, [Element { id: 1, data: &[1, 2] }, Element { id: 2, data: &[3] }]);
}

#[test]
fn id_15_ends_the_one_byte_form() {
    let body = [0x10, 9, 0xF0, 1, 0x20, 2, 0, 0];
    let all: Vec<_> = Extensions::new(ONE_BYTE_PROFILE, &body).collect();
    assert_eq!(all, [Element { id: 1, data: &[9] }]);
}

#[test]
fn id_0_with_a_length_is_ignored_with_its_data() {
    let body = [0x01, 7, 7, 0x20, 3];
    let all: Vec<_> = Extensions::new(ONE_BYTE_PROFILE, &body).collect();
    assert_eq!(all, [Element { id: 2, data: &[3] }]);
}

#[test]
fn an_element_longer_than_the_rest_ends_the_list() {
    for body in [&[0x10u8, 9, 0x2F, 1, 2][..], &[0x10, 9, 0x20]] {
        let all: Vec<_> = Extensions::new(ONE_BYTE_PROFILE, body).collect();
        assert_eq!(all, [Element { id: 1, data: &[9] }]);
    }
    for body in [&[1u8, 1, 9, 2, 200, 1][..], &[1, 1, 9, 2]] {
        let all: Vec<_> = Extensions::new(TWO_BYTE_PROFILE | 5, body).collect();
        assert_eq!(all, [Element { id: 1, data: &[9] }]);
    }
}

#[test]
fn another_profile_has_no_elements() {
    assert_eq!(Extensions::new(0x1234, &[0x10, 1, 0, 0]).next(), None);
    assert_eq!(Extensions::empty().get(1), None);
}

#[test]
fn nothing_pushed_leaves_nothing() {
    let mut out = vec![1, 2, 3];
    assert_eq!(ExtensionWriter::new(&mut out, Form::OneByte).finish(), 0);
    assert_eq!(out, [1, 2, 3]);
}

#[test]
fn what_a_form_cannot_carry_is_not_written() {
    let mut out = Vec::new();
    let mut writer = ExtensionWriter::new(&mut out, Form::OneByte);
    assert!(!writer.push(0, &[1]));
    assert!(!writer.push(15, &[1]));
    assert!(!writer.push(1, &[]));
    assert!(!writer.push(1, &[0; 17]));
    assert_eq!(writer.reserve_transport_cc(15), None);
    assert_eq!(writer.finish(), 0);
    let mut writer = ExtensionWriter::new(&mut out, Form::TwoByte);
    assert!(!writer.push(0, &[1]));
    assert!(!writer.push(1, &[0; 256]));
    assert!(writer.push(200, &[]));
    assert_eq!(writer.finish(), 8);
}

#[test]
fn the_place_of_the_transport_number_is_told() {
    let mut out = vec![9; 5];
    let mut writer = ExtensionWriter::new(&mut out, Form::OneByte);
    writer.rid(1, "hi");
    let at = writer.reserve_transport_cc(5).unwrap();
    writer.finish();
    assert!(patch_transport_cc(&mut out, at, 0xABCD));
    assert_eq!(read(&out[5..]).get(5).and_then(transport_cc), Some(0xABCD));
    assert!(!patch_transport_cc(&mut out, 1_000, 1));
}

#[test]
fn every_known_element_survives_a_round_trip() {
    for form in [Form::OneByte, Form::TwoByte] {
        let level = AudioLevel { voice: true, below_overload: 127 };
        let delay = PlayoutDelay { min_ms: 40_950, max_ms: 120 };
        let orientation = VideoOrientation { back_camera: true, flipped: false, quarter_turns: 3 };
        let short = AbsCaptureTime { capture_ntp: 1 << 63, clock_offset: None };
        let long = AbsCaptureTime { capture_ntp: 77, clock_offset: Some(-5) };
        let bytes = block(form, |writer| {
            assert!(writer.mid(1, "audio"));
            assert!(writer.abs_send_time(2, 0xAB_CDEF));
            assert!(writer.transport_cc(3, 65_535));
            assert!(writer.audio_level(4, level));
            assert!(writer.playout_delay(5, delay));
            assert!(writer.video_orientation(6, orientation));
            assert!(writer.abs_capture_time(7, short));
            assert!(writer.abs_capture_time(8, long));
        });
        let all = read(&bytes);
        assert_eq!(all.get(1).and_then(text), Some("audio"));
        assert_eq!(all.get(2).and_then(abs_send_time), Some(0xAB_CDEF));
        assert_eq!(all.get(3).and_then(transport_cc), Some(65_535));
        assert_eq!(all.get(4).and_then(AudioLevel::decode), Some(level));
        assert_eq!(all.get(5).and_then(PlayoutDelay::decode), Some(delay));
        assert_eq!(all.get(6).and_then(VideoOrientation::decode), Some(orientation));
        assert_eq!(all.get(7).and_then(AbsCaptureTime::decode), Some(short));
        assert_eq!(all.get(8).and_then(AbsCaptureTime::decode), Some(long));
    }
}

#[test]
fn short_elements_are_no_values() {
    assert_eq!(transport_cc(&[1]), None);
    assert_eq!(abs_send_time(&[1, 2]), None);
    assert_eq!(AudioLevel::decode(&[]), None);
    assert_eq!(PlayoutDelay::decode(&[1, 2]), None);
    assert_eq!(VideoOrientation::decode(&[]), None);
    assert_eq!(AbsCaptureTime::decode(&[0; 7]), None);
    assert_eq!(text(&[0, 0]), None);
    assert_eq!(text(&[0xFF]), None);
    assert_eq!(text(b"q\0"), Some("q"));
}

#[test]
fn absolute_send_time_counts_64_seconds_in_24_bits() {
    assert_eq!(abs_send_time_from_micros(0), 0);
    assert_eq!(abs_send_time_from_micros(1_000_000), 1 << 18);
    assert_eq!(abs_send_time_from_micros(64_000_000), 0);
    assert_eq!(abs_send_time_from_micros(u64::MAX - u64::MAX % 64_000_000 + 500_000), 1 << 17);
}

proptest! {
    #[test]
    fn two_byte_elements_are_read_as_written(
        elements in proptest::collection::vec(
            (1u8..=255, proptest::collection::vec(any::<u8>(), 0..256)), 1..6),
    ) {
        let bytes = block(Form::TwoByte, |writer| {
            for (id, data) in &elements {
                assert!(writer.push(*id, data));
            }
        });
        let all: Vec<_> = read(&bytes).map(|e| (e.id, e.data.to_vec())).collect();
        prop_assert_eq!(all, elements);
    }
}
