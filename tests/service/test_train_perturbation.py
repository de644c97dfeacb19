"""``train pair-mlp`` and ``train measured`` as commands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from screens import graphs, screen, vectors
from service.commands.train_perturbation import measured, pair_mlp
from worldmodels import calibration, checkpoints, registry
from worldmodels.core import ModelFault, Queries
from worldmodels.genes import GeneResolver

app = typer.Typer()
app.command("pair-mlp")(pair_mlp)
app.command("measured")(measured)


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    known = vectors()
    np.savez(tmp_path / "v.npz", names=np.array(known.names), vectors=known.vectors)
    return tmp_path / "v.npz"


def test_pair_mlp_from_vectors(tmp_path: Path, npz: Path) -> None:
    first, second = screen(tmp_path, ("K562", "RPE1"))
    with first.open("a") as file:
        file.write("NOVEC,G1,1,train\nG1,NOVEC,0,train\nG1,G3,1,test\n")
    out = tmp_path / "models" / "mlp"
    how = ["--embeddings", npz, "--epochs", 2, "--hidden", 8, "--licence", "CC0-1.0"]
    run = _run("pair-mlp", "--de", first, second, "--out", out, *how)
    assert run.exit_code == 0, run.output
    assert "2 of 3,542 rows (0.1%) are left out" in run.stdout
    assert "NOVEC → G1" in run.stdout
    assert "per_gene_auroc" in run.stdout
    assert "epoch 2: loss" in run.stderr
    made = checkpoints.read(out)
    assert made.manifest.name == "mlp"
    assert made.manifest.contexts == ("k562", "rpe1")
    assert made.manifest.licence == "CC0-1.0"
    assert made.manifest.options["hidden"] == 8
    assert {"per_gene_auroc", "ece", "ece_before", "brier", "tpr"} <= set(made.manifest.metrics)
    assert made.manifest.training == "3,540 rows of K562-de.csv, RPE1-de.csv; vectors of v.npz"
    again = _run("pair-mlp", "--de", first, "--out", out, *how)
    assert isinstance(again.exception, ModelFault)
    assert "give --force" in str(again.exception)
    assert _run("pair-mlp", "--de", first, "--out", out, *how, "--force").exit_code == 0


def test_pair_mlp_from_graphs(tmp_path: Path) -> None:
    folder = graphs(tmp_path / "graphs")
    table = screen(tmp_path)[0]
    table.write_text(table.read_text().replace("G7,", "OLD7,"))
    out = tmp_path / "mlp"
    how = ["--graphs", folder, "--epochs", 1, "--calibration", "isotonic", "--name", "mine"]
    run = _run("pair-mlp", "--de", table, "--out", out, *how, "--unbalanced")
    assert run.exit_code == 0, run.output
    for line in ("STRING: ", "Reactome: ", "GO: ", "genes: hgnc_symbol_map.tsv", "120 genes × 128"):
        assert line in run.stdout
    model = registry.open_folder(out, genes=GeneResolver.as_they_are())
    assert (model.spec.name, model.spec.calibration) == ("mine", "isotonic")
    asked = Queries("perturbation.de", ["OLD7", "G7"], ["G1", "G1"], ["k562"] * 2)
    found = model.predict(asked)
    assert found.p[0] == found.p[1], "the table's spelling and the symbol"


def test_a_network_that_ranks_backwards_is_said_to_know_only_the_base_rate(
    tmp_path: Path, npz: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = calibration.fit
    monkeypatch.setattr(
        calibration, "fit", lambda kind, scores, labels: fit(kind, 1 - scores, labels)
    )
    out = tmp_path / "m"
    how = ["--embeddings", npz, "--epochs", 8, "--seed", 1]
    run = _run("pair-mlp", "--de", screen(tmp_path)[0], "--out", out, *how)
    assert run.exit_code == 0, run.output
    assert f"calibration: {calibration.FLAT}" in run.stdout
    made = checkpoints.read(out)
    assert made.manifest.calibration["note"] == calibration.FLAT
    model = registry.open_folder(out, genes=GeneResolver.as_they_are())
    p = model.predict(model.examples(50)).p
    assert len(set(p.tolist())) == 1


def test_relation_and_any_cell_line(tmp_path: Path, npz: Path) -> None:
    out = tmp_path / "dir"
    how = ["--embeddings", npz, "--epochs", 1, "--relation", "perturbation.dir", "--any-cell-line"]
    run = _run("pair-mlp", "--de", screen(tmp_path)[0], "--out", out, *how)
    assert run.exit_code == 0, run.output
    assert checkpoints.read(out).manifest.relations == ("perturbation.dir",)
    assert checkpoints.read(out).manifest.contexts == ()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param([], "give either --embeddings FILE or --graphs DIR", id="no-vectors"),
        pytest.param(["--embeddings", "a", "--graphs", "b"], "one of them", id="both"),
        pytest.param(["--embeddings", "a.npz"], "no such file", id="no-file"),
        pytest.param(["--graphs", "nowhere"], "no such folder", id="no-folder"),
    ],
)
def test_mistakes_are_one_message(tmp_path: Path, arguments: list[str], says: str) -> None:
    run = _run("pair-mlp", "--de", screen(tmp_path)[0], "--out", tmp_path / "m", *arguments)
    assert isinstance(run.exception, ModelFault)
    assert says in str(run.exception)
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("command", [["pair-mlp", "--de"], ["measured", "--table"]], ids="".join)
@pytest.mark.parametrize("name", ["a/b", "a\nb", "\x1b[2J"], ids=ascii)
def test_a_name_that_cannot_be_shown_is_told_before_training(
    tmp_path: Path, command: list[str], name: str
) -> None:
    run = _run(*command, "nowhere.csv", "--out", tmp_path / "m", "--name", name)
    assert isinstance(run.exception, ModelFault)
    assert "is no name for a model" in str(run.exception)


def test_a_folder_in_the_way_is_told_before_training(tmp_path: Path, npz: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "thesis.txt").write_text("ten years")
    how = ["--embeddings", npz, "--force"]
    run = _run("pair-mlp", "--de", "nowhere.csv", "--out", tmp_path / "m", *how)
    assert "not a checkpoint and is left alone" in str(run.exception)


def test_measured(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text(
        "perturbation\treadout\tlog2fc\tq\nA\tX\t2\t0.001\nB\tX\t1\t0.3\n"
    )
    out = tmp_path / "table"
    run = _run("measured", "--table", tmp_path / "a.tsv", "--out", out, "--cell-line", "K562")
    assert run.exit_code == 0, run.output
    assert "k562" in run.stdout
    model = registry.open_folder(out, genes=GeneResolver.as_they_are())
    found = model.predict(Queries("perturbation.de", ["A", "B"], ["X", "X"], ["K562"] * 2))
    assert found.p.tolist() == [1, 0]
    strict = ["--alpha", "0.0001", "--force", "--cell-line", "K562"]
    run = _run("measured", "--table", tmp_path / "a.tsv", "--out", out, *strict)
    assert checkpoints.read(out).manifest.metrics["base_rate"] == 0
