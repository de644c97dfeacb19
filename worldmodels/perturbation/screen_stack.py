"""How a family weighs its terms up: a logistic regression whose weights depend on the readout.

A readout that never changed in training has no response of its own, so what its graph neighbours
did counts for more; one that changed in fifty perturbations speaks for itself. So readouts fall
into classes by the number of their listed changes in the line, or, of those without any, in other
lines, and each class has weights of its own beside common ones (both shrunken to 0, hence towards
each other). Fitted on terms of held-out perturbations, never on terms of a perturbation that taught
them. Limits: linear in the terms; boosted trees over the same terms gave no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worldmodels.core import Floats
from worldmodels.perturbation.screen_evidence import Habits
from worldmodels.perturbation.screen_factors import Single
from worldmodels.perturbation.screen_points import Codes

HERE: Final = (1, 2, 5, 17)
"""Least listed changes in the line of each class of readouts after the first."""
ELSEWHERE: Final = (1, 5, 17)
"""The same for changes in other lines, of readouts without any in the line."""
CLASSES: Final = len(HERE) + len(ELSEWHERE) + 1
STRENGTH: Final = 0.05
"""Inverse of the ridge penalty (scikit-learn's C) on standardised terms."""
STILLEST: Final = 1e-5
"""A term whose σ is a smaller share of its mean than this does not vary but for rounding."""
Labels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Weights:
    """A fitted stack.

    ``terms`` of shape (CLASSES, terms) weigh the terms as they are; ``constants`` of shape
    (CLASSES, 4) the readout's own: 1, log(1 + changes here), log(1 + changes elsewhere), direction.
    """

    terms: Floats
    constants: Floats
    intercept: float

    def of_pairs(self, terms: Single, habits: Habits) -> Floats:
        """Log-odds of pairs: terms of shape (pairs, terms), habits of each pair's readout."""
        kind = classes(habits)
        total = np.einsum("ij,ij->i", terms, self.terms[kind])
        return np.asarray(total + self._constant(habits, kind), np.float64)

    def of_readouts(self, habits: Habits, share: float = 1.0) -> tuple[Single, Single]:
        """Weights of shape (terms, readouts) and constants of shape (readouts,).

        Args:
            habits: of each readout.
            share: of these counts that the stack was fitted on: more rows, and so higher counts,
                do not make changes more likely.
        """
        kind = classes(habits)
        weights = self.terms[kind].T.astype(np.float32)
        seen = Habits(habits.here * share, habits.elsewhere * share, habits.direction)
        return weights, self._constant(seen, kind).astype(np.float32)

    def _constant(self, habits: Habits, kind: Codes) -> Floats:
        own = np.einsum("ij,ij->i", _own(habits), self.constants[kind])
        return np.asarray(own + self.intercept, np.float64)


def classes(habits: Habits) -> Codes:
    """Class of each readout, 0 to CLASSES − 1."""
    here = np.digitize(habits.here, HERE)
    elsewhere = np.digitize(habits.elsewhere, ELSEWHERE)
    return np.where(here == 0, elsewhere, here + len(ELSEWHERE)).astype(np.intp)


def fit(terms: Single, habits: Habits, labels: Labels) -> Weights:
    """Fit on the terms of held-out pairs.

    Args:
        terms: shape (pairs, terms); a column that does not vary gets weight 0.
        habits: of each pair's readout, as the pair's training points had them.
        labels: shape (pairs,), 0 or 1, both of them.
    """
    from sklearn.linear_model import LogisticRegression

    kind = classes(habits)
    scale = _scale(terms)
    scaled = terms / scale
    member = np.eye(CLASSES, dtype=np.float32)[kind]
    used = [number for number in range(CLASSES) if member[:, number].any()]
    parts = [scaled, *(scaled * member[:, [number]] for number in used)]
    own = _own(habits).astype(np.float32)
    parts += [own * member[:, [number]] for number in used]
    model = LogisticRegression(C=STRENGTH, solver="newton-cholesky", max_iter=50, tol=1e-4)
    model.fit(np.concatenate(parts, axis=1), labels)
    found = model.coef_[0].astype(np.float64)
    width = terms.shape[1]
    by_class = np.tile(found[:width] / scale, (CLASSES, 1))
    constants = np.zeros((CLASSES, own.shape[1]))
    for place, number in enumerate(used):
        start = width * (1 + place)
        by_class[number] += found[start : start + width] / scale
        start = width * (1 + len(used)) + own.shape[1] * place
        constants[number] = found[start : start + own.shape[1]]
    return Weights(by_class, constants, float(model.intercept_[0]))


def _scale(terms: Single) -> Single:
    """σ of each term; infinite where it does not vary, so that it is scaled to 0.

    Where every perturbation was screened in every line, the number of other lines is one constant:
    divided by a σ of next to nothing it would drown every other term.
    """
    sigma, mean = (of(axis=0, dtype=np.float64) for of in (terms.std, terms.mean))
    varies = sigma > STILLEST * np.maximum(np.abs(mean), STILLEST)
    return np.where(varies, sigma + 1e-9, np.inf).astype(np.float32)


def _own(habits: Habits) -> Floats:
    ones = np.ones(len(habits.here))
    logs = np.log1p(habits.here), np.log1p(habits.elsewhere)
    return np.stack([ones, *logs, habits.direction], axis=1).astype(np.float64)
