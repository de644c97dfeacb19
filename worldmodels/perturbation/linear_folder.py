"""The folder of a trained linear model: factors, names, curves, and the rows it was trained on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldmodels import checkpoints, training_rows
from worldmodels.checkpoints import Checkpoint, Manifest
from worldmodels.core import Floats
from worldmodels.perturbation.linear import COMBINATIONS, CURVES, FACTORS, FAMILY, VOCABULARY
from worldmodels.perturbation.linear_training import DE, DIR, Fitted, Problem, Settings
from worldmodels.training_rows import Coded


def save(
    folder: Path,
    fitted: Fitted,
    settings: Settings,
    *,
    name: str,
    version: str,
    line: str,
    training: str,
    licence: str,
    force: bool = False,
) -> Checkpoint:
    """Write a model for serving.

    Args:
        folder: where.
        fitted: from ``linear_training.fit``.
        settings: what it was trained by, for the record.
        name: of the model.
        version: of the model.
        line: canonical cell line, the one context that it answers for.
        training: what it was trained on, for the record.
        licence: of the data.
        force: replace the checkpoint that is there.

    Raises:
        ModelFault: a folder that may not be written.
    """
    problem = fitted.problem
    names, arrays = _arrays(fitted)
    rows, texts = _rows(problem, line, names)
    texts[VOCABULARY] = json.dumps(names)
    texts[CURVES] = json.dumps({of: curve.to_dict() for of, curve in fitted.curves.items()})
    manifest = Manifest(
        name=name,
        family=FAMILY,
        version=version,
        relations=tuple(fitted.curves),
        contexts=(line,),
        licence=licence,
        training=training,
        calibration=fitted.curves[DE].to_dict(),
        metrics=fitted.metrics,
        options={
            "components": settings.components,
            "ridge": settings.ridge,
            "alpha": settings.alpha,
            "least_log2_fold_change": settings.least,
            "seed": settings.seed,
            "perturbations": len(problem.perturbations),
            COMBINATIONS: sum("+" in perturbation for perturbation in problem.perturbations),
            "notes": list(fitted.notes),
        },
    )
    tensors = {FACTORS: arrays, **rows}
    return checkpoints.write(folder, manifest, tensors=tensors, texts=texts, force=force)


def _arrays(fitted: Fitted) -> tuple[list[str], dict[str, NDArray[Any]]]:
    problem, models = fitted.problem, fitted.solutions
    width = max(model.objects.shape[1] for model in models)
    parts = {part for name in problem.perturbations for part in name.split("+")}
    named = {*problem.embedded, *problem.readouts, *parts}
    named |= {part for name in problem.dropped for part in name.split("+")}
    names = sorted(named - {""})
    row = {name: i for i, name in enumerate(names)}
    subject, object_ = (np.full(len(names), -1, np.int32) for _ in range(2))
    for place, column in ((subject, problem.embedded), (object_, problem.readouts)):
        for i, name in reversed(list(enumerate(column))):  # of two spellings the first counts
            place[row[name]] = i
    arrays = {
        "subjects": np.stack([_padded(model.subjects, width) for model in models]),
        "objects": np.stack([_padded(model.objects, width) for model in models]),
        "offsets": np.stack([model.offset for model in models]),
        "spreads": np.stack([model.spread for model in models]),
    }
    made: dict[str, NDArray[Any]] = {key: array.astype(np.float32) for key, array in arrays.items()}
    made |= {"subject": subject, "object": object_}
    return names, made | {f"p0_{relation}": values for relation, values in fitted.p0.items()}


def _padded(factors: Floats, width: int) -> Floats:
    """Zeros for the components that a fold of few perturbations lacks."""
    return np.pad(factors, ((0, 0), (0, width - factors.shape[1])))


def _rows(
    problem: Problem, line: str, names: list[str]
) -> tuple[dict[str, dict[str, NDArray[Any]]], dict[str, str]]:
    """The identity of the training rows; combinations are names of their own."""
    genes = sorted({*names, *problem.perturbations})
    row = {name: i for i, name in enumerate(genes)}
    a = np.array([row[name] for name in problem.perturbations])
    b = np.array([row[name] for name in problem.readouts])
    coded = {}
    for relation, learnt in ((DE, problem.judged), (DIR, problem.judged & problem.changed)):
        rows, readouts = np.nonzero(learnt)
        coded[relation] = Coded(np.zeros(len(rows), np.int64), a[rows], b[readouts])
    return training_rows.contents(genes, [line], coded)
