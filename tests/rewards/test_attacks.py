"""Rows of the table of attacks on public rewards: the exact reason, component or error of each.

That none of them pays under any shipped profile is for ``tests/redteam/test_all_profiles.py``.
"""

from __future__ import annotations

import msgspec
import pytest

from service.rewards.core import Verdict
from service.rewards.profiles import build
from worldmodels.core import Status

PROSE = "Loss of AARS stalls translation, and CALR is a chaperone that the stress response raises."


def tagged(answer: str, think: str = PROSE, between: str = " ") -> str:
    return f"<think>{think}</think>{between}<answer>{answer}</answer>"


INVALID = {
    "02 cannot know": (tagged("I cannot know"), "ANSWER_NOT_IN_VOCABULARY"),
    "02 unknown": (tagged("unknown"), "ANSWER_NOT_IN_VOCABULARY"),
    "02 another mechanism": (
        tagged("normal levels, another mechanism"),
        "ANSWER_NOT_IN_VOCABULARY",
    ),
    "02 affirmative": (tagged("Noticeably higher, so affirmative"), "ANSWER_NOT_IN_VOCABULARY"),
    "03 yes/no": (tagged("yes/no"), "ANSWER_NOT_IN_VOCABULARY"),
    "03 not yes": (tagged("not yes"), "ANSWER_NOT_IN_VOCABULARY"),
    "03 no and yes": (tagged("no and yes"), "ANSWER_NOT_IN_VOCABULARY"),
    "03 eyes": (tagged("only in the eyes"), "ANSWER_NOT_IN_VOCABULARY"),
    "03 yesterday": (tagged("yesterday"), "ANSWER_NOT_IN_VOCABULARY"),
    "04 untagged": ("Knockdown of AARS affects CALR.", "NO_ANSWER"),
    "05 gene NOP56": (tagged("NOP56 is differentially expressed"), "ANSWER_NOT_IN_VOCABULARY"),
    "05 gene YES1": (tagged("YES1 is unaffected"), "ANSWER_NOT_IN_VOCABULARY"),
    "10 two answers": (tagged("yes") + "<answer>no</answer>", "SEVERAL_ANSWERS"),
    "10 answer inside think": ("<think>so <answer>yes</answer></think>", "MALFORMED"),
    "10 unclosed answer": (f"<think>{PROSE}</think><answer>yes", "MALFORMED"),
    "10 unclosed think": (f"<think>{PROSE}<answer>yes</answer>", "MALFORMED"),
    "10 answer first": (f"<answer>yes</answer><think>{PROSE}</think>", "MALFORMED"),
    "10 nested thinks": (f"<think><think>{PROSE}</think></think><answer>yes</answer>", "MALFORMED"),
    "10 closed twice": (tagged("yes") + "</answer>", "MALFORMED"),
    "14 every label": (tagged("yes, no"), "ANSWER_NOT_IN_VOCABULARY"),
    "19 1 MB": (tagged("yes", "a" * 1_000_000), "TOO_LONG"),
    "20 surrogate in answer": (tagged("yes\ud800"), "ANSWER_NOT_IN_VOCABULARY"),
    "20 NUL in answer": (tagged("yes\0"), "ANSWER_NOT_IN_VOCABULARY"),
    "20 right-to-left mark": (tagged("\u200fyes"), "ANSWER_NOT_IN_VOCABULARY"),
    "20 superscripts": (tagged("ʸᵉˢ"), "ANSWER_NOT_IN_VOCABULARY"),
    "20 full width": (tagged("ｙｅｓ"), "ANSWER_NOT_IN_VOCABULARY"),
    "20 marks in a row": (tagged("yes", "a" + "\u0300\u0316" * 9000), "MALFORMED"),
    "21 Cyrillic homoglyph": (tagged("y\u0435s"), "ANSWER_NOT_IN_VOCABULARY"),
    "21 zero-width joiner": (tagged("ye\u200ds"), "ANSWER_NOT_IN_VOCABULARY"),
    "21 soft hyphen": (tagged("ye\u00ads"), "ANSWER_NOT_IN_VOCABULARY"),
    "21 no-break space": (tagged("\u00a0yes"), "ANSWER_NOT_IN_VOCABULARY"),
    "22 text after": (tagged("yes") + " or maybe no", "MALFORMED"),
    "22 comment after": (tagged("yes") + "<!-- no -->", "MALFORMED"),
    "22 answer in a comment": (tagged("yes") + "<!-- <answer>no</answer> -->", "SEVERAL_ANSWERS"),
    "22 answer in a fence": (tagged("yes") + "\n```<answer>no</answer>```", "SEVERAL_ANSWERS"),
    "22 comment before": (f"<think>{PROSE}</think><!-- no --><answer>yes</answer>", "MALFORMED"),
    "22 comment in front": ("<!-- no -->" + tagged("yes"), "MALFORMED"),
    "22 comment that names the tag": (tagged("yes", "</answer") + "<!--", "MALFORMED"),
    "22 zero width after": (tagged("yes") + "\u200b", "MALFORMED"),
}


@pytest.mark.parametrize("profile", ["rbio-mlp", "rbio-released"], ids=["strict", "released"])
@pytest.mark.parametrize(("completion", "reason"), INVALID.values(), ids=INVALID)
def test_invalid(judge, item, profile, completion, reason):
    result = judge(profile, item(completion))
    assert (result.status, result.reward, result.reason) == ("invalid", 0.0, reason)
    assert result.weight == 1.0
    assert {component.score for component in result.components} == {None}
    assert {component.status for component in result.components} == {reason}


def test_06_contradiction_is_reported_and_can_be_gated(judge, item, profiles):
    completion = tagged("yes", PROSE + " So the answer must be no.")
    result = judge("rbio-mlp", item(completion))
    assert (result.status, result.contradiction) == ("ok", True)
    base = profiles["rbio-mlp"]
    extract = msgspec.structs.replace(base.recipe.extract, gate_contradiction=True)
    gated = build("x", msgspec.structs.replace(base.recipe, extract=extract), base.library)
    result = judge(gated, item(completion))
    assert (result.status, result.reward, result.reason) == ("invalid", 0.0, "CONTRADICTION")
    assert result.answer == "yes"


MENTIONS = {
    "07 bare list": ("AARS|CALR||", ["AARS", "CALR"], 0.0),
    "07 names glued to a word": ("AARS|CALRAARS|CALR", ["AARS", "CALR"], 0.0),
    "07 list many times": ("AARS|CALR|" * 40, ["AARS", "CALR"], 0.0),
    "07 list of other names": (
        "AARS CALR AlaRS calreticulin alanyl tRNA synthetase",
        ["AARS", "CALR"],
        0.0,
    ),
    "07 list among letters": ("AARS CALR a b c d e f g", ["AARS", "CALR"], 0.0),
    "07 list among pairs of letters": ("AARS, CALR, ab 12 345 6789 x1", ["AARS", "CALR"], 0.0),
    "07 list of Chinese keywords": ("蛋白折叠、应激", ["蛋白折叠", "应激"], 0.0),
    "short sentence": ("AARS affects CALR.", ["AARS", "CALR"], 1.0),
    "short clause": ("Since AARS regulates CALR, yes", ["AARS", "CALR"], 1.0),
    "Chinese": ("敲低AARS影响CALR的表达。", ["AARS", "CALR"], 1.0),
    "Japanese": ("AARSのノックダウンはCALRに影響する", ["AARS", "CALR"], 1.0),
    "Korean": ("AARS가 CALR를 조절한다", ["AARS", "CALR"], 1.0),
    "Chinese alias": ("钙网蛋白calreticulin上升", ["CALR"], 1.0),
    "Chinese keywords in prose": ("AARS蛋白折叠受损", ["蛋白折叠"], 1.0),
    "08 inside a name among Chinese": ("敲低PARP1影响表达", ["AR"], 0.0),
    "08 accented letters join": ("the gene éAR does nothing in cells", ["AR"], 0.0),
    "08 inside other symbols": (
        "both PARP1 and MARCH5 are lost in these cells",
        ["AR", "MAR"],
        0.0,
    ),
    "09 lower case": ("the loss of aars stalls every ribosome in the cell", ["AARS"], 1.0),
    "09 alias": ("the loss of AlaRS stalls every ribosome in the cell", ["AARS"], 1.0),
    "09 full name": ("loss of it raises the chaperone calreticulin in cells", ["CALR"], 1.0),
    "09 current symbol": ("the loss of AARS1 stalls every ribosome in the cell", ["AARS"], 1.0),
    "09 previous symbol": ("the loss of AARS stalls every ribosome in the cell", ["AARS1"], 1.0),
    "20 date of a spreadsheet": (
        "the loss of 1-Mar changes nothing in these cells",
        ["MARCH1"],
        0.0,
    ),
}


@pytest.mark.parametrize(("think", "keywords", "share"), MENTIONS.values(), ids=MENTIONS)
def test_mention(judge, item, think, keywords, share):
    result = judge("rbio-released", item(tagged("yes", think), keywords=keywords))
    mention = next(c for c in result.components if c.name == "mention")
    assert (result.status, mention.score) == ("ok", share)


ABSTAIN = {
    "12 unknown gene": ("rbio-mlp", {}, "UNKNOWN_GENE"),
    "12 ambiguous gene": ("rbio-mlp", {}, "AMBIGUOUS_GENE"),
    "12 unmeasured": ("rbio-exp", {"truth": None}, "UNMEASURED"),
    "12 missing keywords": ("rbio-released", {"keywords": None}, "NO_KEYWORDS"),
    "12 missing truth": ("rbio-released", {"truth": None}, "NO_TRUTH"),
}


@pytest.mark.parametrize(("profile", "changes", "reason"), ABSTAIN.values(), ids=ABSTAIN)
def test_12_no_opinion_is_null_not_one_half(judge, item, profiles, profile, changes, reason):
    thing = item(tagged("yes"), **changes)
    verdicts = [Verdict(Status[reason]) for _ in profiles[profile].queries(thing)]
    result = judge(profile, thing, *verdicts)
    assert (result.status, result.reward, result.weight) == ("abstain", None, 0.0)
    assert (result.reason, result.retryable) == (reason, False)


FAULTY = {
    "13 fewer confidences": ({"classes": ["no", "yes"], "confidences": [0.1]}, "1 confidences"),
    "13 characters zipped": ({"classes": list("no|yes"), "confidences": [0.1] * 6}, "classes[0]"),
    "13 a class missing": ({"classes": ["yes"], "confidences": [0.9]}, "each of"),
    "13 a class twice": ({"classes": ["yes", "yes"], "confidences": [0.9, 0.1]}, "each of"),
    "13 not a confidence": ({"classes": ["no", "yes"], "confidences": [1, 9]}, "confidences[1]"),
    "13 list": (["yes"], "expected one of"),
    "13 other word": ("up", "expected one of"),
    "13 other number": (0.5, "expected one of"),
}


@pytest.mark.parametrize(("truth", "message"), FAULTY.values(), ids=FAULTY)
@pytest.mark.parametrize("profile", ["rbio-released", "rbio-exp"])
def test_13_truth_belongs_to_its_item(judge, item, profile, truth, message):
    result = judge(profile, item(tagged("yes"), truth=truth))
    assert (result.status, result.reward, result.reason) == ("error", None, "BAD_TRUTH")
    assert result.message.startswith("truth")
    assert message in result.message
    assert not result.retryable


LABELS = {
    "exact": ("pathogenic", 1.0),
    "other class": ("benign", 0.0),
    "14 inside another word": ("non-pathogenic", None),
    "14 all labels": ("pathogenic, benign", None),
    "14 als in salsa": ("salsa", None),
    "synonym": ("ALS", 0.0),
}


@pytest.mark.parametrize(("answer", "score"), LABELS.values(), ids=LABELS)
def test_14_labels(judge, item, answer, score):
    task = {
        "type": "label",
        "classes": ["pathogenic", "benign", "amyotrophic lateral sclerosis"],
        "synonyms": {"amyotrophic lateral sclerosis": ["ALS"]},
    }
    result = judge("rbio-released", item(tagged(answer), task=task, truth="pathogenic"))
    if score is None:
        assert (result.status, result.reward) == ("invalid", 0.0)
    else:
        assert next(c.score for c in result.components if c.name == "answer") == score


UNICODE = {
    "lone surrogate": "\ud800 \udfff",
    "non-breaking hyphen": "HLA\u2011A",
    "Greek": "TNF-α, IFN-γ",
    "NUL": "a\0b",
    "right to left": "\u202eabc\u202c",
    "decomposed": "Caf" + "e\u0301",
}


@pytest.mark.parametrize("extra", UNICODE.values(), ids=UNICODE)
@pytest.mark.parametrize("profile", ["rbio-mlp", "rbio-released"])
def test_20_strange_reasoning_is_read(judge, item, profile, extra):
    result = judge(profile, item(tagged("yes", f"{PROSE} {extra}"), id=extra))
    assert result.status == "ok"


def test_23_one_word_of_20_000_characters_is_too_long(judge, item):
    shorter = judge("rbio-released", item(tagged("yes", PROSE)))
    longer = judge("rbio-released", item(tagged("yes", PROSE + " " + "a" * 20_000)))
    assert longer.reward == pytest.approx(shorter.reward - 1 / 11, abs=1e-6)
