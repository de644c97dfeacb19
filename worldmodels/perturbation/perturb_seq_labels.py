"""What the obs table of a Perturb-seq file says of its cells: perturbed gene, control, cell line.

Which column and which label mean what is found among the names that the field uses, and never
guessed where two would do: then the message lists them, counted. Labels of several genes become
``"A+B"``, sorted: parts stand between plus signs, or between underscores where every part is a gene
of the file or a label of its own. A control among the parts counts for nothing (``A+ctrl`` is A).
Limits: one label per cell; guides must have been assigned and carry the name of their gene.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from worldmodels.core import ModelFault, canonical_context

if TYPE_CHECKING:
    import pandas as pd

PERTURBATION_COLUMNS: Final = (
    "perturbation", "perturbations", "perturbed_gene", "perturbation_name", "pert", "pert_name",
    "target_gene", "gene_target", "target", "guide_target", "guide_identity", "guide_ids",
    "condition", "gene", "gene_symbol",
)  # fmt: skip
"""Names of the column of perturbed genes in public screens (scPerturb, GEARS, Replogle, pertpy)."""
CELL_LINE_COLUMNS: Final = ("cell_line", "cellline", "cell_type", "celltype")
CONTROLS: Final = frozenset({
    "control", "controls", "ctrl", "nontargeting", "nontargetingcontrol", "nt", "ntc", "ntctrl",
    "negctrl", "negcontrol", "negativecontrol", "scramble", "scrambled", "safetargeting",
    "unperturbed",
})  # fmt: skip
"""Labels of control cells, letters and digits only."""
SHOWN: Final = 3
EXCLUDED: Final = -1

Codes = NDArray[np.int32]


@dataclass(slots=True)
class Labels:
    """The perturbation of every cell of a file.

    Attributes:
        of_cell: shape (cells,): index into ``names``, 0 the control, −1 where the cell is left out.
        names: ``""`` for the control, then gene symbols or combinations ``"A+B"``, sorted.
        controls: the labels that count as control.
        notes: what was decided and left out, in words.
    """

    of_cell: Codes
    names: list[str]
    controls: tuple[str, ...]
    notes: list[str] = field(default_factory=list)

    def sizes(self) -> NDArray[np.int64]:
        """Cells of each name, shape (names,)."""
        return np.bincount(self.of_cell[self.of_cell >= 0], minlength=len(self.names))

    def keep(self, least: int) -> None:
        """Leave out perturbations of fewer than ``least`` cells.

        Raises:
            ModelFault: fewer control cells than that, or no perturbation is left.
        """
        sizes = self.sizes()
        if sizes[0] < least:
            raise ModelFault(
                f"{sizes[0]} control cells ({', '.join(self.controls)}) are fewer than "
                f"{least}; name further control labels with --control, or give a lower --min-cells"
            )
        kept = sizes >= least
        if few := [i for i in np.flatnonzero(~kept).tolist() if i]:
            shown = [f"{self.names[i]} ({sizes[i]})" for i in few]
            self.notes.append(
                f"{len(few):,} perturbations of fewer than {least} cells are left out: "
                f"{_some(shown)}"
            )
        if kept.sum() < 2:
            raise ModelFault(
                f"no perturbation has {least} cells or more: the largest of {len(sizes) - 1} has "
                f"{sizes[1:].max(initial=0)}; give a lower --min-cells, or another "
                "--perturbation-column"
            )
        self._renumber(kept)

    def _renumber(self, kept: NDArray[np.bool_]) -> None:
        place = np.where(kept, np.cumsum(kept) - 1, EXCLUDED).astype(np.int32)
        inside = self.of_cell >= 0
        self.of_cell[inside] = place[self.of_cell[inside]]
        self.names = [name for name, stays in zip(self.names, kept, strict=True) if stays]


def labels(
    obs: pd.DataFrame,
    genes: Collection[str],
    *,
    where: str,
    column: str | None,
    controls: Sequence[str],
    combinations: bool,
) -> Labels:
    """Read the perturbation of every cell.

    Args:
        obs: the table of cells.
        genes: names of the readouts, which tell a combination from a name with an underscore.
        where: what to call the table in messages.
        column: the column of perturbations; None: found by its name.
        controls: labels of control cells; none: found by their names.
        combinations: keep cells of several perturbed genes.

    Raises:
        ModelFault: no or several such columns, no or several control labels.
    """
    chosen = _column(obs, where, column, controls)
    codes, seen = _factorised(obs[chosen])
    counts = np.bincount(codes[codes >= 0], minlength=len(seen))
    control = _controls(f"{where}: column {chosen!r}", seen, counts, controls)
    found, notes = _named(codes, seen, control, genes, combinations)
    made = Labels(*found, tuple(seen[i] for i in sorted(control)))
    made.notes = [f"perturbations are those of obs column {chosen!r}", *notes]
    made.notes.insert(1, f"control: {', '.join(made.controls)} ({made.sizes()[0]:,} cells)")
    return made


def cell_lines(
    obs: pd.DataFrame, *, where: str, column: str | None, cell_line: str | None
) -> list[tuple[str, NDArray[np.bool_]]]:
    """Canonical cell lines and the cells of each.

    Args:
        obs: the table of cells.
        where: what to call the table in messages.
        column: the column of cell lines; None: found by its name.
        cell_line: of all cells, where there is no column; else the one to use.

    Raises:
        ModelFault: nothing says the cell line, or no cell is of the one asked for.
    """
    found = column or next((n for n in obs.columns if _plain(n) in CELL_LINE_COLUMNS), None)
    wanted = canonical_context(cell_line or "")
    if cell_line is not None and not wanted:
        raise ModelFault(f"--cell-line {cell_line!r} holds no Latin letter or digit")
    if column is not None and column not in obs.columns:
        raise ModelFault(f"{where} has no column {column!r}; {_columns(obs)}")
    if found is None or (column is None and wanted and not _holds(obs[found], wanted)):
        if not wanted:
            raise ModelFault(
                f"{where} has no column of cell lines ({', '.join(CELL_LINE_COLUMNS)}); give "
                f"--cell-line NAME, or --cell-line-column ({_columns(obs)})"
            )
        return [(wanted, np.ones(len(obs), np.bool_))]
    codes, seen = _factorised(obs[found])
    canonical = np.array([canonical_context(name) for name in seen], object)
    lines = sorted({name for name in canonical if name})
    if wanted and wanted not in lines:
        raise ModelFault(
            f"{where}: no cell has {found} = {cell_line!r}; its values: {', '.join(seen[:12])}"
        )
    if not lines:
        raise ModelFault(f"{where}: column {found!r} names no cell line")
    return [
        (name, np.isin(codes, np.flatnonzero(canonical == name)))
        for name in ([wanted] if wanted else lines)
    ]


def _holds(column: pd.Series[str], wanted: str) -> bool:
    return any(canonical_context(name) == wanted for name in _factorised(column)[1])


def _plain(name: object) -> str:
    return re.sub(r"[ .-]+", "_", str(name).strip().lower())


def _bare(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", label.lower())


def _factorised(column: pd.Series[str]) -> tuple[Codes, list[str]]:
    """Each cell's code into the distinct texts, −1 where there is none."""
    import pandas as pd

    codes, seen = pd.factorize(column, use_na_sentinel=True)
    texts = [str(x).strip() for x in seen]
    distinct = sorted({text for text in texts if text})
    row = {text: i for i, text in enumerate(distinct)}
    place = np.array([*(row.get(text, EXCLUDED) for text in texts), EXCLUDED], np.int32)
    return place[codes], distinct


def _column(obs: pd.DataFrame, where: str, column: str | None, controls: Sequence[str]) -> str:
    if column is not None:
        if column not in obs.columns:
            raise ModelFault(
                f"{where} has no column {column!r} for --perturbation-column; {_columns(obs)}"
            )
        return column
    named = [str(name) for name in obs.columns if _plain(name) in PERTURBATION_COLUMNS]
    if not named:
        raise ModelFault(
            f"{where} has no column of perturbations ({', '.join(PERTURBATION_COLUMNS)}); name it "
            f"with --perturbation-column ({_columns(obs)})"
        )
    able = [name for name in named if _has_control(_factorised(obs[name])[1], controls)]
    if len(found := able or named) > 1:
        shown = "; ".join(f"{name} ({_example(obs[name])})" for name in found)
        raise ModelFault(
            f"{where}: {len(found)} columns may name the perturbation: {shown}; choose with "
            "--perturbation-column"
        )
    return found[0]


def _has_control(seen: Sequence[str], controls: Sequence[str]) -> bool:
    return any(label in controls if controls else _means_control(label) for label in seen)


def _example(column: pd.Series[str]) -> str:
    seen = _factorised(column)[1]
    return f"{len(seen)} labels such as {_some(seen)}"


def _controls(
    where: str, seen: Sequence[str], counts: NDArray[np.int64], controls: Sequence[str]
) -> set[int]:
    """Codes of the labels that mean control."""
    most = np.argsort(-counts, kind="stable")[:12].tolist()
    listing = ", ".join(f"{seen[i]} ({counts[i]:,})" for i in most)
    listing += f" and {len(seen) - 12} more" if len(seen) > 12 else ""
    if controls:
        if missing := [label for label in controls if label not in seen]:
            raise ModelFault(
                f"{where}: no cell has the control label {missing[0]!r}; its labels and their "
                f"cells: {listing or 'none'}"
            )
        return {seen.index(label) for label in controls}
    found = [i for i, label in enumerate(seen) if _means_control(label)]
    if not found:
        raise ModelFault(
            f"{where}: no label means control (control, ctrl, non-targeting, NT, …); its labels "
            f"and their cells: {listing or 'none'}; name the control with --control"
        )
    if len(found) > 1:
        several = ", ".join(f"{seen[i]} ({counts[i]:,} cells)" for i in found)
        raise ModelFault(
            f"{where}: {len(found)} labels may mean control: {several}; choose with --control, "
            "which may be repeated"
        )
    return set(found)


def _named(
    codes: Codes, seen: Sequence[str], control: set[int], genes: Collection[str], keep: bool
) -> tuple[tuple[Codes, list[str]], list[str]]:
    """Codes of cells and names of perturbations, the control first; and notes."""
    silent = {seen[i] for i in control}
    singles = set(genes) | {label for label in seen if label not in silent and "_" not in label}
    named = [
        "" if i in control else "+".join(_parts(label, singles, silent))
        for i, label in enumerate(seen)
    ]
    several = [i for i, name in enumerate(named) if "+" in name]
    notes = []
    if unlabelled := int((codes < 0).sum()):
        notes.append(f"{unlabelled:,} cells without a label are left out")
    if several:
        cells = int(np.isin(codes, several).sum())
        shown = _some([named[i] for i in several])
        what = "kept as combinations" if keep else "left out"
        notes.append(f"{len(several):,} labels of several genes ({cells:,} cells) {what}: {shown}")
    dropped = set() if keep else set(several)
    names = ["", *sorted({n for i, n in enumerate(named) if n and i not in dropped})]
    row = {name: i for i, name in enumerate(names)}
    place = [EXCLUDED if i in dropped else row[name] for i, name in enumerate(named)]
    return (np.array([*place, EXCLUDED], np.int32)[codes], names), notes


def _parts(label: str, singles: Collection[str], silent: Collection[str]) -> list[str]:
    """The perturbed genes of a label, each once, sorted."""
    for mark in "+_":
        parts = [part.strip() for part in label.split(mark)]
        told = mark == "+" or all(p in singles or _is_control(p, silent) for p in parts)
        if len(parts) > 1 and all(parts) and told:
            return sorted({p for p in parts if not _is_control(p, silent)})
    return [label]


def _is_control(part: str, silent: Collection[str]) -> bool:
    return part in silent or _means_control(part)


def _means_control(label: str) -> bool:
    return all(_bare(part) in CONTROLS for part in label.split("+"))


def _columns(table: pd.DataFrame) -> str:
    return f"its columns: {', '.join(map(str, table.columns)) or 'none'}"


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:SHOWN]) + (", …" if len(listed) > SHOWN else "")
