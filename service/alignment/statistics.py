"""Figures of a run's alignment, as pure functions: nothing here knows of logs or files.

Undefined figures are NaN, never 0 or one half. Sources: balanced accuracy and the multi-class MCC
(Gorodkin 2004, Comput. Biol. Chem. 28:367), Youden's J (1950, Cancer 3:32), Spearman's ρ with the
moving-block bootstrap (Künsch 1989, Ann. Stat. 17:1217), since steps of a run are not independent.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NAN: Final = float("nan")
_DRAWN: Final = 1_000_000
"""Steps that are resampled at a time."""
MetricName = Literal["accuracy", "balanced_accuracy", "mcc"]
METRICS: Final[tuple[MetricName, ...]] = ("balanced_accuracy", "accuracy", "mcc")


def metric(outcomes: Mapping[tuple[str, str], int], name: MetricName) -> float:
    """A figure of answers against true classes.

    Args:
        outcomes: (true, answered) → count.
        name: accuracy in [0, 1]; balanced accuracy, the mean recall of the true classes, in
            [0, 1], NaN for one class; MCC in [-1, 1], NaN where only one class is true or said.
    """
    total = sum(outcomes.values())
    right = sum(count for (true, said), count in outcomes.items() if true == said)
    if not total:
        return NAN
    if name == "accuracy":
        return right / total
    true_counts: Counter[str] = Counter()
    said_counts: Counter[str] = Counter()
    for (true, said), count in outcomes.items():
        true_counts[true] += count
        said_counts[said] += count
    if name == "balanced_accuracy":
        if len(true_counts) < 2:
            return NAN
        return sum(outcomes.get((c, c), 0) / n for c, n in true_counts.items()) / len(true_counts)
    both = right * total - sum(n * said_counts[c] for c, n in true_counts.items())
    spread = (total**2 - sum(n**2 for n in said_counts.values())) * (
        total**2 - sum(n**2 for n in true_counts.values())
    )
    return both / math.sqrt(spread) if spread else NAN


def youden(judged: Mapping[tuple[bool, bool], int]) -> dict[str, float]:
    """J = TPR − FPR of "the reward is above the threshold" as a test of "the answer is right".

    Args:
        judged: (right, above) → count.

    Returns:
        ``j`` in [-1, 1], ``tpr`` and ``fpr`` in [0, 1], ``right`` and ``wrong`` (counts); NaN
        where no answer is right, or none is wrong.
    """
    right = judged.get((True, True), 0) + judged.get((True, False), 0)
    wrong = judged.get((False, True), 0) + judged.get((False, False), 0)
    tpr = judged.get((True, True), 0) / right if right else NAN
    fpr = judged.get((False, True), 0) / wrong if wrong else NAN
    return {"j": tpr - fpr, "tpr": tpr, "fpr": fpr, "right": float(right), "wrong": float(wrong)}


@dataclass(slots=True)
class GroupSums:
    """Sums over groups of two and more rewarded items."""

    groups: int = 0
    variance: float = 0.0
    """Of the variances (population) of their rewards."""
    flat: int = 0
    """Groups in which all rewards are equal: no gradient comes from them."""
    pairs: int = 0
    """Pairs of a right and a wrong answer."""
    concordant: float = 0.0
    """Of those, where the right one earned more; ties count half."""
    correlation: float = 0.0
    """Of the Pearson correlations of reward and rightness, over ``correlated`` groups."""
    correlated: int = 0

    def add(self, other: GroupSums) -> None:
        """Add the sums of further groups."""
        self.groups += other.groups
        self.variance += other.variance
        self.flat += other.flat
        self.pairs += other.pairs
        self.concordant += other.concordant
        self.correlation += other.correlation
        self.correlated += other.correlated


def group_sums(rewards: Sequence[float], right: Sequence[bool | None]) -> GroupSums:
    """The sums of one group.

    Args:
        rewards: of its rewarded items.
        right: whether each answer is right; None where there is no truth or no answer.
    """
    n = len(rewards)
    if n < 2:
        return GroupSums()
    mean = math.fsum(rewards) / n
    sums = GroupSums(1, math.fsum([(r - mean) ** 2 for r in rewards]) / n)
    sums.flat = int(min(rewards) == max(rewards))
    good = [r for r, is_right in zip(rewards, right, strict=True) if is_right]
    bad = [r for r, is_right in zip(rewards, right, strict=True) if is_right is False]
    sums.pairs = len(good) * len(bad)
    if not sums.pairs:
        return sums
    sums.concordant = sum([1.0 if g > b else 0.5 if g == b else 0.0 for g in good for b in bad])
    both = good + bad
    centre = math.fsum(both) / len(both)
    spread = math.sqrt(math.fsum([(r - centre) ** 2 for r in both]) / len(both))
    if min(both) < max(both) and spread > 0:
        # point-biserial: Pearson's r where one of the two is 0 or 1
        share = len(good) / len(both)
        gap = math.fsum(good) / len(good) - math.fsum(bad) / len(bad)
        sums.correlation, sums.correlated = gap / spread * math.sqrt(share * (1 - share)), 1
    return sums


def smooth(values: Floats, weights: Floats, window: int) -> Floats:
    """Centred weighted moving mean that is narrower at both ends; NaN values carry no weight.

    Args:
        values: shape (n,).
        weights: shape (n,), not negative.
        window: points, odd or made so.
    """
    known = ~np.isnan(values)
    weight = np.where(known, weights, 0.0)
    half = max(window, 1) // 2
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0) * weight)])
    totals = np.concatenate([[0.0], np.cumsum(weight)])
    at = np.arange(len(values))
    reach = np.minimum(np.minimum(at, len(values) - 1 - at), half)
    low, high = at - reach, at + reach + 1
    total = totals[high] - totals[low]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, (sums[high] - sums[low]) / total, np.nan)


def ranks(values: Floats) -> Floats:
    """Ranks from 1, ties at their mean, along the last axis."""
    order = np.argsort(values, axis=-1, kind="stable")
    found = np.empty(values.shape)
    for row in np.ndindex(values.shape[:-1]):
        ordered = values[row][order[row]]
        _, first, counts = np.unique(ordered, return_index=True, return_counts=True)
        found[row][order[row]] = np.repeat(first + (counts + 1) / 2, counts)
    return found


def correlate(a: Floats, b: Floats) -> Floats:
    """Pearson's r along the last axis; NaN where either does not vary."""
    a = a - a.mean(axis=-1, keepdims=True)
    b = b - b.mean(axis=-1, keepdims=True)
    spread = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(spread > 0, (a * b).sum(axis=-1) / spread, np.nan))


def spearman(
    a: Floats, b: Floats, *, draws: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, float]:
    """Spearman's ρ of two series over steps, with a moving-block bootstrap interval.

    Args:
        a: shape (n,), in the order of the steps, no NaN.
        b: shape (n,).
        draws: resamples; blocks have ⌈n^(1/3)⌉ + 1 steps.
        seed: decides about the resamples.
        level: of the interval.

    Returns:
        ``rho``, ``low``, ``high`` (NaN below 4 steps or where a series does not vary), ``n``,
        ``block``.
    """
    n = len(a)
    if n < 4:
        return {"rho": NAN, "low": NAN, "high": NAN, "n": float(n), "block": NAN}
    block = math.ceil(n ** (1 / 3)) + 1
    generator = np.random.default_rng(seed)
    starts = generator.integers(0, n - block + 1, (draws, -(-n // block)))
    at_once = max(_DRAWN // n, 1)
    parts = []
    for first in range(0, draws, at_once):  # all at once would take gigabytes of a long run
        some = starts[first : first + at_once]
        rows = (some[:, :, None] + np.arange(block)).reshape(len(some), -1)[:, :n]
        parts.append(correlate(ranks(a[rows]), ranks(b[rows])))
    drawn = np.concatenate(parts)
    drawn = drawn[~np.isnan(drawn)]
    low = high = NAN
    if len(drawn):
        low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    rho = float(correlate(ranks(a), ranks(b)))
    return {
        "rho": rho,
        "low": float(low),
        "high": float(high),
        "n": float(n),
        "block": float(block),
    }
