"""What has a name: formulas, functional groups, scaffolds."""

from __future__ import annotations

import pytest

from molecules import ASPIRIN, DRUGS
from service.rewards.molecules import Unreadable
from service.rewards.molecules.constraints import scaffold
from service.rewards.molecules.formula import formula_of, normal_formula
from service.rewards.molecules.groups import GROUP_NAMES, GROUPS, count_groups, group_name
from service.rewards.molecules.reading import read


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("C9H8O4", "C9H8O4"),
        ("O4C9H8", "C9H8O4"),
        ("H2O", "H2O"),
        ("NaCl", "ClNa"),
        ("CO", "CO"),
        ("Co", "Co"),
        ("C6H5O-", "C6H5O-"),
        ("Ca+2", "Ca+2"),
        ("H4N+1", "H4N+"),
        ("C10H16", "C10H16"),
    ],
    ids=str,
)
def test_formulas_have_one_form(text, normal):
    assert normal_formula(text) == normal
    assert normal_formula(normal) == normal


@pytest.mark.parametrize(
    "text",
    [
        "",
        "c9h8o4",
        "C9 H8",
        "2H2O",
        "Ca(OH)2",
        "CuSO4\u00b75H2O",
        "C0",
        "C01",
        "Xx",
        "CHCl3C",
        "C+-",
        "C" * 101,
        "C\u0665",
    ],
    ids=str,
)
def test_what_is_no_formula(text):
    with pytest.raises(Unreadable):
        normal_formula(text)


@pytest.mark.parametrize("smiles", sorted(DRUGS.values()))
def test_formulas_of_molecules_are_in_normal_form(smiles):
    made = formula_of(read(smiles))
    assert normal_formula(made) == made


GROUPS_OF = {
    ASPIRIN: {
        "ester": 1,
        "carboxylic acid": 1,
        "arene": 1,
        "benzene": 1,
        "carbonyl": 2,
        "alcohol": 0,
        "ether": 0,
        "ketone": 0,
        "phenol": 0,
    },
    "CC(=O)Nc1ccc(O)cc1": {"secondary amide": 1, "amide": 1, "phenol": 1, "amine": 0, "alcohol": 0},
    "OCC(O)CO": {"alcohol": 3, "primary alcohol": 2, "secondary alcohol": 1, "1,2-diol": 2},
    "NCCO": {"primary amine": 1, "1,2-amino alcohol": 1, "alcohol": 1},
    "CCN(CC)CC": {"tertiary amine": 1, "amine": 1, "secondary amine": 0},
    "C[N+](C)(C)C": {"quaternary ammonium": 1, "amine": 0},
    "[NH3+]CC(=O)[O-]": {"primary amine": 1, "carboxylic acid": 1, "carboxylate": 1},
    "C[N+](=O)[O-]": {"nitro": 1, "n-oxide": 0, "nitroso": 0, "amine": 0},
    "c1ccc2[nH]ccc2c1": {"indole": 1, "arene": 2, "pyrrole": 1, "amine": 0},
    "C1CNCCN1": {"piperazine": 1, "secondary amine": 2},
    "C1COCCN1": {"morpholine": 1, "ether": 1},
    "CC(=O)OC(C)=O": {"anhydride": 1, "ester": 0},
    "O=C1CCC(=O)N1": {"imide": 1, "amide": 0},
    "CNC(=O)NC": {"urea": 1, "amide": 0, "amine": 0},
    "COC(=O)NC": {"carbamate": 1, "ester": 0, "amide": 0},
    "COC(=O)OC": {"carbonate": 1, "ester": 0},
    "NC(=N)N": {"guanidine": 1, "amidine": 0, "amine": 0},
    "CC=NC": {"imine": 1},
    "CC(C)=NO": {"oxime": 1, "imine": 0},
    "CC=NN": {"hydrazone": 1},
    "CN=[N+]=[N-]": {"azide": 1, "azo": 0},
    "CN=NC": {"azo": 1, "imine": 0},
    "CC#N": {"nitrile": 1, "alkyne": 0},
    "C=O": {"aldehyde": 1, "ketone": 0},
    "CC=O": {"aldehyde": 1},
    "CC(C)=O": {"ketone": 1, "aldehyde": 0},
    "OC=O": {"carboxylic acid": 1, "aldehyde": 0},
    "C1CO1": {"epoxide": 1, "ether": 0},
    "COC(C)OC": {"acetal": 1, "ether": 0},
    "CSC": {"sulfide": 1},
    "CSSC": {"disulfide": 1, "sulfide": 0},
    "CS": {"thiol": 1},
    "CS(C)=O": {"sulfoxide": 1},
    "CS(C)(=O)=O": {"sulfone": 1, "sulfoxide": 0},
    "CS(N)(=O)=O": {"sulfonamide": 1, "sulfone": 0, "amine": 0},
    "CCCCCBr": {"alkyl bromide": 1, "bromide": 1, "halide": 1, "aryl bromide": 0},
    "FC(F)(F)c1ccccc1Cl": {"trifluoromethyl": 1, "fluoride": 3, "aryl chloride": 1},
    "OP(=O)(O)OC": {"phosphate": 1, "phosphonate": 0},
    "CP(=O)(O)O": {"phosphonate": 1},
    "OB(O)c1ccccc1": {"boronic acid": 1},
    "O=C1CCCO1": {"lactone": 1, "ester": 1},
    "O=C1CCCN1": {"lactam": 1, "amide": 1},
    "C=CC(C)=O": {"enone": 1, "alkene": 1},
    "C=C=C": {"allene": 1},
    "CC(O)=C": {"enol": 1, "alcohol": 0, "hydroxyl": 1},
    "CC(=O)SC": {"thioester": 1, "sulfide": 0},
    "CC(N)=S": {"thioamide": 1},
    "O=C(O)c1ccccn1": {"pyridine": 1},
    "c1cncnc1": {"pyrimidine": 1},
    "c1cc[nH]n1": {"pyrazole": 1},
    "c1cnc[nH]1": {"imidazole": 1},
    "c1cscn1": {"thiazole": 1},
    "c1cocn1": {"oxazole": 1},
    "c1ccoc1": {"furan": 1},
    "c1ccsc1": {"thiophene": 1},
    "c1nn[nH]n1": {"tetrazole": 1},
}


@pytest.mark.parametrize("smiles", GROUPS_OF)
def test_groups_are_counted_by_definition(smiles):
    molecule = read(smiles)
    expected = GROUPS_OF[smiles]
    assert {name: count_groups(molecule, name) for name in expected} == expected


def test_every_group_is_a_pattern_and_has_one_name():
    from rdkit import Chem

    assert [name for name, smarts in GROUPS.items() if Chem.MolFromSmarts(smarts) is None] == []
    assert {group_name(name) for name in GROUP_NAMES} == set(GROUP_NAMES)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("alkylbromide", "alkyl bromide"),
        ("Carboxylic_Acids", "carboxylic acid"),
        ("1,2-Aminoalcohol", "1,2-amino alcohol"),
        ("thiols", "thiol"),
        ("phenyl", "benzene"),
        ("no such group", None),
        ("", None),
        ("x" * 10_000, None),
    ],
    ids=str,
)
def test_names_of_groups(written, name):
    assert group_name(written) == name


@pytest.mark.parametrize(
    ("smiles", "expected"),
    [(ASPIRIN, "c1ccccc1"), ("CCCC", ""), ("O=C(CCc1ccccc1)C1CC1", "O=C(CCc1ccccc1)C1CC1")],
    ids=["aspirin", "chain", "linked"],
)
def test_scaffolds_are_rings_and_what_links_them(smiles, expected):
    assert scaffold(read(smiles)) == expected
