"""What a shipped profile admits about itself: attacks that pay by the formula it reproduces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_RELEASED: Final = (
    "the released formula pays format and mention up to 2 of 4: its profile says so, and "
    "rbio-mlp is the honest one"
)
KNOWN: Final[Mapping[tuple[str, str], str]] = {
    ("rbio-released", "a polished lie beside the plain truth"): _RELEASED,
}
"""(profile, family of attacks) → why. Only BEATEN and EQUALLED are ever admitted."""


def known(profile: str, family: str) -> str:
    """Why an attack of this family may pay under this profile; "" where it may not."""
    return KNOWN.get((profile, family), "")
