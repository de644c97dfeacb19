"""Requests take turns by the time that they use; findings stay within their bytes."""

from __future__ import annotations

from service.findings import Findings
from service.rewards.core import Finding, Reason, Work
from service.turns import Account, Turns


def drained(turns: Turns[str], costs: dict[str, float]) -> list[str]:
    """The jobs in the order in which they are taken; by their first letter they cost."""
    order = []
    while True:
        charged = turns.typical_s
        taken = turns.take()
        if taken is None:
            return order
        account, job = taken
        order.append(job)
        turns.charge(account, charged, costs[job[0]])


def waiting(**jobs: int) -> Turns[str]:
    turns: Turns[str] = Turns()
    for name, count in jobs.items():
        account: Account[str] = Account()
        for i in range(count):
            turns.add(account, f"{name}{i}")
    return turns


def test_one_request_is_served_in_its_order() -> None:
    assert drained(waiting(a=4), {"a": 0.001}) == ["a0", "a1", "a2", "a3"]


def test_equal_requests_alternate() -> None:
    order = drained(waiting(a=50, b=50), {"a": 0.001, "b": 0.001})
    assert abs(sum(job[0] == "a" for job in order[:50]) - 25) <= 1


def test_quick_jobs_pass_slow_ones() -> None:
    order = drained(waiting(s=10, q=100), {"s": 0.1, "q": 0.001})
    last_quick = max(i for i, job in enumerate(order) if job[0] == "q")
    assert sum(job[0] == "s" for job in order[:last_quick]) <= 2


def test_who_comes_later_neither_waits_for_all_nor_goes_before_all() -> None:
    turns = waiting(a=100)
    early: Account[str] = Account()
    for _ in range(50):
        charged = turns.typical_s
        account, _job = turns.take() or (early, "")
        turns.charge(account, charged, 0.01)
    late: Account[str] = Account()
    for i in range(50):
        turns.add(late, f"b{i}")
    order = drained(turns, {"a": 0.01, "b": 0.01})
    assert 20 <= sum(job[0] == "b" for job in order[:50]) <= 30


def test_what_is_put_back_is_the_first_of_its_request_and_not_charged() -> None:
    turns = waiting(a=3, b=3)
    charged = turns.typical_s
    taken = turns.take()
    assert taken is not None
    account, job = taken
    turns.put_back(account, job, charged)
    assert account.spent == 0
    assert len(turns) == 6
    order = drained(turns, {"a": 0.001, "b": 0.001})
    assert [one for one in order if one[0] == "a"] == ["a0", "a1", "a2"]


def test_nothing_waits() -> None:
    turns: Turns[str] = Turns()
    assert turns.take() is None
    assert len(turns) == 0


def work(i: int, size: int = 100) -> Work:
    return Work("m:f", (i, "x" * size))


def test_findings_are_kept_within_their_bytes_the_last_asked_longest() -> None:
    findings = Findings(20_000)
    for i in range(1000):
        findings.put(work(i), Finding(Reason.OK, i))
        findings.get(work(0))
    assert findings.bytes <= 20_000
    assert 5 < len(findings) < 100
    assert findings.get(work(0)) == Finding(Reason.OK, 0)
    assert findings.get(work(1)) is None
    assert findings.get(work(999)) == Finding(Reason.OK, 999)


def test_the_same_finding_twice_counts_once() -> None:
    findings = Findings(20_000)
    for _ in range(10):
        findings.put(work(1), Finding(Reason.OK, {"a": [1.0, "b"]}))
    once = Findings(20_000)
    once.put(work(1), Finding(Reason.OK, {"a": [1.0, "b"]}))
    assert findings.bytes == once.bytes
    assert len(findings) == 1


def test_what_is_larger_than_all_is_not_kept() -> None:
    findings = Findings(20_000)
    findings.put(work(1), Finding(Reason.OK, 1))
    findings.put(work(2, 50_000), Finding(Reason.OK, 2))
    assert findings.get(work(2)) is None
    assert findings.get(work(1)) is not None
    nothing = Findings(0)
    nothing.put(work(1), Finding(Reason.OK, 1))
    assert len(nothing) == 0


def test_who_counts_for_more_is_served_for_less_and_not_forgotten() -> None:
    turns = waiting(t=200)
    late: Account[str] = Account(weight=8.0)
    for i in range(50):
        turns.add(late, f"e{i}")
    order = drained(turns, {"t": 0.01, "e": 0.01})
    assert 8 <= sum(job[0] == "e" for job in order[:90]) <= 12
