"""What is read of a Perturb-seq file, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perturb_seq_simulator import CONTROL, simulate
from worldmodels.core import ModelFault
from worldmodels.expression.annotated import opened
from worldmodels.perturbation import perturb_seq
from worldmodels.perturbation.perturb_seq import Choice, Screen

SIMULATED = simulate(genes=30, perturbed=6, cells=15, controls=40)


def _data(form: str = "csr", **obs: Any) -> Any:
    return SIMULATED.annotated(form, **obs)


def _screens(data: Any, **choice: Any) -> list[Screen]:
    with opened(data) as annotated:
        return list(perturb_seq.screens(annotated, Choice(**choice)))


def _screen(data: Any, **choice: Any) -> Screen:
    (screen,) = _screens(data, **choice)
    return screen


def _values(data: Any, **choice: Any) -> np.ndarray[Any, Any]:
    with opened(data) as annotated:
        (screen,) = perturb_seq.screens(annotated, Choice(**choice))
        table = np.zeros((len(screen.group), len(screen.readouts)))
        for chunk in screen.chunks():
            gene = np.repeat(chunk.genes, np.diff(chunk.starts))
            table[chunk.cells, gene] = chunk.values
    return table


def _relabelled(change: Callable[[str], object]) -> Any:
    return _data(perturbation=[change(label) for label in SIMULATED.labels])


@pytest.mark.parametrize("form", ["csr", "csc", "dense"])
def test_values_are_normalised_as_scanpy_does(form: str, tmp_path: Path) -> None:
    import scanpy as sc

    data = _data(form)
    path = SIMULATED.file(tmp_path / "s.h5ad", form)
    found = _values(path, min_detected=0)
    sc.pp.normalize_total(data, target_sum=1e4)
    sc.pp.log1p(data)
    expected = data.X if form == "dense" else data.X.toarray()
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_logarithms_are_never_logged_again() -> None:
    import scanpy as sc

    data = _data()
    sc.pp.normalize_total(data, target_sum=1e4)
    sc.pp.log1p(data)
    screen = _screen(data, min_detected=0)
    assert any("taken for logarithms and not logged again" in note for note in screen.notes)
    np.testing.assert_array_equal(_values(data, min_detected=0), data.X.toarray())


def test_normalised_values_that_are_no_logarithms_are_logged() -> None:
    import scanpy as sc

    data = _data()
    counts = _values(data, min_detected=0)
    sc.pp.normalize_total(data, target_sum=1e6)
    screen = _screen(data, min_detected=0)
    assert any("too large for logarithms" in note for note in screen.notes)
    np.testing.assert_allclose(_values(data, min_detected=0), counts, rtol=1e-5)


@pytest.mark.parametrize("kept", ["layer", "raw"])
def test_counts_are_found_where_they_are_kept(kept: str) -> None:
    import scanpy as sc

    data = _data()
    counts = _values(data, min_detected=0)
    if kept == "layer":
        data.layers["counts"] = data.X.copy()
    else:
        data.raw = data.copy()
    sc.pp.normalize_total(data, target_sum=1e4)
    sc.pp.log1p(data)
    np.testing.assert_array_equal(_values(data, min_detected=0), counts)
    assert "counts, normalised" in _screen(data).notes[-1]
    if kept == "raw":
        assert "logarithms" in _screen(data, raw=False).notes[-1]


@pytest.mark.parametrize(
    "label", ["control", "CTRL", "Non-Targeting", "NT", "non_targeting", "NTC"]
)
def test_controls_are_found_by_their_names(label: str) -> None:
    screen = _screen(_relabelled(lambda name: label if name == CONTROL else name))
    assert screen.sizes()[0] == 40
    assert screen.names == ["", *(f"G{i}" for i in range(6))]
    assert f"control: {label} (40 cells)" in screen.notes


def test_several_controls_are_named() -> None:
    labels = [f"{CONTROL}-{i % 2}" if x == CONTROL else x for i, x in enumerate(SIMULATED.labels)]
    data = _data(perturbation=labels)
    screen = _screen(data, controls=(f"{CONTROL}-0", f"{CONTROL}-1"))
    assert screen.sizes()[0] == 40


@pytest.mark.parametrize(
    ("label", "read"),
    [
        pytest.param("G4+G2", "G2+G4", id="plus"),
        pytest.param("G4_G2", "G2+G4", id="underscore"),
        pytest.param("G4+ctrl", "G4", id="gene-and-control"),
        pytest.param("ctrl+G4", "G4", id="control-and-gene"),
        pytest.param("G4+G4", "G4", id="two-guides"),
        pytest.param("G4_g1", "G4_g1", id="underscore-of-a-guide"),
        pytest.param("NKX_2", "NKX_2", id="underscore-of-a-name"),
    ],
)
def test_labels_of_several_genes(label: str, read: str) -> None:
    data = _relabelled(lambda name: label if name == "G0" else name)
    screen = _screen(data)
    assert read in screen.names
    kept = _screen(data, combinations=False)
    assert (read in kept.names) == ("+" not in read)
    if "+" in read:
        assert any("1 labels of several genes (15 cells) left out" in note for note in kept.notes)


def test_what_is_left_out_is_counted_and_shown() -> None:
    labels = list(SIMULATED.labels)
    few = [i for i, name in enumerate(labels) if name == "G0"][:12]
    for i in few:
        labels[i] = None  # type: ignore[call-overload]
    data = _data(perturbation=labels)
    counts = data.X.toarray()
    counts[labels.index("G3")] = 0
    counts[:, 29] = 0
    data.X = counts
    screen = _screen(data)
    assert "12 cells without a label are left out" in screen.notes
    assert "1 perturbations of fewer than 10 cells are left out: G0 (3)" in screen.notes
    assert "1 cells without a single count are left out" in screen.notes
    assert any("1 of 31 genes are detected in fewer than" in note for note in screen.notes)
    assert "G0" not in screen.names
    assert "G29" not in screen.readouts


def test_several_cell_lines_are_several_screens() -> None:
    lines = ["Hep G2" if i % 2 else "K562" for i in range(len(SIMULATED.labels))]
    both = _screens(_data(cell_line=lines), min_cells=2)
    assert [screen.line for screen in both] == ["hepg2", "k562"]
    one = _screen(_data(cell_line=lines), min_cells=2, cell_line="HepG2")
    assert one.sizes().tolist() == both[0].sizes().tolist()
    without = _data()
    del without.obs["cell_line"]
    assert _screen(without, cell_line="RPE-1").line == "rpe1"


def test_the_column_with_a_control_is_the_one() -> None:
    data = _data(gene=["x"] * len(SIMULATED.labels))
    assert "perturbations are those of obs column 'perturbation'" in _screen(data).notes


def test_symbols_come_from_a_column() -> None:
    data = _data()
    data.var["symbol"] = [f"S{i}" for i in range(31)]
    assert _screen(data, gene_column="symbol").readouts[0] == "S0"


def _broken(change: Callable[[Any], object]) -> Callable[[], Any]:
    def made() -> Any:
        data = _data()
        return change(data) or data

    return made


def _at(value: float) -> Callable[[], Any]:
    def put(data: Any) -> None:
        data.X = data.X.toarray()
        data.X[5, 7] = value
        data.X[9, 1] = value

    return _broken(put)


def _index(data: Any) -> None:
    data.var_names = [f"ENSG{i:011d}" for i in range(31)]


BAD: dict[str, tuple[Callable[[], Any], dict[str, Any], str]] = {
    "no-control": (
        lambda: _relabelled(lambda name: "safe" if name == CONTROL else name),
        {},
        r"no label means control .* safe \(40\), G0 \(15\).*name the control with --control",
    ),
    "two-controls": (
        lambda: _relabelled(lambda name: "ctrl" if name == "G0" else name),
        {},
        r"2 labels may mean control: ctrl \(15 cells\), non-targeting \(40 cells\); choose with",
    ),
    "another-control": (_data, {"controls": ("mock",)}, r"no cell has the control label 'mock'"),
    "no-column": (
        lambda: _renamed("perturbation", "what"),
        {},
        r"no column of perturbations .*name it with --perturbation-column \(its columns: what, ",
    ),
    "wrong-column": (_data, {"perturbation_column": "x"}, r"no column 'x' for --perturbation-col"),
    "two-columns": (
        lambda: _data(gene=SIMULATED.labels),
        {},
        r"2 columns may name the perturbation: perturbation \(7 labels such as G0, G1, G2, …\); ",
    ),
    "negative": (_at(-1.5), {}, r"2 negative values \(-1.5 in row 5, column 7; .*no counts; it lo"),
    "nan": (_at(float("nan")), {}, r"2 NaN or infinite values \(nan in row 5, column 7; nan in r"),
    "infinite": (_at(float("inf")), {}, r"2 NaN or infinite values"),
    "zero": (_broken(lambda d: setattr(d, "X", d.X * 0)), {}, "is zero in all chosen cells"),
    "no-cells": (lambda: _data()[:0].copy(), {}, "0 cells and 31 genes; there is nothing"),
    "no-genes": (lambda: _data()[:, :0].copy(), {}, "130 cells and 0 genes; there is nothing"),
    "gene-twice": (
        _broken(lambda d: setattr(d, "var_names", ["A", "A", "B", "B", *map(str, range(27))])),
        {},
        r"2 gene names occur more than once \(A, B\); keep one column",
    ),
    "ensembl": (_broken(_index), {}, r"indexed by Ensembl ids .*--gene-column"),
    "few-cells": (_data, {"min_cells": 20}, r"no perturbation has 20 cells or more: the largest"),
    "few-controls": (
        _data,
        {"min_cells": 50},
        r"40 control cells \(non-targeting\) are fewer than",
    ),
    "no-readout": (
        lambda: simulate(genes=30, perturbed=6, controls=40, depth=40).annotated()[:, :30].copy(),
        {"min_detected": 1.0},
        r"no gene is detected in \d+ of \d+ cells; give a lower --min-detected",
    ),
    "no-line": (lambda: _renamed("cell_line", "x"), {}, r"no column of cell lines .*--cell-line N"),
    "another-line": (
        _data,
        {"cell_line": "rpe1", "cell_line_column": "cell_line"},
        r"no cell has cell_line = 'rpe1'; its values: K562",
    ),
    "wrong-line-column": (_data, {"cell_line_column": "x"}, r"no column 'x'"),
    "no-layer": (_data, {"layer": "counts"}, r"no layers\['counts'\]; it has: X"),
    "no-raw": (_data, {"raw": True}, r"no raw.X; it has: X"),
    "layer-and-raw": (_data, {"raw": True, "layer": "x"}, "exclude each other"),
    "one-cell": (_data, {"min_cells": 1}, "a test needs 2 or more"),
    "share": (_data, {"min_detected": 5.0}, "give a share from 0 to 1"),
}


def _renamed(old: str, new: str) -> Any:
    data = _data()
    data.obs = data.obs.rename(columns={old: new})
    return data


@pytest.mark.parametrize(("made", "choice", "says"), BAD.values(), ids=BAD)
def test_bad_input_is_one_message(
    made: Callable[[], Any], choice: dict[str, Any], says: str
) -> None:
    with pytest.raises(ModelFault) as fault:
        _screens(made(), **choice)
    assert re.search(says, str(fault.value)), fault.value


@pytest.mark.parametrize("form", ["csr", "csc", "dense"])
def test_a_truncated_file_is_said_to_be(form: str, tmp_path: Path) -> None:
    path = SIMULATED.file(tmp_path / "s.h5ad", form)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelFault, match="truncated"):
        _screens(path)
