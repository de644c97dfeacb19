"""Every series that the service exposes; the only module that declares one.

Stage latencies are per pass through the pipeline, not per item; requests that arrive together
share a pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, MutableSequence, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from service.rewards.core import Reason, Result
from service.series import Exposition, Series
from worldmodels.core import ModelSpec

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
STAGES: Final = ("parse", "extract", "lookup", "model", "work", "compose", "respond")
_SECONDS: Final = (
    *(m * 10.0**e for e in range(-5, 0) for m in (1.0, 2.5, 5.0)),
    1.0,
    2.5,
    5.0,
    10.0,
)
_REWARDS: Final = (*(i / 20 for i in range(21)), 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
_BATCHES: Final = tuple(2.0**i for i in range(15))
Numbers = MutableSequence[float]
_SPLITS: Final = frozenset({"", "train", "valid", "test", "id", "ood"})


class Listener(Protocol):
    """Who else is to hear of single requests: traces."""

    def stage(self, stage: str, seconds: float) -> None: ...  # noqa: D102
    def results(self, profile: str, run: str, items: int) -> None: ...  # noqa: D102
    def called(self, spec: ModelSpec, rows: int, seconds: float) -> None: ...  # noqa: D102
    def flown(self, spec: ModelSpec, passengers: Sequence[Any]) -> None: ...  # noqa: D102


class Metrics:
    """The series of one process. Every method is cheap enough for the hot path.

    Args:
        max_runs: distinct ``context.run`` values kept as a label; later ones become ``other``, so
            that a client cannot grow the server's memory.
        shared: folder that sibling workers share; None for a single process.
    """

    def __init__(self, max_runs: int = 64, shared: Path | None = None):
        self.listener: Listener | None = None
        self._max_runs = max_runs
        self._runs: set[str] = set()
        self._requests = Series(
            "counter", "requests", "Requests by route and status", ("route", "code")
        )
        self._items = Series(
            "counter",
            "items",
            "Items by profile, status and reason",
            ("profile", "status", "reason"),
        )
        self._stage = Series(
            "histogram", "stage_seconds", "Latency of a request by stage", ("stage",), _SECONDS
        )
        self._reward = Series(
            "histogram",
            "reward",
            "Rewards of scored items",
            ("profile", "run", "split"),
            _REWARDS,
        )
        self._answers = Series(
            "counter",
            "answers",
            "Answers of scored items; those beyond the first few of a profile by hash (#0 to #15)",
            ("profile", "run", "answer"),
        )
        self._scored = Series(
            "counter",
            "component_scored",
            "Components with a score; kind form judges how it is written, truth what it claims; "
            "component valid: whether a scored item could be read",
            ("profile", "run", "component", "kind"),
        )
        self._scores = Series(
            "counter",
            "component_score_sum",
            "Sum of those scores",
            ("profile", "run", "component", "kind"),
        )
        self._pairs = Series(
            "counter",
            "group_pairs",
            "Completions compared with the one before in their group, of one group in 32",
            ("profile", "run"),
        )
        self._repeats = Series(
            "counter", "group_repeats", "Those that nearly repeat it", ("profile", "run")
        )
        self._batch = Series(
            "histogram", "batch_queries", "Queries in one call of a model", ("model",), _BATCHES
        )
        self._model = Series(
            "histogram", "model_seconds", "Time of one call of a model", ("model",), _SECONDS
        )
        self._wait = Series(
            "histogram",
            "queue_wait_seconds",
            "Longest time that a query of a batch waited",
            ("model",),
            _SECONDS,
        )
        self._depth = Series("gauge", "queue_depth", "Queries waiting for a model", ("model",))
        self._cache = Series(
            "counter",
            "cache_lookups",
            "Looked up: verdicts in memory, redis, flight (computed for another request just now), "
            "and findings of computations (work)",
            ("tier", "outcome"),
        )
        self._redis = Series(
            "counter", "redis_events", "Failures, breaker changes, dropped writes", ("event",)
        )
        self._redis_down = Series(
            "gauge", "redis_down", "Processes that go without Redis now, where one is configured"
        )
        self._started = Series(
            "gauge",
            "start_time_seconds",
            "When the youngest process began, in seconds since 1970",
            of_machine=True,
        )
        self._faults = Series(
            "counter", "model_faults", "Failed calls of a model", ("model", "kind")
        )
        self._work = Series(
            "counter", "work_jobs", "Computations in own processes, by outcome", ("reason",)
        )
        self._work_seconds = Series(
            "histogram", "work_seconds", "CPU time of one such computation", (), _SECONDS
        )
        self._work_kills = Series(
            "counter",
            "work_kills",
            "Computations ended: slow (begun again with the full budget), budget, memory, hang, "
            "death",
            ("cause",),
        )
        self._work_depth = Series("gauge", "work_depth", "Computations that wait")
        self._audit = Series(
            "counter",
            "audit_lines",
            "Items for the audit log: written, lost (queue full), failed (disk)",
            ("outcome",),
        )
        self._canaries = Series(
            "gauge",
            "canaries",
            "Canaries by state when last asked: same, restated, drifted, unanswered, unserved",
            ("profile", "state"),
            of_machine=True,
        )
        self._red = Series("gauge", "canaries_red", "1 while a canary has drifted", of_machine=True)
        self._drifted = Series(
            "counter", "canary_drifts", "Canaries that began to drift", ("profile",)
        )
        self._rounds = Series("counter", "canary_rounds", "Times that all canaries were asked")
        self._gpu = Series(
            "gauge",
            "gpu_memory_bytes",
            "Memory of a GPU as nvidia-smi shows it, whoever uses it: used, total",
            ("device", "kind"),
            of_machine=True,
        )
        self._reserved = Series(
            "gauge",
            "gpu_reserved_bytes",
            "Memory of a GPU that our models' tensors and their allocator hold",
            ("device",),
        )
        self._keys = Series(
            "counter",
            "key_items",
            "Items by API key: admitted, refused for its rate or quota, refunded (not answered)",
            ("key", "outcome"),
        )
        self._refusals = Series(
            "counter",
            "refused",
            "Turned away before being read, by cause: key, scope, certificate, connections, "
            "address, slow, headers",
            ("cause",),
        )
        self._certificates = Series(
            "gauge",
            "certificate_expires_seconds",
            "When the certificate that is served ends, in seconds since 1970",
            of_machine=True,
        )
        self._started.set((), time.time())
        self._watchers: list[Callable[[Metrics], None]] = []
        every = [one for one in vars(self).values() if isinstance(one, Series)]
        self._exposition = Exposition(every, shared)

    def watch(self, watcher: Callable[[Metrics], None] | None) -> None:
        """Have a gauge set whenever the series are looked at; None changes nothing."""
        if watcher is not None:
            self._watchers.append(watcher)

    def expose(self) -> bytes:
        """All series in Prometheus' text format."""
        self._look()
        return self._exposition.text()

    def save(self) -> None:
        """Leave our numbers for sibling workers."""
        if self._exposition.shared:
            self._look()
            self._exposition.save()

    def _look(self) -> None:
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
        """Count a failed call: exception, length, non_finite."""
        self._faults.add((model, kind))

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
