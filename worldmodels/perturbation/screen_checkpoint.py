"""A trained ``screen`` model as a checkpoint folder, written and read back checked.

``model.safetensors`` holds the genes' features, which perturbations each line can answer for, p₀ by
line and readout, and the labels of the training rows, whose keys are in the files of
``training_rows``; ``lessons.safetensors`` the inverse kernels, ``nets.safetensors`` and
``trees.safetensors`` the ensembles. All are memory-mapped, so that several processes share them.
``heads.json`` says what belongs to which line, and holds the calibration curves; names of
perturbations are in ``perturbations.json``. Limits: the folder holds its training data, so it may
go where these may.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from worldmodels import calibration, checkpoints, spellings, training_rows
from worldmodels.checkpoints import Checkpoint, Manifest
from worldmodels.core import ModelFault
from worldmodels.genes import GeneResolver
from worldmodels.manifest import Value
from worldmodels.perturbation import screen_ensemble_tables
from worldmodels.perturbation.screen_checks import array, check, check_askable, fault
from worldmodels.perturbation.screen_fitted import Fitted, Head, Lesson, Relation
from worldmodels.perturbation.screen_rows import RELATIONS, Rows
from worldmodels.training_rows import Coded, TrainedRows

FAMILY: Final = "screen"
MODEL: Final = "model.safetensors"
LESSONS: Final = "lessons.safetensors"
HEADS: Final = "heads.json"
PERTURBATIONS: Final = "perturbations.json"
_KEYS: Final = ("keys_de", "keys_dir")
_FEATURES: Final = "features."


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A ``Head`` in ``heads.json``."""

    curve: dict[str, Any]
    fitted: dict[str, float]


class _Relation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A relation in ``heads.json``: how many nets each group has and how many layers a net."""

    nets: list[int]
    layers: int
    group: list[int]
    lines: list[_Head]


class _Heads(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``heads.json``."""

    families: dict[str, list[str]]
    lessons: list[list[int]]
    lesson: list[int]
    shares: list[float]
    relations: dict[str, _Relation]


_DECODER: Final = msgspec.json.Decoder(_Heads)


def save(
    folder: Path,
    fitted: Fitted,
    *,
    name: str,
    version: str,
    resolver: GeneResolver | None = None,
    licence: str = "unknown",
    training: str = "unknown",
    options: Mapping[str, Value] | None = None,
    force: bool = False,
) -> Checkpoint:
    """Write a trained model.

    Args:
        folder: where; see ``checkpoints.write``.
        fitted: the model; figures of its ``metrics`` that are NaN are left out.
        name: of the model.
        version: of it.
        resolver: knows other names of the genes, which are stored too.
        licence: of the data.
        training: what it was trained on, in words.
        options: how it was trained, for the manifest.
        force: replace the checkpoint that is there.

    Raises:
        ModelFault: parts that do not fit together, or a folder that may not be written.
    """
    check(folder, fitted)
    check_askable(fitted)
    keys, names = training_rows.contents(fitted.rows.genes, fitted.lines, _coded(fitted.rows))
    manifest = Manifest(
        name=name,
        family=FAMILY,
        version=version,
        relations=tuple(relation for relation in RELATIONS if relation in fitted.relations),
        contexts=fitted.lines,
        licence=licence,
        training=training,
        calibration={"kind": _kind(fitted)},
        metrics={name: value for name, value in fitted.metrics.items() if np.isfinite(value)},
        options=options or {},
    )
    texts = {
        PERTURBATIONS: json.dumps(fitted.perturbations),
        spellings.FILE: spellings.text((*fitted.perturbations, *fitted.readouts), resolver),
        HEADS: msgspec.json.encode(_written(fitted)).decode(),
    }
    tensors = {
        MODEL: _arrays(fitted),
        LESSONS: {
            f"{number}.{family}": table
            for number, lesson in enumerate(fitted.lessons)
            for family, table in lesson.inverse.items()
        },
        **screen_ensemble_tables.written(fitted.relations),
    }
    return checkpoints.write(
        folder, manifest, tensors={**tensors, **keys}, texts={**texts, **names}, force=force
    )


def read(checkpoint: Checkpoint) -> Fitted:
    """The model of a folder; its tables are views into the mapped files.

    Raises:
        ModelFault: a model of another family, or parts that are damaged or do not fit together.
    """
    checkpoint.check_family(FAMILY)
    heads = _heads(checkpoint)
    if set(heads.relations) != set(checkpoint.manifest.relations):
        raise fault(checkpoint.path / HEADS, f"its relations are {sorted(heads.relations)}")
    model, where = checkpoint.mapped(MODEL), checkpoint.path / MODEL
    blocks = {
        name.removeprefix(_FEATURES): array(where, model, name, np.float32)
        for name in model
        if name.startswith(_FEATURES)
    }
    fitted = Fitted(
        rows=_rows(checkpoint, model),
        perturbations=tuple(checkpoint.names(PERTURBATIONS)),
        blocks=blocks,
        families={name: tuple(used) for name, used in heads.families.items()},
        lessons=_read_lessons(checkpoint, heads),
        lesson=tuple(heads.lesson),
        shares=tuple(heads.shares),
        featured=array(where, model, "featured", np.bool_),
        relations=_read_relations(checkpoint, heads),
        metrics=checkpoint.manifest.metrics,
        p0={name: array(where, model, f"p0.{name}", np.float64) for name in heads.relations},
    )
    if fitted.lines != checkpoint.manifest.contexts:
        raise fault(checkpoint.path, f"its rows are of {fitted.lines}")
    check(checkpoint.path, fitted)
    return fitted


def trained_rows(folder: Path) -> TrainedRows:
    """The rows that the model of a folder was trained on.

    Raises:
        ModelFault: no checkpoint, a damaged one, or one that does not keep them.
    """
    found = training_rows.read(folder)
    if found is None:
        raise fault(folder, "it does not say what it was trained on")
    return found


def _coded(rows: Rows) -> dict[str, Coded]:
    told = rows.take(rows.up >= 0)
    return {
        relation: Coded(part.line, part.perturbation, part.readout)
        for relation, part in zip(RELATIONS, (rows, told), strict=True)
    }


def _rows(checkpoint: Checkpoint, model: Mapping[str, NDArray[Any]]) -> Rows:
    """The training rows, from their keys and labels."""
    where = checkpoint.path / MODEL
    keys = checkpoint.mapped(training_rows.KEYS)
    changes, directions = (array(checkpoint.path, keys, name, np.int64) for name in _KEYS)
    de, up = (array(where, model, f"labels.{name}", np.uint8) for name in RELATIONS)
    genes, lines = (
        checkpoint.names(name) for name in (training_rows.GENES, training_rows.CONTEXTS)
    )
    at = np.searchsorted(changes, directions).clip(0, len(changes) - 1)
    if len(de) != len(changes) or len(up) != len(directions) or (changes[at] != directions).any():
        raise fault(where, "labels are not those of its training rows")
    if len(changes) and not 0 <= changes[0] <= changes[-1] < len(lines) * len(genes) ** 2:
        raise fault(checkpoint.path, "training rows are of genes that it does not name")
    direction = np.full(len(changes), -1, np.int8)
    direction[at] = up
    rest, readout = np.divmod(changes, len(genes))
    line, perturbation = np.divmod(rest, len(genes))
    return Rows(tuple(lines), tuple(genes), line, perturbation, readout, np.array(de), direction)


def _kind(fitted: Fitted) -> str:
    """Which curves the lines have, for whoever lists models."""
    curves = (head.curve for of in fitted.relations.values() for head in of.heads)
    kinds = sorted({str(curve.to_dict()["kind"]) for curve in curves})
    return ", ".join(kinds) + " per cell line"


def _arrays(fitted: Fitted) -> dict[str, NDArray[Any]]:
    told = fitted.rows.up >= 0
    return {
        "featured": fitted.featured,
        **{f"{_FEATURES}{name}": block for name, block in fitted.blocks.items()},
        **{f"p0.{name}": table for name, table in fitted.p0.items()},
        f"labels.{RELATIONS[0]}": fitted.rows.de.astype(np.uint8),
        f"labels.{RELATIONS[1]}": fitted.rows.up[told].astype(np.uint8),
    }


def _written(fitted: Fitted) -> _Heads:
    return _Heads(
        {name: list(used) for name, used in fitted.families.items()},
        [list(lesson.lines) for lesson in fitted.lessons],
        list(fitted.lesson),
        list(fitted.shares),
        {
            name: _Relation(
                [len(ensemble.nets) for ensemble in of.ensembles],
                len(of.ensembles[0].nets[0].layers),
                list(of.group),
                [_Head(head.curve.to_dict(), _finite(head.fitted)) for head in of.heads],
            )
            for name, of in fitted.relations.items()
        },
    )


def _finite(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in figures.items() if np.isfinite(value)}


def _heads(checkpoint: Checkpoint) -> _Heads:
    try:
        return _DECODER.decode(checkpoint.text(HEADS))
    except (msgspec.DecodeError, RecursionError) as error:
        raise fault(checkpoint.path / HEADS, f"not as it should be ({error})") from error


def _read_lessons(checkpoint: Checkpoint, heads: _Heads) -> tuple[Lesson, ...]:
    tables, where = checkpoint.mapped(LESSONS), checkpoint.path / LESSONS
    return tuple(
        Lesson(
            tuple(lines),
            {name: array(where, tables, f"{number}.{name}", np.float32) for name in heads.families},
        )
        for number, lines in enumerate(heads.lessons)
    )


def _read_relations(checkpoint: Checkpoint, heads: _Heads) -> dict[str, Relation]:
    layers = {name: (of.nets, of.layers) for name, of in heads.relations.items()}
    ensembles = screen_ensemble_tables.read(checkpoint, layers)
    return {
        name: Relation(
            ensembles[name],
            tuple(of.group),
            tuple(_head(checkpoint.path / HEADS, head) for head in of.lines),
        )
        for name, of in heads.relations.items()
    }


def _head(path: Path, head: _Head) -> Head:
    try:
        return Head(calibration.from_dict(head.curve), head.fitted)
    except ModelFault as error:
        raise fault(path, str(error)) from error
