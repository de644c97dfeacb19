"""Each adapter, called as its trainer calls it, against the real service."""

from __future__ import annotations

import functools
import json
import math
from typing import Any

import pytest

from fault_proxy import FaultProxy, slow
from servers import post
from softverifier import NoReward, RewardClient
from trainer_calls import CALLS, DROPS, LEAVES_OUT, NO, SEES_GROUPS, YES, Sample

TASK = {"type": "perturbation.de", "perturbation": "AARS1", "gene": "CALR", "cell_line": "k562"}
FLOOR = 0.0
NEUTRAL = 0.375
"""What the profile states."""
EVERY = pytest.mark.parametrize("adapter", CALLS)
SINGLE = [name for name in CALLS if name not in (*LEAVES_OUT, *DROPS, *SEES_GROUPS)]


@functools.cache
def direct(url: str, *completions: str) -> list[float | None]:
    with RewardClient(url, profile="soft") as client:
        return client.rewards([{"completion": text, "task": TASK} for text in completions])


@EVERY
def test_numbers_are_the_servers_in_order(adapters: FaultProxy, adapter: str) -> None:
    yes, no = direct(adapters.url, YES, NO)
    assert yes != no
    samples = [Sample(YES), Sample(NO), Sample(NO), Sample(YES)] * 5
    assert CALLS[adapter](samples) == [yes, no, no, yes] * 5


BOTCHED = {
    "empty": "",
    "blank": "   ",
    "untagged": "no tags",
    "two": f"{YES}{NO}",
    "cut": YES[:20],
    "odd-unicode": "\ud800\x00\u202e",
    "long": "<think>a" * 9000,
}


@EVERY
def test_what_the_policy_botches_earns_the_floor(adapters: FaultProxy, adapter: str) -> None:
    samples = [Sample(YES), *map(Sample, BOTCHED.values())]
    yes, *floors = CALLS[adapter](samples)
    assert dict(zip(BOTCHED, floors, strict=True)) == dict.fromkeys(BOTCHED, FLOOR)
    assert yes == direct(adapters.url, YES)[0]


@pytest.mark.parametrize("adapter", LEAVES_OUT)
def test_what_abstains_is_left_out(adapters: FaultProxy, adapter: str) -> None:
    found = CALLS[adapter]([Sample(YES), Sample(YES, gene="NOTAGENE")])
    assert found == [direct(adapters.url, YES)[0], None]


@pytest.mark.parametrize("adapter", DROPS)
def test_what_abstains_is_raised(adapters: FaultProxy, adapter: str) -> None:
    with pytest.raises(NoReward, match="UNKNOWN_GENE"):
        CALLS[adapter]([Sample(YES, gene="NOTAGENE")])


@pytest.mark.parametrize("adapter", SEES_GROUPS)
def test_what_abstains_gets_its_groups_mean(adapters: FaultProxy, adapter: str) -> None:
    yes, no = (number or math.nan for number in direct(adapters.url, YES, NO))
    odd = Sample(YES, gene="NOTAGENE")
    other = [Sample(NO, prompt="Another?")] * 2
    assert CALLS[adapter]([Sample(YES), Sample(NO), odd, *other]) == [
        yes,
        no,
        pytest.approx((yes + no) / 2, abs=1e-6),
        no,
        no,
    ]


@pytest.mark.parametrize("adapter", SINGLE)
def test_what_abstains_gets_what_the_routes_give_whatever_was_seen(
    adapters: FaultProxy, adapter: str
) -> None:
    unknown = Sample(YES, gene="NOTAGENE")
    body = json.dumps({"prompt": "?", "response": unknown.completion, "label": unknown.task})
    route = post(f"{adapters.url}/rm?profile=soft&scalar=1", content=body).json()
    assert route == NEUTRAL
    assert CALLS[adapter]([unknown]) == [route]
    CALLS[adapter]([Sample(YES), Sample(NO)])
    assert CALLS[adapter]([unknown, unknown]) == [route] * 2


@pytest.mark.parametrize("adapter", [*SINGLE, *SEES_GROUPS])
def test_a_configured_number_stands_in(
    adapters: FaultProxy, adapter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOFT_VERIFIER_NEUTRAL", "0.625")
    assert CALLS[adapter]([Sample(YES, gene="NOTAGENE")]) == [0.625]


@pytest.mark.parametrize("adapter", SEES_GROUPS)
def test_a_group_without_a_number_gets_the_profiles(adapters: FaultProxy, adapter: str) -> None:
    asked = [Sample(YES, gene="NOTAGENE")] * 2
    if adapter == "ms-swift":  # it would make a row of None a 0
        with pytest.raises(NoReward, match="SOFT_VERIFIER_NEUTRAL"):
            CALLS[adapter](asked)
    else:
        assert CALLS[adapter](asked) == [NEUTRAL] * 2


@pytest.mark.parametrize("adapter", [*SINGLE, *SEES_GROUPS])
def test_what_has_no_reward_raises_where_that_was_asked_for(
    adapters: FaultProxy, adapter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOFT_VERIFIER_ON_FAILURE", "raise")
    asked = [Sample(YES, gene="NOTAGENE")]
    if adapter in ("verifiers-legacy", "verifiers-legacy-group", "areal"):
        # Their trainers make a 0 of an exception.
        assert CALLS[adapter](asked) == [NEUTRAL]
        return
    with pytest.raises(NoReward, match="SOFT_VERIFIER_NEUTRAL"):
        CALLS[adapter](asked)


@EVERY
def test_an_empty_batch_is_an_empty_batch(adapters: FaultProxy, adapter: str) -> None:
    assert CALLS[adapter]([]) == []


@pytest.mark.parametrize("adapter", ["verl-sync", "skyrl", "verl", "slime", "nemo-gym"])
def test_calls_made_at_the_same_time_travel_together(adapters: FaultProxy, adapter: str) -> None:
    CALLS[adapter]([Sample()])
    adapters.posts.clear()
    adapters.fault = slow(0.02)
    CALLS[adapter]([Sample(YES if at % 2 else NO) for at in range(64)])
    assert sum(len(json.loads(body)["items"]) for body in adapters.posts) == 64
    assert len(adapters.posts) < 48


def test_the_step_and_the_run_reach_the_server(
    adapters: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOFT_VERIFIER_RUN", "a1")
    for name in ("trl", "ms-swift", "slime-group"):
        CALLS[name]([Sample()])
    sent: list[Any] = [json.loads(body)["context"] for body in adapters.posts]
    assert sent == [{"run": "a1", "step": step} for step in (3, 1, 4)]


def test_nothing_but_what_counts_is_sent(adapters: FaultProxy) -> None:
    CALLS["verl"]([Sample(more={"keywords": "AARS|CALR", "secret": "s", "weight": 0.5})])
    (item,) = json.loads(adapters.posts[0])["items"]
    assert set(item) == {"completion", "task", "keywords", "weight", "split"}
