"""Processes that hang without dying: replaced, while who is healthy is left alone."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from chaos_traffic import Breakable, Recovery, Traffic, body
from processes import alive, metric, pids, standing
from servers import ServerProcess, post, wait_until

HANG_S = 4
HANGS = "softverifier_process_hangs_total"


@pytest.fixture(scope="module")
def crew(breakable: Breakable) -> ServerProcess:
    """Two workers, a host for the dear model, and a gene for which the other stops the loop."""
    settings = f"[cache]\nmemory_entries = 0\n[processes]\nhang_s = {HANG_S}\n[[models]]\n"
    settings += 'family = "fake"\nname = "stuck"\nrun = "inline"\noptions = { hang = "STUCK" }\n'
    return breakable(settings, "--workers", "2")


def everybody(server: ServerProcess) -> list[int]:
    """Pids of all children, once all are ready."""
    found: list[int] = []

    def whole() -> bool:
        with contextlib.suppress(httpx.TransportError):
            processes = standing(server)
            found[:] = [one["pid"] for one in processes if one["state"] == "ready"]
            return len(found) == len(processes) == 3
        return False

    wait_until(whole, 60, "not all are ready")
    return list(found)


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def turns(pid: int) -> int:
    """How often a process has gone to sleep by itself."""
    (line,) = (
        line
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if line.startswith("voluntary_ctxt_switches")
    )
    return int(line.split()[1])


@contextlib.contextmanager
def stopped(*victims: int) -> Iterator[None]:
    """As a debugger or a full machine would; they go on at the end, if they are still there."""
    for pid in victims:
        os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: all(state(pid) == "T" for pid in victims), 10, "not stopped")
    try:
        yield
    finally:
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [("worker", {"reset"}), ("model host", {"429", "503", "504"})],
    ids=["a worker", "the model host"],
)
def test_who_is_stopped_is_replaced_under_traffic(
    crew: ServerProcess, server: ServerProcess, recovery: Recovery, kind: str, allowed: set[str]
) -> None:
    before, (victim, *_) = set(everybody(crew)), pids(crew, kind)
    with Traffic(crew.url, "slow", clients=4, timeout=60, name=f"STOP{kind[0]}") as traffic:
        traffic.more(10, "ok")
        with stopped(victim):
            began = time.monotonic()
            wait_until(lambda: not alive(victim), 60, "it hangs for ever")
            recovery(f"{kind} stopped", time.monotonic() - began, f"to its end, hang_s {HANG_S}")
            # killed is not yet reaped: the dead one stands in the list until the parent sees it
            wait_until(lambda: victim not in everybody(crew), 30, "it is not replaced")
            after = set(everybody(crew))
        recovery(f"{kind} stopped", time.monotonic() - began, "until another has its place")
        traffic.more(20, "ok")
    traffic.held_to(server, allowed)
    assert traffic.outcomes()["reset"] <= 4  # what the stopped one had in its hands
    assert len(before & after) == 2  # nobody else was touched
    (role,) = {one["role"] for one in standing(crew) if one["pid"] in after - before}
    assert metric(crew, HANGS, role=role) == 1
    assert f"pid={victim} role='{role}'" in crew.log()


def test_a_worker_whose_loop_is_stuck_is_replaced(
    crew: ServerProcess, server: ServerProcess
) -> None:
    before, hangs = set(everybody(crew)), metric(crew, HANGS)
    question: dict[str, object] = {
        "model": "stuck",
        "relation": "perturbation.de",
        "context": "k562",
    }
    question |= {"subjects": ["STUCK"], "objects": ["CALR"]}
    with Traffic(crew.url, "slow", clients=4, timeout=60, name="LOOP") as traffic:
        with pytest.raises(httpx.RemoteProtocolError):
            post(f"{crew.url}/v1/predict", json=question, timeout=60)
        wait_until(lambda: set(everybody(crew)) != before, 30, "it is not replaced")
        traffic.more(20, "ok")
    traffic.held_to(server, {"reset"})
    assert len(before & set(everybody(crew))) == 2
    assert metric(crew, HANGS) == hangs + 1


def test_a_parent_that_was_stopped_kills_nobody(crew: ServerProcess, server: ServerProcess) -> None:
    before, hangs = everybody(crew), metric(crew, HANGS)
    with Traffic(crew.url, "slow", clients=2, name="ALONE") as traffic:
        with stopped(crew.pid):
            until = time.monotonic() + 1.5 * HANG_S
            while time.monotonic() < until:
                traffic.more(5, "ok")  # who serves needs no parent
        traffic.more(5, "ok")
    traffic.held_to(server)
    assert everybody(crew) == before
    assert metric(crew, HANGS) == hangs


def test_a_machine_that_slept_and_a_parent_that_wakes_first_kill_nobody(
    crew: ServerProcess,
) -> None:
    before, hangs = everybody(crew), metric(crew, HANGS)
    with stopped(*before):
        with stopped(crew.pid):
            asleep = time.monotonic()
            wait_until(lambda: time.monotonic() > asleep + 1.5 * HANG_S, 60, "no time passes")
            woken = turns(crew.pid)
        wait_until(lambda: turns(crew.pid) > woken + 5, 10, "the parent does not wake")
    answer = post(f"{crew.url}/v1/score", json=body("slow", "AWAKE"), timeout=30)
    assert answer.json()["results"][0]["status"] == "ok"
    assert everybody(crew) == before
    assert metric(crew, HANGS) == hangs
