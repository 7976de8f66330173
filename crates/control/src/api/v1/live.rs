//! Virtual hosts and streams.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use http::Method;
use hub::{Stream, TrackState};
use media::info::{AudioInfo, VideoInfo};
use media::{CodecInfo, Kind};
use serde_json::{Map, Value, json};

use super::{Api, Ask, Reply, code, is_read, not_allowed, page, with};
use crate::sampler::ledger::{VhostFigures, is_listed};
use crate::sampler::now_ms;

pub(super) fn vhosts(api: &Api, ask: &Ask, method: &Method, id: &str) -> Reply {
    if !is_read(method) {
        return not_allowed();
    }
    let all = api.figures.ledger().vhosts(&ask.host.hub.all());
    if id.is_empty() {
        let all: Vec<Value> = all.iter().map(|v| vhost(ask, v)).collect();
        return with(ask, "vhosts", json!(all));
    }
    match all.iter().find(|v| v.id == id) {
        Some(one) => with(ask, "vhost", vhost(ask, one)),
        None => code(2014),
    }
}

fn kbps((recv, send): (u64, u64)) -> Value {
    json!({ "recv_30s": recv, "send_30s": send })
}

fn vhost(ask: &Ask, v: &VhostFigures) -> Value {
    let config = ask.host.config();
    let section = config.vhost(&v.name).filter(|section| section.name() == v.name);
    let mut hls = Map::new();
    let is_on = section.as_ref().is_some_and(|s| s.bool("hls.enabled"));
    hls.insert("enabled".to_owned(), json!(is_on));
    if let Some(section) = section.as_ref().filter(|_| is_on) {
        let fragment = section.seconds("hls.hls_fragment").as_secs_f64();
        hls.insert("fragment".to_owned(), json!(fragment));
    }
    json!({
        "id": v.id,
        "name": v.name,
        "enabled": section.is_some(),
        "clients": v.clients,
        "streams": v.streams,
        "send_bytes": v.totals.send,
        "recv_bytes": v.totals.recv,
        "kbps": kbps(v.kbps),
        "hls": hls,
    })
}

pub(super) fn streams(api: &Api, ask: &Ask, method: &Method, id: &str) -> Reply {
    if !is_read(method) {
        return not_allowed();
    }
    let mut all = ask.host.hub.all();
    all.retain(|stream| is_listed(stream));
    if id.is_empty() {
        all.sort_by(|a, b| a.api_id.cmp(&b.api_id));
        let page: Vec<Value> = page(ask, all).iter().map(|s| stream(api, ask, s)).collect();
        return with(ask, "streams", json!(page));
    }
    match all.iter().find(|s| s.api_id == id) {
        Some(one) => with(ask, "stream", stream(api, ask, one)),
        None => code(2048),
    }
}

fn stream(api: &Api, ask: &Ask, s: &Arc<Stream>) -> Value {
    let key = &s.key;
    let publisher = s.publisher_id();
    let owner = ask.host.sessions.get(&publisher);
    let tc_url = owner
        .as_ref()
        .and_then(|owner| owner.detail())
        .map(|d| d.tc_url.clone())
        .filter(|url| !url.is_empty())
        .unwrap_or_else(|| format!("rtmp://{}/{}", key.vhost, key.app));
    let (vhost, kbps_now) = {
        let mut ledger = api.figures.ledger();
        (ledger.vhost_id(&key.vhost), ledger.stream_kbps(s.id))
    };
    let mut publish = Map::new();
    publish.insert("active".to_owned(), json!(s.is_active()));
    if !publisher.is_empty() {
        publish.insert("cid".to_owned(), json!(publisher));
    }
    let tracks = s.tracks();
    json!({
        "id": s.api_id,
        "name": &*key.name,
        "vhost": vhost,
        "app": &*key.app,
        "tcUrl": tc_url,
        "url": key.url(),
        "live_ms": now_ms(),
        "clients": s.stats.clients.load(Relaxed),
        "frames": s.stats.frames.load(Relaxed),
        "send_bytes": s.stats.send_bytes.load(Relaxed),
        "recv_bytes": s.stats.recv_bytes.load(Relaxed),
        "kbps": kbps(kbps_now),
        "publish": publish,
        "video": main_track(&tracks, Kind::Video).map(video),
        "audio": main_track(&tracks, Kind::Audio).map(audio),
    })
}

fn main_track(tracks: &[TrackState], kind: Kind) -> Option<&TrackState> {
    tracks.iter().filter(|t| t.codec.kind() == kind).min_by_key(|t| t.track)
}

/// What is known of a track: what its configuration tells, else its first frame.
pub(in crate::api) fn info(track: &TrackState) -> CodecInfo {
    let config = track.config.as_ref().and_then(|c| CodecInfo::decode(track.codec, c).ok());
    let told = config.filter(tells);
    told.or_else(|| CodecInfo::decode_frame(track.codec, &track.first).ok())
        .unwrap_or_else(|| CodecInfo::unknown(track.codec))
}

fn tells(info: &CodecInfo) -> bool {
    match info {
        CodecInfo::Video(VideoInfo { codec, profile, width, .. }) => {
            // A configuration of VP8 and VP9 has no size, but their first key frame does.
            *width > 0 || (*profile != "Other" && !matches!(codec.name(), "VP8" | "VP9"))
        }
        CodecInfo::Audio(AudioInfo { sample_rate, .. }) => *sample_rate > 0,
        CodecInfo::Data(_) => false,
    }
}

fn video(track: &TrackState) -> Value {
    let mut told = VideoInfo {
        codec: track.codec,
        profile: "Other",
        level: "Other",
        width: 0,
        height: 0,
        fps: None,
    };
    if let CodecInfo::Video(info) = info(track) {
        told = info;
    }
    json!({
        "codec": track.codec.name(),
        "profile": told.profile,
        "level": told.level,
        "width": told.width,
        "height": told.height,
    })
}

/// The rates that an FLV audio tag can say, by the two bits it has for it.
const FLV_RATES: [u32; 4] = [5512, 11_025, 22_050, 44_100];
/// Sound format 9 says that an enhanced header follows: its low bits are no rate.
const ENHANCED: u8 = 9;

fn audio(track: &TrackState) -> Value {
    let (rate, channels, profile) = match info(track) {
        CodecInfo::Audio(info) => (info.sample_rate, info.channels, info.profile),
        _ => (0, 0, "Other"),
    };
    let legacy = u8::try_from(track.tag).ok().filter(|tag| *tag > 0 && tag >> 4 != ENHANCED);
    let (rate, channels) = match legacy {
        // SRS tells what the tag says, not what the codec is.
        Some(tag) => {
            let rate = FLV_RATES.get(usize::from(tag >> 2 & 3)).copied().unwrap_or(44_100);
            (rate, (tag & 1).saturating_add(1))
        }
        // What a tag would say: the next rate below, and at most two channels.
        None if rate > 0 => {
            let below = FLV_RATES.iter().rev().find(|r| **r <= rate).copied();
            (below.unwrap_or(5512), channels.clamp(1, 2))
        }
        None => (44_100, 2),
    };
    json!({
        "codec": track.codec.name(),
        "sample_rate": rate,
        "channel": channels,
        "profile": profile,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use media::Codec;

    fn track(
        codec: Codec,
        tag: u32,
        config: Option<&'static [u8]>,
        first: &'static [u8],
    ) -> TrackState {
        TrackState {
            codec,
            track: 0,
            tag,
            config: config.map(Bytes::from_static),
            first: Bytes::from_static(first),
            frames: 1,
        }
    }

    #[test]
    fn the_rate_is_what_the_flv_tag_says() {
        let aac48 = track(Codec::Aac, 0xaf, Some(&[0x11, 0x90]), b"");
        let told = audio(&aac48);
        assert_eq!(told["sample_rate"], 44_100);
        assert_eq!((&told["channel"], &told["profile"]), (&json!(2), &json!("LC")));
        let mono11 = track(Codec::Mp3, 0x26, None, b"");
        assert_eq!(audio(&mono11)["sample_rate"], 11_025);
        assert_eq!(audio(&mono11)["channel"], 1);
    }

    #[test]
    fn without_a_flv_tag_the_codec_tells_in_rates_of_flv() {
        let opus = track(Codec::Opus, 0x4f70_7573, None, &[0xfc]);
        assert_eq!(audio(&opus)["sample_rate"], 44_100);
        assert_eq!(audio(&opus)["channel"], 2);
        let aac16 = track(Codec::Aac, 0, Some(&[0x14, 0x08]), b"");
        assert_eq!(audio(&aac16)["sample_rate"], 11_025);
        assert_eq!(audio(&aac16)["channel"], 1);
    }

    #[test]
    fn a_broken_configuration_tells_the_codec_at_least() {
        let told = video(&track(Codec::H264, 7, Some(&[0xff]), b""));
        let wanted = json!({
            "codec": "H264", "profile": "Other", "level": "Other", "width": 0, "height": 0,
        });
        assert_eq!(told, wanted);
    }

    #[test]
    fn the_main_track_is_the_lowest() {
        let mut second = track(Codec::Aac, 0, None, b"");
        second.track = 1;
        let tracks = [second, track(Codec::Mp3, 0, None, b"")];
        assert_eq!(main_track(&tracks, Kind::Audio).unwrap().codec, Codec::Mp3);
        assert!(main_track(&tracks, Kind::Video).is_none());
    }
}
