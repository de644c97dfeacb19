"""Rows of ether0: which are read, what they pay, and what the public reward paid besides."""

from __future__ import annotations

import msgspec
import pytest

from service.rewards.core import Item
from service.rewards.molecules.ether0 import answers
from service.rewards.molecules.rows import REFUSED, SUPPORTED, Row, RowFault, read_row

IBUPROFEN = "CC(C)Cc1ccc(cc1)C(C)C(=O)O"
BEGINNING = "CC(C)Cc1ccc(cc1)C(C"
TYRAMINE_ETHER = "COc1ccc(CCN)cc1"


def row(function, info):
    return f"{function}!:!{info}!:!some-type"


def earned(function, info, answer):
    return answers(answer, *read_row(row(function, info)))


@pytest.mark.parametrize(
    ("solution", "expected"),
    [
        (row("caption_eval", "CCO"), Row("caption_eval", "CCO")),
        ("product_eval!:!CCO!:!", Row("product_eval", "CCO")),
        (
            row("functional_group_eval", "('BrC5H11', ['alkylbromide', 'Alkenes'])"),
            Row("functional_group_eval", "C5H11Br", ("alkyl bromide", "alkene")),
        ),
        (row("functional_group_eval", "('CH4', [])"), Row("functional_group_eval", "CH4")),
        (row("valid_mol_eval", "CC("), Row("valid_mol_eval", "CC(")),
    ],
    ids=["caption", "no type", "groups", "no groups", "beginning"],
)
def test_rows_are_read(solution, expected):
    assert read_row(solution) == expected


@pytest.mark.parametrize("function", REFUSED)
def test_rows_that_no_string_settles_are_refused_by_name(function):
    with pytest.raises(RowFault, match=f"{function} is not judged here, .*judged: formula_eval"):
        read_row(row(function, "CCO"))
    assert function not in SUPPORTED


GROUPS = "functional_group_eval"


@pytest.mark.parametrize(
    ("solution", "message"),
    [
        (None, "expected a row"),
        (3.0, "expected a row"),
        ("", "expected a row"),
        ("CCO", "expected a row"),
        ("formula_eval!:!CCO", "expected a row"),
        ("formula_eval!:!CCO!:!x!:!y", "expected a row"),
        (row("fomula_eval", "CCO"), "did you mean 'formula_eval'"),
        (row("formula_eval", ""), "info has 0 characters"),
        (row("formula_eval", "C" * 1001), "info has 1001 characters"),
        (row("formula_eval", "C C"), "expected a SMILES"),
        (row("formula_eval", "\u0421"), "expected a SMILES"),
        (row(GROUPS, "CCO"), "expected \\('C5H11Br'"),
        (row(GROUPS, "('C5H11Br', 'alcohol')"), "expected \\('C5H11Br'"),
        (row(GROUPS, "('C5H11Br', ['no such group'])"), "unknown group 'no such group'; known"),
        (row(GROUPS, "('C5H11Br', [3])"), "unknown group 3"),
        (row(GROUPS, "('pentyl', [])"), "not a formula"),
        (row(GROUPS, "__import__('os')"), "expected \\('C5H11Br'"),
        (row(GROUPS, "(" * 900), "expected \\('C5H11Br'"),
        (row(GROUPS, "('C5H11Br', " + str(["thiol"] * 21) + ")"), "expected \\('C5H11Br'"),
    ],
    ids=[
        "none", "a number", "empty", "a molecule", "two parts", "four parts", "misspelt", "no info",
        "19 long info", "blank", "21 homoglyph", "no tuple", "no list", "unknown group", "no name",
        "no formula", "code", "19 nested", "many groups",
    ],
)  # fmt: skip
def test_wrong_rows_say_what_was_expected(solution, message):
    with pytest.raises(RowFault, match=message):
        read_row(solution)


@pytest.mark.parametrize(
    ("function", "info", "answer", "score"),
    [
        ("formula_eval", TYRAMINE_ETHER, TYRAMINE_ETHER, 1.0),
        ("formula_eval", TYRAMINE_ETHER, "NCCc1ccc(OC)cc1", 1.0),
        ("formula_eval", TYRAMINE_ETHER, "CCCCC#CC=CC(=O)N", 0.0),
        ("formula_eval", TYRAMINE_ETHER, "COc1ccc(CCO)cc1", 0.0),
        ("formula_eval", TYRAMINE_ETHER, "COc1ccccc1.C=CN", 0.0),
        ("formula_eval", "C" * 20, "C" * 20, 1.0),
        ("formula_eval", "C" * 20, "C" * 60, 0.0),
        ("formula_eval", "CCCNNNNN", "CCCNNNNN", 1.0),
        (GROUPS, "('C5H11Br', ['alkyl bromide'])", "CCCCCBr", 1.0),
        (GROUPS, "('C5H11Br', ['alkyl bromide'])", "CCCC(C)Br", 1.0),
        (GROUPS, "('C5H11Br', ['alkyl bromide'])", "CCCC=C.Br", 0.0),
        (GROUPS, "('C5H11Br', ['alkyl bromide', 'alkene'])", "CCCCCBr", 0.0),
        (GROUPS, "('C3H8', [])", "CCC", 1.0),
        (GROUPS, "('C3H13N5', [])", "CCCNNNNN", 0.0),
        ("caption_eval", "N[C@@H](C)C(=O)O", "C[C@H](N)C(=O)O", 1.0),
        ("caption_eval", "N[C@@H](C)C(=O)O", "C[C@@H](N)C(=O)O", 0.0),
        ("caption_eval", "CC(=O)[O-]", "CC(=O)O", 0.0),
        ("product_eval", "CCCO", "OCCC", 1.0),
        ("product_eval", "CCCO", "OCCC.Cl", 1.0),
        ("product_eval", "CCCO.Cl", "OCCC", 1.0),
        ("product_eval", "CCCO", "CCCO.CCCCCCCCC", 0.0),
        ("product_eval", "CCCO", "CCCO.CC=CO", 0.0),
        ("product_eval", "CCCO.CCCN", "CCCN.CCCO", 1.0),
        ("str_eval", "c1ccccc1", "C1=CC=CC=C1", 1.0),
        ("str_eval", "c1ccccc1", "C1CCCCC1", 0.0),
        ("str_eval", "c1ccccc1", "C1CCCCC1.c1ccccc1", 0.0),
        ("valid_mol_eval", BEGINNING, ")C(=O)O", 1.0),
        ("valid_mol_eval", BEGINNING, IBUPROFEN, 1.0),
        ("valid_mol_eval", BEGINNING, ")NNNNN", 0.0),
        ("valid_mol_eval", BEGINNING, ").CCO", 0.0),
        ("valid_mol_eval", BEGINNING, ")C[13CH3]", 0.0),
        ("valid_mol_eval", IBUPROFEN, IBUPROFEN, 0.0),
        ("valid_mol_eval", IBUPROFEN, "C", 1.0),
        ("valid_mol_eval", "CCNNNN", "CCCC", 1.0),
    ],
    ids=[
        "itself", "spelling", "an isomer", "another formula", "18 the formula in pieces", "a chain",
        "18 C20 and C60", "the row's own is excused", "group", "another of the group",
        "18 group in pieces", "group missing", "no groups", "18 nitrogen chain", "caption",
        "enantiomer", "ion", "product", "counter-ion", "counter-ion of the row", "18 padding",
        "two guesses", "two products", "choice", "17 folded case", "14 all options", "completion",
        "whole", "18 nitrogen completion", "18 second molecule", "isotope", "nothing completed",
        "one more atom", "the beginning's own is excused",
    ],
)  # fmt: skip
def test_rows_pay_for_what_they_ask(function, info, answer, score):
    assert earned(function, info, answer).score == score


@pytest.mark.parametrize("answer", ["C(", "*CC", "CCO>>CC=O", "C" * 400, "[CH3:1]O", "CCO "])
@pytest.mark.parametrize("function", SUPPORTED)
def test_what_is_no_molecule_is_invalid(function, answer):
    info = "('CH4', [])" if function == GROUPS else "CCC("
    if function not in (GROUPS, "valid_mol_eval"):
        info = "CCC"
    assert earned(function, info, answer).reason in ("MALFORMED", "TOO_LONG")


@pytest.mark.parametrize("function", ["formula_eval", "caption_eval", "product_eval", "str_eval"])
def test_a_row_whose_molecule_is_none_is_at_fault(function):
    found = earned(function, "C(C", "also(broken")
    assert found.reason == "BAD_TRUTH"


def test_a_beginning_may_end_anywhere():
    for end in range(1, len(IBUPROFEN)):
        assert earned("valid_mol_eval", IBUPROFEN[:end], IBUPROFEN).score == 1.0
        assert earned("valid_mol_eval", IBUPROFEN[:end], IBUPROFEN[end:]).score == 1.0


def test_rows_are_judged_from_completion_to_reward(judge):
    def item(truth, answer="CCCCCBr", **task):
        written = f"<|think_start|>Bromine.<|think_end|><|answer_start|>{answer}<|answer_end|>"
        fields = {"completion": written, "task": {"type": "molecule.equal", **task}, "truth": truth}
        return msgspec.convert(fields, Item)

    good = row(GROUPS, "('C5H11Br', ['alkyl bromide'])")
    assert judge("ether0", item(good)).reward == 1.0
    assert judge("ether0", item(good, "CCCCCCl")).reward == 0.0
    assert judge("ether0", item(good, "C(")).status == "invalid"
    assert judge("ether0", item(None)).reason == "NO_TRUTH"
    assert judge("ether0", item(good, representation="inchi")).reason == "BAD_ITEM"
    refused = judge("ether0", item(row("sol_eval", "x")))
    assert refused.reason == "BAD_TRUTH"
    assert "solubility model" in refused.message
