"""The verifiers `text` and `brevity`, and the comparison of texts behind the first."""

from __future__ import annotations

import random
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.rewards import texts
from service.rewards.core import Finding, Item, Reason, Result
from service.rewards.library import Library
from service.rewards.profiles import Profile, build
from service.rewards.recipe import Fault, resolve
from service.rewards.works import carry_out

REFERENCE = (
    "CALR is a chaperone that folds glycoproteins in the endoplasmic reticulum. It binds calcium "
    "ions and retains misfolded proteins."
)
HONEST = (
    "CALR is a chaperone of the endoplasmic reticulum that folds glycoproteins, binds calcium ions "
    "and retains misfolded proteins."
)
SHUFFLED = " ".join(random.Random(3).sample(REFERENCE.split(), len(REFERENCE.split())))
EARNING: tuple[texts.Measure, ...] = ("rouge2", "rouge3", "rougeL")


def profile(verifier: str = "text", tasks: tuple[str, ...] = ("text",), **options: Any) -> Profile:
    raw = {"tasks": list(tasks), "component": [{"name": "t", "verifier": verifier, **options}]}
    return build("mine", resolve(raw), Library())


def judged(
    made: Profile, answer: str, truth: Any, question: str = "", think: str = "So."
) -> Result:
    fields = {
        "completion": f"<think>{think}</think><answer>{answer}</answer>",
        "task": {"type": "text", "question": question},
        "truth": truth,
    }
    item = msgspec.convert(fields, Item)
    if fault := made.fault(item):
        return made.failed(item.id, *fault)
    read = made.read(item)
    findings = {index: carry_out(work) for index, work in made.works(item, read).items()}
    return made.compose(item, read, (), findings)


@pytest.mark.parametrize("measure", EARNING)
def test_the_figure_is_that_of_rouge_score_less_the_baseline(measure: texts.Measure) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer([measure], use_stemmer=True)
    figure = scorer.score(REFERENCE, HONEST)[measure].fmeasure
    nothing = max(scorer.score(REFERENCE, one)[measure].fmeasure for one in texts.BOILERPLATE)
    expected = (figure - nothing) / (1 - nothing)
    assert texts.corrected(measure, HONEST, [REFERENCE]) == pytest.approx(expected)
    assert texts.corrected(measure, REFERENCE, [REFERENCE]) == 1.0
    assert judged(profile(measure=measure), HONEST, REFERENCE).reward == pytest.approx(
        expected, abs=1e-6
    )


ATTACKS = {
    "15 reference 50 times": (" ".join([REFERENCE] * 50), 0.0),
    "15 reference twice": (f"{REFERENCE} {REFERENCE}", 0.7),
    "15 word salad": (SHUFFLED, 0.2),
    "15 denied": (REFERENCE.replace(" is ", " is NOT ").replace("It binds", "It never binds"), 0.1),
    "15 denied by a clause": (f"It is not true that {REFERENCE.replace('. It', ' and it')}", 0.1),
    "15 denied in short": (
        REFERENCE.replace(" is ", " isn\u2019t ").replace("It b", "It hardly b"),
        0.1,
    ),
    "15 boilerplate": (texts.BOILERPLATE[0], 0.0),
    "15 boilerplate, another": (texts.BOILERPLATE[2], 0.05),
    "15 another gene": ("CD3D is a chain of the T cell receptor that passes its signal on.", 0.1),
    "15 keywords": ("CALR, chaperone, glycoproteins, endoplasmic reticulum, calcium", 0.4),
    "19 20,000 characters in one word": ("a" * 20_000, 0.0),
    "20 other alphabets": ("Кальретикулин связывает кальций 钙结合蛋白", 0.0),
}


@pytest.mark.parametrize("measure", EARNING)
@pytest.mark.parametrize(("text", "most"), ATTACKS.values(), ids=ATTACKS)
def test_what_attacks_earn(measure: texts.Measure, text: str, most: float) -> None:
    earned = texts.corrected(measure, text, [REFERENCE])
    assert 0.0 <= earned <= most
    if not text.startswith(REFERENCE):  # who knows the reference by heart is no paraphraser
        assert earned < texts.corrected(measure, HONEST, [REFERENCE])


def test_denials_that_the_reference_makes_too_are_right() -> None:
    reference = "CALR does not bind zinc in the nucleus. It folds glycoproteins in the lumen."
    denied = texts.corrected("rougeL", "It does not bind zinc in the nucleus.", [reference])
    claimed = texts.corrected("rougeL", "It does bind zinc in the nucleus.", [reference])
    assert denied > 0.4 > claimed
    assert texts.corrected("rougeL", reference, [reference]) == 1.0


def test_the_question_echoed_earns_nothing() -> None:
    question = "Which chaperone folds glycoproteins in the endoplasmic reticulum and binds calcium?"
    made = profile()
    assert judged(made, question, REFERENCE, question).reward == 0.0
    assert (judged(made, question, REFERENCE).reward or 0.0) > 0.2
    assert (judged(made, HONEST, REFERENCE, question).reward or 0.0) > 0.3


def test_boilerplate_of_a_domain_is_taken_off() -> None:
    own = "It binds calcium ions and retains proteins."
    assert (judged(profile(), own, REFERENCE).reward or 0.0) > 0.0
    assert judged(profile(boilerplate=[own]), own, REFERENCE).reward == 0.0


def test_the_best_of_several_references_counts() -> None:
    made = profile()
    assert judged(made, REFERENCE, ["CD3D passes a signal on.", REFERENCE]).reward == 1.0


def test_longer_than_the_profile_allows_earns_nothing() -> None:
    text = HONEST + " " + "It is a protein of interest. " * 5
    assert judged(profile(longest=2.0), text, REFERENCE).reward == 0.0
    assert (judged(profile(longest=4.0), text, REFERENCE).reward or 0.0) > 0.0


TRUTHS = {
    "none": (None, "NO_TRUTH"),
    "blank": (" ", "BAD_TRUTH"),
    "one word": ("calreticulin", "BAD_TRUTH"),
    "another alphabet": ("钙结合蛋白 кальретикулин", "BAD_TRUTH"),
    "too long": ("word " * 501, "BAD_TRUTH"),
    "too long together": (["word " * 300] * 2, "BAD_TRUTH"),
    "a number": (3, "BAD_TRUTH"),
    "no reference": ([], "BAD_TRUTH"),
    "a number among references": ([REFERENCE, 3], "BAD_TRUTH"),
    "an object": ({"text": REFERENCE}, "BAD_TRUTH"),
}


@pytest.mark.parametrize(("truth", "reason"), TRUTHS.values(), ids=TRUTHS)
def test_truths_that_cannot_be_compared(truth: Any, reason: str) -> None:
    result = judged(profile(measure="rouge2"), HONEST, truth)
    assert (result.reward, result.reason) == (None, reason)


def test_salad_never_earns_by_rouge_1() -> None:
    with pytest.raises(Fault, match="measure: rouge1 counts words in any order"):
        profile(measure="rouge1")
    assert texts.corrected("rouge1", SHUFFLED, [REFERENCE]) == 1.0  # why


def test_work_over_its_budget_has_no_opinion_here() -> None:
    made = profile()
    item = msgspec.convert(
        {
            "completion": f"<think>So.</think><answer>{HONEST}</answer>",
            "task": {"type": "text"},
            "truth": REFERENCE,
        },
        Item,
    )
    result = made.compose(item, made.read(item), (), {0: Finding(Reason.DEADLINE)})
    assert (result.reward, result.reason) == (None, "DEADLINE")


def test_19_two_thousand_words_a_side_stay_bounded() -> None:
    texts.corrected("rougeL", "a", ["a b"])  # imports are not the comparison's
    words = [f"w{index}" for index in range(400)]
    drawn = random.Random(1)
    reference = " ".join(drawn.choice(words) for _ in range(texts.MOST))
    started = time.process_time()
    texts.corrected("rougeL", " ".join(drawn.choice(words) for _ in range(2000)), [reference])
    texts.corrected("rougeL", "No. " * texts.MOST, [reference.replace(" ", ". ")])
    assert time.process_time() - started < 1.0


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200), st.text(max_size=200))
def test_any_two_texts_have_a_figure(text: str, reference: str) -> None:
    for measure in EARNING:
        assert 0.0 <= texts.corrected(measure, texts.plain(text), [texts.plain(reference)]) <= 1.0


BREVITY = {
    "within words": ({"words": 3}, "one two three", 1.0),
    "twice the words": ({"words": 2}, "one two three four", 0.5),
    "within chars": ({"chars": 5}, " abcde ", 1.0),
    "twice the chars": ({"chars": 5}, "abcdefghij", 0.5),
    "the lesser": ({"words": 2, "chars": 2}, "ab cd", 0.4),
    "23 one word of 20,000 characters": ({"words": 10}, "a" * 20_000, 0.02),
}


def brevity(answer: str, think: str = "So.", **options: Any) -> float | None:
    """The score of a brevity beside the text that is judged."""
    raw = {
        "tasks": ["text"],
        "component": [
            {"name": "t", "verifier": "text"},
            {"name": "b", "verifier": "brevity", "role": "report", **options},
        ],
    }
    made = build("mine", resolve(raw), Library())
    return judged(made, answer, REFERENCE, think=think).components[1].score


@pytest.mark.parametrize(("options", "answer", "expected"), BREVITY.values(), ids=BREVITY)
def test_brevity(options: dict[str, Any], answer: str, expected: float) -> None:
    assert brevity(answer, **options) == pytest.approx(expected)


def test_brevity_of_the_reasoning_and_of_the_completion() -> None:
    think = "one two three four"
    assert brevity("x", think, of="think", words=2) == 0.5
    whole = brevity("x", think, of="completion", chars=27)
    assert whole == pytest.approx(27 / len(f"<think>{think}</think><answer>x</answer>"), abs=1e-6)


def test_brevity_without_a_limit_is_refused() -> None:
    with pytest.raises(Fault, match="words: set words or chars"):
        brevity("x")
