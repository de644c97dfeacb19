"""A small generated world with planted effects: screens of PerturbQA's schema, and their graphs.

Genes belong to modules that the graphs show; a module's perturbation drives programs of readouts,
up or down, alike in all lines but for a part of its own in each. On top every readout has its own
base rate and every perturbation its own strength. Rows are drawn from the true probabilities, which
are kept, so that a test can ask how near a method comes. The same arguments give the same files.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worldmodels.calibration import sigmoid

Floats = NDArray[np.float64]
LINES = ("k562", "rpe1", "hepg2")


@dataclass(frozen=True)
class World:
    """What was planted, and where its files are."""

    perturbqa: Path
    graphs: Path
    lines: tuple[str, ...]
    perturbations: tuple[str, ...]
    readouts: tuple[str, ...]
    de: Floats
    """True probability of a change, shape (lines, perturbations, readouts)."""
    up: Floats
    """True probability of a rise, given a change; the same shape."""
    train: NDArray[np.bool_]
    """Shape (lines, perturbations): whose rows are of split train; the others' are of split test,
    if they are written."""


def world(
    folder: Path,
    *,
    lines: tuple[str, ...] = LINES,
    perturbations: int = 120,
    readouts: int = 90,
    modules: int = 8,
    with_test: bool = False,
    seed: int = 0,
) -> World:
    """Write ``folder/perturbqa`` and ``folder/graphs``.

    Args:
        folder: where.
        lines: cell lines; the last is as much like the others as any.
        perturbations: perturbed genes, ``P0``, ``P1`` …; a quarter of each line is held out.
        readouts: measured genes, ``R0``, ``R1`` ….
        modules: of perturbations, and programs of readouts.
        with_test: write the held-out perturbations' rows too, as split test.
        seed: of everything.
    """
    rng = np.random.default_rng(seed)
    of_gene = np.arange(perturbations) % modules
    of_readout = np.arange(readouts) % modules
    effect = _effects(rng, len(lines), modules)[:, of_gene][:, :, of_readout]
    effect *= rng.uniform(0.6, 1.4, (1, perturbations, 1))
    base = rng.normal(-2.6, 0.8, (1, 1, readouts))
    de = sigmoid(base + 4.0 * np.abs(effect))
    up = sigmoid(4.0 * effect)
    held = np.stack([rng.permutation(perturbations) < perturbations // 4 for _ in lines])
    made = World(
        folder / "perturbqa",
        folder / "graphs",
        lines,
        tuple(f"P{i}" for i in range(perturbations)),
        tuple(f"R{i}" for i in range(readouts)),
        de,
        up,
        ~held,
    )
    _write_screens(made, rng, with_test)
    _write_graphs(made, of_gene, of_readout, rng)
    return made


def _effects(rng: np.random.Generator, lines: int, modules: int) -> Floats:
    """Module → program, signed; a quarter of the pairs are driven, half as much again per line."""
    shared = rng.normal(size=(modules, modules)) * (rng.random((modules, modules)) < 0.25)
    own = rng.normal(size=(lines, modules, modules)) * (rng.random((lines, modules, modules)) < 0.1)
    return np.asarray(shared[None] + own)


def _write_screens(made: World, rng: np.random.Generator, with_test: bool) -> None:
    """Of each perturbation at most 12 changes, and 28 readouts that did not change."""
    made.perturbqa.mkdir(parents=True)
    for line, name in enumerate(made.lines):
        de, told = ["pert,gene,label,split"], ["pert,gene,label,split"]
        for i, perturbation in enumerate(made.perturbations):
            changed = rng.random(len(made.readouts)) < made.de[line, i]
            rises = rng.random(len(made.readouts)) < made.up[line, i]
            split = "train" if made.train[line, i] else "test"
            yes, no = (
                rng.permutation(np.flatnonzero(rows))[:most]
                for rows, most in ((changed, 12), (~changed, 28))
            )
            if split == "test" and not with_test:
                continue
            for label, rows in ((1, yes), (0, no)):
                de += [f"{perturbation},{made.readouts[j]},{label},{split}" for j in sorted(rows)]
            told += [
                f"{perturbation},{made.readouts[j]},{int(rises[j])},{split}" for j in sorted(yes)
            ]
        (made.perturbqa / f"{name}-de.csv").write_text("\n".join(de) + "\n")
        (made.perturbqa / f"{name}-dir.csv").write_text("\n".join(told) + "\n")


def _write_graphs(
    made: World, of_gene: NDArray[np.intp], of_readout: NDArray[np.intp], rng: np.random.Generator
) -> None:
    """Modules as STRING neighbourhoods, Reactome pathways and GO terms, with noise in each."""
    names = np.array([*made.perturbations, *made.readouts])
    module = np.concatenate([of_gene, of_readout + of_gene.max() + 1])
    made.graphs.mkdir(parents=True)
    links = ["protein1 protein2 combined_score"]
    for a in range(len(names)):
        near = np.flatnonzero((module == module[a]) & (np.arange(len(names)) != a))
        ends = [*rng.choice(near, min(5, len(near)), replace=False), *rng.choice(len(names), 1)]
        links += [f"9606.{names[a]} 9606.{names[b]} {rng.integers(400, 1000)}" for b in ends]
    info = ["#string_protein_id\tpreferred_name\tprotein_size\tannotation"]
    info += [f"9606.{name}\t{name}\t100\tgenerated" for name in names]
    for file, lines in (("links", links), ("info", info)):
        data = gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0)
        (made.graphs / f"9606.protein.{file}.v12.0.txt.gz").write_bytes(data)
    for file, of, mark in (
        ("ReactomePathways.gmt", "pathway {}\tR-HSA-{}", ""),
        ("GO_Biological_Process_2021.gmt", "term {} (GO:{:07d})\t", ",1.0"),
    ):
        sets = []
        for number in range(4 * (int(module.max()) + 1)):
            inside = np.flatnonzero(module == number % (int(module.max()) + 1))
            members = {
                *rng.choice(inside, max(len(inside) * 2 // 3, 2), replace=False).tolist(),
                *rng.choice(len(names), 2).tolist(),
            }
            genes = "\t".join(f"{names[i]}{mark}" for i in sorted(members))
            sets.append(f"{of.format(number, number)}\t{genes}")
        (made.graphs / file).write_text("\n".join(sets) + "\n")
    table = ["Symbol\tApproved.Symbol"]
    table += [f"{spelt}\t{name}" for name in names for spelt in (name, f"OLD{name}")]
    (made.graphs / "hgnc_symbol_map.tsv").write_text("\n".join(table) + "\n")
