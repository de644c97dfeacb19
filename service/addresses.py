"""How many connections each address has with all workers of a server, in memory that they share.

Every worker counts its own in four rows of slots, found by four pieces of the address's hash; a sum
over the workers is what one slot says, and the least of the four is believed. Hashes are seeded
anew for each server (Python's, which forked workers inherit), so that nobody can aim at a slot of
somebody else's. Limits: an address counts as larger than it is where others share all four of its
slots (beside 8,192 others, one in some five thousand); counts are read without a lock, so that
workers that let connections in within the same microseconds may let one in too many each.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Final

ROWS: Final = 4
SLOTS: Final = 1 << 16
_BYTES: Final = 4


class Addresses:
    """Shared by those that are forked after it was made; what is never counted takes no memory.

    Args:
        workers: how many there are.
    """

    def __init__(self, workers: int = 1):
        size = ROWS * SLOTS
        shared = memoryview(mmap.mmap(-1, workers * size * _BYTES)).cast("I")
        self._counts = [shared[at : at + size] for at in range(0, workers * size, size)]

    def enter(self, number: int, address: str) -> None:
        """A worker has one connection more."""
        for slot in _slots(address):
            self._counts[number][slot] += 1

    def leave(self, number: int, address: str) -> None:
        """It has ended."""
        for slot in _slots(address):
            self._counts[number][slot] -= 1

    def count(self, address: str) -> int:
        """How many an address has with all workers."""
        return min(sum(counts[slot] for counts in self._counts) for slot in _slots(address))

    def forget(self, number: int) -> None:
        """A worker died, and its connections with it."""
        self._counts[number][:] = memoryview(bytes(ROWS * SLOTS * _BYTES)).cast("I")


def _slots(address: str) -> Iterator[int]:
    """Of each row, by other bits of one keyed hash: rows collide apart from each other."""
    found = hash(address)
    return (row * SLOTS + (found >> (16 * row)) % SLOTS for row in range(ROWS))
