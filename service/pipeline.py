"""The one path that every request takes: extract, plan, ask, carry out, compose.

``score`` and ``predict`` are called by the front ends after parsing and before responding. Only
world models on their own thread, Redis and work in other processes are awaited; a request that
needs none of them (``waits_for``) runs without giving the loop away. Nothing calls back upstream.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Final

from service.audit import Audit
from service.batcher import Hosted
from service.canaries import Watched
from service.columns import verdicts_of
from service.control import Process
from service.errors import Conflict, DeadlineExceeded, NotFound, TooLarge, nearest
from service.inquiry import Inquiry
from service.metrics import Metrics, splits_of
from service.models import ServedModels
from service.questions import Questions
from service.remarks import unannotated, unfinished, without_opinion
from service.requests import NO_CONTEXT, BadItem, Priority, RunContext, priority_of, refuse_labels
from service.rewards.core import Answer, Finding, Item, Query, Reason, Result, Work
from service.rewards.profiles import NO_FINDINGS, Profile, pinned
from service.rolling import Roller
from service.settings import Limits
from service.trends import Trends
from service.workshop import Workshop
from worldmodels.core import Queries, Verdicts

NOTHING_DONE: Final[Mapping[int, Mapping[int, Finding]]] = {}


class Pipeline:
    """Everything that turns items into rewards; built once by ``app``.

    Args:
        profiles: recipes by name.
        inquiry: what asks the served models.
        workshop: what carries out work.
        audit: where what was scored is logged; None: nowhere.
        canaries: items whose reward must not change, or None.
    """

    def __init__(
        self,
        *,
        profiles: Mapping[str, Profile],
        inquiry: Inquiry,
        workshop: Workshop,
        limits: Limits,
        audit: Audit | None = None,
        canaries: Watched | None = None,
    ):
        self.profiles = profiles
        self.workshop = workshop
        self.limits = limits
        self.audit = audit
        self.canaries = canaries
        self.roller: Roller | None = None  # what replaces models; None where nothing does
        self.admin = False  # whether routes that change the server are answered
        self.standing: Callable[[], Sequence[Process]] = tuple  # of this server; none if single
        self.drained = asyncio.Event()
        self._inquiry = inquiry
        self._trends = Trends(inquiry.metrics)
        self._available: dict[str, Profile] = {}
        self._waits: dict[str, bool] = {}

    @property
    def models(self) -> ServedModels:
        """The served models."""
        return self._inquiry.models

    @property
    def metrics(self) -> Metrics:
        """The series of this process."""
        return self._inquiry.metrics

    @property
    def draining(self) -> bool:
        """The server has been asked to stop; what still arrives is answered."""
        return self.drained.is_set()

    def settle(self) -> None:
        """Find out anew what waits and what is served: models or the Redis trip have changed."""
        self._waits.clear()
        self._available.clear()

    def waits_for(self, profile: str = "", model: str = "") -> bool:
        """Whether a request for a profile or to a model (neither: to any) may have to wait.

        Not for what does not exist: the answer to that is known at once.
        """
        name = profile or model
        known = self._waits.get(name)
        if known is None:
            known = self._profile_waits(profile) if profile else self._any_waits({model or "*"})
            if len(self._waits) > 1000:  # names come from requests: do not let them pile up
                self._waits.clear()
            self._waits[name] = known
        return known

    def _profile_waits(self, name: str) -> bool:
        found = self.profiles.get(pinned(name)[0])
        if found is None:
            return False
        asked = {*found.models, *(selector for selector, _ in found.selectors)}
        return bool(found.laborious) or self._any_waits(asked)

    def _any_waits(self, selectors: set[str]) -> bool:
        fit = (model for selector in selectors for model in self.models.fitting(selector))
        return any(self._inquiry.waits_for(model) for model in fit)

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
                if "@" in selector and self.models.versions(selector.partition("@")[0]):
                    self.models.named(selector)  # another version than the pinned one: says so
                served = ", ".join(f"{m.name} ({m.spec.family})" for m in self.models) or "none"
                raise NotFound(
                    f"profile {profile.name!r} needs a world model ({selector}) for {relation!r}; "
                    f"served: {served}. Add one with --model DIR, or bind a served one under "
                    "[profiles.models]",
                    field="profile",
                )
        self._require_cards(profile)

    def _require_cards(self, profile: Profile) -> None:
        """A profile that answers what cards prove is not served as if it answered everything."""
        for part in profile.composition.parts:
            for selector, relation in part.judge.selectors if part.judge.carded else ():
                fit = self.models.candidates(selector, relation)
                if not any(model.spec.reliability.get(relation) for model in fit):
                    names = ", ".join(model.name for model in fit)
                    raise NotFound(
                        f"profile {profile.name!r} answers only the share of questions (coverage) "
                        f"that a model's card proves reliable, and {names} has no card that says "
                        f"so of {relation!r}; make one from held-out rows with soft-verifier card "
                        "MODEL --data FILE",
                        field="profile",
                    )

    async def score(
        self,
        profile_name: str,
        items: Sequence[Item | BadItem],
        *,
        context: RunContext = NO_CONTEXT,
        deadline: float,
        request_id: str = "",
        sizes: Sequence[int] = (),
    ) -> tuple[Profile, list[Result]]:
        """Rewards for items, same order and length.

        Args:
            profile_name: recipe, possibly pinned.
            items: completions with their tasks; unreadable ones as ``BadItem``.
            context: labels for metrics and the audit log.
            deadline: ``time.monotonic`` moment; rows not answered by then are DEADLINE errors.
            request_id: the caller's name of the request, for the audit log.
            sizes: items of each request where several are judged together, for the audit log.

        Raises:
            NotFound, Conflict: the profile. TooLarge: a completion over the server's limit, a label
            over ``LABEL_CHARS``.
            Overloaded: a queue is full. DeadlineExceeded: not a single item was answered in time.
        """
        profile = self.profile(profile_name)
        self._refuse_endless(items)
        refuse_labels(context, request_id)
        metrics = self.metrics
        started = perf_counter()
        answers, plans, faults = self._read(profile, items)
        extracted = perf_counter()
        metrics.stage("extract", extracted - started)
        splits = splits_of(items, context)
        priority = priority_of(splits)
        verdicts = await self._inquiry.verdicts(plans, deadline, priority) if any(plans) else {}
        found = NOTHING_DONE
        if profile.laborious:
            found = await self._carry_out(profile, items, answers, faults, deadline, priority)
        decided = perf_counter()

        results = [
            faults[i]
            if i in faults or isinstance(item, BadItem)
            else profile.compose(
                item, answer, [verdicts[query] for query in plan], found.get(i, NO_FINDINGS)
            )
            for i, (item, answer, plan) in enumerate(zip(items, answers, plans, strict=True))
        ]
        for result, plan, item in zip(results, plans, items, strict=True):
            if result.reward is None and result.message is None and not isinstance(item, BadItem):
                said = (without_opinion(plan, verdicts), unannotated(profile, item, result))
                result.message = "; ".join(filter(None, said)) or None
        for i, findings in found.items():
            results[i].message = results[i].message or unfinished(
                profile, findings, self.workshop.budget_ms
            )
        self._refuse_all_late(results, bool(verdicts or found))
        metrics.stage("compose", perf_counter() - decided)
        metrics.results(profile.name, context.run, splits, results)
        self._trends.note(profile, context.run, items, results)
        if self.audit is not None:
            self.audit.record(profile, context, items, results, request_id, sizes)
        return profile, results

    async def _carry_out(
        self,
        profile: Profile,
        items: Sequence[Item | BadItem],
        answers: Sequence[Answer],
        faults: Mapping[int, Result],
        deadline: float,
        priority: Priority,
    ) -> Mapping[int, Mapping[int, Finding]]:
        """What came of the works of each item that has any, by the item's index."""
        started = perf_counter()
        plans: dict[int, dict[int, Work]] = {}
        for i, (item, answer) in enumerate(zip(items, answers, strict=True)):
            if i not in faults and not isinstance(item, BadItem):
                plans[i] = profile.works(item, answer)
        wanted = [work for plan in plans.values() for work in plan.values()]
        if not wanted:
            return NOTHING_DONE
        done = await self.workshop.carry_out(wanted, deadline, priority)
        self.metrics.stage("work", perf_counter() - started)
        return {
            i: {part: done[work] for part, work in plan.items()}
            for i, plan in plans.items()
            if plan
        }

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
        nothing, questions = Answer(Reason.BAD_ITEM), Questions(profile)
        for i, item in enumerate(items):
            if isinstance(item, BadItem):
                faults[i] = profile.failed(item.id, Reason.BAD_ITEM, item.message)
            elif fault := profile.fault(item):
                faults[i] = profile.failed(item.id, *fault)
            else:
                answer = profile.read(item)
                answers.append(answer)
                plans.append(questions.of(item) if answer.reason is Reason.OK else ())
                continue
            answers.append(nothing)
            plans.append(())
        return answers, plans, faults

    def _refuse_all_late(self, results: Sequence[Result], waited: bool) -> None:
        """504 where the deadline left nothing to return."""
        late = [r for r in results if r.reason == Reason.DEADLINE]
        if late and len(late) == len(results) and waited:
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
        asked = [
            Query(model, queries.relation, *row)
            for row in zip(queries.subjects, queries.objects, queries.contexts, strict=True)
        ]
        found = await self._inquiry.verdicts([tuple(asked)], deadline)
        rows = [found[query] for query in asked]
        if any(row.reason is Reason.DEADLINE for row in rows):
            raise DeadlineExceeded(
                f"model {model!r} did not answer all {len(rows)} rows within the deadline; allow "
                "more time or ask fewer rows",
                retry_after=1.0,
            )
        return hosted, verdicts_of(rows)
