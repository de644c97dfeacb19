"""The form of an answer that is a molecule: one token, read no further than its characters.

Backticks or one code fence around the whole of it are taken away (``markup``). The token itself:
printable ASCII without blanks, quotes or backticks, at most 1,000 characters: two molecules, prose
or a name with spaces are no token. Whether a token is a molecule is for the worker to say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from service.rewards.core import Reason
from service.rewards.forms import BLANKS, Claim, blank
from service.rewards.markup import bare, unfenced

MAX_CHARS: Final = 1000
_TOKEN: Final = re.compile(r"[!#-&(-_a-~]+")


@dataclass(frozen=True, slots=True)
class Token:
    """One token as it stands, letter case included."""

    def claim(self, text: str) -> Claim:
        """The token without the blanks around it."""
        if blank(text):
            return Claim(Reason.NO_ANSWER)
        token = text.strip(BLANKS)
        if token.startswith("`"):
            token = bare(unfenced(token)).strip(BLANKS)
        if len(token) > MAX_CHARS:
            return Claim(Reason.TOO_LONG)
        if not _TOKEN.fullmatch(token):
            return Claim(Reason.MALFORMED)
        return Claim(Reason.OK, token)


TOKEN: Final = Token()
