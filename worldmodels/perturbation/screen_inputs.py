"""What a net is told of a pair: terms, the readout's habits, the line, where both genes lie.

In this order: the terms of each family and what other lines say (``screen_held_out``), the
readout's habits, which line it is (all zeros for the pooled one), and, for changes only, the
cosines of both genes' features block by block and both genes' summaries. Of directions the last
made no better order on held-out perturbations, so they are left out there. ``screen_terms`` makes
the same columns on a device.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from worldmodels.perturbation.screen_evidence import Habits
from worldmodels.perturbation.screen_features import SUMMARY
from worldmodels.perturbation.screen_held_out import HeldOut
from worldmodels.perturbation.screen_points import Codes
from worldmodels.perturbation.screen_rows import Single

Blocks = Mapping[str, Single]
PLACED = "perturbation.de"
"""The relation whose ensembles are told where the genes lie."""


def columns(
    held_out: HeldOut,
    at: Codes,
    line: Codes,
    lines: int,
    placed: tuple[Blocks, Codes, Blocks, Codes] | None,
) -> Single:
    """Inputs of some rows, shape (rows, inputs).

    Args:
        held_out: terms and habits of all rows.
        at: which rows, shape (n,).
        line: of each of them; ``lines`` or more for the pooled one.
        lines: how many lines there are.
        placed: features of perturbations and each row's perturbation in them, then the same of
            readouts; None where that is not told.
    """
    habits = held_out.habits
    here, elsewhere, direction = (
        column[at] for column in (habits.here, habits.elsewhere, habits.direction)
    )
    parts = [
        held_out.terms[at],
        of_habits(Habits(here, elsewhere, direction)),
        of_line(line, lines),
    ]
    if placed is not None:
        parts.append(of_genes(*placed))
    return np.concatenate(parts, axis=1)


def of_habits(habits: Habits, share: float = 1.0) -> Single:
    """Shape (n, 3): logarithms of the counts, and the direction.

    Args:
        habits: of each row's readout.
        share: of these counts that the ensemble was fitted on: more training rows, and so higher
            counts, do not make changes more likely.
    """
    counts = (np.log1p(share * column) for column in (habits.here, habits.elsewhere))
    return np.stack([*counts, habits.direction], axis=1).astype(np.float32)


def of_line(line: Codes, lines: int) -> Single:
    """Shape (n, lines): 1 in the line's own column."""
    return np.asarray(line[:, None] == np.arange(lines), np.float32)


def of_genes(subjects: Blocks, a: Codes, objects: Blocks, b: Codes) -> Single:
    """Cosines by block, then both summaries; shape (n, blocks + 2 · summary)."""
    names = [name for name in subjects if name != SUMMARY]
    some, place = np.unique(a, return_inverse=True)  # far fewer than rows: one product serves all
    cosines = [(subjects[name][some] @ objects[name].T)[place, b] for name in names]
    places = (subjects[SUMMARY][a], objects[SUMMARY][b])
    return np.concatenate([np.stack(cosines, axis=1), *places], axis=1).astype(np.float32)
