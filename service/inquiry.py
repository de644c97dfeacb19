"""What world models say: every distinct query once, from the nearest place that knows.

Stages 4 to 8 of a request: dedupe, cache, model, store. Only cache reads and models on their own
thread await; where every model computes in the loop, nothing does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter

from service.batcher import Hosted
from service.cache import Key, Memory, RedisTier, Row
from service.columns import columns_of
from service.guard import Outcome, outcomes
from service.metrics import Metrics
from service.models import ServedModels
from service.requests import Priority
from service.rewards.core import Query, Reason, Verdict
from worldmodels.core import Status

_Asked = tuple[Query, Key, Hosted]


class Inquiry:
    """Puts questions to memory, to Redis and to the models, in this order.

    Args:
        models: the served models, warmed up.
        memory: verdicts in this process.
        redis: the shared tier, or None.
        redis_always: ask it even for models that are quicker than the trip.
    """

    def __init__(
        self,
        models: ServedModels,
        memory: Memory,
        redis: RedisTier | None,
        metrics: Metrics,
        *,
        redis_always: bool,
    ):
        self.models = models
        self.metrics = metrics
        self._memory = memory
        self._redis = redis
        self._redis_always = redis_always

    def waits_for(self, model: Hosted) -> bool:
        """Whether asking this model may mean to wait, for its thread or for Redis."""
        redis = self._redis
        return not model.inline or (redis is not None and self._pays(redis, model))

    async def verdicts(
        self,
        plans: Sequence[tuple[Query, ...]],
        deadline: float,
        priority: Priority = Priority.TRAIN,
    ) -> dict[Query, Verdict]:
        """Stages 4 to 8: every distinct query once, from the nearest place that knows."""
        started = perf_counter()
        verdicts: dict[Query, Verdict] = {}
        missing: list[_Asked] = []
        hits = 0
        different = {id(plan): plan for plan in plans}.values()  # groups share theirs
        for query in dict.fromkeys(query for plan in different for query in plan):
            hosted = self.models.route(query.model, query.relation, query.context)
            if hosted is None:
                verdicts[query] = self._unanswerable(query)
                continue
            key = Key(hosted.tag, *query[1:])
            row = self._memory.get(key)
            if row is None:
                missing.append((query, key, hosted))
            else:
                hits += 1
                verdicts[query] = Verdict(*row, hosted.spec, True)
        self.metrics.cache("memory", hits, len(missing))
        if missing and self._redis is not None:
            missing = await self._from_redis(self._redis, missing, verdicts)
        looked = perf_counter()
        self.metrics.stage("lookup", looked - started)
        if missing:
            await self._from_models(missing, verdicts, deadline, priority)
            self.metrics.stage("model", perf_counter() - looked)
        return verdicts

    def _unanswerable(self, query: Query) -> Verdict:
        """Why no served model is asked: there is none of the kind, or none for the context."""
        if self.models.candidates(query.model, query.relation):
            return Verdict(Status.OUT_OF_DISTRIBUTION)
        return Verdict(Status.MODEL_ERROR, reason=Reason.NO_MODEL)

    async def _from_redis(
        self, redis: RedisTier, missing: list[_Asked], verdicts: dict[Query, Verdict]
    ) -> list[_Asked]:
        """One MGET for what the models would take longer over; what is left to ask."""
        worth = [asked for asked in missing if self._pays(redis, asked[2])]
        if not worth:
            return missing
        found = await redis.get_many([key for _, key, _ in worth])
        for query, key, hosted in worth:
            row = found.get(key)
            if row is not None:
                self._memory.put(key, row)
                verdicts[query] = Verdict(*row, hosted.spec, True)
        return [asked for asked in missing if asked[0] not in verdicts]

    def _pays(self, redis: RedisTier, hosted: Hosted) -> bool:
        """A model cheaper than the Redis trip is not cached there."""
        if self._redis_always:
            return True
        return redis.trip_s is not None and hosted.cost_s * 256 > redis.trip_s

    async def _from_models(
        self,
        missing: list[_Asked],
        verdicts: dict[Query, Verdict],
        deadline: float,
        priority: Priority,
    ) -> None:
        """One submission per model and relation; cheap models answer in place."""
        groups: dict[tuple[str, str], list[_Asked]] = {}
        for asked in missing:
            groups.setdefault((asked[2].name, asked[0].relation), []).append(asked)
        waiting = []
        for group in groups.values():
            hosted = group[0][2]
            queries = columns_of([query for query, _, _ in group])
            if hosted.inline:
                self._store(group, outcomes(hosted.ask_now(queries)), verdicts)
            else:
                keys = [key for _, key, _ in group]
                hosted.admit(
                    keys, deadline, priority
                )  # every model before any: refused work is not begun
                waiting.append((group, keys, queries))
        if not waiting:
            return
        asking = [
            group[0][2].ask(keys, queries, deadline, priority) for group, keys, queries in waiting
        ]
        # A single one begins here and now: nobody is admitted between its admission and its queue.
        answered = [await asking[0]] if len(asking) == 1 else await asyncio.gather(*asking)
        for (group, _, _), rows in zip(waiting, answered, strict=True):
            self._store(group, rows, verdicts)

    def _store(
        self, group: list[_Asked], rows: Sequence[Outcome], verdicts: dict[Query, Verdict]
    ) -> None:
        """Note the verdicts; keep those that are answers."""
        hosted = group[0][2]
        kept: dict[Key, Row] = {}
        for (query, key, _), row in zip(group, rows, strict=True):
            status, p, p0, uncertainty, raw, expired = row
            if p is not None:
                kept[key] = answer = Row(status, p, p0, uncertainty, raw)
                self._memory.put(key, answer)
            reason = Reason.DEADLINE if expired else None
            verdicts[query] = Verdict(status, p, p0, uncertainty, raw, hosted.spec, False, reason)
        if kept and self._redis is not None and self._pays(self._redis, hosted):
            self._redis.put_soon(kept)
