"""A screen model made by hand: random features and nets, two lines, everything that can differs."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worldmodels.calibration import Calibrator, Isotonic, Platt
from worldmodels.checkpoints import Checkpoint
from worldmodels.perturbation import (
    screen_checkpoint,
    screen_evidence,
    screen_kernel,
    screen_marginal,
    screen_points,
)
from worldmodels.perturbation.screen_ensemble import Ensemble
from worldmodels.perturbation.screen_fitted import Fitted, Head, Lesson, Relation
from worldmodels.perturbation.screen_kernel import Solver
from worldmodels.perturbation.screen_nets import Net
from worldmodels.perturbation.screen_points import Points
from worldmodels.perturbation.screen_rows import RELATIONS, Rows, Single
from worldmodels.perturbation.screen_trees import Trees

LINES = ("hepg2", "k562")
PERTURBATIONS = tuple(sorted(f"P{i}" for i in range(30)))
READOUTS = tuple(sorted([*(f"R{i}" for i in range(40)), "P3"]))
"""P3 is perturbed and measured."""
TRAINED = tuple(f"P{i}" for i in range(10))
"""P0 to P9 have training rows."""
UNFEATURED = "P29"
"""Without a feature in k562."""
WIDTHS = {"network": 6, "pathways": 5, "summary": 3}
FAMILIES = {"all": ("network", "pathways"), "network": ("network",)}


def fitted(seed: int = 0, within_line: bool = False) -> Fitted:
    """Lines that learn from each other, or alone."""
    featured = np.ones((len(LINES) + 1, len(PERTURBATIONS)), np.bool_)
    featured[1, PERTURBATIONS.index(UNFEATURED)] = False
    metrics = {"de.k562.per_gene_auroc": 0.71, "de.k562.n": 1000.0, "de.hepg2.n": 90.0}
    return model(rows(), PERTURBATIONS, featured, metrics, seed, within_line)


def model(
    rows: Rows,
    perturbations: tuple[str, ...],
    featured: NDArray[np.bool_],
    metrics: dict[str, float],
    seed: int,
    within_line: bool = False,
) -> Fitted:
    """Random features, nets and curves around some rows."""
    rng = np.random.default_rng(seed)
    points, lines = screen_points.of_rows(rows), tuple(range(len(rows.lines)))
    blocks = {name: _unit(rng, len(perturbations), width) for name, width in WIDTHS.items()}
    taught = [*((line,) for line in lines), lines] if within_line else [lines]
    terms = len(FAMILIES) * len(screen_evidence.names(blocks)) + len(screen_evidence.TRANSFERRED)
    told = terms + 3 + len(lines)
    placed = told + len(WIDTHS) - 1 + 2 * WIDTHS["summary"]
    group = (*lines, len(lines)) if within_line else (*(0 for _ in lines), 1)
    made = Fitted(
        rows=rows,
        perturbations=perturbations,
        blocks=blocks,
        families=FAMILIES,
        lessons=tuple(_lesson(points, perturbations, blocks, some) for some in taught),
        lesson=group if within_line else (0,) * (len(lines) + 1),
        shares=(*(0.875 for _ in lines), 0.5),
        featured=featured,
        relations={
            name: _relation(rng, inputs, group)
            for name, inputs in zip(RELATIONS, (placed, told), strict=True)
        },
        metrics=metrics,
        p0={},
    )
    listed = {
        name: [(points.readout, rng.random(len(points.rows))) for _ in made.shares]
        for name in RELATIONS
    }
    return dataclasses.replace(made, p0=screen_marginal.marginal(made, listed, seed))


def _lesson(
    points: Points,
    perturbations: tuple[str, ...],
    blocks: dict[str, Single],
    lines: tuple[int, ...],
) -> Lesson:
    at = np.array([perturbations.index(points.rows.genes[code]) for code in points.perturbation])
    codes = ((points.line, points.line), (points.perturbation, points.perturbation))
    inverse = {}
    for family, used in FAMILIES.items():
        here = {name: blocks[name][at] for name in used}
        diagonal = screen_kernel.diagonal(blocks, used, np.unique(at))
        alike = screen_kernel.normalised(screen_kernel.likeness(here, here, used), diagonal)
        solver = Solver(screen_kernel.between(alike, *codes), np.isin(points.line, lines))
        inverse[family] = solver.inverse()
    return Lesson(lines, inverse)


def _relation(rng: np.random.Generator, inputs: int, group: tuple[int, ...]) -> Relation:
    curves: list[Calibrator] = [Platt(0.9, -0.2), Isotonic((0.0, 0.4, 1.0), (0.02, 0.3, 0.9))]
    heads = [
        Head(curves[line % 2], {"n": 100.0, "ece": 0.01, "ece_before": 0.05})
        for line in range(len(group))
    ]
    ensembles = tuple(
        Ensemble(tuple(_net(rng, inputs) for _ in range(3)), _trees(rng, inputs))
        for _ in sorted(set(group))
    )
    return Relation(ensembles, group, tuple(heads))


def _trees(rng: np.random.Generator, inputs: int) -> Trees:
    inner = (4, 7)
    threshold = np.where(rng.random(inner) < 0.2, np.inf, rng.normal(0, 0.3, inner))
    return Trees(
        rng.normal(size=1).astype(np.float32),
        rng.integers(0, inputs, inner, np.int32),
        threshold.astype(np.float32),
        rng.normal(0, 0.5, (4, 8)).astype(np.float32),
    )


def _net(rng: np.random.Generator, inputs: int) -> Net:
    widths = (inputs, 7, 4, 1)
    layers = tuple(
        (
            rng.normal(0, width**-0.5, (width, onward)).astype(np.float32),
            rng.normal(0, 0.3, onward).astype(np.float32),
        )
        for width, onward in itertools.pairwise(widths)
    )
    shift = rng.normal(0, 0.1, inputs).astype(np.float32)
    return Net(shift, rng.uniform(0.5, 3, inputs).astype(np.float32), layers)


def _unit(rng: np.random.Generator, rows: int, width: int) -> Single:
    block = rng.normal(size=(rows, width))
    return (block / np.linalg.norm(block, axis=1, keepdims=True)).astype(np.float32)


def rows() -> Rows:
    """Training rows of P0 to P9 in both lines; the directions of most changes are known."""
    genes = tuple(sorted({*PERTURBATIONS, *READOUTS}))
    pairs = [
        (line, genes.index(one), genes.index(readout), a, b)
        for line in range(len(LINES))
        for a, one in enumerate(TRAINED)
        for b, readout in enumerate(READOUTS)
        if (a + b + line) % 2 == 0 and one != readout
    ]
    line, perturbation, readout, a, b = np.array(pairs, np.intp).T
    changed = (a * b + line) % 3 == 0
    up = np.where(changed & (b % 5 > 0), b % 2, -1)
    de = changed.astype(np.uint8)
    return Rows(LINES, genes, line, perturbation, readout, de, up.astype(np.int8)).ordered()


def write(folder: Path, made: Fitted | None = None, name: str = "tiny") -> Checkpoint:
    """The model as a checkpoint folder."""
    return screen_checkpoint.save(
        folder,
        made or fitted(),
        name=name,
        version="1",
        licence="CC0-1.0",
        training="generated",
    )
