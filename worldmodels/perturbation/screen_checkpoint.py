"""A trained ``screen`` model as a checkpoint folder, written and read back checked.

``factors.safetensors`` holds by relation and family the factors as float16, by relation p₀ by line
and readout, and which perturbations each line can answer for; it is memory-mapped, so that several
processes share it. ``heads.json`` holds weights and calibration curves by relation and line, names
are in ``perturbations.json`` and ``readouts.json``, the identity of the training rows in the files
of ``training_rows``. Limits: float16 keeps about three digits of a factor and nothing above 65,504.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from worldmodels import calibration, checkpoints, spellings, training_rows
from worldmodels.calibration import Calibrator
from worldmodels.checkpoints import Checkpoint, Manifest
from worldmodels.core import Floats, ModelFault
from worldmodels.genes import GeneResolver
from worldmodels.manifest import Value
from worldmodels.perturbation.screen_factors import RELATIONS, Factors, Fitted, Head, Relation, Rows
from worldmodels.training_rows import Coded, TrainedRows

FAMILY: Final = "screen"
FACTORS: Final = "factors.safetensors"
HEADS: Final = "heads.json"
PERTURBATIONS: Final = "perturbations.json"
READOUTS: Final = "readouts.json"


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A ``Head`` in ``heads.json``."""

    weights: list[float]
    intercept: float
    curve: dict[str, Any]
    slopes: list[float]
    intercepts: list[float]
    fitted: dict[str, float]


class _Heads(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A relation in ``heads.json``: its families in order, a head for each line."""

    families: list[str]
    lines: list[_Head]


_DECODER: Final = msgspec.json.Decoder(dict[str, _Heads])


def save(
    folder: Path,
    fitted: Fitted,
    rows: Rows,
    *,
    name: str,
    version: str,
    resolver: GeneResolver | None = None,
    licence: str = "unknown",
    training: str = "unknown",
    options: Mapping[str, Value] | None = None,
    force: bool = False,
) -> Checkpoint:
    """Write a trained model, with p₀ and with the identity of its training rows.

    Args:
        folder: where; see ``checkpoints.write``.
        fitted: the model; figures of its ``metrics`` that are NaN are left out.
        rows: what it was trained on.
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
    _check_trained_on(fitted, rows)
    keys, names = training_rows.contents(rows.genes, rows.lines, _coded(rows))
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
        READOUTS: json.dumps(fitted.readouts),
        spellings.FILE: spellings.text((*fitted.perturbations, *fitted.readouts), resolver),
        HEADS: json.dumps({name: _written(of) for name, of in fitted.relations.items()}),
    }
    tensors = {FACTORS: _arrays(fitted), **keys}
    return checkpoints.write(
        folder, manifest, tensors=tensors, texts={**texts, **names}, force=force
    )


def read(checkpoint: Checkpoint) -> Fitted:
    """The model of a folder; its factors are views into the mapped file.

    Raises:
        ModelFault: a model of another family, or parts that are damaged or do not fit together.
    """
    checkpoint.check_family(FAMILY)
    where = checkpoint.path / FACTORS
    arrays = checkpoint.mapped(FACTORS)
    heads = _heads(checkpoint)
    if set(heads) != set(checkpoint.manifest.relations):
        raise _fault(checkpoint.path / HEADS, f"its relations are {sorted(heads)}")
    fitted = Fitted(
        lines=checkpoint.manifest.contexts,
        perturbations=tuple(checkpoint.names(PERTURBATIONS)),
        readouts=tuple(checkpoint.names(READOUTS)),
        featured=_array(where, arrays, "featured", np.bool_),
        relations={
            name: Relation(
                {
                    family: Factors(
                        _array(where, arrays, f"{name}.{family}.subjects", np.float16),
                        _array(where, arrays, f"{name}.{family}.objects", np.float16),
                    )
                    for family in of.families
                },
                tuple(_head(checkpoint.path / HEADS, head) for head in of.lines),
            )
            for name, of in heads.items()
        },
        metrics=checkpoint.manifest.metrics,
        p0={name: _array(where, arrays, f"{name}.p0", np.float64) for name in heads},
    )
    check(checkpoint.path, fitted)
    return fitted


def trained_rows(folder: Path) -> TrainedRows:
    """The rows that the model of a folder was trained on.

    Raises:
        ModelFault: no checkpoint, a damaged one, or one that does not keep them.
    """
    found = training_rows.read(folder)
    if found is None:
        raise _fault(folder, "it does not say what it was trained on")
    return found


def check(path: Path, fitted: Fitted) -> None:
    """Whether the parts of a model fit together.

    Raises:
        ModelFault: they do not; says which.
    """
    lines, shape = len(fitted.lines) + 1, (len(fitted.perturbations), len(fitted.readouts))
    if not fitted.lines:
        raise _fault(path, "it was built for no cell line")
    for what, names in (("perturbation", fitted.perturbations), ("readout", fitted.readouts)):
        if len(set(names)) != len(names) or not names:
            raise _fault(path, f"its {what}s are none, or one is there twice")
    if fitted.featured.shape != (lines, shape[0]) or not fitted.featured.any(axis=1).all():
        raise _fault(path, "featured does not say of each line which perturbations it answers for")
    if not fitted.relations or set(fitted.relations) - set(RELATIONS):
        raise _fault(path, f"relations are {sorted(fitted.relations)}, known: {RELATIONS}")
    for name, relation in fitted.relations.items():
        if not relation.families or len(relation.heads) != lines:
            raise _fault(path, f"{name} has {len(relation.heads)} heads for {lines} lines")
        for family, factors in relation.families.items():
            _check_factors(path, f"{name}.{family}", factors, lines, shape)
        for head in relation.heads:
            columns = (head.weights, head.slopes, head.intercepts)
            if any(np.shape(column) != (len(relation.families),) for column in columns):
                raise _fault(path, f"{name}: a head has not one weight for each family")
            if not np.isfinite([*np.concatenate(columns), head.intercept]).all():
                raise _fault(path, f"{name}: a weight of a head is not finite")
        table, wanted = fitted.p0.get(name), (lines, shape[1])
        if table is None or table.shape != wanted or not ((table >= 0) & (table <= 1)).all():
            raise _fault(path, f"p0 of {name} is no table of {wanted} probabilities")


def _check_factors(
    path: Path, name: str, factors: Factors, lines: int, shape: tuple[int, int]
) -> None:
    sides = ((factors.subjects, shape[0]), (factors.objects, shape[1]))
    for table, rows in sides:
        if table.dtype != np.float16 or table.ndim != 3:
            raise _fault(path, f"{name}: expected factors of float16 in three dimensions")
        expected = (table.shape[0], rows, factors.subjects.shape[-1])
        if table.shape != expected or table.shape[0] not in (1, lines) or not table.shape[2]:
            raise _fault(path, f"{name}: factors of shape {table.shape} do not fit {shape}")
        if not np.isfinite(table).all():
            raise _fault(path, f"{name}: a factor is not finite")


def _fault(path: Path, what: str) -> ModelFault:
    return ModelFault(f"{path}: {what}; build the model anew")


def _check_trained_on(fitted: Fitted, rows: Rows) -> None:
    """Whether each line, and so the pooled one, has training perturbations that can be asked."""
    if rows.lines != fitted.lines:
        raise ModelFault(f"rows of {rows.lines} cannot be those of a model of {fitted.lines}")
    for line, name in enumerate(fitted.lines):
        taught = {rows.genes[code] for code in np.unique(rows.perturbation[rows.line == line])}
        askable = np.flatnonzero(fitted.featured[line])
        if taught.isdisjoint(fitted.perturbations[i] for i in askable):
            raise ModelFault(
                f"no training perturbation of {name} has a feature, so there is nothing to answer "
                "by; do the graphs name genes as the tables do?"
            )


def _coded(rows: Rows) -> dict[str, Coded]:
    told = rows.take(rows.up >= 0)
    return {
        relation: Coded(part.line, part.perturbation, part.readout)
        for relation, part in zip(RELATIONS, (rows, told), strict=True)
    }


def _kind(fitted: Fitted) -> str:
    """Which curves the lines have, for whoever lists models."""
    curves = (head.curve for of in fitted.relations.values() for head in of.heads)
    kinds = sorted({str(curve.to_dict()["kind"]) for curve in curves})
    return ", ".join(kinds) + " per cell line"


def _arrays(fitted: Fitted) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {"featured": fitted.featured}
    for name, relation in fitted.relations.items():
        found[f"{name}.p0"] = fitted.p0[name]
        for family, factors in relation.families.items():
            found[f"{name}.{family}.subjects"] = factors.subjects
            found[f"{name}.{family}.objects"] = factors.objects
    return found


def _written(relation: Relation) -> dict[str, Any]:
    return {
        "families": list(relation.families),
        "lines": [
            {
                "weights": _list(head.weights),
                "intercept": float(head.intercept),
                "curve": head.curve.to_dict(),
                "slopes": _list(head.slopes),
                "intercepts": _list(head.intercepts),
                "fitted": {
                    name: float(value) for name, value in head.fitted.items() if np.isfinite(value)
                },
            }
            for head in relation.heads
        ],
    }


def _list(values: Sequence[float] | Floats) -> list[float]:
    return [float(value) for value in values]


def _heads(checkpoint: Checkpoint) -> dict[str, _Heads]:
    try:
        return _DECODER.decode(checkpoint.text(HEADS))
    except (msgspec.DecodeError, RecursionError) as error:
        raise _fault(checkpoint.path / HEADS, f"not as it should be ({error})") from error


def _head(path: Path, head: _Head) -> Head:
    try:
        curve: Calibrator = calibration.from_dict(head.curve)
    except ModelFault as fault:
        raise _fault(path, str(fault)) from fault
    return Head(
        np.array(head.weights, np.float64),
        head.intercept,
        curve,
        np.array(head.slopes, np.float64),
        np.array(head.intercepts, np.float64),
        head.fitted,
    )


def _array(
    path: Path, arrays: Mapping[str, NDArray[Any]], name: str, kind: type[np.generic]
) -> NDArray[Any]:
    if name not in arrays or arrays[name].dtype != np.dtype(kind):
        found = arrays[name].dtype if name in arrays else "nothing"
        raise _fault(path, f"array {name!r} should be {np.dtype(kind)}, found {found}")
    return arrays[name]
