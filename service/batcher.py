"""One served model: guarded calls, in the event loop or on the model's own thread.

Work-conserving: an idle model starts at once, a busy one collects what arrives meanwhile. Equal
queries in flight are computed once. Work that expired, or that nobody waits for any more, leaves
the queue. A request is admitted only if its predicted wait fits its deadline. A failing batch is
halved to isolate the bad query; wrong lengths and non-finite figures become MODEL_ERROR. A model
cheaper than a thread switch is called in the loop, where none of this costs anything.

Not covered: several batches of one model at a time. A model that wants parallelism has it inside.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

from service.cache import Key
from service.errors import Overloaded
from service.guard import EXPIRED, FAILED, Outcome, guarded, outcomes
from service.metrics import Metrics
from service.settings import Batching
from worldmodels import devices
from worldmodels.core import Queries, Verdicts, WorldModel

log = structlog.get_logger(__name__)

WARM_UP_QUERIES: Final = 256
DEAR_S: Final = 0.1


class _Flight:
    """One query on its way, with everyone who waits for it."""

    __slots__ = ("deadline", "enqueued", "future", "key", "query", "waiters")

    def __init__(self, key: Key, query: tuple[str, str, str], now: float, deadline: float):
        self.key = key
        self.query = query
        self.enqueued = now
        self.deadline = deadline
        self.waiters = 0
        self.future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()


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
        self._queues: dict[str, deque[_Flight]] = {}
        self._flights: dict[Key, _Flight] = {}
        self._depth = 0
        self._busy_since: float | None = None
        self._batch_s = 0.0
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
        self._batch_s = best
        if self._run_mode == "auto":
            quick = best * 1000 < self._settings.inline_below_ms
            self.inline = self.spec.local and self.spec.steady and quick

    def know_cost(self, cost_s: float) -> None:
        """What a query costs, where what we ask remembers the examples and cannot show it."""
        self.cost_s = max(self.cost_s, cost_s)
        self._batch_s = max(self._batch_s, cost_s * WARM_UP_QUERIES)

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
        since = self._busy_since
        return since is not None and time.monotonic() - since > self._settings.stall_s

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
        return self._depth

    def ask_now(self, queries: Queries) -> Verdicts:
        """Answer in the calling thread: for models that are cheaper than a switch."""
        start = time.perf_counter()
        verdicts = guarded(self.model, queries, self._metrics)
        self._metrics.model_call(self.name, len(queries), time.perf_counter() - start)
        return verdicts

    async def ask(self, keys: Sequence[Key], queries: Queries, deadline: float) -> list[Outcome]:
        """Answer through the queue, by ``deadline`` (``time.monotonic``).

        Rows that are not done by then have ``expired`` set. Equal keys in flight are joined. Call
        ``admit`` first.
        """
        flights = self._board(keys, queries, deadline)
        try:
            pending = {flight.future for flight in flights if not flight.future.done()}
            if pending:
                await asyncio.wait(pending, timeout=max(0.0, deadline - time.monotonic()))
        finally:
            for flight in flights:
                flight.waiters -= 1
        return [flight.future.result() if flight.future.done() else EXPIRED for flight in flights]

    def admit(self, keys: Sequence[Key], deadline: float) -> None:
        """Say no at the door to what could not be answered in time.

        Raises:
            Overloaded: the queue is full, or the predicted wait does not fit the deadline.
        """
        new = sum(key not in self._flights for key in keys)
        if not new:
            return
        wait = self._predicted_wait(new)
        if self._depth + new > self._settings.max_queue:
            raise Overloaded(
                f"model {self.name!r}: {self._depth} queries are waiting and {new} more do not fit "
                f"its queue of {self._settings.max_queue}; try again later or send less at once",
                retry_after=max(wait, 0.1),
            )
        waiting = self._depth or self._busy_since is not None
        if waiting and time.monotonic() + wait > deadline:
            raise Overloaded(
                f"model {self.name!r} would answer in {wait:.2f} s, after the request's deadline; "
                "try again later or allow more time",
                retry_after=wait,
            )

    def _predicted_wait(self, new: int) -> float:
        """Seconds until ``new`` more queries are done: the running batch, then the queue."""
        per_query = max(self.cost_s, self._batch_s / max(self._settings.max_batch, 1))
        running = 0.0
        if self._busy_since is not None:
            running = max(0.0, self._batch_s - (time.monotonic() - self._busy_since))
        batches = math.ceil((self._depth + new) / self._settings.max_batch)
        return running + max(batches * self._batch_s, per_query * (self._depth + new))

    def _board(self, keys: Sequence[Key], queries: Queries, deadline: float) -> list[_Flight]:
        """Join what is in flight and queue the rest."""
        now = time.monotonic()
        queue = self._queues.setdefault(queries.relation, deque())
        flights = []
        joined = 0
        rows = zip(keys, queries.subjects, queries.objects, queries.contexts, strict=True)
        for key, subject, obj, context in rows:
            flight = self._flights.get(key)
            if flight is None:
                flight = _Flight(key, (subject, obj, context), now, deadline)
                self._flights[key] = flight
                queue.append(flight)
                self._depth += 1
            else:
                joined += 1
                flight.deadline = max(flight.deadline, deadline)
            flight.waiters += 1
            flights.append(flight)
        self._metrics.cache("flight", joined, len(flights) - joined)
        self._metrics.queue_depth(self.name, self._depth)
        self._wake.set()
        return flights

    async def _work(self) -> None:
        """Serve the queue for ever: one batch after the other, each of one relation."""
        while True:
            batch, relation = self._collect()
            if not batch:
                self._wake.clear()
                await self._wake.wait()
                continue
            rows: Sequence[Outcome] = [FAILED] * len(batch)
            try:
                rows = await self._computed(batch, relation)
            except Exception:  # whatever it is, those who wait are told and the queue goes on
                log.exception("a batch failed", model=self.name, queries=len(batch))
            finally:
                self._busy_since = None
                self._land(batch, rows)

    async def _computed(self, batch: Sequence[_Flight], relation: str) -> list[Outcome]:
        columns = [list(column) for column in zip(*(f.query for f in batch), strict=True)]
        start = time.monotonic()
        self._metrics.queue_wait(self.name, start - batch[0].enqueued)
        self._busy_since = start
        verdicts = await asyncio.get_running_loop().run_in_executor(
            self._executor, self._on_thread, Queries(relation, *columns)
        )
        self._learn(time.monotonic() - start, len(batch))
        return outcomes(verdicts)

    def _on_thread(self, queries: Queries) -> Verdicts:
        self._running = True
        try:
            return guarded(self.model, queries, self._metrics)
        finally:
            self._running = False

    def _collect(self) -> tuple[list[_Flight], str]:
        """The next batch, of the relation that waited longest; empty if nothing waits."""
        batch: list[_Flight] = []
        relation = ""
        while not batch and (waiting := {r: q for r, q in self._queues.items() if q}):
            relation = min(waiting, key=lambda name: waiting[name][0].enqueued)
            self._take(waiting[relation], batch)
        self._metrics.queue_depth(self.name, self._depth)
        return batch, relation

    def _take(self, queue: deque[_Flight], batch: list[_Flight]) -> None:
        """Fill a batch from a queue; what expired or was given up is dropped."""
        now = time.monotonic()
        while queue and len(batch) < self._settings.max_batch:
            flight = queue.popleft()
            self._depth -= 1
            if flight.waiters <= 0 or flight.deadline <= now:
                self._land([flight], [EXPIRED])
            else:
                batch.append(flight)

    def _learn(self, elapsed: float, size: int) -> None:
        """Track the time of a batch, as a moving average, for predicting waits."""
        self._metrics.model_call(self.name, size, elapsed)
        self._batch_s += 0.2 * (elapsed - self._batch_s)

    def _land(self, batch: Sequence[_Flight], rows: Sequence[Outcome]) -> None:
        for flight, row in zip(batch, rows, strict=True):
            self._flights.pop(flight.key, None)
            if not flight.future.done():
                flight.future.set_result(row)
