"""verifiers 0.3.1 itself: legacy environments roll out, their Rubric scores by ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import trainer_packages
from fault_proxy import FaultProxy, outage
from running import RunningService, write_config
from servers import free_port

HERE = Path(__file__).parent
FLOOR = 0.0
Told = dict[str, Any]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    running = RunningService(write_config(tmp_path_factory.mktemp("legacy"))).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def numbers(service: RunningService) -> dict[str, float]:
    """What the server gives for yes and no about CALR, for yes about CD3D, and for nothing."""
    items = [
        {
            "completion": f"<think>It may.</think><answer>{word}</answer>",
            "task": {
                "type": "perturbation.de",
                "perturbation": "AARS1",
                "gene": gene,
                "cell_line": "k562",
            },
        }
        for word, gene in (("yes", "CALR"), ("no", "CALR"), ("yes", "CD3D"))
    ]
    body = {"profile": "soft", "items": items}
    results = httpx.post(f"{service.http}/v1/score", json=body, verify=False).json()["results"]
    profile = httpx.get(f"{service.http}/v1/profiles/soft", verify=False).json()
    yes, no, other = (one["reward"] for one in results)
    return {"yes": yes, "no": no, "other": other, "neutral": profile["neutral"]}


@pytest.fixture(scope="module")
def told(
    service: RunningService, numbers: dict[str, float], tmp_path_factory: pytest.TempPathFactory
) -> Told:
    """One process of verifiers', from the first rollout to the death of the server."""
    del numbers  # asked while the server lives
    folder = tmp_path_factory.mktemp("told")
    written = folder / "told.json"
    proxy = FaultProxy(service.http)
    proxy.fault = outage
    proxy.start()
    surroundings = {
        "NO_KEY": "none",
        "HOME": str(folder),
        "SOFT_VERIFIER_URL": proxy.url,
        "SOFT_VERIFIER_PROFILE": "soft",
        "SOFT_VERIFIER_DEADLINE": "3",
    }
    arguments = [written, str(free_port()), str(service.pid)]
    try:
        trainer_packages.run(
            "verifiers_legacy", HERE / "verifiers_legacy.py", arguments, surroundings
        )
    finally:
        proxy.stop()
    found: Told = json.loads(written.read_text())
    return found


@pytest.mark.parametrize(
    ("case", "expected"),
    {
        "yes": "yes",
        "no": "no",
        "reasoned": "yes",
        "labelled": "yes",
        "abstain": "neutral",
        "outage": "neutral",
        "killed": "neutral",
    }.items(),
)
def test_a_rollout_gets_the_servers_number_or_the_neutral_one(
    told: Told, numbers: dict[str, float], case: str, expected: str
) -> None:
    one = told[case]
    assert one["error"] is None
    assert one["reward"] == one["metrics"]["legacy_reward"] == numbers[expected] > 0
    assert one["soft_verifier"]["sv_valid"] == float(expected != "neutral")


def test_an_invalid_completion_earns_the_floor(told: Told) -> None:
    assert told["silent"]["reward"] == FLOOR
    assert told["silent"]["soft_verifier"]["status"] == "invalid"


def rewards(group: list[Told]) -> list[float]:
    return [one["reward"] for one in group]


def test_a_group_gets_its_numbers(told: Told, numbers: dict[str, float]) -> None:
    assert rewards(told["group"]) == [numbers["yes"], numbers["no"], FLOOR]


def test_what_abstains_in_a_group_gets_the_mean_of_the_others(
    told: Told, numbers: dict[str, float]
) -> None:
    mean = round((numbers["yes"] + numbers["other"]) / 2, 6)
    assert rewards(told["group, abstaining"]) == [numbers["yes"], mean, numbers["other"]]


@pytest.mark.parametrize("case", ["group, outage", "group, killed"])
def test_a_group_that_is_lost_is_neutral(told: Told, numbers: dict[str, float], case: str) -> None:
    assert rewards(told[case]) == [numbers["neutral"]] * 2
    assert all(one["soft_verifier"]["sv_valid"] == 0 for one in told[case])


def test_a_group_scored_one_by_one_sees_no_group(told: Told, numbers: dict[str, float]) -> None:
    assert rewards(told["group of singles"]) == [numbers["yes"], numbers["neutral"]]


def test_what_the_server_refuses_ends_the_run(told: Told) -> None:
    assert told["refused"].startswith("soft-verifier: profile 'nosuch' is not served")
