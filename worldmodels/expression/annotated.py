"""The parts of an AnnData that count: a matrix (X, raw or a layer), gene names, a choice of cells.

A file is read with h5py, so that what training does not use (embeddings, graphs, other layers) is
never loaded; files of anndata < 0.7, whose tables are laid out otherwise, are read whole by
anndata. Whatever is wrong with a file is a ``ModelFault`` that names it. Limits: ``.h5ad`` only
(no zarr, loom or mtx).
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from worldmodels.core import ModelFault
from worldmodels.expression import matrices
from worldmodels.expression.matrices import Matrix

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

_READING: Final = (
    OSError, LookupError, RuntimeError, ValueError, TypeError, AttributeError, MemoryError
)  # fmt: skip
"""What h5py and anndata raise over damaged bytes; all of these were seen."""
INDEX: Final = "_index"
"""As a gene column: the index of ``var`` as it is, Ensembl ids included."""
ENSEMBL: Final = re.compile(r"ENS[A-Z]{0,6}G\d{11}(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Annotated:
    """An AnnData, opened.

    Attributes:
        name: what to call it in messages: the path, or "AnnData".
        parts: matrices by label (``X``, ``raw.X``, ``layers['counts']``) → where to read each.
        tables: ``var``, ``raw.var``, ``obs`` → where to read each.
    """

    name: str
    parts: Mapping[str, Any]
    tables: Mapping[str, Any]

    def matrix(self, label: str) -> Matrix | matrices.Columns:
        """The matrix of that label.

        Raises:
            ModelFault: there is none (the message lists what there is), or it is damaged.
        """
        if label not in self.parts:
            raise ModelFault(f"{self.name} has no {label}; it has: {self.listing()}")
        with naming(f"{self.name}: {label}"):
            part = self.parts[label]
            return matrices.in_file(part) if hasattr(part, "file") else matrices.in_memory(part)

    def table(self, label: str) -> pd.DataFrame:
        """``var``, ``raw.var`` or ``obs``."""
        import pandas as pd

        table = self.tables[label]
        if isinstance(table, pd.DataFrame):
            return table
        where = f"{self.name}: {label}"
        with naming(where):
            loaded = _read_table(table)
        if not isinstance(loaded, pd.DataFrame):
            raise ModelFault(f"{self.name}: {label} is a {type(loaded).__name__}, not a table")
        return loaded

    def listing(self) -> str:
        """The labels of all matrices, for messages."""
        return ", ".join(self.parts) or "no matrix at all"


@contextlib.contextmanager
def opened(data: Path | AnnData) -> Iterator[Annotated]:
    """Open a path, or look into an AnnData (one that is backed by a file is read from there).

    Raises:
        ModelFault: no such file, not an .h5ad, truncated, or a backed view.
    """
    if isinstance(data, Path):
        with _opened_file(data) as annotated:
            yield annotated
    elif data.isbacked:
        if data.is_view:
            raise ModelFault(
                "this AnnData is a view of a backed one; call .to_memory(), or give the file and "
                "choose cells with --cells-column and --cells-value"
            )
        with _opened_file(Path(data.filename)) as annotated:
            yield annotated
    else:
        yield _of_memory(data, "AnnData")


@contextlib.contextmanager
def naming(where: str) -> Iterator[None]:
    """Turn what h5py and the readers raise about a damaged file into a fault that names it."""
    try:
        yield
    except ModelFault as fault:
        raise ModelFault(f"{where} {fault}") from fault
    except _READING as error:
        raise ModelFault(
            f"{where} cannot be read ({error}): the file is truncated or damaged; copy or "
            "download it again"
        ) from error


@contextlib.contextmanager
def _opened_file(path: Path) -> Iterator[Annotated]:
    import h5py

    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise ModelFault(f"{path} {found}; give the path of an .h5ad file")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        reason = "it is truncated" if "truncated" in str(error) else "it is not HDF5"
        raise ModelFault(
            f"{path} is not a readable .h5ad file: {reason} ({path.stat().st_size:,} bytes); "
            "download it again, or write one with AnnData.write_h5ad"
        ) from error
    with file:
        with naming(str(path)):
            parts, legacy = set(file), _is_legacy(file)
        if not {"obs", "var"} <= parts:
            raise ModelFault(
                f"{path} is HDF5 but not an .h5ad: it has no obs and var; read it with scanpy "
                "(for 10x files scanpy.read_10x_h5) and save it with AnnData.write_h5ad"
            )
        with naming(str(path)):
            annotated = _of_legacy(path) if legacy else _of_file(path, file)
        yield annotated


def _read_table(node: Any) -> Any:
    from anndata._io.specs.registry import IORegistryError  # public nowhere
    from anndata.io import read_elem

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # files of anndata 0.7 lack a mark that it misses
            return read_elem(node)
    except IORegistryError as error:
        raise ModelFault(
            f"is stored in a form that this anndata does not know ({error}): upgrade anndata"
        ) from error


def _is_legacy(file: Any) -> bool:
    """Tables as compound datasets, or ``raw.X`` as one name: anndata before 0.7."""
    return "raw.X" in file or any(hasattr(file.get(key), "dtype") for key in ("obs", "var"))


def _of_legacy(path: Path) -> Annotated:
    import anndata

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anndata says at length that the file is old; it reads it
        return _of_memory(anndata.read_h5ad(path), str(path))


def _of_file(path: Path, file: Any) -> Annotated:
    parts = {"X": file["X"]} if "X" in file else {}
    tables = {"obs": file["obs"], "var": file["var"]}
    if "raw" in file and {"X", "var"} <= set(file["raw"]):
        parts["raw.X"] = file["raw"]["X"]
        tables["raw.var"] = file["raw"]["var"]
    for name in file.get("layers", {}):
        parts[layer(name)] = file["layers"][name]
    return Annotated(str(path), parts, tables)


def _of_memory(data: AnnData, name: str) -> Annotated:
    parts = {} if data.X is None else {"X": data.X}
    tables = {"obs": data.obs, "var": data.var}
    if data.raw is not None:
        parts["raw.X"], tables["raw.var"] = data.raw.X, data.raw.var
    for key in data.layers:
        parts[layer(key)] = data.layers[key]
    return Annotated(name, parts, tables)


def layer(name: str) -> str:
    """The label of a layer."""
    return f"layers[{name!r}]"


def gene_names(annotated: Annotated, label: str, column: str | None) -> list[str]:
    """One name per column of the matrix, ``""`` where the file has none.

    Args:
        annotated: the AnnData.
        label: of the matrix whose columns are named.
        column: the column of ``var`` that holds symbols; None: the index of ``var``.

    Raises:
        ModelFault: no such column, or the index holds Ensembl ids and no column was named.
    """
    table_name = "raw.var" if label == "raw.X" else "var"
    table = annotated.table(table_name)
    where = f"{annotated.name}: {table_name}"
    if column in (None, INDEX):
        names = _texts(table.index)
        if column is None and sum(map(bool, map(ENSEMBL.fullmatch, names))) > len(names) / 2:
            raise ModelFault(
                f"{where} is indexed by Ensembl ids ({names[0]}, …), but questions name genes by "
                f"symbol; name the column that holds symbols with --gene-column "
                f"({_columns(table)}), or keep the ids with --gene-column {INDEX}"
            )
        return names
    if column not in table.columns:
        raise ModelFault(f"{where} has no column {column!r} for --gene-column; {_columns(table)}")
    return _texts(table[column])


def chosen_cells(
    annotated: Annotated, cells: int, column: str | None, value: str | None
) -> NDArray[np.bool_]:
    """Which cells to use: those whose ``obs`` column reads ``value``; all without a column.

    Raises:
        ModelFault: one of column and value is missing, no such column, or no such cell.
    """
    if column is None and value is None:
        return np.ones(cells, dtype=bool)
    if column is None or value is None:
        raise ModelFault("--cells-column and --cells-value go together; give both or neither")
    table = annotated.table("obs")
    if column not in table.columns:
        raise ModelFault(f"{annotated.name}: obs has no column {column!r}; {_columns(table)}")
    texts = _texts(table[column])
    chosen = np.array([text == value for text in texts], dtype=bool)
    if not chosen.any():
        seen = sorted(set(texts))
        more = f" and {len(seen) - 12} more" if len(seen) > 12 else ""
        raise ModelFault(
            f"{annotated.name}: no cell has {column} = {value!r}; "
            f"its values: {', '.join(seen[:12])}{more}"
        )
    return chosen


def _columns(table: pd.DataFrame) -> str:
    return f"its columns: {', '.join(map(str, table.columns)) or 'none'}"


def _texts(column: Any) -> list[str]:
    missing = np.asarray(column.isna())
    return ["" if gone else str(x).strip() for x, gone in zip(column, missing, strict=True)]
