"""verl 0.9.1 itself: its loader, reward loop and older reward managers on its own batches."""

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

HERE = Path(__file__).parent
NEUTRAL = 0.375
FLOOR = 0.0
KEYS = ["score", "sv_valid", "sv_weight", "sv_perturbation_de"]
CALM = [f"loop {name}" for name in ("naive", "dapo", "gdpo", "rate_limited", "naive, in threads")]
OLDER = [f"older {name}" for name in ("naive", "dapo", "batch", "prime")]
Told = dict[str, Any]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    running = RunningService(write_config(tmp_path_factory.mktemp("verl"))).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def numbers(service: RunningService) -> dict[str, float]:
    """What the server gives for yes and no about CALR, for no about CD3D, and for nothing."""
    asked = {"yes": "CALR", "no": "CALR", "other": "CD3D"}
    items = [
        {
            "completion": f"<think>It may.</think><answer>{word.replace('other', 'no')}</answer>",
            "task": {
                "type": "perturbation.de",
                "perturbation": "AARS1",
                "gene": gene,
                "cell_line": "k562",
            },
        }
        for word, gene in asked.items()
    ]
    body = {"profile": "soft", "items": items}
    results = httpx.post(f"{service.http}/v1/score", json=body, verify=False).json()["results"]
    found = {name: one["reward"] for name, one in zip(asked, results, strict=True)}
    profile = httpx.get(f"{service.http}/v1/profiles/soft", verify=False).json()
    return {**found, "neutral": profile["neutral"]}


@pytest.fixture(scope="module")
def told(
    service: RunningService, numbers: dict[str, float], tmp_path_factory: pytest.TempPathFactory
) -> Told:
    """One process of verl's, from the first batch to the death of the server."""
    del numbers  # asked while the server lives
    written = tmp_path_factory.mktemp("told") / "told.json"
    proxy = FaultProxy(service.http)
    proxy.fault = outage
    proxy.start()
    surroundings = {
        "SOFT_VERIFIER_URL": proxy.url,
        "SOFT_VERIFIER_PROFILE": "soft",
        "SOFT_VERIFIER_DEADLINE": "20",
    }
    try:
        arguments = [written, str(service.pid)]
        trainer_packages.run("verl", HERE / "verl_rewards.py", arguments, surroundings, 300)
    finally:
        proxy.stop()
    found: Told = json.loads(written.read_text())
    return found


@pytest.mark.parametrize("manager", [*CALM, *OLDER])
def test_every_manager_gives_the_servers_numbers(
    told: Told, numbers: dict[str, float], manager: str
) -> None:
    expected = [numbers["yes"], numbers["no"], FLOOR, FLOOR, NEUTRAL, numbers["other"]]
    assert told["calm"][manager]["scores"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("manager", [one for one in (*CALM, *OLDER) if "prime" not in one])
def test_every_sample_has_the_same_finite_figures(told: Told, manager: str) -> None:
    found = told["calm"][manager]
    assert list(found["infos"]) == KEYS
    assert found["kinds"] == ["float"]
    assert found["infos"]["sv_valid"] == [1, 1, 1, 1, 0, 1]
    assert found["infos"]["score"] == pytest.approx(found["scores"], abs=1e-6)
    assert set(found["averaged"]) == set(KEYS)
    assert found["averaged"]["sv_valid"] == pytest.approx(5 / 6)


@pytest.mark.parametrize("manager", ["naive", "rate_limited, cut off"])
def test_an_outage_is_neutral_and_never_zero(
    told: Told, numbers: dict[str, float], manager: str
) -> None:
    found = told["outage"][manager]
    assert numbers["neutral"] > 0
    assert found["scores"] == pytest.approx([numbers["neutral"]] * 2)
    assert list(found["infos"]) == KEYS
    assert found["infos"]["sv_valid"] == [0, 0]


def test_after_an_outage_the_numbers_are_the_servers(told: Told) -> None:
    assert told["outage"]["after"] == told["outage"]["before"]


def test_a_batch_cut_by_an_outage_keeps_its_keys(told: Told) -> None:
    found = told["outage"]["older batch"]
    assert list(found["infos"]) == KEYS
    assert found["scores"] == pytest.approx([0.25] * 4)
    assert found["infos"]["sv_valid"] == [0] * 4


@pytest.mark.parametrize(
    ("case", "expected"),
    {
        "naive": "NoReward: no reward (error, UNREACHABLE)",
        "naive, abstaining": "NoReward: no reward (abstain, ",
        "rate_limited": "CancelledError: ",
        "naive, no profile": "UsageError: ",
        "rate_limited, no profile": "CancelledError: ",
        "naive, misspelt": "UsageError: no option 'profil'",
    }.items(),
    ids=lambda one: one if ":" not in one else "",
)
def test_what_ends_a_run_is_swallowed_by_no_manager(told: Told, case: str, expected: str) -> None:
    assert told["raised"][case].startswith(expected)


def test_a_killed_server_puts_no_zero_into_a_batch(told: Told, numbers: dict[str, float]) -> None:
    before, after = told["killed"]["before"], told["killed"]["after"]
    assert before["scores"] == pytest.approx([numbers["yes"], numbers["no"]], abs=1e-6)
    assert after["scores"] == pytest.approx([numbers["neutral"]] * 3)
    assert after["infos"]["sv_valid"] == [0, 0, 0]
    assert list(after["infos"]) == list(before["infos"]) == KEYS


def test_prime_ends_where_it_would_make_zeros(told: Told) -> None:
    assert told["killed"]["prime"].startswith("SystemExit: soft-verifier: ")
    assert "was never reached" in told["killed"]["prime"]
