"""Several server processes on the same ports, and one parent that keeps them alive.

The parent holds the ports (bound, not listening), starts the workers with SO_REUSEPORT, replaces
one that dies, and passes SIGTERM on. It serves nothing itself. Workers hold the reading end of a
pipe of the parent's: if it dies, they drain. A worker that keeps dying is started again after
longer and longer pauses, and if none was ever ready the server ends: restarting a fault for ever
hides it. The workers leave their metrics in a folder of the parent's, so that any of them can
answer a scrape for all.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Final

import structlog

from service.errors import StartupFault

log = structlog.get_logger(__name__)

POLL_S: Final = 0.1
DEATHS: Final = 3
"""Deaths in a row of one worker after which a server that was never ready gives up."""
STEADY_S: Final = 30.0
"""A worker that lived so long has its earlier deaths forgiven."""
LONGEST_PAUSE_S: Final = 10.0


class _Slot:
    """One worker and those that took its place."""

    def __init__(self, command: Sequence[str]):
        self._command = command
        self.deaths = 0
        self._start_at = 0.0
        self._started = 0.0
        self.child: subprocess.Popen[bytes] | None = None

    def tend(self) -> int | None:
        """Start the worker if there is none and its pause is over; the code of one that died."""
        now = time.monotonic()
        if self.child is None:
            if now >= self._start_at:
                # A session of its own: Ctrl-C reaches the parent alone, which drains the workers.
                self.child = subprocess.Popen(
                    self._command, stdin=subprocess.PIPE, start_new_session=True
                )
                self._started = now
            return None
        code = self.child.poll()
        if code is None:
            return None
        assert self.child.stdin is not None
        self.child.stdin.close()
        self.child = None
        self.deaths = 1 if now - self._started > STEADY_S else self.deaths + 1
        pause = 0.0 if self.deaths == 1 else min(2.0 ** (self.deaths - 2), LONGEST_PAUSE_S)
        self._start_at = now + pause
        return code


def supervise(
    command: Sequence[str],
    workers: int,
    ports: Sequence[socket.socket],
    grace_s: float,
    ready: Callable[[], bool],
    banner: Callable[[], None],
) -> int:
    """Run ``workers`` copies of a command until SIGTERM or SIGINT; the exit code.

    Args:
        command: argument vector of one worker.
        workers: how many.
        ports: bound sockets that keep the ports ours while workers come and go.
        grace_s: seconds that workers get to drain.
        ready: True once a worker answers.
        banner: called once, when the first worker is ready.

    Raises:
        StartupFault: the workers die as they start.
    """
    stopping: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        stopping.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    with tempfile.TemporaryDirectory(prefix="soft-verifier-metrics-") as folder:
        slots = [_Slot([*command, "--metrics-folder", folder]) for _ in range(workers)]
        shown = False
        while not stopping:
            for slot in slots:
                code = slot.tend()
                if code is None:
                    continue
                if not shown and (code == 2 or slot.deaths >= DEATHS):
                    _end(slots, grace_s)
                    raise StartupFault(f"workers die as they start (exit code {code}); see above")
                log.warning("worker died", code=code, deaths=slot.deaths)
            if not shown and ready():
                shown = True
                banner()
            time.sleep(POLL_S)
        code = _end(slots, grace_s)
    for port in ports:
        port.close()
    return code


def _end(slots: Sequence[_Slot], grace_s: float) -> int:
    """Ask every worker to drain; kill what has not after the grace period."""
    children = [slot.child for slot in slots if slot.child is not None]
    for child in children:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
    until = time.monotonic() + grace_s + 2.0
    code = 0
    for child in children:
        try:
            ended = child.wait(max(0.1, until - time.monotonic()))
            # Killed by SIGTERM itself: it was still loading and had nothing in flight.
            code = max(code, 0 if ended == -signal.SIGTERM else abs(ended))
        except subprocess.TimeoutExpired:
            child.kill()
            code = 1
    return code


def worker_command(arguments: Sequence[str], http_port: int, grpc_port: int) -> list[str]:
    """The command line of one worker: ours, with the ports that the parent holds."""
    return [
        sys.executable,
        "-m",
        "service",
        *arguments,
        "--http-port",
        str(http_port),
        "--grpc-port",
        str(grpc_port),
        "--worker",
    ]
