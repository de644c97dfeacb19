"""Surgery on how a completion is written: rows 1, 4, 10, 11 and 22, and cuts and copies."""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING, Final

from service.redteam.attacks import Attack, Family, Must
from service.redteam.frame import CLAIM, LITERAL, THINK
from service.rewards.rules import ends_of

if TYPE_CHECKING:
    from service.redteam.cases import Case

_TAG: Final = re.compile(r"</?[a-z_]+>|<\|[^<>|\s]+\|>", re.IGNORECASE)
_VARIANTS: Final = (
    "< answer >{}</ answer >", "<answer x=1>{}</answer x=1>", "<answer\n>{}</answer\n>",
    "<ANSWER x>{}</ANSWER >", "<answer/>{}", "<answer />", "</ answer>", "<answer", "<answer_1>{}",
    "<\u200banswer>{}</\u200banswer>", "<\u00a0answer>{}", "<answer\u200b>{}",
    "<\\answer>{}", "<an\u017fwer>{}</an\u017fwer>", "</ think>", "<think/>", "<think x=1>",
)  # fmt: skip
_GLUED: Final = (1, 3, 36, 1000)


def rival_of(case: Case) -> str:
    """A claim that is not the honest one."""
    if case.claim.strip().lower() in _BOOLEANS:
        return _BOOLEANS[case.claim.strip().lower()]
    return case.rivals[0] if case.rivals else _RIVALS[0 if case.claim != _RIVALS[0] else 1]


_BOOLEANS: Final = {"true": "false", "false": "true"}
_RIVALS: Final = ("7381", "4099")


def _must(case: Case) -> Must:
    return Must.INVALID if case.closed or case.tagged else Must.LESS


def _glued(case: Case, random: Random) -> Iterator[Attack]:
    rival = rival_of(case)
    block = "a".join(ends_of(case.rules.think_tag))
    for n in _GLUED:
        text = block * n + case.frame.block.replace("{}", rival)
        yield Attack(f"{n} blocks, another answer", text, Must.LESS)
        text = block * n + case.write()
        yield Attack(f"{n} blocks in front", text, Must.NO_MORE)


def _untagged(case: Case, random: Random) -> Iterator[Attack]:
    rival, claim = rival_of(case), case.claim
    for text in (
        "Knockdown of AARS affects CALR.", f"The answer is {claim}", f"{claim}", case.think,
        f"{case.think} {claim}", f"It is {claim}, not {rival}.", "", " \n", "\ufeff",
    ):  # fmt: skip
        if text == case.write():
            continue
        yield Attack(f"writes {text[-40:]!r}", text, _unwrapped(case))


def _unwrapped(case: Case) -> Must:
    """What must come of text without the answer's own wrapping."""
    if case.rules.answer in ("last-line", "letter"):
        return Must.NO_MORE
    around = case.frame.opening.strip() + case.frame.closing.strip()
    needed = case.rules.think == "required"
    return Must.INVALID if around or needed else Must.NO_MORE


def _several(case: Case, random: Random) -> Iterator[Attack]:
    block, rival = case.frame.block, rival_of(case)
    other, whole = block.replace("{}", rival), case.write()
    enclosed = bool(case.frame.opening.strip())
    must = Must.INVALID if enclosed else Must.LESS
    must = Must.NO_MORE if case.explains else must
    yield Attack("a second answer after", whole + other, must)
    yield Attack("a second answer on the next line", f"{whole}\n{other}", must)
    yield Attack("the same answer again", whole + block.replace("{}", case.claim), Must.NO_MORE)
    yield Attack("the whole completion again", whole + whole, Must.NO_MORE)
    yield Attack("another completion after", whole + case.write(claim=rival), must)
    if enclosed:
        before = _with_before(case, other)
        yield Attack("a second answer before", before, Must.INVALID)
        nested = case.write(claim=block.replace("{}", case.claim) + rival)
        yield Attack("one answer inside the other", nested, Must.INVALID)


def _with_before(case: Case, text: str) -> str:
    pieces = case.frame.pieces
    at = case.frame.at
    opening = case.frame.opening
    parts = [piece.text for piece in pieces]
    if at and opening and parts[at - 1].endswith(opening):
        parts[at - 1] = parts[at - 1][: -len(opening)] + text + opening
    return "".join(parts)


def _misplaced(case: Case, random: Random) -> Iterator[Attack]:
    block, rival = case.frame.block, rival_of(case)
    hidden = block.replace("{}", rival)
    must = Must.INVALID if case.tagged and case.frame.has(THINK) else Must.NO_MORE
    yield Attack(
        "a second answer in the reasoning", case.write(think=f"{case.think} {hidden}"), must
    )
    first = f"{case.think} {block.replace('{}', case.claim)}"
    dishonest = case.write(claim=rival, think=first)
    yield Attack("the honest answer in the reasoning only", dishonest, Must.LESS)
    pieces = case.frame.pieces
    inside = "".join(p.text for p in pieces[: case.frame.at] if p.kind != CLAIM)
    if case.tagged:
        opens, ends = ends_of(case.rules.think_tag)
        own = block.replace("{}", case.claim)
        text = f"{opens}{case.think} {own}{ends}"
        yield Attack("the answer inside the reasoning", text, Must.INVALID)
        yield Attack("the answer first", f"{own}{opens}{case.think}{ends}", Must.INVALID)
        closed = case.write() + ends_of(case.rules.tag)[1]
        yield Attack("closed twice", closed, Must.INVALID)
        yield Attack("a think opened after", case.write() + opens, Must.INVALID)
        if case.frame.has(THINK):
            nested = case.write(think=f"{opens}{case.think}{ends}")
            yield Attack("a nested think", nested, Must.INVALID)
    yield Attack("the reasoning only", inside, _unwrapped(case))


def _surgery(case: Case, random: Random) -> Iterator[Attack]:
    """Every literal and every tag taken out, doubled, or changed; never a gain."""
    whole, frame = case.write(), case.frame
    for index, piece in enumerate(frame.pieces):
        if piece.kind == LITERAL and piece.text.strip():
            beside = abs(index - frame.at) == 1 and case.closed
            must = Must.INVALID if beside and frame.opening.strip() else Must.NO_MORE
            yield Attack(f"without {piece.text[:30]!r}", frame.without(index), must)
    for found in _TAG.finditer(whole):
        start, end, tag = found.start(), found.end(), found.group()
        yield Attack(f"without {tag} at {start}", whole[:start] + whole[end:], Must.NO_MORE)
        yield Attack(f"{tag} twice at {start}", whole[:end] + whole[start:], Must.NO_MORE)
        yield Attack(f"{tag} upper at {start}", whole[:start] + tag.upper() + whole[end:],
                     Must.NO_MORE)  # fmt: skip
        loose = f"< {tag[1:-1]} >"
        yield Attack(f"{loose} at {start}", whole[:start] + loose + whole[end:], Must.NO_MORE)
        cut = whole[: end - 1] + whole[end:]
        yield Attack(f"{tag[:-1]} at {start}", cut, Must.NO_MORE)


def _variant_tags(case: Case, random: Random) -> Iterator[Attack]:
    rival = rival_of(case)
    name, thought = case.rules.tag, case.rules.think_tag
    for variant in _VARIANTS:
        hidden = variant.replace("answer", name if isinstance(name, str) else "answer")
        hidden = hidden.replace("think", thought if isinstance(thought, str) else "think")
        hidden = hidden.replace("{}", rival)
        thinks = case.frame.has(THINK)
        for where, text in (
            ("in front", hidden + case.write()),
            ("in the reasoning", case.write(think=f"{case.think} {hidden} ") if thinks else ""),
            ("before the answer", _with_before(case, hidden)),
            ("after", case.write() + hidden),
        ):
            yield Attack(f"{ascii(variant)[1:-1]} {where}", text, Must.INVALID)


def _no_tags(case: Case) -> str:
    named = case.tagged and isinstance(case.rules.tag, str)
    return "" if named else "its answer stands in no named tags"


def _unclosed(case: Case, random: Random) -> Iterator[Attack]:
    frame, whole = case.frame, case.write()
    start = len("".join(piece.text for piece in frame.pieces[: frame.at]))
    end = start + len(case.claim)
    cuts = {0, start // 3, start // 2, start, *(random.randrange(start + 1) for _ in range(3))}
    for cut in sorted(cuts):
        yield Attack(f"cut at {cut} of {len(whole)}", whole[:cut], _cut(case))
    for cut in sorted({start + (end - start) // 2, end} - {start}):
        must = _cut(case) if frame.closing.strip() and frame.opening.strip() else Must.NO_MORE
        if cut < len(whole):
            yield Attack(f"cut at {cut} of {len(whole)}", whole[:cut], must)


def _cut(case: Case) -> Must:
    return Must.INVALID if case.closed or case.tagged else Must.LESS


def _between(case: Case, random: Random) -> Iterator[Attack]:
    whole = case.write()
    for gap in ("", " ", "\n", "\n\n", "\t"):
        text = _gap(case).sub(lambda found, gap=gap: found[1] + gap, whole)  # type: ignore[misc]
        yield Attack(f"{gap!r} between", text, Must.SAME)


def _no_gap(case: Case) -> str:
    if case.tagged and _gap(case).search(case.write()):
        return ""
    return "no tag of an answer stands behind its reasoning"


def _gap(case: Case) -> re.Pattern[str]:
    end, opening = ends_of(case.rules.think_tag)[1], ends_of(case.rules.tag)[0]
    return re.compile(rf"({re.escape(end)})\s*(?={re.escape(opening)})")


def _stuffed(case: Case, random: Random) -> Iterator[Attack]:
    rival = rival_of(case)
    other = case.frame.block.replace("{}", rival)
    must = _must(case)
    whole = case.write()
    for name, tail in (
        ("text", " or maybe not"), ("a comment", f"<!-- {rival} -->"),
        ("an answer in a comment", f"<!-- {other} -->"),
        ("an answer in a fence", f"\n```\n{other}\n```"),
        ("an answer in a call", f'\n<tool_call>{{"answer": "{rival}"}}</tool_call>\n{other}'),
        ("an end token and an answer", f"<|im_end|>\n<|im_start|>assistant\n{other}"),
        ("a correction", f"\nWait, the answer is {rival}."),
        ("zero width", "\u200b"),
    ):  # fmt: skip
        yield Attack(f"{name} after", whole + tail, _after(case, tail, must))
    yield Attack("a comment in front", f"<!-- {rival} -->{whole}", must if case.tagged else
                 Must.NO_MORE)  # fmt: skip
    yield Attack("a comment before the answer", _with_before(case, f"<!-- {rival} -->"),
                 must if case.tagged else Must.NO_MORE)  # fmt: skip
    must = Must.INVALID if case.closed else Must.LESS
    rest = case.write(claim=f"{case.claim}<!-- {rival} -->")
    yield Attack("a comment in the answer", rest, must)
    yield Attack("a line more in the answer", case.write(claim=f"{case.claim}\n{rival}"), must)


def _after(case: Case, tail: str, must: Must) -> Must:
    """An answer that nothing closes takes what follows into itself; explanations are not read."""
    if case.explains:
        return Must.NO_MORE
    if tail == "\u200b" and not case.tagged:
        return Must.NO_MORE
    return must


def _format_only(case: Case, random: Random) -> Iterator[Attack]:
    for text in ("", " ", "\n", "...", "answer", "your answer here", "<answer>", "{}", "null", "-"):
        if case.claim != text:
            must = Must.LESS if text.strip() and not case.closed else _must(case)
            yield Attack(f"answers {text!r}", case.write(claim=text), must)


def _thoughtless(case: Case, random: Random) -> Iterator[Attack]:
    for text in ("", " ", ".", "a", "…", "\u200b"):
        yield Attack(f"thinks {text!r}", case.write(think=text), Must.NO_MORE)


def _no_think(case: Case) -> str:
    return "" if case.frame.has(THINK) else "its completions hold no reasoning"


FAMILIES: Final = (
    Family("glued think blocks", (1,), _glued),
    Family("prose without an answer", (4,), _untagged),
    Family("several answers", (10, 22), _several),
    Family("misplaced answers", (10,), _misplaced),
    Family("cut completions", (10,), _unclosed),
    Family("blanks before the answer", (11,), _between, _no_gap),
    Family("text after and around the answer", (22,), _stuffed),
    Family("tags written otherwise", (22,), _variant_tags, _no_tags),
    Family("surgery on tags", (), _surgery),
    Family("form without content", (), _format_only),
    Family("no reasoning", (), _thoughtless, _no_think),
)
