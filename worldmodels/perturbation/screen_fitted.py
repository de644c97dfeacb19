"""What a trained ``screen`` model is: its lesson, how it weighs terms up, and its curves.

A model keeps what taught it: the training rows, the genes' features, and for each family the
inverse of the kernel between training points. From these every term of any perturbation follows
exactly (``screen_terms``); nets and trees make log-odds of them and a curve per line a probability.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldmodels.calibration import Calibrator
from worldmodels.core import Floats
from worldmodels.perturbation.screen_ensemble import Ensemble
from worldmodels.perturbation.screen_rows import Rows, Single


@dataclass(frozen=True, slots=True)
class Head:
    """How a line's log-odds become p: p = curve.apply(σ(the ensemble's log-odds))."""

    curve: Calibrator
    fitted: Mapping[str, float]
    """n, base_rate, ece_before, ece, brier_before, brier of the held-out rows it was fitted on."""


@dataclass(frozen=True, slots=True)
class Relation:
    """All that answers one relation.

    ``group`` says which of the ensembles answers each line (the pooled last), and ``heads`` holds
    a curve for each line.
    """

    ensembles: tuple[Ensemble, ...]
    group: tuple[int, ...]
    heads: tuple[Head, ...]


@dataclass(frozen=True, slots=True)
class Lesson:
    """What teaches some lines.

    ``lines`` are codes of the lines whose points teach; ``inverse`` holds for each family
    (K + RIDGE·I)⁻¹ between those points, in their order, shape (points, points).
    """

    lines: tuple[int, ...]
    inverse: Mapping[str, Single]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained model, ready to be written."""

    rows: Rows
    """The training rows, sorted by line, perturbation and readout."""
    perturbations: tuple[str, ...]
    """Canonical symbols of all perturbations that have a feature or training rows."""
    blocks: Mapping[str, Single]
    """Features of the perturbations, shape (perturbations, width), zeros where there are none."""
    families: Mapping[str, tuple[str, ...]]
    """The blocks by which each family takes perturbations for alike."""
    lessons: tuple[Lesson, ...]
    lesson: tuple[int, ...]
    """Which lesson each line (the pooled last) learns from."""
    shares: tuple[float, ...]
    """By line: the share of what teaches it now that taught when its ensemble was fitted."""
    featured: NDArray[np.bool_]
    """Shape (lines + 1, perturbations): whether there is anything to answer by: a graph feature
    or, where lines inform each other, training rows of any line; elsewhere OUT_OF_DISTRIBUTION."""
    relations: Mapping[str, Relation]
    metrics: Mapping[str, float]
    """Held-out figures by relation, line and figure: ``de.k562.per_gene_auroc``."""
    p0: Mapping[str, Floats]
    """What a guess that is blind to the perturbation would say, by relation; shape
    (lines + 1, readouts), rounded to ``DECIMALS``."""

    @property
    def lines(self) -> tuple[str, ...]:
        """Canonical cell lines, without the pooled one."""
        return self.rows.lines

    @property
    def readouts(self) -> tuple[str, ...]:
        """Canonical symbols of the readouts: those with training rows, sorted."""
        return tuple(self.rows.genes[code] for code in np.unique(self.rows.readout))
