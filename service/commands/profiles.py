"""``soft-verifier profiles``: the recipes that are here, and what one of them does exactly."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console

from service.commands.handbook import grouped, handbook
from service.errors import StartupFault, nearest
from service.rewards.profiles import Profile, load_profiles

Folder = Annotated[
    Path | None, typer.Option("--folder", help="Folder with profiles of your own (*.toml).")
]
Config = Annotated[
    Path | None, typer.Option("--config", help="Settings file: its profiles and knowledge.")
]
HANDBOOK = Path("docs/profiles.md")
_WIDTH = 80

app = typer.Typer(
    help="List the profiles, show one, or write their handbook.", invoke_without_command=True
)


class _Places(NamedTuple):
    folder: Path | None
    config: Path | None


@app.callback()
def overview(context: typer.Context, folder: Folder = None, config: Config = None) -> None:
    """List the profiles by family: what each pays for and accepts, and what it lacks here.

    \b
    Examples:
      soft-verifier profiles
      soft-verifier profiles --config soft-verifier.toml
      soft-verifier profiles --folder my-profiles show my-profile
    """
    context.obj = _Places(folder, config)
    if context.invoked_subcommand is not None:
        return
    for family, group in grouped(_load(context.obj).values()).items():
        typer.echo(typer.style(family, bold=True))
        for profile in group:
            typer.echo("\n".join(_lines(profile)))


def _lines(profile: Profile) -> Iterator[str]:
    """A profile in lines of 80 characters."""
    least, most = profile.range
    pays = f"{least:g} to {most:g}"
    tasks = ", ".join(profile.task_types) or "any task"
    name = f"  {profile.name:<22}{pays:<10}"
    yield from _wrapped(tasks, name if len(name) == 34 else f"  {profile.name}  {pays}  ", 34)
    yield from _wrapped(profile.description, "    ", 4)
    if asked := ", ".join(dict.fromkeys(profile.models)):
        yield from _wrapped(asked, "    asks ", 9)
    for lack in profile.lacks:
        yield from _wrapped(lack, "    LACKS ", 10)


def _wrapped(text: str, first: str, indent: int) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first.rstrip()]


@app.command()
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Name of the profile.")],
    folder: Folder = None,
    config: Config = None,
) -> None:
    """Print a profile's resolved recipe and a request that works, as JSON.

    \b
    Example:
      soft-verifier profiles show rbio-mlp
    """
    known: _Places = context.obj
    loaded = _load(_Places(folder or known.folder, config or known.config))
    if name not in loaded:
        raise StartupFault(f"no profile {name!r}{nearest(name, loaded)}")
    typer.echo(json.dumps(loaded[name].describe(), indent=2, ensure_ascii=False))


@app.command()
def docs(
    out: Annotated[Path, typer.Option(help="Where to write; - for standard output.")] = HANDBOOK,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit code 1 if OUT is not current.")
    ] = False,
) -> None:
    """Write the handbook of the shipped profiles from their files.

    \b
    Example:
      soft-verifier profiles docs --out docs/profiles.md
    """
    text = handbook()
    if str(out) == "-":
        typer.echo(text, nl=False)
    elif check:
        if not out.exists() or out.read_text("utf-8") != text:
            typer.echo(f"{out} is not current; run soft-verifier profiles docs", err=True)
            raise typer.Exit(1)
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, "utf-8")


def _load(places: _Places) -> dict[str, Profile]:
    """The profiles, with the knowledge of the settings where there are any.

    Raises:
        ProfileFault, StartupFault: a file is at fault.
    """
    from service import app as construction
    from service import settings
    from service.rewards.library import Library

    loaded = settings.load(places.config)
    folder = places.folder or loaded.profiles.folder
    console = Console(stderr=True)
    genes = construction.gene_resolver(loaded)
    known = construction.knowledge(
        loaded, lambda line: console.print(line, style="dim", markup=False), genes
    )
    return load_profiles(folder, Library(genes, known))
