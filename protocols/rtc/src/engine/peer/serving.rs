//! What a viewer is sent when it has its turn.

use std::rc::Rc;

use hub::Counters;

use super::super::batch::{Batch, Tally};
use super::super::log::PacketLog;
use super::super::player::Way;
use super::super::shard::RtcShard;
use super::{Body, Peer, Playing, Role};

impl Peer {
    /// The turn of a viewer in the walk. What it sends may wait in `batch`: it is told of by
    /// [`sent`](Self::sent) then.
    pub(crate) fn walk(self: &Rc<Self>, shard: &RtcShard, log: &PacketLog, batch: &mut Batch) {
        let mut body = self.body.borrow_mut();
        let behind = matches!(&body.role, Role::Play(playing) if playing.behind);
        if body.connected && !behind {
            self.serve(shard, log, &mut body, batch);
        }
    }

    /// What has become of what waited.
    pub(crate) fn sent(&self, shard: &RtcShard, tally: Tally) {
        if let Role::Play(playing) = &self.body.borrow().role {
            self.book(shard, playing, tally);
        }
    }

    pub(super) fn serve(
        self: &Rc<Self>,
        shard: &RtcShard,
        log: &PacketLog,
        body: &mut Body,
        batch: &mut Batch,
    ) {
        let (Role::Play(playing), Some(road)) = (&mut body.role, &body.road) else { return };
        let mut tally = Tally::default();
        let mut way =
            Way { road: road.road(), srtp: body.transport.srtp_sender(), batch, tally: &mut tally };
        playing.player.now_us = shard.clock().now_us();
        let was_behind = playing.behind;
        playing.behind = playing.player.walk(log, &mut way);
        if playing.behind && !was_behind {
            shard.stir(self);
        }
        self.book(shard, playing, tally);
    }

    pub(super) fn book(&self, shard: &RtcShard, playing: &Playing, tally: Tally) {
        if tally.calls == 0 {
            return;
        }
        let counters = &self.session.counters;
        Counters::add(&counters.send_bytes, tally.bytes);
        Counters::add(&counters.messages, tally.packets);
        if tally.no_room > 0 {
            Counters::add(&counters.lag_dropped, tally.no_room);
        }
        shard.book(&playing.stream.stream, tally);
    }
}
