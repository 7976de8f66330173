"""aiortc publishes by WHIP or plays by WHEP.

    python3 aiortc_client.py play URL SECONDS [video|audio] [data]
    python3 aiortc_client.py publish URL SECONDS [h264|vp8] [video|audio]

SECONDS are counted from the first frame. With `data` it also opens channels `echo` and `metadata`. Prints one JSON line with what was seen; fails unless
every medium that was asked for flowed. Only wheels are needed: `pip install aiortc`.
"""

import array
import asyncio
import fractions
import json
import math
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import av
from aiortc import (
    AudioStreamTrack,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCSessionDescription,
    VideoStreamTrack,
)
from aiortc.mediastreams import MediaStreamError

MODE, URL, SECONDS, *OPTIONS = sys.argv[1:]
KINDS = [kind for kind in ("video", "audio") if kind in OPTIONS] or ["video", "audio"]
CODEC = next((option for option in OPTIONS if option in ("h264", "vp8")), None)
RATE = 48000
STEP = RATE // 50
PATIENCE = 60


def ask(method, url, body=None):
    headers = {"Content-Type": "application/sdp"} if body else {}
    data = body.encode() if body else None
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode(), answer.headers.get("Location")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), None


class Beep(AudioStreamTrack):
    """A tone of 440 Hz in stereo."""

    at = 0

    async def recv(self):
        if self.at == 0:
            self.began = time.monotonic()
        await asyncio.sleep(self.began + self.at / RATE - time.monotonic())
        tone = array.array("h")
        for n in range(self.at, self.at + STEP):
            value = int(8000 * math.sin(2 * math.pi * 440 * n / RATE))
            tone.extend((value, value))
        frame = av.AudioFrame(format="s16", layout="stereo", samples=STEP)
        frame.planes[0].update(tone.tobytes())
        frame.pts, frame.sample_rate = self.at, RATE
        frame.time_base = fractions.Fraction(1, RATE)
        self.at += STEP
        return frame


class Bars(VideoStreamTrack):
    """Grey stripes that move by one line with each picture."""

    sent = 0

    async def recv(self):
        pts, base = await self.next_timestamp()
        frame = av.VideoFrame(320, 180, "yuv420p")
        luma, *chroma = frame.planes
        lines = (bytes([((y + self.sent) * 8) % 220 + 16]) * luma.line_size for y in range(luma.height))
        luma.update(b"".join(lines))
        for plane in chroma:
            plane.update(b"\x80" * plane.buffer_size)
        frame.pts, frame.time_base = pts, base
        self.sent += 1
        return frame


class Seen:
    def __init__(self):
        self.frames, self.sizes, self.pictures, self.channels = 0, set(), set(), 0
        self.energy = 0.0

    async def drain(self, track):
        try:
            while True:
                frame = await track.recv()
                self.frames += 1
                if track.kind == "video":
                    self.sizes.add(f"{frame.width}x{frame.height}")
                    self.pictures.add(hash(bytes(frame.planes[0])))
                else:
                    samples = array.array("h", bytes(frame.planes[0]))
                    self.channels = frame.layout.nb_channels
                    self.energy += sum(s * s for s in samples) / len(samples) / 2**30
        except MediaStreamError:
            pass

    def told(self):
        return {
            "framesDecoded": self.frames,
            "pictures": len(self.pictures),
            "sizes": sorted(self.sizes),
            "channels": self.channels,
            "totalAudioEnergy": self.energy,
        }


async def sent(peer):
    packets = {kind: 0 for kind in KINDS}
    for sender in peer.getSenders():
        for entry in (await sender.getStats()).values():
            if entry.type == "outbound-rtp":
                packets[entry.kind] = entry.packetsSent
    return packets


def open_channels(peer):
    """Sends texts and bytes of several sizes; notes what comes back, and what it is told."""
    heard = {"echoes": 0, "told": []}
    sent = [form for n in (1, 1000, 20000) for form in ("x" * n, b"\xff" * n)]
    echo, metadata = peer.createDataChannel("echo"), peer.createDataChannel("metadata")

    @echo.on("open")
    def on_open():
        for message in sent:
            echo.send(message)

    @echo.on("message")
    def on_echo(message):
        heard["echoes"] += message == sent[heard["echoes"]]

    @metadata.on("message")
    def on_told(message):
        heard["told"].append(json.loads(message)["type"])

    return heard


async def main():
    report = {"stack": "aiortc", "mode": MODE, "url": URL, "verdict": "nothing came"}
    peer = RTCPeerConnection()
    seen = {kind: Seen() for kind in KINDS}
    tasks = []

    @peer.on("track")
    def on_track(track):
        tasks.append(asyncio.ensure_future(seen[track.kind].drain(track)))

    for kind in KINDS:
        if MODE == "play":
            lane = peer.addTransceiver(kind, direction="recvonly")
            codecs = RTCRtpReceiver.getCapabilities(kind).codecs
        else:
            track = Bars() if kind == "video" else Beep()
            lane = peer.addTransceiver(track, direction="sendonly")
            codecs = RTCRtpSender.getCapabilities(kind).codecs
        if kind == "video" and CODEC:
            kept = (f"video/{CODEC}", "video/rtx")
            lane.setCodecPreferences([c for c in codecs if c.mimeType.lower() in kept])
    heard = open_channels(peer) if "data" in OPTIONS else {}
    await peer.setLocalDescription(await peer.createOffer())
    resource = None
    try:
        status, text, location = await asyncio.to_thread(ask, "POST", URL, peer.localDescription.sdp)
        if status != 201:
            raise RuntimeError(f"{status}: {text}")
        report["sdp"], resource = text, urllib.parse.urljoin(URL, location)
        await peer.setRemoteDescription(RTCSessionDescription(text, "answer"))
        end, first = time.monotonic() + PATIENCE + float(SECONDS), None
        while time.monotonic() < end:
            await asyncio.sleep(0.1)
            if peer.connectionState in ("failed", "closed"):
                raise RuntimeError(f"the connection is {peer.connectionState}")
            if MODE == "play":
                flows = all(seen[kind].frames for kind in KINDS)
            else:
                flows = all((await sent(peer)).values())
            if flows:
                first = first or time.monotonic()
                if time.monotonic() - first >= float(SECONDS):
                    break
        if MODE == "play":
            report.update({kind: seen[kind].told() for kind in KINDS})
            missing = [kind for kind in KINDS if not seen[kind].frames]
        else:
            report["packetsSent"] = await sent(peer)
            missing = [kind for kind, packets in report["packetsSent"].items() if not packets]
        report["verdict"] = f"no {' and no '.join(missing)}" if missing else "ok"
    except Exception as error:
        report["verdict"] = repr(error)
    report.update(heard)
    if resource:
        forged = re.sub(r"token=[^&]*", "token=0000000000", resource)
        report["forged"] = (await asyncio.to_thread(ask, "DELETE", forged))[0] if forged != resource else None
        report["gone"] = (await asyncio.to_thread(ask, "DELETE", resource))[0]
    print(json.dumps(report), flush=True)
    await peer.close()
    return report["verdict"] == "ok"


sys.exit(0 if asyncio.run(main()) else 1)
