"""``soft-verifier train linear``: the closed-form model of a Perturb-seq screen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from service.commands.perturb_seq_options import (
    MIN_CELLS,
    MIN_DETECTED,
    CellLineColumn,
    Choice,
    Combinations,
    Control,
    GeneColumn,
    Layer,
    MinCells,
    MinDetected,
    MinEffect,
    PerturbationColumn,
    Raw,
    tested_one,
)
from service.commands.train_expression import reporting
from service.commands.train_interruption import interruptible
from service.commands.train_perturbation import (
    Alpha,
    Calibration,
    Force,
    Genes,
    Licence,
    Name,
    Out,
    Version,
)
from worldmodels import checkpoints, embeddings, manifest
from worldmodels.checkpoints import Checkpoint
from worldmodels.core import ModelFault
from worldmodels.embeddings import Embeddings
from worldmodels.genes import GeneResolver
from worldmodels.graph import features, sources
from worldmodels.perturbation import linear_folder
from worldmodels.perturbation import linear_training as training
from worldmodels.perturbation.linear_solution import COMPONENTS, RIDGE
from worldmodels.perturbation.perturb_seq import Report


@interruptible
def linear(
    h5ad: Annotated[Path, typer.Option("--h5ad", help="Perturb-seq cells: counts, .h5ad.")],
    out: Out,
    perturbation_column: PerturbationColumn = None,
    control: Control = None,
    cell_line: Annotated[
        str | None, typer.Option(help="Cell line: of all cells, or the one of the column to use.")
    ] = None,
    cell_line_column: CellLineColumn = None,
    layer: Layer = None,
    raw: Raw = None,
    gene_column: GeneColumn = None,
    min_cells: MinCells = MIN_CELLS,
    min_detected: MinDetected = MIN_DETECTED,
    combinations: Combinations = True,
    alpha: Alpha = 0.05,
    min_effect: MinEffect = 0.0,
    embeddings_file: Annotated[
        Path | None,
        typer.Option(
            "--embeddings",
            help="Vectors of perturbed genes: .npz, .parquet or .safetensors. Default: how each "
            "gene responds in the screen itself.",
        ),
    ] = None,
    graphs: Annotated[
        Path | None, typer.Option(help="Folder with STRING, Reactome, GO to make vectors of.")
    ] = None,
    genes: Genes = None,
    components: Annotated[int, typer.Option(min=1, help="Of the readouts.")] = COMPONENTS,
    ridge: Annotated[float, typer.Option(min=1e-9, max=1e9, help="λ.")] = RIDGE,
    calibration: Annotated[Calibration, typer.Option()] = Calibration.PLATT,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the folds.")] = 0,
    name: Name = None,
    version: Version = "1",
    licence: Licence = "unknown",
    force: Force = False,
) -> None:
    """Fit Y = G·W·P + b to a Perturb-seq screen (Ahlmann-Eltze, Huber & Anders 2025).

    \b
    Example:
      soft-verifier train linear --h5ad screen.h5ad --out models/linear-k562
    """
    checkpoints.refuse_target(out, force=force)
    manifest.check_name(name or out.resolve().name)
    if embeddings_file is not None and graphs is not None:
        raise ModelFault("give --embeddings FILE or --graphs DIR, or neither, not both")
    choice = Choice(
        perturbation_column=perturbation_column,
        controls=tuple(control or ()),
        cell_line_column=cell_line_column,
        cell_line=cell_line,
        layer=layer,
        raw=raw,
        gene_column=gene_column,
        min_cells=min_cells,
        min_detected=min_detected,
        combinations=combinations,
    )
    settings = training.Settings(
        components=components,
        ridge=ridge,
        seed=seed,
        alpha=alpha,
        least=min_effect,
        calibration=calibration.value,
    )
    with reporting() as report:
        vectors, resolver = _vectors(embeddings_file, graphs, genes, seed, report)
        found = tested_one(h5ad, choice, report)
        problem = training.pose(found, vectors, resolver, settings)
        _tell_dropped(problem, report)
        report("fitting", 0.0)
        fitted = training.fit(problem, settings, lambda share: report("fitting", share))
        for note in fitted.notes:
            report(note, None)
    done = linear_folder.save(
        out,
        fitted,
        settings,
        name=name or out.resolve().name,
        version=version,
        line=found.line,
        training=f"{h5ad.name}: {len(problem.perturbations):,} perturbations, "
        f"{len(problem.readouts):,} readouts, {int(found.cells.sum()) + found.controls:,} cells; "
        f"perturbations embedded by {vectors.source if vectors else 'their response as readouts'}",
        licence=licence,
        force=force,
    )
    _show(done)


def _vectors(
    file: Path | None, graphs: Path | None, genes: list[Path] | None, seed: int, report: Report
) -> tuple[Embeddings | None, GeneResolver]:
    resolver = GeneResolver.from_files(genes) if genes else GeneResolver.as_they_are()
    if file is not None:
        return embeddings.read(file), resolver
    if graphs is None:
        return None, resolver
    here = sources.find(graphs)
    if not genes and here.gene_tables:
        resolver = GeneResolver.from_files(here.gene_tables[:1])
    return features.build(here, resolver, seed, lambda text: report(text, None)), resolver


def _tell_dropped(problem: training.Problem, report: Report) -> None:
    if problem.dropped:
        shown = ", ".join(problem.dropped[:3])
        report(
            f"{len(problem.dropped):,} of {len(problem.dropped) + len(problem.parts):,} "
            f"perturbations have no embedding and are left out (such as {shown})",
            None,
        )


def _show(done: Checkpoint) -> None:
    """Figures on held-out perturbations, and what the mean of the others reaches, on stdout."""
    stated, console = done.manifest, Console(soft_wrap=True, highlight=False)
    found = stated.metrics
    console.print(f"{stated.name} ({', '.join(stated.contexts)}) in {done.path}", markup=False)
    console.print(f"digest {done.digest}", markup=False)
    console.print(
        f"held-out perturbations, change: per-gene AUROC {_figure(found, 'per_gene_auroc')}, "
        f"base rate {_figure(found, 'base_rate')}, ECE {_figure(found, 'ece_before')} → "
        f"{_figure(found, 'ece')}"
    )
    if training.DIR in stated.relations:
        console.print(
            f"held-out perturbations, direction: per-gene AUROC "
            f"{_figure(found, 'dir_per_gene_auroc')}, ECE {_figure(found, 'dir_ece_before')} → "
            f"{_figure(found, 'dir_ece')}"
        )
    console.print(
        f"held-out perturbations, size of change: Pearson {_figure(found, 'delta_pearson')}, RMSE "
        f"{_figure(found, 'delta_rmse')}; the mean of the training perturbations: Pearson "
        f"{_figure(found, 'delta_pearson_of_mean')}, RMSE {_figure(found, 'delta_rmse_of_mean')}"
    )


def _figure(found: Mapping[str, float], name: str) -> str:
    return f"{found[name]:.4f}" if name in found else "undefined"
