"""Rows that training refuses: counted, and three of them shown with file and line."""

from __future__ import annotations

from typing import Any, Final

from worldmodels.core import ModelFault

Frame = Any
"""A pandas.DataFrame with columns file, row, perturbation, readout and label."""
SHOWN: Final = 3


def refuse(rows: Frame, what: str, advice: str) -> None:
    """Refuse rows if there are any.

    Args:
        rows: those at fault; ``row`` is the line in the file, the header being line 1.
        what: "repeat another row": what the rows do.
        advice: what to do about it.

    Raises:
        ModelFault: ``rows`` is not empty.
    """
    if not len(rows):
        return
    shown = "; ".join(
        f"{row.file} line {row.row}: {row.perturbation} → {row.readout}, label {row.label}"
        for row in rows.head(SHOWN).itertuples()
    )
    more = "; …" if len(rows) > SHOWN else ""
    raise ModelFault(f"rows that {what}: {len(rows):,} ({shown}{more}); {advice}")
