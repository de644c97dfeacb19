"""``soft-verifier card``: what a world model, or a profile, shows on held-out data.

Options only: ``card_model`` makes the card of a model, ``card_profile`` evaluates a profile.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from service.commands import card_model
from service.commands.card_profile import Request
from service.commands.card_profile_report import run
from service.errors import StartupFault
from worldmodels.cards.evaluation import Settings
from worldmodels.perturbation import tables

CONTROL = "--shuffle-control"
PERMUTATIONS = 5
ALPHA = 0.05


class Card(TyperCommand):
    """The command, whose ``--shuffle-control`` may stand without its number."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Leave out what only asks for the default, since the control is part of every card."""
        kept = [
            word
            for word, following in zip(args, [*args[1:], ""], strict=True)
            if word != CONTROL or _is_number(following)
        ]
        return super().parse_args(ctx, kept)


def _is_number(word: str) -> bool:
    return word.lstrip("+-").isdecimal()


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
        int,
        typer.Option(
            CONTROL,
            help="Permutations of the shuffled-perturbation control, at least 1; it is part of "
            "every card, so that the number may be left out.",
        ),
    ] = PERMUTATIONS,
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
    ] = ALPHA,
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
        for name, idle in {
            "--out": out is not None, "--png": png, "--force": force, "--alpha": alpha != ALPHA,
            "--allow-overlap": allow_overlap, CONTROL: shuffle_control != PERMUTATIONS,
        }.items():  # fmt: skip
            if idle:
                raise StartupFault(f"{name} is of a model's card, not of --profile; drop it")
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
        if given not in (None, []):
            raise StartupFault(f"{name} is of --profile NAME")
    if model is None:
        raise StartupFault("name a model: the folder of a trained one, or a configured name")
    if not data:
        raise StartupFault("name labelled data that the model did not learn from: --data FILE")
    order = card_model.Order(
        model=model,
        data=data,
        relation=relation,
        cell_line=cell_line,
        split=split,
        alpha=alpha,
        how=Settings(permutations=shuffle_control, resamples=resamples, seed=seed),
        allow_overlap=allow_overlap,
        out=out,
        png=png,
        force=force,
        config=config,
    )
    card_model.run(order, as_json=as_json)
