"""From what the server said of each completion to what a trainer can take.

``ok`` and ``invalid`` have a number, and it is handed on as it is: an invalid completion is the
policy's doing and earns the floor. ``abstain``, ``error`` and an outage have none. What stands in
for it decides what is learned, so it is never 0 and never a guess of this code's own:

    None            where the trainer leaves such samples out                    ``masked``
    group's mean    of the numbers that the same group has: advantage 0          ``levelled``
    neutral         where no group is seen: the configured number, else the profile's own, a
                    constant that the server states (``Scorer.neutral``)
    NoReward        raised where on_failure is ``raise``, or the trainer is better off without
"""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

from softverifier.errors import NoReward, SoftVerifierError
from softverifier.rewards import Reward
from softverifier.trainers.recipes import Recipe, figure_of

DIGITS = 6
"""A mean is rounded so that it does not depend on the order of summation."""


def masked(rewards: Sequence[Reward]) -> list[float | None]:
    """For trainers that leave out what is None."""
    return [reward.reward for reward in rewards]


def levelled(
    rewards: Sequence[Reward], groups: Sequence[Hashable], neutral: float | None
) -> list[float]:
    """A number for each, the group's mean where there is none.

    Args:
        rewards: what came back.
        groups: the group of each; completions of one prompt share it.
        neutral: for groups without any number; None: raise.

    Raises:
        NoReward: there is a group without any number and no neutral one.
    """
    known: dict[Hashable, list[float]] = {}
    for reward, group in zip(rewards, groups, strict=True):
        if reward.reward is not None:
            known.setdefault(group, []).append(reward.reward)
    numbers = []
    for reward, group in zip(rewards, groups, strict=True):
        number = reward.reward
        if number is None:
            seen = known.get(group)
            number = round(sum(seen) / len(seen), DIGITS) if seen else neutral
        if number is None:
            raise no_reward(reward)
        numbers.append(number)
    return numbers


def no_reward(reward: Reward) -> NoReward:
    """Why there is none and what to do."""
    why = f": {reward.message}" if reward.message else ""
    return NoReward(
        f"no reward ({reward.status}, {reward.reason}){why}. To go on with a number of your own, "
        "set SOFT_VERIFIER_NEUTRAL (and SOFT_VERIFIER_ON_FAILURE=neutral)"
    )


@contextlib.contextmanager
def unswallowed() -> Iterator[None]:
    """For callers that make 0.0 of an exception: what should end the run does.

    Raises:
        SystemExit: where a ``SoftVerifierError`` would have been raised; with its message.
    """
    try:
        yield
    except SoftVerifierError as error:
        raise SystemExit(f"soft-verifier: {error}") from error


def figures(reward: Reward, given: float, recipe: Recipe) -> dict[str, float]:
    """What a trainer may log of one sample: the same keys always, every value a finite number.

    A component without a score of its own shows what the sample was given (the floor, or what
    stood in), so that no average is dragged to 0; ``sv_valid`` is 1 where the server gave the
    number, 0 where it was stood in for.
    """
    found = dict.fromkeys(recipe.figures, float(given))
    found["sv_valid"] = 0.0 if reward.reward is None else 1.0
    found["sv_weight"] = float(reward.weight) if reward.reward is not None else 0.0
    for part in reward.components:
        key = figure_of(part.name)
        if part.score is not None and key in found:
            found[key] = float(part.score)
    return found


def shares(rewards: Sequence[Reward]) -> dict[str, float]:
    """The share of each status, the same keys always; {} only for an empty batch."""
    if not rewards:
        return {}
    count = len(rewards)
    return {
        f"sv_{status}": sum(one.status == status for one in rewards) / count
        for status in ("ok", "invalid", "abstain", "error")
    }


def component_means(rewards: Sequence[Reward], recipe: Recipe) -> dict[str, float | None]:
    """The mean score of each component over those that have one; None if none has."""
    found: dict[str, Any] = {figure_of(name): [] for name in recipe.components}
    for reward in rewards:
        for part in reward.components:
            if part.score is not None and figure_of(part.name) in found:
                found[figure_of(part.name)].append(part.score)
    return {key: sum(seen) / len(seen) if seen else None for key, seen in found.items()}
