"""What is counted and observed, each by a method; which series there are is in ``catalogue``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from service.catalogue import Catalogue
from service.requests import BadItem, RunContext
from service.rewards.core import Item, Reason, Result
from service.series import Exposition, Series
from service.series import Numbers as Numbers
from service.shelf import Shelf
from worldmodels.core import ModelSpec
from worldmodels.trace_context import Headers

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
STAGES: Final = ("parse", "extract", "lookup", "model", "work", "compose", "respond")
_SPLITS: Final = frozenset({"", "train", "valid", "test", "id", "ood"})


class Listener(Protocol):
    """Who else is to hear of single requests: traces."""

    def stage(self, stage: str, seconds: float) -> None: ...  # noqa: D102
    def results(self, profile: str, run: str, items: int) -> None: ...  # noqa: D102
    def called(self, spec: ModelSpec, rows: int, seconds: float) -> None: ...  # noqa: D102
    def flown(self, spec: ModelSpec, passengers: Sequence[Any]) -> None: ...  # noqa: D102
    def carried(self) -> Headers: ...  # noqa: D102


class Metrics(Catalogue):
    """The series of one process. Every method is cheap enough for the hot path.

    Args:
        max_runs: distinct ``context.run`` values kept as a label; later ones become ``other``, so
            that a client cannot grow the server's memory.
        shelf: where sibling workers find the numbers; None for a single process.
    """

    def __init__(self, max_runs: int = 64, shelf: Shelf | None = None):
        super().__init__()
        self.listener: Listener | None = None
        self._max_runs = max_runs
        self._runs: set[str] = set()
        self._watchers: list[Callable[[Metrics], None]] = []
        every = [one for one in vars(self).values() if isinstance(one, Series)]
        self._exposition = Exposition(every, shelf)
        self._started.set((), time.time())
        self.of_models = (self._batch, self._model, self._wait, self._depth, self._faults)
        """What a model host shows of itself, beside its GPU."""
        self.of_gpus = (self._gpu, self._reserved)

    def watch(self, watcher: Callable[[Metrics], None] | None) -> None:
        """Have a gauge set whenever the series are looked at; None changes nothing."""
        if watcher is not None:
            self._watchers.append(watcher)

    def expose(self) -> bytes:
        """All series in Prometheus' text format."""
        self.look()
        return self._exposition.text()

    def look(self) -> None:
        """Set the gauges that are read off, not counted: a worker does so for its siblings."""
        for watcher in self._watchers:
            watcher(self)

    def request(self, route: str, code: str) -> None:
        """Count one finished request."""
        self._requests.add((route, code))

    def stage(self, stage: str, seconds: float) -> None:
        """Observe the latency of one stage of one request."""
        self._stage.observe((stage,), seconds)
        if self.listener is not None:
            self.listener.stage(stage, seconds)

    def results(
        self, profile: str, run: str, split: str | Sequence[str], results: Sequence[Result]
    ) -> None:
        """Count items and observe the rewards of those that were scored (ok and invalid).

        ``split`` is that of all items, or has one for each.
        """
        label = self.run_label(run)
        if self.listener is not None:
            self.listener.results(profile, run, len(results))
        one = split if isinstance(split, str) else ""
        labels = (profile, label, one if one in _SPLITS else "other")
        items, observe = self._items, self._reward.observe
        for i, result in enumerate(results):
            items.add((profile, result.status, result.reason))
            if result.reward is not None:
                if split is not one:
                    labels = (profile, label, split[i] if split[i] in _SPLITS else "other")
                observe(labels, result.reward)

    def run_label(self, run: str) -> str:
        """The run as a label: itself, or ``other`` where there are too many."""
        if run and run not in self._runs:
            if len(self._runs) >= self._max_runs:
                return "other"
            self._runs.add(run)
        return run

    def answer_counter(self, profile: str, run: str, answer: str) -> Numbers:
        """Where answers of one kind are counted; the caller adds to its first number."""
        return self._answers.child(profile, run, answer)

    def component_counters(
        self, profile: str, run: str, component: str, kind: str
    ) -> tuple[Numbers, Numbers]:
        """Where scores of a component are counted, and where they are summed."""
        labels = (profile, run, component, kind)
        return self._scored.child(*labels), self._scores.child(*labels)

    def repeats(self, profile: str, run: str, pairs: int, repeats: int) -> None:
        """Count completions compared within their group, and those that repeat another."""
        self._pairs.add((profile, run), pairs)
        self._repeats.add((profile, run), repeats)

    def model_call(self, model: str, queries: int, seconds: float) -> None:
        """Observe one call of a model: its batch size and its time."""
        self._batch.observe((model,), queries)
        self._model.observe((model,), seconds)

    def queue_wait(self, model: str, seconds: float) -> None:
        """Observe how long the oldest query of a batch waited."""
        self._wait.observe((model,), seconds)

    def queue_depth(self, model: str, depth: int) -> None:
        """Set the number of queries that wait for a model."""
        self._depth.set((model,), depth)

    def gpu_memory(self, device: str, used: int, total: int, reserved: int) -> None:
        """Set the memory of a GPU, in bytes; ``reserved`` is what this process holds."""
        self._gpu.set((device, "used"), used)
        self._gpu.set((device, "total"), total)
        self._reserved.set((device,), reserved)

    def model_fault(self, model: str, kind: str) -> None:
        """Count a failed call: exception, malformed, non_finite, lost."""
        self._faults.add((model, kind))

    def asked_again(self, model: str, queries: int) -> None:
        """Count queries that a model host died with and that are asked once more."""
        if queries:
            self._retries.add((model,), queries)

    def cache(self, tier: str, hits: int, misses: int) -> None:
        """Count lookups of one tier (``memory``, ``redis``, ``flight``)."""
        if hits:
            self._cache.add((tier, "hit"), hits)
        if misses:
            self._cache.add((tier, "miss"), misses)

    def work_done(self, reason: Reason) -> None:
        """Count a computation that was done, or given up."""
        self._work.add((reason.value,))

    def work_seconds(self, seconds: float) -> None:
        """Observe the CPU time that a computation took."""
        self._work_seconds.observe((), seconds)

    def work_kill(self, cause: str) -> None:
        """Count a computation that was ended: slow, budget, memory, hang, death."""
        self._work_kills.add((cause,))

    def work_depth(self, depth: int) -> None:
        """Set the number of computations that wait."""
        self._work_depth.set((), depth)

    def audit(self, outcome: str, items: int) -> None:
        """Count items for the audit log: written, lost, failed."""
        self._audit.add((outcome,), items)

    def canaries(self, counts: Mapping[tuple[str, str], int], *, red: bool) -> None:
        """Set how many canaries of each profile are in each state; those there were go to 0."""
        for labels in list(self._canaries.children):
            self._canaries.set(labels, 0)
        for labels, number in counts.items():
            self._canaries.set(labels, number)
        self._red.set((), float(red))
        self._rounds.add(())

    def canary_drifted(self, profile: str) -> None:
        """Count a canary that began to drift."""
        self._drifted.add((profile,))

    def redis_down(self, *, down: bool) -> None:
        """Set whether this process goes without Redis."""
        self._redis_down.set((), float(down))

    def redis(self, event: str) -> None:
        """Count a Redis event: failure, opened, closed, dropped_write."""
        self._redis.add((event,))

    def key_items(self, key: str, outcome: str, items: int) -> None:
        """Count items that an API key asked: admitted, rate, quota, refunded."""
        self._keys.add((key, outcome), items)

    def refused(self, cause: str) -> None:
        """Count a request or connection that was turned away before it was read."""
        self._refusals.add((cause,))

    def certificate(self, expires: float) -> None:
        """Set when the certificate that is served ends."""
        self._certificates.set((), expires)


def splits_of(items: Sequence[Item | BadItem], context: RunContext) -> str | list[str]:
    """The split of all items, or of each where one states its own."""
    own = [None if isinstance(item, BadItem) else item.split for item in items]
    if not any(own):
        return context.split
    return [split or context.split for split in own]
