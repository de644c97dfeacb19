"""What policies earn, from what each of the two answers to every question earns.

A policy is its probability of answering "yes" (or "up"), one number a row: all else is arithmetic.
**Chance** is the mean reward of a fair coin over the same rows. A policy is blind if it does not
look at the perturbation: always-yes, always-no, a coin, the base rate of the line, the majority of
the readout's labels, and the answer that has paid more for the readout. What the last two know of a
readout they learn from other rows than those they are judged by: training rows where there are any,
else the perturbations of the other four of five folds; a readout without such rows falls back on
the line.

Standard errors are by bootstrap over perturbations, since rows of one perturbation share its
features (Efron 1979). Limits: two answers a question. Folds understate the policies that learn by
readout: where a readout's answers pay alike over all rows, the fold that is left out pays the less
for what pays more in the others (about 0.03 below chance with 100 perturbations, by luck alone);
``--train`` rows of other perturbations do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from worldmodels.core import Floats

Codes = NDArray[np.intp]
Mask = NDArray[np.bool_]
FOLDS: Final = 5
BLIND: Final = ("always no", "always yes", "coin at the base rate", "base rate", "best blind")
"""The policies that must not earn more than chance where only knowledge is to be paid."""
POLICIES: Final = ("coin", *BLIND, "model", "best answer", "oracle")
MEANT: Final = {
    "coin": "yes or no by a fair coin: chance",
    "always no": "no (down) to every question",
    "always yes": "yes (up) to every question",
    "coin at the base rate": "yes as often as the line's labels are",
    "base rate": "what most labels of the readout are in other rows, whatever is perturbed",
    "best blind": "what has paid more for the readout in other rows, whatever is perturbed",
    "model": "yes where the world model's p is above one half",
    "best answer": "the answer that earns more: the most that this profile pays",
    "oracle": "the label",
}


@dataclass(frozen=True, slots=True)
class Columns:
    """Labelled questions and what their answers earn, in columns of shape (n,)."""

    lines: tuple[str, ...]
    line: Codes
    perturbation: Codes
    readout: Codes
    """One code for each readout in each cell line."""
    labels: NDArray[np.uint8]
    yes: Floats
    """What "yes" (up) earns; NaN where there is no reward."""
    no: Floats
    weight: Floats
    p: Floats
    """The world model's; NaN where no component states one."""

    @property
    def answered(self) -> Mask:
        """Rows of which both answers have a reward."""
        return np.asarray(np.isfinite(self.yes) & np.isfinite(self.no))


class Earned(msgspec.Struct, frozen=True, kw_only=True):
    """What one policy earns on the rows that have a reward."""

    policy: str
    blind: bool
    reward: float
    se: float | None
    weighted: float | None
    """Mean reward by the items' weights; None where all weights are 0."""
    beyond_chance: float
    beyond_chance_se: float | None
    short_of_oracle: float
    side: float | None
    """Mean of ±1 for the better and the worse answer, by weight: what advantages pay that are
    divided by the group's standard deviation; 0 is chance."""


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """All policies in one cell line, or over all of them."""

    rows: int
    answered: int
    coverage: float
    perturbations: int
    readouts: int
    base_rate: float
    chance: float
    policies: list[Earned]

    def of(self, policy: str) -> Earned:
        """The figures of one policy."""
        return next(one for one in self.policies if one.policy == policy)


def policies(rows: Columns, trained: Mask | None = None, seed: int = 0) -> dict[str, Floats]:
    """The probability of "yes" of each policy on each row, by its name.

    Args:
        rows: the questions.
        trained: rows that blind policies learn from and are not judged by; None: folds.
        seed: of the folds.
    """
    n = len(rows.labels)
    paid: Floats = np.where(rows.answered, rows.yes - rows.no, np.nan)
    signs = 2 * rows.labels.astype(np.float64) - 1
    learn = _taught(rows, trained) if trained is not None else _folded(rows, seed)
    best = np.where(rows.yes > rows.no, 1.0, np.where(rows.yes < rows.no, 0.0, 0.5))
    said = np.where(np.isnan(rows.p), 0.5, np.sign(rows.p - 0.5) / 2 + 0.5)
    rate = np.bincount(rows.line, rows.labels) / np.maximum(np.bincount(rows.line), 1)
    return {
        "coin": np.full(n, 0.5),
        "always no": np.zeros(n),
        "always yes": np.ones(n),
        "coin at the base rate": rate[rows.line],
        "base rate": learn(signs),
        "best blind": learn(paid),
        "model": said,
        "best answer": best,
        "oracle": rows.labels.astype(np.float64),
    }


class _Learner:
    """Answers by the sign of what a readout, else its line, sums to on rows that teach."""

    def __init__(self, rows: Columns, pairs: list[tuple[Mask, Mask]]) -> None:
        self._rows, self._pairs = rows, pairs

    def __call__(self, signal: Floats) -> Floats:
        """1, 0 or ½ for each row; 0 for rows that are judged by nothing.

        Args:
            signal: shape (n,), above 0 where "yes" was right; NaN teaches nothing.
        """
        said = np.zeros(len(signal))
        known = np.isfinite(signal)
        for teach, judge in self._pairs:
            taught = teach & known
            by_readout = self._sums(self._rows.readout, signal, taught)
            by_line = self._sums(self._rows.line, signal, taught)
            found = by_readout[self._rows.readout]
            found = np.where(found == 0, by_line[self._rows.line], found)
            said[judge] = (np.sign(found) / 2 + 0.5)[judge]
        return said

    @staticmethod
    def _sums(codes: Codes, signal: Floats, rows: Mask) -> Floats:
        return np.asarray(np.bincount(codes[rows], signal[rows], int(codes.max()) + 1))


def _taught(rows: Columns, trained: Mask) -> _Learner:
    return _Learner(rows, [(trained, ~trained)])


def _folded(rows: Columns, seed: int) -> _Learner:
    fold_of = np.random.default_rng(seed).integers(FOLDS, size=int(rows.perturbation.max()) + 1)
    fold = fold_of[rows.perturbation]
    return _Learner(rows, [(fold != k, fold == k) for k in range(FOLDS)])


def panel(
    rows: Columns, said: dict[str, Floats], of: Mask, resamples: int = 200, seed: int = 0
) -> Panel | None:
    """What the policies earn on some rows; None where none of them has a reward."""
    at = np.flatnonzero(of & rows.answered)
    if not len(at):
        return None
    yes, no, weight = rows.yes[at], rows.no[at], rows.weight[at]
    times = _draws(rows.perturbation[at], resamples, seed)
    chance = (yes + no) / 2
    earned = {name: q[at] * yes + (1 - q[at]) * no for name, q in said.items()}
    side = {name: (2 * q[at] - 1) * np.sign(yes - no) for name, q in said.items()}
    total = float(weight.sum())
    return Panel(
        rows=int(of.sum()),
        answered=len(at),
        coverage=round(len(at) / int(of.sum()), 6),
        perturbations=len(np.unique(rows.perturbation[at])),
        readouts=len(np.unique(rows.readout[at])),
        base_rate=round(float(rows.labels[at].mean()), 6),
        chance=round(float(chance.mean()), 6),
        policies=[
            Earned(
                policy=name,
                blind=name in BLIND or name == "coin",
                reward=round(float(one.mean()), 6),
                se=_error(one, times),
                weighted=round(float(one @ weight) / total, 6) if total else None,
                beyond_chance=round(float((one - chance).mean()), 6),
                beyond_chance_se=_error(one - chance, times),
                short_of_oracle=round(float((earned["oracle"] - one).mean()), 6),
                side=round(float(side[name] @ weight) / total, 6) if total else None,
            )
            for name, one in earned.items()
        ],
    )


@dataclass(frozen=True, slots=True)
class _Draws:
    """How often each perturbation is drawn: (draws, perturbations), and whose each row is."""

    times: Floats
    of_row: Codes


def _draws(perturbations: Codes, resamples: int, seed: int) -> _Draws:
    names, of_row = np.unique(perturbations, return_inverse=True)
    count = len(names)
    draw = np.random.default_rng(seed)
    times = draw.multinomial(count, np.full(count, 1 / count), size=resamples)
    return _Draws(times.astype(np.float64), np.asarray(of_row, np.intp))


def _error(values: Floats, drawn: _Draws) -> float | None:
    """Standard error of the mean of ``values``; None with fewer than two perturbations or draws."""
    count = drawn.times.shape[1]
    if count < 2 or len(drawn.times) < 2:
        return None
    sums = np.bincount(drawn.of_row, values, count)
    sizes = np.bincount(drawn.of_row, minlength=count)
    means = (drawn.times @ sums) / (drawn.times @ sizes)
    return round(float(means.std(ddof=1)), 6)
