"""Reading, equality, similarity and salts of molecules, row by row."""

from __future__ import annotations

import pytest
from hypothesis import settings

from molecules import ASPIRIN
from service.rewards.molecules import Unreadable
from service.rewards.molecules.judgements import equal, valid
from service.rewards.molecules.reading import quiet, read
from service.rewards.molecules.similarity import similarity

CHEAP = settings(max_examples=60, deadline=None)


def same(answer, truth, *, asked="smiles", written="smiles", graded=False, **ignored):
    policy = [ignored.get(name, "strict") for name in ("stereo", "tautomers", "salts")]
    return equal(answer, asked, truth, written, *policy, graded)


REFUSED = {
    "18 empty": "",
    "18 dot": ".",
    "empty fragment at the end": "CCO.",
    "at the start": ".CCO",
    "in the middle": "C..C",
    "dummy atom": "*C",
    "bracketed dummy": "[*]C",
    "numbered": "[0*]C",
    "atom maps": "[CH3:1]O",
    "atom by number": "[#6]",
    "reaction": "CCO>>CC=O",
    "dative bond": "C->[Fe]",
    "any bond": "C~C",
    "CXSMILES": "CCO|$a$|",
    "quoted": '"CCO"',
    "backticks": "`CCO`",
    "title": "CCO ethanol",
    "newline": "CCO\n",
    "braces": "C{-}C",
    "no ring closed": "C1CC",
    "open branch": "CC(",
    "closed branch": "CC)",
    "pentavalent": "C(C)(C)(C)(C)C",
    "no Kekulé form": "c1cccc1",
    "aromatic chain": "cc",
    "no element": "[Xx]",
    "empty atom": "[]",
    "20 NUL": "C\0C",
    "20 hyphen": "C\u2011C",
    "20 lone surrogate": "C\ud800",
    "21 Cyrillic": "\u0421C",
    "a name": "aspirin",
    "only a percent": "%",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_what_is_no_molecule_is_refused(text):
    with quiet(), pytest.raises(Unreadable) as refused:
        read(text)
    assert not refused.value.long
    assert valid(text, "smiles", False).reason == "MALFORMED"


@pytest.mark.parametrize(
    "text",
    [
        "C" * 10_000,
        "C1CCCCC1" * 1_666,
        "C" * 301,
        "C." * 400 + "C",
        "C%10C%11" * 200,
        "C(" * 400 + "C" + ")" * 400,
    ],
    ids=["19 10,000 atoms", "19 rings", "301 atoms", "fragments", "ring bonds", "nested"],
)
def test_what_is_too_large_is_refused_before_it_costs(text):
    with quiet(), pytest.raises(Unreadable) as refused:
        read(text)
    assert refused.value.long or len(text) <= 1000


def test_dense_graphs_are_refused_by_their_rings():
    numbers = [f"%{10 + at}" for at in range(89)]
    ladder = "C1" + "".join(f"C{bond}" for bond in numbers * 2) + "C1"
    with quiet(), pytest.raises(Unreadable, match="rings") as refused:
        read(ladder)
    assert refused.value.long


@pytest.mark.parametrize(
    ("answer", "truth", "score"),
    [
        ("c1ccccc1", "C1CCCCC1", 0.0),
        ("C1CCCCC1", "c1ccccc1", 0.0),
        ("C1=CC=CC=C1", "c1ccccc1", 1.0),
        ("OCC", "CCO", 1.0),
        ("COC", "CCO", 0.0),
        ("CN(=O)=O", "C[N+](=O)[O-]", 1.0),
        ("[H]C([H])([H])O", "CO", 1.0),
        ("[2H]CO", "CO", 0.0),
        ("[CH2]C", "CC", 0.0),
        ("N[C@H](C)C(=O)O", "N[C@@H](C)C(=O)O", 0.0),
        ("NC(C)C(=O)O", "N[C@@H](C)C(=O)O", 0.0),
        ("F/C=C\\Cl", "F/C=C/Cl", 0.0),
        ("CC(=O)[O-]", "CC(=O)O", 0.0),
        ("CCO.Cl", "CCO", 0.0),
        ("Cl.CCO", "CCO.Cl", 1.0),
        ("CO", "Co", None),
    ],
    ids=[
        "17 benzene for cyclohexane",
        "17 cyclohexane for benzene",
        "Kekulé",
        "spelling",
        "isomer",
        "nitro",
        "hydrogens",
        "isotope",
        "radical",
        "enantiomer",
        "no stereo",
        "cis",
        "ion",
        "18 counter-ion",
        "order of fragments",
        "cobalt without brackets",
    ],
)
def test_equality_is_strict(answer, truth, score):
    found = same(answer, truth)
    assert found.score == score
    assert (found.reason == "BAD_TRUTH") == (score is None)


@pytest.mark.parametrize(
    ("answer", "truth", "ignored", "score"),
    [
        ("N[C@H](C)C(=O)O", "N[C@@H](C)C(=O)O", "stereo", 1.0),
        ("F/C=C\\Cl", "FC=CCl", "stereo", 1.0),
        ("CCO", "COC", "stereo", 0.0),
        ("O=c1cccc[nH]1", "Oc1ccccn1", "tautomers", 1.0),
        ("c1c[nH]cn1", "c1nc[nH]c1", "tautomers", 1.0),
        ("CC(C)=O", "CC(O)=C", "tautomers", 0.0),
        ("CC[NH3+].[Cl-]", "CCN", "salts", 1.0),
        ("CCN", "CCN.OS(=O)(=O)O", "salts", 1.0),
        ("CCN.CCCCCC", "CCN", "salts", 0.0),
        ("CCN.Cl.Cl.Cl.Cl.Cl", "CCN", "salts", 0.0),
        ("CCO.CC(=O)O", "CC(=O)O", "salts", 0.0),
        ("[Na+].[Cl-]", "CCN.Cl", "salts", 0.0),
    ],
    ids=[
        "enantiomers",
        "cis",
        "isomers",
        "pyridone",
        "imidazole",
        "keto and enol",
        "hydrochloride",
        "sulfate",
        "18 padding",
        "18 many ions",
        "18 truth as a counter-ion",
        "18 only ions",
    ],
)
def test_equality_ignores_what_the_policy_says(answer, truth, ignored, score):
    assert same(answer, truth, **{ignored: "ignore"}).score == score
    if score == 1.0:
        assert same(answer, truth).score == 0.0 or ignored == "tautomers"


@pytest.mark.parametrize(
    ("asked", "answer", "score"),
    [
        ("selfies", "[C][C][O]", 1.0),
        ("selfies", "[O][C][C]", 1.0),
        ("selfies", "[C][O][C]", 0.0),
        ("selfies", "CCO", None),
        ("selfies", "[C][C][O][nop]", None),
        ("selfies", "[C][C][F][C]", None),
        ("selfies", "[C][C][O].", None),
        ("selfies", "[C][ethanol]", None),
        ("selfies", "[C]" * 334, None),
        ("inchi", "InChI=1S/C2H6O/c1-2-3/h3H,2H2,1H3", 1.0),
        ("inchi", "InChI=1S/C2H6O/c1-3-2/h1-2H3", 0.0),
        ("inchi", "InChI=1S/C2H6O/c3-2-1/h3H,2H2,1H3", None),
        ("inchi", "InChI=1/C2H6O/c1-2-3/h3H,2H2,1H3", None),
        ("inchi", "CCO", None),
        ("inchi", "LFQSCWFLJHTTHZ-UHFFFAOYSA-N", None),
        ("formula", "C2H6O", 1.0),
        ("formula", "H6C2O", 1.0),
        ("formula", "C2H6O1", 1.0),
        ("formula", "C2H6S", 0.0),
        ("formula", "C2H6O+", 0.0),
        ("formula", "c2h6o", None),
        ("formula", "C2H5OH", None),
        ("formula", "C\u2082H\u2086O", None),
        ("formula", "C02H6O", None),
        ("formula", "CCO", None),
    ],
    ids=str,
)
def test_answers_are_in_the_representation_asked_for(asked, answer, score):
    found = same(answer, "CCO", asked=asked)
    assert found.score == score
    assert (found.reason in ("MALFORMED", "TOO_LONG")) == (score is None)


@pytest.mark.parametrize(
    ("truth", "written", "asked", "answer"),
    [
        ("InChI=1S/C2H6O/c1-2-3/h3H,2H2,1H3", "inchi", "smiles", "OCC"),
        ("[C][C][O]", "selfies", "inchi", "InChI=1S/C2H6O/c1-2-3/h3H,2H2,1H3"),
        ("CO", "formula", "formula", "CO"),
        ("CO", "smiles", "formula", "CH4O"),
    ],
    ids=["InChI", "SELFIES", "carbon monoxide", "methanol"],
)
def test_truths_are_read_as_they_are_written(truth, written, asked, answer):
    assert same(answer, truth, asked=asked, written=written).score == 1.0


@pytest.mark.parametrize("text", ["C(", "C" * 400, "CCO>>C"], ids=["broken", "large", "reaction"])
def test_a_truth_that_is_no_molecule_is_not_the_completions_fault(text):
    found = same("not a molecule either", text)
    assert found.reason == "BAD_TRUTH"
    assert found.message.startswith("truth: ")


@pytest.mark.parametrize(
    ("one", "other", "low", "high"),
    [
        ("C" * 20, "C" * 60, 0.30, 0.34),
        ("C" * 20, "C" * 20, 1.0, 1.0),
        (ASPIRIN, "OC(=O)c1ccccc1OC(C)=O", 1.0, 1.0),
        (ASPIRIN, "CC(=O)Oc1ccc(C(=O)O)cc1", 0.4, 0.9),
        (ASPIRIN, "CCO", 0.0, 0.2),
        ("N[C@H](C)C(=O)O", "N[C@@H](C)C(=O)O", 0.3, 0.99),
    ],
    ids=["18 C20 and C60", "itself", "spelling", "isomer", "ethanol", "enantiomers"],
)
def test_similarity_counts(one, other, low, high):
    found = similarity(read(one), read(other))
    assert low <= found <= high
    assert found == similarity(read(other), read(one))


def test_graded_equality_never_pays_two_guesses_or_another_molecule_in_full():
    assert same("CCCO", "CCO", graded=True).score == pytest.approx(0.5)
    assert same("CCO.COC", "CCO", graded=True).score == 0.0
    assert same("C" * 60, "C" * 20, graded=True).score < 0.34
    assert same("CCCCCCCCCCCCCC", "CCCCCCCCCCCCC", graded=True).score <= 0.99
