"""Trainers that tests run for real: each in an environment of its own, in processes of their own.

``make trainers`` builds ``build/trainers/NAME`` from ``tests/trainers/NAME.txt``: torch first, then
the trainer and this repository's client. The environment of the tests never sees them.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}


def python(name: str) -> Path:
    """The trainer's interpreter; the test is skipped, visibly, where it is not installed."""
    folder = REPOSITORY / "build" / "trainers" / name
    if not (folder / ".installed").is_file():
        pytest.skip(f"the trainer {name} is not installed; run `make trainers`")
    return folder / "bin" / "python"


def start(
    name: str,
    program: str | Path,
    arguments: Sequence[str | Path] = (),
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """A program under the trainer's interpreter, running; both outputs in one pipe."""
    surroundings = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.Popen(
        [python(name), program, *map(str, arguments)],
        env={**surroundings, **ONE_THREAD, **OFFLINE, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(
    name: str,
    program: str | Path,
    arguments: Sequence[str | Path] = (),
    environment: Mapping[str, str] | None = None,
    seconds: float = 180,
) -> str:
    """What a program under the trainer's interpreter printed; it must succeed in time."""
    process = start(name, program, arguments, environment)
    try:
        printed, _ = process.communicate(timeout=seconds)
    finally:
        process.kill()
    assert process.returncode == 0, printed[-6000:]
    return printed
