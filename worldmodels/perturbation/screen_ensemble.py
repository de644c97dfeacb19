"""Nets and trees answering together: their log-odds, what each counts, and how far they differ.

The nets of different seeds count a half between them, the trees the other half: nets alone and
trees alone order held-out perturbations about equally well, and differ in where they are wrong
(``benchmarks/screen.md``). Limits: the weights are not fitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from worldmodels.calibration import Calibrator, sigmoid
from worldmodels.core import Floats
from worldmodels.perturbation.screen_nets import Net, Opinions
from worldmodels.perturbation.screen_trees import Followed, Trees

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Nets and trees on the same inputs."""

    nets: tuple[Net, ...]
    trees: Trees

    @property
    def inputs(self) -> int:
        """Number of inputs."""
        return self.nets[0].inputs


class Asked:
    """An ensemble on a device."""

    def __init__(self, ensemble: Ensemble, device: str) -> None:
        """Put it there."""
        self.inputs = ensemble.inputs
        self._nets = Opinions(ensemble.nets, device)
        self._trees = Followed(ensemble.trees, device)

    def of(self, columns: torch.Tensor) -> Floats:
        """Log-odds of shape (nets + 1, rows), the trees' last, from inputs of (rows, inputs)."""
        import torch

        found = torch.cat([self._nets.of(columns).double(), self._trees.of(columns)[None]])
        return np.asarray(found.cpu().numpy())


def together(log_odds: Floats | Sequence[Floats]) -> Floats:
    """The ensemble's log-odds, shape (rows,), from those of (nets + 1, rows), the trees' last."""
    return np.average(log_odds, axis=0, weights=_weights(len(log_odds)))


def spread(log_odds: Floats, curve: Calibrator) -> Floats:
    """Standard deviation between the opinions' calibrated p, shape (rows,)."""
    weights = _weights(len(log_odds))
    each = np.stack([curve.apply(sigmoid(one)) for one in log_odds])
    middle = np.average(each, axis=0, weights=weights)
    return np.asarray(np.sqrt(np.average((each - middle) ** 2, axis=0, weights=weights)))


def _weights(opinions: int) -> Floats:
    nets = opinions - 1
    return np.array([0.5 / nets] * nets + [0.5])
