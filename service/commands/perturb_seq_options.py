"""Options of commands that read a Perturb-seq file, and how they tell of its screens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from worldmodels.core import ModelFault
from worldmodels.expression.annotated import opened
from worldmodels.perturbation import perturb_seq
from worldmodels.perturbation.differential import Effects, effects
from worldmodels.perturbation.perturb_seq import MIN_CELLS, MIN_DETECTED, Choice, Report

CHECKING: Final = "checking values"

PerturbationColumn = Annotated[
    str | None,
    typer.Option(help="Column of obs with the perturbed gene. Default: found by its name."),
]
Control = Annotated[
    list[str] | None,
    typer.Option(help="Label of control cells; may be repeated. Default: found by its name."),
]
CellLineColumn = Annotated[
    str | None, typer.Option(help="Column of obs with the cell line. Default: found by its name.")
]
Layer = Annotated[str | None, typer.Option(help="Use this layer. Default: what holds counts.")]
Raw = Annotated[bool | None, typer.Option("--raw/--no-raw", help="Use raw, or never.")]
GeneColumn = Annotated[
    str | None, typer.Option(help="Column of var with symbols. Default: the index.")
]
MinCells = Annotated[int, typer.Option(help="Least cells of a perturbation, and of the control.")]
MinDetected = Annotated[
    float, typer.Option(help="Share of cells that must detect a gene for it to be a readout.")
]
Combinations = Annotated[
    bool, typer.Option("--combinations/--no-combinations", help="Keep cells of several genes.")
]
MinEffect = Annotated[
    float, typer.Option(min=0, help="A change has at least this |log2 fold change|, too.")
]

__all__ = [
    "MIN_CELLS",
    "MIN_DETECTED",
    "CellLineColumn",
    "Choice",
    "Combinations",
    "Control",
    "GeneColumn",
    "Layer",
    "MinCells",
    "MinDetected",
    "MinEffect",
    "PerturbationColumn",
    "Raw",
    "tested",
    "tested_one",
]


def tested(file: Path, choice: Choice, report: Report) -> list[Effects]:
    """Test every perturbation of a file on every readout, cell line by cell line.

    Raises:
        ModelFault: a file that cannot be used; the message says why and what to do.
    """
    report(CHECKING, 0.0)
    with opened(file) as annotated:
        return [_tested(screen, report) for screen in perturb_seq.screens(annotated, choice)]


def tested_one(file: Path, choice: Choice, report: Report) -> Effects:
    """The same of a file, or of the cells chosen of it, that are of one cell line.

    Raises:
        ModelFault: as ``tested``, or there are several cell lines.
    """
    report(CHECKING, 0.0)
    with opened(file) as annotated:
        lines = perturb_seq.lines(annotated, choice)
        if len(lines) > 1:
            raise ModelFault(
                f"{file} holds {len(lines)} cell lines ({', '.join(lines[:6])}), and this model "
                "is of one; choose with --cell-line"
            )
        return _tested(next(perturb_seq.screens(annotated, choice)), report)


def _tested(screen: perturb_seq.Screen, report: Report) -> Effects:
    for note in screen.notes:
        report(f"{screen.line}: {note}", None)
    stage = f"testing {screen.line}"
    report(stage, 0.0)
    found = effects(screen, lambda share: report(stage, share))
    report(
        f"{screen.line}: {len(found.perturbations):,} perturbations and {found.controls:,} "
        f"control cells, {len(found.readouts):,} readouts tested; Benjamini-Hochberg within each "
        "perturbation over these",
        None,
    )
    return found
