"""One of several workers killed, or the process that computes: the others answer meanwhile."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from chaos_traffic import Breakable, Heard, Recovery, Traffic, body, check, metric, read, rewards_of
from processes import pids
from servers import ServerProcess, get, post, wait_until

CLIENTS = 4
MORTAL = """
[cache]
memory_entries = 0
[[models]]
family = "fake"
name = "mortal"
run = "thread"
options = { kill = "KILL" }
"""


@pytest.fixture(scope="module")
def crew(breakable: Breakable) -> ServerProcess:
    """Two workers, and a host for the model that is dear."""
    return breakable(MORTAL, "--workers", "2")


@pytest.fixture(scope="module")
def slower(breakable: Breakable) -> ServerProcess:
    """The same, with batches that leave time to act."""
    return breakable("[cache]\nmemory_entries = 0\n", "--workers", "2", delay_ms="400")


def ready(server: ServerProcess, kind: str, count: int, without: int) -> bool:
    found = pids(server, kind) if get(f"{server.url}/readyz", timeout=30).is_success else []
    return len(found) == count and without not in found


@pytest.mark.parametrize(
    ("kind", "count", "allowed"),
    [("worker", 2, {"reset"}), ("model host", 1, set())],
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


def asked(server: ServerProcess, subject: str) -> Heard:
    began = time.monotonic()
    answer = post(f"{server.url}/v1/score", json=body("slow", subject), timeout=30)
    return read(subject, answer.status_code, answer.content, began)


def test_what_a_killed_host_had_is_answered_all_the_same(
    slower: ServerProcess, server: ServerProcess, recovery: Recovery
) -> None:
    wait_until(lambda: ready(slower, "model host", 1, 0), 60, "not ready before")
    (victim,) = pids(slower, "model host")
    names = [f"LOST{i}" for i in range(64)]
    depth = 'softverifier_queue_depth{model="slow"}'
    begun = 'softverifier_queue_wait_seconds_count{model="slow"}'
    before = metric(slower, begun)
    with ThreadPoolExecutor(64) as pool:
        answers = [pool.submit(asked, slower, name) for name in names[:2]]
        wait_until(lambda: metric(slower, begun) > before, 10, "nothing is computed")
        answers += [pool.submit(asked, slower, name) for name in names[2:]]
        wait_until(lambda: metric(slower, depth) > 20, 10, "nothing is queued")
        os.kill(victim, signal.SIGKILL)
        killed = time.monotonic()
        heard = [answer.result() for answer in answers]
    recovery("model host killed", time.monotonic() - killed, "until all 64 in flight are answered")
    assert [one.outcome for one in heard] == ["ok"] * 64
    check(heard, rewards_of(server, "slow", names))
    assert 1 <= metric(slower, 'softverifier_model_retries_total{model="slow"}') <= 64
    assert "a batch was lost" in slower.log()


def test_a_question_that_kills_its_host_costs_half_of_its_batch_and_two_hosts(
    crew: ServerProcess,
) -> None:
    wait_until(lambda: ready(crew, "model host", 1, 0), 60, "not ready before")
    subjects = [*(f"K{i}" for i in range(63)), "KILL"]
    question = {"model": "mortal", "relation": "perturbation.de", "context": "k562"}
    lines = crew.log().count("a process died")
    answer = post(
        f"{crew.url}/v1/predict",
        json={**question, "subjects": subjects, "objects": ["CALR"] * 64},
        timeout=30,
    ).json()
    assert [p is None for p in answer["p"]] == [False] * 32 + [True] * 32
    assert set(answer["status"][32:]) == {"MODEL_ERROR"}
    died = "a process died"
    wait_until(lambda: crew.log().count(died) == lines + 2, 10, "the second death is not seen")
    wait_until(lambda: ready(crew, "model host", 1, 0), 60, "not replaced")
    assert crew.log().count(died) == lines + 2
