"""Generated cells: two kinds, each with genes that go together, and genes that do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

MODULE = 40


def counts(cells: int, genes: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Counts in which genes 0…39 mark one half of the cells and 40…79 the other."""
    rng = np.random.default_rng(seed)
    rate = np.tile(rng.uniform(0.1, 0.5, genes), (cells, 1))
    first = rng.random(cells) < 0.5
    strength = rng.uniform(1.0, 4.0, 2 * MODULE)  # some partners are easy to see, some hard
    rate[:, : 2 * MODULE] = 0.3
    rate[np.ix_(first, range(MODULE))] *= strength[:MODULE]
    rate[np.ix_(~first, range(MODULE, 2 * MODULE))] *= strength[MODULE:]
    return rng.poisson(rate).astype(np.float32)


@pytest.fixture
def anndata_of() -> Callable[..., Any]:
    """Make an AnnData of a matrix, with symbols G0, G1, … and one obs column."""

    def make(matrix: Any, names: list[str] | None = None, **parts: Any) -> Any:
        import anndata
        import pandas as pd

        cells, genes = matrix.shape
        var = pd.DataFrame(index=names or [f"G{i}" for i in range(genes)])
        kind = pd.Categorical(["even" if i % 2 == 0 else "odd" for i in range(cells)])
        obs = pd.DataFrame({"kind": kind}, index=[f"cell{i}" for i in range(cells)])
        return anndata.AnnData(matrix, obs=obs, var=var, **parts)

    return make


@pytest.fixture(scope="session")
def planted_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An .h5ad of 1,200 cells × 160 genes."""
    import anndata
    import pandas as pd
    from scipy import sparse

    matrix = counts(1200, 160)
    path = tmp_path_factory.mktemp("cells") / "planted.h5ad"
    anndata.AnnData(
        sparse.csr_matrix(matrix),
        obs=pd.DataFrame(index=[f"cell{i}" for i in range(1200)]),
        var=pd.DataFrame(index=[f"G{i}" for i in range(160)]),
    ).write_h5ad(path)
    return path
