use super::*;
use crate::api::tests::{frame, publish, stub};

#[test]
fn totals_outlive_their_stream() {
    let stub = stub(&[]);
    let stream = publish(&stub, "a", &[frame(1000), frame(2000)]);
    let before = stub.figures.ledger().totals(&stub.host.hub.all());
    assert_eq!(before.recv, 3000);
    let gone = [stream];
    stub.figures.ledger().keep(&gone);
    assert_eq!(stub.figures.ledger().totals(&[]), before);
    let vhosts = stub.figures.ledger().vhosts(&[]);
    assert_eq!(vhosts.len(), 1);
    assert_eq!((vhosts[0].totals, vhosts[0].streams), (before, 0));
}

#[test]
fn a_virtual_host_keeps_its_id() {
    let figures = Figures::default();
    let id = figures.ledger().vhost_id("a");
    assert!(id.starts_with("vid-") && id.len() == 11);
    assert_eq!(figures.ledger().vhost_id("a"), id);
    assert_ne!(figures.ledger().vhost_id("b"), id);
}

#[test]
fn jumps_of_players_that_left_are_not_forgotten() {
    let stub = stub(&[]);
    let player = stub.host.sessions.open("rtmp", ([127, 0, 0, 1], 1).into());
    player.identify(gate::Detail::default(), None);
    stub.figures.sample_traffic(&stub.host);
    player.counters.lag_jumps.store(3, Relaxed);
    assert_eq!(stub.figures.ledger().lag_jumps(&stub.host.sessions.all()), 3);
    drop(player);
    stub.figures.sample_traffic(&stub.host);
    assert_eq!(stub.figures.ledger().lag_jumps(&stub.host.sessions.all()), 3);
}

#[test]
fn rates_need_two_samples() {
    let stub = stub(&[]);
    stub.figures.sample_traffic(&stub.host);
    let stream = publish(&stub, "a", &[frame(625_000)]);
    assert_eq!(stub.figures.ledger().stream_kbps(stream.id), (0, 0));
    stub.figures.sample_traffic(&stub.host);
    let recv = |v: &[ledger::VhostFigures]| v[0].kbps.0;
    let vhosts = stub.figures.ledger().vhosts(&[]);
    // The virtual host appeared with the stream: its first sample has the bytes already.
    assert_eq!(recv(&vhosts), 0);
    stub.host.hub.all()[0].stats.recv_bytes.fetch_add(625_000, Relaxed);
    stub.figures.sample_traffic(&stub.host);
    assert_eq!(stub.figures.ledger().stream_kbps(stream.id), (1000, 0));
    assert_eq!(recv(&stub.figures.ledger().vhosts(&[])), 1000);
}
