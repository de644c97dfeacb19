"""The lines of an ontology or annotation file, plain or gzip-compressed, and what kind it is.

Formats are told by content, not by name; what is no text, or another format of the same data, is
refused with what to fetch instead. Limits: 1 GiB of text a file, 256 MiB of JSON, a million
characters a line, so that a packed bomb ends as a message.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

from worldmodels.core import ModelFault

MOST_TEXT: Final = 1 << 30
MOST_JSON: Final = 1 << 28
MOST_LINE: Final = 1 << 20


class Lines:
    """The lines of one file, numbered, without their ends; what goes wrong names file and line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.number = 0
        try:
            with path.open("rb") as file:
                self.head = file.read(4096)
                file.seek(0)
                self.digest = hashlib.file_digest(file, "sha256").hexdigest()
            self.packed = self.head[:2] == b"\x1f\x8b"
            if self.packed:
                with gzip.open(path) as unpacked:
                    self.head = unpacked.read(4096)
        except (OSError, EOFError, zlib.error) as error:
            raise ModelFault(f"{path}: cannot be read ({_why(error)}); check the path") from None

    def fault(self, message: str, line: int | None = None) -> NoReturn:
        """Refuse the file.

        Raises:
            ModelFault: always.
        """
        line = self.number if line is None else line
        raise ModelFault(f"{self.path}{f':{line}' if line else ''}: {message}")

    def __iter__(self) -> Iterator[str]:
        opened = gzip.open if self.packed else open
        size = 0
        try:
            with opened(self.path, "rt", encoding="utf-8-sig", newline="\n") as file:
                self.number = 0
                for line in iter(partial(file.readline, MOST_LINE), ""):
                    self.number += 1
                    size += len(line)
                    if len(line) == MOST_LINE:
                        self.fault(f"a line of more than {MOST_LINE:,} characters; not a table")
                    if size > MOST_TEXT:
                        self.fault(f"more than {MOST_TEXT:,} characters; this is no ontology")
                    yield line.rstrip("\r\n")
        except UnicodeDecodeError:
            self.fault("not UTF-8 text from here on; fetch the file anew", self.number + 1)
        except (OSError, EOFError, zlib.error) as error:
            self.fault(f"cannot be read on ({_why(error)}); fetch the file anew")

    def whole(self) -> bytes:
        """The whole file, for JSON."""
        try:
            with gzip.open(self.path) if self.packed else self.path.open("rb") as file:
                data: bytes = file.read(MOST_JSON + 1)
        except (OSError, EOFError, zlib.error) as error:
            self.fault(f"cannot be read on ({_why(error)}); fetch the file anew")
        if len(data) > MOST_JSON:
            self.fault(f"more than {MOST_JSON:,} bytes of JSON; use a GAF or a table")
        return data


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def kind_of(lines: Lines) -> str:
    """What a file is by its beginning; refuses what is neither text nor of use."""
    head = lines.head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for magic, what in (
        (b"PK\x03\x04", "a zip archive; unpack it first"),
        (b"\xfd7zXZ", "an xz archive; unpack it first"),
        (b"BZh", "a bzip2 archive; unpack it first"),
        (b"version https://git-lfs", "a Git LFS pointer, not the file; fetch it with git lfs pull"),
        (b"<!DOCTYPE html", "a web page, not the file; the download went wrong"),
        (b"<html", "a web page, not the file; the download went wrong"),
        (b"<?xml", "XML (OWL?); fetch the .obo that is published beside it"),
        (b"<rdf", "OWL; fetch the .obo that is published beside it"),
        (b"!gpa-version", "GPAD; fetch the .gaf that is published beside it"),
    ):
        if head[: len(magic)].lower() == magic.lower():
            lines.fault(what)
    if not head:
        lines.fault("empty; fetch the file anew")
    if b"\0" in head:
        lines.fault("not text; expected OBO, GAF, JSON or a table")
    if head.startswith(b"{"):
        if b'"graphs"' in head[:512]:
            lines.fault("OBO Graphs JSON; fetch the .obo that is published beside it")
        return "json"
    if head.startswith((b"format-version:", b"[Term]")) or b"\n[Term]" in head:
        return "obo"
    return "gaf" if head.startswith(b"!") else "table"
