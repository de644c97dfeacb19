"""Ids of requests and W3C trace contexts, good and bad."""

from __future__ import annotations

import re

import pytest

from service.telemetry.correlation import id_of, made_id, parent_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (b"a", True),
        (b"req-17/retry:2", True),
        (b"x" * 128, True),
        (b"x" * 129, False),
        (b"", False),
        (b"two words", False),
        (b"line\nbreak", False),
        ("kö".encode(), False),
        (b"\x00", False),
        (None, False),
    ],
    ids=["short", "marks", "longest", "long", "empty", "space", "line", "unicode", "nul", "none"],
)  # fmt: skip
def test_an_id_is_kept_or_made(given: bytes | None, kept: bool) -> None:
    found = id_of(given)
    assert (found == given) is kept
    if not kept:
        assert re.fullmatch(rb"[0-9a-f]{12}-[0-9a-f]+", found)


def test_made_ids_differ() -> None:
    assert len({made_id() for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    ("given", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f" 00-{TRACE}-{SPAN}-01 ", True),
        (f"cc-{TRACE}-{SPAN}-01-what-comes", True),
    ],
    ids=["sampled", "not sampled", "more flags", "spaces", "later version"],
)
def test_a_parent(given: str, sampled: bool) -> None:
    assert parent_of(given.encode()) == (TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "given",
    [
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        "\xff\xfe",
    ],
    ids=["empty", "short", "capitals", "no trace", "no span", "ff", "more", "31 digits", "bytes"],
)
def test_no_parent(given: str) -> None:
    assert parent_of(given.encode("latin-1")) is None
    assert parent_of(None) is None
