"""A family's scores of all perturbations × readouts of a line, condensed to a few factors.

The score matrix is H·M₁ + E·M₂ + counts ⊗ w + 1 ⊗ c (``screen_evidence.Combined``). The best
readout factors of H·M₁ are found on a sample of training perturbations, each asked as if it were
not in the line; of E·M₂ on the perturbations that other lines have. Every other perturbation is
then projected on them. Limits: KERNEL and TRANSFER dimensions; what they lose is measured by
``benchmarks/screen.py``, which asks the written model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from worldmodels.perturbation import screen_kernel
from worldmodels.perturbation.screen_evidence import Combined, Habits
from worldmodels.perturbation.screen_factors import Half, Single
from worldmodels.perturbation.screen_kernel import Solver
from worldmodels.perturbation.screen_points import Codes, Mask, Points

SAMPLE: Final = 800
"""Perturbations on which the readout factors of the kernel's part are found."""
BLOCK: Final = 2048
"""Perturbations that are projected at a time."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Perturbations that a line of the model is to answer for.

    ``alike`` holds k to the training perturbations, shape (perturbations, trained); ``column`` the
    trained perturbation of each point; ``gene`` codes of perturbations into ``rows.genes``, −1 for
    those that no point has; ``line`` is −1 for the pooled one.
    """

    alike: Single
    column: Codes
    gene: Codes
    line: int

    def kernel(self, points: Points, at: Codes, *, unseen: bool = False) -> Single:
        """Kernel of some of them to all points; ``unseen``: without their own point here."""
        line = np.full(len(at), self.line)
        gene = self.gene[at]
        kernel = screen_kernel.between(
            self.alike[at][:, self.column], (line, points.line), (gene, points.perturbation)
        )
        if unseen:
            kernel[self._same(points, at) & (points.line == self.line)] = 0
        return kernel

    def elsewhere(self, points: Points, at: Codes) -> Single:
        """E: 1 at points of the same perturbation in another line."""
        found: Single = (self._same(points, at) & (points.line != self.line)).astype(np.float32)
        return found

    def _same(self, points: Points, at: Codes) -> Mask:
        return np.asarray(self.gene[at][:, None] == points.perturbation)


@dataclass(frozen=True, slots=True)
class Weighed:
    """What is to be condensed: weighted terms; each readout's constant and stake (readouts,)."""

    combined: Combined
    constant: Single
    stake: Single


def stakes(habits: Habits) -> Single:
    """How much an error in each readout's scores matters, in (0, 1].

    A readout that hardly ever changes has hardly ever two kinds of rows to tell apart; from ten
    listed changes on it counts in full.
    """
    changes = habits.here + 0.3 * habits.elsewhere
    return np.sqrt(np.minimum(1, (changes + 0.1) / 10)).astype(np.float32)


def condense(
    points: Points,
    solver: Solver,
    asked: Asked,
    weighed: Sequence[Weighed],
    *,
    width: int,
    transfer: int,
    seed: int,
) -> list[tuple[Half, Half]]:
    """Factors (perturbations, k) and (readouts, k) of a line, for each sum that is asked for.

    Args:
        points: all points.
        solver: of the kernel of those that teach the line.
        asked: the perturbations, and the line.
        weighed: the family's terms as each relation weighs them.
        width: dimensions of what goes through the kernel.
        transfer: dimensions of what other lines say of the very same perturbation; 0: nothing does.
        seed: of the sample and the randomised SVDs.
    """
    known = np.flatnonzero(asked.gene >= 0)
    sample = np.sort(np.random.default_rng(seed).permutation(known)[:SAMPLE])
    influence = solver.influence(asked.kernel(points, sample, unseen=True))
    bases = [
        _basis(one.combined.kernel_under(influence) * one.stake, width, seed) for one in weighed
    ]
    answers = [
        solver.times(one.combined.kernel_times(basis * one.stake[:, None]))
        for one, basis in zip(weighed, bases, strict=True)
    ]
    together = _asked_by_block(points, asked, np.concatenate(answers, axis=1))
    subjects = np.split(together, np.cumsum([one.shape[1] for one in answers])[:-1], axis=1)
    found = []
    for one, basis, left in zip(weighed, bases, subjects, strict=True):
        parts = [
            (left, basis / one.stake[:, None]),
            (np.ones((len(left), 1), np.float32), one.constant[:, None]),
        ]
        if transfer:
            parts += _transferred(points, one, asked, known, transfer, seed)
        sides = zip(*(_balanced(*part) for part in parts), strict=True)
        a, b = (np.concatenate(side, axis=1).astype(np.float16) for side in sides)
        found.append((a, b))
    return found


def _asked_by_block(points: Points, asked: Asked, answers: Single) -> Single:
    """Kernel of all perturbations to the points, times answers, without forming the kernel."""
    blocks = [
        np.arange(start, min(start + BLOCK, len(asked.gene)))
        for start in range(0, len(asked.gene), BLOCK)
    ]
    return np.concatenate([asked.kernel(points, block) @ answers for block in blocks])


def _transferred(
    points: Points, weighed: Weighed, asked: Asked, known: Codes, width: int, seed: int
) -> list[tuple[Single, Single]]:
    combined, stake = weighed.combined, weighed.stake
    elsewhere = asked.elsewhere(points, known)
    has = np.flatnonzero(elsewhere.any(axis=1))
    sample = has[:: max(len(has) // SAMPLE, 1)]
    basis = _basis(combined.transfer_under(elsewhere[sample]) * stake, width, seed)
    said = np.zeros((len(asked.gene), basis.shape[1]), np.float32)
    said[known] = elsewhere @ combined.transfer_times(basis * stake[:, None])
    lines = np.zeros((len(asked.gene), 1), np.float32)
    lines[known, 0] = elsewhere.sum(axis=1)
    return [(said, basis / stake[:, None]), (lines, combined.weights["lines"][:, None])]


def _basis(scores: Single, width: int, seed: int) -> Single:
    """Leading right singular vectors, shape (readouts, width)."""
    from sklearn.utils.extmath import randomized_svd

    width = min(width, min(scores.shape))
    _, _, v = randomized_svd(scores, width, n_iter=3, random_state=seed, flip_sign=False)
    return np.ascontiguousarray(v.T, np.float32)


def _balanced(left: Single, right: Single) -> tuple[Single, Single]:
    """The same product with both factors of one size, so that float16 holds either well."""
    sizes = [np.sqrt(np.mean(side.astype(np.float64) ** 2, axis=0)) for side in (left, right)]
    ratio = np.sqrt(np.maximum(sizes[1], 1e-9) / np.maximum(sizes[0], 1e-9)).astype(np.float32)
    return left * ratio, right / ratio
