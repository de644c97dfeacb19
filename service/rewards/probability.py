"""A stated probability as an answer to a question of two classes, one of them positive.

``0.83``, ``.83``, ``83%``, ``83.5 %``, ``0``, ``1``, ``100%``: a decimal in [0,1] or per cent in
[0,100], at most six digits after the point. Nothing else is one: ``83`` lacks its sign, ``1e-3``
and ``5/6`` and ``0,83`` are written otherwise, ``yes`` states none. The digits are ASCII.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from service.rewards.core import Reason
from service.rewards.forms import Claim, blank, normal
from service.rewards.vocabulary import Vocabulary

_DECIMAL: Final = re.compile(r"(?:[01](?:\.[0-9]{1,6})?|\.[0-9]{1,6})")
_PER_CENT: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)[ \t]?%")


@dataclass(frozen=True, slots=True)
class Probability:
    """A number q: the policy's probability of the positive class.

    ``value`` is q, ``label`` its shortest decimal ("0.83").

    Attributes:
        vocabulary: the classes of the question; ``positive`` is not None.
    """

    vocabulary: Vocabulary

    def claim(self, text: str) -> Claim:
        """The probability, or why the answer states none."""
        stated = normal(text)
        if _DECIMAL.fullmatch(stated):
            q = float(stated)
        elif found := _PER_CENT.fullmatch(stated):
            q = float(found[1]) / 100.0
        else:
            return Claim(Reason.NO_ANSWER if blank(text) else Reason.ANSWER_NOT_IN_VOCABULARY)
        if q > 1.0:
            return Claim(Reason.ANSWER_NOT_IN_VOCABULARY)
        q = round(q, 8)
        return Claim(Reason.OK, f"{q:.8f}".rstrip("0").rstrip(".") or "0", q)
