"""The toy as a world model of this server: a plugin family, for what the behaviours must see.

For speed the server answers from its own checkpoint of the same network. Limits: one relation, no
baseline, no gene table.
"""

from __future__ import annotations

import numpy as np
from pairs import Pairs

from worldmodels.core import ModelSpec, Queries, Verdicts, quantise
from worldmodels.genes import GeneResolver
from worldmodels.registry import Source


class Served:
    """The toy behind the contract of a world model."""

    def __init__(self, source: Source, genes: GeneResolver) -> None:
        self._pairs = Pairs()
        self.spec = ModelSpec(
            name=source.name, family="peers-toy", version="1", licence="Apache-2.0",
            digest="sha256:" + "0" * 64, training="none: random weights",
            relations=("perturbation.de",), genes=genes.label,
        )  # fmt: skip

    def predict(self, queries: Queries) -> Verdicts:
        """One batch."""
        p = self._pairs(queries.subjects, queries.objects)
        return Verdicts(quantise(np.array(p)), np.zeros(len(p), np.uint8))

    def examples(self, n: int) -> Queries:
        """The first genes."""
        names = [f"TOY{i}" for i in range(n + 1)]
        return Queries("perturbation.de", names[:n], names[1:], [""] * n)
