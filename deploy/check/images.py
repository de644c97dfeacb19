"""The images of a check: a base, ours, and those of Redis, Prometheus and Grafana.

They are pulled where a registry can be reached. Where none can, the base is made by debootstrap,
Redis and Prometheus are taken from Debian's packages (same programs, other image), and Grafana,
which Debian has not, is left out; the check says so.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from engine import CannotRun, Engine, Failed, say

OFFICIAL = "docker.io/library/python:3.11-slim"
OWN = "localhost/soft-verifier-check/base:latest"
SERVER = "localhost/soft-verifier-check/server:latest"
MIRROR = "http://deb.debian.org/debian"
SUITE = "bookworm"
IN_BASE = "python3,python3-venv,ca-certificates,tini"
TORCH = "https://download.pytorch.org/whl/cpu"
SBOM = "cyclonedx-bom==7.5.0"
# What the compose file asks for, and what stands in for it: packages and how they are started.
OTHERS = {
    "REDIS_IMAGE": ("docker.io/library/redis:7.4-alpine", "redis-server", "[]"),
    "PROMETHEUS_IMAGE": (
        "docker.io/prom/prometheus:v2.53.2", "prometheus", '["/usr/bin/prometheus"]',
    ),
    "GRAFANA_IMAGE": ("docker.io/grafana/grafana:11.2.0", None, ""),
}  # fmt: skip
STAND_IN = """FROM {base}
RUN apt-get update && apt-get install --yes --no-install-recommends {package}
RUN install -d -o 65534 -g 65534 /prometheus
USER 65534:65534
ENTRYPOINT {entry}
"""


def base(engine: Engine, work: Path) -> str:
    """The base image: ``BASE``, the official one, or one made here.

    Raises:
        CannotRun: there is none and none can be made.
    """
    if "BASE" in os.environ:
        return os.environ["BASE"]
    if has(engine, OWN):
        return OWN
    if pulled(engine, OFFICIAL):
        return OFFICIAL
    if os.geteuid() or shutil.which("debootstrap") is None:
        raise CannotRun(
            f"{OFFICIAL} cannot be pulled, and a base of one's own needs root and debootstrap"
        )
    say(f"no registry; making a base of {SUITE} by debootstrap")
    root = work / "base"
    shutil.rmtree(root, ignore_errors=True)
    made = ["debootstrap", "--variant=minbase", f"--include={IN_BASE}", SUITE, str(root), MIRROR]
    done = subprocess.run(made, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotRun(f"debootstrap: {done.stdout.strip()[-400:]}")
    for useless in ("var/cache/apt", "var/lib/apt/lists", "usr/share/doc", "usr/share/locale"):
        shutil.rmtree(root / useless, ignore_errors=True)
    packed = work / "base.tar"
    subprocess.run(["tar", "-C", str(root), "-cf", str(packed), "."], check=True)
    engine.run("import", "--change", 'CMD ["/bin/bash"]', str(packed), OWN)
    shutil.rmtree(root)
    packed.unlink()
    return OWN


def server(engine: Engine, base_image: str, repository: Path, work: Path, *, keep: bool) -> None:
    """Build ours as ``SERVER``, with the packages that this machine's pip would take.

    ``keep``: its layers, for the next build; to write them all costs a machine that is new and
    soon gone a minute.
    """
    arguments = ["build", "-t", SERVER, "--build-arg", f"BASE={base_image}"]
    if not engine.docker:
        # the other format knows no health check
        arguments += ["--format", "docker", f"--layers={str(keep).lower()}"]
    arguments += ["--build-arg", f"TORCH_INDEX={_torch_index()}", "--network", "host"]
    arguments += ["--build-arg", f"SBOM={_sbom()}"]
    settings = _pip()
    if settings:
        conf = work / "pip.conf"
        conf.write_text(
            "[global]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items()),
            encoding="utf-8",
        )
        arguments += ["--secret", f"id=pip,src={conf}"]
        folders = _local(settings)
        if folders and engine.docker:
            raise CannotRun("pip takes packages from folders, which docker build cannot mount")
        for folder in folders:
            arguments += ["--volume", f"{folder}:{folder}:ro"]
    engine.run(*arguments, str(repository), quiet=bool(os.environ.get("QUIET")))


def others(engine: Engine, base_image: str, work: Path) -> dict[str, str]:
    """Variable of the compose file → image; a service whose image cannot be had is missing."""
    found = {}
    for variable, (official, package, entry) in OTHERS.items():
        if variable in os.environ:
            found[variable] = os.environ[variable]
        elif base_image == OFFICIAL and pulled(engine, official):
            found[variable] = official
        elif package is not None:
            name = f"localhost/soft-verifier-check/{package}:latest"
            if not has(engine, name):
                folder = work / package
                folder.mkdir(exist_ok=True)
                text = STAND_IN.format(base=base_image, package=package, entry=entry)
                (folder / "Dockerfile").write_text(text, encoding="utf-8")
                say(f"no registry; {official} is stood in for by Debian's {package}")
                engine.run("build", "-t", name, "--network", "host", str(folder))
            found[variable] = name
    return found


def has(engine: Engine, image: str) -> bool:
    """Whether the engine keeps it."""
    return not engine.run("image", "inspect", image, check=False).returncode


def pulled(engine: Engine, image: str) -> bool:
    """Whether it is here or came."""
    if has(engine, image):
        return True
    try:
        return not engine.run("pull", "--quiet", image, check=False, seconds=120).returncode
    except Failed:
        return False


def size(engine: Engine, image: str) -> int:
    """Bytes of an image, unpacked."""
    return int(json.loads(engine.run("image", "inspect", image).stdout)[0]["Size"])


def _torch_index() -> str:
    """``TORCH_INDEX``, else PyTorch's index of CPU wheels; "" where pip's own is all there is."""
    if "TORCH_INDEX" in os.environ:
        return os.environ["TORCH_INDEX"]
    try:
        with urllib.request.urlopen(f"{TORCH}/torch/", timeout=15):
            return TORCH
    except (urllib.error.URLError, OSError):
        say(f"{TORCH} cannot be reached; torch comes from where pip takes the rest")
        return ""


def _sbom() -> str:
    """What writes the image's bill of materials; "" where this machine's pip cannot have it."""
    asked = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", SBOM]
    if subprocess.run(asked, capture_output=True, check=False).returncode == 0:
        return SBOM
    say(f"pip cannot have {SBOM} here; THE IMAGE GOES WITHOUT ITS BILL OF MATERIALS")
    return ""


def _pip() -> dict[str, str]:
    """What this machine's pip is told, as a pip.conf says it; its cache and prefixes stay here."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    )
    kept = ("index-url", "extra-index-url", "find-links", "no-index", "cert", "client-cert",
            "proxy", "trusted-host", "timeout", "default-timeout", "retries")  # fmt: skip
    found: dict[str, str] = {}
    for line in done.stdout.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in ("global", "install", ":env:") and key in kept:
            found[key.replace("default-timeout", "timeout")] = value.strip("'\"").replace(
                "\\n", " "
            )
    return found


def _local(settings: dict[str, str]) -> list[str]:
    """The files and folders of this machine that they name."""
    words = (word for value in settings.values() for word in value.split())
    paths = (Path(word.removeprefix("file://")) for word in words)
    found = [path for path in paths if path.is_absolute() and path.exists()]
    folders = (
        path.parent if path.name == "simple" else path for path in found
    )  # its files/ beside
    return sorted({str(path) for path in folders})
