"""``soft-verifier card``: what a world model, or a profile, shows on held-out data.

The model is loaded as it is served, asked every row, and asked again with the perturbations
shuffled. The card goes into the model's folder, outside its digest; a server that hosts the folder
shows it. Data that the model was trained on are refused unless the card may say so of itself.
"""

from __future__ import annotations

import datetime
import hashlib
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from service import app, settings
from service.commands.card_profile import Request
from service.commands.card_profile_report import run
from service.errors import StartupFault, nearest
from worldmodels import checkpoints, manifest, registry, training_rows
from worldmodels.cards import evidence, folder, markdown, published, record
from worldmodels.cards.cost import measure
from worldmodels.cards.evaluation import Settings, section
from worldmodels.cards.record import Card, DataFile, Section
from worldmodels.core import RELATIONS, ModelFault, WorldModel
from worldmodels.genes import GeneResolver
from worldmodels.perturbation import tables
from worldmodels.perturbation.tables import EffectTable

Tables = dict[str, tuple[list[Path], EffectTable]]
"""Relation → the files of it and their rows."""


def card(
    model: Annotated[
        str | None,
        typer.Argument(help="Folder of a trained model, or the name of a configured one."),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Labelled rows, CSV, TSV or Parquet; may be repeated."),
    ] = None,
    relation: Annotated[
        str | None, typer.Option(help="Of all data; else by name: k562-dir.csv is perturbation.dir")
    ] = None,
    cell_line: Annotated[str | None, typer.Option(help="For data without such a column.")] = None,
    split: Annotated[
        str, typer.Option(help="Rows where data have a split column: held-out, all, or its name.")
    ] = tables.HELD_OUT,
    shuffle_control: Annotated[
        int, typer.Option(help="Permutations of the shuffled-perturbation control, at least 1.")
    ] = 5,
    resamples: Annotated[
        int, typer.Option(min=2, help="Draws of perturbations for standard errors.")
    ] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Of shuffles and draws.")] = 0,
    allow_overlap: Annotated[
        bool,
        typer.Option("--allow-overlap", help="Make a card of training rows, which says so."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the card. Default: the model's.")
    ] = None,
    png: Annotated[bool, typer.Option("--png", help="Figures as PNG too.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the card that is there.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the card as JSON.")] = False,
    alpha: Annotated[
        float, typer.Option(min=0, max=1, help="Where there is no label: a change is q < alpha.")
    ] = 0.05,
    config: Annotated[Path | None, typer.Option(help="Settings file.")] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="Evaluate a profile instead: what blind policies, its world model and an oracle "
            "would earn under it. The options below are its own."
        ),
    ] = None,
    served: Annotated[
        list[Path] | None,
        typer.Option("--model", help="Folder of a model for the profile; may be repeated."),
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Ask this server instead of this process.")
    ] = None,
    train: Annotated[
        list[Path] | None,
        typer.Option(help="Rows that blind policies learn base rates from; none: folds of --data."),
    ] = None,
    perturbations: Annotated[
        int | None, typer.Option(min=1, help="Draw so many perturbations of the data at random.")
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw what policies earn, *.svg.")] = None,
    max_blind: Annotated[
        float | None,
        typer.Option(
            min=0, help="Exit with 1 if a blind policy earns more than this beyond chance."
        ),
    ] = None,
) -> None:
    """Compute a world model's card from data that it did not learn from, or evaluate a profile.

    \b
    Examples:
      soft-verifier card models/screen --data held-out/k562-de.csv --data held-out/k562-dir.csv
      soft-verifier card --profile screen-de-lift --model models/screen \\
        --data held-out/k562-de.csv --max-blind 0.02
    """
    if profile is not None:
        if model is not None:
            raise StartupFault(f"give a model to --profile as --model {model}")
        request = Request(
            profile=profile,
            data=data or [],
            train=train or [],
            models=served or [],
            url=url,
            config=config,
            split=split,
            relation=relation,
            cell_line=cell_line,
            perturbations=perturbations,
            resamples=resamples,
            seed=seed,
        )
        raise typer.Exit(run(request, as_json=as_json, figure=figure, max_blind=max_blind))
    for name, given in {
        "--model": served, "--url": url, "--train": train, "--perturbations": perturbations,
        "--figure": figure, "--max-blind": max_blind,
    }.items():  # fmt: skip
        if given:
            raise StartupFault(f"{name} is of --profile NAME")
    if model is None:
        raise StartupFault("name a model: the folder of a trained one, or a configured name")
    if not data:
        raise StartupFault("name labelled data that the model did not learn from: --data FILE")
    how = Settings(permutations=shuffle_control, resamples=resamples, seed=seed)
    loaded = settings.load(config)
    genes = app.gene_resolver(loaded)
    found, home = _open(model, loaded, genes)
    target = out or home
    if target is None:
        raise StartupFault(f"model {model!r} has no folder; name one for its card (--out)")
    files = {path: _digest(path) for path in data}
    folder.refuse(target, found.spec.digest, set(files.values()), force=force)
    read = _read(found, data, relation, cell_line, split, alpha)
    trained = training_rows.read(home, genes) if home else None
    overlap = evidence.overlap(trained, [rows for _, rows in read.values()])
    if not allow_overlap:
        evidence.refuse(overlap)
    first, (_, rows) = next(iter(read.items()))
    made = Card(
        schema=record.SCHEMA,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        model=record.model_ref(found.spec),
        data=[
            DataFile(name=path.name, sha256=files[path], relation=name)
            for name, (paths, _) in read.items()
            for path in paths
        ],
        evidence=evidence.judge(overlap),
        overlap=overlap,
        seed=seed,
        resamples=resamples,
        cost=measure(found, first, rows),
        sections=_sections(found, read, how),
    )
    written = folder.write(target, made, png=png)
    if as_json:
        sys.stdout.buffer.write(record.encode(made) + b"\n")
        return
    _show(made, Console(soft_wrap=True, highlight=False))
    print(f"{len(written)} files in {target}: {', '.join(path.name for path in written)}")


def _open(
    name: str, loaded: settings.Settings, genes: GeneResolver
) -> tuple[WorldModel, Path | None]:
    """The model, and its folder if it has one."""
    path = Path(name)
    if path.is_dir():
        return registry.open_folder(path, genes=genes), path
    known = {_name_of(entry): entry for entry in loaded.models}
    if loaded.starter.enabled and (loaded.starter.path / manifest.FILE).is_file():
        entry = settings.Model(path=loaded.starter.path)
        known.setdefault(_name_of(entry), entry)
    if name not in known:
        raise StartupFault(
            f"{name!r} is neither a folder nor a configured model{nearest(name, known)}"
        )
    return app.open_model(known[name], genes), known[name].path


def _name_of(entry: settings.Model) -> str:
    if entry.name or entry.path is None:
        return entry.name or entry.family or ""
    return checkpoints.read_manifest(entry.path).name


def _read(
    model: WorldModel,
    data: Sequence[Path],
    relation: str | None,
    cell_line: str | None,
    split: str,
    alpha: float,
) -> Tables:
    """The rows by relation, relations in the order of the files."""
    by_relation: dict[str, list[Path]] = {}
    for path in data:
        name = relation or tables.relation_of(path)
        if name not in RELATIONS:
            raise StartupFault(f"unknown relation {name!r}{nearest(name, RELATIONS)}")
        model.spec.check_relation(name)
        by_relation.setdefault(name, []).append(path)
    return {
        name: (
            paths,
            tables.read(
                paths,
                relation=name,
                cell_line=cell_line,
                any_cell_line=not model.spec.contexts,
                alpha=alpha,
                split=split,
            ),
        )
        for name, paths in by_relation.items()
    }


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelFault(f"{path}: cannot be read ({error.strerror or error})") from error


def _sections(model: WorldModel, read: Tables, how: Settings) -> list[Section]:
    bar = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %"))
    with Progress(*bar, TimeRemainingColumn(), console=Console(stderr=True)) as progress:
        made = []
        for name, (_, rows) in read.items():
            task = progress.add_task(name, total=len(rows) * (1 + how.permutations))
            made.append(section(model, name, rows, how, partial(progress.advance, task)))
        return made


def _show(made: Card, console: Console) -> None:
    console.print(markdown.verdict(made).replace("**", ""), markup=False)
    for one in made.sections:
        panels = markdown.columns(one)
        shown = Table("", *map(escape, panels), title=one.relation, title_justify="left")
        for name, title in markdown.SHOWN:
            values = [panel.figures.get(name) for panel in panels.values()]
            if any(value is not None for value in values):
                cells = (markdown.figure(value, name) for value in values)
                shown.add_row(title.strip("*"), *cells)
            if name == "per_gene_auroc":
                _show_beside(shown, one)
        console.print(shown)
    if any(published.covering(one.relation, one.lines) for one in made.sections):
        console.print(published.CAVEAT, style="dim", markup=False)


def _show_beside(shown: Table, one: Section) -> None:
    panels = markdown.columns(one)
    errors = (panel.per_gene_auroc_se for panel in panels.values())
    shown.add_row("  standard error", *(markdown.figure(value) for value in errors))
    control = [panel.shuffled for panel in panels.values()]
    shuffled = (c.mean.get("per_gene_auroc") for c in control)
    shown.add_row("  perturbations shuffled", *(markdown.figure(value) for value in shuffled))
    gaps = (c.gap.get("per_gene_auroc") for c in control)
    shown.add_row("  gap", *(markdown.figure(value) for value in gaps))
    for asked in (0.2, 0.05):
        at = [
            next(p.per_gene_auroc for p in panel.risk_coverage.points if p.asked == asked)
            for panel in panels.values()
        ]
        shown.add_row(f"  surest {asked:.0%}", *(markdown.figure(value) for value in at))
    for other in published.covering(one.relation, one.lines):
        told = (other.figures.get(line) for line in panels)
        cells = [markdown.NONE if value is None else f"{value:.2f}" for value in told]
        shown.add_row(f"  {other.name}", *cells, style="dim")
