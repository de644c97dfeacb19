"""Whether the parts of a trained ``screen`` model fit together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldmodels.core import ModelFault
from worldmodels.perturbation.screen_ensemble import Ensemble
from worldmodels.perturbation.screen_features import SUMMARY
from worldmodels.perturbation.screen_fitted import Fitted, Relation
from worldmodels.perturbation.screen_rows import RELATIONS


def check(path: Path, fitted: Fitted) -> None:
    """Whether the parts of a model fit together.

    Raises:
        ModelFault: they do not; says which.
    """
    lines, perturbations = len(fitted.lines) + 1, len(fitted.perturbations)
    if not fitted.lines or not len(fitted.rows):
        raise fault(path, "it was built for no cell line, or from no rows")
    if len(set(fitted.perturbations)) != perturbations:
        raise fault(path, "a perturbation is there twice")
    taught = {fitted.rows.genes[code] for code in np.unique(fitted.rows.perturbation)}
    if not taught <= set(fitted.perturbations):
        raise fault(path, "a perturbation of its training rows is none of its perturbations")
    if fitted.featured.shape != (lines, perturbations) or not fitted.featured.any(axis=1).all():
        raise fault(path, "featured does not say of each line which perturbations it answers for")
    if SUMMARY not in fitted.blocks or not fitted.families:
        raise fault(path, "features are missing")
    for name, block in fitted.blocks.items():
        if block.ndim != 2 or len(block) != perturbations or not np.isfinite(block).all():
            raise fault(path, f"features {name} do not fit its perturbations, or are not finite")
    for family, used in fitted.families.items():
        if not used or not set(used) <= set(fitted.blocks):
            raise fault(path, f"family {family} names features that are not there")
    _check_lessons(path, fitted, lines)
    if not fitted.relations or set(fitted.relations) - set(RELATIONS):
        raise fault(path, f"relations are {sorted(fitted.relations)}, known: {RELATIONS}")
    for name, relation in fitted.relations.items():
        _check_relation(path, name, relation, lines)
        table, wanted = fitted.p0.get(name), (lines, len(fitted.readouts))
        if table is None or table.shape != wanted or not ((table >= 0) & (table <= 1)).all():
            raise fault(path, f"p0 of {name} is no table of {wanted} probabilities")


def _check_lessons(path: Path, fitted: Fitted, lines: int) -> None:
    if len(fitted.lesson) != lines or len(fitted.shares) != lines:
        raise fault(path, f"lessons or shares are not those of {lines} lines")
    if any(not 0 <= one < len(fitted.lessons) for one in fitted.lesson):
        raise fault(path, "a line learns from a lesson that is not there")
    size = len(fitted.rows.genes)
    points = np.unique(fitted.rows.line * size + fitted.rows.perturbation) // size
    for lesson in fitted.lessons:
        n = int(np.isin(points, lesson.lines).sum())
        if set(lesson.inverse) != set(fitted.families):
            raise fault(path, f"lessons are of {sorted(lesson.inverse)}")
        for table in lesson.inverse.values():
            if table.shape != (n, n) or not np.isfinite(table).all():
                raise fault(path, f"an inverse kernel is no finite table of {n} × {n} points")


def _check_relation(path: Path, name: str, relation: Relation, lines: int) -> None:
    if len(relation.heads) != lines or len(relation.group) != lines:
        raise fault(path, f"{name} has {len(relation.heads)} heads for {lines} lines")
    if any(not 0 <= one < len(relation.ensembles) for one in relation.group):
        raise fault(path, f"{name}: a line is answered by nets that are not there")
    for ensemble in relation.ensembles:
        if not ensemble.nets or len({net.inputs for net in ensemble.nets}) != 1:
            raise fault(path, f"{name}: nets of a group are none, or take different inputs")
        _check_trees(path, name, ensemble)
        for net in ensemble.nets:
            width = net.inputs
            for weights, bias in net.layers:
                if weights.shape != (width, len(bias)):
                    raise fault(path, f"{name}: layers of a net do not fit one another")
                width = len(bias)
            tables = (net.shift, net.scale, *(one for layer in net.layers for one in layer))
            if width != 1 or not all(np.isfinite(table).all() for table in tables):
                raise fault(path, f"{name}: a net has not one finite output")


def _check_trees(path: Path, name: str, ensemble: Ensemble) -> None:
    trees = ensemble.trees
    leaves = trees.leaf.shape[-1]
    inner = (len(trees.leaf), leaves - 1)
    if trees.base.shape != (1,) or trees.leaf.ndim != 2 or leaves < 2 or leaves & (leaves - 1):
        raise fault(path, f"{name}: trees are not complete, or have no base")
    if trees.feature.shape != inner or trees.threshold.shape != inner:
        raise fault(path, f"{name}: nodes of trees do not fit their leaves")
    if not ((trees.feature >= 0) & (trees.feature < ensemble.inputs)).all():
        raise fault(path, f"{name}: a tree asks about an input that is not there")
    finite = np.isfinite(trees.leaf).all() and np.isfinite(trees.base).all()
    if not finite or np.isnan(trees.threshold).any():
        raise fault(path, f"{name}: trees are not finite")


def fault(path: Path, what: str) -> ModelFault:
    """What is wrong with a model, and what to do about it."""
    return ModelFault(f"{path}: {what}; build the model anew")


def array(
    path: Path, arrays: Mapping[str, NDArray[Any]], name: str, kind: type[Any]
) -> NDArray[Any]:
    """An array of a file, of the kind that it should be.

    Raises:
        ModelFault: it is not there, or of another kind.
    """
    if name not in arrays or arrays[name].dtype != np.dtype(kind):
        found = arrays[name].dtype if name in arrays else "nothing"
        raise fault(path, f"array {name!r} should be {np.dtype(kind)}, found {found}")
    return arrays[name]


def check_askable(fitted: Fitted) -> None:
    """Whether each line, and so the pooled one, has training perturbations that can be asked.

    Raises:
        ModelFault: one has none.
    """
    rows = fitted.rows
    for line, name in enumerate(fitted.lines):
        taught = {rows.genes[code] for code in np.unique(rows.perturbation[rows.line == line])}
        askable = np.flatnonzero(fitted.featured[line])
        if taught.isdisjoint(fitted.perturbations[i] for i in askable):
            raise ModelFault(
                f"no training perturbation of {name} has a feature, so there is nothing to answer "
                "by; do the graphs name genes as the tables do?"
            )
