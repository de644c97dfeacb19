"""Which genes are detected in which cells: the 0/1 table under co-expression.

A gene is detected in a cell when its value is above zero, which counts and their logarithms agree
on. A matrix in which "above zero" says nothing (scaled, without a zero, empty) is refused; when
nobody chose a matrix and X is such a one, raw is used instead and a note says so. Genes that few
cells detect are left out, then the least detected beyond a limit, and notes say how many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from worldmodels.core import ModelFault
from worldmodels.expression.annotated import (
    Annotated,
    chosen_cells,
    gene_names,
    layer,
    naming,
)
from worldmodels.expression.matrices import Columns, Detected, Matrix, blocks

FEWEST_CELLS: Final = 10
"""However few the cells, a gene detected in fewer than this says nothing of its partners."""
FEWEST_SHARE: Final = 0.01
MAX_GENES: Final = 12_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What of an AnnData to use."""

    layer: str | None = None
    raw: bool | None = None
    """True: ``raw``; False: ``X``; None: X, or raw where X is unusable."""
    gene_column: str | None = None
    cells_column: str | None = None
    cells_value: str | None = None
    merge_duplicates: bool = False
    """Columns of one name become one gene, detected where any of them is; else refused."""
    min_cells: int | None = None
    """None: 1 % of the cells, at least ``FEWEST_CELLS``."""
    max_genes: int = MAX_GENES

    def __post_init__(self) -> None:
        if self.layer is not None and self.raw:
            raise ModelFault("--layer and --raw exclude each other; give one")
        if self.min_cells is not None and self.min_cells < 1:
            raise ModelFault(f"--min-cells is {self.min_cells}; give 1 or more")
        if self.max_genes < 2:
            raise ModelFault(f"--max-genes is {self.max_genes}; a pair needs 2")


class Unusable(ModelFault):
    """A matrix whose values do not tell detected from not detected; ``found`` says why in short."""

    def __init__(self, message: str, found: str) -> None:
        super().__init__(message)
        self.found = found


@dataclass(slots=True)
class Detections:
    """The chosen cells × the kept genes.

    Attributes:
        source: what was read, for the manifest: "pbmc.h5ad, raw.X".
        genes: name of each kept gene.
        cells: number of chosen cells.
        notes: what was decided or left out, in words.
    """

    source: str
    genes: list[str]
    cells: int
    notes: list[str]
    _matrix: Matrix = field(repr=False)
    _chosen: NDArray[np.bool_] = field(repr=False)
    _gene_of: NDArray[np.int64] = field(repr=False)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Blocks of consecutive chosen cells: cells × genes, 1.0 where detected, else 0.0."""
        for start, stop in blocks(self._matrix, len(self.genes)):
            kept = self._chosen[start:stop]
            if not kept.any():
                continue
            with naming(self.source):
                cells, genes, values = self._matrix.entries(start, stop)
            detected = np.zeros((stop - start, len(self.genes)), dtype=np.float32)
            column = self._gene_of[genes]
            seen = (values > 0) & (column >= 0)
            detected[cells[seen], column[seen]] = 1.0
            yield detected if kept.all() else detected[kept]


def detections(annotated: Annotated, choice: Choice) -> Detections:
    """Choose matrix, cells and genes.

    Raises:
        ModelFault: nothing usable there; the message says what was found and what to choose.
    """
    label = _label(annotated, choice)
    try:
        return _detections(annotated, label, choice)
    except Unusable as fault:
        undecided = choice.raw is None and choice.layer is None
        if not undecided or label == "raw.X" or "raw.X" not in annotated.parts:
            raise
        found = _detections(annotated, "raw.X", choice)
        found.notes.insert(0, f"{fault.found}; raw.X is used instead (--no-raw refuses that)")
        return found


def _label(annotated: Annotated, choice: Choice) -> str:
    if choice.layer is not None:
        return layer(choice.layer)
    if choice.raw or (choice.raw is None and "X" not in annotated.parts):
        return "raw.X"
    return "X"


def _detections(annotated: Annotated, label: str, choice: Choice) -> Detections:
    matrix = annotated.matrix(label)
    where = f"{annotated.name}: {label}"
    cells, columns = matrix.shape
    if not cells or not columns:
        raise ModelFault(f"{where} has {cells} cells and {columns} genes; there is nothing to do")
    chosen = chosen_cells(annotated, cells, choice.cells_column, choice.cells_value)
    names = gene_names(annotated, label, choice.gene_column)
    if len(names) != columns or len(chosen) != cells:
        raise ModelFault(
            f"{where} is {cells} × {columns}, but the file describes {len(chosen)} cells and "
            f"{len(names)} genes: it is damaged; write it again"
        )
    notes: list[str] = []
    genes, gene_of = _distinct(names, where, choice.merge_duplicates, notes)
    checked, counts = _scan(annotated, label, matrix, chosen, gene_of)
    kept = _kept(counts, int(chosen.sum()), choice, where, notes)
    place = np.full(len(genes) + 1, -1)
    place[kept] = np.arange(len(kept))
    return Detections(
        source=where,
        genes=[genes[i] for i in kept],
        cells=int(chosen.sum()),
        notes=notes,
        _matrix=checked,
        _chosen=chosen,
        _gene_of=place[gene_of],
    )


def _distinct(
    names: Sequence[str], where: str, merge: bool, notes: list[str]
) -> tuple[list[str], NDArray[np.int64]]:
    """The genes, and the gene of each column (−1: it has no name)."""
    rows: dict[str, int] = {}
    gene_of = np.array([rows.setdefault(n, len(rows)) if n else -1 for n in names], dtype=np.int64)
    if unnamed := int((gene_of < 0).sum()):
        notes.append(f"{unnamed} columns have no gene name and were left out")
    if not rows:
        raise ModelFault(f"{where}: no column has a gene name; choose another --gene-column")
    times = np.bincount(gene_of[gene_of >= 0], minlength=len(rows))
    several = [name for name, row in rows.items() if times[row] > 1]
    if several:
        shown = ", ".join(several[:5]) + (", …" if len(several) > 5 else "")
        if not merge:
            raise ModelFault(
                f"{where}: {len(several)} gene names occur more than once ({shown}); give "
                "--merge-duplicates (detected where any of the columns is), or another "
                "--gene-column"
            )
        notes.append(f"{len(several)} gene names occur more than once and were merged ({shown})")
    return list(rows), gene_of


def _scan(
    annotated: Annotated,
    label: str,
    matrix: Matrix | Columns,
    chosen: NDArray[np.bool_],
    gene_of: NDArray[np.int64],
) -> tuple[Matrix, NDArray[np.int64]]:
    """Check every value of the chosen cells; count the cells that detect each gene."""
    where = f"{annotated.name}: {label}"
    check = _Check(f"{label} of {annotated.name}", annotated.listing())
    size = int(chosen.sum()) * matrix.shape[1]
    rows: Matrix
    if isinstance(matrix, Columns):
        with naming(where):
            all(check.add(block.values[chosen[block.cells]]) for block in matrix.genes())
        check.finish(size)
        with naming(where):
            rows = Detected(matrix)
    else:
        rows = matrix
    genes = int(gene_of.max()) + 1
    merged = int((gene_of >= 0).sum()) > genes
    counts = np.zeros(genes, dtype=np.int64)
    for start, stop in blocks(rows, matrix.shape[1]):
        with naming(where):
            cells, columns, values = rows.entries(start, stop)
        used = chosen[start:stop][cells]
        if rows is matrix and not check.add(values[used]):
            break
        seen = used & (values > 0) & (gene_of[columns] >= 0)
        pairs = cells[seen].astype(np.int64), gene_of[columns[seen]]
        counts += _cells_per_gene(*pairs, genes) if merged else np.bincount(pairs[1], None, genes)
    check.finish(size)
    return rows, counts


def _cells_per_gene(
    cells: NDArray[np.int64], genes: NDArray[np.int64], total: int
) -> NDArray[np.int64]:
    """Count each cell once per gene, though several columns may carry the gene's name."""
    return np.bincount(np.unique(cells * total + genes) % total, minlength=total)


def _kept(
    counts: NDArray[np.int64], cells: int, choice: Choice, where: str, notes: list[str]
) -> NDArray[np.int64]:
    """The genes to keep, in the order of the file."""
    least = choice.min_cells
    if least is None:
        least = max(FEWEST_CELLS, int(np.ceil(FEWEST_SHARE * cells)))
    kept = np.flatnonzero(counts >= least)
    if len(kept) < 2:
        raise ModelFault(
            f"{where}: {len(kept)} of {len(counts)} genes are detected in at least {least} of the "
            f"{cells} cells, and a pair needs two; give more cells, or a lower --min-cells"
        )
    if rare := len(counts) - len(kept):
        notes.append(f"{rare:,} genes detected in fewer than {least} cells were left out")
    if (beyond := len(kept) - choice.max_genes) > 0:
        most = np.argsort(-counts[kept], kind="stable")[: choice.max_genes]
        kept = np.sort(kept[most])
        notes.append(
            f"{beyond:,} genes beyond the {choice.max_genes:,} most detected were left out "
            "(--max-genes)"
        )
    return kept


@dataclass(slots=True)
class _Check:
    """Whether a matrix tells detected from not detected."""

    where: str
    listing: str
    above: int = 0
    low: float = np.inf
    high: float = -np.inf
    finite: bool = True

    def add(self, values: NDArray[Any]) -> bool:
        """Look at stored values (zeros may be left out); False once there is no hope."""
        if len(values):
            low, high = float(values.min()), float(values.max())  # NaN if any is NaN
            self.finite &= bool(np.isfinite(low) and np.isfinite(high))
            self.low, self.high = min(self.low, low), max(self.high, high)
            self.above += int(np.count_nonzero(values > 0))
        return self.finite and self.low >= 0

    def finish(self, size: int) -> None:
        """Judge what was seen of ``size`` values, zeros included.

        Raises:
            Unusable: with what was found and what to do.
        """
        if not (found := self._fault(size)):
            return
        short = f"{self.where} {found}"
        message = (
            f"{short}; co-expression needs counts, or their logarithms, that are 0 where a gene "
            f"is not detected: choose another matrix with --layer or --raw "
            f"(there is: {self.listing})"
        )
        raise Unusable(message, short)

    def _fault(self, size: int) -> str:
        if not self.finite:
            return "holds NaN or infinite values"
        if self.low < 0:
            return f"holds negative values ({self.low:.4g}), so it looks scaled or centred"
        if not self.above:
            return "is zero everywhere"
        if self.above < size:
            return ""
        if self.low == self.high:
            return f"is {self.low:.4g} everywhere"
        return "is above zero everywhere, so that every gene counts as detected in every cell"
