"""A family's scores of all perturbations × readouts of a line, condensed to a few factors.

The score matrix is H·M₁ + E·M₂ + counts ⊗ w + 1 ⊗ c (``screen_evidence.Combined``). The best
readout factors of H·M₁ are found on a sample of training perturbations, each asked as if it were
not in the line; of E·M₂ on the perturbations that other lines have. Every other perturbation is
then projected on them. Limits: KERNEL and TRANSFER dimensions; what they lose is measured by
``benchmarks/screen.py``, which asks the written model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from worldmodels.perturbation import screen_kernel
from worldmodels.perturbation.screen_evidence import Combined
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


def condense(
    points: Points,
    solver: Solver,
    combined: Combined,
    constant: Single,
    asked: Asked,
    *,
    width: int,
    transfer: int,
    seed: int,
) -> tuple[Half, Half]:
    """Factors (perturbations, k) and (readouts, k) of a line.

    Args:
        points: all points, all of them training.
        solver: of their kernel.
        combined: the family's weighted terms in this line.
        constant: each readout's constant, shape (readouts,).
        asked: the perturbations, and the line.
        width: dimensions of what goes through the kernel.
        transfer: dimensions of what other lines say of the very same perturbation; 0: nothing does.
        seed: of the sample and the randomised SVDs.
    """
    rng = np.random.default_rng(seed)
    known = np.flatnonzero(asked.gene >= 0)
    sample = np.sort(rng.permutation(known)[:SAMPLE])
    influence = solver.influence(asked.kernel(points, sample, unseen=True))
    basis = _basis(combined.kernel_under(influence), width, seed)
    answers = solver.times(combined.kernel_times(basis))
    subjects = np.concatenate(
        [
            asked.kernel(points, np.arange(start, min(start + BLOCK, len(asked.gene)))) @ answers
            for start in range(0, len(asked.gene), BLOCK)
        ]
    )
    parts = [(subjects, basis), (np.ones((len(subjects), 1), np.float32), constant[:, None])]
    if transfer:
        parts += _transferred(points, combined, asked, known, transfer, seed)
    scaled = [_balanced(left, right) for left, right in parts]
    left, right = (np.concatenate(side, axis=1) for side in zip(*scaled, strict=True))
    return left.astype(np.float16), right.astype(np.float16)


def _transferred(
    points: Points, combined: Combined, asked: Asked, known: Codes, width: int, seed: int
) -> list[tuple[Single, Single]]:
    elsewhere = asked.elsewhere(points, known)
    has = np.flatnonzero(elsewhere.any(axis=1))
    basis = _basis(
        combined.transfer_under(elsewhere[has][:: max(len(has) // SAMPLE, 1)]), width, seed
    )
    said = np.zeros((len(asked.gene), basis.shape[1]), np.float32)
    said[known] = elsewhere @ combined.transfer_times(basis)
    lines = np.zeros((len(asked.gene), 1), np.float32)
    lines[known, 0] = elsewhere.sum(axis=1)
    return [(said, basis), (lines, combined.weights["lines"][:, None])]


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
