"""Salts: which parts of a molecule are counter-ions, and what is left without them.

A closed table of the counter-ions, acids and solvents that drugs are sold with (after the lists
of pharmaceutical salts in Stahl and Wermuth, Handbook of Pharmaceutical Salts, 2002). Only these
are taken away, and at most ``MAX_COUNTER_IONS`` of them: any other second fragment is a second
molecule. What is left is neutralised (RDKit's ``Uncharger``), so that a salt and its free base
have one parent. A table, and not "the largest fragment", so that a policy cannot append what it
likes: the parent of ``drug.Cl`` is the drug's, and ``drug.CCCCCC`` has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from service.rewards.molecules import Unreadable

if TYPE_CHECKING:
    from rdkit.Chem import Mol

MAX_COUNTER_IONS: Final = 4
_CANONICAL: Final = (
    "[Li+] [Na+] [K+] [Mg+2] [Ca+2] [Zn+2] [Al+3] F Cl Br I [F-] [Cl-] [Br-] [I-] [NH4+] N O "
    "O=S(=O)(O)O O=[N+]([O-])O O=P(O)(O)O [O-][Cl+3]([O-])([O-])O CS(=O)(=O)O CC(=O)O O=CO "
    "O=C(O)C(F)(F)F O=C(O)C(=O)O O=C(O)CC(=O)O O=C(O)CCC(=O)O O=C(O)C=CC(=O)O "
    "O=C(O)C(O)C(O)C(=O)O CC(O)C(=O)O O=C(O)CC(O)C(=O)O O=C(O)CC(O)(CC(=O)O)C(=O)O "
    "Cc1ccc(S(=O)(=O)O)cc1 O=S(=O)(O)c1ccccc1 O=C(O)c1ccccc1 F[B-](F)(F)F F[P-](F)(F)(F)(F)F"
)
COUNTER_IONS: Final = frozenset(_CANONICAL.split())
"""Canonical SMILES without stereo, of the neutral form where there is one."""


def count(molecule: Mol) -> int:
    """Fragments: sets of atoms that no bond joins."""
    from rdkit import Chem

    return len(Chem.GetMolFrags(molecule))


def parent(molecule: Mol) -> Mol:
    """The one fragment that is no counter-ion, neutralised.

    Raises:
        Unreadable: several such fragments, or too many counter-ions.
    """
    from rdkit.Chem.MolStandardize import rdMolStandardize

    return rdMolStandardize.Uncharger().uncharge(bare(molecule))


def bare(molecule: Mol) -> Mol:
    """The one fragment that is no counter-ion; what consists of counter-ions only, as it stands.

    Raises:
        Unreadable: as ``parent``.
    """
    from rdkit import Chem

    pieces = Chem.GetMolFrags(molecule, asMols=True)
    if len(pieces) == 1:
        return molecule
    if len(pieces) > MAX_COUNTER_IONS + 1:
        raise Unreadable(f"{len(pieces)} fragments: more than a salt has")
    left = [piece for piece in pieces if not _counter_ion(piece)]
    if len(left) > 1:
        raise Unreadable("several molecules, and not one with counter-ions")
    return left[0] if left else molecule


def _counter_ion(piece: Mol) -> bool:
    from rdkit import Chem
    from rdkit.Chem.MolStandardize import rdMolStandardize

    neutral = rdMolStandardize.Uncharger().uncharge(piece)
    forms = (Chem.MolToSmiles(form, isomericSmiles=False) for form in (piece, neutral))
    return any(form in COUNTER_IONS for form in forms)
