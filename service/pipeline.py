"""The one path that every request takes: extract, plan, dedupe, cache, model, store, compose.

``score`` and ``predict`` are called by the front ends after parsing and before responding. Only
cache reads and models on their own thread await; with models that compute in the loop a whole
request runs without giving the loop away. Nothing calls back upstream.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from time import perf_counter

from service.batcher import Hosted
from service.cache import Key, Memory, RedisTier, Row
from service.columns import columns_of, verdicts_of, without_opinion
from service.errors import Conflict, DeadlineExceeded, NotFound, TooLarge, nearest
from service.guard import Outcome, outcomes
from service.metrics import Metrics
from service.models import ServedModels
from service.requests import NO_CONTEXT, BadItem, RunContext
from service.rewards.core import Answer, Item, Query, Reason, Result, Verdict
from service.rewards.profiles import Profile, pinned
from service.settings import Limits
from worldmodels.core import Queries, Status, Verdicts

_Asked = tuple[Query, Key, Hosted]


class Pipeline:
    """Everything that turns items into rewards; built once by ``app``.

    Args:
        profiles: recipes by name.
        models: the served models, warmed up.
        memory: verdicts in this process.
        redis: the shared tier, or None.
    """

    def __init__(
        self,
        *,
        profiles: Mapping[str, Profile],
        models: ServedModels,
        memory: Memory,
        redis: RedisTier | None,
        redis_always: bool,
        metrics: Metrics,
        limits: Limits,
    ):
        self.profiles = profiles
        self.models = models
        self.metrics = metrics
        self.limits = limits
        self.drained = asyncio.Event()
        self.waits = True
        """Whether a request may have to wait for a thread or for Redis; ``settle`` finds out."""
        self._memory = memory
        self._redis = redis
        self._redis_always = redis_always
        self._available: dict[str, Profile] = {}

    @property
    def draining(self) -> bool:
        """The server has been asked to stop; what still arrives is answered."""
        return self.drained.is_set()

    def settle(self) -> None:
        """Note, once models are warm and the Redis trip is measured, whether anything waits."""
        redis = self._redis
        self.waits = any(
            not model.inline or (redis is not None and self._pays(redis, model))
            for model in self.models
        )

    def drain(self) -> None:
        """Say that no new work is wanted: /readyz turns 503, streams end after their requests."""
        self.drained.set()

    def deadline(self, deadline_ms: float | None) -> float:
        """The moment (``time.monotonic``) by which a request must be answered."""
        longest = self.limits.deadline_ms
        wanted = longest if not deadline_ms or deadline_ms > longest else deadline_ms
        return time.monotonic() + wanted / 1000

    def profile(self, name: str) -> Profile:
        """The profile of that name, ``name@sha256:…`` to pin it, with its models served.

        Raises:
            NotFound: no such profile, or no served model that it needs. Conflict: another digest.
        """
        found = self._available.get(name)
        if found is not None:
            return found
        bare, digest = pinned(name)
        found = self.profiles.get(bare)
        if found is None:
            raise NotFound(
                f"unknown profile {bare!r}{nearest(bare, self.profiles)}", field="profile"
            )
        if digest is not None and digest != found.digest:
            raise Conflict(
                f"profile {bare!r} is {found.digest} here, the request pins {digest}; update the "
                "pin or run the server that has it",
                field="profile",
            )
        if found.lacks:
            raise NotFound(
                f"profile {bare!r} needs more than this server has: {'; '.join(found.lacks)}",
                field="profile",
            )
        self._require_models(found)
        self._available[name] = found
        return found

    def _require_models(self, profile: Profile) -> None:
        for selector, relation in profile.selectors:
            if not self.models.candidates(selector, relation):
                served = ", ".join(f"{m.name} ({m.spec.family})" for m in self.models) or "none"
                raise NotFound(
                    f"profile {profile.name!r} needs a world model ({selector}) for {relation!r}; "
                    f"served: {served}. Add one with --model DIR, or bind a served one under "
                    "[profiles.models]",
                    field="profile",
                )

    async def score(
        self,
        profile_name: str,
        items: Sequence[Item | BadItem],
        *,
        context: RunContext = NO_CONTEXT,
        deadline: float,
    ) -> tuple[Profile, list[Result]]:
        """Rewards for items, same order and length.

        Args:
            profile_name: recipe, possibly pinned.
            items: completions with their tasks; unreadable ones as ``BadItem``.
            context: labels for metrics.
            deadline: ``time.monotonic`` moment; rows not answered by then are DEADLINE errors.

        Raises:
            NotFound, Conflict: the profile. TooLarge: a completion over the server's limit.
            Overloaded: a queue is full. DeadlineExceeded: not a single item was answered in time.
        """
        profile = self.profile(profile_name)
        self._refuse_endless(items)
        metrics = self.metrics

        started = perf_counter()
        answers, plans, faults = self._read(profile, items)
        extracted = perf_counter()
        metrics.stage("extract", extracted - started)

        verdicts = await self._verdicts(plans, deadline) if any(plans) else {}
        decided = perf_counter()

        results = [
            faults[i]
            if i in faults or isinstance(item, BadItem)
            else profile.compose(item, answer, [verdicts[query] for query in plan])
            for i, (item, answer, plan) in enumerate(zip(items, answers, plans, strict=True))
        ]
        for result, plan in zip(results, plans, strict=True):
            if result.reward is None and result.message is None and plan:
                result.message = without_opinion(plan, verdicts)
        self._refuse_all_late(results, verdicts)
        metrics.stage("compose", perf_counter() - decided)
        metrics.results(profile.name, context.run, context.split, results)
        return profile, results

    def _refuse_endless(self, items: Sequence[Item | BadItem]) -> None:
        """No policy writes this much: something is wrong with the caller."""
        most = self.limits.max_completion_chars
        for i, item in enumerate(items):
            if not isinstance(item, BadItem):
                completion = item.completion
                if isinstance(completion, str) and len(completion) > most:
                    raise TooLarge(
                        f"items[{i}].completion: {len(completion)} characters, this server takes "
                        f"{most} (limits.max_completion_chars)",
                        field=f"items[{i}].completion",
                    )

    def _read(
        self, profile: Profile, items: Sequence[Item | BadItem]
    ) -> tuple[list[Answer], list[tuple[Query, ...]], dict[int, Result]]:
        """Stages 2 and 3: what each completion claims, and what to ask about it."""
        answers: list[Answer] = []
        plans: list[tuple[Query, ...]] = []
        faults: dict[int, Result] = {}
        nothing = Answer(Reason.BAD_ITEM)
        for i, item in enumerate(items):
            if isinstance(item, BadItem):
                faults[i] = profile.failed(item.id, Reason.BAD_ITEM, item.message)
            elif fault := profile.fault(item):
                faults[i] = profile.failed(item.id, *fault)
            else:
                answer = profile.read(item)
                answers.append(answer)
                plans.append(profile.queries(item) if answer.reason is Reason.OK else ())
                continue
            answers.append(nothing)
            plans.append(())
        return answers, plans, faults

    async def _verdicts(
        self, plans: Iterable[tuple[Query, ...]], deadline: float
    ) -> dict[Query, Verdict]:
        """Stages 4 to 8: every distinct query once, from the nearest place that knows."""
        started = perf_counter()
        verdicts: dict[Query, Verdict] = {}
        missing: list[_Asked] = []
        hits = 0
        for query in dict.fromkeys(query for plan in plans for query in plan):
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
                verdicts[query] = Verdict(Status.OK, *row, hosted.spec, True)
        self.metrics.cache("memory", hits, len(missing))
        if missing and self._redis is not None:
            missing = await self._from_redis(self._redis, missing, verdicts)
        looked = perf_counter()
        self.metrics.stage("lookup", looked - started)
        if missing:
            await self._from_models(missing, verdicts, deadline)
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
                verdicts[query] = Verdict(Status.OK, *row, hosted.spec, True)
        return [asked for asked in missing if asked[0] not in verdicts]

    def _pays(self, redis: RedisTier, hosted: Hosted) -> bool:
        """A model cheaper than the Redis trip is not cached there."""
        if self._redis_always:
            return True
        return redis.trip_s is not None and hosted.cost_s * 256 > redis.trip_s

    async def _from_models(
        self, missing: list[_Asked], verdicts: dict[Query, Verdict], deadline: float
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
                hosted.admit(keys, deadline)  # every model before any: refused work is not begun
                waiting.append((group, keys, queries))
        if not waiting:
            return
        answered = await asyncio.gather(
            *(group[0][2].ask(keys, queries, deadline) for group, keys, queries in waiting)
        )
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
                kept[key] = answer = Row(p, p0, uncertainty, raw)
                self._memory.put(key, answer)
            reason = Reason.DEADLINE if expired else None
            verdicts[query] = Verdict(status, p, p0, uncertainty, raw, hosted.spec, False, reason)
        if kept and self._redis is not None and self._pays(self._redis, hosted):
            self._redis.put_soon(kept)

    def _refuse_all_late(
        self, results: Sequence[Result], verdicts: Mapping[Query, Verdict]
    ) -> None:
        """504 where the deadline left nothing to return."""
        late = [r for r in results if r.reason == Reason.DEADLINE]
        if late and len(late) == len(results) and verdicts:
            raise DeadlineExceeded(
                "no item was answered within the deadline; allow more time or send fewer items",
                retry_after=1.0,
            )

    async def predict(
        self, model: str, queries: Queries, *, deadline: float
    ) -> tuple[Hosted, Verdicts]:
        """Ask one model directly, columns in, columns out.

        Raises:
            NotFound: unknown model. BadRequest: it does not offer the relation. DeadlineExceeded:
            a row was not answered in time. Overloaded.
        """
        hosted = self.models.offering(model, queries.relation)
        if hosted.inline:
            started = perf_counter()
            verdicts = hosted.ask_now(queries)
            self.metrics.stage("model", perf_counter() - started)
            return hosted, verdicts
        asked = {
            Query(model, queries.relation, *row): None
            for row in zip(queries.subjects, queries.objects, queries.contexts, strict=True)
        }
        found = await self._verdicts([tuple(asked)], deadline)
        rows = [
            found[Query(model, queries.relation, *row)]
            for row in zip(queries.subjects, queries.objects, queries.contexts, strict=True)
        ]
        if any(row.reason is Reason.DEADLINE for row in rows):
            raise DeadlineExceeded(
                f"model {model!r} did not answer all {len(rows)} rows within the deadline; allow "
                "more time or ask fewer rows",
                retry_after=1.0,
            )
        return hosted, verdicts_of(rows)
