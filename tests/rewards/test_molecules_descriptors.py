"""Descriptors against RDKit itself and against published values."""

from __future__ import annotations

import math

import pytest

from molecules import ASPIRIN, DRUGS
from service.rewards.molecules.descriptors import DESCRIPTORS, describe
from service.rewards.molecules.judgements import measure
from service.rewards.molecules.reading import read


def by_rdkit(smiles):
    """Every descriptor from RDKit itself, by another of its functions where it has one."""
    from rdkit import Chem
    from rdkit.Chem import (
        QED,
        Crippen,
        Descriptors,
        FindMolChiralCenters,
        Lipinski,
        rdMolDescriptors,
    )
    from rdkit.Contrib.SA_Score import sascorer

    m = Chem.MolFromSmiles(smiles)
    h = Chem.AddHs(m)
    symbols = [atom.GetSymbol() for atom in m.GetAtoms()]
    centres = FindMolChiralCenters(m, includeUnassigned=True, useLegacyImplementation=True)
    rings = [len(ring) for ring in Chem.GetSymmSSSR(m)]
    return {
        "molecular_weight": Descriptors.MolWt(m),
        "exact_mass": Descriptors.ExactMolWt(m),
        "logp": Crippen.MolLogP(m),
        "molar_refractivity": Crippen.MolMR(m),
        "tpsa": Descriptors.TPSA(m),
        "labute_asa": Descriptors.LabuteASA(m),
        "qed": QED.qed(m),
        "sa_score": sascorer.calculateScore(m),
        "fraction_csp3": Lipinski.FractionCSP3(m),
        "hbd": Lipinski.NumHDonors(m),
        "hba": Lipinski.NumHAcceptors(m),
        "lipinski_hbd": Lipinski.NHOHCount(m),
        "lipinski_hba": Lipinski.NOCount(m),
        "rotatable_bonds": Lipinski.NumRotatableBonds(m),
        "rings": Lipinski.RingCount(m),
        "aromatic_rings": Lipinski.NumAromaticRings(m),
        "aliphatic_rings": Lipinski.NumAliphaticRings(m),
        "saturated_rings": Lipinski.NumSaturatedRings(m),
        "heterocycles": Lipinski.NumHeterocycles(m),
        "aromatic_heterocycles": Lipinski.NumAromaticHeterocycles(m),
        "spiro_atoms": Descriptors.NumSpiroAtoms(m),
        "bridgehead_atoms": Descriptors.NumBridgeheadAtoms(m),
        "largest_ring": max(rings, default=0),
        "heavy_atoms": m.GetNumHeavyAtoms(),
        "atoms": h.GetNumAtoms(),
        "heteroatoms": Lipinski.NumHeteroatoms(m),
        "carbons": symbols.count("C"),
        "nitrogens": symbols.count("N"),
        "oxygens": symbols.count("O"),
        "sulfurs": symbols.count("S"),
        "halogens": sum(s in ("F", "Cl", "Br", "I", "At") for s in symbols),
        "amide_bonds": rdMolDescriptors.CalcNumAmideBonds(m),
        "stereocentres": len(centres),
        "unspecified_stereocentres": sum(mark == "?" for _, mark in centres),
        "formal_charge": sum(atom.GetFormalCharge() for atom in m.GetAtoms()),
        "radical_electrons": sum(atom.GetNumRadicalElectrons() for atom in m.GetAtoms()),
        "valence_electrons": Descriptors.NumValenceElectrons(m),
    }


@pytest.mark.parametrize(
    "name", ["aspirin", "imatinib", "zidovudine", "thiamine", "norbornene", "spiropentane"]
)
def test_descriptors_are_rdkits(name):
    expected = by_rdkit(DRUGS[name])
    assert expected.keys() == DESCRIPTORS.keys()
    found = {key: describe(read(DRUGS[name]), key) for key in DESCRIPTORS}
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("molecular_weight", 180.159),
        ("exact_mass", 180.04226),
        ("logp", 1.3101),
        ("tpsa", 63.6),
        ("qed", 0.5501),
        ("sa_score", 1.58),
        ("hbd", 1),
        ("hba", 3),
        ("rings", 1),
        ("heavy_atoms", 13),
        ("atoms", 21),
    ],
)
def test_descriptors_of_aspirin_are_the_published_ones(name, value):
    assert describe(read(ASPIRIN), name) == pytest.approx(value, abs=1e-3)


@pytest.mark.parametrize("smiles", ["[H][H]", "[Na+].[Cl-]", "[Fe]", "C", "[H+]"])
@pytest.mark.parametrize("name", DESCRIPTORS)
def test_descriptors_of_next_to_nothing_are_numbers(smiles, name):
    found = measure(smiles, name)
    assert found.reason == "OK"
    assert math.isfinite(found.score)


@pytest.mark.parametrize(
    "smiles", ["", "C(", "C" * 2000, "*C"], ids=["18 empty", "broken", "19 long", "dummy"]
)
def test_a_task_without_a_molecule_is_at_fault(smiles):
    found = measure(smiles, "qed")
    assert found.reason == "BAD_ITEM"
    assert found.message.startswith("task.molecule: ")
