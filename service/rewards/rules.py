"""The table ``[extract]`` of a profile: where the answer stands and how strictly it is read.

    answer = "tag"           # tag | after-think | boxed | letter | json | last-line | pattern
                             # | tool
    tag = "answer"           # of "tag": a name, or a pair ["<|answer_start|>", "<|answer_end|>"]
    think_tag = "think"      # a name or a pair, for every method
    sections = ["gene_info"] # further blocks <gene_info>…</gene_info>; see ``tags``
    until = ";"              # of "after-think": what follows the first one is an explanation
    pattern = '…'            # of "pattern": RE2, one group
    field = "answer"         # of "json" and "tool"
    tool = "answer"          # of "tool"
    think = "required"       # required | optional
    grammar = "strict"       # strict | released
    states = "label"         # label | probability
    prefilled_think, knowledge, max_chars, max_words, gate_contradiction: see below

Keys that make no sense together are found when the profile loads (``fault_of``).
"""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

import msgspec

Tag = str | tuple[str, str]
"""A name, written ``<name>…</name>``, or how the block opens and closes, letter for letter."""
Method = Literal["tag", "after-think", "boxed", "letter", "json", "last-line", "pattern", "tool"]
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_TOKEN: Final = re.compile(r"[<\[{(|#]\S{1,62}[>\]})|#]")


class Extraction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table ``[extract]`` of a profile."""

    answer: Method = "tag"
    """Where the answer stands: see ``tags`` for "tag", ``places`` for the others."""
    tag: Tag = "answer"
    """The block that holds the answer, for ``answer = "tag"``."""
    think_tag: Tag = "think"
    """The block that holds the reasoning."""
    sections: tuple[str, ...] = ()
    """Names of further blocks that may stand before or in the reasoning, or before the answer."""
    grammar: Literal["strict", "released"] = "strict"
    """How much may stand beside the tags; see ``tags``."""
    think: Literal["required", "optional"] = "required"
    """Whether an answer without reasoning is valid; a think block without a letter or a digit is
    no reasoning."""
    prefilled_think: bool = False
    """Whether a completion may begin inside its think block, the chat template having written
    ``<think>``. Where the item's prompt ends with ``<think>`` it always may."""
    states: Literal["label", "probability"] = "label"
    """What the answer to a question of yes and no states: the class, or the probability of yes
    ("0.83", "83%")."""
    knowledge: str | None = None
    """The ontology whose names and exact synonyms make open names canonical."""
    until: str | None = None
    """For ``answer = "after-think"``: the answer ends before the first of these."""
    pattern: str | None = None
    """RE2 expression with one group that holds the answer, for ``answer = "pattern"``."""
    field: str | None = None
    """The key that holds the answer in JSON or in a tool's arguments; None: ``answer``."""
    tool: str | None = None
    """The tool whose call is the answer, for ``answer = "tool"``."""
    max_chars: Annotated[int, msgspec.Meta(ge=16, le=4_194_304)] = 32_768
    """Longer completions are TOO_LONG."""
    max_words: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Completions of more words are TOO_LONG; 0: no limit but ``max_chars``."""
    gate_contradiction: bool = False
    """Whether reasoning that concludes another class makes the item invalid."""


_OWN: Final[tuple[tuple[str, tuple[Method, ...]], ...]] = (
    ("tag", ("tag",)),
    ("until", ("after-think",)),
    ("pattern", ("pattern",)),
    ("field", ("json", "tool")),
    ("tool", ("tool",)),
)
"""Keys that only some methods read."""
_NEEDED: Final[dict[Method, str]] = {"pattern": "pattern", "tool": "tool"}


def fault_of(rules: Extraction) -> tuple[str, str] | None:
    """The key that is wrong and what to do about it; None where the rules are sound."""
    method = rules.answer
    if rules.pattern is not None and (found := _pattern_fault(rules.pattern)):
        return found
    for key, methods in _OWN:
        default = Extraction.__struct_defaults__[Extraction.__struct_fields__.index(key)]
        if getattr(rules, key) != default and method not in methods:
            wanted = " or ".join(f'answer = "{name}"' for name in methods)
            return key, f'only {wanted} reads it; this profile has answer = "{method}"'
    needed = _NEEDED.get(method)
    if needed is not None and not getattr(rules, needed):
        return needed, f'missing; answer = "{method}" needs it'
    if rules.grammar == "released" and method != "tag":
        return "grammar", '"released" is a grammar of answer = "tag"; leave it out'
    if rules.states == "probability" and method == "letter":
        return "states", 'a letter states no probability; use another answer, or states = "label"'
    if rules.until is not None and not re.fullmatch(r"[^\w\s]{1,3}", rules.until):
        return "until", f"expected 1 to 3 punctuation marks, got {rules.until!r}"
    for key in ("field", "tool"):
        if getattr(rules, key) is not None and not 0 < len(getattr(rules, key)) <= 64:
            return key, "expected 1 to 64 characters"
    return _tag_fault(rules)


def _tag_fault(rules: Extraction) -> tuple[str, str] | None:
    tags: list[tuple[str, Tag]] = [("think_tag", rules.think_tag)]
    if rules.answer == "tag":
        tags.append(("tag", rules.tag))
    tags += [("sections", name) for name in rules.sections]
    known: list[str] = []
    for key, tag in tags:
        if isinstance(tag, str) and not _NAME.fullmatch(tag):
            message = "a tag's name is a letter and up to 31 letters, digits, _ and -, lower case"
            return key, f"{message}; got {tag!r}"
        for token in map(str.lower, ends_of(tag)):
            if not _TOKEN.fullmatch(token):
                return (
                    key,
                    f"expected a token in brackets or bars, 3 to 64 signs; got {token!r}",
                )
            if any(token in other or other in token for other in known):
                return key, f"{token!r} is, or is part of, another tag of this profile"
            known.append(token)
    return None


def ends_of(tag: Tag) -> tuple[str, str]:
    """How a block opens and closes."""
    return (f"<{tag}>", f"</{tag}>") if isinstance(tag, str) else tag


def _pattern_fault(pattern: str) -> tuple[str, str] | None:
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        return "pattern", f"not an RE2 expression ({reason}); look-around and \\1 are not in RE2"
    if compiled.groups != 1:
        return "pattern", f"expected exactly one group, the answer; this has {compiled.groups}"
    return None
