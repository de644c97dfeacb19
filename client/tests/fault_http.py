"""An HTTP server that really listens and misbehaves on request.

It answers by a formula of their own (the reward of a completion is a function of its length), so
what it tests is the way there and back. Real rewards are tested against the real service.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DIGEST = "sha256:" + "0" * 64


def text_of(item):
    completion = item.get("completion")
    return completion if isinstance(completion, str) else json.dumps(completion)


def result_of(item):
    """What the double says of an item: statuses by keyword, else a number with awkward bits."""
    text = text_of(item)
    status = next((s for s in ("abstain", "error") if text.startswith(s)), "ok")
    number = len(text.encode()) / 3 / 1000 if status == "ok" else None
    return {
        "id": item.get("id"),
        "status": status,
        "reward": number,
        "weight": 1.0,
        "answer": "yes" if status == "ok" else None,
        "reason": {"ok": "OK", "abstain": "UNKNOWN_GENE", "error": "MODEL_ERROR"}[status],
        "components": [{"name": "length", "score": number, "p": number, "cached": False}],
        "retryable": status == "error",
        "contradiction": False,
        "message": None,
        "a_field_of_the_future": 1,
    }


class FaultServer(ThreadingHTTPServer):
    """Does what ``script`` says, one entry a request, then behaves."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.script = deque()
        self.requests = []
        self.connections = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.delay = 0.0
        self.failing = lambda body: None
        self.lock = threading.Lock()

    def handle_error(self, request, client_address):
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def log_message(self, *args):
        pass

    def do_GET(self):
        self._act(None)

    def do_POST(self):
        self._act(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def _act(self, body):
        server = self.server
        with server.lock:
            server.requests.append((self.path, body, dict(self.headers)))
            act = server.script.popleft() if server.script else server.failing(body)
            server.in_flight += 1
            server.most_in_flight = max(server.most_in_flight, server.in_flight)
        try:
            time.sleep(server.delay)
            (act or answer)(self, body)
        finally:
            with server.lock:
                server.in_flight -= 1


def send(handler, status, raw, headers=(), length=None):
    handler.send_response(status)
    handler.send_header("content-length", str(len(raw) if length is None else length))
    for key, value in headers:
        handler.send_header(key, value)
    handler.end_headers()
    handler.wfile.write(raw)


def answer(handler, body):
    if handler.path in ("/healthz", "/readyz"):
        return send(handler, 200, b"{}")
    if handler.path == "/v1/models":
        return send(handler, 200, b'{"models": [{"name": "screen"}]}')
    if handler.path == "/v1/profiles":
        return send(handler, 200, b'{"profiles": [{"name": "rbio-mlp"}]}')
    if handler.path == "/v1/predict":
        p = [None if s == "NOGENE" else len(s) / 7 for s in body["subjects"]]
        status = ["UNKNOWN_GENE" if value is None else "OK" for value in p]
        found = {"p": p, "status": status, "p0": None, "uncertainty": p, "raw": None}
        found |= {"model": body["model"], "version": "1", "digest": DIGEST}
        return send(handler, 200, json.dumps(found).encode())
    return send(handler, 200, json.dumps(scores(body)).encode())


def scores(body):
    return {"results": [result_of(item) for item in body["items"]], "profile": {}, "server": {}}


def status(code, message="no", headers=(), **fields):
    raw = json.dumps({"error": {"code": "the_code", "message": message, **fields}}).encode()
    return lambda handler, body: send(handler, code, raw, headers)


def raw(code, text, headers=()):
    return lambda handler, body: send(handler, code, text, headers)


def reset(handler, body):
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    handler.connection.close()
    handler.close_connection = True


def truncated(handler, body):
    send(handler, 200, json.dumps(scores(body)).encode()[:-20], length=10_000)
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def one_short(handler, body):
    found = scores(body)
    found["results"].pop()
    send(handler, 200, json.dumps(found).encode())


def slow(seconds):
    def act(handler, body):
        time.sleep(seconds)
        answer(handler, body)

    return act


def dripping(handler, body):
    handler.send_response(200)
    handler.send_header("content-length", "1000")
    handler.end_headers()
    for _ in range(50):
        handler.wfile.write(b" ")
        time.sleep(0.05)
