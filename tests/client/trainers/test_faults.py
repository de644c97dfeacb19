"""Adapters through outages: no zero, no NaN, no missing key, and no run that ends of it."""

from __future__ import annotations

import time

import pytest

from fault_proxy import FAULTS, Fault, FaultProxy, Handler, killed, slow, times, unavailable
from softverifier import NoReward, RequestRejected, RewardClient, ServerUnavailable
from trainer_calls import CALLS, DROPS, LEAVES_OUT, NO, YES, Numbers, Sample

EVERY = pytest.mark.parametrize("adapter", CALLS)
SAMPLES = [Sample(YES), Sample(NO)]
NEUTRAL = 0.375
"""What the profile states."""


@pytest.fixture
def impatient(adapters: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFT_VERIFIER_DEADLINE", "0.25")


@pytest.fixture(scope="module")
def due(proxy: FaultProxy) -> Numbers:
    """What the server gives for ``SAMPLES``."""
    items = [{"completion": one.completion, "task": one.task} for one in SAMPLES]
    with RewardClient(proxy.url, profile="soft", deadline=60) as client:
        found = client.rewards(items)
    assert not {None, 0.0, NEUTRAL} & set(found)
    return found


def calmly(adapter: str, due: Numbers) -> None:
    """The adapter gives what is due; a busy machine may miss so short a deadline now and then."""
    until = time.monotonic() + 60
    found: object = None
    while found != due:
        assert time.monotonic() < until, f"{adapter} without faults: {found}"
        try:
            found = CALLS[adapter](SAMPLES)
        except (NoReward, ServerUnavailable) as late:
            found = late


WAYS = ("trl", "verl", "verl-sync", "nemo-gym")
"""One blocking batch, one awaited sample, one of many threads, one awaited row."""
PASSING = [
    pytest.param(adapter, fault, id=f"{adapter}-{name}")
    for name, fault in FAULTS.items()
    for adapter in CALLS
    if adapter in WAYS or name == "killed"
]


@pytest.mark.parametrize(("adapter", "fault"), PASSING)
def test_a_passing_fault_costs_nothing(adapters: FaultProxy, adapter: str, fault: Fault) -> None:
    calm = CALLS[adapter](SAMPLES)
    adapters.fault = times(2, fault)
    assert CALLS[adapter](SAMPLES) == calm


@EVERY
@pytest.mark.usefixtures("impatient")
def test_an_outage_is_no_zero(adapters: FaultProxy, adapter: str, due: Numbers) -> None:
    calmly(adapter, due)
    adapters.fault = killed
    # ms-swift: its group has no number at all, and swift would make a row of None a 0.
    if adapter in (*DROPS, "ms-swift"):
        with pytest.raises(NoReward, match="UNREACHABLE"):
            CALLS[adapter](SAMPLES)
    elif adapter in LEAVES_OUT:
        assert CALLS[adapter](SAMPLES) == [None, None]
    else:
        assert CALLS[adapter](SAMPLES) == [NEUTRAL] * 2
    adapters.fault = None
    calmly(adapter, due)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("adapter", ["trl", "verl", "openrlhf", "easyr1", "areal"])
def test_a_slow_server_is_an_outage(adapters: FaultProxy, adapter: str, due: Numbers) -> None:
    calmly(adapter, due)
    adapters.fault = slow(0.6)
    assert CALLS[adapter](SAMPLES) == [None if adapter in LEAVES_OUT else NEUTRAL] * 2


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("adapter", [one for one in CALLS if "legacy" not in one])
def test_a_server_that_was_never_there_ends_the_run_at_once(
    adapters: FaultProxy, adapter: str
) -> None:
    adapters.listing = unavailable
    with pytest.raises(ServerUnavailable, match="never reached"):
        CALLS[adapter](SAMPLES)


@pytest.mark.usefixtures("impatient")
def test_the_legacy_rubric_waits_for_a_server_that_was_never_there(
    adapters: FaultProxy, due: Numbers
) -> None:
    adapters.listing = times(12, unavailable)
    found = CALLS["verifiers-legacy"](SAMPLES)
    assert all(one in (number, NEUTRAL) for one, number in zip(found, due, strict=True))
    calmly("verifiers-legacy", due)


@pytest.mark.usefixtures("impatient")
def test_a_worker_that_never_reached_the_server_gives_the_configured_number(
    adapters: FaultProxy, monkeypatch: pytest.MonkeyPatch, due: Numbers
) -> None:
    monkeypatch.setenv("SOFT_VERIFIER_NEUTRAL", "0.4")
    adapters.listing = unavailable
    assert CALLS["areal"](SAMPLES) == [0.4, 0.4]
    adapters.listing = None
    calmly("areal", due)


@EVERY
def test_what_the_server_refuses_is_said(adapters: FaultProxy, adapter: str) -> None:
    CALLS[adapter](SAMPLES)

    def refuse(handler: Handler) -> bool:
        handler.say(401, b'{"error": {"code": "unauthorized", "message": "no key"}}')
        return True

    adapters.fault = refuse
    # An exception would become a 0 in the legacy Rubric, so there the process ends, at the first of
    # several awaited calls; a second would leave this process's loop half closed.
    legacy = "legacy" in adapter
    with pytest.raises(SystemExit if legacy else RequestRejected, match="no key"):
        CALLS[adapter](SAMPLES[:1] if legacy else SAMPLES)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("adapter", ["verl", "openrlhf", "slime-group", "easyr1", "nemo-rl"])
def test_an_outage_raises_where_that_was_asked_for(
    adapters: FaultProxy, adapter: str, monkeypatch: pytest.MonkeyPatch, due: Numbers
) -> None:
    monkeypatch.setenv("SOFT_VERIFIER_ON_FAILURE", "raise")
    calmly(adapter, due)
    adapters.fault = killed
    with pytest.raises(NoReward, match="UNREACHABLE"):
        CALLS[adapter](SAMPLES)


def test_faults_all_along_leave_a_number_everywhere(adapters: FaultProxy) -> None:
    """Every third request fails, each time otherwise: nothing of it is seen."""
    calm = CALLS["verl"](SAMPLES * 8)
    kinds = list(FAULTS.values())
    count = 0

    def sometimes(handler: Handler) -> bool:
        nonlocal count
        count += 1
        return count % 3 == 0 and kinds[count // 3 % len(kinds)](handler)

    adapters.fault = sometimes
    for name in ("verl", "verl-sync", "easyr1", "roll", "slime"):
        for _ in range(4):
            assert CALLS[name](SAMPLES * 8) == calm
    assert count > 20
