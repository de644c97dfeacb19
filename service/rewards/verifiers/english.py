"""Gene names of four letters or more that are English words when written in lower case."""

from typing import Final

ENGLISH: Final = frozenset({"rest", "impact", "camp", "coil", "clock", "spin"})
