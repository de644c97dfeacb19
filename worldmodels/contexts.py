"""Cell lines of queries to the rows of a model, whatever spelling they come in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from worldmodels.core import Status, canonical_context

_MEMO = 4096


class Contexts(dict[str, int]):
    """A model's canonical contexts, in order; none: the model does not look at the context."""

    def __init__(self, names: Sequence[str]) -> None:
        """Number the contexts from 0 on."""
        super().__init__((name, row) for row, name in enumerate(names))
        self._blind = not names

    def codes(self, contexts: Sequence[str]) -> NDArray[np.int32]:
        """The row of each context, or minus OUT_OF_DISTRIBUTION. Shape (len(contexts),)."""
        count = len(contexts)
        if self._blind or not count:
            return np.zeros(count, np.int32)
        if len(distinct := set(contexts)) == 1:  # as good as always
            return np.full(count, self[distinct.pop()], np.int32)
        return np.fromiter(map(self.__getitem__, contexts), np.int32, count)

    def __missing__(self, name: str) -> int:
        """Learn a spelling of a known context; unknown ones are not remembered."""
        code = self.get(canonical_context(name), -int(Status.OUT_OF_DISTRIBUTION))
        if code >= 0 and len(name) <= 64 and len(self) < _MEMO:
            self[name] = code
        return code
