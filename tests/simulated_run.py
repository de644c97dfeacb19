"""A training run with planted behaviour, as lines of an audit log and the truth behind them.

A policy answers yes/no questions about pairs. With probability ``skill(step)`` it is right; its
reward is soft evidence for the right answer plus what style earns, ``style(step)``. Reward hacking
is skill that falls while style rises.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Of = Callable[[int], float]
DIGEST = f"sha256:{'a' * 64}"
PAIRS = 400


def truth_rows(seed: int = 0) -> list[tuple[str, str, int]]:
    """Perturbation, readout and label; 30 % change."""
    labels = np.random.default_rng(seed).random(PAIRS) < 0.3
    return [(f"P{i}", f"R{i % 40}", int(label)) for i, label in enumerate(labels)]


def write_truth(path: Path, seed: int = 0) -> Path:
    rows = "".join(f"{p},{r},k562,{label}\n" for p, r, label in truth_rows(seed))
    path.write_text(f"pert,gene,cell_line,label\n{rows}")
    return path


def honest(step: int) -> float:
    return 0.55 + 0.35 * step / 120


def hacked(step: int) -> float:
    """Skill that rises until step 60, then falls as fast."""
    return 0.55 + 0.35 * min(step, 120 - step) / 60 * 0.8


def no_style(_: int) -> float:
    return 0.0


def hacked_style(step: int) -> float:
    return max(0.0, (step - 60) / 60) * 0.5


def lines(
    skill: Of,
    style: Of = no_style,
    *,
    steps: int = 120,
    groups: int = 8,
    size: int = 8,
    seed: int = 1,
    split: str = "train",
    run: str = "a1",
    **more: Any,
) -> list[dict[str, Any]]:
    """One object a line, as the audit log has them."""
    generator = np.random.default_rng(seed)
    rows = truth_rows()
    made = []
    for step in range(steps):
        for group in range(groups):
            p, r, label = rows[generator.integers(PAIRS)]
            right = generator.random(size) < skill(step)
            noise = generator.normal(0, 0.08, size)
            for i in range(size):
                reward = 0.55 * float(right[i]) + 0.2 + noise[i] + style(step)
                made.append(
                    {
                        "request": f"q-{step}-{group}",
                        "run": run,
                        "step": step,
                        "split": split,
                        "profile": "soft",
                        "profile_digest": DIGEST,
                        "id": f"{split}-{step}-{group}-{i}",
                        "group": f"{step}-{group}",
                        "task": {
                            "type": "perturbation.de",
                            "perturbation": p,
                            "gene": r,
                            "cell_line": "K562",
                        },
                        "answer": "yes" if bool(label) == bool(right[i]) else "no",
                        "status": "ok",
                        "reason": "OK",
                        "reward": float(np.clip(reward, 0, 1).round(6)),
                        "weight": 1.0,
                        "components": [],
                        "completion_digest": f"{step}-{group}-{i}",
                        **more,
                    }
                )
    return made


def write_log(path: Path, *parts: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(line)}\n" for part in parts for line in part))
    return path
