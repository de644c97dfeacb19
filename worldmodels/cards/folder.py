"""A card with its Markdown and figures in a folder, outside the digest of the model there.

``card.json`` is written last: a card is there with all that belongs to it, or not at all.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from worldmodels.cards import figures, markdown, record
from worldmodels.cards.record import Card
from worldmodels.core import ModelFault

MARKDOWN: Final = "card.md"


def write(folder: Path, card: Card, *, png: bool = False) -> list[Path]:
    """Write all files of a card, replacing those that are there.

    Args:
        folder: the model's folder, or another.
        card: the card.
        png: figures as PNG too.

    Raises:
        ModelFault: nothing can be written there.
    """
    _reach(folder)
    files: dict[str, bytes] = figures.draw(card)
    if png:
        files |= figures.draw(card, "png")
    text = markdown.write(card, figures.names())
    files[MARKDOWN] = text.encode("utf-8", "replace")
    files[record.FILE] = record.encode(card)
    return _put(folder, files)


def _reach(folder: Path) -> None:
    """Say now that nothing can be written there, before hours of asking and drawing."""
    with _reporting(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()


@contextlib.contextmanager
def _reporting(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ModelFault(
            f"{folder}: cannot write the card ({error.strerror or error}); check the permissions "
            "and the free space, or name another folder (--out)"
        ) from error


def _put(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    with _reporting(folder), tempfile.TemporaryDirectory(prefix=".card.", dir=folder) as beside:
        for name, content in files.items():
            (Path(beside) / name).write_bytes(content)
        for name in files:
            (Path(beside) / name).replace(folder / name)
    return [folder / name for name in files]


def refuse(folder: Path, digest: str, files: set[str], *, force: bool) -> None:
    """Say now that another card is in the way; one of the same model and data may be made anew.

    Args:
        folder: where the card is to go.
        digest: of the model.
        files: SHA-256 of each data file.
        force: replace whatever card is there.

    Raises:
        ModelFault: a card of another model or of other data is there, or nothing can be written.
    """
    _reach(folder)
    path = folder / record.FILE
    if force or not path.exists():
        return
    try:
        there = record.read(path)
    except ModelFault as fault:
        raise ModelFault(f"{fault}; give --force to replace it") from fault
    if there.of(digest) and {one.sha256 for one in there.data} == files:
        return
    what = "other data" if there.of(digest) else "another model (or another state of this one)"
    raise ModelFault(f"{path}: a card of {what} is there; give --force to replace it")
