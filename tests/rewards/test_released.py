"""The profile rbio-released against the released total, written out again from its definition."""

from __future__ import annotations

import random
import re

import pytest

SENTENCE = "loss of the gene stalls ribosomes, and stress raises chaperones; so cells respond."
WORDS = re.findall(r"\S+", SENTENCE)


def words(text: str) -> int:
    return len(re.findall(r"\b\w+\b", text))


def blocks(text: str, name: str) -> list[str]:
    return re.findall(rf"<{name}>(.*?)</{name}>", text, re.DOTALL)


def released_format(text: str) -> float:
    """Eleven checks, each 0 or 1 but for the share of words, and their mean."""
    thinks, answers = blocks(text, "think"), blocks(text, "answer")
    tags = re.findall(r"</?(?:think|answer)>", text)
    bare = re.sub(r"</?(?:think|answer)>", "", text)
    after_think = text.rfind("</think>") + len("</think>")
    stack: list[str] = []
    for tag in tags:
        if tag[1] != "/":
            stack.append(tag)
        elif not stack or stack.pop() != tag.replace("/", ""):
            stack.append("broken")
            break
    return (
        ("<think>" in tags)
        + sum(map(words, thinks + answers)) / words(bare)
        + (words(text) <= 200)
        + (tags.count("<answer>") == 1)
        + ("</think>" in tags and text.find("<answer>") > after_think)
        + (len(" ".join(thinks).strip()) > 10)
        + (not any("<" in inner for inner in thinks + answers))
        + ("<think>" in tags and tags.count("<think>") <= 3)
        + (not stack)
        + text.strip().endswith("</answer>")
        + text.strip().startswith("<think>")
    ) / 11


def released_total(text: str, confidence: dict[str, float], keywords: list[str]) -> float:
    answer = blocks(text, "answer")[0].strip().lower()
    think = " ".join(blocks(text, "think"))
    named = sum(keyword in think for keyword in keywords) / len(keywords) if keywords else 1.0
    return released_format(text) + 2 * confidence[answer] + named


def well_formed(rng: random.Random) -> tuple[str, list[str]]:
    """Prose that names some of the keywords as words of their own, in up to four think blocks."""
    keywords = rng.sample(["AARS", "CALR", "NOP56", "HLA-A", "TP53"], rng.randint(0, 4))
    thinks = []
    for _ in range(rng.choice([0, 1, 1, 1, 1, 2, 3, 4])):
        some = rng.sample(WORDS, 9) + rng.choices(WORDS, k=rng.choice([0, 10, 50, 110]))
        for keyword in keywords:
            if rng.random() < 0.7:
                some.insert(rng.randrange(len(some)), keyword)
        thinks.append("  " * rng.randint(0, 1) + " ".join(some) + "\n" * rng.randint(0, 1))
    before = rng.choice(["", "", "\n", "Let me see. "])
    gap = rng.choice(["\n", " ", "\n\n", " well then "])
    answer = rng.choice(["yes", "no", "Yes", " NO ", "\nno\n"])
    text = gap.join([before + "".join(f"<think>{think}</think>{gap}" for think in thinks)])
    end = rng.choice(["", "\n"])
    return f"{text}<answer>{answer}</answer>{end}", keywords


@pytest.mark.parametrize("seed", range(400))
def test_equals_the_released_total(judge, item, seed):
    rng = random.Random(seed)
    text, keywords = well_formed(rng)
    yes = round(rng.random(), 3)
    truth = {"classes": ["no", "yes"], "confidences": [1 - yes, yes]}
    result = judge("rbio-released", item(text, task=None, keywords=keywords, truth=truth))
    expected = released_total(text, {"yes": yes, "no": 1 - yes}, keywords)
    assert result.status == "ok"
    assert result.reward == pytest.approx(expected, abs=1e-6)


def test_the_cases_are_not_all_alike(judge, item):
    totals = {round(released_format(well_formed(random.Random(seed))[0]), 3) for seed in range(400)}
    assert len(totals) > 30
    assert max(totals) == 1.0
