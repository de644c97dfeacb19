"""Answers that stand in no tag: what each place reads, and what it refuses."""

from __future__ import annotations

import msgspec
import pytest

from service.rewards.answers import form_of
from service.rewards.core import Item, Message
from service.rewards.extract import Extraction, read
from service.rewards.library import Library
from service.rewards.profiles import ProfileFault, load_profiles
from service.rewards.rules import fault_of
from service.rewards.tasks import Label, LabelSet, PerturbationDE, Text

TASKS = {
    "yes/no": PerturbationDE("A", "B"),
    "options": Label(options={"A": "kinase", "B": "GPCR", "C": "ion channel"}),
    "open": Label(),
    "set": LabelSet(classes=["T cell", "B cell", "CD4-positive, alpha-beta T cell"]),
    "text": Text(),
}
AFTER = Extraction(answer="after-think")
UNTIL = Extraction(answer="after-think", until=";")
BOXED = Extraction(answer="boxed")
LETTER = Extraction(answer="letter")
JSON = Extraction(answer="json")
LAST = Extraction(answer="last-line")
MATCH = Extraction(answer="pattern", pattern=r"(?m)^Verdict: (\w+)")
T = "<think>they interact</think>"
NOT_IN, SEVERAL = "ANSWER_NOT_IN_VOCABULARY", "SEVERAL_ANSWERS"

PLACES = {
    # after-think
    "after: plain": (AFTER, "yes/no", f"{T}\nyes\n", "OK"),
    "after: nothing": (AFTER, "yes/no", f"{T}\n", "NO_ANSWER"),
    "after: prose": (AFTER, "yes/no", f"{T}so yes", NOT_IN),
    "after: two": (AFTER, "yes/no", f"{T}yes\nno", NOT_IN),
    "after: 22 stuffing": (AFTER, "yes/no", f"{T}yes, or no", NOT_IN),
    "after: 22 comment": (AFTER, "yes/no", f"{T}yes <!-- no -->", NOT_IN),
    "after: 22 fence": (AFTER, "yes/no", f"{T}```\nyes\n```", NOT_IN),
    "after: 21 homoglyph": (AFTER, "yes/no", f"{T}y\u0435s", NOT_IN),
    "after: 21 joiner": (AFTER, "yes/no", f"{T}y\u200des", NOT_IN),
    "after: tag": (AFTER, "yes/no", f"{T}<answer>yes</answer>", NOT_IN),
    "after: prose in front": (AFTER, "yes/no", f"yes {T} yes", "MALFORMED"),
    "after: think never ends": (AFTER, "yes/no", "<think>it interacts\nyes", "NO_ANSWER"),
    "after: two thinks": (AFTER, "yes/no", f"{T}{T}yes", "MALFORMED"),
    "after: think closes twice": (AFTER, "yes/no", f"{T}</think>yes", "MALFORMED"),
    "after: variant think": (AFTER, "yes/no", "<think>a</ think></think>yes", "MALFORMED"),
    "after: no think": (AFTER, "yes/no", "yes", "MALFORMED"),
    "after: empty": (AFTER, "yes/no", "", "NO_ANSWER"),
    "after: blank think": (AFTER, "yes/no", "<think> </think>yes", "MALFORMED"),
    "after: open label": (AFTER, "open", f"{T} Cushing syndrome.", "OK"),
    "after: open label, two lines": (AFTER, "open", f"{T} Cushing\nsyndrome", "MALFORMED"),
    "after: a passage": (AFTER, "text", f"{T} It binds\n\nand folds.", "OK"),
    "after: a passage with a comment": (AFTER, "text", f"{T} It <!-- binds -->", "MALFORMED"),
    # until
    "until: explained": (UNTIL, "yes/no", f"{T}yes; since they interact", "OK"),
    "until: bold": (UNTIL, "yes/no", f"{T}**Yes**; since they interact", "OK"),
    "until: no explanation": (UNTIL, "yes/no", f"{T}yes", "OK"),
    "until: nothing before it": (UNTIL, "yes/no", f"{T}; yes", "NO_ANSWER"),
    "until: explanation first": (UNTIL, "yes/no", f"{T}they interact; yes", NOT_IN),
    "until: 22 comment": (UNTIL, "yes/no", f"{T}yes; <!-- no -->", "MALFORMED"),
    "until: 22 fence": (UNTIL, "yes/no", f"{T}yes; ```no```", "MALFORMED"),
    "until: answer tag": (UNTIL, "yes/no", f"{T}yes; <answer>no</answer>", "MALFORMED"),
    # boxed
    "boxed: prose before": (BOXED, "yes/no", f"{T}So it is $\\boxed{{yes}}$.", "OK"),
    "boxed: text in it": (BOXED, "yes/no", f"{T}\\boxed{{\\text{{Yes}}}}", "OK"),
    "boxed: braces": (BOXED, "open", f"{T}\\boxed{{a {{b}} c}}", "OK"),
    "boxed: escaped brace": (BOXED, "open", f"{T}\\boxed{{a \\}} b}}", "OK"),
    "boxed: none": (BOXED, "yes/no", f"{T}yes", "NO_ANSWER"),
    "boxed: empty": (BOXED, "yes/no", f"{T}\\boxed{{}}", "NO_ANSWER"),
    "boxed: two": (BOXED, "yes/no", f"{T}\\boxed{{yes}} \\boxed{{no}}", SEVERAL),
    "boxed: twice the same": (BOXED, "yes/no", f"{T}\\boxed{{yes}} \\boxed{{yes}}", SEVERAL),
    "boxed: in the think too": (
        BOXED,
        "yes/no",
        "<think>so \\boxed{no}</think>\\boxed{yes}",
        SEVERAL,
    ),
    "boxed: in the think alone": (BOXED, "yes/no", "<think>so \\boxed{no}</think>no", "NO_ANSWER"),
    "boxed: never closes": (BOXED, "yes/no", f"{T}\\boxed{{yes", "MALFORMED"),
    "boxed: nested": (BOXED, "yes/no", f"{T}\\boxed{{\\boxed{{yes}}}}", SEVERAL),
    "boxed: no brace": (BOXED, "yes/no", f"{T}\\boxed yes", "MALFORMED"),
    "boxed: variant": (BOXED, "yes/no", f"{T}\\fbox{{yes}}", "MALFORMED"),
    "boxed: variant beside it": (BOXED, "yes/no", f"{T}\\Boxed{{no}} \\boxed{{yes}}", SEVERAL),
    "boxed: 22 stuffing": (BOXED, "yes/no", f"{T}\\boxed{{yes}} or no", "MALFORMED"),
    "boxed: 22 comment": (BOXED, "yes/no", f"{T}<!-- no -->\\boxed{{yes}}", "MALFORMED"),
    "boxed: 22 fence": (BOXED, "yes/no", f"{T}```no```\\boxed{{yes}}", "MALFORMED"),
    "boxed: answer tag": (BOXED, "yes/no", f"{T}<answer>no</answer>\\boxed{{yes}}", "MALFORMED"),
    "boxed: 21 homoglyph": (BOXED, "yes/no", f"{T}\\boxed{{y\u0435s}}", NOT_IN),
    # letter
    "letter: bare": (LETTER, "options", f"{T}\nB", "OK"),
    "letter: small": (LETTER, "options", f"{T}\nb", "OK"),
    "letter: announced": (LETTER, "options", f"{T}It signals.\nAnswer: B", "OK"),
    "letter: bold": (LETTER, "options", f"{T}\n**B**", "OK"),
    "letter: bold label": (LETTER, "options", f"{T}\n**Final answer:** (B).", "OK"),
    "letter: sentence": (LETTER, "options", f"{T}\nThe correct answer is B.", "OK"),
    "letter: brackets": (LETTER, "options", f"{T}(B)", "OK"),
    "letter: restated options": (LETTER, "options", f"{T}A. kinase\nB. GPCR\nIt signals.\nB", "OK"),
    "letter: an article": (LETTER, "options", f"{T}The answer is a matter of signals.\nB", "OK"),
    "letter: text of it": (LETTER, "options", f"{T}\nGPCR", "NO_ANSWER"),
    "letter: no option": (LETTER, "options", f"{T}\nD", NOT_IN),
    "letter: word": (LETTER, "options", f"{T}\nyes", NOT_IN),
    "letter: two": (LETTER, "options", f"{T}A\nB", SEVERAL),
    "letter: 14 all": (LETTER, "options", f"{T}A\nB\nC", SEVERAL),
    "letter: 14 all on a line": (LETTER, "options", f"{T}A, B, C", "NO_ANSWER"),
    "letter: announced twice": (LETTER, "options", f"{T}Answer: A, since…\nAnswer: B", SEVERAL),
    "letter: 22 stuffing": (LETTER, "options", f"{T}Answer: B\nI am sure.", "MALFORMED"),
    "letter: 22 comment": (LETTER, "options", f"{T}<!--\nA, or\n-->\nB", "MALFORMED"),
    "letter: 22 fence": (LETTER, "options", f"{T}```\nB\n```", "MALFORMED"),
    "letter: 21 homoglyph": (LETTER, "options", f"{T}\u0412", "NO_ANSWER"),
    "letter: full width": (LETTER, "options", f"{T}\uff22", "NO_ANSWER"),
    "letter: nothing": (LETTER, "options", T, "NO_ANSWER"),
    # json
    "json: plain": (JSON, "yes/no", f'{T}{{"answer": "yes"}}', "OK"),
    "json: fence": (JSON, "yes/no", f'{T}\n```json\n{{"answer": "yes"}}\n```\n', "OK"),
    "json: other keys": (JSON, "yes/no", f'{T}{{"why": "…", "answer": "yes"}}', "OK"),
    "json: list": (JSON, "set", f'{T}{{"answer": ["T cell", "B cell"]}}', "OK"),
    "json: 10 key twice": (JSON, "yes/no", f'{T}{{"answer": "yes", "answer": "no"}}', "MALFORMED"),
    "json: key in another case": (
        JSON,
        "yes/no",
        f'{T}{{"Answer": "no", "answer": "yes"}}',
        SEVERAL,
    ),
    "json: only the other case": (JSON, "yes/no", f'{T}{{"Answer": "yes"}}', "MALFORMED"),
    "json: key missing": (JSON, "yes/no", f'{T}{{"verdict": "yes"}}', "NO_ANSWER"),
    "json: null": (JSON, "yes/no", f'{T}{{"answer": null}}', "NO_ANSWER"),
    "json: empty": (JSON, "yes/no", f'{T}{{"answer": ""}}', "NO_ANSWER"),
    "json: boolean": (JSON, "yes/no", f'{T}{{"answer": true}}', NOT_IN),
    "json: object": (JSON, "yes/no", f'{T}{{"answer": {{"answer": "yes"}}}}', "MALFORMED"),
    "json: numbers in a list": (JSON, "set", f'{T}{{"answer": ["T cell", 5]}}', "MALFORMED"),
    "json: deeper down": (JSON, "yes/no", f'{T}{{"a": {{"answer": "yes"}}}}', "NO_ANSWER"),
    "json: two objects": (JSON, "yes/no", f'{T}{{"answer": "yes"}}{{"answer": "no"}}', SEVERAL),
    "json: 22 stuffing": (JSON, "yes/no", f'{T}{{"answer": "yes"}} or no', "MALFORMED"),
    "json: prose before": (JSON, "yes/no", f'{T}Sure: {{"answer": "yes"}}', "MALFORMED"),
    "json: no object": (JSON, "yes/no", f"{T}yes", "NO_ANSWER"),
    "json: array": (JSON, "yes/no", f'{T}["yes"]', "NO_ANSWER"),
    "json: broken": (JSON, "yes/no", f'{T}{{"answer": "yes"', "MALFORMED"),
    "json: single quotes": (JSON, "yes/no", f"{T}{{'answer': 'yes'}}", "MALFORMED"),
    "json: NaN": (JSON, "yes/no", f'{T}{{"answer": NaN}}', "MALFORMED"),
    "json: 22 comment": (JSON, "yes/no", f'{T}<!-- no -->{{"answer": "yes"}}', "MALFORMED"),
    "json: two fences": (JSON, "yes/no", f"{T}```json\n{{}}\n```\n```json\n{{}}\n```", SEVERAL),
    "json: in the think too": (
        JSON,
        "yes/no",
        '<think>{"answer": "no"}</think>{"answer": "yes"}',
        SEVERAL,
    ),
    "json: in the think alone": (JSON, "yes/no", '<think>{"answer": "no"}</think>', "NO_ANSWER"),
    "json: escapes of a homoglyph": (JSON, "yes/no", f'{T}{{"answer": "y\\u0435s"}}', NOT_IN),
    "json: escaped surrogate": (JSON, "open", f'{T}{{"answer": "\\ud800"}}', "MALFORMED"),
    "json: deep": (JSON, "yes/no", T + '{"a":' * 4000 + "1" + "}" * 4000, "MALFORMED"),
    # last line
    "last: prose before": (LAST, "yes/no", f"{T}They interact.\n\nyes\n", "OK"),
    "last: alone": (LAST, "yes/no", f"{T}yes", "OK"),
    "last: in a sentence": (LAST, "yes/no", f"{T}So yes", NOT_IN),
    "last: two": (LAST, "yes/no", f"{T}no\nyes", SEVERAL),
    "last: two, one bold": (LAST, "yes/no", f"{T}**no**\nyes", SEVERAL),
    "last: twice": (LAST, "yes/no", f"{T}yes\nyes", SEVERAL),
    "last: 22 stuffing": (LAST, "yes/no", f"{T}yes\nI am sure", SEVERAL),
    "last: 22 comment": (LAST, "yes/no", f"{T}<!-- or no -->\nyes", "MALFORMED"),
    "last: 22 fence": (LAST, "yes/no", f"{T}```\nor no\n```\nyes", "MALFORMED"),
    "last: fence around": (LAST, "yes/no", f"{T}```\nyes\n```", SEVERAL),
    "last: nothing": (LAST, "yes/no", T, "NO_ANSWER"),
    "last: open": (LAST, "open", f"{T}The cortex makes too much.\nCushing syndrome", "OK"),
    # pattern
    "pattern: plain": (MATCH, "yes/no", f"{T}It does.\nVerdict: yes.", "OK"),
    "pattern: none": (MATCH, "yes/no", f"{T}yes", "NO_ANSWER"),
    "pattern: two": (MATCH, "yes/no", f"{T}Verdict: yes\nVerdict: no", SEVERAL),
    "pattern: in the think too": (
        MATCH,
        "yes/no",
        "<think>Verdict: no</think>Verdict: yes",
        SEVERAL,
    ),
    "pattern: in the think alone": (MATCH, "yes/no", "<think>Verdict: no</think>yes", "NO_ANSWER"),
    "pattern: 22 stuffing": (MATCH, "yes/no", f"{T}Verdict: yes, or no", "MALFORMED"),
    "pattern: 22 comment": (MATCH, "yes/no", f"{T}<!-- no -->\nVerdict: yes", "MALFORMED"),
    "pattern: answer tag": (MATCH, "yes/no", f"{T}< answer >no\nVerdict: yes", "MALFORMED"),
    "pattern: surrogate": (MATCH, "yes/no", f"{T}\ud800\nVerdict: yes", "MALFORMED"),
}


@pytest.mark.parametrize(("rules", "task", "text", "reason"), PLACES.values(), ids=PLACES)
def test_places(rules, task, text, reason):
    assert fault_of(rules) is None
    answer = read(Item(text), rules, form_of(TASKS[task], rules, Library()))
    assert answer.reason == reason
    assert (answer.label is not None) == (reason == "OK")


METHODS = {
    "tag": (Extraction(), "<answer>yes</answer>"),
    "after-think": (AFTER, "yes"),
    "boxed": (BOXED, "\\boxed{yes}"),
    "json": (JSON, '{"answer": "yes"}'),
    "last-line": (LAST, "yes"),
    "pattern": (MATCH, "\nVerdict: yes"),
}


@pytest.mark.parametrize(("rules", "answer"), METHODS.values(), ids=METHODS)
def test_every_method_treats_reasoning_alike(rules, answer):
    form = form_of(TASKS["yes/no"], rules, Library())

    def reason(completion, prompt=None, rules=rules):
        return read(Item(completion, prompt=prompt), rules, form).reason

    optional = msgspec.structs.replace(rules, think="optional")
    assert reason(f"{T}{answer}") == "OK"
    assert reason(f"{T}{answer}<|im_end|>\n") == "OK"
    assert reason(f"\ufeff{T}{answer}") == "OK"
    assert reason(answer) == "MALFORMED"
    assert reason(answer, rules=optional) == "OK"
    assert reason(f"they interact</think>{answer}", "Well?\n<think>\n") == "OK"
    assert reason(f"they interact</think>{answer}") == "MALFORMED"
    assert reason(answer, "Well?\n<think>\n", optional) in ("NO_ANSWER", "MALFORMED")
    assert reason("so they interact, yes", "<think>", optional) == "NO_ANSWER"
    assert reason(f"<think>a</think ><think>b</think>{answer}") == "MALFORMED"
    messages = msgspec.convert(
        [{"reasoning_content": "they interact", "content": answer}], list[Message]
    )
    assert reason(messages) == "OK"
    assert reason(f"{T}{answer}" + "x" * 40_000) == "TOO_LONG"


SPECIAL = Extraction(
    tag=("<|answer_start|>", "<|answer_end|>"), think_tag=("<|think_start|>", "<|think_end|>")
)
WHOLE = "<|think_start|>it reacts<|think_end|><|answer_start|>yes<|answer_end|>"
NAMED = Extraction(tag="solution", think_tag="reasoning")
TAGS = {
    "tokens": (SPECIAL, WHOLE, "OK"),
    "tokens, upper case": (SPECIAL, WHOLE.upper(), "OK"),
    "tokens, blanks between": (SPECIAL, WHOLE.replace("><", ">\n<"), "OK"),
    "tokens, ordinary tags": (SPECIAL, "<think>a</think><answer>yes</answer>", "NO_ANSWER"),
    "tokens, ordinary tag in the think": (
        SPECIAL,
        WHOLE.replace("it", "<answer>no</answer>"),
        "OK",
    ),
    "tokens, twice": (SPECIAL, WHOLE + WHOLE, SEVERAL),
    "tokens, after": (SPECIAL, WHOLE + "no", "MALFORMED"),
    "tokens, blank in one": (
        SPECIAL,
        WHOLE.replace("<|answer_start|>", "<| answer_start |>"),
        "MALFORMED",
    ),
    "tokens, variant in the think": (SPECIAL, WHOLE.replace("it", "<answer_start>no"), "MALFORMED"),
    "tokens, unclosed": (SPECIAL, WHOLE.replace("<|answer_end|>", ""), "MALFORMED"),
    "names": (NAMED, "<reasoning>a</reasoning> <solution>yes</solution>", "OK"),
    "names, the usual": (NAMED, "<think>a</think><answer>yes</answer>", "NO_ANSWER"),
    "names, long s": (NAMED, "<reasoning>a</reasoning><\u017folution>yes</solution>", "MALFORMED"),
    "names, variant": (
        NAMED,
        "<reasoning>< solution ></reasoning><solution>yes</solution>",
        "MALFORMED",
    ),
}


@pytest.mark.parametrize(("rules", "text", "reason"), TAGS.values(), ids=TAGS)
def test_other_tags(rules, text, reason):
    assert fault_of(rules) is None
    answer = read(Item(text), rules, form_of(None, rules, Library()))
    assert answer.reason == reason
    if reason == "OK":
        assert answer.think
        assert answer.parts[1::2] == ["think", "/think", "answer", "/answer"]


def test_tokens_wait_in_the_prompt_too():
    item = Item(WHOLE.removeprefix("<|think_start|>"), prompt="Well?<|think_start|>")
    assert read(item, SPECIAL, form_of(None, SPECIAL, Library())).reason == "OK"


FAULTS = {
    "pattern without its answer": ({"pattern": "(a)"}, "pattern"),
    "pattern missing": ({"answer": "pattern"}, "pattern"),
    "tool without a name": ({"answer": "tool"}, "tool"),
    "tool with an empty name": ({"answer": "tool", "tool": ""}, "tool"),
    "tool for tags": ({"tool": "reply"}, "tool"),
    "field for tags": ({"field": "answer"}, "field"),
    "field empty": ({"answer": "json", "field": ""}, "field"),
    "until for tags": ({"until": ";"}, "until"),
    "until of letters": ({"answer": "after-think", "until": "so"}, "until"),
    "until blank": ({"answer": "after-think", "until": " "}, "until"),
    "tag for boxes": ({"answer": "boxed", "tag": "solution"}, "tag"),
    "released boxes": ({"answer": "boxed", "grammar": "released"}, "grammar"),
    "letter of a probability": ({"answer": "letter", "states": "probability"}, "states"),
    "tag with a blank": ({"tag": "my answer"}, "tag"),
    "tag in upper case": ({"tag": "Answer"}, "tag"),
    "tag is the think tag": ({"tag": "think"}, "tag"),
    "token without brackets": ({"tag": ["ANSWER", "END"]}, "tag"),
    "token opens and closes": ({"tag": ["<|a|>", "<|a|>"]}, "tag"),
    "section is the answer": ({"sections": ["answer"]}, "sections"),
    "section twice": ({"sections": ["facts", "facts"]}, "sections"),
    "section with a blank": ({"sections": ["gene info"]}, "sections"),
}


@pytest.mark.parametrize(("keys", "key"), FAULTS.values(), ids=FAULTS)
def test_keys_that_make_no_sense_together(keys, key):
    found = fault_of(msgspec.convert(keys, Extraction))
    assert found is not None
    assert found[0] == key


def test_a_fault_of_the_table_names_its_line(tmp_path):
    (tmp_path / "mine.toml").write_text(
        'extends = "rbio-mlp"\n[extract]\nanswer = "boxed"\nuntil = ";"\n', "utf-8"
    )
    with pytest.raises(ProfileFault, match=r"mine\.toml:4: \[extract\] until: only answer ="):
        load_profiles(tmp_path)


PROSE = {
    "boxed": (BOXED, f"{T}So the answer is no.\n\\boxed{{yes}}"),
    "last line": (LAST, f"{T}So the answer is no.\nyes"),
    "no think": (Extraction(answer="boxed", think="optional"), "So the answer is no. \\boxed{yes}"),
    "tag": (Extraction(), "<think>So the answer is no.</think><answer>yes</answer>"),
    "probability": (
        Extraction(states="probability"),
        "<think>So the answer is no.</think><answer>0.9</answer>",
    ),
}


@pytest.mark.parametrize(("rules", "text"), PROSE.values(), ids=PROSE)
def test_6_what_the_prose_concludes_against_the_answer(rules, text):
    answer = read(Item(text), rules, form_of(None, rules, Library()))
    assert (answer.reason, answer.contradiction) == ("OK", True)
    agreeing = text.replace("answer is no", "answer is yes")
    assert not read(Item(agreeing), rules, form_of(None, rules, Library())).contradiction
