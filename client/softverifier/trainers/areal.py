"""AReaL, read in May 2026.

    reward_fn: softverifier.trainers.areal.reward_fn

Called in a pool of processes, once for each sample, with every column of the row as a keyword. A
column ``answer`` (or another label) may hold the task as an object or JSON text.

    ok, invalid      the number
    abstain, error   the neutral number, counted (``counts``)
    outage           as error, after 8 s

AReaL gives a call 15 s, its time in the queue included, and turns what takes longer or raises into
0. So this adapter answers within 8 s and ignores ``on_failure="raise"``. A worker that has never
reached the server does not know the profile's neutral number and raises, unless one is configured.

``RewardFunction`` takes its options by keyword and carries to the workers what it has learned.
"""

from __future__ import annotations

import functools
from collections import Counter
from typing import Any, Final

from softverifier.errors import ServerUnavailable
from softverifier.trainers.configuration import configured
from softverifier.trainers.outcomes import figures
from softverifier.trainers.rows import item_of, label_in
from softverifier.trainers.scorer import LOG, Scorer, scorer_of

PATIENCE_S: Final = 8.0
counts: Counter[str] = Counter()
"""Statuses of this process."""


class RewardFunction:
    """A picklable ``reward_fn``.

    Args:
        options: of ``Configuration``, instead of the environment.
    """

    def __init__(self, **options: Any) -> None:
        told = {**options, "on_failure": "neutral"}
        self.scorer = scorer_of(configured(patience=PATIENCE_S, **told), "areal")

    def __call__(
        self, prompt: Any, completions: Any, prompt_ids: Any, completion_ids: Any, **data: Any
    ) -> float:
        """The reward of one completion. Raises as ``scorer`` says."""
        scorer = self.scorer
        try:
            kind = scorer.recipe.task_type
        except ServerUnavailable:
            if scorer.stand_in is None:
                raise
            LOG.warning("soft-verifier: not reached yet; the neutral number stands in")
            counts["error"] += 1
            return scorer.stand_in
        label = None if "truth" in data else label_in(data)
        item = item_of(data, completions, label=label, prompt=prompt, task_type=kind)
        (given,) = scorer.score([item])
        counts[given.status] += 1
        number = scorer.number_at_last(given)
        _track(figures(given, number, scorer.recipe))
        return number

    def __reduce__(self) -> tuple[Any, ...]:
        return _remade, (self.scorer,)


def _remade(scorer: Scorer) -> RewardFunction:
    made = RewardFunction.__new__(RewardFunction)
    made.scorer = scorer
    return made


def reward_fn(
    prompt: Any, completions: Any, prompt_ids: Any, completion_ids: Any, **data: Any
) -> float:
    """For the configuration, set up by environment."""
    return _from_environment()(prompt, completions, prompt_ids, completion_ids, **data)


last: dict[str, float] = {}
"""Figures of this process's last sample: a pool's worker has no logger that AReaL reads."""


def _track(shown: dict[str, float]) -> None:
    last.clear()
    last.update(shown)


@functools.cache
def _from_environment() -> RewardFunction:
    return RewardFunction()
