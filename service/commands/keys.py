"""``soft-verifier keys``: make, list and revoke the API keys of a server."""

from __future__ import annotations

import datetime
import math
import re
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from service import settings
from service.errors import StartupFault
from service.security import key_file
from service.security.keys import SCOPES, Key, mint, scopes_of

DEFAULT_FILE: Final = Path("keys.toml")

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Make, list and revoke API keys; a running server sees the change within a second or two.",
)

_File = Annotated[
    Path | None, typer.Option(help="File of keys; security.keys of the settings, else keys.toml.")
]
_Config = Annotated[Path | None, typer.Option(help="Settings file that names the file of keys.")]


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose key it is, e.g. a person, team or run.")],
    scope: Annotated[str, typer.Option(help=f"What it may do: {', '.join(SCOPES)}; with commas.")],
    quota: Annotated[
        str | None, typer.Option(help="Most items a day (UTC), e.g. 1000000 or 1000000/day.")
    ] = None,
    rate: Annotated[
        str | None, typer.Option(help="Most items a second on the long run, e.g. 500 or 500/s.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(help="When it ends: 2027-01-31 (that day's begin, UTC) or 90d.")
    ] = None,
    file: _File = None,
    config: _Config = None,
) -> None:
    """Make a key and print it, this once; the file holds only a digest.

    \b
    Examples:
      soft-verifier keys create trainer-a --scope score --rate 500/s --expires 90d
      soft-verifier keys create prometheus --scope metrics
      soft-verifier keys create front-end --scope predict,score --file /etc/soft-verifier/keys.toml
    """
    spelt, key = mint(
        name,
        scopes_of(scope),
        quota=None if quota is None else _quota(quota),
        rate=None if rate is None else _rate(rate),
        expires=None if expires is None else _moment(expires),
    )
    path = _path(file, config)
    key_file.add(path, key)
    Console(stderr=True, soft_wrap=True).print(
        f"Added to {path}. This is the only time that the key is shown:", markup=False
    )
    print(spelt)


@app.command("list")
def list_(file: _File = None, config: _Config = None) -> None:
    """List the keys: names, ids, scopes and limits; no key can be read from the file."""
    table = Table("name", "id", "scopes", "quota/day", "rate/s", "created", "expires")
    for key in key_file.read(_path(file, config)):
        table.add_row(*_row(key))
    Console().print(table)


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="Name of the key.")],
    file: _File = None,
    config: _Config = None,
) -> None:
    """Revoke a key: whoever has it gets 401 from then on."""
    path = _path(file, config)
    key_file.remove(path, name)
    print(f"revoked {name} in {path}")


def _path(file: Path | None, config: Path | None) -> Path:
    return file or settings.load(config).security.keys or DEFAULT_FILE


def _row(key: Key) -> list[str]:
    expires = "never" if key.expires is None else f"{key.expires:%Y-%m-%d %H:%M}"
    return [
        key.name,
        key.id,
        ", ".join(scope for scope in SCOPES if scope in key.scopes),
        "" if key.quota is None else str(key.quota),
        "" if key.rate is None else f"{key.rate:g}",
        f"{key.created:%Y-%m-%d}",
        expires + (" (over)" if key.expired else ""),
    ]


def _quota(text: str) -> int:
    found = re.fullmatch(r"([0-9_]{1,18})(/(?:day|d))?", text)
    if not found or int(found[1]) < 1:
        raise StartupFault(f"--quota {text!r}: expected whole items a day, e.g. 1000000/day")
    return int(found[1])


def _rate(text: str) -> float:
    found = re.fullmatch(r"([0-9.eE+-]+)(/(?:s|sec|second))?", text)
    try:
        value = float(found[1]) if found else math.nan
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise StartupFault(f"--rate {text!r}: expected items a second, e.g. 500/s")
    return value


def _moment(text: str) -> datetime.datetime:
    """When a key ends.

    Raises:
        StartupFault: no date, or one that has passed.
    """
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    try:
        if days := re.fullmatch(r"([0-9]{1,5})d", text):
            found = now + datetime.timedelta(days=int(days[1]))
        else:
            found = datetime.datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise StartupFault(f"--expires {text!r}: expected 2027-01-31 or 90d") from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=datetime.UTC)
    if found <= now:
        raise StartupFault(f"--expires {text!r} has passed")
    return found
