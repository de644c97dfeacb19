"""A server whose time of day a test may move: a day ahead by SIGUSR1, two back by SIGUSR2."""

from __future__ import annotations

import signal
import sys

from servers import ServerProcess, wait_until

JUMPING = """
import runpy, signal, sys, time
real, jumped = time.time, [0.0]
time.time = lambda: real() + jumped[0]
def jump(number, _):
    jumped[0] += 86_400.0 if number == signal.SIGUSR1 else -2 * 86_400.0
    print("the clock jumped", file=sys.stderr, flush=True)
signal.signal(signal.SIGUSR1, jump)
signal.signal(signal.SIGUSR2, jump)
sys.argv = sys.argv[1:]
runpy.run_module("service", run_name="__main__")
"""
DAY_AHEAD, TWO_BACK = signal.SIGUSR1, signal.SIGUSR2


def with_jumping_clock(server: ServerProcess) -> ServerProcess:
    """Have a server, not started yet, tell the time by a clock that jumps."""
    file = server.folder / "jumping.py"
    file.write_text(JUMPING)
    options = server.command[server.command.index("serve") :]
    server.command = [sys.executable, str(file), "service", *options]
    return server


def jump(server: ServerProcess, number: signal.Signals) -> None:
    """Move its clock, and wait until it has been."""
    before = server.log().count("the clock jumped")
    assert server.process is not None
    server.process.send_signal(number)
    wait_until(lambda: server.log().count("the clock jumped") > before, 10, "it did not jump")
