//! Copies of what clients send, in the clear, for those who look into a stream with other tools
//! (`rtc_server.black_hole`): RTP of publishers and RTCP of everybody, one datagram each.

use std::net::{SocketAddr, UdpSocket};

use arc_swap::ArcSwapOption;

/// See the module. Off until it is told where to.
#[derive(Debug, Default)]
pub(crate) struct BlackHole(ArcSwapOption<Road>);

#[derive(Debug)]
struct Road {
    to: String,
    socket: UdpSocket,
}

impl BlackHole {
    /// From now on copies go to `to`; nothing: nowhere. What cannot be is told in the log, and
    /// nothing is copied then.
    pub(crate) fn lead_to(&self, to: Option<&str>) {
        if to.is_some() && self.0.load().as_ref().map(|road| road.to.as_str()) == to {
            return;
        }
        let opened = to.and_then(|to| match open(to) {
            Ok(socket) => {
                tracing::warn!(%to, "what clients of WebRTC send is copied there without encryption");
                Some(Road { to: to.to_owned(), socket })
            }
            Err(error) => {
                tracing::error!(%to, %error, "nothing can be copied there: rtc_server.black_hole");
                None
            }
        });
        self.0.store(opened.map(Into::into));
    }

    /// Copies a packet. Whether it arrives nobody asks.
    #[inline]
    pub(crate) fn copy(&self, packet: &[u8]) {
        if let Some(road) = &*self.0.load() {
            let _ = road.socket.send(packet);
        }
    }
}

fn open(to: &str) -> std::io::Result<UdpSocket> {
    let to: SocketAddr = to.parse().map_err(std::io::Error::other)?;
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.set_nonblocking(true)?;
    socket.connect(to)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_go_where_it_leads_and_nowhere_else() {
        let here = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        let at = here.local_addr().expect("it is bound").to_string();
        let hole = BlackHole::default();
        hole.copy(b"lost");
        hole.lead_to(Some(&at));
        hole.copy(b"one");
        hole.lead_to(None);
        hole.copy(b"lost");
        hole.lead_to(Some(&at));
        hole.copy(b"two");
        let mut room = [0; 64];
        for expected in [&b"one"[..], b"two"] {
            let len = here.recv(&mut room).expect("it comes");
            assert_eq!(&room[..len], expected);
        }
    }

    #[test]
    fn what_is_no_address_leads_nowhere() {
        let hole = BlackHole::default();
        hole.lead_to(Some("127.0.0.1"));
        hole.copy(b"lost");
        assert!(hole.0.load().is_none());
    }
}
