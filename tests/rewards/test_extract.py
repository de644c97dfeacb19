"""The grammar: what is an answer, in which profile, and why something is none."""

from __future__ import annotations

import msgspec
import pytest

from service.rewards.contradiction import contradicts
from service.rewards.core import Item
from service.rewards.extract import Extraction, read, text_of
from service.rewards.vocabulary import UP_DOWN, YES_NO

STRICT = Extraction()
OPTIONAL = Extraction(think="optional")
RELEASED = Extraction(grammar="released", think="optional")
PREFILLED = Extraction(prefilled_think=True)
SHORT = Extraction(max_chars=60, max_words=6)
BOXED = Extraction(answer="pattern", pattern=r"\\boxed\{([^}]*)\}", think="optional")
TWICE = "<think>a</think><think>b</think><answer>no</answer>"

GRAMMAR = {
    "plain": (STRICT, "<think>a</think> <answer>yes</answer>", "OK"),
    "blanks anywhere outside": (STRICT, " \r\n<think>a</think>\t<answer>\nno </answer>\n", "OK"),
    "letter case": (STRICT, "<THINK>a</Think><Answer>YES.</ANSWER>", "OK"),
    "two periods": (STRICT, "<think>a</think><answer>yes..</answer>", "ANSWER_NOT_IN_VOCABULARY"),
    "quoted": (STRICT, '<think>a</think><answer>"yes"</answer>', "ANSWER_NOT_IN_VOCABULARY"),
    "blank answer": (STRICT, "<think>a</think><answer> </answer>", "NO_ANSWER"),
    "nothing": (STRICT, "", "NO_ANSWER"),
    "only blanks": (STRICT, " \n", "NO_ANSWER"),
    "only think": (STRICT, "<think>yes</think>", "NO_ANSWER"),
    "only the closing tag": (STRICT, "<think>a</think>yes</answer>", "MALFORMED"),
    "attribute": (STRICT, '<think>a</think><answer id="1">yes</answer>', "MALFORMED"),
    "blank in tag": (STRICT, "<think>a</think>< answer>yes</answer>", "MALFORMED"),
    "self-closing": (STRICT, "<think>a</think><answer/>yes", "MALFORMED"),
    "thinking is another word": (STRICT, "<think><thinking></think><answer>no</answer>", "OK"),
    "less than": (STRICT, "<think>p < 0.05 </ answers</think><answer>no</answer>", "OK"),
    "other tags are prose": (STRICT, "<think><b>a</b> 1<2</think><answer>no</answer>", "OK"),
    "no think, required": (STRICT, "<answer>yes</answer>", "MALFORMED"),
    "no think, optional": (OPTIONAL, "<answer>yes</answer>", "OK"),
    "empty think, required": (STRICT, "<think></think><answer>yes</answer>", "MALFORMED"),
    "blank think, required": (STRICT, "<think> \n\u00a0</think><answer>yes</answer>", "MALFORMED"),
    "dots for a think": (STRICT, "<think>...\u200b</think><answer>yes</answer>", "MALFORMED"),
    "blank prefilled think": (PREFILLED, " \n</think><answer>yes</answer>", "MALFORMED"),
    "empty think, optional": (OPTIONAL, "<think></think><answer>yes</answer>", "OK"),
    "empty think, released": (RELEASED, "<think></think><answer>yes</answer>", "OK"),
    "Chinese think": (STRICT, "<think>是</think><answer>yes</answer>", "OK"),
    "prose before, strict": (STRICT, "Sure. <think>a</think><answer>yes</answer>", "MALFORMED"),
    "prose before, released": (RELEASED, "Sure. <think>a</think> so <answer>no</answer>", "OK"),
    "prose after, released": (RELEASED, "<think>a</think><answer>no</answer>!", "MALFORMED"),
    "two thinks, strict": (STRICT, TWICE, "MALFORMED"),
    "two thinks, released": (RELEASED, TWICE, "OK"),
    "think after, released": (RELEASED, "<answer>no</answer><think>a</think>", "MALFORMED"),
    "interleaved": (STRICT, "<think>a<answer>yes</think></answer>", "MALFORMED"),
    "prefilled": (PREFILLED, "a</think><answer>yes</answer>", "OK"),
    "prefilled, whole": (PREFILLED, "<think>a</think><answer>yes</answer>", "OK"),
    "prefilled, twice closed": (PREFILLED, "a</think></think><answer>yes</answer>", "MALFORMED"),
    "not prefilled": (STRICT, "a</think><answer>yes</answer>", "MALFORMED"),
    "too many words": (SHORT, "<think>a b c</think><answer>no</answer>", "TOO_LONG"),
    "too many characters": (SHORT, f"<think>{'a' * 40}</think><answer>no</answer>", "TOO_LONG"),
    "pattern": (BOXED, r"I say \boxed{Yes}", "OK"),
    "pattern twice": (BOXED, r"\boxed{yes} \boxed{yes}", "SEVERAL_ANSWERS"),
    "pattern absent": (BOXED, "<think>a</think><answer>yes</answer>", "NO_ANSWER"),
    "pattern, no class": (BOXED, r"\boxed{maybe}", "ANSWER_NOT_IN_VOCABULARY"),
    "pattern, surrogate": (BOXED, "\\boxed{yes} \ud800", "MALFORMED"),
}  # fmt: skip


@pytest.mark.parametrize(("rules", "text", "reason"), GRAMMAR.values(), ids=GRAMMAR)
def test_grammar(rules, text, reason):
    answer = read(Item(text), rules, YES_NO)
    assert answer.reason == reason
    assert (answer.label is not None) == (reason == "OK")


WHOLE = "<think>a</think> <answer>yes</answer>"
TEMPLATES = {
    "byte-order mark": ("\ufeff" + WHOLE, "OK"),
    "two byte-order marks": ("\ufeff\ufeff" + WHOLE, "MALFORMED"),
    "mark inside": (WHOLE.replace(" ", "\ufeff"), "MALFORMED"),
    "no-break space between": (WHOLE.replace(" ", "\u00a0"), "OK"),
    "form feed between": (WHOLE.replace(" ", "\f"), "OK"),
    "line separator after": (WHOLE + "\u2028", "OK"),
    "zero width space between": (WHOLE.replace(" ", "\u200b"), "MALFORMED"),
    "no-break space in the answer": (WHOLE.replace("yes", "\u00a0yes"), "ANSWER_NOT_IN_VOCABULARY"),
    "im_end": (WHOLE + "<|im_end|>", "OK"),
    "endoftext": (WHOLE + "<|endoftext|>", "OK"),
    "Llama 2": (WHOLE + "</s>", "OK"),
    "Llama 3": (WHOLE + "<|eot_id|>", "OK"),
    "Llama 4": (WHOLE + "<|eot|>", "OK"),
    "Llama, base": (WHOLE + "<|end_of_text|>", "OK"),
    "Gemma": (WHOLE + "<end_of_turn>\n<eos>", "OK"),
    "Phi": (WHOLE + "<|end|>", "OK"),
    "gpt-oss": (WHOLE + "<|return|>", "OK"),
    "Command": (WHOLE + "<|END_OF_TURN_TOKEN|>", "OK"),
    "DeepSeek": (WHOLE + "<\uff5cend\u2581of\u2581sentence\uff5c>", "OK"),
    "DeepSeek, in ASCII": (WHOLE + "<|end_of_sentence|>", "MALFORMED"),
    "bold answer": (WHOLE.replace("yes", " **yes**\n"), "OK"),
    "half bold": (WHOLE.replace("yes", "**yes"), "ANSWER_NOT_IN_VOCABULARY"),
    "3 bold, twice": (WHOLE.replace("yes", "**yes** or **no**"), "ANSWER_NOT_IN_VOCABULARY"),
    "bold nothing": (WHOLE.replace("yes", "****"), "NO_ANSWER"),
    "bolder": (WHOLE.replace("yes", "****yes****"), "ANSWER_NOT_IN_VOCABULARY"),
    "2 bold hedge": (WHOLE.replace("yes", "**not yes**"), "ANSWER_NOT_IN_VOCABULARY"),
    "several": (WHOLE + "\n<|im_end|>\n<|endoftext|><|endoftext|>\n", "OK"),
    "other letter case": (WHOLE + "<|IM_END|>", "MALFORMED"),
    "other token": (WHOLE + "<|im_start|>", "MALFORMED"),
    "end token and more": (WHOLE + "<|im_end|> or no", "MALFORMED"),
    "more and end token": (WHOLE + " or no<|im_end|>", "MALFORMED"),
    "end token in front": ("</s>" + WHOLE, "MALFORMED"),
    "end token in the answer": (WHOLE.replace("yes", "yes</s>"), "ANSWER_NOT_IN_VOCABULARY"),
    "second turn": (WHOLE + "<|im_end|>" + WHOLE + "<|im_end|>", "SEVERAL_ANSWERS"),
    "only end tokens": ("</s>" * 3, "NO_ANSWER"),
}


@pytest.mark.parametrize(("text", "reason"), TEMPLATES.values(), ids=TEMPLATES)
def test_what_the_chat_template_writes(text, reason):
    assert read(Item(text), STRICT, YES_NO).reason == reason
    if text.startswith(WHOLE):  # before the answer, the released grammar lets any text stand
        assert read(Item(text), RELEASED, YES_NO).reason == reason


def test_end_tokens_cost_no_tidiness(profiles, item):
    rewards = []
    for text in (WHOLE, WHOLE + "<|im_end|>\n", "\ufeff" + WHOLE):
        thing = item(text)
        profile = profiles["rbio-released"]
        rewards.append(profile.compose(thing, profile.read(thing), ()).reward)
    assert len(set(rewards)) == 1


PROMPTS = {
    "text": ("Answer.\n<think>\n", "OK"),
    "messages": ([{"role": "user", "content": "q"}, {"content": "<think>"}], "OK"),
    "other": ("<think> as you like", "MALFORMED"),
    "none": (None, "MALFORMED"),
}


@pytest.mark.parametrize(("prompt", "reason"), PROMPTS.values(), ids=PROMPTS)
def test_prompt_that_opens_the_think_block(prompt, reason):
    item = msgspec.convert({"completion": "a</think> <answer>no</answer>", "prompt": prompt}, Item)
    assert read(item, STRICT, YES_NO).reason == reason


INGRESS = {
    "none": (None, ""),
    "text": ("a", "a"),
    "no messages": ([], ""),
    "last assistant message": (
        [{"role": "assistant", "content": "a"}, {"content": "b"}, {"role": "tool", "content": "c"}],
        "b",
    ),
    "no assistant": ([{"role": "user", "content": "<answer>yes</answer>"}], ""),
    "content null": ([{"role": "assistant", "content": None}], ""),
    "parts": (
        [{"content": [{"text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]}],
        "ab",
    ),
    "reasoning_content": ([{"reasoning_content": "a", "content": "b"}], "<think>a</think>b"),
    "reasoning": ([{"reasoning": "a", "content": "b"}], "<think>a</think>b"),
    "both keys": ([{"reasoning_content": "a", "reasoning": "a", "content": "b"}],
                  "<think>a</think>b"),
    "empty reasoning": ([{"reasoning_content": "", "reasoning": None, "content": "b"}], "b"),
    "thinking part": (
        [{"content": [{"type": "thinking", "thinking": "a"}, {"type": "text", "text": "b"}]}],
        "<think>a</think>b",
    ),
    "thinking in parts": (
        [{"content": [{"type": "thinking", "thinking": [{"text": "a"}, {"text": "c"}]},
                      {"text": "b"}]}],
        "<think>ac</think>b",
    ),
    "reasoning part": ([{"content": [{"type": "reasoning", "text": "a"}, {"text": "b"}]}],
                       "<think>a</think>b"),
    "thinking in a row": (
        [{"content": [{"type": "thinking", "thinking": "a"}, {"type": "tool_use"},
                      {"type": "thinking", "thinking": "c"}, {"text": "b"}]}],
        "<think>ac</think>b",
    ),
    "thinking after": (
        [{"content": [{"text": "b"}, {"type": "thinking", "thinking": "a"}]}], "b<think>a</think>"
    ),
    "reasoning of an earlier message": (
        [{"reasoning_content": "a", "content": "b"}, {"role": "user", "content": "c"},
         {"content": "d"}],
        "d",
    ),
    "only reasoning": ([{"reasoning_content": "a", "content": None}], "<think>a</think>"),
}  # fmt: skip


@pytest.mark.parametrize(("completion", "text"), INGRESS.values(), ids=INGRESS)
def test_ingress(completion, text):
    item = msgspec.convert({"completion": completion}, Item)
    assert text_of(item.completion) == text


APART = {
    "reasoning apart": ("a", "<answer>yes</answer>", "OK"),
    "blank before the answer": ("a", "\n\n<answer>yes</answer>", "OK"),
    "less than": ("p < 0.05", "<answer>yes</answer>", "OK"),
    "blank reasoning": (" \n", "<answer>yes</answer>", "MALFORMED"),
    "answer in the reasoning alone": ("a <answer>yes</answer>", "", "MALFORMED"),
    "closes and answers": ("a</think><answer>yes</answer>", "", "MALFORMED"),
    "closes, answers, opens": ("a</think><answer>yes</answer><think>", "", "MALFORMED"),
    "closes and opens": ("a</think><think>b", "<answer>yes</answer>", "MALFORMED"),
    "own tags": ("<think>a</think>", "<answer>yes</answer>", "MALFORMED"),
    "half a tag": ("a <answer", ">no</answer><answer>yes</answer>", "MALFORMED"),
    "variant tag": ("a < answer >no", "<answer>yes</answer>", "MALFORMED"),
    "reasoning twice": ("a", "<think>b</think><answer>yes</answer>", "MALFORMED"),
    "second answer": ("a", "<answer>yes</answer><answer>no</answer>", "SEVERAL_ANSWERS"),
    "no answer": ("so yes", "yes", "NO_ANSWER"),
}


@pytest.mark.parametrize(("reasoning", "content", "reason"), APART.values(), ids=APART)
def test_reasoning_that_is_kept_apart(reasoning, content, reason):
    thinking = {"type": "thinking", "thinking": reasoning}
    for message in (
        {"reasoning_content": reasoning, "content": content},
        {"content": [thinking, {"type": "text", "text": content}]},
    ):
        item = msgspec.convert({"completion": [message]}, Item)
        answer = read(item, STRICT, YES_NO)
        assert answer.reason == reason
        if reason == "OK":
            assert answer.think == reasoning


@pytest.mark.parametrize("reasoning", ["a</think> so <think>b", "<answer>no</answer>", "</think"])
def test_reasoning_kept_apart_holds_no_tag_in_the_released_grammar_either(reasoning):
    message = {"reasoning_content": reasoning, "content": "<answer>yes</answer>"}
    item = msgspec.convert({"completion": [message]}, Item)
    assert read(item, RELEASED, YES_NO).reason == "MALFORMED"


CONCLUSIONS = {
    "must be no": ("So the answer must be no.", True),
    "therefore no": ("Therefore, for this pair: no", True),
    "thus yes": ("Thus the answer is yes.", False),
    "quoted": ('The final answer is "no".', True),
    "no as a quantifier": ("Therefore there is no reason to doubt it.", False),
    "denied": ("So the answer is certainly not no.", False),
    "conditional": ("If the gene were absent, the answer would be no.", False),
    "taken back": ("One says the answer is no. But wait, that neglects the stress.", False),
    "last one counts": ("At first the answer is no. Then again the answer is yes.", False),
    "question": ("So is it no?", False),
    "longer word": ("So the answer is nothing.", False),
    "far from the end": ("So the answer must be no. " + "The cell responds strongly. " * 20, False),
    "empty": ("", False),
    "either": ("The answer is either yes or no. AAMP is upstream of CD63.", False),
    "either at the end": ("I need to decide; the answer is either yes or no.", False),
    "must be either": ("The answer must be yes or no. Since AAMP is essential, it is so.", False),
    "both after a colon": ("The final answer: yes or no.", False),
    "both as one word": ("The final answer should be one word: yes or no.", False),
    "both with a slash": ("The prompt wants the answer as yes/no.", False),
    "both, negated": ("The answer is yes, not no.", False),
    "over": ("so I lean yes over no.", False),
    "rather than": ("thus answering yes rather than no.", False),
    "first glance": ("At first glance the answer is no. Looking deeper, it responds.", False),
    "reported": ("A naive reader says the answer is no. Yet the data support it.", False),
    "prior": ("The prior says the answer is no; the mechanism overrides it.", False),
    "base rate": ("Most are not, so the base-rate answer is no. Here it is affected.", False),
    "reply to its own question": ("Does it bind directly? Therefore no. Still it rises.", False),
    "reply, the end": ("Does it bind directly? So no. Only whether it changes: it does.", False),
    "reply that ends it": ("Is AAMP a housekeeping gene? Definitely no.", False),
    "reply by the answer": ("Is it a factor? The answer is no. Its loss stalls the cell.", False),
    "direct only": ("For direct binding, the answer is no. Indirectly it responds.", False),
    "no and a noun": ("The answer is no longer obvious.", False),
    "no before the end": ("So no direct link is known. Stress connects them.", False),
    "third from the end": ("The answer is no. It is known. It has been seen.", False),
    "second from the end": ("The answer is no. The genes are unrelated.", True),
    "because": ("The answer is no because they are unrelated.", True),
    "dash": ("The answer is no - they are unrelated", True),
    "long dash": ("The answer is no – they are unrelated", True),
    "brackets after": ("The answer is no (unrelated pathways).", True),
    "brackets around": ("The answer is (no).", True),
    "code": ("Therefore the answer is clearly `no`.", True),
    "boxed": (r"The answer is $\boxed{no}$.", True),
    "boxed text": (r"The answer is therefore \boxed{\text{no}}", True),
    "underscores": ("The answer is _no_.", True),
    "bold": ("**Answer: no**", True),
    "bold label, next line": ("**Final answer:**\nNo", True),
    "heading": ("### Conclusion: **No**", True),
    "angle brackets": ("The answer is <no>.", True),
    "bare": ("Definitely no.", True),
    "bare after a sentence": ("They are unrelated. Therefore, no.", True),
    "nothing else": ("must be no", True),
    "sure": ("I am sure it is no.", True),
    "would answer": ("I would answer no.", True),
    "exclaimed": ("so the answer is no!", True),
    "after a clause": ("It is not affected, so the answer is no, clearly, given the facts.", True),
}


@pytest.mark.parametrize(("think", "expected"), CONCLUSIONS.values(), ids=CONCLUSIONS)
def test_contradiction_of_yes(think, expected):
    assert contradicts(think, "yes", YES_NO) is expected


DIRECTIONS = {
    "a gene goes down": ("So AAMP goes down. That releases the repression of CD63.", "up", False),
    "two genes": ("Hence GAPDH goes down, and MYC goes up.", "up", False),
    "a gene is up": ("therefore p53 is up. It represses the gene.", "down", False),
    "bare": ("Thus down.", "up", False),
    "must be": ("CD63 is repressed, so it must be down.", "up", False),
    "the answer": ("So my final answer is down because of the stress.", "up", True),
    "the answer, other way": ("The answer must be up.", "down", True),
    "longer word": ("My answer is down-regulation of AAMP.", "up", False),
}


@pytest.mark.parametrize(("think", "answer", "expected"), DIRECTIONS.values(), ids=DIRECTIONS)
def test_contradiction_of_directions(think, answer, expected):
    assert contradicts(think, answer, UP_DOWN) is expected


def test_contradiction_counts_synonyms_as_their_class():
    assert contradicts("So the answer is no.", "up", UP_DOWN)
    assert not contradicts("So the answer is yes.", "up", UP_DOWN)


def test_pattern_takes_what_precedes_as_reasoning():
    answer = read(Item("TNF-α → β so \\boxed{no}"), BOXED, YES_NO)
    assert (answer.label, answer.think) == ("no", "TNF-α → β so ")
