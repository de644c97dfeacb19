"""The labelled pairs: whose perturbations are trained on, and whose are held out from everything.

Only rows of split train are read. A share of their perturbations is held out: neither the world
models nor any policy sees a row of those, so that what is measured there is honest. A pair without
a graph vector for both genes is left out, since neither policy nor verifier can read it.
"""

from __future__ import annotations

import csv
import hashlib
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worldmodels.core import ModelFault
from worldmodels.genes import GeneResolver
from worldmodels.graph import features, sources
from worldmodels.perturbation import tables

HELD_OUT: Final = 0.2
"""Share of perturbations."""
Pair = tuple[str, str, int]
"""Perturbation, readout, and whether it changed."""


@dataclass(frozen=True)
class Pairs:
    """What the run is about, and the vectors of every gene in it."""

    train: list[Pair]
    held_out: list[Pair]
    unread: int
    """How many rows are left out for want of a vector."""
    genes: list[str]
    vectors: NDArray[np.float32]
    """Shape (genes, width)."""


def find(data: Path, line: str, kind: str, out: Path) -> Path:
    """``LINE-KIND.csv`` in the folder or below it, what is below ``out`` apart.

    Raises:
        ModelFault: it is not there, or there are several.
    """
    every = sorted(data.resolve().rglob(f"{line}-{kind}.csv")) if data.is_dir() else []
    found = [path for path in every if not path.is_relative_to(out.resolve())]
    if len(found) != 1:
        what = f"{len(found)} of them" if found else "nothing of that name"
        raise ModelFault(f"--data {data}: wanted one {line}-{kind}.csv in it, found {what}")
    return found[0]


def digest(path: Path) -> str:
    """What tells one table from another."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def held_out(names: set[str], genes: GeneResolver, seed: int) -> set[str]:
    """Names of the perturbations to hold out; two names of one gene go together."""
    distinct = sorted({genes.canonical(name) for name in names})
    random.Random(seed).shuffle(distinct)
    out = set(distinct[: max(round(HELD_OUT * len(distinct)), 1)])
    return {name for name in names if genes.canonical(name) in out}


def prepare(data: Path, line: str, seed: int, out: Path) -> Pairs:
    """Read, split, and write the tables that the world models may learn from.

    Args:
        data: folder with the line's two tables and the graphs.
        line: cell line, by which the tables are called.
        seed: of the split and of the vectors.
        out: folder for ``LINE-de.csv`` and ``LINE-dir.csv`` without the held-out rows.

    Raises:
        ModelFault: a file is missing or malformed.
    """
    graphs = sources.find(data)
    names = graphs.gene_tables[:1]
    genes = GeneResolver.from_files(names) if names else GeneResolver.as_they_are()
    changes = tables.read([find(data, line, "de", out)])
    away = held_out(set(changes.perturbations), genes, seed)
    out.mkdir(parents=True, exist_ok=True)
    _write(out / f"{line}-de.csv", _pairs(changes), away)
    told = tables.read([find(data, line, "dir", out)], relation="perturbation.dir")
    _write(out / f"{line}-dir.csv", _pairs(told), away)
    return _readable(_pairs(changes), away, genes, graphs, seed)


def _pairs(table: tables.EffectTable) -> list[Pair]:
    return list(zip(table.perturbations, table.readouts, table.labels.tolist(), strict=True))


def _write(path: Path, pairs: list[Pair], away: set[str]) -> None:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("pert", "gene", "label", "split"))
        rows.writerows((a, b, label, "train") for a, b, label in pairs if a not in away)


def _readable(
    pairs: list[Pair],
    away: set[str],
    genes: GeneResolver,
    graphs: sources.Graphs,
    seed: int,
) -> Pairs:
    known = features.build(graphs, genes, seed)
    row = {name: number for number, name in enumerate(known.names)}
    named = {name: genes.canonical(name) for pair in pairs for name in pair[:2]}
    at = {name: row[gene] for name, gene in named.items() if gene in row}
    read = [pair for pair in pairs if pair[0] in at and pair[1] in at]
    used = sorted({name for pair in read for name in pair[:2]})
    return Pairs(
        train=[pair for pair in read if pair[0] not in away],
        held_out=[pair for pair in read if pair[0] in away],
        unread=len(pairs) - len(read),
        genes=used,
        vectors=known.vectors[[at[name] for name in used]],
    )
