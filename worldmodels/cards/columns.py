"""Questions and answers of one relation as columns of codes, and how they are asked.

Only answered rows are kept as columns: a figure of p exists for them alone. What was not answered
is counted by status. Limits: all rows of one relation are in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from worldmodels.core import Floats, ModelFault, Queries, Verdicts, WorldModel, answered
from worldmodels.perturbation.tables import EffectTable

BATCH: Final = 1 << 14
"""Rows asked at once."""
Codes = NDArray[np.intp]
Advance = Callable[[int], None]
"""Told how many more rows have been asked."""


@dataclass(frozen=True, slots=True)
class Questions:
    """The rows of a table as codes. Columns of shape (n,)."""

    table: EffectTable
    lines: list[str]
    """Cell lines by code, sorted."""
    perturbations: list[str]
    """Perturbations by code, sorted."""
    line: Codes
    perturbation: Codes
    readout: Codes
    """One code for each readout in each cell line: per-gene figures are of one line."""

    def __len__(self) -> int:
        return len(self.table)


@dataclass(frozen=True, slots=True)
class Answered:
    """Rows with a probability. Columns of shape (n,)."""

    line: Codes
    perturbation: Codes
    readout: Codes
    labels: NDArray[np.uint8]
    p: Floats
    p0: Floats | None
    raw: Floats | None
    uncertainty: Floats | None
    status: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[Any]) -> Answered:
        """The given rows, by index or mask."""

        def of(column: Any) -> Any:
            return None if column is None else column[rows]

        return Answered(*(of(getattr(self, name)) for name in self.__slots__))


def questions(table: EffectTable) -> Questions:
    """Code the names of a table."""
    lines, line = _coded(table.contexts)
    perturbations, perturbation = _coded(table.perturbations)
    readouts, readout = _coded(table.readouts)
    _, in_line = np.unique(line * len(readouts) + readout, return_inverse=True)
    return Questions(table, lines, perturbations, line, perturbation, np.asarray(in_line, np.intp))


def _coded(names: Sequence[str]) -> tuple[list[str], Codes]:
    known = sorted(set(names))
    code = {name: i for i, name in enumerate(known)}
    return known, np.fromiter((code[name] for name in names), np.intp, len(names))


def ask(
    model: WorldModel,
    relation: str,
    asked: Questions,
    subjects: Sequence[str] | None = None,
    advance: Advance = lambda _: None,
) -> Verdicts:
    """The model's answers to all rows, in batches.

    Args:
        model: the world model.
        relation: what is asked.
        asked: the rows.
        subjects: other perturbations than the rows' own, shape (n,).
        advance: told as it goes.

    Raises:
        ModelFault: an answer of another length than its question.
    """
    table = asked.table
    whom = table.perturbations if subjects is None else subjects
    parts = []
    for start in range(0, len(table), BATCH):
        rows = slice(start, start + BATCH)
        queries = Queries(relation, whom[rows], table.readouts[rows], table.contexts[rows])
        said = model.predict(queries)
        if len(said) != len(queries):
            raise ModelFault(
                f"{model.spec.name} answered {len(said)} of {len(queries)} queries; a world model "
                "answers every one, in order"
            )
        parts.append(said)
        advance(len(queries))
    return _joined(parts)


def _joined(parts: Sequence[Verdicts]) -> Verdicts:
    def column(name: str) -> Any:
        found = [getattr(part, name) for part in parts]
        return None if any(one is None for one in found) else np.concatenate(found)

    return Verdicts(*(column(name) for name in ("p", "status", "p0", "uncertainty", "raw")))


def with_probability(said: Verdicts) -> NDArray[np.bool_]:
    """Rows that carry a probability. Shape (n,)."""
    return np.asarray(answered(said.status) & np.isfinite(said.p))


def join(asked: Questions, said: Verdicts) -> Answered:
    """The answered rows. A column that is not whole on them counts as not given."""
    kept = with_probability(said)

    def whole(column: Floats | None) -> Floats | None:
        if column is None or not np.isfinite(column[kept]).all():
            return None
        return column[kept]

    return Answered(
        asked.line[kept],
        asked.perturbation[kept],
        asked.readout[kept],
        asked.table.labels[kept],
        said.p[kept],
        whole(said.p0),
        whole(said.raw),
        whole(said.uncertainty),
        said.status[kept],
    )
