"""PertMind's parts: the class, the checkpoints with their masks, and the form of their section."""

# ruff: noqa: E501 - a table reads best in rows

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.rewards.core import Item
from service.rewards.profiles import ProfileFault, load_profiles
from service.rewards.verifiers.checkpoints import stated

CHEAP = settings(max_examples=150, deadline=None)
CLASSES = ["up", "down", "no"]
NAMES = ["UPR", "translation", "GO:0007049 cell cycle"]
TASK = {"type": "checkpoints", "classes": CLASSES, "checkpoints": dict.fromkeys(NAMES, CLASSES)}
TRUTH = {"answer": "up", "checkpoints": {"UPR": "up", "translation": "down", NAMES[2]: "uncertain"}}


def thing(section, answer="up", truth=TRUTH, task=TASK):
    block = "" if section is None else f"<checkpoints>{section}</checkpoints>"
    fields = {
        "completion": f"<think>ER stress.</think>{block}<answer>{answer}</answer>",
        "task": task,
        "truth": truth,
    }
    return msgspec.convert(fields, Item)


def lines(upr="up", translation="down", cycle="no"):
    return f"\nUPR: {upr}\ntranslation: {translation}\n{NAMES[2]}: {cycle}\n"


PARTS = {
    "all right": (lines(), "up", 1.0, 1.0, 1.0),
    "letter case and bullets": ("- upr: UP\n* Translation: Down.\n" + NAMES[2] + ": no", "up", 1.0, 1.0, 1.0),
    "masked, any class": (lines(cycle="up"), "up", 1.0, 1.0, 1.0),
    "masked, uncertain": (lines(cycle="uncertain"), "up", 1.0, 1.0, 1.0),
    "one wrong": (lines(upr="down"), "up", 1.0, 0.5, 1.0),
    "uncertain of what is known": (lines("uncertain", "uncertain"), "up", 1.0, 0.0, 1.0),
    "one missing": ("UPR: up", "up", 1.0, 0.5, 0.0),
    "the masked one missing": ("UPR: up\ntranslation: down", "up", 1.0, 1.0, 0.0),
    "wrong class": (lines(), "down", 0.0, 1.0, 1.0),
    "no section": (None, "up", 1.0, 0.0, 0.0),
    "empty section": ("", "up", 1.0, 0.0, 0.0),
    "14 every class": ("UPR: up\nUPR: down\nUPR: no\ntranslation: down", "up", 1.0, 0.0, 0.0),
    "14 the same twice": (lines() + "UPR: up", "up", 1.0, 0.0, 0.0),
    "14 two classes in a line": (lines(upr="up or down"), "up", 1.0, 0.0, 0.0),
    "14 a list of classes": (lines(upr="up, down"), "up", 1.0, 0.0, 0.0),
    "14 a negation": (lines(upr="not down"), "up", 1.0, 0.0, 0.0),
    "extra checkpoint": (lines() + "apoptosis: up", "up", 1.0, 0.0, 0.0),
    "prose": ("All pathways respond: up", "up", 1.0, 0.0, 0.0),
    "prose behind": (lines() + "as measured", "up", 1.0, 0.0, 0.0),
    "equals": ("UPR = up", "up", 1.0, 0.0, 0.0),
    "21 homoglyph": (lines(upr="u\u0440"), "up", 1.0, 0.0, 0.0),
    "22 comment": (lines(upr="up <!-- down -->"), "up", 1.0, 0.0, 0.0),
}  # fmt: skip


@pytest.mark.parametrize(
    ("section", "answer", "gene", "pathway", "form"), PARTS.values(), ids=PARTS
)
def test_parts(judge, section, answer, gene, pathway, form):
    result = judge("pertmind", thing(section, answer))
    assert {c.name: c.score for c in result.components} == {
        "gene": gene,
        "pathway": pathway,
        "form": form,
    }
    assert result.reward == pytest.approx(gene + 0.15 * pathway + 0.05 * form)


def test_two_sections_are_no_section(judge):
    twice = f"{lines()}</checkpoints><checkpoints>{lines('down')}"
    result = judge("pertmind", thing(twice))
    assert [component.score for component in result.components] == [1.0, 0.0, 0.0]


def test_no_style_and_no_pathway_outranks_the_gene(judge):
    """Every right answer beats every wrong one, whatever the auxiliaries."""
    sections = [section for section, *_ in PARTS.values()]
    right = [judge("pertmind", thing(section)).reward for section in sections]
    wrong = [judge("pertmind", thing(section, "no")).reward for section in sections]
    assert min(right) > max(wrong)


def test_where_all_is_masked_the_term_is_left_out(judge):
    masked = {"answer": "up", "checkpoints": dict.fromkeys(NAMES, "Uncertain")}
    for truth in (masked, {"answer": "up", "checkpoints": {}}):
        result = judge("pertmind", thing(lines(), truth=truth))
        assert (result.status, result.reward) == ("ok", 1.05)
        assert [c.status for c in result.components] == ["OK", "UNMEASURED", "OK"]


def test_confidence_of_the_item_is_its_weight(judge):
    item = msgspec.structs.replace(thing(lines()), weight=0.1)
    assert (judge("pertmind", item).reward, judge("pertmind", item).weight) == (1.2, 0.1)


def test_no_truth_no_opinion(judge):
    assert judge("pertmind", thing(lines(), truth=None)).reason == "NO_TRUTH"


FAULTS = {
    "label": ("up", TASK, "BAD_TRUTH", "expected `answer` and `checkpoints`"),
    "answer missing": ({"checkpoints": {}}, TASK, "BAD_TRUTH", "expected `answer` and `checkpoints`"),
    "answer of no class": ({"answer": "sideways", "checkpoints": {}}, TASK, "BAD_TRUTH", "truth.answer: expected one of up, down, no"),
    "answer as a list": ({"answer": ["up"], "checkpoints": {}}, TASK, "BAD_TRUTH", "truth.answer"),
    "checkpoints as a list": ({"answer": "up", "checkpoints": ["UPR"]}, TASK, "BAD_TRUTH", "expected classes by name"),
    "stranger": ({"answer": "up", "checkpoints": {"HSR": "up"}}, TASK, "BAD_TRUTH", "'HSR' is none of task.checkpoints"),
    "class of no checkpoint": ({"answer": "up", "checkpoints": {"UPR": "sideways"}}, TASK, "BAD_TRUTH", "none of its classes"),
    "class as a number": ({"answer": "up", "checkpoints": {"UPR": 1}}, TASK, "BAD_TRUTH", "none of its classes"),
    "twice": ({"answer": "up", "checkpoints": {"UPR": "up", "upr": "down"}}, TASK, "BAD_TRUTH", "two names read the same"),
    "no checkpoints": (TRUTH, {**TASK, "checkpoints": {}}, "BAD_ITEM", "expected at least one"),
    "names alike": (TRUTH, {**TASK, "checkpoints": {"UPR": CLASSES, "upr ": CLASSES}}, "BAD_ITEM", "two names read the same"),
    "one class": (TRUTH, {**TASK, "checkpoints": {"UPR": ["up", "uncertain"]}}, "BAD_ITEM", "two classes or more"),
    "class with a colon": (TRUTH, {**TASK, "checkpoints": {"UPR": ["a: b", "c"]}}, "BAD_ITEM", "without colons"),
    "name of two lines": (TRUTH, {**TASK, "checkpoints": {"U\nPR": CLASSES}}, "BAD_ITEM", "on one line"),
    "one answer class": (TRUTH, {**TASK, "classes": ["up"]}, "BAD_ITEM", "task.classes"),
}  # fmt: skip


@pytest.mark.parametrize(("truth", "task", "reason", "message"), FAULTS.values(), ids=FAULTS)
def test_fault(judge, truth, task, reason, message):
    result = judge("pertmind", thing(lines(), truth=truth, task=task))
    assert (result.status, result.reward, result.reason) == ("error", None, reason)
    assert message in result.message


@CHEAP
@given(
    st.text(max_size=60)
    | st.lists(
        st.sampled_from(["UPR: up", "UPR: down", "translation: no", ":", ": up", "x: y", "", "UPR"])
    ).map("\n".join)
)
def test_sections_are_read_whole_or_not_at_all(text):
    task = thing("").task
    said = stated((("checkpoints", text),), task)
    if said is not None:
        assert said.keys() <= {"upr", "translation", "go:0007049 cell cycle"}
        assert set(said.values()) <= {*CLASSES, "uncertain"}
        assert len(said) == len([line for line in text.split("\n") if line.strip()])


def test_guessing_one_class_beats_naming_all(judge):
    guesses = [
        judge("pertmind", thing(lines(*pair))).reward
        for pair in itertools.product(CLASSES, repeat=2)
    ]
    sprayed = "\n".join(f"{name}: {label}" for name in NAMES for label in CLASSES)
    assert min(guesses) > judge("pertmind", thing(sprayed)).reward


def test_lexi_sum_refuses_heavier_pathways(tmp_path):
    text = 'extends = "pertmind"\n[compose]\nrange = [0, 2]\n[[component]]\nname = "pathway"\nweight = 0.95\n'
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ProfileFault, match="sum to 1, not less than 1"):
        load_profiles(tmp_path)
