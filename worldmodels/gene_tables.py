"""Readers of the public gene tables: HGNC complete set, HGNChelper map, NCBI gene_info.

Each reader gives ``GeneRecord`` rows and leaves their meaning to ``worldmodels.genes``. Plain and
gzip-compressed text is told apart by content, the format by its header. Limits: the columns must
carry their upstream names; of an NCBI file with several species only human rows are read.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from worldmodels.core import ModelFault


class GeneRecord(NamedTuple):
    """One gene as one table knows it."""

    symbol: str
    previous: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """Full names ("alanyl-tRNA synthetase 1"): of use to find mentions, never to resolve."""
    ids: tuple[str, ...] = ()
    """Ensembl gene ids and the HGNC id (``HGNC:20``)."""


class GeneTable(NamedTuple):
    """One file: its rows, its rank of authority (lower is stronger), its name and digest."""

    records: list[GeneRecord]
    authority: int
    label: str


HUMAN: Final = "9606"
_NONE: Final = frozenset({"", "-"})


def read(path: Path) -> GeneTable:
    """Read one gene table.

    Raises:
        ModelFault: no such file, not text, no known set of columns, or no gene in it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelFault(
            f"gene table {path}: cannot be read ({error.strerror}); check the path"
        ) from error
    label = f"{path.name} (sha256:{hashlib.sha256(data).hexdigest()[:8]}…)"
    try:
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig")
        records, authority = _parse(text, path)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise ModelFault(f"gene table {path}: not readable as text ({error}); fetch it anew") from (
            error
        )
    if not records:
        raise ModelFault(f"gene table {path}: holds no gene; fetch it anew")
    return GeneTable(records, authority, label)


def _parse(text: str, path: Path) -> tuple[list[GeneRecord], int]:
    header = text[: text.find("\n") + 1 or len(text)].strip("\r\n")
    mark = "\t" if "\t" in header else ","
    columns = [_column(name) for name in header.split(mark)]
    found = set(columns)
    raw = "tax_id" in found  # NCBI never quotes, and some of its names hold a lone quote
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=mark,
        quoting=csv.QUOTE_NONE if raw else csv.QUOTE_MINIMAL,
    )
    next(reader, None)
    rows = (dict(zip(columns, row, strict=False)) for row in reader)
    if {"symbol", "prev_symbol", "alias_symbol"} <= found:
        return list(_hgnc(rows)), 0
    if {"symbol", "approved_symbol"} <= found:
        return _helper_map(rows), 1
    if {"symbol", "synonyms"} <= found:
        return list(_ncbi(rows)), 2
    raise ModelFault(
        f"gene table {path}: columns are {', '.join(columns[:12]) or 'none'}; expected those of "
        "hgnc_complete_set.txt (symbol, alias_symbol, prev_symbol), of the HGNChelper map "
        "(Symbol, Approved.Symbol) or of NCBI gene_info (Symbol, Synonyms)"
    )


def _column(name: str) -> str:
    return name.strip().strip('"').lstrip("#").lower().replace(".", "_").replace(" ", "_")


def _split(row: Mapping[str, str], *columns: str) -> tuple[str, ...]:
    """The ``|``-separated values of the columns, blanks left out."""
    values = [part.strip() for name in columns for part in row.get(name, "").split("|")]
    return tuple(value for value in values if value not in _NONE)


def _hgnc(rows: Iterator[dict[str, str]]) -> Iterator[GeneRecord]:
    for row in rows:
        symbol = row.get("symbol", "").strip()
        if symbol in _NONE or row.get("status", "Approved") != "Approved":
            continue
        yield GeneRecord(
            symbol,
            previous=_split(row, "prev_symbol"),
            aliases=_split(row, "alias_symbol"),
            names=_split(row, "name", "alias_name", "prev_name"),
            ids=_split(row, "ensembl_gene_id", "hgnc_id"),
        )


def _helper_map(rows: Iterator[dict[str, str]]) -> list[GeneRecord]:
    """The map does not say which names are previous symbols: all of them count as aliases."""
    others: dict[str, list[str]] = {}
    for row in rows:
        symbol, name = row.get("approved_symbol", "").strip(), row.get("symbol", "").strip()
        if symbol in _NONE or symbol == "NA":
            continue
        known = others.setdefault(symbol, [])
        if name != symbol and name not in _NONE:
            known.append(name)
    return [GeneRecord(symbol, aliases=tuple(names)) for symbol, names in others.items()]


def _ncbi(rows: Iterator[dict[str, str]]) -> Sequence[GeneRecord]:
    kept = list(rows)
    human = [row for row in kept if row.get("tax_id", HUMAN) == HUMAN]
    return [
        record
        for row in human or kept
        if (record := _ncbi_record(row)).symbol not in _NONE and record.symbol != "NEWENTRY"
    ]


def _ncbi_record(row: Mapping[str, str]) -> GeneRecord:
    own = row.get("symbol", "").strip()
    official = row.get("symbol_from_nomenclature_authority", "").strip()
    symbol = own if official in _NONE else official
    cross = [part for part in _split(row, "dbxrefs") if part.startswith(("Ensembl:", "HGNC:"))]
    return GeneRecord(
        symbol,
        aliases=(*_split(row, "synonyms"), *((own,) if own != symbol else ())),
        names=_split(row, "description", "full_name_from_nomenclature_authority"),
        ids=tuple(part.split(":", 1)[1] for part in cross),
    )
