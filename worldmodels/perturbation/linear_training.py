"""Training of the linear model: folds of perturbations, calibration, and figures that are honest.

Perturbed genes are dealt to folds; a fold's model is fitted without every perturbation of its
genes, and what the fold models say of the perturbations that they never saw is what the calibrators
are fitted on and what the figures judge. Labels are the tests of the same cells (``differential``).
Beside the correlation of predicted with measured changes stands that of the mean of all training
perturbations, which is hard to beat; where it wins, a note says so. Limits: a gene's effect on
itself is left out of labels and figures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worldmodels import calibration, metrics
from worldmodels.calibration import Kind
from worldmodels.core import Floats, ModelFault, quantise
from worldmodels.embeddings import Embeddings
from worldmodels.genes import GeneResolver, Vocabulary
from worldmodels.perturbation.differential import Effects
from worldmodels.perturbation.linear_solution import COMPONENTS, RIDGE, Rows, Solution, solve

FOLDS: Final = 5
LEAST: Final = 10
"""Fewer perturbations than this leave folds of one."""
VARIABLE: Final = 1000
"""Readouts of the largest spread, over which changes are correlated."""
PAIRS: Final = 4_000_000
"""Most pairs of held-out perturbation and readout to judge by: beyond, readouts are drawn."""
DE, DIR = "perturbation.de", "perturbation.dir"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to train."""

    components: int = COMPONENTS
    ridge: float = RIDGE
    seed: int = 0
    alpha: float = 0.05
    """A readout is changed if q < alpha …"""
    least: float = 0.0
    """… and |log₂ fold change| ≥ least."""
    calibration: Kind = "platt"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is fitted: changes of readouts under perturbations that have an embedding.

    Attributes:
        perturbations: names, parts resolved to symbols.
        readouts: symbols.
        embedded: symbols of the genes that have an embedding.
        parts: of each perturbation, rows of ``embedded``.
        y: shape (perturbations, readouts), change of the mean log-normalised expression.
        changed: labels, same shape.
        up: direction of the change, same shape.
        judged: same shape; False where the readout is perturbed itself.
        vectors: shape (embedded, d), None where readouts are embedded by their own response.
        dropped: perturbations without an embedding.
    """

    perturbations: list[str]
    readouts: list[str]
    embedded: list[str]
    parts: list[Rows]
    y: Floats
    changed: NDArray[np.bool_]
    up: NDArray[np.bool_]
    judged: NDArray[np.bool_]
    vectors: Floats | None
    dropped: list[str]


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model with the models of its folds, curves by relation and held-out figures."""

    problem: Problem
    solutions: list[Solution]
    """Of all perturbations first, then of all but each fold's."""
    curves: dict[str, calibration.Fitted]
    p0: dict[str, Floats]
    """Relation → mean of p over the training perturbations, shape (readouts,)."""
    metrics: dict[str, float]
    notes: list[str] = field(default_factory=list)


def pose(
    found: Effects, vectors: Embeddings | None, genes: GeneResolver, settings: Settings
) -> Problem:
    """Match perturbations with their embeddings.

    Raises:
        ModelFault: two readouts are one gene, or too few perturbations have an embedding.
    """
    readouts = [genes.canonical(name) for name in found.readouts]
    if len(set(readouts)) < len(readouts):
        twice = sorted({name for name in readouts if readouts.count(name) > 1})
        raise ModelFault(
            f"{len(twice)} genes are read out under several spellings ({', '.join(twice[:3])}); "
            "keep one column of each"
        )
    names = readouts if vectors is None else vectors.names
    vocabulary = Vocabulary(names, range(len(names)), genes)
    spelt = [[genes.canonical(part) for part in name.split("+")] for name in found.perturbations]
    rows = [vocabulary.codes(parts) for parts in spelt]
    kept = [i for i, row in enumerate(rows) if (row >= 0).all()]
    dropped = ["+".join(spelt[i]) for i, row in enumerate(rows) if (row < 0).any()]
    if len(kept) < LEAST and not dropped:
        raise ModelFault(
            f"{len(kept)} perturbations are too few to hold some out: a model needs {LEAST}; give "
            "a screen of more, or a lower --min-cells"
        )
    if len(kept) < LEAST:
        source = "readout that enough cells detect" if vectors is None else vectors.source
        raise ModelFault(
            f"{len(kept)} of {len(rows)} perturbations have an embedding ({source}), and a model "
            f"needs {LEAST}; without are {', '.join(dropped[:3])}; give vectors that hold them "
            "(--embeddings, --graphs), or a lower --min-detected"
        )
    place = {name: i for i, name in enumerate(readouts)}
    judged = np.ones((len(kept), len(readouts)), np.bool_)
    for row, i in enumerate(kept):
        judged[row, [place[part] for part in spelt[i] if part in place]] = False
    return Problem(
        perturbations=["+".join(sorted(spelt[i])) for i in kept],
        readouts=readouts,
        embedded=[genes.canonical(name) for name in names],
        parts=[rows[i] for i in kept],
        y=found.delta[kept].astype(np.float64),
        changed=found.changed(settings.alpha, settings.least)[kept],
        up=found.effect[kept] > 0,
        judged=judged,
        vectors=None if vectors is None else vectors.vectors.astype(np.float64),
        dropped=dropped,
    )


def fit(
    problem: Problem, settings: Settings, advance: Callable[[float], None] = lambda _: None
) -> Fitted:
    """Fit, calibrate and judge.

    Args:
        problem: from ``pose``.
        settings: how.
        advance: told the share that is done.

    Raises:
        ModelFault: labels of one class only.
    """
    folds = _folds(problem, settings.seed)
    solutions = [_solve(problem, np.ones(len(problem.y), np.bool_), settings)]
    unseen, spread, mean = (
        np.empty_like(problem.y),
        np.empty_like(problem.y),
        np.empty_like(problem.y),
    )
    for number in range(FOLDS):
        held_out, touched = folds[0] == number, folds[1][:, number]
        solution = _solve(problem, ~touched, settings)
        unseen[held_out] = solution.changes([problem.parts[i] for i in np.flatnonzero(held_out)])
        spread[held_out], mean[held_out] = solution.spread, solution.offset
        solutions.append(solution)
        advance((number + 1) / (FOLDS + 1))
    figures = _correlations(problem, unseen, mean)
    curves, judged, notes = _calibrate(problem, unseen, spread, settings)
    made = Fitted(problem, solutions, curves, {}, figures | judged, notes)
    for relation, curve in curves.items():
        made.p0[relation] = _marginal(made, relation, curve)
    made.notes.extend(_beaten(figures))
    advance(1.0)
    return made


def scores(relation: str, change: Floats, spread: Floats) -> Floats:
    """The raw score in [0, 1] of a predicted change, z = Δ/σ.

    For ``perturbation.de`` P(|Z| ≤ |z|), for ``perturbation.dir`` Φ(z), Z a standard normal.
    """
    from scipy.special import erf, ndtr

    z = change / spread
    return np.asarray(erf(np.abs(z) / np.sqrt(2)) if relation == DE else ndtr(z), np.float64)


def _folds(problem: Problem, seed: int) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """The fold that judges each perturbation, and which folds hold any of its genes."""
    genes = np.unique(np.concatenate(problem.parts))
    if len(genes) < FOLDS:
        raise ModelFault(f"{len(genes)} perturbed genes are too few to hold some out; give more")
    dealt = np.random.default_rng(seed).permutation(len(genes)) % FOLDS
    of_gene = dict(zip(genes.tolist(), dealt.tolist(), strict=True))
    touched = np.zeros((len(problem.parts), FOLDS), np.bool_)
    for row, part in enumerate(problem.parts):
        touched[row, [of_gene[gene] for gene in part.tolist()]] = True
    return touched.argmax(axis=1), touched


def _solve(problem: Problem, rows: NDArray[np.bool_], settings: Settings) -> Solution:
    return solve(
        problem.y[rows],
        [problem.parts[i] for i in np.flatnonzero(rows)],
        problem.vectors,
        components=settings.components,
        ridge=settings.ridge,
    )


def _calibrate(
    problem: Problem, unseen: Floats, spread: Floats, settings: Settings
) -> tuple[dict[str, calibration.Fitted], dict[str, float], list[str]]:
    """Curves and figures by relation, from what the fold models said of unseen perturbations."""
    curves: dict[str, calibration.Fitted] = {}
    figures: dict[str, float] = {}
    notes: list[str] = []
    drawn = _drawn(unseen.shape, settings.seed)
    for relation, labels, prefix in ((DE, problem.changed, ""), (DIR, problem.up, "dir_")):
        asked = problem.judged & drawn
        rows, readouts = np.nonzero(asked if relation == DE else asked & problem.changed)
        truth = labels[rows, readouts]
        up, down = int(truth.sum()), int((~truth).sum())
        if min(up, down) < 2 * FOLDS:
            if relation == DE:
                raise ModelFault(
                    f"{up:,} of {up + down:,} pairs of perturbation and readout change (q < "
                    f"{settings.alpha:g}): too few of either kind to learn from; give more cells "
                    "or perturbations, or another --alpha or --min-effect"
                )
            notes.append(
                f"{up:,} readouts go up and {down:,} down: too few to calibrate a direction, so "
                f"{DIR} is not answered"
            )
            continue
        raw = scores(relation, unseen[rows, readouts], spread[rows, readouts])
        curve = calibration.fit_reported(
            settings.calibration, raw, truth, _first_genes(problem)[rows], seed=settings.seed
        )
        found = metrics.figures(readouts, truth, quantise(curve.apply(raw)), raw)
        found |= {"ece": curve.report.ece, "brier": curve.report.brier}
        curves[relation] = curve
        figures |= {prefix + name: value for name, value in found.items()}
        if note := curve.to_dict().get("note"):
            notes.append(f"{relation}: {note}")
    return curves, figures, notes


def _first_genes(problem: Problem) -> NDArray[np.intp]:
    return np.array([int(part.min()) for part in problem.parts], np.intp)


def _drawn(shape: tuple[int, ...], seed: int) -> NDArray[np.bool_]:
    """All readouts, or as many of them as ``PAIRS`` allows."""
    kept = np.ones(shape[1], np.bool_)
    if (most := max(PAIRS // shape[0], 1)) < shape[1]:
        kept[:] = False
        kept[np.random.default_rng(seed).choice(shape[1], most, replace=False)] = True
    return kept


def _marginal(made: Fitted, relation: str, curve: calibration.Fitted) -> Floats:
    """Mean of p over the training perturbations, readout by readout."""
    whole = made.solutions[0]
    total = np.zeros(len(whole.offset))
    for part in made.problem.parts:
        total += curve.apply(scores(relation, whole.changes([part])[0], whole.spread))
    return quantise(total / len(made.problem.parts))


def _correlations(problem: Problem, unseen: Floats, mean: Floats) -> dict[str, float]:
    """How predicted changes agree with measured ones, beside the mean of the training ones."""
    variable = np.argsort(problem.y.std(axis=0))[::-1][:VARIABLE]
    pearson: dict[str, list[float]] = {"": [], "_of_mean": []}
    square: dict[str, float] = {"": 0.0, "_of_mean": 0.0}
    for row, truth in enumerate(problem.y):
        at = variable[problem.judged[row, variable]]
        for name, said in (("", unseen[row]), ("_of_mean", mean[row])):
            pearson[name].append(_pearson(said[at], truth[at]))
            square[name] += float(np.mean((said[at] - truth[at]) ** 2)) / len(problem.y)
    figures = {f"delta_pearson{name}": float(np.nanmean(of)) for name, of in pearson.items()}
    return figures | {f"delta_rmse{name}": value**0.5 for name, value in square.items()}


def _pearson(a: Floats, b: Floats) -> float:
    """Pearson's r; 0 where a prediction is the same for all readouts, which tells nothing."""
    a, b = a - a.mean(), b - b.mean()
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if length else 0.0


def _beaten(figures: dict[str, float]) -> list[str]:
    found, mean = figures["delta_pearson"], figures["delta_pearson_of_mean"]
    if found > mean:
        return []
    return [
        f"the mean of the training perturbations predicts changes as well or better (Pearson "
        f"{mean:.3f}, this model {found:.3f}): its changes are not worth more than a mean"
    ]
