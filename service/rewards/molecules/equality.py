"""Whether two molecules are one, by a stated policy.

``strict`` in all three: equal canonical isomeric SMILES (RDKit), fragments, charges, isotopes and
stereo included.

* ``stereo = "ignore"``: tetrahedral and double-bond stereo is taken away from both. Under
  ``strict`` a centre left open differs from one that is stated.
* ``tautomers = "ignore"``: equal standard InChI, which holds mobile hydrogens (amide and imidic
  acid, 2-pyridone and 2-hydroxypyridine, imidazole's two nitrogens) in one place; keto and enol
  stay apart. InChI is bounded where enumerating tautomers explodes. Where the answer or the truth
  is an InChI this holds in any case: it does not say which tautomer is meant.
* ``salts = "ignore"``: the parents are compared (``fragments``).

Source of the InChI: Heller et al., J. Cheminform. 2015, 7, 23.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from service.rewards.molecules import fragments
from service.rewards.molecules.reading import canonical, inchi

if TYPE_CHECKING:
    from rdkit.Chem import Mol

Policy = Literal["strict", "ignore"]


def identity(molecule: Mol, stereo: str, tautomers: str, salts: str) -> str:
    """A text that is the same for molecules that are one under the policy, and for no others.

    Raises:
        Unreadable: ``salts`` are to be ignored, and there are several molecules.
    """
    from rdkit import Chem

    if salts == "ignore":
        molecule = fragments.parent(molecule)
    if stereo == "ignore":
        molecule = Chem.Mol(molecule)
        Chem.RemoveStereochemistry(molecule)
    if tautomers == "ignore":
        made = inchi(molecule)
        if made:
            return made
    return canonical(molecule)
