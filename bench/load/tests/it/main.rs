//! Runs against ports on which nothing useful happens.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use load::report::Failing;
use load::{Pattern, Plan, Players, Report};

fn plan(url: &str, count: u32) -> Plan {
    let players = Players::new(vec![Pattern::new(url).unwrap()], count);
    Plan {
        players: Some(players),
        settle: Duration::from_millis(100),
        window: Duration::from_millis(800),
        patience: Duration::from_millis(300),
        rate: 100.0,
        ..Plan::new()
    }
}

fn run(plan: Plan) -> Report {
    load::run(plan, &Arc::new(AtomicBool::new(false)), &mut |_| {}).unwrap()
}

#[test]
fn a_port_on_which_nobody_listens_loses_all_players() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for url in [format!("rtmp://{address}/live/x"), format!("http://{address}/live/x.m3u8")] {
        let report = run(plan(&url, 3));
        assert_eq!((report.players.joined, report.players.lost), (3, 3));
        let (what, count) = report.errors.first_key_value().unwrap();
        assert!(what.contains("refused") && *count == 3, "{:?}", report.errors);
        assert!(report.failings().contains(&Failing::Lost));
    }
}

#[test]
fn a_server_that_says_nothing_runs_out_of_patience() {
    // The backlog accepts; nobody answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    for url in [
        format!("rtmp://{address}/live/x"),
        format!("http://{address}/live/x.flv"),
        format!("ws://{address}/live/x.flv"),
    ] {
        let report = run(Plan { threads: 2, ..plan(&url, 3) });
        assert_eq!(report.players.lost, 3, "{:?}", report.errors);
        assert!(report.errors.keys().all(|what| what.contains("timed out")), "{:?}", report.errors);
    }
}

#[test]
fn an_interrupted_run_still_reports() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rtmp://{}/live/x", listener.local_addr().unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let mut told = 0;
    let long = Plan {
        window: Duration::from_secs(3600),
        patience: Duration::from_secs(3600),
        ..plan(&url, 2)
    };
    let report = load::run(long, &stop, &mut |progress| {
        told += 1;
        assert_eq!((progress.joined, progress.lost), (2, 0));
        stop.store(true, Ordering::Relaxed);
    });
    let report = report.unwrap();
    assert!(report.interrupted && told == 1);
    assert_eq!((report.players.lost, report.players.active), (0, 0));
    assert!(report.json().starts_with('{') && load::table(&report).contains("interrupted"));
}
