"""The check of the containers where none can run: it says so, and does not pass for a success."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from overlays import REPOSITORY

ENDING = "#!/bin/sh\nexit 1\n"
NO_DAEMON = "#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\n"


@pytest.mark.parametrize(
    "engines",
    [
        pytest.param({}, id="no engine"),
        pytest.param({"podman": ENDING}, id="podman does not answer"),
        pytest.param({"docker": NO_DAEMON}, id="docker without its daemon"),
    ],
)
def test_a_machine_without_containers_is_told_so(engines: dict[str, str], tmp_path: Path) -> None:
    for name, script in engines.items():
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "deploy" / "check"), "--work", str(tmp_path / "work")],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 77
    frame, said, end = done.stdout.splitlines()
    assert frame == end == "=" * 78
    assert said.startswith("CONTAINERS WERE NOT CHECKED: neither podman nor docker answers")
    assert done.stderr == ""
