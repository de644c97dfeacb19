"""``train linear`` and ``train measured --h5ad`` as commands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from perturb_seq_simulator import simulate
from screens import gene_table
from service.commands.train_linear import linear
from service.commands.train_perturbation import measured
from worldmodels import checkpoints, registry
from worldmodels.core import ModelFault, Queries, Status
from worldmodels.genes import GeneResolver

app = typer.Typer()
app.command()(linear)
app.command()(measured)
PLAIN = GeneResolver.as_they_are()
SIMULATED = simulate(genes=80, perturbed=24, cells=25, controls=150)


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    return SIMULATED.file(tmp_path / "screen.h5ad")


def test_linear_says_how_it_fares_beside_the_mean(cells: Path, tmp_path: Path) -> None:
    out = tmp_path / "models" / "lin"
    run = _run("linear", "--h5ad", cells, "--out", out, "--licence", "CC0-1.0", "--alpha", "0.1")
    assert run.exit_code == 0, run.output
    assert "held-out perturbations, change: per-gene AUROC 0." in run.stdout
    assert "the mean of the training perturbations: Pearson" in run.stdout
    assert "note: k562: control: non-targeting (150 cells)" in run.stderr
    assert "Benjamini-Hochberg within each perturbation" in run.stderr
    made = checkpoints.read(out).manifest
    assert (made.name, made.family, made.contexts) == ("lin", "linear", ("k562",))
    assert made.options["alpha"] == 0.1
    assert made.training.startswith("screen.h5ad: 24 perturbations, 81 readouts, 750 cells")
    again = _run("linear", "--h5ad", cells, "--out", out)
    assert "give --force" in str(again.exception)


def test_linear_with_vectors(cells: Path, tmp_path: Path) -> None:
    names = np.array([f"G{i}" for i in range(80) if i != 3])
    table = np.random.default_rng(0).normal(size=(len(names), 4)).astype(np.float32)
    np.savez(tmp_path / "v.npz", names=names, vectors=table)
    out = tmp_path / "lin"
    run = _run("linear", "--h5ad", cells, "--out", out, "--embeddings", tmp_path / "v.npz")
    assert run.exit_code == 0, run.output
    assert "1 of 24 perturbations have no embedding and are left out (such as G3)" in run.stderr
    assert "embedded by v.npz" in checkpoints.read(out).manifest.training


def test_measured_from_cells_serves_what_its_table_says(cells: Path, tmp_path: Path) -> None:
    out, table = tmp_path / "m", tmp_path / "k562-de.csv"
    run = _run("measured", "--h5ad", cells, "--out", out, "--table-out", table)
    assert run.exit_code == 0, run.output
    assert "1,944 rows written to" in run.stdout
    from_table = tmp_path / "t"
    assert _run("measured", "--table", table, "--out", from_table).exit_code == 0
    models = [registry.open_folder(folder, genes=PLAIN) for folder in (out, from_table)]
    asked = models[0].examples(500)
    first, second = (model.predict(asked) for model in models)
    np.testing.assert_array_equal(first.p, second.p)
    assert 0 < first.p.mean() < 1
    itself = models[0].predict(Queries("perturbation.de", ["G1"], ["G1"], ["K562"]))
    assert itself.p.tolist() == [1]


def test_measured_directions_from_cells(cells: Path, tmp_path: Path) -> None:
    out = tmp_path / "m"
    how = ["--relation", "perturbation.dir", "--min-effect", "0.5"]
    run = _run("measured", "--h5ad", cells, "--out", out, *how)
    assert run.exit_code == 0, run.output
    model = registry.open_folder(out, genes=PLAIN)
    told = model.predict(Queries("perturbation.dir", ["G1", "G1"], ["G1", "NOPE"], ["k562"] * 2))
    assert told.status.tolist() == [Status.OK, Status.UNKNOWN_GENE]
    assert told.p[0] == 0, "a knockdown goes down"


def test_rare_genes_stay_unmeasured(cells: Path, tmp_path: Path) -> None:
    out = tmp_path / "m"
    run = _run("measured", "--h5ad", cells, "--out", out, "--min-detected", "0.95")
    assert run.exit_code == 0, run.output
    assert "cells and stay unmeasured (--min-detected)" in run.stderr
    model = registry.open_folder(out, genes=PLAIN)
    detected = (SIMULATED.counts[:, :24] > 0).mean(axis=0)
    rare = f"G{int(detected.argmin())}"
    told = model.predict(Queries("perturbation.de", ["G1"], [rare], ["k562"]))
    assert told.status.tolist() == [Status.UNMEASURED]


def test_labels_resolve_by_a_gene_table(tmp_path: Path) -> None:
    old = {"G0": "AARS", "G1": "CALR"}
    data = SIMULATED.annotated(perturbation=[old.get(x, x) for x in SIMULATED.labels])
    data.var_names = [old.get(name, name) for name in data.var_names]
    data.write_h5ad(tmp_path / "s.h5ad")
    out, hgnc = tmp_path / "m", gene_table(tmp_path)
    run = _run("linear", "--h5ad", tmp_path / "s.h5ad", "--out", out, "--genes", hgnc)
    assert run.exit_code == 0, run.output
    model = registry.open_folder(out, genes=GeneResolver.from_files([hgnc]))
    asked = Queries("perturbation.de", ["AARS", "AARS1"], ["CALR"] * 2, ["k562"] * 2)
    told = model.predict(asked)
    assert told.status.tolist() == [Status.OK] * 2
    assert told.p[0] == told.p[1]


def test_a_file_of_two_lines_wants_a_choice_for_one_model(tmp_path: Path) -> None:
    lines = ["K562" if i % 2 else "RPE1" for i in range(len(SIMULATED.labels))]
    path = SIMULATED.file(tmp_path / "s.h5ad", cell_line=lines)
    run = _run("linear", "--h5ad", path, "--out", tmp_path / "m", "--min-cells", 5)
    assert "holds 2 cell lines (k562, rpe1)" in str(run.exception)
    chosen = ["--cell-line", "RPE1", "--min-cells", 5]
    assert _run("linear", "--h5ad", path, "--out", tmp_path / "m", *chosen).exit_code == 0
    both = tmp_path / "both"
    assert _run("measured", "--h5ad", path, "--out", both, "--min-cells", 5).exit_code == 0
    assert checkpoints.read(both).manifest.contexts == ("k562", "rpe1")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(["measured"], "give either --table FILE or --h5ad FILE", id="neither"),
        pytest.param(["measured", "--h5ad", "a", "--table", "b"], "one of them", id="both"),
        pytest.param(["measured", "--h5ad", "a.h5ad"], "does not exist", id="no-file"),
        pytest.param(["measured", "--h5ad", "a.h5ad", "b"], "takes one file", id="two-files"),
        pytest.param(
            ["measured", "--table", "a", "--table-out", "b.csv"], "go with --h5ad", id="table-out"
        ),
        pytest.param(
            ["measured", "--table", "a", "--min-effect", "1"], "go with --h5ad", id="min-effect"
        ),
        pytest.param(
            ["measured", "--table", "a", "--control", "x"], "go with --h5ad", id="control"
        ),
        pytest.param(
            ["measured", "--h5ad", "a", "--table-out", "b.doc"], "unknown format", id="format"
        ),
        pytest.param(["linear", "--h5ad", "a.h5ad"], "does not exist", id="linear-no-file"),
        pytest.param(
            ["linear", "--h5ad", "a", "--graphs", "g", "--embeddings", "e"],
            "not both",
            id="vectors",
        ),
        pytest.param(["linear", "--h5ad", "a", "--name", "a/b"], "no name for a model", id="name"),
    ],
)
def test_mistakes_are_one_message(tmp_path: Path, arguments: list[str], says: str) -> None:
    run = _run(*arguments, "--out", tmp_path / "m")
    assert isinstance(run.exception, ModelFault)
    assert says in str(run.exception)
    assert not (tmp_path / "m").exists()
