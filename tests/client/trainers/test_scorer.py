"""What adapters share: configuration, the startup line, threads, forks, pickles, imports."""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import pickle
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fault_proxy import FaultProxy, Handler, killed
from softverifier import NoReward, RequestRejected, Reward, UsageError
from softverifier.cli import main
from softverifier.trainers import ADAPTERS, areal, outcomes, trl
from softverifier.trainers.configuration import configured
from softverifier.trainers.meeting import AT_A_TIME, Meeting
from softverifier.trainers.scorer import Scorer, scorer_of
from trainer_calls import CALLS, YES, Sample

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no-url": ({"profile": "p"}, "SOFT_VERIFIER_URL"),
    "no-profile": ({"url": "http://x"}, "SOFT_VERIFIER_PROFILE"),
    "grpc": ({"url": "grpc://x:1", "profile": "p"}, "speak HTTP"),
    "neutral": ({"url": "http://x", "profile": "p", "neutral": "nan"}, "finite"),
    "deadline": ({"url": "http://x", "profile": "p", "deadline": 0}, "above 0"),
    "on-failure": ({"url": "http://x", "profile": "p", "on_failure": "zero"}, "neutral or raise"),
    "unknown": ({"uri": "http://x"}, "no option 'uri'"),
}


@pytest.mark.parametrize(("given", "words"), WRONG.values(), ids=WRONG)
def test_what_cannot_work_is_said(
    given: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("URL", "PROFILE"):
        monkeypatch.delenv(f"SOFT_VERIFIER_{name}", raising=False)
    with pytest.raises(UsageError, match=words):
        configured(**given)


def test_keywords_go_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFT_VERIFIER_URL", "http://there")
    monkeypatch.setenv("SOFT_VERIFIER_PROFILE", "p")
    monkeypatch.setenv("SOFT_VERIFIER_TOKEN", "secret")
    monkeypatch.setenv("SOFT_VERIFIER_NEUTRAL", "0.5")
    found = configured(profile="q")
    assert (found.url, found.profile, found.token) == ("http://there", "q", "secret")
    assert found.neutral == 0.5
    assert "secret" not in repr(found)


def test_the_startup_line_says_what_is_active(
    adapters: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="softverifier"):
        trl.reward(["p"], [YES], task=[Sample().task])
        trl.reward(["p"], [YES], task=[Sample().task])
    (line,) = [one for one in caplog.messages if "is active" in one]
    assert line.startswith("soft-verifier: trl is active, profile soft sha256:")
    assert adapters.url in line


def test_a_profile_that_is_not_there_is_named(adapters: FaultProxy) -> None:
    with (
        closing(Scorer(configured(profile="softer"))) as made,
        pytest.raises(UsageError, match=r"'softer' is not served; there are .*soft"),
    ):
        _ = made.recipe
    with (
        closing(Scorer(configured(profile="soft@sha256:0"))) as made,
        pytest.raises(RequestRejected, match="pinned"),
    ):
        _ = made.recipe


def numbers_in_child(made: trl.RewardFunction, pipe: Any) -> None:
    pipe.send(made(["p"], [YES], task=[Sample().task]))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_keeps_what_is_known_and_makes_its_own_connections(adapters: FaultProxy) -> None:
    made = trl.RewardFunction()
    expected = made(["p"], [YES], task=[Sample().task])
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=numbers_in_child, args=(made, theirs))
    child.start()
    assert ours.poll(10)
    assert ours.recv() == expected
    child.join()
    assert made(["p"], [YES], task=[Sample().task]) == expected


def test_a_pickled_adapter_carries_what_it_has_learned(adapters: FaultProxy) -> None:
    made = areal.RewardFunction(deadline=2.0)
    made("p", YES, [], [], answer=Sample().label)
    copied = pickle.loads(pickle.dumps(made))
    adapters.fault = adapters.listing = killed
    with closing(copied.scorer):
        found = copied("p", YES, [], [], answer=Sample().label)
    assert found == made.scorer.recipe.neutral == 0.375


def test_every_caller_of_a_meeting_gets_its_own() -> None:
    gate, sizes = threading.Event(), []

    def send(items: list[Any]) -> list[Reward]:
        sizes.append(len(items))
        gate.wait(10)
        return [Reward(one, "ok", float(one), 1.0, None, "OK") for one in items]

    meeting, found = Meeting(send), {}

    def call(at: int) -> None:
        found[at] = [one.reward for one in meeting.score([at, at + 0.5])]  # type: ignore[list-item]

    threads = [threading.Thread(target=call, args=(at,)) for at in range(64)]
    [one.start() for one in threads]
    while len(meeting._waiting) < 64 - AT_A_TIME:
        threading.Event().wait(0.001)
    gate.set()
    [one.join(10) for one in threads]
    assert found == {at: [at, at + 0.5] for at in range(64)}
    assert len(sizes) <= AT_A_TIME + 2
    assert meeting._leaders == 0


def test_a_meeting_outlives_what_breaks() -> None:
    broken = [NoReward("no"), KeyboardInterrupt(), None]

    def send(items: list[Any]) -> list[Reward]:
        fault = broken.pop(0)
        if fault is not None:
            raise fault
        return [Reward(None, "ok", 1.0, 1.0, None, "OK") for _ in items]

    meeting = Meeting(send)
    with pytest.raises(NoReward):
        meeting.score([{}])
    with pytest.raises(KeyboardInterrupt):
        meeting.score([{}])
    assert [one.reward for one in meeting.score([{}])] == [1.0]


def test_one_scorer_serves_loop_after_loop(adapters: FaultProxy) -> None:
    scorer = scorer_of(configured(), "loops")
    item = {"completion": YES, "task": Sample().task}
    found = [asyncio.run(scorer.ascore([item]))[0].reward for _ in range(3)]
    assert len(set(found)) == 1
    assert scorer_of(configured(), "loops") is scorer


def test_the_first_calls_ask_for_the_profile_once(adapters: FaultProxy) -> None:
    asked: list[str] = []

    def count(handler: Handler) -> bool:
        asked.append(handler.path)
        return False

    adapters.listing = count
    assert len(set(CALLS["verl"]([Sample()] * 64))) == 1
    assert asked == ["/v1/profiles"]


def test_a_mean_does_not_depend_on_the_order() -> None:
    rewards = [Reward(None, "ok", x, 1.0, None, "OK") for x in (0.1, 0.2, 0.3)]
    lost = Reward(None, "error", None, 0.0, None, "UNREACHABLE")
    groups = "aaaa"
    one = outcomes.levelled([*rewards, lost], groups, None)[-1]
    other = outcomes.levelled([*rewards[::-1], lost], groups, None)[-1]
    assert one == other == 0.2


def test_trl_logs_the_same_keys_come_what_may(adapters: FaultProxy) -> None:
    made = trl.RewardFunction(deadline=0.3)
    logged: list[tuple[set[str], set[str]]] = []
    for fault in (None, killed):
        adapters.fault = fault
        extra: dict[str, Any] = {}
        metric: dict[str, float] = {}
        made(
            ["p"] * 2,
            [YES, ""],
            task=[Sample().task] * 2,
            log_extra=extra.__setitem__,
            log_metric=metric.__setitem__,
        )
        logged.append((set(extra), set(metric)))
        assert all(len(column) == 2 for column in extra.values())
        assert all(value == value for value in metric.values())
    assert logged[0] == logged[1]
    assert {"sv_ok", "sv_error", "sv_perturbation_de"} <= logged[0][1]


@pytest.mark.parametrize("version", [("1.5.2", False), ("1.6.0", True), ("1.10.1", True)])
def test_trl_before_1_6_gets_the_groups_mean(
    version: tuple[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: version[0])
    trl.bears_none.cache_clear()
    assert trl.bears_none() is version[1]
    trl.bears_none.cache_clear()


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_check_prints_what_the_trainer_would_get(
    adapters: FaultProxy, adapter: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", adapter]) == 0
    assert "0.9974" in json.dumps(json.loads(capsys.readouterr().out))
    assert main(["path", adapter]) == 0
    assert Path(capsys.readouterr().out.strip()).exists()


def test_check_says_what_is_wrong(
    adapters: FaultProxy, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["check", "verl", "--profile", "nothing"]) == 1
    assert "'nothing' is not served" in capsys.readouterr().err
    monkeypatch.setenv("SOFT_VERIFIER_DEADLINE", "0.3")
    assert main(["check", "verl", "--url", "http://127.0.0.1:1"]) == 1
    assert "127.0.0.1:1" in capsys.readouterr().err


IMPORT = """
import sys, time
before = set(sys.modules)
start = time.process_time()  # what others do on the machine is not the import's cost
import softverifier.trainers.{name}
print(time.process_time() - start)
print(" ".join(set(sys.modules) - before))
"""
HEAVY = {"torch", "httpx", "numpy", "grpc", "google.protobuf", "ray", "fastapi", "pydantic"}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_importing_an_adapter_is_quick(adapter: str) -> None:
    times = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", IMPORT.format(name=adapter)],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        seconds, modules = done.stdout.splitlines()
        times.append(float(seconds))
        assert not HEAVY & set(modules.split())
    assert min(times) < 0.15
