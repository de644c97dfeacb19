"""Vectors for genes from the graphs they sit in, by truncated SVD.

STRING: the adjacency matrix, normalised by degree (D^-½ A D^-½). Reactome and GO: the gene × set
membership matrix, each set weighted by log(genes / size) as in latent semantic analysis (Deerwester
et al. 1990). Of each block only a gene's direction is kept: its length says how well studied the
gene is. A gene that one source lacks has zeros there; a gene that all lack has no vector. Limits:
symbols only; no edge types, no directions of edges.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from worldmodels.core import ModelFault
from worldmodels.embeddings import Embeddings
from worldmodels.genes import GeneResolver
from worldmodels.graph import sources
from worldmodels.graph.sources import Graphs, Memberships, Network

WIDTHS: Final = {"STRING": 64, "Reactome": 32, "GO": 32}
"""Dimensions of each source's block."""
NOISE: Final = 1e-6
"""A gene whose row is this much shorter than the others' is outside the leading components."""

Matrix = NDArray[np.float32]
Block = tuple[list[str], Matrix]
Say = Callable[[str], None]


def build(graphs: Graphs, genes: GeneResolver, seed: int, say: Say = lambda _: None) -> Embeddings:
    """One vector per gene, the blocks of all sources that were found side by side.

    Args:
        graphs: what ``sources.find`` found.
        genes: resolves the sources' spellings to one symbol each.
        seed: of the randomised SVD; the same seed gives the same vectors.
        say: told what is used, a line each.
    """
    blocks: dict[str, Block] = {}
    if graphs.string:
        path = graphs.string[0]
        network = sources.read_string(path, next(iter(graphs.string_info), None))
        blocks["STRING"] = _network_block(network, genes, WIDTHS["STRING"], seed)
        say(f"STRING: {len(network.a):,} edges of {path.name}")
    for name, paths in (("Reactome", graphs.reactome[:1]), ("GO", annotation_files(graphs.go))):
        if paths:
            memberships = read_sets(paths)
            blocks[name] = _set_block(memberships, genes, WIDTHS[name], seed)
            used = ", ".join(path.name for path in paths)
            say(f"{name}: {len(set(memberships.sets)):,} gene sets of {used}")
    return _side_by_side(blocks)


def annotation_files(paths: list[Path]) -> list[Path]:
    """One annotation file holds all aspects; gmt files hold one each, so all of them count."""
    kinds = [sources.kind_of(path) for path in paths]
    return [paths[kinds.index("gaf")]] if "gaf" in kinds else paths


def read_sets(paths: list[Path]) -> Memberships:
    """Gene sets of one or several gmt or annotation files, side by side."""
    parts = [
        sources.read_gaf(path) if sources.kind_of(path) == "gaf" else sources.read_gmt(path)
        for path in paths
    ]
    return Memberships(
        [gene for part in parts for gene in part.genes],
        [name for part in parts for name in part.sets],
    )


def _network_block(network: Network, genes: GeneResolver, width: int, seed: int) -> Block:
    from scipy import sparse

    names, codes = _index([genes.canonical(name) for name in (*network.a, *network.b)])
    a, b = np.split(codes, 2)
    edges = sparse.coo_matrix((network.weight, (a, b)), shape=(len(names), len(names))).tocsr()
    edges = edges.maximum(edges.T)  # files list an edge once or in both directions
    edges.setdiag(0)
    degree = np.asarray(edges.sum(axis=1)).ravel()
    scale = sparse.diags(1 / np.sqrt(np.maximum(degree, 1e-12)))
    return names, _svd(scale @ edges @ scale, width, seed)


def _set_block(memberships: Memberships, genes: GeneResolver, width: int, seed: int) -> Block:
    from scipy import sparse

    names, rows = _index([genes.canonical(name) for name in memberships.genes])
    sets, columns = _index(memberships.sets)
    shape = (len(names), len(sets))
    member = sparse.coo_matrix((np.ones(len(rows)), (rows, columns)), shape=shape).tocsr()
    member.data[:] = 1  # a gene listed twice in a set is in it once
    sizes = np.asarray(member.sum(axis=0)).ravel()
    weighted = member @ sparse.diags(np.log1p(len(names) / sizes))
    length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    return names, _svd(sparse.diags(1 / length) @ weighted, width, seed)


def _index(names: list[str]) -> tuple[list[str], NDArray[np.intp]]:
    distinct, codes = np.unique(np.array(names, dtype=object), return_inverse=True)
    return distinct.tolist(), codes.astype(np.intp)


def _svd(matrix: Any, width: int, seed: int) -> Matrix:
    """U·√S of the leading components, signs fixed, each gene's row of length √width."""
    from sklearn.utils.extmath import randomized_svd
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    if min(matrix.shape) <= width:
        raise ModelFault(
            f"a graph of {matrix.shape[0]} genes by {matrix.shape[1]} columns is too small for "
            f"{width} dimensions; bring the whole file"
        )
    with threadpool_limits(limits=1):  # sums must not depend on the number of cores
        u, s, _ = randomized_svd(matrix, width, n_iter=5, random_state=seed, flip_sign=False)
    peak = u[np.abs(u).argmax(axis=0), np.arange(width)]
    block = u * np.sqrt(s) * np.where(peak < 0, -1.0, 1.0)
    length = np.linalg.norm(block, axis=1, keepdims=True)
    real = length > NOISE * np.sqrt(np.mean(length**2))  # else rounding errors would be blown up
    return np.asarray(
        np.where(real, block / np.maximum(length, 1e-300), 0) * width**0.5, np.float32
    )


def _side_by_side(blocks: dict[str, Block]) -> Embeddings:
    names = sorted(set().union(*(block_names for block_names, _ in blocks.values())))
    row = {name: i for i, name in enumerate(names)}
    parts = []
    for block_names, block in blocks.values():
        part = np.zeros((len(names), block.shape[1]), np.float32)
        part[[row[name] for name in block_names]] = block
        parts.append(part)
    table = np.concatenate(parts, axis=1)
    known = np.flatnonzero(table.any(axis=1))
    return Embeddings([names[int(i)] for i in known], table[known], " + ".join(blocks))
