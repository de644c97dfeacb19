"""A screen model made by hand: random factors, two lines, everything that can differ differs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from worldmodels.calibration import Calibrator, Isotonic, Platt
from worldmodels.checkpoints import Checkpoint
from worldmodels.perturbation import screen_checkpoint, screen_marginal
from worldmodels.perturbation.screen_factors import (
    RELATIONS,
    Factors,
    Fitted,
    Half,
    Head,
    Relation,
    Rows,
)

LINES = ("hepg2", "k562")
PERTURBATIONS = tuple(f"P{i}" for i in range(30))
READOUTS = (*(f"R{i}" for i in range(40)), "P3")
"""P3 is perturbed and measured."""
TRAINED = np.arange(10)
"""P0 to P9 have training rows."""
UNFEATURED = "P29"
"""Without a feature in k562."""


def fitted(seed: int = 0, families: int = 3) -> Fitted:
    """Families of 2, 3, 4 … dimensions, some shared between the lines and some not."""
    rng = np.random.default_rng(seed)
    featured = np.ones((len(LINES) + 1, len(PERTURBATIONS)), np.bool_)
    featured[1, PERTURBATIONS.index(UNFEATURED)] = False
    relations = {name: _relation(rng, families) for name in RELATIONS}
    return Fitted(
        LINES,
        PERTURBATIONS,
        READOUTS,
        featured,
        relations,
        {"de.k562.per_gene_auroc": 0.71, "de.k562.n": 1000.0, "de.hepg2.per_gene_auroc": 0.7},
        {
            name: screen_marginal.marginal(relation, [TRAINED] * (len(LINES) + 1))
            for name, relation in relations.items()
        },
    )


def _relation(rng: np.random.Generator, families: int) -> Relation:
    lines = len(LINES) + 1
    tables = {
        f"family{i}": Factors(
            _half(rng, 1 if i % 3 == 0 else lines, len(PERTURBATIONS), i + 2),
            _half(rng, 1 if i % 3 == 1 else lines, len(READOUTS), i + 2),
        )
        for i in range(families)
    }
    curves: list[Calibrator] = [Platt(0.9, -0.2), Isotonic((0.0, 0.4, 1.0), (0.02, 0.3, 0.9))]
    heads = [
        Head(
            rng.uniform(0.2, 0.8, families),
            float(rng.normal(-1, 0.2)),
            curves[line % 2],
            rng.uniform(0.5, 1.5, families),
            rng.normal(-1, 0.2, families),
            {"n": 100.0, "ece": 0.01, "ece_before": 0.05},
        )
        for line in range(lines)
    ]
    return Relation(tables, tuple(heads))


def _half(rng: np.random.Generator, lines: int, rows: int, width: int) -> Half:
    return rng.normal(0, 0.8, (lines, rows, width)).astype(np.float16)


def rows() -> Rows:
    """Training rows of P0 to P9 in both lines; the directions of the even ones are known."""
    genes = tuple(sorted({*PERTURBATIONS, *READOUTS}))
    pairs = [
        (line, genes.index(f"P{a}"), genes.index(f"R{b}"), a, b)
        for line in range(len(LINES))
        for a in TRAINED.tolist()
        for b in range(line, 40, 3)
    ]
    line, perturbation, readout, a, b = np.array(pairs, np.intp).T
    return Rows(
        LINES,
        genes,
        line,
        perturbation,
        readout,
        ((a + b) % 2 == 0).astype(np.uint8),
        np.where((a + b) % 2 == 0, b % 2, -1).astype(np.int8),
    )


def write(folder: Path, model: Fitted | None = None, name: str = "tiny") -> Checkpoint:
    """The model as a checkpoint folder."""
    return screen_checkpoint.save(
        folder,
        model or fitted(),
        rows(),
        name=name,
        version="1",
        licence="CC0-1.0",
        training="generated",
    )
