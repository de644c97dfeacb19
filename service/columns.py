"""Rows to columns and back: the pipeline thinks in single questions, world models in batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from service.rewards.core import Query, Verdict
from worldmodels.core import Queries, Verdicts


def columns_of(queries: Sequence[Query]) -> Queries:
    """Questions of one relation as the columns that a world model takes."""
    return Queries(
        queries[0].relation,
        [query.subject for query in queries],
        [query.object for query in queries],
        [query.context for query in queries],
    )


def verdicts_of(rows: Sequence[Verdict]) -> Verdicts:
    """Single answers as columns; NaN where there is no figure."""

    def column(values: Sequence[float | None]) -> np.ndarray | None:
        if all(value is None for value in values):
            return None
        return np.array([np.nan if value is None else value for value in values])

    return Verdicts(
        p=np.array([np.nan if row.p is None else row.p for row in rows], dtype=np.float64),
        status=np.array([int(row.status) for row in rows], dtype=np.uint8),
        p0=column([row.p0 for row in rows]),
        uncertainty=column([row.uncertainty for row in rows]),
        raw=column([row.raw for row in rows]),
    )
