"""What training points say of a pair: the terms that nets and trees weigh up.

For changes and for directions (``screen_points``), with H the influence of training points
(``screen_kernel``) and C the cosine between readouts' responses:

* ``own``: H·R, what alike perturbations did to this readout;
* ``alike``: H·R·C, what they did to readouts that answer to the same perturbations;
* ``mean``: H·R averaged over readouts;
* ``near <block>``: H·R carried to readouts with alike features, for readouts that hardly ever
  changed and so have no response of their own;
* ``elsewhere``: E·R·C, what this very perturbation did in other lines (E: 1 at those points);
* of directions also ``own`` and ``alike`` times the readout's habitual direction, which speak for
  a change;

for any readout, ``strength``: how much a perturbation does at all (its listed changes, their
logarithm, its listed non-changes, and rises less falls), by H and by E; and ``lines``, the number
of other lines that have this perturbation. Here in numpy, for the pairs that training asks of its
own points; ``screen_terms`` gives the same terms of whole rows of readouts, on any device.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from worldmodels.perturbation.screen_points import Codes, Mask, Points, Responses, responses
from worldmodels.perturbation.screen_rows import Single

NEAR: Final = ("network", "neighbours", "words")
"""Feature blocks by which readouts are alike."""
KINDS: Final = ("changes", "directions")
STRENGTHS: Final = ("changes", "log changes", "non-changes", "rises")
"""What ``strength`` counts."""


@dataclass(frozen=True, slots=True)
class Habits:
    """What is known of a readout, whatever the perturbation; each of shape (readouts,)."""

    here: Single
    """Listed changes in the line that is asked about."""
    elsewhere: Single
    """Listed changes in other lines."""
    direction: Single
    """Mean direction of its changes, in [−1, 1], shrunken to 0."""


@dataclass(frozen=True, slots=True)
class Taught:
    """What some training points teach: responses of both kinds, and the readouts' features."""

    by_kind: Mapping[str, Responses]
    near: Mapping[str, Single]
    """Block → features of readouts, shape (readouts, width)."""
    square: Mapping[str, Single]
    """Block → squared length of the readout's features, shape (readouts,)."""
    strength: Single
    """Shape (points, len(STRENGTHS)), centred by line, 0 outside training."""


def taught(points: Points, training: Mask, near: Mapping[str, Single]) -> Taught:
    """The training points' lesson; ``near`` holds the readouts' features by block."""
    kept = {name: near[name] for name in NEAR if name in near}
    return Taught(
        {kind: responses(points, training, signed=kind == "directions") for kind in KINDS},
        kept,
        {name: (block**2).sum(axis=1) for name, block in kept.items()},
        _strength(points, training),
    )


def _strength(points: Points, training: Mask) -> Single:
    rows, size = points.rows, len(points)
    changes, others, signs = (
        np.bincount(points.point, counted, size)
        for counted in (rows.de, 1 - rows.de, np.where(rows.up < 0, 0, rows.up - 0.5))
    )
    found = np.stack([changes, np.log1p(changes), others, signs], axis=1)
    for line in range(len(rows.lines)):
        inside = training & (points.line == line)
        if inside.any():
            found[inside] -= found[inside].mean(axis=0)
    found[~training] = 0
    return found.astype(np.float32)


def names(near: Iterable[str]) -> list[str]:
    """A family's terms, in the order of ``of_pairs``."""
    each = ["own", "alike", "mean", *(f"near {name}" for name in NEAR if name in near)]
    terms = [f"{kind} {name}" for kind in KINDS for name in each]
    terms += ["directions own habit", "directions alike habit"]
    return terms + [f"strength {name}" for name in STRENGTHS]


TRANSFERRED: Final = (
    *(f"{kind} elsewhere" for kind in KINDS),
    *(f"strength {name} elsewhere" for name in STRENGTHS),
    "lines",
)
"""Terms of what other lines say of the very same perturbation, in the order of ``transferred``."""


def habits(points: Points, training: Mask, line: int) -> Habits:
    """Counts and habitual direction of readouts by the training points, seen from a line."""
    rows, size, lines = points.rows, len(points.genes), len(points.rows.lines)
    taken = training[points.point]
    at = (rows.line * size + points.readout)[taken]
    changes = np.bincount(at, rows.de[taken], lines * size).reshape(lines, size)
    signs = np.where(rows.up < 0, 0, 2.0 * rows.up - 1)[taken]
    sums = np.bincount(at, signs, lines * size).reshape(lines, size)
    here = np.zeros(size) if line < 0 else changes[line]
    signs_here = np.zeros(size) if line < 0 else sums[line]
    elsewhere = changes.sum(axis=0) - here
    signs_elsewhere = sums.sum(axis=0) - signs_here
    direction = (signs_here + 0.3 * signs_elsewhere) / (here + 0.3 * elsewhere + 2)
    return Habits(*(column.astype(np.float32) for column in (here, elsewhere, direction)))


def of_pairs(
    lesson: Taught, influence: Single, direction: Single, pairs: tuple[Codes, Codes]
) -> Single:
    """A family's terms of some pairs, shape (pairs, terms) in the order of ``names``.

    Args:
        lesson: what training points teach.
        influence: H of shape (asked points, points).
        direction: habitual direction of each pair's readout in its line, shape (pairs,).
        pairs: row of ``influence`` and readout of each pair.
    """
    at, readout = pairs
    columns: list[Single] = []
    for kind in KINDS:
        found = lesson.by_kind[kind].under(influence)
        carried = lesson.by_kind[kind].alike(found)
        own, alike = found[pairs], carried[pairs]
        columns += [own, alike, found.mean(axis=1)[at]]
        for name, block in lesson.near.items():
            product = ((found @ block)[at] * block[readout]).sum(axis=1)
            columns.append(product - own * lesson.square[name][readout])
    columns += [own * direction, alike * direction]  # of directions, the last kind
    columns += list((influence @ lesson.strength)[at].T)
    return np.stack(columns, axis=1).astype(np.float32)


def transferred(lesson: Taught, elsewhere: Single, pairs: tuple[Codes, Codes]) -> Single:
    """What other lines say of the pairs' own perturbations, in the order of ``TRANSFERRED``.

    Args:
        lesson: what training points teach.
        elsewhere: E of shape (asked points, points).
        pairs: row of ``elsewhere`` and readout of each pair.
    """
    columns: list[Single] = []
    for kind in KINDS:
        of = lesson.by_kind[kind]
        columns.append(of.alike(of.under(elsewhere))[pairs])
    at, _ = pairs
    columns += list((elsewhere @ lesson.strength)[at].T)
    columns.append(elsewhere.sum(axis=1)[at])
    return np.stack(columns, axis=1).astype(np.float32)
