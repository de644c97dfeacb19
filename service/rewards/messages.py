"""Messages as completions: what the assistant said last, and which tools it called.

Three shapes are read, mixed as they come: chat messages (role and content, content as text or as
parts, ``tool_calls``), the same with reasoning kept apart (``reasoning_content``, ``reasoning``,
thinking parts), and the items of an OpenAI Responses output (``type`` message, reasoning,
function_call). The completion is the last message of the assistant; of a Responses output the last
message with the reasoning and calls around it that belong to no earlier one. What other roles and
tools said is not read, nor what the assistant said before.

Reasoning kept apart becomes a think block where it stands. A reasoning item's summary counts where
the reasoning itself is not there. Of parts that are neither text, nor reasoning, nor a call
nothing is read. Linear in the messages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from service.rewards.core import Arguments, ContentPart, Message

THINK: Final = ("<think>", "</think>")
_CALLS: Final = frozenset({"tool_use", "tool_call", "function_call"})
"""Types of parts that call a tool."""
_THOUGHTS: Final = frozenset({"thinking", "reasoning", "reasoning_text", "summary_text"})
_RETURNS: Final = frozenset({"function_call_output", "custom_tool_call_output", "tool_result"})
"""Types of items that no assistant wrote."""


class Call(NamedTuple):
    """One call of a tool."""

    name: str
    arguments: str
    """JSON text."""


def text_of(completion: Sequence[Message] | str | None, think: tuple[str, str] = THINK) -> str:
    """A completion as one string: of messages, the last of the assistant's; "" where none is.

    Args:
        completion: text or messages.
        think: how the block opens and closes in which reasoning stands that is kept apart.
    """
    if completion is None or isinstance(completion, str):
        return completion or ""
    opening, closing = think
    return "".join(
        f"{opening}{text}{closing}" if apart else text for apart, text in said(completion)
    )


def said(messages: Sequence[Message]) -> list[tuple[bool, str]]:
    """What the completion says: (whether it is reasoning kept apart, text) in turn."""
    joined: list[tuple[bool, list[str]]] = []
    for message in last_of(messages):
        for apart, text in _pieces(message):
            if text and joined and joined[-1][0] == apart:
                joined[-1][1].append(text)
            elif text:
                joined.append((apart, [text]))
    return [(apart, "".join(texts)) for apart, texts in joined]


def calls_of(messages: Sequence[Message]) -> list[Call]:
    """The tool calls of the completion, in order."""
    return [call for message in last_of(messages) for call in _calls(message)]


def last_of(messages: Sequence[Message]) -> Sequence[Message]:
    """The messages that are the completion: one, or the items of one answer."""
    end = len(messages)
    while end and not _by_assistant(messages[end - 1]):
        end -= 1
    begin = end
    spoken = False
    while begin and _by_assistant(messages[begin - 1]):
        if messages[begin - 1].type == "message":
            if spoken:
                break
            spoken = True
        begin -= 1
    return messages[begin:end]


def _by_assistant(message: Message) -> bool:
    return message.role == "assistant" and message.type not in _RETURNS


def _pieces(message: Message) -> Iterator[tuple[bool, str]]:
    """Reasoning (True) and text (False) of one message or item, in order."""
    content = message.content
    if message.type == "reasoning":
        texts = _joined(content) or _joined(message.summary)
        yield True, texts or message.reasoning_content or message.reasoning or ""
        return
    yield True, message.reasoning_content or message.reasoning or ""
    if isinstance(content, str):
        yield False, content
    elif content is not None:
        for part in content:
            if part.type in _THOUGHTS:
                yield True, _joined(part.thinking) or part.text or part.reasoning or ""
            elif part.type not in _CALLS:
                yield False, part.text or ""


def _joined(parts: str | list[ContentPart] | None) -> str:
    if parts is None or isinstance(parts, str):
        return parts or ""
    return "".join([part.text or "" for part in parts])


def _calls(message: Message) -> Iterator[Call]:
    if message.type == "function_call":
        yield _call(message.name, message.arguments)
    if message.content is not None and not isinstance(message.content, str):
        for part in message.content:
            if part.type in _CALLS:
                yield _call(part.name, part.input, part.args, part.arguments)
    for called in message.tool_calls or ():
        if called.function is not None:
            yield _call(called.function.name, called.function.arguments)
        else:
            yield _call(called.name, called.arguments, called.args)


def _call(name: str | None, *written: Arguments) -> Call:
    """A call; of arguments under several names the first that are given."""
    arguments = next((given for given in written if given is not None), "")
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return Call(name or "", arguments)
