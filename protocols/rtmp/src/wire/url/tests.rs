use proptest::prelude::*;

use super::*;

/// vhost, app, stream, param.
fn parts(tc_url: &str, name: &str) -> (String, String, String, String) {
    let url = StreamUrl::parse(tc_url, name).unwrap();
    (url.vhost, url.app, url.stream, url.param)
}

fn is(tc_url: &str, name: &str, expected: [&str; 4]) {
    let (vhost, app, stream, param) = parts(tc_url, name);
    assert_eq!([&*vhost, &*app, &*stream, &*param], expected, "{tc_url} + {name}");
}

#[test]
fn the_plain_form_has_host_app_and_stream() {
    let url = StreamUrl::parse("rtmp://192.0.2.1:1936/live", "livestream").unwrap();
    assert_eq!((url.schema.as_str(), url.host.as_str(), url.port), ("rtmp", "192.0.2.1", 1936));
    is("rtmp://192.0.2.1/live", "livestream", ["192.0.2.1", "live", "livestream", ""]);
    is("rtmp://h/live/", "/livestream/", ["h", "live", "livestream", ""]);
    is("rtmp://h/a/b/c", "d", ["h", "a/b/c", "d", ""]);
    is("rtmp://h/a", "b/c/d", ["h", "a/b/c", "d", ""]);
    is("rtmp://h//a///b", "c//d", ["h", "a/b/c", "d", ""]);
}

#[test]
fn ports_and_schemas_are_told_or_implied() {
    let port = |tc_url| StreamUrl::parse(tc_url, "s").map(|url| url.port);
    assert_eq!(port("rtmp://h/a"), Ok(1935));
    assert_eq!(port("rtmps://h/a"), Ok(443));
    assert_eq!(port("RTMP://h:1/a"), Ok(1));
    assert_eq!(port("rtmp://h:/a"), Ok(1935));
    assert_eq!(port("rtmp://h:0/a"), Err(Error::Malformed));
    assert_eq!(port("rtmp://h:65536/a"), Err(Error::Malformed));
    assert_eq!(port("rtmp://h:x/a"), Err(Error::Malformed));
}

#[test]
fn an_ipv6_host_stands_in_brackets() {
    let url = StreamUrl::parse("rtmp://[2001:db8::1]:1936/live", "s").unwrap();
    assert_eq!((url.host.as_str(), url.port), ("2001:db8::1", 1936));
    assert_eq!(url.tc_url(), "rtmp://[2001:db8::1]:1936/live");
}

#[test]
fn the_vhost_is_asked_for_in_any_of_the_usual_places() {
    is("rtmp://ip/app?vhost=V", "s", ["V", "app", "s", "?vhost=V"]);
    is("rtmp://ip/app", "s?vhost=V", ["V", "app", "s", "?vhost=V"]);
    is("rtmp://ip/app?vhost=V/s", "", ["V", "app", "s", "?vhost=V"]);
    is("rtmp://ip/app/s?vhost=V", "", ["V", "app", "s", "?vhost=V"]);
    is("rtmp://ip/app...vhost...V", "s", ["V", "app", "s", "?vhost=V"]);
    is("rtmp://ip/app...vhost...V/s", "", ["V", "app", "s", "?vhost=V"]);
    is("rtmp://ip/app", "s...vhost...V", ["V", "app", "s", "?vhost=V"]);
    is("rtmp://ip/app?domain=D", "s", ["D", "app", "s", "?domain=D"]);
    is("rtmp://ip/app?domain=D&vhost=V", "s", ["V", "app", "s", "?domain=D&vhost=V"]);
    is("rtmp://ip/app?vhost=", "s", ["ip", "app", "s", "?vhost="]);
}

#[test]
fn queries_part_at_all_the_usual_separators() {
    for param in ["?a=b&vhost=V", "?a=b&&vhost=V", "?a=b;vhost=V", "?vhost,V", "?a,b,vhost,V"] {
        is(&format!("rtmp://ip/app{param}"), "s", ["V", "app", "s", param]);
    }
    is("rtmp://ip/app#vhost=V", "s", ["V", "app", "s", "#vhost=V"]);
}

#[test]
fn queries_of_app_and_stream_are_joined() {
    is("rtmp://h/app?a=b", "s?token=x==", ["h", "app", "s", "?a=b&token=x=="]);
    is("rtmp://h/app", "s?token=a/b", ["h", "app", "s", "?token=a/b"]);
    is("rtmp://h/app?token=a/b", "s", ["h", "app", "s", "?token=a/b"]);
    is("rtmp://h/app", "s?a=b#c", ["h", "app", "s", "?a=b#c"]);
    is("rtmp://h/app?", "s?", ["h", "app", "s", ""]);
    let url = StreamUrl::parse("rtmp://h/app", "s?token=x==&k=v").unwrap();
    assert_eq!((url.query("token"), url.query("k")), (Some("x=="), Some("v")));
}

#[test]
fn the_default_vhost_alone_leaves_no_query() {
    is("rtmp://ip/app", "s?vhost=__defaultVhost__", ["__defaultVhost__", "app", "s", ""]);
    let both = "?vhost=__defaultVhost__&a=b";
    is("rtmp://ip/app", &format!("s{both}"), ["__defaultVhost__", "app", "s", both]);
}

#[test]
fn the_instance_name_of_fmle_is_removed_wherever_it_stands() {
    is("rtmp://h/app/_definst_", "s", ["h", "app", "s", ""]);
    is("rtmp://h/app", "_definst_/s", ["h", "app", "s", ""]);
    is("rtmp://h/app/_definst_?vhost=V", "s", ["V", "app", "s", "?vhost=V"]);
}

#[test]
fn an_empty_name_is_found_in_the_app_or_behind_the_query() {
    is("rtmp://h/live/livestream", "", ["h", "live", "livestream", ""]);
    is("rtmp://h/live?a=b/livestream", "", ["h", "live", "livestream", "?a=b"]);
    is("rtmp://h/live/livestream?token=a/b", "", ["h", "live", "livestream", "?token=a/b"]);
    is("rtmp://h/live/livestream", "?a=b", ["h", "live", "livestream", "?a=b"]);
    for tc_url in ["rtmp://h/live", "rtmp://h/live/", "rtmp://h", "rtmp://h/", "rtmp://h/a?b=c"] {
        assert_eq!(StreamUrl::parse(tc_url, ""), Err(Error::NoStream), "{tc_url}");
    }
    assert_eq!(StreamUrl::parse("rtmp://h/live", " / ").unwrap_err().code(), 2051);
}

#[test]
fn an_empty_app_gets_a_name() {
    is("rtmp://h", "s", ["h", "__defaultApp__", "s", ""]);
    is("rtmp://h/", "s", ["h", "__defaultApp__", "s", ""]);
    is("rtmp://h?vhost=V", "s", ["V", "__defaultApp__", "s", "?vhost=V"]);
}

#[test]
fn white_space_and_line_ends_are_removed() {
    is(" rtmp://h/ live \r\n", "live stream\r\n?a=b\n", ["h", "live", "livestream", "?a=b"]);
}

#[test]
fn addresses_that_are_none_are_refused() {
    let code = |tc_url: &str| StreamUrl::parse(tc_url, "s").unwrap_err().code();
    assert_eq!(code(""), 2005);
    for tc_url in ["live", "://h/live", "rtmp:///live", "rtmp://[::1/live", "r p://h/a"] {
        assert_eq!(code(tc_url), 2006, "{tc_url}");
    }
    let long = format!("rtmp://h/{}", "a/".repeat(5000));
    assert_eq!(StreamUrl::parse(&long, "s"), Err(Error::TooLong(long.len())));
}

#[test]
fn names_that_could_leave_their_place_are_refused() {
    let refused = |tc_url: &str, name: &str| StreamUrl::parse(tc_url, name).unwrap_err();
    assert_eq!(refused("rtmp://h/..", "s"), Error::Relative);
    assert_eq!(refused("rtmp://h/a", ".."), Error::Relative);
    assert_eq!(refused("rtmp://h/a", "../b"), Error::Relative);
    assert_eq!(refused("rtmp://h/a/./b", "c"), Error::Relative);
    assert_eq!(refused("rtmp://h/a/ . . /b", "c"), Error::Relative);
    assert_eq!(refused("rtmp://h/a/./_definst_./b", "c"), Error::Relative);
    assert_eq!(refused("rtmp://h/a", "s?vhost=.."), Error::Relative);
    assert_eq!(refused("rtmp://h/a", "s?vhost=a/../b"), Error::Character('/'));
    assert_eq!(refused("rtmp://h/a", "b\0c"), Error::Character('\0'));
    assert_eq!(refused("rtmp://h/a", "b\u{1b}[2J"), Error::Character('\u{1b}'));
    assert_eq!(refused("rtmp://h/a", "b\\c"), Error::Character('\\'));
    assert_eq!(refused("rtmp://h/a", "b\u{fffd}"), Error::Character('\u{fffd}'));
    assert_eq!(refused("rtmp://h/a", &"x".repeat(256)), Error::Segment(256));
    assert!(StreamUrl::parse("rtmp://h/a", &"x".repeat(255)).is_ok());
}

#[test]
fn the_extension_does_not_tell_streams_apart() {
    let stem = |name| StreamUrl::parse("rtmp://h/a", name).unwrap().stream_stem().to_owned();
    assert_eq!(stem("livestream.flv"), "livestream");
    assert_eq!(stem("livestream"), "livestream");
    assert_eq!(stem(".flv"), ".flv");
}

#[test]
fn a_client_sends_what_a_server_reads_back() {
    for (tc_url, name) in
        [("rtmp://h/a", "s"), ("rtmp://h:1936/a/b", "s?x=y"), ("rtmps://h/a", "s?token=a/b")]
    {
        let url = StreamUrl::parse(tc_url, name).unwrap();
        assert_eq!((url.tc_url().as_str(), url.name().as_str()), (tc_url, name));
        assert_eq!(StreamUrl::parse(&url.tc_url(), &url.name()), Ok(url));
    }
}

proptest! {
    #[test]
    fn whatever_passes_the_door_is_clean(
        tc_url in "rtmp://h/[a./?=&#_\\\\ \u{1}]{0,20}",
        name in "[a./?=&#v\\\\ \u{1}]{0,20}",
    ) {
        if let Ok(url) = StreamUrl::parse(&tc_url, &name) {
            prop_assert!(!url.stream.is_empty() && !url.stream.contains('/'));
            for segment in url.app.split('/').chain([url.stream.as_str(), &url.vhost]) {
                prop_assert!(!segment.is_empty() && segment != "." && segment != "..");
                prop_assert!(!segment.chars().any(|c| c.is_control() || c == '\\'));
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(tc_url in ".{0,60}", name in ".{0,60}") {
        let _ = StreamUrl::parse(&tc_url, &name);
        let _ = StreamUrl::parse(&format!("rtmp://{tc_url}"), &name);
    }
}
