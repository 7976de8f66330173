use super::*;

#[test]
fn a_process_name_may_hold_brackets_and_spaces() {
    let text = "4711 (mill (race) 1) S 1 4711 4711 0 -1 4194560 100 0 2 0 70 30 0 0 20 0 6 0 \
                555 123456789 2048 18446744073709551615 94000 95000 140000 0 0 0 0 4096 17";
    let stat = SelfStat::parse(text).unwrap();
    assert_eq!((stat.comm.as_str(), stat.state.as_str()), ("mill (race) 1", "S"));
    assert_eq!(stat.get("utime"), 70);
    assert_eq!(stat.get("rsslim"), u64::MAX);
    assert_eq!(stat.get("num_threads"), 6);
    assert_eq!(stat.numbers.len(), SELF_FIELDS.len());
}

#[test]
fn addresses_of_memory_are_not_told() {
    let numbers = vec!["7"; SELF_FIELDS.len()].join(" ");
    let stat = SelfStat::parse(&format!("1 (x) R {numbers}")).unwrap();
    assert_eq!(stat.get("startcode"), 0);
    assert_eq!(stat.get("startstack"), 0);
    assert_eq!(stat.get("rss"), 7);
}

#[test]
fn the_busy_part_leaves_idle_and_waiting_out() {
    let old = CpuTimes::parse("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 1\ncpu1 1 1\n").unwrap();
    let new = CpuTimes::parse("cpu  150 0 150 880 20 0 0 0 0 0\ncpu0 1 1\n").unwrap();
    assert_eq!((old.online, new.online), (2, 1));
    assert!((new.busy_since(&old) - 0.5).abs() < 1e-9);
    assert_eq!(new.busy_since(&new), 0.0);
}

#[test]
fn memory_in_use_leaves_caches_out() {
    let text = "MemTotal:     1000 kB\nMemFree:       400 kB\nBuffers:  50 kB\nCached:  150 kB\n\
                SwapTotal: 100 kB\nSwapFree: 75 kB\n";
    let memory = MemInfo::parse(text).unwrap();
    assert_eq!((memory.active(), memory.in_use()), (600, 400));
    assert!((memory.ram_percent() - 0.4).abs() < 1e-9);
    assert!((memory.swap_percent() - 0.25).abs() < 1e-9);
    assert_eq!(MemInfo::parse(""), None);
}

#[test]
fn the_loopback_interface_is_counted_apart() {
    let text = "Inter-|   Receive  |  Transmit\n face |bytes packets\n\
                lo: 10 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n\
                eth0: 300 1 0 0 0 0 0 0 400 1 0 0 0 0 0 0\n  eth1:1 1 0 0 0 0 0 0 2 1 0 0 0 0 0 0\n";
    let wanted = NetBytes { recv: 301, send: 402, recv_inner: 10, send_inner: 20 };
    assert_eq!(NetBytes::parse(text), wanted);
}

#[test]
fn sockets_are_counted_over_both_families() {
    let v4 = "sockets: used 200\nTCP: inuse 27 orphan 0 tw 23 alloc 30 mem 3\nUDP: inuse 4 mem 1\n";
    let v6 = "TCP6: inuse 3\nUDP6: inuse 1\n";
    let snmp = "Ip: A B\nIp: 1 2\nTcp: RtoMin MaxConn CurrEstab\nTcp: 200 -1 19\n";
    let wanted = Sockets { tcp: 53, established: 19, time_wait: 23, udp: 5 };
    assert_eq!(Sockets::parse(v4, v6, snmp), wanted);
    assert_eq!(Sockets::parse("", "", ""), Sockets::default());
}

#[test]
fn only_the_named_disks_count() {
    let text = "   8 0 sda 1 2 2000 4 5 6 7000 8 9 1000 11\n   8 1 sda1 1 1 9 1 1 1 9 1 1 9 1\n";
    let disks = Disks::parse(text, &["sda".to_owned()]);
    assert_eq!(disks, Disks { read: 2000, written: 7000, busy_ms: 1000 });
}

#[test]
fn lists_of_processors_are_counted() {
    assert_eq!(count_of_list("0-3\n"), 4);
    assert_eq!(count_of_list("0,2-3,8"), 4);
    assert_eq!(count_of_list("3-0"), 0);
    assert_eq!(count_of_list(""), 0);
}

#[test]
fn load_and_uptime_are_the_first_numbers() {
    assert_eq!(floats::<3>("0.50 1.25 2.00 1/300 4711"), [0.5, 1.25, 2.0]);
    assert_eq!(floats::<2>("7.5"), [7.5, 0.0]);
}

#[test]
fn rates_are_the_growth_since_the_sample_before() {
    let stat = |ticks: u64| SelfStat::parse(&format!("1 (x) R 1 1 1 0 0 0 0 0 0 0 {ticks} 0 0 0"));
    let old = Sample { time_ms: 10_000, process: stat(100), ..Sample::default() };
    let mut new = Sample { time_ms: 15_000, process: stat(350), ..Sample::default() };
    new.disks = Disks { read: 20_000, written: 0, busy_ms: 2500 };
    new.compare(&old);
    assert!((new.process_percent - 0.5).abs() < 1e-9);
    assert_eq!(new.disk_rates, (2000, 0, 0.5));
}

#[cfg(target_os = "linux")]
#[test]
fn this_machine_can_be_sampled() {
    let sample = Sample::take(&Sample::default(), 1, &[]);
    assert!(sample.is_complete());
    assert!(sample.rss_kb > 0 && sample.cpus > 0);
}
