"""Descriptors of a molecule: what each is, its unit, its range and where it comes from.

========================== ======== ========== ===================================================
name                       unit     range      what, and source
========================== ======== ========== ===================================================
molecular_weight           Da       > 0        average mass, IUPAC atomic weights (RDKit MolWt)
exact_mass                 Da       > 0        monoisotopic mass (RDKit ExactMolWt)
logp                       –        real       octanol/water, Wildman and Crippen 1999
molar_refractivity         cm3/mol  real       Wildman and Crippen 1999
tpsa                       Å²       ≥ 0        topological polar surface area, N and O, Ertl 2000
labute_asa                 Å²       ≥ 0        approximate surface area, Labute 2000
qed                        –        (0, 1)     drug-likeness, mean weights, Bickerton et al. 2012
sa_score                   –        1 … 10     synthetic accessibility, Ertl and Schuffenhauer 2009
fraction_csp3              –        0 … 1      share of sp³ carbons, Lovering et al. 2009
hbd                        count    ≥ 0        hydrogen-bond donors (RDKit CalcNumHBD)
hba                        count    ≥ 0        hydrogen-bond acceptors (RDKit CalcNumHBA)
lipinski_hbd               count    ≥ 0        N–H and O–H, Lipinski et al. 1997
lipinski_hba               count    ≥ 0        N and O, Lipinski et al. 1997
rotatable_bonds            count    ≥ 0        RDKit's strict definition (no amides, no esters)
rings                      count    ≥ 0        smallest set of smallest rings
aromatic_rings             count    ≥ 0        of them, aromatic
aliphatic_rings            count    ≥ 0        of them, with a bond that is not aromatic
saturated_rings            count    ≥ 0        of them, with single bonds only
heterocycles               count    ≥ 0        of them, with an atom that is not carbon
aromatic_heterocycles      count    ≥ 0        both
spiro_atoms                count    ≥ 0        atoms that are all that two rings share
bridgehead_atoms           count    ≥ 0        ends of bridges between rings
largest_ring               atoms    0, ≥ 3     0 without rings
heavy_atoms                count    ≥ 0        atoms but hydrogen
atoms                      count    ≥ 1        with hydrogens
heteroatoms                count    ≥ 0        neither carbon nor hydrogen
carbons, nitrogens,        count    ≥ 0        atoms of the element
oxygens, sulfurs, halogens
amide_bonds                count    ≥ 0        RDKit CalcNumAmideBonds
stereocentres              count    ≥ 0        tetrahedral ones, stated or not
unspecified_stereocentres  count    ≥ 0        of them, not stated
formal_charge              e        integer    sum over atoms
radical_electrons          count    ≥ 0        sum over atoms
valence_electrons          count    ≥ 0        sum over atoms
========================== ======== ========== ===================================================

Counts are exact; the others carry a tolerance, used where a task or profile names none. SA score
needs the fragment table that RDKit ships in ``rdkit.Contrib`` (a second or two to load, once).
Not covered: measured properties (solubility, pKa, toxicity), which no formula gives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from rdkit.Chem import Mol


class Descriptor(NamedTuple):
    """One row of the table."""

    unit: str
    tolerance: float | None
    """Absolute, in the unit; None: a count, exact."""
    compute: Callable[[Mol], float]


def _mol_descriptors(name: str) -> Callable[[Mol], float]:
    def compute(molecule: Mol) -> float:
        from rdkit.Chem import rdMolDescriptors

        return float(getattr(rdMolDescriptors, name)(molecule))

    return compute


def _descriptors(name: str) -> Callable[[Mol], float]:
    def compute(molecule: Mol) -> float:
        from rdkit.Chem import Descriptors

        return float(getattr(Descriptors, name)(molecule))

    return compute


def _elements(*numbers: int) -> Callable[[Mol], float]:
    def compute(molecule: Mol) -> float:
        return float(sum(atom.GetAtomicNum() in numbers for atom in molecule.GetAtoms()))

    return compute


def _sa_score(molecule: Mol) -> float:
    from service.rewards.molecules.accessibility import accessibility

    return accessibility(molecule)


def _qed(molecule: Mol) -> float:
    from rdkit.Chem import QED

    return float(QED.qed(molecule))


def _largest_ring(molecule: Mol) -> float:
    return float(max((len(ring) for ring in molecule.GetRingInfo().AtomRings()), default=0))


def _atoms(molecule: Mol) -> float:
    return float(molecule.GetNumAtoms(onlyExplicit=False))


def _formal_charge(molecule: Mol) -> float:
    from rdkit import Chem

    return float(Chem.GetFormalCharge(molecule))


DESCRIPTORS: Final[dict[str, Descriptor]] = {
    "molecular_weight": Descriptor("Da", 0.1, _descriptors("MolWt")),
    "exact_mass": Descriptor("Da", 0.01, _descriptors("ExactMolWt")),
    "logp": Descriptor("", 0.1, _descriptors("MolLogP")),
    "molar_refractivity": Descriptor("cm3/mol", 0.5, _descriptors("MolMR")),
    "tpsa": Descriptor("Å²", 0.5, _mol_descriptors("CalcTPSA")),
    "labute_asa": Descriptor("Å²", 0.5, _mol_descriptors("CalcLabuteASA")),
    "qed": Descriptor("", 0.01, _qed),
    "sa_score": Descriptor("", 0.1, _sa_score),
    "fraction_csp3": Descriptor("", 0.01, _mol_descriptors("CalcFractionCSP3")),
    "hbd": Descriptor("", None, _mol_descriptors("CalcNumHBD")),
    "hba": Descriptor("", None, _mol_descriptors("CalcNumHBA")),
    "lipinski_hbd": Descriptor("", None, _mol_descriptors("CalcNumLipinskiHBD")),
    "lipinski_hba": Descriptor("", None, _mol_descriptors("CalcNumLipinskiHBA")),
    "rotatable_bonds": Descriptor("", None, _mol_descriptors("CalcNumRotatableBonds")),
    "rings": Descriptor("", None, _mol_descriptors("CalcNumRings")),
    "aromatic_rings": Descriptor("", None, _mol_descriptors("CalcNumAromaticRings")),
    "aliphatic_rings": Descriptor("", None, _mol_descriptors("CalcNumAliphaticRings")),
    "saturated_rings": Descriptor("", None, _mol_descriptors("CalcNumSaturatedRings")),
    "heterocycles": Descriptor("", None, _mol_descriptors("CalcNumHeterocycles")),
    "aromatic_heterocycles": Descriptor("", None, _mol_descriptors("CalcNumAromaticHeterocycles")),
    "spiro_atoms": Descriptor("", None, _mol_descriptors("CalcNumSpiroAtoms")),
    "bridgehead_atoms": Descriptor("", None, _mol_descriptors("CalcNumBridgeheadAtoms")),
    "largest_ring": Descriptor("", None, _largest_ring),
    "heavy_atoms": Descriptor("", None, _mol_descriptors("CalcNumHeavyAtoms")),
    "atoms": Descriptor("", None, _atoms),
    "heteroatoms": Descriptor("", None, _mol_descriptors("CalcNumHeteroatoms")),
    "carbons": Descriptor("", None, _elements(6)),
    "nitrogens": Descriptor("", None, _elements(7)),
    "oxygens": Descriptor("", None, _elements(8)),
    "sulfurs": Descriptor("", None, _elements(16)),
    "halogens": Descriptor("", None, _elements(9, 17, 35, 53, 85)),
    "amide_bonds": Descriptor("", None, _mol_descriptors("CalcNumAmideBonds")),
    "stereocentres": Descriptor("", None, _mol_descriptors("CalcNumAtomStereoCenters")),
    "unspecified_stereocentres": Descriptor(
        "", None, _mol_descriptors("CalcNumUnspecifiedAtomStereoCenters")
    ),
    "formal_charge": Descriptor("", None, _formal_charge),
    "radical_electrons": Descriptor("", None, _descriptors("NumRadicalElectrons")),
    "valence_electrons": Descriptor("", None, _descriptors("NumValenceElectrons")),
}


def describe(molecule: Mol, name: str) -> float:
    """The descriptor's value, in its unit.

    Raises:
        KeyError: no such descriptor.
    """
    return DESCRIPTORS[name].compute(molecule)
