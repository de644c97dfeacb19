"""Boosted trees that weigh a pair's terms up: another opinion beside the nets (``screen_nets``).

Trees split where nets bend, so their errors differ and the mean of both orders perturbations better
than either. Histogram gradient boosting on the log-loss (Friedman 2001; Ke et al. 2017), fitted by
scikit-learn, stored as complete trees of one depth so that any device follows all of them at once.
Deterministic for a seed and a version of scikit-learn, on one thread. scikit-learn is imported when
trees are fitted, torch when they are asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from worldmodels.calibration import logit
from worldmodels.core import Floats
from worldmodels.perturbation.screen_nets import Labels, one_thread
from worldmodels.perturbation.screen_rows import Single

if TYPE_CHECKING:
    import torch

TREES: Final = 80
DEPTH: Final = 5
RATE: Final = 0.1
LEAF: Final = (20, 200)
"""Least and most rows that a leaf must have; a thousandth of all rows between them."""
SHRINKAGE: Final = 5.0
"""L2 of the leaves."""
GRAIN: Final = 2.0**-24
"""Leaves are whole multiples of it, so that their sum is exact in whatever order."""
SHARE: Final = 0.3
"""Of the inputs, tried at each split."""
ASKED_AT_ONCE: Final = 1 << 11
"""Rows that are followed together: what they touch stays in a core's cache."""


@dataclass(frozen=True, slots=True)
class Trees:
    """log-odds = base + Σ over trees of the value of the leaf that x falls into.

    All trees are complete and of one depth, nodes level by level: from node i a row goes on to
    2i + 1 if x[feature] ≤ threshold, else to 2i + 2.
    """

    base: Single
    """Shape (1,)."""
    feature: NDArray[np.int32]
    """Which input a node asks about, shape (trees, 2^depth − 1)."""
    threshold: Single
    """Of the same shape; +∞ where a leaf is higher up."""
    leaf: Single
    """Shape (trees, 2^depth); whole multiples of ``GRAIN`` as ``fit`` leaves them."""

    @property
    def depth(self) -> int:
        """Splits on the way to a leaf."""
        return int(self.leaf.shape[1]).bit_length() - 1


def fit(columns: Single, labels: Labels, seed: int) -> Trees:
    """Fit trees.

    Args:
        columns: inputs of shape (rows, inputs), finite.
        labels: shape (rows,), 0 or 1, of both kinds.
        seed: of the inputs that each split tries.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    boosted = HistGradientBoostingClassifier(
        learning_rate=RATE,
        max_iter=TREES,
        max_depth=DEPTH,
        min_samples_leaf=min(max(len(labels) // 1000, LEAF[0]), LEAF[1]),
        l2_regularization=SHRINKAGE,
        max_features=SHARE,
        early_stopping=False,
        random_state=seed,
    )
    with threadpool_limits(limits=1):
        boosted.fit(columns, labels)
    grown = [each[0].nodes for each in boosted._predictors]  # no public way; a test holds it
    base = logit(np.array([labels.mean()])).astype(np.float32)
    completed = [_complete(nodes) for nodes in grown]
    feature, threshold, leaf = (np.stack(part) for part in zip(*completed, strict=True))
    return Trees(base, feature, threshold, leaf)


def _complete(nodes: NDArray[Any]) -> tuple[NDArray[np.int32], Single, Single]:
    """A grown tree as a complete one: below an early leaf every way leads to its value."""
    inner = 2**DEPTH - 1
    feature = np.zeros(inner, np.int32)
    threshold = np.full(inner, np.inf, np.float32)
    leaf = np.zeros(inner + 1, np.float32)
    waiting = [(0, 0)]
    while waiting:
        place, number = waiting.pop()
        node = nodes[number]
        if place >= inner:
            leaf[place - inner] = np.rint(node["value"] / GRAIN) * GRAIN
        elif node["is_leaf"]:  # both ways, so that infinity is as good as any other input
            waiting += [(2 * place + 1, number), (2 * place + 2, number)]
        else:
            feature[place] = node["feature_idx"]
            threshold[place] = _not_above(node["num_threshold"])
            waiting += [(2 * place + 1, int(node["left"])), (2 * place + 2, int(node["right"]))]
    return feature, threshold, leaf


def _not_above(threshold: float) -> np.float32:
    """The largest float32 ≤ threshold: a float32 input is ≤ one if and only if ≤ the other."""
    single = np.float32(threshold)
    return np.nextafter(single, np.float32(-np.inf)) if single > threshold else single


class Followed:
    """Trees on a device."""

    def __init__(self, trees: Trees, device: str) -> None:
        """Put them there."""
        import torch

        count, inner = trees.feature.shape
        self._depth, self._device = trees.depth, device
        self._feature = torch.tensor(trees.feature.ravel().astype(np.int64), device=device)
        self._threshold = torch.tensor(trees.threshold.ravel(), device=device)
        self._leaf = torch.tensor(trees.leaf.ravel().astype(np.float64), device=device)
        self._base = torch.tensor(trees.base, device=device)
        self._inner = torch.arange(count, device=device)[:, None] * inner
        self._leaves = torch.arange(count, device=device)[:, None] * (inner + 1)
        self._last = inner

    def of(self, columns: torch.Tensor) -> torch.Tensor:
        """Log-odds of shape (rows,), of doubles, from inputs of shape (rows, inputs)."""
        import torch

        asked = torch.split(columns, ASKED_AT_ONCE)
        return torch.cat([self._few(some.T.contiguous()) for some in asked])

    def _few(self, inputs: torch.Tensor) -> torch.Tensor:
        """Log-odds of some rows, shape (rows,), from inputs of shape (inputs, rows)."""
        rows = inputs.shape[1]
        node = self._inner.new_zeros((len(self._inner), rows))
        for _ in range(self._depth):
            at = node + self._inner
            value = inputs.gather(0, self._feature[at])
            node = node.mul_(2).add_(1).add_(value > self._threshold[at])
        return self._leaf[node - self._last + self._leaves].sum(dim=0) + self._base


def log_odds(trees: Trees, columns: Single) -> Floats:
    """Log-odds of shape (rows,) on the CPU, one thread."""
    import torch

    with one_thread(), torch.inference_mode():
        found = Followed(trees, "cpu").of(torch.from_numpy(columns))
    return found.numpy()
