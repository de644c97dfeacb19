"""A small replay of ``benchmarks/adapters_faults.py``: every adapter and client, faults and all."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import replay
from fault_proxy import FaultProxy
from replay_samples import FLOOR, NEUTRAL, dying, start_server, truth_of
from replay_verdicts import Wrong, judge, judged_client
from servers import ServerProcess
from softverifier import NoReward
from spoiling_network import SpoilingNetwork

CALLS = 2_000


@pytest.fixture
def dying_server(tmp_path: Path) -> Iterator[ServerProcess]:
    running = start_server(tmp_path)
    yield running
    running.stop()


def test_no_fault_becomes_a_number(
    adapters: FaultProxy,
    dying_server: ServerProcess,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR, logger="softverifier")
    truth = truth_of(dying_server.url)
    with SpoilingNetwork(dying_server.http_port, slow_s=0.9) as network:
        monkeypatch.setenv("SOFT_VERIFIER_URL", network.url)
        monkeypatch.setenv("SOFT_VERIFIER_DEADLINE", "0.6")
        monkeypatch.setenv("SOFT_VERIFIER_NEUTRAL", str(NEUTRAL))
        ran = replay.Replay(network.url, truth, CALLS, pause_s=0.05)
        ran.calm()
        network.spoil(0.2)
        with dying(dying_server, kills=1, every_s=1.0):
            ran.run()
        spoiled = network.spoiled()
    assert sum(tally.calls for tally in ran.tallies.values()) >= CALLS
    assert sum(spoiled.values()) > 50
    told = sum((tally.told for tally in ran.tallies.values()), Counter())
    assert told["numbers"] > 0.25 * told.total()  # the rest is what a busy machine loses, too
    assert min(told["None"], told["stood in"], told["raised"]) > 0


WRONG: dict[str, tuple[str, list[object], list[float | None]]] = {
    "a zero": ("verl", [0.0], [0.7]),
    "another's number": ("verl", [0.3], [0.7]),
    "the floor for silence": ("verl", [FLOOR], [None]),
    "a null": ("verl", [None], [0.7]),
    "NaN": ("trl", [float("nan")], [0.7]),
    "infinity": ("roll", [float("inf")], [0.7]),
    "a text": ("easyr1", ["0.7"], [0.7]),
    "an int": ("skyrl", [1], [1.0]),
    "one too few": ("nemo-rl", [0.7], [0.7, 0.6]),
    "a raise": ("areal", [NoReward("no")], [0.7]),
    "a stand-in where samples are dropped": ("verifiers", [NEUTRAL], [0.7]),
    "neutral where the group is seen": ("ms-swift", [0.7, NEUTRAL], [0.7, 0.6]),
    "a number where TRL takes None": ("trl", [NEUTRAL], [None]),
}


@pytest.mark.parametrize(("shape", "numbers", "wanted"), WRONG.values(), ids=WRONG)
def test_the_judge_sees_what_is_wrong(
    shape: str, numbers: list[object], wanted: list[float | None]
) -> None:
    with pytest.raises(Wrong):
        judge(shape, numbers, wanted)


@pytest.mark.parametrize("number", [0.0, 0.3, float("nan"), FLOOR])
def test_the_judge_of_clients_sees_it_too(number: float) -> None:
    with pytest.raises(Wrong):
        judged_client("slime /rm", number, 0.7)
