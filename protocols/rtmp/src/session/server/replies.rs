//! What the server says: answers to calls, and the caller's answers to what was asked.

use std::time::Instant;

use container::amf::{self, Value};

use super::event::PublishKind;
use super::{Phase, Role, Server};
use crate::wire::chunk::{MAX_MESSAGE_LENGTH, MIN_CHUNK_SIZE, encode_message};
use crate::wire::message::{self, UserControl, cid, kind};

/// What players take for the server's Flash heritage; some refuse to work without.
const FMS_VERSION: &str = "FMS/3,5,3,888";
const FMS_DATA_VERSION: &str = "3,5,3,888";
const CAPABILITIES: f64 = 127.0;
const MODE: f64 = 1.0;

/// Enhanced RTMP: any coding is forwarded, none decoded or encoded.
const CAN_FORWARD: f64 = 4.0;
/// Enhanced RTMP: several tracks (2) and modifiers (4) are understood; reconnecting on demand (1)
/// is not offered.
const CAPS_EX: f64 = 6.0;

/// The id that every client gets in `onStatus`; none is known to read it, some want it there.
const CLIENT_ID: &str = "ASAICiss";

/// `connect` is the first call, whatever number a client gave it.
const CONNECT_TRANSACTION: f64 = 1.0;

/// How the connection is to be, told once the vhost is known.
#[derive(Clone, Copy, Debug)]
pub struct ConnectOptions<'a> {
    /// Chunk size of what is sent, 128 to 0xFFFFFF; others are clamped.
    pub chunk_size: u32,
    /// Acknowledge what is received by this window even if the client does not ask; 0 for not.
    pub in_ack_size: u32,
    /// The window by which the client is to acknowledge; 0 says nothing to it.
    pub out_ack_size: u32,
    /// What the server says of itself.
    pub info: ServerInfo<'a>,
}

/// What the server says of itself in the answer to `connect`. What is empty is left away.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServerInfo<'a> {
    /// `srs_sig`: the key by which edges know that the rest is there.
    pub signature: &'a str,
    /// `srs_server`: name and version.
    pub server: &'a str,
    /// `srs_license`.
    pub license: &'a str,
    /// `srs_url`.
    pub url: &'a str,
    /// `srs_version`.
    pub version: &'a str,
    /// `srs_authors`.
    pub authors: &'a str,
    /// `srs_server_ip`: the address the client came in by.
    pub ip: &'a str,
    /// `srs_pid`.
    pub pid: u32,
    /// `srs_id`: the session.
    pub id: &'a str,
}

impl ConnectOptions<'_> {
    /// Large enough that nearly no frame is cut, small enough for clients with 16-bit sizes.
    pub const CHUNK_SIZE: u32 = 60_000;
    /// What Flash Media Server used, and clients expect.
    pub const OUT_ACK_SIZE: u32 = 2_500_000;
}

impl Default for ConnectOptions<'_> {
    fn default() -> Self {
        Self {
            chunk_size: Self::CHUNK_SIZE,
            in_ack_size: 0,
            out_ack_size: Self::OUT_ACK_SIZE,
            info: ServerInfo::default(),
        }
    }
}

impl Server {
    /// Lets the client in. No effect unless it was asked.
    pub fn accept_connect(&mut self, now: Instant, options: &ConnectOptions<'_>) {
        if !matches!(self.phase, Phase::ConnectAsked) {
            return;
        }
        if options.in_ack_size > 0 {
            self.acks.set_window(options.in_ack_size);
        }
        if options.out_ack_size > 0 {
            let size = options.out_ack_size;
            message::encode_window_ack_size(&mut self.output, size, self.chunk_size);
        }
        let bandwidth = ConnectOptions::OUT_ACK_SIZE;
        message::encode_set_peer_bandwidth(&mut self.output, bandwidth, self.chunk_size);
        let chunk_size = options.chunk_size.clamp(MIN_CHUNK_SIZE, MAX_MESSAGE_LENGTH);
        message::encode_set_chunk_size(&mut self.output, chunk_size, self.chunk_size);
        self.chunk_size = chunk_size;

        let info = &options.info;
        let mut properties = Value::object([
            ("fmsVer", FMS_VERSION.into()),
            ("capabilities", CAPABILITIES.into()),
            ("mode", MODE.into()),
        ]);
        if let (true, Some(properties)) = (self.enhanced, properties.properties_mut()) {
            let forward = || Value::object([("*", CAN_FORWARD.into())]);
            properties.extend([
                ("fourCcList".to_owned(), Value::StrictArray(vec!["*".into()])),
                ("videoFourCcInfoMap".to_owned(), forward()),
                ("audioFourCcInfoMap".to_owned(), forward()),
                ("capsEx".to_owned(), CAPS_EX.into()),
            ]);
        }
        let mut data = vec![("version".to_owned(), Value::from(FMS_DATA_VERSION))];
        let mut say = |name: &str, value: Value| {
            if value.as_str() != Some("") {
                data.push((name.to_owned(), value));
            }
        };
        say("srs_sig", info.signature.into());
        say("srs_server", info.server.into());
        say("srs_license", info.license.into());
        say("srs_url", info.url.into());
        say("srs_version", info.version.into());
        say("srs_authors", info.authors.into());
        say("srs_server_ip", info.ip.into());
        say("srs_pid", f64::from(info.pid).into());
        say("srs_id", info.id.into());
        let status = Value::object([
            ("level", "status".into()),
            ("code", "NetConnection.Connect.Success".into()),
            ("description", "Connection succeeded".into()),
            ("objectEncoding", f64::from(self.object_encoding).into()),
            ("data", Value::EcmaArray(data)),
        ]);
        self.send(cid::COMMAND, 0, "_result", CONNECT_TRANSACTION, &[properties, status]);
        self.send(cid::COMMAND, 0, "onBWDone", 0.0, &[Value::Null]);
        self.phase = Phase::Open;
        self.set_deadline(now, self.limits.identify);
        self.resume(now);
    }

    /// Turns the client away and ends the session, without an [`Event`](super::Event). No effect
    /// unless it was asked.
    pub fn reject_connect(&mut self, description: &str) {
        if matches!(self.phase, Phase::ConnectAsked) {
            let status = status("error", "NetConnection.Connect.Rejected", description);
            let args = [Value::Null, Value::Object(status)];
            self.send(cid::COMMAND, 0, "_error", CONNECT_TRANSACTION, &args);
            self.shut();
        }
    }

    /// Sends the client elsewhere, as the answer to `connect` or at any time later. The session
    /// ends when the client has understood, or at its time-out.
    ///
    /// `tc_url` is for clients that keep the stream's name, `url` the whole address.
    pub fn redirect(&mut self, now: Instant, tc_url: &str, url: &str) {
        let connecting = match self.phase {
            Phase::ConnectAsked => true,
            Phase::Open => false,
            _ => return,
        };
        let mut status = status("error", "NetConnection.Connect.Rejected", "RTMP 302 Redirect");
        let extra = Value::object([
            ("code", 302.0.into()),
            ("redirect", tc_url.into()),
            ("redirect2", url.into()),
        ]);
        status.push(("ex".to_owned(), extra));
        let args = [Value::Null, Value::Object(status)];
        if connecting {
            self.send(cid::COMMAND, 0, "_error", CONNECT_TRANSACTION, &args);
        } else {
            self.send(cid::STREAM, 0, "onStatus", 0.0, &args);
        }
        self.streams = Vec::new();
        self.phase = Phase::Redirecting;
        self.set_deadline(now, self.limits.redirect);
        self.resume(now);
    }

    /// Lets the client publish. No effect unless it was asked.
    pub fn accept_publish(&mut self, now: Instant, msid: u32) {
        let Some(Role::PublishAsked(kind)) = self.role(msid) else { return };
        let kind = *kind;
        if kind != PublishKind::Flash {
            let args = [
                Value::Null,
                Value::object([
                    ("code", "NetStream.Publish.Start".into()),
                    ("description", "Started publishing stream.".into()),
                ]),
            ];
            self.send(cid::STREAM, msid, "onFCPublish", 0.0, &args);
        }
        let mut status = status("status", "NetStream.Publish.Start", "Started publishing stream.");
        status.push(("clientid".to_owned(), CLIENT_ID.into()));
        self.send_status(msid, status);
        self.set_role(msid, Role::Publishing(kind));
        self.decoder.set_limits(self.limits.chunk);
        self.deadline = None;
        self.resume(now);
    }

    /// Does not let the client publish; it may try again until its time is up. No effect unless it
    /// was asked.
    ///
    /// `code` is for example `NetStream.Publish.BadName`.
    pub fn refuse_publish(&mut self, now: Instant, msid: u32, code: &str, description: &str) {
        if matches!(self.role(msid), Some(Role::PublishAsked(_))) {
            self.refuse(now, msid, code, description);
        }
    }

    /// Lets the client play. Media may follow at once. No effect unless it was asked.
    pub fn accept_play(&mut self, now: Instant, msid: u32) {
        if !matches!(self.role(msid), Some(Role::PlayAsked)) {
            return;
        }
        UserControl::StreamBegin(msid).encode(&mut self.output, self.chunk_size);
        for (code, description) in [
            ("NetStream.Play.Reset", "Playing and resetting stream."),
            ("NetStream.Play.Start", "Started playing stream."),
        ] {
            let mut status = status("status", code, description);
            status.push(("details".to_owned(), "stream".into()));
            status.push(("clientid".to_owned(), CLIENT_ID.into()));
            self.send_status(msid, status);
        }
        let mut body = Vec::new();
        amf::encode_all(&["|RtmpSampleAccess".into(), true.into(), true.into()], &mut body);
        let (out, size) = (&mut self.output, self.chunk_size);
        // Two dozen bytes are never too long.
        let _ = encode_message(out, cid::STREAM, kind::DATA, 0, msid, &[&body], size);
        self.set_role(msid, Role::Playing);
        self.deadline = None;
        self.resume(now);
    }

    /// Does not let the client play; it may try again until its time is up. No effect unless it
    /// was asked.
    ///
    /// `code` is for example `NetStream.Play.StreamNotFound` or `NetStream.Play.Failed`.
    pub fn refuse_play(&mut self, now: Instant, msid: u32, code: &str, description: &str) {
        if matches!(self.role(msid), Some(Role::PlayAsked)) {
            self.refuse(now, msid, code, description);
        }
    }

    /// Tells a player that the stream has ended for good.
    pub fn stream_eof(&mut self, msid: u32) {
        if matches!(self.role(msid), Some(Role::Playing)) {
            UserControl::StreamEof(msid).encode(&mut self.output, self.chunk_size);
        }
    }

    /// Tells a player that the publisher has stopped; another may come.
    pub fn unpublish_notify(&mut self, msid: u32) {
        if matches!(self.role(msid), Some(Role::Playing)) {
            let code = "NetStream.Play.UnpublishNotify";
            self.send_status(msid, status("status", code, "Stream is now unpublished."));
        }
    }

    /// Says something else about a NetStream, by `onStatus`. No effect on one that is not there.
    pub fn notify(&mut self, msid: u32, level: &str, code: &str, description: &str) {
        if self.role(msid).is_some() {
            self.send_status(msid, status(level, code, description));
        }
    }

    fn refuse(&mut self, now: Instant, msid: u32, code: &str, description: &str) {
        self.send_status(msid, status("error", code, description));
        self.set_role(msid, Role::Idle);
        self.set_deadline(now, self.limits.identify);
        self.resume(now);
    }

    pub(super) fn reply(&mut self, transaction: f64, value: Value) {
        self.send(cid::COMMAND, 0, "_result", transaction, &[Value::Null, value]);
    }

    pub(super) fn reply_pause(&mut self, msid: u32, on: bool) {
        let (code, description, event) = if on {
            ("NetStream.Pause.Notify", "Paused stream.", UserControl::StreamEof(msid))
        } else {
            ("NetStream.Unpause.Notify", "Unpaused stream.", UserControl::StreamBegin(msid))
        };
        self.send_status(msid, status("status", code, description));
        event.encode(&mut self.output, self.chunk_size);
    }

    pub(super) fn refuse_seek(&mut self, msid: u32) {
        let description = "A live stream cannot be sought.";
        self.send_status(msid, status("error", "NetStream.Seek.Failed", description));
    }

    pub(super) fn reply_fc_unpublish(&mut self, msid: u32, transaction: f64) {
        let args = [
            Value::Null,
            Value::object([
                ("code", "NetStream.Unpublish.Success".into()),
                ("description", "Stop publishing stream.".into()),
            ]),
        ];
        self.send(cid::STREAM, msid, "onFCUnpublish", 0.0, &args);
        self.reply(transaction, Value::Undefined);
        self.notify_unpublished(msid);
    }

    pub(super) fn notify_unpublished(&mut self, msid: u32) {
        let code = "NetStream.Unpublish.Success";
        let mut status = status("status", code, "Stream is now unpublished");
        status.push(("clientid".to_owned(), CLIENT_ID.into()));
        self.send_status(msid, status);
    }

    fn send_status(&mut self, msid: u32, status: Vec<amf::Property>) {
        let args = [Value::Null, Value::Object(status)];
        self.send(cid::STREAM, msid, "onStatus", 0.0, &args);
    }

    fn send(&mut self, cid: u32, msid: u32, name: &str, transaction: f64, args: &[Value]) {
        let (out, size) = (&mut self.output, self.chunk_size);
        // Nothing that is said here comes near the 16 MiB that a message may have.
        let _ = message::encode_command(out, cid, msid, name, transaction, args, size);
    }
}

fn status(level: &str, code: &str, description: &str) -> Vec<amf::Property> {
    vec![
        ("level".to_owned(), level.into()),
        ("code".to_owned(), code.into()),
        ("description".to_owned(), description.into()),
    ]
}
