"""The toy that every serving benchmark asks: rbio's network over 20,000 made-up genes.

Weights are random, so its probabilities mean nothing; its shape (64 hidden units) and its cost are
those of a trained one. Completions are filler of about 1 kB in rbio's format.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worldmodels import checkpoints
from worldmodels.checkpoints import Manifest

Floats = NDArray[np.float32]

GENES = 20_000
HIDDEN = 64
CELL_LINE = "toy"
_PROSE = (
    "the knockdown lowers expression of this factor and we should ask whether the readout depends "
    "on it through a shared complex or pathway while the cell line may buffer such a change"
)


def names() -> list[str]:
    """The genes of the toy."""
    return [f"TOY{i}" for i in range(GENES)]


def weights() -> tuple[Floats, Floats, Floats]:
    """Both halves of the first layer times the embeddings, and the second layer; random."""
    draw = np.random.default_rng(0)
    halves = [draw.normal(0, 1, (GENES, HIDDEN)).astype("f4") for _ in range(2)]
    return halves[0], halves[1], draw.normal(0, 0.2, HIDDEN).astype("f4")


def write_model(folder: Path, arrays: tuple[Floats, Floats, Floats] | None = None) -> Path:
    """A pair-mlp checkpoint, of ``weights`` unless others are given."""
    draw = np.random.default_rng(1)
    h1, h2, w = arrays or weights()
    tensors = {
        "h1": h1,
        "h2": h2,
        "w": w,
        "bias": np.zeros(1, "f4"),
        "p0": draw.uniform(0, 1, (1, GENES)).round(6),
        "rows": np.arange(GENES, dtype="i4"),
    }
    manifest = Manifest(
        name="toy",
        family="pair-mlp",
        version="1",
        relations=("perturbation.de",),
        contexts=(CELL_LINE,),
        licence="Apache-2.0",
        training="none: random weights",
        calibration={"kind": "none"},
    )
    checkpoints.write(
        folder,
        manifest,
        tensors={"weights.safetensors": tensors},
        texts={"vocabulary.json": json.dumps(names())},
        force=True,
    )
    return folder


def item(draw: random.Random, genes: list[str], words: int = 150) -> dict[str, object]:
    """One completion of about 1 kB about a random pair."""
    a, b = draw.sample(genes, 2)
    prose = " ".join(draw.choices(_PROSE.split(), k=words - 8))
    answer = draw.choice(("yes", "no"))
    return {
        "id": f"{a}-{b}",
        "completion": f"<think>Does {a} act on {b}? {prose}.</think>\n<answer>{answer}</answer>",
        "task": {"type": "perturbation.de", "perturbation": a, "gene": b, "cell_line": CELL_LINE},
        "keywords": [a, b],
    }


def score_body(draw: random.Random, genes: list[str], items: int, profile: str) -> bytes:
    """A score request of so many different items."""
    request = {"profile": profile, "items": [item(draw, genes) for _ in range(items)]}
    return json.dumps(request).encode()


def predict_body(draw: random.Random, genes: list[str], rows: int) -> bytes:
    """A predict request over HTTP."""
    request = {
        "model": "toy",
        "relation": "perturbation.de",
        "context": CELL_LINE,
        "subjects": draw.choices(genes, k=rows),
        "objects": draw.choices(genes, k=rows),
    }
    return json.dumps(request).encode()


def predict_message(draw: random.Random, genes: list[str], rows: int) -> bytes:
    """A predict request over gRPC: every row has two genes of its own."""
    chosen = draw.sample(genes, 2 * rows)
    return predict_rows(chosen[:rows], chosen[rows:])


def predict_rows(subjects: list[str], objects: list[str]) -> bytes:
    """A predict request over gRPC for these pairs."""
    from softverifier._pb import worldmodels_pb2

    rows = len(subjects)
    request = worldmodels_pb2.PredictRequest(
        model="toy",
        relation="perturbation.de",
        context=CELL_LINE,
        names=[*subjects, *objects],
        subjects=range(rows),
        objects=range(rows, 2 * rows),
    )
    return bytes(request.SerializeToString())
