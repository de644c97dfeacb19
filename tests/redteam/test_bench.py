"""Work is done elsewhere, and ended where it takes too long."""

from __future__ import annotations

import time

import pytest

from service.redteam.bench import Bench, WorkFault
from service.rewards.core import Finding, Reason, Work

GOOD = Work("operator:add", (2, 3))


@pytest.fixture(scope="module")
def quick():
    with Bench(budget_s=0.2) as made:
        made.carry_out(GOOD)
        made.carry_out(Work("operator:pow", (2, 3)))
        yield made


def test_findings_come_back(quick):
    assert quick.carry_out(GOOD) == Finding(Reason.OK, 5)
    assert quick.carry_out(Work("operator:add", ("\ud800", "\0\n"))).value == "\ud800\0\n"
    assert quick.carry_out(Work("builtins:len", ((1, (2, 3)),))).value == 2


def test_what_takes_too_long_is_ended_and_the_next_is_done(quick):
    started = time.perf_counter()
    finding = quick.carry_out(Work("operator:pow", (7, 10**8)))
    assert finding == Finding(Reason.TOO_LONG)
    assert time.perf_counter() - started < 10
    assert quick.carry_out(GOOD).value == 5


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (Work("operator:truediv", (1, 0)), "ZeroDivisionError"),
        (Work("operator:nothing", ()), "AttributeError"),
        (Work("os:abort", ()), "its process died"),
    ],
    ids=["raises", "is not there", "ends its process"],
)
def test_what_breaks_is_told(quick, work, told):
    with pytest.raises(WorkFault, match=told):
        quick.carry_out(work)
    assert quick.carry_out(GOOD).value == 5


def test_closing_twice_is_fine():
    bench = Bench()
    bench.close()
    bench.carry_out(GOOD)
    bench.close()
    bench.close()
