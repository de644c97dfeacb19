"""How alike two molecules are, in [0,1]: the lesser of two Tanimoto coefficients.

Morgan environments of radius 2 (Rogers and Hahn, J. Chem. Inf. Model. 2010, 50, 742), chirality
included, not folded, so that no two environments collide:

* presence: shared environments / environments of either, the field's usual figure;
* counts: Σ min / Σ max of how often each occurs. By presence alone a chain of 20 carbons equals
  one of 60 (1.0); by counts they share a third.

Counts alone would let a long shared chain hide what differs, so that the lesser one is taken. 1
only for molecules of the same environments, equally often; not covered: molecules that differ
only farther than two bonds apart.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rdkit.Chem import Mol


def similarity(one: Mol, other: Mol) -> float:
    """The similarity; symmetric, 1 for a molecule with itself."""
    return _alike(_environments(one), _environments(other))


def _environments(molecule: Mol) -> dict[int, int]:
    counted: dict[int, int] = _generator().GetSparseCountFingerprint(molecule).GetNonzeroElements()
    return counted


def _alike(one: dict[int, int], other: dict[int, int]) -> float:
    both, either = one.keys() & other.keys(), one.keys() | other.keys()
    if not either:
        return 1.0
    least = sum(min(one[key], other[key]) for key in both)
    most = sum(max(one.get(key, 0), other.get(key, 0)) for key in either)
    return min(len(both) / len(either), least / most)


@functools.cache
def _generator() -> Any:
    from rdkit.Chem import rdFingerprintGenerator

    return rdFingerprintGenerator.GetMorganGenerator(radius=2, includeChirality=True)
