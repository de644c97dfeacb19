from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pytest

from service.batcher import Hosted
from service.cache import Key
from service.errors import Overloaded
from service.guard import Outcome, guarded, outcomes
from service.metrics import Metrics
from service.requests import Priority
from service.settings import Batching
from worldmodels import registry
from worldmodels.core import ModelFault, ModelSpec, Queries, Status, Verdicts
from worldmodels.genes import GeneResolver

T = TypeVar("T")
RELATION = "perturbation.de"


def fake(**options: str) -> Any:
    source = registry.Source(family="fake", name="fake", options=options)
    return registry.load(source, GeneResolver.as_they_are())


class Recording:
    """The fake model, with its batches noted, that can be held in the middle of one."""

    def __init__(self, **options: str) -> None:
        self.model = fake(**options)
        self.batches: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.started = threading.Event()

    @property
    def spec(self) -> ModelSpec:
        return replace(self.model.spec, local=False)

    def predict(self, queries: Queries) -> Verdicts:
        self.batches.append(list(queries.subjects))
        self.started.set()
        self.gate.wait(10)
        answered: Verdicts = self.model.predict(queries)
        return answered

    def examples(self, n: int) -> Queries:
        made: Queries = self.model.examples(n)
        return made


def queries(*subjects: str, relation: str = RELATION) -> Queries:
    n = len(subjects)
    return Queries(relation, list(subjects), ["CALR"] * n, ["k562"] * n)


def keys(*subjects: str) -> list[Key]:
    return [Key("digest", RELATION, subject, "CALR", "k562") for subject in subjects]


def hosting(
    story: Callable[[Hosted, Recording], Coroutine[Any, Any, T]],
    settings: Batching | None = None,
    **options: str,
) -> tuple[T, Recording]:
    """Run a story against a model on its own thread."""

    async def run() -> tuple[T, Recording]:
        model = Recording(**options)
        hosted = Hosted(model, settings or Batching(), Metrics(), "thread")
        hosted.start()
        try:
            return await story(hosted, model), model
        finally:
            model.gate.set()
            await hosted.stop()

    return asyncio.run(run())


def soon(seconds: float = 10.0) -> float:
    return time.monotonic() + seconds


async def until(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 10)


@pytest.mark.parametrize("n", [1, 2, 3, 64, 255])
@pytest.mark.parametrize("fault", ["poison", "nan"])
def test_one_bad_query_costs_itself_alone(n: int, fault: str) -> None:
    model = fake(**{fault: "BAD"})
    asked = queries(*[f"G{i}" for i in range(n - 1)], "BAD")
    verdicts = guarded(model, asked, Metrics())
    status = verdicts.status.tolist()
    assert status[-1] == Status.MODEL_ERROR
    assert status[:-1] == [Status.OK] * (n - 1)
    assert math.isnan(verdicts.p[-1])
    alone = guarded(model, queries("G0"), Metrics())
    if n > 1:
        assert verdicts.p[0] == alone.p[0]


def test_an_answer_of_the_wrong_length_is_isolated() -> None:
    verdicts = guarded(fake(short="BAD"), queries("G0", "G1", "BAD", "G3"), Metrics())
    assert verdicts.status.tolist() == [0, 0, Status.MODEL_ERROR, 0]


def test_a_model_that_always_fails_is_not_asked_for_ever() -> None:
    class Broken(Recording):
        def predict(self, queries: Queries) -> Verdicts:
            self.batches.append(list(queries.subjects))
            raise RuntimeError("broken")

    model = Broken()
    verdicts = guarded(model, queries(*map(str, range(1024))), Metrics())
    assert set(verdicts.status.tolist()) == {Status.MODEL_ERROR}
    assert len(model.batches) <= 4 * 10 + 8


def test_faults_are_counted_by_kind() -> None:
    metrics = Metrics()
    guarded(fake(nan="BAD"), queries("BAD"), metrics)
    guarded(fake(poison="BAD"), queries("BAD"), metrics)
    text = metrics.expose().decode()
    for kind in ("exception", "non_finite"):
        assert f'model_faults_total{{kind="{kind}",model="fake"}} 1.0' in text


def test_outcomes_carry_figures_only_where_the_status_is_ok() -> None:
    verdicts = Verdicts(
        np.array([0.25, np.nan]),
        np.array([0, Status.UNKNOWN_GENE], np.uint8),
        p0=np.array([np.nan, 0.5]),
    )
    assert outcomes(verdicts) == [
        Outcome(Status.OK, 0.25, None, None, None),
        Outcome(Status.UNKNOWN_GENE),
    ]


def test_identical_questions_in_flight_are_computed_once() -> None:
    async def story(hosted: Hosted, model: Recording) -> list[list[Outcome]]:
        model.gate.clear()
        asking = [
            asyncio.create_task(hosted.ask(keys("A"), queries("A"), soon())) for _ in range(64)
        ]
        await until(model.started)
        model.gate.set()
        return await asyncio.gather(*asking)

    answers, model = hosting(story)
    assert sum(len(batch) for batch in model.batches) == 1
    assert len({answer[0] for answer in answers}) == 1


def test_a_busy_model_collects_what_arrives_meanwhile() -> None:
    async def story(hosted: Hosted, model: Recording) -> None:
        model.gate.clear()
        first = asyncio.create_task(hosted.ask(keys("first"), queries("first"), soon()))
        await until(model.started)
        rest = [
            asyncio.create_task(hosted.ask(keys(f"G{i}"), queries(f"G{i}"), soon()))
            for i in range(20)
        ]
        await asyncio.sleep(0.05)
        assert hosted.depth == 20
        model.gate.set()
        await asyncio.gather(first, *rest)
        assert hosted.depth == 0

    _, model = hosting(story)
    assert [len(batch) for batch in model.batches] == [1, 20]


def test_batches_respect_the_bound_and_keep_their_order() -> None:
    async def story(hosted: Hosted, model: Recording) -> list[Outcome]:
        names = [f"G{i}" for i in range(10)]
        return await hosted.ask(keys(*names), queries(*names), soon())

    answers, model = hosting(story, Batching(max_batch=4))  # type: ignore[call-arg]
    assert [len(batch) for batch in model.batches] == [4, 4, 2]
    one_by_one = [outcomes(model.model.predict(queries(f"G{i}")))[0] for i in range(10)]
    assert answers == one_by_one


def test_work_that_nobody_waits_for_leaves_the_queue() -> None:
    async def story(hosted: Hosted, model: Recording) -> None:
        model.gate.clear()
        first = asyncio.create_task(hosted.ask(keys("first"), queries("first"), soon()))
        await until(model.started)
        gone = [
            asyncio.create_task(hosted.ask(keys(f"G{i}"), queries(f"G{i}"), soon()))
            for i in range(255)
        ]
        await asyncio.sleep(0.05)
        for task in gone:
            task.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        model.gate.set()
        await first
        await hosted.ask(keys("last"), queries("last"), soon())

    _, model = hosting(story)
    assert model.batches == [["first"], ["last"]]


def test_a_joined_query_survives_the_cancellation_of_the_first_who_asked() -> None:
    async def story(hosted: Hosted, model: Recording) -> list[Outcome]:
        model.gate.clear()
        block = asyncio.create_task(hosted.ask(keys("block"), queries("block"), soon()))
        await until(model.started)
        first = asyncio.create_task(hosted.ask(keys("A"), queries("A"), soon()))
        second = asyncio.create_task(hosted.ask(keys("A"), queries("A"), soon()))
        await asyncio.sleep(0.05)
        first.cancel()
        model.gate.set()
        await block
        return await second

    (answer,), _ = hosting(story)
    assert answer.status is Status.OK


def test_a_deadline_ends_the_wait_and_only_for_those_whose_it_is() -> None:
    async def story(hosted: Hosted, model: Recording) -> tuple[Outcome, Outcome]:
        model.gate.clear()
        patient = asyncio.create_task(hosted.ask(keys("A"), queries("A"), soon()))
        await until(model.started)
        hurried = await hosted.ask(keys("A"), queries("A"), soon(0.05))
        model.gate.set()
        return hurried[0], (await patient)[0]

    (hurried, patient), _ = hosting(story)
    assert hurried.expired
    assert hurried.p is None
    assert patient.status is Status.OK


def test_a_full_queue_says_no_at_the_door() -> None:
    async def story(hosted: Hosted, model: Recording) -> Overloaded:
        model.gate.clear()
        first = asyncio.create_task(hosted.ask(keys("first"), queries("first"), soon()))
        await until(model.started)
        waiting = asyncio.create_task(hosted.ask(keys("A", "B"), queries("A", "B"), soon()))
        await asyncio.sleep(0.02)
        with pytest.raises(Overloaded, match="do not fit") as refused:
            hosted.admit(keys("C", "D"), soon())
        model.gate.set()
        await asyncio.gather(first, waiting)
        return refused.value

    refused, _ = hosting(story, Batching(max_queue=3))  # type: ignore[call-arg]
    assert refused.retry_after is not None
    assert refused.retry_after > 0


def test_a_request_that_would_be_late_is_not_admitted() -> None:
    async def story(hosted: Hosted, model: Recording) -> None:
        hosted.warm()
        waiting = [
            asyncio.create_task(hosted.ask(keys(f"G{i}"), queries(f"G{i}"), soon()))
            for i in range(8)
        ]
        await asyncio.sleep(0.02)
        with pytest.raises(Overloaded, match="after the request's deadline"):
            hosted.admit(keys("late"), soon(0.1))
        await asyncio.gather(*waiting)

    hosting(story, Batching(max_batch=1), delay_ms="50")  # type: ignore[call-arg]


def test_a_stuck_batch_is_noticed() -> None:
    async def story(hosted: Hosted, model: Recording) -> tuple[bool, bool]:
        model.gate.clear()
        asking = asyncio.create_task(hosted.ask(keys("A"), queries("A"), soon()))
        await until(model.started)
        await asyncio.sleep(0.05)
        stuck = hosted.stalled
        model.gate.set()
        await asking
        return stuck, hosted.stalled

    (stuck, after), _ = hosting(story, Batching(stall_s=0.01))  # type: ignore[call-arg]
    assert stuck
    assert not after


@pytest.mark.parametrize(
    ("options", "run", "inline"),
    [
        ({}, "auto", None),
        ({"delay_ms": "20"}, "auto", False),
        ({"local": "false"}, "auto", False),
        ({"delay_ms": "20"}, "inline", True),
        ({}, "thread", False),
    ],
    ids=["by cost", "costly", "remote", "forced inline", "forced thread"],
)
def test_where_a_model_computes(options: dict[str, str], run: str, inline: bool | None) -> None:
    hosted = Hosted(fake(**options), Batching(inline_below_ms=15), Metrics(), run)  # type: ignore[call-arg]
    hosted.warm()
    assert hosted.cost_s > 0
    if inline is not None:
        assert hosted.inline is inline


def test_a_model_that_answers_again_for_less_is_never_run_in_the_loop() -> None:
    model = fake()
    model.spec = replace(model.spec, steady=False)
    hosted = Hosted(model, Batching(inline_below_ms=1e6), Metrics(), "auto")
    hosted.warm()
    assert not hosted.inline


def columns(**change: Any) -> Callable[[Queries], Verdicts]:
    """A model's answer with one column as a careless plugin would give it."""

    def predict(queries: Queries) -> Verdicts:
        n = len(queries)
        good: dict[str, Any] = {"p": np.full(n, 0.5), "status": np.zeros(n, np.uint8)}
        return Verdicts(**{**good, **{k: make(n) for k, make in change.items()}})

    return predict


CARELESS: dict[str, Callable[[Queries], Verdicts]] = {
    "p0 of the wrong length": columns(p0=lambda n: np.full(n + 1, 0.5)),
    "p as a list": columns(p=lambda n: [0.5] * n),
    "status as a list": columns(status=lambda n: [0] * n),
    "p of two dimensions": columns(p=lambda n: np.full((n, 1), 0.5)),
    "infinite p0": columns(p0=lambda n: np.full(n, np.inf)),
    "infinite uncertainty": columns(uncertainty=lambda n: np.full(n, np.inf)),
    "p beyond 1": columns(p=lambda n: np.full(n, 1.5)),
    "nothing": lambda queries: None,  # type: ignore[arg-type, return-value]
}


@pytest.mark.parametrize("predict", CARELESS.values(), ids=CARELESS)
def test_a_careless_model_gives_errors_and_the_next_request_is_served(
    predict: Callable[[Queries], Verdicts],
) -> None:
    async def story(hosted: Hosted, model: Recording) -> tuple[list[Outcome], list[Outcome]]:
        honest = model.predict
        model.predict = predict  # type: ignore[method-assign]
        careless = await hosted.ask(keys("A", "B"), queries("A", "B"), soon())
        model.predict = honest  # type: ignore[method-assign]
        after = await hosted.ask(keys("C"), queries("C"), soon())
        assert not hosted.stalled
        return careless, after

    (careless, after), _ = hosting(story)
    assert [row.status for row in careless] == [Status.MODEL_ERROR] * 2
    assert after[0].status is Status.OK


def test_a_relation_whose_queries_were_given_up_does_not_hold_up_another() -> None:
    async def story(hosted: Hosted, model: Recording) -> Outcome:
        model.gate.clear()
        block = asyncio.create_task(hosted.ask(keys("block"), queries("block"), soon()))
        await until(model.started)
        gone = asyncio.create_task(hosted.ask(keys("gone"), queries("gone"), soon()))
        await asyncio.sleep(0.02)
        other = queries("kept", relation="perturbation.dir")
        kept = asyncio.create_task(hosted.ask(keys("kept"), other, soon(5)))
        await asyncio.sleep(0.02)
        gone.cancel()
        model.gate.set()
        await block
        return (await kept)[0]

    kept, model = hosting(story)
    assert kept.status is Status.OK
    assert model.batches == [["block"], ["kept"]]


def test_a_model_over_the_network_is_not_asked_again_by_halves() -> None:
    class Away(Recording):
        def predict(self, queries: Queries) -> Verdicts:
            self.batches.append(list(queries.subjects))
            raise ModelFault("the other server is overloaded")

    model = Away()
    verdicts = guarded(model, queries(*map(str, range(64))), Metrics())
    assert set(verdicts.status.tolist()) == {Status.MODEL_ERROR}
    assert len(model.batches) == 1


def test_a_busy_model_with_an_empty_queue_says_no_to_what_would_be_late() -> None:
    async def story(hosted: Hosted, model: Recording) -> None:
        hosted.warm()
        first = asyncio.create_task(hosted.ask(keys("first"), queries("first"), soon()))
        await asyncio.sleep(0.05)
        assert hosted.depth == 0
        with pytest.raises(Overloaded, match="after the request's deadline"):
            hosted.admit(keys("late"), soon(0.1))
        await first

    hosting(story, delay_ms="400")


def test_a_model_that_fails_at_once_is_not_taken_to_be_quick() -> None:
    async def story(hosted: Hosted, model: Recording) -> None:
        hosted.warm()
        honest = model.predict

        def fails(queries: Queries) -> Verdicts:
            raise ModelFault("the other server is away")

        model.predict = fails  # type: ignore[method-assign]
        for i in range(20):
            await hosted.ask(keys(f"F{i}"), queries(f"F{i}"), soon())
        model.predict = honest  # type: ignore[method-assign]
        model.started.clear()
        first = asyncio.create_task(hosted.ask(keys("first"), queries("first"), soon()))
        await until(model.started)
        with pytest.raises(Overloaded, match="after the request's deadline"):
            hosted.admit(keys("late"), soon(0.2))
        await first

    hosting(story, delay_ms="300")


def test_who_asks_anew_before_the_first_have_left_is_answered() -> None:
    """Else the first, leaving, would take the newcomers' question out of the queue with them."""

    async def story(hosted: Hosted, model: Recording) -> Outcome:
        boarded: list[Any] = []
        model.gate.clear()
        first = asyncio.create_task(hosted.ask(keys("A"), queries("A"), soon()))
        await until(model.started)

        def board(_: object) -> None:
            boarded.extend(hosted._board(keys("A"), queries("A"), soon(), Priority.TRAIN))

        hosted._flights[keys("A")[0]].future.add_done_callback(board)
        model.gate.set()
        await first
        answered: Outcome = await asyncio.wait_for(boarded[0].future, 10)
        return answered

    found, _ = hosting(story)
    assert found.status is Status.OK
