"""The starter model is built from real blood cells and knows what belongs together."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from worldmodels import checkpoints
from worldmodels.core import ModelFault, Queries, Status, WorldModel
from worldmodels.expression import starter
from worldmodels.expression.coexpression import RELATION
from worldmodels.expression.coexpression_training import Recipe, train
from worldmodels.genes import GeneResolver
from worldmodels.registry import Source, load


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as the server builds it, in a process of its own."""
    out = tmp_path_factory.mktemp("models") / "starter"
    command = [sys.executable, "-m", "worldmodels.expression.starter", str(out)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == f"{out} {checkpoints.read(out).digest}"
    return out


@pytest.fixture(scope="module")
def model(folder: Path) -> WorldModel:
    source = Source(family="coexpression", name="starter", path=folder)
    return load(source, GeneResolver.as_they_are())


def test_says_what_it_is(folder: Path, model: WorldModel) -> None:
    spec = model.spec
    assert spec.name == "starter"
    assert "Zheng et al. 2017" in spec.training
    assert "scanpy" in spec.licence
    assert spec.vocabulary > 700
    assert spec.contexts == ()
    assert spec.calibration in {"isotonic", "platt"}
    assert spec.metrics["ece"] < 0.02
    assert spec.metrics["ece"] < spec.metrics["ece_before"]
    assert spec.metrics["auroc"] > 0.8
    assert checkpoints.read(folder).manifest.options["cells"] == 700


@pytest.mark.parametrize(
    ("first", "second", "stranger"),
    [
        pytest.param("CD79A", "CD79B", "CD3D", id="b-cell-receptor"),
        pytest.param("CD3D", "CD3E", "CD79A", id="t-cell-receptor"),
        pytest.param("GNLY", "NKG7", "CD79A", id="natural-killer"),
        pytest.param("CST3", "LYZ", "CD3D", id="myeloid"),
    ],
)
def test_knows_blood(model: WorldModel, first: str, second: str, stranger: str) -> None:
    found = model.predict(Queries(RELATION, [first, stranger], [second, second], ["", "PBMC"]))
    assert (found.status == Status.OK).all()
    assert found.p0 is not None
    assert found.p[0] > found.p0[0] > found.p[1]


def test_its_first_example_is_a_confident_yes(model: WorldModel) -> None:
    found = model.predict(model.examples(1))
    assert found.p0 is not None
    assert found.p[0] > 0.9 > 0.1 > found.p0[0]


def test_built_again_it_is_the_same(folder: Path, tmp_path: Path) -> None:
    told: list[str] = []
    again = starter.build(tmp_path / "s", lambda message, share: told.append(message))
    assert again.digest == checkpoints.read(folder).digest
    assert "17 genes detected in fewer than 10 cells were left out" in told
    matrix = again.arrays("coexpression.safetensors")["n"]
    assert np.nanmax(matrix) == 1


def test_the_file_itself_trains_the_same_matrix(folder: Path, tmp_path: Path) -> None:
    """It is laid out as anndata did before 0.7, its X is z-scored and its raw is not."""
    package = importlib.util.find_spec("scanpy")
    assert package is not None
    assert package.origin is not None
    path = Path(package.origin).parent / "datasets" / "10x_pbmc68k_reduced.h5ad"
    notes: list[str] = []
    found = train(path, tmp_path / "m", Recipe(name="m"), lambda note, _: notes.append(note))
    file = "coexpression.safetensors"
    for name, array in checkpoints.read(folder).arrays(file).items():
        np.testing.assert_array_equal(found.arrays(file)[name], array)
    assert any("raw.X is used instead" in note for note in notes)


def test_a_folder_in_use_is_left_alone(folder: Path) -> None:
    with pytest.raises(ModelFault, match="--force"):
        starter.build(folder)


@pytest.mark.parametrize("arguments", [[], ["a", "b"]], ids=["none", "two"])
def test_wrong_arguments_explain_themselves(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert starter.main(arguments) == 2
    assert "usage:" in capsys.readouterr().err


def test_a_fault_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert starter.main([str(folder)]) == 2
    assert "holds a checkpoint already" in capsys.readouterr().err
