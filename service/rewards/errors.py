"""The one error of this package: a profile that cannot be used.

Anything about one completion is a ``Reason`` in a ``Result``, never an exception.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ProfileFault(Exception):
    """A profile's file is wrong; the message names file, line and key and says what to do."""


def nearest(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'x'?"`` where a known word is near, then the known words."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return f"{hint} known: {', '.join(names)}"
