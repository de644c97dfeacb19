"""slime and miles, one sample or a group, read in August 2026.

    --custom-rm-path softverifier.trainers.slime.reward
    --custom-rm-path softverifier.trainers.slime.reward --group-rm

``reward(args, sample)`` gives a number, ``reward(args, [samples])`` a list; with ``--reward-key K``
each is an object whose ``K`` is the number, and whose other keys are the components. The task is
read from ``label`` (an object or JSON text) and the counted columns of ``metadata``. The
components are left in ``sample.metadata["soft_verifier"]`` as well.

    ok, invalid      the number
    abstain, error   the group's mean where a group is seen, else the neutral number; sv_valid 0;
                     NoReward (the rollout dies) with on_failure=raise
    outage           as error, after the deadline
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from softverifier.trainers.outcomes import figures
from softverifier.trainers.rows import group_of, item_of
from softverifier.trainers.scorer import scorer_named


async def reward(args: Any, sample: Any, **options: Any) -> Any:
    """The reward of a sample, or the rewards of a list of them. Raises as ``scorer`` says."""
    scorer = scorer_named("slime")
    recipe = await scorer.arecipe()
    samples = list(sample) if isinstance(sample, Sequence) else [sample]
    items = [_item(one, recipe.task_type) for one in samples]
    rewards = await scorer.ascore(items, _context(args, options))
    numbers = scorer.numbers(rewards, [_group(one) for one in samples])
    key = getattr(args, "reward_key", None)
    found: list[Any] = []
    for one, given, number in zip(samples, rewards, numbers, strict=True):
        shown = figures(given, number, recipe)
        if isinstance(getattr(one, "metadata", None), dict):
            one.metadata["soft_verifier"] = {
                "status": given.status,
                "reason": given.reason,
                **shown,
            }
        found.append({**shown, key: number} if key else number)
    return found if isinstance(sample, Sequence) else found[0]


async def group_reward(args: Any, samples: Sequence[Any], **options: Any) -> list[Any]:
    """``reward`` of a group, for those who want it by a name of its own."""
    found: list[Any] = await reward(args, list(samples), **options)
    return found


def _item(sample: Any, kind: str | None) -> dict[str, Any]:
    metadata = getattr(sample, "metadata", None)
    columns = metadata if isinstance(metadata, Mapping) else {}
    return item_of(
        columns, sample.response, label=sample.label, prompt=sample.prompt, task_type=kind
    )


def _group(sample: Any) -> Any:
    index = getattr(sample, "group_index", None)
    return group_of(sample.prompt) if index is None else index


def _context(args: Any, options: Mapping[str, Any]) -> dict[str, Any] | None:
    step = getattr(args, "rollout_id", None)
    found: dict[str, Any] = {"step": step} if isinstance(step, int) and step >= 0 else {}
    if options.get("evaluation"):
        found["split"] = "eval"
    return found or None
