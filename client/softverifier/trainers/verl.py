"""verl, read at 0.9 and 0.10.

    reward.custom_reward_function.path=pkg://softverifier.trainers.verl
    reward.custom_reward_function.name=compute_score
    +reward.custom_reward_function.reward_kwargs.profile=rbio-mlp        # or by environment

    compute_score           naive, dapo, gdpo: an ``async def`` for one sample
    compute_score_sync      remote, and the older naive and dapo: the same, blocking
    compute_scores          the older batch manager
    compute_score_uncaught  rate_limited, which makes 0.0 of an exception and of its own timeout
    number_uncaught         the older prime, likewise, which wants a bare number

The task is read from ``ground_truth`` (an object or JSON text) and the counted columns of
``extra_info``, which is read and neither sent whole nor kept; verl shows no prompt.

    ok, invalid      the number, sv_valid=1
    abstain, error   retried to the deadline, then the neutral number with the same keys and
                     sv_valid=0, or NoReward is raised (``on_failure="raise"``, or nothing known)
    outage           as error

Every sample returns exactly the same keys: ``score``, ``sv_valid``, ``sv_weight`` and one for each
component, all finite floats, so that verl averages them. None is named ``reward``. The
``…_uncaught`` raise what no manager catches: the run ends, where it would go on with zeros.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from softverifier.errors import DeadlineExceeded, SoftVerifierError
from softverifier.rewards import Reward
from softverifier.trainers.outcomes import figures, unswallowed
from softverifier.trainers.rows import item_of
from softverifier.trainers.scorer import LOG, Scorer, outage, scorer_named

_ITS_OWN: Final = ("reward_router_address", "reward_model_tokenizer")
"""What verl adds to ``reward_kwargs``."""
_STEPS: Final = frozenset({"global_steps", "global_step", "step"})


async def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    **reward_kwargs: Any,
) -> dict[str, float]:
    """The score of one sample and its figures. Raises as ``scorer`` says, and ``NoReward``."""
    scorer = _scorer(reward_kwargs)
    recipe = scorer.known or await scorer.arecipe()
    item = _item(data_source, solution_str, ground_truth, extra_info, recipe.task_type)
    (reward,) = await scorer.ascore([item], _context(extra_info))
    return _score(scorer, reward)


def compute_score_sync(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    **reward_kwargs: Any,
) -> dict[str, float]:
    """``compute_score``, blocking."""
    scorer = _scorer(reward_kwargs)
    kind = scorer.recipe.task_type
    item = _item(data_source, solution_str, ground_truth, extra_info, kind)
    (reward,) = scorer.score([item], _context(extra_info))
    return _score(scorer, reward)


def compute_scores(
    data_sources: Sequence[str],
    solution_strs: Sequence[str],
    ground_truths: Sequence[Any],
    extra_infos: Sequence[Mapping[str, Any] | None],
    **reward_kwargs: Any,
) -> list[dict[str, float]]:
    """``compute_score`` for a batch, as verl's batch reward manager calls it."""
    scorer = _scorer(reward_kwargs)
    kind = scorer.recipe.task_type
    columns = zip(data_sources, solution_strs, ground_truths, extra_infos, strict=True)
    rewards = scorer.score([_item(*row, kind) for row in columns])
    return [_score(scorer, reward) for reward in rewards]


async def compute_score_uncaught(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    **reward_kwargs: Any,
) -> dict[str, float]:
    """``compute_score`` for who makes zeros of exceptions and of what a timeout cut off.

    Raises:
        CancelledError: instead of any error; it ends the step, its reason is in the log.
    """
    import asyncio

    try:
        return await compute_score(
            data_source, solution_str, ground_truth, extra_info, **reward_kwargs
        )
    except asyncio.CancelledError:
        # What is awaited with a timeout and answers its cancellation counts as in time.
        scorer = _scorer(reward_kwargs)
        if scorer.known is None or scorer.stand_in is None:
            LOG.error("soft-verifier: cut off with no number to give; raise reward.timeout")
            raise
        late = DeadlineExceeded("cut off by verl's own timeout; raise reward.timeout")
        (reward,) = outage([{"completion": solution_str}], late)
        return _score(scorer, reward)
    except SoftVerifierError as error:
        LOG.error("soft-verifier: %s", error)
        raise asyncio.CancelledError(str(error)) from error


def number_uncaught(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    **reward_kwargs: Any,
) -> float:
    """The score alone, blocking, for who makes zeros of exceptions.

    Raises:
        SystemExit: instead of any error.
    """
    with unswallowed():
        found = compute_score_sync(
            data_source, solution_str, ground_truth, extra_info, **reward_kwargs
        )
    return found["score"]


def _scorer(options: Mapping[str, Any]) -> Scorer:
    if not options:
        return scorer_named("verl")
    return scorer_named("verl", **{k: v for k, v in options.items() if k not in _ITS_OWN})


def _item(
    source: str, solution: str, truth: Any, extra: Mapping[str, Any] | None, kind: str | None
) -> dict[str, Any]:
    return item_of(extra or {}, solution, label=truth, task_type=kind)


def _context(extra: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not extra or _STEPS.isdisjoint(extra):
        return None
    for step in map(extra.get, _STEPS):
        if isinstance(step, int) and not isinstance(step, bool) and step >= 0:
            return {"step": step}
    return None


def _score(scorer: Scorer, reward: Reward) -> dict[str, float]:
    number = scorer.number(reward)
    return {"score": float(number), **figures(reward, number, scorer.recipe)}
