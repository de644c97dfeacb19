"""Importing the client is free: a trainer that never scores pays milliseconds, not seconds."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "fastapi", "pydantic", "grpc", "httpx", "google.protobuf", "numpy", "asyncio")
CODE = """
import sys, time
before = set(sys.modules)
start = time.perf_counter()
import softverifier
{use}
print(time.perf_counter() - start)
print(" ".join(sorted(set(sys.modules) - before)))
"""


def run(use):
    code = CODE.format(use=use)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    seconds, modules = done.stdout.splitlines()
    return float(seconds), set(modules.split())


@pytest.mark.parametrize(
    "use", ["", "softverifier.RewardClient('http://x:1')"], ids=["import", "client"]
)
def test_importing_is_quick_and_pulls_in_nothing_heavy(use):
    seconds, modules = min((run(use) for _ in range(3)), key=lambda found: found[0])
    print(f"import softverifier: {seconds * 1000:.1f} ms")
    assert not modules & set(HEAVY)
    assert seconds < 0.15


def test_http_needs_no_grpc():
    _, modules = run("softverifier.RewardClient('http://127.0.0.1:1').health()")
    assert "httpx" in modules
    assert "grpc" not in modules


def test_every_public_name_is_there():
    import softverifier

    assert all(getattr(softverifier, name) is not None for name in softverifier.__all__)
    assert dir(softverifier) == sorted(softverifier.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = softverifier.Nothing
