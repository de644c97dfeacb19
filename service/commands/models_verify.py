"""``soft-verifier models verify``: are the folders whole, and are they the ones that were meant?

For an init container and for after a copy: every file is read and its SHA-256 compared with the
manifest's, nothing is loaded, no GPU is touched. A pin says in addition which digest the folder
must have: a whole folder may still be the wrong one. Limits: plain folders, not the models that a
``remote`` entry names, whose digest their own server checks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Final

import typer

from service.errors import StartupFault
from worldmodels import checkpoints
from worldmodels.core import ModelFault

DIFFERENT: Final = 3
"""Exit code where a folder is damaged, missing, or not the pinned one."""
_PINNED: Final = re.compile(r"(?P<path>.+)@(?P<digest>sha256:[0-9a-f]{64})")


def verify(
    folder: Annotated[
        list[str] | None,
        typer.Argument(help="Folder of a trained model, or FOLDER@sha256:…; may be repeated."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Settings file: the folders of its models, the starter's.")
    ] = None,
    pins: Annotated[
        Path | None, typer.Option(help="Lines of FOLDER@sha256:… that these folders must have.")
    ] = None,
) -> None:
    """Check every file of model folders against its digest; exit code 3 if one differs.

    \b
    Examples:
      soft-verifier models verify models/k562-mlp models/screen@sha256:0f…
      soft-verifier models verify --config soft-verifier.toml --pins pins.txt
    """
    asked = _parsed(folder or [], "argument")
    if config is not None:
        asked = {**dict.fromkeys(_configured(config)), **asked}
    if pins is not None:
        asked = _pinned(asked, _parsed(_lines(pins), str(pins)), pins)
    if not asked:
        raise StartupFault("models verify: nothing to verify; name a folder or give --config")
    faults = [fault for path, digest in asked.items() if (fault := _checked(path, digest))]
    for fault in faults:
        typer.echo(f"soft-verifier: {fault}", err=True)
    raise typer.Exit(DIFFERENT if faults else 0)


def _checked(path: Path, digest: str | None) -> str | None:
    """Say what the folder holds; why it is refused, or None."""
    try:
        found = checkpoints.read(path)
    except ModelFault as fault:
        return str(fault)
    if digest is not None and found.digest != digest:
        return f"{path} is {found.digest}, pinned is {digest}; copy the model that was meant"
    stated = found.manifest
    pinned = "as pinned" if digest else "no pin"
    typer.echo(f"{path}: {stated.name} ({stated.family}) {found.digest}, whole, {pinned}")
    return None


def _parsed(entries: Iterable[str], where: str) -> dict[Path, str | None]:
    """Folder → pinned digest or None. One that is named twice with two digests is a mistake."""
    found: dict[Path, str | None] = {}
    for entry in entries:
        match = _PINNED.fullmatch(entry)
        if match is None and "@" in entry and not Path(entry).is_dir():
            raise StartupFault(f"{where}: {entry!r}: expected FOLDER@sha256: and 64 hex digits")
        path, digest = (Path(match["path"]), match["digest"]) if match else (Path(entry), None)
        if found.get(path) not in (None, digest):
            raise StartupFault(f"{where}: {path} is pinned to two digests; keep the right one")
        found[path] = digest or found.get(path)
    return found


def _pinned(
    asked: Mapping[Path, str | None], pinned: Mapping[Path, str | None], file: Path
) -> dict[Path, str | None]:
    """The folders with their pins; a pin that fits none would protect nothing, so it is refused."""
    known = {path.resolve(): path for path in asked}
    merged = dict(asked)
    for path, digest in pinned.items():
        if digest is None:
            raise StartupFault(f"{file}: {path} has no digest; write {path}@sha256:…")
        place = known.get(path.resolve())
        if place is None:
            shown = ", ".join(map(str, asked)) or "none"
            raise StartupFault(f"{file}: {path} is none of the folders to verify ({shown})")
        merged[place] = digest
    return merged


def _lines(file: Path) -> list[str]:
    """The entries of a file of pins, without comments and empty lines."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StartupFault(f"--pins {file} cannot be read: {error}") from None
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _configured(config: Path) -> list[Path]:
    """Where the models of a settings file lie."""
    from service import settings

    loaded = settings.load(config)
    starter = [loaded.starter.path] if loaded.starter.enabled else []
    return starter + [entry.path for entry in loaded.models if entry.path is not None]
