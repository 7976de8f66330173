//! The page at `/` of a server that has no files of its own.

use gate::conf::{Config, DEFAULT_VHOST};

/// Text that is text in HTML, also inside quotes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Tells that the server runs, where to publish and where to watch. Loads nothing from anywhere.
pub(super) fn page(config: &Config, host: &str) -> String {
    let root = config.root();
    let host = if host.is_empty() { "localhost" } else { host };
    let name = host.rsplit_once(':').filter(|_| !host.ends_with(']')).map_or(host, |(n, _)| n);
    let rtmp = root.listen("listen").first().map(|listen| match listen.port {
        1935 => format!("rtmp://{name}/live/livestream"),
        port => format!("rtmp://{name}:{port}/live/livestream"),
    });
    let mut play: Vec<String> = rtmp.clone().into_iter().collect();
    if let Some(vhost) = config.vhost(DEFAULT_VHOST) {
        if vhost.bool("http_remux.enabled") {
            play.extend(vhost.list("http_remux.mount").into_iter().map(|mount| {
                let path = mount
                    .replace("[vhost]", "")
                    .replace("[app]", "live")
                    .replace("[stream]", "livestream");
                format!("http://{host}/{}", path.trim_start_matches('/'))
            }));
        }
        if vhost.bool("hls.enabled") {
            play.push(format!("http://{host}/live/livestream.m3u8"));
        }
    }
    let item = |url: &String| format!("<li><code>{}</code></li>\n", escape(url));
    let publish: String = rtmp.iter().map(item).collect();
    let play: String = play.iter().map(item).collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <title>millrace</title>\n<style>body{{font-family:sans-serif;max-width:42em;margin:3em \
         auto;padding:0 1em;line-height:1.5}}code{{background:#eee;padding:.1em .3em}}</style>\n\
         </head>\n<body>\n<h1>millrace runs</h1>\n<p>Publish here:</p>\n<ul>\n{publish}</ul>\n\
         <p>and watch here:</p>\n<ul>\n{play}</ul>\n<p>In place of <code>live</code> and \
         <code>livestream</code> any names will do. Put an <code>index.html</code> into \
         <code>http_server.dir</code> to have a page of your own here.</p>\n</body>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::directives;

    #[test]
    fn the_page_names_what_is_switched_on() {
        let pairs = [
            ("listen", "1936"),
            ("vhost.http_remux.enabled", "on"),
            ("vhost.http_remux.mount", "[vhost]/[app]/[stream].flv [vhost]/[app]/[stream].ts"),
        ];
        let config = Config::from_pairs(directives::table(&[]), &pairs);
        let page = page(&config, "box:8080");
        assert!(page.contains("<code>rtmp://box:1936/live/livestream</code>"), "{page}");
        assert!(page.contains("<code>http://box:8080/live/livestream.flv</code>"));
        assert!(page.contains("<code>http://box:8080/live/livestream.ts</code>"));
        assert!(!page.contains("m3u8"));
    }

    #[test]
    fn a_hostile_host_stays_text() {
        let config = Config::from_pairs(directives::table(&[]), &[("listen", "1935")]);
        let page = page(&config, "\"><script>alert('x')</script>");
        assert!(!page.contains("<script>"));
        assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)"));
    }
}
