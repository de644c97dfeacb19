"""A tiny trained model with some perturbations held out, for tests of cards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import typer
from click.testing import Result
from typer.testing import CliRunner

from screens import screen, vectors
from service.commands.card import card
from service.commands.train_perturbation import pair_mlp
from service.errors import ServiceError
from worldmodels.core import ModelFault

HELD_OUT = {f"G{i}" for i in range(45, 60)}


def held_out(folder: Path, lines: tuple[str, ...] = ("K562",)) -> list[Path]:
    """The generated screens with the rows of ``HELD_OUT`` in a split of their own."""
    paths = screen(folder, lines)
    for path in paths:
        head, *rows = path.read_text().splitlines()
        split = [
            row.replace(",train", ",test") if row.partition(",")[0] in HELD_OUT else row
            for row in rows
        ]
        path.write_text("\n".join([head, *split]) + "\n")
    return paths


def train(folder: Path, tables: list[Path], *options: object, name: str = "tiny") -> Path:
    """A pair network of the training rows, in ``folder / name``."""
    known = vectors()
    np.savez(folder / "v.npz", names=np.array(known.names), vectors=known.vectors)
    how = ["--embeddings", folder / "v.npz", "--epochs", 3, "--hidden", 8, "--batch-size", 128]
    out = folder / name
    run = invoke(pair_mlp, "--de", *tables, "--out", out, *how, *options)
    assert run.exit_code == 0, run.output
    return out


def invoke(command: object, *arguments: object) -> Result:
    """A command by its function, as typer calls it."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(command)  # type: ignore[type-var]
    return CliRunner().invoke(app, [*map(str, arguments)])


def make_card(*arguments: object) -> tuple[int, str]:
    """Exit code and what is printed, as ``soft-verifier card`` would; 2 and the fault."""
    run = invoke(card, *arguments)
    if isinstance(run.exception, ServiceError | ModelFault):
        return 2, str(run.exception)
    if run.exception is not None and not isinstance(run.exception, SystemExit):
        raise run.exception
    return run.exit_code, run.output
