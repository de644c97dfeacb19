"""Importing anything is free: heavy libraries are imported by the function that needs them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = (
    "torch",
    "scanpy",
    "anndata",
    "sklearn",
    "scipy",
    "pandas",
    "pyarrow",
    "h5py",
    "matplotlib",
    "ray",
)


@pytest.mark.parametrize(
    "module",
    ["service.commands.serve", "service.app", "worldmodels.registry", "service.rewards.profiles"],
)
def test_importing_pulls_in_nothing_heavy(module: str) -> None:
    program = f"import {module}, sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(done.stdout))
    assert [name for name in HEAVY if name in loaded] == []
