"""How an honest completion is written: its reasoning, its claim, and what stands around them.

A frame is read off a completion that the profile accepts, so that it holds for whichever way of
answering the profile has (tags, a box, a JSON field, the last line …) without knowing it. Other
completions are the same frame with other fields.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from service.rewards.core import Answer
from service.rewards.forms import BLANKS

LITERAL: Final = "literal"
THINK: Final = "think"
CLAIM: Final = "claim"
SECTION: Final = "section"


class FrameFault(ValueError):
    """The claim does not stand in the completion as it was read."""


class Piece(NamedTuple):
    """A stretch of a completion."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Frame:
    """A completion cut into literals and fields.

    Attributes:
        pieces: in order; exactly one is the claim.
        quoted: the claim stands in a JSON string, so that what replaces it is escaped.
        ends: what closes the reasoning and sections, which stand before the answer.
    """

    pieces: tuple[Piece, ...]
    quoted: bool = False
    ends: tuple[str, ...] = ("</think>",)

    def write(
        self,
        claim: str | None = None,
        think: str | None = None,
        section: str | Callable[[str], str] | None = None,
    ) -> str:
        """The completion with other fields; None leaves a field as it is.

        Args:
            claim: the answer.
            think: the reasoning.
            section: each section's text, or what becomes of it.
        """
        if claim is not None and self.quoted:
            claim = json.dumps(claim, ensure_ascii=False)[1:-1]
        fields = {CLAIM: claim, THINK: think, SECTION: section}
        written = []
        for piece in self.pieces:
            field = fields.get(piece.kind)
            if field is None:
                written.append(piece.text)
            else:
                written.append(field if isinstance(field, str) else field(piece.text))
        return "".join(written)

    def has(self, kind: str) -> bool:
        """Whether there is such a field."""
        return any(piece.kind == kind for piece in self.pieces)

    def text(self, kind: str) -> str:
        """The text of the first such field, "" without one."""
        return next((piece.text for piece in self.pieces if piece.kind == kind), "")

    def without(self, index: int) -> str:
        """The completion without one piece."""
        return "".join(piece.text for at, piece in enumerate(self.pieces) if at != index)

    @property
    def at(self) -> int:
        """Index of the claim."""
        return next(i for i, piece in enumerate(self.pieces) if piece.kind == CLAIM)

    @property
    def block(self) -> str:
        """The answer with what encloses it: ``<answer>{}</answer>``; the claim is ``{}``."""
        return self.opening + "{}" + self.closing

    @property
    def opening(self) -> str:
        """What opens the answer, "" where nothing does: the last literal, after the reasoning."""
        at = self.at
        text = self.pieces[at - 1].text if at and self.pieces[at - 1].kind == LITERAL else ""
        closed = max(
            (at + len(end) for end in self.ends if (at := text.rfind(end)) >= 0), default=0
        )
        return text[closed:].lstrip() if closed else text

    @property
    def closing(self) -> str:
        """What closes the answer."""
        return "".join(piece.text for piece in self.pieces[self.at + 1 :])


def frame_of(answer: Answer, ends: tuple[str, ...]) -> Frame:
    """The frame of a completion that was read as ``answer``.

    Raises:
        FrameFault: the claim is not to be found in it.
    """
    text = answer.text
    claim = answer.claimed.strip(BLANKS)
    escaped = json.dumps(claim, ensure_ascii=False)[1:-1]
    at, quoted = text.rfind(claim), False
    if escaped != claim and text.rfind(escaped) >= 0:
        claim, at = escaped, text.rfind(escaped)
    if not claim or at < 0:
        raise FrameFault(f"the claim {answer.claimed[:40]!r} is not in the completion verbatim")
    quoted = text[at - 1 : at] == '"' and text[at + len(claim) : at + len(claim) + 1] == '"'
    spans = [(at, at + len(claim), CLAIM)]
    fields = [(part, SECTION) for _, part in answer.sections] + [(answer.think, THINK)]
    for field, kind in fields:
        field = field.strip()
        found = text.find(field) if field else -1
        if found >= 0 and all(
            end <= found or found + len(field) <= start for start, end, _ in spans
        ):
            spans.append((found, found + len(field), kind))
    return Frame(tuple(_pieces(text, sorted(spans))), quoted, ends)


def _pieces(text: str, spans: list[tuple[int, int, str]]) -> list[Piece]:
    pieces, done = [], 0
    for start, end, kind in spans:
        if start > done:
            pieces.append(Piece(LITERAL, text[done:start]))
        pieces.append(Piece(kind, text[start:end]))
        done = end
    if done < len(text):
        pieces.append(Piece(LITERAL, text[done:]))
    return pieces
