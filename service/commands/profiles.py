"""``soft-verifier profiles``: the recipes that are here, and what one of them does exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from service.errors import nearest
from service.rewards.errors import ProfileFault
from service.rewards.profiles import Profile, load_profiles

Folder = Annotated[
    Path | None, typer.Option("--folder", help="Folder with profiles of your own (*.toml).")
]

app = typer.Typer(help="List the profiles, or show one.", invoke_without_command=True)


@app.callback()
def overview(context: typer.Context, folder: Folder = None) -> None:
    """List the profiles: what each accepts, which world models it asks, what it can earn.

    \b
    Examples:
      soft-verifier profiles
      soft-verifier profiles --folder my-profiles show my-profile
    """
    context.obj = folder
    if context.invoked_subcommand is not None:
        return
    for profile in _load(folder).values():
        tasks = ", ".join(profile.task_types) or "any task, or none"
        models = ", ".join(dict.fromkeys(model for model in profile.models)) or "no model"
        least, most = profile.range
        typer.echo(typer.style(profile.name, bold=True) + f"  {profile.description}")
        typer.echo(f"    judges {tasks}; asks {models}; pays {least:g} to {most:g}")
        typer.echo(f"    {profile.digest}")


@app.command()
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the profile.")],
    folder: Folder = None,
) -> None:
    """Print a profile's resolved recipe and a request that works, as JSON.

    \b
    Example:
      soft-verifier profiles show rbio-mlp
    """
    loaded = _load(folder or context.obj)
    if name not in loaded:
        typer.echo(f"no profile {name!r}{nearest(name, loaded)}", err=True)
        raise typer.Exit(2)
    typer.echo(json.dumps(loaded[name].describe(), indent=2, ensure_ascii=False))


def _load(folder: Path | None) -> dict[str, Profile]:
    try:
        return load_profiles(folder)
    except ProfileFault as fault:
        typer.echo(str(fault), err=True)
        raise typer.Exit(2) from None
