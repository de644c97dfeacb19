"""Every series that the service exposes; the only module that declares one.

Stage latencies are per pass through the pipeline, not per item; requests that arrive together
share a pass. What is counted in them, and when, is ``metrics``.
"""

from __future__ import annotations

from typing import Final

from service.series import Series

_SECONDS: Final = (
    *(m * 10.0**e for e in range(-5, 0) for m in (1.0, 2.5, 5.0)),
    1.0,
    2.5,
    5.0,
    10.0,
)
_REWARDS: Final = (*(i / 20 for i in range(21)), 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
_BATCHES: Final = tuple(2.0**i for i in range(15))


class Catalogue:
    """The series of one process, at nothing yet."""

    def __init__(self) -> None:
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
        self._retries = Series(
            "counter",
            "model_retries",
            "Queries asked once more, since the model host that had them died",
            ("model",),
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
        self._hangs = Series(
            "counter",
            "process_hangs",
            "Workers and model hosts that were killed because their event loop stood still",
            ("role",),
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
