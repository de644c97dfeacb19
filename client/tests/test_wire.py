"""Every JSON item has its protobuf; what has none is refused and never dropped."""

from __future__ import annotations

import json
import math

import pytest

from softverifier import Item, wire
from softverifier.items import BadItem

PERTURBATION = {"type": "perturbation.de", "perturbation": "A", "gene": "B", "cell_line": "k562"}


@pytest.mark.parametrize(
    ("truth", "form", "value"),
    [
        ("yes", "label", "yes"),
        ("", "label", ""),
        (0.1 + 0.2, "number", 0.1 + 0.2),
        (5e-324, "number", 5e-324),
        (-0.0, "number", -0.0),
        (3, "number", 3.0),
        (True, "boolean", True),
        (2**60 + 1, "json", str(2**60 + 1)),
        ([1, "é"], "json", '[1,"é"]'),
        ({"classes": ["a"]}, "json", '{"classes":["a"]}'),
    ],
    ids=str,
)
def test_truths(truth, form, value):
    made = wire.item_of({"completion": "a", "truth": truth}).truth
    assert made.WhichOneof("form") == form
    found = getattr(made, form)
    assert found == value
    if isinstance(value, float):
        assert math.copysign(1, found) == math.copysign(1, value)


def test_soft_labels_keep_their_bits():
    soft = {"classes": ["no", "yes"], "confidences": [0.137, 1 / 3]}
    made = wire.item_of({"truth": soft}).truth.soft_labels
    assert list(made.classes) == ["no", "yes"]
    assert list(made.confidences) == [0.137, 1 / 3]


def test_tasks_of_every_type():
    one = wire.item_of({"task": PERTURBATION}).task
    assert (one.type, list(one.perturbation), one.gene, one.cell_line) == (
        "perturbation.de",
        ["A"],
        "B",
        "k562",
    )
    several = wire.item_of({"task": {**PERTURBATION, "perturbation": ["A", "C"]}}).task
    assert list(several.perturbation) == ["A", "C"]
    pair = wire.item_of({"task": {"type": "gene.similarity", "genes": ("A", "B"), "context": "x"}})
    assert (list(pair.task.genes), pair.task.context) == (["A", "B"], "x")
    label = {"type": "label", "classes": ["x"], "question": "?", "synonyms": {"x": ["y", "z"]}}
    made = wire.item_of({"task": label}).task
    assert list(made.synonyms["x"].values) == ["y", "z"]
    assert not wire.item_of({"completion": "a", "task": None}).HasField("task")


@pytest.mark.parametrize("item", [{}, {"completion": None}, Item()], ids=["no key", "null", "Item"])
def test_a_missing_completion_is_not_sent_as_an_empty_one(item):
    assert not wire.item_of(item).HasField("completion")
    assert wire.item_of({"completion": ""}).HasField("completion")


def test_keywords_that_are_given_empty_are_given():
    assert wire.item_of({"keywords": []}).has_keywords
    assert not wire.item_of({"keywords": None}).has_keywords


def test_messages_of_text_have_fields_of_their_own():
    said = [{"role": "user", "content": "q"}, {"reasoning_content": "a", "content": "b"}]
    made = wire.item_of(Item(completion=said, prompt=said[:1], id=5, group="g"))
    assert [(m.role, m.content, m.reasoning, m.json) for m in made.completion_messages] == [
        ("user", "q", "", ""),
        ("assistant", "b", "a", ""),
    ]
    assert [(m.role, m.content) for m in made.prompt_messages] == [("user", "q")]
    assert (made.prompt, made.id, made.group) == ("", "5", "g")


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": [{"type": "text", "text": "x"}, {"type": "image"}]},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f"}}]},
        {"type": "function_call", "name": "f", "arguments": "{}"},
        {"role": "", "content": "x"},
        {"role": "assistant", "content": 5},
    ],
    ids=["parts", "tool calls", "Responses item", "no role", "wrong type"],
)
def test_other_messages_travel_as_json(message):
    (made,) = wire.item_of({"completion": [message]}).completion_messages
    assert json.loads(made.json) == message
    assert (made.role, made.content) == ("", "")


def test_lone_surrogates_and_numpy():
    numpy = pytest.importorskip("numpy")
    made = wire.item_of({"completion": "a\ud800", "truth": numpy.float64(0.1)})
    assert (made.completion, made.truth.number) == ("a\ufffd", 0.1)
    assert wire.item_of({"truth": numpy.float32(0.5)}).truth.number == 0.5
    assert list(wire.item_of({"keywords": numpy.array(["A", "B"])}).keywords) == ["A", "B"]


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("text", "an item is str"),
        ({"completoin": "a"}, "no field 'completoin'"),
        ({"completion": 5}, "item.completion is int"),
        ({"completion": ["a"]}, "a message is str"),
        ({"id": True}, "item.id is bool"),
        ({"id": 1.5}, "item.id is float"),
        ({"truth": math.nan}, "item.truth is nan"),
        ({"truth": {"classes": ["a"], "confidences": [math.inf]}}, "not finite"),
        ({"truth": object()}, "truth is object"),
        ({"keywords": "AB"}, "item.keywords is str"),
        ({"task": "de"}, "item.task is str"),
        ({"task": {"type": "label", "colour": "x"}}, "'colour' that no task type has"),
        ({"task": {"type": "label", "classes": "yes"}}, "task.classes is str"),
        ({"task": {"type": "perturbation.de", "gene": 5}}, "wrong type"),
        ({"prompt": 5}, "item.prompt is int"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_said_is_refused(item, words):
    with pytest.raises(BadItem, match=words):
        wire.item_of(item)
