"""The flagship: p(change) and p(up | change) of any perturbation × readout in a cell line.

The first question about a perturbation in a line computes its row of all readouts from the model's
lesson (``screen_terms``, nets and trees, a curve per line), later ones look it up
(``screen_answers``). p₀ is what a guess that is blind to the perturbation would say, uncertainty
the standard deviation between nets and trees, raw the σ of their log-odds together before the
curve. A cell line that is none of ``contexts`` (an empty one too) is answered by the line pooled
over all, with status POOLED. What there is no feature for is OUT_OF_DISTRIBUTION, and so are
combinations of perturbations and a gene's effect on itself: no screen that trains the model has
rows of either. Limits: CPUs of another kind and accelerators sum in another order, so they may
differ in the sixth decimal, and where an input lies on a tree's threshold by as much as a leaf.
"""

from __future__ import annotations

import dataclasses
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worldmodels import checkpoints, spellings
from worldmodels.checkpoints import Checkpoint
from worldmodels.contexts import Contexts
from worldmodels.core import (
    Codes,
    ModelFault,
    ModelSpec,
    Queries,
    Status,
    Verdicts,
    answered,
)
from worldmodels.genes import GeneResolver, Perturbations, Vocabulary, statuses
from worldmodels.perturbation import screen_checkpoint
from worldmodels.perturbation.screen_answers import Answers, Columns
from worldmodels.perturbation.screen_checkpoint import FAMILY
from worldmodels.perturbation.screen_fitted import Fitted
from worldmodels.perturbation.screen_terms import BLOCK, Terms
from worldmodels.registry import Source

Rows = NDArray[np.int32]
_PRIME: Final = 7919
"""Step of the examples: visits every readout before it repeats one."""


class Screen:
    """A trained screen model behind the contract of a world model."""

    def __init__(
        self, checkpoint: Checkpoint, genes: GeneResolver, *, name: str, device: str = "cpu"
    ) -> None:
        """Take a checkpoint, its tables mapped rather than read.

        Raises:
            ModelFault: a model of another family, a damaged one, or no such device.
        """
        fitted = screen_checkpoint.read(checkpoint)
        self.perturbations, self.readouts = fitted.perturbations, fitted.readouts
        other = spellings.read(checkpoint)
        self._subjects = Perturbations(*spellings.rows(self.perturbations, other), genes)
        self._objects = Vocabulary(*spellings.rows(self.readouts, other), genes)
        self._lines = Contexts(fitted.lines)
        self._pooled = len(fitted.lines)
        self._featured = np.array(fitted.featured)
        place = {symbol: i for i, symbol in enumerate(self.perturbations)}
        self._itself = np.array([place.get(name, -1) for name in self.readouts], np.int32)
        self._relations = _answers(fitted, device)
        known = len({*self.perturbations, *self.readouts})
        spec = checkpoint.spec(name=name, vocabulary=known, genes=genes.label)
        self.spec: ModelSpec = dataclasses.replace(spec, pools=True, steady=False, device=device)

    def predict(self, queries: Queries) -> Verdicts:
        """Probability that perturbing each subject changes each object, or raises what changes."""
        self.spec.check_relation(queries.relation)
        a = self._subjects.codes(queries.subjects)
        b = self._objects.codes(queries.objects)
        line = self._lines.codes(queries.contexts)
        line[line < 0] = self._pooled
        status = statuses(a, b)
        return self._verdicts(queries.relation, line, a.clip(0), b.clip(0), status)

    def predict_codes(self, relation: str, line: Rows, a: Rows, b: Rows) -> Columns:
        """Figures of pairs by their codes, whatever their status would be.

        Args:
            relation: one of ``spec.relations``.
            line: shape (n,), into ``spec.contexts``; their number is the pooled line.
            a: shape (n,), into ``perturbations``.
            b: shape (n,), into ``readouts``.
        """
        return self._relations[relation].of(line, a, b)

    def row(self, relation: str, perturbation: str, context: str) -> Verdicts:
        """Every readout of one perturbation, in the order of ``readouts``."""
        self.spec.check_relation(relation)
        n = len(self.readouts)
        a = np.repeat(self._subjects.codes([perturbation]), n)
        line = np.repeat(self._lines.codes([context]), n)
        line[line < 0] = self._pooled
        b = np.arange(n, dtype=np.int32)
        return self._verdicts(relation, line, a.clip(0), b, statuses(a))

    def examples(self, n: int) -> Queries:
        """Pairs of a few perturbations in the first line: what is asked when rows are made."""
        can = np.flatnonzero(self._featured[0])[:BLOCK]
        rows = [
            (int(can[i % len(can)]), i * _PRIME % len(self.readouts)) for i in range(4 * n + 16)
        ]
        pairs = [(a, b) for a, b in rows if self._itself[b] != a] or rows
        chosen = [pairs[i % len(pairs)] for i in range(n)]
        return Queries(
            self.spec.relations[0],
            [self.perturbations[a] for a, _ in chosen],
            [self.readouts[b] for _, b in chosen],
            [self.spec.contexts[0]] * n,
        )

    def _verdicts(self, relation: str, line: Rows, a: Rows, b: Rows, status: Codes) -> Verdicts:
        strange = ~self._featured[line, a] | (self._itself[b] == a)
        status[(status == Status.OK) & strange] = Status.OUT_OF_DISTRIBUTION
        status[(status == Status.OK) & (line == self._pooled)] = Status.POOLED
        asked = answered(status)
        if asked.all():
            columns = self.predict_codes(relation, line, a, b)
        else:  # no row is made for what is not answered
            columns = Columns(*np.full((4, len(a)), np.nan))
            rows = np.flatnonzero(asked)
            told = self.predict_codes(relation, line[rows], a[rows], b[rows])
            for column, values in zip(columns, told, strict=True):
                column[rows] = values
        p, p0, uncertainty, raw = columns
        return Verdicts(p, status, p0=p0, uncertainty=uncertainty, raw=raw)


def _answers(fitted: Fitted, device: str) -> dict[str, Answers]:
    try:
        terms = Terms(fitted, device)
        return {
            name: Answers(
                terms, relation, np.array(fitted.p0[name]), len(fitted.perturbations), device
            )
            for name, relation in fitted.relations.items()
        }
    except (RuntimeError, AssertionError) as error:
        raise ModelFault(
            f"device {device!r} cannot be used ({error}); serve on cpu, or install torch for it"
        ) from error


def load(source: Source, genes: GeneResolver) -> Screen:
    """Open a folder that ``soft-verifier train screen`` wrote.

    Raises:
        ModelFault: no folder given, or one that is damaged.
    """
    if source.path is None:
        raise ModelFault(f"model {source.name!r}: family {FAMILY} needs path, a trained folder")
    return Screen(checkpoints.read(source.path), genes, name=source.name, device=source.device)
