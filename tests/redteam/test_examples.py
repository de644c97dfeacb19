"""A profile without examples shows one that works: for every task type, wherever it is answered."""

from __future__ import annotations

import msgspec
import pytest

from service.redteam.frame import CLAIM, THINK, frame_of
from service.rewards.answers import form_of
from service.rewards.core import Item, Reason
from service.rewards.examples import SAMPLES, example_item
from service.rewards.extract import read
from service.rewards.library import Library
from service.rewards.rules import Extraction
from service.rewards.tasks import TASK_TYPES

PLACES = {
    "tag": Extraction(),
    "own tags": Extraction(tag=("<|answer|>", "<|/answer|>"), think_tag="reasoning"),
    "after-think": Extraction(answer="after-think"),
    "boxed": Extraction(answer="boxed"),
    "json": Extraction(answer="json", field="verdict"),
    "last-line": Extraction(answer="last-line"),
}


def test_every_task_type_has_a_sample():
    assert sorted(SAMPLES) == sorted(TASK_TYPES)


@pytest.mark.parametrize("rules", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("kind", TASK_TYPES)
def test_samples_are_read_and_cut_into_frames(kind, rules):
    made = example_item((kind,), "hard", rules)
    item = msgspec.convert(made, Item)
    answer = read(item, rules, form_of(item.task, rules, Library()))
    assert answer.reason is Reason.OK
    frame = frame_of(answer, ("</think>",))
    assert frame.write() == made["completion"]
    assert frame.text(CLAIM) == SAMPLES[kind].claim
    assert frame.text(THINK) == SAMPLES[kind].think
    other = msgspec.convert({**made, "completion": frame.write(claim="x\n\"'")}, Item)
    assert read(other, rules, form_of(item.task, rules, Library())).label != answer.label


SPECIAL = {
    "letter": (Extraction(answer="letter"), "B"),
    "probability": (Extraction(states="probability"), "0.9"),
}


@pytest.mark.parametrize(("rules", "claim"), SPECIAL.values(), ids=SPECIAL)
def test_what_is_answered_otherwise(rules, claim):
    item = msgspec.convert(example_item(("label",), "hard", rules), Item)
    answer = read(item, rules, form_of(item.task, rules, Library()))
    assert (answer.reason, answer.claimed) == (Reason.OK, claim)
