"""GStreamer's webrtcbin publishes by WHIP or plays by WHEP.

    /usr/bin/python3 webrtcbin.py play URL SECONDS [video|audio] [h264|h265|vp8|av1]
    /usr/bin/python3 webrtcbin.py publish URL SECONDS [h264|vp8] [video|audio] [mono] [rsa]

SECONDS are counted from the first frame. Prints one JSON line with what was seen; fails unless
every medium that was asked for flowed. Debian: gstreamer1.0-plugins-bad, gstreamer1.0-nice,
python3-gi, gir1.2-gst-plugins-bad-1.0.
"""

import hashlib
import json
import re
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

MODE, URL, SECONDS, *OPTIONS = sys.argv[1:]
KINDS = [kind for kind in ("video", "audio") if kind in OPTIONS] or ["video", "audio"]
CODEC = next((o for o in OPTIONS if o in ("h264", "h265", "vp8", "av1")), "h264")
CHANNELS = 1 if "mono" in OPTIONS else 2
PATIENCE = 60

OPUS = "application/x-rtp,media=audio,encoding-name=OPUS,payload=111,clock-rate=48000,encoding-params=(string)2"
VIDEO = "application/x-rtp,media=video,clock-rate=90000,payload=96,encoding-name="
ENCODERS = {
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=50 bitrate=600"
    " ! video/x-h264,profile=constrained-baseline ! rtph264pay config-interval=-1 pt=96"
    " aggregate-mode=zero-latency",
    "vp8": "vp8enc deadline=1 keyframe-max-dist=50 target-bitrate=600000 ! rtpvp8pay pt=96"
    " picture-id-mode=15-bit",
}


def ask(method, url, body=None):
    headers = {"Content-Type": "application/sdp"} if body else {}
    data = body.encode() if body else None
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode(), answer.headers.get("Location")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), None


def certificate():
    """A key and certificate of ECDSA in PEM; GStreamer's own are RSA."""
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    command = [*make.split(), "-keyout", "-", "-out", "-"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # The certificate is looked for first, and nothing before it is looked at again.
    return "".join(sorted(re.findall(r"-----BEGIN .*?-----END [A-Z ]+-----\n", text, re.DOTALL)))


def certify(_pipe, _bin, element):
    factory = element.get_factory()
    if "rsa" not in OPTIONS and factory and factory.get_name() == "dtlsdec":
        element.set_property("pem", PEM)


def certified(offer):
    """The offer with the fingerprint of our certificate, which comes too late for webrtcbin's."""
    if "rsa" in OPTIONS:
        return offer
    text = re.search(r"-----BEGIN CERTIFICATE.*?END CERTIFICATE-----", PEM, re.DOTALL).group()
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(text)).hexdigest().upper()
    pairs = ":".join(re.findall("..", digest))
    return re.sub(r"a=fingerprint:\S+ \S+", f"a=fingerprint:sha-256 {pairs}", offer)


class Client:
    def __init__(self):
        self.report = {"stack": "webrtcbin", "mode": MODE, "url": URL, "verdict": "nothing came"}
        self.counts = {kind: 0 for kind in KINDS}
        self.caps = {}
        self.gaps = {}
        self.last = {}
        self.resource = None
        self.first = None
        self.loop = GLib.MainLoop()
        self.pipe = Gst.Pipeline()
        self.peer = Gst.ElementFactory.make("webrtcbin")
        self.peer.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.pipe.connect("deep-element-added", certify)
        # Left alone, libnice uses no loopback address. The agent is kept: 1.22 lends its only
        # reference.
        self.agent = self.peer.get_property("ice-agent")
        self.agent.emit("add-local-ip-address", urllib.parse.urlsplit(URL).hostname)
        self.pipe.add(self.peer)
        if MODE == "publish":
            self.send()
        else:
            self.receive()
        self.peer.connect("on-negotiation-needed", self.offer)
        bus = self.pipe.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", lambda _, m: self.end(f"{m.parse_error()}"))

    def send(self):
        size = "video/x-raw,width=320,height=180,framerate=25/1,format=I420"
        lanes = {
            "video": f"videotestsrc is-live=true pattern=ball ! {size} ! queue ! {ENCODERS[CODEC]}"
            f" ! {VIDEO}{CODEC.upper()} ! identity name=out",
            "audio": f"audiotestsrc is-live=true freq=440 volume=0.5 ! audio/x-raw,rate=48000,channels={CHANNELS}"
            f" ! queue ! opusenc ! rtpopuspay pt=111 ! {OPUS} ! identity name=out",
        }
        for kind in KINDS:
            lane = Gst.parse_bin_from_description(lanes[kind], True)
            self.pipe.add(lane)
            lane.link(self.peer)
            self.count(kind, lane.get_by_name("out").get_static_pad("src"))
        for at in range(len(KINDS)):
            lane = self.peer.emit("get-transceiver", at)
            lane.set_property("direction", GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY)
            lane.set_property("do-nack", True)

    def receive(self):
        direction = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
        for kind in KINDS:
            if kind == "audio":
                caps = OPUS
            else:
                caps = f"{VIDEO}{CODEC.upper()},rtcp-fb-nack=(boolean)true,rtcp-fb-nack-pli=(boolean)true"
                if CODEC == "h264":
                    caps += ",packetization-mode=(string)1,profile-level-id=(string)42e01f"
            lane = self.peer.emit("add-transceiver", direction, Gst.Caps.from_string(caps))
            lane.set_property("do-nack", True)
        self.peer.connect("pad-added", self.incoming)

    def incoming(self, _, pad):
        if pad.get_direction() != Gst.PadDirection.SRC:
            return
        kind = pad.get_current_caps().get_structure(0).get_string("media")
        tail = "audioconvert" if kind == "audio" else "videoconvert ! video/x-raw,format=I420"
        lane = Gst.parse_bin_from_description(
            f"queue name=in ! decodebin ! {tail} ! fakesink name=out sync=false async=false", False
        )
        lane.add_pad(Gst.GhostPad.new("sink", lane.get_by_name("in").get_static_pad("sink")))
        self.pipe.add(lane)
        lane.sync_state_with_parent()
        pad.link(lane.get_static_pad("sink"))
        self.count(kind, lane.get_by_name("out").get_static_pad("sink"))

    def count(self, kind, pad):
        def probe(pad, info):
            now = time.monotonic()
            if kind in self.last:
                self.gaps[kind] = max(self.gaps.get(kind, 0), now - self.last[kind])
            self.last[kind] = now
            self.counts[kind] += 1
            self.caps[kind] = pad.get_current_caps().to_string()
            return Gst.PadProbeReturn.OK

        pad.add_probe(Gst.PadProbeType.BUFFER | Gst.PadProbeType.BUFFER_LIST, probe)

    def offer(self, _):
        self.peer.emit("create-offer", None, Gst.Promise.new_with_change_func(self.offered))

    def offered(self, promise):
        # The offer lies inside of the reply and goes when that goes.
        reply = promise.get_reply()
        offer = reply.get_value("offer")
        text = certified(offer.sdp.as_text())
        self.peer.emit("set-local-description", offer, Gst.Promise.new())
        GLib.idle_add(self.exchange, text)

    def exchange(self, offer):
        self.report["offer"] = offer
        status, text, location = ask("POST", URL, offer)
        if status != 201:
            self.end(f"{status}: {text}")
            return False
        self.report["sdp"], self.resource = text, urllib.parse.urljoin(URL, location)
        _, sdp = GstSdp.SDPMessage.new_from_text(text)
        answer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, sdp)
        self.peer.emit("set-remote-description", answer, Gst.Promise.new())
        return False

    def connected(self):
        state = self.peer.get_property("connection-state")
        if state == GstWebRTC.WebRTCPeerConnectionState.FAILED:
            self.end("the connection failed")
        return state == GstWebRTC.WebRTCPeerConnectionState.CONNECTED

    def look(self):
        if not self.connected():
            return True
        if all(self.counts.values()):
            self.first = self.first or time.monotonic()
            if time.monotonic() - self.first >= float(SECONDS):
                self.end("ok")
        return True

    def late(self):
        missing = [kind for kind, count in self.counts.items() if not count]
        state = self.peer.get_property("ice-connection-state").value_nick
        self.end(f"no {' and no '.join(missing)}, ICE is {state}")

    def end(self, verdict):
        self.report["verdict"] = verdict
        self.loop.quit()

    def run(self):
        self.pipe.set_state(Gst.State.PLAYING)
        GLib.timeout_add(100, self.look)
        GLib.timeout_add(int((PATIENCE + float(SECONDS)) * 1000), self.late)
        self.loop.run()
        name = "framesDecoded" if MODE == "play" else "packetsSent"
        for kind in KINDS:
            told = {name: self.counts[kind], "caps": self.caps.get(kind), "longestGap": self.gaps.get(kind)}
            self.report[kind] = told
        if self.resource:
            forged = re.sub(r"token=[^&]*", "token=0000000000", self.resource)
            self.report["forged"] = ask("DELETE", forged)[0] if forged != self.resource else None
            self.report["gone"] = ask("DELETE", self.resource)[0]
        print(json.dumps(self.report), flush=True)
        self.pipe.set_state(Gst.State.NULL)
        return self.report["verdict"] == "ok"


Gst.init(None)
PEM = certificate()
sys.exit(0 if Client().run() else 1)
