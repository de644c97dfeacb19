"""Constraints: their faults, what meets them, and the gates before them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molecules import ASPIRIN, DRUGS
from service.rewards.molecules.constraints import Constraint, ConstraintFault, read_constraints
from service.rewards.molecules.descriptors import describe
from service.rewards.molecules.fragments import COUNTER_IONS
from service.rewards.molecules.judgements import satisfies, valid
from service.rewards.molecules.reading import read

FAULTS = {
    "none": ([], "expected 1 to 50"),
    "too many": ([{"formula": "CH4"}] * 51, "got 51"),
    "empty": ([{}], r"\[0\]: expected one of"),
    "two kinds": ([{"formula": "CH4", "group": "thiol"}], r"\[0\]: expected one of"),
    "unknown key": (
        [{"formula": "CH4"}, {"group": "thiol", "atleast": 1}],
        r"\[1\]: unknown key 'atleast'; did",
    ),
    "bounds of a formula": ([{"formula": "CH4", "at_least": 1}], "unknown key 'at_least'"),
    "unknown property": (
        [{"property": "logP", "at_least": 1}],
        "unknown 'logP'; did you mean 'logp'",
    ),
    "unknown group": ([{"group": "thiole"}], "did you mean 'thiol'"),
    "no formula": ([{"formula": "methane"}], r"\[0\].formula: not a formula"),
    "no text": ([{"formula": 4}], "expected a string"),
    "empty text": ([{"substructure": ""}], "expected a string"),
    "no bounds": ([{"property": "logp"}], "expected at_least, at_most or equals"),
    "similar without bounds": ([{"similar_to": "CCO"}], "expected at_least"),
    "crossed bounds": ([{"property": "logp", "at_least": 3, "at_most": 1}], "no value is"),
    "equals and bounds": ([{"property": "logp", "equals": 3, "at_most": 1}], "equals stands alone"),
    "tolerance alone": (
        [{"property": "logp", "at_least": 3, "tolerance": 1}],
        "only beside equals",
    ),
    "negative tolerance": ([{"property": "logp", "equals": 3, "tolerance": -1}], "negative"),
    "a truth value": ([{"property": "logp", "at_least": True}], "expected a number"),
    "not a number": ([{"property": "logp", "at_least": math.nan}], "expected a number"),
    "a number beyond floats": ([{"property": "logp", "at_most": 10**400}], "expected a number"),
    "text as a number": ([{"property": "logp", "at_least": "1"}], "expected a number"),
    "19 long SMARTS": ([{"substructure": "C" * 201}], "at most 200"),
    "19 recursive SMARTS": ([{"substructure": "[$([$([$(C)])])]"}], "two deep"),
    "20 SMARTS with NUL": ([{"substructure": "C\0"}], "SMARTS"),
    "19 long molecule": ([{"similar_to": "C" * 1001, "at_least": 0.5}], "at most 1000"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_wrong_constraints_are_the_items_fault(name):
    entries, message = FAULTS[name]
    with pytest.raises(ConstraintFault, match=message):
        read_constraints(entries)


def test_a_scaffold_that_leaves_no_valence_is_not_met():
    """RDKit raises there, where the task's own metal excuses the answer's: null for a policy."""
    metal = Constraint("similar_to", "C[Zn]C", 0.0, 1.0)
    ring = Constraint("scaffold", "c1ccoc1", 1.0, 1.0)
    ruling = satisfies("[Zn]o1cccc1", [metal, ring], "forbid", 1, 100)
    assert (ruling.reason, ruling.score) == ("OK", 0.5)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"substructure": "c1cc("}, "task.constraints[1].substructure: not a SMARTS"),
        ({"scaffold": "CCC"}, "task.constraints[1].scaffold: 'CCC' has no ring"),
        ({"scaffold": "C("}, "task.constraints[1].scaffold: not a SMILES"),
        (
            {"similar_to": "C" * 400, "at_least": 0.5},
            "task.constraints[1].similar_to: 400 heavy atoms",
        ),
    ],
    ids=["SMARTS", "no scaffold", "broken scaffold", "too large"],
)
def test_constraints_that_rdkit_refuses_are_found_whatever_the_answer(entry, message):
    for answer in (ASPIRIN, "no molecule"):
        found = designed(answer, {"group": "ester"}, entry)
        assert found.reason == "BAD_ITEM"
        assert found.message.startswith(message)


def test_bounds_have_defaults():
    read_ones = read_constraints(
        [
            {"group": "thiols"},
            {"property": "qed", "equals": 0.5},
            {"property": "hbd", "equals": 2},
            {"similar_to": "CCO", "at_least": 0.7},
            {"formula": "H4C"},
        ]
    )
    assert read_ones == (
        Constraint("group", "thiol", 1.0, math.inf),
        Constraint("property", "qed", 0.49, 0.51),
        Constraint("property", "hbd", 2.0, 2.0),
        Constraint("similar_to", "CCO", 0.7, 1.0),
        Constraint("formula", "CH4", 1.0, 1.0),
    )


def designed(answer, *entries, salts="forbid", least=4, most=100):
    return satisfies(answer, read_constraints(entries), salts, least, most)


@pytest.mark.parametrize(
    ("entry", "score"),
    [
        ({"property": "molecular_weight", "equals": 180.16}, 1.0),
        ({"property": "molecular_weight", "at_most": 180}, 0.0),
        ({"property": "hbd", "equals": 1}, 1.0),
        ({"property": "hbd", "at_least": 2}, 0.0),
        ({"formula": "C9H8O4"}, 1.0),
        ({"formula": "C9H8O5"}, 0.0),
        ({"substructure": "c1ccccc1"}, 1.0),
        ({"substructure": "C=O", "equals": 2}, 1.0),
        ({"substructure": "C=O", "at_most": 1}, 0.0),
        ({"substructure": "N", "equals": 0}, 1.0),
        ({"group": "ester", "equals": 1}, 1.0),
        ({"group": "phenol"}, 0.0),
        ({"group": "phenol", "at_most": 0}, 1.0),
        ({"scaffold": "Cc1ccccc1"}, 1.0),
        ({"scaffold": "c1ccncc1"}, 0.0),
        ({"similar_to": ASPIRIN, "at_least": 1}, 1.0),
        ({"similar_to": ASPIRIN, "at_most": 0.99}, 0.0),
        ({"similar_to": "CCO", "at_least": 0.7}, 0.0),
    ],
    ids=str,
)
def test_constraints_hold_or_do_not(entry, score):
    assert designed(ASPIRIN, entry).score == score


ANYTHING = {"property": "rings", "at_least": 0}


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        (ASPIRIN, 1.0),
        ("N" * 12, 0.0),
        ("CCCNNNNN", 0.0),
        ("C", 0.0),
        ("CCO", 0.0),
        ("CCCO", 1.0),
        ("C" * 20, 1.0),
        ("C" * 101, 0.0),
        (ASPIRIN + ".[Na+]", 0.0),
        (ASPIRIN + ".Cl", 0.0),
        (f"{ASPIRIN}.{ASPIRIN}", 0.0),
        ("CCC" + "[13CH3]", 0.0),
        ("[H][H]", 0.0),
        ("O=O", 0.0),
        ("", None),
        ("*CCCC", None),
        ("CCCC>>C", None),
        ("C" * 10_000, None),
        ("aspirin", None),
    ],
    ids=[
        "aspirin",
        "18 nitrogen",
        "18 nitrogen chain",
        "18 methane",
        "small",
        "four atoms",
        "20 carbons",
        "101 carbons",
        "18 sodium",
        "18 chloride",
        "twice",
        "isotope",
        "hydrogen",
        "oxygen",
        "18 empty",
        "dummy",
        "reaction",
        "19 long",
        "a name",
    ],
)
def test_designs_are_gated(answer, score):
    found = designed(answer, ANYTHING)
    assert found.score == score
    assert (found.reason in ("MALFORMED", "TOO_LONG")) == (score is None)


def test_a_formula_states_its_size_itself():
    assert designed("C", {"formula": "CH4"}).score == 1.0
    assert designed("CCO", {"formula": "C2H6O"}, least=10).score == 1.0


def test_what_the_task_itself_names_is_not_held_against_the_answer():
    ferrocenyl = "C[Si](C)(C)[Si](C)(C)[Si](C)(C)C"
    assert designed(ferrocenyl, ANYTHING).score == 0.0
    assert designed(ferrocenyl, {"similar_to": ferrocenyl, "at_least": 0.9}).score == 1.0
    assert designed("NNNN" + ferrocenyl, {"similar_to": ferrocenyl, "at_least": 0}).score == 0.0


def test_counter_ions_may_be_ignored_and_change_nothing():
    weight = {"property": "molecular_weight", "at_most": 181}
    assert designed(ASPIRIN + ".[Na+]", weight, salts="ignore").score == 1.0
    assert designed(ASPIRIN + ".CCCCCC", weight, salts="ignore").score == 0.0
    assert designed("[Na+].[Cl-]", weight, salts="ignore", least=1).score == 0.0
    donor = {"property": "hbd", "at_least": 1}
    assert designed("CCC(=O)[O-]", donor, salts="ignore").score == 0.0
    assert designed("CCC(=O)[O-].[Na+]", donor, salts="ignore").score == 0.0


@settings(max_examples=60, deadline=None)
@given(
    smiles=st.sampled_from(sorted(DRUGS.values())),
    ions=st.lists(st.sampled_from(sorted(COUNTER_IONS)), min_size=1, max_size=5),
    name=st.sampled_from(
        ["molecular_weight", "heavy_atoms", "oxygens", "halogens", "tpsa", "formal_charge"]
    ),
    salts=st.sampled_from(["forbid", "ignore"]),
)
def test_counter_ions_never_raise_a_design(smiles, ions, name, salts):
    bound = {"property": name, "at_least": describe(read(smiles), name) + 1}
    padded = ".".join([smiles, *ions])
    assert designed(padded, bound, salts=salts, least=1).score in (0.0, None)


def test_shares_are_counted():
    found = designed(
        ASPIRIN, {"group": "ester"}, {"group": "thiol"}, {"group": "amine"}, {"formula": "C9H8O4"}
    )
    assert found.score == 0.5


@pytest.mark.parametrize(
    ("answer", "asked", "reasonable", "score"),
    [
        ("CCO", "smiles", True, 1.0),
        ("NNNN", "smiles", True, 0.0),
        ("NNNN", "smiles", False, 1.0),
        ("C(", "smiles", True, None),
        ("[C][C]", "selfies", True, 1.0),
        ("C2H6", "formula", True, 1.0),
    ],
    ids=str,
)
def test_validity(answer, asked, reasonable, score):
    assert valid(answer, asked, reasonable).score == score
