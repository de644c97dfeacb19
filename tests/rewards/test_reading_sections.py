"""Sections: further blocks that a profile admits beside the reasoning."""

from __future__ import annotations

import msgspec
import pytest

from service.rewards.core import Item, Message
from service.rewards.extract import Extraction, read
from service.rewards.vocabulary import YES_NO

RULES = Extraction(sections=("gene_info", "checkpoints"))
BOXED = Extraction(answer="boxed", sections=("gene_info",))
PREFILLED = Extraction(sections=("gene_info",), prefilled_think=True)
G, C = "<gene_info>AARS charges tRNA</gene_info>", "<checkpoints>p53: Up</checkpoints>"
T, A = "<think>they interact</think>", "<answer>yes</answer>"
GENE, POINT = ("gene_info", "AARS charges tRNA"), ("checkpoints", "p53: Up")

ADMITTED = {
    "none": (RULES, T + A, ()),
    "before the think": (RULES, f"{G}\n{T} {A}", (GENE,)),
    "two genes": (RULES, G + G + T + A, (GENE, GENE)),
    "in the think": (RULES, f"<think>they {C} interact</think>{A}", (POINT,)),
    "before the answer": (RULES, f"{T}\n{C}\n{A}", (POINT,)),
    "everywhere": (RULES, f"{G}<think>{G}they interact</think>{C}{A}", (GENE, GENE, POINT)),
    "letter case": (RULES, f"<Gene_Info>AARS charges tRNA</GENE_INFO>{T}{A}", (GENE,)),
    "empty": (RULES, f"<gene_info></gene_info>{T}{A}", (("gene_info", ""),)),
    "less than": (RULES, f"<gene_info>p < <b></gene_info>{T}{A}", (("gene_info", "p < <b>"),)),
    "before a box": (BOXED, f"{G}{T}\\boxed{{yes}}", (GENE,)),
    "between think and box": (BOXED, f"{T}{G}\\boxed{{yes}}", (GENE,)),
    "in a think that was begun": (PREFILLED, f"{G} they interact</think>{A}", (GENE,)),
}  # fmt: skip


@pytest.mark.parametrize(("rules", "text", "sections"), ADMITTED.values(), ids=ADMITTED)
def test_admitted(rules, text, sections):
    answer = read(Item(text), rules, YES_NO)
    assert (answer.reason, answer.label, answer.sections) == ("OK", "yes", sections)
    assert "charges" not in answer.think
    assert "interact" in answer.think
    assert answer.parts[1::2][:2] == ["think", "/think"]


REFUSED = {
    "not listed": (Extraction(), f"{G}{T}{A}", "MALFORMED"),
    "after the answer": (RULES, T + A + G, "MALFORMED"),
    "in the answer": (RULES, f"{T}<answer>yes{G}</answer>", "MALFORMED"),
    "unclosed": (RULES, f"<gene_info>a{T}{A}", "MALFORMED"),
    "unclosed at the end": (RULES, f"{T}<gene_info>a", "MALFORMED"),
    "never opened": (RULES, f"a</gene_info>{T}{A}", "MALFORMED"),
    "nested": (RULES, f"<gene_info>{C}</gene_info>{T}{A}", "MALFORMED"),
    "nested in its own": (RULES, f"<gene_info>{G}</gene_info>{T}{A}", "MALFORMED"),
    "closed by another": (RULES, f"<gene_info>a</checkpoints>{T}{A}", "MALFORMED"),
    "think in it": (RULES, f"<gene_info>{T}</gene_info>{A}", "MALFORMED"),
    "10 answer in it": (RULES, f"<gene_info>{A}</gene_info>{T}", "MALFORMED"),
    "22 second answer in it": (RULES, f"<gene_info>{A}</gene_info>{T}{A}", "MALFORMED"),
    "across the think": (RULES, f"<gene_info>a<think>b</gene_info></think>{A}", "MALFORMED"),
    "variant": (RULES, f"< gene_info>a</gene_info>{T}{A}", "MALFORMED"),
    "variant in the think": (RULES, f"<think>< gene_info >a</think>{A}", "MALFORMED"),
    "attribute": (RULES, f'<gene_info id="1">a</gene_info>{T}{A}', "MALFORMED"),
    "only sections in the think": (RULES, f"<think>{C}</think>{A}", "MALFORMED"),
    "prose between": (RULES, f"{G} and {T}{A}", "MALFORMED"),
    "no answer": (RULES, G + T, "NO_ANSWER"),
    "only a section": (RULES, G, "NO_ANSWER"),
    "two answers": (RULES, G + T + A + A, "SEVERAL_ANSWERS"),
}


@pytest.mark.parametrize(("rules", "text", "reason"), REFUSED.values(), ids=REFUSED)
def test_refused(rules, text, reason):
    assert read(Item(text), rules, YES_NO).reason == reason


def test_sections_in_reasoning_that_is_kept_apart():
    def answer(reasoning, content=A):
        plain = [{"reasoning_content": reasoning, "content": content}]
        return read(Item(msgspec.convert(plain, list[Message])), RULES, YES_NO)

    inside = answer(f"{G} they interact")
    assert (inside.reason, inside.sections, inside.think) == ("OK", (GENE,), "  they interact")
    assert answer("<gene_info>a", f"b</gene_info>{A}").reason == "MALFORMED"
    assert answer(f"a {A}", "").reason == "MALFORMED"
