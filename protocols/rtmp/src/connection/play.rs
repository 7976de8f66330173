//! The playing side of a connection: joining, pausing, changing tracks, several NetStreams.

use std::time::{Duration, Instant};

use gate::{ClientHold, Close, Detail, PlayGrant, Player, Socket};
use hub::Subscriber;

use super::{Connection, LINGER, REPLY, attend};
use crate::session::server::PlayAsked;
use crate::{RtmpForm, events};

pub(super) struct Playing {
    pub(super) msid: u32,
    pub(super) form: RtmpForm,
    pub(super) player: Player,
    pub(super) until: Option<Instant>,
}

/// A second NetStream that plays on the same connection: its messages go between those of the
/// first.
pub(super) struct Other {
    pub(super) msid: u32,
    form: RtmpForm,
    pub(super) sub: Subscriber,
    hold: Option<ClientHold>,
}

impl Connection {
    pub(super) async fn play_asked(&mut self, asked_for: PlayAsked) -> Result<(), Close> {
        events::identified(&self.session.id, "rtmp-play", &asked_for.url);
        let intent = self.intent("rtmp-play", false, &asked_for.url);
        let caller = [&intent.detail.tc_url, &intent.detail.page_url, &intent.detail.swf_url];
        let listed = |d: &Detail| caller == [&d.tc_url, &d.page_url, &d.swf_url];
        let Self { host, shard, session, socket, rtmp, .. } = &mut *self;
        let asked = host.ask_to_play(session, intent.clone());
        let asked = match attend((socket, rtmp), (shard, session), asked).await? {
            Ok(asked) => asked,
            Err(refusal) => {
                let reason = refusal.to_string();
                let code = "NetStream.Play.StreamNotFound";
                self.rtmp.refuse_play(Instant::now(), asked_for.msid, code, &reason);
                self.say().await?;
                return Err(Close::peer(refusal.code(), reason));
            }
        };
        let stream = asked.stream();
        let publisher = stream.publisher_id();
        events::playing(&self.session.id, &stream.key.url(), stream.is_active(), &publisher);
        self.rtmp.accept_play(Instant::now(), asked_for.msid);
        // The listing says it from now on.
        if self.session.detail().is_some_and(listed) {
            self.caller = None;
        }
        if asked.waits() {
            // Players are told that they play before others are asked, as they are by SRS.
            self.say().await?;
        }
        let Self { shard, session, socket, rtmp, .. } = &mut *self;
        let grant = match attend((socket, rtmp), (shard, session), asked.begin()).await? {
            Ok(grant) => grant,
            Err(refusal) => {
                let reason = refusal.to_string();
                self.rtmp.notify(asked_for.msid, "error", "NetStream.Play.Failed", &reason);
                self.say().await?;
                return Err(Close::peer(refusal.code(), reason));
            }
        };
        let form = RtmpForm {
            chunk_size: self.rtmp.chunk_size(),
            msid: asked_for.msid,
            audio: true,
            video: true,
            publish: false,
        };
        let until =
            asked_for.duration_ms.map(|ms| Instant::now() + Duration::from_millis(ms.into()));
        self.join(form, grant, until).await
    }

    async fn join(
        &mut self,
        form: RtmpForm,
        grant: PlayGrant,
        until: Option<Instant>,
    ) -> Result<(), Close> {
        if self.player.is_some() {
            self.say().await?;
            let options = grant.subscribe_options(&self.session);
            let PlayGrant { stream, delivery, hold, .. } = grant;
            let sub = self.shard.subscribe_pull(&stream, form.form(), delivery, options, &[]);
            self.others.push(Other { msid: form.msid, form, sub, hold });
            self.mix();
            return Ok(());
        }
        let initial = self.rtmp.poll_transmit().unwrap_or_default();
        let socket = self.socket.clone();
        let player = Player::join(&self.shard, &self.session, grant, form.form(), socket, &initial);
        self.player = Some(Box::new(Playing { msid: form.msid, form, player, until }));
        Ok(())
    }

    /// Moves what the other NetStreams have into the connection, whole messages at a time.
    pub(super) fn mix(&mut self) {
        let Some(playing) = &self.player else { return };
        let mut bytes = Vec::new();
        for other in &self.others {
            other.sub.take(usize::MAX, &mut bytes);
            if !bytes.is_empty() {
                playing.player.subscriber().send_control(&bytes);
                bytes.clear();
            }
        }
    }

    pub(super) fn pause(&mut self, msid: u32, on: bool) {
        if let Some(playing) = self.player.as_ref().filter(|p| p.msid == msid) {
            playing.player.subscriber().pause(on);
        }
        if let Some(other) = self.others.iter().find(|o| o.msid == msid) {
            other.sub.pause(on);
        }
    }

    /// Takes the first player off the socket, at a message's end.
    async fn release(&mut self) -> Option<Box<Playing>> {
        let playing = self.player.take()?;
        let sub = playing.player.subscriber();
        sub.pause(true);
        let drained = async {
            match self.socket {
                Socket::Tcp(_) => sub.drained().await,
                // Over TLS the player's own loop has to push the bytes out.
                Socket::Tls(_) => {
                    let _ = tokio::time::timeout(LINGER, playing.player.drive()).await;
                }
            }
        };
        let _ = tokio::time::timeout(REPLY, drained).await;
        Some(playing)
    }

    pub(super) async fn stop_play(&mut self, msid: u32) {
        self.others.retain(|o| o.msid != msid);
        if self.player.as_ref().is_some_and(|p| p.msid == msid) {
            self.release().await;
            if !self.others.is_empty() {
                let next = self.others.remove(0);
                let Other { form, sub, hold, .. } = next;
                drop(sub);
                let _ = self.join_again(form, hold, None).await;
            }
        }
    }

    /// The player wants other tracks: it joins again, in another form.
    pub(super) async fn rejoin(
        &mut self,
        msid: u32,
        change: impl Fn(&mut RtmpForm),
    ) -> Result<(), Close> {
        if let Some(at) = self.others.iter().position(|o| o.msid == msid) {
            let Other { mut form, sub, hold, .. } = self.others.swap_remove(at);
            change(&mut form);
            drop(sub);
            return self.join_again(form, hold, None).await;
        }
        let Some(mut form) = self.player.as_ref().filter(|p| p.msid == msid).map(|p| p.form) else {
            return Ok(());
        };
        let before = form;
        change(&mut form);
        if form == before {
            return Ok(());
        }
        match self.release().await {
            Some(old) => self.join_again(form, old.player.leave(), old.until).await,
            None => Ok(()),
        }
    }

    async fn join_again(
        &mut self,
        form: RtmpForm,
        hold: Option<ClientHold>,
        until: Option<Instant>,
    ) -> Result<(), Close> {
        let Some(hold) = hold else { return Ok(()) };
        match self.host.play_on(hold) {
            Ok(grant) => self.join(form, grant, until).await,
            Err(refusal) => Err(Close::peer(refusal.code(), refusal.to_string())),
        }
    }
}
