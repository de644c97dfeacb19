"""Tests of a screen as a table of labelled pairs: for serving, for other trainers, for a file.

A row is one perturbation and readout of one cell line. As ``perturbation.de`` every tested pair has
a row, labelled 1 where q < alpha (and the fold change is large enough); as ``perturbation.dir``
only changed pairs have, labelled 1 where the readout goes up.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldmodels.core import ModelFault
from worldmodels.perturbation.differential import Effects
from worldmodels.perturbation.tables import EffectTable

SUFFIXES = (".csv", ".tsv", ".parquet")


def table(
    found: Sequence[Effects], *, relation: str, alpha: float, least: float, source: str
) -> EffectTable:
    """The labelled pairs of one or several cell lines.

    Args:
        found: tests of each cell line.
        relation: "perturbation.de" or "perturbation.dir".
        alpha: a pair is changed if q < alpha …
        least: … and |log₂ fold change| ≥ least.
        source: where it comes from, for the record.

    Raises:
        ModelFault: not a single changed pair, so that nothing has a direction.
    """
    directed = relation == "perturbation.dir"
    columns: list[list[Any]] = [[], [], []]
    parts: list[tuple[NDArray[Any], ...]] = []
    for one in found:
        changed = one.changed(alpha, least)
        rows, readouts = np.nonzero(changed if directed else np.ones_like(changed))
        columns[0] += [one.perturbations[i] for i in rows]
        columns[1] += [one.readouts[i] for i in readouts]
        columns[2] += [one.line] * len(rows)
        at = rows, readouts
        label = (one.effect > 0)[at] if directed else changed[at]
        parts.append((label.astype(np.uint8), one.effect[at].astype(np.float64), one.q[at]))
    labels, effect, q = (np.concatenate(column) for column in zip(*parts, strict=True))
    if not len(labels):
        raise ModelFault(
            f"{source}: no readout changes at q < {alpha:g}, so there is no direction to learn"
        )
    return EffectTable(columns[0], columns[1], columns[2], labels, effect, q, source)


def refuse_path(path: Path) -> None:
    """Say before the tests are done that ``write`` would refuse the path.

    Raises:
        ModelFault: a format that is not written, or no such folder.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise ModelFault(f"--table-out {path}: unknown format; known: {', '.join(SUFFIXES)}")
    if not path.absolute().parent.is_dir():
        raise ModelFault(f"--table-out {path}: there is no folder {path.absolute().parent}")


def write(path: Path, made: EffectTable) -> None:
    """Write the columns perturbation, gene, cell_line, label, effect, q as CSV, TSV or Parquet.

    Raises:
        ModelFault: it cannot be written there.
    """
    import pandas as pd

    frame = pd.DataFrame({
        "perturbation": made.perturbations,
        "gene": made.readouts,
        "cell_line": made.contexts,
        "label": made.labels,
        "effect": made.effects,
        "q": made.q,
    })  # fmt: skip
    try:
        if path.suffix.lower() == ".parquet":
            frame.to_parquet(path, index=False)
        else:
            mark = "\t" if path.suffix.lower() == ".tsv" else ","
            frame.to_csv(path, index=False, sep=mark)
    except OSError as error:
        raise ModelFault(f"--table-out {path}: {error.strerror or error}") from error
