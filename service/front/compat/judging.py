"""Samples to outcomes: every one with a finite number, and a flag that says whether it is a reward.

A sample without a reward (``abstain``, ``error``) is not the policy's doing. Failures that another
try may mend are tried again until the deadline; what is left earns a neutral value with
``sv_valid`` 0, never the floor: the mean of its group's rewards where the request shows the group,
else the run's ``neutral``, else the profile's (``service.rewards.neutral``). Both are constants, so
that the same completion never earns two numbers in one group: after division by the standard
deviation a difference of 1e-4 would be an advantage of one half. ``invalid`` is the policy's doing
and earns the profile's floor.

Limits: each try of an item is a line of the audit log; only ok and invalid count as scores.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import math
import re
import time
from collections.abc import Hashable, Iterable, Sequence
from typing import Final, NamedTuple

import structlog

from service.errors import (
    BadRequest,
    DeadlineExceeded,
    NotReady,
    OverLimit,
    Overloaded,
)
from service.front.compat.call import Options
from service.front.compat.labels import Sample
from service.pipeline import Pipeline
from service.requests import BadItem, RunContext
from service.rewards.core import RETRYABLE, Item, Reason, Result
from service.rewards.profiles import Profile

log = structlog.get_logger(__name__)

DECIMALS: Final = 6
FIRST_PAUSE_S: Final = 0.05
"""Before the second try; each later pause is twice as long."""
FIGURES: Final = ("sv_valid", "sv_weight", "sv_ok", "sv_invalid", "sv_abstain", "sv_error")
_PLAIN: Final = re.compile(r"[^0-9A-Za-z_]+")


class Outcome(NamedTuple):
    """What one sample earns."""

    reward: float
    """Finite; neutral where ``valid`` is False."""
    score: float
    """The reward's place in the profile's range, in [0,1]."""
    valid: bool
    """Whether the verifiers gave it; False: the trainer should leave the sample out if it can."""
    result: Result
    profile: Profile


async def judged(pipeline: Pipeline, samples: Sequence[Sample], options: Options) -> list[Outcome]:
    """What samples earn, same order and length.

    Raises:
        BadRequest: no profile is named; under ``refuse``, a sample that can never be judged.
        NotFound, Conflict: the profile. TooLarge: a completion. NotReady: under ``refuse``, a
        sample without a reward that another try may mend. OverLimit: the caller's key has asked
        enough, for longer than the deadline.
    """
    caller = options.caller
    await _admitted(pipeline, len(samples), options)
    try:
        return await _judged(pipeline, samples, options)
    except Exception:  # a fault of ours among them; not of a client who went away
        caller.refund(len(samples))
        raise


async def _admitted(pipeline: Pipeline, items: int, options: Options) -> None:
    """Charge the caller's key; wait for its rate within the deadline, as for anything else."""
    deadline = pipeline.deadline(options.deadline_ms)
    while True:
        try:
            await options.caller.charge(items)
        except OverLimit as error:
            pause = error.retry_after or 1.0
            if pipeline.draining or time.monotonic() + pause >= deadline:
                raise
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(pipeline.drained.wait(), pause)
        else:
            return


async def _judged(pipeline: Pipeline, samples: Sequence[Sample], options: Options) -> list[Outcome]:
    names = [options.profile or sample.profile for sample in samples]
    if None in names:
        raise BadRequest(
            "profile: not named; add ?profile=NAME to the URL, send the header "
            "x-softverifier-profile, or name it in the label",
            field="profile",
        )
    places: dict[tuple[str, RunContext], list[int]] = {}
    for place, (name, sample) in enumerate(zip(names, samples, strict=True)):
        places.setdefault((str(name), _context(sample, options)), []).append(place)
    deadline = pipeline.deadline(options.deadline_ms)
    asked = [
        _scored(pipeline, name, [samples[i].item for i in group], context, deadline)
        for (name, context), group in places.items()
    ]
    # Side by side, so that none waits while another tries again; nearly always it is one.
    scored = [await asked[0]] if len(asked) == 1 else await asyncio.gather(*asked)
    outcomes: dict[int, Outcome] = {}
    for group, (profile, results) in zip(places.values(), scored, strict=True):
        if options.refuse:
            _refuse(results)
        keys = [samples[i].group for i in group]
        levelled = _levelled(pipeline, profile, results, keys, options)
        outcomes |= zip(group, levelled, strict=True)
    return [outcomes[i] for i in range(len(samples))]


def figures(outcome: Outcome, options: Options) -> dict[str, float]:
    """Numbers for a trainer's log; the same keys for every sample of a run.

    Components are among them where the URL or header names the profile, since labels may name
    several. A component without a score is 0 of an invalid completion, else ½ with ``_valid`` 0.
    """
    result = outcome.result
    told = {"sv_valid": float(outcome.valid), "sv_weight": result.weight}
    for status in ("ok", "invalid", "abstain", "error"):
        told[f"sv_{status}"] = float(result.status == status)
    if options.profile is not None:
        for component in result.components:
            name = figure_of(component.name)
            absent = 0.0 if result.status == "invalid" else 0.5
            told[name] = absent if component.score is None else component.score
            told[f"{name}_valid"] = float(component.score is not None)
    return told


def names_of(pipeline: Pipeline, options: Options) -> list[str]:
    """The keys of ``figures`` where there is no sample to take them from.

    Raises:
        NotFound, Conflict: the profile.
    """
    names = list(FIGURES)
    if options.profile is not None:
        for part in pipeline.profile(options.profile).composition.parts:
            name = figure_of(part.judge.name)
            names += [name, f"{name}_valid"]
    return names


@functools.cache
def figure_of(component: str) -> str:
    """A component's name as a key that every logger takes: ``sv_perturbation_de``."""
    return "sv_" + _PLAIN.sub("_", component)


def neutral_of(pipeline: Pipeline, profile: Profile, options: Options) -> float:
    """What a sample earns that has no reward, where its group is not seen."""
    if options.neutral is not None:
        return options.neutral
    found = profile.neutral(pipeline.models.specs).value
    assert found is not None  # it hangs on served models alone, and the pipeline requires them
    return found


def why(outcome: Outcome) -> str:
    """Why a sample has no reward; "" where it has one."""
    if outcome.valid:
        return ""
    result = outcome.result
    return f"{result.reason}: {result.message}" if result.message else result.reason


def _context(sample: Sample, options: Options) -> RunContext:
    """Whose sample it is; a step of the URL or a header goes over the label's."""
    stated = options.context
    if sample.step is None or stated.step is not None:
        return stated
    return dataclasses.replace(stated, step=sample.step)


async def _scored(
    pipeline: Pipeline,
    name: str,
    items: Sequence[Item | BadItem],
    context: RunContext,
    deadline: float,
) -> tuple[Profile, list[Result]]:
    """Results, what another try may mend tried again until the deadline."""
    profile = pipeline.profile(name)
    results: dict[int, Result] = {}
    left, pause = list(range(len(items))), FIRST_PAUSE_S
    while left:
        asked = [items[i] for i in left]
        try:
            _, found = await pipeline.score(name, asked, context=context, deadline=deadline)
        except DeadlineExceeded as error:
            found = [_lost(profile, item, Reason.DEADLINE, error.message) for item in asked]
        except Overloaded as error:
            found = [_lost(profile, item, Reason.OVERLOADED, error.message) for item in asked]
        results |= zip(left, found, strict=True)
        left = [i for i in left if results[i].retryable]
        if not left or pipeline.draining or time.monotonic() + pause >= deadline:
            break
        with contextlib.suppress(TimeoutError):  # a server that drains waits no longer
            await asyncio.wait_for(pipeline.drained.wait(), pause)
        pause *= 2
    _warn(profile, results.values())
    return profile, [results[i] for i in range(len(items))]


def _lost(profile: Profile, item: Item | BadItem, reason: Reason, message: str) -> Result:
    result = profile.failed(item.id, reason, message)
    result.retryable = reason in RETRYABLE
    return result


def _levelled(
    pipeline: Pipeline,
    profile: Profile,
    results: Sequence[Result],
    groups: Sequence[Hashable],
    options: Options,
) -> list[Outcome]:
    """Outcomes; what has no reward gets its group's mean where the group is seen."""
    known: dict[Hashable, list[float]] = {}
    for result, group in zip(results, groups, strict=True):
        if result.reward is not None and group is not None:
            known.setdefault(group, []).append(result.reward)
    low, high = profile.range
    neutral: float | None = None
    outcomes = []
    for result, group in zip(results, groups, strict=True):
        reward = result.reward
        if reward is None:
            if neutral is None:
                neutral = neutral_of(pipeline, profile, options)
            rewards = known.get(group)
            reward = round(math.fsum(rewards) / len(rewards), DECIMALS) if rewards else neutral
        place = (reward - low) / (high - low) if high > low else 0.5
        score = round(min(max(place, 0.0), 1.0), DECIMALS)
        outcomes.append(Outcome(reward, score, result.reward is not None, result, profile))
    return outcomes


def _refuse(results: Sequence[Result]) -> None:
    for result in results:
        if result.reward is None:
            message = f"no reward ({result.reason}): {result.message or 'see the profile'}"
            if result.retryable:
                raise NotReady(message, retry_after=1.0)
            raise BadRequest(message)


_warned: Final[set[tuple[str, str]]] = set()


def _warn(profile: Profile, results: Iterable[Result]) -> None:
    """Say once for each profile and reason that samples go without a reward."""
    for result in results:
        known = (profile.name, result.reason)
        if result.reward is None and known not in _warned:
            _warned.add(known)
            log.warning(
                "samples go without a reward (said once; see the metric softverifier_items)",
                profile=profile.name,
                reason=result.reason,
                why=result.message,
            )
