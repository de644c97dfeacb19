"""Markdown that encloses a whole answer, or one whole item of a list, and says nothing itself.

    `CCO`   **GO:0034975**   *TP53*   **`CCO`**        a code span or emphasis around all of it
    **GO:0034975** (protein folding in ER)             … around an id before what stands behind it
    ```json ⏎ ["a", "b"] ⏎ ```                         one fence around all of it

The marks stand at both ends and nowhere else, so that they can hide no second answer; what they
enclose is read as if it stood alone. A fence's language is none or one of ``LANGUAGES``: any other
word there might be the answer. All else is left as it stands, for the form to refuse. Linear.
"""

from __future__ import annotations

import re
from typing import Final

from service.rewards.forms import BLANKS

LANGUAGES: Final = frozenset({"", "json", "text", "txt", "plaintext", "smiles", "selfies", "inchi"})
_SPAN: Final = re.compile(r"(`{1,3}|\*{1,3})(?=\S)([^`*\n]+)(?<=\S)\1")
_NESTED: Final = re.compile(r"(\*{1,3})(`[^`*\n]+`)\1")
_LEAD: Final = re.compile(r"(`|\*{1,3})(?=\S)([^`*\n]+)(?<=\S)\1(?=[ \t:([–-])([^`*\n]+)")


def bare(text: str) -> str:
    """A text without the code span or the emphasis around the whole of it, or of its first word."""
    if "`" not in text and "*" not in text:
        return text
    inside = text.strip(BLANKS)
    if nested := _NESTED.fullmatch(inside):
        inside = nested[2]
    if found := _SPAN.fullmatch(inside):
        return found[2].strip(BLANKS)
    if found := _LEAD.fullmatch(inside):
        return found[2] + found[3]
    return text


def unfenced(text: str) -> str:
    """A text without the one code fence around the whole of it."""
    if "```" not in text:
        return text
    inside = text.strip(BLANKS).replace("\r\n", "\n")
    opening, _, rest = inside.partition("\n")
    if not opening.startswith("```") or not rest.endswith("\n```"):
        return text
    rest = rest[: -len("\n```")]
    if opening[3:].strip().lower() not in LANGUAGES or "```" in rest:
        return text
    return rest.strip(BLANKS)
