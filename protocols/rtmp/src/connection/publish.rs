//! The publishing side of a connection: messages in, frames to the stream.

use std::time::{Duration, Instant};

use container::flv::{Demuxer, TagKind};
use gate::{ClientHold, Close};
use hub::{Counters, Publisher, Shard};
use media::timeline::ClockUnwrap;
use media::{Codec, Flags, Frame, Timestamp};
use smallvec::SmallVec;

use super::{Connection, attend, taken_over};
use crate::session::server::{PublishAsked, PublishKind};
use crate::wire::message::Media;
use crate::{events, metadata};

pub(super) struct Publication {
    pub(super) msid: u32,
    pub(super) publisher: Publisher,
    pub(super) demuxer: Demuxer,
    pub(super) clock: ClockUnwrap,
    /// How long it may be silent, now and once media has come.
    pub(super) timeout: Duration,
    normal: Duration,
    /// Pause between two reads, as configured.
    merged_read: Duration,
    at_once: bool,
    pub(super) last: Instant,
    pub(super) dropped: u64,
    pub(super) _hold: ClientHold,
}

impl Publication {
    /// When it may be read again, if not at once.
    pub(super) fn read_at(&self, shard: &Shard) -> Option<Instant> {
        let pause = match self.merged_read {
            Duration::ZERO if self.at_once => Duration::ZERO,
            Duration::ZERO => shard.read_pause(),
            configured => configured,
        };
        (!pause.is_zero()).then(|| self.last + pause)
    }

    fn unwrap(&mut self, timestamp_ms: u32) -> Timestamp {
        Timestamp::from_millis(self.clock.unwrap(u64::from(timestamp_ms)))
    }
}

impl Connection {
    pub(super) async fn publish_asked(&mut self, asked: PublishAsked) -> Result<(), Close> {
        let kind = match asked.kind {
            PublishKind::Flash => "flash-publish",
            PublishKind::Fmle => "fmle-publish",
            PublishKind::Haivision => "haivision-publish",
        };
        events::identified(&self.session.id, kind, &asked.url);
        let intent = self.intent(kind, true, &asked.url);
        let Self { host, shard, session, socket, rtmp, .. } = &mut *self;
        let answer = host.publish(shard, session, intent);
        match attend((socket, rtmp), (shard, session), answer).await? {
            Ok((publisher, hold)) => {
                let stream = publisher.stream().key.url();
                let o = self.options(&publisher.stream().key.vhost);
                let ms = |d: Duration| d.as_millis();
                let id = &self.session.id;
                events::publishing(
                    id,
                    &stream,
                    ms(o.merged_read),
                    ms(o.first_packet),
                    ms(o.normal),
                );
                self.rtmp.accept_publish(Instant::now(), asked.msid);
                self.publications.push(Publication {
                    msid: asked.msid,
                    publisher,
                    demuxer: Demuxer::new(),
                    clock: ClockUnwrap::rtmp_millis(),
                    timeout: o.first_packet,
                    normal: o.normal,
                    merged_read: o.merged_read,
                    at_once: o.at_once,
                    last: Instant::now(),
                    dropped: 0,
                    _hold: hold,
                });
                Ok(())
            }
            Err(refusal) => {
                let reason = refusal.to_string();
                let code = "NetStream.Publish.BadName";
                self.rtmp.refuse_publish(Instant::now(), asked.msid, code, &reason);
                self.say().await?;
                Err(Close::peer(refusal.code(), reason))
            }
        }
    }

    pub(super) fn media(
        &mut self,
        msid: u32,
        media: Media,
        timestamp_ms: u32,
        body: bytes::Bytes,
    ) -> Result<(), Close> {
        let Some(p) = self.publications.iter_mut().find(|p| p.msid == msid) else { return Ok(()) };
        p.last = Instant::now();
        p.timeout = p.normal;
        let counters = &self.session.counters;
        Counters::add(&counters.messages, 1);
        let (kind, dts) = match media {
            // Script data is stamped 0 by many encoders: it must not move the clock.
            Media::Data => (TagKind::Script, Timestamp::from_millis(i64::from(timestamp_ms))),
            Media::Audio => (TagKind::Audio, p.unwrap(timestamp_ms)),
            Media::Video => (TagKind::Video, p.unwrap(timestamp_ms)),
        };
        let mut frames: SmallVec<[Frame; 2]> = SmallVec::new();
        if let Err(e) = p.demuxer.push(kind, dts, body, &mut frames) {
            p.dropped = p.dropped.saturating_add(1);
            events::dropped(&self.session.id, e.reason(), p.dropped);
            p.publisher.touch();
        }
        for mut frame in frames {
            if frame.flags.contains(Flags::CONFIG) {
                if frame.codec == Codec::ScriptData {
                    let identity = &self.host.identity;
                    let limits = container::amf::Limits::default();
                    let server = identity.software();
                    let new = metadata::rewrite(&frame.payload, &limits, &server, identity.version);
                    if let Some(new) = new {
                        events::metadata(&self.session.id, &new);
                        let auto = self.config.vhost(&p.publisher.stream().key.vhost);
                        if new.atc && auto.is_some_and(|v| v.bool("play.atc_auto")) {
                            p.publisher.set_atc(true);
                        }
                        frame.payload = new.payload;
                    }
                } else {
                    events::configuration(&self.session.id, &frame);
                }
            }
            if p.publisher.push(frame).is_err() {
                return Err(taken_over());
            }
        }
        Ok(())
    }
}
