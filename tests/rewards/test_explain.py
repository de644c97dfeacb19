"""What results say about invalid completions: what was found, what the grammar wants, and no more."""

# ruff: noqa: E501 - a table reads best in rows

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.rewards import profiles as recipes
from service.rewards.answers import form_of
from service.rewards.core import Item
from service.rewards.explain import SHOWN, explain, quoted
from service.rewards.extract import read
from service.rewards.library import Library
from service.rewards.recipe import resolve
from service.rewards.rules import Extraction

T, YES = "<think>so</think>", "<answer>yes</answer>"
CLOSED = {"type": "label", "classes": ["A", "B", "C"]}
LETTERS = {"type": "label", "options": {"A": "kinase", "B": "GPCR"}}
MANY = {"type": "label", "classes": [f"class {n}" for n in range(12)]}
SET = {"type": "label_set", "classes": ["T cell", "B cell"]}
FREE = {"type": "label_set", "most": 2}
TWO = {"type": "label_list", "length": 2}
NUMBER, DOSE = {"type": "number"}, {"type": "number", "unit": "µM"}
NAME, PASSAGE, SMILES = {"type": "label"}, {"type": "text"}, {"type": "molecule.equal"}
SAID = {"role": "assistant", "content": YES}


def inside(answer):
    return f"{T}<answer>{answer}</answer>"


FOUND = {
    "empty": ({}, None, "", "NO_ANSWER", "the completion is empty"),
    "no answer tag": ({}, None, "I say yes", "NO_ANSWER", "no <answer>…</answer>"),
    "blank answer": ({}, None, inside(" "), "NO_ANSWER", "the answer is empty"),
    "text between": (
        {},
        None,
        f"{T} Hence: {YES}",
        "MALFORMED",
        "text between </think> and <answer>: 'Hence:'; only blanks may stand there (grammar = \"released\" allows it)",
    ),
    "text before": (
        {},
        None,
        f"Sure! {T}{YES}",
        "MALFORMED",
        "text before <think>: 'Sure!'; only blanks",
    ),
    "text after": (
        {},
        None,
        f"{T}{YES} I hope so",
        "MALFORMED",
        "text after </answer>: 'I hope so'; only blanks may stand there",
    ),
    "text after, released": (
        {"grammar": "released"},
        None,
        f"{T}{YES} ok",
        "MALFORMED",
        "text after </answer>: 'ok'",
    ),
    "comment, released": (
        {"grammar": "released"},
        None,
        f"{T}<!-- no -->{YES}",
        "MALFORMED",
        "a comment",
    ),
    "no opening think": (
        {},
        None,
        f"so</think>{YES}",
        "MALFORMED",
        "no opening <think>: set prefilled_think, or send the prompt that ends with it",
    ),
    "no think": (
        {},
        None,
        YES,
        "MALFORMED",
        'no <think>…</think> before the answer; think = "optional" allows it',
    ),
    "prefilled, never ends": (
        {"prefilled_think": True},
        None,
        f"so {YES}",
        "MALFORMED",
        "the prompt has opened the reasoning, and no </think> ends it",
    ),
    "think never ends": (
        {},
        None,
        "<think>so they",
        "NO_ANSWER",
        "<think> is not closed with </think>; the completion may have been cut off",
    ),
    "empty think": (
        {},
        None,
        f"<think>…</think>{YES}",
        "MALFORMED",
        "no letter and no digit between <think> and </think>",
    ),
    "two thinks": (
        {},
        None,
        T + T + YES,
        "MALFORMED",
        "2 blocks of reasoning (<think>); one may stand",
    ),
    "answer first": ({}, None, YES + T, "MALFORMED", "<answer>…</answer> comes last"),
    "tags crossed": (
        {"grammar": "released"},
        None,
        f"</think>a<think>{YES}",
        "MALFORMED",
        "the tags are out of order",
    ),
    "two answers": (
        {},
        None,
        T + YES + YES,
        "SEVERAL_ANSWERS",
        "2 answer blocks (<answer>); exactly one may stand",
    ),
    "answer cut off": (
        {},
        None,
        f"{T}<answer>ye",
        "MALFORMED",
        "<answer> is not closed with </answer>; the completion may have been cut off",
    ),
    "answer not opened": ({}, None, f"{T}yes</answer>", "MALFORMED", "</answer> without <answer>"),
    "variant": (
        {},
        None,
        f"{T}< answer >yes</answer>",
        "MALFORMED",
        "'< answer >yes' looks like a tag and is written otherwise; the tags are <think> </think> <answer> </answer>",
    ),
    "tag of the profile's": ({"tag": "final"}, None, T + YES, "NO_ANSWER", "no <final>…</final>"),
    "section astray": (
        {"sections": ["facts"]},
        None,
        f"<facts>a {T}{YES}",
        "MALFORMED",
        "a section is not closed",
    ),
    "characters": (
        {"max_chars": 8192},
        None,
        "a" * 12_000,
        "TOO_LONG",
        "12,000 characters, at most 8,192 (max_chars)",
    ),
    "characters of messages": (
        {"max_chars": 16},
        None,
        [SAID],
        "TOO_LONG",
        "20 characters, at most 16",
    ),
    "words": ({"max_words": 3}, None, "a b c d", "TOO_LONG", "4 words, at most 3 (max_words)"),
    "marks": ({}, None, "a" + "\u0301" * 40, "MALFORMED", "combining marks"),
    "tags in reasoning apart": (
        {},
        None,
        [{**SAID, "reasoning_content": "<answer>"}],
        "MALFORMED",
        "the reasoning that messages keep apart",
    ),
    "contradiction": (
        {"gate_contradiction": True},
        None,
        f"<think>So the answer is no.</think>{YES}",
        "CONTRADICTION",
        "concludes another class than the answer, 'yes'",
    ),
    "none of yes and no": (
        {},
        None,
        inside("perhaps"),
        "ANSWER_NOT_IN_VOCABULARY",
        "the answer, 'perhaps', is none of yes, no",
    ),
    "none of the classes": (
        {},
        CLOSED,
        inside("Option A"),
        "ANSWER_NOT_IN_VOCABULARY",
        "the answer, 'Option A', is none of A, B, C",
    ),
    "none of the options": (
        {},
        LETTERS,
        inside("Option A"),
        "ANSWER_NOT_IN_VOCABULARY",
        "is none of A, B, nor one's text",
    ),
    "none of many": ({}, MANY, inside("x"), "ANSWER_NOT_IN_VOCABULARY", "class 7, … (12 in all)"),
    "a name of a set": (
        {},
        SET,
        inside("T cell, NK cell"),
        "ANSWER_NOT_IN_VOCABULARY",
        "'NK cell' is none of T cell, B cell",
    ),
    "names without a list": ({}, FREE, inside('["a", 5]'), "MALFORMED", "JSON list of strings"),
    "an empty name": ({}, FREE, inside("a,,b"), "MALFORMED", "the name '' is empty"),
    "too many names": ({}, FREE, inside("a, b, c"), "TOO_LONG", "more than 2 names"),
    "a long name": (
        {},
        FREE,
        inside("b" * 201),
        "TOO_LONG",
        "a name of 201 characters, at most 200",
    ),
    "another number of names": (
        {},
        TWO,
        inside("a, b, c"),
        "MALFORMED",
        "3 names, 2 are asked for",
    ),
    "a name twice": ({}, TWO, inside("a, a"), "MALFORMED", "a name stands twice"),
    "two labels": (
        {},
        NAME,
        inside("flu; cold"),
        "SEVERAL_ANSWERS",
        "holds several names; one is asked for",
    ),
    "long label": ({}, NAME, inside("b" * 201), "TOO_LONG", "the answer has 201 characters"),
    "hidden characters": (
        {},
        NAME,
        inside("f\u200blu"),
        "MALFORMED",
        "characters that no reader sees",
    ),
    "comment in a passage": ({}, PASSAGE, inside("a <!-- b -->"), "MALFORMED", "a comment"),
    "no number": (
        {},
        NUMBER,
        inside("3 or 4"),
        "ANSWER_NOT_IN_VOCABULARY",
        "the answer, '3 or 4', is not exactly one number without a unit",
    ),
    "another unit": (
        {},
        DOSE,
        inside("3 kg"),
        "ANSWER_NOT_IN_VOCABULARY",
        "one number in 'µM' or what converts to it",
    ),
    "no probability": (
        {"states": "probability"},
        None,
        inside("83"),
        "ANSWER_NOT_IN_VOCABULARY",
        "is no probability",
    ),
    "no molecule": ({}, SMILES, inside("CCO or CCN"), "MALFORMED", "is not one token"),
    "no box": (
        {"answer": "boxed"},
        None,
        T + "yes",
        "NO_ANSWER",
        "no answer found; the answer stands in one \\boxed{…}",
    ),
    "two boxes": (
        {"answer": "boxed"},
        None,
        T + "\\boxed{yes} \\boxed{no}",
        "SEVERAL_ANSWERS",
        "more than one answer found",
    ),
    "box of another": (
        {"answer": "boxed"},
        None,
        T + "\\boxed{maybe}",
        "ANSWER_NOT_IN_VOCABULARY",
        "the answer, 'maybe', is none of",
    ),
    "no letter": (
        {"answer": "letter"},
        LETTERS,
        T + "GPCR",
        "NO_ANSWER",
        "one option's letter, alone on the last line",
    ),
    "no object": ({"answer": "json"}, None, T + "yes", "NO_ANSWER", "under the key 'answer'"),
    "no call": (
        {"answer": "tool", "tool": "submit", "think": "optional"},
        None,
        [SAID],
        "NO_ANSWER",
        "the one call of the tool, under the key 'answer'",
    ),
    "fence beside the last line": (
        {"answer": "last-line"},
        None,
        T + "```x```\nyes",
        "MALFORMED",
        "a code fence",
    ),
    "before the think": (
        {"answer": "after-think"},
        None,
        f"a{T}yes",
        "MALFORMED",
        "text before <think>: 'a'; only blanks may stand there",
    ),
}


def explained(extract, task, completion):
    item = msgspec.convert({"completion": completion, "task": task}, Item)
    rules = msgspec.convert(extract, Extraction)
    form = form_of(item.task, rules, Library())
    answer = read(item, rules, form)
    return answer, explain(item, answer, rules, form) if answer.reason != "OK" else None


@pytest.mark.parametrize(
    ("extract", "task", "completion", "reason", "message"), FOUND.values(), ids=FOUND
)
def test_says_what_was_found(extract, task, completion, reason, message):
    answer, said = explained(extract, task, completion)
    assert answer.reason == reason
    assert message in said


RULES = [
    {},
    {"grammar": "released"},
    {"prefilled_think": True},
    {"sections": ["facts"]},
    {"answer": "boxed"},
    {"answer": "json"},
    {"answer": "last-line"},
    {"think_tag": ["<|t|>", "<|/t|>"], "tag": "final"},
]
PIECES = st.sampled_from(
    [
        T,
        YES,
        "<think>",
        "</think>",
        "<answer>",
        "</answer>",
        "< answer>",
        "<facts>",
        "</facts>",
        "<final>",
        "\\boxed{",
        "yes",
        "; ",
        "\n",
        "\ud800",
        "\u200b",
        "<!--",
        "```",
        "`",
        "{",
        "x" * 300,
    ]
)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    text=st.lists(PIECES | st.text(max_size=6), max_size=10).map("".join),
    extract=st.sampled_from(RULES),
    task=st.sampled_from([None, MANY, SET, FREE, TWO, NUMBER, NAME, PASSAGE, SMILES]),
)
def test_any_invalid_text_is_explained_in_short(text, extract, task):
    answer, said = explained(extract, task, text)
    if answer.reason != "OK":
        assert 0 < len(said) < 400
        assert said.isprintable()  # lone surrogates are not, so that both wires can carry it


@pytest.mark.parametrize(
    "text", ["a" * 5000, "\U000e0001" * 50, "'" * 500, "a\nb", "", " " * 999 + "a", "\ud800"]
)
def test_a_quotation_is_bounded_and_escaped(text):
    assert 2 <= len(quoted(text)) <= SHOWN
    assert quoted(text).isprintable()


def test_results_carry_it(judge, item):
    said = judge("rbio-mlp", item(YES))
    assert (said.status, said.message) == (
        "invalid",
        'no <think>…</think> before the answer; think = "optional" allows it',
    )
    assert judge("rbio-mlp", item(T + YES)).message is None


def test_a_gate_says_its_figures(judge, item):
    gate = {"name": "style", "verifier": "format", "role": "gate", "at_least": 1.0, "max_chars": 1}
    made = {"tasks": ["perturbation.de"], "component": [{"name": "a", "verifier": "answer"}, gate]}
    profile = recipes.build("gated", resolve(made), Library())
    said = judge(profile, item(T + YES))
    assert (said.status, said.reason) == ("invalid", "MALFORMED")
    assert said.message.startswith("gate 'style': ")


def test_a_molecule_that_is_none_is_explained(judge, profiles):
    example = profiles["chem-design"].recipe.examples[0]
    asked = {**example.item(), "completion": inside("C1CC")}
    said = judge("chem-design", msgspec.convert(asked, Item))
    assert (said.status, said.reason) == ("invalid", "MALFORMED")
    assert "SMILES" in said.message


MISSING = {"missing": {}, "null": {"completion": None}}


@pytest.mark.parametrize("fields", MISSING.values(), ids=MISSING)
def test_an_item_without_completion_is_a_bad_item(judge, item, fields):
    whole = msgspec.to_builtins(item("x"))
    del whole["completion"]
    said = judge("rbio-mlp", msgspec.convert({**whole, **fields}, Item))
    assert (said.status, said.reward, said.reason) == ("error", None, "BAD_ITEM")
    assert said.message.startswith("completion: missing")
    assert judge("rbio-mlp", item("")).reason == "NO_ANSWER"


def test_a_label_without_classes_learns_of_options(judge):
    asked = {"completion": T + YES, "task": {"type": "label", "question": "?"}, "truth": "yes"}
    said = judge("owkinzero-binary", msgspec.convert(asked, Item))
    assert said.reason == "BAD_ITEM"
    assert said.message.startswith("task.classes: expected two classes or more, got 0")
    assert said.message.endswith("task.options")
