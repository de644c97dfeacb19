"""A planted screen and the gene-pair model that knows it: for tests and docs of blind policies.

Readouts differ in how often they change, perturbations in what they change; labels are drawn with
the model's own probabilities, so that the model is calibrated by construction and the base rate is
worth knowing. ``python tests/planted_pairs.py DIR`` writes the model, a table of labelled rows and
a settings file that binds the profiles of this comparison to the model.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from worldmodels import checkpoints, training_rows
from worldmodels.checkpoints import Manifest

PROFILES = ("rbio-mlp", "screen-de", "screen-de-lift")
WIDTH = 8


def plant(folder: Path, perturbations: int = 100, readouts: int = 80, seed: int = 0) -> Path:
    """Write everything into ``folder``; the settings file is returned."""
    draw = np.random.default_rng(seed)
    genes = [f"P{i}" for i in range(perturbations)] + [f"R{i}" for i in range(readouts)]
    effects = draw.normal(0, 1.0, (len(genes), WIDTH - 1))
    often = draw.choice([0.0, 6.0], len(genes), p=[0.8, 0.2]) + draw.normal(0, 0.8, len(genes))
    h1 = np.hstack([effects, np.zeros((len(genes), 1))]).astype(np.float32)
    h2 = np.hstack([draw.normal(-1, 0.5, effects.shape), often[:, None]]).astype(np.float32)
    w = np.array([2.0] * (WIDTH - 1) + [1.0], np.float32)
    bias = np.float32(-4.5)
    logits = np.maximum(h1[:perturbations, None] + h2[None, perturbations:], 0) @ w + bias
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    p0 = np.full((1, len(genes)), p.mean())
    p0[0, perturbations:] = p.mean(0)
    weights = {
        "h1": h1,
        "h2": h2,
        "w": w,
        "bias": np.array([bias]),
        "p0": p0,
        "rows": np.arange(len(genes), dtype=np.int32),
    }
    manifest = Manifest(
        name="planted",
        family="pair-mlp",
        version="1",
        relations=("perturbation.de",),
        contexts=("k562",),
        licence="CC0-1.0",
        training="none: planted",
        calibration={"kind": "none"},
    )
    seen = {"perturbation.de": (["k562"], ["T0"], ["R0"])}  # so that a card of others is evidence
    tensors, texts = training_rows.contents(*training_rows.encode(seen))
    checkpoints.write(
        folder / "model",
        manifest,
        tensors={"weights.safetensors": weights, **tensors},
        texts={"vocabulary.json": json.dumps(genes), **texts},
    )
    labels = draw.random(p.shape) < p
    rows = [f"P{a},R{b},{int(labels[a, b])}" for a in range(perturbations) for b in range(readouts)]
    (folder / "k562-de.csv").write_text("\n".join(["pert,gene,label", *rows]) + "\n")
    bound = "\n".join(f'{name} = "planted"' for name in PROFILES)
    config = folder / "planted.toml"
    config.write_text(
        f"[starter]\nenabled = false\n[[models]]\npath = {json.dumps(str(folder / 'model'))}\n"
        f"[profiles.models]\n{bound}\n"
    )
    return config


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    print(plant(target))
