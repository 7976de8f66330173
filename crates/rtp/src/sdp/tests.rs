use super::*;

#[test]
fn what_browsers_write_is_printed_as_it_came() {
    let text = "v=0\r\no=- 46117327 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
                a=extmap-allow-mixed\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111 63\r\nc=IN IP4 0.0.0.0\r\n\
                a=mid:0\r\na=rtcp-mux\r\na=unheard-of:x y;z\r\nm=video 0/2 RTP/AVP 96\r\n";
    assert_eq!(SessionDescription::parse(text).unwrap().to_string(), text);
}
