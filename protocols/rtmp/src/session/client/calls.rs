//! What a client calls, and what it makes of the answers.

use container::amf::Value;

use super::{Client, Event, Phase, Role};
use crate::session::Close;
use crate::wire::chunk::{MAX_MESSAGE_LENGTH, MIN_CHUNK_SIZE};
use crate::wire::message::{self, Command, UserControl, cid};

/// The numbers that the calls have; each is made at most once.
const CONNECT: f64 = 1.0;
const RELEASE_STREAM: f64 = 2.0;
const FC_PUBLISH: f64 = 3.0;
const CREATE_STREAM: f64 = 4.0;
const START: f64 = 5.0;
const FC_UNPUBLISH: f64 = 6.0;

/// `play` from the live edge, or a recording if there is no live stream, in milliseconds.
const LIVE_OR_RECORDED: f64 = -2000.0;

impl Client {
    pub(super) fn call_connect(&mut self) {
        let config = &self.config;
        let mut properties = vec![("app".to_owned(), config.url.app.as_str().into())];
        let mut set = |name: &str, value: Value| properties.push((name.to_owned(), value));
        if config.role != Role::Play {
            set("type", "nonprivate".into());
        }
        set("flashVer", config.flash_ver.as_str().into());
        if let Some(swf_url) = &config.swf_url {
            set("swfUrl", swf_url.as_str().into());
        }
        set("tcUrl", config.url.tc_url().into());
        if config.role == Role::Play {
            set("fpad", false.into());
            set("capabilities", 15.0.into());
            set("audioCodecs", 4071.0.into());
            set("videoCodecs", 252.0.into());
            set("videoFunction", 1.0.into());
        }
        if let Some(page_url) = &config.page_url {
            set("pageUrl", page_url.as_str().into());
        }
        set("objectEncoding", 0.0.into());
        properties.extend(config.extra.iter().cloned());
        let mut args = vec![Value::Object(properties)];
        args.extend(config.args.clone());
        self.call(cid::COMMAND, 0, "connect", CONNECT, &args);
    }

    fn call_create_stream(&mut self) {
        let size = self.config.chunk_size.clamp(MIN_CHUNK_SIZE, MAX_MESSAGE_LENGTH);
        message::encode_set_chunk_size(&mut self.output, size, self.chunk_size);
        self.chunk_size = size;
        if self.config.role == Role::PublishFmle {
            let name: Value = self.config.url.name().into();
            let args = [Value::Null, name];
            self.call(cid::COMMAND, 0, "releaseStream", RELEASE_STREAM, &args);
            self.call(cid::COMMAND, 0, "FCPublish", FC_PUBLISH, &args);
        }
        self.call(cid::COMMAND, 0, "createStream", CREATE_STREAM, &[Value::Null]);
    }

    fn call_start(&mut self) {
        let name = self.config.url.name().into();
        if self.config.role == Role::Play {
            let args = [Value::Null, name, LIVE_OR_RECORDED.into()];
            self.call(cid::STREAM, self.msid, "play", START, &args);
            let millis = self.config.buffer_ms;
            UserControl::SetBufferLength { stream_id: self.msid, millis }
                .encode(&mut self.output, self.chunk_size);
        } else {
            let args = [Value::Null, name, "live".into()];
            self.call(cid::STREAM, self.msid, "publish", START, &args);
        }
    }

    pub(super) fn call_stop(&mut self) {
        if self.config.role == Role::PublishFmle {
            let args = [Value::Null, self.config.url.name().into()];
            self.call(cid::COMMAND, 0, "FCUnpublish", FC_UNPUBLISH, &args);
        }
        let args = [Value::Null, f64::from(self.msid).into()];
        self.call(cid::COMMAND, 0, "deleteStream", 0.0, &args);
    }

    pub(super) fn handle_command(&mut self, command: &Command) -> Result<(), Close> {
        let info = command.args.get(1).unwrap_or(&Value::Null);
        match command.name.as_str() {
            "_result" => self.handle_result(command.transaction, info),
            // Many servers do not know FMLE's calls; that hurts nobody.
            "_error" if [CONNECT, CREATE_STREAM, START].contains(&command.transaction) => {
                self.refused(info)
            }
            "onStatus" => self.handle_status(info),
            // Bandwidth checks, and echoes of calls: nobody waits for an answer.
            _ => Ok(()),
        }
    }

    fn handle_result(&mut self, transaction: f64, info: &Value) -> Result<(), Close> {
        if matches!(self.phase, Phase::Connecting) && transaction == CONNECT {
            self.events.push_back(Event::Connected { info: info.clone() });
            self.call_create_stream();
            self.phase = Phase::Creating;
        } else if matches!(self.phase, Phase::Creating) && transaction == CREATE_STREAM {
            // The cast saturates; a server that gives no number gets the usual one.
            self.msid = info.as_f64().map_or(1, |id| id as u32);
            self.call_start();
            self.phase = Phase::Starting;
        }
        Ok(())
    }

    fn handle_status(&mut self, info: &Value) -> Result<(), Close> {
        let code = text(info, "code");
        let publishing = self.config.role != Role::Play;
        match code.as_str() {
            "NetStream.Publish.Start" if publishing && self.start() => {
                self.events.push_back(Event::PublishStarted);
            }
            "NetStream.Play.Start" if !publishing && self.start() => {
                self.events.push_back(Event::PlayStarted);
            }
            _ if redirect(info).is_some() => return self.refused(info),
            _ if text(info, "level") == "error" && !matches!(self.phase, Phase::Started) => {
                return self.refused(info);
            }
            _ => self.push_status(info),
        }
        Ok(())
    }

    /// From asked to started; false if it was not asked.
    fn start(&mut self) -> bool {
        let asked = matches!(self.phase, Phase::Starting);
        if asked {
            self.phase = Phase::Started;
            self.deadline = None;
        }
        asked
    }

    fn refused(&mut self, info: &Value) -> Result<(), Close> {
        if let Some((tc_url, url)) = redirect(info) {
            // The server keeps the connection until it hears that we understood.
            let args = [Value::Null, url.as_deref().unwrap_or(&tc_url).into()];
            self.call(cid::COMMAND, 0, "redirected", 0.0, &args);
            self.events.push_back(Event::Redirect { tc_url, url });
            return Err(Close::Redirected);
        }
        self.push_status(info);
        Err(Close::Refused)
    }

    fn push_status(&mut self, info: &Value) {
        self.events.push_back(Event::Status {
            level: text(info, "level"),
            code: text(info, "code"),
            description: text(info, "description"),
        });
    }

    fn call(&mut self, cid: u32, msid: u32, name: &str, transaction: f64, args: &[Value]) {
        let (out, size) = (&mut self.output, self.chunk_size);
        // An address has at most 8 KiB; only `extra` and `args` could be longer, and no caller
        // has 16 MiB to say there.
        let _ = message::encode_command(out, cid, msid, name, transaction, args, size);
    }
}

fn text(info: &Value, name: &str) -> String {
    info.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The app's and the stream's new address, if this is a redirect.
fn redirect(info: &Value) -> Option<(String, Option<String>)> {
    let extra = info.get("ex")?;
    let tc_url = extra.get("redirect").and_then(Value::as_str);
    let url = extra.get("redirect2").and_then(Value::as_str);
    let tc_url = tc_url.or(url)?;
    Some((tc_url.to_owned(), url.map(str::to_owned)))
}
