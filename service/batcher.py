"""One served model: guarded calls, in the event loop or on the model's own thread.

Work-conserving: an idle model starts at once, a busy one collects what arrives meanwhile. Equal
queries in flight are computed once. Work that would be late, or that nobody waits for any more,
leaves the queue; what is let in is ``service.admission``'s to say, what is next
``service.waiting``'s. A failing batch is halved to isolate the bad query; wrong lengths and
non-finite figures become MODEL_ERROR. A batch whose model host died is asked once more when there
is another (``service.second_asking``), each query until its deadline. A model cheaper than a thread
switch is called in the loop, where none of this costs anything.

Not covered: several batches of one model at a time. A model that wants parallelism has it inside.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

from service.admission import Door
from service.cache import Key
from service.guard import EXPIRED, FAILED, Outcome, guarded, guarded_but_for_loss, outcomes
from service.metrics import Metrics
from service.pace import Pace
from service.requests import Priority
from service.second_asking import SecondAsking
from service.settings import Batching
from service.waiting import Flight, Trip, Waiting
from worldmodels import devices
from worldmodels.core import ModelLost, Queries, Status, Verdicts, WorldModel
from worldmodels.trace_context import CARRIED, Headers

log = structlog.get_logger(__name__)

WARM_UP_QUERIES: Final = 256
DEAR_S: Final = 0.1
LOOK_S: Final = 0.25
"""For so long at a time a model host that is away is waited for."""


class Hosted:
    """A model as the service runs it.

    Args:
        model: the world model.
        settings: queue bounds and the threshold for computing in the loop.
        run: ``auto`` decides by the cost that ``warm`` measures.
    """

    def __init__(self, model: WorldModel, settings: Batching, metrics: Metrics, run: str = "auto"):
        self.model = model
        self.spec = model.spec
        self.name = model.spec.name
        self.tag = f"{model.spec.digest}|{model.spec.genes}"
        """For cache keys: what decides an answer, the gene table included."""
        self.cost_s = 0.0
        """Seconds per query in batches of 256, measured at warm-up."""
        self.inline = run == "inline"
        self._run_mode = run
        self._settings = settings
        self._metrics = metrics
        self._executor: ThreadPoolExecutor | None = None
        self._runner: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._waiting = Waiting()
        self._again = SecondAsking()
        self._away: Callable[[float], bool] | None = None
        """Waits for the model host that died, while none has taken its place."""
        self._draining = False
        self._flights: dict[Key, Flight] = {}
        self._pace = Pace()
        self._door = Door(self.name, settings, self._waiting, self._pace)
        self._running = False

    def warm(self) -> None:
        """Ask the model's own examples twice; the second time is its cost.

        Blocking: called before the server listens.
        """
        for rows in self._buckets():
            guarded(self.model, self.model.examples(rows), self._metrics)
        queries = self.model.examples(WARM_UP_QUERIES)
        guarded(self.model, queries, self._metrics)
        best = math.inf
        for _ in range(3):
            start = time.perf_counter()
            guarded(self.model, queries, self._metrics)
            best = min(best, time.perf_counter() - start)
            if best > DEAR_S:
                break  # once is enough to know
        self.cost_s = best / max(len(queries), 1)
        if self._run_mode == "auto":
            quick = best * 1000 < self._settings.inline_below_ms
            self.inline = self.spec.local and self.spec.steady and quick
        alone = 0.0 if self.inline else self._seconds_alone(1 if best > DEAR_S else 2)
        self._pace.begin(min(alone, best), len(queries), best)

    def _seconds_alone(self, times: int) -> float:
        """What one query takes, the last time that it is asked."""
        query, start = self.model.examples(1), 0.0
        for _ in range(times):
            start = time.perf_counter()
            guarded(self.model, query, self._metrics)
        return time.perf_counter() - start

    def know_cost(self, cost_s: float) -> None:
        """What a query costs, where what we ask remembers the examples and cannot show it."""
        self.cost_s = max(self.cost_s, cost_s)
        self._pace.at_least(cost_s)

    def _buckets(self) -> Iterator[int]:
        """Sizes of batches that a GPU must have seen before the first request.

        It compiles, allocates and chooses its kernels by shape; the CPU does not.
        """
        if self.spec.device != devices.CPU:
            size = 1
            while size < self._settings.max_batch:
                yield size
                size *= 2
            yield self._settings.max_batch

    def start(self) -> None:
        """Start the model's thread, if it has one."""
        if not self.inline:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix=f"model-{self.name}")
            self._runner = asyncio.create_task(self._work(), name=f"runner-{self.name}")

    def drain(self) -> None:
        """The server ends: a model host that dies now is not waited for."""
        self._draining = True

    async def stop(self) -> None:
        """End the runner; a batch that is on the thread is left to finish."""
        if self._runner is not None:
            self._runner.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._runner
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)

    @property
    def stalled(self) -> bool:
        """A batch runs longer than the model is allowed, or nobody serves the queue any more."""
        if self._runner is not None and self._runner.done():
            return True
        return self._door.computing_s > self._settings.stall_s

    @property
    def busy(self) -> bool:
        """A batch is on the model's thread."""
        return self._running

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is computed."""
        return not self._flights and not self._running

    @property
    def depth(self) -> int:
        """Queries that wait."""
        return len(self._waiting) + len(self._again)

    def ask_now(self, queries: Queries) -> Verdicts:
        """Answer in the calling thread: for models that are cheaper than a switch."""
        if self._metrics.listener is not None:
            CARRIED.set(self._carried())
        start = time.perf_counter()
        verdicts = guarded(self.model, queries, self._metrics)
        elapsed = time.perf_counter() - start
        self._metrics.model_call(self.name, len(queries), elapsed)
        if self._metrics.listener is not None:
            self._metrics.listener.called(self.spec, len(queries), elapsed)
        return verdicts

    async def ask(
        self,
        keys: Sequence[Key],
        queries: Queries,
        deadline: float,
        priority: Priority = Priority.TRAIN,
    ) -> list[Outcome]:
        """Answer through the queue, by ``deadline`` (``time.monotonic``).

        Rows that are not done by then have ``expired`` set. Equal keys in flight are joined. Call
        ``admit`` first.
        """
        flights = self._board(keys, queries, deadline, priority)
        try:
            pending = {flight.future for flight in flights if not flight.future.done()}
            if pending:
                await asyncio.wait(pending, timeout=max(0.0, deadline - time.monotonic()))
        finally:
            self._alight(flights)
        if self._metrics.listener is not None:
            self._metrics.listener.flown(self.spec, flights)
        return [flight.future.result() if flight.future.done() else EXPIRED for flight in flights]

    def admit(
        self, keys: Sequence[Key], deadline: float, priority: Priority = Priority.TRAIN
    ) -> None:
        """Say no at the door to what could not be answered in time.

        Raises:
            Overloaded: the queue is full, or the predicted wait does not fit the deadline.
            TooLarge: it would not fit an empty queue.
        """
        if new := sum(key not in self._flights for key in keys):
            self._door.admit(new, deadline, priority)

    def _board(
        self, keys: Sequence[Key], queries: Queries, deadline: float, priority: Priority
    ) -> list[Flight]:
        """Join what is in flight and queue the rest."""
        now = time.monotonic()
        flights = []
        joined = 0
        carried = self._carried()
        rows = zip(keys, queries.subjects, queries.objects, queries.contexts, strict=True)
        for key, subject, obj, context in rows:
            flight = self._flights.get(key)
            if flight is None:
                flight = Flight(key, (subject, obj, context), now, deadline, priority)
                self._flights[key] = flight
                self._waiting.put(flight)
            else:
                joined += 1
                flight.deadline = max(flight.deadline, deadline)
                self._waiting.promote(flight, priority)
            flight.waiters += 1
            flight.carried = flight.carried or carried
            flights.append(flight)
        self._metrics.cache("flight", joined, len(flights) - joined)
        self._metrics.queue_depth(self.name, self.depth)
        self._wake.set()
        return flights

    def _alight(self, flights: Sequence[Flight]) -> None:
        """Wait no longer; what nobody waits for leaves the queue at once."""
        left = False
        for flight in flights:
            flight.waiters -= 1
            if not flight.waiters and (self._waiting.leave(flight) or self._again.leave(flight)):
                self._land([flight], [EXPIRED])
                left = True
        if left:
            self._metrics.queue_depth(self.name, self.depth)

    async def _work(self) -> None:
        """Serve the queue for ever: one batch after the other, each of one relation."""
        while True:
            await self._host_back()
            batch = self._collect()
            if not batch:
                self._wake.clear()
                await self._wake.wait()
                continue
            rows: Sequence[Outcome] = [FAILED] * len(batch)
            try:
                rows = await self._computed(batch)
            except ModelLost as fault:
                batch = self._lost(batch, fault)
                rows = [FAILED] * len(batch)
            except Exception:  # whatever it is, those who wait are told and the queue goes on
                log.exception("a batch failed", model=self.name, queries=len(batch))
            finally:
                self._door.end()
                self._land(batch, rows)

    async def _host_back(self) -> None:
        """Wait for a model host that died, as long as anybody waits for its answer."""
        while self._away is not None and self.depth and not self._draining:
            loop = asyncio.get_running_loop()
            if await loop.run_in_executor(self._executor, self._away, LOOK_S):
                self._away = None

    def _lost(self, batch: Sequence[Flight], fault: ModelLost) -> list[Flight]:
        """Its host died: what is given up; the rest is asked again when there is another."""
        if self._draining:  # nobody takes its place
            return list(batch)
        self._away = fault.back
        left = [flight for flight in batch if not flight.waiters]
        self._land(left, [EXPIRED] * len(left))
        given_up = self._again.lost([flight for flight in batch if flight.waiters])
        again = len(batch) - len(left) - len(given_up)
        self._metrics.asked_again(self.name, again)
        log.warning("a batch was lost", model=self.name, again=again, given_up=len(given_up))
        return given_up

    async def _computed(self, batch: Sequence[Flight]) -> list[Outcome]:
        columns = [list(column) for column in zip(*(f.query for f in batch), strict=True)]
        start = time.monotonic()
        self._metrics.queue_wait(self.name, start - batch[0].enqueued)
        self._door.begin(len(batch))
        verdicts = await asyncio.get_running_loop().run_in_executor(
            self._executor,
            self._on_thread,
            Queries(batch[0].key.relation, *columns),
            next((flight.carried for flight in batch if flight.carried), ()),
        )
        elapsed = time.monotonic() - start
        self._metrics.model_call(self.name, len(batch), elapsed)
        if (verdicts.status != Status.MODEL_ERROR).any():  # how long it fails says nothing
            self._pace.learn(len(batch), elapsed)
        if self._metrics.listener is not None:
            trip = Trip(start, elapsed, len(batch))
            for flight in batch:
                flight.trip = trip
        return outcomes(verdicts)

    def _on_thread(self, queries: Queries, carried: Headers) -> Verdicts:
        self._running = True
        CARRIED.set(carried)
        try:
            return guarded_but_for_loss(self.model, queries, self._metrics)
        finally:
            self._running = False

    def _carried(self) -> Headers:
        """The trace of who asks just now, if the model is on another server."""
        if self._metrics.listener is None or self.spec.local:
            return ()
        return self._metrics.listener.carried()

    def _collect(self) -> list[Flight]:
        """The next batch; empty if nothing waits. What would be late with it is told so now."""
        batch: list[Flight] = []
        while not batch and self.depth:
            now, most = time.monotonic(), self._settings.max_batch
            if self._again:
                batch, late = self._again.take(now)
            else:
                batch, late = self._waiting.take(most, now, self._pace.seconds)
            self._land(late, [EXPIRED] * len(late))
        self._metrics.queue_depth(self.name, self.depth)
        return batch

    def _land(self, batch: Sequence[Flight], rows: Sequence[Outcome]) -> None:
        for flight, row in zip(batch, rows, strict=True):
            if self._flights.get(flight.key) is flight:
                del self._flights[flight.key]
            if not flight.future.done():
                flight.future.set_result(row)
