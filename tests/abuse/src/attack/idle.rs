//! Connections of ICE over TCP that say nothing, by the thousand, and a client among them who does.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::rtc::{port, right};
use super::{Cx, Running};
use crate::healthy::NAME;
use crate::net::{Manner, dial};
use crate::rtc::{Session, ask};

/// Connections between two looks whether somebody who means it is served.
const BETWEEN: usize = 250;
/// Longest wait for the answer to a check.
const PATIENCE: Duration = Duration::from_secs(10);

/// As many as there may be, kept for as long as the server lets them.
pub(crate) fn connections(cx: Arc<Cx>) -> Running {
    Box::pin(async move {
        let mut rng = cx.rng();
        let mut idle: Vec<TcpStream> = Vec::new();
        let manner = Manner { reset: true, ..Manner::default() };
        let mut made = 0;
        while !cx.over() {
            if idle.len() >= cx.connections {
                sleep(Duration::from_millis(100)).await;
            } else {
                cx.tally.tried();
                let tcp = dial(port(&cx), &mut rng, manner).await;
                cx.tally.result(&tcp);
                idle.extend(tcp);
            }
            made += 1;
            if made % BETWEEN == 0
                && let Err(error) = connects(&cx, &mut rng).await
            {
                cx.tally.leak(format!("beside {} idle connections: {error}", idle.len()));
            }
        }
    })
}

/// A session whose check comes over a connection is answered there.
async fn connects(cx: &Cx, rng: &mut StdRng) -> io::Result<()> {
    let session = Session::open(cx.api, false, NAME, rng).await?;
    let asked = async {
        let mut tcp = dial(port(cx), rng, Manner::default()).await?;
        tokio::io::AsyncWriteExt::write_all(&mut tcp, &right(rng, &session)).await?;
        let mut head = [0; 22];
        tcp.read_exact(&mut head).await?;
        // A success, or our own question.
        if matches!(head[2..4], [1, 1] | [0, 1]) {
            Ok(())
        } else {
            Err(io::ErrorKind::InvalidData.into())
        }
    };
    let answered = timeout(PATIENCE, asked).await.unwrap_or(Err(io::ErrorKind::TimedOut.into()));
    ask(cx.api, rng, "DELETE", &session.location, "", b"").await?;
    answered
}
