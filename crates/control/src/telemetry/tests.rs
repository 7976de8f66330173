use super::*;

/// One that draws the same numbers each time.
fn on(ratio: f64) -> Telemetry {
    let shared = Shared { secret: "secret".to_owned(), ..Shared::default() };
    shared.on.store(true, Relaxed);
    shared.share.store((ratio * u64::MAX as f64) as u64, Relaxed);
    Telemetry(Arc::new(shared))
}

#[test]
fn parts_of_a_session_are_in_its_trace_without_anything_being_kept() {
    let telemetry = on(1.0);
    let opened = Instant::now();
    let session = telemetry.session("k3w81zq5", opened);
    for name in ["on_publish", "publish"] {
        let part = telemetry.part(name, Kind::Client, "k3w81zq5", opened).unwrap();
        assert_eq!((part.context.trace, part.parent), (session.trace, Some(session.span)));
        assert_ne!(part.context.span, session.span);
    }
    // Another session, and a later one of the same id.
    assert_ne!(telemetry.session("other", opened).trace, session.trace);
    let later = opened + std::time::Duration::from_nanos(1);
    assert_ne!(telemetry.session("k3w81zq5", later).trace, session.trace);
    let [first, second] = telemetry.take().try_into().unwrap();
    assert_eq!((&*first.name, &*second.name), ("on_publish", "publish"));
}

#[test]
fn nothing_is_made_while_it_is_off() {
    let telemetry = Telemetry::default();
    assert!(telemetry.part("on_publish", Kind::Client, "s", Instant::now()).is_none());
    assert!(telemetry.request("GET /", None).is_none());
    assert!(telemetry.take().is_empty());
}

#[test]
fn of_many_traces_the_share_that_was_asked_for_is_sent() {
    for (ratio, least, most) in [(0.0, 0, 0), (0.5, 450, 550), (1.0, 1000, 1000)] {
        let telemetry = on(ratio);
        for _ in 0..1000 {
            drop(telemetry.request("GET /", None));
        }
        let sent = telemetry.take().len();
        assert!((least..=most).contains(&sent), "{sent} of 1000 at {ratio}");
    }
}

#[test]
fn a_caller_decides_for_its_own_trace() {
    let header = |flag| format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flag}");
    for (ratio, flag, sent) in [(0.0, "01", 1), (1.0, "00", 0)] {
        let telemetry = on(ratio);
        drop(telemetry.request("GET /", Some(&header(flag))));
        assert_eq!(telemetry.take().len(), sent, "{flag}");
    }
}

#[test]
fn a_full_queue_drops_and_counts() {
    let telemetry = on(1.0);
    for _ in 0..QUEUE + 5 {
        drop(telemetry.request("GET /", None));
    }
    assert_eq!(telemetry.0.dropped.load(Relaxed), 5);
    assert!(telemetry.is_full());
    assert_eq!(telemetry.take().len(), QUEUE);
    assert!(!telemetry.is_full());
}

#[test]
fn what_is_given_up_has_an_end_and_no_outcome() {
    let telemetry = on(1.0);
    let mut open = telemetry.part("on_play", Kind::Client, "s", Instant::now()).unwrap();
    open.set("url.full", "http://h/");
    drop(open);
    let [span] = telemetry.take().try_into().unwrap();
    assert!(span.ended >= span.begun && span.error.is_none());
    let keys: Vec<&str> = span.attributes.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, ["session.id", "url.full"]);
}
