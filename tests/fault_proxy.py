"""A proxy before a real server that does to answers what networks and restarts do."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

Fault = Callable[["Handler"], bool]
"""Does its harm; True if the request is dealt with, False to go on and forward it."""


class FaultProxy(ThreadingHTTPServer):
    """Forwards to ``target``; ``fault`` is tried first for every ``POST``."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.forward = httpx.Client(base_url=target, timeout=30)
        self.fault: Fault | None = None
        self.listing: Fault | None = None
        self.posts: list[bytes] = []
        self.lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()
        self.forward.close()

    def behave(self) -> None:
        self.fault = self.listing = None
        self.posts.clear()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: FaultProxy

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.server.listing is None or not self.server.listing(self):
            self.answer(self.server.forward.get(self.path))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        with self.server.lock:
            self.server.posts.append(body)
        self.body = body
        if self.server.fault is None or not self.server.fault(self):
            self.answer(self.forwarded())

    def forwarded(self) -> httpx.Response:
        ours = {name: text for name, text in self.headers.items() if name.startswith("x-")}
        head = {**ours, "content-type": "application/json"}
        return self.server.forward.post(self.path, content=self.body, headers=head)

    def answer(self, found: httpx.Response) -> None:
        self.say(found.status_code, found.content)

    def say(self, status: int, content: bytes, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)

    def hang_up(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()
        self.close_connection = True


def unavailable(handler: Handler) -> bool:
    handler.say(503, b'{"error": {"code": "draining", "message": "later"}}')
    return True


def outage(handler: Handler) -> bool:
    """503 for whatever is said in an OUTAGE."""
    return b"OUTAGE" in handler.body and unavailable(handler)


def bad_gateway(handler: Handler) -> bool:
    handler.say(502, b"<html>Bad Gateway</html>")
    return True


def killed(handler: Handler) -> bool:
    handler.hang_up()
    return True


def truncated(handler: Handler) -> bool:
    content = handler.forwarded().content
    handler.say(200, content[: len(content) // 2], length=len(content))
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True
    return True


def not_json(handler: Handler) -> bool:
    handler.say(200, b'{"results": [{"reward": NaN')
    return True


def one_short(handler: Handler) -> bool:
    handler.say(200, b'{"results": [], "profile": {}, "server": {}}')
    return True


def not_a_number(handler: Handler) -> bool:
    """What this server never says and a broken proxy's cache might: a NaN, a text, a null."""
    said = handler.forwarded().json()
    for at, row in enumerate(said["results"]):
        row["reward"] = (float("nan"), "high", None)[at % 3]
        row["status"] = "ok"
    handler.say(200, json.dumps(said).encode())
    return True


def slow(seconds: float) -> Fault:
    def wait(handler: Handler) -> bool:
        time.sleep(seconds)
        return False

    return wait


def times(count: int, fault: Fault) -> Fault:
    """The fault so often, then none."""
    left = [count]
    lock = threading.Lock()

    def act(handler: Handler) -> bool:
        with lock:
            left[0] -= 1
            mine = left[0] >= 0
        return mine and fault(handler)

    return act


FAULTS: dict[str, Fault] = {
    "503": unavailable,
    "502-with-a-page": bad_gateway,
    "killed": killed,
    "truncated": truncated,
    "not-json": not_json,
    "one-short": one_short,
    "not-a-number": not_a_number,
}
