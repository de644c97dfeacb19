"""Rows of answers: every readout of a perturbation in a line, made once and then looked up.

The first question about a perturbation in a line makes its whole row (some ten thousand readouts,
less than a tenth of a second on a CPU core); later ones are gathers. Figures are kept as whole
millionths, which is what they are rounded to, so a row says the same from memory as when it was
made. At most ``LARGEST`` bytes of rows are kept for each relation; the ones not asked for longest
make way. Limits: one thread at a time, as every model; memory is touched as rows are made. A run
that is to be fast from its first question, or several processes that are to share pages, precompute
a table.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worldmodels.calibration import sigmoid
from worldmodels.core import DECIMALS, Floats
from worldmodels.perturbation import screen_ensemble
from worldmodels.perturbation.screen_ensemble import Asked
from worldmodels.perturbation.screen_fitted import Relation
from worldmodels.perturbation.screen_nets import one_thread
from worldmodels.perturbation.screen_terms import BLOCK, Terms

LARGEST: Final = 1 << 30
"""Bytes of one relation's rows."""
_ONE: Final = 10**DECIMALS
Codes = NDArray[np.int32]


class Columns(NamedTuple):
    """Figures of pairs, each of shape (n,), rounded to ``DECIMALS``."""

    p: Floats
    p0: Floats
    uncertainty: Floats
    raw: Floats


class Answers:
    """One relation of a model."""

    def __init__(
        self, terms: Terms, relation: Relation, p0: Floats, perturbations: int, device: str
    ) -> None:
        """Take ensembles and curves; p0 is of shape (lines + 1, readouts)."""
        self._terms, self._relation, self._p0 = terms, relation, p0
        self._ensembles = [Asked(ensemble, device) for ensemble in relation.ensembles]
        readouts = p0.shape[1]
        each = 3 * readouts * np.dtype(np.uint32).itemsize
        rows = min(max(LARGEST // each, BLOCK), len(relation.heads) * perturbations)
        self._perturbations = perturbations
        self._kept = np.empty((3, rows, readouts), np.uint32)
        self._slot = np.full(len(relation.heads) * perturbations, -1, np.int32)
        self._owner = np.full(rows, -1, np.int64)
        self._asked = np.zeros(rows, np.int64)
        self._turn = 0

    def of(self, line: Codes, a: Codes, b: Codes) -> Columns:
        """Figures of pairs: codes of lines, perturbations and readouts, each of shape (n,)."""
        key = line.astype(np.int64) * self._perturbations + a
        wanted, which = np.unique(key, return_inverse=True)
        room = len(self._owner)
        columns = Columns(*np.empty((4, len(a))))
        columns.p0[:] = self._p0[line, b]
        for start in range(0, len(wanted), room):
            some = wanted[start : start + room]
            self._make(some)
            inside = slice(None) if len(wanted) <= room else (which // room == start // room)
            kept = self._kept[:, self._slot[key[inside]], b[inside]] / _ONE
            columns.p[inside], columns.uncertainty[inside], columns.raw[inside] = kept
        return columns

    def _make(self, wanted: NDArray[np.int64]) -> None:
        """See that every wanted row is kept."""
        terms = self._terms
        self._turn += 1
        slots = self._slot[wanted]
        self._asked[slots[slots >= 0]] = self._turn
        missing = wanted[slots < 0]
        for line in np.unique(missing // self._perturbations):
            some = missing[missing // self._perturbations == line]
            for start in range(0, len(some), terms.block):
                self._make_block(int(line), some[start : start + terms.block])

    def _make_block(self, line: int, keys: NDArray[np.int64]) -> None:
        import torch

        with one_thread(), torch.inference_mode():
            rows = self._terms.inputs(line, keys % self._perturbations)
            for key, inputs in zip(keys, rows, strict=True):
                slot = int(self._asked.argmin())
                if self._owner[slot] >= 0:
                    self._slot[self._owner[slot]] = -1
                self._owner[slot] = -1  # whatever happens below, no half-made row is found
                self._kept[:, slot] = self._row(line, inputs)
                self._owner[slot], self._slot[key], self._asked[slot] = key, slot, self._turn

    def _row(self, line: int, inputs: object) -> NDArray[np.uint32]:
        """p, uncertainty and raw in millionths, shape (3, readouts)."""
        import torch

        assert isinstance(inputs, torch.Tensor)
        ensemble = self._ensembles[self._relation.group[line]]
        log_odds = ensemble.of(inputs[:, : ensemble.inputs])
        curve = self._relation.heads[line].curve
        raw = sigmoid(screen_ensemble.together(log_odds))
        figures = np.stack([curve.apply(raw), screen_ensemble.spread(log_odds, curve), raw])
        return np.asarray(np.rint(figures * _ONE), np.uint32)
