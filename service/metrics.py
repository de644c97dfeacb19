"""Every series that the service exposes; the only module that declares one.

Children are bound once and kept, since looking labels up costs more than counting. With several
workers the client library's multiprocess mode adds their files up at the scrape. Stage latencies
are per request, not per item.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.rewards.core import Result

MULTIPROCESS_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
STAGES: Final = ("parse", "extract", "lookup", "model", "compose", "respond")
_SECONDS: Final = (
    *(m * 10.0**e for e in range(-5, 0) for m in (1.0, 2.5, 5.0)),
    1.0,
    2.5,
    5.0,
    10.0,
)
_SHARES: Final = (*(i / 20 for i in range(21)), 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
_BATCHES: Final = tuple(2.0**i for i in range(15))


class Metrics:
    """The series of one process. Every method is cheap enough for the hot path.

    Args:
        max_runs: distinct ``context.run`` values kept as a label; later ones become ``other``, so
            that a client cannot grow the server's memory.
    """

    def __init__(self, max_runs: int = 64):
        self.registry = CollectorRegistry()
        r = self.registry
        self._max_runs = max_runs
        self._runs: set[str] = set()
        self._requests = Counter(
            "softverifier_requests", "Requests by route and status", ["route", "code"], registry=r
        )
        self._items = Counter(
            "softverifier_items",
            "Items by profile, status and reason",
            ["profile", "status", "reason"],
            registry=r,
        )
        self._stage = Histogram(
            "softverifier_stage_seconds",
            "Latency of a request by stage",
            ["stage"],
            buckets=_SECONDS,
            registry=r,
        )
        self._reward = Histogram(
            "softverifier_reward",
            "Rewards of scored items by profile, run and split",
            ["profile", "run", "split"],
            buckets=_SHARES,
            registry=r,
        )
        self._batch = Histogram(
            "softverifier_batch_queries",
            "Queries in one call of a model",
            ["model"],
            buckets=_BATCHES,
            registry=r,
        )
        self._model = Histogram(
            "softverifier_model_seconds",
            "Time of one call of a model",
            ["model"],
            buckets=_SECONDS,
            registry=r,
        )
        self._wait = Histogram(
            "softverifier_queue_wait_seconds",
            "Time that a query waited for its model",
            ["model"],
            buckets=_SECONDS,
            registry=r,
        )
        self._depth = Gauge(
            "softverifier_queue_depth",
            "Queries waiting for a model",
            ["model"],
            registry=r,
            multiprocess_mode="livesum",
        )
        self._cache = Counter(
            "softverifier_cache_lookups",
            "Verdicts looked up, by tier and outcome",
            ["tier", "outcome"],
            registry=r,
        )
        self._redis = Counter(
            "softverifier_redis_events", "Failures and breaker changes", ["event"], registry=r
        )
        self._faults = Counter(
            "softverifier_model_faults", "Failed calls of a model", ["model", "kind"], registry=r
        )
        self._bound_items: dict[tuple[str, str, str], Counter] = {}
        self._bound_rewards: dict[tuple[str, str, str], Histogram] = {}
        self._bound_requests: dict[tuple[str, str], Counter] = {}
        self._bound_models: dict[str, tuple[Histogram, Histogram, Histogram, Gauge]] = {}
        self._bound_cache: dict[tuple[str, str], Counter] = {}
        self._bound_stages = {stage: self._stage.labels(stage) for stage in STAGES}

    def request(self, route: str, code: str) -> None:
        """Count one finished request."""
        bound = self._bound_requests.get((route, code))
        if bound is None:
            bound = self._bound_requests[route, code] = self._requests.labels(route, code)
        bound.inc()

    def stage(self, stage: str, seconds: float) -> None:
        """Observe the latency of one stage of one request."""
        self._bound_stages[stage].observe(seconds)

    def results(self, profile: str, run: str, split: str, results: Sequence[Result]) -> None:
        """Count items and observe the rewards of those that were scored (ok and invalid)."""
        histogram = self._reward_of(profile, run, split)
        counts: dict[tuple[str, str], int] = {}
        for result in results:
            key = (result.status, result.reason)
            counts[key] = counts.get(key, 0) + 1
            if result.reward is not None:
                histogram.observe(result.reward)
        for (status, reason), count in counts.items():
            bound = self._bound_items.get((profile, status, reason))
            if bound is None:
                bound = self._items.labels(profile, status, reason)
                self._bound_items[profile, status, reason] = bound
            bound.inc(count)

    def _reward_of(self, profile: str, run: str, split: str) -> Histogram:
        if run and run not in self._runs:
            if len(self._runs) < self._max_runs:
                self._runs.add(run)
            else:
                run = "other"
        if split not in ("", "train", "valid", "test", "id", "ood"):
            split = "other"
        bound = self._bound_rewards.get((profile, run, split))
        if bound is None:
            bound = self._reward.labels(profile, run, split)
            self._bound_rewards[profile, run, split] = bound
        return bound

    def model_call(self, model: str, queries: int, seconds: float) -> None:
        """Observe one call of a model: its batch size and its time."""
        bound = self._of_model(model)
        bound[0].observe(queries)
        bound[1].observe(seconds)

    def queue_wait(self, model: str, seconds: float) -> None:
        """Observe how long the oldest query of a batch waited."""
        self._of_model(model)[2].observe(seconds)

    def queue_depth(self, model: str, depth: int) -> None:
        """Set the number of queries that wait for a model."""
        self._of_model(model)[3].set(depth)

    def model_fault(self, model: str, kind: str) -> None:
        """Count a failed call: exception, length, non-finite."""
        self._faults.labels(model, kind).inc()

    def _of_model(self, model: str) -> tuple[Histogram, Histogram, Histogram, Gauge]:
        bound = self._bound_models.get(model)
        if bound is None:
            bound = (
                self._batch.labels(model),
                self._model.labels(model),
                self._wait.labels(model),
                self._depth.labels(model),
            )
            self._bound_models[model] = bound
        return bound

    def cache(self, tier: str, hits: int, misses: int) -> None:
        """Count lookups of one tier (``memory``, ``redis``, ``flight``)."""
        for outcome, count in (("hit", hits), ("miss", misses)):
            if count:
                bound = self._bound_cache.get((tier, outcome))
                if bound is None:
                    bound = self._cache.labels(tier, outcome)
                    self._bound_cache[tier, outcome] = bound
                bound.inc(count)

    def redis(self, event: str) -> None:
        """Count a Redis event: failure, opened, closed, dropped_write."""
        self._redis.labels(event).inc()

    def expose(self) -> bytes:
        """The exposition text; sums over workers if there are several."""
        if os.environ.get(MULTIPROCESS_VARIABLE):
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            return generate_latest(registry)
        return generate_latest(self.registry)
