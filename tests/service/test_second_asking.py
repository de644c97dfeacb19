"""What becomes of queries whose model host died: asked once more, and of whom not."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from service.batcher import Hosted
from service.cache import Key
from service.guard import Outcome, guarded
from service.metrics import Metrics
from service.settings import Batching
from worldmodels import registry
from worldmodels.core import ModelLost, ModelSpec, Queries, Status, Verdicts
from worldmodels.genes import GeneResolver

T = TypeVar("T")
RELATION = "perturbation.de"


class Mortal:
    """The fake, in a host that dies of some questions, or so many times, and comes back when told.

    Args:
        times: it dies of the first so many batches.
        poison: and of any batch with this gene.
    """

    def __init__(self, times: int = 0, poison: str = "") -> None:
        source = registry.Source(family="fake", name="fake", options={"local": "false"})
        self.model: Any = registry.load(source, GeneResolver.as_they_are())
        self.spec: ModelSpec = self.model.spec
        self.batches: list[list[str]] = []
        self.there = threading.Event()
        self.there.set()
        self.gate = threading.Event()
        self.gate.set()
        self.looked = threading.Event()
        self._times, self._poison = times, poison

    def predict(self, queries: Queries) -> Verdicts:
        self.batches.append(list(queries.subjects))
        assert self.gate.wait(10)
        if len(self.batches) <= self._times or self._poison in queries.subjects:
            raise ModelLost("Socket closed", self._back)
        found: Verdicts = self.model.predict(queries)
        return found

    def examples(self, n: int) -> Queries:
        found: Queries = self.model.examples(n)
        return found

    def _back(self, seconds: float) -> bool:
        self.looked.set()
        return self.there.wait(seconds)


def hosting(
    story: Callable[[Hosted, Mortal], Coroutine[Any, Any, T]], model: Mortal, metrics: Metrics
) -> T:
    async def run() -> T:
        hosted = Hosted(model, Batching(), metrics, "thread")
        hosted.start()
        try:
            return await story(hosted, model)
        finally:
            model.gate.set()
            model.there.set()
            await hosted.stop()

    return asyncio.run(run())


def ask(hosted: Hosted, *subjects: str, seconds: float = 10) -> asyncio.Task[list[Outcome]]:
    n = len(subjects)
    queries = Queries(RELATION, list(subjects), ["CALR"] * n, ["k562"] * n)
    keys = [Key("digest", RELATION, subject, "CALR", "k562") for subject in subjects]
    return asyncio.create_task(hosted.ask(keys, queries, time.monotonic() + seconds))


async def until(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not found():
        assert time.monotonic() < deadline, "it does not happen"
        await asyncio.sleep(0.005)


def names(n: int) -> list[str]:
    return [f"G{i}" for i in range(n)]


@pytest.mark.parametrize(
    ("n", "sizes"),
    [(1, [1, 1]), (2, [2, 1, 1]), (5, [5, 3, 2]), (64, [64, 32, 32])],
    ids=["one", "two", "odd", "many"],
)
def test_what_was_lost_is_asked_again_by_halves(n: int, sizes: list[int]) -> None:
    metrics = Metrics()

    async def story(hosted: Hosted, _: Mortal) -> list[Outcome]:
        return await ask(hosted, *names(n))

    model = Mortal(times=1)
    rows = hosting(story, model, metrics)
    assert [len(batch) for batch in model.batches] == sizes
    truth = Mortal().model.predict(Queries(RELATION, names(n), ["CALR"] * n, ["k562"] * n))
    assert [row.p for row in rows] == truth.p.tolist()
    text = metrics.expose().decode()
    assert f'softverifier_model_retries_total{{model="fake"}} {n}.0' in text
    assert 'softverifier_model_faults_total{kind="lost",model="fake"} 1.0' in text


def test_what_kills_its_host_is_given_up_and_the_other_half_is_answered() -> None:
    async def story(hosted: Hosted, _: Mortal) -> tuple[list[Outcome], list[Outcome]]:
        rows = await ask(hosted, *names(6), "BAD", "G7")
        return rows, await ask(hosted, *names(6))

    model = Mortal(poison="BAD")
    rows, after = hosting(story, model, Metrics())
    assert [row.status for row in rows] == [Status.OK] * 4 + [Status.MODEL_ERROR] * 4
    assert not any(row.expired for row in rows)
    assert [len(batch) for batch in model.batches] == [8, 4, 4, 6]
    assert all(row.status is Status.OK for row in after)


def test_what_was_never_asked_goes_apart_and_loses_nothing() -> None:
    async def story(hosted: Hosted, model: Mortal) -> tuple[list[Outcome], list[Outcome]]:
        model.gate.clear()
        first = ask(hosted, "A", "BAD")
        await until(lambda: model.batches)
        behind = ask(hosted, *names(3))
        await asyncio.sleep(0)
        model.gate.set()
        return await first, await behind

    model = Mortal(poison="BAD")
    first, behind = hosting(story, model, Metrics())
    assert [row.status for row in first] == [Status.OK, Status.MODEL_ERROR]
    assert [row.status for row in behind] == [Status.OK] * 3
    assert model.batches == [["A", "BAD"], ["A"], ["BAD"], names(3)]


@pytest.mark.parametrize("when", ["in flight", "away"])
def test_nothing_is_asked_again_for_who_has_left(when: str) -> None:
    async def story(hosted: Hosted, model: Mortal) -> list[Outcome]:
        model.there.clear()
        model.gate.clear()
        leaving, staying = ask(hosted, "GONE"), ask(hosted, "KEPT")
        await until(lambda: model.batches)
        if when == "away":
            model.gate.set()
            await until(model.looked.is_set)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        model.gate.set()
        await until(model.looked.is_set)
        model.there.set()
        return await staying

    model = Mortal(times=1)
    (kept,) = hosting(story, model, Metrics())
    assert kept.status is Status.OK
    assert "GONE" in model.batches[0]
    assert not any("GONE" in batch for batch in model.batches[1:])


def test_where_all_have_left_nothing_is_asked_and_the_model_is_idle() -> None:
    async def story(hosted: Hosted, model: Mortal) -> list[Outcome]:
        model.there.clear()
        leaving = ask(hosted, *names(4))
        await until(model.looked.is_set)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert hosted.depth == 0
        await until(lambda: hosted.idle)
        model.there.set()
        return await ask(hosted, "NEW")

    model = Mortal(times=1)
    (new,) = hosting(story, model, Metrics())
    assert new.status is Status.OK
    assert model.batches == [names(4), ["NEW"]]


def test_who_asks_the_same_while_the_host_is_away_joins() -> None:
    async def story(hosted: Hosted, model: Mortal) -> list[Outcome]:
        model.there.clear()
        first = ask(hosted, "A")
        await until(model.looked.is_set)
        second = ask(hosted, "A")
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        model.there.set()
        return await second

    model = Mortal(times=1)
    (row,) = hosting(story, model, Metrics())
    assert row.status is Status.OK
    assert model.batches == [["A"], ["A"]]


def test_a_host_that_stays_away_is_waited_for_until_the_deadline() -> None:
    async def story(hosted: Hosted, model: Mortal) -> list[Outcome]:
        model.there.clear()
        rows = await ask(hosted, "A", seconds=0.3)
        rows += await ask(hosted, "B", seconds=0.1)  # nobody asks while it is away
        assert hosted.idle
        assert not hosted.stalled
        return rows

    model = Mortal(times=1)
    rows = hosting(story, model, Metrics())
    assert [row.expired for row in rows] == [True, True]
    assert model.batches == [["A"]]


@pytest.mark.parametrize("when", ["before", "while it is away"])
def test_a_server_that_ends_waits_for_no_host(when: str) -> None:
    async def story(hosted: Hosted, model: Mortal) -> list[Outcome]:
        model.there.clear()
        if when == "before":
            hosted.drain()
        asked = ask(hosted, *names(4))
        if when != "before":
            await until(model.looked.is_set)
            hosted.drain()
        began = time.monotonic()
        rows = await asked
        assert time.monotonic() - began < 5
        return rows

    rows = hosting(story, Mortal(times=9), Metrics())
    assert [(row.status, row.expired) for row in rows] == [(Status.MODEL_ERROR, False)] * 4


def test_at_warm_up_a_lost_host_is_an_error_like_others() -> None:
    model = Mortal(times=1)
    verdicts = guarded(model, model.examples(8), Metrics())
    assert set(verdicts.status.tolist()) == {Status.MODEL_ERROR}
    assert len(model.batches) == 1
