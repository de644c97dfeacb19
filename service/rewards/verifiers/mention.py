"""Does the reasoning name what the question is about? The share of keywords that it names.

As released by rbio (share of the keywords that occur in the think text), except that a keyword
counts only as a whole token ("AR" is not in "PARP1"), only where the reasoning is prose (at least
``min_prose`` different words besides the keywords; a bare list of them earns nothing), and also
under the gene's other names. A word has three letters or more, or is one Chinese, Japanese or
Korean character; such characters bound tokens as blanks do, for these scripts set none. Letter
case is ignored where a name cannot be an English word, so that "aars" and "calreticulin" count
while "was" does not name WAS; other names of one or two letters are left out ("KD" is an alias of
AR and a knockdown in every abstract).

``keywords: null`` is no opinion (NO_KEYWORDS); an explicit empty list is 1.0 as released. What the
reasoning says *about* a gene is not looked at, nor whether its words mean anything.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import Annotated, Final, NamedTuple

import msgspec

from service.rewards.core import Answer, Component, Item, Reason, Verdict
from service.rewards.forms import Form
from service.rewards.library import Library
from service.rewards.verifiers.english import ENGLISH
from service.rewards.verifiers.judge import Fault, Judge
from worldmodels.core import Status
from worldmodels.genes import GeneResolver

MAX_KEYWORDS: Final = 64
MAX_CHARS: Final = 200


class MentionOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The keys of a ``mention`` component."""

    min_prose: Annotated[int, msgspec.Meta(ge=0)] = 1
    """Different words besides the keywords that make reasoning prose. One is what the shortest
    honest sentence has ("AARS affects CALR.")."""


class Names(NamedTuple):
    """How one keyword may be written."""

    verbatim: tuple[str, ...]
    """To be found as they stand."""
    folded: tuple[str, ...]
    """In lower case, to be found in the lower-cased text."""
    words: frozenset[str]
    """The words of all forms, in lower case: they make no prose."""


class MentionJudge(Judge):
    """Share of keywords that the reasoning names, in [0, 1]."""

    Options = MentionOptions
    textual = True

    def __init__(self, name: str, weight: float, options: MentionOptions, library: Library):
        super().__init__(name, weight, options, library)
        self.options = options
        self.names = functools.lru_cache(maxsize=16_384)(
            functools.partial(names_of, genes=library.genes)
        )

    def fault(self, item: Item, form: Form) -> Fault | None:
        """BAD_ITEM for blank, overlong or too many keywords."""
        keywords = item.keywords or ()
        if len(keywords) > MAX_KEYWORDS:
            return Reason.BAD_ITEM, f"keywords: at most {MAX_KEYWORDS}, got {len(keywords)}"
        for index, keyword in enumerate(keywords):
            if not keyword.strip() or len(keyword) > MAX_CHARS:
                found = f"expected 1 to {MAX_CHARS} characters, got {keyword[:20]!r}"
                return Reason.BAD_ITEM, f"keywords[{index}]: {found}"
        return None

    def score(self, item: Item, answer: Answer, verdicts: tuple[Verdict, ...]) -> Component:
        """Share of keywords named."""
        keywords = item.keywords
        if keywords is None:
            return self.missing(Reason.NO_KEYWORDS)
        if not keywords:
            return Component(self.name, 1.0, self.weight)
        think = answer.think
        lower = think.lower()
        names = [self.names(keyword) for keyword in keywords]
        named = sum([mentions(name, think, lower) for name in names])
        if named and not is_prose(lower, names, self.options.min_prose):
            named = 0
        return Component(self.name, named / len(keywords), self.weight)


def names_of(keyword: str, genes: GeneResolver) -> Names:
    """Every form under which a keyword counts."""
    keyword = keyword.strip()
    forms = [keyword]
    symbol, status = genes.resolve(keyword)
    if status is Status.OK:
        others = (symbol, *genes.aliases(symbol))
        forms += [
            form for form in others if len(form) > 2 and form != keyword and form not in ENGLISH
        ]
    folded = {form.lower() for form in forms if not could_be_english(form)}
    verbatim = [keyword] + [form for form in forms[1:] if form.lower() not in folded]
    words = frozenset(word for form in forms for word in _WORD.findall(form.lower()))
    return Names(tuple(verbatim), tuple(sorted(folded)), words)


def could_be_english(form: str) -> bool:
    """Whether a name, written in lower case, could be a common word.

    Names in lower case already are words of their own right; digits, several words and length
    beyond 3 letters speak for a name, unless the list of English gene symbols says otherwise.
    """
    if form == form.lower() or not form.isalpha():
        return False
    return len(form) <= 3 or form.lower() in ENGLISH


def mentions(names: Names, think: str, lower: str) -> bool:
    """Whether a text names a keyword under any of its forms."""
    for form in names.verbatim:
        if _stands(form, think):
            return True
    for form in names.folded:  # noqa: SIM110 - three times slower as a generator
        if _stands(form, lower):
            return True
    return False


def _stands(form: str, text: str) -> bool:
    """Whether ``form`` is a token of ``text``. Most often its first occurrence tells."""
    at = text.find(form)
    if at < 0:
        return False
    before, after = text[at - 1 : at], text[at + len(form) : at + len(form) + 1]
    if not (before.isalnum() or before == "_" or after.isalnum() or after == "_"):
        return True
    return _token(form).search(text, at) is not None


def is_prose(lower: str, names: list[Names], minimum: int) -> bool:
    """Whether a lower-cased text holds ``minimum`` different words besides the keywords' names."""
    beginning = lower[:_BEGINNING].split(None, _WORDS)
    del beginning[-1:]  # perhaps half a word, and half a keyword is no prose
    ordinary = (word for word in beginning if word.isascii() and word.isalpha())
    own = [name.words for name in names]
    if _different(ordinary, own, minimum):
        return True
    every: frozenset[str] = frozenset().union(*own)
    return _different(_WORD.findall(lower), [every], minimum)


def _different(words: Iterable[str], own: list[frozenset[str]], minimum: int) -> bool:
    seen: set[str] = set()
    for word in words:
        if len(seen) >= minimum:
            break
        if (len(word) > 2 or word >= _FIRST) and not any(
            _holds_a_name(word, known) for known in own
        ):
            seen.add(word)
    return len(seen) >= minimum


def _holds_a_name(word: str, own: frozenset[str]) -> bool:
    """Whether a word is a name, or names glued together ("calraars"), which is no prose either."""
    return word in own or any(name in word for name in own if len(name) > 2)


_BEGINNING: Final = 100
_WORDS: Final = 8
"""Characters and words that settle it for ordinary prose, without a regular expression."""
_FIRST: Final = "\u3005"
_NO_BLANKS: Final = (
    _FIRST + "-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
"""Letters of scripts that set no blanks between words and names: Han, kana, Hangul."""
_JOINS: Final = rf"[^\W{_NO_BLANKS}]"
_WORD: Final = re.compile(rf"[^\W\d_{_NO_BLANKS}]+|[{_NO_BLANKS}]")


@functools.lru_cache(maxsize=16_384)
def _token(form: str) -> re.Pattern[str]:
    """``form`` between token boundaries.

    The look-behind stands first, so that a text of one letter is not compared with a form of that
    letter at each place.
    """
    first, last = (re.match(f"[{_NO_BLANKS}]", letter) for letter in (form[0], form[-1]))
    before, after = "" if first else f"(?<!{_JOINS})", "" if last else f"(?!{_JOINS})"
    return re.compile(f"{before}{re.escape(form)}{after}")
