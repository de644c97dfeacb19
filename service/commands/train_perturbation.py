"""``soft-verifier train pair-mlp`` and ``train measured``: models of measured perturbations."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from service.commands import perturb_seq_options as options
from service.commands.train_expression import reporting
from service.commands.train_interruption import interruptible
from worldmodels import checkpoints, embeddings, manifest
from worldmodels.core import ModelFault
from worldmodels.embeddings import Embeddings
from worldmodels.genes import GeneResolver
from worldmodels.graph import features, sources
from worldmodels.perturbation import differential_table, tables
from worldmodels.perturbation import measured as measured_model
from worldmodels.perturbation import pair_mlp_factoring as factoring
from worldmodels.perturbation import pair_mlp_training as training


class Relation(StrEnum):
    """The relations that a table of effects can teach."""

    DE = "perturbation.de"
    DIR = "perturbation.dir"


class Calibration(StrEnum):
    """How a score becomes a probability."""

    PLATT = "platt"
    ISOTONIC = "isotonic"
    BETA = "beta"
    TEMPERATURE = "temperature"
    NONE = "none"


More = Annotated[list[Path] | None, typer.Argument(help="Further tables.", show_default=False)]
Out = Annotated[Path, typer.Option(help="Folder to write the model to.")]
Genes = Annotated[
    list[Path] | None,
    typer.Option(help="Gene table (HGNC, HGNChelper map, NCBI gene_info); may be repeated."),
]
CellLine = Annotated[
    str | None, typer.Option(help="For tables without such a column. Default: K562 of K562-de.csv.")
]
Name = Annotated[str | None, typer.Option(help="Default: the name of the folder.")]
Version = Annotated[str, typer.Option(help="What to call this version.")]
Licence = Annotated[str, typer.Option(help="Licence of the data.")]
Alpha = Annotated[
    float, typer.Option(min=0, max=1, help="Where there is no label: a change is q < alpha.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace the checkpoint that is there.")]


@interruptible
def pair_mlp(
    de: Annotated[
        list[Path], typer.Option("--de", help="Table of perturbation, gene, label; repeatable.")
    ],
    out: Out,
    more: More = None,
    embeddings_file: Annotated[
        Path | None,
        typer.Option("--embeddings", help="Vectors of genes: .npz, .parquet or .safetensors."),
    ] = None,
    graphs: Annotated[
        Path | None,
        typer.Option(help="Folder with STRING, Reactome, GO: vectors are made of them."),
    ] = None,
    genes: Genes = None,
    relation: Annotated[Relation, typer.Option(help="What the labels mean.")] = Relation.DE,
    cell_line: CellLine = None,
    any_cell_line: Annotated[
        bool, typer.Option("--any-cell-line", help="Answer for every cell line, seen or not.")
    ] = False,
    alpha: Alpha = 0.05,
    seed: Annotated[int, typer.Option(min=0, help="Of folds, weights, vectors.")] = 0,
    hidden: Annotated[int, typer.Option(min=1, help="Units of the hidden layer.")] = 64,
    epochs: Annotated[int, typer.Option(min=1, help="At most.")] = 40,
    batch_size: Annotated[int, typer.Option(min=1)] = 512,
    patience: Annotated[int, typer.Option(min=1, help="Epochs without progress.")] = 6,
    balanced: Annotated[
        bool, typer.Option("--balanced/--unbalanced", help="Weigh both classes alike.")
    ] = True,
    calibration: Annotated[Calibration, typer.Option()] = Calibration.PLATT,
    name: Name = None,
    version: Version = "1",
    licence: Licence = "unknown",
    force: Force = False,
) -> None:
    """Train rbio's pair network: does perturbing A change B?

    \b
    Example:
      soft-verifier train pair-mlp --de k562-de.csv --graphs graphs/ --out models/k562-mlp
    """
    console = Console(soft_wrap=True, highlight=False)
    checkpoints.refuse_target(out, force=force)
    manifest.check_name(name or out.resolve().name)
    table = tables.read(
        [*de, *(more or [])],
        relation=relation.value,
        cell_line=cell_line,
        any_cell_line=any_cell_line,
        alpha=alpha,
    )
    settings = training.Settings(
        seed=seed,
        hidden=hidden,
        epochs=epochs,
        batch_size=batch_size,
        patience=patience,
        balanced=balanced,
        calibration=calibration.value,
    )
    vectors, resolver = _vectors(embeddings_file, graphs, genes, seed, console)
    pairs, lost = training.match(table, vectors, resolver)
    _tell_lost(lost, len(table), console)
    fitted = _fit(pairs, vectors, settings)
    stated = factoring.describe(
        fitted,
        settings,
        name=name or out.resolve().name,
        version=version,
        relation=relation.value,
        training=f"{len(pairs):,} rows of {table.source}; vectors of {vectors.source}",
        licence=licence,
        any_cell_line=any_cell_line,
    )
    done = factoring.save(out, fitted, vectors, table, resolver, stated, force=force)
    _show(done, console)


@interruptible
def measured(
    out: Out,
    table: Annotated[
        list[Path] | None, typer.Option("--table", help="CSV, TSV or Parquet; may be repeated.")
    ] = None,
    more: More = None,
    h5ad: Annotated[
        Path | None,
        typer.Option("--h5ad", help="Or Perturb-seq cells: every pair is tested (Wilcoxon, BH)."),
    ] = None,
    table_out: Annotated[
        Path | None, typer.Option(help="Write what the cells tell as .csv, .tsv or .parquet, too.")
    ] = None,
    relation: Annotated[Relation, typer.Option(help="What the labels mean.")] = Relation.DE,
    cell_line: CellLine = None,
    genes: Genes = None,
    alpha: Alpha = 0.05,
    min_effect: options.MinEffect = 0.0,
    perturbation_column: options.PerturbationColumn = None,
    control: options.Control = None,
    cell_line_column: options.CellLineColumn = None,
    layer: options.Layer = None,
    raw: options.Raw = None,
    gene_column: options.GeneColumn = None,
    min_cells: options.MinCells = options.MIN_CELLS,
    min_detected: options.MinDetected = options.MIN_DETECTED,
    combinations: options.Combinations = True,
    name: Name = None,
    version: Version = "1",
    licence: Licence = "unknown",
    force: Force = False,
) -> None:
    """Serve measured effects as they are: p is 0 or 1, or the pair is UNMEASURED.

    \b
    Examples:
      soft-verifier train measured --table k562-de.csv --out models/k562-measured
      soft-verifier train measured --h5ad screen.h5ad --out models/screen --table-out de.csv
    """
    console = Console(soft_wrap=True, highlight=False)
    checkpoints.refuse_target(out, force=force)
    manifest.check_name(name or out.resolve().name)
    if (h5ad is None) == (table is None):
        raise ModelFault("give either --table FILE or --h5ad FILE, one of them")
    choice = options.Choice(
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
    if h5ad is None:
        if table_out or min_effect or choice != options.Choice(cell_line=cell_line):
            raise ModelFault(
                "--table-out, --min-effect and what chooses cells and genes go with --h5ad; a "
                "table is taken as it is"
            )
        files = [*(table or []), *(more or [])]
        read = tables.read(files, relation=relation.value, cell_line=cell_line, alpha=alpha)
    else:
        if more:
            raise ModelFault(f"--h5ad takes one file; what is {more[0]}?")
        if table_out is not None:
            differential_table.refuse_path(table_out)
        read = _tested(h5ad, choice, relation.value, alpha, min_effect)
    done = measured_model.build(
        out,
        read,
        _resolver(genes),
        name=name or out.resolve().name,
        version=version,
        relation=relation.value,
        licence=licence,
        force=force,
    )
    _show(done, console)
    if table_out is not None:
        differential_table.write(table_out, read)
        console.print(f"{len(read):,} rows written to {table_out}", markup=False)


def _tested(
    h5ad: Path, choice: options.Choice, relation: str, alpha: float, least: float
) -> tables.EffectTable:
    """The labelled pairs of a Perturb-seq file."""
    with reporting() as report:
        found = options.tested(h5ad, choice, report)
    return differential_table.table(
        found, relation=relation, alpha=alpha, least=least, source=h5ad.name
    )


def _resolver(files: list[Path] | None) -> GeneResolver:
    return GeneResolver.from_files(files) if files else GeneResolver.as_they_are()


def _vectors(
    file: Path | None, graphs: Path | None, genes: list[Path] | None, seed: int, console: Console
) -> tuple[Embeddings, GeneResolver]:
    if (file is None) == (graphs is None):
        raise ModelFault("give either --embeddings FILE or --graphs DIR, one of them")
    if file is not None:
        resolver = _resolver(genes)
        found = embeddings.read(file)
    elif graphs is not None:
        here = sources.find(graphs)
        resolver = _resolver(genes or here.gene_tables[:1])
        found = features.build(here, resolver, seed, console.print)
    console.print(f"genes: {resolver.label}")
    console.print(f"vectors: {len(found.names):,} genes × {found.vectors.shape[1]}")
    return found, resolver


def _tell_lost(lost: list[tuple[str, str]], rows: int, console: Console) -> None:
    if lost:
        shown = ", ".join(f"{a} → {b}" for a, b in lost[:3])
        console.print(
            f"{len(lost):,} of {rows:,} rows ({len(lost) / rows:.1%}) are left out: no vector for "
            f"one of their genes (such as {shown})"
        )


def _fit(
    pairs: training.Pairs, vectors: Embeddings, settings: training.Settings
) -> training.Fitted:
    columns = (
        TextColumn("epoch"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[at]}"),
    )
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task("training", total=settings.epochs, at="")

        def on_epoch(epoch: training.Epoch) -> None:
            at = (
                f"loss {epoch.loss:.4f}, held out {epoch.held_out_loss:.4f}, "
                f"per-gene AUROC {epoch.held_out_auroc:.3f}"
            )
            progress.update(task, completed=epoch.number, at=at)
            if not progress.console.is_terminal:  # a log keeps every epoch
                progress.console.print(f"epoch {epoch.number}: {at}", soft_wrap=True)

        return training.fit(pairs, vectors.vectors, settings, on_epoch)


def _show(done: checkpoints.Checkpoint, console: Console) -> None:
    table = Table(
        "figure" if done.manifest.family == measured_model.FAMILY else "held-out figure", "value"
    )
    for figure, value in done.manifest.metrics.items():
        table.add_row(figure, f"{value:,.0f}" if figure == "n" else f"{value:.4f}")
    console.print(table)
    if note := done.manifest.calibration.get("note"):
        console.print(f"calibration: {note}", markup=False)
    contexts = ", ".join(done.manifest.contexts) or "any cell line"
    console.print(f"{done.manifest.name} ({contexts}) in {done.path}, digest {done.digest[:19]}…")
