"""The scripts that the image is built with, and that its engine asks it by."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from overlays import REPOSITORY
from servers import ServerProcess, free_port

DEPLOY = REPOSITORY / "deploy"


def run(script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", str(DEPLOY / script), *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_all_that_server_and_client_need_is_listed_and_nothing_of_ours() -> None:
    lines = run("requirements.py").stdout.splitlines()
    wanted = set()
    for file in ("pyproject.toml", "client/pyproject.toml"):
        wanted |= set(tomllib.loads((REPOSITORY / file).read_text())["project"]["dependencies"])
    assert set(lines) >= {need for need in wanted if not need.startswith("softverifier")}
    assert "httpx>=0.25" in lines
    assert not [line for line in lines if line.startswith(("softverifier", "pytest", "rdkit"))]
    assert any(line.startswith("rdkit") for line in run("requirements.py", "chem").stdout.split())


def test_an_extra_that_there_is_not_is_refused() -> None:
    done = run("requirements.py", "chemistry")
    assert done.returncode == 2
    assert "no extra chemistry" in done.stderr


def test_what_only_builds_and_tests_read_is_removed(tmp_path: Path) -> None:
    packages = tmp_path / "lib/python3.11/site-packages"
    kept = ["a/__init__.py", "a/core.so", "a/testing.py", "torch/testing/_internal/tests/x.py"]
    gone = ["a/tests/test_a.py", "a/b/test/deep/test_b.py", "a/include/a.h", "a/lib/liba.a",
            "a/fast.pyx"]  # fmt: skip
    for name in (*kept, *gone):
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_text("x" * 10)
    done = run("slim.py", str(tmp_path))
    assert done.stdout == f"{10 * len(gone)} of {10 * len(kept + gone)} bytes removed\n"
    left = {str(file.relative_to(packages)) for file in packages.rglob("*") if file.is_file()}
    assert left == set(kept)
    assert run("slim.py", str(tmp_path / "lib")).returncode == 2


def test_the_health_check_hears_a_server(server: ServerProcess) -> None:
    done = run(
        "healthcheck.py", HEALTHCHECK_URL=f"{server.url}/healthz", http_proxy="http://127.0.0.1:1"
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "url",
    [
        pytest.param(f"http://127.0.0.1:{free_port()}/healthz", id="nobody listens"),
        pytest.param("nonsense", id="no address"),
    ],
)
def test_the_health_check_fails_in_one_line(url: str) -> None:
    done = run("healthcheck.py", HEALTHCHECK_URL=url)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def test_the_health_check_fails_where_the_server_says_no(server: ServerProcess) -> None:
    assert run("healthcheck.py", HEALTHCHECK_URL=f"{server.url}/nowhere").returncode == 1
