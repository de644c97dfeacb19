"""What is installed is what constraints.txt says, and can be listed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[3]
OURS = {"soft-verifier", "softverifier"}


def pinned() -> dict[str, str]:
    """Versions by name, as constraints.txt says them."""
    found = {}
    for line in (REPOSITORY / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, version = line.partition("==")
            found[canonicalize_name(name)] = version
    return found


def needed() -> dict[str, str]:
    """Installed versions of all that the server needs to run, by name."""
    found: dict[str, str] = {}
    left = ["soft-verifier"]
    while left:
        distribution = metadata.distribution(left.pop())
        for text in distribution.requires or []:
            need = Requirement(text)
            name = canonicalize_name(need.name)
            if name in found or (need.marker and not need.marker.evaluate({"extra": "grpc"})):
                continue
            found[name] = metadata.version(name)
            left.append(name)
    return {name: version for name, version in found.items() if name not in OURS}


def test_every_line_pins_exactly() -> None:
    text = (REPOSITORY / "constraints.txt").read_text()
    for line in text.splitlines():
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.+!-]*", line)


def test_what_the_server_needs_is_pinned_and_installed_so() -> None:
    wanted, found = pinned(), needed()
    assert len(found) > 40
    unpinned = {name for name in found if name not in wanted and not name.startswith("nvidia-")}
    assert unpinned <= {"pip", "setuptools"}  # the environment's own, which pip freeze leaves out
    loose = {
        name: (version, wanted[name])
        for name, version in found.items()
        if name in wanted and version.partition("+")[0] != wanted[name]  # torch's +cpu
    }
    assert loose == {}


def test_the_bill_of_materials_lists_what_runs(tmp_path: Path) -> None:
    made = shutil.which("cyclonedx-py", path=f"{sys.prefix}-audit/bin")
    if made is None:
        pytest.skip("no cyclonedx-py here: `make sbom` installs it in an environment of its own")
    target = tmp_path / "sbom.json"
    subprocess.run(
        [made, "environment", sys.executable, "--of", "JSON", "--no-validate",
         "--output-file", str(target)],
        check=True, capture_output=True,
    )  # fmt: skip
    listed = json.loads(target.read_text())
    assert listed["bomFormat"] == "CycloneDX"
    names = {canonicalize_name(component["name"]) for component in listed["components"]}
    assert set(needed()) <= names
