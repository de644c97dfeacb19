"""One of several workers killed, or the process that computes: the others answer meanwhile."""

from __future__ import annotations

import os
import signal
import time

import pytest

from chaos_traffic import Breakable, Recovery, Traffic
from processes import pids
from servers import ServerProcess, get, wait_until

CLIENTS = 4


@pytest.fixture(scope="module")
def crew(breakable: Breakable) -> ServerProcess:
    """Two workers, and a host for the model that is dear."""
    return breakable("[cache]\nmemory_entries = 0\n", "--workers", "2")


def ready(server: ServerProcess, kind: str, count: int, without: int) -> bool:
    found = pids(server, kind) if get(f"{server.url}/readyz", timeout=30).is_success else []
    return len(found) == count and without not in found


@pytest.mark.parametrize(
    ("kind", "count", "allowed"),
    [("worker", 2, {"reset"}), ("model host", 1, {"MODEL_ERROR", "429", "503", "504"})],
    ids=["a worker", "the model host"],
)
def test_killed_under_traffic(
    crew: ServerProcess,
    server: ServerProcess,
    recovery: Recovery,
    kind: str,
    count: int,
    allowed: set[str],
) -> None:
    wait_until(lambda: ready(crew, kind, count, 0), 60, "not ready before")
    with Traffic(crew.url, "slow", clients=CLIENTS, name=kind[0]) as traffic:
        traffic.more(10, "ok")
        victim = pids(crew, kind)[0]
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        wait_until(lambda: ready(crew, kind, count, victim), 60, "not replaced")
        recovery(f"{kind} killed", time.monotonic() - killed, "until another has taken its place")
        traffic.more(20, "ok")
    recovery(f"{kind} killed", traffic.recovered_s(killed), "to the next answer")
    traffic.held_to(server, allowed)
    assert traffic.outcomes()["reset"] <= CLIENTS  # what the dead one had in its hands
