"""Expression matrices, in memory or in an HDF5 file, read a block of cells at a time.

Every form (dense, CSR, CSC) answers one question: which entries of cells start…stop−1 are not
zero, and what are they. Memory is that of a block, whatever the size of the file. A CSC matrix in
a file is first turned around into a temporary file of one bit per cell and gene (a million cells
of 36,000 genes take 4.5 GB there), since its cells lie scattered over the whole of it. Limits:
dask arrays and matrices of text are refused.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from worldmodels.core import ModelFault

BLOCK: Final = 1 << 23
"""Entries that a block may hold: 32 MB as float32."""
CORRUPT: Final = "is damaged: its sparse indices point outside of it; write the file again"


class Entries(NamedTuple):
    """Stored entries of a block of cells; what is not listed is zero."""

    cells: NDArray[np.integer[Any]]
    """Row of each entry, counted from the block's first cell."""
    genes: NDArray[np.integer[Any]]
    """Column of each entry."""
    values: NDArray[Any]


class Matrix(Protocol):
    """cells × genes."""

    @property
    def shape(self) -> tuple[int, int]:
        """Number of cells and of genes."""
        ...

    def entries(self, start: int, stop: int) -> Entries:
        """What is stored for the cells start…stop−1."""
        ...


def blocks(matrix: Matrix, width: int) -> Iterator[tuple[int, int]]:
    """Consecutive ranges of cells whose blocks of ``width`` columns hold ``BLOCK`` entries."""
    step = max(64, min(1 << 16, BLOCK // max(1, width)) // 8 * 8)
    for start in range(0, matrix.shape[0], step):
        yield start, min(start + step, matrix.shape[0])


class Dense:
    """A numpy array or an HDF5 dataset."""

    def __init__(self, data: Any) -> None:
        if len(data.shape) != 2:
            raise ModelFault(f"has {len(data.shape)} dimensions, not cells × genes")
        _check_numeric(data.dtype)
        self._data = data
        self.shape: tuple[int, int] = (int(data.shape[0]), int(data.shape[1]))

    def entries(self, start: int, stop: int) -> Entries:
        """See ``Matrix``."""
        block = np.asarray(self._data[start:stop])
        cells, genes = np.nonzero(block)
        return Entries(cells, genes, block[cells, genes])


class Rows:
    """Compressed sparse rows; the three arrays may lie in memory or in an HDF5 file."""

    def __init__(self, data: Any, indices: Any, indptr: Any, shape: tuple[int, int]) -> None:
        _check_numeric(data.dtype)
        self._data, self._indices = data, indices
        self._starts = _checked_pointers(indptr, shape[0], len(indices), len(data))
        self.shape = shape

    def entries(self, start: int, stop: int) -> Entries:
        """See ``Matrix``."""
        bounds = self._starts[start : stop + 1]
        span = slice(int(bounds[0]), int(bounds[-1]))
        cells = np.repeat(np.arange(stop - start), np.diff(bounds))
        genes = _checked_indices(np.asarray(self._indices[span]), self.shape[1])
        return Entries(cells, genes, np.asarray(self._data[span]))


class Columns:
    """Compressed sparse columns in an HDF5 file, walked gene by gene."""

    def __init__(self, data: Any, indices: Any, indptr: Any, shape: tuple[int, int]) -> None:
        _check_numeric(data.dtype)
        self._data, self._indices = data, indices
        self._starts = _checked_pointers(indptr, shape[1], len(indices), len(data))
        self.shape = shape

    def genes(self, first: int = 0, end: int | None = None) -> Iterator[Entries]:
        """The entries of the genes first…end−1 (of all), some genes at a time."""
        end = self.shape[1] if end is None else end
        while first < end:
            room = int(self._starts[first]) + BLOCK
            last = int(np.searchsorted(self._starts, room, side="right")) - 1
            last = min(max(last, first + 1), end)
            bounds = self._starts[first : last + 1]
            span = slice(int(bounds[0]), int(bounds[-1]))
            cells = _checked_indices(np.asarray(self._indices[span]), self.shape[0])
            genes = np.repeat(np.arange(first, last), np.diff(bounds))
            yield Entries(cells, genes, np.asarray(self._data[span]))
            first = last


class Detected:
    """Which values of a ``Columns`` are above zero, turned around: bits in a temporary file."""

    def __init__(self, columns: Columns) -> None:
        self.shape = columns.shape
        self._bits = _temporary((self.shape[1], (self.shape[0] + 7) // 8))
        for block in columns.genes():
            above = block.values > 0
            cells, genes = block.cells[above].astype(np.int64), block.genes[above]
            masks = np.left_shift(np.uint8(1), (cells & 7).astype(np.uint8))
            np.bitwise_or.at(self._bits, (genes, cells >> 3), masks)

    def entries(self, start: int, stop: int) -> Entries:
        """See ``Matrix``; every value is 1. ``start`` is a multiple of 8."""
        packed = np.asarray(self._bits[:, start >> 3 : (stop + 7) >> 3])
        bits = np.unpackbits(packed, axis=1, count=stop - start, bitorder="little")
        genes, cells = np.nonzero(bits)
        return Entries(cells, genes, np.ones(len(cells), np.uint8))


def in_memory(data: Any) -> Matrix:
    """The matrix of an AnnData that lies in memory.

    Raises:
        ModelFault: neither a numpy array nor a scipy sparse matrix.
    """
    from scipy import sparse

    if isinstance(data, np.ndarray):
        return Dense(data)
    if sparse.issparse(data):
        rows = data.tocsr()
        return Rows(rows.data, rows.indices, rows.indptr, rows.shape)
    raise ModelFault(
        f"is a {type(data).__module__}.{type(data).__qualname__}; write the AnnData to an .h5ad "
        "file and train on that"
    )


def in_file(node: Any) -> Matrix | Columns:
    """The matrix in an open HDF5 file: a dataset (dense) or a group (CSR, CSC).

    Raises:
        ModelFault: neither, or arrays that contradict each other.
    """
    if hasattr(node, "dtype"):
        return Dense(node)
    form = str(node.attrs.get("encoding-type", node.attrs.get("h5sparse_format", "")))
    shape = node.attrs.get("shape", node.attrs.get("h5sparse_shape"))
    known = form[:3] in ("csr", "csc") and {"data", "indices", "indptr"} <= set(node)
    if not known or shape is None:
        raise ModelFault(f"is neither dense nor a CSR or CSC matrix (encoding {form!r})")
    kind = Rows if form[:3] == "csr" else Columns
    size = (int(shape[0]), int(shape[1]))
    return kind(node["data"], node["indices"], node["indptr"][:], size)


def _temporary(shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Zeros in a file that vanishes with the array."""
    size = shape[0] * shape[1]
    with tempfile.TemporaryFile(prefix="detected-") as file:
        try:
            if hasattr(os, "posix_fallocate"):  # else a full disk kills the process at first touch
                os.posix_fallocate(file.fileno(), 0, size)
            return np.memmap(file, np.uint8, "w+", shape=shape)
        except OSError as error:
            raise ModelFault(
                f"is compressed by columns, and reading it by cells takes {size / 1e9:.2g} GB in "
                f"{tempfile.gettempdir()} ({error.strerror}); set TMPDIR to a roomier place, or "
                "store the matrix by rows (adata.X = adata.X.tocsr())"
            ) from error


def _check_numeric(dtype: np.dtype[Any]) -> None:
    if dtype.kind not in "biuf":
        raise ModelFault(f"holds {dtype} values, not numbers")


def _checked_pointers(
    indptr: Any, lines: int, indices: int, values: int
) -> NDArray[np.integer[Any]]:
    starts = np.asarray(indptr).astype(np.int64)
    whole = len(starts) == lines + 1 and starts[0] == 0 and starts[-1] == indices == values
    if not whole or (np.diff(starts) < 0).any():
        raise ModelFault(CORRUPT)
    return starts


def _checked_indices(indices: NDArray[Any], bound: int) -> NDArray[Any]:
    if len(indices) and (int(indices.min()) < 0 or int(indices.max()) >= bound):
        raise ModelFault(CORRUPT)
    return indices
