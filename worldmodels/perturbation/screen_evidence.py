"""What training points say of a pair: the terms that a family weighs up.

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
of other lines that have this perturbation. Every term is a product of
something that depends on the perturbation and something that depends on the readout, and so is any
weighted sum of them whose weights depend on the readout: ``Combined`` is that sum, as a matrix that
is never formed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from worldmodels.perturbation.screen_factors import Single
from worldmodels.perturbation.screen_points import Codes, Mask, Points, Responses, responses

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


def names(near: Mapping[str, Single], transfer: bool) -> list[str]:
    """Terms in the order of ``of_pairs`` and of a combination's weights."""
    each = ["own", "alike", "mean", *(f"near {name}" for name in NEAR if name in near)]
    terms = [f"{kind} {name}" for kind in KINDS for name in each]
    terms += ["directions own habit", "directions alike habit"]
    terms += [f"strength {name}" for name in STRENGTHS]
    if transfer:
        terms += [f"{kind} elsewhere" for kind in KINDS]
        terms += [f"strength {name} elsewhere" for name in STRENGTHS]
        terms.append("lines")
    return terms


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
    lesson: Taught,
    influence: Single,
    elsewhere: Single | None,
    direction: Single,
    pairs: tuple[Codes, Codes],
) -> Single:
    """The terms of some pairs, shape (pairs, terms) in the order of ``names``.

    Args:
        lesson: what training points teach.
        influence: H of shape (asked points, points).
        elsewhere: E of the same shape; None without transfer between lines.
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
        if kind == "directions":
            columns += [own * direction, alike * direction]
    columns += list((influence @ lesson.strength)[at].T)
    if elsewhere is not None:
        for kind in KINDS:
            of = lesson.by_kind[kind]
            columns.append(of.alike(of.under(elsewhere))[pairs])
        columns += list((elsewhere @ lesson.strength)[at].T)
        columns.append(elsewhere.sum(axis=1)[at])
    return np.stack(columns, axis=1).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Combined:
    """Σ over terms of weight(readout) · term: H·kernel + E·transfer + lines ⊗ weight.

    ``weights`` is of shape (terms, readouts), in the order of ``names``.
    """

    lesson: Taught
    direction: Single
    weights: Mapping[str, Single]

    def kernel_times(self, right: Single) -> Single:
        """The part that goes through H, times right of shape (readouts, k): (points, k)."""
        parts: list[Single] = []
        for kind in KINDS:
            of = self.lesson.by_kind[kind]
            own, alike = self._own(kind)[:, None], self._alike(kind)[:, None]
            part = own * right + self._mean(kind)[:, None].T @ right / len(right)
            for name, block in self.lesson.near.items():
                weight = self.weights[f"{kind} near {name}"][:, None]
                part += block @ (block.T @ (weight * right))
                part -= self.lesson.square[name][:, None] * weight * right
            part += self._carried(of, alike * right)
            parts.append(of.times(part.astype(np.float32)))
        return parts[0] + parts[1] + self.lesson.strength @ (self._strength("") @ right)

    def kernel_under(self, left: Single) -> Single:
        """Left · the part that goes through H, left of shape (m, points): (m, readouts)."""
        total = np.zeros((len(left), len(self.direction)), np.float32)
        for kind in KINDS:
            of = self.lesson.by_kind[kind]
            found = of.under(left)
            total += found * self._own(kind) + of.alike(found) * self._alike(kind)
            total += found.mean(axis=1, keepdims=True) * self._mean(kind)
            for name, block in self.lesson.near.items():
                near = (found @ block) @ block.T - found * self.lesson.square[name]
                total += near * self.weights[f"{kind} near {name}"]
        total += (left @ self.lesson.strength) @ self._strength("")
        return total

    def transfer_times(self, right: Single) -> Single:
        """The part that goes through E, times right: (points, k)."""
        total = np.zeros((1, 1), np.float32)
        for kind in KINDS:
            of = self.lesson.by_kind[kind]
            weight = self.weights[f"{kind} elsewhere"][:, None]
            total = total + of.times(self._carried(of, weight * right))
        return total + self.lesson.strength @ (self._strength(" elsewhere") @ right)

    def transfer_under(self, left: Single) -> Single:
        """Left · the part that goes through E: (m, readouts)."""
        total = np.zeros((1, 1), np.float32)
        for kind in KINDS:
            of = self.lesson.by_kind[kind]
            total = total + of.alike(of.under(left)) * self.weights[f"{kind} elsewhere"]
        total += (left @ self.lesson.strength) @ self._strength(" elsewhere")
        return total

    def _own(self, kind: str) -> Single:
        own = self.weights[f"{kind} own"]
        if kind == "directions":
            own = own + self.weights["directions own habit"] * self.direction
        return own

    def _alike(self, kind: str) -> Single:
        alike = self.weights[f"{kind} alike"]
        if kind == "directions":
            alike = alike + self.weights["directions alike habit"] * self.direction
        return alike

    def _mean(self, kind: str) -> Single:
        return self.weights[f"{kind} mean"]

    def _strength(self, where: str) -> Single:
        return np.stack([self.weights[f"strength {name}{where}"] for name in STRENGTHS], dtype="f4")

    @staticmethod
    def _carried(of: Responses, right: Single) -> Single:
        """C · right: (D Rᵀ R D) · right."""
        scaled = of.inverse[:, None] * right
        return of.inverse[:, None] * of.under(of.times(scaled).T).T
