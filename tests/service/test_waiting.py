from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from service.cache import Key
from service.requests import Priority, priority_of
from service.waiting import TURNS, Flight, Waiting

TRAIN, EVAL = Priority.TRAIN, Priority.EVAL
DE, DIR = "perturbation.de", "perturbation.dir"


def flight(
    name: str,
    priority: Priority = TRAIN,
    *,
    relation: str = DE,
    at: float = 0.0,
    deadline: float = 100.0,
) -> Flight:
    made = Flight(
        Key("model", relation, name, "B", "k562"), (name, "B", "k562"), at, deadline, priority
    )
    made.waiters = 1
    return made


def in_a_loop(story: Callable[[], None]) -> None:
    async def run() -> None:
        story()

    asyncio.run(run())


def names(flights: list[Flight]) -> list[str]:
    return [one.query[0] for one in flights]


def batches(waiting: Waiting, most: int) -> list[list[str]]:
    found = []
    while len(waiting):
        batch, late = waiting.take(most, 1.0, lambda rows: 0.0)
        assert not late
        found.append(names(batch))
    return found


def test_training_goes_first_and_evaluation_fills_what_is_left() -> None:
    def story() -> None:
        waiting = Waiting()
        for i in range(3):
            waiting.put(flight(f"e{i}", EVAL, at=0.0))
        for i in range(5):
            waiting.put(flight(f"t{i}", TRAIN, at=1.0))
        assert batches(waiting, 4) == [["t0", "t1", "t2", "t3"], ["t4", "e0", "e1", "e2"]]

    in_a_loop(story)


def test_evaluation_has_its_share_of_every_batch() -> None:
    def story() -> None:
        waiting = Waiting()
        for i in range(3):
            waiting.put(flight(f"e{i}", EVAL, at=0.0))
        for i in range(40):
            waiting.put(flight(f"t{i}", TRAIN, at=1.0))
        first, second = batches(waiting, 16)[:2]
        assert first == [*(f"t{i}" for i in range(14)), "e0", "e1"]
        assert second == [*(f"t{i}" for i in range(14, 29)), "e2"]

    in_a_loop(story)


def test_evaluation_is_never_forgotten() -> None:
    def story() -> None:
        waiting = Waiting()
        waiting.put(flight("e", EVAL))
        taken = []
        for i in range(3 * TURNS):  # training comes faster than it is served
            waiting.put(flight(f"a{i}"))
            waiting.put(flight(f"b{i}"))
            taken += names(waiting.take(1, 1.0, lambda rows: 0.0)[0])
        assert taken.index("e") == TURNS - 1

    in_a_loop(story)


def test_a_batch_is_of_one_relation_the_one_that_waited_longest() -> None:
    def story() -> None:
        waiting = Waiting()
        waiting.put(flight("a", relation=DE, at=2.0))
        waiting.put(flight("b", relation=DIR, at=1.0))
        waiting.put(flight("c", relation=DE, at=3.0))
        assert batches(waiting, 10) == [["b"], ["a", "c"]]

    in_a_loop(story)


def test_who_joins_for_training_takes_the_query_along() -> None:
    def story() -> None:
        waiting = Waiting()
        first, second = flight("e0", EVAL), flight("e1", EVAL)
        for one in (first, second, flight("t0"), flight("t1")):
            waiting.put(one)
        waiting.promote(second, TRAIN)
        waiting.promote(second, TRAIN)
        assert (waiting.rows(TRAIN), waiting.rows(EVAL)) == (3, 1)
        assert batches(waiting, 3) == [["t0", "t1", "e1"], ["e0"]]

    in_a_loop(story)


def test_a_query_that_is_being_computed_is_not_queued_again() -> None:
    def story() -> None:
        waiting = Waiting()
        one = flight("e", EVAL)
        waiting.put(one)
        waiting.take(1, 1.0, lambda rows: 0.0)
        waiting.promote(one, TRAIN)
        assert not waiting.leave(one)
        assert len(waiting) == 0

    in_a_loop(story)


@pytest.mark.parametrize(
    ("deadlines", "batch", "late"),
    [
        ([9.0, 9.0, 9.0], [0, 1, 2], []),
        ([9.0, 2.5, 9.0], [0, 2], [1]),
        ([0.5, 9.0], [1], [0]),
        ([2.5, 2.6], [0, 1], []),
        ([0.5, 2.6], [1], [0]),
        ([0.5, 0.6], [], [0, 1]),
    ],
    ids=["all fit", "one would be late", "one is late", "all seem late", "mixed", "all are late"],
)
def test_what_would_be_late_makes_room(
    deadlines: list[float], batch: list[int], late: list[int]
) -> None:
    """At 1.0, where a batch takes 2 s: what is due by 3.0 is late, but a guess is tried."""

    def story() -> None:
        waiting = Waiting()
        for i, deadline in enumerate(deadlines):
            waiting.put(flight(str(i), deadline=deadline))
        found, dropped = waiting.take(10, 1.0, lambda rows: 2.0)
        assert names(found) == list(map(str, batch))
        assert names(dropped) == list(map(str, late))
        assert len(waiting) == 0

    in_a_loop(story)


@pytest.mark.parametrize(
    ("splits", "priority"),
    [
        ("", TRAIN),
        ("train", TRAIN),
        ("train-2", TRAIN),
        ("valid", EVAL),
        ("eval", EVAL),
        ("ood", EVAL),
        (["test", "train"], TRAIN),
        (["test", ""], TRAIN),
        (["test", "ood"], EVAL),
    ],
    ids=str,
)
def test_priority_by_split(splits: str | list[str], priority: Priority) -> None:
    assert priority_of(splits) is priority


def test_evaluation_of_another_relation_has_its_turn() -> None:
    def story() -> None:
        waiting = Waiting()
        waiting.put(flight("other", EVAL, relation=DIR, at=0.0))
        taken = []
        for i in range(2 * TURNS):
            waiting.put(flight(f"e{i}", EVAL, at=1.0 + i))
            for j in range(32):
                waiting.put(flight(f"t{i}.{j}", at=1.0 + i))
            taken.append(names(waiting.take(16, 1.0, lambda rows: 0.0)[0]))
        assert taken[TURNS - 1] == ["other"]
        assert all(f"e{i}" in taken[i] for i in range(TURNS - 1))

    in_a_loop(story)
