"""Servers of several processes: who they are, what they count, and models in two versions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from servers import ServerProcess, get
from worldmodels import checkpoints, registry
from worldmodels.checkpoints import Manifest
from worldmodels.core import Queries
from worldmodels.genes import GeneResolver

RELATION = "perturbation.de"
LINE = "k562"
GENES = [f"G{i}" for i in range(40)]
PAIRS = [(a, b) for a in GENES[:8] for b in GENES[8:16]]


def standing(server: ServerProcess) -> list[dict[str, Any]]:
    """What the server says of its processes."""
    found: list[dict[str, Any]] = get(f"{server.url}/readyz", timeout=10).json()["processes"]
    return found


def pids(server: ServerProcess, kind: str) -> list[int]:
    """Of the workers or the model hosts that are ready."""
    return [
        one["pid"]
        for one in standing(server)
        if one["role"].startswith(kind) and one["state"] == "ready"
    ]


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def metric(server: ServerProcess, name: str, **labels: str) -> float:
    """The sum of the samples of a series that have these labels."""
    text = get(f"{server.url}/metrics", timeout=10).text
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def version(folder: Path, seed: int, name: str = "tiny") -> Path:
    """A folder with a small pair network; other seeds answer otherwise."""
    draw = np.random.default_rng(seed)
    tensors = {
        "h1": draw.normal(0, 1, (len(GENES), 8)).astype("f4"),
        "h2": draw.normal(0, 1, (len(GENES), 8)).astype("f4"),
        "w": draw.normal(0, 0.5, 8).astype("f4"),
        "bias": np.zeros(1, "f4"),
        "p0": draw.uniform(0, 1, (1, len(GENES))).round(6),
        "rows": np.arange(len(GENES), dtype="i4"),
    }
    manifest = Manifest(
        name=name,
        family="pair-mlp",
        version=str(seed),
        relations=(RELATION,),
        contexts=(LINE,),
        licence="CC0-1.0",
        training="none: random weights",
        calibration={"kind": "none"},
    )
    texts = {"vocabulary.json": json.dumps(GENES)}
    return checkpoints.write(
        folder, manifest, tensors={"weights.safetensors": tensors}, texts=texts
    ).path


def point(link: Path, folder: Path) -> None:
    """Let a link lead to another folder, at once."""
    part = link.with_name(f"{link.name}.part")
    part.symlink_to(folder)
    part.replace(link)


def answers(folder: Path) -> tuple[str, dict[tuple[str, str], float]]:
    """The digest of a version, and what it says of ``PAIRS``."""
    model = registry.open_folder(folder, genes=GeneResolver.as_they_are())
    subjects, objects = ([pair[i] for pair in PAIRS] for i in (0, 1))
    found = model.predict(Queries(RELATION, subjects, objects, [LINE] * len(PAIRS)))
    return model.spec.digest, dict(zip(PAIRS, found.p.tolist(), strict=True))
