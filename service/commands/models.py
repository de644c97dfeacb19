"""``soft-verifier models``: what is configured here, and which families there are to make more."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from service import app as application
from service import cards, settings
from service.batcher import Hosted
from service.commands.models_verify import verify
from worldmodels import registry

app = typer.Typer(invoke_without_command=True)
app.command()(verify)


@app.callback()
def models(
    context: typer.Context,
    model: Annotated[
        list[Path] | None, typer.Option(help="Folder of a trained model; may be repeated.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file.")] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda or cuda:N, where an entry names none.")
    ] = None,
) -> None:
    """Load the configured models, check their digests, and list what they answer.

    Below stand all families, plugins included, with what makes a model of each.

    \b
    Example:
      soft-verifier models --model models/k562-mlp
      soft-verifier models verify models/k562-mlp
    """
    if context.invoked_subcommand is not None:
        return
    loaded = settings.load(config, {"server": {"device": device}} if device else None)
    if model:
        loaded = settings.with_models(loaded, model)
    service = application.build(
        loaded, lambda line: Console(stderr=True).print(line, style="dim", markup=False)
    )
    console = Console(highlight=False)
    for hosted in service.pipeline.models:
        console.print(_shown(hosted))
    console.print(_families())


def _shown(hosted: Hosted) -> Table:
    """One model as lines of a label and a text, which any width can show."""
    spec = hosted.spec
    contexts = ", ".join(spec.contexts) + ", others pooled" * spec.pools or "any context"
    knows = f"{spec.vocabulary:,} entities" if spec.vocabulary else "any name"
    where = "in the loop" if hosted.inline else "on its own thread"
    table = Table(
        box=None, show_header=False, title=_plain(spec.name), title_justify="left", padding=(0, 1)
    )
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, text in (
        ("family", f"{spec.family}, version {spec.version}, {spec.digest[:19]}…"),
        ("answers", f"{', '.join(spec.relations)}; {contexts}"),
        ("knows", f"{knows}; genes: {spec.genes}"),
        ("costs", f"{hosted.cost_s * 1e6:.2f} µs a query, {where}, on {spec.device}"),
        ("card", cards.described(spec)),
    ):
        table.add_row(label, _plain(text))
    return table


def _families() -> Table:
    table = Table("family", "from", "a model of it is made by", title="Families")
    table.columns[0].no_wrap = True
    for family in registry.described():
        table.add_row(*map(_plain, (family.name, family.source, family.made_by)))
    return table


def _plain(text: str) -> str:
    """Names and messages are no markup."""
    from rich.markup import escape

    return escape(text)
