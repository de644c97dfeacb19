"""Dot products of stored factors, gathered pair by pair, on the CPU or an accelerator.

On the CPU torch gathers and widens rows of mapped float16, and each product is summed by numpy in
one fixed order per row (no BLAS), so that a pair is the same to the last bit alone and in any
batch. Chunks stay below the size from which torch starts threads: with two of them on a small
machine such short work becomes several times slower. An accelerator's order of summation is not
ours to fix; there the sum is in double precision, and what order leaves, about 1e-15, is rounded
away at six decimals. torch is imported here, when a model is loaded.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from worldmodels.core import Floats, ModelFault
from worldmodels.perturbation.screen_factors import Half, Relation

if TYPE_CHECKING:
    import torch

Rows = NDArray[np.int32]
GRAIN: Final = 32_767
"""Most elements of one operation that torch leaves to one thread (its GRAIN_SIZE is 32,768)."""
ON_DEVICE: Final = 1 << 17
"""Pairs in one call of an accelerator."""


@dataclass(frozen=True, slots=True)
class Products:
    """Scores of every family, of at most ``chunk`` pairs at a time."""

    chunk: int
    of: Callable[[int, Rows, Rows], Floats]

    def __call__(self, line: int, a: Rows, b: Rows) -> Floats:
        """Shape (families, n) of pairs (a, b), each of shape (n,), in one line."""
        return self.of(line, a, b)


def products(relation: Relation, device: str) -> Products:
    """A relation's factors on a device.

    Raises:
        ModelFault: no such device here.
    """
    lines = len(relation.heads)
    families = list(relation.families.values())
    try:
        tables = [
            zip(
                _tensors(f.subjects, lines, device), _tensors(f.objects, lines, device), strict=True
            )
            for f in families
        ]
    except (RuntimeError, AssertionError) as error:
        raise ModelFault(
            f"device {device!r} cannot be used ({error}); serve on cpu, or install torch for it"
        ) from error
    by_line = list(zip(*tables, strict=True))
    if device == "cpu":
        widest = max(f.subjects.shape[2] for f in families)
        return Products(max(GRAIN // widest, 1), _on_cpu(by_line))
    return Products(ON_DEVICE, _on_device(by_line, device))


Pairs = list[tuple[tuple["torch.Tensor", "torch.Tensor"], ...]]
"""By line and family: the factors of subjects and of objects, each of shape (rows, k)."""


def _tensors(factors: Half, lines: int, device: str) -> list[torch.Tensor]:
    """One table for each line; lines that share factors share the table."""
    import torch

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        tables = [torch.from_numpy(table).to(device) for table in factors]
    return tables if len(tables) > 1 else tables * lines


def _on_cpu(pairs: Pairs) -> Callable[[int, Rows, Rows], Floats]:
    import torch

    def scores(line: int, a: Rows, b: Rows) -> Floats:
        at_a, at_b = torch.from_numpy(a), torch.from_numpy(b)
        found = np.empty((len(pairs[line]), len(a)))
        for score, (subjects, objects) in zip(found, pairs[line], strict=True):
            x = subjects.index_select(0, at_a).float().numpy()
            y = objects.index_select(0, at_b).float().numpy()
            score[:] = np.einsum("ij,ij->i", x, y)
        return found

    return scores


def _on_device(pairs: Pairs, device: str) -> Callable[[int, Rows, Rows], Floats]:
    import torch

    def scores(line: int, a: Rows, b: Rows) -> Floats:
        with torch.inference_mode():
            at_a, at_b = (torch.from_numpy(codes).to(device) for codes in (a, b))
            sums = [
                (subjects.index_select(0, at_a).double() * objects.index_select(0, at_b)).sum(1)
                for subjects, objects in pairs[line]
            ]
            return np.asarray(torch.stack(sums).cpu().numpy(), np.float64)

    return scores
