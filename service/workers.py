"""Several server processes on the same ports, and one parent that keeps them alive.

The parent holds the ports (bound, not listening), starts the workers with SO_REUSEPORT, replaces
one that dies, and passes SIGTERM on. It serves nothing itself. A worker that dies again and again
before it is ready ends the whole server: restarting a fault for ever hides it. The workers leave
their metrics in a folder of the parent's, so that any of them can answer a scrape for all.
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
FAST_DEATHS: Final = 3
FAST_S: Final = 5.0


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
    """
    stopping: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        stopping.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    with tempfile.TemporaryDirectory(prefix="soft-verifier-metrics-") as folder:
        command = [*command, "--metrics-folder", folder]

        def start() -> tuple[subprocess.Popen[bytes], float]:
            # A session of its own: Ctrl-C reaches the parent alone, which drains the workers.
            return (
                subprocess.Popen(command, start_new_session=True),
                time.monotonic(),
            )

        children = [start() for _ in range(workers)]
        shown, fast_deaths = False, 0
        while not stopping:
            time.sleep(POLL_S)
            if not shown and ready():
                shown = True
                banner()
            for i, (child, since) in enumerate(children):
                if child.poll() is None:
                    continue
                fast_deaths = fast_deaths + 1 if time.monotonic() - since < FAST_S else 0
                if fast_deaths >= FAST_DEATHS or (not shown and child.returncode == 2):
                    _end(children, grace_s)
                    raise StartupFault(
                        f"workers die as they start (exit code {child.returncode}); see above"
                    )
                log.warning("worker died; starting another", code=child.returncode)
                children[i] = start()
        code = _end(children, grace_s)
    for port in ports:
        port.close()
    return code


def _end(children: Sequence[tuple[subprocess.Popen[bytes], float]], grace_s: float) -> int:
    """Ask every worker to drain; kill what has not after the grace period."""
    for child, _ in children:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
    until = time.monotonic() + grace_s + 2.0
    code = 0
    for child, _ in children:
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
