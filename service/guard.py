"""A model called so that whatever it does, every row gets a status.

A batch that raises, or whose columns have the wrong length or type, is halved until the bad query
stands alone; rows with figures that are no figures become MODEL_ERROR. A model that asks another
server (``local`` False) fails as a whole: halving would ask a server in trouble more often.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
import structlog

from service.metrics import Metrics
from worldmodels.core import (
    ANSWERED,
    ModelFault,
    ModelLost,
    Queries,
    Status,
    Verdicts,
    WorldModel,
    answered,
)

log = structlog.get_logger(__name__)


class Outcome(NamedTuple):
    """One row of a model's answer. Figures are None unless ``status`` is ``ANSWERED``."""

    status: Status
    p: float | None = None
    p0: float | None = None
    uncertainty: float | None = None
    raw: float | None = None
    expired: bool = False


FAILED: Final = Outcome(Status.MODEL_ERROR)
EXPIRED: Final = Outcome(Status.MODEL_ERROR, expired=True)
_STATUSES: Final = {int(status): status for status in Status}
_COLUMNS: Final = ("p0", "uncertainty", "raw")


class _Malformed(Exception):
    """The columns of an answer do not fit the question."""


def guarded(model: WorldModel, queries: Queries, metrics: Metrics) -> Verdicts:
    """Ask a model; never raises for what the model does.

    At most 4·log₂(n)+8 calls: a model that fails on everything is not asked n times.
    """
    try:
        return guarded_but_for_loss(model, queries, metrics)
    except ModelLost:
        return _all_failed(len(queries))


def guarded_but_for_loss(model: WorldModel, queries: Queries, metrics: Metrics) -> Verdicts:
    """As ``guarded``, but a model host that died is told, for who asks again.

    Raises:
        ModelLost: as said.
    """
    n = len(queries)
    calls_left = [4 * math.ceil(math.log2(max(n, 2))) + 8]
    return _isolated(model, queries, metrics, calls_left)


def _isolated(
    model: WorldModel, queries: Queries, metrics: Metrics, calls_left: list[int]
) -> Verdicts:
    n = len(queries)
    if calls_left[0] <= 0:
        return _all_failed(n)
    calls_left[0] -= 1
    try:
        return _figures_checked(model.predict(queries), n, model.spec.name, metrics)
    except ModelLost as fault:
        metrics.model_fault(model.spec.name, "lost")
        log.warning("model host is gone", model=model.spec.name, queries=n, error=str(fault))
        raise
    except _Malformed as fault:
        metrics.model_fault(model.spec.name, "malformed")
        log.warning("model answered nonsense", model=model.spec.name, queries=n, found=str(fault))
    except Exception as error:  # noqa: BLE001 - a plugin's fault must not reach its neighbours
        metrics.model_fault(model.spec.name, "exception")
        log.warning("model raised", model=model.spec.name, queries=n, error=repr(error))
        if isinstance(error, ModelFault) and not model.spec.local:
            return _all_failed(n)
    if n <= 1:
        return _all_failed(n)
    rows = range(n)
    left = _isolated(model, queries.take(rows[: n // 2]), metrics, calls_left)
    right = _isolated(model, queries.take(rows[n // 2 :]), metrics, calls_left)
    return _joined(left, right)


def _figures_checked(verdicts: Verdicts, n: int, name: str, metrics: Metrics) -> Verdicts:
    """The answer; answered rows whose figures are no probabilities become MODEL_ERROR."""
    p, status = _column(verdicts.p, "p", n), _column(verdicts.status, "status", n)
    good = (p >= 0.0) & (p <= 1.0)
    for label in _COLUMNS:
        values = getattr(verdicts, label)
        if values is not None:
            good &= ~((_column(values, label, n) < 0.0) | (values > 1.0))  # NaN: none for this row
    if np.count_nonzero(good) == n:
        return verdicts
    bad = ~good & answered(status)
    if not bad.any():
        return verdicts
    metrics.model_fault(name, "non_finite")
    return Verdicts(
        np.where(bad, np.nan, p),
        np.where(bad, np.uint8(Status.MODEL_ERROR), status).astype(np.uint8),
        verdicts.p0,
        verdicts.uncertainty,
        verdicts.raw,
    )


def _column(values: object, label: str, n: int) -> np.ndarray:
    if not isinstance(values, np.ndarray) or values.shape != (n,):
        found = getattr(values, "shape", type(values).__name__)
        raise _Malformed(f"column {label}: expected an array of shape ({n},), found {found}")
    return values


def _all_failed(n: int) -> Verdicts:
    return Verdicts(np.full(n, np.nan), np.full(n, Status.MODEL_ERROR, np.uint8))


def _joined(left: Verdicts, right: Verdicts) -> Verdicts:
    def column(name: str) -> np.ndarray | None:
        parts = [(getattr(side, name), len(side)) for side in (left, right)]
        if all(values is None for values, _ in parts):
            return None
        return np.concatenate(
            [np.full(n, np.nan) if values is None else values for values, n in parts]
        )

    return Verdicts(
        np.concatenate([left.p, right.p]),
        np.concatenate([left.status, right.status]),
        *(column(name) for name in _COLUMNS),
    )


def outcomes(verdicts: Verdicts) -> list[Outcome]:
    """The rows of a model's answer as Python values."""
    n = len(verdicts)
    columns = [
        [None] * n if column is None else column.tolist()
        for column in (verdicts.p0, verdicts.uncertainty, verdicts.raw)
    ]
    return [
        Outcome(_STATUSES[status], p, _number(p0), _number(sd), _number(raw))
        if status in ANSWERED
        else Outcome(_STATUSES.get(status, Status.MODEL_ERROR))
        for p, status, p0, sd, raw in zip(
            verdicts.p.tolist(), verdicts.status.tolist(), *columns, strict=True
        )
    ]


def _number(value: float | None) -> float | None:
    """None for NaN: a model may know p but have no baseline for a row."""
    return None if value is None or value != value else value
