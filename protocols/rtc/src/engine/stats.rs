//! What was dropped, and why.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::session::transport::Drop;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident $word:literal,)*) => {
        /// Counters of datagrams that came to nothing, since the start.
        #[derive(Debug, Default)]
        pub(crate) struct Stats {
            $($(#[$doc])* pub(crate) $name: AtomicU64,)*
        }

        impl Stats {
            /// Each reason as one word, and how often it happened.
            pub(crate) fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$(($word, self.$name.load(Relaxed)),)*]
            }
        }
    };
}

counters! {
    /// Of no session: no address and no name of theirs is known.
    strangers "stranger",
    /// No packet of WebRTC.
    unknown "unknown",
    /// STUN that cannot be read.
    bad_stun "bad_stun",
    /// STUN that does not know the password.
    forged "forged",
    /// From an address that no check has validated.
    unvalidated "unvalidated",
    /// DTLS that was not expected.
    bad_dtls "bad_dtls",
    /// Media before the handshake.
    early "early",
    /// Media whose tag does not fit.
    tag "tag",
    /// Media seen before.
    replayed "replayed",
    /// Media that cannot be read.
    bad_media "bad_media",
    /// After the end.
    closed "closed",
    /// For another shard, which had too much to do.
    inbox_full "inbox_full",
    /// Passed over: larger than a packet of WebRTC, on the way to another shard.
    too_large "too_large",
    /// Connections beyond what a session may have.
    too_many_connections "too_many_connections",
    /// RTCP beyond what a peer may send.
    too_many_reports "too_many_reports",
    /// Packets of data channels that cannot be read.
    data_bad "data_bad",
    /// Packets of data channels that were not agreed on, before their beginning or after their end;
    /// or too many sessions have some.
    data_stray "data_stray",
    /// Packets of data channels beyond what is kept for a peer, or too many of them.
    data_too_much "data_too_much",
    /// Data channels that were not opened: too many, or their OPEN cannot be read.
    data_refused "data_refused",
    /// Messages in data channels that are for nobody.
    data_unheard "data_unheard",
    /// Messages in data channels to a peer that does not take what it was sent before, or that
    /// asks for more echoes than are given.
    data_full "data_full",
    /// Messages in data channels longer than the peer takes.
    data_too_long "data_too_long",
    /// Sessions whose data channels have ended before them.
    data_over "data_over",
    /// To be sent, but the kernel had no room.
    no_room "no_room",
    /// To be sent, but the kernel refused.
    not_sent "not_sent",
}

impl Stats {
    /// Counts a datagram that a transport did not take.
    pub(crate) fn dropped(&self, why: Drop) {
        let counter = match why {
            Drop::Unknown => &self.unknown,
            Drop::BadStun => &self.bad_stun,
            Drop::Forged => &self.forged,
            Drop::Unvalidated => &self.unvalidated,
            Drop::BadDtls => &self.bad_dtls,
            Drop::Early => &self.early,
            Drop::Tag => &self.tag,
            Drop::Replayed => &self.replayed,
            Drop::BadMedia => &self.bad_media,
            Drop::Closed => &self.closed,
        };
        counter.fetch_add(1, Relaxed);
    }
}
