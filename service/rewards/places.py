r"""Where the answer stands in what follows the reasoning, for profiles that use no answer tag.

Common to all: the reasoning is the one think block at the beginning, and only what follows it is
read. The place is found by its position or by one mark; it is never searched for in prose. A mark
that comes twice, in the reasoning too, is SEVERAL_ANSWERS; so that no second answer hides, an HTML
comment, a code fence or an answer tag beside the place is MALFORMED, and after the place nothing
may stand but closing punctuation. What the prose before it concludes counts like the reasoning's
end (``contradiction``).

    after-think  Everything that follows is the answer, to the last letter: no room for a second
                 one. With ``until`` it ends before the first separator; what follows that is an
                 explanation that nobody reads, so that a second answer in it earns nothing.
    boxed        One \boxed{…} with balanced braces; a single \text{…} in it is taken off. Any
                 other box (\fbox, \Boxed, "\ boxed") is a variant: MALFORMED.
    letter       The last line is a letter of the task's options and no more than "Answer:", bold
                 and brackets around it. A second line like it, or one that announces a letter
                 ("Answer: A, since …"), is a second answer. Restating options is none.
    last-line    The last line that is not blank, whole. Where the form is closed, another line
                 that would be an answer is a second one.
    pattern      The one match of the caller's RE2 expression (linear, whatever it says).

Linear in the text.
"""

from __future__ import annotations

import functools
import re
from typing import Any, Final, NamedTuple

from service.rewards.core import Reason
from service.rewards.forms import BLANKS, Form, unemphasised
from service.rewards.names import Names, OpenLabel
from service.rewards.passage import Passage
from service.rewards.rules import Extraction
from service.rewards.tags import LOOSE_ANSWER
from service.rewards.vocabulary import Vocabulary


class Place(NamedTuple):
    """Where the answer stands, or why there is none."""

    reason: Reason
    claimed: str = ""
    """The answer as it is written."""
    prose: str = ""
    """What stands beside it, outside the reasoning."""


_BOX: Final = re.compile(r"\\\s*(?:f\s*)?box(?:ed)?(?![a-z])", re.IGNORECASE)
_BRACE: Final = re.compile(r"\\.|[{}]", re.DOTALL)
_WRAPPED: Final = re.compile(r"\\(?:text|texttt|textbf|textit|mathrm|mathbf)\{([^{}\\]*)\}")
_CLOSERS: Final = re.compile(r"""[\s.$*_`)\]}\\"'”’」]*""")
"""What may end a sentence, a formula or a quotation that holds the answer."""
_LETTER_LINE: Final = re.compile(
    r"^[ \t]*((?:(?:the|my)[ ])?(?:(?:final|correct|best|right)[ ])?(?:answer|option|choice)"
    r"(?:[ ]is)?(?::[ \t]*|[ \t]+))?\(?([A-Z0-9]{1,3})(?![A-Z0-9])(\)?[.)]?[ \t]*$)?",
    re.IGNORECASE | re.MULTILINE | re.ASCII,
)
_OPEN: Final = (OpenLabel, Names, Passage)
"""Forms of which any line could be an answer."""


def hides(prose: str) -> bool:
    """Whether a text beside the answer holds what hides or resembles another one."""
    if "<!--" in prose or "```" in prose or "~~~" in prose:
        return True
    return "<" in prose and LOOSE_ANSWER.search(prose) is not None


def after_think(rest: str, think: str, rules: Extraction, form: Form) -> Place:
    """All that follows the reasoning, up to ``until``."""
    if rules.until is None:
        return Place(Reason.OK, rest.strip())
    claimed, _, explanation = rest.partition(rules.until)
    return Place(Reason.OK, claimed.strip(), explanation)


def boxed(rest: str, think: str, rules: Extraction, form: Form) -> Place:
    """The inside of the one box."""
    marks = _BOX.finditer(rest)
    first = next(marks, None)
    if first is None:
        return Place(Reason.NO_ANSWER)
    if next(marks, None) is not None or _BOX.search(think):
        return Place(Reason.SEVERAL_ANSWERS)
    begin = first.end() + 1
    if first.group() != "\\boxed" or rest[first.end() : begin] != "{":
        return Place(Reason.MALFORMED)
    end = _closing(rest, begin)
    if end is None or not _CLOSERS.fullmatch(rest, end + 1):
        return Place(Reason.MALFORMED)
    inside = rest[begin:end].strip()
    wrapped = _WRAPPED.fullmatch(inside)
    return Place(Reason.OK, wrapped[1] if wrapped else inside, rest[: first.start()])


def _closing(text: str, begin: int) -> int | None:
    """Where the brace closes that was opened before ``begin``."""
    depth = 1
    for found in _BRACE.finditer(text, begin):
        mark = found.group()
        if mark == "{":
            depth += 1
        elif mark == "}":
            depth -= 1
            if depth == 0:
                return found.start()
    return None


def letter(rest: str, think: str, rules: Extraction, form: Form) -> Place:
    """The letter on the last line."""
    assert isinstance(form, Vocabulary)  # ``form_of`` gives no other under these rules
    if "```" in rest:
        return Place(Reason.MALFORMED)
    text = rest.replace("*", "").replace("`", "").replace("\r\n", "\n").rstrip()
    last = text.rfind("\n") + 1
    found = _LETTER_LINE.match(text, last)
    others = 0
    for line in _LETTER_LINE.finditer(text, 0, last):
        announced, name, alone = line.groups()
        if name.lower() in form.options and (
            alone is not None or (announced and not name.islower())
        ):
            others += 1
            break
    if found is None or found[3] is None:
        return Place(Reason.MALFORMED if others else Reason.NO_ANSWER)
    if others:
        return Place(Reason.SEVERAL_ANSWERS)
    return Place(Reason.OK, found[2], text[:last])


def last_line(rest: str, think: str, rules: Extraction, form: Form) -> Place:
    """The last line that is not blank."""
    text = rest.rstrip(BLANKS)
    prose, _, claimed = text.rpartition("\n")
    if not isinstance(form, _OPEN):
        for line in set(prose.split("\n")):
            if line and form.claim(unemphasised(line)).reason is Reason.OK:
                return Place(Reason.SEVERAL_ANSWERS)
    return Place(Reason.OK, claimed, prose)


def by_pattern(rest: str, think: str, rules: Extraction, form: Form) -> Place:
    """The group of the one match of the profile's expression."""
    assert rules.pattern is not None
    expression = _compiled(rules.pattern)
    try:
        rest.encode()
        think.encode()
    except UnicodeEncodeError:  # lone surrogates: RE2 reads UTF-8
        return Place(Reason.MALFORMED)
    matches = expression.finditer(rest)
    first = next(matches, None)
    if first is None or first.group(1) is None:
        return Place(Reason.NO_ANSWER)
    if next(matches, None) is not None or expression.search(think) is not None:
        return Place(Reason.SEVERAL_ANSWERS)
    if not _CLOSERS.fullmatch(rest, first.end()):
        return Place(Reason.MALFORMED)
    return Place(Reason.OK, first.group(1), rest[: first.start()])


@functools.lru_cache(maxsize=256)
def _compiled(pattern: str) -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    return re2.compile(pattern, options)
