"""From AnnData to a checkpoint: every layout alike, what is used, what is calibrated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from worldmodels.checkpoints import Checkpoint
from worldmodels.core import ModelFault
from worldmodels.expression import matrices
from worldmodels.expression.coexpression import BASELINE, GENES, MATRIX, TENSORS
from worldmodels.expression.coexpression_training import Recipe, train
from worldmodels.expression.detections import Choice
from worldmodels.expression.pmi import normalised, pmi, stretch

CELLS, COLUMNS = 230, 40
Make = Callable[..., Any]


def values(seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rate = np.where(rng.random((CELLS, 1)) < 0.4, rng.uniform(0.05, 1.5, COLUMNS), 0.3)
    return rng.poisson(rate).astype(np.float32)


def built(data: Any, out: Path, notes: list[str] | None = None, **choice: Any) -> Checkpoint:
    def report(message: str, share: float | None) -> None:
        if share is None and notes is not None:
            notes.append(message)

    return train(data, out, Recipe(name="m", choice=Choice(**choice)), report)


def expected(table: np.ndarray) -> np.ndarray:
    above = (table > 0).astype(np.float32)
    matrix = pmi(above.T @ above, len(above))
    return normalised(matrix, stretch(matrix))


LAYOUTS: dict[str, Callable[[np.ndarray], Any]] = {
    "dense": lambda x: x,
    "dense-integers": lambda x: x.astype(np.int32),
    "dense-booleans": lambda x: x > 0,
    "dense-columnwise": np.asfortranarray,
    "csr": sparse.csr_matrix,
    "csr-array": sparse.csr_array,
    "csr-unsigned": lambda x: sparse.csr_matrix(x.astype(np.uint16)),
    "csc": sparse.csc_matrix,
    "logarithms": lambda x: sparse.csr_matrix(np.log1p(x)),
}


@pytest.mark.parametrize("where", ["memory", "file", "backed"])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_gives_the_same_matrix(
    layout: Callable[[np.ndarray], Any],
    where: str,
    tmp_path: Path,
    anndata_of: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import anndata

    monkeypatch.setattr(matrices, "BLOCK", 64 * COLUMNS)  # several blocks, the last one partial
    data = anndata_of(layout(values()))
    if where != "memory":
        data.write_h5ad(tmp_path / "cells.h5ad")
        data = tmp_path / "cells.h5ad"
    if where == "backed":
        data = anndata.read_h5ad(data, backed="r")
    checkpoint = built(data, tmp_path / "model")
    if where == "backed":
        data.file.close()
    arrays = checkpoint.arrays(TENSORS)
    np.testing.assert_array_equal(arrays[MATRIX], expected(values()))
    assert checkpoint.names(GENES) == [f"G{i}" for i in range(COLUMNS)]
    np.testing.assert_allclose(
        arrays[BASELINE], np.nanmean(expected(values()).astype(float), axis=0), rtol=1e-6
    )


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
@pytest.mark.parametrize("layout", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_chosen_cells_and_merged_genes_are_those_of_the_subset(
    layout: Callable[[np.ndarray], Any], tmp_path: Path, anndata_of: Make
) -> None:
    table = values()
    names = [f"G{i}" for i in range(COLUMNS)]
    names[7], names[9] = "G2", "G2"
    path = tmp_path / "cells.h5ad"
    anndata_of(layout(table), names).write_h5ad(path)
    notes: list[str] = []
    checkpoint = built(
        path, tmp_path / "m", notes, cells_column="kind", cells_value="odd", merge_duplicates=True
    )
    merged = table.copy()
    merged[:, 2] = table[:, [2, 7, 9]].max(axis=1)
    merged = np.delete(merged[1::2], [7, 9], axis=1)
    np.testing.assert_array_equal(checkpoint.arrays(TENSORS)[MATRIX], expected(merged))
    assert notes[0] == "1 gene names occur more than once and were merged (G2)"
    assert checkpoint.manifest.options["cells"] == CELLS // 2


def test_rare_genes_go_first_then_the_least_detected(tmp_path: Path, anndata_of: Make) -> None:
    table = values()
    table[:, 5] = 0
    table[:10, 5] = 1
    table[:, 6] = 0
    table[:9, 6] = 1  # one cell below the default
    notes: list[str] = []
    checkpoint = built(anndata_of(table), tmp_path / "a", notes)
    assert {"G5", "G6"} & set(checkpoint.names(GENES)) == {"G5"}
    assert notes[0] == "1 genes detected in fewer than 10 cells were left out"
    fewer = built(anndata_of(table), tmp_path / "b", notes, max_genes=12, min_cells=3)
    most = np.sort(np.argsort(-(table > 0).sum(0), kind="stable")[:12])
    assert fewer.names(GENES) == [f"G{i}" for i in most]
    assert "28 genes beyond the 12 most detected were left out (--max-genes)" in notes
    assert fewer.manifest.options["notes"] == notes[-2:-1]


def scaled(table: np.ndarray) -> np.ndarray:
    return (table - table.mean(0)) / table.std(0)


@pytest.mark.parametrize("where", ["memory", "file"])
def test_raw_is_used_where_x_is_scaled_and_a_note_says_so(
    where: str, tmp_path: Path, anndata_of: Make
) -> None:
    data = anndata_of(values())
    data.raw = data.copy()
    data.X = scaled(values())
    data.layers["counts"] = values(4)
    if where == "file":
        data.write_h5ad(tmp_path / "cells.h5ad")
        data = tmp_path / "cells.h5ad"
    notes: list[str] = []
    by_default = built(data, tmp_path / "a", notes).arrays(TENSORS)[MATRIX]
    np.testing.assert_array_equal(by_default, expected(values()))
    assert "negative values" in notes[0]
    assert "raw.X is used instead" in notes[0]
    for name, choice, seed in (("b", {"raw": True}, 3), ("c", {"layer": "counts"}, 4)):
        found = built(data, tmp_path / name, **choice).arrays(TENSORS)[MATRIX]
        np.testing.assert_array_equal(found, expected(values(seed)))
    with pytest.raises(ModelFault, match=r"X of .* holds negative values"):
        built(data, tmp_path / "d", raw=False)


def test_symbols_come_from_a_column(tmp_path: Path, anndata_of: Make) -> None:
    ids = [f"ENSG{i:011d}" for i in range(COLUMNS)]
    data = anndata_of(values(), ids)
    symbols = [f"S{i}" for i in range(COLUMNS)]
    symbols[4] = ""
    data.var["feature_name"] = symbols
    notes: list[str] = []
    named = built(data, tmp_path / "a", notes, gene_column="feature_name")
    assert named.names(GENES) == [s for s in symbols if s]
    assert notes[0] == "1 columns have no gene name and were left out"
    assert built(data, tmp_path / "b", gene_column="_index").names(GENES) == ids


def test_calibration_holds_on_genes_it_has_not_seen(planted_file: Path, tmp_path: Path) -> None:
    checkpoint = built(planted_file, tmp_path / "m")
    manifest = checkpoint.manifest
    assert manifest.calibration["kind"] in {"isotonic", "platt"}
    assert manifest.calibration["cells"] == 600
    assert manifest.metrics["ece"] < 0.05
    assert manifest.metrics["ece"] < manifest.metrics["ece_before"]
    assert manifest.metrics["brier"] < manifest.metrics["brier_before"]
    assert manifest.metrics["auroc"] > 0.7


def test_the_same_seed_gives_the_same_bytes(planted_file: Path, tmp_path: Path) -> None:
    first, again = (built(planted_file, tmp_path / name) for name in "ab")
    assert first.digest == again.digest
    other = train(planted_file, tmp_path / "c", Recipe(name="m", seed=1))
    assert other.digest != first.digest


@pytest.mark.parametrize(
    ("cells", "genes", "calibrate", "reason"),
    [
        pytest.param(399, 120, True, "399 cells and 120 genes are too few", id="few-cells"),
        pytest.param(500, 60, True, "500 cells and 60 genes are too few", id="few-genes"),
        pytest.param(500, 120, True, "has only", id="nothing-above-chance"),
        pytest.param(500, 120, False, "not asked for", id="not-asked-for"),
    ],
)
def test_what_cannot_be_calibrated_says_so(
    cells: int, genes: int, calibrate: bool, reason: str, tmp_path: Path, anndata_of: Make
) -> None:
    table = np.random.default_rng(0).poisson(0.5, (cells, genes))
    notes: list[str] = []
    checkpoint = train(
        anndata_of(table),
        tmp_path / "m",
        Recipe(name="m", calibrate=calibrate),
        lambda message, share: notes.append(message) if share is None else None,
    )
    assert checkpoint.manifest.calibration["kind"] == "none"
    assert reason in str(checkpoint.manifest.calibration["reason"])
    assert not checkpoint.manifest.metrics
    assert reason in notes[-1]


def test_progress_ends_at_one(planted_file: Path, tmp_path: Path) -> None:
    told: dict[str, float] = {}
    train(
        planted_file,
        tmp_path / "m",
        Recipe(name="m"),
        lambda stage, share: None if share is None else told.update({stage: share}),
    )
    assert told["counting pairs"] == 1.0
    assert told["writing"] == 1.0
