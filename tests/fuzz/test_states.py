"""Cache, queue, model and Redis in any order of questions, faults and restarts.

Whatever happens, each question that was let in has one answer, the model's own or an honest error;
what is remembered is what the model said; nothing is left over.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from servers import RedisProcess
from service.batcher import Hosted
from service.cache import Memory, RedisTier, unpack
from service.errors import Overloaded, TooLarge
from service.guard import Outcome, outcomes
from service.inquiry import Inquiry
from service.metrics import Metrics
from service.models import ServedModels
from service.requests import Priority
from service.rewards.core import Query, Reason, Verdict
from service.settings import Batching, Cache
from service.waiting import Flight
from worldmodels import registry
from worldmodels.core import ANSWERED, ModelFault, ModelSpec, Queries, Status, Verdicts
from worldmodels.genes import GeneResolver

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "20"))
RELATION = "perturbation.de"
SUBJECTS = [*(f"G{i}" for i in range(8)), "POISON", "NAN", "UNKNOWN1"]
BOUND = 4
"""Entries of the memory tier: fewer than subjects, so that it forgets."""
LONG_S, SHORT_S = 60.0, 0.02
DEADLINES = [LONG_S, LONG_S, LONG_S, SHORT_S, 0.0]


def fake() -> Any:
    options = {"poison": "POISON", "nan": "NAN", "unknown": "UNKNOWN", "contexts": "k562"}
    source = registry.Source(family="fake", name="fake", options=options)
    return registry.load(source, GeneResolver.as_they_are())


class Moody:
    """The fake model, which can be held in the middle of a batch, and broken."""

    def __init__(self) -> None:
        self._model = fake()
        self.spec: ModelSpec = self._model.spec
        self.gate = threading.Event()
        self.gate.set()
        self.mood = "well"

    def predict(self, queries: Queries) -> Verdicts:
        assert self.gate.wait(LONG_S)
        if self.mood == "raises":
            raise ModelFault("broken on purpose")
        answered: Verdicts = self._model.predict(queries)
        if self.mood == "short" and len(queries):
            return Verdicts(answered.p[1:], answered.status[1:])
        return answered

    def examples(self, n: int) -> Queries:
        made: Queries = self._model.examples(n)
        return made


class Counting(Hosted):
    """Notes every flight that lands."""

    landed: list[Flight]

    def _land(self, batch: Sequence[Flight], rows: Sequence[Outcome]) -> None:
        self.landed += batch
        super()._land(batch, rows)


class Asked:
    """One request, while it is open."""

    def __init__(
        self,
        task: asyncio.Task[dict[Query, Verdict]],
        subjects: list[str],
        seconds: float,
        broken: bool,
    ):
        self.task = task
        self.subjects = subjects
        self.seconds = seconds
        self.broken = broken
        """Whether the model has been broken at any time since."""
        self.cancelled = False


class Service(RuleBasedStateMachine):
    """One process of the service, from the inquiry down."""

    server: RedisProcess

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.open: list[Asked] = []
        self.frozen = False
        self.truth = {subject: self._told(subject) for subject in SUBJECTS}

    @staticmethod
    def _told(subject: str) -> Outcome:
        """What the model says of a subject that is asked alone."""
        try:
            asked = Queries(RELATION, [subject], ["CALR"], ["k562"])
            (row,) = outcomes(fake().predict(asked))
        except RuntimeError:
            return Outcome(Status.MODEL_ERROR)
        return row if row.p is None or row.p == row.p else Outcome(Status.MODEL_ERROR)

    @initialize()
    def begin(self) -> None:
        self._client().flushall()
        self._start()

    def _client(self) -> redis.Redis:
        return redis.Redis(port=self.server.port, socket_timeout=LONG_S)

    def _start(self) -> None:
        """A process with nothing in its memory."""
        self.model = Moody()
        metrics = Metrics()
        queue = Batching(max_batch=3, max_queue=6)  # type: ignore[call-arg]
        kept = Cache(redis_url=self.server.url, timeout_ms=40, breaker_failures=2, breaker_s=0.05)  # type: ignore[call-arg]
        self.memory = Memory(BOUND)

        async def start() -> None:
            self.hosted = Counting(self.model, queue, metrics, "thread")
            self.hosted.landed = []
            self.hosted.start()
            self.redis = RedisTier(kept, metrics)
            served = ServedModels([self.hosted])
            self.inquiry = Inquiry(served, self.memory, self.redis, metrics, redis_always=True)

        self.loop.run_until_complete(start())

    def _turn(self) -> None:
        """Let what can happen now happen."""
        self.loop.run_until_complete(asyncio.sleep(0.002))

    @rule(
        subjects=st.lists(st.sampled_from(SUBJECTS), min_size=1, max_size=8),
        seconds=st.sampled_from(DEADLINES),
        priority=st.sampled_from(Priority),
    )
    def ask(self, subjects: list[str], seconds: float, priority: Priority) -> None:
        self._ask(subjects, seconds, priority)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), priority=st.sampled_from(Priority))
    def ask_the_same(self, data: st.DataObject, priority: Priority) -> None:
        """Join what is in flight."""
        self._ask(data.draw(st.sampled_from(self.open)).subjects, LONG_S, priority)

    def _ask(self, subjects: list[str], seconds: float, priority: Priority) -> None:
        plans = [(Query("fake", RELATION, subject, "CALR", "k562"),) for subject in subjects]
        until = time.monotonic() + seconds
        work = self.inquiry.verdicts(plans, until, priority)
        broken = self.model.mood != "well"
        self.open.append(Asked(self.loop.create_task(work), subjects, seconds, broken))
        self._turn()

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        asked = data.draw(st.sampled_from(self.open))
        asked.cancelled = asked.task.cancel() or asked.cancelled
        self._turn()

    @rule(subject=st.sampled_from(SUBJECTS))
    def hold(self, subject: str) -> None:
        """The model is busy: what is asked from now on waits."""
        self.model.gate.clear()
        self._ask([subject], LONG_S, Priority.TRAIN)

    @rule(mood=st.sampled_from(["well", "raises", "short"]))
    def change(self, mood: str) -> None:
        self.model.mood = mood
        for asked in self.open:
            asked.broken = asked.broken or mood != "well"

    @precondition(lambda self: not self.frozen)
    @rule()
    def freeze_redis(self) -> None:
        self._signal(signal.SIGSTOP)
        self.frozen = True

    @precondition(lambda self: self.frozen)
    @rule()
    def thaw_redis(self) -> None:
        self._signal(signal.SIGCONT)
        self.frozen = False

    def _signal(self, number: int) -> None:
        assert self.server.process is not None
        self.server.process.send_signal(number)

    @precondition(lambda self: not self.frozen)
    @rule()
    def drop_connections(self) -> None:
        """As when Redis is started again behind the same address."""
        self._client().client_kill_filter(_type="normal", skipme=True)

    @rule()
    def settle(self) -> None:
        """The model answers; everybody is told."""
        self.model.gate.set()
        tasks = {asked.task for asked in self.open}
        if tasks:
            _, pending = self.loop.run_until_complete(asyncio.wait(tasks, timeout=LONG_S / 2))
            assert not pending, "somebody was told nothing"
        for asked in self.open:
            self._check(asked)
        self.open.clear()
        self.loop.run_until_complete(self._idle())
        assert self.hosted.depth == 0
        assert not self.hosted._flights

    async def _idle(self) -> None:
        """What nobody waits for any more may still be on the model's thread."""
        until = time.monotonic() + LONG_S / 2
        while not self.hosted.idle:
            assert time.monotonic() < until, "the queue never empties"
            await asyncio.sleep(0.001)

    @rule()
    def restart(self) -> None:
        self.settle()
        self._stop()
        self._start()

    def _stop(self) -> None:
        async def stop() -> None:
            await self.redis.close()
            await self.hosted.stop()

        self.loop.run_until_complete(stop())
        landed = self.hosted.landed
        assert len(set(map(id, landed))) == len(landed), "a flight landed twice"
        assert all(flight.future.done() for flight in landed)

    def _check(self, asked: Asked) -> None:
        if asked.task.cancelled():
            assert asked.cancelled
            return
        refused = asked.task.exception()
        if refused is not None:
            assert isinstance(refused, Overloaded | TooLarge), repr(refused)
            return
        for query, verdict in asked.task.result().items():
            self._check_verdict(asked, query.subject, verdict)

    def _check_verdict(self, asked: Asked, subject: str, verdict: Verdict) -> None:
        """The model's own answer, or an error that has its cause."""
        expected = self.truth[subject]
        if verdict[:5] == expected[:5]:
            assert not verdict.cached or verdict.status in ANSWERED
            return
        assert verdict.status is Status.MODEL_ERROR, (subject, verdict, expected)
        assert verdict.p is None
        late = verdict.reason is Reason.DEADLINE and asked.seconds < LONG_S
        assert late or asked.broken, (subject, verdict, expected)

    @invariant()
    def memory_holds_what_the_model_said(self) -> None:
        if not hasattr(self, "memory"):
            return
        assert len(self.memory) <= BOUND
        for key, row in self.memory._rows.items():
            assert row == self.truth[key.subject][:5]
            assert row.status in ANSWERED

    def teardown(self) -> None:
        if self.frozen:
            self._signal(signal.SIGCONT)
        try:
            self.settle()
            self._stop()
            self._check_redis()
        finally:
            self.model.gate.set()
            self._turn()
            gc.collect()
            self._turn()
            self.loop.close()

    def _check_redis(self) -> None:
        with self._client() as client:
            spelt = list(client.scan_iter("sv2:*"))
            values = client.mget(spelt) if spelt else []
        told = {row[:5] for row in self.truth.values() if row.p is not None}
        for value in values:
            assert unpack(value) in told


@pytest.fixture
def machine(tmp_path: Path, own_redis: RedisProcess) -> type[Service]:
    return type("OnThisRedis", (Service,), {"server": own_redis})


def test_any_order(machine: type[Service]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=30,
            deadline=None,
            derandomize="FUZZ_EXAMPLES" not in os.environ,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("subject", SUBJECTS)
def test_the_model_is_what_the_machine_takes_it_for(subject: str) -> None:
    """Else the machine would hold nothing to anything."""
    told = Service._told(subject)
    expected = {"POISON": Status.MODEL_ERROR, "NAN": Status.MODEL_ERROR}.get(subject, Status.OK)
    assert told.status is (Status.UNKNOWN_GENE if subject == "UNKNOWN1" else expected)
    assert (told.p is not None) == (told.status is Status.OK)
