"""What no chemist would make draws a complaint; drugs and reagents draw none."""

from __future__ import annotations

import pytest

from molecules import DRUGS
from service.rewards.molecules.reading import quiet, read
from service.rewards.molecules.reasonable import ALERTS, complaints

STRANGE = {
    "18 nitrogen chain": "CCCNNNNN",
    "18 only nitrogen": "N" * 12,
    "18 four amines on a carbon": "NC(N)(N)N",
    "18 three amines on a carbon": "CC(N)(N)N",
    "18 amines in pairs": "NC(N)CC(N)N",
    "18 hydroxyl beside chlorine": "CC(O)Cl",
    "18 amine beside fluorine": "CC(N)(F)CC",
    "carbon cation": "CCCC[CH2+]",
    "carbon anion": "CCC[CH-]CC",
    "six bonds of sulfur to carbon": "CS(C)(C)(C)(C)C",
    "five bonds of phosphorus to carbon": "CP(C)(C)(C)C",
    "selenium chain": "C[Se][Se][Se][Se]C",
    "18 oxygen chain": "COOOC",
    "18 hydrogen": "[H][H]",
    "18 water": "O",
    "metal": "C[Zn]C",
    "radical": "C[CH2]",
    "isotope": "[13CH3]CO",
    "polyperoxide": "COOCOOC",
    "tetrahedrane": "C12C3C1C23",
    "anti-Bredt": "C1CC2=CC1CC2",
    "cyclohexyne": "C1CCC#CC1",
    "cyclopropyne": "C1C#C1",
    "small allene": "C1CC=C=CC1",
    "cumulene": "C=C=C=C",
    "hypochlorite": "CCOCl",
    "chloramine": "CN(Cl)C",
    "iodane": "CI(C)C",
    "polyyne": "CC#CC#CC#CC",
    "pentazole": "c1ccccc1-n1nnnn1",
    "azides": "C(N=[N+]=[N-])(N=[N+]=[N-])C",
    "ortho acid": "CC(O)(O)O",
    "many charges": "[O-]CC([O-])C([O-])C",
    "cyclobutadiene": "C1=CC=C1",
    "boranes": "CBBB",
    "sulfurs": "CSSSSC",
    "thirteen rings": "C1CC1" * 13,
    "long chain": "C" * 30,
    "bicyclobutane": "C12CC1C2",
    "nitro groups": "C([N+](=O)[O-])C([N+](=O)[O-])C([N+](=O)[O-])C[N+](=O)[O-]",
    "trioxide ring": "C1COOO1",
    "three silicons": "C[SiH2][SiH2][SiH2]C",
    "geminal diols": "CC(O)(O)CC(O)(O)C",
    "N-O-N": "CN(C)ON(C)C",
    "N-O-O": "CN(C)OOC",
    "hydrazines": "NNCCNNCCNN",
    "macrocycle": "C1" + "CO" * 20 + "C1",
    "two positive": "C[N+2]",
}


@pytest.mark.parametrize("name", DRUGS)
def test_real_molecules_draw_no_complaint(name):
    assert complaints(read(DRUGS[name])) == frozenset()


@pytest.mark.parametrize("name", STRANGE)
def test_strange_molecules_draw_one(name):
    with quiet():
        assert complaints(read(STRANGE[name]))


def test_every_alert_is_a_pattern_and_is_drawn_by_something():
    from rdkit import Chem

    assert [
        name for name, (smarts, _) in ALERTS.items() if Chem.MolFromSmarts(smarts) is None
    ] == []
    with quiet():
        drawn = frozenset().union(*(complaints(read(smiles)) for smiles in STRANGE.values()))
    assert set(ALERTS) - drawn == set()
