//! Viewers who write another viewer's address into their datagrams.
//!
//! Two sockets share an address here: the victim's is connected to the server, so that the kernel
//! gives all that comes back to it, and the forger's can send alone. That is what forging is.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rtc::session::transport::{Drop, Incoming};
use rtp::rtcp::write;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::rtc::{port, right};
use super::{Cx, Running, pour};
use crate::healthy::NAME;
use crate::rtc::{Peer, refused};

/// Between two forged checks.
const EVERY: Duration = Duration::from_millis(20);
/// How long a victim is troubled.
const TIME: Duration = Duration::from_secs(4);
/// Between two questions of the victim for a packet that it has.
const ASK: Duration = Duration::from_millis(150);

/// A socket at an address that others may have, too.
fn shared(at: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    Ok(socket)
}

/// What came to the victim.
#[derive(Debug, Default)]
struct Seen {
    media: u64,
    /// Packets that were sent again because it asked: the server hears it.
    repairs: u64,
    /// Media that are not its own.
    strange: u64,
    why: String,
    /// Bytes of other sessions' checks.
    checks: usize,
}

/// Checks from a viewer's address that name another session, right in all but that.
pub(crate) fn sources(cx: Arc<Cx>) -> Running {
    Box::pin(pour(cx, 2, 3, |cx, mut rng, _| async move {
        let mut victim = Peer::open(cx.api, port(&cx), false, NAME, &mut rng).await?;
        let socket = shared((Ipv4Addr::LOCALHOST, 0).into())?;
        socket.connect(&port(&cx).into())?;
        victim.udp = UdpSocket::from_std(socket.into())?;
        let at = victim.udp.local_addr()?;
        victim.connect().await?;
        let mut forger = Peer::open(cx.api, port(&cx), false, NAME, &mut rng).await?;
        forger.connect().await?;
        let forging = UdpSocket::from_std(shared(at)?.into())?;

        let (begin, mut seen) = (Instant::now(), Seen::default());
        let (mut forge_at, mut ask_at, mut forged) = (begin, begin + ASK, 0);
        let mut last: Option<(u32, u16)> = None;
        let repairs = victim.session.repairs();
        let mut room = vec![0; 4096];
        while begin.elapsed() < TIME {
            let now = Instant::now();
            if now >= forge_at {
                forge_at = now + EVERY;
                let check = right(&mut rng, &forger.session);
                let check = check.get(2..).unwrap_or_default();
                forged += check.len();
                refused(forging.send_to(check, port(&cx)).await)?;
                forger.turn(now).await?;
            }
            if let Some((ssrc, seq)) = last.filter(|_| now >= ask_at) {
                ask_at = now + ASK;
                let mut out = Vec::new();
                write::receiver_report(&mut out, 1, &[]);
                write::nack(&mut out, 1, ssrc, std::iter::once(seq));
                victim.report(out).await?;
            }
            victim.flush().await?;
            let wait = forge_at.min(ask_at).saturating_duration_since(Instant::now());
            let got = timeout(wait.min(EVERY), victim.udp.recv(&mut room)).await;
            if victim.transport.deadline().is_some_and(|at| at <= Instant::now()) {
                victim.transport.handle_timeout(Instant::now());
            }
            let Ok(read) = got else { continue };
            let (n, via) = (refused(read)?, victim.via);
            let bytes = room.get_mut(..n).unwrap_or_default();
            let is_media = bytes.first().is_some_and(|b| (128..192).contains(b));
            match victim.transport.handle(Instant::now(), port(&cx), via, bytes) {
                Incoming::Rtp(packet) => {
                    seen.media += 1;
                    let Some(fixed) = packet.first_chunk::<12>() else { continue };
                    let ssrc = u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]);
                    if repairs.iter().any(|(_, rtx)| *rtx == ssrc) {
                        seen.repairs += 1;
                    } else if repairs.iter().any(|(main, _)| *main == ssrc) {
                        last = Some((ssrc, u16::from_be_bytes([fixed[2], fixed[3]])));
                    }
                }
                Incoming::Dropped(Drop::Forged) => seen.checks += n,
                Incoming::Dropped(why) if is_media => {
                    seen.strange += 1;
                    seen.why = format!("{why}");
                }
                _ => {}
            }
        }
        cx.tally.sent(forged);
        if seen.strange > 0 {
            cx.tally.leak(format!(
                "{} packets of another's session came to {at}: {seen:?}",
                seen.strange
            ));
        }
        if seen.media > 20 && seen.repairs == 0 {
            cx.tally.leak(format!("the viewer at {at} was not heard any more: {seen:?}"));
        }
        if seen.checks > 3 * forged {
            cx.tally.leak(format!("{} bytes to {at} for {forged} forged ones", seen.checks));
        }
        victim.leave(cx.api).await;
        forger.leave(cx.api).await;
        io::Result::Ok(())
    }))
}
