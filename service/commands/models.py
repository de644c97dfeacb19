"""``soft-verifier models``: what is configured here, or served elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from service import app, cards, settings


def models(
    model: Annotated[
        list[Path] | None, typer.Option(help="Folder of a trained model; may be repeated.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file.")] = None,
) -> None:
    """Load the configured models, check their digests, and list what they answer.

    \b
    Example:
      soft-verifier models --model models/k562-mlp
    """
    loaded = settings.load(config)
    if model:
        loaded = settings.with_models(loaded, model)
    service = app.build(
        loaded, lambda line: Console(stderr=True).print(line, style="dim", markup=False)
    )
    table = Table(
        "name", "family", "version", "digest", "answers", "contexts", "genes", "µs/query", "card"
    )
    for hosted in service.pipeline.models:
        spec = hosted.spec
        table.add_row(
            spec.name,
            spec.family,
            spec.version,
            spec.digest[:19] + "…",
            "\n".join(spec.relations),
            ", ".join(spec.contexts) + " or pooled" * spec.pools or "any",
            f"{spec.vocabulary:,}\n{spec.genes}",
            f"{hosted.cost_s * 1e6:.2f}",
            cards.described(spec),
        )
    Console().print(table)
