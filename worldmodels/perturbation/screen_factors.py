"""What a trained `screen` model is: factors per family of predictors, and how they combine.

Every family (a kernel machine, a two-tower network …) comes down to one product: the score of
perturbation s and readout o in line l is Σₖ subjects[l, s, k] · objects[l, o, k]. So a model of all
perturbations × readouts × lines is a few megabytes, is asked by gathers and dot products alone, and
gives every readout of one perturbation in one product. The last line of every table is the *pooled*
line, which answers for cell lines that were not trained on.

The families' scores become one log-odds by a weighted sum per line, which becomes p by a
calibration curve per line that was fitted on held-out perturbations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from worldmodels.calibration import Calibrator
from worldmodels.core import Floats

Half = NDArray[np.float16]
Single = NDArray[np.float32]

RELATIONS: Final = ("perturbation.de", "perturbation.dir")
POOLED: Final = "pooled"
"""Name of the last line of every table."""
Say = Callable[[str], None]
"""Told, one line at a time, what whoever trains should know."""


class Advance(Protocol):
    """Told how far training is."""

    def __call__(self, stage: str, share: float) -> None:
        """Where it is ("DE in k562, fold 2"), and the share of all the work that is done."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Distinct training rows of one or several screens, in columns of shape (n,).

    ``up`` is 1 or 0 where the direction of a change was measured, −1 where it was not.
    """

    lines: tuple[str, ...]
    """Canonical cell lines, without the pooled one."""
    genes: tuple[str, ...]
    """Canonical symbols, sorted; perturbations and readouts are codes into them."""
    line: NDArray[np.intp]
    perturbation: NDArray[np.intp]
    readout: NDArray[np.intp]
    de: NDArray[np.uint8]
    up: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.de)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Rows:
        """The given rows of the same genes and lines."""
        return Rows(
            self.lines,
            self.genes,
            self.line[rows],
            self.perturbation[rows],
            self.readout[rows],
            self.de[rows],
            self.up[rows],
        )


@dataclass(frozen=True, slots=True)
class Factors:
    """One family's scores: Σₖ subjects[l, s, k] · objects[l, o, k].

    ``subjects`` has shape (lines or 1, perturbations, k), ``objects`` (lines or 1, readouts, k);
    lines counts the pooled one, and 1 stands for factors that all lines share.
    """

    subjects: Half
    objects: Half


@dataclass(frozen=True, slots=True)
class Head:
    """How the families' scores become p in one line: weights, then a calibration curve.

    log-odds = Σ_f weights[f] · score_f + intercept; p = curve.apply(σ(log-odds)). Each family's
    own opinion, for the spread between families, is σ(slopes[f] · score_f + intercepts[f]).
    """

    weights: Floats
    intercept: float
    curve: Calibrator
    slopes: Floats
    intercepts: Floats
    fitted: Mapping[str, float]
    """n, base_rate, ece_before, ece, brier_before, brier of the held-out rows it was fitted on."""


@dataclass(frozen=True, slots=True)
class Relation:
    """All that answers one relation: factors by family, and a head per line (the pooled last)."""

    families: Mapping[str, Factors]
    heads: tuple[Head, ...]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained model, ready to be written."""

    lines: tuple[str, ...]
    """Canonical cell lines, without the pooled one."""
    perturbations: tuple[str, ...]
    """Canonical symbols of all perturbations that have a feature or training rows."""
    readouts: tuple[str, ...]
    featured: NDArray[np.bool_]
    """Shape (lines + 1, perturbations): whether there is anything to answer by: a graph feature
    or, where lines inform each other, training rows of any line; elsewhere OUT_OF_DISTRIBUTION."""
    relations: Mapping[str, Relation]
    metrics: Mapping[str, float]
    """Held-out figures by relation, line and figure: ``de.k562.per_gene_auroc``."""
    p0: Mapping[str, Floats]
    """What a guess that is blind to the perturbation would say, by relation; shape
    (lines + 1, readouts), rounded to ``DECIMALS``."""
