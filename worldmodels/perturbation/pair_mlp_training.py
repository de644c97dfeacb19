"""Training of rbio's pair network on measured pairs and gene vectors.

Perturbations, never pairs, are dealt to three folds: 70 % train, 15 % for early stopping and
calibration, 15 % for the figures that the manifest reports. Training is class-balanced by weight
(``balanced``), so the network's own output is no probability at the natural base rate until the
calibrator has brought it there. Limits: torch on the CPU, one thread; no cell line as an input.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worldmodels import calibration, metrics
from worldmodels.calibration import Calibrator, Kind, sigmoid
from worldmodels.core import ModelFault, quantise
from worldmodels.embeddings import Embeddings
from worldmodels.genes import GeneResolver, Vocabulary
from worldmodels.perturbation.tables import EffectTable

SHARES: Final = (0.70, 0.85)
"""Where the shuffled perturbations are cut: train | calibration | report."""
LEAST: Final = 20
"""Fewer perturbations than this leave folds of two, which can tell nothing."""

Array = NDArray[np.float32]
Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to train. Defaults were chosen on held-out perturbations of K562."""

    seed: int = 0
    hidden: int = 64
    epochs: int = 40
    batch_size: int = 512
    patience: int = 6
    """Epochs without a better loss on held-out perturbations before training ends."""
    learning_rate: float = 1e-3
    weight_decay: float = 0.1
    dropout: float = 0.2
    """Share of the inputs that are blanked in each training step."""
    balanced: bool = True
    calibration: Kind = "platt"


class Epoch(NamedTuple):
    """What training tells after each epoch."""

    number: int
    of: int
    loss: float
    held_out_loss: float
    held_out_auroc: float
    """Per-gene AUROC on held-out perturbations; NaN where no readout has both classes."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Rows of the table whose two genes have vectors, as rows of the vectors."""

    a: Rows
    b: Rows
    labels: NDArray[np.uint8]
    contexts: list[str]

    def __len__(self) -> int:
        return len(self.labels)

    def readouts(self) -> Rows:
        """One code for each readout in each cell line: per-gene figures are of one line."""
        lines = np.unique(np.array(self.contexts), return_inverse=True)[1]
        codes = np.unique(lines * (int(self.b.max()) + 1) + self.b, return_inverse=True)[1]
        return np.asarray(codes, np.intp)


@dataclass(frozen=True, slots=True)
class Network:
    """relu(E[a]·wa + E[b]·wb + b1)·w2 + b2, shapes (d, h), (d, h), (h,), (h,), ()."""

    wa: Array
    wb: Array
    b1: Array
    w2: Array
    b2: float

    def halves(self, vectors: Array) -> tuple[Array, Array]:
        """E·wa and E·wb + b1, shape (genes, h) each."""
        h1, h2 = vectors @ self.wa, vectors @ self.wb + self.b1
        return np.asarray(h1, np.float32), np.asarray(h2, np.float32)

    def logits(self, vectors: Array, a: Rows, b: Rows) -> NDArray[np.float64]:
        """One score a pair, shape (n,)."""
        h1, h2 = self.halves(vectors)
        scores = np.empty(len(a), np.float64)
        for start in range(0, len(a), 1 << 14):
            part = slice(start, start + (1 << 14))
            hidden = np.maximum(h1[a[part]] + h2[b[part]], 0)
            scores[part] = np.einsum("ij,j->i", hidden, self.w2)
        return scores + self.b2


@dataclass(frozen=True, slots=True)
class Fitted:
    """A trained network with what is needed to serve it."""

    network: Network
    calibrator: Calibrator
    judged: calibration.Report
    """How far the calibrated p can be believed on the fold that is for the figures."""
    figures: dict[str, float]
    pairs: Pairs
    train: NDArray[np.bool_]
    """Which of the pairs the network was trained on."""


def match(
    table: EffectTable, vectors: Embeddings, genes: GeneResolver
) -> tuple[Pairs, list[tuple[str, str]]]:
    """The table's rows as rows of the vectors, and the pairs that lack one.

    Raises:
        ModelFault: no row has vectors for both genes.
    """
    vocabulary = Vocabulary(vectors.names, range(len(vectors.names)), genes)
    a, b = vocabulary.codes(table.perturbations), vocabulary.codes(table.readouts)
    kept = np.flatnonzero((a >= 0) & (b >= 0))
    lost = np.flatnonzero((a < 0) | (b < 0))
    if not len(kept):
        raise ModelFault(
            f"none of the {len(table)} rows of {table.source} has vectors for both genes in "
            f"{vectors.source}; are the names of one kind (symbols), is a gene table needed?"
        )
    contexts = [table.contexts[i] for i in kept]
    pairs = Pairs(a[kept].astype(np.intp), b[kept].astype(np.intp), table.labels[kept], contexts)
    return pairs, [(table.perturbations[i], table.readouts[i]) for i in lost]


def fit(
    pairs: Pairs,
    vectors: Array,
    settings: Settings,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> Fitted:
    """Train, stop early, calibrate and measure on perturbations never seen.

    Args:
        pairs: from ``match``.
        vectors: shape (genes, d).
        settings: how.
        on_epoch: told how it goes; may raise to end it.

    Raises:
        ModelFault: too few perturbations, or a fold with one class only.
    """
    train, held_out, report = _folds(pairs, settings.seed)
    with _apart(settings.seed):
        network = _train(pairs, vectors, train, held_out, settings, on_epoch)
    raw = sigmoid(network.logits(vectors, pairs.a, pairs.b))
    calibrator = calibration.fit(settings.calibration, raw[held_out], pairs.labels[held_out])
    p = quantise(calibrator.apply(raw))
    figures = metrics.figures(
        pairs.readouts()[report], pairs.labels[report], p[report], raw[report]
    )
    judged = calibration.report(
        raw[report], p[report], pairs.labels[report], "rows of perturbations held out for figures"
    )
    return Fitted(network, calibrator, judged, figures, pairs, train)


def _folds(pairs: Pairs, seed: int) -> tuple[NDArray[np.bool_], ...]:
    perturbations = np.unique(pairs.a)
    if len(perturbations) < LEAST:
        raise ModelFault(
            f"{len(perturbations)} perturbations with vectors are too few to hold some out; "
            f"give at least {LEAST}"
        )
    np.random.default_rng(seed).shuffle(perturbations)
    cuts = [int(share * len(perturbations)) for share in SHARES]
    folds = tuple(np.isin(pairs.a, part) for part in np.split(perturbations, cuts))
    for fold, name in zip(folds, ("training", "calibration", "report"), strict=True):
        if len(np.unique(pairs.labels[fold])) < 2:
            raise ModelFault(
                f"all {int(fold.sum())} {name} rows have one label; a model needs rows labelled 0 "
                "and rows labelled 1 of many perturbations"
            )
    return folds


def _train(
    pairs: Pairs,
    vectors: Array,
    train: NDArray[np.bool_],
    held_out: NDArray[np.bool_],
    settings: Settings,
    on_epoch: Callable[[Epoch], None],
) -> Network:
    import torch

    table = torch.from_numpy(vectors)
    a, b = torch.from_numpy(pairs.a), torch.from_numpy(pairs.b)
    y = torch.from_numpy(pairs.labels.astype(np.float32))
    rate = float(y[torch.from_numpy(train)].mean())
    weight = torch.tensor((1 - rate) / rate if settings.balanced else 1.0)
    loss = torch.nn.BCEWithLogitsLoss(pos_weight=weight)
    net = torch.nn.Sequential(
        torch.nn.Dropout(settings.dropout),
        torch.nn.Linear(2 * vectors.shape[1], settings.hidden),
        torch.nn.ReLU(),
        torch.nn.Linear(settings.hidden, 1),
    )
    optimiser = torch.optim.AdamW(
        net.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    rows, kept = (torch.from_numpy(np.flatnonzero(fold)) for fold in (train, held_out))

    def scores(at: Any) -> Any:
        return net(torch.cat([table[a[at]], table[b[at]]], dim=1))[:, 0]

    readouts = pairs.readouts()[held_out]
    best, state, since = float("inf"), copy.deepcopy(net.state_dict()), 0
    for number in range(1, settings.epochs + 1):
        total = 0.0
        net.train()
        for batch in torch.split(rows[torch.randperm(len(rows))], settings.batch_size):
            optimiser.zero_grad()
            error = loss(scores(batch), y[batch])
            error.backward()
            optimiser.step()
            total += error.item() * len(batch)
        net.eval()
        with torch.inference_mode():
            said = scores(kept)
            missed = loss(said, y[kept]).item()
        area = metrics.per_gene_auroc(readouts, pairs.labels[held_out], said.numpy())
        on_epoch(Epoch(number, settings.epochs, total / len(rows), missed, area))
        since = 0 if missed < best else since + 1
        if not since:
            best, state = missed, copy.deepcopy(net.state_dict())
        elif since >= settings.patience:
            break
    return _network(state, vectors.shape[1])


def _network(state: Any, width: int) -> Network:
    first = state["1.weight"].numpy().T
    wa, wb = np.ascontiguousarray(first[:width]), np.ascontiguousarray(first[width:])
    bias = float(state["3.bias"][0])
    return Network(wa, wb, state["1.bias"].numpy(), state["3.weight"].numpy()[0], bias)


@contextmanager
def _apart(seed: int) -> Iterator[None]:
    """One thread: layers this small lose by more, and sums would depend on how many there are.

    Random numbers of our own: nobody's generator decides the weights, and ours is nobody else's.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)
