//! What a stream has besides sound and pictures, for pages: metadata, cue points, texts.
//!
//! A viewer that opened a data channel labelled `metadata` gets each as a text of JSON. The text is
//! made once for all such viewers of the shard; its times in RTP are each viewer's own. Viewers
//! without such a channel are not walked.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use container::amf::{self, Limits, Value};
use media::{Codec, Flags, Frame, Timestamp};
use serde_json::{Map, Value as Json};

use super::log::PacketLog;
use super::peer::Peer;
use super::player::Player;
use super::shard::RtcShard;

/// Bytes of a text that a publisher may send into its stream: as long as AMF's short strings, with
/// room for what is around it.
pub(crate) const MOST_TEXT: usize = 60_000;
/// Characters of the name of data: `onTextData`, `onCuePoint`; names are no place for content.
const MOST_NAME: usize = 32;
/// Values inside values of a publisher's text: as many as a reader of AMF takes.
const DEPTH: usize = Limits::DEPTH / 2;

/// Who takes the data of a stream on a shard, and what joiners are told.
#[derive(Default)]
pub(crate) struct Timed {
    metadata: RefCell<Option<Arc<Frame>>>,
    takers: RefCell<Vec<Rc<Peer>>>,
}

impl Timed {
    /// Adds a viewer whose channel is open.
    pub(crate) fn enter(&self, viewer: &Rc<Peer>) {
        self.leave(viewer);
        self.takers.borrow_mut().push(viewer.clone());
    }

    /// Its channel is closed, or it is gone.
    pub(crate) fn leave(&self, viewer: &Peer) {
        self.takers.borrow_mut().retain(|taker| !std::ptr::eq(&**taker, viewer));
    }

    /// Another publisher begins: what was said of the stream does not hold any more.
    pub(crate) fn restart(&self) {
        self.metadata.borrow_mut().take();
    }

    /// The last metadata of the stream, for who joins.
    pub(crate) fn metadata(&self) -> Option<Text> {
        self.metadata.borrow().as_ref().and_then(|frame| Text::of(frame))
    }

    /// Gives a frame of data to those who take them.
    pub(crate) fn push(&self, frame: &Arc<Frame>, shard: &Rc<RtcShard>) {
        if frame.is_config() {
            *self.metadata.borrow_mut() = Some(frame.clone());
        }
        if self.takers.borrow().is_empty() {
            return;
        }
        let Some(text) = Text::of(frame) else { return };
        let takers = self.takers.borrow().clone();
        for viewer in takers {
            shard.tell(&viewer, &text);
        }
    }
}

/// A frame of data as text, without its end.
pub(crate) struct Text {
    begun: String,
    /// When it is to be shown; metadata hold at all times.
    pts: Option<Timestamp>,
}

impl Text {
    /// `None`: nothing that a page could read.
    pub(crate) fn of(frame: &Frame) -> Option<Self> {
        if frame.codec != Codec::ScriptData {
            return None;
        }
        let mut values = amf::decode_all(&frame.payload, &Limits::default()).ok()?.into_iter();
        let Some(Value::String(name)) = values.next() else { return None };
        let mut data: Vec<Json> = values.map(json).collect();
        let data = if data.len() > 1 { Json::Array(data) } else { data.pop().unwrap_or_default() };
        let ms = frame.pts.as_micros() / 1_000;
        let name = Json::String(name);
        let begun = format!("{{\"type\":{name},\"pts_ms\":{ms},\"data\":{data}");
        Some(Self { begun, pts: (!frame.is_config()).then_some(frame.pts) })
    }

    /// The whole of it, for a viewer: with its own times of RTP, once it was sent any.
    pub(crate) fn whole(&self, log: &PacketLog, relayed: bool, player: &Player) -> String {
        let mut whole = self.begun.clone();
        let mut first = true;
        let lines = [("audio", &player.audio), ("video", &player.video)];
        for (name, line) in lines {
            let (Some(line), Some(pts)) = (line.as_ref().filter(|l| l.has_sent()), self.pts) else {
                continue;
            };
            let Some(time) = time(log, line.lane, relayed, pts) else { continue };
            whole.push_str(if first { ",\"rtp\":{" } else { "," });
            first = false;
            // Writing to a string does not fail.
            let _ = write!(whole, "\"{name}\":{}", line.time(time));
        }
        whole.push_str(if first { "}" } else { "}}" });
        whole
    }
}

/// The time in a lane of the log of a moment of the stream. Of a publisher of WebRTC the frames have
/// other times than the packets; what it sends besides belongs to what it sent last.
fn time(log: &PacketLog, lane: u8, relayed: bool, pts: Timestamp) -> Option<u32> {
    if relayed {
        return log.newest_time(lane);
    }
    let clock = log.sync(lane)?.clock;
    Some(super::bridge::ticks(pts.as_micros(), i64::from(clock)))
}

/// AMF as JSON. What JSON cannot say is null.
fn json(value: Value) -> Json {
    let object = |properties: Vec<amf::Property>| {
        Json::Object(properties.into_iter().map(|(name, value)| (name, json(value))).collect())
    };
    match value {
        Value::Number(number) | Value::Date { millis: number, .. } => number_of(number),
        Value::Boolean(truth) => Json::Bool(truth),
        Value::String(text) | Value::Xml(text) => Json::String(text),
        Value::Object(properties)
        | Value::EcmaArray(properties)
        | Value::TypedObject { properties, .. } => object(properties),
        Value::StrictArray(values) => Json::Array(values.into_iter().map(json).collect()),
        Value::ByteArray(bytes) => Json::Array(bytes.into_iter().map(Json::from).collect()),
        Value::Null | Value::Undefined | Value::Unsupported | Value::Reference(_) => Json::Null,
    }
}

/// Whole numbers without a fraction, as people write them.
fn number_of(number: f64) -> Json {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < EXACT {
        return Json::from(number as i64);
    }
    Json::from(number)
}

/// What a publisher said in its channel, as data of its stream: `{"type": …, "data": …}` as itself,
/// anything else as the text of an `onTextData`. `None`: too long.
pub(crate) fn frame(text: &str) -> Option<Frame> {
    if text.len() > MOST_TEXT {
        return None;
    }
    let values = named(text).unwrap_or_else(|| {
        let text = Value::String(text.to_owned());
        vec![Value::String("onTextData".to_owned()), Value::object([("text", text)])]
    });
    let mut payload = Vec::new();
    amf::encode_all(&values, &mut payload);
    Some(Frame {
        codec: Codec::ScriptData,
        track: 0,
        flags: Flags::empty(),
        tag: 0,
        // The stream's own: data belong to what was last sent.
        dts: Timestamp::ZERO,
        pts: Timestamp::ZERO,
        payload: Bytes::from(payload),
    })
}

fn named(text: &str) -> Option<Vec<Value>> {
    let Json::Object(mut whole) = serde_json::from_str(text).ok()? else { return None };
    let name = whole.get("type")?.as_str()?.to_owned();
    // Metadata of the stream are its encoder's.
    let fits = name.len() <= MOST_NAME && name.starts_with("on") && name != "onMetaData";
    if !fits {
        return None;
    }
    let data = whole.remove("data").unwrap_or_default();
    Some(vec![Value::String(name), value(data, DEPTH)?])
}

/// JSON as AMF. `None`: deeper than readers of AMF follow.
fn value(json: Json, depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    Some(match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Boolean(truth),
        Json::Number(number) => Value::Number(number.as_f64()?),
        Json::String(text) => Value::String(text),
        Json::Array(values) => {
            Value::StrictArray(values.into_iter().map(|v| value(v, depth)).collect::<Option<_>>()?)
        }
        Json::Object(map) => Value::Object(properties(map, depth)?),
    })
}

fn properties(map: Map<String, Json>, depth: usize) -> Option<Vec<amf::Property>> {
    map.into_iter().map(|(name, json)| Some((name, value(json, depth)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(values: &[Value], flags: Flags, ms: i64) -> Frame {
        let mut payload = Vec::new();
        amf::encode_all(values, &mut payload);
        let pts = Timestamp::from_micros(ms * 1_000);
        Frame {
            codec: Codec::ScriptData,
            track: 0,
            flags,
            tag: 0,
            dts: pts,
            pts,
            payload: payload.into(),
        }
    }

    fn text(frame: &Frame) -> Json {
        let text = Text::of(frame).expect("it can be told");
        let whole = text.whole(&PacketLog::default(), false, &Player::new(0, None, None));
        serde_json::from_str(&whole).expect("it is JSON")
    }

    #[test]
    fn a_cue_point_is_told_with_its_time_and_its_data() {
        let data = Value::object([
            ("name", Value::String("chapter \"1\"".into())),
            ("time", Value::Number(1.5)),
            ("count", Value::Number(3.0)),
            ("none", Value::Number(f64::NAN)),
        ]);
        let frame = script(&[Value::String("onCuePoint".into()), data], Flags::empty(), 1_234);
        let expected = serde_json::json!({
            "type": "onCuePoint",
            "pts_ms": 1234,
            "data": { "name": "chapter \"1\"", "time": 1.5, "count": 3, "none": null },
        });
        assert_eq!(text(&frame), expected);
    }

    #[test]
    fn several_values_are_told_as_a_list_and_none_as_null() {
        let name = Value::String("onFI".into());
        let two = script(&[name.clone(), Value::Number(1.0), Value::Null], Flags::empty(), 0);
        assert_eq!(text(&two)["data"], serde_json::json!([1, null]));
        assert_eq!(text(&script(&[name], Flags::empty(), 0))["data"], Json::Null);
    }

    #[test]
    fn what_is_no_script_data_is_not_told() {
        let number = script(&[Value::Number(1.0)], Flags::empty(), 0);
        assert!(Text::of(&number).is_none());
        let broken = Frame { payload: Bytes::from_static(&[2, 0, 9]), ..number.clone() };
        assert!(Text::of(&broken).is_none());
        assert!(Text::of(&Frame { codec: Codec::OtherData, ..number }).is_none());
    }

    #[test]
    fn what_a_publisher_says_comes_out_as_it_was_said() {
        let said = r#"{"type":"onScore","data":{"home":2,"away":[1,true,null],"by":{"x":"ü"}}}"#;
        let told = text(&frame(said).expect("it fits"));
        let said: Json = serde_json::from_str(said).expect("it is JSON");
        assert_eq!((&told["type"], &told["data"]), (&said["type"], &said["data"]));
    }

    #[test]
    fn anything_else_is_the_text_of_on_text_data() {
        let deep =
            format!("{{\"type\":\"onDeep\",\"data\":{}1{}}}", "[".repeat(40), "]".repeat(40));
        for said in
            ["hello", "{\"type\":\"onMetaData\",\"data\":{}}", "{\"type\":\"other\"}", &deep]
        {
            let told = text(&frame(said).expect("it fits"));
            assert_eq!(told["type"], "onTextData", "{said}");
            assert_eq!(told["data"]["text"], *said);
        }
        assert!(frame(&"x".repeat(MOST_TEXT + 1)).is_none());
    }
}
