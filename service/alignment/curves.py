"""Series over steps, made of what was added up: reward and truth of each run, recipe and split.

With labelled rows each split has its own truth. A metric table may know splits that were never
trained on (ood), whose truth is then set beside the reward of the split that was: its own where the
log has it, else ``train``, else the only one there is. Its steps are fewer, as a rule: the reward
beside the value of a step is the mean since the value before it. Limits: NaN where a step has no
item, no label, or one class only.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from service.alignment.statistics import NAN, Floats, GroupSums, MetricName, metric
from service.alignment.tally import CurveKey, Step, Tally
from service.alignment.truths import Labels, Metric


@dataclass(slots=True)
class Curve:
    """One panel of the figure.

    Attributes:
        key: run, recipe and the reward's split.
        truth_split: whose truth stands beside it.
        steps: ascending, one for each entry of the series.
        parts: what was added up, one for each step.
        truth: shape (m,).
        truth_items: shape (m,), items behind each value of the truth; 1 for a table's.
        total: everything added up.
    """

    key: CurveKey
    truth_split: str
    steps: list[int]
    parts: list[Step]
    truth: Floats
    truth_items: Floats
    total: Step = field(default_factory=Step)

    def __post_init__(self) -> None:
        self.total = joined(self.parts)

    @property
    def reward(self) -> Floats:
        """Mean reward of each step, NaN where nothing was rewarded; shape (m,)."""
        return np.array([p.reward_sum / p.rewarded if p.rewarded else NAN for p in self.parts])

    @property
    def rewarded(self) -> Floats:
        """Items with a reward; shape (m,)."""
        return np.array([float(part.rewarded) for part in self.parts])

    @property
    def both(self) -> np.ndarray:
        """Where there is reward and truth; shape (m,), bool."""
        return ~np.isnan(self.reward) & ~np.isnan(self.truth)


def joined(parts: Iterable[Step]) -> Step:
    """Several steps as one."""
    whole = Step()
    for part in parts:
        whole.statuses += part.statuses
        whole.reward_sum += part.reward_sum
        whole.rewarded += part.rewarded
        whole.answers += part.answers
        whole.outcomes += part.outcomes
        whole.judged += part.judged
        whole.groups.add(part.groups)
    return whole


def curves_of(tally: Tally, truth: Labels | Metric, name: MetricName) -> list[Curve]:
    """All curves, in the order of run, profile and split.

    Args:
        tally: what the log holds.
        truth: what it is set beside.
        name: the figure that labelled rows give.
    """
    keys = sorted(tally.curves)
    if isinstance(truth, Labels):
        return [_labelled(key, tally.curves[key], name) for key in keys]
    found = []
    for key, split, values in _pairs(keys, truth):
        found.append(_measured(key, tally.curves[key], split, values))
    return found


def _labelled(key: CurveKey, steps: Mapping[int, Step], name: MetricName) -> Curve:
    numbers = sorted(steps)
    parts = [steps[number] for number in numbers]
    truth = np.array([metric(part.outcomes, name) for part in parts])
    items = np.array([float(part.outcomes.total()) for part in parts])
    return Curve(key, key.split, numbers, parts, truth, items)


def _pairs(
    keys: Sequence[CurveKey], truth: Metric
) -> Iterator[tuple[CurveKey, str, Mapping[int, float]]]:
    """Which reward stands beside which truth; every reward at least once, without truth if need."""
    by_recipe: dict[tuple[str, str, str], dict[str, CurveKey]] = {}
    for key in keys:
        by_recipe.setdefault(key[:3], {})[key.split.casefold()] = key
    for (run, _, _), splits in by_recipe.items():
        used = set()
        for split, values in _of_run(truth, run).items():
            for key in _beside(split, splits):
                used.add(key)
                yield key, split or key.split, values
        for key in splits.values():
            if key not in used:
                yield key, key.split, {}


def _of_run(truth: Metric, run: str) -> dict[str, Mapping[int, float]]:
    """Split → values of a run; a table without runs is of every run."""

    def named(wanted: str) -> dict[str, Mapping[int, float]]:
        return {split: steps for (name, split), steps in truth.values.items() if name == wanted}

    return named(run) or named("")


def _beside(split: str, splits: Mapping[str, CurveKey]) -> list[CurveKey]:
    if not split:
        return list(splits.values())
    for name in (split.casefold(), "train", ""):
        if name in splits:
            return [splits[name]]
    return list(splits.values()) if len(splits) == 1 else []


def _measured(
    key: CurveKey, steps: Mapping[int, Step], split: str, values: Mapping[int, float]
) -> Curve:
    """A curve on the steps of the truth; steps after its last value stand for themselves."""
    numbers = sorted(values)
    bins: dict[int, list[Step]] = {number: [] for number in numbers}
    at = 0
    for number in sorted(steps):
        while at < len(numbers) and numbers[at] < number:
            at += 1
        bins.setdefault(numbers[at] if at < len(numbers) else number, []).append(steps[number])
    grid = sorted(bins)
    truth = np.array([values.get(number, math.nan) for number in grid])
    items = np.array([float(number in values) for number in grid])
    return Curve(key, split, grid, [joined(bins[number]) for number in grid], truth, items)


def commonest(answers: Counter[str]) -> tuple[str, float]:
    """The commonest answer and its share; ("", NaN) where there is none. Ties: alphabetical."""
    total = answers.total()
    if not total:
        return "", NAN
    answer, count = min(answers.items(), key=lambda entry: (-entry[1], entry[0]))
    return answer, count / total


def group_figures(sums: GroupSums) -> dict[str, float]:
    """Means of what was added up over groups; NaN where there is none."""
    return {
        "groups": float(sums.groups),
        "reward_variance": sums.variance / sums.groups if sums.groups else NAN,
        "flat": sums.flat / sums.groups if sums.groups else NAN,
        "pairs": float(sums.pairs),
        "pairwise_accuracy": sums.concordant / sums.pairs if sums.pairs else NAN,
        "correlation": sums.correlation / sums.correlated if sums.correlated else NAN,
    }
