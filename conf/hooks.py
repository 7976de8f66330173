#!/usr/bin/env python3
"""A web server for the callbacks of conf/http.hooks.conf. Needs Python 3 and nothing else.

    HOOK_SECRET=change-me HOOK_TOKEN=letmein python3 conf/hooks.py

Prints what the server tells and keeps a list of who is there. With HOOK_SECRET, requests must be
signed with it; with HOOK_TOKEN, publishers must bring `?token=` of that value. HOOK_FORWARD
names servers that get every stream (`a:1935 b`), where `forward { backend }` asks. HOOK_PORT is 8085
unless told.
"""

import hashlib
import hmac
import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

SECRET = os.environ.get("HOOK_SECRET", "")
TOKEN = os.environ.get("HOOK_TOKEN", "")
FORWARD = os.environ.get("HOOK_FORWARD", "").split()
LONGEST = 64 * 1024  # bytes of a request
OLDEST = 300  # seconds for which a signature counts

there = {}  # client_id -> what it does
lock = threading.Lock()


def signed(header, body):
    """Whether the header is `t=SECONDS,v1=HEX` with the right hash, and not an old one."""
    if not SECRET:
        return True
    parts = dict(part.split("=", 1) for part in header.split(",") if "=" in part)
    stamp, told = parts.get("t", ""), parts.get("v1", "")
    text = stamp.encode() + b"." + body
    wanted = hmac.new(SECRET.encode(), text, hashlib.sha256).hexdigest()
    fresh = stamp.isdigit() and abs(time.time() - int(stamp)) <= OLDEST
    return fresh and hmac.compare_digest(wanted, told)


def decide(event):
    """0 lets the client in, anything else turns it away. Ends cannot be refused."""
    action, client = event["action"], event["client_id"]
    if action == "on_publish" and TOKEN:
        query = parse_qs(event["param"].lstrip("?"))
        if query.get("token") != [TOKEN]:
            return 1
    with lock:
        if action in ("on_publish", "on_play"):
            there[client] = f"{action[3:]} {event['stream_url']} from {event['ip']}"
        elif action in ("on_unpublish", "on_stop", "on_close"):
            there.pop(client, None)
        line = f"{action:12} client={client} {len(there)} there: {json.dumps(event)}"
        print(line, flush=True)
    return 0


def answer_to(event):
    """What is answered to an event."""
    reply = {"code": decide(event)}
    if event["action"] == "on_forward":
        stream = f"{event['app']}/{event['stream']}{event['param']}"
        reply["data"] = {"urls": [f"rtmp://{server}/{stream}" for server in FORWARD]}
    return reply


class Hook(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        if not 0 < length <= LONGEST:
            return self.answer(413, {"code": 1})
        body = self.rfile.read(length)
        if not signed(self.headers.get("X-Millrace-Signature", ""), body):
            return self.answer(401, {"code": 1})
        try:
            reply = answer_to(json.loads(body))
        except (ValueError, KeyError, TypeError):
            return self.answer(400, {"code": 1})
        self.answer(200, reply)

    def answer(self, status, what):
        text = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    # Viewers leave by the hundred when a stream ends; the default of 5 lets the rest wait a second.
    request_queue_size = 512


if __name__ == "__main__":
    server = Server(("127.0.0.1", int(os.environ.get("HOOK_PORT", "8085"))), Hook)
    print(f"callbacks are taken at http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
