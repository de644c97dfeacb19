"""``train coexpression`` and ``train starter`` as commands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from service.commands.train_expression import coexpression, starter
from worldmodels import checkpoints
from worldmodels.core import ModelFault

app = typer.Typer()
app.command()(coexpression)
app.command()(starter)


@pytest.fixture
def cells(tmp_path: Path) -> Path:
    import anndata
    import pandas as pd

    rng = np.random.default_rng(0)
    rate = np.where(rng.random((600, 1)) < 0.4, rng.uniform(0.1, 2.0, 120), 0.3)
    table = rng.poisson(rate).astype(np.float32)
    var = pd.DataFrame({"symbol": [f"G{i}" for i in range(120)]}, index=[*map(str, range(120))])
    obs = pd.DataFrame({"kind": ["a", "b"] * 300}, index=[*map(str, range(600))])
    data = anndata.AnnData(table, obs=obs, var=var, layers={"scaled": table - 1})
    data.write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path / "cells.h5ad"


def test_coexpression_says_what_it_built(cells: Path) -> None:
    out = cells.parent / "pbmc"
    arguments = ["coexpression", str(cells), "--out", str(out), "--gene-column", "symbol"]
    run = CliRunner().invoke(app, [*arguments, "--context", "Jurkat", "--max-genes", "110"])
    assert run.exit_code == 0, run.output
    checkpoint = checkpoints.read(out)
    assert checkpoint.manifest.name == "pbmc"
    assert checkpoint.manifest.contexts == ("jurkat",)
    assert checkpoint.digest in run.stdout
    assert "pairs of unseen genes: base rate" in run.stdout
    assert "note: 10 genes beyond the 110 most detected" in run.stderr
    again = CliRunner().invoke(app, arguments)
    assert isinstance(again.exception, ModelFault)
    assert CliRunner().invoke(app, [*arguments, "--force"]).exit_code == 0


def test_coexpression_says_why_it_is_not_calibrated(cells: Path) -> None:
    out = cells.parent / "few"
    arguments = [
        "--cells-column",
        "kind",
        "--cells-value",
        "a",
        "--name",
        "half",
        "--out",
        str(out),
    ]
    run = CliRunner().invoke(app, ["coexpression", str(cells), *arguments])
    assert run.exit_code == 0, run.output
    assert "not calibrated: 300 cells and 120 genes are too few" in run.stdout
    assert checkpoints.read(out).manifest.name == "half"


def test_a_layer_that_says_nothing_is_a_fault(cells: Path) -> None:
    arguments = [str(cells), "--layer", "scaled", "--out", str(cells.parent / "m")]
    run = CliRunner().invoke(app, ["coexpression", *arguments])
    assert isinstance(run.exception, ModelFault)
    assert "layers['scaled'] of" in str(run.exception)
    assert "holds negative values" in str(run.exception)


def test_starter_is_built_where_asked(tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["starter", "--out", str(tmp_path / "s")])
    assert run.exit_code == 0, run.output
    assert checkpoints.read(tmp_path / "s").manifest.name == "starter"
    assert "starter in" in run.stdout
