"""How often completions of one group nearly repeat each other: a policy that has stopped exploring.

Each completion is compared with the one before it in its group, whichever request brought it: two
are alike if four fifths of their sentences are the same. A group is what the item says
(``group``), else its prompt; items with neither are not compared. One group in 32 is looked
at, chosen by its name, so that every process looks at the same ones. Limits: of a completion the
first 16,384 characters; a text without full stops repeats only what equals it; of messages the last
one's text; the latest 1,024 groups are remembered, so completions of one group that arrive far
apart are not compared.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final
from zlib import crc32

from service.requests import BadItem
from service.rewards.core import Item

MOST_CHARS: Final = 16_384
MOST_GROUPS: Final = 1024
ONE_IN: Final = 32

Sentences = frozenset[int]


class Repetition:
    """Remembers the last completion of each group, as hashes of its sentences."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[str, str, str], Sentences] = OrderedDict()

    def count(self, profile: str, run: str, items: Sequence[Item | BadItem]) -> tuple[int, int]:
        """Completions compared, and those of them that nearly repeat the one before."""
        pairs = repeats = 0
        name, looked = None, False
        for item in items:
            if isinstance(item, BadItem):
                continue
            found = item.prompt if item.group is None else item.group
            if found is not name:  # a batch brings its groups one after the other
                name, looked = found, _is_looked_at(found)
            if not looked or not (text := text_of(item)):
                continue
            now = sentences(text)
            before = self._remember((profile, run, str(name)), now)
            if before is not None:
                pairs += 1
                repeats += alike(before, now)
        return pairs, repeats

    def _remember(self, key: tuple[str, str, str], now: Sentences) -> Sentences | None:
        """Keep the completion of a group; the one before, if there was one."""
        before = self._last.pop(key, None)
        self._last[key] = now
        if len(self._last) > MOST_GROUPS:
            self._last.popitem(last=False)
        return before


def _is_looked_at(name: object) -> bool:
    if isinstance(name, int):
        name = str(name)
    return isinstance(name, str) and not crc32(name.encode(errors="replace")) % ONE_IN


def text_of(item: Item) -> str:
    """The completion's beginning; of messages, the last one's."""
    given = item.completion
    text = given[-1].content if given and isinstance(given, list) else given
    return text[:MOST_CHARS] if isinstance(text, str) else ""


def sentences(text: str) -> Sentences:
    """The sentences and lines of a text, in no order."""
    return frozenset(map(hash, text.replace("\n", ". ").split(". ")))


def alike(one: Sentences, other: Sentences) -> bool:
    """Whether they share four fifths of the longer one's sentences."""
    return 5 * len(one & other) >= 4 * max(len(one), len(other))
