"""What cannot be trained on is refused in one message: the file, what was found, what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from worldmodels.core import ModelFault
from worldmodels.expression.coexpression_training import Recipe, train
from worldmodels.expression.detections import Choice

Make = Callable[..., Any]
RNG = np.random.default_rng(0)
GOOD = RNG.poisson(0.7, (80, 30)).astype(np.float32)


def with_value(value: float) -> np.ndarray:
    table = GOOD.copy()
    table[79, 29] = value
    return table


MATRICES = {
    "negative": (with_value(-1.5), "X of .* holds negative values .-1.5.*--layer or --raw"),
    "negative-csr": (sparse.csr_matrix(with_value(-1.5)), "holds negative values"),
    "negative-csc": (sparse.csc_matrix(with_value(-1.5)), "holds negative values"),
    "nan": (with_value(np.nan), "holds NaN or infinite values"),
    "nan-csr": (sparse.csr_matrix(with_value(np.nan)), "holds NaN or infinite values"),
    "nan-csc": (sparse.csc_matrix(with_value(np.nan)), "holds NaN or infinite values"),
    "infinite": (with_value(np.inf), "holds NaN or infinite values"),
    "zero": (np.zeros_like(GOOD), "is zero everywhere"),
    "zero-csr": (sparse.csr_matrix(GOOD.shape, dtype=np.float32), "is zero everywhere"),
    "constant": (np.full_like(GOOD, 3), "is 3 everywhere"),
    "no-zero": (GOOD + 1, "is above zero everywhere"),
    "no-zero-csc": (sparse.csc_matrix(GOOD + 1), "is above zero everywhere"),
    "no-cells": (GOOD[:0], "has 0 cells and 30 genes"),
    "no-genes": (GOOD[:, :0], "has 80 cells and 0 genes"),
    "one-gene": (GOOD[:, :1], "1 of 1 genes are detected in at least 10 of the 80 cells"),
    "nine-cells": (GOOD[:9], "0 of 30 genes are detected in at least 10"),
}


@pytest.mark.parametrize("where", ["memory", "file"])
@pytest.mark.parametrize(("matrix", "message"), MATRICES.values(), ids=MATRICES)
def test_matrices_that_say_nothing(
    matrix: Any, message: str, where: str, tmp_path: Path, anndata_of: Make
) -> None:
    data = anndata_of(matrix)
    if where == "file":
        data.write_h5ad(tmp_path / "cells.h5ad")
        data = tmp_path / "cells.h5ad"
    with pytest.raises(ModelFault, match=message) as caught:
        train(data, tmp_path / "m", Recipe(name="m"))
    assert ("cells.h5ad" if where == "file" else "AnnData") in str(caught.value)
    assert not (tmp_path / "m").exists()


def twice(names: list[str]) -> list[str]:
    return [*names[:-1], names[0]]


SYMBOLS = [f"G{i}" for i in range(30)]
CHOICES: dict[str, tuple[list[str], dict[str, Any], str]] = {
    "no-layer": (SYMBOLS, {"layer": "count"}, r"has no layers\['count'\]; it has: X"),
    "no-raw": (SYMBOLS, {"raw": True}, r"has no raw.X; it has: X"),
    "no-column": (SYMBOLS, {"gene_column": "symbol"}, "var has no column 'symbol'"),
    "no-cells-column": (
        SYMBOLS,
        {"cells_column": "type", "cells_value": "T"},
        "obs has no column 'type'; its columns: kind",
    ),
    "no-such-cells": (
        SYMBOLS,
        {"cells_column": "kind", "cells_value": "T"},
        "no cell has kind = 'T'; its values: even, odd",
    ),
    "column-alone": (SYMBOLS, {"cells_column": "kind"}, "go together"),
    "value-alone": (SYMBOLS, {"cells_value": "odd"}, "go together"),
    "ensembl": (
        [f"ENSG{i:011d}.3" for i in range(30)],
        {},
        "indexed by Ensembl ids .*--gene-column",
    ),
    "mouse-ensembl": ([f"ENSMUSG{i:011d}" for i in range(30)], {}, "indexed by Ensembl ids"),
    "duplicates": (twice(SYMBOLS), {}, r"1 gene names occur more than once \(G0\).*--merge"),
    "no-names": ([""] * 30, {}, "no column has a gene name"),
    "min-cells": (SYMBOLS, {"min_cells": 81}, "at least 81 of the 80 cells"),
}


@pytest.mark.parametrize("where", ["memory", "file"])
@pytest.mark.parametrize(("names", "choice", "message"), CHOICES.values(), ids=CHOICES)
@pytest.mark.filterwarnings("ignore:Variable names are not unique")
def test_choices_that_the_file_does_not_offer(
    names: list[str],
    choice: dict[str, Any],
    message: str,
    where: str,
    tmp_path: Path,
    anndata_of: Make,
) -> None:
    data = anndata_of(GOOD, names)
    if where == "file":
        data.write_h5ad(tmp_path / "cells.h5ad")
        data = tmp_path / "cells.h5ad"
    with pytest.raises(ModelFault, match=message):
        train(data, tmp_path / "m", Recipe(name="m", choice=Choice(**choice)))


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: Choice(layer="a", raw=True), id="layer-and-raw"),
        pytest.param(lambda: Choice(min_cells=0), id="no-min-cells"),
        pytest.param(lambda: Choice(max_genes=1), id="one-gene"),
        pytest.param(lambda: Recipe(name=""), id="no-name"),
        pytest.param(lambda: Recipe(name="a/b"), id="name-with-a-slash"),
        pytest.param(lambda: Recipe(name="a\nb"), id="name-of-two-lines"),
        pytest.param(lambda: Recipe(name="m", context="…"), id="context-of-nothing"),
    ],
)
def test_options_that_make_no_sense(make: Callable[[], Any]) -> None:
    with pytest.raises(ModelFault):
        make()


def absent(path: Path) -> None:
    path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("gene,cell\n")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-4000])


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def other_hdf5(path: Path) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        file["matrix"] = GOOD


def unknown_form(path: Path) -> None:
    import h5py

    with h5py.File(path, "r+") as file:
        file["var/_index"].attrs["encoding-type"] = "string-array-of-the-future"


def edit(key: str, value: Any) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        import h5py

        with h5py.File(path, "r+") as file:
            del file[key]
            if value is not None:
                file[key] = value

    return apply


FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "absent": (absent, "does not exist"),
    "empty": (empty, "not a readable .h5ad file: it is truncated|it is not HDF5"),
    "text": (text, "it is not HDF5"),
    "truncated": (cut, "it is truncated"),
    "folder": (folder, "is a folder"),
    "other-hdf5": (other_hdf5, "HDF5 but not an .h5ad"),
    "no-x": (edit("X", None), "has no raw.X; it has: no matrix at all"),
    "x-of-text": (edit("X", [["a", "b"]]), "not numbers"),
    "one-dimension": (edit("X", [1.0, 2.0]), "1 dimensions"),
    "other-shape": (edit("X", GOOD[:, :7]), "the file describes 80 cells and 30 genes"),
    "no-indices": (edit("X/indices", None), "neither dense nor a CSR or CSC"),
    "wild-indices": (edit("X/indices", np.full(int((GOOD > 0).sum()), 900)), "damaged"),
    "short-data": (edit("X/data", GOOD[0]), "damaged"),
    "wild-indptr": (edit("X/indptr", np.arange(81)[::-1]), "damaged"),
    "unknown-form": (unknown_form, "upgrade anndata"),
    "no-var-index": (edit("var/_index", None), "truncated or damaged"),
}


@pytest.mark.parametrize(("harm", "message"), FILES.values(), ids=FILES)
def test_files_that_are_no_h5ad(
    harm: Callable[[Path], None], message: str, tmp_path: Path, anndata_of: Make
) -> None:
    path = tmp_path / "cells.h5ad"
    anndata_of(sparse.csr_matrix(GOOD)).write_h5ad(path)
    harm(path)
    with pytest.raises(ModelFault, match=message) as caught:
        train(path, tmp_path / "m", Recipe(name="m"))
    assert "cells.h5ad" in str(caught.value)


def test_a_file_cut_anywhere_is_a_fault(tmp_path: Path, anndata_of: Make) -> None:
    whole = tmp_path / "whole.h5ad"
    anndata_of(sparse.csr_matrix(GOOD)).write_h5ad(whole)
    data = whole.read_bytes()
    for length in range(0, len(data), len(data) // 40):
        path = tmp_path / "cut.h5ad"
        path.write_bytes(data[:length])
        with pytest.raises(ModelFault, match=r"cut\.h5ad"):
            train(path, tmp_path / "m", Recipe(name="m"))


def test_a_view_of_a_backed_anndata_is_refused(tmp_path: Path, anndata_of: Make) -> None:
    import anndata

    anndata_of(GOOD).write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    with pytest.raises(ModelFault, match="view of a backed one"):
        train(backed[:40], tmp_path / "m", Recipe(name="m"))
    backed.file.close()


def test_a_folder_in_use_is_refused_before_training(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ModelFault, match="not a checkpoint and is left alone"):
        train(tmp_path / "absent.h5ad", tmp_path, Recipe(name="m"))
