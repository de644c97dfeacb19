"""Tables as text: CSV, TSV (also gzip) or Parquet to a header and rows of cells.

Limits: the file is read whole; of two columns of one name it cannot be said which counts, so that
they are refused; cells that are not UTF-8 are read with U+FFFD in them.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from service.errors import StartupFault


def read(path: Path) -> tuple[list[str], Iterator[dict[str, str]]]:
    """Header and rows of a table, every cell as text.

    Raises:
        StartupFault: it cannot be read, is empty, or has rows of another width.
    """
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            return _parquet(path)
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or error
        raise StartupFault(f"{path} cannot be read: {why}") from error
    tabs = {".tsv", ".txt"} & set(map(str.lower, path.suffixes))
    text = io.StringIO(data.decode("utf-8-sig", "replace").replace("\0", "\ufffd"), newline="")
    records = csv.reader(text, delimiter="\t" if tabs else ",")
    header = next(records, [])
    if not header:
        raise StartupFault(f"{path}: the file is empty")
    if len(set(header)) < len(header):
        raise StartupFault(f"{path}: two columns have one name in {', '.join(header)}")
    return header, _rows(path, header, records)


def _rows(path: Path, header: list[str], records: Iterable[list[str]]) -> Iterator[dict[str, str]]:
    for number, cells in enumerate(records, 2):
        if not cells:
            continue
        if len(cells) != len(header):
            raise StartupFault(
                f"{path}: line {number} has {len(cells)} cells, the header {len(header)}"
            )
        yield dict(zip(header, cells, strict=True))


def _parquet(path: Path) -> tuple[list[str], Iterator[dict[str, str]]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except pyarrow.ArrowInvalid as error:
        raise StartupFault(f"{path} is not a Parquet file: {error}") from error
    rows = (
        {name: "" if value is None else str(value) for name, value in row.items()}
        for row in table.to_pylist()
    )
    return list(table.column_names), rows
