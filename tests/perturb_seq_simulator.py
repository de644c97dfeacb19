"""A Perturb-seq screen with known effects: who changes what, by how much, is planted.

Genes belong to modules. Perturbing a gene of module a multiplies the expression of the readouts of
module b by 2^effect[a, b] (with a strength of its own per readout), and knocks the gene itself
down. So genes of one module have alike effects and alike responses, which is what a linear model
can use for perturbations that it never saw. One abundant gene, ``SINK``, takes up what the others
gain or lose, so that shares of a cell's total are what was planted. Counts are gamma–Poisson around
a library size that varies by cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from anndata import AnnData

CONTROL = "non-targeting"
SINK = "SINK"
"""Its share of a cell makes all shares sum to 1."""
KNOCKED_DOWN = -2.0
"""log₂ fold change of the perturbed gene itself."""


@dataclass(frozen=True)
class Simulated:
    """Counts and the truth behind them."""

    counts: NDArray[np.float32]
    """Cells × genes."""
    genes: list[str]
    labels: list[str]
    """Of cells."""
    perturbations: list[str]
    planted: NDArray[np.float64]
    """Perturbations × genes: the true log₂ fold change of each gene's share of a cell."""
    module: NDArray[np.int64]
    """Of genes; ``SINK``, the last gene, is of none (−1)."""

    def annotated(self, form: str = "csr", **obs: Any) -> AnnData:
        """As AnnData: "csr", "csc" or "dense"."""
        import anndata
        import pandas as pd
        from scipy import sparse

        matrix = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": np.array}[form]
        index = [f"cell{i}" for i in range(len(self.labels))]
        table = pd.DataFrame({"perturbation": self.labels, "cell_line": "K562", **obs}, index=index)
        return anndata.AnnData(
            matrix(self.counts), obs=table, var=pd.DataFrame(index=list(self.genes))
        )

    def file(self, path: Path, form: str = "csr", **obs: Any) -> Path:
        """As an ``.h5ad``."""
        self.annotated(form, **obs).write_h5ad(path)
        return path


def simulate(
    *,
    genes: int = 240,
    perturbed: int = 48,
    cells: int = 40,
    controls: int = 400,
    modules: int = 6,
    strength: float = 1.0,
    depth: float = 1500.0,
    seed: int = 0,
) -> Simulated:
    """Draw a screen.

    Args:
        genes: named ``G0`` …, ``SINK`` not counted; the first ``perturbed`` are knocked down.
        perturbed: number of perturbations.
        cells: of each perturbation.
        controls: control cells.
        modules: of genes; perturbing one turns one up and another down.
        strength: log₂ fold change of an effect.
        depth: mean counts of a cell.
        seed: of everything.
    """
    rng = np.random.default_rng(seed)
    module = rng.permutation(np.arange(genes) % modules)
    between = np.zeros((modules, modules))
    for a in range(modules):
        up, down = rng.choice(modules, 2, replace=False)
        between[a, up], between[a, down] = strength, -strength
    planted = between[module[:perturbed]][:, module] * rng.uniform(0.7, 1.3, genes)
    planted[np.arange(perturbed), np.arange(perturbed)] = KNOCKED_DOWN
    base = rng.gamma(1.5, 1.0, genes) + 0.3
    base *= 0.4 / base.sum()
    shares = base * 2.0 ** np.vstack([np.zeros(genes), planted])
    sink = 1 - shares.sum(axis=1, keepdims=True)
    shares, planted = np.hstack([shares, sink]), np.hstack([planted, np.log2(sink[1:] / sink[0])])
    group = np.repeat(np.arange(perturbed + 1), [controls, *[cells] * perturbed])
    library = depth * rng.lognormal(0, 0.35, len(group))
    mean = shares[group] * library[:, None]
    counts = rng.poisson(mean * rng.gamma(5, 1 / 5, mean.shape)).astype(np.float32)
    order = rng.permutation(len(group))
    names = [*(f"G{i}" for i in range(genes)), SINK]
    labels = np.array([CONTROL, *names[:perturbed]])[group]
    return Simulated(
        counts[order],
        names,
        labels[order].tolist(),
        names[:perturbed],
        planted,
        np.append(module, -1),
    )
