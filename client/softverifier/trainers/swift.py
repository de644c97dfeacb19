"""ms-swift, run at 4.6: an external plugin.

    swift rlhf --rlhf_type grpo --external_plugins "$(softverifier path swift)" \
        --reward_funcs soft_verifier …

The file registers ``soft_verifier`` among swift's rewards; it lies in a folder of its own, because
swift puts a plugin's folder on ``sys.path``. All local samples come in one call, with every column.

    ok, invalid      the number
    abstain, error   the group's mean: swift makes a row of nothing but None a 0. NoReward, which
                     ends the run, where a group has no number at all, unless SOFT_VERIFIER_NEUTRAL
                     is set
    outage           as error, after the deadline

Groups are what ``prompt_id`` says, else samples with the same messages before the answer.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from softverifier.rewards import Reward
from softverifier.trainers.configuration import configured
from softverifier.trainers.outcomes import component_means, levelled, shares
from softverifier.trainers.rows import group_of, item_of, label_in, rows_of
from softverifier.trainers.scorer import LOG, scorer_of


class SoftVerifier:
    """The reward as swift calls it; ``orm`` mixes it with swift's class.

    Args:
        args: swift's arguments, unread.
        options: of ``Configuration``, instead of the environment.
    """

    def __init__(self, args: Any = None, **options: Any) -> None:
        self.args = args
        self.scorer = scorer_of(configured(**options), "ms-swift")

    async def __call__(self, completions: Sequence[Any], **columns: Any) -> list[float]:
        """A number for each, same order and length. Raises as ``scorer`` says."""
        kind = (await self.scorer.arecipe()).task_type
        prompts = _prompts(columns, len(completions))
        rows = rows_of(columns, len(completions))
        items = [
            item_of(row, completion, label=label_in(row), prompt=prompt, task_type=kind)
            for row, completion, prompt in zip(rows, completions, prompts, strict=True)
        ]
        rewards = await self.scorer.ascore(items, _context(columns))
        self._tell(rewards)
        groups = _groups(columns, prompts)
        return levelled(rewards, groups, self.scorer.configuration.neutral)

    def _tell(self, rewards: Sequence[Reward]) -> None:
        """Figures to our own log: swift gives a reward none."""
        means = component_means(rewards, self.scorer.recipe)
        LOG.info("soft-verifier: %s", {**shares(rewards), **means})


def _prompts(columns: dict[str, Any], count: int) -> list[Any]:
    messages = columns.get("messages")
    if not isinstance(messages, Sequence) or len(messages) != count:
        return [None] * count
    return [_before_answer(one) for one in messages]


def _before_answer(messages: Any) -> Any:
    """The messages that were asked; swift appends the completion to them."""
    said = list(messages)
    return said[:-1] if said and said[-1].get("role") == "assistant" else said


def _groups(columns: dict[str, Any], prompts: Sequence[Any]) -> list[Hashable]:
    stated = columns.get("prompt_id")
    if isinstance(stated, Sequence) and len(stated) == len(prompts):
        return list(stated)
    # Without a prompt nothing says who belongs together: each stands alone.
    return [at if one is None else group_of(one) for at, one in enumerate(prompts)]


def _context(columns: dict[str, Any]) -> dict[str, Any] | None:
    step = getattr(columns.get("trainer_state"), "global_step", None)
    return {"step": step} if isinstance(step, int) and step >= 0 else None


def register(name: str = "soft_verifier", **options: Any) -> Any:
    """Put the reward among swift's own under a name; returns the class that was put there."""
    try:
        from swift.rewards import (  # type: ignore[import-not-found,unused-ignore]
            AsyncORM,
            orms,
        )
    except ImportError:  # before 4.0
        from swift.plugin import (  # type: ignore[import-not-found,unused-ignore]
            AsyncORM,
            orms,
        )

    def __init__(self: Any, args: Any = None, **more: Any) -> None:
        SoftVerifier.__init__(self, args, **options)

    orms[name] = type("SoftVerifierORM", (SoftVerifier, AsyncORM), {"__init__": __init__})
    return orms[name]
