//! Readers of codec headers.

use media::{
    Codec, CodecInfo, aac as aac_reader, av1 as av1_reader, h264 as avc, h265 as hevc, nal,
};

/// AVC configurations, NAL units in both framings, sequence parameter sets.
pub fn h264(data: &[u8]) {
    if let Ok(config) = avc::AvcConfig::decode(data) {
        let bytes = config.encode();
        assert_eq!(avc::AvcConfig::decode(&bytes).as_ref(), Ok(&config), "lost on the way back");
    }
    let _ = avc::Sps::decode(data);
    let _ = avc::is_key(data, 4);
    let _ = CodecInfo::decode(Codec::H264, data);
    framings(data);
}

/// HEVC configurations and sequence parameter sets.
pub fn h265(data: &[u8]) {
    if let Ok(config) = hevc::HevcConfig::decode(data) {
        let bytes = config.encode();
        assert_eq!(hevc::HevcConfig::decode(&bytes).as_ref(), Ok(&config), "lost on the way back");
    }
    let _ = hevc::Sps::decode(data);
    let _ = hevc::is_key(data, 4);
    let _ = CodecInfo::decode(Codec::H265, data);
}

/// AV1 configurations, sequence headers and temporal units.
pub fn av1(data: &[u8]) {
    if let Ok(config) = av1_reader::Av1Config::decode(data) {
        let _ = config.sequence_header();
        let bytes = config.encode();
        assert!(av1_reader::Av1Config::decode(&bytes).is_ok(), "cannot read what it wrote");
    }
    let _ = av1_reader::SequenceHeader::decode(data);
    let _ = av1_reader::is_key(data);
    assert!(av1_reader::Obus::new(data).count() <= data.len(), "more units than bytes");
    let _ = CodecInfo::decode(Codec::Av1, data);
}

/// AAC configurations and ADTS headers.
pub fn aac(data: &[u8]) {
    if let Ok(config) = aac_reader::AudioConfig::decode(data) {
        let _ = (config.sample_rate(), config.channels(), config.frame_samples());
        let _ = config.adts(data.len(), false);
        let _ = config.encode();
    }
    if let Ok(header) = aac_reader::AdtsHeader::decode(data) {
        let _ = (header.length(), header.config());
        if let Some(bytes) = header.encode() {
            assert_eq!(aac_reader::AdtsHeader::decode(&bytes), Ok(header), "lost on the way back");
        }
    }
    let _ = CodecInfo::decode(Codec::Aac, data);
}

/// MPEG audio frame headers, and the small codecs that share the reader's manners.
pub fn mp3(data: &[u8]) {
    let _ = media::mp3::FrameHeader::decode(data);
    for codec in [Codec::Mp3, Codec::Opus, Codec::Flac, Codec::Ac3, Codec::Vp8, Codec::Vp9] {
        let _ = CodecInfo::decode(codec, data);
        let _ = CodecInfo::decode_frame(codec, data);
    }
}

/// Units behind start codes and behind lengths are the same units.
fn framings(data: &[u8]) {
    let mut lengths = Vec::new();
    nal::to_length_prefixed(data, &mut lengths);
    let cut: Vec<_> = nal::AnnexB::new(data).collect();
    let back: Vec<_> = nal::LengthPrefixed::new(&lengths, 4).map_while(Result::ok).collect();
    assert_eq!(cut, back, "the framings disagree");
    let mut out = Vec::new();
    let _ = nal::to_annex_b(data, 4, &mut out);
}
