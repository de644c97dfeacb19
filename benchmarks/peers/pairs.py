"""The toy that every peer serves: gene pair → probability, rbio's network over 20,000 genes.

Two forms of one network: ``naive`` concatenates two rows of 1,280 numbers and multiplies them by
the first layer, ``factorised`` adds two rows of 64 that were multiplied before. Run in the peers'
own environments, so it needs numpy alone and nothing of this project. The arrays are read from the
folder that ``PEERS_TOY`` names; ``PEERS_MODEL`` chooses the form. For the table of behaviours a
batch takes ``PEERS_DELAY_MS`` longer, one with a subject ``SLOW`` a second, a subject ``POISON``
makes it raise, and its rows and process go to the file ``PEERS_COUNT``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

POISON = "POISON"
SLOW = "SLOW"
Columns = tuple[Sequence[str], Sequence[str]]


class Pairs:
    """The network, read from its folder."""

    def __init__(self) -> None:
        folder = Path(os.environ["PEERS_TOY"])
        self._naive = os.environ["PEERS_MODEL"] == "naive"
        self._delay_s = float(os.environ.get("PEERS_DELAY_MS", "0")) / 1000
        self._count = os.environ.get("PEERS_COUNT")
        names = ("embeddings", "first") if self._naive else ("h1", "h2")
        self._left, self._right = (np.load(folder / f"{name}.npy", "r") for name in names)
        self._w = np.load(folder / "w.npy")
        self._rows = {f"TOY{i}": i for i in range(len(self._left))}
        self._rows[SLOW] = 0

    def __call__(self, subjects: Sequence[str], objects: Sequence[str]) -> list[float]:
        """Probabilities in the order of the rows.

        Raises:
            KeyError: a gene that is none of the toy's.
            ValueError: the poison.
        """
        if self._count:
            with Path(self._count).open("a") as file:
                file.write(f"{len(subjects)} {os.getpid()}\n")
        if self._delay_s:
            time.sleep(self._delay_s)
        if SLOW in subjects:
            time.sleep(1.0)
        if POISON in subjects:
            raise ValueError(POISON)
        a = [self._rows[name] for name in subjects]
        b = [self._rows[name] for name in objects]
        if self._naive:
            hidden = np.concatenate((self._left[a], self._left[b]), axis=1) @ self._right
        else:
            hidden = self._left[a] + self._right[b]
        logits = np.maximum(hidden, 0) @ self._w
        probabilities: list[float] = (1 / (1 + np.exp(-logits.astype("f8")))).tolist()
        return probabilities

    def together(self, requests: Sequence[Columns]) -> list[list[float]]:
        """Several requests as one batch; the answers of each."""
        subjects = [name for asked, _ in requests for name in asked]
        objects = [name for _, asked in requests for name in asked]
        p = iter(self(subjects, objects))
        return [[next(p) for _ in asked] for asked, _ in requests]
