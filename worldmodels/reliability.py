"""Which questions a card proves reliable: thresholds on lift, at each coverage, in balance.

The lift of a question is ℓ = logit p − logit p0. Leaving out the smallest |ℓ| would leave out more
of one side: p is skewed, with many perturbations slightly below the mean and few far above it. Of
what is then answered a guess that is blind to the perturbation knows the better answer. So within
each band of p0 questions are taken from both ends of ℓ, until the ends have the same mass
Σ|p − p0| / max(p0, 1 − p0), as much of it as makes up the coverage. On the card's rows a policy
that sees p0 and not the perturbation then earns what chance does, but for the weight of one row a
band. Where p0 is not quite the mean of p over the questions asked, a coverage of 1 leaves out just
the smallest lifts of the heavier side.

No label is looked at: how well p orders the answered questions is the card's to say. Limits: bands
of at least ``LEAST`` rows, so a readout may still differ from others of the same p0: a policy that
learns by heart which side of each readout is answered keeps a little.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from worldmodels import calibration
from worldmodels.core import Floats, ModelFault, Reliable

Levels = tuple[Reliable, ...]

COVERAGES: Final = (1.0, 0.5, 0.2, 0.1, 0.05)
"""The shares of questions that a card shows."""
BANDS: Final = 10
LEAST: Final = 100
"""Rows of a band, at least."""
NEVER: Final = 100.0
"""A lift that no question has: both probabilities are kept off 0 and 1, so |ℓ| < 28."""


def measure(p: Floats, p0: Floats, coverages: Iterable[float] = COVERAGES) -> tuple[Reliable, ...]:
    """Thresholds at each coverage, from the answered rows of one relation in one context.

    Args:
        p: shape (n,), n ≥ 1, probabilities in [0, 1], finite.
        p0: shape (n,), the same whatever the perturbation.
        coverages: shares in (0, 1].

    Raises:
        ModelFault: no row, or figures that are no probabilities.
    """
    p, p0 = np.asarray(p, np.float64), np.asarray(p0, np.float64)
    if p.shape != p0.shape or not len(p):
        raise ModelFault(f"expected p and p0 of one length, got {p.shape} and {p0.shape}")
    if not (((p >= 0) & (p <= 1)).all() and ((p0 >= 0) & (p0 <= 1)).all()):
        raise ModelFault(
            "expected probabilities in [0, 1]; leave out what the model did not answer"
        )
    lift = calibration.logit(p) - calibration.logit(p0)
    mass = np.abs(p - p0) / np.maximum(p0, 1 - p0)
    edges = _edges(p0)
    band = np.searchsorted(edges, p0, side="right")
    found = []
    for coverage in coverages:
        ends = [_ends(lift[band == b], mass[band == b], coverage) for b in range(len(edges) + 1)]
        below, above = zip(*ends, strict=True)
        found.append(Reliable(float(coverage), tuple(map(float, edges)), below, above))
    return tuple(found)


def _edges(p0: Floats) -> Floats:
    """Quantiles of p0 with ``LEAST`` rows between them and beyond, ties kept together."""
    ranked = np.sort(p0)
    bands = max(1, min(BANDS, len(p0) // LEAST))
    edges, below = [], 0
    inner = np.quantile(p0, np.arange(1, bands) / bands, method="inverted_cdf")
    for edge in np.unique(inner):
        at = int(np.searchsorted(ranked, edge))
        if min(at - below, len(p0) - at) >= LEAST:
            edges.append(edge)
            below = at
    return np.asarray(edges, np.float64)


def _ends(lift: Floats, mass: Floats, coverage: float) -> tuple[float, float]:
    """The greatest negative and the least positive lift that are answered in one band."""
    up, down = _side(lift, mass, lift > 0, -1.0), _side(lift, mass, lift < 0, 1.0)
    if not len(up.lift) or not len(down.lift):
        return -NEVER, NEVER
    marks = np.unique(np.concatenate([up.mass, down.mass]))
    marks = marks[marks <= min(up.mass[-1], down.mass[-1])]
    taken = up.taken(marks) + down.taken(marks)
    fit = marks[taken <= coverage * len(lift)]
    if not len(fit):
        return -NEVER, NEVER
    return down.end(fit[-1], -NEVER), up.end(fit[-1], NEVER)


class _Side(NamedTuple):
    """One sign of lift from the greatest size on; rows of one lift are taken together."""

    lift: Floats
    rows: Floats
    """Rows up to each lift."""
    mass: Floats
    """Their mass."""

    def taken(self, marks: Floats) -> Floats:
        """How many rows there are up to each mass."""
        at = np.searchsorted(self.mass, marks, "right")
        return np.asarray(np.concatenate([[0.0], self.rows])[at], np.float64)

    def end(self, mark: float, nothing: float) -> float:
        """The last lift that is taken up to a mass."""
        at = int(np.searchsorted(self.mass, mark, "right"))
        return float(self.lift[at - 1]) if at else nothing


def _side(lift: Floats, mass: Floats, rows: NDArray[np.bool_], sign: float) -> _Side:
    size, of_row = np.unique(sign * lift[rows], return_inverse=True)
    weights = np.bincount(of_row, mass[rows], len(size))
    return _Side(sign * size, np.cumsum(np.bincount(of_row, minlength=len(size))), weights.cumsum())


def by_line(
    lines: Sequence[str], line: NDArray[np.intp], p: Floats, p0: Floats | None
) -> dict[str, Levels]:
    """What a card keeps for one relation: the thresholds of each cell line, and of all as ``""``.

    Args:
        lines: canonical cell lines.
        line: shape (n,), codes into them, of the answered rows.
        p: shape (n,).
        p0: shape (n,); None for a model without a baseline, of which nothing can be said.

    Returns:
        Nothing of lines with fewer than ``LEAST`` rows.
    """
    if p0 is None:
        return {}
    every = {"": np.ones(len(p), bool), **{name: line == i for i, name in enumerate(lines)}}
    return {name: measure(p[rows], p0[rows]) for name, rows in every.items() if rows.sum() >= LEAST}


class _Section(msgspec.Struct):
    relation: str
    reliable: dict[str, Levels] = {}


class _Model(msgspec.Struct):
    digest: str


class _Card(msgspec.Struct):
    """The part of a ``card.json`` that is read here; the rest is passed over."""

    model: _Model
    evidence: bool | str
    sections: list[_Section]


def of_card(path: Path, digest: str) -> Mapping[str, Mapping[str, Levels]]:
    """By relation and cell line what a card proves of the model with this digest.

    Returns:
        Nothing where there is no card, or one that cannot be read, that is another model's (of
        weights that have been replaced since), or that does not count as evidence.
    """
    try:
        card = msgspec.json.decode(path.read_bytes(), type=_Card)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    if card.model.digest != digest or card.evidence is not True:
        return {}
    levels = [level for one in card.sections for line in one.reliable.values() for level in line]
    if not all(_whole(level) for level in levels):
        return {}
    return {one.relation: one.reliable for one in card.sections if one.reliable}


def _whole(level: Reliable) -> bool:
    bands = len(level.edges) + 1
    rising = list(level.edges) == sorted(level.edges)
    return rising and len(level.below) == len(level.above) == bands and 0 < level.coverage <= 1
