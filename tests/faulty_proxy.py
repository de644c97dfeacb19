"""A TCP proxy in front of a real server that spoils answers as a script says, one a connection."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable

from listening import Listening

Fault = Callable[[socket.socket, bytes], None]


def refuse(client: socket.socket, answer: bytes) -> None:
    """503 with Retry-After, as a server that drains."""
    del answer
    body = b'{"error":{"code":"not_ready","message":"draining","field":null}}'
    head = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: %d\r\n\r\n"
    client.sendall(head % len(body) + body)


def truncate(client: socket.socket, answer: bytes) -> None:
    """The head and half of the body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    client.sendall(head + b"\r\n\r\n" + body[: len(body) // 2])


def reset(client: socket.socket, answer: bytes) -> None:
    """The connection is reset before an answer."""
    del answer
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def garbage(client: socket.socket, answer: bytes) -> None:
    """200 with a body that is no JSON."""
    del answer
    client.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n<html></h")


FAULTS: dict[str, Fault] = {
    "503": refuse,
    "truncated": truncate,
    "reset": reset,
    "garbage": garbage,
}


class FaultyProxy:
    """Forwards to a port; spoils as many answers as ``script`` holds, then behaves."""

    def __init__(self, port: int) -> None:
        self.script: deque[Fault] = deque()
        self.connections = 0
        self._target = port
        self._listening = Listening(self._take)
        self.url = self._listening.url

    def close(self) -> None:
        self._listening.close()

    def _take(self, client: socket.socket) -> None:
        self.connections += 1
        fault = self.script.popleft() if self.script else socket.socket.sendall
        threading.Thread(target=self._serve, args=(client, fault), daemon=True).start()

    def _serve(self, client: socket.socket, fault: Fault) -> None:
        """One request, one answer."""
        with client, contextlib.suppress(OSError):
            request = _message(client)
            with socket.create_connection(("127.0.0.1", self._target)) as server:
                server.sendall(request)
                answer = _message(server)
            fault(client, answer)


def _message(sock: socket.socket) -> bytes:
    """Head and body, by its content-length."""
    text = b""
    while b"\r\n\r\n" not in text and (piece := sock.recv(65_536)):
        text += piece
    head, _, body = text.partition(b"\r\n\r\n")
    length = next(
        (
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        ),
        0,
    )
    while len(body) < length and (piece := sock.recv(65_536)):
        body += piece
    return head + b"\r\n\r\n" + body
