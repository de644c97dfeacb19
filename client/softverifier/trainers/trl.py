"""TRL: GRPO, RLOO and AsyncGRPO, as of 1.16.

    trl grpo --reward_funcs softverifier.trainers.trl.reward …

    from softverifier.trainers.trl import RewardFunction
    trainer = GRPOTrainer(reward_funcs=[RewardFunction(profile="rbio-mlp")], …)

TRL hands every column of the data set as a list; ``rows`` says which count. Completions are texts
or messages, all samples of one rank in one call.

    ok, invalid      the number
    abstain, error   None: TRL leaves the sample out; before 1.6, which let a row of None through
                     as NaN, the group's mean, else NoReward is raised
    outage           as error, after ``SOFT_VERIFIER_DEADLINE`` seconds: the run goes on

Soft rewards lose their softness under the default normalisation: use ``scale_rewards=False``.

Logs: ``log_extra`` gets the columns ``sv_status``, ``sv_answer`` and one for each component,
``log_metric`` the share of each status and each component's mean; AsyncGRPO offers neither. A
mean of nothing is left out; TRL before 1.16, where all ranks must log the same keys, is given the
last one.

TRL looks for ``async def``; ``reward_async`` is one, ``RewardFunction`` blocks. AsyncGRPO pickles
reward functions for its rollout process: all of these can be.

Limits: two profiles in one run are rewards of their own, but share one name in TRL's log, where
their figures are averaged and the completions table shows the later one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from softverifier.rewards import Reward
from softverifier.trainers.configuration import configured
from softverifier.trainers.outcomes import component_means, figures, levelled, masked, shares
from softverifier.trainers.rows import group_of, item_of, label_in, rows_of
from softverifier.trainers.scorer import Scorer, scorer_of


class RewardFunction:
    """What ``reward_funcs`` takes: called with lists, gives a number or None for each.

    Args:
        none: whether a missing number is None; by default as the installed TRL can bear.
        options: of ``Configuration``, instead of the environment.
    """

    __name__ = "soft_verifier"
    """TRL names its metrics after it."""

    def __init__(self, *, none: bool | None = None, **options: Any) -> None:
        self.scorer = scorer_of(configured(**options), "trl")
        self.none = none

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[float | None]:
        """Rewards, same order and length. Raises ``SoftVerifierError`` as ``scorer`` says."""
        task_type = self.scorer.recipe.task_type
        items = _items(prompts, completions, columns, task_type)
        rewards = self.scorer.score(items, _context(columns))
        return _given(self.scorer, rewards, prompts, columns, self.none)

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (self.scorer, self.none)


def _remade(scorer: Scorer, none: bool | None) -> RewardFunction:
    made = RewardFunction.__new__(RewardFunction)
    made.scorer, made.none = scorer, none
    return made


def reward_function(*, none: bool | None = None, **options: Any) -> Callable[..., Any]:
    """The same as ``RewardFunction``, as an ``async def``: several reward functions run at once."""
    return _Awaited(soft_verifier, scorer_of(configured(**options), "trl"), none)


class _Awaited(functools.partial[Any]):
    """TRL takes it for the ``async def`` that it is; unlike a closure it can be pickled."""

    __name__ = "soft_verifier"


async def soft_verifier(
    scorer: Scorer,
    none: bool | None,
    prompts: Sequence[Any],
    completions: Sequence[Any],
    **columns: Any,
) -> list[float | None]:
    """What ``reward_function`` makes, its first two arguments given; TRL logs by this name."""
    task_type = (await scorer.arecipe()).task_type
    items = _items(prompts, completions, columns, task_type)
    rewards = await scorer.ascore(items, _context(columns))
    return _given(scorer, rewards, prompts, columns, none)


def reward(
    prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
) -> list[float | None]:
    """For ``--reward_funcs softverifier.trainers.trl.reward``, configured by environment."""
    return _from_environment()(prompts, completions, **columns)


async def reward_async(
    prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
) -> list[float | None]:
    """The same as an ``async def``."""
    found: list[float | None] = await _async_from_environment()(prompts, completions, **columns)
    return found


@functools.cache
def _from_environment() -> RewardFunction:
    return RewardFunction()


@functools.cache
def _async_from_environment() -> Callable[..., Any]:
    return reward_function()


def _items(
    prompts: Sequence[Any], completions: Sequence[Any], columns: dict[str, Any], kind: str | None
) -> list[dict[str, Any]]:
    rows = rows_of(columns, len(completions))
    return [
        item_of(row, completion, label=label_in(row), prompt=prompt, task_type=kind)
        for row, completion, prompt in zip(rows, completions, prompts, strict=True)
    ]


def _context(columns: dict[str, Any]) -> dict[str, Any] | None:
    step = getattr(columns.get("trainer_state"), "global_step", None)
    return {"step": step} if isinstance(step, int) and step >= 0 else None


def _given(
    scorer: Scorer,
    rewards: Sequence[Reward],
    prompts: Sequence[Any],
    columns: dict[str, Any],
    none: bool | None,
) -> list[float | None]:
    _log(scorer, rewards, columns)
    if bears_none() if none is None else none:
        return masked(rewards)
    return list(levelled(rewards, [group_of(p) for p in prompts], scorer.configuration.neutral))


def _log(scorer: Scorer, rewards: Sequence[Reward], columns: dict[str, Any]) -> None:
    log_extra, log_metric = columns.get("log_extra"), columns.get("log_metric")
    if callable(log_extra):
        log_extra("sv_status", [one.status for one in rewards])
        log_extra("sv_answer", [one.answer or "" for one in rewards])
        floor = scorer.recipe.floor
        shown = [
            figures(one, floor if one.reward is None else one.reward, scorer.recipe)
            for one in rewards
        ]
        for key in scorer.recipe.figures[2:]:
            log_extra(key, [row[key] if row["sv_valid"] else None for row in shown])
    if callable(log_metric):
        for key, value in shares(rewards).items():
            log_metric(key, value)
        for key, mean in component_means(rewards, scorer.recipe).items():
            lasting = scorer.lasting(key, mean)
            if mean is not None or not gathers_by_key():
                log_metric(key, lasting)


@functools.cache
def bears_none() -> bool:
    """Whether the installed TRL leaves out samples whose reward is None, even whole rows (1.6)."""
    found = _installed()
    return found is None or found >= (1, 6)  # None: not TRL's own process, as in tests


@functools.cache
def gathers_by_key() -> bool:
    """Whether the installed TRL bears a metric that one rank lacks (1.16); NaN would spread."""
    found = _installed()
    return found is not None and found >= (1, 16)


def _installed() -> tuple[int, int] | None:
    import importlib.metadata  # a third of what importing this adapter would cost

    try:
        major, minor, *_ = importlib.metadata.version("trl").split(".")
    except importlib.metadata.PackageNotFoundError:
        return None
    return int(major), int(minor)
