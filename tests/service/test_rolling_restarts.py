"""Workers that die while models are replaced: who takes their place serves what the others do."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from processes import PAIRS, metric, pids, point, standing
from rolled import Rolled, asked
from servers import get, post, wait_until


@pytest.fixture(scope="module", params=["inline", "thread"], ids=["workers", "workers and a host"])
def rolled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rolled]:
    made = Rolled(tmp_path_factory.mktemp("restarts"), 2, request.param)
    yield made
    made.server.stop()


@pytest.fixture
def loops(tmp_path: Path) -> Iterator[Rolled]:
    made = Rolled(tmp_path, 2, "inline")
    yield made
    made.server.stop()


@pytest.fixture
def hosted(tmp_path: Path) -> Iterator[Rolled]:
    made = Rolled(tmp_path, 2, "thread")
    yield made
    made.server.stop()


def whole(rolled: Rolled, *gone: int) -> bool:
    """All are ready, and none of them is one of those."""
    with contextlib.suppress(httpx.TransportError):
        found = standing(rolled.server)
        return all(one["state"] == "ready" and one["pid"] not in gone for one in found)
    return False


def made_whole(rolled: Rolled, *gone: int) -> None:
    wait_until(lambda: whole(rolled, *gone), 60, "not whole")


def digests(rolled: Rolled) -> set[str]:
    """What each worker says that it serves, asked until both have said so."""
    found: dict[int, str] = {}
    until = time.monotonic() + 30
    clients: list[httpx.Client] = []
    while len(found) < 2:
        assert time.monotonic() < until, "one worker does not answer"
        clients.append(httpx.Client(verify=False))
        pid = clients[-1].get(f"{rolled.url}/readyz").json()["answered_by"]
        found[pid] = clients[-1].get(f"{rolled.url}/v1/models/tiny").json()["digest"]
    for client in clients:
        client.close()
    return set(found.values())


def test_killed_at_any_moment_of_a_replacement_they_end_up_alike(rolled: Rolled) -> None:
    for delay in (0.0, 0.03, 0.1, 0.3):
        made_whole(rolled)
        old, new = rolled.now, rolled.turn()
        victim = pids(rolled.server, "worker")[0]
        with ThreadPoolExecutor(1) as pool:
            told = pool.submit(post, f"{rolled.url}/v1/models/tiny/reload", timeout=60)
            with contextlib.suppress(TimeoutError):
                told.exception(delay)  # a moment of the replacement, or its end
            os.kill(victim, signal.SIGKILL)
            told.exception(60)
        made_whole(rolled, victim)
        found = digests(rolled)
        assert len(found) == 1, f"apart after a worker died {delay} s into it"
        rolled.now = {one.digest: one for one in (old, new)}[found.pop()]
        answer = post(f"{rolled.url}/v1/predict", json=asked(PAIRS[:3])).json()
        assert answer["digest"] == rolled.now.digest
        assert answer["p"] == [rolled.now.figures[pair] for pair in PAIRS[:3]]


def test_a_newcomer_with_another_version_serves_nobody_before_all_have_it(loops: Rolled) -> None:
    made_whole(loops)
    victim, other = pids(loops.server, "worker")
    url, old, new = f"{loops.url}/v1/predict", loops.now, loops.turn()
    os.kill(other, signal.SIGSTOP)
    try:
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: "processes differ" in loops.server.log(), 30, "nobody has noticed")
        with pytest.raises(httpx.ReadTimeout):
            post(url, json=asked(PAIRS[:1]), timeout=1)  # the newcomer could answer, with another
    finally:
        os.kill(other, signal.SIGCONT)
    made_whole(loops, victim)
    assert digests(loops) == {new.digest} != {old.digest}


def test_a_folder_that_is_damaged_meanwhile_costs_the_newcomer_only(loops: Rolled) -> None:
    made_whole(loops)
    victim, other = pids(loops.server, "worker")
    old, folder = loops.now, loops.now.folder
    empty = loops.server.folder / "empty"
    empty.mkdir()
    point(loops.server.folder / "tiny", empty)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: "manifest" in loops.server.log(), 30, "it has started from nothing")
    for _ in range(6):
        assert get(f"{loops.url}/readyz").json()["answered_by"] == other
        assert post(f"{loops.url}/v1/predict", json=asked(PAIRS[:1])).json()["digest"] == old.digest
    point(loops.server.folder / "tiny", folder)
    made_whole(loops, victim)
    assert digests(loops) == {old.digest}


@pytest.mark.parametrize("other", [False, True], ids=["the same", "another version"])
def test_a_host_that_takes_the_place_of_a_dead_one_answers_for_its_own_version_only(
    hosted: Rolled, other: bool
) -> None:
    """What was asked of one version is never answered by another: it is an error then."""
    made_whole(hosted)
    (victim,) = pids(hosted.server, "model host")
    wait, old = "softverifier_queue_wait_seconds_count", hosted.now
    before = metric(hosted.server, wait, model="tiny")
    os.kill(victim, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(post, f"{hosted.url}/v1/predict", json=asked(PAIRS), timeout=30)
        wait_until(lambda: metric(hosted.server, wait, model="tiny") > before, 10, "not sent")
        new = hosted.turn() if other else old
        os.kill(victim, signal.SIGKILL)
        answer = waiting.result().json()
    assert answer["digest"] == old.digest
    assert answer["p"] == [None if other else old.figures[pair] for pair in PAIRS]
    assert set(answer["status"]) == {"MODEL_ERROR" if other else "OK"}
    wait_until(lambda: digests(hosted) == {new.digest}, 30, "the workers do not follow")
    answer = post(f"{hosted.url}/v1/predict", json=asked(PAIRS)).json()
    assert answer["p"] == [new.figures[pair] for pair in PAIRS]
