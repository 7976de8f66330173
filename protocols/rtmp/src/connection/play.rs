//! The playing side of a connection: joining, pausing, changing tracks, several NetStreams.

use std::rc::Rc;
use std::time::{Duration, Instant};

use gate::{Close, Detail, PlayGrant, Player, Socket};
use hub::Subscriber;

use super::{Connection, LINGER, REPLY};
use crate::session::server::PlayAsked;
use crate::{RtmpForm, events};

pub(super) struct Playing {
    pub(super) msid: u32,
    pub(super) form: RtmpForm,
    again: Again,
    pub(super) player: Player,
    pub(super) until: Option<Instant>,
}

/// What is needed to join again in another form: nothing, where the session is listed with it.
pub(super) type Again = Option<Rc<Detail>>;

/// A second NetStream that plays on the same connection: its messages go between those of the
/// first.
pub(super) struct Other {
    pub(super) msid: u32,
    form: RtmpForm,
    again: Again,
    pub(super) sub: Subscriber,
    _hold: PlayGrant,
}

impl Connection {
    pub(super) async fn play_asked(&mut self, asked: PlayAsked) -> Result<(), Close> {
        events::identified(&self.session.id, "rtmp-play", &asked.url);
        let intent = self.intent("rtmp-play", false, &asked.url);
        match self.host.play(&self.session, intent.clone()).await {
            Ok(grant) => {
                let stream = &grant.stream;
                let id = &self.session.id;
                let publisher = stream.publisher_id();
                events::playing(id, &stream.key.url(), stream.is_active(), &publisher);
                self.rtmp.accept_play(Instant::now(), asked.msid);
                let form = RtmpForm {
                    chunk_size: self.rtmp.chunk_size(),
                    msid: asked.msid,
                    audio: true,
                    video: true,
                };
                let until =
                    asked.duration_ms.map(|ms| Instant::now() + Duration::from_millis(ms.into()));
                let again = self.remember(intent.detail);
                self.join(form, again, grant, until).await
            }
            Err(refusal) => {
                let reason = refusal.to_string();
                let code = "NetStream.Play.StreamNotFound";
                self.rtmp.refuse_play(Instant::now(), asked.msid, code, &reason);
                self.say().await?;
                Err(Close::peer(refusal.code(), reason))
            }
        }
    }

    /// What joining again takes beside what the session is listed with.
    fn remember(&mut self, detail: Detail) -> Again {
        let listed = self.session.detail();
        // The listing names the virtual host that serves; the client may have asked for another.
        let same =
            listed.is_some_and(|l| Detail { vhost: l.vhost.clone(), ..detail.clone() } == *l);
        if same {
            self.caller = None;
            return None;
        }
        Some(Rc::new(detail))
    }

    async fn join(
        &mut self,
        form: RtmpForm,
        again: Again,
        grant: PlayGrant,
        until: Option<Instant>,
    ) -> Result<(), Close> {
        if self.player.is_some() {
            self.say().await?;
            let options = grant.subscribe_options(&self.session);
            let (stream, delivery) = (grant.stream.clone(), grant.delivery);
            let sub = self.shard.subscribe_pull(&stream, form.form(), delivery, options, &[]);
            self.others.push(Other { msid: form.msid, form, again, sub, _hold: grant });
            self.mix();
            return Ok(());
        }
        let initial = self.rtmp.poll_transmit().unwrap_or_default();
        let socket = self.socket.clone();
        let player = Player::join(&self.shard, &self.session, grant, form.form(), socket, &initial);
        self.player = Some(Box::new(Playing { msid: form.msid, form, again, player, until }));
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
                let (form, again) = (next.form, next.again.clone());
                drop(next);
                let _ = self.join_again(form, again, None).await;
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
            let other = self.others.swap_remove(at);
            let mut form = other.form;
            change(&mut form);
            let again = other.again.clone();
            drop(other);
            return self.join_again(form, again, None).await;
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
            Some(old) => self.join_again(form, old.again.clone(), old.until).await,
            None => Ok(()),
        }
    }

    async fn join_again(
        &mut self,
        form: RtmpForm,
        again: Again,
        until: Option<Instant>,
    ) -> Result<(), Close> {
        let detail = again.as_deref().or_else(|| self.session.detail()).cloned();
        let intent = self.intent_of(detail.unwrap_or_default());
        match self.host.play_on(&self.session, intent) {
            Ok(grant) => self.join(form, again, grant, until).await,
            Err(refusal) => Err(Close::peer(refusal.code(), refusal.to_string())),
        }
    }
}
