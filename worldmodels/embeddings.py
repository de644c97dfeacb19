"""Tables from a gene's name to its vector, read from npz, Parquet or safetensors.

Accepted forms: npz or safetensors with one array per symbol; npz with arrays ``names`` and
``vectors``; safetensors with a tensor ``vectors`` and the metadata key ``names`` (a JSON list);
Parquet whose first text column holds names, beside numeric columns or one list column. Limits: one
width for all, finite numbers only, the whole table in memory as float32.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldmodels.core import ModelFault

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One row per name: ``vectors`` has shape (len(names), width)."""

    names: list[str]
    vectors: Matrix
    source: str
    """What the vectors come from, for the record."""


def read(path: Path) -> Embeddings:
    """Read a table of vectors; the suffix says which format.

    Raises:
        ModelFault: unknown format, unreadable, unequal widths, NaN, a name twice, or empty.
    """
    readers = {".npz": _npz, ".parquet": _parquet, ".safetensors": _safetensors}
    if path.suffix.lower() not in readers:
        raise ModelFault(f"--embeddings {path}: unknown format; known: {', '.join(readers)}")
    if not path.is_file():
        raise ModelFault(f"--embeddings {path}: no such file")
    try:
        names, vectors = readers[path.suffix.lower()](path)
    except ModelFault:
        raise
    except _unreadable() as error:
        raise ModelFault(f"--embeddings {path}: cannot be read ({error})") from error
    return checked(names, vectors, str(path.name))


def checked(names: Sequence[str], vectors: Sequence[Any] | NDArray[Any], source: str) -> Embeddings:
    """Check names and vectors that somebody brings.

    Raises:
        ModelFault: as ``read``.
    """
    if not len(names):
        raise ModelFault(f"--embeddings {source}: holds no vector")
    if len(names) != len(vectors):
        raise ModelFault(f"--embeddings {source}: {len(names)} names but {len(vectors)} vectors")
    widths = {np.shape(vector) for vector in vectors}
    if len(widths) > 1 or len(next(iter(widths))) != 1:
        raise ModelFault(
            f"--embeddings {source}: vectors differ in shape ({_some(sorted(map(str, widths)))}); "
            "every gene needs one vector of one width"
        )
    try:
        table = np.asarray(vectors, np.float32)
    except (TypeError, ValueError) as error:
        raise ModelFault(f"--embeddings {source}: vectors are not numbers ({error})") from error
    bad = [names[int(row)] for row in np.flatnonzero(~np.isfinite(table).all(axis=1))]
    if bad:
        raise ModelFault(
            f"--embeddings {source}: {len(bad)} vectors hold NaN or infinity ({_some(bad)})"
        )
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if list(names).count(name) > 1})[:3]
        raise ModelFault(f"--embeddings {source}: names occur twice ({_some(twice)})")
    return Embeddings(list(names), table, source)


def _some(values: Sequence[str]) -> str:
    return ", ".join(values[:3]) + (", …" if len(values) > 3 else "")


def _unreadable() -> tuple[type[Exception], ...]:
    import pyarrow
    from safetensors import SafetensorError

    return (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        zipfile.BadZipFile,
        SafetensorError,
        pyarrow.ArrowException,
    )


def _npz(path: Path) -> tuple[list[str], Any]:
    with path.open("rb") as opened:  # numpy leaves a file open that it cannot read
        file = np.load(opened, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ModelFault(f"--embeddings {path}: a single array, not an npz file")
        return _of_arrays({name: file[name] for name in file.files})


def _of_arrays(arrays: Mapping[str, NDArray[Any]]) -> tuple[list[str], Any]:
    if set(arrays) == {"names", "vectors"} and arrays["vectors"].ndim == 2:
        return [str(name) for name in arrays["names"]], arrays["vectors"]
    return list(arrays), list(arrays.values())


def _safetensors(path: Path) -> tuple[list[str], Any]:
    from safetensors import safe_open

    with safe_open(str(path), framework="numpy") as file:
        stated = (file.metadata() or {}).get("names")
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if stated is not None and "vectors" in arrays:
        return [str(name) for name in json.loads(stated)], arrays["vectors"]
    return list(arrays), list(arrays.values())


def _parquet(path: Path) -> tuple[list[str], Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    texts = [
        f.name
        for f in table.schema
        if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)
    ]
    lists = [f.name for f in table.schema if _is_list(pa, f.type)]
    figures = [
        f.name for f in table.schema if pa.types.is_floating(f.type) or pa.types.is_integer(f.type)
    ]
    if not texts or not (lists or figures):
        raise ModelFault(
            f"--embeddings {path}: columns are {', '.join(table.column_names[:8])}; expected a "
            "text column with names beside numeric columns or one list column"
        )
    names = [str(name) for name in table[texts[0]].to_pylist()]
    if lists:
        return names, [np.asarray(row, np.float32) for row in table[lists[0]].to_pylist()]
    columns = [table[name].to_numpy().astype(np.float32) for name in figures]
    return names, np.stack(columns, axis=1)


def _is_list(pa: Any, kind: Any) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
