//! Reports to a central server, as they are on the wire.

use std::sync::Arc;

use control::config::directives;
use control::hooks::Hooks;
use control::sampler::Figures;
use control::{heartbeat, metrics};
use gate::conf::Config;
use gate::{Host, HostParts, Identity, OpenDoor};
use hub::{Hub, start_shards};

use crate::web::Web;

fn config(pairs: &[(&str, &str)]) -> Arc<Config> {
    Config::from_pairs(directives::table(&[]), pairs)
}

#[test]
fn a_report_has_the_words_of_srs_and_follows_reloads() {
    let web = Web::start();
    let (url, other) = (web.url("/beat?token=x"), web.url("/503"));
    let control =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut identity = Identity::new("vid-0000001".to_owned(), "0.1.0");
    identity.service_id = "svc00001".to_owned();
    identity.pid = "4711".to_owned();
    let host = Host::new(HostParts {
        hub: Hub::new(|n| format!("vid-s{n}")),
        shards: start_shards(1).unwrap(),
        config: config(&[]),
        identity,
        admission: Box::new(OpenDoor),
        control: control.handle().clone(),
        fileless: true,
        inherited: gate::Inherited::default(),
    });
    let figures = Arc::new(Figures::new(Hooks::new(None)));
    control.spawn(heartbeat::run(host.clone(), figures.clone()));
    let common = [
        ("heartbeat.enabled", "on"),
        ("heartbeat.interval", "3600"),
        ("heartbeat.device_id", "cam\"7"),
        ("heartbeat.ports", "on"),
        ("listen", "1935"),
    ];
    let with = |url: &str| {
        let mut all = common.to_vec();
        all.push(("heartbeat.url", url));
        config(&all)
    };
    host.set_config(with(&url));
    let first = web.count(1).remove(0);
    let (before, rest) = first.body.split_once(r#","ip":""#).unwrap();
    let (_, after) = rest.split_once('"').unwrap();
    assert_eq!(before, r#"{"device_id":"cam\"7""#);
    assert_eq!(
        after,
        r#","server":"vid-0000001","service":"svc00001","pid":"4711","rtmp":["1935"]}"#
    );
    assert_eq!(
        first.head,
        format!(
            "POST /beat HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: Keep-Alive\r\n\
             User-Agent: SRS/6.0.0(millrace/0.1.0)\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            web.port,
            first.body.len()
        )
    );
    // What the answer says does not matter; that there is none does.
    host.set_config(with(&other));
    web.until("the report to the other place", |all| all.iter().any(|a| a.path() == "/503"));
    host.set_config(with(&web.url("/reset")));
    web.until("the one that is not answered", |all| all.iter().any(|a| a.path() == "/reset"));
    let figure = |result: &str| {
        let text = metrics::render(&host, &figures);
        let line = format!("millrace_heartbeats_total{{result=\"{result}\"}} ");
        text.lines().find_map(|l| l.strip_prefix(&line)?.parse::<u64>().ok()).unwrap()
    };
    let end = std::time::Instant::now() + crate::web::PATIENCE;
    while figure("failed") == 0 {
        assert!(std::time::Instant::now() < end, "the failure is never counted");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!((figure("ok"), figure("failed")), (2, 1));
}
