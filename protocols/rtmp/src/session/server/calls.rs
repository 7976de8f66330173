//! What a client's calls do.

use std::time::Instant;

use container::amf::Value;

use super::event::{Connect, Event, PlayAsked, PublishAsked, PublishKind, PublishMode};
use super::{NetStream, Phase, Role, Server};
use crate::session::Close;
use crate::wire::message::Command;
use crate::wire::url::{self, StreamUrl};

impl Server {
    pub(super) fn handle_connect(&mut self, call: &Command) -> Result<(), Close> {
        let command = call.args.first().cloned().unwrap_or(Value::Null);
        let text = |name: &str| command.get(name).and_then(Value::as_str).map(str::to_owned);
        let tc_url = text("tcUrl").filter(|tc_url| !tc_url.is_empty());
        let tc_url = tc_url.ok_or(url::Error::NoTcUrl)?;
        // The name of the stream comes later; any will do to check the rest.
        let vhost = StreamUrl::parse(&tc_url, "stream")?.vhost;
        self.tc_url = tc_url.as_str().into();
        let connect = Connect {
            vhost,
            app: text("app").unwrap_or_default(),
            tc_url,
            page_url: text("pageUrl"),
            swf_url: text("swfUrl"),
            flash_ver: text("flashVer"),
            object_encoding: command.get("objectEncoding").and_then(Value::as_f64).unwrap_or(0.0),
            args: call.args.get(1).filter(|value| value.is_object()).cloned(),
            command,
            client_addr: self.client_addr,
        };
        self.object_encoding = connect.object_encoding as f32;
        let enhanced = ["fourCcList", "capsEx", "videoFourCcInfoMap", "audioFourCcInfoMap"];
        self.enhanced = enhanced.iter().any(|name| connect.command.get(name).is_some());
        self.phase = Phase::ConnectAsked;
        self.events.push_back(Event::ConnectAsked(Box::new(connect)));
        Ok(())
    }

    pub(super) fn handle_call(
        &mut self,
        now: Instant,
        msid: u32,
        call: &Command,
    ) -> Result<(), Close> {
        // What a Flash publisher calls on its NetStream ends the publication, whatever it is.
        if matches!(self.role(msid), Some(Role::Publishing(PublishKind::Flash))) {
            self.stop(now, msid);
        }
        let transaction = call.transaction;
        match call.name.as_str() {
            "createStream" => self.create_stream(transaction)?,
            "releaseStream" | "FCPublish" => {
                if self.streams.is_empty() {
                    self.manner = PublishKind::Fmle;
                } else if self.manner == PublishKind::Flash {
                    self.manner = PublishKind::Haivision;
                }
                self.reply(transaction, Value::Undefined);
            }
            "FCUnpublish" => self.fc_unpublish(now, msid, transaction),
            "publish" => self.publish(now, msid, call)?,
            "play" => self.play(now, msid, call)?,
            "pause" | "pauseRaw" => {
                let on = call.boolean(1).unwrap_or(true);
                if let Some(msid) = self.playing(msid) {
                    self.reply_pause(msid, on);
                    self.events.push_back(Event::Pause { msid, on });
                }
            }
            "receiveAudio" | "receiveVideo" => {
                let on = call.boolean(1).unwrap_or(true);
                if let Some(msid) = self.playing(msid) {
                    self.events.push_back(if call.name == "receiveAudio" {
                        Event::ReceiveAudio { msid, on }
                    } else {
                        Event::ReceiveVideo { msid, on }
                    });
                }
            }
            "seek" => {
                if let Some(msid) = self.playing(msid) {
                    self.refuse_seek(msid);
                }
            }
            "closeStream" => {
                if matches!(self.role(msid), Some(Role::Publishing(_))) {
                    self.notify_unpublished(msid);
                }
                self.stop(now, msid);
            }
            "deleteStream" => {
                let id = call.number(1).map_or(msid, |id| id as u32);
                self.stop(now, id);
                self.streams.retain(|stream| stream.id != id);
                if self.streams.is_empty() {
                    self.manner = PublishKind::Flash;
                }
            }
            "_result" | "_error" | "onStatus" => {}
            // A live stream has no length; FFmpeg complains of anything but a number.
            "getStreamLength" => self.reply(transaction, Value::Number(0.0)),
            _ => {
                let wanted = match (self.is_publishing(), self.is_playing()) {
                    (true, _) => false,
                    (false, true) => transaction > 0.0,
                    (false, false) => true,
                };
                if wanted {
                    self.reply(transaction, Value::Null);
                }
            }
        }
        Ok(())
    }

    fn create_stream(&mut self, transaction: f64) -> Result<(), Close> {
        if self.streams.len() >= self.limits.net_streams {
            return Err(Close::NetStreams(self.limits.net_streams));
        }
        let id = self.add_stream(None);
        self.reply(transaction, Value::Number(f64::from(id)));
        Ok(())
    }

    /// A new NetStream of the wanted id, or the lowest that is free.
    fn add_stream(&mut self, wanted: Option<u32>) -> u32 {
        let free = |id: &u32| self.streams.iter().all(|stream| stream.id != *id);
        let id = wanted.filter(|id| *id > 0).or_else(|| (1..).find(free)).unwrap_or(1);
        if self.streams.capacity() == 0 {
            // Nearly all clients need one.
            self.streams.reserve_exact(1);
        }
        self.streams.push(NetStream { id, role: Role::Idle, buffer_ms: 0 });
        id
    }

    /// The NetStream that `publish` or `play` on `msid` means.
    fn stream_for(&mut self, msid: u32) -> Result<u32, Close> {
        if self.streams.iter().any(|stream| stream.id == msid) {
            return Ok(msid);
        }
        match self.streams.as_slice() {
            // Some clients use another id than they were given, or never asked for one.
            [only] => Ok(only.id),
            [] => Ok(self.add_stream(Some(msid))),
            _ => Err(Close::NetStreams(self.streams.len())),
        }
    }

    fn publish(&mut self, now: Instant, msid: u32, call: &Command) -> Result<(), Close> {
        let url = StreamUrl::parse(&self.tc_url, call.text(1).unwrap_or_default())?;
        let msid = self.stream_for(msid)?;
        self.stop(now, msid);
        let kind = self.manner;
        let mode = match call.text(2) {
            Some("record") => PublishMode::Record,
            Some("append") => PublishMode::Append,
            _ => PublishMode::Live,
        };
        self.set_role(msid, Role::PublishAsked(kind));
        let asked = PublishAsked { msid, url, kind, mode };
        self.events.push_back(Event::PublishAsked(Box::new(asked)));
        Ok(())
    }

    fn play(&mut self, now: Instant, msid: u32, call: &Command) -> Result<(), Close> {
        let url = StreamUrl::parse(&self.tc_url, call.text(1).unwrap_or_default())?;
        let msid = self.stream_for(msid)?;
        self.stop(now, msid);
        let asked = PlayAsked {
            msid,
            url,
            start: call.number(2).unwrap_or(-2.0),
            // Negative and zero mean no end; the cast saturates.
            duration_ms: call.number(3).filter(|millis| *millis >= 1.0).map(|millis| millis as u32),
            // A flag for most clients, a number for some.
            reset: call.boolean(4).or(call.number(4).map(|n| n != 0.0)).unwrap_or(true),
        };
        self.set_role(msid, Role::PlayAsked);
        self.events.push_back(Event::PlayAsked(Box::new(asked)));
        Ok(())
    }

    fn fc_unpublish(&mut self, now: Instant, msid: u32, transaction: f64) {
        let publishing = |stream: &NetStream| matches!(stream.role, Role::Publishing(_));
        // It comes on NetStream 0 and names the stream by its name; with several the first is
        // meant, as encoders publish but one.
        let exact = self.streams.iter().find(|stream| stream.id == msid && publishing(stream));
        let id = exact.or_else(|| self.streams.iter().find(|s| publishing(s))).map(|s| s.id);
        match id {
            Some(id) => {
                self.reply_fc_unpublish(id, transaction);
                self.stop(now, id);
            }
            None => self.reply(transaction, Value::Undefined),
        }
    }

    /// Ends what the NetStream does, if anything.
    fn stop(&mut self, now: Instant, msid: u32) {
        let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == msid) else {
            return;
        };
        let event = match stream.role {
            Role::Publishing(_) => Event::Unpublish { msid },
            Role::Playing => Event::StopPlay { msid },
            Role::Idle | Role::PublishAsked(_) | Role::PlayAsked => return,
        };
        stream.role = Role::Idle;
        self.events.push_back(event);
        if !self.is_publishing() && !self.is_playing() {
            self.set_deadline(now, self.limits.reidentify);
        }
    }

    /// The NetStream that a player's call means: its own, or the only one that plays.
    fn playing(&self, msid: u32) -> Option<u32> {
        let mut playing = self.streams.iter().filter(|s| matches!(s.role, Role::Playing));
        if playing.clone().any(|stream| stream.id == msid) {
            return Some(msid);
        }
        match (playing.next(), playing.next()) {
            (Some(stream), None) => Some(stream.id),
            _ => None,
        }
    }

    pub(super) fn role(&self, msid: u32) -> Option<&Role> {
        self.streams.iter().find(|stream| stream.id == msid).map(|stream| &stream.role)
    }

    pub(super) fn set_role(&mut self, msid: u32, role: Role) {
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == msid) {
            stream.role = role;
        }
    }
}
