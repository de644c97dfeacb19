"""What speaks against a molecule that a policy designed: a guard, not an oracle of stability.

Constraints leave room for things that no chemist would make: chains of nitrogen that raise the
count of donors, heavy isotopes that raise the mass, fused three-rings. Each rule below is a
complaint with a name; a designed molecule must draw none. A molecule of the task (a reference, a
scaffold) may draw complaints itself: these are not held against the answer.

The rules were chosen so that approved drugs and common reagents pass (the tests list them), after
the functional-group filters of Walters, Stahl and Murcko (Drug Discovery Today 1998, 3, 160) and
Bredt's rule for rings below eight atoms (Fawcett, Chem. Rev. 1950, 47, 219). Not covered:
tautomers, reactivity in water, synthesis, toxicity. A salt is judged by its parent.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rdkit.Chem import Mol

ELEMENTS: Final = frozenset((5, 6, 7, 8, 9, 14, 15, 16, 17, 34, 35, 53))
"""B C N O F Si P S Cl Se Br I."""
MAX_CHARGE: Final = 2
MAX_CHARGED_ATOMS: Final = 4
"""Charges that no neighbour balances; a nitro group has none."""
MAX_RING_COUNT: Final = 12
MAX_RING_SIZE: Final = 30
LEAST_CARBON_SHARE: Final = 0.2
"""Of heavy atoms: urea has a quarter, tetrachloromethane a fifth."""

ALERTS: Final[dict[str, tuple[str, int]]] = {
    # name: (SMARTS, matches that are still allowed)
    "three nitrogens in a single-bonded chain": ("[#7;!a]-[#7;!a]-[#7;!a]", 0),
    "a chain of four nitrogens": ("[#7;!a]~[#7;!a]~[#7;!a]~[#7;!a]", 0),
    "a ring or chain of five nitrogens": ("[#7]~[#7]~[#7]~[#7]~[#7]", 0),
    "several azides": ("[#7]~[#7]~[NX1]", 1),
    "several hydrazines": ("[NX3;!a]-[NX3;!a]", 2),
    "three oxygens in a row": ("[#8]~[#8]~[#8]", 0),
    "several peroxides": ("[#8]-[#8]", 1),
    "oxygen between nitrogens": ("[#7;!a]-[#8;!a]-[#7;!a]", 0),
    "nitrogen on peroxide": ("[#7]-[#8]-[#8]", 0),
    "halogen on nitrogen, oxygen or halogen": (
        "[F,Cl,Br,I;X1]~[#7,#8,F,Cl,Br,I]", 0,
    ),
    "halogen of high valence": ("[F,Cl,Br,I;!X1;!X0]", 0),
    "four sulfurs or seleniums in a row": ("[#16,#34]~[#16,#34]~[#16,#34]~[#16,#34]", 0),
    "a carbon cation or anion that no neighbour balances": (
        "[C;+1,-1;!$([C-]~[N+,O+,P+,S+]);!$([C+]~[O-,N-])]", 0,
    ),
    "five or six bonds of sulfur or phosphorus to carbon": (
        "[$([SX5,SX6]([#6])([#6])[#6]),$([PX5]([CX4])([CX4])([CX4])[CX4])]", 0,
    ),
    "three oxygens, nitrogens or both in a row of a ring": (
        "[#7,#8;!a;R]~[#7,#8;!a;R]~[#7,#8;!a;R]", 0,
    ),
    "three phosphorus, silicon or boron atoms in a row": (
        "[#15,#14,#5]~[#15,#14,#5]~[#15,#14,#5]", 0,
    ),
    "three hydroxyls or amines with hydrogen on one carbon": (
        "[CX4]([OX2H,NX3;!H0])([OX2H,NX3;!H0])[OX2H,NX3;!H0]", 0,
    ),
    "several geminal diols or diamines": ("[CX4]([OX2H,NX3H2])[OX2H,NX3H2]", 1),
    "hydroxyl or amine with hydrogen beside a halogen on one carbon": (
        "[CX4]([OX2H,$([NX3;!H0]);!$(N[#6,#16]=[O,S,N])])[F,Cl,Br,I]", 0,
    ),
    "cumulene": ("[#6]=[#6]=[#6]=[*]", 0),
    "three conjugated triple bonds": ("[CX2]#[CX2][CX2]#[CX2][CX2]#[CX2]", 0),
    "triple or cumulated bonds in a small ring": (
        "[r3,r4,r5,r6,r7]#[r3,r4,r5,r6,r7]", 0,
    ),
    "allene in a small ring": ("[r3,r4,r5,r6,r7]=@[r3,r4,r5,r6,r7;X2]=@[r3,r4,r5,r6,r7]", 0),
    "cyclobutadiene": ("[#6]1=,:[#6][#6]=,:[#6]1", 0),
    "three-rings that share a bond": ("[r3]1~[r3]2~[r3]~1~[r3]~2", 0),
    "a chain of more than 20 methylenes": ("-".join(["[CX4H2;!R]"] * 21), 0),
    "many nitro groups": ("[NX3+](=O)[O-]", 3),
}  # fmt: skip


def complaints(molecule: Mol) -> frozenset[str]:
    """The names of the rules that the molecule breaks."""
    return frozenset(name for name, breaks in _RULES.items() if breaks(molecule))


def _alerted(name: str) -> Callable[[Mol], bool]:
    smarts, allowed = ALERTS[name]

    def breaks(molecule: Mol) -> bool:
        found = molecule.GetSubstructMatches(_pattern(smarts), maxMatches=allowed + 1)
        return bool(len(found) > allowed)

    return breaks


@functools.lru_cache(maxsize=64)
def _pattern(smarts: str) -> Mol:
    from rdkit import Chem

    return Chem.MolFromSmarts(smarts)


def _strange_elements(molecule: Mol) -> bool:
    return any(atom.GetAtomicNum() not in ELEMENTS for atom in molecule.GetAtoms())


def _hardly_carbon(molecule: Mol) -> bool:
    atoms = molecule.GetNumAtoms()
    carbons = sum(atom.GetAtomicNum() == 6 for atom in molecule.GetAtoms())
    return bool(carbons < 1 or carbons < LEAST_CARBON_SHARE * atoms)


def _isotopes(molecule: Mol) -> bool:
    return any(atom.GetIsotope() for atom in molecule.GetAtoms())


def _radicals(molecule: Mol) -> bool:
    return any(atom.GetNumRadicalElectrons() for atom in molecule.GetAtoms())


def _charges(molecule: Mol) -> bool:
    charged = {atom.GetIdx(): atom.GetFormalCharge() for atom in molecule.GetAtoms()}
    charged = {at: charge for at, charge in charged.items() if charge}
    if abs(sum(charged.values())) > MAX_CHARGE or any(abs(one) > 1 for one in charged.values()):
        return True
    balanced = {
        atom.GetIdx()
        for bond in molecule.GetBonds()
        for atom in (bond.GetBeginAtom(), bond.GetEndAtom())
        if bond.GetBeginAtom().GetFormalCharge() * bond.GetEndAtom().GetFormalCharge() < 0
    }
    return len(charged.keys() - balanced) > MAX_CHARGED_ATOMS


def _ring_sizes(molecule: Mol) -> bool:
    rings = molecule.GetRingInfo().AtomRings()
    return len(rings) > MAX_RING_COUNT or any(len(ring) > MAX_RING_SIZE for ring in rings)


def _piled_rings(molecule: Mol) -> bool:
    """An atom in six rings or more of fewer than eight atoms; artemisinin has one in five."""
    small = (set(ring) for ring in molecule.GetRingInfo().AtomRings() if len(ring) < 8)
    counted = Counter(at for ring in small for at in ring)
    return any(times > 5 for times in counted.values())


def _bredt(molecule: Mol) -> bool:
    """A double bond at the head of a bridge between two rings of fewer than eight atoms."""
    rings = [set(ring) for ring in molecule.GetRingInfo().AtomRings() if len(ring) < 8]
    heads: set[int] = set()
    for index, ring in enumerate(rings):
        for other in rings[:index]:
            shared = ring & other
            if len(shared) > 2:
                heads |= _ends(molecule, shared)
    double = (bond for bond in molecule.GetBonds() if bond.GetBondTypeAsDouble() in (1.5, 2.0))
    return any(
        bond.IsInRing() and (bond.GetBeginAtomIdx() in heads or bond.GetEndAtomIdx() in heads)
        for bond in double
    )


def _ends(molecule: Mol, shared: set[int]) -> set[int]:
    """Of a path of atoms that two rings share: its two ends, the bridgeheads."""
    return {
        at
        for at in shared
        if sum(one.GetIdx() in shared for one in molecule.GetAtomWithIdx(at).GetNeighbors()) < 2
    }


_RULES: Final[dict[str, Callable[[Mol], bool]]] = {
    "an element that designed molecules do not have": _strange_elements,
    "hardly any carbon": _hardly_carbon,
    "isotopes": _isotopes,
    "unpaired electrons": _radicals,
    "too many charges": _charges,
    "too many rings, or too large ones": _ring_sizes,
    "an atom in six small rings": _piled_rings,
    "a double bond at a bridgehead": _bredt,
    **{name: _alerted(name) for name in ALERTS},
}
