//! Files of a real directory, asked for without sockets.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use http::HeaderMap;
use http_body_util::BodyExt;

use super::*;
use crate::config::directives;

/// A directory that goes with the test. Beside the root lies a file that nobody may read.
struct Site {
    base: PathBuf,
    config: Arc<Config>,
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.base);
    }
}

fn site_with(pairs: &[(&str, &str)]) -> Site {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("millrace-files-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
    let base = std::env::temp_dir().join(name);
    let root = base.join("root");
    fs::create_dir_all(root.join("sub")).unwrap();
    fs::write(base.join("secret.txt"), "secret").unwrap();
    fs::write(root.join("a.txt"), "0123456789").unwrap();
    fs::write(root.join("sub/index.html"), "sub page").unwrap();
    fs::write(root.join("big.mp4"), big()).unwrap();
    let dir = root.to_str().unwrap().to_owned();
    let mut all = vec![("http_server.dir", dir.as_str())];
    all.extend_from_slice(pairs);
    Site { base: base.clone(), config: Config::from_pairs(directives::table(&[]), &all) }
}

fn site() -> Site {
    site_with(&[])
}

fn big() -> Vec<u8> {
    (0..1_000_000u32).map(|n| n.to_le_bytes()[1]).collect()
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |v| v.to_str().unwrap())
    }
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

fn ask(site: &Site, request: &str, headers: &[&str]) -> Answer {
    let (method, target) = request.split_once(' ').unwrap();
    let mut builder = http::Request::builder().method(method).uri(target);
    for header in headers {
        let (name, value) = header.split_once(": ").unwrap();
        builder = builder.header(name, value);
    }
    let (parts, ()) = builder.body(()).unwrap().into_parts();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (parts, body) = answer(&site.config, &parts).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    })
}

fn get(site: &Site, target: &str) -> Answer {
    ask(site, &format!("GET {target}"), &[])
}

#[test]
fn a_file_is_sent_with_its_kind_and_version() {
    let answer = get(&site(), "/a.txt");
    assert_eq!((answer.status, answer.text()), (200, "0123456789"));
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(answer.header("content-length"), "10");
    assert_eq!(answer.header("accept-ranges"), "bytes");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert!(answer.header("etag").starts_with('"'));
    assert!(answer.header("last-modified").ends_with("GMT"));
}

#[test]
fn head_tells_all_but_the_bytes() {
    let answer = ask(&site(), "HEAD /big.mp4", &[]);
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(answer.header("content-length"), "1000000");
}

#[test]
fn a_big_file_arrives_whole_in_pieces() {
    let answer = get(&site(), "/big.mp4");
    assert_eq!(answer.status, 200);
    assert!(answer.body == big());
}

#[test]
fn ranges_are_served_for_every_kind() {
    let site = site();
    let range = |range: &str| ask(&site, "GET /a.txt", &[&format!("range: bytes={range}")]);
    let middle = range("2-4");
    assert_eq!((middle.status, middle.text()), (206, "234"));
    assert_eq!(middle.header("content-range"), "bytes 2-4/10");
    assert_eq!(middle.header("content-length"), "3");
    assert_eq!(range("-3").text(), "789");
    assert_eq!(range("7-").text(), "789");
    let beyond = range("10-");
    assert_eq!(beyond.status, 416);
    assert_eq!(beyond.header("content-range"), "bytes */10");
    assert_eq!(range("0-1,3-4").status, 200);
    let long = ask(&site, "GET /big.mp4", &["range: bytes=100000-699999"]);
    assert!(long.body == big()[100_000..700_000]);
}

#[test]
fn mp4_takes_its_range_from_the_query_too() {
    let site = site();
    for name in ["range", "bytes"] {
        let answer = get(&site, &format!("/big.mp4?{name}=10-19"));
        assert_eq!(answer.status, 206);
        assert!(answer.body == big()[10..20]);
        assert_eq!(answer.header("content-range"), "bytes 10-19/1000000");
    }
    assert_eq!(get(&site, "/a.txt?range=2-3").text(), "0123456789");
}

#[test]
fn a_known_version_is_not_sent_again() {
    let site = site();
    let tag = get(&site, "/a.txt").header("etag").to_owned();
    let date = get(&site, "/a.txt").header("last-modified").to_owned();
    for header in [format!("if-none-match: {tag}"), format!("if-modified-since: {date}")] {
        let answer = ask(&site, "GET /a.txt", &[&header]);
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{header}");
        assert_eq!(answer.header("etag"), tag);
    }
    fs::write(site.base.join("root/a.txt"), "changed").unwrap();
    let answer = ask(&site, "GET /a.txt", &[&format!("if-none-match: {tag}")]);
    assert_eq!((answer.status, answer.text()), (200, "changed"));
}

#[test]
fn no_path_leads_out_of_the_root() {
    let site = site();
    let root = site.base.join("root");
    symlink("../secret.txt", root.join("up.txt")).unwrap();
    symlink(site.base.join("secret.txt"), root.join("absolute.txt")).unwrap();
    symlink("..", root.join("parent")).unwrap();
    symlink("a.txt", root.join("inside.txt")).unwrap();
    symlink("../a.txt", root.join("sub/inside.txt")).unwrap();
    for path in ["/up.txt", "/absolute.txt", "/parent/secret.txt", "/parent/root/a.txt"] {
        let answer = get(&site, path);
        assert_eq!((answer.status, answer.text()), (404, "Not Found"), "{path}");
    }
    for path in [
        "/../secret.txt",
        "/sub/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/..%5csecret.txt",
        "/a.txt%00.html",
        "/sub/%2E%2E/a.txt",
    ] {
        assert_eq!(get(&site, path).status, 400, "{path}");
    }
    assert_eq!(get(&site, "/%252e%252e/secret.txt").status, 404);
    assert_eq!(get(&site, "//etc/passwd").status, 404);
    assert_eq!(get(&site, "/inside.txt").text(), "0123456789");
    assert_eq!(get(&site, "/sub/inside.txt").text(), "0123456789");
}

#[test]
fn a_directory_has_its_index_and_no_listing() {
    let site = site();
    assert_eq!(get(&site, "/sub/").text(), "sub page");
    assert_eq!(get(&site, "/sub/").header("content-type"), "text/html");
    let answer = get(&site, "/sub?a=b");
    assert_eq!((answer.status, answer.header("location")), (302, "/sub/?a=b"));
    assert_eq!(get(&site, "//sub").header("location"), "/sub/");
    fs::create_dir(site.base.join("root/empty")).unwrap();
    assert_eq!(get(&site, "/empty/").status, 404);
}

#[test]
fn what_is_no_file_is_not_found() {
    let site = site();
    let pipe = site.base.join("root/pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for path in ["/pipe", "/nothing", "/a.txt/b", "/a.txt/"] {
        let answer = get(&site, path);
        assert_eq!((answer.status, answer.text()), (404, "Not Found"), "{path}");
    }
}

#[test]
fn the_first_page_is_built_in_until_there_is_one() {
    let site = site();
    let answer = get(&site, "/");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert!(answer.header("content-security-policy").starts_with("default-src 'none'"));
    assert!(answer.text().contains("millrace runs"));
    fs::write(site.base.join("root/index.html"), "mine").unwrap();
    assert_eq!(get(&site, "/").text(), "mine");
    fs::remove_dir_all(site.base.join("root")).unwrap();
    assert!(get(&site, "/").text().contains("millrace runs"));
    assert_eq!(get(&site, "/a.txt").status, 404);
}

#[test]
fn pages_of_other_hosts_may_read_unless_switched_off() {
    let on = site();
    let answer = ask(&on, "GET /a.txt", &["origin: http://a.test"]);
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    let answer = ask(&on, "OPTIONS /a.txt", &["origin: http://a.test"]);
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    let off = site_with(&[("http_server.crossdomain", "off")]);
    let answer = ask(&off, "GET /a.txt", &["origin: http://a.test"]);
    assert_eq!(answer.header("access-control-allow-origin"), "");
    assert_eq!(ask(&off, "OPTIONS /a.txt", &[]).status, 405);
}

#[test]
fn files_are_only_read() {
    let site = site();
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let answer = ask(&site, &format!("{method} /a.txt"), &[]);
        assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD, OPTIONS"));
    }
}

#[test]
fn playlists_are_asked_for_anew() {
    let site = site();
    fs::write(site.base.join("root/x.m3u8"), "#EXTM3U\n").unwrap();
    let answer = get(&site, "/x.m3u8");
    assert_eq!(answer.header("cache-control"), "no-cache");
    assert_eq!(answer.header("content-type"), "application/vnd.apple.mpegurl");
    assert_eq!(get(&site, "/a.txt").header("cache-control"), "");
}

#[test]
fn an_flv_file_starts_in_the_middle() {
    use container::flv::{FileHeader, write_tag};
    use media::{Codec, Flags, Frame, Timestamp};
    let site = site();
    let aac = |flags, payload: &'static [u8]| Frame {
        codec: Codec::Aac,
        track: 0,
        flags,
        tag: 0xaf,
        dts: Timestamp::ZERO,
        pts: Timestamp::ZERO,
        payload: Bytes::from_static(payload),
    };
    let mut head = FileHeader { has_audio: true, has_video: false }.encode().to_vec();
    write_tag(&aac(Flags::CONFIG, &[0x12, 0x10]), &mut head);
    let mut file = head.clone();
    write_tag(&aac(Flags::empty(), &[1; 300]), &mut file);
    let start = file.len();
    write_tag(&aac(Flags::empty(), &[2; 300]), &mut file);
    fs::write(site.base.join("root/x.flv"), &file).unwrap();

    let answer = get(&site, &format!("/x.flv?start={start}"));
    assert_eq!((answer.status, answer.header("content-type")), (200, "video/x-flv"));
    let wanted = [&head[..], &file[start..]].concat();
    assert!(answer.body == wanted);
    assert_eq!(answer.header("content-length"), wanted.len().to_string());
    assert!(get(&site, "/x.flv?start=0").body == file);
    assert_eq!(get(&site, &format!("/x.flv?start={}", file.len())).status, 416);
    fs::write(site.base.join("root/no.flv"), "this is no video").unwrap();
    assert_eq!(get(&site, "/no.flv?start=9").status, 422);
    assert_eq!(get(&site, "/no.flv").status, 200);
}
