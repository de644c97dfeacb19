"""Names as answers: one open label, or several names as a set, a list or a ranking.

One name is at most 200 characters on one line. It is canonical as its class where the task has
classes, as the ontology's name of its term where the profile has knowledge and a name or exact
synonym finds the term, and else as it stands, in lower case (``forms.normal_name``). A name that
the ontology does not know is not invalid: nothing equals it but the same name.

An id with its own name, or a name with another of the same term, in brackets or behind the id, is
that term ("T cell (CL:0000084)").

Several names are written in one of these ways, the first that applies:

    ["a", "b"]            a JSON list of strings
    1. a ⏎ 2. b           one on each line, numbered from 1 or bulleted or neither, all alike
    a | b      a; b      a, b

Markdown around the whole of a name or of the list (``markup``) is taken away: ``- **GO:1** (…)``,
a fence around the JSON list.

Names that hold a separator themselves ("CD4-positive, alpha-beta T cell") are read on lines and in
JSON as they stand, and elsewhere where classes are given: there the longest class wins. Prose,
empty places and quotes of other languages are MALFORMED or no name of the vocabulary. An answer
that holds one name outside the vocabulary is ANSWER_NOT_IN_VOCABULARY as a whole. Linear in the
answer; not covered: "a and b".
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import msgspec

from service.rewards.core import Reason
from service.rewards.forms import BLANKS, MAX_NAME, Claim, blank, deceptive, normal, normal_name
from service.rewards.markup import bare, unfenced
from worldmodels.ontology import Term

_NUMBERED: Final = re.compile(r"(\d{1,4})[.)][ \t]+(?=\S)")
_BULLETED: Final = re.compile(r"([-*•])[ \t]+(?=\S)")
_SEPARATORS: Final = ("|", ";", ",")
_SEVERAL: Final = re.compile(r"[;|]")
_NO_NAMES: Final = Claim(Reason.MALFORMED)
_TWICE: Final = (
    re.compile(r"([^()\[\]]+?)[ \t]*[(\[]([^()\[\]]+)[)\]]"),  # T cell (CL:0000084)
    re.compile(r"([A-Za-z]{1,20}:[0-9]{1,12})[ \t]*[ \t:–-][ \t]*[(\[]?([^()\[\]]+)[)\]]?"),
)
_STRINGS: Final = msgspec.json.Decoder(list[str])


class Terms(Protocol):
    """What is asked of an ontology."""

    @property
    def terms(self) -> Mapping[str, Term]:
        """Terms by id."""
        ...

    def resolve(self, text: str) -> str | None:
        """The id of the one term that a text names."""
        ...


@dataclass(frozen=True, slots=True)
class OpenLabel:
    """Any one name; ``value`` is the term's id where an ontology knows it."""

    ontology: Terms | None = None

    def claim(self, text: str) -> Claim:
        """The canonical name, or why there is none."""
        if blank(text):
            return Claim(Reason.NO_ANSWER)
        text = bare(text).strip(BLANKS)
        if len(text) > MAX_NAME:
            return Claim(Reason.TOO_LONG)
        if "\n" in text or "\r" in text or deceptive(text):
            return Claim(Reason.MALFORMED)
        name, term = canonical(text, self.ontology)
        if term is None and _SEVERAL.search(name):
            return Claim(Reason.SEVERAL_ANSWERS)
        return Claim(Reason.OK, name, term) if name else Claim(Reason.NO_ANSWER)


def canonical(text: str, ontology: Terms | None) -> tuple[str, str | None]:
    """A name as the ontology writes it, with the term's id; as it stands where none knows it.

    Where a term's name is not its alone, the id stands for it.
    """
    name = normal_name(text)
    if ontology is None:
        return name, None
    term = ontology.resolve(text.strip(BLANKS)) or ontology.resolve(name) or twice(name, ontology)
    if term is None:
        return name, None
    known = ontology.terms[term].name
    return (known if ontology.resolve(known) == term else term), term


def twice(name: str, ontology: Terms) -> str | None:
    """The term that a text names twice: by id and name, or by two of its names.

    ``GO:0005509 calcium ion binding``, ``ALS (amyotrophic lateral sclerosis)``. Both must name one
    term, so that no second answer stands in brackets.
    """
    for shape in _TWICE:
        if found := shape.fullmatch(name):
            one, other = ontology.resolve(found[1]), ontology.resolve(found[2])
            if one is not None and one == other:
                return one
    return None


@dataclass(frozen=True, slots=True)
class Names:
    """Several names; ``value`` is the tuple of them, canonical and in order.

    Attributes:
        forms: every accepted form to its class, as a ``Vocabulary`` has them; {} allows any name.
        ontology: makes open names canonical.
        most: more names are TOO_LONG.
        exactly: another number of names is MALFORMED; None: any number.
        repeats: what a name that comes twice does: counts once, twice, or is MALFORMED.
        otherwise: finds the class of a name that ``forms`` does not have, None where it has none.
    """

    forms: Mapping[str, str]
    ontology: Terms | None = None
    most: int = 1000
    exactly: int | None = None
    repeats: Literal["once", "twice", "never"] = "once"
    otherwise: Callable[[str], str | None] | None = None

    def claim(self, text: str) -> Claim:
        """The names, or why there are none. The label is the names, joined by semicolons."""
        if blank(text):
            return Claim(Reason.NO_ANSWER)
        written = self.written(text)
        if isinstance(written, Claim):
            return written
        names: list[str] = []
        for name in written:
            if len(names) == self.most:
                return Claim(Reason.TOO_LONG)
            known = self.name(name)
            if isinstance(known, Reason):
                return Claim(known)
            names.append(known)
        return self._listed(names)

    def name(self, text: str) -> str | Reason:
        """One name in canonical form, or why it is none."""
        text = bare(text)
        if self.forms:
            name = normal(text if text.isascii() else unicodedata.normalize("NFC", text[:1000]))
            known = self.forms.get(name)
            if known is None and self.otherwise is not None:
                known = self.otherwise(text.strip(BLANKS).removesuffix("."))
            return known or Reason.ANSWER_NOT_IN_VOCABULARY
        if blank(text):
            return Reason.MALFORMED
        if len(text) > MAX_NAME:
            return Reason.TOO_LONG
        if "\n" in text or deceptive(text):
            return Reason.MALFORMED
        return canonical(text, self.ontology)[0] or Reason.MALFORMED

    def _listed(self, names: list[str]) -> Claim:
        distinct = tuple(dict.fromkeys(names))
        if self.repeats == "once":
            names = list(distinct)
        elif self.repeats == "never" and len(distinct) < len(names):
            return _NO_NAMES
        if self.exactly is not None and len(names) != self.exactly:
            return _NO_NAMES
        if not names:
            return Claim(Reason.NO_ANSWER)
        return Claim(Reason.OK, "; ".join(names), tuple(names))

    def written(self, text: str) -> Iterator[str] | Claim:
        """The names one by one, as they are written."""
        text = bare(unfenced(text)).strip(BLANKS)
        if "```" in text:  # a fence around a part of the list, or two lists
            return _NO_NAMES
        if text.startswith("["):
            try:
                return iter(_STRINGS.decode(text))
            except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
                return _NO_NAMES
        if "\n" in text or _NUMBERED.match(text) or _BULLETED.match(text):
            return _lines(text)
        for separator in _SEPARATORS:
            if separator in text:
                return self._separated(text, separator)
        return iter((text,))

    def _separated(self, text: str, separator: str) -> Iterator[str]:
        pieces = text.split(separator)
        if not self.forms:
            yield from pieces
            return
        longest = _longest(self.forms, separator)
        at = 0
        while at < len(pieces):
            for width in range(min(longest, len(pieces) - at), 0, -1):
                name = separator.join(pieces[at : at + width])
                if width == 1 or normal(bare(name)) in self.forms:
                    yield name
                    at += width
                    break


def _longest(forms: Mapping[str, str], separator: str) -> int:
    """Pieces of the class that holds the separator most often."""
    return 1 + max(form.count(separator) for form in forms)


def _lines(text: str) -> Iterator[str] | Claim:
    """Names on lines: all numbered from 1, all with one bullet, or all bare."""
    lines = [line for line in map(_stripped, text.split("\n")) if line]
    for mark in (_NUMBERED, _BULLETED):
        marked = [mark.match(line) for line in lines]
        if not marked[0]:
            continue
        for index, found in enumerate(marked):
            if found is None or not _in_order(found[1], index, marked[0][1]):
                return _NO_NAMES
        return iter(
            [line[found.end() :] for line, found in zip(lines, marked, strict=True) if found]
        )
    return iter(lines)


def _stripped(line: str) -> str:
    return line.strip(BLANKS)


def _in_order(mark: str, index: int, first: str) -> bool:
    return mark == first if not mark.isdigit() else int(mark) == index + 1
