"""rbio's perturbation model, served factorised: p = σ(w·relu(H₁[a] + H₂[b]) + c).

The network is σ(W₂·relu(W₁[e_pert; e_gene] + b₁) + b₂) over the embeddings of the perturbed gene
and of the readout (rbio-1, bioRxiv 2025.08.18.670981). Its first layer is linear in each gene
alone, so H₁ = E·Wₐ and H₂ = E·W_b + b₁ are computed once, at training, and a pair costs a gather
and a dot product. The reduction runs in one fixed order per row (no BLAS), so a row is the same to
the last bit alone and in any batch. Limits: single perturbations (a combination is UNKNOWN_GENE); a
gene's effect on itself is OUT_OF_DISTRIBUTION (a knockdown changes its own target by design, and no
screen teaches the network that); the cell line selects what the model may be asked, it is no input
of the network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from worldmodels import calibration, checkpoints, staging
from worldmodels.calibration import Platt, sigmoid
from worldmodels.checkpoints import Checkpoint
from worldmodels.contexts import Contexts
from worldmodels.core import Floats, ModelFault, ModelSpec, Queries, Status, Verdicts, quantise
from worldmodels.genes import GeneResolver, Vocabulary, statuses
from worldmodels.registry import Source

if TYPE_CHECKING:
    import torch

FAMILY: Final = "pair-mlp"
WEIGHTS: Final = "weights.safetensors"
VOCABULARY: Final = "vocabulary.json"
CHUNK: Final = 4096
"""Rows computed at a time, so that a huge batch needs no huge memory."""

Rows = NDArray[np.int32]
Logits = Callable[[Rows, Rows], Floats]


class PairMLP:
    """A trained pair network behind the contract of a world model."""

    def __init__(
        self, checkpoint: Checkpoint, genes: GeneResolver, *, name: str, device: str = "cpu"
    ) -> None:
        """Take the arrays of a checkpoint.

        Raises:
            ModelFault: a model of another family, arrays that do not fit together, or no such
                device.
        """
        checkpoint.check_family(FAMILY)
        arrays = checkpoint.arrays(WEIGHTS)
        names = checkpoint.names(VOCABULARY)
        _check(checkpoint.path / WEIGHTS, arrays, len(names), len(checkpoint.manifest.contexts))
        self._names = _one_each(names, arrays["rows"])
        self._vocabulary = Vocabulary(names, arrays["rows"], genes)
        self._contexts = Contexts(checkpoint.manifest.contexts)
        self._calibrator = calibration.from_dict(checkpoint.manifest.calibration)
        self._p0: Floats = arrays["p0"]
        self._logits = _on_cpu(arrays) if device == "cpu" else _on_device(arrays, device)
        spec = checkpoint.spec(name=name, vocabulary=len(arrays["h1"]), genes=genes.label)
        self.spec: ModelSpec = dataclasses.replace(spec, device=device)

    @property
    def names(self) -> Sequence[str]:
        """Every gene it knows, on either side of a pair."""
        return self._names

    def predict(self, queries: Queries) -> Verdicts:
        """Probability that perturbing each subject changes (or raises) each object."""
        self.spec.check_relation(queries.relation)
        a = self._vocabulary.codes(queries.subjects)
        b = self._vocabulary.codes(queries.objects)
        line = self._contexts.codes(queries.contexts)
        status = statuses(a, b, line)
        itself = a == b
        if np.count_nonzero(itself):
            status[itself & (status == Status.OK)] = Status.OUT_OF_DISTRIBUTION
        logits = self._score(a, b)
        raw = sigmoid(logits)
        p = quantise(self._calibrate(logits, raw))
        # Rows of unknown genes and contexts, which "clip" brings into range, are blanked below.
        p0 = self._p0.take(line * self._p0.shape[1] + b, mode="clip")
        raw = quantise(raw)
        if np.count_nonzero(status):
            for column in (p, p0, raw):
                column[status != Status.OK] = np.nan
        return Verdicts(p, status, p0=p0, raw=raw)

    def examples(self, n: int) -> Queries:
        """Pairs of different genes from all over the vocabulary."""
        names = self._names
        step = 7919  # prime: visits every gene before it repeats one
        context = self.spec.contexts[0] if self.spec.contexts else ""
        return Queries(
            self.spec.relations[0],
            [names[i * step % len(names)] for i in range(n)],
            [names[(i * step + 1) % len(names)] for i in range(n)],
            [context] * n,
        )

    def _score(self, a: Rows, b: Rows) -> Floats:
        if len(a) <= CHUNK:
            return self._logits(a, b)
        cuts = range(CHUNK, len(a), CHUNK)
        parts = zip(np.split(a, cuts), np.split(b, cuts), strict=True)
        return np.concatenate([self._logits(*part) for part in parts])

    def _calibrate(self, logits: Floats, raw: Floats) -> Floats:
        if isinstance(self._calibrator, Platt):  # spares a logarithm for each pair
            return self._calibrator.of_logits(logits)
        return self._calibrator.apply(raw)


def _one_each(names: list[str], rows: Rows) -> list[str]:
    """One name of each gene, in order: two spellings of one gene make no pair."""
    return [names[i] for i in np.sort(np.unique(rows, return_index=True)[1])]


def _on_cpu(arrays: dict[str, NDArray[Any]]) -> Logits:
    h1, h2, w, bias = (arrays[name] for name in ("h1", "h2", "w", "bias"))
    offset = float(bias[0])

    def logits(a: Rows, b: Rows) -> Floats:
        hidden = h1.take(a, axis=0, mode="clip")  # clip: rows of unknown genes are blanked later
        hidden += h2.take(b, axis=0, mode="clip")
        np.maximum(hidden, 0, out=hidden)
        return np.asarray(np.einsum("ij,j->i", hidden, w), np.float64) + offset

    return logits


def _on_device(arrays: dict[str, NDArray[Any]], device: str) -> Logits:
    """On an accelerator, summed in double precision: its order of summation is not ours to fix.

    What that leaves, about 1e-15, is rounded away with the rest at 6 decimals.
    """
    parts = staging.to_device({name: arrays[name] for name in ("h1", "h2", "w")}, device)
    h1, h2, weights, offset = (
        parts["h1"],
        parts["h2"],
        parts["w"].double(),
        float(arrays["bias"][0]),
    )

    def score(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        hidden = (h1[a] + h2[b]).relu().double()
        return (hidden * weights).sum(dim=1) + offset

    return staging.Staged(score, device, CHUNK)


def _check(path: Path, arrays: dict[str, NDArray[Any]], names: int, contexts: int) -> None:
    kinds = {"h1": "f4", "h2": "f4", "w": "f4", "bias": "f4", "p0": "f8", "rows": "i4"}
    for name, kind in kinds.items():
        if name not in arrays or arrays[name].dtype != np.dtype(kind):
            found = arrays[name].dtype if name in arrays else "nothing"
            raise ModelFault(
                f"{path}: array {name!r} should be {np.dtype(kind)}, found {found}; "
                "build the model anew"
            )
    count, hidden = arrays["h1"].shape if arrays["h1"].ndim == 2 else (0, 0)
    if len(np.unique(arrays["rows"])) < 2:
        raise ModelFault(f"{path}: names fewer than two genes, and a pair needs 2; build it anew")
    expected = {
        "h1": (count, hidden),
        "h2": (count, hidden),
        "w": (hidden,),
        "bias": (1,),
        "p0": (max(contexts, 1), count),
        "rows": (names,),
    }
    for name, shape in expected.items():
        if arrays[name].shape != shape or not count:
            raise ModelFault(
                f"{path}: array {name!r} should have shape {shape}, found {arrays[name].shape}; "
                "build the model anew"
            )
        if not np.isfinite(arrays[name]).all():
            raise ModelFault(f"{path}: array {name!r} holds NaN or infinity; build the model anew")
    if arrays["rows"].min() < 0 or arrays["rows"].max() >= count:
        raise ModelFault(f"{path}: array 'rows' points beyond the {count} genes; build it anew")


def load(source: Source, genes: GeneResolver) -> PairMLP:
    """Open a folder that ``soft-verifier train pair-mlp`` wrote.

    Raises:
        ModelFault: no folder given, or one that is damaged.
    """
    if source.path is None:
        raise ModelFault(f"model {source.name!r}: family {FAMILY} needs path, a trained folder")
    return PairMLP(checkpoints.read(source.path), genes, name=source.name, device=source.device)
