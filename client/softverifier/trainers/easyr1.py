"""EasyR1, read in July 2026.

    worker.reward.reward_function="$(softverifier path easyr1):compute_score"

The whole batch comes in one call, as ``{response, response_length, ground_truth}``; there is no
prompt. ``ground_truth`` holds the task as an object or JSON text; samples with the same one are a
group.

    ok, invalid      the number
    abstain, error   the group's mean, else the neutral number, and ``sv_valid`` 0; NoReward, which
                     ends the run, with on_failure=raise
    outage           as error, after the deadline

Every sample has the same keys: ``overall``, ``sv_valid``, ``sv_weight``, one for each component.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from softverifier.trainers.outcomes import figures
from softverifier.trainers.rows import group_of, item_of
from softverifier.trainers.scorer import scorer_named

REWARD_NAME: Final = "soft_verifier"
REWARD_TYPE: Final = "batch"


def compute_score(
    reward_inputs: Sequence[Mapping[str, Any]], **options: Any
) -> list[dict[str, float]]:
    """Scores of a batch, same order and length. Raises as ``scorer`` says."""
    scorer = scorer_named("easyr1", **options)
    recipe = scorer.recipe
    truths = [row.get("ground_truth") for row in reward_inputs]
    items = [
        item_of({}, row.get("response"), label=truth, task_type=recipe.task_type)
        for row, truth in zip(reward_inputs, truths, strict=True)
    ]
    rewards = scorer.score(items)
    numbers = scorer.numbers(rewards, [group_of(truth) for truth in truths])
    return [
        {"overall": number, **figures(reward, number, recipe)}
        for reward, number in zip(rewards, numbers, strict=True)
    ]
