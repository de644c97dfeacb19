"""Messages as completions: what was said last, and which tools were called."""

from __future__ import annotations

import json

import msgspec
import pytest

from service.rewards.core import Item, Message
from service.rewards.extract import Extraction, read
from service.rewards.messages import calls_of, text_of
from service.rewards.vocabulary import YES_NO

USER = {"role": "user", "content": "Does it?"}
THOUGHT = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "a"}]}
SAID = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "b"}]}
RETURN = {"type": "function_call_output", "call_id": "1", "output": "c"}


def call(arguments, name="reply"):
    return {"type": "function_call", "call_id": "1", "name": name, "arguments": arguments}


def messages(*plain):
    return msgspec.convert(list(plain), list[Message])


TEXTS = {
    "Responses": ([THOUGHT, SAID], "<think>a</think>b"),
    "no reasoning": ([SAID], "b"),
    "reasoning alone": ([THOUGHT], "<think>a</think>"),
    "reasoning itself": (
        [{**THOUGHT, "content": [{"type": "reasoning_text", "text": "whole"}]}, SAID],
        "<think>whole</think>b",
    ),
    "encrypted": ([{"type": "reasoning", "encrypted_content": "x", "summary": []}, SAID], "b"),
    "reasoning twice": ([THOUGHT, THOUGHT, SAID], "<think>aa</think>b"),
    "reasoning after": ([SAID, THOUGHT], "b<think>a</think>"),
    "an earlier message": ([THOUGHT, {**SAID, "content": "x"}, THOUGHT, SAID], "<think>a</think>b"),
    "before a tool's return": ([THOUGHT, call("{}"), RETURN, SAID], "b"),
    "calls beside it": ([THOUGHT, call("{}"), SAID], "<think>a</think>b"),
    "a return at the end": ([SAID, RETURN], "b"),
    "a search at the end": ([SAID, {"type": "web_search_call", "status": "completed"}], "b"),
    "refusal": ([{**SAID, "content": [{"type": "refusal", "refusal": "no"}]}], ""),
    "user in between": ([SAID, USER, THOUGHT], "<think>a</think>"),
    "reasoning part": ([{"content": [{"type": "reasoning", "reasoning": "a"}, {"text": "b"}]}],
                       "<think>a</think>b"),
    "tool_use part": ([{"content": [{"text": "b"}, {"type": "tool_use", "name": "f"}]}],
                      "b"),
    "tool call with text": ([{"content": [{"type": "tool_call", "text": "yes"}, {"text": "b"}]}],
                            "b"),
}  # fmt: skip


@pytest.mark.parametrize(("plain", "text"), TEXTS.values(), ids=TEXTS)
def test_what_was_said(plain, text):
    assert text_of(messages(*plain)) == text


CALLS = {
    "OpenAI": [{"tool_calls": [{"id": "1", "type": "function",
                                "function": {"name": "f", "arguments": '{"a": 1}'}}]}],
    "OpenAI, read already": [{"tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]}],
    "flat": [{"tool_calls": [{"name": "f", "args": {"a": 1}, "id": "1", "type": "tool_call"}]}],
    "Responses": [THOUGHT, call('{"a": 1}', "f")],
    "after a message": [SAID, call('{"a": 1}', "f")],
    "Anthropic": [{"content": [{"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}}]}],
    "LangChain": [{"content": [{"type": "tool_call", "name": "f", "args": {"a": 1}}]}],
    "in text": [{"content": [{"type": "tool_call", "name": "f", "arguments": '{"a": 1}'}]}],
}  # fmt: skip


@pytest.mark.parametrize("plain", CALLS.values(), ids=CALLS)
def test_calls(plain):
    (found,) = calls_of(messages(USER, *plain))
    assert (found.name, json.loads(found.arguments)) == ("f", {"a": 1})


def test_calls_of_earlier_messages_do_not_count():
    assert calls_of(messages(call("{}"), RETURN, SAID)) == []
    assert calls_of(messages({"tool_calls": [{"name": "f"}]}, USER, SAID)) == []
    assert calls_of(messages(USER)) == []
    assert calls_of([]) == []


TOOL = Extraction(answer="tool", tool="reply", think="optional")
REASONED = Extraction(answer="tool", tool="reply", field="verdict")
YES = call('{"answer": "yes"}')
TOOLS = {
    "one call": ([YES], "OK"),
    "prose beside it": ([SAID, YES], "OK"),
    "reasoning beside it": ([THOUGHT, YES], "OK"),
    "reasoning after the prose": ([SAID, THOUGHT, YES], "OK"),
    "reasoning in tags": ([{**SAID, "content": "<think>a</think>"}, YES], "OK"),
    "reasoning twice": ([THOUGHT, {**SAID, "content": "<think>a</think>"}, YES], "MALFORMED"),
    "reasoning never ends": ([{**SAID, "content": "<think>a"}, YES], "NO_ANSWER"),
    "none": ([SAID], "NO_ANSWER"),
    "none and a text like it": ([{**SAID, "content": '{"answer": "yes"}'}], "NO_ANSWER"),
    "10 two": ([YES, call('{"answer": "no"}')], "SEVERAL_ANSWERS"),
    "10 the same twice": ([YES, YES], "SEVERAL_ANSWERS"),
    "another tool": ([call("{}", "look")], "NO_ANSWER"),
    "another tool beside it": ([YES, call("{}", "look")], "MALFORMED"),
    "another spelling": ([call('{"answer": "yes"}', "Reply")], "NO_ANSWER"),
    "before a return": ([YES, RETURN, SAID], "NO_ANSWER"),
    "10 key twice": ([call('{"answer": "yes", "answer": "no"}')], "MALFORMED"),
    "10 key in two spellings": ([call('{"answer": "yes", "Answer": "no"}')], "SEVERAL_ANSWERS"),
    "22 stuffing": ([call('{"answer": "yes"} or no')], "MALFORMED"),
    "22 comment": ([call('{"answer": "yes <!-- no -->"}')], "ANSWER_NOT_IN_VOCABULARY"),
    "21 homoglyph": ([call('{"answer": "y\\u0435s"}')], "ANSWER_NOT_IN_VOCABULARY"),
    "no arguments": ([call(None)], "NO_ANSWER"),
    "blank arguments": ([call(" ")], "NO_ANSWER"),
    "array": ([call('["yes"]')], "MALFORMED"),
    "broken": ([call('{"answer": "yes"')], "MALFORMED"),
    "deep": ([call("[" * 20_000)], "MALFORMED"),
    "an object already read": ([call({"answer": "yes"})], "OK"),
}  # fmt: skip


@pytest.mark.parametrize(("plain", "reason"), TOOLS.values(), ids=TOOLS)
def test_the_call_that_is_the_answer(plain, reason):
    assert read(Item(messages(USER, *plain)), TOOL, YES_NO).reason == reason


def test_a_call_needs_reasoning_where_the_profile_asks_for_it():
    verdict = call('{"verdict": "yes"}')
    assert read(Item(messages(verdict)), REASONED, YES_NO).reason == "NO_ANSWER"
    answer = read(Item(messages(THOUGHT, verdict)), REASONED, YES_NO)
    assert (answer.reason, answer.label, answer.think) == ("OK", "yes", "a")
    assert read(Item("<think>a</think> reply(yes)"), REASONED, YES_NO).reason == "NO_ANSWER"
